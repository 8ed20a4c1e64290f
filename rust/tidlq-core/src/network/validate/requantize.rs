//! Checks of requantization parameters.

use super::check::{Checked, count, count_or_one, floats, in_range, present, same};
use crate::element::ElementType;
use crate::error::Fault;
use crate::fixed::{MAX_SHIFT, MAX_TWICE_SHIFT, Requantizer, Rounding};
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
    /// TWICE_ROUNDED.
    pub twice: Option<usize>,
    /// DOUBLE.
    pub double: Option<usize>,
    /// QUOTIENT is allowed; the caller adds the divisors.
    pub quotient: bool,
    /// REAL: exactly as many scales.
    pub real: Option<usize>,
}

impl Lists {
    /// No mode.
    pub const fn none() -> Self {
        Self {
            shift: None,
            fixed: None,
            float: None,
            twice: None,
            double: None,
            quotient: false,
            real: None,
        }
    }

    /// Every mode but QUOTIENT and REAL, `channels` entries.
    pub const fn all(channels: usize) -> Self {
        Self {
            shift: Some(channels),
            fixed: Some((channels, channels)),
            float: Some(channels),
            twice: Some(channels),
            double: Some(channels),
            quotient: false,
            real: None,
        }
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
    count("requantize.real_bias", message.real_bias.len(), 0)?;
    closed(&message, rounding, output)
}

/// The rounding with zero point and clamps, which fit the output's integer type.
fn closed(message: &Requantize, rounding: Rounding, output: &TensorSpec) -> Checked<Requantizer> {
    let (low, high) = super::check::integer("the output's element type", output)?;
    let (low, high) = (i128::from(low), i128::from(high));
    same("requantize.zero_point", &message.zero_point, &output.zero_point)?;
    let clamp_min = in_range("requantize.clamp_min", message.clamp_min, low, high)?;
    let clamp_max =
        in_range("requantize.clamp_max", message.clamp_max, i128::from(clamp_min), high)?;
    Ok(Requantizer { rounding, zero_point: message.zero_point, clamp_min, clamp_max })
}

/// Checks a requantization of a layer with weights, whose output may be of float type.
pub(super) fn of_channels(
    message: Option<Requantize>,
    output: &TensorSpec,
    channels: usize,
) -> Checked<Requantizer> {
    let message = present("requantize", message)?;
    if output.element_type != ElementType::F32 {
        return match rounding(&message, Lists::all(channels))? {
            Rounding::Float(scale) if !message.real_bias.is_empty() => {
                let bias = real_bias(&message, channels)?;
                closed(&message, Rounding::Biased { scale, bias }, output)
            }
            _ => requantizer(Some(message), output, Lists::all(channels)),
        };
    }
    let rounding = match rounding(&message, Lists { float: Some(channels), ..Lists::none() })? {
        Rounding::Float(scale) => {
            Rounding::Unrounded { scale, bias: real_bias(&message, channels)? }
        }
        other => other,
    };
    same("requantize.zero_point", &message.zero_point, &0)?;
    same("requantize.clamp_min", &message.clamp_min, &0)?;
    same("requantize.clamp_max", &message.clamp_max, &0)?;
    Ok(Requantizer { rounding, zero_point: 0, clamp_min: 0, clamp_max: 0 })
}

fn real_bias(message: &Requantize, channels: usize) -> Checked<Vec<f32>> {
    let bias = &message.real_bias;
    if !bias.is_empty() {
        count_or_one("requantize.real_bias", bias.len(), channels)?;
    }
    floats("requantize.real_bias", bias, "a finite number", f32::is_finite)?;
    Ok(bias.clone())
}

fn rounding(message: &Requantize, lists: Lists) -> Checked<Rounding> {
    let mode = message.mode();
    match mode {
        Mode::Shift => {
            let want = lists.shift.ok_or_else(|| mode_fault(mode, lists))?;
            Ok(Rounding::Shift(shifts("requantize.shift", &message.shift, want, MAX_SHIFT)?))
        }
        Mode::Fixed => {
            let (multipliers, want) = lists.fixed.ok_or_else(|| mode_fault(mode, lists))?;
            Ok(Rounding::Fixed {
                multiplier: multipliers_of(message, multipliers)?,
                shift: shifts("requantize.shift", &message.shift, want, MAX_SHIFT)?,
            })
        }
        Mode::Float => {
            let want = lists.float.ok_or_else(|| mode_fault(mode, lists))?;
            count_or_one("requantize.scale", message.scale.len(), want)?;
            floats("requantize.scale", &message.scale, "a finite number", f32::is_finite)?;
            Ok(Rounding::Float(message.scale.clone()))
        }
        Mode::TwiceRounded => {
            let want = lists.twice.ok_or_else(|| mode_fault(mode, lists))?;
            let (left, right) = (&message.left_shift, &message.shift);
            Ok(Rounding::Twice {
                left_shift: shifts("requantize.left_shift", left, want, MAX_TWICE_SHIFT)?,
                multiplier: multipliers_of(message, want)?,
                shift: shifts("requantize.shift", right, want, MAX_TWICE_SHIFT)?,
            })
        }
        Mode::Double => {
            let want = lists.double.ok_or_else(|| mode_fault(mode, lists))?;
            let scales = &message.double_scale;
            count_or_one("requantize.double_scale", scales.len(), want)?;
            floats("requantize.double_scale", scales, "a finite number", f64::is_finite)?;
            Ok(Rounding::Double(scales.clone()))
        }
        Mode::Real => {
            let want = lists.real.ok_or_else(|| mode_fault(mode, lists))?;
            count("requantize.scale", message.scale.len(), want)?;
            floats("requantize.scale", &message.scale, "a finite number", f32::is_finite)?;
            Ok(Rounding::Real(message.scale.clone()))
        }
        Mode::Quotient if lists.quotient => Ok(Rounding::Quotient(Vec::new())),
        Mode::Quotient | Mode::Unspecified => Err(mode_fault(mode, lists)),
    }
}

fn multipliers_of(message: &Requantize, want: usize) -> Checked<Vec<i32>> {
    count_or_one("requantize.multiplier", message.multiplier.len(), want)?;
    let bound = i128::from(i32::MAX);
    for &multiplier in &message.multiplier {
        in_range("requantize.multiplier", multiplier, -bound, bound)?;
    }
    Ok(message.multiplier.clone())
}

fn shifts(what: &'static str, list: &[u32], want: usize, greatest: u32) -> Checked<Vec<u32>> {
    count_or_one(what, list.len(), want)?;
    for &shift in list {
        in_range(what, shift, 0, i128::from(greatest))?;
    }
    Ok(list.to_vec())
}

fn mode_fault(mode: Mode, lists: Lists) -> Fault {
    let modes = [
        (lists.shift.is_some(), "SHIFT"),
        (lists.fixed.is_some(), "FIXED"),
        (lists.float.is_some(), "FLOAT"),
        (lists.twice.is_some(), "TWICE_ROUNDED"),
        (lists.double.is_some(), "DOUBLE"),
        (lists.quotient, "QUOTIENT"),
        (lists.real.is_some(), "REAL"),
    ];
    let allowed: Vec<&str> =
        modes.into_iter().filter(|(is_allowed, _)| *is_allowed).map(|(_, name)| name).collect();
    Fault::Mismatch {
        what: "requantize.mode",
        want: allowed.join(" or "),
        got: mode.as_str_name().trim_start_matches("MODE_").to_owned(),
    }
}
