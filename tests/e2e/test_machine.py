"""What the code is made for and made by: the same bytes on any number of cores and from run to run, and CPUs without fused multiply-add."""
import os, re, subprocess

from support import ROOT, floats, read_safetensors

SAMPLE = os.path.join(ROOT, "samples", "digits.nn")


def read(path):
    with open(path, "rb") as f: return f.read()


def test_same_bytes(t):
    """A program is compiled in units on all cores; which core makes which must not show, and neither must the run."""
    cores = sorted(os.sched_getaffinity(0))
    made = []
    for allowed in (cores, cores[:1], cores):
        out = t.path(f"digits{len(made)}")
        t.run(t.nnc, SAMPLE, "-o", out, preexec_fn=lambda: os.sched_setaffinity(0, allowed))
        made.append(read(out))
    assert made[0] == made[1] == made[2]


def test_units(t):
    """--time-passes says how many units there were: several for a large program, one where one object is wanted."""
    out = t.run(t.nnc, SAMPLE, "-o", t.path("digits"), "--time-passes").stderr
    assert " units on " in out, out
    out = t.run(t.nnc, SAMPLE, "-o", t.path("digits"), "--keep-temps", "--time-passes").stderr
    assert " 1 unit on " in out, out
    assert os.path.exists(t.path("digits.o"))
    assert not [name for name in os.listdir(t.folder) if name.endswith(".o") and name != "digits.o" or ".tmp" in name], os.listdir(t.folder)


def test_no_fma_is_asked_for(t):
    for cpu in ("x86-64", "x86-64-v2"):
        err = t.run(t.nnc, SAMPLE, f"--cpu={cpu}", "-o", t.path("digits"), status=2).stderr
        assert "E0922" in err and "--no-fma" in err and not os.path.exists(t.path("digits")), err


def trained(t, name, *flags):
    program, end = t.path(name), t.path(f"{name}.safetensors")
    t.run(t.nnc, SAMPLE, "-o", program, *flags)
    t.run(program, "train", "--epochs=2", "--progress=none", f"--save={end}", f"--out={t.folder}")
    return program, read_safetensors(end)


def test_no_fma(t):
    asm = t.run(t.nnc, SAMPLE, "--cpu=x86-64-v3", "--emit=asm").stdout
    assert "vfmadd" in asm
    for cpu in ("x86-64", "x86-64-v3"): assert "fmadd" not in t.run(t.nnc, SAMPLE, f"--cpu={cpu}", "--no-fma", "--emit=asm").stdout, cpu
    _, fused = trained(t, "fused")
    program, old = trained(t, "old", "--cpu=x86-64", "--no-fma")
    _, new = trained(t, "new", "--no-fma")
    assert "x86-64, without fma" in t.run(program, "--version").stdout
    assert fused.keys() == old.keys() == new.keys()
    differs = False
    for name in fused:
        assert old[name] == new[name], f"{name}: without fma too the CPU must not show"
        differs |= old[name] != fused[name]
        if fused[name][0] != "F32": continue
        a, b = floats(fused[name]), floats(old[name])
        size = max(map(abs, a)) or 1
        worst = max(abs(x - y) for x, y in zip(a, b))
        assert worst <= 1e-4 * size, (name, worst, size)
    assert differs, "products rounded before they are added gave the same bits: was fma used?"


def test_parts_of_a_vector(t):
    """A known part of a vector is stored in pieces with AVX2, whose masked stores are slow on some cores, and with a mask with AVX-512; an unknown one with a mask."""
    text, path = 'loops marked\nsource "part.loops" 0x1\n\nstep @f batch B<=9 {\n  buffer %x: f32[B, 7]\n  buffer %y: f32[B, 7]\n  kernel @k {\n%s  }\n}\n', t.path("part.loops")
    known = "    for b in 0..B, i in 0..7 vector 8 { %y[b, i] = %x[b, i] }\n"
    unknown = "    for b in 0..7, i in 0..B vector 8 { %y[0, i] = %x[0, i] }\n"
    masked = r"vmaskmovps\t%ymm\d+, %ymm\d+, .*\)"
    for body, cpu, found in ((known, "x86-64-v3", False), (unknown, "x86-64-v3", True), (known, "skylake-avx512", False)):
        with open(path, "w") as f: f.write(text.replace("%s", body))
        asm = t.run(t.nnc, path, f"--cpu={cpu}", "--emit=asm").stdout
        assert bool(re.search(masked, asm)) == found, (body, cpu)
        assert ("{%k" in asm) == (cpu == "skylake-avx512"), (body, cpu)


def test_another_cpu(t):
    """A program whose steps need what this CPU lacks says so before anything is read or written; what it is, it tells everywhere."""
    refused = []
    for cpu in ("sapphirerapids", "znver4"):  # no CPU has both avx512fp16 and sse4a
        program, log = t.path(cpu), t.path(f"{cpu}.jsonl")
        t.run(t.nnc, SAMPLE, "--target=x86_64-linux-gnu", f"--cpu={cpu}", "--emit=obj", "-o", t.path(f"{cpu}.o"))
        if os.uname().machine != "x86_64": continue
        t.run(t.nnc, SAMPLE, f"--cpu={cpu}", "-o", program)
        assert cpu in t.run(program, "--version").stdout and "train" in t.run(program, "--help").stdout
        done = subprocess.run([program, "train", "--epochs=1", "--progress=none", f"--log={log}", f"--out={t.path('out')}"], cwd=t.folder, capture_output=True, text=True)
        assert done.returncode in (0, 2), f"{cpu}: ended with {done.returncode}: {done.stderr}"
        if done.returncode == 0: continue
        refused.append(cpu)
        assert f"was compiled for {cpu}; this CPU has no " in done.stderr and "--cpu=native" in done.stderr, done.stderr
        assert not os.path.exists(log) and not os.path.exists(t.path("out")), os.listdir(t.folder)
    assert refused or os.uname().machine != "x86_64"
