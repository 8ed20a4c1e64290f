//! Layers that stand in for layers of another network, whose features are kept.

mod order;

use std::collections::HashSet;
use std::sync::Arc;

use super::buffer::AlignedBuffer;
use super::executor::Engine;
use super::program::{Program, TensorSpec};
use crate::error::{PatchFault, Result};
use crate::kernels::{Kernel, Scratch, Work, kernel_for};
use order::{Order, Source, Writer};

/// The layers in which a variant differs from the network, and the network's layers that follow them.
pub struct Patch {
    program: Program,
    kernels: Vec<Option<Box<dyn Kernel>>>,
    order: Order,
    /// Positions, among the patch's outputs, of those that stand in for nothing.
    probes: Vec<usize>,
    scratch: Scratch,
    /// Of the network.
    pub(super) token: Arc<()>,
}

impl Patch {
    pub(super) fn new(
        base: &Engine,
        program: Program,
        inputs: &[usize],
        outputs: &[Option<usize>],
        token: Arc<()>,
    ) -> Result<Self> {
        check(base, &program, inputs, outputs)?;
        let order = Order::of(&base.program, &program, inputs, outputs)?;
        let isa = base.isa();
        let kernels: Vec<_> =
            program.layers.iter().map(|layer| kernel_for(isa, &program, layer)).collect();
        let own = kernels.iter().flatten().map(|kernel| kernel.scratch_bytes());
        let scratch = Scratch::new(base.threads(), own.max().unwrap_or(0))?;
        let probes = (0..outputs.len()).filter(|&output| outputs[output].is_none()).collect();
        Ok(Self { program, kernels, order, probes, scratch, token })
    }

    /// The layers in which the variant differs.
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Layers of the network that run again, in execution order.
    pub fn suffix(&self) -> Vec<usize> {
        let mut layers: Vec<usize> = self.order.suffix().collect();
        layers.sort_unstable();
        layers
    }

    /// What a run gives: the network's outputs, then the probes.
    pub fn results<'a>(&'a self, base: &'a Engine) -> Vec<&'a TensorSpec> {
        let outputs = base.program.outputs.iter().map(|&output| &base.program.tensors[output]);
        let probes = self.probes.iter();
        let probes = probes.map(|&probe| &self.program.tensors[self.program.outputs[probe]]);
        outputs.chain(probes).collect()
    }

    /// Runs one frame; `body` sees its results.
    pub(super) fn run<'a>(
        &'a self,
        base: &'a Engine,
        kept: &dyn Fn(usize) -> &'a [u8],
        threads: usize,
        body: impl FnOnce(&[&[u8]]),
    ) -> Result<()> {
        let sizes = &self.order.slot_bytes;
        let mut slots = sizes
            .iter()
            .map(|&bytes| AlignedBuffer::zeroed(bytes, "features"))
            .collect::<Result<Vec<_>>>()?;
        for step in &self.order.steps {
            let (kernel, scratch) = match step.writer {
                Writer::Base(layer) => (&base.kernels[layer], &base.scratch),
                Writer::Patch(layer) => (&self.kernels[layer], &self.scratch),
            };
            let Some(kernel) = kernel else { continue };
            let mut output = std::mem::take(&mut slots[step.slot]);
            let inputs = step.inputs.iter().map(|source| self.bytes(source, &slots, kept));
            let inputs: Vec<&[u8]> = inputs.collect();
            let work = Work { cpu: base.cpu, threads, scratch };
            kernel.run(&inputs, &mut output.bytes_mut()[..step.bytes], &work);
            slots[step.slot] = output;
        }
        let results = self.order.results.iter().map(|source| self.bytes(source, &slots, kept));
        body(&results.collect::<Vec<_>>());
        Ok(())
    }

    fn bytes<'b, 'a: 'b>(
        &'a self,
        source: &Source,
        slots: &'b [AlignedBuffer],
        kept: &dyn Fn(usize) -> &'a [u8],
    ) -> &'b [u8] {
        match *source {
            Source::Kept(tensor) => kept(tensor),
            Source::Constant(tensor) => {
                let constant = &self.program.tensors[tensor].constant;
                constant.as_ref().map_or(&[], |constant| constant.bytes())
            }
            Source::Slot { slot, bytes } => &slots[slot].bytes()[..bytes],
        }
    }
}

/// Every tensor has the form of the one that it is, or that it stands in for, and what stands in
/// for another is written by a layer, as the other is.
fn check(
    base: &Engine,
    program: &Program,
    inputs: &[usize],
    outputs: &[Option<usize>],
) -> Result<()> {
    let counts = [
        ("inputs", program.inputs.len(), inputs.len()),
        ("outputs", program.outputs.len(), outputs.len()),
    ];
    for (what, want, got) in counts {
        if want != got {
            return Err(PatchFault::Count { what, want, got }.into());
        }
    }
    let inputs = program.inputs.iter().copied().zip(inputs.iter().copied());
    let outputs = program.outputs.iter().copied().zip(outputs.iter().copied());
    let outputs = outputs.filter_map(|(own, other)| other.map(|other| (own, other)));
    let mut replaced = HashSet::new();
    for (own, other) in outputs.clone() {
        let is_written =
            |program: &Program, tensor| program.layers.iter().any(|x| x.output == tensor);
        let is_first = replaced.insert(other);
        if !is_first || !is_written(program, own) || !is_written(&base.program, other) {
            let tensor = base.program.tensors[other].name.clone();
            return Err(PatchFault::Place { tensor }.into());
        }
    }
    for (own, other) in inputs.chain(outputs) {
        let (own, other) = (&program.tensors[own], &base.program.tensors[other]);
        let is_same = own.element_type == other.element_type
            && own.shape == other.shape
            && own.scale == other.scale
            && own.zero_point == other.zero_point;
        if !is_same {
            let (patch, network) = (own.name.clone(), other.name.clone());
            return Err(PatchFault::Form { patch, network }.into());
        }
    }
    Ok(())
}
