//! Checks of samples at places that a grid gives.

use super::check::{Checked, count, in_range, integer, same};
use super::layer::Scope;
use super::requantize::{Lists, requantizer};
use crate::error::Fault;
use crate::network::proto::{self, grid_sample::Padding};
use crate::network::{GridAxis, GridPadding, GridSample};

/// Keeps places exact in 64 bits, mirrored ones as well.
const MAX_OFFSET: i128 = 1 << 52;

pub(super) fn grid_sample(scope: &Scope<'_>, message: proto::GridSample) -> Checked<GridSample> {
    scope.arity(2)?;
    let (input, grid, output) = (scope.input(0), scope.input(1), scope.output());
    integer("the input's element type", input)?;
    integer("the grid's element type", grid)?;
    count("the input's shape", input.shape.len(), 4)?;
    count("the grid's shape", grid.shape.len(), 4)?;
    same("the grid's first axis", &grid.shape[0], &input.shape[0])?;
    same("the grid's last axis", &grid.shape[3], &2)?;
    let want = vec![grid.shape[0], grid.shape[1], grid.shape[2], input.shape[3]];
    same("the output's shape", &output.shape, &want)?;
    let fraction_bits = in_range("fraction_bits", message.fraction_bits, 0, 20)?;
    let shift = in_range("shift", message.shift, 0, 62)?;
    count("multiplier", message.multiplier.len(), 2)?;
    count("offset", message.offset.len(), 2)?;
    let axis = |axis: usize| {
        let bound = i128::from(i32::MAX);
        let multiplier = in_range("multiplier", message.multiplier[axis], -bound, bound)?;
        let offset = in_range("offset", message.offset[axis], -MAX_OFFSET, MAX_OFFSET)?;
        Ok(GridAxis { multiplier: multiplier.into(), offset })
    };
    let axes = [axis(0)?, axis(1)?];
    let padding = match message.padding() {
        Padding::Zeros => GridPadding::Zeros,
        Padding::Border => GridPadding::Border,
        Padding::MirrorAtEdges => GridPadding::Mirror { corners: false },
        Padding::MirrorAtCorners => GridPadding::Mirror { corners: true },
        Padding::Unspecified => return Err(Fault::Missing { what: "padding" }),
    };
    let (nearest, cubic) = (message.nearest, message.cubic);
    if nearest && cubic {
        let (want, got) = ("unset with nearest".to_owned(), "set".to_owned());
        return Err(Fault::Mismatch { what: "cubic", want, got });
    }
    let requantizer = requantizer(message.requantize, output, Lists::all(1))?;
    Ok(GridSample { axes, shift, fraction_bits, nearest, cubic, padding, requantizer })
}
