//! Where each tensor lives: memory with reuse, by liveness.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::homes::Homes;
use super::program::Program;

/// Where a tensor's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// In the caller's array of this network input.
    Input(usize),
    /// In the tensor of this index, which is a constant.
    Constant(usize),
    /// In this slot of the workspace.
    Slot(usize),
}

/// The features that a step reads, and the one that it writes.
#[derive(Clone, Copy)]
pub(crate) struct Touched<'a> {
    pub inputs: &'a [usize],
    pub output: usize,
}

/// Places of all tensors and sizes of all slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    pub places: Vec<Place>,
    /// By tensor, the first byte in its place.
    pub offsets: Vec<usize>,
    pub slot_bytes: Vec<usize>,
    /// By step: the slots that nothing reads any more once it has run.
    pub released: Vec<Vec<usize>>,
}

impl MemoryPlan {
    /// Bytes of all slots together.
    pub fn total_bytes(&self) -> usize {
        self.slot_bytes.iter().sum()
    }

    /// For a run layer by layer.
    #[cfg(test)]
    pub fn of(program: &Program) -> Self {
        let layers = program.layers.iter();
        let steps = layers.map(|layer| Touched { inputs: &layer.inputs, output: layer.output });
        Self::of_steps(program, &Homes::of_reshapes(program), &steps.collect::<Vec<_>>())
    }

    /// The largest tensors choose first: each takes the smallest slot that is free for as long as it is
    /// needed, else opens one of its size. What lives inside another tensor shares its place. A tensor
    /// that no step writes has an arbitrary one.
    pub fn of_steps(program: &Program, homes: &Homes, steps: &[Touched<'_>]) -> Self {
        let owners = &homes.owner;
        let last_use = last_use(program, steps, owners);
        let mut places: Vec<Option<Place>> = places_of_sources(program);
        let mut is_known: Vec<bool> = places.iter().map(Option::is_some).collect();
        let mut needs = Vec::new();
        for (step, touched) in steps.iter().enumerate() {
            let owner = owners[touched.output];
            if !std::mem::replace(&mut is_known[owner], true) {
                needs.push((program.tensors[owner].size_bytes(), step, owner));
            }
        }
        needs.sort_unstable_by_key(|&(bytes, step, _)| (Reverse(bytes), step));
        let mut slots: Vec<Slot> = Vec::new();
        let mut released = vec![Vec::new(); steps.len() + 1];
        for (bytes, step, owner) in needs {
            let mut free = slots.iter().rev().take(SEARCHED_SLOTS);
            let free = free.position(|slot| slot.is_free(step, last_use[owner]));
            let slot = free.map_or(slots.len(), |position| slots.len() - 1 - position);
            if slot == slots.len() {
                slots.push(Slot { bytes, taken: BTreeMap::new() });
            }
            slots[slot].taken.insert(step, last_use[owner]);
            places[owner] = Some(Place::Slot(slot));
            released[last_use[owner]].push(slot);
        }
        let place = |tensor: usize| places[tensor].or(places[owners[tensor]]);
        let places = (0..places.len()).map(|tensor| place(tensor).unwrap_or(Place::Slot(0)));
        let slot_bytes = slots.iter().map(|slot| slot.bytes).collect();
        Self { places: places.collect(), offsets: homes.offset.clone(), slot_bytes, released }
    }
}

/// Slots among which a tensor looks for a free one, so that a file of many features that are all needed
/// at once is planned in time that grows with its size.
const SEARCHED_SLOTS: usize = 64;

struct Slot {
    bytes: usize,
    /// First and last steps of the tensors in it.
    taken: BTreeMap<usize, usize>,
}

impl Slot {
    /// Whether no tensor in it is needed between two steps, or at one of them.
    fn is_free(&self, first: usize, last: usize) -> bool {
        self.taken.range(..=last).next_back().is_none_or(|(_, &end)| end < first)
    }
}

fn places_of_sources(program: &Program) -> Vec<Option<Place>> {
    let mut places: Vec<Option<Place>> = (0..program.tensors.len())
        .map(|index| program.tensors[index].constant.is_some().then_some(Place::Constant(index)))
        .collect();
    for (position, &tensor) in program.inputs.iter().enumerate() {
        places[tensor] = Some(Place::Input(position));
    }
    places
}

/// Index of the last step that reads a tensor or one that shares its place; the number of steps for
/// outputs of the network; the writer for a tensor that nobody reads.
fn last_use(program: &Program, steps: &[Touched<'_>], owners: &[usize]) -> Vec<usize> {
    let mut last = vec![0; program.tensors.len()];
    for (step, touched) in steps.iter().enumerate() {
        last[owners[touched.output]] = step;
        for &input in touched.inputs {
            last[owners[input]] = step;
        }
    }
    for &output in &program.outputs {
        last[owners[output]] = steps.len();
    }
    last
}
