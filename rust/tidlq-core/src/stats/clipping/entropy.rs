//! The range of least Kullback-Leibler divergence between the values and their integers.

use super::density::{Density, Side};
use super::quantizer::{FeatureScales, Form, Quantizer, Range, multiples};

/// From this number of bits on a histogram has fewer bins than there are integers.
const MOST_BITS: u32 = 11;
/// Thresholds tried between the one whose step is a bin and the whole range.
const CANDIDATES: i32 = 256;
/// What lies beyond a gap counts as outliers up to one in so many values.
const RARE: f64 = 1000.0;
/// A single value may be an outlier among so many.
const FEW: f64 = 64.0;
/// A gap is as wide as everything within it.
const GAP: f64 = 2.0;

/// The whole range unless a narrower one is better. Exact zeros take no part: every quantizer
/// represents them.
pub(super) fn select(density: &Density, scales: &FeatureScales, whole: Range) -> Range {
    if scales.bits > MOST_BITS {
        return whole;
    }
    let search = Search {
        density,
        scales,
        whole,
        negative: Bins::of(&density.negative),
        positive: Bins::of(&density.positive),
    };
    if let Some(end) = search.gap() {
        return search.within(end);
    }
    match scales.form {
        Form::Multiples { unit, least_shift } => search.multiples(unit, least_shift),
        _ => search.thresholds(),
    }
}

struct Search<'a> {
    density: &'a Density,
    scales: &'a FeatureScales,
    whole: Range,
    negative: Bins,
    positive: Bins,
}

impl Search<'_> {
    /// The part of the whole range that lies within a threshold, in bin widths.
    fn within(&self, end: f64) -> Range {
        let end = (end * self.density.width) as f32;
        let (min, max) = self.whole;
        (min.max(-end).min(max), max.min(end).max(min))
    }

    /// Where outliers begin that leave the other values fewer bins than integers, so that no
    /// divergence can tell how coarsely these are represented.
    fn gap(&self) -> Option<f64> {
        let quantizer = self.scales.quantizer(self.whole);
        let codes = quantizer.above.max(quantizer.below) as usize;
        let (negative, positive) = (&self.negative, &self.positive);
        let total = negative.count() + positive.count();
        let sides = [negative, positive].into_iter().filter(|bins| !bins.counts.is_empty());
        let first = sides.map(|bins| bins.first).min()?;
        let mut seen = 0.0;
        let mut last = None;
        for cell in first..negative.end().max(positive.end()) {
            let count = negative.at(cell) + positive.at(cell);
            if count == 0.0 {
                continue;
            }
            let beyond = total - seen;
            let is_rare = beyond <= (total / RARE).max(1.0) && beyond * FEW <= total;
            match last {
                Some(end) if end > codes => return None,
                Some(end) if is_rare && cell as f64 >= GAP * end as f64 => return Some(end as f64),
                _ => {}
            }
            seen += count;
            last = Some(cell + 1);
        }
        None
    }

    /// Magnitude where the values of the side that is closer to zero begin; 0 with both sides.
    fn nearest(&self) -> f64 {
        let (min, max) = self.whole;
        f64::from(min.max(-max).max(0.0)) / self.density.width
    }

    /// A threshold on the magnitude, within the whole range.
    fn thresholds(&self) -> Range {
        let largest = self.density.negative.end().max(self.density.positive.end());
        let quantizer = self.scales.quantizer(self.whole).in_bins(self.density);
        // Where the step is a bin the integers stand for the bins, and nothing is left to lose.
        // Data that begin far from zero need as many bins behind their first one, or what is left
        // of them would be a single value that anything represents.
        let smallest = (self.nearest() + largest / quantizer.scale.max(1.0)).min(largest);
        let mut best = (self.divergence(quantizer, self.whole), self.whole);
        for candidate in 1..=CANDIDATES {
            let part = f64::from(candidate) / f64::from(CANDIDATES);
            let range = self.within(largest * (smallest / largest).powf(part));
            let quantizer = self.scales.quantizer(range).in_bins(self.density);
            let divergence = self.divergence(quantizer, range);
            if divergence < best.0 {
                best = (divergence, range);
            }
        }
        self.trimmed(best.1)
    }

    /// The scales `unit * 2^k` whose step is no finer than a bin.
    fn multiples(&self, unit: f64, least_shift: i32) -> Range {
        let mut best = (f64::INFINITY, self.whole);
        let quantizers = multiples(self.whole, self.scales.bits, unit, least_shift);
        for (step, quantizer) in quantizers.enumerate() {
            let range = if step == 0 { self.whole } else { quantizer.clip(self.whole) };
            let quantizer = quantizer.in_bins(self.density);
            let codes = f64::from(quantizer.above);
            if step > 0 && codes * quantizer.scale < codes + self.nearest() {
                break;
            }
            let divergence = self.divergence(quantizer, range);
            if divergence < best.0 {
                best = (divergence, range);
            }
        }
        best.1
    }

    /// The same range without empty bins at ends that it has moved.
    fn trimmed(&self, range: Range) -> Range {
        let width = self.density.width;
        let end = |bins: &Bins, end: f32| match bins.kept(f64::from(end) / width) {
            kept if kept == bins.counts.len() => end,
            kept => end.min((bins.occupied_end(kept) as f64 * width) as f32),
        };
        let (min, max) = range;
        (
            if min < 0.0 { -end(&self.negative, -min) } else { min },
            if max > 0.0 { end(&self.positive, max).max(min) } else { max },
        )
    }

    /// `sum p log(p / q)`, where p are the bins within a range with what lies beyond added to the
    /// outermost ones, and q is the same without, averaged over the bins of each integer that hold
    /// a value; both normalised. Infinite where the values of one side all lie beyond.
    fn divergence(&self, quantizer: Quantizer, range: Range) -> f64 {
        let width = self.density.width;
        let scale = quantizer.scale;
        let parts = [
            self.negative.part(scale, self.negative.kept(-f64::from(range.0) / width)),
            self.positive.part(scale, self.positive.kept(f64::from(range.1) / width)),
        ];
        let mut sum = Part::default();
        for part in parts {
            let Some(part) = part else { return f64::INFINITY };
            sum.kept += part.kept;
            sum.reference += part.reference;
            sum.cross += part.cross;
        }
        let total = self.negative.count() + self.positive.count();
        (sum.reference - sum.cross) / total - total.ln() + sum.kept.ln()
    }
}

/// Sums over the bins of one side within a range.
#[derive(Default)]
struct Part {
    /// Values within the range.
    kept: f64,
    /// `sum p log p`, not normalised.
    reference: f64,
    /// `sum p log q`, not normalised.
    cross: f64,
}

/// The bins of one side, with sums over those before each.
struct Bins {
    /// Magnitudes in `first + i .. first + i + 1` belong to bin i.
    first: usize,
    counts: Vec<f64>,
    /// Values.
    values: Vec<f64>,
    /// Bins that hold a value.
    occupied: Vec<u32>,
    /// `sum c log c` over the counts.
    entropy: Vec<f64>,
    /// One more than the last bin that holds a value.
    last: Vec<usize>,
}

impl Bins {
    fn of(side: &Side) -> Self {
        let counts: Vec<f64> = side.counts().iter().map(|&count| count as f64).collect();
        let (mut values, mut occupied, mut entropy, mut last) = (0.0, 0, 0.0, 0);
        let mut bins = Self {
            first: side.first(),
            values: vec![values],
            occupied: vec![occupied],
            entropy: vec![entropy],
            last: vec![last],
            counts: vec![],
        };
        for (bin, &count) in counts.iter().enumerate() {
            if count > 0.0 {
                values += count;
                occupied += 1;
                entropy += count * count.ln();
                last = bin + 1;
            }
            bins.values.push(values);
            bins.occupied.push(occupied);
            bins.entropy.push(entropy);
            bins.last.push(last);
        }
        Self { counts, ..bins }
    }

    /// All values.
    fn count(&self) -> f64 {
        self.values[self.counts.len()]
    }

    /// One more than the largest integer part of a magnitude.
    fn end(&self) -> usize {
        self.first + self.counts.len()
    }

    /// Values whose magnitudes have this integer part.
    fn at(&self, magnitude: usize) -> f64 {
        let bin = magnitude.checked_sub(self.first);
        bin.and_then(|bin| self.counts.get(bin)).copied().unwrap_or(0.0)
    }

    /// Bins whose centres lie within a magnitude; all of them where the last one begins within it.
    fn kept(&self, end: f64) -> usize {
        let bins = self.counts.len();
        let kept = ((end + 0.5).max(0.0) as usize).saturating_sub(self.first).min(bins);
        if end >= self.end() as f64 - 1.0 { bins } else { kept }
    }

    /// Magnitude at which the last bin among the first ones that holds a value ends.
    fn occupied_end(&self, bins: usize) -> usize {
        self.first + self.last[bins]
    }

    /// The sums over the first `kept` bins at a scale; `None` where these hold no value but later
    /// ones do.
    fn part(&self, scale: f64, kept: usize) -> Option<Part> {
        let beyond = self.count() - self.values[kept];
        let edge = self.last[kept];
        let mut part = Part { kept: self.values[kept], reference: self.entropy[kept], cross: 0.0 };
        if edge == 0 {
            return (beyond == 0.0).then_some(part);
        }
        let at_edge = self.counts[edge - 1];
        part.reference += (at_edge + beyond) * (at_edge + beyond).ln() - at_edge * at_edge.ln();
        let mut code = (self.first as f64 / scale).round();
        let mut start = 0;
        while start < edge {
            // Bins belong to the integer that their centre rounds to.
            let end = (((code + 0.5) * scale + 0.5).floor() - self.first as f64).max(0.0);
            let end = (end as usize).min(edge);
            let values = self.values[end.max(start)] - self.values[start];
            if values > 0.0 {
                let bins = f64::from(self.occupied[end] - self.occupied[start]);
                let folded = if end == edge { beyond } else { 0.0 };
                part.cross += (values + folded) * (values / bins).ln();
            }
            start = end.max(start);
            code += 1.0;
        }
        Some(part)
    }
}
