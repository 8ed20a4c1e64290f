//! Kernels: one file per family, `reference.rs` with the plain versions that tests compare against.
//!
//! A kernel is made for one layer at load (weights packed, bounds proven) and runs on byte slices of
//! the tensors. What vectorises is a [`crate::isa::Body`].

mod accumulator;
mod aligned;
mod block;
mod broadcast;
mod convolution;
mod deformable;
mod depthwise;
mod depthwise_bytes;
mod depthwise_halves;
mod depthwise_rows;
mod division;
mod elementwise;
mod epilogue;
mod extremum;
mod gemm;
mod grid_sample;
mod input_sums;
mod integer_softmax;
mod lanes;
mod lookup;
mod matrix_product;
mod movement;
mod normalization;
mod pair_blocks;
mod pair_sum;
mod pair_sum_halves;
mod pair_sum_twice;
mod plain_sum;
mod pool;
mod power;
mod prelu;
mod product;
mod real_pool;
mod real_resize;
mod reduce;
mod requantize;
mod rescale;
mod residual;
mod resize;
mod scattered_product;
mod select;
mod softmax;
mod source;
mod split_epilogue;
mod tile_rows;
mod top_k;
mod transposed;
mod vector_rounding;
mod weight_parts;
mod windowed_resize;
mod windows;
mod work;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub(crate) use deformable::SampleSums;
pub(crate) use input_sums::InputSums;
pub(crate) use plain_sum::PairSum;
pub(crate) use residual::Residual;
pub(crate) use select::{kernel_for, residual_sum};
pub(crate) use work::{Scratch, Work};

/// One layer, ready to run.
pub(crate) trait Kernel: Send + Sync {
    /// Bytes of scratch memory that one thread needs.
    fn scratch_bytes(&self) -> usize {
        0
    }

    /// Whether [`Work::residual`] is heeded.
    fn ends_in_sum(&self) -> bool {
        false
    }

    /// Computes the output from the inputs; the slices have the sizes of their tensors.
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>);
}
