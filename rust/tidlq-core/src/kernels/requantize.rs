//! [`Requantizer`] over rows of accumulators: equal to [`Requantizer::apply`] bit for bit.

use bytemuck::cast_slice_mut;

pub(crate) use super::accumulator::Accumulator;
pub(crate) use super::lanes::Entries;
use super::lanes::{GROUP, Lanes, NONE, One, Row, Selected, select};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::{
    MAX_SHIFT, Requantizer, Rounding, entry, multiply_shift, multiply_twice_rounded, product_fits,
    quotient_away, round_away, round_even,
};
use crate::isa::{Body, Cpu};

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
    scaling: Scaling,
    bounds: Bounds,
}

/// [`Rounding`] with lists of one length, ready for rows.
#[derive(Clone, Debug)]
enum Scaling {
    Shift(Vec<u32>),
    Fixed {
        multiplier: Vec<i32>,
        shift: Vec<u32>,
        width: Width,
    },
    Float(Vec<f32>),
    /// Lists of one length.
    Biased {
        scale: Vec<f32>,
        bias: Vec<f32>,
    },
    /// Shifts as [`pack_shifts`] makes them.
    Twice {
        multiplier: Vec<i32>,
        shifts: Vec<u32>,
    },
    Double(Vec<f64>),
    Unrounded {
        scale: Vec<f32>,
        bias: Vec<f32>,
    },
    Quotient(Vec<i64>),
}

/// What follows the rounding of an accumulator.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    zero_point: i32,
    /// Clamps before the zero point is added.
    low: i32,
    high: i32,
}

impl Bounds {
    fn of(requantizer: &Requantizer) -> Self {
        let Requantizer { clamp_min, clamp_max, .. } = *requantizer;
        let zero_point = match requantizer.rounding {
            Rounding::Quotient(_) => 0,
            _ => requantizer.zero_point,
        };
        Self { zero_point, low: clamp_min - zero_point, high: clamp_max - zero_point }
    }
}

impl RowRequantizer {
    /// Prepares; `bound` is the greatest magnitude of an accumulator.
    pub fn new(requantizer: &Requantizer, bound: u64) -> Self {
        Self { scaling: Scaling::of(&requantizer.rounding, bound), bounds: Bounds::of(requantizer) }
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
        match &self.scaling {
            Scaling::Shift(shift) => match select(entries, shift, columns) {
                Selected::One(shift) => self.each::<A, T, _, _, Shift>(rows, One::new(shift), NONE),
                Selected::Row(shift) => self.each::<A, T, _, _, Shift>(rows, Row(shift), NONE),
            },
            Scaling::Float(scale) => match select(entries, scale, columns) {
                Selected::One(scale) => self.each::<A, T, _, _, Float>(rows, One::new(scale), NONE),
                Selected::Row(scale) => self.each::<A, T, _, _, Float>(rows, Row(scale), NONE),
            },
            Scaling::Biased { scale, bias } => {
                let both = (select(entries, scale, columns), select(entries, bias, columns));
                self.pairs::<A, T, _, _, Biased>(rows, both);
            }
            Scaling::Fixed { multiplier, shift, width } => {
                let both = (select(entries, multiplier, columns), select(entries, shift, columns));
                match width {
                    Width::Narrow => self.pairs::<A, T, _, _, NarrowProduct>(rows, both),
                    Width::Medium => self.pairs::<A, T, _, _, MediumProduct>(rows, both),
                    Width::Wide => self.pairs::<A, T, _, _, WideProduct>(rows, both),
                }
            }
            Scaling::Twice { multiplier, shifts } => {
                let both = (select(entries, multiplier, columns), select(entries, shifts, columns));
                self.pairs::<A, T, _, _, Twice>(rows, both);
            }
            Scaling::Double(scale) => match select(entries, scale, columns) {
                Selected::One(scale) => {
                    self.each::<A, T, _, _, Double>(rows, One::new(scale), NONE)
                }
                Selected::Row(scale) => self.each::<A, T, _, _, Double>(rows, Row(scale), NONE),
            },
            // What writes integers never has these.
            Scaling::Unrounded { .. } => {}
            Scaling::Quotient(divisor) => match select(entries, divisor, columns) {
                Selected::One(divisor) => {
                    self.each::<A, T, _, _, Quotient>(rows, One::new(divisor), NONE);
                }
                Selected::Row(divisor) => {
                    self.each::<A, T, _, _, Quotient>(rows, Row(divisor), NONE);
                }
            },
        }
    }

    /// Real values; validation lets no other mode write float32.
    #[inline(always)]
    fn floats<A: Accumulator>(&self, rows: Rows<'_, A, f32>, entries: Entries) {
        let Scaling::Unrounded { scale, bias } = &self.scaling else { return };
        let Rows { acc, layout: Layout { rows: count, columns, stride }, output, step } = rows;
        for row in 0..count {
            let acc = &acc[row * stride..row * stride + columns];
            let output = &mut output[row * step..row * step + columns];
            for (value, acc) in output.iter_mut().zip(acc) {
                *value = acc.float();
            }
            with_each(output, select(entries, scale, columns), |value, scale| value * scale);
            if !bias.is_empty() {
                with_each(output, select(entries, bias, columns), |value, bias| value + bias);
            }
        }
    }

    #[inline(always)]
    fn pairs<A: Accumulator, T: Element, P: Copy, Q: Copy, S: Scale<A, P, Q>>(
        &self,
        rows: Rows<'_, A, T>,
        both: (Selected<'_, P>, Selected<'_, Q>),
    ) {
        match both {
            (Selected::One(m), Selected::One(s)) => {
                self.each::<A, T, _, _, S>(rows, One::new(m), One::new(s));
            }
            (Selected::Row(m), Selected::Row(s)) => {
                self.each::<A, T, _, _, S>(rows, Row(m), Row(s));
            }
            // `Scaling::of` gives both lists one length.
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
        let bounds = self.bounds;
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
                    result[lane] = T::narrow(S::scale(group[lane], p[lane], q[lane], bounds));
                }
                *target = result;
            }
            let begin = columns - rest.len();
            for (index, (&acc, target)) in rest.iter().zip(rest_targets).enumerate() {
                let (p, q) = (first.at(begin + index), second.at(begin + index));
                *target = T::narrow(S::scale(acc, p, q, bounds));
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
        }, float => {
            let output = &mut cast_slice_mut::<u8, f32>(target.bytes)[target.start..];
            requantizer.floats(Rows { acc, layout, output, step: target.stride }, entries);
        });
    }
}

impl Scaling {
    /// `bound` is the greatest magnitude of an accumulator.
    fn of(rounding: &Rounding, bound: u64) -> Self {
        match rounding {
            Rounding::Shift(shift) => Self::Shift(shift.clone()),
            Rounding::Float(scale) => Self::Float(scale.clone()),
            Rounding::Biased { scale, bias } => {
                let length = scale.len().max(bias.len());
                Self::Biased { scale: repeated(scale, length), bias: repeated(bias, length) }
            }
            Rounding::Double(scale) => Self::Double(scale.clone()),
            Rounding::Quotient(divisor) => Self::Quotient(divisor.clone()),
            // The layer has scaled already.
            Rounding::Real(_) => Self::Float(vec![1.0]),
            Rounding::Unrounded { scale, bias } => {
                Self::Unrounded { scale: scale.clone(), bias: bias.clone() }
            }
            Rounding::Fixed { multiplier, shift } => {
                let length = multiplier.len().max(shift.len());
                Self::Fixed {
                    width: Width::of(multiplier, shift, bound),
                    multiplier: repeated(multiplier, length),
                    shift: repeated(shift, length),
                }
            }
            Rounding::Twice { left_shift, multiplier, shift } => {
                let length = multiplier.len().max(shift.len()).max(left_shift.len());
                let pairs = repeated(left_shift, length).into_iter().zip(repeated(shift, length));
                Self::Twice {
                    multiplier: repeated(multiplier, length),
                    shifts: pairs.map(|(left, right)| pack_shifts(left, right)).collect(),
                }
            }
        }
    }
}

impl Width {
    fn of(multiplier: &[i32], shift: &[u32], bound: u64) -> Self {
        let is_medium = multiplier.iter().all(|&entry| product_fits(bound, entry));
        let is_narrow = bound <= 1 << 31 && shift.iter().all(|&entry| entry >= 31);
        match (is_medium, is_narrow) {
            (true, true) => Self::Narrow,
            (true, false) => Self::Medium,
            (false, _) => Self::Wide,
        }
    }
}

/// A list of `length` entries; a single one is repeated.
fn repeated<T: Copy>(list: &[T], length: usize) -> Vec<T> {
    (0..length).map(|channel| entry(list, channel)).collect()
}

/// A left and a right shift in one parameter, since lanes have two.
const fn pack_shifts(left: u32, right: u32) -> u32 {
    left << 8 | right
}

/// Changes every value by its parameter.
#[inline(always)]
fn with_each(values: &mut [f32], by: Selected<'_, f32>, change: impl Fn(f32, f32) -> f32) {
    match by {
        Selected::One(by) => values.iter_mut().for_each(|value| *value = change(*value, by)),
        Selected::Row(by) => {
            values.iter_mut().zip(by).for_each(|(value, &by)| *value = change(*value, by));
        }
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

impl Bounds {
    /// Clamps and adds the zero point.
    #[inline(always)]
    fn close(self, value: i32) -> i32 {
        value.max(self.low).min(self.high) + self.zero_point
    }
}

/// From an accumulator and its parameters to an output integer. A type, not a closure, because a
/// closure is not sure to be inlined into code compiled for an instruction set.
trait Scale<A, P, Q> {
    fn scale(acc: A, first: P, second: Q, bounds: Bounds) -> i32;
}

struct Shift;

impl<A: Accumulator> Scale<A, u32, ()> for Shift {
    #[inline(always)]
    fn scale(acc: A, shift: u32, _: (), bounds: Bounds) -> i32 {
        acc.shift_clamp(shift, bounds.low, bounds.high) + bounds.zero_point
    }
}

struct Float;

impl<A: Accumulator> Scale<A, f32, ()> for Float {
    #[inline(always)]
    fn scale(acc: A, scale: f32, _: (), bounds: Bounds) -> i32 {
        round_even(acc.float() * scale, bounds.low, bounds.high) + bounds.zero_point
    }
}

struct Biased;

impl<A: Accumulator> Scale<A, f32, f32> for Biased {
    #[inline(always)]
    fn scale(acc: A, scale: f32, bias: f32, bounds: Bounds) -> i32 {
        round_even(acc.float() * scale + bias, bounds.low, bounds.high) + bounds.zero_point
    }
}

struct NarrowProduct;

impl<A: Accumulator> Scale<A, i32, u32> for NarrowProduct {
    #[inline(always)]
    fn scale(acc: A, multiplier: i32, shift: u32, bounds: Bounds) -> i32 {
        bounds.close(shifted_product(acc.wide(), multiplier, shift) as i32)
    }
}

struct MediumProduct;

impl<A: Accumulator> Scale<A, i32, u32> for MediumProduct {
    #[inline(always)]
    fn scale(acc: A, multiplier: i32, shift: u32, bounds: Bounds) -> i32 {
        let value = shifted_product(acc.wide(), multiplier, shift);
        let value = value.max(i64::from(bounds.low)).min(i64::from(bounds.high));
        value as i32 + bounds.zero_point
    }
}

struct WideProduct;

impl<A: Accumulator> Scale<A, i32, u32> for WideProduct {
    #[inline(always)]
    fn scale(acc: A, multiplier: i32, shift: u32, bounds: Bounds) -> i32 {
        let value = multiply_shift(acc.wide(), multiplier, shift);
        let value = value.max(i128::from(bounds.low)).min(i128::from(bounds.high));
        value as i32 + bounds.zero_point
    }
}

struct Twice;

impl<A: Accumulator> Scale<A, i32, u32> for Twice {
    #[inline(always)]
    fn scale(acc: A, multiplier: i32, shifts: u32, bounds: Bounds) -> i32 {
        let (left, right) = (shifts >> 8, shifts & 0xff);
        let value = multiply_twice_rounded(acc.wide() as i32, left, multiplier, right);
        let Bounds { zero_point, low, high } = bounds;
        value.wrapping_add(zero_point).max(low + zero_point).min(high + zero_point)
    }
}

struct Double;

impl<A: Accumulator> Scale<A, f64, ()> for Double {
    #[inline(always)]
    fn scale(acc: A, scale: f64, _: (), bounds: Bounds) -> i32 {
        round_away(acc.double() * scale, bounds.low, bounds.high) + bounds.zero_point
    }
}

struct Quotient;

impl<A: Accumulator> Scale<A, i64, ()> for Quotient {
    #[inline(always)]
    fn scale(acc: A, divisor: i64, _: (), bounds: Bounds) -> i32 {
        let value = quotient_away(acc.wide(), divisor);
        value.max(i64::from(bounds.low)).min(i64::from(bounds.high)) as i32
    }
}
