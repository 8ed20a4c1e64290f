//! Samples of a feature at places that another feature gives, vectorised over channels.

use bytemuck::cast_slice;

use super::requantize::{Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};
use crate::network::{GridAxis, GridPadding, GridSample, Map2d};

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 14;

/// Sums that are made before they are requantized.
const ACCUMULATORS: usize = 4096;

/// A feature, a grid of places, and what stands at these.
pub(crate) struct GridSampleKernel {
    pub spec: GridSample,
    pub input: Map2d,
    pub output: Map2d,
    pub input_type: ElementType,
    pub grid_type: ElementType,
    pub output_type: ElementType,
    /// Of the feature and of the grid.
    pub zero_points: [i32; 2],
    pub requantizer: RowRequantizer,
}

impl GridSampleKernel {
    /// Greatest magnitude of a sum.
    pub fn bound(spec: &GridSample, input_type: ElementType) -> u64 {
        let (low, high) = input_type.range().unwrap_or((0, 0));
        // The magnitudes of cubic weights add up to less than twice their sum.
        ((high - low) as u64) << (2 * spec.fraction_bits + u32::from(spec.cubic))
    }
}

impl Kernel for GridSampleKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let (size, channels) = (self.output_type.size_bytes(), self.output.channels);
        let chunk = work.chunk(output.len() / size, channels, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            self.pixels(work.cpu, index * chunk / channels, inputs, output);
        });
    }
}

impl GridSampleKernel {
    fn pixels(&self, cpu: Cpu, first: usize, inputs: &[&[u8]], output: &mut [u8]) {
        let channels = self.output.channels;
        let count = output.len() / self.output_type.size_bytes() / channels;
        let step = (ACCUMULATORS / channels).clamp(1, count);
        let mut acc = vec![0_i64; step * channels];
        for start in (0..count).step_by(step) {
            let rows = step.min(count - start);
            let acc = &mut acc[..rows * channels];
            let (image, grid) = (inputs[0], inputs[1]);
            cpu.run(PixelsBody { kernel: self, image, grid, first: first + start, acc: &mut *acc });
            let target = Target {
                element_type: self.output_type,
                bytes: output,
                start: start * channels,
                stride: channels,
            };
            let layout = Layout { rows, columns: channels, stride: channels };
            self.requantizer.finish(cpu, acc, layout, Entries::One(0), target);
        }
    }
}

/// Sums of consecutive pixels: `[pixel][channel]`.
struct PixelsBody<'a> {
    kernel: &'a GridSampleKernel,
    image: &'a [u8],
    grid: &'a [u8],
    first: usize,
    acc: &'a mut [i64],
}

impl Body for PixelsBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, image, grid, first, acc } = self;
        with_element!(kernel.grid_type, G => {
            let grid = cast_slice::<u8, G>(grid);
            with_element!(kernel.input_type, T => {
                let image = cast_slice::<u8, T>(image);
                let pixels = acc.chunks_exact_mut(kernel.output.channels);
                for (pixel, acc) in (first..).zip(pixels) {
                    let place = [grid[2 * pixel + 1].widen(), grid[2 * pixel].widen()];
                    let number = pixel / (kernel.output.height * kernel.output.width);
                    kernel.pixel(&image[number * kernel.input.image()..], place, acc);
                }
            }, float => {});
        }, float => {});
    }
}

impl GridSampleKernel {
    /// Sums of one pixel; `place` holds the grid's integers of height and width.
    #[inline(always)]
    fn pixel<T: Element>(&self, image: &[T], place: [i32; 2], acc: &mut [i64]) {
        let steps = place.map(|q| q - self.zero_points[1]);
        let sizes = [self.input.height, self.input.width];
        if self.spec.cubic {
            let taps = |axis: usize| {
                cubic_taps(
                    &self.spec,
                    self.spec.axes[axis].place(&self.spec, steps[axis]),
                    sizes[axis],
                )
            };
            self.sum(image, taps(0), taps(1), acc);
        } else {
            let taps = |axis: usize| self.taps(&self.spec.axes[axis], steps[axis], sizes[axis]);
            self.sum(image, taps(0), taps(1), acc);
        }
    }

    #[inline(always)]
    fn sum<T: Element, const N: usize>(
        &self,
        image: &[T],
        vertical: [(usize, i64); N],
        horizontal: [(usize, i64); N],
        acc: &mut [i64],
    ) {
        let Map2d { width, channels, .. } = self.input;
        let from = self.zero_points[0];
        acc.fill(0);
        for (y, weight_y) in vertical {
            for (x, weight_x) in horizontal {
                let weight = weight_y * weight_x;
                if weight == 0 {
                    continue;
                }
                let start = (y * width + x) * channels;
                for (acc, element) in acc.iter_mut().zip(&image[start..start + channels]) {
                    *acc += i64::from(element.widen() - from) * weight;
                }
            }
        }
    }

    /// The two positions beside a place, with their weights; outside of the feature these are 0.
    #[inline(always)]
    fn taps(&self, axis: &GridAxis, steps: i32, size: usize) -> [(usize, i64); 2] {
        let bits = self.spec.fraction_bits;
        let one = 1_i64 << bits;
        let place = self.place(axis, steps, size as i64);
        let (low, share) = (place >> bits, place & (one - 1));
        let tap = |position: i64, weight: i64| {
            if (0..size as i64).contains(&position) { (position as usize, weight) } else { (0, 0) }
        };
        [tap(low, one - share), tap(low + 1, share)]
    }

    /// A place in fractions of a position.
    #[inline(always)]
    fn place(&self, axis: &GridAxis, steps: i32, size: i64) -> i64 {
        let GridSample { fraction_bits: bits, nearest, padding, .. } = self.spec;
        let one = 1_i64 << bits;
        let mut place = axis.place(&self.spec, steps);
        if nearest {
            let (floor, rest) = (place >> bits, place & (one - 1));
            let is_up = 2 * rest > one || (2 * rest == one && floor & 1 == 1);
            place = (floor + i64::from(is_up)) << bits;
        }
        let last = (size - 1) << bits;
        match padding {
            GridPadding::Zeros => place.clamp(-one, size << bits),
            GridPadding::Border => place.clamp(0, last),
            GridPadding::Mirror { corners } => {
                // In halves of a fraction, so that the mirrors are whole.
                let (low, span) = if corners { (0, 2 * last) } else { (-one, 2 * size * one) };
                if span == 0 {
                    return 0;
                }
                let far = (2 * place - low).rem_euclid(2 * span);
                ((low + far.min(2 * span - far)) >> 1).clamp(0, last)
            }
        }
    }
}

impl GridAxis {
    /// A place in fractions of a position, wherever it lies.
    #[inline(always)]
    fn place(&self, spec: &GridSample, steps: i32) -> i64 {
        (self.multiplier * i64::from(steps) + self.offset) >> spec.shift
    }
}

/// The four positions around a place, with the weights of a cubic function.
#[inline(always)]
fn cubic_taps(spec: &GridSample, place: i64, size: usize) -> [(usize, i64); 4] {
    let bits = spec.fraction_bits;
    let (one, size) = (1_i128 << bits, size as i64);
    let (low, share) = (place >> bits, i128::from(place) & (one - 1));
    let rounded = |weight: i128| ((weight + 2 * one * one) >> (2 * bits + 2)) as i64;
    let near = |t: i128| rounded(5 * t * t * t - 9 * t * t * one + 4 * one * one * one);
    let far = |t: i128| rounded(-3 * t * (one - t) * (one - t));
    let weights = [far(share), near(share), near(one - share), far(one - share)];
    std::array::from_fn(|tap| {
        let position = low - 1 + tap as i64;
        let inside = match spec.padding {
            GridPadding::Zeros if !(0..size).contains(&position) => return (0, 0),
            GridPadding::Zeros => position,
            GridPadding::Border => position.clamp(0, size - 1),
            GridPadding::Mirror { corners: true } if size == 1 => 0,
            GridPadding::Mirror { corners: true } => {
                let far = position.rem_euclid(2 * (size - 1));
                far.min(2 * (size - 1) - far)
            }
            GridPadding::Mirror { corners: false } => {
                let far = position.rem_euclid(2 * size);
                far.min(2 * size - 1 - far)
            }
        };
        (inside as usize, weights[tap])
    })
}
