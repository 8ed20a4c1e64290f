//! The inner loop of the matrix product: a few rows of input times a panel of packed weights, in
//! registers.
//!
//! Input and weights are read in words of 32 bits: four bytes or two 16-bit numbers. A row of input
//! is a sequence of segments of equally many words, so that the window of a convolution need not be
//! gathered.

use std::ops::Range;

use crate::isa::simd::{Simd, SimdBody};

/// Rows of input that one call multiplies, at most. A multiple of every number of rows in registers;
/// the 49 positions of a map of 7 by 7 read the weights once.
pub(crate) const BLOCK_ROWS: usize = 72;

/// Greatest number of vectors of a panel.
pub(crate) const MAX_VECTORS: usize = 4;

/// Vectors that a panel has at most where there are `registers`.
pub(crate) const fn panel_vectors(registers: usize) -> usize {
    if registers >= 32 { MAX_VECTORS } else { 2 }
}

/// What a word of input and one of weights hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// Four unsigned bytes against four signed.
    Bytes,
    /// Two signed 16-bit numbers.
    Halves,
}

impl Word {
    /// Elements of a word.
    pub const fn elements(self) -> usize {
        match self {
            Self::Bytes => 4,
            Self::Halves => 2,
        }
    }

    /// Bytes of an element of the input.
    pub const fn element_bytes(self) -> usize {
        4 / self.elements()
    }
}

/// Rows of input.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    pub bytes: &'a [u8],
    /// Where each row begins.
    pub starts: &'a [usize],
    /// Where each segment begins, from the row's beginning.
    pub segments: &'a [usize],
}

/// Multiplies rows with a panel; sums wrap in 32 bits.
pub(crate) struct ProductBody<'a> {
    pub word: Word,
    pub rows: Rows<'a>,
    /// Words of every segment that take part.
    pub words: Range<usize>,
    /// `[segment][word][vector][lane]`.
    pub panel: &'a [i32],
    /// Vectors of the panel.
    pub vectors: usize,
    /// What the sums of a row begin with; `vectors` vectors, or none for zero.
    pub bias: &'a [i32],
    /// `[row][vector][lane]`, rows to a multiple of those in registers.
    pub sums: &'a mut [i32],
}

/// How words are multiplied.
trait Dot {
    fn add<S: Simd>(simd: S, acc: S::I32, input: S::I32, weights: S::I32) -> S::I32;
}

struct Bytes;
struct Halves;

impl Dot for Bytes {
    #[inline(always)]
    fn add<S: Simd>(simd: S, acc: S::I32, input: S::I32, weights: S::I32) -> S::I32 {
        simd.dot4(acc, input, weights)
    }
}

impl Dot for Halves {
    #[inline(always)]
    fn add<S: Simd>(simd: S, acc: S::I32, input: S::I32, weights: S::I32) -> S::I32 {
        simd.dot2(acc, input, weights)
    }
}

impl SimdBody for ProductBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.word {
            Word::Bytes => self.panel::<S, Bytes>(simd),
            Word::Halves => self.panel::<S, Halves>(simd),
        }
    }
}

impl ProductBody<'_> {
    /// As many rows as registers hold beside the weights.
    #[inline(always)]
    fn panel<S: Simd, D: Dot>(self, simd: S) {
        if S::REGISTERS >= 32 {
            match self.vectors {
                1 => self.steps::<S, D, 8, 1>(simd),
                2 => self.steps::<S, D, 8, 2>(simd),
                3 => self.steps::<S, D, 8, 3>(simd),
                _ => self.steps::<S, D, 6, 4>(simd),
            }
        } else {
            match self.vectors {
                1 => self.steps::<S, D, 4, 1>(simd),
                _ => self.steps::<S, D, 4, 2>(simd),
            }
        }
    }

    #[inline(always)]
    fn steps<S: Simd, D: Dot, const ROWS: usize, const VECTORS: usize>(mut self, simd: S) {
        let count = self.rows.starts.len();
        let mut row = 0;
        while row < count {
            if count - row == 1 {
                self.step::<S, D, 1, VECTORS>(simd, row);
            } else {
                self.step::<S, D, ROWS, VECTORS>(simd, row);
            }
            row += ROWS;
        }
    }

    /// Rows that do not exist repeat the last one.
    #[inline(always)]
    fn step<S: Simd, D: Dot, const ROWS: usize, const VECTORS: usize>(
        &mut self,
        simd: S,
        first: usize,
    ) {
        let Rows { bytes, starts, segments } = self.rows;
        let stride = VECTORS * S::LANES;
        let mut acc = [[simd.splat(0); VECTORS]; ROWS];
        if !self.bias.is_empty() {
            for vector in 0..VECTORS {
                let bias = simd.load(&self.bias[vector * S::LANES..]);
                for acc in &mut acc {
                    acc[vector] = bias;
                }
            }
        }
        let mut row_starts = [0; ROWS];
        for (row, start) in row_starts.iter_mut().enumerate() {
            *start = starts[(first + row).min(starts.len() - 1)];
        }
        let words = self.words.len();
        let mut panel = self.panel.chunks_exact(words * stride);
        for &segment in segments {
            let Some(weights) = panel.next() else { return };
            let begin = segment + self.words.start * 4;
            let mut rows: [&[[u8; 4]]; ROWS] = [&[]; ROWS];
            for row in 0..ROWS {
                let start = row_starts[row] + begin;
                (rows[row], _) = bytes[start..start + words * 4].as_chunks();
            }
            for (word, weights) in weights.chunks_exact(stride).enumerate() {
                let mut loaded = [simd.splat(0); VECTORS];
                for vector in 0..VECTORS {
                    loaded[vector] = simd.load(&weights[vector * S::LANES..]);
                }
                for row in 0..ROWS {
                    let input = simd.splat(i32::from_le_bytes(rows[row][word]));
                    for vector in 0..VECTORS {
                        acc[row][vector] = D::add(simd, acc[row][vector], input, loaded[vector]);
                    }
                }
            }
        }
        let sums = &mut self.sums[first * stride..(first + ROWS) * stride];
        for (row, sums) in sums.chunks_exact_mut(stride).enumerate() {
            for vector in 0..VECTORS {
                simd.store(acc[row][vector], &mut sums[vector * S::LANES..]);
            }
        }
    }
}
