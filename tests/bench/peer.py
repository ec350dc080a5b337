#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Time a peer's runtime for bench.py, which says on standard input what to do.

    peer.py onnxruntime|litert DIR

A line in, a line of JSON out, as `neural-bench` does it: `answer CASE`, `time CASE MS`, `version`. What is timed is the
runtime's own call with its buffers bound beforehand, below the Python classes that wrap it: what is left of Python is
one call of a C++ function without arguments to speak of (60 ns or so; `1-1` shows what the call costs in all).
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
#: A sample is at least this long, so that reading the clock does not count.
SAMPLE_NS = 50_000


class OnnxRuntime:
    """A session on one thread with its input and output bound."""

    def __init__(self, path: Path, inputs: F32) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(path) + ".onnx", options, providers=["CPUExecutionProvider"])
        source, target = self.session.get_inputs()[0], self.session.get_outputs()[0]
        self.input = ort.OrtValue.ortvalue_from_numpy(inputs)
        self.output = ort.OrtValue.ortvalue_from_numpy(np.zeros(target.shape, np.float32))
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input(source.name, self.input)
        self.binding.bind_ortvalue_output(target.name, self.output)
        run, raw, how = self.session._sess.run_with_iobinding, self.binding._iobinding, ort.RunOptions()
        self.call: Callable[[], object] = lambda: run(raw, how)
        self.arguments = (run, raw, how)

    def answer(self) -> F32:
        """The output."""
        self.call()
        values: F32 = self.output.numpy()
        return values

    def timed(self, count: int) -> int:
        """Nanoseconds that `count` predictions take."""
        run, raw, how = self.arguments
        start = time.perf_counter_ns()
        for _ in itertools.repeat(None, count):
            run(raw, how)
        return time.perf_counter_ns() - start

    @staticmethod
    def version() -> str:
        """What it is."""
        import onnxruntime

        return f"ONNX Runtime {onnxruntime.__version__}"


class LiteRt:
    """An interpreter on one thread with XNNPACK, as it comes."""

    def __init__(self, path: Path, inputs: F32) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(str(path) + ".tflite", num_threads=1)
        self.interpreter.allocate_tensors()
        self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], inputs)
        self.invoke = self.interpreter._interpreter.Invoke

    def answer(self) -> F32:
        """The output."""
        self.invoke()
        values: F32 = self.interpreter.get_tensor(self.interpreter.get_output_details()[0]["index"])
        return values

    def timed(self, count: int) -> int:
        """Nanoseconds that `count` predictions take."""
        invoke = self.invoke
        start = time.perf_counter_ns()
        for _ in itertools.repeat(None, count):
            invoke()
        return time.perf_counter_ns() - start

    @staticmethod
    def version() -> str:
        """What it is."""
        from importlib.metadata import version

        return f"LiteRT {version('ai-edge-litert')}"


Engine = OnnxRuntime | LiteRt
ENGINES: dict[str, type[OnnxRuntime] | type[LiteRt]] = {"onnxruntime": OnnxRuntime, "litert": LiteRt}


def measure(engine: Engine, budget_ms: int) -> dict[str, float]:
    """Minimum and median over samples, as `neural-bench` takes them."""
    count = 1
    # The best of five: the first calls after another engine's turn are slow, and would make samples of one call.
    while min(engine.timed(count) for _ in range(5)) < SAMPLE_NS and count < 1 << 20:
        count *= 2
    samples: list[float] = []
    end = time.perf_counter_ns() + budget_ms * 1_000_000
    while time.perf_counter_ns() < end or len(samples) < 9:
        samples.append(engine.timed(count) / count)
    samples.sort()
    return {"min_ns": round(samples[0], 1), "med_ns": round(samples[len(samples) // 2], 1), "samples": len(samples)}


def main() -> None:
    """Obey until the end of input."""
    kind, directory = ENGINES[sys.argv[1]], Path(sys.argv[2])
    loaded: dict[str, Engine] = {}
    gc.disable()
    for line in sys.stdin:
        verb, *words = line.split()
        reply: object
        if verb == "version":
            reply = kind.version()
        else:
            name = words[0]
            if name not in loaded:
                loaded[name] = kind(directory / name, np.load(directory / f"{name}_input.npy"))
            if verb == "answer":
                reply = [float(v) for v in loaded[name].answer().ravel()]
            else:
                reply = measure(loaded[name], int(words[1]))
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
