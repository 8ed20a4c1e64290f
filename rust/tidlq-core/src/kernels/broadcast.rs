//! Operands that are repeated along axes of the output.

use super::Work;
use super::block::{BLOCK, Source};
use crate::element::ElementType;

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
    pub fn stretch(&self, position: usize, end: usize) -> usize {
        (self.row - position % self.row).min(end - position).min(BLOCK)
    }

    /// Calls `body(position, blocks, output)` for every stretch of the output, in tasks of about
    /// `task_elements`; the two blocks are as long as the stretch, for whatever it loads.
    pub fn for_each_stretch(
        &self,
        work: &Work<'_>,
        output: &mut [u8],
        (element_bytes, task_elements): (usize, usize),
        body: impl Fn(usize, [&mut [i32]; 2], &mut [u8]) + Sync,
    ) {
        let chunk = work.chunk(output.len() / element_bytes, 64, task_elements);
        work.for_each_chunk(output, chunk * element_bytes, |index, output| {
            let first = index * chunk;
            let end = first + output.len() / element_bytes;
            let mut blocks = [[0_i32; BLOCK]; 2];
            let mut position = first;
            while position < end {
                let length = self.stretch(position, end);
                let begin = (position - first) * element_bytes;
                let output = &mut output[begin..begin + length * element_bytes];
                body(position, blocks.each_mut().map(|block| &mut block[..length]), output);
                position += length;
            }
        });
    }

    /// The elements of an operand from an output position, within one row.
    pub fn source<'a>(&self, operand: usize, bytes: &'a [u8], position: usize) -> Source<'a> {
        let operand = &self.operands[operand];
        let (start, stride) = self.locate(operand, position);
        let Operand { element_type, zero_point, .. } = *operand;
        Source { element_type, bytes, start, stride, zero_point }
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
