"""programs.py - the table of all samples: how each is made small, which files it reads, how its commands are run, and what must come of it.

A row says how a program of full size becomes one that the reference evaluator runs in a second: constants (-D) and cuts, replacements of numbers in its
text, which must be found there. The equations, and with them every op of the graph, stay those of the sample. Rows of one program with other constants are
its variants (the kinds of autoencoder, the similarities of attention); the first row is the sample as it stands.

A run is a command, its arguments and what must be true of it: a function of Result that raises an AssertionError.
"""
import os, re

import datasets
from support import read_log


class Run:
    """gradients: it asks for some. slow: what must be true of it is seen in the compiled program, which has the bits of the evaluator, and not in that.
    after: the command whose files it loads."""

    def __init__(self, command, args, must, gradients=True, slow=False, after=None):
        self.command, self.args, self.must, self.gradients, self.slow, self.after = command, args.split(), must, gradients, slow, after

    def short(self):
        """A few batches of it."""
        return Run(self.command, " ".join(self.args + ["--batches=2", "--turns=2"]), self.must)


class Row:
    def __init__(self, name, data, runs, cuts=(), variant="", **const):
        self.name, self.data, self.runs, self.cuts, self.variant, self.const = name, data, runs, list(cuts), variant, const
        self.title = name + (f" {variant}" if variant else "")

    def source(self, t):
        """The small program as a file; the folder of the case is its own."""
        with open(os.path.join(t.root, "samples", self.name + ".nn"), encoding="utf-8") as f: text = f.read()
        for old, new in self.cuts:
            if callable(new): text, n = re.subn(old, new, text)
            else: text, n = text.replace(old, new), text.count(old)
            assert n, f"{self.title}: `{old}` is not in the sample"
        return t.write(self.title.replace(" ", "-") + ".nn", text)

    def defines(self, **instead): return [x for name, value in {**self.const, **instead}.items() for x in ("-D", f"{name}={value}")]

    def one(self):
        """With batches of one picture where the size of a batch is a constant: enough for gradients and passes, not for the statistics of a batch."""
        return self.defines(size=1) if "size" in self.const and self.name != "resnet" else self.defines()

    def where(self, t): return f"--data={datasets.folder(t, self.data)}"


class Result:
    """What a run left: the lines of its log, its standard output, and the numbers in that."""

    def __init__(self, log, out): self.log, self.out = log, out

    def numbers(self, pattern):
        found = re.search(pattern, self.out)
        assert found, f"no `{pattern}` in {self.out[-300:]!r}"
        return [float(v) for v in found.groups()]

    def tracked(self, key):
        found = [line[key] for line in self.log if key in line]
        assert found, f"nothing tracked {key}: {self.log[:3]}"
        return found


def execute(t, row, run, *before, args=()):
    """before: a program, or nnc and its options up to the command."""
    log = t.path("run.jsonl")
    if os.path.exists(log): os.remove(log)
    done = t.run(*before, run.command, *run.args, *args, row.where(t), f"--out={t.folder}", f"--log={log}", "--progress=none")
    return Result(read_log(log), done.stdout)


# ---- what must be true ----

def falls(key="loss", to=0.97, loops=1):
    """In each of the loops of a run, one after the other, the least of the later values is below `to` times the first. (Batches of three or eight are noisy,
    and momentum overshoots: the last value says less.)"""
    def must(r):
        all_ = r.tracked(key)
        assert len(all_) % loops == 0 and len(all_) >= 2 * loops, f"{key}: {len(all_)} values of {loops} loops"
        n = len(all_) // loops
        for k in range(loops):
            part = all_[k * n:(k + 1) * n]
            assert min(part[1:]) < to * part[0], f"{key} does not fall: {part}"
    return must


def layer_by_layer(key, layers, chance):
    """Of layers trained one on the other the first, which sees the data, learns; those on its few units stay below what guessing gives."""
    def must(r):
        all_ = r.tracked(key)
        n = len(all_) // layers
        assert n > 1 and min(all_[1:n]) < 0.97 * all_[0], f"{key} of the first layer does not fall: {all_}"
        assert all(v < chance for v in all_), f"{key} is {all_}"
    return must


def rises(key):
    def must(r): assert r.tracked(key)[-1] > r.tracked(key)[0], f"{key} does not rise: {r.tracked(key)}"
    return must


def below(key, bound):
    """The mean of a loop, which would be `bound` without learning."""
    def must(r): assert r.tracked(key)[-1] < bound, f"{key} is {r.tracked(key)[-1]}, not below {bound}"
    return must


def stays(key, value, within):
    """For what cannot learn in seconds: VGG-16 from its first weights, which its authors started from a trained VGG-11."""
    def must(r): assert all(abs(v - value) < within for v in r.tracked(key)), f"{key} leaves {value}: {r.tracked(key)}"
    return must


def prints(pattern, *bounds):
    """Numbers in the output, each within its (low, high)."""
    def must(r):
        for value, (low, high) in zip(r.numbers(pattern), bounds): assert low <= value <= high, f"{value} is not in {low}..{high}: {r.out[-300:]}"
    return must


def both(*all_):
    def must(r):
        for one in all_: one(r)
    return must


NUMBER = r"(-?[\d.e+-]+|nan|inf)"
TRAIN = "--epochs=3 --batches=12"


def trained(args=TRAIN, key="loss", to=0.97, command="train", loops=1, **more): return Run(command, args, falls(key, to, loops), **more)


def turned(args, key, bound, **more): return Run("train", f"--turns={args}", below(key, bound), **more)


def sixteenth(m): return str(max(4, int(m[0]) // 48))


MNIST = [("batch 64", "batch 8")]
REGULARIZE = [("dense[256]", "dense[8]"), ("mnist[0..1000] batch 50", "mnist[0..80] batch 8"), ("mnist[1000..3000] batch 500", "mnist[80..120] batch 20")]
ATTENTION = dict(T=5, K=4)
AUTO = [("autoencoder[784, 128]", "autoencoder[784, 10]"), ("autoencoder[784, 256]", "autoencoder[784, 9]"), ("autoencoder[256, 128]", "autoencoder[9, 8]"),
        ("autoencoder[128, 64]", "autoencoder[8, 7]"), ("h: f32[B, 64]", "h: f32[B, 7]"), ("mnist batch 100", "mnist batch 10"),
        ("mnist[0..1000] batch 50", "mnist[0..100] batch 10"), ("testing batch 500", "testing batch 50"), ("testing[0..64] batch 64", "testing[0..4] batch 4"), ("[8, 16, 28, 28]", "[2, 4, 28, 28]"), ("[8 * 28, 16 * 28]", "[2 * 28, 4 * 28]")]
DEEP = MNIST + [("stacked[64, 3]", "stacked[6, 3]"), ("skip_rnn[64, 4]", "skip_rnn[6, 4]"), ("leaky[64]", "leaky[6]")]
LSTM = MNIST + [("memory[64]", "memory[10]"), ("testing batch 500", "testing batch 50")]
GRU = [("gated[96]", "gated[6]"), ("embedding[96, 32]", "embedding[96, 5]"), ("names[0..18000] batch 64", "names[0..600] batch 8"),
       ("names[18000..20000] batch 200", "names[600..660] batch 20")]
GAN = [("dense[256]", "dense[8]"), ("dense[512]", "dense[10]"), ("batch 64", "batch 8"), ("7 * 7 * 64", "7 * 7 * 4"), ("[B, 7, 7, 64]", "[B, 7, 7, 4]"),
       ("conv_transpose[32, 4", "conv_transpose[3, 4"), ("conv[32, 4", "conv[3, 4"), ("conv[64, 4", "conv[4, 4"), ("[64, Z]", "[4, Z]"), ("[8, 8, 28, 28]", "[2, 2, 28, 28]"), ("[224, 224]", "[56, 56]")]
RESNET = [("conv_bn[16, 3]", "conv_bn[3, 3]"), ("stage[basic, 16, 3,", "stage[basic, 3, 1,"), ("stage[basic, 32, 3,", "stage[basic, 4, 1,"),
          ("stage[basic, 64, 3,", "stage[basic, 5, 1,"), ("conv_bn[64, 7", "conv_bn[4, 7"), ("64 * 2^i", "2 * 2^i"), ("[3, 4, 6, 3]", "[1, 2, 1, 1]"),
          ("[2, 2, 2, 2]", "[1, 1, 1, 1]"), ("x = standard(image)", "x = standard(image)[:, 8:24, 8:24]")]
VGG = [(r"const plan_1\d = .*", lambda m: re.sub(r"(?<=[ \[])\d+(?=[,\]])", lambda n: str({"0": 0, "64": 4, "128": 4, "256": 6, "512": 8}[n[0]]), m[0])), ("dropout[0.5]", "dropout[0.1]")]
SEQ = [("embedding[V, 32]", "embedding[V, 4]"), ("additive_attention[64]", "additive_attention[6]"), ("pairs[0..9000] batch 64", "pairs[0..90] batch 8"),
       ("pairs[9000..10000] batch 200", "pairs[90..100] batch 10")]

ROWS = [
    Row("activations", "digits", [trained("--epochs=2 --batches=30", loops=6, to=0.995)], [("dense[64]", "dense[12]")]),
    Row("alexnet", "imagenet", [trained("--epochs=20 --lr=0.01", slow=True)],
        [("conv[96, 11,", "conv[8, 11,"), ("conv[256, 5,", "conv[8, 5,"), ("conv[384, 3", "conv[8, 3"), ("conv[256, 3", "conv[8, 3"), ("dense[4096]", "dense[48]"), ("dropout[0.5]", "dropout[0.1]")],
        side=67, size=3, classes=6),
    *[Row("attention", None, [turned("150 --lr=0.02", "loss", 1.9)], [("puzzle(64)", "puzzle(8)")], variant, **{**ATTENTION, **const})
      for variant, const in [("", {}), ("cosine", {"similarity": "cosine"}), ("mlp", {"similarity": "mlp"}), ("hard", {"kind": "hard"}), ("local", {"range": "local"})]],
    *[Row("autoencoder", "mnist", [trained("--epochs=3 --batches=15 --lr=0.01"),
                                   *([] if variant else [trained("--epochs=3 --batches=15 --lr=0.01", command="pretrain", loops=3, to=0.999),
                                                         Run("finetune", "--turns=6 --lr=0.02", rises("tuned_accuracy"), after="pretrain"),
                                                         Run("scratch", "--turns=6 --lr=0.02", rises("scratch_accuracy"))])], AUTO, variant,
          **({"kind": variant} if variant else {})) for variant in ("", "denoising", "sparse")],
    Row("birnn", None, [Run("train", "--turns=150 --lr=0.03", prints(f"forward only {NUMBER}, both ways {NUMBER}, both ways with GRU {NUMBER}", (0.5, 1), (0.7, 1), (0.7, 1)))],
        [("rnn[32]", "rnn[5]"), ("two_ways[16]", "two_ways[4]"), ("bidirectional[gru, 16]", "bidirectional[gru, 4]"), ("tosses(64)", "tosses(8)"),
         ("tosses(500)", "tosses(60)")], T=6),
    Row("boltzmann", None, [Run("train", "--turns=30", prints(f"exact: {NUMBER}", (0, 0.25)), gradients=False)],
        [("[5000, n]", "[2000, n]")], chains=30),
    Row("caption", None, [turned("80 --lr=0.02", "loss", 1.6)],
        [("conv[16, 5", "conv[4, 5"), ("conv[32, 3", "conv[4, 3"), ("dense[64]", "dense[8]"), ("lstm_cell[64]", "lstm_cell[8]"), ("[B, 64]", "[B, 8]"),
         ("embedding[V, 32]", "embedding[V, 6]"), ("scenes(32)", "scenes(4)"), ("scenes(500)", "scenes(8)")]),
    Row("charnn", "book", [trained("--epochs=3 --batches=30 --lr=0.01")], [("embedding[V, 64]", "embedding[V, 6]")], T=6, H=8, readers=3),
    Row("conv1d", "sunspots", [trained("--epochs=3 --batches=20")],
        [("conv[16, 7", "conv[3, 7"), ("conv[32, 7", "conv[4, 7"), ("[0..2200] batch 64", "[0..2200] batch 8"), ("[2200..2600] batch 100", "[2200..2240] batch 20")]),
    Row("conv_as_dense", "mnist", [Run("train", "--epochs=3 --batches=25", both(falls(to=0.98), prints(f"28 x 28: {NUMBER}", (0, 1e-5))))],
        MNIST + [("conv[16, 3]", "conv[3, 3]"), ("conv[32, 3]", "conv[4, 3]"), ("7 * 7 * 32", "7 * 7 * 4"), ("[7, 7, 32, 10]", "[7, 7, 4, 10]"),
                 ("training[0..1000] batch 100", "training[0..20] batch 10")]),
    Row("dbn", "mnist", [Run("pretrain", "--epochs=3 --batches=15 --lr=0.1", layer_by_layer("error", 3, 0.26), gradients=False),
                         trained("--epochs=5 --batches=30 --lr=0.1", command="finetune", after="pretrain")],
        [("rbm[784, 500]", "rbm[784, 10]"), ("rbm[500, 500]", "rbm[10, 9]"), ("rbm[500, 1000]", "rbm[9, 12]"), ("f32[B, 1000]", "f32[B, 12]"),
         ("[25, 500]", "[25, 9]"), ("repeat 200", "repeat 3"), ("batch 100", "batch 10"), ("batch 500", "batch 50")]),
    Row("deconvnet", "mnist", [trained("--epochs=4 --batches=15")],
        MNIST + [("conv[16, 5]", "conv[3, 5]"), ("conv[32, 5]", "conv[4, 5]"), ("arange(32)", "arange(4)")]),
    *[Row("deep_rnn", "mnist", [trained("--epochs=3 --batches=12 --lr=0.01", to=0.98)], DEEP, variant, **({"kind": variant} if variant else {}))
      for variant in ("", "skip", "leaky")],
    Row("delta", "digits", [Run("train", "--epochs=2 --batches=20", prints(f"accuracy {NUMBER}, .* descent {NUMBER}", (0.3, 1), (0, 0)))]),
    Row("digits", "digits", [trained("--epochs=3 --batches=20")], hidden=12),
    Row("ensemble", "digits", [trained("--epochs=3 --batches=20", loops=5)], [("dense[32]", "dense[8]")]),
    *[Row("gan", "mnist", [Run("train", "--epochs=3 --batches=12 --lr=0.002", below("d_loss", 1.3))], GAN, variant, kind=variant or "dense", Z=6) for variant in ("", "conv")],
    Row("googlenet", "imagenet", [trained("--epochs=8 --lr=0.02")],
        [(r"(?m)^ *\|> inception.*(?:24,  64|32,  64|320).*\n(?=.*inception)", lambda m: ""),
         (r"(?m)^ *\|> (?:inception|conv).*", lambda m: re.sub(r"(?<![\d.])\d{2,3}(?![\d.])", sixteenth, m[0]))], side=32, size=3, classes=6),
    *[Row("gru", "names", [trained("--epochs=3 --batches=30 --lr=0.01")], GRU, variant, reset=variant or "before") for variant in ("", "after")],
    Row("hebb", None, [Run("train", "--turns=40", prints(r"^\[\[0, ([\d.e+-]+), ", (0.1, 0.5)), gradients=False)]),
    Row("hopfield", None, [Run("train", "--turns=4", prints(f"recalled {NUMBER} of 100; energy rose by at most {NUMBER}", (2, 4), (0, 1e-6)), gradients=False),
                           Run("capacity", "", prints(f"5 patterns in 40 units: {NUMBER} of", (0, 0.05)), gradients=False)],
        [("[P, 100]", "[P, 40]"), ("zeros([100])", "zeros([40])"), ("in 100 units", "in 40 units")]),
    Row("keras_cnn", "mnist", [trained("--epochs=4 --batches=15", to=0.99)],
        MNIST + [("conv[32, 3", "conv[3, 3"), ("conv[64, 3", "conv[4, 3"), ("dense[64]", "dense[8]"), ("batch 500", "batch 50")]),
    Row("lenet5", "mnist", [trained("--epochs=2 --batches=10")],
        MNIST + [("conv[6, 5", "conv[3, 5"), ("conv[16, 5", "conv[4, 5"), ("conv[120, 5", "conv[6, 5"), ("dense[84]", "dense[8]"), ("batch 500", "batch 50")]),
    *[Row("lstm", "mnist", [trained("--epochs=3 --batches=50 --lr=0.01")], LSTM, variant, kind=variant or "plain") for variant in ("", "peephole", "coupled")],
    Row("mlp", "mnist", [trained("--epochs=2 --batches=40")], [("neurons[300]", "neurons[12]"), ("batch 500", "batch 50")]),
    Row("multitask", "digits", [trained("--epochs=3 --batches=20")], [("dense[64]", "dense[8]"), ("dense[32]", "dense[6]")]),
    Row("one_to_many", "digits", [trained("--epochs=3 --batches=20 --lr=0.01")], [("dense[128]", "dense[8]"), ("gru_cell[128]", "gru_cell[8]"), ("batch 32", "batch 8")]),
    Row("optimizers", None, [Run("train", "--rounds=20", prints(r"19: rate [\d.]+  " + NUMBER, (-1.01, -0.99)))]),
    Row("perceptron", None, [Run("train", "--steps=200", prints(f"one line: {NUMBER}, two hidden units: {NUMBER}", (0.3, 0.95), (0.7, 1)))]),
    Row("preprocess", "cifar", [Run("fit", "", lambda r: None, gradients=False),
                                Run("check", "", prints(f"whitened: {NUMBER} from", (0, 1e-3)), gradients=False, after="fit")],
        [("12:20", "15:17"), ("batch 100", "batch 25")], D=12),
    Row("rbm", "mnist", [Run("train", "--epochs=3 --batches=20", falls("error", 0.99), gradients=False),
                         Run("persistent", "--epochs=3 --batches=20", falls("error", 1), gradients=False),
                         Run("check", "", lambda r: [prints(f"gradient {NUMBER}", (0.2, 1.01))(Result([], line)) for line in r.out.splitlines()])],
        [("rbm[784, 256]", "rbm[784, 9]"), ("[16, 16, 28, 28]", "[3, 3, 28, 28]"), ("16 * 28", "3 * 28"), ("batch 50", "batch 10"), ("[50, 784]", "[10, 784]")]),
    *[Row("regularize", "mnist", [trained("--epochs=6")], REGULARIZE, variant, how=variant or "none")
      for variant in ("", "l1", "l2", "max_norm", "dropout", "input_noise", "label_smoothing", "augmentation", "early_stop", "fgsm")],
    *[Row("resnet", "cifar", [trained("--epochs=3 --batches=12 --lr=0.05")], RESNET, f"{depth}" if depth != 20 else "", depth=depth, size=4) for depth in (20, 18, 50)],
    Row("rnn", None, [Run("train", "--turns=200 --lr=0.02", prints(f"last {NUMBER}, mean {NUMBER}, every {NUMBER}, from", (0.7, 1), (0.7, 1), (0.7, 1)))],
        [("rnn[16]", "rnn[5]"), ("dense[8]", "dense[4]"), ("tosses(64)", "tosses(8)"), ("tosses(1000)", "tosses(100)")], T=4),
    Row("search", "digits", [trained("--epochs=3 --batches=20")], hidden=8),
    Row("semisup", "digits", [trained("--epochs=3 --batches=10")],
        [("dense[48]", "dense[8]"), ("f32[48]", "f32[8]"), ("dense[24]", "dense[6]"), ("f32[B, 24]", "f32[B, 6]")]),
    Row("sentiment", "reviews", [trained("--epochs=6 --batches=40 --lr=0.03")],
        [("words_known, 64]", "words_known, 10]"), ("gru_cell[64]", "gru_cell[10]"), ("[B, 64]", "[B, 10]"), ("[0..9600] batch 32", "[0..500] batch 8"),
         ("[9600..10662] batch 100", "[500..600] batch 20")], words_known=300, T=7),
    *[Row("seq2seq", "numbers", [trained("--epochs=4 --lr=0.02", to=0.9)], SEQ, variant, attention="false" if variant else "true", S=13, L=3, H=6)
      for variant in ("", "plain")],
    Row("transformer", "book", [trained("--epochs=3 --batches=20 --lr=0.02")], [("batch 32", "batch 4")], T=8, D=8, heads=2, depth=2),
    Row("tree_rnn", "trees", [trained("--epochs=4 --lr=0.02")],
        [("[0..8000] batch 25", "[0..120] batch 5"), ("[8000..8544] batch 50", "[120..130] batch 5")], N=13, words_known=200, D=4),
    Row("vae", "mnist", [trained("--epochs=3 --batches=15 --lr=0.005", key="rebuilt")], [("dense[256]", "dense[8]"), ("batch 100", "batch 10"), ("[64, Z]", "[4, Z]"), ("8, 8)", "2, 2)"), ("f32[224, 224]", "f32[56, 56]")], Z=4),
    *[Row("vgg16", "imagenet", [trained("--epochs=8 --lr=0.02") if variant else Run("train", "--epochs=2 --lr=0.02", stays("loss", 1.7918, 0.08))], VGG, variant, depth=variant or 16, side=32, classes=6, wide=32, size=4 if variant else 2) for variant in ("", "11")],
    Row("video", None, [turned("200 --lr=0.01", "loss", 1.2, slow=True)],
        [("conv[8, [3", "conv[2, [3"), ("conv[16, [3", "conv[3, [3"), ("films(32)", "films(8)"), ("films(200)", "films(4)")]),
]
