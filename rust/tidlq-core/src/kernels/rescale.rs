//! Rescale, quantize, dequantize: element by element, one operand.

use bytemuck::{cast_slice, cast_slice_mut};

use super::block::{BLOCK, Source, load, narrow};
use super::requantize::{Entries, Layout, RowRequantizer, Target};
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::{Requantizer, dequantize, quantize, quantize_away};
use crate::isa::{Body, Cpu};
use crate::network::TensorSpec;

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 15;

/// Integer to integer of another scale or type.
pub(crate) struct RescaleKernel {
    pub input_type: ElementType,
    pub output_type: ElementType,
    pub zero_point: i32,
    pub requantizer: RowRequantizer,
    /// What is added to every byte, where that is all: between types of bytes of one scale.
    pub offset: Option<u8>,
}

/// What every byte of one type differs by from the byte of another type that it becomes; `None` where
/// that is not the same for all.
pub(crate) fn byte_offset(
    from: &TensorSpec,
    to: &TensorSpec,
    requantizer: &Requantizer,
) -> Option<u8> {
    let (low, high) = from.element_type.range()?;
    if from.element_type.size_bytes() != 1 || to.element_type.size_bytes() != 1 {
        return None;
    }
    let became = |q: i32| requantizer.apply(i64::from(q - from.zero_point), 0) as u8;
    let offset = |q: i32| became(q).wrapping_sub(q as u8);
    (low..=high).all(|q| offset(q) == offset(low)).then_some(offset(low))
}

impl Kernel for RescaleKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        if let Some(offset) = self.offset {
            work.for_each_chunk(output, TASK_ELEMENTS, |index, output| {
                let input = &inputs[0][index * TASK_ELEMENTS..][..output.len()];
                work.cpu.run(OffsetBody { input, offset, output });
            });
            return;
        }
        let size = self.output_type.size_bytes();
        let chunk = work.chunk(output.len() / size, 64, TASK_ELEMENTS);
        work.for_each_chunk(output, chunk * size, |index, output| {
            self.chunk(work.cpu, index * chunk, inputs[0], output);
        });
    }
}

impl RescaleKernel {
    fn chunk(&self, cpu: Cpu, first: usize, bytes: &[u8], output: &mut [u8]) {
        let elements = output.len() / self.output_type.size_bytes();
        let mut acc = [0_i32; BLOCK];
        for start in (0..elements).step_by(BLOCK) {
            let acc = &mut acc[..BLOCK.min(elements - start)];
            let source = Source {
                element_type: self.input_type,
                bytes,
                start: first + start,
                stride: 1,
                zero_point: self.zero_point,
            };
            load(cpu, source, acc);
            let target = Target { element_type: self.output_type, bytes: output, start, stride: 0 };
            let layout = Layout::row(acc.len());
            self.requantizer.finish(cpu, acc, layout, Entries::One(0), target);
        }
    }
}

/// Adds to every byte.
struct OffsetBody<'a> {
    input: &'a [u8],
    offset: u8,
    output: &'a mut [u8],
}

impl Body for OffsetBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (output, byte) in self.output.iter_mut().zip(self.input) {
            *output = byte.wrapping_add(self.offset);
        }
    }
}

/// Float to integer.
pub(crate) struct QuantizeKernel {
    pub output_type: ElementType,
    pub scale: f32,
    pub zero_point: i32,
    pub half_away: bool,
}

impl Kernel for QuantizeKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let size = self.output_type.size_bytes();
        let chunk = work.chunk(output.len() / size, 64, TASK_ELEMENTS);
        let input = cast_slice(inputs[0]);
        work.for_each_chunk(output, chunk * size, |index, output| {
            let first = index * chunk;
            let input = &input[first..first + output.len() / size];
            work.cpu.run(QuantizeBody { kernel: self, input, output });
        });
    }
}

struct QuantizeBody<'a> {
    kernel: &'a QuantizeKernel,
    input: &'a [f32],
    output: &'a mut [u8],
}

impl Body for QuantizeBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let QuantizeKernel { output_type, scale, zero_point, half_away } = *self.kernel;
        with_element!(output_type, T => {
            let output = cast_slice_mut::<u8, T>(self.output);
            for (elements, values) in output.chunks_mut(BLOCK).zip(self.input.chunks(BLOCK)) {
                let mut q = [0_i32; BLOCK];
                if half_away {
                    for (q, &value) in q.iter_mut().zip(values) {
                        *q = quantize_away(value, scale, zero_point, T::LOWEST, T::HIGHEST);
                    }
                } else {
                    for (q, &value) in q.iter_mut().zip(values) {
                        *q = quantize(value, scale, zero_point, T::LOWEST, T::HIGHEST);
                    }
                }
                narrow(&q, elements);
            }
        }, float => {});
    }
}

/// Integer to float.
pub(crate) struct DequantizeKernel {
    pub input_type: ElementType,
    pub scale: f32,
    pub zero_point: i32,
}

impl Kernel for DequantizeKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let output: &mut [f32] = cast_slice_mut(output);
        let chunk = work.chunk(output.len(), 64, TASK_ELEMENTS);
        let size = self.input_type.size_bytes();
        work.for_each_chunk(output, chunk, |index, output| {
            let first = index * chunk * size;
            let input = &inputs[0][first..first + output.len() * size];
            work.cpu.run(DequantizeBody { kernel: self, input, output });
        });
    }
}

struct DequantizeBody<'a> {
    kernel: &'a DequantizeKernel,
    input: &'a [u8],
    output: &'a mut [f32],
}

impl Body for DequantizeBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let DequantizeKernel { input_type, scale, zero_point } = *self.kernel;
        with_element!(input_type, T => {
            for (value, element) in self.output.iter_mut().zip(cast_slice::<u8, T>(self.input)) {
                *value = dequantize(element.widen(), scale, zero_point);
            }
        }, float => {});
    }
}
