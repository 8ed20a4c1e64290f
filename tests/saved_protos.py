"""Quantization protos as hypothesis makes them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from tidlq.quantproto import Provenance, SavedLayer, SavedRanges, SavedTensor
from tidlq.spec import IntegerType, Range, RangeOrigin

# The largest float32 below the bound that stands for an unknown range.
BOUND = float(np.nextafter(np.finfo(np.float32).max, np.float32(0)))

INTEGERS = [
    IntegerType(8, signed=False),
    IntegerType(8, signed=True),
    IntegerType(16, signed=False),
    IntegerType(16, signed=True),
    IntegerType(32, signed=True),
]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
float32s = st.floats(-BOUND, BOUND, width=32)
doubles = st.floats(allow_nan=False, allow_infinity=False)
bounds = st.floats(0.0, BOUND, width=32, exclude_min=True)
factors = st.floats(0.0, allow_infinity=False, exclude_min=True)


def ranges(origin: RangeOrigin) -> st.SearchStrategy[Range]:
    return st.tuples(float32s, float32s).map(lambda pair: Range(min(pair), max(pair), origin))


@st.composite
def tensors(draw: st.DrawFn) -> SavedTensor:
    origin = draw(st.sampled_from(RangeOrigin))
    values = tuple(draw(st.lists(doubles, max_size=4)))
    kind = draw(st.none() | st.sampled_from(INTEGERS))
    return SavedTensor(
        name=draw(st.just("") | texts),
        range=draw(st.none() | ranges(origin)),
        size=len(values) or draw(st.integers(0, 2**32 - 1)),
        values=values,
        channels=tuple(draw(st.lists(ranges(origin), max_size=3))),
        type=kind,
        scales=tuple(draw(st.lists(doubles, max_size=3))),
        is_float=kind is None and draw(st.booleans()),
        zero_points=tuple(draw(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3))),
    )


@st.composite
def saved_ranges(draw: st.DrawFn, *, unique_names: bool = False) -> SavedRanges:
    """Anything that can be written; with `unique_names` no two tensors have the same one."""
    some_tensors = st.lists(tensors(), max_size=2).map(tuple)
    if unique_names:
        numbers = itertools.count()
        some_tensors = some_tensors.map(
            lambda found: tuple(
                replace(x, name=f"{x.name}{next(numbers)}" if x.name else "") for x in found
            )
        )
    layers = tuple(
        SavedLayer(
            name=name,
            layer_type=draw(texts),
            outputs=draw(some_tensors),
            weights=draw(some_tensors),
            bias=draw(some_tensors),
            slope=draw(some_tensors),
            bit_depth=draw(st.sampled_from([8, 16])),
            parameter_bit_depth=draw(st.sampled_from([None, 8, 16])),
            equalization=(equalization := tuple(draw(st.lists(factors, max_size=3)))),
            equalization_bound=draw(st.none() | bounds) if equalization else None,
            parameter_digest=draw(st.just("") | texts),
        )
        for name in draw(st.lists(texts, min_size=1, max_size=3, unique=True))
    )
    provenance = st.builds(
        Provenance,
        tool_version=texts,
        graph_fingerprint=texts,
        scheme=texts,
        accuracy_level=st.integers(0, 9),
        frames=st.integers(0, 10_000),
        options=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
        calibration_method=st.just("") | texts,
        ingredients=st.lists(texts, max_size=3).map(tuple),
    )
    return SavedRanges(
        layers, draw(st.booleans()), draw(st.booleans()), draw(st.none() | provenance)
    )
