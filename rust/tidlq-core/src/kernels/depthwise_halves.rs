//! Depthwise convolution with 16 bits on either side, by products of two taps at a time.
//!
//! As in [`super::depthwise_bytes`], taps are interleaved so that a lane holds the same channel of two
//! taps, and blocks are either channels of one output position or a stretch of an output line. Sums
//! that exceed 32 bits are two sums, with the lower and the higher parts of the weights.

#![expect(clippy::needless_range_loop, reason = "iterators may keep sums out of registers")]

use std::marker::PhantomData;

use super::aligned::AlignedWords;
use super::depthwise::DepthwiseSource;
use super::depthwise_bytes::lcm;
use super::epilogue::{
    ByDoubledTwice, ByFloat, ByHighProduct, ByNearest, ByProduct, ByProductTwice, ByShift,
    ByUpperTwice, Closing, Epilogue, Rule,
};
use super::gemm::Storage;
use super::split_epilogue::{
    SplitClosing, SplitEpilogue, SplitProduct, SplitRounding, SplitRule, SplitShift, SplitSums,
};
use super::vector_rounding::VectorRounding;
use super::weight_parts::{MAX_BITS, fold, low_bound, parts_of};
use super::windows::{WindowSource, Windows};
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::isa::simd::{MAX_LANES, Simd, SimdBody};
use crate::isa::{Cpu, Isa};

/// Taps of a word.
const TAPS: usize = 2;

/// A depthwise convolution of 16-bit numbers.
pub(crate) struct DepthwiseHalvesKernel {
    windows: Windows,
    channels: usize,
    /// Elements of a block.
    block: usize,
    /// Blocks until channels repeat.
    period: usize,
    /// Distances of the blocks of one phase of the period, in elements of input and output.
    input_step: usize,
    output_step: usize,
    /// Whether a run of blocks fills an output line.
    is_line: bool,
    /// `[block][word][part][vector][lane]`.
    weights: AlignedWords,
    /// `[block][vector][lane]`; of sums in one part.
    bias: AlignedWords,
    /// Where the taps of each word are, in bytes; the last one repeats, against a weight of zero.
    words: Vec<[usize; TAPS]>,
    ending: Ending,
    output_type: ElementType,
}

/// Requantization of sums in one part or in two.
enum Ending {
    Whole(Epilogue),
    Split(SplitEpilogue),
}

impl DepthwiseHalvesKernel {
    /// Packs; `None` where an output or rounding has no vector form, or sums are too large for one.
    pub fn new(isa: Isa, source: &DepthwiseSource<'_>) -> Option<Self> {
        let storage = Storage::halves(source.input_type);
        let channels = source.output.channels;
        // The taps of a single channel are neighbours, which `Windows` joins into one segment.
        if channels == 1 {
            return None;
        }
        let (lanes, taps) = (isa.lanes(), source.window.kernel[0] * source.window.kernel[1]);
        let block = 2 * lanes;
        let is_line = source.window.stride[1] == 1;
        let period = if is_line { lcm(channels, block) } else { channels };
        let period = period.div_ceil(block);
        let place = |index: usize| {
            let (vector, lane) = (index / lanes % 2, index % lanes);
            let element = index / block * block + lane / 4 * 8 + vector * 4 + lane % 4;
            if is_line { element % channels } else { element.min(channels - 1) }
        };
        let order: Vec<usize> = (0..period * block).map(place).collect();
        let sums = FilterSums::of(storage, source);
        let ending = sums.ending(source, storage, &order, lanes)?;
        let part_bits = match ending {
            Ending::Whole(_) => 0,
            Ending::Split(_) => MAX_BITS,
        };
        let mut bias = AlignedWords::zeroed(order.len());
        for (word, &channel) in bias.words_mut().iter_mut().zip(&order) {
            *word = sums.bias[channel] as i32;
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
        let words = windows.segments().chunks(TAPS).map(word).collect();
        Some(Self {
            windows,
            channels,
            block,
            period,
            input_step: if is_line { period * block } else { source.window.stride[1] * channels },
            output_step: if is_line { period * block } else { channels },
            is_line,
            weights: pack(source.weights, taps, &order, (lanes, part_bits)),
            bias,
            words,
            ending,
            output_type: source.output_type,
        })
    }

    /// Elements of an output line.
    const fn line(&self) -> usize {
        self.windows.width * self.channels
    }
}

/// Weights of whole blocks of channels, in two parts if the lower one has bits:
/// `[block][word][part][vector][lane]`.
fn pack(
    weights: &[i16],
    taps: usize,
    order: &[usize],
    (lanes, part_bits): (usize, u32),
) -> AlignedWords {
    let block = 2 * lanes;
    let parts = if part_bits == 0 { 1 } else { 2 };
    let words = taps.div_ceil(TAPS);
    let mut packed = AlignedWords::zeroed(order.len() * words * parts);
    for (index, &channel) in order.iter().enumerate() {
        let filter = &weights[channel * taps..(channel + 1) * taps];
        for (word, taps) in filter.chunks(TAPS).enumerate() {
            for part in 0..parts {
                let element = |tap: usize| match (taps.get(tap), parts) {
                    (None, _) => 0,
                    (Some(&weight), 1) => weight,
                    (Some(&weight), _) => parts_of(weight, part_bits)[part],
                };
                let place = (index / block * words + word) * parts + part;
                let pair = u32::from(element(0) as u16) | u32::from(element(1) as u16) << 16;
                packed.words_mut()[place * block + index % block] = pair as i32;
            }
        }
    }
    packed
}

/// What is proven of the sums of all channels.
struct FilterSums {
    /// Channel by channel, zero point folded in.
    bias: Vec<i64>,
    bound: u64,
}

impl FilterSums {
    fn of(storage: Storage, source: &DepthwiseSource<'_>) -> Self {
        let taps = source.window.kernel[0] * source.window.kernel[1];
        let filters = source.bias.iter().zip(source.weights.chunks_exact(taps));
        let (bias, bounds): (Vec<i64>, Vec<u64>) =
            filters.map(|(&bias, filter)| fold(storage, source.zero_point, bias, filter)).unzip();
        Self { bias, bound: bounds.into_iter().max().unwrap_or(0) }
    }

    /// Requantization for channels in this order.
    fn ending(
        &self,
        source: &DepthwiseSource<'_>,
        storage: Storage,
        order: &[usize],
        lanes: usize,
    ) -> Option<Ending> {
        let (requantizer, output_type) = (source.requantizer, source.output_type);
        if self.bound <= i32::MAX as u64 {
            let epilogue = Epilogue::new(requantizer, output_type, self.bound, order, lanes)?;
            return Some(Ending::Whole(epilogue));
        }
        let taps = source.window.kernel[0] * source.window.kernel[1];
        let low = |filter| low_bound(storage, filter, MAX_BITS);
        let biases: Vec<i64> = order.iter().map(|&channel| self.bias[channel]).collect();
        let sums = SplitSums {
            bits: MAX_BITS,
            bound: self.bound,
            low_bound: source.weights.chunks_exact(taps).map(low).max()?,
            channels: order,
            biases: &biases,
        };
        let epilogue = SplitEpilogue::new(requantizer, output_type, sums, lanes)?;
        Some(Ending::Split(epilogue))
    }
}

impl Kernel for DepthwiseHalvesKernel {
    fn scratch_bytes(&self) -> usize {
        self.windows.scratch_bytes()
    }

    fn ends_in_sum(&self) -> bool {
        true
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let line = self.line() * self.output_type.size_bytes();
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

impl DepthwiseHalvesKernel {
    fn lines(
        &self,
        cpu: Cpu,
        lines: std::ops::Range<usize>,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut [u8],
    ) {
        let line = self.line() * self.output_type.size_bytes();
        self.windows.for_each_image(cpu, lines, (input, scratch), |place, image| {
            let first = place / self.windows.width;
            for y in 0..image.positions / self.windows.width {
                let mut start = [0];
                image.starts(y * self.windows.width, 0, &mut start);
                let output = &mut output[(first + y) * line..(first + y + 1) * line];
                cpu.run_simd(LineBody { kernel: self, input: &image.bytes[start[0]..], output });
            }
        });
    }
}

/// How sums end, as a type, so that loops are compiled for each.
trait End {
    const PARTS: usize;
    type Closing<S: Simd>;
    fn closing<S: Simd>(simd: S, ending: &Ending, index: usize) -> Option<Self::Closing<S>>;
    fn close<S: Simd>(simd: S, sums: [S::I32; 2], closing: &Self::Closing<S>) -> S::I32;
}

struct WholeEnd<R>(PhantomData<R>);
struct SplitEnd<R>(PhantomData<R>);

impl<R: Rule> End for WholeEnd<R> {
    const PARTS: usize = 1;
    type Closing<S: Simd> = Closing<S>;

    #[inline(always)]
    fn closing<S: Simd>(simd: S, ending: &Ending, index: usize) -> Option<Closing<S>> {
        let Ending::Whole(epilogue) = ending else { return None };
        Some(epilogue.closing::<S, R>(simd, index))
    }

    #[inline(always)]
    fn close<S: Simd>(simd: S, [sum, _]: [S::I32; 2], closing: &Closing<S>) -> S::I32 {
        Epilogue::close::<S, R>(simd, sum, closing)
    }
}

impl<R: SplitRule> End for SplitEnd<R> {
    const PARTS: usize = 2;
    type Closing<S: Simd> = SplitClosing<S>;

    #[inline(always)]
    fn closing<S: Simd>(simd: S, ending: &Ending, index: usize) -> Option<SplitClosing<S>> {
        let Ending::Split(epilogue) = ending else { return None };
        Some(epilogue.closing::<S, R>(simd, index))
    }

    #[inline(always)]
    fn close<S: Simd>(simd: S, sums: [S::I32; 2], closing: &SplitClosing<S>) -> S::I32 {
        SplitEpilogue::close::<S, R>(simd, sums, closing)
    }
}

/// An output line; the input begins where the first window does.
struct LineBody<'a> {
    kernel: &'a DepthwiseHalvesKernel,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl SimdBody for LineBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match &self.kernel.ending {
            Ending::Whole(epilogue) => match epilogue.rounding {
                VectorRounding::Shift => self.line::<S, WholeEnd<ByShift>>(simd),
                VectorRounding::Float => self.line::<S, WholeEnd<ByFloat>>(simd),
                VectorRounding::Nearest => self.line::<S, WholeEnd<ByNearest>>(simd),
                VectorRounding::High => self.line::<S, WholeEnd<ByHighProduct>>(simd),
                VectorRounding::Fixed => self.line::<S, WholeEnd<ByProduct>>(simd),
                VectorRounding::Twice => self.line::<S, WholeEnd<ByProductTwice>>(simd),
                VectorRounding::TwiceUpward => self.line::<S, WholeEnd<ByUpperTwice>>(simd),
                VectorRounding::TwiceDoubled => self.line::<S, WholeEnd<ByDoubledTwice>>(simd),
            },
            Ending::Split(epilogue) => match epilogue.rounding {
                SplitRounding::Shift => self.line::<S, SplitEnd<SplitShift>>(simd),
                SplitRounding::Fixed => self.line::<S, SplitEnd<SplitProduct>>(simd),
            },
        }
    }
}

impl LineBody<'_> {
    /// Blocks of one phase share weights and parameters; several are computed at a time.
    #[inline(always)]
    fn line<S: Simd, E: End>(mut self, simd: S) {
        let kernel = self.kernel;
        for phase in 0..kernel.period {
            let begin = phase * kernel.block;
            let count = if kernel.is_line {
                kernel.line().saturating_sub(begin).div_ceil(kernel.output_step)
            } else {
                kernel.windows.width
            };
            let mut site = 0;
            while S::REGISTERS >= 32 && count - site >= 4 {
                self.sites::<S, E, 4>(simd, phase, site);
                site += 4;
            }
            while count - site >= 2 {
                self.sites::<S, E, 2>(simd, phase, site);
                site += 2;
            }
            if site < count {
                self.sites::<S, E, 1>(simd, phase, site);
            }
        }
    }

    #[inline(always)]
    fn sites<S: Simd, E: End, const SITES: usize>(&mut self, simd: S, phase: usize, site: usize) {
        let kernel = self.kernel;
        let block = 2 * S::LANES;
        let mut acc = [[[simd.splat(0); 2]; 2]; SITES];
        if E::PARTS == 1 {
            for vector in 0..2 {
                let bias = simd.load(&kernel.bias.words()[phase * block + vector * S::LANES..]);
                for offset in 0..SITES {
                    acc[offset][vector][0] = bias;
                }
            }
        }
        let start = 2 * (site * kernel.input_step + phase * block);
        let step = E::PARTS * block;
        let first = phase * kernel.words.len() * step;
        let weights = &kernel.weights.words()[first..first + kernel.words.len() * step];
        for (taps, weights) in kernel.words.iter().zip(weights.chunks_exact(step)) {
            let mut loaded = [[simd.splat(0); 2]; 2];
            for part in 0..E::PARTS {
                for vector in 0..2 {
                    loaded[vector][part] = simd.load(&weights[(part * 2 + vector) * S::LANES..]);
                }
            }
            for offset in 0..SITES {
                let input = &self.input[start + 2 * offset * kernel.input_step..];
                let mut halves = [simd.splat(0); TAPS];
                for tap in 0..TAPS {
                    halves[tap] = simd.load_bytes(&input[taps[tap]..]);
                }
                let words = simd.interleave_halves(halves);
                for vector in 0..2 {
                    for part in 0..E::PARTS {
                        let acc = &mut acc[offset][vector][part];
                        *acc = simd.dot2(*acc, words[vector], loaded[vector][part]);
                    }
                }
            }
        }
        let mut closed = [[simd.splat(0); 2]; SITES];
        for vector in 0..2 {
            let Some(closing) = E::closing(simd, &kernel.ending, phase * 2 + vector) else {
                return;
            };
            for offset in 0..SITES {
                closed[offset][vector] = E::close(simd, acc[offset][vector], &closing);
            }
        }
        for offset in 0..SITES {
            self.store(simd, phase, site + offset, closed[offset]);
        }
    }

    /// Writes a block, or as much of it as its line or position has.
    #[inline(always)]
    fn store<S: Simd>(&mut self, simd: S, phase: usize, site: usize, closed: [S::I32; 2]) {
        let kernel = self.kernel;
        let (block, size) = (2 * S::LANES, kernel.output_type.size_bytes());
        let begin = site * kernel.output_step;
        let end = if kernel.is_line { kernel.line() } else { begin + kernel.channels };
        let begin = begin + phase * block;
        let output = &mut self.output[begin * size..end.min(begin + block) * size];
        let is_signed = matches!(kernel.output_type, ElementType::S8 | ElementType::S16);
        if output.len() == 2 * block {
            simd.pack_halves(closed, is_signed, output);
            return;
        }
        let mut whole = [0; 4 * MAX_LANES];
        simd.pack_halves(closed, is_signed, &mut whole);
        if size == 2 {
            output.copy_from_slice(&whole[..output.len()]);
            return;
        }
        for (byte, half) in output.iter_mut().zip(whole.chunks_exact(2)) {
            *byte = half[0];
        }
    }
}
