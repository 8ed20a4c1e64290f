//! Arrays that enter and leave the engine.

use crate::element::ElementType;
use crate::error::{Error, Result};

macro_rules! values {
    ($($variant:ident($rust:ty)),+) => {
        /// Elements of an array that leaves the engine.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Values {
            $(#[doc = concat!("`", stringify!($rust), "`.")] $variant(Vec<$rust>),)+
        }

        /// Elements of an array that enters the engine, row-major.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum ValuesView<'a> {
            $(#[doc = concat!("`", stringify!($rust), "`.")] $variant(&'a [$rust]),)+
        }

        impl Values {
            /// Zeroed elements.
            pub(crate) fn zeroed(element_type: ElementType, elements: usize) -> Result<Self> {
                match element_type {
                    $(ElementType::$variant => Ok(Self::$variant(zeroed(elements)?)),)+
                }
            }

            /// A copy of bytes; a trailing part of an element is dropped.
            pub(crate) fn copy_of(element_type: ElementType, bytes: &[u8]) -> Result<Self> {
                let mut values = Self::zeroed(element_type, bytes.len() / element_type.size_bytes())?;
                let length = values.bytes_mut().len();
                values.bytes_mut().copy_from_slice(&bytes[..length]);
                Ok(values)
            }

            pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
                match self {
                    $(Self::$variant(values) => bytemuck::cast_slice_mut(values),)+
                }
            }

            /// A view of the elements.
            pub fn view(&self) -> ValuesView<'_> {
                match self {
                    $(Self::$variant(values) => ValuesView::$variant(values),)+
                }
            }
        }

        impl<'a> ValuesView<'a> {
            /// Type of the elements.
            pub const fn element_type(&self) -> ElementType {
                match self {
                    $(Self::$variant(_) => ElementType::$variant,)+
                }
            }

            /// Number of elements.
            pub const fn elements(&self) -> usize {
                match self {
                    $(Self::$variant(values) => values.len(),)+
                }
            }

            pub(crate) fn bytes(&self) -> &'a [u8] {
                match self {
                    $(Self::$variant(values) => bytemuck::cast_slice(values),)+
                }
            }
        }
    };
}

values!(U8(u8), S8(i8), U16(u16), S16(i16), F32(f32), S32(i32), S64(i64));

fn zeroed<T: Clone + Default>(elements: usize) -> Result<Vec<T>> {
    let mut values = Vec::new();
    let bytes = (elements as u64).saturating_mul(size_of::<T>() as u64);
    values.try_reserve_exact(elements).map_err(|_| Error::Memory { what: "an output", bytes })?;
    values.resize(elements, T::default());
    Ok(values)
}
