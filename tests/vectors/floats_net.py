# SPDX-License-Identifier: GPL-2.0
"""Networks of single precision: what is written into a model file, and what float64 answers."""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

NONE = 0xFFFFFFFF
Q16, I8, I16, I32, F32 = range(1, 6)
TYPES = {"|i1": I8, "<i2": I16, "<i4": I32, "<f4": F32}
DENSE, CONV_2D, MEAN, SOFTMAX, LAYER_NORM = 1, 2, 13, 14, 17
PLAIN, RELU, RELU6, LEAKY_RELU, SIGMOID, TANH, GELU = range(7)
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

    def __init__(
        self, name: str, dims: list[int], seed: int, dtype: int = F32, codes: tuple[int, float] = (0, 0.0)
    ) -> None:
        """A network with an input; `codes` are the zero point and the scale of activations."""
        self.name, self.random, self.dtype, self.codes = name, np.random.RandomState(seed), dtype, codes
        self.tensors: list[tuple[list[int], Array | None, int]] = []
        self.ops: list[tuple[int, list[int], int, list[int]]] = []
        self.steps: list[tuple[int, list[int], Any]] = []
        self.output = self.tensor(dims)

    def tensor(self, dims: list[int], data: Array | None = None, dtype: int | None = None) -> int:
        if dtype is None:
            dtype = self.dtype if data is None else TYPES[data.dtype.str]
        self.tensors.append((dims, data, dtype))
        return len(self.tensors) - 1

    def weights(self, dims: list[int], scale: float) -> tuple[int, Array]:
        data = (self.random.uniform(-1, 1, dims) * scale).astype("<f4")
        return self.tensor(dims, data), data.astype("<f8")

    def constant(self, values: Any, kind: str = "<f4", dtype: int | None = None) -> int:
        data = np.asarray(values).astype(kind)
        return self.tensor(list(data.shape), data, dtype)

    def op(
        self,
        kind: int,
        constants: list[int],
        params: list[int],
        dims: list[int],
        step: Any,
        inputs: list[int] | None = None,
    ) -> int:
        """Add an operation on the last result, or on those that are named."""
        inputs = [self.output] if inputs is None else inputs
        y = self.tensor(dims)
        self.ops.append((kind, [*inputs, *constants], y, params))
        self.steps.append((y, inputs, step))
        self.output = y
        return y

    def dims(self, at: int | None = None) -> list[int]:
        return self.tensors[self.output if at is None else at][0]

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
            lambda x: (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * gamma + beta,
        )

    def mean(self) -> None:
        self.op(MEAN, [], [], self.dims()[-1:], lambda x: x.reshape(-1, x.shape[-1]).mean(axis=0))

    def softmax(self) -> None:
        def step(x: Array) -> Array:
            e = np.exp(x - x.max())
            return np.asarray(e / e.sum())

        self.op(SOFTMAX, [], [], self.dims(), step)

    def answer(self, x: Array) -> Array:
        values = {0: x.astype("<f8").reshape(self.tensors[0][0])}
        for y, inputs, step in self.steps:
            values[y] = np.asarray(step(*(values[i] for i in inputs)))
            assert list(values[y].shape) == self.dims(y), (self.name, y, values[y].shape)
        return values[self.output].ravel()

    def file(self) -> bytes:
        at = 128 + 64 * (len(self.tensors) + len(self.ops))
        records, data = b"", b""
        for dims, values, dtype in self.tensors:
            sizes = dims + [0] * (4 - len(dims))
            content = b"" if values is None else values.tobytes()
            where = at + len(data) if content else 0
            codes = self.codes if values is None else (0, 0.0)
            head = struct.pack("<BBBx4I4xQQif", dtype, bool(content), len(dims), *sizes, where, len(content), *codes)
            records += head.ljust(64, b"\0")
            data += content
            data = data.ljust(-(-len(data) // 64) * 64, b"\0")
        for kind, inputs, y, params in self.ops:
            slots = inputs + [NONE] * (4 - len(inputs))
            numbers = params + [0] * (7 - len(params))
            records += struct.pack("<HHI4II7i8x", kind, 0, 0, *slots, y, *numbers)
        # Nothing pads the end of the last constant.
        last = max((i for i, (_, values, _) in enumerate(self.tensors) if values is not None), default=None)
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


# Those with a slope have this one.
SLOPE = 0.25

FUNCTIONS: dict[int, Any] = {
    PLAIN: lambda x: x,
    RELU: lambda x: np.where(x <= 0, 0, x),
    RELU6: lambda x: np.clip(x, 0, 6),
    LEAKY_RELU: lambda x: np.where(x > 0, x, SLOPE * x),
    SIGMOID: sigmoid,
    TANH: lambda x: np.tanh(x),
    GELU: gelu,
    7: lambda x: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    8: lambda x: x * np.clip(x + 3, 0, 6) / 6,
    9: lambda x: x * sigmoid(x),
    10: lambda x: np.clip(x + 3, 0, 6) / 6,
    11: lambda x: np.where(x > 0, x, SLOPE * np.expm1(x)),
    12: lambda x: np.logaddexp(0, x),
    13: lambda x: np.exp(x),
    14: lambda x: np.sqrt(x),
    15: lambda x: np.abs(x),
}
