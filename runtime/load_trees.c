/*
 * load_trees.c - parse trees, one a line: trees(file, part="word"|"left"|"right"|"label", nodes=N, vocab=). A sample has N
 * numbers, one a node; children come before their parent, the root is the last node that there is.
 *
 *   - word: number of the word at a leaf, 0 at inner nodes
 *   - left, right: place of the children, 0 at leaves
 *   - label: the node's label
 *   - past the end: 0, and label -1
 */
#include "data.h"
#include "file.h"
#include "tree.h"
#include <inttypes.h>
#include <string.h>

enum part { PART_WORD, PART_LEFT, PART_RIGHT, PART_LABEL };

static bool read_part(struct nn_load *l, enum part *part) {
    static const char *const names[] = {"word", "left", "right", "label"};
    const struct nn_arg *a = nn_load_arg(l, "part"), *nodes = nn_load_arg(l, "nodes");
    if ((l->elem != NN_I32 && l->elem != NN_I64) || l->n_dims != 1) return nn_load_fail(l, 0, "a tree is i32[N]");
    if (nodes && nodes->i != l->dims[0])
        return nn_load_fail(l, 0, "nodes=%" PRId64 ", but a sample has %" PRId64 " elements", nodes->i, l->dims[0]);
    for (int i = 0; i < 4; i++) {
        if (a && a->s && strcmp(a->s, names[i]) == 0) {
            *part = (enum part)i;
            return true;
        }
    }
    return nn_load_fail(l, 0, "part= is \"word\", \"left\", \"right\" or \"label\"");
}

static int64_t node_value(const struct nn_tree_node *node, enum part part, const struct nn_words *words) {
    switch (part) {
    case PART_WORD: return node->word ? nn_words_find(words, node->word, node->n) : 0;
    case PART_LEFT: return node->word ? 0 : node->left;
    case PART_RIGHT: return node->word ? 0 : node->right;
    case PART_LABEL: return node->label;
    }
    return 0;
}

static bool add_tree(struct nn_load *l, enum part part, const struct nn_words *words, struct nn_tree_node *nodes,
                     const struct nn_reader *r) {
    int64_t n, most = l->dims[0];
    const char *wrong = nn_tree_read(r->text, r->text + r->n, nodes, most, &n);
    if (wrong) return nn_load_fail(l, r->line, "this is not a tree: %s", wrong);
    int64_t fault = part == PART_WORD ? nn_utf8_fault(r->text, (int64_t)r->n) : -1;
    if (fault >= 0) return nn_load_fail(l, r->line, "byte %" PRId64 " of the line is not UTF-8", fault);
    if (n > most) return nn_load_fail(l, r->line, "the tree has %" PRId64 " nodes, nodes=%" PRId64, n, most);
    char *at = nn_load_room(l, 1);
    if (!at) return false;
    for (int64_t i = 0; i < most; i++) {
        int64_t v = i < n ? node_value(&nodes[i], part, words) : part == PART_LABEL ? -1 : 0;
        nn_value_put(at, l->elem, i, (double)v);
    }
    l->column->count++;
    return true;
}

bool nn_load_trees(struct nn_load *l) {
    enum part part = PART_WORD;
    const struct nn_words *words;
    enum nn_cut cut;
    struct nn_reader r;
    if (!read_part(l, &part) || !nn_load_vocab(l, &words, &cut)) return false;
    if (part == PART_WORD && !words) return nn_load_fail(l, 0, "part=\"word\" needs vocab=NAME");
    struct nn_tree_node *nodes = nn_alloc_n(l->env, l->dims[0], sizeof *nodes);
    if (!nodes || !nn_read_open(l->env, &r, l->path)) {
        nn_free(l->env, nodes);
        return false;
    }
    int got;
    bool good = true;
    while (good && (got = nn_read_line(l->env, &r)) != 0) good = got > 0 && (r.n == 0 || add_tree(l, part, words, nodes, &r));
    nn_read_close(l->env, &r);
    nn_free(l->env, nodes);
    return good;
}
