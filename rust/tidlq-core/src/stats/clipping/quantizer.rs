//! The quantizer that a range leads to: the scale rules of features, as the planner applies them.

use super::density::Density;
use crate::stats::grid::power_of_two;

/// Scales stay normal numbers, as do their reciprocals and products.
pub(super) const SMALLEST_SCALE: f64 = 1.0 / (1u128 << 100) as f64;
const LARGEST_SCALE: f64 = (1u128 << 122) as f64;
/// Beyond these a power of two times any scale is 0 or infinite.
const SHIFT_BOUND: i32 = 2200;

/// A range: smallest and largest value.
pub type Range = (f32, f32);

/// The scales that a feature may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureScales {
    /// Bits of the integer.
    pub bits: u32,
    /// Which scales there are.
    pub form: Form,
}

/// Which scales there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// Unsigned with a zero point:  `(max - min) / (2^bits - 1)`.
    Asymmetric,
    /// Zero point 0, any scale; unsigned where the range has no negative value.
    Symmetric,
    /// Zero point 0, the finest `unit * 2^k` with `k >= least_shift` that fits.
    Multiples {
        /// The scale at `k = 0`.
        unit: f64,
        /// Least `k`.
        least_shift: i32,
    },
}

/// A scale, and how many integers there are on either side of zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quantizer {
    pub scale: f64,
    pub below: u32,
    pub above: u32,
}

impl Quantizer {
    /// A signed or unsigned integer with zero point 0.
    pub fn symmetric(scale: f64, bits: u32, signed: bool) -> Self {
        let scale = float32(scale);
        if signed {
            let half = 1 << (bits - 1);
            Self { scale, below: half, above: half - 1 }
        } else {
            Self { scale, below: 0, above: (1 << bits) - 1 }
        }
    }

    /// Both ends of a range round to integers of the type, halves upwards.
    fn fits(&self, (min, max): (f64, f64)) -> bool {
        let low = (min / self.scale + 0.5).floor();
        let high = (max / self.scale + 0.5).floor();
        -f64::from(self.below) <= low && high <= f64::from(self.above)
    }

    /// What it represents of a range.
    pub fn clip(&self, (min, max): Range) -> Range {
        let low = (-f64::from(self.below) * self.scale) as f32;
        let high = (f64::from(self.above) * self.scale) as f32;
        (min.clamp(low, high), max.clamp(low, high))
    }

    /// The same, with the scale in bin widths.
    pub fn in_bins(self, density: &Density) -> Self {
        Self { scale: self.scale / density.width, ..self }
    }
}

impl FeatureScales {
    /// The quantizer of a range that holds a value other than zero.
    pub(super) fn quantizer(&self, range: Range) -> Quantizer {
        let (min, max) = with_zero(range);
        let signed = min < 0.0;
        let codes = f64::from((1u32 << self.bits) - 1);
        match self.form {
            Form::Asymmetric => {
                let scale = float32((max - min) / codes);
                let below = (-min / scale).round_ties_even().clamp(0.0, codes);
                Quantizer { scale, below: below as u32, above: (codes - below) as u32 }
            }
            Form::Symmetric => {
                let highest = Quantizer::symmetric(1.0, self.bits, signed).above;
                let largest = max.max(-min);
                Quantizer::symmetric(largest / f64::from(highest), self.bits, signed)
            }
            Form::Multiples { unit, least_shift } => {
                let shift = finest_shift((min, max), self.bits, unit, least_shift);
                Quantizer::symmetric(scaled(unit, shift), self.bits, signed)
            }
        }
    }
}

/// Finer powers of two than the one that fits that are worth a look: data that leave more of the
/// range empty have no bins left to tell the scales apart.
const SHIFTS: i32 = 24;

/// The quantizers of the scales `unit * 2^k` from the one that fits a range down, the finest last.
pub(super) fn multiples(
    range: Range,
    bits: u32,
    unit: f64,
    least_shift: i32,
) -> impl Iterator<Item = Quantizer> {
    let ends = with_zero(range);
    let coarsest = finest_shift(ends, bits, unit, least_shift);
    let finest = least_shift.max(coarsest - SHIFTS).min(coarsest);
    (finest..=coarsest)
        .rev()
        .map(move |shift| scaled(unit, shift))
        .enumerate()
        .take_while(|&(step, scale)| step == 0 || scale >= SMALLEST_SCALE)
        .map(move |(_, scale)| Quantizer::symmetric(scale, bits, ends.0 < 0.0))
}

/// The least `k >= least_shift` for which `unit * 2^k` fits a range that contains zero.
fn finest_shift(range: (f64, f64), bits: u32, unit: f64, least_shift: i32) -> i32 {
    let mut quantizer = Quantizer::symmetric(1.0, bits, range.0 < 0.0);
    let largest = range.1.max(-range.0) / (f64::from(quantizer.above) + 1.0);
    // Two steps too fine, whatever the rounding of the logarithm.
    let start = (largest / unit).log2().floor().clamp(-2100.0, 2100.0) as i32 - 1;
    let mut shift = start.max(least_shift).min(SHIFT_BOUND);
    loop {
        quantizer.scale = scaled(unit, shift);
        if shift >= SHIFT_BOUND || (quantizer.scale >= SMALLEST_SCALE && quantizer.fits(range)) {
            return shift;
        }
        shift += 1;
    }
}

/// `unit * 2^shift`, in steps whose factors are normal numbers.
fn scaled(unit: f64, shift: i32) -> f64 {
    let (mut value, mut left) = (unit, shift);
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        value *= power_of_two(step);
        left -= step;
    }
    value
}

/// A range, widened to contain zero.
fn with_zero((min, max): Range) -> (f64, f64) {
    (f64::from(min).min(0.0), f64::from(max).max(0.0))
}

/// A scale as it is stored.
fn float32(scale: f64) -> f64 {
    f64::from(scale.clamp(SMALLEST_SCALE, LARGEST_SCALE) as f32)
}
