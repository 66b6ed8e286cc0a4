"""pages.py - runs what the pages under docs/ show. A fenced block's info string says what must be true of it:

    nnc                 a whole program: reaches the graph without a word. Its first line may name its file (`# name.nn - ...`)
    nnc run [COMMAND]   the same, and COMMAND (main) is run on the evaluator in f32; the next block, `output`, is what it prints
    nnc values          lines `expr   # value` and `name = expr   # value` (or without a value): the value is what `print` shows
    nnc fragment        declarations without a command; names and headers are checked
    nnc error E0204     fails with just these codes; an `output` block behind it is the message
    nnc warning E0801   goes on with just these warnings
    nnc excerpt FILE    lines of a file of the project, in order; so with `c excerpt FILE`, `graph excerpt FILE`, ...
    graph, loops        a text of that stage: nnc reads it
    console             `$ command` and what it prints; `[status N]` closes the output of one that fails
    grammar             every 'word' in it is one that the scanner or the parser knows
    text                a picture or a scheme; nothing is checked

`pages.py NNC PAGE...` writes today's numbers into pages that differ in nothing else.

In outputs a line `...` stands for any lines, `...` within a line for anything; times, rates and the places behind ops (`@ file:line:column`) that a page
leaves out are not compared, nor registers and offsets of assembly.
"""
import os, re, shutil, subprocess

TAGS = ("nnc", "output", "console", "grammar", "text", "graph", "loops", "c")
TIMES = re.compile(r"\d+(?:\.\d+)? (?:m?s|s, \d+/s)\b|\d+/s")
DECLARES = re.compile(r"(?:const|option|data|vocab|fn|layer|model|param|state|optimizer)\s+[\w\u0080-\uffff]")


class Wrong(Exception):
    """What a page says about a block is not so."""


class Block:
    def __init__(self, page, line, info, text):
        self.page, self.line, self.words, self.text = page, line, info.split(), text

    def __str__(self): return f"{self.page}:{self.line}"


def read_blocks(path, name):
    """The fenced blocks of a page, and its text without them."""
    blocks, prose, fence, start, info = [], [], None, 0, ""
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f.read().split("\n"), 1):
            if fence is None and line.startswith("```"): fence, start, info = [], number, line[3:].strip()
            elif fence is not None and line.startswith("```"):
                blocks.append(Block(name, start, info, "\n".join(fence) + "\n"))
                fence = None
            elif fence is not None: fence.append(line)
            else: prose.append(line)
    assert fence is None, f"{name}:{start}: this block has no end"
    return blocks, "\n".join(prose)


def masked(line):
    if "\t" in line:  # assembly: which registers and offsets a compiler picks says nothing
        line = re.sub(r"\s+", " ", re.sub(r" # .*", "", line)).strip()
        return re.sub(r"-?\d*\(", "(", re.sub(r"%([a-z]+)\d*", lambda r: "%zmm" if r[1] == "zmm" else "%", line))
    return TIMES.sub("TIME", line.rstrip())


def matches(want, got):
    """None, or the first line of `want` that does not fit. `...` in `want` stands for anything."""
    want, got = [masked(l) for l in want.rstrip("\n").split("\n")], [masked(l) for l in got.rstrip("\n").split("\n")]

    def fits(pattern, line):
        if " @ " not in pattern: line = re.sub(r"\s+@ \S+:\d+:\d+.*$", "", line)  # pages may leave out the places of a graph's ops
        return pattern == line or ("..." in pattern and re.fullmatch(".*".join(map(re.escape, pattern.split("..."))), line) is not None)

    reach, furthest = {0}, 0  # places in `got` that may come next
    for n, pattern in enumerate(want):
        if pattern.strip() == "...": new = set(range(min(reach), len(got) + 1)) if reach else set()
        else: new = {i + 1 for i in reach if i < len(got) and fits(pattern, got[i])}
        if not new:
            place = min(reach)
            return f"wanted: {pattern}\n    got:    {got[place] if place < len(got) else '(end)'}"
        reach, furthest = new, n
    return None if len(got) in reach else f"behind the last line comes: {got[max(reach)]}"


def codes(text, kind): return sorted(re.findall(rf": {kind}\[(E\d+)\]", text))


def mended(want, got):
    """The lines of `want` with the numbers that `got` has now, where a line is otherwise the same."""
    def bare(line): return re.sub(r"(?<!epoch )(?<!line )(?<![\d.])\d+(?:\.\d+)?(?:e-?\d+)?", "#", masked(line))
    lines, place, out = got.rstrip("\n").split("\n"), 0, []
    for pattern in want:
        found = [i for i in range(place, len(lines)) if bare(lines[i]) == bare(pattern)] if "..." not in pattern else []
        exact = [i for i in found if masked(lines[i]) == masked(pattern)]
        if found:
            place = (exact or found)[0]
            out.append(pattern if exact else lines[place])
            place += 1
        else: out.append(pattern)
    return out


class Page:
    """Walks a page in a folder of its own, in which the project's folders are there to be read."""

    def __init__(self, t, path):
        self.t, self.name, self.mend = t, os.path.relpath(path, t.root), None
        self.blocks, self.prose = read_blocks(path, self.name)
        self.folder = t.path(re.sub(r"\W", "_", self.name))
        os.makedirs(self.folder)
        for part in ("samples", "frontend", "tests", "ir", "passes", "docs"): os.symlink(os.path.join(t.root, part), os.path.join(self.folder, part))
        self.env = {**os.environ, "PATH": os.path.dirname(t.nnc) + os.pathsep + os.environ["PATH"], "OMP_NUM_THREADS": "1"}
        for name in ("NNC_DATA", "NNC_CACHE"): self.env.pop(name, None)

    def fail(self, block, why): raise Wrong(f"{block}: {why}")

    def nnc(self, *args):
        return subprocess.run([self.t.nnc, *args], cwd=self.folder, env=self.env, capture_output=True, text=True, errors="replace", timeout=120)

    def write(self, block, text):
        named = re.match(r"# (\w+\.nn)\b", text)
        name = named[1] if named else "example.nn"
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as f: f.write(text)
        return name

    def compare(self, block, got, what):
        why = matches(block.text, got)
        if why and self.mend is not None: self.mend.append((block.text.rstrip("\n").split("\n"), got))
        if why: self.fail(block, f"{what}:\n    {why}\n--- all of it\n{got[:3000]}")

    def walk(self):
        wrong = []
        for n, block in enumerate(self.blocks):
            follows = self.blocks[n + 1] if n + 1 < len(self.blocks) else None
            output = follows if follows and follows.words == ["output"] else None
            try:
                if not block.words or block.words[0] not in TAGS: self.fail(block, f"no test knows the tag `{' '.join(block.words)}`")
                if len(block.words) == 3 and block.words[1] == "excerpt": self.excerpt(block)
                else: getattr(self, "run_" + block.words[0])(block, output)
            except Wrong as why: wrong.append(str(why))
        assert not wrong, "\n\n".join([f"{len(wrong)} of {len(self.blocks)} blocks"] + wrong)
        return len(self.blocks)

    def excerpt(self, block):
        with open(os.path.join(self.t.root, block.words[2]), encoding="utf-8") as f: lines = [l.rstrip() for l in f]
        place = 0
        for line in block.text.rstrip("\n").split("\n"):
            if line.strip() in ("...", ""): continue
            found = [i for i in range(place, len(lines)) if line.rstrip() in (lines[i], re.sub(r"\s+#[^\"]*$", "", lines[i]))]
            if not found: self.fail(block, f"this line is not in {block.words[2]}, or not there: {line}")
            place = found[0] + 1

    def run_nnc(self, block, output):
        kind = block.words[1] if len(block.words) > 1 else "program"
        if kind == "values": return self.values(block)
        name = self.write(block, block.text)
        done = self.nnc(name, "--emit=graph", "-o", "graph.tmp")
        if kind in ("error", "warning"):
            want = sorted(block.words[2:])
            status = 2 if kind == "error" else 0
            if done.returncode != status or codes(done.stderr, kind) != want or (kind == "warning" and codes(done.stderr, "error")):
                self.fail(block, f"wanted {kind} {want} and status {status}, got status {done.returncode} and\n{done.stderr}")
            if output: self.compare(output, done.stderr, "the message")
        elif done.returncode or done.stderr: self.fail(block, f"status {done.returncode}\n{done.stderr}")
        elif kind == "run":
            command = block.words[2:] or ["main"]
            done = self.nnc(name, "--eval-type=f32", "--eval", *command, "--progress=none")
            if done.returncode: self.fail(block, f"status {done.returncode}\n{done.stdout}{done.stderr}")
            if not output: self.fail(block, "an `output` block must follow")
            self.compare(output, done.stdout, "output")
        elif kind not in ("program", "fragment"): self.fail(block, f"`nnc {kind}` is not known")

    def values(self, block):
        declared, body, want, inside = [], [], [], False
        for line in block.text.rstrip("\n").split("\n"):
            code, _, value = line.partition("  #")
            code, value = code.rstrip(), value.strip()
            if inside or DECLARES.match(code):
                declared.append(code)
                inside = code.endswith("{") or (inside and not code.startswith("}"))
            elif not value: body.append(code)
            else:
                bound = re.match(r"([\w\u0080-\uffff]+(?:, [\w\u0080-\uffff]+)*) = ", code)
                body += [code, f"print {bound[1]}"] if bound else [f"print {code}"]
                want.append(value)
        text = "\n".join(declared) + "\ncommand main {\n    " + "\n    ".join(body) + "\n}\n"
        name = self.write(block, text)
        done = self.nnc(name, "--eval-type=f32", "--eval", "main", "--progress=none")
        if done.returncode or done.stderr: self.fail(block, f"status {done.returncode}\n{done.stderr}")
        why = matches("\n".join(want), done.stdout)
        if why or not want: self.fail(block, f"a value is not what the page says:\n    {why}\n--- all of it\n{done.stdout}")

    def run_console(self, block, output):
        command, want = None, []
        lines = block.text.rstrip("\n").split("\n")
        if not lines[0].startswith("$ "): self.fail(block, "a console begins with `$ command`")
        for line in lines + ["$ "]:
            if not line.startswith("$ "):
                want.append(line)
                continue
            if command: self.command(block, command, want)
            command, want = line[2:], []

    def command(self, block, command, want):
        done = subprocess.run(command, shell=True, cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300)
        got = done.stdout.rstrip("\n") + (f"\n[status {done.returncode}]" if done.returncode else "")
        if not want and not done.returncode and not got: return
        why = matches("\n".join(want), got) if want else f"prints: {got[:300]}"
        if why and want and self.mend is not None: self.mend.append((want, got))
        if why: self.fail(block, f"$ {command}\n    {why}\n--- all of it\n{got[:3000]}")

    def text_of(self, block, ext):
        with open(os.path.join(self.folder, "example" + ext), "w", encoding="utf-8") as f: f.write(block.text)
        done = self.nnc("example" + ext, "--passes=", f"--emit={ext[1:]}")
        if done.returncode: self.fail(block, f"status {done.returncode}\n{done.stderr}")

    def run_graph(self, block, output): self.text_of(block, ".graph")
    def run_loops(self, block, output): self.text_of(block, ".loops")
    def run_output(self, block, output): pass
    def run_text(self, block, output): pass
    def run_c(self, block, output): pass  # an example of C to write oneself; what stands in the project is `c excerpt FILE`

    def run_grammar(self, block, output):
        known = set()
        for name in ("frontend/lexer.l", "frontend/tokens.c", "frontend/parser.y", "frontend/build.c"):
            with open(os.path.join(self.t.root, name), encoding="utf-8") as f: known.update(re.findall(r"[a-z_]+|[^\sa-z_\"]+", f.read()))
        text = " ".join(sorted(known))
        for word in re.findall(r"'([^' ]+)'", block.text):
            if word not in known and word not in text: self.fail(block, f"the front end does not know {word}")


def walk(t, *names):
    count = 0
    for name in names: count += Page(t, os.path.join(t.root, name)).walk()
    assert count, "these pages show nothing"


def update(nnc, names):
    """Writes the numbers of today into pages whose outputs are otherwise the same. Read the diff."""
    import tempfile
    from support import Case
    for name in names:
        t = Case(nnc, tempfile.mkdtemp(), tempfile.mkdtemp())
        page = Page(t, os.path.abspath(name))
        page.mend = []
        try: page.walk()
        except AssertionError as why: print(why)
        with open(name, encoding="utf-8") as f: text = f.read()
        for want, got in page.mend: text = text.replace("\n".join(want), "\n".join(mended(want, got)))
        with open(name, "w", encoding="utf-8") as f: f.write(text)
        t.clean()


if __name__ == "__main__":
    import sys
    update(sys.argv[1], sys.argv[2:])
