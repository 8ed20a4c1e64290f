//! Exact sum of `f64` terms: a fixed-point accumulator as wide as the type (Kulisch).

const LIMB_BITS: u32 = 32;
const LIMB_MASK: i64 = (1 << LIMB_BITS) - 1;
/// 2^-1074 up to 2^1024, and room above for 2^64 terms.
pub(super) const LIMBS: usize = 68;
/// Exponent of the unit of limb 0: the smallest positive `f64`.
const UNIT_EXPONENT: i32 = -1074;
/// One term adds less than 2^32 to a limb, so this many fit before carries must move on.
const TERMS_PER_CARRY: u32 = 1 << 30;

const MANTISSA_BITS: u32 = 52;
const EXPONENT_MASK: u64 = 0x7ff;

/// Sum without rounding: any order and grouping of the same terms gives the same state.
#[derive(Clone, Debug)]
pub struct ExactSum {
    limbs: [i64; LIMBS],
    uncarried: u32,
}

impl Default for ExactSum {
    fn default() -> Self {
        Self { limbs: [0; LIMBS], uncarried: 0 }
    }
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        self.carried() == other.carried()
    }
}

impl Eq for ExactSum {}

impl ExactSum {
    /// Adds a finite term; NaN and infinities are not representable and must be kept out.
    pub fn add(&mut self, term: f64) {
        debug_assert!(term.is_finite(), "term {term} is not finite");
        let bits = term.to_bits();
        let biased = (bits >> MANTISSA_BITS) & EXPONENT_MASK;
        let fraction = bits & ((1 << MANTISSA_BITS) - 1);
        let (mantissa, shift) = match biased {
            0 => (fraction, 0),
            _ => (fraction | (1 << MANTISSA_BITS), biased as u32 - 1),
        };
        let wide = u128::from(mantissa) << (shift % LIMB_BITS);
        let first = (shift / LIMB_BITS) as usize;
        let sign = if term.is_sign_negative() { -1 } else { 1 };
        for (part, limb) in self.limbs[first..first + 3].iter_mut().enumerate() {
            *limb += sign * ((wide >> (part as u32 * LIMB_BITS)) as i64 & LIMB_MASK);
        }
        self.uncarried += 1;
        if self.uncarried == TERMS_PER_CARRY {
            self.carry();
        }
    }

    /// Adds every term of another sum.
    pub fn merge(&mut self, other: &Self) {
        self.carry();
        for (limb, term) in self.limbs.iter_mut().zip(other.carried()) {
            *limb += term;
        }
        self.carry();
    }

    /// The sum, rounded once to the nearest `f64` (halves to even).
    pub fn value(&self) -> f64 {
        let mut limbs = self.carried();
        let negative = limbs[LIMBS - 1] < 0;
        if negative {
            limbs.iter_mut().for_each(|limb| *limb = -*limb);
            carry(&mut limbs);
        }
        let Some(top) = limbs.iter().rposition(|&limb| limb != 0) else {
            return 0.0;
        };
        // Three limbs hold at least 65 significant bits; whatever lies below only has to break
        // ties, for which one sticky bit is enough.
        let low = top.saturating_sub(2);
        let mut head = limbs[low..=top]
            .iter()
            .rev()
            .fold(0u128, |head, &limb| (head << LIMB_BITS) | limb as u128);
        if limbs[..low].iter().any(|&limb| limb != 0) {
            head |= 1;
        }
        let magnitude = scale(head as f64, UNIT_EXPONENT + low as i32 * LIMB_BITS as i32);
        if negative { -magnitude } else { magnitude }
    }

    /// The one form that a sum has, to be saved: limbs of 32 bits, the last with the sign.
    pub(super) fn to_limbs(&self) -> [i64; LIMBS] {
        self.carried()
    }

    /// A saved sum; `None` if the limbs are not of that form.
    pub(super) fn from_limbs(limbs: &[i64]) -> Option<Self> {
        let limbs: [i64; LIMBS] = limbs.try_into().ok()?;
        let (last, rest) = limbs.split_last()?;
        // A sum of fewer than 2^64 terms leaves the last limb far from its type's limits.
        let is_carried = rest.iter().all(|limb| (0..=LIMB_MASK).contains(limb));
        (is_carried && last.abs_diff(0) < 1 << 62).then_some(Self { limbs, uncarried: 0 })
    }

    fn carry(&mut self) {
        carry(&mut self.limbs);
        self.uncarried = 0;
    }

    fn carried(&self) -> [i64; LIMBS] {
        let mut limbs = self.limbs;
        carry(&mut limbs);
        limbs
    }
}

/// Brings every limb but the highest into 0..2^32: the one form of a given sum.
fn carry(limbs: &mut [i64; LIMBS]) {
    let mut carried = 0;
    for limb in &mut limbs[..LIMBS - 1] {
        let total = *limb + carried;
        *limb = total & LIMB_MASK;
        carried = total >> LIMB_BITS;
    }
    limbs[LIMBS - 1] += carried;
}

/// `value * 2^exponent`, in steps whose factors are normal numbers.
fn scale(value: f64, exponent: i32) -> f64 {
    let mut value = value;
    let mut left = exponent;
    while left != 0 {
        let step = left.clamp(-1000, 1000);
        value *= f64::from_bits(((1023 + step) as u64) << MANTISSA_BITS);
        left -= step;
    }
    value
}
