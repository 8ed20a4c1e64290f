//! Softmax from integers to integers over the last axis, by tables of exponentials.

use bytemuck::{cast_slice, cast_slice_mut};

use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::{divide_away, high_product, reciprocal_of_one_plus};
use crate::network::IntegerSoftmax;

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 12;

/// Fractional bits that an exponential loses before it is added.
const SUM_SHIFT: u32 = 12;

/// Softmax of rows of `row` elements.
pub(crate) struct IntegerSoftmaxKernel {
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub row: usize,
    pub softmax: IntegerSoftmax,
}

impl Kernel for IntegerSoftmaxKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let chunk = work.chunk(output.len() / size, self.row, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            with_element!(self.input_type, I => {
                let input = &cast_slice::<u8, I>(inputs[0])[index * chunk..];
                with_element!(self.output_type, O => {
                    let output = cast_slice_mut::<u8, O>(output);
                    for (input, output) in input.chunks(self.row).zip(output.chunks_mut(self.row)) {
                        self.softmax(input, output);
                    }
                }, float => {});
            }, float => {});
        });
    }
}

impl IntegerSoftmaxKernel {
    fn softmax<I: Element, O: Element>(&self, input: &[I], output: &mut [O]) {
        let largest = input.iter().max().map_or(0, |&element| element.widen());
        let exponential =
            |element: &I| self.softmax.exponential[(largest - element.widen()) as usize];
        if self.softmax.reciprocal.is_empty() {
            let sum: i64 =
                input.iter().map(|x| i64::from(divide_away(exponential(x), SUM_SHIFT))).sum();
            let share = NarrowShare::of(sum as u32, O::TYPE.size_bytes() as u32 * 8);
            for (output, element) in output.iter_mut().zip(input) {
                let value = O::LOWEST.saturating_add(share.of_exponential(exponential(element)));
                *output = O::narrow(value.min(O::HIGHEST));
            }
        } else {
            let sum: i64 = input.iter().map(|x| i64::from(exponential(x))).sum();
            let share = WideShare::of(sum as u32, &self.softmax.reciprocal);
            for (output, element) in output.iter_mut().zip(input) {
                *output = O::narrow(share.of_exponential(exponential(element)));
            }
        }
    }
}

/// What an exponential of an 8-bit row is multiplied by.
struct NarrowShare {
    reciprocal: i32,
    shift: u32,
}

impl NarrowShare {
    /// Of a positive sum below 2^31 and an output of some bits.
    fn of(sum: u32, bits: u32) -> Self {
        let headroom = sum.leading_zeros();
        let rest = (sum << headroom).wrapping_sub(1 << 31) as i32;
        // The sum is at least 2^18 and below 2^31.
        Self { reciprocal: reciprocal_of_one_plus(rest), shift: 43 - headroom - bits }
    }

    fn of_exponential(&self, exponential: i32) -> i32 {
        let product = high_product(self.reciprocal, 0, exponential);
        // The product is not negative and below 2^31: a longer shift leaves less than a half.
        if self.shift > 31 { 0 } else { divide_away(product, self.shift) }
    }
}

/// What an exponential of a 16-bit row is multiplied by.
struct WideShare {
    reciprocal: i64,
    shift: u32,
}

impl WideShare {
    /// Of a sum between 2^14 and 2^31.
    fn of(sum: u32, table: &[i32]) -> Self {
        let headroom = sum.leading_zeros();
        let scaled = ((u64::from(sum) << (headroom - 1)) + (1 << 13)) >> 14;
        let place = scaled.saturating_sub(1 << 16).min(65_535) as usize;
        let (index, offset) = (place >> 7, (place & 127) as i32);
        let slope = table[index + 1] - table[index];
        let reciprocal = table[index] + ((slope * offset + 64) >> 7);
        Self { reciprocal: reciprocal.into(), shift: 31 - headroom }
    }

    fn of_exponential(&self, exponential: i32) -> i32 {
        let half = (1_i64 << self.shift) >> 1;
        let value = (i64::from(exponential) * self.reciprocal + half) >> self.shift;
        value.clamp(0, 32_767) as i32
    }
}
