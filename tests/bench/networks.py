# SPDX-License-Identifier: GPL-2.0
"""Networks with random weights, and their 8-bit codes.

Scales are those of post-training quantisation: one for each matrix, and for each value the range that it has over
random inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass
class Node:
    """`dense` with an activation, `add` or `sub` of two values."""

    kind: str
    ins: list[str]
    out: str
    weight: Array | None = None
    bias: Array | None = None
    act: str = "linear"


@dataclass
class Net:
    """Nodes from the value `x` to the value `y`."""

    name: str
    inputs: int
    nodes: list[Node]

    @property
    def macs(self) -> int:
        return sum(n.weight.size for n in self.nodes if n.weight is not None)

    @property
    def parameters(self) -> int:
        return sum(n.weight.size + n.bias.size for n in self.nodes if n.weight is not None and n.bias is not None)


class Random:
    """Weights that keep the size of what they are multiplied with."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def weight(self, outs: int, ins: int) -> Array:
        return (self.rng.standard_normal((outs, ins)) / np.sqrt(ins)).astype(np.float32)

    def bias(self, outs: int) -> Array:
        return (self.rng.standard_normal(outs) * 0.05).astype(np.float32)


def mlp(name: str, dims: tuple[int, ...], acts: tuple[str, ...] = (), biased: bool = True) -> Net:
    """Dense layers one after the other: ReLU after all but the last, unless it is said."""
    rng, nodes, value = Random(1), [], "x"
    acts = acts or ("relu",) * (len(dims) - 2) + ("linear",)
    for i, (ins, outs, act) in enumerate(zip(dims, dims[1:], acts, strict=False)):
        out = "y" if i == len(dims) - 2 else f"h{i}"
        bias = rng.bias(outs) if biased else np.zeros(outs, np.float32)
        nodes.append(Node("dense", [value], out, rng.weight(outs, ins), bias, act))
        value = out
    return Net(name, dims[0], nodes)


def nhits(blocks: int = 3, length: int = 96, hidden: int = 256, forecast: int = 24) -> Net:
    """Blocks that subtract what they explain and add what they forecast, without pooling."""
    rng, nodes, residual, total = Random(2), [], "x", ""
    for k in range(blocks):
        last = k == blocks - 1

        def dense(ins: str, out: str, outs: int, width: int, act: str = "linear") -> None:
            nodes.append(Node("dense", [ins], out, rng.weight(outs, width), rng.bias(outs), act))

        dense(residual, f"a{k}", hidden, length, "relu")
        dense(f"a{k}", f"b{k}", hidden, hidden, "relu")
        dense(f"b{k}", f"f{k}", forecast, hidden)
        if not last:
            dense(f"b{k}", f"c{k}", length, hidden)
            nodes.append(Node("sub", [residual, f"c{k}"], f"r{k}"))
            residual = f"r{k}"
        if total:
            nodes.append(Node("add", [total, f"f{k}"], "y" if last else f"s{k}"))
        total = f"s{k}" if total else f"f{k}"
    return Net("N-HiTS 338k", length, nodes)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def evaluate(net: Net, x: Array) -> dict[str, Array]:
    """All values; `NAME.sum` is what the activation of NAME is given."""
    values = {"x": x}
    for node in net.nodes:
        args = [values[name] for name in node.ins]
        if node.weight is not None:
            total = args[0] @ node.weight.T + node.bias
            values[f"{node.out}.sum"] = total
            values[node.out] = {"linear": total, "relu": np.maximum(total, 0), "sigmoid": sigmoid(total)}[node.act]
        else:
            values[node.out] = args[0] + args[1] if node.kind == "add" else args[0] - args[1]
    return values


def scale_of(values: Array) -> tuple[float, int]:
    """Scale and zero point of the range of some values."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = float(np.float32((high - low) / 255))
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def quantised(values: Array, scale: float, zero: int) -> Array:
    return np.clip(np.round(values / scale) + zero, -128, 127).astype(np.int8)


@dataclass
class Codes:
    """Scales of values, codes of weights."""

    scales: dict[str, tuple[float, int]]
    weights: dict[str, tuple[Array, float, Array]]


def quantise(net: Net) -> Codes:
    """Scales after 512 random inputs."""
    sample = np.random.default_rng(3).uniform(-1, 1, (512, net.inputs)).astype(np.float32)
    scales = {name: scale_of(v) for name, v in evaluate(net, sample).items()}
    scales["x"] = scale_of(np.array([-1.0, 1.0]))
    weights = {}
    for node in net.nodes:
        if node.weight is None or node.bias is None:
            continue
        if node.act == "sigmoid":
            scales[node.out] = (1 / 256, -128)
        step = float(np.float32(np.abs(node.weight).max() / 127))
        codes = np.clip(np.round(node.weight / step), -127, 127).astype(np.int8)
        unit = float(np.float32(np.float32(scales[node.ins[0]][0]) * np.float32(step)))
        weights[node.out] = (codes, step, np.round(node.bias / unit).astype(np.int32))
    return Codes(scales, weights)
