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


def test_whole_numbers_divided_by_zero(t):
    """Also of options and counters, which are no tensors: `//` and `%` by 0 end the program (E8)."""
    source = t.write("zero.nn", "option z = 0\ncommand a { print 5 // z }\ncommand b { for i in 0..3 { print 6 % (i - 1) } }\ncommand c { print 5.5 // z }\n")
    for how in ([t.compile(source)], [t.nnc, source, "--eval"]):
        for command, line in ("a", 2), ("b", 3):
            done = t.run(*how, command, status=3)
            assert f"zero.nn:{line}: division of integers by zero" in done.stderr and "9223" not in done.stdout, done
        assert t.run(*how, "c").stdout == "inf\n"


def test_inputs_printed_and_written(t):
    """Inputs that nothing computes with: printed, in strings, in loops, written, and as outputs."""
    source = t.write("inputs.nn", """option o = 7
command show(i: i32, x: f32[2], b: f32[B, 2]) -> (y: f32[B, 2]) {
    print o, i, x, b
    for k in 0..2 { print "{i} {x} {k}" }
    write b to "b.csv"
    y = b
}
""")
    x, b = t.write("x.csv", "1,2\n"), t.write("in.csv", "1,2\n3,4\n5,6\n")
    for how in ([t.compile(source)], [t.nnc, source, "--eval"]):
        done = t.run(*how, "show", "--i=5", f"--x={x}", f"--b={b}", f"--out={t.folder}", f"--y={t.path('y.csv')}")
        assert done.stdout == "7 5 [1, 2] [[1, 2], [3, 4], [5, 6]]\n5 [1, 2] 0\n5 [1, 2] 1\n", done.stdout
        for name in "b.csv", "y.csv":
            with open(t.path(name)) as f: assert f.read() == "1,2\n3,4\n5,6\n"


def test_outputs_with_the_batch_behind(t):
    """An output whose batch axis is not the first, of fewer samples than the bound: printed and written without the room for the others."""
    source = t.write("turn.nn", "command turn(x: f32[B, 2]) -> (t: f32[2, B], u: f32[B, 2]) {\n    t = x'\n    u = x * 2\n}\n")
    x = t.write("x.csv", "1,2\n3,4\n5,6\n")
    for how in ([t.compile(source)], [t.nnc, source, "--eval"]):
        assert t.run(*how, "turn", f"--x={x}").stdout == "u 2 4\nu 6 8\nu 10 12\nt 1 3 5 2 4 6\n"
        t.run(*how, "turn", f"--x={x}", f"--t={t.path('t.csv')}")
        with open(t.path("t.csv")) as f: assert f.read() == "1,3,5\n2,4,6\n"


def test_a_slip_is_one_message(t):
    """A sign or word of a right program left out or doubled: nothing follows from it, in nine programs of ten."""
    token, counts = re.compile(r'"[^"\n]*"|#[^\n]*|\w+|\|>|<-|->|\.\.|==|\S'), []
    for name in ("digits", "lstm", "charnn", "resnet", "seq2seq"):
        with open(os.path.join(t.root, "samples", name + ".nn"), encoding="utf-8") as f: text = f.read()
        places = [m for m in token.finditer(text) if not m[0].startswith("#")]
        for k, m in enumerate(places[3::29]):
            slip = t.write("slip.nn", text[:m.start()] + (text[m.end():] if k % 2 else m[0] + " " + text[m.start():]))
            done = t.run(t.nnc, slip, "--emit=graph", "-o", t.path("slip.graph"), status=None)
            assert done.returncode in (0, 2), f"{name}: {m[0]} in {m.start()}: status {done.returncode}\n{done.stderr}"
            counts.append(done.stderr.count(": error["))
    alone = sum(n <= 1 for n in counts)
    assert alone * 10 >= len(counts) * 9, f"{len(counts) - alone} of {len(counts)} slips have several messages"
    return f"{len(counts)} slips, {alone} with one message or none"
