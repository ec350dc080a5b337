# SPDX-License-Identifier: GPL-2.0
"""The networks of the benchmark, each written for every engine from one set of weights.

The .tflite files need no TensorFlow: the schema that the ai-edge-litert package ships packs them.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from ai_edge_litert import schema_py_generated as tfl
from flatbuffers import Builder
from onnx import TensorProto, helper, numpy_helper

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """A dense network: sizes of its values, and what follows each layer."""

    name: str
    dims: tuple[int, ...]
    activations: tuple[str, ...]

    @property
    def macs(self) -> int:
        return sum(i * o for i, o in zip(self.dims, self.dims[1:], strict=False))


CASES = (
    Case("1-1", (1, 1), ("linear",)),
    Case("5-15-5-4", (5, 15, 5, 4), ("sigmoid", "sigmoid", "linear")),
    Case("31-256-2", (31, 256, 2), ("relu", "linear")),
    Case("64-128-10", (64, 128, 10), ("relu", "softmax")),
    Case("256-256-256", (256, 256, 256), ("relu", "linear")),
)
ONNX_OP = {"relu": "Relu", "sigmoid": "Sigmoid", "softmax": "Softmax"}


def parameters(case: Case) -> list[tuple[F32, F32]]:
    """Weights [out, in] after Xavier and small biases."""
    rng = np.random.default_rng(1)
    layers = []
    for ins, outs in zip(case.dims, case.dims[1:], strict=False):
        bound = float(np.sqrt(6 / (ins + outs)))
        weight = rng.uniform(-bound, bound, (outs, ins)).astype(np.float32)
        layers.append((weight, rng.uniform(-0.1, 0.1, outs).astype(np.float32)))
    return layers


def onnx_bytes(case: Case, layers: list[tuple[F32, F32]]) -> bytes:
    """Gemm and an activation a layer, batch 1."""
    nodes, tensors, value = [], [], "x"
    for i, ((weight, bias), activation) in enumerate(zip(layers, case.activations, strict=True)):
        tensors += [numpy_helper.from_array(weight, f"w{i}"), numpy_helper.from_array(bias, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [value, f"w{i}", f"b{i}"], [f"s{i}"], transB=1))
        value = f"s{i}"
        if activation != "linear":
            nodes.append(helper.make_node(ONNX_OP[activation], [value], [f"a{i}"]))
            value = f"a{i}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, dim])
        for name, dim in (("x", case.dims[0]), (value, case.dims[-1]))
    ]
    graph = helper.make_graph(nodes, "bench", ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _Tflite:
    """Collects tensors and operators of one subgraph."""

    def __init__(self) -> None:
        self.graph = tfl.SubGraphT()
        self.graph.name = b"bench"
        self.graph.tensors, self.graph.operators = [], []
        self.model = tfl.ModelT()
        self.model.version = 3
        self.model.operatorCodes = []
        self.model.subgraphs = [self.graph]
        self.model.buffers = [tfl.BufferT()]

    def tensor(self, name: str, shape: tuple[int, ...], values: F32 | None = None) -> int:
        """A float32 tensor; buffer 0 is the empty one, of what is computed."""
        tensor = tfl.TensorT()
        tensor.name = name.encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.type = tfl.TensorType.FLOAT32
        tensor.buffer = 0
        if values is not None:
            buffer = tfl.BufferT()
            buffer.data = np.frombuffer(values.astype("<f4").tobytes(), np.uint8)
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code: int, inputs: list[int], output: int, kind: int = 0, options: object = None) -> None:
        """An operator with its options, if it has any."""
        known = [c.builtinCode for c in self.model.operatorCodes]
        if code not in known:
            entry = tfl.OperatorCodeT()
            entry.builtinCode = entry.deprecatedBuiltinCode = code
            entry.version = 1
            self.model.operatorCodes.append(entry)
            known.append(code)
        op = tfl.OperatorT()
        op.opcodeIndex = known.index(code)
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        op.builtinOptionsType, op.builtinOptions = kind, options
        self.graph.operators.append(op)

    def pack(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        builder = Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def tflite_bytes(case: Case, layers: list[tuple[F32, F32]]) -> bytes:
    """FULLY_CONNECTED a layer with ReLU fused into it, other activations after it, batch 1."""
    model = _Tflite()
    first = value = model.tensor("x", (1, case.dims[0]))
    ops, kinds, fused = tfl.BuiltinOperator, tfl.BuiltinOptions, tfl.ActivationFunctionType
    for i, ((weight, bias), activation) in enumerate(zip(layers, case.activations, strict=True)):
        inputs = [value, model.tensor(f"w{i}", weight.shape, weight), model.tensor(f"b{i}", bias.shape, bias)]
        value = model.tensor(f"s{i}", (1, len(bias)))
        dense = tfl.FullyConnectedOptionsT()
        dense.fusedActivationFunction = fused.RELU if activation == "relu" else fused.NONE
        model.operator(ops.FULLY_CONNECTED, inputs, value, kinds.FullyConnectedOptions, dense)
        if activation in ("sigmoid", "softmax"):
            before, value = value, model.tensor(f"a{i}", (1, len(bias)))
            if activation == "softmax":
                softmax = tfl.SoftmaxOptionsT()
                softmax.beta = 1.0
                model.operator(ops.SOFTMAX, [before], value, kinds.SoftmaxOptions, softmax)
            else:
                model.operator(ops.LOGISTIC, [before], value)
    return model.pack([first], [value])


def write(directory: Path) -> None:
    """For each case: CASE.layers, CASE_weights.npy, CASE_input.npy, CASE.onnx, CASE.tflite."""
    directory.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        layers = parameters(case)
        lines = [str(case.dims[0])]
        lines += [f"{dim} {act}" for dim, act in zip(case.dims[1:], case.activations, strict=True)]
        (directory / f"{case.name}.layers").write_text("\n".join(lines) + "\n")
        np.save(directory / f"{case.name}_weights.npy", np.concatenate([v.ravel() for pair in layers for v in pair]))
        inputs = np.random.default_rng(2).uniform(-1, 1, (1, case.dims[0])).astype(np.float32)
        np.save(directory / f"{case.name}_input.npy", inputs)
        (directory / f"{case.name}.onnx").write_bytes(onnx_bytes(case, layers))
        (directory / f"{case.name}.tflite").write_bytes(tflite_bytes(case, layers))


if __name__ == "__main__":
    write(Path(sys.argv[1]))
