//! Every kernel against the plain versions, bit for bit, on random shapes, types and parameters.

mod deformable;
mod elements;
mod grid_samples;
mod input_sums;
mod movement;
mod order;
mod products;
mod residuals;
mod row_products;
mod rows;
mod sums;
mod wide_sums;
mod windows;

use super::reference::{self, Data};
use crate::element::ElementType;
use crate::isa::Cpu;
use crate::network::sample::{Random, Sample, bytes_of};
use crate::network::{Engine, Values};

/// Random networks per test and instruction set.
const CASES: u64 = 150;

/// Values that a float input takes beside ordinary ones.
const ODD_FLOATS: [f32; 6] = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1.0e30];

fn random_input(random: &mut Random, element_type: ElementType, elements: usize) -> Data {
    if element_type != ElementType::F32 {
        return Data::Integers(random.values(element_type, elements));
    }
    let float = |random: &mut Random| {
        let halves = random.within(-80_000, 80_000) as f32 / 16.0;
        if random.one_in(8) { random.pick(&ODD_FLOATS) } else { halves }
    };
    Data::Floats((0..elements).map(|_| float(random)).collect())
}

fn values(element_type: ElementType, data: &Data) -> Values {
    let bytes = match data {
        Data::Integers(values) => bytes_of(element_type, values),
        Data::Floats(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    Values::copy_of(element_type, &bytes).unwrap()
}

/// Runs a network on random inputs and compares every tensor with the reference, layer by layer, and the
/// outputs of a whole run.
fn check(cpu: Cpu, sample: &Sample, random: &mut Random, threads: usize) {
    let engine = Engine::load(&sample.file(), cpu.isa(), threads).unwrap();
    let program = engine.program();
    let inputs: Vec<(ElementType, Data)> = program
        .inputs
        .iter()
        .map(|&input| &program.tensors[input])
        .map(|tensor| {
            (tensor.element_type, random_input(random, tensor.element_type, tensor.elements()))
        })
        .collect();
    let arrays: Vec<Values> =
        inputs.iter().map(|(element_type, data)| values(*element_type, data)).collect();
    let views: Vec<_> = arrays.iter().map(Values::view).collect();
    let all: Vec<usize> = (0..program.tensors.len()).collect();
    let got = engine.trace(&views, &all).unwrap();
    let outputs = engine.run(&views, 1).unwrap();
    for (output, &tensor) in outputs.iter().zip(&program.outputs) {
        let (run, traced) = (output.view().bytes(), got[tensor].view().bytes());
        assert!(
            run == traced,
            "{:?}: a run got {output:?}, want {:?}",
            program.layers,
            got[tensor]
        );
    }
    let data: Vec<Data> = inputs.into_iter().map(|(_, data)| data).collect();
    for ((got, want), tensor) in
        got.iter().zip(reference::run(program, &data)).zip(&program.tensors)
    {
        // Bytes, so that NaN equals NaN.
        let want = values(tensor.element_type, &want);
        assert!(
            got.view().bytes() == want.view().bytes(),
            "{} of {:?}: got {got:?}, want {want:?}",
            tensor.name,
            program.layers
        );
    }
}

/// Checks random networks that `case` makes.
fn check_cases(cpu: Cpu, case: impl Fn(&mut Random) -> Sample) {
    for seed in 0..CASES {
        let mut random = Random(seed);
        let sample = case(&mut random);
        let threads = random.size(1, 2);
        check(cpu, &sample, &mut random, threads);
    }
}
