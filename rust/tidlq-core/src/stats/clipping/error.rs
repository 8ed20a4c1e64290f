//! Expected squared error of a quantizer on a density.

use super::density::{Density, Side};
use super::quantizer::Quantizer;

/// Up to this many integers on one side, each one's cell is integrated; beyond, where the step is
/// finer than a bin, the density inside a cell is flat.
pub(super) const MOST_CELLS: u32 = 1 << 10;

/// Sum over all values of the squared quantization error, where saturation counts with a weight.
/// The quantizer's scale and the result are in bin widths.
pub(super) fn squared_error(density: &Density, quantizer: Quantizer, weight: f64) -> f64 {
    let Quantizer { scale, below, above } = quantizer;
    side_error(&density.negative, scale, below, below.max(above), weight)
        + side_error(&density.positive, scale, above, below.max(above), weight)
}

/// The same for the values of one sign, which have `codes` integers; `most` is the larger number
/// of integers of the two sides.
fn side_error(side: &Side, scale: f64, codes: u32, most: u32, weight: f64) -> f64 {
    if most > MOST_CELLS && scale < 1.0 {
        return flat_error(side, scale, f64::from(codes) * scale, weight);
    }
    // All values lie above the boundaries below the first bin: these add up to a series.
    let first = side.first() as f64;
    let passed = ((first / scale + 0.5) as u32).min(codes);
    let each = f64::from(passed);
    let mut reached = each * (side.excess(0.0) - 0.5 * each * scale * side.count());
    for code in passed + 1..=codes {
        let boundary = (f64::from(code) - 0.5) * scale;
        if boundary >= side.end() {
            break;
        }
        reached += side.excess(boundary);
    }
    rounded(side, scale, reached) + (weight - 1.0) * side.tail(f64::from(codes) * scale).square
}

/// The error of every number of integers from 0 to `codes` on one side.
pub(super) fn errors_by_codes(side: &Side, scale: f64, codes: u32, weight: f64) -> Vec<f64> {
    let mut reached = 0.0;
    let mut errors = Vec::with_capacity(codes as usize + 1);
    for code in 0..=codes {
        if code > 0 {
            reached += side.excess((f64::from(code) - 0.5) * scale);
        }
        let mut error = rounded(side, scale, reached);
        if weight != 1.0 {
            error += (weight - 1.0) * side.tail(f64::from(code) * scale).square;
        }
        errors.push(error);
    }
    errors
}

/// Squared rounding error from the excesses over the boundaries that integers begin at.
///
/// A magnitude x that passes n boundaries `b_k = (k - 1/2) s` becomes n s, and
/// `x^2 - (x - n s)^2 = 2 s * sum over k of (x - b_k)`.
fn rounded(side: &Side, scale: f64, reached: f64) -> f64 {
    (side.squares() - 2.0 * scale * reached).max(0.0)
}

/// `scale^2 / 12` for each value up to `end`, and the exact distance beyond.
pub(super) fn flat_error(side: &Side, scale: f64, end: f64, weight: f64) -> f64 {
    let saturated = side.tail(end);
    let inside = (side.count() - saturated.count).max(0.0);
    inside * scale * scale / 12.0 + weight * saturated.square
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::isa::{Cpu, Isa};
    use crate::stats::TensorStatistics;

    fn density_of(values: &[f32]) -> Density {
        let mut statistics = TensorStatistics::default();
        statistics.update(Cpu::new(Isa::Scalar).unwrap(), values);
        Density::of(&statistics).unwrap()
    }

    /// The integral of the error over a density made of many points per bin.
    fn naive(values: &[f32], width: f64, quantizer: Quantizer, weight: f64) -> f64 {
        let Quantizer { scale, below, above } = quantizer;
        let (low, high) = (-f64::from(below), f64::from(above));
        values.iter().fold(0.0, |sum, &value| {
            let x = f64::from(value) / width;
            let error = x - (x / scale).round().clamp(low, high) * scale;
            let is_saturated = x < low * scale || x > high * scale;
            sum + error * error * if is_saturated { weight } else { 1.0 }
        })
    }

    /// Values spread evenly over their bins, so that the density is what they are.
    fn smooth() -> Vec<f32> {
        (-300_000i32..500_000).map(|i| (i as f32 + 0.5) * 1e-5).collect()
    }

    #[test]
    fn equals_the_error_of_evenly_spread_values() {
        let values = smooth();
        let density = density_of(&values);
        for (scale, below, above) in
            [(0.05, 60, 100), (0.03, 128, 127), (0.01, 0, 255), (0.5, 3, 4), (0.001, 128, 127)]
        {
            for weight in [1.0, 3.0] {
                let quantizer = Quantizer { scale: scale / density.width, below, above };
                let want = naive(&values, density.width, quantizer, weight);
                let found = squared_error(&density, quantizer, weight);
                assert!((found / want - 1.0).abs() < 1e-3, "{found} {want} {quantizer:?}");
            }
        }
    }

    #[test]
    fn sixteen_bits_are_flat_inside_and_exact_outside() {
        let values = smooth();
        let density = density_of(&values);
        for end in [2.0, 4.5, 5.0] {
            let scale = end / 32767.0;
            let quantizer = Quantizer { scale: scale / density.width, below: 32768, above: 32767 };
            let inside = values.iter().filter(|x| f64::from(x.abs()) <= end).count() as f64;
            let saturated: f64 =
                values.iter().map(|&x| (f64::from(x.abs()) - end).max(0.0).powi(2)).sum();
            let want = inside * scale * scale / 12.0 + saturated;
            let found = squared_error(&density, quantizer, 1.0) * density.width.powi(2);
            assert!((found / want - 1.0).abs() < 1e-3, "{found} {want}");
        }
    }

    #[test]
    fn integers_that_lie_before_all_values_cost_nothing_and_count() {
        let values: Vec<f32> = (0..5000).map(|i| 100.0 + (i as f32 + 0.5) * 1e-3).collect();
        let density = density_of(&values);
        for (end, codes) in [(105.0, 65535), (105.0, 255), (103.0, 1000)] {
            let scale = end / f64::from(codes) / density.width;
            let quantizer = Quantizer { scale, below: 0, above: codes };
            let want = naive(&values, density.width, quantizer, 2.0);
            let found = squared_error(&density, quantizer, 2.0);
            assert!((found / want - 1.0).abs() < 0.02, "{found} {want} {quantizer:?}");
        }
    }

    proptest! {
        #[test]
        fn errors_by_codes_equal_those_of_the_quantizers(
            values in prop::collection::vec(-3.0f32..5.0, 1..100),
            step in 0.01f64..2.0, below in 0u32..40, above in 0u32..40, weight in 1.0f64..4.0,
        ) {
            prop_assume!(values.iter().any(|&x| x != 0.0));
            let density = density_of(&values);
            let scale = step / density.width;
            let whole = squared_error(&density, Quantizer { scale, below, above }, weight);
            let parts = errors_by_codes(&density.negative, scale, below, weight)[below as usize]
                + errors_by_codes(&density.positive, scale, above, weight)[above as usize];
            prop_assert!((whole - parts).abs() <= 1e-9 * (1.0 + whole.abs()));
        }
    }
}
