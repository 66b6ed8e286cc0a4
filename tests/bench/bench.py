"""bench.py - what `run` and `claims` share: the networks, their data, programs built and timed, other systems timed, the machine measured.

Everything is measured in turns by the callers; here is one measurement at a time. Times are milliseconds a step.
"""
import array, json, math, multiprocessing, os, random, re, shutil, statistics, struct, subprocess, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
NEEDED = ("linux-vdso", "libc.so", "libm.so", "libgomp.so", "ld-linux")  # all that a program may need when it runs
RUNTIME_BYTES = 8 << 20  # what a program may use beside plan and data
UPDATED = 1 << 25        # parameters of update.nn


class Network:
    """A network of *.nn beside this file. x, y: (shape of a sample, element type, numbers below which whole ones lie; 1 for fractions), y None without labels. layers: its products and convolutions, each as
    (results a sample that share the weights, length of their chains, columns)."""

    def __init__(self, name, batch, batches, x, y, layers, known=1):
        """known: of how many of the first layers nobody wants the gradient of the input; None: nothing is differentiated, each layer counts once."""
        self.name, self.batch, self.batches, self.x, self.y, self.layers, self.known = name, batch, batches, x, y, layers, known

    def flop(self):
        """Multiply-adds of a step, two operations each: forward, gradient of the weights, gradient of the inputs."""
        each = [places * chain * columns for places, chain, columns in self.layers]
        return 2 * self.batch * (sum(each) if self.known is None else 3 * sum(each) - sum(each[:self.known]))

    def data_bytes(self):
        sizes = [math.prod(shape) * array.array(kind).itemsize for shape, kind, _ in filter(None, (self.x, self.y))]
        return self.batch * self.batches * sum(sizes)


def dense(*sizes): return [(1, a, b) for a, b in zip(sizes, sizes[1:])]


def convs(kernel, *maps):
    """kernel x kernel convolutions: (side of the result, channels, channels of the result) each."""
    return [(side * side, kernel * kernel * a, b) for side, a, b in maps]


def resnet20():
    stages = [(32, 16, 16), (16, 16, 32), (8, 32, 64)]
    inside = lambda side, a, b: convs(3, (side, a, b)) + (convs(1, (side, a, b)) if a != b else []) + 5 * convs(3, (side, b, b))
    return convs(3, (32, 3, 16)) + [layer for stage in stages for layer in inside(*stage)] + dense(64, 10)


def transformer_block(T=64, d=128): return [(T, d, 3 * d), (T, d, T), (T, T, d), (T, d, d), (T, d, 4 * d), (T, 4 * d, d)]


PICTURE, CLASS, TEXT = ((28, 28, 1), "f", 1), ((), "i", 10), ((64,), "i", 65)
NETWORKS = {n.name: n for n in (
    Network("tiny", 32, 4000, ((64,), "f", 1), CLASS, dense(64, 32, 10)),
    Network("mlp", 128, 60, ((784,), "f", 1), CLASS, dense(784, 512, 512, 10)),
    Network("lenet", 64, 60, PICTURE, CLASS, convs(5, (28, 1, 6), (10, 6, 16)) + dense(400, 120, 84, 10)),
    Network("keras_cnn", 64, 30, PICTURE, CLASS, convs(3, (26, 1, 32), (11, 32, 64), (3, 64, 64)) + dense(576, 64, 10)),
    Network("vgg11", 32, 3, ((32, 32, 3), "f", 1), CLASS,
            convs(3, (32, 3, 64), (16, 64, 128), (8, 128, 256), (8, 256, 256), (4, 256, 512), (4, 512, 512), (2, 512, 512), (2, 512, 512)) + dense(512, 10)),
    Network("resnet20", 32, 8, ((32, 32, 3), "f", 1), CLASS, resnet20()),
    Network("lstm_char", 32, 12, TEXT, TEXT, [(64, 64, 1024), (64, 256, 1024), (64, 256, 65)], known=0),
    Network("transformer", 32, 10, TEXT, TEXT, 2 * transformer_block() + [(64, 128, 65)], known=0),
    Network("vae", 128, 60, ((784,), "f", 1), None, dense(784, 400, 40) + dense(20, 400, 784)),
    Network("rbm", 50, 200, ((784,), "f", 1), None, 5 * dense(784, 256), known=None))}
READING = {n.name: n for n in (Network("reading_mlp", 128, 400, ((784,), "B", 256), CLASS, dense(784, 512, 512, 10)),
                               Network("reading_tiny", 32, 4000, ((64,), "f", 1), CLASS, dense(64, 32, 10)))}


# ---- data ----

DESCR = {"B": "|u1", "i": "<i4", "f": "<f4"}


def write_npy(path, shape, values):
    header = f"{{'descr': '{DESCR[values.typecode]}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    with open(path, "wb") as f: f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values.tobytes())


def write_data(folder, net):
    """The inputs of all batches are the same, their labels differ."""
    r = random.Random(1)
    def numbers(n, kind, below): return array.array(kind, r.randbytes(n) if kind == "B" else [r.random() for _ in range(n)] if kind == "f" else [r.randrange(below) for _ in range(n)])
    shape, kind, below = net.x
    write_npy(f"{folder}/{net.name}-x.npy", (net.batch * net.batches, *shape), numbers(net.batch * math.prod(shape), kind, below) * net.batches)
    if not net.y: return
    shape, kind, below = net.y
    write_npy(f"{folder}/{net.name}-y.npy", (net.batch * net.batches, *shape), numbers(net.batch * net.batches * math.prod(shape), kind, below))


def make_data(folder, net):
    """Random samples, made in a process of its own, so that this one stays small."""
    process = multiprocessing.Process(target=write_data, args=(folder, net))
    process.start()
    process.join()
    if process.exitcode: raise SystemExit(f"the data of {net.name} could not be written")


# ---- our programs ----

def numbers_of(text, words):
    """Of the lines of --plan that begin with the words: how many bytes."""
    return [int(n.replace(",", "")) for n in re.findall(rf"^ *{words} +([\d,]+) bytes", text, re.M)]


def plan_numbers(text):
    """Numbers of --plan: `frame`, bytes that live between steps; `batches`, those that are gathered ahead; `peak`, the most that are alive in a step beside them."""
    return {"frame": numbers_of(text, "frame")[0], "batches": sum(numbers_of(text, "batches")), "peak": max(numbers_of(text, "peak"), default=0)}


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
        """plan_numbers, and `moved`, what the step of training must read and write at least: its batch once, parameters and the optimizer's state twice."""
        text = subprocess.run([self.path, "--plan"], capture_output=True, text=True, check=True).stdout
        step = text[text.index("step @train.step"):]
        state = sum(numbers_of(step, "weights")[:1] + numbers_of(step, "optimizer state")[:1])
        return {**plan_numbers(text), "moved": 2 * state + sum(numbers_of(step, "batch")[:1])}

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
    WITH_BLAS = ("tiny", "mlp")  # what openblas_peer.c has

    def __init__(self, kinds, folder, scripts, python, seconds):
        self.kinds, self.folder, self.scripts, self.python, self.seconds, self.failed = [k for k in kinds.split(",") if k], folder, scripts, python, seconds, {}  # failed: (kind, name): why
        for k in self.kinds:
            if k not in self.KNOWN: raise SystemExit(f"--against: there is no `{k}`; it takes {', '.join(self.KNOWN)}")

    def command(self, kind, names, threads):
        if kind == "openblas":
            return [built(self.folder, "openblas_peer", "-O3", "-march=native", "-lopenblas", "-lm"), str(threads), str(self.seconds), *names]
        script = [self.python, f"{self.scripts}/{'jax' if kind == 'jax' else 'torch'}_peer.py", "--threads", str(threads), "--only", ",".join(names), "--seconds", str(self.seconds)]
        return script + (["--mode", "compile" if kind == "compile" else "eager"] if kind != "jax" else [])

    def measure(self, kind, names, threads):
        """{name: milliseconds a step}; names that failed are not in it, and self.failed says why. They are not tried again."""
        names = [name for name in names if (kind, name) not in self.failed and (kind != "openblas" or name in self.WITH_BLAS)]
        if not names: return {}
        try:
            env = dict(os.environ, OMP_WAIT_POLICY="passive") if kind == "openblas" else None  # two teams of threads, its own and OpenMP's, must not spin against each other
            done = subprocess.run(self.command(kind, names, threads), capture_output=True, text=True, timeout=200 + 100 * len(names), env=env)
            lines, why = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done.stderr.strip().splitlines()[-1:]
        except (OSError, subprocess.SubprocessError) as e: lines, why = [], [str(e)]
        found, errors = ({line["name"]: line[key] for line in lines if key in line} for key in ("ms", "error"))
        for name in names:
            if name in found: continue
            self.failed[kind, name] = " ".join(errors.get(name, (why or ["no answer"])[0]).split())[:300]
            print(f"{kind}, {name}: NOT MEASURED: {self.failed[kind, name]}", flush=True)
        return found


# ---- the machine ----

def built(folder, name, *flags):
    """A C program beside this file, compiled once."""
    program = f"{folder}/{name}"
    if not os.path.exists(program):
        options, libraries = [f for f in flags if not f.startswith("-l")], [f for f in flags if f.startswith("-l")]
        subprocess.run([shutil.which("cc") or "gcc", *options, "-fopenmp", f"{HERE}/{name}.c", "-o", program, *libraries], check=True)
    return program


def machine(folder, threads, *seconds):
    """What machine.c says: gflops, triad_gbs, triad_stream_gbs, update_gbs; seconds: gflops alone, for so long."""
    program = built(folder, "machine", "-O3", "-march=native", "-ffp-contract=fast")
    return json.loads(subprocess.run([program, str(threads), *map(str, seconds)], capture_output=True, text=True, check=True).stdout)


median = statistics.median
