"""The same program, data and seed give the same bits: on any number of threads, on any CPU with fma, from any printed stage, on the evaluator."""
import os

from support import Skip, read_safetensors

SAMPLES = {  # the command line of a short run
    "digits": ["train", "--epochs=2"],
    "perceptron": ["train", "--steps=20"],
    "delta": ["train", "--epochs=3"],
    "hebb": ["train", "--steps=20"],
    "optimizers": ["train", "--rounds=10"],
    "activations": ["train", "--epochs=1"],
    "multitask": ["train", "--epochs=1"],
}
MLP = ["train", "--epochs=1", "--batches=40"]


def weights(t, program, args, *more, cwd=None):
    path = t.path("end.safetensors")
    if os.path.exists(path): os.remove(path)
    out = t.run(program, *args, *more, f"--save={path}", f"--out={t.folder}", "--progress=none", cwd=cwd).stdout
    return out, {k: v for k, v in read_safetensors(path).items()}


def assert_same(name, a, b):
    assert a[0] == b[0], f"{name}: prints {b[0][:400]!r}, not {a[0][:400]!r}"
    assert a[1].keys() == b[1].keys(), name
    for key in a[1]: assert a[1][key] == b[1][key], f"{name}: {key} differs"


ONE_ROW = """# a batch of one: matrices that no second cache holds, of odd sizes, along and across
param A: f32[700, 610] = normal(shape)
param C: f32[610, 333] = normal(shape)
param v: f32[1, 700] = normal(shape)

command train {
    for round in 0..2 {
        h = tanh(v @ A / 40)
        minimize mean((h @ C / 27)^2) over A, C, v using sgd[0.5]
        a = sum(h)
        print "{round}: {a}"
    }
}
"""


def mlp_data(t):
    """Where its data are."""
    try: return [f"--data={t.shared('mnist')}"]
    except Skip: return ["--data=/usr/share/datasets/fashion-mnist"]


def runs(t):
    """(name, flags of nnc, arguments) of every sample that can run here."""
    for name, args in SAMPLES.items(): yield name, args
    yield "mlp", MLP + mlp_data(t)


def test_threads(t):
    for name, args in runs(t):
        program = t.compile(name)
        one = weights(t, program, args, "--threads=1")
        for threads in (2, 3, 7): assert_same(f"{name}, {threads} threads", one, weights(t, program, args, f"--threads={threads}"))


def test_long_chains(t):
    """Gradients over more samples than a chain holds (4096) are made of pieces, which threads share."""
    args = ["train", "--epochs=1", "--batches=2", *mlp_data(t)]
    want = weights(t, t.compile("mlp", "-D", "batch_size=9000"), args, "--threads=1")
    for threads in (2, 7): assert_same(f"9000 samples, {threads} threads", want, weights(t, t.compile("mlp", "-D", "batch_size=9000"), args, f"--threads={threads}"))
    assert_same("9000 samples, x86-64-v3", want, weights(t, t.compile("mlp", "-D", "batch_size=9000", "--cpu=x86-64-v3"), args))


def test_one_row(t):
    """Rows times matrices that are read as memory lies: chains wait in a cache, or blocks of the matrix are turned."""
    source, wide = t.write("row.nn", ONE_ROW), "--cpu=x86-64-v4"
    for cpu in (wide, "--cpu=x86-64-v3"):
        loops = t.run(t.nnc, source, cpu, "--emit=loops").stdout
        assert ".sums:" in loops and ".block:" in loops, f"{cpu}: other tiles than this test is about"
    want = weights(t, t.compile(source), ["train"], "--threads=1")
    for threads in (2, 7): assert_same(f"one row, {threads} threads", want, weights(t, t.compile(source), ["train"], f"--threads={threads}"))
    assert_same("one row, x86-64-v3", want, weights(t, t.compile(source, "--cpu=x86-64-v3"), ["train"]))
    t.run(t.nnc, source, "--emit=loops", "-o", t.path("row.loops"))
    assert_same("one row, from its loops", want, weights(t, t.compile(t.path("row.loops")), ["train"]))
    path = t.path("eval.safetensors")
    out = t.run(t.nnc, source, "--eval-type=f32", "--eval", "train", f"--save={path}", "--progress=none").stdout
    assert_same("one row on the evaluator", want, (out, read_safetensors(path)))


def test_twice_in_a_row(t):
    program = t.compile("digits")
    assert_same("digits", weights(t, program, SAMPLES["digits"]), weights(t, program, SAMPLES["digits"]))
    other = weights(t, program, SAMPLES["digits"], "--seed=2")
    assert other[1] != weights(t, program, SAMPLES["digits"])[1], "another seed gives the same weights"


def test_cpus(t):
    for name, args in runs(t):
        assert_same(f"{name}, --cpu=x86-64-v3", weights(t, t.compile(name), args), weights(t, t.compile(name, "--cpu=x86-64-v3"), args))


def test_printed_stages_are_programs(t):
    for name, args in runs(t):
        source = os.path.join(t.root, "samples", name + ".nn")
        want = weights(t, t.compile(name), args)
        for stage in ("graph", "loops"):
            text = t.path(f"{name}.{stage}")
            t.run(t.nnc, source, f"--emit={stage}", "-o", text)
            t.run(t.nnc, text, "-o", t.path("again"))
            data = args if any(a.startswith("--data") for a in args) else args + [f"--data={os.path.join(t.root, 'samples')}"]
            assert_same(f"{name} from its {stage}", want, weights(t, t.path("again"), data))


def test_printed_stages_are_the_same_program(t):
    """Byte for byte, the tables of the runtime (arguments of loaders, slots that a step writes) with the code."""
    for name, *flags in (("digits", "-D", "hidden=32", "--max-batch=64"), ("delta",), ("hebb",), ("optimizers",)):
        source = os.path.join(t.root, "samples", name + ".nn")
        with open(t.compile(name, *flags), "rb") as f: want = f.read()
        for stage in ("graph", "loops"):
            text, again = t.path(f"{name}.{stage}"), t.path("again")
            t.run(t.nnc, source, *flags, f"--emit={stage}", "-o", text)
            t.run(t.nnc, text, "-o", again)
            with open(again, "rb") as f: assert f.read() == want, f"{name} from its {stage} is another program"


def test_evaluator_has_the_bits_of_the_program(t):
    """At full size; all samples at small sizes: test_programs.py."""
    for name, args in runs(t):
        if name not in ("digits", "mlp"): continue
        short = args + (["--batches=6"] if "--batches=40" not in args else ["--batches=3"])
        program = t.compile(name)
        want = weights(t, program, short)
        path, source = t.path("eval.safetensors"), os.path.join(t.root, "samples", name + ".nn")
        out = t.run(t.nnc, source, "--eval-type=f32", "--eval", *short, f"--save={path}", f"--out={t.folder}", "--progress=none").stdout
        assert_same(f"{name} on the evaluator", want, (out, read_safetensors(path)))
