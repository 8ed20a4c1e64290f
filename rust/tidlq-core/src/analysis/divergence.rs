//! Divergence of distributions over classes.

use crate::stats::ExactSum;

/// Probabilities below this count as this much: integers often have none.
const LEAST_PROBABILITY: f64 = 1.0 / (1 << 24) as f64;

/// Logarithms of the probabilities of a row.
type RowLogarithms = fn(&[f32]) -> Vec<f64>;

/// What the values of an output are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outputs {
    /// Anything.
    #[default]
    Plain,
    /// Rows of so many logits, whose softmax is a distribution.
    Logits(usize),
    /// Rows of so many probabilities.
    Probabilities(usize),
}

/// Mean Kullback-Leibler divergence of rows against their reference, in nats:
/// `sum over classes of p (ln p - ln q)`, p the reference's probability.
///
/// A row's sum is in `f64` and in the order of the classes; rows add up exactly, so their order and
/// the number of threads leave no trace.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DivergenceStatistics {
    rows: u64,
    is_non_finite: bool,
    sum: ExactSum,
}

impl DivergenceStatistics {
    /// Adds rows; the two slices have one length, a multiple of the number of classes.
    pub fn update(&mut self, outputs: Outputs, reference: &[f32], value: &[f32]) {
        let (classes, to_logarithms): (_, RowLogarithms) = match outputs {
            Outputs::Plain => return,
            Outputs::Logits(classes) => (classes, log_softmax),
            Outputs::Probabilities(classes) => (classes, logarithms),
        };
        if classes == 0 {
            return;
        }
        for (reference, value) in reference.chunks(classes).zip(value.chunks(classes)) {
            let (p, q) = (to_logarithms(reference), to_logarithms(value));
            let divergence: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum();
            self.rows += 1;
            if divergence.is_finite() {
                self.sum.add(divergence);
            } else {
                self.is_non_finite = true;
            }
        }
    }

    /// Adds every row of other statistics.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.is_non_finite |= other.is_non_finite;
        self.sum.merge(&other.sum);
    }

    /// Rows seen.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The mean over rows; NaN before the first one, and after one that is not finite.
    pub fn mean(&self) -> f64 {
        if self.is_non_finite { f64::NAN } else { self.sum.value() / self.rows as f64 }
    }
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let distances: Vec<f64> = row.iter().map(|&x| f64::from(x) - f64::from(largest)).collect();
    let sum: f64 = distances.iter().map(|distance| distance.exp()).sum();
    let logarithm = sum.ln();
    distances.into_iter().map(|distance| distance - logarithm).collect()
}

fn logarithms(row: &[f32]) -> Vec<f64> {
    // Not `max`, which would drop a NaN.
    let raised = |x: f64| if x < LEAST_PROBABILITY { LEAST_PROBABILITY } else { x };
    row.iter().map(|&x| raised(x.into()).ln()).collect()
}
