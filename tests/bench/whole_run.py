#!/usr/bin/env python3
"""whole_run.py [--data=FOLDER] [--epochs=10] [--threads=1,2] [--rounds=3] [--modes=memory,loader] [--nnc=build/nnc] [--python=PYTHON] [--json=FILE]

A whole run of samples/mlp.nn on mnist - reading, 10 epochs of mini-batches of 10, a test after each - beside the same in PyTorch (whole_torch.py), with a DataLoader and
with all tensors in memory, in turns in one run. Ours is timed from the start of the process to its end, with the weights written to a file; PyTorch without the seconds that
importing it takes, and without the trial that finds the best number of workers. The accuracies stand beside the times and must be about the same. --python names a Python with torch.
"""
import argparse, json, os, statistics, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))


def ours(program, o, threads, folder):
    log = f"{folder}/log.jsonl"
    if os.path.exists(log): os.remove(log)
    start = time.time()
    subprocess.run([program, "train", f"--data={o.data}", f"--epochs={o.epochs}", f"--threads={threads}", "--progress=none", f"--log={log}", f"--out={folder}"], check=True)
    seconds = time.time() - start
    with open(log) as f: return {"seconds": seconds, "accuracy": json.loads(f.read().splitlines()[-1])["test_accuracy"]}


def theirs(o, mode, threads):
    done = subprocess.run([o.python, f"{HERE}/whole_torch.py", f"--data={o.data}", f"--mode={mode}", f"--threads={threads}", f"--epochs={o.epochs}"], capture_output=True, text=True)
    if done.returncode: raise SystemExit(f"PyTorch ({mode}) failed: {done.stderr[-500:]}")
    found = json.loads(done.stdout)
    return {"seconds": found["without_import"], "accuracy": found["test_accuracy"], "workers": found["workers"]}


def measure(o, folder):
    """A row for each number of threads: seconds, accuracy and ratio of each."""
    table, program, modes = [], f"{folder}/mlp", o.modes.split(",")
    subprocess.run([o.nnc, f"{ROOT}/samples/mlp.nn", "-o", program], check=True)
    for threads in map(int, o.threads.split(",")):
        found = {}
        for _ in range(o.rounds):
            found.setdefault("ours", []).append(ours(program, o, threads, folder))
            for mode in modes: found.setdefault(mode, []).append(theirs(o, mode, threads))
        row = {"threads": threads, "epochs": o.epochs}
        for who, runs in found.items(): row[who] = {"seconds": statistics.median(r["seconds"] for r in runs), **{k: v for k, v in runs[-1].items() if k != "seconds"}}
        for mode in modes: row[mode]["ratio"] = row[mode]["seconds"] / row["ours"]["seconds"]
        table.append(row)
        words = [f"{threads} thread{'s' if threads > 1 else ' '}  {o.epochs} epochs  ours {row['ours']['seconds']:7.2f} s ({100 * row['ours']['accuracy']:.2f} %)"]
        for mode in modes:
            workers = f", {row[mode]['workers']} workers" if mode == "loader" else ""
            words.append(f"{mode} {row[mode]['seconds']:7.2f} s ({100 * row[mode]['accuracy']:.2f} %{workers}) {row[mode]['ratio']:.2f}x")
        print("   ".join(words), flush=True)
    return table


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--data", default=f"{ROOT}/../shared/data/mnist")
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--threads", default="1,2")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--modes", default="memory,loader")
    p.add_argument("--nnc", default=f"{ROOT}/build/nnc")
    p.add_argument("--python", default=sys.executable)
    p.add_argument("--json", help="default: whole_run.json beside nnc")
    o = p.parse_args()
    o.data, o.nnc = os.path.abspath(o.data), os.path.abspath(o.nnc)
    with tempfile.TemporaryDirectory() as folder: table = measure(o, folder)
    with open(o.json or f"{os.path.dirname(o.nnc)}/whole_run.json", "w") as f: json.dump(table, f, indent=1)


if __name__ == "__main__":
    main()
