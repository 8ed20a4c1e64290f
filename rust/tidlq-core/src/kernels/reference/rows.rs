//! Products of rows, and their normalization.

use super::{Data, Step, flat, indices};
use crate::fixed::Requantizer;
use crate::network::Normalization;

impl Step<'_> {
    pub(super) fn matrix_product(&self, requantizer: &Requantizer) -> Data {
        let (a, b) = (self.centred(0), self.centred(1));
        let (left, right) = (&self.spec(0).shape, &self.spec(1).shape);
        let missing = left.len() - right.len();
        let values = indices(&self.output().shape).into_iter().map(|index| {
            let rank = index.len();
            let acc = (0..left[rank - 1]).map(|k| {
                let mut from = index.clone();
                from[rank - 1] = k;
                let mut to: Vec<usize> = index[missing..].to_vec();
                for (position, &size) in to.iter_mut().zip(right) {
                    *position = if size == 1 { 0 } else { *position };
                }
                let last = to.len() - 1;
                (to[last - 1], to[last]) = (index[rank - 1], k);
                a[flat(&from, left)] * b[flat(&to, right)]
            });
            requantizer.apply(acc.sum(), 0)
        });
        Data::Integers(values.collect())
    }

    pub(super) fn normalization(&self, spec: &Normalization) -> Data {
        let output = self.output();
        let (low, high) = output.element_type.range().unwrap();
        let row = output.last_axis();
        let mut result = Vec::new();
        for (number, d) in self.centred(0).chunks(row).enumerate() {
            let n = row as i128;
            let d: Vec<i128> = d.iter().map(|&d| i128::from(d)).collect();
            let s: i128 = if spec.centred { d.iter().sum() } else { 0 };
            let v = n * d.iter().map(|d| d * d).sum::<i128>() - s * s;
            let below = v as f64 + spec.epsilon;
            let r = if below == 0.0 { 0.0 } else { 1.0 / below.sqrt() };
            for (place, d) in d.into_iter().enumerate() {
                let at = if spec.by_row { number } else { place };
                let gain = spec.gain[at % spec.gain.len()];
                let shift = spec.shift[at % spec.shift.len()];
                let v = ((n * d - s) as f64 * r * gain + shift).round_ties_even();
                let z = output.zero_point;
                result.push(v.clamp(f64::from(low - z), f64::from(high - z)) as i32 + z);
            }
        }
        Data::Integers(result)
    }
}
