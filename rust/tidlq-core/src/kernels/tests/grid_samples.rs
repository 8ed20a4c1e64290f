//! Samples at places that a grid gives.

use super::check_cases;
use crate::isa::isa_tests;
use crate::network::proto::{self, grid_sample::Padding, layer::Op};
use crate::network::sample::{Random, Sample, requantize};

const MODES: [&str; 5] = ["shift", "fixed", "float", "twice", "double"];

fn grid_sample(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let types = [random.integer_type(), random.integer_type(), random.integer_type()];
    let zeros = types.map(|element_type| random.value(element_type));
    let [count, height, width] = [2, 6, 7].map(|most| random.size(1, most));
    let channels = random.pick(&[1, 3, 8, 17, 70]);
    let places = [random.size(1, 5), random.size(1, 9)];
    let x = sample.input(types[0], &[count, height, width, channels], zeros[0]);
    let grid = sample.input(types[1], &[count, places[0], places[1], 2], zeros[1]);
    let y = sample.tensor(types[2], &[count, places[0], places[1], channels], zeros[2]);
    let fraction_bits = random.pick(&[0, 1, 7, 11, 20]);
    // Mostly a few positions beyond the feature, in steps of which some are halves.
    let wide = if types[1].size_bytes() == 1 { 5 } else { 13 };
    let shift = random.pick(&[wide, wide + 2, 20]);
    let place = |random: &mut Random, steps: i64| random.within(-steps, steps) << fraction_bits;
    let nearest = random.one_in(3);
    let mut op = proto::GridSample {
        multiplier: (0..2).map(|_| place(random, 3) as i32).collect(),
        offset: (0..2).map(|_| (place(random, 8) << shift) >> random.size(0, 2)).collect(),
        shift,
        fraction_bits,
        nearest,
        cubic: !nearest && random.one_in(2),
        requantize: requantize(&random.requantizer(types[2], zeros[2], &MODES, 1)),
        ..Default::default()
    };
    op.set_padding(random.pick(&[
        Padding::Zeros,
        Padding::Border,
        Padding::MirrorAtEdges,
        Padding::MirrorAtCorners,
    ]));
    sample.output_layer(&[x, grid], y, Op::GridSample(op));
    sample
}

isa_tests! {
    fn grid_sample_equals_reference(cpu: Cpu) {
        check_cases(cpu, grid_sample);
    }
}
