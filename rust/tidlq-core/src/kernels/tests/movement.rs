//! Operations that move elements.

use super::check_cases;
use crate::element::ElementType;
use crate::isa::isa_tests;
use crate::network::proto::{self, layer::Op, pad::Mode};
use crate::network::sample::{Random, Sample};

fn shape(random: &mut Random) -> Vec<usize> {
    let rank = random.size(1, 4);
    (0..rank).map(|_| random.pick(&[1, 2, 3, 5, 17])).collect()
}

fn any_type(random: &mut Random) -> (ElementType, i32) {
    let element_type = random.pick(&[
        ElementType::U8,
        ElementType::S8,
        ElementType::U16,
        ElementType::S16,
        ElementType::F32,
    ]);
    let is_float = element_type == ElementType::F32;
    (element_type, if is_float { 0 } else { random.value(element_type) })
}

fn concat(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let element_type = random.integer_type();
    let zero_point = random.value(element_type);
    let mut shape = shape(random);
    let axis = random.size(0, shape.len() - 1);
    let mut total = 0;
    let inputs: Vec<u32> = (0..random.pick(&[1, 2, 3, 11]))
        .map(|_| {
            shape[axis] = random.size(1, 6);
            total += shape[axis];
            sample.input(element_type, &shape, zero_point)
        })
        .collect();
    shape[axis] = total;
    let y = sample.tensor(element_type, &shape, zero_point);
    sample.output_layer(&inputs, y, Op::Concat(proto::Concat { axis: axis as u32 }));
    sample
}

fn transpose(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (element_type, zero_point) = any_type(random);
    let shape = shape(random);
    let mut perm: Vec<usize> = (0..shape.len()).collect();
    for i in (1..perm.len()).rev() {
        perm.swap(i, random.size(0, i));
    }
    let x = sample.input(element_type, &shape, zero_point);
    let out: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
    let y = sample.tensor(element_type, &out, zero_point);
    let perm = perm.iter().map(|&axis| axis as u32).collect();
    sample.output_layer(&[x], y, Op::Transpose(proto::Transpose { perm }));
    sample
}

fn pad(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let element_type = random.integer_type();
    let zero_point = random.value(element_type);
    let shape = shape(random);
    let mode = random.pick(&[Mode::Constant, Mode::Reflect, Mode::Edge]);
    let amount = |random: &mut Random, size: usize| {
        random.size(0, if mode == Mode::Reflect { (size - 1).min(3) } else { 3 })
    };
    let begin: Vec<usize> = shape.iter().map(|&size| amount(random, size)).collect();
    let end: Vec<usize> = shape.iter().map(|&size| amount(random, size)).collect();
    let out: Vec<usize> =
        (0..shape.len()).map(|axis| shape[axis] + begin[axis] + end[axis]).collect();
    let x = sample.input(element_type, &shape, zero_point);
    let y = sample.tensor(element_type, &out, zero_point);
    let list = |sizes: &[usize]| sizes.iter().map(|&size| size as u32).collect();
    let mut op = proto::Pad {
        begin: list(&begin),
        end: list(&end),
        value: zero_point,
        ..Default::default()
    };
    op.set_mode(mode);
    sample.output_layer(&[x], y, Op::Pad(op));
    sample
}

fn slice(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (element_type, zero_point) = any_type(random);
    let shape = shape(random);
    let (mut start, mut step, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for &size in &shape {
        let first = random.size(0, size - 1) as i64;
        let stride = random.pick(&[1, 1, 2, 3, -1, -2]);
        let room = if stride > 0 { size as i64 - 1 - first } else { first };
        start.push(first as u32);
        out.push(random.within(0, room / i64::from(stride).abs()) as usize + 1);
        step.push(stride);
    }
    let x = sample.input(element_type, &shape, zero_point);
    let y = sample.tensor(element_type, &out, zero_point);
    sample.output_layer(&[x], y, Op::Slice(proto::Slice { start, step }));
    sample
}

fn gather(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (element_type, zero_point) = any_type(random);
    let shape = shape(random);
    let axis = random.size(0, shape.len() - 1);
    let mut out = shape.clone();
    out[axis] = random.pick(&[1, 2, 7, 40]);
    let index = (0..out[axis]).map(|_| random.size(0, shape[axis] - 1) as u32).collect();
    let x = sample.input(element_type, &shape, zero_point);
    let y = sample.tensor(element_type, &out, zero_point);
    sample.output_layer(&[x], y, Op::Gather(proto::Gather { axis: axis as u32, index }));
    sample
}

/// A slice, reshaped and transposed: a reshape shares memory with a layer's output.
fn reshape(random: &mut Random) -> Sample {
    let mut sample = Sample::default();
    let (element_type, zero_point) = any_type(random);
    let x = sample.input(element_type, &[4, 6], zero_point);
    let part = sample.tensor(element_type, &[4, 6], zero_point);
    let flat = sample.tensor(element_type, &[24], zero_point);
    let folded = sample.tensor(element_type, &[2, 12], zero_point);
    let y = sample.tensor(element_type, &[12, 2], zero_point);
    let slice = proto::Slice { start: vec![3, 0], step: vec![-1, 1] };
    sample.layer(&[x], part, Op::Slice(slice));
    sample.output_layer(&[part], flat, Op::Reshape(proto::Reshape {}));
    sample.layer(&[flat], folded, Op::Reshape(proto::Reshape {}));
    sample.output_layer(&[folded], y, Op::Transpose(proto::Transpose { perm: vec![1, 0] }));
    sample
}

isa_tests! {
    fn concat_equals_reference(cpu: Cpu) {
        check_cases(cpu, concat);
    }

    fn transpose_equals_reference(cpu: Cpu) {
        check_cases(cpu, transpose);
    }

    fn pad_equals_reference(cpu: Cpu) {
        check_cases(cpu, pad);
    }

    fn slice_equals_reference(cpu: Cpu) {
        check_cases(cpu, slice);
    }

    fn gather_equals_reference(cpu: Cpu) {
        check_cases(cpu, gather);
    }

    fn reshape_equals_reference(cpu: Cpu) {
        check_cases(cpu, reshape);
    }
}
