//! An input whose elements are read one at a time.

use bytemuck::cast_slice;

use crate::element::ElementType;
use crate::network::TensorSpec;

/// Type and zero point of an input.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub element_type: ElementType,
    pub zero_point: i32,
}

impl Source {
    pub const fn of(tensor: &TensorSpec) -> Self {
        Self { element_type: tensor.element_type, zero_point: tensor.zero_point }
    }

    /// An element less the zero point.
    #[inline(always)]
    pub fn at(self, bytes: &[u8], index: usize) -> i32 {
        let value = match self.element_type {
            ElementType::U8 => i32::from(bytes[index]),
            ElementType::S8 => i32::from(bytes[index] as i8),
            ElementType::U16 => i32::from(cast_slice::<u8, u16>(bytes)[index]),
            _ => i32::from(cast_slice::<u8, i16>(bytes)[index]),
        };
        value - self.zero_point
    }
}
