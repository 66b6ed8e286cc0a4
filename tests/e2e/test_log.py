"""What a run says: the log to the letter, the lines of progress, averages over a short last batch, and the flags that cut loops short."""
import json, math, os, re, struct

from support import Skip, read_log

PROGRAM = """
option lr   = 0.5
option wide = true

data d {
    x: f32[2] = csv("table.csv", columns=0..2)
    k: u8     = csv("table.csv", columns=2)
}
param w: f32[2] = 1

command train {
    for epoch in 2..5 {
        for x, k in d batch 4 shuffle {
            y = x @ w
            minimize mean((y - 1)^2) over w using sgd[0.01]
            track y, first = x[:, 0], batch = mean(f32(k)), pair = x, biggest = max(x)
        }
    }
    for i in 3..8 {
        v = i * i
        track v, nothing = log(-1 - 0 * w[0]), huge = exp(1000 + 0 * w[0])
    }
    print "lr {lr}, wide {wide}, v {v:.3}"
}
command walk {
    for x in d batch 4 {
        last = x[0, 0]
        print "{last}"
    }
}
command index(i: i32) -> (y: f32) { y = w[i] }
command divide(i: i32) -> (y: i32) { y = 7 // i }
command blow {
    for i in 0..9 { w <- 1e10 * w }
    print w
}
option many = 20000000
command count { print "{many}" }
"""
ROWS = [(0.25 * i, 1 - i, i * 7 % 11) for i in range(10)]


def program(t):
    t.write("table.csv", "".join(f"{a},{b},{k}\n" for a, b, k in ROWS))
    t.write("log.nn", PROGRAM)
    t.run(t.nnc, t.path("log.nn"), "-o", t.path("log"))
    return t.path("log")


def f32(v): return struct.unpack("<f", struct.pack("<f", v))[0]


NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?"


def test_the_log_to_the_letter(t):
    p, path = program(t), t.path("l.jsonl")
    t.run(p, "train", f"--log={path}", "--progress=none")
    with open(path) as f: lines = f.read().split("\n")
    assert lines[-1] == "" and len(lines) == 5
    for e, line in enumerate(lines[:3]):
        assert re.fullmatch(rf'\{{"command":"train","line":13,"data":"d","epoch":{e + 2},"step":{3 * e + 3},"samples":10,"seconds":{NUMBER},'
                            rf'"y":{NUMBER},"first":{NUMBER},"batch":{NUMBER},"pair":\[{NUMBER},{NUMBER}\],"biggest":{NUMBER}\}}', line), line
        values = json.loads(line)
        assert list(values) == ["command", "line", "data", "epoch", "step", "samples", "seconds", "y", "first", "batch", "pair", "biggest"]
        for word in re.findall(NUMBER, line.split('"seconds"')[1])[1:]: assert len(word.split("e")[0].replace(".", "").replace("-", "").lstrip("0")) <= 9, word
        for value in [values["y"], values["first"], *values["pair"]]: assert float(f"{f32(value):.9g}") == value, "nine digits are a float's exact value"
    last = json.loads(lines[3])
    assert list(last) == ["command", "line", "step", "samples", "seconds", "v", "nothing", "huge"], "a loop over a range has no data, and no epoch outside one"
    assert (last["line"], last["step"], last["samples"], last["v"]) == (19, 9, 5, sum(i * i for i in range(3, 8)) / 5)
    assert last["nothing"] is None and last["huge"] is None and '"nothing":null' in lines[3]


def test_averages(t):
    """A value a sample is averaged over samples; a value a batch counts for its samples; the last batch is short: 4, 4, 2."""
    p = program(t)
    for args in ([], ["--threads=3"]):
        log = t.log(p, "train", "--no-shuffle", *args)
        near = lambda a, b: abs(a - b) <= 1e-6 * (1 + abs(b))
        for line in log[:3]:
            assert near(line["first"], sum(r[0] for r in ROWS) / 10) and line["pair"][0] == line["first"], line
            assert near(line["pair"][1], sum(r[1] for r in ROWS) / 10), line
            assert near(line["batch"], sum(r[2] for r in ROWS) / 10), line  # mean of a batch, weighted by its samples
            assert near(line["biggest"], (4 * max(ROWS[3][0], 1) + 4 * ROWS[7][0] + 2 * ROWS[9][0]) / 10), line
        shuffled = t.log(p, "train", *args)
        for line in shuffled[:3]: assert near(line["first"], sum(r[0] for r in ROWS) / 10) and near(line["batch"], sum(r[2] for r in ROWS) / 10)


def test_cut_short(t):
    p = program(t)
    log = t.log(p, "train", "--no-shuffle", "--batches=2", "--turns=2")
    assert [(line["line"], line.get("epoch"), line["samples"]) for line in log] == [(13, 2, 8), (13, 3, 8), (19, None, 2)], log
    assert abs(log[0]["first"] - sum(r[0] for r in ROWS[:8]) / 8) < 1e-6
    log = t.log(p, "train", "--batches=1000", "--turns=1000")
    assert [line["samples"] for line in log] == [10, 10, 10, 5]
    assert t.run(p, "walk").stdout.split() == ["0", "1", "2"]
    assert t.run(p, "walk", "--batches=1").stdout.split() == ["0"]
    for flag in ("--batches=0", "--batches=-1", "--turns=0", "--turns=x", "--turns=1.5", "--threads=0", "--seed=-1", "--seed=18446744073709551616", "--every=5",
                 "--resume", "--progress=loud", "--every=soon", "--wide=perhaps", "--lr=nan", "--lr=", "--log=/no/such/folder/log", "--lr", "--no-shuffle=1", "word"):
        done = t.run(p, "train", flag, status=2)
        assert flag.split("=")[0].lstrip("-") in done.stderr, f"{flag}: {done.stderr}"
        assert done.stdout == "", f"{flag}: {done.stdout}"
    t.run(p, "train", "--seed=18446744073709551615")


def test_progress(t):
    p = program(t)
    want = [rf"line 13 epoch {e} d: y {NUMBER}, first 1\.125, batch {NUMBER}, pair \[1\.125, -3\.5\], biggest {NUMBER} \(10 samples, \d+\.\d\d s, \d+/s\)" for e in (2, 3, 4)]
    want.append(rf"line 19: v {NUMBER}, nothing nan, huge inf \(5 turns, \d+\.\d\d s, \d+/s\)")
    for args in ([], ["--progress=plain"], ["--progress=auto"]):  # not on a terminal: no moving line
        done = t.run(p, "train", *args)
        lines = done.stderr.splitlines()
        assert len(lines) == 4, done.stderr
        for pattern, line in zip(want, lines): assert re.fullmatch(pattern, line), f"{line!r} is not {pattern}"
        assert done.stdout == "lr 0.5, wide true, v 27\n", done.stdout
    done = t.run(p, "train", "--progress=none", "--wide=false", "--lr=0.1")
    assert done.stderr == "" and done.stdout == "lr 0.1, wide false, v 27\n", (done.stderr, done.stdout)


def test_a_terminal_gets_a_moving_line(t):
    import pty, subprocess
    try: ours, theirs = pty.openpty()
    except OSError as why: raise Skip(f"no terminal can be made here ({why})")
    p = program(t)
    run = subprocess.Popen([p, "train"], stdout=subprocess.PIPE, stderr=theirs, cwd=t.folder)
    os.close(theirs)
    seen = b""
    try:
        while got := os.read(ours, 4096): seen += got
    except OSError: pass  # the terminal is closed
    os.close(ours)
    assert run.wait(30) == 0
    run.stdout.close()
    lines = [line.split("\x1b[K")[-1].strip("\r") for line in seen.decode().split("\n")]
    assert [line[:10] for line in lines] == ["line 13 ep"] * 3 + ["line 19: v", ""], lines


def test_a_closed_pipe_and_a_full_disk(t):
    p = program(t)
    if os.path.exists("/dev/full"):
        for flag in ("--log=/dev/full",):
            done = t.run(p, "train", flag, "--progress=none", status=None)
            assert done.returncode in (2, 3) and "/dev/full" in done.stderr, (done.returncode, done.stderr)
    import subprocess
    run = subprocess.Popen([p, "train"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=t.folder)
    run.stdout.close()
    run.stderr.close()
    assert run.wait(30) in (0, -13), "a reader that goes away is not an error of the run"


def test_defaults_are_shown_as_they_are_given(t):
    p = program(t)
    assert "count [--many=20000000]\n" in t.run(p, status=2).stderr
    assert t.run(p, "count", "--many=20000000").stdout == "20000000\n"


def test_closed_descriptors(t):
    """What is printed goes nowhere then: not into the log, which would get the free number."""
    import subprocess
    p, path = program(t), t.path("c.jsonl")
    want = t.log(p, "train")
    for fd, flags, status in ((2, [], 0), (1, ["--progress=none"], 3)):
        done = subprocess.run([p, "train", f"--log={path}", *flags], cwd=t.folder, preexec_fn=lambda: os.close(fd), **{"stdout" if fd == 2 else "stderr": subprocess.PIPE})
        assert done.returncode == status, (fd, done)
        assert read_log(path) == want, fd  # every line is an object
    assert b"standard output cannot be written: Bad file descriptor" in done.stderr, done.stderr
    done = subprocess.run([p, "train", "--log=/dev/stdout", "--progress=none"], cwd=t.folder, preexec_fn=lambda: os.close(1), stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"--log=/dev/stdout: cannot be written" in done.stderr, done


def test_errors_while_running(t):
    p = program(t)
    put = lambda name, text: t.write(name, text)
    for i, word in ((0, "y 1"), (1, "y 1")): assert t.run(p, "index", f"--i={put('i.csv', f'{i}')}").stdout == word + "\n"
    for i in (2, -1, 1000000000):
        done = t.run(p, "index", f"--i={put('i.csv', f'{i}')}", status=3)
        for word in ("log.nn:31", str(i), "2"): assert word in done.stderr, f"{word!r} not in {done.stderr!r}"
    assert t.run(p, "divide", f"--i={put('i.csv', '-2')}").stdout == "y -4\n"
    done = t.run(p, "divide", f"--i={put('i.csv', '0')}", status=3)
    assert "log.nn:32" in done.stderr and "zero" in done.stderr, done.stderr
    assert t.run(p, "blow").stdout == "[inf, inf]\n"
    done = t.run(p, "blow", "--guard", status=3)
    for word in ("`w`", "infinite", "turn 3"): assert word in done.stderr, f"{word!r} not in {done.stderr!r}"
    assert done.stdout == ""


GUARDED = """
param w: f32[3, 3] = 1

fn grow(x) {
    let big = (x * 1e20) @ (w * 1e20)
    let bigger = big @ w
    return sum(bigger - big)
}
command overflow {
    for i in 0..4 { track y = grow(w + i) }
}
command late {
    for i in 0..3 {
        h = w[0] + 5
        scan t in 0..60 {
            h = log(h @ w - 16)
        }
        track z = sum(h)
    }
}
command masked(x: f32[B, 3]) -> (y: f32[B, 3]) {
    let m = if x > 0 then x else -1 / (0 * x * x)
    y = softmax(m)
}
"""


def test_guard_names_the_kernel(t):
    """--guard tells where it came from: the kernel and its line, as --emit=loops names it, with one thread and with several; infinities that a step means are no fault."""
    source = t.write("guarded.nn", GUARDED)
    p, loops = t.compile(source), t.run(t.nnc, source, "--emit=loops").stdout
    for threads in (1, 3):
        for command, slot, nan, infinity, more in (("overflow", "overflow.y", 7, 5, ["turn 0"]), ("late", "late.z", 16, None, ["the 2. time it ran in this step"])):
            done = t.run(p, command, "--guard", f"--threads={threads}", status=3)
            assert "NaN" in done.stderr and f"`{slot}`" in done.stderr and all(word in done.stderr for word in more), done.stderr
            first = re.search(r"the first NaN came out of its kernel @(\S+) \((\S+):(\d+)\)", done.stderr)
            assert first and first[2].endswith("guarded.nn") and f"kernel @{first[1]} {{" in loops, done.stderr
            before = re.search(r"an infinity before it out of @(\S+) \(\S+:(\d+)\)", done.stderr)
            assert abs(int(first[3]) - nan) <= 1 and (before is None) == (infinity is None), done.stderr
            assert not before or int(before[2]) in (infinity, infinity + 1), done.stderr
    assert t.run(p, "masked", "--guard", f"--x={t.write('x.csv', '1,2,-3')}").stdout.startswith("y 0.26")
    done = t.run(p, "masked", "--guard", f"--x={t.write('x.csv', chr(10).join(['1,2,-3', '-1,-1,-1']))}", status=3)
    assert re.search(r"3 elements of 6 .* kernel @softmax\.1 \(\S*guarded.nn:2\d\)", done.stderr), done.stderr
    done = t.run(t.nnc, source, "--eval", "late", "--guard", status=3)  # no kernels there
    assert "`late.z`" in done.stderr and "kernel" not in done.stderr, done.stderr


def test_guard_of_printed_stages(t):
    """A program made from a text guards what its steps write, as that of the source does."""
    source = t.write("guarded.nn", GUARDED)
    want = t.run(t.compile(source), "late", "--guard", status=3).stderr.split(": ", 1)[1]  # behind the program's name
    for stage in ("graph", "loops"):
        text = t.path(f"guarded.{stage}")
        t.run(t.nnc, source, f"--emit={stage}", "-o", text)
        assert "`late.z`" in want and t.run(t.compile(text), "late", "--guard", status=3).stderr.endswith(": " + want), stage


def test_profile(t):
    done = t.run(program(t), "train", "--profile", "--progress=none")
    for word in ("train.step", "calls", "waiting for data"): assert word in done.stderr, done.stderr
