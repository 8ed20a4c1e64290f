//! The engine: a program with packed weights, memory and threads, shared by `run` and `trace`.

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::buffer::AlignedBuffer;
use super::plan::{MemoryPlan, Place};
use super::program::Program;
use super::values::{Values, ValuesView};
use super::{file, validate};
use crate::error::{Error, Result, Shape};
use crate::isa::{Cpu, Isa};
use crate::kernels::{Kernel, Scratch, Work, kernel_for};

/// Inputs of a layer that are gathered without allocating.
const FEW_INPUTS: usize = 8;

/// Greatest number of threads of one engine.
pub const MAX_THREADS: usize = 1024;

/// A loaded network, ready to run from any number of threads.
pub struct Engine {
    program: Program,
    plan: MemoryPlan,
    /// Per layer; `None` for a reshape.
    kernels: Vec<Option<Box<dyn Kernel>>>,
    cpu: Cpu,
    pool: ThreadPool,
    scratch: Scratch,
    /// Workspaces that no run uses now.
    idle: Mutex<Vec<Workspace>>,
}

/// Feature memory of one frame.
struct Workspace {
    slots: Vec<AlignedBuffer>,
}

impl Engine {
    /// Loads the bytes of a `.tidlq` file. `threads` 0 means one per core.
    ///
    /// # Errors
    ///
    /// The file is not a valid network, the CPU lacks `isa`, `threads` exceeds [`MAX_THREADS`], or
    /// memory or threads are not to be had.
    pub fn load(file: &[u8], isa: Isa, threads: usize) -> Result<Self> {
        if threads > MAX_THREADS {
            return Err(Error::ThreadCount { got: threads as i128, bound: MAX_THREADS });
        }
        let program = validate::program(file::decode(file)?)?;
        let cpu = Cpu::new(isa).ok_or(Error::UnsupportedIsa { name: isa.name() })?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|index| format!("tidlq-{index}"))
            .build()
            .map_err(|error| Error::Threads { threads, reason: error.to_string() })?;
        let plan = MemoryPlan::of(&program);
        let kernels: Vec<Option<Box<dyn Kernel>>> =
            program.layers.iter().map(|layer| kernel_for(isa, &program, layer)).collect();
        let scratch_bytes =
            kernels.iter().flatten().map(|kernel| kernel.scratch_bytes()).max().unwrap_or(0);
        let scratch = Scratch::new(pool.current_num_threads(), scratch_bytes)?;
        Ok(Self { program, plan, kernels, cpu, pool, scratch, idle: Mutex::default() })
    }

    /// The network.
    pub const fn program(&self) -> &Program {
        &self.program
    }

    /// Threads in use.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Instruction set in use.
    pub const fn isa(&self) -> Isa {
        self.cpu.isa()
    }

    /// Bytes of the feature buffers of one frame, with reuse.
    pub fn feature_bytes(&self) -> usize {
        self.plan.total_bytes()
    }

    /// Runs independent frames: each input holds `frames` times its tensor's elements, and so does
    /// each output.
    ///
    /// # Errors
    ///
    /// Count, type or size of the inputs differ from the network's.
    pub fn run(&self, inputs: &[ValuesView<'_>], frames: usize) -> Result<Vec<Values>> {
        let mut outputs = self.allocate_outputs(frames)?;
        self.run_into(inputs, frames, 0..frames, &mut outputs)?;
        Ok(outputs)
    }

    /// Zeroed outputs for a number of frames.
    ///
    /// # Errors
    ///
    /// Memory is not to be had.
    pub fn allocate_outputs(&self, frames: usize) -> Result<Vec<Values>> {
        let outputs = self.program.outputs.iter().map(|&output| &self.program.tensors[output]);
        outputs
            .map(|tensor| {
                Values::zeroed(tensor.element_type, tensor.elements().saturating_mul(frames))
            })
            .collect()
    }

    /// [`Engine::run`] for some of the frames, into arrays from [`Engine::allocate_outputs`]: a long
    /// run can be cut into pieces that can be interrupted.
    ///
    /// # Errors
    ///
    /// Count, type or size of the inputs differ from the network's.
    pub fn run_into(
        &self,
        inputs: &[ValuesView<'_>],
        frames: usize,
        range: Range<usize>,
        outputs: &mut [Values],
    ) -> Result<()> {
        self.check_inputs(inputs, frames)?;
        let mut targets = self.frame_targets(outputs, frames);
        let targets = targets.get_mut(range.clone()).unwrap_or_default();
        let threads = self.threads();
        // Whole rounds run a frame per thread; what is left runs frame by frame on all threads.
        let side_by_side = if threads > 1 { targets.len() / threads * threads } else { 0 };
        let (first, rest) = targets.split_at_mut(side_by_side);
        self.pool.install(|| {
            first.par_iter_mut().enumerate().try_for_each(|(index, outputs)| {
                self.run_frame(inputs, range.start + index, outputs, 1)
            })?;
            rest.iter_mut().enumerate().try_for_each(|(index, outputs)| {
                self.run_frame(inputs, range.start + side_by_side + index, outputs, threads)
            })
        })
    }

    /// Runs one frame and returns the tensors with these indices.
    ///
    /// # Errors
    ///
    /// Count, type or size of the inputs differ from the network's.
    pub fn trace(&self, inputs: &[ValuesView<'_>], tensors: &[usize]) -> Result<Vec<Values>> {
        self.check_inputs(inputs, 1)?;
        let mut taps: Vec<Option<Values>> = vec![None; tensors.len()];
        let mut tap = |tensor: usize, bytes: &[u8]| {
            for (value, _) in taps.iter_mut().zip(tensors).filter(|(_, wanted)| **wanted == tensor)
            {
                *value = Some(Values::copy_of(self.program.tensors[tensor].element_type, bytes)?);
            }
            Ok(())
        };
        self.with_workspace(|workspace| {
            let frame = Frame { engine: self, inputs, frame: 0 };
            for &tensor in tensors {
                if !matches!(self.plan.places[tensor], Place::Slot(_)) {
                    tap(tensor, frame.bytes(workspace, tensor))?;
                }
            }
            self.pool.install(|| frame.execute(workspace, self.threads(), &mut tap))
        })?;
        taps.into_iter()
            .map(|value| value.ok_or(internal("", "a traced tensor has no value")))
            .collect()
    }

    fn check_inputs(&self, inputs: &[ValuesView<'_>], frames: usize) -> Result<()> {
        let want = self.program.inputs.len();
        if inputs.len() != want {
            return Err(Error::InputCount { want, got: inputs.len() });
        }
        for (values, &input) in inputs.iter().zip(&self.program.inputs) {
            let tensor = &self.program.tensors[input];
            if values.element_type() != tensor.element_type {
                return Err(Error::InputType {
                    tensor: tensor.name.clone(),
                    want: tensor.element_type.name(),
                    got: values.element_type().name(),
                });
            }
            if Some(values.elements()) != tensor.elements().checked_mul(frames) {
                let mut want = vec![frames];
                want.extend(&tensor.shape);
                let (want, got) = (Shape(want), Shape(vec![values.elements()]));
                return Err(Error::InputShape { tensor: tensor.name.clone(), want, got });
            }
        }
        Ok(())
    }

    /// For each frame the part of every output that it writes.
    fn frame_targets<'a>(
        &self,
        outputs: &'a mut [Values],
        frames: usize,
    ) -> Vec<Vec<&'a mut [u8]>> {
        let mut targets: Vec<Vec<&mut [u8]>> = (0..frames).map(|_| Vec::new()).collect();
        for (values, &output) in outputs.iter_mut().zip(&self.program.outputs) {
            let bytes = self.program.tensors[output].size_bytes();
            for (target, chunk) in
                targets.iter_mut().zip(values.bytes_mut().chunks_exact_mut(bytes))
            {
                target.push(chunk);
            }
        }
        targets
    }

    fn run_frame(
        &self,
        inputs: &[ValuesView<'_>],
        frame: usize,
        outputs: &mut [&mut [u8]],
        threads: usize,
    ) -> Result<()> {
        self.with_workspace(|workspace| {
            let frame = Frame { engine: self, inputs, frame };
            frame.execute(workspace, threads, &mut |_, _| Ok(()))?;
            for (target, &output) in outputs.iter_mut().zip(&self.program.outputs) {
                target.copy_from_slice(frame.bytes(workspace, output));
            }
            Ok(())
        })
    }

    fn with_workspace<R>(&self, body: impl FnOnce(&mut Workspace) -> Result<R>) -> Result<R> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let mut workspace = match idle {
            Some(workspace) => workspace,
            None => Workspace {
                slots: self
                    .plan
                    .slot_bytes
                    .iter()
                    .map(|&bytes| AlignedBuffer::zeroed(bytes, "features"))
                    .collect::<Result<_>>()?,
            },
        };
        let result = body(&mut workspace);
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(workspace);
        }
        result
    }
}

/// One frame of a run.
struct Frame<'a> {
    engine: &'a Engine,
    inputs: &'a [ValuesView<'a>],
    frame: usize,
}

impl Frame<'_> {
    /// Runs every layer; `tap` sees each tensor as soon as it is written.
    fn execute(
        &self,
        workspace: &mut Workspace,
        threads: usize,
        tap: &mut dyn FnMut(usize, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let engine = self.engine;
        let work = Work { cpu: engine.cpu, threads, scratch: &engine.scratch };
        for (layer, kernel) in engine.program.layers.iter().zip(&engine.kernels) {
            if let Some(kernel) = kernel {
                let Place::Slot(slot) = engine.plan.places[layer.output] else {
                    return Err(internal(&layer.name, "its output has no slot"));
                };
                let mut output = std::mem::take(&mut workspace.slots[slot]);
                let size = engine.program.tensors[layer.output].size_bytes();
                self.with_inputs(workspace, &layer.inputs, |inputs| {
                    kernel.run(inputs, &mut output.bytes_mut()[..size], &work);
                });
                workspace.slots[slot] = output;
            }
            tap(layer.output, self.bytes(workspace, layer.output))?;
        }
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
    fn bytes<'a>(&'a self, workspace: &'a Workspace, tensor: usize) -> &'a [u8] {
        let tensors = &self.engine.program.tensors;
        let size = tensors[tensor].size_bytes();
        match self.engine.plan.places[tensor] {
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

fn internal(layer: &str, reason: &'static str) -> Error {
    Error::Internal { layer: layer.to_owned(), reason }
}
