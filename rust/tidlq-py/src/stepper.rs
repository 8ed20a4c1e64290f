//! `FrameStepper`.

use std::ops::Range;

use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use tidlq_core::error::StepFault;
use tidlq_core::network;

use crate::array::output_array;
use crate::door::{enter, raise, to_python};
use crate::engine::{FRAMES_PER_THREAD, find_tensor, load, parse_inputs, views};

/// A Network and the features of several frames, advanced layer by layer.
#[pyclass(module = "tidlq._core")]
pub(crate) struct FrameStepper {
    inner: network::Stepper,
}

#[pymethods]
impl FrameStepper {
    /// Loads the bytes of a `.tidlq` file and puts frames before its first layer.
    #[new]
    #[pyo3(signature = (file, inputs, threads = 0, *, once = false))]
    fn new(
        py: Python<'_>,
        file: &[u8],
        inputs: Vec<Bound<'_, PyAny>>,
        threads: i64,
        once: bool,
    ) -> PyResult<Self> {
        let engine = load(py, file, threads)?;
        let (arrays, frames) = parse_inputs(py, engine.program(), &inputs, 1)?;
        let views = views(&arrays)?;
        let open = if once { network::Stepper::once } else { network::Stepper::new };
        let inner = enter(py, || open(engine, &views, frames))?;
        Ok(Self { inner })
    }

    #[getter]
    fn layers(&self) -> Vec<&str> {
        self.inner.layers()
    }

    #[getter]
    fn position(&self) -> usize {
        self.inner.position()
    }

    #[getter]
    fn frames(&self) -> usize {
        self.inner.frames()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.inner.engine().threads()
    }

    #[getter]
    fn frame_bytes(&self) -> usize {
        self.inner.engine().feature_bytes()
    }

    fn advance(&mut self, py: Python<'_>, layer: i64) -> PyResult<()> {
        let layer = self.layer(py, layer)?;
        let frames = self.inner.frames();
        let step = FRAMES_PER_THREAD * self.inner.engine().threads();
        for start in (0..frames.max(1)).step_by(step) {
            let range = start..frames.min(start + step);
            enter(py, || self.inner.advance(range, layer))?;
            py.check_signals()?;
        }
        Ok(())
    }

    fn restart(&mut self, py: Python<'_>) -> PyResult<()> {
        self.inner.restart().map_err(|error| to_python(py, &error))
    }

    fn input_sums<'py>(
        &self,
        py: Python<'py>,
        layer: i64,
        start: i64,
        stop: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let layer = self.layer(py, layer)?;
        let frames = frame_range(py, start, stop)?;
        let (shape, sums) = enter(py, || self.inner.input_sums(layer, frames))?;
        Ok(PyArray1::from_vec(py, sums).reshape(shape)?.into_any())
    }

    fn sample_sums<'py>(
        &self,
        py: Python<'py>,
        layer: i64,
        start: i64,
        stop: i64,
    ) -> PyResult<Bound<'py, PyAny>> {
        let layer = self.layer(py, layer)?;
        let frames = frame_range(py, start, stop)?;
        let (shape, sums) = enter(py, || self.inner.sample_sums(layer, frames))?;
        Ok(PyArray1::from_vec(py, sums).reshape(shape)?.into_any())
    }

    fn output_positions(&self, py: Python<'_>, layer: i64) -> PyResult<usize> {
        let layer = self.layer(py, layer)?;
        self.inner.output_positions(layer).map_err(|error| to_python(py, &error))
    }

    fn bias(&self, py: Python<'_>, layer: i64) -> PyResult<Vec<i64>> {
        let layer = self.layer(py, layer)?;
        let bias = self.inner.bias(layer).map_err(|error| to_python(py, &error))?;
        Ok(bias.to_vec())
    }

    fn set_bias(&mut self, py: Python<'_>, layer: i64, bias: &Bound<'_, PyAny>) -> PyResult<()> {
        let layer = self.layer(py, layer)?;
        let bias = self.integers(layer, bias)?;
        enter(py, || self.inner.set_bias(layer, bias))
    }

    fn set_shift(&mut self, py: Python<'_>, layer: i64, shift: Vec<f64>) -> PyResult<()> {
        let layer = self.layer(py, layer)?;
        enter(py, || self.inner.set_shift(layer, shift))
    }

    fn tensor<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let index = find_tensor(py, self.inner.engine().program(), name)?;
        let values = enter(py, || self.inner.tensor(index))?;
        output_array(py, values, self.shape(index))
    }

    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let outputs = enter(py, || self.inner.outputs())?;
        let indices = &self.inner.engine().program().outputs;
        let arrays = outputs.into_iter().zip(indices);
        arrays.map(|(values, &index)| output_array(py, values, self.shape(index))).collect()
    }
}

fn frame_range(py: Python<'_>, start: i64, stop: i64) -> PyResult<Range<usize>> {
    let (Ok(first), Ok(end)) = (usize::try_from(start), usize::try_from(stop)) else {
        let message = format!("Frames {start} to {stop} are asked for, they begin at 0.");
        return Err(raise(py, "OptionError", &message));
    };
    Ok(first..end)
}

impl FrameStepper {
    /// A layer's index or, for an advance, the number of layers.
    fn layer(&self, py: Python<'_>, layer: i64) -> PyResult<usize> {
        usize::try_from(layer).map_err(|_| {
            let layers = self.inner.layers().len();
            to_python(py, &StepFault::Layer { got: layer.into(), layers }.into())
        })
    }

    /// Shape of a tensor of all frames.
    fn shape(&self, tensor: usize) -> Vec<usize> {
        let tensor = &self.inner.engine().program().tensors[tensor];
        [&[self.inner.frames()], &tensor.shape[..]].concat()
    }

    /// The entries of a bias; the error names the first that is no 64-bit integer.
    fn integers(&self, layer: usize, bias: &Bound<'_, PyAny>) -> PyResult<Vec<i64>> {
        let py = bias.py();
        let fault = |found: &str| {
            let layers = self.inner.layers();
            let name = layers.get(layer).copied().unwrap_or_default();
            let message = format!(
                "The bias given to layer {name:?} is {found}, a list of integers within \
                 -2^47 to 2^47 is needed."
            );
            raise(py, "OptionError", &message)
        };
        let Ok(entries) = bias.try_iter() else {
            return Err(fault(&format!("of type {}", bias.get_type().name()?)));
        };
        let mut integers = Vec::new();
        for (index, entry) in entries.enumerate() {
            let entry = entry?;
            let Ok(integer) = entry.extract() else {
                return Err(fault(&format!("{} at entry {index}", entry.repr()?)));
            };
            integers.push(integer);
        }
        Ok(integers)
    }
}
