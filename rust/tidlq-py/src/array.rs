//! Arrays through the door: read-only views in, moved vectors out.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use tidlq_core::error::{Error, Shape};
use tidlq_core::network::{TensorSpec, Values, ValuesView};

use crate::door::{raise, to_python};

/// A C-contiguous, aligned array of one of the engine's types.
pub(crate) enum InputArray<'py> {
    U8(PyReadonlyArrayDyn<'py, u8>),
    S8(PyReadonlyArrayDyn<'py, i8>),
    U16(PyReadonlyArrayDyn<'py, u16>),
    S16(PyReadonlyArrayDyn<'py, i16>),
    F32(PyReadonlyArrayDyn<'py, f32>),
}

impl<'py> InputArray<'py> {
    /// Takes an array for a tensor; copies only what is not contiguous.
    pub fn new(array: &Bound<'py, PyAny>, tensor: &TensorSpec) -> PyResult<Self> {
        let py = array.py();
        let fault = |found: &str| {
            let (name, want) = (&tensor.name, tensor.element_type.name());
            let message = format!("Input {name:?} is {found}, an array of {want} is needed.");
            raise(py, "DataError", &message)
        };
        let Ok(untyped) = array.cast::<PyUntypedArray>() else {
            return Err(fault(&format!("of type {}", array.get_type().name()?)));
        };
        let dtype = untyped.dtype();
        let array = py
            .import("numpy")?
            .call_method1("require", (untyped, py.None(), ("C_CONTIGUOUS", "ALIGNED")))?;
        if let Ok(array) = array.extract() {
            Ok(Self::U8(array))
        } else if let Ok(array) = array.extract() {
            Ok(Self::S8(array))
        } else if let Ok(array) = array.extract() {
            Ok(Self::U16(array))
        } else if let Ok(array) = array.extract() {
            Ok(Self::S16(array))
        } else if let Ok(array) = array.extract() {
            Ok(Self::F32(array))
        } else {
            Err(fault(&format!("an array of dtype {}", dtype.str()?)))
        }
    }

    /// The elements.
    pub fn view(&self) -> PyResult<ValuesView<'_>> {
        Ok(match self {
            Self::U8(array) => ValuesView::U8(array.as_slice()?),
            Self::S8(array) => ValuesView::S8(array.as_slice()?),
            Self::U16(array) => ValuesView::U16(array.as_slice()?),
            Self::S16(array) => ValuesView::S16(array.as_slice()?),
            Self::F32(array) => ValuesView::F32(array.as_slice()?),
        })
    }

    fn shape(&self) -> &[usize] {
        match self {
            Self::U8(array) => array.shape(),
            Self::S8(array) => array.shape(),
            Self::U16(array) => array.shape(),
            Self::S16(array) => array.shape(),
            Self::F32(array) => array.shape(),
        }
    }
}

/// Takes the arrays of all inputs of `tensors`.
pub(crate) fn input_arrays<'py>(
    py: Python<'py>,
    arrays: &[Bound<'py, PyAny>],
    tensors: &[&TensorSpec],
) -> PyResult<Vec<InputArray<'py>>> {
    if arrays.len() != tensors.len() {
        let error = Error::InputCount { want: tensors.len(), got: arrays.len() };
        return Err(to_python(py, &error));
    }
    arrays.iter().zip(tensors).map(|(array, tensor)| InputArray::new(array, tensor)).collect()
}

/// Checks that every array has its tensor's shape behind `leading` axes; returns the first array's
/// leading size, or 1.
pub(crate) fn check_shapes(
    arrays: &[InputArray<'_>],
    tensors: &[&TensorSpec],
    leading: usize,
) -> Result<usize, Error> {
    let frames = arrays.first().and_then(|array| array.shape().first().copied());
    let frames = if leading == 0 { 1 } else { frames.unwrap_or(1) };
    for (array, tensor) in arrays.iter().zip(tensors) {
        let shape = array.shape();
        if shape.len() != leading + tensor.shape.len() || shape[leading..] != tensor.shape[..] {
            let mut want = vec![frames; leading];
            want.extend(&tensor.shape);
            let (want, got) = (Shape(want), Shape(shape.to_vec()));
            return Err(Error::InputShape { tensor: tensor.name.clone(), want, got });
        }
        if leading == 1 && shape[0] != frames {
            let tensor = tensor.name.clone();
            return Err(Error::FrameCount { tensor, want: frames, got: shape[0] });
        }
    }
    Ok(frames)
}

/// Moves values into an array of a shape.
pub(crate) fn output_array(
    py: Python<'_>,
    values: Values,
    shape: Vec<usize>,
) -> PyResult<Bound<'_, PyAny>> {
    Ok(match values {
        Values::U8(values) => PyArray1::from_vec(py, values).reshape(shape)?.into_any(),
        Values::S8(values) => PyArray1::from_vec(py, values).reshape(shape)?.into_any(),
        Values::U16(values) => PyArray1::from_vec(py, values).reshape(shape)?.into_any(),
        Values::S16(values) => PyArray1::from_vec(py, values).reshape(shape)?.into_any(),
        Values::F32(values) => PyArray1::from_vec(py, values).reshape(shape)?.into_any(),
        Values::S32(values) => PyArray1::from_vec(py, values).reshape(shape)?.into_any(),
        Values::S64(values) => PyArray1::from_vec(py, values).reshape(shape)?.into_any(),
    })
}
