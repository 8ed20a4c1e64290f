//! Matrix product of packed 16-bit rows with packed weights, requantized: the engine of convolution
//! and inner product.
//!
//! Elements of all four types are centred to `i16` ([`Element::centre`]); weights are `i16`. The
//! zero point and the centring fold into the bias. Weights are packed in panels of [`COLUMNS`]
//! outputs with the depth in pairs, so that one step multiplies and adds pairs of 16-bit numbers
//! into 32 bits. 32-bit sums are used over the longest stretch of depth for which they are proven
//! exact; where that is less than the whole depth, stretches are added in 64 bits.

use super::block::narrow;
use super::requantize::{Accumulator, Entries, RowRequantizer};
use crate::element::Element;
use crate::fixed::Requantizer;

/// Outputs per panel.
pub(crate) const COLUMNS: usize = 16;

/// Rows per step.
pub(crate) const ROWS: usize = 4;

/// Two depths of every column of a panel: `[column][2]`.
type Pairs = [i16; 2 * COLUMNS];

/// Weights of `groups` matrices, each `columns` by `depth`.
pub(crate) struct PackedWeights {
    pub groups: usize,
    /// Outputs of one group.
    pub columns: usize,
    /// Products in one output.
    pub depth: usize,
    /// `[group][panel][pair]`.
    panels: Vec<Pairs>,
    /// Bias of every output, zero point folded in, padded to whole panels: `[group][panel][column]`.
    bias: Vec<i64>,
    /// Pairs of depth that 32 bits hold exactly.
    stretch: usize,
    /// Whether 32 bits hold every whole accumulator, bias included.
    is_narrow: bool,
    requantizer: RowRequantizer,
}

/// What [`PackedWeights::new`] packs.
pub(crate) struct WeightSource<'a> {
    pub groups: usize,
    pub columns: usize,
    pub depth: usize,
    /// `[group][column][depth]`.
    pub weights: &'a [i16],
    pub bias: &'a [i64],
    pub requantizer: &'a Requantizer,
    /// Zero point of the input.
    pub zero_point: i32,
    /// What centring subtracts from the input.
    pub offset: i32,
    /// Least and greatest element of the input type.
    pub range: (i32, i32),
}

impl PackedWeights {
    /// Packs, and proves which sums fit 32 bits.
    pub fn new(source: &WeightSource<'_>) -> Self {
        let WeightSource { groups, columns, depth, .. } = *source;
        let centred_zero = i64::from(source.zero_point - source.offset);
        let magnitude = greatest_input(source);
        let (panels_per_group, pairs) = (columns.div_ceil(COLUMNS), depth.div_ceil(2));
        let mut panels = vec![[0; 2 * COLUMNS]; groups * panels_per_group * pairs];
        let mut bias = vec![0; groups * panels_per_group * COLUMNS];
        let (mut bound, mut greatest_weight) = (0_u64, 0_u64);
        for group in 0..groups {
            for column in 0..columns {
                let output = group * columns + column;
                let weights = &source.weights[output * depth..(output + 1) * depth];
                let panel = group * panels_per_group + column / COLUMNS;
                let lane = column % COLUMNS;
                let (mut sum, mut absolute) = (0_i64, 0_u64);
                for (k, &weight) in weights.iter().enumerate() {
                    panels[panel * pairs + k / 2][2 * lane + k % 2] = weight;
                    sum += i64::from(weight);
                    absolute += u64::from(weight.unsigned_abs());
                    greatest_weight = greatest_weight.max(u64::from(weight.unsigned_abs()));
                }
                let folded = source.bias[output] - centred_zero * sum;
                bias[panel * COLUMNS + lane] = folded;
                bound = bound.max(absolute * magnitude + folded.unsigned_abs());
            }
        }
        let pair = (2 * greatest_weight * magnitude).max(1);
        let stretch = (i32::MAX as u64 / pair) as usize;
        let is_narrow = bound <= i32::MAX as u64;
        Self {
            groups,
            columns,
            depth,
            panels,
            bias,
            stretch: if is_narrow { pairs } else { stretch },
            is_narrow,
            requantizer: RowRequantizer::new(source.requantizer, bound),
        }
    }

    /// Pairs of depth; rows are packed to twice this length.
    pub fn pairs(&self) -> usize {
        self.depth.div_ceil(2)
    }

    /// Outputs of all groups.
    pub fn outputs(&self) -> usize {
        self.groups * self.columns
    }

    /// Panels of one group.
    pub fn panels_per_group(&self) -> usize {
        self.columns.div_ceil(COLUMNS)
    }

    /// Multiplies rows with the panels `first..end` of a group.
    ///
    /// `rows` holds packed rows of `2 * pairs()` centred elements, a multiple of [`ROWS`] of them; the
    /// output has `count` rows `stride` elements apart, its first element is the first column of
    /// panel `first`.
    #[inline(always)]
    pub fn multiply<T: Element>(
        &self,
        group: usize,
        (first, end): (usize, usize),
        rows: &[i16],
        count: usize,
        output: &mut [T],
        stride: usize,
    ) {
        for panel in first..end {
            let column = (panel - first) * COLUMNS;
            for row in (0..count).step_by(ROWS) {
                let tile = Tile {
                    group,
                    panel,
                    row,
                    count: (count - row).min(ROWS),
                    start: row * stride + column,
                    stride,
                };
                if self.is_narrow {
                    self.tile_narrow(&tile, rows, output);
                } else {
                    self.tile_wide(&tile, rows, output);
                }
            }
        }
    }

    #[inline(always)]
    fn panel(&self, tile: &Tile) -> &[Pairs] {
        let index = tile.group * self.panels_per_group() + tile.panel;
        &self.panels[index * self.pairs()..(index + 1) * self.pairs()]
    }

    #[inline(always)]
    fn bias(&self, tile: &Tile) -> &[i64] {
        let index = tile.group * self.panels_per_group() + tile.panel;
        &self.bias[index * COLUMNS..(index + 1) * COLUMNS]
    }

    #[inline(always)]
    fn tile_narrow<T: Element>(&self, tile: &Tile, rows: &[i16], output: &mut [T]) {
        let sums = sums_of_pairs(self.packed_rows(tile, rows), self.panel(tile));
        let bias = self.bias(tile);
        for (row, sums) in sums.iter().enumerate().take(tile.count) {
            let mut acc = [0_i32; COLUMNS];
            for lane in 0..COLUMNS {
                acc[lane] = sums[lane].wrapping_add(bias[lane] as i32);
            }
            self.finish(tile, row, &acc, output);
        }
    }

    #[inline(always)]
    fn tile_wide<T: Element>(&self, tile: &Tile, rows: &[i16], output: &mut [T]) {
        let rows = self.packed_rows(tile, rows);
        let panel = self.panel(tile);
        let bias = self.bias(tile);
        let mut acc = [[0_i64; COLUMNS]; ROWS];
        for row in &mut acc {
            row.copy_from_slice(bias);
        }
        if self.stretch == 0 {
            add_products(&rows, panel, &mut acc);
        } else {
            for begin in (0..panel.len()).step_by(self.stretch) {
                let end = (begin + self.stretch).min(panel.len());
                let sums = sums_of_pairs(rows.map(|row| &row[begin..end]), &panel[begin..end]);
                for row in 0..ROWS {
                    for lane in 0..COLUMNS {
                        acc[row][lane] += i64::from(sums[row][lane]);
                    }
                }
            }
        }
        for (row, acc) in acc.iter().enumerate().take(tile.count) {
            self.finish(tile, row, acc, output);
        }
    }

    #[inline(always)]
    fn packed_rows<'a>(&self, tile: &Tile, rows: &'a [i16]) -> [&'a [[i16; 2]]; ROWS] {
        let pairs: &[[i16; 2]] = bytemuck::cast_slice(rows);
        let length = self.pairs();
        std::array::from_fn(|row| &pairs[(tile.row + row) * length..(tile.row + row + 1) * length])
    }

    #[inline(always)]
    fn finish<A: Accumulator, T: Element>(
        &self,
        tile: &Tile,
        row: usize,
        acc: &[A; COLUMNS],
        output: &mut [T],
    ) {
        let column = tile.panel * COLUMNS;
        let entries = Entries::From(tile.group * self.columns + column);
        let start = tile.start + row * tile.stride;
        let mut q = [0_i32; COLUMNS];
        if self.columns - column >= COLUMNS {
            self.requantizer.run(acc, entries, &mut q);
            narrow(&q, &mut output[start..start + COLUMNS]);
        } else {
            let count = self.columns - column;
            self.requantizer.run(&acc[..count], entries, &mut q[..count]);
            narrow(&q[..count], &mut output[start..start + count]);
        }
    }
}

/// Position of one step.
struct Tile {
    group: usize,
    panel: usize,
    row: usize,
    /// Rows that exist.
    count: usize,
    /// Output index of the first row.
    start: usize,
    stride: usize,
}

/// Greatest magnitude of a centred input element.
fn greatest_input(source: &WeightSource<'_>) -> u64 {
    let (low, high) = source.range;
    let low = (low - source.offset).unsigned_abs();
    u64::from(low.max((high - source.offset).unsigned_abs()))
}

/// 32-bit sums of products; the caller has proven that they fit.
#[inline(always)]
fn sums_of_pairs(rows: [&[[i16; 2]]; ROWS], panel: &[Pairs]) -> [[i32; COLUMNS]; ROWS] {
    let mut acc = [[0_i32; COLUMNS]; ROWS];
    let rows = rows.map(|row| &row[..panel.len()]);
    for (step, weights) in panel.iter().enumerate() {
        for row in 0..ROWS {
            let [first, second] = rows[row][step];
            let (first, second) = (i32::from(first), i32::from(second));
            for lane in 0..COLUMNS {
                // Rows beyond the last hold arbitrary numbers, whose sums may wrap.
                let product = (first * i32::from(weights[2 * lane]))
                    .wrapping_add(second * i32::from(weights[2 * lane + 1]));
                acc[row][lane] = acc[row][lane].wrapping_add(product);
            }
        }
    }
    acc
}

/// 64-bit sums for full-range weights, of which not even a pair fits 32 bits.
#[inline(always)]
fn add_products(rows: &[&[[i16; 2]]; ROWS], panel: &[Pairs], acc: &mut [[i64; COLUMNS]; ROWS]) {
    for (step, weights) in panel.iter().enumerate() {
        for (row, acc) in rows.iter().zip(acc.iter_mut()) {
            let [first, second] = row[step].map(i32::from);
            for lane in 0..COLUMNS {
                acc[lane] += i64::from(first * i32::from(weights[2 * lane]))
                    + i64::from(second * i32::from(weights[2 * lane + 1]));
            }
        }
    }
}
