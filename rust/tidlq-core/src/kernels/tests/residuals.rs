//! Sums of two features of one shape: alone, and as the end of the layer that writes one of them.

use super::check_cases;
use super::products::{convolution, depthwise_bytes, inner_product, pointwise};
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding};
use crate::isa::isa_tests;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample, requantize};

/// A rounding of sums, as networks have them and with any numbers.
fn rounding(random: &mut Random, to: ElementType, zero_point: i32) -> Requantizer {
    let mut requantizer = random.requantizer(to, zero_point, &["fixed"], 2);
    let bound = random.pick(&[1 << 15, (1 << 30) - 1, 1 << 30]);
    let power = |random: &mut Random| 1 << random.within(15, 29);
    let any = |random: &mut Random| random.within(-bound, bound) as i32;
    let has_powers = random.one_in(2);
    let list = |random: &mut Random, entry: &dyn Fn(&mut Random) -> i32| {
        vec![entry(random), entry(random)]
    };
    requantizer.rounding = match random.next() % 4 {
        0 => Rounding::Float(vec![0.031, 0.27]),
        1 => Rounding::Real(vec![random.pick(&[0.5, 0.0371]), 0.31, -3.25]),
        2 => twice_rounding(random),
        _ => Rounding::Fixed {
            multiplier: if has_powers { list(random, &power) } else { list(random, &any) },
            shift: vec![random.within(14, 47) as u32],
        },
    };
    requantizer
}

/// As LiteRT has it: operands are shifted left, and their scale is undone at last.
fn twice_rounding(random: &mut Random) -> Rounding {
    let least = random.pick(&[0, 1 << 30]);
    let shifts = [random.within(0, 4), random.within(0, 4), random.within(0, 24)];
    Rounding::Twice {
        left_shift: vec![random.pick(&[20, 20, 19]), 20, random.pick(&[0, 0, 1])],
        multiplier: (0..3).map(|_| random.within(least, i32::MAX.into()) as i32).collect(),
        shift: shifts.map(|shift| shift as u32).to_vec(),
    }
}

/// Adds another feature to what the only layer writes.
fn with_residual(random: &mut Random, mut sample: Sample) -> Sample {
    let own = sample.network.outputs[0];
    let shape: Vec<usize> =
        sample.network.tensors[own as usize].shape.iter().map(|&size| size as usize).collect();
    let types = match sample.network.tensors[own as usize].element_type() {
        proto::ElementType::U8 | proto::ElementType::S8 => [ElementType::U8, ElementType::S8],
        proto::ElementType::U16 | proto::ElementType::S16 => [ElementType::U16, ElementType::S16],
        // Nothing adds floats.
        _ => return sample,
    };
    let another = |sample: &mut Sample, random: &mut Random| {
        let any = random.integer_type();
        let element_type = random.pick(&[types[0], types[1], any]);
        let zero_point = random.value(element_type);
        (sample.tensor(element_type, &shape, zero_point), element_type, zero_point)
    };
    let (other, ..) = another(&mut sample, random);
    sample.network.inputs.push(other);
    let (sum, to, zero_point) = another(&mut sample, random);
    let requantizer = rounding(random, to, zero_point);
    let is_twice = matches!(requantizer.rounding, Rounding::Twice { .. });
    let count = if is_twice && random.one_in(2) { 2 } else { 0 };
    let subtracted = (0..count).map(|_| random.one_in(2)).collect();
    let op = Op::Sum(proto::Sum { requantize: requantize(&requantizer), subtracted });
    if !random.one_in(8) {
        sample.network.outputs.clear();
    }
    let inputs = if random.one_in(2) { [own, other] } else { [other, own] };
    sample.output_layer(&inputs, sum, op);
    sample
}

/// Two inputs and their sum.
fn residual_of_inputs(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let shape = [random.size(1, 3), random.size(1, 90)];
    let element_type = random.integer_type();
    let zero_point = random.value(element_type);
    let x = sample.input(element_type, &shape, zero_point);
    sample.network.outputs.push(x);
    with_residual(random, sample)
}

isa_tests! {
    fn sum_of_one_shape_equals_reference(cpu: Cpu) {
        check_cases(cpu, residual_of_inputs);
    }

    fn convolution_that_ends_in_a_sum_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let columns = random.pick(&[1, 7, 16, 33, 64, 130]);
            let sample = convolution(random, 1, 4, columns);
            with_residual(random, sample)
        });
    }

    fn pointwise_convolution_that_ends_in_a_sum_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let sample = pointwise(random);
            with_residual(random, sample)
        });
    }

    fn depthwise_convolution_that_ends_in_a_sum_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let channels = random.pick(&[1, 2, 16, 33, 64, 600]);
            let is_byte = random.one_in(2);
            let sample = match is_byte {
                true => depthwise_bytes(random, channels.max(2)),
                false => convolution(random, channels, 1, 1),
            };
            with_residual(random, sample)
        });
    }

    fn inner_product_that_ends_in_a_sum_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let sample = inner_product(random);
            with_residual(random, sample)
        });
    }
}
