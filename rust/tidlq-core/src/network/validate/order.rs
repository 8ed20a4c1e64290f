//! Checks of layers that put elements in order.

use super::check::{Checked, count, in_range, integer, same, same_quantization};
use super::layer::{MAX_DEPTH, Scope};
use crate::network::proto;
use crate::network::{Op, TopK};

pub(super) fn top_k(scope: &Scope<'_>, message: &proto::TopK) -> Checked<Op> {
    scope.arity(1)?;
    let (input, output) = (scope.input(0), scope.output());
    integer("the input's element type", input)?;
    count("the input's shape", input.shape.len(), 3)?;
    count("the output's shape", output.shape.len(), 3)?;
    in_range("the ordered axis", input.shape[1], 1, MAX_DEPTH)?;
    in_range("the number of elements that are picked", output.shape[1], 1, input.shape[1] as i128)?;
    let want = vec![input.shape[0], output.shape[1], input.shape[2]];
    same("the output's shape", &output.shape, &want)?;
    if !output.element_type.is_position() {
        same_quantization(output, input)?;
    }
    Ok(Op::TopK(TopK { least: message.least, higher_first: message.higher_first }))
}
