//! Python doors of `tidlq-core`: `tidlq._core`.

mod array;
mod baseline;
mod door;
mod engine;
mod feature_sums;
mod stats;
mod stepper;
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
    module.add_class::<stepper::FrameStepper>()?;
    module.add_class::<baseline::Baseline>()?;
    module.add_class::<baseline::Patch>()?;
    module.add_class::<stats::TensorStatistics>()?;
    module.add_class::<stats::ErrorStatistics>()?;
    module.add_class::<stats::DivergenceStatistics>()?;
    module.add_function(wrap_pyfunction!(stats::select_weight_range, module)?)?;
    module.add_class::<feature_sums::WindowSums>()?;
    module.add_class::<feature_sums::ChannelStatistics>()?;
    module.add_class::<text_proto::TextForm>()?;
    Ok(())
}
