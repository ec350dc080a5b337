#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write floats/: networks of single precision as model files, with samples and the answers of float64.

For each network there are NAME.nnm, NAME.in (samples, float32) and NAME.ref (answers, float64). NAME.out, what AVX2 code
answers, is written by a test of rust/simd (f32_files.rs), which compares it with the reference, too. It needs numpy;
where there is none, it says that it is skipped.
"""

from __future__ import annotations

import argparse
import math
import struct
import sys
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    MISSING = False
except ImportError:
    MISSING = True

FOLDER = Path(__file__).resolve().parent / "floats"

NONE = 0xFFFFFFFF
F32 = 5
DENSE, CONV_2D, MEAN, SOFTMAX, LAYER_NORM = 1, 2, 13, 14, 17
PLAIN, RELU, SIGMOID, TANH, GELU = 0, 1, 4, 5, 6
EPS = 1e-5


def crc32c(data: bytes) -> int:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def bits(number: float) -> int:
    return int(struct.unpack("<i", struct.pack("<f", number))[0])


class Net:
    """A network: tensors and operations for the file, functions of float64 for the answers."""

    def __init__(self, name: str, dims: list[int], seed: int) -> None:
        self.name, self.random = name, np.random.RandomState(seed)
        self.tensors: list[tuple[list[int], Array | None]] = []
        self.ops: list[tuple[int, list[int], int, list[int]]] = []
        self.steps: list[Any] = []
        self.output = self.tensor(dims)

    def tensor(self, dims: list[int], data: Array | None = None) -> int:
        self.tensors.append((dims, data))
        return len(self.tensors) - 1

    def weights(self, dims: list[int], scale: float) -> tuple[int, Array]:
        data = (self.random.uniform(-1, 1, dims) * scale).astype("<f4")
        return self.tensor(dims, data), data.astype("<f8")

    def op(self, kind: int, constants: list[int], params: list[int], dims: list[int], step: Any) -> None:
        y = self.tensor(dims)
        self.ops.append((kind, [self.output, *constants], y, params))
        self.steps.append(step)
        self.output = y

    def dims(self) -> list[int]:
        return self.tensors[self.output][0]

    def dense(self, n: int, function: int) -> None:
        k = self.dims()[-1]
        w, weights = self.weights([n, k], 2 / math.sqrt(k))
        b, bias = self.weights([n], 0.5)
        self.op(DENSE, [w, b], [function], [n], lambda x: FUNCTIONS[function](weights @ x + bias))

    def conv(self, n: int) -> None:
        """3x3 with a border of one, ReLU."""
        height, width, c = self.dims()
        w, weights = self.weights([n, 3, 3, c], 2 / math.sqrt(9 * c))
        b, bias = self.weights([n], 0.5)

        def step(x: Array) -> Array:
            x = np.pad(x, ((1, 1), (1, 1), (0, 0)))
            taps = [x[i : i + height, j : j + width] @ weights[:, i, j].T for i in range(3) for j in range(3)]
            return FUNCTIONS[RELU](sum(taps) + bias)

        one = 1 | 1 << 16
        self.op(CONV_2D, [w, b], [RELU, 0, one, one, one, one], [height, width, n], step)

    def layer_norm(self) -> None:
        n = self.dims()[-1]
        g, gamma = self.weights([n], 1.0)
        b, beta = self.weights([n], 1.0)
        eps = float(np.float32(EPS))
        self.op(
            LAYER_NORM,
            [g, b],
            [bits(EPS)],
            self.dims(),
            lambda x: (x - x.mean()) / np.sqrt(x.var() + eps) * gamma + beta,
        )

    def mean(self) -> None:
        self.op(MEAN, [], [], self.dims()[-1:], lambda x: x.reshape(-1, x.shape[-1]).mean(axis=0))

    def softmax(self) -> None:
        def step(x: Array) -> Array:
            e = np.exp(x - x.max())
            return np.asarray(e / e.sum())

        self.op(SOFTMAX, [], [], self.dims(), step)

    def answer(self, x: Array) -> Array:
        y = x.astype("<f8").reshape(self.tensors[0][0])
        for step in self.steps:
            y = step(y)
        return y.ravel()

    def file(self) -> bytes:
        at = 128 + 64 * (len(self.tensors) + len(self.ops))
        records, data = b"", b""
        for dims, values in self.tensors:
            sizes = dims + [0] * (4 - len(dims))
            content = b"" if values is None else values.tobytes()
            where = at + len(data) if content else 0
            head = struct.pack("<BBBx4I4xQQ", F32, bool(content), len(dims), *sizes, where, len(content))
            records += head.ljust(64, b"\0")
            data += content
            data = data.ljust(-(-len(data) // 64) * 64, b"\0")
        for kind, inputs, y, params in self.ops:
            slots = inputs + [NONE] * (4 - len(inputs))
            numbers = params + [0] * (7 - len(params))
            records += struct.pack("<HHI4II7i8x", kind, 0, 0, *slots, y, *numbers)
        # Nothing pads the end of the last constant.
        last = max((i for i, (_, values) in enumerate(self.tensors) if values is not None), default=None)
        if last is not None and (extra := -self.tensors[last][1].nbytes % 64):
            data = data[:-extra]
        head = struct.pack(
            "<8sHHIQIIIIQQII32s32x",
            b"\x7fNNM\r\n\x1a\0",
            1,
            1,
            128,
            at + len(data),
            0,
            0,
            len(self.tensors),
            len(self.ops),
            128,
            128 + 64 * len(self.tensors),
            0,
            self.output,
            self.name.encode(),
        )
        whole = head + records + data
        return whole[:24] + struct.pack("<I", crc32c(whole)) + whole[28:]


def gelu(x: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return x * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2)))


def sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


FUNCTIONS: dict[int, Any] = {
    PLAIN: lambda x: x,
    RELU: lambda x: np.where(x <= 0, 0, x),
    SIGMOID: sigmoid,
    TANH: lambda x: np.tanh(x),
    GELU: gelu,
}


def mlp() -> tuple[Net, Array]:
    """Cheap enough for any context."""
    net = Net("floats_mlp", [16], 1)
    net.dense(48, GELU)
    net.layer_norm()
    net.dense(8, PLAIN)
    net.softmax()
    return net, net.random.uniform(-2, 2, [16, 16])


def image() -> tuple[Net, Array]:
    """Some sections long."""
    net = Net("floats_image", [32, 32, 1], 2)
    net.conv(16)
    net.conv(16)
    net.mean()
    net.dense(10, TANH)
    return net, net.random.uniform(-1, 1, [4, 1024])


def odd() -> tuple[Net, Array]:
    """What is no usual number, in front of functions that have limits."""
    net = Net("floats_odd", [12], 3)
    net.dense(16, SIGMOID)
    net.dense(4, TANH)
    x = net.random.uniform(-1, 1, [9, 12])
    x[0, 3] = math.inf
    x[1, 5] = -math.inf
    x[2, 7] = math.nan
    x[3] = math.nan
    x[4] *= 1e-40  # denormal
    x[5] = 0.0
    x[6] = -0.0
    x[7, 2], x[7, 9] = math.inf, -math.inf  # their sum is no number where the weights have one sign
    x[8] *= 1e37
    return net, x


def contents() -> dict[str, Any]:
    files: dict[str, Any] = {}
    for net, samples in (mlp(), image(), odd()):
        x = samples.astype("<f4")
        with np.errstate(invalid="ignore"):
            y = np.array([net.answer(sample) for sample in x], "<f8")
        files[f"{net.name}.nnm"] = net.file()
        files[f"{net.name}.in"] = x.tobytes()
        files[f"{net.name}.ref"] = y
    return files


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="compare with the files that are there, write nothing")
    args = parser.parse_args()
    if MISSING:
        print("SKIP: no numpy", file=sys.stderr)
        return 4
    wrong = []
    for name, content in contents().items():
        path = FOLDER / name
        if not args.check:
            FOLDER.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.tobytes())
        elif isinstance(content, bytes):
            if path.read_bytes() != content:
                wrong.append(name)
        # Sums and functions may differ in the last places from machine to machine.
        elif not np.allclose(np.fromfile(path, "<f8"), content.ravel(), rtol=1e-12, atol=1e-13, equal_nan=True):
            wrong.append(name)
    for name in wrong:
        print(f"{name}: differs from what would be written", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
