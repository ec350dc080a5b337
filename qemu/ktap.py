#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Judge the logs of a guest: every KTAP document in them, and the kernel's own complaints.

A log holds several KTAP documents: the kernel prints one for its own suites and one for each
module with suites, and every guest script prints its own. kunit.py parses the first only and
calls that success. This one splits a log at each top-level "KTAP version 1", checks every plan,
and fails as well when an expected suite or script is missing, when the kernel warned, or when
it is tainted by more than a module from outside the tree.

Prints one line for each failure with the lines around it, then "N passed, M failed, K skipped";
the exit status says whether anything failed.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

# A module from outside the tree (O) without a signature (E).
TAINT_MODULE = 1 << 12 | 1 << 13
# KUnit tests have run (N).
TAINT_TEST = 1 << 18

TAINT_LETTERS = "PFSRMBUDAWCIOELKXTN"

SPLATS: tuple[tuple[str, str], ...] = (
    ("oops", r"Oops[: ]|general protection fault|unable to handle .*(page fault|NULL pointer)"),
    ("panic", r"Kernel panic"),
    ("lockdep", r"possible circular locking|possible recursive locking|inconsistent lock state"),
    ("lockdep", r"lock held when returning|possible irq lock inversion|bad unlock balance"),
    ("lockdep", r"DEBUG_LOCKS_WARN_ON|BUG: MAX_LOCK|turning off the locking correctness"),
    ("lockdep", r"-(safe|unsafe) -> .*-(safe|unsafe) lock order|Invalid wait context"),
    ("RCU usage", r"suspicious RCU usage|Illegal context switch in RCU"),
    ("sleep", r"sleeping function called from invalid context|scheduling while atomic"),
    ("leak", r"kmemleak: \d+ new suspected|neural-kmemleak: unreferenced object"),
    ("stall", r"rcu.*detected.*stall|rcu.*self-detected stall"),
    ("hung task", r"blocked for more than \d+ seconds"),
    ("lockup", r"soft lockup|hard LOCKUP|workqueue lockup"),
    ("UBSAN", r"UBSAN: "),
    ("KASAN", r"KASAN: |KFENCE: |KCSAN: "),
    ("list", r"list_(add|del) corruption"),
    ("slab", r"(padding|Redzone|Poison|Freepointer) (overwritten|corrupt)"),
    ("debug object", r"ODEBUG: "),
    ("preempt", r"using (smp_processor_id|__this_cpu_\w+)\(\) in preemptible"),
    ("Rust panic", r"rust_kernel: panicked at|panicked at "),
    ("refcount", r"refcount_t: "),
    ("BUG", r"kernel BUG at|^BUG[: ]"),
    ("warning", r"^WARNING: |cut here \]---"),
)
SPLAT_RE = tuple((name, re.compile(text)) for name, text in SPLATS)

PRINTK = re.compile(r"^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[\s*[TC]\d+\])? ?")
HEADER = re.compile(r"^( *)KTAP version 1$")
PLAN = re.compile(r"^( *)1\.\.(\d+)(?: # SKIP.*)?$")
RESULT = re.compile(r"^( *)(ok|not ok) (\d+)(?: (?:- )?(.*?))?(?:\s*# (SKIP|TODO)\b.*)?$")
SUBTEST = re.compile(r"^ *# Subtest: (\S+)")
SCRIPT = re.compile(r"^# script: (\S+)")
SCRIPT_END = re.compile(r"^# exit: (\d+)$")
TAINT = re.compile(r"neural-guest: taint (\d+)")
EXIT = re.compile(r"neural-guest: exit (\d+)")


@dataclass
class Level:
    """One plan and its results: a document, or a subtest in it."""

    indent: int
    name: str = ""
    plan: int | None = None
    results: int = 0
    failed: bool = False


@dataclass
class Report:
    """What the logs said."""

    passed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    documents: int = 0

    def fail(self, text: str, context: Iterable[str] = ()) -> None:
        """Record a failure, with log lines that explain it."""
        self.failures.append("\n".join([text, *(f"    {line}" for line in context)]))


class Parser:
    """Reads the lines of one log."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.stack: list[Level] = []
        # The subtest that ended last and still waits for the result line of its parent.
        self.child: Level | None = None
        self.notes: list[str] = []

    def _where(self, name: str = "") -> str:
        names = [level.name for level in self.stack if level.name]
        return "/".join([*names, name] if name else names) or "(unnamed document)"

    def _close(self) -> None:
        level = self.stack[-1]
        # KUnit prints no plan for the parameters of a parametrised test.
        if level.plan is None and level.indent >= 8:
            pass
        elif level.plan is None:
            self.report.fail(f"{self._where()}: no plan line", self.notes[-8:])
            level.failed = True
        elif level.results != level.plan:
            self.report.fail(
                f"{self._where()}: {level.plan} planned, {level.results} seen", self.notes[-8:]
            )
            level.failed = True
        self.stack.pop()
        if self.stack:
            self.child = level

    def _unwind(self, indent: int) -> None:
        while self.stack and self.stack[-1].indent > indent:
            self._orphan()
            self._close()

    def _orphan(self) -> None:
        """A subtest without the line of its parent: whoever ran it died in between."""
        if self.child is not None:
            self.report.fail(f"{self._where(self.child.name)}: no result line after it")
            self.child = None

    def _header(self, indent: int) -> None:
        if indent == 0:
            self.finish()
            self.report.documents += 1
            self.notes = []
        else:
            self._unwind(indent - 1)
            self._orphan()
        self.stack.append(Level(indent))

    def _result(self, verdict: str, number: int, name: str, directive: str) -> None:
        level = self.stack[-1]
        level.results += 1
        if number != level.results:
            self.report.fail(f"{self._where(name)}: number {number}, {level.results} expected")
            level.results = number
        child, self.child = self.child, None
        if child is not None:
            self.report.seen.add(name)
            if verdict == "ok" and child.failed:
                self.report.fail(f"{self._where(name)}: ok, but a test in it failed")
            elif verdict == "not ok" and not child.failed:
                self.report.fail(f"{self._where(name)}: not ok, but no test in it failed", self.notes)
            if child.plan == 0 and directive != "SKIP":
                self.report.fail(f"{self._where(name)}: no test in it")
            level.failed |= verdict == "not ok"
        elif directive == "SKIP":
            self.report.skipped += 1
        elif verdict == "ok":
            self.report.passed += 1
        else:
            level.failed = True
            self.report.fail(f"{self._where(name)}: not ok", self.notes[-12:])
        self.notes = []

    def line(self, text: str) -> None:
        """Take the next line, without printk's time stamp."""
        if match := HEADER.match(text):
            self._header(len(match[1]))
        elif not self.stack:
            return
        elif match := SUBTEST.match(text):
            self.stack[-1].name = self.stack[-1].name or match[1]
        elif match := SCRIPT.match(text):
            self.stack[0].name = match[1]
            self.report.seen.add(match[1])
        elif match := SCRIPT_END.match(text):
            if int(match[1]) and not self.stack[0].failed:
                self.report.fail(f"{self.stack[0].name}: exit status {match[1]}", self.notes[-12:])
        elif match := PLAN.match(text):
            self._unwind(len(match[1]))
            if self.stack[-1].plan is not None:
                self.report.fail(f"{self._where()}: a second plan line")
            self.stack[-1].plan = int(match[2])
        elif match := RESULT.match(text):
            self._unwind(len(match[1]))
            self._result(match[2], int(match[3]), (match[4] or "").strip(), match[5] or "")
        else:
            self.notes.append(text)

    def finish(self) -> None:
        """End of the log, or of the document."""
        while self.stack:
            self._orphan()
            self._close()


def lines_of(path: Path) -> Iterator[str]:
    """The lines of a log, without carriage returns and time stamps."""
    for raw in path.read_text(encoding="utf-8", errors="replace").splitlines():
        yield PRINTK.sub("", raw.rstrip("\r"))


def taint_names(taint: int) -> str:
    """The kernel's letters for a taint mask."""
    return "".join(c for i, c in enumerate(TAINT_LETTERS) if taint >> i & 1)


def judge_console(lines: list[str], allowed: int, report: Report) -> None:
    """Look for what only the kernel's own log can say."""
    quiet_until = 0
    for number, text in enumerate(lines):
        for name, pattern in SPLAT_RE:
            # A splat has many lines that match: one failure for each is enough.
            if number >= quiet_until and pattern.search(text):
                report.fail(f"kernel: {name}: {text.strip()}", lines[number + 1 : number + 25])
                quiet_until = number + 40
    taints = [int(m[1]) for text in lines if (m := TAINT.search(text))]
    if not taints:
        report.fail("kernel: the guest did not reach its end", lines[-12:])
    elif taints[-1] & ~allowed:
        report.fail(f"kernel: tainted by {taint_names(taints[-1] & ~allowed)} ({taints[-1]})")
    if not any(EXIT.search(text) for text in lines) and taints:
        report.fail("kernel: no exit status of the guest")


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", nargs="*", type=Path, help="output of guest scripts")
    parser.add_argument("--console", action="append", default=[], type=Path, help="kernel's log")
    parser.add_argument("--expect", action="append", default=[], help="a suite or script that must be there")
    parser.add_argument("--kunit", action="store_true", help="allow the taint of KUnit tests")
    parser.add_argument("--list", action="store_true", help="print the names of suites and scripts seen")
    args = parser.parse_args(argv)

    report = Report()
    for path in [*args.console, *args.log]:
        lines = list(lines_of(path))
        document = Parser(report)
        for text in lines:
            document.line(text)
        document.finish()
        if path in args.console:
            judge_console(lines, TAINT_MODULE | (TAINT_TEST if args.kunit else 0), report)
    for name in args.expect:
        if name not in report.seen:
            report.fail(f"{name}: expected, but not in the log")
    if report.passed + report.skipped == 0 and not report.failures:
        report.fail("no test ran")

    for text in report.failures:
        print(f"FAIL {text}")
    if args.list:
        print(f"seen: {' '.join(sorted(report.seen))}")
    print(f"{report.passed} passed, {len(report.failures)} failed, {report.skipped} skipped")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
