//! Fixed-point sum of two 8-bit tensors of one shape, as residual connections have it.
//!
//! A multiplier is split into `high * 2^15 + low`, so that the two elements of a place, side by side in
//! 16 bits, are multiplied and added at once. Carrying the lower sum's multiples of 2^15 into the upper
//! one loses nothing: the shift takes what is below.

use super::pair_blocks::{Operands, PairBlock, for_each_block};
use super::vector_rounding::half;
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding, entry};
use crate::isa::Cpu;
use crate::isa::simd::{ByteLimits, Simd, SimdBody};

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 15;

/// Bits of the lower part of a multiplier.
const LOW_BITS: u32 = 15;

/// Greatest magnitude of what the products of both elements, and the carry, add to the upper sum.
const UPPER_BOUND: i64 = 2 * 255 * (1 << 15) + 512;

/// `(high . ab + upper + ((low . ab + lower) >> 15)) >> shift`, clamped, where `ab` are both elements
/// as they are stored without sign.
pub(crate) struct PairSumKernel {
    signed: [bool; 2],
    /// Parts of both multipliers, as pairs of 16 bits.
    high: i32,
    low: i32,
    /// Zero points and half of the shifted-out unit, in the same parts.
    upper: i32,
    lower: i32,
    shift: u32,
    output_type: ElementType,
    /// Clamps.
    range: (i32, i32),
}

impl PairSumKernel {
    /// For operands of (type, zero point); `None` for other types and roundings, and where a part does
    /// not fit its width.
    pub fn new(
        operands: [(ElementType, i32); 2],
        output: ElementType,
        requantizer: &Requantizer,
    ) -> Option<Self> {
        let Rounding::Fixed { multiplier, shift } = &requantizer.rounding else { return None };
        let is_byte = |of: ElementType| matches!(of, ElementType::U8 | ElementType::S8);
        if !is_byte(output) || !operands.iter().all(|operand| is_byte(operand.0)) {
            return None;
        }
        let multiplier = [entry(multiplier, 0), entry(multiplier, 1)];
        let shift = entry(shift, 0);
        if !(LOW_BITS..=LOW_BITS + 31).contains(&shift) {
            return None;
        }
        let mut constant = half(shift) as i64 + (i64::from(requantizer.zero_point) << shift);
        for ((element_type, zero_point), factor) in operands.into_iter().zip(multiplier) {
            let stored = if element_type == ElementType::S8 { 128 } else { 0 };
            constant -= i64::from(factor) * i64::from(zero_point + stored);
        }
        let upper = constant >> LOW_BITS;
        if upper.abs() + UPPER_BOUND > i64::from(i32::MAX) {
            return None;
        }
        let high = |factor: i32| i16::try_from(factor >> LOW_BITS).ok();
        let low = |factor: i32| (factor & ((1 << LOW_BITS) - 1)) as i16;
        Some(Self {
            signed: operands.map(|operand| operand.0 == ElementType::S8),
            high: pair([high(multiplier[0])?, high(multiplier[1])?]),
            low: pair(multiplier.map(low)),
            upper: upper as i32,
            lower: (constant & ((1 << LOW_BITS) - 1)) as i32,
            shift: shift - LOW_BITS,
            output_type: output,
            range: (requantizer.clamp_min, requantizer.clamp_max),
        })
    }

    /// Sums of as many elements as the output has.
    pub fn sum(&self, cpu: Cpu, operands: Operands<'_>, output: &mut [u8]) {
        cpu.run_simd(SumBody { kernel: self, operands, output });
    }
}

/// Two numbers of 16 bits in a word.
const fn pair([first, second]: [i16; 2]) -> i32 {
    first as u16 as i32 | (second as i32) << 16
}

impl Kernel for PairSumKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let chunk = work.chunk(output.len(), 64, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk, |index, output| {
            let operands = Operands::of(inputs, index * chunk, output.len());
            self.sum(work.cpu, operands, output);
        });
    }
}

struct SumBody<'a> {
    kernel: &'a PairSumKernel,
    operands: Operands<'a>,
    output: &'a mut [u8],
}

/// The numbers of a kernel in every lane.
struct Numbers<S: Simd> {
    /// What makes stored elements unsigned.
    flips: [S::I32; 2],
    high: S::I32,
    low: S::I32,
    /// Whether the lower parts of the multipliers count: powers of two have none, and a lower sum
    /// without products carries nothing.
    has_low: bool,
    upper: S::I32,
    lower: S::I32,
    low_bits: S::I32,
    shift: S::I32,
    limits: ByteLimits<S>,
}

impl SimdBody for SumBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { kernel, operands, output } = self;
        let flip = |signed| simd.splat(if signed { 0x8080_8080_u32 as i32 } else { 0 });
        let numbers = Numbers::<S> {
            flips: [flip(kernel.signed[0]), flip(kernel.signed[1])],
            high: simd.splat(kernel.high),
            low: simd.splat(kernel.low),
            has_low: kernel.low != 0,
            upper: simd.splat(kernel.upper),
            lower: simd.splat(kernel.lower),
            low_bits: simd.splat(LOW_BITS as i32),
            shift: simd.splat(kernel.shift as i32),
            limits: ByteLimits::new(simd, kernel.output_type, kernel.range),
        };
        for_each_block(simd, &numbers, operands, output);
    }
}

impl<S: Simd> PairBlock<S> for Numbers<S> {
    const BYTES: usize = 4 * S::LANES;

    #[inline(always)]
    fn load(&self, simd: S, operand: usize, bytes: &[u8]) -> S::I32 {
        simd.xor(simd.load_bytes(bytes), self.flips[operand])
    }

    #[inline(always)]
    fn write(&self, simd: S, [first, second]: [S::I32; 2], output: &mut [u8]) {
        let zero = simd.splat(0);
        let mut sums = simd.interleave([first, zero, second, zero]);
        for sum in &mut sums {
            let mut upper = simd.dot2(self.upper, *sum, self.high);
            if self.has_low {
                let lower = simd.dot2(self.lower, *sum, self.low);
                upper = simd.add(upper, simd.shift(lower, self.low_bits));
            }
            *sum = simd.shift(upper, self.shift);
        }
        simd.pack(sums, self.limits, output);
    }
}
