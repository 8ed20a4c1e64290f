//! The one definition of the engine's arithmetic. Every fast path equals it bit for bit.
//!
//! A real value is `scale * (q - zero_point)`. An accumulator becomes an output integer by one of
//! three roundings ([`Rounding`]), then `zero_point` is added and the result is clamped; nothing
//! wraps. `docs/numerics.md` gives the reasons.

/// Adding this to a float of magnitude up to 2^22 rounds it to an integer, halves to even: the sum's
/// unit in the last place is 1.
const ROUND_MAGIC: f32 = 12_582_912.0;

/// Greatest shift of a requantization.
pub const MAX_SHIFT: u32 = 62;

/// Shifts right, rounding halves towards plus infinity: `(value + 2^(shift - 1)) >> shift`, without
/// overflow. Exact.
#[inline(always)]
pub const fn round_shift(value: i64, shift: u32) -> i64 {
    if shift == 0 { value } else { (value >> shift) + ((value >> (shift - 1)) & 1) }
}

/// Multiplies and shifts with one rounding, halves towards plus infinity:
/// `(value * multiplier + 2^(shift - 1)) >> shift`. Exact for every value.
#[inline(always)]
pub const fn multiply_shift(value: i64, multiplier: i32, shift: u32) -> i128 {
    let half = if shift == 0 { 0 } else { 1_i128 << (shift - 1) };
    (value as i128 * multiplier as i128 + half) >> shift
}

/// [`multiply_shift`] in 64 bits, equal to it when [`product_fits`] holds for the value's bound.
#[inline(always)]
pub const fn multiply_shift_narrow(value: i64, multiplier: i32, shift: u32) -> i64 {
    let half = if shift == 0 { 0 } else { 1_i64 << (shift - 1) };
    (value * multiplier as i64 + half) >> shift
}

/// Whether `|value| <= bound` keeps [`multiply_shift_narrow`] within 64 bits for every shift.
pub const fn product_fits(bound: u64, multiplier: i32) -> bool {
    bound as u128 * multiplier.unsigned_abs() as u128 <= 1 << 62
}

/// Rounds to the nearest integer within `low..=high`, halves to even. The bounds are at most 2^17 in
/// magnitude. A NaN, which only overflowing scales can make, gives `low`.
#[inline(always)]
pub fn round_even(value: f32, low: i32, high: i32) -> i32 {
    let (low, high) = (low as f32, high as f32);
    // Written as comparisons so that a NaN falls to `low` and each is one vector instruction.
    let value = if value > low { value } else { low };
    let value = if value < high { value } else { high };
    (value + ROUND_MAGIC).to_bits() as i32 - ROUND_MAGIC.to_bits() as i32
}

/// Quantizes one value: `saturate(round_half_even(value / scale) + zero_point)`; NaN becomes the zero
/// point.
#[inline(always)]
pub fn quantize(value: f32, scale: f32, zero_point: i32, low: i32, high: i32) -> i32 {
    let value = if value.is_nan() { 0.0 } else { value / scale };
    round_even(value, low - zero_point, high - zero_point) + zero_point
}

/// The real value of an integer: `scale * float32(q - zero_point)`.
#[inline(always)]
pub fn dequantize(q: i32, scale: f32, zero_point: i32) -> f32 {
    scale * (q - zero_point) as f32
}

/// How an accumulator is scaled. Lists hold one entry, which serves every channel, or one per channel.
#[derive(Clone, Debug, PartialEq)]
pub enum Rounding {
    /// [`round_shift`].
    Shift(Vec<u32>),
    /// [`multiply_shift`].
    Fixed {
        /// Magnitude up to 2^31 - 1.
        multiplier: Vec<i32>,
        /// Up to [`MAX_SHIFT`].
        shift: Vec<u32>,
    },
    /// `round_half_even(float32(acc) * scale)`.
    Float(Vec<f32>),
}

/// From an accumulator to an output integer.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantizer {
    /// Scaling of the accumulator.
    pub rounding: Rounding,
    /// Of the output tensor.
    pub zero_point: i32,
    /// Least output.
    pub clamp_min: i32,
    /// Greatest output.
    pub clamp_max: i32,
}

/// Entry of a list in which one entry serves every channel.
#[inline(always)]
pub fn entry<T: Copy>(list: &[T], channel: usize) -> T {
    if list.len() == 1 { list[0] } else { list[channel] }
}

impl Requantizer {
    /// Adds the zero point and clamps.
    pub fn saturate(&self, value: i128) -> i32 {
        let sum = value + i128::from(self.zero_point);
        sum.clamp(i128::from(self.clamp_min), i128::from(self.clamp_max)) as i32
    }

    /// The output integer of an accumulator of a channel: the definition.
    pub fn apply(&self, acc: i64, channel: usize) -> i32 {
        match &self.rounding {
            Rounding::Shift(shift) => {
                self.saturate(i128::from(round_shift(acc, entry(shift, channel))))
            }
            Rounding::Fixed { multiplier, shift } => self.saturate(multiply_shift(
                acc,
                entry(multiplier, channel),
                entry(shift, channel),
            )),
            Rounding::Float(scale) => self.apply_float(acc as f32 * entry(scale, channel)),
        }
    }

    /// The output integer of a scaled float: rounds half to even, adds the zero point, clamps.
    #[inline(always)]
    pub fn apply_float(&self, value: f32) -> i32 {
        let (low, high) = (self.clamp_min - self.zero_point, self.clamp_max - self.zero_point);
        round_even(value, low, high) + self.zero_point
    }
}

#[cfg(test)]
#[path = "fixed_tests.rs"]
mod tests;
