//! Error measures against plain `f64` arithmetic, over every instruction set.

use proptest::prelude::*;

use super::*;
use crate::isa::{Cpu, Isa, isa_tests};

fn of(cpu: Cpu, frames: &[(Vec<f32>, Vec<f32>)]) -> ErrorStatistics {
    let mut found = ErrorStatistics::default();
    for (reference, value) in frames {
        found.update(cpu, reference, value);
    }
    found
}

fn baseline() -> Cpu {
    Cpu::new(Isa::Scalar).unwrap()
}

fn any_frame() -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    prop::collection::vec((-8.0f32..8.0, -0.1f32..0.1), 1..5000)
        .prop_map(|pairs| pairs.into_iter().map(|(r, e)| (r, r + e)).unzip())
}

fn is_near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= 1e-12 * wanted.abs().max(1e-300)
}

isa_tests! {
    fn measures_equal_plain_arithmetic(cpu: Cpu) {
        proptest!(ProptestConfig::with_cases(32), |(frame in any_frame())| {
            let found = of(cpu, std::slice::from_ref(&frame));
            let pairs = || frame.0.iter().zip(&frame.1).map(|(&r, &v)| (f64::from(r), f64::from(v)));
            let error: f64 = pairs().map(|(r, v)| (v - r) * (v - r)).sum();
            let reference: f64 = pairs().map(|(r, _)| r * r).sum();
            let value: f64 = pairs().map(|(_, v)| v * v).sum();
            let product: f64 = pairs().map(|(r, v)| r * v).sum();
            let largest = pairs().map(|(r, v)| (v - r).abs()).fold(0.0, f64::max);
            prop_assert_eq!(found.count(), frame.0.len() as u64);
            prop_assert_eq!(found.max_abs_error(), largest);
            prop_assert!(is_near(found.mean_squared_error(), error / frame.0.len() as f64));
            prop_assert!((found.cosine() - product / (reference * value).sqrt()).abs() < 1e-12);
            prop_assert!((found.sqnr_db() - 10.0 * (reference / error).log10()).abs() < 1e-9);
        });
    }

    fn state_equals_the_scalar_one(cpu: Cpu) {
        proptest!(ProptestConfig::with_cases(32), |(frame in any_frame())| {
            let frame = [frame];
            prop_assert_eq!(of(cpu, &frame), of(baseline(), &frame));
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn order_of_frames_leaves_no_trace(mut frames in prop::collection::vec(any_frame(), 0..5)) {
        let forward = of(baseline(), &frames);
        frames.reverse();
        prop_assert_eq!(of(baseline(), &frames), forward);
    }
}

#[test]
fn no_error_is_an_infinite_ratio() {
    let found = of(baseline(), &[(vec![1.0, -2.0], vec![1.0, -2.0])]);
    assert_eq!((found.mean_squared_error(), found.sqnr_db()), (0.0, f64::INFINITY));
    assert_eq!((found.max_abs_error(), found.cosine()), (0.0, 1.0));
}

#[test]
fn cosine_of_zeros_is_one_against_zeros_and_zero_otherwise() {
    assert_eq!(of(baseline(), &[(vec![0.0; 3], vec![0.0; 3])]).cosine(), 1.0);
    assert_eq!(of(baseline(), &[(vec![0.0; 3], vec![1.0; 3])]).cosine(), 0.0);
    assert_eq!(of(baseline(), &[(vec![0.0; 3], vec![1.0; 3])]).sqnr_db(), f64::NEG_INFINITY);
}

#[test]
fn before_the_first_pair_nothing_is_known() {
    let found = ErrorStatistics::default();
    assert_eq!(found.count(), 0);
    assert!(found.mean_squared_error().is_nan() && found.sqnr_db().is_nan());
    assert!(found.cosine().is_nan() && found.max_abs_error().is_nan());
}

#[test]
fn a_value_that_is_not_finite_makes_every_measure_nan() {
    for bad in [f32::NAN, f32::INFINITY] {
        for (reference, value) in [(bad, 1.0), (1.0, bad), (bad, bad)] {
            let found = of(baseline(), &[(vec![1.0], vec![1.0]), (vec![reference], vec![value])]);
            assert!(found.mean_squared_error().is_nan() && found.max_abs_error().is_nan());
            assert!(found.cosine().is_nan() && found.sqnr_db().is_nan());
        }
    }
}

#[test]
fn the_largest_values_do_not_overflow() {
    let found = of(baseline(), &[(vec![f32::MAX; 5000], vec![f32::MIN; 5000])]);
    assert_eq!(found.cosine(), -1.0);
    assert!(found.mean_squared_error().is_finite());
}

#[test]
fn merged_statistics_are_those_of_all_frames() {
    let cpu = baseline();
    let frame = |seed: f32| -> (Vec<f32>, Vec<f32>) {
        (0..5000).map(|x| (x as f32 * seed, x as f32 * seed + seed.sin())).unzip()
    };
    let frames: Vec<_> = [0.1, 3.0, -7.5, 1e-9].map(frame).into();
    let mut merged = of(cpu, &frames[2..]);
    merged.merge(&of(cpu, &frames[..2]));
    assert_eq!(merged, of(cpu, &frames));
    let divergence = |frames: &[(Vec<f32>, Vec<f32>)]| {
        let mut found = DivergenceStatistics::default();
        for (reference, value) in frames {
            found.update(Outputs::Logits(50), reference, value);
        }
        found
    };
    let mut merged = divergence(&frames[2..]);
    merged.merge(&divergence(&frames[..2]));
    assert_eq!(merged, divergence(&frames));
}

#[test]
fn the_divergence_is_that_of_the_softmax() {
    let of = |outputs, reference: &[f32], value: &[f32]| {
        let mut found = DivergenceStatistics::default();
        found.update(outputs, reference, value);
        found.mean()
    };
    // Two rows: ln 2 against even odds, and equal ones.
    let (reference, value) = ([1e4, 0.0, 3.0, 3.0], [5.0, 5.0, 1.0, 1.0]);
    assert!(is_near(of(Outputs::Logits(2), &reference, &value), 2f64.ln() / 2.0));
    let (reference, value) = ([1.0, 0.0], [0.5, 0.5]);
    let found = of(Outputs::Probabilities(2), &reference, &value);
    assert!((found - 2f64.ln()).abs() < 1e-6, "{found}");
    // What has no probability at all does not make the divergence infinite.
    assert!(of(Outputs::Probabilities(2), &[0.5, 0.5], &[1.0, 0.0]).is_finite());
    assert!(of(Outputs::Plain, &[1.0], &[0.0]).is_nan());
    assert!(of(Outputs::Probabilities(2), &[0.5, 0.5], &[f32::NAN, 0.0]).is_nan());
    assert!(of(Outputs::Logits(2), &[0.5, 0.5], &[f32::NAN, 0.0]).is_nan());
}

#[test]
fn what_the_reference_leaves_open_counts_for_nothing() {
    let cpu = Cpu::new(Isa::Scalar).unwrap();
    let mut found = ErrorStatistics::default();
    found.update_known(cpu, &[3.0, f32::NAN, f32::INFINITY, 4.0], &[2.0, 7.0, f32::NAN, 4.0]);
    assert_eq!((found.relative_error(), found.count()), (1.0 / 25.0, 4));
    found.update_known(cpu, &[5.0], &[f32::NEG_INFINITY]);
    assert_eq!(found.relative_error(), 26.0 / 50.0);
}

#[test]
fn the_relative_error_of_a_zero_reference_is_the_squared_error() {
    let cpu = Cpu::new(Isa::Scalar).unwrap();
    let mut found = ErrorStatistics::default();
    assert!(found.relative_error().is_nan());
    found.update(cpu, &[0.0, 0.0], &[3.0, 4.0]);
    assert_eq!(found.relative_error(), 25.0);
}
