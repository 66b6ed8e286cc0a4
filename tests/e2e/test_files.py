"""Files: what every loader reads, and that a file which is missing, truncated, spoilt, of another type, shape or count is one clear error that names file, field,
what was expected and what was found, with status 2, before anything is written.
"""
import gzip, io, os, resource, struct, subprocess, warnings, zipfile

import files

# One command a loader. Each folds its samples into one number in which every element and its place count.
PROGRAM = """
fn fold(total, x: any[B, 2, 3]) = 0.5 * total + sum(f32(x) * f32([[1, 2, 3], [4, 5, 6]]))

data d_idx {
    x: u8[2, 3] = idx("x.idx")
    y: u8       = idx("y.idx.gz")
}
data d_csv {
    x: f32[3] = csv("x.csv", columns=[2, 0, 1], header=true)
    y: u8     = csv("x.csv", columns=3, header=true)
}
data d_npy {
    x: f32[2, 3] = npy("x.npy")
    y: i32       = npy("y.npy")
}
data d_npz {
    x: f64[2, 3] = npz("x.npz", "first")
    y: i64       = npz("x.npz", "second")
}
data d_safetensors {
    x: f32[2, 3] = safetensors("x.safetensors", "a.x")
    y: i32       = safetensors("x.safetensors", "a.y")
}
data d_cifar {
    x: u8[32, 32, 3] = cifar("one.bin", "two.bin", part="image")
    y: u8            = cifar("one.bin", "two.bin", part="label")
}
data d_text { x: u8[6] = text("x.txt", length=3) }

command c_idx {
    total = 0.0
    write eye(2) to "first.npy"
    for x, y in d_idx batch 1 { total = fold(total, x) + 100 * sum(f32(y)) }
    print "{total:.9}"
}
command c_csv {
    total = 0.0
    for x, y in d_csv batch 1 { total = 0.5 * total + sum(x * f32([1, 2, 3])) + 100 * sum(f32(y)) }
    print "{total:.9}"
}
command c_npy {
    total = 0.0
    for x, y in d_npy batch 1 { total = fold(total, x) + 100 * sum(f32(y)) }
    print "{total:.9}"
}
command c_npz {
    total = 0.0
    for x, y in d_npz batch 1 { total = fold(total, x) + 100 * sum(f32(y)) }
    print "{total:.9}"
}
command c_safetensors {
    total = 0.0
    for x, y in d_safetensors batch 1 { total = fold(total, x) + 100 * sum(f32(y)) }
    print "{total:.9}"
}
command c_cifar {
    total = 0.0
    for x, y in d_cifar batch 1 { total = 0.5 * total + sum(f32(x) * f32([[[1, 2, 3]]])) / 1024 + 100 * sum(f32(y)) }
    print "{total:.9}"
}
command c_text {
    total = 0.0
    for x in d_text batch 1 { total = 0.5 * total + sum(f32(x) * f32([1, 2, 3, 4, 5, 6])) }
    print "{total:.9}"
}
"""
X = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3]  # three samples of 2 x 3
Y = [7, 2, 4]
BUILT = {}


def folded(samples, weights, ys):
    total = 0.0
    for i, sample in enumerate(samples): total = 0.5 * total + sum(a * b for a, b in zip(sample, weights)) + (100 * ys[i] if ys else 0)
    return total


SIX = folded([X[0:6], X[6:12], X[12:18]], [1, 2, 3, 4, 5, 6], Y)


class Loader:
    """A folder with good files of one loader; `bad` replaces one and wants a message."""

    def __init__(self, t, name, good):
        self.t, self.name, self.good = t, name, good
        if "program" not in BUILT or not os.path.exists(BUILT["program"]):
            with open(os.path.join(t.cache, "files.nn"), "w") as f: f.write(PROGRAM)
            BUILT["program"] = t.compile(os.path.join(t.cache, "files.nn"))
        self.folder = t.path(name)
        os.makedirs(self.folder, exist_ok=True)
        self.put(good)

    def put(self, data):
        for name, content in data.items():
            path = os.path.join(self.folder, name)
            if os.path.isdir(path): os.rmdir(path)
            elif os.path.exists(path): os.remove(path)
            if content is not None:
                with open(path, "wb") as f: f.write(content)

    def run(self, status, **more):
        out = self.t.path("out")
        done = self.t.run(BUILT["program"], "c_" + self.name, f"--data={self.folder}", f"--out={out}", status=status, **more)
        return done, out

    def reads(self, want, label=""):
        done, _ = self.run(0)
        got = float(done.stdout)
        assert abs(got - want) <= 1e-6 * abs(want), f"{self.name} {label}: reads {got}, not {want}"

    def bad(self, data, *words, field="x"):
        self.put(data)
        done, out = self.run(2)
        message = done.stderr
        name = next(iter(data))
        for word in (name, f"d_{self.name}", field, *words):
            if word: assert word in message, f"{self.name}, {name}: {word!r} is not in {message!r}"
        assert message.count("error") == 1 and len(message.splitlines()) == 1, f"{self.name}, {name}: not one error: {message!r}"
        assert done.stdout == "", f"{self.name}, {name}: prints {done.stdout!r}"
        assert not os.path.exists(out) or not os.listdir(out), f"{self.name}, {name}: leaves {os.listdir(out)}"
        self.put(self.good)
        return message


def test_idx(t):
    x, y = files.idx("u8", [3, 2, 3], X), gzip.compress(files.idx("u8", [3], Y))
    l = Loader(t, "idx", {"x.idx": x, "y.idx.gz": y})
    l.reads(SIX)
    assert os.listdir(t.path("out")) == ["first.npy"]
    os.remove(os.path.join(t.path("out"), "first.npy"))
    l.bad({"x.idx": None}, "no such file", l.folder)
    l.bad({"x.idx": b""})
    l.bad({"x.idx": b"hello, this is a text and no IDX file"}, "IDX")
    for n in (2, 4, 7, 15): l.bad({"x.idx": x[:n]})
    l.bad({"x.idx": x[:16]}, "truncated", "3 samples", "of 6 bytes", "18", "found 0")
    for n in (18, len(x) - 1): l.bad({"x.idx": x[:n]}, "truncated", "18", str(n - 16))
    l.bad({"x.idx": x + b"\0"}, "3 samples")
    l.bad({"x.idx": files.idx("i32", [3, 2, 3], X)}, "u8[2, 3]", "i32[3, 2, 3]")
    l.bad({"x.idx": files.idx("u8", [3, 3, 2], X)}, "u8[2, 3]", "u8[3, 3, 2]")
    l.bad({"x.idx": files.idx("u8", [3, 6], X)}, "u8[2, 3]", "u8[3, 6]")
    l.bad({"x.idx": files.idx("u8", [18], X)}, "u8[18]")
    l.bad({"x.idx": files.idx("u8", [3, 2, 3], X, count=6)}, "36", "18")
    l.bad({"x.idx": files.idx("u8", [3, 2, 3], X, count=0xFFFFFFFF)}, "4294967295 samples")
    l.bad({"x.idx": files.idx("u8", [0, 2, 3], [])}, "no samples")
    l.bad({"x.idx": x.replace(b"\0\0\x08", b"\0\0\x09", 1)}, "0x09")
    l.bad({"y.idx.gz": gzip.compress(files.idx("u8", [2], Y[:2]))}, "3", "2", field="y")
    l.bad({"y.idx.gz": y[:len(y) - 5]}, field="y")
    l.bad({"y.idx.gz": y[:-8] + bytes([y[-8] ^ 1]) + y[-7:]}, field="y")  # the checksum of the contents
    l.bad({"y.idx.gz": y[:12] + b"\xff\xff\xff" + y[15:]}, field="y")
    for behind in (b"more", b"\0\0\0x", gzip.compress(b"\0"), y[:15]): l.bad({"y.idx.gz": y + behind}, field="y")
    whole = files.idx("u8", [3], Y)
    for packed in (y + bytes(70000), gzip.compress(whole[:9]) + gzip.compress(whole[9:])):  # zeros fill up tapes; two parts are one file
        l.put({"y.idx.gz": packed})
        l.reads(SIX)
    l.put({"y.idx.gz": y})
    os.remove(os.path.join(l.folder, "x.idx"))
    os.mkdir(os.path.join(l.folder, "x.idx"))
    done, _ = l.run(2)
    assert "x.idx" in done.stderr and "d_idx.x" in done.stderr and "a folder without files" in done.stderr, done.stderr


def test_csv(t):
    good = b"a,b,c,label\n1.5,2,3,7\n-4,5e-1,6,2\n7,8,9.25,4\n"
    l = Loader(t, "csv", {"x.csv": good})
    want = folded([[3, 1.5, 2], [6, -4, 0.5], [9.25, 7, 8]], [1, 2, 3], Y)
    l.reads(want)
    for label, same in [("CR LF", good.replace(b"\n", b"\r\n")), ("no last newline", good[:-1]), ("a byte order mark", b"\xef\xbb\xbf" + good),
                        ("quotes", good.replace(b"1.5", b'"1.5"').replace(b"9.25", b'"9.25"')), ("spaces", good.replace(b",8,", b" , 8 ,\t")),
                        ("empty lines at the end", good + b"\n\n"), ("plus", good.replace(b",8,", b",+8,")), ("point", good.replace(b"5e-1", b".5"))]:
        l.put({"x.csv": same})
        l.reads(want, label)
    l.put({"x.csv": good})

    def line(n, old, new, *words, **more): l.bad({"x.csv": good.replace(old, new)}, f"x.csv:{n}:", *words, **more)
    line(3, b"-4,5e-1,6,2", b"-4,5e-1,6", "short", "4", "3")
    line(3, b"-4,5e-1,6,2", b"-4,5e-1,6,2,1", "long", "4", "5")
    line(3, b"5e-1", b"five", "number", "five")
    line(4, b"9.25", b"nan", "nan")
    line(4, b"9.25", b"inf", "inf")
    line(4, b"9.25", b"0x10", "0x10")
    line(4, b"9.25", b"")
    line(4, b"9.25", b"1e60", "1e60")
    line(2, b"3,7", b"3,7.5", "7.5", field="y")
    line(2, b"3,7", b"3,256", "256", "u8", field="y")
    line(2, b"3,7", b"3,-1", "-1", "u8", field="y")
    line(3, b"\n-4", b"\n\n-4")
    line(2, good[12:], b"1,2\n", "2")
    line(2, b"\n1.5", b'\n"1.5', "quote")
    line(4, b",4", b',"4', "quote")
    l.bad({"x.csv": b""}, l.folder, "the file is empty")
    l.bad({"x.csv": b"a,b,c,label\n"}, "no samples")
    l.bad({"x.csv": None}, "no such file")


def test_npy(t):
    x, y = files.npy("f32", [3, 2, 3], X), files.npy("i32", [3], Y)
    l = Loader(t, "npy", {"x.npy": x, "y.npy": y})
    l.reads(SIX)
    l.put({"x.npy": files.npy("f32", [3, 2, 3], X, version=2)})
    l.reads(SIX, "version 2")
    l.put({"x.npy": x})
    l.bad({"x.npy": None}, "no such file")
    l.bad({"x.npy": b"PK\3\4 this is no array at all, and long enough"}, ".npy")
    for n in (0, 5, 9, 40, 127): l.bad({"x.npy": x[:n]})
    for n in (128, 131, len(x) - 1): l.bad({"x.npy": x[:n]}, "truncated", "72", str(n - 128))
    l.bad({"x.npy": x + b"0"}, "3 samples")
    l.bad({"x.npy": files.npy("f64", [3, 2, 3], X)}, "f32[2, 3]", "f64[3, 2, 3]")
    l.bad({"x.npy": files.npy("f32", [3, 3, 2], X)}, "f32[2, 3]", "f32[3, 3, 2]")
    l.bad({"x.npy": files.npy("f32", [18], X)}, "f32[18]")
    l.bad({"x.npy": files.npy("f32", [2, 3], X[:6])}, "f32[2, 3]")
    l.bad({"x.npy": files.npy("f32", [3, 2, 3], X, fortran=True)}, "Fortran")
    l.bad({"x.npy": files.npy_header(">f4", [3, 2, 3]) + files.pack("f32", X, ">")}, ">f4")
    l.bad({"x.npy": files.npy_header("<f2", [3, 2, 3]) + bytes(36)}, "<f2")
    l.bad({"x.npy": files.npy_header("<f4", [9000000000000000000, 2, 3]) + bytes(36)})
    l.bad({"x.npy": files.npy_header("<f4", [4000000000, 2, 3]) + bytes(36)}, "4000000000 samples")
    l.bad({"x.npy": files.npy("f32", [0, 2, 3], [])}, "no samples")
    l.bad({"x.npy": b"\x93NUMPY\4" + x[7:]}, "version 4")
    l.bad({"x.npy": x.replace(b"False", b"Maybe")}, "header")
    l.bad({"x.npy": x.replace(b"3)", b"3 ")}, "header")
    l.bad({"y.npy": files.npy("i32", [2], Y[:2])}, "3", "2", field="y")
    l.bad({"y.npy": files.npy("i64", [3], Y)}, "i32", "i64[3]", field="y")


def test_npz(t):
    x, y = files.npy("f64", [3, 2, 3], X), files.npy("i64", [3], Y)
    stored, deflated = files.npz({"first": x, "second": y}), files.npz({"first": x, "second": y}, compressed=True)
    l = Loader(t, "npz", {"x.npz": stored})
    l.reads(SIX, "stored")
    l.put({"x.npz": deflated})
    l.reads(SIX, "deflated")
    l.bad({"x.npz": None}, "no such file")
    l.bad({"x.npz": files.npz({"second": y, "other": x})}, "first", "second", "other")
    l.bad({"x.npz": files.npz({"first": files.npy("f32", [3, 2, 3], X), "second": y})}, "f64[2, 3]", "f32[3, 2, 3]")
    l.bad({"x.npz": files.npz({"first": x, "second": files.npy("i64", [2], Y[:2])})}, "3", "2", field="y")
    l.bad({"x.npz": files.npz({"first": x[:-8], "second": y})}, "truncated", "3 samples")
    for n in (0, 10, len(stored) // 2, len(stored) - 1): l.bad({"x.npz": stored[:n]})
    at = deflated.index(b"first.npy") + 20
    l.bad({"x.npz": deflated[:at] + b"\xff\xff\xff\xff" + deflated[at + 4:]})
    at = stored.index(b"first.npy") + 9 + 128 + 3  # a bit of an element: only the archive's checksum can tell
    l.bad({"x.npz": stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1:]})
    l.bad({"x.npz": x}, "npz")

    def wide(archive, place=None, entry=None):
        """The archive with an end record as of more than 4 GB; place: what it says of where the directory is, entry: what the directory says of where `first` is."""
        end = archive.index(b"PK\5\6")
        count, size, at = struct.unpack("<HII", archive[end + 10:end + 20])
        if entry is not None:
            name = archive.index(b"first.npy", at)
            extra = struct.pack("<HHQ", 1, 8, entry)
            archive = archive[:name - 16] + struct.pack("<H", len(extra)) + archive[name - 14:name - 4] + b"\xff" * 4 + archive[name:name + 9] + extra + archive[name + 9:]
            end += len(extra)
        record = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, size, at if place is None else place)
        return archive[:end] + record + b"PK\6\7" + struct.pack("<IQI", 0, end, 1) + archive[end:end + 8] + b"\xff" * 12 + archive[end + 20:]
    l.put({"x.npz": wide(stored)})
    l.reads(SIX, "with a wide end record")
    l.put({"x.npz": wide(stored, entry=0)})
    l.reads(SIX, "with a wide entry")
    for n in (1 << 40, (1 << 63) - 1, (1 << 64) - 1):
        l.bad({"x.npz": wide(stored, place=n)}, "first")
        l.bad({"x.npz": wide(stored, entry=n)}, "the archive is damaged")
    again = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(again, "w") as z:
        warnings.simplefilter("ignore")
        for name, data in (("first", files.npy("f64", [3, 2, 3], X[::-1])), ("second", y), ("first", x)): z.writestr(name + ".npy", data)
    l.put({"x.npz": again.getvalue()})
    l.reads(SIX, "with an array that was written again")


def test_safetensors(t):
    tensors = {"a.x": ("f32", [3, 2, 3], X), "a.y": ("i32", [3], Y)}
    good = files.safetensors(tensors, {"made": "by hand"})
    l = Loader(t, "safetensors", {"x.safetensors": good})
    l.reads(SIX)
    l.put({"x.safetensors": files.safetensors({"other": ("u8", [2], [1, 2]), **tensors})})
    l.reads(SIX, "with another tensor first")
    l.put({"x.safetensors": gzip.compress(good)})
    l.reads(SIX, "compressed")
    l.bad({"x.safetensors": gzip.compress(good)[:-9]}, "truncated")
    l.bad({"x.safetensors": gzip.compress(good[:-9])}, "truncated")

    def bad(data, *words, **more): l.bad({"x.safetensors": data}, *words, **more)
    bad(None, "no such file")
    bad(files.safetensors({"a.y": tensors["a.y"]}), "a.x")
    bad(files.safetensors({**tensors, "a.x": ("f64", [3, 2, 3], X)}), "f32[2, 3]", "f64[3, 2, 3]")
    bad(files.safetensors({**tensors, "a.x": ("f32", [3, 6], X)}), "f32[2, 3]", "f32[3, 6]")
    bad(files.safetensors({**tensors, "a.y": ("i32", [2], Y[:2])}), "3", "2", field="y")
    bad(good.replace(b"F32", b"F16"), "a.x")
    for n in (0, 7, 20, len(good) - 1): bad(good[:n], "x.safetensors")
    bad(struct.pack("<Q", 1 << 62) + good[8:])
    bad(good[:8] + b"[" + good[9:])
    bad(good.replace(b"[0, 72]", b"[0, 71]"))
    bad(good.replace(b"[0, 72]", b"[-8, 64]"))
    bad(good.replace(b"[72, 84]", b"[60, 72]")[:-12], "lie one over the other")
    bad(good.replace(b"[0, 72]", b"[8, 80]").replace(b"[72, 84]", b"[80, 92]") + bytes(8), "leave bytes between them")
    over = files.safetensors({**tensors, "over": ("f32", [3, 2, 3], X), "b": ("u8", [4], [0] * 4)})  # as many bytes as the file has, 72 twice, 72 never
    bad(over.replace(b"[84, 156]", b"[0, 72]  "), "lie one over the other")
    bad(good.replace(b"[0, 72]", b'["",72]'), "does not fit the file", "a.x")
    bad(good.replace(b"[72, 84]", b"[72,8e1]"), "does not fit the file", "a.y")


LOADS = """
param w: f32[3] = 1
param v: f32[2] = 2
option n = 3
command missing { save w to "w.st"
    load w from "missing.st" }
command other { print "before"
    load v from "there.st" }
command own { save w to "w.st"
    w <- 2 * w
    load w from "w.st"
    print w }
command numbered { for i in 0..3 { save w to "w{i}.st" }
    load w from "w{n}.st"
    print w }
"""


def test_loads_are_looked_at_before_the_run(t):
    """What is certain to be loaded is there and fits, or nothing is done; what the command may write itself comes in the run: status 3."""
    program, out = t.compile(t.write("loads.nn", LOADS)), t.path("out")
    with open(t.path("there.st"), "wb") as f: f.write(files.safetensors({"w": ("f32", [3], [1, 2, 3])}))
    for command, *words in (("missing", "missing.st", "there are no weights", "loads.nn:6"), ("other", "there.st", "missing: v, f32[2]", "not in the program: w")):
        done = t.run(program, command, f"--out={out}", f"--data={t.folder}", status=2)
        assert all(w in done.stderr for w in words) and done.stdout == "", done
        assert not os.path.exists(out) or os.listdir(out) == [], os.listdir(out)
    assert t.run(program, "own", f"--out={out}").stdout == "[1, 1, 1]\n"
    assert t.run(program, "numbered", f"--out={out}", "--n=2").stdout == "[1, 1, 1]\n"
    assert "w3.st: there are no weights" in t.run(program, "numbered", f"--out={out}", status=3).stderr


OWN = """param w: f32[2] = 1
command learn { w <- 2 * w }
command own { save w to "own.nn" }
"""


def test_a_run_does_not_replace_its_program(t):
    """Neither the source nor what runs, under any name, by options or statements; from the source, too."""
    source, program = t.write("own.nn", OWN), t.path("own")
    t.run(t.nnc, source, "-o", program)
    os.symlink(program, t.path("link"))
    with open(program, "rb") as f: before = f.read()
    options = [f"--{o}={t.path(n)}" for o in ("save", "save-init", "checkpoint", "log") for n in ("own", "own.nn", "link")]
    tries = [(program, "learn", o) for o in options] + [(program, "own", f"--out={t.folder}"), (t.nnc, "run", source, "own", f"--out={t.folder}")]
    tries += [(t.nnc, source, "--eval", "learn", f"--{o}={source}") for o in ("save", "log")]
    for args in tries:
        done = t.run(*args, status=2)
        assert "this is the program itself" in done.stderr, (args, done.stderr)
    with open(program, "rb") as f: assert f.read() == before and os.access(program, os.X_OK)
    with open(source) as f: assert f.read() == OWN


FEW = """option to = 10
data d { x: f32 = csv("ten.csv", columns=0) }
command train { for x in d[0..to] batch 8 drop_last { track m = x } }
command lanes { for x in d batch 11 lanes { track m = x } }
command late {
    for k in 1..2 {
        for x in d[0..k] batch 8 drop_last { track m = x }
    }
}
"""


def test_a_loop_of_no_batch_is_refused(t):
    """Fewer samples than a batch, and none that is smaller: said before the run, and in it where the range comes from it."""
    t.write("ten.csv", "".join(f"{i}\n" for i in range(10)))
    program = t.compile(t.write("few.nn", FEW))
    assert "m 3.5" in t.run(program, "train", f"--data={t.folder}").stderr
    for command, status, *words in ((["train", "--to=7"], 2, "few.nn:3: d[0..7]: 7 samples, fewer than a batch of 8", "drop_last"), (["lanes"], 2, "10 samples, fewer than a batch of 11", "lanes"),
                                    (["late"], 3, "d[0..1]: 1 sample, fewer")):
        done = t.run(program, *command, f"--data={t.folder}", status=status)
        assert all(w in done.stderr for w in words) and done.stdout == "", done


BOOLS = """
data d { y: bool[2] = safetensors("y.safetensors", "y") }
state seen: bool[2] = false
command read { for y in d batch 2 { track mean = mean(f32(y)) } }
command keep { print "{seen}" }
"""


def test_bools(t):
    """A byte that is neither 0 nor 1 would be one number here and another there: it is refused, in data and in weights."""
    program = t.compile(t.write("bools.nn", BOOLS))
    def put(name, tensor, values):
        with open(t.path(name), "wb") as f: f.write(files.safetensors({tensor: ("bool", [2, 2] if tensor == "y" else [2], values)}))
    for values, status in (([0, 1, 1, 1], 0), ([0, 1, 1, 2], 2), ([255, 1, 1, 1], 2)):
        put("y.safetensors", "y", values)
        for run in ([program], [t.nnc, t.path("bools.nn"), "--eval"]):
            done = t.run(*run, "read", status=status)
            for word in ("y.safetensors", f"is {max(values)}", "bool is 0 or 1", "field d.y") if status else ("mean 0.75",): assert word in done.stderr, done.stderr
    for values, status in (([1, 0], 0), ([1, 3], 2)):
        put("init", "seen", values)
        done = t.run(program, "keep", f"--init={t.path('init')}", status=status)
        assert "element 1 of `seen` is 3: bool is 0 or 1" in done.stderr if status else done.stdout == "[true, false]\n", (done.stdout, done.stderr)


def record(label, r, g, b): return bytes([label]) + bytes([r]) * 1024 + bytes([g]) * 1024 + bytes([b]) * 1024


def test_cifar(t):
    one, two = record(7, 1, 2, 3) + record(2, 4, 5, 6), record(4, 9, 8, 7)
    l = Loader(t, "cifar", {"one.bin": one, "two.bin": two})
    l.reads(folded([[1, 2, 3], [4, 5, 6], [9, 8, 7]], [1, 2, 3], Y))
    l.bad({"one.bin": None}, "no such file")
    l.bad({"two.bin": None}, "no such file")
    l.bad({"one.bin": one[:-1]}, "record 1", "3072", "3073")
    l.bad({"two.bin": two + b"\0"}, "record 1", "1 of 3073")
    l.bad({"one.bin": one[:3073] + record(10, 1, 1, 1)}, "record 1", "10")
    l.bad({"one.bin": b"", "two.bin": b""}, "no samples")


def test_text(t):
    l = Loader(t, "text", {"x.txt": b"abcdefghijk"})  # windows of 6 every 3: abcdef, defghi
    want = folded([b"abcdef", b"defghi"], [1, 2, 3, 4, 5, 6], None)
    l.reads(want)
    l.put({"x.txt": gzip.compress(b"abcdefghijk")})
    l.reads(want, "compressed")
    l.bad({"x.txt": b"abcde"}, "5", "6")
    l.bad({"x.txt": b""}, "0", "6")
    l.bad({"x.txt": None}, "no such file")


def test_texts_of_several_files(t):
    """They are one text, in the order of the program or of a folder's names; a window may begin in one file and end in the next."""
    t.write("texts.nn", "".join(f"data {n} {{ x: u8[5] = text({files_}, length={k}) }}\ncommand c_{n} {{ for x in {n} batch 9 {{ print x }} }}\n"
                                for n, files_, k in (("two", '"b.txt", "a.txt"', 5), ("folder", '"texts"', 5), ("over", '"b.txt", "a.txt"', 2), ("long", '"a.txt"', 5))))
    t.run(t.nnc, t.path("texts.nn"), "-o", t.path("texts"))
    os.makedirs(t.path("data/texts"))
    for name, text in (("a.txt", "klmn"), ("b.txt", "abcdefghij")):
        for place in (name, f"texts/{name}"): t.write(f"data/{place}", text)
    windows = lambda *w: str([list(x.encode()) for x in w]) + "\n"
    run = lambda name, **more: t.run(t.path("texts"), f"c_{name}", f"--data={t.path('data')}", **more)
    assert run("two").stdout == windows("abcde", "fghij")
    assert run("folder").stdout == windows("klmna", "bcdef")  # and "ghij" fills no window
    assert run("over").stdout == windows("abcde", "cdefg", "efghi", "ghijk", "ijklm")
    assert "4 elements are in it, a sample has 5" in run("long", status=2).stderr


def test_where_files_are_looked_for(t):
    l = Loader(t, "text", {"x.txt": b"abcdefghijk"})
    want = folded([b"abcdef", b"defghi"], [1, 2, 3, 4, 5, 6], None)
    run = lambda *args, **env: float(t.run(BUILT["program"], "c_text", *args, env=env).stdout)
    assert run(NNC_DATA=l.folder) == want
    empty = t.path("empty")
    os.mkdir(empty)
    assert run(f"--data={l.folder}", NNC_DATA=empty) == want
    assert run(f"--data={empty}", NNC_DATA=l.folder) == want, "$NNC_DATA is looked at after --data"
    beside = t.write("beside.nn", PROGRAM)
    t.write("x.txt", "abcdefghijk")
    t.run(t.nnc, beside, "-o", t.path("beside"))
    assert float(t.run(t.path("beside"), "c_text", cwd="/").stdout) == want, "the folder of the source is looked at last"
    done = t.run(BUILT["program"], "c_text", f"--data={empty}", status=2, env={"NNC_DATA": t.path("nowhere")})
    for word in ("x.txt", empty, t.path("nowhere"), "d_text.x"): assert word in done.stderr, done.stderr


# ---- weights, inputs, outputs ----

WEIGHTS = """
layer network(x: f32[B, 4]) -> f32[B, 3] { return x |> dense[3] }
model net = network
state count: i32 = 0
command train {
    for i in 0..3 {
        x = ones([2, 4])
        minimize mean(net(x)^2) over net using sgd[0.1]
        count <- count + 1
    }
    save net, count to "weights.safetensors"
}
command answer(x: f32[B, 4]) -> (y: f32[B, 3], best: i32[B]) {
    y    = net(x)
    best = argmax(y)
}
command total(x: f32[B, 4], k: f32) -> (sums: f32[4], all: f32) {
    sums = k * sum(x, axis=0)
    all  = sum(sums)
}
command shade(x: f32[B, 4]) -> (picture: f32[2, 3], big: f32[B, 5, 5, 3]) {
    picture = f32([[0, 0.2, 0.4], [0.6, 1, 2]]) + 0 * sum(x)
    big     = broadcast(x[:, 0:1, new, new], [len(x), 5, 5, 3]) / 10
}
"""
W, B = [0.5, -1, 2, 0, 1, 0.25, -0.5, 3, 1, 1, -2, 0.125], [0.5, -0.5, 1]  # [4, 3], [3]


def weights_program(t):
    t.write("weights.nn", WEIGHTS)
    t.run(t.nnc, t.path("weights.nn"), "--max-batch=4", "-o", t.path("weights"))
    return t.path("weights")


def put(t, name, data):
    with open(t.path(name), "wb") as f: f.write(data)
    return t.path(name)


def names_of(t, program):
    """The program's own names of w and b, by their shapes."""
    import support
    t.run(program, "train", f"--save-init={t.path('init')}", f"--out={t.folder}")
    found = support.read_safetensors(t.path("init"))
    w, = [k for k, v in found.items() if v[1] == (4, 3)]
    b, = [k for k, v in found.items() if v[1] == (3,)]
    return w, b


def answers(x):
    y = [[sum(r[k] * W[3 * k + j] for k in range(4)) + B[j] for j in range(3)] for r in x]
    return y, [max(range(3), key=lambda j: (r[j], -j)) for r in y]


def test_weights(t):
    program = weights_program(t)
    w, b = names_of(t, program)
    assert w == "net.dense_1.w" and b == "net.dense_1.b", (w, b)
    good = {w: ("f32", [4, 3], W), b: ("f32", [3], B), "count": ("i32", [], [5])}
    x = put(t, "x.npy", files.npy("f32", [2, 4], [1, 2, 3, 4, -1, 0.5, 2, 1]))
    path = put(t, "w", files.safetensors(good, {"a": "b"}))
    y, best = answers([[1, 2, 3, 4], [-1, 0.5, 2, 1]])
    wanted = "".join(f"y {' '.join(f'{v:.7g}' for v in row)}, best {k}\n" for row, k in zip(y, best))
    assert t.run(program, "answer", f"--x={x}", f"--weights={path}").stdout == wanted

    def refused(data, *words, arguments=("answer", f"--x={x}", "--weights=")):
        bad, out = put(t, "bad", data) if data is not None else t.path("nowhere"), t.path("none")
        done = t.run(program, *arguments[:-1], arguments[-1] + bad, f"--out={out}", status=2)
        for word in (f"error: {arguments[-1]}{bad}: ", *words): assert word in done.stderr, f"{word!r} is not in {done.stderr!r}"
        assert not os.path.exists(out) or not os.listdir(out), os.listdir(out)
    for arguments in (("answer", f"--x={x}", "--weights="), ("train", "--init=")):
        no_w = {k: v for k, v in good.items() if k != w}
        refused(files.safetensors(no_w), w, "f32[4, 3]", arguments=arguments)
        refused(files.safetensors({**good, "strange": ("f32", [1], [1])}), "strange", arguments=arguments)
        refused(files.safetensors({**good, w: ("f32", [3, 4], W), b: ("f64", [3], B)}), w, "f32[4, 3]", "f32[3, 4]", b, "f32[3]", "f64[3]", arguments=arguments)
        refused(files.safetensors(good)[:-1], arguments=arguments)
        refused(files.safetensors(good) + b"x", "1 bytes follow the last tensor", arguments=arguments)
        refused(b"nonsense, but long enough to be looked at", arguments=arguments)
        refused(b"", arguments=arguments)
        refused(None, arguments=arguments)
    t.run(program, "train", f"--init={path}", f"--save-init={t.path('again')}", f"--out={t.folder}")
    import support
    assert support.read_safetensors(t.path("again")) == support.read_safetensors(path), "--init then --save-init changes something"
    assert support.read_safetensors(t.path("weights.safetensors"))["count"] == ("I32", (), struct.pack("<i", 8))
    # what train saved is found by answer
    assert t.run(program, "answer", f"--x={x}").stdout != ""
    os.remove(t.path("weights.safetensors"))
    done = t.run(program, "answer", f"--x={x}", status=2, cwd=t.path("."))
    assert "train" in done.stderr and "weights.safetensors" in done.stderr, done.stderr


def test_inputs(t):
    program = weights_program(t)
    w, b = names_of(t, program)
    path = put(t, "w", files.safetensors({w: ("f32", [4, 3], W), b: ("f32", [3], B)}))
    rows = [[1, 2, 3, 4], [-1, 0.5, 2, 1], [0, 0, 1, 0]]
    y, best = answers(rows)
    lines = [f"y {' '.join(f'{v:.7g}' for v in row)}, best {k}\n" for row, k in zip(y, best)]
    run = lambda value, **more: t.run(program, "answer", f"--x={value}", f"--weights={path}", **more)
    npy = put(t, "three.npy", files.npy("f32", [3, 4], sum(rows, [])))
    one = put(t, "one.npy", files.npy("f32", [4], rows[1]))
    csv = put(t, "three.csv", "".join(",".join(map(str, r)) + "\n" for r in rows).encode())
    assert run(npy).stdout == "".join(lines)
    assert run(csv).stdout == "".join(lines)
    assert run(one).stdout == lines[1]
    assert run(f"{one},{npy}").stdout == lines[1] + "".join(lines)
    for threads in (1, 2, 3): assert run(npy + "", env={"OMP_NUM_THREADS": str(threads)}).stdout == "".join(lines)

    def refused(value, *words):
        done = run(value, status=2)
        for word in words: assert word in done.stderr, f"{word!r} is not in {done.stderr!r}"
        assert done.stdout == ""
    refused(t.path("nowhere.npy"), "nowhere.npy", "--x")
    refused(put(t, "wide.npy", files.npy("f32", [3, 5], [0] * 15)), "wide.npy", "f32[4]", "f32[3, 5]")
    refused(put(t, "whole.npy", files.npy("i32", [3, 4], [0] * 12)), "whole.npy", "i32[3, 4]")
    refused(put(t, "odd.csv", b"1,2,3\n"), "odd.csv", "4", "3")
    refused(put(t, "word.csv", b"1,2,3,four\n"), "word.csv:1", "four")
    refused(put(t, "five.npy", files.npy("f32", [5, 4], [0] * 20)), "5", "4", "--max-batch=5")
    refused(put(t, "none.npy", files.npy("f32", [0, 4], [])), "no samples")
    refused(put(t, "x.dat", b"1"), "x.dat", ".npy")
    refused(",".join(["a.npy"] * 5000), "4096 files", "--x")
    done = t.run(program, "answer", f"--weights={path}", status=2)
    assert "--x" in done.stderr, done.stderr
    k = put(t, "k.csv", b"2\n")
    done = t.run(program, "total", f"--x={npy}", f"--k={k}")
    assert done.stdout == "sums 0 5 12 10\nall 27\n", done.stdout
    k2 = put(t, "k2.csv", b"2\n3\n")
    done = t.run(program, "total", f"--x={npy}", f"--k={k2}", status=2)
    assert "--k" in done.stderr, done.stderr


def test_outputs(t):
    program = weights_program(t)
    x = put(t, "x.npy", files.npy("f32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]))
    k = put(t, "k.csv", b"2\n")
    total = lambda *more, **other: t.run(program, "total", f"--x={x}", f"--k={k}", *more, **other)
    read = lambda name: open(t.path(name), "rb").read()
    total(f"--out={t.path('out')}")
    assert sorted(os.listdir(t.path("out"))) == ["total-all.npy", "total-sums.npy"]
    assert files.read_npy(read("out/total-sums.npy")) == ("<f4", (4,), (12, 16, 20, 24))
    assert files.read_npy(read("out/total-all.npy")) == ("<f4", (), (72,))
    done = total(f"--sums={t.path('s.csv')}")
    assert read("s.csv") == b"12\n16\n20\n24\n" and done.stdout == "all 72\n", done.stdout
    total(f"--sums={t.path('s.txt')}", f"--all={t.path('a.npy')}")
    assert read("s.txt").split() == [b"12", b"16", b"20", b"24"]
    for name, word in (("s.dat", ".npy"), ("s", ".npy"), ("s.csv.gz", "nothing is compressed"), ("s.npy.GZ", "nothing is compressed"), ("no/such/folder/s.npy", "cannot be written"), ("s.png", "picture")):  # found before the run
        done = total(f"--sums={t.path(name)}", f"--all={t.path('before.npy')}", status=2)
        assert name in done.stderr and word in done.stderr and done.stdout == "" and not os.path.exists(t.path(name)), done.stderr
        assert not os.path.exists(t.path("before.npy")), name
    done = total(f"--sums={t.path('twice.npy')}", f"--all={t.path('twice.npy')}", status=2)
    assert "--all and --sums name the same file" in done.stderr or "--sums and --all name the same file" in done.stderr, done.stderr
    assert not os.path.exists(t.path("twice.npy"))
    for a, b in (("twice.npy", "./twice.npy"), ("out/../twice.npy", "twice.npy")):
        done = total(f"--sums={t.path(a)}", f"--all={t.path(b)}", status=2)
        assert "name the same file" in done.stderr and not os.path.exists(t.path("twice.npy")), done.stderr
    done = total(f"--sums={t.path('out/total-all.npy')}", f"--out={t.path('out')}", status=2)
    assert "--sums and --all name the same file" in done.stderr, done.stderr
    done = total("--out=/proc", status=2)  # also where no file is named, before the run
    assert "--out: /proc/total-sums.npy: cannot be written" in done.stderr, done.stderr
    for option, name in (("checkpoint", "weights.safetensors"), ("log", "./weights.safetensors")):  # which the run would go on writing when `save` has replaced it
        done = t.run(program, "train", f"--out={t.folder}", f"--{option}={t.path(name)}", status=2)
        assert f"--{option}=" in done.stderr and "this is the file that " in done.stderr and "weights.nn:11 writes" in done.stderr, done.stderr
    done = t.run(program, "train", f"--out={t.folder}", f"--checkpoint={t.path('c')}", f"--log={t.path('out/../c')}", status=2)
    assert "--checkpoint and --log name the same file" in done.stderr and not os.path.exists(t.path("c")), done.stderr
    done = t.run(program, "shade", f"--x={x}", f"--picture={t.path('p.png')}")
    assert files.read_png(read("p.png")) == (3, 2, 1, bytes([0, 51, 102, 153, 255, 255]))
    assert "big" in done.stderr and done.stdout == "", (done.stdout, done.stderr)  # 75 numbers a sample are not printed
    t.run(program, "shade", f"--x={x}", f"--big={t.path('b.png')}")
    width, height, channels, pixels = files.read_png(read("b.png"))
    assert (width, height, channels) == (5, 10, 3) and set(pixels[:75]) <= {25, 26} and set(pixels[75:]) <= {127, 128}, (width, height, channels, set(pixels))
    t.run(program, "shade", f"--x={x}", f"--big={t.path('b.npy')}")
    kind, shape, values = files.read_npy(read("b.npy"))
    assert (kind, shape) == ("<f4", (2, 5, 5, 3)) and len(values) == 150


READS = """
vocab words = words("words.txt", size=9)
data d {
    x: f32[3] = csv("d.csv")
    w: i32[2] = lines("words.txt", vocab=words, length=2)
}
param p: f32[3] = 1
command train {
    for x, w in d batch 2 { minimize mean((x @ p - 1)^2) over p using sgd[0.01] }
    save p to "p.safetensors"
}
command apply(x: f32[B, 3] = csv(columns=0..3)) -> (y: f32[B]) { y = x @ p }
"""


def test_what_is_read_is_not_replaced(t):
    """Data, inputs, vocabularies, the weights that a run begins with: none of them may be its log, its checkpoint or an output. Weights may be saved over those that it began with."""
    t.write("reads.nn", READS)
    t.run(t.nnc, "reads.nn", "-o", t.path("reads"))
    put(t, "d.csv", b"1,2,3\n4,5,6\n")
    put(t, "words.txt", b"one two\nthree four\n")
    put(t, "x.csv", b"7,8,9\n")
    run = lambda *args, status=0: t.run(t.path("reads"), *args, f"--data={t.folder}", "--progress=none", cwd=t.folder, status=status)
    run("train", "--out=new")
    os.symlink("d.csv", t.path("link"))
    os.replace(t.path("new/p.safetensors"), t.path("w"))
    kept = {name: open(t.path(name), "rb").read() for name in ("d.csv", "words.txt", "x.csv", "w")}
    os.rmdir(t.path("new"))
    for args in (["train", "--log=d.csv"], ["train", "--checkpoint=./d.csv"], ["train", "--save=link"], ["train", "--save-init=words.txt"], ["train", "--init=w", "--log=w"],
                 ["train", "--init=w", "--checkpoint=new/../w"], ["apply", "--weights=w", "--x=x.csv", "--y=x.csv"], ["apply", "--weights=w", "--x=x.csv", "--log=w"],
                 ["apply", "--init=w", "--x=x.csv", "--log=x.csv"]):
        done = run(*args, "--out=new", status=2)
        assert "the run reads this file, and would replace it" in done.stderr and args[-1].split("=")[1] in done.stderr, (args, done.stderr)
        assert {name: open(t.path(name), "rb").read() for name in kept} == kept, args
        assert not os.path.exists(t.path("new")), args  # a folder that a refused run has made is gone
    run("train", "--init=w", "--save=w", "--out=new")
    assert open(t.path("w"), "rb").read() != kept["w"]
    run("apply", "--weights=w", "--x=x.csv", "--y=y.csv", "--log=/dev/null")


def test_writes_through_links(t):
    """The file that a symbolic link leads to is replaced, wherever it lies; the link stays. One that leads nowhere becomes a file."""
    program = weights_program(t)
    os.mkdir(t.path("kept"))
    for option in ("--save", "--save-init"):
        put(t, "kept/w", b"old")
        os.symlink("kept/w", t.path("link"))
        t.run(program, "train", f"--out={t.path('out')}", "--progress=none", f"{option}={t.path('link')}")
        with open(t.path("kept/w"), "rb") as f: written = f.read()
        assert os.path.islink(t.path("link")) and os.listdir(t.path("kept")) == ["w"], (option, os.listdir(t.path("kept")))
        assert written[:3] != b"old" and b'"dtype"' in written, (option, written[:40])
        done = t.run(program, "train", f"--out={t.path('out')}", f"{option}={t.path('link')}", f"--log={t.path('kept/w')}", status=2)
        assert "name the same file" in done.stderr, done.stderr
        os.unlink(t.path("link"))
    os.symlink("nowhere", t.path("link"))
    t.run(program, "train", f"--out={t.path('out')}", "--progress=none", f"--save={t.path('link')}")
    assert not os.path.islink(t.path("link")) and not os.path.exists(t.path("nowhere"))


def test_the_longest_names(t):
    """A name may have 255 bytes; that of the file beside it is cut, and known again."""
    program, folder = weights_program(t), t.path("kept")
    os.mkdir(folder)
    for name in ("w" * 232, "w" * 255):
        put(t, f"kept/{name[:223]}.12345.part", b"left by a run that was killed")
        t.run(program, "train", f"--out={t.path('out')}", "--progress=none", f"--save={folder}/{name}")
        assert os.listdir(folder) == [name], os.listdir(folder)
        os.remove(os.path.join(folder, name))
    done = t.run(program, "train", f"--out={t.path('out')}", f"--save={folder}/{'w' * 256}", status=2)
    assert "cannot be written: File name too long" in done.stderr and os.listdir(folder) == [], done.stderr


def test_writes_that_end_early(t):
    """A pipe that nobody reads any more, a file that may not grow, standard output that is closed or full: an error of the write, and no part of a file stays."""
    program = weights_program(t)
    x, k = put(t, "x.npy", files.npy("f32", [2, 4], [1, 2, 3, 4, 5, 6, 7, 8])), put(t, "k.csv", b"2\n")
    start = ["train", f"--out={t.path('out')}", "--progress=none"]
    for option in ("--save", "--save-init", "--checkpoint", "--log"):
        before = sorted(os.listdir(t.folder))
        limit = 8 if option == "--log" else 100  # bytes
        done = t.run(program, *start, f"{option}={t.path('short')}", status=3, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        assert "cannot be written: File too large" in done.stderr, done.stderr
        left = [n for n in os.listdir(t.folder) if n not in before and n != "out" and (option, n) != ("--log", "short")]
        assert left == [], (option, left)
    read, write = os.pipe()
    os.close(read)
    for out, status, said in ((write, 0, ""), (os.open("/dev/full", os.O_WRONLY), 3, "standard output cannot be written: No space left")):
        done = subprocess.run([program, "total", f"--x={x}", f"--k={k}"], stdout=out, stderr=subprocess.PIPE, text=True)
        assert done.returncode == status and said in done.stderr, (done.returncode, done.stderr)  # a reader that goes away is no error
        done = subprocess.run([program, "train", f"--out={t.path('out')}", "--progress=plain"], stderr=out)  # what is only told is let go
        assert done.returncode == 0, done.returncode
        os.close(out)
    done = t.run(program, "train", f"--out={t.path('no/such/folder')}", status=2)
    assert "no/such/folder" in done.stderr, done.stderr
    put(t, "taken", b"")
    done = t.run(program, "train", f"--save={t.path('taken/w')}", f"--out={t.path('out2')}", status=2)
    assert "--save=" in done.stderr and "Not a directory" in done.stderr and not os.path.exists(t.path("out2")), done.stderr
