//! Sums of a layer's input over its window against plain loops.

use proptest::prelude::*;

use crate::element::ElementType;
use crate::isa::{Cpu, isa_tests};
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample, bytes_of, requantize};
use crate::network::{Engine, Stepper, Values, Window};

/// A convolution of some geometry; sizes are (height, width).
#[derive(Clone, Debug)]
struct Case {
    element_type: ElementType,
    input: [usize; 2],
    output: [usize; 2],
    window: Window,
    groups: usize,
    group_channels: usize,
    transposed: bool,
    seed: u64,
}

const FRAMES: usize = 3;
const COUNT: usize = 2;

fn pairs(low: usize, high: usize) -> impl Strategy<Value = [usize; 2]> {
    prop::array::uniform2(low..=high)
}

fn cases() -> impl Strategy<Value = Case> {
    let window = (pairs(1, 4), pairs(1, 3), pairs(1, 3), pairs(0, 4));
    let sizes = (pairs(1, 11), pairs(1, 11), 1..=3_usize, 1..=9_usize);
    let element_type = prop::sample::select(&ElementType::INTEGERS[..]);
    let kinds = (element_type, any::<bool>(), any::<u64>());
    (window, sizes, kinds).prop_map(|(window, sizes, (element_type, transposed, seed))| {
        let (kernel, stride, dilation, pad) = window;
        let (input, output, groups, group_channels) = sizes;
        let window = Window { kernel, stride, dilation, pad };
        Case { element_type, input, output, window, groups, group_channels, transposed, seed }
    })
}

/// The case's network and its input, all frames.
fn network(case: &Case) -> (Sample, Vec<i32>) {
    let Case { element_type, input, output, window, groups, group_channels, seed, .. } = *case;
    let mut random = Random(seed);
    let mut sample = Sample::default();
    let channels = groups * group_channels;
    let outputs = if seed % 2 == 0 { channels } else { groups * 2 };
    let zero_point = random.value(element_type);
    let x = sample.input(element_type, &[COUNT, input[0], input[1], channels], zero_point);
    let shape = [outputs, window.kernel[0], window.kernel[1], group_channels];
    let weights = random.values(ElementType::S8, shape.iter().product());
    let weight = sample.constant(ElementType::S8, &shape, 0, &weights);
    let y = sample.tensor(ElementType::U8, &[COUNT, output[0], output[1], outputs], 0);
    let requantizer = random.requantizer(ElementType::U8, 0, &["shift"], outputs);
    let list = |pair: [usize; 2]| pair.iter().map(|&entry| entry as u32).collect();
    let op = proto::Convolution {
        weight,
        bias: vec![0; outputs],
        stride: list(window.stride),
        dilation: list(window.dilation),
        pad: list(window.pad),
        groups: groups as u32,
        requantize: requantize(&requantizer),
    };
    let op = if case.transposed { transposed(op) } else { Op::Convolution(op) };
    sample.output_layer(&[x], y, op);
    let elements = FRAMES * COUNT * input[0] * input[1] * channels;
    (sample, random.values(element_type, elements))
}

/// The transposed convolution of the same numbers.
fn transposed(op: proto::Convolution) -> Op {
    let proto::Convolution { weight, bias, stride, dilation, pad, groups, requantize } = op;
    let op =
        proto::TransposedConvolution { weight, bias, stride, dilation, pad, groups, requantize };
    Op::TransposedConvolution(op)
}

/// The definition, for one tap and channel.
fn plain_sum(case: &Case, values: &[i32], zero_point: i32, tap: [usize; 2], channel: usize) -> i64 {
    let [height, width] = case.input;
    let channels = case.groups * case.group_channels;
    let mut sum = 0;
    for image in values.chunks_exact(height * width * channels) {
        // Of a transposed convolution the window stands on the inputs and sees the outputs.
        let (from, to) =
            if case.transposed { (case.input, case.output) } else { (case.output, case.input) };
        for y in 0..from[0] {
            for x in 0..from[1] {
                let row = case.window.coordinate(0, y, tap[0]);
                let column = case.window.coordinate(1, x, tap[1]);
                if (0..to[0] as isize).contains(&row) && (0..to[1] as isize).contains(&column) {
                    let place =
                        if case.transposed { (y, x) } else { (row as usize, column as usize) };
                    let position = place.0 * width + place.1;
                    sum += i64::from(image[position * channels + channel] - zero_point);
                }
            }
        }
    }
    sum
}

fn stepper(cpu: Cpu, sample: &Sample, element_type: ElementType, values: &[i32]) -> Stepper {
    let engine = Engine::load(&sample.file(), cpu.isa(), 2).unwrap();
    let input = Values::copy_of(element_type, &bytes_of(element_type, values)).unwrap();
    Stepper::new(engine, &[input.view()], FRAMES).unwrap()
}

isa_tests! {
    fn a_convolutions_sums_are_those_of_plain_loops(cpu: Cpu) {
        proptest!(|(case in cases())| {
            let (sample, values) = network(&case);
            let zero_point = sample.network.tensors[0].zero_point;
            let stepper = stepper(cpu, &sample, case.element_type, &values);
            let (shape, sums) = stepper.input_sums(0, 1..FRAMES).unwrap();
            let [height, width] = case.window.kernel;
            let channels = case.groups * case.group_channels;
            prop_assert_eq!(shape, vec![height, width, channels]);
            let frames = &values[values.len() / FRAMES..];
            for (index, &sum) in sums.iter().enumerate() {
                let (tap, channel) = (index / channels, index % channels);
                let tap = [tap / width, tap % width];
                prop_assert_eq!(sum, plain_sum(&case, frames, zero_point, tap, channel));
            }
        });
    }

    fn an_inner_products_sums_are_those_of_plain_loops(cpu: Cpu) {
        proptest!(|(
            element_type in prop::sample::select(&ElementType::INTEGERS[..]),
            (rows, depth) in (1..9_usize, 1..70_usize),
            seed in any::<u64>(),
        )| {
            let mut random = Random(seed);
            let mut sample = Sample::default();
            let zero_point = random.value(element_type);
            let x = sample.input(element_type, &[2, rows, depth], zero_point);
            let weights = random.values(ElementType::S8, 3 * depth);
            let weight = sample.constant(ElementType::S8, &[3, depth], 0, &weights);
            let y = sample.tensor(ElementType::U8, &[2, rows, 3], 0);
            let requantizer = random.requantizer(ElementType::U8, 0, &["shift"], 3);
            let requantize = requantize(&requantizer);
            let op = proto::InnerProduct { weight, bias: vec![0; 3], requantize };
            sample.output_layer(&[x], y, Op::InnerProduct(op));
            let values = random.values(element_type, FRAMES * 2 * rows * depth);
            let stepper = stepper(cpu, &sample, element_type, &values);
            let (shape, sums) = stepper.input_sums(0, 0..FRAMES).unwrap();
            prop_assert_eq!(shape, vec![depth]);
            prop_assert_eq!(stepper.output_positions(0).unwrap(), 2 * rows);
            for (column, &sum) in sums.iter().enumerate() {
                let column = values.iter().skip(column).step_by(depth);
                let want: i64 = column.map(|&value| i64::from(value - zero_point)).sum();
                prop_assert_eq!(sum, want);
            }
        });
    }

    fn a_tall_column_of_the_greatest_values_does_not_overflow(cpu: Cpu) {
        const ROWS: usize = (1 << 15) + 5;
        for (element_type, value) in [(ElementType::U16, 65_535), (ElementType::S16, -32_768)] {
            let mut random = Random(5);
            let mut sample = Sample::default();
            let x = sample.input(element_type, &[1, ROWS, 1], 0);
            let weight = sample.constant(ElementType::S8, &[1, 1], 0, &[1]);
            let y = sample.tensor(ElementType::U8, &[1, ROWS, 1], 0);
            let requantizer = random.requantizer(ElementType::U8, 0, &["shift"], 1);
            let requantize = requantize(&requantizer);
            let op = proto::InnerProduct { weight, bias: vec![0], requantize };
            sample.output_layer(&[x], y, Op::InnerProduct(op));
            let stepper = stepper(cpu, &sample, element_type, &vec![value; ROWS * FRAMES]);
            let (_, sums) = stepper.input_sums(0, 0..FRAMES).unwrap();
            assert_eq!(sums, [i64::from(value) * (ROWS * FRAMES) as i64]);
        }
    }
}
