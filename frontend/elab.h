/*
 * elab.h - what the files of the elaborator share: the values it computes with, scopes, instances, and its state.
 *
 * The interpreter's values are those of language-rules.md E3, N3 and N5: a number is no tensor; it is exact as long as it is
 * known, and takes the element type of the tensor it meets. Anything that failed is VAL_ERROR (or a NULL Value), was reported
 * where it failed, and stays silent from then on.
 *
 *   elab_value.c    values, scopes, maps               elab_emit.c     ops with a check, broadcasting, conversions
 *   elab_names.c    declarations, library, -D          elab_expr.c     expressions
 *   elab_operator.c + - * / @ == and, if then else
 *   elab_types.c    patterns like f32[B, ...S, C]      elab_index.c    x[i], x[:, t], x[i] = v
 *   elab_call.c     functions and their arguments      elab_layer.c    instances, parameters, initial values
 *   elab_stmt.c     statements                         elab_loops.c    scan, repeat, while
 *   elab_update.c   grad, minimize, update, <-         elab_command.c  loops of commands, stretches, what is carried
 *   elab_tree.c     track, print, save, ...            elab_data.c     data sets, loaders, vocabularies
 *   elab_finish.c   names, unused slots, what needs weights            elab_error.c    messages with their notes
 *   elab_hint.c     notes that help                    elab_check.c    headers, and functions that nothing reaches
 *   builtin*.c      the built-in functions
 */
#ifndef NNC_FRONTEND_ELAB_H
#define NNC_FRONTEND_ELAB_H

#include "../ir/graph.h"

#include "ast.h"
#include "elaborate.h"

#include <string.h>

/* The limits of D6, and how deep calls and expressions may nest before the stack is in danger. */
enum {
    LIMIT_OPS = 10000000,
    LIMIT_LIST = 1000000,
    LIMIT_DEPTH = 1500,
    LIMIT_COPIES = 1000000,
    LIMIT_CALLS = 200,
    LIMIT_ROWS = 100000
};
#define LIMIT_ELEMENTS ((int64_t)1 << 40)
#define LIMIT_WORK     100000000           /* steps of elab_work: seconds */
#define LIMIT_BYTES    ((size_t)500 << 20) /* of the arena: with what printing adds, below 1 GiB */
enum { LIMIT_STRING = 1 << 20 };

typedef struct Elab Elab;
typedef struct Scope Scope;
typedef struct Instance Instance;
typedef struct Owned Owned;
typedef struct Function Function;
typedef struct Builtin Builtin;
typedef struct Source Source;
typedef struct ValList ValList;

/* ---- values ---- */

typedef enum ValKind {
    VAL_ERROR,  /* reported already: whoever meets it stays silent */
    VAL_NONE,   /* what a function without a result gives */
    VAL_NUMBER, /* known when compiled: num, or num * B where `batch` is set */
    VAL_SCALAR, /* a number known when the program runs: an option, a counter, B + 1. No tensor: it has no element type of its own
                 */
    VAL_BOOL,   /* known when compiled */
    VAL_STRING,
    VAL_LIST,
    VAL_TUPLE, /* several results */
    VAL_TENSOR,
    VAL_OWNED,    /* a parameter or state by reference: reads give its value at that place */
    VAL_FUNCTION, /* fn, built-in, element type, layer without an instance, optimizer */
    VAL_INSTANCE, /* of a layer */
    VAL_DATA,
    VAL_VOCAB,
    VAL_DROPPED, /* a name whose type changed in a loop that did not carry it: reading it is an error */
} ValKind;

typedef struct Val {
    ValKind kind;
    bool batch; /* NUMBER: times B */
    bool whole; /* SCALAR: a whole number, always */
    union {
        double num;
        bool truth;
        const char *text;
        const ValList *list;
        struct {
            Value *value; /* in whatever function it was made, or NULL: */
            Slot *slot;   /* the slot that holds it, to be read where it is used */
        } t;
        Owned *owned;
        const Function *fn;
        Instance *inst;
        DataSet *data;
        int vocab; /* index in Module.vocabs */
    };
} Val;

struct ValList {
    size_t n;
    Val *at;
};

Val val_error(void);
Val val_none(void);
Val val_number(double x);
Val val_bool(bool b);
Val val_string(const char *s);
Val val_tensor(Value *v); /* NULL becomes VAL_ERROR */
Val val_scalar(Value *v, bool whole);
Val val_list(Elab *e, ValKind kind, size_t n, const Val *at); /* copies */
bool val_is_number(Val v);                                    /* NUMBER or SCALAR */
bool val_whole(Val v, int64_t *n);                            /* a NUMBER without B that is whole */
bool val_always_whole(Val v);                                 /* of a number: whole, also when the program runs */
Val val_dim(Dim d);
bool dim_of_val(Val v, Dim *d); /* false: no whole number from 0 */
/* What a message calls it: "f32[B, 10]", "the number 3", "a list", "the layer dense". */
const char *val_text(Elab *e, Val v);

/* ---- scopes ---- */

typedef struct Binding {
    const char *name;
    Val val;
    Loc loc;            /* where it was bound last */
    const AstNode *own; /* its name in the `let`, `param` or `state` that made it: the next copy of that makes it anew */
    bool dim;           /* a dimension variable: bound anew by each function */
    bool fixed;         /* configuration, let, fn, parameter: `=` does not rebind it */
    bool average;       /* left behind by `track`: a loop does not carry it */
    bool read, rebound;
    struct Binding *next;
} Binding;

struct Scope {
    Scope *up;
    Binding *first;
    PtrMap named; /* of many names; empty: walk the list */
    size_t n;
    Source *source; /* the file whose declarations are seen from here (set in the outermost scope) */
    bool function;  /* outermost of a function's body: names beyond are seen, but not rebound */
    bool command;   /* of a command: data sets are seen */
};

/* A declaration at the top of a file. Evaluated when first needed. */
typedef struct Decl {
    const AstNode *node;
    const char *name;
    int index; /* which name of a `param a, b` */
    enum { DECL_NEW, DECL_BUSY, DECL_DONE } state;
    Val val;
    Source *source;
} Decl;

struct Source {
    bool library;
    PtrMap decls; /* name -> Decl */
    Vec(Decl *) order;
    Scope scope;
};

/* ---- functions, instances, what they own ---- */

typedef enum FunctionKind { FN_BUILTIN, FN_CAST, FN_USER, FN_LAYER, FN_OPTIMIZER } FunctionKind;

/* The bodies whose text names a function: the one that does, then what that was named in, and so on. What is handed on as a value keeps
 * where it was named. */
typedef struct Naming {
    const AstNode *decl;
    const struct Naming *up;
} Naming;

struct Function {
    FunctionKind kind;
    const char *name;
    const AstNode *decl; /* USER, LAYER, OPTIMIZER */
    Scope *env;          /* where its free names are looked up */
    const Naming *named; /* NULL: at the top of the file, or in a command */
    Instance *self;      /* a layer's own function: whose parameters it sees */
    const Builtin *builtin;
    Elem elem;         /* CAST */
    const Val *config; /* as many as decl->function->config, or NULL: no brackets yet */
    bool in_command;   /* not used for fn: keeps optimizers' brackets apart */
};

/* Where in the unrolled text something stands: the copied `for`s around it, outermost first, each with its copy. */
typedef struct Path {
    const struct Path *up;
    Loc loc;
    int64_t copy;
    const char *counter; /* for messages: "i" */
    Val value;           /* of the counter in this copy */
} Path;

struct Instance {
    Instance *owner; /* NULL: a model of the file */
    const Function *layer;
    const Val *config;
    const AstNode *place;
    const Path *path;
    const char *let_name; /* NULL: counted by kind */
    const char *name;     /* "net.dense_1"; set by elab_finish */
    const char *output;   /* type of what the first application gave, for --summary; NULL: no tensor, or none yet */
    Loc loc, shown;       /* of the place; where that is in the user's file */
    Scope *members;       /* lets, parameters, functions; NULL until the body ran */
    Block *members_block;
    bool busy;
    bool applied;
    bool attempted; /* or would have been, but for an error */
    bool failed;    /* an application had an error: some parameters may not be known */
    Loc first_use;
    Instance *same_key; /* the next in Elab.instances */
    Vec(Instance *) children;
    Vec(Owned *) owned;
};

/* A parameter, a state, or an optimizer's state. */
struct Owned {
    Instance *owner; /* NULL: of the file, or of an optimizer */
    SlotKind kind;
    const char *name; /* as declared */
    const AstNode *place;
    const Path *path;
    Loc loc;
    Slot *slot;
    Owned *of;             /* optimizer's state: of which parameter */
    const char *optimizer; /* ... of which optimizer */
    uint64_t statement;    /* ... of which statement and copy */
    Owned *states;         /* of a parameter: what optimizers keep of it, the latest first */
    Owned *next_state;     /* ... and of an optimizer's state: the one before it */
    size_t current;        /* its place in the list of what is current, where it was last */
    bool failed;
};

/* ---- errors (elab_error.c) ---- */

typedef struct Frame {
    struct Frame *up;
    const Function *fn;
    Loc call;
    const Val *inputs;    /* as many as fn has inputs, for the note "applied here to image: u8[B, 28, 28]"; NULL: none yet */
    const Instance *inst; /* of a layer */
    const Path *path;     /* of the caller */
    bool doubt;           /* a statement of the body could not be read: what it gives may not be what was meant */
    uint32_t run;         /* counts the runs of bodies: what differs between two of one body */
    bool library;         /* the body is library text */
    bool caller_library;  /* the call is */
} Frame;

/* Reports an error at a place of the text; inside the library at the innermost place of the user's file, the library's line as a
 * note. Adds the notes "in layer x, applied here to ...", "in copy i = 2", "while learning". Returns VAL_ERROR. */
Val elab_error(Elab *e, Loc at, int code, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* One slip that is met at many places, a name that nobody knows: whether it was reported. The first time that another body meets it, that is
 * noted beside the error. `what` is interned: the name, or some other word for the slip. */
bool elab_missed(Elab *e, const char *what, Loc at, const char *note);
bool elab_missed_here(const Elab *e, const char *what); /* in this body, or in many */
void elab_remember(Elab *e, const char *what);          /* that the error reported last is this slip */
/* Hands on the notes of the last error that still wait. */
void elab_flush_notes(Elab *e);
/* A note of the error reported last, if it was reported (not for copies of one that was). */
void elab_note(Elab *e, Loc at, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* False when a limit has been met: everything winds up silently. Counts n ops. */
bool elab_spend(Elab *e, Loc at, int64_t n);
/* The same for n steps of the elaborator's own: expressions read, elements of lists made or compared. Bounds time and memory for
 * programs that make no ops. */
bool elab_work(Elab *e, Loc at, int64_t n);
/* Counts a row of the tables that the commands become: a statement, a piece of what is printed. */
bool elab_row(Elab *e, Loc at);

/* ---- state ---- */

/* The value a parameter has at this place of the function, and all it had. */
typedef struct Current {
    Owned *owned;
    Value *now;
    bool written;
    Vec(Value *) versions;
} Current;
typedef Vec(Current) Currents;

/* The key of random draws in a block: of the function itself, or of a loop's body (mixed with its counter). */
typedef struct KeyFrame {
    struct KeyFrame *up;
    Block *block;
    Value *counter; /* NULL: of the function */
    Value *key;     /* NULL: not needed yet */
} KeyFrame;

/* What B is: one for each data loop, one for the inputs of a command. */
typedef struct Batch {
    int64_t bound;    /* 0: there is none */
    bool data;        /* of a data loop: draws count from SLOT_FIRST */
    int64_t constant; /* drop_last, lanes: B is this number; else 0 */
} Batch;

typedef struct FuncInfo {
    Func *func;
    const Batch *batch;
    const char *hint; /* "step" */
    bool init;
    Owned *init_of;
} FuncInfo;

typedef struct CommandLoop {
    struct CommandLoop *up;
    Node *node;
    const AstNode *ast;
    bool learning; /* the guess */
    bool updates;  /* what happened */
    Vec(const char *) carried;
} CommandLoop;

typedef Vec(Node *) NodeVec;

typedef struct CommandState {
    Command *command;
    const AstNode *ast;
    Node *holder;    /* whose body nodes are added to */
    NodeVec pending; /* after the call of the function that is open */
    CommandLoop *loop;
    Slot *step;
    int depth;   /* calls of functions: 0 in the command's own text */
    bool misses; /* a name is not known in it: the statement that would bind that may be what applies a model */
} CommandState;

/* The loops of scan, repeat, while around us: what they yield and which parameters they must carry. */
typedef struct ScanState {
    struct ScanState *up;
    bool yielded;
    Loc yield_loc;
    Vec(Val) yields;
    bool doubt; /* a statement of the body could not be read: it may have been the `yield` */
    int depth;  /* of calls */
} ScanState;

/* A note that waits until all others of its error are there. */
typedef struct LateNote {
    Loc at;
    const char *text;
} LateNote;

/* An error in a body, and in which run of it. */
typedef struct ReportedAt {
    Loc at;
    int code;
    uint32_t run;
} ReportedAt;

/* A slip that is met at many places: the first has the error, other bodies have a note. */
typedef struct Missed {
    struct Report *report;
    const AstNode *bodies[4]; /* that have been named */
    int n;
} Missed;

/* save and load name models whose parameters may come to be later: their slots are filled in at the end. */
typedef struct FileNode {
    Node *node;
    Val value;
    Loc loc;
} FileNode;

typedef struct DrawPatch {
    Op *op;
    Owned *owned;
    uint64_t local;
} DrawPatch;

typedef struct WriteEvent {
    Owned *owned;
    Loc loc;
} WriteEvent;

struct Elab {
    Arena *a;
    Diag *d;
    Module *m;
    const ElaborateOptions *o;
    Source user, library;
    PtrMap builtins;

    Builder b;      /* b.func is NULL where no op can be made */
    FuncInfo *info; /* of b.func */
    Currents currents;
    KeyFrame *keys;
    const Batch *batch;
    PtrMap infos;       /* Func -> FuncInfo */
    PtrMap value_slots; /* Value -> Slot that brings it to other functions */
    PtrMap ran;         /* declarations of functions and layers whose body was elaborated */

    Scope *scope;
    Instance *self;
    const Path *path;
    uint64_t site;   /* of random draws: the chain of calls and copies that leads here */
    uint32_t origin; /* what the numbers of places are counted from: 0, in a parameter's first value the serial number of that */
    bool learning;
    Frame *frame;
    bool library_text; /* what is being elaborated stands in the library */
    Loc user_loc;      /* innermost place in the user's file */
    Loc op_loc;        /* where the op that is being made stands, be it in the library: b.loc is the user's place of it */
    CommandState *command;
    const AstNode *loop; /* the scan, repeat or while of this body that we are in; NULL: none */
    ScanState *scan;
    Owned *optimized; /* in an optimizer: the parameter that moves */
    const char *optimizer;
    uint64_t optimizer_site;
    Vec(WriteEvent) writes; /* of parameters and states, in order */
    Val returned;
    bool pure; /* in a file's fn: nothing may be written or owned */
    int calls; /* how deep */

    Vec(Instance *) models;
    PtrMap instances;         /* by a hash of owner, place and copy (elab_layer.c) */
    Vec(Owned *) owned;       /* everything, in order of creation */
    Vec(const char *) spoilt; /* names whose statement failed: that they are not known is no news */
    int nameless;             /* statements without the name that they bind, less the names that were taken for them */
    PtrMap beside;            /* names that stand in those statements, and so were not taken */
    bool holes;               /* the tree lacks what could not be read: a model may have been applied there */
    PtrMap mentioned; /* names, and functions, in what could not be read or was refused: models may have been applied there */
    Vec(DrawPatch) patches;
    Vec(FileNode) files;
    Slot *key, *first;
    int64_t ops, work, rows, searched; /* searched: nodes that hints have looked at */
    int depth;
    bool stopped, reported;
    bool sizing; /* a dimension is evaluated: names of functions are no suggestions */
    int quiet;   /* tries of a loop's body: errors are counted, not shown; the last try is made again aloud if there were any */
    int errors;
    uint32_t runs;        /* of bodies, so far */
    Vec(ReportedAt) said; /* errors in bodies */
    PtrMap missed;        /* interned text -> Missed */
    Vec(LateNote) late;   /* where the error reported last was met: shown after its other notes */
};

/* ---- scopes and names (elab_value.c, elab_names.c) ---- */

Scope *scope_push(Elab *e, Scope *up, bool function);
Binding *scope_bind(Elab *e, Scope *s, const char *name, Val v, Loc loc);
Binding *scope_find_local(Scope *s, const char *name); /* up to the function's outermost scope */
Binding *scope_find_here(Scope *s, const char *name);  /* in this one alone */
Source *scope_source(const Scope *s);
bool scope_in_command(const Scope *s);

bool names_declare(Elab *e, const Ast *program);        /* both sources, doubles, -D */
Val names_lookup(Elab *e, const AstNode *name);         /* reports what is not known */
Val names_lookup_applied(Elab *e, const AstNode *name); /* N1: skips what cannot be applied */
bool names_is_list(Elab *e, const AstNode *name);       /* whether the name stands for a list, and no function or layer has it */
Val names_find_const(Elab *e, Scope *from, const char *name, bool *known, Loc *where);
Decl *names_decl(Elab *e, const char *name); /* in the user's file */
Val decl_value(Elab *e, Decl *d, Loc use);
bool val_callable(Val v);

bool names_spoilt(const Elab *e, const char *name);
/* The same of a name that is missed: it may also be the one that a statement lacks, `param : f32[4] = 0`, and is taken for it from then on. */
bool names_lost(Elab *e, const char *name);
bool names_flag(const char *name);                 /* a flag that every finished program has */
bool names_callable(Elab *e, const AstNode *name); /* silently */
void names_check(Elab *e, const AstNode *name);    /* reports a name that neither scopes, file, library nor built-ins have */

/* ---- notes that help (elab_hint.c), checks without applying (elab_check.c) ---- */

bool hint_name(Elab *e, const char *name); /* false: nothing is known about this name */
/* Notes of what may be meant where an operation refuses a list, two leading dimensions, a product, a matrix product, an option, a hidden model. */
void hint_list(Elab *e, Val list);
void hint_leading(Elab *e, const Type *x, const Type *y);
void hint_product(Elab *e, const Type *x, const Type *y);
void hint_matmul(Elab *e, AstOperator op, Val a, Val b);
void hint_option(Elab *e, Val v);
void hint_shadowed(Elab *e, const AstNode *n);
bool hint_unquoted(Elab *e, const AstNode *n, int code); /* reports digits.csv where "digits.csv" is meant */
bool hint_keyword(Elab *e, const char *name);            /* false: nothing is known about this keyword of other languages */
bool hint_is_elsewhere(Elab *e, const AstNode *name);    /* the same without a word */
bool hint_elsewhere(Elab *e, const AstNode *name);       /* where else in the body it is bound; false: nowhere */
/* A known name that is written with letters of another alphabet, and looks the same; false: none. */
bool hint_look_alike(Elab *e, const char *name, const char *const *known, size_t n);
void hint_type(Elab *e, const char *word, bool exact); /* exact: an element type is wanted */
void hint_member(Elab *e, Val base, const char *name);
void hint_known(Elab *e, const char *name, const char *what, const char *const *known, size_t n);
void hint_operands(Elab *e, const AstNode *left, const AstNode *right);
bool check_loader(Elab *e, const Loader *l, const char *field, const Type *t);
void check_headers(Elab *e, const Ast *program);
void check_unreached(Elab *e, const Ast *program);

/* ---- types (elab_types.c) ---- */

/* A type without variables: of a parameter, a data field. NULL after an error. batch: B stands for the batch. */
const Type *type_eval(Elab *e, const AstNode *type);
/* Does v fit the pattern? Binds dimension variables in e->scope. `what` names it in messages ("input `x` of dense"). May turn
 * numbers into what the pattern asks for. */
bool type_match(Elab *e, const AstNode *pattern, Val *v, Loc at, const char *what, bool result);
bool dims_of_list(Elab *e, Val v, Loc at, int *rank, Dim *dims);
const char *dims_text(Elab *e, int rank, const Dim *dims);

/* ---- ops (elab_emit.c) ---- */

/* The builder's place from a node: the user's line, and what the library's layer is called. */
void emit_at(Elab *e, Loc loc);
Value *emit(Elab *e, OpCode code, int n_in, Value *const *in, int n_attrs, const Attr *attrs, const Type *type);
Value *emit_unary(Elab *e, OpCode code, Value *x);
Value *emit_binary(Elab *e, OpCode code, Value *x, Value *y);
Value *emit_constant(Elab *e, const Type *t, double v);
Value *emit_convert(Elab *e, Value *x, Elem elem);
Value *emit_reshape(Elab *e, Value *x, int rank, const Dim *dims);
Value *emit_broadcast(Elab *e, Value *x, int rank, const Dim *dims); /* NumPy's rule; the shapes are known to fit */
Value *emit_transpose(Elab *e, Value *x, const int64_t *perm);
Value *emit_reduce(Elab *e, OpCode code, Value *x, int n, const int64_t *axes);
Value *emit_slice(Elab *e, Value *x, const int64_t *start, const int64_t *limit, const int64_t *step);
Value *emit_take(Elab *e, Value *x, Value *i, int64_t axis);
Value *emit_select(Elab *e, Value *c, Value *x, Value *y);
Value *emit_concat(Elab *e, int n, Value *const *xs, int64_t axis);
Value *emit_contract(Elab *e, const char *spec, Value *x, Value *y);
/* The shape both fit to, or an error that names both. */
bool broadcast_shape(Elab *e, Loc at, const Type *x, const Type *y, int *rank, Dim *dims);
/* v as a value of the function that is being built: brought over from another one if need be. Numbers have no tensor: error. */
Value *tensor_of(Elab *e, Val v, Loc at);
/* As tensor_of, but numbers become scalars of `elem`. */
Value *tensor_as(Elab *e, Val v, Elem elem, Loc at);
/* A number as a scalar of the type; checked against what the type holds. */
Value *number_as(Elab *e, Val v, Elem elem, Loc at);
bool number_fits(Elab *e, double x, Elem elem, Loc at);
/* tensor_as, then broadcast to the shape. */
Value *tensor_to(Elab *e, Val v, const Type *t, Loc at);
Value *use_value(Elab *e, Value *v, Loc at); /* brings a value over */
Slot *slot_of_value(Elab *e, Value *v);
Slot *slot_var(Elab *e, const char *hint, const Type *t, int64_t bound, Loc loc);
Val number_of_value(Val v, int64_t *out);
bool axis_of(Elab *e, Val v, int rank, Loc at, int64_t *axis);
bool axes_of(Elab *e, Val v, int rank, Loc at, int *n, int64_t *axes);
Value *mean_over(Elab *e, Value *x, int n, const int64_t *axes, bool keep);
Value *reduce_keep(Elab *e, OpCode code, Value *x, int n, const int64_t *axes, bool keep);

/* ---- expressions (elab_expr.c, elab_operator.c, elab_index.c) ---- */

Val expr(Elab *e, const AstNode *n);
Val expr_read(Elab *e, const AstNode *n); /* parameters are read: never VAL_OWNED */
Val val_read(Elab *e, Val v, Loc at);
Val expr_number(Elab *e, const AstNode *n, const char *what);
bool expr_whole(Elab *e, const AstNode *n, const char *what, int64_t *out);
Val expr_binary(Elab *e, AstOperator op, Val a, Val b, Loc at);
Val number_binary(Elab *e, AstOperator op, Val a, Val b, Loc at);
bool expr_pair(Elab *e, Val a, Val b, Loc at, Value **x, Value **y);
Val expr_select(Elab *e, Val c, Val a, Val b, Loc at);
Val expr_element(Elab *e, Val base, const AstNode *bracket);
Val index_update(Elab *e, Val base, const AstNode *bracket, Val v);
Val val_member(Elab *e, Val base, const char *name, Loc at);
Val list_elements(Elab *e, Val v, Loc at); /* a VAL_LIST for anything that a `for` may run over */

/* ---- calls (elab_call.c, elab_layer.c) ---- */

typedef struct Arg {
    const char *name; /* NULL: positional */
    Val val;
    Loc loc;      /* of the value */
    Loc name_loc; /* of the name */
} Arg;
typedef Vec(Arg) Args;

Val call(Elab *e, const AstNode *place, Val callee, const Args *args);
Val configure(Elab *e, Val callee, const AstNode *bracket);
bool args_eval(Elab *e, const Nodes *items, Args *args);
const Function *function_of(Elab *e, const AstNode *decl, Scope *env, Instance *self);
const Function *function_named_here(Elab *e, const Function *f);
Val call_body(Elab *e, const Function *f, Instance *self, const AstNode *place, const Args *args, Scope **out);
bool bind_config(Elab *e, const Function *f, const Val *config, Scope *s);

Instance *instance_at(Elab *e, const Function *layer, const Val *config, const AstNode *place, Instance *owner,
                      const char *let_name);
Instance *instance_named(Elab *e, Val v, const AstNode *place, const char *let_name);
Val instance_apply(Elab *e, Instance *i, const AstNode *place, const Args *args);
bool instance_complete(Elab *e, Instance *i, Loc at); /* its members are there */
Owned *own(Elab *e, const AstNode *decl, size_t index);
Owned *own_top(Elab *e, Decl *d);
typedef Vec(Owned *) OwnedList;
/* Parameters (and states) that a value names: a model, a list, a part. False after an error. */
/* The models that a text names may have been applied there, had it not been refused. */
void mention(Elab *e, const AstNode *n);
bool owned_in_doubt(Elab *e, Val v); /* v names a model whose parameters are not known because of what was wrong before */
bool owned_collect(Elab *e, Val v, bool states, Loc at, OwnedList *out);

/* ---- statements and loops ---- */

typedef enum Flow { FLOW_ON, FLOW_RETURN } Flow;
Flow exec_block(Elab *e, const Nodes *body);
bool clause_fits(Elab *e, const Nodes *names, size_t lists, Val first); /* names and lists of a `for`, or an error */
Val expr_loop(Elab *e, const AstNode *n);                               /* scan, repeat, while */
typedef Vec(const char *) NameList;
void assigned_names(Elab *e, const AstNode *loop, NameList *out);
bool node_is_range(const AstNode *n);

/* What a parameter or state is now in the function that is built; NULL: it was not read yet. */
Current *current_find(Elab *e, Owned *o);
Value *owned_read(Elab *e, Owned *o, Loc at);
void exec_assign(Elab *e, const AstNode *s);
void exec_update(Elab *e, const AstNode *s);
Val expr_grad(Elab *e, Val loss, Val wrt, Loc at);

/* ---- random draws ---- */
typedef struct Call Call;
Value *draw_uniform(Elab *e, int rank, const Dim *dims, const Call *c, uint64_t salt);
/* The chain of calls and copies with one more link: a place in the text, counted in its declaration, not in lines. */
uint64_t site_at(const Elab *e, uint32_t serial, uint64_t more);

/* ---- functions being built ---- */
typedef struct Building {
    Builder b;
    Loc op_loc;
    FuncInfo *info;
    Currents currents;
    KeyFrame *keys;
    const Batch *batch;
} Building;
Func *building_begin(Elab *e, Building *saved, const char *hint, Loc loc); /* a new function is open */
void building_end(Elab *e, const Building *saved);
Func *func_open(Elab *e, const char *hint, Loc loc);

/* ---- commands ---- */
void exec_command(Elab *e, const AstNode *decl);
void stretch_open(Elab *e, Loc loc);
void stretch_close(Elab *e);
/* A `for` over a range or data. broken: its header had a fault, so that nothing is known of its names. */
Flow exec_command_for(Elab *e, const AstNode *s, bool broken);
void node_add(Elab *e, Node *n);
Node *node_new(Elab *e, NodeKind kind, Loc loc);
/* Averages of a loop that are not known behind it because something was wrong: that is no news. */
void track_spoilt(Elab *e, const Nodes *body);
void exec_track(Elab *e, const AstNode *s);
void exec_keep(Elab *e, const AstNode *s);
void exec_print(Elab *e, const AstNode *s);
void exec_file(Elab *e, const AstNode *s);
/* The slot that will hold v at the end of the stretch. */
Slot *slot_of_val(Elab *e, Val v, const char *hint, Loc at);
bool writes_parameters(Elab *e, const Nodes *body); /* L5, as the text says it */

/* ---- data ---- */
Val data_value(Elab *e, const Decl *d);
Val vocab_value(Elab *e, const Decl *d);
bool loader_eval(Elab *e, const AstNode *call, Loader *out);

/* ---- built-ins ---- */
struct Call {
    Val arg[8]; /* in the order of the signature; VAL_NONE: left out */
    bool given[8];
    Args rest; /* what a signature ending in "..." takes */
    Loc loc;
    Loc arg_loc[8];
    uint32_t place; /* the serial number of the call's node */
};
struct Builtin {
    const char *name;
    const char *signature; /* "x, axis=, keepdims=": names; those with = may be left out */
    Val (*run)(Elab *e, const Builtin *b, const Call *c);
    int code; /* for those that share a function */
};
Val builtin_call(Elab *e, const Function *f, const AstNode *place, const Args *args);
/* One table a file; each ends with a row without a name. builtin_tables ends with NULL. */
extern const Builtin builtin_math[], builtin_shape[], builtin_window[], builtin_random[], builtin_other[];
extern const Builtin *const builtin_tables[];
Val builtin_cast(Elab *e, Val v, Elem elem, Loc at); /* f32(x) */

void finish_module(Elab *e);

#endif
