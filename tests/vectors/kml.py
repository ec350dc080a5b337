#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Turn the readahead classifier of the kernel-ml project into an ONNX file with vectors.

    kml.py [DIR] [-o OUT]       DIR: default $NEURAL_DATA/kml-readahead

DIR holds its published files: 422 rows of 5 features, already normalised by the mean and standard deviation that are
given beside them (input.csv), the class of each, 0..3 (output.csv), and three dense layers, 5-15-5-4 with a sigmoid
after the first two (linear{0,1,2}_{w,bias}.csv). A field is 16 bytes wide, `-0000000.393029`, and ends in a space or a
newline. The files are not part of this tree; where DIR is not there the script says that it is skipped. Its status is
then 4 if DIR or OUT was given, and 0 if nothing was asked for, as when all makers of vectors are run one after another.

The last layer is left linear: its values are -54..54, and a sigmoid would make several of them the same 1.0.
With -o it writes kml.onnx, kml_input.npy, kml_input.csv, kml_label.npy, kml_label.csv, kml_samples.csv and
kml_ort_output.npy. It fails unless ONNX Runtime gets 390 of the 422 rows right (92.4 %), which is
what the network is published with.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import vectorlib as lib
from onnx import helper

#: The exit status by which kselftest, and every script of this tree, says "skipped".
SKIP = 4
FIELD = 16
DIMS = (5, 15, 5, 4)
ROWS = 422
RIGHT = 390


def read_fields(path: Path, rows: int, columns: int) -> npt.NDArray[np.float64]:
    """The file as a matrix; anything but rows x columns fields of 16 bytes is an error that names the place."""
    data = path.read_bytes()
    if len(data) != rows * columns * FIELD:
        sys.exit(f"{path}: {len(data)} bytes, expected {rows} x {columns} fields of {FIELD}")
    values = np.empty((rows, columns))
    for i in range(rows * columns):
        row, column = divmod(i, columns)
        text = data[i * FIELD : (i + 1) * FIELD]
        end = b"\n" if column == columns - 1 else b" "
        try:
            if text[-1:] != end:
                raise ValueError
            values[row, column] = float(text[:-1])
        except ValueError:
            sys.exit(f"{path}: row {row}, field {column}: {text!r} is no number of {FIELD - 1} bytes and {end!r}")
    return values


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Turn the kernel-ml readahead classifier into ONNX and vectors.")
    parser.add_argument(
        "dir",
        type=Path,
        nargs="?",
        metavar="DIR",
        help="folder with input.csv, output.csv, linear0_w.csv, ... (default: $NEURAL_DATA/kml-readahead)",
    )
    parser.add_argument("-o", "--out", type=Path, metavar="OUT", help="folder to write to (default: write nothing)")
    args = parser.parse_args()
    asked = args.dir is not None or args.out is not None
    if args.dir is None and os.environ.get("NEURAL_DATA"):
        args.dir = Path(os.environ["NEURAL_DATA"]) / "kml-readahead"
    if args.dir is None or not args.dir.is_dir():
        print(f"SKIP: readahead classifier: {args.dir or 'NEURAL_DATA'} is not there")
        return SKIP if asked else 0

    x = read_fields(args.dir / "input.csv", ROWS, DIMS[0]).astype(np.float32)
    label = read_fields(args.dir / "output.csv", ROWS, 1).ravel()
    if not np.isin(label, np.arange(DIMS[-1])).all():
        sys.exit(f"{args.dir}/output.csv: a class that is not 0..{DIMS[-1] - 1}")
    labels = label.astype(np.int64)
    for name in ("mean", "stddev"):
        read_fields(args.dir / f"{name}.csv", DIMS[0], 1)
    if np.abs(x.mean(axis=0)).max() > 1e-3 or np.abs(x.std(axis=0) - 1).max() > 1e-3:
        sys.exit(f"{args.dir}/input.csv: the rows are not normalised")

    nodes, tensors, value = [], [], "features"
    for i, (ins, outs) in enumerate(itertools.pairwise(DIMS)):
        last = i == len(DIMS) - 2
        w = read_fields(args.dir / f"linear{i}_w.csv", outs, ins).astype(np.float32)
        b = read_fields(args.dir / f"linear{i}_bias.csv", outs, 1).astype(np.float32).ravel()
        tensors += [lib.raw_tensor(f"linear{i}.weight", w), lib.raw_tensor(f"linear{i}.bias", b)]
        total = "scores" if last else f"sum{i}"
        layer = [value, f"linear{i}.weight", f"linear{i}.bias"]
        nodes.append(helper.make_node("Gemm", layer, [total], name=f"linear{i}", transB=1))
        if not last:
            value = f"hidden{i}"
            nodes.append(helper.make_node("Sigmoid", [total], [value], name=f"sigmoid{i}"))
    made = lib.model(
        "kml",
        nodes,
        [lib.value_info("features", ["rows", DIMS[0]])],
        [lib.value_info("scores", ["rows", DIMS[-1]])],
        tensors,
    )
    data = lib.model_bytes(made)
    answers = lib.run_onnx(data, x)
    right = int((answers.argmax(axis=1) == labels).sum())
    print(f"{right} of {ROWS} rows right, {100 * right / ROWS:.1f} %")
    if right != RIGHT:
        sys.exit(f"expected {RIGHT}")
    if args.out is None:
        return 0
    lib.write_files(
        args.out,
        {
            "kml.onnx": data,
            "kml_input.npy": lib.npy_bytes(x),
            "kml_input.csv": lib.csv_bytes(x),
            "kml_label.npy": lib.npy_bytes(labels),
            "kml_label.csv": lib.csv_bytes(labels[:, None]),
            "kml_samples.csv": lib.csv_bytes(x[:: ROWS // 16][:16]),
            "kml_ort_output.npy": lib.npy_bytes(answers),
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
