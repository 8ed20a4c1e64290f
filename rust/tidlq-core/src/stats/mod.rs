//! Statistics of float tensors: exact, mergeable, and functions of the values alone.
//!
//! | file | role |
//! |---|---|
//! | `tensor` | the statistics and the walk over a frame |
//! | `chunk` | loops over elements: extremes, exact sums in lanes, binning |
//! | `grid` | the bin width that given extremes decide |
//! | `histogram` | counts on a widening grid |
//! | `exact_sum` | sums of `f64` without rounding |

mod chunk;
mod exact_sum;
mod grid;
mod histogram;
mod tensor;

pub use exact_sum::ExactSum;
pub use grid::{Grid, MAX_BINS};
pub use tensor::TensorStatistics;

#[cfg(test)]
mod tests;
