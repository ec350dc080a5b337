# SPDX-License-Identifier: GPL-2.0
"""Networks that are no chain of dense layers: a cosine similarity, a step of an LSTM, a block of a transformer.

Each function gives the files by kind, the inputs by name, the multiply-accumulates and the bytes of weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace

import nnm
import numpy as np
import tflite
from networks import Array, Random
from nnm_files import lstm_file
from onnx import helper
from onnx_files import graph_file
from tflite import tfl
from tflite_ref import derive

EPS = 1e-5
#: What a code of the input and the output of the LSTM is worth.
LSTM_SCALE = 1 / 128
#: What a code of its cell is worth.
CELL_SCALE = 2.0**-12
Made = tuple[dict[str, bytes], dict[str, Array], int, int]


def cosine(rows: int = 256, size: int = 64) -> Made:
    """Cosine similarity of a key with each row; the peers are given the rows, ours has them as a constant."""
    rng = np.random.default_rng(4)
    key = rng.uniform(-1, 1, (1, size)).astype(np.float32)
    memory = rng.uniform(-1, 1, (rows, size)).astype(np.float32)

    ours = nnm.Model()
    x = ours.activation(nnm.F32, (size,))
    y = ours.activation(nnm.F32, (rows,))
    ours.op(nnm.COSINE, [x, ours.constant(nnm.F32, memory)], y, (nnm.bits(1e-30),))

    m = tflite.Model()
    k, mem = m.tensor((1, size)), m.tensor((rows, size))
    axis = m.constant(np.array([1], np.int32))
    dot = m.dense([k, mem, -1], m.tensor((1, rows)))

    def inverse_norm(v: int, n: int) -> int:
        square = m.op("MUL", [v, v], m.tensor((n, size)), "MulOptions")
        total = m.op("SUM", [square, axis], m.tensor((n,)), "ReducerOptions")
        return m.op("RSQRT", [total], m.tensor((n,)))

    part = m.op("MUL", [dot, inverse_norm(mem, rows)], m.tensor((1, rows)), "MulOptions")
    end = m.op("MUL", [part, inverse_norm(k, 1)], m.tensor((1, rows)), "MulOptions")

    node = helper.make_node
    nodes = [
        node("Transpose", ["x"], ["xt"], perm=[1, 0]),
        node("MatMul", ["rows", "xt"], ["dot"]),
        node("ReduceL2", ["rows"], ["nr"], axes=[1], keepdims=1),
        node("ReduceL2", ["x"], ["nx"], axes=[1], keepdims=1),
        node("Mul", ["nr", "nx"], ["d"]),
        node("Div", ["dot", "d"], ["y"]),
    ]
    files = {
        "nnm": ours.pack(x, y),
        "tflite": m.pack([k, mem], [end]),
        "onnx": graph_file(nodes, {"x": (1, size), "rows": (rows, size)}, ("y", (rows, 1)), {}),
    }
    return files, {"x": key, "rows": memory}, 2 * rows * size, 4 * rows * size


@dataclass
class Cell:
    """An LSTM: weights of the input and of the state, biases, in the order of the gates i, f, g, o."""

    wx: list[Array]
    wh: list[Array]
    b: list[Array]
    #: What a code of each matrix is worth.
    steps: list[float] = field(default_factory=list)

    @property
    def side_by_side(self) -> Array:
        """All weights as one matrix."""
        return np.concatenate([np.hstack(pair) for pair in zip(self.wx, self.wh, strict=True)])

    def quantised(self) -> Cell:
        """The same in 8-bit codes."""
        steps = [float(np.float32(np.abs(w).max() / 127)) for w in (*self.wx, *self.wh)]
        codes = [np.round(w / s).astype(np.int8) for w, s in zip((*self.wx, *self.wh), steps, strict=True)]
        b = [np.round(v / (s * LSTM_SCALE)).astype(np.int32) for v, s in zip(self.b, steps, strict=False)]
        return Cell(codes[:4], codes[4:], b, steps)

    def factors(self) -> Array:
        """What a model file says about the codes."""
        t = [SimpleNamespace(scale=[s], zero=0) for s in (LSTM_SCALE, *self.steps, *[0.0] * 9, LSTM_SCALE, CELL_SCALE)]
        p = derive("UNIDIRECTIONAL_SEQUENCE_LSTM", {"cell_clip": 0.0}, t, t[0])
        names = [(f"{part}_", k) for k in range(4) for part in ("input", "recurrent")]
        names += [("forget_cell_", 0), ("input_cell_", 0), ("hidden_", 0)]
        pairs = [(p[f"{name}multiplier"][k], -p[f"{name}shift"][k]) for name, k in names]
        return np.array([*np.ravel(pairs), -12 - p["cell_scale_log2"][0], p["cell_clip"][0]])


def lstm_nnm(cell: Cell, ins: int, state: int) -> bytes:
    """A model file, in single precision or in codes."""
    model = nnm.Model()
    kind, given = (nnm.I8, (0, LSTM_SCALE)) if cell.steps else (nnm.F32, ())
    first, last = model.activation(kind, (1, ins), *given), model.activation(kind, (1, state), *given)
    operands = [first, model.constant(kind, cell.side_by_side)]
    operands.append(model.constant(nnm.I32 if cell.steps else nnm.F32, np.concatenate(cell.b)))
    if cell.steps:
        operands.append(model.constant(nnm.I32, cell.factors()))
    model.op(nnm.LSTM, operands, last)
    return model.pack(first, last)


def lstm_tflite(cell: Cell, ins: int, state: int) -> bytes:
    """A .tflite file, in single precision or in codes."""
    m = tflite.Model()
    steps = cell.steps or [0.0] * 8
    quant = ("i8", LSTM_SCALE, 0) if cell.steps else ()
    first = m.tensor((1, 1, ins), *quant)
    weights = [m.constant(w, s) for w, s in zip((*cell.wx, *cell.wh), steps, strict=True)]
    bias = [m.constant(v, s * LSTM_SCALE) for v, s in zip(cell.b, steps, strict=False)]
    h = m.tensor((1, state), *quant, variable=True)
    c = m.tensor((1, state), *(("i16", CELL_SCALE, 0) if cell.steps else ()), variable=True)
    operands = [first, *weights, -1, -1, -1, *bias, -1, -1, h, c, -1, -1, -1, -1]
    inner = [m.tensor((0,)) for _ in range(4)] + [m.tensor((0,), *quant)] if cell.steps else []
    last = m.tensor((1, 1, state), *quant)
    tanh = {"fusedActivationFunction": tfl.ActivationFunctionType.TANH}
    m.op("UNIDIRECTIONAL_SEQUENCE_LSTM", operands, last, "UnidirectionalSequenceLSTMOptions", **tanh)
    if inner:
        m.graph.operators[-1].intermediates = np.array(inner, np.int32)
    return m.pack([first], [last])


def lstm_step(dtype: str, ins: int = 64, state: int = 128) -> Made:
    """One step of a long short-term memory; what is in codes is quantised by ONNX Runtime in its own way."""
    rng = Random(5)
    wx, wh = [rng.weight(state, ins) for _ in range(4)], [rng.weight(state, state) for _ in range(4)]
    cell = Cell(wx, wh, [rng.bias(state) for _ in range(4)])
    x = np.random.default_rng(2).uniform(-1, 1, (1, 1, ins)).astype(np.float32)
    given = cell.quantised() if dtype == "i8" else cell
    files = {"nnm": lstm_nnm(given, ins, state), "tflite": lstm_tflite(given, ins, state)}
    if dtype == "f32":
        files["dense"] = lstm_file(cell.side_by_side, np.concatenate(cell.b), ins, state)

    order = (0, 3, 1, 2)
    constants = {
        "w": np.concatenate([wx[k] for k in order])[None],
        "r": np.concatenate([wh[k] for k in order])[None],
        "b": np.concatenate([*[cell.b[k] for k in order], np.zeros(4 * state, np.float32)])[None],
    }
    node = helper.make_node("LSTM", ["x", "w", "r", "b", "", "h0", "c0"], ["y"], hidden_size=state)
    shapes = {"x": (1, 1, ins), "h0": (1, 1, state), "c0": (1, 1, state)}
    files["onnx"] = graph_file([node], shapes, ("y", (1, 1, 1, state)), constants)
    zeros = np.zeros((1, 1, state), np.float32)
    macs = 4 * state * (ins + state)
    return files, {"x": x, "h0": zeros, "c0": zeros}, macs, macs * (1 if dtype == "i8" else 4)


def transformer(tokens: int = 32, width: int = 256, heads: int = 4, hidden: int = 1024) -> Made:
    """A block of an encoder: norm, attention, sum, norm, two dense layers, sum."""
    rng, d = Random(6), width // heads
    wq, wk, wv, wo = [rng.weight(width, width) for _ in range(4)]
    w1, w2 = rng.weight(hidden, width), rng.weight(width, hidden)
    zeros, ones = partial(np.zeros, dtype=np.float32), np.ones(width, np.float32)
    factor = np.float32(1 / np.sqrt(d))
    x0 = np.random.default_rng(2).uniform(-1, 1, (tokens, width)).astype(np.float32)

    ours = nnm.Model()

    def value(n: int = width) -> int:
        return ours.activation(nnm.F32, (tokens, n))

    def norm(x: int) -> int:
        gamma, beta = ours.constant(nnm.F32, ones), ours.constant(nnm.F32, zeros(width))
        return ours.op(nnm.LAYER_NORM, [x, gamma, beta], value(), (nnm.bits(EPS),))

    def dense(x: int, w: Array, act: str = "linear") -> int:
        operands = [x, ours.constant(nnm.F32, w), ours.constant(nnm.F32, zeros(len(w)))]
        return ours.op(nnm.DENSE, operands, value(len(w)), (nnm.FUNCTION[act],))

    first = value()
    normed = norm(first)
    qkv = [dense(normed, w) for w in (wq, wk, wv)]
    attended = ours.op(nnm.ATTENTION, qkv, value(), (heads, 0, nnm.bits(factor)))
    middle = ours.op(nnm.ADD, [first, dense(attended, wo)], value())
    last = ours.op(nnm.ADD, [middle, dense(dense(norm(middle), w1, "relu"), w2)], value())
    file = ours.pack(first, last)

    m = tflite.Model()
    axis = m.constant(np.array([1], np.int32))
    eps = m.constant(np.array([EPS], np.float32))
    whole, column = (tokens, width), (tokens, 1)

    def two(name: str, a: int, b: int, shape: tuple[int, ...] = whole) -> int:
        return m.op(name, [a, b], m.tensor(shape), f"{name.title()}Options")

    def mean(v: int) -> int:
        return m.op("MEAN", [v, axis], m.tensor(column), "ReducerOptions", keepDims=True)

    def tnorm(a: int) -> int:
        mu = mean(a)
        square = m.op("SQUARED_DIFFERENCE", [a, mu], m.tensor(whole), "SquaredDifferenceOptions")
        r = m.op("RSQRT", [two("ADD", mean(square), eps, column)], m.tensor(column))
        n = two("MUL", two("SUB", a, mu), r)
        return two("ADD", two("MUL", n, m.constant(ones)), m.constant(zeros(width)))

    def tdense(a: int, w: Array, relu: bool = False) -> int:
        return m.dense([a, m.constant(w), m.constant(zeros(len(w)))], m.tensor((tokens, len(w))), relu)

    def shaped(a: int, shape: tuple[int, ...]) -> int:
        to = np.array(shape, np.int32)
        return m.op("RESHAPE", [a, m.constant(to)], m.tensor(shape), "ReshapeOptions", newShape=to)

    def turned(a: int, shape: tuple[int, ...]) -> int:
        axes = m.constant(np.array([1, 0, 2], np.int32))
        return m.op("TRANSPOSE", [a, axes], m.tensor(shape), "TransposeOptions")

    def product(a: int, b: int, shape: tuple[int, ...], turn: bool) -> int:
        return m.op("BATCH_MATMUL", [a, b], m.tensor(shape), "BatchMatMulOptions", adjY=turn)

    x = m.tensor(whole)
    h = tnorm(x)
    q, k, v = [turned(shaped(tdense(h, w), (tokens, heads, d)), (heads, tokens, d)) for w in (wq * factor, wk, wv)]
    scores = (heads, tokens, tokens)
    p = m.op("SOFTMAX", [product(q, k, scores, True)], m.tensor(scores), "SoftmaxOptions", beta=1.0)
    a = shaped(turned(product(p, v, (heads, tokens, d), False), (tokens, heads, d)), whole)
    x1 = two("ADD", x, tdense(a, wo))
    y = two("ADD", x1, tdense(tdense(tnorm(x1), w1, True), w2))

    node = helper.make_node
    split, join = np.array([tokens, heads, d], np.int64), np.array([tokens, width], np.int64)
    constants = {"wq": (wq * factor).T, "wk": wk.T, "wv": wv.T, "wo": wo.T, "w1": w1.T, "w2": w2.T}
    constants |= {"g": ones, "z": zeros(width), "z1": zeros(hidden), "split": split, "join": join}
    nodes = [node("LayerNormalization", ["x", "g", "z"], ["h"], epsilon=EPS)]
    for c, perm in (("q", [1, 0, 2]), ("k", [1, 2, 0]), ("v", [1, 0, 2])):
        nodes.append(node("MatMul", ["h", f"w{c}"], [f"{c}0"]))
        nodes.append(node("Reshape", [f"{c}0", "split"], [f"{c}1"]))
        nodes.append(node("Transpose", [f"{c}1"], [c], perm=perm))
    nodes += [
        node("MatMul", ["q", "k"], ["s"]),
        node("Softmax", ["s"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["a0"]),
        node("Transpose", ["a0"], ["a1"], perm=[1, 0, 2]),
        node("Reshape", ["a1", "join"], ["a"]),
        node("MatMul", ["a", "wo"], ["o"]),
        node("Add", ["x", "o"], ["x1"]),
        node("LayerNormalization", ["x1", "g", "z"], ["h2"], epsilon=EPS),
        node("Gemm", ["h2", "w1", "z1"], ["f0"]),
        node("Relu", ["f0"], ["f1"]),
        node("Gemm", ["f1", "w2", "z"], ["f2"]),
        node("Add", ["x1", "f2"], ["y"]),
    ]
    files = {"nnm": file, "tflite": m.pack([x], [y]), "onnx": graph_file(nodes, {"x": whole}, ("y", whole), constants)}
    weights = 4 * width * width + 2 * width * hidden
    return files, {"x": x0}, tokens * weights + 2 * tokens * tokens * width, 4 * weights
