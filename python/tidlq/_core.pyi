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
        """One of "u8", "s8", "u16", "s16", "f32"."""
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

@final
class ErrorStatistics:
    """Error of one float tensor against its reference, over frames."""

    def __new__(cls) -> ErrorStatistics: ...
    def update(self, reference: NDArray[np.float32], value: NDArray[np.float32]) -> None:
        """Adds a pair of arrays of equal shape."""
    @property
    def count(self) -> int: ...
    @property
    def mean_squared_error(self) -> float: ...
    @property
    def max_abs_error(self) -> float: ...
    @property
    def cosine(self) -> float: ...
    @property
    def sqnr_db(self) -> float:
        """10 log10(sum of reference^2 / sum of error^2); inf when the error is zero."""

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
