//! The density that a histogram stands for, as integrals of its tails.

use crate::stats::TensorStatistics;

/// Magnitudes of the values of one sign, in bin widths: uniform inside each bin.
///
/// The outermost bin ends at the exact extreme, where one value is known to lie; a bin without
/// width, such as that of a constant, holds all its values in one point.
#[derive(Debug, Default)]
pub(super) struct Side {
    /// Magnitudes in `first + i .. first + i + 1` belong to cell `i`.
    first: usize,
    counts: Vec<u64>,
    cells: Vec<Cell>,
    /// Number of values.
    count: f64,
    /// Sum of squares.
    squares: f64,
    /// Largest magnitude; 0 without values.
    end: f64,
}

/// One bin, with what lies above its upper edge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub low: f64,
    pub high: f64,
    /// Values per unit between the edges.
    pub density: f64,
    /// Values at or above the upper edge.
    pub above: f64,
    /// Sum of `x - high` over them.
    tail: f64,
    /// Sum of `(x - high)^2` over them.
    square: f64,
}

/// Sums over the values above a point: how many, by how much, and by how much squared.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Tail {
    pub count: f64,
    pub excess: f64,
    pub square: f64,
}

impl Side {
    /// From counts of increasing magnitude, the first of them of cell `first`; `start` and `end`
    /// are the smallest and the largest magnitude.
    fn new(
        counts: impl DoubleEndedIterator<Item = u64>,
        first: usize,
        start: f64,
        end: f64,
    ) -> Self {
        let counts: Vec<u64> = counts.collect();
        let mut cells = Vec::with_capacity(counts.len());
        let mut next =
            Cell { low: end, high: end, density: 0.0, above: 0.0, tail: 0.0, square: 0.0 };
        for (index, &count) in counts.iter().enumerate().rev() {
            let (low, high) = ((first + index) as f64, (first + index + 1) as f64);
            let (low, high) = (low.max(start), high.min(end));
            let is_last = index + 1 == counts.len();
            let at_end = if high <= low { count } else { count.min(u64::from(is_last)) };
            let tail = next.tail_from(next.low);
            let density = match count - at_end {
                0 => 0.0,
                inside => inside as f64 / (high - low),
            };
            next = Cell {
                low,
                high,
                density,
                above: tail.count + at_end as f64,
                tail: tail.excess,
                square: tail.square,
            };
            cells.push(next);
        }
        cells.reverse();
        let mut side = Self { first, counts, cells, end, ..Self::default() };
        let whole = side.tail(0.0);
        (side.count, side.squares) = (whole.count, whole.square);
        side
    }

    /// Number of values.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// Largest magnitude; 0 without values.
    pub fn end(&self) -> f64 {
        self.end
    }

    /// Sum of squares.
    pub fn squares(&self) -> f64 {
        self.squares
    }

    /// Index of the first bin.
    pub fn first(&self) -> usize {
        self.first
    }

    /// Values in each bin, by increasing magnitude.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The bins, by increasing magnitude.
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The values at or above `x >= 0`:  their number, sum of `v - x`, and sum of `(v - x)^2`.
    pub fn tail(&self, x: f64) -> Tail {
        match self.cell(x) {
            Some(cell) => cell.tail_from(x),
            None => Tail::default(),
        }
    }

    /// Sum of `v - x` over the values at or above `x >= 0`.
    #[inline]
    pub fn excess(&self, x: f64) -> f64 {
        match self.cell(x) {
            Some(cell) => cell.excess_from(x),
            None => 0.0,
        }
    }

    #[inline]
    fn cell(&self, x: f64) -> Option<&Cell> {
        if x > self.end {
            return None;
        }
        let index = (x as usize).saturating_sub(self.first);
        // The largest magnitude may lie on the outermost bin's upper edge.
        self.cells.get(index).or(self.cells.last())
    }
}

impl Cell {
    #[inline]
    fn excess_from(&self, x: f64) -> f64 {
        let start = x.max(self.low);
        let (inside, below) = (self.high - start, start - x);
        let count = self.above + self.density * inside;
        let excess = self.tail + (self.above + 0.5 * self.density * inside) * inside;
        excess + count * below
    }

    fn tail_from(&self, x: f64) -> Tail {
        let start = x.max(self.low);
        let (inside, below) = (self.high - start, start - x);
        let within = self.density * inside;
        let count = self.above + within;
        let excess = self.tail + (self.above + within / 2.0) * inside;
        let square =
            self.square + (2.0 * self.tail + (self.above + within / 3.0) * inside) * inside;
        Tail {
            count,
            excess: excess + count * below,
            square: square + (2.0 * excess + count * below) * below,
        }
    }
}

/// The values of a tensor: exact zeros aside, the magnitudes on either side of zero.
#[derive(Debug)]
pub(super) struct Density {
    /// Bin width, the unit of everything else.
    pub width: f64,
    pub negative: Side,
    pub positive: Side,
    /// Finite values, zeros included.
    pub count: f64,
}

impl Density {
    /// `None` while there is no value but zero.
    pub fn of(statistics: &TensorStatistics) -> Option<Self> {
        let (grid, (min, max)) = (statistics.grid()?, statistics.extremes()?);
        let (width, counts) = (grid.width(), statistics.counts());
        let (min, max) = (f64::from(min) / width, f64::from(max) / width);
        let first = i64::from(grid.first());
        let negatives = usize::try_from(-first).unwrap_or(0).min(counts.len());
        let (below, above) = counts.split_at(negatives);
        let last = -(first + negatives as i64);
        let negative = if min < 0.0 {
            Side::new(below.iter().rev().copied(), last.max(0) as usize, (-max).max(0.0), -min)
        } else {
            Side::default()
        };
        let positive = if max > 0.0 {
            Side::new(above.iter().copied(), first.max(0) as usize, min.max(0.0), max)
        } else {
            Side::default()
        };
        Some(Self { width, negative, positive, count: statistics.count() as f64 })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::isa::{Cpu, Isa};

    fn density_of(values: &[f32]) -> Density {
        let mut statistics = TensorStatistics::default();
        statistics.update(Cpu::new(Isa::Scalar).unwrap(), values);
        Density::of(&statistics).unwrap()
    }

    fn naive(magnitudes: &[f64], x: f64) -> Tail {
        let above = magnitudes.iter().filter(|&&v| v >= x);
        Tail {
            count: above.clone().count() as f64,
            excess: above.clone().map(|v| v - x).sum(),
            square: above.map(|v| (v - x).powi(2)).sum(),
        }
    }

    proptest! {
        #[test]
        fn tails_equal_those_of_the_values_within_a_bin(
            values in prop::collection::vec(-9.0f32..7.0, 1..200), point in 0.0f64..1.1
        ) {
            prop_assume!(values.iter().any(|&x| x != 0.0));
            let density = density_of(&values);
            for (side, sign) in [(&density.positive, 1.0), (&density.negative, -1.0)] {
                let magnitudes: Vec<f64> = values
                    .iter()
                    .map(|&x| sign * f64::from(x) / density.width)
                    .filter(|&x| x > 0.0)
                    .collect();
                prop_assert_eq!(side.end(), magnitudes.iter().copied().fold(0.0, f64::max));
                prop_assert_eq!(side.count().round(), magnitudes.len() as f64);
                let x = point * side.end();
                let (found, want) = (side.tail(x), naive(&magnitudes, x));
                let count = magnitudes.len() as f64;
                prop_assert!((found.excess - want.excess).abs() <= count + 1e-6);
                prop_assert!(
                    (found.square - want.square).abs() <= 2.0 * want.excess + 2.0 * count + 1e-6
                );
                prop_assert_eq!(found.excess, side.excess(x));
            }
        }
    }

    #[test]
    fn a_bin_is_uniform_and_its_tails_are_polynomials() {
        let side = Side::new([3, 0, 4].into_iter(), 1, 1.0, 4.0);
        // Three values in 1..2, three in 3..4 and one at 4.
        let tail = side.tail(1.5);
        assert_eq!(tail.count, 5.5);
        assert!((tail.excess - (1.5 * 0.25 + 3.0 * 2.0 + 2.5)).abs() < 1e-12);
        let square = 1.5 / 0.5 * 0.5f64.powi(3) / 3.0 + (2.5f64.powi(3) - 1.5f64.powi(3)) + 6.25;
        assert!((tail.square - square).abs() < 1e-12);
        assert_eq!(side.tail(0.5).count, 7.0);
        assert_eq!(side.tail(4.0), Tail { count: 1.0, ..Tail::default() });
        assert_eq!(side.tail(4.1), Tail::default());
    }

    #[test]
    fn a_constant_is_one_point() {
        for value in [5.0f32, -5.0, 1e-30, -1e30, 1.0 + f32::EPSILON] {
            let density = density_of(&[value; 9]);
            let side = if value > 0.0 { &density.positive } else { &density.negative };
            let point = f64::from(value).abs() / density.width;
            assert_eq!((side.count(), side.end()), (9.0, point));
            let below = side.tail(point * 0.75);
            assert_eq!(below.count, 9.0);
            assert!((below.square / (9.0 * (point * 0.25).powi(2)) - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn values_clipped_at_a_bound_are_one_point() {
        let mut values: Vec<f32> = (1..1000).map(|i| i as f32 * 0.006).collect();
        values.extend([6.0; 500]);
        let density = density_of(&values);
        let end = density.positive.end();
        assert_eq!(density.positive.tail(end).count, 500.0);
    }
}
