//! The statistics whose sums are added in a fixed order: against plain loops, and as bytes.

use proptest::prelude::*;

use super::{ChannelStatistics, WindowSpan, WindowSums};
use crate::error::{Error, Fault, Shape};
use crate::isa::{Cpu, Isa, isa_tests};

/// Quarters: sums of them and of their squares are exact, so any order of additions agrees.
fn quarters(count: usize, seed: u64) -> Vec<f32> {
    let mut random = crate::network::sample::Random(seed);
    (0..count).map(|_| random.within(-400, 400) as f32 / 4.0).collect()
}

fn baseline() -> Cpu {
    Cpu::new(Isa::Scalar).unwrap()
}

fn span(numbers: [i64; 5]) -> WindowSpan {
    WindowSpan::new(numbers).unwrap()
}

/// kernel, stride, dilation, pad, outputs
fn spans() -> impl Strategy<Value = [i64; 5]> {
    (1..5_i64, 1..4_i64, 1..4_i64, 0..5_i64, 1..12_i64).prop_map(
        |(kernel, stride, dilation, pad, outputs)| [kernel, stride, dilation, pad, outputs],
    )
}

/// Where tap `tap` of a window reads along an axis, at each of its positions.
fn reads([_, stride, dilation, pad, outputs]: [i64; 5], tap: i64, size: usize) -> Vec<usize> {
    (0..outputs)
        .map(|output| output * stride + tap * dilation - pad)
        .filter(|&position| (0..size as i64).contains(&position))
        .map(|position| position as usize)
        .collect()
}

/// What tap `tap` of a transposed window reads: the inputs that it carries to an output.
fn carries([_, stride, dilation, pad, outputs]: [i64; 5], tap: i64, size: usize) -> Vec<usize> {
    let place = |input: &usize| *input as i64 * stride + tap * dilation - pad;
    (0..size).filter(|input| (0..outputs).contains(&place(input))).collect()
}

isa_tests! {
    fn window_sums_are_those_of_plain_loops(cpu: Cpu) {
        proptest!(|(
            (rows, columns) in (spans(), spans()),
            (count, channels, height, width) in (1..3_usize, 1..4_usize, 1..20_usize, 1..20_usize),
            (seed, transposed) in (any::<u64>(), any::<bool>()),
        )| {
            let reads = if transposed { carries } else { reads };
            let span = |numbers| if transposed { span(numbers).transposed() } else { span(numbers) };
            let mut sums = WindowSums::new(vec![span(rows), span(columns)]).unwrap();
            let shape = [count, channels, height, width];
            let values = quarters(shape.iter().product(), seed);
            sums.update(cpu, &shape, &values).unwrap();
            sums.update(cpu, &shape, &values).unwrap();
            prop_assert_eq!(sums.positions(), 2 * count as u64 * (rows[4] * columns[4]) as u64);
            let (taps_y, taps_x) = (rows[0] as usize, columns[0] as usize);
            prop_assert_eq!(sums.shape(), vec![channels, taps_y, taps_x]);
            for (index, &sum) in sums.sums().iter().enumerate() {
                let (channel, tap) = (index / (taps_y * taps_x), index % (taps_y * taps_x));
                let mut want = 0.0;
                for y in reads(rows, (tap / taps_x) as i64, height) {
                    for x in reads(columns, (tap % taps_x) as i64, width) {
                        for sample in 0..count {
                            let plane = sample * channels + channel;
                            want += 2.0 * f64::from(values[(plane * height + y) * width + x]);
                        }
                    }
                }
                prop_assert_eq!(sum, want);
            }
            prop_assert_eq!(WindowSums::from_bytes(&sums.to_bytes()).unwrap(), sums);
        });
    }

    fn one_axis_is_a_map_of_one_row(cpu: Cpu) {
        proptest!(|(columns in spans(), (channels, width) in (1..4_usize, 1..40_usize))| {
            let values = quarters(2 * channels * width, 3);
            let mut line = WindowSums::new(vec![span(columns)]).unwrap();
            line.update(cpu, &[2, channels, width], &values).unwrap();
            let mut map = WindowSums::new(vec![span([1, 1, 1, 0, 1]), span(columns)]).unwrap();
            map.update(cpu, &[2, channels, 1, width], &values).unwrap();
            prop_assert_eq!(line.sums(), map.sums());
            prop_assert_eq!(line.positions(), map.positions());
            prop_assert_eq!(line.shape(), vec![channels, columns[0] as usize]);
        });
    }

    fn channel_statistics_are_those_of_plain_loops(cpu: Cpu) {
        proptest!(|(
            (outer, channels, inner) in (1..4_usize, 1..40_usize, 1..70_usize),
            seed in any::<u64>(),
        )| {
            let mut statistics = ChannelStatistics::new(1);
            let values = quarters(outer * channels * inner, seed);
            statistics.update(cpu, &[outer, channels, inner], &values).unwrap();
            prop_assert_eq!(statistics.count(), (outer * inner) as u64);
            for channel in 0..channels {
                let own = || values.chunks(inner).skip(channel).step_by(channels).flatten().copied();
                let sum: f64 = own().map(f64::from).sum();
                let squares: f64 = own().map(f64::from).map(|value| value * value).sum();
                prop_assert_eq!(statistics.minima()[channel], own().fold(f32::INFINITY, f32::min));
                let maximum = own().fold(f32::NEG_INFINITY, f32::max);
                prop_assert_eq!(statistics.maxima()[channel], maximum);
                prop_assert_eq!(statistics.sums()[channel], sum);
                prop_assert_eq!(statistics.sums_of_squares()[channel], squares);
            }
        });
    }

    fn rounding_does_not_depend_on_the_instruction_set(cpu: Cpu) {
        let values: Vec<f32> = (1..=7 * 5 * 37 * 3).map(|value| 1.0 / value as f32).collect();
        let shape = [3, 5, 7, 37];
        let windows = |cpu| {
            let mut sums = WindowSums::new(vec![span([3, 1, 1, 1, 7]), span([3, 2, 1, 1, 19])]).unwrap();
            sums.update(cpu, &shape, &values).unwrap();
            sums.to_bytes()
        };
        let channels = |cpu, axis| {
            let mut statistics = ChannelStatistics::new(axis);
            statistics.update(cpu, &shape, &values).unwrap();
            statistics.to_bytes()
        };
        assert_eq!(windows(cpu), windows(baseline()));
        for axis in [0, 1, -1] {
            assert_eq!(channels(cpu, axis), channels(baseline(), axis));
        }
    }
}

#[test]
fn a_negative_axis_counts_from_the_last() {
    let values = quarters(24, 1);
    let mut last = ChannelStatistics::new(-1);
    last.update(baseline(), &[2, 3, 4], &values).unwrap();
    let mut second = ChannelStatistics::new(2);
    second.update(baseline(), &[2, 3, 4], &values).unwrap();
    assert_eq!((last.sums(), last.minima()), (second.sums(), second.minima()));
    assert_eq!((last.count(), last.axis()), (6, -1));
}

#[test]
fn extremes_pass_over_nan_and_sums_do_not() {
    for (axis, shape) in [(0, [1, 4]), (1, [4, 1])] {
        let mut statistics = ChannelStatistics::new(axis);
        let values = [1.0, f32::NAN, f32::NEG_INFINITY, -2.0];
        statistics.update(baseline(), &shape, &values).unwrap();
        assert_eq!(statistics.minima(), [f32::NEG_INFINITY]);
        assert_eq!(statistics.maxima(), [1.0]);
        assert!(statistics.sums()[0].is_nan());
    }
}

#[test]
fn features_of_another_shape_are_refused_and_change_nothing() {
    let mut statistics = ChannelStatistics::new(1);
    statistics.update(baseline(), &[1, 3, 2], &quarters(6, 1)).unwrap();
    let mut sums = WindowSums::new(vec![span([1, 1, 1, 0, 2])]).unwrap();
    sums.update(baseline(), &[1, 3, 2], &quarters(6, 1)).unwrap();
    let before = (statistics.clone(), sums.clone());
    for shape in [vec![6], vec![1, 2, 3], vec![1, 3, 4]] {
        let values = quarters(6, 1);
        for error in [
            statistics.update(baseline(), &shape, &values).unwrap_err(),
            sums.update(baseline(), &shape, &values).unwrap_err(),
        ] {
            let Error::FeatureShape { got, .. } = error else { panic!("another error: {error}") };
            assert_eq!(got, Shape(shape.clone()));
        }
    }
    assert_eq!((statistics, sums), before);
}

#[test]
fn a_window_that_cannot_be_is_refused() {
    for (position, what, low) in [(0, "kernel", 1), (1, "stride", 1), (3, "pad_begin", 0)] {
        let mut numbers = [1, 1, 1, 0, 1];
        numbers[position] = -1;
        let fault = Fault::Range { what, got: -1, low, high: 1 << 31 };
        assert_eq!(WindowSpan::new(numbers), Err(Error::Window { fault }));
    }
    assert!(WindowSums::new(Vec::new()).is_err());
    assert!(WindowSums::new(vec![span([1 << 11, 1, 1, 0, 1]); 2]).is_err());
}

#[test]
fn a_state_survives_as_bytes() {
    let mut statistics = ChannelStatistics::new(-2);
    let mut sums = WindowSums::new(vec![span([3, 2, 1, 1, 4]), span([1, 1, 2, 0, 5])]).unwrap();
    for _ in 0..2 {
        assert_eq!(ChannelStatistics::from_bytes(&statistics.to_bytes()).unwrap(), statistics);
        assert_eq!(WindowSums::from_bytes(&sums.to_bytes()).unwrap(), sums);
        statistics.update(baseline(), &[2, 3, 5], &quarters(30, 9)).unwrap();
        sums.update(baseline(), &[2, 3, 5, 5], &quarters(150, 9)).unwrap();
    }
}

#[test]
fn changed_bytes_are_refused() {
    let mut statistics = ChannelStatistics::new(0);
    statistics.update(baseline(), &[3], &quarters(3, 9)).unwrap();
    let mut sums = WindowSums::new(vec![span([3, 2, 1, 1, 4])]).unwrap();
    sums.update(baseline(), &[1, 2, 5], &quarters(10, 9)).unwrap();
    let (statistics, sums) = (statistics.to_bytes(), sums.to_bytes());
    let is_refused = |bytes: &[u8]| {
        let channels = ChannelStatistics::from_bytes(bytes);
        let windows = WindowSums::from_bytes(bytes);
        [channels.err(), windows.err()]
            .iter()
            .all(|error| matches!(error, Some(Error::State { .. })))
    };
    for bytes in [&statistics, &sums] {
        for position in 0..bytes.len() {
            assert!(is_refused(&bytes[..position]), "the first {position} bytes");
            let mut changed = bytes.clone();
            changed[position] ^= 0x10;
            assert!(is_refused(&changed), "byte {position} changed");
        }
        assert!(is_refused(&[&bytes[..], &[0]].concat()));
    }
    assert!(WindowSums::from_bytes(&statistics).is_err());
    assert!(ChannelStatistics::from_bytes(&sums).is_err());
}
