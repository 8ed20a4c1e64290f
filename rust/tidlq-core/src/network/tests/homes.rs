//! Tensors that live inside others.

use super::super::homes::Homes;
use super::super::{file, validate};
use crate::element::ElementType;
use crate::isa::Isa;
use crate::network::proto::{Concat, Lookup, Reshape, Slice, layer::Op};
use crate::network::sample::{Random, Sample};
use crate::network::{Engine, Program, Values, ValuesView};

const COLUMNS: usize = 4;

/// Seeds of the random networks.
const SEEDS: u64 = 400;

fn lookup(random: &mut Random) -> Op {
    Op::Lookup(Lookup { value: random.values(ElementType::U8, 256) })
}

fn concat(axis: u32) -> Op {
    Op::Concat(Concat { axis })
}

fn rows_from(start: usize) -> Op {
    Op::Slice(Slice { start: vec![start as u32, 0], step: vec![1, 1] })
}

fn shape(sample: &Sample, tensor: u32) -> [usize; 2] {
    let shape = &sample.network.tensors[tensor as usize].shape;
    [shape[0] as usize, shape[1] as usize]
}

/// Adds a layer that reads some of these tensors; `None` when it would grow too large.
fn grow(sample: &mut Sample, random: &mut Random, live: &[u32]) -> Option<u32> {
    let u8 = ElementType::U8;
    let x = random.pick(live);
    let [rows, columns] = shape(sample, x);
    let (inputs, size, op) = match random.size(0, 9) {
        0 => (vec![x], [rows, columns], Op::Reshape(Reshape {})),
        1 | 2 => {
            let start = random.size(0, rows - 1);
            (vec![x], [random.size(1, rows - start), columns], rows_from(start))
        }
        3 => {
            let slice = Slice { start: vec![0, 1], step: vec![1, 1] };
            (vec![x], [rows, (columns - 1).max(1)], Op::Slice(slice))
        }
        4..=6 => {
            let alike: Vec<u32> =
                live.iter().copied().filter(|&t| shape(sample, t)[1] == columns).collect();
            let inputs: Vec<u32> = (0..random.size(1, 3)).map(|_| random.pick(&alike)).collect();
            let rows = inputs.iter().map(|&t| shape(sample, t)[0]).sum();
            (inputs, [rows, columns], concat(0))
        }
        _ => (vec![x], [rows, columns], lookup(random)),
    };
    if size[0] > 1 << 10 || (columns == 1 && matches!(op, Op::Slice(_))) {
        return None;
    }
    let output = sample.tensor(u8, &size, 0);
    sample.layer(&inputs, output, op);
    Some(output)
}

fn random_network(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let shape = [random.size(1, 3), COLUMNS];
    let mut live = vec![sample.input(ElementType::U8, &shape, 0)];
    for _ in 0..random.size(2, 25) {
        let Some(output) = grow(&mut sample, random, &live) else { continue };
        live.push(output);
        if random.one_in(6) {
            sample.network.outputs.push(output);
        }
    }
    let last = live[live.len() - 1];
    if sample.network.layers.is_empty() {
        let output = sample.tensor(ElementType::U8, &shape, 0);
        sample.output_layer(&[last], output, lookup(random));
    } else if !sample.network.outputs.contains(&last) {
        sample.network.outputs.push(last);
    }
    sample
}

fn image(engine: &Engine, random: &mut Random, frames: usize) -> Vec<u8> {
    let program = engine.program();
    let elements = program.tensors[program.inputs[0]].elements() * frames;
    random.values(ElementType::U8, elements).into_iter().map(|value| value as u8).collect()
}

/// Layers that have nothing to do in a whole run.
fn spared(engine: &Engine) -> usize {
    engine.layered.steps.len() - engine.fused.steps.len()
}

#[test]
fn a_whole_run_of_a_random_network_equals_the_run_layer_by_layer() {
    let mut changed = 0;
    for seed in 0..SEEDS {
        let mut random = Random(seed);
        let sample = random_network(&mut random);
        for isa in Isa::available() {
            let engine = Engine::load(&sample.file(), isa, 1).unwrap();
            let image = image(&engine, &mut random, 3);
            let got = engine.run(&[ValuesView::U8(&image)], 3).unwrap();
            for (frame, image) in image.chunks(image.len() / 3).enumerate() {
                let outputs = &engine.program().outputs;
                let want = engine.trace(&[ValuesView::U8(image)], outputs).unwrap();
                for (got, want) in got.iter().zip(&want) {
                    let (Values::U8(got), Values::U8(want)) = (got, want) else { panic!("u8") };
                    let start = frame * want.len();
                    assert_eq!(&got[start..start + want.len()], &want[..], "seed {seed}, {isa}");
                }
            }
            changed += usize::from(spared(&engine) > 0);
        }
    }
    assert!(changed as u64 > SEEDS / 4, "only {changed} networks share memory");
}

/// The part of its owner's bytes in which a tensor lives.
fn part(program: &Program, homes: &Homes, tensor: usize) -> (usize, std::ops::Range<usize>) {
    let start = homes.offset[tensor];
    (homes.owner[tensor], start..start + program.tensors[tensor].size_bytes())
}

#[test]
fn layers_that_work_write_parts_that_lie_inside_their_owner_and_apart_from_each_other() {
    for seed in 0..SEEDS {
        let sample = random_network(&mut Random(seed));
        let program = validate::program(file::decode(&sample.file()).unwrap()).unwrap();
        let homes = Homes::of_stretches(&program);
        let mut written: Vec<(usize, std::ops::Range<usize>)> = Vec::new();
        for (layer, spec) in program.layers.iter().enumerate() {
            let (owner, range) = part(&program, &homes, spec.output);
            assert!(range.end <= program.tensors[owner].size_bytes(), "seed {seed}");
            if homes.idle.contains(&layer) || spec.op == crate::network::Op::Reshape {
                continue;
            }
            for (other, taken) in &written {
                let is_apart = taken.end <= range.start || range.end <= taken.start;
                assert!(owner != *other || is_apart, "seed {seed}, layer {layer}");
            }
            written.push((owner, range));
        }
    }
}

/// Two tables of an input, joined along an axis.
fn joined(shape: [usize; 2], axis: u32) -> Sample {
    let mut random = Random(5);
    let mut sample = Sample::default();
    let x = sample.input(ElementType::U8, &shape, 0);
    let parts = [0, 1].map(|_| {
        let part = sample.tensor(ElementType::U8, &shape, 0);
        sample.layer(&[x], part, lookup(&mut random));
        part
    });
    let mut whole = shape;
    whole[axis as usize] *= 2;
    let y = sample.tensor(ElementType::U8, &whole, 0);
    sample.output_layer(&parts, y, concat(axis));
    sample
}

#[test]
fn parts_of_a_concat_of_stretches_need_no_memory_of_their_own() {
    let bytes = |shape, axis| {
        let engine = Engine::load(&joined(shape, axis).file(), Isa::Scalar, 1).unwrap();
        (engine.feature_bytes(), spared(&engine))
    };
    assert_eq!(bytes([16, 4], 0), (128, 1));
    assert_eq!(bytes([1, 64], 1), (128, 1));
    assert_eq!(bytes([16, 4], 1), (256, 0), "rows of both parts take turns");
}

#[test]
fn a_part_that_is_an_input_or_comes_twice_is_copied() {
    let load = |sample: &Sample| Engine::load(&sample.file(), Isa::Scalar, 1).unwrap();
    let mut sample = joined([16, 4], 0);
    assert_eq!(spared(&load(&sample)), 1);
    sample.network.layers[2].inputs = vec![1, 1];
    assert_eq!(spared(&load(&sample)), 0);
    sample.network.layers[2].inputs = vec![0, 1];
    assert_eq!(spared(&load(&sample)), 0);
}

/// A small part that a concat at the end joins, and large features before anything else of it is there.
fn early_part() -> Sample {
    let u8 = ElementType::U8;
    let mut random = Random(2);
    let mut sample = Sample::default();
    let x = sample.input(u8, &[1, COLUMNS], 0);
    let part = sample.tensor(u8, &[1, COLUMNS], 0);
    sample.layer(&[x], part, lookup(&mut random));
    let large = [0, 1].map(|_| sample.tensor(u8, &[100, COLUMNS], 0));
    sample.layer(&[part; 100], large[0], concat(0));
    sample.layer(&[large[0]], large[1], lookup(&mut random));
    let row = sample.tensor(u8, &[1, COLUMNS], 0);
    sample.layer(&[large[1]], row, rows_from(7));
    let table = sample.tensor(u8, &[1, COLUMNS], 0);
    sample.layer(&[row], table, lookup(&mut random));
    let rest = sample.tensor(u8, &[100, COLUMNS], 0);
    sample.layer(&[table; 100], rest, concat(0));
    let y = sample.tensor(u8, &[101, COLUMNS], 0);
    sample.output_layer(&[part, rest], y, concat(0));
    sample
}

#[test]
fn a_part_that_would_hold_a_large_place_for_long_stays_apart() {
    let engine = Engine::load(&early_part().file(), Isa::Scalar, 1).unwrap();
    assert_eq!(spared(&engine), 0);
    assert_eq!(engine.feature_bytes(), engine.layered.plan.total_bytes());
    let inputs = [ValuesView::U8(&[1, 2, 3, 4])];
    let want = engine.trace(&inputs, &engine.program().outputs).unwrap();
    assert_eq!(engine.run(&inputs, 1).unwrap(), want);
}
