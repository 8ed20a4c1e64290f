"""What a pre-quantized model states, kept on the values of a model while passes rewrite it.

A statement belongs to a tensor. A pass that changes a constant's values changes the statement with
them or withdraws it, and no pass removes a tensor whose statement its successor does not take over.
"""

from __future__ import annotations

from typing import TypeVar

import onnx_ir as ir

from tidlq.spec import FeatureQuant, Requantization, StatedParameter, StatedQuantization

_FEATURE = "tidlq.feature"
_PARAMETER = "tidlq.parameter"
_BIAS = "tidlq.bias"
_REAL_BIAS = "tidlq.real_bias"

_T = TypeVar("_T")


def state_feature(value: ir.Value, quant: FeatureQuant | None) -> None:
    """States how a feature map is quantized; None withdraws the statement."""
    _state(value, _FEATURE, quant)


def stated_feature(value: ir.Value | None) -> FeatureQuant | None:
    """The statement about a feature map, if there is one."""
    return _read(value, _FEATURE, FeatureQuant)


def state_parameter(value: ir.Value, parameter: StatedParameter | None) -> None:
    """States how a constant, which holds real values, is stored; None withdraws the statement."""
    _state(value, _PARAMETER, parameter)


def stated_parameter(value: ir.Value | None) -> StatedParameter | None:
    """The statement about a constant, if there is one."""
    return _read(value, _PARAMETER, StatedParameter)


def state_bias(value: ir.Value, integers: tuple[int, ...] | None) -> None:
    """States the integers of a bias, at its accumulator's scale; None withdraws the statement."""
    _state(value, _BIAS, integers)


def stated_bias(value: ir.Value | None) -> tuple[int, ...] | None:
    """The statement about a bias, if there is one."""
    return _read(value, _BIAS, tuple)


def state_real_bias(value: ir.Value) -> None:
    """States that a bias is added as a real number, behind the product with the scales."""
    _state(value, _REAL_BIAS, True)


def is_real_bias(value: ir.Value | None) -> bool:
    """Whether a bias is stated to be added as a real number."""
    return _read(value, _REAL_BIAS, bool) or False


def collect_stated(graph: ir.Graph, requantization: Requantization) -> StatedQuantization | None:
    """Every statement by its tensor's name; None where no feature map has one.

    Args:
        graph: the main graph in canonical form.
        requantization: the arithmetic of the software that the model is made for.
    """
    values = [*graph.inputs, *graph.initializers.values()]
    values += [value for node in graph for value in node.outputs]
    features = {v.name: quant for v in values if v.name and (quant := stated_feature(v))}
    if not features:
        return None
    parameters = {v.name: stored for v in values if v.name and (stored := stated_parameter(v))}
    biases = {v.name: bias for v in values if v.name and (bias := stated_bias(v))}
    reals = frozenset(v.name for v in values if v.name and is_real_bias(v))
    return StatedQuantization(features, parameters, biases, requantization, real_biases=reals)


def _state(value: ir.Value, key: str, statement: object | None) -> None:
    if statement is None:
        value.meta.pop(key, None)
    else:
        value.meta[key] = statement


def _read(value: ir.Value | None, key: str, kind: type[_T]) -> _T | None:
    found = None if value is None else value.meta.get(key)
    return found if isinstance(found, kind) else None
