//! Requantization of 32-bit sums in vectors, for the roundings that networks mostly have; equal to
//! [`Requantizer::apply`] bit for bit. Others are [`super::requantize::RowRequantizer`]'s.

use super::aligned::AlignedWords;
use super::requantize::Target;
use crate::element::ElementType;
use crate::fixed::{MAX_SHIFT, Requantizer, Rounding, entry, product_fits};
use crate::isa::simd::{ByteLimits, MAX_LANES, Simd, SimdBody};

/// Vectors of parameters that a vector of sums has at most.
const MAX_PARAMETERS: usize = 10;

/// Rounds a float of magnitude up to 2^22 to an integer, as in [`crate::fixed::round_even`].
const ROUND_MAGIC: f32 = 12_582_912.0;

/// Makes a product positive, so that a logical shift serves as the arithmetic one.
pub(crate) const OFFSET: u64 = 1 << MAX_SHIFT;

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

/// The roundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VectorRounding {
    /// Half of the shifted-out unit and the zero point, shift.
    Shift,
    /// Scale.
    Float,
    /// Multiplier, that of the odd lanes in the even lanes before them, and of the upper half of the
    /// product what Shift has.
    High,
    /// For even and for odd lanes: multiplier, addend, shift. Then what the addend's offset leaves
    /// in the result, less the zero point.
    Fixed,
    /// As Fixed, with a shift of 31. Then half of the second shift's unit, the second shift, and the
    /// bits that a negative value's sign may take away.
    Twice,
}

impl VectorRounding {
    const fn parameters(self) -> usize {
        match self {
            Self::Shift => 2,
            Self::Float => 1,
            Self::High => 4,
            Self::Fixed => 7,
            Self::Twice => 10,
        }
    }
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
        let rounding = rounding_of(requantizer, bound)?;
        output_type.range()?;
        let Requantizer { zero_point, clamp_min, clamp_max, .. } = *requantizer;
        let count = rounding.parameters();
        let mut parameters = AlignedWords::zeroed(channels.len() * count);
        let vectors = parameters.words_mut().chunks_exact_mut(count * lanes);
        for (vector, channels) in vectors.zip(channels.chunks_exact(lanes)) {
            for (lane, &channel) in channels.iter().enumerate() {
                let lane = Lane { vector, lane, lanes };
                match rounding {
                    VectorRounding::High => lane.set_high(requantizer, channel),
                    _ => lane.set(requantizer, channel),
                }
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

/// The vector form of a rounding.
fn rounding_of(requantizer: &Requantizer, bound: u64) -> Option<VectorRounding> {
    let zero = u64::from(requantizer.zero_point.unsigned_abs());
    let fits = |value: u64, shift: u32| {
        shift <= 31 && value + half(shift) + (zero << shift) <= i32::MAX as u64
    };
    match &requantizer.rounding {
        Rounding::Shift(shift) => {
            shift.iter().all(|&shift| fits(bound, shift)).then_some(VectorRounding::Shift)
        }
        Rounding::Float(_) => Some(VectorRounding::Float),
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
                return Some(VectorRounding::High);
            }
            let fits = multiplier.iter().all(|&multiplier| product_fits(bound, multiplier))
                && shift.iter().all(|&shift| shift >= 31);
            fits.then_some(VectorRounding::Fixed)
        }
        Rounding::Twice { left_shift, shift, .. } => {
            // The first product is no larger than the sum.
            let is_plain = left_shift.iter().all(|&left| left == 0)
                && shift.iter().all(|&shift| fits(bound, shift));
            is_plain.then_some(VectorRounding::Twice)
        }
        _ => None,
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

/// Parameters of one lane.
struct Lane<'a> {
    vector: &'a mut [i32],
    lane: usize,
    lanes: usize,
}

impl Lane<'_> {
    fn set(self, requantizer: &Requantizer, channel: usize) {
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
                self.set_product(entry(multiplier, channel), entry(shift, channel), zero);
            }
            Rounding::Twice { multiplier, shift, .. } => {
                let shift = entry(shift, channel);
                vector[7 * lanes + lane] = half(shift) as i32 + (zero << shift);
                vector[8 * lanes + lane] = shift as i32;
                vector[9 * lanes + lane] = if shift == 0 { 0 } else { -1 };
                self.set_product(entry(multiplier, channel), 31, 0);
            }
            _ => {}
        }
    }

    /// The upper half of a product and its shift.
    fn set_high(self, requantizer: &Requantizer, channel: usize) {
        let Rounding::Fixed { multiplier, shift } = &requantizer.rounding else { return };
        let product = high_product(entry(multiplier, channel), entry(shift, channel));
        let Some((factor, shift)) = product else { return };
        let Self { vector, lane, lanes } = self;
        vector[lane] = factor;
        if lane % 2 == 1 {
            vector[lanes + lane - 1] = factor;
        }
        vector[2 * lanes + lane] = half(shift) as i32 + (requantizer.zero_point << shift);
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
pub(crate) struct ByHighProduct;
pub(crate) struct ByProduct;
pub(crate) struct ByProductTwice;

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
            VectorRounding::High => self.close::<S, ByHighProduct>(simd),
            VectorRounding::Fixed => self.close::<S, ByProduct>(simd),
            VectorRounding::Twice => self.close::<S, ByProductTwice>(simd),
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
