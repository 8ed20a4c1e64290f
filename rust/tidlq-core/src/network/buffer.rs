//! Byte buffers aligned to a cache line, without `unsafe`.

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};

const LINE_BYTES: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; LINE_BYTES]);

/// Bytes that begin at a multiple of 64.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AlignedBuffer {
    lines: Vec<Line>,
    length: usize,
}

impl AlignedBuffer {
    /// Zeroed bytes; an error, not an abort, when memory runs out.
    pub fn zeroed(length: usize, what: &'static str) -> Result<Self> {
        let count = length.div_ceil(LINE_BYTES);
        let mut lines = Vec::new();
        lines.try_reserve_exact(count).map_err(|_| Error::Memory { what, bytes: length as u64 })?;
        lines.resize(count, Line([0; LINE_BYTES]));
        Ok(Self { lines, length })
    }

    /// A copy of bytes.
    pub fn copy_of(bytes: &[u8], what: &'static str) -> Result<Self> {
        let mut buffer = Self::zeroed(bytes.len(), what)?;
        buffer.bytes_mut().copy_from_slice(bytes);
        Ok(buffer)
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.length]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_aligned_and_zero() {
        for length in [0, 1, 63, 64, 65] {
            let buffer = AlignedBuffer::zeroed(length, "a test").unwrap();
            assert_eq!(buffer.bytes(), vec![0; length]);
            assert_eq!(buffer.bytes().as_ptr() as usize % LINE_BYTES, 0);
        }
    }

    #[test]
    fn too_much_memory_is_an_error() {
        let length = isize::MAX as usize - 127;
        let error = AlignedBuffer::zeroed(length, "a test").unwrap_err();
        assert_eq!(error, Error::Memory { what: "a test", bytes: length as u64 });
    }
}
