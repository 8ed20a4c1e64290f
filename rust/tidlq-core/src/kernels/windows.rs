//! The windows of a convolution as rows of the matrix product: in the input where it lies, or in a
//! copy of some of its lines that is padded and stored as the product reads it.

use std::ops::Range;

use bytemuck::{cast_slice, cast_slice_mut};

use super::gemm::Storage;
use super::product::{BLOCK_ROWS, Word};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};
use crate::network::{Map2d, Window};

/// Bytes of copied lines that a chunk aims at: what stays in the second-level cache.
const CHUNK_BYTES: usize = 1 << 17;

/// Output positions that a chunk aims at.
const CHUNK_POSITIONS: usize = 2 * BLOCK_ROWS;

/// A vector may reach beyond the last line, by less than this.
const SLACK: usize = 256;

/// Where rows are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// In the input.
    Direct,
    /// In a copy of whole lines, in which the upper bit of every element is the other one. That costs
    /// less than changing words as they are multiplied, which each panel of weights would do again.
    Flipped,
    /// In a copy, padded.
    Copied,
}

/// Windows over an input.
pub(crate) struct Windows {
    window: Window,
    input: Map2d,
    /// Height and width of the output.
    pub height: usize,
    pub width: usize,
    input_type: ElementType,
    storage: Storage,
    zero_point: i32,
    access: Access,
    /// Bytes of a stored line and of a stored pixel.
    line_bytes: usize,
    pixel_bytes: usize,
    /// Distance of the groups' first elements.
    group_bytes: usize,
    segments: Vec<usize>,
}

/// What [`Windows::new`] is made of.
#[derive(Clone, Copy)]
pub(crate) struct WindowSource {
    pub window: Window,
    pub input: Map2d,
    pub output: Map2d,
    pub groups: usize,
    pub input_type: ElementType,
    pub storage: Storage,
    pub zero_point: i32,
}

impl WindowSource {
    /// Rows of `depth` elements.
    pub fn of_rows(rows: usize, depth: usize, of: (ElementType, Storage, i32)) -> Self {
        let (input_type, storage, zero_point) = of;
        let window = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0, 0] };
        let input = Map2d { count: 1, height: rows, width: 1, channels: depth };
        Self { window, input, output: input, groups: 1, input_type, storage, zero_point }
    }

    /// The same with a pixel per line, where lines do not matter.
    fn flattened(self) -> Self {
        let Window { kernel, stride, pad, .. } = self.window;
        let Map2d { count, height, width, channels } = self.input;
        let is_pointwise = (kernel, stride, pad) == ([1, 1], [1, 1], [0, 0])
            && (height, width) == (self.output.height, self.output.width);
        if !is_pointwise {
            return self;
        }
        let rows = count * height * width;
        let input = Map2d { count: 1, height: rows, width: 1, channels };
        let output = Map2d { channels: self.output.channels, ..input };
        Self { input, output, ..self }
    }

    /// Equal parts of a row that are apart in the input.
    pub fn segments(&self) -> usize {
        let [height, width] = self.window.kernel;
        if self.is_line_contiguous() { height } else { height * width }
    }

    fn is_line_contiguous(&self) -> bool {
        self.groups == 1 && (self.window.dilation[1] == 1 || self.window.kernel[1] == 1)
    }

    /// Elements of a segment.
    fn segment(&self) -> usize {
        let channels = self.input.channels / self.groups;
        if self.is_line_contiguous() { self.window.kernel[1] * channels } else { channels }
    }

    /// Input lines or columns that the windows of `positions` neighbours span.
    fn span(&self, axis: usize, positions: usize) -> usize {
        let Window { kernel, stride, dilation, .. } = self.window;
        (positions.max(1) - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
    }

    fn access(&self) -> Access {
        let is_inside = self.window.pad == [0, 0]
            && self.span(0, self.output.height) <= self.input.height
            && self.span(1, self.output.width) <= self.input.width;
        let is_whole = self.segment().is_multiple_of(self.storage.word.elements());
        match self.storage.keeps_width(self.input_type) {
            true if is_inside && is_whole && self.storage.offset == 0 => Access::Direct,
            true if is_inside && is_whole => Access::Flipped,
            _ => Access::Copied,
        }
    }
}

impl Windows {
    /// Decides where rows are.
    pub fn new(source: &WindowSource) -> Self {
        let source = source.flattened();
        let WindowSource { window, input, output, storage, .. } = source;
        let access = source.access();
        let width = match access {
            Access::Direct | Access::Flipped => input.width,
            Access::Copied => source.span(1, output.width),
        };
        let element_bytes = storage.word.element_bytes();
        let pixel_bytes = input.channels * element_bytes;
        let line_bytes = width * pixel_bytes;
        let [kernel_height, kernel_width] = window.kernel;
        let columns = if source.is_line_contiguous() { 1 } else { kernel_width };
        let segments = (0..kernel_height * columns)
            .map(|tap| (tap / columns * window.dilation[0], tap % columns * window.dilation[1]))
            .map(|(line, column)| line * line_bytes + column * pixel_bytes)
            .collect();
        Self {
            window,
            input,
            height: output.count * output.height,
            width: output.width,
            input_type: source.input_type,
            storage,
            zero_point: source.zero_point,
            access,
            line_bytes,
            pixel_bytes,
            group_bytes: pixel_bytes / source.groups,
            segments,
        }
    }

    /// See [`super::product::Rows`].
    pub fn segments(&self) -> &[usize] {
        &self.segments
    }

    /// Whether the rows of all neighbours are equally far apart.
    pub const fn are_equally_apart(&self) -> bool {
        self.width == 1
    }

    /// Output lines of an image.
    const fn image_lines(&self) -> usize {
        self.height / self.input.count
    }

    /// Input lines that the windows of `lines` output lines span.
    const fn span(&self, lines: usize) -> usize {
        let Window { kernel, stride, dilation, .. } = self.window;
        (lines - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1
    }

    /// Output lines that a chunk aims at.
    pub fn chunk_lines(&self) -> usize {
        let lines = CHUNK_POSITIONS.div_ceil(self.width).max(self.window.kernel[0]);
        let extra = self.span(1) - self.window.stride[0].min(self.span(1));
        let room = (CHUNK_BYTES / self.line_bytes.max(1)).saturating_sub(extra);
        let fitting = (room / self.window.stride[0]).max(1);
        if self.access == Access::Direct { lines } else { lines.min(fitting) }
    }

    /// Bytes of copied lines of a chunk.
    pub fn scratch_bytes(&self) -> usize {
        match self.access {
            Access::Direct => 0,
            Access::Flipped | Access::Copied => {
                let lines = self.chunk_lines().min(self.image_lines());
                (self.span(lines) * self.line_bytes + SLACK).next_multiple_of(64)
            }
        }
    }

    /// Calls `body(position, rows)` for the stretches of some output lines that lie in one image:
    /// their first position counted from `lines.start`, and how to find their rows.
    pub fn for_each_image(
        &self,
        cpu: Cpu,
        lines: Range<usize>,
        (input, scratch): (&[u8], &mut [u8]),
        mut body: impl FnMut(usize, ImageRows<'_>),
    ) {
        let height = self.image_lines();
        let mut begin = lines.start;
        while begin < lines.end {
            let (image, y) = (begin / height, begin % height);
            let count = (lines.end - begin).min(height - y);
            let place = (begin - lines.start) * self.width;
            let image_bytes = self.input.image() * self.input_type.size_bytes();
            let image = &input[image * image_bytes..(image + 1) * image_bytes];
            let bytes = match self.access {
                Access::Direct => &image[y * self.window.stride[0] * self.line_bytes..],
                Access::Flipped => {
                    let begin = y * self.window.stride[0] * self.line_bytes;
                    let lines = &image[begin..][..self.span(count) * self.line_bytes];
                    cpu.run(FlipBody { word: self.storage.word, lines, scratch });
                    &*scratch
                }
                Access::Copied => {
                    cpu.run(CopyBody { windows: self, image, lines: y..y + count, scratch });
                    &*scratch
                }
            };
            body(place, ImageRows { windows: self, bytes, positions: count * self.width });
            begin += count;
        }
    }
}

/// Rows of consecutive output positions that begin a line.
pub(crate) struct ImageRows<'a> {
    windows: &'a Windows,
    pub bytes: &'a [u8],
    pub positions: usize,
}

impl ImageRows<'_> {
    /// Where the rows of consecutive positions begin.
    pub fn starts(&self, first: usize, group: usize, starts: &mut [usize]) {
        let windows = self.windows;
        let (mut y, mut x) = (first / windows.width, first % windows.width);
        for start in starts {
            let line = y * windows.window.stride[0] * windows.line_bytes;
            let column = x * windows.window.stride[1] * windows.pixel_bytes;
            *start = line + column + group * windows.group_bytes;
            x += 1;
            if x == windows.width {
                (y, x) = (y + 1, 0);
            }
        }
    }
}

/// Copies the lines that the windows of some output lines see, padding included.
struct CopyBody<'a> {
    windows: &'a Windows,
    image: &'a [u8],
    lines: Range<usize>,
    scratch: &'a mut [u8],
}

impl Body for CopyBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_element!(self.windows.input_type, T => self.copy::<T>(), float => {});
    }
}

impl CopyBody<'_> {
    #[inline(always)]
    fn copy<T: Element>(self) {
        let Self { windows, image, lines, scratch } = self;
        let Windows { window, input, .. } = windows;
        let image = cast_slice::<u8, T>(image);
        let first = window.coordinate(0, lines.start, 0);
        let width = windows.line_bytes / windows.pixel_bytes;
        let before = window.pad[1].min(width);
        let inside = (width - before).min(input.width);
        let stored = scratch.chunks_exact_mut(windows.line_bytes);
        for (offset, stored) in stored.take(windows.span(lines.len())).enumerate() {
            let y = first + offset as isize;
            if y < 0 || y >= input.height as isize {
                fill(windows, stored);
                continue;
            }
            let line = input.width * input.channels;
            let line = &image[y as usize * line..][..inside * input.channels];
            let (left, rest) = stored.split_at_mut(before * windows.pixel_bytes);
            let (middle, right) = rest.split_at_mut(inside * windows.pixel_bytes);
            fill(windows, left);
            store(windows.storage.word, line, middle);
            fill(windows, right);
        }
    }
}

/// Copies lines, changing the upper bit of every element.
struct FlipBody<'a> {
    word: Word,
    lines: &'a [u8],
    scratch: &'a mut [u8],
}

impl Body for FlipBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let stored = &mut self.scratch[..self.lines.len()];
        match self.word {
            Word::Bytes => {
                for (stored, byte) in stored.iter_mut().zip(self.lines) {
                    *stored = byte ^ 0x80;
                }
            }
            Word::Halves => {
                let lines = cast_slice::<u8, u16>(self.lines);
                for (stored, half) in cast_slice_mut::<u8, u16>(stored).iter_mut().zip(lines) {
                    *stored = half ^ 0x8000;
                }
            }
        }
    }
}

/// Fills with the zero point.
#[inline(always)]
fn fill(windows: &Windows, stored: &mut [u8]) {
    let zero = windows.zero_point - windows.storage.offset;
    match windows.storage.word {
        Word::Bytes => stored.fill(zero as u8),
        Word::Halves => cast_slice_mut::<u8, i16>(stored).fill(zero as i16),
    }
}

/// Stores elements as the product reads them.
#[inline(always)]
fn store<T: Element>(word: Word, elements: &[T], stored: &mut [u8]) {
    match word {
        Word::Bytes => {
            let flip = if T::LOWEST < 0 { 0x80 } else { 0 };
            let elements = &elements[..stored.len()];
            for place in 0..stored.len() {
                stored[place] = elements[place].widen() as u8 ^ flip;
            }
        }
        Word::Halves => centre(elements, cast_slice_mut(stored)),
    }
}

/// Centres elements into a row.
#[inline(always)]
pub(crate) fn centre<T: Element>(elements: &[T], row: &mut [i16]) {
    let elements = &elements[..row.len()];
    for place in 0..row.len() {
        row[place] = elements[place].centre();
    }
}
