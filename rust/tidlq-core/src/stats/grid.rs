//! The histogram's grid: a power-of-two bin width that depends on the extremes alone.

/// Most bins that a histogram keeps.
pub const MAX_BINS: usize = 4096;

/// Bits of the `f32` mantissa after the leading one.
const FRACTION_BITS: i32 = 23;
/// Exponent of the smallest positive `f32`.
const LOWEST_EXPONENT: i32 = -149;

/// Bins of equal width `2^exponent` whose edges are multiples of it.
///
/// The grid of finite values with extremes `min` and `max` is the finest one that
/// - covers them with at most [`MAX_BINS`] bins, and
/// - is no finer than the spacing of `f32` at `max(|min|, |max|)`.
///
/// Both conditions only get stricter as the extremes move apart, and the edges of a grid are edges
/// of every finer one. So counts on any earlier grid fold into a later one without loss, and the
/// final counts depend on the values alone, not on the order in which they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    exponent: i32,
    first: i32,
    bins: usize,
}

impl Grid {
    /// The grid of data with these finite extremes; `None` while all values are zero.
    pub fn of_extremes(min: f32, max: f32) -> Option<Self> {
        let largest = min.abs().max(max.abs());
        if largest == 0.0 {
            return None;
        }
        let mut exponent = (exponent_of(largest) - FRACTION_BITS).max(LOWEST_EXPONENT);
        // Quotients by the floor width are below 2^24: exact, and far inside i32.
        let per_bin = power_of_two(-exponent);
        let mut first = (f64::from(min) * per_bin).floor() as i32;
        let mut last = (f64::from(max) * per_bin).floor() as i32;
        while last - first >= MAX_BINS as i32 {
            exponent += 1;
            first >>= 1;
            last >>= 1;
        }
        let bins = (last - first + 1) as usize;
        Some(Self { exponent, first, bins })
    }

    /// Base-2 logarithm of the bin width.
    pub fn exponent(self) -> i32 {
        self.exponent
    }

    /// Width of a bin: a power of two.
    pub fn width(self) -> f64 {
        power_of_two(self.exponent)
    }

    /// Bin `i` holds `first + i <= x / width < first + i + 1`.
    pub fn first(self) -> i32 {
        self.first
    }

    /// Number of bins, from the one of the smallest value to the one of the largest.
    pub fn bins(self) -> usize {
        self.bins
    }

    /// The bin of zero, when zero lies between the extremes.
    pub fn zero_bin(self) -> Option<usize> {
        usize::try_from(-self.first).ok().filter(|&bin| bin < self.bins)
    }

    /// Where a bin of a grid that this one covers lies in this one.
    pub fn bin_of(self, finer: Self, bin: usize) -> usize {
        let shift = self.exponent - finer.exponent;
        // Extremes that moved apart by many powers of two leave a single bin on either side of 0.
        let edge = (finer.first + bin as i32) >> shift.min(31);
        (edge - self.first) as usize
    }
}

/// Floor of the base-2 logarithm; subnormal numbers count as the smallest normal one.
pub fn exponent_of(value: f32) -> i32 {
    let biased = (value.to_bits() >> FRACTION_BITS) & 0xff;
    biased.max(1) as i32 - 127
}

/// `2^exponent`, for exponents of normal `f64` numbers.
pub fn power_of_two(exponent: i32) -> f64 {
    debug_assert!((-1022..=1023).contains(&exponent));
    f64::from_bits(((1023 + exponent) as u64) << 52)
}
