"""std_cases.py - the library and the built-in functions, each beside the same thing in PyTorch: a table of cases.

reference_std.py evaluates the column `torch` and keeps the numbers in std.json; e2e/test_std.py evaluates the column `nn` with `nnc --eval` and
compiled, and compares: results, and the gradients of sum(result * cotangent) with respect to every float input and every weight.

A case: name (what it covers, then `/` and what is special about it), inputs, nn, torch.
    inputs   name -> R(shape..., scale): numbers of inputs.py; V(values): these; I(values): integers; S(shape...): a state, without gradient.
             `m.w` is a parameter of the model m; the torch side calls it `w`
    nn       an expression, or several with `;` between, of the inputs, and of m, which is model=...
    torch    the same for PyTorch: a tuple for several. The names beside torch and F are helpers of reference_std.py
    learn    true: applied in a learning loop. `after`: what is read when the loop is over; the torch side gives it after its results
    grads    false: the results have no gradients
    fn       a function of the file that nn applies
    rel      how near it must be, where a constant like 0.01 is rounded to the f32 of the tensor it meets (1e-10 else)
"""

import inputs


class R:
    """scale: a power of two, so that the numbers are exact in f32."""

    def __init__(self, *shape, scale=2.0): self.shape, self.scale = list(shape), scale


class S(R):
    pass


class V:
    def __init__(self, values): self.values = values


class I(V):
    pass


def flat(values): return [x for v in values for x in flat(v)] if isinstance(values, list) else [values]


def values(c, name):
    """(element type, shape, numbers) of an input of a case."""
    x = c["inputs"][name]
    if isinstance(x, V):
        shape, inner = [], x.values
        while isinstance(inner, list): shape, inner = shape + [len(inner)], inner[0]
        return "i32" if isinstance(x, I) else "f32", shape, flat(x.values)
    n = 1
    for d in x.shape: n *= d
    return "f32", x.shape, inputs.numbers(c["name"] + ": " + name, n, x.scale)


def moves(c, name):
    """Does it get a gradient?"""
    return not isinstance(c["inputs"][name], (S, I)) and ".running" not in name


def case(name, inputs, nn, torch, **more): return dict(name=name, inputs=inputs, nn=nn, torch=torch,
                                                       **{"model": None, "learn": False, "after": [], "grads": True, **more})


EDGES = V([-30, -2, -0.5, 0, 0.25, 1, 3, 40])

ACTIVATIONS = [
    case("sigmoid", {"x": EDGES}, "sigmoid(x)", "torch.sigmoid(x)"),
    case("relu", {"x": EDGES}, "relu(x)", "torch.relu(x)"),
    case("leaky_relu", {"x": R(3, 4)}, "leaky_relu(x)", "F.leaky_relu(x, 0.01)", rel=1e-7),
    case("leaky_relu/slope", {"x": R(3, 4)}, "leaky_relu(x, slope=0.2)", "F.leaky_relu(x, 0.2)", rel=1e-7),
    case("softplus", {"x": EDGES}, "softplus(x)", "F.softplus(x, threshold=100)"),
    case("elu", {"x": R(3, 4)}, "elu(x)", "F.elu(x)"),
    case("elu/a", {"x": R(3, 4)}, "elu(x, a=0.5)", "F.elu(x, 0.5)"),
    case("gelu", {"x": EDGES}, "gelu(x)", "F.gelu(x)", rel=1e-7),
    case("maxout", {"x": R(3, 2, 8)}, "maxout(x)", "x.reshape(3, 2, 4, 2).max(-1).values"),
    case("maxout/of four", {"x": R(3, 8)}, "maxout[4](x)", "x.reshape(3, 2, 4).max(-1).values"),
    case("logsumexp", {"x": R(3, 5, scale=1024.0)}, "logsumexp(x)", "torch.logsumexp(x, -1)"),
    case("logsumexp/axis", {"x": R(3, 5, 2)}, "logsumexp(x, axis=1)", "torch.logsumexp(x, 1)"),
    case("log_softmax", {"x": R(3, 5, scale=1024.0)}, "log_softmax(x)", "F.log_softmax(x, -1)"),
    case("log_softmax/axis", {"x": R(3, 5, 2)}, "log_softmax(x, axis=0)", "F.log_softmax(x, 0)"),
    case("softmax", {"x": R(3, 5, scale=16.0)}, "softmax(x)", "F.softmax(x, -1)"),
    case("softmax/axis", {"x": R(3, 5, 2)}, "softmax(x, axis=1)", "F.softmax(x, 1)"),
]

LAYERS = [
    case("dense", {"x": R(3, 5), "m.w": R(5, 4), "m.b": R(4)}, "m(x)", "F.linear(x, w.T, b)", model="dense[4]"),
    case("dense/any leading axes, no bias", {"x": R(2, 3, 5), "m.w": R(5, 4)}, "m(x)", "F.linear(x, w.T)", model="dense[4, bias=false]"),
    case("conv/one axis", {"x": R(2, 9, 3), "m.w": R(4, 3, 5), "m.b": R(5)}, "m(x)", "conv(x, w, b, pad=same)", model="conv[5, 4]"),
    case("conv/two axes", {"x": R(2, 6, 7, 3), "m.w": R(3, 3, 3, 4), "m.b": R(4)}, "m(x)",
         "F.conv2d(first(x), kernel(w), b, padding=1).permute(0, 2, 3, 1)", model="conv[4, 3]"),
    case("conv/three axes", {"x": R(2, 4, 5, 3, 2), "m.w": R(3, 2, 3, 2, 3), "m.b": R(3)}, "m(x)", "conv(x, w, b, pad=same)",
         model="conv[3, [3, 2, 3]]"),
    case("conv/stride, same", {"x": R(2, 8, 7, 2), "m.w": R(5, 4, 2, 3), "m.b": R(3)}, "m(x)", "conv(x, w, b, stride=[3, 2], pad=same)",
         model="conv[3, [5, 4], stride=[3, 2]]"),
    case("conv/stride, valid", {"x": R(2, 9, 8, 2), "m.w": R(3, 3, 2, 3), "m.b": R(3)}, "m(x)",
         "F.conv2d(first(x), kernel(w), b, stride=2).permute(0, 2, 3, 1)", model="conv[3, 3, stride=2, pad=valid]"),
    case("conv/zeros on each side", {"x": R(2, 5, 6, 2), "m.w": R(3, 3, 2, 3)}, "m(x)",
         "F.conv2d(first(x), kernel(w), padding=2).permute(0, 2, 3, 1)", model="conv[3, 3, pad=2, bias=false]"),
    case("conv/one number an axis", {"x": R(2, 5, 6, 2), "m.w": R(3, 5, 2, 3)}, "m(x)",
         "F.conv2d(first(x), kernel(w), padding=(0, 3)).permute(0, 2, 3, 1)", model="conv[3, [3, 5], pad=[0, 3], bias=false]"),
    case("conv/dilation", {"x": R(2, 9, 8, 2), "m.w": R(3, 3, 2, 3), "m.b": R(3)}, "m(x)",
         "F.conv2d(first(x), kernel(w), b, dilation=2, padding='same').permute(0, 2, 3, 1)", model="conv[3, 3, dilation=2]"),
    case("conv/groups", {"x": R(2, 5, 5, 6), "m.w": R(3, 3, 2, 9), "m.b": R(9)}, "m(x)",
         "F.conv2d(first(x), kernel(w), b, groups=3, padding=1).permute(0, 2, 3, 1)", model="conv[9, 3, groups=3]"),
    case("conv/a group a channel", {"x": R(2, 7, 5, 4), "m.w": R(3, 3, 1, 8), "m.b": R(8)}, "m(x)",
         "F.conv2d(first(x), kernel(w), b, groups=4, stride=2, padding=1).permute(0, 2, 3, 1)", model="conv[8, 3, stride=2, pad=1, groups=4]"),
    case("conv_transpose", {"x": R(2, 3, 4, 3), "m.w": R(4, 4, 2, 3), "m.b": R(2)}, "m(x)", "conv_back(x, w, b, stride=2, pad=same)",
         model="conv_transpose[2, 4, stride=2]"),
    case("conv_transpose/odd kernel", {"x": R(2, 3, 4, 3), "m.w": R(3, 3, 2, 3), "m.b": R(2)}, "m(x)", "conv_back(x, w, b, stride=2, pad=same)",
         model="conv_transpose[2, 3, stride=2]"),
    case("conv_transpose/kernel below stride", {"x": R(2, 3, 3), "m.w": R(2, 2, 3), "m.b": R(2)}, "m(x)", "conv_back(x, w, b, stride=3, pad=same)",
         model="conv_transpose[2, 2, stride=3]"),
    case("conv_transpose/valid, one axis", {"x": R(2, 4, 3), "m.w": R(3, 2, 3), "m.b": R(2)}, "m(x)",
         "F.conv_transpose1d(first(x), w.permute(2, 1, 0), b, stride=2).permute(0, 2, 1)", model="conv_transpose[2, 3, stride=2, pad=valid]"),
    case("conv_transpose/zeros, three axes", {"x": R(1, 3, 2, 3, 2), "m.w": R(3, 3, 3, 2, 2)}, "m(x)",
         "F.conv_transpose3d(first(x), w.permute(4, 3, 0, 1, 2), padding=1).permute(0, 2, 3, 4, 1)", model="conv_transpose[2, 3, pad=1, bias=false]"),
    case("maxpool", {"x": R(2, 6, 7, 3)}, "maxpool[2](x)", "F.max_pool2d(first(x), 2).permute(0, 2, 3, 1)"),
    case("maxpool/overlapping, padded", {"x": R(2, 7, 7, 3)}, "maxpool[3, stride=2, pad=1](x)",
         "F.max_pool2d(first(x), 3, 2, 1).permute(0, 2, 3, 1)"),
    case("maxpool/same", {"x": R(2, 6, 5, 2)}, "maxpool[3, stride=2, pad=same](x)",
         "F.max_pool2d(F.pad(first(x), [1, 1, 0, 1], value=-torch.inf), 3, 2).permute(0, 2, 3, 1)"),
    case("maxpool/one axis", {"x": R(2, 7, 3)}, "maxpool[3, stride=1](x)", "F.max_pool1d(first(x), 3, 1).permute(0, 2, 1)"),
    case("maxpool/three axes", {"x": R(1, 4, 4, 6, 2)}, "maxpool[[1, 2, 3]](x)", "F.max_pool3d(first(x), (1, 2, 3)).permute(0, 2, 3, 4, 1)"),
    case("maxpool/equal values", {"x": V([[[[1], [1], [0], [2]], [[1], [1], [2], [2]]]])}, "maxpool[2](x)",
         "F.max_pool2d(first(x), 2).permute(0, 2, 3, 1)"),
    case("avgpool", {"x": R(2, 6, 7, 3)}, "avgpool[2](x)", "F.avg_pool2d(first(x), 2).permute(0, 2, 3, 1)"),
    case("avgpool/padding does not count", {"x": R(2, 7, 7, 3)}, "avgpool[3, stride=2, pad=1](x)",
         "F.avg_pool2d(first(x), 3, 2, 1, count_include_pad=False).permute(0, 2, 3, 1)"),
    case("global_avgpool", {"x": R(2, 4, 5, 3)}, "global_avgpool(x)", "F.adaptive_avg_pool2d(first(x), 1).flatten(1)"),
    case("global_avgpool/one axis", {"x": R(2, 4, 3)}, "global_avgpool(x)", "F.adaptive_avg_pool1d(first(x), 1).flatten(1)"),
    case("unpool", {"y": R(2, 3, 3, 2), "x": S(2, 6, 7, 2)}, "unpool[2](y, x)", "unpool(y, x, 2, [6, 7])"),
    case("flatten", {"x": R(2, 3, 4, 2)}, "flatten(x)", "x.flatten(1)"),
    case("embedding", {"t": I([[1, 4, 1], [0, 3, 3]]), "m.E": R(5, 4)}, "m(t)", "F.embedding(t, E)", model="embedding[5, 4]"),
    case("dropout/not learning", {"x": R(2, 3)}, "m(x)", "F.dropout(x, 0.5, training=False)", model="dropout[0.5]"),
    case("batch_norm/learning", {"x": R(4, 3, 5, 2), "m.γ": R(2), "m.β": R(2), "m.running_mean": S(2), "m.running_var": V([0.5, 1.5])}, "m(x)",
         "batch_norm(x, γ, β, running_mean, running_var)", model="batch_norm", learn=True, after=["m.running_mean", "m.running_var"], rel=1e-7),
    case("batch_norm/momentum, eps", {"x": R(6, 3), "m.γ": R(3), "m.β": R(3), "m.running_mean": S(3), "m.running_var": V([0.5, 1.5, 2])}, "m(x)",
         "batch_norm(x, γ, β, running_mean, running_var, momentum=0.25, eps=0.01)", model="batch_norm[momentum=0.25, eps=0.01]", learn=True,
         after=["m.running_mean", "m.running_var"], rel=1e-7),
    case("batch_norm/not learning", {"x": R(4, 3, 2), "m.γ": R(2), "m.β": R(2), "m.running_mean": S(2), "m.running_var": V([0.5, 1.5])}, "m(x)",
         "F.batch_norm(x.flatten(0, 1), running_mean, running_var, γ, β).reshape(x.shape)", model="batch_norm"),
    case("layer_norm", {"x": R(2, 3, 6), "m.γ": R(6), "m.β": R(6)}, "m(x)", "F.layer_norm(x, [6], γ, β)", model="layer_norm"),
    case("residual", {"x": R(3, 4), "m.dense_1.w": R(4, 4), "m.dense_1.b": R(4)}, "m(x)", "x + F.linear(x, dense_1_w.T, dense_1_b)",
         model="residual[dense[4]]"),
    case("residual/of a function", {"x": R(3, 4)}, "m(x)", "x + torch.tanh(x)", model="residual[tanh]"),
]


LSTM = {**{f"m.cell.W{k}": R(7, 3, scale=0.5) for k in "fico"}, **{f"m.cell.b{k}": R(3) for k in "fico"}}
COUPLED = {k: w for k, w in LSTM.items() if k[-1] != "i"}
PEEPHOLE = {**LSTM, **{f"m.cell.W{k}": R(10, 3, scale=0.5) for k in "fio"}}
GRU = {**{f"m.cell.W{k}": R(4, 3, scale=0.5) for k in "zrh"}, **{f"m.cell.U{k}": R(3, 3, scale=0.5) for k in "zrh"},
       **{f"m.cell.b{k}": R(3) for k in "zrh"}}
RNN = {"m.cell.W": R(4, 3, scale=0.5), "m.cell.U": R(3, 3, scale=0.5), "m.cell.b": R(3)}


def inside(weights, path): return {k.replace("m.cell.", path): w for k, w in weights.items()}


SEQUENCE, STATE, CELL = R(2, 6, 4), R(2, 3), R(2, 3)
TWICE = lambda weights: {**inside(weights, "m.forward.cell."), **inside(weights, "m.backward.cell.")}

RECURRENT = [
    case("rnn_cell", {"x": R(2, 4), "h": STATE, **inside(RNN, "m.")}, "m(x, h)", "torch.rnn_tanh_cell(x, h, W.T, U.T, b, torch.zeros_like(b))",
         model="rnn_cell[3]"),
    case("lstm_cell", {"x": R(2, 4), "h": STATE, "c": CELL, **inside(LSTM, "m.")}, "h1, c1 = m(x, h, c)",
         "torch.lstm_cell(x, (h, c), *lstm_weights(Wf, Wi, Wc, Wo, bf, bi, bc, bo))", model="lstm_cell[3]"),
    case("peephole_lstm_cell", {"x": R(2, 4), "h": STATE, "c": CELL, **inside(PEEPHOLE, "m.")}, "h1, c1 = m(x, h, c)",
         "peephole(x, h, c, Wf, Wi, Wc, Wo, bf, bi, bc, bo)", model="peephole_lstm_cell[3]"),
    case("coupled_lstm_cell", {"x": R(2, 4), "h": STATE, "c": CELL, **inside(COUPLED, "m.")}, "h1, c1 = m(x, h, c)",
         "coupled(x, h, c, Wf, Wc, Wo, bf, bc, bo)", model="coupled_lstm_cell[3]"),
    case("gru_cell", {"x": R(2, 4), "h": STATE, **inside(GRU, "m.")}, "m(x, h)", "gru_before(x, h, Wz, Wr, Wh, Uz, Ur, Uh, bz, br, bh)",
         model="gru_cell[3]"),
    case("gru_cell/after", {"x": R(2, 4), "h": STATE, **inside(GRU, "m."), "m.ch": R(3)}, "m(x, h)",
         "torch.gru_cell(x, h, *gru_weights(Wz, Wr, Wh, Uz, Ur, Uh, bz, br, bh, ch))", model="gru_cell[3, after=true]"),
    case("rnn", {"x": SEQUENCE, **RNN}, "m(x)", "run(torch.nn.RNN(4, 3, batch_first=True), x, cell_W.T, cell_U.T, cell_b, 0 * cell_b)",
         model="rnn[3]"),
    case("lstm", {"x": SEQUENCE, **LSTM}, "m(x)",
         "run(torch.nn.LSTM(4, 3, batch_first=True), x, *lstm_weights(cell_Wf, cell_Wi, cell_Wc, cell_Wo, cell_bf, cell_bi, cell_bc, cell_bo))",
         model="lstm[3]"),
    case("peephole_lstm", {"x": SEQUENCE, **inside(PEEPHOLE, "m.lstm_1.cell.")}, "m(x)",
         "steps(peephole, x, 3, *[v[f'lstm_1_cell_{p}{k}'] for p in 'Wb' for k in 'fico'])", model="peephole_lstm[3]"),
    case("coupled_lstm", {"x": SEQUENCE, **inside(COUPLED, "m.lstm_1.cell.")}, "m(x)",
         "steps(coupled, x, 3, *[v[f'lstm_1_cell_{p}{k}'] for p in 'Wb' for k in 'fco'])", model="coupled_lstm[3]"),
    case("gru", {"x": SEQUENCE, **GRU}, "m(x)", "steps1(gru_before, x, 3, *[v[f'cell_{p}{k}'] for p in 'WUb' for k in 'zrh'])", model="gru[3]"),
    case("gru/after", {"x": SEQUENCE, **GRU, "m.cell.ch": R(3)}, "m(x)",
         "run(torch.nn.GRU(4, 3, batch_first=True), x, *gru_weights(*[v[f'cell_{p}{k}'] for p in 'WUb' for k in 'zrh'], cell_ch))",
         model="gru[3, after=true]"),
    case("bidirectional/lstm", {"x": SEQUENCE, **TWICE(LSTM)}, "m(x)",
         "run(torch.nn.LSTM(4, 3, batch_first=True, bidirectional=True), x, "
         "*[w for d in ('forward', 'backward') for w in lstm_weights(*[v[f'{d}_cell_{p}{k}'] for p in 'Wb' for k in 'fico'])])",
         model="bidirectional[lstm, 3]"),
    case("bidirectional/rnn", {"x": SEQUENCE, **TWICE(RNN)}, "m(x)",
         "run(torch.nn.RNN(4, 3, batch_first=True, bidirectional=True), x, "
         "*[w for d in ('forward', 'backward') for w in (v[d + '_cell_W'].T, v[d + '_cell_U'].T, v[d + '_cell_b'], 0 * v[d + '_cell_b'])])",
         model="bidirectional[rnn, 3]"),
]

MASK = I([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0]])

ATTENTION = [
    case("attend", {"e": R(2, 5), "h": R(2, 5, 3)}, "c, a = attend(e, h)", "(torch.softmax(e, -1)[:, None] @ h)[:, 0], torch.softmax(e, -1)"),
    case("additive_attention", {"q": R(2, 3), "k": R(2, 5, 4), "mask": MASK, "m.W": R(3, 6), "m.U": R(4, 6), "m.v": R(6)},
         "c, a = m(q, k, bool(mask))",
         "additive(q, k, mask, W, U, v['v'])", model="additive_attention[6]"),
    case("norm", {"x": R(2, 5)}, "norm(x)", "torch.linalg.vector_norm(x, dim=-1)"),
    case("dot_scores", {"q": R(2, 3), "k": R(2, 5, 3)}, "dot_scores(q, k)", "torch.einsum('bd,btd->bt', q, k)"),
    case("cosine_scores", {"q": R(2, 3), "k": R(2, 5, 3)}, "cosine_scores(q, k)", "F.cosine_similarity(q[:, None], k, -1)", rel=1e-7),
    # + 1e-8 below the line
    case("dot_attention", {"q": R(2, 3), "k": R(2, 5, 3)}, "c, a = dot_attention(q, k)", "dot_attention(q, k)"),
    case("cosine_attention", {"q": R(2, 3), "k": R(2, 5, 3)}, "c, a = cosine_attention(q, k)",
         "F.scaled_dot_product_attention(F.normalize(q, dim=-1)[:, None], F.normalize(k, dim=-1), k,"
         " scale=1.0)[:, 0], torch.softmax(F.cosine_similarity(q[:, None], k, -1), -1)", rel=1e-7),
    case("scaled_dot_product", {"q": R(2, 3, 4, 6), "k": R(2, 3, 5, 6), "w": R(2, 3, 5, 2), "mask": I([[[[1, 1, 0, 1, 0]] * 4]])},
         "scaled_dot_product(q, k, w, bool(mask))", "F.scaled_dot_product_attention(q, k, w, attn_mask=mask.bool())", rel=1e-7),
    case("multi_head_attention", {"x": R(2, 5, 8), "m.wq.w": R(8, 8, scale=0.5), "m.wk.w": R(8, 8, scale=0.5), "m.wv.w": R(8, 8, scale=0.5),
                                  "m.wo.w": R(8, 8, scale=0.5),
                                  "m.wo.b": R(8), "mask": I([[1] * (i + 1) + [0] * (4 - i) for i in range(5)])}, "m(x, x, x, bool(mask))",
         "multi_head(4, x, x, x, mask, wq_w, wk_w, wv_w, wo_w, wo_b)", model="multi_head_attention[4]", rel=1e-7),
    case("multi_head_attention/of another sequence", {"x": R(2, 3, 8), "y": R(2, 5, 8), "m.wq.w": R(8, 8, scale=0.5), "m.wk.w": R(8, 8, scale=0.5),
                                                      "m.wv.w": R(8, 8, scale=0.5), "m.wo.w": R(8, 8, scale=0.5), "m.wo.b": R(8),
                                                      "mask": I([[1] * 5] * 3)},
         "m(x, y, y, bool(mask))", "multi_head(2, x, y, y, mask, wq_w, wk_w, wv_w, wo_w, wo_b)", model="multi_head_attention[2]", rel=1e-7),
    case("positional_encoding", {"x": R(2, 7, 6)}, "positional_encoding(x)", "x + positions(7, 6)"),
]

LABELS, SIGNS, BITS = I([2, 0, 4]), V([1, -1, -1, 1]), V([1, 0, 0.25, 1])

LOSSES = [
    case("mse", {"y": R(3, 4), "t": R(3, 4)}, "mse(y, t)", "F.mse_loss(y, t)"),
    case("pick", {"x": R(2, 3, 4), "i": I([[3, 0, 1], [2, 2, 0]])}, "pick(x, i)", "x.gather(-1, i[..., None])[..., 0]"),
    case("nll", {"z": R(3, 5), "i": LABELS}, "nll(log_softmax(z), i)", "F.nll_loss(F.log_softmax(z, -1), i, reduction='none')"),
    case("cross_entropy", {"z": R(3, 5, scale=1024.0), "i": LABELS}, "cross_entropy(z, i)", "F.cross_entropy(z, i)"),
    case("cross_entropy/at every place", {"z": R(2, 3, 4), "i": I([[3, 0, 1], [2, 2, 0]])}, "cross_entropy(z, i)",
         "F.cross_entropy(z.flatten(0, 1), i.flatten())"),
    case("cross_entropy/smooth", {"z": R(3, 5), "i": LABELS}, "cross_entropy(z, i, smooth=0.1)", "F.cross_entropy(z, i, label_smoothing=0.1)",
         rel=1e-7),
    case("masked_cross_entropy", {"z": R(2, 3, 4), "i": I([[3, 0, 1], [2, 2, 0]]), "m": I([[1, 0, 1], [0, 1, 0]])},
         "masked_cross_entropy(z, i, bool(m))",
         "F.cross_entropy(z.flatten(0, 1), torch.where(m.bool(), i, -100).flatten())"),
    case("binary_nll", {"z": V([-40, -1, 2, 0]), "y": BITS}, "binary_nll(z, y)", "F.binary_cross_entropy_with_logits(z, y, reduction='none')"),
    case("bce", {"z": R(4, scale=64.0), "y": BITS}, "bce(z, y)", "F.binary_cross_entropy_with_logits(z, y)"),
    case("hinge", {"z": V([0.5, 0.25, -3, 1]), "y": SIGNS}, "hinge(z, y)", "torch.relu(1 - y * z).mean()"),
    case("kl_normal", {"μ": R(3, 4), "s": R(3, 4)}, "kl_normal(μ, s)",
         "kl(torch.distributions.Normal(μ, (s / 2).exp()), torch.distributions.Normal(0 * μ, 1)).sum(-1)"),
    case("l1", {"x": R(1, 3), "m.w": R(3, 4), "m.b": R(4)}, "sum(m(x)) + l1(m)", "(x @ w + b).sum() + torch.linalg.vector_norm(w, 1)",
         model="dense[4]"),
    case("l2", {"x": R(1, 3), "m.w": R(3, 4), "m.b": R(4)}, "sum(m(x)) + l2(m)", "(x @ w + b).sum() + torch.linalg.vector_norm(w) ** 2",
         model="dense[4]"),
    case("total", {"a": R(2), "b": R(2)}, "total([a, b, a])", "torch.stack([a, b, a]).sum(0)"),
    case("accuracy", {"z": R(7, 3), "i": I([0, 1, 2, 0, 1, 2, 0])}, "accuracy(z, i)", "(z.argmax(-1) == i).double().mean()", grads=False),
    case("top_k_accuracy", {"z": R(7, 5), "i": I([0, 1, 2, 0, 1, 2, 4])}, "top_k_accuracy[2](z, i)",
         "(z.topk(2).indices == i[:, None]).any(-1).double().mean()", grads=False),
    case("perplexity", {"x": R(3)}, "perplexity(x)", "torch.exp(x)"),
    case("confusion", {"z": R(9, 3), "i": I([0, 1, 2, 0, 1, 2, 0, 0, 1])}, "confusion(z, i)",
         "torch.bincount(3 * i + z.argmax(-1), minlength=9).reshape(3, 3).double() / 9", grads=False),
]

EARLY = "[0, 1, 2, 3, 5, 7, 9, 10]"
TIMES = "[0, 1, 2, 3, 7, 9, 10, 11, 25]"
# a literal tensor is f32: its numbers are rounded once
SCHEDULES = [
    case("exponential", {}, f"f32([exponential(0.1, 0.9, t) for t in {TIMES}])", f"schedule(lambda o: LR.ExponentialLR(o, 0.9), {TIMES})", rel=1e-7),
    case("exponential/every", {}, f"f32([exponential(0.1, 0.9, t, every=4) for t in {TIMES}])",
         f"schedule(lambda o: LR.ExponentialLR(o, 0.9 ** 0.25), {TIMES})", rel=1e-7),
    case("staircase", {}, f"f32([staircase(0.1, 0.5, t, 4) for t in {TIMES}])", f"schedule(lambda o: LR.StepLR(o, 4, 0.5), {TIMES})", rel=1e-7),
    case("cosine", {}, f"f32([cosine(0.1, t, 10) for t in {EARLY}])", f"schedule(lambda o: LR.CosineAnnealingLR(o, 10), {EARLY})", rel=1e-7),
    case("cosine/after its end", {}, "f32([cosine(0.1, t, 10) for t in [10, 11, 25]])", "torch.zeros(3, dtype=torch.float64)", rel=1e-7),
    case("warmup", {}, f"f32([warmup(0.1, t, 10) for t in {TIMES}])", f"schedule(lambda o: LR.LinearLR(o, 0.1, 1.0, 9), {TIMES})", rel=1e-7),
    case("inverse_sqrt", {}, f"f32([inverse_sqrt(0.1, t, 10) for t in {TIMES}])",
         f"schedule(lambda o: LR.LambdaLR(o, lambda t: min((t + 1) / 10, (10 / (t + 1)) ** 0.5)), {TIMES})", rel=1e-7),
]

PREPROCESS = [
    case("standardize", {"x": R(4, 3), "μ": R(3), "σ": V([0.5, 1, 2])}, "standardize(x, μ, σ)", "(x - μ) / (σ + 1e-8)"),
    case("global_contrast", {"x": R(4, 6)}, "global_contrast(x)", "F.layer_norm(x, [6], eps=1e-8)"),
    case("zca", {"x": R(9, 3), "μ": R(3), "W": R(3, 3)}, "zca(x, μ, W)", "F.linear(x - μ, W.T)"),
    case("matrix_inverse_sqrt", {"A": R(5, 5)}, "matrix_inverse_sqrt(f64(A @ A' + eye(5)))",
         "inverse_sqrt(A @ A.T + torch.eye(5, dtype=torch.float64))"),
    case("bilinear", {"x": R(2, 5, 6, 3), "u": R(2, 3, 4, scale=8.0), "w": R(2, 3, 4, scale=8.0)}, "bilinear(x, u, w)", "grid_sample(x, u, w)"),
    case("fan_in/kernels", {}, "f32([fan_in([3, 5, 4, 8]), fan_out([3, 5, 4, 8]), fan_in([6, 7]), fan_out([6, 7])])",
         "torch.tensor([*fans(8, 4, 3, 5), *fans(7, 6)], dtype=torch.float64)"),
    case("fan_out/kernels", {}, "f32([fan_out([2, 3, 5, 4, 8])])", "torch.tensor([fans(8, 4, 2, 3, 5)[1]], dtype=torch.float64)"),
]

ELEMENTS = [case(f"{name}", {"x": V(values)}, f"{name}(x)", torch or f"torch.{name}(x)", rel=1e-7 if name == "erf" else 1e-10) for name, values,
            torch in [
    ("exp", [-700, -1, 0, 0.5, 20], ""), ("log", [2**-100, 0.5, 1, 3, 2.0**100], ""), ("log1p", [-0.5, 2**-40, 0, 4], ""),
    ("expm1", [-40, -2**-40, 0, 4], ""), ("sqrt", [2**-66, 0.5, 2, 9], ""),
    ("abs", [-2, 0, 3], ""), ("sign", [-2, 0, 3], ""), ("floor", [-2.5, -2, 0.5, 3], ""), ("ceil", [-2.5, -2, 0.5, 3], ""),
    ("round", [-2.5, -1.5, 0.5, 1.5, 2.4], ""),
    ("sin", [-9, -0.5, 0, 1, 100], ""), ("cos", [-9, -0.5, 0, 1, 100], ""), ("tanh", [-30, -0.5, 0, 2**-30, 2], ""),
    ("erf", [-7, -0.5, 0, 2**-30, 2], "")]]

BUILTINS = ELEMENTS + [
    case("clip", {"x": V([-2, -1, 0, 0.5, 1, 3])}, "clip(x, -1, 1)", "torch.clamp(x, -1, 1)"),
    case("max/of two", {"a": R(3, 4), "b": R(4)}, "max(a, b)", "torch.maximum(a, b)"),
    case("min/of two", {"a": R(3, 4), "b": R(3, 1)}, "min(a, b)", "torch.minimum(a, b)"),
    case("max/axis", {"x": R(3, 4, 2)}, "max(x, axis=1); max(x, axis=[0, 2]); max(x); max(x, axis=-1, keepdims=true)",
         "x.amax(1), x.amax((0, 2)), x.amax(), x.amax(-1, keepdim=True)"),
    case("min/axis", {"x": R(3, 4, 2)}, "min(x, axis=1); min(x, axis=[0, 2]); min(x); min(x, axis=0, keepdims=true)",
         "x.amin(1), x.amin((0, 2)), x.amin(), x.amin(0, keepdim=True)"),
    case("max/the first of equal ones", {"x": V([[1, 3, 3], [2, 2, 0]])}, "max(x, axis=1)", "x.max(1).values"),
    case("sum", {"x": R(3, 4, 2)}, "sum(x); sum(x, axis=1); sum(x, axis=[0, -1], keepdims=true)", "x.sum(), x.sum(1), x.sum((0, 2), keepdim=True)"),
    case("mean", {"x": R(3, 4, 2)}, "mean(x); mean(x, axis=1); mean(x, axis=[0, -1], keepdims=true)",
         "x.mean(), x.mean(1), x.mean((0, 2), keepdim=True)"),
    case("prod", {"x": R(3, 4)}, "prod(x); prod(x, axis=1)", "x.prod(), x.prod(1)"),
    case("prod/with zeros", {"x": V([[2, 0, 3], [0, 0, 1], [1, 2, 4]])}, "prod(x, axis=1)", "x.prod(1)"),
    case("any", {"x": R(3, 4)}, "any(x > 1.5, axis=1); any(x > 9)", "(x > 1.5).any(1), (x > 9).any()", grads=False),
    case("all", {"x": R(3, 4)}, "all(x > -1.5, axis=0); all(x < 9)", "(x > -1.5).all(0), (x < 9).all()", grads=False),
    case("argmax", {"x": R(3, 4, 2)}, "argmax(x); argmax(x, axis=1)", "x.argmax(-1), x.argmax(1)", grads=False),
    case("argmin", {"x": R(3, 4, 2)}, "argmin(x); argmin(x, axis=0)", "x.argmin(-1), x.argmin(0)", grads=False),
    case("argmax/the first of equal ones", {"x": V([[1, 3, 3], [2, 2, 0]])}, "argmax(x); argmin(-x)", "torch.tensor([1, 0]), torch.tensor([1, 0])",
         grads=False),
    case("reshape", {"x": R(2, 6)}, "reshape(x, [3, 4])", "x.reshape(3, 4)"),
    case("transpose", {"x": R(2, 3, 4)}, "transpose(x, [2, 0, 1]); x'", "x.permute(2, 0, 1), x.mT"),
    case("concat", {"a": R(2, 3), "b": R(2, 1), "c": R(4, 3)}, "concat([a, b], axis=-1); concat([a, c], axis=0)",
         "torch.cat([a, b], -1), torch.cat([a, c])"),
    case("stack", {"a": R(2, 3), "b": R(2, 3)}, "stack([a, b], axis=1); stack([a, b], axis=-1)", "torch.stack([a, b], 1), torch.stack([a, b], -1)"),
    case("split", {"x": R(2, 6)}, "split(x, 3, axis=1)[0]; split(x, 3, axis=1)[2]; split(x, 2, axis=0)[1]",
         "x.chunk(3, 1)[0], x.chunk(3, 1)[2], x.chunk(2)[1]"),
    case("reverse", {"x": R(2, 3, 4)}, "reverse(x, axis=1); reverse(x, axis=-1)", "x.flip(1), x.flip(-1)"),
    case("pad", {"x": R(2, 3)}, "pad(x, [[1, 0], [0, 2]]); pad(x, [[0, 1], [2, 1]], value=0.5)",
         "F.pad(x, (0, 2, 1, 0)), F.pad(x, (2, 1, 0, 1), value=0.5)"),
    case("broadcast", {"x": R(3, 1)}, "broadcast(x, [2, 3, 4])", "x.expand(2, 3, 4)"),
    case("expand", {"x": R(3, 2)}, "expand(x, 1); expand(x, -1)", "x[:, None], x[..., None]"),
    case("shape", {"x": R(3, 2, 4)}, "f32(shape(x)) + 0 * sum(x)", "torch.tensor(x.shape, dtype=torch.float64) + 0 * x.sum()"),
    case("len", {"x": R(3, 2)}, "len(x) * x", "len(x) * x"),
    case("zeros", {}, "zeros([2, 3])", "torch.zeros(2, 3)"),
    case("ones", {}, "ones([2, 3])", "torch.ones(2, 3)"),
    case("full", {}, "full([2, 3], 0.5)", "torch.full((2, 3), 0.5)"),
    case("eye", {}, "eye(3)", "torch.eye(3)"),
    case("arange", {}, "f32(arange(5)); f32(arange(2, 7))", "torch.arange(5).double(), torch.arange(2, 7).double()"),
    case("one_hot", {"i": I([[1, 0], [3, 2]])}, "one_hot(i, 4)", "F.one_hot(i, 4).double()"),
    case("gather", {"x": R(3, 4), "i": I([[0, 2, 2], [3, 3, 1], [1, 0, 0]])}, "gather(x, i, axis=1); gather(x', i', axis=0)",
         "x.gather(1, i), x.T.gather(0, i.T)"),
    case("sort", {"x": R(3, 7)}, "sort(x); sort(x, axis=0)", "x.sort().values, x.sort(0).values"),
    case("sort/equal values", {"x": V([2, 1, 2, 1, 0])}, "sort(x)", "x.sort(stable=True).values"),
    case("top_k", {"x": R(3, 7)}, "y, i = top_k(x, 3)", "x.topk(3).values, x.topk(3).indices.double()"),
    case("convolve", {"x": R(2, 6, 7, 4), "w": R(3, 2, 2, 6)}, "convolve(x, w, stride=[2, 1], pad=[1, 0], dilation=[1, 2], groups=2)",
         "F.conv2d(first(x), kernel(w), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2).permute(0, 2, 3, 1)"),
    case("convolve_back", {"x": R(2, 3, 4, 2), "w": R(3, 3, 4, 2)}, "convolve_back(x, w, stride=2, pad=1)",
         "F.conv_transpose2d(first(x), w.permute(3, 2, 0, 1), stride=2, padding=1).permute(0, 2, 3, 1)"),
    case("max_windows", {"x": R(2, 6, 7, 2)}, "max_windows(x, [3, 2], stride=[2, 1], pad=valid)",
         "F.max_pool2d(first(x), (3, 2), (2, 1)).permute(0, 2, 3, 1)"),
    case("sum_windows", {"x": R(2, 6, 7, 2)}, "sum_windows(x, 3, stride=2, pad=1)", "(9 * F.avg_pool2d(first(x), 3, 2, 1)).permute(0, 2, 3, 1)"),
    case("einsum", {"a": R(2, 3, 4), "b": R(2, 4, 5), "c": R(5)},
         'einsum("bij,bjk->bik", a, b); einsum("bij,bjk,k->i", a, b, c); einsum("bij->jb", a); einsum("bij,bjk->", a, b)',
         "torch.einsum('bij,bjk->bik', a, b), torch.einsum('bij,bjk,k->i', a, b, c), torch.einsum('bij->jb', a), torch.einsum('bij,bjk->', a, b)"),
    case("stop_gradient", {"x": R(3)}, "x * stop_gradient(x)", "x * x.detach()"),
    case("grad", {"x": R(4)}, "grad(sum(x^3), x); grad(sum(grad(sum(exp(x) * x), x)^2), x)",
         "3 * x ** 2, 2 * (torch.exp(x) * (x + 1)) * (torch.exp(x) * (x + 2))"),
    case("params", {"x": R(1, 3), "m.w": R(3, 4), "m.b": R(4)}, "sum(m(x)) + total([sum(p^2) for p in params(m)])",
         "(x @ w + b).sum() + (w ** 2).sum() + (b ** 2).sum()", model="dense[4]"),
    case("weights", {"x": R(1, 3), "m.w": R(3, 4), "m.b": R(4)}, "sum(m(x)) + weights(m)[0]", "(x @ w + b).sum() + w", model="dense[4]"),
    case("operators/arithmetic", {"a": R(3, 4), "b": R(4), "p": V([0.5, 1, 2, 3])},
         "a + b; a - b; a * b; a / p; p ^ a; p ^ 2.5; -a; a % p; 2 - a; 1 / p",
         "a + b, a - b, a * b, a / p, p ** a, p ** 2.5, -a, torch.remainder(a, p), 2 - a, 1 / p"),
    case("operators/floor division", {"a": R(3, 4), "p": V([0.5, -1, 2, 3])}, "a // p", "torch.floor(a / p.detach()).detach()", grads=False),
    case("operators/of integers", {"i": I([-7, -1, 0, 8]), "j": I([3, -2, 4, 3])}, "f32(i // j); f32(i % j); f32(i * j - i)",
         "torch.floor_divide(i, j).double(), torch.remainder(i, j).double(), (i * j - i).double()", grads=False),
    case("operators/matrix product", {"a": R(2, 3, 4), "b": R(2, 4, 5), "w": R(4, 2), "u": R(4), "s": R(3)},
         "a @ b; a @ w; a @ u; u @ w; u @ u; s @ a", "a @ b, a @ w, a @ u, u @ w, u @ u, s @ a"),
    case("operators/comparison", {"a": V([1, 2, 3]), "b": V([2, 2, 2])},
         "f32(a == b); f32(a != b); f32(a < b); f32(a <= b); f32(a > b); f32(a >= b); f32(a < b or a > b and not (a == 3))",
         "(a == b).double(), (a != b).double(), (a < b).double(), (a <= b).double(), "
         "(a > b).double(), (a >= b).double(), torch.tensor([1.0, 0, 0])", grads=False),
    case("operators/choice", {"a": R(3, 4), "b": R(4)}, "if a > 0 then a * b else b; sum(if a > 0 then sqrt(a) else a)",
         "torch.where(a > 0, a * b, b), torch.where(a > 0, a.clamp(min=1e-9).sqrt(), a).sum()"),
    case("index/constants", {"x": R(3, 4, 5)}, "x[1]; x[:, 2]; x[..., -1]; x[1:3]; x[:, 0:-1, 2:]; x[:, new]; x[..., new]",
         "x[1], x[:, 2], x[..., -1], x[1:3], x[:, 0:-1, 2:], x[:, None], x[..., None]"),
    case("index/tensors", {"x": R(5, 2), "i": I([[1, 4], [1, 0]])}, "x[i]; x[i[0, 1]]; x[:, i[0, 0]]", "x[i], x[i[0, 1]], x[:, i[0, 0]]"),
    case("convert", {"x": V([-1.5, 0, 2.75, 255.25])}, "f32(i32(x)); f32(u8(max(x, 0))); f32(bool(x)); f64(x)",
         "x.trunc(), x.clamp(min=0).trunc(), (x != 0).double(), x", grads=False),
    case("scan", {"x": R(2, 5, 3), "a": R(2, 3)}, "decay(x, a)", "decay(x, a)",
         fn="fn decay(x: f32[B, T, D], a: f32[B, D]) {\n    h = a\n"
            "    return scan xt in x along 1 {\n        h = tanh(h * xt) + h / 2\n        yield h\n    }\n}"),
    case("scan/backwards", {"x": R(2, 5, 3), "a": R(2, 3)}, "y, h = decay_back(x, a)", "decay(x.flip(1), a).flip(1), decay(x.flip(1), a)[:, -1]",
         fn="fn decay_back(x: f32[B, T, D], a: f32[B, D]) {\n    h = a\n"
            "    y = scan xt in x along 1 backwards {\n        h = tanh(h * xt) + h / 2\n        yield h\n    }\n    return y, h\n}"),
    case("scan/range", {"x": R(2, 5), "a": R(2)}, "ramp(x, a)", "torch.stack([a + t * x[:, t] for t in range(5)], 1).cumsum(1)",
         fn="fn ramp(x: f32[B, T], a: f32[B]) {\n    s = zeros([B])\n    return scan t in 0..T along 1 {\n        s = s + a + t * x[:, t]\n        yield s\n    }\n}"),
    case("scan/two sequences, two results", {"x": R(2, 5, 3), "m": I([[1, 0, 1, 1, 0], [0, 1, 1, 0, 0]])}, "y, z = pairs(x, bool(m))", "pairs(x, m)",
         fn="fn pairs(x: f32[B, T, D], m: bool[B, T]) {\n    h = zeros([B, D])\n    y, z = scan xt, mt in x, m along 1 {\n"
            "        h = if mt[:, new] then tanh(h + xt) else h\n        yield h, h * xt\n    }\n    return y, z\n}"),
    case("scan/nested", {"x": R(3, 4)}, "grid(x)", "grid(x)",
         fn="fn grid(x: f32[M, N]) {\n    total = zeros([])\n    return scan row in x along 0 {\n        inner = scan v in row along 0 {\n"
            "            total = sin(total + v)\n            yield total\n        }\n        yield inner\n    }\n}"),
    case("while", {"a": R(3)}, "halved(a)", "a / 2 ** 6", grads=False,
         fn="fn halved(a: f32[D]) {\n    while max(abs(a)) > 0.03125 max 9 { a = a / 2 }\n    return a\n}"),
    case("index/assigned", {"x": R(3, 4), "w": R(4), "i": I([2])}, "put(x, w, i[0])", "put(x, w)",
         fn="fn put(x: f32[M, N], v: f32[N], i: i32) {\n    x[1] = v\n    x[:, i] = 2 * x[:, 0]\n    return x\n}"),
    case("sum/of integers", {"i": I([[3, -4, 5], [7, 2, -1]])}, "f32(sum(i)); f32(prod(i, axis=1)); f32(max(i, axis=0)); f32(min(i)); f32(argmax(i)); f32(sort(i))",
         "i.sum().double(), i.prod(1).double(), i.amax(0).double(), i.amin().double(), i.argmax(-1).double(), i.sort().values.double()", grads=False),
    case("repeat", {"a": R(2, 3)}, "again(a)", "again(a, 7)", fn="fn again(a: f32[B, D]) {\n    repeat 7 { a = tanh(a) + a / 2 }\n    return a\n}"),
]

FAMILIES = {"activations": ACTIVATIONS, "layers": LAYERS, "recurrent": RECURRENT, "attention": ATTENTION, "losses": LOSSES, "schedules": SCHEDULES,
            "preprocess": PREPROCESS, "builtins": BUILTINS}
