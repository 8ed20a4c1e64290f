"""Runs one network in one engine, when told to: a turn of bench_inference.py.

    python inference_worker.py ENGINE MODEL INPUT FRAMES.npy THREADS BATCH

Engine: tidlq, onnxruntime, openvino or litert. For every line N on its input it runs N batches and
prints the least milliseconds per frame. Needs numpy and the engine alone.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Run = Callable[[], Any]


def tidlq_runs(model: str, name: str, threads: int, frames: Any) -> list[Run]:
    """The session of the artifacts."""
    import tidlq

    session = tidlq.InferenceSession(model, threads=threads)
    if isinstance(session.get_inputs()[0].shape[0], int):
        return [lambda: [session.run(None, {name: frame[None]}) for frame in frames]]
    return [lambda: session.run(None, {name: frames})]


def onnxruntime_runs(model: str, name: str, threads: int, frames: Any) -> list[Run]:
    """The whole batch at once, and frame by frame."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return [
        lambda: session.run(None, {name: frames}),
        lambda: [session.run(None, {name: frame[None]}) for frame in frames],
    ]


def openvino_runs(model: str, name: str, threads: int, frames: Any) -> list[Run]:  # noqa: ARG001
    """The whole batch at once, frame by frame, and frames side by side."""
    import openvino as ov

    core = ov.Core()

    def request(batch: int, hint: str) -> Any:
        network = core.read_model(model)
        network.reshape([batch, *frames.shape[1:]])
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": hint}
        return core.compile_model(network, "CPU", settings)

    single, whole = (request(n, "LATENCY").create_infer_request() for n in (1, len(frames)))
    runs: list[Run] = [
        lambda: whole.infer([frames]),
        lambda: [single.infer([frame[None]]) for frame in frames],
    ]
    if len(frames) > 1 and threads > 1:
        queue = ov.AsyncInferQueue(request(1, "THROUGHPUT"))

        def side_by_side() -> None:
            for frame in frames:
                queue.start_async([frame[None]])
            queue.wait_all()

        runs.append(side_by_side)
    return runs


def litert_runs(model: str, name: str, threads: int, frames: Any) -> list[Run]:  # noqa: ARG001
    """Frame by frame, with the XNNPACK delegate."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=threads)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def run() -> None:
        for frame in frames:
            interpreter.set_tensor(source["index"], frame[None])
            interpreter.invoke()
            interpreter.get_tensor(target["index"])

    return [run]


ENGINES = {
    "tidlq": tidlq_runs,
    "onnxruntime": onnxruntime_runs,
    "openvino": openvino_runs,
    "litert": litert_runs,
}


def seconds_of(run: Run) -> float:
    """Of one run."""
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def main() -> None:
    """Pins itself, warms up, chooses the engine's fastest way, and waits for turns."""
    engine, model, name, file = sys.argv[1:5]
    threads, batch = int(sys.argv[5]), int(sys.argv[6])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    kept = np.load(file)
    frames = np.ascontiguousarray(kept[[index % len(kept) for index in range(batch)]])
    runs = ENGINES[engine](model, name, threads, frames)
    run = min(runs, key=lambda run: min(seconds_of(run) for _ in range(4)))
    print("ready", flush=True)
    for line in sys.stdin:
        least = min(seconds_of(run) for _ in range(int(line)))
        print(least * 1e3 / batch, flush=True)


if __name__ == "__main__":
    main()
