//! The loops over elements: branch-free bodies over fixed lanes, which compile to vector code in
//! whatever instruction set the caller is instantiated for.

use std::ops::Range;

use super::exact_sum::ExactSum;
use super::grid::{Grid, MAX_BINS, exponent_of, power_of_two};

/// Elements that share one scan, one bound on exponents and one stay in the first-level cache.
pub const CHUNK: usize = 4096;

const LANES: usize = 16;
const MAGNITUDE_BITS: u32 = 0x7fff_ffff;
const INFINITY_BITS: u32 = 0x7f80_0000;

/// What one look at a chunk tells; without `finite`, nothing else means anything.
pub struct Scan {
    /// Smallest value, -0 as +0.
    pub min: f32,
    /// Largest value, -0 as +0.
    pub max: f32,
    /// Zeros of either sign.
    pub zeros: u32,
    /// Smallest magnitude other than zero; NaN if there is none.
    pub smallest: f32,
    /// Neither NaN nor infinity.
    pub finite: bool,
}

/// Extremes and zeros of a chunk that is not empty.
#[inline(always)]
pub fn scan(values: &[f32]) -> Scan {
    let mut min = [f32::INFINITY; LANES];
    let mut max = [f32::NEG_INFINITY; LANES];
    let mut zeros = [0u32; LANES];
    // Magnitudes compare as integers, NaN above infinity; zero, less one, wraps to the top.
    let mut smallest = [u32::MAX; LANES];
    let mut largest = [0u32; LANES];
    let mut add = |block: &[f32; LANES]| {
        for lane in 0..LANES {
            let value = block[lane];
            let magnitude = value.to_bits() & MAGNITUDE_BITS;
            min[lane] = if value < min[lane] { value } else { min[lane] };
            max[lane] = if value > max[lane] { value } else { max[lane] };
            zeros[lane] += u32::from(magnitude == 0);
            smallest[lane] = smallest[lane].min(magnitude.wrapping_sub(1));
            largest[lane] = largest[lane].max(magnitude);
        }
    };
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        add(block);
    }
    let mut padding_zeros = 0;
    if let Some(&first) = rest.first() {
        add(&padded(rest, first));
        padding_zeros = if first == 0.0 { LANES - rest.len() } else { 0 };
    }
    let smallest = smallest.into_iter().fold(u32::MAX, u32::min);
    let largest = largest.into_iter().fold(0, u32::max);
    let smallest = if smallest == u32::MAX { f32::NAN } else { f32::from_bits(smallest + 1) };
    Scan {
        min: min.into_iter().fold(f32::INFINITY, f32::min) + 0.0,
        max: max.into_iter().fold(f32::NEG_INFINITY, f32::max) + 0.0,
        zeros: zeros.iter().sum::<u32>() - padding_zeros as u32,
        smallest,
        finite: largest < INFINITY_BITS,
    }
}

/// Spread of exponents within which the sums of a lane stay exact in `f64`:
/// 24 bits of mantissa, 8 bits for the 256 elements of a lane, 21 bits of spread make 53.
const EXACT_SPREAD: i32 = 21;

/// Adds the values and their squares to two exact sums, without rounding anywhere.
///
/// One walk takes the values whose exponents lie within the exact spread of each other; data with
/// smaller ones are walked again, one spread further down.
#[inline(always)]
pub fn add_sums(values: &[f32], scan: &Scan, sum: &mut ExactSum, squares: &mut ExactSum) {
    debug_assert!(values.len() <= CHUNK);
    let mut top = exponent_of(scan.min.abs().max(scan.max.abs()));
    let mut below = f32::INFINITY;
    loop {
        let least = match top - EXACT_SPREAD {
            ..-126 => 0.0,
            exponent => power_of_two(exponent) as f32,
        };
        add_window(values, least..below, top, sum, squares);
        if least <= scan.smallest || least == 0.0 {
            return;
        }
        below = least;
        top -= EXACT_SPREAD + 1;
    }
}

/// Adds the values whose magnitudes lie in a window whose largest exponent is `top`.
///
/// A square takes 48 bits, so it is cut at a fixed position: adding and taking away
/// `2^(2 top + 10)` rounds it to a multiple of `2^(2 top - 42)`, and the head and the tail each
/// leave the lane room for its 256 elements.
#[inline(always)]
fn add_window(
    values: &[f32],
    window: Range<f32>,
    top: i32,
    sum: &mut ExactSum,
    squares: &mut ExactSum,
) {
    let cut = power_of_two(2 * top + 10);
    let mut sums = [0f64; LANES];
    let mut heads = [0f64; LANES];
    let mut tails = [0f64; LANES];
    let mut add = |block: &[f32; LANES]| {
        for lane in 0..LANES {
            let magnitude = block[lane].abs();
            let inside = (magnitude >= window.start) & (magnitude < window.end);
            let value = f64::from(if inside { block[lane] } else { 0.0 });
            let square = value * value;
            let head = (square + cut) - cut;
            sums[lane] += value;
            heads[lane] += head;
            tails[lane] += square - head;
        }
    };
    let (blocks, rest) = values.as_chunks::<LANES>();
    for block in blocks {
        add(block);
    }
    add(&padded(rest, 0.0));
    for lane in 0..LANES {
        sum.add(sums[lane]);
        squares.add(heads[lane]);
        squares.add(tails[lane]);
    }
}

/// Elements whose bins are computed together before they are counted.
const BATCH: usize = 64;
/// Copies of the counters: neighbours that fall into one bin need not wait for each other.
const COPIES: usize = 4;

/// Counters of a grid for at most [`Tally::CAPACITY`] elements.
pub struct Tally {
    copies: [[u16; MAX_BINS]; COPIES],
}

impl Tally {
    /// Elements that fit before a counter could overflow.
    pub const CAPACITY: usize = COPIES * u16::MAX as usize / BATCH * BATCH;

    /// All counters at zero.
    pub fn new() -> Self {
        Self { copies: [[0; MAX_BINS]; COPIES] }
    }

    /// Counts the values, all of which lie on the grid; zeros count in their bin.
    #[inline(always)]
    pub fn add(&mut self, values: &[f32], grid: Grid) {
        let binning = Binning::new(grid);
        let mut bins = [0u16; BATCH];
        let (batches, rest) = values.as_chunks::<BATCH>();
        for batch in batches {
            for lane in 0..BATCH {
                bins[lane] = binning.bin(batch[lane]);
            }
            for four in bins.as_chunks::<COPIES>().0 {
                for (copy, &bin) in self.copies.iter_mut().zip(four) {
                    copy[usize::from(bin) % MAX_BINS] += 1;
                }
            }
        }
        for (index, &value) in rest.iter().enumerate() {
            self.copies[index % COPIES][usize::from(binning.bin(value)) % MAX_BINS] += 1;
        }
    }

    /// Moves the counts of the grid's bins into `counts` and starts again from zero.
    #[inline(always)]
    pub fn drain_into(&mut self, counts: &mut [u64]) {
        for copy in &mut self.copies {
            for (count, tallied) in counts.iter_mut().zip(copy) {
                *count += u64::from(*tallied);
                *tallied = 0;
            }
        }
    }
}

/// `floor(x / width) - first` in `f32` arithmetic, exact for every value on the grid.
#[derive(Clone, Copy)]
struct Binning {
    // 1 / width may exceed the largest f32, so it comes as a product of two.
    per_bin: [f32; 2],
    first: f32,
    width: f32,
}

/// Adding 2^23 to a number below it leaves its nearest integer in the low mantissa bits.
const INTEGER: f32 = 8_388_608.0;

impl Binning {
    fn new(grid: Grid) -> Self {
        let inverse = -grid.exponent();
        let large = inverse.min(127);
        Self {
            per_bin: [power_of_two(large) as f32, power_of_two(inverse - large) as f32],
            first: grid.first() as f32,
            width: grid.width() as f32,
        }
    }

    #[inline(always)]
    fn bin(self, value: f32) -> u16 {
        let offset = value * self.per_bin[0] * self.per_bin[1] - self.first;
        let nearest = (offset + INTEGER) - INTEGER;
        // `offset` may be rounded, the edge below is exact: the comparison decides the bin.
        let edge = (nearest + self.first) * self.width;
        let bin = if value < edge { nearest - 1.0 } else { nearest };
        ((bin + INTEGER).to_bits() % MAX_BINS as u32) as u16
    }
}

#[inline(always)]
fn padded<const N: usize>(rest: &[f32], padding: f32) -> [f32; N] {
    let mut block = [padding; N];
    block[..rest.len()].copy_from_slice(rest);
    block
}
