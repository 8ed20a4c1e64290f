//! The one error type of the core.
//!
//! Variants carry the numbers, so that callers and tests compare them; `Display` is the sentence.

mod patch;

use std::fmt;

use thiserror::Error;

pub use patch::PatchFault;

/// What is wrong with a field of a tensor, of a layer or of the network.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Fault {
    /// An integer lies outside its interval.
    #[error("{what} is {got}, allowed is {low} to {high}")]
    Range {
        /// The field.
        what: &'static str,
        /// Value found.
        got: i128,
        /// Least allowed value.
        low: i128,
        /// Greatest allowed value.
        high: i128,
    },
    /// A list or a byte string has another length than it must have.
    #[error("{what} has {got} entries, {want} are needed")]
    Count {
        /// The list.
        what: &'static str,
        /// Length that it must have.
        want: u64,
        /// Length found.
        got: u64,
    },
    /// A floating-point value is not finite or outside its domain.
    #[error("{what}[{index}] is {got}, {want} is needed")]
    Float {
        /// The field.
        what: &'static str,
        /// Position in the list (0 for a single value).
        index: usize,
        /// Value found, printed.
        got: String,
        /// What is allowed.
        want: &'static str,
    },
    /// Two properties that must agree do not.
    #[error("{what} is {got}, {want} is needed")]
    Mismatch {
        /// The property.
        what: &'static str,
        /// What it must be, printed.
        want: String,
        /// What it is, printed.
        got: String,
    },
    /// A field that must be set is missing.
    #[error("{what} is missing")]
    Missing {
        /// The field.
        what: &'static str,
    },
    /// A name occurs twice.
    #[error("the name is used twice (entries {first} and {second})")]
    Duplicate {
        /// Index of the first bearer of the name.
        first: usize,
        /// Index of the second bearer of the name.
        second: usize,
    },
    /// A tensor is read before it is written, or is written a second time, or never.
    #[error("tensor {tensor:?} {state}")]
    Order {
        /// The tensor's name.
        tensor: String,
        /// What is wrong with its writers.
        state: &'static str,
    },
    /// A window of a pool contains no element of the input.
    #[error("the window at output position {position} of axis {axis} covers no input element")]
    EmptyWindow {
        /// 0 height, 1 width.
        axis: usize,
        /// Output position along that axis.
        position: usize,
    },
    /// A size computed from the file exceeds what the engine allows.
    #[error("{what} needs {got} bytes, at most {bound} are allowed")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Size found; saturated.
        got: u128,
        /// Greatest allowed size.
        bound: u128,
    },
}

/// What is wrong with a call of the stepper.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum StepFault {
    /// A layer that does not exist.
    #[error("layer {got} does not exist, the network has {layers} layers")]
    Layer {
        /// Layer asked for.
        got: i128,
        /// Number of layers.
        layers: usize,
    },
    /// The frames are beyond a layer.
    #[error(
        "the frames cannot advance to layer {layer}: they already stand before layer {position}"
    )]
    Backwards {
        /// Layer asked for.
        layer: usize,
        /// Next layer to run.
        position: usize,
    },
    /// A layer whose input is asked for is not the next to run.
    #[error("layer {layer:?} is not the next to run: the frames stand before layer {position}")]
    NotNext {
        /// The layer's name.
        layer: String,
        /// Next layer to run.
        position: usize,
    },
    /// A layer without weights and bias.
    #[error("layer {layer:?} is neither a convolution nor an inner product: it has no bias")]
    NotWeighted {
        /// The layer's name.
        layer: String,
    },
    /// A layer without samples.
    #[error("layer {layer:?} is no deformable convolution")]
    NotDeformable {
        /// The layer's name.
        layer: String,
    },
    /// An interrupted advance.
    #[error("an interrupted advance left the frames at different layers: advance again or restart")]
    Uneven,
    /// A restart of frames whose inputs are gone.
    #[error("the frames pass once and cannot be restarted: what they read has been given back")]
    Once,
    /// Outputs are asked for before the last layer has run.
    #[error(
        "the outputs exist after all {layers} layers: the frames stand before layer {position}"
    )]
    Unfinished {
        /// Next layer to run.
        position: usize,
        /// Number of layers.
        layers: usize,
    },
    /// Frames that do not exist.
    #[error("frames {start} to {stop} are asked for, there are {frames}")]
    Frames {
        /// First frame asked for.
        start: usize,
        /// Frame after the last one asked for.
        stop: usize,
        /// Number of frames.
        frames: usize,
    },
    /// A tensor whose memory does not hold it.
    #[error(
        "tensor {tensor:?} is not in memory before layer {position}: not written yet, or reused"
    )]
    NotHeld {
        /// The tensor's name.
        tensor: String,
        /// Next layer to run.
        position: usize,
    },
    /// A bias that is not allowed.
    #[error("the bias given to layer {layer:?} is not valid: {fault}")]
    Bias {
        /// The layer's name.
        layer: String,
        /// What is wrong.
        fault: Box<Fault>,
    },
}

/// What is wrong with a search for a range.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SearchFault {
    /// An argument is not allowed.
    #[error("{what} is {got}, allowed is {want}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// Value found, printed.
        got: String,
        /// What is allowed.
        want: &'static str,
    },
    /// There is no value that a range could be chosen for.
    #[error("no range can be chosen: the statistics hold no finite value")]
    Empty,
    /// Arrays of a weight and its moments do not belong together.
    #[error("the moments have shape {got}, {want} is needed for the weight")]
    Moments {
        /// What is needed, printed.
        want: String,
        /// Shape given.
        got: Shape,
    },
    /// An element is not what it must be.
    #[error("{what}[{row}, {column}] is {got}, {want} is needed")]
    Element {
        /// The array.
        what: &'static str,
        /// Index along its first axis.
        row: usize,
        /// Index along its second axis.
        column: usize,
        /// Value found.
        got: f64,
        /// What is allowed.
        want: &'static str,
    },
}

/// Everything that the core refuses.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Error {
    /// The bytes do not begin with the format's magic.
    #[error("the file is not a tidlq network: it does not begin with \"TIDLQNET\"")]
    Magic,
    /// The file was written by a newer version of the format.
    #[error(
        "the file has format version {found}, a newer format version than {supported}, \
         the newest that this build reads; update tidlq"
    )]
    NewerFormat {
        /// Version in the file.
        found: u32,
        /// Newest version that is understood.
        supported: u32,
    },
    /// The version number is not a version.
    #[error("the file has format version {found}, the versions begin at 1")]
    Version {
        /// Version in the file.
        found: u32,
    },
    /// The file ends early or has trailing bytes.
    #[error("the file has {got} bytes, its header announces {want}: it is truncated or corrupt")]
    Length {
        /// Bytes announced, header included.
        want: u64,
        /// Bytes present.
        got: u64,
    },
    /// The payload's checksum differs from the header's.
    #[error("the file is corrupt: its checksum is {got:08x}, its header says {want:08x}")]
    Checksum {
        /// CRC-32 in the header.
        want: u32,
        /// CRC-32 of the payload.
        got: u32,
    },
    /// The payload is not a protobuf Network.
    #[error("the file's payload cannot be decoded: {reason}")]
    Encoding {
        /// The decoder's words.
        reason: String,
    },
    /// A tensor of the network is not valid.
    #[error("tensor {tensor:?} of the network is not valid: {fault}")]
    Tensor {
        /// Name, or `#index` when it has none.
        tensor: String,
        /// What is wrong.
        fault: Fault,
    },
    /// A layer of the network is not valid.
    #[error("layer {layer:?} of the network is not valid: {fault}")]
    Layer {
        /// Name, or `#index` when it has none.
        layer: String,
        /// What is wrong.
        fault: Fault,
    },
    /// The network as a whole is not valid.
    #[error("the network is not valid: {fault}")]
    Network {
        /// What is wrong.
        fault: Fault,
    },
    /// The number of input arrays differs from the network's inputs.
    #[error("{got} input arrays are given, the network has {want} inputs")]
    InputCount {
        /// Inputs of the network.
        want: usize,
        /// Arrays given.
        got: usize,
    },
    /// An input array has another element type than its tensor.
    #[error("input {tensor:?} has element type {got}, the network needs {want}")]
    InputType {
        /// The network's input.
        tensor: String,
        /// Type of the tensor.
        want: &'static str,
        /// Type given.
        got: &'static str,
    },
    /// An input array has another shape than its tensor.
    #[error("input {tensor:?} has shape {got}, the network needs {want}")]
    InputShape {
        /// The network's input.
        tensor: String,
        /// Shape needed.
        want: Shape,
        /// Shape given.
        got: Shape,
    },
    /// Input arrays disagree about the number of frames.
    #[error("input {tensor:?} has {got} frames, the first input has {want}")]
    FrameCount {
        /// The network's input.
        tensor: String,
        /// Frames of the first input.
        want: usize,
        /// Frames of this input.
        got: usize,
    },
    /// Features have another shape than a statistic takes.
    #[error("features of shape {got} do not fit the {what}: {want} is needed")]
    FeatureShape {
        /// The statistic.
        what: &'static str,
        /// What is needed, printed.
        want: String,
        /// Shape given.
        got: Shape,
    },
    /// A sliding window that is not allowed.
    #[error("the window is not valid: {fault}")]
    Window {
        /// What is wrong.
        fault: Fault,
    },
    /// Bytes are not the state of a statistic.
    #[error("the saved state of {what} cannot be read: {reason}")]
    State {
        /// The statistic.
        what: &'static str,
        /// What is wrong with the bytes.
        reason: &'static str,
    },
    /// A name that no tensor of the network bears.
    #[error("the network has no tensor named {name:?}")]
    UnknownTensor {
        /// The name asked for.
        name: String,
    },
    /// An instruction set that does not exist.
    #[error("the instruction set {name:?} is unknown, known are \"scalar\", \"avx2\", \"avx512\"")]
    UnknownIsa {
        /// The name asked for.
        name: String,
    },
    /// An instruction set that this CPU cannot run.
    #[error("the instruction set {name:?} is not available on this CPU")]
    UnsupportedIsa {
        /// The name asked for.
        name: &'static str,
    },
    /// A number of threads that is not allowed.
    #[error("threads is {got}, allowed is 0 (one per core) to {bound}")]
    ThreadCount {
        /// Threads asked for.
        got: i128,
        /// Most that are allowed.
        bound: usize,
    },
    /// The thread pool cannot be made.
    #[error("a pool of {threads} threads cannot be started: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's words.
        reason: String,
    },
    /// Memory for a buffer is not to be had.
    #[error("{bytes} bytes of memory for {what} are not available")]
    Memory {
        /// What the buffer is for.
        what: &'static str,
        /// Its size.
        bytes: u64,
    },
    /// A step of a run, layer by layer, is not possible.
    #[error(transparent)]
    Step(#[from] StepFault),
    /// A patch does not fit its network.
    #[error(transparent)]
    Patch(#[from] PatchFault),
    /// A range cannot be searched for.
    #[error(transparent)]
    Search(#[from] SearchFault),
    /// Protobuf descriptors are none, or use what the text form does not cover.
    #[error("the protobuf schema cannot be used: {reason}")]
    Schema {
        /// What is wrong.
        reason: String,
    },
    /// The engine met a state that validation excludes.
    #[error("internal fault in layer {layer:?}: {reason}")]
    Internal {
        /// The layer that ran.
        layer: String,
        /// What was met.
        reason: &'static str,
    },
}

/// A shape as it is printed: `[1, 28, 28, 3]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(pub Vec<usize>);

impl fmt::Display for Shape {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.0)
    }
}

/// Result of everything that can be refused.
pub type Result<T> = std::result::Result<T, Error>;
