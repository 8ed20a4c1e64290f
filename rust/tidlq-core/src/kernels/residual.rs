//! A sum as the end of the layer that writes one of its operands: part by part, while the part is in
//! the nearest cache.

use super::Work;
use super::block::BLOCK;
use super::elementwise::ElementwiseKernel;
use super::pair_blocks::Operands;
use super::plain_sum::PairSum;
use super::requantize::Target;
use crate::isa::Cpu;

/// Bytes of an element of a feature.
const MAX_BYTES: usize = 2;

/// The sum that a layer ends with.
#[derive(Clone, Copy)]
pub(crate) struct Residual<'a> {
    pub sum: &'a PairSum,
    /// Which of the operands the layer writes.
    pub position: usize,
    /// The other one.
    pub other: &'a [u8],
}

impl Residual<'_> {
    /// Replaces part of the operand, from this byte, by part of the sum.
    fn add(&self, cpu: Cpu, begin: usize, output: &mut [u8]) {
        let position = self.position;
        match self.sum {
            PairSum::Any(kernel) => self.add_blocks(cpu, kernel, begin, output),
            PairSum::Bytes(kernel) => {
                let other = &self.other[begin..begin + output.len()];
                kernel.sum(cpu, Operands::InPlace { position, other }, output);
            }
            PairSum::Halves(kernel) => {
                let other = &self.other[begin..begin + output.len()];
                kernel.sum(cpu, Operands::InPlace { position, other }, output);
            }
            PairSum::Twice(kernel) => {
                let other = &self.other[begin..begin + output.len()];
                kernel.sum(cpu, Operands::InPlace { position, other }, output);
            }
        }
    }

    /// Block by block, of which the operand is copied first.
    fn add_blocks(&self, cpu: Cpu, kernel: &ElementwiseKernel, begin: usize, output: &mut [u8]) {
        let (other_type, element_type) = kernel.types_beside(self.position);
        let (size, other_size) = (element_type.size_bytes(), other_type.size_bytes());
        let mut own = [0; BLOCK * MAX_BYTES];
        for (index, output) in output.chunks_mut(BLOCK * size).enumerate() {
            let first = begin / size + index * BLOCK;
            let other = &self.other[first * other_size..];
            own[..output.len()].copy_from_slice(output);
            let own = &own[..output.len()];
            let inputs = if self.position == 0 { [own, other] } else { [other, own] };
            let length = output.len() / size;
            let target = Target { element_type, bytes: output, start: 0, stride: 0 };
            kernel.block(cpu, &inputs, (0, length), target);
        }
    }
}

impl Work<'_> {
    /// What follows a part of the output that begins at this byte, once it has been computed.
    pub fn end(&self, begin: usize, output: &mut [u8]) {
        if let Some(residual) = &self.residual {
            residual.add(self.cpu, begin, output);
        }
    }
}
