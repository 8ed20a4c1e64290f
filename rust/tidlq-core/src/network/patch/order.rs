//! Which layers a variant runs, in which order, and where their outputs live.

use std::collections::BTreeSet;

use super::super::program::{LayerSpec, Op, Program};
use crate::error::{PatchFault, Result};

/// Whose layer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    Base(usize),
    Patch(usize),
}

/// Where a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A kept tensor of the network.
    Kept(usize),
    /// A constant of the patch.
    Constant(usize),
    /// What an earlier step wrote.
    Slot { slot: usize, bytes: usize },
}

pub(super) struct Step {
    pub writer: Writer,
    pub inputs: Vec<Source>,
    pub slot: usize,
    pub bytes: usize,
}

pub(super) struct Order {
    pub steps: Vec<Step>,
    pub slot_bytes: Vec<usize>,
    /// The network's outputs, then the probes.
    pub results: Vec<Source>,
}

impl Order {
    /// Only what the results need runs: layers of the patch, and those of the network that read
    /// what they change.
    pub fn of(
        base: &Program,
        patch: &Program,
        inputs: &[usize],
        outputs: &[Option<usize>],
    ) -> Result<Self> {
        let links = Links::of(base, patch, inputs, outputs);
        let probes = patch.outputs.iter().zip(outputs).filter(|(_, stood_for)| stood_for.is_none());
        let wanted: Vec<Tensor> = base
            .outputs
            .iter()
            .map(|&output| Tensor::Base(output))
            .chain(probes.map(|(&output, _)| Tensor::Patch(output)))
            .map(|tensor| links.resolved(tensor))
            .collect();
        let writers = sorted(&links, &wanted)?;
        Ok(placed(&links, &writers, &wanted))
    }

    /// Layers of the network that run again.
    pub fn suffix(&self) -> impl Iterator<Item = usize> {
        self.steps.iter().filter_map(|step| match step.writer {
            Writer::Base(layer) => Some(layer),
            Writer::Patch(_) => None,
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tensor {
    Base(usize),
    Patch(usize),
}

/// How the tensors of the two hang together.
struct Links<'a> {
    base: &'a Program,
    patch: &'a Program,
    /// By tensor of the network: the patch's that stands in for it.
    replaced: Vec<Option<usize>>,
    /// By tensor of the network: whether the variant's differs.
    is_affected: Vec<bool>,
    /// By tensor of the patch: the network's that it is.
    bound: Vec<Option<usize>>,
    base_writers: Vec<Option<usize>>,
    patch_writers: Vec<Option<usize>>,
}

impl<'a> Links<'a> {
    fn of(
        base: &'a Program,
        patch: &'a Program,
        inputs: &[usize],
        outputs: &[Option<usize>],
    ) -> Self {
        let mut replaced = vec![None; base.tensors.len()];
        for (&own, other) in patch.outputs.iter().zip(outputs) {
            if let Some(other) = *other {
                replaced[other] = Some(own);
            }
        }
        let mut bound = vec![None; patch.tensors.len()];
        for (&own, &other) in patch.inputs.iter().zip(inputs) {
            bound[own] = Some(other);
        }
        let mut is_affected: Vec<bool> = replaced.iter().map(Option::is_some).collect();
        for layer in &base.layers {
            let reads = layer.inputs.iter().any(|&input| is_affected[input]);
            is_affected[layer.output] |= reads;
        }
        let (base_writers, patch_writers) = (writers(base), writers(patch));
        Self { base, patch, replaced, is_affected, bound, base_writers, patch_writers }
    }

    /// The tensor that holds the variant's value.
    fn resolved(&self, tensor: Tensor) -> Tensor {
        let base = match tensor {
            Tensor::Base(index) => index,
            Tensor::Patch(index) => match self.bound[index] {
                Some(other) => other,
                None => return tensor,
            },
        };
        self.replaced[base].map_or(Tensor::Base(base), Tensor::Patch)
    }

    /// The layer that has to run for a resolved tensor.
    fn writer(&self, tensor: Tensor) -> Option<Writer> {
        match tensor {
            Tensor::Base(index) if self.is_affected[index] => {
                self.base_writers[index].map(Writer::Base)
            }
            Tensor::Base(_) => None,
            Tensor::Patch(index) => self.patch_writers[index].map(Writer::Patch),
        }
    }

    fn layer(&self, writer: Writer) -> &LayerSpec {
        match writer {
            Writer::Base(layer) => &self.base.layers[layer],
            Writer::Patch(layer) => &self.patch.layers[layer],
        }
    }

    /// Resolved inputs of a layer.
    fn inputs(&self, writer: Writer) -> Vec<Tensor> {
        let tensor = match writer {
            Writer::Base(_) => Tensor::Base,
            Writer::Patch(_) => Tensor::Patch,
        };
        self.layer(writer).inputs.iter().map(|&input| self.resolved(tensor(input))).collect()
    }

    /// The tensor that a layer writes.
    fn output(&self, writer: Writer) -> Tensor {
        let output = self.layer(writer).output;
        match writer {
            Writer::Base(_) => Tensor::Base(output),
            Writer::Patch(_) => Tensor::Patch(output),
        }
    }

    fn bytes(&self, writer: Writer) -> usize {
        let output = self.layer(writer).output;
        match writer {
            Writer::Base(_) => self.base.tensors[output].size_bytes(),
            Writer::Patch(_) => self.patch.tensors[output].size_bytes(),
        }
    }

    /// One number for each tensor of both.
    fn id(&self, tensor: Tensor) -> usize {
        match tensor {
            Tensor::Base(index) => index,
            Tensor::Patch(index) => self.base.tensors.len() + index,
        }
    }

    fn tensors(&self) -> usize {
        self.base.tensors.len() + self.patch.tensors.len()
    }
}

fn writers(program: &Program) -> Vec<Option<usize>> {
    let mut writers = vec![None; program.tensors.len()];
    for (index, layer) in program.layers.iter().enumerate() {
        writers[layer.output] = Some(index);
    }
    writers
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    Never,
    Open,
    Done,
}

/// The layers that the wanted tensors need, each behind those that it reads.
fn sorted(links: &Links<'_>, wanted: &[Tensor]) -> Result<Vec<Writer>> {
    let mut states = vec![Visit::Never; links.tensors()];
    let mut order = Vec::new();
    for &tensor in wanted {
        // Depth first; a layer stays on the stack until all that it reads is there.
        let mut stack: Vec<Tensor> = vec![tensor];
        while let Some(&tensor) = stack.last() {
            let id = links.id(tensor);
            let Some(writer) = links.writer(tensor).filter(|_| states[id] != Visit::Done) else {
                states[id] = Visit::Done;
                stack.pop();
                continue;
            };
            let inputs = links.inputs(writer);
            let missing: Vec<Tensor> = inputs
                .into_iter()
                .filter(|&input| links.writer(input).is_some())
                .filter(|&input| states[links.id(input)] != Visit::Done)
                .collect();
            if missing.is_empty() {
                states[id] = Visit::Done;
                order.push(writer);
                stack.pop();
                continue;
            }
            let is_circle = missing.iter().any(|&input| states[links.id(input)] == Visit::Open);
            if is_circle || states[id] == Visit::Open {
                let layer = links.layer(writer).name.clone();
                return Err(PatchFault::Circle { layer }.into());
            }
            states[id] = Visit::Open;
            stack.extend(missing);
        }
    }
    Ok(order)
}

/// Memory with reuse for the layers' outputs, and where each finds its inputs.
fn placed(links: &Links<'_>, writers: &[Writer], wanted: &[Tensor]) -> Order {
    let owners = owners(links, writers);
    let mut last_use = vec![0; links.tensors()];
    for (step, &writer) in writers.iter().enumerate() {
        last_use[owners[links.id(links.output(writer))]] = step;
        for input in links.inputs(writer) {
            last_use[owners[links.id(input)]] = step;
        }
    }
    for &tensor in wanted {
        last_use[owners[links.id(tensor)]] = writers.len();
    }
    let mut slots: Vec<Option<usize>> = vec![None; links.tensors()];
    let mut slot_bytes: Vec<usize> = Vec::new();
    let mut free: BTreeSet<(usize, usize)> = BTreeSet::new();
    let mut released: Vec<Vec<usize>> = vec![Vec::new(); writers.len() + 1];
    let mut steps = Vec::with_capacity(writers.len());
    for (index, &writer) in writers.iter().enumerate() {
        let (owner, bytes) = (owners[links.id(links.output(writer))], links.bytes(writer));
        let is_own = owner == links.id(links.output(writer));
        let slot = if is_own {
            let slot = take(&mut free, &mut slot_bytes, bytes);
            slots[owner] = Some(slot);
            released[last_use[owner]].push(slot);
            slot
        } else {
            // A reshape, whose memory is its input's.
            slots[owner].unwrap_or(0)
        };
        let inputs = links.inputs(writer);
        let inputs = inputs.into_iter().map(|input| source(links, &owners, &slots, input));
        steps.push(Step { writer, inputs: inputs.collect(), slot, bytes });
        for slot in std::mem::take(&mut released[index]) {
            free.insert((slot_bytes[slot], slot));
        }
    }
    let results = wanted.iter().map(|&tensor| source(links, &owners, &slots, tensor)).collect();
    Order { steps, slot_bytes, results }
}

/// The smallest free slot that holds the bytes, else the largest one, grown, else a new one.
fn take(free: &mut BTreeSet<(usize, usize)>, sizes: &mut Vec<usize>, bytes: usize) -> usize {
    let fitting = free.range((bytes, 0)..).next().copied();
    if let Some(entry) = fitting.or_else(|| free.last().copied()) {
        free.remove(&entry);
        sizes[entry.1] = sizes[entry.1].max(bytes);
        return entry.1;
    }
    sizes.push(bytes);
    sizes.len() - 1
}

/// For each tensor the one whose memory it shares: a reshape's output has its input's.
fn owners(links: &Links<'_>, writers: &[Writer]) -> Vec<usize> {
    let mut owners: Vec<usize> = (0..links.tensors()).collect();
    for &writer in writers {
        if links.layer(writer).op == Op::Reshape {
            let input = links.id(links.inputs(writer)[0]);
            owners[links.id(links.output(writer))] = owners[input];
        }
    }
    owners
}

fn source(links: &Links<'_>, owners: &[usize], slots: &[Option<usize>], tensor: Tensor) -> Source {
    let owner = owners[links.id(tensor)];
    if let Some(slot) = slots[owner] {
        let bytes = match tensor {
            Tensor::Base(index) => links.base.tensors[index].size_bytes(),
            Tensor::Patch(index) => links.patch.tensors[index].size_bytes(),
        };
        return Source::Slot { slot, bytes };
    }
    let kept = links.base.tensors.len();
    if owner < kept { Source::Kept(owner) } else { Source::Constant(owner - kept) }
}
