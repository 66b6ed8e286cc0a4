/*
 * elab_hint.c - what else a message can say: names that other languages have and this one calls otherwise, the parts that there
 * are, and where an operand that does not fit was declared. Each adds notes to the error reported last.
 */
#include "elab.h"

typedef struct Hint {
    const char *name, *note;
} Hint;

static const char *find(const Hint *hints, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(hints[i].name, name) == 0) return hints[i].note;
    return NULL;
}
#define FIND(hints, name) find(hints, sizeof hints / sizeof *hints, name)

static const char imported[] = "nothing is imported: the functions of the library stand alone, as in sum(x, axis=1)";

static const Hint names[] = {
    {"int", "i32(...) converts to integers"},
    {"float", "f32(...) converts to floats"},
    {"double", "f64(...) converts to floats of 64 bits"},
    {"long", "i64(...) converts to integers of 64 bits"},
    {"range", "a range is written a..b: `for i in 0..10`"},
    {"torch", imported},
    {"np", imported},
    {"numpy", imported},
    {"tf", imported},
    {"jax", imported},
    {"jnp", imported},
    {"nn", imported},
    {"F", imported},
    {"keras", imported},
    {"self", "parameters are named without `self.`: `param w: f32[n] = 0`, then `w`"},
    {"None", "there is no `None`: an input that may be left out has a default"},
    {"null", "there is no `null`: an input that may be left out has a default"},
    {"True", "it is written `true`"},
    {"False", "it is written `false`"},
    {"nil", "there is no `nil`: an input that may be left out has a default"},
    {"printf", "`print a, b` writes a line; {name} in a string stands for a value"},
    {"println", "`print a, b` writes a line"},
    {"echo", "`print a, b` writes a line"},
    {"str", "{name} in a string stands for a value"},
    {"format", "{name} in a string stands for a value, {name:.3} for three digits of it"},
    {"enumerate", "a counter is `for i in 0..len(list)`, and list[i] the element"},
    {"zip", "lists side by side: `for a, b in list, other`"},
    {"map", "`[f(x) for x in list]` makes a list of results"},
    {"no_grad", "a command computes without gradients; stop_gradient(x) keeps one from passing"},
    {"detach", "stop_gradient(x) keeps a gradient from passing"},
    {"this", "parameters are named without `this.`: `param w: f32[n] = 0`, then `w`"},
    {"lambda", "a function is `fn f(x) = x^2`; it may stand in a layer"},
    {"pow", "powers are written x^n"},
    {"power", "powers are written x^n"},
    {"matmul", "the matrix product is written a @ b"},
    {"mm", "the matrix product is written a @ b"},
    {"dot", "the matrix product is written a @ b; of vectors it is the inner product"},
    {"cat", "it is called concat: concat([a, b], axis=0)"},
    {"concatenate", "it is called concat: concat([a, b], axis=0)"},
    {"where", "elements are chosen by `if c then a else b`"},
    {"tensor", "f32([[1, 2], [3, 4]]) makes a tensor of numbers"},
    {"array", "f32([[1, 2], [3, 4]]) makes a tensor of numbers"},
    {"rand", "uniform(shape) draws from 0 to 1, normal(shape) from the normal distribution"},
    {"randn", "normal(shape) draws from the normal distribution"},
    {"view", "it is called reshape: reshape(x, [B, 784])"},
    {"squeeze", "reshape(x, [...]) drops an axis of one; x[:, 0] too"},
    {"unsqueeze", "x[:, new] adds an axis of one"},
    {"permute", "it is called transpose: transpose(x, [0, 2, 1])"},
    {"std", "there is no `std`: sqrt(mean((x - mean(x))^2))"},
    {"linear", "it is called dense: dense[10]"},
    {"Linear", "it is called dense: dense[10]"},
    {"Dense", "it is called dense: dense[10]"},
    {"conv2d", "it is called conv, for one, two and three dimensions: conv[32, 3]"},
    {"Conv2d", "it is called conv, for one, two and three dimensions: conv[32, 3]"},
    {"Conv2D", "it is called conv, for one, two and three dimensions: conv[32, 3]"},
    {"MaxPool2d", "it is called maxpool: maxpool[2]"},
    {"learning", "`learning` is known in layers and functions, where it is true while a command's loop learns"},
    {"epoch", "`epoch` is the counter of a loop: `for epoch in 0..epochs { }`"},
    {"shape", "`shape` is known in the initial value of a parameter; elsewhere shape(x), or the names of an input's dimensions"},
    {"B", "the batch is bound by the inputs of a function, a layer or a command; the type of a field is that of one sample"},
    {"i", "a counter is known inside its loop"},
};

bool hint_name(Elab *e, const char *name) {
    const char *note = FIND(names, name);
    if (note) elab_note(e, (Loc){0}, "%s", note);
    return note != NULL;
}

/* Letters of other alphabets that look like Latin ones. */
static const char *const alike[][2] = {
    {"а", "a"}, {"е", "e"}, {"о", "o"}, {"р", "p"}, {"с", "c"}, {"у", "y"}, {"х", "x"}, {"і", "i"}, {"ѕ", "s"}, {"ј", "j"},
    {"А", "A"}, {"В", "B"}, {"Е", "E"}, {"К", "K"}, {"М", "M"}, {"Н", "H"}, {"О", "O"}, {"Р", "P"}, {"С", "C"}, {"Т", "T"},
    {"Х", "X"}, {"У", "Y"}, {"ο", "o"}, {"ν", "v"}, {"Α", "A"}, {"Β", "B"}, {"Ε", "E"}, {"Ζ", "Z"}, {"Η", "H"}, {"Ι", "I"},
    {"Κ", "K"}, {"Μ", "M"}, {"Ν", "N"}, {"Ο", "O"}, {"Ρ", "P"}, {"Τ", "T"}, {"Υ", "Y"}, {"Χ", "X"},
};

/* The next letter of a name, and the foreign one that it is written with (NULL: none). */
static char next_letter(const char **s, const char **foreign) {
    *foreign = NULL;
    for (size_t i = 0; (unsigned char)**s >= 128 && i < sizeof alike / sizeof *alike; i++) {
        size_t n = strlen(alike[i][0]);
        if (strncmp(*s, alike[i][0], n) != 0) continue;
        *s += n;
        *foreign = alike[i][0];
        return *alike[i][1];
    }
    return *(*s)++;
}

/* Whether two names look the same and are not; *foreign is the first letter in which they differ, *in the name that it is in. */
static bool look_alike(const char *a, const char *b, const char **foreign, const char **in) {
    const char *first = a, *second = b, *f, *g;
    *foreign = NULL;
    for (;;) {
        char x = next_letter(&a, &f), y = next_letter(&b, &g);
        if (x != y) return false;
        if (!x) return *foreign != NULL;
        if (*foreign || !f == !g) continue;
        *foreign = f ? f : g;
        *in = f ? first : second;
    }
}

bool hint_look_alike(Elab *e, const char *name, const char *const *known, size_t n) {
    const char *foreign, *in;
    for (size_t i = 0; i < n; i++) {
        if (!look_alike(name, known[i], &foreign, &in)) continue;
        elab_note(e, (Loc){0}, "`%s` looks the same, but the letter `%s` in %s is of another alphabet", known[i], foreign,
                  in == name ? "this name" : "that name");
        return true;
    }
    return false;
}

/* ---- names that are bound somewhere else ---- */

enum { MAX_AROUND = 64, MAX_SEARCHED = 5000000 };

/* Looks through the body of a declaration for the place where a name is used, and for one where it is bound. */
typedef struct Search {
    Elab *e;
    const AstNode *use;
    const AstNode *around[MAX_AROUND]; /* the loops that we are in */
    const AstNode *of_use[MAX_AROUND]; /* those around the use */
    int depth, n_of_use;
    bool bound, branch; /* branch: of an `if` statement */
    AstKind kind;       /* of what binds it */
    int branches;
    Loc at;
    const AstNode *loop; /* the innermost around the binding, NULL: none */
} Search;

static bool same_place(Loc a, Loc b) { return a.line == b.line && a.col == b.col; }

static void found_binding(Search *s, AstKind kind, const char *name, Loc at) {
    if (s->bound || !name || name != s->use->name || same_place(at, s->use->loc)) return;
    s->bound = true;
    s->kind = kind;
    s->at = at;
    s->loop = s->depth ? s->around[s->depth - 1] : NULL;
    s->branch = s->branches > 0;
}

static void search_names(Search *s, AstKind kind, const Nodes *names) {
    for (uint32_t i = 0; i < names->n; i++)
        if (names->at[i]->kind == AST_NAME) found_binding(s, kind, names->at[i]->name, names->at[i]->loc);
}

static void search(AstNode *n, void *data) {
    Search *s = data;
    if (n->kind == AST_FN || s->e->searched++ > MAX_SEARCHED) return; /* the names of a fn are its own */
    bool loop = n->kind == AST_FOR || n->kind == AST_SCAN || n->kind == AST_REPEAT || n->kind == AST_WHILE;
    if (loop && s->depth == MAX_AROUND) return;
    if (loop) s->around[s->depth++] = n;
    s->branches += n->kind == AST_BRANCH;
    if (n->kind == AST_BIND || n->kind == AST_LET) search_names(s, n->kind, &n->bind.targets);
    if (n->kind == AST_PARAM || n->kind == AST_STATE) search_names(s, n->kind, &n->own.names);
    if (n->kind == AST_CLAUSE) search_names(s, n->kind, &n->clause.names);
    if (n->kind == AST_TRACK)
        for (uint32_t i = 0; i < n->values.items.n; i++) {
            const AstNode *item = n->values.items.at[i];
            if (item->kind == AST_KEYWORD) found_binding(s, AST_TRACK, item->keyword.name, item->loc);
            if (item->kind == AST_CALL && item->call.callee->kind == AST_NAME)
                found_binding(s, AST_TRACK, item->call.callee->name, item->loc);
        }
    if (n->kind == AST_NAME && same_place(n->loc, s->use->loc) && !s->n_of_use) {
        memcpy(s->of_use, s->around, sizeof s->of_use);
        s->n_of_use = s->depth;
    }
    ast_children(n, search, s);
    s->depth -= loop;
    s->branches -= n->kind == AST_BRANCH;
}

static bool find_elsewhere(Elab *e, const AstNode *n, Search *s) {
    const AstNode *body = e->frame ? e->frame->fn->decl : e->command ? e->command->ast : NULL;
    *s = (Search){.e = e, .use = n};
    if (!body || e->library_text || e->quiet || e->searched > MAX_SEARCHED) return false;
    ast_children(body, search, s);
    return s->bound;
}

bool hint_is_elsewhere(Elab *e, const AstNode *n) {
    Search s;
    return find_elsewhere(e, n, &s);
}

/* `n`, which is not known, is bound elsewhere in the same body: in a loop that has ended, further down, in a branch that is not taken.
 * False: it is not. */
bool hint_elsewhere(Elab *e, const AstNode *n) {
    Search s;
    if (!find_elsewhere(e, n, &s)) return false;
    bool around = s.loop == NULL;
    for (int i = 0; i < s.n_of_use; i++) around = around || s.of_use[i] == s.loop;
    bool below = s.at.line > n->loc.line || (s.at.line == n->loc.line && s.at.col > n->loc.col);
    const char *where = below ? ", further down" : "",
               *carried = ": what a loop carries from turn to turn is bound before it, too";
    if (!around && s.kind == AST_CLAUSE)
        elab_note(e, s.at, "it is bound by this loop, and ends with it");
    else if (!around && s.kind == AST_TRACK)
        elab_note(e, s.at, "it is tracked here: the average is known in the loop around this one, and ends with that");
    else if (!around)
        elab_note(e, s.at,
                  "it is bound here, and ends with the body of this loop; bound before the loop too, it keeps its last value");
    else if (below || (s.at.line == n->loc.line && !s.branch))
        elab_note(e, s.at, "it is bound here%s%s", where, s.loop ? carried : below ? "" : ", and has no value before");
    else if (s.branch)
        elab_note(e, s.at, "it is bound here, in a branch of `if` that is not taken");
    else
        return false;
    return true;
}

static const Hint types[] = {
    {"float32", "f32"}, {"float64", "f64"}, {"double", "f64"}, {"int32", "i32"},    {"int64", "i64"},  {"long", "i64"},
    {"uint8", "u8"},    {"byte", "u8"},     {"char", "u8"},    {"boolean", "bool"}, {"Tensor", "f32"}, {"tensor", "f32"},
    {"float", "f32"},   {"int", "i32"},     {"real", "f32"},   {"u32", "i32"},      {"f16", "f32"},    {"i8", "u8"},
    {"string", "i32"},  {"Float", "f32"},   {"str", "string"},
};

void hint_type(Elab *e, const char *word, bool exact) {
    static const char *const words[] = {"f32", "f64", "i32",    "i64",  "u8",    "bool", "float",
                                        "int", "any", "string", "list", "layer", "fn",   "model"};
    const char *near = FIND(types, word);
    if (!near) near = diag_nearest(word, words, exact ? 6 : sizeof words / sizeof *words);
    if (near) elab_note(e, (Loc){0}, "did you mean `%s`?", near);
}

static const Hint members[] = {
    {"shape", "shape(x) is the list of its dimensions; the dimensions of an input have names of their own"},
    {"size", "shape(x) is the list of its dimensions, len(x) the first of them"},
    {"T", "x' is the transpose of the last two axes"},
    {"t", "x' is the transpose of the last two axes"},
    {"dtype", "the element type stands in the type of an input, as in f32[B, 10]"},
    {"grad", "grad(loss, x) is the gradient"},
    {"backward", "`minimize loss over net using sgd[lr]` takes a step, grad(loss, x) is the gradient"},
    {"mT", "x' is the transpose of the last two axes"},
    {"ndim", "len(shape(x)) is the number of axes"},
    {"length", "len(x) is the size of the first axis, or the length of a list"},
    {"view", "reshape(x, [...]) changes the shape"},
    {"append", "lists do not change: `[f(i) for i in 0..n]` makes one"},
    {"push", "lists do not change: `[f(i) for i in 0..n]` makes one"},
    {"detach", "stop_gradient(x) keeps a gradient from passing"},
    {"numpy", "print and write show a tensor as it is"},
    {"to", "f32(x), i32(x), ... convert; where a program computes is the compiler's business"},
    {"cuda", "where a program computes is the compiler's business"},
    {"cpu", "where a program computes is the compiler's business"},
    {"astype", "f32(x), i32(x), ... convert"},
    {"float", "f32(x) converts"},
    {"permute", "it is called transpose: transpose(x, [0, 2, 1])"},
    {"unsqueeze", "x[:, new] adds an axis of one"},
    {"squeeze", "reshape(x, [...]) drops an axis of one; x[:, 0] too"},
    {"item", "a number needs no item(): print and track show it"},
};

void hint_member(Elab *e, Val base, const char *name) {
    if (base.kind == VAL_FUNCTION && base.fn->kind == FN_LAYER) {
        elab_note(e, (Loc){0}, "`model` or `let` makes an instance of a layer");
        return;
    }
    if (base.kind != VAL_TENSOR && base.kind != VAL_OWNED && base.kind != VAL_LIST) return;
    const char *note = FIND(members, name);
    AstNode n = {.kind = AST_NAME, .name = name};
    if (note)
        elab_note(e, (Loc){0}, "%s", note);
    else if (names_callable(e, &n))
        elab_note(e, (Loc){0}, "functions are written in front: %s(x)", name);
}

/* A list where a tensor is wanted. */
void hint_list(Elab *e, Val list) {
    bool numbers = true;
    for (size_t i = 0; i < list.list->n && numbers; i++)
        numbers = val_is_number(list.list->at[i]) || list.list->at[i].kind == VAL_LIST || list.list->at[i].kind == VAL_BOOL;
    elab_note(e, (Loc){0},
              numbers ? "f32([...]) makes a tensor of a list"
                      : "of a list each element is taken: `[2 * g for g in list]`, or list[0]");
}

/* Shapes of which one is the beginning of the other, [B, 64] and [B]: an axis was lost that must stay. */
void hint_leading(Elab *e, const Type *x, const Type *y) {
    const Type *shorter = x->rank < y->rank ? x : y, *longer = shorter == x ? y : x;
    bool same = shorter->rank > 0 && shorter->rank < longer->rank;
    for (int i = 0; i < shorter->rank && same; i++) same = dim_same(shorter->dim[i], longer->dim[i]);
    if (same)
        elab_note(e, (Loc){0},
                  "axes are matched from the last: x[:, new] adds one of 1, and sum(x, axis=1, keepdims=true) leaves one");
}

static bool product_fits(const Type *x, const Type *y) {
    return x->rank && y->rank && dim_same(x->dim[x->rank - 1], y->dim[y->rank > 1 ? y->rank - 2 : 0]);
}

/* A matrix product that does not fit as it stands, but otherwise. */
void hint_product(Elab *e, const Type *x, const Type *y) {
    if (x->rank > 1 && y->rank > 1 && dim_same(x->dim[x->rank - 1], y->dim[y->rank - 1]))
        elab_note(e, (Loc){0}, "with the second one transposed they fit: a @ b'");
    else if (product_fits(y, x))
        elab_note(e, (Loc){0}, "the other way round they fit: b @ a");
}

static const Type *type_of_val(Val v) {
    if (v.kind == VAL_OWNED) return v.owned->slot ? v.owned->slot->type : NULL;
    return v.t.value ? v.t.value->type : v.t.slot->type;
}

/* x * W of shapes that are a matrix product's. */
void hint_matmul(Elab *e, AstOperator op, Val a, Val b) {
    if (op != OPERATOR_MUL || a.kind == VAL_ERROR || b.kind == VAL_ERROR || val_is_number(a) || val_is_number(b)) return;
    if (a.kind != VAL_TENSOR && a.kind != VAL_OWNED) return;
    if (b.kind != VAL_TENSOR && b.kind != VAL_OWNED) return;
    const Type *x = type_of_val(a), *y = type_of_val(b);
    if (x && y && x->rank > 1 && y->rank > 1 && product_fits(x, y)) elab_note(e, (Loc){0}, "the matrix product is written a @ b");
}

/* A number that is known only when the program runs, where one is wanted that is known before: an option can become a const. */
void hint_option(Elab *e, Val v) {
    const Slot *s = v.kind == VAL_SCALAR || v.kind == VAL_TENSOR ? v.t.slot : NULL;
    if (s && s->kind == SLOT_OPTION)
        elab_note(e, s->loc, "`%s` is an option, chosen when the program runs; a `const` is known when it is compiled", s->name);
}

/* A name where a model is wanted: a value of that name hides the model. */
void hint_shadowed(Elab *e, const AstNode *n) {
    if (n->kind != AST_NAME) return;
    Decl *d = names_decl(e, n->name);
    Binding *b = d && d->node->kind == AST_MODEL ? scope_find_local(e->scope, n->name) : NULL;
    if (b) elab_note(e, b->loc, "`%s` is bound here, and hides the model of line %d", n->name, d->node->loc.line);
}

bool hint_unquoted(Elab *e, const AstNode *n, int code) {
    if (n->kind != AST_MEMBER || n->member.base->kind != AST_NAME) return false;
    elab_error(e, n->loc, code, "the name of a file stands in quotes: \"%s.%s\"", n->member.base->name, n->member.name);
    return true;
}

static const Hint keywords[] = {
    {"activation", "an activation is applied behind: dense[10] |> relu"},
    {"act", "an activation is applied behind: dense[10] |> relu"},
    {"learning_rate", "it is called lr"},
    {"weight_decay", "it is called decay"},
    {"dim", "it is called axis"},
    {"padding", "it is called pad"},
    {"kernel_size", "it is called kernel"},
    {"use_bias", "it is called bias"},
    {"in_features", "the number of inputs is that of what it is applied to: dense[10]"},
    {"input_shape", "the shape of the inputs is that of what it is applied to: dense[10]"},
    {"out_features", "it is called N: dense[10]"},
    {"units", "it is called N: dense[10]"},
    {"filters", "it is called C: conv[32, 3]"},
    {"num_heads", "it is called heads"},
    {"embed_dim", "it is called D"},
    {"dtype", "element types are functions: f32(x), i32(x)"},
    {"label_smoothing", "it is called smooth"},
};

bool hint_keyword(Elab *e, const char *name) {
    const char *note = FIND(keywords, name);
    if (note) elab_note(e, (Loc){0}, "%s", note);
    return note != NULL;
}

/* "the parts are: w, b", or the one that was meant. */
void hint_known(Elab *e, const char *name, const char *what, const char *const *known, size_t n) {
    const char *near = diag_nearest(name, known, n);
    if (near) {
        elab_note(e, (Loc){0}, "did you mean `%s`?", near);
        return;
    }
    Text t = {0};
    for (size_t i = 0; i < n && i < 12; i++) text_printf(e->a, &t, "%s%s", i ? ", " : "", known[i]);
    if (n) elab_note(e, (Loc){0}, "%s %s%s", what, text_str(e->a, &t), n > 12 ? ", ..." : "");
}

static const AstNode *operand_name(const AstNode *n) {
    while (n->kind == AST_UNARY) n = n->unary.operand;
    return n;
}

static void hint_operand(Elab *e, const AstNode *n) {
    if (n->kind != AST_NAME || e->library_text) return;
    const char *name = n->name;
    for (Scope *s = e->scope; s && !s->source; s = s->up) {
        Binding *b = scope_find_here(s, name);
        if (!b) continue;
        if (b->loc.line != n->loc.line && b->val.kind != VAL_ERROR)
            elab_note(e, b->loc, "`%s` is %s here: %s", name, b->fixed ? "declared" : "bound", val_text(e, b->val));
        return;
    }
    Decl *d = names_decl(e, name);
    if (d && d->node->loc.line != n->loc.line) elab_note(e, d->node->loc, "`%s` is declared here", name);
}

/* Operands of an operation that do not fit together: where their names come from, if those are other lines. */
void hint_operands(Elab *e, const AstNode *left, const AstNode *right) {
    left = operand_name(left);
    right = operand_name(right);
    hint_operand(e, left);
    if (left->kind != AST_NAME || right->kind != AST_NAME || left->name != right->name) hint_operand(e, right);
}
