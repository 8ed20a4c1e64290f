//! Requantization of 32-bit sums in vectors, for the roundings that networks mostly have; equal to
//! [`Requantizer::apply`] bit for bit. Others are [`super::requantize::RowRequantizer`]'s.

use super::aligned::AlignedWords;
use super::requantize::Target;
use super::vector_rounding::{Lane, VectorRounding};
use crate::element::ElementType;
use crate::fixed::Requantizer;
use crate::isa::simd::{ByteLimits, MAX_LANES, Simd, SimdBody};

/// Vectors of parameters that a vector of sums has at most.
const MAX_PARAMETERS: usize = 10;

/// Rounds a float of magnitude up to 2^22 to an integer, as in [`crate::fixed::round_even`].
const ROUND_MAGIC: f32 = 12_582_912.0;

/// A requantization prepared for vectors.
pub(crate) struct Epilogue {
    pub rounding: VectorRounding,
    /// Clamps of the output.
    low: i32,
    high: i32,
    zero_point: i32,
    pub output_type: ElementType,
    /// `[vector][parameter][lane]`.
    parameters: AlignedWords,
    lanes: usize,
}

impl Epilogue {
    /// For sums up to `bound` in magnitude of these channels, lane by lane; `None` for a rounding or
    /// an output that has no vector form.
    pub fn new(
        requantizer: &Requantizer,
        output_type: ElementType,
        bound: u64,
        channels: &[usize],
        lanes: usize,
    ) -> Option<Self> {
        let rounding = VectorRounding::of(requantizer, bound)?;
        output_type.range()?;
        let Requantizer { zero_point, clamp_min, clamp_max, .. } = *requantizer;
        let count = rounding.parameters();
        let mut parameters = AlignedWords::zeroed(channels.len() * count);
        let vectors = parameters.words_mut().chunks_exact_mut(count * lanes);
        for (vector, channels) in vectors.zip(channels.chunks_exact(lanes)) {
            for (lane, &channel) in channels.iter().enumerate() {
                Lane { vector, lane, lanes }.set(rounding, requantizer, channel);
            }
        }
        let (low, high) = (clamp_min, clamp_max);
        Some(Self { rounding, low, high, zero_point, output_type, parameters, lanes })
    }

    #[inline(always)]
    fn vector(&self, index: usize) -> &[i32] {
        let size = self.rounding.parameters() * self.lanes;
        &self.parameters.words()[index * size..(index + 1) * size]
    }
}

/// What every vector of sums shares, and the parameters of one.
#[derive(Clone, Copy)]
pub(crate) struct Closing<S: Simd> {
    limits: (S::I32, S::I32),
    /// Of floats less the zero point: what [`ROUND_MAGIC`] rounds has to be small.
    float_limits: (S::I32, S::I32),
    /// What a float of [`ROUND_MAGIC`] lacks of the output.
    zero: S::I32,
    magic: S::I32,
    zero_point: S::I32,
    parameters: [S::I32; MAX_PARAMETERS],
}

/// One of the roundings as a type, so that loops are compiled for each.
pub(crate) trait Rule {
    const ROUNDING: VectorRounding;
    /// The output integers, zero point included, before they are clamped.
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32;
}

pub(crate) struct ByShift;
pub(crate) struct ByFloat;
pub(crate) struct ByNearest;
pub(crate) struct ByHighProduct;
pub(crate) struct ByProduct;
pub(crate) struct ByProductTwice;
pub(crate) struct ByUpperTwice;
pub(crate) struct ByDoubledTwice;

impl Rule for ByShift {
    const ROUNDING: VectorRounding = VectorRounding::Shift;

    #[inline(always)]
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        let [half, shift, ..] = closing.parameters;
        simd.shift(simd.add(sum, half), shift)
    }
}

impl Rule for ByFloat {
    const ROUNDING: VectorRounding = VectorRounding::Float;

    #[inline(always)]
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        let value = simd.scale(sum, closing.parameters[0], closing.float_limits);
        simd.add(simd.add_float(value, closing.magic), closing.zero)
    }
}

impl Rule for ByNearest {
    const ROUNDING: VectorRounding = VectorRounding::Nearest;

    #[inline(always)]
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        let value = simd.scale_to_nearest(sum, closing.parameters[0]);
        simd.add(value, closing.zero_point)
    }
}

impl Rule for ByHighProduct {
    const ROUNDING: VectorRounding = VectorRounding::High;

    #[inline(always)]
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        let [factor, odd_factor, addend, shift, ..] = closing.parameters;
        let upper = simd.multiply_high(sum, factor, odd_factor);
        simd.shift(simd.add(upper, addend), shift)
    }
}

impl Rule for ByProduct {
    const ROUNDING: VectorRounding = VectorRounding::Fixed;

    #[inline(always)]
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        shifted_product(simd, sum, closing)
    }
}

impl Rule for ByProductTwice {
    const ROUNDING: VectorRounding = VectorRounding::Twice;

    #[inline(always)]
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        let [.., half, shift, signs] = closing.parameters;
        let value = shifted_product(simd, sum, closing);
        // Halves go away from zero: of a negative value, up to less than half is taken up.
        let sign = simd.and(simd.shift(value, simd.splat(31)), signs);
        simd.shift(simd.add(simd.add(value, half), sign), shift)
    }
}

impl Rule for ByUpperTwice {
    const ROUNDING: VectorRounding = VectorRounding::TwiceUpward;

    #[inline(always)]
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        simd.shift(upper_product(simd, sum, closing), closing.parameters[4])
    }
}

impl Rule for ByDoubledTwice {
    const ROUNDING: VectorRounding = VectorRounding::TwiceDoubled;

    #[inline(always)]
    fn round<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        let upper = upper_product(simd, simd.add(sum, sum), closing);
        let sign = simd.shift(sum, simd.splat(31));
        simd.shift(simd.add(upper, sign), closing.parameters[4])
    }
}

/// The upper half of the product of 64 bits with what is added to it.
#[inline(always)]
fn upper_product<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
    let [factor, addend, odd_factor, odd_addend, ..] = closing.parameters;
    let even = simd.multiply(sum, factor, addend);
    let odd = simd.multiply(simd.odd(sum), odd_factor, odd_addend);
    simd.merge_upper(even, odd)
}

/// The product of 64 bits, rounded and shifted, in 32.
#[inline(always)]
fn shifted_product<S: Simd>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
    let [factor, addend, shift, odd_factor, odd_addend, odd_shift, excess, ..] = closing.parameters;
    let even = simd.shift_pairs(simd.multiply(sum, factor, addend), shift);
    let odd = simd.multiply(simd.odd(sum), odd_factor, odd_addend);
    let odd = simd.shift_pairs(odd, odd_shift);
    simd.sub(simd.merge(even, odd), excess)
}

impl Epilogue {
    /// Prepares for the vector of sums with this index.
    #[inline(always)]
    pub fn closing<S: Simd, R: Rule>(&self, simd: S, index: usize) -> Closing<S> {
        let words = self.vector(index);
        let mut parameters = [simd.splat(0); MAX_PARAMETERS];
        for parameter in 0..R::ROUNDING.parameters() {
            parameters[parameter] = simd.load(&words[parameter * S::LANES..]);
        }
        let float = |value: i32| simd.splat(((value - self.zero_point) as f32).to_bits() as i32);
        let magic = ROUND_MAGIC.to_bits() as i32;
        Closing {
            limits: (simd.splat(self.low), simd.splat(self.high)),
            float_limits: (float(self.low), float(self.high)),
            zero: simd.splat(self.zero_point.wrapping_sub(magic)),
            magic: simd.splat(magic),
            zero_point: simd.splat(self.zero_point),
            parameters,
        }
    }

    /// The output integers of a vector of sums.
    #[inline(always)]
    pub fn close<S: Simd, R: Rule>(simd: S, sum: S::I32, closing: &Closing<S>) -> S::I32 {
        let (low, high) = closing.limits;
        simd.min(simd.max(R::round(simd, sum, closing), low), high)
    }

    /// What clamps outputs of bytes once they are packed.
    #[inline(always)]
    pub fn byte_limits<S: Simd>(&self, simd: S) -> ByteLimits<S> {
        ByteLimits::new(simd, self.output_type, (self.low, self.high))
    }
}

/// Sums of a block of rows with a panel, and where their outputs go.
pub(crate) struct CloseBody<'a> {
    pub epilogue: &'a Epilogue,
    /// `[row][vector][lane]`.
    pub sums: &'a [i32],
    pub rows: usize,
    /// Outputs that exist in a row; their vectors begin with this one of the epilogue's.
    pub columns: usize,
    pub first: usize,
    /// Lanes of a row of sums.
    pub stride: usize,
    pub target: Target<'a>,
}

impl SimdBody for CloseBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.epilogue.rounding {
            VectorRounding::Shift => self.close::<S, ByShift>(simd),
            VectorRounding::Float => self.close::<S, ByFloat>(simd),
            VectorRounding::Nearest => self.close::<S, ByNearest>(simd),
            VectorRounding::High => self.close::<S, ByHighProduct>(simd),
            VectorRounding::Fixed => self.close::<S, ByProduct>(simd),
            VectorRounding::Twice => self.close::<S, ByProductTwice>(simd),
            VectorRounding::TwiceUpward => self.close::<S, ByUpperTwice>(simd),
            VectorRounding::TwiceDoubled => self.close::<S, ByDoubledTwice>(simd),
        }
    }
}

impl CloseBody<'_> {
    #[inline(always)]
    fn close<S: Simd, R: Rule>(mut self, simd: S) {
        if self.epilogue.output_type.size_bytes() == 2 {
            self.halves::<S, R>(simd);
            return;
        }
        let vectors = self.columns.div_ceil(S::LANES);
        for vector in (0..vectors).step_by(4) {
            match vectors - vector {
                1 => self.bytes::<S, R, 1>(simd, vector),
                2 => self.bytes::<S, R, 2>(simd, vector),
                3 => self.bytes::<S, R, 3>(simd, vector),
                _ => self.bytes::<S, R, 4>(simd, vector),
            }
        }
    }

    /// Vectors of outputs that are packed together.
    #[inline(always)]
    fn bytes<S: Simd, R: Rule, const VECTORS: usize>(&mut self, simd: S, vector: usize) {
        let Self { epilogue, sums, rows, columns, first, stride, .. } = *self;
        let mut closings = [epilogue.closing::<S, R>(simd, first + vector); VECTORS];
        for (index, closing) in closings.iter_mut().enumerate().skip(1) {
            *closing = epilogue.closing::<S, R>(simd, first + vector + index);
        }
        let limits = epilogue.byte_limits(simd);
        let column = vector * S::LANES;
        let width = (VECTORS * S::LANES).min(columns - column);
        let output = &mut self.target.bytes[self.target.start + column..];
        for row in 0..rows {
            let sums = &sums[row * stride + column..][..VECTORS * S::LANES];
            let mut closed = [simd.splat(0); 4];
            for index in 0..VECTORS {
                let sum = simd.load(&sums[index * S::LANES..]);
                closed[index] = R::round(simd, sum, &closings[index]);
            }
            let begin = row * self.target.stride;
            simd.pack_in_order(closed, limits, &mut output[begin..begin + width]);
        }
    }

    #[inline(always)]
    fn halves<S: Simd, R: Rule>(self, simd: S) {
        let Self { epilogue, sums, rows, columns, first, stride, target } = self;
        let output = &mut target.bytes[target.start * 2..];
        let step = target.stride * 2;
        for vector in 0..columns.div_ceil(S::LANES) {
            let closing = epilogue.closing::<S, R>(simd, first + vector);
            let column = vector * S::LANES;
            let lanes = S::LANES.min(columns - column);
            for row in 0..rows {
                let sum = simd.load(&sums[row * stride + column..]);
                let closed = Epilogue::close::<S, R>(simd, sum, &closing);
                let output = &mut output[row * step + column * 2..][..lanes * 2];
                store(simd, closed, 2, output);
            }
        }
    }
}

/// Writes the lanes that the output holds.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, closed: S::I32, size: usize, output: &mut [u8]) {
    if output.len() == S::LANES * size {
        if size == 1 {
            simd.store_bytes(closed, output);
        } else {
            simd.store_halves(closed, output);
        }
        return;
    }
    let mut whole = [0; 2 * MAX_LANES];
    if size == 1 {
        simd.store_bytes(closed, &mut whole);
    } else {
        simd.store_halves(closed, &mut whole);
    }
    output.copy_from_slice(&whole[..output.len()]);
}
