"""Every name of the library (frontend/std) and every built-in function against a second source.

What is not random: tests/torch/std_cases.py, a table of expressions in nnc beside PyTorch's; PyTorch's numbers are data (std.json). A family of
cases is one program, run on the evaluator in f64 and compiled. What is random: moments, bounds and closed forms, below. A name without a case fails
test_every_name.
"""
import glob, math, os, re, sys

import files, support
from support import floats, read_safetensors

sys.path.insert(0, os.path.join(support.ROOT, "tests", "torch"))
import inputs, std_cases
from test_torch import reference

COVERED = {}  # name -> the test that covers it


def covers(*names):
    def keep(test):
        for name in names: COVERED[name] = test.__name__
        return test
    return keep


# ---- the table ----

class Program:
    """The program of some cases, the weights it starts from, and the files it writes."""

    def __init__(self, cases):
        self.head, self.body, self.init = ["fn along(y: f64[...S]) = sum(y * reshape(cos(f64(arange(prod(S)))), S))",
                                           "param nothing: f32 = 0"], [], {}
        for i, c in enumerate(cases): self.add(f"c{i}", c)

    def add(self, tag, c):
        mine = {}  # name of an input -> its name in this program
        for name in c["inputs"]:
            kind, shape, numbers = std_cases.values(c, name)
            mine[name] = full = name.replace("m.", tag + "_m.", 1) if name.startswith("m.") else f"{tag}_{name}"
            if not name.startswith("m."):
                self.head.append(f"{'param' if std_cases.moves(c, name) else 'state'} {full}: {kind}{shape} = 0")
            self.init[full] = (kind, shape, numbers)
        if c["model"]: self.head.append(f"model {tag}_m = {c['model']}")
        if c.get("fn"): self.head.append(c["fn"])
        in_string = r'"[^"]*"|' + r"(?<![\w.=])(" + "|".join([re.escape(n) for n in c["inputs"]
                                                              if not n.startswith("m.")] + ["m"] * bool(c["model"]) or ["-"]) + r")(?!\w|=[^=])"
        rename = lambda text: re.sub(in_string, lambda m: f"{tag}_{m[1]}" if m[1] else m[0], text)
        lines, results = [], []
        for part in c["nn"].split("; "):
            left, equals, right = part.partition(" = ")
            names = [f"{tag}_r{len(results) + k}" for k in range(left.count(",") + 1 if equals else 1)]
            lines.append(f"{', '.join(names)} = {rename(right if equals else part)}")
            results += names
        lines += [f'write f64({r}) to "{r}.npy"' for r in results]
        if c["grads"]:
            lines.append(f"{tag}_loss = " + " + ".join(f"along(f64({r}))" for r in results))
            lines += [f'write f64(grad({tag}_loss, {mine[n]})) to "{mine[n]}.npy"' for n in c["inputs"]
                      if not n.startswith("m.") and std_cases.moves(c, n)]
            weights = [n for n in c["inputs"] if n.startswith("m.") and std_cases.moves(c, n)]
            if weights: lines.append(f"{tag}_gs = grad({tag}_loss, {tag}_m)")
            lines += [f'write f64({tag}_gs[{k}]) to "{tag}_m{k}.npy"' for k in range(len(weights))]
        if c["learn"]: lines = [f"for i in 0..1 {{", *lines, f"minimize f32({tag}_loss) + nothing over nothing using sgd[0]", "}"]
        lines += [f'write f64({mine[n]}) to "{tag}_r{len(results) + k}.npy"' for k, n in enumerate(c["after"])]
        self.body += lines

    def text(self): return "\n".join(self.head + ["command check {"] + self.body + ["}", ""])


def npy(t, name):
    with open(t.path(name + ".npy"), "rb") as f: kind, shape, values = files.read_npy(f.read())
    assert kind == "<f8", kind
    return list(shape), list(values)


def compare(label, got, want, rel):
    """Sums carry the rounding of all their terms; the size of the tensor is the measure of what is near."""
    shape, values = got
    mine = inputs.summary(shape, values)
    assert mine["shape"] == want["shape"], f"{label}: {mine['shape']}, PyTorch {want['shape']}"
    allowed = rel * max(want["norm"], 1e-30)
    for key in ("norm", "sum", "along"):
        bound = allowed * (1 if key == "norm" else math.sqrt(max(len(values), 1)))
        assert abs(mine[key] - want[key]) <= bound, f"{label}, {key}: {mine[key]!r}, PyTorch {want[key]!r}"
    for a, b in zip(mine["at"], want["at"]): assert abs(a - b) <= max(allowed, rel * abs(b)), f"{label}: {mine['at']}, PyTorch {want['at']}"


def results(t, i, c, want, order):
    """(what it is, the array of a run, PyTorch's summary) of everything case i has."""
    for k, kept in enumerate(want["results"]): yield f"result {k + 1}", npy(t, f"c{i}_r{k}"), kept
    moving = [n for n in c["inputs"] if c["grads"] and std_cases.moves(c, n)]
    assert set(moving) == set(want["gradients"]), c["name"]
    weights = ["m." + n.split(".", 1)[1] for n in order if n.startswith(f"c{i}_m.")]  # in the order of params(m)
    files_of = {n: f"c{i}_m{k}" for k, n in enumerate(n for n in weights if n in moving)}
    for n in moving: yield f"gradient of {n}", npy(t, files_of.get(n, f"c{i}_{n}")), want["gradients"][n]


def run_family(t, family):
    """The evaluator in f64 to 1e-10 (or what the case says), the compiled program to what f32 allows: functions are right to 2 ulp (1.2e-7 each), and 1 - tanh^2
    of a gradient and the softmax behind it multiply that."""
    cases, kept, wrong = std_cases.FAMILIES[family], reference("std")["cases"], []
    program = Program(cases)
    source, init = t.write("cases.nn", program.text()), t.path("init")
    with open(init, "wb") as f: f.write(files.safetensors({"nothing": ("f32", [], [0.0]), **program.init}))
    for label, command, rel in (("evaluator", [t.nnc, source, "--eval"], 0), ("program", [t.compile(source)], 4e-6)):
        for old in glob.glob(t.path("*.npy")): os.remove(old)
        t.run(*command, "check", f"--init={init}", f"--out={t.folder}", "--progress=none", f"--save={t.path('end')}")
        order = list(read_safetensors(t.path("end")))
        for i, c in enumerate(cases):
            for what, got, want in results(t, i, c, kept[c["name"]], order):
                try: compare(f"{c['name']}, {label}, {what}", got, want, rel or c.get("rel", 1e-10))
                except AssertionError as e: wrong.append(str(e))
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong)


# ---- one test a family ----

def test_activations(t): run_family(t, "activations")
@covers("same", "valid")
def test_layers(t): run_family(t, "layers")
def test_recurrent(t): run_family(t, "recurrent")
def test_attention(t): run_family(t, "attention")
def test_losses(t): run_family(t, "losses")
def test_schedules(t): run_family(t, "schedules")
def test_preprocess(t): run_family(t, "preprocess")
def test_builtins(t): run_family(t, "builtins")


@covers("like", "require")
def test_both_floats_and_limits(t):
    """What is declared float[..] takes f64; what cannot be meant is refused when compiled."""
    source = t.write("both.nn", """command c {
    z = reshape(f32(arange(48)), [1, 4, 6, 2])
    d = f64(z)
    print sum(abs(avgpool[2](d) - f64(avgpool[2](z)))), mean(abs(positional_encoding(d[0]) - f64(positional_encoding(z[0])))) < 1e-6
    print masked_cross_entropy(f64(zeros([2, 2])), i32([1, -1]), bool(i32([1, 0]))), like(3, d) // 2
    print shape(random_affine(d, angle=0.1)), shape(random_crop[2, 2](d)), shape(gaussian_noise(d, 0.1)), require(7, 1 < 2, "never")
}
""")
    out = t.run(t.nnc, source, "--eval", "c").stdout
    assert out == "0 true\n0.6931472 1\n[1, 4, 6, 2] [1, 2, 2, 2] [1, 4, 6, 2] 7\n", out
    for text in ("avgpool[2, stride=1, pad=2](ones([1, 4, 4, 1]))", "require(1, 2 < 1, \"so\")", "unlikely(ones([3]))"):
        source = t.write("not.nn", "model unlikely = dropout[1.5]\ncommand c { print " + text + " }\n")
        err = t.run(t.nnc, source, "--eval", "c", status=2).stderr
        assert "E0214" in err, err


@covers("sgd", "decayed", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "clip_norm", "clip_value")
def test_optimizers(t):
    """Thirty steps of every rule, on the evaluator in f64, against PyTorch's f64 (the compiled program: test_torch.py)."""
    want = reference("rules")
    source = t.write("rules.nn", inputs.RULES_PROGRAM)
    with open(t.path("init"), "wb") as f: f.write(files.safetensors({n: ("f32", [5], inputs.weight(n, [5])) for n in inputs.RULES_NAMES}))
    for i, rounds in enumerate(want["rounds"]):
        t.run(t.nnc, source, "--eval", "train", f"--rounds={rounds}", f"--init={t.path('init')}", f"--save={t.path('end')}")
        end = read_safetensors(t.path("end"))
        for name in inputs.RULES_NAMES:
            for got, exact in zip(floats(end[name]), want["paths"][name]["f64"][i]): assert abs(got - exact) <= 4e-7 * max(1, abs(exact)), (name,
                rounds, got, exact)
    # damp: the running mean of the gradients, in closed form under a constant gradient g: v_n = g (1 - β^n)
    t.write("damp.nn", "param w: f32 = 0\ncommand train { for i in 0..6 { minimize 3 * w over w using momentum[0.1, β=0.75, damp=0.75, decay=0] } }\n")
    t.run(t.nnc, t.path("damp.nn"), "--eval", "train", f"--save={t.path('end')}")
    exact = -0.1 * sum(3 * 0.25 * sum(0.75 ** k for k in range(n)) for n in range(1, 7))
    assert abs(floats(read_safetensors(t.path("end"))["w"])[0] - exact) < 1e-6


# ---- what is random ----

def evaluate(t, text, arrays, *args):
    """The arrays that a program writes, each with its shape."""
    source = t.write("random.nn", text)
    t.run(t.nnc, source, "--eval", "check", f"--out={t.folder}", "--progress=none", *args)
    return [npy(t, name) for name in arrays]


def mean(values): return sum(values) / len(values)


def near_mean(label, values, want, deviation):
    """Within five standard deviations of the mean."""
    assert abs(mean(values) - want) <= 5 * deviation / math.sqrt(len(values)), \
        f"{label}: mean {mean(values)}, not {want} (deviation {deviation}, {len(values)} values)"


def normal_moments(label, values, σ):
    near_mean(label, values, 0, σ)
    near_mean(label + ", square", [v * v for v in values], σ ** 2, math.sqrt(2) * σ ** 2)
    near_mean(label + ", fourth power", [v ** 4 for v in values], 3 * σ ** 4, math.sqrt(96) * σ ** 4)


def uniform_moments(label, values, a):
    assert all(-a <= v <= a for v in values) and max(values) > 0.99 * a and min(values) < -0.99 * a, label
    near_mean(label, values, 0, a / math.sqrt(3))
    near_mean(label + ", square", [v * v for v in values], a ** 2 / 3, a ** 2 * math.sqrt(4 / 45))


def orthonormal(label, w, rows, columns):
    """The shorter side is orthonormal."""
    at = (lambda k, i: w[k * columns + i]) if columns <= rows else (lambda k, i: w[i * columns + k])
    for i in range(min(rows, columns)):
        for j in range(i + 1):
            product = sum(at(k, i) * at(k, j) for k in range(max(rows, columns)))
            assert abs(product - (i == j)) < 1e-5, f"{label}: {i} and {j}: {product}"


@covers("within", "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "orthogonal")
def test_initial_values(t):
    """Bounds and moments from the fans: of a matrix 60 by 100, and of kernels 3 by 5 from 16 channels to 24."""
    shapes, rules = {"matrix": [60, 100], "kernels": [3, 5, 16, 24]}, ["glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal"]
    text = "".join(f"param {r}_{k}: f32{s} = {r}(shape)\n" for r in rules for k, s in shapes.items())
    text += "param spread: f32[4000] = within(shape, 0.3)\nparam tall: f32[20, 7] = orthogonal(shape)\nparam wide: f32[7, 20] = orthogonal(shape)\n"
    text += "param some: f32[2, 2, 3, 5] = orthogonal(shape)\ncommand check { print \"made\" }\n"
    evaluate(t, text, [], f"--save-init={t.path('first')}")
    first = read_safetensors(t.path("first"))
    for k, (fan_in, fan_out) in {"matrix": (60, 100), "kernels": (240, 360)}.items():
        v = {r: floats(first[f"{r}_{k}"]) for r in rules}
        uniform_moments("glorot_uniform", v["glorot_uniform"], math.sqrt(6 / (fan_in + fan_out)))
        uniform_moments("he_uniform", v["he_uniform"], math.sqrt(6 / fan_in))
        normal_moments("glorot_normal", v["glorot_normal"], math.sqrt(2 / (fan_in + fan_out)))
        normal_moments("he_normal", v["he_normal"], math.sqrt(2 / fan_in))
        normal_moments("lecun_normal", v["lecun_normal"], math.sqrt(1 / fan_in))
    uniform_moments("within", floats(first["spread"]), 0.3)
    for name, rows, columns in [("tall", 20, 7), ("wide", 7, 20), ("some", 12, 5)]: orthonormal(name, floats(first[name]), rows, columns)


def test_first_values_of_layers(t):
    """What every parameter and state of a layer begins with: a number, or one of the rules above with the fans of its shape."""
    models = {"dense": ("dense[60]", "x"), "conv": ("conv[24, [3, 5]]", "zeros([1, 6, 6, 16])"),
              "back": ("conv_transpose[24, [3, 5]]", "zeros([1, 6, 6, 16])"), "words": ("embedding[90, 40]", "i32([3])"),
              "bn": ("batch_norm", "x"), "ln": ("layer_norm", "x"), "rnn": ("rnn_cell[40]", "x, h"), "lstm": ("lstm_cell[40]", "x, h, h"),
              "peep": ("peephole_lstm_cell[40]", "x, h, h"),
              "one": ("coupled_lstm_cell[40]", "x, h, h"), "gru": ("gru_cell[40, after=true]", "x, h"),
              "mlp": ("additive_attention[2000]", "x, zeros([1, 3, 50]), ones([1, 3]) > 0"),
              "heads": ("multi_head_attention[4]", "s, s, s, ones([3, 3]) > 0")}
    head, body = "", "x = zeros([1, 80])\nh = zeros([1, 40])\ns = zeros([1, 3, 80])\n"
    for name, (layer, args) in models.items():
        results = f"{name}_0, {name}_1" if name in ("lstm", "peep", "one", "mlp") else f"{name}_0"
        head += f"model m_{name} = {layer}\n"
        body += f"{results} = m_{name}({args})\nprint {name}_0\n"
    text = head + "command check {\n" + body + "}\n"
    evaluate(t, text, [], f"--save-init={t.path('first')}")
    first = {k[2:]: (v[1], floats(v)) for k, v in read_safetensors(t.path("first")).items()}
    ones = {"bn.γ", "ln.γ", "bn.running_var", "lstm.bf", "peep.bf", "one.bf"}
    seen = set()
    for name, (shape, values) in first.items():
        part = name.split(".")[-1]
        if len(shape) == 1 and name != "mlp.v": assert set(values) == {1.0 if name in ones else 0.0}, name
        elif part[0] == "U" and name != "mlp.U": orthonormal(name, values, *shape)
        elif name == "words.E": normal_moments(name, values, 1)
        elif name == "mlp.v": normal_moments(name, values, 1 / math.sqrt(2000))
        else:
            field = math.prod(shape[:-2])
            uniform_moments(name, values, math.sqrt(6 / (field * (shape[-2] + shape[-1]))))
        seen.add(name)
    assert ones <= seen and {"rnn.U", "gru.Uh", "heads.wo.w", "back.w", "gru.ch", "bn.running_mean"} <= seen and len(seen) > 45, sorted(seen)


@covers("uniform", "normal", "bernoulli", "categorical", "permutation", "randint")
def test_draws(t):
    u, n, b, c, p, r = evaluate(t, """
command check {
    write f64(uniform([50, 200])) to "u.npy"
    write f64(normal([50, 200])) to "n.npy"
    write f64(bernoulli(f32([0.25, 0.75]) + zeros([4000, 2]))) to "b.npy"
    write f64(categorical(log(f32([0.1, 0.2, 0.7])) + zeros([6000, 3]))) to "c.npy"
    write f64(permutation(500)) to "p.npy"
    write f64(randint([60, 100], 5)) to "r.npy"
}
""", "unbcpr")
    assert (u[0], n[0], b[0], c[0], p[0], r[0]) == ([50, 200], [50, 200], [4000, 2], [6000], [500], [60, 100])
    assert min(u[1]) >= 0 and max(u[1]) < 1
    uniform_moments("uniform", [2 * v - 1 for v in u[1]], 1)
    normal_moments("normal", n[1], 1)
    near_mean("neighbours of a normal", [x * y for x, y in zip(n[1], n[1][1:])], 0, 1)
    for k, share in ((0, 0.25), (1, 0.75)):
        assert set(b[1]) == {0.0, 1.0}
        near_mean("bernoulli", b[1][k::2], share, math.sqrt(share * (1 - share)))
    for k, share in enumerate((0.1, 0.2, 0.7)): near_mean("categorical", [float(v == k) for v in c[1]], share, math.sqrt(share * (1 - share)))
    assert sorted(p[1]) == list(range(500)) and p[1] != sorted(p[1])
    assert sum(v == i for i, v in enumerate(p[1])) < 12, "fixed points: one on average"
    for k in range(5): near_mean("randint", [float(v == k) for v in r[1]], 0.2, 0.4)
    assert set(r[1]) == {0.0, 1, 2, 3, 4}


@covers("dropout")
def test_dropout_learning(t):
    """What is kept is scaled, the gradient has the same mask, and every turn draws anew."""
    arrays = evaluate(t, """
layer holed(x: f32[B, D]) -> f32[B, D] { return x |> dropout[0.25] }
model m = holed
param x: f32[200, 200] = 3
param nothing: f32 = 0
command check {
    for i in 0..2 {
        y = m(x)
        write f64(y) to "y{i}.npy"
        write f64(grad(sum(y), x)) to "g{i}.npy"
        minimize nothing over nothing using sgd[0]
    }
    write f64(m(x)) to "whole.npy"
}
""", ["y0", "g0", "y1", "g1", "whole"])
    values = [a[1] for a in arrays]
    for y, g in (values[:2], values[2:4]):
        y, g = [round(v, 6) for v in y], [round(v, 6) for v in g]  # 1 / 0.75 is rounded to f32
        assert set(y) == {0.0, 4.0}, set(y)
        near_mean("kept", [v / 4 for v in y], 0.75, math.sqrt(0.75 * 0.25))
        assert [round(v / 3, 6) for v in y] == g
    assert values[0] != values[2] and set(values[4]) == {3.0}


@covers("gaussian_noise", "salt_and_pepper", "random_flip", "random_crop", "cutout")
def test_augment_places(t):
    """Noise by its moments; flips, crops and holes picture by picture."""
    noise, salt, flip, crop, cut = evaluate(t, """
fn pictures(B: int) = 2 + reshape(f32(arange(B * 54)), [B, 6, 9, 1]) / 1024 + f32([0, 8])
command check {
    write f64(gaussian_noise(full([20, 6, 9, 2], 5), 0.5)) to "noise.npy"
    write f64(salt_and_pepper(pictures(60), 0.3)) to "salt.npy"
    write f64(random_flip(pictures(60))) to "flip.npy"
    write f64(random_crop[4, 5](pictures(60))) to "crop.npy"
    write f64(cutout[3](pictures(60))) to "cut.npy"
}
""", ["noise", "salt", "flip", "crop", "cut"])
    x = [[[[2 + ((b * 6 + r) * 9 + c) / 1024 + 8 * k for k in range(2)] for c in range(9)] for r in range(6)] for b in range(60)]
    normal_moments("gaussian_noise", [v - 5 for v in noise[1]], 0.5)
    clean = std_cases.flat(x)
    assert salt[0] == [60, 6, 9, 2] and all(v in (0, 1) or v == w for v, w in zip(salt[1], clean))
    for k in (0.0, 1.0): near_mean("salt_and_pepper", [float(v == k) for v in salt[1]], 0.15, math.sqrt(0.15 * 0.85))

    def picture(array, b):
        _, H, W, C = array[0]
        at = b * H * W * C
        return [[[array[1][at + (r * W + c) * C + k] for k in range(C)] for c in range(W)] for r in range(H)]
    flipped = 0
    for b in range(60):
        mirror = [row[::-1] for row in x[b]]
        assert picture(flip, b) in (x[b], mirror), b
        flipped += picture(flip, b) == mirror
    assert 10 <= flipped <= 50, flipped
    assert crop[0] == [60, 4, 5, 2]
    places = set()
    for b in range(60):
        got = picture(crop, b)
        found = [(r, c) for r in range(3) for c in range(5) if got == [row[c:c + 5] for row in x[b][r:r + 4]]]
        assert len(found) == 1, f"picture {b} is no window"
        places.add(found[0])
    assert len(places) >= 10 and {r for r, _ in places} == {0, 1, 2} and {c for _, c in places} == {0, 1, 2, 3, 4}, places
    centres = set()
    for b in range(60):
        got = picture(cut, b)
        holes = {(r, c) for r in range(6) for c in range(9) if got[r][c] == [0, 0]}
        assert all(got[r][c] == x[b][r][c] for r in range(6) for c in range(9) if (r, c) not in holes)
        found = [(u, v) for u in range(6) for v in range(9) if holes == {(r, c) for r in range(6) for c in range(9)
                                                                         if abs(r - u) <= 1 and abs(c - v) <= 1}]
        assert len(found) == 1, f"picture {b}: {holes}"
        centres.add(found[0])
    assert len(centres) >= 25, centres


@covers("random_affine", "rotate", "scale", "random_shift")
def test_augment_moves(t):
    """A picture of its own coordinates tells what was done to it: mixing neighbours of a ramp is exact, so inside the picture the values are the
    place where the pixel came from."""
    names = ["same", "rotate", "scale", "shift", "all"]
    arrays = dict(zip(names, evaluate(t, """
fn ramps(B: int) {
    r = f32(arange(13))[new, :, new, new] + zeros([B, 13, 15, 1])
    c = f32(arange(15))[new, new, :, new] + zeros([B, 13, 15, 1])
    return concat([r, c, ones([B, 13, 15, 1])], axis=-1)
}
command check {
    write f64(random_affine(ramps(40))) to "same.npy"
    write f64(rotate(ramps(40), 0.5)) to "rotate.npy"
    write f64(scale(ramps(40), 0.25)) to "scale.npy"
    write f64(random_shift(ramps(40), 2)) to "shift.npy"
    write f64(random_affine(ramps(40), angle=0.25, zoom=0.125, shift=1)) to "all.npy"
}
""", names)))
    drawn = {name: [] for name in names}
    for name, (shape, values) in arrays.items():
        assert shape == [40, 13, 15, 3]
        for b in range(40):
            at = lambda r, c: values[((b * 13 + r) * 15 + c) * 3:((b * 13 + r) * 15 + c) * 3 + 3]
            u0, v0, _ = at(6, 7)  # the middle
            (u1, v1, _), (u2, v2, _) = at(6, 9), at(8, 7)
            a, s = (v1 - v0) / 2, (u1 - u0) / 2  # d(u, v) / d column = (-sin, cos) / zoom
            assert abs((u2 - u0) / 2 - a) < 1e-6 and abs((v2 - v0) / 2 + s) < 1e-6, f"{name}: a turn and one zoom for both axes"
            for r in range(13):
                for c in range(15):
                    u, v, inside = at(r, c)
                    if inside > 1 - 1e-9:  # all four neighbours are in the picture
                        assert abs(u - (u0 + a * (r - 6) + s * (c - 7))) < 1e-5 and abs(v - (v0 - s * (r - 6) + a * (c - 7))) < 1e-5, (name, b, r, c)
            drawn[name].append((math.atan2(-s, a), 1 / math.hypot(a, s), u0 - 6, v0 - 7))
    limits = {"same": (0, 0, 0), "rotate": (0.5, 0, 0), "scale": (0, 0.25, 0), "shift": (0, 0, 2), "all": (0.25, 0.125, 1)}
    for name, (angle, zoom, shift) in limits.items():
        for k, (centre, bound) in enumerate(((0, angle), (1, zoom), (0, shift), (0, shift))):
            got = [d[k] - centre for d in drawn[name]]
            assert all(abs(v) <= bound + 1e-6 for v in got), (name, k, got)
            if bound: assert max(got) > bound / 2 and min(got) < -bound / 2, (name, k, got)  # 40 draws, uniform


# ---- nothing is left out ----

def library():
    """name -> (file, line number, the lines of its comment) of every function, layer, optimizer and constant of the library."""
    found = {}
    for path in sorted(glob.glob(os.path.join(support.ROOT, "frontend", "std", "*.nn"))):
        with open(path, encoding="utf-8") as f: lines = f.read().split("\n")
        for i, line in enumerate(lines):
            m = re.match(r"(?:fn|layer|optimizer|const)\s+([^\W\d]\w*)", line)
            if not m: continue
            above = i
            while above and lines[above - 1].startswith("#"): above -= 1
            inline = line.split("#", 1)[1:]
            found[m[1]] = (os.path.basename(path), i + 1, [text.lstrip("# ") for text in lines[above:i]] + inline)
    return found


def builtins():
    """The rows of the tables in frontend/builtin*.c, and the element types as functions."""
    names = set()
    for path in glob.glob(os.path.join(support.ROOT, "frontend", "builtin*.c")):
        with open(path) as f: names |= set(re.findall(r'^    \{"([a-z_0-9]+)", "', f.read(), re.M))
    assert len(names) > 50, names
    return names


def test_every_name(t):
    cases = {c["name"].split("/")[0] for cases in std_cases.FAMILIES.values() for c in cases} | set(COVERED)
    names = library()
    assert len(names) > 80, sorted(names)
    missing = sorted(set(names) - cases)
    assert not missing, f"names of frontend/std without a case: {missing}"
    missing = sorted(builtins() - cases)
    assert not missing, f"built-in functions without a case: {missing}"
    with open(os.path.join(support.ROOT, "docs", "language.md"), encoding="utf-8") as f: page = f.read()
    of = lambda title: re.search(rf"\n## {title}\n(.*?)\n## ", page, re.S)[1]
    for title, listed in (("The library", set(names)), ("Built-in functions", builtins())):
        missing = sorted(n for n in listed if not re.search(rf"(?<!\w){n}(?!\w)", of(title)))
        assert not missing, f"docs/language.md, {title}: says nothing of {missing}"
    kept = reference("std")["cases"]
    assert set(kept) == {c["name"] for cases in std_cases.FAMILIES.values() for c in cases}, "std.json: run tests/torch/reference_std.py"


def test_every_name_has_a_comment(t):
    silent = [f"{file}:{line}: {name}" for name, (file, line, comment) in library().items() if sum(map(len, comment)) < 12]
    assert not silent, silent
