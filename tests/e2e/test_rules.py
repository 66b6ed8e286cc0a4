"""Each rule of the language has a test that names it, with what is right and with what is wrong; and the rules that need a finished program.

A rule is tested by tests/golden/rules/RULE*.nn (with .out: what is right; with .err or .warn: what is wrong), or by a test of C or Python whose name begins
with it."""
import glob, os, re

from files import read_npy, read_png

RULES = """T1 T2 T3 T4 T5 T6  E1 E2 E3 E4 E5 E6 E7 E8  N1 N2 N3 N4 N5 N6  L1 L2 L3 L4 L5 L6 L7 L8 L9 L10  C1 C2 C3 C4  D1 D2 D3 D4 D5 D6
    B1 B2 B3 B4 B5 B6 B7""".split()


def text_of(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as f: return f.read()


def test_every_rule_has_its_tests(t):
    rules = os.path.join(t.root, "tests", "golden", "rules")
    code = " ".join(re.findall(r"START_TEST\((\w+)\)", "".join(text_of(f) for f in glob.glob(os.path.join(t.root, "tests", "unit", "*.c")))))
    code += " " + " ".join(re.findall(r"def test_(\w+)\(", "".join(text_of(f) for f in glob.glob(os.path.join(t.root, "tests", "e2e", "*.py")))))
    named = {name.upper().split("_")[0] for name in code.split()}
    files = os.listdir(rules)

    def has(rule, *kinds): return any(re.fullmatch(rule + r"(_\w+)?" + re.escape(kind), f) for f in files for kind in kinds)
    missing = [f"{rule}: nothing that is right" for rule in RULES if not has(rule, ".out") and rule not in named]
    missing += [f"{rule}: nothing that is wrong" for rule in RULES if not has(rule, ".err", ".warn") and f"test_{rule}_refuses" not in globals()]
    missing += [f"{f}: no such rule" for f in files if re.match(r"[A-Z]\d+", f) and re.match(r"[A-Z]\d+", f)[0] not in RULES]
    missing += [f"{f}: no .out, .err or .warn" for f in files if f.endswith(".nn") and not any(f[:-2] + k in files for k in ("out", "err", "warn"))]
    assert not missing, "\n".join(missing)


def test_the_language_page_names_every_rule(t):
    page = text_of(t.root, "docs", "language.md")
    missing = [rule for rule in RULES if not re.search(rf"\b{rule}\b", page)]
    assert not missing, f"docs/language.md does not name {' '.join(missing)}"


def test_C2_data_come_first(t):
    """All data that a command reads are opened and checked before its first statement."""
    source = t.write("late.nn", 'data here { x: f32 = csv("here.csv") }\ndata gone { x: f32 = csv("gone.csv") }\ncommand show {\n    print "begun"\n'
                                "    for x in here batch 2 { print x }\n    for x in gone batch 2 { print x }\n}\n")
    t.write("here.csv", "1\n2\n")
    done = t.run(t.nnc, source, "--eval", "show", status=2)
    assert done.stdout == "" and "gone.csv" in done.stderr, done
    t.write("gone.csv", "3\nfour\n")
    done = t.run(t.nnc, source, "--eval", "show", status=2)
    assert done.stdout == "" and "gone.csv" in done.stderr and "four" in done.stderr, done
    t.write("gone.csv", "3\n4\n")
    assert t.run(t.nnc, source, "--eval", "show").stdout == "begun\n[1, 2]\n[3, 4]\n"


def test_C2_batches_and_weights(t):
    source = t.write("p.nn", "model net = dense[1]\ncommand train {\n    for i in 0..1 { minimize sum(net(ones([1, 2])) ^ 2) over net using sgd }\n"
                             '    save net to "net.safetensors"\n}\ncommand predict(x: f32[B, 2]) -> (y: f32[B, 1]) { y = net(x) }\n')
    x = t.write("x.csv", "1,2\n3,4\n5,6\n")
    done = t.run(t.nnc, source, "--eval", "predict", f"--x={x}", status=2)
    assert "train" in done.stderr and "net.safetensors" in done.stderr, done.stderr
    t.run(t.nnc, source, "--eval", "train")
    assert t.run(t.nnc, source, "--eval", "predict", f"--x={x}").stdout.count("\n") >= 3
    done = t.run(t.nnc, "--max-batch=2", source, "--eval", "predict", f"--x={x}", status=2)
    assert "--max-batch" in done.stderr, done.stderr


STATES = """
state n: f32 = 0
layer counter(x: f32) -> f32 {
    state seen: f32 = 0
    seen <- seen + x
    return seen
}
layer scaled(x: f32[B, N]) -> f32[B, 1] {
    let norm = batch_norm
    return x |> norm |> dense[1]
}
model count_by = counter
model net = scaled
command count {
    for i in 0..3 { n <- n + 1 }
    save n to "n.safetensors"
}
command show { print n }
command count_in {
    s = f32(0)
    for i in 0..3 { s = count_by(2.0) }
    print s
    save count_by to "by.safetensors"
}
command train {
    for i in 0..2 { minimize sum(net(ones([4, 2])) ^ 2) over net using sgd }
    save net to "net.safetensors"
}
command again {
    net.norm.running_mean <- ones([2])
    print sum(net(ones([1, 2])))
}
"""


def test_C2_states_alone(t):
    """What is made of states alone is made anew by the command that writes them, as parameters are; the states of a model with parameters come with these."""
    source = t.write("states.nn", STATES)
    assert "n.safetensors" in t.run(t.nnc, source, "--eval", "show", status=2).stderr
    t.run(t.nnc, source, "--eval", "count")
    assert t.run(t.nnc, source, "--eval", "show").stdout == "3\n"
    assert t.run(t.nnc, source, "--eval", "count_in").stdout == "6\n"
    assert "net.safetensors" in t.run(t.nnc, source, "--eval", "again", status=2).stderr
    t.run(t.nnc, source, "--eval", "train")
    t.run(t.nnc, source, "--eval", "again")


def test_C2_inputs_of_one_batch(t):
    source = t.write("pair.nn", "command sum(x: f32[B], y: f32[B]) -> (z: f32[B]) { z = x + y }\n")
    one, three = t.write("one.csv", "1\n"), t.write("three.csv", "1\n2\n3\n")
    for x, y, found in (three, one, "--y has 1 sample, but --x has 3"), (one, three, "--y has 3 samples, but --x has 1"):
        done = t.run(t.nnc, source, "--eval", "sum", f"--x={x}", f"--y={y}", status=2)
        assert done.stderr.rstrip().endswith(found), done.stderr


def test_C3_pictures(t):
    """f32 is clipped to 0..1, u8 as it is; [H, W] and [H, W, 3]; a leading dimension is stacked downwards."""
    source = t.write("p.nn", 'command show {\n    write f32([[-1, 0.5], [1, 7]]) to "grey.png"\n    write u8(reshape(arange(12), [2, 2, 3])) to "colour.png"\n'
                             '    write reshape(f32([0, 1, 1, 0]), [2, 1, 2]) to "stacked.png"\n    write arange(3) to "n.npy"\n}\n')
    t.run(t.nnc, source, "--eval", "show", f"--out={t.folder}")

    def picture(name):
        with open(t.path(name), "rb") as f: return read_png(f.read())
    assert picture("grey.png") == (2, 2, 1, bytes([0, 128, 255, 255])), picture("grey.png")
    assert picture("colour.png") == (2, 2, 3, bytes(range(12)))
    assert picture("stacked.png") == (2, 2, 1, bytes([0, 255, 255, 0]))
    with open(t.path("n.npy"), "rb") as f: assert read_npy(f.read()) == ("<i4", (3,), (0, 1, 2))


def test_C4_statuses(t):
    """0 done, 2 bad input or usage, 3 an error while the program runs, with the line and the value."""
    source = t.write("p.nn", "option k = 1\ncommand show {\n    x = arange(3)\n    i = argmax(f32([0, 1])) + i32(k)\n    print x[i]\n}\n")
    program = t.path("p")
    t.run(t.nnc, source, "-o", program)
    assert t.run(program, "show").stdout == "2\n"
    done = t.run(program, "show", "--k=5", status=3)
    assert "p.nn:5" in done.stderr and "6" in done.stderr, done.stderr
    done = t.run(t.nnc, source, "--eval", "show", "--k=5", status=3)
    assert "p.nn:5" in done.stderr and "6" in done.stderr, done.stderr
    late = t.write("late.nn", 'param w: f32 = 4\ncommand show {\n    for i in 0..2 { write w to "late{i}.npy" }\n}\n')
    text = t.run(t.nnc, late, "--emit=graph").stdout
    graph = t.write("late.graph", text.replace('".npy"', '".npy.gz"'))  # which the compiler refuses in a program
    done = t.run(t.nnc, graph, "--eval", "show", f"--out={t.folder}", status=3)
    assert '".npy"' in text and "late0.npy.gz: nothing is compressed" in done.stderr and not os.path.exists(t.path("late0.npy.gz")), done.stderr


def test_C4_refuses(t):
    source = t.write("p.nn", "command show { print 1 }\n")
    for args in (["shoe"], ["show", "--k=5"], ["show", "--seed=x"]): t.run(t.nnc, source, "--eval", *args, status=2)


def test_D2_lists_at_most_five(t):
    """Sorted by place; at most 50; at most five expected things."""
    slips = ["fn f(x) = x $", "fn g(x) = x y", "x = 1", "const = 3", "data d { x }", "command c { for }"] * 12
    done = t.run(t.nnc, t.write("slips.nn", "\n".join(slips) + "\n"), "--emit=graph", status=2)
    places = [(int(a), int(b)) for a, b in re.findall(r"slips\.nn:(\d+):(\d+): error", done.stderr)]
    assert places == sorted(places) and 40 <= len(places) <= 50, len(places)
    for line in re.findall(r"unexpected .*: expected (.*)", done.stderr): assert line.count(",") + line.count(" or ") < 5, line


def test_D4_defines(t):
    """A -D value has the kind of the default; `-D f=tanh` names a function where the default is one."""
    source = t.write("p.nn", 'const n = 2\nconst f = relu\nconst s = "a"\nconst b = true\ncommand show { print n, f(f32(-1)), "{s}", b }\n')
    assert t.run(t.nnc, source, "--eval", "show").stdout == "2 0 a true\n"
    assert t.run(t.nnc, source, "-D", "n=3", "-D", "f=tanh", "-D", "s=b", "-D", "b=false", "--eval", "show").stdout == "3 -0.7615941 b false\n"


def test_D4_refuses(t):
    source = t.write("p.nn", 'const n = 2\nconst f = relu\nconst b = true\ncommand show { print n, f(f32(-1)), b }\n')
    for define, word in (("m=3", "m"), ("n=x", "n"), ("f=3", "f"), ("f=tanhh", "tanh"), ("b=3", "b"), ("n=1 +", "n")):
        done = t.run(t.nnc, source, "-D", define, "--emit=graph", status=2)
        assert word in done.stderr and "E0" in done.stderr, (define, done.stderr)
    assert "-D takes NAME=VALUE, not `n=`" in t.run(t.nnc, source, "-D", "n=", "--emit=graph", status=2).stderr


def test_D6_an_empty_file(t):
    done = t.run(t.nnc, t.write("empty.nn", ""), "--emit=graph", status=2)
    assert "empty.nn:1:1: error[E0021]" in done.stderr, done.stderr
