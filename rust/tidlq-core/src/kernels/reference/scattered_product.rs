//! Products of elements with what is scattered to them.

use super::{Data, Step};
use crate::network::ScatteredProduct;

impl Step<'_> {
    pub(super) fn scattered_product(&self, spec: &ScatteredProduct) -> Data {
        let output = self.output();
        let (low, high) = output.element_type.range().unwrap();
        let real = |input: usize| -> Vec<f64> {
            let scale = f64::from(self.spec(input).scale);
            self.centred(input).into_iter().map(|steps| scale * steps as f64).collect()
        };
        let mut products = real(0);
        for (update, &target) in real(1).into_iter().zip(&spec.target) {
            products[target] *= update;
        }
        let element = |product: f64| {
            let (v, z) = ((product * spec.gain).round_ties_even(), output.zero_point);
            let v = if v.is_nan() { 0.0 } else { v };
            v.clamp(f64::from(low - z), f64::from(high - z)) as i32 + z
        };
        Data::Integers(products.into_iter().map(element).collect())
    }
}
