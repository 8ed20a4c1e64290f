//! The search against plain loops over elements and fine grids of magnitudes.

use proptest::prelude::*;

use super::*;
use crate::isa::{Isa, isa_tests};

fn baseline() -> Cpu {
    Cpu::new(Isa::Scalar).unwrap()
}

fn any_rule() -> impl Strategy<Value = WeightRule> {
    let bits = prop_oneof![Just(8), Just(16), 2u32..=16];
    (bits, any::<bool>(), any::<bool>()).prop_map(|(bits, power_of_two, full_code)| WeightRule {
        bits,
        power_of_two,
        full_code,
    })
}

/// The error of a magnitude, element by element.
fn error(values: &[f64], moments: &[f64], rule: WeightRule, magnitude: f64) -> f64 {
    let scale = rule.scale(magnitude);
    values.iter().zip(moments).fold(0.0, |sum, (&value, moment)| {
        let code = (value / scale).round_ties_even().clamp(rule.lowest(), rule.highest());
        sum + moment * (value - code * scale).powi(2)
    })
}

fn largest_of(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

isa_tests! {
    fn the_choice_does_not_depend_on_the_instruction_set(cpu: Cpu) {
        proptest!(|(
            values in prop::collection::vec(-1.0f32..1.0, 1..3000), rule in any_rule(),
            with_moments: bool, per_channel: bool,
        )| {
            let channels = if values.len().is_multiple_of(3) { 3 } else { 1 };
            let moments: Vec<f64> =
                (0..values.len() / channels).map(|k| (k % 7) as f64 * 0.3).collect();
            let moments = with_moments.then_some(&moments[..]);
            let select = |cpu| {
                select_weight_range(cpu, &values, channels, moments, rule, per_channel)
            };
            prop_assert_eq!(select(cpu), select(baseline()));
        });
    }
}

proptest! {
    #[test]
    fn no_magnitude_of_a_fine_grid_is_much_better(
        values in prop::collection::vec(-1.0f64..1.0, 1..200), power in 1i32..6,
        exponent in -90i32..90, rule in any_rule(),
    ) {
        // Odd powers make tails.
        let scale = 2f64.powi(exponent);
        let values: Vec<f64> = values.iter().map(|x| x.powi(2 * power - 1) * scale).collect();
        let moments: Vec<f64> = (0..values.len()).map(|k| 1.0 + (k % 5) as f64).collect();
        let largest = largest_of(&values);
        prop_assume!(largest > 0.0);
        let count = values.len();
        let select =
            |moments| select_weight_range(baseline(), &values, 1, moments, rule, true);
        let found = select(Some(&moments[..count])).unwrap()[0];
        let own = error(&values, &moments, rule, largest);
        let best = (1..=200).map(|part| largest * f64::from(part) / 200.0);
        let best = best.filter(|&m| m >= 0.1 * largest);
        let best = best.map(|m| error(&values, &moments, rule, m)).fold(own, f64::min);
        let least = error(&values, &moments, rule, found);
        prop_assert!(least <= own && found <= largest);
        let tolerance = if rule.power_of_two { 1e-6 } else { 0.1 };
        // A few elements make an error that jumps from one magnitude to the next.
        if count > 50 || rule.power_of_two {
            prop_assert!(least <= best * (1.0 + tolerance), "{least} {best} of {own}");
        }
    }

    #[test]
    fn channels_are_independent_and_one_row_of_moments_serves_all(
        values in prop::collection::vec(-3.0f32..3.0, 12..240), rule in any_rule()
    ) {
        let columns = values.len() / 4;
        let values = &values[..4 * columns];
        let moments: Vec<f64> = (0..columns).map(|k| (k % 3) as f64 + 0.5).collect();
        let select = |values: &[f32], channels, moments: &[f64]| {
            select_weight_range(baseline(), values, channels, Some(moments), rule, true).unwrap()
        };
        let together = select(values, 4, &moments);
        let rows: Vec<f64> =
            values.chunks(columns).flat_map(|row| select(row, 1, &moments)).collect();
        prop_assert_eq!(&together, &rows);
        prop_assert_eq!(together, select(values, 4, &moments.repeat(4)));
    }

    #[test]
    fn the_whole_weight_is_one_channel_of_all_its_elements(
        values in prop::collection::vec(-3.0f64..3.0, 12..240), rule in any_rule()
    ) {
        let columns = values.len() / 4;
        let values = &values[..4 * columns];
        let whole = select_weight_range(baseline(), values, 4, None, rule, false).unwrap()[0];
        let single = select_weight_range(baseline(), values, 1, None, rule, true).unwrap()[0];
        let moments = vec![1.0; values.len()];
        let errors = [whole, single].map(|m| error(values, &moments, rule, m));
        prop_assert!((errors[0] - errors[1]).abs() <= 1e-3 * errors[0].max(1e-9));
    }
}

const REAL: WeightRule = WeightRule { bits: 8, power_of_two: false, full_code: false };

#[test]
fn weights_on_the_grid_keep_their_largest_magnitude() {
    let values: Vec<f32> = (-127i16..=127).map(f32::from).collect();
    assert_eq!(select_weight_range(baseline(), &values, 1, None, REAL, true), Ok(vec![127.0]));
}

#[test]
fn an_outlier_that_nothing_multiplies_is_cut_off() {
    let mut values = vec![0.01f32, -0.013, 0.0071, 0.0023, -0.0049, 0.012];
    values.push(0.1);
    let mut moments = vec![1.0; 7];
    moments[6] = 0.0;
    let cut = select_weight_range(baseline(), &values, 1, Some(&moments), REAL, true);
    assert!(cut.unwrap()[0] < 0.02);
    moments[6] = 1.0;
    let kept = select_weight_range(baseline(), &values, 1, Some(&moments), REAL, true);
    assert!(kept.unwrap()[0] > 0.09);
}

#[test]
fn zeros_keep_the_magnitude_zero() {
    let zeros = [0.0f32; 6];
    let found = select_weight_range(baseline(), &zeros, 2, None, REAL, true);
    assert_eq!(found, Ok(vec![0.0, 0.0]));
    assert_eq!(select_weight_range(baseline(), &zeros, 2, None, REAL, false), Ok(vec![0.0]));
    let moments = [0.0; 3];
    let weight = [1.0f32; 6];
    let found = select_weight_range(baseline(), &weight, 2, Some(&moments), REAL, true);
    assert_eq!(found, Ok(vec![1.0, 1.0]));
    assert_eq!(select_weight_range::<f32>(baseline(), &[], 0, None, REAL, true), Ok(vec![]));
}

#[test]
fn what_is_not_a_weight_is_refused() {
    let fault = |values: &[f64], moments: Option<&[f64]>, rule| {
        select_weight_range(baseline(), values, 2, moments, rule, true).unwrap_err().to_string()
    };
    assert!(fault(&[1.0, 2.0, 3.0, f64::NAN], None, REAL).contains("weight[1, 1] is NaN"));
    assert!(fault(&[1.0; 4], Some(&[1.0, -1.0]), REAL).contains("moments[0, 1] is -1"));
    assert!(fault(&[1.0; 4], Some(&[1.0; 3]), REAL).contains("[1, 2] or [2, 2]"));
    assert!(fault(&[1.0; 4], None, WeightRule { bits: 17, ..REAL }).contains("bits is 17"));
}
