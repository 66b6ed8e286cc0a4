"""Parity: from the same weights on the same batches, loss, every gradient and the weights after some steps agree with the same network in PyTorch,
on the evaluator in f64 and, to 1e-4, in the compiled program. tests/torch/systems.py says which samples and how they are made small;
tests/torch/systems.json holds PyTorch's numbers. NNC_TEST_LONG=1: the deepest networks compiled, too, and all of
them trained compiled.
"""
import math, os, re, sys

import files, support
from support import floats, read_safetensors

sys.path.insert(0, os.path.join(support.ROOT, "tests", "torch"))
import inputs, systems
from test_torch import reference


def write_files(t, system):
    """The data files of a system, in their own formats."""
    for name, (kind, shape, values) in system.files.items():
        path = t.path(os.path.join("data", name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if kind == "idx": data = files.idx("u8", shape, values)
        elif kind == "npy": data = files.npy("u8", shape, values)
        elif kind == "png":
            row = 3 * shape[1]
            data = files.png([list(zip(*[iter(values[at:at + row])] * 3)) for at in range(0, len(values), row)], colour=True)
        elif kind == "lines": data = "".join(line + "\n" for line in values).encode()
        elif kind == "text": data = values.encode()
        else:
            assert kind == "months", kind
            data = ('"Month","Sunspots"\n' + "".join(f'"{1749 + i // 12}-{i % 12 + 1:02}",{v}\n' for i, v in enumerate(values))).encode()
        if name.endswith(".gz"):
            import gzip
            data = gzip.compress(data)
        with open(path, "wb") as f: f.write(data)


class Run:
    """A system in a folder: its two programs (as it trains, and with gradients laid open), its data, its first weights."""

    def __init__(self, t, name, want):
        self.t, self.name, self.system, self.want = t, name, systems.SYSTEMS[name], want
        write_files(t, self.system)
        tag = "".join(c for c in name if c.isalnum())
        self.source = {reveal: t.write(f"{tag}{'_gradients' * reveal}.nn", self.system.text(t.root, reveal)) for reveal in (False, True)}
        tensors = {k: ("f32", shape, systems.weight(k, shape)) for k, shape in want["shapes"].items()}
        tensors.update({f"g_{k}": v for k, v in self.system.given.items()})
        self.init = t.path("init")
        with open(self.init, "wb") as f: f.write(files.safetensors(tensors))
        self.data = t.path("data") if self.system.files else os.path.join(t.root, "samples")

    def go(self, *program, reveal):
        """(what its training loop tracked, what else it tracked, the weights at the end)"""
        log, end = self.t.path("log"), self.t.path("end")
        for path in (log, end):
            if os.path.exists(path): os.remove(path)
        args = self.system.first_step() if reveal else self.system.args
        self.t.run(*program, "train", *args, "--no-shuffle", f"--init={self.init}", f"--data={self.data}", f"--save={end}",
                   f"--out={self.t.folder}", f"--log={log}", "--progress=none")
        tracked = {}
        for line in support.read_log(log):
            for key, value in line.items():
                if key not in ("command", "line", "data", "epoch", "step", "samples"): tracked.setdefault(key, value)
        return tracked, {k: v for k, v in read_safetensors(end).items() if k in self.want["shapes"]}

    def evaluate(self, reveal): return self.go(self.t.nnc, self.source[reveal], *self.system.flags, "--eval", reveal=reveal)
    def native(self, reveal): return self.go(self.t.compile(self.source[reveal], *self.system.flags), reveal=reveal)


def compare(label, got, want, rel, floor):
    """got: a tensor of a file; want: what is kept of PyTorch's. floor: the size of the largest tensor, whose rounding reaches all. In the compiled
    program (rel 1e-4) a gradient may also be four times as far away as PyTorch's own f32 is."""
    shape, values = list(got[1]), floats(got)
    mine, allowed = inputs.summary(shape, list(values), 3), rel * want["norm"] + 1e-7 * floor + (4 * want.get("f32", 0) if rel > 1e-5 else 0)
    assert shape == want["shape"], f"{label}: {shape}, PyTorch {want['shape']}"
    for key in ("norm", "sum", "along"):
        bound = allowed * (1 if key == "norm" else math.sqrt(len(values)))
        assert abs(mine[key] - want[key]) <= bound, f"{label}, {key}: {mine[key]!r}, PyTorch {want[key]!r} (allowed {bound:.2g})"
    for a, b in zip(mine["at"], want["at"]): assert abs(a - b) <= allowed, f"{label}: {a!r}, PyTorch {b!r} (allowed {allowed:.2g})"


def agree(label, got, case, rel, without=()):
    tracked, weights = got
    for name, value in case["tracked"].items():
        assert abs(tracked[name] - value) <= rel * abs(value) + 1e-12, f"{label}, {name}: {tracked[name]!r}, PyTorch {value!r}"
    assert set(weights) == set(case["tensors"]), f"{label}: {set(weights) ^ set(case['tensors'])}"
    floor = max(w["norm"] for w in case["tensors"].values())
    for name, want in case["tensors"].items():
        if name not in without: compare(f"{label}, {name}", weights[name], want, rel, floor)


def check(t, name, native=True):
    run = Run(t, name, reference("systems")["systems"][name])
    agree(f"{name}, evaluator, gradients", run.evaluate(True), run.want["gradients"], 1e-6)
    agree(f"{name}, evaluator, after {run.system.steps} steps", run.evaluate(False), run.want["training"], 2e-6)
    if native: agree(f"{name}, program, gradients", run.native(True), run.want["gradients"], 1e-4)
    if LONG:  # Adam divides a gradient by its own size: one that is 0 but for rounding (keys' bias before a softmax) may go anywhere
        noise = {k for k, g in run.want["gradients"]["tensors"].items() if g["f32"] > 1e-3 * g["norm"]}
        agree(f"{name}, program, after {run.system.steps} steps", run.native(False), run.want["training"], 1e-3, noise)
    return run


LONG = os.environ.get("NNC_TEST_LONG")
DEEP = {"alexnet", "googlenet", "resnet18", "resnet50", "vgg11"}


def all_of(t, *samples):
    for sample in samples:
        names = [name for name, system in systems.SYSTEMS.items() if system.sample == sample]
        assert names, sample
        for name in names: check(t, name, native=bool(LONG) or name not in DEEP)


def test_lenet5(t): all_of(t, "lenet5")
def test_alexnet(t): all_of(t, "alexnet")
def test_vgg(t): all_of(t, "vgg16")
def test_googlenet(t): all_of(t, "googlenet")
def test_resnet(t): all_of(t, "resnet")  # the test loop is evaluation mode: running means and variances
def test_convolution_of_series_and_films(t): all_of(t, "conv1d", "video")
def test_rnn(t): all_of(t, "rnn", "deep_rnn", "birnn", "one_to_many")
def test_lstm(t): all_of(t, "lstm")
def test_gru(t): all_of(t, "gru")
def test_attention(t): all_of(t, "attention")
def test_transformer(t): all_of(t, "transformer")
def test_trees(t): all_of(t, "tree_rnn")
def test_shared_weights(t): all_of(t, "semisup")


def test_deconvnet(t):
    """Training, and the picture of what excites a feature map."""
    run = check(t, "deconvnet")
    kind, shape, values = run.system.files["t10k-images-idx3-ubyte.gz"]
    with open(t.path("images.npy"), "wb") as f: f.write(files.npy(kind="u8", shape=shape, values=values))
    want = run.want["outputs"]["both"]
    for label, program in (("evaluator", [t.nnc, run.source[True], "--eval"]), ("program", [t.compile(run.source[True])])):
        t.run(*program, "project", f"--image={t.path('images.npy')}", "--map=1", f"--weights={run.init}", f"--both={t.path('both.npy')}",
              f"--out={t.folder}")
        with open(t.path("both.npy"), "rb") as f: _, shape, values = files.read_npy(f.read())
        mine = inputs.summary(list(shape), list(values))
        assert mine["shape"] == want["shape"] == [4, 28, 56]
        for key in ("sum", "norm", "along"):
            assert abs(mine[key] - want[key]) <= 1e-5 * want["norm"], f"{label}, {key}: {mine[key]}, PyTorch {want[key]}"
        assert sum(v != 0.5 for v in values[28:56]) + sum(v != 0.5 for v in values) > 100, "nothing came back to the pixels"


def test_conv_as_dense(t):
    """The dense layer and the convolution give the same scores."""
    run = check(t, "conv_as_dense")
    for program in ([t.nnc, run.source[False], "--eval"], [t.compile(run.source[False])]):
        out = t.run(*program, "train", *run.system.args, f"--data={run.data}", f"--out={t.folder}", "--progress=none").stdout
        found = re.search(r"largest difference on 28 x 28: (\S+)", out)
        assert found and float(found[1]) < 1e-5, out


def test_every_row_of_the_systems_has_parity(t):
    """The samples whose row says parity. multitask: test_torch.py."""
    rows = "lenet5 alexnet vgg16 googlenet resnet deconvnet conv1d video conv_as_dense rnn deep_rnn birnn lstm gru one_to_many attention transformer " \
           "tree_rnn semisup"
    assert {system.sample for system in systems.SYSTEMS.values()} == set(rows.split())
    assert set(reference("systems")["systems"]) == set(systems.SYSTEMS), "systems.json: run tests/torch/reference_systems.py"
