//! Products of the rows of two features.

use bytemuck::{cast_slice, cast_slice_mut};

use super::requantize::{Accumulator, Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::{ElementType, with_element};
use crate::fixed::Requantizer;
use crate::isa::{Body, Cpu};
use crate::network::TensorSpec;

/// Output elements that a task aims at.
const TASK_ELEMENTS: usize = 1 << 13;

/// Batches of matrices, in which the rows of the second operand may repeat.
pub(crate) struct MatrixProductKernel {
    types: [ElementType; 2],
    zero_points: [i32; 2],
    output_type: ElementType,
    /// M, N, K.
    sizes: [usize; 3],
    /// By matrix of the output, the one of the second operand.
    second: Vec<usize>,
    /// Sums fit 32 bits.
    is_narrow: bool,
    requantizer: RowRequantizer,
}

impl MatrixProductKernel {
    pub fn new(
        first: &TensorSpec,
        second: &TensorSpec,
        output: &TensorSpec,
        requantizer: &Requantizer,
    ) -> Self {
        let rank = first.shape.len();
        let sizes = [first.shape[rank - 2], output.shape[rank - 1], first.shape[rank - 1]];
        let reach = |tensor: &TensorSpec| {
            let (low, high) = tensor.element_type.range().unwrap_or((0, 0));
            (high - tensor.zero_point).max(tensor.zero_point - low) as u64
        };
        let bound = (sizes[2] as u64).saturating_mul(reach(first) * reach(second));
        Self {
            types: [first.element_type, second.element_type],
            zero_points: [first.zero_point, second.zero_point],
            output_type: output.element_type,
            sizes,
            second: repeated(&first.shape[..rank - 2], &second.shape[..second.shape.len() - 2]),
            is_narrow: bound <= i32::MAX as u64,
            requantizer: RowRequantizer::new(requantizer, bound),
        }
    }
}

/// For every index of the leading axes, row-major, the index in those that broadcast to them.
fn repeated(lead: &[usize], other: &[usize]) -> Vec<usize> {
    let missing = lead.len() - other.len();
    let count: usize = lead.iter().product();
    let place = |index: usize| {
        let (mut rest, mut stride, mut place) = (index, 1, 0);
        for axis in (0..lead.len()).rev() {
            let position = rest % lead[axis];
            rest /= lead[axis];
            if axis >= missing {
                let size = other[axis - missing];
                place += if size == 1 { 0 } else { position * stride };
                stride *= size;
            }
        }
        place
    };
    (0..count).map(place).collect()
}

impl Kernel for MatrixProductKernel {
    fn scratch_bytes(&self) -> usize {
        let [_, columns, depth] = self.sizes;
        // A row and all columns, centred, and the accumulators of a row.
        4 * (columns + 1) * depth + 8 * (columns + 1)
    }

    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let columns = self.sizes[1];
        let chunk = work.chunk(output.len() / size, columns, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            work.scratch.with(self.scratch_bytes(), |scratch| {
                if self.is_narrow {
                    self.rows::<i32>(work.cpu, index * chunk / columns, inputs, output, scratch);
                } else {
                    self.rows::<i64>(work.cpu, index * chunk / columns, inputs, output, scratch);
                }
            });
        });
    }
}

impl MatrixProductKernel {
    /// Computes whole rows of the output from number `first`.
    fn rows<A: Sums>(
        &self,
        cpu: Cpu,
        first: usize,
        inputs: &[&[u8]],
        output: &mut [u8],
        scratch: &mut [u8],
    ) {
        let [rows, columns, depth] = self.sizes;
        let row_bytes = columns * self.output_type.size_bytes();
        let (sums, values) = scratch.split_at_mut(8 * (columns + 1));
        let sums = &mut cast_slice_mut::<u8, A>(sums)[..columns];
        let (row, matrix) = cast_slice_mut::<u8, i32>(values).split_at_mut(depth);
        let mut loaded = None;
        for (index, output) in output.chunks_mut(row_bytes).enumerate() {
            let number = first + index;
            let source = self.second[number / rows];
            if loaded != Some(source) {
                let begin = source * columns * depth;
                self.load(cpu, 1, inputs[1], begin, &mut matrix[..columns * depth]);
                loaded = Some(source);
            }
            self.load(cpu, 0, inputs[0], number * depth, row);
            cpu.run(DotBody { row, matrix, sums: &mut *sums });
            let target =
                Target { element_type: self.output_type, bytes: output, start: 0, stride: 0 };
            self.requantizer.finish(cpu, sums, Layout::row(columns), Entries::From(0), target);
        }
    }

    fn load(&self, cpu: Cpu, operand: usize, input: &[u8], first: usize, values: &mut [i32]) {
        let (element_type, zero_point) = (self.types[operand], self.zero_points[operand]);
        cpu.run(LoadBody { element_type, zero_point, input, first, values });
    }
}

struct LoadBody<'a> {
    element_type: ElementType,
    zero_point: i32,
    input: &'a [u8],
    first: usize,
    values: &'a mut [i32],
}

impl Body for LoadBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        with_element!(self.element_type, T => {
            let input = &cast_slice::<u8, T>(self.input)[self.first..];
            for (value, element) in self.values.iter_mut().zip(input) {
                *value = crate::element::Element::widen(*element) - self.zero_point;
            }
        }, float => {});
    }
}

/// Accumulators that hold a sum of products.
trait Sums: Accumulator + bytemuck::Pod {
    fn dot(row: &[i32], column: &[i32]) -> Self;
}

impl Sums for i32 {
    #[inline(always)]
    fn dot(row: &[i32], column: &[i32]) -> Self {
        row.iter().zip(column).map(|(a, b)| a * b).sum()
    }
}

impl Sums for i64 {
    #[inline(always)]
    fn dot(row: &[i32], column: &[i32]) -> Self {
        row.iter().zip(column).map(|(&a, &b)| i64::from(a) * i64::from(b)).sum()
    }
}

struct DotBody<'a, A> {
    row: &'a [i32],
    matrix: &'a [i32],
    sums: &'a mut [A],
}

impl<A: Sums> Body for DotBody<'_, A> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (sum, column) in self.sums.iter_mut().zip(self.matrix.chunks_exact(self.row.len())) {
            *sum = A::dot(self.row, column);
        }
    }
}
