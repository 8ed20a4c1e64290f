//! Checks of interpolation by windows.

use super::check::{Checked, count, in_range, index, integer, same};
use super::layer::Scope;
use super::requantize::{Lists, requantizer};
use super::window::maps;
use crate::error::Fault;
use crate::network::proto::{self, windowed_resize};
use crate::network::{AxisWindows, Op, WindowedResize};

/// Greatest magnitude of a window's weights, added up: keeps sums exact in 64 bits.
const MAX_GAIN: i128 = 1 << 22;

pub(super) fn resize(scope: &Scope<'_>, message: proto::WindowedResize) -> Checked<Op> {
    scope.arity(1)?;
    integer("the input's element type", scope.input(0))?;
    let (input, output) = maps(scope)?;
    same("the output's last axis", &output.channels, &input.channels)?;
    if scope.input(0).shape.len() == 3 && message.height.is_some() {
        let (want, got) = ("unset for rank 3".to_owned(), "set".to_owned());
        return Err(Fault::Mismatch { what: "height", want, got });
    }
    let axes = [
        axis(message.height, "height", input.height, output.height)?,
        axis(message.width, "width", input.width, output.width)?,
    ];
    let requantizer = requantizer(message.requantize, scope.output(), Lists::all(1))?;
    Ok(Op::WindowedResize(WindowedResize { axes, requantizer }))
}

fn axis(
    message: Option<windowed_resize::AxisWindows>,
    what: &'static str,
    input: usize,
    output: usize,
) -> Checked<Option<AxisWindows>> {
    let Some(windows) = message else {
        same(what, &output, &input)?;
        return Ok(None);
    };
    let taps = in_range("taps", windows.taps, 1, i128::from(u32::MAX))? as usize;
    count("position", windows.position.len(), taps.saturating_mul(output))?;
    count("weight", windows.weight.len(), windows.position.len())?;
    for &position in &windows.position {
        index("position", position, input)?;
    }
    let found = AxisWindows { taps, position: windows.position, weight: windows.weight };
    in_range("the sum of a window's weights", found.gain(), 0, MAX_GAIN)?;
    Ok(Some(found))
}
