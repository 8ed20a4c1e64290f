//! Requantization in vectors of sums that exceed 32 bits, as two 32-bit parts `2^bits * high + low`;
//! equal to [`Requantizer::apply`] bit for bit.
//!
//! With `low` reduced to `0..2^bits` by a carry into `high`, a shift by at least `bits` does not see
//! it, once half of the shifted-out unit has been added. A product needs both parts:
//!
//! ```text
//! floor(((2^bits * high + low) * m + half) / 2^shift)
//!     = floor((high * m + floor((low * m + half) / 2^bits)) / 2^(shift - bits))
//! ```
//!
//! where no term leaves 64 bits.

use super::aligned::AlignedWords;
use super::epilogue::store;
use super::requantize::Target;
use super::vector_rounding::half;
use crate::element::ElementType;
use crate::fixed::{MAX_SHIFT, Requantizer, Rounding, entry};
use crate::isa::simd::{Simd, SimdBody};

/// Vectors of parameters that a vector of sums has at most.
const MAX_PARAMETERS: usize = 9;

/// Makes a sum of products positive, so that a logical shift serves as the arithmetic one.
const OFFSET: u64 = 1 << MAX_SHIFT;

/// Sums of channels in two parts.
#[derive(Clone, Copy)]
pub(crate) struct SplitSums<'a> {
    /// Bits of the lower part.
    pub bits: u32,
    /// Greatest magnitude of a sum, bias included.
    pub bound: u64,
    /// Greatest magnitude of the lower part before the bias is added.
    pub low_bound: u64,
    /// Lane by lane.
    pub channels: &'a [usize],
    /// Lane by lane.
    pub biases: &'a [i64],
}

/// A requantization prepared for vectors.
pub(crate) struct SplitEpilogue {
    pub rounding: SplitRounding,
    bits: u32,
    low: i32,
    high: i32,
    zero_point: i32,
    pub output_type: ElementType,
    /// `[vector][parameter][lane]`.
    parameters: AlignedWords,
    lanes: usize,
}

/// The roundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitRounding {
    /// Both parts of bias and half of the shifted-out unit; shift.
    Shift,
    /// Both parts of the bias; for even and for odd lanes multiplier, addend, shift; then what the
    /// addend's offset leaves in the result.
    Fixed,
}

impl SplitRounding {
    const fn parameters(self) -> usize {
        match self {
            Self::Shift => 3,
            Self::Fixed => 9,
        }
    }
}

impl SplitEpilogue {
    /// Whether rounding and output have a vector form.
    pub fn has_form(requantizer: &Requantizer, output_type: ElementType) -> bool {
        let has_form = matches!(requantizer.rounding, Rounding::Shift(_) | Rounding::Fixed { .. });
        has_form && output_type.range().is_some()
    }

    /// `None` where there is no vector form, or a term might not fit.
    pub fn new(
        requantizer: &Requantizer,
        output_type: ElementType,
        sums: SplitSums<'_>,
        lanes: usize,
    ) -> Option<Self> {
        output_type.range()?;
        let rounding = rounding_of(requantizer, sums)?;
        let Requantizer { zero_point, clamp_min, clamp_max, .. } = *requantizer;
        let size = rounding.parameters() * lanes;
        let mut parameters = AlignedWords::zeroed(sums.channels.len() / lanes * size);
        let vectors = parameters.words_mut().chunks_exact_mut(size);
        for ((vector, channels), biases) in
            vectors.zip(sums.channels.chunks_exact(lanes)).zip(sums.biases.chunks_exact(lanes))
        {
            for (lane, (&channel, &bias)) in channels.iter().zip(biases).enumerate() {
                let lane = Lane { vector, lane, lanes, bits: sums.bits };
                lane.set(&requantizer.rounding, channel, bias);
            }
        }
        let (low, high) = (clamp_min - zero_point, clamp_max - zero_point);
        let bits = sums.bits;
        Some(Self { rounding, bits, low, high, zero_point, output_type, parameters, lanes })
    }
}

/// The vector form of a rounding.
fn rounding_of(requantizer: &Requantizer, sums: SplitSums<'_>) -> Option<SplitRounding> {
    let SplitSums { bits, bound, low_bound, .. } = sums;
    let unit = 1_u64 << bits;
    // The lower part takes up to a unit of the bias, and must not wrap; the higher part may, since
    // what it becomes with the carry does not.
    if low_bound.saturating_add(unit) > i32::MAX as u64 {
        return None;
    }
    let high = |bound: u64| (bound >> bits) + 1;
    match &requantizer.rounding {
        Rounding::Shift(shift) => {
            let fits = |&shift: &u32| {
                let sum = bound.saturating_add(half(shift));
                shift >= bits && high(sum) <= i32::MAX as u64
            };
            shift.iter().all(fits).then_some(SplitRounding::Shift)
        }
        Rounding::Fixed { multiplier, shift } => {
            let greatest = multiplier.iter().map(|entry| entry.unsigned_abs()).max()?;
            let rest =
                |shift: u32| (u64::from(greatest) << bits).saturating_add(half(shift)) >> bits;
            let fits = |&shift: &u32| {
                let product = u128::from(high(bound)) * u128::from(greatest);
                let sum = product + u128::from(rest(shift)) + 1;
                shift >= bits && sum <= OFFSET.into() && sum >> (shift - bits) < i32::MAX as u128
            };
            let fits = high(bound) <= i32::MAX as u64 && shift.iter().all(fits);
            fits.then_some(SplitRounding::Fixed)
        }
        _ => None,
    }
}

/// Parameters of one lane.
struct Lane<'a> {
    vector: &'a mut [i32],
    lane: usize,
    lanes: usize,
    bits: u32,
}

impl Lane<'_> {
    fn set(self, rounding: &Rounding, channel: usize, bias: i64) {
        let Self { vector, lane, lanes, bits } = self;
        let mut set = |parameter: usize, value: i32| vector[parameter * lanes + lane] = value;
        let mut set_bias = |bias: i64| {
            set(0, (bias & ((1 << bits) - 1)) as i32);
            set(1, (bias >> bits) as i32);
        };
        match rounding {
            Rounding::Shift(shift) => {
                let shift = entry(shift, channel);
                set_bias(bias.wrapping_add(half(shift) as i64));
                set(2, (shift - bits) as i32);
            }
            Rounding::Fixed { multiplier, shift } => {
                let shift = entry(shift, channel);
                set_bias(bias);
                set(8, (OFFSET >> (shift - bits)) as i32);
                let addend = half(shift) + OFFSET;
                // What an odd lane needs lies in the even lane before it.
                let place = (2 + lane % 2 * 3) * lanes + lane / 2 * 2;
                vector[place] = entry(multiplier, channel);
                vector[place + lanes] = addend as i32;
                vector[place + lanes + 1] = (addend >> 32) as i32;
                vector[place + 2 * lanes] = (shift - bits) as i32;
            }
            _ => {}
        }
    }
}

/// What every vector of sums shares, and the parameters of one.
pub(crate) struct SplitClosing<S: Simd> {
    low: S::I32,
    high: S::I32,
    /// Added at last.
    zero: S::I32,
    /// Bits of the lower part: in every lane, in pairs of lanes, and as a mask.
    bits: S::I32,
    pair_bits: S::I32,
    mask: S::I32,
    /// In pairs of lanes: what is missing to the offset once the lower part has been shifted.
    offset: S::I32,
    parameters: [S::I32; MAX_PARAMETERS],
}

/// One of the roundings as a type, so that loops are compiled for each.
pub(crate) trait SplitRule {
    const ROUNDING: SplitRounding;
    fn round<S: Simd>(simd: S, sums: [S::I32; 2], closing: &SplitClosing<S>) -> S::I32;
}

pub(crate) struct SplitShift;
pub(crate) struct SplitProduct;

impl SplitRule for SplitShift {
    const ROUNDING: SplitRounding = SplitRounding::Shift;

    #[inline(always)]
    fn round<S: Simd>(simd: S, [low, high]: [S::I32; 2], closing: &SplitClosing<S>) -> S::I32 {
        let [bias_low, bias_high, shift, ..] = closing.parameters;
        let carry = simd.shift(simd.add(low, bias_low), closing.bits);
        simd.shift(simd.add(simd.add(high, bias_high), carry), shift)
    }
}

impl SplitRule for SplitProduct {
    const ROUNDING: SplitRounding = SplitRounding::Fixed;

    #[inline(always)]
    fn round<S: Simd>(simd: S, [low, high]: [S::I32; 2], closing: &SplitClosing<S>) -> S::I32 {
        let [bias_low, bias_high, even @ .., excess] = closing.parameters;
        let [factor, addend, shift, odd_factor, odd_addend, odd_shift] = even;
        let low = simd.add(low, bias_low);
        let carry = simd.shift(low, closing.bits);
        let high = simd.add(simd.add(high, bias_high), carry);
        let low = simd.and(low, closing.mask);
        let even = pairs(simd, [low, high], [factor, addend, shift], closing);
        let odd = [simd.odd(low), simd.odd(high)];
        let odd = pairs(simd, odd, [odd_factor, odd_addend, odd_shift], closing);
        simd.sub(simd.merge(even, odd), excess)
    }
}

/// Products of the even lanes, added and shifted.
#[inline(always)]
fn pairs<S: Simd>(
    simd: S,
    [low, high]: [S::I32; 2],
    [factor, addend, shift]: [S::I32; 3],
    closing: &SplitClosing<S>,
) -> S::I32 {
    let rest = simd.shift_pairs(simd.multiply(low, factor, addend), closing.pair_bits);
    let product = simd.multiply(high, factor, closing.offset);
    simd.shift_pairs(simd.add_pairs(product, rest), shift)
}

impl SplitEpilogue {
    /// Prepares for the vector of sums with this index.
    #[inline(always)]
    pub fn closing<S: Simd, R: SplitRule>(&self, simd: S, index: usize) -> SplitClosing<S> {
        let count = R::ROUNDING.parameters();
        let size = count * self.lanes;
        let words = &self.parameters.words()[index * size..(index + 1) * size];
        let mut parameters = [simd.splat(0); MAX_PARAMETERS];
        for parameter in 0..count {
            parameters[parameter] = simd.load(&words[parameter * S::LANES..]);
        }
        let offset = OFFSET - (OFFSET >> self.bits);
        SplitClosing {
            low: simd.splat(self.low),
            high: simd.splat(self.high),
            zero: simd.splat(self.zero_point),
            bits: simd.splat(self.bits as i32),
            pair_bits: simd.splat_pairs(self.bits.into()),
            mask: simd.splat((1 << self.bits) - 1),
            offset: simd.splat_pairs(offset),
            parameters,
        }
    }

    /// The output integers of a vector of sums: lower and higher parts.
    #[inline(always)]
    pub fn close<S: Simd, R: SplitRule>(
        simd: S,
        sums: [S::I32; 2],
        closing: &SplitClosing<S>,
    ) -> S::I32 {
        let value = R::round(simd, sums, closing);
        simd.add(simd.min(simd.max(value, closing.low), closing.high), closing.zero)
    }
}

/// Sums of a block of rows with a panel, and where their outputs go.
pub(crate) struct CloseSplitBody<'a> {
    pub epilogue: &'a SplitEpilogue,
    /// `[row][vector][part][lane]`.
    pub sums: &'a [i32],
    pub rows: usize,
    /// Outputs that exist in a row; their vectors begin with this one of the epilogue's.
    pub columns: usize,
    pub first: usize,
    /// Lanes of a row of sums, of one part.
    pub stride: usize,
    pub target: Target<'a>,
}

impl SimdBody for CloseSplitBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.epilogue.rounding {
            SplitRounding::Shift => self.close::<S, SplitShift>(simd),
            SplitRounding::Fixed => self.close::<S, SplitProduct>(simd),
        }
    }
}

impl CloseSplitBody<'_> {
    #[inline(always)]
    fn close<S: Simd, R: SplitRule>(self, simd: S) {
        let Self { epilogue, sums, rows, columns, first, stride, target } = self;
        let size = epilogue.output_type.size_bytes();
        let output = &mut target.bytes[target.start * size..];
        let step = target.stride * size;
        for vector in 0..columns.div_ceil(S::LANES) {
            let closing = epilogue.closing::<S, R>(simd, first + vector);
            let column = vector * S::LANES;
            let lanes = S::LANES.min(columns - column);
            for row in 0..rows {
                let sums = &sums[2 * (row * stride + column)..][..2 * S::LANES];
                let parts = [simd.load(sums), simd.load(&sums[S::LANES..])];
                let closed = SplitEpilogue::close::<S, R>(simd, parts, &closing);
                let output = &mut output[row * step + column * size..][..lanes * size];
                store(simd, closed, size, output);
            }
        }
    }
}
