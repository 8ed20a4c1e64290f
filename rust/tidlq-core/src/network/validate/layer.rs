//! Checks of one layer: its operands against its operation.

use super::check::{
    Checked, count, count_or_one, float, floats, in_range, index, integer, present, same,
    same_quantization,
};
use super::requantize::{Lists, of_channels, requantizer};
use super::{movement, order, reduce, rows, window};
use crate::element::ElementType;
use crate::error::Fault;
use crate::fixed::Rounding;
use crate::network::proto::{self, layer::Op as Message};
use crate::network::{InnerProduct, IntegerSoftmax, Op, PRelu, Softmax, Sum, TensorSpec};

/// Greatest magnitude of a bias.
const MAX_BIAS: i128 = 1 << 47;

/// Greatest number of products in one accumulator: keeps 64-bit sums exact.
pub(super) const MAX_DEPTH: i128 = 1 << 28;

/// Greatest number of operands of a sum: keeps 64-bit sums exact.
const MAX_OPERANDS: i128 = 1 << 12;

/// A layer's operands.
pub(super) struct Scope<'a> {
    pub tensors: &'a [TensorSpec],
    pub inputs: &'a [usize],
    pub output: usize,
}

impl<'a> Scope<'a> {
    pub fn input(&self, position: usize) -> &'a TensorSpec {
        &self.tensors[self.inputs[position]]
    }

    pub fn output(&self) -> &'a TensorSpec {
        &self.tensors[self.output]
    }

    /// The layer has exactly this many inputs.
    pub fn arity(&self, want: usize) -> Checked<()> {
        count("the list of inputs", self.inputs.len(), want)
    }

    /// The output has the first input's shape.
    fn same_shape(&self) -> Checked<()> {
        same("the output's shape", &self.output().shape, &self.input(0).shape)
    }

    /// A constant of signed integers with zero point 0.
    pub fn weights(&self, tensor: u32) -> Checked<(usize, &'a TensorSpec)> {
        let tensor = index("the weights' tensor index", tensor, self.tensors.len())?;
        let weights = &self.tensors[tensor];
        present("the weights' constant", weights.constant.as_ref())?;
        if !matches!(weights.element_type, ElementType::S8 | ElementType::S16) {
            return Err(Fault::Mismatch {
                what: "the weights' element type",
                want: "s8 or s16".to_owned(),
                got: weights.element_type.name().to_owned(),
            });
        }
        same("the weights' zero point", &weights.zero_point, &0)?;
        let depth: usize = weights.shape.iter().skip(1).product();
        in_range("the number of weights of one output", depth, 1, MAX_DEPTH)?;
        Ok((tensor, weights))
    }
}

/// A bias of as many entries as there are output channels.
pub(crate) fn bias(bias: Vec<i64>, channels: usize) -> Checked<Vec<i64>> {
    count("bias", bias.len(), channels)?;
    for &entry in &bias {
        in_range("bias", entry, -MAX_BIAS, MAX_BIAS)?;
    }
    Ok(bias)
}

/// Checks an operation against its operands.
pub(super) fn op(scope: &Scope<'_>, message: Option<Message>) -> Checked<Op> {
    Ok(match present("op", message)? {
        Message::Quantize(message) => {
            scope.arity(1)?;
            float("the input's element type", scope.input(0))?;
            integer("the output's element type", scope.output())?;
            scope.same_shape()?;
            Op::Quantize { half_away: message.half_away }
        }
        Message::Dequantize(_) => {
            scope.arity(1)?;
            integer("the input's element type", scope.input(0))?;
            float("the output's element type", scope.output())?;
            scope.same_shape()?;
            Op::Dequantize
        }
        Message::Rescale(message) => {
            scope.arity(1)?;
            integer("the input's element type", scope.input(0))?;
            scope.same_shape()?;
            Op::Rescale(requantizer(message.requantize, scope.output(), Lists::all(1))?)
        }
        Message::Convolution(message) => Op::Convolution(window::convolution(scope, message)?),
        Message::InnerProduct(message) => Op::InnerProduct(inner_product(scope, message)?),
        Message::Sum(message) => sum(scope, message)?,
        Message::Product(message) => product(scope, message)?,
        Message::MaxPool(message) => Op::MaxPool(window::max_pool(scope, &message)?),
        Message::AveragePool(message) => Op::AveragePool(window::average_pool(scope, message)?),
        Message::Lookup(message) => lookup(scope, message)?,
        Message::Prelu(message) => Op::PRelu(prelu(scope, message)?),
        Message::Concat(message) => Op::Concat { axis: movement::concat(scope, &message)? },
        Message::Reshape(_) => {
            movement::reshape(scope)?;
            Op::Reshape
        }
        Message::Transpose(message) => {
            Op::Transpose { perm: movement::transpose(scope, &message)? }
        }
        Message::Pad(message) => Op::Pad(movement::pad(scope, &message)?),
        Message::Slice(message) => {
            let (start, step) = movement::slice(scope, &message)?;
            Op::Slice { start, step }
        }
        Message::Resize(message) => Op::Resize(movement::resize(scope, message)?),
        Message::GridSample(message) => {
            Op::GridSample(super::grid_sample::grid_sample(scope, message)?)
        }
        Message::DeformableConvolution(message) => {
            Op::DeformableConvolution(super::deformable::convolution(scope, message)?)
        }
        Message::WindowedResize(message) => super::windowed_resize::resize(scope, message)?,
        Message::Softmax(message) => softmax(scope, message)?,
        Message::IntegerSoftmax(message) => integer_softmax(scope, message)?,
        Message::TransposedConvolution(message) => {
            Op::TransposedConvolution(window::transposed_convolution(scope, message)?)
        }
        Message::Extremum(message) => extremum(scope, &message)?,
        Message::Gather(message) => reduce::gather(scope, &message)?,
        Message::Reduce(message) => Op::Reduce(reduce::reduce(scope, message)?),
        Message::Division(message) => reduce::division(scope, message)?,
        Message::Power(message) => reduce::power(scope, message)?,
        Message::ScatteredProduct(message) => reduce::scattered_product(scope, &message)?,
        Message::MatrixProduct(message) => rows::matrix_product(scope, message)?,
        Message::Normalization(message) => rows::normalization(scope, message)?,
        Message::TopK(message) => order::top_k(scope, &message)?,
    })
}

fn inner_product(scope: &Scope<'_>, message: proto::InnerProduct) -> Checked<InnerProduct> {
    scope.arity(1)?;
    let input = scope.input(0);
    integer("the input's element type", input)?;
    let (weight, weights) = scope.weights(message.weight)?;
    count("the weights' shape", weights.shape.len(), 2)?;
    present("the input's last axis", input.shape.last())?;
    same("the weights' last axis", &weights.shape[1], &input.last_axis())?;
    let mut want = input.shape.clone();
    if let Some(last) = want.last_mut() {
        *last = weights.shape[0];
    }
    same("the output's shape", &scope.output().shape, &want)?;
    Ok(InnerProduct {
        weight,
        bias: bias(message.bias, weights.shape[0])?,
        requantizer: of_channels(message.requantize, scope.output(), weights.shape[0])?,
    })
}

/// Every input is of integer type and broadcasts to the output's shape.
pub(super) fn broadcast(scope: &Scope<'_>) -> Checked<()> {
    let output = &scope.output().shape;
    for position in 0..scope.inputs.len() {
        let input = scope.input(position);
        integer("an input's element type", input)?;
        let fits = input.shape.len() <= output.len()
            && input
                .shape
                .iter()
                .rev()
                .zip(output.iter().rev())
                .all(|(&size, &full)| size == full || size == 1);
        if !fits {
            return Err(Fault::Mismatch {
                what: "an input's shape",
                want: format!("one that broadcasts to {output:?}"),
                got: format!("{:?}", input.shape),
            });
        }
    }
    Ok(())
}

fn sum(scope: &Scope<'_>, message: proto::Sum) -> Checked<Op> {
    let operands = scope.inputs.len();
    in_range("the number of inputs", operands, 2, MAX_OPERANDS)?;
    broadcast(scope)?;
    let lists = Lists {
        fixed: Some((operands, 1)),
        float: Some(operands),
        twice: Some(operands + 1),
        real: (operands == 2).then_some(3),
        ..Lists::none()
    };
    let requantizer = requantizer(message.requantize, scope.output(), lists)?;
    let mut subtracted = message.subtracted;
    if !subtracted.is_empty() && !matches!(requantizer.rounding, Rounding::Twice { .. }) {
        count("subtracted", subtracted.len(), 0)?;
    }
    if subtracted.is_empty() {
        subtracted.resize(operands, false);
    }
    count("subtracted", subtracted.len(), operands)?;
    Ok(Op::Sum(Sum { requantizer, subtracted }))
}

fn product(scope: &Scope<'_>, message: proto::Product) -> Checked<Op> {
    scope.arity(2)?;
    broadcast(scope)?;
    let lists = Lists { float: Some(2), ..Lists::all(1) };
    Ok(Op::Product(requantizer(message.requantize, scope.output(), lists)?))
}

fn extremum(scope: &Scope<'_>, message: &proto::Extremum) -> Checked<Op> {
    in_range("the number of inputs", scope.inputs.len(), 2, MAX_OPERANDS)?;
    integer("the output's element type", scope.output())?;
    broadcast(scope)?;
    for position in 0..scope.inputs.len() {
        same_quantization(scope.output(), scope.input(position))?;
    }
    Ok(Op::Extremum { least: message.least })
}

fn lookup(scope: &Scope<'_>, message: proto::Lookup) -> Checked<Op> {
    scope.arity(1)?;
    scope.same_shape()?;
    let (low, high) = integer("the input's element type", scope.input(0))?;
    count("value", message.value.len(), (high - low) as usize + 1)?;
    let (low, high) = integer("the output's element type", scope.output())?;
    for &value in &message.value {
        in_range("value", value, i128::from(low), i128::from(high))?;
    }
    Ok(Op::Lookup(message.value))
}

fn prelu(scope: &Scope<'_>, message: proto::PRelu) -> Checked<PRelu> {
    scope.arity(1)?;
    scope.same_shape()?;
    integer("the input's element type", scope.input(0))?;
    let (slope, slopes) = scope.weights(message.slope)?;
    count("the slope's shape", slopes.shape.len(), 1)?;
    count_or_one("the slope", slopes.shape[0], scope.input(0).last_axis())?;
    let positive = requantizer(message.positive, scope.output(), Lists::all(1))?;
    let negative = requantizer(message.negative, scope.output(), Lists::all(1))?;
    same("negative.clamp_min", &negative.clamp_min, &positive.clamp_min)?;
    same("negative.clamp_max", &negative.clamp_max, &positive.clamp_max)?;
    Ok(PRelu { slope, positive, negative })
}

fn softmax(scope: &Scope<'_>, message: proto::Softmax) -> Checked<Op> {
    scope.arity(1)?;
    scope.same_shape()?;
    let (low, high) = integer("the input's element type", scope.input(0))?;
    count("exponential", message.exponential.len(), (high - low) as usize + 1)?;
    let want = "a finite number, not negative,";
    let is_good = |value: f32| value.is_finite() && value >= 0.0;
    floats("exponential", &message.exponential, want, is_good)?;
    floats("exponential", &message.exponential[..1], "a positive number", |value| value > 0.0)?;
    let requantizer = match message.requantize {
        Some(requantize) => {
            let lists = Lists { real: Some(1), ..Lists::none() };
            Some(requantizer(Some(requantize), scope.output(), lists)?)
        }
        None => {
            float("the output's element type", scope.output())?;
            None
        }
    };
    Ok(Op::Softmax(Softmax { exponential: message.exponential, requantizer }))
}

fn integer_softmax(scope: &Scope<'_>, message: proto::IntegerSoftmax) -> Checked<Op> {
    scope.arity(1)?;
    scope.same_shape()?;
    let (low, high) = integer("the input's element type", scope.input(0))?;
    integer("the output's element type", scope.output())?;
    let is_wide = scope.input(0).element_type.size_bytes() == 2;
    let (greatest, first, row) =
        if is_wide { (32_767, 1 << 14, 65_535) } else { (i128::from(i32::MAX), 1 << 30, 4_095) };
    if is_wide {
        in_range("the output's bytes", scope.output().element_type.size_bytes(), 2, 2)?;
        same("the output's zero point", &scope.output().zero_point, &0)?;
    }
    in_range("the size of a row", scope.input(0).last_axis(), 1, row)?;
    count("exponential", message.exponential.len(), (high - low) as usize + 1)?;
    count("reciprocal", message.reciprocal.len(), if is_wide { 513 } else { 0 })?;
    for &entry in &message.exponential {
        in_range("exponential", entry, 0, greatest)?;
    }
    in_range("exponential", message.exponential[0], first, greatest)?;
    for &entry in &message.reciprocal {
        in_range("reciprocal", entry, 0, 32_767)?;
    }
    let proto::IntegerSoftmax { exponential, reciprocal } = message;
    Ok(Op::IntegerSoftmax(IntegerSoftmax { exponential, reciprocal }))
}
