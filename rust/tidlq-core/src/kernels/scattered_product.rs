//! Products of elements with the updates that are scattered to them, each rounded once.

use bytemuck::cast_slice_mut;

use super::source::Source;
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::network::{ScatteredProduct, TensorSpec};

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 13;

/// Elements, and updates at known places.
pub(crate) struct ScatteredProductKernel {
    sources: [Source; 2],
    scales: [f64; 2],
    output_type: ElementType,
    zero_point: i32,
    gain: f64,
    /// By element, where its updates begin in `updates`; the last entry is their number.
    starts: Vec<usize>,
    /// Positions in the second input, element by element, ascending.
    updates: Vec<usize>,
}

impl ScatteredProductKernel {
    /// Of validated tensors.
    pub fn new(spec: &ScatteredProduct, inputs: &[&TensorSpec], output: &TensorSpec) -> Self {
        let mut starts = vec![0; output.elements() + 1];
        for &target in &spec.target {
            starts[target + 1] += 1;
        }
        for element in 1..starts.len() {
            starts[element] += starts[element - 1];
        }
        let (mut next, mut updates) = (starts.clone(), vec![0; spec.target.len()]);
        for (update, &target) in spec.target.iter().enumerate() {
            updates[next[target]] = update;
            next[target] += 1;
        }
        Self {
            sources: [Source::of(inputs[0]), Source::of(inputs[1])],
            scales: [inputs[0].scale.into(), inputs[1].scale.into()],
            output_type: output.element_type,
            zero_point: output.zero_point,
            gain: spec.gain,
            starts,
            updates,
        }
    }

    /// The product at an element, in steps of the output.
    fn product(&self, inputs: &[&[u8]], element: usize) -> f64 {
        let factor = |input: usize, index: usize| {
            self.scales[input] * f64::from(self.sources[input].at(inputs[input], index))
        };
        let updates = &self.updates[self.starts[element]..self.starts[element + 1]];
        let first = factor(0, element);
        updates.iter().fold(first, |product, &update| product * factor(1, update)) * self.gain
    }
}

impl Kernel for ScatteredProductKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let chunk = work.chunk(output.len() / size, 1, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            with_element!(self.output_type, T => {
                let bounds = [T::LOWEST, T::HIGHEST].map(|end| f64::from(end - self.zero_point));
                let elements = cast_slice_mut::<u8, T>(output).iter_mut();
                for (place, element) in (index * chunk..).zip(elements) {
                    let product = self.product(inputs, place).round_ties_even();
                    // What is no number becomes 0.
                    let steps = product.clamp(bounds[0], bounds[1]) as i32;
                    *element = T::narrow(steps + self.zero_point);
                }
            }, float => {});
        });
    }
}
