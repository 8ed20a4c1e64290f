//! Checks of what computes with whole rows: matrix products of two features, normalizations.

use super::check::{Checked, count, count_or_one, floats, in_range, integer, same};
use super::layer::Scope;
use super::requantize::{Lists, requantizer};
use crate::error::Fault;
use crate::network::proto;
use crate::network::{Normalization, Op};

/// Greatest number of products in one accumulator: keeps 64-bit sums exact.
const MAX_DEPTH: i128 = 1 << 28;

/// Greatest number of elements of a normalized row: keeps its sums exact.
const MAX_ROW: i128 = 1 << 20;

pub(super) fn matrix_product(scope: &Scope<'_>, message: proto::MatrixProduct) -> Checked<Op> {
    scope.arity(2)?;
    let (first, second) = (scope.input(0), scope.input(1));
    integer("the first input's element type", first)?;
    integer("the second input's element type", second)?;
    in_range("the rank of the first input", first.shape.len(), 2, 8)?;
    in_range("the rank of the second input", second.shape.len(), 2, first.shape.len() as i128)?;
    let (lead, rows) = first.shape.split_at(first.shape.len() - 2);
    let (other_lead, columns) = second.shape.split_at(second.shape.len() - 2);
    in_range("the size of the last axes", rows[1], 1, MAX_DEPTH)?;
    same("the second input's last axis", &columns[1], &rows[1])?;
    let aligned = &lead[lead.len() - other_lead.len()..];
    if !other_lead.iter().zip(aligned).all(|(&size, &full)| size == full || size == 1) {
        return Err(Fault::Mismatch {
            what: "the second input's leading axes",
            want: format!("ones that broadcast to {lead:?}"),
            got: format!("{other_lead:?}"),
        });
    }
    let mut want = lead.to_vec();
    want.extend([rows[0], columns[0]]);
    same("the output's shape", &scope.output().shape, &want)?;
    Ok(Op::MatrixProduct(requantizer(message.requantize, scope.output(), Lists::all(1))?))
}

pub(super) fn normalization(scope: &Scope<'_>, message: proto::Normalization) -> Checked<Op> {
    scope.arity(1)?;
    let input = scope.input(0);
    integer("the input's element type", input)?;
    integer("the output's element type", scope.output())?;
    same("the output's shape", &scope.output().shape, &input.shape)?;
    let row = input.last_axis();
    in_range("the size of a row", row, 1, MAX_ROW)?;
    let is_good = |value: f64| value.is_finite() && value >= 0.0;
    floats("epsilon", &[message.epsilon], "a finite number, not negative,", is_good)?;
    let rows = input.elements() / row;
    for (what, list) in [("gain", &message.gain), ("shift", &message.shift)] {
        floats(what, list, "a finite number", f64::is_finite)?;
        if !message.by_row {
            count_or_one(what, list.len(), row)?;
        } else if list.is_empty() || !rows.is_multiple_of(list.len()) {
            count(what, list.len(), rows)?;
        }
    }
    let proto::Normalization { centred, epsilon, gain, shift, by_row } = message;
    Ok(Op::Normalization(Normalization { centred, epsilon, gain, shift, by_row }))
}
