"""The pages: every example in them is compiled, run or compared (pages.py says how); the words and names that they and the editor modes list are
all there are; and the programs of the project have the layout of `nnc fmt`."""
import glob, json, os, re, shutil

from pages import read_blocks, walk
from support import Skip


def test_language(t): walk(t, "docs/language.md")
def test_tutorial(t): walk(t, "docs/tutorial.md")
def test_tour(t): walk(t, "docs/tour.md", "README.md")
def test_texts_of_the_stages(t): walk(t, "docs/graph-ir.md", "docs/loops-ir.md")
def test_how_to_add(t): walk(t, "docs/how-to-add-an-op.md", "docs/how-to-add-a-pass.md")


def test_what_pages_point_to_is_there(t):
    """Headings that a page links to, and files of the project that it names in backquotes."""
    count = 0
    for page in ["README.md", *sorted(os.path.relpath(p, t.root) for p in glob.glob(os.path.join(t.root, "docs", "*.md")))]:
        text = read(t, page)
        headings = {re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", text, re.M)}
        for anchor in re.findall(r"\]\(#([^)]+)\)", text): assert anchor in headings, f"{page} links to #{anchor}, which is no heading of it"
        for link in re.findall(r"\]\(([\w-]*[./][\w./-]*)\)", text): assert os.path.exists(os.path.join(t.root, os.path.dirname(page), link)), f"{page} links to {link}"
        for name in re.findall(r"`((?:backend|docs|frontend|ir|passes|runtime|samples|tests)/[\w./*-]+)`", text):
            made = re.sub("/", "/meson.build ", name, count=1).split()  # what meson builds is named by its place in the build folder
            fine = "NAME" in name or glob.glob(os.path.join(t.root, name)) or f"'{made[1]}'" in read(t, made[0])
            assert fine, f"{page} names {name}, which is not there"
            count += 1
        for name in re.findall(r"`([a-z_]+\.(?:c|def))`", text):
            fine = glob.glob(os.path.join(t.root, "*", name)) or glob.glob(os.path.join(t.root, "*", "*", name)) or os.path.exists(os.path.join(t.root, name))
            assert fine, f"{page} names {name}, which is not there"
            count += 1
    assert count > 150, count


# ---- lists that must be whole ----

def read(t, name):
    with open(os.path.join(t.root, name), encoding="utf-8") as f: return f.read()


def words(t):
    """word -> reserved?, from the table of tokens.c."""
    found = dict(re.findall(r'^\s*\{"(\w+)", T_\w+, (true|false)\},', read(t, "frontend/tokens.c"), re.M))
    assert len(found) > 40 and found["for"] == "true" and found["batch"] == "false", found
    return {w: r == "true" for w, r in found.items()}


def builtins(t):
    """(name, signature) of every built-in function."""
    found = []
    for path in sorted(glob.glob(os.path.join(t.root, "frontend", "builtin_*.c"))):
        with open(path, encoding="utf-8") as f: found += re.findall(r'^\s*\{"(\w+)", "([^"]*)", \w+, [-\w]+\},', f.read(), re.M)
    assert len(found) > 50 and ("argmax", "x, axis=") in found, found
    return found


def library(t):
    found = {}
    for path in sorted(glob.glob(os.path.join(t.root, "frontend", "std", "*.nn"))):
        with open(path, encoding="utf-8") as f:
            for name in re.findall(r"^(?:fn|layer|optimizer|const) ([\w\u0300-\u036f]+)", f.read(), re.M): found[name] = os.path.basename(path)
    assert len(found) > 90 and found["dense"] == "layers.nn", found
    return found


def loaders(t):
    found = re.findall(r'^\s*\{"(\w+)", \d+, -?\d+, (?:NULL|"\w+"), "([\w ]*)"\},', read(t, "frontend/elab_data.c"), re.M)
    assert len(found) > 10, found
    return found


def lacking(names, text): return sorted(n for n in names if not re.search(rf"(?<![\w.]){re.escape(n)}(?![\w\u0300-\u036f])", text))


def test_language_is_complete(t):
    _, prose = read_blocks(os.path.join(t.root, "docs", "language.md"), "docs/language.md")
    code = " ".join(re.findall(r"`([^`]+)`", prose))
    reserved = re.search(r"cannot be names \(T5\): `([^`]+)`", prose)[1].split()
    assert sorted(reserved) == sorted(w for w, r in words(t).items() if r), reserved
    soft = re.search(r"names elsewhere: `([^`]+)`", prose)[1].split()
    assert sorted(soft) == sorted(w for w, r in words(t).items() if not r), set(soft) ^ {w for w, r in words(t).items() if not r}
    assert "twenty" in prose and len(reserved) == 20, len(reserved)
    functions = code[:]
    for name, signature in builtins(t):
        shown = re.findall(rf"(?<!\w){name}\(([^)]*)\)", functions)
        assert shown, f"docs/language.md does not show {name}({signature})"
        wanted = [a.strip(" =") for a in signature.split(",")]
        assert any([a.strip(" =") for a in s.split(",")] == wanted for s in shown), f"{name}: the page has {shown}, the compiler ({signature})"
    assert not lacking(library(t), code), f"names of the library that the page lacks: {lacking(library(t), code)}"
    for name, keywords in loaders(t):
        shown = " ".join(re.findall(rf"(?<!\w){name}\(([^)]*)\)", code))
        assert name in code and not lacking([k for k in keywords.split() if k != "name"], shown), f"{name}: {lacking(keywords.split(), shown)}"
    rules = [f"T{i}" for i in range(1, 7)] + [f"E{i}" for i in range(1, 9)] + [f"N{i}" for i in range(1, 7)] + [f"L{i}" for i in range(1, 11)]
    for rule in rules + [f"C{i}" for i in range(1, 5)] + [f"D{i}" for i in range(1, 7)] + [f"B{i}" for i in range(1, 8)]: assert f"| {rule} |" in prose, rule


def test_defaults_of_the_library(t):
    """What language.md says in brackets is what the library declares: names in order, and their defaults."""
    _, prose = read_blocks(os.path.join(t.root, "docs", "language.md"), "docs/language.md")
    text = prose[prose.index("## The library"):prose.index("## Rules by name")]
    checked = 0
    for name, file in library(t).items():
        head = re.search(rf"^(?:fn|layer|optimizer) {re.escape(name)}(?:\[([^\]]*(?:\[[^\]]*\][^\]]*)*)\])?(?:\(|$)", read(t, "frontend/std/" + file), re.M)
        if not head or not head[1]: continue
        declared = [re.sub(r":\s*\w+", "", a).replace(" ", "") for a in head[1].split(",")]
        shown = re.findall(rf"`{re.escape(name)}\[([^\]]*)\]", text)
        assert shown and shown[0].replace(" ", "").split(",") == declared, f"{name}: the page has {shown}, {file} declares {declared}"
        checked += 1
    assert checked > 25, checked


def test_editor_modes(t):
    """The modes colour every word of the language, every type, and the functions that the compiler knows by name."""
    vim, grammar = read(t, "docs/editor/vim/syntax/nn.vim"), read(t, "docs/editor/vscode/syntaxes/nn.tmLanguage.json")
    json.loads(grammar), json.loads(read(t, "docs/editor/vscode/package.json")), json.loads(read(t, "docs/editor/vscode/language-configuration.json"))
    def alternatives(text): return set(re.findall(r"[A-Za-z_]\w*", text))
    for file, text in (("nn.vim", vim), ("nn.tmLanguage.json", grammar)):
        missing = sorted(set(words(t)) - alternatives(text))
        assert not missing, f"{file} lacks {missing}"
    reserved = {w for w, r in words(t).items() if r}
    keywords = set()
    for line in re.findall(r"^syntax keyword nn(?:Conditional|Repeat|Statement|OperatorWord|Boolean|Reserved)\s+(.*)$", vim, re.M): keywords |= set(line.split())
    assert keywords == reserved, keywords ^ reserved
    block = json.loads(grammar)["repository"]
    coloured = set()
    for p in block["reserved"]["patterns"]: coloured |= set(re.sub(r"\(\?[^)]*\)", "", p["match"]).strip("()").split("|"))
    assert coloured == reserved, coloured ^ reserved
    listed = set(re.search(r'^syntax match nnBuiltin\s+"\\<\\\(([\w|\\]+)\\\)\\ze\("$', vim, re.M)[1].split("\\|"))
    names = {name for name, _ in builtins(t)}
    assert listed == names, f"nn.vim: {listed ^ names}"
    listed = set(re.search(r"\(([\w|]+)\)", block["builtin"]["match"])[1].split("|"))
    assert listed == names, f"nn.tmLanguage.json: {listed ^ names}"
    names = set(library(t))
    lists = re.findall(r'^syntax match nnLibrary .*?\\\(([^()]+)\\\)(?:\\ze\[|\\>)', vim, re.M)
    assert len(lists) == 2 and all(set(each.split("\\|")) == names for each in lists), f"nn.vim: {[set(each.split(chr(92) + '|')) ^ names for each in lists]}"
    lists = [each for each in re.findall(r"\(([\w\u0300-\u036f|]+)\)", block["library"]["match"])]
    assert len(lists) == 2 and all(set(each.split("|")) == names for each in lists), f"nn.tmLanguage.json: {[set(each.split('|')) ^ names for each in lists]}"
    assert {"include": "#library"} in json.loads(grammar)["patterns"] + [p for b in block.values() for p in b.get("patterns", [])]


def test_vim(t):
    """Vim itself: what it calls each word of a program."""
    if not shutil.which("vim"): raise Skip("needs vim")
    t.write("names.vim", """set nocompatible
exe 'set runtimepath^=' . $MODE
filetype plugin on
syntax on
edit $PROGRAM
let found = ['type ' . &filetype]
for l in range(1, line('$'))
  let col = 1
  for word in split(getline(l), '\\%(\\k\\)\\@<!\\ze\\k\\|\\k\\zs\\%(\\k\\)\\@!')
    let name = synIDattr(synID(l, col, 1), 'name')
    if word =~ '\\S'
      call add(found, (name == '' ? 'none' : name) . ' ' . trim(word))
    endif
    let col += len(word)
  endfor
endfor
call writefile(found, $FOUND)
qall!
""")
    seen = {}
    for path in [os.path.join(t.root, "samples", name + ".nn") for name in ("digits", "vae", "lstm", "charnn", "hopfield", "optimizers", "search")]:
        env = {"MODE": os.path.join(t.root, "docs", "editor", "vim"), "PROGRAM": path, "FOUND": t.path("found"), "HOME": t.folder}
        t.run("vim", "-es", "-N", "-i", "NONE", "-u", t.path("names.vim"), env=env, status=None, timeout=60)
        with open(t.path("found"), encoding="utf-8") as f: lines = f.read().split("\n")
        assert lines[0] == "type nn", f"{path}: {lines[0]}"
        assert not [l for l in lines if l.startswith("nnError")], f"{path}: Vim calls these slips: {[l for l in lines if l.startswith('nnError')]}"
        for line in lines[1:]:
            kind, _, word = line.partition(" ")
            if kind not in ("nnComment", "nnString", "nnValue"): seen.setdefault(word, set()).add(kind)
    for word, reserved in words(t).items():
        if not reserved or word not in seen: continue
        assert all(k in ("nnConditional", "nnRepeat", "nnStatement", "nnOperatorWord", "nnBoolean", "nnReserved", "nnClause", "nnOperator") for k in seen[word]), f"{word}: {seen[word]}"
    assert "nnLibrary" in seen["dense"] and "nnLibrary" in seen["relu"] and "nnLibrary" in seen["rmsprop"], {w: seen[w] for w in ("dense", "relu", "rmsprop")}
    assert seen["layer"] >= {"nnDeclaration"} and "nnClause" in seen["batch"] and "nnBuiltin" in seen["exp"] and seen["f32"] == {"nnType"}, {w: seen[w] for w in ("layer", "batch", "exp", "f32")}


# ---- layout ----

def test_programs_have_the_layout(t):
    for path in sorted(glob.glob(os.path.join(t.root, "samples", "*.nn")) + glob.glob(os.path.join(t.root, "frontend", "std", "*.nn"))):
        with open(path, encoding="utf-8") as f: text = f.read()
        out = t.run(t.nnc, "fmt", path).stdout
        name = os.path.relpath(path, t.root)
        for n, (a, b) in enumerate(zip(text.split("\n"), out.split("\n")), 1): assert a == b, f"{name}:{n}: `nnc fmt` makes it\n{b}"
        assert text == out, name


def test_layout_changes_no_meaning(t):
    """Samples with their layout spoilt are put right, and give the same graph."""
    for name in ("digits", "lstm", "resnet", "hopfield"):
        with open(os.path.join(t.root, "samples", name + ".nn"), encoding="utf-8") as f: text = f.read()
        spoilt = "\n\n\n".join("   " + re.sub(r"(?<=\S) (?=[-+*/=@<>|{])(?![^\"]*\"[^\"]*$)", "  ", line.strip()) for line in text.split("\n"))
        t.write("spoilt.nn", spoilt)
        t.write("right.nn", t.run(t.nnc, "fmt", "spoilt.nn").stdout)
        again = t.run(t.nnc, "fmt", "right.nn").stdout
        with open(t.path("right.nn"), encoding="utf-8") as f: assert f.read() == again, f"{name}: formatting twice is not formatting once"
        trees = [t.run(t.nnc, p, "--emit=ast").stdout for p in ("right.nn", os.path.join(t.root, "samples", name + ".nn"))]
        assert trees[0] == trees[1] and len(trees[0]) > 500, name
        graphs = [re.sub(r" +@ .*", "", t.run(t.nnc, p, "--emit=graph").stdout) for p in ("right.nn", os.path.join(t.root, "samples", name + ".nn"))]
        strip = [re.sub(r"^source .*$", "", g, flags=re.M) for g in graphs]
        assert strip[0] == strip[1] and "func @" in strip[0], name


def test_layout_changes_no_draw(t):
    """L6: comments, blank lines and declarations in front change neither draws nor first values."""
    program = """layer net(x: f32[B, 2]) -> f32[B, 2] {
    param W: f32[2, 2] = normal(shape)
    for i in 0..2 { x = x |> dense[2] |> dropout[0.5] }
    return x @ W
}
model m = net
command main {
    for i in 0..2 { print normal([2]), m(ones([1, 2])), uniform([1]) }
    for f in [1, 2] { print normal([1]) }
}
"""
    t.write("plain.nn", program)
    moved = program.replace("    param W:", "\n    # a comment\n    two = 2\n    param   W:").replace("for i in 0..2 { print", "for i in 0..2 {\n\n        # here\n        print")
    t.write("moved.nn", "# more\n\nconst other = 3\nfn noise() = normal([3])\n" + moved)
    a, b = (t.run(t.nnc, name, "--eval", "main", "--progress=none").stdout for name in ("plain.nn", "moved.nn"))
    lines = a.splitlines()
    assert a == b and len(lines) == 4 and len(set(re.findall(r"-?\d+\.\d+", a))) > 9, f"{a}\n{b}"
