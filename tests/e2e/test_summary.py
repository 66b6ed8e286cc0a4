"""--summary as in a textbook, --emit=dot for graphviz, and where each value of the graph comes from."""
import os, re, shutil


def sample(t, name): return os.path.join(t.root, "samples", name + ".nn")


def rows(text):
    """The table of layers: title -> (indent, output, parameters, so far, line)."""
    found = {}
    for line in text.split("\n\n")[0].splitlines()[1:]:
        m = re.match(r"( *)(\S+(?:: \S+)?)  +(.*?)  +([\d,]+)(?:  +([\d,]+))?  +(\d+)$", line)
        assert m, line
        found[m[2]] = (len(m[1]), m[3], m[4], m[5], int(m[6]))
    return found


def test_textbook(t):
    text = t.run(t.nnc, sample(t, "keras_cnn"), "--summary").stdout
    layers = rows(text)
    assert layers["net: classifier"][:3] == (0, "f32[B, 10]", "93,322")
    assert layers["conv_1"][:4] == (2, "f32[B, 26, 26, 32]", "320", "320")
    assert layers["conv_2"][:4] == (2, "f32[B, 11, 11, 64]", "18,496", "18,816")
    assert layers["conv_3"][:4] == (2, "f32[B, 3, 3, 64]", "36,928", "55,744")  # before the dense layers
    assert layers["dense_1"][:4] == (2, "f32[B, 64]", "36,928", "92,672")
    assert [layers[k][4] - layers["conv_1"][4] for k in ("conv_1", "conv_2", "conv_3", "dense_1", "dense_2")] == [0, 1, 2, 3, 3]
    assert text.endswith("93,322 parameters\n")
    widths = {len(line) for line in text.split("\n\n")[0].splitlines()}
    assert len(widths) == 1, widths


def test_nested_and_kept(t):
    """Layers in layers; a graph and the finished program say the same."""
    text = t.run(t.nnc, sample(t, "resnet"), "--summary").stdout
    for line in ("net: resnet .* f32\\[B, 10\\] +272,474", "    stage_2 +f32\\[B, 16, 16, 32\\] +51,648", "        conv_bn_1 ", "          batch_norm_1 .* 32 +5,136"):
        assert re.search("^" + line, text, re.M), line
    assert re.search(r"272,474 parameters, [\d,]+ numbers of state", text)
    columns = {line.index("f32[") for line in text.split("\n\n")[1].splitlines()[1:-1]}
    assert len(columns) == 1, "γ and β are one column wide"
    want = t.run(t.nnc, sample(t, "digits"), "--summary").stdout
    graph, loops = t.path("d.graph"), t.path("d.loops")
    t.run(t.nnc, sample(t, "digits"), "--emit=graph", "-o", graph)
    t.run(t.nnc, sample(t, "digits"), "--emit=loops", "-o", loops)
    for other in (graph, loops): assert t.run(t.nnc, other, "--summary").stdout == want
    assert t.run(t.compile("digits"), "--summary").stdout == want


def test_dot(t):
    """Every function of a program is one picture; forward, backward and update stand apart."""
    out = t.run(t.nnc, sample(t, "digits"), "--stop-after=autodiff", "--emit=dot", "--fn=train.step").stdout
    assert out.count("digraph") == 1 and all(f'label="{way}"' in out for way in ("forward", "backward", "update"))
    assert "gradient" not in out.split("cluster_backward")[0] and 'label="f32[B, 10]"' in out
    names = set(re.findall(r"^ +(\w+) \[label=", out, re.M))
    edges = re.findall(r"^ +(\w+) -> (\w+) ", out, re.M)
    assert len(edges) > 100 and all(a in names and b in names for a, b in edges)
    if shutil.which("dot"):
        for name, flags in (("digits", ["--stop-after=fuse"]), ("rnn", [])):
            path = t.path("p.dot")
            t.run(t.nnc, sample(t, name), *flags, "--emit=dot", "--fn=train.step", "-o", path)
            assert "</svg>" in t.run("dot", "-Tsvg", path).stdout


def test_places(t):
    """Every value says which line it comes from, after every pass; gradients of which."""
    for name in ("digits", "rnn", "resnet"):
        with open(sample(t, name), encoding="utf-8") as f: most = len(f.read().splitlines())
        for stage in ("", "autodiff", "simplify", "fuse"):
            text = t.run(t.nnc, sample(t, name), *([f"--stop-after={stage}"] if stage else []), "--emit=graph").stdout
            here, gradients = None, 0
            for line in text.splitlines():
                if line.startswith("func @"): here = line
                if not here or not re.match(r" +%\S.* = ", line): continue
                m = re.search(r"@ (\S+):(\d+):(\d+)(?: (.*))?$", line)
                assert m, f"{name}, {stage}: no place in {line}"
                if here.startswith("func @init."): continue  # made by the library's line
                assert m[1].endswith(name + ".nn") and 1 <= int(m[2]) <= most, f"{name}, {stage}: {line}"
                gradients += (m[4] or "").startswith("gradient of line ")
            assert (gradients > 10) == bool(stage), f"{name}, {stage}: {gradients} gradients"
