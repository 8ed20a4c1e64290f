"""Static shapes: what the caller gives, the batch of 1, and the shapes that the interface keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from tidlq.errors import ModelError, nearest_names
from tidlq.passes.infer_shapes import InferShapes
from tidlq.passes.node_reading import static_shape

_LARGEST_SIZE = (1 << 31) - 1
# What exporters write for a size that has no name; two such sizes are not the same.
_UNNAMED = frozenset({None, "", "?", "*", "-1", "None"})


@dataclass(frozen=True)
class BatchAxis:
    """Which inputs and outputs have a free leading axis, by the name that the model gives it."""

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def fix_shapes(model: ir.Model, input_shapes: Mapping[str, Sequence[int]]) -> BatchAxis:
    """Gives every input a static shape and forgets declared shapes that depended on free sizes.

    Args:
        model: changed in place; constants are not among its inputs.
        input_shapes: sizes by input name.

    Raises:
        ModelError: A given shape does not fit, or a size other than the batch is not known.
    """
    graph = model.graph
    names = [value.name or "" for value in graph.inputs]
    for name in input_shapes:
        if name not in names:
            raise ModelError(
                f"there is no input {name!r}; inputs are "
                f"{', '.join(map(repr, names)) or 'none'}.{nearest_names(name, names)}"
            )
    if any(value.shape is None for value in graph.outputs):
        InferShapes()(model)
    outputs = {v.name or "": free for v in graph.outputs if (free := _free_leading(v))}
    inputs = {v.name or "": free for v in graph.inputs if (free := _free_leading(v))}
    sizes = _bind_symbols(graph.inputs, input_shapes)
    for value in graph.inputs:
        shape = input_shapes.get(value.name or "")
        value.shape = ir.Shape(_resolve(value, shape, sizes))
        if shape and shape[0] != 1:
            inputs.pop(value.name or "", None)
    produced = {value for node in graph for value in node.outputs}
    for value in produced:
        _substitute(value, sizes)
    return BatchAxis(inputs, outputs)


def _symbol(size: int | ir.SymbolicDim) -> str | None:
    """The name of a free size, '' where it has none; None for a fixed one."""
    if isinstance(size, int):
        return None if size > 0 else ""
    return "" if size.value in _UNNAMED else str(size.value)


def _free_leading(value: ir.Value) -> str | None:
    if value.shape is None or not len(value.shape):
        return None
    symbol = _symbol(value.shape[0])
    return None if symbol is None else symbol or "batch"


def _bind_symbols(inputs: Sequence[ir.Value], given: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Sizes of named free axes; the leading one is 1 unless it is given."""
    sizes: dict[str, int] = {}
    for value in inputs:
        name = value.name or ""
        if name not in given:
            continue
        _check_given(value, given[name])
        for axis, size in enumerate(value.shape if value.shape is not None else ()):
            symbol = _symbol(size)
            if not symbol:
                continue
            if sizes.setdefault(symbol, given[name][axis]) != given[name][axis]:
                raise ModelError(
                    f"axis {axis} ({symbol!r}) of input {name!r} is given as "
                    f"{given[name][axis]}, but {symbol!r} is {sizes[symbol]} elsewhere."
                )
    for value in inputs:
        if value.name not in given and value.shape is not None and len(value.shape):
            symbol = _symbol(value.shape[0])
            if symbol:
                sizes.setdefault(symbol, 1)
    return sizes


def _check_given(value: ir.Value, given: Sequence[int]) -> None:
    text = "x".join(map(str, given))
    whole = all(isinstance(size, int) and not isinstance(size, bool) for size in given)
    if not whole or not all(0 < size <= _LARGEST_SIZE for size in given):
        raise ModelError(
            f"the shape {text} given for input {value.name!r} must have whole sizes from "
            f"1 to {_LARGEST_SIZE}."
        )
    if value.shape is None:
        return
    declared = "x".join(str(size) for size in _spelled(value))
    if len(given) != len(value.shape):
        raise ModelError(
            f"input {value.name!r} has {len(value.shape)} axes ({declared}); the given "
            f"shape {text} has {len(given)}."
        )
    for axis, size in enumerate(value.shape):
        if _symbol(size) is None and size != given[axis]:
            raise ModelError(
                f"axis {axis} of input {value.name!r} is fixed at {size}; the given shape "
                f"{text} has {given[axis]}."
            )


def _spelled(value: ir.Value) -> list[str]:
    assert value.shape is not None
    return [str(size) if _symbol(size) is None else _symbol(size) or "?" for size in value.shape]


def _resolve(value: ir.Value, given: Sequence[int] | None, sizes: Mapping[str, int]) -> list[int]:
    if given is not None:
        return list(given)
    if value.shape is None:
        raise ModelError(
            f"input {value.name!r} has no shape; give it with --input-shape "
            f"{value.name}=1x3x224x224 (input_shapes in Python)."
        )
    found: list[int] = []
    for axis, size in enumerate(value.shape):
        symbol = _symbol(size)
        if symbol is None:
            if int(size) > _LARGEST_SIZE:  # type: ignore[arg-type]
                raise ModelError(
                    f"axis {axis} of input {value.name!r} has size {size}; at most "
                    f"{_LARGEST_SIZE} is supported."
                )
            found.append(int(size))  # type: ignore[arg-type]
        elif symbol in sizes:
            found.append(sizes[symbol])
        elif axis == 0:
            found.append(1)
        else:
            raise ModelError(_missing(value, axis, symbol))
    return found


def _missing(value: ir.Value, axis: int, symbol: str) -> str:
    spelled = _spelled(value)
    example = [
        "1"
        if index == 0 and _symbol(size) is not None
        else str(size)
        if _symbol(size) is None
        else f"<{spelled[index].replace('?', 'size')}>"
        for index, size in enumerate(value.shape or ())
    ]
    named = f" ({symbol!r})" if symbol else ""
    return (
        f"axis {axis}{named} of input {value.name!r} has no fixed size in "
        f"{'x'.join(spelled)}; give it with --input-shape {value.name}={'x'.join(example)} "
        "(input_shapes in Python)."
    )


def _substitute(value: ir.Value, sizes: Mapping[str, int]) -> None:
    """Keeps a declared shape only where the known sizes make it static."""
    if value.shape is None:
        return
    found: list[int] = []
    for size in value.shape:
        symbol = _symbol(size)
        if symbol is None:
            found.append(int(size))  # type: ignore[arg-type]
        elif symbol in sizes:
            found.append(sizes[symbol])
        else:
            value.shape = None
            return
    value.shape = ir.Shape(found)


def interface_shapes(
    graph: ir.Graph, batch: BatchAxis
) -> tuple[bool, dict[str, tuple[int | str, ...]]]:
    """Whether frames may be executed one by one, and the shapes that a caller then sees.

    Returns:
        free_batch, which needs a free leading axis, now 1, on every input and output; and the shape
        of every input and output, its leading size a name where the batch is free.
    """
    ends = [(value, batch.inputs) for value in graph.inputs]
    ends += [(value, batch.outputs) for value in graph.outputs]
    free = bool(graph.inputs) and all(
        value.name in names and (static_shape(value) or (0,))[0] == 1 for value, names in ends
    )
    shapes: dict[str, tuple[int | str, ...]] = {}
    for value, names in ends:
        shape = static_shape(value)
        if shape is not None:
            name = value.name or ""
            shapes[name] = (names[name], *shape[1:]) if free else shape
    return free, shapes
