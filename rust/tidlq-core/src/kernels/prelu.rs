//! PRelu: positive and negative inputs are requantized by different parameters.

use bytemuck::{cast_slice, cast_slice_mut};

use super::block::{BLOCK, Source, load};
use super::requantize::{Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::ElementType;
use crate::isa::{Body, Cpu};

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
            self.chunk(work.cpu, index * chunk, inputs[0], output);
        });
    }
}

impl PReluKernel {
    fn chunk(&self, cpu: Cpu, first: usize, bytes: &[u8], output: &mut [u8]) {
        let elements = output.len() / self.output_type.size_bytes();
        let channels = self.slope.len();
        let (mut x, mut scaled) = ([0_i32; BLOCK], [0_i64; BLOCK]);
        let mut below = [0_u16; BLOCK];
        let mut start = 0;
        while start < elements {
            // A block stays within one run of channels, so that slopes are contiguous.
            let channel = (first + start) % channels;
            let run = if channels == 1 { BLOCK } else { channels - channel };
            let length = BLOCK.min(elements - start).min(run);
            let (x, scaled) = (&mut x[..length], &mut scaled[..length]);
            let source = Source {
                element_type: self.input_type,
                bytes,
                start: first + start,
                stride: 1,
                zero_point: self.zero_point,
            };
            load(cpu, source, x);
            let slopes = &self.slope[channel..channel + length.min(channels)];
            cpu.run(SlopeBody { x, slopes, scaled: &mut *scaled });
            let below = cast_slice_mut(&mut below);
            let (element_type, stride) = (self.output_type, 0);
            let layout = Layout::row(length);
            let target = Target { element_type, bytes: &mut *below, start: 0, stride };
            self.negative.finish(cpu, scaled, layout, Entries::One(0), target);
            let target = Target { element_type, bytes: &mut *output, start, stride };
            self.positive.finish(cpu, x, layout, Entries::One(0), target);
            let size = element_type.size_bytes();
            let output = &mut output[start * size..(start + length) * size];
            if size == 1 {
                cpu.run(SelectBody { x, below, output });
            } else {
                let (below, output) = (cast_slice::<u8, u16>(below), cast_slice_mut(output));
                cpu.run(SelectBody { x, below, output });
            }
            start += length;
        }
    }
}

/// Multiplies by one slope, or by one per element.
struct SlopeBody<'a> {
    x: &'a [i32],
    slopes: &'a [i16],
    scaled: &'a mut [i64],
}

impl Body for SlopeBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let pairs = self.scaled.iter_mut().zip(self.x);
        if let [slope] = *self.slopes {
            for (scaled, &x) in pairs {
                *scaled = i64::from(x) * i64::from(slope);
            }
        } else {
            for ((scaled, &x), &slope) in pairs.zip(self.slopes) {
                *scaled = i64::from(x) * i64::from(slope);
            }
        }
    }
}

/// Replaces the outputs of negative inputs.
struct SelectBody<'a, T> {
    x: &'a [i32],
    below: &'a [T],
    output: &'a mut [T],
}

impl<T: Copy> Body for SelectBody<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((output, &below), &x) in self.output.iter_mut().zip(self.below).zip(self.x) {
            *output = if x >= 0 { *output } else { below };
        }
    }
}
