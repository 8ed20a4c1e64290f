//! Sum and product of broadcast operands.

use super::block::{BLOCK, load, store};
use super::requantize::{Entries, RowRequantizer};
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding, entry};
use crate::isa::Body;

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 14;

/// An operand: its type, zero point and place in the broadcast.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operand {
    pub element_type: ElementType,
    pub zero_point: i32,
    /// Strides over the outer axes of [`Broadcast`].
    outer: Vec<usize>,
    /// 1, or 0 when one element serves a whole row.
    inner: usize,
}

/// The output's axes, neighbours joined as far as every operand allows.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Broadcast {
    /// Sizes of all axes but the last.
    outer: Vec<usize>,
    /// Size of the last axis.
    row: usize,
    pub operands: Vec<Operand>,
}

impl Broadcast {
    /// Joins axes. Each input is (type, zero point, shape) and broadcasts to `output`.
    pub fn new(inputs: &[(ElementType, i32, &[usize])], output: &[usize]) -> Self {
        let mut sizes: Vec<usize> = Vec::new();
        let mut strides: Vec<Vec<usize>> = vec![Vec::new(); inputs.len()];
        let full: Vec<Vec<usize>> =
            inputs.iter().map(|(_, _, shape)| broadcast_strides(shape, output)).collect();
        // From the innermost axis outwards; lists are reversed until the end.
        for axis in (0..output.len()).rev().filter(|&axis| output[axis] > 1) {
            let is_joined = sizes.last().is_some_and(|&size| {
                strides.iter().zip(&full).all(|(joined, full)| {
                    joined.last().is_some_and(|&stride| full[axis] == stride * size)
                })
            });
            if is_joined {
                if let Some(size) = sizes.last_mut() {
                    *size *= output[axis];
                }
                continue;
            }
            sizes.push(output[axis]);
            for (joined, full) in strides.iter_mut().zip(&full) {
                joined.push(full[axis]);
            }
        }
        sizes.reverse();
        let row = sizes.pop().unwrap_or(1);
        let operands = inputs.iter().zip(strides).map(|(&(element_type, zero_point, _), list)| {
            let mut outer: Vec<usize> = list.into_iter().rev().collect();
            let inner = outer.pop().unwrap_or(1);
            Operand { element_type, zero_point, outer, inner }
        });
        Self { row, operands: operands.collect(), outer: sizes }
    }

    /// Index of an operand's element at an output position, and its stride within the row.
    #[inline(always)]
    fn locate(&self, operand: &Operand, position: usize) -> (usize, usize) {
        let mut rest = position / self.row;
        let mut index = position % self.row * operand.inner;
        for axis in (0..self.outer.len()).rev() {
            index += rest % self.outer[axis] * operand.outer[axis];
            rest /= self.outer[axis];
        }
        (index, operand.inner)
    }

    /// Splits output positions into stretches within one row, of at most [`BLOCK`].
    #[inline(always)]
    fn stretch(&self, position: usize, end: usize) -> usize {
        (self.row - position % self.row).min(end - position).min(BLOCK)
    }

    /// Widens a stretch of an operand, less its zero point.
    #[inline(always)]
    fn load(&self, operand: usize, bytes: &[u8], position: usize, block: &mut [i32]) {
        let operand = &self.operands[operand];
        let (index, stride) = self.locate(operand, position);
        load(operand.element_type, bytes, index, stride, operand.zero_point, block);
    }
}

/// Row-major strides of a shape over the axes that it broadcasts to; 0 where one element repeats.
fn broadcast_strides(shape: &[usize], output: &[usize]) -> Vec<usize> {
    let mut strides = vec![0; output.len()];
    let mut stride = 1;
    for (position, &size) in shape.iter().enumerate().rev() {
        if size > 1 {
            strides[output.len() - shape.len() + position] = stride;
        }
        stride *= size;
    }
    strides
}

/// How operands become the output.
enum Arithmetic {
    /// Exact sum of multiplied operands, then a shift.
    FixedSum { multiplier: Vec<i32>, shift: RowRequantizer },
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
        broadcast: Broadcast,
        output_type: ElementType,
        output_scale: f32,
        requantizer: &Requantizer,
    ) -> Self {
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
            // Validation allows no other mode; a shift is a multiplication by one.
            Rounding::Shift(_) => Arithmetic::FixedSum {
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
            work.cpu.run(ElementwiseBody { kernel: self, first: index * chunk, inputs, output });
        });
    }
}

struct ElementwiseBody<'a> {
    kernel: &'a ElementwiseKernel,
    first: usize,
    inputs: &'a [&'a [u8]],
    output: &'a mut [u8],
}

impl Body for ElementwiseBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let kernel = self.kernel;
        let end = self.first + self.output.len() / kernel.output_type.size_bytes();
        let mut position = self.first;
        let mut q = [0_i32; BLOCK];
        while position < end {
            let length = kernel.broadcast.stretch(position, end);
            let q = &mut q[..length];
            match &kernel.arithmetic {
                Arithmetic::FixedSum { multiplier, shift } => {
                    kernel.fixed_sum(self.inputs, position, multiplier, shift, q);
                }
                Arithmetic::FloatSum { scale } => {
                    kernel.float_sum(self.inputs, position, scale, q);
                }
                Arithmetic::FixedProduct { requantizer, is_narrow } => {
                    kernel.fixed_product(self.inputs, position, requantizer, *is_narrow, q);
                }
                Arithmetic::FloatProduct { scale } => {
                    kernel.float_product(self.inputs, position, *scale, q);
                }
            }
            store(kernel.output_type, self.output, position - self.first, q);
            position += length;
        }
    }
}

impl ElementwiseKernel {
    #[inline(always)]
    fn fixed_sum(
        &self,
        inputs: &[&[u8]],
        position: usize,
        multiplier: &[i32],
        shift: &RowRequantizer,
        q: &mut [i32],
    ) {
        let mut acc = [0_i64; BLOCK];
        let mut block = [0_i32; BLOCK];
        let (acc, block) = (&mut acc[..q.len()], &mut block[..q.len()]);
        for (operand, bytes) in inputs.iter().enumerate() {
            self.broadcast.load(operand, bytes, position, block);
            let multiplier = i64::from(multiplier[operand]);
            for (acc, &element) in acc.iter_mut().zip(&*block) {
                *acc += i64::from(element) * multiplier;
            }
        }
        shift.run(acc, Entries::One(0), q);
    }

    #[inline(always)]
    fn float_sum(&self, inputs: &[&[u8]], position: usize, scale: &[f32], q: &mut [i32]) {
        let mut acc = [0.0_f32; BLOCK];
        let mut block = [0_i32; BLOCK];
        let (acc, block) = (&mut acc[..q.len()], &mut block[..q.len()]);
        for (operand, bytes) in inputs.iter().enumerate() {
            self.broadcast.load(operand, bytes, position, block);
            for (acc, &element) in acc.iter_mut().zip(&*block) {
                *acc += scale[operand] * element as f32;
            }
        }
        for (q, &acc) in q.iter_mut().zip(&*acc) {
            *q = self.requantizer.apply_float(acc / self.output_scale);
        }
    }

    #[inline(always)]
    fn fixed_product(
        &self,
        inputs: &[&[u8]],
        position: usize,
        requantizer: &RowRequantizer,
        is_narrow: bool,
        q: &mut [i32],
    ) {
        let (mut left, mut right) = ([0_i32; BLOCK], [0_i32; BLOCK]);
        let (left, right) = (&mut left[..q.len()], &mut right[..q.len()]);
        self.broadcast.load(0, inputs[0], position, left);
        self.broadcast.load(1, inputs[1], position, right);
        if is_narrow {
            for (left, &right) in left.iter_mut().zip(&*right) {
                *left = left.wrapping_mul(right);
            }
            requantizer.run(left, Entries::One(0), q);
            return;
        }
        let mut acc = [0_i64; BLOCK];
        let acc = &mut acc[..q.len()];
        for ((acc, &left), &right) in acc.iter_mut().zip(&*left).zip(&*right) {
            *acc = i64::from(left) * i64::from(right);
        }
        requantizer.run(acc, Entries::One(0), q);
    }

    #[inline(always)]
    fn float_product(&self, inputs: &[&[u8]], position: usize, scale: [f32; 2], q: &mut [i32]) {
        let (mut left, mut right) = ([0_i32; BLOCK], [0_i32; BLOCK]);
        let (left, right) = (&mut left[..q.len()], &mut right[..q.len()]);
        self.broadcast.load(0, inputs[0], position, left);
        self.broadcast.load(1, inputs[1], position, right);
        for ((q, &left), &right) in q.iter_mut().zip(&*left).zip(&*right) {
            let value = (scale[0] * left as f32) * (scale[1] * right as f32);
            *q = self.requantizer.apply_float(value / self.output_scale);
        }
    }
}
