//! A block of rows of the matrix product in tiles: 16 rows at a time, where they lie if they are
//! equally far apart, or else in a copy.

use super::product::{BLOCK_ROWS, Rows};
use crate::isa::tiles::{TILE_ROWS, TileProduct, Tiles};

/// Products of tiles that cover a block.
const MOST_STEPS: usize = BLOCK_ROWS.div_ceil(TILE_ROWS);

/// Where the rows of one product of tiles are.
#[derive(Clone, Copy, Default)]
struct Step {
    /// First row of the block; the last product may repeat rows of the one before.
    row: usize,
    start: usize,
    stride: usize,
    is_copied: bool,
}

/// What multiplies the rows of a layer in tiles.
pub(crate) struct TileRows<'a> {
    tiles: Tiles,
    /// Words of a segment.
    words: usize,
    copies: &'a mut [u8],
    /// Where each segment of a copied row begins.
    segments: &'a [usize],
    steps: [Step; MOST_STEPS],
    count: usize,
}

impl<'a> TileRows<'a> {
    /// Bytes that copies of rows take, if neighbours may be unequally far apart.
    pub const fn copied_bytes(segments: usize, words: usize) -> usize {
        (MOST_STEPS * TILE_ROWS * segments * words * 4).next_multiple_of(64)
    }

    /// Where each segment of a copied row begins.
    pub fn segments(segments: usize, words: usize) -> Vec<usize> {
        (0..segments).map(|segment| segment * words * 4).collect()
    }

    /// For rows whose copies have these segments, of so many words.
    pub fn new(tiles: Tiles, segments: &'a [usize], words: usize, copies: &'a mut [u8]) -> Self {
        let steps = [Step::default(); MOST_STEPS];
        Self { tiles, words, copies, segments, steps, count: 0 }
    }

    /// Takes the rows of a block; whether they fill a tile.
    pub fn take(&mut self, rows: Rows<'_>) -> bool {
        let count = rows.starts.len();
        if count < TILE_ROWS {
            return false;
        }
        self.count = count.div_ceil(TILE_ROWS);
        for index in 0..self.count {
            let row = (index * TILE_ROWS).min(count - TILE_ROWS);
            let starts = &rows.starts[row..row + TILE_ROWS];
            self.steps[index] = match distance(starts) {
                Some(stride) => Step { row, start: starts[0], stride, is_copied: false },
                None => self.copy(index, row, Rows { starts, ..rows }),
            };
        }
        true
    }

    fn copy(&mut self, index: usize, row: usize, rows: Rows<'_>) -> Step {
        let segment_bytes = self.words * 4;
        let stride = self.segments.len() * segment_bytes;
        let start = index * TILE_ROWS * stride;
        let copies = self.copies[start..].chunks_exact_mut(stride);
        for (copy, &start) in copies.zip(rows.starts) {
            for (copy, segment) in copy.chunks_exact_mut(segment_bytes).zip(rows.segments) {
                copy.copy_from_slice(&rows.bytes[start + segment..][..segment_bytes]);
            }
        }
        Step { row, start, stride, is_copied: true }
    }

    /// Multiplies the rows taken with a panel; sums are `[row][vector][lane]`.
    pub fn multiply(
        &self,
        rows: Rows<'_>,
        (panel, vectors): (&[i32], usize),
        bias: &[i32],
        sums: &mut [i32],
    ) {
        for &Step { row, start, stride, is_copied } in &self.steps[..self.count] {
            let (bytes, segments) = if is_copied {
                (&*self.copies, self.segments)
            } else {
                (rows.bytes, rows.segments)
            };
            let sums = &mut sums[row * bias.len()..];
            let product =
                TileProduct { bytes, start, stride, segments, panel, vectors, bias, sums };
            self.tiles.multiply(product);
        }
    }
}

/// How far apart all neighbours are.
fn distance(starts: &[usize]) -> Option<usize> {
    let stride = starts[1].checked_sub(starts[0])?;
    starts.windows(2).all(|pair| pair[0] + stride == pair[1]).then_some(stride)
}
