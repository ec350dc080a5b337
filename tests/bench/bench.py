#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Time the engine and its peers on the same networks, one thread, one core, in one run. `run.sh` calls this.

Each engine is a process of its own that waits for orders; one works at a time. A round times every work with every
engine for some milliseconds, one engine after another, so that whatever else the machine does meets all of them alike.

Before anything is timed, answers are compared. Codes of the engine are those of TensorFlow Lite Micro, bit by bit, or,
without it, those of the engine's scalar code. What is in single precision agrees with LiteRT within a bound, and so do
the peers with 8-bit codes, which round in another way.

What was measured goes to a file of JSON, which report.py makes tables and a plot of.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import models
import report
from models import Item

#: How far answers in single precision may be apart, in parts of the greatest one; Q16.16 and ONNX with 8-bit codes.
FLOAT_BOUND, Q16_BOUND, CODES_BOUND = 1e-4, 2.0**-8, 0.1
#: The same where LiteRT makes codes of values at run time.
ROUNDED_BOUND = 0.02
#: How many codes peers may be off that round otherwise.
STEPS = 8
#: TensorFlow Lite Micro is timed up to so many multiply-accumulates.
TFLM_MACS = 300_000
#: Predictions with cold caches, for each work.
COLD_CALLS = 25
#: Kernels of the engine whose code for single precision is not that of another one.
FLOAT_ISAS = ("avx2", "avx512")
#: What several threads are timed with, for so many milliseconds a round.
THREADED, THREADED_MS = (("64-128-8", "i8", 1), ("dense 1024", "i8", 32), ("transformer", "f32", 1)), 50
#: Engines with 8-bit weights whose inputs and outputs are floats.
FLOATS_OUT = ("onnxruntime", "ggml")
#: The file that an engine reads, and the types that it takes.
FILE = {"neural": "nnm", "onnxruntime": "onnx", "litert": "tflite", "tflm": "tflite", "tract": "onnx"}
TYPES = {"openblas": ("f32",), "libxsmm": ("f32",), "tract": ("f32",)}

Answers = dict[str, list[float]]
Runs = dict[str, list["Engine"]]


class Engine:
    """A process that answers a line with a line of JSON."""

    def __init__(self, name: str, kind: str, command: list[str], cores: set[int], log: Path) -> None:
        self.name, self.kind, self.log = name, kind, log
        self.version = name

        def pin() -> None:
            os.sched_setaffinity(0, cores)
            with contextlib.suppress(OSError):
                os.nice(-10)

        pipe = subprocess.PIPE
        with log.open("w") as errors:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, preexec_fn=pin)

    @property
    def ours(self) -> bool:
        return self.kind == "neural"

    def ask(self, line: str) -> Any:
        """The answer to an order; an `{"error": WHY}` when it cannot be obeyed."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        reply = self.process.stdout.readline()
        return json.loads(reply) if reply else {"error": f"it died: {self.last_words()}"}

    def last_words(self) -> str:
        """What it said last on standard error."""
        return (self.log.read_text().strip().splitlines() or ["it says nothing"])[-1]

    def takes(self, item: Item, fastest: str) -> bool:
        """Whether there is a file for it, and a point in timing it."""
        if FILE.get(self.kind, "dense") not in item.files or item.dtype not in TYPES.get(self.kind, (item.dtype,)):
            return False
        if not self.ours:
            return item.group == "main" or self.kind == "litert"
        if item.dtype != "i8":
            return self.name in {"q16": ("scalar",), "f32": FLOAT_ISAS}[item.dtype]
        return item.group == "main" or self.name in ("scalar", fastest)

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def apart(a: list[float], b: list[float]) -> float:
    """The largest difference; infinite when they cannot be compared."""
    if len(a) != len(b):
        return math.inf
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


class Checker:
    """Compares answers, and counts what agreed."""

    def __init__(self) -> None:
        self.skipped: dict[str, list[str]] = defaultdict(list)
        self.steps: dict[str, float] = defaultdict(float)
        self.worst: dict[str, float] = defaultdict(float)
        self.rounded: dict[str, float] = defaultdict(float)
        self.floats: dict[tuple[str, int], list[float]] = {}
        self.exact = 0

    def answers(self, item: Item, engines: list[Engine], fastest: str) -> Answers:
        """Of all that take it."""
        found: Answers = {}
        for engine in engines:
            if engine.takes(item, fastest):
                reply = engine.ask(f"answer {item.key}")
                if isinstance(reply, dict):
                    self.skipped[f"{engine.name}: {reply['error'].replace(item.key, '...')}"].append(item.key)
                else:
                    found[engine.name] = reply
        return found

    def compare(self, item: Item, engine: Engine, got: list[float], base: list[float], to: str) -> None:
        """Ends the program if it is too far from the others."""
        size = max(map(abs, base), default=0.0) or 1.0
        if item.dtype == "i8" and engine.kind in FLOATS_OUT:
            real = [item.out_scale * (code - item.out_zero) for code in base]
            off, bound = apart(real, got), CODES_BOUND * 255 * item.out_scale
        elif item.dtype == "i8":
            off, bound = apart(base, got), 0 if engine.ours else STEPS
            self.exact += len(base) if engine.ours and off == 0 and to == "TFLite Micro" else 0
            if not engine.ours:
                self.steps[engine.name] = max(self.steps[engine.name], off)
        elif item.dtype == "q16":
            off, bound = apart(base, got), Q16_BOUND * max(size, 1.0)
        elif item.rounded:
            off, bound = apart(base, got), ROUNDED_BOUND * size
            self.rounded[engine.name] = max(self.rounded[engine.name], off / size)
        else:
            off, bound = apart(base, got), FLOAT_BOUND * size
            self.worst[engine.name] = max(self.worst[engine.name], off / size)
        if not off <= bound:
            sys.exit(f"error: {item.key}: {engine.name} is {off:g} from {to}, which is more than {bound:g}")

    def check(self, items: list[Item], engines: list[Engine], fastest: str) -> Runs:
        """Compares all; gives who runs what."""
        runs: Runs = {}
        for item in items:
            answers = self.answers(item, engines, fastest)
            runs[item.key] = [engine for engine in engines if engine.name in answers]
            first = ("TFLite Micro", "scalar") if item.dtype == "i8" else ("LiteRT",)
            to = next((name for name in (*first, *answers) if name in answers), None)
            if to is None:
                continue
            base = answers[to]
            if item.dtype == "f32":
                self.floats[item.case, item.batch] = base
            if item.dtype == "q16":
                base = self.floats.get((item.case, item.batch), base)
            for engine in runs[item.key]:
                self.compare(item, engine, answers[engine.name], base, to)
        return runs

    def lines(self) -> list[str]:
        """For the report."""
        said = []
        if self.exact:
            said.append(f"{self.exact:,} codes of the engine are those of TensorFlow Lite Micro, bit by bit")
        said += [f"{name} is up to {off:g} codes away" for name, off in self.steps.items() if name != "TFLite Micro"]
        said += [
            f"{name}, single precision: within {off:.1e} of LiteRT, as a part of the greatest number"
            for name, off in self.worst.items()
            if name != "LiteRT"
        ]
        said += [
            f"{name}, weights in int8: within {off:.1e} of LiteRT, which rounds values to 8 bits as well"
            for name, off in self.rounded.items()
            if name != "LiteRT"
        ]
        return said + [f"skipped: {why} ({', '.join(keys)})" for why, keys in self.skipped.items()]


def measure(items: list[Item], runs: Runs, rounds: int, ms: int) -> dict[str, dict[str, dict[str, Any]]]:
    """All rounds: for each work and engine the minimum, and the median of each round."""
    times: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for done in range(rounds):
        for item in items:
            for engine in runs[item.key]:
                if engine.kind == "tflm" and item.macs * item.batch > TFLM_MACS:
                    continue
                reply = engine.ask(f"time {item.key} {ms}")
                if "error" in reply:
                    sys.exit(f"error: {engine.name}: {reply['error']}")
                known = times[item.key].setdefault(engine.name, {"min": math.inf, "medians": []})
                known["min"] = min(known["min"], reply["min_ns"])
                known["medians"].append(reply["med_ns"])
        if sys.stderr.isatty():
            print(f"\rround {done + 1} of {rounds}", end="", file=sys.stderr, flush=True)
    return times


def cold(items: list[Item], runs: Runs, fastest: str, calls: int) -> dict[str, float]:
    """One prediction after the caches were overwritten, by the fastest kernels of the engine."""
    found = {}
    for item in items:
        ours = [engine for engine in runs[item.key] if engine.ours and (item.dtype != "i8" or engine.name == fastest)]
        if item.batch == 1 and item.group == "main" and ours:
            found[item.key] = ours[-1].ask(f"cold {item.key} {calls}")["med_ns"]
    return found


def threads(items: list[Item], command: list[str], rounds: int, log: Path) -> list[dict[str, Any]]:
    """Predictions in a second by as many threads, on as many cores."""
    cores = sorted(os.sched_getaffinity(0), reverse=True)
    counts = sorted({1, len(cores)} | {2**n for n in range(10) if 2**n < len(cores)})
    engines = {n: Engine("threads", "neural", command, set(cores[:n]), log) for n in counts}
    wanted = [i for i in items if (i.case, i.dtype, i.batch) in THREADED and "nnm" in i.files]
    rates: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for item in wanted:
            for n, engine in engines.items():
                reply = engine.ask(f"threads {item.key} {n} {THREADED_MS}")
                rates[item.key, n].append(reply.get("per_second", math.nan))
    for engine in engines.values():
        engine.close()
    return [
        {"key": i.key, "threads": n, "per_second": statistics.median(rates[i.key, n])} for i in wanted for n in counts
    ]


def convert(items: list[Item], directory: Path, program: str | None) -> list[str]:
    """Makes model files of the .tflite files that models.py does not write any for."""
    said = []
    for item in items:
        if "nnm" in item.files or "tflite" not in item.files:
            continue
        target = directory / f"{item.stem}.nnm"
        if program is None:
            said.append(f"skipped: neural {item.key}: there is no neuralctl")
            continue
        command = [program, "convert", str(directory / f"{item.key}.tflite"), "-o", str(target)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode == 0 and target.exists():
            item.files.append("nnm")
        else:
            why = (done.stderr.replace(f"{directory}/", "").strip().splitlines() or ["it says nothing"])[-1]
            said.append(f"skipped: neural {item.key}: {why}")
    return said


def start(args: argparse.Namespace, isas: list[str]) -> tuple[list[Engine], list[str]]:
    """All engines that there are."""
    directory, said, engines = args.models, [], []
    peer = [sys.executable, str(Path(__file__).with_name("peer.py"))]
    wanted = [(isa, "neural", [args.ours, str(directory), isa]) for isa in isas]
    for name, kind in (("LiteRT", "litert"), ("ONNX Runtime", "onnxruntime"), ("TFLite Micro", "tflm")):
        wanted.append((name, kind, [*peer, kind, str(directory)]))
    for name, program, library in args.library:
        wanted.append((name, name.lower(), [program, library, str(directory)]))
    for name, kind, command in wanted:
        engine = Engine(name, kind, command, {args.core}, directory / f"{kind}-{name.replace(' ', '-')}.log")
        if not engine.ours:
            reply = engine.ask("version")
            if isinstance(reply, dict):
                said.append(f"skipped: {name}: {reply['error']}")
                engine.close()
                continue
            engine.version = reply
        engines.append(engine)
    return engines, said


def cpu() -> str:
    """As the kernel names it; family, model and stepping because virtual machines are vague about names."""
    text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    values = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}
    numbers = ", ".join(f"{k} {values[k]}" for k in ("cpu family", "model", "stepping") if k in values)
    return f"{values.get('model name', platform.machine())} ({numbers})"


def peak(program: str, core: int) -> Any:
    """What a core does at best, as neural-machine measures it."""

    def pin() -> None:
        os.sched_setaffinity(0, {core})

    done = subprocess.run([program], stdout=subprocess.PIPE, text=True, check=True, preexec_fn=pin, timeout=120)
    return json.loads(done.stdout)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time the engine beside what runs networks in user space.")
    parser.add_argument("--ours", required=True, metavar="PROGRAM", help="the built neural-bench")
    parser.add_argument("--machine", required=True, metavar="PROGRAM", help="the built neural-machine")
    parser.add_argument("--neuralctl", metavar="PROGRAM", help="converts models that come as .tflite")
    parser.add_argument(
        "--library", nargs=3, action="append", default=[], metavar=("NAME", "PROGRAM", "LIBRARY"), help="a built peer"
    )
    parser.add_argument("--models", required=True, type=Path, metavar="DIR", help="where to write the networks")
    parser.add_argument("--json", required=True, type=Path, metavar="FILE", help="where to write what was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a plot to FILE, as SVG")
    parser.add_argument("--icount", type=Path, metavar="FILE", help="what icount.sh printed")
    parser.add_argument("--publish", action="store_true", help="replace the tables and the plot of the documentation")
    parser.add_argument("--rounds", type=int, default=31, help="rounds of all works and engines (default: %(default)s)")
    parser.add_argument(
        "--ms", type=int, default=15, help="milliseconds a work, engine and round (default: %(default)s)"
    )
    parser.add_argument("--quick", action="store_true", help="two rounds of 3 ms, to see whether all works")
    parser.add_argument(
        "--core", type=int, default=max(os.sched_getaffinity(0)), help="core to work on (default: the last)"
    )
    parser.add_argument("--said", action="append", default=[], help="a line for the report")
    parser.add_argument("--build", default="", help="a line on how PROGRAM was built")
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.ms = 2, 3
    if args.rounds < 1 or args.ms < 1:
        parser.error("--rounds and --ms are at least 1")
    if args.core not in os.sched_getaffinity(0):
        parser.error(f"--core: {args.core} is not among {sorted(os.sched_getaffinity(0))}")
    return args


def main() -> int:
    """Set up, check, measure, report."""
    args = arguments()
    begun, load = time.monotonic(), os.getloadavg()[0]
    data = os.environ.get("NEURAL_DATA")
    items = models.write(args.models, Path(data) if data else None)
    said = args.said + convert(items, args.models, args.neuralctl)
    if any(not item.files for item in items):
        said.append("skipped: MLPerf Tiny: NEURAL_DATA does not name a directory that has its models")
    isas = subprocess.run([args.ours], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    fastest = isas[-1]
    engines, more = start(args, isas)
    checker = Checker()
    runs = checker.check(items, engines, fastest)
    machine = peak(args.machine, args.core)
    times = measure(items, runs, args.rounds, args.ms)
    after = cold(items, runs, fastest, 3 if args.quick else COLD_CALLS)
    memory = {i.key: engines[0].ask(f"memory {i.key}") for i in items if "nnm" in i.files and i.batch == 1}
    scaling = threads(items, [args.ours, str(args.models), fastest], args.rounds, args.models / "threads.log")
    for engine in engines:
        engine.close()
    results = {
        "cpu": cpu(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "core": args.core,
        "load": load,
        "rounds": args.rounds,
        "ms": args.ms,
        "build": args.build,
        "isas": isas,
        "peers": {engine.name: engine.version for engine in engines if not engine.ours},
        "said": [*checker.lines(), *said, *more],
        "machine": machine,
        "items": [{**asdict(i), "times": times[i.key], "cold": after.get(i.key)} for i in items],
        "memory": memory,
        "threads": scaling,
        "icount": [line.split() for line in args.icount.read_text().splitlines()] if args.icount else [],
        "seconds": round(time.monotonic() - begun),
    }
    args.json.write_text(json.dumps(results, indent=1) + "\n")
    report.show(results)
    if args.plot:
        report.plot(results, args.plot)
    if args.publish:
        report.publish(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
