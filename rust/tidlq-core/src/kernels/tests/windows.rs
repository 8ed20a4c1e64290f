//! Pools and resize.

use std::collections::BTreeSet;

use super::check_cases;
use crate::fixed::Rounding;
use crate::isa::isa_tests;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample, requantize};
use crate::network::{AveragePool, Window};

const CHANNELS: [usize; 8] = [1, 3, 8, 16, 17, 32, 33, 520];

fn pair(random: &mut Random, low: usize, high: usize) -> [usize; 2] {
    [random.size(low, high), random.size(low, high)]
}

fn list(pair: [usize; 2]) -> Vec<u32> {
    pair.iter().map(|&entry| entry as u32).collect()
}

/// A window, and an output size at which every window covers an element.
fn window(random: &mut Random, input: [usize; 2]) -> (Window, [usize; 2]) {
    loop {
        let window = Window {
            kernel: pair(random, 1, 4),
            stride: pair(random, 1, 3),
            dilation: pair(random, 1, 2),
            pad: pair(random, 0, 2),
        };
        let output = pair(random, 1, 6);
        let is_full = (0..2).all(|axis| {
            (0..output[axis]).all(|position| {
                let (first, end) = window.taps(axis, position, 0, input[axis] as isize);
                first < end
            })
        });
        if is_full {
            return (window, output);
        }
    }
}

fn max_pool(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let element_type = random.integer_type();
    let zero_point = random.value(element_type);
    let (input, channels) = (pair(random, 1, 8), random.pick(&CHANNELS));
    let (window, output) = window(random, input);
    let x = sample.input(element_type, &[2, input[0], input[1], channels], zero_point);
    let y = sample.tensor(element_type, &[2, output[0], output[1], channels], zero_point);
    let op = Op::MaxPool(proto::MaxPool {
        kernel: list(window.kernel),
        stride: list(window.stride),
        dilation: list(window.dilation),
        pad: list(window.pad),
    });
    sample.output_layer(&[x], y, op);
    sample
}

fn average_pool(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (from, to) = (random.integer_type(), random.integer_type());
    let (zero_in, zero_out) = (random.value(from), random.value(to));
    let (input, channels) = (pair(random, 1, 8), random.pick(&CHANNELS));
    let (window, output) = window(random, input);
    let mut pool = AveragePool {
        window,
        pad_end: pair(random, 0, 2),
        count_include_pad: random.one_in(2),
        count: Vec::new(),
        requantizer: random.requantizer(to, zero_out, &["float"], 1),
    };
    let axis = |axis: usize| -> BTreeSet<usize> {
        (0..output[axis]).map(|position| pool.divisor(axis, position, input[axis])).collect()
    };
    let (heights, widths) = (axis(0), axis(1));
    let products = heights.iter().flat_map(|height| widths.iter().map(move |width| height * width));
    let count: BTreeSet<usize> = products.collect();
    pool.count = count.into_iter().map(|count| count as u64).collect();
    let modes = ["fixed", "float", "twice", "double"];
    pool.requantizer = random.requantizer(to, zero_out, &modes, pool.count.len());
    if pool.count[0] > 0 && random.one_in(4) {
        let modes = [Rounding::Quotient(Vec::new()), Rounding::Real(Vec::new())];
        pool.requantizer.rounding = random.pick(&modes);
    }
    let x = sample.input(from, &[2, input[0], input[1], channels], zero_in);
    let y = sample.tensor(to, &[2, output[0], output[1], channels], zero_out);
    let op = Op::AveragePool(proto::AveragePool {
        kernel: list(window.kernel),
        stride: list(window.stride),
        dilation: list(window.dilation),
        pad: [list(window.pad), list(pool.pad_end)].concat(),
        count_include_pad: pool.count_include_pad,
        count: pool.count.iter().map(|&count| count as u32).collect(),
        requantize: requantize(&pool.requantizer),
    });
    sample.output_layer(&[x], y, op);
    sample
}

fn axis_map(
    random: &mut Random,
    input: usize,
    output: usize,
    weight_bits: u32,
) -> proto::resize::AxisMap {
    let mut map = proto::resize::AxisMap::default();
    for _ in 0..output {
        map.low.push(random.size(0, input - 1) as u32);
        map.high.push(random.size(0, input - 1) as u32);
        map.weight_high.push(random.size(0, 1 << weight_bits) as u32);
    }
    map
}

fn resize(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (from, to) = (random.integer_type(), random.integer_type());
    let (zero_in, zero_out) = (random.value(from), random.value(to));
    let (input, mut output) = (pair(random, 1, 6), pair(random, 1, 8));
    let channels = random.pick(&CHANNELS);
    let weight_bits = random.pick(&[0, 4, 10, 11, 15]);
    let is_flat = random.one_in(4);
    let mut maps =
        [0, 1].map(|axis| Some(axis_map(random, input[axis], output[axis], weight_bits)));
    let unset = random.size(0, 2);
    for axis in 0..2 {
        if axis == unset || (is_flat && axis == 0) {
            maps[axis] = None;
            output[axis] = input[axis];
        }
    }
    let shape = |size: [usize; 2]| {
        if is_flat { vec![2, size[1], channels] } else { vec![2, size[0], size[1], channels] }
    };
    let x = sample.input(from, &shape(input), zero_in);
    let y = sample.tensor(to, &shape(output), zero_out);
    let modes = ["shift", "fixed", "float", "twice", "double"];
    let mut requantizer = random.requantizer(to, zero_out, &modes, 1);
    if random.one_in(4) {
        requantizer.rounding = Rounding::Quotient(Vec::new());
    }
    let [height, width] = maps;
    let requantize = requantize(&requantizer);
    let op = proto::Resize { height, width, weight_bits, requantize, real_weights: false };
    sample.output_layer(&[x], y, Op::Resize(op));
    sample
}

fn windows(
    random: &mut Random,
    size: usize,
    outputs: usize,
) -> proto::windowed_resize::AxisWindows {
    let taps = random.size(1, 5);
    let reach = random.pick(&[3, 1 << 15, (1 << 22) / taps as i64]);
    proto::windowed_resize::AxisWindows {
        taps: taps as u32,
        position: (0..taps * outputs).map(|_| random.size(0, size - 1) as u32).collect(),
        weight: (0..taps * outputs).map(|_| random.within(-reach, reach) as i32).collect(),
    }
}

fn windowed_resize(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let types = [random.integer_type(), random.integer_type()];
    let zeros = types.map(|element_type| random.value(element_type));
    let [count, height, width] = [2, 6, 7].map(|most| random.size(1, most));
    let channels = random.pick(&[1, 3, 8, 17, 70]);
    let stays = random.one_in(4);
    let rows = if stays { height } else { random.size(1, 8) };
    let columns = random.size(1, 9);
    let x = sample.input(types[0], &[count, height, width, channels], zeros[0]);
    let y = sample.tensor(types[1], &[count, rows, columns, channels], zeros[1]);
    let modes = ["shift", "fixed", "float", "twice", "double"];
    let op = proto::WindowedResize {
        height: (!stays).then(|| windows(random, height, rows)),
        width: Some(windows(random, width, columns)),
        requantize: requantize(&random.requantizer(types[1], zeros[1], &modes, 1)),
    };
    sample.output_layer(&[x], y, Op::WindowedResize(op));
    sample
}

fn real_resize(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (from, to) = (random.integer_type(), random.integer_type());
    let (zero_in, zero_out) = (random.value(from), random.value(to));
    let (input, output) = (pair(random, 1, 6), pair(random, 1, 8));
    let channels = random.pick(&CHANNELS);
    let [height, width] = [0, 1].map(|axis| {
        let mut map = axis_map(random, input[axis], output[axis], 0);
        map.weight_high.clear();
        map.fraction = (0..output[axis]).map(|_| random.within(-100, 200) as f32 / 200.0).collect();
        Some(map)
    });
    let x = sample.input(from, &[2, input[0], input[1], channels], zero_in);
    let y = sample.tensor(to, &[2, output[0], output[1], channels], zero_out);
    let mut requantizer = random.requantizer(to, zero_out, &["float"], 1);
    let modes = [Rounding::Quotient(Vec::new()), Rounding::Real(Vec::new())];
    requantizer.rounding = random.pick(&modes);
    let requantize = requantize(&requantizer);
    let op = proto::Resize { height, width, weight_bits: 0, requantize, real_weights: true };
    sample.output_layer(&[x], y, Op::Resize(op));
    sample
}

isa_tests! {
    fn max_pool_equals_reference(cpu: Cpu) {
        check_cases(cpu, max_pool);
    }

    fn average_pool_equals_reference(cpu: Cpu) {
        check_cases(cpu, average_pool);
    }

    fn windowed_resize_equals_reference(cpu: Cpu) {
        check_cases(cpu, windowed_resize);
    }

    fn resize_equals_reference(cpu: Cpu) {
        check_cases(cpu, resize);
    }

    fn real_resize_equals_reference(cpu: Cpu) {
        check_cases(cpu, real_resize);
    }
}
