//! Doors of the sums of float features: `WindowSums` and `ChannelStatistics`.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods, ToPyArray};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tidlq_core::error::Result;
use tidlq_core::isa::Cpu;
use tidlq_core::stats::{self, WindowSpan};

use crate::door::{cpu, enter, raise};
use crate::stats::elements;

/// Sums of a float feature over the positions of a window, per channel and kernel position.
#[pyclass(module = "tidlq._core")]
pub(crate) struct WindowSums {
    cpu: Cpu,
    inner: stats::WindowSums,
}

#[pymethods]
impl WindowSums {
    #[new]
    #[pyo3(signature = (kernel, stride, dilation, pad_begin, output_size, *, transposed = false))]
    fn new(
        py: Python<'_>,
        kernel: Vec<i64>,
        stride: Vec<i64>,
        dilation: Vec<i64>,
        pad_begin: Vec<i64>,
        output_size: Vec<i64>,
        transposed: bool,
    ) -> PyResult<Self> {
        let lists = [&kernel, &stride, &dilation, &pad_begin, &output_size];
        if lists.iter().any(|list| list.len() != kernel.len()) {
            let message = format!(
                "The window's lists have {:?} entries, each needs one per spatial axis.",
                lists.map(Vec::len)
            );
            return Err(raise(py, "OptionError", &message));
        }
        let span = |axis| {
            let span = WindowSpan::new(lists.map(|list: &Vec<i64>| list[axis]))?;
            Ok(if transposed { span.transposed() } else { span })
        };
        let spans = (0..kernel.len()).map(span);
        let inner = enter(py, || stats::WindowSums::new(spans.collect::<Result<_>>()?))?;
        Ok(Self { cpu: cpu()?, inner })
    }

    fn update(&mut self, py: Python<'_>, values: PyReadonlyArrayDyn<'_, f32>) -> PyResult<()> {
        let (shape, values) = (values.shape(), elements(&values));
        enter(py, || self.inner.update(self.cpu, shape, &values))
    }

    #[getter]
    fn sums<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let sums = PyArray1::from_slice(py, self.inner.sums());
        Ok(sums.reshape(self.inner.shape())?.into_any())
    }

    #[getter]
    fn positions(&self) -> u64 {
        self.inner.positions()
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_bytes())
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        let inner = enter(py, || stats::WindowSums::from_bytes(state))?;
        Ok(Self { cpu: cpu()?, inner })
    }
}

/// Extremes and sums of each channel of a float tensor.
#[pyclass(module = "tidlq._core")]
pub(crate) struct ChannelStatistics {
    cpu: Cpu,
    inner: stats::ChannelStatistics,
}

#[pymethods]
impl ChannelStatistics {
    #[new]
    fn new(axis: isize) -> PyResult<Self> {
        Ok(Self { cpu: cpu()?, inner: stats::ChannelStatistics::new(axis) })
    }

    fn update(&mut self, py: Python<'_>, values: PyReadonlyArrayDyn<'_, f32>) -> PyResult<()> {
        let (shape, values) = (values.shape(), elements(&values));
        enter(py, || self.inner.update(self.cpu, shape, &values))
    }

    #[getter]
    fn axis(&self) -> isize {
        self.inner.axis()
    }

    #[getter]
    fn count(&self) -> u64 {
        self.inner.count()
    }

    #[getter]
    fn minima<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.inner.minima().to_pyarray(py)
    }

    #[getter]
    fn maxima<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f32>> {
        self.inner.maxima().to_pyarray(py)
    }

    #[getter]
    fn sums<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.inner.sums().to_pyarray(py)
    }

    #[getter]
    fn sums_of_squares<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.inner.sums_of_squares().to_pyarray(py)
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.inner.to_bytes())
    }

    #[staticmethod]
    fn from_bytes(py: Python<'_>, state: &[u8]) -> PyResult<Self> {
        let inner = enter(py, || stats::ChannelStatistics::from_bytes(state))?;
        Ok(Self { cpu: cpu()?, inner })
    }
}
