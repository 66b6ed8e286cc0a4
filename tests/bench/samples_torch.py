"""Training-step times of the networks of samples/*.nn in PyTorch: eager, f32, at the samples' own sizes and batches.

usage: python3 samples_torch.py [--threads N] [--only NAME,...] [--seconds S] [--no-track] [--fused] [--channels-last] [--batch N]
prints one JSON line a network: name, threads, batch, median ms a step, number of steps measured, number of trained scalars.

A step is the body of the innermost training loop of the command `train` for one batch: what it draws or changes of the batch, forward, backward,
clipping, update, and what it tracks (--no-track leaves that out); not the loading of the batch. Batches are random and made once; pictures come as u8.
First values of the parameters are PyTorch's. --fused takes the one-kernel optimizers (Adam, AdamW, SGD) for the default ones, --channels-last puts
the kernels of 2-D convolutions, and with them the maps, in that order. --batch is that of networks on pictures of ImageNet's size (their own: 128, 64, 64).
Not the sample's way, but the same function: state-independent products stand before the loops over time, masks that only keep padding out of a
recurrence are one look-up of the last real step, weight decay is the optimizer's. The first convolutions of googlenet and both of caption pad alike on
both sides, where `same` has an odd zero at the end. nn.RNN and nn.LSTM have two bias vectors where the samples have one, so a few more parameters.
dbn has no `train`: a step of it is one batch for each of the three machines of `pretrain`. A step of hopfield is one recall; it has no parameters.
tree_rnn computes nodes of equal height together, without padding; tree_rnn_padded (by --only) goes from node to node of the padded arrays.
"""
import argparse, gc, json, math, statistics, time
import torch, torch.nn as nn, torch.nn.functional as F
from torch.nn import Conv1d, Conv2d, Conv3d, Dropout, Embedding, Flatten, Linear, MaxPool1d, MaxPool2d, MaxPool3d, ReLU, Sequential, Sigmoid, Tanh

ap = argparse.ArgumentParser()
ap.add_argument("--threads", type=int, default=1)
ap.add_argument("--only", default="")
ap.add_argument("--seconds", type=float, default=3.0)
ap.add_argument("--no-track", action="store_true")
ap.add_argument("--fused", action="store_true")
ap.add_argument("--channels-last", action="store_true")
ap.add_argument("--batch", type=int)
a = ap.parse_args()
torch.set_num_threads(a.threads)
CE, BCE = F.cross_entropy, F.binary_cross_entropy_with_logits
W, EXTRA = {}, {}
def sample(f): W[f.__name__] = f; return f
def extra(f): EXTRA[f.__name__] = f; return f

# ---- pieces: a network is a function that gives (step, batch size, what is trained) ----

fused = dict(fused=True) if a.fused else {}
def adam(params, lr, **k): return torch.optim.Adam(params, lr, **k, **fused)
def sgd(params, lr, **k): return torch.optim.SGD(params, lr, **k, **fused)
def minimize(loss, opt, clip=None, inputs=None):
    opt.zero_grad(set_to_none=True)
    loss.backward(inputs=inputs)
    if clip: nn.utils.clip_grad_norm_(opt.param_groups[0]["params"], clip)
    opt.step()

sums = {}
def track(n, **values):  # running sums, weighted by the samples; never waited for
    if a.no_track: return
    for k, v in values.items():
        if k not in sums: sums[k] = torch.zeros(())
        sums[k].add_(v.detach(), alpha=n)
def accuracy(z, y): return None if a.no_track else (z.argmax(-1) == y).float().mean()
def top_k(z, y, k): return None if a.no_track else (z.topk(k).indices == y[:, None]).any(1).float().mean()

def classifier(net, opt, x, y, prepare, clip=None, top_5=False):
    def step():
        z = net(prepare(x)); loss = CE(z, y)
        minimize(loss, opt, clip)
        track(len(y), loss=loss, accuracy=accuracy(z, y), **(dict(top_5=top_k(z, y, 5)) if top_5 else {}))
    return step, len(y), net
def images(B, C, side, classes=10): return torch.randint(0, 256, (B, C, side, side), dtype=torch.uint8), torch.randint(0, classes, (B,))
def rows(B): x, y = images(B, 1, 28); return x[:, 0], y
def share(x): return x / 255
def centred(x): return (x / 128).sub_(1)
def digit_table(B): return torch.randint(0, 17, (B, 64)).float(), torch.randint(0, 10, (B,))
def sixteenth(x): return x / 16
def tosses(*shape): return torch.empty(shape).bernoulli_(0.5)

class GRU(nn.Module):
    """The reset gate stands before the product, (r h) U; in nn.GRU behind it, r (h U): another function. x: [T, B, D], time first."""
    def __init__(s, D, H): super().__init__(); s.x, s.zr, s.c, s.H = Linear(D, 3 * H), Linear(H, 2 * H, bias=False), Linear(H, H, bias=False), H
    def forward(s, x, h=None):
        if h is None: h = x.new_zeros(x.shape[1], s.H)
        gates, inner = s.x(x).split([2 * s.H, s.H], -1)
        Uzr, U, hs = s.zr.weight.t(), s.c.weight.t(), []
        for g, c in zip(gates.unbind(), inner.unbind()): h = s.step(g, c, h, Uzr, U); hs.append(h)
        return torch.stack(hs)
    @staticmethod
    def step(g, c, h, Uzr, U):
        z, r = torch.addmm(g, h, Uzr).sigmoid().chunk(2, -1)
        return torch.lerp(torch.addmm(c, r * h, U).tanh(), h, z)
class Bidirectional(nn.Module):
    """Two GRUs, one from each end, side by side in one loop; time first."""
    def __init__(s, D, H):
        super().__init__(); s.f, s.b, s.H, k = Linear(D, 3 * H), Linear(D, 3 * H), H, H ** -0.5
        s.zr, s.c = (nn.Parameter(torch.empty(2, H, n * H).uniform_(-k, k)) for n in (2, 1))
    def forward(s, x):
        gates, inner = torch.stack([s.f(x), s.b(x.flip(0))], 1).split([2 * s.H, s.H], -1)
        h, hs = x.new_zeros(2, x.shape[1], s.H), []
        for g, c in zip(gates.unbind(), inner.unbind()):
            z, r = torch.baddbmm(g, h, s.zr).sigmoid().chunk(2, -1)
            h = torch.lerp(torch.baddbmm(c, r * h, s.c).tanh(), h, z); hs.append(h)
        forward, backward = torch.stack(hs, 1)
        return torch.cat([forward, backward.flip(0)], -1)
class Last(nn.Module):  # states after every step, then a layer on the last
    def __init__(s, kind, out, act=nn.Identity()): super().__init__(); s.r, s.o, s.act = kind, out, act
    def forward(s, x): return s.o(s.act(s.r(x)[0][:, -1]))
class States(nn.Module):  # a layer on every state
    def __init__(s, kind, out): super().__init__(); s.r, s.o = kind, out
    def forward(s, x): return s.o(s.r(x)[0])

# ---- dense ----

@sample
def digits():
    net = Sequential(Linear(64, 64), ReLU(), Linear(64, 64), ReLU(), Linear(64, 10))
    return classifier(net, adam(net.parameters(), 0.001), *digit_table(32), sixteenth)
@sample
def mlp():
    net = Sequential(Flatten(), Linear(784, 300), Sigmoid(), Linear(300, 10))
    return classifier(net, sgd(net.parameters(), 0.5), *images(10, 1, 28), share)
@sample
def regularize():
    net = Sequential(Flatten(), Linear(784, 256), ReLU(), Linear(256, 256), ReLU(), Linear(256, 10))
    return classifier(net, adam(net.parameters(), 0.001), *images(50, 1, 28), share)
@sample
def ensemble():  # the five are trained one after the other, each by steps like this one
    nets = nn.ModuleList(Sequential(Linear(64, 32), ReLU(), Linear(32, 10)) for _ in range(5))
    step, B, _ = classifier(nets[0], adam(nets[0].parameters(), 0.001), *digit_table(50), sixteenth)
    return step, B, nets
@sample
def multitask():
    trunk = Sequential(Linear(64, 64), ReLU(), Linear(64, 32), ReLU()); digit, ink = Linear(32, 10), Linear(32, 1)
    net = nn.ModuleList([trunk, digit, ink]); opt = adam(net.parameters(), 0.001); x, y = digit_table(32)
    def step():
        xs = x / 16; t = trunk(xs); z = digit(t)
        loss = CE(z, y) + 0.5 * F.mse_loss(ink(t), xs.mean(1, keepdim=True))
        minimize(loss, opt); track(32, loss=loss, accuracy=accuracy(z, y))
    return step, 32, net
@sample
def semisup():
    def encoder(): return Sequential(Linear(64, 48), Tanh(), Linear(48, 24), Tanh())
    e, head, e2, head2 = encoder(), Linear(24, 10), encoder(), Linear(24, 10)
    b1, b0 = nn.Parameter(torch.zeros(48)), nn.Parameter(torch.zeros(64))
    mine, others = [*e.parameters(), *head.parameters(), b1, b0], [*e2.parameters(), *head2.parameters()]
    opt, opt2 = adam(mine, 0.001), adam(others, 0.001)
    (x, y), (u, _) = digit_table(20), digit_table(130)
    def step():
        xs, us = x / 16, u / 16
        z = head(e(xs))
        back = F.linear(torch.tanh(F.linear(e(us), e[2].weight.t(), b1)), e[0].weight.t(), b0)  # tied: the encoder's weights, transposed
        loss = CE(z, y) + F.mse_loss(back, us)
        minimize(loss, opt)
        apart = sum(F.mse_loss(q, p.detach(), reduction="sum") for p, q in zip(e.parameters(), e2.parameters()))
        minimize(CE(head2(e2(xs)), y) + 0.0001 * apart, opt2)
        track(20, loss=loss, accuracy=accuracy(z, y))
    return step, 20, mine + others
@sample
def perceptron():
    one, two = Linear(2, 1), Sequential(Linear(2, 2), Sigmoid(), Linear(2, 1))
    o1, o2 = sgd(one.parameters(), 0.05), sgd(two.parameters(), 0.05, momentum=0.9)
    i = torch.arange(100); x = 0.4 * torch.stack([i // 10, i % 10], -1).float(); y = torch.sign((x[:, 0] - x[:, 1]).abs() - 1)[:, None]
    def step():
        for net, opt in ((one, o1), (two, o2)): minimize(F.relu(1 - y * net(x)).mean(), opt)
    return step, 100, [*one.parameters(), *two.parameters()]
@sample
def autoencoder():
    net = Sequential(Linear(784, 128), Sigmoid(), Linear(128, 784)); opt = adam(net.parameters(), 0.001); image, _ = images(100, 1, 28)
    def step():
        x = image.flatten(1) / 255; loss = BCE(net(x), x)
        minimize(loss, opt); track(100, loss=loss)
    return step, 100, net
@sample
def vae():
    e, m, l, d = Sequential(Linear(784, 256), ReLU()), Linear(256, 16), Linear(256, 16), Sequential(Linear(16, 256), ReLU(), Linear(256, 784))
    net = nn.ModuleList([e, m, l, d]); opt = adam(net.parameters(), 0.001); image, _ = images(100, 1, 28)
    def step():
        x = image.flatten(1) / 255; h = e(x); mu, logvar = m(h), l(h)
        z = mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)
        rebuilt = BCE(d(z), x, reduction="sum") / 100
        kl = 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum() / 100
        loss = rebuilt + kl
        minimize(loss, opt); track(100, elbo=-loss, rebuilt=rebuilt, kl=kl)
    return step, 100, net
@sample
def gan():
    leaky = lambda: nn.LeakyReLU(0.2)
    G = Sequential(Linear(64, 256), leaky(), Linear(256, 512), leaky(), Linear(512, 784), Tanh())
    D = Sequential(Linear(784, 256), leaky(), Dropout(0.3), Linear(256, 1))
    og, od = (adam(n.parameters(), 0.0002, betas=(0.5, 0.999)) for n in (G, D))
    image, _ = images(64, 1, 28); true, false, moved = torch.ones(64, 1), torch.zeros(64, 1), list(G.parameters())
    def step():
        real = (image.flatten(1) / 127.5).sub_(1); fake = G(torch.randn(64, 64))
        d_loss = BCE(D(real), true) + BCE(D(fake.detach()), false)
        minimize(d_loss, od)
        g_loss = BCE(D(fake), true)
        minimize(g_loss, og, inputs=moved)
        track(64, d_loss=d_loss, g_loss=g_loss)
    return step, 64, nn.ModuleList([G, D])

# ---- energies ----

class RBM:
    def __init__(s, V, H): s.w, s.a, s.b = 0.01 * torch.randn(V, H), torch.zeros(V), torch.zeros(H)
    def up(s, v): return torch.addmm(s.b, v, s.w).sigmoid_()
    def down(s, h): return torch.addmm(s.a, h, s.w.t()).sigmoid_()
    def learn(s, v, h, v2, lr):
        h2 = s.up(v2); n = lr / len(v)
        s.w.addmm_(v.t(), h, alpha=n).addmm_(v2.t(), h2, alpha=-n)
        s.a.add_((v - v2).mean(0), alpha=lr); s.b.add_((h - h2).mean(0), alpha=lr)
    def track(s, v):
        if not a.no_track: track(len(v), error=F.mse_loss(s.down(s.up(v)), v))
    def tensors(s): return [s.w, s.a, s.b]
@sample
def rbm():
    r = RBM(784, 256); image, _ = images(50, 1, 28)
    @torch.no_grad()
    def step():
        v = torch.bernoulli(image.flatten(1) / 255); h = r.up(v)
        v2 = torch.bernoulli(r.down(torch.bernoulli(h)))
        r.learn(v, h, v2, 0.05); r.track(v)
    return step, 50, r.tensors()
@sample
def dbn():
    rs = [RBM(784, 500), RBM(500, 500), RBM(500, 1000)]; image, _ = images(100, 1, 28)
    @torch.no_grad()
    def step():
        for depth, r in enumerate(rs):
            v = image.flatten(1) / 255
            for below in rs[:depth]: v = below.up(v)
            v = torch.bernoulli(v); h = r.up(v)
            r.learn(v, h, r.down(torch.bernoulli(h)), 0.05); r.track(v)
    return step, 100, [t for r in rs for t in r.tensors()]
@sample
def boltzmann():  # clamped units are not visited; the sample draws them too, and puts them back
    V, n, C, lr = 6, 10, 200, 0.05
    w = torch.randn(n, n); off = 1 - torch.eye(n); w = 0.05 * (w + w.t()) * off; b = torch.zeros(n)
    p, group = torch.tensor([0.7, 0.3]).expand(C, 2), torch.tensor([[1.0, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    def settle(x, free, T=4.0):
        units = x.unbind(1)
        for _ in range(15):
            ws, bs = (w / T).unbind(), (b / T).unbind()
            for k in torch.randperm(len(free)).tolist(): i = free[k]; units[i].bernoulli_(torch.addmv(bs[i], x, ws[i]).sigmoid_())
            T = max(0.85 * T, 1)
        return x
    @torch.no_grad()
    def step():
        held = settle(torch.cat([torch.bernoulli(p) @ group, tosses(C, n - V)], 1), range(V, n))
        free = settle(tosses(C, n), range(n))
        w.add_((held.t() @ held - free.t() @ free) * off, alpha=lr / C)
        b.add_(held.mean(0) - free.mean(0), alpha=lr)
    return step, C, [w, b]
@sample
def hopfield():  # one trial: a damaged letter is recalled; the energy before an update is that after the last one
    letters = ["10001100010101000100010101000110001", "01111100001000010000100001000001111", "00100010101000110001111111000110001"]
    x = torch.tensor([[2.0 * int(c) - 1 for c in l] for l in letters]); n = 35
    w = x.t() @ x / 3 * (1 - torch.eye(n)); b = torch.zeros(n); ws, bs = w.unbind(), b.unbind()
    good, largest = torch.zeros(()), torch.zeros(())
    def energy(y): return torch.dot(y, torch.addmv(b, w, y, alpha=-0.5))
    @torch.no_grad()
    def step():
        shown = x[torch.randint(0, 3, ())]
        y = torch.where(torch.randperm(n) < 7, -shown, shown); units = y.unbind(); e = energy(y)
        for _ in range(50):
            before = y.clone()
            for i in torch.randperm(n).tolist():
                u = torch.dot(ws[i], y) - bs[i]
                units[i].copy_(torch.where(u == 0, units[i], u.sign()))
                e, old = energy(y), e
                torch.maximum(largest, e - old, out=largest)
            if torch.equal(y, before): break
        good.add_((y == shown).all())
    return step, 1, []

# ---- convolutions ----

class Squash(nn.Module):
    def forward(s, x): return 1.7159 * torch.tanh(2 / 3 * x)
class Subsample(nn.Module):
    def __init__(s, C): super().__init__(); s.gain, s.b = nn.Parameter(torch.ones(C, 1, 1)), nn.Parameter(torch.zeros(C, 1, 1))
    def forward(s, x): return s.gain * F.avg_pool2d(x, 2) + s.b
@sample
def lenet5():
    net = Sequential(Conv2d(1, 6, 5, padding=2), Squash(), Subsample(6), Squash(), Conv2d(6, 16, 5), Squash(), Subsample(16), Squash(),
                     Conv2d(16, 120, 5), Squash(), Flatten(), Linear(120, 84), Squash(), Linear(84, 10))
    return classifier(net, sgd(net.parameters(), 0.05), *images(64, 1, 28), share)
@sample
def keras_cnn():
    net = Sequential(Conv2d(1, 32, 3), ReLU(), MaxPool2d(2), Conv2d(32, 64, 3), ReLU(), MaxPool2d(2), Conv2d(64, 64, 3), ReLU(),
                     Flatten(), Linear(576, 64), ReLU(), Linear(64, 10))
    return classifier(net, torch.optim.RMSprop(net.parameters(), 0.001, alpha=0.9, eps=1e-7), *images(64, 1, 28), share)
def two_convs(K):
    net = Sequential(Conv2d(1, 16, K, padding=K // 2), ReLU(), MaxPool2d(2), Conv2d(16, 32, K, padding=K // 2), ReLU(), MaxPool2d(2),
                     Flatten(), Linear(1568, 10))
    return classifier(net, adam(net.parameters(), 0.001), *images(64, 1, 28), share)
@sample
def conv_as_dense(): return two_convs(3)
@sample
def deconvnet(): return two_convs(5)
@sample
def conv1d():
    net = Sequential(Conv1d(1, 16, 7, padding=3), ReLU(), MaxPool1d(2), Conv1d(16, 32, 7, padding=6, dilation=2), ReLU(), MaxPool1d(2),
                     Conv1d(32, 32, 7, padding=6, dilation=2), ReLU(), Flatten(), Linear(1056, 12))
    opt = adam(net.parameters(), 0.001); spots = 200 * torch.rand(64, 144)
    def step():
        y = spots / 100; loss = F.mse_loss(net(y[:, None, :132]), y[:, 132:])
        minimize(loss, opt); track(64, loss=loss)
    return step, 64, net
@sample
def video():
    net = Sequential(Conv3d(1, 8, 3, padding=1), ReLU(), MaxPool3d((1, 2, 2)), Conv3d(8, 16, 3, padding=1), ReLU(), MaxPool3d(2),
                     Conv3d(16, 16, 3, padding=1), ReLU(), nn.AdaptiveAvgPool3d(1), Flatten(), Linear(16, 4))
    opt = adam(net.parameters(), 0.002); t, col = torch.arange(8) - 3.5, torch.arange(16.0)
    def films(B):
        way = torch.randint(0, 4, (B,))
        dx, dy = (way == 0).float() - (way == 1).float(), (way == 2).float() - (way == 3).float()
        x, y = 6 + 3 * torch.rand(B, 1) + dx[:, None] * t, 6 + 3 * torch.rand(B, 1) + dy[:, None] * t
        in_x, in_y = (x[:, :, None, None] - col).abs() <= 2, (y[:, :, None, None] - col[:, None]).abs() <= 2
        return (in_x & in_y).float()[:, None], way
    def step():
        film, way = films(32); z = net(film + 0.1 * torch.randn_like(film)); loss = CE(z, way)
        minimize(loss, opt); track(32, loss=loss, accuracy=accuracy(z, way))
    return step, 32, net
def relu(): return ReLU(inplace=True)
@sample
def alexnet():
    lrn = lambda: nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)  # PyTorch divides alpha by 5
    net = Sequential(Conv2d(3, 96, 11, 4), relu(), lrn(), MaxPool2d(3, 2), Conv2d(96, 256, 5, padding=2, groups=2), relu(), lrn(), MaxPool2d(3, 2),
                     Conv2d(256, 384, 3, padding=1), relu(), Conv2d(384, 384, 3, padding=1, groups=2), relu(),
                     Conv2d(384, 256, 3, padding=1, groups=2), relu(), MaxPool2d(3, 2), Flatten(),
                     Linear(9216, 4096), relu(), Dropout(0.5), Linear(4096, 4096), relu(), Dropout(0.5), Linear(4096, 1000))
    return classifier(net, sgd(net.parameters(), 0.01, momentum=0.9, weight_decay=0.0005), *images(a.batch or 128, 3, 227, 1000), centred)
@sample
def vgg16():
    L, c = [], 3
    for v in [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0]:
        if v == 0: L.append(MaxPool2d(2))
        else: L += [Conv2d(c, v, 3, padding=1), relu()]; c = v
    net = Sequential(*L, Flatten(), Linear(25088, 4096), relu(), Dropout(0.5), Linear(4096, 4096), relu(), Dropout(0.5), Linear(4096, 1000))
    return classifier(net, sgd(net.parameters(), 0.01, momentum=0.9, weight_decay=0.0005), *images(a.batch or 64, 3, 224, 1000), centred)
class Inception(nn.Module):
    def __init__(s, i, c1, b, c, p):
        super().__init__()
        s.a, s.b = Sequential(Conv2d(i, c1, 1), relu()), Sequential(Conv2d(i, b[0], 1), relu(), Conv2d(b[0], b[1], 3, padding=1), relu())
        s.c = Sequential(Conv2d(i, c[0], 1), relu(), Conv2d(c[0], c[1], 5, padding=2), relu())
        s.p = Sequential(MaxPool2d(3, 1, 1), Conv2d(i, p, 1), relu())
    def forward(s, x): return torch.cat([s.a(x), s.b(x), s.c(x), s.p(x)], 1)
@sample
def googlenet():
    pool = lambda: MaxPool2d(3, 2, ceil_mode=True)
    L, i = [], 192
    for m in [(64, (96, 128), (16, 32), 32), (128, (128, 192), (32, 96), 64), None, (192, (96, 208), (16, 48), 64), (160, (112, 224), (24, 64), 64),
              (128, (128, 256), (24, 64), 64), (112, (144, 288), (32, 64), 64), (256, (160, 320), (32, 128), 128), None,
              (256, (160, 320), (32, 128), 128), (384, (192, 384), (48, 128), 128)]:
        if m: L.append(Inception(i, *m)); i = m[0] + m[1][1] + m[2][1] + m[3]
        else: L.append(pool())
    net = Sequential(Conv2d(3, 64, 7, 2, 3), relu(), pool(), Conv2d(64, 64, 1), relu(), Conv2d(64, 192, 3, padding=1), relu(), pool(), *L,
                     nn.AdaptiveAvgPool2d(1), Flatten(), Dropout(0.4), Linear(1024, 1000))
    return classifier(net, sgd(net.parameters(), 0.01, momentum=0.9), *images(a.batch or 64, 3, 224, 1000), centred, top_5=True)
class Block(nn.Module):
    def __init__(s, i, o, st):
        super().__init__()
        s.c1, s.b1 = Conv2d(i, o, 3, st, 1, bias=False), nn.BatchNorm2d(o)
        s.c2, s.b2 = Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        s.sc = Sequential(Conv2d(i, o, 1, st, bias=False), nn.BatchNorm2d(o)) if st != 1 or i != o else nn.Identity()
    def forward(s, x): return F.relu(s.b2(s.c2(F.relu(s.b1(s.c1(x)), inplace=True))).add_(s.sc(x)), inplace=True)
@sample
def resnet():  # 0.0001 times the sum of squares of the weights of rank 2 and more is a weight decay of 0.0002
    L, i = [Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), relu()], 16
    for o, st in [(16, 1), (32, 2), (64, 2)]:
        for k in range(3): L.append(Block(i, o, st if k == 0 else 1)); i = o
    net = Sequential(*L, nn.AdaptiveAvgPool2d(1), Flatten(), Linear(64, 10))
    weights, rest = [p for p in net.parameters() if p.dim() > 1], [p for p in net.parameters() if p.dim() < 2]
    groups = [dict(params=weights, weight_decay=0.0002), dict(params=rest)]
    mean, std = (torch.tensor(v)[:, None, None] for v in ([0.4914, 0.4822, 0.4465], [0.247, 0.2435, 0.2616]))
    def prepare(x): x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x); return (x / 255).sub_(mean).div_(std)
    return classifier(net, sgd(groups, 0.1, momentum=0.9), *images(128, 3, 32), prepare)

# ---- recurrences ----

@sample
def lstm():
    net = Last(nn.LSTM(28, 64, batch_first=True), Linear(64, 10))
    return classifier(net, adam(net.parameters(), 0.002), *rows(64), share)
@sample
def deep_rnn():
    net = Last(nn.RNN(28, 64, 3, batch_first=True), Linear(64, 10), Tanh())
    return classifier(net, adam(net.parameters(), 0.001), *rows(64), share, clip=1)
@sample
def rnn():  # four networks that share nothing: one sum of losses and one optimizer do what four do
    def cell(): return nn.RNN(1, 16, batch_first=True)
    last, middle, every = Last(cell(), Linear(16, 1)), States(cell(), Linear(16, 1)), States(cell(), Linear(16, 1))
    fed = Sequential(Linear(2, 8), Tanh(), Linear(8, 1)); net = nn.ModuleList([last, middle, every, fed]); opt = adam(net.parameters(), 0.005)
    def step():
        x = tosses(64, 10); y = x.cumsum(1) % 2; xs, ys = x[..., None], y[..., None]
        before = F.pad(y[:, :-1], (1, 0))
        loss = BCE(last(xs), x[:, :1]) + BCE(middle.o(middle.r(xs)[0].mean(1)), (x.sum(1, keepdim=True) > 5).float())
        minimize(loss + BCE(every(xs), ys) + BCE(fed(torch.stack([x, before], -1)), ys), opt)
    return step, 64, net
@sample
def birnn():  # three networks that share nothing
    one, two = States(nn.RNN(1, 32, batch_first=True), Linear(32, 1)), States(nn.RNN(1, 16, batch_first=True, bidirectional=True), Linear(32, 1))
    three = Sequential(Bidirectional(1, 16), Linear(32, 1)); net = nn.ModuleList([one, two, three]); opt = adam(net.parameters(), 0.01)
    def step():
        x = tosses(64, 1, 20); y = (F.avg_pool1d(x, 5, 1, 2) > 0.5).float().mT; xs = x.mT
        minimize(BCE(one(xs), y) + BCE(two(xs), y) + BCE(three(xs.transpose(0, 1)), y.transpose(0, 1)), opt)
    return step, 64, net
@sample
def charnn():  # the state runs on, the gradient does not
    e, r, o = Embedding(128, 64), nn.LSTM(64, 256, batch_first=True), Linear(256, 128)
    net = nn.ModuleList([e, r, o]); opt = adam(net.parameters(), 0.002); book = torch.randint(0, 128, (32, 101), dtype=torch.uint8)
    state = [(torch.zeros(1, 32, 256), torch.zeros(1, 32, 256))]
    def step():
        t = book.long(); hs, (h, c) = r(e(t[:, :100]), state[0]); state[0] = h.detach(), c.detach()
        loss = CE(o(hs).flatten(0, 1), t[:, 1:].flatten())
        minimize(loss, opt, clip=5); track(32, loss=loss)
    return step, 32, net
def padded(B, T, words, lo):  # words from 2 on, then zeros; time first
    return torch.randint(2, words, (T, B)) * (torch.arange(T)[:, None] < torch.randint(lo, T + 1, (B,)))
@sample
def gru():
    e, r, o = Embedding(96, 32), GRU(32, 96), Linear(96, 18)
    net = nn.ModuleList([e, r, o]); opt = adam(net.parameters(), 0.002)
    name, y, all_ = padded(64, 20, 96, 3), torch.randint(0, 18, (64,)), torch.arange(64)
    def step():
        z = o(r(e(name))[(name != 0).sum(0) - 1, all_]); loss = CE(z, y)
        minimize(loss, opt); track(64, loss=loss, accuracy=accuracy(z, y))
    return step, 64, net
@sample
def sentiment():
    e, r, o, drop = Embedding(8000, 64), GRU(64, 64), Linear(128, 1), Dropout(0.5)
    net = nn.ModuleList([e, r, o]); opt = adam(net.parameters(), 0.003)
    text, good, all_ = padded(32, 40, 8000, 5), torch.randint(0, 2, (32,)), torch.arange(32)
    def step():
        mask = text != 0; n = mask.sum(0); hs = r(drop(e(text)))
        pooled = (hs * mask[..., None]).sum(0) / n.clamp(min=1)[:, None]
        z = o(drop(torch.cat([pooled, hs[n - 1, all_]], -1)))[:, 0]; y = good.float(); loss = BCE(z, y)
        minimize(loss, opt); track(32, loss=loss, **({} if a.no_track else dict(accuracy=((z > 0) == (good == 1)).float().mean())))
    return step, 32, net
@sample
def one_to_many():
    start, r, o = Linear(12, 128), GRU(20, 128), Linear(128, 8)
    net = nn.ModuleList([start, r, o]); opt = adam(net.parameters(), 0.002); x, label = digit_table(32)
    def step():
        wanted = (x / 16).view(32, 8, 8).transpose(0, 1)  # time first
        v = torch.cat([F.one_hot(label, 10), 0.1 * torch.randn(32, 2)], 1)
        above = F.pad(wanted[:-1], (0, 0, 0, 0, 1, 0))
        loss = F.mse_loss(torch.sigmoid(o(r(torch.cat([above, v.expand(8, 32, 12)], -1), torch.tanh(start(v))))), wanted)
        minimize(loss, opt); track(32, loss=loss)
    return step, 32, net
@sample
def caption():
    B, L = 32, 7
    look = Sequential(Conv2d(3, 16, 5, 2, 2), ReLU(), Conv2d(16, 32, 3, 2, 1), ReLU(), Flatten(), Linear(1152, 64), Tanh())
    e, r, o = Embedding(15, 32), nn.LSTM(32, 64, batch_first=True), Linear(64, 15)
    net = nn.ModuleList([look, e, r, o]); opt = adam(net.parameters(), 0.002); pixel, c0 = torch.arange(24.0), torch.zeros(1, B, 64)
    def scenes():
        colour, form, place = torch.randint(0, 3, (B,)), torch.randint(0, 2, (B,)), torch.randint(0, 4, (B,))
        row = 11.5 + 6 * ((place == 3).float() - (place == 2).float()) + 2 * torch.rand(B)
        col = 11.5 + 6 * ((place == 1).float() - (place == 0).float()) + 2 * torch.rand(B)
        dr, dc = (pixel[:, None] - row[:, None, None]).abs(), (pixel - col[:, None, None]).abs()
        ink = torch.where(form[:, None, None] == 0, dr.square() + dc.square() <= 16, (dr <= 3.5) & (dc <= 3.5))
        picture = ink[:, None].float() * F.one_hot(colour, 3)[:, :, None, None]
        say = lambda w: torch.full((B,), w)
        long = torch.stack([say(2), 3 + colour, 6 + form, say(8), say(9), 10 + place, say(14)], 1)
        short = torch.stack([say(2), 3 + colour, 6 + form, 10 + place, say(14), say(0), say(0)], 1)
        return picture, torch.where((place < 2)[:, None], long, short)
    def step():
        picture, words = scenes()
        hs, _ = r(e(F.pad(words[:, :-1], (1, 0), value=1)), (look(picture)[None], c0))
        loss = CE(o(hs).flatten(0, 1), words.flatten(), ignore_index=0)
        minimize(loss, opt); track(B, loss=loss)
    return step, B, net
class Translator(nn.Module):
    """Time first. What does not need the state is computed for all steps at once: U h_j, the letters' part of the cell's input, the output layer."""
    def __init__(s, V=128, H=96, A=64):
        super().__init__()
        s.e_in, s.e_out, s.enc, s.first = Embedding(V, 32), Embedding(V, 32), Bidirectional(32, H), Linear(2 * H, H)
        s.W, s.U, s.v = Linear(H, A, bias=False), Linear(2 * H, A, bias=False), nn.Parameter(torch.randn(A) / math.sqrt(A))
        s.cell, s.ctx, s.out, s.H = GRU(32, H), Linear(2 * H, 3 * H, bias=False), Linear(3 * H, V), H
    def forward(s, x, y):
        hs = s.enc(s.e_in(x)); h = torch.tanh(s.first(hs[0]))
        hs = hs.transpose(0, 1).contiguous(); keys, hidden = s.U(hs), (x == 0).t()
        given = s.cell.x(s.e_out(F.pad(y[:-1], (0, 0, 1, 0), value=1))).unbind()
        Wq, C, Uzr, U, out = s.W.weight.t(), s.ctx.weight.t(), s.cell.zr.weight.t(), s.cell.c.weight.t(), []
        for t in given:
            score = (torch.tanh((h @ Wq)[:, None] + keys) @ s.v).masked_fill(hidden, -1e9)
            c = torch.bmm(score.softmax(-1)[:, None], hs)[:, 0]
            g, i = torch.addmm(t, c, C).split([2 * s.H, s.H], -1)
            h = GRU.step(g, i, h, Uzr, U); out += [h, c]
        return s.out(torch.cat(out, -1).view(len(h), len(y), 3 * s.H))  # [B, L, V]
@sample
def seq2seq():
    net = Translator(); opt = adam(net.parameters(), 0.002)
    words, figures = padded(64, 48, 128, 10).to(torch.uint8).t().contiguous(), torch.randint(0, 128, (64, 8), dtype=torch.uint8)
    def step():
        y = figures.long(); loss = CE(net(words.long().t(), y.t()).flatten(0, 1), y.flatten())
        minimize(loss, opt, clip=1); track(64, loss=loss)
    return step, 64, net

# ---- attention, trees ----

@sample
def attention():
    B, T, K = 64, 12, 16
    e, o, q, k = Embedding(8, 16), Linear(16, 8), Linear(K, K), Linear(K, K)
    net = nn.ModuleList([e, o, q, k]); opt = adam(net.parameters(), 0.003); all_ = torch.arange(B)
    def step():
        keys, values, place = torch.randn(B, T, K), torch.randint(0, 8, (B, T)), torch.randint(0, T, (B,))
        query, answer = keys[all_, place] + 0.3 * torch.randn(B, K), values[all_, place]
        p = (q(query)[:, None] * k(keys)).sum(-1).softmax(-1)  # one query: quicker so than by F.scaled_dot_product_attention
        z = o((p[..., None] * e(values)).sum(1)); loss = CE(z, answer)
        minimize(loss, opt); track(B, loss=loss, accuracy=accuracy(z, answer))
    return step, B, net
class TBlock(nn.Module):
    def __init__(s, D, heads):
        super().__init__(); s.h, s.l1, s.l2, s.drop = heads, nn.LayerNorm(D), nn.LayerNorm(D), Dropout(0.1)
        s.qkv, s.p, s.f = Linear(D, 3 * D), Linear(D, D), Sequential(Linear(D, 4 * D), nn.GELU(), Linear(4 * D, D))
    def forward(s, x):
        B, T, D = x.shape
        q, k, v = s.qkv(s.l1(x)).view(B, T, 3, s.h, D // s.h).permute(2, 0, 3, 1, 4)
        x = x + s.drop(s.p(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, D)))
        return x + s.drop(s.f(s.l2(x)))
@sample
def transformer():
    T, D = 128, 128
    e, body = Embedding(128, D), Sequential(*[TBlock(D, 4) for _ in range(4)], nn.LayerNorm(D), Linear(D, 128))
    net = nn.ModuleList([e, body]); opt = torch.optim.AdamW(net.parameters(), 0.001, weight_decay=0.01, **fused)
    warmup = torch.optim.lr_scheduler.LambdaLR(opt, lambda i: min((i + 1) / 200, 1))
    angle = torch.arange(T)[:, None] / 10000 ** (2 * torch.arange(D // 2) / D); where = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
    book = torch.randint(0, 128, (32, T + 1), dtype=torch.uint8)
    def step():
        t = book.long(); loss = CE(body(0.3 * e(t[:, :T]) + where).flatten(0, 1), t[:, 1:].flatten())
        minimize(loss, opt, clip=1); warmup.step(); track(32, loss=loss)
    return step, 32, net

def trees(B):  # B random parse trees of 2 to 52 words, about 19 as in the treebank: [(height, word, left, right)], children before parents
    def grow(n, nodes):
        if n == 1: nodes.append((0, int(torch.randint(2, 12000, ())), 0, 0))
        else:
            k = int(torch.randint(1, n, ())); l = grow(k, nodes); r = grow(n - k, nodes)
            nodes.append((1 + max(nodes[l][0], nodes[r][0]), 0, l, r))
        return len(nodes) - 1
    all_ = [[] for _ in range(B)]
    for t, n in zip(all_, (19 + 9 * torch.randn(B)).round().clamp(2, 52).int().tolist()): grow(n, t)
    return all_
class Recursive(nn.Module):
    def __init__(s, D=32): super().__init__(); s.e, s.join, s.o, s.D = Embedding(12000, D), Linear(2 * D, D), Sequential(Dropout(0.3), Linear(D, 5)), D
@sample
def tree_rnn():  # which nodes stand on which level is a part of the batch, as the arrays of children are in the sample
    net = Recursive(); opt = adam(net.parameters(), 0.002)
    at, levels, words = {}, [], []
    nodes = sorted(((n[0], t, i, n) for t, tree in enumerate(trees(25)) for i, n in enumerate(tree)))
    for height, t, i, (_, word, l, r) in nodes:
        at[t, i] = len(at)
        if height == 0: words.append(word)
        else:
            if height > len(levels): levels.append([])
            levels[height - 1] += [at[t, l], at[t, r]]
    words, levels, mood = torch.tensor(words), [torch.tensor(l) for l in levels], torch.randint(0, 5, (len(nodes),))
    def step():
        H = torch.tanh(net.e(words))
        for children in levels: H = torch.cat([H, torch.tanh(net.join(H.index_select(0, children).view(-1, 2 * net.D)))])
        loss = CE(net.o(H), mood)
        minimize(loss, opt); track(25, loss=loss)
    return step, 25, net
@extra
def tree_rnn_padded():
    net = Recursive(); opt = adam(net.parameters(), 0.002); B, N = 25, 103
    word, left, right, mood = torch.zeros(4, B, N, dtype=torch.long); mood -= 1; all_ = torch.arange(B)[:, None]
    for t, tree in enumerate(trees(B)):
        for i, (_, w, l, r) in enumerate(tree): word[t, i], left[t, i], right[t, i], mood[t, i] = w, l, r, torch.randint(0, 5, ())
    def step():
        x = torch.tanh(net.e(word)); H = torch.zeros_like(x); inner = (word == 0)[..., None].unbind(1); both = torch.stack([left, right], -1).unbind(1)
        for n, (leaf, here, i) in enumerate(zip(x.unbind(1), inner, both)):
            H[:, n] = torch.where(here, torch.tanh(net.join(H[all_, i].flatten(1))), leaf)
        loss = CE(net.o(H).flatten(0, 1), mood.flatten(), ignore_index=-1)
        minimize(loss, opt); track(B, loss=loss)
    return step, B, net

# ---- measuring ----

def measure(name):
    torch.manual_seed(0); sums.clear()
    step, B, owner = {**W, **EXTRA}[name]()
    flat = isinstance(owner, nn.Module) and not any(isinstance(m, Conv3d) for m in owner.modules())  # maps of films have an order of their own
    if a.channels_last and flat: owner.to(memory_format=torch.channels_last)
    count = sum(p.numel() for p in (owner.parameters() if isinstance(owner, nn.Module) else owner))
    t0 = time.perf_counter(); step(); first = time.perf_counter() - t0
    slow = first > 4
    if not slow:
        for _ in range(3): step()
    ts = []; end = time.perf_counter() + a.seconds
    while len(ts) < 2 if slow else time.perf_counter() < end or len(ts) < 5:
        t0 = time.perf_counter(); step(); ts.append(time.perf_counter() - t0)
    print(json.dumps(dict(name=name, threads=a.threads, batch=B, ms=round(statistics.median(ts) * 1e3, 4), n=len(ts), parameters=count)), flush=True)

for name in a.only.split(",") if a.only else sorted(W):
    try: measure(name)
    except Exception as e: print(json.dumps(dict(name=name, error=str(e)[:200])), flush=True)
    gc.collect()
