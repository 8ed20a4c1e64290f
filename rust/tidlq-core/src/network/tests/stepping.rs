//! Layer by layer: the same results as a whole run, biases that change on the way, and refusals.

use super::small_network;
use crate::element::ElementType;
use crate::error::{Error, Fault, StepFault};
use crate::isa::Isa;
use crate::network::sample::{Random, Sample};
use crate::network::{Engine, Stepper, Values, ValuesView};

const IMAGE: usize = 6 * 6 * 3;
const FRAMES: usize = 5;
/// Layers of the small network, and which of them have a bias.
const LAYERS: usize = 7;
const WEIGHTED: [usize; 2] = [0, 5];

fn frames() -> Vec<u8> {
    let values = Random(13).values(ElementType::U8, FRAMES * IMAGE);
    values.into_iter().map(|value| value as u8).collect()
}

fn engine(sample: &Sample, isa: Isa, threads: usize) -> Engine {
    Engine::load(&sample.file(), isa, threads).unwrap()
}

fn stepper(isa: Isa, threads: usize) -> Stepper {
    let engine = engine(&small_network(), isa, threads);
    Stepper::new(engine, &[ValuesView::U8(&frames())], FRAMES).unwrap()
}

fn finished(mut stepper: Stepper) -> Vec<Values> {
    stepper.advance(0..FRAMES, LAYERS).unwrap();
    stepper.outputs().unwrap()
}

fn fault<T>(result: Result<T, Error>) -> StepFault {
    match result {
        Err(Error::Step(fault)) => fault,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn the_end_of_all_steps_is_the_result_of_a_run() {
    let want =
        engine(&small_network(), Isa::Scalar, 1).run(&[ValuesView::U8(&frames())], FRAMES).unwrap();
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            let mut stepper = stepper(isa, threads);
            for layer in 1..=LAYERS {
                stepper.advance(0..FRAMES, layer).unwrap();
                assert_eq!(stepper.position(), layer);
            }
            assert_eq!(stepper.outputs().unwrap(), want, "{isa}, {threads} threads");
            assert_eq!(finished(self::stepper(isa, threads)), want);
        }
    }
}

#[test]
fn a_restart_gives_the_same_again() {
    let mut stepper = stepper(Isa::Scalar, 2);
    stepper.advance(0..FRAMES, LAYERS).unwrap();
    let want = stepper.outputs().unwrap();
    for stop in [0, 3, LAYERS] {
        stepper.restart().unwrap();
        stepper.advance(0..FRAMES, stop).unwrap();
        stepper.restart().unwrap();
        assert_eq!(stepper.position(), 0);
        stepper.advance(0..FRAMES, LAYERS).unwrap();
        assert_eq!(stepper.outputs().unwrap(), want);
    }
}

fn passing_once(isa: Isa, threads: usize) -> Stepper {
    let engine = engine(&small_network(), isa, threads);
    Stepper::once(engine, &[ValuesView::U8(&frames())], FRAMES).unwrap()
}

#[test]
fn frames_that_pass_once_end_as_a_run_does() {
    let want =
        engine(&small_network(), Isa::Scalar, 1).run(&[ValuesView::U8(&frames())], FRAMES).unwrap();
    for isa in Isa::available() {
        for threads in [1, 2, 3] {
            assert_eq!(finished(passing_once(isa, threads)), want, "{isa}, {threads} threads");
            let mut stepper = passing_once(isa, threads);
            for layer in stepper.position()..=LAYERS {
                stepper.advance(0..FRAMES, layer).unwrap();
            }
            assert_eq!(stepper.outputs().unwrap(), want);
        }
    }
}

#[test]
fn of_frames_that_pass_once_what_layers_to_come_read_is_there() {
    let (mut kept, mut once) = (stepper(Isa::Scalar, 2), passing_once(Isa::Scalar, 2));
    let program = kept.engine().program().clone();
    for position in once.position()..=LAYERS {
        kept.advance(0..FRAMES, position).unwrap();
        once.advance(0..FRAMES, position).unwrap();
        for (tensor, spec) in program.tensors.iter().enumerate() {
            let to_come = &program.layers[position..];
            let is_read = to_come.iter().any(|layer| layer.inputs.contains(&tensor));
            let is_output = program.outputs.contains(&tensor);
            let written = &program.layers[..position];
            let is_written = program.inputs.contains(&tensor)
                || written.iter().any(|layer| layer.output == tensor);
            if is_written && (is_read || is_output) {
                assert_eq!(once.tensor(tensor), kept.tensor(tensor), "{}", spec.name);
            }
        }
    }
    let not_held = |tensor: &str| StepFault::NotHeld { tensor: tensor.into(), position: LAYERS };
    assert_eq!(fault(once.tensor(program.inputs[0])), not_held("t0"));
    let first = program.find("t2").unwrap();
    assert_eq!(fault(once.tensor(first)), not_held("t2"));
}

#[test]
fn frames_that_pass_once_cannot_be_restarted() {
    assert_eq!(fault(passing_once(Isa::Scalar, 1).restart()), StepFault::Once);
}

#[test]
fn a_changed_bias_is_that_of_a_network_with_it() {
    // The last bias is so large that 32 bits no longer hold the accumulators.
    for value in [-7, 1_000, 1 << 40] {
        let mut sample = small_network();
        let mut stepper = stepper(Isa::available().pop().unwrap(), 2);
        for layer in WEIGHTED {
            stepper.advance(0..FRAMES, layer).unwrap();
            let bias: Vec<i64> =
                (0..).zip(stepper.bias(layer).unwrap()).map(|(index, _)| value - index).collect();
            sample.set_bias(layer, &bias);
            stepper.set_bias(layer, bias.clone()).unwrap();
            assert_eq!(stepper.bias(layer).unwrap(), bias);
        }
        let want = engine(&sample, Isa::Scalar, 1).run(&[ValuesView::U8(&frames())], FRAMES);
        assert_eq!(finished(stepper), want.unwrap());
    }
}

#[test]
fn what_the_last_layer_read_and_wrote_is_there() {
    let frames = frames();
    let mut stepper = stepper(Isa::Scalar, 2);
    let tensors: Vec<usize> = (0..stepper.engine().program().tensors.len()).collect();
    let traces: Vec<Vec<Values>> = frames
        .chunks(IMAGE)
        .map(|frame| stepper.engine().trace(&[ValuesView::U8(frame)], &tensors).unwrap())
        .collect();
    for position in 1..=LAYERS {
        stepper.advance(0..FRAMES, position).unwrap();
        let layer = stepper.engine().program().layers[position - 1].clone();
        for tensor in layer.inputs.into_iter().chain([layer.output]) {
            let values = stepper.tensor(tensor).unwrap();
            let size = values.view().bytes().len() / FRAMES;
            for (found, trace) in values.view().bytes().chunks(size).zip(&traces) {
                assert_eq!(found, trace[tensor].view().bytes());
            }
        }
    }
}

#[test]
fn a_tensor_is_refused_before_it_is_written_and_once_it_is_overwritten() {
    let mut stepper = stepper(Isa::Scalar, 1);
    let find = |stepper: &Stepper, name| stepper.engine().program().find(name).unwrap();
    let first = find(&stepper, "t2");
    let not_held = |position| StepFault::NotHeld { tensor: "t2".into(), position };
    assert_eq!(fault(stepper.tensor(first)), not_held(0));
    stepper.advance(0..FRAMES, 1).unwrap();
    let written = stepper.tensor(first).unwrap();
    let mut overwritten = Vec::new();
    for position in 2..=LAYERS {
        stepper.advance(0..FRAMES, position).unwrap();
        match stepper.tensor(first) {
            Ok(values) => assert_eq!(values, written, "before layer {position}"),
            error => {
                assert_eq!(fault(error), not_held(position));
                overwritten.push(position);
            }
        }
    }
    assert!(!overwritten.is_empty(), "the plan reuses the first tensor's memory");
}

#[test]
fn an_advance_of_some_frames_is_refused_until_all_have_come_as_far() {
    let mut stepper = stepper(Isa::Scalar, 2);
    stepper.advance(0..2, 3).unwrap();
    assert_eq!(stepper.position(), 0);
    assert_eq!(fault(stepper.input_sums(0, 0..1)), StepFault::Uneven);
    assert_eq!(fault(stepper.set_bias(0, vec![0; 8])), StepFault::Uneven);
    assert_eq!(fault(stepper.outputs()), StepFault::Uneven);
    assert_eq!(fault(stepper.tensor(0)), StepFault::Uneven);
    let backwards = StepFault::Backwards { layer: 2, position: 3 };
    assert_eq!(fault(stepper.advance(0..FRAMES, 2)), backwards);
    stepper.advance(0..FRAMES, 3).unwrap();
    assert_eq!(stepper.position(), 3);
    assert_eq!(finished(stepper), finished(self::stepper(Isa::Scalar, 1)));
}

#[test]
fn what_is_not_next_or_has_no_bias_is_named() {
    let mut stepper = stepper(Isa::Scalar, 1);
    stepper.advance(0..FRAMES, 1).unwrap();
    let not_next = StepFault::NotNext { layer: "layer0".into(), position: 1 };
    assert_eq!(fault(stepper.input_sums(0, 0..FRAMES)), not_next);
    let not_weighted = StepFault::NotWeighted { layer: "layer1".into() };
    assert_eq!(fault(stepper.input_sums(1, 0..FRAMES)), not_weighted);
    assert_eq!(fault(stepper.bias(1)), not_weighted);
    assert_eq!(fault(stepper.output_positions(1)), not_weighted);
    let not_deformable = StepFault::NotDeformable { layer: "layer1".into() };
    assert_eq!(fault(stepper.sample_sums(1, 0..FRAMES)), not_deformable);
    assert_eq!(fault(stepper.set_shift(1, vec![0.0])), not_deformable);
    let missing = StepFault::Layer { got: 9, layers: LAYERS };
    assert_eq!(fault(stepper.advance(0..FRAMES, 9)), missing);
    assert_eq!(fault(stepper.bias(9)), missing);
    let unfinished = StepFault::Unfinished { position: 1, layers: LAYERS };
    assert_eq!(fault(stepper.outputs()), unfinished);
    stepper.restart().unwrap();
    let frames = StepFault::Frames { start: 1, stop: 9, frames: FRAMES };
    assert_eq!(fault(stepper.input_sums(0, 1..9)), frames);
}

#[test]
fn a_bias_that_does_not_fit_changes_nothing() {
    let mut stepper = stepper(Isa::Scalar, 1);
    let bound = 1_i64 << 47;
    for (bias, want) in [
        (vec![0; 7], Fault::Count { what: "bias", want: 8, got: 7 }),
        (
            vec![bound + 1; 8],
            Fault::Range {
                what: "bias",
                got: i128::from(bound) + 1,
                low: -i128::from(bound),
                high: bound.into(),
            },
        ),
    ] {
        let want = StepFault::Bias { layer: "layer0".into(), fault: Box::new(want) };
        assert_eq!(fault(stepper.set_bias(0, bias)), want);
    }
    assert_eq!(stepper.bias(0).unwrap(), (0..8).collect::<Vec<i64>>());
    stepper.set_bias(0, vec![-bound; 8]).unwrap();
}

#[test]
fn no_frames_go_through_all_layers() {
    let engine = engine(&small_network(), Isa::Scalar, 2);
    let mut stepper = Stepper::new(engine, &[ValuesView::U8(&[])], 0).unwrap();
    let (shape, sums) = stepper.input_sums(0, 0..0).unwrap();
    assert_eq!((shape, sums), (vec![3, 3, 3], vec![0; 27]));
    stepper.advance(0..0, LAYERS).unwrap();
    assert_eq!(stepper.position(), LAYERS);
    assert_eq!(stepper.outputs().unwrap(), [Values::U8(vec![]), Values::F32(vec![])]);
}
