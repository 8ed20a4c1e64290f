//! Sums of more than 32 bits: their requantization in two parts against its definition, and kernels at
//! the bounds that are proven.

use proptest::prelude::*;

use super::{check, check_cases};
use crate::element::ElementType;
use crate::fixed::{MAX_SHIFT, Requantizer, Rounding};
use crate::isa::{Cpu, isa_tests};
use crate::kernels::requantize::Target;
use crate::kernels::split_epilogue::{CloseSplitBody, SplitEpilogue, SplitSums};
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample, requantize};

/// Channels of a row of sums: some vectors and a part of one.
const CHANNELS: usize = 37;
const ROWS: usize = 3;

fn any_rounding() -> impl Strategy<Value = Rounding> {
    let length = prop_oneof![Just(1), Just(CHANNELS)];
    length.prop_flat_map(|length| {
        let list = |range| proptest::collection::vec(range, length);
        let shift = prop_oneof![list(8_u32..=24), list(0_u32..=38)];
        let fixed_shift = prop_oneof![list(39..=MAX_SHIFT), list(8..=MAX_SHIFT)];
        let multiplier = proptest::collection::vec(
            prop_oneof![-i32::MAX..=i32::MAX, Just(i32::MAX), Just(-i32::MAX), -100_000..100_000],
            length,
        );
        prop_oneof![
            shift.prop_map(Rounding::Shift),
            (multiplier, fixed_shift)
                .prop_map(|(multiplier, shift)| Rounding::Fixed { multiplier, shift }),
        ]
    })
}

/// A sum, and its lower part before the bias is added.
#[derive(Clone, Copy, Debug)]
struct Sum {
    acc: i64,
    low: i64,
}

/// Sums up to a bound, and both ends of it.
fn any_sums(bound: i64, low_bound: i64) -> impl Strategy<Value = Vec<Sum>> {
    let ends = |bound: i64| prop_oneof![3 => -bound..=bound, 1 => Just(bound), 1 => Just(-bound)];
    let sum = (ends(bound), ends(low_bound)).prop_map(|(acc, low)| Sum { acc, low });
    proptest::collection::vec(sum, ROWS * CHANNELS)
}

/// Whether there is a vector form.
fn equals_definition(
    cpu: Cpu,
    bits: u32,
    (bound, low_bound): (i64, i64),
    sums: &[Sum],
    biases: &[i64],
    requantizer: &Requantizer,
) -> std::result::Result<bool, TestCaseError> {
    let lanes = cpu.isa().lanes();
    let stride = CHANNELS.next_multiple_of(lanes);
    let channels: Vec<usize> = (0..stride).map(|lane| lane.min(CHANNELS - 1)).collect();
    let lane_biases: Vec<i64> = channels.iter().map(|&channel| biases[channel]).collect();
    let split = SplitSums {
        bits,
        bound: bound as u64,
        low_bound: low_bound as u64,
        channels: &channels,
        biases: &lane_biases,
    };
    let epilogue = SplitEpilogue::new(requantizer, ElementType::S16, split, lanes);
    let Some(epilogue) = epilogue else { return Ok(false) };
    let mut parts = vec![0; ROWS * stride * 2];
    let mut want = vec![0; ROWS * CHANNELS];
    for (index, &Sum { acc, low }) in sums.iter().enumerate() {
        let (row, channel) = (index / CHANNELS, index % CHANNELS);
        // The lower part nearest to zero that leaves whole units for the higher one.
        let rest = (acc - biases[channel] - low).rem_euclid(1 << bits);
        let low = if low > 0 { low + rest - (1 << bits) } else { low + rest };
        let high = (acc - biases[channel] - low) >> bits;
        let place = row * 2 * stride + channel / lanes * 2 * lanes + channel % lanes;
        parts[place] = low as i32;
        parts[place + lanes] = high as i32;
        want[index] = requantizer.apply(acc, channel);
    }
    let mut output = vec![0_i16; ROWS * CHANNELS];
    let target = Target {
        element_type: ElementType::S16,
        bytes: bytemuck::cast_slice_mut(&mut output),
        start: 0,
        stride: CHANNELS,
    };
    let epilogue = &epilogue;
    let (rows, columns) = (ROWS, CHANNELS);
    let sums = &parts;
    cpu.run_simd(CloseSplitBody { epilogue, sums, rows, columns, first: 0, stride, target });
    prop_assert_eq!(output.into_iter().map(i32::from).collect::<Vec<i32>>(), want);
    Ok(true)
}

/// A depthwise convolution whose elements and weights are at the ends of their types.
fn extreme_depthwise(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let types = [ElementType::U16, ElementType::S16];
    let (from, to) = (random.pick(&types), random.integer_type());
    let weight_type = random.pick(&[ElementType::S8, ElementType::S16, ElementType::S16]);
    let (channels, kernel) = (random.pick(&[2, 16, 31, 32, 33, 96]), random.pick(&[1, 3, 5]));
    let stride = random.size(1, 2);
    let ends = |random: &mut Random, of: ElementType, count: usize| -> Vec<i32> {
        let (low, high) = of.range().unwrap();
        let is_one_end = random.one_in(2);
        (0..count).map(|_| if is_one_end { low } else { random.pick(&[low, high]) }).collect()
    };
    let (height, width) = (random.size(1, 7), random.size(1, 9));
    let shape = [1, height, width, channels];
    let zero_point = ends(random, from, 1)[0];
    let values = ends(random, from, shape.iter().product());
    let x = sample.constant(from, &shape, 0, &values);
    sample.network.tensors[x as usize].zero_point = zero_point;
    let weights = ends(random, weight_type, channels * kernel * kernel);
    let weight = sample.constant(weight_type, &[channels, kernel, kernel, 1], 0, &weights);
    let size = |size: usize| (size - 1) / stride + 1;
    let y = sample.tensor(to, &[1, size(height), size(width), channels], 0);
    let shift = random.size(8, 24) as u32;
    let fixed = Rounding::Fixed { multiplier: vec![i32::MAX - 5], shift: vec![shift + 31] };
    let rounding = random.pick(&[Rounding::Shift(vec![shift]), fixed]);
    let (clamp_min, clamp_max) = to.range().unwrap();
    let requantizer = Requantizer { rounding, zero_point: 0, clamp_min, clamp_max };
    let bias = random.pick(&[0, 1 << 30, -(1 << 31), (1 << 31) + 12_345]);
    sample.output_layer(
        &[x],
        y,
        Op::Convolution(proto::Convolution {
            weight,
            bias: vec![bias; channels],
            stride: vec![stride as u32; 2],
            dilation: vec![1, 1],
            pad: vec![kernel as u32 / 2; 2],
            groups: channels as u32,
            requantize: requantize(&requantizer),
        }),
    );
    sample
}

/// Rows of extreme elements and weights, of a depth at which the lower parts' sum does or does not fit.
fn extreme_rows(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let from = random.pick(&[ElementType::U16, ElementType::S16]);
    let (depth, columns) = (random.pick(&[2, 16, 510, 511, 512, 1_100, 4_100]), random.size(1, 40));
    let (low, high) = from.range().unwrap();
    let values: Vec<i32> = (0..3 * depth).map(|_| random.pick(&[low, low, low, high])).collect();
    let x = sample.constant(from, &[3, depth], 0, &values);
    sample.network.tensors[x as usize].zero_point = random.pick(&[low, high]);
    let ends = random.pick(&[[-32_768, 32_767], [-32_640, -32_640], [128, 128], [32_640, -128]]);
    let weights: Vec<i32> = (0..columns * depth).map(|_| random.pick(&ends)).collect();
    let weight = sample.constant(ElementType::S16, &[columns, depth], 0, &weights);
    let y = sample.tensor(ElementType::S16, &[3, columns], 0);
    let shift = random.size(8, 30) as u32;
    let fixed = Rounding::Fixed { multiplier: vec![i32::MAX - 5], shift: vec![shift + 31] };
    let rounding = random.pick(&[Rounding::Shift(vec![shift]), fixed]);
    let (clamp_min, clamp_max) = (-32_768, 32_767);
    let requantizer = Requantizer { rounding, zero_point: 0, clamp_min, clamp_max };
    let bias = vec![random.pick(&[0, 1 << 40, -(1 << 38)]); columns];
    let requantize = requantize(&requantizer);
    let op = Op::InnerProduct(proto::InnerProduct { weight, bias, requantize });
    sample.output_layer(&[x], y, op);
    sample
}

/// A sum of two 16-bit tensors, mostly of extreme elements, by multipliers of any size.
fn extreme_pair_sum(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let types = [ElementType::U16, ElementType::S16];
    let shape = [random.pick(&[1, 7, 16, 17, 33, 100])];
    let inputs = [0, 1].map(|_| {
        let from = random.pick(&types);
        let (low, high) = from.range().unwrap();
        let ends = [low, high, random.value(from)];
        let values: Vec<i32> = (0..shape[0]).map(|_| random.pick(&ends)).collect();
        let tensor = sample.constant(from, &shape, 0, &values);
        sample.network.tensors[tensor as usize].zero_point = random.pick(&ends);
        tensor
    });
    let to = random.pick(&types);
    let zero_point = random.value(to);
    let y = sample.tensor(to, &shape, zero_point);
    let mut requantizer = random.requantizer(to, zero_point, &["fixed"], 2);
    if let Rounding::Fixed { multiplier, shift } = &mut requantizer.rounding {
        *shift = vec![random.pick(&[16, 17, 20, 30, 44, 62])];
        if random.one_in(2) {
            *multiplier = [0, 1].map(|_| random.pick(&[i32::MAX, -i32::MAX, 1 << 15])).to_vec();
        }
    }
    let op = Op::Sum(proto::Sum { requantize: requantize(&requantizer), subtracted: Vec::new() });
    sample.output_layer(&inputs, y, op);
    sample
}

isa_tests! {
    fn extreme_pair_sum_equals_reference(cpu: Cpu) {
        check_cases(cpu, extreme_pair_sum);
    }

    fn parts_equal_the_definition(cpu: Cpu) {
        let biases = proptest::collection::vec(-(1_i64 << 47)..1 << 47, CHANNELS);
        let case = (1..=8_u32, 20..=31_u32, 0..=3_i64).prop_flat_map(|(bits, high_bits, less)| {
            let low_bound = i64::from(i32::MAX) - (1 << bits);
            let bound = (1_i64 << (bits + high_bits)) - (less << bits) - 1;
            (Just(bits), Just((bound, low_bound)), any_sums(bound, low_bound))
        });
        proptest!(|((bits, bounds, sums) in case, biases in biases, rounding in any_rounding())| {
            let requantizer =
                Requantizer { rounding, zero_point: -7, clamp_min: -32_768, clamp_max: 32_767 };
            equals_definition(cpu, bits, bounds, &sums, &biases, &requantizer)?;
        });
    }

    fn common_roundings_have_a_vector_form(cpu: Cpu) {
        let sums = [Sum { acc: 1 << 38, low: i64::from(i32::MAX) - 300 }; ROWS * CHANNELS];
        let fixed = Rounding::Fixed { multiplier: vec![(1 << 30) + 12_345], shift: vec![54] };
        for rounding in [Rounding::Shift(vec![22]), Rounding::Shift(vec![8]), fixed] {
            let requantizer =
                Requantizer { rounding, zero_point: 0, clamp_min: -32_768, clamp_max: 32_767 };
            let bounds = (1 << 38, i64::from(i32::MAX) - 300);
            let has_form =
                equals_definition(cpu, 8, bounds, &sums, &[0; CHANNELS], &requantizer).unwrap();
            assert!(has_form, "{:?}", requantizer.rounding);
        }
    }

    fn extreme_depthwise_equals_reference(cpu: Cpu) {
        check_cases(cpu, extreme_depthwise);
    }

    fn extreme_rows_equal_reference(cpu: Cpu) {
        for seed in 0..40 {
            let mut random = Random(seed);
            let sample = extreme_rows(&mut random);
            check(cpu, &sample, &mut random, 1);
        }
    }
}
