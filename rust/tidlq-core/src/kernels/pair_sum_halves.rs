//! Fixed-point sum of two 16-bit tensors of one shape; as [`super::pair_sum`] otherwise.

use super::pair_blocks::{Operands, PairBlock, for_each_block};
use super::vector_rounding::{OFFSET, half};
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding, entry};
use crate::isa::Cpu;
use crate::isa::simd::{Simd, SimdBody};

/// Bytes of one task.
const TASK_BYTES: usize = 1 << 16;

/// Greatest magnitude of a 16-bit element less its zero point.
const MAGNITUDE: u64 = u16::MAX as u64;

/// `((a * multiplier[0] + b * multiplier[1] + addend) >> shift) - excess`, clamped.
pub(crate) struct PairSumHalvesKernel {
    signed: [bool; 2],
    multiplier: [i32; 2],
    /// Zero points, half of the shifted-out unit, and what makes the sum positive.
    addend: u64,
    shift: u32,
    /// What makes the sum positive, after the shift; wraps.
    excess: i32,
    low: i32,
    high: i32,
    zero_point: i32,
}

impl PairSumHalvesKernel {
    /// For operands of (type, zero point); `None` for other types and roundings, and where a rounded
    /// sum does not fit 32 bits.
    pub fn new(
        operands: [(ElementType, i32); 2],
        output: ElementType,
        requantizer: &Requantizer,
    ) -> Option<Self> {
        let Rounding::Fixed { multiplier, shift } = &requantizer.rounding else { return None };
        let is_half = |of: ElementType| matches!(of, ElementType::U16 | ElementType::S16);
        if !is_half(output) || !operands.iter().all(|operand| is_half(operand.0)) {
            return None;
        }
        let multiplier = [entry(multiplier, 0), entry(multiplier, 1)];
        let shift = entry(shift, 0);
        let product = |factor: &i32| u64::from(factor.unsigned_abs()) * MAGNITUDE;
        let bound: u64 = multiplier.iter().map(product).sum();
        if (bound + half(shift)) >> shift > i32::MAX as u64 {
            return None;
        }
        let zero = |operand: usize| i64::from(multiplier[operand]) * i64::from(operands[operand].1);
        let zeros = (zero(0) + zero(1)) as u64;
        Some(Self {
            signed: operands.map(|operand| operand.0 == ElementType::S16),
            multiplier,
            addend: (OFFSET + half(shift)).wrapping_sub(zeros),
            shift,
            excess: (OFFSET >> shift) as i32,
            low: requantizer.clamp_min - requantizer.zero_point,
            high: requantizer.clamp_max - requantizer.zero_point,
            zero_point: requantizer.zero_point,
        })
    }

    /// Sums of as many elements as the output has.
    pub fn sum(&self, cpu: Cpu, operands: Operands<'_>, output: &mut [u8]) {
        cpu.run_simd(SumBody { kernel: self, operands, output });
    }
}

impl Kernel for PairSumHalvesKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let chunk = work.chunk(output.len(), 64, TASK_BYTES);
        work.for_each_chunk(output, chunk, |index, output| {
            let operands = Operands::of(inputs, index * chunk, output.len());
            self.sum(work.cpu, operands, output);
        });
    }
}

struct SumBody<'a> {
    kernel: &'a PairSumHalvesKernel,
    operands: Operands<'a>,
    output: &'a mut [u8],
}

/// The numbers of a kernel in every lane.
struct Numbers<S: Simd> {
    signed: [bool; 2],
    multiplier: [S::I32; 2],
    addend: S::I32,
    shift: S::I32,
    excess: S::I32,
    low: S::I32,
    high: S::I32,
    zero: S::I32,
}

impl SimdBody for SumBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { kernel, operands, output } = self;
        let numbers = Numbers::<S> {
            signed: kernel.signed,
            multiplier: [simd.splat(kernel.multiplier[0]), simd.splat(kernel.multiplier[1])],
            addend: simd.splat_pairs(kernel.addend),
            shift: simd.splat_pairs(kernel.shift.into()),
            excess: simd.splat(kernel.excess),
            low: simd.splat(kernel.low),
            high: simd.splat(kernel.high),
            zero: simd.splat(kernel.zero_point),
        };
        for_each_block(simd, &numbers, operands, output);
    }
}

impl<S: Simd> PairBlock<S> for Numbers<S> {
    const BYTES: usize = 2 * S::LANES;

    #[inline(always)]
    fn load(&self, simd: S, operand: usize, bytes: &[u8]) -> S::I32 {
        simd.widen_halves(bytes, self.signed[operand])
    }

    #[inline(always)]
    fn write(&self, simd: S, [left, right]: [S::I32; 2], output: &mut [u8]) {
        let even = self.pairs(simd, left, right);
        let odd = self.pairs(simd, simd.odd(left), simd.odd(right));
        let value = simd.sub(simd.merge(even, odd), self.excess);
        let sum = simd.add(simd.min(simd.max(value, self.low), self.high), self.zero);
        simd.store_halves(sum, output);
    }
}

impl<S: Simd> Numbers<S> {
    #[inline(always)]
    fn pairs(&self, simd: S, left: S::I32, right: S::I32) -> S::I32 {
        let sum = simd.multiply(right, self.multiplier[1], self.addend);
        let sum = simd.multiply(left, self.multiplier[0], sum);
        simd.shift_pairs(sum, self.shift)
    }
}
