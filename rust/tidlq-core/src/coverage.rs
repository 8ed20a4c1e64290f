//! Which positions of an axis the taps of a sliding window visit.
//!
//! The sum over all windows of what one tap sees is a sum over the positions that the tap visits.
//! Neighbouring taps visit nearly the same positions, so positions that the same taps visit form a
//! group: each element is added once, to its group, and a tap's sum is that of a few groups.

use std::collections::HashMap;
use std::ops::{AddAssign, Range};

/// One axis of a sliding window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowAxis {
    /// Positions of the input.
    pub size: usize,
    /// Positions of the window.
    pub outputs: usize,
    /// Taps.
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Positions before the input's first; transposed: before the output's.
    pub pad: usize,
    /// The window slides over the outputs, a position for each input.
    pub transposed: bool,
}

impl WindowAxis {
    /// An axis on which the window is one position wide and stands once on each.
    pub const fn pointwise(size: usize) -> Self {
        Self { size, outputs: size, kernel: 1, stride: 1, dilation: 1, pad: 0, transposed: false }
    }

    /// The taps that visit a position.
    fn taps_at(&self, position: usize) -> Vec<usize> {
        if self.transposed {
            let place = |tap: &usize| position * self.stride + tap * self.dilation;
            let reached = self.pad..self.pad.saturating_add(self.outputs);
            return (0..self.kernel).filter(|tap| reached.contains(&place(tap))).collect();
        }
        let offset = position + self.pad;
        let reachable = self.kernel.min(offset / self.dilation + 1);
        let visits = |&tap: &usize| {
            let start = offset - tap * self.dilation;
            start.is_multiple_of(self.stride) && start / self.stride < self.outputs
        };
        (0..reachable).filter(visits).collect()
    }
}

/// The positions of an axis, in groups that the same taps visit; unvisited ones are in none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coverage {
    /// Positions of each group, as ascending runs.
    pub groups: Vec<Vec<Range<usize>>>,
    /// The groups that each tap visits.
    taps: Vec<Vec<usize>>,
}

impl Coverage {
    pub fn of(axis: &WindowAxis) -> Self {
        let mut groups: Vec<Vec<Range<usize>>> = Vec::new();
        let mut taps = vec![Vec::new(); axis.kernel];
        let mut known = HashMap::new();
        for position in 0..axis.size {
            let visitors = axis.taps_at(position);
            if visitors.is_empty() {
                continue;
            }
            let group = *known.entry(visitors).or_insert_with_key(|visitors: &Vec<usize>| {
                for &tap in visitors {
                    taps[tap].push(groups.len());
                }
                groups.push(Vec::new());
                groups.len() - 1
            });
            match groups[group].last_mut() {
                Some(run) if run.end == position => run.end += 1,
                _ => groups[group].push(position..position + 1),
            }
        }
        Self { groups, taps }
    }

    /// Number of taps.
    pub fn taps(&self) -> usize {
        self.taps.len()
    }

    /// Positions of the input that a tap visits.
    pub fn visits(&self, tap: usize) -> usize {
        self.taps[tap].iter().flat_map(|&group| &self.groups[group]).map(Range::len).sum()
    }

    /// The one run that all visited positions form in one group, if so.
    pub fn single_run(&self) -> Option<Range<usize>> {
        match &self.groups[..] {
            [runs] if runs.len() == 1 => Some(runs[0].clone()),
            _ => None,
        }
    }
}

/// Adds to the sums of taps, (kernel height, kernel width, channels), what sums of groups,
/// (row groups, column groups, channels), contribute. The order of the additions is fixed.
/// `visited` is scratch.
pub(crate) fn add_sums_of_taps<T: Copy + Default + AddAssign>(
    (rows, columns, channels): (&Coverage, &Coverage, usize),
    groups: &[T],
    visited: &mut Vec<T>,
    sums: &mut [T],
) {
    let line = columns.groups.len() * channels;
    visited.resize(line, T::default());
    for (row, tap_groups) in rows.taps.iter().enumerate() {
        visited.fill(T::default());
        for &group in tap_groups {
            add(visited, &groups[group * line..]);
        }
        for (column, tap_groups) in columns.taps.iter().enumerate() {
            let start = (row * columns.taps.len() + column) * channels;
            for &group in tap_groups {
                add(&mut sums[start..start + channels], &visited[group * channels..]);
            }
        }
    }
}

fn add<T: Copy + AddAssign>(sums: &mut [T], terms: &[T]) {
    for (sum, &term) in sums.iter_mut().zip(terms) {
        *sum += term;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_tap_visits_what_the_definition_says(
            (size, outputs, kernel) in (1..12_usize, 0..9_usize, 1..6_usize),
            (stride, dilation, pad) in (1..4_usize, 1..4_usize, 0..5_usize),
            transposed in any::<bool>(),
        ) {
            let axis = WindowAxis { size, outputs, kernel, stride, dilation, pad, transposed };
            let coverage = Coverage::of(&axis);
            let mut grouped: Vec<usize> =
                coverage.groups.iter().flatten().flat_map(Clone::clone).collect();
            grouped.sort_unstable();
            prop_assert!(grouped.is_sorted_by(|a, b| a < b), "a position is in two groups");
            for tap in 0..kernel {
                let mut visited: Vec<usize> = coverage.taps[tap]
                    .iter()
                    .flat_map(|&group| coverage.groups[group].iter().flat_map(Clone::clone))
                    .collect();
                visited.sort_unstable();
                // Pairs of an input and an output that the tap connects.
                let (from, to) = if transposed { (size, outputs) } else { (outputs, size) };
                let place = |window: usize| (window * stride + tap * dilation).checked_sub(pad);
                let pairs = (0..from).filter_map(|window| Some((window, place(window)?)));
                let want: Vec<usize> = pairs
                    .filter(|&(_, place)| place < to)
                    .map(|(window, place)| if transposed { window } else { place })
                    .collect();
                prop_assert_eq!(coverage.visits(tap), want.len());
                prop_assert_eq!(visited, want);
            }
        }
    }

    #[test]
    fn the_inside_of_a_map_is_one_group() {
        let axis = WindowAxis { kernel: 3, pad: 1, ..WindowAxis::pointwise(56) };
        let groups = Coverage::of(&axis).groups;
        assert!(groups.iter().all(|runs| runs.len() == 1));
        assert_eq!(groups.concat(), [0..1, 1..55, 55..56]);
        assert_eq!(Coverage::of(&WindowAxis::pointwise(9)).single_run(), Some(0..9));
    }
}
