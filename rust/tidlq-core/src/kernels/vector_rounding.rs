//! The parameters of requantizations in vectors.
//!
//! What rounds twice is `divide_away(hp, s)` with `hp = floor((a m + 2^30) / 2^31)` of a sum a, see
//! [`crate::fixed::multiply_twice_rounded`]. `divide_away` adds `2^(s-1)` and shifts, after it has
//! taken 1 from a negative hp. For m >= 0 and s >= 1 that 1 may be taken for negative a instead: where
//! a is negative and hp is 0, the result is 0 either way. Floors nest, so
//!
//! ```text
//! result = floor((2 a m + 2^31 + 2^32 (2^(s-1) - [a < 0])) / 2^(s+32))
//! ```
//!
//! of which the upper half of a 64-bit number is left to be shifted by s. Where negative results
//! saturate to 0, nothing need be taken from negative a: without it their results are at most 0 as
//! well. Then the same holds of half of these numbers.

use crate::fixed::{MAX_SHIFT, Requantizer, Rounding, entry, product_fits};

/// Makes a product positive, so that a logical shift serves as the arithmetic one.
pub(crate) const OFFSET: u64 = 1 << MAX_SHIFT;

/// Shift after the first multiplication of what rounds twice.
const FIRST_SHIFT: u32 = 31;

/// Scaled sums below this are converted to 32 bits, and leave room for the zero point.
const NEAREST_BOUND: f64 = (1 << 30) as f64;

/// The roundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VectorRounding {
    /// Half of the shifted-out unit and the zero point, shift.
    Shift,
    /// Scale.
    Float,
    /// Scale, where no scaled sum leaves 32 bits.
    Nearest,
    /// Multiplier, that of the odd lanes in the even lanes before them, and of the upper half of the
    /// product what Shift has.
    High,
    /// For even and for odd lanes: multiplier, addend, shift. Then what the addend's offset leaves
    /// in the result, less the zero point.
    Fixed,
    /// As Fixed, with a shift of 31 less the left shift. Then half of the second shift's unit, the
    /// second shift, and the bits that a negative value's sign may take away.
    Twice,
    /// Rounds twice where negative results saturate to 0. For even and for odd lanes: multiplier,
    /// addend. Then the shift of the upper half.
    TwiceUpward,
    /// As TwiceUpward, of twice the sum, and 1 is taken from the upper half where the sum is negative.
    TwiceDoubled,
}

impl VectorRounding {
    pub const fn parameters(self) -> usize {
        match self {
            Self::Shift => 2,
            Self::Float | Self::Nearest => 1,
            Self::High => 4,
            Self::Fixed => 7,
            Self::Twice => 10,
            Self::TwiceUpward | Self::TwiceDoubled => 5,
        }
    }

    /// The vector form of a requantization of sums up to `bound` in magnitude.
    pub fn of(requantizer: &Requantizer, bound: u64) -> Option<Self> {
        let zero = u64::from(requantizer.zero_point.unsigned_abs());
        let fits = |value: u64, shift: u32| {
            shift <= 31 && value + half(shift) + (zero << shift) <= i32::MAX as u64
        };
        match &requantizer.rounding {
            Rounding::Shift(shift) => {
                shift.iter().all(|&shift| fits(bound, shift)).then_some(Self::Shift)
            }
            Rounding::Float(scale) => {
                // Rounding the sum and its product moves them by far less than the room that is left.
                let is_small =
                    |scale: &f32| f64::from(scale.abs()) * (bound as f64) < NEAREST_BOUND;
                Some(if scale.iter().all(is_small) { Self::Nearest } else { Self::Float })
            }
            _ if bound + zero > i32::MAX as u64 => None,
            Rounding::Fixed { multiplier, shift } => {
                let channels = 0..multiplier.len().max(shift.len());
                let is_high = |channel| {
                    let (factor, shift) =
                        high_product(entry(multiplier, channel), entry(shift, channel))?;
                    // One more than what the shift by 32 leaves at most.
                    let upper = ((u64::from(factor.unsigned_abs()) * bound) >> 32) + 1;
                    fits(upper, shift).then_some(())
                };
                if channels.clone().all(|channel| is_high(channel).is_some()) {
                    return Some(Self::High);
                }
                let fits = multiplier.iter().all(|&multiplier| product_fits(bound, multiplier))
                    && shift.iter().all(|&shift| shift >= 31);
                fits.then_some(Self::Fixed)
            }
            Rounding::Twice { left_shift, shift, .. } => {
                let upper_form = Self::upper_form(requantizer, bound);
                // Neither the left shift nor the shift before the second one may leave 32 bits.
                let is_shifted = |&left: &u32| {
                    left < FIRST_SHIFT && shift.iter().all(|&shift| fits(bound << left, shift))
                };
                let is_plain = left_shift.iter().all(is_shifted).then_some(Self::Twice);
                upper_form.or(is_plain)
            }
            _ => None,
        }
    }

    /// The form of what rounds twice that needs the upper half of one 64-bit number alone.
    fn upper_form(requantizer: &Requantizer, bound: u64) -> Option<Self> {
        let Rounding::Twice { left_shift, multiplier, shift } = &requantizer.rounding else {
            return None;
        };
        let is_plain = left_shift.iter().all(|&left| left == 0)
            && multiplier.iter().all(|&multiplier| multiplier >= 0)
            && shift.iter().all(|&shift| shift >= 1);
        let form = match requantizer.clamp_min >= requantizer.zero_point {
            true => Self::TwiceUpward,
            false => Self::TwiceDoubled,
        };
        let scale = if form == Self::TwiceDoubled { 2 } else { 1 };
        let fits = |channel| {
            let (factor, shift) = (entry(multiplier, channel), entry(shift, channel));
            let product = i128::from(scale * bound) * i128::from(factor);
            let sum = product + twice_addend(form, shift, requantizer.zero_point).abs();
            // Room for the 1 that may be taken from the upper half.
            sum < i128::from(i64::MAX >> 1) && scale * bound <= i32::MAX as u64
        };
        let mut channels = 0..multiplier.len().max(shift.len());
        (is_plain && channels.all(fits)).then_some(form)
    }
}

/// What is added to the product before its upper half is taken, zero point included.
const fn twice_addend(form: VectorRounding, shift: u32, zero: i32) -> i128 {
    let doubled = (1 << 31) + ((half(shift) as i128 + ((zero as i128) << shift)) << 32);
    match form {
        VectorRounding::TwiceDoubled => doubled,
        _ => doubled / 2,
    }
}

/// The same factor with a shift beyond 32, and the rest of that shift: then rounding adds nothing to
/// the lower half of the product, and its upper half alone is shifted.
fn high_product(multiplier: i32, shift: u32) -> Option<(i32, u32)> {
    let more = 33_u32.saturating_sub(shift);
    let factor = i64::from(multiplier) << more;
    Some((i32::try_from(factor).ok()?, shift + more - 32))
}

/// What is added before a shift.
pub(crate) const fn half(shift: u32) -> u64 {
    (1 << shift) >> 1
}

/// Parameters of one lane: `[parameter][lane]`.
pub(crate) struct Lane<'a> {
    pub vector: &'a mut [i32],
    pub lane: usize,
    pub lanes: usize,
}

impl Lane<'_> {
    /// Those of a channel.
    pub fn set(self, form: VectorRounding, requantizer: &Requantizer, channel: usize) {
        let (lane, lanes) = (self.lane, self.lanes);
        let vector = &mut *self.vector;
        let zero = requantizer.zero_point;
        match &requantizer.rounding {
            Rounding::Shift(shift) => {
                let shift = entry(shift, channel);
                vector[lane] = half(shift) as i32 + (zero << shift);
                vector[lanes + lane] = shift as i32;
            }
            Rounding::Float(scale) => vector[lane] = entry(scale, channel).to_bits() as i32,
            Rounding::Fixed { multiplier, shift } => {
                let (multiplier, shift) = (entry(multiplier, channel), entry(shift, channel));
                match form {
                    VectorRounding::High => self.set_high(multiplier, shift, zero),
                    _ => self.set_product(multiplier, shift, zero),
                }
            }
            Rounding::Twice { left_shift, multiplier, shift } => {
                let (multiplier, shift) = (entry(multiplier, channel), entry(shift, channel));
                if form == VectorRounding::Twice {
                    vector[7 * lanes + lane] = half(shift) as i32 + (zero << shift);
                    vector[8 * lanes + lane] = shift as i32;
                    vector[9 * lanes + lane] = if shift == 0 { 0 } else { -1 };
                    self.set_product(multiplier, FIRST_SHIFT - entry(left_shift, channel), 0);
                } else {
                    self.set_upper(form, multiplier, shift, zero);
                }
            }
            _ => {}
        }
    }

    /// The upper half of a product and its shift.
    fn set_high(self, multiplier: i32, shift: u32, zero: i32) {
        let Some((factor, shift)) = high_product(multiplier, shift) else { return };
        let Self { vector, lane, lanes } = self;
        vector[lane] = factor;
        if lane % 2 == 1 {
            vector[lanes + lane - 1] = factor;
        }
        vector[2 * lanes + lane] = half(shift) as i32 + (zero << shift);
        vector[3 * lanes + lane] = shift as i32;
    }

    /// A product of 64 bits and its shift.
    fn set_product(self, multiplier: i32, shift: u32, zero: i32) {
        let Self { vector, lane, lanes } = self;
        let addend = half(shift) + OFFSET;
        // What an odd lane needs lies in the even lane before it.
        let place = lane % 2 * 3 * lanes + lane / 2 * 2;
        vector[place] = multiplier;
        vector[place + lanes] = addend as i32;
        vector[place + lanes + 1] = (addend >> 32) as i32;
        vector[place + 2 * lanes] = shift as i32;
        vector[6 * lanes + lane] = ((OFFSET >> shift) as i32).wrapping_sub(zero);
    }

    /// A product of 64 bits whose upper half is shifted.
    fn set_upper(self, form: VectorRounding, multiplier: i32, shift: u32, zero: i32) {
        let Self { vector, lane, lanes } = self;
        let addend = twice_addend(form, shift, zero);
        let place = lane % 2 * 2 * lanes + lane / 2 * 2;
        vector[place] = multiplier;
        vector[place + lanes] = addend as i32;
        vector[place + lanes + 1] = (addend >> 32) as i32;
        vector[4 * lanes + lane] =
            if form == VectorRounding::TwiceDoubled { shift as i32 } else { shift as i32 - 1 };
    }
}
