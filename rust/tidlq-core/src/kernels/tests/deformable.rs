//! Convolutions at places that have moved.

use super::check_cases;
use crate::isa::isa_tests;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample};

fn numbers(random: &mut Random, count: usize, reach: i64) -> Vec<f64> {
    let count = random.pick(&[1, count]);
    (0..count).map(|_| random.within(-reach, reach) as f64 * 7.7e-6).collect()
}

fn deformable_convolution(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let types: [_; 4] = std::array::from_fn(|_| random.integer_type());
    let zeros = types.map(|element_type| random.value(element_type));
    let [count, height, width] = [2, 5, 6].map(|most| random.size(1, most));
    let places = [random.size(1, 3), random.size(1, 4)];
    let kernel = [random.size(1, 3), random.size(1, 3)];
    let (groups, offset_groups) = (random.size(1, 3), random.pick(&[1, 1, 2, 5]));
    let channels = groups * offset_groups * random.pick(&[1, 2, 3]);
    let outputs = groups * random.pick(&[1, 3, 8, 17]);
    let taps = offset_groups * kernel[0] * kernel[1];
    let x = sample.input(types[0], &[count, height, width, channels], zeros[0]);
    let [rows, columns] = places;
    let offsets = sample.input(types[1], &[count, rows, columns, 2 * taps], zeros[1]);
    // Of 8 bits in eighths of a position; of 16 mostly far away, unless in finer steps.
    let step = random.pick(&[0.125, 0.037, 3.0e-5]);
    sample.network.tensors[offsets as usize].scale = step;
    let mut inputs = vec![x, offsets];
    if random.one_in(2) {
        inputs.push(sample.input(types[2], &[count, rows, columns, taps], zeros[2]));
    }
    let weight_type = random.pick(&crate::element::ElementType::INTEGERS[1..]);
    let weight_type = match weight_type.size_bytes() {
        1 => crate::element::ElementType::S8,
        _ => crate::element::ElementType::S16,
    };
    let shape = [outputs, kernel[0], kernel[1], channels / groups];
    let values = random.values(weight_type, shape.iter().product());
    let weight = sample.constant(weight_type, &shape, 0, &values);
    let y = sample.tensor(types[3], &[count, rows, columns, outputs], zeros[3]);
    let mut pair = |low: usize| (0..2).map(|_| random.size(low, 3) as u32).collect();
    let (stride, dilation, pad) = (pair(1), pair(1), pair(0));
    let clamp = random.requantizer(types[3], zeros[3], &["shift"], 1);
    let op = proto::DeformableConvolution {
        weight,
        stride,
        dilation,
        pad,
        groups: groups as u32,
        offset_groups: offset_groups as u32,
        gain: numbers(random, outputs, 2000),
        shift: numbers(random, outputs, 20_000_000),
        clamp_min: clamp.clamp_min,
        clamp_max: clamp.clamp_max,
    };
    sample.output_layer(&inputs, y, Op::DeformableConvolution(op));
    sample
}

isa_tests! {
    fn deformable_convolution_equals_reference(cpu: Cpu) {
        check_cases(cpu, deformable_convolution);
    }
}
