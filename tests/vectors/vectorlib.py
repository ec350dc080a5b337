# SPDX-License-Identifier: GPL-2.0
"""What the scripts of this directory share: writing ONNX and .npy files, running them, comparing directories.

A file is the same bytes whenever it is made: nothing here asks for the time, the machine or the order of a dict from
elsewhere. The one thing that depends on the machine is what ONNX Runtime answers, in the last bits (it picks its
kernels by CPU), so files named `*_output.npy` are compared by value and all the others by byte.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

F32 = npt.NDArray[np.float32]

IR_VERSION = 8
OPSET = 17
#: How far two CPUs may be apart in an answer of ONNX Runtime, as a fraction of the largest answer in the file.
OUTPUT_TOLERANCE = 2.0**-18


def value_info(
    name: str, shape: Sequence[int | str | None] | None, elem: int = TensorProto.FLOAT
) -> onnx.ValueInfoProto:
    """A graph input or output; a string in `shape` is a symbolic dimension, None an unknown one."""
    return helper.make_tensor_value_info(name, elem, shape)


def raw_tensor(name: str, values: npt.NDArray[np.generic]) -> onnx.TensorProto:
    """An initializer whose values stand in `raw_data`."""
    return onnx.numpy_helper.from_array(np.ascontiguousarray(values), name)


def typed_tensor(name: str, values: F32) -> onnx.TensorProto:
    """An initializer whose values stand in `float_data`."""
    return helper.make_tensor(name, TensorProto.FLOAT, values.shape, values.ravel().tolist(), raw=False)


def model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto] = (),
    opset: int = OPSET,
) -> onnx.ModelProto:
    """A model of one graph, unchecked: some of the models made here are wrong on purpose."""
    graph = helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION)
    made.producer_name = "neural"
    made.producer_version = "1"
    return made


def model_bytes(made: onnx.ModelProto) -> bytes:
    """The model as a file."""
    return bytes(made.SerializeToString(deterministic=True))


def npy_bytes(values: npt.NDArray[np.generic]) -> bytes:
    """The array as a .npy file, version 1.0, C order."""
    out = io.BytesIO()
    np.lib.format.write_array(out, np.ascontiguousarray(values), version=(1, 0), allow_pickle=False)
    return out.getvalue()


def csv_bytes(values: npt.NDArray[np.generic]) -> bytes:
    """The array as CSV without a header: one row a line, the shortest decimal that reads back as the same value."""
    rows = np.atleast_2d(values)
    kind = int if np.issubdtype(rows.dtype, np.integer) else float
    text = "".join(",".join(_shortest(kind(v)) for v in row) + "\n" for row in rows)
    return text.encode("ascii")


def _shortest(value: int | float) -> str:
    text = str(np.float32(value)) if isinstance(value, float) else str(value)
    return text[:-2] if text.endswith(".0") else text


def run_onnx(data: bytes, rows: F32) -> F32:
    """ONNX Runtime's answers, one row of `rows` a call, on one thread, so that they do not depend on a batch size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: rows[i : i + 1]})[0] for i in range(len(rows))])


def difference(name: str, old: bytes, new: bytes) -> str | None:
    """How two files differ, none if they do not."""
    if old == new:
        return None
    if not name.endswith("_output.npy"):
        return "differs"
    a = np.load(io.BytesIO(old), allow_pickle=False)
    b = np.load(io.BytesIO(new), allow_pickle=False)
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"is {b.dtype}{b.shape}, in the tree {a.dtype}{a.shape}"
    worst = float(np.abs(a.astype(np.float64) - b).max())
    allowed = OUTPUT_TOLERANCE * float(np.abs(a).max())
    return None if worst <= allowed else f"is off by {worst:.3g}, allowed {allowed:.3g}"


def write_files(directory: Path, files: dict[str, bytes]) -> None:
    """Write each file under another name first, so that an interrupt leaves no half of one."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as part:
            part.write(data)
        Path(part.name).chmod(0o644)
        Path(part.name).replace(path)


def write_or_check(
    description: str,
    here: Path,
    make: Callable[[], dict[str, bytes]],
    owns: Callable[[str], bool],
    options: Callable[[argparse.ArgumentParser], None] | None = None,
    instead: Callable[[argparse.Namespace], bool] | None = None,
) -> int:
    """The command line of a script that makes files: writes them, or with --check compares them with the tree.

    `make` returns the files by relative path, `owns` says whether a path in the tree is one that `make` should have
    made, `instead` may do something else that `options` asked for, and says whether it did.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a file in the tree is not what would be written"
    )
    parser.add_argument(
        "--out", type=Path, default=here, metavar="DIR", help="write to DIR, or check DIR (default: %(default)s)"
    )
    if options:
        options(parser)
    args = parser.parse_args()
    if instead and instead(args):
        return 0

    files = make()
    if not args.check:
        write_files(args.out, files)
        print(f"wrote {len(files)} files, {sum(map(len, files.values()))} bytes, to {args.out}")
        return 0

    wrong = []
    for name, data in sorted(files.items()):
        path = args.out / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif (why := difference(name, path.read_bytes(), data)) is not None:
            wrong.append(f"{name} {why}")
    for path in sorted(args.out.rglob("*")):
        name = path.relative_to(args.out).as_posix()
        if path.is_file() and owns(name) and name not in files:
            wrong.append(f"{name} is not made by this script")
    for line in wrong:
        print(f"FAIL: {line}", file=sys.stderr)
    print(f"{len(files)} files checked, {len(wrong)} wrong")
    return 1 if wrong else 0
