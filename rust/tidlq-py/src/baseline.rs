//! `Baseline` and `Patch`.

use numpy::PyReadonlyArrayDyn;
use pyo3::prelude::*;
use tidlq_core::analysis::Outputs;
use tidlq_core::network::{self, MatchedLayer, Reference, Variation};

use crate::array::output_array;
use crate::door::{cpu, enter, raise};
use crate::engine::{FRAMES_PER_THREAD, find_tensor, load, parse_inputs, views};
use crate::stats::{DivergenceStatistics, ErrorStatistics, elements};

/// A Network and frames, with every feature kept.
#[pyclass(module = "tidlq._core")]
pub(crate) struct Baseline {
    inner: network::Baseline,
}

#[pymethods]
impl Baseline {
    #[new]
    #[pyo3(signature = (file, threads = 0))]
    fn new(py: Python<'_>, file: &[u8], threads: i64) -> PyResult<Self> {
        Ok(Self { inner: network::Baseline::new(load(py, file, threads)?) })
    }

    #[getter]
    fn layers(&self) -> Vec<&str> {
        self.inner.engine().program().layer_names().collect()
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
        self.inner.frame_bytes()
    }

    fn run(&mut self, py: Python<'_>, inputs: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let (arrays, frames) = parse_inputs(py, self.inner.engine().program(), &inputs, 1)?;
        let views = views(&arrays)?;
        enter(py, || self.inner.load(&views, frames))?;
        for range in self.pieces() {
            enter(py, || self.inner.run(range))?;
            py.check_signals()?;
        }
        Ok(())
    }

    fn tensor<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        let program = self.inner.engine().program();
        let index = find_tensor(py, program, name)?;
        let values = enter(py, || self.inner.tensor(index))?;
        let shape = [&[self.inner.frames()], &program.tensors[index].shape[..]].concat();
        output_array(py, values, shape)
    }
}

impl Baseline {
    /// The frames, cut where Python's signals are looked at.
    fn pieces(&self) -> Vec<std::ops::Range<usize>> {
        let (frames, step) = (self.inner.frames(), FRAMES_PER_THREAD * self.threads());
        (0..frames).step_by(step).map(|start| start..frames.min(start + step)).collect()
    }
}

/// A layer's name, and its steps, wanted means and limits.
type Matched = (String, Vec<f64>, Vec<f64>, Vec<f64>);

/// The layers in which a variant differs from a Network.
#[pyclass(module = "tidlq._core")]
pub(crate) struct Patch {
    baseline: Py<Baseline>,
    inner: network::Patch,
}

#[pymethods]
impl Patch {
    #[new]
    fn new(
        py: Python<'_>,
        baseline: Py<Baseline>,
        file: &[u8],
        inputs: Vec<String>,
        outputs: Vec<Option<String>>,
    ) -> PyResult<Self> {
        let inner = {
            let baseline = baseline.bind(py).try_borrow()?;
            let base = &baseline.inner;
            let program = base.engine().program();
            let find = |name: &String| find_tensor(py, program, name);
            let inputs = inputs.iter().map(find).collect::<PyResult<Vec<_>>>()?;
            let outputs = outputs.iter().map(|name| name.as_ref().map(find).transpose());
            let outputs = outputs.collect::<PyResult<Vec<_>>>()?;
            enter(py, || base.patch(file, &inputs, &outputs))?
        };
        Ok(Self { baseline, inner })
    }

    #[getter]
    fn layers(&self) -> Vec<&str> {
        self.inner.program().layer_names().collect()
    }

    #[getter]
    fn suffix(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        let baseline = self.baseline.bind(py).try_borrow()?;
        let names: Vec<&str> = baseline.inner.engine().program().layer_names().collect();
        Ok(self.inner.suffix().into_iter().map(|layer| names[layer].to_owned()).collect())
    }

    fn match_means(
        &mut self,
        py: Python<'_>,
        frames: usize,
        layers: Vec<Matched>,
    ) -> PyResult<Vec<Vec<i64>>> {
        let Self { baseline, inner } = self;
        let baseline = baseline.bind(py).try_borrow()?;
        let base = &baseline.inner;
        let mut matched = Vec::with_capacity(layers.len());
        for (name, steps, means, limits) in layers {
            let found = inner.program().layer_names().position(|layer| layer == name);
            let message = format!("The patch has no layer named {name:?}.");
            let layer = found.ok_or_else(|| raise(py, "OptionError", &message))?;
            matched.push(MatchedLayer { layer, steps, means, limits });
        }
        enter(py, || base.match_means(inner, frames, &matched))?;
        let biases = matched.iter().map(|matched| inner.bias(matched.layer).to_vec());
        Ok(biases.collect())
    }

    fn compare(
        &self,
        py: Python<'_>,
        references: Vec<(PyReadonlyArrayDyn<'_, f32>, String)>,
    ) -> PyResult<Vec<(ErrorStatistics, DivergenceStatistics)>> {
        let baseline = self.baseline.bind(py).try_borrow()?;
        let base = &baseline.inner;
        let arrays: Vec<_> = references.iter().map(|(array, _)| elements(array)).collect();
        let mut given = Vec::with_capacity(arrays.len());
        for ((array, kind), values) in references.iter().zip(&arrays) {
            let classes = array.as_array().shape().last().copied().unwrap_or(1);
            given.push(Reference { values, outputs: outputs(py, kind, classes)? });
        }
        let mut total = Variation::default();
        for range in baseline.pieces() {
            enter(py, || base.compare(&self.inner, &given, range, &mut total))?;
            py.check_signals()?;
        }
        let cpu = cpu()?;
        let pairs = total.errors.into_iter().zip(total.divergences);
        let pairs = pairs.map(|(error, divergence)| {
            (ErrorStatistics { cpu, inner: error }, DivergenceStatistics { inner: divergence })
        });
        Ok(pairs.collect())
    }

    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let baseline = self.baseline.bind(py).try_borrow()?;
        let base = &baseline.inner;
        let frames = base.frames();
        let values = enter(py, || base.outputs(&self.inner, 0..frames))?;
        let results = self.inner.results(base.engine());
        let shapes = results.iter().map(|tensor| [&[frames], &tensor.shape[..]].concat());
        let arrays = values.into_iter().zip(shapes);
        arrays.map(|(values, shape)| output_array(py, values, shape)).collect()
    }
}

/// What an output's values are.
pub(crate) fn outputs(py: Python<'_>, kind: &str, classes: usize) -> PyResult<Outputs> {
    match kind {
        "plain" => Ok(Outputs::Plain),
        "logits" => Ok(Outputs::Logits(classes)),
        "probabilities" => Ok(Outputs::Probabilities(classes)),
        _ => {
            let message = format!(
                "Outputs are said to be {kind:?}, allowed are \"plain\", \"logits\" and \
                 \"probabilities\"."
            );
            Err(raise(py, "OptionError", &message))
        }
    }
}
