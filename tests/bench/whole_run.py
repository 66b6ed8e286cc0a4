#!/usr/bin/env python3
"""whole_run.py --data=FOLDER [--epochs=10] [--threads=1,2] [--rounds=3] [--nnc=build/nnc] [--python=PYTHON]

A whole run of samples/mlp.nn on mnist - reading, 10 epochs of mini-batches of 10, testing - beside the same in PyTorch, with a DataLoader and with all tensors in
memory, in turns in one run. Ours is timed from the start of the process to its end; PyTorch without the second that importing it takes. --python names one with torch.
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
    with open(log) as f: return seconds, json.loads(f.read().splitlines()[-1])["test_accuracy"]


def theirs(o, mode, threads):
    done = subprocess.run([o.python, f"{HERE}/whole_torch.py", f"--data={o.data}", f"--mode={mode}", f"--threads={threads}", f"--epochs={o.epochs}"],
                          capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return found["without_import"], found["test_accuracy"]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--data", default=f"{ROOT}/../shared/data/mnist")
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--threads", default="1,2")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--modes", default="memory,loader")
    p.add_argument("--nnc", default=f"{ROOT}/build/nnc")
    p.add_argument("--python", default=sys.executable)
    o = p.parse_args()
    o.data = os.path.abspath(o.data)
    table = []
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/mlp"
        subprocess.run([o.nnc, f"{ROOT}/samples/mlp.nn", "-o", program], check=True)
        for threads in map(int, o.threads.split(",")):
            found = {}
            for _ in range(o.rounds):
                found.setdefault("ours", []).append(ours(program, o, threads, folder))
                for mode in o.modes.split(","): found.setdefault(mode, []).append(theirs(o, mode, threads))
            row = {"threads": threads, "epochs": o.epochs}
            for who, runs in found.items(): row[who], row[who + "_accuracy"] = statistics.median(s for s, _ in runs), runs[-1][1]
            table.append(row)
            print(f"{threads} thread{'s' if threads > 1 else ' '}  {o.epochs} epochs  ours {row['ours']:7.2f} s ({100 * row['ours_accuracy']:.2f} %)"
                  + "".join(f"   {m} {row[m]:7.2f} s ({100 * row[m + '_accuracy']:.2f} %) {row[m] / row['ours']:.2f}x" for m in o.modes.split(",")), flush=True)
    with open("whole_run.json", "w") as f: json.dump(table, f, indent=1)


if __name__ == "__main__":
    main()
