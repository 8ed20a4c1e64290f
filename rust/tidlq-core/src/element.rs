//! Element types of tensors.

use bytemuck::Pod;

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementType {
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    S8,
    /// Unsigned 16-bit integer.
    U16,
    /// Signed 16-bit integer.
    S16,
    /// IEEE float32.
    F32,
    /// Positions of 32 bits, without scale.
    S32,
    /// Positions of 64 bits, without scale.
    S64,
}

impl ElementType {
    /// The four types of quantized values.
    pub const INTEGERS: [Self; 4] = [Self::U8, Self::S8, Self::U16, Self::S16];

    /// The name that the Python side uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::S8 => "s8",
            Self::U16 => "u16",
            Self::S16 => "s16",
            Self::F32 => "f32",
            Self::S32 => "s32",
            Self::S64 => "s64",
        }
    }

    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::U8 | Self::S8 => 1,
            Self::U16 | Self::S16 => 2,
            Self::F32 | Self::S32 => 4,
            Self::S64 => 8,
        }
    }

    /// Whether it holds positions: integers that stand for themselves.
    pub const fn is_position(self) -> bool {
        matches!(self, Self::S32 | Self::S64)
    }

    /// Least and greatest integer of quantized values, `None` for float and for positions.
    pub const fn range(self) -> Option<(i32, i32)> {
        match self {
            Self::U8 => Some((0, 255)),
            Self::S8 => Some((-128, 127)),
            Self::U16 => Some((0, 65_535)),
            Self::S16 => Some((-32_768, 32_767)),
            Self::F32 | Self::S32 | Self::S64 => None,
        }
    }
}

/// An integer element: `u8`, `i8`, `u16` or `i16`.
pub trait Element: Pod + Send + Sync + Ord {
    /// Its type.
    const TYPE: ElementType;
    /// Least value.
    const LOWEST: i32;
    /// Greatest value.
    const HIGHEST: i32;
    /// What is subtracted so that the element fits `i16`: 32,768 for `u16`, else 0.
    const OFFSET: i32;

    /// Widens.
    fn widen(self) -> i32;

    /// Narrows a value that is within the type; other values lose their upper bits.
    fn narrow(value: i32) -> Self;

    /// The element less [`Element::OFFSET`], exact.
    fn centre(self) -> i16;
}

macro_rules! element {
    ($($integer:ty, $name:ident, $offset:expr, $value:ident => $centre:expr;)+) => {$(
        impl Element for $integer {
            const TYPE: ElementType = ElementType::$name;
            const LOWEST: i32 = <$integer>::MIN as i32;
            const HIGHEST: i32 = <$integer>::MAX as i32;
            const OFFSET: i32 = $offset;

            #[inline(always)]
            fn widen(self) -> i32 {
                i32::from(self)
            }

            #[inline(always)]
            fn narrow(value: i32) -> Self {
                value as Self
            }

            #[inline(always)]
            fn centre(self) -> i16 {
                let $value = self;
                $centre
            }
        }
    )+};
}

element! {
    u8, U8, 0, value => i16::from(value);
    i8, S8, 0, value => i16::from(value);
    u16, U16, 32_768, value => (value ^ 0x8000) as i16;
    i16, S16, 0, value => value;
}

/// Binds `$type` to the Rust type of an integer [`ElementType`] and evaluates the expression;
/// a float type, and one of positions, evaluates `$float`.
macro_rules! with_element {
    ($element_type:expr, $type:ident => $body:expr, float => $float:expr) => {
        match $element_type {
            $crate::element::ElementType::U8 => {
                type $type = u8;
                $body
            }
            $crate::element::ElementType::S8 => {
                type $type = i8;
                $body
            }
            $crate::element::ElementType::U16 => {
                type $type = u16;
                $body
            }
            $crate::element::ElementType::S16 => {
                type $type = i16;
                $body
            }
            $crate::element::ElementType::F32
            | $crate::element::ElementType::S32
            | $crate::element::ElementType::S64 => $float,
        }
    };
}

pub(crate) use with_element;

#[cfg(test)]
mod tests {
    use super::*;

    fn centre_is_exact<T: Element>() {
        for value in T::LOWEST..=T::HIGHEST {
            let element = T::narrow(value);
            assert_eq!(element.widen(), value);
            assert_eq!(i32::from(element.centre()), value - T::OFFSET);
        }
    }

    #[test]
    fn every_value_survives_widening_and_centring() {
        centre_is_exact::<u8>();
        centre_is_exact::<i8>();
        centre_is_exact::<u16>();
        centre_is_exact::<i16>();
    }

    #[test]
    fn ranges_agree_with_the_rust_types() {
        assert_eq!(ElementType::U8.range(), Some((u8::LOWEST, u8::HIGHEST)));
        assert_eq!(ElementType::S8.range(), Some((i8::LOWEST, i8::HIGHEST)));
        assert_eq!(ElementType::U16.range(), Some((u16::LOWEST, u16::HIGHEST)));
        assert_eq!(ElementType::S16.range(), Some((i16::LOWEST, i16::HIGHEST)));
        for without_scale in [ElementType::F32, ElementType::S32, ElementType::S64] {
            assert_eq!(without_scale.range(), None);
        }
    }
}
