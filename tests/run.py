#!/usr/bin/env python3
"""run.py BUILD [SANITIZED] [all|fast] - every test, as many side by side as the machine has cores ($NNC_JOBS: so many); the last line is the count.

    unit      the Check program of tests/unit, a suite a job
    golden    texts and what must become of them (golden.py)
    e2e       whole programs, compiled and run (e2e/test_*.py), a test a job
    sanitize  most of unit, and golden, again with address and undefined-behaviour sanitizers
    fuzz      a minute for the three readers of texts

Tests that need data from outside the project (a folder `shared/data` beside it) are skipped where there is none, counted and named.
Behind each line: seconds by the clock, and of the processor in all its threads and children.
"""
import concurrent.futures, contextlib, io, os, re, resource, shutil, subprocess, sys, tempfile, time, traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "e2e")]
import golden, support


# The suites that read what people write and files hold, and change what passes share. The others (numbers against numbers) take minutes with sanitizers:
# `build-sanitize/tests/unit_tests` runs them all.
SANITIZED = "graph syntax elaborate errors loops lower fuse fuse_again plan tile simplify runtime runtime_checkpoint runtime_data".split()

# What takes longest begins first, so that no core waits for it at the end.
LONG = ["fuzz", "test_programs.test_the_program_has", "test_programs.", "sanitized", "unit random_loops", "unit tile", "test_same_bits.", "test_eval.", "test_source.", "test_resume.", "unit "]


def run_unit(build, suite, label):
    """One suite of the Check program, whose output is a line for each failure and a count."""
    env = dict(os.environ, NNC_SOURCE_ROOT=os.path.dirname(HERE), NNC=os.path.join(build, "nnc"), NNC_VERIFY="1", CK_TIMEOUT_MULTIPLIER="10")
    done = subprocess.run([os.path.join(build, "tests", "unit_tests"), suite], env=env, capture_output=True, text=True, errors="replace")
    found = re.search(r"(\d+)%: Checks: (\d+), Failures: (\d+), Errors: (\d+)", done.stdout)
    if not found or int(found[2]) == 0:
        return 0, 1, 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}\n{label} {suite}: ended without a count (status {done.returncode})"
    checks, failures, errors = (int(found[i]) for i in (2, 3, 4))
    text = [line for line in done.stdout.splitlines() if re.match(r".*:[FE]:", line)]
    if failures + errors: text.append(done.stderr[-4000:])
    return checks - failures - errors, failures + errors, 0, "\n".join(text + [f"{label} {suite}: {checks - failures - errors} of {checks}"])


def run_fuzz():
    """A minute for the three readers of texts, where clang is (ten minutes each, and the passes: tests/fuzz/run 600). Crashes, hangs and wrong answers count as failures.
    The seed is fixed, so that a failure is of the change that is checked."""
    done = subprocess.run([os.path.join(HERE, "fuzz", "run"), "20", "front", "graph", "loops"], env=dict(os.environ, NNC_FUZZ_SEED="1"), capture_output=True, text=True, errors="replace")
    if done.returncode == 77: return 0, 0, 1, "fuzz: skipped: clang-19 is not installed (the mutation tests among the unit tests stand in)"
    runs = [int(n) for n in re.findall(r"number_of_executed_units: (\d+)", done.stdout)]
    text = f"fuzz: {sum(runs)} inputs" + ("" if done.returncode == 0 else "\n" + done.stdout[-2000:] + done.stderr[-2000:])
    return int(done.returncode == 0), int(done.returncode != 0), 0, text


def run_golden(nnc, label):
    with contextlib.redirect_stdout(io.StringIO()) as said: counts = golden.run(nnc, os.path.join(HERE, "golden"), label)
    return (*counts, said.getvalue().strip())


def timed(job):
    """Runs a job (name, function, arguments): its counts, what to print, seconds of the clock and of the processor."""
    def processor():
        return sum(r.ru_utime + r.ru_stime for r in (resource.getrusage(resource.RUSAGE_CHILDREN), resource.getrusage(resource.RUSAGE_SELF)))
    name, function, *args = job
    start, used = time.time(), processor()
    try: passed, failed, skipped, text = function(*args)
    except Exception: passed, failed, skipped, text = 0, 1, 0, f"{name}: FAILED\n{traceback.format_exc()}"
    return passed, failed, skipped, text, time.time() - start, processor() - used


def jobs_of(build, sanitized, everything, cache):
    nnc = os.path.join(build, "nnc")
    suites = subprocess.run([os.path.join(build, "tests", "unit_tests"), "--list"], capture_output=True, text=True, check=True).stdout.split()
    jobs = [(f"unit {suite}", run_unit, build, suite, "unit") for suite in suites] + [("golden", run_golden, nnc, "golden")]
    if everything and os.path.exists(os.path.join(sanitized, "nnc")):
        jobs += [(f"sanitized {suite}", run_unit, sanitized, suite, "unit, sanitized") for suite in SANITIZED]
        jobs += [("sanitized golden", run_golden, os.path.join(sanitized, "nnc"), "golden, sanitized")]
    if everything: jobs += [("fuzz", run_fuzz)]
    jobs += [(name, support.run_one, nnc, cache, name) for name in support.names(HERE)]
    return sorted(jobs, key=lambda job: next((i for i, begins in enumerate(LONG) if job[0].startswith(begins)), len(LONG)))


def main():
    build, sanitized = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    everything = len(sys.argv) < 4 or sys.argv[3] == "all"
    start, cache = time.time(), tempfile.mkdtemp(prefix="nnc-e2e-")
    total, used = [0, 0, 0], 0
    try:
        jobs = jobs_of(build, sanitized, everything, cache)
        with concurrent.futures.ProcessPoolExecutor(int(os.environ.get("NNC_JOBS", 0)) or os.cpu_count()) as pool:
            for done in concurrent.futures.as_completed([pool.submit(timed, job) for job in jobs]):
                *counts, text, seconds, processor = done.result()
                total, used = [a + b for a, b in zip(total, counts)], used + processor
                print(f"{text} ({seconds:.1f} s, processor {processor:.1f} s)", flush=True)
    finally: shutil.rmtree(cache, ignore_errors=True)
    passed, failed, skipped = total
    print(f"{time.time() - start:.0f} s, processor {used:.0f} s")
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
