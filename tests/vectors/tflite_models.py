#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write tflite/models.*: what TensorFlow Lite Micro computes from whole models, which are not in the tree.

    tflite_models.py [--check]

The models are $NEURAL_DATA/models/{ad01,kws}_int8.tflite of MLPerf Tiny. A line has the name of the model, the index of
a tensor that is computed, and the 64-bit FNV-1a of its bytes, for all inputs one after the other; the line of tensor -1
is that of the file itself. Inputs are those of `inputs` below. For the guest, models_NAME.in has all inputs of a model
and models_NAME.out its outputs.

kws_fp32.tflite has weights in int8 for values in float32. models_kws_fp32.in has a few inputs in float32, and
models_kws_fp32.out what the same graph gives whose weights are the numbers that those in int8 stand for.

Where there is no TensorFlow Lite Micro or no model, the script says that it is skipped.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
OUT = HERE / "tflite"
MODELS = ["ad01_int8", "kws_int8"]
MIXED = "kws_fp32"
INPUTS = 16
SKIP = 4
MISSING = False

try:
    import flatbuffers
    import numpy as np
    from int8 import Random
    from tflite_micro.python.tflite_micro import runtime
    from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema
except ImportError:
    MISSING = True


def inputs(count: int) -> Iterator[Any]:
    """Zeros, extremes, a ramp, extremes in turn, and random bytes of the seeds from 5 on."""
    yield np.zeros(count, np.int8)
    yield np.full(count, -128, np.int8)
    yield np.full(count, 127, np.int8)
    yield (np.arange(count) % 256 - 128).astype(np.int8)
    yield np.where(np.arange(count) % 2 == 0, -128, 127).astype(np.int8)
    for seed in range(5, INPUTS):
        yield Random(seed).codes(count)


def fnv(data: bytes) -> str:
    """64-bit FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & Random.MASK
    return f"{value:016x}"


def answers(name: str, file: bytes) -> dict[str, bytes]:
    """The lines of a model, its inputs and its outputs, by what they are added to."""
    graph = schema.ModelT.InitFromPackedBuf(file, 0).subgraphs[0]
    keep = runtime.InterpreterConfig.kPreserveAllTensors
    micro = runtime.Interpreter.from_bytes(file, arena_size=8 << 20, intrepreter_config=keep)
    shape = list(graph.tensors[graph.inputs[0]].shape)
    computed = [int(t) for op in graph.operators for t in op.outputs]
    values: dict[int, bytes] = {t: b"" for t in computed}
    for sample in inputs(int(np.prod(shape))):
        micro.set_input(sample.reshape(shape), 0)
        micro.invoke()
        for t in computed:
            got = micro.get_output(0) if t == graph.outputs[0] else micro.GetTensor(t, 0)
            values[t] += np.array(got["tensor_data"] if isinstance(got, dict) else got).tobytes()
    lines = [f"{name} {t} {fnv(data)}\n" for t, data in [(-1, file), *((t, values[t]) for t in computed)]]
    samples = b"".join(sample.tobytes() for sample in inputs(int(np.prod(shape))))
    return {
        "models.txt": "".join(lines).encode(),
        f"models_{name}.in": samples,
        f"models_{name}.out": values[int(graph.outputs[0])],
    }


def plain(file: bytes) -> bytes:
    """The file with weights in float32 instead of int8."""
    model = schema.ModelT.InitFromPackedBuf(file, 0)
    graph = model.subgraphs[0]
    for weights in {int(op.inputs[1]) for op in graph.operators if len(op.inputs) == 3}:
        tensor = graph.tensors[weights]
        if tensor.type != schema.TensorType.INT8:
            continue
        scales = np.array(tensor.quantization.scale, np.float32)
        along = [1] * len(tensor.shape)
        along[tensor.quantization.quantizedDimension] = len(scales)
        buffer = model.buffers[tensor.buffer]
        codes = np.array(buffer.data, np.uint8).view(np.int8).reshape(tensor.shape)
        numbers = codes.astype(np.float32) * scales.reshape(along)
        buffer.data = np.frombuffer(numbers.tobytes(), np.uint8)
        tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def floats(name: str, file: bytes) -> dict[str, bytes]:
    """The hash of the file, samples and answers."""
    micro = runtime.Interpreter.from_bytes(plain(file), arena_size=8 << 20)
    given, got = b"", b""
    for seed, scale in enumerate((1 / 64, 1 / 4, 1, 2)):
        sample = Random(seed).codes(490).astype(np.float32) * np.float32(scale)
        micro.set_input(sample.reshape(1, 49, 10, 1), 0)
        micro.invoke()
        given += sample.tobytes()
        got += np.array(micro.get_output(0), np.float32).tobytes()
    return {
        "models.txt": f"{name} -1 {fnv(file)}\n".encode(),
        f"models_{name}.in": given,
        f"models_{name}.out": got,
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write down what TensorFlow Lite Micro computes from whole models.")
    parser.add_argument("--check", action="store_true", help="compare with the file in the tree, write nothing")
    args = parser.parse_args()
    if MISSING:
        made = subprocess.run([HERE / "venv.sh", HERE / "requirements-tflite.txt"], stdout=subprocess.PIPE, text=True)
        python = made.stdout.strip()
        if made.returncode or os.environ.get("NEURAL_VENV"):
            print("SKIP: models: no TensorFlow Lite Micro for this Python")
            return SKIP if args.check else 0
        os.environ["NEURAL_VENV"] = python
        os.execv(python, [python, *sys.argv])
    folder = Path(os.environ.get("NEURAL_DATA", "")) / "models"
    paths = [folder / f"{name}.tflite" for name in (*MODELS, MIXED)]
    if "NEURAL_DATA" not in os.environ or not all(path.is_file() for path in paths):
        print("SKIP: models: $NEURAL_DATA has none")
        return SKIP if args.check else 0
    files: dict[str, bytes] = {}
    for path in paths:
        made = floats if path.stem == MIXED else answers
        for name, data in made(path.stem, path.read_bytes()).items():
            files[name] = files.get(name, b"") + data
    wrong = 0
    for name, data in files.items():
        if not args.check:
            (OUT / name).write_bytes(data)
        elif not (OUT / name).is_file() or (OUT / name).read_bytes() != data:
            print(f"{OUT / name} is not what this script makes")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main())
