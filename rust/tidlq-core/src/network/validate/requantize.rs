//! Checks of requantization parameters.

use super::check::{Checked, count_or_one, floats, in_range, present};
use crate::error::Fault;
use crate::fixed::{MAX_SHIFT, Requantizer, Rounding};
use crate::network::TensorSpec;
use crate::network::proto::{Requantize, requantize::Mode};

/// Entries that each mode's lists need; a list of one entry serves all. `None`: the mode is not allowed.
#[derive(Clone, Copy)]
pub(super) struct Lists {
    /// SHIFT.
    pub shift: Option<usize>,
    /// FIXED: multipliers, shifts.
    pub fixed: Option<(usize, usize)>,
    /// FLOAT.
    pub float: Option<usize>,
}

impl Lists {
    /// Every mode, `channels` entries.
    pub const fn all(channels: usize) -> Self {
        Self { shift: Some(channels), fixed: Some((channels, channels)), float: Some(channels) }
    }
}

/// Checks a requantization into `output`, whose type is an integer type.
pub(super) fn requantizer(
    message: Option<Requantize>,
    output: &TensorSpec,
    lists: Lists,
) -> Checked<Requantizer> {
    let message = present("requantize", message)?;
    let rounding = rounding(&message, lists)?;
    let (low, high) = super::check::integer("the output's element type", output)?;
    let (low, high) = (i128::from(low), i128::from(high));
    super::check::same("requantize.zero_point", &message.zero_point, &output.zero_point)?;
    let clamp_min = in_range("requantize.clamp_min", message.clamp_min, low, high)?;
    let clamp_max =
        in_range("requantize.clamp_max", message.clamp_max, i128::from(clamp_min), high)?;
    Ok(Requantizer { rounding, zero_point: message.zero_point, clamp_min, clamp_max })
}

fn rounding(message: &Requantize, lists: Lists) -> Checked<Rounding> {
    let mode = message.mode();
    match mode {
        Mode::Shift => {
            let want = lists.shift.ok_or_else(|| mode_fault(mode, lists))?;
            Ok(Rounding::Shift(shifts(message, want)?))
        }
        Mode::Fixed => {
            let (multipliers, want) = lists.fixed.ok_or_else(|| mode_fault(mode, lists))?;
            count_or_one("requantize.multiplier", message.multiplier.len(), multipliers)?;
            let bound = i128::from(i32::MAX);
            for &multiplier in &message.multiplier {
                in_range("requantize.multiplier", multiplier, -bound, bound)?;
            }
            Ok(Rounding::Fixed {
                multiplier: message.multiplier.clone(),
                shift: shifts(message, want)?,
            })
        }
        Mode::Float => {
            let want = lists.float.ok_or_else(|| mode_fault(mode, lists))?;
            count_or_one("requantize.scale", message.scale.len(), want)?;
            floats("requantize.scale", &message.scale, "a finite number", f32::is_finite)?;
            Ok(Rounding::Float(message.scale.clone()))
        }
        Mode::Unspecified => Err(mode_fault(mode, lists)),
    }
}

fn shifts(message: &Requantize, want: usize) -> Checked<Vec<u32>> {
    count_or_one("requantize.shift", message.shift.len(), want)?;
    for &shift in &message.shift {
        in_range("requantize.shift", shift, 0, i128::from(MAX_SHIFT))?;
    }
    Ok(message.shift.clone())
}

fn mode_fault(mode: Mode, lists: Lists) -> Fault {
    let modes = [
        (lists.shift.is_some(), "SHIFT"),
        (lists.fixed.is_some(), "FIXED"),
        (lists.float.is_some(), "FLOAT"),
    ];
    let allowed: Vec<&str> =
        modes.into_iter().filter(|(is_allowed, _)| *is_allowed).map(|(_, name)| name).collect();
    Fault::Mismatch {
        what: "requantize.mode",
        want: allowed.join(" or "),
        got: mode.as_str_name().trim_start_matches("MODE_").to_owned(),
    }
}
