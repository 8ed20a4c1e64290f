//! Operations that move elements: concat, transpose, slice, pad. Elements are opaque bytes.

use bytemuck::{Pod, cast_slice, cast_slice_mut};

use super::{Kernel, Work};
use crate::element::ElementType;
use crate::network::{Pad, PadMode};

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 15;

/// Shorter rows are gathered column by column.
const SHORT_ROW: usize = 16;

/// Joins inputs along an axis.
pub(crate) struct ConcatKernel {
    /// Per input, the bytes that are contiguous in the output.
    pub stretches: Vec<usize>,
}

impl Kernel for ConcatKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let row: usize = self.stretches.iter().sum();
        let rows = output.len() / row;
        let chunk = work.chunk(rows, 1, TASK_ELEMENTS / row);
        work.for_each_chunk(output, chunk * row, |index, output| {
            for (offset, output) in output.chunks_exact_mut(row).enumerate() {
                let mut rest = output;
                for (input, &stretch) in inputs.iter().zip(&self.stretches) {
                    let (target, tail) = rest.split_at_mut(stretch);
                    let start = (index * chunk + offset) * stretch;
                    target.copy_from_slice(&input[start..start + stretch]);
                    rest = tail;
                }
            }
        });
    }
}

/// Calls a generic function with the unsigned integer of an element's size.
macro_rules! with_size {
    ($size:expr, $type:ident => $body:expr) => {
        match $size {
            1 => {
                type $type = u8;
                $body
            }
            2 => {
                type $type = u16;
                $body
            }
            _ => {
                type $type = u32;
                $body
            }
        }
    };
}

/// Copies with arbitrary strides: transpose and slice.
pub(crate) struct StridedKernel {
    element_bytes: usize,
    /// Output sizes, axes joined where strides allow; never empty.
    sizes: Vec<usize>,
    /// Input stride of each axis, in elements.
    strides: Vec<isize>,
    /// Input index of the output's first element.
    origin: usize,
}

impl StridedKernel {
    /// A transpose: output axis i is input axis `perm[i]`.
    pub fn transpose(element_type: ElementType, shape: &[usize], perm: &[usize]) -> Self {
        let strides = row_major(shape);
        let sizes: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
        let strides: Vec<isize> = perm.iter().map(|&axis| strides[axis] as isize).collect();
        Self::joined(element_type, &sizes, &strides, 0)
    }

    /// A slice: output index i of an axis is input index `start + i * step`.
    pub fn slice(
        element_type: ElementType,
        shape: &[usize],
        output: &[usize],
        start: &[usize],
        step: &[isize],
    ) -> Self {
        let strides = row_major(shape);
        let origin = start.iter().zip(&strides).map(|(&start, &stride)| start * stride).sum();
        // The step of an axis of size 1 is never taken, and may be any number.
        let strides: Vec<isize> = (0..shape.len())
            .map(|axis| if output[axis] > 1 { step[axis] * strides[axis] as isize } else { 0 })
            .collect();
        Self::joined(element_type, output, &strides, origin)
    }

    fn joined(
        element_type: ElementType,
        sizes: &[usize],
        strides: &[isize],
        origin: usize,
    ) -> Self {
        let mut joined: Vec<(usize, isize)> = Vec::new();
        for (&size, &stride) in sizes.iter().zip(strides).rev().filter(|(size, _)| **size > 1) {
            match joined.last_mut() {
                Some((inner, step)) if stride == *step * *inner as isize => *inner *= size,
                _ => joined.push((size, stride)),
            }
        }
        if joined.is_empty() {
            joined.push((1, 1));
        }
        joined.reverse();
        let (sizes, strides) = joined.into_iter().unzip();
        Self { element_bytes: element_type.size_bytes(), sizes, strides, origin }
    }

    fn copy<T: Pod + Send + Sync>(&self, input: &[T], output: &mut [T], work: &Work<'_>) {
        let outer = self.sizes.len() - 1;
        let (row, stride) = (self.sizes[outer], self.strides[outer]);
        let chunk = work.chunk(output.len(), row, TASK_ELEMENTS);
        if outer == 1 && self.strides[0] == 1 && row < SHORT_ROW {
            work.for_each_chunk(output, chunk, |index, output| {
                for column in 0..row {
                    let start = (self.origin + index * (chunk / row)) as isize;
                    let first = (start + column as isize * stride) as usize;
                    let source = &input[first..first + output.len() / row];
                    for (line, element) in output.chunks_exact_mut(row).zip(source) {
                        line[column] = *element;
                    }
                }
            });
            return;
        }
        work.for_each_chunk(output, chunk, |index, output| {
            for (offset, line) in output.chunks_exact_mut(row).enumerate() {
                let mut rest = index * (chunk / row) + offset;
                let mut start = self.origin as isize;
                for axis in (0..outer).rev() {
                    start += (rest % self.sizes[axis]) as isize * self.strides[axis];
                    rest /= self.sizes[axis];
                }
                if stride == 1 {
                    line.copy_from_slice(&input[start as usize..start as usize + row]);
                } else {
                    for (i, element) in line.iter_mut().enumerate() {
                        *element = input[(start + i as isize * stride) as usize];
                    }
                }
            }
        });
    }
}

impl Kernel for StridedKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        with_size!(self.element_bytes, T => {
            self.copy::<T>(cast_slice(inputs[0]), cast_slice_mut(output), work);
        });
    }
}

/// Elements by position along an axis.
pub(crate) struct GatherKernel {
    /// Per output position, where its stretch begins within an outer index of the input, in bytes.
    starts: Vec<usize>,
    /// Bytes of all inner axes.
    stretch: usize,
    /// Bytes of an outer index of the input.
    outer: usize,
}

impl GatherKernel {
    pub fn new(element_type: ElementType, shape: &[usize], axis: usize, index: &[usize]) -> Self {
        let inner: usize = shape[axis + 1..].iter().product();
        let stretch = inner * element_type.size_bytes();
        let starts = index.iter().map(|&entry| entry * stretch).collect();
        Self { starts, stretch, outer: shape[axis] * stretch }
    }

    #[inline(always)]
    fn copy<const BYTES: usize>(&self, input: &[u8], first: usize, output: &mut [u8]) {
        let count = self.starts.len();
        let stretch = if BYTES == 0 { self.stretch } else { BYTES };
        for (offset, target) in output.chunks_exact_mut(stretch).enumerate() {
            let position = first + offset;
            let start = position / count * self.outer + self.starts[position % count];
            target.copy_from_slice(&input[start..start + stretch]);
        }
    }
}

impl Kernel for GatherKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let stretches = output.len() / self.stretch;
        let chunk = work.chunk(stretches, 1, (TASK_ELEMENTS / self.stretch).max(1));
        work.for_each_chunk(output, chunk * self.stretch, |index, output| {
            let first = index * chunk;
            match self.stretch {
                1 => self.copy::<1>(inputs[0], first, output),
                2 => self.copy::<2>(inputs[0], first, output),
                4 => self.copy::<4>(inputs[0], first, output),
                _ => self.copy::<0>(inputs[0], first, output),
            }
        });
    }
}

/// Row-major strides.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Pads every axis.
pub(crate) struct PadKernel {
    pub pad: Pad,
    pub element_bytes: usize,
    pub input: Vec<usize>,
    pub output: Vec<usize>,
}

impl PadKernel {
    /// Input coordinate that an output coordinate shows, or `None` for the constant.
    fn source(&self, axis: usize, position: usize) -> Option<usize> {
        let size = self.input[axis] as isize;
        let inner = position as isize - self.pad.begin[axis] as isize;
        let is_inside = (0..size).contains(&inner);
        let mirrored = match self.pad.mode {
            PadMode::Constant(_) if !is_inside => return None,
            PadMode::Reflect if inner < 0 => -inner,
            PadMode::Reflect if inner >= size => 2 * (size - 1) - inner,
            _ => inner.clamp(0, size - 1),
        };
        Some(mirrored as usize)
    }

    /// Input index of the first element of an output row, or `None` for a row of the constant.
    fn row_start(&self, row: usize, strides: &[usize]) -> Option<usize> {
        let mut rest = row;
        let mut start = 0;
        for axis in (0..self.output.len() - 1).rev() {
            start += self.source(axis, rest % self.output[axis])? * strides[axis];
            rest /= self.output[axis];
        }
        Some(start)
    }

    fn copy<T: Pod + Send + Sync>(
        &self,
        input: &[T],
        output: &mut [T],
        constant: T,
        work: &Work<'_>,
    ) {
        let Some(last) = self.output.len().checked_sub(1) else {
            output.copy_from_slice(input);
            return;
        };
        let (row, size, begin) = (self.output[last], self.input[last], self.pad.begin[last]);
        let strides = row_major(&self.input);
        let chunk = work.chunk(output.len(), row, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk, |index, output| {
            for (offset, line) in output.chunks_exact_mut(row).enumerate() {
                let Some(start) = self.row_start(index * (chunk / row) + offset, &strides) else {
                    line.fill(constant);
                    continue;
                };
                let elements = &input[start..start + size];
                line[begin..begin + size].copy_from_slice(elements);
                for position in (0..begin).chain(begin + size..row) {
                    let source = self.source(last, position);
                    line[position] = source.map_or(constant, |source| elements[source]);
                }
            }
        });
    }
}

impl Kernel for PadKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let constant = if let PadMode::Constant(value) = self.pad.mode { value } else { 0 };
        with_size!(self.element_bytes, T => {
            self.copy::<T>(cast_slice(inputs[0]), cast_slice_mut(output), constant as T, work);
        });
    }
}
