//! Rules for layers of two features and of whole rows.

use super::requantizer;
use crate::element::ElementType;
use crate::error::Error;
use crate::fixed::{Requantizer, Rounding};
use crate::isa::Isa;
use crate::network::Engine;
use crate::network::proto::{self, layer::Op};
use crate::network::sample::{Sample, requantize};

/// The error of a layer from features of types and shapes to u8 of a shape.
fn refused(inputs: &[(ElementType, &[usize])], shape: &[usize], op: Op) -> Option<Error> {
    let mut sample = Sample::default();
    let inputs: Vec<u32> =
        inputs.iter().map(|(kind, shape)| sample.input(*kind, shape, 0)).collect();
    let y = sample.tensor(ElementType::U8, shape, 0);
    sample.output_layer(&inputs, y, op);
    Engine::load(&sample.file(), Isa::Scalar, 1).err()
}

const U8: ElementType = ElementType::U8;
const F32: ElementType = ElementType::F32;

fn of(rounding: Rounding) -> Option<proto::Requantize> {
    requantize(&Requantizer { rounding, ..requantizer(0) })
}

fn shifted() -> Option<proto::Requantize> {
    of(Rounding::Shift(vec![1]))
}

#[test]
fn broken_matrix_products_are_refused() {
    let product = |requantize| Op::MatrixProduct(proto::MatrixProduct { requantize });
    let (a, b): (&[usize], &[usize]) = (&[2, 3, 4], &[2, 5, 4]);
    let with = |a, b, shape: &[usize]| refused(&[(U8, a), (U8, b)], shape, product(shifted()));
    assert_eq!(with(a, b, &[2, 3, 5]), None);
    assert_eq!(with(a, &[5, 4], &[2, 3, 5]), None);
    assert_eq!(with(a, &[1, 5, 4], &[2, 3, 5]), None);
    // The shape of the output, the common axis, leading axes, ranks.
    assert!(with(a, b, &[2, 3, 4]).is_some());
    assert!(with(a, &[2, 5, 3], &[2, 3, 5]).is_some());
    assert!(with(a, &[3, 5, 4], &[2, 3, 5]).is_some());
    assert!(with(&[3, 4], b, &[2, 3, 5]).is_some());
    assert!(with(&[4], &[4], &[1]).is_some());
    let one = refused(&[(U8, a)], &[2, 3, 5], product(shifted()));
    assert!(one.is_some());
    let float = refused(&[(U8, a), (F32, b)], &[2, 3, 5], product(shifted()));
    assert!(float.is_some());
    let both = |requantize| refused(&[(U8, a), (U8, b)], &[2, 3, 5], product(requantize));
    assert!(both(None).is_some());
    assert!(both(of(Rounding::Shift(vec![1; 5]))).is_some());
    assert!(both(of(Rounding::Quotient(vec![4]))).is_some());
    let biased = Rounding::Biased { scale: vec![0.5], bias: vec![0.5] };
    assert!(both(of(biased)).is_some());
}

#[test]
fn broken_powers_are_refused() {
    let plain = proto::Power {
        logarithm: vec![0.5; 256],
        sign: vec![-1; 256],
        exponent: vec![2.0; 256],
        parity: vec![2; 256],
        gain: 0.5,
    };
    let after = |change: &dyn Fn(&mut proto::Power)| {
        let mut message = plain.clone();
        change(&mut message);
        refused(&[(U8, &[2, 3]), (U8, &[3])], &[2, 3], Op::Power(message))
    };
    assert_eq!(after(&|_| ()), None);
    assert!(after(&|m| m.logarithm[9] = f64::NEG_INFINITY).is_some());
    assert!(after(&|m| m.logarithm.truncate(255)).is_some());
    assert!(after(&|m| m.sign[1] = 2).is_some());
    assert!(after(&|m| m.sign.push(0)).is_some());
    assert!(after(&|m| m.exponent[0] = f64::NAN).is_some());
    assert!(after(&|m| m.exponent.clear()).is_some());
    assert!(after(&|m| m.parity[255] = 3).is_some());
    assert!(after(&|m| m.gain = 0.0).is_some());
    let op = || Op::Power(plain.clone());
    assert!(refused(&[(U8, &[2, 3])], &[2, 3], op()).is_some());
    assert!(refused(&[(U8, &[2, 3]), (U8, &[2])], &[2, 3], op()).is_some());
    assert!(refused(&[(U8, &[2, 3]), (F32, &[3])], &[2, 3], op()).is_some());
    assert!(refused(&[(U8, &[2, 3]), (ElementType::U16, &[3])], &[2, 3], op()).is_some());
}

#[test]
fn broken_scattered_products_are_refused() {
    let with = |target: &[u32], gain: f64| {
        let message = proto::ScatteredProduct { target: target.to_vec(), gain };
        Op::ScatteredProduct(message)
    };
    let inputs: [(ElementType, &[usize]); 2] = [(U8, &[2, 3]), (ElementType::S16, &[4])];
    let of = |op: Op| refused(&inputs, &[2, 3], op);
    assert_eq!(of(with(&[0, 5, 5, 5], 0.5)), None);
    assert!(of(with(&[0, 5, 6, 5], 0.5)).is_some());
    assert!(of(with(&[0, 5, 5], 0.5)).is_some());
    for gain in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(of(with(&[0, 5, 5, 5], gain)).is_some());
    }
    let op = || with(&[0, 5, 5, 5], 0.5);
    assert!(refused(&inputs, &[3, 2], op()).is_some());
    assert!(refused(&inputs[..1], &[2, 3], op()).is_some());
    assert!(refused(&[(U8, &[2, 3]), (F32, &[4])], &[2, 3], op()).is_some());
    assert!(refused(&[(F32, &[2, 3]), (U8, &[4])], &[2, 3], op()).is_some());
}

#[test]
fn broken_normalizations_are_refused() {
    let plain = proto::Normalization {
        centred: true,
        epsilon: 0.5,
        gain: vec![1.0],
        shift: vec![0.0; 4],
        by_row: false,
    };
    let after = |change: &dyn Fn(&mut proto::Normalization)| {
        let mut message = plain.clone();
        change(&mut message);
        refused(&[(U8, &[2, 3, 4])], &[2, 3, 4], Op::Normalization(message))
    };
    assert_eq!(after(&|_| ()), None);
    assert_eq!(after(&|m| (m.by_row, m.shift) = (true, vec![0.0; 3])), None);
    assert!(after(&|m| m.epsilon = -1.0).is_some());
    assert!(after(&|m| m.epsilon = f64::NAN).is_some());
    assert!(after(&|m| m.gain.clear()).is_some());
    assert!(after(&|m| m.gain = vec![1.0; 3]).is_some());
    assert!(after(&|m| m.shift[3] = f64::INFINITY).is_some());
    // Four rows do not go into six.
    assert!(after(&|m| m.by_row = true).is_some());
    assert!(after(&|m| (m.by_row, m.shift) = (true, Vec::new())).is_some());
    let op = || Op::Normalization(plain.clone());
    assert!(refused(&[(U8, &[2, 3, 4])], &[2, 12], op()).is_some());
    assert!(refused(&[(F32, &[2, 3, 4])], &[2, 3, 4], op()).is_some());
    assert!(refused(&[(U8, &[2, 3, 4]), (U8, &[4])], &[2, 3, 4], op()).is_some());
}

#[test]
fn broken_samples_at_places_are_refused() {
    let plain = proto::GridSample {
        multiplier: vec![3, -3],
        offset: vec![1 << 52, -(1 << 52)],
        shift: 62,
        fraction_bits: 15,
        nearest: false,
        cubic: false,
        padding: proto::grid_sample::Padding::Border.into(),
        requantize: shifted(),
    };
    let (x, grid): (&[usize], &[usize]) = (&[2, 3, 4, 5], &[2, 6, 7, 2]);
    let after = |change: &dyn Fn(&mut proto::GridSample)| {
        let mut message = plain.clone();
        change(&mut message);
        refused(&[(U8, x), (U8, grid)], &[2, 6, 7, 5], Op::GridSample(message))
    };
    assert_eq!(after(&|_| ()), None);
    assert!(after(&|m| m.multiplier[1] = i32::MIN).is_some());
    assert!(after(&|m| m.multiplier.truncate(1)).is_some());
    assert!(after(&|m| m.offset[0] += 1).is_some());
    assert!(after(&|m| m.offset.push(0)).is_some());
    assert!(after(&|m| m.shift = 63).is_some());
    assert!(after(&|m| m.fraction_bits = 21).is_some());
    assert!(after(&|m| m.padding = 0).is_some());
    assert!(after(&|m| m.padding = 9).is_some());
    assert_eq!(after(&|m| m.cubic = true), None);
    assert!(after(&|m| (m.cubic, m.nearest) = (true, true)).is_some());
    assert!(after(&|m| m.requantize = None).is_some());
    let of = |x: &[usize], grid: &[usize], y: &[usize]| {
        refused(&[(U8, x), (U8, grid)], y, Op::GridSample(plain.clone()))
    };
    assert!(of(x, grid, &[2, 6, 7, 4]).is_some());
    assert!(of(x, &[1, 6, 7, 2], &[1, 6, 7, 5]).is_some());
    assert!(of(x, &[2, 6, 7, 3], &[2, 6, 7, 5]).is_some());
    assert!(of(&[2, 4, 5], grid, &[2, 6, 7, 5]).is_some());
    let float = refused(&[(U8, x), (F32, grid)], &[2, 6, 7, 5], Op::GridSample(plain.clone()));
    assert!(float.is_some());
}

#[test]
fn broken_deformable_convolutions_are_refused() {
    let plain = proto::DeformableConvolution {
        weight: 0,
        stride: vec![1, 2],
        dilation: vec![1, 1],
        pad: vec![0, 1],
        groups: 1,
        offset_groups: 2,
        gain: vec![0.5],
        shift: vec![0.0; 3],
        clamp_min: 3,
        clamp_max: 255,
    };
    let shapes: [&[usize]; 4] = [&[2, 5, 4, 6], &[2, 7, 8, 16], &[2, 7, 8, 8], &[2, 7, 8, 3]];
    let refused = |[x, offsets, mask, y]: [&[usize]; 4],
                   kind: ElementType,
                   change: &dyn Fn(&mut proto::DeformableConvolution)| {
        let mut sample = Sample::default();
        let weight = sample.constant(ElementType::S8, &[3, 2, 2, 6], 0, &[1; 72]);
        let mut message = proto::DeformableConvolution { weight, ..plain.clone() };
        change(&mut message);
        let inputs = [(U8, x), (kind, offsets), (U8, mask)];
        let inputs = inputs.map(|(kind, shape)| sample.input(kind, shape, 0));
        let y = sample.tensor(U8, y, 0);
        sample.output_layer(&inputs, y, Op::DeformableConvolution(message));
        Engine::load(&sample.file(), Isa::Scalar, 1).err()
    };
    let after = |change: &dyn Fn(&mut proto::DeformableConvolution)| refused(shapes, U8, change);
    assert_eq!(after(&|_| ()), None);
    assert!(after(&|m| m.weight = 1).is_some());
    assert!(after(&|m| m.stride[0] = 0).is_some());
    assert!(after(&|m| m.pad.truncate(1)).is_some());
    assert!(after(&|m| m.dilation = vec![u32::MAX; 2]).is_none());
    assert!(after(&|m| m.groups = 0).is_some());
    assert!(after(&|m| m.groups = 4).is_some());
    assert!(after(&|m| m.offset_groups = 3).is_some());
    assert!(after(&|m| m.gain[0] = f64::NAN).is_some());
    assert!(after(&|m| m.gain.clear()).is_some());
    assert!(after(&|m| m.shift = vec![0.0; 2]).is_some());
    assert!(after(&|m| m.clamp_max = 256).is_some());
    assert!(after(&|m| m.clamp_min = 256).is_some());
    let [x, offsets, mask, y] = shapes;
    assert!(refused([x, offsets, mask, y], F32, &|_| ()).is_some());
    assert!(refused([&x[1..], offsets, mask, y], U8, &|_| ()).is_some());
    assert!(refused([x, &[2, 7, 8, 8], mask, y], U8, &|_| ()).is_some());
    assert!(refused([x, offsets, &[2, 7, 8, 4], y], U8, &|_| ()).is_some());
    assert!(refused([x, offsets, mask, &[2, 7, 8, 4]], U8, &|_| ()).is_some());
}

#[test]
fn broken_windows_of_a_resize_are_refused() {
    let windows = |taps: u32, outputs: u32| proto::windowed_resize::AxisWindows {
        taps,
        position: (0..taps * outputs).map(|tap| tap % 3).collect(),
        weight: vec![1 << 20; (taps * outputs) as usize],
    };
    let plain = proto::WindowedResize {
        height: Some(windows(4, 5)),
        width: Some(windows(1, 6)),
        requantize: shifted(),
    };
    let (x, y): (&[usize], &[usize]) = (&[2, 3, 4, 7], &[2, 5, 6, 7]);
    let after = |change: &dyn Fn(&mut proto::WindowedResize)| {
        let mut message = plain.clone();
        change(&mut message);
        refused(&[(U8, x)], y, Op::WindowedResize(message))
    };
    assert_eq!(after(&|_| ()), None);
    assert!(after(&|m| m.height = None).is_some());
    assert!(after(&|m| m.height = Some(windows(5, 5))).is_some());
    assert!(after(&|m| m.height = Some(windows(4, 4))).is_some());
    assert!(after(&|m| m.width = Some(windows(0, 6))).is_some());
    assert!(after(&|m| m.width.as_mut().unwrap().position[5] = 4).is_some());
    assert!(after(&|m| m.width.as_mut().unwrap().weight.truncate(5)).is_some());
    assert!(after(&|m| m.requantize = None).is_some());
    let of = |x: &[usize], y: &[usize]| refused(&[(U8, x)], y, Op::WindowedResize(plain.clone()));
    assert!(of(x, &[2, 5, 6, 8]).is_some());
    assert!(of(&[2, 3, 7], &[2, 6, 7]).is_some());
}
