//! Several frames that go through the layers together, one layer at a time.

use std::collections::HashSet;
use std::ops::{AddAssign, Range};

use super::buffer::AlignedBuffer;
use super::executor::Engine;
use super::frame::{Frame, Workspace};
use super::plan::Place;
use super::pool::BufferPool;
use super::program::{LayerSpec, Op, Program};
use super::validate;
use super::values::{Values, ValuesView};
use crate::error::{Error, Result, StepFault};
use crate::kernels::{InputSums, SampleSums, kernel_for};

/// A network and the features of several frames: between two layers the features can be looked at,
/// and the biases of the layers to come can be changed.
pub struct Stepper {
    engine: Engine,
    /// One per network input, all frames.
    inputs: Vec<Values>,
    frames: Vec<Progress>,
    /// The next layer to run, when all frames have come equally far.
    position: usize,
    /// Of frames that pass once: memory that is free.
    pool: Option<BufferPool>,
}

/// An input that was given back.
const GONE: Values = Values::U8(Vec::new());

/// How far a frame has come.
struct Progress {
    workspace: Workspace,
    position: usize,
}

impl Stepper {
    /// Puts frames before the first layer. Copies the inputs, which hold `frames` times their
    /// tensors' elements.
    ///
    /// # Errors
    ///
    /// Count, type or size of the inputs differ from the network's, or memory is not to be had.
    pub fn new(engine: Engine, inputs: &[ValuesView<'_>], frames: usize) -> Result<Self> {
        engine.check_inputs(inputs, frames)?;
        let copies = inputs.iter().map(|view| Values::copy_of(view.element_type(), view.bytes()));
        let inputs = copies.collect::<Result<_>>()?;
        let frames = (0..frames)
            .map(|_| {
                let mut workspace = Workspace::default();
                workspace.grow(&engine.layered.plan.slot_bytes)?;
                Ok(Progress { workspace, position: 0 })
            })
            .collect::<Result<_>>()?;
        Ok(Self { engine, inputs, frames, position: 0, pool: None })
    }

    /// [`Stepper::new`] for frames that pass once: what no later layer reads is given back, so that
    /// memory is that of the features in use. The layers before the first one with a bias run at
    /// once, and inputs that no other reads are not copied. There is no restart, and
    /// [`Stepper::tensor`] has only what layers to come read and what the last one wrote.
    ///
    /// # Errors
    ///
    /// As [`Stepper::new`].
    pub fn once(engine: Engine, inputs: &[ValuesView<'_>], frames: usize) -> Result<Self> {
        engine.check_inputs(inputs, frames)?;
        let position = engine.program.layers.iter().position(|layer| layer.op.has_bias());
        let position = position.unwrap_or(0);
        let read = places_read(&engine, position);
        let copies = inputs.iter().enumerate().map(|(input, view)| {
            let is_read = read.contains(&Place::Input(input));
            if is_read { Values::copy_of(view.element_type(), view.bytes()) } else { Ok(GONE) }
        });
        let copies = copies.collect::<Result<_>>()?;
        let slots = vec![AlignedBuffer::default(); engine.layered.plan.slot_bytes.len()];
        let workspaces = (0..frames).map(|_| Workspace { slots: slots.clone() });
        let mut progress: Vec<_> =
            workspaces.map(|workspace| Progress { workspace, position }).collect();
        let pool = BufferPool::default();
        engine.for_each_frame(&mut progress, |frame, progress, threads| {
            let (engine, schedule) = (&engine, &engine.layered);
            let frame = Frame { engine, schedule, inputs, frame };
            (0..position)
                .try_for_each(|layer| frame.pass(&mut progress.workspace, layer, threads, &pool))
        })?;
        Ok(Self { engine, inputs: copies, frames: progress, position, pool: Some(pool) })
    }

    /// The engine that runs the layers.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Number of frames.
    pub const fn frames(&self) -> usize {
        self.frames.len()
    }

    /// Names of the layers, in execution order.
    pub fn layers(&self) -> Vec<&str> {
        self.engine.program.layers.iter().map(|layer| &layer.name[..]).collect()
    }

    /// The next layer to run, of the frame that is furthest behind.
    pub fn position(&self) -> usize {
        self.frames.iter().map(|frame| frame.position).min().unwrap_or(self.position)
    }

    /// Goes back before the first layer, with the same inputs and the biases as they are.
    ///
    /// # Errors
    ///
    /// The frames pass once.
    pub fn restart(&mut self) -> Result<()> {
        if self.pool.is_some() {
            return Err(StepFault::Once.into());
        }
        self.position = 0;
        for frame in &mut self.frames {
            frame.position = 0;
        }
        Ok(())
    }

    /// Runs some of the frames through the layers before `layer`. When a caller stops after some of
    /// the frames, the same call for all frames (or a restart) makes up for it.
    ///
    /// # Errors
    ///
    /// A frame is already beyond `layer`, or there are fewer layers.
    pub fn advance(&mut self, frames: Range<usize>, layer: usize) -> Result<()> {
        let layers = self.engine.program.layers.len();
        if layer > layers {
            return Err(StepFault::Layer { got: layer as i128, layers }.into());
        }
        let furthest = self.frames.iter().map(|frame| frame.position).max();
        let position = furthest.unwrap_or(self.position);
        if layer < position {
            return Err(StepFault::Backwards { layer, position }.into());
        }
        self.check_frames(&frames)?;
        let Self { engine, inputs, frames: progress, pool, .. } = self;
        let views: Vec<ValuesView<'_>> = inputs.iter().map(Values::view).collect();
        engine.for_each_frame(&mut progress[frames.clone()], |index, progress, threads| {
            let schedule = &engine.layered;
            let frame = Frame { engine, schedule, inputs: &views, frame: frames.start + index };
            match &*pool {
                None => {
                    let layers = progress.position..layer;
                    frame.execute(&mut progress.workspace, layers, threads, &mut |_, _| Ok(()))?;
                    progress.position = layer;
                }
                Some(pool) => {
                    while progress.position < layer {
                        frame.pass(&mut progress.workspace, progress.position, threads, pool)?;
                        progress.position += 1;
                    }
                }
            }
            Ok(())
        })?;
        if self.frames.iter().all(|frame| frame.position == layer) {
            self.position = layer;
            if self.pool.is_some() {
                self.release_inputs();
            }
        }
        Ok(())
    }

    /// Gives back the inputs that no layer to come reads.
    fn release_inputs(&mut self) {
        let read = places_read(&self.engine, self.position);
        for (position, values) in self.inputs.iter_mut().enumerate() {
            if !read.contains(&Place::Input(position)) {
                *values = GONE;
            }
        }
    }

    /// Exact sums of `q - zero_point` of the next layer's input over frames and output positions,
    /// and their shape: (kernel height, kernel width, input channels) for a convolution, (K) for an
    /// inner product. What lies outside the input counts 0.
    ///
    /// # Errors
    ///
    /// The layer is not the next to run, or neither a convolution nor an inner product; or there are
    /// fewer frames.
    pub fn input_sums(&self, layer: usize, frames: Range<usize>) -> Result<(Vec<usize>, Vec<i64>)> {
        let spec = self.layer(layer)?;
        let sums = InputSums::of(&self.engine.program, spec).ok_or_else(|| unweighted(spec))?;
        let total = self.sum_frames(layer, frames, sums.len(), |inputs, part| {
            sums.add(self.engine.cpu, inputs[0], part);
        })?;
        Ok((sums.shape().to_vec(), total))
    }

    /// Sums of what the weights of the next layer, a deformable convolution, meet: the samples, times
    /// the mask, over frames and output positions, and their shape: (kernel height, kernel width,
    /// input channels). They are added up within each frame, then frame by frame.
    ///
    /// # Errors
    ///
    /// The layer is not the next to run, or no deformable convolution; or there are fewer frames.
    pub fn sample_sums(
        &self,
        layer: usize,
        frames: Range<usize>,
    ) -> Result<(Vec<usize>, Vec<f64>)> {
        let spec = self.layer(layer)?;
        let sums = SampleSums::of(&self.engine.program, spec).ok_or_else(|| undeformed(spec))?;
        let shape = sums.shape();
        let total = self.sum_frames(layer, frames, shape.iter().product(), |inputs, part| {
            sums.add(self.engine.cpu, inputs, part);
        })?;
        Ok((shape, total))
    }

    /// What `add` makes of the next layer's inputs, frame by frame, added up in their order.
    fn sum_frames<T: Copy + Default + AddAssign + Send>(
        &self,
        layer: usize,
        frames: Range<usize>,
        count: usize,
        add: impl Fn(&[&[u8]], &mut [T]) + Sync,
    ) -> Result<Vec<T>> {
        let (spec, position) = (self.layer(layer)?, self.even_position()?);
        if layer != position {
            let layer = spec.name.clone();
            return Err(StepFault::NotNext { layer, position }.into());
        }
        self.check_frames(&frames)?;
        let views = self.views();
        let mut parts: Vec<Vec<T>> = vec![Vec::new(); frames.len()];
        self.engine.for_each_frame(&mut parts, |index, part, _| {
            let index = frames.start + index;
            let (engine, schedule) = (&self.engine, &self.engine.layered);
            let frame = Frame { engine, schedule, inputs: &views, frame: index };
            let workspace = &self.frames[index].workspace;
            let inputs: Vec<&[u8]> =
                spec.inputs.iter().map(|&input| frame.bytes(workspace, input)).collect();
            part.resize(count, T::default());
            add(&inputs, part);
            Ok(())
        })?;
        let mut total = vec![T::default(); count];
        for part in &parts {
            for (total, term) in total.iter_mut().zip(part) {
                *total += *term;
            }
        }
        Ok(total)
    }

    /// Sums of one frame and output channel of a convolution of any kind or an inner product.
    ///
    /// # Errors
    ///
    /// The layer does not exist, or is neither.
    pub fn output_positions(&self, layer: usize) -> Result<usize> {
        let spec = self.layer(layer)?;
        if !spec.op.has_bias() {
            return Err(unweighted(spec));
        }
        let output = &self.engine.program.tensors[spec.output];
        Ok(output.elements() / output.last_axis())
    }

    /// The bias of a convolution or an inner product.
    ///
    /// # Errors
    ///
    /// The layer does not exist, or is neither.
    pub fn bias(&self, layer: usize) -> Result<&[i64]> {
        let spec = self.layer(layer)?;
        spec.op.bias().ok_or_else(|| unweighted(spec))
    }

    /// Changes a bias; it counts from the layer's next run on.
    ///
    /// # Errors
    ///
    /// The layer does not exist or has no bias, the length or a value is not allowed, or an advance
    /// was interrupted.
    pub fn set_bias(&mut self, layer: usize, bias: Vec<i64>) -> Result<()> {
        let channels = self.bias(layer)?.len();
        self.even_position()?;
        let Engine { program, kernels, cpu, .. } = &mut self.engine;
        let name = &program.layers[layer].name;
        let bias = validate::bias(bias, channels)
            .map_err(|fault| StepFault::Bias { layer: name.clone(), fault: Box::new(fault) })?;
        if let Some(entry) = program.layers[layer].op.bias_mut() {
            *entry = bias;
        }
        kernels[layer] = kernel_for(cpu.isa(), program, &program.layers[layer]);
        Ok(())
    }

    /// Changes what a deformable convolution adds, in steps of its output; it counts from the layer's
    /// next run on.
    ///
    /// # Errors
    ///
    /// The layer does not exist or is none, the length or a value is not allowed, or an advance was
    /// interrupted.
    pub fn set_shift(&mut self, layer: usize, shift: Vec<f64>) -> Result<()> {
        let spec = self.layer(layer)?;
        let channels = self.engine.program.tensors[spec.output].last_axis();
        let Op::DeformableConvolution(_) = &spec.op else { return Err(undeformed(spec)) };
        self.even_position()?;
        let Engine { program, kernels, cpu, .. } = &mut self.engine;
        let LayerSpec { name, op, .. } = &mut program.layers[layer];
        let shift = validate::shift(shift, channels)
            .map_err(|fault| StepFault::Bias { layer: name.clone(), fault: Box::new(fault) })?;
        if let Op::DeformableConvolution(spec) = op {
            spec.shift = shift;
        }
        kernels[layer] = kernel_for(cpu.isa(), program, &program.layers[layer]);
        Ok(())
    }

    /// A tensor of all frames: an input, a constant, or what a layer has written and no later layer
    /// has overwritten. What the last layer read and wrote is there.
    ///
    /// # Errors
    ///
    /// The tensor has not been written yet or is overwritten, an advance was interrupted, or memory
    /// is not to be had.
    pub fn tensor(&self, tensor: usize) -> Result<Values> {
        let position = self.even_position()?;
        let spec = &self.engine.program.tensors[tensor];
        if !self.is_held(tensor) {
            let tensor = spec.name.clone();
            return Err(StepFault::NotHeld { tensor, position }.into());
        }
        let views = self.views();
        let mut values =
            Values::zeroed(spec.element_type, spec.elements().saturating_mul(self.frames.len()))?;
        let targets = values.bytes_mut().chunks_exact_mut(spec.size_bytes());
        for (index, (target, progress)) in targets.zip(&self.frames).enumerate() {
            let (engine, schedule) = (&self.engine, &self.engine.layered);
            let frame = Frame { engine, schedule, inputs: &views, frame: index };
            target.copy_from_slice(frame.bytes(&progress.workspace, tensor));
        }
        Ok(values)
    }

    /// The network's outputs.
    ///
    /// # Errors
    ///
    /// Layers are left to run, or memory is not to be had.
    pub fn outputs(&self) -> Result<Vec<Values>> {
        let (position, layers) = (self.even_position()?, self.engine.program.layers.len());
        if position < layers {
            return Err(StepFault::Unfinished { position, layers }.into());
        }
        self.engine.program.outputs.iter().map(|&output| self.tensor(output)).collect()
    }

    fn layer(&self, layer: usize) -> Result<&LayerSpec> {
        let Program { layers, .. } = &self.engine.program;
        let fault = StepFault::Layer { got: layer as i128, layers: layers.len() };
        layers.get(layer).ok_or_else(|| fault.into())
    }

    fn views(&self) -> Vec<ValuesView<'_>> {
        self.inputs.iter().map(Values::view).collect()
    }

    fn check_frames(&self, range: &Range<usize>) -> Result<()> {
        let (start, stop, frames) = (range.start, range.end, self.frames.len());
        if start <= stop && stop <= frames {
            return Ok(());
        }
        Err(StepFault::Frames { start, stop, frames }.into())
    }

    /// The position, when all frames have come equally far.
    fn even_position(&self) -> Result<usize> {
        if self.frames.iter().all(|frame| frame.position == self.position) {
            return Ok(self.position);
        }
        Err(StepFault::Uneven.into())
    }

    /// Whether a tensor's memory holds its value.
    fn is_held(&self, tensor: usize) -> bool {
        let Engine { program, layered, kernels, .. } = &self.engine;
        let plan = &layered.plan;
        let size = program.tensors[tensor].size_bytes();
        let slot = match plan.places[tensor] {
            Place::Constant(_) => return true,
            Place::Input(position) => {
                return self.inputs[position].view().bytes().len() == size * self.frames.len();
            }
            Place::Slot(slot) => slot,
        };
        if self.frames.iter().any(|frame| frame.workspace.slots[slot].len() < size) {
            return false;
        }
        let run = &program.layers[..self.position];
        let Some(writer) = run.iter().position(|layer| layer.output == tensor) else {
            return false;
        };
        // A reshape has no kernel and leaves the memory as it is.
        let mut later = run.iter().zip(kernels).skip(writer + 1);
        !later.any(|(layer, kernel)| {
            kernel.is_some() && plan.places[layer.output] == Place::Slot(slot)
        })
    }
}

/// Where what the layers from a position on read is, and what the network gives out.
fn places_read(engine: &Engine, position: usize) -> HashSet<Place> {
    let Engine { program, layered, .. } = engine;
    let to_come = program.layers[position..].iter().flat_map(|layer| &layer.inputs);
    to_come.chain(&program.outputs).map(|&tensor| layered.plan.places[tensor]).collect()
}

fn undeformed(layer: &LayerSpec) -> Error {
    StepFault::NotDeformable { layer: layer.name.clone() }.into()
}

fn unweighted(layer: &LayerSpec) -> Error {
    StepFault::NotWeighted { layer: layer.name.clone() }.into()
}
