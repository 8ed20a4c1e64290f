//! Statistics of each channel of a float tensor.

use crate::error::{Error, Result, Shape};
use crate::isa::{Body, Cpu};

use super::state::{StateReader, StateWriter};

const KIND: u32 = 0x0001_4843;
const WHAT: &str = "channel statistics";

/// Elements of a stretch that are taken side by side. The additions of each lane, and of the lanes
/// at the end, are in a fixed order, the same for every instruction set.
const LANES: usize = 16;

/// Extremes, sums and sums of squares per channel.
///
/// Sums are float64, added in a fixed order: the state is a function of the values and of their
/// order alone. NaN takes no part in the extremes, an infinity does; sums take both as IEEE
/// arithmetic has it.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelStatistics {
    axis: isize,
    /// Values per channel.
    count: u64,
    minima: Vec<f32>,
    maxima: Vec<f32>,
    sums: Vec<f64>,
    sums_of_squares: Vec<f64>,
}

impl ChannelStatistics {
    /// Nothing seen. Channels lie along `axis`; a negative one counts from the last.
    pub const fn new(axis: isize) -> Self {
        Self {
            axis,
            count: 0,
            minima: Vec::new(),
            maxima: Vec::new(),
            sums: Vec::new(),
            sums_of_squares: Vec::new(),
        }
    }

    /// Adds values of a shape; the first ones decide the number of channels.
    ///
    /// # Errors
    ///
    /// The shape lacks the axis or has another number of channels, or the values do not fill it.
    pub fn update(&mut self, cpu: Cpu, shape: &[usize], values: &[f32]) -> Result<()> {
        let fault = |want: String| {
            let got = Shape(shape.to_vec());
            Err(Error::FeatureShape { what: WHAT, want, got })
        };
        let rank = shape.len() as isize;
        let axis = if self.axis < 0 { self.axis.saturating_add(rank) } else { self.axis };
        if !(0..rank).contains(&axis) || shape.iter().product::<usize>() != values.len() {
            return fault(format!("an axis {}", self.axis));
        }
        let (outer, inner) = shape.split_at(axis as usize);
        let (channels, inner) = (inner[0], inner[1..].iter().product::<usize>());
        if self.minima.is_empty() {
            self.minima = vec![f32::INFINITY; channels];
            self.maxima = vec![f32::NEG_INFINITY; channels];
            self.sums = vec![0.0; channels];
            self.sums_of_squares = vec![0.0; channels];
        } else if self.minima.len() != channels {
            return fault(format!("{} channels along axis {}", self.minima.len(), self.axis));
        }
        self.count += (outer.iter().product::<usize>() * inner) as u64;
        cpu.run(Update { statistics: self, values, inner });
        Ok(())
    }

    /// Axis of the channels.
    pub const fn axis(&self) -> isize {
        self.axis
    }

    /// Values of each channel.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Smallest value of each channel, NaN apart; infinite without any.
    pub fn minima(&self) -> &[f32] {
        &self.minima
    }

    /// Largest value of each channel, NaN apart; minus infinity without any.
    pub fn maxima(&self) -> &[f32] {
        &self.maxima
    }

    /// Sum of each channel.
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// Sum of squares of each channel.
    pub fn sums_of_squares(&self) -> &[f64] {
        &self.sums_of_squares
    }

    /// The exact state.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut state = StateWriter::new(KIND);
        state.number(self.axis as u64);
        state.number(self.count);
        state.number(self.minima.len() as u64);
        state.list(self.minima.iter().map(|value| value.to_le_bytes()));
        state.list(self.maxima.iter().map(|value| value.to_le_bytes()));
        state.list(self.sums.iter().map(|value| value.to_le_bytes()));
        state.list(self.sums_of_squares.iter().map(|value| value.to_le_bytes()));
        state.finish()
    }

    /// The state that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// The bytes are corrupt, or of another statistic.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut state = StateReader::new(WHAT, KIND, bytes)?;
        let (axis, count) = (state.number()? as isize, state.number()?);
        let channels = state.size()?;
        let statistics = Self {
            axis,
            count,
            minima: state.list(channels, f32::from_le_bytes)?,
            maxima: state.list(channels, f32::from_le_bytes)?,
            sums: state.list(channels, f64::from_le_bytes)?,
            sums_of_squares: state.list(channels, f64::from_le_bytes)?,
        };
        state.finish()?;
        Ok(statistics)
    }
}

struct Update<'a> {
    statistics: &'a mut ChannelStatistics,
    values: &'a [f32],
    inner: usize,
}

impl Body for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let channels = self.statistics.minima.len();
        if channels == 0 || self.inner == 0 {
            return;
        }
        if self.inner == 1 {
            for row in self.values.chunks_exact(channels) {
                add_row(self.statistics, row);
            }
            return;
        }
        for (index, stretch) in self.values.chunks_exact(self.inner).enumerate() {
            add_stretch(self.statistics, index % channels, stretch);
        }
    }
}

/// Adds one value of each channel.
#[inline(always)]
fn add_row(statistics: &mut ChannelStatistics, row: &[f32]) {
    let ChannelStatistics { minima, maxima, sums, sums_of_squares, .. } = statistics;
    for (extreme, &value) in minima.iter_mut().zip(row) {
        *extreme = if value < *extreme { value } else { *extreme };
    }
    for (extreme, &value) in maxima.iter_mut().zip(row) {
        *extreme = if value > *extreme { value } else { *extreme };
    }
    for ((sum, square), &value) in sums.iter_mut().zip(sums_of_squares).zip(row) {
        let value = f64::from(value);
        *sum += value;
        *square += value * value;
    }
}

/// Adds neighbouring values of one channel.
#[inline(always)]
fn add_stretch(statistics: &mut ChannelStatistics, channel: usize, stretch: &[f32]) {
    let mut minima = [f32::INFINITY; LANES];
    let mut maxima = [f32::NEG_INFINITY; LANES];
    let mut sums = [0_f64; LANES];
    let mut squares = [0_f64; LANES];
    let mut add = |lane: usize, value: f32| {
        minima[lane] = if value < minima[lane] { value } else { minima[lane] };
        maxima[lane] = if value > maxima[lane] { value } else { maxima[lane] };
        let value = f64::from(value);
        sums[lane] += value;
        squares[lane] += value * value;
    };
    let (blocks, rest) = stretch.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &value) in block.iter().enumerate() {
            add(lane, value);
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        add(lane, value);
    }
    for value in minima {
        let minimum = &mut statistics.minima[channel];
        *minimum = if value < *minimum { value } else { *minimum };
    }
    for value in maxima {
        let maximum = &mut statistics.maxima[channel];
        *maximum = if value > *maximum { value } else { *maximum };
    }
    statistics.sums[channel] += sums.into_iter().sum::<f64>();
    statistics.sums_of_squares[channel] += squares.into_iter().sum::<f64>();
}
