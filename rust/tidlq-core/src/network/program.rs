//! A network whose every index, size and number has been checked.
//!
//! `proto/network.proto` states the meaning of each operation; the types here hold what is left of it
//! once it is valid.

use std::collections::HashMap;

use super::buffer::AlignedBuffer;
use crate::element::ElementType;
use crate::fixed::Requantizer;

/// A named value of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    /// Unique name.
    pub name: String,
    /// Type of the elements.
    pub element_type: ElementType,
    /// Sizes, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// Step of one integer unit; 0 for float.
    pub scale: f32,
    /// Integer that stands for zero.
    pub zero_point: i32,
    /// Elements of a constant.
    pub(crate) constant: Option<AlignedBuffer>,
}

impl TensorSpec {
    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of bytes.
    pub fn size_bytes(&self) -> usize {
        self.elements() * self.element_type.size_bytes()
    }

    /// Size of the last axis; 1 for a scalar.
    pub(crate) fn last_axis(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}

/// A valid network.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// The network's name.
    pub name: String,
    /// Identifies the float graph and its weights.
    pub graph_fingerprint: String,
    /// All tensors.
    pub tensors: Vec<TensorSpec>,
    /// Indices of the inputs.
    pub inputs: Vec<usize>,
    /// Indices of the outputs.
    pub outputs: Vec<usize>,
    pub(crate) layers: Vec<LayerSpec>,
    pub(crate) names: HashMap<String, usize>,
}

impl Program {
    /// Index of the tensor with a name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Names of the layers, in execution order.
    pub fn layer_names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| &layer.name[..])
    }

    /// Number of layers.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// First input and output of a layer.
    pub fn layer_ends(&self, layer: usize) -> (&TensorSpec, &TensorSpec) {
        let layer = &self.layers[layer];
        (&self.tensors[layer.inputs[0]], &self.tensors[layer.output])
    }

    /// Type of a layer's weights, `None` where it has none.
    pub fn weight_type(&self, layer: usize) -> Option<ElementType> {
        match &self.layers[layer].op {
            Op::Convolution(Convolution { weight, .. })
            | Op::TransposedConvolution(Convolution { weight, .. })
            | Op::InnerProduct(InnerProduct { weight, .. })
            | Op::DeformableConvolution(DeformableConvolution { weight, .. }) => {
                Some(self.tensors[*weight].element_type)
            }
            _ => None,
        }
    }

    /// Multiplications of elements with weights that a layer consists of, padding included.
    pub fn products(&self, layer: usize) -> usize {
        let (input, output) = self.layer_ends(layer);
        match &self.layers[layer].op {
            Op::Convolution(Convolution { weight, .. })
            | Op::InnerProduct(InnerProduct { weight, .. })
            | Op::DeformableConvolution(DeformableConvolution { weight, .. }) => {
                let weight = &self.tensors[*weight];
                output.elements() * (weight.elements() / weight.shape[0])
            }
            Op::TransposedConvolution(Convolution { weight, groups, .. }) => {
                let weight = &self.tensors[*weight];
                input.elements() * (weight.elements() / weight.last_axis() / groups)
            }
            _ => 0,
        }
    }
}

/// One step of the program.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LayerSpec {
    pub name: String,
    pub inputs: Vec<usize>,
    pub output: usize,
    pub op: Op,
}

/// An operation, as `proto/network.proto` defines it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    Quantize { half_away: bool },
    Dequantize,
    Rescale(Requantizer),
    Convolution(Convolution),
    InnerProduct(InnerProduct),
    Sum(Sum),
    Product(Requantizer),
    MaxPool(Window),
    AveragePool(AveragePool),
    Lookup(Vec<i32>),
    PRelu(PRelu),
    Concat { axis: usize },
    Reshape,
    Transpose { perm: Vec<usize> },
    Pad(Pad),
    Slice { start: Vec<usize>, step: Vec<isize> },
    Resize(Resize),
    GridSample(GridSample),
    DeformableConvolution(DeformableConvolution),
    WindowedResize(WindowedResize),
    Softmax(Softmax),
    IntegerSoftmax(IntegerSoftmax),
    TransposedConvolution(Convolution),
    Extremum { least: bool },
    Gather { axis: usize, index: Vec<usize> },
    Reduce(Reduce),
    Division(Requantizer),
    Power(Power),
    ScatteredProduct(ScatteredProduct),
    MatrixProduct(Requantizer),
    Normalization(Normalization),
    TopK(TopK),
}

impl Op {
    /// One entry per output channel; `None` for an operation without weights.
    pub fn bias(&self) -> Option<&[i64]> {
        match self {
            Self::Convolution(Convolution { bias, .. })
            | Self::TransposedConvolution(Convolution { bias, .. })
            | Self::InnerProduct(InnerProduct { bias, .. }) => Some(bias),
            _ => None,
        }
    }

    /// Whether something is added in each output channel, integers or real values.
    pub fn has_bias(&self) -> bool {
        self.bias().is_some() || matches!(self, Self::DeformableConvolution(_))
    }

    /// See [`Op::bias`].
    pub fn bias_mut(&mut self) -> Option<&mut Vec<i64>> {
        match self {
            Self::Convolution(Convolution { bias, .. })
            | Self::TransposedConvolution(Convolution { bias, .. })
            | Self::InnerProduct(InnerProduct { bias, .. }) => Some(bias),
            _ => None,
        }
    }
}

/// Sizes of channels-last features; `height` is 1 for rank 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Map2d {
    pub count: usize,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

impl Map2d {
    /// Reads a rank-3 or rank-4 shape.
    pub fn of(shape: &[usize]) -> Option<Self> {
        match *shape {
            [count, width, channels] => Some(Self { count, height: 1, width, channels }),
            [count, height, width, channels] => Some(Self { count, height, width, channels }),
            _ => None,
        }
    }

    /// Elements of one image.
    pub const fn image(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// Geometry of a sliding window; pairs are (height, width), `pad` is top and left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    pub pad: [usize; 2],
}

impl Window {
    /// Input coordinate of tap `k` at output position `position` along an axis; may lie outside.
    #[inline(always)]
    pub const fn coordinate(&self, axis: usize, position: usize, k: usize) -> isize {
        (position * self.stride[axis] + k * self.dilation[axis]) as isize - self.pad[axis] as isize
    }

    /// The taps `first..end` of the window at `position` that fall on coordinates `low..high`.
    #[inline(always)]
    pub const fn taps(
        &self,
        axis: usize,
        position: usize,
        low: isize,
        high: isize,
    ) -> (usize, usize) {
        let start = self.coordinate(axis, position, 0);
        let step = self.dilation[axis] as isize;
        let first = if start >= low { 0 } else { (low - start + step - 1) / step };
        let end = if start >= high { 0 } else { (high - start + step - 1) / step };
        let kernel = self.kernel[axis] as isize;
        let end = if end < kernel { end } else { kernel };
        if first < end { (first as usize, end as usize) } else { (0, 0) }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Convolution {
    pub weight: usize,
    pub bias: Vec<i64>,
    pub window: Window,
    pub groups: usize,
    pub requantizer: Requantizer,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InnerProduct {
    pub weight: usize,
    pub bias: Vec<i64>,
    pub requantizer: Requantizer,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sum {
    pub requantizer: Requantizer,
    /// One entry per operand.
    pub subtracted: Vec<bool>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AveragePool {
    pub window: Window,
    /// Padding below and right, counted only with `count_include_pad`.
    pub pad_end: [usize; 2],
    pub count_include_pad: bool,
    /// Distinct divisors, ascending; the index selects the requantizer's entry.
    pub count: Vec<u64>,
    pub requantizer: Requantizer,
}

impl AveragePool {
    /// The divisor's factor of one axis: positions of the window that count.
    #[inline(always)]
    pub const fn divisor(&self, axis: usize, position: usize, size: usize) -> usize {
        let (low, high) = if self.count_include_pad {
            (-(self.window.pad[axis] as isize), (size + self.pad_end[axis]) as isize)
        } else {
            (0, size as isize)
        };
        let (first, end) = self.window.taps(axis, position, low, high);
        end - first
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PRelu {
    pub slope: usize,
    pub positive: Requantizer,
    pub negative: Requantizer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PadMode {
    Constant(i32),
    Reflect,
    Edge,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pad {
    pub begin: Vec<usize>,
    pub mode: PadMode,
}

/// Interpolation of one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResizeAxis {
    pub low: Vec<u32>,
    pub high: Vec<u32>,
    pub weight_high: Vec<u32>,
}

/// Windows of one axis: an output's taps stand together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AxisWindows {
    pub taps: usize,
    pub position: Vec<u32>,
    pub weight: Vec<i32>,
}

impl AxisWindows {
    /// Greatest magnitude of a window's weights, added up.
    pub fn gain(&self) -> u64 {
        let sum = |window: &[i32]| window.iter().map(|w| u64::from(w.unsigned_abs())).sum();
        self.weight.chunks(self.taps).map(sum).max().unwrap_or(0)
    }
}

/// Interpolation by windows; an axis that stays has none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowedResize {
    /// Height and width.
    pub axes: [Option<AxisWindows>; 2],
    pub requantizer: Requantizer,
}

/// From integers of a grid to places along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GridAxis {
    pub multiplier: i64,
    pub offset: i64,
}

/// What stands beyond the edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GridPadding {
    Zeros,
    Border,
    /// The mirrors stand at the outermost positions, or half a position beyond.
    Mirror {
        corners: bool,
    },
}

/// Samples of a feature at places that another one gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct GridSample {
    /// Height and width.
    pub axes: [GridAxis; 2],
    pub shift: u32,
    pub fraction_bits: u32,
    pub nearest: bool,
    pub cubic: bool,
    pub padding: GridPadding,
    pub requantizer: Requantizer,
}

/// A convolution at places that have moved.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DeformableConvolution {
    pub weight: usize,
    pub window: Window,
    pub groups: usize,
    pub offset_groups: usize,
    /// One or one per output channel.
    pub gain: Vec<f64>,
    pub shift: Vec<f64>,
    /// Least and greatest output.
    pub clamp: [i32; 2],
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Softmax {
    /// By the distance to the row's largest element.
    pub exponential: Vec<f32>,
    /// Of integer outputs.
    pub requantizer: Option<Requantizer>,
}

/// What becomes of the elements along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReduceKind {
    Sum,
    Magnitudes,
    Squares,
    RootOfSquares,
    Greatest,
    Least,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reduce {
    pub kind: ReduceKind,
    /// Of sums; what selects has none.
    pub requantizer: Option<Requantizer>,
}

/// Rows brought to one mean and variance.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Normalization {
    pub centred: bool,
    pub epsilon: f64,
    pub gain: Vec<f64>,
    pub shift: Vec<f64>,
    /// The lists have an entry per row.
    pub by_row: bool,
}

/// Powers of two operands; lists have an entry for each integer of the base or of the exponent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Power {
    pub logarithm: Vec<f64>,
    pub sign: Vec<i32>,
    pub exponent: Vec<f64>,
    /// 0 even, 1 odd, 2 no integer.
    pub parity: Vec<u32>,
    pub gain: f64,
}

/// Products of elements with what is scattered to them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ScatteredProduct {
    /// By element of the second input, the first one's that it multiplies.
    pub target: Vec<usize>,
    pub gain: f64,
}

/// Elements in order of their size, or where they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TopK {
    pub least: bool,
    pub higher_first: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IntegerSoftmax {
    /// By the distance to the row's largest element.
    pub exponential: Vec<i32>,
    /// Of 16-bit rows: `1 / (1 + x)` at 513 places.
    pub reciprocal: Vec<i32>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Resize {
    /// Unset axes pass through and contribute no factor.
    pub height: Option<ResizeAxis>,
    pub width: Option<ResizeAxis>,
    pub weight_bits: u32,
    /// Shares of `high` per position of height and width, in the place of integer weights.
    pub fractions: Option<[Vec<f32>; 2]>,
    pub requantizer: Requantizer,
}
