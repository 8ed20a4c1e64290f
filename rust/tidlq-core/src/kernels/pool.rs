//! Max and average pools, vectorised over channels.

use bytemuck::{cast_slice, cast_slice_mut};

use super::block::{BLOCK, narrow};
use super::requantize::{Accumulator, Entries, RowRequantizer};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::Body;
use crate::network::{AveragePool, Map2d, Window};

/// Input elements, counted once per window, that a task aims at.
const TASK_ELEMENTS: usize = 1 << 16;

/// Sizes that both pools share.
#[derive(Clone, Copy)]
pub(crate) struct PoolShape {
    pub input: Map2d,
    pub output: Map2d,
}

/// The part of an input image that a window covers, at least in one axis possibly empty.
struct Covered {
    y: (usize, usize),
    x: (usize, usize),
}

impl PoolShape {
    #[inline(always)]
    fn covered(&self, window: &Window, y: usize, x: usize) -> Covered {
        Covered {
            y: window.taps(0, y, 0, self.input.height as isize),
            x: window.taps(1, x, 0, self.input.width as isize),
        }
    }

    /// Calls `visit` with the index, in the image, of each covered pixel's first channel.
    #[inline(always)]
    fn visit(&self, window: &Window, (y, x): (usize, usize), mut visit: impl FnMut(usize)) {
        let covered = self.covered(window, y, x);
        for ky in covered.y.0..covered.y.1 {
            let line = window.coordinate(0, y, ky) as usize * self.input.width;
            for kx in covered.x.0..covered.x.1 {
                visit((line + window.coordinate(1, x, kx) as usize) * self.input.channels);
            }
        }
    }

    /// Splits the output by lines.
    fn for_each_lines(
        &self,
        window: &Window,
        size: usize,
        output: &mut [u8],
        work: &Work<'_>,
        body: impl Fn(usize, &mut [u8]) + Send + Sync,
    ) {
        let line = self.output.width * self.output.channels;
        let taps = (window.kernel[0].min(self.input.height)
            * window.kernel[1].min(self.input.width))
        .max(1);
        let lines = self.output.count * self.output.height;
        let chunk = work.chunk(lines, 1, TASK_ELEMENTS / line.saturating_mul(taps).max(1));
        work.for_each_chunk(output, chunk * line * size, |index, output| {
            body(index * chunk, output)
        });
    }
}

/// Max pool.
pub(crate) struct MaxPoolKernel {
    pub shape: PoolShape,
    pub window: Window,
    pub element_type: ElementType,
}

impl Kernel for MaxPoolKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.element_type.size_bytes();
        self.shape.for_each_lines(&self.window, size, output, work, |first, output| {
            work.cpu.run(MaxBody { kernel: self, first, input: inputs[0], output });
        });
    }
}

struct MaxBody<'a> {
    kernel: &'a MaxPoolKernel,
    first: usize,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl Body for MaxBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_element!(self.kernel.element_type, T => {
            let (input, output) = (cast_slice::<u8, T>(self.input), cast_slice_mut(self.output));
            self.kernel.lines::<T>(input, output, self.first);
        }, float => {});
    }
}

impl MaxPoolKernel {
    #[inline(always)]
    fn lines<T: Element>(&self, input: &[T], output: &mut [T], first: usize) {
        let PoolShape { input: map, output: out } = self.shape;
        for (index, line) in output.chunks_exact_mut(out.width * out.channels).enumerate() {
            let (image, y) = ((first + index) / out.height, (first + index) % out.height);
            let image = &input[image * map.image()..(image + 1) * map.image()];
            for (x, pixel) in line.chunks_exact_mut(out.channels).enumerate() {
                pixel.fill(T::narrow(T::LOWEST));
                self.shape.visit(&self.window, (y, x), |start| {
                    let elements = &image[start..start + out.channels];
                    for (greatest, &element) in pixel.iter_mut().zip(elements) {
                        *greatest = if element > *greatest { element } else { *greatest };
                    }
                });
            }
        }
    }
}

/// Average pool.
pub(crate) struct AveragePoolKernel {
    pub shape: PoolShape,
    pub pool: AveragePool,
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub zero_point: i32,
    /// Whether 32 bits hold every sum.
    pub is_narrow: bool,
    pub requantizer: RowRequantizer,
}

impl AveragePoolKernel {
    /// Greatest magnitude of a sum over a window.
    pub fn bound(shape: &PoolShape, window: &Window) -> u64 {
        let height = window.kernel[0].min(shape.input.height) as u64;
        let width = window.kernel[1].min(shape.input.width) as u64;
        height.saturating_mul(width).saturating_mul(u64::from(u16::MAX))
    }
}

impl Kernel for AveragePoolKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        self.shape.for_each_lines(&self.pool.window, size, output, work, |first, output| {
            work.cpu.run(AverageBody { kernel: self, first, input: inputs[0], output });
        });
    }
}

struct AverageBody<'a> {
    kernel: &'a AveragePoolKernel,
    first: usize,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl Body for AverageBody<'_> {
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

impl AveragePoolKernel {
    #[inline(always)]
    fn lines<T: Element, U: Element, A: Accumulator>(
        &self,
        input: &[T],
        output: &mut [U],
        first: usize,
    ) {
        let PoolShape { input: map, output: out } = self.shape;
        for (index, line) in output.chunks_exact_mut(out.width * out.channels).enumerate() {
            let (image, y) = ((first + index) / out.height, (first + index) % out.height);
            let image = &input[image * map.image()..(image + 1) * map.image()];
            let height = self.pool.divisor(0, y, map.height) as u64;
            for (x, pixel) in line.chunks_exact_mut(out.channels).enumerate() {
                let divisor = height * self.pool.divisor(1, x, map.width) as u64;
                // Validation has seen every divisor in the list.
                let entry = self.pool.count.binary_search(&divisor).unwrap_or(0);
                for (block, pixel) in pixel.chunks_mut(BLOCK).enumerate() {
                    self.block::<T, U, A>(image, (y, x), block * BLOCK, entry, pixel);
                }
            }
        }
    }

    #[inline(always)]
    fn block<T: Element, U: Element, A: Accumulator>(
        &self,
        image: &[T],
        position: (usize, usize),
        channel: usize,
        entry: usize,
        pixel: &mut [U],
    ) {
        let mut acc = [A::default(); BLOCK];
        let mut q = [0_i32; BLOCK];
        let (acc, q) = (&mut acc[..pixel.len()], &mut q[..pixel.len()]);
        self.shape.visit(&self.pool.window, position, |start| {
            let start = start + channel;
            for (acc, element) in acc.iter_mut().zip(&image[start..start + pixel.len()]) {
                *acc = acc.plus(A::from_wide(i64::from(element.widen() - self.zero_point)));
            }
        });
        self.requantizer.run(acc, Entries::One(entry), q);
        narrow(q, pixel);
    }
}
