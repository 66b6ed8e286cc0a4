"""Whatever is in a file of 16 MiB, nnc ends in good time and with little memory: status 0, or 2 and an error that says what was too much. The bounds are the system's
(seconds of the processor, address space); a test that needs them all is wrong."""
import os, re, resource, subprocess

SIZE, SECONDS, MEMORY = 16 << 20, 10, 1 << 30


def bounded(t, name, data, *args, want, seconds=SECONDS):
    """The codes of the errors that nnc gives, in order; want: the first."""
    path = t.path(name)
    with open(path, "wb") as f: f.write(data if isinstance(data, bytes) else data.encode())

    def limit():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    done = subprocess.run([t.nnc, path, *args], capture_output=True, text=True, errors="replace", preexec_fn=limit, cwd=t.folder, timeout=300)
    os.remove(path)
    found = re.findall(r"error\[(E\d{4})\]", done.stderr)
    assert done.returncode == (2 if want else 0), f"{name}: status {done.returncode}: {done.stderr[:400]}"
    assert (found[:1] == [want]) if want else not found, f"{name}: {done.stderr[:400]}"
    assert len(done.stderr) < 50_000 and all(len(line) < 500 for line in done.stderr.splitlines()), f"{name}: an endless message"
    return found


def fill(part, n=SIZE): return (part * (n // len(part) + 1))[:n]


def test_one_sign_all_the_way(t):
    graph = ["--emit=graph"]
    for name, part, want in [("open", "(", "E0002"), ("digits", "7", "E0004"), ("letters", "a", "E0002"), ("lines", "\n", "E0021"), ("nul", "\0", "E0001"), ("sum", "1+", "E0002")]:
        bounded(t, name + ".nn", fill(part), *graph, want=want)


def test_long_things(t):
    graph = ["--emit=graph"]
    bounded(t, "string.nn", b'const a = "' + b"x" * (SIZE - 20) + b'"\n', *graph, want=None)
    bounded(t, "nulls.nn", b"#" + b"\0" * (SIZE - 2) + b"\n", *graph, want="E0001")
    bounded(t, "inputs.nn", "fn f(" + ",".join(f"a{i}" for i in range(200_000)) + ") = 1\n", *graph, want=None)
    bounded(t, "owned.nn", "param " + ",".join(f"a{i}" for i in range(300_000)) + ": f32 = 0\ncommand c { print a1 }\n", *graph, want="E0311")
    bounded(t, "prints.nn", "command c {\n" + "    print 1\n" * 500_000 + "}\n", want="E0311")
    bounded(t, "printed.nn", "command c { print " + "1, " * 500_000 + "1 }\n", want="E0311")
    bounded(t, "unclosed.nn", "fn f(x) = " + "(" * 5000 + "x", *graph, want="E0008")
    bounded(t, "choices.nn", "command c { x = " + "if true then 1 else " * 800_000 + "1 }\n", *graph, want="E0008")
    state = 12345
    noise = bytearray()
    while len(noise) < 1 << 20:
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        noise += (state >> 16).to_bytes(6, "little")
    bounded(t, "noise.nn", (bytes(noise) * 16)[:SIZE], *graph, want="E0001" if max(noise[:6]) > 127 else None)


def test_programs_that_grow(t):
    graph = ["--emit=graph"]
    doubling = "fn f0(x) = x * 2 + 1\n" + "".join(f"fn f{i}(x) = f{i - 1}(x) + f{i - 1}(x + 1)\n" for i in range(1, 60))
    bounded(t, "doubling.nn", doubling + "command c(x: f32[B]) -> (y: f32[B]) { y = f59(x) }\n", *graph, want="E0311")
    bounded(t, "bomb.nn", "const a = [[[[i for i in 0..1000] for j in 0..1000] for k in 0..1000] for l in 0..1000]\ncommand c { print len(a) }\n", *graph, want="E0311")
    bounded(t, "billion.nn", "command c { for i in [j for j in 0..1000000000] { print i } }\n", *graph, want="E0219")
    bounded(t, "trillion.nn", "fn f(x) {\n    for i in 0..1000000000000 { x = x + 1 }\n    return x\n}\ncommand c { print f(ones([1])) }\n", *graph, want="E0311")
    loops = "fn f(x) {\n" + "for i in 0..10 {\n" * 100 + "x = x + 1\n" + "}\n" * 100 + "return x\n}\ncommand c { print f(ones([1])) }\n"
    bounded(t, "loops.nn", loops, *graph, want="E0311")
    bounded(t, "models.nn", "model nets = [dense[100] for i in 0..1000000]\ncommand c { for n in nets { print n(ones([1, 2])) } }\n", *graph, want="E0311")
    strings = 'command c {\n a = "x"\n' + ' a = "{a}{a}{a}{a}"\n' * 40 + " print a }\n"
    bounded(t, "strings.nn", strings, *graph, want="E0219")


def test_graphs_that_grow(t):
    """What the elaborator lets through must not drown the passes: a copied loop, forwards and backwards."""
    def program(n): return ("fn f(x) {\n    for i in 0..%d { x = tanh(x) * 0.5 + x }\n    return x\n}\nparam w: f32[4] = 1\n"
                            "command c { for i in 0..2 { minimize sum(f(w)) over w using sgd } }\n" % n)
    bounded(t, "some.nn", program(500), "-o", t.path("some"), want=None, seconds=30)
    bounded(t, "many.nn", program(20_000), "-o", t.path("many"), want="E0311")
    assert not os.path.exists(t.path("many"))


def test_native_programs_that_grow(t):
    """What is written out as machine code: calls by the thousand in one step, chains of rows that fuse, functions by the thousand."""
    out = t.path("out")
    chained = "param w: f32[8, 8] = 1\nfn f(x) {\n" + "    x = x @ w\n" * 1500 + "    return x\n}\ncommand c { print f(ones([4, 8])) }\n"
    bounded(t, "chained.nn", chained, "-o", out, want=None)
    means = "fn f(x) {\n" + "    x = x - sum(x) / 64\n" * 1000 + "    return x\n}\ncommand c(x: f32[64]) -> (y: f32[64]) { y = f(x) }\n"
    bounded(t, "means.nn", means, "-o", out, want=None)
    slopes = ("fn f(x) {\n" + "    x = tanh(x) * 0.5 + x\n" * 1200 + "    return x\n}\nparam w: f32[64] = 1\n"
              "command c { for i in 0..2 { minimize sum(f(w)) over w using sgd } }\n")
    bounded(t, "slopes.nn", slopes, "--emit=loops", "-o", out, want=None)
    os.remove(out)
    commands = "".join(f"command c{i}(x: f32[B]) -> (y: f32[B]) {{ y = x * {i} }}\n" for i in range(6000))
    bounded(t, "commands.nn", commands, "-o", out, want="E0926")
    for count, want in (10, "E0926"), (40, "E0311"):
        functions = "fn f(x) {\n" + "    x = tanh(x) * 0.5 + x\n" * 1500 + "    return x\n}\n" + "".join(f"command c{i}(x: f32[B, {i + 1}]) -> (y: f32[B, {i + 1}]) {{ y = f(x) }}\n" for i in range(count))
        bounded(t, "functions.nn", functions, "-o", out, want=want)
    assert not os.path.exists(out)


def test_counts(t):
    """Many of one kind: names that are numbered apart, headers, calls, models, commands."""
    graph = ["--emit=graph"]
    bounded(t, "inputs.nn", "fn f(" + ",".join(f"a{i}" for i in range(1_500_000)) + ") = 1\n", *graph, want="E0002")
    bounded(t, "keywords.nn", "fn f(x) = x\ncommand c { print f(" + ",".join(f"a{i}=1" for i in range(900_000)) + ") }\n", *graph, want="E0002")
    bounded(t, "again.nn", "command c {\n    x = f32(0)\n" + "    for i in 0..3 { x = x + 1 }\n" * 5000 + "    print x\n}\n", *graph, want=None)
    bounded(t, "marks.nn", "const a" + "\u0301\u0323" * 1_000_000 + " = 1\n", *graph, want="E0002")
    bounded(t, "einsum.nn", 'command c { x = einsum("' + "a" * 1_000_000 + '", ones([2])) }\n', *graph, want="E0211")
    chained = "param w: f32[8, 8] = 1\nfn f(x) {\n" + "    x = x @ w\n" * 2000 + "    return x\n}\ncommand c { print f(ones([4, 8])) }\n"
    bounded(t, "chained.nn", chained, "--emit=loops", want=None)
    scans = "command c {\n    h = f32(1)\n" + "    scan t in 0..3 {\n" * 100 + "h = h + 1\n" + "}\n" * 100 + "    print h\n}\n"
    bounded(t, "scans.nn", scans, "--emit=loops", want=None)
    wide = "param w, v: f32[300000, 3000000] = 1\ncommand c {\n    s = f32(0)\n    h = ones([2, 300000])\n    scan t in 0..3 {\n        s = s + sum(h @ w) + sum(h @ v)\n        h = h * 2\n    }\n    print s\n}\n"
    bounded(t, "wide.nn", wide, "--emit=loops", want=None)  # side by side the weights would be more than a tensor may have
    slopes = "fn g0(x: f32) = sin(x) * x * x\n" + "".join(f"fn g{i}(x: f32) = grad(g{i - 1}(x), x)\n" for i in range(1, 31))
    bounded(t, "slopes.nn", slopes + "command c { print g30(f32(0.5)) }\n", "--emit=loops", want=None)


def test_texts_of_later_stages(t):
    for kind, head, emit in (("graph", "graph front\n", "graph"), ("loops", "loops lowered\n", "loops")):
        args = ["--passes=", f"--emit={emit}"]
        for name, part in (("digits", "7"), ("words", "a ")):
            bounded(t, f"{name}.{kind}", head + fill(part, SIZE - 20), *args, want={"digits": "E0605"}.get(name, "E0601" if kind == "graph" or name == "nul" else "E0701"))
    bounded(t, "slots.graph", "graph front\n" + "".join(f"state %x{i}: f32[3] = 0\n" for i in range(60_000)), "--passes=", "--emit=graph", want="E0605")
    bounded(t, "blocks.graph", "graph front\nfunc @f() -> () {\n" + "  %a = kernel : f32[3] {\n block ()\n" * 100_000, "--passes=", "--emit=graph", want="E0605")
    bounded(t, "deep.loops", "loops lowered\nstep @f {\n  kernel @k {\n    let x: f32 = " + "add(1, " * 2_000_000, "--passes=", "--emit=loops", want="E0701")
