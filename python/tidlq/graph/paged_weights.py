"""Weights of large networks in a temporary file, of which only what is in use takes memory.

A calibration needs the float weights in some of its phases only: to run the float network, to make
a plan, to lower it. In between, while the integer network runs over all frames, their memory is
free for the features of these.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tidlq.graph.model import Graph
from tidlq.paging import page_out

_LEAST_BYTES = 1 << 16


def with_paged_weights(graph: Graph) -> Graph:
    """The Graph with its large weights in a file; they have the same values.

    The model is the same object. Small networks stay as they are, and so do all where a file cannot
    be had.

    Args:
        graph: the canonical Graph. What is in a file already stays there.
    """
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in graph.model.graph.initializers:
        array = graph.constant(name)
        if array is None or array.dtype.kind != "f" or array.nbytes < _LEAST_BYTES:
            continue
        if not any(pages.arrays.get(name) is array for pages in graph.pages):
            arrays[name] = array
    pages = page_out(arrays)
    if pages is None:
        return graph
    for name, array in pages.arrays.items():
        graph.model.graph.initializers[name].const_value = ir.tensor(array, name=name)
    return replace(graph, pages=(*graph.pages, pages))
