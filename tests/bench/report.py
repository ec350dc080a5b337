#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Makes tables and a plot of what bench.py measured, and puts the tables into a page of the documentation.

report.py RESULTS [--publish]

In Documentation/performance.rst, a table stands between the lines `.. begin NAME` and `.. end NAME`; what is between
them is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import models
from models import Item
from tabulate import tabulate

Row = list[str]
PAGE = Path(__file__).resolve().parents[2] / "Documentation" / "performance.rst"
#: Sizes of buffers whose loads are shown, in KiB.
SHOWN_KIB = (16, 512, 4096, 262144)


def ns(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return "-"
    for unit, factor in (("ns", 1), ("us", 1e3), ("ms", 1e6)):
        scaled = value / factor
        if scaled < 999.5 or unit == "ms":
            return f"{scaled:.{0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2}f} {unit}"
    raise AssertionError


def grid(header: Row, rows: list[Row]) -> str:
    """A simple table of reStructuredText, numbers to the right."""
    sides = ["left"] + ["right"] * (len(header) - 1)
    return str(tabulate(rows, header, tablefmt="rst", colalign=sides, disable_numparse=True))


class Results:
    """What was measured."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self.machine = data["machine"]
        self.isas: list[str] = data["isas"]
        self.peers: dict[str, str] = data["peers"]
        self.times = {}
        self.items: list[Item] = []
        self.cold = {}
        for entry in data["items"]:
            values = dict(entry)
            times, cold = values.pop("times"), values.pop("cold")
            item = Item(**values)
            self.items.append(item)
            self.times[item.key], self.cold[item.key] = times, cold

    def group(self, name: str) -> list[Item]:
        """The items of a table, all of a network together."""
        order = [item.case for item in self.items]
        return sorted((i for i in self.items if i.group == name), key=lambda i: order.index(i.case))

    def find(self, case: str, dtype: str, batch: int) -> Item | None:
        """An item, in whichever table."""
        same = (i for i in self.items if (i.case, i.dtype, i.batch) == (case, dtype, batch))
        return next(same, None)

    def median(self, item: Item | None, engine: str) -> float | None:
        """The median of the rounds' medians."""
        found = self.times[item.key].get(engine) if item else None
        return statistics.median(found["medians"]) if found else None

    def best(self, item: Item | None, names: list[str]) -> tuple[float, str] | None:
        """The least median, and whose it is."""
        found = [(m, name) for name in names if (m := self.median(item, name)) is not None]
        return min(found, default=None)

    def ours(self, item: Item | None) -> tuple[float, str] | None:
        return self.best(item, self.isas)

    def rival(self, item: Item) -> tuple[float, str, Item] | None:
        """The best peer; that of single precision for what is in Q16.16."""
        same = self.find(item.case, "f32", item.batch) if item.dtype == "q16" else item
        found = self.best(same, list(self.peers))
        return (*found, same) if found and same else None

    def ratio(self, item: Item) -> float | None:
        """The engine's time as a share of the best peer's: the median over the rounds."""
        ours, peer = self.ours(item), self.rival(item)
        if not ours or not peer:
            return None
        pairs = zip(self.times[item.key][ours[1]]["medians"], self.times[peer[2].key][peer[1]]["medians"], strict=True)
        return statistics.median(a / b for a, b in pairs)

    def bound(self, item: Item) -> float | None:
        """The least time of an item in ns: its products, or one look at each weight, whichever is longer."""
        rates = self.machine.get(item.dtype)
        if not rates or not item.weight_bytes:
            return None
        products = item.macs * item.batch / max(rates.values())
        loads = max(self.machine["loads"].values(), key=lambda curve: curve[0][1])
        rate = next((r for size, r in reversed(loads) if size <= item.weight_bytes), loads[0][1])
        return float(max(products, item.weight_bytes / rate))


def verdict(results: Results, item: Item) -> tuple[str, str]:
    """The goal, and whether it is met."""
    key = (item.case, item.dtype, item.batch)
    if key in models.TIMES:
        limit = models.TIMES[key]
        ours = results.ours(item)
        met = "-" if ours is None else "yes" if ours[0] / item.batch <= limit else "no"
        return f"{limit:g} ns each", met
    goal = models.GOALS.get(key)
    if goal is None:
        return "", ""
    ratio = results.ratio(item)
    return f"{goal:.2f}", "-" if ratio is None else "yes" if ratio <= goal else "no"


def works(results: Results) -> str:
    """All works: the engine by instruction set, the best peer, the goal and the bound."""
    rows = []
    for item in results.group("main"):
        ours, peer, ratio, bound = results.ours(item), results.rival(item), results.ratio(item), results.bound(item)
        row = [item.label, item.dtype, *(ns(results.median(item, isa)) for isa in results.isas)]
        row.append(f"{ns(peer[0])} {peer[1]}" if peer else "-")
        row.append(f"{ratio:.2f}" if ratio else "-")
        row += verdict(results, item)
        rows.append([*row, ns(bound), f"{bound / ours[0]:.0%}" if ours and bound else "-"])
    goals = [row[-3] for row in rows if row[-3]]
    header = ["work", "type", *results.isas, "best peer", "ratio", "goal", "met", "bound", "share"]
    met = f"{goals.count('yes')} of {len(goals)} goals are met"
    return f"{grid(header, rows)}\n\n{met}; {goals.count('-')} could not be measured."


def peers(results: Results) -> str:
    """All peers; what is smallest in parentheses."""
    rows = []
    for item in results.group("main"):
        times = results.times[item.key]
        cells = [
            f"{ns(results.median(item, name))} ({ns(times[name]['min'])})" if name in times else "-"
            for name in results.peers
        ]
        if item.dtype != "q16":
            rows.append([item.label, item.dtype, *cells])
    return grid(["work", "type", *results.peers], rows)


def scalar(results: Results) -> str:
    """Vector code beside scalar code of the same type, and beside Q16.16."""
    rows, goals = [], []
    for item in results.group("main"):
        vector = results.best(item, [isa for isa in results.isas if isa != "scalar"])
        if item.dtype == "q16" or vector is None:
            continue
        plain = results.median(item, "scalar")
        fixed = results.median(results.find(item.case, "q16", item.batch), "scalar")
        cells = [f"{ns(t)}, {t / vector[0]:.1f}x" if t else "-" for t in (plain, fixed)]
        rows.append([item.label, item.dtype, f"{ns(vector[0])} {vector[1]}", *cells])
        if (item.case, item.dtype, item.batch) in models.VECTOR_WORKS:
            slow = plain or fixed
            goals.append(f"{item.label}, {item.dtype}: {f'{slow / vector[0]:.1f}' if slow else '-'}")
    said = f"The goal is {models.OVER_SCALAR:g} times the speed of scalar code: {'; '.join(goals)}."
    return f"{grid(['work', 'type', 'vector code', 'scalar, same type', 'scalar, q16'], rows)}\n\n{said}"


def cold(results: Results) -> str:
    """One prediction after all caches were overwritten."""
    rows = []
    for item in results.group("main"):
        ours, after = results.ours(item), results.cold[item.key]
        if ours and after:
            row = [item.label, item.dtype, f"{item.weight_bytes:,}", ns(ours[0]), ns(after), f"{after / ours[0]:.1f}"]
            rows.append(row)
    return grid(["work", "type", "bytes of weights", "hot", "cold", "cold / hot"], rows)


def batch(results: Results) -> str:
    """64-128-8: the time of one prediction in batches of growing size."""
    rows = []
    for size in models.BATCHES:
        row = [f"{size}"]
        for dtype in ("i8", "f32"):
            item = results.find("64-128-8", dtype, size)
            for found in (results.ours(item), results.best(item, list(results.peers))):
                row.append(f"{ns(found[0] / size)} {found[1]}" if found else "-")
        rows.append(row)
    return grid(["batch", "i8", "i8, best peer", "f32", "f32, best peer"], rows)


def threads(results: Results) -> str:
    """Inferences in a second by several threads."""
    rows = []
    for entry in results.data["threads"]:
        item = next(i for i in results.items if i.key == entry["key"])
        one = next(e["per_second"] for e in results.data["threads"] if e["key"] == item.key and e["threads"] == 1)
        rate = entry["per_second"]
        row = [f"{item.label}, {item.dtype}", f"{entry['threads']}"]
        rows.append([*row, f"{rate * item.batch:,.0f}", f"{rate / one:.2f}"])
    return grid(["work", "threads", "inferences a second", "of one thread"], rows)


def growth(results: Results) -> str:
    """Layers of n by n."""
    rows = []
    for size in models.GROWTH:
        row = [f"{size}"]
        for dtype in ("i8", "f32"):
            item = results.find(f"dense {size}", dtype, 1)
            ours, peer = results.ours(item), results.best(item, list(results.peers))
            row += [ns(ours[0]) if ours else "-", f"{item.macs / ours[0]:.1f}" if ours and item else "-"]
            row.append(f"{ns(peer[0])} {peer[1]}" if peer else "-")
            if dtype == "i8":
                row.insert(1, ns(results.median(item, "scalar")))
            bound = results.bound(item) if item else None
            row.append(f"{bound / ours[0]:.0%}" if ours and bound else "-")
        rows.append(row)
    header = ["n", "i8 scalar", "i8", "MACs/ns", "i8, best peer", "share", "f32", "MACs/ns", "f32, best peer", "share"]
    return grid(header, rows)


def overhead(results: Results) -> str:
    """A layer that multiplies one number, and the way to user space."""
    rows = []
    for name in [*results.isas, *results.peers]:
        cells = [ns(results.median(results.find("1-1", dtype, 1), name)) for dtype in ("i8", "f32", "q16")]
        if cells != ["-"] * 3:
            rows.append([f"neural, {name}" if name in results.isas else name, *cells])
    trip = results.machine.get("round_trip")
    if trip:
        rows.append(["round trip to a process, alone", ns(trip["med_ns"]), "", ""])
    return grid(["1 -> 1", "i8", "f32", "q16"], rows)


def memory(results: Results) -> str:
    """What networks take."""
    rows = []
    for item in results.group("main"):
        m = results.data["memory"].get(item.key)
        if m and "error" not in m:
            sizes = (f"{m[key]:,}" for key in ("file_bytes", "weight_bytes", "step_bytes", "scratch_bytes"))
            rows.append([item.label, item.dtype, *sizes])
    return grid(["work", "type", "model file", "weights", "plan", "scratch a context"], rows)


def machine(results: Results) -> str:
    """Where, when idle, and against whom."""
    data, peak = results.data, results.machine
    lines = [
        f"CPU: {data['cpu']}; core {data['core']}, one thread; Linux {data['kernel']}",
        f"Load average before the run: {data['load']:.2f}",
        f"Peers: {'; '.join(results.peers.values())}; Python {data['python']}",
        f"Built: {data['build']}",
        f"{data['rounds']} rounds, {data['ms']} ms a work, engine and round; {data['seconds']} s in all",
    ]
    for key, what in (("i8", "products of 8-bit codes"), ("f32", "fused products of single precision")):
        if key in peak:
            lines.append(f"{what} in a ns: " + ", ".join(f"{isa} {rate:g}" for isa, rate in peak[key].items()))
    for isa, curve in peak.get("loads", {}).items():
        shown = (f"{rate:g} from {size >> 10:,} KiB" for size, rate in curve if size >> 10 in SHOWN_KIB)
        lines.append(f"bytes loaded in a ns, {isa}: " + ", ".join(shown))
    return "\n".join(f"* {line}" for line in [*lines, *data["said"]])


def icount(results: Results) -> str:
    """Instructions of a prediction in the kernel, and bytes of a network."""
    rows = [[name, *(f"{int(count):,}" for count in counts)] for name, *counts in results.data["icount"][1:]]
    return grid(["network", "computed", "from the cache", "bytes", "with a cache"], rows)


TABLES = {
    "machine": machine,
    "works": works,
    "peers": peers,
    "overhead": overhead,
    "scalar": scalar,
    "cold": cold,
    "batch": batch,
    "threads": threads,
    "growth": growth,
    "memory": memory,
    "icount": icount,
}


def tables(results: Results) -> dict[str, str]:
    """All that there is something to say in."""
    made = {name: make(results) for name, make in TABLES.items()}
    if not results.data["icount"]:
        del made["icount"]
    return made


def publish(data: dict[str, Any]) -> None:
    """Replaces the tables and the plot of the documentation."""
    text = PAGE.read_text()
    for name, table in tables(Results(data)).items():
        pattern = rf"(^\.\. begin {name}\n).*?(^\.\. end {name}$)"
        text, found = re.subn(pattern, lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", text, flags=re.S | re.M)
        if found != 1:
            sys.exit(f"error: {PAGE} has {found} places for the table {name}")
    PAGE.write_text(text)
    plot(data, PAGE.with_suffix(".svg"))
    print(f"{PAGE} and its plot have the new numbers")


def plot(data: dict[str, Any], path: Path) -> None:
    """Times of all peers relative to the engine's, as SVG."""
    try:
        import matplotlib
    except ImportError:
        print("skipped: the plot: matplotlib is missing")
        return
    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.fonttype": "none", "svg.hashsalt": "neural"}
    from matplotlib import pyplot

    results = Results(data)
    items = [i for i in results.group("main") if i.dtype != "q16" and results.ours(i)]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.32 * len(items)))
    marks = "ov^sDPX*"
    for number, item in enumerate(items):
        ours = results.ours(item)
        assert ours is not None
        for column, name in enumerate(results.peers):
            peer = results.median(item, name)
            if peer:
                axes.plot(peer / ours[0], number, marks[column % len(marks)], color=f"C{column}")
        bound = results.bound(item)
        if bound:
            axes.plot(bound / ours[0], number, "|", color="black", markersize=10)
        goal = models.GOALS.get((item.case, item.dtype, item.batch))
        if goal:
            axes.plot(1 / goal, number, "x", color="gray")
    for column, name in enumerate(results.peers):
        axes.plot([], [], marks[column % len(marks)], color=f"C{column}", label=name)
    axes.plot([], [], "|", color="black", label="bound of this CPU", linestyle="")
    axes.plot([], [], "x", color="gray", label="goal for the best peer", linestyle="")
    axes.axvline(1, color="gray", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(left=0.05)
    axes.set_yticks(range(len(items)), [f"{i.label}, {i.dtype}" for i in items])
    axes.invert_yaxis()
    axes.set_xlabel("time as a multiple of the engine's")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncol=4, fontsize="small")
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    print(f"plot: {path}")


def show(data: dict[str, Any]) -> None:
    """Prints the tables."""
    for name, table in tables(Results(data)).items():
        print(f"{name}\n\n{table}\n")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Make tables and a plot of what bench.py measured.")
    parser.add_argument("results", type=Path, metavar="RESULTS", help="what bench.py wrote")
    parser.add_argument("--publish", action="store_true", help="replace the tables and the plot of the documentation")
    args = parser.parse_args()
    data = json.loads(args.results.read_text())
    show(data)
    if args.publish:
        publish(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
