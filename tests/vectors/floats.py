#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write floats/: networks of single precision as model files, with samples and the answers of float64.

For each network there are NAME.nnm, NAME.in (samples, float32) and NAME.ref (answers, float64). NAME.out, what AVX2 code
answers, is written by a test of rust/simd (f32_files.rs), which compares it with the reference, too. It needs numpy;
where there is none, it says that it is skipped.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import rawfiles

try:
    import floats_ops
    import numpy as np
    from floats_net import GELU, PLAIN, RELU, SIGMOID, TANH, Array, Net

    MISSING = False
except ImportError:
    MISSING = True

FOLDER = Path(__file__).resolve().parent / "floats"


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


def large() -> Net:
    """A few bytes that need much memory and computing; it has no samples."""
    net = Net("floats_large", [1024, 512, 64], 4)
    net.mean()
    return net


def contents() -> dict[str, Any]:
    files: dict[str, Any] = {"floats_large.nnm": large().file()}
    for net, samples in (mlp(), image(), odd(), *floats_ops.networks()):
        x = samples.astype("<f4")
        with np.errstate(invalid="ignore"):
            y = np.array([net.answer(sample) for sample in x], "<f8")
        files[f"{net.name}.nnm"] = net.file()
        files[f"{net.name}.in"] = x.tobytes()
        files[f"{net.name}.ref"] = y
    return files


if __name__ == "__main__":
    sys.exit(rawfiles.main(__doc__, FOLDER, None if MISSING else contents))
