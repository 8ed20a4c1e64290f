//! Checks of the operations that move or interpolate elements.

use super::check::{
    Checked, count, floats, in_range, index, integer, present, same, same_quantization,
};
use super::layer::Scope;
use super::requantize::{Lists, requantizer};
use crate::error::Fault;
use crate::fixed::Rounding;
use crate::network::proto;
use crate::network::{Map2d, Pad, PadMode, Resize, ResizeAxis};

pub(super) fn concat(scope: &Scope<'_>, message: &proto::Concat) -> Checked<usize> {
    present("an input", scope.inputs.first())?;
    let output = scope.output();
    let axis = index("axis", message.axis, output.shape.len())?;
    let mut total = 0_usize;
    for position in 0..scope.inputs.len() {
        let input = scope.input(position);
        same_quantization(output, input)?;
        let mut shape = input.shape.clone();
        count("an input's shape", shape.len(), output.shape.len())?;
        total = total.saturating_add(shape[axis]);
        shape[axis] = output.shape[axis];
        same("an input's shape, the concatenated axis apart,", &shape, &output.shape)?;
    }
    same("the sum of the inputs' sizes along the axis", &total, &output.shape[axis])?;
    Ok(axis)
}

pub(super) fn reshape(scope: &Scope<'_>) -> Checked<()> {
    scope.arity(1)?;
    same_quantization(scope.output(), scope.input(0))?;
    same("the output's number of elements", &scope.output().elements(), &scope.input(0).elements())
}

pub(super) fn transpose(scope: &Scope<'_>, message: &proto::Transpose) -> Checked<Vec<usize>> {
    scope.arity(1)?;
    same_quantization(scope.output(), scope.input(0))?;
    let shape = &scope.input(0).shape;
    count("perm", message.perm.len(), shape.len())?;
    let mut is_used = vec![false; shape.len()];
    let mut perm = Vec::with_capacity(shape.len());
    for &axis in &message.perm {
        let axis = index("perm", axis, shape.len())?;
        if std::mem::replace(&mut is_used[axis], true) {
            return Err(Fault::Mismatch {
                what: "perm",
                want: "a permutation of the axes".to_owned(),
                got: format!("{:?}", message.perm),
            });
        }
        perm.push(axis);
    }
    let want: Vec<usize> = perm.iter().map(|&axis| shape[axis]).collect();
    same("the output's shape", &scope.output().shape, &want)?;
    Ok(perm)
}

pub(super) fn pad(scope: &Scope<'_>, message: &proto::Pad) -> Checked<Pad> {
    scope.arity(1)?;
    let input = scope.input(0);
    same_quantization(scope.output(), input)?;
    let (low, high) = integer("the input's element type", input)?;
    count("begin", message.begin.len(), input.shape.len())?;
    count("end", message.end.len(), input.shape.len())?;
    let mode = match message.mode() {
        proto::pad::Mode::Constant => {
            PadMode::Constant(in_range("value", message.value, i128::from(low), i128::from(high))?)
        }
        proto::pad::Mode::Reflect => PadMode::Reflect,
        proto::pad::Mode::Edge => PadMode::Edge,
        proto::pad::Mode::Unspecified => return Err(Fault::Missing { what: "mode" }),
    };
    let mut want = Vec::with_capacity(input.shape.len());
    for (axis, &size) in input.shape.iter().enumerate() {
        let (begin, end) = (message.begin[axis], message.end[axis]);
        if mode == PadMode::Reflect {
            index("begin", begin, size)?;
            index("end", end, size)?;
        }
        want.push(size + begin as usize + end as usize);
    }
    same("the output's shape", &scope.output().shape, &want)?;
    Ok(Pad { begin: message.begin.iter().map(|&begin| begin as usize).collect(), mode })
}

pub(super) fn slice(
    scope: &Scope<'_>,
    message: &proto::Slice,
) -> Checked<(Vec<usize>, Vec<isize>)> {
    scope.arity(1)?;
    let (input, output) = (scope.input(0), scope.output());
    same_quantization(output, input)?;
    count("start", message.start.len(), input.shape.len())?;
    count("step", message.step.len(), input.shape.len())?;
    same("the output's rank", &output.shape.len(), &input.shape.len())?;
    for axis in 0..input.shape.len() {
        let size = input.shape[axis];
        index("start", message.start[axis], size)?;
        let step = i128::from(message.step[axis]);
        if step == 0 {
            return Err(Fault::Mismatch {
                what: "step",
                want: "not zero".to_owned(),
                got: "0".to_owned(),
            });
        }
        let last = i128::from(message.start[axis]) + (output.shape[axis] as i128 - 1) * step;
        in_range("the last index of the slice", last, 0, size as i128 - 1)?;
    }
    let start = message.start.iter().map(|&start| start as usize).collect();
    let step = message.step.iter().map(|&step| step as isize).collect();
    Ok((start, step))
}

pub(super) fn resize(scope: &Scope<'_>, mut message: proto::Resize) -> Checked<Resize> {
    scope.arity(1)?;
    integer("the input's element type", scope.input(0))?;
    let rank = scope.input(0).shape.len();
    let map = |what, shape: &[usize]| {
        Map2d::of(shape).ok_or_else(|| Fault::Mismatch {
            what,
            want: "of rank 3 or 4".to_owned(),
            got: format!("{shape:?}"),
        })
    };
    let input = map("the input's shape", &scope.input(0).shape)?;
    let output = map("the output's shape", &scope.output().shape)?;
    same("the output's rank", &scope.output().shape.len(), &rank)?;
    same("the output's first axis", &output.count, &input.count)?;
    same("the output's last axis", &output.channels, &input.channels)?;
    if rank == 3 && message.height.is_some() {
        let (want, got) = ("unset for rank 3".to_owned(), "set".to_owned());
        return Err(Fault::Mismatch { what: "height", want, got });
    }
    let bits = in_range("weight_bits", message.weight_bits, 0, 15)?;
    let fractions = if message.real_weights { Some(fractions(&mut message)?) } else { None };
    let height = axis(message.height, "height", input.height, output.height, bits)?;
    let width = axis(message.width, "width", input.width, output.width, bits)?;
    let lists = if fractions.is_some() {
        Lists { quotient: true, real: Some(0), ..Lists::none() }
    } else {
        Lists { quotient: true, ..Lists::all(1) }
    };
    let mut requantizer = requantizer(message.requantize, scope.output(), lists)?;
    if let Rounding::Quotient(divisors) = &mut requantizer.rounding {
        let axes = u32::from(height.is_some()) + u32::from(width.is_some());
        divisors.push(1 << (axes * bits));
    }
    Ok(Resize { height, width, weight_bits: bits, fractions, requantizer })
}

/// Real weights of both axes, whose integer weights become zeros.
fn fractions(message: &mut proto::Resize) -> Checked<[Vec<f32>; 2]> {
    in_range("weight_bits", message.weight_bits, 0, 0)?;
    let take = |map: &mut Option<proto::resize::AxisMap>, what| {
        let map = present(what, map.as_mut())?;
        count("fraction", map.fraction.len(), map.low.len())?;
        floats("fraction", &map.fraction, "within -1 .. 1", |share: f32| share.abs() <= 1.0)?;
        map.weight_high = vec![0; map.low.len()];
        Ok(std::mem::take(&mut map.fraction))
    };
    Ok([take(&mut message.height, "height")?, take(&mut message.width, "width")?])
}

fn axis(
    message: Option<proto::resize::AxisMap>,
    what: &'static str,
    input: usize,
    output: usize,
    weight_bits: u32,
) -> Checked<Option<ResizeAxis>> {
    let Some(map) = message else {
        same(what, &output, &input)?;
        return Ok(None);
    };
    count("low", map.low.len(), output)?;
    count("high", map.high.len(), output)?;
    count("weight_high", map.weight_high.len(), output)?;
    for position in 0..output {
        index("low", map.low[position], input)?;
        index("high", map.high[position], input)?;
        in_range("weight_high", map.weight_high[position], 0, 1 << weight_bits)?;
    }
    Ok(Some(ResizeAxis { low: map.low, high: map.high, weight_high: map.weight_high }))
}
