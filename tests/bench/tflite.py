# SPDX-License-Identifier: GPL-2.0
"""Writes .tflite files without TensorFlow: the schema that the ai-edge-litert package ships packs them."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as tfl
from networks import Array, Codes, Net

OPS, OPTIONS = tfl.BuiltinOperator, tfl.BuiltinOptions
RELU = tfl.ActivationFunctionType.RELU
TYPE = {"f32": tfl.TensorType.FLOAT32, "i8": tfl.TensorType.INT8, "i16": tfl.TensorType.INT16}


class Model:
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

    def tensor(
        self, shape: tuple[int, ...], dtype: str = "f32", scale: float = 0.0, zero: int = 0, variable: bool = False
    ) -> int:
        """A tensor that is computed; buffer 0 is the empty one."""
        tensor = tfl.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}".encode()
        tensor.shape = np.array(shape, np.int32)
        tensor.hasRank, tensor.isVariable = True, variable
        tensor.type = TYPE[dtype]
        tensor.buffer = 0
        if scale:
            tensor.quantization = tfl.QuantizationParametersT()
            tensor.quantization.scale = np.array([scale], np.float32)
            tensor.quantization.zeroPoint = np.array([zero], np.int64)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def constant(self, values: Array, scale: float = 0.0) -> int:
        """A tensor whose values are known."""
        index = self.tensor(values.shape, "f32", scale)
        tensor, buffer = self.graph.tensors[index], tfl.BufferT()
        tensor.type = {"f": TYPE["f32"], "b": TYPE["i8"], "i": tfl.TensorType.INT32}[values.dtype.char]
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.buffer = len(self.model.buffers)
        self.model.buffers.append(buffer)
        return index

    def op(self, name: str, inputs: list[int], output: int, options: str = "", version: int = 1, **values: Any) -> int:
        """An operator with its options, if it has any; gives its output."""
        code = getattr(OPS, name)
        known = [(c.builtinCode, c.version) for c in self.model.operatorCodes]
        if (code, version) not in known:
            entry = tfl.OperatorCodeT()
            entry.builtinCode, entry.version = code, version
            entry.deprecatedBuiltinCode = min(code, 127)
            self.model.operatorCodes.append(entry)
            known.append((code, version))
        op = tfl.OperatorT()
        op.opcodeIndex = known.index((code, version))
        op.inputs, op.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options:
            op.builtinOptionsType = getattr(OPTIONS, options)
            op.builtinOptions = getattr(tfl, f"{options}T")()
            for key, value in values.items():
                setattr(op.builtinOptions, key, value)
        self.graph.operators.append(op)
        return output

    def dense(self, inputs: list[int], output: int, relu: bool = False, version: int = 1) -> int:
        how = {"fusedActivationFunction": RELU if relu else 0}
        return self.op("FULLY_CONNECTED", inputs, output, "FullyConnectedOptions", version, **how)

    def pack(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The file."""
        self.graph.inputs, self.graph.outputs = np.array(inputs, np.int32), np.array(outputs, np.int32)
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def net_file(net: Net, codes: Codes | None, batch: int) -> bytes:
    """FULLY_CONNECTED a layer with ReLU fused into it, LOGISTIC after it, SUB and ADD."""
    model = Model()
    sizes = {"x": net.inputs}

    def value(name: str, size: int) -> int:
        sizes[name] = size
        return model.tensor((batch, size), "i8", *codes.scales[name]) if codes else model.tensor((batch, size))

    first = value("x", net.inputs)
    tensors = {"x": first}
    for node in net.nodes:
        ins = [tensors[name] for name in node.ins]
        if node.weight is not None and node.bias is not None:
            name = f"{node.out}.sum" if node.act == "sigmoid" else node.out
            if codes:
                weight, step, bias = codes.weights[node.out]
                unit = float(np.float32(np.float32(codes.scales[node.ins[0]][0]) * np.float32(step)))
                operands = [*ins, model.constant(weight, step), model.constant(bias, unit)]
            else:
                operands = [*ins, model.constant(node.weight), model.constant(node.bias)]
            out = value(name, len(node.bias))
            model.dense(operands, out, node.act == "relu", 4 if codes else 1)
            if node.act == "sigmoid":
                out = model.op("LOGISTIC", [out], value(node.out, len(node.bias)), version=2 if codes else 1)
        else:
            out = value(node.out, sizes[node.ins[0]])
            add = node.kind == "add"
            model.op("ADD" if add else "SUB", ins, out, "AddOptions" if add else "SubOptions", 2 if codes else 1)
        tensors[node.out] = out
    return model.pack([first], [tensors["y"]])
