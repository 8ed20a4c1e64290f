//! The one definition of the engine's arithmetic. Every fast path equals it bit for bit.
//!
//! A real value is `scale * (q - zero_point)`. An accumulator becomes an output integer by one of
//! the roundings of [`Rounding`], then `zero_point` is added and the result is clamped. Nothing wraps
//! but the arithmetic that reproduces LiteRT's. `docs/numerics.md` gives the reasons.

/// Adding this to a float of magnitude up to 2^22 rounds it to an integer, halves to even: the sum's
/// unit in the last place is 1.
const ROUND_MAGIC: f32 = 12_582_912.0;

/// The same for doubles of magnitude up to 2^51.
const ROUND_MAGIC_WIDE: f64 = 6_755_399_441_055_744.0;

/// Greatest shift of a requantization.
pub const MAX_SHIFT: u32 = 62;

/// Greatest shift, in either direction, of a requantization that rounds twice.
pub const MAX_TWICE_SHIFT: u32 = 31;

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

/// Divides by `2^shift`, rounding halves away from zero; `shift` is at most [`MAX_TWICE_SHIFT`].
#[inline(always)]
pub const fn divide_away(value: i32, shift: u32) -> i32 {
    let mask = ((1_u32 << shift) - 1) as i32;
    let threshold = (mask >> 1) + (value < 0) as i32;
    (value >> shift) + ((value & mask) > threshold) as i32
}

/// Multiplies by `multiplier / 2^31`, rounding halves up, after a left shift that wraps in 32 bits.
#[inline(always)]
pub const fn high_product(value: i32, left_shift: u32, multiplier: i32) -> i32 {
    // A multiple of 2^31 that makes the sum positive: a logical shift serves as the arithmetic one.
    const OFFSET: u64 = 1 << 62;
    let value = value.wrapping_shl(left_shift) as i64;
    let sum = (value * multiplier as i64 + (1 << 30)) as u64;
    (sum.wrapping_add(OFFSET) >> 31).wrapping_sub(OFFSET >> 31) as i32
}

/// LiteRT's fixed-point product: rounded after the multiplication and after the shift.
#[inline(always)]
pub const fn multiply_twice_rounded(
    value: i32,
    left_shift: u32,
    multiplier: i32,
    shift: u32,
) -> i32 {
    divide_away(high_product(value, left_shift, multiplier), shift)
}

/// `1 / (1 + x / 2^31)` with 31 fractional bits, for a non-negative x: LiteRT's, by three steps of
/// Newton's method with two integer bits.
pub const fn reciprocal_of_one_plus(x: i32) -> i32 {
    const TWO_INTEGER_BITS_ONE: i32 = 1 << 29;
    // 48 / 17 and -32 / 17 with 29 fractional bits.
    let sum = x as i64 + i32::MAX as i64;
    let denominator = ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32;
    let mut y = 1_515_870_810_i32.wrapping_add(high_product(denominator, 0, -1_010_580_540));
    let mut step = 0;
    while step < 3 {
        let rest = TWO_INTEGER_BITS_ONE.wrapping_sub(high_product(denominator, 0, y));
        y = y.wrapping_add(high_product(y, 0, rest).saturating_mul(4));
        step += 1;
    }
    y.saturating_mul(2)
}

/// Rounds to the nearest integer within `low..=high`, halves away from zero. The bounds are at most
/// 2^17 in magnitude. A NaN gives `low`.
#[inline(always)]
pub fn round_away(value: f64, low: i32, high: i32) -> i32 {
    let (low, high) = (f64::from(low), f64::from(high));
    let value = if value > low { value } else { low };
    let value = if value < high { value } else { high };
    let even = (value + ROUND_MAGIC_WIDE) - ROUND_MAGIC_WIDE;
    // Exact; a half that went to even the wrong way is moved one further from zero.
    let rest = value - even;
    let up = if rest == 0.5 && value > 0.0 { 1.0 } else { 0.0 };
    let down = if rest == -0.5 && value < 0.0 { 1.0 } else { 0.0 };
    let rounded = even + up - down;
    (rounded + ROUND_MAGIC_WIDE).to_bits() as i32 - ROUND_MAGIC_WIDE.to_bits() as i32
}

/// [`round_away`] of a float32, in float32: where the value is not an integer, it and the integer
/// beside it are multiples of its unit in the last place, so that their difference is exact.
#[inline(always)]
pub fn round_away_narrow(value: f32, low: i32, high: i32) -> i32 {
    let (low, high) = (low as f32, high as f32);
    let value = if value > low { value } else { low };
    let value = if value < high { value } else { high };
    let even = (value + ROUND_MAGIC) - ROUND_MAGIC;
    let rest = value - even;
    let up = if rest == 0.5 && value > 0.0 { 1.0 } else { 0.0 };
    let down = if rest == -0.5 && value < 0.0 { 1.0 } else { 0.0 };
    let rounded = even + up - down;
    (rounded + ROUND_MAGIC).to_bits() as i32 - ROUND_MAGIC.to_bits() as i32
}

/// Divides, rounding halves away from zero; the divisor is positive.
#[inline(always)]
pub const fn quotient_away(value: i64, divisor: i64) -> i64 {
    let half = if value > 0 { divisor / 2 } else { -(divisor / 2) };
    (value + half) / divisor
}

/// Divides with one rounding, halves towards plus infinity:
/// `floor(a * multiplier / (b * 2^shift) + 1/2)`. A divisor of 0 gives what saturates every type, by
/// the sign of the dividend, and 0 where that is 0 too. `a` and `b` are below 2^17 in magnitude.
#[inline(always)]
pub const fn divide_scaled(a: i32, b: i32, multiplier: i32, shift: u32) -> i64 {
    let dividend = a as i64 * multiplier as i64;
    if b == 0 {
        return dividend.signum() * i32::MAX as i64;
    }
    let (n, d) = if b < 0 { (-dividend, -(b as i64)) } else { (dividend, b as i64) };
    // `|n| < 2^48`: beyond this shift the quotient rounds to 0.
    if shift > 49 {
        return 0;
    }
    if shift > 44 {
        let (n, d) = (n as i128, (d as i128) << shift);
        return (2 * n + d).div_euclid(2 * d) as i64;
    }
    let d = d << shift;
    (2 * n + d).div_euclid(2 * d)
}

/// Quantizes one value: `saturate(round_half_even(value / scale) + zero_point)`; NaN becomes the zero
/// point.
#[inline(always)]
pub fn quantize(value: f32, scale: f32, zero_point: i32, low: i32, high: i32) -> i32 {
    let value = if value.is_nan() { 0.0 } else { value / scale };
    round_even(value, low - zero_point, high - zero_point) + zero_point
}

/// [`quantize`] with halves rounded away from zero.
#[inline(always)]
pub fn quantize_away(value: f32, scale: f32, zero_point: i32, low: i32, high: i32) -> i32 {
    let value = if value.is_nan() { 0.0 } else { value / scale };
    round_away_narrow(value, low - zero_point, high - zero_point) + zero_point
}

/// The real value of an integer: `scale * float32(q - zero_point)`.
#[inline(always)]
pub fn dequantize(q: i32, scale: f32, zero_point: i32) -> f32 {
    scale * (q - zero_point) as f32
}

/// Terms of the series of [`exp2`], beyond which nothing is left within half a unit of the exponent.
const EXP2_TERMS: usize = 14;

/// `ln(2)^k / k!`, each from the one before by a product and a quotient.
const EXP2_SERIES: [f64; EXP2_TERMS] = {
    let mut series = [1.0; EXP2_TERMS];
    let mut k = 1;
    while k < EXP2_TERMS {
        series[k] = series[k - 1] * std::f64::consts::LN_2 / k as f64;
        k += 1;
    }
    series
};

/// `2^x` to a few units in the last place, the same on every CPU; x is clamped to -1000 ..= 1000.
#[inline(always)]
pub fn exp2(x: f64) -> f64 {
    let x = x.clamp(-1000.0, 1000.0);
    let whole = (x + 0.5).floor();
    let rest = x - whole;
    let mut sum = EXP2_SERIES[EXP2_TERMS - 1];
    for &term in EXP2_SERIES[..EXP2_TERMS - 1].iter().rev() {
        sum = sum * rest + term;
    }
    // Both are normal numbers, and so is their product.
    sum * f64::from_bits(((whole as i64 + 1023) as u64) << 52)
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
    /// `round_half_even(float32(acc) * scale + bias)`, of layers with weights.
    Biased {
        /// One or one per channel.
        scale: Vec<f32>,
        /// Likewise.
        bias: Vec<f32>,
    },
    /// [`multiply_twice_rounded`].
    Twice {
        /// Up to [`MAX_TWICE_SHIFT`].
        left_shift: Vec<u32>,
        /// Magnitude up to 2^31 - 1.
        multiplier: Vec<i32>,
        /// Up to [`MAX_TWICE_SHIFT`].
        shift: Vec<u32>,
    },
    /// `round_half_away(float64(acc) * scale)`.
    Double(Vec<f64>),
    /// `float32(acc) * scale + bias`, not rounded to an integer: of layers that write float32.
    Unrounded {
        /// One or one per channel.
        scale: Vec<f32>,
        /// Likewise; empty where nothing is added.
        bias: Vec<f32>,
    },
    /// [`quotient_away`]; neither the input's zero point nor the output's plays a part.
    Quotient(Vec<i64>),
    /// The layer computes a real value in float32, which is rounded; what the numbers are, it says.
    Real(Vec<f32>),
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

    /// The output integer of an accumulator of a channel: the definition. [`Rounding::Unrounded`] has
    /// none and gives `clamp_min`.
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
            Rounding::Biased { scale, bias } => {
                self.apply_float(acc as f32 * entry(scale, channel) + entry(bias, channel))
            }
            Rounding::Twice { left_shift, multiplier, shift } => {
                let (left_shift, shift) = (entry(left_shift, channel), entry(shift, channel));
                let multiplier = entry(multiplier, channel);
                let value = multiply_twice_rounded(acc as i32, left_shift, multiplier, shift);
                value.wrapping_add(self.zero_point).clamp(self.clamp_min, self.clamp_max)
            }
            Rounding::Double(scale) => {
                let (low, high) =
                    (self.clamp_min - self.zero_point, self.clamp_max - self.zero_point);
                round_away(acc as f64 * entry(scale, channel), low, high) + self.zero_point
            }
            Rounding::Unrounded { .. } => self.clamp_min,
            Rounding::Quotient(divisor) => {
                let value = quotient_away(acc, entry(divisor, channel));
                value.clamp(self.clamp_min.into(), self.clamp_max.into()) as i32
            }
            Rounding::Real(_) => self.apply_float(acc as f32),
        }
    }

    /// The only scale of [`Rounding::Double`]; 0 of any other rounding.
    pub fn double_scale(&self) -> f64 {
        match &self.rounding {
            Rounding::Double(scale) => entry(scale, 0),
            _ => 0.0,
        }
    }

    /// The real value of an accumulator of a channel; `None` unless the rounding is
    /// [`Rounding::Unrounded`].
    pub fn real(&self, acc: i64, channel: usize) -> Option<f32> {
        let Rounding::Unrounded { scale, bias } = &self.rounding else { return None };
        let value = acc as f32 * entry(scale, channel);
        Some(if bias.is_empty() { value } else { value + entry(bias, channel) })
    }

    /// The output integer of a float that holds the zero point already: rounds half to even, clamps.
    #[inline(always)]
    pub fn apply_placed(&self, value: f32) -> i32 {
        round_even(value, self.clamp_min, self.clamp_max)
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
