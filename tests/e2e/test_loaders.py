"""Loaders of text, trees and pictures as a user meets them: what arrives, by hand; the real files' counts; and that what is wrong in a file is one error, with its place, before
anything is written."""
import os, select, struct, subprocess, zlib

import files

TEXT = """
vocab v = words("words.txt", size=6)
vocab c = characters("words.txt", size=40)
vocab given = ["the", "cat"]
data lines_ {
    all:  i32[4] = lines("pairs.tsv", vocab=v, length=4)
    left: i32[2] = lines("pairs.tsv", column=0, vocab=given, length=2)
    raw:  u8[3]  = lines("pairs.tsv", column=1, length=3)
    file: i32    = lines("pairs.tsv", part="file")
}
data windows { x: i32[3] = words("words.txt", vocab=v, length=2) }
data letters { x: i32[2] = text("words.txt", length=2, vocab=c) }
data folder {
    x: u8[4] = lines("folder", length=4)
    y: u8    = lines("folder", part="file")
}
vocab w = words("folder", size=6)
data vocab_ { x: i32[4] = lines("pairs.tsv", vocab=w, length=4) }
command c_vocab { for x in vocab_ batch 9 { print x } }
command c_lines { for a, b, d, e in lines_ batch 9 { print a, b, d, e } }
command c_windows { for x in windows batch 9 { print x } }
command c_letters { for x in letters[0..2] batch 9 { print x } }
command c_folder { for x, y in folder batch 9 { print x, y } }
command sizes { print len(v), len(c), len(given) }
"""
TREES = """
vocab v = words("trees.txt", size=20)
data trees_ {
    word:  i32[5] = trees("trees.txt", part="word", nodes=5, vocab=v)
    left:  i32[5] = trees("trees.txt", part="left", nodes=5)
    right: i32[5] = trees("trees.txt", part="right", nodes=5)
    label: i32[5] = trees("trees.txt", part="label", nodes=5)
}
command read { for w, l, r, y in trees_ batch 9 { print w, l, r, y } }
"""
PICTURES = """
data grey {
    x: u8[2, 3] = images("set")
    y: u8       = images("set", part="label")
}
data colour { x: f32[2, 3, 3] = images("set") }
data fitted { x: u8[1, 1] = images("set", fit="scale") }
command c_grey { for x, y in grey batch 9 { print x, y } }
command c_colour { for x in colour batch 9 { print x[:, 0, 0] * 255 } }
command c_fitted { for x in fitted batch 9 { print x } }
"""
GOOD = {
    "words.txt": "the cat sat on the mat\nthe cat é\n".encode(),  # the 3, cat 2, then by first appearance: sat, on
    "pairs.tsv": b"the cat\tun\n\nsat dog the\tdeux\n",
    "folder/b.txt": b"three\n",
    "folder/a.txt": b"one\ntwo\r\n",
    "trees.txt": b"(3 (2 a) (4 (2 very) (3 good)))\n\n(1 a)\n",
    "set/cats/1.png": files.png([[0, 100, 200], [255, 50, 60]]),
    "set/ants/2.png": files.png([[(255, 0, 0)] * 3, [(0, 255, 0)] * 3], colour=True),
}

WANT_TEXT = {
    "c_lines": "[[2, 3, 1, 0], [4, 1, 2, 1]] [[2, 3], [1, 1]] [[117, 110, 0], [100, 101, 117]] [0, 0]",
    "c_windows": "[[2, 3, 4], [4, 5, 2], [2, 1, 2], [2, 3, 1]]",
    "c_letters": "[[2, 5], [6, 3]]",
    "c_folder": "[[111, 110, 101, 0], [116, 119, 111, 0], [116, 104, 114, 101]] [0, 0, 1]",
}
WANT_TREES = "[[2, 3, 4, 0, 0], [2, 0, 0, 0, 0]] [[0, 0, 0, 1, 0], [0, 0, 0, 0, 0]] [[0, 0, 0, 2, 3], [0, 0, 0, 0, 0]] [[2, 2, 3, 4, 3], [1, -1, -1, -1, -1]]"
MARK = b"\xef\xbb\xbf"  # of the byte order
PIPE = object()


class Folder:
    def __init__(self, t, program):
        self.t = t
        self.program = t.compile(t.write(f"loaders{abs(hash(program)) % 1000000}.nn", program))
        self.data = t.path("data")
        for name, content in GOOD.items(): self.put(name, content)

    def put(self, name, content):
        path = os.path.join(self.data, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path): os.remove(path)
        if content is PIPE:
            os.mkfifo(path)
        elif isinstance(content, str):
            os.symlink(content, path)
        elif content is not None:
            with open(path, "wb") as f: f.write(content)

    def prints(self, command, *want):
        got = self.t.run(self.program, command, f"--data={self.data}").stdout.splitlines()
        assert got == list(want), f"{command}: {got}"

    def bad(self, command, name, content, *words, names=None):
        """With this file instead of the good one: one error that names it (or `names`) and has the words, with status 2."""
        self.put(name, content)
        done = self.t.run(self.program, command, f"--data={self.data}", status=2)
        for word in (names or os.path.basename(name), *words): assert word in done.stderr, f"{command}, {name}: {word!r} is not in {done.stderr!r}"
        assert done.stderr.count("error") == 1 and len(done.stderr.splitlines()) == 1 and done.stdout == "", f"{command}, {name}: {done.stderr!r}"
        self.put(name, GOOD.get(name))


def test_text(t):
    f = Folder(t, TEXT)
    f.prints("sizes", "6 40 4")
    # of letters: t 7 and space 7 times, a 4, h and e 3; ties by first appearance
    for command, want in WANT_TEXT.items(): f.prints(command, want)
    for name in GOOD: f.put(name, MARK + GOOD[name] if name.endswith((".txt", ".tsv")) else GOOD[name])
    for command, want in WANT_TEXT.items(): f.prints(command, want)
    for name in GOOD: f.put(name, GOOD[name])
    f.bad("c_lines", "pairs.tsv", b"the cat\tun\nsat\n", "pairs.tsv:2", "no column 1", "lines_")
    f.bad("c_lines", "pairs.tsv", b"\n\n", "no samples")
    f.bad("c_lines", "pairs.tsv", None, "no such file")
    f.bad("c_lines", "pairs.tsv", b"a\tb\nx\xff y\tb\n", "pairs.tsv:2", "byte 1", "UTF-8")
    f.bad("c_windows", "words.txt", b"the cat\n\xc3( sat\n", "words.txt:2", "byte 8", "UTF-8", "vocab v")
    f.bad("c_windows", "words.txt", b"the cat", "2", "3")
    f.bad("c_letters", "words.txt", None, "no such file", "letters.x")
    f.put("folder/a.txt", b"\n")
    f.bad("c_folder", "folder/b.txt", b"", "no samples", names="folder")
    for command in ("c_folder", "c_vocab"):  # nobody writes to the pipe, and zeros have no end
        f.bad(command, "folder/c.txt", PIPE, "folder/c.txt: this is a pipe")
        f.bad(command, "folder/c.txt", "/dev/zero", "folder/c.txt: this is a device")
    f.put("folder/c.txt", os.path.join(f.data, "folder/b.txt"))
    f.put("folder/inside/d.txt", b"four\n")  # of folders inside nothing is read
    f.prints("c_folder", "[[116, 104, 114, 101], [116, 104, 114, 101]] [1, 2]")


def test_trees(t):
    f = Folder(t, TREES)
    f.prints("read", WANT_TREES)
    f.put("trees.txt", MARK + GOOD["trees.txt"])
    f.prints("read", WANT_TREES)
    for bad in (b"(3 (2 a) (4 b)\n", b"(3 a) x\n", b"(a b)\n", b"3\n", b"(3 (2 a))\n", b"(3 )\n", b"()\n"):
        f.bad("read", "trees.txt", b"(1 a)\n" + bad, "trees.txt:2", "not a tree")
    for bad in (b"(-1 a)", b"(3.5 a)", b"(3.5)", b"(3a)", b"(1234567890 a)", b"(3 (1.5) (2 b))"): f.bad("read", "trees.txt", b"(1 a)\n" + bad + b"\n", "trees.txt:2", "a label")
    f.bad("read", "trees.txt", b"(1 (1 a) (1 (1 b) (1 (1 c) (1 d))))\n", "trees.txt:1", "7 nodes", "nodes=5")
    f.bad("read", "trees.txt", b"(1 a)\n(1 \xe9)\n", "trees.txt:2", "UTF-8")
    f.bad("read", "trees.txt", b"\n", "there are no words", "vocab v")
    f.bad("read", "trees.txt", None, "no such file")


def test_pictures(t):
    f = Folder(t, PICTURES)
    f.prints("c_grey", "[[[76, 76, 76], [150, 150, 150]], [[0, 100, 200], [255, 50, 60]]] [0, 1]")  # 0.299 of red, 0.587 of green; ants before cats
    f.prints("c_colour", "[[255, 0, 0], [0, 0, 0]]")
    f.prints("c_fitted", "[[[113]], [[111]]]")
    f.bad("c_grey", "set/cats/1.png", files.png([[1, 2], [3, 4]]), "2 x 3", "2 x 2")
    huge = bytearray(GOOD["set/cats/1.png"])  # a header that tells of 3.6 GB: nothing is made ready for them
    huge[16:24] = struct.pack(">II", 60000, 60000)
    huge[29:33] = struct.pack(">I", zlib.crc32(huge[12:29]))
    f.bad("c_grey", "set/cats/1.png", bytes(huge), "expected a picture of 2 x 3", "found 60000 x 60000")
    f.bad("c_fitted", "set/cats/1.png", bytes(huge), f"it has {len(huge)} bytes, and a picture of 60000 x 60000 (height x width) takes 3461538 at least")
    f.put("set/cats/1.png", files.png([bytes(3000)] * 3000))  # nothing compresses better
    f.prints("c_fitted", "[[[113]], [[0]]]")
    f.put("set/cats/1.png", GOOD["set/cats/1.png"])
    f.bad("c_grey", "set/cats/1.png", GOOD["set/cats/1.png"][:-30], "PNG")
    f.bad("c_grey", "set/cats/1.png", b"no picture", "neither a PNG nor a JPEG")
    for command in ("c_grey", "c_fitted"): f.bad(command, "set/cats/0.png", PIPE, "set/cats/0.png: this is a pipe")
    f.bad("c_fitted", "set/0.png", "/dev/zero", "set/0.png: this is a device")
    f.bad("c_grey", "set/birds/notes.txt", b"", "no pictures", names="set/birds")
    f.put("set/birds/notes.txt", None)
    os.rmdir(os.path.join(f.data, "set/birds"))
    f.bad("c_fitted", "set/7.png", GOOD["set/cats/1.png"][:50], "PNG")
    f.bad("c_grey", "set/7.png", GOOD["set/cats/1.png"], "no class", names="set")


def test_real_files(t):
    """Counts and values known from the files' own descriptions."""
    t.shared("sst")
    data = os.path.dirname(t.shared("sst"))
    source = t.write("real.nn", """
vocab v = words("sst/train.txt", size=15000)
vocab reviews = words("rt-polarity/rt-polarity.pos", "rt-polarity/rt-polarity.neg", size=20000)
vocab letters = characters("names", size=100)
data trees_ { y: i32[103] = trees("sst/dev.txt", part="label", nodes=103) }
data names {
    x: i32[19] = lines("names", length=19, vocab=letters)
    y: i32     = lines("names", part="file")
}
data films {
    x: i32[60] = lines("rt-polarity/rt-polarity.pos", "rt-polarity/rt-polarity.neg", length=60, vocab=reviews)
    y: i32     = lines("rt-polarity/rt-polarity.pos", "rt-polarity/rt-polarity.neg", part="file")
}
data pairs { fr: u8[10] = lines("multi30k/val.en-fr.tsv", column=1, length=10) }
data play { x: u8[100] = text("tinyshakespeare/input.txt", length=100) }
command count {
    for y in trees_ batch 500 { track nodes = sum(f32(y >= 0), axis=1), leaves = (sum(f32(y >= 0), axis=1) + 1) / 2 }
    for x, y in names batch 1000 { track english = f32(y == 4), unknown = max(f32(x == 1), axis=1) }
    for x, y in films batch 1000 { track negative = f32(y), empty = f32(x[:, 0] == 0) }
    n = f32(0)
    for fr in pairs batch 100 { n = n + f32(len(fr)) }
    m = f32(0)
    for x in play batch 1000 { m = m + f32(len(x)) }
    print "{nodes} {leaves} {english} {unknown} {negative} {empty} {n} {m}"
}
""")
    with open(os.path.join(data, "sst/dev.txt"), encoding="utf-8") as f: trees = f.read().splitlines()
    nodes = sum(line.count("(") for line in trees) / len(trees)
    got = t.run(t.compile(source), "count", f"--data={data}", "--progress=none").stdout.split()
    want = [nodes, (nodes + 1) / 2, 3668 / 20050, None, 0.5, 0, 1014, 11153]
    for a, b in zip(got, want): assert b is None or abs(float(a) - b) <= 2e-6 * abs(b), (got, want)
    assert len(trees) == 1101 and float(got[3]) < 0.01


LARGE = """
data texts { x: u8[1000] = text("large.txt") }
data tables { x: f64[64] = csv("large.csv") }
command c_text {
    for x in texts batch 100 { track m = mean(f32(x)) }
    print "LONG"
}
command c_csv {
    for x in tables batch 100 { track m = mean(x) }
    print "LONG"
}
""".replace("LONG", "." * 100000)  # more than a pipe holds: the program stands still there until somebody reads


def test_data_are_in_memory_once(t):
    """A text and a table, whose sizes no header tells, beside 8 MB of the program: neither is there twice, not even while it grows."""
    program = t.compile(t.write("large.nn", LARGE))
    for command, name, part, size in (("c_text", "large.txt", b"all the words of a long text\n", 24 << 20), ("c_csv", "large.csv", b",".join([b"7"] * 64) + b"\n", 32 << 17)):
        with open(t.path(name), "wb") as f: f.write(part * (size // len(part)))
        data = size if command == "c_text" else size // len(part) * 64 * 8
        child = subprocess.Popen([program, command, "--progress=none"], stdout=subprocess.PIPE)
        select.select([child.stdout], [], [], 60)
        with open(f"/proc/{child.pid}/status") as f: peak = next(int(line.split()[1]) for line in f if line.startswith("VmHWM:"))
        child.communicate(timeout=60)
        assert child.returncode == 0 and peak * 1024 <= data + (8 << 20), f"{command}: {peak} KB for data of {data >> 10} KB"
