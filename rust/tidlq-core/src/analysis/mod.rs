//! Error measures of float tensors.

mod error_statistics;

pub use error_statistics::ErrorStatistics;

#[cfg(test)]
mod tests;
