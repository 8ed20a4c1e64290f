//! The elementary checks. Each returns the value in the engine's own type.

use crate::element::ElementType;
use crate::error::Fault;
use crate::network::TensorSpec;

pub(super) type Checked<T> = Result<T, Fault>;

/// Greatest size of all features together, and of any constant.
pub(super) const MAX_BYTES: u128 = 1 << 40;

/// Greatest coordinate that a window may reach, padding apart.
pub(super) const MAX_COORDINATE: i128 = 1 << 40;

/// An integer within an interval.
pub(super) fn in_range<T>(what: &'static str, got: T, low: i128, high: i128) -> Checked<T>
where
    T: Copy + TryInto<i128>,
{
    let value: i128 = got.try_into().unwrap_or(i128::MAX);
    if (low..=high).contains(&value) {
        Ok(got)
    } else {
        Err(Fault::Range { what, got: value, low, high })
    }
}

/// An index into a list of `length` entries.
pub(super) fn index(what: &'static str, got: u32, length: usize) -> Checked<usize> {
    if (got as usize) < length {
        return Ok(got as usize);
    }
    Err(Fault::Range { what, got: i128::from(got), low: 0, high: length as i128 - 1 })
}

/// A list of exactly `want` entries.
pub(super) fn count(what: &'static str, got: usize, want: usize) -> Checked<()> {
    if got == want {
        Ok(())
    } else {
        Err(Fault::Count { what, want: want as u64, got: got as u64 })
    }
}

/// A list of one entry, or of one per channel.
pub(super) fn count_or_one(what: &'static str, got: usize, want: usize) -> Checked<()> {
    if got == 1 { Ok(()) } else { count(what, got, want) }
}

/// A message field that must be present.
pub(super) fn present<T>(what: &'static str, value: Option<T>) -> Checked<T> {
    value.ok_or(Fault::Missing { what })
}

/// Every float of a list satisfies a condition.
pub(super) fn floats<T: Copy + std::fmt::Display>(
    what: &'static str,
    values: &[T],
    want: &'static str,
    is_good: impl Fn(T) -> bool,
) -> Checked<()> {
    match values.iter().position(|&value| !is_good(value)) {
        None => Ok(()),
        Some(index) => Err(Fault::Float { what, index, got: values[index].to_string(), want }),
    }
}

/// Two properties agree.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(
    what: &'static str,
    got: &T,
    want: &T,
) -> Checked<()> {
    if got == want {
        return Ok(());
    }
    Err(Fault::Mismatch { what, want: format!("{want:?}"), got: format!("{got:?}") })
}

/// A pair (height, width) with lower bound.
pub(super) fn pair(what: &'static str, list: &[u32], low: u32) -> Checked<[usize; 2]> {
    count(what, list.len(), 2)?;
    for &entry in list {
        in_range(what, entry, i128::from(low), i128::from(u32::MAX))?;
    }
    Ok([list[0] as usize, list[1] as usize])
}

/// The tensor is of an integer type; returns its range.
pub(super) fn integer(what: &'static str, tensor: &TensorSpec) -> Checked<(i32, i32)> {
    tensor.element_type.range().ok_or_else(|| Fault::Mismatch {
        what,
        want: "an integer type".to_owned(),
        got: tensor.element_type.name().to_owned(),
    })
}

/// The tensor is of float type.
pub(super) fn float(what: &'static str, tensor: &TensorSpec) -> Checked<()> {
    element_type(what, tensor, ElementType::F32)
}

pub(super) fn element_type(
    what: &'static str,
    tensor: &TensorSpec,
    want: ElementType,
) -> Checked<()> {
    if tensor.element_type == want {
        return Ok(());
    }
    Err(Fault::Mismatch {
        what,
        want: want.name().to_owned(),
        got: tensor.element_type.name().to_owned(),
    })
}

/// Type, scale and zero point agree.
pub(super) fn same_quantization(got: &TensorSpec, want: &TensorSpec) -> Checked<()> {
    element_type("the output's element type", got, want.element_type)?;
    same("the output's scale", &got.scale, &want.scale)?;
    same("the output's zero point", &got.zero_point, &want.zero_point)
}
