//! Statistics of one tensor over frames.

use crate::error::Result;
use crate::isa::{Body, Cpu};

use super::chunk::{self, CHUNK, Tally};
use super::exact_sum::{ExactSum, LIMBS};
use super::grid::Grid;
use super::histogram::Histogram;
use super::state::{StateReader, StateWriter};

/// Kind and version of the saved state.
const STATE_KIND: u32 = 0x0001_5400;

/// Exact, mergeable statistics of a float tensor.
///
/// The state is a pure function of the multiset of values seen: order, frames, shards and threads
/// leave no trace, and merging equals having seen both sets of values. NaN and infinities are
/// counted and take no part in anything else; zeros of either sign are one value, +0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TensorStatistics {
    extremes: Option<(f32, f32)>,
    count: u64,
    zeros: u64,
    nan_count: u64,
    inf_count: u64,
    sum: ExactSum,
    sum_of_squares: ExactSum,
    histogram: Histogram,
}

impl TensorStatistics {
    /// Adds the values of one frame; returns its smallest and largest finite value, if any.
    pub fn update(&mut self, cpu: Cpu, values: &[f32]) -> Option<(f32, f32)> {
        cpu.run(Update { statistics: self, values })
    }

    /// Adds everything that another instance has seen.
    pub fn merge(&mut self, other: &Self) {
        if let Some((min, max)) = other.extremes {
            self.cover(min, max);
        }
        self.histogram.add(&other.histogram);
        self.count += other.count;
        self.zeros += other.zeros;
        self.nan_count += other.nan_count;
        self.inf_count += other.inf_count;
        self.sum.merge(&other.sum);
        self.sum_of_squares.merge(&other.sum_of_squares);
    }

    /// Smallest and largest finite value.
    pub fn extremes(&self) -> Option<(f32, f32)> {
        self.extremes
    }

    /// Finite values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Zeros among the finite values.
    pub fn zeros(&self) -> u64 {
        self.zeros
    }

    /// NaNs.
    pub fn nan_count(&self) -> u64 {
        self.nan_count
    }

    /// Infinities of either sign.
    pub fn inf_count(&self) -> u64 {
        self.inf_count
    }

    /// Exact sum of the finite values, rounded once.
    pub fn sum(&self) -> f64 {
        self.sum.value()
    }

    /// Exact sum of the squares of the finite values, rounded once.
    pub fn sum_of_squares(&self) -> f64 {
        self.sum_of_squares.value()
    }

    /// Grid of the histogram, once there is a non-zero value.
    pub fn grid(&self) -> Option<Grid> {
        self.histogram.grid()
    }

    /// Non-zero finite values per bin; zeros are in [`Self::zeros`] alone.
    pub fn counts(&self) -> &[u64] {
        self.histogram.counts()
    }

    /// The exact state.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut state = StateWriter::new(STATE_KIND);
        let (min, max) = self.extremes.unwrap_or_default();
        state.list([min, max].iter().map(|end| end.to_le_bytes()));
        for number in [self.count, self.zeros, self.nan_count, self.inf_count] {
            state.number(number);
        }
        for sum in [&self.sum, &self.sum_of_squares] {
            state.list(sum.to_limbs().iter().map(|limb| limb.to_le_bytes()));
        }
        state.list(self.counts().iter().map(|count| count.to_le_bytes()));
        state.finish()
    }

    /// The statistics of a state.
    ///
    /// # Errors
    ///
    /// The bytes are no state of tensor statistics, are damaged, or contradict themselves.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut state = StateReader::new("tensor statistics", STATE_KIND, bytes)?;
        let ends = state.list(2, f32::from_le_bytes)?;
        let (min, max) = (ends[0], ends[1]);
        if !(min.is_finite() && max.is_finite() && min <= max) {
            return Err(state.fault("its extremes are not a range"));
        }
        let [count, zeros, nan_count, inf_count] =
            [state.number()?, state.number()?, state.number()?, state.number()?];
        let mut sum = || {
            let limbs = state.list(LIMBS, i64::from_le_bytes)?;
            ExactSum::from_limbs(&limbs).ok_or_else(|| state.fault("a sum is not in its one form"))
        };
        let (sum, sum_of_squares) = (sum()?, sum()?);
        let extremes = (count > 0).then_some((min, max));
        let grid = extremes.and_then(|(min, max)| Grid::of_extremes(min, max));
        let counts = state.list(grid.map_or(0, Grid::bins), u64::from_le_bytes)?;
        let counted = counts.iter().try_fold(zeros, |sum, &count| u64::checked_add(sum, count));
        if counted != Some(count) {
            return Err(state.fault("its counts do not add up"));
        }
        state.finish()?;
        let histogram = Histogram::restored(grid, counts);
        Ok(Self { extremes, count, zeros, nan_count, inf_count, sum, sum_of_squares, histogram })
    }

    /// The extremes, widened to hold two more values.
    fn widened(&self, min: f32, max: f32) -> (f32, f32) {
        let (lowest, highest) = self.extremes.unwrap_or((min, max));
        (lowest.min(min), highest.max(max))
    }

    fn cover(&mut self, min: f32, max: f32) {
        let extremes = self.widened(min, max);
        self.extremes = Some(extremes);
        if let Some(grid) = Grid::of_extremes(extremes.0, extremes.1)
            && self.grid() != Some(grid)
        {
            self.histogram.widen(grid);
        }
    }
}

struct Update<'a> {
    statistics: &'a mut TensorStatistics,
    values: &'a [f32],
}

impl Body for Update<'_> {
    type Output = Option<(f32, f32)>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let mut pass = Pass {
            statistics: self.statistics,
            tally: Tally::new(),
            tallied: 0,
            zeros: 0,
            frame: None,
        };
        for values in self.values.chunks(CHUNK) {
            if !pass.add_finite(values) {
                pass.add_mixed(values);
            }
        }
        pass.drain();
        pass.frame
    }
}

/// One walk over a frame, with the counters that are cheaper to keep small and drain late.
struct Pass<'a> {
    statistics: &'a mut TensorStatistics,
    tally: Tally,
    tallied: usize,
    /// Zeros in the tally, to be taken out again.
    zeros: u64,
    frame: Option<(f32, f32)>,
}

impl Pass<'_> {
    /// Adds a chunk, or returns false and adds nothing when it holds a NaN or an infinity.
    #[inline(always)]
    fn add_finite(&mut self, values: &[f32]) -> bool {
        let scan = chunk::scan(values);
        if !scan.finite {
            return false;
        }
        let (lowest, highest) = self.frame.unwrap_or((scan.min, scan.max));
        self.frame = Some((lowest.min(scan.min), highest.max(scan.max)));
        let statistics = &mut *self.statistics;
        if statistics.extremes != Some(statistics.widened(scan.min, scan.max)) {
            self.drain();
            self.statistics.cover(scan.min, scan.max);
        } else if self.tallied + values.len() > Tally::CAPACITY {
            self.drain();
        }
        let statistics = &mut *self.statistics;
        statistics.count += values.len() as u64;
        statistics.zeros += u64::from(scan.zeros);
        if scan.zeros as usize == values.len() {
            return true;
        }
        chunk::add_sums(values, &scan, &mut statistics.sum, &mut statistics.sum_of_squares);
        if let Some(grid) = statistics.grid() {
            self.tally.add(values, grid);
            self.tallied += values.len();
            self.zeros += u64::from(scan.zeros);
        }
        true
    }

    /// Adds the finite stretches of a chunk and counts what lies between them.
    #[inline(always)]
    fn add_mixed(&mut self, values: &[f32]) {
        for stretch in values.split_inclusive(|value| !value.is_finite()) {
            let (finite, other) = match stretch.split_last() {
                Some((last, finite)) if !last.is_finite() => (finite, Some(last)),
                _ => (stretch, None),
            };
            if !finite.is_empty() {
                self.add_finite(finite);
            }
            self.statistics.nan_count += u64::from(other.is_some_and(|value| value.is_nan()));
            self.statistics.inf_count += u64::from(other.is_some_and(|value| value.is_infinite()));
        }
    }

    #[inline(always)]
    fn drain(&mut self) {
        if self.tallied == 0 {
            return;
        }
        if let Some(grid) = self.statistics.grid() {
            let counts = self.statistics.histogram.counts_mut();
            self.tally.drain_into(counts);
            if let Some(bin) = grid.zero_bin() {
                counts[bin] -= self.zeros;
            }
        }
        self.tallied = 0;
        self.zeros = 0;
    }
}
