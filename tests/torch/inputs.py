"""inputs.py - weights to start from, the same for PyTorch (reference.py) and for our programs (e2e/test_torch.py): they do not depend on either's random numbers.

A number is a hash of (name, index), so that it can be made anywhere; all are exact in f32.
"""
import zlib

MASK = (1 << 64) - 1


def numbers(name, n, scale):
    """n numbers in [-scale, scale), multiples of scale / 2^23; splitmix64 of a counter (Steele, Lea, Flood 2014)."""
    state, out = zlib.crc32(name.encode()) << 32, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
        out.append(((z >> 40) - (1 << 23)) * (scale / (1 << 23)))
    return out


def weight(name, shape):
    """Matrices [inputs, outputs] lie within a power of two near sqrt(3 / inputs), vectors within 1/16."""
    count = 1
    for d in shape: count *= d
    scale = 1 / 16
    if len(shape) > 1:
        scale = 1.0
        while scale * scale > 4.5 / shape[0]: scale /= 2
    return numbers(name, count, scale)


def places(n):
    """The elements of a tensor of n that are kept to be compared."""
    return sorted({i * (n - 1) // 7 for i in range(8)})


def digest(values):
    """What is kept of a tensor: its sum, its norm, some elements."""
    return {"n": len(values), "sum": sum(values), "norm": sum(v * v for v in values) ** 0.5, "at": [values[i] for i in places(len(values))]}


def summary(shape, values, kept=8):
    """A digest in which every element counts: sum, norm, a product with fixed numbers, and some elements to look at."""
    n = len(values)
    along = numbers("summary", n, 1.0)
    at = values if n <= kept else [values[i * (n - 1) // (kept - 1)] for i in range(kept)]
    return {"shape": shape, "sum": sum(values), "norm": sum(v * v for v in values) ** 0.5, "along": sum(a * b for a, b in zip(along, values)),
            "at": list(at)}


def shortened(x):
    """All numbers in x with 12 digits."""
    if isinstance(x, dict): return {k: shortened(v) for k, v in x.items()}
    if isinstance(x, list): return [shortened(v) for v in x]
    return float(f"{x:.12g}") if isinstance(x, float) else x


# name -> shape, in the order of the programs
MLP = {"net.neurons_1.W": [784, 300], "net.neurons_1.θ": [300], "net.neurons_2.W": [300, 10], "net.neurons_2.θ": [10]}
MULTITASK = {"net.dense_1.w": [64, 64], "net.dense_1.b": [64], "net.dense_2.w": [64, 32], "net.dense_2.b": [32],
             "net.dense_3.w": [32, 10], "net.dense_3.b": [10], "net.dense_4.w": [32, 1], "net.dense_4.b": [1]}
KINDS = ["sigmoid", "tanh", "relu", "leaky", "soft", "maxout"]
ACTIVATIONS = {f"with_{k}.dense_{i}.{p}": ([64 if i == 1 or k != "maxout" else 32, 10 if i == 3 else 64] if p == "w" else [10 if i == 3 else 64])
               for k in KINDS for i in (1, 2, 3) for p in "wb"}

# The program whose trajectories rules.json holds: Σ c (w - t)^4 / 4 + Σ w_i w_{i+1} / 8, a bowl that is no square, under every rule of the library.
RULES_PROGRAM = """
option rounds = 30
param sgd_decay, momentum_w, nesterov_w, adagrad_w, rmsprop_w, adam_w, adamw_w, norm_w, value_w: f32[5] = 0
fn bowl(w: f32[5]) = sum(f32([1, 0.5, 2, 0.25, 1.5]) * (w - f32([1, -1, 0.5, 2, 0]))^4) / 4 + sum(w[0:4] * w[1:5]) / 8
command train {
    for i in 0..rounds {
        minimize bowl(sgd_decay) over sgd_decay using sgd[0.02, decay=0.1]
        minimize bowl(momentum_w) over momentum_w using momentum[0.02]
        minimize bowl(nesterov_w) over nesterov_w using nesterov[0.02]
        minimize bowl(adagrad_w) over adagrad_w using adagrad[0.2]
        minimize bowl(rmsprop_w) over rmsprop_w using rmsprop[0.05]
        minimize bowl(adam_w) over adam_w using adam[0.1]
        minimize bowl(adamw_w) over adamw_w using adamw[0.1, decay=0.2]
        update norm_w with [grad(bowl(norm_w), norm_w)] |> clip_norm(0.5) using sgd[0.2]
        update value_w with [grad(bowl(value_w), value_w)] |> clip_value(0.25) using momentum[0.1]
    }
}
"""
RULES_NAMES = ["sgd_decay", "momentum_w", "nesterov_w", "adagrad_w", "rmsprop_w", "adam_w", "adamw_w", "norm_w", "value_w"]
