//! A network and frames, with every feature kept: what variants of the network start from.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::AlignedBuffer;
use super::executor::Engine;
use super::frame::Frame;
use super::homes::owners;
use super::patch::Patch;
use super::plan::Place;
use super::program::TensorSpec;
use super::values::{Values, ValuesView};
use super::{file, validate};
use crate::analysis::{DivergenceStatistics, ErrorStatistics, Outputs};
use crate::element::ElementType;
use crate::error::{PatchFault, Result, StepFault};

/// A network over a fixed set of frames. Its features are kept, so that a variant of it runs only
/// the layers that differ and what follows them.
pub struct Baseline {
    pub(super) engine: Engine,
    inputs: Vec<Values>,
    /// For each tensor the one whose memory it shares.
    owners: Vec<usize>,
    /// By frame and tensor; empty for inputs, constants and tensors that share memory.
    features: Vec<Vec<AlignedBuffer>>,
    /// The same in every patch of this network.
    token: Arc<()>,
}

/// What a variant's outputs are compared with.
pub struct Reference<'a> {
    /// All frames.
    pub values: &'a [f32],
    /// What the values are, for measures of distributions.
    pub outputs: Outputs,
}

/// What a variant of the network computed.
#[derive(Clone, Debug, Default)]
pub struct Variation {
    /// Of each output of the network, then of each probe of the patch.
    pub errors: Vec<ErrorStatistics>,
    /// Likewise.
    pub divergences: Vec<DivergenceStatistics>,
}

impl Baseline {
    /// A network without frames.
    pub fn new(engine: Engine) -> Self {
        let owners = owners(&engine.program);
        let token = Arc::new(());
        Self { engine, inputs: Vec::new(), owners, features: Vec::new(), token }
    }

    /// Replaces the frames. Copies the inputs, which hold `frames` times their tensors' elements;
    /// [`Baseline::run`] is next.
    ///
    /// # Errors
    ///
    /// Count, type or size of the inputs differ from the network's, or memory is not to be had.
    pub fn load(&mut self, inputs: &[ValuesView<'_>], frames: usize) -> Result<()> {
        self.engine.check_inputs(inputs, frames)?;
        // Both sets of frames together may be too much.
        self.features = Vec::new();
        self.inputs = Vec::new();
        let copies = inputs.iter().map(|view| Values::copy_of(view.element_type(), view.bytes()));
        self.inputs = copies.collect::<Result<_>>()?;
        self.features = vec![Vec::new(); frames];
        Ok(())
    }

    /// The engine of the network.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.features.len()
    }

    /// Bytes of the kept features of one frame.
    pub fn frame_bytes(&self) -> usize {
        (0..self.owners.len()).filter(|&t| self.is_kept(t)).map(|t| self.spec(t).size_bytes()).sum()
    }

    /// Runs some of the frames and keeps their features.
    ///
    /// # Errors
    ///
    /// Memory is not to be had, or there are fewer frames.
    pub fn run(&mut self, range: Range<usize>) -> Result<()> {
        self.check_frames(&range)?;
        let mut features = std::mem::take(&mut self.features);
        let result =
            self.engine.for_each_frame(&mut features[range.clone()], |index, kept, threads| {
                *kept = self.features_of(range.start + index, threads)?;
                Ok(())
            });
        self.features = features;
        result
    }

    fn features_of(&self, frame: usize, threads: usize) -> Result<Vec<AlignedBuffer>> {
        let views = self.views();
        let mut kept = vec![AlignedBuffer::default(); self.owners.len()];
        let schedule = &self.engine.layered;
        schedule.with_workspace(|workspace| {
            let frame = Frame { engine: &self.engine, schedule, inputs: &views, frame };
            let layers = 0..self.engine.program.layers.len();
            frame.execute(workspace, layers, threads, &mut |tensor, bytes| {
                if self.is_kept(tensor) {
                    kept[tensor] = AlignedBuffer::copy_of(bytes, "features")?;
                }
                Ok(())
            })
        })?;
        Ok(kept)
    }

    /// Loads the layers of a variant. `inputs` names the tensor of this network that each of the
    /// patch's inputs is; `outputs` the one that each of its outputs stands in for, or none.
    ///
    /// # Errors
    ///
    /// The file is not a valid network, a tensor has another form than the one it is or stands in
    /// for, or the layers read each other in a circle.
    pub fn patch(&self, file: &[u8], inputs: &[usize], outputs: &[Option<usize>]) -> Result<Patch> {
        let program = validate::program(file::decode(file)?)?;
        Patch::new(&self.engine, program, inputs, outputs, Arc::clone(&self.token))
    }

    /// Runs some of the frames of a variant and compares what it computes.
    ///
    /// # Arguments
    ///
    /// `references` has an entry for each output of the network, then for each probe of the patch.
    ///
    /// # Errors
    ///
    /// The patch is another network's, sizes of the references are not those of the tensors, an
    /// output is not of float, there are fewer frames or they have not been run, or memory is not to
    /// be had.
    pub fn compare(
        &self,
        patch: &Patch,
        references: &[Reference<'_>],
        range: Range<usize>,
        total: &mut Variation,
    ) -> Result<()> {
        self.check_references(patch, references)?;
        let mut frames = vec![Variation::default(); range.len()];
        self.visit(patch, range, &mut frames, |frame, bytes, variation| {
            for (reference, bytes) in references.iter().zip(bytes) {
                let value: &[f32] = bytemuck::cast_slice(bytes);
                let wanted = &reference.values[frame * value.len()..(frame + 1) * value.len()];
                let mut error = ErrorStatistics::default();
                error.update_known(self.engine.cpu, wanted, value);
                variation.errors.push(error);
                let mut divergence = DivergenceStatistics::default();
                divergence.update(reference.outputs, wanted, value);
                variation.divergences.push(divergence);
            }
        })?;
        for frame in frames {
            total.merge(frame);
        }
        Ok(())
    }

    /// Runs some of the frames of a variant and gives its outputs, then its probes: each for all of
    /// these frames.
    ///
    /// # Errors
    ///
    /// The patch is another network's, there are fewer frames or they have not been run, or memory is
    /// not to be had.
    pub fn outputs(&self, patch: &Patch, range: Range<usize>) -> Result<Vec<Values>> {
        let mut frames: Vec<Vec<Vec<u8>>> = vec![Vec::new(); range.len()];
        self.visit(patch, range, &mut frames, |_, bytes, kept| {
            *kept = bytes.iter().map(|bytes| bytes.to_vec()).collect();
        })?;
        let tensors = patch.results(&self.engine);
        let joined = tensors.iter().enumerate().map(|(position, tensor)| {
            let bytes: Vec<u8> =
                frames.iter().flat_map(|frame| &frame[position]).copied().collect();
            Values::copy_of(tensor.element_type, &bytes)
        });
        joined.collect()
    }

    /// Calls `body(frame, results, target)` for each frame of a variant.
    fn visit<T: Send>(
        &self,
        patch: &Patch,
        range: Range<usize>,
        targets: &mut [T],
        body: impl Fn(usize, &[&[u8]], &mut T) + Sync,
    ) -> Result<()> {
        self.check(patch, &range)?;
        let views = self.views();
        self.engine.for_each_frame(targets, |index, target, threads| {
            let frame = range.start + index;
            let kept = |tensor: usize| self.bytes(&views, frame, tensor);
            patch.run(&self.engine, &kept, threads, |results| body(frame, results, target))
        })
    }

    /// The patch is one of this network, and the frames have been run.
    pub(super) fn check(&self, patch: &Patch, range: &Range<usize>) -> Result<()> {
        self.check_frames(range)?;
        if !Arc::ptr_eq(&self.token, &patch.token) {
            return Err(PatchFault::Foreign.into());
        }
        if self.features[range.clone()].iter().any(Vec::is_empty) {
            return Err(PatchFault::NotRun.into());
        }
        Ok(())
    }

    /// A tensor of a frame.
    pub(super) fn bytes<'a>(
        &'a self,
        inputs: &'a [ValuesView<'a>],
        frame: usize,
        tensor: usize,
    ) -> &'a [u8] {
        let owner = self.owners[tensor];
        match self.engine.layered.plan.places[owner] {
            Place::Input(position) => {
                let size = self.spec(owner).size_bytes();
                &inputs[position].bytes()[frame * size..(frame + 1) * size]
            }
            Place::Constant(index) => {
                self.spec(index).constant.as_ref().map_or(&[], |constant| constant.bytes())
            }
            Place::Slot(_) => self.features[frame][owner].bytes(),
        }
    }

    /// A tensor of all frames.
    ///
    /// # Errors
    ///
    /// The frames have not been run, or memory is not to be had.
    pub fn tensor(&self, tensor: usize) -> Result<Values> {
        if self.features.iter().any(Vec::is_empty) {
            return Err(PatchFault::NotRun.into());
        }
        let (views, spec) = (self.views(), self.spec(tensor));
        let elements = spec.elements().saturating_mul(self.frames());
        let mut values = Values::zeroed(spec.element_type, elements)?;
        let targets = values.bytes_mut().chunks_exact_mut(spec.size_bytes());
        for (frame, target) in targets.enumerate() {
            target.copy_from_slice(self.bytes(&views, frame, tensor));
        }
        Ok(values)
    }

    pub(super) fn views(&self) -> Vec<ValuesView<'_>> {
        self.inputs.iter().map(Values::view).collect()
    }

    fn spec(&self, tensor: usize) -> &TensorSpec {
        &self.engine.program.tensors[tensor]
    }

    fn is_kept(&self, tensor: usize) -> bool {
        let place = self.engine.layered.plan.places[tensor];
        self.owners[tensor] == tensor && matches!(place, Place::Slot(_))
    }

    fn check_frames(&self, range: &Range<usize>) -> Result<()> {
        let (start, stop, frames) = (range.start, range.end, self.frames());
        if start <= stop && stop <= frames {
            return Ok(());
        }
        Err(StepFault::Frames { start, stop, frames }.into())
    }

    fn check_references(&self, patch: &Patch, references: &[Reference<'_>]) -> Result<()> {
        let results = patch.results(&self.engine);
        let (want, got) = (results.len(), references.len());
        if want != got {
            return Err(PatchFault::References { want, got }.into());
        }
        for (tensor, reference) in results.into_iter().zip(references) {
            let (want, got) = (tensor.elements() * self.frames(), reference.values.len());
            let name = tensor.name.clone();
            if tensor.element_type != ElementType::F32 {
                return Err(PatchFault::Integers { tensor: name }.into());
            }
            if want != got {
                return Err(PatchFault::Reference { tensor: name, want, got }.into());
            }
        }
        Ok(())
    }
}

impl Variation {
    /// Adds other frames; their order leaves no trace.
    pub fn merge(&mut self, other: Self) {
        if self.errors.is_empty() {
            *self = other;
            return;
        }
        for (total, part) in self.errors.iter_mut().zip(&other.errors) {
            total.merge(part);
        }
        for (total, part) in self.divergences.iter_mut().zip(&other.divergences) {
            total.merge(part);
        }
    }
}
