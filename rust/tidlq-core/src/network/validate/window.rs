//! Checks of convolutions and pools.

use std::collections::BTreeSet;

use super::check::{
    Checked, MAX_COORDINATE, count, in_range, integer, pair, present, same, same_quantization,
};
use super::layer::{Scope, bias};
use super::requantize::{Lists, of_channels, requantizer};
use crate::error::Fault;
use crate::fixed::Rounding;
use crate::network::proto;
use crate::network::{AveragePool, Convolution, Map2d, TensorSpec, Window};

/// Greatest spatial size of a pool's output, which validation visits position by position.
const MAX_POOLED: i128 = 1 << 24;

fn map(what: &'static str, tensor: &TensorSpec) -> Checked<Map2d> {
    Map2d::of(&tensor.shape).ok_or_else(|| Fault::Mismatch {
        what,
        want: "of rank 3 or 4".to_owned(),
        got: format!("{:?}", tensor.shape),
    })
}

/// Input and output maps of equal rank and count.
pub(super) fn maps(scope: &Scope<'_>) -> Checked<(Map2d, Map2d)> {
    let input = map("the input's shape", scope.input(0))?;
    let output = map("the output's shape", scope.output())?;
    same("the output's rank", &scope.output().shape.len(), &scope.input(0).shape.len())?;
    same("the output's first axis", &output.count, &input.count)?;
    Ok((input, output))
}

/// No window reaches a coordinate that overflows.
pub(super) fn reach(window: &Window, output: &Map2d) -> Checked<()> {
    for (axis, size) in [output.height, output.width].into_iter().enumerate() {
        let last = (size as i128 - 1) * window.stride[axis] as i128;
        let tap = (window.kernel[axis] as i128 - 1) * window.dilation[axis] as i128;
        in_range("the greatest coordinate of a window", last + tap, 0, MAX_COORDINATE)?;
    }
    Ok(())
}

pub(super) fn convolution(scope: &Scope<'_>, message: proto::Convolution) -> Checked<Convolution> {
    let (convolution, _, output) = weighted(scope, message)?;
    reach(&convolution.window, &output)?;
    Ok(convolution)
}

/// Strides of a transposed convolution, multiplied: each place between two strides has weights of its
/// own.
const MAX_TRANSPOSED_STRIDES: i128 = 1 << 12;

pub(super) fn transposed_convolution(
    scope: &Scope<'_>,
    message: proto::TransposedConvolution,
) -> Checked<Convolution> {
    let proto::TransposedConvolution { weight, bias, stride, dilation, pad, groups, requantize } =
        message;
    let alike = proto::Convolution { weight, bias, stride, dilation, pad, groups, requantize };
    let (convolution, input, _) = weighted(scope, alike)?;
    let [height, width] = convolution.window.stride;
    in_range("the product of strides", height * width, 1, MAX_TRANSPOSED_STRIDES)?;
    reach(&convolution.window, &input)?;
    Ok(convolution)
}

/// What both kinds of convolution require; with the maps of input and output.
fn weighted(
    scope: &Scope<'_>,
    message: proto::Convolution,
) -> Checked<(Convolution, Map2d, Map2d)> {
    scope.arity(1)?;
    integer("the input's element type", scope.input(0))?;
    let (input, output) = maps(scope)?;
    let (weight, weights) = scope.weights(message.weight)?;
    count("the weights' shape", weights.shape.len(), 4)?;
    let groups = in_range("groups", message.groups, 1, input.channels as i128)? as usize;
    same("the remainder of input channels by groups", &(input.channels % groups), &0)?;
    same("the remainder of output channels by groups", &(output.channels % groups), &0)?;
    same("the weights' first axis", &weights.shape[0], &output.channels)?;
    same("the weights' last axis", &weights.shape[3], &(input.channels / groups))?;
    let window = Window {
        kernel: [weights.shape[1], weights.shape[2]],
        stride: pair("stride", &message.stride, 1)?,
        dilation: pair("dilation", &message.dilation, 1)?,
        pad: pair("pad", &message.pad, 0)?,
    };
    let convolution = Convolution {
        weight,
        bias: bias(message.bias, output.channels)?,
        window,
        groups,
        requantizer: of_channels(message.requantize, scope.output(), output.channels)?,
    };
    Ok((convolution, input, output))
}

fn pool_maps(scope: &Scope<'_>) -> Checked<(Map2d, Map2d)> {
    scope.arity(1)?;
    integer("the input's element type", scope.input(0))?;
    let (input, output) = maps(scope)?;
    same("the output's last axis", &output.channels, &input.channels)?;
    in_range("the output's height", output.height, 1, MAX_POOLED)?;
    in_range("the output's width", output.width, 1, MAX_POOLED)?;
    Ok((input, output))
}

pub(super) fn max_pool(scope: &Scope<'_>, message: &proto::MaxPool) -> Checked<Window> {
    let (input, output) = pool_maps(scope)?;
    same_quantization(scope.output(), scope.input(0))?;
    let window = Window {
        kernel: pair("kernel", &message.kernel, 1)?,
        stride: pair("stride", &message.stride, 1)?,
        dilation: pair("dilation", &message.dilation, 1)?,
        pad: pair("pad", &message.pad, 0)?,
    };
    reach(&window, &output)?;
    for (axis, (size, positions)) in
        [(input.height, output.height), (input.width, output.width)].into_iter().enumerate()
    {
        for position in 0..positions {
            let (first, end) = window.taps(axis, position, 0, size as isize);
            if first == end {
                return Err(Fault::EmptyWindow { axis, position });
            }
        }
    }
    Ok(window)
}

pub(super) fn average_pool(scope: &Scope<'_>, message: proto::AveragePool) -> Checked<AveragePool> {
    let (input, output) = pool_maps(scope)?;
    count("pad", message.pad.len(), 4)?;
    let window = Window {
        kernel: pair("kernel", &message.kernel, 1)?,
        stride: pair("stride", &message.stride, 1)?,
        dilation: pair("dilation", &message.dilation, 1)?,
        pad: pair("pad", &message.pad[..2], 0)?,
    };
    reach(&window, &output)?;
    for neighbours in message.count.windows(2) {
        let (low, high) = (i128::from(neighbours[0]) + 1, i128::from(u32::MAX));
        in_range("count", neighbours[1], low, high)?;
    }
    let divisors = message.count.len();
    present("count", message.count.first())?;
    let lists = Lists { shift: None, quotient: true, real: Some(0), ..Lists::all(divisors) };
    let mut requantizer = requantizer(message.requantize, scope.output(), lists)?;
    if matches!(requantizer.rounding, Rounding::Quotient(_) | Rounding::Real(_)) {
        in_range("count", message.count[0], 1, i128::from(u32::MAX))?;
    }
    if let Rounding::Quotient(divisors) = &mut requantizer.rounding {
        divisors.extend(message.count.iter().map(|&count| i64::from(count)));
    }
    let pool = AveragePool {
        window,
        pad_end: pair("pad", &message.pad[2..], 0)?,
        count_include_pad: message.count_include_pad,
        count: message.count.into_iter().map(u64::from).collect(),
        requantizer,
    };
    divisors_are_listed(&pool, &input, &output)?;
    Ok(pool)
}

/// Every window's divisor occurs in the list.
fn divisors_are_listed(pool: &AveragePool, input: &Map2d, output: &Map2d) -> Checked<()> {
    let heights: BTreeSet<usize> =
        (0..output.height).map(|y| pool.divisor(0, y, input.height)).collect();
    let widths: BTreeSet<usize> =
        (0..output.width).map(|x| pool.divisor(1, x, input.width)).collect();
    for &height in &heights {
        for &width in &widths {
            let divisor = height as u64 * width as u64;
            if pool.count.binary_search(&divisor).is_err() {
                return Err(Fault::Mismatch {
                    what: "count",
                    want: format!("an entry {divisor}"),
                    got: format!("{:?}", pool.count),
                });
            }
        }
    }
    Ok(())
}
