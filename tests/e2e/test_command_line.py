"""nnc and the finished program as command lines: statuses, messages, nothing half written."""
import os, re, resource, shutil, signal, subprocess

from support import Skip


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
    for mode in ("fmt", "run"):
        assert "-o FILE" in t.run(t.nnc, mode, "--help").stdout and t.run(t.nnc, mode, "--version").stdout.startswith("nnc ")
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


def test_nothing_is_left_beside_what_is_made(t):
    """A file that may not grow, while objects are written, linked, or a text is; a signal while the program is linked; a name that has no room for a longer one beside it."""
    small = t.write("small.nn", "param w: f32[3] = 1\ncommand c { minimize sum(w * w) over w using sgd[0.1] }\n")
    ends = t.write("ends", '#!/bin/sh\nkill -$SIGNAL $PPID\nsleep 0.1\nexec cc "$@"\n')
    os.chmod(ends, 0o755)
    os.mkdir(t.path("made"))
    for args, limit, words in (([], 1000, ["E0923", "made/x: cannot be written: File too large"]), ([], 60000, ["E0925", "File too large"]), (["--emit=obj"], 1000, ["E0923", "File too large"]),
                               (["--emit=graph"], 100, ["nnc: ", "made/x: cannot be written: File too large"])):
        done = t.run(t.nnc, small, *args, "-o", t.path("made/x"), status=2, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert all(word in done.stderr for word in words) and done.stderr.count("cannot be written") + done.stderr.count("linking failed") == 1, done.stderr
        assert os.listdir(t.path("made")) == [], (args, limit, os.listdir(t.path("made")))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        t.run(t.nnc, small, "-o", t.path("made/x"), status=-number, env={"CC": ends, "SIGNAL": str(int(number))}, preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
        assert os.listdir(t.path("made")) == ["x"], (number, os.listdir(t.path("made")))  # whole: it was linked to its end
        assert t.run(t.path("made/x"), "c").stdout == ""
        os.remove(t.path("made/x"))
    for args in ([], ["--emit=graph"]):
        t.run(t.nnc, small, *args, "-o", t.path(f"made/{'x' * 250}"))
        assert os.listdir(t.path("made")) == ["x" * 250]
    fails(t, t.nnc, small, "-o", t.path(f"made/{'x' * 256}"), words=["E0923", "File name too long"])


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
    assert "digits.nn" in t.run(program, "--version").stdout and "flags" not in t.run(program, "--version").stdout
    flags = ["-D", "hidden=32", "--max-batch=64", "--no-fma", "-g"]
    assert "\nflags: " + " ".join(flags) in t.run(t.compile("digits", *flags), "--version").stdout
    assert "dense_1.w" in t.run(program, "--summary").stdout
    assert t.run(program, "--plan").stdout
    fails(t, program, "trian", words=["train"])
    fails(t, program, "train", "--lrr=1", words=["--lr"])
    fails(t, program, "train", "--lr=fast", words=["fast"])
    fails(t, program, "train", "--threads=0", words=["threads"])
    fails(t, program, "train", "--seed=-1", words=["seed"])
    fails(t, program, "predict", words=["--x"])
    fails(t, program, "--threads=2", "train", words=["train", "a command comes first"])
    with open(os.path.join(t.root, "samples", "digits.nn"), encoding="utf-8") as f: alone = t.write("alone.nn", f.read())  # beside the sample somebody may have trained
    t.run(t.nnc, alone, "-o", t.path("alone"))
    fails(t, t.path("alone"), "predict", f"--x={t.write('x.csv', ','.join('0' * 64))}", words=["train", "digits.safetensors", f"looked in this folder, {t.folder}"])


def test_debug_lines(t):
    """-g: the lines of the source for debuggers, in DWARF 4; valgrind 3.19 stops at what it does not know of a later one."""
    if not shutil.which("readelf"): raise Skip("no readelf")
    t.run(t.nnc, os.path.join(t.root, "samples/digits.nn"), "-g", "--emit=obj", "-o", t.path("lines.o"))
    info = t.run("readelf", "--debug-dump=info", t.path("lines.o")).stdout
    versions = re.findall(r"^ *Version: +(\d+)", info, re.M)
    assert versions and set(versions) == {"4"} and "digits.nn" in info and "train.step.dense.1" in info, info[:2000]


def test_options_of_another_mode(t):
    """One clear line, status 2, nothing written."""
    digits = os.path.join(t.root, "samples/digits.nn")
    graph = t.write("x.graph", "graph front\n")
    before = sorted(os.listdir(t.folder))
    for args, words in [(["--emit=ast", "--passes=fuse"], ["--passes"]), (["--eval-type=f32"], ["--eval-type", "--eval"]), (["--static", "--emit=graph"], ["--static"]),
                        (["--keep-temps", "--summary"], ["--keep-temps"]), (["--emit=graph", "--stop-after=tile"], ["--emit=loops"]), (["--emit=loops", "--stop-after=fuse"], ["--emit=graph"]),
                        (["--summary", "--plan"], ["one thing at a time"]), (["-o", "x", "--eval", "train"], ["-o"]), (["--emit=graph", "-o", "no/where"], ["no/where", "cannot be written"]),
                        (["--max-batch"], ["--max-batch"]), (["-q"], ["q"]), (["--list-pases"], ["--list-passes"]), (["-D", "hidden=1", "-D", "hidden=2"], ["twice"]),
                        (["-D", "hidden="], ["NAME=VALUE"]), (["--stop-after="], ["--stop-after", "--list-passes"]), (["--print-after="], ["--print-after"]),
                        (["--fn=train.step"], ["--fn", "all its functions"]), (["--verify"], ["--verify-passes"]),
                        (["--print-after=tile", "--stop-after=fuse"], ["E0902", "`tile` was not run"]), (["--passes=infer", "--stop-after=fuse"], ["`fuse` was not run"]),
                        (["--passes=infer", "--print-after=infer,fuse", "--emit=graph"], ["--print-after", "`fuse` was not run"]), (["--emit=graph", "--print-changed"], ["--stop-after"]),
                        (["--emit=loops", "--print-after-all", "--fn=train.stp"], ["train.step"]), (["--emit=loops", "--passes=fuse"], ["expanded", "front"]),
                        (["--target=aarch64-linux-gnu"], ["--target=aarch64-linux-gnu", "--emit=obj"])]:
        fails(t, t.nnc, digits, *args, words=words)
    fails(t, t.nnc, digits, graph, words=["one program at a time"])
    fails(t, t.nnc, graph, "-D", "a=1", "--emit=graph", words=["-D a"])
    fails(t, t.nnc, graph, "--max-batch=3", "--emit=graph", words=["--max-batch", "x.graph"])
    texts = {name: t.write(name, t.run(t.nnc, digits, f"--emit={name[-5:]}", f"--stop-after={stop}").stdout) for name, stop in (("f.graph", "fuse"), ("p.loops", "barriers"))}
    before = sorted(os.listdir(t.folder))
    fails(t, t.nnc, texts["p.loops"], "--max-mem=1", words=["--max-mem", "p.loops"])
    fails(t, t.nnc, texts["p.loops"], "--stop-after=lower", words=["E0902", "lower"])
    fails(t, t.nnc, texts["f.graph"], "--stop-after=autodiff", "--emit=graph", words=["E0902", "autodiff"])
    assert t.run(t.nnc, texts["f.graph"], "--stop-after=fuse").stdout.startswith("graph fused")
    for stop in ("parallelize", "plan", "barriers"): assert t.run(t.nnc, digits, f"--stop-after={stop}", cwd=t.folder).stdout.startswith("loops "), stop
    fails(t, t.nnc, digits, "--stop-after=plan", "--static", words=["--static"])
    fails(t, t.nnc, digits, "--eval", "train", f"--data={t.path('nowhere')}", words=["nowhere", "no such folder"])
    fails(t, t.compile("digits"), "train", f"--data={t.path('nowhere')}", words=["nowhere", "no such folder"])
    assert sorted(os.listdir(t.folder)) == before


def test_the_evaluator_wants_gradients_expanded(t):
    """--passes and --stop-after may leave autodiff out: the user's doing, and no fault of nnc's."""
    small = t.write("small.nn", "param w: f32[2] = 1\ncommand c { for i in 0..2 { minimize sum(w * w) over w using sgd[0.1]\ntrack s = sum(w) } }\n")
    graph = t.write("small.graph", t.run(t.nnc, small, "--emit=graph").stdout)
    for file in (small, graph):
        for passes in ("--passes=", "--passes=infer,simplify", "--stop-after=infer"):
            fails(t, t.nnc, file, passes, "--eval", "c", words=["gradients", "autodiff"])
    fails(t, t.nnc, small, "--passes=infer", "--gradcheck", words=["gradients", "autodiff"])
    fails(t, t.nnc, small, "--stop-after=fuse", "--gradcheck", words=["--stop-after", "--gradcheck"])
    want = t.run(t.nnc, small, "--eval", "c").stdout
    for stop in ("autodiff", "fuse", "tile"): assert t.run(t.nnc, small, f"--stop-after={stop}", "--eval", "c").stdout == want


def test_one_function_of_each_stage(t):
    """--fn holds for what --print-after and --print-changed print, too."""
    digits = os.path.join(t.root, "samples/digits.nn")
    for flag in ("--print-after=simplify,tile", "--print-after-all"):
        shown = t.run(t.nnc, digits, flag, "--fn=train.step", "--emit=loops").stderr
        heads = [line for line in shown.splitlines() if line.startswith(("func @", "step @"))]
        assert len(heads) >= 4 and all("@train.step" in line for line in heads), heads
    changed = [t.run(t.nnc, digits, "--print-changed", *fn, "--emit=loops").stderr for fn in ([], ["--fn=train.step"])]
    assert "%predict.x" in changed[0] and "@predict" in changed[0] and "@predict" not in changed[1] and "# tile changed\n" in changed[1], changed[1]


def test_a_full_disk_behind_standard_output(t):
    """Nobody takes half a text for a whole one."""
    small = t.write("small.nn", "param w: f32[3] = 1\ncommand c { minimize sum(w * w) over w using sgd[0.1] }\n")
    texts = [["--emit=ast"], ["--emit=graph"], ["--emit=dot"], ["--plan"], ["--summary"], ["--stop-after=fuse"], ["--emit=asm"], ["--gradcheck"]]
    for args in [*([small, *args] for args in texts), ["--help"], ["--version"], ["--list-passes"], ["--list-ops"], ["--explain", "E0204"], ["fmt", small]]:
        with open("/dev/full", "w") as full: done = subprocess.run([t.nnc, *args], stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and "cannot be written" in done.stderr, f"{args}: {done}"


def test_names_of_descriptors_are_written_to(t):
    """/dev/stdout and its kin, also where they lead to a file: what has that name stays, and what stood there before. (In /proc, where nothing can be replaced by mistake.)"""
    small = t.write("small.nn", "param w: f32[2] = 1\ncommand c() -> (x: f32[2]) { x = 3 * w }\n")
    want = t.run(t.nnc, small, "--emit=graph").stdout
    for args in (["--emit=graph"], ["--emit=asm"]):
        with open(t.path("text"), "w+") as f:
            f.write("before\n")
            f.flush()
            assert subprocess.run([t.nnc, small, *args, "-o", "/proc/self/fd/1"], stdout=f).returncode == 0
            f.seek(0)
            text = f.read()
        assert text.startswith("before\n") and (args != ["--emit=graph"] or text == "before\n" + want), text[:300]
    t.run(t.nnc, small, "-o", t.path("small"))
    with open(t.path("saved"), "w+b") as f:
        assert subprocess.run([t.path("small"), "c", "--save=/proc/self/fd/1"], stdout=f).returncode == 0
        f.seek(0)
        assert b'"w"' in f.read()
    fails(t, t.nnc, small, "-o", "/proc/self/fd/1", words=["E0923"])
    fails(t, t.nnc, small, "-o", "-", words=["-o -"])


def test_names_that_begin_with_a_dash(t):
    t.write("-p.nn", "command hello { print \"hello\" }\n")
    t.run(t.nnc, "./-p.nn")
    assert t.run(t.path("-p"), "hello").stdout == "hello\n"
    t.run(t.nnc, "./-p.nn", "-o", "-q")
    assert sorted(os.listdir(t.folder)) == ["-p", "-p.nn", "-q"]


def test_run_keeps_nothing_beside_the_source(t):
    source = t.write("hello.nn", "option n = 3\ncommand hello { print \"n is {n}\" }\n")
    done = t.run(t.nnc, "run", source, "hello", "--n=5", env={"XDG_CACHE_HOME": t.path("cache")})
    assert done.stdout == "n is 5\n"
    done = t.run(t.nnc, "run", "--max-batch", "3", "--cpu", "x86-64-v3", source, "hello", "--n=6", env={"XDG_CACHE_HOME": t.path("cache")})
    assert done.stdout == "n is 6\n"
    assert sorted(os.listdir(t.folder)) == ["cache", "hello.nn"]
    for _ in range(2):  # what shows the compiling does so though the program is kept already
        done = t.run(t.nnc, "run", "--print-after=fuse", "--time-passes", source, "hello", env={"XDG_CACHE_HOME": t.path("cache")})
        assert "# after fuse" in done.stderr and "all passes" in done.stderr and done.stdout == "n is 3\n", done
    for name in ("one.nn", "two.nn"):  # the same text: messages name the file that was given
        far = t.write(name, "command c { x = f32([1, 2]); for i in 0..3 { y = x[i]; print y } }\n")
        done = t.run(t.nnc, "run", far, "c", status=3, env={"XDG_CACHE_HOME": t.path("cache")})
        assert f"{name}:1" in done.stderr and "index 2" in done.stderr, done.stderr
    wrong = t.write("wrong.nn", "command hello { print nothing_here }\n")
    done = fails(t, t.nnc, "run", wrong, "hello", words=["wrong.nn:1:23", "nothing_here"])
    assert done.stderr.count("error") == 1, done.stderr
    much = t.write("much.nn", "command c { print sum(sort(uniform([4096]))) }\n")
    done = fails(t, t.nnc, "run", "--max-mem=10", much, "c", words=["E0805"])
    assert done.stderr.count("error") == 1, done.stderr


def test_many_options(t):
    """Each of ninety options and inputs is taken, whatever its number."""
    source = t.write("many.nn", "".join(f"option o{i} = {i}\n" for i in range(80)) + "command show(" + ", ".join(f"i{i}: i32" for i in range(10)) +
                     ") { print " + ", ".join([f"o{i}" for i in range(80)] + [f"i{i}" for i in range(10)]) + " }\n")
    flags = [f"--o{i}={i + 100}" for i in range(80)] + [f"--i{i}={i + 200}" for i in range(10)]
    for how in ([t.nnc, source, "--eval"], [t.compile(source)]):
        assert t.run(*how, "show", *flags).stdout.split() == [str(i + 100) for i in range(80)] + [str(i + 200) for i in range(10)]
