//! Matrix product of rows of 16-bit numbers with packed weights, requantized: the engine of
//! convolution and inner product.
//!
//! Elements of all four types are centred to `i16` ([`crate::element::Element::centre`]); weights
//! are `i16`. The zero point and the centring fold into the bias. Weights are packed in panels of 16
//! or 32 outputs. 32-bit sums are used over the longest stretch of depth for which they are proven
//! exact; where that is less than the whole depth, stretches are added in 64 bits.

use std::ops::Range;

use super::requantize::{Entries, Layout, RowRequantizer, Target};
use crate::fixed::Requantizer;
use crate::isa::{Body, Cpu, Isa};

/// Rows per step.
pub(crate) const ROWS: usize = 4;

/// Greatest number of rows of a tile.
pub(crate) const MAX_TILE_ROWS: usize = 64;

/// Greatest number of outputs of a panel.
const MAX_COLUMNS: usize = 32;

/// Stretches shorter than this are not worth their overhead: every product is widened instead.
const SHORT_STRETCH: usize = 16;

/// Weights of `groups` matrices, each `columns` by `depth`.
pub(crate) struct PackedWeights {
    pub groups: usize,
    /// Outputs of one group.
    pub columns: usize,
    /// Products in one output.
    pub depth: usize,
    /// Outputs of a panel: 16 or 32.
    pub panel_columns: usize,
    /// `[group][panel][depth][column]`.
    panels: Vec<i16>,
    /// Bias of every output, zero point folded in, padded to whole panels: `[group][panel][column]`.
    bias: Vec<i64>,
    /// The same, where 32 bits are proven enough.
    narrow_bias: Vec<i32>,
    /// Depth over which 32 bits hold every sum.
    stretch: usize,
    /// Whether 32 bits hold every whole accumulator, bias included.
    is_narrow: bool,
    requantizer: RowRequantizer,
}

/// What [`PackedWeights::new`] packs.
#[derive(Clone, Copy)]
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

/// Rows of a tile, and the panels that they are multiplied with.
pub(crate) struct Tile<'a> {
    /// Packed rows of `depth` centred elements; whole steps of [`ROWS`], what exceeds `count` is
    /// arbitrary.
    pub rows: &'a [i16],
    /// Rows that exist, at most [`MAX_TILE_ROWS`].
    pub count: usize,
    pub group: usize,
    /// First panel and the one after the last.
    pub panels: (usize, usize),
}

impl PackedWeights {
    /// Packs for an instruction set, and proves which sums fit 32 bits.
    pub fn new(isa: Isa, source: &WeightSource<'_>) -> Self {
        let WeightSource { groups, columns, depth, .. } = *source;
        let centred_zero = i64::from(source.zero_point - source.offset);
        let magnitude = greatest_input(source);
        let panel_columns = panel_columns(isa, columns);
        let panels_per_group = columns.div_ceil(panel_columns);
        let mut panels = vec![0; groups * panels_per_group * depth * panel_columns];
        let mut bias = vec![0; groups * panels_per_group * panel_columns];
        let (mut bound, mut greatest_weight) = (0_u64, 0_u64);
        for output in 0..groups * columns {
            let (group, column) = (output / columns, output % columns);
            let weights = &source.weights[output * depth..(output + 1) * depth];
            let panel = group * panels_per_group + column / panel_columns;
            let lane = column % panel_columns;
            let (mut sum, mut absolute) = (0_i64, 0_u64);
            for (k, &weight) in weights.iter().enumerate() {
                panels[(panel * depth + k) * panel_columns + lane] = weight;
                sum += i64::from(weight);
                absolute += u64::from(weight.unsigned_abs());
                greatest_weight = greatest_weight.max(u64::from(weight.unsigned_abs()));
            }
            let folded = source.bias[output] - centred_zero * sum;
            bias[panel * panel_columns + lane] = folded;
            bound = bound.max(absolute * magnitude + folded.unsigned_abs());
        }
        // One product always fits: 2^15 * 2^15.
        let stretch = i32::MAX as u64 / (greatest_weight * magnitude).max(1);
        Self {
            groups,
            columns,
            depth,
            panel_columns,
            panels,
            narrow_bias: bias.iter().map(|&bias| bias as i32).collect(),
            bias,
            stretch: stretch as usize,
            is_narrow: bound <= i32::MAX as u64,
            requantizer: RowRequantizer::new(source.requantizer, bound),
        }
    }

    /// Outputs of all groups.
    pub fn outputs(&self) -> usize {
        self.groups * self.columns
    }

    /// Panels of one group.
    pub fn panels_per_group(&self) -> usize {
        self.columns.div_ceil(self.panel_columns)
    }

    /// Multiplies a tile. The target's `start` is the first column of the first panel in the first
    /// row.
    pub fn multiply(&self, cpu: Cpu, tile: &Tile<'_>, target: Target<'_>) {
        let (first, end) = tile.panels;
        let mut narrow = [0_i32; MAX_TILE_ROWS * MAX_COLUMNS];
        for panel in first..end {
            let column = panel * self.panel_columns;
            let layout = Layout {
                rows: tile.count,
                columns: self.panel_columns.min(self.columns - column),
                stride: self.panel_columns,
            };
            let target = Target {
                element_type: target.element_type,
                bytes: &mut *target.bytes,
                start: target.start + column - first * self.panel_columns,
                stride: target.stride,
            };
            let entries = Entries::From(tile.group * self.columns + column);
            let index = tile.group * self.panels_per_group() + panel;
            if self.is_narrow {
                let sums = &mut narrow[..tile.count.next_multiple_of(ROWS) * self.panel_columns];
                self.sums_narrow(cpu, tile, index, sums);
                self.requantizer.finish(cpu, sums, layout, entries, target);
            } else {
                let mut sums = [0_i64; MAX_TILE_ROWS * MAX_COLUMNS];
                self.sums_wide(cpu, tile, index, &mut narrow, &mut sums);
                self.requantizer.finish(cpu, &sums, layout, entries, target);
            }
        }
    }

    fn panel(&self, index: usize) -> &[i16] {
        let size = self.depth * self.panel_columns;
        &self.panels[index * size..(index + 1) * size]
    }

    /// Where a panel's biases are.
    fn outputs_of(&self, index: usize) -> Range<usize> {
        index * self.panel_columns..(index + 1) * self.panel_columns
    }

    fn sums_narrow(&self, cpu: Cpu, tile: &Tile<'_>, index: usize, sums: &mut [i32]) {
        for row in sums.chunks_exact_mut(self.panel_columns) {
            row.copy_from_slice(&self.narrow_bias[self.outputs_of(index)]);
        }
        self.add(cpu, tile, index, (0, self.depth), sums);
    }

    fn sums_wide(
        &self,
        cpu: Cpu,
        tile: &Tile<'_>,
        index: usize,
        narrow: &mut [i32],
        sums: &mut [i64],
    ) {
        for row in sums.chunks_exact_mut(self.panel_columns) {
            row.copy_from_slice(&self.bias[self.outputs_of(index)]);
        }
        let length = tile.count.next_multiple_of(ROWS) * self.panel_columns;
        let (narrow, sums) = (&mut narrow[..length], &mut sums[..length]);
        if self.stretch < SHORT_STRETCH {
            let (rows, depth, panel) = (tile.rows, self.depth, self.panel(index));
            if self.panel_columns == 16 {
                cpu.run(WideProductBody::<16> { rows, depth, panel, sums });
            } else {
                cpu.run(WideProductBody::<32> { rows, depth, panel, sums });
            }
            return;
        }
        for begin in (0..self.depth).step_by(self.stretch) {
            narrow.fill(0);
            self.add(cpu, tile, index, (begin, self.depth.min(begin + self.stretch)), narrow);
            cpu.run(WidenBody { narrow, sums });
        }
    }

    /// Adds the products of a stretch of depth to 32-bit sums.
    fn add(
        &self,
        cpu: Cpu,
        tile: &Tile<'_>,
        index: usize,
        (begin, end): (usize, usize),
        sums: &mut [i32],
    ) {
        let panel = &self.panel(index)[begin * self.panel_columns..end * self.panel_columns];
        let rows = &tile.rows[begin..];
        let depth = self.depth;
        if self.panel_columns == 16 {
            cpu.run(ProductBody::<16> { rows, depth, panel, sums });
        } else {
            cpu.run(ProductBody::<32> { rows, depth, panel, sums });
        }
    }
}

/// Greatest magnitude of a centred input element.
fn greatest_input(source: &WeightSource<'_>) -> u64 {
    let (low, high) = source.range;
    let low = (low - source.offset).unsigned_abs();
    u64::from(low.max((high - source.offset).unsigned_abs()))
}

/// Where the registers hold its sums the wider panel, unless it would waste more than a quarter of
/// what the narrower one computes.
fn panel_columns(isa: Isa, columns: usize) -> usize {
    let is_wasteful = 4 * columns.next_multiple_of(16) <= 3 * columns.next_multiple_of(32);
    if isa == Isa::Avx512 && !is_wasteful { 32 } else { 16 }
}

/// Adds `rows * panel` to 32-bit sums, whole steps of rows. Rows that exist have sums that are
/// proven to fit; the arbitrary others may wrap.
struct ProductBody<'a, const COLUMNS: usize> {
    rows: &'a [i16],
    /// Distance of rows.
    depth: usize,
    panel: &'a [i16],
    sums: &'a mut [i32],
}

impl<const COLUMNS: usize> Body for ProductBody<'_, COLUMNS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (panel, _) = self.panel.as_chunks::<COLUMNS>();
        let (steps, _) = self.sums.as_chunks_mut::<COLUMNS>();
        for (step, sums) in steps.chunks_exact_mut(ROWS).enumerate() {
            let rows: [&[i16]; ROWS] = std::array::from_fn(|row| {
                let start = (step * ROWS + row) * self.depth;
                &self.rows[start..start + panel.len()]
            });
            let mut acc: [[i32; COLUMNS]; ROWS] = std::array::from_fn(|row| sums[row]);
            for (k, weights) in panel.iter().enumerate() {
                for row in 0..ROWS {
                    let element = i32::from(rows[row][k]);
                    for column in 0..COLUMNS {
                        let product = element * i32::from(weights[column]);
                        acc[row][column] = acc[row][column].wrapping_add(product);
                    }
                }
            }
            sums.copy_from_slice(&acc);
        }
    }
}

/// [`ProductBody`] with 64-bit sums.
struct WideProductBody<'a, const COLUMNS: usize> {
    rows: &'a [i16],
    /// Distance of rows.
    depth: usize,
    panel: &'a [i16],
    sums: &'a mut [i64],
}

impl<const COLUMNS: usize> Body for WideProductBody<'_, COLUMNS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (panel, _) = self.panel.as_chunks::<COLUMNS>();
        let (sums, _) = self.sums.as_chunks_mut::<COLUMNS>();
        for (row, sums) in sums.iter_mut().enumerate() {
            let elements = &self.rows[row * self.depth..(row + 1) * self.depth];
            let mut acc = *sums;
            for (weights, &element) in panel.iter().zip(elements) {
                for column in 0..COLUMNS {
                    acc[column] += i64::from(i32::from(element) * i32::from(weights[column]));
                }
            }
            *sums = acc;
        }
    }
}

/// Adds 32-bit sums to 64-bit sums.
struct WidenBody<'a> {
    narrow: &'a [i32],
    sums: &'a mut [i64],
}

impl Body for WidenBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (sum, &narrow) in self.sums.iter_mut().zip(self.narrow) {
            *sum += i64::from(narrow);
        }
    }
}
