#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Shows that ktap.py goes red for each kind of failure it is there for."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import ktap

END = """\
[    3.000000] neural-guest: taint 12288
[    3.000001] neural-guest: exit 0
"""

# As a kernel prints it that has suites of its own, then loads a module with two.
KUNIT = """\
[    0.500000] KTAP version 1
[    0.500001] 1..1
[    0.500002]     KTAP version 1
[    0.500003]     # Subtest: kernel_own
[    0.500004]     # module: own
[    0.500005]     1..1
[    0.500006]     ok 1 works
[    0.500007] ok 1 kernel_own
[    1.000000] neural: loading out-of-tree module taints kernel.
[    1.100000] KTAP version 1
[    1.100001] 1..2
[    1.100002]     KTAP version 1
[    1.100003]     # Subtest: neural_fixed
[    1.100004]     # module: neural
[    1.100005]     1..3
[    1.100006]     ok 1 mul_saturates
[    1.100007]     ok 2 zero_point # SKIP no such type
[    1.100008]         KTAP version 1
[    1.100009]         # Subtest: shifts
[    1.100010]         ok 1 shift 0
[    1.100011]         ok 2 shift 31
[    1.100012]     # shifts: pass:2 fail:0 skip:0 total:2
[    1.100013]     ok 3 shifts
[    1.100014] # neural_fixed: pass:2 fail:0 skip:1 total:3
[    1.100015] # Totals: pass:3 fail:0 skip:1 total:4
[    1.100016] ok 1 neural_fixed
[    1.100017]     KTAP version 1
[    1.100018]     # Subtest: neural_cache
[    1.100019]     1..1
[    1.100020]     ok 1 hit
[    1.100021] ok 2 neural_cache
"""

SCRIPT = """\
KTAP version 1
# script: params_01
1..2
ok 1 line # 1
# a note
ok 2 - rmmod
"""


def judge(console: str = KUNIT + END, script: str = "", *options: str) -> tuple[int, str]:
    """Exit status and output of ktap.py for these logs."""
    with tempfile.TemporaryDirectory() as tmp:
        arguments = list(options)
        for name, text in (("console", console), ("script", script)):
            path = Path(tmp, name)
            path.write_text(text, encoding="utf-8")
            if text:
                arguments += ["--console", str(path)] if name == "console" else [str(path)]
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = ktap.main(arguments)
    return status, out.getvalue()


class Passing(unittest.TestCase):
    """What is well stays green, and is counted."""

    def test_all_documents_are_counted(self) -> None:
        status, out = judge(KUNIT + END, SCRIPT, "--expect", "neural_fixed", "--expect", "params_01")
        self.assertEqual(status, 0, out)
        self.assertEqual(out.splitlines()[-1], "7 passed, 0 failed, 1 skipped")

    def test_carriage_returns_and_caller_ids(self) -> None:
        console = (KUNIT + END).replace("] ", "][    T1] ").replace("\n", "\r\n")
        self.assertEqual(judge(console)[0], 0)

    def test_kunit_taint_is_allowed_on_request(self) -> None:
        console = KUNIT + END.replace("12288", str(12288 | ktap.TAINT_TEST))
        self.assertEqual(judge(console)[0], 1)
        self.assertEqual(judge(console, "", "--kunit")[0], 0)


class Broken(unittest.TestCase):
    """Each way to fail turns it red, and the output says which."""

    def red(self, words: str, *arguments: str) -> None:
        status, out = judge(*arguments)
        self.assertEqual(status, 1, out)
        self.assertIn(words, out)
        self.assertNotIn(" 0 failed", out.splitlines()[-1])

    def edit(self, words: str, old: str, new: str) -> None:
        self.assertIn(old, KUNIT)
        self.red(words, KUNIT.replace(old, new) + END)

    def test_a_failed_case_in_a_later_document(self) -> None:
        broken = KUNIT.replace("] ok 2 neural_cache", "] not ok 2 neural_cache")
        self.red("neural_cache/hit: not ok", broken.replace("    ok 1 hit", "    not ok 1 hit") + END)

    def test_a_failed_case_that_its_suite_hides(self) -> None:
        self.edit("neural_cache: ok, but a test in it failed", "    ok 1 hit", "    not ok 1 hit")

    def test_a_suite_that_fails_without_a_case(self) -> None:
        self.edit("not ok, but no test in it failed", "] ok 2 neural_cache", "] not ok 2 neural_cache")

    def test_a_missing_case(self) -> None:
        self.edit("3 planned, 2 seen", "[    1.100013]     ok 3 shifts\n", "")

    def test_a_missing_suite_result(self) -> None:
        self.edit("2 planned, 1 seen", "[    1.100021] ok 2 neural_cache\n", "")

    def test_a_missing_plan(self) -> None:
        self.edit("neural_cache: no plan line", "[    1.100019]     1..1\n", "")

    def test_an_empty_suite(self) -> None:
        self.edit(
            "neural_cache: no test in it",
            "    1..1\n[    1.100020]     ok 1 hit\n[    1.100021]",
            "    1..0\n[    1.100021]",
        )

    def test_a_wrong_number(self) -> None:
        self.edit("number 5, 1 expected", "    ok 1 hit", "    ok 5 hit")

    def test_a_subtest_without_result_of_its_own(self) -> None:
        self.edit("shifts: no result line", "[    1.100013]     ok 3 shifts\n", "")

    def test_an_expected_suite_that_is_missing(self) -> None:
        self.red("neural_jit: expected", KUNIT + END, "", "--expect", "neural_jit")

    def test_a_script_without_plan(self) -> None:
        self.red("params_01: no plan line", END, SCRIPT.replace("1..2\n", ""))

    def test_a_script_that_dies(self) -> None:
        self.red("params_01: 2 planned, 1 seen", END, SCRIPT.replace("ok 2 - rmmod\n", ""))

    def test_a_script_that_fails(self) -> None:
        self.red("params_01/rmmod: not ok\n    # a note", END, SCRIPT.replace("ok 2", "not ok 2"))

    def test_a_script_that_ends_badly_after_its_tests(self) -> None:
        self.red("params_01: exit status 143", END, SCRIPT + "# exit: 143\n")

    def test_nothing_ran(self) -> None:
        self.red("no test ran", END)

    def test_a_guest_that_did_not_end(self) -> None:
        self.red("did not reach its end", KUNIT)

    def test_taint(self) -> None:
        self.red("tainted by W", KUNIT + END.replace("12288", str(12288 | 1 << 9)))

    def test_every_splat(self) -> None:
        samples = {
            "oops": "Oops: 0002 [#1] SMP PTI",
            "oops ": "BUG: unable to handle page fault for address: ffffc90000000000",
            "panic": "Kernel panic - not syncing: Fatal exception",
            "BUG": "kernel BUG at mm/slub.c:563!",
            "warning": "WARNING: CPU: 1 PID: 77 at kernel/softirq.c:363 __local_bh_enable_ip+0x6c/0x80",
            "warning ": "------------[ cut here ]------------",
            "lockdep": "WARNING: possible circular locking dependency detected",
            "lockdep ": "INFO: possible recursive locking detected",
            "lockdep  ": "WARNING: inconsistent lock state",
            "RCU usage": "WARNING: suspicious RCU usage",
            "sleep": "BUG: sleeping function called from invalid context at mm/page_alloc.c:1",
            "sleep ": "BUG: scheduling while atomic: insmod/77/0x00000002",
            "leak": "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "leak ": "neural-kmemleak: unreferenced object 0xffff888003b0f000 (size 64):",
            "stall": "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "stall ": "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "hung task": "INFO: task cat:88 blocked for more than 120 seconds.",
            "lockup": "watchdog: BUG: soft lockup - CPU#0 stuck for 26s! [cat:88]",
            "UBSAN": "UBSAN: shift-out-of-bounds in rust/shim/shim.c:9:3",
            "list": "list_del corruption. prev->next should be ffff8880, but was 0000",
            "slab": "BUG kmalloc-64 (Tainted: G O): Redzone overwritten",
            "debug object": "ODEBUG: free active (active state 0) object: timer_list",
            "preempt": "BUG: using smp_processor_id() in preemptible [00000000] code: insmod/77",
            "Rust panic": "rust_kernel: panicked at rust/module/neural_main.rs:12:9:",
            "refcount": "refcount_t: underflow; use-after-free.",
        }
        for name, text in samples.items():
            with self.subTest(text=text):
                self.red(f"kernel: {name.strip()}: {text}", f"{KUNIT}[    2.000000] {text}\n{END}")


if __name__ == "__main__":
    unittest.main()
