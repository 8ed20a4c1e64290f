//! The quotient of two broadcast operands.

use bytemuck::cast_slice_mut;

use super::block::load;
use super::broadcast::Broadcast;
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::{Requantizer, Rounding, divide_scaled, entry};
use crate::isa::Body;

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 14;

/// Quotient of two operands.
pub(crate) struct DivisionKernel {
    pub broadcast: Broadcast,
    pub output_type: ElementType,
    pub output_scale: f32,
    pub requantizer: Requantizer,
}

impl Kernel for DivisionKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let sizes = (self.output_type.size_bytes(), TASK_ELEMENTS);
        self.broadcast.for_each_stretch(work, output, sizes, |position, [left, right], output| {
            load(work.cpu, self.broadcast.source(0, inputs[0], position), left);
            load(work.cpu, self.broadcast.source(1, inputs[1], position), right);
            work.cpu.run(DivideBody { kernel: self, left, right, output });
        });
    }
}

struct DivideBody<'a> {
    kernel: &'a DivisionKernel,
    left: &'a [i32],
    right: &'a [i32],
    output: &'a mut [u8],
}

impl Body for DivideBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, left, right, output } = self;
        let requantizer = &kernel.requantizer;
        with_element!(kernel.output_type, T => {
            let pairs = cast_slice_mut::<u8, T>(output).iter_mut().zip(left.iter().zip(right));
            match &requantizer.rounding {
                Rounding::Fixed { multiplier, shift } => {
                    let (multiplier, shift) = (entry(multiplier, 0), entry(shift, 0));
                    for (element, (&a, &b)) in pairs {
                        let value = divide_scaled(a, b, multiplier, shift);
                        *element = T::narrow(requantizer.saturate(value.into()));
                    }
                }
                Rounding::Float(scale) => {
                    let (first, second) = (entry(scale, 0), entry(scale, 1));
                    for (element, (&a, &b)) in pairs {
                        let value = (first * a as f32) / (second * b as f32) / kernel.output_scale;
                        let value = if a == 0 && b == 0 { 0.0 } else { value };
                        *element = T::narrow(requantizer.apply_float(value));
                    }
                }
                // Validation allows no other mode.
                _ => {}
            }
        }, float => {});
    }
}
