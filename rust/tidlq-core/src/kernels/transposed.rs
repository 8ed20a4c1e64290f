//! Transposed convolution: one ordinary convolution of stride 1 for each place between two strides.
//!
//! With stride s, output Y takes the taps k for which `Y + pad - k * dilation` is a multiple of s. For
//! all Y of one remainder by s these are the same taps, evenly spaced, over neighbouring inputs.

use bytemuck::{cast_slice, cast_slice_mut};

use super::gemm::{PRODUCT_BYTES, PackedWeights, Sums, WeightSource};
use super::product::{BLOCK_ROWS, Rows};
use super::requantize::Target;
use super::windows::centre;
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu, Isa};
use crate::network::{Map2d, Window};

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 14;

/// The outputs of one remainder, along an axis: every stride-th from the first.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Phase {
    /// Taps in the order of the inputs that they see; empty where none reaches these outputs.
    taps: Vec<usize>,
    /// Distance of the inputs that neighbouring taps see.
    dilation: usize,
    /// Input that the first tap sees from the first output; may lie outside.
    first: isize,
}

impl Phase {
    /// The phase of the outputs `output, output + stride, ...`.
    fn of(window: &Window, axis: usize, output: usize) -> Self {
        let (stride, dilation) = (window.stride[axis], window.dilation[axis]);
        let place = output + window.pad[axis];
        // Taps in one phase are as far apart as makes a multiple of both strides and dilations.
        let taps: Vec<usize> = (0..window.kernel[axis])
            .rev()
            .filter(|tap| (tap * dilation) % stride == place % stride)
            .collect();
        let step = match taps[..] {
            [last, before, ..] => (last - before) * dilation / stride,
            _ => 1,
        };
        let first = taps
            .first()
            .map_or(0, |&last| (place as isize - (last * dilation) as isize) / stride as isize);
        Self { taps, dilation: step, first }
    }

    /// A window over the phase's inputs, and what its first position is.
    fn window(&self) -> (usize, usize, usize, usize) {
        let pad = usize::try_from(-self.first).unwrap_or(0);
        let skip = usize::try_from(self.first).unwrap_or(0);
        (self.taps.len().max(1), self.dilation, pad, skip)
    }
}

/// What [`TransposedKernel::new`] packs.
pub(crate) struct TransposedSource<'a> {
    pub isa: Isa,
    pub window: Window,
    pub input: Map2d,
    pub output: Map2d,
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub zero_point: i32,
    /// Everything but the weights of one phase: `weights` is `[output][ky][kx][channel]`.
    pub weights: WeightSource<'a>,
}

/// The convolution of one pair of phases.
struct Part {
    weights: PackedWeights,
    window: Window,
    input: Map2d,
    input_type: ElementType,
    zero_point: i32,
    /// Positions of the window that come before the first.
    skip: [usize; 2],
}

/// A transposed convolution with packed weights.
pub(crate) struct TransposedKernel {
    parts: Vec<Part>,
    /// Part of a pair of phases, `[vertical][horizontal]`.
    index: Vec<usize>,
    /// Phases of the first outputs of height and width.
    phases: [usize; 2],
    stride: [usize; 2],
    output: Map2d,
    output_type: ElementType,
}

impl TransposedKernel {
    /// Packs the weights of every phase.
    pub fn new(source: &TransposedSource<'_>) -> Self {
        let Map2d { height, width, .. } = source.output;
        let phases_of = |axis: usize, size: usize| -> Vec<Phase> {
            let count = source.window.stride[axis].min(size);
            (0..count).map(|output| Phase::of(&source.window, axis, output)).collect()
        };
        let (vertical, horizontal) = (phases_of(0, height), phases_of(1, width));
        let mut parts: Vec<Part> = Vec::new();
        let mut index = Vec::with_capacity(vertical.len() * horizontal.len());
        let mut unreached = None;
        for y in &vertical {
            for x in &horizontal {
                if !y.taps.is_empty() && !x.taps.is_empty() {
                    parts.push(source.part([y, x]));
                    index.push(parts.len() - 1);
                    continue;
                }
                // Outputs that nothing reaches share one convolution without weights.
                let empty = *unreached.get_or_insert_with(|| {
                    parts.push(source.part([y, x]));
                    parts.len() - 1
                });
                index.push(empty);
            }
        }
        Self {
            parts,
            index,
            phases: [vertical.len(), horizontal.len()],
            stride: source.window.stride,
            output: source.output,
            output_type: source.output_type,
        }
    }

    fn row_bytes(&self) -> usize {
        self.parts.iter().map(Part::row_bytes).max().unwrap_or(0)
    }
}

impl Part {
    /// Bytes of a gathered row: whole words.
    const fn row_bytes(&self) -> usize {
        self.weights.words * 4
    }
}

impl TransposedSource<'_> {
    fn part(&self, phases: [&Phase; 2]) -> Part {
        let [kernel_height, kernel_width] = self.window.kernel;
        let channels = self.input.channels / self.weights.groups;
        let (height, dilation_y, pad_y, skip_y) = phases[0].window();
        let (width, dilation_x, pad_x, skip_x) = phases[1].window();
        let depth = height * width * channels;
        let outputs = self.weights.groups * self.weights.columns;
        let mut weights = vec![0_i16; outputs * depth];
        for (output, row) in weights.chunks_exact_mut(depth).enumerate() {
            for (row, &ky) in row.chunks_exact_mut(width * channels).zip(&phases[0].taps) {
                for (row, &kx) in row.chunks_exact_mut(channels).zip(&phases[1].taps) {
                    let tap = (output * kernel_height + ky) * kernel_width + kx;
                    let start = tap * channels;
                    row.copy_from_slice(&self.weights.weights[start..start + channels]);
                }
            }
        }
        let source = WeightSource { depth, weights: &weights, ..self.weights };
        let window = Window {
            kernel: [height, width],
            stride: [1, 1],
            dilation: [dilation_y, dilation_x],
            pad: [pad_y, pad_x],
        };
        Part {
            weights: PackedWeights::new(self.isa, &source),
            window,
            input: self.input,
            input_type: self.input_type,
            zero_point: self.zero_point,
            skip: [skip_y, skip_x],
        }
    }
}

impl Kernel for TransposedKernel {
    fn scratch_bytes(&self) -> usize {
        PRODUCT_BYTES + BLOCK_ROWS * self.row_bytes()
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let line = self.output.width * self.output.channels;
        let lines = self.output.count * self.output.height;
        let chunk = work.chunk(lines, 1, TASK_ELEMENTS / line);
        let bytes = line * self.output_type.size_bytes();
        work.for_each_chunk(output, chunk * bytes, |index, output| {
            work.scratch.with(self.scratch_bytes(), |scratch| {
                for (offset, output) in output.chunks_exact_mut(bytes).enumerate() {
                    self.line(work.cpu, index * chunk + offset, inputs[0], output, scratch);
                }
            });
        });
    }
}

impl TransposedKernel {
    /// Computes an output line, counted over all images.
    fn line(&self, cpu: Cpu, line: usize, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        let (image, y) = (line / self.output.height, line % self.output.height);
        let [stride_y, stride_x] = self.stride;
        let (mut sums, bytes) = Sums::split(scratch);
        for phase in 0..self.phases[1] {
            let part = &self.parts[self.index[y % stride_y * self.phases[1] + phase]];
            let weights = &part.weights;
            let starts: [usize; BLOCK_ROWS] = std::array::from_fn(|row| row * part.row_bytes());
            let positions = (self.output.width - phase).div_ceil(stride_x);
            for begin in (0..positions).step_by(BLOCK_ROWS) {
                let count = BLOCK_ROWS.min(positions - begin);
                for group in 0..weights.groups {
                    let y = y / stride_y + part.skip[0];
                    let position = (y, begin + part.skip[1]);
                    let rows = cast_slice_mut(bytes);
                    cpu.run(RowsBody { part, image, position, count, group, input, rows });
                    let x = phase + begin * stride_x;
                    let target = Target {
                        element_type: self.output_type,
                        bytes: &mut *output,
                        start: x * self.output.channels + group * weights.columns,
                        stride: stride_x * self.output.channels,
                    };
                    let starts = &starts[..count];
                    let rows = Rows { bytes, starts, segments: &[0] };
                    let panels = (group, 0, weights.panels());
                    weights.multiply(cpu, rows, panels, &mut sums, target);
                }
            }
        }
    }
}

/// Fills one row per position, neighbours along the width from the first.
struct RowsBody<'a> {
    part: &'a Part,
    image: usize,
    position: (usize, usize),
    count: usize,
    group: usize,
    input: &'a [u8],
    rows: &'a mut [i16],
}

impl Body for RowsBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { part, image, position: (y, x), count, group, input, rows } = self;
        with_element!(part.input_type, T => {
            let image = &cast_slice::<u8, T>(input)[image * part.input.image()..];
            let rows = rows.chunks_exact_mut(part.row_bytes() / 2).take(count);
            for (index, row) in rows.enumerate() {
                gather_window(part, image, (y, x + index), group, row);
            }
        }, float => {});
    }
}

/// Fills a row with the window at an output position; an odd end keeps what it holds.
#[inline(always)]
fn gather_window<T: Element>(
    part: &Part,
    image: &[T],
    (y, x): (usize, usize),
    group: usize,
    row: &mut [i16],
) {
    let (window, input) = (&part.window, &part.input);
    let channels = input.channels / part.weights.groups;
    let zero = (part.zero_point - T::OFFSET) as i16;
    let (first, end) = window.taps(1, x, 0, input.width as isize);
    for (ky, row) in row.chunks_exact_mut(window.kernel[1] * channels).enumerate() {
        let source_y = window.coordinate(0, y, ky);
        if source_y < 0 || source_y >= input.height as isize || first == end {
            row.fill(zero);
            continue;
        }
        row[..first * channels].fill(zero);
        row[end * channels..].fill(zero);
        let line = &image[source_y as usize * input.width * input.channels..];
        for kx in first..end {
            let source_x = window.coordinate(1, x, kx) as usize;
            let start = source_x * input.channels + group * channels;
            centre(&line[start..], &mut row[kx * channels..(kx + 1) * channels]);
        }
    }
}
