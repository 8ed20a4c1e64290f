//! [`Requantizer`] over rows of accumulators: equal to [`Requantizer::apply`] bit for bit.

use crate::fixed::{
    MAX_SHIFT, Requantizer, Rounding, entry, multiply_shift, product_fits, round_even,
};

/// Exact sums of 32 or 64 bits.
pub(crate) trait Accumulator: Copy + Default + Send + Sync + 'static {
    /// From 64 bits; the caller has proven that the value fits.
    fn from_wide(value: i64) -> Self;
    /// To 64 bits.
    fn wide(self) -> i64;
    /// Sum; the caller has proven that it fits.
    fn plus(self, other: Self) -> Self;
    /// Product; the caller has proven that it fits.
    fn times(self, other: Self) -> Self;
    /// To float32, rounding half to even.
    fn float(self) -> f32;
    /// Shifts right, rounding halves up, and clamps. `shift` at most 62.
    fn shift_clamp(self, shift: u32, low: i32, high: i32) -> i32;
}

impl Accumulator for i32 {
    #[inline(always)]
    fn from_wide(value: i64) -> Self {
        value as Self
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
    fn shift_clamp(self, shift: u32, low: i32, high: i32) -> i32 {
        // Beyond 31 both terms are the sign's, and cancel to the 0 that is right there.
        let half = (self >> shift.saturating_sub(1).min(31)) & i32::from(shift > 0);
        ((self >> shift.min(31)) + half).clamp(low, high)
    }
}

impl Accumulator for i64 {
    #[inline(always)]
    fn from_wide(value: i64) -> Self {
        value
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
    fn shift_clamp(self, shift: u32, low: i32, high: i32) -> i32 {
        let half = (self >> shift.saturating_sub(1)) & i64::from(shift > 0);
        ((self >> shift) + half).clamp(i64::from(low), i64::from(high)) as i32
    }
}

/// Which entries of the lists a row uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entries {
    /// This one for every accumulator.
    One(usize),
    /// Consecutive ones from this.
    From(usize),
}

/// How wide the intermediate results of a fixed-point multiplication are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// The product fits 64 bits, the result 32.
    Narrow,
    /// The product fits 64 bits.
    Medium,
    /// 128 bits.
    Wide,
}

/// A requantizer prepared for rows.
#[derive(Clone, Debug)]
pub(crate) struct RowRequantizer {
    rounding: Rounding,
    width: Width,
    zero_point: i32,
    /// Clamps before the zero point is added.
    low: i32,
    high: i32,
}

impl RowRequantizer {
    /// Prepares; `bound` is the greatest magnitude of an accumulator.
    pub fn new(requantizer: &Requantizer, bound: u64) -> Self {
        let width = match &requantizer.rounding {
            Rounding::Fixed { multiplier, shift } => {
                let is_medium = multiplier.iter().all(|&entry| product_fits(bound, entry));
                let is_narrow = bound <= 1 << 31 && shift.iter().all(|&entry| entry >= 31);
                match (is_medium, is_narrow) {
                    (true, true) => Width::Narrow,
                    (true, false) => Width::Medium,
                    (false, _) => Width::Wide,
                }
            }
            _ => Width::Narrow,
        };
        Self {
            rounding: with_equal_lengths(&requantizer.rounding),
            width,
            zero_point: requantizer.zero_point,
            low: requantizer.clamp_min - requantizer.zero_point,
            high: requantizer.clamp_max - requantizer.zero_point,
        }
    }

    /// Requantizes a row.
    #[inline(always)]
    pub fn run<A: Accumulator>(&self, row: &[A], entries: Entries, output: &mut [i32]) {
        let (low, high) = (self.low, self.high);
        match &self.rounding {
            Rounding::Shift(shift) => match select(entries, shift, row.len()) {
                Selected::One(shift) => {
                    self.each(row, output, |_, acc| acc.shift_clamp(shift, low, high));
                }
                Selected::Row(shift) => {
                    self.each(row, output, |i, acc| acc.shift_clamp(shift[i], low, high));
                }
            },
            Rounding::Fixed { multiplier, shift } => {
                let multiplier = select(entries, multiplier, row.len());
                let shift = select(entries, shift, row.len());
                match self.width {
                    Width::Narrow => self.fixed(row, output, multiplier, shift, narrow_product),
                    Width::Medium => self.fixed(row, output, multiplier, shift, medium_product),
                    Width::Wide => self.fixed(row, output, multiplier, shift, wide_product),
                }
            }
            Rounding::Float(scale) => match select(entries, scale, row.len()) {
                Selected::One(scale) => {
                    self.each(row, output, |_, acc| round_even(acc.float() * scale, low, high));
                }
                Selected::Row(scale) => {
                    self.each(row, output, |i, acc| round_even(acc.float() * scale[i], low, high));
                }
            },
        }
    }

    #[inline(always)]
    fn each<A: Accumulator>(&self, row: &[A], output: &mut [i32], scale: impl Fn(usize, A) -> i32) {
        for (i, (q, &acc)) in output.iter_mut().zip(row).enumerate() {
            *q = scale(i, acc) + self.zero_point;
        }
    }

    #[inline(always)]
    fn fixed<A: Accumulator>(
        &self,
        row: &[A],
        output: &mut [i32],
        multiplier: Selected<'_, i32>,
        shift: Selected<'_, u32>,
        scale: impl Fn(i64, i32, u32, i32, i32) -> i32,
    ) {
        let (low, high) = (self.low, self.high);
        match (multiplier, shift) {
            (Selected::One(m), Selected::One(s)) => {
                self.each(row, output, |_, acc| scale(acc.wide(), m, s, low, high));
            }
            (Selected::Row(m), Selected::Row(s)) => {
                self.each(row, output, |i, acc| scale(acc.wide(), m[i], s[i], low, high));
            }
            // `new` gives both lists one length.
            _ => {}
        }
    }
}

/// Repeats a single multiplier or shift where the other list has one per channel.
fn with_equal_lengths(rounding: &Rounding) -> Rounding {
    let Rounding::Fixed { multiplier, shift } = rounding else {
        return rounding.clone();
    };
    let length = multiplier.len().max(shift.len());
    Rounding::Fixed {
        multiplier: (0..length).map(|channel| entry(multiplier, channel)).collect(),
        shift: (0..length).map(|channel| entry(shift, channel)).collect(),
    }
}

/// One parameter for the row, or one per accumulator.
#[derive(Clone, Copy)]
enum Selected<'a, T> {
    One(T),
    Row(&'a [T]),
}

#[inline(always)]
fn select<T: Copy>(entries: Entries, list: &[T], length: usize) -> Selected<'_, T> {
    match entries {
        _ if list.len() == 1 => Selected::One(list[0]),
        Entries::One(entry) => Selected::One(list[entry]),
        Entries::From(first) => Selected::Row(&list[first..first + length]),
    }
}

/// The rounded product as `u64`, offset by 2^62 so that a logical shift, which every vector
/// instruction set has for 64 bits, serves as the arithmetic one. Exact: 2^62 is a multiple of
/// 2^shift.
#[inline(always)]
fn shifted_product(acc: i64, multiplier: i32, shift: u32) -> i64 {
    const OFFSET: u64 = 1 << MAX_SHIFT;
    let half = (1_u64 << shift) >> 1;
    let product = acc.wrapping_mul(i64::from(multiplier)) as u64;
    let sum = product.wrapping_add(half).wrapping_add(OFFSET);
    (sum >> shift).wrapping_sub(OFFSET >> shift) as i64
}

#[inline(always)]
fn narrow_product(acc: i64, multiplier: i32, shift: u32, low: i32, high: i32) -> i32 {
    (shifted_product(acc, multiplier, shift) as i32).clamp(low, high)
}

#[inline(always)]
fn medium_product(acc: i64, multiplier: i32, shift: u32, low: i32, high: i32) -> i32 {
    shifted_product(acc, multiplier, shift).clamp(i64::from(low), i64::from(high)) as i32
}

#[inline(always)]
fn wide_product(acc: i64, multiplier: i32, shift: u32, low: i32, high: i32) -> i32 {
    multiply_shift(acc, multiplier, shift).clamp(i128::from(low), i128::from(high)) as i32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::isa::{Body, Cpu, isa_tests};

    struct Row<'a, A> {
        requantizer: &'a RowRequantizer,
        row: &'a [A],
        entries: Entries,
        output: &'a mut [i32],
    }

    impl<A: Accumulator> Body for Row<'_, A> {
        type Output = ();

        #[inline(always)]
        fn run(self) {
            self.requantizer.run(self.row, self.entries, self.output);
        }
    }

    fn any_rounding(channels: usize) -> impl Strategy<Value = Rounding> {
        let length = prop_oneof![Just(1), Just(channels)];
        length.prop_flat_map(|length| {
            let shift = proptest::collection::vec(0..=MAX_SHIFT, length);
            let high_shift = proptest::collection::vec(31..=MAX_SHIFT, length);
            let multiplier = proptest::collection::vec(-i32::MAX..=i32::MAX, length);
            let scale = proptest::collection::vec(-1.0e-2_f32..1.0e-2, length);
            prop_oneof![
                shift.clone().prop_map(Rounding::Shift),
                (multiplier.clone(), prop_oneof![shift, high_shift])
                    .prop_map(|(multiplier, shift)| Rounding::Fixed { multiplier, shift }),
                scale.prop_map(Rounding::Float),
            ]
        })
    }

    fn row_equals_definition<A: Accumulator>(
        cpu: Cpu,
        row: &[A],
        bound: u64,
        requantizer: &Requantizer,
    ) -> std::result::Result<(), TestCaseError> {
        let prepared = RowRequantizer::new(requantizer, bound);
        let mut output = vec![0; row.len()];
        let entries = Entries::From(0);
        cpu.run(Row { requantizer: &prepared, row, entries, output: &mut output });
        for (channel, (&acc, &q)) in row.iter().zip(&output).enumerate() {
            prop_assert_eq!(q, requantizer.apply(acc.wide(), channel));
        }
        Ok(())
    }

    isa_tests! {
        fn rows_equal_the_definition(cpu: Cpu) {
            let rows = proptest::collection::vec(any::<i64>(), 37);
            let range = prop_oneof![Just((0, 255)), Just((-128, 127)), Just((-32_768, 32_767))];
            proptest!(|(
                wide in rows, down in 0..63_u32, rounding in any_rounding(37), (low, high) in range,
                zero in 0.0..1.0_f64,
            )| {
                let zero_point = low + (f64::from(high - low) * zero) as i32;
                let requantizer =
                    Requantizer { rounding, zero_point, clamp_min: low, clamp_max: high };
                let wide: Vec<i64> = wide.into_iter().map(|value| value >> down).collect();
                let bound = wide.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
                row_equals_definition(cpu, &wide, bound, &requantizer)?;
                if bound < 1 << 31 {
                    let narrow: Vec<i32> = wide.iter().map(|&value| value as i32).collect();
                    row_equals_definition(cpu, &narrow, bound, &requantizer)?;
                }
            });
        }
    }
}
