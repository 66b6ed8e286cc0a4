"""kernels_torch.py THREADS - products and random numbers in PyTorch, asked for over standard input one at a time: "nt 128 512 784" or "normal 65536", answered
by the seconds of one. With one thread they are the thread's own, as ours are.
"""
import sys, time
import torch

threads = int(sys.argv[1])
torch.set_num_threads(threads)
now = time.thread_time if threads == 1 else time.perf_counter
known = {}


def timed(run):
    def seconds(repeats):
        start = now()
        for _ in range(repeats): run()
        return (now() - start) / repeats

    seconds(2)
    return seconds, max(1, int(0.01 / (seconds(1) + 1e-9)) + 1)


def draws(kind, n):
    y = torch.empty(n)
    return timed({"uniform": y.uniform_, "normal": y.normal_, "bernoulli": lambda: y.bernoulli_(0.3)}[kind])


def product(order, m, n, k):
    x = torch.rand((k, m) if order[0] == "t" else (m, k)) - 0.5
    w = torch.rand((n, k) if order[1] == "t" else (k, n)) - 0.5
    x, w, y = x.T if order[0] == "t" else x, w.T if order[1] == "t" else w, torch.empty(m, n)
    return timed(lambda: torch.mm(x, w, out=y))


def wake(seconds, waking=0.03):
    """Threads that slept, as kernels_run.c wakes its own."""
    start = now()
    while threads > 1 and now() - start < waking: seconds(1)


with torch.inference_mode():
    print("ready", flush=True)
    for line in sys.stdin:
        if line not in known:
            kind, *sizes = line.split()
            known = {line: (draws if len(sizes) == 1 else product)(kind, *map(int, sizes))}
        seconds, repeats = known[line]
        wake(seconds)
        print(repr(seconds(repeats)), flush=True)
