//! Samples at places that a grid gives.

use super::{Data, Step, indices};
use crate::network::{GridPadding, GridSample};

impl Step<'_> {
    pub(super) fn grid_sample(&self, spec: &GridSample) -> Data {
        let (map, out) = self.maps();
        let (values, grid) = (self.centred(0), self.centred(1));
        let whole = f64::from(1 << spec.fraction_bits);
        let element = |index: Vec<usize>| {
            let pixel = (index[0] * out.height + index[1]) * out.width + index[2];
            let place = |axis: usize, size: usize| {
                let spec_axis = &spec.axes[axis];
                let steps = grid[2 * pixel + 1 - axis];
                let sum = i128::from(spec_axis.multiplier) * i128::from(steps)
                    + i128::from(spec_axis.offset);
                // Exact: below 2^53.
                let place = (sum >> spec.shift) as f64 / whole;
                let place = if spec.nearest { place.round_ties_even() } else { place };
                if spec.cubic { place } else { padded(place, size as f64, spec.padding) }
            };
            let cubic_sides = |place: f64, size: usize| {
                let t = ((place - place.floor()) * whole) as i128;
                let f = whole as i128;
                let shift = 2 * spec.fraction_bits + 2;
                let near =
                    |t: i128| (5 * t.pow(3) - 9 * t * t * f + 4 * f.pow(3) + 2 * f * f) >> shift;
                let far = |t: i128| (-3 * t * (f - t).pow(2) + 2 * f * f) >> shift;
                let weights = [far(t), near(t), near(f - t), far(f - t)];
                let position = |tap: usize| place.floor() - 1.0 + tap as f64;
                let inside = |tap: usize| padded(position(tap), size as f64, spec.padding);
                (0..4).map(|tap| (inside(tap), weights[tap] as f64 / whole)).collect::<Vec<_>>()
            };
            let sides = |place: f64, size: usize| {
                if spec.cubic {
                    return cubic_sides(place, size);
                }
                let share = place - place.floor();
                vec![(place.floor(), 1.0 - share), (place.floor() + 1.0, share)]
            };
            let mut acc = 0;
            for (row, tall) in sides(place(0, map.height), map.height) {
                for (column, wide) in sides(place(1, map.width), map.width) {
                    let is_inside = (0.0..map.height as f64).contains(&row)
                        && (0.0..map.width as f64).contains(&column);
                    if is_inside {
                        let line = index[0] * map.height + row as usize;
                        let at = (line * map.width + column as usize) * map.channels + index[3];
                        acc += values[at] * (tall * wide * whole * whole) as i64;
                    }
                }
            }
            spec.requantizer.apply(acc, 0)
        };
        let shape = [out.count, out.height, out.width, out.channels];
        Data::Integers(indices(&shape).into_iter().map(element).collect())
    }
}

/// Where a place outside of the feature is looked for; all numbers are exact.
fn padded(place: f64, size: f64, padding: GridPadding) -> f64 {
    let last = size - 1.0;
    let (low, high) = match padding {
        GridPadding::Zeros => return place,
        GridPadding::Border => return place.clamp(0.0, last),
        GridPadding::Mirror { corners: true } => (0.0, last),
        GridPadding::Mirror { corners: false } => (-0.5, size - 0.5),
    };
    if low == high {
        return 0.0;
    }
    let turns = ((place - low) / (high - low)).floor();
    let rest = place - low - turns * (high - low);
    let place = if turns % 2.0 == 0.0 { low + rest } else { high - rest };
    place.clamp(0.0, last)
}
