//! Error measures of float tensors.

mod divergence;
mod error_statistics;

pub use divergence::{DivergenceStatistics, Outputs};
pub use error_statistics::ErrorStatistics;

#[cfg(test)]
mod tests;
