"""A run that is stopped anywhere and gone on with ends with the bits of a run that never stopped.

How a run is stopped in a turn that we choose, without clocks: the program prints a line longer than the pipe holds in every turn, so it waits in turn k's
`print` until somebody reads. We read just k lines, wait until the next has begun, and signal: SIGTERM is then answered at the end of that turn, SIGKILL finds
the checkpoint of the turns before.
"""
import errno, fcntl, json, os, select, shutil, signal, struct, subprocess

from support import read_log, read_safetensors

PIPE = 4096  # the smallest a pipe can be
LONG = "." * (PIPE + 200)

# Learning with random draws, a shuffled set with a short last batch, a carried value, a state, two optimizers with their own state; a validation loop
# in which runs are stopped too; keep, stop, and a loop over a range. 7 turns an epoch.
PROGRAM = """
const rows = 40
option epochs = 7
option lr     = 0.05

data all shuffle {
    x: f32[3] = csv("table.csv", columns=0..3)
    y: u8     = csv("table.csv", columns=3)
}
layer network(x: f32[B, 3]) -> f32[B, 2] {
    param w: f32[3, 8] = normal(shape)
    param v: f32[8, 2] = normal(shape) / 3
    state seen: f32[8] = 0
    h = tanh(x @ w)
    if learning {
        h = h * bernoulli(0.8 * ones(shape(h))) / 0.8
        seen <- 0.9 * seen + 0.1 * mean(h, axis=0)
    }
    return h @ v
}
model net = network

command train {
    carry = zeros([4])
    for epoch in 0..epochs {
        for x, y in all[0..30] batch 8 shuffle {
            loss = cross_entropy(net(x), y)
            minimize loss over net.w using adam[lr]
            minimize cross_entropy(net(x), y) over net.v using momentum[lr]
            carry = 0.5 * carry + normal([4]) + loss
            track loss, accuracy(net(x), y)
            print "LONG"
        }
        for x, y in all[30..40] batch 4 {
            track val = cross_entropy(net(x), y)
            print "LONG"
        }
        keep lowest val
        stop when lowest val stalls for 4
    }
    for i in 0..3 {
        carry = carry + uniform([4]) * (i + 1)
        track size = sum(abs(carry))
        print "LONG"
    }
    print "carry {carry}"
    write carry to "carry.npy"
    save net to "net.safetensors"
}
command other { print "other" }
""".replace("LONG", LONG)
TURNS = 50
IN_AN_EPOCH = 7


def turns_done(lines):
    """What a checkpoint says has been computed when so many lines have been printed: the end of an epoch is a turn too, of the loop over epochs."""
    return lines + lines // IN_AN_EPOCH


def setup(t):
    rows = []
    for i in range(40):
        a, b, c = (i * 37 % 41) / 41 - 0.5, (i * 17 % 29) / 29 - 0.5, (i * 11 % 31) / 31 - 0.5
        rows.append(f"{a:.6f},{b:.6f},{c:.6f},{int(a + 0.5 * b - c * a > 0)}\n")
    t.write("table.csv", "".join(rows))
    t.write("resume.nn", PROGRAM)
    t.run(t.nnc, t.path("resume.nn"), "-o", t.path("resume"))
    return t.path("resume")


def result(folder):
    """All that a run leaves: files as bytes, the log without its seconds."""
    left = {}
    for name in ("carry.npy", "net.safetensors", "end.safetensors"):
        with open(os.path.join(folder, name), "rb") as f: left[name] = f.read()
    left["log"] = read_log(os.path.join(folder, "log.jsonl"))
    return left


def flags(folder, *more):
    return ["train", f"--out={folder}", f"--save={folder}/end.safetensors", f"--log={folder}/log.jsonl", "--progress=none", *more]


def hear_interrupts():
    """A shell's background job ignores SIGINT, and so do programs that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Stopped:
    """A run with its output in a small pipe, that gets the first k of its long lines read, and then a signal."""

    def __init__(self, program, arguments, lines, number):
        read, write = os.pipe()
        fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE)
        process = subprocess.Popen([program, *arguments], stdout=write, stderr=subprocess.PIPE, text=True, preexec_fn=hear_interrupts)
        os.close(write)
        self.out, size = b"", lines * (len(LONG) + 1)
        while len(self.out) < size and (got := os.read(read, min(PIPE, size - len(self.out)))): self.out += got
        select.select([read], [], [], 60)  # it is in the print of the next turn
        process.send_signal(number)
        if number != signal.SIGKILL:
            while got := os.read(read, PIPE): self.out += got
        os.close(read)
        self.err = process.communicate(timeout=60)[1]
        self.status = process.returncode


def fresh(t, name="run"):
    folder = t.memory(name)
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    return folder


def metadata(path):
    with open(path, "rb") as f: return json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))["__metadata__"]


def whole(t, program):
    folder = fresh(t, "whole")
    out = t.run(program, *flags(folder)).stdout
    assert out.count(LONG) >= TURNS, f"only {out.count(LONG)} turns: the test wants {TURNS}"
    return result(folder), out


def go_on(t, program, folder, want, label, *more):
    done = t.run(program, *flags(folder, f"--checkpoint={folder}/c", "--resume", *more))
    got = result(folder)
    for key in want: assert got[key] == want[key], f"{label}: {key} differs\n{str(want[key])[:600]}\n{str(got[key])[:600]}"
    return done


def test_sigterm_in_each_of_the_first_turns(t):
    program = setup(t)
    want, out = whole(t, program)
    stopped_in = []
    for turn in range(TURNS):
        folder = fresh(t)
        stopped = Stopped(program, flags(folder, f"--checkpoint={folder}/c"), turn, signal.SIGTERM)
        assert stopped.status == 143, f"turn {turn}: status {stopped.status}, {stopped.err}"
        assert "--resume" in stopped.err, stopped.err
        stopped_in.append(int(metadata(f"{folder}/c")["computed"]))
        threads = turn % 3 + 1
        done = go_on(t, program, folder, want, f"stopped in turn {turn}", f"--threads={threads}")
        assert (stopped.out.decode() + done.stdout) == out, f"turn {turn}: the two outputs are not that of a whole run"
    assert stopped_in == [turns_done(k) for k in range(TURNS)], f"the runs did not stop in each turn: {stopped_in}"


def test_sigkill_after_the_write(t):
    program = setup(t)
    want, _ = whole(t, program)
    for turn in range(1, TURNS + 1):
        folder = fresh(t)
        stopped = Stopped(program, flags(folder, f"--checkpoint={folder}/c", "--every=1"), turn, signal.SIGKILL)
        assert stopped.status == -signal.SIGKILL, stopped.status
        done = metadata(f"{folder}/c")["computed"]
        assert int(done) == turns_done(turn), f"killed in turn {turn}: the checkpoint has {done} turns"
        go_on(t, program, folder, want, f"killed in turn {turn}", f"--threads={turn % 2 + 1}")


def test_what_a_kill_leaves_half_written_is_cleaned_up(t):
    """NAME.PID.part of a process that is no more goes with the next run; one that somebody still writes stays, and so does what only looks like it."""
    program = setup(t)
    folder = fresh(t)
    left, names = f"{folder}/c.12345.part", ["c.part", "c.1x.part", "c2.17.part", "c.99.part.old"]
    for path in [left, *(f"{folder}/{name}" for name in names)]:
        with open(path, "w") as f: f.write("half")
    with open(f"{folder}/c.777.part", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        t.run(program, *flags(folder, f"--checkpoint={folder}/c", "--epochs=1"))
        assert not os.path.exists(left)
        for name in [*names, "c.777.part", "c"]: assert os.path.exists(f"{folder}/{name}"), name


def test_stopped_twice_and_without_a_checkpoint(t):
    program = setup(t)
    want, _ = whole(t, program)
    folder = fresh(t)
    first = Stopped(program, flags(folder, f"--checkpoint={folder}/c"), 9, signal.SIGTERM)
    second = Stopped(program, flags(folder, f"--checkpoint={folder}/c", "--resume"), 17, signal.SIGINT)
    assert (first.status, second.status) == (143, 130), (first.status, second.status, second.err)
    go_on(t, program, folder, want, "stopped twice")
    go_on(t, program, folder, want, "gone on from the end of an epoch")  # the last checkpoint is that of an epoch's end: once more to the same end
    folder = fresh(t)
    done = go_on(t, program, folder, want, "no checkpoint yet")
    assert "starting from the beginning" in done.stderr and f"{folder}/c" in done.stderr, done.stderr
    folder = fresh(t)
    alone = Stopped(program, flags(folder), 9, signal.SIGTERM)
    assert alone.status == 143 and "checkpoint is" not in alone.err, alone.err
    assert os.listdir(folder) in ([], ["log.jsonl"]), os.listdir(folder)
    t.run(program, *flags(folder, "--resume"), status=2)


def test_stopped_before_it_begins(t):
    """While data are read, from a pipe that nobody writes to, say, nothing is there to be finished: a signal ends the process, with the status that it has later."""
    program = t.path("reads")
    t.write("reads.nn", 'data d { x: f32 = csv("x.csv") }\ncommand total { for x in d batch 2 { track all = sum(x) } }\n')
    t.run(t.nnc, t.path("reads.nn"), "-o", program)
    os.mkfifo(t.path("x.csv"))
    for number in (signal.SIGTERM, signal.SIGINT):
        run = subprocess.Popen([program, "total", f"--data={t.folder}", f"--checkpoint={t.path('c')}", f"--out={t.path('out')}"], stderr=subprocess.PIPE, text=True,
                               preexec_fn=hear_interrupts)
        pipe = None
        while pipe is None and run.poll() is None:  # it can be opened like this once somebody reads, who then waits for what we do not write
            try: pipe = os.open(t.path("x.csv"), os.O_WRONLY | os.O_NONBLOCK)
            except OSError as e: assert e.errno == errno.ENXIO, e
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)
        if pipe is not None: os.close(pipe)
        assert run.returncode == 128 + number and "stopped by a signal" in errors, (run.returncode, errors)
        assert not os.path.exists(t.path("c")) and not os.path.exists(t.path("out"))


def test_checkpoints_are_safetensors(t):
    program = setup(t)
    folder = fresh(t)
    Stopped(program, flags(folder, f"--checkpoint={folder}/c"), 12, signal.SIGTERM)
    names = read_safetensors(f"{folder}/c")
    assert {"net.w", "net.v", "net.seen"} <= set(names), sorted(names)
    assert any(name.startswith("best.") for name in names), "the kept weights are missing"
    assert len([n for n in names if "best." not in n]) >= 3 + 4, sorted(names)  # and adam's three, momentum's one
    for key in ("program", "command", "seed", "step", "epoch", "batch", "log", "checksum"): assert key in metadata(f"{folder}/c"), key


def refused(t, program, folder, arguments, words):
    """Status 2, a message with the words, and nothing written: the folder is as it was."""
    def look(): return {n: open(os.path.join(folder, n), "rb").read() for n in sorted(os.listdir(folder))}
    before = look()
    done = t.run(program, *arguments, status=2)
    for word in words: assert word in done.stderr, f"{word!r} is not in {done.stderr!r}"
    assert done.stdout == "", done.stdout[:200]
    assert look() == before, "a refused checkpoint left something behind"


def test_damaged_checkpoints_are_refused(t):
    program = setup(t)
    folder = fresh(t)
    Stopped(program, flags(folder, f"--checkpoint={folder}/c"), 12, signal.SIGTERM)
    path = f"{folder}/c"
    with open(path, "rb") as f: good = f.read()
    resume = flags(folder, f"--checkpoint={path}", "--resume")
    cuts = [0, 4, 8, 100, len(good) // 2, len(good) - 1]
    for n in cuts:
        with open(path, "wb") as f: f.write(good[:n])
        refused(t, program, folder, resume, [path])
    header = struct.unpack("<Q", good[:8])[0]
    places = [0, 7, 9, 8 + header // 3, 8 + header // 2, 8 + header - 3, 8 + header, 8 + header + 50, len(good) - 1] + [8 + header * k // 23 for k in range(1, 23)]
    for at in places:
        with open(path, "wb") as f: f.write(good[:at] + bytes([good[at] ^ 4]) + good[at + 1:])
        refused(t, program, folder, resume, [path])
    with open(path, "wb") as f: f.write(good + b"x")
    refused(t, program, folder, resume, [path])
    with open(path, "wb") as f: f.write(b"this is a text, not a checkpoint\n" * 20)
    refused(t, program, folder, resume, [path])
    with open(path, "wb") as f: f.write(good)
    t.run(program, *resume)


def test_foreign_checkpoints_are_refused(t):
    program = setup(t)
    folder = fresh(t)
    path = f"{folder}/c"
    Stopped(program, flags(folder, f"--checkpoint={path}"), 12, signal.SIGTERM)
    resume = flags(folder, f"--checkpoint={path}", "--resume")
    refused(t, program, folder, resume + ["--lr=0.06"], [path, "option", "0.06"])
    refused(t, program, folder, resume + ["--epochs=8"], [path, "option"])
    refused(t, program, folder, resume + ["--seed=2"], [path, "seed"])
    refused(t, program, folder, resume + ["--no-shuffle"], [path, "--no-shuffle"])
    refused(t, program, folder, resume + ["--batches=2"], [path, "--batches=2"])
    refused(t, program, folder, ["other", f"--checkpoint={path}", "--resume"], [path, "command"])
    t.run(t.nnc, t.path("resume.nn"), "--no-fma", "-o", t.path("unfused"))
    refused(t, t.path("unfused"), folder, resume, [path, "program"])
    done = t.run(t.nnc, t.path("resume.nn"), "--eval", *resume, status=2)  # in f64: other bits
    assert path in done.stderr and "of another program" in done.stderr, done.stderr
    t.write("another.nn", PROGRAM.replace("0.9 * seen", "0.8 * seen"))
    t.run(t.nnc, t.path("another.nn"), "-o", t.path("another"))
    refused(t, t.path("another"), folder, resume, [path, "program"])
    shutil.copy(t.path("table.csv"), t.path("kept.csv"))
    with open(t.path("table.csv"), "a") as f: f.write("0,0,0,1\n")
    refused(t, program, folder, resume, [path, "data", "all=40", "all=41"])
    with open(t.path("kept.csv")) as f: rows = f.read()
    t.write("table.csv", rows[:-2] + ("1" if rows[-2] == "0" else "0") + "\n")  # as many samples, one bit of another kind
    refused(t, program, folder, resume, [path, "data", "all=40"])
    os.replace(t.path("kept.csv"), t.path("table.csv"))
    weights = f"{folder}/weights"
    t.run(program, *flags(folder), f"--save-init={weights}")
    shutil.copy(weights, path)
    refused(t, program, folder, resume, [path])
    os.remove(path)
    os.mkdir(path)
    done = t.run(program, *resume, status=2)
    assert path in done.stderr, done.stderr


def test_a_log_that_is_too_short_is_refused(t):
    program = setup(t)
    folder = fresh(t)
    Stopped(program, flags(folder, f"--checkpoint={folder}/c"), 12, signal.SIGTERM)
    with open(f"{folder}/log.jsonl", "w"): pass
    refused(t, program, folder, flags(folder, f"--checkpoint={folder}/c", "--resume"), ["log.jsonl"])


def test_the_log_goes_on(t):
    """A new run begins a new log; one that goes on keeps the lines of before, also those from before a part that had no log; another file is not taken for the log."""
    program = setup(t)
    folder = fresh(t)
    log, check = f"{folder}/log.jsonl", [f"--checkpoint={folder}/c", "--resume"]
    with open(log, "w") as f: f.write("an old log\n" * 1000)
    assert Stopped(program, flags(folder, f"--checkpoint={folder}/c"), 2 * IN_AN_EPOCH, signal.SIGTERM).status == 143
    with open(log) as f: first = f.read()
    assert len(read_log(log)) >= 4 and int(metadata(f"{folder}/c")["log"]) == len(first.encode()), first
    without = [word for word in flags(folder, *check) if not word.startswith("--log=")]
    assert Stopped(program, without, 2 * IN_AN_EPOCH, signal.SIGTERM).status == 143
    with open(log) as f: assert f.read() == first
    refused(t, program, folder, [*without, f"--log={folder}/other.jsonl"], ["other.jsonl", "no such file"])
    with open(log, "a") as f: f.write("cut off in the mid")
    t.run(program, *flags(folder, *check))
    with open(log) as f: assert f.read().startswith(first)
    want = [line for line in whole(t, program)[0]["log"] if line.get("epoch") not in (2, 3)]
    assert read_log(log) == want, (read_log(log), want)
    t.run(program, *flags(folder))  # a new run
    assert read_log(log) == whole(t, program)[0]["log"]


def test_a_log_to_where_it_is_appended(t):
    """/dev/stdout is not ours to begin anew."""
    program, folder = setup(t), fresh(t)
    said = f"{folder}/said"
    with open(said, "w") as f: f.write("before\n")
    for more in (["--epochs=1"], ["--epochs=1", "--resume"]):
        with open(said, "ab") as f:
            done = subprocess.run([program, "train", f"--out={folder}", "--progress=none", "--log=/dev/stdout", f"--checkpoint={folder}/c", *more], stdout=f, stderr=subprocess.PIPE)
            assert done.returncode == 0, done.stderr
    with open(said) as f: lines = f.read().splitlines()
    assert lines[0] == "before" and sum(line.startswith('{"command":"train"') for line in lines) >= 3, lines
