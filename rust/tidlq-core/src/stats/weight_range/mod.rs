//! Search for the range of a weight: the largest magnitude that is kept.

mod loops;

use std::ops::Range;

use self::loops::{Exact, LANES, Prepare, Sweep};
use super::grid::power_of_two;
use crate::error::{Error, Result, SearchFault, Shape};
use crate::isa::Cpu;

/// How a weight's scale follows from its largest magnitude, and its integers from the scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightRule {
    /// Bits of the integer, 2 to 16.
    pub bits: u32,
    /// The scale is the next power of two that is not below.
    pub power_of_two: bool,
    /// The largest magnitude maps to `2^(bits-1)`, not to `2^(bits-1) - 1`.
    pub full_code: bool,
}

/// Scales stay normal numbers, as do their reciprocals and products.
const SMALLEST_SCALE: f64 = 1.0 / (1u128 << 100) as f64;
/// Exponents below the largest magnitude's own that are tried.
const EXPONENTS: i32 = 4;
/// Each candidate of the first sweep is this part of the one before,
const RATIO: f64 = 0.96;
/// down to this part of the largest magnitude.
const LEAST_PART: f64 = 0.1;
/// Parts that the two steps around the best one are cut into.
const PARTS: i32 = 8;
/// Rounding in the objective: what improves it by less than this does not improve it.
const NOISE: f64 = 1e-9;

impl WeightRule {
    fn codes(self) -> f64 {
        let half = f64::from(1u32 << (self.bits - 1));
        if self.full_code { half } else { half - 1.0 }
    }

    fn lowest(self) -> f64 {
        -self.codes()
    }

    fn highest(self) -> f64 {
        f64::from((1u32 << (self.bits - 1)) - 1)
    }

    fn scale(self, magnitude: f64) -> f64 {
        let scale = magnitude / self.codes();
        let scale = if self.power_of_two { next_power_of_two(scale) } else { scale };
        f64::from(scale.max(SMALLEST_SCALE) as f32)
    }
}

/// The smallest power of two that is not below a positive number.
fn next_power_of_two(value: f64) -> f64 {
    let mut power = power_of_two((value.log2().floor() as i32 - 1).max(-1022));
    while power < value {
        power *= 2.0;
    }
    power
}

/// A weight as rows of channels, with the second moments of what each element multiplies.
struct Weight<'a, T> {
    values: &'a [T],
    columns: usize,
    moments: Option<&'a [f64]>,
}

/// The largest magnitude that is kept, of each channel or of the whole weight: the one whose
/// scale leads to the least  `sum over k of moments[k] * (w[k] - Q(w[k]))^2`. Of equals the
/// largest, and the weight's own unless another is better.
///
/// `moments` holds one row for each channel or one for all; without them all are 1. Returns one
/// number per channel, or a single one.
///
/// # Errors
///
/// The bits are not 2 to 16, an element is not finite, a moment is negative, or the moments'
/// length is wrong.
pub fn select_weight_range<T: Copy + Into<f64>>(
    cpu: Cpu,
    values: &[T],
    channels: usize,
    moments: Option<&[f64]>,
    rule: WeightRule,
    per_channel: bool,
) -> Result<Vec<f64>> {
    let columns = values.len().checked_div(channels).unwrap_or(0);
    check(values, channels, columns, moments, rule)?;
    let weight = Weight { values, columns, moments };
    let search = |rows: Range<usize>| Search::new(cpu, &weight, rows, rule).select();
    if per_channel {
        Ok((0..channels).map(|channel| search(channel..channel + 1)).collect())
    } else {
        Ok(vec![search(0..channels)])
    }
}

fn check<T: Copy + Into<f64>>(
    values: &[T],
    channels: usize,
    columns: usize,
    moments: Option<&[f64]>,
    rule: WeightRule,
) -> Result<()> {
    if !(2..=16).contains(&rule.bits) {
        let got = rule.bits.to_string();
        return Err(SearchFault::Argument { what: "bits", got, want: "2 to 16" }.into());
    }
    let element = |what, index: usize, got, want| {
        let (row, column) = (index / columns, index % columns);
        Error::from(SearchFault::Element { what, row, column, got, want })
    };
    if let Some(index) = values.iter().position(|&value| !value.into().is_finite()) {
        return Err(element("weight", index, values[index].into(), "a finite number"));
    }
    let Some(moments) = moments else { return Ok(()) };
    if moments.len() != columns && moments.len() != channels * columns {
        let want = format!("[1, {columns}] or [{channels}, {columns}]");
        let got = Shape(vec![moments.len()]);
        return Err(SearchFault::Moments { want, got }.into());
    }
    match moments.iter().position(|&moment| !(moment.is_finite() && moment >= 0.0)) {
        Some(index) => {
            Err(element("moments", index, moments[index], "a finite number that is not negative"))
        }
        None => Ok(()),
    }
}

/// Elements that are made ready together for all candidates of a sweep.
const BLOCK: usize = 2048;

/// The search over some channels that share one scale.
struct Search<'a, T> {
    cpu: Cpu,
    weight: &'a Weight<'a, T>,
    rows: Range<usize>,
    rule: WeightRule,
    largest: f64,
    largest_moment: f64,
}

impl<'a, T: Copy + Into<f64>> Search<'a, T> {
    fn new(cpu: Cpu, weight: &'a Weight<'a, T>, rows: Range<usize>, rule: WeightRule) -> Self {
        let values = &weight.values[rows.start * weight.columns..rows.end * weight.columns];
        let largest = values.iter().fold(0.0, |most, &value| f64::max(most, value.into().abs()));
        let mut search = Self { cpu, weight, rows, rule, largest, largest_moment: 1.0 };
        if weight.moments.is_some() {
            search.largest_moment = search
                .blocks()
                .flat_map(|(_, moments)| moments.unwrap_or_default())
                .fold(0.0, |most, &moment| f64::max(most, moment));
        }
        search
    }

    fn select(&self) -> f64 {
        if self.largest == 0.0 || self.largest_moment == 0.0 {
            return self.largest;
        }
        let candidates = if self.rule.power_of_two { self.exponents() } else { self.parts() };
        let mut best = self.largest;
        if candidates.is_empty() {
            return best;
        }
        let mut least = self.exact_error(best);
        for candidate in candidates {
            let error = self.exact_error(candidate);
            if error < least * (1.0 - NOISE) {
                (best, least) = (candidate, error);
            }
        }
        best
    }

    /// What the next finer powers of two represent.
    fn exponents(&self) -> Vec<f64> {
        let scale = self.rule.scale(self.largest);
        (1..EXPONENTS)
            .map(|step| scale * power_of_two(-step))
            .filter(|&scale| scale >= SMALLEST_SCALE)
            .map(|scale| scale * self.rule.codes())
            .collect()
    }

    /// The best part of the largest magnitude, if it is not all of it.
    fn parts(&self) -> Vec<f64> {
        let steps = (LEAST_PART.ln() / RATIO.ln()).ceil() as i32;
        let coarse = self.best_part((0..=steps).map(|step| RATIO.powi(step)).collect());
        let fine = (-PARTS..=PARTS).rev().map(|part| f64::from(part) / f64::from(PARTS));
        let fine = fine.map(|part| (coarse * RATIO.powf(-part)).min(1.0));
        let part = self.best_part(fine.collect());
        if part < 1.0 { vec![self.part(part)] } else { vec![] }
    }

    /// A part of the largest magnitude, as a range holds it.
    fn part(&self, part: f64) -> f64 {
        f64::from((part * self.largest) as f32)
    }

    /// The first of the parts whose error is least, in single precision.
    fn best_part(&self, parts: Vec<f64>) -> f64 {
        let steps: Vec<f64> =
            parts.iter().map(|&part| self.rule.scale(self.part(part)) / self.largest).collect();
        let inverses: Vec<f32> = steps.iter().map(|step| (1.0 / step) as f32).collect();
        let mut sums = vec![0.0; parts.len()];
        let (mut ready, mut factors) = ([0f32; BLOCK], [0f32; BLOCK]);
        for (values, moments) in self.blocks() {
            let length = values.len().next_multiple_of(LANES);
            self.cpu.run(Prepare {
                values,
                moments,
                largest: self.largest,
                largest_moment: self.largest_moment,
                ready: &mut ready[..length],
                factors: &mut factors[..length],
            });
            self.cpu.run(Sweep {
                values: &ready[..length],
                moments: &factors[..length],
                inverses: &inverses,
                bounds: [self.rule.lowest() as f32, self.rule.highest() as f32],
                sums: &mut sums,
            });
        }
        let mut best = (f64::INFINITY, 1.0);
        for ((sum, step), &part) in sums.iter().zip(&steps).zip(&parts) {
            let error = sum * step * step;
            if error < best.0 {
                best = (error, part);
            }
        }
        best.1
    }

    /// The error that a magnitude leads to, as the quantizer computes it; relative to the largest
    /// magnitude and moment.
    fn exact_error(&self, magnitude: f64) -> f64 {
        let scale = self.rule.scale(magnitude);
        let sum: f64 = self
            .blocks()
            .map(|(values, moments)| {
                self.cpu.run(Exact {
                    values,
                    moments,
                    largest_moment: self.largest_moment,
                    scale,
                    bounds: [self.rule.lowest(), self.rule.highest()],
                })
            })
            .sum();
        sum * (scale / self.largest).powi(2)
    }

    /// Elements and their moments, row by row and in blocks, always the same ones.
    fn blocks(&self) -> impl Iterator<Item = (&'a [T], Option<&'a [f64]>)> {
        let Weight { values, columns, moments } = *self.weight;
        let columns = columns.max(1);
        self.rows.clone().flat_map(move |row| {
            let row_of = |row: usize| row * columns..(row + 1) * columns;
            let moments = moments.map(|moments| {
                let row = if moments.len() == columns { 0 } else { row };
                &moments[row_of(row)]
            });
            let values = &values[row_of(row)];
            (0..columns).step_by(BLOCK).map(move |start| {
                let block = start..columns.min(start + BLOCK);
                (&values[block.clone()], moments.map(|moments| &moments[block]))
            })
        })
    }
}

#[cfg(test)]
mod tests;
