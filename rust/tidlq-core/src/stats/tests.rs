//! Statistics against a naive big-integer reference, over every instruction set.

use std::collections::BTreeMap;

use num_bigint::BigInt;
use num_traits::{Signed, Zero};
use proptest::prelude::*;

use super::*;
use crate::isa::{Cpu, Isa, isa_tests};

/// Values of all magnitudes, with those that go wrong first more often than chance has them.
fn any_value() -> impl Strategy<Value = f32> {
    prop_oneof![
        3 => any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite()),
        3 => -4.0f32..4.0,
        2 => (-40i32..40).prop_map(|step| step as f32 * 0.25),
        1 => (0u32..64).prop_map(f32::from_bits),
        1 => prop::sample::select(vec![
            0.0, -0.0, 1.0, -1.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, -1e-45,
        ]),
    ]
}

/// One scale of data, as in a feature map, with now and then a value of another world.
fn any_values() -> impl Strategy<Value = Vec<f32>> {
    let plain = (-140i32..120, 0usize..700).prop_flat_map(|(exponent, len)| {
        let scale = 2f64.powi(exponent) as f32;
        prop::collection::vec((-8.0f32..8.0).prop_map(move |x| x * scale), len)
    });
    prop_oneof![prop::collection::vec(any_value(), 0..300), plain]
}

fn of(cpu: Cpu, values: &[f32]) -> TensorStatistics {
    let mut statistics = TensorStatistics::default();
    statistics.update(cpu, values);
    statistics
}

fn baseline() -> Cpu {
    Cpu::new(Isa::Scalar).unwrap()
}

/// A finite number as a multiple of 2^-1074.
fn integer(value: f64) -> BigInt {
    let bits = value.to_bits();
    let biased = (bits >> 52) & 0x7ff;
    let fraction = bits & ((1 << 52) - 1);
    let magnitude = match biased {
        0 => BigInt::from(fraction),
        _ => BigInt::from(fraction | 1 << 52) << (biased - 1),
    };
    if value.is_sign_negative() { -magnitude } else { magnitude }
}

/// Whether a float is the nearest to an exact value, or the even one of the two nearest.
fn is_rounded(value: f64, exact: &BigInt) -> bool {
    let distance = |candidate: f64| (integer(candidate) - exact).abs();
    [value.next_up(), value.next_down()].into_iter().all(|neighbour| {
        let (own, other) = (distance(value), distance(neighbour));
        own < other || (own == other && value.to_bits().is_multiple_of(2))
    })
}

/// Base-2 logarithm of the finest legal bin width, tried one by one.
fn naive_exponent(min: f32, max: f32) -> i32 {
    let (min, max) = (f64::from(min), f64::from(max));
    (-149..=127)
        .find(|&exponent| {
            let width = 2f64.powi(exponent);
            let largest = min.abs().max(max.abs());
            largest / width < 2f64.powi(24)
                && (max / width).floor() - (min / width).floor() < MAX_BINS as f64
        })
        .unwrap()
}

fn naive_counts(values: &[f32], exponent: i32) -> BTreeMap<i64, u64> {
    let mut counts = BTreeMap::new();
    for &value in values.iter().filter(|&&value| value != 0.0) {
        let bin = (f64::from(value) / 2f64.powi(exponent)).floor() as i64;
        *counts.entry(bin).or_insert(0) += 1;
    }
    counts
}

fn check_against_naive(cpu: Cpu, values: &[f32]) {
    let found = of(cpu, values);
    assert_eq!(found.count(), values.len() as u64);
    assert_eq!(found.zeros(), values.iter().filter(|&&x| x == 0.0).count() as u64);
    let sum: BigInt = values.iter().map(|&x| integer(x.into())).sum();
    assert!(is_rounded(found.sum(), &sum), "sum {} of {values:?}", found.sum());
    let squares: BigInt = values.iter().map(|&x| integer(f64::from(x) * f64::from(x))).sum();
    assert!(is_rounded(found.sum_of_squares(), &squares), "squares of {values:?}");
    let extremes = values.iter().copied().map(|x| (x, x));
    let extremes = extremes.reduce(|(a, b), (c, d)| (a.min(c), b.max(d)));
    assert_eq!(found.extremes(), extremes);
    let Some((min, max)) = extremes.filter(|&extremes| extremes != (0.0, 0.0)) else {
        assert_eq!(found.grid(), None);
        assert!(found.counts().is_empty());
        return;
    };
    let grid = found.grid().unwrap();
    assert_eq!(grid.exponent(), naive_exponent(min, max));
    let counts = found.counts().iter().zip(i64::from(grid.first())..);
    let counts: BTreeMap<i64, u64> =
        counts.filter(|&(&count, _)| count > 0).map(|(&count, bin)| (bin, count)).collect();
    assert_eq!(counts, naive_counts(values, grid.exponent()));
    assert!(grid.bins() <= MAX_BINS && found.counts().len() == grid.bins());
}

isa_tests! {
    fn statistics_equal_a_naive_reference(cpu: Cpu) {
        proptest!(|(values in any_values())| check_against_naive(cpu, &values));
    }

    fn every_length_around_the_blocks_equals_a_naive_reference(cpu: Cpu) {
        for len in [1, 15, 16, 17, 63, 64, 65, 4095, 4096, 4097, 9000] {
            let values: Vec<f32> =
                (0..len).map(|i| ((i * 7919) % 2003) as f32 * 0.003 - 1.5).collect();
            check_against_naive(cpu, &values);
        }
    }

    fn state_equals_the_scalar_one(cpu: Cpu) {
        proptest!(|(values in any_values())| {
            prop_assert_eq!(of(cpu, &values), of(baseline(), &values));
        });
    }

    fn more_equal_values_than_a_small_counter_holds_are_all_counted(cpu: Cpu) {
        let found = of(cpu, &vec![1.5; 1_000_000]);
        assert_eq!(found.counts(), &[1_000_000]);
        assert_eq!(found.sum_of_squares(), 2_250_000.0);
    }

    fn nan_and_infinity_are_counted_and_left_out(cpu: Cpu) {
        proptest!(|(values in prop::collection::vec(-4.0f32..4.0, 0..9000),
                    places in prop::collection::vec((any::<prop::sample::Index>(), 0usize..3), 0..9))| {
            let mut mixed = values.clone();
            for (place, kind) in &places {
                let other = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][*kind];
                mixed.insert(place.index(mixed.len() + 1), other);
            }
            let mut found = TensorStatistics::default();
            let frame = found.update(cpu, &mixed);
            prop_assert_eq!(found.nan_count(), places.iter().filter(|x| x.1 == 0).count() as u64);
            prop_assert_eq!(found.inf_count(), places.iter().filter(|x| x.1 != 0).count() as u64);
            prop_assert_eq!(frame, found.extremes());
            let clean = of(cpu, &values);
            prop_assert_eq!(found.counts(), clean.counts());
            prop_assert_eq!(found.sum(), clean.sum());
            prop_assert_eq!(found.count(), clean.count());
        });
    }
}

proptest! {
    #[test]
    fn order_and_sharding_leave_no_trace(
        values in any_values(), seed in any::<u64>(), cuts in prop::collection::vec(0usize..300, 0..6)
    ) {
        let mut shuffled = values.clone();
        let mut state = seed | 1;
        for last in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            shuffled.swap(last, (state >> 33) as usize % (last + 1));
        }
        let mut sharded = TensorStatistics::default();
        let mut rest = &shuffled[..];
        for (turn, cut) in cuts.into_iter().enumerate() {
            let (head, tail) = rest.split_at(cut.min(rest.len()));
            rest = tail;
            if turn % 2 == 0 {
                sharded.update(baseline(), head);
            } else {
                sharded.merge(&of(baseline(), head));
            }
        }
        let mut joined = of(baseline(), rest);
        joined.merge(&sharded);
        prop_assert_eq!(joined, of(baseline(), &values));
    }

    #[test]
    fn sums_of_any_finite_terms_are_rounded_once(
        terms in prop::collection::vec(any::<f64>().prop_filter("finite", |x| x.abs() < 1e300), 0..50)
    ) {
        let mut sum = ExactSum::default();
        terms.iter().for_each(|&term| sum.add(term));
        let exact: BigInt = terms.iter().map(|&term| integer(term)).sum();
        prop_assert!(is_rounded(sum.value(), &exact));
        prop_assert_eq!(exact.is_zero(), sum.value() == 0.0);
    }

    #[test]
    fn a_sum_less_itself_is_nothing(terms in prop::collection::vec(-1e30f64..1e30, 0..50)) {
        let mut sum = ExactSum::default();
        terms.iter().for_each(|&term| sum.add(term));
        terms.iter().rev().for_each(|&term| sum.add(-term));
        prop_assert_eq!(sum, ExactSum::default());
    }
}

#[test]
fn ties_of_a_sum_go_to_even() {
    for (terms, nearest) in [
        (vec![1.0, f64::EPSILON / 2.0], 1.0),
        (vec![1.0, f64::EPSILON / 2.0, 5e-324], 1.0 + f64::EPSILON),
        (vec![1.0 + f64::EPSILON, f64::EPSILON / 2.0], 1.0 + 2.0 * f64::EPSILON),
        (vec![-1.0, -f64::EPSILON / 2.0, -5e-324], -1.0 - f64::EPSILON),
    ] {
        let mut sum = ExactSum::default();
        terms.iter().for_each(|&term| sum.add(term));
        assert_eq!(sum.value(), nearest, "{terms:?}");
    }
}

#[test]
fn a_late_outlier_widens_the_grid_instead_of_adding_bins() {
    let narrow: Vec<f32> = (0..10_000).map(|i| ((i % 201) as f32 - 100.0) * 1e-5).collect();
    let mut found = of(baseline(), &narrow);
    assert!(found.grid().unwrap().width() < 1e-6);
    found.update(baseline(), &[10.0]);
    let grid = found.grid().unwrap();
    assert_eq!(grid.width(), 2f64.powi(-8));
    assert!(grid.bins() <= MAX_BINS);
    assert_eq!(found.counts().iter().sum::<u64>() + found.zeros(), 10_001);
}

#[test]
fn the_whole_range_of_the_type_fits() {
    let found = of(baseline(), &[f32::MIN, -1e-45, 1e-45, f32::MAX]);
    let grid = found.grid().unwrap();
    assert_eq!((grid.exponent(), grid.first(), grid.bins()), (117, -2048, 4096));
    let occupied: Vec<usize> = (0..4096).filter(|&bin| found.counts()[bin] > 0).collect();
    assert_eq!(occupied, [0, 2047, 2048, 4095]);
}

#[test]
fn narrow_data_far_from_zero_keep_their_resolution() {
    let values: Vec<f32> = (0..100).map(|i| 1.0 + i as f32 * f32::EPSILON).collect();
    let found = of(baseline(), &values);
    assert_eq!(found.grid().map(|grid| grid.first()), Some(1 << 23));
    assert_eq!(found.counts(), vec![1; 100]);
}

#[test]
fn zeros_are_counted_beside_the_bins() {
    let mut found = of(baseline(), &[0.0, -0.0]);
    assert_eq!((found.zeros(), found.grid(), found.extremes()), (2, None, Some((0.0, 0.0))));
    assert!(found.extremes().is_some_and(|(min, _)| min.is_sign_positive()));
    found.update(baseline(), &[0.0, 0.25]);
    assert_eq!((found.zeros(), found.count()), (3, 4));
    assert_eq!(found.counts().iter().sum::<u64>(), 1);
}

#[test]
fn a_frame_without_a_finite_value_has_no_extremes() {
    let mut found = TensorStatistics::default();
    assert_eq!(found.update(baseline(), &[]), None);
    assert_eq!(found.update(baseline(), &[f32::NAN, f32::INFINITY]), None);
    assert_eq!((found.count(), found.nan_count(), found.inf_count()), (0, 1, 1));
    assert_eq!(found.update(baseline(), &[2.0, -3.0]), Some((-3.0, 2.0)));
    assert_eq!(found.update(baseline(), &[1.0]), Some((1.0, 1.0)));
}

proptest! {
    #[test]
    fn a_state_is_exact_and_goes_on_as_if_never_saved(
        values in any_values(), more in any_values()
    ) {
        let mut found = of(baseline(), &values);
        found.update(baseline(), &[f32::NAN, f32::INFINITY, f32::NAN]);
        let state = found.to_bytes();
        let mut restored = TensorStatistics::from_bytes(&state).unwrap();
        prop_assert_eq!(&restored, &found);
        prop_assert_eq!(restored.to_bytes(), state);
        restored.update(baseline(), &more);
        found.update(baseline(), &more);
        prop_assert_eq!(restored.to_bytes(), found.to_bytes());
    }

    #[test]
    fn a_damaged_state_is_refused(
        values in any_values(), place in any::<prop::sample::Index>(), change in 1u8..=255,
        cut in any::<prop::sample::Index>(),
    ) {
        let state = of(baseline(), &values).to_bytes();
        let mut changed = state.clone();
        changed[place.index(state.len())] ^= change;
        prop_assert!(TensorStatistics::from_bytes(&changed).is_err());
        prop_assert!(TensorStatistics::from_bytes(&state[..cut.index(state.len())]).is_err());
    }

    #[test]
    fn a_state_that_contradicts_itself_is_refused_even_with_a_right_checksum(
        values in prop::collection::vec(-4.0f32..4.0, 1..50),
        place in any::<prop::sample::Index>(), change in 1u8..=255,
    ) {
        let mut state = of(baseline(), &values).to_bytes();
        let place = 16 + place.index(state.len() - 16);
        state[place] ^= change;
        let checksum = crc32fast::hash(&state[12..]);
        state[8..12].copy_from_slice(&checksum.to_le_bytes());
        // Whatever is accepted can be worked with.
        if let Ok(mut found) = TensorStatistics::from_bytes(&state) {
            let rebuilt = found.to_bytes();
            prop_assert_eq!(TensorStatistics::from_bytes(&rebuilt), Ok(found.clone()));
            found.update(baseline(), &[1.0, -100.0]);
            let scales = FeatureScales { bits: 8, form: Form::Asymmetric };
            let _ = found.select_range(Method::Mse { saturation_weight: 1.0 }, &scales);
            let _ = (found.sum(), found.sum_of_squares());
        }
    }
}
