"""datasets.py - small files for the samples that read some: cut from the real ones where there are any, made where there are none.

    folder = datasets.folder(t, "mnist")        a folder for --data; made once for all tests

Real files are those of `shared/data` beside the project, then Debian's dataset-fashion-mnist (the files of which are named as mnist's). What nobody has, the
pictures of alexnet and the numbers in words of seq2seq, is always made. What is made can be learnt: a picture, a sentence or a tree says its label.
"""
import gzip, os, random

import files, support

FASHION = "/usr/share/datasets/fashion-mnist"


def find(name):
    """A folder of shared data; None where there is none."""
    path = os.path.join(support.SHARED, name)
    return path if os.path.isdir(path) else None


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f: f.write(data if isinstance(data, bytes) else data.encode())


def head(path, lines):
    with open(path, encoding="utf-8", errors="replace", newline="\n") as f: return [line.rstrip("\n") for line, _ in zip(f, range(lines))]


# ---- pictures ----

def spot(kind, kinds, size, draw):
    """A dark picture with a light spot: where it is says its kind."""
    row, col = (size * (2 * (kind // 4) + 1) // (2 * (kinds // 4 + 1)), size * (2 * (kind % 4) + 1) // 8)
    near = size // 8 + 1
    return [230 if abs(y - row) < near and abs(x - col) < near else draw.randrange(40) for y in range(size) for x in range(size)]


def mnist(folder):
    real = find("mnist") or (FASHION if os.path.isdir(FASHION) else None)
    for part, count in (("train", 3000), ("t10k", 1000)):
        names = f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"
        if real:
            with gzip.open(f"{real}/{names[0]}") as f: images = f.read(16 + 784 * count)[16:]
            with gzip.open(f"{real}/{names[1]}") as f: labels = f.read(8 + count)[8:]
        else:
            draw = random.Random(part)
            labels = bytes(draw.randrange(10) for _ in range(count))
            images = bytes(v for k in labels for v in spot(k, 10, 28, draw))
        write(f"{folder}/{names[0]}", gzip.compress(files.idx("u8", [count, 28, 28], images), 1))
        write(f"{folder}/{names[1]}", gzip.compress(files.idx("u8", [count], labels), 1))


def cifar(folder):
    real, record = find("cifar-10"), 1 + 3072
    for name, count in (("data_batch_1.bin", 500), ("test_batch_1000.bin", 100)):
        if real:
            with open(f"{real}/{name}", "rb") as f: data = f.read(count * record)
        else:
            draw, data = random.Random(name), b""
            for _ in range(count):
                k = draw.randrange(10)
                data += bytes([k]) + b"".join(bytes(spot(k, 10, 32, draw)) for _ in range(3))
        write(f"{folder}/{name}", data)


def imagenet(folder, pictures=6):
    """Six classes, a folder each with so many pictures to train on, from dark red to bright blue: what a deep network sees at once. Pictures of several sizes, one side longer."""
    draw = random.Random(7)
    for part, count in (("train", pictures), ("val", 2)):
        for k in range(6):
            for i in range(count):
                size, more = draw.choice([60, 72, 90]), draw.choice([0, 7, 20])
                tint = [(5 - k) * 20, 40 * k, 48 * k]
                rows = [[tuple(v + draw.randrange(15) for v in tint) for _ in range(size)] for _ in range(size)]
                for row in rows: row += row[:more]
                write(f"{folder}/imagenet/{part}/class{k}/{i}.png", files.png(rows, colour=True))


# ---- text ----

def numbers(folder, count=100):
    """0..count-1 in words, count at most 10000."""
    ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split()
    tens = "- - twenty thirty forty fifty sixty seventy eighty ninety".split()
    def words(n):
        for each, name in ((1000, " thousand"), (100, " hundred")):
            if n >= each: return words(n // each) + name + (" " + words(n % each) if n % each else "")
        return ones[n] if n < 20 else tens[n // 10] + (" " + ones[n % 10] if n % 10 else "")
    write(f"{folder}/numbers.tsv", "".join(f"{words(n)}\t{n}\n" for n in range(count)))


def book(folder):
    real = find("tinyshakespeare")
    text = "\n".join(head(f"{real}/input.txt", 700)) if real else "the cat sat on the mat; the dog sat on the log.\n" * 400
    write(f"{folder}/input.txt", text)


def reviews(folder):
    real, draw = find("rt-polarity"), random.Random(3)
    for name, words in (("neg", ["dull", "slow", "bad"]), ("pos", ["bright", "warm", "good"])):
        rows = head(f"{real}/rt-polarity.{name}", 300) if real else \
            [" ".join(draw.choice(["a", "the", "film", "is", "and"] + 2 * words) for _ in range(draw.randrange(3, 12))) for _ in range(300)]
        write(f"{folder}/rt-polarity.{name}", "".join(row + "\n" for row in rows))


def names(folder):
    """18 languages, 40 surnames each."""
    real, draw = find("names"), random.Random(4)
    listed = sorted(os.listdir(real)) if real else [f"Language{k:02}.txt" for k in range(18)]
    for k, name in enumerate(listed):
        rows = head(f"{real}/{name}", 40) if real else [draw.choice("BDKLMNRST") + 3 * chr(97 + k) + draw.choice(["a", "o", "en", "ski"]) for _ in range(40)]
        write(f"{folder}/names/{name}", "".join(row + "\n" for row in rows))


def trees(folder):
    """Short trees, of 13 nodes at most, so that the test's programs can hold few."""
    real, draw = find("sst"), random.Random(5)

    def made(depth):
        if depth == 0 or draw.random() < 0.2:
            mood = draw.randrange(5)
            return mood, f"({mood} {'awful bad plain good great'.split()[mood]})"
        (a, left), (b, right) = made(depth - 1), made(depth - 1)
        return (a + b) // 2, f"({(a + b) // 2} {left} {right})"
    rows = [row for row in head(f"{real}/train.txt", 8544) if row.count("(") <= 13] if real else [made(2)[1] for _ in range(200)]
    write(f"{folder}/sst/train.txt", "".join(row + "\n" for row in rows[:200]))


def sunspots(folder):
    real, name = find("timeseries"), "monthly-sunspots.csv"
    rows = head(f"{real}/{name}", 2821) if real else ['"Month","Sunspots"'] + [f'"{m}",{60 + 50 * ((m % 132) / 66 - 1) ** 2}' for m in range(2820)]
    write(f"{folder}/{name}", "".join(row + "\n" for row in rows))


MAKERS = {f.__name__: f for f in (mnist, cifar, imagenet, numbers, book, reviews, names, trees, sunspots)}


def folder(t, name):
    """Where a sample's files are: `digits` is the project's own."""
    if name is None: return t.folder
    if name == "digits": return os.path.join(t.root, "samples")
    path = os.path.join(t.cache, "data-" + name)
    if not os.path.isdir(path):
        MAKERS[name](path + ".new")
        os.rename(path + ".new", path)
    return path
