//! The memory plan.

use std::collections::HashMap;

use super::{requantizer, small_network};
use crate::element::ElementType;
use crate::isa::Isa;
use crate::network::plan::{MemoryPlan, Place};
use crate::network::proto::{self, Slice, layer::Op};
use crate::network::sample::{Random, Sample, requantize};
use crate::network::{Engine, Program, ValuesView, file, validate};

fn program(sample: &Sample) -> Program {
    validate::program(file::decode(&sample.file()).unwrap()).unwrap()
}

/// Layers that each read one or two earlier tensors, outputs at random.
fn random_graph(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let mut live = vec![sample.input(ElementType::U8, &[random.size(1, 9)], 0)];
    for _ in 0..random.size(1, 30) {
        let inputs = [random.pick(&live), random.pick(&live)];
        let sizes = inputs.map(|input| sample.network.tensors[input as usize].shape[0]);
        let output = if random.one_in(4) {
            let output = sample.tensor(ElementType::U8, &[sizes[0] as usize], 0);
            sample.layer(&inputs[..1], output, Op::Reshape(Default::default()));
            output
        } else if random.one_in(3) {
            let size = random.size(1, sizes[0] as usize);
            let output = sample.tensor(ElementType::U8, &[size], 0);
            let slice = Slice { start: vec![0], step: vec![1] };
            sample.layer(&inputs[..1], output, Op::Slice(slice));
            output
        } else {
            let size = (sizes[0] + sizes[1]) as usize;
            let output = sample.tensor(ElementType::U8, &[size.min(1 << 20)], 0);
            if size > 1 << 20 {
                break;
            }
            sample.layer(&inputs, output, Op::Concat(Default::default()));
            output
        };
        live.push(output);
        if random.one_in(5) {
            sample.network.outputs.push(output);
        }
    }
    sample.network.tensors.truncate(sample.network.layers.len() + 1);
    sample.network.outputs.push(live[live.len() - 1]);
    sample
}

/// The tensor that a slot holds after each layer is the one that its readers want.
fn no_live_tensor_is_overwritten(program: &Program) {
    let plan = MemoryPlan::of(program);
    let mut owner: Vec<usize> = (0..program.tensors.len()).collect();
    let mut holder: HashMap<usize, usize> = HashMap::new();
    let place = |tensor: usize| plan.places[tensor];
    for layer in &program.layers {
        for &input in &layer.inputs {
            if let Place::Slot(slot) = place(input) {
                assert_eq!(holder.get(&slot), Some(&owner[input]), "{}", layer.name);
                assert!(
                    layer.op == crate::network::Op::Reshape || place(layer.output) != place(input)
                );
            }
        }
        if layer.op == crate::network::Op::Reshape {
            owner[layer.output] = owner[layer.inputs[0]];
            assert_eq!(place(layer.output), place(layer.inputs[0]));
        } else if let Place::Slot(slot) = place(layer.output) {
            holder.insert(slot, layer.output);
            assert!(plan.slot_bytes[slot] >= program.tensors[layer.output].size_bytes());
        }
    }
    for &output in &program.outputs {
        if let Place::Slot(slot) = place(output) {
            assert_eq!(holder.get(&slot), Some(&owner[output]), "an output is overwritten");
        }
    }
}

#[test]
fn no_live_tensor_is_overwritten_in_random_graphs() {
    for seed in 0..500 {
        no_live_tensor_is_overwritten(&program(&random_graph(&mut Random(seed))));
    }
}

#[test]
fn a_chain_needs_two_slots() {
    let mut sample = Sample::default();
    let mut last = sample.input(ElementType::U8, &[100], 0);
    for step in 0..10 {
        let next = sample.tensor(ElementType::U8, &[100], 0);
        let table = Op::Lookup(proto::Lookup { value: (0..256).collect() });
        if step == 9 {
            sample.output_layer(&[last], next, table)
        } else {
            sample.layer(&[last], next, table)
        }
        last = next;
    }
    let engine = Engine::load(&sample.file(), Isa::Scalar, 1).unwrap();
    assert_eq!(engine.feature_bytes(), 200);
}

#[test]
fn a_small_tensor_leaves_a_large_slot_to_a_large_one() {
    let mut sample = Sample::default();
    let mut last = sample.input(ElementType::U8, &[8], 0);
    let slice = || Op::Slice(Slice { start: vec![0], step: vec![1] });
    let mut kept = Vec::new();
    for _ in 0..2 {
        let large = sample.tensor(ElementType::U8, &[1000], 0);
        sample.layer(&[last; 125], large, Op::Concat(Default::default()));
        let small = sample.tensor(ElementType::U8, &[8], 0);
        sample.layer(&[large], small, slice());
        let smaller = sample.tensor(ElementType::U8, &[8], 0);
        sample.layer(&[small], smaller, slice());
        (last, kept) = (smaller, [kept, vec![smaller]].concat());
    }
    sample.network.outputs = kept;
    let engine = Engine::load(&sample.file(), Isa::Scalar, 1).unwrap();
    assert_eq!(engine.feature_bytes(), 1000 + 2 * 8);
}

#[test]
fn a_reshape_costs_no_memory() {
    let engine = Engine::load(&small_network().file(), Isa::Scalar, 1).unwrap();
    let program = engine.program();
    let without: usize = (0..program.tensors.len())
        .filter(|&index| {
            program.tensors[index].constant.is_none() && program.tensors[index].name != "t6"
        })
        .map(|index| program.tensors[index].size_bytes())
        .sum();
    assert!(engine.feature_bytes() < without);
    let plan = MemoryPlan::of(program);
    assert_eq!(plan.places[5], plan.places[6]);
}

/// An image, a convolution of it with as many channels, and the sum of both.
fn residual_network() -> Sample {
    let mut sample = Sample::default();
    let image = sample.input(ElementType::U8, &[1, 4, 4, 16], 0);
    let first = sample.tensor(ElementType::U8, &[1, 4, 4, 16], 0);
    let second = sample.tensor(ElementType::U8, &[1, 4, 4, 16], 0);
    let summed = sample.tensor(ElementType::U8, &[1, 4, 4, 16], 0);
    let weights = Random(3).values(ElementType::S8, 16 * 16);
    let weight = sample.constant(ElementType::S8, &[16, 1, 1, 16], 0, &weights);
    let convolution = || {
        Op::Convolution(proto::Convolution {
            weight,
            bias: vec![0; 16],
            stride: vec![1, 1],
            dilation: vec![1, 1],
            pad: vec![0, 0],
            groups: 1,
            requantize: requantize(&requantizer(0)),
        })
    };
    sample.layer(&[image], first, convolution());
    sample.layer(&[first], second, convolution());
    let op = proto::Sum { requantize: requantize(&requantizer(0)), subtracted: Vec::new() };
    sample.output_layer(&[first, second], summed, Op::Sum(op));
    sample
}

#[test]
fn an_operand_that_only_a_sum_reads_needs_no_memory() {
    let mut sample = residual_network();
    let bytes =
        |sample: &Sample| Engine::load(&sample.file(), Isa::Scalar, 1).unwrap().feature_bytes();
    assert_eq!(bytes(&sample), 2 * 256);
    sample.network.outputs.push(2);
    assert_eq!(bytes(&sample), 3 * 256, "another reader wants the operand");
}

#[test]
fn an_operand_that_a_sum_absorbs_can_be_traced() {
    let sample = residual_network();
    let image: Vec<u8> = (0..=255).collect();
    let engine = Engine::load(&sample.file(), Isa::Scalar, 1).unwrap();
    let inputs = [ValuesView::U8(&image)];
    let mut seen = sample.clone();
    seen.network.outputs.push(2);
    let want = Engine::load(&seen.file(), Isa::Scalar, 1).unwrap().run(&inputs, 1).unwrap();
    let traced = engine.trace(&inputs, &[3, 2]).unwrap();
    assert_eq!(traced, want);
    assert_eq!(engine.run(&inputs, 1).unwrap(), want[..1]);
}
