//! In which steps a frame goes through the layers, and the memory for them.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::frame::Workspace;
use super::homes::Homes;
use super::plan::{MemoryPlan, Touched};
use super::program::{Op, Program};
use crate::error::Result;
use crate::isa::Isa;
use crate::kernels::{Kernel, PairSum, residual_sum};

/// One layer, or a layer and the sum that it ends with.
pub(super) struct Step {
    /// The layer whose kernel runs.
    pub layer: usize,
    /// What it reads; last of all, the other operand of the sum.
    pub inputs: Vec<usize>,
    pub output: usize,
    pub sum: Option<FusedSum>,
}

/// A sum of a layer's output and another feature.
pub(super) struct FusedSum {
    pub sum: PairSum,
    /// Which operand the layer writes.
    pub position: usize,
}

/// Steps in execution order.
pub(super) struct Schedule {
    pub steps: Vec<Step>,
    pub plan: MemoryPlan,
    /// Workspaces that no run uses now.
    idle: Mutex<Vec<Workspace>>,
}

impl Schedule {
    /// A step for each layer, so that every tensor is written.
    pub fn layer_by_layer(program: &Program) -> Self {
        let steps = steps_of(program, HashMap::new());
        let plan = planned(program, &Homes::of_reshapes(program), steps.iter());
        Self { steps, plan, idle: Mutex::default() }
    }

    /// Sums of two features of one shape are computed by the layer that writes the later operand, where
    /// nothing else reads this operand and the layer's kernel can. It is never written. Parts of a
    /// concat are written where it wants them and stretches of a tensor are read where they are, unless
    /// the features would need more memory.
    pub fn fused(isa: Isa, program: &Program, kernels: &[Option<Box<dyn Kernel>>]) -> Self {
        let mut steps = steps_of(program, fused_sums(isa, program, kernels));
        let mut plan = planned(program, &Homes::of_reshapes(program), steps.iter());
        let homes = Homes::of_stretches(program);
        let has_work = |step: &Step| !homes.idle.contains(&step.layer);
        let shared = planned(program, &homes, steps.iter().filter(|step| has_work(step)));
        if shared.total_bytes() <= plan.total_bytes() {
            steps.retain(has_work);
            plan = shared;
        }
        Self { steps, plan, idle: Mutex::default() }
    }

    /// Lends memory for a frame.
    pub fn with_workspace<R>(&self, body: impl FnOnce(&mut Workspace) -> Result<R>) -> Result<R> {
        let mut workspace = self.take_workspace(&self.plan.slot_bytes)?;
        let result = body(&mut workspace);
        self.give_back(workspace);
        result
    }

    /// A workspace with slots of at least these sizes.
    pub fn take_workspace(&self, slot_bytes: &[usize]) -> Result<Workspace> {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        let mut workspace = idle.unwrap_or_default();
        workspace.grow(slot_bytes)?;
        Ok(workspace)
    }

    pub fn give_back(&self, workspace: Workspace) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(workspace);
        }
    }
}

/// All layers in order; `sums` has, by layer, the sum that it ends with and the sum's layer.
fn steps_of(program: &Program, mut sums: HashMap<usize, (usize, FusedSum)>) -> Vec<Step> {
    let absorbed: HashSet<usize> = sums.values().map(|(layer, _)| *layer).collect();
    let mut steps = Vec::new();
    for (layer, spec) in program.layers.iter().enumerate() {
        if absorbed.contains(&layer) {
            continue;
        }
        let mut step = Step { layer, inputs: spec.inputs.clone(), output: spec.output, sum: None };
        if let Some((absorbed, sum)) = sums.remove(&layer) {
            let absorbed = &program.layers[absorbed];
            step.inputs.push(absorbed.inputs[1 - sum.position]);
            (step.output, step.sum) = (absorbed.output, Some(sum));
        }
        steps.push(step);
    }
    steps
}

fn planned<'a>(
    program: &Program,
    homes: &Homes,
    steps: impl Iterator<Item = &'a Step>,
) -> MemoryPlan {
    let touched = steps.map(|step| Touched { inputs: &step.inputs, output: step.output });
    MemoryPlan::of_steps(program, homes, &touched.collect::<Vec<_>>())
}

/// By layer, the sum that it ends with and the sum's layer.
fn fused_sums(
    isa: Isa,
    program: &Program,
    kernels: &[Option<Box<dyn Kernel>>],
) -> HashMap<usize, (usize, FusedSum)> {
    let mut readers = vec![0; program.tensors.len()];
    let mut writers = vec![None; program.tensors.len()];
    for (layer, spec) in program.layers.iter().enumerate() {
        writers[spec.output] = Some(layer);
        spec.inputs.iter().for_each(|&input| readers[input] += 1);
    }
    program.outputs.iter().for_each(|&output| readers[output] += 1);
    let mut found = HashMap::new();
    for (layer, spec) in program.layers.iter().enumerate() {
        let &[first, second] = &spec.inputs[..] else { continue };
        if !matches!(spec.op, Op::Sum(_)) || first == second {
            continue;
        }
        let position = usize::from(writers[second] > writers[first]);
        let own = spec.inputs[position];
        let Some(writer) = writers[own] else { continue };
        let size = |tensor: usize| program.tensors[tensor].element_type.size_bytes();
        let can_end = kernels[writer].as_ref().is_some_and(|kernel| kernel.ends_in_sum());
        if readers[own] != 1 || !can_end || size(own) != size(spec.output) {
            continue;
        }
        if let Some(sum) = residual_sum(isa, program, spec) {
            found.insert(writer, (layer, FusedSum { sum, position }));
        }
    }
    found
}
