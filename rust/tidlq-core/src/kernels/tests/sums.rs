//! Sums of 32 bits: their requantization in vectors against its definition.

use proptest::prelude::*;

use crate::element::ElementType;
use crate::fixed::{MAX_SHIFT, MAX_TWICE_SHIFT, Requantizer, Rounding};
use crate::isa::{Cpu, isa_tests};
use crate::kernels::epilogue::{CloseBody, Epilogue};
use crate::kernels::requantize::Target;

/// Channels of a row of sums: some vectors and a part of one.
const CHANNELS: usize = 37;
const ROWS: usize = 3;

fn any_rounding() -> impl Strategy<Value = Rounding> {
    prop_oneof![Just(1), Just(CHANNELS)].prop_flat_map(|length| {
        let shifts = |range| proptest::collection::vec(range, length);
        let multiplier = proptest::collection::vec(
            prop_oneof![-i32::MAX..=i32::MAX, Just(i32::MAX), Just(-i32::MAX), Just(1 << 30)],
            length,
        );
        let positive = proptest::collection::vec(
            prop_oneof![0..=i32::MAX, Just(i32::MAX), Just(1 << 30), Just(3 << 29)],
            length,
        );
        let left_shift = prop_oneof![Just(vec![0]), Just(vec![9])];
        let scale = prop_oneof![-0.01_f32..0.01, Just(0.5), Just(3.0e9), Just(-7.0e30)];
        let scale = proptest::collection::vec(scale, length);
        prop_oneof![
            shifts(0..=20).prop_map(Rounding::Shift),
            scale.prop_map(Rounding::Float),
            (multiplier.clone(), prop_oneof![shifts(31..=MAX_SHIFT), shifts(33..=50)])
                .prop_map(|(multiplier, shift)| Rounding::Fixed { multiplier, shift }),
            (left_shift, multiplier, prop_oneof![shifts(0..=12), shifts(0..=MAX_TWICE_SHIFT)])
                .prop_map(|(left_shift, multiplier, shift)| Rounding::Twice {
                    left_shift,
                    multiplier,
                    shift
                }),
            (positive, shifts(1..=12)).prop_map(|(multiplier, shift)| Rounding::Twice {
                left_shift: vec![0],
                multiplier,
                shift
            }),
        ]
    })
}

/// Sums up to a bound, mostly small enough to meet ties, and both ends of it.
fn any_sums(bound: i32) -> impl Strategy<Value = Vec<i32>> {
    let sum = prop_oneof![
        4 => (-40..=40).prop_map(move |sum: i32| sum.clamp(-bound, bound)),
        2 => -bound..=bound,
        1 => Just(bound),
        1 => Just(-bound),
    ];
    proptest::collection::vec(sum, ROWS * CHANNELS)
}

/// Whether there is a vector form.
fn equals_definition(
    cpu: Cpu,
    bound: i32,
    sums: &[i32],
    requantizer: &Requantizer,
) -> std::result::Result<bool, TestCaseError> {
    let lanes = cpu.isa().lanes();
    let stride = CHANNELS.next_multiple_of(lanes);
    let channels: Vec<usize> = (0..stride).map(|lane| lane.min(CHANNELS - 1)).collect();
    // The narrowest type of the outputs.
    let element_type = match (requantizer.clamp_min, requantizer.clamp_max) {
        (0.., ..=255) => ElementType::U8,
        (-128.., ..=127) => ElementType::S8,
        _ => ElementType::S16,
    };
    let bound = bound.unsigned_abs().into();
    let epilogue = Epilogue::new(requantizer, element_type, bound, &channels, lanes);
    let Some(epilogue) = epilogue else { return Ok(false) };
    let mut padded = vec![0; ROWS * stride];
    let mut want = vec![0; ROWS * CHANNELS];
    for (index, &sum) in sums.iter().enumerate() {
        let (row, channel) = (index / CHANNELS, index % CHANNELS);
        padded[row * stride + channel] = sum;
        want[index] = requantizer.apply(sum.into(), channel);
    }
    let size = element_type.size_bytes();
    let mut output = vec![0_u8; size * ROWS * CHANNELS];
    let target = Target { element_type, bytes: &mut output, start: 0, stride: CHANNELS };
    let (rows, columns, epilogue, sums) = (ROWS, CHANNELS, &epilogue, &padded);
    cpu.run_simd(CloseBody { epilogue, sums, rows, columns, first: 0, stride, target });
    let value = |bytes: &[u8]| match (element_type, bytes) {
        (ElementType::U8, &[byte]) => i32::from(byte),
        (ElementType::S8, &[byte]) => i32::from(byte as i8),
        (_, &[low, high]) => i32::from(i16::from_le_bytes([low, high])),
        _ => unreachable!(),
    };
    prop_assert_eq!(output.chunks_exact(size).map(value).collect::<Vec<i32>>(), want);
    Ok(true)
}

fn any_requantizer() -> impl Strategy<Value = Requantizer> {
    let bounds = prop_oneof![
        Just((-128, 127)),
        Just((0, 255)),
        Just((-32_768, 32_767)),
        Just((-5, 90)),
        Just((7, 200)),
    ];
    let zero_point = prop_oneof![-3000..=3000, Just(-128), Just(0)];
    (any_rounding(), zero_point, bounds).prop_map(|(rounding, zero_point, (low, high))| {
        Requantizer { rounding, zero_point, clamp_min: low, clamp_max: high }
    })
}

isa_tests! {
    fn sums_of_32_bits_are_requantized_as_defined(cpu: Cpu) {
        let bound = prop_oneof![Just(1000), Just(1 << 20), Just(i32::MAX - 3000), Just(i32::MAX)];
        let case = bound.prop_flat_map(|bound| (Just(bound), any_sums(bound), any_requantizer()));
        proptest!(ProptestConfig::with_cases(600), |((bound, sums, requantizer) in case)| {
            equals_definition(cpu, bound, &sums, &requantizer)?;
        });
    }

    fn ordinary_roundings_of_32_bit_sums_have_a_vector_form(cpu: Cpu) {
        let sums: Vec<i32> = (0..ROWS * CHANNELS).map(|index| 7919 * (index as i32 - 50)).collect();
        let multiplier = vec![(1 << 30) + 12_345];
        for rounding in [
            Rounding::Shift(vec![9]),
            Rounding::Float(vec![0.003]),
            Rounding::Fixed { multiplier: multiplier.clone(), shift: vec![40] },
            Rounding::Twice { left_shift: vec![0], multiplier, shift: vec![8] },
        ] {
            for zero_point in [3, -128] {
                let rounding = rounding.clone();
                let requantizer =
                    Requantizer { rounding, zero_point, clamp_min: -128, clamp_max: 127 };
                let has_form = equals_definition(cpu, 1 << 24, &sums, &requantizer).unwrap();
                assert!(has_form, "{:?}", requantizer.rounding);
            }
        }
    }

    fn what_rounds_twice_is_exact_at_every_edge(cpu: Cpu) {
        for multiplier in [1 << 30, (1 << 30) + 1, 3 << 29, i32::MAX - 1, i32::MAX, 1, 0] {
            for shift in [1, 2, 3, 8, 12] {
                for (zero_point, clamp_min) in [(-128, -128), (-128, -32_768), (5, -128), (0, 0)] {
                    let rounding = Rounding::Twice {
                        left_shift: vec![0],
                        multiplier: vec![multiplier],
                        shift: vec![shift],
                    };
                    let clamp_max = if clamp_min < -128 { 32_767 } else { 127 };
                    let requantizer = Requantizer { rounding, zero_point, clamp_min, clamp_max };
                    for sums in edges(multiplier, shift).chunks(ROWS * CHANNELS) {
                        equals_definition(cpu, 1 << 21, sums, &requantizer).unwrap();
                    }
                }
            }
        }
    }
}

/// Sums around which results change, and some beside them.
fn edges(multiplier: i32, shift: u32) -> Vec<i32> {
    let at = |result: i32| {
        let half = (f64::from(result) - 0.5) * f64::from(1_u32 << shift) * f64::from(1_u32 << 31);
        (half / f64::from(multiplier.max(1))).clamp(-2.0e6, 2.0e6) as i32
    };
    let around = |result: i32| (-3..=3).map(move |offset| at(result) + offset);
    let mut sums: Vec<i32> = (-140..=140).flat_map(around).collect();
    sums.resize(sums.len().next_multiple_of(ROWS * CHANNELS), 0);
    sums
}
