# SPDX-License-Identifier: GPL-2.0
"""Writes networks as model files of the engine, and as what libs/libs.c reads."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nnm
import numpy as np
from networks import Array, Codes, Net

sys.path.append(str(Path(__file__).resolve().parents[1] / "vectors"))
import tflite_ref


def ref(shape: tuple[int, ...], scale: float, zero: int) -> Any:
    """A tensor as `tflite_ref` takes it."""
    return SimpleNamespace(shape=shape, scale=[scale], zero=zero)


def floats_file(net: Net, dtype: str) -> bytes:
    """In single precision, or dense layers in Q16.16."""
    kind = nnm.Q16 if dtype == "q16" else nnm.F32
    model = nnm.Model()

    def constant(values: Array) -> int:
        return model.constant(kind, np.round(values * 65536) if dtype == "q16" else values)

    first = model.activation(kind, (net.inputs,))
    tensors, sizes = {"x": first}, {"x": net.inputs}
    for node in net.nodes:
        ins = [tensors[name] for name in node.ins]
        sizes[node.out] = sizes[node.ins[0]] if node.weight is None else len(node.weight)
        out = model.activation(kind, (sizes[node.out],))
        tensors[node.out] = out
        if node.weight is None or node.bias is None:
            model.op(nnm.ADD if node.kind == "add" else nnm.SUB, ins, out)
            continue
        operands = [*ins, constant(node.weight), constant(node.bias)]
        if dtype == "q16":
            model.op(nnm.DENSE, operands, out, activation=nnm.Q16_ACTIVATION[node.act])
        else:
            model.op(nnm.DENSE, operands, out, (nnm.FUNCTION[node.act],))
    return model.pack(first, tensors["y"])


def codes_file(net: Net, codes: Codes) -> bytes:
    """In 8-bit codes."""
    model = nnm.Model()
    sizes = {"x": net.inputs}

    def value(name: str, size: int) -> int:
        scale, zero = codes.scales[name]
        sizes[name] = size
        return model.activation(nnm.I8, (size,), zero, scale)

    first = value("x", net.inputs)
    tensors = {"x": first}
    for node in net.nodes:
        ins = [tensors[name] for name in node.ins]
        given = [ref((sizes[name],), *codes.scales[name]) for name in node.ins]
        if node.kind == "dense":
            weight, step, bias = codes.weights[node.out]
            name = f"{node.out}.sum" if node.act == "sigmoid" else node.out
            out = value(name, len(bias))
            how = {"activation": "RELU" if node.act == "relu" else "NONE"}
            to = ref((len(bias),), *codes.scales[name])
            p = tflite_ref.derive("FULLY_CONNECTED", how, [given[0], ref(weight.shape, step, 0), None], to)
            factors = np.array([p["multiplier"] * len(bias), [-s for s in p["shift"]] * len(bias)])
            operands = [*ins, model.constant(nnm.I8, weight), model.constant(nnm.I32, bias)]
            model.op(nnm.DENSE, [*operands, model.constant(nnm.I32, factors)], out, tuple(p["clamp"]))
            if node.act == "sigmoid":
                every = np.arange(256, dtype=np.uint8).view(np.int8)
                end = ref((256,), *codes.scales[node.out])
                table = tflite_ref.run("LOGISTIC", {}, [ref((256,), *codes.scales[name])], [every], end)
                last = value(node.out, len(bias))
                out = model.op(nnm.LUT, [out, model.constant(nnm.I8, np.asarray(table))], last)
        else:
            out = value(node.out, sizes[node.ins[0]])
            p = tflite_ref.derive(node.kind.upper(), {}, given, ref((sizes[node.out],), *codes.scales[node.out]))
            pairs = [(p[f"{n}multiplier"][0], -p[f"{n}shift"][0]) for n in ("input1_", "input2_", "")]
            kind = nnm.ADD if node.kind == "add" else nnm.SUB
            model.op(kind, [*ins, model.constant(nnm.I32, np.array(pairs).ravel())], out, tuple(p["clamp"]))
        tensors[node.out] = out
    return model.pack(first, tensors["y"])


def dense_file(net: Net, codes: Codes | None, batch: int) -> bytes:
    """For the libraries: a line of numbers, a line a layer, then weights and biases."""
    lines, data = [f"{'i8' if codes else 'f32'} {batch} {len(net.nodes)}"], []
    for node in net.nodes:
        assert node.weight is not None and node.bias is not None
        outs, ins = node.weight.shape
        weight, bias, scales, zeros = node.weight, node.bias, (1.0, 1.0, 1.0), (0, 0)
        if codes:
            weight, step, bias = codes.weights[node.out]
            (xs, xz), (ys, yz) = codes.scales[node.ins[0]], codes.scales[node.out]
            scales, zeros = (xs, step, ys), (xz, yz)
            bias = bias.astype(np.float32) * np.float32(xs * step)
        data += [weight, bias]
        lines.append(" ".join(map(str, (ins, outs, int(node.act == "relu"), *scales, *zeros))))
    return described(lines, data)


def lstm_file(weights: Array, bias: Array, ins: int, state: int) -> bytes:
    """For the libraries: one step of a long short-term memory."""
    return described(["lstm 1 1", f"{ins} {state} 0 1 1 1 0 0"], [weights, bias])


def described(lines: list[str], data: list[Array]) -> bytes:
    """The lines, an empty one, the data."""
    return "\n".join(lines).encode() + b"\n\n" + b"".join(values.tobytes() for values in data)
