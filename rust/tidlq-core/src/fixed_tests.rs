//! The arithmetic against big integers.

use num_bigint::BigInt;
use num_traits::ToPrimitive;
use proptest::prelude::*;

use super::*;

/// floor((value * multiplier + half) / 2^shift) in big integers.
fn big_multiply_shift(value: i64, multiplier: i32, shift: u32) -> BigInt {
    let half = if shift == 0 { BigInt::from(0) } else { BigInt::from(1) << (shift - 1) };
    // BigInt's right shift rounds towards minus infinity.
    (BigInt::from(value) * multiplier + half) >> shift
}

/// The signed 32-bit integer congruent to a value.
fn low32(value: &BigInt) -> BigInt {
    let modulus = BigInt::from(1_i64 << 32);
    let half = BigInt::from(1_i64 << 31);
    let rest: BigInt = (value + &half) % &modulus;
    let rest = if rest < BigInt::from(0) { rest + modulus } else { rest };
    rest - half
}

/// The integer nearest to value / divisor, halves away from zero.
fn big_quotient_away(value: &BigInt, divisor: &BigInt) -> BigInt {
    let magnitude: BigInt = (value.magnitude() * 2_u32 + divisor.magnitude()).into();
    let rounded: BigInt = magnitude / (divisor * 2);
    if *value < BigInt::from(0) { -rounded } else { rounded }
}

/// LiteRT's product, in big integers.
fn big_twice_rounded(value: i64, left_shift: u32, multiplier: i32, shift: u32) -> BigInt {
    let shifted = low32(&(BigInt::from(value) << left_shift));
    let high: BigInt = (shifted * multiplier + (1 << 30)) >> 31;
    big_quotient_away(&high, &(BigInt::from(1) << shift))
}

/// The even-rounded integer nearest to a finite float, saturated, in big integers.
fn big_round_even(value: f32, low: i32, high: i32) -> i32 {
    let bits = value.to_bits();
    let exponent = ((bits >> 23) & 0xff) as i32;
    let fraction = i64::from(bits & 0x7f_ffff);
    let (mantissa, power) =
        if exponent == 0 { (fraction, -149) } else { (fraction | 0x80_0000, exponent - 150) };
    let signed = BigInt::from(if bits >> 31 == 1 { -mantissa } else { mantissa });
    let rounded = if power >= 0 {
        signed << power
    } else {
        let unit = BigInt::from(1) << -power;
        let floor: BigInt = &signed >> -power;
        let twice: BigInt = (&signed - &floor * &unit) * 2;
        let is_odd = &floor & BigInt::from(1) == BigInt::from(1);
        if twice > unit || (twice == unit && is_odd) { floor + 1 } else { floor }
    };
    rounded.clamp(BigInt::from(low), BigInt::from(high)).to_i32().unwrap()
}

fn any_range() -> impl Strategy<Value = (i32, i32, i32)> {
    prop_oneof![Just((0, 255)), Just((-128, 127)), Just((0, 65_535)), Just((-32_768, 32_767))]
        .prop_flat_map(|(low, high)| (Just(low), Just(high), low..=high))
}

fn any_multiplier() -> impl Strategy<Value = i32> {
    prop_oneof![-i32::MAX..=i32::MAX, Just(i32::MAX), Just(-i32::MAX), -2..=2]
}

fn any_accumulator() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), any::<i32>().prop_map(i64::from), -1000_i64..=1000]
}

proptest! {
    #[test]
    fn shift_equals_big_integers(value in any_accumulator(), shift in 0..=MAX_SHIFT) {
        prop_assert_eq!(BigInt::from(round_shift(value, shift)), big_multiply_shift(value, 1, shift));
    }

    #[test]
    fn multiply_shift_equals_big_integers(
        value in any_accumulator(), multiplier in any_multiplier(), shift in 0..=MAX_SHIFT,
    ) {
        let want = big_multiply_shift(value, multiplier, shift);
        prop_assert_eq!(BigInt::from(multiply_shift(value, multiplier, shift)), want);
    }

    #[test]
    fn the_narrow_product_is_exact_within_its_bound(
        value in any_accumulator(), multiplier in any_multiplier(), shift in 0..=MAX_SHIFT,
    ) {
        if product_fits(value.unsigned_abs(), multiplier) {
            let want = multiply_shift(value, multiplier, shift);
            prop_assert_eq!(i128::from(multiply_shift_narrow(value, multiplier, shift)), want);
        }
    }

    #[test]
    fn a_31_bit_product_always_fits(value in any::<i32>(), multiplier in any_multiplier()) {
        prop_assert!(product_fits(u64::from(value.unsigned_abs()), multiplier));
    }

    #[test]
    fn float_rounding_equals_big_integers(
        value in prop_oneof![any::<f32>(), -70_000.0_f32..70_000.0, (-140_000_i32..140_000).prop_map(|n| n as f32 / 2.0)],
        (low, high, _) in any_range(),
    ) {
        prop_assume!(value.is_finite());
        prop_assert_eq!(round_even(value, low, high), big_round_even(value, low, high));
    }

    #[test]
    fn the_twice_rounded_product_equals_big_integers(
        value in any_accumulator(), left_shift in 0..=MAX_TWICE_SHIFT,
        multiplier in any_multiplier(), shift in 0..=MAX_TWICE_SHIFT,
    ) {
        let want = big_twice_rounded(value, left_shift, multiplier, shift);
        let got = multiply_twice_rounded(value as i32, left_shift, multiplier, shift);
        prop_assert_eq!(BigInt::from(got), want);
    }

    #[test]
    fn a_twice_rounded_value_wraps_with_its_zero_point(
        acc in any_accumulator(), left_shift in 0..=MAX_TWICE_SHIFT, multiplier in any_multiplier(),
        shift in 0..=MAX_TWICE_SHIFT, (clamp_min, clamp_max, zero_point) in any_range(),
    ) {
        let requantizer = Requantizer {
            rounding: Rounding::Twice {
                left_shift: vec![left_shift], multiplier: vec![multiplier], shift: vec![shift],
            },
            zero_point, clamp_min, clamp_max,
        };
        let value = big_twice_rounded(acc, left_shift, multiplier, shift);
        let want = low32(&(value + zero_point)).clamp(clamp_min.into(), clamp_max.into());
        prop_assert_eq!(BigInt::from(requantizer.apply(acc, 0)), want);
    }

    #[test]
    fn the_quotient_equals_big_integers(value in -(1_i64 << 60)..1 << 60, divisor in 1_i64..1 << 32) {
        let want = big_quotient_away(&value.into(), &divisor.into());
        prop_assert_eq!(BigInt::from(quotient_away(value, divisor)), want);
    }

    #[test]
    fn rounding_away_equals_the_standard_librarys(
        value in prop_oneof![
            -70_000.0_f64..70_000.0,
            (-140_000_i32..140_000).prop_map(|n| f64::from(n) / 2.0),
            (-140_000_i32..140_000).prop_map(|n| (f64::from(n) / 2.0).next_up()),
            (-140_000_i32..140_000).prop_map(|n| (f64::from(n) / 2.0).next_down()),
        ],
        (low, high, _) in any_range(),
    ) {
        let want = (value.round() as i32).clamp(low, high);
        prop_assert_eq!(round_away(value, low, high), want);
    }

    #[test]
    fn rounding_a_float32_away_equals_rounding_it_as_a_double(
        value in prop_oneof![
            any::<f32>(),
            -300.0_f32..300.0,
            (-140_000_i32..140_000).prop_map(|n| n as f32 / 2.0),
            (-140_000_i32..140_000).prop_map(|n| (n as f32 / 2.0).next_up()),
            (-140_000_i32..140_000).prop_map(|n| (n as f32 / 2.0).next_down()),
        ],
        (low, high, _) in any_range(),
    ) {
        prop_assert_eq!(round_away_narrow(value, low, high), round_away(value.into(), low, high));
    }

    #[test]
    fn saturation_equals_big_integers(
        acc in any_accumulator(), multiplier in any_multiplier(), shift in 0..=MAX_SHIFT,
        (clamp_min, clamp_max, zero_point) in any_range(),
    ) {
        let requantizer = Requantizer {
            rounding: Rounding::Fixed { multiplier: vec![multiplier], shift: vec![shift] },
            zero_point, clamp_min, clamp_max,
        };
        let want = (big_multiply_shift(acc, multiplier, shift) + zero_point)
            .clamp(clamp_min.into(), clamp_max.into());
        prop_assert_eq!(BigInt::from(requantizer.apply(acc, 0)), want);
    }

    #[test]
    fn quantize_inverts_dequantize((low, high, zero_point) in any_range(), exponent in -40..40_i32) {
        let scale = 2.0_f32.powi(exponent);
        for q in [low, high, zero_point, (low + high) / 2] {
            let value = dequantize(q, scale, zero_point);
            prop_assert_eq!(quantize(value, scale, zero_point, low, high), q);
        }
    }

    #[test]
    fn quantize_equals_big_integers(
        value in any::<f32>(), scale in 1e-6_f32..1e6, (low, high, zero_point) in any_range(),
    ) {
        prop_assume!(value.is_finite() && (value / scale).is_finite());
        let want = big_round_even(value / scale, low - zero_point, high - zero_point) + zero_point;
        prop_assert_eq!(quantize(value, scale, zero_point, low, high), want);
    }
}

#[test]
fn halves_round_towards_plus_infinity_in_integers() {
    assert_eq!([3, 1, -1, -3].map(|value| round_shift(value, 1)), [2, 1, 0, -1]);
    assert_eq!([3, 1, -1, -3].map(|value| multiply_shift(value, 1, 1)), [2, 1, 0, -1]);
}

#[test]
fn halves_round_away_from_zero_at_the_second_rounding() {
    // 2^30 / 2^31 of twice a number is the number itself, exactly.
    let halved = |value| multiply_twice_rounded(value, 1, 1 << 30, 1);
    assert_eq!([3, 1, -1, -3].map(halved), [2, 1, -1, -2]);
    let halves = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5];
    assert_eq!(halves.map(|value| round_away(value, -9, 9)), [1, 2, 3, -1, -2, -3]);
    assert_eq!([3, 1, -1, -3].map(|value| quotient_away(value, 2)), [2, 1, -1, -2]);
}

#[test]
fn the_reciprocal_of_one_plus_x_is_close() {
    for x in (0..=i32::MAX).step_by(1_000_003) {
        let real = 2.0_f64.powi(31) / (1.0 + f64::from(x) / 2.0_f64.powi(31));
        let got = f64::from(reciprocal_of_one_plus(x));
        assert!((got - real.min(f64::from(i32::MAX))).abs() < 16.0, "{x}: {got} for {real}");
    }
}

#[test]
fn just_below_a_half_rounds_to_zero() {
    assert_eq!(round_away(0.5_f64.next_down(), -9, 9), 0);
    assert_eq!(round_away((-0.5_f64).next_up(), -9, 9), 0);
}

#[test]
fn halves_round_to_even_in_float() {
    let halves = [0.5, 1.5, 2.5, -0.5, -1.5, -2.5];
    assert_eq!(halves.map(|value| round_even(value, -9, 9)), [0, 2, 2, 0, -2, -2]);
}

#[test]
fn a_non_finite_value_quantizes_to_the_zero_point_or_a_bound() {
    assert_eq!(quantize(f32::NAN, 0.5, 7, 0, 255), 7);
    assert_eq!(quantize(f32::INFINITY, 0.5, 7, 0, 255), 255);
    assert_eq!(quantize(f32::NEG_INFINITY, 0.5, 7, 0, 255), 0);
}

#[test]
fn the_float_rounding_multiplies_in_single_precision() {
    let requantizer = Requantizer {
        rounding: Rounding::Float(vec![0.1]),
        zero_point: 0,
        clamp_min: -32_768,
        clamp_max: 32_767,
    };
    // In real arithmetic 0.1f32 * 5 exceeds 0.5; float32 rounds the product to 0.5, a tie.
    assert_eq!(requantizer.apply(5, 0), 0);
    assert_eq!(requantizer.apply(15, 0), 2);
}

#[test]
fn one_entry_serves_every_channel() {
    assert_eq!(entry(&[3], 9), 3);
    assert_eq!(entry(&[3, 4], 1), 4);
}

#[test]
fn exp2_is_exact_at_integers_and_close_between() {
    for whole in -1000..=1000 {
        assert_eq!(exp2(f64::from(whole)), 2.0_f64.powi(whole));
    }
    for step in -40_000..40_000 {
        let x = f64::from(step) / 777.0;
        let error = exp2(x) / x.exp2() - 1.0;
        assert!(error.abs() < 1.0e-15, "{x}: {error}");
    }
    assert_eq!(exp2(1.0e300), exp2(1000.0));
    assert_eq!(exp2(-1.0e300), exp2(-1000.0));
}
