"""The source itself: its layout, the size of its functions and files, what may stand at the top, who may include whom, and what no file may name."""
import glob, os, re, shutil, subprocess

from support import Skip

TOP = {".ci", ".clang-format", ".gitignore", "LICENSE", "README.md", "backend", "check", "demo", "docs", "frontend", "ir", "meson.build", "nnc.c", "passes", "runtime", "samples", "tests"}
FUNCTION_LINES, FILE_LINES = 60, 1000
INCLUDES = {"ir": {"ir"}, "frontend": {"frontend", "ir"}, "passes": {"passes", "ir"}, "backend": {"backend", "ir", "runtime/abi.h", "runtime/abi.def"}, "runtime": {"runtime"}}
# folders of one machine, and hosts of package registries
MACHINE = re.compile(r"/(?:home|root|Users|work|mnt|opt|srv)/\w|/tmp/\w+/|\b(?:pypi|pythonhosted|npmjs|crates|deb\.debian)\.(?:org|com|io)\b")


def files(t, *endings):
    """The project's own files, without what is made by builds."""
    found = []
    for folder, below, names in os.walk(t.root):
        below[:] = sorted(b for b in below if b not in (".git", "__pycache__") and not (folder == t.root and b.startswith("build")))
        found += [os.path.join(folder, n) for n in sorted(names) if n.endswith(endings)]
    assert found, endings
    return found


def text_of(path):
    with open(path, encoding="utf-8") as f: return f.read()


def test_layout_of_c(t):
    formatter = shutil.which("clang-format-19")
    if not formatter: raise Skip("needs clang-format-19")
    done = subprocess.run([formatter, "--dry-run", "-Werror", *files(t, ".c", ".h")], cwd=t.root, capture_output=True, text=True, errors="replace")
    wrong = sorted(set(re.findall(rf"^(?:{re.escape(t.root)}/)?(\S+?):\d+:\d+: error", done.stderr, re.M)))
    assert done.returncode == 0, f"`clang-format-19 -i` changes {wrong}\n{done.stderr[:1000]}"
    return f"{len(files(t, '.c', '.h'))} files"


def functions(text):
    """(line, name, number of lines) of each function of a C file in the project's layout: its head begins in the first column, its body ends with a `}` there.
    The labels of a switch and what stands alone in a line are no part of the measure: a switch over all ops may be long if every arm is short."""
    start = name = None
    for number, line in enumerate(text.split("\n"), 1):
        if start is None:
            opens = re.match(r"(?!typedef|extern|else|return)[A-Za-z_][\w \*]*?(\w+)\([^;]*(?:\{|,|\))$", line)
            if opens: start, name, lines = number, opens[1], 0
        if start is None: continue
        lines += not re.match(r"\s*(?:case [^:]*:|break;|\})*\s*$", line)
        if line == "}":
            yield start, name, lines + 1
            start = None
        elif line and line[0] not in " \t#/" and line.endswith(";"): start = None  # it was a declaration


def test_functions_fit_a_screen(t):
    long, count = [], 0
    for path in files(t, ".c", ".h"):
        for line, name, lines in functions(text_of(path)):
            count += 1
            if lines > FUNCTION_LINES: long.append(f"{os.path.relpath(path, t.root)}:{line}: {name} has {lines} lines")
    assert not long, "\n".join(long)
    assert count > 3000, f"only {count} functions were seen"
    return f"{count} functions"


def test_files_are_of_a_size_and_introduce_themselves(t):
    for path in files(t, ".c", ".h"):
        text, name = text_of(path), os.path.relpath(path, t.root)
        assert text.count("\n") <= FILE_LINES, f"{name} has {text.count(chr(10))} lines"
        assert re.match(rf"/\*\s+\*? ?{re.escape(os.path.basename(path))} - \S", text), f"{name} does not begin with a comment `{os.path.basename(path)} - ...`"
    for path in files(t, ".l", ".y"): assert "/*" in text_of(path)[:200], path


def test_top_level(t):
    def ignored(name): return name.startswith("build") or name == ".git"
    have = {n for n in os.listdir(t.root) if not ignored(n)}
    assert have == TOP, f"at the top: {have ^ TOP}"


def test_folders_include_what_they_may(t):
    seen = 0
    for folder, may in INCLUDES.items():
        for path in glob.glob(os.path.join(t.root, folder, "**", "*.[chly]"), recursive=True):
            for name in re.findall(r'^\s*#\s*include "([^"]+)"', text_of(path), re.M):
                seen += 1
                target = os.path.relpath(os.path.join(os.path.dirname(path), name), t.root) if name.startswith("../") or "/" not in name else name
                assert target.split("/")[0] in may or target in may, f"{os.path.relpath(path, t.root)} includes {name}"
    assert seen > 300, seen


def test_no_file_names_a_machine(t):
    for path in files(t, ""):
        with open(path, "rb") as f: data = f.read()
        if b"\0" in data: continue
        name = os.path.relpath(path, t.root)
        for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
            found = MACHINE.search(line)
            assert not found or name == "tests/e2e/test_source.py", f"{name}:{number}: {found[0]}"
