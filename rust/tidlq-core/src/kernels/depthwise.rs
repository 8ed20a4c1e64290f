//! Depthwise convolution: one filter per channel, vectorised over channels.

use bytemuck::cast_slice;

use super::requantize::{Accumulator, Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::Requantizer;
use crate::isa::{Body, Cpu};
use crate::network::{Map2d, Window};

/// Accumulators that are computed before they are requantized.
const ACCUMULATORS: usize = 4096;

/// Greatest number of channels of a stretch.
const STRETCH_CHANNELS: usize = 512;

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
    /// The same, where 32 bits are proven enough.
    narrow_bias: Vec<i32>,
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
            narrow_bias: bias.iter().map(|&bias| bias as i32).collect(),
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
    fn ends_in_sum(&self) -> bool {
        true
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let line = self.output.width * self.output.channels;
        let lines = self.output.count * self.output.height;
        let chunk = work.chunk(lines, 1, TASK_ELEMENTS / line);
        let bytes = chunk * line * self.output_type.size_bytes();
        work.for_each_chunk(output, bytes, |index, output| {
            let lines = output.len() / (line * self.output_type.size_bytes());
            for offset in 0..lines {
                let line = (index * chunk + offset, offset);
                if self.width == Width::Wide {
                    self.line::<i64>(work.cpu, line, inputs[0], output);
                } else {
                    self.line::<i32>(work.cpu, line, inputs[0], output);
                }
            }
            work.end(index * bytes, output);
        });
    }
}

impl DepthwiseKernel {
    /// Computes output line `line.0` into line `line.1` of `output`, in stretches of pixels and
    /// channels.
    fn line<A: Accumulator + Multiply>(
        &self,
        cpu: Cpu,
        line: (usize, usize),
        input: &[u8],
        output: &mut [u8],
    ) {
        let Map2d { width, channels, .. } = self.output;
        let mut acc = [A::default(); ACCUMULATORS];
        for channel in (0..channels).step_by(STRETCH_CHANNELS) {
            let count = STRETCH_CHANNELS.min(channels - channel);
            let pixels = ACCUMULATORS / count;
            for x in (0..width).step_by(pixels) {
                let pixels = pixels.min(width - x);
                let acc = &mut acc[..pixels * count];
                let stretch = Stretch { line: line.0, x, channel, channels: count };
                cpu.run(StretchBody { kernel: self, input, stretch, acc });
                let target = Target {
                    element_type: self.output_type,
                    bytes: output,
                    start: (line.1 * width + x) * channels + channel,
                    stride: channels,
                };
                let layout = Layout { rows: pixels, columns: count, stride: count };
                self.requantizer.finish(cpu, acc, layout, Entries::From(channel), target);
            }
        }
    }
}

/// Products of a pixel and a weight, in the width that is proven enough.
pub(crate) trait Multiply: Accumulator {
    /// The product as it is; `SHORT`: it fits 16 bits.
    fn product<const SHORT: bool>(element: i16, weight: i16) -> Self;

    /// Biases in this width.
    fn bias(kernel: &DepthwiseKernel) -> &[Self];
}

impl Multiply for i32 {
    #[inline(always)]
    fn bias(kernel: &DepthwiseKernel) -> &[Self] {
        &kernel.narrow_bias
    }

    #[inline(always)]
    fn product<const SHORT: bool>(element: i16, weight: i16) -> Self {
        if SHORT {
            Self::from(element.wrapping_mul(weight))
        } else {
            Self::from(element) * Self::from(weight)
        }
    }
}

impl Multiply for i64 {
    #[inline(always)]
    fn bias(kernel: &DepthwiseKernel) -> &[Self] {
        &kernel.bias
    }

    #[inline(always)]
    fn product<const SHORT: bool>(element: i16, weight: i16) -> Self {
        Self::from(i32::from(element) * i32::from(weight))
    }
}

/// Part of an output line.
#[derive(Clone, Copy)]
struct Stretch {
    /// Output line, counted over all images.
    line: usize,
    /// First pixel.
    x: usize,
    /// First channel.
    channel: usize,
    channels: usize,
}

/// Sums of a stretch: `[pixel][channel]`.
struct StretchBody<'a, A> {
    kernel: &'a DepthwiseKernel,
    input: &'a [u8],
    stretch: Stretch,
    acc: &'a mut [A],
}

impl<A: Multiply> Body for StretchBody<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, input, stretch, acc } = self;
        with_element!(kernel.input_type, T => {
            let input = cast_slice::<u8, T>(input);
            if kernel.width == Width::Short {
                kernel.stretch::<T, A, true>(input, stretch, acc);
            } else {
                kernel.stretch::<T, A, false>(input, stretch, acc);
            }
        }, float => {});
    }
}

/// One output pixel: where its window lies.
#[derive(Clone, Copy)]
struct Pixel {
    y: usize,
    x: usize,
    /// Taps inside the input: rows, columns.
    rows: (usize, usize),
    columns: (usize, usize),
}

impl DepthwiseKernel {
    #[inline(always)]
    fn stretch<T: Element, A: Multiply, const SHORT: bool>(
        &self,
        input: &[T],
        stretch: Stretch,
        acc: &mut [A],
    ) {
        let Stretch { line, x, channel, channels } = stretch;
        let (image, y) = (line / self.output.height, line % self.output.height);
        let image = &input[image * self.input.image()..(image + 1) * self.input.image()];
        let rows = self.window.taps(0, y, 0, self.input.height as isize);
        for (index, acc) in acc.chunks_exact_mut(channels).enumerate() {
            let x = x + index;
            let columns = self.window.taps(1, x, 0, self.input.width as isize);
            let is_empty = columns.0 == columns.1;
            let pixel = Pixel { y, x, rows: if is_empty { (0, 0) } else { rows }, columns };
            let mut first = 0;
            while first < channels {
                let rest = channels - first;
                if rest >= 32 {
                    first = self.lanes::<T, A, SHORT, 32>(image, pixel, channel, first, acc);
                } else if rest >= 16 {
                    first = self.lanes::<T, A, SHORT, 16>(image, pixel, channel, first, acc);
                } else if channels >= 8 {
                    // The last group begins earlier if need be, and repeats some channels.
                    let first_of_eight = first.min(channels - 8);
                    first =
                        self.lanes::<T, A, SHORT, 8>(image, pixel, channel, first_of_eight, acc);
                } else {
                    first = self.lanes::<T, A, SHORT, 1>(image, pixel, channel, first, acc);
                }
            }
        }
    }

    /// Bias and products of `LANES` channels of a stretch that begins at channel `base`; returns the
    /// first channel, within the stretch, after them.
    #[inline(always)]
    fn lanes<T: Element, A: Multiply, const SHORT: bool, const LANES: usize>(
        &self,
        image: &[T],
        pixel: Pixel,
        base: usize,
        first: usize,
        target: &mut [A],
    ) -> usize {
        let channels = self.output.channels;
        let channel = base + first;
        let [height, width] = self.window.kernel;
        let mut acc = [A::default(); LANES];
        acc.copy_from_slice(&A::bias(self)[channel..channel + LANES]);
        let left = self.window.coordinate(1, pixel.x, pixel.columns.0);
        let step = self.window.dilation[1] * channels;
        for ky in pixel.rows.0..pixel.rows.1 {
            let line = self.window.coordinate(0, pixel.y, ky) * self.input.width as isize;
            let elements = &image[(line + left) as usize * channels + channel..];
            let weights = (ky * width + pixel.columns.0) * channels + channel;
            let weights = &self.weights[weights..];
            for kx in 0..pixel.columns.1 - pixel.columns.0 {
                let elements = &elements[kx * step..kx * step + LANES];
                let weights = &weights[kx * channels..kx * channels + LANES];
                for lane in 0..LANES {
                    let product = A::product::<SHORT>(elements[lane].centre(), weights[lane]);
                    acc[lane] = acc[lane].plus(product);
                }
            }
        }
        let covered = (pixel.rows.1 - pixel.rows.0) * (pixel.columns.1 - pixel.columns.0);
        if covered < height * width && self.zero != 0 {
            self.add_padding::<A, LANES>(pixel, channel, &mut acc);
        }
        target[first..first + LANES].copy_from_slice(&acc);
        first + LANES
    }

    /// The bias takes the zero point from every tap; the taps outside the input give it back.
    #[inline(always)]
    fn add_padding<A: Multiply, const LANES: usize>(
        &self,
        pixel: Pixel,
        channel: usize,
        acc: &mut [A; LANES],
    ) {
        let [height, width] = self.window.kernel;
        for ky in 0..height {
            for kx in 0..width {
                let is_inside = (pixel.rows.0..pixel.rows.1).contains(&ky)
                    && (pixel.columns.0..pixel.columns.1).contains(&kx);
                if is_inside {
                    continue;
                }
                let weight = (ky * width + kx) * self.output.channels + channel;
                let weights = &self.weights[weight..weight + LANES];
                for lane in 0..LANES {
                    let product = A::product::<false>(self.zero as i16, weights[lane]);
                    acc[lane] = acc[lane].plus(product);
                }
            }
        }
    }
}
