//! Variants: the same results as a whole run, only what follows runs, and refusals.

use super::{requantizer, small_network};
use crate::element::ElementType;
use crate::error::{Error, PatchFault};
use crate::isa::Isa;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Random, Sample, requantize};
use crate::network::{Baseline, Engine, MatchedLayer, Patch, Stepper, Values, ValuesView};

const IMAGE: usize = 6 * 6 * 3;
const FRAMES: usize = 5;
/// Tensors of the small network.
const FIRST: usize = 2;
const POOLED: usize = 3;
const SUMMED: usize = 4;

fn frames() -> Vec<u8> {
    let values = Random(13).values(ElementType::U8, FRAMES * IMAGE);
    values.into_iter().map(|value| value as u8).collect()
}

fn baseline(isa: Isa, threads: usize) -> Baseline {
    let engine = Engine::load(&small_network().file(), isa, threads).unwrap();
    let mut baseline = Baseline::new(engine);
    baseline.load(&[ValuesView::U8(&frames())], FRAMES).unwrap();
    baseline.run(0..FRAMES).unwrap();
    baseline
}

/// Another average of the pooled features in the place of the residual sum.
fn other_sum() -> Sample {
    let mut sample = Sample::default();
    let u8 = ElementType::U8;
    let pooled = sample.input(u8, &[1, 6, 6, 8], 5);
    let summed = sample.tensor(u8, &[1, 6, 6, 8], 9);
    let op = proto::Sum { requantize: requantize(&requantizer(9)), subtracted: Vec::new() };
    sample.output_layer(&[pooled, pooled], summed, Op::Sum(op));
    sample
}

/// The small network with that change in its own message.
fn whole_variant() -> Sample {
    let mut sample = small_network();
    sample.network.layers[2].inputs = vec![POOLED as u32; 2];
    sample
}

fn fault(result: Result<Patch, Error>) -> PatchFault {
    match result {
        Err(Error::Patch(fault)) => fault,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn a_patched_run_is_the_run_of_the_whole_variant() {
    let whole = Engine::load(&whole_variant().file(), Isa::Scalar, 1).unwrap();
    let want = whole.run(&[ValuesView::U8(&frames())], FRAMES).unwrap();
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let baseline = baseline(isa, threads);
            let patch = baseline.patch(&other_sum().file(), &[POOLED], &[Some(SUMMED)]).unwrap();
            // Average pool, reshape, inner product, softmax; the convolution and the pool do not run.
            assert_eq!(patch.suffix(), [3, 4, 5, 6]);
            let got = baseline.outputs(&patch, 0..FRAMES).unwrap();
            assert_eq!(got, want, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn a_probe_alone_runs_nothing_of_the_network() {
    let baseline = baseline(Isa::Scalar, 1);
    let patch = baseline.patch(&other_sum().file(), &[POOLED], &[None]).unwrap();
    assert_eq!(patch.suffix(), Vec::<usize>::new());
    let got = baseline.outputs(&patch, 0..FRAMES).unwrap();
    let whole = Engine::load(&small_network().file(), Isa::Scalar, 1).unwrap();
    assert_eq!(got[..2], whole.run(&[ValuesView::U8(&frames())], FRAMES).unwrap());
    assert_eq!(got.len(), 3);
    assert_eq!(got[2].view().elements(), FRAMES * 6 * 6 * 8);
}

#[test]
fn new_frames_take_the_place_of_earlier_ones() {
    let mut baseline = baseline(Isa::Scalar, 2);
    let patch = baseline.patch(&other_sum().file(), &[POOLED], &[Some(SUMMED)]).unwrap();
    let all = baseline.outputs(&patch, 0..FRAMES).unwrap();
    baseline.load(&[ValuesView::U8(&frames()[IMAGE..2 * IMAGE])], 1).unwrap();
    assert_eq!(baseline.outputs(&patch, 0..1).unwrap_err(), PatchFault::NotRun.into());
    baseline.run(0..1).unwrap();
    let (Values::U8(one), Values::U8(all)) = (&baseline.outputs(&patch, 0..1).unwrap()[0], &all[0])
    else {
        panic!("the first output is of integers");
    };
    assert_eq!(one[..], all[5..10]);
}

#[test]
fn a_patch_that_does_not_fit_is_refused() {
    let baseline = baseline(Isa::Scalar, 1);
    let file = other_sum().file();
    let patch =
        |inputs: &[usize], outputs: &[Option<usize>]| fault(baseline.patch(&file, inputs, outputs));
    assert!(matches!(patch(&[], &[None]), PatchFault::Count { what: "inputs", .. }));
    assert!(matches!(patch(&[POOLED], &[]), PatchFault::Count { what: "outputs", .. }));
    // Another zero point.
    assert!(matches!(patch(&[SUMMED], &[None]), PatchFault::Form { .. }));
    assert!(matches!(patch(&[POOLED], &[Some(FIRST)]), PatchFault::Form { .. }));
    // An input of the network is written by no layer.
    assert!(matches!(patch(&[POOLED], &[Some(0)]), PatchFault::Place { .. }));
    let other = self::baseline(Isa::Scalar, 1);
    let foreign = other.patch(&file, &[POOLED], &[Some(SUMMED)]).unwrap();
    let result = baseline.outputs(&foreign, 0..FRAMES);
    assert_eq!(result.unwrap_err(), PatchFault::Foreign.into());
}

#[test]
fn layers_that_read_each_other_are_refused() {
    let baseline = baseline(Isa::Scalar, 1);
    // The convolution's output from that of the pool that reads it.
    let mut sample = Sample::default();
    let pooled = sample.input(ElementType::U8, &[1, 6, 6, 8], 5);
    let first = sample.tensor(ElementType::U8, &[1, 6, 6, 8], 5);
    let op = proto::Rescale { requantize: requantize(&requantizer(5)) };
    sample.output_layer(&[pooled], first, Op::Rescale(op));
    let result = baseline.patch(&sample.file(), &[POOLED], &[Some(FIRST)]);
    assert!(matches!(fault(result), PatchFault::Circle { .. }));
}

/// The small network's first convolution, its bias shifted.
fn shifted_convolution() -> Sample {
    let mut sample = small_network();
    sample.network.layers.truncate(1);
    sample.network.tensors.truncate(FIRST + 1);
    sample.network.outputs = vec![FIRST as u32];
    sample.set_bias(0, &[5000; 8]);
    sample
}

fn matched(layer: usize, channels: usize) -> MatchedLayer {
    let all = |value: f64| vec![value; channels];
    MatchedLayer { layer, steps: all(0.5), means: all(-17.0), limits: all(1e9) }
}

#[test]
fn means_of_accumulators_become_the_wanted_ones() {
    for isa in Isa::available() {
        let baseline = baseline(isa, 2);
        let mut patch =
            baseline.patch(&shifted_convolution().file(), &[0], &[Some(FIRST)]).unwrap();
        baseline.match_means(&mut patch, FRAMES, &[matched(0, 8)]).unwrap();
        // The same biases from means over one frame after the other, by the stepper.
        let engine = Engine::load(&shifted_convolution().file(), Isa::Scalar, 1).unwrap();
        let mut stepper = Stepper::new(engine, &[ValuesView::U8(&frames())], FRAMES).unwrap();
        let (shape, sums) = stepper.input_sums(0, 0..FRAMES).unwrap();
        assert_eq!(shape, [3, 3, 3]);
        let message = &small_network().network.tensors[1];
        let weights = message.constant.clone().unwrap();
        let positions = (FRAMES * 36) as f64;
        let wanted: Vec<i64> = weights
            .chunks(27)
            .map(|row| {
                let sum: i64 = row.iter().zip(&sums).map(|(&w, s)| i64::from(w as i8) * s).sum();
                let mean = 5000.0 + sum as f64 / positions;
                (5000.0 + (-17.0 / 0.5 - mean)).round_ties_even() as i64
            })
            .collect();
        assert_eq!(patch.bias(0), wanted);
        stepper.set_bias(0, wanted).unwrap();
        stepper.advance(0..FRAMES, 1).unwrap();
    }
}

#[test]
fn a_match_that_does_not_fit_is_refused() {
    let baseline = baseline(Isa::Scalar, 1);
    let mut patch = baseline.patch(&shifted_convolution().file(), &[0], &[Some(FIRST)]).unwrap();
    let mut fail = |layer| baseline.match_means(&mut patch, FRAMES, &[layer]).unwrap_err();
    assert!(matches!(
        fail(matched(0, 7)),
        Error::Patch(PatchFault::Channels { want: 8, got: 7, .. })
    ));
    assert!(matches!(fail(matched(1, 8)), Error::Step(_)));
    let mut other = baseline.patch(&other_sum().file(), &[POOLED], &[Some(SUMMED)]).unwrap();
    let result = baseline.match_means(&mut other, FRAMES, &[matched(0, 8)]);
    assert!(matches!(result.unwrap_err(), Error::Step(_)));
}
