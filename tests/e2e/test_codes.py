"""Every error code of ir/errors.def has a test that gets it: a golden file of tests/golden (x.nn and x.err), or a command line here; and `nnc --explain` knows it."""
import glob, os, re, shutil


def codes(t):
    with open(os.path.join(t.root, "ir", "errors.def"), encoding="utf-8") as f: return [f"E{int(c):04d}" for c in re.findall(r"^ERROR\((\d+),", f.read(), re.M)]


def test_every_code_has_a_golden_file(t):
    golden = set()
    for name in glob.glob(os.path.join(t.root, "tests", "golden", "*", "*")):
        if name.endswith((".err", ".warn")):
            with open(name, encoding="utf-8") as f: golden |= set(re.findall(r"(?:error|warning)\[(E\d{4})\]", f.read()))
    here = {name[5:10].upper() for name in globals() if re.match(r"test_e\d{4}", name)}
    with open(os.path.join(t.root, "tests", "unit", "test_errors.c"), encoding="utf-8") as f: unit = {f"E{int(c):04d}" for c in re.findall(r"START_TEST\(e(\d{4})", f.read())}
    all_codes = codes(t)
    missing = [c for c in all_codes if c not in golden | here | unit]
    assert not missing, f"no test for {' '.join(missing)}"
    unknown = sorted((golden | here) - set(all_codes))
    assert not unknown, f"{' '.join(unknown)}: not in ir/errors.def"


def test_every_code_of_the_sources_is_in_the_table(t):
    """What elab_error(e, place, 204, ...) and diag_error(d, place, 204, ...) report; a code that is not in the table would be a bug of the compiler."""
    found = set()
    for path in glob.glob(os.path.join(t.root, "*", "*.[cyl]")) + glob.glob(os.path.join(t.root, "*.c")):
        with open(path, encoding="utf-8") as f: text = f.read()
        found |= {f"E{int(c):04d}" for c in re.findall(r"(?:elab|diag)_(?:error|warning)\((?:[^;\"]{0,120}?),\s*(\d{1,3}),\s*\"", text)}
    assert len(found) > 60 and not found - set(codes(t)), f"not in ir/errors.def: {' '.join(sorted(found - set(codes(t))))}"
    return f"{len(found)} codes"


def test_explain(t):
    page = t.run(t.nnc, "--explain", "all").stdout
    for code in codes(t): assert code in page, code
    for code in codes(t)[::20]:
        done = t.run(t.nnc, "--explain", code)
        assert done.stdout.startswith(code) and len(done.stdout) > 100, done.stdout
    assert t.run(t.nnc, "--explain", "204").stdout == t.run(t.nnc, "--explain", "e0204").stdout == t.run(t.nnc, "--explain", "E0204").stdout
    t.run(t.nnc, "--explain", "E9999", status=2)
    t.run(t.nnc, "--explain", "everything", status=2)


def gives(t, code, *args, words=(), count=1, env=None):
    before = sorted(os.listdir(t.folder))
    done = t.run(t.nnc, *args, status=2, env=env, timeout=60)
    assert len(re.findall(r"error\[(E\d{4})\]", done.stderr)) >= count and set(re.findall(r"error\[(E\d{4})\]", done.stderr)) == {code}, done.stderr
    for word in words: assert word in done.stderr, f"{word!r} not in {done.stderr}"
    assert done.stdout == "" and sorted(os.listdir(t.folder)) == before, "something half done is left"
    return done


def digits(t): return os.path.join(t.root, "samples", "digits.nn")


def test_e0002_limits_of_the_text(t):
    gives(t, "E0002", t.write("words.nn", "const a = [" + "1, " * 2_500_000 + "]\n"), words=["4194304"])
    gives(t, "E0002", t.write("name.nn", f"const {'a' * 1001} = 1\n"), words=["1000"])
    gives(t, "E0002", t.write("large.nn", "#" * ((16 << 20) + 1)), words=[str((16 << 20) + 1), str(16 << 20)])


def test_e0112_defines(t): gives(t, "E0112", digits(t), "-D", "hiden=128", words=["hiden", "`hidden`"])


def test_e0312_a_tower(t):
    tower = "fn f0(x) = x\n" + "".join(f"fn f{i}(x) = f{i - 1}(x)\n" for i in range(1, 300))
    gives(t, "E0312", t.write("tower.nn", tower + "command c { y = f299(zeros([2]))\n    print y\n}\n"), words=["200", "tower.nn:"])


def test_e0805_memory(t): gives(t, "E0805", digits(t), "--max-mem=1000", "-o", t.path("out"), words=["@train.step", "1000", "digits.nn:"])


def test_e0926_too_large_to_compile(t):
    out = t.path("out")
    gives(t, "E0926", digits(t), "--max-code=100", "-o", out, words=["@train.step", "at most 100", "--max-code=", "digits.nn:"])
    assert not os.path.exists(out)
    many = "".join(f"command c{i}(x: f32[B]) -> (y: f32[B]) {{ y = x * {i} }}\n" for i in range(400))
    source = t.write("many.nn", many)
    gives(t, "E0926", source, "--max-code=60000", "-o", out, words=["at most 60000"])
    t.run(t.nnc, source, "--max-code=80000", "-o", out)  # the number that the message asks for, or more


def test_e0901_unknown_passes(t):
    gives(t, "E0901", digits(t), "--stop-after=autodif", "--emit=graph", words=["`autodif`", "`autodiff`"])
    gives(t, "E0901", digits(t), "--passes=infer,fse", "--emit=graph", words=["`fse`", "`fuse`"])


def test_e0902_passes_out_of_order(t): gives(t, "E0902", digits(t), "--passes=lower,autodiff", "--emit=loops", words=["`lower`"])


def test_e0920_cpu(t): gives(t, "E0920", digits(t), "--cpu=skylak", "-o", t.path("out"), words=["`skylak`", "`skylake`"])


def test_e0921_target(t): gives(t, "E0921", digits(t), "--target=riscv64-linux-gnu", "-o", t.path("out"), words=["riscv64", "x86_64", "aarch64"])


def test_e0922_no_fma(t): gives(t, "E0922", digits(t), "--target=x86_64-linux-gnu", "--cpu=x86-64", "-o", t.path("out"), words=["x86-64-v3"])


def test_e0923_not_written(t):
    done = gives(t, "E0923", digits(t), "-o", t.path("nowhere/digits"), words=["nowhere/digits: cannot be written: No such file or directory"])
    assert ".o:" not in done.stderr, "the name of a temporary file"
    gives(t, "E0923", digits(t), "-o", t.folder, words=["is there and is not a regular file"])
    os.mkdir(t.path("closed"))
    os.chmod(t.path("closed"), 0o500)
    if not os.access(t.path("closed"), os.W_OK): gives(t, "E0923", digits(t), "-o", t.path("closed/digits"), words=["closed/digits: cannot be written"])


def test_e0924_no_runtime(t):
    lonely = t.path("nnc")
    shutil.copy(t.nnc, lonely)
    source = t.write("a.nn", "command c { print 1 }\n")
    done = t.run(lonely, source, "-o", t.path("a"), status=2)
    assert "error[E0924]" in done.stderr and sorted(os.listdir(t.folder)) == ["a.nn", "nnc"], done.stderr


def test_e0925_linking(t):
    source = t.write("a.nn", "command c { print 1 }\n")
    gives(t, "E0925", source, "-o", t.path("a"), env={"CC": "/nowhere/cc"})
    gives(t, "E0925", source, "-o", t.path("a"), env={"CC": "false"})
