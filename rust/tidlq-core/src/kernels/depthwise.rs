//! Depthwise convolution: one filter per channel, vectorised over channels.

use bytemuck::{cast_slice, cast_slice_mut};

use super::block::narrow;
use super::requantize::{Accumulator, Entries, RowRequantizer};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::Requantizer;
use crate::isa::Body;
use crate::network::{Map2d, Window};

/// Channels that are computed together.
const LANES: usize = 32;

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 14;

/// A depthwise convolution.
pub(crate) struct DepthwiseKernel {
    window: Window,
    input: Map2d,
    output: Map2d,
    input_type: ElementType,
    output_type: ElementType,
    /// `[tap][channel]`.
    weights: Vec<i16>,
    /// Zero point folded in.
    bias: Vec<i64>,
    /// Centred zero point: what padding holds.
    zero: i32,
    width: Width,
    requantizer: RowRequantizer,
}

/// What the numbers are proven to fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// Products fit 16 bits, sums 32.
    Short,
    /// Sums fit 32 bits.
    Narrow,
    /// Sums need 64 bits.
    Wide,
}

/// What [`DepthwiseKernel::new`] packs.
pub(crate) struct DepthwiseSource<'a> {
    pub window: Window,
    pub input: Map2d,
    pub output: Map2d,
    pub input_type: ElementType,
    pub output_type: ElementType,
    /// `[channel][tap]`.
    pub weights: &'a [i16],
    pub bias: &'a [i64],
    pub zero_point: i32,
    pub requantizer: &'a Requantizer,
}

impl DepthwiseKernel {
    /// Packs, and proves which sums fit.
    pub fn new(source: &DepthwiseSource<'_>) -> Self {
        let channels = source.output.channels;
        let taps = source.window.kernel[0] * source.window.kernel[1];
        let (offset, magnitude) = centring(source.input_type);
        let zero = source.zero_point - offset;
        let mut weights = vec![0; channels * taps];
        let mut bias = source.bias.to_vec();
        let (mut bound, mut greatest_weight) = (0_u64, 0_u64);
        for (channel, filter) in source.weights.chunks_exact(taps).enumerate() {
            let mut absolute = 0_u64;
            for (tap, &weight) in filter.iter().enumerate() {
                weights[tap * channels + channel] = weight;
                bias[channel] -= i64::from(zero) * i64::from(weight);
                absolute += u64::from(weight.unsigned_abs());
                greatest_weight = greatest_weight.max(u64::from(weight.unsigned_abs()));
            }
            bound = bound.max(absolute * magnitude + bias[channel].unsigned_abs());
        }
        let width = match bound {
            _ if bound > i32::MAX as u64 => Width::Wide,
            _ if greatest_weight * magnitude <= i16::MAX as u64 => Width::Short,
            _ => Width::Narrow,
        };
        Self {
            window: source.window,
            input: source.input,
            output: source.output,
            input_type: source.input_type,
            output_type: source.output_type,
            weights,
            bias,
            zero,
            width,
            requantizer: RowRequantizer::new(source.requantizer, bound),
        }
    }
}

/// What centring subtracts, and the greatest magnitude after it.
fn centring(element_type: ElementType) -> (i32, u64) {
    with_element!(element_type, T => {
        let low = (T::LOWEST - T::OFFSET).unsigned_abs();
        let high = (T::HIGHEST - T::OFFSET).unsigned_abs();
        (T::OFFSET, u64::from(low.max(high)))
    }, float => (0, 0))
}

impl Kernel for DepthwiseKernel {
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

/// Computes consecutive output lines.
struct LinesBody<'a> {
    kernel: &'a DepthwiseKernel,
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
                match kernel.width {
                    Width::Short => kernel.lines(input, output, self.first, short_product, i32::default()),
                    Width::Narrow => kernel.lines(input, output, self.first, long_product, i32::default()),
                    Width::Wide => kernel.lines(input, output, self.first, wide_product, i64::default()),
                }
            }, float => {});
        }, float => {});
    }
}

#[inline(always)]
fn short_product(element: i16, weight: i16) -> i32 {
    i32::from(element.wrapping_mul(weight))
}

#[inline(always)]
fn long_product(element: i16, weight: i16) -> i32 {
    i32::from(element) * i32::from(weight)
}

#[inline(always)]
fn wide_product(element: i16, weight: i16) -> i64 {
    i64::from(long_product(element, weight))
}

impl DepthwiseKernel {
    #[inline(always)]
    fn lines<T: Element, U: Element, A: Accumulator>(
        &self,
        input: &[T],
        output: &mut [U],
        first: usize,
        product: impl Fn(i16, i16) -> A + Copy,
        _accumulator: A,
    ) {
        let channels = self.output.channels;
        for (index, line) in output.chunks_exact_mut(self.output.width * channels).enumerate() {
            let (image, y) =
                ((first + index) / self.output.height, (first + index) % self.output.height);
            let image = &input[image * self.input.image()..(image + 1) * self.input.image()];
            for (x, pixel) in line.chunks_exact_mut(channels).enumerate() {
                self.pixel(image, (y, x), pixel, product);
            }
        }
    }

    #[inline(always)]
    fn pixel<T: Element, U: Element, A: Accumulator>(
        &self,
        image: &[T],
        (y, x): (usize, usize),
        pixel: &mut [U],
        product: impl Fn(i16, i16) -> A + Copy,
    ) {
        let mut channel = 0;
        let mut chunks = pixel.chunks_exact_mut(LANES);
        for pixel in &mut chunks {
            let mut acc = [A::default(); LANES];
            self.accumulate(image, (y, x), channel, &mut acc, product);
            self.finish(&acc, channel, &mut [0; LANES], pixel);
            channel += LANES;
        }
        let rest = chunks.into_remainder();
        if !rest.is_empty() {
            let mut acc = [A::default(); LANES];
            let acc = &mut acc[..rest.len()];
            self.accumulate(image, (y, x), channel, acc, product);
            self.finish(acc, channel, &mut [0; LANES][..rest.len()], rest);
        }
    }

    /// Adds bias and products of `acc.len()` channels.
    #[inline(always)]
    fn accumulate<T: Element, A: Accumulator>(
        &self,
        image: &[T],
        (y, x): (usize, usize),
        channel: usize,
        acc: &mut [A],
        product: impl Fn(i16, i16) -> A + Copy,
    ) {
        let (channels, lanes) = (self.output.channels, acc.len());
        for (acc, &bias) in acc.iter_mut().zip(&self.bias[channel..channel + lanes]) {
            *acc = A::from_wide(bias);
        }
        let window = &self.window;
        for ky in 0..window.kernel[0] {
            let source_y = window.coordinate(0, y, ky);
            for kx in 0..window.kernel[1] {
                let source_x = window.coordinate(1, x, kx);
                let tap = (ky * window.kernel[1] + kx) * channels + channel;
                let weights = &self.weights[tap..tap + lanes];
                let is_inside = (0..self.input.height as isize).contains(&source_y)
                    && (0..self.input.width as isize).contains(&source_x);
                if !is_inside {
                    let zero = self.zero as i16;
                    for (acc, &weight) in acc.iter_mut().zip(weights) {
                        *acc = acc.plus(product(zero, weight));
                    }
                    continue;
                }
                let start = (source_y as usize * self.input.width + source_x as usize) * channels;
                let elements = &image[start + channel..start + channel + lanes];
                for ((acc, &weight), element) in acc.iter_mut().zip(weights).zip(elements) {
                    *acc = acc.plus(product(element.centre(), weight));
                }
            }
        }
    }

    #[inline(always)]
    fn finish<U: Element, A: Accumulator>(
        &self,
        acc: &[A],
        channel: usize,
        q: &mut [i32],
        pixel: &mut [U],
    ) {
        self.requantizer.run(acc, Entries::From(channel), q);
        narrow(q, pixel);
    }
}
