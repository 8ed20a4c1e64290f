//! Softmax over the last axis: a table of exponentials, sums in float64 in element order.

use bytemuck::{cast_slice, cast_slice_mut};

use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 12;

/// Softmax of rows of `row` elements. The sum's order is fixed, so nothing here vectorises.
pub(crate) struct SoftmaxKernel {
    pub input_type: ElementType,
    pub row: usize,
    /// Entry d is the exponential of d steps below the row's largest element.
    pub exponential: Vec<f32>,
}

impl Kernel for SoftmaxKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let output: &mut [f32] = cast_slice_mut(output);
        let chunk = work.chunk(output.len(), self.row, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk, |index, output| {
            with_element!(self.input_type, T => {
                let input = &cast_slice::<u8, T>(inputs[0])[index * chunk..];
                for (input, output) in input.chunks(self.row).zip(output.chunks_mut(self.row)) {
                    self.softmax(input, output);
                }
            }, float => {});
        });
    }
}

impl SoftmaxKernel {
    fn softmax<T: Element>(&self, input: &[T], output: &mut [f32]) {
        let largest = input.iter().max().map_or(0, |&element| element.widen());
        let mut sum = 0.0_f64;
        for (value, element) in output.iter_mut().zip(input) {
            *value = self.exponential[(largest - element.widen()) as usize];
            sum += f64::from(*value);
        }
        for value in output {
            *value = (f64::from(*value) / sum) as f32;
        }
    }
}
