"""The finished program as a file: small, needing no library but libc, libm and the OpenMP runtime, saying what it is and what it plans."""
import glob, os, re, shutil

from support import Skip

SAMPLES = ["digits", "perceptron", "delta", "hebb", "mlp", "optimizers", "multitask"]
MAY_NEED = ("linux-vdso", "libc.so", "libm.so", "libgomp.so", "ld-linux")


def test_size(t):
    """300 KB; 1 MB for mlp, which can be shown pictures. activations, six networks in one, is let off."""
    for name in SAMPLES:
        size = os.path.getsize(t.compile(name))
        assert size < (1_000_000 if name == "mlp" else 300_000), f"{name} has {size} bytes"


def test_libraries(t):
    if not shutil.which("ldd"): raise Skip("needs ldd")
    for name in SAMPLES:
        out = t.run("ldd", t.compile(name)).stdout
        names = [os.path.basename(line.split()[0]) for line in out.splitlines() if line.strip()]
        assert len(names) >= 3, out
        for library in names: assert library.startswith(MAY_NEED), f"{name} needs {library}"


def test_pictures_are_linked_where_they_are_asked_for(t):
    t.write("plain.nn", "command a { write ones([2, 2]) to \"x.csv\" }\n")
    t.write("picture.nn", "command a { write ones([2, 2]) to \"x.png\" }\n")
    for name in ("plain", "picture"):
        t.run(t.nnc, t.path(name + ".nn"), "-o", t.path(name))
        t.run(t.path(name), "a")
        out = t.run("ldd", t.path(name)).stdout if shutil.which("ldd") else ""
        assert "png" not in out and "jpeg" not in out, out
    plain, picture = os.path.getsize(t.path("plain")), os.path.getsize(t.path("picture"))
    assert plain < 300_000 and picture < 1_000_000, (plain, picture)
    assert os.path.getsize(t.path("x.png")) > 50


def test_summary_and_plan(t):
    program = t.compile("mlp")
    assert t.run(program, "--summary").stdout == t.run(t.nnc, "--summary", os.path.join(t.root, "samples", "mlp.nn")).stdout
    summary = t.run(program, "--summary").stdout
    assert re.search(r"net\.neurons_1\.W +f32\[784, 300\] +235,200 +20 +neurons", summary) and "238,510 parameters" in summary, summary
    plan = t.run(program, "--plan").stdout
    step = plan.split("step @train.step")[1].split("\nstep ")[0]
    number = lambda word: int(re.search(rf"^ +{word} +([\d,]+)", step, re.M)[1].replace(",", ""))
    # forward, gradient of both weights, gradient of the hidden layer; and what is not a product is little beside
    products = 2 * 10 * (784 * 300 * 2 + 300 * 10 * 3)
    assert products <= number("operations") <= 1.2 * products, (products, number("operations"))
    assert number("weights") == 4 * 238510, step
    frame = int(re.search(r"^frame +([\d,]+)", plan, re.M)[1].replace(",", ""))
    assert 4 * 238510 <= frame <= 4 * 238510 + 4096, plan


def test_a_long_step(t):
    """Steps of more kernels than code is made well for, beside short ones: units of their own, whose kernels stand in others; the numbers of the evaluator all the same."""
    text = """layer net(x: f32[B, 8]) -> f32[B, 8] {
    for i in 0..90 { x = x |> dense[8] |> tanh }
    return x
}
model m = net
command long(x: f32[B, 8]) -> (y: f32[B, 8]) { y = m(x) }
command short(x: f32[B, 8]) -> (y: f32[B, 8]) { y = x * 2 }
"""
    source = t.write("long.nn", text)
    done = t.run(t.nnc, source, "-o", t.path("long"), "--time-passes")
    assert int(re.search(r"backend: (\d+) units", done.stderr)[1]) >= 2, done.stderr
    assert t.run(t.nnc, source, "--emit=loops", "--fn=long.1").stdout.count("kernel @") > 64
    x = t.write("x.csv", "\n".join(",".join(str((3 * i + j) % 7 / 4) for j in range(8)) for i in range(5)) + "\n")
    for command in ("long", "short"):
        want = t.run(t.nnc, source, "--eval-type=f32", "--eval", command, f"--x={x}", f"--y={t.path('want.csv')}")
        for threads in (1, 2): assert t.run(t.path("long"), command, f"--x={x}", f"--threads={threads}", f"--y={t.path('got.csv')}").returncode == 0
        with open(t.path("want.csv")) as a, open(t.path("got.csv")) as b: assert a.read() == b.read(), want


def test_installed(t):
    """`meson install` into a folder: nnc finds the runtime relative to itself there, and samples and library are there to be read."""
    build = os.path.dirname(t.nnc)
    if not shutil.which("meson") or not os.path.isdir(os.path.join(build, "meson-info")): raise Skip("needs the folder in which meson built nnc")
    t.run("meson", "install", "-C", build, "--no-rebuild", "--destdir", t.path("there"))
    found, = glob.glob(os.path.join(t.path("there"), "**", "bin", "nnc"), recursive=True)
    share = os.path.join(os.path.dirname(os.path.dirname(found)), "share", "nnc")
    for name in ("samples/data/digits.csv", "std/layers.nn"): assert os.path.exists(os.path.join(share, name)), name
    os.rename(t.path("there"), t.path("elsewhere"))  # nothing is found by the place it was built for
    found, share = (p.replace(t.path("there"), t.path("elsewhere")) for p in (found, share))
    t.run(found, os.path.join(share, "samples", "digits.nn"), "-o", t.path("digits"))
    assert t.log(t.path("digits"), "train", "--epochs=1") == t.log(t.compile("digits"), "train", "--epochs=1")
