//! Which tensors live inside others: reshapes, stretches of a tensor, and what a concat joins.

use std::collections::HashSet;

use super::program::{LayerSpec, Op, Program};

/// For each tensor the one in whose memory it lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Homes {
    /// The tensor that has the memory: itself, unless it lives inside another.
    pub owner: Vec<usize>,
    /// By tensor, the first byte within the owner.
    pub offset: Vec<usize>,
    /// The layers that have nothing to do, as their output is in its place when their turn comes.
    /// Reshapes are not among them.
    pub idle: HashSet<usize>,
}

impl Homes {
    /// Only reshapes share memory, with what they reshape.
    pub fn of_reshapes(program: &Program) -> Self {
        let owner = owners(program);
        Self { offset: vec![0; owner.len()], owner, idle: HashSet::new() }
    }

    /// Besides, slices that are one stretch of bytes live in what they are cut from, and what a concat
    /// puts down stretch behind stretch is written where the concat wants it.
    pub fn of_stretches(program: &Program) -> Self {
        let mut idle = HashSet::new();
        let mut places = cut(program, &mut idle);
        let joined = join(program, &places, &mut idle);
        for (owner, offset) in &mut places {
            let (home, start) = joined[*owner];
            (*owner, *offset) = (home, start + *offset);
        }
        let (owner, offset) = places.into_iter().unzip();
        Self { owner, offset, idle }
    }
}

/// By tensor, what its chain of reshapes and slices began with, and the first byte in it.
fn cut(program: &Program, idle: &mut HashSet<usize>) -> Vec<(usize, usize)> {
    let mut places: Vec<(usize, usize)> = (0..program.tensors.len()).map(|t| (t, 0)).collect();
    for (layer, spec) in program.layers.iter().enumerate() {
        let start = match &spec.op {
            Op::Reshape => Some(0),
            Op::Slice { start, step } => stretch_start(program, spec, start, step),
            _ => None,
        };
        let Some(start) = start else { continue };
        let (owner, offset) = places[spec.inputs[0]];
        places[spec.output] = (owner, offset + start);
        if spec.op != Op::Reshape {
            idle.insert(layer);
        }
    }
    places
}

/// By tensor that is none of those, the concat's output in which it lives, and the first byte in it. A
/// concat of a concat is met first, so that the inner one's place is known when its own parts get theirs.
fn join(
    program: &Program,
    places: &[(usize, usize)],
    idle: &mut HashSet<usize>,
) -> Vec<(usize, usize)> {
    let mut homes: Vec<(usize, usize)> = (0..program.tensors.len()).map(|t| (t, 0)).collect();
    let mut is_settled: Vec<bool> =
        program.tensors.iter().map(|tensor| tensor.constant.is_some()).collect();
    program.inputs.iter().for_each(|&input| is_settled[input] = true);
    let size = |tensor: usize| program.tensors[tensor].size_bytes();
    for (layer, spec) in program.layers.iter().enumerate().rev() {
        let Op::Concat { axis } = spec.op else { continue };
        let outer = &program.tensors[spec.output].shape[..axis];
        let mut parts = HashSet::new();
        let can_move = |&input: &usize| {
            let (part, _) = places[input];
            !is_settled[part] && size(part) == size(input) && parts.insert(part)
        };
        if outer.iter().any(|&size| size != 1) || !spec.inputs.iter().all(can_move) {
            continue;
        }
        let (home, mut start) = homes[spec.output];
        for &input in &spec.inputs {
            let (part, _) = places[input];
            homes[part] = (home, start);
            is_settled[part] = true;
            start += size(input);
        }
        idle.insert(layer);
    }
    homes
}

/// For each tensor the one whose place it shares: itself, or what a chain of reshapes began with.
pub(super) fn owners(program: &Program) -> Vec<usize> {
    let mut owners: Vec<usize> = (0..program.tensors.len()).collect();
    for layer in &program.layers {
        if layer.op == Op::Reshape {
            owners[layer.output] = owners[layer.inputs[0]];
        }
    }
    owners
}

/// The byte of a slice's input at which its output begins, when this is one stretch of the input.
fn stretch_start(
    program: &Program,
    layer: &LayerSpec,
    start: &[usize],
    step: &[isize],
) -> Option<usize> {
    let (input, output) = (&program.tensors[layer.inputs[0]], &program.tensors[layer.output]);
    let cut = output.shape.iter().position(|&size| size > 1).unwrap_or(output.shape.len());
    let mut stride = input.element_type.size_bytes();
    let mut first = 0;
    for axis in (0..output.shape.len()).rev() {
        let is_whole = output.shape[axis] == input.shape[axis];
        if (axis >= cut && step[axis] != 1) || (axis > cut && !is_whole) {
            return None;
        }
        first += start[axis] * stride;
        stride *= input.shape[axis];
    }
    Some(first)
}
