"""The peers by name; a module is imported only where its peer runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

from peers.job import Job, Quantized

PEERS: Mapping[str, str] = MappingProxyType(
    {
        "ORT min/max": "peers.ort_static:min_max",
        "ORT entropy": "peers.ort_static:entropy",
        "ORT percentile": "peers.ort_static:percentile",
        "ORT min/max per-tensor": "peers.ort_static:min_max_per_tensor",
        "ORT 16 bits": "peers.ort_static:wide",
        "NNCF OpenVINO fast": "peers.nncf_quantize:openvino_fast",
        "NNCF OpenVINO full": "peers.nncf_quantize:openvino_full",
        "NNCF ONNX fast": "peers.nncf_quantize:onnx_fast",
    }
)


def load_peer(name: str) -> Callable[[Job], Quantized]:
    """The function that quantizes."""
    module, function = PEERS[name].split(":")
    peer: Callable[[Job], Quantized] = getattr(importlib.import_module(module), function)
    return peer
