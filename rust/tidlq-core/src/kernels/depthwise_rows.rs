//! The inner loop of depthwise convolution of bytes with windows of 3 by 3: a word per row of the
//! window, so that output lines below each other share the rows that they have in common.

#![expect(clippy::needless_range_loop, reason = "iterators may keep sums out of registers")]

use super::depthwise_bytes::DepthwiseBytesKernel;
use super::epilogue::{
    ByDoubledTwice, ByFloat, ByHighProduct, ByNearest, ByProduct, ByProductTwice, ByShift,
    ByUpperTwice, Rule,
};
use super::vector_rounding::VectorRounding;
use crate::isa::simd::{Simd, SimdBody};

/// Rows and columns of a window.
const TAPS: usize = 3;

/// Input lines that two output lines see at most.
const MAX_ROWS: usize = TAPS + 1;

/// One output line, or two of which each sees the line below what the other sees.
pub(crate) struct RowsBody<'a> {
    pub kernel: &'a DepthwiseBytesKernel,
    /// Begins where the first window does.
    pub input: &'a [u8],
    /// Where the lines of the windows begin, and their columns.
    pub rows: [usize; MAX_ROWS],
    pub columns: [usize; TAPS],
    /// Whole lines.
    pub output: &'a mut [u8],
}

impl SimdBody for RowsBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.kernel.epilogue.rounding {
            VectorRounding::Shift => self.lines::<S, ByShift>(simd),
            VectorRounding::Float => self.lines::<S, ByFloat>(simd),
            VectorRounding::Nearest => self.lines::<S, ByNearest>(simd),
            VectorRounding::High => self.lines::<S, ByHighProduct>(simd),
            VectorRounding::Fixed => self.lines::<S, ByProduct>(simd),
            VectorRounding::Twice => self.lines::<S, ByProductTwice>(simd),
            VectorRounding::TwiceUpward => self.lines::<S, ByUpperTwice>(simd),
            VectorRounding::TwiceDoubled => self.lines::<S, ByDoubledTwice>(simd),
        }
    }
}

impl RowsBody<'_> {
    #[inline(always)]
    fn lines<S: Simd, R: Rule>(mut self, simd: S) {
        for phase in 0..self.kernel.period {
            if self.output.len() > self.kernel.line() {
                self.phase::<S, R, 2, MAX_ROWS>(simd, phase);
            } else {
                self.phase::<S, R, 1, TAPS>(simd, phase);
            }
        }
    }

    /// The blocks of a phase, which share weights and parameters.
    #[inline(always)]
    fn phase<S: Simd, R: Rule, const LINES: usize, const ROWS: usize>(
        &mut self,
        simd: S,
        phase: usize,
    ) {
        let kernel = self.kernel;
        let (block, begin, sites) = (4 * S::LANES, phase * kernel.block, kernel.sites(phase));
        if sites == 0 {
            return;
        }
        let mut weights = [[simd.splat(0); 4]; TAPS];
        let mut bias = [simd.splat(0); 4];
        let mut closings = [kernel.epilogue.closing::<S, R>(simd, phase * 4); 4];
        for vector in 0..4 {
            let lane = phase * block + vector * S::LANES;
            bias[vector] = simd.load(&kernel.bias.words()[lane..]);
            closings[vector] = kernel.epilogue.closing::<S, R>(simd, phase * 4 + vector);
            for row in 0..TAPS {
                let place = (phase * TAPS + row) * block + vector * S::LANES;
                weights[row][vector] = simd.load(&kernel.weights.words()[place..]);
            }
        }
        // Slices of one length, so that one comparison is enough for all of them.
        let length = (sites - 1) * kernel.input_step + block;
        let mut taps: [[&[u8]; TAPS]; ROWS] = [[&[]; TAPS]; ROWS];
        for row in 0..ROWS {
            for column in 0..TAPS {
                let start = self.rows[row] + self.columns[column] + begin;
                taps[row][column] = &self.input[start..start + length];
            }
        }
        let limits = kernel.epilogue.byte_limits(simd);
        let (line_bytes, input_step, output_step) =
            (kernel.line(), kernel.input_step, kernel.output_step);
        let (is_line, channels) = (kernel.is_line, kernel.channels);
        let (mut start, mut place) = (0, 0);
        for _ in 0..sites {
            // What follows needs no comparison of its own.
            if length.checked_sub(start).is_none_or(|rest| rest < block) {
                return;
            }
            let mut acc = [bias; LINES];
            for row in 0..ROWS {
                let mut bytes = [simd.splat(0); TAPS];
                for column in 0..TAPS {
                    bytes[column] = simd.load_bytes(&taps[row][column][start..]);
                }
                let [first, second, third] = bytes;
                let words = simd.interleave([first, second, third, third]);
                for line in 0..LINES {
                    if row >= line && row - line < TAPS {
                        for vector in 0..4 {
                            let weights = weights[row - line][vector];
                            let sum = acc[line][vector];
                            acc[line][vector] = simd.dot4(sum, words[vector], weights);
                        }
                    }
                }
            }
            // Of a line all that is left; of a position, its channels.
            let end = if is_line { line_bytes } else { place + channels };
            let end = end.min(place + begin + block);
            for line in 0..LINES {
                for vector in 0..4 {
                    acc[line][vector] = R::round(simd, acc[line][vector], &closings[vector]);
                }
                let output = &mut self.output[line * line_bytes..][place + begin..end];
                simd.pack(acc[line], limits, output);
            }
            (start, place) = (start + input_step, place + output_step);
        }
    }
}
