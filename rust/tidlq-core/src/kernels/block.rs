//! Short stretches of elements, widened to `i32`: what lets one kernel serve every element type.

use bytemuck::cast_slice;

use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};

/// Elements that are widened together.
pub(crate) const BLOCK: usize = 512;

/// Elements of an integer tensor, from `start`. `stride` is 1, or 0 to repeat one element.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub element_type: ElementType,
    pub bytes: &'a [u8],
    pub start: usize,
    pub stride: usize,
    pub zero_point: i32,
}

/// Widens `block.len()` elements, less the zero point.
pub(crate) fn load(cpu: Cpu, source: Source<'_>, block: &mut [i32]) {
    cpu.run(LoadBody { source, block });
}

struct LoadBody<'a> {
    source: Source<'a>,
    block: &'a mut [i32],
}

impl Body for LoadBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Source { element_type, bytes, start, stride, zero_point } = self.source;
        with_element!(element_type, T => {
            let elements = cast_slice::<u8, T>(bytes);
            if stride == 0 {
                self.block.fill(elements[start].widen() - zero_point);
            } else {
                let elements = &elements[start..start + self.block.len()];
                for (wide, element) in self.block.iter_mut().zip(elements) {
                    *wide = element.widen() - zero_point;
                }
            }
        }, float => {});
    }
}

/// Narrows values that are within the type.
#[inline(always)]
pub(crate) fn narrow<T: Element>(block: &[i32], elements: &mut [T]) {
    for (element, &wide) in elements.iter_mut().zip(block) {
        *element = T::narrow(wide);
    }
}
