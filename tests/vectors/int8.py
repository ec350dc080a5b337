#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write int8.txt: what TensorFlow Lite Micro answers to 8-bit layers, one small model a line.

A line has the integers that the layer is given (worked out here from scales, as a converter does it) and the hash of
the answer (64-bit FNV-1a) with its first bytes. Inputs, weights and biases are not in the file: they are all codes in
order, all pairs of codes, or bytes of SplitMix64 from a seed. Numbers are those of the model: codes and zero points are
signed; shifts go to the right. It needs a Python for which there is TensorFlow Lite Micro, and makes itself an
environment; where there is none, it says that it is skipped.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FILE = "int8.txt"
HEAD_BYTES = 12
SKIP = 4
MISSING = False

try:
    import numpy as np
    import numpy.typing as npt
    from tflite_build import Graph
    from tflite_ref import clamp_of, f32, quantize_multiplier

    Array = npt.NDArray[Any]
    SWEEP = np.arange(-128, 128, dtype=np.int8)
except ImportError:
    MISSING = True

Pair = tuple[int, int]


def ask(
    g: Graph, kind: str, ins: list[int], out: int, *feed: Array, inner: list[int] | None = None, **options: Any
) -> Array:
    """What a graph with this operator answers to the values of its inputs."""
    g.op(kind, ins, [out], inner, **options)
    shaped = [x.reshape(g.tensors[t].shape) for t, x in zip(g.ins, feed, strict=True)]
    return g.answers(g.tflite(), [shaped])[0][out]


class Random:
    """SplitMix64."""

    MASK = (1 << 64) - 1

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        z = self.state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & self.MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & self.MASK
        return z ^ (z >> 31)

    def codes(self, *shape: int) -> Array:
        """The lowest byte of each number."""
        count = math.prod(shape)
        return np.array([self.next() & 255 for _ in range(count)], np.uint8).view(np.int8).reshape(shape)

    def biases(self, count: int) -> Array:
        """The upper half of each number as `i32`, shifted to the right by 18."""
        return np.array([self.next() >> 32 for _ in range(count)], np.uint32).view(np.int32) >> 18


def multiplier(real: float) -> Pair:
    """Mantissa (Q0.31) and shift to the right of a factor."""
    mantissa, left = quantize_multiplier(real)
    return mantissa, -left


def radius(integer_bits: int, shift: int) -> int:
    """How many codes from zero the range of a number ends that has been scaled with this shift to the right."""
    return math.floor(((1 << integer_bits) - 1) * 2.0 ** (31 - integer_bits + shift))


def line(op: str, answer: Array, **values: Any) -> str:
    data = answer.tobytes()
    fnv = 0xCBF29CE484222325
    for byte in data:
        fnv = (fnv ^ byte) * 0x100000001B3 & Random.MASK
    words = [op]
    for name, value in values.items():
        items = value if isinstance(value, (list, tuple)) else [value]
        words.append(f"{name}={','.join(str(int(i)) for i in items)}")
    return " ".join([*words, f"fnv={fnv:016x}", f"head={data[:HEAD_BYTES].hex()}"])


SCALES = [
    0.0003,
    0.002,
    0.0049,
    0.0078125,
    0.01,
    0.0137,
    0.0235,
    0.03125,
    0.047,
    0.0588,
    0.071,
    0.1,
    0.1234,
    0.19,
    0.5,
    2.0,
]
ZEROS = [0, -128, 127, 5, -3, 17, -77, 100]


def unary(kind: str, x: tuple[float, int], y: tuple[float, int], **options: Any) -> Array:
    g = Graph()
    a, b = g.input("i8", [1, 256], *x), g.tensor("i8", [1, 256], *y)
    return ask(g, kind, [a], b, SWEEP, **options)


def tables() -> Iterator[str]:
    for op, y in (("LOGISTIC", (1 / 256, -128)), ("TANH", (1 / 128, 0))):
        for i, scale in enumerate(SCALES):
            zero = ZEROS[i % len(ZEROS)]
            mult, shift = multiplier(f32(scale) * 2.0**27)
            answer = unary(op, (scale, zero), y)
            yield line(op.lower(), answer, x_zero=zero, x=(mult, shift), radius=radius(4, shift))
    outputs = [(0.02, -128), (0.05, 3), (0.011, -40), (0.3, 127), (0.0078125, 0), (1.0, -1), (0.0235, -128), (0.004, 9)]
    for i, y in enumerate(outputs):
        x = (SCALES[3 + i], ZEROS[i])
        sx, sy = f32(x[0]), f32(y[0])
        zeros = {"x_zero": x[1], "y_zero": y[1]}
        same = multiplier(sx / sy)
        yield line("requantize", unary("QUANTIZE", x, y), **zeros, y=same, limits=(-128, 127))
        yield line("requantize", unary("RELU", x, y), **zeros, y=same, limits=clamp_of("RELU", sy, y[1]))
        yield line(
            "requantize",
            unary("RELU6", x, x),
            x_zero=x[1],
            y_zero=x[1],
            y=multiplier(1.0),
            limits=clamp_of("RELU6", sx, x[1]),
        )
        for alpha in (0.01, 0.3):
            slope = sx * f32(alpha) / sy
            answer = unary("LEAKY_RELU", x, y, alpha=alpha)
            yield line("leaky_relu", answer, **zeros, positive=same, negative=multiplier(slope))
    # Outputs whose factor does not shift to the left.
    for i, sx in enumerate([0.0001, 0.002, 0.01, 0.0235, 0.047, 0.1, 0.19, 0.5, 2.0]):
        for sy in (0.3 * sx, 2 * sx, 0.011):
            x, y = (sx, ZEROS[i % 8]), (sy, ZEROS[(i + 3) % 8])
            fine = f32(np.float32(1 / 128) * np.float32(sx))
            output = multiplier(f32(np.float32(fine) / np.float32(sy)))
            gate = multiplier(f32(np.float32(fine) / np.float32(f32(np.float32(3) / np.float32(32768)))))
            if output[1] < 0:
                continue
            answer = unary("HARD_SWISH", x, y)
            yield line("hard_swish", answer, x_zero=x[1], y_zero=y[1], output=output, gate=gate)


def softmaxes() -> Iterator[str]:
    for i, (scale, beta) in enumerate([(s, 1.0) for s in SCALES] + [(0.05, 0.5), (0.02, 3.0)]):
        mult, shift = multiplier(min(f32(beta) * f32(scale) * 2.0**26, 2.0**31 - 1))
        for rows, n in ((1, 256), (40, 2), (7, 10), (1, 1), (1, 500)) if i in (4, 8) else ((1, 256), (9, 5)):
            x = SWEEP if n == 256 else Random(n).codes(rows, n)
            g = Graph()
            a, b = g.input("i8", [rows, n], scale, 3), g.tensor("i8", [rows, n], 1 / 256, -128)
            answer = ask(g, "SOFTMAX", [a], b, x, beta=beta)
            yield line("softmax", answer, rows=rows, n=n, beta=(mult, shift), diff_min=-radius(5, shift))


def pairs() -> Iterator[str]:
    a = np.repeat(SWEEP, 256)
    b = np.tile(SWEEP, 256)
    cases = [
        ((0.02, 0), (0.02, 0), (0.04, 0), "NONE"),
        ((0.02, 5), (0.013, -7), (0.03, 20), "NONE"),
        ((0.1, -128), (0.003, 127), (0.05, -128), "RELU"),
        ((0.004, 100), (0.3, -3), (0.1, -100), "RELU6"),
        ((1.0, 1), (0.0001, 2), (0.9, 3), "NONE"),
        ((0.0235294, -128), (0.0235294, -128), (0.0235294, -128), "RELU6"),
        ((0.07, 11), (0.05, -11), (0.002, 0), "NONE"),
        ((0.00012, 0), (0.9, 0), (0.7, -1), "RELU"),
    ]
    for x, w, y, activation in cases:
        (sa, sb, sy) = (f32(x[0]), f32(w[0]), f32(y[0]))
        twice = f32(2 * max(sa, sb))
        zeros = {"a_zero": x[1], "b_zero": w[1], "y_zero": y[1], "limits": clamp_of(activation, f32(y[0]), y[1])}
        for op in ("ADD", "SUB", "MUL"):
            g = Graph()
            ins = [g.input("i8", [1, 65536], *q) for q in (x, w)]
            answer = ask(g, op, ins, g.tensor("i8", [1, 65536], *y), a, b, activation=activation)
            if op == "MUL":
                yield line("mul", answer, **zeros, y=multiplier(sa * sb / sy))
            else:
                factors = {
                    "a": multiplier(sa / twice),
                    "b": multiplier(sb / twice),
                    "y": multiplier(twice / f32(np.float32(1 << 20) * np.float32(sy))),
                }
                yield line(op.lower(), answer, **zeros, **factors)


def means() -> Iterator[str]:
    shapes = [
        ((1, 4, 4, 8), (1, 2), 1),
        ((1, 7, 7, 5), (1, 2), 1),
        ((1, 7, 7, 5), (1, 2), 0),
        ((1, 3, 1, 9), (1, 2), 1),
        ((1, 3, 1, 9), (1, 2), 0),
        ((1, 25, 16), (1,), 1),
        ((6, 11), (0,), 0),
        ((33, 3), (0,), 1),
        ((1, 1, 100, 3), (2,), 0),
        ((1, 20, 13, 4), (2, 1), 1),
        ((1, 20, 13, 4), (2, 1), 0),
    ]
    scales = [
        ((0.05, -3), (0.05, -3)),
        ((0.05, -128), (0.02, 100)),
        ((0.02, 7), (0.0201, -9)),
        ((0.013, 127), (0.5, 0)),
    ]
    for shape, axes, keep in shapes:
        rows, channels = math.prod(shape[a] for a in axes), shape[-1]
        kept = [1 if i in axes else n for i, n in enumerate(shape)]
        out = kept if keep else [n for i, n in enumerate(shape) if i not in axes]
        for x, y in scales:
            g = Graph()
            a, b, index = g.input("i8", shape, *x), g.tensor("i8", out, *y), g.const("i32", axes)
            answer = ask(g, "MEAN", [a, index], b, Random(rows).codes(*shape), keep_dims=bool(keep))
            # The division is part of the factor.
            mult, shift = multiplier(f32(x[0]) / f32(y[0]))
            bits = min(rows.bit_length() - 1, 31 - shift)
            factor = ((mult << bits) // rows, shift + bits)
            yield line("mean", answer, rows=rows, channels=channels, x_zero=x[1], y_zero=y[1], y=factor)


def out_size(size: int, window: int, stride: int, dilation: int, same: bool) -> Pair:
    """Outputs on an axis and the elements that the first window covers before the first one."""
    reach = (window - 1) * dilation + 1
    if not same:
        return (size - reach) // stride + 1, 0
    n = -(-size // stride)
    return n, max(0, (n - 1) * stride + reach - size) // 2


def pools() -> Iterator[str]:
    shapes = [
        ((4, 4, 3), (2, 2), (2, 2), False),
        ((7, 5, 4), (3, 3), (1, 1), True),
        ((7, 5, 4), (3, 2), (2, 3), True),
        ((8, 8, 16), (8, 8), (1, 1), False),
        ((5, 6, 1), (4, 5), (1, 2), True),
        ((25, 5, 7), (25, 5), (25, 5), False),
    ]
    for shape, window, stride, same in shapes:
        sizes = [out_size(*axis, 1, same) for axis in zip(shape, window, stride, strict=False)]
        (height, top), (width, left) = sizes
        for activation, q in (("NONE", (0.1, 3)), ("RELU", (0.1, -9)), ("RELU6", (0.05, -60))):
            for op in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
                g = Graph()
                a, b = g.input("i8", [1, *shape], *q), g.tensor("i8", [1, height, width, shape[2]], *q)
                answer = ask(
                    g,
                    op,
                    [a],
                    b,
                    Random(shape[0]).codes(*shape),
                    padding="SAME" if same else "VALID",
                    stride_h=stride[0],
                    stride_w=stride[1],
                    filter_h=window[0],
                    filter_w=window[1],
                    activation=activation,
                )
                yield line(
                    op[:-3].lower(),
                    answer,
                    shape=shape,
                    out=(height, width),
                    window=window,
                    stride=stride,
                    pad=(top, left),
                    limits=clamp_of(activation, f32(q[0]), q[1]),
                )


def convolutions() -> Iterator[str]:
    shapes = [
        # height, width, channels; outputs; window; stride; dilation; SAME
        ((6, 5, 3), 18, (3, 3), (1, 1), (1, 1), True),
        ((9, 8, 4), 7, (3, 2), (2, 2), (1, 1), True),
        ((9, 9, 2), 33, (3, 3), (1, 1), (2, 3), False),
        ((4, 4, 70), 70, (1, 1), (1, 1), (1, 1), False),
        ((10, 4, 1), 64, (10, 4), (2, 2), (1, 1), True),
        ((12, 7, 5), 1, (5, 3), (3, 1), (1, 1), False),
    ]
    for seed, (shape, n, window, stride, dilation, same) in enumerate(shapes):
        sizes = [out_size(*axis, same) for axis in zip(shape, window, stride, dilation, strict=False)]
        (height, top), (width, left) = sizes
        for depth in (False, True):
            channels = shape[2] if depth else n
            random = Random(seed)
            x = random.codes(*shape)
            w = random.codes(1, *window, channels) if depth else random.codes(n, *window, shape[2])
            bias = random.biases(channels)
            activation = ("NONE", "RELU", "RELU6")[seed % 3]
            qx, qy = (0.05, ZEROS[seed]), (0.05 * math.prod(window) ** 0.5 * (1 if depth else shape[2] ** 0.5), -20)
            sw = [f32(0.005 * (1 + i % 7)) for i in range(channels)]
            g = Graph()
            a = g.input("i8", [1, *shape], *qx)
            k = g.const("i8", w, sw, 3 if depth else 0)
            c = g.const("i32", bias, [f32(qx[0]) * s for s in sw])
            options: dict[str, Any] = {"depth_multiplier": 1} if depth else {}
            answer = ask(
                g,
                "DEPTHWISE_CONV_2D" if depth else "CONV_2D",
                [a, k, c],
                g.tensor("i8", [1, height, width, channels], *qy),
                x,
                padding="SAME" if same else "VALID",
                stride_h=stride[0],
                stride_w=stride[1],
                dilation_h=dilation[0],
                dilation_w=dilation[1],
                activation=activation,
                **options,
            )
            factors = [multiplier(f32(qx[0]) * s / f32(qy[0])) for s in sw]
            yield line(
                "depthwise" if depth else "conv",
                answer,
                seed=seed,
                shape=shape,
                n=channels,
                out=(height, width),
                window=window,
                stride=stride,
                dilation=dilation,
                pad=(top, left),
                x_zero=qx[1],
                y_zero=qy[1],
                limits=clamp_of(activation, f32(qy[0]), qy[1]),
                mult=[f for f, _ in factors],
                shift=[s for _, s in factors],
            )


def denses() -> Iterator[str]:
    for seed, (batch, k, n) in enumerate([(1, 1, 1), (1, 31, 100), (5, 64, 16), (3, 130, 65), (1, 640, 10)]):
        random = Random(seed)
        x, w, bias = random.codes(batch, k), random.codes(n, k), random.biases(n)
        qx, sw, qy = (0.031, ZEROS[seed]), f32(0.0071), (0.031 * 0.0071 * 5500 * k**0.5 / 50, 10 * seed)
        g = Graph()
        a, u = g.input("i8", [batch, k], *qx), g.const("i8", w, sw)
        c = g.const("i32", bias, f32(qx[0]) * sw)
        answer = ask(g, "FULLY_CONNECTED", [a, u, c], g.tensor("i8", [batch, n], *qy), x)
        mult, shift = multiplier(f32(np.float32(qx[0]) * np.float32(sw)) / f32(qy[0]))
        yield line(
            "conv",
            answer,
            seed=seed,
            shape=(batch, 1, k),
            n=n,
            out=(batch, 1),
            window=(1, 1),
            stride=(1, 1),
            dilation=(1, 1),
            pad=(0, 0),
            x_zero=qx[1],
            y_zero=qy[1],
            limits=(-128, 127),
            mult=[mult] * n,
            shift=[shift] * n,
        )


def gates() -> Iterator[str]:
    x = np.arange(-32768, 32768, dtype=np.int16)
    for op in ("LOGISTIC", "TANH"):
        for bits in (9, 12, 15):
            g = Graph()
            a, b = g.input("i16", [1, 65536], 2.0**-bits), g.tensor("i16", [1, 65536], 2.0**-15)
            yield line(op.lower() + "16", ask(g, op, [a], b, x), bits=bits)


def lstms() -> Iterator[str]:
    # inputs, cells, steps, scale of the cells, limit of the cells, what the gates are multiplied by
    cases = [
        (3, 5, 8, -12, 0.0, 1),
        (17, 20, 12, -11, 0.0, 1),
        (8, 16, 6, -13, 0.8, 1),
        (64, 33, 3, -9, 0.0, 1),
        (9, 30, 16, -13, 0.0, 8),
    ]
    for seed, (inputs, n, steps, cell_log2, clip, gain) in enumerate(cases):
        random = Random(seed)
        x = random.codes(1, steps, inputs)
        wx = [random.codes(n, inputs) for _ in range(4)]
        wh = [random.codes(n, n) for _ in range(4)]
        biases = [random.biases(n) for _ in range(4)]
        (sx, zx), (sh, zh), sc = (
            (f32(0.02), ZEROS[(seed + 3) % 8]),
            (f32(1 / 127), (0, 5, -20, 127, 1)[seed]),
            2.0**cell_log2,
        )
        swx = [f32(gain * 0.6 / 74 * (1 + 0.1 * g) / inputs**0.5) for g in range(4)]
        swh = [f32(gain * 1.5 / 74 * (1 - 0.1 * g) / n**0.5) for g in range(4)]
        g = Graph()
        ins = [g.input("i8", [1, steps, inputs], sx, zx)]
        ins += [g.const("i8", w, s) for w, s in zip(wx + wh, swx + swh, strict=True)] + [-1] * 3
        ins += [g.const("i32", b, sx * s) for b, s in zip(biases, swx, strict=True)] + [-1] * 2
        ins += [g.tensor("i8", [1, n], sh, zh, variable=True), g.tensor("i16", [1, n], sc, variable=True)] + [-1] * 4
        answer = ask(
            g,
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            ins,
            g.tensor("i8", [1, steps, n], sh, zh),
            x,
            inner=[g.tensor("i16", [0], 2.0**-12) for _ in range(4)] + [g.tensor("i8", [0], sh, zh)],
            activation="TANH",
            cell_clip=clip,
            proj_clip=0.0,
            time_major=False,
        )
        from_x = [multiplier(f32(np.float32(sx) * np.float32(s)) / 2.0**-12) for s in swx]
        from_h = [multiplier(f32(np.float32(sh) * np.float32(s)) / 2.0**-12) for s in swh]
        yield line(
            "lstm",
            answer,
            seed=seed,
            inputs=inputs,
            n=n,
            steps=steps,
            x_zero=zx,
            h_zero=zh,
            x_mult=[f for f, _ in from_x],
            x_shift=[s for _, s in from_x],
            h_mult=[f for f, _ in from_h],
            h_shift=[s for _, s in from_h],
            forget=multiplier(2.0**-15),
            input=multiplier(2.0**-30 / sc),
            output=multiplier(2.0**-30 / sh),
            cell_shift=-12 - cell_log2,
            cell_clip=int(f32(clip) / sc),
        )


def make() -> str:
    head = f"# SPDX-License-Identifier: GPL-2.0\n# Made by {Path(__file__).name}.\n"
    parts = (tables, softmaxes, pairs, means, pools, convolutions, denses, gates, lstms)
    return head + "".join(text + "\n" for part in parts for text in part())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the tree has another file")
    check = parser.parse_args().check
    if MISSING:
        venv = [HERE / "venv.sh", HERE / "requirements-tflite.txt"]
        made = subprocess.run(venv, stdout=subprocess.PIPE, text=True)
        python = made.stdout.strip()
        if made.returncode or os.environ.get("NEURAL_VENV"):
            print("SKIP: 8-bit vectors: no TensorFlow Lite Micro for this Python")
            return SKIP if check else 0
        os.environ["NEURAL_VENV"] = python
        os.execv(python, [python, *sys.argv])
    text = make()
    path = HERE / FILE
    if not check:
        path.write_text(text)
        return 0
    same = path.is_file() and path.read_text() == text
    print(f"{FILE}: {'as in the tree' if same else 'FAIL: not what would be written'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
