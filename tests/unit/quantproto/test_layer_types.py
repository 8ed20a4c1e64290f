"""Every layer that recognition can find has a type in the quantization proto."""

from __future__ import annotations

import pytest

from tidlq.graph.layers import Layer, LayerKind
from tidlq.graph.recognition.elementwise import FUNCTION_DEFAULTS, STATED_FUNCTIONS
from tidlq.quantproto.network_ranges import tidl_type
from tidlq.target import TidlLayerType


@pytest.mark.parametrize("op_type", [*FUNCTION_DEFAULTS, *STATED_FUNCTIONS])
def test_a_function_has_the_type_of_its_operator(op_type: str) -> None:
    layer = Layer("f", LayerKind.FUNCTION, op_type, ("f",), ("x",), "y")
    # TIDL runs SiLU as a sigmoid and a product.
    type_ = "eltwise" if op_type == "Swish" else op_type.lower()
    assert tidl_type(layer).value.lower() == f"tidl_{type_}layer"


@pytest.mark.parametrize("kind", [k for k in LayerKind if k is not LayerKind.FUNCTION])
def test_a_kind_has_a_type(kind: LayerKind) -> None:
    by_operator = {LayerKind.CLAMP: "Relu", LayerKind.RESHAPE: "Reshape"}
    operator = "Identity" if kind.name == "IDENTITY" else by_operator.get(kind, "Other")
    assert tidl_type(Layer("l", kind, operator, ("l",), ("x",), "y")) in TidlLayerType
