/*
 * tree.h - parse trees as the Stanford Sentiment Treebank writes them: (3 (2 It) (4 (2 's) (4 good))). A node is a number, the
 * label, and either a word or two nodes. Words end at a space or a bracket.
 */
#ifndef NN_TREE_H
#define NN_TREE_H

#include "env.h"

struct nn_tree_node {
    int64_t label;
    const char *word; /* NULL: an inner node */
    size_t n;         /* length of the word */
    int64_t left, right;
};

/* True if the text begins with a tree. */
bool nn_tree_looks_like(const char *text, const char *end);
/* Calls visit for every word of every tree. */
bool nn_tree_words(const char *text, const char *end, bool (*visit)(void *, const char *word, size_t n), void *context);
/* Reads one tree from a line: children before their parent, the root last. *n: nodes, even beyond `most` (those are not stored).
 * Returns NULL, or what is wrong. */
const char *nn_tree_read(const char *text, const char *end, struct nn_tree_node *nodes, int64_t most, int64_t *n);

#endif
