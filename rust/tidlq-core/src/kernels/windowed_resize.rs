//! Resize by windows of any number of taps: integer weights, vectorised over channels.

use bytemuck::cast_slice;

use super::requantize::{Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};
use crate::network::{AxisWindows, Map2d, TensorSpec, WindowedResize};

/// Products that a task aims at.
const TASK_PRODUCTS: usize = 1 << 18;

/// Sums that are made before they are requantized.
const ACCUMULATORS: usize = 4096;

/// An interpolation along one axis or two.
pub(crate) struct WindowedResizeKernel {
    axes: [Option<AxisWindows>; 2],
    input: Map2d,
    output: Map2d,
    input_type: ElementType,
    output_type: ElementType,
    zero_point: i32,
    requantizer: RowRequantizer,
}

impl WindowedResizeKernel {
    /// Of validated tensors.
    pub fn new(spec: &WindowedResize, input: &TensorSpec, output: &TensorSpec) -> Self {
        let empty = Map2d { count: 0, height: 0, width: 0, channels: 0 };
        let map = |tensor: &TensorSpec| Map2d::of(&tensor.shape).unwrap_or(empty);
        let (low, high) = input.element_type.range().unwrap_or((0, 0));
        let gains = spec.axes.iter().map(|axis| axis.as_ref().map_or(1, AxisWindows::gain));
        let bound = (high - low) as u64 * gains.product::<u64>();
        Self {
            axes: spec.axes.clone(),
            input: map(input),
            output: map(output),
            input_type: input.element_type,
            output_type: output.element_type,
            zero_point: input.zero_point,
            requantizer: RowRequantizer::new(&spec.requantizer, bound),
        }
    }
}

impl Kernel for WindowedResizeKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let (size, channels) = (self.output_type.size_bytes(), self.output.channels);
        let taps: usize = self.axes.iter().flatten().map(|axis| axis.taps).product();
        let chunk = work.chunk(output.len() / size, channels, TASK_PRODUCTS / taps.max(1));
        work.for_each_chunk(output, chunk * size, |index, output| {
            self.pixels(work.cpu, index * chunk / channels, inputs[0], output);
        });
    }
}

impl WindowedResizeKernel {
    fn pixels(&self, cpu: Cpu, first: usize, image: &[u8], output: &mut [u8]) {
        let channels = self.output.channels;
        let count = output.len() / self.output_type.size_bytes() / channels;
        let step = (ACCUMULATORS / channels).clamp(1, count);
        let mut acc = vec![0_i64; step * channels];
        for start in (0..count).step_by(step) {
            let rows = step.min(count - start);
            let acc = &mut acc[..rows * channels];
            cpu.run(PixelsBody { kernel: self, image, first: first + start, acc: &mut *acc });
            let target = Target {
                element_type: self.output_type,
                bytes: output,
                start: start * channels,
                stride: channels,
            };
            let layout = Layout { rows, columns: channels, stride: channels };
            self.requantizer.finish(cpu, acc, layout, Entries::One(0), target);
        }
    }
}

/// Sums of consecutive pixels: `[pixel][channel]`.
struct PixelsBody<'a> {
    kernel: &'a WindowedResizeKernel,
    image: &'a [u8],
    first: usize,
    acc: &'a mut [i64],
}

impl Body for PixelsBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, image, first, acc } = self;
        let Map2d { height, width, channels, .. } = kernel.output;
        with_element!(kernel.input_type, T => {
            let images = cast_slice::<u8, T>(image);
            for (pixel, acc) in (first..).zip(acc.chunks_exact_mut(channels)) {
                let image = &images[pixel / (height * width) * kernel.input.image()..];
                kernel.pixel(image, [pixel / width % height, pixel % width], acc);
            }
        }, float => {});
    }
}

impl WindowedResizeKernel {
    #[inline(always)]
    fn pixel<T: Element>(&self, image: &[T], place: [usize; 2], acc: &mut [i64]) {
        let [vertical, horizontal] = &self.axes;
        acc.fill(0);
        for (y, weight_y) in taps(vertical.as_ref(), place[0]) {
            for (x, weight_x) in taps(horizontal.as_ref(), place[1]) {
                let weight = weight_y * weight_x;
                if weight == 0 {
                    continue;
                }
                let start = (y * self.input.width + x) * self.input.channels;
                for (acc, element) in acc.iter_mut().zip(&image[start..]) {
                    *acc += i64::from(element.widen() - self.zero_point) * weight;
                }
            }
        }
    }
}

/// Positions of the input with their weights; an axis that stays is its own.
#[inline(always)]
fn taps(axis: Option<&AxisWindows>, place: usize) -> impl Iterator<Item = (usize, i64)> {
    let window = axis.map(|axis| {
        let range = place * axis.taps..(place + 1) * axis.taps;
        axis.position[range.clone()].iter().zip(&axis.weight[range])
    });
    let own = if axis.is_none() { Some((place, 1)) } else { None };
    let listed = window.into_iter().flatten();
    listed.map(|(&position, &weight)| (position as usize, i64::from(weight))).chain(own)
}
