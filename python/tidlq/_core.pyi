"""Native core: the integer engine and the statistics that touch every element."""

from typing import final

import numpy as np
from numpy.typing import NDArray

__version__: str

def isa_available() -> list[str]:
    """Instruction sets that this CPU can run, slowest first: "scalar", "avx2", "avx512"."""

def isa_active() -> str:
    """Instruction set in use: the best available, or the one that TIDLQ_ISA pins."""

@final
class TensorInfo:
    """A tensor of a loaded Network."""

    @property
    def name(self) -> str: ...
    @property
    def element_type(self) -> str:
        """One of "u8", "s8", "u16", "s16", "f32"; of positions "s32" or "s64"."""
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def scale(self) -> float: ...
    @property
    def zero_point(self) -> int: ...

@final
class Engine:
    """A validated Network with packed weights, ready to run."""

    def __new__(cls, file: bytes, threads: int = 0) -> Engine:
        """Loads the bytes of a `.tidlq` file; threads 0 means one per core.

        Raises:
            ArtifactError: The bytes are not a valid Network, or of a newer format version.
        """

    @property
    def inputs(self) -> list[TensorInfo]: ...
    @property
    def outputs(self) -> list[TensorInfo]: ...
    @property
    def tensors(self) -> list[TensorInfo]:
        """Every tensor, constants included, in the Network's order."""

    @property
    def threads(self) -> int: ...
    @property
    def feature_bytes(self) -> int:
        """Bytes of the feature-map buffers of one frame, with reuse."""

    def run(self, inputs: list[NDArray[np.generic]]) -> list[NDArray[np.generic]]:
        """Executes independent frames.

        Args:
            inputs: one array per Network input, shape [frames, *input.shape], of the input's dtype.

        Returns:
            One array per Network output, shape [frames, *output.shape].

        Raises:
            DataError: Count, dtype or shape of the arrays differ from the Network's inputs.
        """

    def trace(
        self, inputs: list[NDArray[np.generic]], tensors: list[str]
    ) -> list[NDArray[np.generic]]:
        """Executes one frame and returns the named tensors.

        Args:
            inputs: one array per Network input, shape input.shape.
            tensors: names of tensors of the Network.
        """

@final
class FrameStepper:
    """A Network and the features of several frames, advanced layer by layer.

    Between two layers the features can be looked at, and the biases of the layers to come changed.
    A layer is named by its index. An advance that is interrupted may leave the frames at different
    layers: the same advance, or a restart, puts them together again; until then everything that
    needs them together is refused.
    """

    def __new__(
        cls,
        file: bytes,
        inputs: list[NDArray[np.generic]],
        threads: int = 0,
        *,
        once: bool = False,
    ) -> FrameStepper:
        """Loads the bytes of a `.tidlq` file and puts frames before its first layer.

        Args:
            file: bytes of the file.
            inputs: one array per Network input, shape [frames, *input.shape], of the input's dtype;
                copied.
            threads: 0 means one per core. They do not change results.
            once: there will be no restart: what no later layer reads is given back on the way, so
                that memory is that of the features in use, and is no tensor any more. The layers
                before the first one with a bias have run already.

        Raises:
            ArtifactError: The bytes are not a valid Network, or memory is not to be had.
            DataError: Count, dtype or shape of the arrays differ from the Network's inputs.
        """

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in execution order."""
    @property
    def position(self) -> int:
        """The next layer to run, of the frame that is furthest behind."""
    @property
    def frames(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def frame_bytes(self) -> int:
        """Bytes of the feature-map buffers of one frame, with reuse."""

    def advance(self, layer: int) -> None:
        """Runs all frames through the layers before `layer`; len(layers) is the end.

        Raises:
            OptionError: The frames are already beyond it, or there are fewer layers.
        """

    def restart(self) -> None:
        """Goes back before the first layer, with the same inputs and the biases as they are.

        Raises:
            OptionError: The frames pass `once`.
        """

    def input_sums(self, layer: int, start: int, stop: int) -> NDArray[np.int64]:
        """Sums what a layer's window sees: S[k] = sum of (q - zero_point) of its input.

        The sum is over frames start..stop and all output positions and exact; what lies outside of
        the input counts 0. With the layer's integer weights and n = (stop - start) *
        output_positions(layer), an output channel's accumulators add up to
        n * bias[o] + sum over k of weight[o, k] * S[k].

        Args:
            layer: the next layer to run, a convolution or an inner product.
            start: first frame.
            stop: frame after the last.

        Returns:
            [kernel_h, kernel_w, C_in] of a convolution, all groups' channels; [K] of an inner
            product.

        Raises:
            OptionError: The layer is not the next to run or is of another kind, or there are fewer
                frames.
        """

    def sample_sums(self, layer: int, start: int, stop: int) -> NDArray[np.float64]:
        """Sums what the weights of a deformable convolution meet: S[k] = sum of samples * mask.

        Samples and mask count in integers, as in `DeformableConvolution` of network.proto. The sum
        is over frames start..stop and all output positions, float64 in a fixed order: that of an
        output channel's accumulators is the sum over k of weight[o, k] * S[k].

        Args:
            layer: the next layer to run, a deformable convolution.
            start: first frame.
            stop: frame after the last.

        Returns:
            [kernel_h, kernel_w, C_in], all groups' channels.

        Raises:
            OptionError: The layer is not the next to run or is of another kind, or there are fewer
                frames.
        """

    def output_positions(self, layer: int) -> int:
        """Sums per frame and output channel of a convolution of any kind or an inner product."""

    def bias(self, layer: int) -> list[int]:
        """The bias of a convolution or an inner product, one entry per output channel."""

    def set_bias(self, layer: int, bias: list[int]) -> None:
        """Changes a bias; it counts from the layer's next run on.

        Raises:
            OptionError: The layer has no bias, or the length or an entry (within +-2^47) is wrong.
        """

    def set_shift(self, layer: int, shift: list[float]) -> None:
        """Changes what a deformable convolution adds; it counts from the layer's next run on.

        Args:
            layer: a deformable convolution.
            shift: one entry for each output channel, or one for all, in steps of the output.

        Raises:
            OptionError: The layer is of another kind, or the length or an entry (finite) is wrong.
        """

    def tensor(self, name: str) -> NDArray[np.generic]:
        """Returns a tensor of all frames, shape [frames, *shape].

        Inputs, constants and what the last layer has read and written are there; an earlier tensor
        is as long as its memory is not reused.

        Raises:
            OptionError: The tensor does not exist, is not written yet, or is overwritten.
        """

    def outputs(self) -> list[NDArray[np.generic]]:
        """Returns the Network's outputs, shape [frames, *output.shape].

        Raises:
            OptionError: Layers are left to run.
        """

@final
class Baseline:
    """A Network and frames, with every feature kept: what variants of the Network start from."""

    def __new__(cls, file: bytes, threads: int = 0) -> Baseline:
        """Loads the bytes of a `.tidlq` file; threads 0 means one per core.

        Raises:
            ArtifactError: The bytes are not a valid Network.
        """

    @property
    def layers(self) -> list[str]:
        """Names of the layers, in execution order."""
    @property
    def frames(self) -> int: ...
    @property
    def threads(self) -> int: ...
    @property
    def frame_bytes(self) -> int:
        """Bytes of the kept features of one frame."""

    def run(self, inputs: list[NDArray[np.generic]]) -> None:
        """Runs frames and keeps their features in the place of earlier ones.

        Args:
            inputs: one array per Network input, shape [frames, *input.shape], of the input's dtype;
                copied.

        Raises:
            ArtifactError: Memory is not to be had.
            DataError: Count, dtype or shape of the arrays differ from the Network's inputs.
        """

    def tensor(self, name: str) -> NDArray[np.generic]:
        """Returns a tensor of all frames, shape [frames, *shape].

        Raises:
            OptionError: The tensor does not exist, or frames have not been run.
        """

@final
class Patch:
    """The layers in which a variant differs from a Network, over the frames of its Baseline.

    A run executes these layers and those of the Network that follow them, from the kept features.
    """

    def __new__(
        cls, baseline: Baseline, file: bytes, inputs: list[str], outputs: list[str | None]
    ) -> Patch:
        """Loads the layers, themselves a Network.

        Args:
            baseline: of the Network that is varied; its frames may change later.
            file: bytes of a `.tidlq` file.
            inputs: the tensor of the Network that each input of the patch is.
            outputs: the tensor of the Network that each output of the patch stands in for; None for
                one that is only looked at, a probe.

        Raises:
            ArtifactError: The bytes are not a valid Network.
            OptionError: A tensor does not exist or has another type, shape, scale or zero point
                than the patch's, or layers would read each other in a circle.
        """

    @property
    def layers(self) -> list[str]:
        """Names of the patch's layers."""
    @property
    def suffix(self) -> list[str]:
        """Names of the Network's layers that run again, in its order."""

    def match_means(
        self,
        frames: int,
        layers: list[tuple[str, list[float], list[float], list[float]]],
    ) -> list[list[int]]:
        """Moves biases so that mean accumulators are as wanted, over the first frames.

        In the order of execution, each layer behind the corrected ones before it.

        Args:
            frames: how many.
            layers: the name of a layer of the patch; by output channel the real value of one unit
                of the accumulator, the wanted mean before the non-linearity, and the largest
                magnitude of the bias, real values.

        Returns:
            By layer, the bias that it has now.

        Raises:
            OptionError: A layer does not exist or has no bias, numbers of channels differ, or there
                are fewer frames.
        """

    def compare(
        self, references: list[tuple[NDArray[np.float32], str]]
    ) -> list[tuple[ErrorStatistics, DivergenceStatistics]]:
        """Runs all frames and compares the Network's outputs, then the probes.

        Threads and their number do not change the result.

        Args:
            references: for each of them float32 [frames, *shape], and what its values are:
                "plain", "logits" or "probabilities" of classes along the last axis.

        Raises:
            OptionError: A reference does not fit or an output is not of float32.
        """

    def outputs(self) -> list[NDArray[np.generic]]:
        """Runs all frames and returns the Network's outputs, then the probes: [frames, *shape]."""

@final
class TensorStatistics:
    """Exact, mergeable statistics of one float tensor over frames.

    Any order, sharding or thread count of the same frames gives the same state bit for bit.
    """

    def __new__(cls) -> TensorStatistics: ...
    def update(self, values: NDArray[np.float32]) -> tuple[float, float]:
        """Adds one frame (any shape, C-contiguous); returns the frame's (min, max).

        NaN and Inf are counted and left out of everything else; an empty frame, or one without a
        finite value, returns (nan, nan).
        """

    def select_range(
        self,
        method: str,
        bits: int,
        asymmetric: bool,
        unit: float,
        least_shift: int,
        parameter: float,
    ) -> tuple[float, float]:
        """Chooses a range for the scales that a tensor may have; docs/numerics.md, "Range search".

        The same for every order, sharding and thread count of the same frames; never beyond the
        extremes, and exactly (min, max) unless another range is better.

        Args:
            method: "mse" (least expected squared error), "percentile" (the central part of the
                values) or "entropy" (least Kullback-Leibler divergence).
            bits: of the integer, 2 to 16.
            asymmetric: unsigned with a zero point and any scale; otherwise the zero point is 0.
            unit: 0 for any scale, else the scale is unit * 2^k; with asymmetric only 0.
            least_shift: least k.
            parameter: "mse": weight of squared saturation errors, positive. "percentile": part of
                the values that is kept, above 0 and up to 100. "entropy": unused.

        Returns:
            (min, max), float32 values.

        Raises:
            OptionError: An argument is not allowed.
            DataError: There is no finite value.
        """

    def to_bytes(self) -> bytes:
        """Returns the exact state."""

    @staticmethod
    def from_bytes(state: bytes) -> TensorStatistics:
        """Returns the statistics whose `to_bytes` gave the state.

        Raises:
            ArtifactError: The bytes are not such a state, damaged, or of another version.
        """

    def merge(self, other: TensorStatistics) -> None: ...
    @property
    def min(self) -> float: ...
    @property
    def max(self) -> float: ...
    @property
    def count(self) -> int:
        """Finite values seen."""
    @property
    def zeros(self) -> int: ...
    @property
    def nan_count(self) -> int: ...
    @property
    def inf_count(self) -> int: ...
    @property
    def sum(self) -> float: ...
    @property
    def sum_of_squares(self) -> float: ...
    @property
    def bin_width(self) -> float:
        """A power of two; 0 before the first non-zero value."""
    @property
    def first_bin(self) -> int:
        """Bin i of counts holds first_bin + i <= x / bin_width < first_bin + i + 1."""
    @property
    def counts(self) -> NDArray[np.uint64]: ...

def select_weight_range(
    weight: NDArray[np.float32] | NDArray[np.float64],
    moments: NDArray[np.float64] | None,
    bits: int,
    power_of_two: bool,
    full_code: bool,
    per_channel: bool,
) -> NDArray[np.float64]:
    """Chooses the largest magnitude of a weight that is kept.

    The one with the least  sum over k of moments[k] * (w[k] - Q(w[k]))^2,  where Q is the
    quantizer that `precision.scales.parameter_scales` leads to; the weight's own largest
    magnitude unless another is better.

    Args:
        weight: float32 or float64 [channels, K].
        moments: float64 [channels, K] or [1, K]. Second moment of what each element multiplies,
            not negative; None for 1 everywhere.
        bits: of the integer, 2 to 16.
        power_of_two: the scale is the next coarser power of two.
        full_code: the largest magnitude maps to 2^(bits-1), not to 2^(bits-1) - 1.
        per_channel: one number per channel; otherwise one for the whole weight.

    Returns:
        float64 [channels] or [1]; 0 where all elements are 0.

    Raises:
        OptionError: The bits are not allowed.
        DataError: An element is not finite, a moment is negative, or shapes do not fit.
    """

@final
class ErrorStatistics:
    """Error of one float tensor against its reference, over frames."""

    def __new__(cls) -> ErrorStatistics: ...
    def update(self, reference: NDArray[np.float32], value: NDArray[np.float32]) -> None:
        """Adds a pair of arrays of equal shape."""
    def update_known(self, reference: NDArray[np.float32], value: NDArray[np.float32]) -> None:
        """Adds a pair of arrays of equal shape as far as the reference is finite.

        Where the value alone is not finite, nothing of the reference is met.
        """
    def merge(self, other: ErrorStatistics) -> None:
        """Adds every pair of other statistics; the order leaves no trace."""
    @property
    def count(self) -> int: ...
    @property
    def mean_squared_error(self) -> float: ...
    @property
    def relative_error(self) -> float:
        """sum of error^2 / sum of reference^2; sum of error^2 where the reference is all zero."""
    @property
    def max_abs_error(self) -> float: ...
    @property
    def cosine(self) -> float: ...
    @property
    def sqnr_db(self) -> float:
        """10 log10(sum of reference^2 / sum of error^2); inf when the error is zero."""

@final
class DivergenceStatistics:
    """Mean Kullback-Leibler divergence of rows against their reference, in nats.

    A row's is sum over classes of p (ln p - ln q), p the reference's probability; probabilities
    below 2^-24 count as 2^-24.
    """

    def __new__(cls) -> DivergenceStatistics: ...
    def update(self, kind: str, reference: NDArray[np.float32], value: NDArray[np.float32]) -> None:
        """Adds the rows along the last axis of a pair of arrays of equal shape.

        Args:
            kind: "logits", "probabilities", or "plain", which has none.
        """
    def merge(self, other: DivergenceStatistics) -> None:
        """Adds every row of other statistics; the order leaves no trace."""
    @property
    def rows(self) -> int: ...
    @property
    def mean(self) -> float:
        """nan before the first row, and after one that is not finite."""

@final
class WindowSums:
    """Sums of a float feature over the output positions of a window: what its bias has to know.

    float64, added in a fixed order: the values and their order decide every bit, threads and
    instruction sets do not. NaN and Inf go through as IEEE arithmetic has it.
    """

    def __new__(
        cls,
        kernel: list[int],
        stride: list[int],
        dilation: list[int],
        pad_begin: list[int],
        output_size: list[int],
        *,
        transposed: bool = False,
    ) -> WindowSums:
        """Takes the geometry of a convolution, one entry per spatial axis (1 or 2).

        Of a transposed convolution `pad_begin` is what its output lacks.

        Raises:
            OptionError: The lists differ in length, or an entry is not allowed.
        """

    def update(self, values: NDArray[np.float32]) -> None:
        """Adds features [N, C, *spatial]; the first ones decide C.

        Raises:
            DataError: Rank or C differ.
        """

    @property
    def sums(self) -> NDArray[np.float64]:
        """[C, *kernel]: what each tap sees, over all positions; outside of the input counts 0."""
    @property
    def positions(self) -> int:
        """Positions of the window so far, over all samples."""

    def to_bytes(self) -> bytes:
        """The exact state."""

    @staticmethod
    def from_bytes(state: bytes) -> WindowSums:
        """The state that `to_bytes` wrote.

        Raises:
            ArtifactError: The bytes are corrupt, or of another statistic.
        """

@final
class ChannelStatistics:
    """Extremes, sums and sums of squares of each channel of a float tensor.

    float64 sums, added in a fixed order: the values and their order decide every bit, threads and
    instruction sets do not. NaN takes no part in the extremes, Inf does; sums take both as IEEE
    arithmetic has it.
    """

    def __new__(cls, axis: int) -> ChannelStatistics:
        """Channels lie along `axis`; a negative one counts from the last."""

    def update(self, values: NDArray[np.float32]) -> None:
        """Adds values of any rank; the first ones decide the number of channels C.

        Raises:
            DataError: The values lack the axis, or have another number of channels.
        """

    @property
    def axis(self) -> int: ...
    @property
    def count(self) -> int:
        """Values of each channel."""
    @property
    def minima(self) -> NDArray[np.float32]:
        """[C]; inf where there is no value."""
    @property
    def maxima(self) -> NDArray[np.float32]:
        """[C]; -inf where there is no value."""
    @property
    def sums(self) -> NDArray[np.float64]: ...
    @property
    def sums_of_squares(self) -> NDArray[np.float64]: ...
    def to_bytes(self) -> bytes:
        """The exact state."""

    @staticmethod
    def from_bytes(state: bytes) -> ChannelStatistics:
        """The state that `to_bytes` wrote.

        Raises:
            ArtifactError: The bytes are corrupt, or of another statistic.
        """

@final
class TextForm:
    """Text form of the messages of one protobuf type, as `google.protobuf.text_format` has it."""

    def __new__(cls, files: list[bytes], message: str) -> TextForm:
        """Takes the schema.

        Args:
            files: serialized FileDescriptorProtos, a file after those that it imports; extensions
                in them are known.
            message: full name of the message type.

        Raises:
            InternalError: The files do not define the message, or use groups, maps, oneofs, Any, or
                integers other than int32, int64, uint32 and uint64.
        """

    def to_binary(self, text: str) -> bytes | None:
        """Returns the binary form of a text.

        Returns:
            None when the text is wrong or spelled in a rare way; the protobuf library knows which.
        """

    def to_text(self, binary: bytes) -> str | None:
        """Returns the text of a binary form: ASCII, one field on a line, repeated numbers as lists.

        Returns:
            None when the binary form is wrong, or has a string that is not UTF-8 or an enumeration
            number without a name.
        """
