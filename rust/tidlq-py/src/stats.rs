//! Doors of the statistics: `TensorStatistics` and `ErrorStatistics`.

use std::borrow::Cow;

use numpy::{PyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods, ToPyArray};
use pyo3::prelude::*;
use tidlq_core::isa::Cpu;
use tidlq_core::{analysis, stats};

use crate::door::{cpu, enter, raise};

/// The elements in C order; copied unless they lie in memory that way.
fn elements<'a>(array: &'a PyReadonlyArrayDyn<'_, f32>) -> Cow<'a, [f32]> {
    match array.as_slice() {
        Ok(slice) if array.is_c_contiguous() => Cow::Borrowed(slice),
        _ => Cow::Owned(array.as_array().iter().copied().collect()),
    }
}

fn as_pair(extremes: Option<(f32, f32)>) -> (f64, f64) {
    extremes.map_or((f64::NAN, f64::NAN), |(min, max)| (min.into(), max.into()))
}

/// Exact, mergeable statistics of one float tensor over frames.
#[pyclass(module = "tidlq._core")]
pub struct TensorStatistics {
    cpu: Cpu,
    inner: stats::TensorStatistics,
}

#[pymethods]
impl TensorStatistics {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self { cpu: cpu()?, inner: stats::TensorStatistics::default() })
    }

    fn update(
        &mut self,
        py: Python<'_>,
        values: PyReadonlyArrayDyn<'_, f32>,
    ) -> PyResult<(f64, f64)> {
        let values = elements(&values);
        let extremes = enter(py, || Ok(self.inner.update(self.cpu, &values)))?;
        Ok(as_pair(extremes))
    }

    fn merge(slf: &Bound<'_, Self>, other: &Bound<'_, Self>) -> PyResult<()> {
        // A copy, because the two may be one object.
        let other = other.try_borrow()?.inner.clone();
        slf.try_borrow_mut()?.inner.merge(&other);
        Ok(())
    }

    #[getter]
    fn min(&self) -> f64 {
        as_pair(self.inner.extremes()).0
    }

    #[getter]
    fn max(&self) -> f64 {
        as_pair(self.inner.extremes()).1
    }

    #[getter]
    fn count(&self) -> u64 {
        self.inner.count()
    }

    #[getter]
    fn zeros(&self) -> u64 {
        self.inner.zeros()
    }

    #[getter]
    fn nan_count(&self) -> u64 {
        self.inner.nan_count()
    }

    #[getter]
    fn inf_count(&self) -> u64 {
        self.inner.inf_count()
    }

    #[getter]
    fn sum(&self) -> f64 {
        self.inner.sum()
    }

    #[getter]
    fn sum_of_squares(&self) -> f64 {
        self.inner.sum_of_squares()
    }

    #[getter]
    fn bin_width(&self) -> f64 {
        self.inner.grid().map_or(0.0, stats::Grid::width)
    }

    #[getter]
    fn first_bin(&self) -> i32 {
        self.inner.grid().map_or(0, stats::Grid::first)
    }

    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.inner.counts().to_pyarray(py)
    }
}

/// Error of one float tensor against its reference, over frames.
#[pyclass(module = "tidlq._core")]
pub struct ErrorStatistics {
    cpu: Cpu,
    inner: analysis::ErrorStatistics,
}

#[pymethods]
impl ErrorStatistics {
    #[new]
    fn new() -> PyResult<Self> {
        Ok(Self { cpu: cpu()?, inner: analysis::ErrorStatistics::default() })
    }

    fn update(
        &mut self,
        py: Python<'_>,
        reference: PyReadonlyArrayDyn<'_, f32>,
        value: PyReadonlyArrayDyn<'_, f32>,
    ) -> PyResult<()> {
        if reference.shape() != value.shape() {
            let (want, got) = (reference.shape(), value.shape());
            let message = format!("The value has shape {got:?}, its reference has {want:?}.");
            return Err(raise(py, "DataError", &message));
        }
        let (reference, value) = (elements(&reference), elements(&value));
        enter(py, || {
            self.inner.update(self.cpu, &reference, &value);
            Ok(())
        })
    }

    #[getter]
    fn count(&self) -> u64 {
        self.inner.count()
    }

    #[getter]
    fn mean_squared_error(&self) -> f64 {
        self.inner.mean_squared_error()
    }

    #[getter]
    fn max_abs_error(&self) -> f64 {
        self.inner.max_abs_error()
    }

    #[getter]
    fn cosine(&self) -> f64 {
        self.inner.cosine()
    }

    #[getter]
    fn sqnr_db(&self) -> f64 {
        self.inner.sqnr_db()
    }
}
