//! Max and average pools, vectorised over channels.

use bytemuck::{cast_slice, cast_slice_mut};

use super::block::BLOCK;
use super::requantize::{Accumulator, Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};
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
    pub fn visit(&self, window: &Window, (y, x): (usize, usize), mut visit: impl FnMut(usize)) {
        let covered = self.covered(window, y, x);
        for ky in covered.y.0..covered.y.1 {
            let line = window.coordinate(0, y, ky) as usize * self.input.width;
            for kx in covered.x.0..covered.x.1 {
                visit((line + window.coordinate(1, x, kx) as usize) * self.input.channels);
            }
        }
    }

    /// Splits the output by lines.
    pub fn for_each_lines(
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
            if self.is_narrow {
                self.lines::<i32>(work.cpu, first, inputs[0], output);
            } else {
                self.lines::<i64>(work.cpu, first, inputs[0], output);
            }
        });
    }
}

impl AveragePoolKernel {
    fn lines<A: Accumulator>(&self, cpu: Cpu, first: usize, input: &[u8], output: &mut [u8]) {
        let PoolShape { input: map, output: out } = self.shape;
        let lines = output.len() / self.output_type.size_bytes() / (out.width * out.channels);
        let mut acc = [A::default(); BLOCK];
        for line in 0..lines {
            let y = (first + line) % out.height;
            let height = self.pool.divisor(0, y, map.height) as u64;
            for x in 0..out.width {
                let divisor = height * self.pool.divisor(1, x, map.width) as u64;
                // Validation has seen every divisor in the list.
                let entry = self.pool.count.binary_search(&divisor).unwrap_or(0);
                for channel in (0..out.channels).step_by(BLOCK) {
                    let acc = &mut acc[..BLOCK.min(out.channels - channel)];
                    let position = Position { line: first + line, x, channel };
                    cpu.run(SumBody { kernel: self, input, position, acc: &mut *acc });
                    let target = Target {
                        element_type: self.output_type,
                        bytes: output,
                        start: (line * out.width + x) * out.channels + channel,
                        stride: 0,
                    };
                    let layout = Layout::row(acc.len());
                    self.requantizer.finish(cpu, acc, layout, Entries::One(entry), target);
                }
            }
        }
    }
}

/// An output element, lines counted over all images.
#[derive(Clone, Copy)]
struct Position {
    line: usize,
    x: usize,
    channel: usize,
}

/// Sums of consecutive channels over a window.
struct SumBody<'a, A> {
    kernel: &'a AveragePoolKernel,
    input: &'a [u8],
    position: Position,
    acc: &'a mut [A],
}

impl<A: Accumulator> Body for SumBody<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, input, position, acc } = self;
        let shape = &kernel.shape;
        let (image, y) = (position.line / shape.output.height, position.line % shape.output.height);
        let image = image * shape.input.image() + position.channel;
        acc.fill(A::default());
        with_element!(kernel.input_type, T => {
            let input = &cast_slice::<u8, T>(input)[image..];
            shape.visit(&kernel.pool.window, (y, position.x), |start| {
                let elements = &input[start..start + acc.len()];
                for (acc, element) in acc.iter_mut().zip(elements) {
                    *acc = acc.plus(A::from_narrow(element.widen() - kernel.zero_point));
                }
            });
        }, float => {});
    }
}
