"""NNCF's ranking of quantized layers, as its accuracy control makes it: one reverted at a time.

    python -m peers.nncf_ranking --model M --input NAME --frames F.npy --report R.json

Run in the environment of the peers. The report has the seconds of the ranking alone, wall and CPU,
and how many groups it ranked.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import openvino as ov
from nncf.quantization.advanced_parameters import AdvancedAccuracyRestorerParameters
from nncf.quantization.algorithms.accuracy_control import ranker


def main() -> None:
    """Quantizes, ranks, and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--input", required=True)
    parser.add_argument("--frames", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    arguments = parser.parse_args()
    frames = np.load(arguments.frames)
    shape = [1, *frames.shape[1:]]
    model = ov.convert_model(arguments.model, input=[(arguments.input, shape)])
    items = [frames[k : k + 1] for k in range(len(frames))]
    figures: dict[str, float] = {}
    rank = ranker.Ranker.rank_groups_of_quantizers

    def timed(self: Any, groups: list[Any], *rest: Any) -> Any:
        started, started_cpu = time.perf_counter(), time.process_time()
        ranked = rank(self, groups, *rest)
        figures.update(
            seconds=time.perf_counter() - started,
            cpu_seconds=time.process_time() - started_cpu,
            groups=len(groups),
        )
        return ranked

    ranker.Ranker.rank_groups_of_quantizers = timed
    reference: list[Any] = []

    def error(compiled: Any, data: Iterable[Any]) -> tuple[float, list[list[Any]]]:
        """Minus the relative squared error against the first model asked about, the float one."""
        outputs = [[np.array(compiled(item)[0])] for item in data]
        if not reference:
            reference.extend(outputs)
        wanted = np.stack([row[0] for row in reference])
        found = np.stack([row[0] for row in outputs])
        return -float(((found - wanted) ** 2).sum() / (wanted**2).sum()), outputs

    parameters = AdvancedAccuracyRestorerParameters(
        max_num_iterations=1, ranking_subset_size=len(items)
    )
    dataset = nncf.Dataset(items)
    nncf.quantize_with_accuracy_control(
        model,
        dataset,
        dataset,
        error,
        max_drop=1e-9,
        subset_size=len(items),
        advanced_accuracy_restorer_parameters=parameters,
    )
    arguments.report.write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
