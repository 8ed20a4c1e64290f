//! Sums of a layer's input over the positions of its window: all that the sum of the layer's
//! accumulators depends on, apart from weights and bias.

use bytemuck::cast_slice;

use crate::coverage::{Coverage, WindowAxis, add_sums_of_taps};
use crate::element::{Element, ElementType, with_element};
use crate::isa::{Body, Cpu};
use crate::network::{LayerSpec, Map2d, Op, Program};

/// Rows that 32 bits hold the sum of: 65,535 times this is below 2^31.
const MAX_ROWS: usize = 1 << 15;

/// What is summed for one layer; serves every frame.
pub(crate) struct InputSums {
    input: Map2d,
    element_type: ElementType,
    zero_point: i64,
    rows: Coverage,
    columns: Coverage,
    shape: Vec<usize>,
}

impl InputSums {
    /// For a convolution of either kind or an inner product; `None` for any other layer.
    pub fn of(program: &Program, layer: &LayerSpec) -> Option<Self> {
        let tensor = &program.tensors[*layer.inputs.first()?];
        let (input, axes, shape) = match &layer.op {
            Op::Convolution(convolution) | Op::TransposedConvolution(convolution) => {
                let transposed = matches!(layer.op, Op::TransposedConvolution(_));
                let input = Map2d::of(&tensor.shape)?;
                let output = Map2d::of(&program.tensors[layer.output].shape)?;
                let window = &convolution.window;
                let axis = |axis: usize, size, outputs| WindowAxis {
                    size,
                    outputs,
                    kernel: window.kernel[axis],
                    stride: window.stride[axis],
                    dilation: window.dilation[axis],
                    pad: window.pad[axis],
                    transposed,
                };
                let axes =
                    [axis(0, input.height, output.height), axis(1, input.width, output.width)];
                (input, axes, vec![window.kernel[0], window.kernel[1], input.channels])
            }
            Op::InnerProduct(_) => {
                let channels = tensor.last_axis();
                let height = tensor.elements() / channels;
                let input = Map2d { count: 1, height, width: 1, channels };
                let axes = [WindowAxis::pointwise(height), WindowAxis::pointwise(1)];
                (input, axes, vec![channels])
            }
            _ => return None,
        };
        Some(Self {
            input,
            element_type: tensor.element_type,
            zero_point: tensor.zero_point.into(),
            rows: Coverage::of(&axes[0]),
            columns: Coverage::of(&axes[1]),
            shape,
        })
    }

    /// (kernel height, kernel width, input channels), or (K) for an inner product.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of sums.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Adds one frame's exact sums of `element - zero_point`, given the input's bytes.
    pub fn add(&self, cpu: Cpu, input: &[u8], sums: &mut [i64]) {
        let channels = self.input.channels;
        let groups = cpu.run(GroupBody { sums: self, input });
        let axes = (&self.rows, &self.columns, channels);
        add_sums_of_taps(axes, &groups, &mut Vec::new(), sums);
        let width = self.columns.taps();
        for (tap, sums) in sums.chunks_exact_mut(channels).enumerate() {
            let visits = self.rows.visits(tap / width) * self.columns.visits(tap % width);
            let zeros = (visits * self.input.count) as i64 * self.zero_point;
            for sum in sums {
                *sum -= zeros;
            }
        }
    }
}

/// Sums the elements of each group of rows and columns, per channel.
struct GroupBody<'a> {
    sums: &'a InputSums,
    input: &'a [u8],
}

impl Body for GroupBody<'_> {
    type Output = Vec<i64>;

    #[inline(always)]
    fn run(self) -> Vec<i64> {
        with_element!(self.sums.element_type, T => {
            group_sums::<T>(self.sums, cast_slice(self.input))
        }, float => Vec::new())
    }
}

#[inline(always)]
fn group_sums<T: Element>(sums: &InputSums, input: &[T]) -> Vec<i64> {
    let Map2d { width, channels, .. } = sums.input;
    let stretch = sums.columns.groups.len() * channels;
    let mut groups = vec![0; sums.rows.groups.len() * stretch];
    let mut line = vec![0; width * channels];
    for image in input.chunks_exact(sums.input.image()) {
        for (row_group, runs) in sums.rows.groups.iter().enumerate() {
            let target = &mut groups[row_group * stretch..][..stretch];
            let mut pending = 0;
            for row in runs.iter().flat_map(Clone::clone) {
                if pending == MAX_ROWS {
                    drain(sums, &mut line, target);
                    pending = 0;
                }
                add_row(&image[row * line.len()..], &mut line);
                pending += 1;
            }
            drain(sums, &mut line, target);
        }
    }
    groups
}

#[inline(always)]
fn add_row<T: Element>(elements: &[T], line: &mut [i32]) {
    for (sum, element) in line.iter_mut().zip(elements) {
        *sum += element.widen();
    }
}

/// Moves the sums of a line to its groups of columns, and starts again from zero.
#[inline(always)]
fn drain(sums: &InputSums, line: &mut [i32], groups: &mut [i64]) {
    let channels = sums.input.channels;
    for (target, runs) in groups.chunks_exact_mut(channels).zip(&sums.columns.groups) {
        for run in runs {
            let run = &line[run.start * channels..run.end * channels];
            for column in run.chunks_exact(channels) {
                for (sum, &value) in target.iter_mut().zip(column) {
                    *sum += i64::from(value);
                }
            }
        }
    }
    line.fill(0);
}
