#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Train the 64-128-10 handwritten-digits network and write it with the vectors that test it.

The data is the set that ships with scikit-learn: 1797 images of 8x8 pixels, each 0..16, from 13 writers. 360 rows,
stratified by class, are held out and touched once, at the end. (The set does not say who wrote a row, so the same
writers stand on both sides, as in every published use of it.) How long and how hard to train was chosen by `--select`,
which sees the other 1437 rows only.

Training gives the same bytes on every machine, although BLAS sums in an order that depends on the CPU: what is
multiplied stands on a grid of powers of two that is coarse enough for float64 to hold every sum exactly, so the order
does not matter; the rest is +, -, *, / and sqrt element by element, which IEEE 754 rounds the same everywhere. The one
exception is exp() in the softmax, whose last bit may vary and is rounded away (to 2^-20).

Files, all little-endian:
    digits.onnx               Gemm, Relu, Gemm, Softmax; float32; input "pixels" [rows, 64] in 0..1 (pixel / 16)
    digits_weights.npy        the same weights for readers without ONNX: w0 [128,64], b0, w1 [10,128], b1, concatenated
    digits_input.npy, .csv    the held-out rows, 360 x 64 float32, as the network wants them
    digits_label.npy, .csv    what they show, 360 x int64
    digits_ort_output.npy     ONNX Runtime's answer, 360 x 10 float32
    digits_rows.csv           which rows of the scikit-learn set they are
    digits_samples.csv        16 training rows, for the converter's quantisation report
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import vectorlib as lib
from onnx import helper
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, train_test_split

HELD_OUT = 360
SEED = 0
DIMS = (64, 128, 10)
BATCH = 64
#: Below this the files are not written: the vectors would say more about bad luck in training than about an engine.
MIN_ACCURACY = 0.975

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults are what `--select` prefers."""

    epochs: int = 240
    rate: float = 2.0**-8
    decay: float = 2.0**-4
    shifted: float = 0.5


@dataclass
class Network:
    """Two dense layers, weights [out, in], in float64."""

    w0: F64
    b0: F64
    w1: F64
    b1: F64

    def values(self) -> list[F64]:
        return [self.w0, self.b0, self.w1, self.b1]

    def logits(self, x: F64) -> F64:
        z: F64 = np.maximum(x @ self.w0.T + self.b0, 0) @ self.w1.T + self.b1
        return z


def grid(values: F64, bits: int) -> F64:
    """Round to multiples of 2^-bits."""
    rounded: F64 = np.rint(values * 2.0**bits) * 2.0**-bits
    return rounded


def shift_pixels(x: F64, rng: np.random.Generator, share: float) -> F64:
    """Move about `share` of the images by one pixel in one of the eight directions, blank at the edge left behind."""
    images = x.reshape(-1, 8, 8)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)))
    moves = rng.integers(-1, 2, (len(x), 2))
    moves[rng.random(len(x)) >= share] = 0
    rows = np.arange(8)[None, :, None] + 1 + moves[:, 0, None, None]
    cols = np.arange(8)[None, None, :] + 1 + moves[:, 1, None, None]
    moved: F64 = padded[np.arange(len(x))[:, None, None], rows, cols].reshape(len(x), 64)
    return moved


def train(x: F64, y: I64, recipe: Recipe, seed: int) -> Network:
    """Adam with decoupled weight decay and a rate that falls linearly to nought."""
    rng = np.random.default_rng(seed)

    def xavier(outs: int, ins: int) -> F64:
        w: F64 = (rng.random((outs, ins)) * 2 - 1) * np.sqrt(6 / (ins + outs))
        return w

    net = Network(xavier(DIMS[1], DIMS[0]), np.zeros(DIMS[1]), xavier(DIMS[2], DIMS[1]), np.zeros(DIMS[2]))
    first = [np.zeros_like(v) for v in net.values()]
    second = [np.zeros_like(v) for v in net.values()]
    first_power = second_power = 1.0
    steps = recipe.epochs * -(-len(x) // BATCH)
    step = 0
    targets = np.eye(DIMS[2])[y]

    for _ in range(recipe.epochs):
        order = rng.permutation(len(x))
        images = shift_pixels(x, rng, recipe.shifted)
        for start in range(0, len(x), BATCH):
            rows = order[start : start + BATCH]
            a0 = images[rows]
            # Grids: a0 2^-4, weights 2^-16 and below 8, a1 2^-16, errors 2^-20. No sum below needs more than 53 bits.
            w0, b0, w1, b1 = (grid(np.clip(v, -8, 8), 16) for v in net.values())
            a1 = grid(np.maximum(a0 @ w0.T + b0, 0), 16)
            z = a1 @ w1.T + b1
            e = np.exp(z - z.max(axis=1, keepdims=True))
            error1 = grid(e / e.sum(axis=1, keepdims=True) - targets[rows], 20)
            error0 = grid((error1 @ w1) * (a1 > 0), 20)
            slopes = [error0.T @ a0, error0.sum(axis=0), error1.T @ a1, error1.sum(axis=0)]

            first_power *= 0.9
            second_power *= 0.999
            rate = recipe.rate * (steps - step) / steps
            step += 1
            for value, m, v, slope in zip(net.values(), first, second, slopes, strict=True):
                slope = slope / len(rows)
                m += (slope - m) * 0.1
                v += (slope * slope - v) * 0.001
                if value.ndim == 2:
                    value -= value * (rate * recipe.decay)
                value -= rate * (m / (1 - first_power)) / (np.sqrt(v / (1 - second_power)) + 1e-8)
    return net


def split() -> tuple[F64, I64, I64, I64]:
    """The set with pixels in 0..1, its labels, and the rows to train on and to hold out."""
    digits = load_digits()
    x = digits.data.astype(np.float64) / 16
    y = digits.target.astype(np.int64)
    rows = np.arange(len(x), dtype=np.int64)
    kept, held = train_test_split(rows, test_size=HELD_OUT, random_state=SEED, stratify=y)
    kept, held = np.sort(kept), np.sort(held)
    seen = {x[r].tobytes() for r in kept}
    if set(kept) & set(held) or any(x[r].tobytes() in seen for r in held):
        sys.exit("a held-out row is among the training rows")
    return x, y, kept, held


def select() -> None:
    """Compare recipes by five folds of the training rows; the held-out rows are not looked at."""
    x, y, kept, _ = split()
    folds = list(StratifiedKFold(5, shuffle=True, random_state=SEED).split(kept, y[kept]))
    print("wrong of 1437, by five folds of the training rows; epochs, rate, decay, share shifted")
    for epochs, rate, decay, shifted in itertools.product(
        (60, 120, 240), (2.0**-9, 2.0**-8), (0.0, 2.0**-4), (0.0, 0.5)
    ):
        recipe = replace(Recipe(), epochs=epochs, rate=rate, decay=decay, shifted=shifted)
        wrong = 0
        for fold, (use, test) in enumerate(folds):
            net = train(x[kept[use]], y[kept[use]], recipe, SEED + fold)
            wrong += int((net.logits(x[kept[test]]).argmax(axis=1) != y[kept[test]]).sum())
        print(f"{wrong:4}  {epochs:4} {rate:.6f} {decay:.6f} {shifted:.2f}", flush=True)


def make() -> dict[str, bytes]:
    """Train on all training rows and return the files."""
    x, y, kept, held = split()
    net = train(x[kept], y[kept], Recipe(), SEED)
    weights = [v.astype(np.float32) for v in net.values()]
    names = ["layer0.weight", "layer0.bias", "layer1.weight", "layer1.bias"]
    nodes = [
        helper.make_node("Gemm", ["pixels", *names[:2]], ["sum0"], name="layer0", transB=1),
        helper.make_node("Relu", ["sum0"], ["hidden"], name="relu0"),
        helper.make_node("Gemm", ["hidden", *names[2:]], ["sum1"], name="layer1", transB=1),
        helper.make_node("Softmax", ["sum1"], ["probabilities"], name="softmax", axis=-1),
    ]
    onnx_file = lib.model_bytes(
        lib.model(
            "digits",
            nodes,
            [lib.value_info("pixels", ["rows", DIMS[0]])],
            [lib.value_info("probabilities", ["rows", DIMS[2]])],
            [lib.raw_tensor(n, w) for n, w in zip(names, weights, strict=True)],
        )
    )
    inputs = x[held].astype(np.float32)
    answers = lib.run_onnx(onnx_file, inputs)
    right = int((answers.argmax(axis=1) == y[held]).sum())
    print(f"{right} of {HELD_OUT} held-out rows right, {100 * right / HELD_OUT:.2f} %")
    if right < MIN_ACCURACY * HELD_OUT:
        sys.exit(f"that is below {100 * MIN_ACCURACY} %")
    samples = np.random.default_rng(SEED).choice(kept, 16, replace=False)
    return {
        "digits.onnx": onnx_file,
        "digits_weights.npy": lib.npy_bytes(np.concatenate([w.ravel() for w in weights])),
        "digits_input.npy": lib.npy_bytes(inputs),
        "digits_input.csv": lib.csv_bytes(inputs),
        "digits_label.npy": lib.npy_bytes(y[held]),
        "digits_label.csv": lib.csv_bytes(y[held][:, None]),
        "digits_ort_output.npy": lib.npy_bytes(answers),
        "digits_rows.csv": lib.csv_bytes(held[:, None]),
        "digits_samples.csv": lib.csv_bytes(x[np.sort(samples)].astype(np.float32)),
    }


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--select", action="store_true", help="compare training recipes on the training rows and stop")


def _instead(args: argparse.Namespace) -> bool:
    if args.select:
        select()
    return bool(args.select)


if __name__ == "__main__":
    sys.exit(
        lib.write_or_check(
            "Train the handwritten-digits network and write it with its vectors.",
            Path(__file__).resolve().parent,
            make,
            lambda name: name.startswith("digits"),
            _options,
            _instead,
        )
    )
