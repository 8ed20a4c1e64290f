//! Parameters of a row of accumulators, in groups that vectorise.

/// Which entries of the lists a row of accumulators uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entries {
    /// This one for every accumulator.
    One(usize),
    /// Consecutive ones from this.
    From(usize),
}

/// Accumulators that are requantized together.
pub(super) const GROUP: usize = 16;

/// Parameters of a row.
pub(super) trait Lanes<T: Copy> {
    /// Those of a group.
    fn group(&self, index: usize) -> &[T; GROUP];
    /// That of one accumulator.
    fn at(&self, index: usize) -> T;
}

/// One parameter for all.
pub(super) struct One<T>([T; GROUP]);

/// No parameter.
pub(super) const NONE: One<()> = One([(); GROUP]);

impl<T: Copy> One<T> {
    #[inline(always)]
    pub fn new(value: T) -> Self {
        Self([value; GROUP])
    }
}

impl<T: Copy> Lanes<T> for One<T> {
    #[inline(always)]
    fn group(&self, _index: usize) -> &[T; GROUP] {
        &self.0
    }

    #[inline(always)]
    fn at(&self, _index: usize) -> T {
        self.0[0]
    }
}

/// One parameter per accumulator.
pub(super) struct Row<'a, T>(pub &'a [T]);

impl<T: Copy> Lanes<T> for Row<'_, T> {
    #[inline(always)]
    fn group(&self, index: usize) -> &[T; GROUP] {
        let (groups, _) = self.0.as_chunks();
        &groups[index]
    }

    #[inline(always)]
    fn at(&self, index: usize) -> T {
        self.0[index]
    }
}

/// One parameter for the row, or one per accumulator.
#[derive(Clone, Copy)]
pub(super) enum Selected<'a, T> {
    One(T),
    Row(&'a [T]),
}

#[inline(always)]
pub(super) fn select<T: Copy>(entries: Entries, list: &[T], length: usize) -> Selected<'_, T> {
    match entries {
        _ if list.len() == 1 => Selected::One(list[0]),
        Entries::One(entry) => Selected::One(list[entry]),
        Entries::From(first) => Selected::Row(&list[first..first + length]),
    }
}
