#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Runs networks with ONNX Runtime, LiteRT or TensorFlow Lite Micro for bench.py, which says what to do.

    peer.py onnxruntime|litert|tflm DIR

A line in, a line of JSON out, as `neural-bench` does it: `answer KEY`, `time KEY MS`, `version`. What is timed is the
runtime's own call with its buffers bound beforehand, below the Python classes that wrap it: what is left of Python is
one call of a C++ function without arguments to speak of (60 ns or so; `1-1` shows what the call costs in all).
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
#: A sample is at least this long, so that reading the clock does not count.
SAMPLE_NS = 50_000
#: Bytes for the tensors of TensorFlow Lite Micro.
ARENA = 32 << 20


class OnnxRuntime:
    """A session on one thread with its inputs and its output bound; inputs are floats, whatever is inside."""

    def __init__(self, path: Path, inputs: dict[str, Array]) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(str(path) + ".onnx", options, providers=["CPUExecutionProvider"])
        target = self.session.get_outputs()[0]
        self.output = ort.OrtValue.ortvalue_from_numpy(np.zeros(target.shape, np.float32))
        self.binding = self.session.io_binding()
        floats = {**inputs, "x": inputs.get("floats", inputs["x"])}
        self.inputs = {s.name: ort.OrtValue.ortvalue_from_numpy(floats[s.name]) for s in self.session.get_inputs()}
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        self.binding.bind_ortvalue_output(target.name, self.output)
        self.arguments = (self.session._sess.run_with_iobinding, self.binding._iobinding, ort.RunOptions())

    def answer(self) -> Array:
        """The output."""
        run, raw, how = self.arguments
        run(raw, how)
        values: Array = self.output.numpy()
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


class Lite:
    """What LiteRT and TensorFlow Lite Micro have in common."""

    invoke: Callable[[], object]

    def timed(self, count: int) -> int:
        """Nanoseconds that `count` predictions take."""
        invoke = self.invoke
        start = time.perf_counter_ns()
        for _ in itertools.repeat(None, count):
            invoke()
        return time.perf_counter_ns() - start


class LiteRt(Lite):
    """An interpreter on one thread with XNNPACK, as it comes."""

    def __init__(self, path: Path, inputs: dict[str, Array]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.interpreter = Interpreter(str(path) + ".tflite", num_threads=1)
        self.interpreter.allocate_tensors()
        # In some models the order of the inputs is not that of their numbers.
        given = list(inputs.values())
        for detail, value in zip(self.interpreter.get_input_details(), given, strict=False):
            self.interpreter.set_tensor(detail["index"], value.reshape(detail["shape"]))
        self.invoke = self.interpreter._interpreter.Invoke

    def answer(self) -> Array:
        """The output."""
        self.invoke()
        values: Array = self.interpreter.get_tensor(self.interpreter.get_output_details()[0]["index"])
        return values

    @staticmethod
    def version() -> str:
        """What it is."""
        from importlib.metadata import version

        return f"LiteRT {version('ai-edge-litert')}"


class Tflm(Lite):
    """TensorFlow Lite Micro as its wheel comes: portable C++, the reference of the 8-bit arithmetic."""

    def __init__(self, path: Path, inputs: dict[str, Array]) -> None:
        from tflite_micro.python.tflite_micro import runtime

        self.interpreter = runtime.Interpreter.from_file(str(path) + ".tflite", arena_size=ARENA)
        for index, value in enumerate(inputs.values()):
            with contextlib.suppress(IndexError, KeyError):
                shape = self.interpreter.get_input_details(index)["shape"]
                self.interpreter.set_input(value.reshape(shape), index)
        self.invoke = self.interpreter._interpreter.Invoke

    def answer(self) -> Array:
        """The output."""
        self.invoke()
        values: Array = self.interpreter.get_output(0)
        return values

    @staticmethod
    def version() -> str:
        """What it is."""
        from importlib.metadata import version

        return f"TFLite Micro {version('tflite-micro')}"


Engine = OnnxRuntime | LiteRt | Tflm
ENGINES: dict[str, type[OnnxRuntime] | type[LiteRt] | type[Tflm]] = {
    "onnxruntime": OnnxRuntime,
    "litert": LiteRt,
    "tflm": Tflm,
}


def measure(engine: Engine, count: int, budget_ms: int) -> dict[str, float]:
    """Minimum and median over samples, as `neural-bench` takes them."""
    engine.timed(count)
    samples: list[float] = []
    end = time.perf_counter_ns() + budget_ms * 1_000_000
    while time.perf_counter_ns() < end or len(samples) < 5:
        samples.append(engine.timed(count) / count)
    samples.sort()
    return {"min_ns": round(samples[0], 1), "med_ns": round(samples[len(samples) // 2], 1), "samples": len(samples)}


def calls(engine: Engine) -> int:
    """Predictions in a sample: the best of five, because the first calls after another engine's turn are slow."""
    count = 1
    while min(engine.timed(count) for _ in range(5)) < SAMPLE_NS and count < 1 << 20:
        count *= 2
    return count


def main() -> None:
    """Obey until the end of input."""
    kind, directory = ENGINES[sys.argv[1]], Path(sys.argv[2])
    loaded: dict[str, Engine] = {}
    counts: dict[str, int] = {}
    # What runtimes print must not get between the answers.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    gc.disable()
    for line in sys.stdin:
        verb, *words = line.split()
        reply: object
        try:
            if verb == "version":
                reply = kind.version()
            else:
                key = words[0]
                if key not in loaded:
                    with np.load(directory / f"{key}.npz") as inputs:
                        loaded[key] = kind(directory / key, dict(inputs))
                if verb == "answer":
                    reply = [float(v) for v in loaded[key].answer().ravel()]
                else:
                    if key not in counts:
                        counts[key] = calls(loaded[key])
                    reply = measure(loaded[key], counts[key], int(words[1]))
        except Exception as why:
            reply = {"error": f"{type(why).__name__}: {why}".splitlines()[0]}
        print(json.dumps(reply), file=out, flush=True)


if __name__ == "__main__":
    main()
