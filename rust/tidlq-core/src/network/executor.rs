//! The engine: a program with packed weights, memory and threads, shared by `run` and `trace`.

use std::ops::Range;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::frame::{Frame, internal};
use super::plan::Place;
use super::program::Program;
use super::schedule::Schedule;
use super::values::{Values, ValuesView};
use super::{file, validate};
use crate::error::{Error, Result, Shape};
use crate::isa::{Cpu, Isa};
use crate::kernels::{Kernel, Scratch, kernel_for};

/// Greatest number of threads of one engine.
pub const MAX_THREADS: usize = 1024;

/// A loaded network, ready to run from any number of threads.
pub struct Engine {
    pub(super) program: Program,
    /// For whoever looks at tensors between the layers.
    pub(super) layered: Schedule,
    /// For whole runs.
    pub(super) fused: Schedule,
    /// Per layer; `None` for a reshape.
    pub(super) kernels: Vec<Option<Box<dyn Kernel>>>,
    pub(super) cpu: Cpu,
    pub(super) pool: ThreadPool,
    pub(super) scratch: Scratch,
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
        let kernels: Vec<Option<Box<dyn Kernel>>> =
            program.layers.iter().map(|layer| kernel_for(isa, &program, layer)).collect();
        let scratch_bytes =
            kernels.iter().flatten().map(|kernel| kernel.scratch_bytes()).max().unwrap_or(0);
        let scratch = Scratch::new(pool.current_num_threads(), scratch_bytes)?;
        let layered = Schedule::layer_by_layer(&program);
        let fused = Schedule::fused(isa, &program, &kernels);
        Ok(Self { program, layered, fused, kernels, cpu, pool, scratch })
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

    /// Bytes of the feature buffers of one frame of a run, with reuse.
    pub fn feature_bytes(&self) -> usize {
        self.fused.plan.total_bytes()
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
        self.for_each_frame(targets, |index, outputs, threads| {
            self.run_frame(inputs, range.start + index, outputs, threads)
        })
    }

    /// Calls `body(index, frame, threads)` for each frame, on the engine's threads: whole rounds run
    /// a frame per thread; what is left runs frame by frame on all threads.
    pub(super) fn for_each_frame<T: Send>(
        &self,
        frames: &mut [T],
        body: impl Fn(usize, &mut T, usize) -> Result<()> + Sync,
    ) -> Result<()> {
        let threads = self.threads();
        let side_by_side = if threads > 1 { frames.len() / threads * threads } else { 0 };
        let (first, rest) = frames.split_at_mut(side_by_side);
        self.pool.install(|| {
            let first = first.par_iter_mut().enumerate();
            first.try_for_each(|(index, frame)| body(index, frame, 1))?;
            let mut rest = rest.iter_mut().enumerate();
            rest.try_for_each(|(index, frame)| body(side_by_side + index, frame, threads))
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
        let schedule = &self.layered;
        schedule.with_workspace(|workspace| {
            let frame = Frame { engine: self, schedule, inputs, frame: 0 };
            for &tensor in tensors {
                if !matches!(schedule.plan.places[tensor], Place::Slot(_)) {
                    tap(tensor, frame.bytes(workspace, tensor))?;
                }
            }
            self.pool.install(|| {
                frame.execute(workspace, 0..schedule.steps.len(), self.threads(), &mut tap)
            })
        })?;
        taps.into_iter()
            .map(|value| value.ok_or(internal("", "a traced tensor has no value")))
            .collect()
    }

    pub(super) fn check_inputs(&self, inputs: &[ValuesView<'_>], frames: usize) -> Result<()> {
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
        let schedule = &self.fused;
        schedule.with_workspace(|workspace| {
            let frame = Frame { engine: self, schedule, inputs, frame };
            frame.execute(workspace, 0..schedule.steps.len(), threads, &mut |_, _| Ok(()))?;
            for (target, &output) in outputs.iter_mut().zip(&self.program.outputs) {
                target.copy_from_slice(frame.bytes(workspace, output));
            }
            Ok(())
        })
    }
}
