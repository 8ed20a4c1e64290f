//! `Engine`, `TensorInfo` and the instruction-set functions.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use tidlq_core::error::Error;
use tidlq_core::isa::Isa;
use tidlq_core::network::{self, Program, TensorSpec, ValuesView};

use crate::array::{InputArray, check_shapes, input_arrays, output_array};
use crate::door::{enter, raise, selected_isa, to_python};

/// Frames per thread between two looks at Python's signals.
pub(crate) const FRAMES_PER_THREAD: usize = 4;

/// Instruction sets that this CPU can run, slowest first.
#[pyfunction]
pub(crate) fn isa_available() -> Vec<&'static str> {
    Isa::available().into_iter().map(Isa::name).collect()
}

/// Instruction set in use: the best available, or the one that TIDLQ_ISA pins.
#[pyfunction]
pub(crate) fn isa_active(py: Python<'_>) -> PyResult<&'static str> {
    selected_isa().map(Isa::name).map_err(|error| to_python(py, &error))
}

/// A tensor of a loaded Network.
#[pyclass(module = "tidlq._core", frozen)]
pub(crate) struct TensorInfo {
    #[pyo3(get)]
    name: String,
    /// One of "u8", "s8", "u16", "s16", "f32"; of positions "s32" or "s64".
    #[pyo3(get)]
    element_type: &'static str,
    shape: Vec<usize>,
    #[pyo3(get)]
    scale: f32,
    #[pyo3(get)]
    zero_point: i32,
}

#[pymethods]
impl TensorInfo {
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.shape)
    }

    fn __repr__(&self) -> String {
        let Self { name, element_type, shape, scale, zero_point } = self;
        format!(
            "TensorInfo({name:?}, {element_type}, {shape:?}, scale={scale}, zero_point={zero_point})"
        )
    }
}

impl From<&TensorSpec> for TensorInfo {
    fn from(tensor: &TensorSpec) -> Self {
        Self {
            name: tensor.name.clone(),
            element_type: tensor.element_type.name(),
            shape: tensor.shape.clone(),
            scale: tensor.scale,
            zero_point: tensor.zero_point,
        }
    }
}

/// A validated Network with packed weights, ready to run.
#[pyclass(module = "tidlq._core", frozen)]
pub(crate) struct Engine {
    engine: network::Engine,
}

#[pymethods]
impl Engine {
    /// Loads the bytes of a `.tidlq` file; threads 0 means one per core.
    #[new]
    #[pyo3(signature = (file, threads = 0))]
    fn new(py: Python<'_>, file: &[u8], threads: i64) -> PyResult<Self> {
        Ok(Self { engine: load(py, file, threads)? })
    }

    #[getter]
    fn inputs(&self) -> Vec<TensorInfo> {
        let program = self.engine.program();
        tensors_at(program, &program.inputs).into_iter().map(TensorInfo::from).collect()
    }

    #[getter]
    fn outputs(&self) -> Vec<TensorInfo> {
        let program = self.engine.program();
        tensors_at(program, &program.outputs).into_iter().map(TensorInfo::from).collect()
    }

    /// Every tensor, constants included, in the Network's order.
    #[getter]
    fn tensors(&self) -> Vec<TensorInfo> {
        self.engine.program().tensors.iter().map(TensorInfo::from).collect()
    }

    #[getter]
    fn threads(&self) -> usize {
        self.engine.threads()
    }

    /// Bytes of the feature-map buffers of one frame, with reuse.
    #[getter]
    fn feature_bytes(&self) -> usize {
        self.engine.feature_bytes()
    }

    /// Executes independent frames.
    fn run<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let program = self.engine.program();
        let (arrays, frames) = parse_inputs(py, program, &inputs, 1)?;
        let views = views(&arrays)?;
        let mut outputs = enter(py, || self.engine.allocate_outputs(frames))?;
        let step = FRAMES_PER_THREAD * self.engine.threads();
        for start in (0..frames).step_by(step) {
            let range = start..frames.min(start + step);
            enter(py, || self.engine.run_into(&views, frames, range, &mut outputs))?;
            py.check_signals()?;
        }
        let tensors = tensors_at(program, &program.outputs);
        let shapes = tensors.into_iter().map(|tensor| [&[frames], &tensor.shape[..]].concat());
        outputs
            .into_iter()
            .zip(shapes)
            .map(|(values, shape)| output_array(py, values, shape))
            .collect()
    }

    /// Executes one frame and returns the named tensors.
    fn trace<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Bound<'py, PyAny>>,
        tensors: Vec<String>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let program = self.engine.program();
        let indices: Vec<usize> =
            tensors.iter().map(|name| find_tensor(py, program, name)).collect::<PyResult<_>>()?;
        let (arrays, _) = parse_inputs(py, program, &inputs, 0)?;
        let views = views(&arrays)?;
        let values = enter(py, || self.engine.trace(&views, &indices))?;
        let shapes = tensors_at(program, &indices).into_iter().map(|tensor| tensor.shape.clone());
        values
            .into_iter()
            .zip(shapes)
            .map(|(values, shape)| output_array(py, values, shape))
            .collect()
    }
}

/// Loads a network with the instruction set in use.
pub(crate) fn load(py: Python<'_>, file: &[u8], threads: i64) -> PyResult<network::Engine> {
    enter(py, || {
        let count = usize::try_from(threads).map_err(|_| Error::ThreadCount {
            got: i128::from(threads),
            bound: network::MAX_THREADS,
        })?;
        network::Engine::load(file, selected_isa()?, count)
    })
}

fn tensors_at<'a>(program: &'a Program, indices: &[usize]) -> Vec<&'a TensorSpec> {
    indices.iter().map(|&index| &program.tensors[index]).collect()
}

/// Checked input arrays and the number of frames; `leading` 1 when there is a frame axis.
pub(crate) fn parse_inputs<'py>(
    py: Python<'py>,
    program: &Program,
    inputs: &[Bound<'py, PyAny>],
    leading: usize,
) -> PyResult<(Vec<InputArray<'py>>, usize)> {
    let tensors = tensors_at(program, &program.inputs);
    let arrays = input_arrays(py, inputs, &tensors)?;
    let frames = check_shapes(&arrays, &tensors, leading);
    Ok((arrays, frames.map_err(|error| to_python(py, &error))?))
}

/// Index of a named tensor; the error suggests near names.
pub(crate) fn find_tensor(py: Python<'_>, program: &Program, name: &str) -> PyResult<usize> {
    if let Some(index) = program.find(name) {
        return Ok(index);
    }
    let names: Vec<&str> = program.tensors.iter().map(|tensor| &tensor.name[..]).collect();
    let nearest = py.import("tidlq.errors")?.call_method1("nearest_names", (name, names))?;
    let message = format!("The network has no tensor named {name:?}.{nearest}");
    Err(raise(py, "OptionError", &message))
}

/// Views of arrays.
pub(crate) fn views<'a>(arrays: &'a [InputArray<'_>]) -> PyResult<Vec<ValuesView<'a>>> {
    arrays.iter().map(InputArray::view).collect()
}
