//! The greatest or the least of broadcast operands.

use bytemuck::cast_slice_mut;

use super::block::{load, narrow};
use super::broadcast::Broadcast;
use super::{Kernel, Work};
use crate::element::{ElementType, with_element};
use crate::isa::Body;

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 14;

/// Greatest or least.
pub(crate) struct ExtremumKernel {
    /// Its zero points are 0: integers are compared as they are.
    pub broadcast: Broadcast,
    pub output_type: ElementType,
    pub least: bool,
}

impl Kernel for ExtremumKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let sizes = (self.output_type.size_bytes(), TASK_ELEMENTS);
        self.broadcast.for_each_stretch(work, output, sizes, |position, [best, other], output| {
            load(work.cpu, self.broadcast.source(0, inputs[0], position), best);
            for (operand, bytes) in inputs.iter().enumerate().skip(1) {
                load(work.cpu, self.broadcast.source(operand, bytes, position), other);
                work.cpu.run(SelectBody { best: &mut *best, other, least: self.least });
            }
            work.cpu.run(NarrowBody { best, element_type: self.output_type, output });
        });
    }
}

/// `best = best or other`
struct SelectBody<'a> {
    best: &'a mut [i32],
    other: &'a [i32],
    least: bool,
}

impl Body for SelectBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let pairs = self.best.iter_mut().zip(self.other);
        if self.least {
            pairs.for_each(|(best, &other)| *best = (*best).min(other));
        } else {
            pairs.for_each(|(best, &other)| *best = (*best).max(other));
        }
    }
}

struct NarrowBody<'a> {
    best: &'a [i32],
    element_type: ElementType,
    output: &'a mut [u8],
}

impl Body for NarrowBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_element!(self.element_type, T => {
            narrow::<T>(self.best, cast_slice_mut(self.output));
        }, float => {});
    }
}
