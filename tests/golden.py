#!/usr/bin/env python3
"""golden.py NNC [--update] [FILTER] - texts, and beside each what must become of it. The neighbour's name says what is done:

    x.nn     x.err              --emit=graph --stop-after=autodiff must fail with status 2 and exactly these words
    x.nn     x.warn             the same must succeed, with exactly these words
    x.nn     x.ast              --emit=ast
    x.nn     x.out              what the command `show` prints: --eval show --eval-type=f32
    x.graph  x.simplify.graph   --passes=simplify --emit=graph
    x.graph  x.lower.loops      --passes=lower --emit=loops
    x.loops  x.tile.loops       --passes=tile --emit=loops
    x.graph, x.loops            without a neighbour: reads and prints as the same bytes
    x.graph  x.err              must fail
    x.graph  x.lower.err        --passes=lower must fail

--update rewrites what differs; read the diff before you keep it.
"""
import os, subprocess, sys, tempfile


def run_nnc(nnc, folder, name, *args):
    """A command may write files: it runs in a folder of its own."""
    env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
    with tempfile.TemporaryDirectory() as own:
        writes = "--eval" in args
        done = subprocess.run([nnc, os.path.join(folder, name) if writes else name, *args], cwd=own if writes else folder, capture_output=True, text=True, errors="replace",
                              timeout=120, env=env)
    return done.returncode, done.stdout, done.stderr


def cases(folder):
    """(name, arguments, expected file, wanted status) for every text in the folder."""
    names = sorted(os.listdir(folder))
    for name in names:
        stem, ext = os.path.splitext(name)
        if ext not in (".nn", ".graph", ".loops") or os.path.splitext(stem)[1]: continue
        found = False
        for other in names:
            if not other.startswith(stem + ".") or other == name: continue
            middle, kind = os.path.splitext(other[len(stem) + 1:]) if other.count(".") > 1 else ("", "." + other.rsplit(".", 1)[1])
            if kind in (".graph", ".loops") and middle:
                found = True
                yield other, [name, f"--passes={middle}", f"--emit={kind[1:]}"], other, 0
            elif other in (stem + ".err", stem + ".warn"):
                found = True
                yield other, [name, "--emit=graph", *(["--stop-after=autodiff"] if ext == ".nn" else [])], other, 2 if kind == ".err" else 0
            elif kind == ".err":
                found = True
                yield other, [name, f"--passes={middle}", "--emit=loops"], other, 2
            elif other == stem + ".out":
                found = True
                yield other, [name, "--eval-type=f32", "--eval", "show", "--progress=none"], other, 0
            elif other == stem + ".ast":
                found = True
                yield other, [name, "--emit=ast"], other, 0
        if not found and ext in (".graph", ".loops"): yield name, [name, "--passes=", f"--emit={ext[1:]}"], name, 0


def run(nnc, root, label, update=False, only=""):
    passed = failed = 0
    nnc = os.path.abspath(nnc)
    for folder, _, _ in sorted(os.walk(root)):
        for name, args, expected, status in cases(folder):
            where = os.path.relpath(os.path.join(folder, name), root)
            if only and only not in where: continue
            try: got, out, err = run_nnc(nnc, folder, *args)
            except subprocess.TimeoutExpired: got, out, err = "no end", "", ""
            text = err if status or expected.endswith(".warn") else out
            with open(os.path.join(folder, expected), encoding="utf-8") as f: want = f.read()
            if got == status and text == want:
                passed += 1
                continue
            if update and got == status:
                with open(os.path.join(folder, expected), "w", encoding="utf-8") as f: f.write(text)
                print(f"{label}: {where} rewritten")
                continue
            failed += 1
            print(f"{label}: {where}: nnc {' '.join(args)}: status {got} (wanted {status})")
            for n, (a, b) in enumerate(zip(want.splitlines() + ["(end)"], text.splitlines() + ["(end)"]), 1):
                if a != b:
                    print(f"    line {n} wanted {a}\n    line {n} got    {b}")
                    break
            if got != status: print("    " + (err or out)[-300:].replace("\n", "\n    "))
    print(f"{label}: {passed} of {passed + failed}", flush=True)
    return passed, failed, 0


if __name__ == "__main__":
    words = [a for a in sys.argv[2:] if a != "--update"]
    result = run(sys.argv[1], os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden"), "golden", "--update" in sys.argv, words[0] if words else "")
    sys.exit(1 if result[1] else 0)
