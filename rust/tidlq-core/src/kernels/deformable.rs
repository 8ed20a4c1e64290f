//! Convolution at places that have moved: samples of some pixels, then float64 sums, vectorised over
//! outputs, each in the order that `proto/network.proto` states.

use bytemuck::{cast_slice, cast_slice_mut};

use super::source::Source;
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::entry;
use crate::isa::{Body, Cpu};
use crate::network::{DeformableConvolution, LayerSpec, Map2d, Op, Program, TensorSpec};

/// Products that a task aims at.
const TASK_PRODUCTS: usize = 1 << 20;

/// Outputs that are summed side by side.
const LANES: usize = 8;

/// Pixels that share what is read of the weights.
const PIXELS: usize = 4;

/// A feature, how far its taps have moved, and perhaps how much each counts.
pub(crate) struct DeformableKernel {
    spec: DeformableConvolution,
    input: Map2d,
    output: Map2d,
    feature: Source,
    offsets: Source,
    offset_scale: f64,
    mask: Option<Source>,
    output_type: ElementType,
    zero_point: i32,
    /// See [`DeformableKernel::packed`].
    weights: Vec<f32>,
}

impl DeformableKernel {
    /// Of validated tensors; integer weights `[output][product]`.
    pub fn new(
        spec: &DeformableConvolution,
        inputs: &[&TensorSpec],
        output: &TensorSpec,
        weights: &[i16],
    ) -> Self {
        let empty = Map2d { count: 0, height: 0, width: 0, channels: 0 };
        let map = |tensor: &TensorSpec| Map2d::of(&tensor.shape).unwrap_or(empty);
        Self {
            spec: spec.clone(),
            input: map(inputs[0]),
            output: map(output),
            feature: Source::of(inputs[0]),
            offsets: Source::of(inputs[1]),
            offset_scale: inputs[1].scale.into(),
            mask: inputs.get(2).map(|tensor| Source::of(tensor)),
            output_type: output.element_type,
            zero_point: output.zero_point,
            weights: Self::packed(weights, spec.groups, output.last_axis()),
        }
    }

    /// Integer weights `[output][product]` as `[group][block of outputs][product][lane]`.
    fn packed(weights: &[i16], groups: usize, channels: usize) -> Vec<f32> {
        let columns = channels / groups;
        let (depth, blocks) = (weights.len() / channels, columns.div_ceil(LANES));
        if depth == 0 {
            return Vec::new();
        }
        let mut packed = vec![0.0; groups * blocks * depth * LANES];
        for (o, row) in weights.chunks_exact(depth).enumerate() {
            let (group, column) = (o / columns, o % columns);
            let start = (group * blocks + column / LANES) * depth;
            for (k, &weight) in row.iter().enumerate() {
                packed[(start + k) * LANES + column % LANES] = weight.into();
            }
        }
        packed
    }

    const fn taps(&self) -> usize {
        self.spec.window.kernel[0] * self.spec.window.kernel[1]
    }

    /// Samples of one pixel, by tap and channel.
    const fn samples(&self) -> usize {
        self.taps() * self.input.channels
    }
}

/// Sums over positions of what the weights of a layer meet; serves every frame.
pub(crate) struct SampleSums(DeformableKernel);

impl SampleSums {
    /// For a deformable convolution; `None` for any other layer.
    pub fn of(program: &Program, layer: &LayerSpec) -> Option<Self> {
        let Op::DeformableConvolution(spec) = &layer.op else { return None };
        let inputs: Vec<_> = layer.inputs.iter().map(|&input| &program.tensors[input]).collect();
        Some(Self(DeformableKernel::new(spec, &inputs, &program.tensors[layer.output], &[])))
    }

    /// (kernel height, kernel width, input channels).
    pub fn shape(&self) -> Vec<usize> {
        let [height, width] = self.0.spec.window.kernel;
        vec![height, width, self.0.input.channels]
    }

    /// Adds one frame's samples, times the mask, position by position.
    pub fn add(&self, cpu: Cpu, inputs: &[&[u8]], sums: &mut [f64]) {
        let mut samples = vec![0.0; self.0.samples()];
        for pixel in 0..self.0.output.count * self.0.output.height * self.0.output.width {
            let samples = &mut samples[..];
            cpu.run(SampleBody { kernel: &self.0, inputs, pixel, samples, sums });
        }
    }
}

/// Samples of one pixel, added to sums.
struct SampleBody<'a> {
    kernel: &'a DeformableKernel,
    inputs: &'a [&'a [u8]],
    pixel: usize,
    samples: &'a mut [f64],
    sums: &'a mut [f64],
}

impl Body for SampleBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, inputs, pixel, samples, sums } = self;
        with_element!(kernel.feature.element_type, T => {
            kernel.sample(cast_slice::<u8, T>(inputs[0]), inputs, pixel, samples);
        }, float => {});
        for (sum, sample) in sums.iter_mut().zip(samples) {
            *sum += *sample;
        }
    }
}

impl Kernel for DeformableKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let (size, channels) = (self.output_type.size_bytes(), self.output.channels);
        let depth = self.samples() / self.spec.groups;
        let chunk = work.chunk(output.len() / size, channels, TASK_PRODUCTS / depth.max(1));
        work.for_each_chunk(output, chunk * size, |index, output| {
            let mut samples = vec![0.0; PIXELS * self.samples()];
            let block = PIXELS * channels;
            for (step, output) in output.chunks_mut(block * size).enumerate() {
                let first = index * chunk / channels + step * PIXELS;
                let samples = &mut samples[..];
                work.cpu.run(PixelsBody { kernel: self, inputs, first, samples, output });
            }
        });
    }
}

/// Up to [`PIXELS`] pixels, consecutive ones.
struct PixelsBody<'a> {
    kernel: &'a DeformableKernel,
    inputs: &'a [&'a [u8]],
    first: usize,
    samples: &'a mut [f64],
    output: &'a mut [u8],
}

impl Body for PixelsBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, inputs, first, samples, output } = self;
        let channels = kernel.output.channels;
        let pixels = output.len() / kernel.output_type.size_bytes() / channels;
        with_element!(kernel.feature.element_type, T => {
            let image = cast_slice::<u8, T>(inputs[0]);
            let rows = samples.chunks_exact_mut(kernel.samples());
            for (pixel, row) in (first..first + pixels).zip(rows) {
                kernel.sample(image, inputs, pixel, row);
            }
        }, float => {});
        with_element!(kernel.output_type, O => {
            kernel.sum(samples, cast_slice_mut::<u8, O>(output));
        }, float => {});
    }
}

impl DeformableKernel {
    /// Samples of one pixel, times the mask.
    #[inline(always)]
    fn sample<T: Element>(&self, image: &[T], inputs: &[&[u8]], pixel: usize, samples: &mut [f64]) {
        let Map2d { height, width, .. } = self.output;
        let image = &image[pixel / (height * width) * self.input.image()..];
        let at = [pixel / width % height, pixel % width];
        let window = &self.spec.window;
        let part = self.input.channels / self.spec.offset_groups;
        let taps = self.taps();
        for tap in 0..taps {
            let k = [tap / window.kernel[1], tap % window.kernel[1]];
            let channels = samples[tap * self.input.channels..].chunks_exact_mut(part);
            for (group, samples) in channels.take(self.spec.offset_groups).enumerate() {
                let entry = (pixel * self.spec.offset_groups + group) * taps + tap;
                let place = |axis: usize| {
                    let offset = self.offsets.at(inputs[1], 2 * entry + axis);
                    window.coordinate(axis, at[axis], k[axis]) as f64
                        + self.offset_scale * f64::from(offset)
                };
                let mask = self.mask.map_or(1.0, |mask| mask.at(inputs[2], entry).into());
                let corners = self.corners([place(0), place(1)], group * part);
                let zero_point = self.feature.zero_point;
                let rows = corners.map(|(start, _)| &image[start..start + part]);
                for (i, sample) in samples.iter_mut().enumerate() {
                    let x = |corner: usize| f64::from(rows[corner][i].widen() - zero_point);
                    let sum = x(0) * corners[0].1
                        + x(1) * corners[1].1
                        + x(2) * corners[2].1
                        + x(3) * corners[3].1;
                    *sample = sum * mask;
                }
            }
        }
    }

    /// The four positions around a place with their weights; outside of the feature these are 0.
    #[inline(always)]
    fn corners(&self, place: [f64; 2], channel: usize) -> [(usize, f64); 4] {
        let Map2d { height, width, channels, .. } = self.input;
        let floor = place.map(f64::floor);
        let [f, g] = [place[0] - floor[0], place[1] - floor[1]];
        let corner = |row: f64, column: f64, weight: f64| {
            let is_inside =
                (0.0..height as f64).contains(&row) && (0.0..width as f64).contains(&column);
            let position = (row as usize).wrapping_mul(width).wrapping_add(column as usize);
            if is_inside { (position * channels + channel, weight) } else { (channel, 0.0) }
        };
        [
            corner(floor[0], floor[1], (1.0 - f) * (1.0 - g)),
            corner(floor[0], floor[1] + 1.0, (1.0 - f) * g),
            corner(floor[0] + 1.0, floor[1], f * (1.0 - g)),
            corner(floor[0] + 1.0, floor[1] + 1.0, f * g),
        ]
    }

    /// Outputs of some pixels from their samples.
    #[inline(always)]
    fn sum<O: Element>(&self, samples: &[f64], output: &mut [O]) {
        let channels = self.output.channels;
        let columns = channels / self.spec.groups;
        let part = self.input.channels / self.spec.groups;
        let depth = self.taps() * part;
        let blocks = columns.div_ceil(LANES);
        for (block, weights) in self.weights.chunks_exact(depth * LANES).enumerate() {
            let group = block / blocks;
            let acc = self.accumulate(samples, weights, group * part);
            let first = group * columns + block % blocks * LANES;
            let end = (first + LANES).min((group + 1) * columns);
            for (output, acc) in output.chunks_exact_mut(channels).zip(&acc) {
                for (o, (output, acc)) in (first..).zip(output[first..end].iter_mut().zip(acc)) {
                    *output = self.rounded(*acc, o);
                }
            }
        }
    }

    #[inline(always)]
    fn accumulate(
        &self,
        samples: &[f64],
        weights: &[f32],
        channel: usize,
    ) -> [[f64; LANES]; PIXELS] {
        let part = self.input.channels / self.spec.groups;
        let mut acc = [[0.0; LANES]; PIXELS];
        for (tap, weights) in weights.chunks_exact(part * LANES).enumerate() {
            let start = tap * self.input.channels + channel;
            let rows: [&[f64]; PIXELS] =
                std::array::from_fn(|pixel| &samples[pixel * self.samples() + start..][..part]);
            for (i, weights) in weights.chunks_exact(LANES).enumerate() {
                for (acc, row) in acc.iter_mut().zip(&rows) {
                    for (acc, &weight) in acc.iter_mut().zip(weights) {
                        *acc += row[i] * f64::from(weight);
                    }
                }
            }
        }
        acc
    }

    #[inline(always)]
    fn rounded<O: Element>(&self, acc: f64, o: usize) -> O {
        let value =
            (acc * entry(&self.spec.gain, o) + entry(&self.spec.shift, o)).round_ties_even();
        let [low, high] = self.spec.clamp.map(|end| f64::from(end - self.zero_point));
        O::narrow(value.clamp(low, high) as i32 + self.zero_point)
    }
}
