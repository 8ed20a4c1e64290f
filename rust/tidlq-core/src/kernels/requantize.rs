//! [`Requantizer`] over rows of accumulators: equal to [`Requantizer::apply`] bit for bit.

use bytemuck::cast_slice_mut;

use crate::element::{Element, ElementType, with_element};
use crate::fixed::{
    MAX_SHIFT, Requantizer, Rounding, entry, multiply_shift, product_fits, round_even,
};
use crate::isa::{Body, Cpu};

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
    fn shift_clamp(self, shift: u32, low: i32, high: i32) -> i32 {
        let half = (self >> shift.saturating_sub(1)) & i64::from(shift > 0);
        ((self >> shift) + half).max(i64::from(low)).min(i64::from(high)) as i32
    }
}

/// Which entries of the lists a row of accumulators uses.
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

/// Where accumulators lie: `rows` rows of `columns`, `stride` apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub rows: usize,
    pub columns: usize,
    pub stride: usize,
}

impl Layout {
    /// One row.
    pub const fn row(columns: usize) -> Self {
        Self { rows: 1, columns, stride: columns }
    }
}

/// Where output elements go: rows `stride` elements apart, from element `start`.
pub(crate) struct Target<'a> {
    pub element_type: ElementType,
    pub bytes: &'a mut [u8],
    pub start: usize,
    pub stride: usize,
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

    /// Requantizes accumulators into output elements.
    pub fn finish<A: Accumulator>(
        &self,
        cpu: Cpu,
        acc: &[A],
        layout: Layout,
        entries: Entries,
        target: Target<'_>,
    ) {
        cpu.run(FinishBody { requantizer: self, acc, layout, entries, target });
    }

    #[inline(always)]
    fn rows<A: Accumulator, T: Element>(&self, rows: Rows<'_, A, T>, entries: Entries) {
        let columns = rows.layout.columns;
        match &self.rounding {
            Rounding::Shift(shift) => match select(entries, shift, columns) {
                Selected::One(shift) => self.each::<A, T, _, _, Shift>(rows, One::new(shift), NONE),
                Selected::Row(shift) => self.each::<A, T, _, _, Shift>(rows, Row(shift), NONE),
            },
            Rounding::Float(scale) => match select(entries, scale, columns) {
                Selected::One(scale) => self.each::<A, T, _, _, Float>(rows, One::new(scale), NONE),
                Selected::Row(scale) => self.each::<A, T, _, _, Float>(rows, Row(scale), NONE),
            },
            Rounding::Fixed { multiplier, shift } => {
                let both = (select(entries, multiplier, columns), select(entries, shift, columns));
                match self.width {
                    Width::Narrow => self.fixed::<A, T, NarrowProduct>(rows, both),
                    Width::Medium => self.fixed::<A, T, MediumProduct>(rows, both),
                    Width::Wide => self.fixed::<A, T, WideProduct>(rows, both),
                }
            }
        }
    }

    #[inline(always)]
    fn fixed<A: Accumulator, T: Element, S: Scale<A, i32, u32>>(
        &self,
        rows: Rows<'_, A, T>,
        both: (Selected<'_, i32>, Selected<'_, u32>),
    ) {
        match both {
            (Selected::One(m), Selected::One(s)) => {
                self.each::<A, T, _, _, S>(rows, One::new(m), One::new(s));
            }
            (Selected::Row(m), Selected::Row(s)) => {
                self.each::<A, T, _, _, S>(rows, Row(m), Row(s));
            }
            // `new` gives both lists one length.
            _ => {}
        }
    }

    /// Scales in groups of a fixed size, which vectorise whatever the row's length.
    #[inline(always)]
    fn each<A: Accumulator, T: Element, P: Copy, Q: Copy, S: Scale<A, P, Q>>(
        &self,
        rows: Rows<'_, A, T>,
        first: impl Lanes<P>,
        second: impl Lanes<Q>,
    ) {
        let Self { zero_point, low, high, .. } = *self;
        let Layout { rows: count, columns, stride } = rows.layout;
        for row in 0..count {
            let acc = &rows.acc[row * stride..row * stride + columns];
            let output = &mut rows.output[row * rows.step..row * rows.step + columns];
            let (groups, rest) = acc.as_chunks::<GROUP>();
            let (targets, rest_targets) = output.as_chunks_mut::<GROUP>();
            for (index, (group, target)) in groups.iter().zip(targets).enumerate() {
                let (p, q) = (first.group(index), second.group(index));
                // A local result, so that nothing can alias it.
                let mut result = [T::zeroed(); GROUP];
                for lane in 0..GROUP {
                    let value = S::scale(group[lane], p[lane], q[lane], low, high);
                    result[lane] = T::narrow(value + zero_point);
                }
                *target = result;
            }
            let begin = columns - rest.len();
            for (index, (&acc, target)) in rest.iter().zip(rest_targets).enumerate() {
                let (p, q) = (first.at(begin + index), second.at(begin + index));
                *target = T::narrow(S::scale(acc, p, q, low, high) + zero_point);
            }
        }
    }
}

struct FinishBody<'a, A> {
    requantizer: &'a RowRequantizer,
    acc: &'a [A],
    layout: Layout,
    entries: Entries,
    target: Target<'a>,
}

/// Accumulators and the elements that they become, which begin at the first row's and whose rows are
/// `step` apart.
struct Rows<'a, A, T> {
    acc: &'a [A],
    layout: Layout,
    output: &'a mut [T],
    step: usize,
}

impl<A: Accumulator> Body for FinishBody<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { requantizer, acc, layout, entries, target } = self;
        with_element!(target.element_type, T => {
            let output = &mut cast_slice_mut::<u8, T>(target.bytes)[target.start..];
            requantizer.rows(Rows { acc, layout, output, step: target.stride }, entries);
        }, float => {});
    }
}

/// Accumulators that are requantized together.
const GROUP: usize = 16;

/// Parameters of a row.
trait Lanes<T: Copy> {
    /// Those of a group.
    fn group(&self, index: usize) -> &[T; GROUP];
    /// That of one accumulator.
    fn at(&self, index: usize) -> T;
}

/// One parameter for all.
struct One<T>([T; GROUP]);

/// No parameter.
const NONE: One<()> = One([(); GROUP]);

impl<T: Copy> One<T> {
    #[inline(always)]
    fn new(value: T) -> Self {
        Self([value; GROUP])
    }
}

impl<T: Copy> Lanes<T> for One<T> {
    #[inline(always)]
    fn group(&self, _index: usize) -> &[T; GROUP] {
        &self.0
    }

    #[inline(always)]
    fn at(&self, _index: usize) -> T {
        self.0[0]
    }
}

/// One parameter per accumulator.
struct Row<'a, T>(&'a [T]);

impl<T: Copy> Lanes<T> for Row<'_, T> {
    #[inline(always)]
    fn group(&self, index: usize) -> &[T; GROUP] {
        let (groups, _) = self.0.as_chunks();
        &groups[index]
    }

    #[inline(always)]
    fn at(&self, index: usize) -> T {
        self.0[index]
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

/// From an accumulator and its parameters to a clamped value, without the zero point. A type, not a
/// closure, because a closure is not sure to be inlined into code compiled for an instruction set.
trait Scale<A, P, Q> {
    fn scale(acc: A, first: P, second: Q, low: i32, high: i32) -> i32;
}

struct Shift;

impl<A: Accumulator> Scale<A, u32, ()> for Shift {
    #[inline(always)]
    fn scale(acc: A, shift: u32, _: (), low: i32, high: i32) -> i32 {
        acc.shift_clamp(shift, low, high)
    }
}

struct Float;

impl<A: Accumulator> Scale<A, f32, ()> for Float {
    #[inline(always)]
    fn scale(acc: A, scale: f32, _: (), low: i32, high: i32) -> i32 {
        round_even(acc.float() * scale, low, high)
    }
}

struct NarrowProduct;

impl<A: Accumulator> Scale<A, i32, u32> for NarrowProduct {
    #[inline(always)]
    fn scale(acc: A, multiplier: i32, shift: u32, low: i32, high: i32) -> i32 {
        (shifted_product(acc.wide(), multiplier, shift) as i32).max(low).min(high)
    }
}

struct MediumProduct;

impl<A: Accumulator> Scale<A, i32, u32> for MediumProduct {
    #[inline(always)]
    fn scale(acc: A, multiplier: i32, shift: u32, low: i32, high: i32) -> i32 {
        let value = shifted_product(acc.wide(), multiplier, shift);
        value.max(i64::from(low)).min(i64::from(high)) as i32
    }
}

struct WideProduct;

impl<A: Accumulator> Scale<A, i32, u32> for WideProduct {
    #[inline(always)]
    fn scale(acc: A, multiplier: i32, shift: u32, low: i32, high: i32) -> i32 {
        let value = multiply_shift(acc.wide(), multiplier, shift);
        value.max(i128::from(low)).min(i128::from(high)) as i32
    }
}
