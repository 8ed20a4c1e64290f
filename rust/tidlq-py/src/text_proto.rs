//! Door of the text form of protobuf messages: `TextForm`.

use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;
use tidlq_core::text_proto;

use crate::door::enter;

/// Text form of the messages of one protobuf type.
#[pyclass(module = "tidlq._core", frozen)]
pub(crate) struct TextForm {
    inner: text_proto::TextForm,
}

#[pymethods]
impl TextForm {
    #[new]
    fn new(py: Python<'_>, files: Vec<PyBackedBytes>, message: &str) -> PyResult<Self> {
        let files = files.iter().map(AsRef::as_ref);
        Ok(Self { inner: enter(py, || text_proto::TextForm::new(files, message))? })
    }

    fn to_binary<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let binary = enter(py, || Ok(self.inner.to_binary(text)))?;
        Ok(binary.map(|binary| PyBytes::new(py, &binary)))
    }

    fn to_text(&self, py: Python<'_>, binary: &[u8]) -> PyResult<Option<String>> {
        enter(py, || Ok(self.inner.to_text(binary)))
    }
}
