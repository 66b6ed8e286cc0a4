"""The language, part by part: programs in tests/language/, whose comments `#= ` inside a command are what it prints, on the evaluator and natively, and no pass changes a
number of."""
import os, re


def expected(path):
    """command -> the lines that it prints"""
    found, command = {}, None
    with open(path, encoding="utf-8") as f:
        for line in f:
            begin = re.match(r"command (\w+)", line)
            if begin: found[command := begin[1]] = []
            if re.match(r" *#= ", line): found[command].append(line.split("#= ", 1)[1].rstrip("\n"))
    return found


def check(t, name, flags=()):
    source = os.path.join(t.root, "tests", "language", name + ".nn")
    program = t.compile(source, "--verify-passes")
    for command, want in expected(source).items():
        assert want, f"{name}: {command} says nothing of what it prints"
        for how in ([t.nnc, source, "--eval-type=f32", "--eval"], [program]):
            got = t.run(*how, command, "--progress=none", f"--out={t.folder}", *flags).stdout.splitlines()
            assert got == want, f"{name}: {command} with {how[0]}:\n" + "\n".join(f"  wanted {a}\n  got    {b}" for a, b in zip(want + ["(end)"], got + ["(end)"]) if a != b)


def test_indices(t): check(t, "indices")
def test_layers(t): check(t, "layers")
def test_scan(t): check(t, "scan")
def test_updates(t): check(t, "updates")
def test_data_loops(t): check(t, "data_loops")
def test_builtins(t): check(t, "builtins")
def test_functions(t): check(t, "functions")


def test_outputs_with_the_batch_behind(t):
    """An output whose batch axis is not the first, of fewer samples than the bound: printed and written without the room for the others."""
    source = t.write("turn.nn", "command turn(x: f32[B, 2]) -> (t: f32[2, B], u: f32[B, 2]) {\n    t = x'\n    u = x * 2\n}\n")
    x = t.write("x.csv", "1,2\n3,4\n5,6\n")
    for how in ([t.compile(source)], [t.nnc, source, "--eval"]):
        assert t.run(*how, "turn", f"--x={x}").stdout == "u 2 4\nu 6 8\nu 10 12\nt 1 3 5 2 4 6\n"
        t.run(*how, "turn", f"--x={x}", f"--t={t.path('t.csv')}")
        with open(t.path("t.csv")) as f: assert f.read() == "1,3,5\n2,4,6\n"
