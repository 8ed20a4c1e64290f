//! Sum and product of broadcast operands.

use bytemuck::cast_slice_mut;

use super::block::{BLOCK, load};
use super::broadcast::Broadcast;
use super::requantize::{Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::{Requantizer, Rounding, entry, multiply_twice_rounded};
use crate::isa::{Body, Cpu};
use crate::network::Sum;

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 14;

/// How an operand enters a sum that rounds twice.
#[derive(Clone, Copy)]
struct ScaledOperand {
    left_shift: u32,
    multiplier: i32,
    shift: u32,
    /// 1, or -1 for a subtracted operand.
    sign: i32,
}

/// How operands become the output.
enum Arithmetic {
    /// Exact sum of multiplied operands, then a shift.
    FixedSum { multiplier: Vec<i32>, shift: RowRequantizer },
    /// Operands scaled and rounded one by one, added or subtracted, then the same for the sum.
    TwiceRoundedSum { operands: Vec<ScaledOperand>, total: RowRequantizer },
    /// `fma(first, scale, fma(second, scale, offset))` of two operands as they are, rounded.
    RealSum { scale: [f32; 2], offset: f32 },
    /// Float sum of scaled operands over the output's scale.
    FloatSum { scale: Vec<f32> },
    /// Exact product, then a requantization. `is_narrow`: 32 bits hold it.
    FixedProduct { requantizer: RowRequantizer, is_narrow: bool },
    /// Float product of two scaled operands over the output's scale.
    FloatProduct { scale: [f32; 2] },
}

/// Sum or product.
pub(crate) struct ElementwiseKernel {
    broadcast: Broadcast,
    output_type: ElementType,
    output_scale: f32,
    requantizer: Requantizer,
    arithmetic: Arithmetic,
}

impl ElementwiseKernel {
    /// A sum.
    pub fn sum(
        mut broadcast: Broadcast,
        output_type: ElementType,
        output_scale: f32,
        sum: &Sum,
    ) -> Self {
        let requantizer = &sum.requantizer;
        let operands = broadcast.operands.len();
        let arithmetic = match &requantizer.rounding {
            Rounding::Fixed { multiplier, shift } => {
                let rounding = Rounding::Shift(shift.clone());
                let shifted = Requantizer { rounding, ..requantizer.clone() };
                Arithmetic::FixedSum {
                    multiplier: (0..operands).map(|operand| entry(multiplier, operand)).collect(),
                    shift: RowRequantizer::new(&shifted, u64::MAX),
                }
            }
            Rounding::Float(scale) => Arithmetic::FloatSum {
                scale: (0..operands).map(|operand| entry(scale, operand)).collect(),
            },
            Rounding::Twice { left_shift, multiplier, shift } => Arithmetic::TwiceRoundedSum {
                operands: (0..operands)
                    .map(|operand| ScaledOperand {
                        left_shift: entry(left_shift, operand),
                        multiplier: entry(multiplier, operand),
                        shift: entry(shift, operand),
                        sign: if sum.subtracted[operand] { -1 } else { 1 },
                    })
                    .collect(),
                total: RowRequantizer::new(requantizer, 1 << 31),
            },
            Rounding::Real(scale) => {
                for operand in &mut broadcast.operands {
                    operand.zero_point = 0;
                }
                Arithmetic::RealSum {
                    scale: [entry(scale, 0), entry(scale, 1)],
                    offset: entry(scale, 2),
                }
            }
            // Validation allows no other mode; without one, operands are added as they are.
            _ => Arithmetic::FixedSum {
                multiplier: vec![1; operands],
                shift: RowRequantizer::new(requantizer, u64::MAX),
            },
        };
        Self { broadcast, output_type, output_scale, requantizer: requantizer.clone(), arithmetic }
    }

    /// A product of two operands.
    pub fn product(
        broadcast: Broadcast,
        output_type: ElementType,
        output_scale: f32,
        requantizer: &Requantizer,
    ) -> Self {
        let is_narrow =
            broadcast.operands.iter().all(|operand| operand.element_type.size_bytes() == 1);
        let bound = if is_narrow { 1 << 16 } else { 1 << 32 };
        let arithmetic = match &requantizer.rounding {
            Rounding::Float(scale) => {
                Arithmetic::FloatProduct { scale: [entry(scale, 0), entry(scale, 1)] }
            }
            _ => Arithmetic::FixedProduct {
                requantizer: RowRequantizer::new(requantizer, bound),
                is_narrow,
            },
        };
        Self { broadcast, output_type, output_scale, requantizer: requantizer.clone(), arithmetic }
    }
}

impl Kernel for ElementwiseKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let chunk = work.chunk(output.len() / size, 64, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            let first = index * chunk;
            let end = first + output.len() / size;
            let mut position = first;
            while position < end {
                let length = self.broadcast.stretch(position, end);
                let target = Target {
                    element_type: self.output_type,
                    bytes: &mut *output,
                    start: position - first,
                    stride: 0,
                };
                self.block(work.cpu, inputs, (position, length), target);
                position += length;
            }
        });
    }
}

impl ElementwiseKernel {
    /// Types of the operand beside the one at a position, and of the output.
    pub fn types_beside(&self, position: usize) -> (ElementType, ElementType) {
        let other = &self.broadcast.operands[usize::from(position == 0)];
        (other.element_type, self.output_type)
    }

    /// Computes `length` elements from an output position, within one row.
    pub fn block(
        &self,
        cpu: Cpu,
        inputs: &[&[u8]],
        (position, length): (usize, usize),
        target: Target<'_>,
    ) {
        let layout = Layout::row(length);
        let (mut left, mut right) = ([0_i32; BLOCK], [0_i32; BLOCK]);
        let (left, right) = (&mut left[..length], &mut right[..length]);
        match &self.arithmetic {
            Arithmetic::FixedSum { multiplier, shift } => {
                let mut acc = [0_i64; BLOCK];
                let acc = &mut acc[..length];
                for (operand, bytes) in inputs.iter().enumerate() {
                    load(cpu, self.broadcast.source(operand, bytes, position), left);
                    let multiplier = multiplier[operand];
                    cpu.run(MultiplyAddBody { block: left, multiplier, acc: &mut *acc });
                }
                shift.finish(cpu, acc, layout, Entries::One(0), target);
            }
            Arithmetic::TwiceRoundedSum { operands, total } => {
                right.fill(0);
                for ((operand, bytes), scaled) in inputs.iter().enumerate().zip(operands) {
                    load(cpu, self.broadcast.source(operand, bytes, position), left);
                    cpu.run(TwiceRoundedAddBody { block: left, scaled: *scaled, acc: &mut *right });
                }
                let entries = Entries::One(operands.len());
                total.finish(cpu, right, layout, entries, target);
            }
            Arithmetic::FloatSum { scale } => {
                let mut acc = [0.0_f32; BLOCK];
                let acc = &mut acc[..length];
                for (operand, bytes) in inputs.iter().enumerate() {
                    load(cpu, self.broadcast.source(operand, bytes, position), left);
                    cpu.run(ScaleAddBody { block: left, scale: scale[operand], acc: &mut *acc });
                }
                cpu.run(RoundBody { kernel: self, acc, target });
            }
            Arithmetic::RealSum { scale, offset } => {
                load(cpu, self.broadcast.source(0, inputs[0], position), left);
                load(cpu, self.broadcast.source(1, inputs[1], position), right);
                let requantizer = &self.requantizer;
                let numbers = (*scale, *offset);
                cpu.run(RealSumBody { left, right, numbers, requantizer, target });
            }
            Arithmetic::FixedProduct { requantizer, is_narrow } => {
                load(cpu, self.broadcast.source(0, inputs[0], position), left);
                load(cpu, self.broadcast.source(1, inputs[1], position), right);
                if *is_narrow {
                    cpu.run(NarrowProductBody { left: &mut *left, right });
                    requantizer.finish(cpu, left, layout, Entries::One(0), target);
                } else {
                    let mut acc = [0_i64; BLOCK];
                    let acc = &mut acc[..length];
                    cpu.run(WideProductBody { left, right, acc: &mut *acc });
                    requantizer.finish(cpu, acc, layout, Entries::One(0), target);
                }
            }
            Arithmetic::FloatProduct { scale } => {
                let mut acc = [0.0_f32; BLOCK];
                let acc = &mut acc[..length];
                load(cpu, self.broadcast.source(0, inputs[0], position), left);
                load(cpu, self.broadcast.source(1, inputs[1], position), right);
                cpu.run(FloatProductBody { left, right, scale: *scale, acc: &mut *acc });
                cpu.run(RoundBody { kernel: self, acc, target });
            }
        }
    }
}

/// `acc += block * multiplier`
struct MultiplyAddBody<'a> {
    block: &'a [i32],
    multiplier: i32,
    acc: &'a mut [i64],
}

impl Body for MultiplyAddBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (acc, &element) in self.acc.iter_mut().zip(self.block) {
            *acc += i64::from(element) * i64::from(self.multiplier);
        }
    }
}

/// `acc += sign * round(block * scale)`, in 32 bits that wrap.
struct TwiceRoundedAddBody<'a> {
    block: &'a [i32],
    scaled: ScaledOperand,
    acc: &'a mut [i32],
}

impl Body for TwiceRoundedAddBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let ScaledOperand { left_shift, multiplier, shift, sign } = self.scaled;
        for (acc, &element) in self.acc.iter_mut().zip(self.block) {
            let value = multiply_twice_rounded(element, left_shift, multiplier, shift);
            *acc = acc.wrapping_add(value.wrapping_mul(sign));
        }
    }
}

/// `acc += scale * float32(block)`
struct ScaleAddBody<'a> {
    block: &'a [i32],
    scale: f32,
    acc: &'a mut [f32],
}

impl Body for ScaleAddBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (acc, &element) in self.acc.iter_mut().zip(self.block) {
            *acc += self.scale * element as f32;
        }
    }
}

/// Sums, rounds, stores.
struct RealSumBody<'a> {
    left: &'a [i32],
    right: &'a [i32],
    /// Two scales and an offset.
    numbers: ([f32; 2], f32),
    requantizer: &'a Requantizer,
    target: Target<'a>,
}

impl Body for RealSumBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { left, right, numbers: ([first, second], offset), requantizer, target } = self;
        with_element!(target.element_type, T => {
            let output = &mut cast_slice_mut::<u8, T>(target.bytes)[target.start..];
            for ((element, &left), &right) in output.iter_mut().zip(left).zip(right) {
                let value = (right as f32).mul_add(second, offset);
                let value = (left as f32).mul_add(first, value);
                *element = T::narrow(requantizer.apply_placed(value));
            }
        }, float => {});
    }
}

/// `left *= right`, proven to fit.
struct NarrowProductBody<'a> {
    left: &'a mut [i32],
    right: &'a [i32],
}

impl Body for NarrowProductBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (left, &right) in self.left.iter_mut().zip(self.right) {
            *left = left.wrapping_mul(right);
        }
    }
}

/// `acc = left * right`
struct WideProductBody<'a> {
    left: &'a [i32],
    right: &'a [i32],
    acc: &'a mut [i64],
}

impl Body for WideProductBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((acc, &left), &right) in self.acc.iter_mut().zip(self.left).zip(self.right) {
            *acc = i64::from(left) * i64::from(right);
        }
    }
}

/// `acc = (scale[0] * float32(left)) * (scale[1] * float32(right))`
struct FloatProductBody<'a> {
    left: &'a [i32],
    right: &'a [i32],
    scale: [f32; 2],
    acc: &'a mut [f32],
}

impl Body for FloatProductBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [first, second] = self.scale;
        for ((acc, &left), &right) in self.acc.iter_mut().zip(self.left).zip(self.right) {
            *acc = (first * left as f32) * (second * right as f32);
        }
    }
}

/// Divides by the output's scale, rounds, stores.
struct RoundBody<'a> {
    kernel: &'a ElementwiseKernel,
    acc: &'a [f32],
    target: Target<'a>,
}

impl Body for RoundBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, acc, target } = self;
        with_element!(target.element_type, T => {
            let output = &mut cast_slice_mut::<u8, T>(target.bytes)[target.start..];
            for (element, &acc) in output.iter_mut().zip(acc) {
                *element = T::narrow(kernel.requantizer.apply_float(acc / kernel.output_scale));
            }
        }, float => {});
    }
}
