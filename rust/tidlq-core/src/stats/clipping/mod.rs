//! Search for the range of a feature: a pure function of its statistics and of the scales that it
//! may have.
//!
//! | file | role |
//! |---|---|
//! | `density` | the histogram as a density: integrals of its tails |
//! | `quantizer` | which quantizer a range leads to |
//! | `error` | expected squared error of a quantizer |
//! | `mse`, `percentile`, `entropy` | one method each |

mod density;
mod entropy;
mod error;
mod mse;
mod percentile;
mod quantizer;

pub use quantizer::{FeatureScales, Form, Range};

use self::density::Density;
use super::TensorStatistics;
use crate::error::{Result, SearchFault};

/// How a range is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// Least expected squared error, where saturation counts `saturation_weight` times.
    Mse {
        /// Weight of squared saturation errors; positive.
        saturation_weight: f64,
    },
    /// The central part of the values.
    Percentile {
        /// Part that is kept, above 0 and up to 100.
        percent: f64,
    },
    /// Least Kullback-Leibler divergence.
    Entropy,
}

impl Method {
    /// The method of a name, with its parameter.
    ///
    /// # Errors
    ///
    /// The name is unknown, or the parameter is not allowed.
    pub fn new(name: &str, parameter: f64) -> Result<Self> {
        let fault = |what, got: String, want| Err(SearchFault::Argument { what, got, want }.into());
        match name {
            "mse" if parameter.is_finite() && parameter > 0.0 => {
                Ok(Self::Mse { saturation_weight: parameter })
            }
            "mse" => {
                fault("the weight of saturation errors", parameter.to_string(), "a positive number")
            }
            "percentile" if parameter > 0.0 && parameter <= 100.0 => {
                Ok(Self::Percentile { percent: parameter })
            }
            "percentile" => {
                fault("the percentile", parameter.to_string(), "a number above 0 and up to 100")
            }
            "entropy" => Ok(Self::Entropy),
            _ => fault(
                "the method of range selection",
                format!("{name:?}"),
                "\"mse\", \"percentile\" or \"entropy\"",
            ),
        }
    }
}

impl FeatureScales {
    /// The scales, checked.
    ///
    /// # Errors
    ///
    /// The bits are not 2 to 16, or the unit is not a positive number.
    pub fn new(bits: u32, form: Form) -> Result<Self> {
        if !(2..=16).contains(&bits) {
            let got = bits.to_string();
            return Err(SearchFault::Argument { what: "bits", got, want: "2 to 16" }.into());
        }
        if let Form::Multiples { unit, .. } = form
            && !(unit.is_finite() && unit > 0.0)
        {
            let (got, want) = (unit.to_string(), "a positive number");
            return Err(SearchFault::Argument { what: "the unit of scales", got, want }.into());
        }
        Ok(Self { bits, form })
    }
}

impl TensorStatistics {
    /// Chooses a range for scales that the feature may have; never beyond the extremes, and
    /// exactly them when no other range is better.
    ///
    /// # Errors
    ///
    /// There is no finite value.
    pub fn select_range(&self, method: Method, scales: &FeatureScales) -> Result<Range> {
        let whole = self.extremes().ok_or(SearchFault::Empty)?;
        let Some(density) = Density::of(self) else { return Ok(whole) };
        let (min, max) = match method {
            Method::Mse { saturation_weight } => {
                mse::select(&density, scales, whole, saturation_weight)
            }
            Method::Percentile { percent } => percentile::select(&density, whole, percent),
            Method::Entropy => entropy::select(&density, scales, whole),
        };
        // An end that moved to zero is +0 from either side.
        Ok((min + 0.0, max + 0.0))
    }
}

#[cfg(test)]
mod tests;
