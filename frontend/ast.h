/*
 * ast.h - the syntax tree of a .nn file: what parser.y makes and the elaborator reads.
 *
 * One kind of struct, AstNode (Node for short in the files of the parser), for declarations, statements, expressions, types and the small
 * parts between them. `kind` says which member of the union holds; the comment behind each kind shows its text. Names are interned and in
 * NFC (equal names are equal pointers). Lists are Nodes: list.at[0] ... list.at[list.n - 1], never holding NULL. A member that may be NULL
 * says so.
 *
 * What could not be parsed is an AST_ERROR, already reported: whoever meets one stays silent, as with an error type. A declaration
 * whose header was spoilt is there all the same, with `broken` set and as much of it as could be read.
 */
#ifndef NNC_FRONTEND_AST_H
#define NNC_FRONTEND_AST_H

#include "../ir/base.h"

#include <stdio.h>

typedef struct AstNode AstNode;
#ifndef NNC_IR_GRAPH_H
typedef AstNode Node; /* short, where the Node of graph.h (a step of a command) is not seen; elsewhere graph.h comes first */
#endif

typedef struct Nodes {
    AstNode **at;
    uint32_t n, cap;
} Nodes;

/*      kind               member of the union   text */
#define AST_KINDS(X)                                                                                                             \
    X(AST_ERROR) /* -              anything that was reported as an error of the grammar */                                      \
    /* expressions */                                                                                                            \
    X(AST_NUMBER)        /* number         64  1.5  1e-8 */                                                                      \
    X(AST_BOOL)          /* boolean        true  false */                                                                        \
    X(AST_STRING)        /* string         "loss {loss:.3}" */                                                                   \
    X(AST_NAME)          /* name           x  dense  f32  shape: names are not looked up here */                                 \
    X(AST_MEMBER)        /* member         net.l1 (base net, name l1) */                                                         \
    X(AST_CALL)          /* call           f(x, k=1): items are expressions or AST_KEYWORD */                                    \
    X(AST_BRACKET)       /* call           f[10, bias=false]  x[:, t]  x[..., new]: items also AST_SLICE REST NEW */             \
    X(AST_LIST)          /* list           [a, b] */                                                                             \
    X(AST_COMPREHENSION) /* comprehension  [p + q for p, q in ps, qs] */                                                         \
    X(AST_UNARY)         /* unary          -x  not x  x' */                                                                      \
    X(AST_BINARY)        /* binary         a @ b  0..n  a and b */                                                               \
    X(AST_PIPE)          /* pipe           x |> f  x |> f(a)  x |> dense[10] */                                                  \
    X(AST_IF)            /* choice         if c then a else b */                                                                 \
    X(AST_SCAN)          /* loop           scan xt in x along 1 { }: also statements, as the next two */                         \
    X(AST_REPEAT)        /* loop           repeat k { } */                                                                       \
    X(AST_WHILE)         /* loop           while c max n { } */                                                                  \
    /* items in brackets and parentheses */                                                                                      \
    X(AST_SLICE)   /* slice          a:b  a:  :b  : */                                                                           \
    X(AST_REST)    /* rest           ...  ...S  ...broadcast(k, [2]) */                                                          \
    X(AST_NEW)     /* -              new, alone in an index */                                                                   \
    X(AST_KEYWORD) /* keyword        axis=1; in `track`: accuracy = ... */                                                       \
    /* parts of declarations and loops */                                                                                        \
    X(AST_TYPE)   /* type           f32[B, ...S, 2 * H]  int  fn */                                                              \
    X(AST_FIELD)  /* field          name: type = value, in parameters, results and data */                                       \
    X(AST_CLAUSE) /* clause         x, label in digits[0..200] batch 20 shuffle */                                               \
    /* statements */                                                                                                             \
    X(AST_BIND)       /* bind           a, b = f(x)   x: f32[B] = e   x[i] = e */                                                \
    X(AST_LET)        /* bind           let d = dense[10] */                                                                     \
    X(AST_PARAM)      /* own            param W, U: f32[D, H] = 0; also a declaration */                                         \
    X(AST_STATE)      /* own            state m: f32[...S] = 0; also a declaration */                                            \
    X(AST_ASSIGN)     /* assign         W <- W + dW */                                                                           \
    X(AST_FOR)        /* loop           for epoch in 0..epochs { } */                                                            \
    X(AST_BRANCH)     /* branch         if c { } else { } */                                                                     \
    X(AST_RETURN)     /* values         return a, b   return */                                                                  \
    X(AST_YIELD)      /* values         yield y, map */                                                                          \
    X(AST_MINIMIZE)   /* update         minimize L over M, N using O */                                                          \
    X(AST_UPDATE)     /* update         update M with E using O */                                                               \
    X(AST_TRACK)      /* values         track loss, a = accuracy(z, y): items are expressions or AST_KEYWORD */                  \
    X(AST_KEEP)       /* keep           keep lowest loss */                                                                      \
    X(AST_STOP)       /* keep           stop when lowest loss stalls for 3 */                                                    \
    X(AST_PRINT)      /* values         print "loss {loss:.3}", w */                                                             \
    X(AST_SAVE)       /* file           save e1, e2 to "stack.safetensors" */                                                    \
    X(AST_LOAD)       /* file           load e1, e2 from "stack.safetensors" */                                                  \
    X(AST_WRITE)      /* file           write y to "y.npy" */                                                                    \
    X(AST_EXPRESSION) /* values         net.learn(v, lr)   scan ... { }: a call or a loop for its effect; one value */           \
    /* declarations */                                                                                                           \
    X(AST_CONST)     /* define         const hidden = 64 */                                                                      \
    X(AST_OPTION)    /* define         option lr = 0.01 */                                                                       \
    X(AST_MODEL)     /* define         model net = dense[10] */                                                                  \
    X(AST_VOCAB)     /* define         vocab english = words("a.txt", size=100) */                                               \
    X(AST_DATA)      /* data           data digits shuffle { x: f32[64] = csv(...) } */                                          \
    X(AST_FN)        /* function       fn f[n: int](x) -> type { }  fn f(x) = e; also a statement of a layer */                  \
    X(AST_LAYER)     /* function       layer dense[N: int](x: f32[..., D]) -> f32[..., N] { } */                                 \
    X(AST_OPTIMIZER) /* function       optimizer sgd[lr: f32 = 0.01](w, g) { } */                                                \
    X(AST_COMMAND)   /* function       command predict(x: f32[B, 64]) -> (digit: i32[B] = lines()) { } */

typedef enum AstKind {
#define X(kind) kind,
    AST_KINDS(X)
#undef X
        AST_KIND_COUNT
} AstKind;

/* Operators, loosest first. ast_operator_text gives what the source says. */
typedef enum AstOperator {
    OPERATOR_OR,
    OPERATOR_AND,
    OPERATOR_NOT, /* unary */
    OPERATOR_EQ,
    OPERATOR_NE,
    OPERATOR_LT,
    OPERATOR_LE,
    OPERATOR_GT,
    OPERATOR_GE,
    OPERATOR_RANGE, /* a..b: the integers a ... b-1 */
    OPERATOR_ADD,
    OPERATOR_SUB,
    OPERATOR_MUL,
    OPERATOR_DIV,
    OPERATOR_FLOORDIV,
    OPERATOR_MOD,
    OPERATOR_MATMUL,
    OPERATOR_NEG, /* unary */
    OPERATOR_POW,
    OPERATOR_TRANSPOSE, /* unary, behind its operand */
} AstOperator;

/* A part of a string: text (name is NULL; escapes are already replaced), or the value of a name ({name}, {name:.3}). */
typedef struct AstPiece {
    const char *text;
    size_t n;
    AstNode *name; /* an AST_NAME, or NULL */
    int digits;    /* significant digits asked for, 0: none were */
} AstPiece;

typedef struct AstFunction {
    const char *name; /* never NULL: "?" if the header is too broken to hold one */
    Loc name_loc;
    Nodes config;       /* AST_FIELD: name, type or NULL, default value or NULL */
    Nodes inputs;       /* AST_FIELD likewise; in a command the value is a loader */
    Nodes results;      /* AST_FIELD: one without a name for `-> type`; several, or one, with names for `-> (a: type = loader)` */
    Nodes body;         /* statements; `= e` is one AST_RETURN */
    bool has_config;    /* there were brackets */
    bool has_inputs;    /* there were parentheses: layer f() { } has, layer f { } has not */
    bool has_results;   /* there was an arrow */
    bool named_results; /* with parentheses */
    bool short_form;    /* `= e` instead of a block */
    Vec(AstNode *) header_words; /* AST_NAME: of a broken one, all names in its header: each may be that of an input */
} AstFunction;

typedef struct AstLoop {
    Nodes clauses;      /* for: one, or several data sets side by side; scan: one; repeat, while: none */
    AstNode *along;     /* scan: the axis, or NULL */
    bool backwards;     /* scan */
    AstNode *count;     /* repeat K, while ... max N; NULL otherwise */
    AstNode *condition; /* while; NULL otherwise */
    Nodes body;
} AstLoop;

struct AstNode {
    AstKind kind;
    bool paren;      /* an expression that stands in parentheses of its own: x |> (f(a)) is not x |> f(a) */
    bool broken;     /* a declaration with errors in its header */
    uint16_t depth;  /* of the tree below, at most 1000 */
    uint32_t serial; /* in its declaration, parts before the whole: a name for the place that layout and comments do not change */
    /* Where it begins; loc.end and loc.mark say what a caret underlines. For binary operators the mark is the operator. */
    Loc loc;
    int end_line, end_col; /* the first column after it */
    union {
        struct {
            const char *text; /* as written */
            double value;     /* correctly rounded */
            int64_t integer;  /* exact, where is_integer and fits */
            bool is_integer;  /* written without point and exponent */
            bool fits;        /* the integer is below 2^63 */
        } number;
        bool boolean;
        struct {
            AstPiece *pieces; /* none for "" */
            uint32_t n;
            bool plain; /* no names in it: then `text`, `size` is the whole string, with a zero behind it */
            const char *text;
            size_t size;
        } string;
        const char *name;
        struct {
            AstNode *base;
            const char *name;
            Loc name_loc;
        } member;
        struct {
            AstNode *callee;
            Nodes items;
        } call;
        struct {
            Nodes items;
        } list;
        struct {
            AstNode *element;
            Nodes names;
            Nodes sources;
        } comprehension; /* names: AST_NAME; as many sources, or one */
        struct {
            AstOperator op;
            AstNode *operand;
        } unary;
        struct {
            AstOperator op;
            AstNode *left, *right;
        } binary;
        /* target: a path, AST_CALL (without `paren` the value is its first argument), AST_BRACKET, or anything with `paren` */
        struct {
            AstNode *value, *target;
        } pipe;
        struct {
            AstNode *condition, *yes, *no;
        } choice;
        AstLoop *loop;
        struct {
            AstNode *from, *to;
        } slice; /* NULL where left out */
        struct {
            AstNode *value;
        } rest; /* NULL for `...` alone */
        struct {
            const char *name;
            AstNode *value;
            Loc name_loc;
        } keyword;
        struct {
            const char *name;
            Nodes dims;
            bool has_dims;
        } type; /* dims: expressions or AST_REST */
        struct {
            const char *name;
            AstNode *type, *value;
            Loc name_loc;
        } field; /* name, type, value: NULL where left out */
        struct {
            Nodes names;    /* AST_NAME */
            Nodes sources;  /* expressions: as many as names, or one; of data sets always one */
            AstNode *batch; /* NULL: not over a data set */
            bool shuffle, resample, lanes, drop_last;
        } clause;
        struct {
            Nodes targets; /* AST_NAME, or AST_BRACKET over an AST_NAME for x[i] = v (not in `let`) */
            AstNode *type; /* NULL, or the type of the only target */
            Nodes values;  /* one, or as many as targets */
        } bind;
        struct {
            Nodes names;
            AstNode *type, *value;
        } own; /* names: AST_NAME */
        struct {
            AstNode *target, *value;
        } assign; /* target: AST_NAME, AST_MEMBER, or AST_BRACKET over one */
        struct {
            AstNode *condition;
            Nodes yes, no;
            bool has_else;
        } branch; /* `else if`: `no` is one AST_BRANCH */
        struct {
            Nodes items;
        } values;
        struct {
            AstNode *value;
            Nodes models;
            AstNode *rule;
        } update; /* value: the loss, or the gradients */
        struct {
            bool highest;
            const char *name;
            Loc name_loc;
            AstNode *turns;
        } keep; /* turns: NULL in `keep` */
        struct {
            Nodes values;
            AstNode *path;
        } file;
        struct {
            const char *name;
            AstNode *value;
            Loc name_loc;
        } define;
        struct {
            const char *name;
            Nodes fields;
            Loc name_loc;
            bool shuffle;
        } data;
        AstFunction *function;
    };
};

/* A whole file. Broken or not, everything that could be read is in it; whether there were errors is diag_errors(). */
typedef struct Ast {
    const char *file; /* interned */
    Nodes declarations;
    Vec(const char *) spoilt;    /* names that statements bind which could not be read: that they are not known is no news */
    Vec(const char *) mentioned; /* names in statements that could not be read: they may have been applied there */
    int nameless;                /* statements that lack the very name they bind: so many names are not known for that reason */
    Vec(const char *) beside;    /* names that stand in those statements: none of them is the one that is lacking */
} Ast;

/* "number", "scan", ...: the kind in the words of --emit=ast. */
const char *ast_kind_text(AstKind kind);
/* "@", "and", "'", ...: as in the source. */
const char *ast_operator_text(AstOperator op);
/* The name a declaration (or nested fn) introduces, NULL for param and state, which may introduce several. */
const char *ast_declared_name(const AstNode *declaration);
/* Calls visit for each child of a node, in the order of the text; data is handed through. */
void ast_children(const AstNode *n, void (*visit)(AstNode *child, void *data), void *data);

/* The tree as text, for --emit=ast: deterministic, one declaration or statement a line, every group of operands in parentheses. */
void ast_print(const Ast *ast, FILE *out);
/* One node in the same form, appended to a text. */
void ast_print_node(Arena *a, Text *out, const AstNode *n);

#endif
