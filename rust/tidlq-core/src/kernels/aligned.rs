//! Constants that vectors load, aligned to a cache line.

use bytemuck::{Pod, Zeroable};

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([i32; 16]);

/// 32-bit words that begin at a multiple of 64 bytes.
pub(crate) struct AlignedWords {
    lines: Vec<Line>,
    length: usize,
}

impl AlignedWords {
    /// Zeroed words.
    pub fn zeroed(length: usize) -> Self {
        Self { lines: vec![Line([0; 16]); length.div_ceil(16)], length }
    }

    pub fn words(&self) -> &[i32] {
        &bytemuck::cast_slice(&self.lines)[..self.length]
    }

    pub fn words_mut(&mut self) -> &mut [i32] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.length]
    }
}
