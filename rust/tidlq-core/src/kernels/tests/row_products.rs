//! Matrix products of two features, and normalizations.

use super::check_cases;
use crate::isa::isa_tests;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample, requantize};

const MODES: [&str; 5] = ["shift", "fixed", "float", "twice", "double"];

fn matrix_product(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let types = [random.integer_type(), random.integer_type(), random.integer_type()];
    let zeros = types.map(|element_type| random.value(element_type));
    let lead: Vec<usize> = (0..random.size(0, 2)).map(|_| random.size(1, 3)).collect();
    let sizes = [1, 2, 3, 5, 16, 37];
    let [rows, columns, depth] = [0; 3].map(|_| random.pick(&sizes));
    let kept = random.size(0, lead.len());
    let own: Vec<usize> = lead[lead.len() - kept..]
        .iter()
        .map(|&size| if random.one_in(3) { 1 } else { size })
        .collect();
    let a = sample.input(types[0], &[&lead[..], &[rows, depth]].concat(), zeros[0]);
    let b = sample.input(types[1], &[&own[..], &[columns, depth]].concat(), zeros[1]);
    let y = sample.tensor(types[2], &[&lead[..], &[rows, columns]].concat(), zeros[2]);
    let requantizer = random.requantizer(types[2], zeros[2], &MODES, 1);
    let op = Op::MatrixProduct(proto::MatrixProduct { requantize: requantize(&requantizer) });
    sample.output_layer(&[a, b], y, op);
    sample
}

fn normalization(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (from, to) = (random.integer_type(), random.integer_type());
    let (zero_in, zero_out) = (random.value(from), random.value(to));
    let shape = [random.size(1, 3), random.size(1, 5), random.pick(&[1, 2, 3, 16, 33, 600])];
    let x = sample.input(from, &shape, zero_in);
    let y = sample.tensor(to, &shape, zero_out);
    let by_row = random.one_in(2);
    let length = if by_row { shape[1] } else { shape[2] };
    let list = |random: &mut Random| -> Vec<f64> {
        let length = random.pick(&[1, length]);
        (0..length).map(|_| random.within(-4_000, 4_000) as f64 / 37.0).collect()
    };
    let message = proto::Normalization {
        centred: random.one_in(2),
        epsilon: random.pick(&[0.0, 1.0e-5, 3.7, 1.0e9]),
        gain: list(random),
        shift: list(random),
        by_row,
    };
    sample.output_layer(&[x], y, Op::Normalization(message));
    sample
}

isa_tests! {
    fn matrix_product_equals_reference(cpu: Cpu) {
        check_cases(cpu, matrix_product);
    }

    fn normalization_equals_reference(cpu: Cpu) {
        check_cases(cpu, normalization);
    }
}
