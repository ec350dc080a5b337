#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Write small ONNX files for the tests of the converter: dense networks in many spellings, and what must be refused.

    onnx/ok/NAME.onnx            converts; NAME_input.npy [rows, inputs] and NAME_output.npy (ONNX Runtime) beside it
    onnx/refuse/NAME.onnx        must be refused as dense layers, whether ONNX Runtime runs it or not
    onnx/manifest.json           for each: what it shows; for ok/ the layers expected, for refuse/ words of which the
                                 message must have at least one (case does not matter;
                                 the path in the message does not count)

A layer in the manifest is [inputs, outputs, activation]. Inputs are multiples of 1/256, so Q16.16 holds them exactly.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import vectorlib as lib
from onnx import TensorProto, helper
from vectorlib import F32

ROWS = 8
Layer = tuple[int, int, str]


@dataclass
class Case:
    """One file: its bytes and what the manifest says of it."""

    name: str
    shows: str
    data: bytes
    layers: list[Layer] | None = None
    says: list[str] = field(default_factory=list)
    input_shape: Sequence[int] | None = None


def fill(seed: int, *shape: int, scale: float = 1.0) -> F32:
    """Uniform in +-scale; `random_raw` is a stream that numpy promises not to change."""
    count = int(np.prod(shape))
    words = np.random.PCG64(seed).random_raw(count) >> np.uint64(40)
    return ((words.astype(np.float64) / 2**23 - 1) * scale).astype(np.float32).reshape(shape)


def xavier(seed: int, outs: int, ins: int) -> F32:
    """A weight [outs, ins]."""
    return fill(seed, outs, ins, scale=float(np.sqrt(6 / (ins + outs))))


def inputs_for(seed: int, shape: Sequence[int]) -> F32:
    """Rows of multiples of 1/256 in +-2."""
    return (np.rint(fill(seed, *shape, scale=512.0)) / 256).astype(np.float32)


node = helper.make_node
info = lib.value_info
raw = lib.raw_tensor


def ends(ins: int | Sequence[Any], outs: int, batch: int | str = "rows") -> tuple[list[Any], list[Any]]:
    """The graph input x and output y."""
    dims = [ins] if isinstance(ins, int) else list(ins)
    return [info("x", [batch, *dims])], [info("y", [batch, outs])]


def chain(
    name: str,
    dims: Sequence[int],
    acts: Sequence[str],
    *,
    seed: int = 1,
    tensor: Callable[[str, F32], onnx.TensorProto] = raw,
    batch: int | str = "rows",
    opset: int = lib.OPSET,
    trans_b: bool = True,
    matmul: bool = False,
    attributes: dict[str, dict[str, Any]] | None = None,
    weights: dict[int, F32] | None = None,
) -> onnx.ModelProto:
    """Dense layers one after another; `acts` names an ONNX activation for each layer, "" for none."""
    nodes, tensors, value = [], [], "x"
    for i, (ins, outs, act) in enumerate(zip(dims, dims[1:], acts, strict=False)):
        last = i == len(dims) - 2
        w = (weights or {}).get(i, xavier(seed * 100 + i, outs, ins))
        tensors.append(tensor(f"w{i}", w if trans_b and not matmul else np.ascontiguousarray(w.T)))
        tensors.append(tensor(f"b{i}", fill(seed * 100 + 50 + i, outs, scale=0.5)))
        total = f"s{i}" if act or not last else "y"
        if matmul:
            nodes.append(node("MatMul", [value, f"w{i}"], [f"m{i}"], name=f"matmul{i}"))
            nodes.append(node("Add", [f"m{i}", f"b{i}"], [total], name=f"add{i}"))
        else:
            extra: dict[str, Any] = {"transB": 1} if trans_b else {}
            nodes.append(node("Gemm", [value, f"w{i}", f"b{i}"], [total], name=f"gemm{i}", **extra))
        value = total
        if act:
            value = "y" if last else f"a{i}"
            nodes.append(node(act, [total], [value], name=f"act{i}", **(attributes or {}).get(act, {})))
    return lib.model(name, nodes, *ends(dims[0], dims[-1], batch), tensors, opset)


SPELLING = {
    "": "linear",
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softmax": "softmax",
}


def good() -> list[Case]:
    """Networks that convert."""
    cases: list[Case] = []

    def add(
        name: str, shows: str, made: onnx.ModelProto, layers: list[Layer], input_shape: Sequence[int] | None = None
    ) -> None:
        onnx.checker.check_model(made)
        cases.append(Case(name, shows, lib.model_bytes(made), layers, input_shape=input_shape or [ROWS, layers[0][0]]))

    def add_chain(name: str, shows: str, dims: Sequence[int], acts: Sequence[str], **options: Any) -> None:
        layers = [(i, o, SPELLING[a]) for i, o, a in zip(dims, dims[1:], acts, strict=False)]
        add(name, shows, chain(name, dims, acts, **options), layers)

    add_chain("gemm_transb1", "Gemm with weights [out, in]", (7, 5, 3), ("Relu", ""))
    add_chain("gemm_transb0", "Gemm with weights [in, out]", (7, 5, 3), ("Relu", ""), trans_b=False)
    add_chain("matmul_add", "MatMul and Add for a dense layer", (7, 5, 3), ("Relu", ""), matmul=True)
    add_chain(
        "float_data", "weights in float_data instead of raw_data", (7, 5, 3), ("Relu", ""), tensor=lib.typed_tensor
    )
    add_chain("batch_one", "a batch that is fixed at 1", (7, 5, 3), ("Relu", ""), batch=1)
    add_chain("sigmoid", "Sigmoid", (6, 4), ("Sigmoid",))
    add_chain("tanh", "Tanh", (6, 4), ("Tanh",))
    add_chain("leaky_default", "LeakyRelu without alpha: 0.01", (6, 4), ("LeakyRelu",))
    add_chain(
        "leaky_alpha", "LeakyRelu with alpha 0.2", (6, 4), ("LeakyRelu",), attributes={"LeakyRelu": {"alpha": 0.2}}
    )
    add_chain("softmax_default", "Softmax without axis", (6, 4), ("Softmax",))
    add_chain("softmax_axis1", "Softmax over axis 1", (6, 4), ("Softmax",), attributes={"Softmax": {"axis": 1}})
    add_chain("softmax_last", "Softmax over axis -1", (6, 4), ("Softmax",), attributes={"Softmax": {"axis": -1}})
    add_chain("softmax_opset11", "Softmax as it was before opset 13", (6, 4), ("Softmax",), opset=11)
    add_chain("softmax_inside", "Softmax between two layers", (6, 4, 3), ("Softmax", ""))
    add_chain("linear", "one layer, no activation", (3, 2), ("",))
    add_chain("one_to_one", "the smallest network", (1, 1), ("",))
    add_chain(
        "uneven",
        "layers of prime sizes with one of each activation",
        (13, 17, 1, 11, 7, 5),
        ("Relu", "Tanh", "LeakyRelu", "Sigmoid", "Softmax"),
    )
    add_chain("deep", "24 layers", (6,) * 25, ("Tanh",) * 24)
    add_chain("net_5_15_5_4", "the shape of the readahead classifier", (5, 15, 5, 4), ("Sigmoid", "Sigmoid", ""))
    add_chain("net_31_256_2", "31-256-2", (31, 256, 2), ("Relu", ""))
    add_chain("net_256_256_256", "256-256-256", (256, 256, 256), ("Relu", ""))

    w, b = xavier(1, 4, 6), fill(2, 4, scale=0.5)
    wt = np.ascontiguousarray(w.T)
    x, y = ends(6, 4)
    linear: list[Layer] = [(6, 4, "linear")]

    def gemm(name: str, shows: str, bias: F32 | None, **attributes: Any) -> None:
        names = ["x", "w"] + (["b"] if bias is not None else [])
        tensors = [raw("w", wt)] + ([raw("b", bias)] if bias is not None else [])
        add(
            name, shows, lib.model(name, [node("Gemm", names, ["y"], name="gemm", **attributes)], x, y, tensors), linear
        )

    gemm("gemm_alpha_beta", "alpha 0.5 and beta 2", b, alpha=0.5, beta=2.0)
    gemm("gemm_beta_zero", "beta 0: the bias does not count", b, beta=0.0)
    gemm("gemm_no_bias", "Gemm without C", None)
    gemm("gemm_bias_scalar", "C of shape [1] is broadcast", np.full(1, 0.375, np.float32))
    gemm("gemm_bias_row", "C of shape [1, out]", b[None, :])

    mm = node("MatMul", ["x", "w"], ["m"], name="matmul")
    weights = [raw("w", wt), raw("b", b)]
    add(
        "matmul_only",
        "MatMul without Add",
        lib.model("matmul_only", [node("MatMul", ["x", "w"], ["y"], name="matmul")], x, y, weights[:1]),
        linear,
    )
    add(
        "add_swapped",
        "Add with the constant first",
        lib.model("add_swapped", [mm, node("Add", ["b", "m"], ["y"], name="add")], x, y, weights),
        linear,
    )
    constants = [node("Constant", [], [n], name=f"const_{n}", value=t) for n, t in zip("wb", weights, strict=True)]
    plain = node("Gemm", ["x", "w", "b"], ["y"], name="gemm")
    add("constant_nodes", "weights in Constant nodes", lib.model("constant_nodes", [*constants, plain], x, y), linear)
    listed = [*x, info("w", [6, 4]), info("b", [4])]
    add(
        "listed_initializers",
        "initializers listed as graph inputs too, as old files do",
        lib.model("listed_initializers", [plain], listed, y, weights),
        linear,
    )
    add(
        "unused_initializer",
        "an initializer that no node reads",
        lib.model("unused_initializer", [plain], x, y, [*weights, raw("spare", b)]),
        linear,
    )

    flat = [node("Flatten", ["x"], ["f"], name="flatten"), node("Gemm", ["f", "w", "b"], ["y"], name="gemm")]
    big = [raw("w", np.ascontiguousarray(xavier(3, 4, 16).T)), raw("b", b)]
    add(
        "flatten",
        "Flatten of 1x4x4 images",
        lib.model("flatten", flat, *ends([1, 4, 4], 4), big),
        [(16, 4, "linear")],
        [ROWS, 1, 4, 4],
    )
    flat1 = [node("Flatten", ["x"], ["f"], name="flatten", axis=1), node("Gemm", ["f", "w", "b"], ["y"], name="gemm")]
    add("flatten_same", "Flatten of what is flat", lib.model("flatten_same", flat1, x, y, weights), linear)
    return cases


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def bad() -> list[Case]:
    """Files that must be refused, with words of which the message must have one."""
    cases: list[Case] = []
    x, y = [info("in9", ["rows", 6])], [info("out9", ["rows", 4])]
    w, b = np.ascontiguousarray(xavier(1, 4, 6).T), fill(2, 4, scale=0.5)
    tensors = [raw("wt9", w), raw("bs9", b)]

    def add(name: str, shows: str, made: onnx.ModelProto | bytes, *says: str) -> None:
        cases.append(Case(name, shows, made if isinstance(made, bytes) else lib.model_bytes(made), says=list(says)))

    def graph(name: str, shows: str, nodes: Sequence[onnx.NodeProto], says: Sequence[str], **parts: Any) -> None:
        made = lib.model(
            name,
            nodes,
            parts.get("x", x),
            parts.get("y", y),
            parts.get("tensors", tensors),
            parts.get("opset", lib.OPSET),
        )
        add(name, shows, made, *says)

    def gemm(
        ins: Sequence[str] = ("in9", "wt9", "bs9"), out: str = "out9", name: str = "gemm", **attributes: Any
    ) -> onnx.NodeProto:
        return node("Gemm", list(ins), [out], name=name, **attributes)

    # Operators
    image_x, image_y = [info("in9", ["rows", 1, 8, 8])], [info("out9", ["rows", 2, 6, 6])]
    kernel = [raw("wt9", fill(5, 2, 1, 3, 3))]
    graph(
        "conv",
        "a convolution",
        [node("Conv", ["in9", "wt9"], ["out9"], name="conv0")],
        ["conv0"],
        x=image_x,
        y=image_y,
        tensors=kernel,
    )
    graph(
        "erf",
        "an operator of ONNX that is not supported",
        [gemm(out="mid9"), node("Erf", ["mid9"], ["out9"], name="erf0")],
        ["erf0"],
    )
    odd = node("FancyAct", ["mid9"], ["out9"], name="fancy0", domain="com.example")
    made = lib.model("foreign_domain", [gemm(out="mid9"), odd], x, y, tensors)
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    add("foreign_domain", "an operator of another domain", made, "fancy0")
    same_name = node("Relu", ["mid9"], ["out9"], name="relu0", domain="com.example")
    made = lib.model("foreign_relu", [gemm(out="mid9"), same_name], x, y, tensors)
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    add("foreign_relu", "an operator called Relu in another domain, which need not be the Relu", made, "relu0")
    then = helper.make_graph([node("Relu", ["mid9"], ["t"])], "then", [], [info("t", ["rows", 4])])
    other = helper.make_graph([node("Tanh", ["mid9"], ["e"])], "else", [], [info("e", ["rows", 4])])
    choice = node("If", ["c"], ["out9"], name="if0", then_branch=then, else_branch=other)
    graph("if", "control flow", [gemm(out="mid9"), choice], ["if0"], tensors=[*tensors, raw("c", np.array(True))])
    graph(
        "trans_a",
        "Gemm with transA",
        [gemm(transA=1)],
        ["gemm", "transA"],
        x=[info("in9", [6, 1])],
        y=[info("out9", [1, 4])],
    )
    graph(
        "softmax_axis0",
        "Softmax over the batch",
        [gemm(out="mid9"), node("Softmax", ["mid9"], ["out9"], name="soft0", axis=0)],
        ["soft0", "axis"],
    )

    # Graphs
    branch = [
        gemm(out="mid9"),
        node("Relu", ["mid9"], ["mid8"], name="relu0"),
        node("Add", ["mid9", "mid8"], ["out9"], name="join0"),
    ]
    graph("branch", "a value with two readers that meet again", branch, ["join0", "relu0", "mid9"])
    two = [*y, info("mid9", ["rows", 4])]
    graph(
        "two_outputs",
        "two graph outputs",
        [gemm(out="mid9"), node("Relu", ["mid9"], ["out9"], name="relu0")],
        ["output"],
        y=two,
    )
    both = [info("in9", ["rows", 6]), info("z", ["rows", 4])]
    graph(
        "two_inputs",
        "two graph inputs",
        [gemm(out="mid9"), node("Add", ["mid9", "z"], ["out9"], name="add0")],
        ["input", "add0"],
        x=both,
    )
    square = [raw("wt9", xavier(6, 6, 6)), raw("bs9", fill(7, 6))]
    loop = [
        gemm(("mid8", "wt9", "bs9"), "mid9", "gemm0"),
        node("Relu", ["mid9"], ["mid8"], name="relu0"),
        gemm(("mid9", "wt9", "bs9"), "out9", "gemm1"),
    ]
    graph(
        "cycle",
        "two nodes that wait for each other",
        loop,
        ["cycl", "gemm0", "order", "mid8"],
        y=[info("out9", ["rows", 6])],
        tensors=square,
    )
    graph(
        "own_input",
        "a node that reads what it writes",
        [gemm(("out9", "wt9", "bs9"))],
        ["cycl", "gemm", "out9"],
        y=[info("out9", ["rows", 6])],
        tensors=square,
    )
    graph(
        "written_twice",
        "a value that two nodes write",
        [gemm(), node("Relu", ["out9"], ["out9"], name="relu0")],
        ["relu0", "out9", "twice"],
    )
    graph("no_writer", "an output that no node writes", [gemm(out="mid9")], ["out9", "output"])
    graph("no_nodes", "a graph without nodes", [], ["out9", "empty", "node"])
    graph("missing_initializer", "weights that are not there", [gemm()], ["wt9", "gemm"], tensors=tensors[1:])
    graph(
        "weights_computed",
        "weights that are a graph value",
        [node("MatMul", ["in9", "in9"], ["out9"], name="matmul0")],
        ["matmul0"],
        x=[info("in9", [6, 6])],
        y=[info("out9", [6, 6])],
    )

    # Shapes
    graph(
        "dynamic_features",
        "an input with an unknown number of features",
        [node("Relu", ["in9"], ["out9"], name="relu0")],
        ["in9", "dim", "relu0"],
        x=[info("in9", ["rows", "features"])],
        y=[info("out9", ["rows", "features"])],
    )
    graph(
        "dynamic_flatten",
        "images of unknown size",
        [node("Flatten", ["in9"], ["mid7"], name="flatten0"), gemm(("mid7", "wt9", "bs9"))],
        ["in9", "dim", "flatten0"],
        x=[info("in9", ["rows", "h", "wt9"])],
    )
    graph(
        "no_shape",
        "an input without a shape",
        [node("Relu", ["in9"], ["out9"], name="relu0")],
        ["in9", "shape", "relu0"],
        x=[info("in9", None)],
        y=[info("out9", None)],
    )
    graph(
        "rank3",
        "a product over the last of three axes",
        [node("MatMul", ["in9", "wt9"], ["out9"], name="matmul0")],
        ["matmul0", "in9", "rank", "dim"],
        x=[info("in9", ["rows", 5, 6])],
        y=[info("out9", ["rows", 5, 4])],
    )
    graph(
        "zero_dim",
        "a weight without rows",
        [gemm()],
        ["in9", "wt9", "gemm", "dim"],
        x=[info("in9", ["rows", 0])],
        tensors=[raw("wt9", w[:0]), tensors[1]],
    )
    graph("mismatch", "weights for another number of inputs", [gemm()], ["gemm"], x=[info("in9", ["rows", 7])])
    graph(
        "mismatch_chain",
        "a second layer that does not fit the first",
        [gemm(out="mid9", name="gemm0"), gemm(("mid9", "wt9", "bs9"), name="gemm1")],
        ["gemm1"],
    )
    graph(
        "mismatch_bias",
        "a bias of another length",
        [gemm()],
        ["gemm", "bs9"],
        tensors=[tensors[0], raw("bs9", fill(8, 5))],
    )
    wide = TensorProto(name="wt9", data_type=TensorProto.FLOAT, dims=[1, 4097], raw_data=bytes(4 * 4097))
    graph(
        "too_wide",
        "a layer of 4097 outputs",
        [node("MatMul", ["in9", "wt9"], ["out9"], name="matmul0")],
        ["4096", "4097"],
        x=[info("in9", ["rows", 1])],
        y=[info("out9", ["rows", 4097])],
        tensors=[wide],
    )

    # Numbers
    def numbers(name: str, shows: str, says: Sequence[str], **tensor: Any) -> None:
        t = TensorProto(
            name="wt9", **{"data_type": TensorProto.FLOAT, "dims": [6, 4], "raw_data": w.tobytes(), **tensor}
        )
        graph(name, shows, [gemm()], says, tensors=[t, tensors[1]])

    half = {"data_type": TensorProto.FLOAT16, "raw_data": w.astype(np.float16).tobytes()}
    numbers("float16", "16-bit weights", ["wt9", "float16", "f16"], **half)
    numbers(
        "float64",
        "64-bit weights",
        ["wt9", "float64", "f64", "double"],
        data_type=TensorProto.DOUBLE,
        raw_data=w.astype(np.float64).tobytes(),
    )
    numbers("int8", "integer weights", ["wt9", "int8", "i8"], data_type=TensorProto.INT8, raw_data=bytes(24))
    numbers("undefined_type", "weights of element type 0", ["wt9", "type"], data_type=0)
    numbers("unknown_type", "weights of an element type that does not exist", ["wt9", "type"], data_type=9999)
    numbers("short_data", "fewer bytes than the dims say", ["wt9"], raw_data=w.tobytes()[:-4])
    numbers("long_data", "more bytes than the dims say", ["wt9"], raw_data=w.tobytes() + bytes(4))
    numbers("ragged_data", "a number of bytes that 4 does not divide", ["wt9"], raw_data=w.tobytes()[:-1])
    numbers("no_data", "dims and no data", ["wt9"], raw_data=b"")
    numbers("negative_dim", "a dim of -4", ["wt9"], dims=[-6, -4])
    numbers("overflow_dims", "dims whose product overflows 64 bits", ["wt9"], dims=[1 << 33, 1 << 33])
    for name, shows, value in (
        ("nan_weight", "a weight that is no number", np.nan),
        ("infinite_weight", "an infinite weight", np.inf),
        ("huge_weight", "a weight that Q16.16 cannot hold", 40000.0),
    ):
        odd_w = w.copy()
        odd_w[2, 3] = value
        numbers(name, shows, ["wt9"], raw_data=odd_w.tobytes())
    graph("huge_alpha", "a weight that alpha makes too large", [gemm(alpha=1e6)], ["wt9", "gemm", "alpha"])
    graph("nan_alpha", "an alpha that is no number", [gemm(alpha=float("nan"))], ["wt9", "gemm", "alpha"])
    nan_slope = node("LeakyRelu", ["mid9"], ["out9"], name="leaky0", alpha=float("nan"))
    graph("nan_slope", "a slope that is no number", [gemm(out="mid9"), nan_slope], ["leaky0", "alpha", "slope"])
    outside = TensorProto(name="wt9", data_type=TensorProto.FLOAT, dims=[6, 4], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="../../../../etc/hostname")
    graph("external_data", "weights in another file", [gemm()], ["wt9", "external"], tensors=[outside, tensors[1]])

    # Files
    whole = lib.model_bytes(lib.model("whole", [gemm()], x, y, tensors))
    add("empty", "no bytes", b"", "empty", "graph", "onnx")
    add("truncated", "half a file", whole[: len(whole) // 2])
    add("garbage", "bytes that are no ONNX", bytes(np.random.PCG64(9).random_raw(32).astype("<u8").tobytes()))
    add("text", "a text file", b"SPDX-License-Identifier: GPL-2.0\n")
    add("endless_field", "a field that says it is 2^63 bytes long", b"\x3a" + _varint(1 << 63) + whole[2:])
    no_graph = onnx.ModelProto(ir_version=lib.IR_VERSION, opset_import=[helper.make_opsetid("", lib.OPSET)])
    add("no_graph", "a model without a graph", no_graph, "graph", "node", "input", "output")
    return cases


def manifest_bytes(manifest: dict[str, dict[str, Any]]) -> bytes:
    """The manifest with one case a line."""
    parts = []
    for group, cases in manifest.items():
        lines = ",\n".join(f"\t\t{json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
        parts.append(f"\t{json.dumps(group)}: {{\n{lines}\n\t}}")
    return ("{\n" + ",\n".join(parts) + "\n}\n").encode("ascii")


def make() -> dict[str, bytes]:
    """All files by path relative to this directory."""
    files: dict[str, bytes] = {}
    manifest: dict[str, dict[str, Any]] = {"ok": {}, "refuse": {}}
    for seed, case in enumerate(good(), start=1000):
        assert case.layers is not None and case.input_shape is not None
        rows = inputs_for(seed, case.input_shape)
        answers = lib.run_onnx(case.data, rows)
        files[f"onnx/ok/{case.name}.onnx"] = case.data
        files[f"onnx/ok/{case.name}_input.npy"] = lib.npy_bytes(rows.reshape(len(rows), -1))
        files[f"onnx/ok/{case.name}_output.npy"] = lib.npy_bytes(answers)
        manifest["ok"][case.name] = {"shows": case.shows, "layers": case.layers}
    for case in bad():
        files[f"onnx/refuse/{case.name}.onnx"] = case.data
        manifest["refuse"][case.name] = {"shows": case.shows, "says": case.says}
    files["onnx/manifest.json"] = manifest_bytes(manifest)
    return files


if __name__ == "__main__":
    sys.exit(
        lib.write_or_check(
            "Write the small ONNX files that test the converter.",
            Path(__file__).resolve().parent,
            make,
            lambda name: name.startswith("onnx/"),
        )
    )
