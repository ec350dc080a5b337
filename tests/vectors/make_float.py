#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write small ONNX files of many operators in single precision, with the answers of ONNX Runtime.

    onnx_float/NAME.onnx         with NAME_input.npy [rows, inputs] and NAME_output.npy [rows, outputs] beside it

Each row is a batch of 1. Inputs are multiples of 1/256 in +-2.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import vectorlib as lib
from make_onnx import fill, inputs_for
from onnx import helper

ROWS = 3


class Graph:
    """A graph while it is made: nodes and constants, each with a name of its own."""

    def __init__(self, name: str, shape: Sequence[int], opset: int = lib.OPSET, batch: int | str = "batch") -> None:
        """A graph with the input x."""
        self.name, self.shape, self.opset, self.batch = name, list(shape), opset, batch
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []

    def const(self, values: Any) -> str:
        """A constant."""
        name = f"c{len(self.tensors)}"
        self.tensors.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def op(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """A node; gives the name of its output, or of all."""
        i = len(self.nodes)
        names = [f"v{i}"] if outputs == 1 else [f"v{i}_{o}" for o in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind.lower()}{i}", **attributes))
        return names[0] if outputs == 1 else names

    def model(self, output: str) -> bytes:
        """The file."""
        x = [lib.value_info("x", [self.batch, *self.shape[1:]])]
        made = lib.model(self.name, self.nodes, x, [lib.value_info(output, None)], self.tensors, self.opset)
        # The shape of the output is what the nodes say.
        made = onnx.shape_inference.infer_shapes(made)
        return lib.model_bytes(made)

    def weights(self, *shape: int) -> str:
        """Weights of a layer with as many inputs as the last dimensions have elements."""
        seed = 7 * len(self.tensors) + sum(map(ord, self.name))
        scale = float(np.sqrt(3 / max(1, int(np.prod(shape[1:])))))
        return self.const(np.rint(fill(seed, *shape, scale=scale * 256)) / np.float32(256))

    def conv(self, x: str, n: int, c: int, *window: int, **attributes: Any) -> str:
        """A convolution with biases."""
        out: str = self.op("Conv", x, self.weights(n, c, *window), self.weights(n), **attributes)
        return out

    def gemm(self, x: str, n: int, k: int) -> str:
        """A dense layer."""
        out: str = self.op("Gemm", x, self.weights(n, k), self.weights(n), transB=1)
        return out

    def norm(self, x: str, c: int) -> str:
        """Batch normalisation."""
        numbers = [fill(90 + i, c) for i in range(3)] + [np.abs(fill(99, c)) + np.float32(0.1)]
        out: str = self.op("BatchNormalization", x, *map(self.const, numbers))
        return out


IMAGE = (1, 3, 7, 6)


def ints(g: Graph, *values: int) -> str:
    """A constant vector of integers."""
    return g.const(np.array(values, np.int64))


def convolutions() -> dict[str, tuple[Graph, str]]:
    """Layers with windows."""
    made: dict[str, tuple[Graph, str]] = {}

    def add(name: str, shape: Sequence[int], make: Any, **options: Any) -> None:
        g = Graph(name, shape, **options)
        made[name] = (g, make(g))

    def average(g: Graph, **attributes: Any) -> Any:
        return g.op("AveragePool", "x", **attributes)

    add("conv", IMAGE, lambda g: g.conv("x", 5, 3, 3, 3, pads=[1, 1, 1, 1]))
    add("conv_stride", IMAGE, lambda g: g.conv("x", 4, 3, 3, 2, strides=[2, 3], pads=[1, 0, 0, 1]))
    add("conv_dilated", IMAGE, lambda g: g.conv("x", 2, 3, 2, 2, dilations=[3, 2]))
    add("conv_same_upper", IMAGE, lambda g: g.conv("x", 2, 3, 4, 4, strides=[2, 2], auto_pad="SAME_UPPER"))
    add("conv_same_lower", IMAGE, lambda g: g.conv("x", 2, 3, 4, 4, strides=[2, 2], auto_pad="SAME_LOWER"))
    add("conv_wide_pads", IMAGE, lambda g: g.conv("x", 2, 3, 2, 2, pads=[3, 2, 2, 4]))
    add("conv_no_bias", IMAGE, lambda g: g.op("Conv", "x", g.weights(2, 3, 1, 1)))
    add("conv_1d", (1, 4, 11), lambda g: g.conv("x", 6, 4, 3, pads=[1, 1], strides=[2]))
    add("conv_depthwise", IMAGE, lambda g: g.conv("x", 3, 1, 3, 3, group=3, pads=[1, 1, 1, 1]))
    add("conv_multiplier", IMAGE, lambda g: g.conv("x", 6, 1, 3, 3, group=3))
    add("conv_groups", (1, 4, 5, 5), lambda g: g.conv("x", 6, 2, 3, 3, group=2))
    add("conv_depthwise_1d", (1, 4, 9), lambda g: g.conv("x", 4, 1, 3, group=4))
    add("conv_relu", IMAGE, lambda g: g.op("Relu", g.conv("x", 4, 3, 3, 3)))
    add("conv_batch_norm", IMAGE, lambda g: g.norm(g.conv("x", 4, 3, 3, 3), 4))
    add("depthwise_batch_norm", IMAGE, lambda g: g.op("Relu", g.norm(g.conv("x", 3, 1, 3, 3, group=3), 3)))
    add("gemm_batch_norm", (1, 6), lambda g: g.norm(g.gemm("x", 5, 6), 5))
    add("batch_norm_alone", IMAGE, lambda g: g.norm("x", 3))
    add("batch_norm_twice_read", IMAGE, lambda g: (lambda c: g.op("Add", g.norm(c, 3), c))(g.conv("x", 3, 3, 1, 1)))
    add("max_pool", IMAGE, lambda g: g.op("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1]))
    add("max_pool_ceil", IMAGE, lambda g: g.op("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1))
    add("max_pool_1d", (1, 3, 9), lambda g: g.op("MaxPool", "x", kernel_shape=[2], strides=[2]))
    add("average_pool", IMAGE, lambda g: g.op("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
    add("average_pool_count", IMAGE, lambda g: average(g, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1))
    add("average_pool_ceil", IMAGE, lambda g: average(g, kernel_shape=[2, 4], strides=[2, 4], ceil_mode=1))
    add("global_average_pool", IMAGE, lambda g: g.op("GlobalAveragePool", "x"))
    add("global_max_pool", IMAGE, lambda g: g.op("GlobalMaxPool", "x"))
    add("mean_rows", (1, 5, 4), lambda g: g.op("ReduceMean", "x", axes=[1], keepdims=0))
    add("mean_columns", (1, 5, 4), lambda g: g.op("ReduceMean", "x", axes=[-1]))
    add("mean_channels_18", IMAGE, lambda g: g.op("ReduceMean", "x", g.const(np.array([1]))), opset=18)
    add("softmax_channels", IMAGE, lambda g: g.op("Softmax", "x", axis=1))
    add("softmax_opset_11", (1, 3, 4), lambda g: g.op("Softmax", "x", axis=1), opset=11)
    add("log_softmax", (1, 5, 4), lambda g: g.op("LogSoftmax", "x"))
    add("layer_norm", (1, 5, 8), lambda g: g.op("LayerNormalization", "x", g.weights(8), g.weights(8), epsilon=1e-3))
    add("rms_norm", (1, 5, 8), lambda g: g.op("RMSNormalization", "x", g.weights(8)), opset=23)
    return made


def elements() -> dict[str, tuple[Graph, str]]:
    """What is done element by element."""
    made: dict[str, tuple[Graph, str]] = {}

    def add(name: str, make: Any, shape: Sequence[int] = (1, 40), **options: Any) -> None:
        g = Graph(name, shape, **options)
        made[name] = (g, make(g))

    plain = ["Relu", "Sigmoid", "Tanh", "Elu", "HardSwish", "HardSigmoid", "Softplus", "Exp", "Abs", "Neg", "LeakyRelu"]
    for kind in plain:
        add(kind.lower(), lambda g, kind=kind: g.op(kind, "x"))
    add("gelu", lambda g: g.op("Gelu", "x"), opset=20)
    add("gelu_tanh", lambda g: g.op("Gelu", "x", approximate="tanh"), opset=20)
    add("sqrt", lambda g: g.op("Sqrt", g.op("Abs", "x")))
    add("elu_alpha", lambda g: g.op("Elu", "x", alpha=0.5))
    add("prelu", lambda g: g.op("PRelu", "x", g.const(np.float32([0.25]))))
    add("hardsigmoid_sixth", lambda g: g.op("HardSigmoid", "x", alpha=1 / 6))

    def number(g: Graph, v: float) -> str:
        return g.const(np.float32(v))

    add("clip_6", lambda g: g.op("Clip", "x", number(g, 0), number(g, 6)))
    add("clip_both", lambda g: g.op("Clip", "x", number(g, -0.5), number(g, 1.25)))
    add("clip_low", lambda g: g.op("Clip", "x", number(g, -0.5)))
    add("clip_high", lambda g: g.op("Clip", "x", "", number(g, 0.75)))
    add("pow_2", lambda g: g.op("Pow", "x", number(g, 2)))
    add("pow_3", lambda g: g.op("Pow", "x", number(g, 3)))
    add("add_number", lambda g: g.op("Add", "x", number(g, 0.5)))
    add("number_minus", lambda g: g.op("Sub", number(g, 0.5), "x"))
    add("div_row", lambda g: g.op("Div", "x", g.const(np.abs(fill(4, 40)) + np.float32(0.5))))
    add("silu", lambda g: g.op("Mul", "x", g.op("Sigmoid", "x")))
    root = np.float32(np.sqrt(2))

    def erf(g: Graph) -> Any:
        half = g.op("Add", g.op("Erf", g.op("Div", "x", g.const(root))), number(g, 1))
        return g.op("Mul", g.op("Mul", "x", half), number(g, 0.5))

    def erf_first(g: Graph) -> Any:
        half = g.op("Add", g.op("Erf", g.op("Mul", "x", g.const(np.float32(1) / root))), number(g, 1))
        return g.op("Mul", g.op("Mul", "x", number(g, 0.5)), half)

    add("gelu_erf", erf)
    add("gelu_erf_first", erf_first)
    add("add_channels", lambda g: g.op("Add", "x", g.weights(3, 1, 1)), IMAGE)
    add("mul_columns", lambda g: g.op("Mul", "x", g.weights(6)), IMAGE)
    add("add_rows", lambda g: g.op("Add", g.conv("x", 4, 3, 1, 1), g.weights(7, 1)), IMAGE)
    add("add_all", lambda g: g.op("Add", "x", g.weights(1, 3, 7, 6)), IMAGE)

    def residual(g: Graph) -> Any:
        y = g.op("Relu", g.conv("x", 3, 3, 3, 3, pads=[1, 1, 1, 1]))
        return g.op("Relu", g.op("Add", g.conv(y, 3, 3, 3, 3, pads=[1, 1, 1, 1]), "x"))

    def squeeze(g: Graph) -> Any:
        y = g.conv("x", 4, 3, 3, 3)
        s = g.op("Sigmoid", g.conv(g.op("Relu", g.conv(g.op("GlobalAveragePool", y), 2, 4, 1, 1)), 4, 2, 1, 1))
        return g.op("Mul", y, s)

    def minus(g: Graph) -> Any:
        y = g.conv("x", 3, 3, 1, 1)
        return g.op("Sub", g.op("GlobalMaxPool", y), y)

    add("residual", residual, IMAGE)
    add("squeeze_excite", squeeze, IMAGE)
    add("smaller_minus_larger", minus, IMAGE)
    return made


def moves() -> dict[str, tuple[Graph, str]]:
    """What moves elements."""
    made: dict[str, tuple[Graph, str]] = {}

    def add(name: str, shape: Sequence[int], make: Any, **options: Any) -> None:
        g = Graph(name, shape, **options)
        made[name] = (g, make(g))

    def channels(g: Graph) -> Any:
        return g.op("Concat", g.conv("x", 2, 3, 1, 1), g.conv("x", 3, 3, 1, 1), axis=1)

    def five(g: Graph) -> Any:
        return g.op("Concat", *[g.op(k, "x") for k in ("Relu", "Neg", "Abs", "Tanh", "Sigmoid")], axis=-1)

    def flatten(g: Graph) -> Any:
        y = g.op("Relu", g.conv("x", 4, 3, 3, 3))
        return g.op("Softmax", g.gemm(g.op("Flatten", y), 5, 4 * 5 * 4))

    def dynamic(g: Graph) -> Any:
        y = g.conv("x", 4, 3, 3, 3)
        n = g.op("Unsqueeze", g.op("Gather", g.op("Shape", y), g.const(np.array(0))), ints(g, 0))
        return g.op("Tanh", g.op("Reshape", y, g.op("Concat", n, ints(g, -1), axis=0)))

    def taken(g: Graph) -> Any:
        y = g.op("Slice", "x", ints(g, 1, -5), ints(g, 3, 2**62), ints(g, 1, 3), ints(g, 1, 2))
        return g.op("Slice", y, ints(g, 2), ints(g, 5), ints(g, 2))

    def split(g: Graph) -> Any:
        a, _, c = g.op("Split", "x", ints(g, 3, 2, 3), outputs=3, axis=2)
        return g.op("Add", a, c)

    add("concat_channels", IMAGE, channels)
    add("concat_five", (1, 3, 4), five)
    add("flatten_gemm", IMAGE, flatten)
    add("flatten_plain", IMAGE, lambda g: g.op("Flatten", g.conv("x", 4, 3, 3, 3)))
    add("reshape_dynamic", IMAGE, dynamic)
    add("transpose", IMAGE, lambda g: g.op("Relu", g.op("Transpose", "x", perm=[0, 3, 1, 2])))
    def turned(g: Graph) -> Any:
        return g.op("MatMul", g.op("Transpose", "x", perm=[0, 2, 1]), g.weights(4, 3))

    def rows(g: Graph) -> Any:
        return g.op("Relu", g.op("Add", g.op("MatMul", "x", g.weights(4, 6)), g.weights(6)))

    add("transpose_matmul", (1, 4, 5), turned)
    add("squeeze", (1, 3, 1, 5), lambda g: g.op("Unsqueeze", g.op("Squeeze", "x", ints(g, 2)), ints(g, 1)))
    add("pad", IMAGE, lambda g: g.op("Pad", "x", ints(g, 0, 0, 1, 2, 0, 1, 3, 0), g.const(np.float32(0.5))))
    add("pad_conv", IMAGE, lambda g: g.conv(g.op("Pad", "x", ints(g, 0, 0, 1, 1, 0, 0, 1, 1)), 2, 3, 3, 3))
    add("slice", IMAGE, taken)
    add("split", (1, 2, 8), split)
    add("gather_last", (1, 5, 4), lambda g: g.op("Gather", "x", g.const(np.array(-1)), axis=1))
    add("matmul_rows", (1, 5, 4), rows)
    add("identity", (1, 5), lambda g: g.op("Identity", "x"))
    return made


def sequences() -> dict[str, tuple[Graph, str]]:
    """Memories and attention."""
    made: dict[str, tuple[Graph, str]] = {}

    def add(name: str, shape: Sequence[int], make: Any, **options: Any) -> None:
        g = Graph(name, shape, **options)
        made[name] = (g, make(g))

    def lstm(g: Graph, x: str, outputs: int = 1, **attributes: Any) -> Any:
        w = [g.weights(1, 4 * 5, 3), g.weights(1, 4 * 5, 5), g.weights(1, 8 * 5)]
        return g.op("LSTM", x, *w, outputs=outputs, hidden_size=5, **attributes)

    def gru(g: Graph, x: str, outputs: int = 1) -> Any:
        w = [g.weights(1, 3 * 5, 3), g.weights(1, 3 * 5, 5), g.weights(1, 6 * 5)]
        return g.op("GRU", x, *w, outputs=outputs, hidden_size=5, linear_before_reset=1)

    def swapped(g: Graph) -> Any:
        return g.op("Transpose", "x", perm=[1, 0, 2])

    add("lstm", (1, 6, 3), lambda g: lstm(g, swapped(g)))
    add("gru", (1, 6, 3), lambda g: gru(g, swapped(g)))
    add("lstm_last", (1, 6, 3), lambda g: g.op("Tanh", g.op("Squeeze", lstm(g, swapped(g), 2)[1], ints(g, 0))))
    add("gru_last", (1, 6, 3), lambda g: gru(g, swapped(g), 2)[1])

    def attention(g: Graph, heads: int, causal: bool) -> Any:
        t, d = 6, 8
        each = d // heads

        def part(perm: Sequence[int]) -> Any:
            y = g.op("Add", g.op("MatMul", "x", g.weights(d, d)), g.weights(d))
            return g.op("Transpose", g.op("Reshape", y, ints(g, 0, t, heads, each)), perm=perm)

        q, k, v = part([0, 2, 1, 3]), part([0, 2, 3, 1]), part([0, 2, 1, 3])
        s = g.op("Div", g.op("MatMul", q, k), g.const(np.float32(np.sqrt(each))))
        if causal:
            s = g.op("Add", s, g.const(np.triu(np.full((t, t), -np.float32(1e9)), 1).astype(np.float32)))
        y = g.op("Transpose", g.op("MatMul", g.op("Softmax", s, axis=-1), v), perm=[0, 2, 1, 3])
        y = g.op("MatMul", g.op("Reshape", y, ints(g, 0, t, d)), g.weights(d, d))
        return g.op("LayerNormalization", g.op("Add", y, "x"), g.weights(d), g.weights(d))

    def bare(g: Graph) -> Any:
        s = g.op("MatMul", "x", g.op("Transpose", "x", perm=[0, 2, 1]))
        return g.op("MatMul", g.op("Softmax", g.op("Mul", s, g.const(np.float32(0.5)))), "x")

    add("attention", (1, 6, 8), lambda g: attention(g, 2, False))
    add("attention_causal", (1, 6, 8), lambda g: attention(g, 2, True))
    add("attention_one_head", (1, 6, 8), bare)

    def keywords(g: Graph) -> Any:
        y = g.op("Relu", g.norm(g.conv("x", 8, 1, 4, 4, strides=[2, 2], pads=[1, 1, 1, 1]), 8))
        for _ in range(2):
            y = g.op("Relu", g.norm(g.conv(y, 8, 1, 3, 3, group=8, pads=[1, 1, 1, 1]), 8))
            y = g.op("Relu", g.norm(g.conv(y, 8, 8, 1, 1), 8))
        return g.op("Softmax", g.gemm(g.op("Flatten", g.op("GlobalAveragePool", y)), 4, 8))

    add("keywords", (1, 1, 12, 10), keywords)
    return made


def make() -> dict[str, bytes]:
    """All files by path relative to this directory."""
    files: dict[str, bytes] = {}
    cases = {**convolutions(), **elements(), **moves(), **sequences()}
    for seed, (name, (g, output)) in enumerate(cases.items(), start=3000):
        rows = inputs_for(seed, [ROWS, *g.shape[1:]])
        data = g.model(output)
        answers = lib.run_onnx(data, rows)
        files[f"onnx_float/{name}.onnx"] = data
        files[f"onnx_float/{name}_input.npy"] = lib.npy_bytes(rows.reshape(ROWS, -1))
        files[f"onnx_float/{name}_output.npy"] = lib.npy_bytes(answers.reshape(ROWS, -1))
    return files


if __name__ == "__main__":
    sys.exit(
        lib.write_or_check(
            "Write small ONNX files of many operators with the answers of ONNX Runtime.",
            Path(__file__).resolve().parent,
            make,
            lambda name: name.startswith("onnx_float/"),
        )
    )
