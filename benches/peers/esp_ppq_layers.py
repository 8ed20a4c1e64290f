"""esp-ppq's layer-wise error analysis: each layer quantized alone, the rest in float.

    python -m peers.esp_ppq_layers --model M --input NAME --frames F.npy --report R.json

Run in the environment of the peers that need torch. The report has the seconds of the analysis
alone, wall and CPU, and how many layers it ranked.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from esp_ppq.api import espdl_quantize_onnx
from esp_ppq.quantization.analyse import layerwise_error_analyse


def main() -> None:
    """Quantizes, analyses, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", required=True, help="not used: the networks have one input")
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    arguments = parser.parse_args()
    frames = np.load(arguments.frames)
    items = [torch.from_numpy(frames[k : k + 1]) for k in range(len(frames))]
    graph = espdl_quantize_onnx(
        onnx_import_file=str(arguments.model),
        espdl_export_file="",
        calib_dataloader=items,
        calib_steps=len(items),
        input_shape=list(items[0].shape),
        collate_fn=lambda item: item,
        device="cpu",
        error_report=False,
        skip_export=True,
        export_config=False,
        quant_type="w8a8",
    )
    begun, begun_cpu = time.perf_counter(), time.process_time()
    found = layerwise_error_analyse(
        graph, items, running_device="cpu", method="snr", steps=len(items), verbose=False
    )
    figures = {
        "seconds": time.perf_counter() - begun,
        "cpu_seconds": time.process_time() - begun_cpu,
        "groups": len(found),
    }
    arguments.report.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
