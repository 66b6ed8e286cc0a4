"""nnc and the finished program as command lines: statuses, messages, nothing half written."""
import os


def fails(t, *args, words=(), status=2):
    done = t.run(*args, status=status)
    for word in words: assert word in done.stderr, f"{args}: {word!r} not in {done.stderr!r}"
    assert "internal fault" not in done.stderr
    return done


def test_nnc_refuses(t):
    fails(t, t.nnc, words=["usage"])
    fails(t, t.nnc, "nosuch.nn", words=["nosuch.nn", "No such file"])
    fails(t, t.nnc, t.folder, words=["folder"])
    fails(t, t.nnc, "--emmit=graph", "x.nn", words=["--emit"])
    fails(t, t.nnc, "--emit=grph", "x.nn", words=["graph"])
    fails(t, t.nnc, "--cpu=xeon9000", os.path.join(t.root, "samples/digits.nn"), words=["xeon9000"])
    fails(t, t.nnc, "--passes=simplfy", "--emit=graph", os.path.join(t.root, "samples/digits.nn"), words=["simplify"])
    fails(t, t.nnc, "--max-batch=0", "x.nn", words=["max-batch"])
    fails(t, t.nnc, "-D", "hidden", "x.nn", words=["NAME=VALUE"])
    fails(t, t.nnc, "-D", "hiden=3", os.path.join(t.root, "samples/digits.nn"), words=["hiden"])
    fails(t, t.nnc, "--fn=nothing", "--emit=graph", os.path.join(t.root, "samples/digits.nn"), words=["nothing"])
    fails(t, t.nnc, "--explain=E9999", words=["E9999"])
    assert "-o FILE" in t.run(t.nnc, "--help").stdout
    assert t.run(t.nnc, "--version").stdout.startswith("nnc ")
    assert "autodiff" in t.run(t.nnc, "--list-passes").stdout
    assert "contract" in t.run(t.nnc, "--list-ops").stdout


def test_an_error_leaves_the_old_program(t):
    good = t.write("a.nn", "command hello { print \"hello\" }\n")
    t.run(t.nnc, good, "-o", t.path("a"))
    assert t.run(t.path("a"), "hello").stdout == "hello\n"
    t.write("a.nn", "command hello { print nothing_here }\n")
    fails(t, t.nnc, good, "-o", t.path("a"), words=["a.nn:1:", "nothing_here"])
    assert t.run(t.path("a"), "hello").stdout == "hello\n"
    assert sorted(os.listdir(t.folder)) == ["a", "a.nn"]


def test_empty_and_odd_files(t):
    for name, text in [("empty.nn", ""), ("blank.nn", "\n\n"), ("zero.nn", "\0\0\0"), ("latin.nn", "const a = \udcff"), ("empty.graph", ""), ("empty.loops", "")]:
        with open(t.path(name), "wb") as f: f.write(text.encode("utf-8", "surrogateescape"))
        done = fails(t, t.nnc, t.path(name), "-o", t.path("out"))
        assert "1:1" in done.stderr or "error" in done.stderr, done.stderr
        assert not os.path.exists(t.path("out"))


def test_the_program_explains_itself(t):
    program = t.compile("digits")
    done = t.run(program, status=2)
    assert "train" in done.stdout + done.stderr and "predict" in done.stdout + done.stderr
    assert "--lr" in t.run(program, "train", "--help").stdout
    assert "--threads" in t.run(program, "--help").stdout
    assert "digits.nn" in t.run(program, "--version").stdout
    assert "dense_1.w" in t.run(program, "--summary").stdout
    assert t.run(program, "--plan").stdout
    fails(t, program, "trian", words=["train"])
    fails(t, program, "train", "--lrr=1", words=["--lr"])
    fails(t, program, "train", "--lr=fast", words=["fast"])
    fails(t, program, "train", "--threads=0", words=["threads"])
    fails(t, program, "train", "--seed=-1", words=["seed"])
    fails(t, program, "predict", words=["--x"])
    with open(os.path.join(t.root, "samples", "digits.nn"), encoding="utf-8") as f: alone = t.write("alone.nn", f.read())  # beside the sample somebody may have trained
    t.run(t.nnc, alone, "-o", t.path("alone"))
    fails(t, t.path("alone"), "predict", f"--x={t.write('x.csv', ','.join('0' * 64))}", words=["train", "digits.safetensors"])


def test_options_of_another_mode(t):
    """One clear line, status 2, nothing written."""
    digits = os.path.join(t.root, "samples/digits.nn")
    graph = t.write("x.graph", "graph front\n")
    before = sorted(os.listdir(t.folder))
    for args, words in [(["--emit=ast", "--passes=fuse"], ["--passes"]), (["--eval-type=f32"], ["--eval-type", "--eval"]), (["--static", "--emit=graph"], ["--static"]),
                        (["--keep-temps", "--summary"], ["--keep-temps"]), (["--emit=graph", "--stop-after=tile"], ["--emit=loops"]), (["--emit=loops", "--stop-after=fuse"], ["--emit=graph"]),
                        (["--summary", "--plan"], ["one thing at a time"]), (["-o", "x", "--eval", "train"], ["-o"]), (["--emit=graph", "-o", "no/where"], ["no/where", "cannot be written"]),
                        (["--max-batch"], ["--max-batch"]), (["-q"], ["q"]), (["--list-pases"], ["--list-passes"]), (["-D", "hidden=1", "-D", "hidden=2"], ["twice"])]:
        fails(t, t.nnc, digits, *args, words=words)
    fails(t, t.nnc, digits, graph, words=["one program at a time"])
    fails(t, t.nnc, graph, "-D", "a=1", "--emit=graph", words=["-D a"])
    fails(t, t.nnc, digits, "--eval", "train", f"--data={t.path('nowhere')}", words=["nowhere", "no such folder"])
    fails(t, t.compile("digits"), "train", f"--data={t.path('nowhere')}", words=["nowhere", "no such folder"])
    assert sorted(os.listdir(t.folder)) == before


def test_run_keeps_nothing_beside_the_source(t):
    source = t.write("hello.nn", "option n = 3\ncommand hello { print \"n is {n}\" }\n")
    done = t.run(t.nnc, "run", source, "hello", "--n=5", env={"XDG_CACHE_HOME": t.path("cache")})
    assert done.stdout == "n is 5\n"
    assert sorted(os.listdir(t.folder)) == ["cache", "hello.nn"]
