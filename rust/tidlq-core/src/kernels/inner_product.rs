//! Inner product: rows against packed weights; a single row is split over the outputs.

use bytemuck::{cast_slice, cast_slice_mut};

use super::convolution::{centre, tile_rows};
use super::gemm::{PackedWeights, ROWS, Tile};
use super::requantize::Target;
use super::{Kernel, Work};
use crate::element::{ElementType, with_element};
use crate::isa::{Body, Cpu};

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
        self.weights.depth * 2
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
            TASK_PANELS * self.weights.panel_columns
        } else {
            work.chunk(rows, ROWS, tile_rows(self.row_bytes())) * self.weights.columns
        };
        work.for_each_chunk(output, chunk * size, |index, output| {
            work.scratch.with(self.scratch_bytes(), |scratch| {
                self.rows(work.cpu, index * chunk, inputs[0], output, cast_slice_mut(scratch));
            });
        });
    }
}

impl InnerProductKernel {
    /// Computes whole rows, or a stretch of one row, from output element `first`.
    fn rows(&self, cpu: Cpu, first: usize, input: &[u8], output: &mut [u8], rows: &mut [i16]) {
        let weights = &self.weights;
        let (row, column) = (first / weights.columns, first % weights.columns);
        let elements = output.len() / self.output_type.size_bytes();
        let count = elements.div_ceil(weights.columns);
        cpu.run(CentreBody {
            element_type: self.input_type,
            input,
            first: row * weights.depth,
            rows: &mut rows[..count * weights.depth],
        });
        let end = column + elements / count;
        let panels = (column / weights.panel_columns, end.div_ceil(weights.panel_columns));
        let target = Target {
            element_type: self.output_type,
            bytes: output,
            start: 0,
            stride: weights.columns,
        };
        weights.multiply(cpu, &Tile { rows, count, group: 0, panels }, target);
    }
}

/// Centres consecutive rows of the input.
struct CentreBody<'a> {
    element_type: ElementType,
    input: &'a [u8],
    first: usize,
    rows: &'a mut [i16],
}

impl Body for CentreBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_element!(self.element_type, T => {
            centre::<T>(&cast_slice(self.input)[self.first..], self.rows);
        }, float => {});
    }
}
