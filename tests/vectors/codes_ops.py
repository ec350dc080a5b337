#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write codes/codes_any_TYPE: what is there for all types, and sums of 16-bit codes, with the answers of integers.

For each type there are NAME.nnm, NAME.in (samples) and NAME.out (answers), of the equations in
Documentation/nnm-format.rst. It needs numpy; where there is none, it says that it is skipped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import rawfiles

try:
    import numpy as np
    from floats_net import I8, I16, Q16, Array, Net
    from floats_ops import ADD, EMBEDDING, FOREST, MUL, PAD, SUB, TRANSPOSE, concat, pair, part, reshape

    MISSING = False
except ImportError:
    MISSING = True

FOLDER = Path(__file__).resolve().parent / "codes"

# A multiplier and a shift, for leaves of trees.
FACTOR = (1518500250, 3)


def rq(t: int) -> int:
    """A sum of leaves as a code of 8 bits."""
    m, s = FACTOR
    high, unit = (t * m + 2**30) >> 31, 1 << s
    return (abs(high) + unit // 2) // unit * (1 if high >= 0 else -1)


def rq16(t: int) -> int:
    m, s = FACTOR
    return (t * m + (1 << (30 + s))) >> (31 + s)


def mixed(net: Net, x: int) -> int:
    """Sums and products of 16-bit codes: `((x / 2 + 3 b / 4) - 5 x / 8) x / 16`, rounded and saturated each time."""
    factors, shift = (4, 6), 3
    rounded = lambda v, s: np.clip((v + (1 << s >> 1)) >> s, -32768, 32767)  # noqa: E731
    integers = lambda v: np.asarray(v).astype(np.int64)  # noqa: E731
    b = net.random.randint(-30000, 30000, 8)
    known, r = net.constant(b, "<i2"), net.constant([*factors, shift], "<i4")
    total = lambda v: rounded(integers(v) * factors[0] + b * factors[1], shift)  # noqa: E731
    y = net.op(ADD, [known, r], [], [8], total, [x])
    r = net.constant([1 << 3, 5, 3], "<i4")
    less = lambda v, w: rounded(integers(v) * 8 - integers(w) * 5, 3)  # noqa: E731
    y = net.op(SUB, [r], [], [8], less, [y, x])
    r = net.constant([1 << 30, 3], "<i4")
    return net.op(MUL, [r], [], [8], lambda v, w: rounded(integers(v) * integers(w), 4), [y, x])


def network(dtype: int) -> tuple[Net, Array]:
    """Trees and an embedding of parts of the input, side by side with it, moved."""
    name, kind, codes = {
        Q16: ("codes_any_q16", "<i4", (0, 0.0)),
        I8: ("codes_any_i8", "|i1", (3, 0.0625)),
        I16: ("codes_any_i16", "<i2", (0, 0.0625)),
    }[dtype]
    limit = 2 ** (8 * np.dtype(kind).itemsize - 1)
    net = Net(name, [8], dtype, dtype, codes)
    most = {Q16: 8 << 16, I8: 127, I16: 20}[dtype]
    x = net.random.randint(-most, most + 1, [16, 8])
    x[0], x[1] = -limit, limit - 1

    thresholds = net.random.randint(-most, most, 4)
    nodes = [(0, 1, -1, -2), (1, 1, -3, -1), (2, 2, 0, 1), (4, 3, 2, -2)]
    table = [[f | height << 16, t, a, b] for (f, height, a, b), t in zip(nodes, thresholds, strict=True)]
    roots, leaves = [3, 1, 2], net.random.randint(-(2**11), 2**11, [3, 4])

    def forest(values: Array) -> Array:
        total = np.zeros(4, int)
        for at in roots:
            while at >= 0:
                feature, _, low, high = nodes[at]
                at = low if values[feature] <= thresholds[at] else high
            total += leaves[-1 - at]
        result = {
            Q16: lambda s: (2 * s + len(roots)) // (2 * len(roots)),
            I8: lambda s: codes[0] + rq(s),
            I16: rq16,
        }[dtype]
        return np.array([min(max(result(int(s)), -limit), limit - 1) for s in total])

    words = [net.constant(values, "<i4") for values in (table, roots, leaves)]
    params = [1] if dtype == Q16 else [0, *FACTOR]
    voted = net.op(FOREST, words, params, [4], forest, [0])
    rows = net.random.randint(-most, most + 1, [9, 3])
    e = net.constant(rows, kind, dtype)
    index = {Q16: lambda v: np.floor(v / 65536 + 0.5), I8: lambda v: v + 128, I16: lambda v: v}[dtype]
    piece = part(net, 0, [3], [4])
    embed = lambda v: rows[np.clip(index(v), 0, 8).astype(int)]  # noqa: E731
    net.op(EMBEDDING, [e], [], [4, 3], embed, [piece])
    found = reshape(net, [12])
    concat(net, [voted, found, mixed(net, 0) if dtype == I16 else 0])
    reshape(net, [4, 6])
    net.op(PAD, [], [pair(0, 1), pair(2, 0), 0, 0, 5], [5, 8], lambda v: np.pad(v, ((0, 1), (2, 0)), constant_values=5))
    net.op(TRANSPOSE, [], [1, 0], [8, 5], lambda v: v.T)
    return net, x


def contents() -> dict[str, bytes]:
    files = {}
    for dtype, kind in ((Q16, "<i4"), (I8, "|i1"), (I16, "<i2")):
        net, x = network(dtype)
        files[f"{net.name}.nnm"] = net.file()
        files[f"{net.name}.in"] = x.astype(kind).tobytes()
        files[f"{net.name}.out"] = np.array([net.answer(sample) for sample in x]).astype(kind).tobytes()
    return files


if __name__ == "__main__":
    sys.exit(rawfiles.main(__doc__, FOLDER, None if MISSING else contents))
