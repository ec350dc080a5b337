# SPDX-License-Identifier: GPL-2.0
"""A small graph: written as a .tflite file, run by TensorFlow Lite Micro, written down with its answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite_ref
from tflite_micro.python.tflite_micro import runtime
from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as schema

Array = npt.NDArray[Any]
Options = dict[str, Any]

TYPES: dict[str, tuple[int, type]] = {
    "f32": (schema.TensorType.FLOAT32, np.float32),
    "i8": (schema.TensorType.INT8, np.int8),
    "i16": (schema.TensorType.INT16, np.int16),
    "i32": (schema.TensorType.INT32, np.int32),
    "u8": (schema.TensorType.UINT8, np.uint8),
}
WINDOW = {"padding": "padding", "stride_w": "strideW", "stride_h": "strideH", "activation": "fusedActivationFunction"}
DILATION = {"dilation_w": "dilationWFactor", "dilation_h": "dilationHFactor"}
POOL = WINDOW | {"filter_w": "filterWidth", "filter_h": "filterHeight"}
ACTIVATION = {"activation": "fusedActivationFunction"}
#: Operator: the table of its options, and which of our names is which field.
OPTIONS: dict[str, tuple[str, dict[str, str]]] = {
    "FULLY_CONNECTED": ("FullyConnectedOptions", ACTIVATION | {"keep_num_dims": "keepNumDims"}),
    "CONV_2D": ("Conv2DOptions", WINDOW | DILATION),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", WINDOW | DILATION | {"depth_multiplier": "depthMultiplier"}),
    "AVERAGE_POOL_2D": ("Pool2DOptions", POOL),
    "MAX_POOL_2D": ("Pool2DOptions", POOL),
    "ADD": ("AddOptions", ACTIVATION),
    "SUB": ("SubOptions", ACTIVATION),
    "MUL": ("MulOptions", ACTIVATION),
    "CONCATENATION": ("ConcatenationOptions", ACTIVATION | {"axis": "axis"}),
    "RESHAPE": ("ReshapeOptions", {"new_shape": "newShape"}),
    "SQUEEZE": ("SqueezeOptions", {"dims": "squeezeDims"}),
    "MEAN": ("ReducerOptions", {"keep_dims": "keepDims"}),
    "SOFTMAX": ("SoftmaxOptions", {"beta": "beta"}),
    "LEAKY_RELU": ("LeakyReluOptions", {"alpha": "alpha"}),
    "GELU": ("GeluOptions", {"approximate": "approximate"}),
    "STRIDED_SLICE": (
        "StridedSliceOptions",
        {
            "begin_mask": "beginMask",
            "end_mask": "endMask",
            "ellipsis_mask": "ellipsisMask",
            "new_axis_mask": "newAxisMask",
            "shrink_axis_mask": "shrinkAxisMask",
        },
    ),
    "SPLIT": ("SplitOptions", {"splits": "numSplits"}),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (
        "UnidirectionalSequenceLSTMOptions",
        ACTIVATION | {"cell_clip": "cellClip", "proj_clip": "projClip", "time_major": "timeMajor"},
    ),
    "BATCH_MATMUL": ("BatchMatMulOptions", {"adj_x": "adjX", "adj_y": "adjY"}),
    "RESIZE_NEAREST_NEIGHBOR": (
        "ResizeNearestNeighborOptions",
        {"align_corners": "alignCorners", "half_pixel_centers": "halfPixelCenters"},
    ),
}


@dataclass
class Tensor:
    """A tensor; `scale` is empty where it is not quantised."""

    dtype: str
    shape: list[int]
    scale: list[float] = field(default_factory=list)
    zero: int = 0
    axis: int = 0
    data: Array | None = None
    variable: bool = False


@dataclass
class Op:
    """An operator; an input of -1 is one that is left out."""

    kind: str
    ins: list[int]
    outs: list[int]
    options: Options
    intermediates: list[int]


class Graph:
    """See the top of the file."""

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.ins: list[int] = []
        self.outs: list[int] = []
        #: Values that the first input takes, instead of random ones.
        self.samples: list[Array] = []

    def tensor(self, dtype: str, shape: Any, scale: Any = (), zero: int = 0, **more: Any) -> int:
        """Adds a tensor and gives its number; scales are rounded to float32."""
        scales = [float(np.float32(s)) for s in np.atleast_1d(np.asarray(scale, np.float64))]
        self.tensors.append(Tensor(dtype, [int(d) for d in shape], scales, zero, **more))
        return len(self.tensors) - 1

    def const(self, dtype: str, data: Any, scale: Any = (), axis: int = 0, zero: int = 0) -> int:
        """Adds a tensor whose values are known."""
        array = np.asarray(data, TYPES[dtype][1])
        return self.tensor(dtype, array.shape, scale, zero, data=array, axis=axis)

    def input(self, dtype: str, shape: Any, scale: Any = (), zero: int = 0) -> int:
        """Adds an input of the graph."""
        self.ins.append(self.tensor(dtype, shape, scale, zero))
        return self.ins[-1]

    def op(
        self, kind: str, ins: list[int], outs: list[int], intermediates: list[int] | None = None, **options: Any
    ) -> int:
        """Adds an operator; what it writes is an output of the graph until something reads it."""
        self.ops.append(Op(kind, ins, outs, options, intermediates or []))
        self.outs = [t for t in self.outs if t not in ins] + outs
        return outs[0]

    def retype(self, number: int, dtype: str) -> None:
        """Gives a tensor another type, without scales."""
        t = self.tensors[number]
        t.dtype, t.scale = dtype, []
        if t.data is not None:
            t.data = t.data.astype(TYPES[dtype][1])

    def tflite(self, spoil: Callable[[Any], None] | None = None) -> bytes:
        """The file; `spoil` changes the model before it is written."""
        model = schema.ModelT()
        model.version = 3
        model.description = b""
        model.buffers = [schema.BufferT()]
        model.operatorCodes = []
        sub = schema.SubGraphT()
        sub.name = b"g"
        sub.tensors = [self._tensor(model, i, t) for i, t in enumerate(self.tensors)]
        sub.inputs, sub.outputs = np.array(self.ins, np.int32), np.array(self.outs, np.int32)
        sub.operators = []
        codes: list[str] = []
        for op in self.ops:
            if op.kind not in codes:
                codes.append(op.kind)
                code = schema.OperatorCodeT()
                code.builtinCode = getattr(schema.BuiltinOperator, op.kind)
                code.deprecatedBuiltinCode = min(code.builtinCode, 127)
                code.version = 1
                model.operatorCodes.append(code)
            sub.operators.append(self._op(op, codes.index(op.kind)))
        model.subgraphs = [sub]
        if spoil:
            spoil(model)
        builder = flatbuffers.Builder(1 << 12)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    @staticmethod
    def _tensor(model: Any, number: int, t: Tensor) -> Any:
        made = schema.TensorT()
        made.name = f"t{number}".encode()
        made.shape = np.array(t.shape, np.int32)
        made.type = TYPES[t.dtype][0]
        made.isVariable = t.variable
        made.hasRank = True
        made.buffer = 0
        if t.data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(t.data.tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        if t.scale:
            q = schema.QuantizationParametersT()
            q.scale = np.array(t.scale, np.float32)
            q.zeroPoint = np.full(len(t.scale), t.zero, np.int64)
            q.quantizedDimension = t.axis
            made.quantization = q
        return made

    @staticmethod
    def _op(op: Op, code: int) -> Any:
        made = schema.OperatorT()
        made.opcodeIndex = code
        made.inputs, made.outputs = np.array(op.ins, np.int32), np.array(op.outs, np.int32)
        if op.intermediates:
            made.intermediates = np.array(op.intermediates, np.int32)
        if op.kind in OPTIONS:
            table, fields = OPTIONS[op.kind]
            options = getattr(schema, f"{table}T")()
            for key, value in op.options.items():
                if key == "padding":
                    value = getattr(schema.Padding, value)
                elif key == "activation":
                    value = getattr(schema.ActivationFunctionType, value)
                elif isinstance(value, list):
                    value = np.array(value, np.int32)
                setattr(options, fields[key], value)
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, table)
        return made

    def answers(self, file: bytes, runs: list[list[Array]]) -> list[dict[int, Array]]:
        """Every tensor that is computed, for each run, from TensorFlow Lite Micro."""
        keep = runtime.InterpreterConfig.kPreserveAllTensors
        micro = runtime.Interpreter.from_bytes(file, arena_size=4 << 20, intrepreter_config=keep)
        all_values = []
        for run in runs:
            micro.reset()
            for i, value in enumerate(run):
                micro.set_input(value, i)
            micro.invoke()
            values = dict(zip(self.ins, run, strict=True))
            for op in self.ops:
                for t in op.outs:
                    got = micro.get_output(self.outs.index(t)) if t in self.outs else micro.GetTensor(t, 0)
                    values[t] = np.array(got["tensor_data"] if isinstance(got, dict) else got).reshape(
                        self.tensors[t].shape
                    )
            all_values.append(values)
        return all_values

    def check(self, name: str, values: dict[int, Array]) -> bool:
        """Whether our own reading gives the same; True also where there is none."""
        good = True
        for op in self.ops:
            out = self.tensors[op.outs[0]]
            ins = [self.tensors[i] if i >= 0 else None for i in op.ins]
            if out.dtype != "i8" or ins[0] is None or ins[0].dtype != "i8":
                continue
            known = [None if i < 0 else values.get(i, self.tensors[i].data) for i in op.ins]
            mine = tflite_ref.run(op.kind, op.options, ins, known, out)
            if mine is not None and not (mine == values[op.outs[0]]).all():
                wrong = int((mine != values[op.outs[0]]).sum())
                print(f"{name}: {op.kind}: {wrong} of {mine.size} values are not those of our own reading")
                good = False
        return good

    def gold(self, all_values: list[dict[int, Array]]) -> bytes:
        """The graph and its answers, see README."""
        lines = ["neural-golden 1"]
        for i, t in enumerate(self.tensors):
            kind = "const" if t.data is not None else "state" if t.variable else "input" if i in self.ins else "inner"
            if kind == "inner" and i in self.outs:
                kind = "output"
            if i in {k for op in self.ops for k in op.intermediates}:
                kind = "none"
            shape = ",".join(map(str, t.shape)) or "-"
            line = f"tensor {i} {t.dtype} {shape} {kind}"
            if t.scale:
                bits = ",".join(f"{int(np.float32(s).view(np.uint32)):08x}" for s in t.scale)
                line += f" zero={t.zero} axis={t.axis} scale={bits}"
            lines.append(line)
        for op in self.ops:
            words = [f"op {op.kind} in={','.join(map(str, op.ins))} out={','.join(map(str, op.outs))}"]
            words += [f"{key}={_word(value)}" for key, value in op.options.items()]
            lines.append(" ".join(words))
            ins = [self.tensors[i] if i >= 0 else None for i in op.ins]
            derived = {}
            if all(t is None or t.dtype != "f32" for t in [*ins, self.tensors[op.outs[0]]]):
                derived = tflite_ref.derive(op.kind, op.options, ins, self.tensors[op.outs[0]])
            lines += [f"param {key} {','.join(map(str, value))}" for key, value in derived.items()]
        lines.append(f"runs {len(all_values)}")
        parts = ["\n".join(lines).encode() + b"\n\n"]
        parts += [t.data.tobytes() for t in self.tensors if t.data is not None]
        for values in all_values:
            parts += [values[i].astype(TYPES[self.tensors[i].dtype][1]).tobytes() for i in sorted(values)]
        return b"".join(parts)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{int(np.float32(value).view(np.uint32)):08x}"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
