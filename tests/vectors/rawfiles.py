# SPDX-License-Identifier: GPL-2.0
"""Write files of bytes and of float64 numbers, or compare with those that are there."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def main(doc: str | None, folder: Path, contents: Callable[[], dict[str, Any]] | None) -> int:
    """Run a program that makes files. Without numpy there are no contents."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="compare with the files that are there, write nothing")
    args = parser.parse_args()
    if contents is None:
        print("SKIP: no numpy", file=sys.stderr)
        return 4
    wrong = []
    for name, content in contents().items():
        path = folder / name
        data = content if isinstance(content, bytes) else content.tobytes()
        if not args.check:
            folder.mkdir(exist_ok=True)
            path.write_bytes(data)
        elif not same(path.read_bytes(), content):
            wrong.append(name)
    for name in wrong:
        print(f"{name}: differs from what would be written", file=sys.stderr)
    return 1 if wrong else 0


def same(old: bytes, content: Any) -> bool:
    """Bytes are the same; numbers may differ in the last places from machine to machine."""
    if isinstance(content, bytes):
        return old == content
    import numpy as np

    return bool(np.allclose(np.frombuffer(old, "<f8"), content.ravel(), rtol=1e-12, atol=1e-13, equal_nan=True))
