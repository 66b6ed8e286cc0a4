"""The benchmarks are kept alive: their programs compile and take steps, the hand-written nests are tiled, the C programs beside them compile without a warning.
How fast anything is has no place here; how large a program is and what it needs when it runs has.
"""
import glob, gzip, os, random, subprocess, sys

import files, support

sys.path.insert(0, os.path.join(support.ROOT, "tests", "bench"))
sys.dont_write_bytecode = True
import bench


def test_networks(t):
    for net in [*bench.NETWORKS.values(), *bench.READING.values()]:
        small = bench.Network(net.name, net.batch, 3, net.x, net.y, net.layers, net.known)
        bench.write_data(t.folder, small)
        program = bench.Program(t.nnc, t.folder, os.path.join(bench.HERE, f"{net.name}.nn"), 1, net.batch)
        few = [f"--few={2 * net.batch}"] if net.name in bench.READING else []
        times, rss = program.steps(1, small.batches, *few)
        assert times and all(x > 0 for x in times), times
        if few:
            pairs = program.pairs(1, "--epochs=4", "--again=2", *few)
            assert len(pairs) == 3 and all(x > 0 for pair in pairs for x in pair), pairs
        plan = program.plan()
        weights = sum(4 * chain * columns for _, chain, columns in net.layers) // (1 if net.known is not None else len(net.layers))
        assert plan["frame"] >= weights and plan["moved"] > 2 * weights, plan
        assert rss <= plan["frame"] + plan["batches"] + plan["peak"] + small.data_bytes() + bench.RUNTIME_BYTES, f"{net.name}: {rss} bytes of memory"
        most = 350e3 if net.name in bench.READING else 300e3 if net.name in ("tiny", "mlp") else 1e6  # the programs of reading have every step twice
        assert program.bytes < most, f"{net.name}: a program of {program.bytes} bytes"
        assert not program.strangers(), f"{net.name} needs {program.strangers()}"


LARGE = """
data x_npz { x: u8[1000] = npz("x.npz", "x") }
data x_deflated { x: u8[1000] = npz("deflated.npz", "x") }
data x_tensors { x: u8[1000] = safetensors("x.safetensors.gz", "x") }
vocab letters = characters("x.txt", size=256)
data x_text { x: u8[1000] = text("x.txt", vocab=letters) }
"""
PASS = """
command COMMAND {
    total = 0.0
    for x in SET batch BATCH shuffle { total = total + sum(f32(x)) }
    print "{total}"
}
"""


def test_memory(t):
    """Data that are read, from archives, compressed, as text, are in memory once; of batches, however large, two are. All that a program has is its plan, its data and 8 MB."""
    count, sets = 12000, ("x_npz", "x_deflated", "x_tensors", "x_text")
    raw = random.Random(1).randbytes(1000 * count)
    letters = raw.translate(bytes(97 + i % 26 for i in range(256)))
    array = files.npy_header("|u1", [count, 1000]) + raw
    for name, data in (("x.npz", files.npz({"x": array})), ("deflated.npz", files.npz({"x": array}, compressed=True)), ("x.txt", letters),
                       ("x.safetensors.gz", gzip.compress(files.safetensors({"x": ("u8", [count, 1000], raw)}), 1))):
        with open(t.path(name), "wb") as f: f.write(data)
    commands = [(f"{s}_{batch}", s, batch) for s in sets for batch in (50, 5000)]
    source = t.write("large.nn", LARGE + "".join(PASS.replace("COMMAND", c).replace("SET", s).replace("BATCH", str(b)) for c, s, b in commands))
    program, peak = t.compile(source), t.path("peak.txt")
    plan = bench.plan_numbers(t.run(program, "--plan").stdout)
    assert plan["batches"] == 2 * 5000 * 1000, plan
    for command, _, batch in commands:
        batches = 2 * batch * 1000
        subprocess.run([bench.built(t.folder, "peak", "-O2"), peak, program, command, f"--data={t.folder}", "--threads=1"], check=True, capture_output=True)
        with open(peak) as f: used = int(f.read())
        allowed = plan["frame"] + batches + plan["peak"] + 1000 * count + bench.RUNTIME_BYTES
        assert 1000 * count < used <= allowed, f"{command}: {used} bytes of memory, {allowed} are allowed"


def test_update(t):
    t.compile(os.path.join(bench.HERE, "update.nn"))


def test_nests(t):
    nests = glob.glob(os.path.join(bench.HERE, "nests", "*.loops"))
    assert len(nests) >= 3
    for nest in nests:
        loops = t.run(t.nnc, nest, "--emit=loops").stdout
        assert "acc t: f32[" in loops and "unroll" in loops and "vector" in loops, f"{nest} is not tiled:\n{loops}"


def test_programs_beside(t):
    for name in ("machine", "peak", "openblas_peer"):
        if name == "openblas_peer" and not glob.glob("/usr/include/**/cblas.h", recursive=True): continue
        t.run("cc", "-O2", "-fopenmp", "-Wall", "-Wextra", "-Werror", "-c", os.path.join(bench.HERE, f"{name}.c"), "-o", t.path(f"{name}.o"))
