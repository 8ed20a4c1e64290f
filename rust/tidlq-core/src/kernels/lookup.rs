//! Lookup: an element-wise function as a table.

use bytemuck::{cast_slice, cast_slice_mut};

use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::Body;

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 14;

/// A table over all values of the input type, in the output's type.
pub(crate) struct LookupKernel {
    input_type: ElementType,
    output_type: ElementType,
    /// Elements of the output type.
    table: Vec<u16>,
}

impl LookupKernel {
    /// `values` are within the output type, one per value of the input type.
    pub fn new(input_type: ElementType, output_type: ElementType, values: &[i32]) -> Self {
        // The low 16 bits are every output type's own bits.
        let table = values.iter().map(|&value| value as u16).collect();
        Self { input_type, output_type, table }
    }
}

impl Kernel for LookupKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let (from, to) = (self.input_type.size_bytes(), self.output_type.size_bytes());
        let chunk = work.chunk(output.len() / to, 64, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * to, |index, output| {
            let first = index * chunk * from;
            let input = &inputs[0][first..first + output.len() / to * from];
            work.cpu.run(LookupBody { kernel: self, input, output });
        });
    }
}

struct LookupBody<'a> {
    kernel: &'a LookupKernel,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl Body for LookupBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let table = &self.kernel.table[..];
        with_element!(self.kernel.input_type, T => {
            let input = cast_slice::<u8, T>(self.input);
            let index = |element: T| (element.widen() - T::LOWEST) as usize;
            if self.kernel.output_type.size_bytes() == 1 {
                for (target, &element) in self.output.iter_mut().zip(input) {
                    *target = table[index(element)] as u8;
                }
            } else {
                let output = cast_slice_mut::<u8, u16>(self.output);
                for (target, &element) in output.iter_mut().zip(input) {
                    *target = table[index(element)];
                }
            }
        }, float => {});
    }
}
