//! Doors of the statistics: `TensorStatistics`, `ErrorStatistics`, and the searches for ranges.

use std::borrow::Cow;

use numpy::{
    Element, PyArray1, PyReadonlyArray2, PyReadonlyArrayDyn, PyUntypedArrayMethods, ToPyArray,
};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tidlq_core::error::{Error, SearchFault, Shape};
use tidlq_core::isa::Cpu;
use tidlq_core::stats::{FeatureScales, Form, Method, WeightRule};
use tidlq_core::{analysis, stats};

use crate::baseline::outputs;
use crate::door::{cpu, enter, raise};

/// The elements in C order; copied unless they lie in memory that way.
pub(crate) fn elements<'a>(array: &'a PyReadonlyArrayDyn<'_, f32>) -> Cow<'a, [f32]> {
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

    #[allow(clippy::too_many_arguments, reason = "the signature of the stub")]
    fn select_range(
        &self,
        py: Python<'_>,
        method: &str,
        bits: u32,
        asymmetric: bool,
        unit: f64,
        least_shift: i64,
        parameter: f64,
    ) -> PyResult<(f64, f64)> {
        let range = enter(py, || {
            let method = Method::new(method, parameter)?;
            let form = form(asymmetric, unit, least_shift)?;
            self.inner.select_range(method, &FeatureScales::new(bits, form)?)
        })?;
        Ok(as_pair(Some(range)))
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_bytes())
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        let inner = enter(py, || stats::TensorStatistics::from_bytes(state))?;
        Ok(Self { cpu: cpu()?, inner })
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

/// A unit of 0 stands for any scale.
fn form(asymmetric: bool, unit: f64, least_shift: i64) -> Result<Form, Error> {
    match (asymmetric, unit == 0.0) {
        (true, true) => Ok(Form::Asymmetric),
        (false, true) => Ok(Form::Symmetric),
        (false, false) => {
            let bounded = least_shift.clamp(i32::MIN.into(), i32::MAX.into());
            Ok(Form::Multiples { unit, least_shift: bounded as i32 })
        }
        (true, false) => {
            let (what, want) = ("the unit of asymmetric scales", "0");
            Err(SearchFault::Argument { what, got: unit.to_string(), want }.into())
        }
    }
}

/// The largest magnitude of a weight that is kept, for each channel or for all.
#[pyfunction]
pub fn select_weight_range<'py>(
    py: Python<'py>,
    weight: &Bound<'py, PyAny>,
    moments: Option<PyReadonlyArray2<'py, f64>>,
    bits: u32,
    power_of_two: bool,
    full_code: bool,
    per_channel: bool,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let rule = WeightRule { bits, power_of_two, full_code };
    let moments = moments.as_ref();
    let chosen = if let Ok(weight) = weight.extract::<PyReadonlyArray2<'py, f32>>() {
        weight_range(py, &weight, moments, rule, per_channel)
    } else if let Ok(weight) = weight.extract::<PyReadonlyArray2<'py, f64>>() {
        weight_range(py, &weight, moments, rule, per_channel)
    } else {
        let message = "A weight is an array of two axes of float32 or float64.";
        Err(raise(py, "DataError", message))
    };
    Ok(PyArray1::from_vec(py, chosen?))
}

fn weight_range<T: Element + Copy + Into<f64> + Sync>(
    py: Python<'_>,
    weight: &PyReadonlyArray2<'_, T>,
    moments: Option<&PyReadonlyArray2<'_, f64>>,
    rule: WeightRule,
    per_channel: bool,
) -> PyResult<Vec<f64>> {
    let (channels, columns) = (weight.shape()[0], weight.shape()[1]);
    let values = rows(weight);
    let cpu = cpu()?;
    let shape = moments.map(|moments| moments.shape().to_vec());
    let moments = moments.map(rows);
    enter(py, || {
        if let Some(shape) =
            shape.filter(|shape| *shape != [1, columns] && *shape != [channels, columns])
        {
            let want = format!("[1, {columns}] or [{channels}, {columns}]");
            return Err(SearchFault::Moments { want, got: Shape(shape) }.into());
        }
        stats::select_weight_range(cpu, &values, channels, moments.as_deref(), rule, per_channel)
    })
}

/// The elements in C order; copied unless they lie in memory that way.
fn rows<'a, T: Element + Copy>(array: &'a PyReadonlyArray2<'_, T>) -> Cow<'a, [T]> {
    match array.as_slice() {
        Ok(slice) if array.is_c_contiguous() => Cow::Borrowed(slice),
        _ => Cow::Owned(array.as_array().iter().copied().collect()),
    }
}

/// Refuses arrays of unequal shape.
fn same_shape(
    py: Python<'_>,
    reference: &PyReadonlyArrayDyn<'_, f32>,
    value: &PyReadonlyArrayDyn<'_, f32>,
) -> PyResult<()> {
    if reference.shape() == value.shape() {
        return Ok(());
    }
    let (want, got) = (reference.shape(), value.shape());
    let message = format!("The value has shape {got:?}, its reference has {want:?}.");
    Err(raise(py, "DataError", &message))
}

/// Error of one float tensor against its reference, over frames.
#[pyclass(module = "tidlq._core")]
pub struct ErrorStatistics {
    pub(crate) cpu: Cpu,
    pub(crate) inner: analysis::ErrorStatistics,
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
        same_shape(py, &reference, &value)?;
        let (reference, value) = (elements(&reference), elements(&value));
        enter(py, || {
            self.inner.update(self.cpu, &reference, &value);
            Ok(())
        })
    }

    fn update_known(
        &mut self,
        py: Python<'_>,
        reference: PyReadonlyArrayDyn<'_, f32>,
        value: PyReadonlyArrayDyn<'_, f32>,
    ) -> PyResult<()> {
        same_shape(py, &reference, &value)?;
        let (reference, value) = (elements(&reference), elements(&value));
        enter(py, || {
            self.inner.update_known(self.cpu, &reference, &value);
            Ok(())
        })
    }

    /// Adds every frame of other statistics.
    fn merge(&mut self, other: PyRef<'_, Self>) {
        self.inner.merge(&other.inner);
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
    fn relative_error(&self) -> f64 {
        self.inner.relative_error()
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

/// Divergence of distributions over classes from their reference.
#[pyclass(module = "tidlq._core")]
pub struct DivergenceStatistics {
    pub(crate) inner: analysis::DivergenceStatistics,
}

#[pymethods]
impl DivergenceStatistics {
    #[new]
    fn new() -> Self {
        Self { inner: analysis::DivergenceStatistics::default() }
    }

    fn update(
        &mut self,
        py: Python<'_>,
        kind: &str,
        reference: PyReadonlyArrayDyn<'_, f32>,
        value: PyReadonlyArrayDyn<'_, f32>,
    ) -> PyResult<()> {
        same_shape(py, &reference, &value)?;
        let outputs = outputs(py, kind, reference.shape().last().copied().unwrap_or(1))?;
        let (reference, value) = (elements(&reference), elements(&value));
        enter(py, || {
            self.inner.update(outputs, &reference, &value);
            Ok(())
        })
    }

    /// Adds every row of other statistics.
    fn merge(&mut self, other: PyRef<'_, Self>) {
        self.inner.merge(&other.inner);
    }

    #[getter]
    fn rows(&self) -> u64 {
        self.inner.rows()
    }

    #[getter]
    fn mean(&self) -> f64 {
        self.inner.mean()
    }
}
