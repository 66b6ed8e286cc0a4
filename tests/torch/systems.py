"""systems.py - the samples that must agree with the same network in PyTorch, made small, and the data and weights they start from.

reference_systems.py trains PyTorch's networks on them and keeps the numbers in systems.json; e2e/test_parity.py runs the samples. Neither has
numbers of its own: both read this file. A system is a sample with some of its text replaced, widths by smaller ones, random draws by nothing or
by given tensors (g_NAME), so that every number follows from the weights and the data.
"""
import os, re, struct

import inputs

REVEAL = "optimizer reveal(w: f32[...S], g: f32[...S]) { w <- g }\n"  # a step puts the gradient in the place of the parameter


def exact(values): return list(struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values)))


def weight(name, shape):
    """Kernels and matrices within about sqrt(3 / inputs); γ and gains near 1, running means 0 and variances 1, other vectors within 1/8."""
    count, fan = 1, 1
    for d in shape: count *= d
    for d in shape[:-1]: fan *= d
    last = name.split(".")[-1]
    if last in ("running_mean", "baseline"): return [0.0] * count
    if last == "running_var": return [1.0] * count
    if last in ("γ", "gain"): return exact([1 + v for v in inputs.numbers(name, count, 0.25)])
    if last == "sharp": return [3.0] * count
    scale = 1 / 8
    if len(shape) > 1:
        scale = 1.0
        while scale * scale > 4.5 / fan: scale /= 2
    return inputs.numbers(name, count, scale)


def octets(name, n, top=256): return [int((v + 1) / 2 * top) for v in inputs.numbers(name, n, 1.0)]
def reals(name, n, scale=1.0): return inputs.numbers(name, n, scale)
def bits(name, n): return [float(v) for v in octets(name, n, 2)]


class System:
    """sample, -D flags, edits [(text, text) or (pattern, text)], arguments of the run, steps; files: name -> (format, shape, values);
    given: name -> (type, shape, values)"""

    def __init__(self, sample, flags=(), edits=(), args=(), steps=3, files=None, given=None):
        self.sample, self.flags, self.edits, self.steps = sample, list(flags), list(edits), steps
        self.args, self.files, self.given = list(args) or ["--epochs=1", f"--batches={steps}"], files or {}, given or {}

    def first_step(self): return [re.sub(r"=\d+$", "=1", a) if a.split("=")[0] in ("--batches", "--steps") else a for a in self.args]

    def text(self, root, reveal):
        with open(os.path.join(root, "samples", self.sample + ".nn"), encoding="utf-8") as f: text = f.read()
        for old, new in self.edits:
            if isinstance(old, str):
                assert old in text, f"samples/{self.sample}.nn has no {old!r} to be made small"
                text = text.replace(old, new)
            else:
                text, n = old.subn(new, text)
                assert n, f"samples/{self.sample}.nn has nothing like {old.pattern}"
        text += "".join(f"\nstate g_{name}: {kind}{list(shape)} = 0" for name, (kind, shape, _) in self.given.items()) + "\n"
        if not reveal: return text
        text, n = re.subn(r"using \w+\[(?:[^\[\]]|\[[^\[\]]*\])*\]", "using reveal", text)
        assert n
        return text + REVEAL


def D(**consts): return [part for name, value in consts.items() for part in ("-D", f"{name}={value}")]


DROPOUT = (re.compile(r"dropout\[0\.\d+\]"), "dropout[0]")
BATCH = lambda n: (re.compile(r"batch \d+ shuffle"), f"batch {n} shuffle")
MNIST = {"train-images-idx3-ubyte": ("idx", [16, 28, 28], octets("mnist images", 16 * 784)),
         "train-labels-idx1-ubyte": ("idx", [16], octets("mnist labels", 16, 10)),
         "t10k-images-idx3-ubyte": ("idx", [4, 28, 28], octets("test images", 4 * 784)), "t10k-labels-idx1-ubyte": ("idx", [4],
             octets("test labels", 4, 10))}


def gz(files): return {name + ".gz": value for name, value in files.items()}


def folders(side, classes, each):
    """A folder a class, pictures of the size that is wanted: nothing is cut off."""
    files = {}
    for part in ("train", "val"):
        for c in range(classes):
            for i in range(each): files[f"imagenet/{part}/class{c}/{i}.png"] = ("png", [side, side, 3], octets(f"{part} {c} {i}", side * side * 3))
    return files


def divide(by):
    """Every first number of a conv and every number of an inception module, divided."""
    return (re.compile(r"(?<=\|> conv\[)\d+(?=, \d)|(?<=\|> inception\[)[^#\n]*"), lambda m: re.sub(r"\d+", lambda n: str(int(n[0]) // by), m[0]))


def npy(name, label): return f'npy({name.replace(".bin", "_label.npy" if label else "_image.npy")})'


def narrow_resnet(widths):
    """No flips; pictures of any size, from .npy files; a test loss, which says more of evaluation mode than an accuracy of four."""
    return [("random_flip", "same_picture"), ("fn standard(", "fn same_picture(x) = x\nfn standard("),
            (re.compile(r"cifar\((.*?)(, part=\"label\")?\)"), lambda m: npy(m[1], m[2])),
            ("test_accuracy = accuracy(net(image), label)", "test_loss = cross_entropy(net(image), label)"),
            ("keep highest test_accuracy", "keep lowest test_loss"), *widths]


def cifar(side, classes):
    return {"data_batch_1_image.npy": ("npy", [12, side, side, 3], octets("cifar images", 12 * side * side * 3)),
            "data_batch_1_label.npy": ("npy", [12], octets("cifar labels", 12, classes)),
            "test_batch_1000_image.npy": ("npy", [4, side, side, 3], octets("cifar test", 4 * side * side * 3)),
            "test_batch_1000_label.npy": ("npy", [4], octets("cifar test labels", 4, classes))}


RESNET_20 = [("conv_bn[16, 3]", "conv_bn[4, 3]"), ("stage[basic, 16,", "stage[basic, 4,"), ("stage[basic, 32,", "stage[basic, 6,"),
             ("stage[basic, 64,", "stage[basic, 8,")]
RESNET_18 = [("conv_bn[64, 7", "conv_bn[4, 7"), ("64 * 2^i", "4 * 2^i")]
RESNET_50 = [("conv_bn[64, 7", "conv_bn[2, 7"), ("64 * 2^i", "2 * 2^i")]
NAMES = {"names/Aa.txt": ["Anna", "Bob", "Ada", "Éva"], "names/Bb.txt": ["Otto", "Banana"], "names/Cc.txt": ["Cy", "Abba", "Cobra", "Tot"]}
TREES = ["(3 (2 a) (4 (2 good) (2 film)))", "(1 (1 (2 not) (3 good)) (2 at))", "(2 film)", "(0 (0 (2 a) (1 bad)) (1 (2 film) (2 not)))",
         "(4 (2 good) (3 (2 a) (2 film)))", "(1 (2 at) (0 bad))", "(3 (2 a) (3 good))", "(2 (2 not) (1 bad))"]
TEXT = "the cat sat on the mat; the dog did not. and so it goes, on and on, till the end of the day, my friend.\n" * 3


def plans(depth, plan): return re.compile(rf"const plan_{depth} = .*"), f"const plan_{depth} = {plan}"


PUZZLE = [(re.compile(r"    keys   = normal.*?    return keys[^\n]*", re.S), "    return g_keys, g_values, g_query, g_hint, g_answer"),
          ("puzzle(64)", "puzzle(3)")]
MEMORIES = {"keys": ("f32", [3, 5, 4], reals("keys", 60)), "values": ("i32", [3, 5], octets("values", 15, 8)),
            "query": ("f32", [3, 4], reals("query", 12)), "hint": ("f32", [3], [0.25, 2.5, 4.75]), "answer": ("i32", [3], [7, 0, 3])}
FILMS = {"film": ("f32", [2, 8, 16, 16, 1], bits("films", 4096)), "way": ("i32", [2], [3, 1])}
SUNSPOTS = {"monthly-sunspots.csv": ("months", [159], [v / 2 for v in octets("sunspots", 159)])}


def tracked(before, *losses):
    """The sample does not track these losses: put it in front of the statement."""
    return before, "        track " + ", ".join(losses) + "\n" + before


SYSTEMS = {
    "lenet5": System("lenet5", edits=[BATCH(4)], files=gz(MNIST)),
    "alexnet": System("alexnet", D(side=67, classes=3, size=2), [DROPOUT, divide(8), ("dense[4096]", "dense[24]")], files=folders(67, 3, 2)),
    "vgg16": System("vgg16", D(side=32, classes=3, wide=12, size=2), [DROPOUT, plans(16, [3, 3, 0, 4, 4, 0, 5, 5, 5, 0, 6, 6, 6, 0, 6, 6, 6, 0])],
                    files=folders(32, 3, 2)),
    "vgg11": System("vgg16", D(side=32, classes=3, wide=12, size=2, depth=11), [DROPOUT, plans(11, [3, 0, 4, 0, 5, 5, 0, 6, 6, 0, 6, 6, 0])],
                    files=folders(32, 3, 2)),
    "googlenet": System("googlenet", D(side=32, classes=3, size=2), [DROPOUT, divide(8), ("top_k_accuracy[5]", "top_k_accuracy[2]")],
                        files=folders(32, 3, 2)),
    "resnet20": System("resnet", D(side=8, classes=3, size=4), narrow_resnet(RESNET_20), files=cifar(8, 3)),
    "resnet18": System("resnet", D(side=64, classes=3, size=4, depth=18), narrow_resnet(RESNET_18), files=cifar(64, 3), steps=2),
    "resnet50": System("resnet", D(side=64, classes=3, size=4, depth=50), narrow_resnet(RESNET_50), files=cifar(64, 3), steps=1),
    "deconvnet": System("deconvnet", edits=[BATCH(4), ("conv[16, 5]", "conv[3, 5]"), ("conv[32, 5]", "conv[4, 5]"), ("arange(32)", "arange(4)")],
                        files=gz(MNIST)),
    "conv1d": System("conv1d", edits=[("sunspots[0..2200] batch 64", "sunspots[0..10] batch 4"),
                                      ("sunspots[2200..2600] batch 100", "sunspots[10..16] batch 4"),
                                      ("conv[16, 7", "conv[3, 7"), ("conv[32, 7", "conv[4, 7")], files=SUNSPOTS),
    "video": System("video", edits=[(re.compile(r"fn films\(B: int\).*?\n\}", re.S),
                                     "fn films(B: int) -> (film: f32[B, 8, 16, 16, 1], way: i32[B]) { return g_film, g_way }"),
                                    ("gaussian_noise(film, 0.1)", "film"), ("films(32)", "films(2)"), ("films(200)", "films(2)"),
                                    ("conv[8, [", "conv[2, ["), ("conv[16, [", "conv[3, [")], args=["--steps=3"], given=FILMS),
    "conv_as_dense": System("conv_as_dense", edits=[BATCH(4), ("conv[16, 3]", "conv[3, 3]"), ("conv[32, 3]", "conv[4, 3]"), ("7 * 7 * 32", "7 * 7 * 4"),
                                                    ("[7, 7, 32, 10]", "[7, 7, 4, 10]"), ("training[0..1000] batch 100", "training[0..8] batch 4")],
                            files=gz(MNIST)),
    "rnn": System("rnn", D(T=6), [("fn tosses(B: int) = bernoulli(0.5 * ones([B, T]))", "fn tosses(B: int) = g_x"), ("tosses(64)", "tosses(4)"),
                                  ("tosses(1000)", "tosses(4)"), ("rnn[16]", "rnn[3]"), ("dense[8]", "dense[4]"),
                                  tracked("        minimize bce(at_last(x)", "last_loss = bce(at_last(x), x[:, 0])",
                                          "mean_loss = bce(at_mean(x), f32(sum(x, axis=1) > T / 2))", "every_loss = bce(at_all(x), y)",
                                          "fed_loss = bce(fed.teach(x, y), y)")],
                  args=["--steps=3"], given={"x": ("f32", [4, 6], bits("tosses", 24))}),
    "birnn": System("birnn", D(T=7), [("x = bernoulli(0.5 * ones([B, T, 1]))", "x = g_x"), ("tosses(64)", "tosses(3)"), ("tosses(500)", "tosses(3)"),
                                      ("rnn[32]", "rnn[3]"), ("two_ways[16]", "two_ways[3]"), ("[gru, 16]", "[gru, 3]"),
                                      tracked("        minimize bce(a(x)", "a_loss = bce(a(x), y)", "b_loss = bce(b(x), y)", "c_loss = bce(c(x), y)")],
                    args=["--steps=3"], given={"x": ("f32", [3, 7, 1], bits("birnn tosses", 21))}),
    **{f"deep_rnn, {kind}": System("deep_rnn", D(kind=kind), [BATCH(4), ("stacked[64, 3]", "stacked[4, 3]"), ("skip_rnn[64, 4]", "skip_rnn[4, 4]"),
                                                              ("leaky[64]", "leaky[4]")], files=gz(MNIST))
       for kind in ("stacked", "skip", "leaky")},
    **{f"lstm, {kind}": System("lstm", D(kind=kind), [BATCH(4), ("memory[64]", "memory[4]")], files=gz(MNIST))
       for kind in ("plain", "peephole", "coupled")},
    **{f"gru, {kind}": System("gru", D(reset=kind), [BATCH(4), ("names[0..18000]", "names[0..8]"),
                                                     ("names[18000..20000] batch 200", "names[8..10] batch 2"),
                                                     ("gated[96]", "gated[4]"), ("embedding[96, 32]", "embedding[96, 3]"), ("dense[18]", "dense[3]"),
                                                     ("f32[B, 18]", "f32[B, 3]")], steps=2, files={k: ("lines", [], v) for k, v in NAMES.items()})
       for kind in ("before", "after")},
    "one_to_many": System("one_to_many", edits=[BATCH(4), ("0.1 * normal([len(x), 2])", "zeros([len(x), 2])"), ("dense[128]", "dense[5]"),
                                                ("gru_cell[128]", "gru_cell[5]")]),
    **{f"attention, {how}, {reach}": System("attention", D(similarity=how, range=reach, T=5, K=4), PUZZLE, args=["--steps=3"], given=MEMORIES)
       for how, reach in (("dot", "global"), ("cosine", "global"), ("mlp", "global"), ("dot", "local"))},
    "attention, hard": System("attention", D(kind="hard", T=5, K=4), [*PUZZLE, ("categorical(log(p + 1e-9))", "g_drawn")], args=["--steps=3"],
                              given={**MEMORIES, "drawn": ("i32", [3], [1, 4, 0])}),
    "transformer": System("transformer", D(T=6, D=8, heads=2, depth=2), [DROPOUT, BATCH(3)], files={"input.txt": ("text", [], TEXT)}),
    "tree_rnn": System("tree_rnn", D(N=7, words_known=9, D=3), [DROPOUT, ("trees_in[0..8000] batch 25", "trees_in[0..6] batch 3"),
                                                                ("trees_in[8000..8544] batch 50", "trees_in[6..8] batch 2")],
                       steps=2, files={"sst/train.txt": ("lines", [], TREES)}),
    "semisup": System("semisup", edits=[("batch 20 shuffle", "batch 3 shuffle"), ("batch 130 shuffle", "batch 5 shuffle"), ("dense[48]", "dense[6]"),
                                        ("dense[24]", "dense[4]"), ("f32[48]", "f32[6]"), ("f32[B, 24]", "f32[B, 4]")]),
}
