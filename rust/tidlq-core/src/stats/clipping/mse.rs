//! The range of least expected squared error.

use super::density::{Density, Side};
use super::error::{MOST_CELLS, errors_by_codes, flat_error, squared_error};
use super::quantizer::{FeatureScales, Form, Quantizer, Range, SMALLEST_SCALE, multiples};

/// Rounding in the objective: what improves it by less than this does not improve it.
const NOISE: f64 = 1e-9;

/// The range whose quantizer has the least error; the whole range unless another is better.
pub(super) fn select(
    density: &Density,
    scales: &FeatureScales,
    whole: Range,
    weight: f64,
) -> Range {
    let search = Search { density, scales, whole, weight };
    let found = match scales.form {
        Form::Asymmetric => vec![search.asymmetric()],
        Form::Symmetric => search.signs().map(|range| search.symmetric(range)).collect(),
        Form::Multiples { unit, least_shift } => {
            search.signs().flat_map(|range| search.multiples(range, unit, least_shift)).collect()
        }
    };
    let mut best = (search.error_of(whole), whole);
    for range in found {
        let error = search.error_of(range);
        if error < best.0 * (1.0 - NOISE) {
            best = (error, range);
        }
    }
    best.1
}

struct Search<'a> {
    density: &'a Density,
    scales: &'a FeatureScales,
    whole: Range,
    weight: f64,
}

impl Search<'_> {
    fn error(&self, quantizer: Quantizer) -> f64 {
        squared_error(self.density, quantizer, self.weight)
    }

    fn error_of(&self, range: Range) -> f64 {
        self.error(self.scales.quantizer(range).in_bins(self.density))
    }

    /// The whole range, and where it has values of both signs its part without the negative ones,
    /// which an unsigned integer represents.
    fn signs(&self) -> impl Iterator<Item = Range> {
        let (min, max) = self.whole;
        let unsigned = (min < 0.0 && max > 0.0).then_some((0.0, max));
        std::iter::once(self.whole).chain(unsigned)
    }

    /// The finest scale worth a try, in bin widths: below it, the values that are kept would lie
    /// in too few bins to tell, or the range would lose all of them.
    fn finest(&self, codes: u32, coarsest: f64) -> f64 {
        let (min, max) = self.whole;
        let nearest = f64::from(min.max(-max).max(0.0)) / self.density.width;
        let by_bins = if codes > MOST_CELLS { coarsest / 256.0 } else { 0.125 };
        by_bins.max(nearest / f64::from(codes)).max(SMALLEST_SCALE / self.density.width)
    }

    /// Zero point 0 and any scale: one end moves.
    fn symmetric(&self, range: Range) -> Range {
        let coarsest = self.scales.quantizer(range).in_bins(self.density);
        let finest = self.finest(coarsest.above, coarsest.scale);
        let best =
            least(coarsest.scale, finest, |scale| self.error(Quantizer { scale, ..coarsest }));
        // The type's lowest integer is one step beyond the negated highest; a range that reached
        // it would get a coarser scale.
        let end = (best * f64::from(coarsest.above) * self.density.width) as f32;
        let (min, max) = range;
        if min < 0.0 {
            (min.max(-end).min(max), max.min(end))
        } else {
            (min, max.min(end).max(min))
        }
    }

    /// Zero point 0 and the scales `unit * 2^k`: a handful.
    fn multiples(&self, range: Range, unit: f64, least_shift: i32) -> Vec<Range> {
        let mut quantizers = multiples(range, self.scales.bits, unit, least_shift).peekable();
        let coarsest = quantizers.peek().map(|quantizer| quantizer.in_bins(self.density));
        let finest = coarsest.map_or(0.0, |coarsest| self.finest(coarsest.above, coarsest.scale));
        quantizers
            .take_while(|quantizer| quantizer.in_bins(self.density).scale >= finest)
            .map(|quantizer| quantizer.clip(range))
            .collect()
    }

    /// Any scale and zero point: both ends move. For each scale the best zero point is found
    /// exactly, so one coordinate is left to search.
    fn asymmetric(&self) -> Range {
        let codes = (1 << self.scales.bits) - 1;
        let (low, high) = (self.density.negative.end(), self.density.positive.end());
        let coarsest = (low + high) / f64::from(codes);
        let finest = self.finest(codes, coarsest);
        let split = |scale: f64| {
            if codes > MOST_CELLS {
                self.flat_split(scale, codes)
            } else {
                self.exact_split(scale, codes)
            }
        };
        let scale = least(coarsest, finest, |scale| split(scale).0);
        let (_, below) = split(scale);
        let (below, above) = (below * scale, (f64::from(codes) - below) * scale);
        let end = |end: f64| (end * self.density.width) as f32;
        let (min, max) = self.whole;
        (
            if min < 0.0 { min.max(-end(below)).min(max) } else { min },
            if max > 0.0 { max.min(end(above)).max(min) } else { max },
        )
    }

    /// Least error at a scale, and the number of integers below zero that leads to it. The ends
    /// may lie half a step outside of the data.
    fn exact_split(&self, scale: f64, codes: u32) -> (f64, f64) {
        let Density { negative, positive, .. } = self.density;
        let reach = |side: &Side| ((side.end() / scale + 0.5) as u32).min(codes);
        let (most_below, most_above) = (reach(negative), reach(positive));
        let below = errors_by_codes(negative, scale, most_below, self.weight);
        let above = errors_by_codes(positive, scale, most_above, self.weight);
        let mut best = (f64::INFINITY, 0.0);
        // The coarsest scale may leave one integer to neither side.
        let first = (codes - most_above).min(most_below);
        for zero in first..=most_below {
            let error = below[zero as usize] + above[((codes - zero).min(most_above)) as usize];
            if error < best.0 {
                best = (error, f64::from(zero));
            }
        }
        best
    }

    /// The same where the step is finer than the bins. Saturation is convex in the position of
    /// the ends, and least where both sides lose the same excess.
    fn flat_split(&self, scale: f64, codes: u32) -> (f64, f64) {
        let Density { negative, positive, .. } = self.density;
        let extent = f64::from(codes) * scale;
        let mut low = (extent - positive.end()).max(0.0);
        let mut high = negative.end().min(extent);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if negative.excess(middle) > positive.excess(extent - middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        let error = flat_error(negative, scale, low, self.weight)
            + flat_error(positive, scale, extent - low, self.weight);
        (error, low / scale)
    }
}

/// Candidates per octave in the first sweep, and parts that its best interval is cut into twice.
const PER_OCTAVE: f64 = 8.0;
const PARTS: i32 = 8;
const ROUNDS: i32 = 4;

/// Where a function of a positive number is least, between two bounds: a geometric sweep from the
/// upper one, then finer ones around the best. Of equals the largest.
fn least(coarsest: f64, finest: f64, error: impl Fn(f64) -> f64) -> f64 {
    let mut best = (error(coarsest), coarsest);
    let octaves = (coarsest / finest).log2();
    if octaves.is_nan() || octaves <= 0.0 {
        return coarsest;
    }
    let mut consider = |candidate: f64| {
        let candidate = candidate.clamp(finest, coarsest);
        let value = error(candidate);
        if value < best.0 {
            best = (value, candidate);
        }
        best.1
    };
    let steps = (octaves * PER_OCTAVE).ceil();
    let mut centre = coarsest;
    for step in 1..=steps as i32 {
        centre = consider(coarsest * (-octaves * f64::from(step) / steps).exp2());
    }
    let mut ratio = octaves / steps;
    for _ in 0..ROUNDS {
        let around = centre;
        ratio /= f64::from(PARTS);
        for part in (1 - PARTS..PARTS).rev().filter(|&part| part != 0) {
            centre = consider(around * (ratio * f64::from(part)).exp2());
        }
    }
    centre
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sweep_finds_the_least_value_between_its_bounds() {
        for target in [0.2, 1.0, 3.3, 79.0] {
            let found = least(80.0, 0.125, |x| (x - target).powi(2));
            assert!((found / target - 1.0).abs() < 1e-3, "{found} for {target}");
        }
        assert_eq!(least(80.0, 0.125, |x| (x - 200.0).powi(2)), 80.0);
        assert!((least(80.0, 0.125, |x| x) - 0.125).abs() < 1e-6);
    }

    #[test]
    fn of_equals_the_largest_stays() {
        assert_eq!(least(80.0, 0.125, |_| 1.0), 80.0);
        assert_eq!(least(0.1, 0.125, |x| x), 0.1);
    }
}
