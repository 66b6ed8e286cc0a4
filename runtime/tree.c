/*
 * tree.c - see tree.h.
 */
#include "tree.h"
#include <ctype.h>
#include <string.h>

enum { DEEPEST = 1000 };

struct cursor {
    const char *at, *end;
    struct nn_tree_node *nodes;
    int64_t most, n;
};

static void skip_spaces(struct cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\r' || *c->at == '\n')) c->at++;
}

/* node := "(" number (word | node node) ")" */
static const char *read_node(struct cursor *c, int depth, int64_t *index) {
    struct nn_tree_node node = {0};
    if (depth > DEEPEST) return "the tree is deeper than 1000 nodes";
    if (c->at >= c->end || *c->at != '(') return "a `(` is expected";
    c->at++;
    skip_spaces(c);
    bool negative = c->at < c->end && *c->at == '-';
    if (negative) c->at++;
    if (c->at >= c->end || !isdigit((unsigned char)*c->at)) return "a label, a number, is expected after `(`";
    while (c->at < c->end && isdigit((unsigned char)*c->at) && node.label < 100000000)
        node.label = 10 * node.label + (*c->at++ - '0');
    if (negative) node.label = -node.label;
    skip_spaces(c);
    if (c->at < c->end && *c->at == '(') {
        const char *wrong = read_node(c, depth + 1, &node.left);
        if (wrong) return wrong;
        skip_spaces(c);
        wrong = read_node(c, depth + 1, &node.right);
        if (wrong) return wrong;
    } else {
        node.word = c->at;
        while (c->at < c->end && !strchr(" ()\t\r\n", *c->at)) c->at++;
        node.n = (size_t)(c->at - node.word);
        if (node.n == 0) return "a word or a `(` is expected after a label";
    }
    skip_spaces(c);
    if (c->at >= c->end || *c->at != ')') return "a `)` is expected: a node has a word or two nodes";
    c->at++;
    if (c->n < c->most) c->nodes[c->n] = node;
    *index = c->n++;
    return NULL;
}

const char *nn_tree_read(const char *text, const char *end, struct nn_tree_node *nodes, int64_t most, int64_t *n) {
    struct cursor c = {.at = text, .end = end, .nodes = nodes, .most = most};
    int64_t root;
    skip_spaces(&c);
    const char *wrong = read_node(&c, 0, &root);
    *n = c.n;
    if (wrong) return wrong;
    skip_spaces(&c);
    return c.at == end ? NULL : "something follows the tree";
}

bool nn_tree_looks_like(const char *text, const char *end) {
    struct cursor c = {.at = text, .end = end};
    int64_t root;
    skip_spaces(&c);
    return read_node(&c, 0, &root) == NULL;
}

bool nn_tree_words(const char *text, const char *end, bool (*visit)(void *, const char *, size_t), void *context) {
    for (const char *at = text; at < end;
         at++) { /* a word is what stands before a `)`, behind the last space, bracket or label */
        if (*at != ')' || at == text || at[-1] == ')' || at[-1] == ' ') continue;
        const char *word = at;
        while (word > text && !strchr(" ()\t\r\n", word[-1])) word--;
        if (!visit(context, word, (size_t)(at - word))) return false;
    }
    return true;
}
