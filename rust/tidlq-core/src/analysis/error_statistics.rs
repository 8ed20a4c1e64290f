//! Error of a tensor against its reference.

use crate::isa::{Body, Cpu};
use crate::stats::ExactSum;

/// Elements whose products are added up in `f64` lanes before they join the exact sums.
const CHUNK: usize = 4096;
const LANES: usize = 16;

/// Error of one float tensor against its reference, over frames.
///
/// A frame's sums are rounded in one fixed order, which depends on its length alone; frames add up
/// exactly. So their order, and the number of threads, leave no trace. A NaN or an infinity on
/// either side makes every measure NaN.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorStatistics {
    count: u64,
    non_finite: bool,
    largest: f64,
    error: ExactSum,
    reference: ExactSum,
    value: ExactSum,
    product: ExactSum,
}

impl ErrorStatistics {
    /// Adds a frame; the two slices have one length.
    pub fn update(&mut self, cpu: Cpu, reference: &[f32], value: &[f32]) {
        debug_assert_eq!(reference.len(), value.len());
        for (reference, value) in reference.chunks(CHUNK).zip(value.chunks(CHUNK)) {
            let sums = cpu.run(Products { reference, value });
            self.count += reference.len() as u64;
            if !sums.iter().all(|sum| sum.is_finite()) {
                self.non_finite = true;
                continue;
            }
            let [error, references, values, product, largest] = sums;
            self.error.add(error);
            self.reference.add(references);
            self.value.add(values);
            self.product.add(product);
            self.largest = self.largest.max(largest);
        }
    }

    /// Adds a frame as far as the reference is finite: what it leaves open counts for nothing, and
    /// where the value alone is not finite, nothing of the reference is met.
    pub fn update_known(&mut self, cpu: Cpu, reference: &[f32], value: &[f32]) {
        let is_finite = |values: &[f32]| values.iter().all(|x| x.is_finite());
        if is_finite(reference) && is_finite(value) {
            return self.update(cpu, reference, value);
        }
        let known = |x: f32| if x.is_finite() { x } else { 0.0 };
        let pairs = reference.iter().zip(value);
        let value: Vec<f32> =
            pairs.map(|(&r, &v)| if r.is_finite() { known(v) } else { 0.0 }).collect();
        let reference: Vec<f32> = reference.iter().map(|&r| known(r)).collect();
        self.update(cpu, &reference, &value);
    }

    /// Adds every frame of other statistics.
    pub fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.non_finite |= other.non_finite;
        self.largest = self.largest.max(other.largest);
        self.error.merge(&other.error);
        self.reference.merge(&other.reference);
        self.value.merge(&other.value);
        self.product.merge(&other.product);
    }

    /// Pairs seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// `sum (v - r)^2 / count`; NaN before the first pair.
    pub fn mean_squared_error(&self) -> f64 {
        self.guarded(self.error.value() / self.count as f64)
    }

    /// `sum (v - r)^2 / sum r^2`; `sum (v - r)^2` where the reference is zero everywhere. NaN before
    /// the first pair.
    pub fn relative_error(&self) -> f64 {
        let (error, reference) = (self.error.value(), self.reference.value());
        self.guarded(if reference > 0.0 { error / reference } else { error })
    }

    /// `max |v - r|`; NaN before the first pair.
    pub fn max_abs_error(&self) -> f64 {
        self.guarded(self.largest)
    }

    /// `sum r v / sqrt(sum r^2 sum v^2)`; 1 if both are zero everywhere, 0 if one of them is.
    pub fn cosine(&self) -> f64 {
        let (reference, value) = (self.reference.value(), self.value.value());
        self.guarded(match (reference == 0.0, value == 0.0) {
            (true, true) => 1.0,
            (true, false) | (false, true) => 0.0,
            // Squares of f32 values are far from f64's limits: their product is in range.
            _ => (self.product.value() / (reference * value).sqrt()).clamp(-1.0, 1.0),
        })
    }

    /// `10 log10(sum r^2 / sum (v - r)^2)` in dB; infinite without any error.
    pub fn sqnr_db(&self) -> f64 {
        let error = self.error.value();
        self.guarded(match error == 0.0 {
            true => f64::INFINITY,
            false => 10.0 * (self.reference.value() / error).log10(),
        })
    }

    fn guarded(&self, measure: f64) -> f64 {
        if self.non_finite || self.count == 0 { f64::NAN } else { measure }
    }
}

/// Sums of `(v - r)^2`, `r^2`, `v^2` and `r v`, and the largest `|v - r|`, of one chunk.
struct Products<'a> {
    reference: &'a [f32],
    value: &'a [f32],
}

impl Body for Products<'_> {
    type Output = [f64; 5];

    #[inline(always)]
    fn run(self) -> [f64; 5] {
        let mut sums = [[0f64; LANES]; 5];
        let mut add = |reference: &[f32; LANES], value: &[f32; LANES]| {
            for lane in 0..LANES {
                let (r, v) = (f64::from(reference[lane]), f64::from(value[lane]));
                let error = v - r;
                sums[0][lane] += error * error;
                sums[1][lane] += r * r;
                sums[2][lane] += v * v;
                sums[3][lane] += r * v;
                let magnitude = error.abs();
                sums[4][lane] = if magnitude > sums[4][lane] { magnitude } else { sums[4][lane] };
            }
        };
        let (references, reference_rest) = self.reference.as_chunks::<LANES>();
        let (values, value_rest) = self.value.as_chunks::<LANES>();
        for (reference, value) in references.iter().zip(values) {
            add(reference, value);
        }
        let mut rest = [[0f32; LANES]; 2];
        rest[0][..reference_rest.len()].copy_from_slice(reference_rest);
        rest[1][..value_rest.len()].copy_from_slice(value_rest);
        add(&rest[0], &rest[1]);
        let largest = sums[4].into_iter().fold(0.0, f64::max);
        let mut totals = sums.map(|lanes| halved(&lanes));
        totals[4] = largest;
        totals
    }
}

/// The sum of the lanes, pairwise.
#[inline(always)]
fn halved(lanes: &[f64; LANES]) -> f64 {
    let mut lanes = *lanes;
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
