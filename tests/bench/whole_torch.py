"""whole_torch.py - samples/mlp.nn in PyTorch, from the files to the test accuracy: what whole_run.py measures against.

usage: python3 whole_torch.py --data=FOLDER [--mode=loader|memory] [--threads=N] [--epochs=N] [--workers=N]
loader: a TensorDataset and a DataLoader in the usual way, with as many workers as told (default: 0, 1 and 2 are tried over 300 batches, which is not counted, and the fastest is taken);
pixels stay bytes until a batch is converted. memory: all tensors converted once, batches by indexing with a permutation.
As in samples/mlp.nn: 784-300-10, sigmoid, weights from N(0, 1/sqrt(n)), batches of 10 shuffled, gradient descent with 0.5, loss and accuracy of every batch summed up, a test after every epoch.
"""
import argparse, gzip, json, struct, time

start = time.perf_counter()
import torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

p = argparse.ArgumentParser()
p.add_argument("--data", required=True)
p.add_argument("--mode", default="loader")
p.add_argument("--threads", type=int, default=1)
p.add_argument("--epochs", type=int, default=10)
p.add_argument("--workers", type=int, default=-1)
a = p.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(1)
imported = time.perf_counter()


def idx(name):
    with gzip.open(f"{a.data}/{name}-ubyte.gz") as f: data = f.read()
    n = data[3]
    return torch.frombuffer(bytearray(data[4 + 4 * n:]), dtype=torch.uint8).reshape(struct.unpack(f">{n}I", data[4:4 + 4 * n]))


train, test = [(idx(f"{s}-images-idx3").flatten(1), idx(f"{s}-labels-idx1").long()) for s in ("train", "t10k")]
net = nn.Sequential(nn.Linear(784, 300), nn.Sigmoid(), nn.Linear(300, 10))
for layer in (net[0], net[2]):
    nn.init.normal_(layer.weight, 0, layer.in_features ** -0.5)
    nn.init.zeros_(layer.bias)
optimizer = torch.optim.SGD(net.parameters(), 0.5)


def loader(data, size, shuffle, workers): return DataLoader(TensorDataset(*data), batch_size=size, shuffle=shuffle, num_workers=workers, persistent_workers=workers > 0)


def trial(workers):
    """Seconds of 300 batches from a loader whose workers have started."""
    it = iter(loader(train, 10, True, workers))
    for _ in range(20): next(it)
    begin = time.perf_counter()
    for _ in range(300): next(it)
    return time.perf_counter() - begin


def batches(data, size, shuffle, loaded):
    if a.mode == "loader":
        for x, y in loaded: yield x.float() / 255, y
    else:
        x, y = data
        order = torch.randperm(len(x)) if shuffle else torch.arange(len(x))
        for i in range(0, len(x), size): yield x[order[i:i + size]], y[order[i:i + size]]


trials = 0.0
loaders = [None, None]
if a.mode == "loader":
    begin = time.perf_counter()
    if a.workers < 0: a.workers = min((0, 1, 2), key=trial)
    trials = time.perf_counter() - begin
    loaders = [loader(train, 10, True, a.workers), loader(test, 500, False, 0)]
if a.mode == "memory": train, test = [(x.float() / 255, y) for x, y in (train, test)]
for epoch in range(a.epochs):
    loss_sum = right_sum = 0
    for x, y in batches(train, 10, True, loaders[0]):
        z = net(x)
        loss = F.cross_entropy(z, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(y)
        right_sum += (z.argmax(1) == y).sum().item()
    with torch.no_grad(): right = sum((net(x).argmax(1) == y).sum().item() for x, y in batches(test, 500, False, loaders[1]))
end = time.perf_counter() - trials
print(json.dumps({"mode": a.mode, "threads": a.threads, "workers": a.workers, "seconds": end - start, "without_import": end - imported, "loss": loss_sum / 60000,
                  "test_accuracy": right / len(test[1])}))
