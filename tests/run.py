#!/usr/bin/env python3
"""run.py BUILD [SANITIZED] [all|fast] - every test, one after the other; the last line is the count.

    unit      the Check program of tests/unit
    golden    texts and what must become of them (golden.py)
    e2e       whole programs, compiled and run (e2e/test_*.py)
    sanitize  most of unit, and golden, again with address and undefined-behaviour sanitizers

Tests that need data from outside the project (a folder `shared/data` beside it) are skipped where there is none, counted and named.
"""
import os, re, subprocess, sys, time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "e2e")]
import golden, support


# The suites that read what people write and files hold, and change what passes share. The others (numbers against numbers) take minutes with sanitizers:
# `build-sanitize/tests/unit_tests` runs them all.
SANITIZED = "graph syntax elaborate errors loops lower fuse plan tile simplify runtime runtime_checkpoint runtime_data".split()


class Count:
    passed = failed = skipped = 0

    def add(self, passed, failed, skipped=0):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped


def run_unit(build, count, label, suites=()):
    start = time.time()
    env = dict(os.environ, NNC_SOURCE_ROOT=os.path.dirname(HERE), NNC=os.path.join(build, "nnc"), NNC_VERIFY="1", CK_TIMEOUT_MULTIPLIER="10")
    done = subprocess.run([os.path.join(build, "tests", "unit_tests"), *suites], env=env, capture_output=True, text=True, errors="replace")
    found = re.search(r"(\d+)%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", done.stdout)
    if not found:
        print(done.stdout[-4000:], done.stderr[-4000:], f"{label}: the unit tests ended without a count (status {done.returncode})", sep="\n")
        count.add(0, 1)
        return
    checks, failures, errors = (int(found[i]) for i in (2, 3, 4))
    for line in done.stdout.splitlines():
        if re.match(r".*:[FE]:", line): print(line)
    if failures + errors: print(done.stderr[-4000:])
    print(f"{label}: {checks - failures - errors} of {checks} ({time.time() - start:.0f} s)", flush=True)
    count.add(checks - failures - errors, failures + errors)


def run_fuzz(count):
    """A quarter of a minute for each reader of texts, where clang is (ten minutes each: tests/fuzz/run 600). Crashes, hangs and wrong answers count as failures."""
    start = time.time()
    done = subprocess.run([os.path.join(HERE, "fuzz", "run"), "15", "front", "graph", "loops"], capture_output=True, text=True, errors="replace")
    if done.returncode == 77:
        print("fuzz: skipped: clang-19 is not installed (the mutation tests among the unit tests stand in)", flush=True)
        count.add(0, 0, 1)
        return
    runs = [int(n) for n in re.findall(r"number_of_executed_units: (\d+)", done.stdout)]
    print(f"fuzz: {sum(runs)} inputs ({time.time() - start:.0f} s)" + ("" if done.returncode == 0 else "\n" + done.stdout[-2000:] + done.stderr[-2000:]), flush=True)
    count.add(done.returncode == 0, done.returncode != 0)


def main():
    build, sanitized = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    everything = len(sys.argv) < 4 or sys.argv[3] == "all"
    count = Count()
    run_unit(build, count, "unit")
    nnc = os.path.join(build, "nnc")
    count.add(*golden.run(nnc, os.path.join(HERE, "golden"), "golden"))
    if everything and os.path.exists(os.path.join(sanitized, "nnc")):
        run_unit(sanitized, count, "unit, sanitized", SANITIZED)
        count.add(*golden.run(os.path.join(sanitized, "nnc"), os.path.join(HERE, "golden"), "golden, sanitized"))
    if everything: run_fuzz(count)
    count.add(*support.run_all(nnc, HERE))
    print(f"{count.passed} passed, {count.failed} failed" + (f", {count.skipped} skipped" if count.skipped else ""))
    return 1 if count.failed else 0


if __name__ == "__main__":
    sys.exit(main())
