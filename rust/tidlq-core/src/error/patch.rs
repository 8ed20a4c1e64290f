//! What is refused of variants.

use thiserror::Error;

/// What is wrong with the layers of a variant.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PatchFault {
    /// Not every input or output of the patch is said to be a tensor of the network.
    #[error("the patch has {want} {what}, of which {got} are placed in the network")]
    Count {
        /// Inputs or outputs.
        what: &'static str,
        /// Of the patch.
        want: usize,
        /// Found.
        got: usize,
    },
    /// A tensor that cannot be replaced.
    #[error(
        "tensor {tensor:?} cannot be replaced: it is replaced twice, or it or what replaces it is \
         not written by a layer"
    )]
    Place {
        /// The tensor of the network.
        tensor: String,
    },
    /// A tensor of the patch has not the form of the network's.
    #[error(
        "tensor {patch:?} of the patch and tensor {network:?} of the network differ in type, shape, \
         scale or zero point"
    )]
    Form {
        /// The patch's.
        patch: String,
        /// The network's.
        network: String,
    },
    /// Layers that read each other.
    #[error("the patch closes a circle: layer {layer:?} would read what is made of its output")]
    Circle {
        /// One of the layers.
        layer: String,
    },
    /// A number of references that is not that of the results.
    #[error("{got} references are given for {want} outputs and probes")]
    References {
        /// Outputs and probes.
        want: usize,
        /// References found.
        got: usize,
    },
    /// A reference that does not fit.
    #[error(
        "the reference of tensor {tensor:?} has {got} float elements, all frames together have {want}"
    )]
    Reference {
        /// The tensor.
        tensor: String,
        /// Elements of all frames.
        want: usize,
        /// Elements found.
        got: usize,
    },
    /// Numbers that are not one per output channel.
    #[error("layer {layer:?} of the patch has {want} output channels, {got} are given for it")]
    Channels {
        /// The layer.
        layer: String,
        /// Of the patch.
        want: usize,
        /// Found.
        got: usize,
    },
    /// Features that no run has left.
    #[error("the frames have not all been run: run them before a patch")]
    NotRun,
    /// A patch that was made for another network.
    #[error("the patch was made for another network")]
    Foreign,
    /// A result that is not of float.
    #[error("tensor {tensor:?} is of integers, only float32 is compared")]
    Integers {
        /// The tensor.
        tensor: String,
    },
}
