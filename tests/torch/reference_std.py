#!/usr/bin/env python3
"""reference_std.py - evaluates the column `torch` of std_cases.py in f64 and writes a digest of every result and every gradient to std.json.

    python3 reference_std.py
"""
import json, math, os, re, sys

import torch
import torch.nn.functional as F
from torch.distributions import kl_divergence as kl
from torch.optim import lr_scheduler as LR

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import inputs, std_cases

same = "same"


# ---- what the column `torch` may use: our layouts (channels last) for PyTorch's functions (channels first) ----

def first(x): return x.movedim(-1, 1)
def last(x): return x.movedim(1, -1)
def kernel(w): return w.movedim(-1, 0).movedim(-1, 1)  # [spatial.., in, out] -> [out, in, spatial..]
def numbers(x, n): return list(x) if isinstance(x, (list, tuple)) else [x] * n


def conv(x, w, b=None, stride=1, pad=0):
    """Convolution with pad=same: ceil(n / s) places, the odd zero at the end."""
    n = x.dim() - 2
    stride, padding = numbers(stride, n), []
    for i in range(n):
        size, k, s = x.shape[1 + i], w.shape[i], stride[i]
        total = max((math.ceil(size / s) - 1) * s + k - size, 0) if pad == same else 2 * pad
        padding.append((total // 2, total - total // 2))
    x = F.pad(first(x), [p for pair in reversed(padding) for p in pair])
    return last([F.conv1d, F.conv2d, F.conv3d][n - 1](x, kernel(w), b, stride))


def conv_back(x, w, b, stride, pad):
    """The transpose of conv with pad=same: size * stride places. It is computed as what it is: the gradient of conv."""
    assert pad == same
    shape = [x.shape[0], *[s * stride for s in x.shape[1:-1]], w.shape[-2]]
    zero = torch.zeros(shape, dtype=x.dtype, requires_grad=True)
    y, = torch.autograd.grad(conv(zero, w, None, stride, same), zero, x, create_graph=True)
    return y + b


def unpool(y, x, size, shape):
    places = F.max_pool2d(first(x), size, return_indices=True)[1]
    return last(F.max_unpool2d(first(y), places, size, output_size=shape))


def batch_norm(x, γ, β, mean, var, momentum=0.1, eps=1e-5):
    mean, var = mean.detach().clone(), var.detach().clone()
    y = F.batch_norm(x.reshape(-1, x.shape[-1]), mean, var, γ, β, True, momentum, eps).reshape(x.shape)
    return y, mean, var


def run(module, x, *weights):
    names = [name for name, _ in module.named_parameters()]
    assert len(names) == len(weights)
    return torch.func.functional_call(module.to(x.dtype), dict(zip(names, weights)), (x,))[0]


def lstm_weights(Wf, Wi, Wc, Wo, bf, bi, bc, bo):
    """PyTorch's order of gates is i, f, g, o; ours stacks [h, x]."""
    H = Wf.shape[1]
    b = torch.cat([bi, bf, bc, bo])
    return torch.cat([w[H:] for w in (Wi, Wf, Wc, Wo)], 1).T, torch.cat([w[:H] for w in (Wi, Wf, Wc, Wo)], 1).T, b, torch.zeros_like(b)


def gru_weights(Wz, Wr, Wh, Uz, Ur, Uh, bz, br, bh, ch):
    return torch.cat([Wr, Wz, Wh], 1).T, torch.cat([Ur, Uz, Uh], 1).T, torch.cat([br, bz, bh]), torch.cat([0 * br, 0 * bz, ch])


def gru_before(x, h, Wz, Wr, Wh, Uz, Ur, Uh, bz, br, bh):
    z, r = torch.sigmoid(x @ Wz + h @ Uz + bz), torch.sigmoid(x @ Wr + h @ Ur + br)
    return torch.lerp(torch.tanh(x @ Wh + (r * h) @ Uh + bh), h, z)


def peephole(x, h, c, Wf, Wi, Wc, Wo, bf, bi, bc, bo):
    """Each matrix cut into what it does to the cell, to the state, to the input."""
    H = h.shape[1]
    see = lambda W, b, c: c @ W[:H] + h @ W[H:2 * H] + x @ W[2 * H:] + b
    f, i = torch.sigmoid(see(Wf, bf, c)), torch.sigmoid(see(Wi, bi, c))
    c = f * c + i * torch.tanh(h @ Wc[:H] + x @ Wc[H:] + bc)
    return torch.sigmoid(see(Wo, bo, c)) * torch.tanh(c), c


def coupled(x, h, c, Wf, Wc, Wo, bf, bc, bo):
    H = h.shape[1]
    see = lambda W, b: h @ W[:H] + x @ W[H:] + b
    c = torch.lerp(torch.tanh(see(Wc, bc)), c, torch.sigmoid(see(Wf, bf)))
    return torch.sigmoid(see(Wo, bo)) * torch.tanh(c), c


def steps(cell, x, H, *weights):
    h = c = torch.zeros(x.shape[0], H, dtype=x.dtype)
    out = []
    for t in range(x.shape[1]):
        h, c = cell(x[:, t], h, c, *weights)
        out.append(h)
    return torch.stack(out, 1)


def steps1(cell, x, H, *weights): return steps(lambda x, h, c, *w: (cell(x, h, *w), c), x, H, *weights)


def additive(q, k, mask, W, U, v):
    e = torch.einsum("bta,a->bt", torch.tanh((q @ W)[:, None] + k @ U), v).masked_fill(mask == 0, -torch.inf)
    a = torch.softmax(e, -1)
    return torch.einsum("bt,btk->bk", a, k), a


def dot_attention(q, k): return F.scaled_dot_product_attention(q[:, None], k, k, scale=1.0)[:, 0], torch.softmax((k @ q[..., None])[..., 0], -1)


def multi_head(heads, q, k, v, mask, wq, wk, wv, wo, bo):
    module = torch.nn.MultiheadAttention(wq.shape[0], heads, batch_first=True).double()
    weights = {"in_proj_weight": torch.cat([wq.T, wk.T, wv.T]), "in_proj_bias": torch.zeros(3 * len(wq), dtype=q.dtype), "out_proj.weight": wo.T,
               "out_proj.bias": bo}
    return torch.func.functional_call(module, weights, (q, k, v), {"attn_mask": mask == 0, "need_weights": False})[0]


def positions(T, D):
    p = torch.empty(T, D, dtype=torch.float64)
    for t in range(T):
        for i in range(0, D, 2): p[t, i], p[t, i + 1] = math.sin(t / 10000 ** (i / D)), math.cos(t / 10000 ** (i / D))
    return p


def schedule(make, times):
    optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
    scheduler, rates = make(optimizer), []
    for t in range(max(times) + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return torch.tensor([rates[t] for t in times], dtype=torch.float64)


def inverse_sqrt(A):
    λ, E = torch.linalg.eigh(A)
    return E @ torch.diag(λ ** -0.5) @ E.T


def grid_sample(x, u, v):
    """PyTorch's coordinates: -1 and 1 are the middles of the outer pixels; the first is the column."""
    H, W = x.shape[1:3]
    grid = torch.stack([2 * v / (W - 1) - 1, 2 * u / (H - 1) - 1], -1)
    return last(F.grid_sample(first(x), grid, "bilinear", "zeros", align_corners=True))


def fans(*shape): return torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


def decay(x, a):
    out = []
    for t in range(x.shape[1]):
        a = torch.tanh(a * x[:, t]) + a / 2
        out.append(a)
    return torch.stack(out, 1)


def pairs(x, m):
    h, y, z = torch.zeros_like(x[:, 0]), [], []
    for t in range(x.shape[1]):
        h = torch.where(m[:, t, None] != 0, torch.tanh(h + x[:, t]), h)
        y.append(h)
        z.append(h * x[:, t])
    return torch.stack(y, 1), torch.stack(z, 1)


def grid(x):
    total, out = torch.zeros(()).double(), []
    for v in x.flatten():
        total = torch.sin(total + v)
        out.append(total)
    return torch.stack(out).reshape(x.shape)


def put(x, v):
    x = torch.stack([x[0], v, x[2]])
    return torch.cat([x[:, :2], 2 * x[:, :1], x[:, 3:]], 1)


def again(a, n):
    for _ in range(n): a = torch.tanh(a) + a / 2
    return a


# ---- the numbers ----

def evaluate(c):
    v = {}
    for name, value in c["inputs"].items():
        kind, shape, numbers = std_cases.values(c, name)
        x = torch.tensor(numbers, dtype=torch.long if kind == "i32" else torch.float64).reshape(shape)
        v[name.removeprefix("m.").replace(".", "_")] = x.requires_grad_(std_cases.moves(c, name))
    results = eval(c["torch"], {**globals(), **v, "v": v})
    if not isinstance(results, tuple): results = (results,)
    results = [r.double() for r in results]
    digests = [inputs.summary(list(r.shape), r.detach().flatten().tolist()) for r in results]
    grads = {}
    if c["grads"]:
        loss = sum((r * torch.cos(torch.arange(r.numel()).double()).reshape(r.shape)).sum() for r in results[:len(results) - len(c["after"])])
        for name in c["inputs"]:
            if not std_cases.moves(c, name): continue
            x = v[name.removeprefix("m.").replace(".", "_")]
            g, = torch.autograd.grad(loss, x, retain_graph=True)
            grads[name] = inputs.summary(list(g.shape), g.flatten().tolist())
    return {"results": digests, "gradients": grads}


if __name__ == "__main__":
    result = {}
    for family, cases in std_cases.FAMILIES.items():
        for c in cases:
            try: result[c["name"]] = evaluate(c)
            except Exception as e: raise RuntimeError(f"{family}, {c['name']}: {c['torch']}") from e
    text = json.dumps({"torch": torch.__version__, "cases": inputs.shortened(result)}, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)
    text = re.sub(r"\{\s+(\"shape\".*?)\s+\}", lambda m: "{" + re.sub(r"\s+", " ", m[1]) + "}", text, flags=re.S)  # a tensor is one line
    with open(os.path.join(HERE, "std.json"), "w") as f: f.write(text + "\n")
    print(len(result), "cases")
