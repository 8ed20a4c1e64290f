//! Convolution and inner product: windows as rows of the matrix product.

use super::gemm::{PRODUCT_BYTES, PackedWeights, Sums};
use super::product::{BLOCK_ROWS, Rows};
use super::requantize::Target;
use super::windows::Windows;
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::isa::Cpu;

/// Panels of outputs in one task when a single row is split.
const TASK_PANELS: usize = 2;

/// A convolution or an inner product with packed weights.
pub(crate) struct ConvolutionKernel {
    pub weights: PackedWeights,
    pub windows: Windows,
    pub output_type: ElementType,
}

impl Kernel for ConvolutionKernel {
    fn scratch_bytes(&self) -> usize {
        PRODUCT_BYTES + self.copied_bytes() + self.windows.scratch_bytes()
    }

    fn ends_in_sum(&self) -> bool {
        true
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let (lines, width) = (self.windows.height, self.windows.width);
        if work.threads > 1 && lines * width == 1 && self.weights.groups == 1 {
            return self.run_row(inputs[0], output, work);
        }
        let line = width * self.weights.outputs() * self.output_type.size_bytes();
        let chunk = work.chunk(lines, 1, self.windows.chunk_lines());
        work.for_each_chunk(output, chunk * line, |index, output| {
            let first = index * chunk;
            let lines = first..first + output.len() / line;
            let panels = (0, self.weights.panels());
            work.scratch.with(self.scratch_bytes(), |scratch| {
                self.lines(work.cpu, lines, panels, inputs[0], output, scratch);
            });
            work.end(index * chunk * line, output);
        });
    }
}

impl ConvolutionKernel {
    fn copied_bytes(&self) -> usize {
        if self.windows.are_equally_apart() { 0 } else { self.weights.copied_bytes() }
    }

    /// One output position, whose outputs are split.
    fn run_row(&self, input: &[u8], output: &mut [u8], work: &Work<'_>) {
        let columns = self.weights.first_column(TASK_PANELS);
        let chunk = columns * self.output_type.size_bytes();
        work.for_each_chunk(output, chunk, |index, output| {
            let panel_at = |column| self.weights.panel_at(column);
            let begin = index * columns;
            let end = begin + output.len() / self.output_type.size_bytes();
            let panels = (panel_at(begin), panel_at(end));
            work.scratch.with(self.scratch_bytes(), |scratch| {
                self.lines(work.cpu, 0..1, panels, input, output, scratch);
            });
            work.end(index * chunk, output);
        });
    }

    /// Computes output lines, or some panels of one output position.
    fn lines(
        &self,
        cpu: Cpu,
        lines: std::ops::Range<usize>,
        (first, end): (usize, usize),
        input: &[u8],
        output: &mut [u8],
        scratch: &mut [u8],
    ) {
        let (windows, weights) = (&self.windows, &self.weights);
        let (sums, scratch) = Sums::split(scratch);
        let (copies, scratch) = scratch.split_at_mut(self.copied_bytes());
        let mut sums = sums.with_tiles(cpu, weights, copies);
        windows.for_each_image(cpu, lines, (input, scratch), |place, image| {
            let mut starts = [0; BLOCK_ROWS];
            for group in 0..weights.groups {
                for begin in (0..image.positions).step_by(BLOCK_ROWS) {
                    let starts = &mut starts[..BLOCK_ROWS.min(image.positions - begin)];
                    image.starts(begin, group, starts);
                    let rows = Rows { bytes: image.bytes, starts, segments: windows.segments() };
                    let target = Target {
                        element_type: self.output_type,
                        bytes: &mut *output,
                        start: (place + begin) * weights.outputs() + group * weights.columns,
                        stride: weights.outputs(),
                    };
                    weights.multiply(cpu, rows, (group, first, end), &mut sums, target);
                }
            }
        });
    }
}
