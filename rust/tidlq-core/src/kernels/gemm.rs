//! Matrix product of rows of input with packed weights, requantized: the engine of convolution and
//! inner product.
//!
//! Elements are stored as unsigned bytes or signed 16-bit numbers, `q - offset`; offset and zero point
//! fold into the bias. Eight bits against eight are multiplied as bytes, all else as 16-bit numbers;
//! where sums of full 16-bit weights would leave 32 bits after a few products, a weight is split into
//! two parts (see [`super::weight_parts`]) that are multiplied like outputs of their own.
//!
//! Sums wrap in 32 bits: where the accumulator is proven to fit, its lower 32 bits are the accumulator.
//! Where it is not, both parts of it are requantized if they are proven to fit, or else stretches of
//! depth that are proven to fit are added in 64 bits.

use super::aligned::AlignedWords;
use super::epilogue::{CloseBody, Epilogue};
use super::product::{BLOCK_ROWS, MAX_VECTORS, ProductBody, Rows, Word, panel_vectors};
use super::requantize::{Entries, Layout, RowRequantizer, Target};
use super::split_epilogue::{CloseSplitBody, SplitEpilogue, SplitSums};
use super::tile_rows::TileRows;
use super::weight_parts::{MAX_BITS, fold, low_bound, magnitude, parts_of};
use crate::element::ElementType;
use crate::fixed::Requantizer;
use crate::isa::simd::MAX_LANES;
use crate::isa::tiles::Tiles;
use crate::isa::{Body, Cpu, Isa};

/// 32-bit sums of a block of rows with a panel.
const BLOCK_SUMS: usize = BLOCK_ROWS * MAX_VECTORS * MAX_LANES;

/// Bytes of scratch memory that a product needs beside its rows.
pub(crate) const PRODUCT_BYTES: usize = BLOCK_SUMS * (4 + 8);

/// Stretches of fewer words are not worth their overhead: weights are split.
const SHORT_STRETCH: usize = 64;

/// How an input is stored as rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub word: Word,
    /// What is subtracted from an element.
    pub offset: i32,
    /// Least and greatest stored element.
    pub range: (i32, i32),
}

impl Storage {
    /// For features and weights of these types.
    pub fn of(input: ElementType, weights: ElementType) -> Self {
        match (input, weights) {
            (ElementType::U8, ElementType::S8) => Self::new(Word::Bytes, 0, (0, 255)),
            (ElementType::S8, ElementType::S8) => Self::new(Word::Bytes, -128, (0, 255)),
            _ => Self::halves(input),
        }
    }

    /// As 16-bit numbers.
    pub fn halves(input: ElementType) -> Self {
        match input {
            ElementType::U16 => Self::new(Word::Halves, 32_768, (-32_768, 32_767)),
            _ => Self::new(Word::Halves, 0, input.range().unwrap_or((0, 0))),
        }
    }

    const fn new(word: Word, offset: i32, range: (i32, i32)) -> Self {
        Self { word, offset, range }
    }

    /// Whether elements of the input are stored in as many bits; their upper bits differ by the offset.
    pub const fn keeps_width(&self, input: ElementType) -> bool {
        input.size_bytes() == self.word.element_bytes()
    }
}

/// What [`PackedWeights::new`] packs.
#[derive(Clone, Copy)]
pub(crate) struct WeightSource<'a> {
    pub groups: usize,
    pub columns: usize,
    pub depth: usize,
    /// Equal parts of the depth that are apart in the input.
    pub segments: usize,
    /// `[group][column][depth]`.
    pub weights: &'a [i16],
    pub bias: &'a [i64],
    pub requantizer: &'a Requantizer,
    pub output_type: ElementType,
    pub storage: Storage,
    /// Zero point of the input.
    pub zero_point: i32,
}

/// Consecutive outputs of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Panel {
    /// First output.
    column: usize,
    /// Outputs that exist.
    columns: usize,
    /// Vectors of outputs.
    vectors: usize,
    /// Where the weights begin among a group's.
    start: usize,
}

/// Weights of `groups` matrices, each `columns` by `depth`.
pub(crate) struct PackedWeights {
    pub groups: usize,
    /// Outputs of one group.
    pub columns: usize,
    pub storage: Storage,
    /// Words of one segment.
    pub words: usize,
    segments: usize,
    /// Of rows that tiles want copied.
    copied_segments: Vec<usize>,
    isa: Isa,
    lanes: usize,
    /// Parts that a weight is split into: 1, or 2 for low and high.
    parts: usize,
    /// Bits of the lower part.
    part_bits: u32,
    panels: Vec<Panel>,
    /// `[group][panel][segment][word][vector][part][lane]`.
    weights: AlignedWords,
    /// Biases of whole vectors, zero point folded in: `[group][vector][lane]`.
    bias: Vec<i64>,
    narrow_bias: Vec<i32>,
    /// Words over which 32 bits hold every sum.
    stretch: usize,
    /// Whether 32 bits hold every accumulator.
    is_narrow: bool,
    /// Of narrow accumulators, where their rounding has a vector form.
    epilogue: Option<Epilogue>,
    /// Of accumulators in two parts, likewise.
    split_epilogue: Option<SplitEpilogue>,
    requantizer: RowRequantizer,
}

/// Scratch memory of a product.
pub(crate) struct Sums<'a> {
    narrow: &'a mut [i32],
    wide: &'a mut [i64],
    /// Where rows are multiplied in tiles.
    tiles: Option<TileRows<'a>>,
}

impl<'a> Sums<'a> {
    /// Takes [`PRODUCT_BYTES`] from scratch memory; the rest is the caller's.
    pub fn split(scratch: &'a mut [u8]) -> (Self, &'a mut [u8]) {
        let (wide, scratch) = scratch.split_at_mut(BLOCK_SUMS * 8);
        let (narrow, scratch) = scratch.split_at_mut(BLOCK_SUMS * 4);
        let (narrow, wide) = (bytemuck::cast_slice_mut(narrow), bytemuck::cast_slice_mut(wide));
        (Self { narrow, wide, tiles: None }, scratch)
    }

    /// Multiplies in tiles from here on, if the instruction set has them for these weights; copies of
    /// rows go to `copies`, see [`PackedWeights::copied_bytes`].
    pub fn with_tiles(self, cpu: Cpu, weights: &'a PackedWeights, copies: &'a mut [u8]) -> Self {
        let (segments, words) = (&weights.copied_segments[..], weights.words);
        let tiles = weights.suit_tiles().then(|| Tiles::configure(cpu, words)).flatten();
        let tiles = tiles.map(|tiles| TileRows::new(tiles, segments, words, copies));
        Self { tiles, ..self }
    }
}

/// Words of each segment, and the segments, that are summed without widening.
struct Stretch {
    segments: std::ops::Range<usize>,
    words: std::ops::Range<usize>,
}

impl PackedWeights {
    /// Packs for an instruction set, and proves which sums fit 32 bits.
    pub fn new(isa: Isa, source: &WeightSource<'_>) -> Self {
        let WeightSource { groups, columns, depth, segments, storage, .. } = *source;
        let segment = depth / segments;
        let words = segment.div_ceil(storage.word.elements());
        let lanes = isa.lanes();
        let vectors = columns.div_ceil(lanes);
        let mut bias = vec![0; groups * vectors * lanes];
        let mut bound = 0;
        for output in 0..groups * columns {
            let weights = &source.weights[output * depth..(output + 1) * depth];
            let (folded, magnitude) =
                fold(storage, source.zero_point, source.bias[output], weights);
            bias[output / columns * vectors * lanes + output % columns] = folded;
            bound = bound.max(magnitude);
        }
        let is_narrow = bound <= i32::MAX as u64;
        let channel = |group, lane: usize| group * columns + lane.min(columns - 1);
        let channels: Vec<usize> = (0..groups)
            .flat_map(|group| (0..vectors * lanes).map(move |lane| channel(group, lane)))
            .collect();
        let (requantizer, output_type) = (source.requantizer, source.output_type);
        let (parts, stretch) = if is_narrow { (1, usize::MAX) } else { split(source, words) };
        let has_form = SplitEpilogue::has_form(requantizer, output_type);
        let split_epilogue = (parts == 2 && has_form).then(|| {
            (1..=MAX_BITS).rev().find_map(|bits| {
                let low = |weights| low_bound(storage, weights, bits);
                let low_bound = source.weights.chunks_exact(depth).map(low).max()?;
                let (channels, biases) = (&channels[..], &bias[..]);
                let sums = SplitSums { bits, bound, low_bound, channels, biases };
                Some((bits, SplitEpilogue::new(requantizer, output_type, sums, lanes)?))
            })
        });
        let (part_bits, split_epilogue) = split_epilogue.flatten().unzip();
        let panels = plan_panels(isa, columns, parts, segments * words);
        let epilogue = is_narrow
            .then(|| Epilogue::new(requantizer, output_type, bound, &channels, lanes))
            .flatten();
        let mut packed = Self {
            groups,
            columns,
            storage,
            words,
            segments,
            copied_segments: TileRows::segments(segments, words),
            isa,
            lanes,
            parts,
            part_bits: part_bits.unwrap_or(MAX_BITS),
            panels,
            weights: AlignedWords::zeroed(groups * vectors * lanes * parts * segments * words),
            narrow_bias: bias.iter().map(|&bias| bias as i32).collect(),
            bias,
            stretch,
            is_narrow,
            epilogue,
            split_epilogue,
            requantizer: RowRequantizer::new(requantizer, bound),
        };
        for output in 0..groups * columns {
            let weights = &source.weights[output * depth..(output + 1) * depth];
            packed.pack(output / columns, output % columns, segment, weights);
        }
        packed
    }

    fn pack(&mut self, group: usize, column: usize, segment: usize, weights: &[i16]) {
        let Some(panel) = self.panels.iter().rfind(|panel| panel.column <= column).copied() else {
            return;
        };
        let elements = self.storage.word.elements();
        let group_words = self.weights.words().len() / self.groups;
        let (vector, lane) =
            ((column - panel.column) / self.lanes, (column - panel.column) % self.lanes);
        let stride = panel.vectors * self.parts * self.lanes;
        for (index, weights) in weights.chunks_exact(segment).enumerate() {
            for (word, weights) in weights.chunks(elements).enumerate() {
                let step = group * group_words + panel.start + (index * self.words + word) * stride;
                for part in 0..self.parts {
                    let place = step + (vector * self.parts + part) * self.lanes + lane;
                    let element = |&weight: &i16| match self.parts {
                        1 => weight,
                        _ => parts_of(weight, self.part_bits)[part],
                    };
                    let word = pack_word(self.storage.word, weights.iter().map(element));
                    self.weights.words_mut()[place] = word;
                }
            }
        }
    }

    /// Bytes of the copies of rows that tiles need where neighbours may be unequally far apart.
    pub fn copied_bytes(&self) -> usize {
        if self.suit_tiles() { TileRows::copied_bytes(self.segments, self.words) } else { 0 }
    }

    fn suit_tiles(&self) -> bool {
        self.isa == Isa::Amx && self.is_narrow && self.storage.word == Word::Bytes
    }

    /// Outputs of all groups.
    pub fn outputs(&self) -> usize {
        self.groups * self.columns
    }

    /// Number of panels of one group.
    pub fn panels(&self) -> usize {
        self.panels.len()
    }

    /// First output of a panel of a group; the number of outputs for the one after the last.
    pub fn first_column(&self, panel: usize) -> usize {
        self.panels.get(panel).map_or(self.columns, |panel| panel.column)
    }

    /// The panel that an output of a group begins; the number of panels for the number of outputs.
    pub fn panel_at(&self, column: usize) -> usize {
        self.panels.iter().take_while(|panel| panel.column < column).count()
    }

    /// Multiplies rows with the panels `first..end` of a group. The target's `start` is the first
    /// output of the first panel in the first row.
    pub fn multiply(
        &self,
        cpu: Cpu,
        rows: Rows<'_>,
        (group, first, end): (usize, usize, usize),
        sums: &mut Sums<'_>,
        target: Target<'_>,
    ) {
        let start = target.start;
        for (block, starts) in rows.starts.chunks(BLOCK_ROWS).enumerate() {
            let rows = Rows { starts, ..rows };
            let is_tiled = sums.tiles.as_mut().is_some_and(|tiles| tiles.take(rows));
            for panel in &self.panels[first..end] {
                let column = panel.column - self.panels[first].column;
                let target = Target {
                    element_type: target.element_type,
                    bytes: &mut *target.bytes,
                    start: start + block * BLOCK_ROWS * target.stride + column,
                    stride: target.stride,
                };
                self.block(cpu, rows, (group, panel), (sums, is_tiled), target);
            }
        }
    }

    fn block(
        &self,
        cpu: Cpu,
        rows: Rows<'_>,
        (group, panel): (usize, &Panel),
        (sums, is_tiled): (&mut Sums<'_>, bool),
        target: Target<'_>,
    ) {
        let outputs = panel.vectors * self.lanes;
        let bias = group * self.columns.next_multiple_of(self.lanes) + panel.column;
        let first = bias / self.lanes;
        let entries = Entries::From(group * self.columns + panel.column);
        let count = rows.starts.len();
        let layout = Layout { rows: count, columns: panel.columns, stride: outputs };
        let whole = Stretch { segments: 0..self.segments, words: 0..self.words };
        if self.is_narrow {
            let bias = &self.narrow_bias[bias..bias + outputs];
            match &sums.tiles {
                Some(tiles) if is_tiled => {
                    let weights = self.panel(group, panel, &whole);
                    tiles.multiply(rows, (weights, panel.vectors), bias, sums.narrow);
                }
                _ => self.product(cpu, rows, (group, panel), whole, (bias, sums.narrow)),
            }
            self.close(cpu, sums.narrow, first, (layout, entries), target);
            return;
        }
        if let Some(epilogue) = &self.split_epilogue {
            self.product(cpu, rows, (group, panel), whole, (&[], sums.narrow));
            let Layout { rows, columns, stride } = layout;
            let sums = &*sums.narrow;
            cpu.run_simd(CloseSplitBody { epilogue, sums, rows, columns, first, stride, target });
            return;
        }
        let bias = &self.bias[bias..bias + outputs];
        for row in sums.wide.chunks_exact_mut(outputs).take(count) {
            row.copy_from_slice(bias);
        }
        self.for_each_stretch(|stretch| {
            self.product(cpu, rows, (group, panel), stretch, (&[], sums.narrow));
            let wide = &mut sums.wide[..count * outputs];
            let (lanes, parts) = (self.lanes, self.parts);
            cpu.run(WidenBody { narrow: sums.narrow, wide, lanes, parts });
        });
        self.requantizer.finish(cpu, sums.wide, layout, entries, target);
    }

    /// Requantizes narrow accumulators, whose first vector has this index.
    fn close(
        &self,
        cpu: Cpu,
        sums: &[i32],
        first: usize,
        (layout, entries): (Layout, Entries),
        target: Target<'_>,
    ) {
        let Some(epilogue) = &self.epilogue else {
            self.requantizer.finish(cpu, sums, layout, entries, target);
            return;
        };
        let Layout { rows, columns, stride } = layout;
        cpu.run_simd(CloseBody { epilogue, sums, rows, columns, first, stride, target });
    }

    fn for_each_stretch(&self, mut body: impl FnMut(Stretch)) {
        if self.words <= self.stretch {
            let step = (self.stretch / self.words.max(1)).max(1);
            for begin in (0..self.segments).step_by(step) {
                let segments = begin..self.segments.min(begin + step);
                body(Stretch { segments, words: 0..self.words });
            }
            return;
        }
        for segment in 0..self.segments {
            for begin in (0..self.words).step_by(self.stretch) {
                let words = begin..self.words.min(begin + self.stretch);
                body(Stretch { segments: segment..segment + 1, words });
            }
        }
    }

    fn product(
        &self,
        cpu: Cpu,
        rows: Rows<'_>,
        (group, panel): (usize, &Panel),
        stretch: Stretch,
        (bias, sums): (&[i32], &mut [i32]),
    ) {
        let weights = self.panel(group, panel, &stretch);
        cpu.run_simd(ProductBody {
            word: self.storage.word,
            rows: Rows { segments: &rows.segments[stretch.segments], ..rows },
            words: stretch.words,
            panel: weights,
            vectors: panel.vectors * self.parts,
            bias,
            sums,
        });
    }

    /// Weights of a panel of a group.
    fn panel(&self, group: usize, panel: &Panel, stretch: &Stretch) -> &[i32] {
        let step = panel.vectors * self.parts * self.lanes;
        let group_words = self.weights.words().len() / self.groups;
        let begin = stretch.segments.start * self.words + stretch.words.start;
        let count = stretch.segments.len() * stretch.words.len();
        let begin = group * group_words + panel.start + begin * step;
        &self.weights.words()[begin..begin + count * step]
    }
}

/// Parts of a weight, and the words of a segment over which 32 bits hold the sums of one.
fn split(source: &WeightSource<'_>, words: usize) -> (usize, usize) {
    let stretch = |weight: u64| {
        let products = source.storage.word.elements() as u64 * magnitude(source.storage);
        (i32::MAX as u64 / (products * weight).max(1)) as usize
    };
    let greatest = source.weights.iter().map(|weight| weight.unsigned_abs()).max();
    let whole = stretch(greatest.unwrap_or(0).into());
    if whole >= SHORT_STRETCH.min(source.segments * words) {
        return (1, whole.max(1));
    }
    // Parts of 8 bits are at most 128 in magnitude.
    (2, stretch(128))
}

/// Panels of equal width but for the last, so that equally many of them are equally many outputs.
fn plan_panels(isa: Isa, columns: usize, parts: usize, words: usize) -> Vec<Panel> {
    let lanes = isa.lanes();
    let vectors = columns.div_ceil(lanes);
    let count = vectors.div_ceil(panel_vectors(isa.registers()) / parts);
    let width = vectors.div_ceil(count);
    let panel = |first: usize| {
        let (column, vectors) = (first * lanes, width.min(vectors - first));
        let columns = (vectors * lanes).min(columns - column);
        Panel { column, columns, vectors, start: column * parts * words }
    };
    (0..vectors).step_by(width).map(panel).collect()
}

/// Elements of a word.
fn pack_word(word: Word, elements: impl Iterator<Item = i16>) -> i32 {
    let bits = word.element_bytes() * 8;
    let place =
        |(index, element): (usize, i16)| (element as u32 & ((1 << bits) - 1)) << (index * bits);
    elements.enumerate().map(place).fold(0, |packed, element| packed | element) as i32
}

/// Adds 32-bit sums, of one part or of two, to 64-bit sums.
struct WidenBody<'a> {
    narrow: &'a [i32],
    wide: &'a mut [i64],
    lanes: usize,
    parts: usize,
}

impl Body for WidenBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { narrow, wide, lanes, parts } = self;
        if parts == 1 {
            for (sum, &narrow) in wide.iter_mut().zip(narrow) {
                *sum += i64::from(narrow);
            }
            return;
        }
        let vectors = wide.chunks_exact_mut(lanes).zip(narrow.chunks_exact(2 * lanes));
        for (wide, narrow) in vectors {
            let (low, high) = narrow.split_at(lanes);
            for ((sum, &low), &high) in wide.iter_mut().zip(low).zip(high) {
                *sum += i64::from(low) + (i64::from(high) << 8);
            }
        }
    }
}
