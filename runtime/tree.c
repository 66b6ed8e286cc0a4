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

static bool is_space(char x) { return x == ' ' || x == '\t' || x == '\r' || x == '\n'; }

static void skip_spaces(struct cursor *c) {
    while (c->at < c->end && is_space(*c->at)) c->at++;
}

/* A whole number from 0 (-1 is what stands behind the end of a tree), and what it stands before begins with a space or a bracket. */
static const char *read_label(struct cursor *c, int64_t *label) {
    enum { MOST = 999999999 };
    *label = 0;
    if (c->at >= c->end || !isdigit((unsigned char)*c->at)) return "a label, a whole number from 0, is expected after `(`";
    for (; c->at < c->end && isdigit((unsigned char)*c->at); c->at++) {
        *label = 10 * *label + (*c->at - '0');
        if (*label > MOST) return "a label has at most nine digits";
    }
    if (c->at < c->end && !is_space(*c->at) && *c->at != '(' && *c->at != ')')
        return "a label is a whole number, and a space stands behind it";
    return NULL;
}

/* node := "(" number (word | node node) ")" */
static const char *read_node(struct cursor *c, int depth, int64_t *index) {
    struct nn_tree_node node = {0};
    if (depth > DEEPEST) return "the tree is deeper than 1000 nodes";
    if (c->at >= c->end || *c->at != '(') return "a `(` is expected";
    c->at++;
    skip_spaces(c);
    const char *wrong = read_label(c, &node.label);
    if (wrong) return wrong;
    skip_spaces(c);
    if (c->at < c->end && *c->at == '(') {
        wrong = read_node(c, depth + 1, &node.left);
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
