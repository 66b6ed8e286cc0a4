/*
 * tile.h - what the files of the pass `tile` share. tile.c reads a nest and chooses, tile_size.c says how large tiles are, tile_pack.c copies operands into panels, tile_make.c writes the
 * register tiles and the loops around them, tile_blocks.c those of long chains, tile_chain.c those of long chains over several axes, both by chunks (tile_chunk.c), tile_few.c those of few rows.
 */
#ifndef NNC_PASSES_TILE_H
#define NNC_PASSES_TILE_H

#include "passes/machine.h"
#include "passes/nest.h"
#include "passes/pipeline.h"
#include "passes/rewrite.h"

enum {
    CACHE_LINE = 64,
    PAGE = 4096
}; /* bytes; what lies a page apart meets in one set of the first cache, and what fetches ahead stops at the end of one */

/* What a step has computed of a batch field already (tile_stage_rows). */
typedef struct Staged {
    const Expr *value;
    Buffer *buffer;
} Staged;
typedef Vec(Staged) Stageds;

typedef Vec(StepNode *) StepNodes;

/* A loop of the step around a kernel, and what stands in front of it. */
typedef struct Around {
    const StepNode *loop;
    StepNodes *front;
    const struct Around *outer; /* the loop around it; NULL: none */
} Around;

/* How rows, or vectors of columns, are shared out to tiles: `whole` ones of full size, behind them `more` smaller ones of `size`. */
typedef struct TileCut {
    int64_t whole, more;
    int size;
} TileCut;

typedef struct Tiling {
    Arena *arena;
    Stageds *staged;      /* of the step, in front of this kernel */
    const Around *around; /* NULL: no loop. What is computed in one is not for others */
    const Machine *machine;
    Step *step;
    Product product;
    Stmt *row, *col;   /* outer loops; row may be NULL: one row */
    Expr *rows, *cols; /* the factors: that without the column, that with it */
    bool
        shared; /* rows see the column, too, and lie side by side along it: each lane multiplies numbers of its own (channels of a depthwise convolution) */
    int lanes;
    int mr, nv;                  /* tile: mr rows, nv vectors */
    TileCut by_rows, by_columns; /* of all rows (a whole batch) and of all columns, the last vector of which may not be full */
    const Stmt *fold;            /* outer loop all of whose turns are rows of a tile, too (tile_chain.c alone); NULL: none */
    const Affine *acc_row;       /* where the rows that are made lie among the accumulators; NULL: from the first on */
    bool piece;                  /* chains begin and end where outer variables say: a piece of a long sum */
    Buffer *panel;               /* cols, packed; NULL: read where they lie */
    int64_t panel_reach;         /* bytes of panels that tiles read before they come back to the same ones */
    bool own; /* each thread packs the panel that it is about to use, [reduced..., j]; else all panels are packed in front, */
    Var *walked_var
        [NEST_MAX]; /* reduced variables of loops around the product that is made, which a panel packed in front has indices for */
    int n_walked_var;
    const Affine *panel_from; /* the panel begins at this place of the outermost reduced loop; NULL: at 0 */
    Var *panel_var[NEST_MAX]; /* [outer variables that cols sees beside the column..., jj, reduced..., j] */
    int n_panel_var;
    Buffer *row_panel; /* rows of one tile, packed by each thread, [reduced..., i]; NULL: read where they lie */
    bool row_panels; /* ... or of several: of a group, packed by each thread, or of all, packed in front; [tile, reduced..., i] */
    int64_t row_group;      /* tiles in a group */
    const Affine *row_tile; /* the tile that is being made; where there are groups, counted in its group */
    Vec(Stmt *) before;     /* lets in front of the nest, which kernels in front of this one have to repeat */
    Vec(Stmt *) top;        /* lets that hang on no outer variable */
    Vec(Stmt *) inner;      /* those that do */
    const bool *of_column;  /* by inner: it is another number in each column */
} Tiling;

/* ---- tile.c: what the nest tells ---- */

/* Does e lie side by side in memory along v, in all that it loads? */
bool tile_adjacent(const Expr *e, const Var *v);
/* A load and nothing else, of this type, that is always inside. */
bool tile_plain_load(const Expr *e, Elem elem);
/* Does what the columns are, or where their chains begin and end, hang on this outer variable? */
bool tile_cols_see(const Tiling *t, const Var *v);
/* Does where a chain begins or ends hang on v, directly or through index lets? */
bool tile_bounds_use(const Tiling *t, const Var *v);
/* Where a reduced loop ends at the latest, for every piece: B * n or a constant; NULL: it cannot be told. */
const Affine *tile_extent(const Stmt *loop);
const Stmt *tile_last_reduced(const Tiling *t);
/* Does the factor hang on an index that is computed between the loops of the reduction? Loops of their own cannot copy it. */
bool tile_sees_bounds(const Tiling *t, const Expr *e);
/* a / b, rounded up. */
static inline int64_t tile_over(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* ---- tile_size.c: how large the tiles are ---- */

/* Chooses mr, nv and how rows and columns are cut, for m rows, n columns and chains of k; may turn rows and columns around, and sets t->fold. */
void tile_choose_size(Tiling *t, int64_t m, int64_t n, int64_t k);
/* About how many cycles a row of n results costs, sums of k, if the turns of t->row are rows. */
double tile_row_cost(const Tiling *t, int64_t n, int64_t k);
/* Do the accumulators of a tile, a row of its columns and a number of its rows fit the vector registers? */
bool tile_fits_registers(const Tiling *t, int mr, int nv);
/* Bytes that the columns are loaded from; very many if they are computed. */
int64_t tile_column_bytes(const Tiling *t);
static inline int64_t tile_panels(const Tiling *t) { return t->by_columns.whole + t->by_columns.more; }

/* Panels come in two parts: whole ones (0), and behind them narrower ones (1). */
typedef struct TilePart {
    int64_t first, end; /* panels; a part may have none */
    int nv;             /* vectors of each */
    int64_t rest;       /* columns of each; 0: it is a whole panel */
    bool tail;          /* the last vector is not full */
} TilePart;
TilePart tile_part(const Tiling *t, int part);
bool tile_any_columns(const Tiling *t, int part);
/* The first column of a panel of the part, the first row of smaller tile q behind whole ones (of rows whose number is known). */
const Affine *tile_panel_column(Tiling *t, int part, const Affine *panel);
const Affine *tile_more_row(Tiling *t, const Affine *q);

/* ---- tile_pack.c: building loops, and copies of the operands ---- */

/* A serial or marked loop from 0 to limit over a new variable, *as. The caller adds it to a body. */
Stmt *tile_loop(Tiling *t, const char *name, const Affine *limit, Mark mark, int width, const Affine **as);
/* x div n or x mod n, an index let of this name in the body. */
const Affine *tile_index(Tiling *t, IndexKind kind, const char *name, const Affine *x, int64_t n, Body *body);
/* A buffer %KERNEL.what of which each thread has its own. */
Buffer *tile_own_buffer(Tiling *t, const StepNode *kernel, const char *what, int n, const Dim *dims);
/* Adds a new loop like `old` to the body; returns its body, *as: its variable, which r puts in place of the old one from now on. */
Body *tile_loop_like(Tiling *t, Rewrite *r, const Stmt *old, Mark mark, Body *body, const Affine **as);
/* The factor that has the rows computes while it loads: it is computed once, in a kernel in front, and loaded from there. */
void tile_stage_rows(Tiling *t, const StepNode *kernel, StepNodes *out);

bool tile_worth_packing(const Tiling *t, int64_t readers);
/* Is cols copied in blocks across their diagonal? Then fill_row makes rows k .. k + lanes - 1 of a panel at a time. */
bool tile_transposed(const Tiling *t);
/* All panels, in a kernel of its own that is added to `front`. */
void tile_pack_in_front(Tiling *t, const StepNode *kernel, StepNodes *front);
/* One panel a thread, small enough for its second cache; tile_make_own_strips fills it. */
void tile_make_own_panel(Tiling *t, const StepNode *kernel);
/* Loops, marked as said, that fill panel[index[0..lead), reduced..., j] with cols at column `col` + j. rest: how many columns there are; 0 in the last vector beyond them; 0: a
 * whole panel. */
void tile_fill_panel(Tiling *t, const Rewrite *outer, int lead, const Affine **index, const Affine *col, Mark mark, int64_t rest,
                     Body *body);
/* One row of it: index[at] says which, `k` is the value of the last reduced variable there. */
void tile_fill_row(Tiling *t, const Rewrite *outer, const Affine **index, int at, const Affine *k, const Affine *col,
                   int64_t rest, Body *body);
Expr *tile_panel_load(Tiling *t, const Rewrite *r, const Affine *panel, const Affine *column);

/* Do the rows lie a page or more apart? */
bool tile_rows_are_far(const Tiling *t);
/* Do the lines of neighbouring rows, which must be a load, meet in one set of the first cache? */
bool tile_rows_meet(const Tiling *t);
bool tile_rows_are_slow(const Tiling *t);
bool tile_rows_collide(const Tiling *t);
/* Rows of a tile or of a group of them, which it chooses, for each thread. */
void tile_make_row_panel(Tiling *t, const StepNode *kernel);
/* Fills it with the rows of the first `tiles` of a group, mr each, from `row` on. */
void tile_fill_group(Tiling *t, const Rewrite *outer, int64_t tiles, int mr, const Affine *row, Body *body);
/* row_panel[index[0..lead), reduced..., i] = rows at `row` + i, for mr of them. */
void tile_fill_rows(Tiling *t, const Rewrite *outer, int lead, const Affine **index, int mr, const Affine *row, Body *body);
/* The same at one place of the reduction, which index and outer have already: row_panel[index[0..lead), i]. */
void tile_fill_rows_at(Tiling *t, const Rewrite *outer, int lead, const Affine **index, int mr, const Affine *row, Body *body);
/* How many places of the chain ahead rows are to be asked for where they are copied; 0: they lie near. */
int tile_rows_ahead(const Tiling *t);
/* Asks for rows from..from + width - 1, which are neighbours, at place k of the chain. */
void tile_prefetch_rows(Tiling *t, const Rewrite *outer, const Affine *k, const Affine *from, int64_t width, Body *body);
/* All rows, in a kernel of its own in front. */
void tile_rows_in_front(Tiling *t, const StepNode *kernel, StepNodes *out);
Expr *tile_row_panel_load(Tiling *t, const Rewrite *r, const Affine *i);
/* Asks for the place that a load reads. */
void tile_prefetch(Tiling *t, const Expr *load, Body *body);
/* Asks for what a tile of `width` columns will read some turns later of panels that the first cache does not hold, and of packed rows that the second does not. */
void tile_prefetch_packed(Tiling *t, const Rewrite *r, const Affine *panel, const Affine *col, int64_t width, Body *body);

/* ---- tile_make.c: tiles and the loops around them ---- */

/* A register tile: rows row..row + mr - 1, nv vectors of columns from `col` on, which lie in panel number `panel`. */
typedef struct Tile {
    int mr, nv;
    const Affine *row, *panel, *col;
    bool tail; /* the last columns are not a whole vector */
    Temp *acc;
} Tile;

/* Declares tile->acc, zeros. */
void tile_declare(Tiling *t, Tile *tile, Body *body);
/* acc[i, j] = fma(rows, cols, acc[i, j]) for the tile, at one place of the reduction. */
void tile_multiply_add(Tiling *t, const Rewrite *outer, const Tile *tile, Body *inside);
/* Index lets between the outer loops, which say where chains of a piece begin and end. */
void tile_add_bounds(Tiling *t, Rewrite *r, Body *body);
/* Loops of the reduction, the innermost four turns at a time, around the body that they return, for a tile of mr rows. first: where a chain that starts at 0 goes on. */
Body *tile_reduction(Tiling *t, Rewrite *r, int mr, int first, Body *body);
/* The epilogue for every element of the tile. */
void tile_store(Tiling *t, const Rewrite *outer, const Tile *tile, Body *body);
/* All tiles, panel by panel; panels are packed in front or read where they lie. */
void tile_make_strips(Tiling *t, Body *body);
/* The same where each thread packs its panels: so many whole ones, and columns behind them. */
void tile_make_own_strips(Tiling *t, int64_t panels, int64_t rest, Body *body);
/* Rows of tiles, shared out among threads; each packs its rows if there is a row_panel. */
void tile_make_tall(Tiling *t, Body *body);

/* `if` around what is done in turns 0..tiles-1 of ii, or behind them. */
Body *tile_turns_if(Tiling *t, const Affine *ii, int64_t tiles, bool behind, Body *body);

/* ---- tile_chunk.c: what a thread keeps the sums of ---- */

/* The caller sets the numbers, tile_open_chunks the rest. */
typedef struct TileChunk {
    int64_t tiles, panels; /* of rows, of columns in a chunk */
    int64_t column_chunks;
    const Affine *m, *whole_tiles; /* rows, and how many tiles they fill */
    const Affine *ic, *jc;         /* the chunk */
} TileChunk;

/* One tile of those that belong to a chunk. */
typedef struct ChunkTile {
    Tile reg;                     /* the panel counted from the first of the chunk */
    const Affine *number, *first; /* of the tile of rows, counted likewise; its first row in that */
    bool single;                  /* it is a row of a short batch */
} ChunkTile;

/* The loops over the outer variables beside row, column and those inside a chunk, over chunks of rows and, if there are several, of columns: all shared out among threads. */
Body *tile_open_chunks(Tiling *t, TileChunk *c, const Stmt *const *inside, int n_inside, Rewrite *r, Body *body);
/* Are there rows: whole tiles in part 0, in part 1 what is left behind them? */
bool tile_any_rows(const Tiling *t, const TileChunk *c, int part);
/* The loop over the tiles of rows, over the panels of a part around the body that is returned; sets what the tile has of it. */
Body *tile_open_rows(Tiling *t, const TileChunk *c, int part, ChunkTile *tile, Body *body);
Body *tile_open_columns(Tiling *t, const TileChunk *c, int part, ChunkTile *tile, Body *body);
/* Loops over all numbers of a tile around the body that is returned, at[0] and at[1]: row and column in it. */
Body *tile_open_numbers(Tiling *t, const ChunkTile *tile, Body *body, const Affine **at);

/* ---- tile_few.c: few rows ---- */

/* rows: all of them, one tile; nv: vectors of it. across: the columns lie along the chain. */
typedef struct TileFew {
    int rows, nv;
    bool across;
} TileFew;
/* Is there one tile of rows, and the columns a matrix that is better read as memory lies? pack: ordinary tiles would copy it to panels. Fills *how. */
bool tile_few_rows(const Tiling *t, bool pack, TileFew *how);
void tile_make_few(Tiling *t, const StepNode *kernel, const TileFew *how, Body *body);

/* ---- tile_blocks.c: long chains over one axis ---- */

/* Is it a piece of a long sum, or a chain so long, that can be computed in blocks of the chain that fit the caches? */
bool tile_blocks_fit(const Tiling *t);
enum { TILE_DEPTH = 256 }; /* of a block, about: tiles are chosen for chains of this length */
void tile_make_blocks(Tiling *t, const StepNode *kernel, Body *body);

/* ---- tile_chain.c: long chains over several axes ---- */

/* Is the chain so long that it is to be computed in blocks, for many tiles at a time? */
bool tile_chain_fits(const Tiling *t);
/* Turns of all reduced loops together. */
int64_t tile_chain_length(const Tiling *t);
/* Turns of the chain in a block, about. */
int64_t tile_chain_depth(const Tiling *t);
void tile_make_chain(Tiling *t, const StepNode *kernel, Body *body);

#endif
