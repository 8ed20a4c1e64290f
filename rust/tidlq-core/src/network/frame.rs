//! One frame on its way through the layers.

use std::ops::Range;

use super::buffer::AlignedBuffer;
use super::executor::Engine;
use super::plan::Place;
use super::pool::BufferPool;
use super::schedule::{Schedule, Step};
use super::values::ValuesView;
use crate::error::{Error, Result};
use crate::kernels::{Kernel, Residual, Work};

/// Inputs of a layer that are gathered without allocating.
const FEW_INPUTS: usize = 8;

/// Feature memory of one frame.
#[derive(Default)]
pub(super) struct Workspace {
    pub slots: Vec<AlignedBuffer>,
}

impl Workspace {
    /// Has slots of at least these sizes. What is in them is left over from other frames.
    pub fn grow(&mut self, slot_bytes: &[usize]) -> Result<()> {
        if self.slots.len() < slot_bytes.len() {
            self.slots.resize(slot_bytes.len(), AlignedBuffer::default());
        }
        for (slot, &bytes) in self.slots.iter_mut().zip(slot_bytes) {
            if slot.len() < bytes {
                *slot = AlignedBuffer::default();
                *slot = AlignedBuffer::zeroed(bytes, "features")?;
            }
        }
        Ok(())
    }
}

/// What else is in a slot while a part of it is written.
struct Beside<'a> {
    slot: usize,
    before: &'a [u8],
    after: &'a [u8],
    /// The byte of the slot at which `after` begins.
    resumes: usize,
}

/// One frame of a run.
pub(super) struct Frame<'a> {
    pub engine: &'a Engine,
    /// One of the engine's.
    pub schedule: &'a Schedule,
    /// Of all frames.
    pub inputs: &'a [ValuesView<'a>],
    pub frame: usize,
}

impl Frame<'_> {
    /// Runs consecutive steps; `tap` sees each tensor as soon as it is written.
    pub fn execute(
        &self,
        workspace: &mut Workspace,
        steps: Range<usize>,
        threads: usize,
        tap: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let engine = self.engine;
        for step in &self.schedule.steps[steps] {
            if let Some(kernel) = &engine.kernels[step.layer] {
                let Place::Slot(slot) = self.schedule.plan.places[step.output] else {
                    let name = &engine.program.layers[step.layer].name;
                    return Err(internal(name, "its output has no slot"));
                };
                let mut buffer = std::mem::take(&mut workspace.slots[slot]);
                let size = engine.program.tensors[step.output].size_bytes();
                let start = self.schedule.plan.offsets[step.output];
                let (before, rest) = buffer.bytes_mut().split_at_mut(start);
                let (target, after) = rest.split_at_mut(size);
                let beside = Beside { slot, before, after, resumes: start + size };
                self.with_inputs(workspace, &beside, &step.inputs, |inputs| {
                    self.run_kernel(&**kernel, step, inputs, (target, threads));
                });
                workspace.slots[slot] = buffer;
            }
            tap(step.output, self.bytes(workspace, step.output))?;
        }
        Ok(())
    }

    fn run_kernel(
        &self,
        kernel: &dyn Kernel,
        step: &Step,
        inputs: &[&[u8]],
        (output, threads): (&mut [u8], usize),
    ) {
        let scratch = &self.engine.scratch;
        let mut work = Work { cpu: self.engine.cpu, threads, scratch, residual: None };
        let Some(fused) = &step.sum else {
            kernel.run(inputs, output, &work);
            return;
        };
        let [inputs @ .., other] = inputs else { return };
        work.residual = Some(Residual { sum: &fused.sum, position: fused.position, other });
        kernel.run(inputs, output, &work);
    }

    /// Runs one step of the layers one by one, in memory that other frames use before and after.
    pub fn pass(
        &self,
        workspace: &mut Workspace,
        layer: usize,
        threads: usize,
        pool: &BufferPool,
    ) -> Result<()> {
        let Engine { program, kernels, .. } = self.engine;
        let plan = &self.schedule.plan;
        let output = program.layers[layer].output;
        let place = plan.places[output];
        if let (Place::Slot(slot), Some(_)) = (place, &kernels[layer]) {
            pool.fill(workspace, slot, program.tensors[output].size_bytes())?;
        }
        self.execute(workspace, layer..layer + 1, threads, &mut |_, _| Ok(()))?;
        // What nothing reads can still be looked at.
        let unread = plan.released[layer].iter().filter(|&&slot| place != Place::Slot(slot));
        unread.for_each(|&slot| pool.empty(workspace, slot));
        Ok(())
    }

    fn with_inputs(
        &self,
        workspace: &Workspace,
        beside: &Beside<'_>,
        tensors: &[usize],
        body: impl FnOnce(&[&[u8]]),
    ) {
        let mut few: [&[u8]; FEW_INPUTS] = [&[]; FEW_INPUTS];
        if tensors.len() <= FEW_INPUTS {
            for (bytes, &tensor) in few.iter_mut().zip(tensors) {
                *bytes = self.input_bytes(workspace, beside, tensor);
            }
            body(&few[..tensors.len()]);
        } else {
            let bytes = |&tensor: &usize| self.input_bytes(workspace, beside, tensor);
            body(&tensors.iter().map(bytes).collect::<Vec<_>>());
        }
    }

    /// [`Frame::bytes`] while the output's slot is lent to the kernel.
    fn input_bytes<'a>(
        &'a self,
        workspace: &'a Workspace,
        beside: &Beside<'a>,
        tensor: usize,
    ) -> &'a [u8] {
        let plan = &self.schedule.plan;
        if plan.places[tensor] != Place::Slot(beside.slot) {
            return self.bytes(workspace, tensor);
        }
        let size = self.engine.program.tensors[tensor].size_bytes();
        let start = plan.offsets[tensor];
        if start < beside.before.len() {
            return &beside.before[start..start + size];
        }
        &beside.after[start - beside.resumes..][..size]
    }

    /// A tensor's bytes, where the plan has put them.
    pub fn bytes<'a>(&'a self, workspace: &'a Workspace, tensor: usize) -> &'a [u8] {
        let tensors = &self.engine.program.tensors;
        let size = tensors[tensor].size_bytes();
        let start = self.schedule.plan.offsets[tensor];
        let place = match self.schedule.plan.places[tensor] {
            Place::Slot(slot) => workspace.slots[slot].bytes(),
            Place::Input(position) => {
                let input = self.engine.program.inputs[position];
                &self.inputs[position].bytes()[self.frame * tensors[input].size_bytes()..]
            }
            Place::Constant(index) => {
                tensors[index].constant.as_ref().map_or(&[][..], |constant| constant.bytes())
            }
        };
        &place[start..start + size]
    }
}

pub(super) fn internal(layer: &str, reason: &'static str) -> Error {
    Error::Internal { layer: layer.to_owned(), reason }
}
