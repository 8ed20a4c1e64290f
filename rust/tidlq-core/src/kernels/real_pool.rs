//! Average pool of real values, vectorised over channels.

use bytemuck::{cast_slice, cast_slice_mut};

use super::block::BLOCK;
use super::pool::PoolShape;
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::dequantize;
use crate::isa::Body;
use crate::network::AveragePool;

/// Average pool in float32.
pub(crate) struct RealAveragePoolKernel {
    pub shape: PoolShape,
    pub pool: AveragePool,
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub input_scale: f32,
    pub input_zero_point: i32,
    pub output_scale: f32,
}

impl Kernel for RealAveragePoolKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        self.shape.for_each_lines(&self.pool.window, size, output, work, |first, output| {
            work.cpu.run(LinesBody { kernel: self, first, input: inputs[0], output });
        });
    }
}

/// Whole output lines, counted over all images.
struct LinesBody<'a> {
    kernel: &'a RealAveragePoolKernel,
    first: usize,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl Body for LinesBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, first, input, output } = self;
        with_element!(kernel.input_type, I => {
            let input = cast_slice::<u8, I>(input);
            with_element!(kernel.output_type, O => {
                kernel.lines::<I, O>(input, first, cast_slice_mut(output));
            }, float => {});
        }, float => {});
    }
}

impl RealAveragePoolKernel {
    #[inline(always)]
    fn lines<I: Element, O: Element>(&self, input: &[I], first: usize, output: &mut [O]) {
        let PoolShape { input: map, output: out } = self.shape;
        let mut sums = [0.0_f32; BLOCK];
        for (index, line) in output.chunks_exact_mut(out.width * out.channels).enumerate() {
            let (image, y) = ((first + index) / out.height, (first + index) % out.height);
            let image = &input[image * map.image()..(image + 1) * map.image()];
            let height = self.pool.divisor(0, y, map.height);
            for (x, pixel) in line.chunks_exact_mut(out.channels).enumerate() {
                let divisor = (height * self.pool.divisor(1, x, map.width)) as f32;
                for (block, pixel) in pixel.chunks_mut(BLOCK).enumerate() {
                    let sums = &mut sums[..pixel.len()];
                    sums.fill(0.0);
                    self.shape.visit(&self.pool.window, (y, x), |start| {
                        let start = start + block * BLOCK;
                        let elements = &image[start..start + sums.len()];
                        for (sum, element) in sums.iter_mut().zip(elements) {
                            let (scale, zero_point) = (self.input_scale, self.input_zero_point);
                            *sum += dequantize(element.widen(), scale, zero_point);
                        }
                    });
                    let zero_point = self.pool.requantizer.zero_point as f32;
                    for (element, &sum) in pixel.iter_mut().zip(&*sums) {
                        let value = sum / divisor / self.output_scale + zero_point;
                        *element = O::narrow(self.pool.requantizer.apply_placed(value));
                    }
                }
            }
        }
    }
}
