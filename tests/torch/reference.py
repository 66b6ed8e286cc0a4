#!/usr/bin/env python3
"""reference.py - trains the samples' networks in PyTorch, from the weights of inputs.py, on the data in the order of the files, and writes what came of it to
NAME.json beside this file. Needs torch and Debian's dataset-fashion-mnist; the tests that compare (e2e/test_torch.py) need neither torch nor numpy.

    python3 reference.py [mlp] [multitask] [activations] [optimizers] [rules]

Losses stand twice, computed in f64 and in f32: the distance of the two says what rounding alone does.
"""
import csv, gzip, json, os, re, struct, sys

import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import inputs

FASHION = "/usr/share/datasets/fashion-mnist"
TYPES = {"f64": torch.float64, "f32": torch.float32}


def read_idx(path):
    with gzip.open(path) as f: data = f.read()
    n = data[3]
    return torch.frombuffer(bytearray(data[4 + 4 * n:]), dtype=torch.uint8).reshape(struct.unpack(f">{n}I", data[4:4 + 4 * n]))


def read_digits():
    with open(os.path.join(HERE, "..", "..", "samples", "data", "digits.csv")) as f: rows = [[float(v) for v in row] for row in csv.reader(f)]
    table = torch.tensor(rows, dtype=torch.float64)
    return table[:, :64], table[:, 64].long()


def start(shapes, kind):
    return {name: torch.tensor(inputs.weight(name, shape), dtype=TYPES[kind]).reshape(shape).requires_grad_() for name, shape in shapes.items()}


def digests(tensors): return {name: inputs.digest([float(v) for v in x.detach().double().flatten()]) for name, x in tensors.items()}


def write(name, result):
    text = json.dumps({"torch": torch.__version__, **result}, indent=1, ensure_ascii=False)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text)  # a list of numbers is one line
    with open(os.path.join(HERE, name + ".json"), "w") as f: f.write(text + "\n")
    print(name)


def train(loss_of, weights, optimizer, batches, marks):
    """Steps over the batches. marks: after so many batches the mean loss over all samples so far is kept. Also the gradients of the first step."""
    losses, total, samples, first = {}, 0.0, 0, None
    for i, batch in enumerate(batches, 1):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(weights, *batch)
        loss.backward()
        if first is None: first = digests({name: w.grad for name, w in weights.items() if w.grad is not None})
        optimizer.step()
        total += loss.item() * len(batch[0])
        samples += len(batch[0])
        if i in marks: losses[str(i)] = total / samples
    return losses, first


def both(shapes, loss_of, make_optimizer, batches_of, marks):
    """One training in f64 and one in f32."""
    result = {}
    for kind in TYPES:
        weights = start(shapes, kind)
        losses, first = train(loss_of, weights, make_optimizer(list(weights.values())), batches_of(TYPES[kind]), marks)
        result[kind] = {"losses": losses, "first_gradients": first, "weights": digests(weights)} if kind == "f64" else {"losses": losses}
    return result


# ---- mlp ----

def mlp_loss(w, image, label):
    x = image.reshape(len(image), 784).to(w["net.neurons_1.W"].dtype) / 255
    h = torch.sigmoid(x @ w["net.neurons_1.W"] + w["net.neurons_1.θ"])
    return F.cross_entropy(h @ w["net.neurons_2.W"] + w["net.neurons_2.θ"], label)


def mlp():
    image, label = read_idx(f"{FASHION}/train-images-idx3-ubyte.gz"), read_idx(f"{FASHION}/train-labels-idx1-ubyte.gz").long()
    cases = {}
    for name, size, lr, steps, marks in [("mini-batches", 10, 0.5, 30, [1, 2, 5, 30]), ("one sample", 1, 0.05, 100, [1, 2, 10, 100]), ("full batch", 60000, 0.5, 2, [1, 2])]:
        def batches(kind):
            for i in range(steps):
                at = i * size % len(image)
                yield image[at:at + size], label[at:at + size]
        cases[name] = {"batch_size": size, "lr": lr, "steps": steps, **both(inputs.MLP, mlp_loss, lambda ws: torch.optim.SGD(ws, lr), batches, marks)}
    write("mlp", {"data": "fashion-mnist", "cases": cases})


# ---- multitask ----

def two_heads(w, x):
    x = x.to(w["net.dense_1.w"].dtype) / 16
    x = torch.relu(x @ w["net.dense_1.w"] + w["net.dense_1.b"])
    x = torch.relu(x @ w["net.dense_2.w"] + w["net.dense_2.b"])
    return x @ w["net.dense_3.w"] + w["net.dense_3.b"], x @ w["net.dense_4.w"] + w["net.dense_4.b"]


def ink_error(w, x, ink): return F.mse_loss(ink, x.to(ink.dtype).mean(1, keepdim=True) / 16)


def multitask_loss(w, x, label):
    z, ink = two_heads(w, x)
    return F.cross_entropy(z, label) + 0.5 * ink_error(w, x, ink)


def multitask():
    x, label = read_digits()
    def batches(kind):
        for at in range(0, 1500, 32): yield x[at:min(at + 32, 1500)], label[at:min(at + 32, 1500)]
    result = both(inputs.MULTITASK, multitask_loss, lambda ws: torch.optim.Adam(ws, 0.001), batches, [1, 2, 5, 20, 47])
    for kind in TYPES:  # and the test loop after that epoch
        w = start(inputs.MULTITASK, kind)
        train(multitask_loss, w, torch.optim.Adam(list(w.values()), 0.001), batches(None), [])
        with torch.no_grad():
            z, ink = two_heads(w, x[1500:])
            result[kind]["test"] = {"test_accuracy": (z.argmax(1) == label[1500:]).double().mean().item(), "ink_error": ink_error(w, x[1500:], ink).item()}
    write("multitask", result)


# ---- activations ----

FUNCTIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "leaky": lambda x: F.leaky_relu(x, 0.01), "soft": F.softplus,
             "maxout": lambda x: x.reshape(len(x), -1, 2).max(-1).values}


def activations():
    x, label = read_digits()
    result = {}
    for k in inputs.KINDS:
        shapes = {name: shape for name, shape in inputs.ACTIVATIONS.items() if name.startswith(f"with_{k}.")}
        def loss_of(w, x, label):
            x = x.to(w[f"with_{k}.dense_1.w"].dtype) / 16
            for i in (1, 2, 3):
                x = x @ w[f"with_{k}.dense_{i}.w"] + w[f"with_{k}.dense_{i}.b"]
                if i < 3: x = FUNCTIONS[k](x)
            return F.cross_entropy(x, label)
        def batches(kind):
            for i in range(20): yield x[32 * i:32 * i + 32], label[32 * i:32 * i + 32]
        result[k] = both(shapes, loss_of, lambda ws: torch.optim.SGD(ws, 0.1, momentum=0.9), batches, [1, 2, 5, 20])
    write("activations", {"kinds": result})


# ---- optimizers ----

def optimizers():
    """The trajectories of samples/optimizers.nn; w2 is not here: PyTorch does not damp the first step (momentum undamped is in rules.json)."""
    makers = {"w1": lambda p: torch.optim.SGD([p], 0.2), "w3": lambda p: torch.optim.SGD([p], 0.2, momentum=0.9, nesterov=True), "w4": lambda p: torch.optim.Adagrad([p], 0.2),
              "w5": lambda p: torch.optim.RMSprop([p], 0.2, alpha=0.9, eps=1e-7), "w6": lambda p: torch.optim.Adam([p], 0.2)}
    result = {}
    for name, make in makers.items():
        w = torch.tensor(5.0, dtype=torch.float64, requires_grad=True)
        optimizer = make(w)
        path = result[name] = []
        for i in range(40):
            for group in optimizer.param_groups: group["lr"] = 0.2 * 0.99 ** i
            optimizer.zero_grad()
            ((w + 1) ** 2).backward()
            optimizer.step()
            path.append(w.item())
    write("optimizers", {"paths": result})


def bowl(w):
    c, t = torch.tensor([1, 0.5, 2, 0.25, 1.5], dtype=w.dtype), torch.tensor([1, -1, 0.5, 2, 0], dtype=w.dtype)
    return (c * (w - t) ** 4).sum() / 4 + (w[0:4] * w[1:5]).sum() / 8


def rules():
    makers = {"sgd_decay": lambda p: torch.optim.SGD([p], 0.02, weight_decay=0.1), "momentum_w": lambda p: torch.optim.SGD([p], 0.02, momentum=0.9),
              "nesterov_w": lambda p: torch.optim.SGD([p], 0.02, momentum=0.9, nesterov=True), "adagrad_w": lambda p: torch.optim.Adagrad([p], 0.2),
              "rmsprop_w": lambda p: torch.optim.RMSprop([p], 0.05, alpha=0.9, eps=1e-7), "adam_w": lambda p: torch.optim.Adam([p], 0.1),
              "adamw_w": lambda p: torch.optim.AdamW([p], 0.1, weight_decay=0.2), "norm_w": lambda p: torch.optim.SGD([p], 0.2),
              "value_w": lambda p: torch.optim.SGD([p], 0.1, momentum=0.9)}
    assert list(makers) == inputs.RULES_NAMES
    result = {}
    for name, make in makers.items():
        result[name] = {}
        for kind in TYPES:
            w = torch.tensor(inputs.weight(name, [5]), dtype=TYPES[kind], requires_grad=True)
            optimizer, path = make(w), []
            for i in range(30):
                optimizer.zero_grad()
                bowl(w).backward()
                if name == "norm_w": torch.nn.utils.clip_grad_norm_([w], 0.5)
                if name == "value_w": torch.nn.utils.clip_grad_value_([w], 0.25)
                optimizer.step()
                if i + 1 in (1, 2, 10, 30): path.append(w.tolist())
            result[name][kind] = path
    write("rules", {"rounds": [1, 2, 10, 30], "paths": result})


if __name__ == "__main__":
    torch.set_num_threads(2)
    for name in sys.argv[1:] or ["mlp", "multitask", "activations", "optimizers", "rules"]: globals()[name]()
