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
        let scale = proptest::collection::vec(-0.01_f32..0.01, length);
        prop_oneof![
            shifts(0..=20).prop_map(Rounding::Shift),
            scale.prop_map(Rounding::Float),
            (multiplier.clone(), prop_oneof![shifts(31..=MAX_SHIFT), shifts(33..=50)])
                .prop_map(|(multiplier, shift)| Rounding::Fixed { multiplier, shift }),
            (multiplier, prop_oneof![shifts(0..=12), shifts(0..=MAX_TWICE_SHIFT)]).prop_map(
                |(multiplier, shift)| Rounding::Twice { left_shift: vec![0], multiplier, shift }
            ),
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
    (any_rounding(), -3000..=3000, bounds).prop_map(|(rounding, zero_point, (low, high))| {
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
            let requantizer =
                Requantizer { rounding, zero_point: 3, clamp_min: -128, clamp_max: 127 };
            let has_form = equals_definition(cpu, 1 << 24, &sums, &requantizer).unwrap();
            assert!(has_form, "{:?}", requantizer.rounding);
        }
    }
}
