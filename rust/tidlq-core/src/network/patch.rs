//! Layers that stand in for layers of another network, whose features are kept.

mod order;

use std::collections::HashSet;
use std::sync::Arc;

use super::buffer::AlignedBuffer;
use super::executor::Engine;
use super::program::{Program, TensorSpec};
use crate::error::{PatchFault, Result};
use crate::kernels::{Kernel, Scratch, Work, kernel_for};
use order::{Order, Source, Step, Writer};

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

    /// The bias of one of its layers; empty where it has none.
    pub fn bias(&self, layer: usize) -> &[i64] {
        self.program.layers.get(layer).and_then(|layer| layer.op.bias()).unwrap_or_default()
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
        let mut workspace = base.layered.take_workspace(&self.order.slot_bytes)?;
        for step in &self.order.steps {
            self.run_step(base, step, &mut workspace.slots, kept, threads);
        }
        let slots = &workspace.slots;
        let results = self.order.results.iter().map(|source| self.input(source, slots, kept));
        body(&results.collect::<Vec<_>>());
        base.layered.give_back(workspace);
        Ok(())
    }

    /// Runs several frames layer by layer, up to the last of the `wanted` layers of the patch;
    /// `bias` gives, from the inputs of all frames, the bias that a layer is to have.
    pub(super) fn step_by_step<'a, K: Fn(usize) -> &'a [u8] + Sync>(
        &mut self,
        base: &'a Engine,
        kept: &[K],
        wanted: &[usize],
        bias: impl Fn(&Program, usize, &[&[u8]]) -> Result<Option<Vec<i64>>>,
    ) -> Result<()> {
        let is_wanted =
            |step: &Step| matches!(step.writer, Writer::Patch(x) if wanted.contains(&x));
        let Some(last) = self.order.steps.iter().rposition(is_wanted) else { return Ok(()) };
        let workspaces = kept.iter().map(|_| base.layered.take_workspace(&self.order.slot_bytes));
        let mut frames = workspaces.collect::<Result<Vec<_>>>()?;
        for position in 0..=last {
            if let Writer::Patch(layer) = self.order.steps[position].writer {
                let source = self.order.steps[position].inputs[0];
                let pairs = frames.iter().zip(kept);
                let inputs = pairs.map(|(frame, kept)| self.input(&source, &frame.slots, kept));
                let inputs: Vec<&[u8]> = inputs.collect();
                let bias = bias(&self.program, layer, &inputs)?;
                if let Some(bias) = bias {
                    self.set_bias(base, layer, bias);
                }
            }
            if position == last {
                break;
            }
            let (patch, step) = (&*self, &self.order.steps[position]);
            let mut pairs: Vec<_> = frames.iter_mut().zip(kept).collect();
            base.for_each_frame(&mut pairs, |_, (frame, kept), threads| {
                patch.run_step(base, step, &mut frame.slots, kept, threads);
                Ok(())
            })?;
        }
        frames.into_iter().for_each(|workspace| base.layered.give_back(workspace));
        Ok(())
    }

    /// Changes the bias of a layer that has one, of as many entries.
    fn set_bias(&mut self, base: &Engine, layer: usize, entries: Vec<i64>) {
        if let Some(bias) = self.program.layers[layer].op.bias_mut() {
            *bias = entries;
        }
        let spec = &self.program.layers[layer];
        self.kernels[layer] = kernel_for(base.isa(), &self.program, spec);
    }

    fn run_step<'a>(
        &self,
        base: &'a Engine,
        step: &Step,
        slots: &mut [AlignedBuffer],
        kept: &dyn Fn(usize) -> &'a [u8],
        threads: usize,
    ) {
        let (kernel, scratch) = match step.writer {
            Writer::Base(layer) => (&base.kernels[layer], &base.scratch),
            Writer::Patch(layer) => (&self.kernels[layer], &self.scratch),
        };
        let Some(kernel) = kernel else { return };
        let mut output = std::mem::take(&mut slots[step.slot]);
        let inputs = step.inputs.iter().map(|source| self.input(source, slots, kept));
        let inputs: Vec<&[u8]> = inputs.collect();
        let work = Work { cpu: base.cpu, threads, scratch, residual: None };
        kernel.run(&inputs, &mut output.bytes_mut()[..step.bytes], &work);
        slots[step.slot] = output;
    }

    fn input<'b, 'a: 'b>(
        &'b self,
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
