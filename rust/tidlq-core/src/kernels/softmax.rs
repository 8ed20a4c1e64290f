//! Softmax over the last axis: a table of exponentials, sums in element order.

use bytemuck::{cast_slice, cast_slice_mut};

use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::{Requantizer, Rounding};

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 12;

/// Softmax to floats, of rows of `row` elements, with sums in float64. Their order is fixed, so nothing
/// here vectorises.
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

/// Softmax to integers with sums in float32.
pub(crate) struct RealSoftmaxKernel {
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub row: usize,
    /// As in [`SoftmaxKernel`].
    pub exponential: Vec<f32>,
    pub requantizer: Requantizer,
}

impl Kernel for RealSoftmaxKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let chunk = work.chunk(output.len() / size, self.row, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            with_element!(self.input_type, I => {
                let input = &cast_slice::<u8, I>(inputs[0])[index * chunk..];
                with_element!(self.output_type, O => {
                    let output = cast_slice_mut::<u8, O>(output);
                    for (input, output) in input.chunks(self.row).zip(output.chunks_mut(self.row)) {
                        self.softmax(input, output);
                    }
                }, float => {});
            }, float => {});
        });
    }
}

impl RealSoftmaxKernel {
    fn softmax<I: Element, O: Element>(&self, input: &[I], output: &mut [O]) {
        let largest = input.iter().max().map_or(0, |&element| element.widen());
        let term = |element: I| self.exponential[(largest - element.widen()) as usize];
        let sum = input.iter().fold(0.0_f32, |sum, &element| sum + term(element));
        let scale = match &self.requantizer.rounding {
            Rounding::Real(scale) => scale[0],
            // Validation allows no other.
            _ => 1.0,
        };
        for (output, &element) in output.iter_mut().zip(input) {
            let value = self.requantizer.apply_float(term(element) * scale / sum);
            *output = O::narrow(value);
        }
    }
}
