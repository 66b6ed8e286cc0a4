"""bench.py - what `run` and `claims` share: the networks, their data, programs built and timed, other systems timed, the machine measured.

Everything is measured in turns by the callers; here is one measurement at a time. Times are milliseconds a step.
"""
import array, json, multiprocessing, os, random, re, shutil, statistics, struct, subprocess, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
NEEDED = ("linux-vdso", "libc.so", "libm.so", "libgomp.so", "ld-linux")  # all that a program may need when it runs
RUNTIME_BYTES = 8 << 20  # what a program may use beside plan and data
UPDATED = 1 << 25        # parameters of update.nn


class Network:
    """A network of *.nn beside this file: batch, sizes of its layers, batches of its data, element type of its samples."""

    def __init__(self, name, batch, sizes, batches, kind="f"):
        self.name, self.batch, self.sizes, self.batches, self.kind = name, batch, sizes, batches, kind

    def flop(self):
        """Multiply-adds of a step, two operations each: forward, gradient of the weights, gradient of the inputs but for the first layer's."""
        pairs = list(zip(self.sizes, self.sizes[1:]))
        return 2 * self.batch * (3 * sum(a * b for a, b in pairs) - pairs[0][0] * pairs[0][1])

    def data_bytes(self):
        return self.batch * self.batches * (self.sizes[0] * array.array(self.kind).itemsize + 4)


NETWORKS = {n.name: n for n in (Network("tiny", 32, [64, 32, 10], 4000), Network("mlp", 128, [784, 512, 512, 10], 60))}
READING = {n.name: n for n in (Network("reading_mlp", 128, [784, 512, 512, 10], 400, "B"), Network("reading_tiny", 32, [64, 32, 10], 4000))}


# ---- data ----

def write_npy(path, kind, shape, values):
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as f: f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values.tobytes())


def write_data(folder, net):
    n, r = net.batch * net.batches, random.Random(1)
    if net.kind == "B": block = array.array("B", r.randbytes(net.batch * net.sizes[0]))
    else: block = array.array("f", [r.random() for _ in range(net.batch * net.sizes[0])])
    write_npy(f"{folder}/{net.name}-x.npy", "|u1" if net.kind == "B" else "<f4", (n, net.sizes[0]), block * net.batches)
    write_npy(f"{folder}/{net.name}-y.npy", "<i4", (n,), array.array("i", [r.randrange(net.sizes[-1]) for _ in range(n)]))


def make_data(folder, net):
    """Random samples, made in a process of its own, so that this one stays small."""
    process = multiprocessing.Process(target=write_data, args=(folder, net))
    process.start()
    process.join()
    if process.exitcode: raise SystemExit(f"the data of {net.name} could not be written")


# ---- our programs ----

class Program:
    """A program of tests/bench or samples, compiled `times` times: the best of them counts. batch: samples of its steps."""

    def __init__(self, nnc, folder, source, times=3, batch=1):
        self.batch, self.folder, self.path, seconds = batch, folder, f"{folder}/{os.path.basename(source)[:-3]}", []
        for _ in range(times):
            start = time.time()
            subprocess.run([nnc, source, "-o", self.path], check=True)
            seconds.append(time.time() - start)
        self.compile_s, self.bytes = min(seconds), os.path.getsize(self.path)

    def strangers(self):
        """Libraries that the program needs, but should not."""
        text = subprocess.run(["ldd", self.path], capture_output=True, text=True).stdout
        names = [os.path.basename(line.split()[0]) for line in text.splitlines() if line.strip() and "statically" not in line]
        return [name for name in names if not name.startswith(NEEDED)]

    def plan(self):
        """Numbers of --plan: `frame`, bytes that live between steps; `peak`, the most that are alive in a step beside them; `moved`, what the step of training must
        read and write at least: its batch once, parameters and the optimizer's state twice."""
        text = subprocess.run([self.path, "--plan"], capture_output=True, text=True, check=True).stdout
        numbers = lambda t, words: [int(n.replace(",", "")) for n in re.findall(rf"^ *{words} +([\d,]+) bytes", t, re.M)]
        step = text[text.index("step @train.step"):]
        state = sum(numbers(step, "weights")[:1] + numbers(step, "optimizer state")[:1])
        return {"frame": numbers(text, "frame")[0], "peak": max(numbers(text, "peak"), default=0), "moved": 2 * state + sum(numbers(step, "batch")[:1])}

    def command(self, threads, *flags): return [self.path, "train", f"--data={self.folder}", f"--threads={threads}", "--progress=none", *flags]

    def steps(self, threads, turns, *flags):
        """(milliseconds a step of each loop but the first, which warms up; peak resident bytes). turns: steps a loop."""
        log, peak = f"{self.folder}/log.jsonl", f"{self.folder}/peak.txt"
        if os.path.exists(log): os.remove(log)
        done = subprocess.run([built(self.folder, "peak", "-O2"), peak, *self.command(threads, f"--log={log}", *flags)], cwd=self.folder)
        if done.returncode: raise SystemExit(f"{self.path} ended with {done.returncode}")
        with open(log) as f: times = [json.loads(line)["seconds"] for line in f]
        with open(peak) as f: return [1e3 * t / turns for t in times[1:]], int(f.read())

    def pairs(self, threads, *flags):
        """(microseconds a step of the first loop, of the second) of each epoch but the first, for a program whose epochs have two loops over data. The second runs several times in an
        epoch; its first time, which brings its data to the cache, is not counted."""
        log, epochs = f"{self.folder}/log.jsonl", {}
        if os.path.exists(log): os.remove(log)
        done = subprocess.run(self.command(threads, f"--log={log}", *flags), cwd=self.folder)
        if done.returncode: raise SystemExit(f"{self.path} ended with {done.returncode}")
        with open(log) as f:
            for loop in map(json.loads, f):
                runs = epochs.setdefault(loop["epoch"], {}).setdefault(loop["line"], [])
                runs.append(1e6 * loop["seconds"] * self.batch / loop["samples"])
        return [(first[0], statistics.mean(second[1:])) for first, second in (loops.values() for epoch, loops in epochs.items() if epoch > 0)]


# ---- other systems ----

class Peers:
    """Systems that do the same step. Each is run for several networks at once, because starting it takes long; what fails is said once, by name."""
    KNOWN = ("torch", "compile", "jax", "openblas")

    def __init__(self, kinds, folder, scripts, python, seconds):
        self.kinds, self.folder, self.scripts, self.python, self.seconds, self.failed = [k for k in kinds.split(",") if k], folder, scripts, python, seconds, {}
        for k in self.kinds:
            if k not in self.KNOWN: raise SystemExit(f"--against: there is no `{k}`; it takes {', '.join(self.KNOWN)}")

    def command(self, kind, names, threads):
        if kind == "openblas":
            return [built(self.folder, "openblas_peer", "-O3", "-march=native", "-lopenblas", "-lm"), str(threads), str(self.seconds), *names]
        script = [self.python, f"{self.scripts}/{'jax' if kind == 'jax' else 'torch'}_peer.py", "--threads", str(threads), "--only", ",".join(names), "--seconds", str(self.seconds)]
        return script + (["--mode", "compile" if kind == "compile" else "eager"] if kind != "jax" else [])

    def measure(self, kind, names, threads):
        """{name: milliseconds a step}; names that failed are not in it, and self.failed says why."""
        if kind in self.failed: return {}
        try:
            env = dict(os.environ, OMP_WAIT_POLICY="passive") if kind == "openblas" else None  # two teams of threads, its own and OpenMP's, must not spin against each other
            done = subprocess.run(self.command(kind, names, threads), capture_output=True, text=True, timeout=400, env=env)
            lines, why = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done.stderr.strip().splitlines()[-1:]
        except (OSError, subprocess.SubprocessError) as e: lines, why = [], [str(e)]
        found = {line["name"]: line["ms"] for line in lines if "ms" in line}
        errors = [line["error"] for line in lines if "error" in line]
        if len(found) < len(names):
            self.failed[kind] = " ".join((errors or why or ["no answer"])[0].split())[:300]
            print(f"{kind}: NOT MEASURED: {self.failed[kind]}", flush=True)
        return found


# ---- the machine ----

def built(folder, name, *flags):
    """A C program beside this file, compiled once."""
    program = f"{folder}/{name}"
    if not os.path.exists(program):
        options, libraries = [f for f in flags if not f.startswith("-l")], [f for f in flags if f.startswith("-l")]
        subprocess.run([shutil.which("cc") or "gcc", *options, "-fopenmp", f"{HERE}/{name}.c", "-o", program, *libraries], check=True)
    return program


def machine(folder, threads):
    """What machine.c says: gflops, triad_gbs, triad_stream_gbs, update_gbs."""
    program = built(folder, "machine", "-O3", "-march=native", "-ffp-contract=fast")
    return json.loads(subprocess.run([program, str(threads)], capture_output=True, text=True, check=True).stdout)


median = statistics.median
