//! The `.tidlq` file and what runs it.
//!
//! `file` checks the header and decodes, `validate` turns the message into a [`Program`] in which
//! every index, size and number is known to be good, `homes` finds the tensors that live inside others,
//! `plan` assigns memory, `executor` runs whole networks and `stepper` layer by layer, both on the
//! `frame`, in the steps of a `schedule`. `baseline` keeps the features of a network, and runs a `patch` of it: the layers in which a variant differs, and
//! what follows them.

mod baseline;
mod buffer;
mod executor;
mod file;
mod frame;
mod homes;
mod matching;
mod patch;
mod plan;
mod pool;
mod program;
mod schedule;
mod stepper;
mod validate;
mod values;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

pub use baseline::{Baseline, Reference, Variation};
pub use executor::{Engine, MAX_THREADS};
pub use file::FORMAT_VERSION;
pub use matching::MatchedLayer;
pub use patch::Patch;
pub use program::{Program, TensorSpec};
pub use stepper::Stepper;
pub use values::{Values, ValuesView};

pub(crate) use buffer::AlignedBuffer;
pub(crate) use program::{
    AveragePool, AxisWindows, Convolution, DeformableConvolution, GridAxis, GridPadding,
    GridSample, InnerProduct, IntegerSoftmax, LayerSpec, Map2d, Normalization, Op, PRelu, Pad,
    PadMode, Power, Reduce, ReduceKind, Resize, ResizeAxis, ScatteredProduct, Softmax, Sum, TopK,
    Window, WindowedResize,
};

/// Generated from `proto/network.proto`.
#[allow(missing_docs, clippy::all, reason = "generated code")]
pub(crate) mod proto {
    include!(concat!(env!("OUT_DIR"), "/tidlq.network.rs"));
}
