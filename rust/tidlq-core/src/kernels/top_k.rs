//! The greatest or least elements along an axis, or their positions.

use bytemuck::{cast_slice, cast_slice_mut};

use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::Body;
use crate::network::TopK;

/// Input elements of one task.
const TASK_ELEMENTS: usize = 1 << 16;

/// The middle axis of (N, R, C) in order, its first elements; their positions where the output holds
/// positions.
pub(crate) struct TopKKernel {
    pub spec: TopK,
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub rows: usize,
    pub columns: usize,
    pub count: usize,
}

impl Kernel for TopKKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let unit = self.count * self.columns;
        let images = (TASK_ELEMENTS / (self.rows * self.columns)).max(1);
        let chunk = work.chunk(output.len() / size, unit, images * unit);
        work.for_each_chunk(output, chunk * size, |index, output| {
            let first = index * chunk / unit;
            work.cpu.run(ImagesBody { kernel: self, input: inputs[0], first, output });
        });
    }
}

struct ImagesBody<'a> {
    kernel: &'a TopKKernel,
    input: &'a [u8],
    first: usize,
    output: &'a mut [u8],
}

impl Body for ImagesBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, input, first, output } = self;
        let TopKKernel { rows, columns, count, .. } = *kernel;
        let bytes = count * columns * kernel.output_type.size_bytes();
        let mut ranks = Vec::with_capacity(if count == 1 { 0 } else { rows });
        with_element!(kernel.input_type, T => {
            let images = cast_slice::<u8, T>(input).chunks_exact(rows * columns).skip(first);
            for (image, output) in images.zip(output.chunks_exact_mut(bytes)) {
                for column in 0..columns {
                    kernel.column(&image[column..], &mut ranks, |place, rank| {
                        kernel.write::<T>(output, place * columns + column, rank);
                    });
                }
            }
        }, float => {});
    }
}

impl TopKKernel {
    /// An integer that is the greater, the earlier an element comes; no two are equal.
    #[inline(always)]
    fn rank(&self, element: i32, position: usize) -> i64 {
        let TopK { least, higher_first } = self.spec;
        let size = i64::from(if least { -element } else { element });
        let place = if higher_first { position } else { self.rows - 1 - position };
        size << 32 | place as i64
    }

    /// Calls `write` with the ranks of one column, best first.
    #[inline(always)]
    fn column<T: Element>(
        &self,
        elements: &[T],
        ranks: &mut Vec<i64>,
        mut write: impl FnMut(usize, i64),
    ) {
        let elements = elements.iter().step_by(self.columns).enumerate();
        let of_elements = elements.map(|(position, element)| self.rank(element.widen(), position));
        if self.count == 1 {
            write(0, of_elements.fold(i64::MIN, i64::max));
            return;
        }
        ranks.clear();
        ranks.extend(of_elements);
        let best = if self.count < ranks.len() {
            ranks.select_nth_unstable_by(self.count - 1, |a, b| b.cmp(a));
            &mut ranks[..self.count]
        } else {
            &mut ranks[..]
        };
        best.sort_unstable_by(|a, b| b.cmp(a));
        for (place, &rank) in best.iter().enumerate() {
            write(place, rank);
        }
    }

    #[inline(always)]
    fn write<T: Element>(&self, output: &mut [u8], index: usize, rank: i64) {
        let place = (rank & i64::from(u32::MAX)) as usize;
        let position = if self.spec.higher_first { place } else { self.rows - 1 - place };
        match self.output_type {
            ElementType::S64 => cast_slice_mut::<u8, i64>(output)[index] = position as i64,
            ElementType::S32 => cast_slice_mut::<u8, i32>(output)[index] = position as i32,
            _ => {
                let size = (rank >> 32) as i32;
                let element = if self.spec.least { -size } else { size };
                cast_slice_mut::<u8, T>(output)[index] = T::narrow(element);
            }
        }
    }
}
