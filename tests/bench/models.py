# SPDX-License-Identifier: GPL-2.0
"""The works of the benchmark: networks, each written for every engine from one set of weights."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nnm_files
import numpy as np
import onnx_files
import special
import tflite
from networks import Array, Codes, Net, mlp, nhits, quantise, quantised
from tflite import tfl


@dataclass
class Item:
    """What is timed: a network, an element type, a batch."""

    case: str
    dtype: str
    batch: int
    #: Multiply-accumulates and bytes of weights of one prediction.
    macs: int
    weight_bytes: int
    #: Which files there are, besides the inputs.
    files: list[str] = field(default_factory=list)
    #: What a step of the output is worth, and the code of 0.0.
    out_scale: float = 0.0
    out_zero: int = 0
    #: Whether LiteRT makes codes of values in single precision, for weights that are codes.
    rounded: bool = False
    #: Whether it is a work of its own, or stands in the table of growing layers or growing batches.
    group: str = "main"

    @property
    def stem(self) -> str:
        """The name of its model file."""
        return f"{self.case.replace(' ', '-')}_{self.dtype}"

    @property
    def key(self) -> str:
        """The name of its files."""
        return f"{self.stem}_b{self.batch}"

    @property
    def label(self) -> str:
        """What it is called in tables; 64x64x64 says its batch."""
        return self.case if self.batch == 1 or self.case.count("x") == 2 else f"{self.case}, batch {self.batch}"


#: The works: for each type the batches.
NETS: list[tuple[Callable[[], Net], dict[str, tuple[int, ...]]]] = [
    (lambda: mlp("1-1", (1, 1)), {"i8": (1,), "f32": (1,), "q16": (1,)}),
    (
        lambda: mlp("5-15-5-4", (5, 15, 5, 4), ("sigmoid", "sigmoid", "linear")),
        {"i8": (1,), "f32": (1,), "q16": (1,)},
    ),
    (lambda: mlp("64-128-8", (64, 128, 8)), {"i8": (1, 32), "f32": (1,), "q16": (1,)}),
    (lambda: mlp("64-128-10", (64, 128, 10)), {"i8": (1,), "f32": (1,), "q16": (1,)}),
    (lambda: mlp("31-256-2", (31, 256, 2)), {"i8": (1,), "f32": (1,), "q16": (1,)}),
    (lambda: mlp("256-256-256", (256, 256, 256)), {"i8": (1,), "f32": (1,), "q16": (1,)}),
    (lambda: mlp("dense 256", (256, 256)), {"i8": (1, 32), "f32": (32,), "q16": (1, 32)}),
    (lambda: mlp("dense 512", (512, 512)), {"i8": (1, 32), "q16": (1,)}),
    (lambda: mlp("dense 1024", (1024, 1024)), {"i8": (1, 32), "f32": (32,), "q16": (1, 32)}),
    (nhits, {"i8": (1, 16, 32), "f32": (1, 16, 32)}),
    (lambda: mlp("64x64x64", (64, 64), biased=False), {"f32": (64,), "q16": (64,)}),
]
#: Layers that show how the time grows with their size, and batches with theirs.
GROWTH = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
#: Models of MLPerf Tiny, by the names of their files, the types, and their multiply-accumulates.
TINY = {"anomaly": ("ad01", ("i8",), 264_192), "keywords": ("kws", ("i8", "f32"), 2_656_768)}
SUFFIX = {"i8": "int8", "f32": "fp32"}

#: The goal: the engine's time as a share of the best peer's.
GOALS: dict[tuple[str, str, int], float] = {
    ("5-15-5-4", "i8", 1): 1 / 6,
    ("5-15-5-4", "f32", 1): 1 / 6,
    ("5-15-5-4", "q16", 1): 1 / 6,
    ("64-128-8", "i8", 1): 1 / 3.5,
    ("64-128-8", "f32", 1): 1 / 2.5,
    ("31-256-2", "i8", 1): 1 / 4.5,
    ("31-256-2", "f32", 1): 1 / 5,
    ("dense 256", "i8", 1): 0.65,
    ("dense 512", "i8", 1): 0.85,
    ("dense 1024", "i8", 1): 0.9,
    ("dense 256", "i8", 32): 1.0,
    ("dense 512", "i8", 32): 1.0,
    ("dense 1024", "i8", 32): 1.0,
    ("dense 256", "f32", 32): 1.0,
    ("dense 1024", "f32", 32): 1.0,
    ("LSTM 64+128", "f32", 1): 1 / 2,
    ("LSTM 64+128", "i8", 1): 1 / 6,
    ("cosine 256x64", "f32", 1): 1 / 4.5,
    ("anomaly", "i8", 1): 0.7,
    ("keywords", "i8", 1): 0.6,
    ("keywords", "f32", 1): 0.9,
    ("transformer", "f32", 1): 0.95,
    ("N-HiTS 338k", "f32", 1): 0.9,
    ("N-HiTS 338k", "i8", 1): 0.7,
    ("N-HiTS 338k", "f32", 16): 0.95,
    ("N-HiTS 338k", "i8", 16): 0.75,
    ("N-HiTS 338k", "f32", 32): 0.95,
    ("N-HiTS 338k", "i8", 32): 0.75,
    ("64x64x64", "f32", 64): 1.03,
}
#: The goal for a time, in ns an inference.
TIMES = {("64-128-8", "i8", 32): 31.0}
#: Works of which vector code is to be so many times as fast as scalar code of the same type, or else in Q16.16.
OVER_SCALAR = 10.0
VECTOR_WORKS = (
    ("dense 256", "i8", 32),
    ("dense 256", "f32", 32),
    ("64x64x64", "f32", 64),
    ("LSTM 64+128", "i8", 1),
    ("cosine 256x64", "f32", 1),
)


class Writer:
    """Writes files to a directory and lists what was written."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.items: list[Item] = []

    def path(self, item: Item, kind: str) -> Path:
        """A file of an item; the model file is one for all batches."""
        return self.directory / (f"{item.stem}.nnm" if kind == "nnm" else f"{item.key}.{kind}")

    def add(self, item: Item, files: dict[str, bytes], inputs: dict[str, Array], raw: bytes) -> None:
        """The files and the inputs of an item."""
        for kind, content in files.items():
            self.path(item, kind).write_bytes(content)
        item.files = [kind for kind in ("nnm", "tflite", "onnx", "dense") if self.path(item, kind).exists()]
        np.savez(self.directory / f"{item.key}.npz", **inputs)
        (self.directory / f"{item.key}.in").write_bytes(raw)
        self.items.append(item)

    def net(self, net: Net, batches: dict[str, tuple[int, ...]], group: str = "main") -> None:
        """A chain of layers, or a forecast. What only shows growth is written for the engine and LiteRT."""
        codes = quantise(net)
        for dtype, sizes in batches.items():
            width = {"q16": 4, "i8": 1, "f32": 4}[dtype]
            for batch in sizes:
                item = Item(net.name, dtype, batch, net.macs, width * net.parameters, group=group)
                if any(known.key == item.key for known in self.items):
                    continue
                x = np.random.default_rng(2).uniform(-1, 1, (batch, net.inputs)).astype(np.float32)
                if dtype == "q16":
                    self.add(item, {"nnm": nnm_files.floats_file(net, dtype)}, {"x": x}, fixed(x))
                    continue
                given = codes if dtype == "i8" else None
                files = {"tflite": tflite.net_file(net, given, batch)}
                if given:
                    item.out_scale, item.out_zero = codes.scales["y"]
                    files["nnm"] = nnm_files.codes_file(net, codes)
                    values = quantised(x, *codes.scales["x"])
                else:
                    files["nnm"] = nnm_files.floats_file(net, dtype)
                    values = x
                if group == "main":
                    self.peers(item, net, given, files)
                self.add(item, files, {"x": values, "floats": x}, values.tobytes())

    def peers(self, item: Item, net: Net, codes: Codes | None, files: dict[str, bytes]) -> None:
        """What ONNX Runtime and libraries of matrix products take."""
        if all(n.kind == "dense" and n.act != "sigmoid" for n in net.nodes):
            files["dense"] = nnm_files.dense_file(net, codes, item.batch)
        files["onnx"] = onnx_files.net_file(net, item.batch)
        if codes:
            source = self.directory / "source.onnx"
            source.write_bytes(files.pop("onnx"))
            onnx_files.quantise(source, self.path(item, "onnx"), (item.batch, net.inputs))
            source.unlink()

    def special(self) -> None:
        """What is no chain of layers."""
        steps = special.lstm_step("f32")
        for name, made in (
            ("LSTM 64+128", steps),
            ("cosine 256x64", special.cosine()),
            ("transformer", special.transformer()),
        ):
            files, inputs, macs, weight_bytes = made
            self.add(Item(name, "f32", 1, macs, weight_bytes), files, inputs, inputs["x"].tobytes())
        files, inputs, macs, weight_bytes = special.lstm_step("i8")
        item = Item("LSTM 64+128", "i8", 1, macs, weight_bytes, out_scale=special.LSTM_SCALE)
        source = self.directory / "source.onnx"
        source.write_bytes(files.pop("onnx"))
        onnx_files.quantise_weights(source, self.path(item, "onnx"))
        source.unlink()
        codes = quantised(inputs["x"], special.LSTM_SCALE, 0)
        self.add(item, files, {**inputs, "x": codes, "floats": inputs["x"]}, codes.tobytes())

    def tiny(self, data: Path | None) -> None:
        """Models of MLPerf Tiny, with their files if `data` has them."""
        for case, (stem, dtypes, macs) in TINY.items():
            for dtype in dtypes:
                name = f"{stem}_{SUFFIX[dtype]}.tflite"
                path = next((p for p in (data / name, data / "models" / name) if p.exists()), None) if data else None
                if path is None:
                    self.items.append(Item(case, dtype, 1, macs, 0))
                    continue
                file = path.read_bytes()
                model = tfl.ModelT.InitFromPackedBuf(file, 0)
                graph = model.subgraphs[0]
                shape = tuple(graph.tensors[graph.inputs[0]].shape)
                rng = np.random.default_rng(2)
                x = rng.integers(-128, 128, shape, np.int8) if dtype == "i8" else rng.standard_normal(shape, np.float32)
                constants = [model.buffers[t.buffer].data for t in graph.tensors]
                item = Item(case, dtype, 1, macs, sum(len(c) for c in constants if c is not None))
                weights = (graph.tensors[op.inputs[1]] for op in graph.operators if len(op.inputs) == 3)
                item.rounded = dtype == "f32" and any(t.type == tfl.TensorType.INT8 for t in weights)
                if dtype == "i8":
                    q = graph.tensors[graph.outputs[0]].quantization
                    item.out_scale, item.out_zero = float(q.scale[0]), int(q.zeroPoint[0])
                self.add(item, {"tflite": file}, {"x": x}, x.tobytes())


def fixed(x: Array) -> bytes:
    """Floats in Q16.16."""
    return np.round(x * 65536).astype("<i4").tobytes()


def write(directory: Path, data: Path | None) -> list[Item]:
    """All files; what is there already from the same sources is left alone."""
    here = Path(__file__).parent
    sources = sorted(p for p in here.glob("*.py") if p.name not in ("bench.py", "report.py", "peer.py"))
    stamp = hashlib.sha256(b"".join(p.read_bytes() for p in sources) + str(data).encode()).hexdigest()
    index = directory / "index.json"
    if index.exists():
        known = json.loads(index.read_text())
        if known["stamp"] == stamp:
            return [Item(**item) for item in known["items"]]
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    writer = Writer(directory)
    for make, batches in NETS:
        writer.net(make(), batches)
    writer.special()
    writer.tiny(data)
    for size in GROWTH:
        writer.net(mlp(f"dense {size}", (size, size)), {"i8": (1,), "f32": (1,)}, "growth")
    writer.net(mlp("64-128-8", (64, 128, 8)), {"i8": BATCHES, "f32": BATCHES}, "batch")
    index.write_text(json.dumps({"stamp": stamp, "items": [asdict(item) for item in writer.items]}))
    return writer.items


if __name__ == "__main__":
    for item in write(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None):
        print(item.key, " ".join(item.files))
