#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Time the engine and its peers on the same networks, one thread, one core, in one run. `run.sh` calls this.

Each engine is a process of its own that waits for orders; one works at a time. A round times every case with every
engine for a few milliseconds, one engine after another, so that whatever else the machine does meets all of them alike.
The minimum is over all rounds, the median is the median of the rounds' medians. Before anything is timed, every engine
must give the same answer to the same input.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import models

OURS = "neural"
#: How far answers may be apart. Q16.16 and float32 differ; a wrong network differs by more.
AGREEMENT = 2.0**-8


class Engine:
    """A process that answers a line with a line of JSON."""

    def __init__(self, name: str, dtype: str, command: list[str], core: int, log: Path) -> None:
        self.name, self.dtype, self.log = name, dtype, log

        def pin() -> None:
            os.sched_setaffinity(0, {core})
            with contextlib.suppress(OSError):
                os.nice(-10)

        pipe = subprocess.PIPE
        with log.open("w") as errors:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, text=True, preexec_fn=pin)

    def ask(self, line: str) -> Any:
        """The answer to an order."""
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            said = self.log.read_text().strip().splitlines() or ["nothing"]
            sys.exit(f"error: {self.name} died of {line!r}, status {self.process.wait()}, saying: {said[-1]}")
        return json.loads(reply)

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@dataclass
class Timing:
    """What the rounds measured."""

    minima: list[float] = field(default_factory=list)
    medians: list[float] = field(default_factory=list)

    @property
    def min_ns(self) -> float:
        return min(self.minima)

    @property
    def med_ns(self) -> float:
        return statistics.median(self.medians)


def check(engines: list[Engine]) -> float:
    """Compare all answers with ours; gives the largest difference."""
    worst = 0.0
    for case in models.CASES:
        ours, *others = [engine.ask(f"answer {case.name}") for engine in engines]
        for engine, answer in zip(engines[1:], others, strict=True):
            if len(answer) != len(ours):
                sys.exit(f"error: {case.name}: {engine.name} gives {len(answer)} values, {OURS} {len(ours)}")
            off = max(abs(a - b) for a, b in zip(ours, answer, strict=True))
            if not off < AGREEMENT:
                sys.exit(
                    f"error: {case.name}: {engine.name} and {OURS} are {off} apart: they do not run the same network"
                )
            worst = max(worst, off)
    return worst


def nanoseconds(value: float) -> str:
    """Three digits that count."""
    return f"{value:.1f} ns" if value < 100 else f"{value:.0f} ns" if value < 1000 else f"{value / 1000:.2f} us"


def cpu_model() -> str:
    """As the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def cpu_family() -> str:
    """Family, model and stepping, because virtual machines are vague about names."""
    text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    values = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in text.splitlines())}
    return ", ".join(f"{k} {values[k]}" for k in ("cpu family", "model", "stepping") if k in values)


def table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown, numbers to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Time the engine beside ONNX Runtime and LiteRT.")
    parser.add_argument("--ours", required=True, metavar="PROGRAM", help="the built neural-bench")
    parser.add_argument("--models", required=True, type=Path, metavar="DIR", help="where to write the networks")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write JSON lines to FILE")
    parser.add_argument("--rounds", type=int, default=25, help="rounds of all cases and engines (default: %(default)s)")
    parser.add_argument(
        "--ms", type=int, default=30, help="milliseconds a case, engine and round (default: %(default)s)"
    )
    parser.add_argument(
        "--core", type=int, default=max(os.sched_getaffinity(0)), help="core to work on (default: the last)"
    )
    parser.add_argument("--build", default="", help="a line on how PROGRAM was built")
    args = parser.parse_args()
    if args.rounds < 1 or args.ms < 1:
        parser.error("--rounds and --ms are at least 1")
    if args.core not in os.sched_getaffinity(0):
        parser.error(f"--core: {args.core} is not among {sorted(os.sched_getaffinity(0))}")

    models.write(args.models)
    peer = [sys.executable, str(Path(__file__).with_name("peer.py"))]
    engines = [
        Engine(name, dtype, command, args.core, args.models / f"{name}.log")
        for name, dtype, command in (
            (OURS, "q16", [args.ours, str(args.models)]),
            ("onnxruntime", "f32", [*peer, "onnxruntime", str(args.models)]),
            ("litert", "f32", [*peer, "litert", str(args.models)]),
        )
    ]
    worst = check(engines)
    memory = {case.name: engines[0].ask(f"memory {case.name}") for case in models.CASES}
    versions = [engine.ask("version") for engine in engines[1:]]

    timings = {(case.name, engine.name): Timing() for case in models.CASES for engine in engines}
    for done in range(args.rounds):
        for case in models.CASES:
            for engine in engines:
                reply = engine.ask(f"time {case.name} {args.ms}")
                timing = timings[case.name, engine.name]
                timing.minima.append(reply["min_ns"])
                timing.medians.append(reply["med_ns"])
        if sys.stderr.isatty():
            print(f"\rround {done + 1} of {args.rounds}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    for engine in engines:
        engine.close()

    records = []
    for case in models.CASES:
        for engine in engines:
            timing = timings[case.name, engine.name]
            record = {"peer": engine.name, "case": case.name, "dtype": engine.dtype, "batch": 1}
            records.append({**record, "min_ns": timing.min_ns, "med_ns": round(timing.med_ns, 1)})
    if args.json:
        args.json.write_text("".join(json.dumps(record) + "\n" for record in records))

    print(f"CPU: {cpu_model()} ({cpu_family()}); core {args.core}, one thread; Linux {platform.release()}")
    print(f"Peers: {', '.join(versions)}; Python {platform.python_version()}")
    if args.build:
        print(f"Built: {args.build}")
    print(f"Batch 1; median (minimum) of {args.rounds} interleaved rounds of {args.ms} ms")
    print(f"All answers are within {worst:.1g} of ours\n")
    header = ["case", "MACs", "neural, Q16.16", *(f"{v}, f32" for v in versions)]
    rows = []
    for case in models.CASES:
        ours, *others = [timings[case.name, engine.name] for engine in engines]
        row = [case.name, f"{case.macs:,}", f"{nanoseconds(ours.med_ns)} ({nanoseconds(ours.min_ns)})"]
        for other in others:
            ratio = other.med_ns / ours.med_ns
            row.append(f"{nanoseconds(other.med_ns)} ({nanoseconds(other.min_ns)}), {ratio:.2f}x")
        rows.append(row)
    print(table(header, rows))
    print("\n«x»: the peer's median as a multiple of ours; below 1 the peer is faster.\n")
    rows = []
    for case in models.CASES:
        m = memory[case.name]
        rows.append([case.name, *(f"{m[k]:,}" for k in ("file_bytes", "weight_bytes", "step_bytes", "scratch_bytes"))])
    print(table(["bytes", "model file", "weights", "plan", "scratch a context"], rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
