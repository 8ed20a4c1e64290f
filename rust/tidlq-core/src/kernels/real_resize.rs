//! Resize by real weights, vectorised over channels.

use bytemuck::{cast_slice, cast_slice_mut};

use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::{Requantizer, dequantize};
use crate::isa::Body;
use crate::network::{Map2d, ResizeAxis};

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 13;

/// What the four elements around a position become.
pub(crate) trait Rule: Send + Sync {
    /// An output integer of low-low, high-low, low-high, high-high of (height, width), with the shares
    /// of height's and width's `high`.
    fn mix(&self, corners: [i32; 4], shares: (f32, f32)) -> i32;
}

/// Integers as they are, mixed, rounded by adding a half and truncating.
pub(crate) struct Truncated {
    pub low: i32,
    pub high: i32,
}

impl Rule for Truncated {
    #[inline(always)]
    fn mix(&self, corners: [i32; 4], (f, g): (f32, f32)) -> i32 {
        let [ll, hl, lh, hh] = corners.map(|element| element as f32);
        let sum = ll * (1.0 - f) * (1.0 - g) + hl * f * (1.0 - g) + lh * (1.0 - f) * g;
        let sum = sum + hh * f * g + 0.5;
        // At most 2^18 in magnitude.
        (sum as i32).max(self.low).min(self.high)
    }
}

/// Real values mixed, then quantized.
pub(crate) struct Unquantized {
    pub input_scale: f32,
    pub input_zero_point: i32,
    pub output_scale: f32,
    pub requantizer: Requantizer,
}

impl Rule for Unquantized {
    #[inline(always)]
    fn mix(&self, corners: [i32; 4], (f, g): (f32, f32)) -> i32 {
        let [ll, hl, lh, hh] =
            corners.map(|element| dequantize(element, self.input_scale, self.input_zero_point));
        let sum = ll * ((1.0 - g) * (1.0 - f)) + lh * (g * (1.0 - f)) + hl * ((1.0 - g) * f);
        let sum = sum + hh * (g * f);
        self.requantizer.apply_float(sum / self.output_scale)
    }
}

/// An interpolation in float32.
pub(crate) struct RealResizeKernel<R> {
    /// Height and width.
    pub axes: [ResizeAxis; 2],
    pub fractions: [Vec<f32>; 2],
    pub input: Map2d,
    pub output: Map2d,
    pub from: ElementType,
    pub to: ElementType,
    pub rule: R,
}

impl<R: Rule> Kernel for RealResizeKernel<R> {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let line = self.output.width * self.output.channels;
        let lines = self.output.count * self.output.height;
        let chunk = work.chunk(lines, 1, TASK_ELEMENTS / line);
        let bytes = chunk * line * self.to.size_bytes();
        work.for_each_chunk(output, bytes, |index, output| {
            work.cpu.run(LinesBody {
                kernel: self,
                first: index * chunk,
                input: inputs[0],
                output,
            });
        });
    }
}

/// Whole output lines, counted over all images.
struct LinesBody<'a, R> {
    kernel: &'a RealResizeKernel<R>,
    first: usize,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl<R: Rule> Body for LinesBody<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, first, input, output } = self;
        with_element!(kernel.from, I => {
            let input = cast_slice::<u8, I>(input);
            with_element!(kernel.to, O => {
                kernel.lines::<I, O>(input, first, cast_slice_mut(output));
            }, float => {});
        }, float => {});
    }
}

impl<R: Rule> RealResizeKernel<R> {
    #[inline(always)]
    fn lines<I: Element, O: Element>(&self, input: &[I], first: usize, output: &mut [O]) {
        let Map2d { width, channels, height, .. } = self.output;
        let [vertical, horizontal] = &self.axes;
        for (index, line) in output.chunks_exact_mut(width * channels).enumerate() {
            let (image, y) = ((first + index) / height, (first + index) % height);
            let image = &input[image * self.input.image()..];
            let row = |y: u32| &image[y as usize * self.input.width * channels..];
            let (low, high) = (row(vertical.low[y]), row(vertical.high[y]));
            let f = self.fractions[0][y];
            for (x, pixel) in line.chunks_exact_mut(channels).enumerate() {
                let g = self.fractions[1][x];
                let left = horizontal.low[x] as usize * channels;
                let right = horizontal.high[x] as usize * channels;
                let corners = [&low[left..], &high[left..], &low[right..], &high[right..]];
                mix(&self.rule, corners, (f, g), pixel);
            }
        }
    }
}

/// The mixture of four pixels: low-low, high-low, low-high, high-high of (height, width).
#[inline(always)]
fn mix<R: Rule, I: Element, O: Element>(
    rule: &R,
    [ll, hl, lh, hh]: [&[I]; 4],
    shares: (f32, f32),
    output: &mut [O],
) {
    let length = output.len();
    let (ll, hl, lh, hh) = (&ll[..length], &hl[..length], &lh[..length], &hh[..length]);
    for (channel, output) in output.iter_mut().enumerate() {
        let corners = [ll, hl, lh, hh].map(|pixel| pixel[channel].widen());
        *output = O::narrow(rule.mix(corners, shares));
    }
}
