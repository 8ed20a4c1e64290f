//! Each rule of `proto/network.proto` that a file can break is refused, with the layer's name.

use super::{requantizer, small_network};
use crate::error::{Error, Fault};
use crate::fixed::{Requantizer, Rounding};
use crate::isa::Isa;
use crate::network::Engine;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Sample, requantize};

/// The error of the small network after a change.
fn error_after(change: impl FnOnce(&mut proto::Network)) -> Error {
    let mut sample = small_network();
    change(&mut sample.network);
    Engine::load(&sample.file(), Isa::Scalar, 1).err().expect("the change breaks a rule")
}

/// The fault of a layer after a change.
fn fault_after(layer: usize, change: impl FnOnce(&mut proto::Layer)) -> Fault {
    let error = error_after(|network| change(&mut network.layers[layer]));
    let Error::Layer { layer: name, fault } = error else { panic!("not of a layer: {error}") };
    assert!(name == format!("layer{layer}") || name == format!("#{layer}"), "{name}");
    fault
}

macro_rules! op {
    ($layer:expr, $variant:ident) => {
        match &mut $layer.op {
            Some(Op::$variant(op)) => op,
            _ => panic!("another operation"),
        }
    };
}

fn convolution_after(change: impl FnOnce(&mut proto::Convolution)) -> Fault {
    fault_after(0, |layer| change(op!(layer, Convolution)))
}

fn requantize_after(change: impl FnOnce(&mut proto::Requantize)) -> Fault {
    convolution_after(|op| change(op.requantize.as_mut().unwrap()))
}

#[test]
fn the_unchanged_network_loads() {
    assert!(Engine::load(&small_network().file(), Isa::Scalar, 1).is_ok());
}

#[test]
fn broken_tensors_are_refused() {
    let tensor = |change: fn(&mut proto::Tensor)| {
        let error = error_after(|network| change(&mut network.tensors[2]));
        let Error::Tensor { fault, .. } = error else { panic!("not of a tensor: {error}") };
        fault
    };
    assert_eq!(tensor(|tensor| tensor.name.clear()), Fault::Missing { what: "name" });
    let duplicate = Fault::Duplicate { first: 0, second: 2 };
    assert_eq!(tensor(|tensor| tensor.name = "t0".into()), duplicate);
    assert_eq!(tensor(|tensor| tensor.element_type = 0), Fault::Missing { what: "element_type" });
    assert_eq!(tensor(|tensor| tensor.element_type = 99), Fault::Missing { what: "element_type" });
    assert!(matches!(tensor(|tensor| tensor.shape[1] = 0), Fault::Range { got: 0, .. }));
    assert!(matches!(tensor(|tensor| tensor.shape = vec![1; 9]), Fault::Range { got: 9, .. }));
    assert!(matches!(tensor(|tensor| tensor.shape = vec![u32::MAX; 8]), Fault::TooLarge { .. }));
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = error_after(|network| network.tensors[2].scale = scale);
        assert!(matches!(error, Error::Tensor { fault: Fault::Float { .. }, .. }), "{error}");
    }
    assert!(matches!(tensor(|tensor| tensor.zero_point = 256), Fault::Range { got: 256, .. }));
}

#[test]
fn a_constant_of_another_length_is_refused() {
    let error = error_after(|network| network.tensors[1].constant = Some(vec![0; 215]));
    let fault = Fault::Count { what: "the constant's byte string", want: 216, got: 215 };
    assert_eq!(error, Error::Tensor { tensor: "t1".into(), fault });
    assert!(error.to_string().contains("\"t1\""));
}

#[test]
fn features_that_are_too_large_together_are_refused_before_they_are_allocated() {
    let mut sample = Sample::default();
    let x = sample.input(crate::element::ElementType::U8, &[1 << 20, 1 << 19], 0);
    let mut last = x;
    for _ in 0..4 {
        let next = sample.tensor(crate::element::ElementType::U8, &[1 << 20, 1 << 19], 0);
        sample.output_layer(&[last], next, Op::Transpose(proto::Transpose { perm: vec![0, 1] }));
        last = next;
    }
    let error = Engine::load(&sample.file(), Isa::Scalar, 1).err();
    assert!(matches!(error, Some(Error::Network { fault: Fault::TooLarge { .. } })), "{error:?}");
}

#[test]
fn broken_orders_are_refused() {
    let error = error_after(|network| network.layers.swap(0, 1));
    let read = "is read before a layer has written it";
    let fault = Fault::Order { tensor: "t2".into(), state: read };
    assert_eq!(error, Error::Layer { layer: "layer1".into(), fault });
    let error = error_after(|network| network.layers[1].output = 2);
    assert!(error.to_string().contains("already has a value"), "{error}");
    let error = error_after(|network| network.layers[1].output = 0);
    assert!(matches!(error, Error::Layer { .. }), "{error}");
    let error = error_after(|network| network.inputs.push(0));
    assert!(error.to_string().contains("is an input twice"), "{error}");
    let error = error_after(|network| network.inputs.push(1));
    assert!(error.to_string().contains("an input and a constant"), "{error}");
    let error = error_after(|network| network.inputs.clear());
    assert!(error.to_string().contains("\"t0\""), "{error}");
    let error = error_after(|network| {
        network.layers.pop();
    });
    assert!(error.to_string().contains("neither an input nor"), "{error}");
    let error = error_after(|network| network.outputs.clear());
    assert_eq!(error, Error::Network { fault: Fault::Missing { what: "outputs" } });
    let error = error_after(|network| network.outputs.push(99));
    assert!(matches!(error, Error::Network { fault: Fault::Range { got: 99, .. } }), "{error}");
}

#[test]
fn broken_layers_are_refused() {
    assert_eq!(fault_after(1, |layer| layer.name.clear()), Fault::Missing { what: "name" });
    let duplicate = Fault::Duplicate { first: 0, second: 1 };
    let error = error_after(|network| network.layers[1].name = "layer0".into());
    assert_eq!(error, Error::Layer { layer: "layer0".into(), fault: duplicate });
    assert_eq!(fault_after(1, |layer| layer.op = None), Fault::Missing { what: "op" });
    assert!(matches!(fault_after(1, |layer| layer.inputs = vec![77]), Fault::Range { .. }));
    assert!(matches!(fault_after(1, |layer| layer.inputs.clear()), Fault::Count { .. }));
    assert!(matches!(fault_after(1, |layer| layer.output = 77), Fault::Range { .. }));
}

#[test]
fn broken_convolutions_are_refused() {
    assert!(matches!(convolution_after(|op| op.weight = 0), Fault::Missing { .. }));
    assert!(matches!(convolution_after(|op| op.weight = 7), Fault::Count { .. }));
    assert!(matches!(convolution_after(|op| op.bias.truncate(7)), Fault::Count { got: 7, .. }));
    assert!(matches!(convolution_after(|op| op.bias[0] = 1 << 48), Fault::Range { .. }));
    assert!(matches!(convolution_after(|op| op.stride = vec![1]), Fault::Count { .. }));
    assert!(matches!(convolution_after(|op| op.stride = vec![1, 0]), Fault::Range { .. }));
    assert!(matches!(convolution_after(|op| op.dilation = vec![0, 1]), Fault::Range { .. }));
    assert!(matches!(convolution_after(|op| op.groups = 0), Fault::Range { .. }));
    assert!(matches!(convolution_after(|op| op.groups = 2), Fault::Mismatch { .. }));
    assert!(matches!(convolution_after(|op| op.groups = 3), Fault::Mismatch { .. }));
    assert!(matches!(convolution_after(|op| op.requantize = None), Fault::Missing { .. }));
}

#[test]
fn broken_requantizations_are_refused() {
    assert!(matches!(requantize_after(|message| message.mode = 0), Fault::Mismatch { .. }));
    assert!(matches!(requantize_after(|message| message.mode = 9), Fault::Mismatch { .. }));
    let none = requantize_after(|message| message.multiplier.clear());
    assert_eq!(none, Fault::Count { what: "requantize.multiplier", want: 8, got: 0 });
    assert!(matches!(requantize_after(|message| message.shift = vec![9; 7]), Fault::Count { .. }));
    assert!(matches!(requantize_after(|message| message.shift = vec![63]), Fault::Range { .. }));
    let least = requantize_after(|message| message.multiplier = vec![i32::MIN]);
    assert!(matches!(least, Fault::Range { .. }));
    assert!(matches!(requantize_after(|message| message.zero_point = 6), Fault::Mismatch { .. }));
    assert!(matches!(requantize_after(|message| message.clamp_min = -1), Fault::Range { .. }));
    assert!(matches!(requantize_after(|message| message.clamp_max = 256), Fault::Range { .. }));
    let crossed = requantize_after(|message| (message.clamp_min, message.clamp_max) = (9, 8));
    assert!(matches!(crossed, Fault::Range { got: 8, low: 9, .. }));
    let infinite = requantize_after(|message| {
        message.set_mode(proto::requantize::Mode::Float);
        message.scale = vec![f32::INFINITY];
    });
    assert!(matches!(infinite, Fault::Float { .. }));
}

#[test]
fn a_float_output_of_a_layer_with_weights_has_scales_alone() {
    let change = |network: &mut proto::Network, change: &dyn Fn(&mut proto::Requantize)| {
        let tensor = &mut network.tensors[8];
        tensor.set_element_type(proto::ElementType::F32);
        (tensor.scale, tensor.zero_point) = (0.0, 0);
        network.layers.truncate(6);
        (network.outputs, network.tensors[9].constant) = (vec![8], Some(vec![0; 20]));
        let message = op!(network.layers[5], InnerProduct).requantize.as_mut().unwrap();
        *message = proto::Requantize { scale: vec![0.5; 5], ..Default::default() };
        message.set_mode(proto::requantize::Mode::Float);
        change(message);
    };
    let mut sample = small_network();
    change(&mut sample.network, &|_| ());
    assert!(Engine::load(&sample.file(), Isa::Scalar, 1).is_ok());
    let fault = |edit: &dyn Fn(&mut proto::Requantize)| {
        let error = error_after(|network| change(network, edit));
        let Error::Layer { fault, .. } = error else { panic!("not of a layer: {error}") };
        fault
    };
    let mismatch = |what: &'static str, want: &str, got: &str| Fault::Mismatch {
        what,
        want: want.to_owned(),
        got: got.to_owned(),
    };
    let double = fault(&|message| message.set_mode(proto::requantize::Mode::Double));
    assert_eq!(double, mismatch("requantize.mode", "FLOAT", "DOUBLE"));
    let zero_point = fault(&|message| message.zero_point = 1);
    assert_eq!(zero_point, mismatch("requantize.zero_point", "0", "1"));
    let clamp_min = fault(&|message| message.clamp_min = -1);
    assert_eq!(clamp_min, mismatch("requantize.clamp_min", "0", "-1"));
    let clamp_max = fault(&|message| message.clamp_max = 1);
    assert_eq!(clamp_max, mismatch("requantize.clamp_max", "0", "1"));
    assert!(matches!(fault(&|message| message.scale = vec![0.5; 4]), Fault::Count { .. }));
    assert!(matches!(fault(&|message| message.scale[1] = f32::NAN), Fault::Float { .. }));
    assert!(matches!(fault(&|message| message.real_bias = vec![0.5; 4]), Fault::Count { .. }));
    assert!(matches!(fault(&|message| message.real_bias = vec![f32::NAN]), Fault::Float { .. }));
    let integer = requantize_after(|message| message.real_bias = vec![0.5]);
    assert_eq!(integer, Fault::Count { what: "requantize.real_bias", want: 0, got: 1 });
    let added = |bias: Vec<f32>| {
        requantize_after(|message| {
            message.set_mode(proto::requantize::Mode::Float);
            (message.scale, message.real_bias) = (vec![0.5], bias.clone());
        })
    };
    assert!(matches!(added(vec![0.5; 7]), Fault::Count { want: 8, got: 7, .. }));
    assert!(matches!(added(vec![f32::INFINITY]), Fault::Float { .. }));
}

#[test]
fn a_sum_may_not_shift() {
    let fault = fault_after(2, |layer| {
        let message = op!(layer, Sum).requantize.as_mut().unwrap();
        message.set_mode(proto::requantize::Mode::Shift);
    });
    let (want, got) = ("FIXED or FLOAT or TWICE_ROUNDED or REAL".to_owned(), "SHIFT".to_owned());
    assert_eq!(fault, Fault::Mismatch { what: "requantize.mode", want, got });
}

#[test]
fn a_sum_of_real_values_has_two_scales_and_a_constant() {
    let fault = fault_after(2, |layer| {
        let message = op!(layer, Sum).requantize.as_mut().unwrap();
        message.set_mode(proto::requantize::Mode::Real);
        message.scale = vec![1.0; 2];
    });
    assert_eq!(fault, Fault::Count { what: "requantize.scale", want: 3, got: 2 });
}

#[test]
fn a_softmax_to_integers_rounds_real_values_only() {
    let fault = fault_after(6, |layer| {
        let requantize = proto::Requantize { shift: vec![0], ..Default::default() };
        op!(layer, Softmax).requantize = Some(requantize);
    });
    let (want, got) = ("REAL".to_owned(), "UNSPECIFIED".to_owned());
    assert_eq!(fault, Fault::Mismatch { what: "requantize.mode", want, got });
}

#[test]
fn broken_pools_are_refused() {
    let pool =
        |change: fn(&mut proto::MaxPool)| fault_after(1, |layer| change(op!(layer, MaxPool)));
    assert!(matches!(pool(|op| op.kernel = vec![0, 1]), Fault::Range { .. }));
    let empty = pool(|op| op.pad = vec![3, 0]);
    assert_eq!(empty, Fault::EmptyWindow { axis: 0, position: 0 });
    let beyond = pool(|op| op.stride = vec![1, 2]);
    assert_eq!(beyond, Fault::EmptyWindow { axis: 1, position: 4 });
    assert!(matches!(pool(|op| op.stride = vec![u32::MAX; 2]), Fault::EmptyWindow { .. }));
    assert!(matches!(
        pool(|op| op.dilation = vec![u32::MAX; 2]),
        Fault::EmptyWindow { .. } | Fault::Range { .. }
    ));
    let average = |change: fn(&mut proto::AveragePool)| {
        fault_after(3, |layer| change(op!(layer, AveragePool)))
    };
    assert!(matches!(average(|op| op.count = vec![35]), Fault::Mismatch { what: "count", .. }));
    assert!(matches!(average(|op| op.count = vec![36, 36]), Fault::Range { .. }));
    assert!(matches!(average(|op| op.count.clear()), Fault::Missing { .. }));
    assert!(matches!(average(|op| op.pad.truncate(2)), Fault::Count { .. }));
}

#[test]
fn broken_tables_are_refused() {
    let softmax = |change: fn(&mut Vec<f32>)| {
        fault_after(6, |layer| change(&mut op!(layer, Softmax).exponential))
    };
    assert!(matches!(softmax(|table| table.truncate(255)), Fault::Count { got: 255, .. }));
    assert!(matches!(softmax(|table| table[3] = f32::NAN), Fault::Float { index: 3, .. }));
    assert!(matches!(softmax(|table| table[0] = 0.0), Fault::Float { index: 0, .. }));
}

#[test]
fn a_window_that_reaches_too_far_is_refused() {
    let pool = proto::MaxPool {
        kernel: vec![1, 1],
        stride: vec![u32::MAX, 1],
        dilation: vec![1, 1],
        pad: vec![0, 0],
    };
    let error = moved(&[1, 400, 4, 2], Op::MaxPool(pool)).unwrap();
    assert!(error.to_string().contains("the greatest coordinate of a window"), "{error}");
}

/// A layer from u8 \[1, 4, 4, 2\] to u8 of a shape.
fn moved(shape: &[usize], op: Op) -> Option<Error> {
    let mut sample = Sample::default();
    let x = sample.input(crate::element::ElementType::U8, &[1, 4, 4, 2], 0);
    let y = sample.tensor(crate::element::ElementType::U8, shape, 0);
    sample.output_layer(&[x], y, op);
    Engine::load(&sample.file(), Isa::Scalar, 1).err()
}

#[test]
fn broken_movements_are_refused() {
    let transpose = |perm: &[u32]| Op::Transpose(proto::Transpose { perm: perm.to_vec() });
    assert_eq!(moved(&[1, 2, 4, 4], transpose(&[0, 3, 1, 2])), None);
    assert!(moved(&[1, 4, 2, 4], transpose(&[0, 3, 1, 2])).is_some());
    assert!(moved(&[1, 4, 4, 2], transpose(&[0, 1, 1, 3])).is_some());
    assert!(moved(&[1, 4, 4, 2], transpose(&[0, 1, 2, 9])).is_some());
    assert!(moved(&[1, 4, 4, 2], transpose(&[0, 1, 2])).is_some());
    assert!(moved(&[31], Op::Reshape(proto::Reshape {})).is_some());
    assert!(moved(&[1, 4, 4, 2], Op::Concat(proto::Concat { axis: 4 })).is_some());
    assert!(moved(&[1, 5, 4, 2], Op::Concat(proto::Concat { axis: 1 })).is_some());
    let slice = |start: u32, step: i32| {
        Op::Slice(proto::Slice { start: vec![0, start, 0, 0], step: vec![1, step, 1, 1] })
    };
    assert_eq!(moved(&[1, 2, 4, 2], slice(1, 2)), None);
    assert!(moved(&[1, 3, 4, 2], slice(1, 2)).is_some());
    assert!(moved(&[1, 1, 4, 2], slice(4, 1)).is_some());
    assert!(moved(&[1, 2, 4, 2], slice(0, 0)).is_some());
    assert!(moved(&[1, 2, 4, 2], slice(0, i32::MIN)).is_some());
    let pad = |begin: u32, mode: proto::pad::Mode, value: i32| {
        let (begin, end) = (vec![0, begin, 0, 0], vec![0; 4]);
        let mut op = proto::Pad { begin, end, value, ..Default::default() };
        op.set_mode(mode);
        Op::Pad(op)
    };
    assert_eq!(moved(&[1, 7, 4, 2], pad(3, proto::pad::Mode::Reflect, 0)), None);
    assert!(moved(&[1, 8, 4, 2], pad(4, proto::pad::Mode::Reflect, 0)).is_some());
    assert!(moved(&[1, 8, 4, 2], pad(4, proto::pad::Mode::Constant, 256)).is_some());
    assert!(moved(&[1, 8, 4, 2], pad(4, proto::pad::Mode::Unspecified, 0)).is_some());
    assert!(moved(&[1, 9, 4, 2], pad(4, proto::pad::Mode::Edge, 0)).is_some());
}

#[test]
fn broken_gathers_are_refused() {
    let gather =
        |axis: u32, index: &[u32]| Op::Gather(proto::Gather { axis, index: index.to_vec() });
    assert_eq!(moved(&[1, 4, 3, 2], gather(2, &[3, 0, 3])), None);
    assert!(moved(&[1, 4, 3, 2], gather(2, &[3, 0, 4])).is_some());
    assert!(moved(&[1, 4, 3, 2], gather(2, &[3, 0])).is_some());
    assert!(moved(&[1, 4, 3, 2], gather(4, &[0, 0, 0])).is_some());
}

/// A layer from u8 of shapes to u8 of a shape.
fn computed(inputs: &[&[usize]], shape: &[usize], op: Op) -> Option<Error> {
    let mut sample = Sample::default();
    let u8 = crate::element::ElementType::U8;
    let inputs: Vec<u32> = inputs.iter().map(|shape| sample.input(u8, shape, 0)).collect();
    let y = sample.tensor(u8, shape, 0);
    sample.output_layer(&inputs, y, op);
    Engine::load(&sample.file(), Isa::Scalar, 1).err()
}

#[test]
fn broken_reductions_are_refused() {
    let reduce = |kind: proto::reduce::Kind, rounding: Option<Rounding>| {
        let requantize =
            rounding.and_then(|rounding| requantize(&Requantizer { rounding, ..requantizer(0) }));
        let mut op = proto::Reduce { requantize, ..Default::default() };
        op.set_kind(kind);
        Op::Reduce(op)
    };
    let (shift, double) = (|| Some(Rounding::Shift(vec![1])), || Some(Rounding::Double(vec![0.5])));
    use proto::reduce::Kind;
    let from = |shape: &[usize], op: Op| computed(&[&[2, 3, 4]], shape, op);
    assert_eq!(from(&[2, 4], reduce(Kind::Sum, shift())), None);
    assert_eq!(from(&[2, 4], reduce(Kind::RootOfSquares, double())), None);
    assert_eq!(from(&[2, 4], reduce(Kind::Least, None)), None);
    assert!(from(&[2, 1, 4], reduce(Kind::Sum, shift())).is_some());
    assert!(from(&[2, 3], reduce(Kind::Sum, shift())).is_some());
    assert!(from(&[2, 4], reduce(Kind::Sum, None)).is_some());
    assert!(from(&[2, 4], reduce(Kind::Greatest, shift())).is_some());
    assert!(from(&[2, 4], reduce(Kind::RootOfSquares, shift())).is_some());
    assert!(from(&[2, 4], reduce(Kind::Unspecified, shift())).is_some());
    assert!(computed(&[&[6, 4]], &[6, 4], reduce(Kind::Sum, shift())).is_some());
}

#[test]
fn broken_orders_of_elements_are_refused() {
    let top_k = || Op::TopK(proto::TopK { least: false, higher_first: false });
    let from = |input: &[usize], shape: &[usize]| computed(&[input], shape, top_k());
    assert_eq!(from(&[2, 3, 4], &[2, 2, 4]), None);
    assert!(from(&[2, 3, 4], &[2, 4, 4]).is_some());
    assert!(from(&[2, 3, 4], &[2, 2, 3]).is_some());
    assert!(from(&[2, 3, 4], &[1, 2, 4]).is_some());
    assert!(from(&[6, 4], &[2, 4]).is_some());
    assert!(computed(&[&[2, 3, 4], &[2, 3, 4]], &[2, 2, 4], top_k()).is_some());
}

#[test]
fn positions_only_leave_a_network() {
    use crate::element::ElementType;
    let positions = || {
        let mut sample = Sample::default();
        let x = sample.input(ElementType::U8, &[2, 3, 4], 0);
        let y = sample.tensor(ElementType::S64, &[2, 1, 4], 0);
        let op = proto::TopK { least: false, higher_first: false };
        sample.output_layer(&[x], y, Op::TopK(op));
        (sample, y)
    };
    let error = |sample: &Sample| Engine::load(&sample.file(), Isa::Scalar, 1).err();
    let (mut sample, y) = positions();
    assert_eq!(error(&sample), None);
    let flat = sample.tensor(ElementType::S64, &[8], 0);
    sample.output_layer(&[y], flat, Op::Reshape(proto::Reshape {}));
    assert_eq!(error(&sample), None);
    let read = |op: Op, to: ElementType| {
        let (mut sample, y) = positions();
        let z = sample.tensor(to, &[2, 1, 4], 0);
        sample.output_layer(&[y], z, op);
        error(&sample).map(|error| error.to_string()).unwrap_or_default()
    };
    let transpose = || Op::Transpose(proto::Transpose { perm: vec![0, 1, 2] });
    assert!(read(transpose(), ElementType::S64).contains("an input's element type"));
    assert!(read(Op::Reshape(proto::Reshape {}), ElementType::S32).contains("element type"));
    let mut sample = Sample::default();
    let x = sample.input(ElementType::S32, &[2, 1, 4], 0);
    let y = sample.tensor(ElementType::S32, &[8], 0);
    sample.output_layer(&[x], y, Op::Reshape(proto::Reshape {}));
    assert!(matches!(error(&sample), Some(Error::Network { fault: Fault::Mismatch { .. } })));
    let (mut sample, _) = positions();
    sample.constant(ElementType::S32, &[1], 0, &[1]);
    assert!(matches!(error(&sample), Some(Error::Tensor { fault: Fault::Mismatch { .. }, .. })));
    let (mut sample, _) = positions();
    sample.network.tensors[1].zero_point = 1;
    assert!(error(&sample).is_some());
    let mut sample = Sample::default();
    let x = sample.input(ElementType::U8, &[2, 3, 4], 0);
    let y = sample.tensor(ElementType::S64, &[2, 3, 4], 0);
    sample.output_layer(&[x], y, transpose());
    assert!(matches!(error(&sample), Some(Error::Layer { .. })));
}

#[test]
fn broken_divisions_are_refused() {
    let divide = |rounding: Rounding| {
        let requantize = requantize(&Requantizer { rounding, ..requantizer(0) });
        Op::Division(proto::Division { requantize })
    };
    let fixed = || divide(Rounding::Fixed { multiplier: vec![3], shift: vec![1] });
    let of = |shapes: &[&[usize]], op: Op| computed(shapes, &[2, 3], op);
    assert_eq!(of(&[&[2, 3], &[3]], fixed()), None);
    assert_eq!(of(&[&[2, 3], &[2, 3]], divide(Rounding::Float(vec![0.5, 0.25]))), None);
    assert!(of(&[&[2, 3], &[2, 3]], divide(Rounding::Float(vec![0.5]))).is_some());
    assert!(of(&[&[2, 3], &[2, 3]], divide(Rounding::Shift(vec![1]))).is_some());
    assert!(of(&[&[2, 3], &[2]], fixed()).is_some());
    assert!(of(&[&[2, 3]], fixed()).is_some());
}

#[test]
fn broken_real_weights_are_refused() {
    let resize = |share: f32, weight_bits: u32, quotient: bool| {
        let map = |count: usize| proto::resize::AxisMap {
            low: vec![1; count],
            high: vec![0; count],
            weight_high: Vec::new(),
            fraction: vec![share; count],
        };
        let mut own = requantizer(0);
        if quotient {
            own.rounding = Rounding::Quotient(Vec::new());
        }
        Op::Resize(proto::Resize {
            height: Some(map(8)),
            width: Some(map(4)),
            weight_bits,
            requantize: requantize(&own),
            real_weights: true,
        })
    };
    assert_eq!(moved(&[1, 8, 4, 2], resize(0.5, 0, true)), None);
    assert!(moved(&[1, 8, 4, 2], resize(1.5, 0, true)).is_some());
    assert!(moved(&[1, 8, 4, 2], resize(f32::NAN, 0, true)).is_some());
    assert!(moved(&[1, 8, 4, 2], resize(0.5, 1, true)).is_some());
    assert!(moved(&[1, 8, 4, 2], resize(0.5, 0, false)).is_some());
    assert!(moved(&[1, 9, 4, 2], resize(0.5, 0, true)).is_some());
}

#[test]
fn broken_resizes_are_refused() {
    let resize = |low: u32, weight_high: u32, weight_bits: u32| {
        let map = |count: usize| proto::resize::AxisMap {
            low: vec![low; count],
            high: vec![0; count],
            weight_high: vec![weight_high; count],
            fraction: Vec::new(),
        };
        Op::Resize(proto::Resize {
            height: Some(map(8)),
            width: Some(map(4)),
            weight_bits,
            requantize: requantize(&requantizer(0)),
            real_weights: false,
        })
    };
    assert_eq!(moved(&[1, 8, 4, 2], resize(3, 2, 1)), None);
    assert!(moved(&[1, 8, 4, 2], resize(4, 2, 1)).is_some());
    assert!(moved(&[1, 8, 4, 2], resize(3, 3, 1)).is_some());
    assert!(moved(&[1, 8, 4, 2], resize(3, 2, 16)).is_some());
    assert!(moved(&[1, 9, 4, 2], resize(3, 2, 1)).is_some());
}
