//! Inner product: rows against packed weights; a single row is split over the outputs.

use bytemuck::{cast_slice, cast_slice_mut};

use super::convolution::{centre, tile_rows};
use super::gemm::{COLUMNS, PackedWeights, ROWS};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::Body;

/// Panels of outputs in one task when a single row is split.
const TASK_PANELS: usize = 4;

/// An inner product with packed weights.
pub(crate) struct InnerProductKernel {
    pub weights: PackedWeights,
    pub input_type: ElementType,
    pub output_type: ElementType,
}

impl InnerProductKernel {
    fn row_bytes(&self) -> usize {
        self.weights.pairs() * 4
    }
}

impl Kernel for InnerProductKernel {
    fn scratch_bytes(&self) -> usize {
        tile_rows(self.row_bytes()) * self.row_bytes()
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let rows = output.len() / size / self.weights.columns;
        let is_split = rows == 1;
        let chunk = if is_split {
            TASK_PANELS * COLUMNS
        } else {
            work.chunk(rows, ROWS, tile_rows(self.row_bytes())) * self.weights.columns
        };
        work.for_each_chunk(output, chunk * size, |index, output| {
            work.scratch.with(self.scratch_bytes(), |scratch| {
                let first = index * chunk;
                let (row, column) = (first / self.weights.columns, first % self.weights.columns);
                let body =
                    RowsBody { kernel: self, row, column, input: inputs[0], output, scratch };
                work.cpu.run(body);
            });
        });
    }
}

/// Computes whole rows, or a stretch of one row.
struct RowsBody<'a> {
    kernel: &'a InnerProductKernel,
    row: usize,
    column: usize,
    input: &'a [u8],
    output: &'a mut [u8],
    scratch: &'a mut [u8],
}

impl Body for RowsBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let kernel = self.kernel;
        let weights = &kernel.weights;
        let rows: &mut [i16] = cast_slice_mut(self.scratch);
        let elements = self.output.len() / kernel.output_type.size_bytes();
        let count = elements.div_ceil(weights.columns);
        with_element!(kernel.input_type, T => {
            pack::<T>(cast_slice(self.input), self.row, count, weights, rows);
        }, float => {});
        let width = elements / count;
        let panels = (self.column / COLUMNS, (self.column + width).div_ceil(COLUMNS));
        with_element!(kernel.output_type, T => {
            let output = cast_slice_mut::<u8, T>(self.output);
            weights.multiply(0, panels, rows, count, output, weights.columns);
        }, float => {});
    }
}

#[inline(always)]
fn pack<T: Element>(
    input: &[T],
    first: usize,
    count: usize,
    weights: &PackedWeights,
    rows: &mut [i16],
) {
    let depth = weights.depth;
    for (index, row) in rows.chunks_exact_mut(2 * weights.pairs()).enumerate().take(count) {
        row[depth..].fill(0);
        centre(&input[(first + index) * depth..], &mut row[..depth]);
    }
}
