//! What every method owes to every data and every kind of scale.

use proptest::prelude::*;

use super::error::squared_error;
use super::*;
use crate::isa::{Cpu, Isa};

fn of(values: &[f32]) -> TensorStatistics {
    let mut statistics = TensorStatistics::default();
    statistics.update(Cpu::new(Isa::Scalar).unwrap(), values);
    statistics
}

fn any_values() -> impl Strategy<Value = Vec<f32>> {
    let finite = any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |x| x.is_finite());
    let scaled = (-140i32..120, -8.0f32..8.0, 0.0f32..8.0, 1usize..400).prop_flat_map(
        |(exponent, offset, spread, len)| {
            let scale = 2f64.powi(exponent) as f32;
            let value = -1.0f32..1.0;
            prop::collection::vec(value.prop_map(move |x| (offset + spread * x) * scale), len)
        },
    );
    let rectified = prop::collection::vec((-2.0f32..3.0).prop_map(|x| x.max(0.0)), 1..400);
    prop_oneof![
        2 => prop::collection::vec(finite, 1..60),
        4 => scaled,
        2 => rectified,
        1 => (-9.0f32..9.0, 1usize..9).prop_map(|(value, count)| vec![value; count]),
    ]
}

fn any_method() -> impl Strategy<Value = Method> {
    prop_oneof![
        (0.5f64..5.0).prop_map(|saturation_weight| Method::Mse { saturation_weight }),
        (50.0f64..=100.0).prop_map(|percent| Method::Percentile { percent }),
        Just(Method::Entropy),
    ]
}

fn any_scales() -> impl Strategy<Value = FeatureScales> {
    let unit = prop_oneof![Just(1.0), 1e-12f64..1e12];
    let least_shift = prop_oneof![Just(i32::MIN), -40i32..20];
    let form = prop_oneof![
        Just(Form::Asymmetric),
        Just(Form::Symmetric),
        (unit, least_shift).prop_map(|(unit, least_shift)| Form::Multiples { unit, least_shift }),
    ];
    (prop_oneof![Just(8), Just(16), 2u32..=16], form)
        .prop_map(|(bits, form)| FeatureScales { bits, form })
}

proptest! {
    #[test]
    fn a_range_lies_within_the_extremes_and_keeps_an_extent(
        values in any_values(), method in any_method(), scales in any_scales()
    ) {
        let statistics = of(&values);
        let (lowest, highest) = statistics.extremes().unwrap();
        let (min, max) = statistics.select_range(method, &scales).unwrap();
        prop_assert!(lowest <= min && min <= max && max <= highest, "{min} {max}");
        prop_assert_eq!(lowest <= 0.0 && 0.0 <= highest, min <= 0.0 && 0.0 <= max);
        prop_assert_eq!((lowest, highest) == (0.0, 0.0), (min, max) == (0.0, 0.0));
    }

    #[test]
    fn least_error_is_never_above_that_of_the_extremes(
        values in any_values(), weight in 0.5f64..5.0, scales in any_scales()
    ) {
        let statistics = of(&values);
        let Some(density) = Density::of(&statistics) else { return Ok(()) };
        let whole = statistics.extremes().unwrap();
        let method = Method::Mse { saturation_weight: weight };
        let found = statistics.select_range(method, &scales).unwrap();
        let error = |range| {
            squared_error(&density, scales.quantizer(range).in_bins(&density), weight)
        };
        prop_assert!(found == whole || error(found) < error(whole));
    }

    #[test]
    fn a_range_is_a_function_of_the_values_alone(
        values in any_values(), method in any_method(), scales in any_scales(), cut in 0usize..400
    ) {
        let (head, tail) = values.split_at(cut.min(values.len()));
        let mut sharded = of(tail);
        sharded.merge(&of(head));
        let sharded = TensorStatistics::from_bytes(&sharded.to_bytes()).unwrap();
        prop_assert_eq!(
            sharded.select_range(method, &scales), of(&values).select_range(method, &scales)
        );
    }

    #[test]
    fn the_finest_multiple_that_fits_is_taken(
        min in -1e3f32..0.0, max in 0f32..1e3, unit in 1e-6f64..1e6, bits in 2u32..=16
    ) {
        prop_assume!(min < 0.0 || max > 0.0);
        let form = Form::Multiples { unit, least_shift: i32::MIN };
        let quantizer = FeatureScales { bits, form }.quantizer((min, max));
        let codes = |scale: f64| {
            ((f64::from(min) / scale + 0.5).floor(), (f64::from(max) / scale + 0.5).floor())
        };
        let fits = |(low, high): (f64, f64)| {
            -f64::from(quantizer.below) <= low && high <= f64::from(quantizer.above)
        };
        prop_assert!(fits(codes(quantizer.scale)));
        prop_assert!(!fits(codes(quantizer.scale / 2.0)));
        prop_assert_eq!(quantizer.below == 0, min == 0.0);
    }
}

#[test]
fn without_a_value_there_is_no_range() {
    let scales = FeatureScales::new(8, Form::Symmetric).unwrap();
    let found = TensorStatistics::default().select_range(Method::Entropy, &scales);
    assert_eq!(found, Err(SearchFault::Empty.into()));
}

#[test]
fn zeros_alone_have_the_range_zero() {
    let scales = FeatureScales::new(8, Form::Asymmetric).unwrap();
    assert_eq!(of(&[0.0, -0.0]).select_range(Method::Entropy, &scales), Ok((0.0, 0.0)));
}

#[test]
fn arguments_outside_of_their_domain_are_refused() {
    for (name, parameter) in [
        ("mse", 0.0),
        ("mse", f64::NAN),
        ("percentile", 0.0),
        ("percentile", 100.5),
        ("percentile", f64::NAN),
        ("kl", 1.0),
    ] {
        assert!(Method::new(name, parameter).is_err(), "{name} {parameter}");
    }
    assert!(FeatureScales::new(1, Form::Symmetric).is_err());
    assert!(FeatureScales::new(17, Form::Symmetric).is_err());
    for unit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(FeatureScales::new(8, Form::Multiples { unit, least_shift: 0 }).is_err());
    }
}

#[test]
fn few_small_negatives_are_given_up_for_the_unsigned_form() {
    let mut values: Vec<f32> = (0..100_000).map(|i| i as f32 * 1e-4).collect();
    values.push(-1e-3);
    let method = Method::Mse { saturation_weight: 1.0 };
    for form in [Form::Symmetric, Form::Multiples { unit: 0.01, least_shift: i32::MIN }] {
        let range = of(&values).select_range(method, &FeatureScales { bits: 8, form }).unwrap();
        assert_eq!(range.0, 0.0);
    }
    values.extend([-4.0; 10]);
    let scales = FeatureScales { bits: 8, form: Form::Symmetric };
    assert!(of(&values).select_range(method, &scales).unwrap().0 < 0.0);
}

#[test]
fn the_least_shift_bounds_the_scale() {
    let mut values: Vec<f32> = (-1000..1000).map(|i| i as f32 * 1e-3).collect();
    values.push(1.05);
    let select = |least_shift| {
        let form = Form::Multiples { unit: 1.0, least_shift };
        let method = Method::Mse { saturation_weight: 1.0 };
        of(&values).select_range(method, &FeatureScales { bits: 8, form }).unwrap()
    };
    assert_eq!(select(i32::MIN), (-1.0, 127.0 / 128.0));
    assert_eq!(select(-6), (-1.0, 1.05));
}
