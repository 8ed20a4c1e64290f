//! Normalization of rows: exact integer sums, then float64 in a fixed order.

use bytemuck::{cast_slice, cast_slice_mut};

use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};
use crate::network::Normalization;

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 13;

/// Rows of `row` elements; lists are as long as a row, or as one cycle of rows.
pub(crate) struct NormalizationKernel {
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub zero_points: [i32; 2],
    pub row: usize,
    pub spec: Normalization,
}

impl NormalizationKernel {
    /// Repeats lists of one entry where a row needs one per element.
    pub fn with_whole_lists(mut self) -> Self {
        let row = self.row;
        if !self.spec.by_row {
            for list in [&mut self.spec.gain, &mut self.spec.shift] {
                if let [single] = list[..] {
                    list.resize(row, single);
                }
            }
        }
        self
    }
}

impl Kernel for NormalizationKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let chunk = work.chunk(output.len() / size, self.row, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            self.rows(work.cpu, index * chunk, inputs[0], output);
        });
    }
}

impl NormalizationKernel {
    fn rows(&self, cpu: Cpu, first: usize, input: &[u8], output: &mut [u8]) {
        with_element!(self.input_type, I => {
            let input = &cast_slice::<u8, I>(input)[first..];
            with_element!(self.output_type, O => {
                let output = cast_slice_mut::<u8, O>(output);
                let rows = input.chunks(self.row).zip(output.chunks_mut(self.row));
                for (index, (input, output)) in rows.enumerate() {
                    cpu.run(RowBody { kernel: self, number: first / self.row + index, input, output });
                }
            }, float => {});
        }, float => {});
    }
}

struct RowBody<'a, I, O> {
    kernel: &'a NormalizationKernel,
    number: usize,
    input: &'a [I],
    output: &'a mut [O],
}

impl<I: Element, O: Element> Body for RowBody<'_, I, O> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel: NormalizationKernel { zero_points, spec, .. }, number, input, output } =
            self;
        let [from, to] = *zero_points;
        let count = input.len() as i64;
        let (mut sum, mut squares) = (0_i64, 0_i64);
        for element in input {
            let value = i64::from(element.widen() - from);
            sum += value;
            squares += value * value;
        }
        if !spec.centred {
            sum = 0;
        }
        let variance = i128::from(count) * i128::from(squares) - i128::from(sum) * i128::from(sum);
        let below = variance as f64 + spec.epsilon;
        let factor = if below == 0.0 { 0.0 } else { 1.0 / below.sqrt() };
        let bounds = (f64::from(O::LOWEST - to), f64::from(O::HIGHEST - to));
        let value = |element: &I, gain: f64, shift: f64| {
            let distance = count * i64::from(element.widen() - from) - sum;
            let value = (distance as f64 * factor) * gain + shift;
            // An infinite value saturates, and NaN is 0 as a cast has it.
            O::narrow(value.round_ties_even().clamp(bounds.0, bounds.1) as i32 + to)
        };
        if spec.by_row {
            let gain = spec.gain[number % spec.gain.len()];
            let shift = spec.shift[number % spec.shift.len()];
            for (output, element) in output.iter_mut().zip(input) {
                *output = value(element, gain, shift);
            }
        } else {
            let lists = spec.gain.iter().zip(&spec.shift);
            for ((output, element), (&gain, &shift)) in output.iter_mut().zip(input).zip(lists) {
                *output = value(element, gain, shift);
            }
        }
    }
}
