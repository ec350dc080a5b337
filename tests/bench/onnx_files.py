# SPDX-License-Identifier: GPL-2.0
"""Writes .onnx files, and quantises them as their users do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from networks import Array, Net
from onnx import TensorProto, helper, numpy_helper


def graph_file(
    nodes: list[Any],
    inputs: dict[str, tuple[int, ...]],
    output: tuple[str, tuple[int, ...]],
    constants: dict[str, Array],
) -> bytes:
    """A model of nodes, with the shapes of what goes in and out."""

    def info(name: str, shape: tuple[int, ...]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    tensors = [numpy_helper.from_array(np.ascontiguousarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "bench", [info(*i) for i in inputs.items()], [info(*output)], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def net_file(net: Net, batch: int) -> bytes:
    """Gemm and an activation a layer, Sub and Add."""
    nodes, constants = [], {}
    for node in net.nodes:
        if node.weight is not None and node.bias is not None:
            constants[f"{node.out}.w"], constants[f"{node.out}.b"] = node.weight.T, node.bias
            to = node.out if node.act == "linear" else f"{node.out}.sum"
            nodes.append(helper.make_node("Gemm", [node.ins[0], f"{node.out}.w", f"{node.out}.b"], [to]))
            if node.act != "linear":
                nodes.append(helper.make_node({"relu": "Relu", "sigmoid": "Sigmoid"}[node.act], [to], [node.out]))
        else:
            nodes.append(helper.make_node("Add" if node.kind == "add" else "Sub", node.ins, [node.out]))
    last = next(n for n in reversed(net.nodes) if n.weight is not None)
    assert last.weight is not None
    return graph_file(nodes, {"x": (batch, net.inputs)}, ("y", (batch, len(last.weight))), constants)


def quantise(source: Path, target: Path, shape: tuple[int, int], scale: float = 1.0) -> None:
    """Quantises a model as its users do: QDQ, a scale for each channel, calibrated with random inputs."""
    from onnxruntime import quantization as q

    logging.disable(logging.WARNING)

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            rng = np.random.default_rng(3)
            self.rest: Iterator[Any] = iter(
                [{"x": (rng.uniform(-1, 1, shape) * scale).astype(np.float32)} for _ in range(8)]
            )

        def get_next(self) -> Any:
            return next(self.rest, None)

    types = {"activation_type": q.QuantType.QUInt8, "weight_type": q.QuantType.QInt8}
    q.quantize_static(source, target, Reader(), quant_format=q.QuantFormat.QDQ, per_channel=True, **types)


def quantise_weights(source: Path, target: Path) -> None:
    """Quantises the weights of a recurrent layer, whose inputs are quantised when it runs."""
    from onnxruntime import quantization as q

    logging.disable(logging.WARNING)
    q.quantize_dynamic(source, target, weight_type=q.QuantType.QInt8)
