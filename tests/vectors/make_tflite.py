#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make .tflite files of one operator each, with what TensorFlow Lite Micro computes from them: see tflite/README.

    make_tflite.py [--check | -o OUT] [--seed N] [--count N]

Without OUT it writes to tflite/ beside this script; --check compares with the files there. Another seed makes other
shapes, strides, paddings, scales, zero points and samples; --count makes so many of each operator. Every int8 answer
is held against tflite_ref.py, an independent reading on integers; a difference is a failure. It needs a Python for
which there is TensorFlow Lite Micro, and makes itself an environment; where there is none, it says that it is skipped.
"""

from __future__ import annotations

import argparse
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
SKIP = 4

try:
    import numpy as np
    import tflite_micro  # noqa: F401
    from tflite_build import Graph, schema
    from tflite_ref import quantize_multiplier
except ImportError:
    if not TYPE_CHECKING:
        Graph = None

if TYPE_CHECKING:
    Random = np.random.RandomState

ACTIVATIONS = ["NONE", "RELU", "RELU6", "RELU_N1_TO_1"]


def pick(r: Random, values: list[Any]) -> Any:
    """One of them."""
    return values[r.randint(len(values))]


def scale(r: Random, low: float = 0.002, high: float = 0.2) -> float:
    """A scale; each order of magnitude is as likely."""
    return float(np.exp(r.uniform(np.log(low), np.log(high))))


def zero(r: Random) -> int:
    """A zero point, the extremes often."""
    return int(pick(r, [0, -128, 127, int(r.randint(-128, 128)), int(r.randint(-30, 30))]))


def weights(r: Random, shape: list[int]) -> Any:
    """Weights; in one of four all are extreme."""
    if r.randint(4) == 0:
        return pick(r, [-127, 127, -128]) * np.ones(shape, np.int8) * r.choice([1, -1], shape).clip(-1, 1)
    return r.randint(-127, 128, shape)


def bias(r: Random, n: int) -> Any:
    """Biases of the size that sums have."""
    return r.randint(-20000, 20000, n)


def out_scale(r: Random, unit: float, taps: int) -> float:
    """A scale for sums of `taps` products that uses the range, is too coarse, or saturates."""
    return unit * np.sqrt(taps) * 70.0 * pick(r, [1.0, 1.0, 2.5, 0.2, 0.01])


def window(size: int, kernel: int, stride: int, dilation: int, padding: str) -> int:
    """How many places a window has."""
    extent = (kernel - 1) * dilation + 1
    return -(-size // stride) if padding == "SAME" else (size - extent) // stride + 1


def fully_connected(r: Random, i: int) -> Graph:
    """Dense layers: per tensor and per channel, several rows, without bias."""
    g = Graph()
    n, k, o = pick(r, [1, 1, 3]), int(r.randint(1, 40)), int(r.randint(1, 20))
    si, sw = scale(r), scale(r)
    per_channel = i % 3 == 2
    sw = [sw * r.uniform(0.1, 1) for _ in range(o)] if per_channel else [sw]
    x = g.input("i8", [n, k], si, zero(r))
    w = g.const("i8", weights(r, [o, k]), sw)
    b = -1 if i % 4 == 3 else g.const("i32", bias(r, o), [si * s for s in sw])
    y = g.tensor("i8", [n, o], out_scale(r, si * sw[0], k), zero(r))
    g.op("FULLY_CONNECTED", [x, w, b], [y], activation=pick(r, ACTIVATIONS[:3]), keep_num_dims=False)
    return g


def conv(r: Random, i: int, depthwise: bool = False) -> Graph:
    """Convolutions, per channel and per tensor, with strides, dilations, both paddings."""
    g = Graph()
    kh, kw, sh, sw_ = (int(r.randint(1, 4)) for _ in range(4))
    dh, dw = (pick(r, [1, 1, 2]), pick(r, [1, 1, 2])) if i % 3 == 1 else (1, 1)
    padding = pick(r, ["SAME", "VALID"])
    h, w_ = int(r.randint((kh - 1) * dh + 1, 9)), int(r.randint((kw - 1) * dw + 1, 9))
    ci = int(r.randint(1, 6))
    mult = pick(r, [1, 1, 2, 3])
    co = ci * mult if depthwise else int(r.randint(1, 9))
    si, ws = scale(r), scale(r)
    ws = [ws] * 1 if i % 4 == 3 and not depthwise else [ws * r.uniform(0.05, 1) for _ in range(co)]
    x = g.input("i8", [1, h, w_, ci], si, zero(r))
    shape = [1, kh, kw, co] if depthwise else [co, kh, kw, ci]
    w = g.const("i8", weights(r, shape), ws, axis=3 if depthwise else 0)
    b = g.const("i32", bias(r, co), [si * s for s in ws])
    oh, ow = window(h, kh, sh, dh, padding), window(w_, kw, sw_, dw, padding)
    taps = kh * kw * (1 if depthwise else ci)
    y = g.tensor("i8", [1, oh, ow, co], out_scale(r, si * ws[0], taps), zero(r))
    more = {"depth_multiplier": mult} if depthwise else {}
    g.op(
        "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D",
        [x, w, b],
        [y],
        padding=padding,
        stride_w=sw_,
        stride_h=sh,
        dilation_w=dw,
        dilation_h=dh,
        activation=pick(r, ACTIVATIONS[:3]),
        **more,
    )
    return g


def pool(r: Random, i: int, kind: str) -> Graph:
    """Pooling over parts of the image, or all of it."""
    g = Graph()
    h, w, c = int(r.randint(1, 9)), int(r.randint(1, 9)), int(r.randint(1, 8))
    fh, fw = (h, w) if i % 3 == 0 else (int(r.randint(1, min(h, 4) + 1)), int(r.randint(1, min(w, 4) + 1)))
    sh, sw, padding = int(r.randint(1, 4)), int(r.randint(1, 4)), pick(r, ["SAME", "VALID"])
    s, z = scale(r), zero(r)
    x = g.input("i8", [1, h, w, c], s, z)
    y = g.tensor("i8", [1, window(h, fh, sh, 1, padding), window(w, fw, sw, 1, padding), c], s, z)
    act = pick(r, ACTIVATIONS[:3])
    g.op(kind, [x], [y], padding=padding, stride_w=sw, stride_h=sh, filter_w=fw, filter_h=fh, activation=act)
    return g


def binary(r: Random, i: int, kind: str) -> Graph:
    """Two inputs, or one and a constant, or one twice, or a constant for each channel; then a constant that is one
    number, before or behind the input, and constants before it."""
    g = Graph()
    shape = [1, *(int(d) for d in r.randint(1, 7, pick(r, [1, 3])))]
    s1, s2 = scale(r), scale(r)
    z1, z2 = zero(r), zero(r)
    x = g.input("i8", shape, s1, z1)
    if i >= 8:
        of = [[1], [1] * len(shape), shape, [1] * (len(shape) - 1) + shape[-1:]][i % 4]
        other = g.const("i8", r.randint(-128, 128, of), s2, zero=z2)
    elif i % 4 == 0:
        other = g.input("i8", shape, s2, z2)
    elif i % 4 == 1:
        other = g.const("i8", r.randint(-128, 128, shape), s2, zero=z2)
    elif i % 4 == 2:
        other, s2 = x, s1
    else:
        other = g.const("i8", r.randint(-128, 128, [1] * (len(shape) - 1) + shape[-1:]), s2, zero=z2)
    reach = s1 * s2 * 90 if kind == "MUL" else s1 + s2
    y = g.tensor("i8", shape, reach * pick(r, [1.0, 1.0, 0.7, 3.0, 0.1]), zero(r))
    g.op(kind, [other, x] if i >= 8 and i % 4 else [x, other], [y], activation=pick(r, ACTIVATIONS[:3]))
    return g


def elementwise(r: Random, i: int, kind: str) -> Graph:
    """One number in, one out; every code is tried."""
    g = Graph()
    s, z = scale(r, 0.005, 0.15), zero(r)
    x = g.input("i8", [1, 256], s, z)
    so, zo = s * pick(r, [1.0, 0.5, 1.7]), zero(r)
    options: dict[str, Any] = {}
    if kind == "LOGISTIC":
        so, zo = 1 / 256, -128
    elif kind == "TANH":
        so, zo = 1 / 128, 0
    elif kind == "RELU6":
        so, zo = s, z
    elif kind == "LEAKY_RELU":
        options = {"alpha": float(pick(r, [0.01, 0.1, 0.3, 1.5]))}
    elif kind == "HARD_SWISH":
        so = s * pick(r, [1.0, 0.6])
    elif kind == "GELU":
        options = {"approximate": False}
    y = g.tensor("i8", [1, 256], so, zo)
    g.op(kind, [x], [y], **options)
    every = np.arange(-128, 128).astype(np.int8)
    g.samples = [every.reshape(1, 256)]
    return g


def softmax(r: Random, i: int, kind: str) -> Graph:
    """Rows of probabilities, or of their logarithms."""
    g = Graph()
    shape = [int(r.randint(1, 4)), int(r.randint(1, 40))]
    x = g.input("i8", shape, scale(r, 0.01, 0.6), zero(r))
    if kind == "SOFTMAX":
        y = g.tensor("i8", shape, 1 / 256, -128)
        g.op(kind, [x], [y], beta=float(pick(r, [1.0, 1.0, 0.5, 2.0])))
    else:
        y = g.tensor("i8", shape, 16 / 256, 127)
        g.op(kind, [x], [y])
    return g


def lstm(r: Random, i: int) -> Graph:
    """Sequences through an LSTM, two of them clipped, one with the time first."""
    g = Graph()
    steps, n, h = int(r.randint(1, 5)), int(r.randint(1, 9)), int(r.randint(1, 8))
    time_major = i % 4 == 3
    sx, sh, sc = scale(r, 0.005, 0.05), scale(r, 0.004, 0.009), 2.0 ** -pick(r, [11, 12, 13])
    zh = zero(r)

    def shape(d: int) -> list[int]:
        return [steps, 1, d] if time_major else [1, steps, d]

    x = g.input("i8", shape(n), sx, zero(r))
    wx = [g.const("i8", weights(r, [h, n]), scale(r, 0.003, 0.02)) for _ in range(4)]
    wh = [g.const("i8", weights(r, [h, h]), scale(r, 0.003, 0.02)) for _ in range(4)]
    bs = [g.const("i32", r.randint(-3000, 3000, h), sx * g.tensors[w].scale[0]) for w in wx]
    state = [g.tensor("i8", [1, h], sh, zh, variable=True), g.tensor("i16", [1, h], sc, 0, variable=True)]
    inner = [g.tensor("f32", [0]) for _ in range(4)] + [g.tensor("i8", [0], sh, zh)]
    y = g.tensor("i8", shape(h), sh, zh)
    ins = [x, *wx, *wh, -1, -1, -1, *bs, -1, -1, *state, -1, -1, -1, -1]
    clip = 0.5 if i % 2 else 0.0
    g.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM",
        ins,
        [y],
        inner,
        activation="TANH",
        cell_clip=clip,
        proj_clip=0.0,
        time_major=time_major,
    )
    return g


def mean(r: Random, i: int) -> Graph:
    """Means over the image, or over other axes, with other scales or the same."""
    g = Graph()
    shape = [1, *(int(d) for d in r.randint(1, 8, 3))]
    axes, keep = [([1, 2], True), ([1, 2], False), ([1], True), ([3], False), ([-1], True)][i % 5]
    s, z = scale(r), zero(r)
    x = g.input("i8", shape, s, z)
    a = g.const("i32", axes)
    left = [1 if d in [k % 4 for k in axes] else n for d, n in enumerate(shape)]
    if not keep:
        left = [n for d, n in enumerate(shape) if d not in [k % 4 for k in axes]]
    same = i >= 5
    y = g.tensor("i8", left, s if same else s * r.uniform(0.3, 1.5), z if same else zero(r))
    g.op("MEAN", [x, a], [y], keep_dims=keep)
    return g


def moved(r: Random, i: int, kind: str) -> Graph:
    """Operators that only move elements."""
    g = Graph()
    shape = [1, *(int(d) for d in r.randint(2, 6, 3))]
    s, z = scale(r), zero(r)

    def made(shape: list[int]) -> int:
        return g.tensor("i8", shape, s, z)

    if kind == "SQUEEZE":
        x = g.input("i8", [1, shape[1], 1, shape[2]], s, z)
        dims, out = [([0, 2], shape[1:3]), ([2], [1, *shape[1:3]]), ([-2], [1, *shape[1:3]])][i % 3]
        g.op(kind, [x], [made(out)], dims=dims)
        return g
    x = g.input("i8", shape, s, z)
    if kind == "CONCATENATION" and i >= 4:
        # Of one input: itself and its positive part, in a row that is longer and longer.
        other = g.op("RELU6", [x], [made(shape)])
        parts = [pick(r, [x, other]) for _ in range(i % 8)]
        axis = [3, 1, 0, 2][i % 4]
        out = [n * (len(parts) + 1) if d == axis else n for d, n in enumerate(shape)]
        g.op(kind, [*parts, other], [made(out)], axis=axis, activation="NONE")
    elif kind == "CONCATENATION":
        axis = [3, -1, 1, 2][i % 4]
        other = [int(r.randint(1, 5)) if d == axis % 4 else n for d, n in enumerate(shape)]
        parts = [x, g.const("i8", r.randint(-128, 128, other), s, zero=z) if i % 2 else g.input("i8", other, s, z)]
        if i % 3 == 2:
            parts.append(x)
        total = sum(g.tensors[p].shape[axis] for p in parts)
        out = [total if d == axis % 4 else n for d, n in enumerate(shape)]
        g.op(kind, parts, [made(out)], axis=axis, activation="NONE")
    elif kind == "PAD":
        pads = r.randint(0, 3, (4, 2))
        pads[0] = 0
        g.op(kind, [x, g.const("i32", pads)], [made([n + int(p.sum()) for n, p in zip(shape, pads, strict=True)])])
    elif kind == "RESHAPE":
        out = [1, int(np.prod(shape))] if i % 2 else [1, shape[1] * shape[2], shape[3]]
        g.op(kind, [x, g.const("i32", out)], [made(out)], new_shape=out)
    elif kind == "EXPAND_DIMS":
        x_shape, axis = shape[:3], [0, 1, -1, 3][i % 4]
        g.tensors[x].shape = x_shape
        at = axis if axis >= 0 else 4 + axis
        g.op(kind, [x, g.const("i32", [axis])], [made([*x_shape[:at], 1, *x_shape[at:]])])
    elif kind == "TRANSPOSE":
        perm = [[0, 2, 1, 3], [0, 3, 1, 2], [0, 2, 3, 1], [0, 3, 2, 1]][i % 4]
        g.op(kind, [x, g.const("i32", perm)], [made([shape[p] for p in perm])])
    elif kind == "STRIDED_SLICE":
        begin, end, stride = [0, 1, 0, 0], list(shape), [1, 1, 1, pick(r, [1, 2])]
        masks = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
        if i % 4 == 1:
            masks["begin_mask"], masks["end_mask"] = 0b0010, 0b1000
        elif i % 4 == 2:
            begin[2], end[2], masks["shrink_axis_mask"] = shape[2] - 1, shape[2], 0b0100
        elif i % 4 == 3:
            begin[1], end[1], stride[1] = -1, -shape[1] - 1, -1
        cut = []
        for d in range(4):
            first = None if masks["begin_mask"] >> d & 1 else begin[d]
            last = None if masks["end_mask"] >> d & 1 or end[d] < -shape[d] else end[d]
            cut.append(slice(first, last, stride[d]))
        out = list(np.zeros(shape)[tuple(cut)].shape)
        if masks["shrink_axis_mask"]:
            del out[2]
        g.op(kind, [x, *(g.const("i32", c) for c in (begin, end, stride))], [made(out)], **masks)
    elif kind == "SPLIT":
        axis, n = [3, 1, -1][i % 3], pick(r, [2, 3])
        g.tensors[x].shape[axis] *= n
        a = g.const("i32", np.array(axis))
        part = [d // n if k == axis % 4 else d for k, d in enumerate(g.tensors[x].shape)]
        g.op(kind, [a, x], [made(part) for _ in range(n)], splits=n)
    else:
        size = [int(d) for d in r.randint(1, 9, 2)]
        align, half = [(False, False), (True, False), (False, True)][i % 3]
        y = made([1, *size, shape[3]])
        g.op(kind, [x, g.const("i32", size)], [y], align_corners=align, half_pixel_centers=half)
    return g


def quantize(r: Random, i: int, kind: str) -> Graph:
    """Between float32 and int8, and from one scale to another."""
    g = Graph()
    s, z = scale(r), zero(r)
    if kind == "DEQUANTIZE":
        x = g.input("i8", [1, 256], s, z)
        g.op(kind, [x], [g.tensor("f32", [1, 256])])
        g.samples = [np.arange(-128, 128).astype(np.int8).reshape(1, 256)]
    elif i % 2:
        x = g.input("f32", [1, 64])
        g.op(kind, [x], [g.tensor("i8", [1, 64], s, z)])
        codes = r.randint(-300, 300, 64) / 2  # Halves, where roundings differ.
        g.samples = [((codes - z) * np.float32(s)).astype(np.float32).reshape(1, 64)]
    else:
        x = g.input("i8", [1, 256], s, z)
        g.op(kind, [x], [g.tensor("i8", [1, 256], s * pick(r, [1.0, 0.4, 2.3]), zero(r))])
        g.samples = [np.arange(-128, 128).astype(np.int8).reshape(1, 256)]
    return g


def batch_matmul(r: Random, i: int) -> Graph:
    """Products of two inputs, each as it is or transposed."""
    g = Graph()
    b, m, k, n = int(r.randint(1, 3)), *(int(d) for d in r.randint(1, 9, 3))
    ax, ay = bool(i & 1), bool(i & 2)
    s1, s2 = scale(r), scale(r)
    x = g.input("i8", [b, k, m] if ax else [b, m, k], s1, zero(r))
    y = g.input("i8", [b, n, k] if ay else [b, k, n], s2, zero(r))
    z = g.tensor("i8", [b, m, n], out_scale(r, s1 * s2, k), zero(r))
    g.op("BATCH_MATMUL", [x, y], [z], adj_x=ax, adj_y=ay)
    return g


def floats(r: Random, i: int) -> Graph:
    """Layers in float32."""
    g = Graph()
    h, c, o = 5, 3, 4
    x = g.input("f32", [1, h, h, c])

    def f(*shape: int) -> int:
        return g.const("f32", r.standard_normal(shape))

    y = g.tensor("f32", [1, h, h, o])
    options = {"padding": "SAME", "stride_w": 1, "stride_h": 1}
    g.op("CONV_2D", [x, f(o, 3, 3, c), f(o)], [y], **options, dilation_w=1, dilation_h=1, activation="RELU")
    z = g.tensor("f32", [1, 1, 1, o])
    options["padding"] = "VALID"
    kind = ["AVERAGE_POOL_2D", "MAX_POOL_2D"][i % 2]
    g.op(kind, [y], [z], **options, filter_w=h, filter_h=h, activation="NONE")
    flat = g.tensor("f32", [1, o])
    g.op("RESHAPE", [z, g.const("i32", [1, o])], [flat], new_shape=[1, o])
    d = g.tensor("f32", [1, 6])
    g.op("FULLY_CONNECTED", [flat, f(6, o), f(6)], [d], activation="NONE", keep_num_dims=False)
    e = g.tensor("f32", [1, 6])
    g.op(["LOGISTIC", "TANH", "HARD_SWISH", "ELU"][i % 4], [d], [e])
    g.op("SOFTMAX", [e], [g.tensor("f32", [1, 6])], beta=1.0)
    return g


def chain(r: Random, i: int) -> Graph:
    """A small residual network of many operators: lifetimes, tensors that are read twice."""
    g = Graph()
    x = g.input("i8", [1, 8, 8, 3], 0.05, -4)
    window = {"padding": "SAME", "stride_w": 1, "stride_h": 1, "dilation_w": 1, "dilation_h": 1, "activation": "RELU"}

    def layer(kind: str, x: int, w: list[int], so: float, **more: Any) -> int:
        n = w[3] if kind[0] == "D" else w[0]
        sw = r.uniform(0.005, 0.02, n)
        wt = g.const("i8", r.randint(-127, 128, w), sw, axis=3 if kind[0] == "D" else 0)
        b = g.const("i32", r.randint(-500, 500, n), sw * g.tensors[x].scale[0])
        return g.op(kind, [x, wt, b], [g.tensor("i8", [*g.tensors[x].shape[:3], n], so, -100)], **more)

    a = layer("CONV_2D", x, [4, 3, 3, 3], 0.08, **window)
    b = layer("DEPTHWISE_CONV_2D", a, [1, 3, 3, 4], 0.08, **window, depth_multiplier=1)
    c = layer("CONV_2D", b, [4, 1, 1, 4], 0.09, **window)
    d = g.op("ADD", [a, c], [g.tensor("i8", [1, 8, 8, 4], 0.1, -90)], activation="RELU")
    m = g.tensor("i8", [1, 1, 1, 4], 0.1, -90)
    pool = {"padding": "VALID", "stride_w": 8, "stride_h": 8, "filter_w": 8, "filter_h": 8, "activation": "NONE"}
    g.op("AVERAGE_POOL_2D", [d], [m], **pool)
    flat = g.op("RESHAPE", [m, g.const("i32", [1, 4])], [g.tensor("i8", [1, 4], 0.1, -90)], new_shape=[1, 4])
    w = g.const("i8", r.randint(-127, 128, [5, 4]), 0.01)
    bs = g.const("i32", r.randint(-500, 500, 5), 0.001)
    y = g.op(
        "FULLY_CONNECTED", [flat, w, bs], [g.tensor("i8", [1, 5], 0.05, 3)], activation="NONE", keep_num_dims=False
    )
    g.op("SOFTMAX", [y], [g.tensor("i8", [1, 5], 1 / 256, -128)], beta=1.0)
    return g


Maker = Callable[["Random", int], "Graph"]


def makers() -> dict[str, tuple[Maker, int]]:
    """By name: what makes a case, and how many of them stand in the tree."""

    def of(maker: Callable[..., Graph], kind: Any) -> Maker:
        return lambda r, i: maker(r, i, kind)

    table: dict[str, tuple[Maker, int]] = {
        "fully_connected": (fully_connected, 12),
        "conv_2d": (conv, 12),
        "depthwise_conv_2d": (of(conv, True), 12),
        "batch_matmul": (batch_matmul, 4),
        "mean": (mean, 7),
        "lstm": (lstm, 8),
        "float": (floats, 4),
        "chain": (chain, 2),
    }
    for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
        table[kind.lower()] = (of(pool, kind), 6)
    for kind in ("ADD", "SUB", "MUL"):
        table[kind.lower()] = (of(binary, kind), 12)
    for kind in ("RELU", "RELU6", "LEAKY_RELU", "HARD_SWISH", "ELU", "LOGISTIC", "TANH"):
        table[kind.lower()] = (of(elementwise, kind), 3)
    for kind in ("SOFTMAX", "LOG_SOFTMAX"):
        table[kind.lower()] = (of(softmax, kind), 4)
    for kind in ("CONCATENATION", "PAD", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "STRIDED_SLICE", "SPLIT"):
        table[kind.lower()] = (of(moved, kind), {"CONCATENATION": 8, "STRIDED_SLICE": 4}.get(kind, 2))
    table["resize_nearest_neighbor"] = (of(moved, "RESIZE_NEAREST_NEIGHBOR"), 3)
    for kind in ("QUANTIZE", "DEQUANTIZE"):
        table[kind.lower()] = (of(quantize, kind), 4 if kind == "QUANTIZE" else 2)
    return table


def samples(r: Random, g: Graph) -> list[list[Any]]:
    """What the inputs are: what the case wants, any numbers, and the two extremes."""
    if g.samples:
        return [[s] for s in g.samples]
    runs = []
    for how in range(2):
        run = []
        for i in g.ins:
            t = g.tensors[i]
            if t.dtype == "f32":
                run.append(r.uniform(-2, 2, t.shape).astype(np.float32))
            else:
                run.append(
                    (r.randint(-128, 128, t.shape) if how == 0 else r.choice([-128, 127], t.shape)).astype(np.int8)
                )
        runs.append(run)
    return runs


def numbers() -> bytes:
    """Numbers around every edge of quantize_multiplier: the double's bits, the mantissa, the shift."""
    r = np.random.RandomState(5)
    reals = [
        0.0,
        1.0,
        0.5,
        2.0,
        1 / 3,
        3.0,
        2.0**-31,
        2.0**-32,
        2.0**-33,
        2.0**30,
        1 - 2.0**-53,
        1 - 2.0**-32,
        1 - 2.0**-33,
    ]
    reals += [
        2.0**e * f
        for e in (-33, -32, -31, -1, 0, 1, 29)
        for f in (1 - 2.0**-33, 1 - 2.0**-31, 1 + 2.0**-31, 1 + 2.0**-30)
    ]
    reals += [float(v) for v in np.exp(r.uniform(np.log(2.0**-34), np.log(2.0**20), 60))]
    lines = [f"{struct.pack('>d', v).hex()} {' '.join(map(str, quantize_multiplier(v)))}" for v in reals]
    return ("\n".join(lines) + "\n").encode()


def dense() -> Graph:
    """A dense layer, to be spoiled."""
    g = Graph()
    x = g.input("i8", [1, 4], 0.1)
    w = g.const("i8", np.ones((2, 4)), 0.01)
    b = g.const("i32", [1, 2], 0.001)
    g.op("FULLY_CONNECTED", [x, w, b], [g.tensor("i8", [1, 2], 0.1)], activation="NONE", keep_num_dims=False)
    return g


def hybrid() -> Graph:
    """The same in float32, but for its weights."""
    g = dense()
    for i in (0, 2, 3):
        g.retype(i, "f32")
    return g


def refusals() -> dict[str, tuple[bytes, str]]:
    """Files that must be refused, and what the line must say."""
    made: dict[str, tuple[bytes, str]] = {}

    def spoiled(name: str, says: str, spoil: Callable[[Any], None]) -> None:
        made[name] = (dense().tflite(spoil), says)

    def graph(name: str, says: str, change: Callable[[Graph], None]) -> None:
        g = dense()
        change(g)
        made[name] = (g.tflite(), says)

    def put(of: Callable[[Any], Any], key: str, value: Any) -> Callable[[Any], None]:
        return lambda m: setattr(of(m), key, value)

    def tensor(i: int) -> Callable[[Any], Any]:
        return lambda m: m.subgraphs[0].tensors[i]

    def code(m: Any) -> Any:
        return m.operatorCodes[0]

    def op(m: Any) -> Any:
        return m.subgraphs[0].operators[0]

    def numbers(*values: int) -> Any:
        return np.array(values, np.int32)

    def custom(m: Any) -> None:
        code(m).builtinCode = code(m).deprecatedBuiltinCode = 32
        code(m).customCode = b"Fancy"

    def unknown(number: int) -> Callable[[Any], None]:
        def change(m: Any) -> None:
            code(m).builtinCode, code(m).deprecatedBuiltinCode = number, min(number, 127)

        return change

    def quantised(i: int, key: str, value: Any) -> Callable[[Any], None]:
        return lambda m: setattr(m.subgraphs[0].tensors[i].quantization, key, value)

    spoiled("custom", "operator 0: CUSTOM 'Fancy'", custom)
    spoiled("abs", "operator 0 (ABS): kind: is not supported", unknown(101))
    spoiled("while", "operator 0 (WHILE)", unknown(119))
    spoiled("unknown", "operator 0: is of the unknown kind 4711", unknown(4711))
    spoiled("two_graphs", "model.subgraphs: are 2", lambda m: m.subgraphs.append(m.subgraphs[0]))
    spoiled("version", "model.version: is 2", put(lambda m: m, "version", 2))
    spoiled("dynamic", "tensor 't0': has a dynamic shape (1,-1)", put(tensor(0), "shapeSignature", numbers(1, -1)))
    spoiled(
        "sparse", "tensor 't1': is sparse", lambda m: setattr(tensor(1)(m), "sparsity", schema.SparsityParametersT())
    )
    spoiled("half", "tensor 't0': type 1", put(tensor(0), "type", 1))
    spoiled("string", "tensor 't0': type 5", put(tensor(0), "type", 5))
    spoiled("short_data", "tensor 't1': has 8 bytes of data, not 12", put(tensor(1), "shape", numbers(3, 4)))
    spoiled("no_buffer", "tensor 't1': buffer: is 99", put(tensor(1), "buffer", 99))
    spoiled("no_tensor", "inputs: name tensor 99 of 4", put(op, "inputs", numbers(99, 1, 2)))
    spoiled("zero_scale", "tensor 't0': has a scale of 0", quantised(0, "scale", np.zeros(1, np.float32)))
    spoiled("nan_scale", "tensor 't0': has a scale of NaN", quantised(0, "scale", np.full(1, np.nan, np.float32)))
    spoiled("zero_point", "tensor 't0': has the zero point 128", quantised(0, "zeroPoint", np.full(1, 128, np.int64)))
    spoiled("two_scales", "tensor 't0': has 1 zero points for 2", quantised(0, "scale", np.ones(2, np.float32)))
    spoiled("no_scale", "tensor 't0': needs one scale", put(tensor(0), "quantization", None))
    spoiled("asymmetric", "tensor 't1': has the zero point 3", quantised(1, "zeroPoint", np.full(1, 3, np.int64)))
    spoiled("no_weights", "tensor 't1': is computed", put(tensor(1), "buffer", 0))
    spoiled("no_kind", "operator 0: is of kind 7, there are 1", put(op, "opcodeIndex", 7))
    spoiled("own_output", "tensor 't0': has the shape 1,4", put(op, "outputs", numbers(0)))
    spoiled("shape", "tensor 't3': has the shape 1,3", put(tensor(3), "shape", numbers(1, 3)))
    spoiled("rows", "tensor 't0': has 5 elements", put(tensor(0), "shape", numbers(1, 5)))
    spoiled("huge", "tensor 't0': has 2147483648 elements", put(tensor(0), "shape", numbers(1 << 16, 1 << 16)))
    spoiled("empty", "tensor 't0': is an input without", put(tensor(0), "shape", numbers(1, 0)))
    graph(
        "unwritten",
        "tensor 't4': is read before",
        lambda g: g.op("TANH", [g.tensor("f32", [1])], [g.tensor("f32", [1])]),
    )
    graph("perm", "perm: 0,0 is no permutation", lambda g: g.op("TRANSPOSE", [3, g.const("i32", [0, 0])], [3]))
    graph("twice", "tensor 't3': is written", lambda g: g.ops.append(g.ops[0]))
    graph("nothing", "graph: has no inputs", lambda g: g.ins.clear())
    data = dense().tflite()
    made["cut"] = (data[: len(data) // 2], "")
    made["text"] = (b"\x08\0\0\0TFL3 this is no model at all", "")
    return made


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make .tflite files with the answers of TensorFlow Lite Micro.")
    parser.add_argument("-o", "--out", type=Path, help="folder to write to (default: tflite/ beside this script)")
    parser.add_argument("--check", action="store_true", help="compare with the files in the tree, write nothing")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other cases")
    parser.add_argument("--count", type=int, help="how many cases of each operator")
    args = parser.parse_args()
    if Graph is None:
        asked = args.check or args.out is not None
        venv = [HERE / "venv.sh", HERE / "requirements-tflite.txt"]
        made = subprocess.run(venv, stdout=subprocess.PIPE, text=True)
        python = made.stdout.strip()
        if made.returncode or os.environ.get("NEURAL_VENV"):
            print("SKIP: .tflite vectors: no TensorFlow Lite Micro for this Python")
            return SKIP if asked else 0
        os.environ["NEURAL_VENV"] = python
        os.execv(python, [python, *sys.argv])

    files: dict[str, bytes] = {"multipliers.txt": numbers()}
    good = True
    for kind, (make, count) in makers().items():
        for i in range(args.count or count):
            name = f"{kind}_{i}"
            r = np.random.RandomState(zlib.crc32(f"{name} {args.seed}".encode()))
            g = make(r, i)
            file = g.tflite()
            values = g.answers(file, samples(r, g))
            good &= all([g.check(name, v) for v in values])
            files[f"{name}.tflite"] = file
            files[f"{name}.gold"] = g.gold(values)
    for name, (data, _) in (spoilt := refusals()).items():
        files[f"refuse/{name}.tflite"] = data
    says = "".join(f"{name} {line}\n" for name, (_, line) in spoilt.items())
    files["refuse/says.txt"] = says.encode()
    files["hybrid_0.tflite"] = hybrid().tflite()
    files["gelu_0.tflite"] = elementwise(np.random.RandomState(args.seed), 0, "GELU").tflite()
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes")
    out = args.out or HERE / "tflite"
    for name, data in files.items():
        path = out / name
        if not args.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        elif not path.is_file() or path.read_bytes() != data:
            print(f"{path} is not what this script makes")
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
