//! Powers of two broadcast operands, each by its table.

use bytemuck::cast_slice_mut;

use super::block::load;
use super::broadcast::Broadcast;
use super::{Kernel, Work};
use crate::element::{Element, ElementType, with_element};
use crate::fixed::exp2;
use crate::isa::Body;
use crate::network::Power;

/// Elements of one task.
const TASK_ELEMENTS: usize = 1 << 13;

/// Base and exponent.
pub(crate) struct PowerKernel {
    pub power: Power,
    /// Of integers less the lowest of their types.
    pub broadcast: Broadcast,
    pub output_type: ElementType,
    pub zero_point: i32,
}

impl Kernel for PowerKernel {
    fn run(&self, inputs: &[&[u8]], output: &mut [u8], work: &Work<'_>) {
        let sizes = (self.output_type.size_bytes(), TASK_ELEMENTS);
        self.broadcast.for_each_stretch(
            work,
            output,
            sizes,
            |position, [bases, exponents], output| {
                load(work.cpu, self.broadcast.source(0, inputs[0], position), bases);
                load(work.cpu, self.broadcast.source(1, inputs[1], position), exponents);
                work.cpu.run(PowerBody { kernel: self, bases, exponents, output });
            },
        );
    }
}

struct PowerBody<'a> {
    kernel: &'a PowerKernel,
    bases: &'a [i32],
    exponents: &'a [i32],
    output: &'a mut [u8],
}

impl Body for PowerBody<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Self { kernel, bases, exponents, output } = self;
        with_element!(kernel.output_type, T => {
            let bounds = [T::LOWEST, T::HIGHEST].map(|end| f64::from(end - kernel.zero_point));
            let elements = cast_slice_mut::<u8, T>(output).iter_mut();
            for (element, (&base, &exponent)) in elements.zip(bases.iter().zip(exponents)) {
                let value = kernel.value(base as usize, exponent as usize) * kernel.power.gain;
                let steps = value.round_ties_even().clamp(bounds[0], bounds[1]) as i32;
                *element = T::narrow(steps + kernel.zero_point);
            }
        }, float => {});
    }
}

impl PowerKernel {
    #[inline(always)]
    fn value(&self, base: usize, exponent: usize) -> f64 {
        let Power { logarithm, sign, parity, .. } = &self.power;
        let (sign, parity, power) = (sign[base], parity[exponent], self.power.exponent[exponent]);
        let magnitude = exp2(logarithm[base] * power);
        if power == 0.0 {
            1.0
        } else if sign > 0 || (sign < 0 && parity == 0) {
            magnitude
        } else if sign < 0 && parity == 1 {
            -magnitude
        } else if power > 0.0 {
            0.0
        } else {
            f64::INFINITY
        }
    }
}
