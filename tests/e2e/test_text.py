"""Text: words are numbered once, saved with the weights, and the same numbers are used later, when the files that they came from are gone."""
import json, os, struct

import files

PROGRAM = """
const T = 6
vocab word = words("bad.txt", "good.txt", size=KNOWN)
data reviews {
    text: i32[T] = lines("bad.txt", "good.txt", vocab=word, length=T)
    good: u8     = lines("bad.txt", "good.txt", part="file")
}
layer bag(text: i32[B, T]) -> f32[B] {
    param E: f32[KNOWN, 4] = 0.1 * normal(shape)
    return reshape(mean(E[text], axis=1) |> dense[1], [B])
}
model net = bag
command train {
    for epoch in 0..30 {
        for text, good in reviews batch 4 shuffle {
            minimize bce(net(text), f32(good)) over net using adam[0.1]
        }
    }
    save net to "bag.safetensors"
}
command judge(text: i32[B, T] = lines(vocab=word)) -> (good: i32[B], again: i32[B, T] = lines(vocab=word)) {
    good  = i32(net(text) > 0)
    again = text
}
command letters(text: u8[B, T] = lines()) -> (sum: i32[B]) { sum = sum(i32(text), axis=1) }
""".replace("KNOWN", "12")
BAD = ["dull and slow", "a dull film", "slow , very slow", "never again"]
GOOD = ["a fine film", "fine and moving", "moving , very fine", "see it again"]


def setup(t):
    t.write("bad.txt", "\n".join(BAD) + "\n")
    t.write("good.txt", "\r\n".join(GOOD))
    return t.compile(t.write("bag.nn", PROGRAM))


def test_words_stay_with_the_weights(t):
    program = setup(t)
    t.run(program, "train", f"--out={t.folder}", "--progress=none")
    t.write("both.txt", "\n".join(BAD + GOOD))
    before = t.run(program, "judge", f"--text={t.path('both.txt')}").stdout
    assert [line.split(",")[0] for line in before.splitlines()] == ["good 0"] * 4 + ["good 1"] * 4, before
    for name in ("bad.txt", "good.txt"): os.remove(t.path(name))
    assert t.run(program, "judge", f"--text={t.path('both.txt')}").stdout == before
    with open(t.path("bag.safetensors"), "rb") as f: words = json.loads(json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))["__metadata__"]["vocab.word"])
    # by falling frequency, ties by first appearance: slow and fine come three times, the others twice; ten fit beside padding and unknown
    assert words == ["slow", "fine", "dull", "and", "a", "film", ",", "very", "again", "moving"], words
    once = t.run(program, "judge", "--text=a fine story that has many more words").stdout
    assert once == "good 1, again a fine <unknown> <unknown> <unknown> <unknown>\n", once
    t.run(program, "judge", "--text=a fine film", f"--out={t.path('out')}")
    with open(t.path("out/judge-again.txt")) as f: assert f.read() == "a fine film\n"


def test_letters(t):
    program = setup(t)
    assert t.run(program, "letters", "--text=ab").stdout == f"sum {ord('a') + ord('b')}\n"
    assert t.run(program, "letters", "--text=abcdefgh").stdout == f"sum {sum(b'abcdef')}\n"  # cut to the field's length
    t.write("ab", "b\n\nc\n")  # a file of that name comes first; its empty line is no sample
    assert t.run(program, "letters", "--text=ab").stdout == f"sum {ord('b')}\nsum {ord('c')}\n"


def test_spoilt_words(t):
    program = setup(t)
    t.run(program, "train", f"--out={t.folder}", "--progress=none")
    with open(t.path("bag.safetensors"), "rb") as f: data = f.read()
    n, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + n])
    for words in ("[1, 2]", "{}", "[", json.dumps(["w%d" % i for i in range(11)])):
        header["__metadata__"]["vocab.word"] = words
        text = json.dumps(header).encode()
        with open(t.path("bag.safetensors"), "wb") as f: f.write(struct.pack("<Q", len(text)) + text + data[8 + n:])
        done = t.run(program, "judge", "--text=a", status=2)
        assert "word" in done.stderr and done.stdout == "", done.stderr


def test_no_words(t):
    """Files without a word make no vocabulary: all that is read would be unknown."""
    program = setup(t)
    for name in ("bad.txt", "good.txt"): t.write(name, "\n \n\t\n")
    done = t.run(program, "train", f"--out={t.folder}", "--progress=none", status=2)
    assert "bad.txt and the others: there are no words" in done.stderr and "bag.nn:3" in done.stderr and "vocab word" in done.stderr, done.stderr
    assert not os.path.exists(t.path("bag.safetensors"))


LONG = """
vocab word = words("long.txt", size=9)
vocab letter = characters("long.txt", size=9)
data words_of { x: i32 = text("long.txt", vocab=word) }
data letters_of { x: i32 = text("long.txt", vocab=letter) }
command show_words { for x in words_of batch 500000 { write x to "words.npy" } }
command show_letters { for x in letters_of batch 500000 { write x to "letters.npy" } }
"""


def numbers(of):
    """As a vocabulary numbers them: by falling frequency, ties by first appearance, from 2."""
    order = sorted(dict.fromkeys(of), key=lambda x: -of.count(x))
    return [2 + order.index(x) for x in of]


def test_long(t):
    """A long text is read in pieces: no word or character is cut in two, wherever these end, and what is not UTF-8 has its byte and line."""
    program, turn = t.compile(t.write("long.nn", LONG)), "n\u00e9 \u20ac\U0001f600\n"
    for before in range(len(turn.encode())):
        text = "x" * before + " " + 60000 * turn
        t.write("long.txt", text)
        for kind, of in ("words", text.split()), ("letters", list(text)):
            t.run(program, f"show_{kind}", f"--data={t.folder}", f"--out={t.folder}")
            with open(t.path(f"{kind}.npy"), "rb") as f: assert list(files.read_npy(f.read())[2]) == numbers(of), (before, kind)
    data = text.encode()
    with open(t.path("long.txt"), "wb") as f: f.write(data[:-2] + b"\xff\n")
    for kind in "words", "letters":
        said = t.run(program, f"show_{kind}", f"--data={t.folder}", f"--out={t.folder}", status=2).stderr
        assert f"long.txt:60000: byte {len(data) - 5}" in said and "not UTF-8" in said, said
