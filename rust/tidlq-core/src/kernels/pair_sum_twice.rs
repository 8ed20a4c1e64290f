//! Sum that rounds twice, of two 8-bit tensors of one shape: operands are scaled and rounded one by
//! one, then their sum is.

use std::marker::PhantomData;

use super::epilogue::{ByDoubledTwice, ByProductTwice, ByUpperTwice, Closing, Epilogue, Rule};
use super::pair_blocks::{Operands, PairBlock, for_each_block};
use super::vector_rounding::VectorRounding;
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding, entry};
use crate::isa::simd::{ByteLimits, Simd, SimdBody};
use crate::isa::{Cpu, Isa};

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 14;

/// Greatest magnitude of an 8-bit element less its zero point.
const MAGNITUDE: u64 = 255;

/// `total(first(a - zero) +- second(b - zero))`
pub(crate) struct PairSumTwiceKernel {
    signed: [bool; 2],
    /// Zero points of elements as they are stored without sign.
    zero_points: [i32; 2],
    operands: [Epilogue; 2],
    subtracted: [bool; 2],
    total: Epilogue,
}

impl PairSumTwiceKernel {
    /// For operands of (type, zero point), either of which may be subtracted; `None` for other types
    /// and roundings, and where a number has no vector form.
    pub fn new(
        isa: Isa,
        operands: [(ElementType, i32); 2],
        subtracted: [bool; 2],
        output: ElementType,
        requantizer: &Requantizer,
    ) -> Option<Self> {
        let Rounding::Twice { left_shift, multiplier, shift } = &requantizer.rounding else {
            return None;
        };
        let is_byte = |of: ElementType| matches!(of, ElementType::U8 | ElementType::S8);
        if !is_byte(output) || !operands.iter().all(|operand| is_byte(operand.0)) {
            return None;
        }
        let lanes = isa.lanes();
        let rule = |index: usize| Rounding::Twice {
            left_shift: vec![entry(left_shift, index)],
            multiplier: vec![entry(multiplier, index)],
            shift: vec![entry(shift, index)],
        };
        let operand = |index: usize| {
            let rounding = rule(index);
            let (clamp_min, clamp_max) = (i32::MIN, i32::MAX);
            let alone = Requantizer { rounding, zero_point: 0, clamp_min, clamp_max };
            let found = Epilogue::new(&alone, ElementType::S8, MAGNITUDE, &vec![0; lanes], lanes)?;
            (found.rounding == VectorRounding::Twice).then_some(found)
        };
        let bound = |index: usize| MAGNITUDE << entry(left_shift, index);
        let total = Requantizer { rounding: rule(2), ..requantizer.clone() };
        let stored = |of: ElementType| if of == ElementType::S8 { 128 } else { 0 };
        Some(Self {
            signed: operands.map(|operand| operand.0 == ElementType::S8),
            zero_points: operands.map(|operand| operand.1 + stored(operand.0)),
            operands: [operand(0)?, operand(1)?],
            subtracted,
            total: Epilogue::new(&total, output, bound(0) + bound(1), &vec![0; lanes], lanes)?,
        })
    }

    /// Sums of as many elements as the output has.
    pub fn sum(&self, cpu: Cpu, operands: Operands<'_>, output: &mut [u8]) {
        cpu.run_simd(SumBody { kernel: self, operands, output });
    }
}

impl Kernel for PairSumTwiceKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let chunk = work.chunk(output.len(), 64, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk, |index, output| {
            let operands = Operands::of(inputs, index * chunk, output.len());
            self.sum(work.cpu, operands, output);
        });
    }
}

struct SumBody<'a> {
    kernel: &'a PairSumTwiceKernel,
    operands: Operands<'a>,
    output: &'a mut [u8],
}

impl SimdBody for SumBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.kernel.total.rounding {
            VectorRounding::Twice => self.sum::<S, ByProductTwice>(simd),
            VectorRounding::TwiceUpward => self.sum::<S, ByUpperTwice>(simd),
            VectorRounding::TwiceDoubled => self.sum::<S, ByDoubledTwice>(simd),
            // No other form rounds twice.
            _ => {}
        }
    }
}

impl SumBody<'_> {
    #[inline(always)]
    fn sum<S: Simd, R: Rule>(self, simd: S) {
        let Self { kernel, operands, output } = self;
        let flip = |signed| simd.splat(if signed { 0x8080_8080_u32 as i32 } else { 0 });
        let numbers = Numbers::<S, R> {
            flips: [flip(kernel.signed[0]), flip(kernel.signed[1])],
            zero_points: kernel.zero_points.map(|zero_point| simd.splat(zero_point)),
            operands: [
                kernel.operands[0].closing::<S, ByProductTwice>(simd, 0),
                kernel.operands[1].closing::<S, ByProductTwice>(simd, 0),
            ],
            signs: kernel.subtracted.map(|is_subtracted| simd.splat(-i32::from(is_subtracted))),
            total: kernel.total.closing::<S, R>(simd, 0),
            limits: kernel.total.byte_limits(simd),
            rule: PhantomData,
        };
        for_each_block(simd, &numbers, operands, output);
    }
}

/// The numbers of a kernel in every lane.
struct Numbers<S: Simd, R> {
    /// What makes stored elements unsigned.
    flips: [S::I32; 2],
    zero_points: [S::I32; 2],
    operands: [Closing<S>; 2],
    /// All bits, where the operand is subtracted.
    signs: [S::I32; 2],
    total: Closing<S>,
    limits: ByteLimits<S>,
    rule: PhantomData<R>,
}

impl<S: Simd, R: Rule> PairBlock<S> for Numbers<S, R> {
    const BYTES: usize = 4 * S::LANES;

    #[inline(always)]
    fn load(&self, simd: S, operand: usize, bytes: &[u8]) -> S::I32 {
        simd.xor(simd.load_bytes(bytes), self.flips[operand])
    }

    #[inline(always)]
    fn write(&self, simd: S, [first, second]: [S::I32; 2], output: &mut [u8]) {
        let zero = simd.splat(0);
        let mut sums = simd.interleave([first, zero, zero, zero]);
        let others = simd.interleave([second, zero, zero, zero]);
        for (sum, other) in sums.iter_mut().zip(others) {
            let both = simd.add(self.scaled(simd, 0, *sum), self.scaled(simd, 1, other));
            *sum = R::round(simd, both, &self.total);
        }
        simd.pack(sums, self.limits, output);
    }
}

impl<S: Simd, R: Rule> Numbers<S, R> {
    /// What elements of an operand, as they are stored, add to the sum.
    #[inline(always)]
    fn scaled(&self, simd: S, operand: usize, stored: S::I32) -> S::I32 {
        let element = simd.sub(stored, self.zero_points[operand]);
        let value = ByProductTwice::round(simd, element, &self.operands[operand]);
        // The negative of a number is its complement less the sign.
        simd.sub(simd.xor(value, self.signs[operand]), self.signs[operand])
    }
}
