"""support.py - what the tests of whole programs share: finding and running them, compiling a program once, reading its results.

A test is a function `test_NAME(t)` in a file test_*.py of this folder; t is a Case. It fails by an AssertionError, is skipped by Skip; a text that it returns
(what it counted) is printed behind its `ok`.

    python3 support.py NNC [FILTER]     the tests with FILTER in their name
    NNC_FULL=1                          longer forms: all variants of the samples, whole epochs on the evaluator
"""
import fcntl, glob, hashlib, importlib, inspect, json, os, shutil, struct, subprocess, sys, tempfile, time, traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.path.join(os.path.dirname(ROOT), "shared", "data")


class Skip(Exception):
    pass


def full(): return os.environ.get("NNC_FULL", "0") != "0"


class Case:
    def __init__(self, nnc, folder, cache):
        self.nnc, self.folder, self.cache = os.path.abspath(nnc), folder, cache
        self.root, self.in_memory = ROOT, None

    def shared(self, name):
        """The folder of a data set that lies outside the project."""
        path = os.path.join(SHARED, name)
        if not os.path.isdir(path): raise Skip(f"needs the data set {name}")
        return path

    def path(self, name): return os.path.join(self.folder, name)

    def memory(self, name):
        """A place for files that are synced often: in memory, where the system has that (no programs: such a place may forbid to run them)."""
        if not self.in_memory:
            shm = "/dev/shm"
            fits = os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 64 << 20
            self.in_memory = tempfile.mkdtemp(prefix="nnc-test-", dir=shm) if fits else self.folder
        return os.path.join(self.in_memory, name)

    def clean(self):
        for folder in {self.folder, self.in_memory or self.folder}: shutil.rmtree(folder, ignore_errors=True)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f: f.write(text)
        return self.path(name)

    def run(self, *args, status=0, env=None, cwd=None, timeout=600, **more):
        args = [str(a) for a in args]
        done = subprocess.run(args, cwd=cwd or self.folder, capture_output=True, text=True, errors="replace", timeout=timeout,
                              env={**os.environ, **(env or {})}, **more)
        if status is not None and done.returncode != status:
            raise AssertionError(f"{' '.join(args)}: status {done.returncode}, wanted {status}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}")
        return done

    def compile(self, source, *flags):
        """The finished program of a sample (by name) or a source file; compiled once for all tests, also those that run beside this one."""
        path = source if os.sep in source else os.path.join(ROOT, "samples", source + ".nn")
        with open(path, "rb") as f: key = hashlib.sha1(f.read() + repr(flags).encode() + path.encode()).hexdigest()
        out = os.path.join(self.cache, key)
        with open(out + ".lock", "w") as lock:  # a test beside this one may be compiling it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(out): self.run(self.nnc, path, "-o", out, *flags)
        return out

    def log(self, program, *args, **more):
        """Runs a command with --log and returns the lines as dictionaries, without the seconds."""
        path = self.path("log.jsonl")
        if os.path.exists(path): os.remove(path)
        self.run(program, *args, f"--log={path}", "--progress=none", **more)
        return read_log(path)


def read_log(path):
    with open(path) as f: lines = [json.loads(line) for line in f]
    for line in lines: line.pop("seconds", None)
    return lines


def read_safetensors(path):
    """name -> (type, shape, bytes)"""
    with open(path, "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(n)), f.read()
    return {k: (v["dtype"], tuple(v["shape"]), data[v["data_offsets"][0]:v["data_offsets"][1]]) for k, v in header.items() if k != "__metadata__"}


def floats(entry):
    """The numbers of an F32 entry of read_safetensors."""
    kind, _, data = entry
    assert kind == "F32", kind
    return struct.unpack(f"<{len(data) // 4}f", data)


def close(got, want, rel=1e-4, tolerance=1e-6):
    return abs(got - want) <= tolerance + rel * abs(want)  # false for NaN


def names(tests, only=""):
    """module.function of every test whose name has `only` in it."""
    found = []
    for file in sorted(glob.glob(os.path.join(tests, "e2e", "test_*.py"))):
        module = importlib.import_module(os.path.basename(file)[:-3])
        for name, test in inspect.getmembers(module, inspect.isfunction):
            full_name = f"{module.__name__}.{name}"
            if name.startswith("test_") and test.__module__ == module.__name__ and only in full_name: found.append(full_name)
    return found


def run_one(nnc, cache, full_name):
    """Runs a test of names(): (passed, failed, skipped, what to print)."""
    module, name = full_name.split(".")
    case = Case(nnc, tempfile.mkdtemp(prefix="nnc-test-"), cache)
    count = [1, 0, 0]
    try:
        note = getattr(importlib.import_module(module), name)(case)
        word = f"ok: {note}" if isinstance(note, str) else "ok"
    except Skip as why: count, word = [0, 0, 1], f"skipped: {why}"
    except Exception: count, word = [0, 1, 0], "FAILED\n" + traceback.format_exc()
    finally: case.clean()
    return (*count, f"{module[5:]}.{name[5:]}: {word}")


def run_all(nnc, tests, only=""):
    total = [0, 0, 0]
    cache = tempfile.mkdtemp(prefix="nnc-e2e-")
    try:
        for name in names(tests, only):
            start = time.time()
            *count, text = run_one(nnc, cache, name)
            print(f"{text} ({time.time() - start:.1f} s)", flush=True)
            total = [a + b for a, b in zip(total, count)]
    finally: shutil.rmtree(cache, ignore_errors=True)
    return total


if __name__ == "__main__":
    sys.path[:0] = [os.path.dirname(os.path.abspath(__file__))]
    import support  # as the tests do, so that their Skip is the one that is caught
    result = support.run_all(sys.argv[1], os.path.dirname(os.path.dirname(os.path.abspath(__file__))), sys.argv[2] if len(sys.argv) > 2 else "")
    print(f"{result[0]} passed, {result[1]} failed, {result[2]} skipped")
    sys.exit(1 if result[1] else 0)
