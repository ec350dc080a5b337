# SPDX-License-Identifier: GPL-2.0
"""Networks of single precision that have, together, every operation there is, from the equations of its source."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from floats_net import FUNCTIONS, LEAKY_RELU, PLAIN, RELU6, SLOPE, Array, Net, bits, sigmoid

DENSE, DEPTHWISE, AVERAGE_POOL, MAX_POOL, ADD, SUB, MUL, CONCAT, PAD, RESHAPE, TRANSPOSE = 1, *range(3, 13)
MAP, RMS_NORM, ATTENTION, LSTM, LSTM_CELL, GRU, GRU_CELL, COSINE, LOG_SOFTMAX, SLICE = 16, *range(18, 27)
FOREST, EMBEDDING, INTERPOLATE, ATTENTION_STEP, DNC, NORMALISE = range(27, 33)

ELU = 11
EPS = float(np.float32(1e-6))


def slope(function: int) -> list[int]:
    return [function, bits(SLOPE) if function in (LEAKY_RELU, ELU) else 0]


def pair(rows: int, columns: int) -> int:
    return rows | columns << 16


def part(net: Net, x: int, start: list[int], dims: list[int]) -> int:
    """A part of a tensor."""
    where = tuple(slice(s, s + d) for s, d in zip(start, dims, strict=True))
    return net.op(SLICE, [], start, dims, lambda v: v[where], [x])


def reshape(net: Net, dims: list[int]) -> int:
    return net.op(RESHAPE, [], [], dims, lambda v: v.reshape(dims))


def concat(net: Net, inputs: list[int], axis: int = 0) -> int:
    dims = net.dims(inputs[0]).copy()
    dims[axis] = sum(net.dims(i)[axis] for i in inputs)
    return net.op(CONCAT, [], [axis], dims, lambda *v: np.concatenate(v, axis), inputs)


def dense(net: Net, x: int, n: int, function: int = PLAIN) -> int:
    k = net.dims(x)[-1]
    w, weights = net.weights([n, k], 2 / math.sqrt(k))
    b, bias = net.weights([n], 0.5)
    dims = [*net.dims(x)[:-1], n]
    return net.op(DENSE, [w, b], slope(function), dims, lambda v: FUNCTIONS[function](v @ weights.T + bias), [x])


def softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def lstm_step(x: Array, h: Array, c: Array, weights: Array, bias: Array) -> tuple[Array, Array]:
    i, f, g, o = np.split(weights @ np.concatenate([x, h]) + bias, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def gru_step(x: Array, h: Array, weights: Array, bias: Array) -> Array:
    k, n = len(x), len(h)
    xr, xz, xn = np.split(weights[:, :k] @ x + bias[: 3 * n], 3)
    hr, hz, hn = np.split(weights[:, k:] @ h + bias[3 * n :], 3)
    z = sigmoid(xz + hz)
    return np.asarray((1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h)


def sequences() -> tuple[Net, Array]:
    net = Net("floats_sequences", [9, 6], 11)
    n = 10
    w, weights = net.weights([4 * n, 6 + n], 0.8)
    b, bias = net.weights([4 * n], 0.5)

    def lstm(x: Array) -> Array:
        h, c, all_h = np.zeros(n), np.zeros(n), []
        for row in x:
            h, c = lstm_step(row, h, c, weights, bias)
            all_h.append(h)
        return np.array(all_h)

    net.op(LSTM, [w, b], [], [9, n], lstm)
    g, gamma = net.weights([n], 1.0)
    rms = lambda x: x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + EPS) * gamma  # noqa: E731
    net.op(RMS_NORM, [g], [bits(EPS)], [9, n], rms)
    m = 7
    gw, gru_weights = net.weights([3 * m, n + m], 0.8)
    gb, gru_bias = net.weights([6 * m], 0.5)

    def gru(x: Array) -> Array:
        h, all_h = np.zeros(m), []
        for row in x:
            h = gru_step(row, h, gru_weights, gru_bias)
            all_h.append(h)
        return np.array(all_h)

    net.op(GRU, [gw, gb], [], [9, m], gru)
    last = part(net, net.output, [8, 0], [1, m])
    dense(net, last, 5)
    net.op(LOG_SOFTMAX, [], [], [1, 5], lambda x: np.log(softmax(x)))
    return net, net.random.uniform(-2, 2, [6, 54])


def attended(q: Array, k: Array, v: Array, heads: int, scale: float, causal: bool) -> Array:
    out = np.zeros_like(q)
    for columns in np.split(np.arange(q.shape[1]), heads):
        scores = scale * q[:, columns] @ k[:, columns].T
        if causal:
            seen = np.arange(len(k)) <= np.arange(len(q))[:, None] + len(k) - len(q)
            scores = np.where(seen, scores, -np.inf)
        out[:, columns] = softmax(scores) @ v[:, columns]
    return out


def transformer() -> tuple[Net, Array]:
    """A block: causal attention, then two dense layers, with what they are given added."""
    net = Net("floats_transformer", [8, 24], 12)
    qkv = dense(net, 0, 48)
    q, k, v = (part(net, qkv, [0, at], [8, 16]) for at in (0, 16, 32))
    scale = float(np.float32(1 / math.sqrt(8)))
    attention = lambda q, k, v: attended(q, k, v, 2, scale, True)  # noqa: E731
    mixed = net.op(ATTENTION, [], [2, 1, bits(scale)], [8, 16], attention, [q, k, v])
    projected = dense(net, mixed, 24)
    added = net.op(ADD, [], [0, 0], [8, 24], lambda a, b: a + b, [projected, 0])
    net.layer_norm()
    dense(net, dense(net, net.output, 40, 9), 24)
    net.op(ADD, [], [0, 0], [8, 24], lambda a, b: a + b, [net.output, added])
    net.mean()
    return net, net.random.uniform(-1, 1, [4, 192])


def chained(net: Net, fresh: Array, state: int, result: int) -> Array:
    """Samples of which each has the state that the one before gives."""
    samples, before = [], np.zeros(state, "<f4")
    for row in fresh.astype("<f4"):
        samples.append(np.concatenate([row, before]))
        before = net.answer(samples[-1])[result:].astype("<f4")
    return np.array(samples)


def cells() -> tuple[Net, Array]:
    """One step of both recurrent cells."""
    k, n, m = 4, 6, 5
    net = Net("floats_cells", [k + 2 * n + m], 13)
    x, s, h = part(net, 0, [0], [k]), part(net, 0, [k], [2 * n]), part(net, 0, [k + 2 * n], [m])
    w, weights = net.weights([4 * n, k + n], 0.8)
    b, bias = net.weights([4 * n], 0.5)

    def lstm(x: Array, s: Array) -> Array:
        return np.concatenate(lstm_step(x, s[:n], s[n:], weights, bias))

    first = net.op(LSTM_CELL, [w, b], [], [2 * n], lstm, [x, s])
    gw, gru_weights = net.weights([3 * m, k + m], 0.8)
    gb, gru_bias = net.weights([6 * m], 0.5)
    gru = lambda x, h: gru_step(x, h, gru_weights, gru_bias)  # noqa: E731
    second = net.op(GRU_CELL, [gw, gb], [], [m], gru, [x, h])
    concat(net, [first, second])
    return net, chained(net, net.random.uniform(-2, 2, [8, k]), 2 * n + m, 0)


def tokens() -> tuple[Net, Array]:
    """Attention over the last three tokens, one at a time: more of them than the ring has places."""
    c, heads, ring = 8, 2, 3
    net = Net("floats_tokens", [3 * c + 2 * ring * c + 1], 14)
    q, k, v = (part(net, 0, [i * c], [c]) for i in range(3))
    state = part(net, 0, [3 * c], [2 * ring * c + 1])
    scale = float(np.float32(1 / math.sqrt(c // heads)))

    def step(q: Array, k: Array, v: Array, s: Array) -> Array:
        at = round(s[-1])
        rings = s[:-1].reshape(2, ring, c).copy()
        rings[:, at % ring] = k, v
        seen = min(at + 1, ring)
        y = attended(q[None], rings[0, :seen], rings[1, :seen], heads, scale, False)
        following = ring if at + 1 == 2 * ring else at + 1
        return np.concatenate([y.ravel(), rings.ravel(), [following]])

    net.op(ATTENTION_STEP, [], [heads, bits(scale)], [c + 2 * ring * c + 1], step, [q, k, v, state])
    return net, chained(net, net.random.uniform(-2, 2, [9, 3 * c]), 2 * ring * c + 1, c)


def running() -> tuple[Net, Array]:
    """Normalisation by mean and variance, and by least and greatest, of the samples so far (Welford, 1962)."""
    c, most = 6, 5
    size = 2 * c
    net = Net("floats_running", [c + 2 * size + 2], 20)
    x = part(net, 0, [0], [c])
    eps = float(np.float32(1e-2))
    shown, states = [], []

    def step(x: Array, s: Array, ranged: bool) -> Array:
        first, second, count = s[:c], s[c:-1], min(s[-1] + 1, most)
        if ranged:
            first, second = (x, x) if count == 1 else (np.minimum(x, first), np.maximum(x, second))
            y = (x - first) / np.maximum(second - first, eps)
        else:
            off = x - first
            first = first + off / count
            second = second + (off * (x - first) - second) / count
            y = (x - first) / np.sqrt(second + eps)
        return np.concatenate([y, first, second, [count]])

    for ranged in (False, True):
        before = part(net, 0, [c + ranged * (size + 1)], [size + 1])
        taken = lambda x, s, ranged=ranged: step(x, s, ranged)  # noqa: E731
        both = net.op(NORMALISE, [], [int(ranged), most, bits(eps)], [c + size + 1], taken, [x, before])
        shown.append(part(net, both, [0], [c]))
        states.append(part(net, both, [c], [size + 1]))
    concat(net, shown + states)
    return net, chained(net, net.random.uniform(-2, 2, [9, c]), 2 * size + 2, size)


def computer() -> tuple[Net, Array]:
    """The memory of a differentiable neural computer: Graves et al., Nature 538 (2016), methods."""
    n, w, r = 6, 4, 2
    sizes = [w * r, r, w, 1, w, w, r, 1, 1, 3 * r]
    parts = [n * w, n, n, n, r * n, n * n]
    net = Net("floats_computer", [sum(sizes) + sum(parts)], 15)
    interface, state = part(net, 0, [0], [sum(sizes)]), part(net, 0, [sum(sizes)], [sum(parts)])

    def content(memory: Array, key: Array, strength: Array) -> Array:
        norms = np.linalg.norm(memory, axis=1) * np.linalg.norm(key)
        sharp = (1 + np.logaddexp(0, strength)) * (memory @ key) / np.maximum(norms, EPS)
        return softmax(sharp)

    def step(x: Array, s: Array) -> Array:
        keys, strengths, key, strength, erase, add, free, allocate, write, modes = np.split(x, np.cumsum(sizes)[:-1])
        memory, usage, precedence, last, reads, links = np.split(s, np.cumsum(parts)[:-1])
        memory, reads, links = memory.reshape(n, w), reads.reshape(r, n), links.reshape(n, n)
        retained = np.prod(1 - sigmoid(free)[:, None] * reads, axis=0)
        usage = (usage + last - usage * last) * retained
        order = np.argsort(usage, kind="stable")
        allocation = np.zeros(n)
        allocation[order] = (1 - usage[order]) * np.concatenate([[1], np.cumprod(usage[order])[:-1]])
        gate = sigmoid(allocate)
        last = sigmoid(write) * (gate * allocation + (1 - gate) * content(memory, key, strength))
        memory = memory * (1 - np.outer(last, sigmoid(erase))) + np.outer(last, add)
        links = (1 - last[:, None] - last) * links + np.outer(last, precedence)
        np.fill_diagonal(links, 0)
        precedence = (1 - last.sum()) * precedence + last
        weightings = []
        for i in range(r):
            backward, middle, forward = softmax(modes[3 * i : 3 * i + 3])
            found = content(memory, keys[w * i : w * i + w], strengths[i])
            weightings.append(backward * reads[i] @ links + middle * found + forward * links @ reads[i])
        reads = np.array(weightings)
        given = [reads @ memory, memory, usage, precedence, last, reads, links]
        return np.concatenate([part.ravel() for part in given])

    params = [n, w, r, bits(EPS)]
    net.op(DNC, [], params, [w * r + sum(parts)], step, [interface, state])
    return net, chained(net, net.random.uniform(-3, 3, [8, sum(sizes)]), sum(parts), w * r)


def windows() -> tuple[Net, Array]:
    """Images: normalised, seen by windows, pooled, moved."""
    net = Net("floats_windows", [11, 9, 3], 16)
    mean, std = net.random.uniform(-1, 1, 3).astype("<f4"), net.random.uniform(0.5, 2, 3).astype("<f4")
    net.op(SUB, [net.constant(mean)], [0, 0], net.dims(), lambda x: x - mean)
    net.op(MUL, [net.constant(1 / std)], [0, 0], net.dims(), lambda x: x * (1 / std))
    w, weights = net.weights([3, 3, 6], 1.0)
    b, bias = net.weights([6], 0.5)

    def depthwise(x: Array) -> Array:
        x = np.pad(x, ((1, 1), (1, 1), (0, 0))).repeat(2, axis=2)
        taps = [x[i : i + 11, j : j + 9] * weights[i, j] for i in range(3) for j in range(3)]
        return np.asarray(FUNCTIONS[RELU6](sum(taps) + bias))

    one = pair(1, 1)
    net.op(DEPTHWISE, [w, b], [RELU6, 0, one, one, one, one], [11, 9, 6], depthwise)
    net.op(MAX_POOL, [], [0, 0, pair(2, 2), pair(3, 2), 0, 0], [5, 4, 6], lambda x: pooled(x, 3, 2, 2, np.max, 0))
    net.conv(5)
    net.op(AVERAGE_POOL, [], [0, 0, one, pair(3, 3), one, one], [5, 4, 5], lambda x: pooled(x, 3, 3, 1, np.mean, 1))
    border = [pair(1, 0), pair(0, 2), pair(0, 0), 0, bits(-1.5)]
    pad = lambda x: np.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=-1.5)  # noqa: E731
    net.op(PAD, [], border, [6, 6, 5], pad)
    net.op(TRANSPOSE, [], [2, 0, 1], [5, 6, 6], lambda x: x.transpose(2, 0, 1))
    return net, net.random.uniform(-2, 2, [4, 297])


def pooled(x: Array, rows: int, columns: int, step: int, take: Any, border: int) -> Array:
    x = np.pad(x, ((border, border), (border, border), (0, 0)), constant_values=np.nan)
    down, right = ((x.shape[i] - size) // step + 1 for i, size in ((0, rows), (1, columns)))
    take = {np.max: np.nanmax, np.mean: np.nanmean}[take]
    cut = lambda i, j: x[i * step : i * step + rows, j * step : j * step + columns]  # noqa: E731
    return np.array([[take(cut(i, j), axis=(0, 1)) for j in range(right)] for i in range(down)])


def interpolated(x: Array, m: int) -> Array:
    n = len(x)
    t = np.maximum((np.arange(m) + 0.5) * n / m - 0.5, 0)
    j = np.floor(t).astype(int)
    return np.asarray((1 - t + j) * x[j] + (t - j) * x[np.minimum(j + 1, n - 1)])


def forecast() -> tuple[Net, Array]:
    """Two blocks of N-HiTS (Challu et al., 2022)."""
    past, future = 48, 12
    net = Net("floats_forecast", [past], 17)
    rest, total = 0, None
    for pool, coefficients in ((8, 3), (2, 6)):
        short = past // pool
        net.output = rest
        reshape(net, [past, 1, 1])
        window = pair(pool, 1)
        pooling = lambda x, pool=pool: x.reshape(-1, pool).max(axis=1).reshape(-1, 1, 1)  # noqa: E731
        net.op(MAX_POOL, [], [0, 0, window, window, 0, 0], [short, 1, 1], pooling)
        reshape(net, [short])
        theta = dense(net, dense(net, net.output, 20, 1), short + coefficients)
        back, ahead = part(net, theta, [0], [short]), part(net, theta, [short], [coefficients])
        back = net.op(INTERPOLATE, [], [], [past], lambda x: interpolated(x, past), [back])
        ahead = net.op(INTERPOLATE, [], [], [future], lambda x: interpolated(x, future), [ahead])
        rest = net.op(SUB, [], [0, 0], [past], lambda a, b: a - b, [rest, back])
        if total is not None:
            ahead = net.op(ADD, [], [0, 0], [future], lambda a, b: a + b, [total, ahead])
        total = ahead
    net.output = total or 0
    return net, net.random.uniform(-1, 1, [4, past])


def functions() -> tuple[Net, Array]:
    """Every function, of a few numbers each: those of 0 to 3 for the square root."""
    each, count = 6, 16
    net = Net("floats_functions", [count, each], 18)
    rows = []
    for function in range(count):
        row = part(net, 0, [function, 0], [1, each])
        if function == 14:
            row = net.op(MAP, [], [15, 0], [1, each], FUNCTIONS[15], [row])
        rows.append(net.op(MAP, [], slope(function), [1, each], FUNCTIONS[function], [row]))
    concat(net, [concat(net, rows[i : i + 4]) for i in range(0, count, 4)])
    return net, net.random.uniform(-3, 3, [6, each * count])


def lookups() -> tuple[Net, Array]:
    """Decision trees, an embedding and similarities of the same numbers."""
    net = Net("floats_lookups", [5], 19)
    thresholds = net.random.uniform(-1, 1, 4).astype("<f4")
    # Two trees: of height 2, and of height 1 behind it, which shares a node.
    nodes = [(0, 1, -1, -2), (1, 1, -3, -1), (2, 2, 0, 1), (4, 3, 2, -2)]
    table = [[f | height << 16, int(t.view("<i4")), a, b] for (f, height, a, b), t in zip(nodes, thresholds, strict=True)]
    roots, shift = [3, 1, 2], 12
    leaves = net.random.randint(-(2**14), 2**14, [3, 4])

    def forest(x: Array) -> Array:
        total = np.zeros(4)
        for at in roots:
            while at >= 0:
                feature, _, low, high = nodes[at]
                at = low if x[feature] <= thresholds[at] else high
            total += leaves[-1 - at]
        return total / len(roots) / 2**shift

    words = [net.constant(values, "<i4") for values in (table, roots, leaves)]
    voted = net.op(FOREST, words, [1, shift], [4], forest, [0])
    e, rows = net.weights([7, 3], 1.0)
    embed = lambda x: rows[np.clip(np.floor(x * 2 + 0.5), 0, 6).astype(int)]  # noqa: E731
    doubled = net.op(ADD, [], [0, 0], [5], lambda a, b: a + b, [0, 0])
    net.op(EMBEDDING, [e], [], [5, 3], lambda x: embed(x / 2), [doubled])
    found = reshape(net, [15])
    c, keys = net.weights([6, 5], 1.0)
    norms = np.linalg.norm(keys, axis=1)
    cosine = lambda x: keys @ x / np.maximum(norms * np.linalg.norm(x), EPS)  # noqa: E731
    similar = net.op(COSINE, [c], [bits(EPS)], [6], cosine, [0])
    concat(net, [voted, found, similar])
    return net, net.random.uniform(-3, 3, [8, 5])


def networks() -> list[tuple[Net, Array]]:
    makers = (sequences, transformer, cells, tokens, computer, windows, forecast, functions, lookups, running)
    return [maker() for maker in makers]
