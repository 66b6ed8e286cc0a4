"""Printed stages read again: the same program comes out, under the same names."""
import os, re

STAGES = {"graph": ["infer", "simplify", "autodiff", "fuse"], "loops": ["lower", "halo", "collapse", "tile", "vectorize", "parallelize", "plan", "barriers"]}
SAMPLES = ["mlp", "activations", "lenet5", "gru"]  # dense, short rows, convolutions with sums in pieces, loops of the step


def test_every_stage_goes_on_to_the_same_loops(t):
    """From each printed stage on: the same last text to the byte, names of buffers, kernels and variables among it, and the same --plan."""
    count = 0
    for sample in SAMPLES:
        source = os.path.join(t.root, "samples", sample + ".nn")
        want, plan = t.run(t.nnc, source, "--emit=loops").stdout, t.run(t.nnc, source, "--plan").stdout
        assert "operations" in plan
        for form, stages in STAGES.items():
            for stage in stages:
                text = t.path(f"{sample}.{stage}.{form}")
                t.run(t.nnc, source, f"--stop-after={stage}", f"--emit={form}", "-o", text)
                assert t.run(t.nnc, text, "--emit=loops").stdout == want, f"{sample} from {stage} on"
                assert t.run(t.nnc, text, "--plan").stdout == plan, f"--plan of {sample} from {stage} on"
                count += 1
    return f"{count} texts"


def test_the_plan_names_what_the_loops_name(t):
    """Every buffer and kernel of --plan (and of --profile's table, which has the same names) is found in --emit=loops."""
    for sample in SAMPLES:
        source = os.path.join(t.root, "samples", sample + ".nn")
        loops, plan = t.run(t.nnc, source, "--emit=loops").stdout, t.run(t.nnc, source, "--plan").stdout
        kernels, buffers = set(re.findall(r"^\s+[\d,]+\s+[\d,]+  @(.+?)  ", plan, re.M)), set(re.findall(r"^\s+[\d,]+  %(.+?): ", plan, re.M))
        assert len(kernels) > 4 and len(buffers) > 4, plan
        for name in kernels: assert f"kernel @{name} {{" in loops, f"@{name} of {sample}"
        for name in buffers: assert f"buffer %{name}: " in loops, f"%{name} of {sample}"


def test_operations_are_those_of_the_loops(t):
    """Two products and an addition by hand, as loops: the rows of a tile that is cut off, a sum in pieces and a loop of the step are counted as often as they go round."""
    text = t.write("hand.loops", """loops lowered

var %x: f32[100, 64] of @c
var %y: f32[100] of @c
command @c() {
}

step @s {
  buffer %x: f32[100, 64] slot "x"
  buffer %y: f32[100] slot "y"
  loop t in 0..3 {
    kernel @a {
      for ii in 0..8, i in 0..min(14, 100 - 14*ii) {
        acc s: f32 = 0
        for k in 0..64 { s = fma(%x[14*ii + i, k], %x[14*ii + i, k], s) }
        %y[14*ii + i] = s
      }
    }
  }
  kernel @b {
    for piece in 0..2 {
      index begin = max(i64(0), i64(40*piece))
      for i in begin..min(100, 60*piece + 40) { %y[i] = add(%y[i], 1) }
    }
  }
}
""")
    plan = t.run(t.nnc, text, "--plan").stdout
    number = lambda what: int(re.search(what, plan, re.M)[1].replace(",", ""))
    assert number(r"([\d,]+)  @a ") == 3 * 100 * 64 * 2 and number(r"([\d,]+)  @b ") == 100, plan
    assert number(r"operations +([\d,]+)$") == 3 * 100 * 64 * 2 + 100, plan


REPEATED = {"softmax over times": "y = softmax(x, axis=1)",
            "its logarithm": "y = log_softmax(x, axis=1)",
            "a variance over times": "m = mean(x, axis=1)\n d = x - reshape(m, [8, 1, 6])\n y = d / sqrt(reshape(mean(d * d, axis=1), [8, 1, 6]) + 1)",
            "a gate of a mean": "y = x * reshape(sigmoid(mean(x, axis=1)), [8, 1, 6])"}


def test_what_is_repeated_along_a_row_is_computed_once(t):
    """Sums and functions over the first axis of a row, which all elements of that axis read: twice the axis, twice the work, forward and back."""
    for name, text in REPEATED.items():
        found = []
        for times in 100, 200:
            source = t.write("repeated.nn", f"param x: f32[8, {times}, 6] = normal(shape)\ncommand c {{ {text}\n minimize sum(y * y) over x using sgd }}\n")
            found.append(int(re.search(r"operations +([\d,]+)$", t.run(t.nnc, source, "--plan", "--fn=c.1").stdout, re.M)[1].replace(",", "")))
        assert 1.9 * found[0] < found[1] < 2.1 * found[0] and found[0] < 8 * 100 * 6 * 200, (name, found)


POINTS = """
layer points(x: f32[B, 4, 4, 32]) -> f32[B, 10] { return x |> conv[64, 1] |> relu |> dense[64] |> global_avgpool |> dense[10] }
model net = points
data d { x: f32[4, 4, 32] = npy("x.npy"); y: i32 = npy("y.npy") }
command train { for x, y in d batch 64 { minimize cross_entropy(net(x), y) over net using sgd } }
"""


def test_panels_over_the_batch_are_read_again(t):
    """A product over samples and places has panels with a multiple of B in the middle."""
    source, loops = t.write("points.nn", POINTS), t.path("points.loops")
    t.run(t.nnc, source, "--emit=loops", "-o", loops)
    with open(loops) as f: assert re.search(r"buffer %.*, \d+\*B, ", f.read())
    for name, text in ("source", source), ("again", loops): t.run(t.nnc, text, "-o", t.path(name))
    with open(t.path("source"), "rb") as f, open(t.path("again"), "rb") as g: assert f.read() == g.read()


def test_verify_passes_leaves_nothing(t):
    """What --verify-passes keeps from pass to pass is released: said by a nnc that was built with -Db_sanitize=address; others know nothing of it."""
    for sample in ("hebb", "mlp"):
        done = t.run(t.nnc, os.path.join(t.root, "samples", sample + ".nn"), "--verify-passes", "--emit=loops", env={"ASAN_OPTIONS": "detect_leaks=1"})
        assert done.stderr == "", done.stderr[-1500:]
