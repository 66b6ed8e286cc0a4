"""--profile: functions, their kernels and places, calls, shares and rates that add up; and the same bits as without."""
import os, re

PROGRAM = """
option lr = 0.5

data d { x: f32[256] = csv("wide.csv", columns=0..256) }
param w: f32[256, 192] = normal(shape) / 16
command train {
    for epoch in 0..10 {
        for x in d batch 16 {
            y = relu(x @ w)
            minimize mean(y^2) over w using sgd[lr]
            track loss = mean(y)
        }
    }
}
"""
ROW = re.compile(r"^ *([\d.]+) +(\d+) +([\d.]+) +([\d.]+)%  (  )?(\S.*)$")


def table(text):
    """[(seconds, calls, us a call, share, is it inside a function, what)]"""
    lines = text.splitlines()
    assert lines[0].split() == ["seconds", "calls", "us", "a", "call", "share", "function"], lines[0]
    rows = []
    for line in lines[1:]:
        m = ROW.match(line)
        assert m, line
        rows.append((float(m[1]), int(m[2]), float(m[3]), float(m[4]), bool(m[5]), m[6]))
    return rows


def program(t):
    rows = "".join(",".join(f"{(i * j % 17) / 17:.4f}" for j in range(256)) + "\n" for i in range(1, 65))
    t.write("wide.csv", rows)
    t.write("wide.nn", PROGRAM)
    t.run(t.nnc, t.path("wide.nn"), "-o", t.path("wide"))
    return t.path("wide")


def test_the_table(t):
    p = program(t)
    for threads in (1, 2):
        rows = table(t.run(p, "train", "--profile", f"--threads={threads}", "--progress=none").stderr)
        step = next(i for i, r in enumerate(rows) if r[5].startswith("train.step ("))
        assert rows[step][1] == 40 and not rows[step][4], rows[step]  # 10 epochs of 4 batches
        end = next((i for i in range(step + 1, len(rows)) if not rows[i][4]), len(rows))
        inside = rows[step + 1:end]
        assert inside[-1][5] == "around the kernels", inside
        kernels = [r for r in inside if " (" in r[5]]
        assert len(kernels) >= 3, inside  # forward, loss, backward with the update
        assert all(r[1] == 40 for r in kernels), kernels
        assert any(r[5] == "waiting for other threads" for r in inside) or threads == 1, inside
        seconds = [r[0] for r in kernels]
        assert seconds == sorted(seconds, reverse=True), "the longest first"
        assert abs(sum(r[0] for r in inside) - rows[step][0]) <= 1e-4 * (len(inside) + 1), (sum(r[0] for r in inside), rows[step])
        assert abs(sum(r[3] for r in rows if not r[4]) - 100) < 1, "shares of functions and of waiting for data"
        rates = [float(m[1]) for r in kernels if (m := re.search(r" ([\d.e+]+) GFLOP/s", r[5]))]
        assert rates and all(rate < 500 * threads for rate in rates), rates  # no core is as fast: of a kernel that thread 0 has no share of, another one's time counts
        lines = {m[1] for r in kernels if (m := re.search(r"wide\.nn:(\d+)\)", r[5]))}
        assert "9" in lines and lines <= {"9", "10", "11"}, lines


def test_rates(t):
    """Forward and backward are one product each: 2 * 16 * 256 * 192 operations beside little else. The time has four digits behind the point, so many calls are wanted."""
    rows = table(t.run(program(t), "train", "--profile", "--threads=1", "--progress=none").stderr)
    found = []
    for seconds, calls, us, _, _, what in rows:
        m = re.search(r" ([\d.e+]+) GFLOP/s, ([\d.e+]+) GB/s$", what)
        if m and calls == 40: found.append((float(m[1]) * us * 1e3, float(m[2]) * us * 1e3, us))
    products = [f for f in found if f[0] > 1e6]
    assert len(products) == 2, found
    want = 2 * 16 * 256 * 192
    for flop, bytes_, us in products:
        assert want * 0.98 <= flop <= want * 1.1 , (flop, want)  # us has two digits behind the point, the rate three in all
        assert 4 * 256 * 192 * 0.98 <= bytes_ <= 4 * 256 * 192 * 3, bytes_  # the weights once; or read, written, and more


def test_same_bits(t):
    p, ends = program(t), []
    for flags in ([], ["--profile"]):
        end = t.path("end.safetensors")
        if os.path.exists(end): os.remove(end)
        t.run(p, "train", "--threads=2", *flags, f"--save={end}", "--progress=none")
        with open(end, "rb") as f: ends.append(f.read())
    assert ends[0] == ends[1]


def test_loops_of_a_step(t):
    """A kernel inside a scan is called once a turn."""
    t.write("turns.nn", """
command walk {
    for i in 0..4 {
        x = uniform([50, 3])
        h = zeros([3])
        y = scan v in x along 0 { h = tanh(h + v); yield h }
        last = sum(y)
        track last
    }
}
""")
    t.run(t.nnc, t.path("turns.nn"), "-o", t.path("turns"))
    rows = table(t.run(t.path("turns"), "walk", "--profile", "--progress=none").stderr)
    step = next(r for r in rows if r[5].startswith("walk"))
    assert step[1] == 4, rows
    assert any(r[4] and r[1] == 200 for r in rows), rows
