//! Sums of a float feature over the positions of a sliding window.

use std::ops::Range;

use crate::coverage::{Coverage, WindowAxis, add_sums_of_taps};
use crate::error::{Error, Fault, Result, Shape};
use crate::isa::{Body, Cpu};

use super::state::{StateReader, StateWriter};

const KIND: u32 = 0x0002_5357;
const WHAT: &str = "window sums";

/// Greatest kernel, stride, dilation, padding and output size of an axis.
const MAX_SIZE: i64 = 1 << 31;

/// Greatest number of taps of a window.
const MAX_TAPS: usize = 1 << 20;

/// Lanes of a stretch, added in a fixed order, the same for every instruction set.
const LANES: usize = 16;

/// What the positions of a window are along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpan {
    /// Taps.
    kernel: usize,
    /// Distance of neighbouring positions.
    stride: usize,
    /// Distance of neighbouring taps.
    dilation: usize,
    /// Positions before the input's first.
    pad: usize,
    /// Positions of the window.
    outputs: usize,
    transposed: bool,
}

impl WindowSpan {
    /// Checks kernel, stride, dilation, padding before the input, and output size.
    ///
    /// # Errors
    ///
    /// A number is not allowed.
    pub fn new([kernel, stride, dilation, pad, outputs]: [i64; 5]) -> Result<Self> {
        let size = |what, got: i64, low| {
            if (low..=MAX_SIZE).contains(&got) {
                return Ok(got as usize);
            }
            let (got, low, high) = (got.into(), low.into(), MAX_SIZE.into());
            Err(Error::Window { fault: Fault::Range { what, got, low, high } })
        };
        Ok(Self {
            kernel: size("kernel", kernel, 1)?,
            stride: size("stride", stride, 1)?,
            dilation: size("dilation", dilation, 1)?,
            pad: size("pad_begin", pad, 0)?,
            outputs: size("output_size", outputs, 1)?,
            transposed: false,
        })
    }

    /// The same numbers of a transposed convolution, whose window slides over the output.
    pub const fn transposed(self) -> Self {
        Self { transposed: true, ..self }
    }

    fn axis(&self, size: usize) -> WindowAxis {
        let Self { kernel, stride, dilation, pad, outputs, transposed } = *self;
        WindowAxis { size, outputs, kernel, stride, dilation, pad, transposed }
    }
}

/// Sums, per channel and tap, of what the tap sees at all positions of the window; what lies outside
/// of the input counts 0.
///
/// Sums are float64, added in a fixed order: the state is a function of the values and of their
/// order alone. NaN and infinities go through as IEEE arithmetic has it.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowSums {
    /// One per spatial axis.
    spans: Vec<WindowSpan>,
    /// Positions of the window so far.
    positions: u64,
    channels: usize,
    /// (channels, taps).
    sums: Vec<f64>,
}

impl WindowSums {
    /// Nothing seen, for a window over one or two spatial axes.
    ///
    /// # Errors
    ///
    /// There are other axes, or too many taps.
    pub fn new(spans: Vec<WindowSpan>) -> Result<Self> {
        let fault = |what, got: usize, high: usize| {
            let fault = Fault::Range { what, got: got as i128, low: 1, high: high as i128 };
            Err(Error::Window { fault })
        };
        if !(1..=2).contains(&spans.len()) {
            return fault("the number of spatial axes", spans.len(), 2);
        }
        let taps = spans.iter().map(|span| span.kernel).fold(1, usize::saturating_mul);
        if taps > MAX_TAPS {
            return fault("the number of taps", taps, MAX_TAPS);
        }
        Ok(Self { spans, positions: 0, channels: 0, sums: Vec::new() })
    }

    /// Adds features of shape (N, C, *spatial); the first ones decide the number of channels.
    ///
    /// # Errors
    ///
    /// The rank or the number of channels differs, or the values do not fill the shape.
    pub fn update(&mut self, cpu: Cpu, shape: &[usize], values: &[f32]) -> Result<()> {
        let fault = |want: String| {
            let got = Shape(shape.to_vec());
            Err(Error::FeatureShape { what: WHAT, want, got })
        };
        let rank = self.spans.len() + 2;
        if shape.len() != rank || shape.iter().product::<usize>() != values.len() {
            return fault(format!("rank {rank}"));
        }
        let (count, channels, spatial) = (shape[0], shape[1], &shape[2..]);
        if self.sums.is_empty() {
            self.channels = channels;
            self.sums = vec![0.0; channels * self.taps()];
        } else if self.channels != channels {
            return fault(format!("{} channels", self.channels));
        }
        let (rows, columns) = self.coverage(spatial);
        let (height, width) = match *spatial {
            [height, width] => (height, width),
            _ => (1, spatial[0]),
        };
        let planes = Planes { rows: &rows, columns: &columns, height, width, values };
        cpu.run(Update { sums: self, planes });
        let outputs = self.spans.iter().map(|span| span.outputs as u64);
        self.positions += outputs.fold(count as u64, u64::saturating_mul);
        Ok(())
    }

    fn coverage(&self, spatial: &[usize]) -> (Coverage, Coverage) {
        let of = |span: &WindowSpan, size| Coverage::of(&span.axis(size));
        match (&self.spans[..], spatial) {
            ([rows, columns], &[height, width]) => (of(rows, height), of(columns, width)),
            _ => (Coverage::of(&WindowAxis::pointwise(1)), of(&self.spans[0], spatial[0])),
        }
    }

    fn taps(&self) -> usize {
        self.spans.iter().map(|span| span.kernel).product()
    }

    /// Positions of the window so far, over all samples.
    pub const fn positions(&self) -> u64 {
        self.positions
    }

    /// Shape of the sums: channels, then the kernel's axes.
    pub fn shape(&self) -> Vec<usize> {
        let kernel = self.spans.iter().map(|span| span.kernel);
        std::iter::once(self.channels).chain(kernel).collect()
    }

    /// The sums, row-major.
    pub fn sums(&self) -> &[f64] {
        &self.sums
    }

    /// The exact state.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut state = StateWriter::new(KIND);
        state.number(self.spans.len() as u64);
        for span in &self.spans {
            let WindowSpan { kernel, stride, dilation, pad, outputs, transposed } = *span;
            for size in [kernel, stride, dilation, pad, outputs, usize::from(transposed)] {
                state.number(size as u64);
            }
        }
        state.number(self.positions);
        state.number(self.channels as u64);
        state.list(self.sums.iter().map(|value| value.to_le_bytes()));
        state.finish()
    }

    /// The state that [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    ///
    /// The bytes are corrupt, or of another statistic.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut state = StateReader::new(WHAT, KIND, bytes)?;
        let axes = state.size()?.min(3);
        let mut spans = Vec::with_capacity(axes);
        for _ in 0..axes {
            let mut numbers = [0; 5];
            for number in &mut numbers {
                *number = i64::try_from(state.number()?).unwrap_or(i64::MAX);
            }
            let span = WindowSpan::new(numbers);
            let span = span.map_err(|_| state.fault("its window is not allowed"))?;
            spans.push(if state.number()? == 0 { span } else { span.transposed() });
        }
        let empty = Self::new(spans).map_err(|_| state.fault("its window is not allowed"))?;
        let (positions, channels) = (state.number()?, state.size()?);
        let length = channels.saturating_mul(empty.taps());
        let sums =
            Self { positions, channels, sums: state.list(length, f64::from_le_bytes)?, ..empty };
        state.finish()?;
        Ok(sums)
    }
}

/// Features as planes of rows.
struct Planes<'a> {
    rows: &'a Coverage,
    columns: &'a Coverage,
    height: usize,
    width: usize,
    values: &'a [f32],
}

struct Update<'a> {
    sums: &'a mut WindowSums,
    planes: Planes<'a>,
}

impl Body for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { sums, planes } = self;
        let (taps, channels) = (sums.taps(), sums.channels);
        let area = planes.height * planes.width;
        if area == 0 || channels == 0 {
            return;
        }
        let whole = planes.columns.single_run().filter(|run| run.len() == planes.width);
        let mut groups = vec![0.0; planes.rows.groups.len() * planes.columns.groups.len()];
        let mut line = vec![0.0; planes.width];
        let mut visited = Vec::new();
        for (index, plane) in planes.values.chunks_exact(area).enumerate() {
            match whole {
                Some(_) => group_whole_rows(&planes, plane, &mut groups),
                None => group(&planes, plane, &mut line, &mut groups),
            }
            let target = &mut sums.sums[index % channels * taps..][..taps];
            add_sums_of_taps((planes.rows, planes.columns, 1), &groups, &mut visited, target);
        }
    }
}

/// Sums each group of rows; every column belongs to one group, so rows that follow each other are
/// one stretch.
#[inline(always)]
fn group_whole_rows(planes: &Planes<'_>, plane: &[f32], groups: &mut [f64]) {
    for (target, runs) in groups.iter_mut().zip(&planes.rows.groups) {
        *target = 0.0;
        for Range { start, end } in runs {
            *target += stretch_sum(&plane[start * planes.width..end * planes.width]);
        }
    }
}

#[inline(always)]
fn stretch_sum(stretch: &[f32]) -> f64 {
    let mut sums = [0_f64; LANES];
    let (blocks, rest) = stretch.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            sums[lane] += f64::from(block[lane]);
        }
    }
    let mut last = [0_f32; LANES];
    last[..rest.len()].copy_from_slice(rest);
    for lane in 0..LANES {
        sums[lane] += f64::from(last[lane]);
    }
    sums.into_iter().sum()
}

/// Sums each group of rows column by column, then each group of columns.
#[inline(always)]
fn group(planes: &Planes<'_>, plane: &[f32], line: &mut [f64], groups: &mut [f64]) {
    let columns = &planes.columns.groups;
    if columns.is_empty() {
        return;
    }
    for (target, runs) in groups.chunks_exact_mut(columns.len()).zip(&planes.rows.groups) {
        line.fill(0.0);
        for run in runs {
            let rows = &plane[run.start * planes.width..run.end * planes.width];
            for row in rows.chunks_exact(planes.width) {
                for (sum, &value) in line.iter_mut().zip(row) {
                    *sum += f64::from(value);
                }
            }
        }
        for (target, runs) in target.iter_mut().zip(columns) {
            *target = 0.0;
            for run in runs {
                for &value in &line[run.clone()] {
                    *target += value;
                }
            }
        }
    }
}
