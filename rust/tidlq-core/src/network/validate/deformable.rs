//! Checks of convolutions at places that have moved.

use super::check::{Checked, count, count_or_one, floats, in_range, integer, pair, same};
use super::layer::Scope;
use super::window::{maps, reach};
use crate::network::proto;
use crate::network::{DeformableConvolution, Map2d, Window};

pub(super) fn convolution(
    scope: &Scope<'_>,
    message: proto::DeformableConvolution,
) -> Checked<DeformableConvolution> {
    let arity = in_range("the number of inputs", scope.inputs.len(), 2, 3)?;
    for position in 0..arity {
        integer("an input's element type", scope.input(position))?;
    }
    let (lowest, highest) = integer("the output's element type", scope.output())?;
    count("the input's shape", scope.input(0).shape.len(), 4)?;
    let (input, output) = maps(scope)?;
    let (weight, weights) = scope.weights(message.weight)?;
    count("the weights' shape", weights.shape.len(), 4)?;
    let groups = divisor("groups", message.groups, input.channels)?;
    let offset_groups = divisor("offset_groups", message.offset_groups, input.channels)?;
    same("the remainder of output channels by groups", &(output.channels % groups), &0)?;
    same("the weights' first axis", &weights.shape[0], &output.channels)?;
    same("the weights' last axis", &weights.shape[3], &(input.channels / groups))?;
    let window = Window {
        kernel: [weights.shape[1], weights.shape[2]],
        stride: pair("stride", &message.stride, 1)?,
        dilation: pair("dilation", &message.dilation, 1)?,
        pad: pair("pad", &message.pad, 0)?,
    };
    reach(&window, &output)?;
    moves(scope, &output, offset_groups * window.kernel[0] * window.kernel[1])?;
    numbers("gain", &message.gain, output.channels)?;
    numbers("shift", &message.shift, output.channels)?;
    let clamp_max = in_range("clamp_max", message.clamp_max, lowest.into(), highest.into())?;
    let clamp_min = in_range("clamp_min", message.clamp_min, lowest.into(), clamp_max.into())?;
    let (proto::DeformableConvolution { gain, shift, .. }, clamp) =
        (message, [clamp_min, clamp_max]);
    Ok(DeformableConvolution { weight, window, groups, offset_groups, gain, shift, clamp })
}

/// What is added in each output channel, in steps of the output.
pub(crate) fn shift(shift: Vec<f64>, channels: usize) -> Checked<Vec<f64>> {
    numbers("shift", &shift, channels)?;
    Ok(shift)
}

fn numbers(what: &'static str, list: &[f64], channels: usize) -> Checked<()> {
    floats(what, list, "a finite number", f64::is_finite)?;
    count_or_one(what, list.len(), channels)
}

fn divisor(what: &'static str, got: u32, channels: usize) -> Checked<usize> {
    let parts = in_range(what, got, 1, channels as i128)? as usize;
    same("the remainder of input channels by either groups", &(channels % parts), &0)?;
    Ok(parts)
}

/// Offsets and mask have entries for every tap of every position.
fn moves(scope: &Scope<'_>, output: &Map2d, taps: usize) -> Checked<()> {
    let want = |entries: usize| vec![output.count, output.height, output.width, entries];
    same("the shape of the offsets", &scope.input(1).shape, &want(2 * taps))?;
    if scope.inputs.len() > 2 {
        same("the shape of the mask", &scope.input(2).shape, &want(taps))?;
    }
    Ok(())
}
