//! Counts on a grid that widens with the data.

use super::grid::{Grid, MAX_BINS};

/// Integer counts of the non-zero values, on the grid that their extremes decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    grid: Option<Grid>,
    /// Empty without a grid, else `MAX_BINS` long so that growing needs no new memory.
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts on a grid, one per bin.
    pub fn restored(grid: Option<Grid>, mut counts: Vec<u64>) -> Self {
        counts.resize(grid.map_or(0, |_| MAX_BINS), 0);
        Self { grid, counts }
    }

    /// The grid, once there is a non-zero value.
    pub fn grid(&self) -> Option<Grid> {
        self.grid
    }

    /// One count per bin of the grid.
    pub fn counts(&self) -> &[u64] {
        &self.counts[..self.grid.map_or(0, Grid::bins)]
    }

    /// The counts, to add to.
    pub fn counts_mut(&mut self) -> &mut [u64] {
        &mut self.counts[..self.grid.map_or(0, Grid::bins)]
    }

    /// Moves the counts to a grid that covers the present one.
    pub fn widen(&mut self, grid: Grid) {
        if self.counts.is_empty() {
            self.counts = vec![0; MAX_BINS];
        } else if let Some(finer) = self.grid {
            let mut moved = [0; MAX_BINS];
            fold(&mut moved, grid, self.counts(), finer);
            self.counts.copy_from_slice(&moved);
        }
        self.grid = Some(grid);
    }

    /// Adds the counts of a histogram whose grid the present one covers.
    pub fn add(&mut self, other: &Self) {
        if let (Some(grid), Some(finer)) = (self.grid, other.grid) {
            fold(&mut self.counts, grid, other.counts(), finer);
        }
    }
}

fn fold(target: &mut [u64], grid: Grid, counts: &[u64], finer: Grid) {
    for (bin, &count) in counts.iter().enumerate() {
        target[grid.bin_of(finer, bin)] += count;
    }
}
