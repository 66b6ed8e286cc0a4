"""The benchmarks are kept alive: their programs compile and take steps, the hand-written nests are tiled, the C programs beside them compile without a warning.
How fast anything is has no place here; how large a program is and what it needs when it runs has.
"""
import glob, os, sys

import support

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
        assert rss <= plan["frame"] + plan["peak"] + small.data_bytes() + bench.RUNTIME_BYTES, f"{net.name}: {rss} bytes of memory"
        most = 350e3 if net.name in bench.READING else 300e3 if net.name in ("tiny", "mlp") else 1e6  # the programs of reading have every step twice
        assert program.bytes < most, f"{net.name}: a program of {program.bytes} bytes"
        assert not program.strangers(), f"{net.name} needs {program.strangers()}"


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
