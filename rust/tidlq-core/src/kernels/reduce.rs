//! Sums and extremes over an axis.

use bytemuck::cast_slice_mut;

use super::block::{BLOCK, Source, load};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::{Requantizer, round_away};
use crate::isa::{Body, Cpu};
use crate::network::{Reduce, ReduceKind};

/// Input elements of one task.
const TASK_ELEMENTS: usize = 1 << 16;

/// The middle axis of (N, R, C) to one element each.
pub(crate) struct ReduceKernel {
    pub reduce: Reduce,
    pub input_type: ElementType,
    /// 0 for extremes, which compare integers as they are.
    pub zero_point: i32,
    pub output_type: ElementType,
    pub rows: usize,
    pub columns: usize,
}

impl Kernel for ReduceKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let elements = output.len() / size;
        // Whole blocks of columns where there are several, so that a task's rows are contiguous.
        let unit = if self.columns == 1 { 1 } else { self.columns.min(BLOCK) };
        let chunk = work.chunk(elements, unit, (TASK_ELEMENTS / self.rows).max(1));
        work.for_each_chunk(output, chunk * size, |index, output| {
            let (first, count) = (index * chunk, output.len() / size);
            let mut acc = [0_i64; BLOCK];
            let mut position = first;
            while position < first + count {
                let length = self.stretch(position, first + count);
                let acc = &mut acc[..length];
                if self.columns == 1 {
                    self.along_row(work.cpu, inputs[0], position, acc);
                } else {
                    self.along_columns(work.cpu, inputs[0], position, acc);
                }
                let begin = (position - first) * size;
                self.finish(acc, &mut output[begin..begin + length * size]);
                position += length;
            }
        });
    }
}

impl ReduceKernel {
    /// Outputs that are computed together: of one N.
    fn stretch(&self, position: usize, end: usize) -> usize {
        let room = self.columns - position % self.columns;
        room.min(end - position).min(BLOCK)
    }

    fn source<'a>(&self, bytes: &'a [u8], start: usize) -> Source<'a> {
        let (element_type, zero_point) = (self.input_type, self.zero_point);
        Source { element_type, bytes, start, stride: 1, zero_point }
    }

    /// The only output of a row of contiguous elements.
    fn along_row(&self, cpu: Cpu, input: &[u8], position: usize, acc: &mut [i64]) {
        let mut block = [0_i32; BLOCK];
        let mut total = self.start();
        for begin in (0..self.rows).step_by(BLOCK) {
            let block = &mut block[..BLOCK.min(self.rows - begin)];
            load(cpu, self.source(input, position * self.rows + begin), block);
            total = cpu.run(FoldBody { block, kind: self.reduce.kind, total });
        }
        acc.fill(total);
    }

    /// Neighbouring outputs, whose inputs are neighbours too.
    fn along_columns(&self, cpu: Cpu, input: &[u8], position: usize, acc: &mut [i64]) {
        let mut block = [0_i32; BLOCK];
        let block = &mut block[..acc.len()];
        let start = position / self.columns * self.rows * self.columns + position % self.columns;
        acc.fill(self.start());
        for row in 0..self.rows {
            load(cpu, self.source(input, start + row * self.columns), block);
            cpu.run(AddBody { block, kind: self.reduce.kind, acc: &mut *acc });
        }
    }

    const fn start(&self) -> i64 {
        match self.reduce.kind {
            ReduceKind::Greatest => i64::MIN,
            ReduceKind::Least => i64::MAX,
            _ => 0,
        }
    }

    fn finish(&self, acc: &[i64], output: &mut [u8]) {
        with_element!(self.output_type, T => {
            for (element, &acc) in cast_slice_mut::<u8, T>(output).iter_mut().zip(acc) {
                *element = T::narrow(output_integer(&self.reduce, acc));
            }
        }, float => {});
    }
}

/// From an accumulator to an output integer.
fn output_integer(reduce: &Reduce, acc: i64) -> i32 {
    match (&reduce.requantizer, reduce.kind) {
        (Some(requantizer), ReduceKind::RootOfSquares) => root(requantizer, acc),
        (Some(requantizer), _) => requantizer.apply(acc, 0),
        (None, _) => acc as i32,
    }
}

/// `round_half_away(sqrt(float64(acc)) * double_scale)`, the zero point added, clamped.
pub(super) fn root(requantizer: &Requantizer, acc: i64) -> i32 {
    let Requantizer { zero_point, clamp_min, clamp_max, .. } = *requantizer;
    let scale = requantizer.double_scale();
    let value = (acc as f64).sqrt() * scale;
    round_away(value, clamp_min - zero_point, clamp_max - zero_point) + zero_point
}

/// What one element does to an accumulator.
#[inline(always)]
fn fold(kind: ReduceKind, total: i64, element: i32) -> i64 {
    match kind {
        ReduceKind::Sum => total + i64::from(element),
        ReduceKind::Magnitudes => total + i64::from(element.abs()),
        ReduceKind::Squares | ReduceKind::RootOfSquares => {
            total + i64::from(element) * i64::from(element)
        }
        ReduceKind::Greatest => total.max(element.into()),
        ReduceKind::Least => total.min(element.into()),
    }
}

struct FoldBody<'a> {
    block: &'a [i32],
    kind: ReduceKind,
    total: i64,
}

impl Body for FoldBody<'_> {
    type Output = i64;

    #[inline(always)]
    fn run(self) -> i64 {
        let Self { block, kind, total } = self;
        block.iter().fold(total, |total, &element| fold(kind, total, element))
    }
}

struct AddBody<'a> {
    block: &'a [i32],
    kind: ReduceKind,
    acc: &'a mut [i64],
}

impl Body for AddBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { block, kind, acc } = self;
        for (acc, &element) in acc.iter_mut().zip(block) {
            *acc = fold(kind, *acc, element);
        }
    }
}
