"""The samples against PyTorch: the same network from the same weights on the same batches. The numbers are data (tests/torch/*.json), made by tests/torch/reference.py."""
import json, os, re, struct, sys

import files, support
from support import Skip, close, floats, read_safetensors

sys.path.insert(0, os.path.join(support.ROOT, "tests", "torch"))
import inputs

FASHION = "/usr/share/datasets/fashion-mnist"


def reference(name):
    with open(os.path.join(support.ROOT, "tests", "torch", name + ".json"), encoding="utf-8") as f: return json.load(f)


def fashion():
    if not os.path.isdir(FASHION): raise Skip("needs Debian's package dataset-fashion-mnist")
    return FASHION


def start(t, shapes, name="start"):
    """A file of the weights that the reference started from."""
    path = t.path(name)
    with open(path, "wb") as f: f.write(files.safetensors({k: ("f32", shape, inputs.weight(k, shape)) for k, shape in shapes.items()}))
    return path


def check(label, got, want, rel, tolerance=0.0):
    assert abs(got - want) <= rel * abs(want) + tolerance, f"{label}: {got!r}, PyTorch {want!r} (relative {abs(got - want) / max(abs(want), 1e-30):.2g}, allowed {rel})"


def check_digest(label, values, want, rel):
    """Elements are held against the size of the largest kept one: small ones carry the rounding of the large."""
    got = inputs.digest(values)
    assert got["n"] == want["n"], label
    size = max(map(abs, want["at"]))
    check(label + ", norm", got["norm"], want["norm"], rel)
    check(label + ", sum", got["sum"], want["sum"], rel, rel * want["norm"])
    for i, a, b in zip(inputs.places(got["n"]), got["at"], want["at"]): check(f"{label}[{i}]", a, b, 0, rel * size)


def run(t, program, *args):
    """The last line of the log of each loop, and the weights at the end."""
    end = t.path("end")
    log = t.log(program, "train", "--no-shuffle", f"--save={end}", f"--out={t.folder}", *args)
    return log, read_safetensors(end)


def compare(t, label, runner, shapes, want, lr, args, line=lambda log: log[0], rel=1e-4, loss_rel=1e-4, momentum_form=True, keys=None):
    """Losses after each mark, weights after the last. The first step's gradients too where a step is w - lr g."""
    init = start(t, shapes)
    marks = sorted(map(int, want["f64"]["losses"]))
    for mark in marks:
        log, end = runner(f"--init={init}", *args(mark))
        check(f"{label}, mean loss of {mark} steps", line(log)["loss"], want["f64"]["losses"][str(mark)], loss_rel)
        if mark == 1 and momentum_form:
            for name, shape in shapes.items():
                g = [(a - b) / lr for a, b in zip(inputs.weight(name, shape), floats(end[name]))]
                check_digest(f"{label}, first gradient of {name}", g, want["f64"]["first_gradients"][name], 3e-4)
    for name in shapes: check_digest(f"{label}, {name} after {marks[-1]} steps", floats(end[name]), want["f64"]["weights"][name], rel)


def test_mlp(t):
    data = fashion()
    for name, case in reference("mlp")["cases"].items():
        program = t.compile("mlp", "-D", f"batch_size={case['batch_size']}")
        runner = lambda *args: run(t, program, f"--data={data}", f"--lr={case['lr']}", *args)
        full = case["batch_size"] == 60000
        # a full batch is an epoch of one batch: the marks are epochs, and the loss is that of the last one; PyTorch's are means over the marks
        if not full:
            compare(t, name, runner, inputs.MLP, case, case["lr"], lambda mark: ["--epochs=1", f"--batches={mark}"])
            continue
        init = start(t, inputs.MLP)
        log, end = runner(f"--init={init}", f"--epochs={case['steps']}")
        losses = [line["loss"] for line in log if "loss" in line]
        assert len(losses) == case["steps"]
        for mark, want in case["f64"]["losses"].items(): check(f"{name}, {mark} steps", sum(losses[:int(mark)]) / int(mark), want, 1e-4)
        for k in inputs.MLP: check_digest(f"{name}, {k} after {case['steps']} steps", floats(end[k]), case["f64"]["weights"][k], 1e-4)


def test_multitask(t):
    want, program = reference("multitask"), t.compile("multitask")
    runner = lambda *args: run(t, program, "--epochs=1", *args)
    # Adam's step is lr g / (|g| + 1e-8): where g is near 0 rounding decides, so elements are compared loosely
    compare(t, "multitask", runner, inputs.MULTITASK, want, 0.001, lambda mark: [f"--batches={mark}"], momentum_form=False, rel=2e-3)
    log, _ = runner(f"--init={start(t, inputs.MULTITASK)}")
    test = next(line for line in log if "test_accuracy" in line)
    assert (test["samples"], log[0]["samples"]) == (297, 1500)
    check("test_accuracy", test["test_accuracy"], want["f64"]["test"]["test_accuracy"], 0, 1.01 / 297)
    check("ink_error", test["ink_error"], want["f64"]["test"]["ink_error"], 1e-3)


def test_activations(t):
    want, program = reference("activations")["kinds"], t.compile("activations")
    init = start(t, inputs.ACTIVATIONS)
    for mark in (1, 2, 5, 20):
        log, end = run(t, program, f"--init={init}", "--epochs=1", f"--batches={mark}")
        lines = [line for line in log if "loss" in line]
        assert len(lines) == len(inputs.KINDS), log
        for kind, line in zip(inputs.KINDS, lines):
            check(f"{kind}, mean loss of {mark} steps", line["loss"], want[kind]["f64"]["losses"][str(mark)], 1e-4)
        for name, shape in inputs.ACTIVATIONS.items():
            case = want[name.split(".")[0][5:]]["f64"]
            if mark == 1:
                g = [(a - b) / 0.1 for a, b in zip(inputs.weight(name, shape), floats(end[name]))]
                check_digest(f"first gradient of {name}", g, case["first_gradients"][name], 3e-4)
            if mark == 20: check_digest(f"{name} after 20 steps", floats(end[name]), case["weights"][name], 5e-4)


def closed_form(rounds):
    """w2 of the sample: the running mean of the gradients, damped from the first step. And w1, for which there is a product."""
    w2, m, w1, product = 5.0, 0.0, [], 1.0
    path = []
    for i in range(rounds):
        rate = 0.2 * 0.99 ** i
        product *= 1 - 2 * rate  # (w + 1) shrinks by 1 - 2 rate
        w1.append(6 * product - 1)
        m = 0.9 * m + 0.1 * 2 * (w2 + 1)
        w2 -= rate * m
        path.append(w2)
    return w1, path


def test_optimizers(t):
    program, want = t.compile("optimizers"), reference("optimizers")["paths"]
    done = t.run(program, "train", f"--out={t.folder}")
    lines = done.stdout.splitlines()
    assert len(lines) == 40
    w1, w2 = closed_form(40)
    for i, line in enumerate(lines):
        found = re.fullmatch(r"(\d+): rate (\S+)  (\S+) (\S+) (\S+) (\S+) (\S+) (\S+)", line)
        assert found and int(found[1]) == i, line
        check(f"rate in round {i}", float(found[2]), 0.2 * 0.99 ** i, 1e-6)
        values = [float(found[k]) for k in range(3, 9)]
        near = lambda name, got, exact: check(f"{name} in round {i}", got, exact, 0, 1e-6 * max(1, abs(exact)))  # f32 has 2.4e-7 between 2 and 4
        near("w1", values[0], w1[i])
        near("w2", values[1], w2[i])
        for k, name in ((0, "w1"), (2, "w3"), (3, "w4"), (4, "w5"), (5, "w6")): near(name, values[k], want[name][i])
    with open(t.path("optimizers.csv")) as f: last = [float(v) for v in f.read().split()]
    ends = [w1[-1], w2[-1], *(want[k][-1] for k in ("w3", "w4", "w5", "w6"))]
    for value, exact in zip(last, ends): check("optimizers.csv", value, exact, 0, 1e-6 * max(1, abs(exact)))


def test_every_rule_of_the_library(t):
    want = reference("rules")
    t.write("rules.nn", inputs.RULES_PROGRAM)
    t.run(t.nnc, t.path("rules.nn"), "-o", t.path("rules"))
    init = start(t, {name: [5] for name in inputs.RULES_NAMES})
    for i, rounds in enumerate(want["rounds"]):
        t.run(t.path("rules"), "train", f"--rounds={rounds}", f"--init={init}", f"--save={t.path('end')}")
        end = read_safetensors(t.path("end"))
        for name in inputs.RULES_NAMES:
            for k, (got, exact) in enumerate(zip(floats(end[name]), want["paths"][name]["f64"][i])):
                check(f"{name}[{k}] after {rounds} rounds", got, exact, 2e-5, 2e-6)


def test_evaluator_in_f64(t):
    """On the evaluator in f64 a few batches agree with PyTorch in f64 to the digits that a float shows."""
    cases = [("multitask", inputs.MULTITASK, reference("multitask")["f64"]["losses"], [], [1, 5])]
    if os.path.isdir(FASHION):
        mlp = reference("mlp")["cases"]
        cases.append(("mlp", inputs.MLP, mlp["mini-batches"]["f64"]["losses"], [f"--data={FASHION}", "--lr=0.5"], [1, 5]))
    for name, shapes, losses, args, marks in cases:
        init = start(t, shapes)
        for mark in marks:
            log = t.path("log")
            if os.path.exists(log): os.remove(log)
            t.run(t.nnc, os.path.join(t.root, "samples", name + ".nn"), "--eval", "train", "--no-shuffle", "--epochs=1", f"--batches={mark}", f"--init={init}",
                  f"--log={log}", f"--out={t.folder}", "--progress=none", *args)
            check(f"{name}, mean loss of {mark} steps", support.read_log(log)[0]["loss"], losses[str(mark)], 1e-6)
