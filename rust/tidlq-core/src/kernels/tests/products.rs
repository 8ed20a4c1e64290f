//! Convolution, depthwise convolution, inner product.

use super::{check, check_cases};
use crate::element::ElementType;
use crate::isa::isa_tests;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample, requantize};

const MODES: [&str; 6] = ["shift", "fixed", "float", "twice", "double", "biased"];

/// Sizes around those at which kernels switch.
const COUNTS: [usize; 12] = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 40];

/// An output's type: an integer type, or float.
fn output_type(random: &mut Random) -> ElementType {
    if random.one_in(4) { ElementType::F32 } else { random.integer_type() }
}

fn weight_type(random: &mut Random) -> ElementType {
    random.pick(&[ElementType::S8, ElementType::S8, ElementType::S16])
}

fn bias(random: &mut Random, count: usize) -> Vec<i64> {
    let bound = random.pick(&[1_000, 1 << 30, 1 << 47]);
    (0..count).map(|_| random.within(-bound, bound)).collect()
}

/// A convolution of `groups`, each `depth` to `columns` channels.
pub(super) fn convolution(
    random: &mut Random,
    groups: usize,
    depth: usize,
    columns: usize,
) -> Sample {
    let types = (random.integer_type(), weight_type(random), output_type(random));
    let kernel = [random.size(1, 3), random.size(1, 4)];
    convolution_of(random, types, kernel, (groups, depth, columns))
}

/// As [`convolution`], of bytes with windows of 3 by 3.
pub(super) fn depthwise_bytes(random: &mut Random, channels: usize) -> Sample {
    convolution_of_bytes(random, [3, 3], (channels, 1, 1))
}

/// As [`convolution`], of bytes whose sums 32 bits hold.
fn convolution_of_bytes(
    random: &mut Random,
    kernel: [usize; 2],
    sizes: (usize, usize, usize),
) -> Sample {
    let byte = |random: &mut Random| random.pick(&[ElementType::U8, ElementType::S8]);
    let types = (byte(random), ElementType::S8, byte(random));
    let mut sample = convolution_of(random, types, kernel, sizes);
    if let Some(Op::Convolution(op)) = &mut sample.network.layers[0].op {
        op.bias.iter_mut().for_each(|bias| *bias %= 10_000);
    }
    sample
}

/// Types of input, weights and output; groups, and channels of each before and after.
fn convolution_of(
    random: &mut Random,
    (from, weight_type, to): (ElementType, ElementType, ElementType),
    kernel: [usize; 2],
    (groups, depth, columns): (usize, usize, usize),
) -> Sample {
    let mut sample = Sample::default();
    let (zero_in, zero_out) = (random.value(from), random.value(to));
    let is_flat = random.one_in(4);
    let map = |random: &mut Random, channels| {
        let (height, width) = (random.size(1, 9), random.size(1, 12));
        if is_flat { vec![2, width, channels] } else { vec![1, height, width, channels] }
    };
    let shape = map(random, groups * depth);
    let x = sample.input(from, &shape, zero_in);
    let kernel = [if is_flat { 1 } else { kernel[0] }, kernel[1]];
    let weight_shape = [groups * columns, kernel[0], kernel[1], depth];
    let weights = random.values(weight_type, weight_shape.iter().product());
    let weight = sample.constant(weight_type, &weight_shape, 0, &weights);
    let mut out = map(random, groups * columns);
    out[0] = shape[0];
    let y = sample.tensor(to, &out, zero_out);
    let requantizer = random.requantizer(to, zero_out, &MODES, groups * columns);
    let pair = |random: &mut Random, low, high| {
        vec![random.size(low, high) as u32, random.size(low, high) as u32]
    };
    let op = Op::Convolution(proto::Convolution {
        weight,
        bias: bias(random, groups * columns),
        stride: pair(random, 1, 3),
        dilation: pair(random, 1, 2),
        pad: pair(random, 0, 3),
        groups: groups as u32,
        requantize: requantize(&requantizer),
    });
    sample.output_layer(&[x], y, op);
    sample
}

/// A transposed convolution; the output has any size, also one that nothing reaches in places.
fn transposed(random: &mut Random, groups: usize, depth: usize, columns: usize) -> Sample {
    let mut sample = convolution(random, groups, depth, columns);
    let Some(Op::Convolution(op)) = sample.network.layers[0].op.take() else { unreachable!() };
    let proto::Convolution { weight, bias, dilation, pad, groups, requantize, .. } = op;
    let stride = vec![random.size(1, 5) as u32, random.size(1, 5) as u32];
    let op =
        proto::TransposedConvolution { weight, bias, stride, dilation, pad, groups, requantize };
    sample.network.layers[0].op = Some(Op::TransposedConvolution(op));
    sample
}

pub(super) fn pointwise(random: &mut Random) -> Sample {
    let (depth, columns) = (random.pick(&COUNTS), random.pick(&COUNTS));
    let mut sample = convolution(random, 1, depth, columns);
    let Some(Op::Convolution(op)) = &mut sample.network.layers[0].op else { unreachable!() };
    (op.stride, op.dilation, op.pad) = (vec![1, 1], vec![1, 1], vec![0, 0]);
    let (mut shape, weight) = (sample.network.tensors[0].shape.clone(), 1);
    let size = columns * depth * sample.network.tensors[weight].element_type().size();
    let weights = &mut sample.network.tensors[weight];
    weights.shape = vec![columns as u32, 1, 1, depth as u32];
    weights.constant = weights.constant.take().map(|bytes| bytes[..size].to_vec());
    if let Some(last) = shape.last_mut() {
        *last = columns as u32;
    }
    sample.network.tensors[2].shape = shape;
    sample
}

impl proto::ElementType {
    fn size(self) -> usize {
        if matches!(self, Self::S8 | Self::U8) { 1 } else { 2 }
    }
}

pub(super) fn inner_product(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (from, to) = (random.integer_type(), output_type(random));
    let (zero_in, zero_out) = (random.value(from), random.value(to));
    let (depth, columns) =
        (random.pick(&[1, 2, 17, 64, 300]), random.pick(&[1, 5, 16, 33, 200, 277, 1_000]));
    let leading: Vec<usize> = random.pick(&[vec![], vec![1], vec![3], vec![2, 3, 1], vec![70]]);
    let shape = |last| [&leading[..], &[last]].concat();
    let x = sample.input(from, &shape(depth), zero_in);
    let weight_type = weight_type(random);
    let weights = random.values(weight_type, columns * depth);
    let weight = sample.constant(weight_type, &[columns, depth], 0, &weights);
    let y = sample.tensor(to, &shape(columns), zero_out);
    let requantizer = random.requantizer(to, zero_out, &MODES, columns);
    let op = Op::InnerProduct(proto::InnerProduct {
        weight,
        bias: bias(random, columns),
        requantize: requantize(&requantizer),
    });
    sample.output_layer(&[x], y, op);
    sample
}

isa_tests! {
    fn transposed_convolution_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let (groups, depth) = (random.pick(&[1, 1, 2, 3]), random.size(1, 5));
            let columns = random.pick(&COUNTS);
            transposed(random, groups, depth, columns)
        });
    }

    fn convolution_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let (depth, columns) = (random.size(1, 9), random.pick(&COUNTS));
            convolution(random, 1, depth, columns)
        });
    }

    fn deep_convolution_of_bytes_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let kernel = [random.size(1, 3), random.size(1, 3)];
            let groups = random.pick(&[1, 1, 1, 2]);
            let (depth, columns) =
                (random.pick(&[16, 21, 64, 70, 128, 130]), random.pick(&[8, 16, 33, 64, 100]));
            convolution_of_bytes(random, kernel, (groups, depth, columns))
        });
    }

    fn grouped_convolution_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let (groups, depth) = (random.size(2, 4), random.size(1, 3));
            let columns = random.size(1, 20);
            convolution(random, groups, depth, columns)
        });
    }

    fn depthwise_convolution_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let channels = random.pick(&[1, 2, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 47, 600]);
            convolution(random, channels, 1, 1)
        });
    }

    fn depthwise_convolution_of_bytes_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| {
            let channels = random.pick(&[2, 3, 16, 31, 32, 33, 48, 64, 96, 130, 600]);
            depthwise_bytes(random, channels)
        });
    }

    fn convolution_of_one_channel_equals_reference(cpu: Cpu) {
        check_cases(cpu, |random| convolution(random, 1, 1, 1));
    }

    fn pointwise_convolution_equals_reference(cpu: Cpu) {
        check_cases(cpu, pointwise);
    }

    fn inner_product_equals_reference(cpu: Cpu) {
        check_cases(cpu, inner_product);
    }

    fn extreme_products_do_not_overflow(cpu: Cpu) {
        // Every product at its bound, deep enough that 32 bits do not hold the sum.
        for element_type in ElementType::INTEGERS {
            for weight_type in [ElementType::S8, ElementType::S16] {
                let depth = 70_000;
                let mut sample = Sample::default();
                let (low, _) = element_type.range().unwrap();
                let (least, _) = weight_type.range().unwrap();
                let x = sample.constant(element_type, &[depth], low, &vec![low; depth]);
                let (_, high) = element_type.range().unwrap();
                sample.network.tensors[x as usize].zero_point = high;
                let weight = sample.constant(weight_type, &[1, depth], 0, &vec![least; depth]);
                let y = sample.tensor(ElementType::S16, &[1], 0);
                let shift = 32;
                let requantizer = crate::fixed::Requantizer {
                    rounding: crate::fixed::Rounding::Shift(vec![shift]),
                    zero_point: 0,
                    clamp_min: -32_768,
                    clamp_max: 32_767,
                };
                let requantize = requantize(&requantizer);
                let op = Op::InnerProduct(proto::InnerProduct { weight, bias: vec![0], requantize });
                sample.output_layer(&[x], y, op);
                check(cpu, &sample, &mut Random(0), 1);
            }
        }
    }
}
