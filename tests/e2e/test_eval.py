"""The reference evaluator as a user meets it: the same flags, the same lines; gradients against differences; passes that change no number."""
import os, re

import datasets
from support import Skip

FASHION = "/usr/share/datasets/fashion-mnist"
SHORT = {
    "digits": ["train", "--epochs=2", "--batches=5"],
    "perceptron": ["train", "--steps=5"],
    "delta": ["train", "--epochs=2", "--batches=5"],
    "hebb": ["train", "--steps=5"],
    "optimizers": ["train", "--rounds=5"],
    "activations": ["train", "--epochs=1", "--batches=3"],
    "multitask": ["train", "--epochs=2", "--batches=4"],
}


def short_runs(t):
    for name, args in SHORT.items(): yield name, args
    if os.path.isdir(FASHION): yield "mlp", ["train", "--epochs=1", "--batches=3", f"--data={FASHION}"]


def source(t, name): return os.path.join(t.root, "samples", name + ".nn")


def same(text): return re.sub(r"[0-9.]+ s, [0-9]+/s", "TIME", text)


def lines(t, *command):
    """What a run prints, on both streams, without its times; and its files."""
    folder = t.path("files")
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder): os.remove(os.path.join(folder, name))
    done = t.run(*command, f"--out={folder}", "--progress=plain")
    found = {}
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as f: found[name] = f.read()
    return same(done.stdout), same(done.stderr), found


def test_f32_prints_and_writes_the_same(t):
    for name, args in short_runs(t):
        program = lines(t, t.compile(name), *args)
        evaluator = lines(t, t.nnc, source(t, name), "--eval-type=f32", "--eval", *args)
        for what, a, b in zip(("standard output", "standard error", "files"), program, evaluator):
            assert a == b, f"{name}: {what} of the program\n{str(a)[:1000]}\nof the evaluator\n{str(b)[:1000]}"
        assert program[1] or program[0], name


def numbers(text): return [float(v) for v in re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?", text)]


def test_f64_is_near(t):
    for name, args in short_runs(t):
        program, evaluator = lines(t, t.compile(name), *args), lines(t, t.nnc, source(t, name), "--eval", *args)
        for a, b in zip(program[:2], evaluator[:2]):
            a, b = numbers(a), numbers(b)
            assert len(a) == len(b), name
            for x, y in zip(a, b): assert abs(x - y) <= 2e-4 * abs(y) + 2e-5, f"{name}: {x} and {y}"


# the command line of one epoch, or of as many steps, at full size; and the data
EPOCH = {
    "digits": (["train", "--epochs=1"], "digits"),
    "perceptron": (["train", "--steps=200"], None),
    "delta": (["train", "--epochs=1"], "digits"),
    "hebb": (["train", "--steps=200"], None),
    "optimizers": (["train", "--rounds=40"], None),
    "activations": (["train", "--epochs=1"], "digits"),
    "multitask": (["train", "--epochs=1"], "digits"),
    "mlp": (["train", "--epochs=1"], "mnist"),  # 3,000 images
}


def test_an_epoch_in_f64(t):
    """After an epoch the compiled program has the evaluator's losses in f64 to 1e-4, and right answers to within 3 samples."""
    compared = 0
    for name, (args, data) in EPOCH.items():
        args = [*args, f"--data={datasets.folder(t, data)}", f"--out={t.folder}"]
        program, evaluator = t.log(t.compile(name), *args), t.log(t.nnc, source(t, name), "--eval", *args)
        assert len(program) == len(evaluator), name
        for a, b in zip(program, evaluator):
            assert a.keys() == b.keys() and a["samples"] == b["samples"], (name, a, b)
            for key in a.keys() - {"command", "line", "data", "epoch", "step", "samples"}:
                right = "accuracy" in key or key in ("right", "test")
                near = abs(a[key] - b[key]) * a["samples"] < 3.01 if right else abs(a[key] - b[key]) <= 1e-4 * abs(b[key])
                assert near, f"{name}, line {a['line']}: {key} is {a[key]}, in f64 {b[key]} ({a['samples']} samples)"
                compared += 1
        if program: continue
        a, b = (numbers(t.run(*command, *args).stdout) for command in ([t.compile(name)], [t.nnc, source(t, name), "--eval"]))
        assert len(a) == len(b) > 0 and all(abs(x - y) <= 1e-4 * abs(y) + 1e-6 for x, y in zip(a, b)), f"{name} prints {a[-9:]}, in f64 {b[-9:]}"
        compared += len(a)
    return f"{len(EPOCH)} samples, {compared} numbers"


def test_flags_of_the_program(t):
    digits = source(t, "digits")
    out = t.run(t.nnc, digits, "--eval", "train", "--help").stdout
    assert "--lr" in out and "--checkpoint" in out
    for args, word in [(["trian"], "train"), (["train", "--lrr=1"], "--lr"), (["train", "--threads=0"], "threads"), (["predict"], "--x")]:
        done = t.run(t.nnc, digits, "--eval", *args, status=2)
        assert word in done.stderr, done.stderr
    with open(digits, encoding="utf-8") as f: alone = t.write("alone.nn", f.read())
    done = t.run(t.nnc, alone, "--eval", "train", f"--data={t.path('.')}", status=2)
    assert "digits.csv" in done.stderr and "digits.x" in done.stderr, done.stderr


def test_inputs_and_weights(t):
    program, digits = t.compile("digits"), source(t, "digits")
    t.run(program, "train", "--epochs=1", "--batches=5", "--progress=none")
    with open(os.path.join(t.root, "samples", "data", "digits.csv")) as f: rows = [line.rsplit(",", 1)[0] for line in f][:7]
    t.write("x.csv", "\n".join(rows) + "\n")
    want = t.run(program, "predict", "--x=x.csv").stdout
    assert len(want.splitlines()) == 7
    assert t.run(t.nnc, digits, "--eval-type=f32", "--eval", "predict", "--x=x.csv").stdout == want


def test_checkpoints_of_the_evaluator(t):
    """The same runtime walks the same tree: a run begun on the evaluator is gone on with by the program, to the same bits."""
    program, args = t.compile("digits"), ["train", "--epochs=2", "--batches=4", "--progress=none"]
    from support import read_safetensors
    t.run(program, *args, f"--save={t.path('whole')}", f"--out={t.folder}")
    t.run(t.nnc, source(t, "digits"), "--eval-type=f32", "--eval", *args, f"--checkpoint={t.path('c')}", "--every=3", f"--out={t.folder}")
    t.run(program, *args, f"--checkpoint={t.path('c')}", "--resume", f"--save={t.path('end')}", f"--out={t.folder}")
    assert read_safetensors(t.path("end")) == read_safetensors(t.path("whole"))


def test_gradcheck(t):
    """At full size, of all commands at once; all samples at small sizes: test_programs.py."""
    for name in ("digits", "perceptron", "hebb", "optimizers"):
        done = t.run(t.nnc, "--gradcheck", source(t, name), status=None)
        assert done.returncode == 0, f"{name}: status {done.returncode}\n{done.stdout[-800:]}\n{done.stderr[-800:]}"
        if name == "hebb": continue  # asks for no gradient
        found = re.search(r"(\d+) comparisons, 0 beyond their bounds, (\d+) of gradients that are not 0", done.stdout)
        assert found and int(found[1]) > 0 and int(found[2]) > 0, f"{name}: {done.stdout[-800:]}"
        if name == "digits": assert "digits.nn:" in done.stdout and "dense_1.w" in done.stdout and re.search(r"error \S+ of at most \S+e-", done.stdout), done.stdout
    if os.path.isdir(FASHION):
        done = t.run(t.nnc, "--gradcheck", source(t, "mlp"), "--eval", "train", f"--data={FASHION}")
        assert ", 0 beyond their bounds" in done.stdout, done.stdout


def test_gradcheck_at_kinks(t):
    """Every command that asks for gradients is checked, also one that does not learn. Where the loss has a kink (relu at 0, equal extremes) there is no derivative: such
    comparisons are counted apart, neither right nor wrong, and --verify-passes takes them for what they are. A command that needs a file is named."""
    source = t.write("kinks.nn", "param w: f32 = 2\ncommand kinks {\n    x = f32([0, 1, -2])\n    print grad(sum(relu(x)^2 + relu(x)), x), grad(max(0 * x), x)\n}\n"
                                 "command smooth {\n    x = f32([1000, -1000, 0])\n    print grad(sum(elu(x) + sigmoid(x)), x)\n}\n"
                                 "command train {\n    for i in 0..1 { minimize w^2 over w using sgd[0.1] }\n    save w to \"w.safetensors\"\n}\n"
                                 "command ask { print grad(w^3, w) }\n")
    done = t.run(t.nnc, "--gradcheck", source)
    found = re.search(r"(\d+) comparisons, 0 beyond their bounds, (\d+) of gradients that are not 0\n(\d+) at a kink or jump", done.stdout)
    assert found and int(found[1]) >= 8 and int(found[2]) >= 6 and int(found[3]) >= 2, done.stdout
    assert "ask needs weights" in done.stdout, done.stdout
    for line in ("kinks.nn:4: x:", "kinks.nn:8: x:", "kinks.nn:11: w:"): assert line in done.stdout, done.stdout
    t.run(t.nnc, "--verify-passes", source, "--emit=loops")
    t.run(t.nnc, source, "--eval", "train", f"--out={t.folder}")
    done = t.run(t.nnc, "--gradcheck", source, "--eval", "ask", f"--weights={t.path('w.safetensors')}")
    assert "kinks.nn:14: w:" in done.stdout and ", 0 beyond their bounds" in done.stdout, done.stdout


def test_gradcheck_inside_loops(t):
    """Gradients that the turn of a loop asks for are compared as in its first turn: of scans, forwards, backwards, over slices, one in another, and of a while."""
    source = t.write("inside.nn", """param w: f32[3, 3] = normal(shape)
fn energy(x) { return sum(tanh(x @ w)^2) + 0.1 * sum(x^4) }
command train {
    for i in 0..4 {
        let y = ones([2, 3]) * 0.5
        x = y
        scan t in 0..5 {
            x = x - 0.1 * grad(energy(x * (1 + 0.1 * f32(t))) + sum(x * y), x)
        }
        scan t in 0..5 {
            z = x
            scan s in 0..3 { z = z - 0.1 * grad(energy(z), z) }
            x = x + z
        }
        let turned = y'
        scan row in turned along 0 backwards {
            let r = row * row
            x = x + grad(sum(r * r) + sum(r), r)[0] * 0.01
        }
        while sum(x) > 1 max 10 { x = x - 0.2 * grad(energy(x), x) }
        let q = stop_gradient(x)
        minimize energy(q) over w using sgd[0.1]
    }
}
""")
    done = t.run(t.nnc, source, "--gradcheck")
    lines = sorted(int(n) for n in re.findall(r"inside\.nn:(\d+): \w*: gradient", done.stdout))
    assert lines == [8, 12, 18, 20, 22], done.stdout
    assert "0 beyond" in done.stdout and "4 gradients inside loops: of the first turn" in done.stdout and "not compared" not in done.stdout, done.stdout


def test_gradcheck_of_what_is_stopped(t):
    """What stop_gradient holds back does not move in the differences either, even where it is the parameter itself."""
    for term, gradient in (("w * stop_gradient(w)", 2), ("w * w * stop_gradient(w)", 8), ("w * stop_gradient(w * w)", 4), ("stop_gradient(w)", 0)):
        t.write("cut.nn", f"param w: f32[3] = 2\ncommand train {{\n    for i in 0..2 {{ minimize sum({term}) over w using sgd[0.1] }}\n    print w\n}}\n")
        done = t.run(t.nnc, "--gradcheck", t.path("cut.nn"))
        # the line shows the worst comparison, along a direction or at an element, where the gradient is the number itself
        found = re.search(r"w: gradient (\S+), central difference (\S+), error", done.stdout)
        assert found and abs(float(found[1]) - float(found[2])) < 1e-6, f"{term}: {done.stdout}"
        assert ", 0 beyond their bounds" in done.stdout and (gradient == 0) == (", 0 of gradients" in done.stdout), f"{term}: {done.stdout}"
        moved = [float(x) for x in re.findall(r"[\d.]+", t.run(t.nnc, t.path("cut.nn"), "--eval", "train", "--turns=1").stdout)]
        assert len(moved) == 3 and all(abs(x - (2 - 0.1 * gradient)) < 1e-6 for x in moved), f"{term}: {moved}"


def test_verify_passes(t):
    """Through to the planned loops, at full size; all samples at small sizes: test_programs.py."""
    for name in ("digits", "perceptron", "optimizers"):
        done = t.run(t.nnc, "--verify-passes", source(t, name), "-o", t.path("checked"), status=None)
        assert done.returncode == 0, f"{name}: status {done.returncode}\n{done.stderr[-1500:]}"
        t.run(t.path("checked"), status=2)


def test_no_memory(t):
    """The evaluator keeps every value: one that does not fit is told with its line, and not as another fault."""
    import resource
    limit = 1 << 32
    t.write("large.nn", "command show {\n    print 1\n    x = uniform([1048576, 65536])\n    print sum(x // 2 + 1)\n}\n")
    done = t.run(t.nnc, t.path("large.nn"), "--eval", "show", status=3, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    assert re.search(r"large\.nn:[34]: there is not enough memory", done.stderr), done.stderr


def test_other_numbers_of_batches(t):
    """The last, short batch is computed exactly: the evaluator has the same sums for every batch size."""
    t.write("table.csv", "".join(f"{i * 0.37 % 1:.4f},{i * 0.71 % 1:.4f}\n" for i in range(37)))
    for batch in (1, 2, 5, 7, 16, 36, 37, 64):
        t.write("short.nn", f"""
data d {{ x: f32[2] = csv("table.csv") }}
param w: f32[2, 3] = normal(shape)
command train {{
    for epoch in 0..2 {{
        for x in d batch {batch} shuffle {{
            y = tanh(x @ w)
            loss = mean((y - 0.3)^2)
            minimize loss over w using momentum[0.1]
            track loss, rows = sum(y, axis=1), all = x
        }}
        print "{{loss}} {{rows}} {{all}}"
    }}
}}
""")
        t.run(t.nnc, t.path("short.nn"), "-o", t.path("short"))
        program = t.run(t.path("short"), "train", "--progress=none").stdout
        assert program == t.run(t.nnc, t.path("short.nn"), "--eval-type=f32", "--eval", "train", "--progress=none").stdout, f"batch {batch}"
        all_ = [float(v) for v in re.findall(r"\[(\S+), (\S+)\]", program)[0]]
        want = [sum(float(f"{i * c % 1:.4f}") for i in range(37)) / 37 for c in (0.37, 0.71)]
        assert all(abs(a - b) < 1e-6 for a, b in zip(all_, want)), (batch, all_, want)
