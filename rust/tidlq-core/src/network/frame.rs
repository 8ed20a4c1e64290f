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
                let mut output = std::mem::take(&mut workspace.slots[slot]);
                let size = engine.program.tensors[step.output].size_bytes();
                let target = &mut output.bytes_mut()[..size];
                self.with_inputs(workspace, &step.inputs, |inputs| {
                    self.run_kernel(&**kernel, step, inputs, (target, threads));
                });
                workspace.slots[slot] = output;
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

    fn with_inputs(&self, workspace: &Workspace, tensors: &[usize], body: impl FnOnce(&[&[u8]])) {
        let mut few: [&[u8]; FEW_INPUTS] = [&[]; FEW_INPUTS];
        if tensors.len() <= FEW_INPUTS {
            for (bytes, &tensor) in few.iter_mut().zip(tensors) {
                *bytes = self.bytes(workspace, tensor);
            }
            body(&few[..tensors.len()]);
        } else {
            let many: Vec<&[u8]> =
                tensors.iter().map(|&tensor| self.bytes(workspace, tensor)).collect();
            body(&many);
        }
    }

    /// A tensor's bytes, where the plan has put them.
    pub fn bytes<'a>(&'a self, workspace: &'a Workspace, tensor: usize) -> &'a [u8] {
        let tensors = &self.engine.program.tensors;
        let size = tensors[tensor].size_bytes();
        match self.schedule.plan.places[tensor] {
            Place::Slot(slot) => &workspace.slots[slot].bytes()[..size],
            Place::Input(position) => {
                &self.inputs[position].bytes()[self.frame * size..(self.frame + 1) * size]
            }
            Place::Constant(index) => {
                tensors[index].constant.as_ref().map_or(&[], |constant| constant.bytes())
            }
        }
    }
}

pub(super) fn internal(layer: &str, reason: &'static str) -> Error {
    Error::Internal { layer: layer.to_owned(), reason }
}
