//! Resize: separable interpolation with integer weights, vectorised over channels.

use bytemuck::{cast_slice, cast_slice_mut};

use super::block::{BLOCK, narrow};
use super::requantize::{Accumulator, Entries, RowRequantizer};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::Body;
use crate::network::{Map2d, Resize, ResizeAxis};

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 14;

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
            work.cpu.run(LinesBody { kernel: self, first, input: inputs[0], output });
        });
    }
}

struct LinesBody<'a> {
    kernel: &'a ResizeKernel,
    first: usize,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl Body for LinesBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let kernel = self.kernel;
        with_element!(kernel.input_type, T => {
            let input = cast_slice::<u8, T>(self.input);
            with_element!(kernel.output_type, U => {
                let output = cast_slice_mut::<u8, U>(self.output);
                if kernel.is_narrow {
                    kernel.lines::<T, U, i32>(input, output, self.first);
                } else {
                    kernel.lines::<T, U, i64>(input, output, self.first);
                }
            }, float => {});
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
    fn lines<T: Element, U: Element, A: Accumulator>(
        &self,
        input: &[T],
        output: &mut [U],
        first: usize,
    ) {
        let (map, out) = (self.input, self.output);
        for (index, line) in output.chunks_exact_mut(out.width * out.channels).enumerate() {
            let (image, y) = ((first + index) / out.height, (first + index) % out.height);
            let image = &input[image * map.image()..(image + 1) * map.image()];
            let vertical = taps(self.resize.height.as_ref(), y, self.resize.weight_bits);
            for (x, pixel) in line.chunks_exact_mut(out.channels).enumerate() {
                let horizontal = taps(self.resize.width.as_ref(), x, self.resize.weight_bits);
                for (block, pixel) in pixel.chunks_mut(BLOCK).enumerate() {
                    self.block::<T, U, A>(image, vertical, horizontal, block * BLOCK, pixel);
                }
            }
        }
    }

    #[inline(always)]
    fn block<T: Element, U: Element, A: Accumulator>(
        &self,
        image: &[T],
        vertical: [(usize, i64); 2],
        horizontal: [(usize, i64); 2],
        channel: usize,
        pixel: &mut [U],
    ) {
        let mut acc = [A::default(); BLOCK];
        let mut q = [0_i32; BLOCK];
        let (acc, q) = (&mut acc[..pixel.len()], &mut q[..pixel.len()]);
        for (y, weight_y) in vertical {
            for (x, weight_x) in horizontal {
                let weight = A::from_wide(weight_y * weight_x);
                if weight_y * weight_x == 0 {
                    continue;
                }
                let start = (y * self.input.width + x) * self.input.channels + channel;
                for (acc, element) in acc.iter_mut().zip(&image[start..start + pixel.len()]) {
                    let element = A::from_wide(i64::from(element.widen() - self.zero_point));
                    *acc = acc.plus(element.times(weight));
                }
            }
        }
        self.requantizer.run(acc, Entries::One(0), q);
        narrow(q, pixel);
    }
}
