"""Pre-quantized ONNX models of the data folder: from QAT, and from a quantizer of operators."""

from __future__ import annotations

from dataclasses import replace

from data_folder import data_folder
from network import Network

from tasks.classification import cifar_network, keyword_network

ON_ALL_PICTURES = frozenset({"resnet20_cifar10_jpegft_qat_qdq", "ort_resnet20_u8s8_pc_qoperator"})


def quantized_networks() -> list[Network]:
    """Every model of the data folder that states its integers."""
    found = []
    for model in sorted((data_folder() / "qat" / "models").glob("*.onnx")):
        if model.stem.startswith("clip_"):
            continue
        pictures = "test10k" if model.stem in ON_ALL_PICTURES else "held2000"
        found.append(cifar_network(model.stem, "torch", pictures, "qat"))
    keywords = keyword_network("mlperf_kws_fp32_ort_qdq")
    return [*found, replace(keywords, nchw=False)]
