"""Every sample, by the table of programs.py, before every judge: the graph as text, the passes, differences of the loss, the evaluator, the compiled program."""
import os, re

import programs
from support import Skip, full, read_safetensors

DESIGN = os.path.join("shared", "design", "programs")


def each(t, rows, judge, unit):
    """judge(row) gives a number of things judged. All rows are tried before anything fails; what is returned is printed."""
    count, wrong = 0, []
    for row in rows:
        try: count += judge(row)
        except AssertionError as why: wrong.append(f"{row.title}: {why}")
    assert not wrong, f"{len(wrong)} of {len(rows)}:\n" + "\n".join(wrong)
    return f"{len(rows)} programs, {count} {unit}"


def samples(): return [row for row in programs.ROWS if full() or not row.variant]


def test_the_table_has_every_sample(t):
    listed = {row.name for row in programs.ROWS if not row.variant}
    there = {name[:-3] for name in os.listdir(os.path.join(t.root, "samples")) if name.endswith(".nn")}
    assert listed == there, f"without a row: {sorted(there - listed)}; without a sample: {sorted(listed - there)}"
    folder = os.path.join(os.path.dirname(t.root), DESIGN)
    if os.path.isdir(folder):
        sketches = {name[:-3] for name in os.listdir(folder) if name.endswith(".nn")}
        assert sketches <= there, f"no sample for {sorted(sketches - there)}"
    return f"{len(there)} samples, {len(programs.ROWS)} rows"


def round_trip(t, *source):
    """The graph of a program, verified when it is made and when it is read back; printed again it has the same bytes."""
    first, again = t.path("a.graph"), t.path("b.graph")
    t.run(t.nnc, *source, "--emit=graph", "-o", first)
    t.run(t.nnc, first, "--emit=graph", "-o", again)
    with open(first, "rb") as a, open(again, "rb") as b: text, back = a.read(), b.read()
    assert text == back, "the graph reads back as something else"
    return text.count(b" = ")


def test_graphs_round_trip(t):
    """At full size, and all variants."""
    def judge(row): return round_trip(t, os.path.join(t.root, "samples", row.name + ".nn"), *(row.defines() if row.variant else []))
    return each(t, programs.ROWS, judge, "ops printed and read back")


def test_loops_at_full_size(t):
    """Planned for narrow vectors and for wide ones: what is made of large pictures has tiles that small ones do not. Elsewhere programs learn at small sizes."""
    def judge(row):
        defines = row.defines() if row.variant else []
        for cpu in ("x86-64-v3", "skylake-avx512"):
            t.run(t.nnc, os.path.join(t.root, "samples", row.name + ".nn"), *defines, "--emit=loops", f"--cpu={cpu}", "-o", t.path("a.loops"))
        return 2
    return each(t, programs.ROWS, judge, "texts of loops")


def test_the_sketches_of_the_design_round_trip(t):
    folder = os.path.join(os.path.dirname(t.root), DESIGN)
    if not os.path.isdir(folder): raise Skip("needs the sketches of the design")
    names = sorted(name for name in os.listdir(folder) if name.endswith(".nn"))
    count = sum(round_trip(t, os.path.join(folder, name)) for name in names)
    assert len(names) == 42, names
    return f"{len(names)} programs, {count} ops printed and read back"


def test_passes_change_no_number(t):
    """--verify-passes: all passes over graphs; in the longer form through to the planned loops (which test_the_program_has_the_bits_of_the_evaluator holds to
    the same bits as a whole)."""
    last = ["--emit=loops"] if full() else ["--stop-after=fuse", "--emit=graph"]

    def judge(row):
        done = t.run(t.nnc, row.source(t), *row.one(), "--verify-passes", *last, "-o", t.path("passed"), status=None)
        assert done.returncode == 0, done.stderr[-600:]
        return 1
    return each(t, samples(), judge, "verified pass by pass")


def test_gradients_are_the_differences(t):
    """--gradcheck of every command that asks for gradients, on its first batch."""
    def judge(row):
        source, compared = row.source(t), 0
        for run in row.runs:
            before = [r for r in row.runs if r.command == run.after]
            if before: programs.execute(t, row, before[0].short(), t.nnc, source, *row.defines(), "--eval")
            done = t.run(t.nnc, source, *row.one(), "--gradcheck", "--eval", run.command, *run.args, row.where(t), status=None)
            found = re.search(r"(\d+) comparisons, (\d+) beyond their bounds, (\d+) of gradients that are not 0", done.stdout)
            assert done.returncode == 0 and found, f"{run.command}: {done.stdout[-600:]}{done.stderr[-300:]}"
            assert (int(found[1]) > 0 and int(found[3]) > 0) == run.gradients, f"{run.command}: {found[0]}"
            compared += int(found[1])
        return compared
    return each(t, samples(), judge, "comparisons")


def test_they_learn_on_the_evaluator(t):
    """Every command that trains, on real batches in f64; and what must be true of it."""
    def judge(row):
        source = row.source(t)
        for run in row.runs:
            if run.slow: continue
            result = programs.execute(t, row, run, t.nnc, source, *row.defines(), "--eval")
            try: run.must(result)
            except AssertionError as why: raise AssertionError(f"{run.command} {' '.join(run.args)}: {why}") from why
        return len(row.runs)
    return each(t, programs.ROWS if full() else samples(), judge, "commands")


def end(t, row, run, *before, args=()):
    """(lines printed, log, weights at the end) of a run."""
    path = t.path("end.safetensors")
    if os.path.exists(path): os.remove(path)
    result = programs.execute(t, row, run, *before, args=(*args, f"--save={path}"))
    return result, (result.out, result.log, read_safetensors(path))


def same(what, want, got):
    for part, a, b in zip(("output", "log"), want, got): assert a == b, f"{what}: the {part} is {str(b)[:500]}, not {str(a)[:500]}"
    assert want[2].keys() == got[2].keys(), what
    for name in want[2]: assert want[2][name] == got[2][name], f"{what}: {name} has other bits"


def test_the_program_has_the_bits_of_the_evaluator(t):
    """Weights, lines and log of a few batches, compiled and evaluated in f32; and of the whole run with 1, 2, 3 and 7 threads."""
    def judge(row):
        source, program = row.source(t), t.path("program")
        t.run(t.nnc, source, *row.defines(), "-o", program)
        for run in row.runs:
            _, want = end(t, row, run.short(), t.nnc, source, *row.defines(), "--eval-type=f32", "--eval")
            for threads in (1, 2, 3, 7):
                _, got = end(t, row, run.short(), program, args=[f"--threads={threads}"])
                same(f"{run.command} with {threads} threads", want, got)
            if run.slow: run.must(programs.execute(t, row, run, program))
        return len(row.runs)
    return each(t, samples(), judge, "commands, the same bits on the evaluator in f32 and with 1, 2, 3, 7 threads")
