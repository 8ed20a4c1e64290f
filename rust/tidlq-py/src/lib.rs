//! Python doors of `tidlq-core`: `tidlq._core`.

mod array;
mod door;
mod engine;
mod stats;
mod text_proto;

use pyo3::prelude::*;

/// Native core: the integer engine and the statistics that touch every element.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_function(wrap_pyfunction!(engine::isa_available, module)?)?;
    module.add_function(wrap_pyfunction!(engine::isa_active, module)?)?;
    module.add_class::<engine::TensorInfo>()?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<stats::TensorStatistics>()?;
    module.add_class::<stats::ErrorStatistics>()?;
    module.add_class::<text_proto::TextForm>()?;
    Ok(())
}
