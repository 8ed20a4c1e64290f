//! Powers of two operands.

use super::{Data, Step};
use crate::fixed::exp2;
use crate::network::Power;

impl Step<'_> {
    pub(super) fn power(&self, spec: &Power) -> Data {
        let output = self.output();
        let (low, high) = output.element_type.range().unwrap();
        let index = |input: usize, steps: i64| {
            let tensor = self.spec(input);
            let (lowest, _) = tensor.element_type.range().unwrap();
            (steps + i64::from(tensor.zero_point - lowest)) as usize
        };
        let element = |operands: Vec<i64>| {
            let (i, j) = (index(0, operands[0]), index(1, operands[1]));
            let exponent = spec.exponent[j];
            let magnitude = exp2(spec.logarithm[i] * exponent);
            let v = match (spec.sign[i], spec.parity[j]) {
                _ if exponent == 0.0 => 1.0,
                (1, _) | (-1, 0) => magnitude,
                (-1, 1) => -magnitude,
                _ if exponent > 0.0 => 0.0,
                _ => f64::INFINITY,
            };
            let z = output.zero_point;
            let v = (v * spec.gain).round_ties_even();
            v.clamp(f64::from(low - z), f64::from(high - z)) as i32 + z
        };
        Data::Integers(self.operands().into_iter().map(element).collect())
    }
}
