//! Checks of reductions, divisions, powers, scattered products and gathers.

use super::check::{Checked, count, floats, in_range, index, integer, same, same_quantization};
use super::layer::{MAX_DEPTH, Scope, broadcast};
use super::requantize::{Lists, requantizer};
use crate::error::Fault;
use crate::network::proto::{self, reduce::Kind};
use crate::network::{Op, Power, Reduce, ReduceKind, ScatteredProduct};

pub(super) fn reduce(scope: &Scope<'_>, message: proto::Reduce) -> Checked<Reduce> {
    scope.arity(1)?;
    let (input, output) = (scope.input(0), scope.output());
    integer("the input's element type", input)?;
    count("the input's shape", input.shape.len(), 3)?;
    in_range("the reduced axis", input.shape[1], 1, MAX_DEPTH)?;
    same("the output's shape", &output.shape, &vec![input.shape[0], input.shape[2]])?;
    let kind = match message.kind() {
        Kind::Sum => ReduceKind::Sum,
        Kind::Magnitudes => ReduceKind::Magnitudes,
        Kind::Squares => ReduceKind::Squares,
        Kind::RootOfSquares => ReduceKind::RootOfSquares,
        Kind::Greatest => ReduceKind::Greatest,
        Kind::Least => ReduceKind::Least,
        Kind::Unspecified => return Err(Fault::Missing { what: "kind" }),
    };
    if matches!(kind, ReduceKind::Greatest | ReduceKind::Least) {
        same_quantization(output, input)?;
        count("requantize", usize::from(message.requantize.is_some()), 0)?;
        return Ok(Reduce { kind, requantizer: None });
    }
    let lists = if kind == ReduceKind::RootOfSquares {
        Lists { double: Some(1), ..Lists::none() }
    } else {
        Lists { twice: None, ..Lists::all(1) }
    };
    Ok(Reduce { kind, requantizer: Some(requantizer(message.requantize, output, lists)?) })
}

pub(super) fn division(scope: &Scope<'_>, message: proto::Division) -> Checked<Op> {
    scope.arity(2)?;
    broadcast(scope)?;
    if let Some(requantize) = &message.requantize
        && requantize.mode() == proto::requantize::Mode::Float
    {
        count("requantize.scale", requantize.scale.len(), 2)?;
    }
    let lists = Lists { fixed: Some((1, 1)), float: Some(2), ..Lists::none() };
    Ok(Op::Division(requantizer(message.requantize, scope.output(), lists)?))
}

pub(super) fn power(scope: &Scope<'_>, message: proto::Power) -> Checked<Op> {
    scope.arity(2)?;
    broadcast(scope)?;
    integer("the output's element type", scope.output())?;
    let entries = |position: usize| -> Checked<usize> {
        let (low, high) = integer("an input's element type", scope.input(position))?;
        Ok((high - low) as usize + 1)
    };
    let (bases, exponents) = (entries(0)?, entries(1)?);
    count("logarithm", message.logarithm.len(), bases)?;
    count("sign", message.sign.len(), bases)?;
    count("exponent", message.exponent.len(), exponents)?;
    count("parity", message.parity.len(), exponents)?;
    floats("logarithm", &message.logarithm, "a finite number", f64::is_finite)?;
    floats("exponent", &message.exponent, "a finite number", f64::is_finite)?;
    positive("gain", message.gain)?;
    for &sign in &message.sign {
        in_range("sign", sign, -1, 1)?;
    }
    for &parity in &message.parity {
        in_range("parity", parity, 0, 2)?;
    }
    let proto::Power { logarithm, sign, exponent, parity, gain } = message;
    Ok(Op::Power(Power { logarithm, sign, exponent, parity, gain }))
}

pub(super) fn scattered_product(
    scope: &Scope<'_>,
    message: &proto::ScatteredProduct,
) -> Checked<Op> {
    scope.arity(2)?;
    for position in 0..2 {
        integer("an input's element type", scope.input(position))?;
    }
    integer("the output's element type", scope.output())?;
    let (elements, updates) = (scope.input(0), scope.input(1));
    same("the output's shape", &scope.output().shape, &elements.shape)?;
    count("target", message.target.len(), updates.elements())?;
    for &target in &message.target {
        index("target", target, elements.elements())?;
    }
    positive("gain", message.gain)?;
    let target = message.target.iter().map(|&target| target as usize).collect();
    Ok(Op::ScatteredProduct(ScatteredProduct { target, gain: message.gain }))
}

fn positive(what: &'static str, value: f64) -> Checked<()> {
    let is_good = |value: f64| value.is_finite() && value > 0.0;
    floats(what, &[value], "a positive finite number", is_good)
}

pub(super) fn gather(scope: &Scope<'_>, message: &proto::Gather) -> Checked<Op> {
    scope.arity(1)?;
    let (input, output) = (scope.input(0), scope.output());
    same_quantization(output, input)?;
    let axis = index("axis", message.axis, input.shape.len())?;
    for &entry in &message.index {
        index("index", entry, input.shape[axis])?;
    }
    let mut want = input.shape.clone();
    want[axis] = message.index.len();
    same("the output's shape", &output.shape, &want)?;
    let index = message.index.iter().map(|&entry| entry as usize).collect();
    Ok(Op::Gather { axis, index })
}
