//! Accumulators of 32 and 64 bits.

/// Exact sums of 32 or 64 bits.
pub(crate) trait Accumulator: Copy + Default + Send + Sync + 'static {
    /// From 64 bits; the caller has proven that the value fits.
    fn from_wide(value: i64) -> Self;
    /// From an element less its zero point.
    fn from_narrow(value: i32) -> Self;
    /// To 64 bits.
    fn wide(self) -> i64;
    /// Sum; the caller has proven that it fits.
    fn plus(self, other: Self) -> Self;
    /// Product; the caller has proven that it fits.
    fn times(self, other: Self) -> Self;
    /// To float32, rounding half to even.
    fn float(self) -> f32;
    /// To float64, rounding half to even.
    fn double(self) -> f64;
    /// Shifts right, rounding halves up, and clamps. `shift` at most 62.
    fn shift_clamp(self, shift: u32, low: i32, high: i32) -> i32;
}

impl Accumulator for i32 {
    #[inline(always)]
    fn from_wide(value: i64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn from_narrow(value: i32) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> i64 {
        i64::from(self)
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.wrapping_mul(other)
    }

    #[inline(always)]
    fn float(self) -> f32 {
        self as f32
    }

    #[inline(always)]
    fn double(self) -> f64 {
        self as f64
    }

    #[inline(always)]
    fn shift_clamp(self, shift: u32, low: i32, high: i32) -> i32 {
        // Beyond 31 both terms are the sign's, and cancel to the 0 that is right there.
        let half = (self >> shift.saturating_sub(1).min(31)) & i32::from(shift > 0);
        ((self >> shift.min(31)) + half).max(low).min(high)
    }
}

impl Accumulator for i64 {
    #[inline(always)]
    fn from_wide(value: i64) -> Self {
        value
    }

    #[inline(always)]
    fn from_narrow(value: i32) -> Self {
        Self::from(value)
    }

    #[inline(always)]
    fn wide(self) -> i64 {
        self
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.wrapping_mul(other)
    }

    #[inline(always)]
    fn float(self) -> f32 {
        self as f32
    }

    #[inline(always)]
    fn double(self) -> f64 {
        self as f64
    }

    #[inline(always)]
    fn shift_clamp(self, shift: u32, low: i32, high: i32) -> i32 {
        let half = (self >> shift.saturating_sub(1)) & i64::from(shift > 0);
        ((self >> shift) + half).max(i64::from(low)).min(i64::from(high)) as i32
    }
}
