"""What the model of a TI bundle says in its metadata: what neither its nodes nor a strict
quantization proto can say.

`tidlq export --to tidl` writes it, the ONNX door reads it; other software passes it over.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir

from tidlq.errors import ModelError
from tidlq.spec import ChannelRanges

_BATCH = "tidlq.batch"
_RANGES = "tidlq.channel_ranges"


@dataclass(frozen=True)
class BundleFacts:
    """Facts beside the nodes.

    Attributes:
        batch: name of the leading axis, which the file fixes at 1 for tools that need that; empty
            where it is fixed in truth.
        channel_ranges: ranges of the output channels of weights, by parameter name.
    """

    batch: str = ""
    channel_ranges: Mapping[str, ChannelRanges] = field(default_factory=dict)

    def to_properties(self) -> dict[str, str]:
        """Keys and values of a model's metadata; none where there is nothing to say."""
        found = {_BATCH: self.batch} if self.batch else {}
        if self.channel_ranges:
            tables = {
                name: [ranges.low.tolist(), ranges.high.tolist()]
                for name, ranges in sorted(self.channel_ranges.items())
            }
            found[_RANGES] = json.dumps(tables, allow_nan=False)
        return found

    @classmethod
    def of_model(cls, proto: onnx.ModelProto) -> BundleFacts:
        """Reads a model's metadata.

        Raises:
            ModelError: A value is not what a bundle has.
        """
        properties = {item.key: item.value for item in proto.metadata_props}
        return cls(properties.get(_BATCH, ""), _read_ranges(properties.get(_RANGES, "{}")))

    def free_batch(self, values: Iterable[ir.Value]) -> None:
        """Gives inputs and outputs their free leading axis back, where it is 1.

        Args:
            values: changed in place.
        """
        for value in values:
            shape = value.shape
            if self.batch and shape is not None and len(shape) and shape[0] == 1:
                value.shape = ir.Shape([self.batch, *shape.dims[1:]])


def _read_ranges(text: str) -> Mapping[str, ChannelRanges]:
    try:
        return {name: _ranges(*bounds) for name, bounds in json.loads(text).items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise ModelError(
            f"metadata {_RANGES!r} is {shown!r}, which is not what tidlq writes."
        ) from None


def _ranges(low: object, high: object) -> ChannelRanges:
    with np.errstate(over="ignore"):
        lows, highs = np.asarray(low, np.float32), np.asarray(high, np.float32)
    if lows.ndim != 1 or lows.shape != highs.shape:
        raise ValueError
    return ChannelRanges(lows, highs)
