//! Walks through two features of one shape block by block, where one of them may lie where the result
//! goes.

use crate::isa::simd::{MAX_LANES, Simd};

/// Bytes of the largest block.
const MAX_BLOCK: usize = 4 * MAX_LANES;

/// The two operands, in the order of the layer's inputs; as long as the output.
#[derive(Clone, Copy)]
pub(crate) enum Operands<'a> {
    /// Both beside the output.
    Apart([&'a [u8]; 2]),
    /// The one at `position` is what the output holds.
    InPlace { position: usize, other: &'a [u8] },
}

impl<'a> Operands<'a> {
    /// Parts of both inputs of a layer.
    pub fn of(inputs: &[&'a [u8]], begin: usize, length: usize) -> Self {
        Self::Apart([&inputs[0][begin..begin + length], &inputs[1][begin..begin + length]])
    }
}

/// What becomes of a block of both operands.
pub(crate) trait PairBlock<S: Simd> {
    /// Bytes of a block.
    const BYTES: usize;
    /// A block of an operand.
    fn load(&self, simd: S, operand: usize, bytes: &[u8]) -> S::I32;
    /// Writes a block.
    fn write(&self, simd: S, operands: [S::I32; 2], output: &mut [u8]);
}

/// Computes the output; blocks beyond its end are padded with zeros.
#[inline(always)]
pub(crate) fn for_each_block<S: Simd, B: PairBlock<S>>(
    simd: S,
    body: &B,
    operands: Operands<'_>,
    output: &mut [u8],
) {
    let whole = output.len() / B::BYTES * B::BYTES;
    let mut ends = [[0; MAX_BLOCK]; 2];
    match operands {
        Operands::Apart([first, second]) => {
            for place in (0..whole).step_by(B::BYTES) {
                let first = body.load(simd, 0, &first[place..]);
                let second = body.load(simd, 1, &second[place..]);
                body.write(simd, [first, second], &mut output[place..]);
            }
            ends[0][..output.len() - whole].copy_from_slice(&first[whole..output.len()]);
            ends[1][..output.len() - whole].copy_from_slice(&second[whole..output.len()]);
        }
        Operands::InPlace { position: 0, other } => {
            for place in (0..whole).step_by(B::BYTES) {
                let first = body.load(simd, 0, &output[place..]);
                let second = body.load(simd, 1, &other[place..]);
                body.write(simd, [first, second], &mut output[place..]);
            }
            ends[0][..output.len() - whole].copy_from_slice(&output[whole..]);
            ends[1][..output.len() - whole].copy_from_slice(&other[whole..output.len()]);
        }
        Operands::InPlace { other, .. } => {
            for place in (0..whole).step_by(B::BYTES) {
                let first = body.load(simd, 0, &other[place..]);
                let second = body.load(simd, 1, &output[place..]);
                body.write(simd, [first, second], &mut output[place..]);
            }
            ends[0][..output.len() - whole].copy_from_slice(&other[whole..output.len()]);
            ends[1][..output.len() - whole].copy_from_slice(&output[whole..]);
        }
    }
    let rest = &mut output[whole..];
    if !rest.is_empty() {
        let operands = [body.load(simd, 0, &ends[0]), body.load(simd, 1, &ends[1])];
        body.write(simd, operands, &mut ends[0]);
        rest.copy_from_slice(&ends[0][..rest.len()]);
    }
}
