//! Loading, refusing and running whole networks.

#[allow(unsafe_code, reason = "a global allocator that counts")]
mod allocation;
mod corrupt;
mod homes;
mod memory;
mod patches;
mod refusals;
mod row_refusals;
mod running;
mod stepping;

use super::proto::{self, layer::Op};
use super::sample::{Random, Sample, requantize};
use crate::element::ElementType;
use crate::fixed::{Requantizer, Rounding};

fn requantizer(zero_point: i32) -> Requantizer {
    Requantizer {
        rounding: Rounding::Fixed { multiplier: vec![1 << 30], shift: vec![38] },
        zero_point,
        clamp_min: 0,
        clamp_max: 255,
    }
}

/// Convolution, max pool, residual sum, average pool, reshape, inner product, softmax.
fn small_network() -> Sample {
    let mut random = Random(7);
    let mut sample = Sample::default();
    let (u8, s8) = (ElementType::U8, ElementType::S8);
    let image = sample.input(u8, &[1, 6, 6, 3], 3);
    let values = random.values(s8, 8 * 9 * 3);
    let filter = sample.constant(s8, &[8, 3, 3, 3], 0, &values);
    let first = sample.tensor(u8, &[1, 6, 6, 8], 5);
    let pooled = sample.tensor(u8, &[1, 6, 6, 8], 5);
    let summed = sample.tensor(u8, &[1, 6, 6, 8], 9);
    let mean = sample.tensor(u8, &[1, 1, 1, 8], 9);
    let flat = sample.tensor(u8, &[1, 8], 9);
    let values = random.values(s8, 5 * 8);
    let matrix = sample.constant(s8, &[5, 8], 0, &values);
    let logits = sample.tensor(u8, &[1, 5], 100);
    let scores = sample.tensor(ElementType::F32, &[1, 5], 0);
    let op = proto::Convolution {
        weight: filter,
        bias: (0..8).collect(),
        stride: vec![1, 1],
        dilation: vec![1, 1],
        pad: vec![1, 1],
        groups: 1,
        requantize: requantize(&requantizer(5)),
    };
    sample.layer(&[image], first, Op::Convolution(op));
    let op = proto::MaxPool {
        kernel: vec![3, 3],
        stride: vec![1, 1],
        dilation: vec![1, 1],
        pad: vec![1, 1],
    };
    sample.layer(&[first], pooled, Op::MaxPool(op));
    let op = proto::Sum { requantize: requantize(&requantizer(9)), subtracted: Vec::new() };
    sample.layer(&[first, pooled], summed, Op::Sum(op));
    let op = proto::AveragePool {
        kernel: vec![6, 6],
        stride: vec![1, 1],
        dilation: vec![1, 1],
        pad: vec![0; 4],
        count: vec![36],
        requantize: requantize(&requantizer(9)),
        ..Default::default()
    };
    sample.layer(&[summed], mean, Op::AveragePool(op));
    sample.layer(&[mean], flat, Op::Reshape(proto::Reshape {}));
    let op = proto::InnerProduct {
        weight: matrix,
        bias: vec![0; 5],
        requantize: requantize(&requantizer(100)),
    };
    sample.output_layer(&[flat], logits, Op::InnerProduct(op));
    let exponential = (0..256).map(|d| (-f64::from(d) / 8.0).exp() as f32).collect();
    sample.output_layer(
        &[logits],
        scores,
        Op::Softmax(proto::Softmax { exponential, requantize: None }),
    );
    sample
}
