//! Short stretches of elements, widened to `i32`: what lets one body serve every element type.

use bytemuck::cast_slice;

use crate::element::{Element, ElementType, with_element};

/// Elements that are widened together.
pub(crate) const BLOCK: usize = 256;

/// Widens `block.len()` elements of an integer tensor, beginning at `start`, less `zero_point`.
/// `stride` is 1, or 0 to repeat one element.
#[inline(always)]
pub(crate) fn load(
    element_type: ElementType,
    bytes: &[u8],
    start: usize,
    stride: usize,
    zero_point: i32,
    block: &mut [i32],
) {
    with_element!(element_type, T => {
        let elements = cast_slice::<u8, T>(bytes);
        if stride == 0 {
            block.fill(elements[start].widen() - zero_point);
        } else {
            widen(&elements[start..start + block.len()], zero_point, block);
        }
    }, float => {});
}

/// Widens elements, less `zero_point`.
#[inline(always)]
pub(crate) fn widen<T: Element>(elements: &[T], zero_point: i32, block: &mut [i32]) {
    for (wide, element) in block.iter_mut().zip(elements) {
        *wide = element.widen() - zero_point;
    }
}

/// Narrows a block, whose values are within the type, into an integer tensor beginning at `start`.
#[inline(always)]
pub(crate) fn store(element_type: ElementType, bytes: &mut [u8], start: usize, block: &[i32]) {
    with_element!(element_type, T => {
        let elements = bytemuck::cast_slice_mut::<u8, T>(bytes);
        narrow(block, &mut elements[start..start + block.len()]);
    }, float => {});
}

/// Narrows values that are within the type.
#[inline(always)]
pub(crate) fn narrow<T: Element>(block: &[i32], elements: &mut [T]) {
    for (element, &wide) in elements.iter_mut().zip(block) {
        *element = T::narrow(wide);
    }
}
