#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write small ONNX files that ONNX Runtime's quantiser has made, with the answers of ONNX Runtime.

    onnx_codes/NAME.onnx         with NAME_input.npy [rows, inputs] and NAME_output.npy [rows, outputs] beside it

The graphs are some of those of make_float.py, the samples for their ranges the inputs. Answers are computed as the
graph says, step by step: without the optimisations that fuse operators. Scales are found by computing in single
precision, whose last bits depend on the CPU, so --check only asks what the files in the tree answer.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import make_float
import numpy as np
import onnx
import onnxruntime
import vectorlib as lib
from make_onnx import inputs_for
from onnxruntime import quantization as quant
from vectorlib import F32

HERE = Path(__file__).resolve().parent
FOLDER = "onnx_codes"
ROWS = 24

#: Graph, type of the codes of values, a scale for each output.
CASES = [
    (name, kind, per_channel)
    for name in (
        "conv conv_1d conv_stride conv_depthwise conv_multiplier conv_relu conv_same_upper max_pool max_pool_1d "
        "average_pool global_average_pool residual squeeze_excite add_channels mul_columns concat_channels "
        "flatten_gemm matmul_rows transpose pad softmax_channels sigmoid clip_6 clip_both leakyrelu keywords "
        "split slice transpose_matmul"
    ).split()
    for kind, per_channel in (("u8", False), ("s8", True))
]


#: What the quantiser leaves alone unless it follows a layer.
BARE = ["average_pool", "clip_6", "clip_both", "max_pool", "max_pool_1d", "slice", "transpose"]


def behind_layer(g: make_float.Graph) -> None:
    """Puts a layer in front of all nodes."""
    n = g.shape[1]
    layer = g.gemm("x", n, n) if len(g.shape) == 2 else g.conv("x", n, n, *[1] * (len(g.shape) - 2))
    first = g.nodes.pop()
    for node in g.nodes:
        node.input[:] = [layer if name == "x" else name for name in node.input]
    g.nodes.insert(0, first)


class Samples(quant.CalibrationDataReader):  # type: ignore[misc]
    """Rows, one by one."""

    def __init__(self, rows: F32) -> None:
        """Keeps the rows."""
        self.rows = iter(rows)

    def get_next(self) -> dict[str, Any] | None:
        """The next one."""
        row = next(self.rows, None)
        return None if row is None else {"x": row[None]}


def quantised(data: bytes, rows: F32, kind: str, per_channel: bool) -> bytes:
    """The graph with QuantizeLinear and DequantizeLinear."""
    types = {"u8": quant.QuantType.QUInt8, "s8": quant.QuantType.QInt8}
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "float.onnx", Path(folder) / "codes.onnx"
        onnx.save(onnx.load_from_string(data), source)
        quant.quantize_static(
            source,
            made,
            Samples(rows),
            quant_format=quant.QuantFormat.QDQ,
            activation_type=types[kind],
            weight_type=quant.QuantType.QInt8,
            per_channel=per_channel,
        )
        model = onnx.load(made)
    model.producer_name, model.producer_version = "neural", "1"
    del model.graph.value_info[:]
    return lib.model_bytes(model)


def answers(data: bytes, rows: F32) -> F32:
    """What the graph says, step by step."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found = [session.run(None, {"x": row[None]})[0].reshape(1, -1) for row in rows]
    return np.concatenate(found)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Write small quantised ONNX files with the answers of ONNX Runtime.")
    parser.add_argument("--check", action="store_true", help="write nothing; ask ONNX Runtime what the files answer")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    graphs = {
        **make_float.convolutions(),
        **make_float.elements(),
        **make_float.moves(),
        **make_float.sequences(),
    }
    files: dict[str, bytes] = {}
    for seed, (name, kind, per_channel) in enumerate(CASES, start=5000):
        g, output = graphs[name]
        rows = inputs_for(seed, [ROWS, *g.shape[1:]])
        path = f"{FOLDER}/{name}_{kind}"
        if name in BARE and kind == "u8":
            behind_layer(g)
        if args.check:
            data = (HERE / f"{path}.onnx").read_bytes()
        else:
            data = quantised(g.model(output), rows, kind, per_channel)
        rows = rows[:4]
        files[f"{path}.onnx"] = data
        files[f"{path}_input.npy"] = lib.npy_bytes(rows.reshape(len(rows), -1))
        files[f"{path}_output.npy"] = lib.npy_bytes(answers(data, rows))
    if not args.check:
        lib.write_files(HERE, files)
        print(f"wrote {len(files)} files, {sum(map(len, files.values()))} bytes, to {HERE / FOLDER}")
        return 0
    wrong = 0
    for name, data in files.items():
        why = lib.difference(name, (HERE / name).read_bytes(), data)
        if why is not None:
            print(f"FAIL: {name} {why}", file=sys.stderr)
            wrong = 1
    print(f"{len(files)} files checked")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
