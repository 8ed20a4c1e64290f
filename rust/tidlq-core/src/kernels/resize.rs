//! Resize: separable interpolation with integer weights, vectorised over channels.

use bytemuck::cast_slice;

use super::requantize::{Accumulator, Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};
use crate::network::{Map2d, Resize, ResizeAxis};

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 14;

/// Accumulators that are computed before they are requantized.
const ACCUMULATORS: usize = 4096;

/// Greatest number of channels of a stretch.
const STRETCH_CHANNELS: usize = 512;

/// An interpolation.
pub(crate) struct ResizeKernel {
    pub resize: Resize,
    pub input: Map2d,
    pub output: Map2d,
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub zero_point: i32,
    /// Whether 32 bits hold every sum.
    pub is_narrow: bool,
    pub requantizer: RowRequantizer,
}

impl ResizeKernel {
    /// Greatest magnitude of a sum.
    pub fn bound(resize: &Resize, input_type: ElementType) -> u64 {
        let axes = u32::from(resize.height.is_some()) + u32::from(resize.width.is_some());
        let (low, high) = input_type.range().unwrap_or((0, 0));
        ((high - low) as u64) << (axes * resize.weight_bits)
    }
}

impl Kernel for ResizeKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let line = self.output.width * self.output.channels;
        let lines = self.output.count * self.output.height;
        let chunk = work.chunk(lines, 1, TASK_ELEMENTS / line);
        let bytes = chunk * line * self.output_type.size_bytes();
        work.for_each_chunk(output, bytes, |index, output| {
            let first = index * chunk;
            if self.is_narrow {
                self.lines::<i32>(work.cpu, first, inputs[0], output);
            } else {
                self.lines::<i64>(work.cpu, first, inputs[0], output);
            }
        });
    }
}

impl ResizeKernel {
    fn lines<A: Accumulator>(&self, cpu: Cpu, first: usize, input: &[u8], output: &mut [u8]) {
        let Map2d { width, channels, .. } = self.output;
        let lines = output.len() / self.output_type.size_bytes() / (width * channels);
        let mut acc = [A::default(); ACCUMULATORS];
        for line in 0..lines {
            for channel in (0..channels).step_by(STRETCH_CHANNELS) {
                let count = STRETCH_CHANNELS.min(channels - channel);
                let pixels = ACCUMULATORS / count;
                for x in (0..width).step_by(pixels) {
                    let pixels = pixels.min(width - x);
                    let acc = &mut acc[..pixels * count];
                    let stretch = Stretch { line: first + line, x, channel, channels: count };
                    cpu.run(StretchBody { kernel: self, input, stretch, acc: &mut *acc });
                    let target = Target {
                        element_type: self.output_type,
                        bytes: output,
                        start: (line * width + x) * channels + channel,
                        stride: channels,
                    };
                    let layout = Layout { rows: pixels, columns: count, stride: count };
                    self.requantizer.finish(cpu, acc, layout, Entries::One(0), target);
                }
            }
        }
    }
}

/// Part of an output line, lines counted over all images.
#[derive(Clone, Copy)]
struct Stretch {
    line: usize,
    /// First pixel.
    x: usize,
    /// First channel.
    channel: usize,
    channels: usize,
}

/// Sums of a stretch: `[pixel][channel]`.
struct StretchBody<'a, A> {
    kernel: &'a ResizeKernel,
    input: &'a [u8],
    stretch: Stretch,
    acc: &'a mut [A],
}

impl<A: Accumulator> Body for StretchBody<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, input, stretch, acc } = self;
        let ResizeKernel { resize, input: map, output: out, .. } = kernel;
        let (image, y) = (stretch.line / out.height, stretch.line % out.height);
        let image = image * map.image() + stretch.channel;
        let vertical = taps(resize.height.as_ref(), y, resize.weight_bits);
        with_element!(kernel.input_type, T => {
            let image = &cast_slice::<u8, T>(input)[image..];
            for (index, acc) in acc.chunks_exact_mut(stretch.channels).enumerate() {
                let x = stretch.x + index;
                let horizontal = taps(resize.width.as_ref(), x, resize.weight_bits);
                kernel.pixel(image, vertical, horizontal, acc);
            }
        }, float => {});
    }
}

/// The two input coordinates of an output coordinate, with their weights.
#[inline(always)]
fn taps(axis: Option<&ResizeAxis>, position: usize, weight_bits: u32) -> [(usize, i64); 2] {
    let Some(axis) = axis else {
        return [(position, 1), (position, 0)];
    };
    let high = i64::from(axis.weight_high[position]);
    [(axis.low[position] as usize, (1 << weight_bits) - high), (axis.high[position] as usize, high)]
}

impl ResizeKernel {
    #[inline(always)]
    fn pixel<T: Element, A: Accumulator>(
        &self,
        image: &[T],
        vertical: [(usize, i64); 2],
        horizontal: [(usize, i64); 2],
        acc: &mut [A],
    ) {
        acc.fill(A::default());
        for (y, weight_y) in vertical {
            for (x, weight_x) in horizontal {
                if weight_y * weight_x == 0 {
                    continue;
                }
                let weight = A::from_wide(weight_y * weight_x);
                let start = (y * self.input.width + x) * self.input.channels;
                let elements = &image[start..start + acc.len()];
                for (acc, element) in acc.iter_mut().zip(elements) {
                    let element = A::from_narrow(element.widen() - self.zero_point);
                    *acc = acc.plus(element.times(weight));
                }
            }
        }
    }
}
