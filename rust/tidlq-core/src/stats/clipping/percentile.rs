//! The range that holds the central part of the values.

use super::density::{Density, Side};
use super::quantizer::Range;

/// The range between two quantiles: what it leaves out is split between both ends of data with
/// values of both signs, and taken from the outer end of other data.
pub(super) fn select(density: &Density, whole: Range, percent: f64) -> Range {
    let (min, max) = whole;
    let tail = density.count * (100.0 - percent) / 100.0;
    let is_two_sided = min < 0.0 && max > 0.0;
    let tail = if is_two_sided { tail / 2.0 } else { tail };
    let end = |side: &Side| (quantile(side, tail) * density.width) as f32;
    let range = (
        if min < 0.0 { min.max(-end(&density.negative)).min(max) } else { min },
        if max > 0.0 { max.min(end(&density.positive)).max(min) } else { max },
    );
    // Nothing but zeros would be left: a range without extent says that the feature is dead.
    if range == (0.0, 0.0) { whole } else { range }
}

/// The magnitude that `tail` values lie above; 0 if there are not so many.
fn quantile(side: &Side, tail: f64) -> f64 {
    for cell in side.cells().iter().rev() {
        if tail < cell.above {
            return cell.high;
        }
        let missing = tail - cell.above;
        if missing < cell.density * (cell.high - cell.low) {
            return cell.high - missing / cell.density;
        }
    }
    0.0
}
