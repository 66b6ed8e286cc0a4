#!/usr/bin/env python3
"""reference_systems.py - the networks of systems.py in PyTorch, in f64: the first gradients, some steps with the sample's own rule, and what was
tracked. Writes systems.json. Beside each gradient stands how far from it PyTorch's f32 is: what rounding alone does to it (batches of 4 through 50
normalised layers are not kind to f32).

    python3 reference_systems.py [NAME...]       all, or those alone (the others are kept)

A network is a function step(r, i) of a Run: r("name", sizes...) is a parameter by its name in the sample (made, with the weight of systems.py, where
it is first asked for), r.minimize(...) moves parameters or, in the run that looks for gradients, puts the gradients in their place. Images come as
[B, H, W, C] and are turned around for PyTorch.
"""
import json, os, re, sys

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import inputs, systems
from reference_std import conv, coupled, first, gru_before, gru_weights, last, lstm_weights, kernel, multi_head, positions, run as run_module, same

torch.set_default_dtype(torch.float64)


class Run:
    def __init__(self, name, reveal):
        self.system, self.reveal, self.tensors, self.rules, self.tracked, self.learning = systems.SYSTEMS[name], reveal, {}, {}, {}, True

    def __call__(self, name, *shape):
        if name not in self.tensors:
            x = torch.tensor(systems.weight(name, list(shape))).reshape(shape)
            self.tensors[name] = x.requires_grad_(not name.split(".")[-1].startswith(("running", "baseline")))
        assert list(self.tensors[name].shape) == list(shape), name
        return self.tensors[name]

    def given(self, name):
        kind, shape, values = self.system.given[name]
        return torch.tensor(values, dtype=torch.long if kind == "i32" else None).reshape(shape)

    def file(self, name):
        kind, shape, values = self.system.files[name]
        return torch.tensor(values).reshape(shape)

    def const(self, name): return int(self.system.flags[[f.startswith(name + "=") for f in self.system.flags].index(True)].split("=")[1])

    def minimize(self, loss, over, make, lr=None, clip=None, key=None):
        """over: what the names begin with. make: parameters -> optimizer of PyTorch, made once; lr: its rate in this turn."""
        names = [n for n, x in self.tensors.items() if n.startswith(over) and x.requires_grad]
        moved = [self.tensors[n] for n in names]
        grads = torch.autograd.grad(loss, moved, allow_unused=True)
        for x, g in zip(moved, grads): x.grad = torch.zeros_like(x) if g is None else g
        if clip: torch.nn.utils.clip_grad_norm_(moved, clip)
        with torch.no_grad():
            if self.reveal:
                for x in moved: x.copy_(x.grad)
                return
            rule = self.rules.setdefault(over, None) or make(moved)
            self.rules[over] = rule
            if lr is not None:
                for group in rule.param_groups: group["lr"] = lr
            rule.step()

    def track(self, n, **values):
        for name, v in values.items():
            total, count = self.tracked.get(name, (0.0, 0))
            self.tracked[name] = total + n * v.item(), count + n


def real(x): return x.to(torch.get_default_dtype())
def f32(values): return real(torch.tensor(values, dtype=torch.float32))  # constants of the sample that meet an f32 tensor are rounded to it


def adam(lr): return lambda ws: torch.optim.Adam(ws, lr)
def accuracy(z, label): return (z.argmax(-1) == label).double().mean()


# ---- pieces ----

def dense(r, name, x, N, bias=True): return F.linear(x, r(name + ".w", x.shape[-1], N).T, r(name + ".b", N) if bias else None)


def conv2(r, name, x, C, K, stride=1, pad=same, groups=1, bias=True):
    """x: [B, D, H, W]"""
    w = r(name + ".w", K, K, x.shape[1] // groups, C)
    b = r(name + ".b", C) if bias else None
    if pad == same:
        h, v = [max((-(-size // stride) - 1) * stride + K - size, 0) for size in x.shape[2:]]
        x, pad = F.pad(x, (v // 2, v - v // 2, h // 2, h - h // 2)), 0
    return F.conv2d(x, kernel(w), b, stride, pad, 1, groups)


def batch_norm(r, name, x):
    """x: [B, C, H, W]"""
    C = x.shape[1]
    γ, β, mean, var = r(name + ".γ", C), r(name + ".β", C), r(name + ".running_mean", C), r(name + ".running_var", C)
    return F.batch_norm(x, mean, var, γ, β, r.learning, 0.1, f32(1e-5).item())


def maxpool_same(x, k, s):
    h, v = [max((-(-size // s) - 1) * s + k - size, 0) for size in x.shape[2:]]
    return F.max_pool2d(F.pad(x, (v // 2, v - v // 2, h // 2, h - h // 2), value=-torch.inf), k, s)


def digits(r, i, n):
    image, label = r.file("train-images-idx3-ubyte.gz"), r.file("train-labels-idx1-ubyte.gz")
    return image[n * i:n * i + n] / 255.0, label[n * i:n * i + n]


def pictures(r, part="train"):
    found = sorted(k for k in r.system.files if k.startswith(f"imagenet/{part}/"))
    image = torch.stack([r.file(k) for k in found])
    return image, torch.tensor([int(re.search(r"class(\d+)", k)[1]) for k in found])


def picture_batch(r, i, n):
    image, label = pictures(r)
    return first(image[n * i:n * i + n] / 128.0 - 1), label[n * i:n * i + n]


def flat(x): return x.permute(0, 2, 3, 1).flatten(1)  # our order is row, column, channel


def gru_old(x, h, p): return gru_before(x, h, *[p(k) for k in ("Wz", "Wr", "Wh", "Uz", "Ur", "Uh", "bz", "br", "bh")])


# ---- the systems ----

def lenet5(r, i):
    x, label = digits(r, i, 4)
    squash = lambda x: 1.7159 * torch.tanh(2 / 3 * x)
    def subsample(k, x): return F.avg_pool2d(x, 2) * r(f"net.subsample_{k}.gain", x.shape[1])[:, None, None] + r(f"net.subsample_{k}.b",
        x.shape[1])[:, None, None]
    x = F.pad(x[:, None], (2, 2, 2, 2))
    x = squash(subsample(1, squash(conv2(r, "net.conv_1", x, 6, 5, pad=0))))
    x = squash(subsample(2, squash(conv2(r, "net.conv_2", x, 16, 5, pad=0))))
    x = flat(squash(conv2(r, "net.conv_3", x, 120, 5, pad=0)))
    z = dense(r, "net.dense_2", squash(dense(r, "net.dense_1", x, 84)), 10)
    loss = F.cross_entropy(z, label)
    r.track(4, loss=loss, accuracy=accuracy(z, label))
    r.minimize(loss, "net.", lambda ws: torch.optim.SGD(ws, 0.05))


def alexnet(r, i):
    x, label = picture_batch(r, i, 2)
    lrn = lambda x: F.local_response_norm(x, 5, alpha=5e-4, beta=0.75, k=2.0)
    x = F.max_pool2d(lrn(F.relu(conv2(r, "net.conv_1", x, 12, 11, stride=4, pad=0))), 3, 2)
    x = F.max_pool2d(lrn(F.relu(conv2(r, "net.conv_2", x, 32, 5, groups=2))), 3, 2)
    x = F.relu(conv2(r, "net.conv_3", x, 48, 3))
    x = F.relu(conv2(r, "net.conv_4", x, 48, 3, groups=2))
    x = flat(F.max_pool2d(F.relu(conv2(r, "net.conv_5", x, 32, 3, groups=2)), 3, 2))
    x = F.relu(dense(r, "net.dense_1", x, 24))
    z = dense(r, "net.dense_3", F.relu(dense(r, "net.dense_2", x, 24)), 3)
    loss = F.cross_entropy(z, label)
    r.track(2, loss=loss, accuracy=accuracy(z, label))
    r.minimize(loss, "net.", lambda ws: torch.optim.SGD(ws, 0.01, momentum=0.9, weight_decay=0.0005))


def vgg(plan):
    def step(r, i):
        x, label = picture_batch(r, i, 2)
        k = 0
        for c in plan:
            if c == 0: x = F.max_pool2d(x, 2)
            else:
                k += 1
                x = F.relu(conv2(r, f"net.conv_{k}", x, c, 3))
        x = F.relu(dense(r, "net.dense_1", flat(x), 12))
        z = dense(r, "net.dense_3", F.relu(dense(r, "net.dense_2", x, 12)), 3)
        loss = F.cross_entropy(z, label)
        r.track(2, loss=loss, accuracy=accuracy(z, label))
        r.minimize(loss, "net.", lambda ws: torch.optim.SGD(ws, 0.01, momentum=0.9, weight_decay=0.0005))
    return step


INCEPTION = [(8, (12, 16), (2, 4), 4), (16, (16, 24), (4, 12), 8), None, (24, (12, 26), (2, 6), 8), (20, (14, 28), (3, 8), 8),
             (16, (16, 32), (3, 8), 8), (14, (18, 36), (4, 8), 8),
             (32, (20, 40), (4, 16), 16), None, (32, (20, 40), (4, 16), 16), (48, (24, 48), (6, 16), 16)]


def googlenet(r, i):
    x, label = picture_batch(r, i, 2)
    def inception(k, x, a, b, c, p):
        name = f"net.inception_{k}.conv_"
        f = lambda j, x, C, K: F.relu(conv2(r, name + str(j), x, C, K))
        return torch.cat([f(1, x, a, 1), f(3, f(2, x, b[0], 1), b[1], 3), f(5, f(4, x, c[0], 1), c[1], 5), f(6, F.max_pool2d(x, 3, 1, 1), p, 1)], 1)
    x = maxpool_same(F.relu(conv2(r, "net.conv_1", x, 8, 7, stride=2)), 3, 2)
    x = maxpool_same(F.relu(conv2(r, "net.conv_3", F.relu(conv2(r, "net.conv_2", x, 8, 1)), 24, 3)), 3, 2)
    k = 0
    for module in INCEPTION:
        if module is None: x = maxpool_same(x, 3, 2)
        else:
            k += 1
            x = inception(k, x, *module)
    z = dense(r, "net.dense_1", x.mean((2, 3)), 3)
    loss = F.cross_entropy(z, label)
    r.track(2, loss=loss, accuracy=accuracy(z, label), top_5=(z.topk(2).indices == label[:, None]).any(1).double().mean())
    r.minimize(loss, "net.", lambda ws: torch.optim.SGD(ws, 0.01, momentum=0.9))


def resnet(depth):
    def conv_bn(r, name, x, C, K, stride=1): return batch_norm(r, name + ".batch_norm_1", conv2(r, name + ".conv_1", x, C, K, stride,
        pad=(K - 1) // 2, bias=False))
    def shortcut(r, name, x, C, stride): return x if stride == 1 and x.shape[1] == C else conv_bn(r, name + ".shortcut_1.conv_bn_1", x, C, 1, stride)
    def basic(r, name, x, C, stride):
        f = conv_bn(r, name + ".conv_bn_2", F.relu(conv_bn(r, name + ".conv_bn_1", x, C, 3, stride)), C, 3)
        return F.relu(f + shortcut(r, name, x, C, stride))
    def bottleneck(r, name, x, C, stride):
        f = F.relu(conv_bn(r, name + ".conv_bn_2", F.relu(conv_bn(r, name + ".conv_bn_1", x, C, 1)), C, 3, stride))
        return F.relu(conv_bn(r, name + ".conv_bn_3", f, 4 * C, 1) + shortcut(r, name, x, 4 * C, stride))
    def stage(r, name, x, block, C, n, stride):
        for j in range(n): x = block(r, f"{name}.{block.__name__}_{j + 1}", x, C, stride if j == 0 else 1)
        return x
    def net(r, image):
        x = first((image / 255 - f32([0.4914, 0.4822, 0.4465])) / f32([0.247, 0.2435, 0.2616]))
        if depth == 20:
            n = "net.resnet_20_1"
            x = F.relu(conv_bn(r, n + ".conv_bn_1", x, 4, 3))
            for j, (C, stride) in enumerate(((4, 1), (6, 2), (8, 2))): x = stage(r, f"{n}.stage_{j + 1}", x, basic, C, 3, stride)
        else:
            n, block, plan, wide = "net.imagenet_1", *((basic, (2, 2, 2, 2), 4) if depth == 18 else (bottleneck, (3, 4, 6, 3), 2))
            x = F.max_pool2d(F.relu(conv_bn(r, n + ".conv_bn_1", x, wide, 7, 2)), 3, 2, 1)
            for j in range(4): x = stage(r, f"{n}.stage_{j + 1}", x, block, wide * 2 ** j, plan[j], 1 if j == 0 else 2)
        return dense(r, n + ".dense_1", x.mean((2, 3)), 3)
    def step(r, i):
        image, label = r.file("data_batch_1_image.npy")[4 * i:4 * i + 4], r.file("data_batch_1_label.npy")[4 * i:4 * i + 4]
        z = net(r, image)
        loss = F.cross_entropy(z, label)
        r.track(4, loss=loss, accuracy=accuracy(z, label))
        penalty = sum((w ** 2).sum() for w in r.tensors.values() if w.dim() > 1)
        r.minimize(loss + 0.0001 * penalty, "net.", lambda ws: torch.optim.SGD(ws, 0.1, momentum=0.9))
    def finish(r):  # the test loop: evaluation mode
        r.learning = False
        r.track(4, test_loss=F.cross_entropy(net(r, r.file("test_batch_1000_image.npy")), r.file("test_batch_1000_label.npy")))
    return step, finish


def deconvnet(r, i):
    x, label = digits(r, i, 4)
    x = F.max_pool2d(F.relu(conv2(r, "net.c1", x[:, None], 3, 5)), 2)
    z = dense(r, "net.out", flat(F.max_pool2d(F.relu(conv2(r, "net.c2", x, 4, 5)), 2)), 10)
    loss = F.cross_entropy(z, label)
    r.track(4, loss=loss, accuracy=accuracy(z, label))
    r.minimize(loss, "net.", adam(0.001))


def project(r):
    """The project command: up through the network, one map kept, and back by unpooling, relu and transposed convolution. PyTorch's kernels of both
    ways are the same tensor."""
    x = r.file("t10k-images-idx3-ubyte.gz")[:, None] / 255.0
    c1, c2 = kernel(r("net.c1.w", 5, 5, 1, 3)), kernel(r("net.c2.w", 5, 5, 3, 4))
    a1 = F.relu(F.conv2d(x, c1, r("net.c1.b", 3), padding=2))
    p1, i1 = F.max_pool2d(a1, 2, return_indices=True)
    p2, i2 = F.max_pool2d(F.relu(F.conv2d(p1, c2, r("net.c2.b", 4), padding=2)), 2, return_indices=True)
    top = torch.zeros_like(p2)
    top[:, 1] = p2[:, 1] * (p2[:, 1] == p2[:, 1].amax((1, 2), keepdim=True))
    u2 = F.relu(F.max_unpool2d(top, i2, 2))
    u1 = F.relu(F.max_unpool2d(F.conv_transpose2d(u2, c2, padding=2), i1, 2))
    y = F.conv_transpose2d(u1, c1, padding=2)
    y = 0.5 + 0.5 * y / (y.abs().amax((1, 2, 3), keepdim=True) + 1e-8)
    return torch.cat([x, y], 3)[:, 0]


def conv1d(r, i):
    rows = r.file("monthly-sunspots.csv")
    windows = rows.unfold(0, 144, 1) / 100
    def predict(y):
        x = y[:, None, :132]
        def layer(k, x, C, d): return F.relu(F.conv1d(x, kernel(r(f"net.conv_{k}.w", 7, x.shape[1], C)), r(f"net.conv_{k}.b", C), padding=3 * d,
                                                      dilation=d))
        x = layer(3, F.max_pool1d(layer(2, F.max_pool1d(layer(1, x, 3, 1), 2), 4, 2), 2), 4, 2)
        return dense(r, "net.dense_1", x.transpose(1, 2).flatten(1), 12)
    y = windows[:10][4 * i:4 * i + 4]
    loss = F.mse_loss(predict(y), y[:, 132:])
    r.track(len(y), loss=loss)
    r.minimize(loss, "net.", adam(0.001))
    if i == r.system.steps - 1 or r.reveal:
        y = windows[10:16]
        for at in (0, 4): r.track(len(y[at:at + 4]), test_loss=F.mse_loss(predict(y[at:at + 4]), y[at:at + 4, 132:]),
                                  naive=F.mse_loss(y[at:at + 4, :12], y[at:at + 4, 132:]))


def video(r, i):
    film, way = r.given("film"), r.given("way")
    def layer(k, x, C): return F.relu(F.conv3d(x, kernel(r(f"net.conv_{k}.w", 3, 3, 3, x.shape[1], C)), r(f"net.conv_{k}.b", C), padding=1))
    x = F.max_pool3d(layer(1, first(film), 2), (1, 2, 2))
    z = dense(r, "net.dense_1", layer(3, F.max_pool3d(layer(2, x, 3), 2), 3).mean((2, 3, 4)), 4)
    loss = F.cross_entropy(z, way)
    r.track(1, loss=loss, accuracy=accuracy(z, way))
    r.minimize(loss, "net.", adam(0.002))


def conv_as_dense(r, i):
    x, label = digits(r, i, 4)
    x = F.max_pool2d(F.relu(conv2(r, "net.c1", x[:, None], 3, 3)), 2)
    x = F.max_pool2d(F.relu(conv2(r, "net.c2", x, 4, 3)), 2)
    W, b = r("net.W", 7 * 7 * 4, 10), r("net.b", 10)
    z = F.conv2d(x, kernel(W.reshape(7, 7, 4, 10)), b)[:, :, 0, 0]  # as the convolution; the sample trains it as the dense layer
    loss = F.cross_entropy(z, label)
    r.track(4, loss=loss, accuracy=accuracy(z, label))
    r.minimize(loss, "net.", adam(0.001))


def rnn_module(r, name, x, H, backwards=False):
    module = torch.nn.RNN(x.shape[-1], H, batch_first=True)
    b = r(name + ".b", H)
    return run_module(module, x, r(name + ".W", x.shape[-1], H).T, r(name + ".U", H, H).T, b, torch.zeros_like(b))


def rnn(r, i):
    x = r.given("x")
    y = x.cumsum(1) % 2
    many = real(x.sum(1) > 3)
    def outputs(name): return dense(r, name + ".dense_1", rnn_module(r, name + ".rnn_1.cell", x[..., None], 3), 1)[..., 0]
    def at_mean(): return dense(r, "at_mean.dense_1", rnn_module(r, "at_mean.rnn_1.cell", x[..., None], 3).mean(1), 1)[..., 0]
    before = torch.cat([torch.zeros(4, 1), y[:, :-1]], 1)
    def fed(): return dense(r, "fed.outer", torch.tanh(dense(r, "fed.inner", torch.stack([x, before], -1), 4)), 1)[..., 0]
    bce = F.binary_cross_entropy_with_logits
    losses = {"last_loss": bce(outputs("at_last")[:, -1], x[:, 0]), "mean_loss": bce(at_mean(), many), "every_loss": bce(outputs("at_all"), y),
              "fed_loss": bce(fed(), y)}
    r.track(1, **losses)
    for loss, over in zip(losses.values(), ("at_last.", "at_mean.", "at_all.", "fed.")): r.minimize(loss, over, adam(0.005))


def birnn(r, i):
    x = r.given("x")
    y = real(F.conv1d(x.mT, torch.ones(1, 1, 5), padding=2).mT > 2.5)
    def two_ways():
        module = torch.nn.RNN(1, 3, batch_first=True, bidirectional=True)
        weights = [w for k in "12" for w in (r(f"b.two_ways_1.W{k}", 1, 3).T, r(f"b.two_ways_1.U{k}", 3, 3).T, r(f"b.two_ways_1.b{k}", 3),
                                             torch.zeros(3))]
        return dense(r, "b.dense_1", run_module(module, x, *weights), 1)
    def library():
        def way(name, x):
            h, out = torch.zeros(3, 3), []
            for t in range(x.shape[1]):
                h = gru_old(x[:, t], h, lambda k: r(f"c.bidirectional_1.{name}.cell.{k}", *{"W": (1, 3), "U": (3, 3), "b": (3,)}[k[0]]))
                out.append(h)
            return torch.stack(out, 1)
        return dense(r, "c.dense_1", torch.cat([way("forward", x), way("backward", x.flip(1)).flip(1)], -1), 1)
    bce = F.binary_cross_entropy_with_logits
    losses = {"a_loss": bce(dense(r, "a.dense_1", rnn_module(r, "a.rnn_1.cell", x, 3), 1), y), "b_loss": bce(two_ways(), y),
              "c_loss": bce(library(), y)}
    r.track(1, **losses)
    for loss, over in zip(losses.values(), ("a.", "b.", "c.")): r.minimize(loss, over, adam(0.01))


def deep_rnn(kind):
    def states(r, x):
        if kind == "stacked":
            module = torch.nn.RNN(28, 4, 3, batch_first=True)
            weights = []
            for k in (1, 2, 3):
                n = f"net.stacked_1.rnn_{k}.cell."
                weights += [r(n + "W", 28 if k == 1 else 4, 4).T, r(n + "U", 4, 4).T, r(n + "b", 4), torch.zeros(4)]
            return run_module(module, x, *weights)[:, -1]
        n = "net.skip_rnn_1." if kind == "skip" else "net.leaky_1."
        W = r(n + "W", 28, 4)
        if kind == "leaky": return torch.tanh(x).sum(1) @ W  # h + W g(x), summed up
        U, V, b = r(n + "U", 4, 4), r(n + "V", 4, 4), r(n + "b", 4)
        h = [torch.zeros(len(x), 4)] * 4
        for t in range(28): h.append(torch.tanh(x[:, t] @ W + h[-1] @ U + h[-4] @ V + b))
        return h[-1]
    def step(r, i):
        x, label = digits(r, i, 4)
        z = dense(r, "net.dense_1", torch.tanh(states(r, x)), 10)
        loss = F.cross_entropy(z, label)
        r.track(4, loss=loss, accuracy=accuracy(z, label))
        r.minimize(loss, "net.", adam(0.001), clip=1)
    return step


def lstm(kind):
    def step(r, i):
        x, label = digits(r, i, 4)
        p = lambda k: r(f"net.memory_1.{k}", *((4,) if k[0] == "b" else (4, 4) if k[0] == "P" else (32, 4)))
        if kind == "plain": h = run_module(torch.nn.LSTM(28, 4, batch_first=True), x,
                                           *lstm_weights(*[p(k) for k in ("Wf", "Wi", "Wc", "Wo", "bf", "bi", "bc", "bo")]))[:, -1]
        else:
            h = c = torch.zeros(4, 4)
            for t in range(28):
                if kind == "coupled": h, c = coupled(x[:, t], h, c, *[p(k) for k in ("Wf", "Wc", "Wo", "bf", "bc", "bo")])
                else:
                    hx = torch.cat([h, x[:, t]], 1)
                    f, i_ = (torch.sigmoid(hx @ p("W" + k) + c @ p("P" + k) + p("b" + k)) for k in "fi")
                    c = f * c + i_ * torch.tanh(hx @ p("Wc") + p("bc"))
                    h = torch.sigmoid(hx @ p("Wo") + c @ p("Po") + p("bo")) * torch.tanh(c)
        z = dense(r, "net.dense_1", h, 10)
        loss = F.cross_entropy(z, label)
        r.track(4, loss=loss, accuracy=accuracy(z, label))
        r.minimize(loss, "net.", adam(0.002))
    return step


def number_words(parts):
    """The rule of vocabularies: from 2 by falling frequency, ties by first appearance."""
    count = {}
    for w in parts: count[w] = count.get(w, 0) + 1
    return {w: k + 2 for k, w in enumerate(sorted(count, key=lambda w: -count[w]))}  # sorted keeps the order of equal ones


def gru(kind):
    def step(r, i):
        names = [(name, k) for k, lines in enumerate(v for _, (_, _, v) in sorted(r.system.files.items())) for name in lines]
        letters = number_words("".join(name + "\n" for name, _ in names))  # of the files: ends of lines are characters
        batch = names[:8][4 * i:4 * i + 4]
        tokens = torch.zeros(4, 20, dtype=torch.long)
        for b, (name, _) in enumerate(batch): tokens[b, :len(name)] = torch.tensor([letters[c] for c in name])
        label = torch.tensor([k for _, k in batch])
        x = F.embedding(tokens, r("net.embedding_1.E", 96, 3))
        p = lambda k: r(f"net.gated_1.{k}", *((4,) if k[0] in "bc" else (4, 4) if k[0] == "U" else (3, 4)))
        Wz, Wr, W, Uz, Ur, U, bz, br, b = (p(k) for k in ("Wz", "Wr", "W", "Uz", "Ur", "U", "bz", "br", "b"))
        h = torch.zeros(4, 4)
        if kind == "after":  # PyTorch's module on every name alone, as long as it is; its z is our 1 - z
            module, rows = torch.nn.GRU(3, 4, batch_first=True), []
            for k, (name, _) in enumerate(batch):
                rows.append(run_module(module, x[k:k + 1, :len(name)], *gru_weights(-Wz, Wr, W, -Uz, Ur, U, -bz, br, b, p("c")))[:, -1])
            h = torch.cat(rows)
        else:
            for t in range(20): h = torch.where((tokens[:, t] != 0)[:, None], gru_before(x[:, t], h, -Wz, Wr, W, -Uz, Ur, U, -bz, br, b), h)
        z = dense(r, "net.dense_1", h, 3)
        loss = F.cross_entropy(z, label)
        r.track(4, loss=loss, accuracy=accuracy(z, label))
        r.minimize(loss, "net.", adam(0.002))
    return step


def table(n):
    with open(os.path.join(HERE, "..", "..", "samples", "data", "digits.csv")) as f: rows = torch.tensor([[float(v) for v in next(f).split(",")]
        for _ in range(n)])
    return rows[:, :64], rows[:, 64].long()


def one_to_many(r, i):
    x, label = (v[4 * i:4 * i + 4] for v in table(12))
    rows = x.reshape(4, 8, 8) / 16
    v = torch.cat([real(F.one_hot(label, 10)), torch.zeros(4, 2)], 1)
    h, out = torch.tanh(dense(r, "net.start", v, 5)), []
    for t in range(8):
        above = rows[:, t - 1] if t else torch.zeros(4, 8)
        h = gru_old(torch.cat([above, v], 1), h, lambda k: r("net.cell." + k, *{"W": (20, 5), "U": (5, 5), "b": (5,)}[k[0]]))
        out.append(torch.sigmoid(dense(r, "net.out", h, 8)))
    loss = F.mse_loss(torch.stack(out, 1), rows)
    r.track(4, loss=loss)
    r.minimize(loss, "net.", adam(0.002))


def attention(how="dot", reach="global", hard=False):
    def step(r, i):
        keys, values, query, hint, answer = (r.given(k) for k in ("keys", "values", "query", "hint", "answer"))
        if how == "mlp": e = torch.tanh((query @ r("net.W", 4, 16))[:, None] + keys @ r("net.U", 4, 16)) @ r("net.v", 16)
        else:
            q, k = dense(r, "net.q", query, 4), dense(r, "net.k", keys, 4)
            e = torch.einsum("bk,btk->bt", q, k) if how == "dot" else r("net.sharp") * torch.einsum("bk,btk->bt", q,
                k) / (q.norm(dim=-1)[:, None] * k.norm(dim=-1) + 1e-8)
        if reach == "local":
            far = torch.arange(5.0) - hint[:, None]
            p = torch.softmax(e.masked_fill(far.abs() > 3, -torch.inf), -1) * torch.exp(-far ** 2 / (2 * 1.5 ** 2))
        else: p = torch.softmax(e, -1)
        E, b = r("net.E.E", 8, 16), r("baseline")
        if hard:
            drawn = r.given("drawn")
            z = dense(r, "net.out", F.embedding(values.gather(1, drawn[:, None])[:, 0], E), 8)
            R = F.log_softmax(z, -1).gather(1, answer[:, None])[:, 0].detach()
            loss = F.cross_entropy(z, answer) - ((R - b) * torch.log(p.gather(1, drawn[:, None])[:, 0] + 1e-9)).mean()
            with torch.no_grad(): r.tensors["baseline"] = 0.95 * b + 0.05 * R.mean()
        else:
            z = dense(r, "net.out", torch.einsum("bt,btd->bd", p, F.embedding(values, E)), 8)
            loss = F.cross_entropy(z, answer)
        r.track(1, loss=loss, accuracy=accuracy(z, answer))
        r.minimize(loss, "net.", adam(0.003))
    return step


def transformer(r, i):
    T, D, heads = 6, 8, 2
    text = torch.tensor(list(r.system.files["input.txt"][2].encode()))
    window = torch.stack([text[(3 * i + b) * T:(3 * i + b) * T + T + 1] for b in range(3)])
    x = 0.3 * F.embedding(window[:, :T], r("net.embedding_1.E", 128, D)) + real(positions(T, D))
    causal = torch.triu(torch.ones(T, T, dtype=torch.bool), 1)
    for l in (1, 2):  # PyTorch's own layer, with the norm in front and without dropout
        layer = torch.nn.TransformerEncoderLayer(D, heads, 4 * D, 0.0, F.gelu, batch_first=True, norm_first=True)
        n = f"net.block_{l}."
        def linear(name, a, b): return r(n + name + ".w", a, b).T, r(n + name + ".b", b)
        parts = [linear(f"self_attention_1.dense_{k}", D, D) for k in (1, 2, 3, 4)]
        weights = {"self_attn.in_proj_weight": torch.cat([w for w, _ in parts[:3]]), "self_attn.in_proj_bias": torch.cat([b for _, b in parts[:3]]),
                   "self_attn.out_proj.weight": parts[3][0], "self_attn.out_proj.bias": parts[3][1]}
        for k, name in (("linear1", ("dense_1", D, 4 * D)), ("linear2",
                                                             ("dense_2", 4 * D, D))): weights[k + ".weight"], weights[k + ".bias"] = linear(*name)
        for k in "12": weights[f"norm{k}.weight"], weights[f"norm{k}.bias"] = r(f"{n}layer_norm_{k}.γ", D), r(f"{n}layer_norm_{k}.β", D)
        x = torch.func.functional_call(layer, weights, (x,), {"src_mask": causal})
    z = dense(r, "net.dense_1", F.layer_norm(x, [D], r("net.layer_norm_1.γ", D), r("net.layer_norm_1.β", D)), 128)
    loss = F.cross_entropy(z.flatten(0, 1), window[:, 1:].flatten())
    r.track(3, loss=loss)
    lr = 0.001 * min((i + 1) / 200, 1)
    r.minimize(loss, "net.", lambda ws: torch.optim.AdamW(ws, lr, weight_decay=0.01), lr=lr, clip=1)


def parse_tree(text):
    """("(3 left right)" or "(2 word)") -> (label, word or None, left, right)"""
    tokens = re.findall(r"[()]|[^()\s]+", text)
    def node(at):
        assert tokens[at] == "("
        label = int(tokens[at + 1])
        if tokens[at + 2] != "(": return (label, tokens[at + 2], None, None), at + 4
        left, at = node(at + 2)
        right, at = node(at)
        return (label, None, left, right), at + 1
    return node(0)[0]


def tree_rnn(r, i):
    """Recursion over the trees themselves; the sample fills an array from the leaves up."""
    lines = r.system.files["sst/train.txt"][2]
    known = {w: k for w, k in number_words([w for line in lines for w in re.findall(r"\d (\w+)\)", line)]).items() if k < 9}
    W, b, E = r("net.W", 6, 3), r("net.b", 3), r("net.embedding_1.E", 9, 3)
    r("net.dense_1.w", 3, 5), r("net.dense_1.b", 5)
    z, labels = [], []
    def vector(node):
        label, word, left, right = node
        h = torch.tanh(E[known.get(word, 1)]) if word else torch.tanh(torch.cat([vector(left), vector(right)]) @ W + b)
        z.append(dense(r, "net.dense_1", h, 5))
        labels.append(label)
        return h
    for line in lines[:6][3 * i:3 * i + 3]: vector(parse_tree(line))
    loss = F.cross_entropy(torch.stack(z), torch.tensor(labels))
    r.track(3, loss=loss)
    r.minimize(loss, "net.", adam(0.002))


def semisup(r, i):
    x, label = table(1500)
    xs, label, us = x[:200][3 * i:3 * i + 3] / 16, label[:200][3 * i:3 * i + 3], x[200:][5 * i:5 * i + 5] / 16
    def encode(name, x): return torch.tanh(dense(r, name + ".l2", torch.tanh(dense(r, name + ".l1", x, 6)), 4))
    z = dense(r, "net.head", encode("net", xs), 10)
    back = torch.tanh(encode("net", us) @ r("net.l2.w", 6, 4).T + r("net.b1", 6)) @ r("net.l1.w", 64, 6).T + r("net.b0", 64)
    loss = F.cross_entropy(z, label) + F.mse_loss(back, us)
    r.track(3, loss=loss, accuracy=accuracy(z, label))
    r.minimize(loss, "net.", adam(0.001))
    loss2 = F.cross_entropy(dense(r, "other.head", encode("other", xs), 10), label)
    apart = sum(((r.tensors[f"net.{k}"] - r.tensors[f"other.{k}"]) ** 2).sum() for k in ("l1.w", "l1.b", "l2.w", "l2.b"))
    r.minimize(loss2 + 0.0001 * apart, "other.", adam(0.001))


NETWORKS = {"lenet5": lenet5, "alexnet": alexnet, "vgg16": vgg([3, 3, 0, 4, 4, 0, 5, 5, 5, 0, 6, 6, 6, 0, 6, 6, 6, 0]),
            "vgg11": vgg([3, 0, 4, 0, 5, 5, 0, 6, 6, 0, 6, 6, 0]),
            "googlenet": googlenet, "resnet20": resnet(20), "resnet18": resnet(18), "resnet50": resnet(50), "deconvnet": deconvnet,
            "conv1d": conv1d, "video": video, "conv_as_dense": conv_as_dense,
            "rnn": rnn, "birnn": birnn, "one_to_many": one_to_many, "attention, hard": attention(hard=True), "transformer": transformer,
            "tree_rnn": tree_rnn, "semisup": semisup,
            **{f"deep_rnn, {k}": deep_rnn(k) for k in ("stacked", "skip", "leaky")},
            **{f"lstm, {k}": lstm(k) for k in ("plain", "peephole", "coupled")},
            **{f"gru, {k}": gru(k) for k in ("before", "after")},
            **{f"attention, {how}, {reach}": attention(how, reach) for how, reach in (("dot", "global"), ("cosine", "global"), ("mlp", "global"),
                ("dot", "local"))}}


def numbers(name):
    step, finish = NETWORKS[name] if isinstance(NETWORKS[name], tuple) else (NETWORKS[name], None)
    result = {}
    for kind in ("gradients", "training"):
        r = Run(name, kind == "gradients")
        for i in range(1 if r.reveal else r.system.steps): step(r, i)
        if finish and not r.reveal:
            with torch.no_grad(): finish(r)
        r.tracked = {k: total / count for k, (total, count) in r.tracked.items()}
        if r.reveal: r.tracked = {k: v for k, v in r.tracked.items() if not k.startswith(("test", "naive"))}  # the weights are gradients by then
        if r.reveal:
            torch.set_default_dtype(torch.float32)
            rounded = Run(name, True)
            step(rounded, 0)
            torch.set_default_dtype(torch.float64)
            distance = {k: (x - rounded.tensors[k]).norm().item() for k, x in r.tensors.items()}
        result["shapes"] = {k: list(x.shape) for k, x in r.tensors.items()}
        result[kind] = {"tracked": r.tracked, "tensors": {k: inputs.summary(list(x.shape), x.detach().flatten().tolist(), 3) for k,
                                                          x in r.tensors.items()}}
    for k, d in distance.items(): result["gradients"]["tensors"][k]["f32"] = float(f"{d:.2g}")
    if name == "deconvnet":
        with torch.no_grad(): both = project(Run(name, False))
        result["outputs"] = {"both": inputs.summary(list(both.shape), both.flatten().tolist())}
    return result


if __name__ == "__main__":
    path = os.path.join(HERE, "systems.json")
    result = {}
    if sys.argv[1:]:
        with open(path) as f: result = json.load(f)["systems"]
    for name in sys.argv[1:] or systems.SYSTEMS:
        result[name] = numbers(name)
        print(name, flush=True)
    text = json.dumps({"torch": torch.__version__, "systems": inputs.shortened({k: result[k] for k in systems.SYSTEMS if k in result})}, indent=1,
                      ensure_ascii=False)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
    text = re.sub(r"\{\s+(\"shape\".*?)\s+\}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", text, flags=re.S)
    with open(path, "w") as f: f.write(text + "\n")
