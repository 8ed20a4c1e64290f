//! The one door between Python and the core: releases the GIL, catches panics, maps errors.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use tidlq_core::error::{Error, Result, SearchFault};
use tidlq_core::isa::{Cpu, Isa};

/// Environment variable that pins the instruction set.
const ISA_VARIABLE: &str = "TIDLQ_ISA";

/// The instruction set in use: the one that the environment pins, or the best.
pub(crate) fn selected_isa() -> Result<Isa> {
    Isa::select(std::env::var(ISA_VARIABLE).ok().as_deref())
}

/// Proof of the instruction set in use.
pub(crate) fn cpu() -> PyResult<Cpu> {
    let cpu = selected_isa()
        .and_then(|isa| Cpu::new(isa).ok_or(Error::UnsupportedIsa { name: isa.name() }));
    cpu.map_err(|error| Python::attach(|py| to_python(py, &error)))
}

/// Runs native work without the GIL. Errors become the classes of `tidlq.errors`; a panic becomes an
/// `InternalError`.
pub(crate) fn enter<T: Send>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    match py.detach(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(to_python(py, &error)),
        Err(panic) => {
            let words = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no words");
            Err(raise(py, "InternalError", &format!("The native core panicked: {words}.")))
        }
    }
}

/// The Python exception of a core error.
pub(crate) fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let class = match error {
        Error::Magic
        | Error::NewerFormat { .. }
        | Error::Version { .. }
        | Error::Length { .. }
        | Error::Checksum { .. }
        | Error::Encoding { .. }
        | Error::Tensor { .. }
        | Error::Layer { .. }
        | Error::Network { .. }
        | Error::State { .. }
        | Error::Memory { .. } => "ArtifactError",
        Error::InputCount { .. }
        | Error::InputType { .. }
        | Error::InputShape { .. }
        | Error::FrameCount { .. }
        | Error::FeatureShape { .. } => "DataError",
        Error::UnknownTensor { .. }
        | Error::UnknownIsa { .. }
        | Error::UnsupportedIsa { .. }
        | Error::ThreadCount { .. }
        | Error::Window { .. }
        | Error::Step(_)
        | Error::Patch(_)
        | Error::Threads { .. } => "OptionError",
        Error::Search(SearchFault::Argument { .. }) => "OptionError",
        Error::Search(_) => "DataError",
        Error::Schema { .. } | Error::Internal { .. } => "InternalError",
    };
    raise(py, class, &sentence(&error.to_string()))
}

/// An exception of `tidlq.errors` with a message.
pub(crate) fn raise(py: Python<'_>, class: &str, message: &str) -> PyErr {
    let exception = py
        .import("tidlq.errors")
        .and_then(|module| module.getattr(class))
        .and_then(|class| class.call1((message,)));
    match exception {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Capitalises and ends with a full stop.
pub(crate) fn sentence(words: &str) -> String {
    let mut letters = words.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    format!("{first}{}.", letters.as_str())
}
