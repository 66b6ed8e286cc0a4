/*
 * elab_expr.c - the forms of expressions: names, operators (elab_operator.c computes them), calls, pipes, brackets, lists, strings.
 */
#include "elab.h"

static Val no_bools(Elab *e, const AstNode *n, Val a, Val b) {
    return elab_error(e, n->loc, 201, "`%s` is for bools, not %s and %s", ast_operator_text(n->binary.op), val_text(e, a),
                      val_text(e, b));
}

static Val logic(Elab *e, const AstNode *n) {
    bool is_and = n->binary.op == OPERATOR_AND;
    Val a = expr_read(e, n->binary.left);
    if (a.kind == VAL_BOOL && a.truth != is_and) return a; /* decides alone */
    Val b = expr_read(e, n->binary.right);
    if (a.kind == VAL_ERROR || b.kind == VAL_ERROR) return val_error();
    emit_at(e, n->loc);
    if (val_is_number(a) || val_is_number(b) || a.kind == VAL_STRING || b.kind == VAL_STRING || a.kind == VAL_LIST ||
        b.kind == VAL_LIST)
        return no_bools(e, n, a, b);
    if (a.kind == VAL_BOOL && b.kind == VAL_BOOL) return b;
    Value *x = a.kind == VAL_BOOL ? NULL : tensor_of(e, a, n->binary.left->loc);
    Value *y = b.kind == VAL_BOOL ? NULL : tensor_of(e, b, n->binary.right->loc);
    if ((!x && a.kind != VAL_BOOL) || (!y && b.kind != VAL_BOOL)) return val_error();
    if ((x && x->type->elem != BOOL) || (y && y->type->elem != BOOL)) return no_bools(e, n, a, b);
    if (a.kind == VAL_BOOL) return b; /* (true and b, false or b) */
    if (b.kind == VAL_BOOL) return b.truth == is_and ? a : b;
    if (!expr_pair(e, val_tensor(x), val_tensor(y), n->loc, &x, &y)) return val_error();
    return val_tensor(emit_binary(e, is_and ? OP_and : OP_or, x, y));
}

static Val range(Elab *e, const AstNode *n) {
    int64_t from, to;
    if (!expr_whole(e, n->binary.left, "the beginning of a range", &from) ||
        !expr_whole(e, n->binary.right, "the end of a range", &to))
        return val_error();
    if (to - from > LIMIT_LIST) return elab_error(e, n->loc, 219, "a list has at most %d elements", (int)LIMIT_LIST);
    ValList *l = arena_make(e->a, ValList);
    l->n = to > from ? (size_t)(to - from) : 0;
    if (!elab_work(e, n->loc, (int64_t)l->n)) return val_error();
    l->at = arena_make_n(e->a, Val, l->n + 1);
    for (size_t i = 0; i < l->n; i++) l->at[i] = val_number((double)(from + (int64_t)i));
    return (Val){.kind = VAL_LIST, .list = l};
}

static Val unary(Elab *e, const AstNode *n) {
    Val v = expr_read(e, n->unary.operand);
    if (v.kind == VAL_ERROR) return v;
    emit_at(e, n->loc);
    switch ((int)n->unary.op) {
    case OPERATOR_NEG:
        if (v.kind == VAL_NUMBER && !v.batch) return val_number(-v.num);
        if (val_is_number(v))
            return val_scalar(emit_unary(e, OP_neg, number_as(e, v, F64, n->loc)), v.kind == VAL_NUMBER || v.whole);
        break;
    case OPERATOR_NOT:
        if (v.kind == VAL_BOOL) return val_bool(!v.truth);
        break;
    default: break;
    }
    if (val_is_number(v))
        return elab_error(e, n->loc, 211, "`%s` does not work on %s", ast_operator_text(n->unary.op), val_text(e, v));
    Value *x = tensor_of(e, v, n->unary.operand->loc);
    if (!x) return val_error();
    if (n->unary.op == OPERATOR_NOT) {
        if (x->type->elem != BOOL) return elab_error(e, n->loc, 201, "`not` is for bools, not %s", type_name(x->type));
        return val_tensor(emit_unary(e, OP_not, x));
    }
    if (n->unary.op == OPERATOR_NEG) {
        if (x->type->elem == BOOL) return elab_error(e, n->loc, 201, "`-` of bools (%s)", type_name(x->type));
        return val_tensor(emit_unary(e, OP_neg, x));
    }
    int r = x->type->rank;
    if (r < 2) return elab_error(e, n->loc, 211, "`'` exchanges the last two axes, and %s has %d", type_name(x->type), r);
    int64_t perm[MAX_RANK];
    for (int i = 0; i < r; i++) perm[i] = i;
    perm[r - 1] = r - 2;
    perm[r - 2] = r - 1;
    return val_tensor(emit_transpose(e, x, perm));
}

static Val choice(Elab *e, const AstNode *n) {
    Val c = expr_read(e, n->choice.condition);
    if (c.kind == VAL_ERROR) return c;
    if (c.kind == VAL_BOOL) return expr_read(e, c.truth ? n->choice.yes : n->choice.no);
    if (val_is_number(c)) return elab_error(e, n->choice.condition->loc, 215, "a condition is a bool, not %s", val_text(e, c));
    Val a = expr_read(e, n->choice.yes), b = expr_read(e, n->choice.no);
    emit_at(e, n->loc);
    return expr_select(e, c, a, b, n->loc);
}

/* The callee of a call or pipe: names skip what cannot be applied (N1). */
static Val callee(Elab *e, const AstNode *n) {
    if (n->kind == AST_NAME) return names_lookup_applied(e, n);
    if (n->kind == AST_BRACKET && !names_is_list(e, n->call.callee)) { /* (nets[0] is an element, of a list of models) */
        Val base = callee(e, n->call.callee);
        if (base.kind == VAL_FUNCTION) return configure(e, base, n);
    }
    return expr(e, n);
}

/* A call is not made because of an error in it: what it would have applied. */
static Val not_called(Elab *e, Val f, const Args *args) {
    for (size_t i = 0; i <= args->n; i++) {
        Val v = i < args->n ? args->at[i].val : f;
        if (v.kind == VAL_INSTANCE) v.inst->attempted = true;
        if (v.kind == VAL_FUNCTION && v.fn->kind == FN_USER) mention(e, v.fn->decl);
    }
    return val_error();
}

static Val pipe(Elab *e, const AstNode *n) {
    Val v = expr(e, n->pipe.value);
    const AstNode *t = n->pipe.target;
    bool spread = t->kind == AST_CALL && !t->paren;
    Val f = callee(e, spread ? t->call.callee : t);
    Args args = {0};
    vec_push(e->a, &args, ((Arg){.val = v, .loc = n->pipe.value->loc}));
    if (spread && !args_eval(e, &t->call.items, &args)) return not_called(e, f, &args);
    if (v.kind == VAL_ERROR || f.kind == VAL_ERROR) return not_called(e, f, &args);
    return call(e, spread ? t->call.callee : t, f, &args);
}

static Val apply(Elab *e, const AstNode *n) {
    Val f = callee(e, n->call.callee);
    Args args = {0};
    bool ok = args_eval(e, &n->call.items, &args);
    if (!ok || f.kind == VAL_ERROR) return not_called(e, f, &args);
    return call(e, n->call.callee, f, &args);
}

/* f[10]: a function with its configuration; of a layer inside a layer, an instance. x[i]: an element. */
static Val bracket(Elab *e, const AstNode *n) {
    Val base = n->call.callee->kind == AST_NAME ? names_lookup(e, n->call.callee) : expr(e, n->call.callee);
    if (base.kind == VAL_ERROR) return base;
    if (base.kind != VAL_FUNCTION) return expr_element(e, base, n);
    Val f = configure(e, base, n);
    if (f.kind == VAL_FUNCTION && f.fn->kind == FN_LAYER && e->self) {
        Instance *i = instance_at(e, f.fn, f.fn->config, n, e->self, NULL);
        return i ? (Val){.kind = VAL_INSTANCE, .inst = i} : val_error();
    }
    return f;
}

static Val list(Elab *e, const AstNode *n) {
    Vec(Val) out = {0};
    bool failed = false;
    for (uint32_t i = 0; i < n->list.items.n; i++) {
        Val v = expr(e, n->list.items.at[i]);
        failed = failed || v.kind == VAL_ERROR;
        vec_push(e->a, &out, v);
    }
    return failed ? val_error() : val_list(e, VAL_LIST, out.n, out.at);
}

/* What a copied `for` or a comprehension runs over. */
Val list_elements(Elab *e, Val v, Loc at) {
    if (v.kind == VAL_LIST || v.kind == VAL_ERROR) return v;
    if (v.kind == VAL_TENSOR || v.kind == VAL_OWNED) {
        elab_error(e, at, 103, "`for` runs over a list or a range, not over %s", val_text(e, v));
        elab_note(e, (Loc){0}, "`scan x in xs along AXIS { }` runs along an axis of a tensor");
        return val_error();
    }
    elab_error(e, at, 103, "`for` runs over a list or a range, not over %s", val_text(e, v));
    if (v.kind == VAL_NUMBER && !v.batch) elab_note(e, (Loc){0}, "a range is written `0..%.7g`", v.num);
    if (v.kind == VAL_SCALAR) elab_note(e, (Loc){0}, "a range is written a..b");
    if (v.kind == VAL_DATA) elab_note(e, (Loc){0}, "samples come in batches: `for ... in %s batch 32 { }`", v.data->name);
    return val_error();
}

static Val comprehension(Elab *e, const AstNode *n) {
    const Nodes *names = &n->comprehension.names, *sources = &n->comprehension.sources;
    Vec(Val) lists = {0};
    for (uint32_t i = 0; i < sources->n; i++) {
        Val v = list_elements(e, expr(e, sources->at[i]), sources->at[i]->loc);
        if (v.kind == VAL_ERROR) return v;
        if (i && v.list->n != lists.at[0].list->n)
            return elab_error(e, sources->at[i]->loc, 106, "lists side by side are of one length: %zu and %zu",
                              lists.at[0].list->n, v.list->n);
        vec_push(e->a, &lists, v);
    }
    if (!clause_fits(e, names, lists.n, lists.at[0])) return val_error();
    Vec(Val) out = {0};
    Scope *saved = e->scope;
    const Path *path = e->path;
    uint64_t site = e->site;
    e->scope = scope_push(e, saved, false); /* one for all copies: none leaves a name behind, and a list may be long */
    for (size_t k = 0; k < lists.at[0].list->n && !e->stopped; k++) {
        for (uint32_t i = 0; i < names->n; i++) {
            Val v = lists.n == names->n ? lists.at[i].list->at[k] : lists.at[0].list->at[k];
            if (lists.n != names->n) v = v.list->at[i]; /* clause_fits has looked */
            scope_bind(e, e->scope, names->at[i]->name, v, names->at[i]->loc);
        }
        Path *p = arena_make(e->a, Path);
        *p = (Path){.up = path, .loc = n->loc, .copy = (int64_t)k};
        e->path = p;
        e->site = hash_bytes(&k, sizeof k, site);
        vec_push(e->a, &out, expr(e, n->comprehension.element));
        if (out.n > LIMIT_LIST) {
            elab_error(e, n->loc, 219, "a list has at most %d elements", (int)LIMIT_LIST);
            break;
        }
    }
    e->scope = saved;
    e->path = path;
    e->site = site;
    for (size_t i = 0; i < out.n; i++)
        if (out.at[i].kind == VAL_ERROR) return val_error();
    return val_list(e, VAL_LIST, out.n, out.at);
}

static Val string(Elab *e, const AstNode *n) {
    if (n->string.plain) return val_string(intern_n(n->string.text, n->string.size));
    Text t = {0};
    for (uint32_t i = 0; i < n->string.n; i++) {
        const AstPiece *p = &n->string.pieces[i];
        if (t.n > 1 << 20) return elab_error(e, n->loc, 219, "a string known when compiled has at most 1 MiB");
        if (!p->name) {
            text_printf(e->a, &t, "%.*s", (int)p->n, p->text);
            continue;
        }
        Val v = names_lookup(e, p->name);
        if (v.kind == VAL_ERROR) return v;
        if (v.kind == VAL_NUMBER && !v.batch)
            text_printf(e->a, &t, "%.*g", p->digits ? p->digits : 7, v.num);
        else if (v.kind == VAL_STRING)
            text_add(e->a, &t, v.text);
        else
            return elab_error(e, p->name->loc, 110, "`%s` is not known when compiled", p->name->name);
    }
    return val_string(intern(text_str(e->a, &t)));
}

Val val_member(Elab *e, Val base, const char *name, Loc at) {
    if (base.kind == VAL_ERROR) return base;
    if (base.kind != VAL_INSTANCE) {
        elab_error(e, at, 108, "%s has no member `%s`", val_text(e, base), name);
        hint_member(e, base, name);
        return val_error();
    }
    Instance *i = base.inst;
    if (!instance_complete(e, i, at)) return val_error();
    Binding *b = NULL;
    for (Scope *s = i->members; s && !b; s = NULL) b = scope_find_here(s, name);
    if (b && (b->fixed || b->val.kind == VAL_FUNCTION) && !b->dim) return b->val;
    Vec(const char *) known = {0};
    for (Binding *k = i->members->first; k; k = k->next)
        if (k->fixed && !k->dim) vec_push(e->a, &known, k->name);
    for (size_t k = 0, n = known.n; k < n / 2; k++) { /* the list begins with the latest; a reader wants the order of the text */
        const char *swap = known.at[k];
        known.at[k] = known.at[n - 1 - k];
        known.at[n - 1 - k] = swap;
    }
    if (e->command) e->command->misses = true;
    if (names_lost(e, name) || elab_missed(e, name, at, "nor is it known here")) return val_error();
    elab_error(e, at, 108, "the layer %s has no parameter, part or function `%s`", i->layer->name, name);
    elab_remember(e, name);
    hint_known(e, name, "its parts are", known.at, known.n);
    if (!known.n) elab_note(e, (Loc){0}, "a part has a name after `let`, in the layer: let first = dense[10]");
    return val_error();
}

static Val eval_kind(Elab *e, const AstNode *n) {
    switch ((int)n->kind) {
    case AST_ERROR: return val_error();
    case AST_NUMBER: return val_number(n->number.is_integer && n->number.fits ? (double)n->number.integer : n->number.value);
    case AST_BOOL: return val_bool(n->boolean);
    case AST_STRING: return string(e, n);
    case AST_NAME: return names_lookup(e, n);
    case AST_MEMBER: return val_member(e, expr(e, n->member.base), n->member.name, n->member.name_loc);
    case AST_CALL: return apply(e, n);
    case AST_BRACKET: return bracket(e, n);
    case AST_LIST: return list(e, n);
    case AST_COMPREHENSION: return comprehension(e, n);
    case AST_UNARY: return unary(e, n);
    case AST_BINARY:
        if (n->binary.op == OPERATOR_AND || n->binary.op == OPERATOR_OR) return logic(e, n);
        if (n->binary.op == OPERATOR_RANGE) return range(e, n);
        {
            Val a = expr_read(e, n->binary.left), b = expr_read(e, n->binary.right);
            int errors = e->errors;
            Val v = expr_binary(e, n->binary.op, a, b, n->loc);
            if (e->errors == errors) return v;
            if (a.kind != VAL_ERROR && b.kind != VAL_ERROR) {
                hint_matmul(e, n->binary.op, a, b);
                hint_operands(e, n->binary.left, n->binary.right);
            }
            return v;
        }
    case AST_PIPE: return pipe(e, n);
    case AST_IF: return choice(e, n);
    case AST_SCAN:
    case AST_REPEAT:
    case AST_WHILE: return expr_loop(e, n);
    case AST_NEW: return elab_error(e, n->loc, 103, "`new` stands in an index only");
    default: return elab_error(e, n->loc, 103, "this is no value");
    }
}

Val expr(Elab *e, const AstNode *n) {
    if (e->stopped || !n || !elab_work(e, n->loc, 1)) return val_error();
    if (++e->depth > LIMIT_DEPTH) {
        e->quiet = 0;
        elab_error(e, n->loc, 312, "expressions and calls are nested too deeply here");
        e->stopped = true;
        e->depth--;
        return val_error();
    }
    if (!e->library_text) e->user_loc = n->loc;
    emit_at(e, n->loc);
    Val v = eval_kind(e, n);
    e->depth--;
    return v;
}

Val val_read(Elab *e, Val v, Loc at) { return v.kind == VAL_OWNED ? val_tensor(owned_read(e, v.owned, at)) : v; }

Val expr_read(Elab *e, const AstNode *n) {
    Val v = expr(e, n);
    if (v.kind == VAL_TENSOR && !v.t.value && e->b.func) return val_tensor(tensor_of(e, v, n->loc));
    return val_read(e, v, n->loc);
}

Val expr_number(Elab *e, const AstNode *n, const char *what) {
    Val v = expr_read(e, n);
    if (v.kind == VAL_ERROR || val_is_number(v)) return v;
    return elab_error(e, n->loc, 110, "%s is a number, not %s", what, val_text(e, v));
}

bool expr_whole(Elab *e, const AstNode *n, const char *what, int64_t *out) {
    Val v = expr(e, n);
    if (v.kind == VAL_ERROR) return false;
    if (val_whole(v, out)) return true;
    if (v.kind == VAL_SCALAR)
        elab_error(e, n->loc, 110, "%s must be known when compiled: this is %s", what, val_text(e, v)), hint_option(e, v);
    else
        elab_error(e, n->loc, 110, "%s is a whole number known when compiled, not %s", what, val_text(e, v));
    return false;
}
