//! Depthwise convolution of 8 bits with 8 bits, by products of four taps at a time.
//!
//! Taps are interleaved so that a lane holds the same channel of four taps. Blocks of bytes are
//! either channels of one output position, or, where neighbouring outputs are neighbouring inputs, a
//! stretch of an output line whatever its channels: then no byte of a vector is idle.

#![expect(clippy::needless_range_loop, reason = "iterators may keep sums out of registers")]

use super::aligned::AlignedWords;
use super::depthwise::DepthwiseSource;
use super::depthwise_rows::RowsBody;
use super::epilogue::{
    ByDoubledTwice, ByFloat, ByHighProduct, ByNearest, ByProduct, ByProductTwice, ByShift,
    ByUpperTwice, Epilogue, Rule,
};
use super::gemm::Storage;
use super::product::Word;
use super::vector_rounding::VectorRounding;
use super::windows::{WindowSource, Windows};
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::isa::simd::{Simd, SimdBody};
use crate::isa::{Cpu, Isa};

/// Taps of a word.
const TAPS: usize = 4;

/// A depthwise convolution of bytes.
pub(crate) struct DepthwiseBytesKernel {
    windows: Windows,
    pub channels: usize,
    /// Bytes of a block.
    pub block: usize,
    /// Blocks until channels repeat.
    pub period: usize,
    /// Distances of the blocks of one phase of the period, in the input and in the output.
    pub input_step: usize,
    pub output_step: usize,
    /// Bytes of an output line that a run of blocks fills, and the runs' distance.
    pub is_line: bool,
    /// `[block][word][vector][lane]`.
    pub weights: AlignedWords,
    /// `[block][vector][lane]`.
    pub bias: AlignedWords,
    /// Where the taps of each word are; the last one repeats, against weights of zero.
    words: Vec<[usize; TAPS]>,
    /// Whether a word is a row of a window of 3 by 3.
    has_rows: bool,
    /// Output lines that share input lines.
    lines: usize,
    pub epilogue: Epilogue,
}

impl DepthwiseBytesKernel {
    /// Packs; `None` where sums need 64 bits, or an output or rounding has no vector form.
    pub fn new(isa: Isa, source: &DepthwiseSource<'_>, weights: ElementType) -> Option<Self> {
        let storage = Storage::of(source.input_type, weights);
        let is_byte = storage.word == Word::Bytes && source.output_type.size_bytes() == 1;
        // The taps of a single channel are neighbours, which `Windows` joins into one segment.
        if !is_byte || source.output.channels == 1 {
            return None;
        }
        let (lanes, channels) = (isa.lanes(), source.output.channels);
        let taps = source.window.kernel[0] * source.window.kernel[1];
        let zero = i64::from(source.zero_point - storage.offset);
        let (mut bias, mut bound) = (source.bias.to_vec(), 0);
        for (bias, filter) in bias.iter_mut().zip(source.weights.chunks_exact(taps)) {
            let absolute: u64 = filter.iter().map(|weight| u64::from(weight.unsigned_abs())).sum();
            // An input less its zero point is below 256 in magnitude.
            bound = bound.max(absolute * 255 + bias.unsigned_abs());
            *bias -= zero * filter.iter().map(|&weight| i64::from(weight)).sum::<i64>();
        }
        if bound > i32::MAX as u64 {
            return None;
        }
        let block = 4 * lanes;
        let is_line = source.window.stride[1] == 1;
        let period = if is_line { lcm(channels, block) } else { channels };
        let period = period.div_ceil(block);
        let place = |lane: usize| {
            let (vector, lane) = (lane / lanes % 4, lane / (4 * lanes) * block + lane % lanes);
            let (block_start, lane) = (lane / block * block, lane % block);
            let byte = block_start + lane / 4 * 16 + vector * 4 + lane % 4;
            if is_line { byte % channels } else { byte.min(channels - 1) }
        };
        let order: Vec<usize> = (0..period * block).map(place).collect();
        let (requantizer, to) = (source.requantizer, source.output_type);
        let epilogue = Epilogue::new(requantizer, to, bound, &order, lanes)?;
        let has_rows = source.window.kernel == [3, 3];
        let word_taps = if has_rows { 3 } else { TAPS };
        let words = taps.div_ceil(word_taps);
        let mut packed = AlignedWords::zeroed(order.len() * words);
        let mut biases = AlignedWords::zeroed(order.len());
        for (lane, &channel) in order.iter().enumerate() {
            biases.words_mut()[lane] = bias[channel] as i32;
            let (index, lane) = (lane / block, lane % block);
            for (word, taps) in
                source.weights[channel * taps..(channel + 1) * taps].chunks(word_taps).enumerate()
            {
                let mut bytes = [0; TAPS];
                for (byte, &weight) in bytes.iter_mut().zip(taps) {
                    *byte = weight as u8;
                }
                let place = (index * words + word) * block + lane;
                packed.words_mut()[place] = i32::from_le_bytes(bytes);
            }
        }
        let windows = Windows::new(&WindowSource {
            window: source.window,
            input: source.input,
            output: source.output,
            groups: channels,
            input_type: source.input_type,
            storage,
            zero_point: source.zero_point,
        });
        let word = |taps: &[usize]| std::array::from_fn(|tap| taps[tap.min(taps.len() - 1)]);
        let words = windows.segments().chunks(word_taps).map(word).collect();
        let is_next = source.window.stride[0] == 1 && source.window.dilation[0] == 1;
        let lines = if has_rows && is_next && isa.registers() >= 32 { 2 } else { 1 };
        Some(Self {
            windows,
            channels,
            block,
            period,
            input_step: if is_line { period * block } else { source.window.stride[1] * channels },
            output_step: if is_line { period * block } else { channels },
            is_line,
            weights: packed,
            bias: biases,
            words,
            has_rows,
            lines,
            epilogue,
        })
    }

    /// Bytes of an output line.
    pub const fn line(&self) -> usize {
        self.windows.width * self.channels
    }

    /// Blocks of a phase in a line.
    pub const fn sites(&self, phase: usize) -> usize {
        if self.is_line {
            self.line().saturating_sub(phase * self.block).div_ceil(self.output_step)
        } else {
            self.windows.width
        }
    }
}

/// The least common multiple.
pub(crate) const fn lcm(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}

impl Kernel for DepthwiseBytesKernel {
    fn scratch_bytes(&self) -> usize {
        self.windows.scratch_bytes()
    }

    fn ends_in_sum(&self) -> bool {
        true
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let line = self.line();
        let chunk = work.chunk(self.windows.height, 1, self.windows.chunk_lines());
        work.for_each_chunk(output, chunk * line, |index, output| {
            let first = index * chunk;
            let lines = first..first + output.len() / line;
            work.scratch.with(self.scratch_bytes(), |scratch| {
                self.lines(work.cpu, lines, inputs[0], output, scratch);
            });
            work.end(index * chunk * line, output);
        });
    }
}

impl DepthwiseBytesKernel {
    fn lines(
        &self,
        cpu: Cpu,
        lines: std::ops::Range<usize>,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut [u8],
    ) {
        self.windows.for_each_image(cpu, lines, (input, scratch), |place, image| {
            let first = place / self.windows.width * self.line();
            let output = &mut output[first..][..image.positions * self.channels];
            for (index, output) in output.chunks_mut(self.lines * self.line()).enumerate() {
                let mut start = [0];
                image.starts(index * self.lines * self.windows.width, 0, &mut start);
                let input = &image.bytes[start[0]..];
                if self.has_rows {
                    let taps = self.windows.segments();
                    let columns = [taps[0], taps[1], taps[2]];
                    // Of two lines, the second sees one line more, as far below.
                    let rows = [taps[0], taps[3], taps[6], 3 * taps[3]];
                    let body = RowsBody { kernel: self, input, rows, columns, output };
                    cpu.run_simd(body);
                } else {
                    cpu.run_simd(LineBody { kernel: self, input, output });
                }
            }
        });
    }
}

/// An output line; the input begins where the first window does.
struct LineBody<'a> {
    kernel: &'a DepthwiseBytesKernel,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl SimdBody for LineBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.kernel.epilogue.rounding {
            VectorRounding::Shift => self.line::<S, ByShift>(simd),
            VectorRounding::Float => self.line::<S, ByFloat>(simd),
            VectorRounding::Nearest => self.line::<S, ByNearest>(simd),
            VectorRounding::High => self.line::<S, ByHighProduct>(simd),
            VectorRounding::Fixed => self.line::<S, ByProduct>(simd),
            VectorRounding::Twice => self.line::<S, ByProductTwice>(simd),
            VectorRounding::TwiceUpward => self.line::<S, ByUpperTwice>(simd),
            VectorRounding::TwiceDoubled => self.line::<S, ByDoubledTwice>(simd),
        }
    }
}

impl LineBody<'_> {
    /// Blocks of one phase share weights and parameters; two are computed at a time.
    #[inline(always)]
    fn line<S: Simd, R: Rule>(mut self, simd: S) {
        let kernel = self.kernel;
        for phase in 0..kernel.period {
            let begin = phase * kernel.block;
            let count = kernel.sites(phase);
            let length = if kernel.is_line { self.output.len() } else { kernel.channels };
            let mut site = 0;
            while site < count {
                if count - site == 1 {
                    self.sites::<S, R, 1>(simd, phase, (site, begin, length));
                } else {
                    self.sites::<S, R, 2>(simd, phase, (site, begin, length));
                }
                site += 2;
            }
        }
    }

    #[inline(always)]
    fn sites<S: Simd, R: Rule, const SITES: usize>(
        &mut self,
        simd: S,
        phase: usize,
        (site, begin, length): (usize, usize, usize),
    ) {
        let kernel = self.kernel;
        let block = 4 * S::LANES;
        let mut acc = [[simd.splat(0); 4]; SITES];
        for vector in 0..4 {
            let bias = simd.load(&kernel.bias.words()[phase * block + vector * S::LANES..]);
            for offset in 0..SITES {
                acc[offset][vector] = bias;
            }
        }
        let start = site * kernel.input_step + begin;
        let first = phase * kernel.words.len() * block;
        let weights = &kernel.weights.words()[first..first + kernel.words.len() * block];
        for word in 0..kernel.words.len() {
            let taps = kernel.words[word];
            let weights = &weights[word * block..(word + 1) * block];
            for offset in 0..SITES {
                let input = &self.input[start + offset * kernel.input_step..];
                let mut bytes = [simd.splat(0); TAPS];
                for tap in 0..TAPS {
                    bytes[tap] = simd.load_bytes(&input[taps[tap]..]);
                }
                let words = simd.interleave(bytes);
                for vector in 0..4 {
                    let weights = simd.load(&weights[vector * S::LANES..]);
                    acc[offset][vector] = simd.dot4(acc[offset][vector], words[vector], weights);
                }
            }
        }
        for vector in 0..4 {
            let closing = kernel.epilogue.closing::<S, R>(simd, phase * 4 + vector);
            for offset in 0..SITES {
                let sum = acc[offset][vector];
                acc[offset][vector] = R::round(simd, sum, &closing);
            }
        }
        let limits = kernel.epilogue.byte_limits(simd);
        for offset in 0..SITES {
            let place = (site + offset) * kernel.output_step;
            // Of a line all that is left; of a position, its channels.
            let end = if kernel.is_line { length } else { place + length };
            let place = place + begin;
            let output = &mut self.output[place..end.min(place + block)];
            simd.pack(acc[offset], limits, output);
        }
    }
}
