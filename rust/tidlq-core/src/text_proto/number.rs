//! Floats as Python prints them: the fewest digits that give the same number, in plain notation from
//! 1e-4 to 1e16.

use std::fmt::{self, Write};

/// Fewest digits that are tried for a float32.
const FLOAT32_DIGITS: usize = 6;
/// Fewest digits of a float64 that may be as near to it as their neighbours are.
const TIED_DIGITS: usize = 16;

/// Prints a float64 as Python's `repr` does.
pub(super) fn print_f64(out: &mut String, scratch: &mut String, value: f64) -> fmt::Result {
    if value.is_nan() {
        return out.write_str("nan");
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    if value.is_infinite() {
        return out.write_str("inf");
    }
    write_shortest(scratch, value.abs())?;
    let (mantissa, exponent) = scratch.split_once('e').ok_or(fmt::Error)?;
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    let (first, rest) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    match usize::try_from(exponent) {
        Ok(whole @ 0..16) => {
            let split = whole.min(rest.len());
            out.extend([first, &rest[..split]]);
            out.extend(std::iter::repeat_n('0', whole - split));
            out.extend([".", if split == rest.len() { "0" } else { &rest[split..] }]);
        }
        Err(_) if exponent >= -4 => {
            out.push_str("0.");
            out.extend((exponent..-1).map(|_| '0'));
            out.extend([first, rest]);
        }
        _ => {
            out.extend([first, if rest.is_empty() { "" } else { "." }, rest]);
            let sign = if exponent < 0 { '-' } else { '+' };
            write!(out, "e{sign}{:02}", exponent.unsigned_abs())?;
        }
    }
    Ok(())
}

/// Prints a float32 as Python's protobuf library does: rounded to the fewest digits, but no fewer than
/// six, that a reader turns into the same float32 by way of a float64.
pub(super) fn print_f32(out: &mut String, scratch: &mut String, value: f32) -> fmt::Result {
    if !value.is_finite() {
        return print_f64(out, scratch, value.into());
    }
    scratch.clear();
    write!(scratch, "{:e}", value.abs())?;
    let mut digits = count_digits(scratch).max(FLOAT32_DIGITS);
    loop {
        scratch.clear();
        write!(scratch, "{:.*e}", digits - 1, f64::from(value))?;
        let rounded: f64 = scratch.parse().map_err(|_| fmt::Error)?;
        // Seventeen digits give every float64, so that the loop ends.
        if rounded as f32 == value {
            return print_f64(out, scratch, rounded);
        }
        digits += 1;
    }
}

/// Writes the fewest digits in scientific notation; of two equally near ones the even, which is not
/// what the standard library promises.
fn write_shortest(scratch: &mut String, value: f64) -> fmt::Result {
    scratch.clear();
    write!(scratch, "{value:e}")?;
    let digits = count_digits(scratch);
    if digits >= TIED_DIGITS {
        let length = scratch.len();
        write!(scratch, "{:.*e}", digits - 1, value)?;
        if scratch[length..].parse() == Ok(value) {
            scratch.drain(..length);
        } else {
            scratch.truncate(length);
        }
    }
    Ok(())
}

/// Number of digits before the exponent.
fn count_digits(scientific: &str) -> usize {
    scientific.bytes().take_while(|&byte| byte != b'e').filter(u8::is_ascii_digit).count()
}
