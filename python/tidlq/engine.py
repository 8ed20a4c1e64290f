"""The Rust engine, behind names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tidlq._core import Engine, isa_active, isa_available

Array = NDArray[np.generic]

__all__ = ["FixedStage", "isa_active", "isa_available"]


class FixedStage:
    """A loaded Network whose inputs and outputs carry Graph names.

    Args:
        file: bytes of a `.tidlq` file.
        inputs, outputs: Graph names, in the Network's order.
        threads: worker threads; 0 means one per core.

    Raises:
        ArtifactError: The bytes are not a valid Network.
    """

    def __init__(
        self, file: bytes, inputs: Sequence[str], outputs: Sequence[str], threads: int = 0
    ) -> None:
        self.engine = Engine(file, threads)
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Executes frames.

        Args:
            feeds: float32 [frames, *shape] by name.

        Returns:
            float32 [frames, *shape] by name; int32 or int64 where the output holds positions.
        """
        results = self.engine.run([feeds[name] for name in self.inputs])
        return dict(zip(self.outputs, results, strict=True))

    def trace(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Executes one frame and returns every computed tensor by its Network name.

        Args:
            feeds: float32 [*shape] by name.
        """
        names = [tensor.name for tensor in self.engine.tensors]
        arrays = self.engine.trace([feeds[name] for name in self.inputs], names)
        return dict(zip(names, arrays, strict=True))
