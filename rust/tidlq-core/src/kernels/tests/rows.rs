//! Requantization of rows against its definition.

use proptest::prelude::*;

use crate::element::ElementType;
use crate::fixed::{MAX_SHIFT, MAX_TWICE_SHIFT, Requantizer, Rounding};
use crate::isa::Cpu;
use crate::isa::isa_tests;
use crate::kernels::requantize::{Accumulator, Entries, Layout, RowRequantizer, Target};

fn any_rounding(channels: usize) -> impl Strategy<Value = Rounding> {
    let length = prop_oneof![Just(1), Just(channels)];
    length.prop_flat_map(|length| {
        let shift = proptest::collection::vec(0..=MAX_SHIFT, length);
        let high_shift = proptest::collection::vec(31..=MAX_SHIFT, length);
        let multiplier = proptest::collection::vec(-i32::MAX..=i32::MAX, length);
        let twice_shift = proptest::collection::vec(0..=MAX_TWICE_SHIFT, length);
        let double = proptest::collection::vec(-1.0e-2_f64..1.0e-2, length);
        let halves = proptest::collection::vec(Just(0.5), length);
        let divisor = proptest::collection::vec(1_i64..1 << 20, length);
        let scale = proptest::collection::vec(-1.0e-2_f32..1.0e-2, length);
        let bias = proptest::collection::vec(-1.0e3_f32..1.0e3, length);
        prop_oneof![
            shift.clone().prop_map(Rounding::Shift),
            (multiplier.clone(), prop_oneof![shift, high_shift])
                .prop_map(|(multiplier, shift)| Rounding::Fixed { multiplier, shift }),
            scale.clone().prop_map(Rounding::Float),
            (scale, bias).prop_map(|(scale, bias)| Rounding::Biased { scale, bias }),
            (twice_shift.clone(), multiplier, twice_shift).prop_map(
                |(left_shift, multiplier, shift)| Rounding::Twice { left_shift, multiplier, shift }
            ),
            prop_oneof![double, halves].prop_map(Rounding::Double),
            divisor.prop_map(Rounding::Quotient),
        ]
    })
}

fn row_equals_definition<A: Accumulator>(
    cpu: Cpu,
    row: &[A],
    bound: u64,
    requantizer: &Requantizer,
) -> std::result::Result<(), TestCaseError> {
    let prepared = RowRequantizer::new(requantizer, bound);
    let mut output = vec![0_i16; row.len()];
    let target = Target {
        element_type: ElementType::S16,
        bytes: bytemuck::cast_slice_mut(&mut output),
        start: 0,
        stride: 0,
    };
    prepared.finish(cpu, row, Layout::row(row.len()), Entries::From(0), target);
    for (channel, (&acc, &q)) in row.iter().zip(&output).enumerate() {
        prop_assert_eq!(i32::from(q), requantizer.apply(acc.wide(), channel));
    }
    Ok(())
}

isa_tests! {
    fn rows_equal_the_definition(cpu: Cpu) {
        let rows = proptest::collection::vec(any::<i64>(), 37);
        let range = prop_oneof![Just((0, 255)), Just((-128, 127)), Just((-32_768, 32_767))];
        proptest!(|(
            wide in rows, down in 0..63_u32, rounding in any_rounding(37), (low, high) in range,
            zero in 0.0..1.0_f64,
        )| {
            let zero_point = low + (f64::from(high - low) * zero) as i32;
            let requantizer =
                Requantizer { rounding, zero_point, clamp_min: low, clamp_max: high };
            let wide: Vec<i64> = wide.into_iter().map(|value| value >> down).collect();
            let bound = wide.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
            row_equals_definition(cpu, &wide, bound, &requantizer)?;
            if bound < 1 << 31 {
                let narrow: Vec<i32> = wide.iter().map(|&value| value as i32).collect();
                row_equals_definition(cpu, &narrow, bound, &requantizer)?;
            }
        });
    }
}
