//! Statistics of float tensors: exact, mergeable, and functions of the values alone.
//!
//! | file | role |
//! |---|---|
//! | `tensor` | the statistics and the walk over a frame |
//! | `chunk` | loops over elements: extremes, exact sums in lanes, binning |
//! | `grid` | the bin width that given extremes decide |
//! | `histogram` | counts on a widening grid |
//! | `exact_sum` | sums of `f64` without rounding |
//! | `channels` | extremes and sums of each channel, in a fixed order |
//! | `window` | sums over the positions of a sliding window, in a fixed order |
//! | `clipping` | search for the range of a feature |
//! | `weight_range` | search for the range of a weight |
//! | `state` | the state of a statistic as bytes |

mod channels;
mod chunk;
mod clipping;
mod exact_sum;
mod grid;
mod histogram;
mod state;
mod tensor;
mod weight_range;
mod window;

pub use channels::ChannelStatistics;
pub use clipping::{FeatureScales, Form, Method, Range};
pub use exact_sum::ExactSum;
pub use grid::{Grid, MAX_BINS};
pub use tensor::TensorStatistics;
pub use weight_range::{WeightRule, select_weight_range};
pub use window::{WindowSpan, WindowSums};

#[cfg(test)]
mod fixed_order_tests;
#[cfg(test)]
mod tests;
