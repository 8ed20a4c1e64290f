//! Convolution: windows are gathered into rows of 16-bit numbers, a tile of output positions at a
//! time, and multiplied with the packed weights.

use bytemuck::{cast_slice, cast_slice_mut};

use super::gemm::{MAX_TILE_ROWS, PackedWeights, ROWS, Tile};
use super::requantize::Target;
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};
use crate::network::{Map2d, Window};

/// Bytes of gathered rows that a tile aims at: what stays in the second-level cache.
const TILE_BYTES: usize = 1 << 16;

/// A convolution with packed weights.
pub(crate) struct ConvolutionKernel {
    pub weights: PackedWeights,
    pub window: Window,
    pub input: Map2d,
    pub output: Map2d,
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub zero_point: i32,
}

/// Rows that a tile holds for rows of `row_bytes`; a multiple of [`ROWS`].
pub(crate) fn tile_rows(row_bytes: usize) -> usize {
    (TILE_BYTES / row_bytes.max(1) / ROWS * ROWS).clamp(ROWS, MAX_TILE_ROWS)
}

impl ConvolutionKernel {
    fn row_bytes(&self) -> usize {
        self.weights.depth * 2
    }

    /// Whether output positions are input positions, so that rows are contiguous in the input.
    fn is_pointwise(&self) -> bool {
        let Window { kernel, stride, pad, .. } = self.window;
        let Map2d { height, width, .. } = self.output;
        self.weights.groups == 1
            && (kernel, stride, pad) == ([1, 1], [1, 1], [0, 0])
            && (height, width) == (self.input.height, self.input.width)
    }

    fn tile_rows(&self) -> usize {
        tile_rows(self.row_bytes())
    }
}

impl Kernel for ConvolutionKernel {
    fn scratch_bytes(&self) -> usize {
        self.tile_rows() * self.row_bytes()
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let row = self.weights.outputs() * self.output_type.size_bytes();
        let tile = self.tile_rows();
        let chunk = work.chunk(output.len() / row, ROWS, tile);
        work.for_each_chunk(output, chunk * row, |index, output| {
            work.scratch.with(self.scratch_bytes(), |scratch| {
                self.tile(work.cpu, index * chunk, inputs[0], output, cast_slice_mut(scratch));
            });
        });
    }
}

impl ConvolutionKernel {
    /// Computes consecutive output positions from `first`.
    fn tile(&self, cpu: Cpu, first: usize, input: &[u8], output: &mut [u8], rows: &mut [i16]) {
        let weights = &self.weights;
        let outputs = weights.outputs();
        let count = output.len() / self.output_type.size_bytes() / outputs;
        for group in 0..weights.groups {
            cpu.run(GatherBody { kernel: self, first, count, group, input, rows });
            let panels = (0, weights.panels_per_group());
            let target = Target {
                element_type: self.output_type,
                bytes: output,
                start: group * weights.columns,
                stride: outputs,
            };
            weights.multiply(cpu, &Tile { rows, count, group, panels }, target);
        }
    }
}

/// Fills one row per output position with the centred elements of its window, padding included.
struct GatherBody<'a> {
    kernel: &'a ConvolutionKernel,
    first: usize,
    count: usize,
    group: usize,
    input: &'a [u8],
    rows: &'a mut [i16],
}

impl Body for GatherBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, first, count, group, input, rows } = self;
        with_element!(kernel.input_type, T => {
            gather::<T>(kernel, cast_slice(input), (first, count), group, rows);
        }, float => {});
    }
}

#[inline(always)]
fn gather<T: Element>(
    kernel: &ConvolutionKernel,
    input: &[T],
    (first, count): (usize, usize),
    group: usize,
    rows: &mut [i16],
) {
    if kernel.is_pointwise() {
        let depth = kernel.weights.depth;
        centre(&input[first * depth..], &mut rows[..count * depth]);
        return;
    }
    let positions = kernel.output.height * kernel.output.width;
    for (index, row) in rows.chunks_exact_mut(kernel.weights.depth).enumerate().take(count) {
        let position = first + index;
        let image = &input[position / positions * kernel.input.image()..];
        let (y, x) = (position % positions / kernel.output.width, position % kernel.output.width);
        gather_window(kernel, image, (y, x), group, row);
    }
}

/// Fills a row with the window at an output position.
#[inline(always)]
pub(crate) fn gather_window<T: Element>(
    kernel: &ConvolutionKernel,
    image: &[T],
    (y, x): (usize, usize),
    group: usize,
    row: &mut [i16],
) {
    let (window, input) = (&kernel.window, &kernel.input);
    let channels = input.channels / kernel.weights.groups;
    let zero = (kernel.zero_point - T::OFFSET) as i16;
    let (first, end) = window.taps(1, x, 0, input.width as isize);
    let is_contiguous = kernel.weights.groups == 1 && window.dilation[1] == 1;
    for (ky, row) in row.chunks_exact_mut(window.kernel[1] * channels).enumerate() {
        let source_y = window.coordinate(0, y, ky);
        if source_y < 0 || source_y >= input.height as isize || first == end {
            row.fill(zero);
            continue;
        }
        row[..first * channels].fill(zero);
        row[end * channels..].fill(zero);
        let line = &image[source_y as usize * input.width * input.channels..];
        if is_contiguous {
            let start = window.coordinate(1, x, first) as usize * channels;
            centre(&line[start..], &mut row[first * channels..end * channels]);
            continue;
        }
        for kx in first..end {
            let source_x = window.coordinate(1, x, kx) as usize;
            let start = source_x * input.channels + group * channels;
            centre(&line[start..], &mut row[kx * channels..(kx + 1) * channels]);
        }
    }
}

/// Centres elements into a row.
#[inline(always)]
pub(crate) fn centre<T: Element>(elements: &[T], row: &mut [i16]) {
    let elements = &elements[..row.len()];
    for (target, element) in row.iter_mut().zip(elements) {
        *target = element.centre();
    }
}
