//! Where each tensor lives: memory with reuse, by liveness.

use std::collections::BTreeSet;

use super::program::{Op, Program};

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

/// Places of all tensors and sizes of all slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryPlan {
    pub places: Vec<Place>,
    pub slot_bytes: Vec<usize>,
    /// By layer: the slots that nothing reads any more once it has run.
    pub released: Vec<Vec<usize>>,
}

impl MemoryPlan {
    /// Bytes of all slots together.
    pub fn total_bytes(&self) -> usize {
        self.slot_bytes.iter().sum()
    }

    /// Plans in execution order: each output takes the smallest free slot that holds it, else grows
    /// the largest free one, else opens a new one. A reshape shares its input's place.
    pub fn of(program: &Program) -> Self {
        let owners = owners(program);
        let last_use = last_use(program, &owners);
        let mut places: Vec<Option<Place>> = places_of_sources(program);
        let mut slots = Slots::default();
        let mut released: Vec<Vec<usize>> = vec![Vec::new(); program.layers.len() + 1];
        for (step, layer) in program.layers.iter().enumerate() {
            let owner = owners[layer.output];
            if places[owner].is_none() {
                let slot = slots.take(program.tensors[owner].size_bytes());
                places[owner] = Some(Place::Slot(slot));
                released[last_use[owner]].push(slot);
            }
            places[layer.output] = places[owner];
            for &slot in &released[step] {
                slots.free.insert((slots.bytes[slot], slot));
            }
        }
        // Validation leaves no tensor without a source.
        let places = places.into_iter().map(|place| place.unwrap_or(Place::Slot(0))).collect();
        Self { places, slot_bytes: slots.bytes, released }
    }
}

#[derive(Default)]
struct Slots {
    bytes: Vec<usize>,
    free: BTreeSet<(usize, usize)>,
}

impl Slots {
    fn take(&mut self, bytes: usize) -> usize {
        let fitting = self.free.range((bytes, 0)..).next().copied();
        if let Some(entry) = fitting.or_else(|| self.free.last().copied()) {
            self.free.remove(&entry);
            let (_, slot) = entry;
            self.bytes[slot] = self.bytes[slot].max(bytes);
            return slot;
        }
        self.bytes.push(bytes);
        self.bytes.len() - 1
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

/// For each tensor the one whose place it shares: itself, or what a chain of reshapes began with.
pub(super) fn owners(program: &Program) -> Vec<usize> {
    let mut owners: Vec<usize> = (0..program.tensors.len()).collect();
    for layer in &program.layers {
        if layer.op == Op::Reshape {
            owners[layer.output] = owners[layer.inputs[0]];
        }
    }
    owners
}

/// Index of the last layer that reads a tensor or one that shares its place; the number of layers for
/// outputs of the network; the writer for a tensor that nobody reads.
fn last_use(program: &Program, owners: &[usize]) -> Vec<usize> {
    let mut last = vec![0; program.tensors.len()];
    for (step, layer) in program.layers.iter().enumerate() {
        last[owners[layer.output]] = step;
        for &input in &layer.inputs {
            last[owners[input]] = step;
        }
    }
    for &output in &program.outputs {
        last[owners[output]] = program.layers.len();
    }
    last
}
