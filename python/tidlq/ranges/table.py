"""The ranges of a network as a table, for algorithms of one's own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tidlq.calibration import FeatureStatistics, find_stated_ranges, measure_features
from tidlq.compilation import PROTO_OPTION, Compiled
from tidlq.compilation import compile as compile_
from tidlq.decision import prepare, scheme_in_use, unquantized_outputs
from tidlq.errors import ModelError, OptionError, nearest_names
from tidlq.graph.layers import Layer
from tidlq.graph.model import Graph
from tidlq.importers.frames import Data, open_frames
from tidlq.importers.model import import_model
from tidlq.importers.preprocessing import Preprocessing
from tidlq.precision.assignment import precision_of
from tidlq.precision.parameter_ranges import measure_parameters
from tidlq.precision.plan import ranged_features
from tidlq.quantproto import (
    Provenance,
    SavedLayer,
    SavedRanges,
    check_complete,
    write_quant_params,
)
from tidlq.quantproto.codec import is_known_range
from tidlq.quantproto.network_ranges import expected_layers
from tidlq.quantproto.outline import OutlineRules, outline
from tidlq.ranges.tensor import RangeTensor, TensorPlace, tensor_places
from tidlq.spec import Range, RangeOrigin, Ranges
from tidlq.target import Options
from tidlq.version import __version__

if TYPE_CHECKING:
    import onnx


class RangeTable:
    """Every tensor of a network that needs a range, to be filled in and compiled.

    Iterating gives the tensors in execution order. Network inputs and feature maps come without a
    range, unless the model states one (a Clip, a pre-quantized model); parameters come with their
    own, a bias with its values.

    Args:
        model: path, bytes or message of the model.
        options: as for `tidlq.compile`; scale type and bits decide which scales ranges become.
        calibration: frames that feature maps are measured on, as for `tidlq.compile`.
        input_shapes: sizes for inputs whose shape is symbolic beyond the batch.
        preprocessing: how pictures become inputs.
        threads: worker threads; 0 means one per core.

    Raises:
        ModelError: The model cannot be read or is not valid, or no layer runs in fixed point.
        DataError: Calibration frames do not fit.
        OptionError: An option is unknown or not allowed, or names an unknown layer.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | onnx.ModelProto,
        options: Options | Mapping[str, object] | None = None,
        *,
        calibration: Data | None = None,
        input_shapes: Mapping[str, Sequence[int]] | None = None,
        preprocessing: Preprocessing | None = None,
        threads: int = 0,
    ) -> None:
        self.model = model
        self.options = options if isinstance(options, Options) else Options.parse(options or {})
        self._shapes = dict(input_shapes or {})
        self._preprocessing = preprocessing
        graph = import_model(
            model,
            input_shapes=self._shapes,
            pre_batchnorm_fold=self.options.pre_batchnorm_fold,
        )
        self._prepared = prepare(graph, self.options, has_data=True)
        graph, parts = self._prepared.graph, self._prepared.partition
        if not parts.layers:
            raise ModelError(f"the network {graph.name!r} runs in float only: it has no ranges.")
        self._places = tensor_places(graph, parts)
        self._own = measure_parameters(graph, parts.layers)
        stated = find_stated_ranges(graph, parts.layers)
        self._features = {name: stated[name] for name in self._places if name in stated}
        self._parameters: dict[str, Range] = {}
        self._channels: dict[str, Sequence[Range]] = {}
        self._biases: dict[str, tuple[float, ...]] = {}
        self._precision = precision_of(self.options, graph, parts)
        self._statistics: Mapping[str, FeatureStatistics] = {}
        self._frames = 0
        if calibration is not None:
            self._measure(calibration, threads)

    def _measure(self, calibration: Data, threads: int) -> None:
        graph, limit = self._prepared.graph, self.options.calibration_frames
        wanted = ranged_features(self._prepared.partition)
        frames = open_frames(calibration, graph.inputs, self._preprocessing, limit)
        seen = measure_features(graph, wanted, frames, limit=limit, threads=threads)
        self._statistics, self._frames = seen.features, seen.frames

    @property
    def graph(self) -> Graph:
        """The network in canonical form."""
        return self._prepared.graph

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Its fixed-point layers, in execution order."""
        return self._prepared.partition.layers

    def own_channels(self, name: str) -> Sequence[Range]:
        """Ranges of the output channels that a weight has of itself; empty for all else."""
        return self._own.channels.get(name, ())

    def __iter__(self) -> Iterator[RangeTensor]:
        """The tensors in execution order, as they are now."""
        return (self[name] for name in self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __getitem__(self, name: str) -> RangeTensor:
        """A tensor as it is now.

        Raises:
            OptionError: The network has no such tensor, or it has no range of its own.
        """
        place, graph = self._place(name), self._prepared.graph
        precision = self._precision
        values = place.values(graph, self._biases.get(name))
        if values is None:
            known = self._features.get(name)
            shape, bits = graph.shape(name) or (), precision.feature_bits(name)
        else:
            known = self._parameters.get(name, self._own.parameters.get(name))
            shape, bits = values.shape, precision.parameter_bits(place.layer)
        if place.role == "bias" and values is not None:
            known = Range(float(values.min()), float(values.max()), RangeOrigin.SAVED)
        return RangeTensor(
            name,
            place.layer,
            place.layer_type,
            place.role,
            shape,
            bits,
            known,
            values,
            self._statistics.get(name),
        )

    def __setitem__(self, name: str, bounds: tuple[float, float]) -> None:
        """Sets the range of a feature map, weight or slope: `table["conv1.weight"] = -0.5, 0.5`.

        Raises:
            OptionError: The network has no such tensor, or the bounds are no range.
        """
        place = self._place(name)
        if place.role == "bias":
            raise OptionError(f"the values of the bias {name!r} decide: use set_bias.")
        known = _range(name, bounds)
        (self._features if place.role == "feature" else self._parameters)[name] = known
        self._channels.pop(name, None)

    def set_channels(self, name: str, bounds: Sequence[tuple[float, float]]) -> None:
        """Sets the range of each output channel of a weight, and with them the weight's own.

        Args:
            name: of the weight.
            bounds: (min, max) for each output channel.

        Raises:
            OptionError: The network has no such weight, or the bounds do not fit.
        """
        count = len(self.own_channels(name))
        if self._place(name).role != "weight" or not count:
            raise OptionError(f"tensor {name!r} has no output channels.")
        if len(bounds) != count:
            raise OptionError(f"{len(bounds)} ranges for {name!r}, which has {count} channels.")
        channels = [_range(name, pair) for pair in bounds]
        self._channels[name] = channels
        self._parameters[name] = Range(
            min(x.min for x in channels), max(x.max for x in channels), RangeOrigin.SAVED
        )

    def set_bias(self, name: str, values: Sequence[float] | NDArray[np.floating]) -> None:
        """Sets the values of a bias, in real units; also of a layer that has none of its own.

        Raises:
            OptionError: The network has no such bias, or the values do not fit.
        """
        place = self._place(name)
        if place.role != "bias":
            raise OptionError(f"tensor {name!r} is no bias.")
        found = tuple(float(value) for value in values)
        own = place.values(self._prepared.graph)
        count = 0 if own is None else len(own)
        if len(found) != count or not np.isfinite(found).all():
            raise OptionError(f"the bias {name!r} takes {count} finite values.")
        self._biases[name] = found

    def set_bits(self, name: str, bits: int) -> None:
        """Sets the bits of a feature map, or of the parameters of a layer, by one of their names.

        Feature maps that share its quantization (reshapes and the like) follow.

        Raises:
            OptionError: The network has no such tensor, or the bits are not 8 or 16.
        """
        place = self._place(name)
        if bits not in (8, 16):
            raise OptionError(f"tensor {name!r} cannot have {bits} bits, allowed: 8, 16.")
        features, parameters = dict(self._precision.features), dict(self._precision.parameters)
        if place.role != "feature":
            parameters[place.layer] = bits
        else:
            features[name] = bits
            for layer in self._prepared.partition.layers:
                if layer.keeps_quantization and layer.inputs[0] in features:
                    features[layer.output] = features[layer.inputs[0]]
        self._precision = replace(self._precision, features=features, parameters=parameters)

    @property
    def missing(self) -> tuple[str, ...]:
        """Feature maps without a range, in execution order."""
        floats = self._floats
        features = (n for n, place in self._places.items() if place.role == "feature")
        return tuple(n for n in features if n not in self._features and n not in floats)

    @property
    def saved(self) -> SavedRanges:
        """The table as a quantization proto.

        While ranges of feature maps are missing, it has only those parameters that were set:
        calibration finds the others.
        """
        prepared, is_whole = self._prepared, not self.missing
        graph, parts, own = prepared.graph, prepared.partition, self._own
        scheme = scheme_in_use(graph, self.options, prepared.statements)
        kept = {name: c for name, c in own.channels.items() if name not in self._parameters}
        ranges = Ranges(
            self._features,
            {**own.parameters, **self._parameters},
            {**kept, **self._channels},
            self._biases,
        )
        rules = OutlineRules(
            symmetric=not scheme.asymmetric_features,
            per_channel=scheme.channel_wise,
            precision=self._precision,
            unquantized=self._floats,
            provenance=Provenance(
                __version__,
                graph.fingerprint,
                scheme.name,
                self.options.accuracy_level,
                self._frames,
            ),
        )
        whole = outline(graph, parts, ranges, rules)
        return whole if is_whole else _without_parameters(whole, {*self._parameters, *self._biases})

    def write(self, path: str | os.PathLike[str], *, strict: bool = False) -> Path:
        """Writes the table as a quantization proto, the form by extension.

        Args:
            path: .prototxt, .pbtxt, .txt, .pb, .binarypb, .bin or .json.
            strict: only what TI's reader accepts.

        Raises:
            QuantProtoError: The extension is unknown.
            OutputError: The file cannot be written.
        """
        target = Path(path)
        write_quant_params(target, self.saved, strict=strict)
        return target

    def compile(self, calibration: Data | None = None) -> Compiled:
        """Compiles the model with these ranges.

        Args:
            calibration: frames that give the ranges that are missing; not needed without any.

        Raises:
            QuantProtoError: Ranges are missing and there are no frames.
        """
        if calibration is None:
            expected = expected_layers(self._prepared.partition, self._own, self._floats)
            check_complete(self.saved, expected, "the table of ranges")
        with tempfile.TemporaryDirectory(prefix="tidlq-") as folder:
            path = self.write(Path(folder, "ranges.pb"))
            options = Options.parse({**self.options.to_tidl(), PROTO_OPTION: str(path)})
            return compile_(
                self.model,
                calibration,
                options,
                input_shapes=self._shapes,
                preprocessing=self._preprocessing,
            )

    @property
    def _floats(self) -> frozenset[str]:
        prepared = self._prepared
        return unquantized_outputs(prepared.graph, prepared.partition, prepared.statements)

    def _place(self, name: str) -> TensorPlace:
        if name not in self._places:
            shared = [x.output for x in self._prepared.partition.layers if x.keeps_quantization]
            if name in shared:
                raise OptionError(f"tensor {name!r} has the range of what its layer reads.")
            hint = nearest_names(name, self._places)
            raise OptionError(f"the network has no tensor {name!r} with a range.{hint}")
        return self._places[name]


def _range(name: str, bounds: tuple[float, float]) -> Range:
    try:
        low, high = map(float, bounds)
        known = Range(low, high, RangeOrigin.SAVED)
    except (TypeError, ValueError):
        raise OptionError(f"{bounds!r} is no range (min, max) for {name!r}.") from None
    if not is_known_range(known.min, known.max):
        raise OptionError(f"{bounds!r} for {name!r} has a bound that stands for 'not known'.")
    return known


def _without_parameters(saved: SavedRanges, kept: Collection[str]) -> SavedRanges:
    """The proto with those parameters alone that are to be kept."""

    def chosen(layer: SavedLayer) -> SavedLayer:
        roles = {role: tensors for role, tensors in layer.roles.items() if role != "outputs"}
        return layer.with_roles(
            {role: [x for x in tensors if x.name in kept] for role, tensors in roles.items()}
        )

    return replace(saved, layers=tuple(map(chosen, saved.layers)))
