"""Loops that run, scan, repeat and while, in all their forms: gradients against differences, the compiled program against the evaluator, and how much of the
graph a longer sequence costs: nothing."""
import os, re

# name: what stands in `train` before `loss`, which is of w: f32[3, 3] and x: f32[B, 5, 3]
FORMS = {
    "forwards": "h = zeros([B, 3])\n scan xt in x along 1 { h = tanh(h @ w + xt) }\n loss = sum(h^2)",
    "backwards": "h = zeros([B, 3])\n hs = scan xt in x along 1 backwards { h = tanh(h @ w + xt)\n yield h }\n loss = sum(hs * x)",
    "several inputs": "h = zeros([B, 3])\n hs = scan a, b in x, x^2 along 1 { h = sin(h @ w + a) * b\n yield h }\n loss = sum(hs)",
    "inputs of other shapes": "h = zeros([B])\n hs = scan a, m in x, x[:, :, 0] > 0 along 1 { h = if m then h + sum(tanh(a @ w), axis=1) else h\n yield h }\n loss = sum(hs^2)",
    "along the last axis": "h = zeros([B, 5])\n hs = scan c in x along 2 { h = 0.5 * h + tanh(c * w[0, 0])\n yield h }\n loss = sum(hs^2)",
    "over the rows of a parameter": "h = zeros([B, 5])\n scan row in w along 0 { h = tanh(h + x @ row) }\n loss = sum(h^2)",
    "several yields": "h = zeros([B, 3])\n a, b = scan xt in x along 1 { h = tanh(h @ w + xt)\n yield h, sum(h, axis=1)^2 }\n loss = sum(a * x) + sum(b)",
    "several carried": "h = zeros([B, 3])\n c = ones([B, 3])\n scan xt in x along 1 { c = 0.5 * c + xt * tanh(h @ w)\n h = sin(c) }\n loss = sum(h * c)",
    "nested": "h = zeros([B, 3])\n scan xt in x along 1 { scan i in 0..3 { h = tanh(h @ w + xt * w[i]) } }\n loss = sum(h^2)",
    "nested with yields": "h = zeros([B, 3])\n ys = scan xt in x along 1 { zs = scan row in w along 0 { h = tanh(h * row + xt)\n yield h }\n yield sum(zs, axis=0) }\n loss = sum(ys^2)",
    "over a range": "h = x[:, 0]\n hs = scan t in 0..4 { h = tanh(h @ w) * (t + 1)\n yield h }\n loss = sum(hs[3]^2) + sum(hs[1])",
    "over a range along 1": "h = x[:, 0]\n hs = scan t in 0..4 along 1 { h = tanh(h @ w)\n yield h }\n loss = sum(hs * x[:, 0:4])",
    "along the batch": "h = zeros([3])\n scan s in x along 0 { h = tanh(h @ w + sum(s, axis=0)) }\n loss = sum(h^2)",
    "along the batch with yields": "h = zeros([3])\n hs = scan s in x[:, 0] along 0 { h = tanh(h @ w + s)\n yield h }\n loss = sum(hs * x[:, 1])",
    "elements written": "y = zeros([B, 5, 3])\n h = zeros([B, 3])\n scan t in 0..5 { h = tanh(h @ w + x[:, t])\n y[:, t] = h * h }\n loss = sum(y * x)",
    "through a comparison": "h = zeros([B, 3])\n scan xt in x along 1 { h = if xt > 0 then tanh(h @ w) else h + xt * w[0] }\n loss = sum(h^2)",
    "repeat": "h = x[:, 0]\n repeat 4 { h = tanh(h @ w) }\n loss = sum(h^2)",
    "repeat in a scan": "h = zeros([B, 3])\n scan xt in x along 1 { repeat 2 { h = tanh(h @ w + xt) } }\n loss = sum(h^2)",
    "a gradient of a gradient": "h = zeros([B, 3])\n scan xt in x along 1 { h = tanh(h @ w + xt) }\n g = grad(sum(h^2), w)\n loss = sum(g^2)",
    "a gradient in a gradient, nested": "h = zeros([B, 3])\n scan xt in x[:, 0:2] along 1 { scan i in 0..2 { h = tanh(h @ w + xt) } }\n g = grad(sum(h^3), w)\n loss = sum(g * w)",
}
PROGRAM = """data d {{ x: f32[5, 3] = npy("x.npy") }}
param w: f32[3, 3] = 0.4 * normal(shape)
fn objective(x: f32[B, 5, 3]) {{
 {body}
 return loss
}}
command train {{
    for epoch in 0..2 {{
        for x in d batch 4 {{
            loss = objective(x)
            minimize loss over w using sgd[0.01]
            track loss
        }}
    }}
    print w
}}
"""
WHILE = """param w: f32[3] = 0.5
command train {
    for i in 0..3 {
        n = 0
        v = stop_gradient(w)
        while sum(v^2) < 50 max 20 {
            v = v * 1.5 + 0.1
            n = n + 1
        }
        loss = sum((w - v)^2)
        minimize loss over w using sgd[0.1]
        print "{n} turns {v} {w}"
    }
}
"""


def write_data(t):
    import files, random
    draw = random.Random(1)
    with open(t.path("x.npy"), "wb") as f: f.write(files.npy("f32", [7, 5, 3], [draw.uniform(-1, 1) for _ in range(7 * 5 * 3)]))


def judged(t, source, gradients=True):
    """Gradients against differences; the lines of the program are those of the evaluator in f32."""
    done = t.run(t.nnc, source, "--gradcheck", "--eval", "train", status=None)
    found = re.search(r"(\d+) comparisons, 0 beyond their bounds, (\d+) of gradients that are not 0", done.stdout)
    assert done.returncode == 0 and found, done.stdout[-500:] + done.stderr[-700:]
    assert int(found[2]) > 0 or not gradients, done.stdout
    t.run(t.nnc, source, "-o", t.path("program"))
    want = t.run(t.nnc, source, "--eval-type=f32", "--eval", "train", "--progress=none").stdout
    for threads in (1, 3):
        got = t.run(t.path("program"), "train", "--progress=none", f"--threads={threads}").stdout
        assert got == want, f"{threads} threads print {got[:300]}, not {want[:300]}"
    return int(found[1])


def test_every_form(t):
    write_data(t)
    compared, wrong = 0, []
    for name, body in FORMS.items():
        try: compared += judged(t, t.write(name.replace(" ", "-") + ".nn", PROGRAM.format(body=body)))
        except AssertionError as why: wrong.append(f"{name}: {why}")
    assert not wrong, f"{len(wrong)} of {len(FORMS)}:\n" + "\n".join(wrong)
    return f"{len(FORMS)} forms, {compared} comparisons"


def test_while(t):
    judged(t, t.write("while.nn", WHILE))
    out = t.run(t.path("program"), "train", "--progress=none").stdout
    v, n = [0.5] * 3, 0
    while sum(a * a for a in v) < 50 and n < 20: v, n = [1.5 * a + 0.1 for a in v], n + 1
    found = re.match(r"(\d+) turns \[(\S+), ", out)
    assert int(found[1]) == n and abs(float(found[2]) - v[0]) < 1e-4 * v[0], (out, n, v)


# ---- the size of the graph ----

def lengthened(t, name, steps):
    """The graph of a sample behind autodiff, with sequences of so many steps."""
    with open(os.path.join(t.root, "samples", name + ".nn"), encoding="utf-8") as f: text = f.read()
    for old, new in {"lstm": [("[28, 28]", f"[{steps}, 28]"), ("[B, 28, 28]", f"[B, {steps}, 28]")], "gru": [("[20]", f"[{steps}]"), ("20]", f"{steps}]"),
                     ("length=20", f"length={steps}")]}.get(name, [(r"const T = \d+", f"const T = {steps}")]):
        text, n = re.subn(old if "\\" in old else re.escape(old), new, text)
    return t.run(t.nnc, t.write(f"{name}-{steps}.nn", text), "--stop-after=autodiff", "--emit=graph", "--fn=train.step").stdout


LONG, OTHER = 10_000, 10


def test_the_graph_does_not_grow_with_the_sequence(t):
    counts = {}
    for name in ("rnn", "lstm", "gru", "charnn"):
        texts = [lengthened(t, name, steps) for steps in (OTHER, LONG)]
        ops = [re.sub(r"@ \S+", "", text).count(" = ") for text in texts]
        scans = [text.count(" = scan ") for text in texts]
        assert f"trip={LONG}" in texts[1], f"{name}: no scan of {LONG} turns"
        assert ops[0] == ops[1] and scans[0] == scans[1] >= 2, f"{name}: {ops[0]} ops and {scans[0]} scans for {OTHER} steps, {ops[1]} and {scans[1]} for {LONG}"
        counts[name] = ops[0]
    return ", ".join(f"{name} {n} ops" for name, n in counts.items()) + f" for T = {OTHER} and T = {LONG:,}"


def types(text): return {tuple(int(d) if d.strip().isdigit() else d.strip() for d in dims.split(",")) for dims in re.findall(r"f32\[([^\]]*)\]", text)}


def test_gradients_of_shared_weights_are_carries(t):
    """No value holds a weight's gradient for every turn."""
    for name in ("rnn", "lstm", "gru", "charnn"):
        text = lengthened(t, name, LONG)
        inputs = "".join(re.findall(r"%(?!train\.)\S+: (f32\[[^\]]*\])", text.split("-> (")[0]))  # not what the command carries
        weights = {shape for shape in types(inputs) if len(shape) == 2 and all(isinstance(d, int) for d in shape)}
        assert weights, name
        stacked = {shape for shape in types(text) for k in range(len(shape)) if shape[k] == LONG and shape[:k] + shape[k + 1:] in weights}
        assert not stacked, f"{name} keeps {stacked}"
        back = [line for line in text.splitlines() if " = scan " in line and "reverse=true" in line]
        carried = {shape for line in back for shape in types(line.rsplit(" : ", 1)[1].split("{")[0])}
        matrices = {shape for shape in carried if len(shape) == 2 and all(isinstance(d, int) for d in shape)}  # of a weight, or of several joined
        assert matrices, f"{name}: the scans backwards carry no weight's gradient: {carried}"


def test_what_does_not_vary_is_kept_once(t):
    """exp(w) is the same in every turn: there is one, and no stack of them; h, which the gradient needs, is stacked."""
    write_data(t)
    body = "h = zeros([B, 3])\n scan xt in x along 1 { e = exp(w)\n h = tanh(h @ e + xt) }\n loss = sum(h^2)"
    source = t.write("once.nn", PROGRAM.format(body=body).replace("[5, 3]", "[500, 3]").replace("[B, 5, 3]", "[B, 500, 3]"))
    text = t.run(t.nnc, source, "--stop-after=autodiff", "--emit=graph", "--fn=train.step").stdout
    assert (500, 3, 3) not in types(text), "exp(w) is kept for every turn"
    assert any(500 in shape and "B" in str(shape) for shape in types(text.split("scan", 1)[1])), "nothing is kept"
