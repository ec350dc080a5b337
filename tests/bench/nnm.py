# SPDX-License-Identifier: GPL-2.0
"""Writes model files as Documentation/nnm-format.rst describes them; who loads them sets the checksum."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

Q16, I8, I32, F32 = 1, 2, 4, 5
DENSE, ADD, SUB, LUT, MAP, LAYER_NORM, ATTENTION, LSTM, COSINE = 1, 6, 7, 15, 16, 17, 19, 20, 24
NONE = 0xFFFFFFFF
RECORD, HEADER = 64, 128
#: Activations of layers in Q16.16, and functions of layers in single precision.
Q16_ACTIVATION = {"linear": 0, "relu": 1, "sigmoid": 3}
FUNCTION = {"linear": 0, "relu": 1, "sigmoid": 4}
ELEMENT = {Q16: "<i4", I8: "<i1", I32: "<i4", F32: "<f4"}


def bits(value: float) -> int:
    """A number of single precision as a parameter."""
    return int(np.float32(value).view(np.int32))


class Model:
    """A network: tensors and operations in the order in which they are added."""

    def __init__(self) -> None:
        self.tensors: list[tuple[int, int, tuple[int, ...], bytes, int, float]] = []
        self.ops: list[bytes] = []

    def activation(self, dtype: int, dims: tuple[int, ...], zero: int = 0, scale: float = 0.0) -> int:
        """A tensor that is computed, or the input."""
        self.tensors.append((dtype, 0, dims, b"", zero, scale))
        return len(self.tensors) - 1

    def constant(self, dtype: int, values: Array) -> int:
        """A tensor whose values are known."""
        self.tensors.append((dtype, 1, values.shape, values.astype(ELEMENT[dtype]).tobytes(), 0, 0.0))
        return len(self.tensors) - 1

    def op(self, kind: int, inputs: list[int], output: int, params: tuple[int, ...] = (), activation: int = 0) -> int:
        """An operation; gives the tensor that it writes."""
        operands = (inputs + [NONE] * 4)[:4]
        filled = (*params, *[0] * 7)[:7]
        self.ops.append(struct.pack("<HHI4II7i8x", kind, activation, 0, *operands, output, *filled))
        return output

    def pack(self, first: int, last: int) -> bytes:
        """The file."""
        op_table = HEADER + RECORD * len(self.tensors)
        at = op_table + RECORD * len(self.ops)
        records, data = [], []
        for dtype, kind, dims, content, zero, scale in self.tensors:
            place = (at, len(content)) if kind else (0, 0)
            sizes = (*dims, 0, 0, 0, 0)[:4]
            records.append(struct.pack("<BBBx4I4xQQif16x", dtype, kind, len(dims), *sizes, *place, zero, scale))
            data.append(content + bytes(-len(content) % 64))
            at += len(data[-1])
        minor = int(any(dtype != Q16 for dtype, *_ in self.tensors))
        counts = (len(self.tensors), len(self.ops), HEADER, op_table, first, last)
        magic = b"\x7fNNM\r\n\x1a\0"
        header = struct.pack("<8sHHIQIIIIQQII32s32x", magic, 1, minor, HEADER, at, 0, 0, *counts, b"bench")
        return b"".join((header, *records, *self.ops, *data))
