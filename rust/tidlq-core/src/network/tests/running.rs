//! Running: frames, threads, taps, inputs that do not fit.

use super::small_network;
use crate::element::ElementType;
use crate::error::{Error, Shape};
use crate::isa::Isa;
use crate::network::proto::{Reshape, layer::Op};
use crate::network::sample::{Random, Sample};
use crate::network::{Engine, MAX_THREADS, Values, ValuesView};

const IMAGE: usize = 6 * 6 * 3;

fn frames(count: usize) -> Vec<u8> {
    let values = Random(11).values(ElementType::U8, count * IMAGE);
    values.into_iter().map(|value| value as u8).collect()
}

fn engine(isa: Isa, threads: usize) -> Engine {
    Engine::load(&small_network().file(), isa, threads).unwrap()
}

#[test]
fn results_do_not_depend_on_threads_or_instruction_set() {
    let frames = frames(7);
    let want = engine(Isa::Scalar, 1).run(&[ValuesView::U8(&frames)], 7).unwrap();
    for isa in Isa::available() {
        for threads in [1, 2, 3, 8] {
            let got = engine(isa, threads).run(&[ValuesView::U8(&frames)], 7).unwrap();
            assert_eq!(got, want, "{isa}, {threads} threads");
        }
    }
}

#[test]
fn frames_are_independent() {
    let frames = frames(5);
    let engine = engine(Isa::Scalar, 2);
    let together = engine.run(&[ValuesView::U8(&frames)], 5).unwrap();
    let Values::U8(together) = &together[0] else { panic!("the logits are u8") };
    for (frame, logits) in frames.chunks(IMAGE).zip(together.chunks(5)) {
        let alone = engine.run(&[ValuesView::U8(frame)], 1).unwrap();
        assert_eq!(alone[0], Values::U8(logits.to_vec()));
    }
}

#[test]
fn no_frames_give_empty_outputs() {
    let outputs = engine(Isa::Scalar, 2).run(&[ValuesView::U8(&[])], 0).unwrap();
    assert_eq!(outputs, [Values::U8(vec![]), Values::F32(vec![])]);
}

#[test]
fn a_run_in_pieces_equals_a_whole_run() {
    let frames = frames(7);
    let engine = engine(Isa::Scalar, 2);
    let inputs = [ValuesView::U8(&frames)];
    let mut outputs = engine.allocate_outputs(7).unwrap();
    for range in [0..3, 3..4, 4..7] {
        engine.run_into(&inputs, 7, range, &mut outputs).unwrap();
    }
    assert_eq!(outputs, engine.run(&inputs, 7).unwrap());
}

#[test]
fn an_engine_serves_several_callers_at_once() {
    let frames = frames(6);
    let engine = engine(Isa::Scalar, 2);
    let want = engine.run(&[ValuesView::U8(&frames)], 6).unwrap();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| engine.run(&[ValuesView::U8(&frames)], 6).unwrap()))
            .collect();
        for run in runs {
            assert_eq!(run.join().unwrap(), want);
        }
    });
}

#[test]
fn a_trace_agrees_with_the_outputs_and_shows_inputs_and_constants() {
    let frame = frames(1);
    let engine = engine(Isa::Scalar, 2);
    let inputs = [ValuesView::U8(&frame)];
    let outputs = engine.run(&inputs, 1).unwrap();
    let find = |name| engine.program().find(name).unwrap();
    let tensors = [find("t9"), find("t0"), find("t8"), find("t1"), find("t9")];
    let traced = engine.trace(&inputs, &tensors).unwrap();
    assert_eq!(traced[0], outputs[1]);
    assert_eq!(traced[1], Values::U8(frame.clone()));
    assert_eq!(traced[2], outputs[0]);
    assert_eq!(traced[3].view().elements(), 8 * 9 * 3);
    assert_eq!(traced[4], outputs[1]);
}

#[test]
fn an_input_or_a_constant_can_be_an_output() {
    let mut sample = Sample::default();
    let x = sample.input(ElementType::S16, &[3], 0);
    let constant = sample.constant(ElementType::U8, &[2], 0, &[4, 5]);
    let y = sample.tensor(ElementType::S16, &[3, 1], 0);
    sample.output_layer(&[x], y, Op::Reshape(Reshape {}));
    sample.network.outputs.extend([x, constant]);
    let engine = Engine::load(&sample.file(), Isa::Scalar, 1).unwrap();
    let outputs = engine.run(&[ValuesView::S16(&[1, 2, 3, 4, 5, 6])], 2).unwrap();
    assert_eq!(outputs[0], Values::S16(vec![1, 2, 3, 4, 5, 6]));
    assert_eq!(outputs[1], outputs[0]);
    assert_eq!(outputs[2], Values::U8(vec![4, 5, 4, 5]));
}

#[test]
fn a_missing_input_is_refused() {
    let error = engine(Isa::Scalar, 1).run(&[], 1).unwrap_err();
    assert_eq!(error, Error::InputCount { want: 1, got: 0 });
}

#[test]
fn an_input_of_another_type_is_refused() {
    let error = engine(Isa::Scalar, 1).run(&[ValuesView::S8(&[0; IMAGE])], 1).unwrap_err();
    assert_eq!(error, Error::InputType { tensor: "t0".into(), want: "u8", got: "s8" });
}

#[test]
fn an_input_of_another_size_is_refused() {
    let error = engine(Isa::Scalar, 1).run(&[ValuesView::U8(&[0; 7])], 2).unwrap_err();
    let (want, got) = (Shape(vec![2, 1, 6, 6, 3]), Shape(vec![7]));
    assert_eq!(error, Error::InputShape { tensor: "t0".into(), want, got });
    assert!(error.to_string().contains("shape [7], the network needs [2, 1, 6, 6, 3]"));
}

#[test]
fn too_many_threads_are_refused() {
    let error = Engine::load(&small_network().file(), Isa::Scalar, 5_000).err();
    assert_eq!(error, Some(Error::ThreadCount { got: 5_000, bound: MAX_THREADS }));
}

#[test]
fn an_instruction_set_that_the_cpu_lacks_is_refused() {
    for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
        let error = Engine::load(&small_network().file(), isa, 1).err();
        assert_eq!(error, Some(Error::UnsupportedIsa { name: isa.name() }));
    }
}
