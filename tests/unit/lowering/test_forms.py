"""What is said about forms before lowering is what lowering does."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from hypothesis import given
from hypothesis import strategies as st

import tidlq
from random_networks import frames_for, random_models
from tidlq.graph.layers import Layer
from tidlq.graph.partition import StageKind
from tidlq.lowering.builder import Placed
from tidlq.lowering.forms import stage_forms
from tidlq.lowering.lower import build_stage


def is_input_itself(layer: Layer, forms: Mapping[str, Placed]) -> bool:
    """A transpose that only changes the layout adds no tensor."""
    source = forms.get(layer.inputs[0])
    return source is not None and source.index == forms[layer.output].index


@given(random_models(), st.sampled_from((0, 1, 4)))
def test_forms_are_those_of_the_network(model: onnx.ModelProto, scale_type: int) -> None:
    options = {"quantization_scale_type": scale_type, "accuracy_level": 2}
    compiled = tidlq.compile(model, frames_for(model, 2), options)
    for stage in compiled.partition.stages:
        if stage.kind is StageKind.FLOAT:
            continue
        assert compiled.plan is not None
        forms = stage_forms(compiled.graph, stage, compiled.plan)
        builder = build_stage(compiled.graph, stage, compiled.plan, "stage")
        network = builder.network
        quantized = {
            x.output for x in network.layers if x.WhichOneof("op") in ("quantize", "dequantize")
        }
        integers, floats = builder.integer_forms, builder.float_forms
        written_as_integers = {
            x.output
            for x in stage.layers
            if x.output in integers
            and (integers[x.output].index not in quantized or is_input_itself(x, integers))
        }
        assert forms.integers == written_as_integers
        written_as_floats = {
            x.name
            for x in stage.layers
            if x.output in floats
            and floats[x.output].index not in quantized
            and x.kind.value != "softmax"
        }
        assert forms.float_layers == written_as_floats
