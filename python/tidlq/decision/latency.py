"""The latency of layers that the choice of 16-bit ones goes by, as the options name it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tidlq.errors import OptionError
from tidlq.graph.layers import Layer
from tidlq.graph.partition import Partition
from tidlq.importers.layer_cycles import LayerCycles, read_layer_cycles
from tidlq.precision.cost import LatencyModel, device_latency
from tidlq.target import Device, LayerBits, LayerWork, Options

DEFAULT_DEVICE = Device.AM68A
"""Whose model is used where the options name no device."""


HOST = "host"

TimeLayers = Callable[[], Mapping[str, tuple[float, float, float]]]
"""Seconds by layer on this machine, at 8 x 8, 8 x 16 and 16 x 16 bits."""


def latency_model(
    options: Options, parts: Partition, time_layers: TimeLayers | None = None
) -> LatencyModel:
    """The latency model of the options.

    Args:
        options: `cost_model` and `device`.
        parts: stages of the network.
        time_layers: measures this machine, where the options ask for it.

    Raises:
        DataError: The file of cycles cannot be read.
        OptionError: It names none of the network's layers.
    """
    device = options.device or DEFAULT_DEVICE
    if options.cost_model.lower() == "device":
        return device_latency(device)
    if options.cost_model.lower() == HOST and time_layers is not None:
        clock = device.facts.clock_ghz * 1e9
        cycles = {
            name: LayerCycles(*(value * clock for value in seconds))
            for name, seconds in time_layers().items()
        }
        model = measured_latency(cycles, parts.layers, device, HOST)
        return replace(model, name="measured on this machine")
    path = Path(options.cost_model)
    return measured_latency(read_layer_cycles(path), parts.layers, device, str(path))


def measured_latency(
    cycles: Mapping[str, LayerCycles], layers: Sequence[Layer], device: Device, where: str
) -> LatencyModel:
    """Measured cycles, with the device's model for what was not measured.

    A precision that was not measured has the measured 8-bit cycles times what the model says of
    the precision relative to 8 bits.

    Args:
        cycles: by name of a layer or of its output.
        layers: of the network.
        device: gives the clock and the model.
        where: names the source.

    Raises:
        OptionError: No layer was measured.
    """
    known = {
        layer.name: cycles[name]
        for layer in layers
        for name in (layer.output, layer.name)
        if name in cycles
    }
    if not known:
        raise OptionError(
            f"option 'tidlq:cost_model' names {where!r}, whose {len(cycles)} rows name none of the "
            f"network's layers, such as {layers[0].name!r}; allowed: names of layers or outputs."
        )
    model = device_latency(device)
    cycles_per_ms = device.facts.clock_ghz * 1e6

    def latency(work: LayerWork, bits: LayerBits) -> float:
        predicted = model.layer_cost(work, bits)
        found = known.get(work.name)
        if found is None:
            return predicted
        widest = max(*bits.inputs, bits.output) if bits.inputs else bits.output
        exact = {(8, 16): found.wide_parameters, (16, 16): found.wide}.get(
            (widest, bits.parameters)
        )
        if exact is not None:
            return exact / cycles_per_ms
        narrow = model.layer_cost(work, LayerBits((8,) * len(bits.inputs), 8, 8))
        measured = found.narrow / cycles_per_ms
        return measured * predicted / narrow if narrow > 0 else measured

    part = f"{len(known)} of {len(layers)} layers"
    return LatencyModel(f"measured cycles of {part} ({Path(where).name})", latency)
