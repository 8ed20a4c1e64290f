//! PRelu: positive and negative inputs are requantized by different parameters.

use super::block::{BLOCK, load, store};
use super::requantize::{Entries, RowRequantizer};
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::isa::Body;

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 15;

/// PRelu with one slope, or one per channel.
pub(crate) struct PReluKernel {
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub zero_point: i32,
    /// One slope or one per channel.
    pub slope: Vec<i16>,
    pub positive: RowRequantizer,
    pub negative: RowRequantizer,
}

impl Kernel for PReluKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let unit = self.slope.len().max(64);
        let chunk = work.chunk(output.len() / size, unit, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            let first = index * chunk;
            work.cpu.run(PReluBody { kernel: self, first, input: inputs[0], output });
        });
    }
}

struct PReluBody<'a> {
    kernel: &'a PReluKernel,
    first: usize,
    input: &'a [u8],
    output: &'a mut [u8],
}

impl Body for PReluBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let kernel = self.kernel;
        let elements = self.output.len() / kernel.output_type.size_bytes();
        let channels = kernel.slope.len();
        let mut start = 0;
        while start < elements {
            // A block stays within one stretch of channels, so that slopes are contiguous.
            let channel = (self.first + start) % channels;
            let stretch = if channels == 1 { BLOCK } else { channels - channel };
            let length = BLOCK.min(elements - start).min(stretch);
            let slopes = if channels == 1 {
                Slopes::One(kernel.slope[0])
            } else {
                Slopes::Row(&kernel.slope[channel..channel + length])
            };
            self.kernel.block(self.input, self.first + start, slopes, length, start, self.output);
            start += length;
        }
    }
}

#[derive(Clone, Copy)]
enum Slopes<'a> {
    One(i16),
    Row(&'a [i16]),
}

impl PReluKernel {
    #[inline(always)]
    fn block(
        &self,
        input: &[u8],
        from: usize,
        slopes: Slopes<'_>,
        length: usize,
        to: usize,
        output: &mut [u8],
    ) {
        let mut x = [0_i32; BLOCK];
        let mut scaled = [0_i64; BLOCK];
        let (mut above, mut below) = ([0_i32; BLOCK], [0_i32; BLOCK]);
        load(self.input_type, input, from, 1, self.zero_point, &mut x[..length]);
        for i in 0..length {
            let slope = match slopes {
                Slopes::One(slope) => slope,
                Slopes::Row(slopes) => slopes[i],
            };
            scaled[i] = i64::from(x[i]) * i64::from(slope);
        }
        self.positive.run(&x[..length], Entries::One(0), &mut above[..length]);
        self.negative.run(&scaled[..length], Entries::One(0), &mut below[..length]);
        for i in 0..length {
            above[i] = if x[i] >= 0 { above[i] } else { below[i] };
        }
        store(self.output_type, output, to, &above[..length]);
    }
}
