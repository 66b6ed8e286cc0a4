/*
 * test_graph.c - the graph IR: types, the type rule of every op, text and back, the verifier, changing a graph, and spoilt texts.
 *
 * Most tests are tables: an op as text, and what must be said about it. A walk over ops.def fails for an op without a row of each
 * sort.
 */
#include "ir/graph.h"
#include "texts.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Arena *arena;

static void setup(void) { arena = arena_new(); }
static void teardown(void) { arena_free(arena); }

/* ---- helpers ---- */

static char *read_whole(const char *path, size_t *n) { return test_file(arena, path, n); }

static const char *golden_path(const char *name) {
    return arena_printf(arena, "%s/tests/golden/graph/%s.graph", NNC_SOURCE_ROOT, name);
}

static const char *messages(const Diag *d) { return test_messages(arena, d); }

static Module *parse(const char *text, size_t n, Stage *stage, const char **said) {
    Diag *d = diag_new(arena);
    Module *m = graph_parse(arena, d, "t.graph", text, n, stage);
    *said = messages(d);
    return m;
}

static const char *print(const Module *m, Stage stage, size_t *n) {
    Text t = {0};
    graph_print(m, stage, NULL, &t, arena);
    *n = t.n;
    return text_str(arena, &t);
}

static Module *golden(const char *name, Stage *stage) {
    size_t n;
    const char *said, *text = read_whole(golden_path(name), &n);
    Module *m = parse(text, n, stage, &said);
    ck_assert_msg(m != NULL, "%s: %s", name, said);
    return m;
}

static const char *const goldens[] = {"step", "ops", "fused", "line"};
enum { GOLDENS = sizeof goldens / sizeof *goldens };

/* ---- types ---- */

static const Dim B = {1, true}, B2 = {2, true};
static Dim d(int64_t n) { return (Dim){n, false}; }

START_TEST(types_are_interned) {
    Dim dims[] = {B, d(28), d(28)}, other[] = {B2, d(28), d(28)};
    const Type *t = type_make(F32, 3, dims);
    ck_assert_ptr_eq(t, type_make(F32, 3, dims));
    ck_assert_ptr_ne(t, type_make(F64, 3, dims));
    ck_assert_ptr_ne(t, type_make(F32, 2, dims));
    ck_assert_ptr_ne(t, type_make(F32, 3, other));
    ck_assert_ptr_eq(type_with_elem(t, U8), type_make(U8, 3, dims));
    ck_assert(type_same_shape(t, type_with_elem(t, BOOL)) && !type_same_shape(t, type_make(F32, 3, other)));
    for (int i = 0; i < 3000; i++) /* the table grows */
        ck_assert_ptr_eq(type_make(I32, 1, (Dim[]){d(i)}), type_make(I32, 1, (Dim[]){d(i)}));
    ck_assert_ptr_eq(t, type_make(F32, 3, dims));
}
END_TEST

START_TEST(types_have_names_and_sizes) {
    Dim dims[] = {B2, d(28)};
    const Type *t = type_make(F32, 2, dims);
    ck_assert_str_eq(type_name(t), "f32[2*B, 28]");
    ck_assert_str_eq(type_name(type_scalar(BOOL)), "bool");
    ck_assert_str_eq(type_name_bound(t, 64), "f32[2*(B<=64), 28]");
    ck_assert_str_eq(type_name_bound(type_make(U8, 1, &B), 64), "u8[B<=64]");
    ck_assert_int_eq(type_count(t, 5), 280);
    ck_assert_int_eq(type_count(type_scalar(F64), 5), 1);
    ck_assert_int_eq(type_count(type_make(F32, 3, (Dim[]){d(INT64_MAX / 2), d(3), d(5)}), 1), INT64_MAX);
    ck_assert(type_has_batch(t) && type_batch_axis(t) == 0 && type_batch_axis(type_scalar(F32)) == -1);
}
END_TEST

START_TEST(shapes_that_are_refused) {
    ck_assert_ptr_null(type_fault(3, (Dim[]){d(3), d(0), B}));
    ck_assert_ptr_null(type_fault(1, &B2));
    ck_assert_ptr_nonnull(strstr(type_fault(2, (Dim[]){B, B}), "one axis"));
    ck_assert_ptr_nonnull(strstr(type_fault(2, (Dim[]){d(3), B2}), "leading"));
    ck_assert_ptr_nonnull(strstr(type_fault(1, (Dim[]){d(-1)}), "negative"));
    ck_assert_ptr_nonnull(strstr(type_fault(1, (Dim[]){{0, true}}), "at least 1"));
    ck_assert_ptr_nonnull(strstr(type_fault(2, (Dim[]){d((int64_t)1 << 40), d(2)}), "2^40"));
    ck_assert_ptr_nonnull(strstr(type_fault(MAX_RANK + 1, (Dim[MAX_RANK + 1]){{0}}), "10 dimensions"));
}
END_TEST

/* ---- the table ---- */

START_TEST(table_of_ops) {
    for (int i = 0; i < OP_COUNT; i++) {
        const OpInfo *o = &op_info[i];
        ck_assert_int_eq((int)op_by_name(o->name), i);
        ck_assert_msg(*o->stages && strspn(o->stages, "gekt") == strlen(o->stages), "stages of %s", o->name);
        ck_assert_msg(o->max_in < 0 || o->max_in >= o->min_in, "arity of %s", o->name);
        ck_assert_msg(*o->doc != 0, "%s has no line of documentation", o->name);
    }
    ck_assert_int_eq(op_by_name("nonsense"), OP_COUNT);
    const OpInfo *conv = &op_info[OP_conv], *scan = &op_info[OP_scan], *uniform = &op_info[OP_uniform];
    ck_assert(conv->n_attrs == 7 && conv->attrs[0] == A_spec && conv->attrs[6] == A_rhs_dilation);
    ck_assert(conv->min_in == 2 && conv->max_in == 2 && scan->min_in == 0 && scan->max_in == -1 && uniform->min_in == 1 &&
              uniform->max_in == 2);
    ck_assert(op_info[OP_dynamic_update].min_in == 2 && op_info[OP_dynamic_update].max_in == -1);
}
END_TEST

/* ---- type rules ---- */

/* What the lines of the table below can use. */
static const char head[] =
    "param %x: f32[4, 6] = 0\nparam %d: f64[4, 6] = 0\nparam %i: i32[4, 6] = 0\nparam %j: i64[4, 6] = 0\nparam %c: bool[4, 6] = "
    "0\n"
    "param %v: f32[6] = 0\nparam %e: f32[0, 3] = 0\nparam %s: f32 = 0\nparam %si: i32 = 0\nparam %sb: bool = 0\nparam %key: i64 "
    "= 0\n"
    "param %k: f32[3, 3, 3, 5] = 0\n"
    "field %b: f32[B<=8, 4, 6]\nfield %b2: f32[2*(B<=8), 3]\nfield %img: f32[B<=8, 7, 7, 3]\nfield %bi: i32[B<=8]\n"
    "func @f(%x: f32[4, 6], %d: f64[4, 6], %i: i32[4, 6], %j: i64[4, 6], %c: bool[4, 6], %v: f32[6], %e: f32[0, 3], %s: f32, "
    "%si: i32,"
    "%sb: bool, %key: i64, %k: f32[3, 3, 3, 5], %b: f32[B<=8, 4, 6], %b2: f32[2*(B<=8), 3], %img: f32[B<=8, 7, 7, 3], %bi: "
    "i32[B<=8]) -> () {\n";

#define WINDOW " size=[2, 2], stride=[2, 2], low=[0, 0], high=[0, 0]"

/* A line, and a part of the message that it must give; NULL: it is right. What stands in ops.graph is right, too. */
static const struct {
    OpCode op;
    const char *line, *message;
} rows[] = {
    {OP_neg, "%r = neg %c : bool[4, 6]", "wants numbers"},
    {OP_neg, "%r = neg %x, %x : f32[4, 6]", "takes 1 operand, not 2"},
    {OP_neg, "%r = neg %x : f32[6, 4]", "result 1 is f32[4, 6], not f32[6, 4]"},
    {OP_abs, "%r = abs %c : bool[4, 6]", "wants numbers"},
    {OP_sign, "%r = sign %c : bool[4, 6]", "wants numbers"},
    {OP_exp, "%r = exp %i : i32[4, 6]", "wants floats"},
    {OP_expm1, "%r = expm1 %i : i32[4, 6]", "wants floats"},
    {OP_log, "%r = log %i : i32[4, 6]", "wants floats"},
    {OP_log1p, "%r = log1p %i : i32[4, 6]", "wants floats"},
    {OP_sqrt, "%r = sqrt %i : i32[4, 6]", "wants floats"},
    {OP_sin, "%r = sin %i : i32[4, 6]", "wants floats"},
    {OP_cos, "%r = cos %i : i32[4, 6]", "wants floats"},
    {OP_tanh, "%r = tanh %i : i32[4, 6]", "wants floats"},
    {OP_sigmoid, "%r = sigmoid %i : i32[4, 6]", "wants floats"},
    {OP_erf, "%r = erf %i : i32[4, 6]", "wants floats"},
    {OP_floor, "%r = floor %i : i32[4, 6]", "wants floats"},
    {OP_ceil, "%r = ceil %i : i32[4, 6]", "wants floats"},
    {OP_round, "%r = round %i : i32[4, 6]", "wants floats"},
    {OP_not, "%r = not %i : i32[4, 6]", "wants bools"},
    {OP_convert, "%r = convert %x : u8[6, 4]", "keeps the shape"},
    {OP_convert, "%r = convert %b : u8[B, 4, 6]", NULL},
    {OP_add, "%r = add %x, %d : f32[4, 6]", "differ (f32[4, 6], f64[4, 6])"},
    {OP_add, "%r = add %x, %v : f32[4, 6]", "differ (f32[4, 6], f32[6])"},
    {OP_sub, "%r = sub %c, %c : bool[4, 6]", "wants numbers"},
    {OP_mul, "%r = mul %c, %c : bool[4, 6]", "wants numbers"},
    {OP_div, "%r = div %i, %i : i32[4, 6]", "wants floats"},
    {OP_floor_div, "%r = floor_div %c, %c : bool[4, 6]", "wants numbers"},
    {OP_mod, "%r = mod %c, %c : bool[4, 6]", "wants numbers"},
    {OP_pow, "%r = pow %i, %i : i32[4, 6]", "wants floats"},
    {OP_max, "%r = max %x, %i : f32[4, 6]", "differ"},
    {OP_min, "%r = min %c, %c : bool[4, 6]", "wants numbers"},
    {OP_eq, "%r = eq %x, %i : bool[4, 6]", "differ"},
    {OP_ne, "%r = ne %x, %i : bool[4, 6]", "differ"},
    {OP_lt, "%r = lt %c, %c : bool[4, 6]", "no order"},
    {OP_le, "%r = le %c, %c : bool[4, 6]", "no order"},
    {OP_gt, "%r = gt %c, %c : bool[4, 6]", "no order"},
    {OP_ge, "%r = ge %c, %c : bool[4, 6]", "no order"},
    {OP_and, "%r = and %i, %i : i32[4, 6]", "wants bools"},
    {OP_or, "%r = or %c, %i : bool[4, 6]", "differ"},
    {OP_mix, "%r = mix %si, %si : i32", "i64 key"},
    {OP_mix, "%r = mix %key, %i : i64", "differ in shape"},
    {OP_fma, "%r = fma %i, %i, %i : i32[4, 6]", "wants floats"},
    {OP_select, "%r = select %i, %x, %x : f32[4, 6]", "condition"},
    {OP_select, "%r = select %sb, %x, %x : f32[4, 6]", "differ in shape"},
    {OP_constant, "%r = constant 0.5 : i32", "cannot hold"},
    {OP_constant, "%r = constant 300 : u8[2]", "u8 cannot hold 300"},
    {OP_constant, "%r = constant 2 : bool", "cannot hold"},
    {OP_constant, "%r = constant -9223372036854775808 : i64", NULL},
    {OP_constant, "%r = constant 1e300 : f64[B]", NULL},
    {OP_literal, "%r = literal [1, 2] : f32[3]", "has 3 elements, but 2"},
    {OP_literal, "%r = literal [1] : f32[B]", "no batch"},
    {OP_literal, "%r = literal [] : f32[0, 2]", NULL},
    {OP_iota, "%r = iota axis=2 : i32[4, 6]", "axis 2 is outside"},
    {OP_iota, "%r = iota axis=0 : bool[4]", "not bools"},
    {OP_batch, "%r = batch : i64", "result 1 is i32, not i64"},
    {OP_uniform, "%r = uniform %si, site=1 : f32[3]", "not i64"},
    {OP_uniform, "%r = uniform %key, site=1 : f64[3]", "makes f32"},
    {OP_uniform, "%r = uniform %key, %key, site=1 : f32", "leading axis"},
    {OP_broadcast, "%r = broadcast %v, axes=[0] : f32[4, 6]", "cannot be repeated"},
    {OP_broadcast, "%r = broadcast %x, axes=[1, 0] : f32[6, 4]", "increasing order"},
    {OP_broadcast, "%r = broadcast %v, axes=[2] : f32[B, 4, 6]", NULL},
    {OP_broadcast, "%r = broadcast %v, axes=[0, 1] : f32[6, 6]", "has 2 numbers, not 1"},
    {OP_reshape, "%r = reshape %x : f32[5, 5]", "different numbers"},
    {OP_reshape, "%r = reshape %x : f32[B, 24]", "different numbers"},
    {OP_reshape, "%r = reshape %b : f32[4*B, 6]", NULL},
    {OP_reshape, "%r = reshape %b2 : f32[B, 2, 3]", NULL},
    {OP_reshape, "%r = reshape %b2 : f32[2, B, 3]", NULL},
    {OP_reshape, "%r = reshape %b : f32[6, 4*B]", "leading"},
    {OP_transpose, "%r = transpose %x, perm=[0, 0] : f32[4, 4]", "stands twice"},
    {OP_transpose, "%r = transpose %x, perm=[0] : f32[4]", "has 1 number, not 2"},
    {OP_transpose, "%r = transpose %b2, perm=[1, 0] : f32[3, 4]", "leading"},
    {OP_transpose, "%r = transpose %b, perm=[2, 0, 1] : f32[6, B, 4]", NULL},
    {OP_slice, "%r = slice %x, start=[0, 0], limit=[4, 7], step=[1, 1] : f32[4, 7]", "does not fit axis 1"},
    {OP_slice, "%r = slice %x, start=[0, 0], limit=[4, 6], step=[1, 0] : f32[4, 6]", "does not fit"},
    {OP_slice, "%r = slice %bi, start=[0], limit=[1], step=[1] : i32[1]", "taken whole"},
    {OP_slice, "%r = slice %x, start=[1, 0], limit=[4, 6], step=[2, 5] : f32[2, 2]", NULL},
    {OP_slice, "%r = slice %x, start=[4, 0], limit=[4, 6], step=[1, 9223372036854775807] : f32[0, 1]", NULL},
    {OP_pad, "%r = pad %x, %si, low=[0, 0], high=[0, 0], interior=[0, 0] : f32[4, 6]", "to pad"},
    {OP_pad, "%r = pad %x, %s, low=[-5, 0], high=[0, 0], interior=[0, 0] : f32[4, 6]", "-1 elements"},
    {OP_pad, "%r = pad %x, %s, low=[0, 0], high=[0, 0], interior=[-1, 0] : f32[4, 6]", "`interior` is -1"},
    {OP_pad, "%r = pad %b, %s, low=[1, 0, 0], high=[0, 0, 0], interior=[0, 0, 0] : f32[B, 4, 6]", "batch axis"},
    {OP_pad, "%r = pad %e, %s, low=[0, -1], high=[2, 0], interior=[3, 1] : f32[2, 4]", NULL},
    {OP_concat, "%r = concat axis=0 : f32[4]", "at least one"},
    {OP_concat, "%r = concat %x, %v, axis=0 : f32[5, 6]", "ranks differ"},
    {OP_concat, "%r = concat %b, %b2, axis=0 : f32[3*B, 4, 6]", "ranks differ"},
    {OP_concat, "%r = concat %x, %e, axis=0 : f32[4, 6]", "differ on axis 1"},
    {OP_concat, "%r = concat %b2, %b2, %b2, axis=0 : f32[6*B, 3]", NULL},
    {OP_reverse, "%r = reverse %x, axes=[1, 1] : f32[4, 6]", "increasing"},
    {OP_take, "%r = take %x, %v, axis=0 : f32[6, 6]", "not integers"},
    {OP_take, "%r = take %b, %bi, axis=1 : f32[B, B, 6]", "one axis"},
    {OP_take, "%r = take %b, %bi, axis=0 : f32[B, 4, 6]", NULL},
    {OP_take, "%r = take %x, %bi, axis=1 : f32[4, B]", NULL},
    {OP_take_add, "%r = take_add %x, %bi, axis=0 : f32[9, 6]", "gives f32[B, 6], not f32[4, 6]"},
    {OP_gather, "%r = gather %x, %bi, axis=0 : f32[4, 6]", "ranks differ"},
    {OP_gather, "%r = gather %b2, %i, axis=0 : f32[4, 6]", "differ on axis 1"},
    {OP_scatter_add, "%r = scatter_add %x, %v, %i, axis=0 : f32[4, 6]", "differ in shape"},
    {OP_scatter_add, "%r = scatter_add %c, %c, %i, axis=0 : bool[4, 6]", "adds numbers"},
    {OP_dynamic_slice, "%r = dynamic_slice %x, %si, axes=[0], sizes=[5] : f32[5, 6]", "do not fit"},
    {OP_dynamic_slice, "%r = dynamic_slice %x, axes=[0], sizes=[1] : f32[1, 6]", "1 axes, but 0"},
    {OP_dynamic_slice, "%r = dynamic_slice %x, %s, axes=[0], sizes=[1] : f32[1, 6]", "not an integer scalar"},
    {OP_dynamic_update, "%r = dynamic_update %x, %v, %si, axes=[0] : f32[4, 6]", "ranks differ"},
    {OP_dynamic_update, "%r = dynamic_update %x, %e, %si, axes=[0] : f32[4, 6]", "does not fit into"},
    {OP_contract, "%r = contract \"ij,jk->ik\" %x, %x : f32[4, 6]", "inner sizes differ (6, 4)"},
    {OP_contract, "%r = contract \"ij,ik->ij\" %x, %x : f32[4, 6]", "in one operand alone"},
    {OP_contract, "%r = contract \"ij,ij\" %x, %x : f32", "not of the form"},
    {OP_contract, "%r = contract \"ii,ii->i\" %x, %x : f32[4]", "stands twice"},
    {OP_contract, "%r = contract \"ij,ij->k\" %x, %x : f32[4]", "in no operand"},
    {OP_contract, "%r = contract \"ijk,ij->k\" %x, %x : f32[4]", "3 labels for operand 1"},
    {OP_contract, "%r = contract \"bij,cij->bc\" %b, %b : f32[B, B]", "one axis"},
    {OP_contract, "%r = contract \"ij,ij->ij\" %c, %c : bool[4, 6]", "cannot be multiplied"},
    {OP_contract, "%r = contract \"bij,bik->jk\" %b, %b : f32[6, 6]", NULL},
    {OP_contract, "%r = contract \"ij,ij->\" %i, %i : i32", NULL},
    {OP_contract, "%r = contract \",i->i\" %s, %v : f32[6]", NULL},
    {OP_conv,
     "%r = conv \"nxyc,xycd->nxyd\" %img, %k, window=\"xy\", stride=[1, 0], low=[0, 0], high=[0, 0], lhs_dilation=[1, 1], "
     "rhs_dilation=[1, 1] : f32[B, 5, 5, 5]",
     "`stride` is 0"},
    {OP_conv,
     "%r = conv \"nxyc,xycd->nxyd\" %img, %k, window=\"xy\", stride=[1], low=[0, 0], high=[0, 0], lhs_dilation=[1, 1], "
     "rhs_dilation=[1, 1] : f32[B, 5, 5, 5]",
     "has 1 number, not 2"},
    {OP_conv,
     "%r = conv \"nxyc,xycd->nxyd\" %img, %k, window=\"xz\", stride=[1, 1], low=[0, 0], high=[0, 0], lhs_dilation=[1, 1], "
     "rhs_dilation=[1, 1] : f32[B, 5, 5, 5]",
     "does not stand in both"},
    {OP_conv,
     "%r = conv \"nxyc,xycd->nxyd\" %img, %k, window=\"xy\", stride=[1, 1], low=[0, 0], high=[0, 0], lhs_dilation=[1, 1], "
     "rhs_dilation=[5, 1] : f32[B, 0, 5, 5]",
     "is larger than"},
    {OP_conv,
     "%r = conv \"nxyc,xycd->nxyd\" %img, %k, window=\"xy\", stride=[1, 3], low=[0, 1], high=[0, 1], lhs_dilation=[1, 1], "
     "rhs_dilation=[1, 1] : f32[B, 5, 3, 5]",
     NULL},
    {OP_conv,
     "%r = conv \"nxyc,nxyd->xycd\" %img, %img, window=\"xy\", stride=[1, 1], low=[2, 2], high=[2, 2], lhs_dilation=[1, 1], "
     "rhs_dilation=[1, 1] : f32[5, 5, 3, 3]",
     NULL},
    {OP_sum, "%r = sum %c, axes=[0] : i32[6]", "wants numbers"},
    {OP_sum, "%r = sum %x, axes=[2] : f32[4, 6]", "axis 2 is outside"},
    {OP_sum, "%r = sum %e, axes=[0] : f32[3]", NULL},
    {OP_prod, "%r = prod %c, axes=[0] : f32[6]", "wants numbers"},
    {OP_reduce_max, "%r = reduce_max %e, axes=[0] : f32[3]", "empty"},
    {OP_reduce_max, "%r = reduce_max %e, axes=[1] : f32[0]", NULL},
    {OP_reduce_min, "%r = reduce_min %c, axes=[0] : bool[6]", "wants numbers"},
    {OP_any, "%r = any %x, axes=[0] : bool[6]", "wants bools"},
    {OP_all, "%r = all %x, axes=[0] : bool[6]", "wants bools"},
    {OP_argmax, "%r = argmax %e, axis=0 : i32[3]", "empty"},
    {OP_argmax, "%r = argmax %s, axis=0 : i32", "axis 0 is outside"},
    {OP_argmin, "%r = argmin %c, axis=0 : i32[6]", "wants numbers"},
    {OP_sort, "%r = sort %x, axis=0 : f32[4, 6]", "has 2 results here, not 1"},
    {OP_sort, "%r, %q = sort %c, axis=0 : bool[4, 6], i32[4, 6]", "wants numbers"},
    {OP_top_k, "%r, %q = top_k %x, k=7 : f32[4, 7], i32[4, 7]", "does not have 7"},
    {OP_window_max, "%r = window_max %v," WINDOW " : f32[6]", "first and a last axis"},
    {OP_window_max, "%r = window_max %img, size=[2, 2], stride=[2, 2], low=[2, 0], high=[0, 0] : f32[B, 4, 3, 3]",
     "padding alone"},
    {OP_window_max, "%r = window_max %img, size=[8, 2], stride=[9, 2], low=[0, 0], high=[0, 0] : f32[B, 0, 3, 3]", NULL},
    {OP_window_sum, "%r = window_sum %img, size=[9, 2], stride=[1, 2], low=[0, 0], high=[0, 0] : f32[B, 0, 3, 3]",
     "is larger than axis 1"},
    {OP_window_sum, "%r = window_sum %img, size=[2, 2], stride=[2, 2], low=[2, 0], high=[0, 0] : f32[B, 4, 3, 3]", NULL},
    {OP_window_put, "%r = window_put %img, %img," WINDOW " : f32[B, 7, 7, 3]", "give f32[B, 3, 3, 3]"},
    {OP_window_pick, "%r = window_pick %img, %b," WINDOW " : f32[B, 3, 3, 3]", "differ"},
    {OP_scan, "%r = scan %v, carry=1, axes=[], yaxes=[], reverse=false, trip=3 : f32[6]", "has 1 block, not 0"},
    {OP_scan,
     "%r = scan %v, carry=1, axes=[], yaxes=[], reverse=false, trip=3 : f32[6] {\nblock (%t: i32, %h: f32[4])\nyield %v\n}",
     "parameter 2 is f32[4], not f32[6]"},
    {OP_scan,
     "%r = scan %x, carry=0, axes=[0], yaxes=[0], reverse=false, trip=3 : f32[3, 6] {\nblock (%t: i32, %h: f32[6])\nyield %h\n}",
     "does not have the 3 places"},
    {OP_scan,
     "%r = scan %b, %si, carry=0, axes=[0], yaxes=[1], reverse=false, trip=-1 : f32[4, B, 6] {\nblock (%t: i32, %h: f32[4, "
     "6])\nyield %h\n}",
     NULL},
    {OP_scan,
     "%r = scan %b, %s, carry=0, axes=[0], yaxes=[1], reverse=false, trip=-1 : f32[4, B, 6] {\nblock (%t: i32, %h: f32[4, "
     "6])\nyield %h\n}",
     "not i32"},
    {OP_scan,
     "%r = scan %v, carry=1, axes=[], yaxes=[], reverse=false, trip=3 : f32[6] {\nblock (%t: i32, %h: f32[6])\n%z = neg %h : "
     "f32[6]\nyield %s\n}",
     "carried value 1 is f32, not f32[6]"},
    {OP_while, "%r = while %v, max=3 : f32[6] {\nblock (%h: f32[6])\nyield %s\nblock (%g: f32[6])\nyield %g\n}",
     "result of the condition 1 is f32"},
    {OP_while, "%r = while %v, max=-3 : f32[6] {\nblock (%h: f32[6])\nyield %sb\nblock (%g: f32[6])\nyield %g\n}", "`max` is -3"},
    {OP_grad, "%r = grad %x wrt %v : f32[6]", "not a floating-point scalar"},
    {OP_grad, "%r = grad %s wrt %i : i32[4, 6]", "no gradient with respect to i32[4, 6]"},
    {OP_grad, "%r = grad %s wrt %v : f32[6]", NULL},
    {OP_stop_gradient, "%r = stop_gradient %i : f32[4, 6]", "result 1 is i32[4, 6]"},
    {OP_stop_gradient, "%r = stop_gradient %i : i32[4, 6]", NULL},
    {OP_kernel, "%r = kernel : f32[6] {\nblock (%h: f32[6])\nyield %h\n}", "has 1 parameter, not 0"},
    /* attributes */
    {OP_sum, "%r = sum %x : f32", "lacks its attribute `axes`"},
    {OP_sum, "%r = sum %x, axes=[0], axes=[1] : f32[6]", "given twice"},
    {OP_sum, "%r = sum %x, perm=[0] : f32[6]", "has no attribute `perm`"},
};
enum { ROWS = sizeof rows / sizeof *rows };

START_TEST(rule_row) {
    const char *said, *text = arena_printf(arena, "graph front\n%s  %s\n  return\n}\n", head, rows[_i].line);
    Stage stage;
    Module *m = parse(text, strlen(text), &stage, &said);
    if (!rows[_i].message) {
        ck_assert_msg(m != NULL, "%s\n%s", rows[_i].line, said);
    } else {
        ck_assert_msg(!m && strstr(said, rows[_i].message), "%s\nwanted: %s\nsaid: %s", rows[_i].line, rows[_i].message, said);
        ck_assert_msg(!strstr(strstr(said, "error[") + 1, "error["), "more than one message: %s", said);
    }
}
END_TEST

static void note_op(Op *op, void *seen) { ((int *)seen)[op->code]++; }

/* An op that nobody wrote a right and a wrong line for. */
START_TEST(every_op_has_rows) {
    int right[OP_COUNT] = {0}, wrong[OP_COUNT] = {0};
    for (int i = 0; i < GOLDENS; i++) {
        Stage stage;
        Module *m = golden(goldens[i], &stage);
        for (size_t k = 0; k < m->funcs.n; k++) block_walk(m->funcs.at[k]->body, note_op, right);
    }
    for (int i = 0; i < ROWS; i++) (rows[i].message ? wrong : right)[rows[i].op]++;
    for (int i = 0; i < OP_COUNT; i++)
        ck_assert_msg(right[i] && wrong[i], "`%s` has %d lines that are right and %d that are wrong", op_info[i].name, right[i],
                      wrong[i]);
}
END_TEST

/* ---- text ---- */

START_TEST(golden_round_trip) {
    size_t n, got_n;
    const char *want = read_whole(golden_path(goldens[_i]), &n);
    Stage stage;
    const Module *m = golden(goldens[_i], &stage);
    const char *got = print(m, stage, &got_n);
    size_t at = 0, line = 1;
    while (at < n && at < got_n && got[at] == want[at]) line += got[at++] == '\n';
    ck_assert_msg(n == got_n && at == n, "%s differs in line %zu: ...%.60s", goldens[_i], line, got + at);
}
END_TEST

/* Every node kind, slot kind and kind of argument stands in step.graph. */
START_TEST(golden_is_complete) {
    Stage stage;
    Module *m = golden("step", &stage);
    unsigned slots = 0, args = 0, nodes = 0;
    for (size_t i = 0; i < m->slots.n; i++) slots |= 1u << m->slots.at[i]->kind;
    for (size_t i = 0; i < m->data.n; i++)
        for (size_t k = 0; k < m->data.at[i]->fields.n; k++)
            for (size_t g = 0; g < m->data.at[i]->fields.at[k].loader.args.n; g++)
                args |= 1u << m->data.at[i]->fields.at[k].loader.args.at[g].kind;
    for (size_t i = 0; i < m->commands.n; i++)
        for (size_t k = 0; k < m->commands.at[i]->body.n; k++) {
            const Node *top = m->commands.at[i]->body.at[k];
            nodes |= 1u << top->kind;
            for (size_t g = 0; g < top->body.n; g++) {
                nodes |= 1u << top->body.at[g]->kind;
                for (size_t h = 0; h < top->body.at[g]->body.n; h++) nodes |= 1u << top->body.at[g]->body.at[h]->kind;
            }
        }
    ck_assert_uint_eq(slots, (1u << (SLOT_INPUT + 1)) - 1);
    ck_assert_uint_eq(args, (1u << (ARG_VOCAB + 1)) - 1);
    ck_assert_uint_eq(nodes, (1u << (NODE_WRITE + 1)) - 1);
    ck_assert_str_eq(m->funcs.at[1]->body->first->next->next->loc.what, "dense");
    ck_assert_int_eq(m->funcs.at[1]->body->first->next->next->loc.col, 13);
    ck_assert_int_eq((int64_t)m->hash, 0xdeadbeef);
}
END_TEST

/* Any double comes back with its bits (a NaN as a NaN of its sign); an f32 prints as short as an f32 can. */
START_TEST(numbers_are_exact) {
    unsigned seed = 12345;
    srand(seed);
    for (int i = 0; i < 2000; i++) {
        union {
            uint64_t u;
            double f;
        } x = {.u = 0}, y;
        for (int k = 0; k < 8; k++) x.u = x.u << 8 | (unsigned)(rand() >> 7 & 0xff);
        if (i % 4 == 0) x.f = (double)(rand() % 2000 - 1000) / 8;
        Module *m = module_new(arena);
        Builder b = builder_at_end(func_new(m, "f", (Loc){0}));
        bool small = i % 2;
        if (small) x.f = (double)(float)x.f;
        g_constant(&b, type_scalar(small ? F32 : F64), x.f);
        size_t n;
        Stage stage;
        const char *said, *text = print(m, STAGE_FRONT, &n);
        Module *back = parse(text, n, &stage, &said);
        ck_assert_msg(back != NULL, "seed %u: %s%s", seed, text, said);
        y.f = op_real(back->funcs.at[0]->body->first, A_value);
        ck_assert_msg(x.u == y.u || (isnan(x.f) && isnan(y.f) && signbit(x.f) == signbit(y.f)), "seed %u: %a came back as %a: %s",
                      seed, x.f, y.f, text);
    }
    Module *m = module_new(arena);
    Builder b = builder_at_end(func_new(m, "f", (Loc){0}));
    g_constant(&b, type_scalar(F32), 0.1);
    g_constant(&b, type_scalar(F64), (double)0.1f);
    size_t n;
    const char *text = print(m, STAGE_FRONT, &n);
    ck_assert_msg(strstr(text, "constant 0.1 : f32") && strstr(text, "constant 0.10000000149011612 : f64"), "%s", text);
}
END_TEST

/* Names: equal hints are numbered, a hint that looks numbered keeps its place, strange names are quoted. */
START_TEST(names_are_unique) {
    Module *m = module_new(arena);
    Slot *s = slot_new(m, SLOT_VAR, "a \"b\"\n.", type_scalar(F32), (Loc){0});
    Func *f = func_new(m, "f.1", (Loc){0});
    Builder b = builder_at_end(f);
    Value *x = func_read(f, s);
    const char *hints[] = {"h", "h", "h.1", NULL, "h", "7", "h̃", "a..b", "a \"b\"\n."};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) g_unary(&b, OP_neg, x)->name = intern(hints[i]);
    size_t n, n2;
    Stage stage;
    const char *said, *text = print(m, STAGE_FRONT, &n);
    const char *want[] = {"  %h = neg", "  %h.1 = neg",      "  %h.1.1 = neg",
                          "  %0 = neg", "  %h.2 = neg",      "  %1 = neg",
                          "  %h̃ = neg", "  %\"a..b\" = neg", "%\"a \\\"b\\\"\\n.\": f32"};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        ck_assert_msg(strstr(text, want[i]), "%s is not in\n%s", want[i], text);
    Module *back = parse(text, n, &stage, &said);
    ck_assert_msg(back != NULL, "%s", said);
    ck_assert_str_eq(text, print(back, stage, &n2));
}
END_TEST

/* A text and the message that it must give. */
static const struct {
    const char *text, *message;
} slips[] = {
    {"", "E0606"},
    {"graph late\n", "E0606"},
    {"graph front\nfoo\n", "E0601"},
    {"graph front\nparam %w f32[3]\n", "expected `:`, found `f32`"},
    {"graph front\nparam %w: f33[3] = 0\n", "expected a type, found `f33`"},
    {"graph front\nparam %w: f32[B, B] = 0\n", "one axis only"},
    {"graph front\nparam %w: f32[1,1,1,1,1,1,1,1,1,1,1] = 0\n", "10 dimensions"},
    {"graph front\noption %a: f32 = 1\noption %a: f32 = 1\n", "E0603"},
    {"graph front\noption %a: i32 = 99999999999999999999\n", "E0605"},
    {"graph front\noption %a: f32[2] = 1\n", "not a scalar"},
    {"graph front\ncounter %a: f32\n", "not i32"},
    {"graph front\nparam %a: f32 = @init\n", "there is no function @init"},
    {"graph front\nparam %a: f32 = @i\nfunc @i() -> () {\n  return\n}\n", "does not give one such result"},
    {"graph front\nfunc @f() -> () {\n  return %a\n}\n", "there is no value %a"},
    {"graph front\nfunc @f() -> () {\n  %a = tahn %b : f32\n  return\n}\n", "did you mean `tanh`"},
    {"graph front\nfunc @f() -> () {\n  %a = constant 1 : f32\n  %a = constant 1 : f32\n  return\n}\n", "defined twice"},
    {"graph front\nfunc @f() -> () {\n", "expected `return`"},
    {"graph front\nfunc @f() -> () {\n  return\n}\nfunc @f() -> () {\n  return\n}\n", "@f is defined twice"},
    {"graph front\nvar %a: f32\nfunc @f() -> (%a: f32) {\n  return\n}\n", "returns 0 values, not 1"},
    {"graph front\nvar %a: f32\nfunc @f() -> (%a: f32) {\n  %b = constant 1 : f64\n  return %b\n}\n", "%a is f32, and gets f64"},
    {"graph front\nvar %a: f32\nfunc @f(%a: f64) -> () {\n  return\n}\n", "%a is f32, not f64"},
    {"graph front\nvar %a: f32\nfunc @f(%a: f32, %a: f32) -> () {\n  return\n}\n", "read twice"},
    {"graph front\nfunc @f() -> () {\n  %r = scan carry=0, axes=[], yaxes=[0], reverse=false, trip=2 : f32[2] {\n    block (%t: "
     "i32)\n    %x = constant 1 : f32\n    yield %x\n  }\n"
     "  %y = neg %x : f32\n  return\n}\n",
     "a block that has ended"},
    {"graph front\nfunc @f() -> () {\n  %a = constant \"x\" : f32\n  return\n}\n", "expected a number, found a string"},
    {"graph front\nfunc @f() -> () {\n  %a = constant 1 : f32 @\n  return\n}\n", "E0601"},
    {"graph front\nfunc @f() -> () {\n  %a = constant 1x : f32\n  return\n}\n", "letters directly behind"},
    {"graph front\nsource \"a\n", "no end on its line"},
    {"graph front\nsource \"\\q\" 0x1\n", "a string knows"},
    {"graph front\ncommand @c() {\n  call @f\n}\n", "there is no function @f"},
    {"graph front\ncommand @c() {\n  for _ in @d batch 3 {\n  }\n}\n", "no data set @d"},
    {"graph front\nvar %a: f32\ncommand @c() {\n  keep lowest %a\n}\n", "outside a loop"},
    {"graph front\nvar %a: f32\ncommand @c() {\n  save %a to \"x\"\n}\n", "no parameter or state"},
    {"graph front\nvar %a: f32\ncommand @c() {\n  for _ in 0..%a {\n  }\n}\n", "not a whole number"},
    {"graph front\ncommand @c() {\n  juggle\n}\n", "expected a statement of a command"},
    {"graph front\ncommand @c() {\n}\ncommand @c() {\n}\n", "declared twice"},
    {"graph front\nvar %a: f32 of @d\ncommand @c() {\n}\n", "does not exist"},
    {"graph front\nfield %x: f32[B<=4, 3]\ndata @d {\n  x: f32[2] = csv(\"a\")\n}\ncommand @c() {\n  for %x in @d batch 4 {\n  "
     "}\n}\n",
     "takes samples of f32[2]"},
    {"graph front\nfield %x: f32[B<=4, 3]\ndata @d {\n  x: f32[3] = csv(\"a\")\n}\ncommand @c() {\n  for %x in @d batch 5 {\n  "
     "}\n}\n",
     "takes batches of 5"},
    {"graph front\nfield %x: f32[B<=4, 3]\ncommand @c() {\n  call @f\n}\nfunc @f(%x: f32[B<=4, 3]) -> () {\n  return\n}\n",
     "which no loop around binds"},
    {"graph front\ndata @d {\n  x: f32[B] = csv(\"a\")\n}\n", "without B"},
    {"graph expanded\nvar %a: f32\nfunc @f(%a: f32) -> () {\n  %g = grad %a wrt %a : f32\n  return\n}\n",
     "gone when gradients are expanded"},
    {"graph fused\nvar %a: f32\nfunc @f(%a: f32) -> () {\n  %g = neg %a : f32\n  return\n}\n", "stands inside a kernel"},
    {"graph front\nvar %a: f32\nfunc @f(%a: f32) -> () {\n  %g = kernel : f32 {\n    block ()\n    %b = neg %a : f32\n    yield "
     "%b\n  }\n  return\n}\n",
     "does not come from the front end"},
    {"graph fused\nvar %a: f32\nfunc @f(%a: f32) -> () {\n  %g = kernel : f32 {\n    block ()\n    %h = kernel : f32 {\n      "
     "block ()\n      yield %a\n    }\n    yield %h\n  }\n  return\n}\n",
     "cannot stand inside a kernel"},
    {"graph front\nfunc @f() -> () {\n  %a = constant 1 : f32[B]\n  return\n}\n", "no bound"},
    {"graph front\nfunc @f() -> () batch 0 {\n  return\n}\n", "E0605"},
    {"graph front\nparam %w: f32[B<=0] = 0\n", "the batch bound is 0"},
    {"graph front\n\001\n", "the byte 0x01"},
};

START_TEST(slip_in_a_text) {
    const char *said;
    Stage stage;
    Module *m = parse(slips[_i].text, strlen(slips[_i].text), &stage, &said);
    ck_assert_msg(!m && strstr(said, slips[_i].message), "%s\nwanted: %s\nsaid: %s", slips[_i].text, slips[_i].message, said);
}
END_TEST

/* The examples that `nnc --explain` shows for E06xx give just the error that they explain. */
static const struct {
    int code;
    const char *example;
} explained[] = {
#define ERROR(code, title, explanation, example) {code, example},
#include "ir/errors.def"
#undef ERROR
};

START_TEST(examples_of_errors) {
    int seen = 0;
    for (size_t i = 0; i < sizeof explained / sizeof *explained; i++) {
        if (explained[i].code / 100 != 6) continue;
        const char *said, *code = arena_printf(arena, "error[E%04d]", explained[i].code);
        Stage stage;
        ck_assert_ptr_null(parse(explained[i].example, strlen(explained[i].example), &stage, &said));
        ck_assert_msg(strstr(said, code) && !strstr(strstr(said, code) + 1, "error["), "%s: %s", code, said);
        seen++;
    }
    ck_assert_int_ge(seen, 6);
}
END_TEST

/* One slip a line is one message a line, and what hangs on a spoilt value keeps silent. */
START_TEST(several_slips_in_one_run) {
    const char *said,
        text[] = "graph front\nvar %a: f32\nfunc @f(%a: f32) -> () {\n  %b = tahn %a : f32\n  %c = neg %b : f32\n  %d = add %c, "
                 "%a : f32\n"
                 "  %e = not %a : f32\n  return\n}\noption %x: f32[3] = \nfunc @g() -> () {\n  %y = sqrt %z : f32\n  return\n}\n";
    Stage stage;
    ck_assert_ptr_null(parse(text, strlen(text), &stage, &said));
    int count = 0;
    for (const char *s = said; (s = strstr(s, "error[")); s++) count++;
    ck_assert_msg(count == 4 && strstr(said, "t.graph:4:8") && strstr(said, "t.graph:7:8") && strstr(said, "t.graph:10:") &&
                      strstr(said, "t.graph:12:13"),
                  "%d messages: %s", count, said);
}
END_TEST

START_TEST(deep_nests_are_refused) {
    Text t = {0};
    text_add(arena, &t, "graph front\nfunc @f() -> () {\n");
    for (int i = 0; i < 5000; i++)
        text_printf(arena, &t, "%%r%d = scan carry=0, axes=[], yaxes=[], reverse=false, trip=2 {\nblock (%%t%d: i32)\n", i, i);
    Stage stage;
    const char *said;
    ck_assert_ptr_null(parse(t.at, t.n, &stage, &said));
    Text c = {0};
    text_add(arena, &c, "graph front\ncommand @c() {\n");
    for (int i = 0; i < 5000; i++) text_add(arena, &c, "for _ in 0..2 {\n");
    ck_assert_ptr_null(parse(c.at, c.n, &stage, &said));
    ck_assert_msg(strstr(said, "nested more than 100 deep"), "%s", said);
}
END_TEST

/* ---- the verifier ---- */

static Op *nth(Block *b, int n) {
    Op *op = b->first;
    while (n-- && op) op = op->next;
    ck_assert_ptr_nonnull(op);
    return op;
}

/* Each plants one fault into step.graph (the training step is the second function). */
static void plant_order(Module *m) { op_move_before(m->funcs.at[1]->body->last, m->funcs.at[1]->body->first); }
static void plant_type(Module *m) { nth(m->funcs.at[1]->body, 1)->out[0]->type = type_make(F32, 2, (Dim[]){B, d(63)}); }
static void plant_operand(Module *m) { nth(m->funcs.at[1]->body, 4)->in[1] = nth(m->funcs.at[1]->body, 5)->out[0]; }
static void plant_attr(Module *m) { nth(m->funcs.at[1]->body, 2)->attrs[0].s = "bi,io->ob"; }
static void plant_key(Module *m) { nth(m->funcs.at[1]->body, 2)->attrs[0].key = A_window; }
static void plant_id(Module *m) { nth(m->funcs.at[1]->body, 1)->out[0]->id = nth(m->funcs.at[1]->body, 2)->out[0]->id; }
static void plant_def(Module *m) { nth(m->funcs.at[1]->body, 1)->out[0]->def = nth(m->funcs.at[1]->body, 2); }
static void plant_list(Module *m) { nth(m->funcs.at[1]->body, 3)->prev = nth(m->funcs.at[1]->body, 1); }
static void plant_result(Module *m) { m->funcs.at[1]->body->results.n--; }
static void plant_result_type(Module *m) { m->funcs.at[1]->body->results.at[0] = m->funcs.at[1]->body->results.at[1]; }
static void plant_twice(Module *m) { m->funcs.at[1]->out_slots.at[1] = m->funcs.at[1]->out_slots.at[0]; }
static void plant_bound(Module *m) { m->funcs.at[1]->batch_bound = 0; }
static void plant_foreign(Module *m) { m->funcs.at[1]->in_slots.at[0] = arena_make(arena, Slot); }
static void plant_slot_bound(Module *m) { slot_by_name(m, "training.image")->batch_bound = 0; }
static void plant_slot_name(Module *m) { slot_by_name(m, "lr")->name = intern("key"); }
static void plant_init(Module *m) { slot_by_name(m, "net.dense_1.b")->init = m->funcs.at[0]; }
static void plant_init_kind(Module *m) { slot_by_name(m, "train.loss")->init = m->funcs.at[0]; }
static void plant_call(Module *m) { m->commands.at[0]->body.at[0]->body.at[0]->body.at[0]->func = arena_make(arena, Func); }
static void plant_batch(Module *m) { m->commands.at[0]->body.at[0]->body.at[0]->sets.at[0].batch = 65; }
static void plant_track(Module *m) {
    m->commands.at[0]->body.at[0]->body.at[0]->body.at[1]->tracked.at[0].average = slot_by_name(m, "epochs");
}
static void plant_counter(Module *m) { m->commands.at[0]->body.at[0]->counter = slot_by_name(m, "epochs"); }
static void plant_stop(Module *m) { m->commands.at[0]->body.at[0]->body.at[3]->stalls = 0; }
static void plant_option(Module *m) { m->commands.at[0]->options.at[0] = slot_by_name(m, "key"); }
static void plant_func_name(Module *m) { m->funcs.at[1]->name = m->funcs.at[0]->name; }

static const struct {
    const char *name;
    void (*plant)(Module *m);
    const char *message;
} faults[] = {
    {"order", plant_order, "used where it is not defined"},
    {"type", plant_type, "different numbers of elements"},
    {"operand", plant_operand, "used where it is not defined"},
    {"attr", plant_attr, "its rule says f32[10, B]"},
    {"key", plant_key, "is `spec`, not `window`"},
    {"id", plant_id, "given twice"},
    {"def", plant_def, "point back"},
    {"list", plant_list, "list of ops is broken"},
    {"result", plant_result, "2 results for 3 slots"},
    {"result type", plant_result_type, "its slot %net.dense_1.w is f32[64, 10]"},
    {"twice", plant_twice, "is f32[10], but its slot"},
    {"bound", plant_bound, "no bound"},
    {"foreign", plant_foreign, "no slot of the module"},
    {"slot bound", plant_slot_bound, "with the bound 0"},
    {"slot name", plant_slot_name, "two slots are called %key"},
    {"init", plant_init, "does not give one such result"},
    {"init kind", plant_init_kind, "no parameter or state"},
    {"call", plant_call, "not in the module"},
    {"batch", plant_batch, "takes batches of 65"},
    {"track", plant_track, "average of %train.loss"},
    {"counter", plant_counter, "no counter slot"},
    {"stop", plant_stop, "stop after 0"},
    {"option", plant_option, "no option slot"},
    {"func name", plant_func_name, "two functions"},
};

START_TEST(verifier_finds) {
    Stage stage;
    Module *m = golden("step", &stage);
    ck_assert_ptr_null(graph_verify(arena, m, stage));
    faults[_i].plant(m);
    const char *why = graph_verify(arena, m, stage);
    ck_assert_msg(why && strstr(why, faults[_i].message), "%s: wanted `%s`, said: %s", faults[_i].name, faults[_i].message,
                  why ? why : "nothing");
}
END_TEST

/* ---- building and changing ---- */

START_TEST(a_graph_is_built) {
    Module *m = module_new(arena);
    Slot *w = slot_new(m, SLOT_PARAM, "w", type_make(F32, 2, (Dim[]){d(4), d(3)}), (Loc){0});
    Slot *x = slot_new(m, SLOT_FIELD, "x", type_make(F32, 2, (Dim[]){B, d(4)}), (Loc){0});
    Slot *y = slot_new(m, SLOT_VAR, "y", type_make(F32, 1, (Dim[]){d(3)}), (Loc){0});
    x->batch_bound = 8;
    Func *f = func_new(m, "f", (Loc){0});
    f->batch_bound = 8;
    Builder b = builder_at_end(f);
    Value *wv = func_read(f, w), *xv = func_read(f, x);
    ck_assert_ptr_eq(wv, func_read(f, w));
    Value *h = g_contract(&b, "bi,io->bo", xv, wv);
    ck_assert_str_eq(type_name(h->type), "f32[B, 3]");
    ck_assert_ptr_eq(h, g_convert(&b, h, F32));
    Value *mean = g_reduce(&b, OP_sum, h, 1, (int64_t[]){0});
    Value *n = g_convert(&b, g_batch(&b), F32);
    Value *ns = g_broadcast(&b, n, 1, (Dim[]){d(3)}, NULL);
    func_write(f, y, g_binary(&b, OP_div, mean, ns));
    ck_assert_msg(!graph_verify(arena, m, STAGE_FRONT), "%s", graph_verify(arena, m, STAGE_FRONT));
    const char *why;
    ck_assert_ptr_null(op_try(&b, OP_add, 2, (Value *[]){h, mean}, 0, NULL, NULL, &why));
    ck_assert_msg(strstr(why, "differ (f32[B, 3], f32[3])"), "%s", why);
    int *uses = func_count_uses(arena, f);
    ck_assert(uses[h->id] == 1 && uses[xv->id] == 1 && uses[mean->id] == 1);

    b.before = mean->def; /* relu between the product and the sum */
    Value *zero = g_constant(&b, h->type, 0), *relu = g_binary(&b, OP_max, zero, h);
    value_replace(f, h, relu);
    relu->def->in[1] = h; /* which the replacement caught, too */
    ck_assert_ptr_eq(mean->def->in[0], relu);
    ck_assert_ptr_null(graph_verify(arena, m, STAGE_FRONT));

    Value **map = arena_make_n(arena, Value *, (size_t)f->n_values);
    map[relu->id] = h;
    func_replace_all(f, map);
    ck_assert_ptr_eq(mean->def->in[0], h);
    op_remove(relu->def);
    op_remove(zero->def);
    ck_assert_ptr_null(graph_verify(arena, m, STAGE_FRONT));
    op_move_before(n->def, f->body->first);
    ck_assert(graph_verify(arena, m, STAGE_FRONT) && strstr(graph_verify(arena, m, STAGE_FRONT), "-->"));
}
END_TEST

static Op *find(Block *b, OpCode code) {
    for (Op *op = b->first; op; op = op->next)
        if (op->code == code) return op;
    return NULL;
}

/* A copied scan has blocks and values of its own, captures what it captured, and obeys the map. */
START_TEST(ops_are_copied) {
    Stage stage;
    Module *m = golden("ops", &stage);
    Func *f = m->funcs.at[0];
    Op *first = find(f->body, OP_scan), *scan = first->next;
    Values outside = op_captures(arena, scan);
    ck_assert(outside.n == 1 && strcmp(outside.at[0]->name, "h0") == 0);
    ck_assert(op_captures(arena, first).n == 0 && op_captures(arena, f->body->first).n == 0);
    Builder b = builder_at_end(f);
    Value *other = g_unary(&b, OP_exp, outside.at[0]);
    Value **map = arena_make_n(arena, Value *, (size_t)f->n_values);
    map[outside.at[0]->id] = other;
    Op *copy = op_clone(&b, scan, map);
    ck_assert(copy->block == f->body && f->body->last == copy && copy->blocks[0] != scan->blocks[0] &&
              copy->blocks[0]->op == copy);
    ck_assert(copy->in[0] == other && copy->blocks[0]->first->in[1] == other && scan->blocks[0]->first->in[1] == outside.at[0]);
    ck_assert(map[scan->out[0]->id] == copy->out[0] && copy->out[0]->id != scan->out[0]->id);
    ck_assert(copy->blocks[0]->first->in[0] == copy->blocks[0]->params.at[1]);
    ck_assert_msg(!graph_verify(arena, m, stage), "%s", graph_verify(arena, m, stage));
    ck_assert_ptr_eq(op_captures(arena, copy).at[0], other);
}
END_TEST

START_TEST(a_function_alone_is_a_graph) {
    Stage stage;
    Module *m = golden("step", &stage);
    Text t = {0};
    graph_print(m, stage, m->funcs.at[1], &t, arena);
    const char *said;
    Module *back = parse(t.at, t.n, &stage, &said);
    ck_assert_msg(back && back->funcs.n == 1 && back->slots.n == 6, "%s\n%s", said, text_str(arena, &t));
    Text dot = {0};
    graph_print_dot(m->funcs.at[1], &dot, arena);
    ck_assert(strstr(text_str(arena, &dot), "digraph \"train.step\" {") && strstr(dot.at, "f32[64, 10]") &&
              strstr(dot.at, "bi,io->bo") && strstr(dot.at, "subgraph cluster_forward"));
    const char *edge = strstr(dot.at, " -> "),
               *node = edge; /* all nodes before the first edge: graphviz would draw them into its box */
    ck_assert(edge && !strstr(node, "subgraph"));
}
END_TEST

/* The page about the graph IR shows line.graph as it prints, and ends with the table of ops (NNC_UPDATE=1 in the environment
 * writes that anew). */
START_TEST(documentation_is_current) {
    size_t n, want_n;
    const char *path = arena_printf(arena, "%s/docs/graph-ir.md", NNC_SOURCE_ROOT), *page = read_whole(path, &n);
    const char *old = strstr(page, "| op | operands |");
    if (getenv("NNC_UPDATE") && old) {
        FILE *out = fopen(path, "wb");
        ck_assert_ptr_nonnull(out);
        fwrite(page, 1, (size_t)(old - page), out);
        ops_print_table(out);
        fclose(out);
        page = read_whole(path, &n);
    }
    ck_assert_ptr_nonnull(strstr(page, read_whole(golden_path("line"), &want_n)));
    char *table = NULL;
    FILE *f = open_memstream(&table, &want_n);
    ops_print_table(f);
    fclose(f);
    ck_assert_msg(strstr(page, table), "docs/graph-ir.md: the table of ops is not the one that `nnc --list-ops` prints");
    free(table);
}
END_TEST

/* ---- spoilt texts ---- */

static uint64_t random_state;
static uint64_t random_below(uint64_t n) { /* splitmix64 (Steele, Lea, Flood 2014) */
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % n;
}

/* Copies, deletes, swaps and overwrites stretches of a text. */
static size_t spoil(char *s, size_t n, size_t room) {
    static const char *const bits[] = {"%", "@",   "[",    "]",    "{",      "}",     "(",     ")",           ",",   ":",
                                       "=", "\"",  "B",    "<=",   "*",      "-",     "0",     "99999999999", "inf", "\n",
                                       "#", "\\x", "\xff", "\xcc", "yield ", "scan ", "grad ", ".."};
    for (uint64_t k = 1 + random_below(3); k; k--) {
        size_t at = random_below(n), len = 1 + random_below(random_below(8) ? 6 : 200);
        if (len > n - at) len = n - at;
        switch (random_below(5)) {
        case 0: /* delete */
            memmove(s + at, s + at + len, n - at - len);
            n -= len;
            break;
        case 1: { /* insert a word */
            const char *w = bits[random_below(sizeof bits / sizeof *bits)];
            size_t m = strlen(w);
            if (n + m > room) break;
            memmove(s + at + m, s + at, n - at);
            memcpy(s + at, w, m);
            n += m;
            break;
        }
        case 2: s[at] = (char)random_below(256); break;
        case 3: { /* copy a stretch elsewhere */
            size_t to = random_below(n);
            if (to + len > n) len = n - to;
            memmove(s + to, s + at, len);
            break;
        }
        default: n = random_below(50) ? n : at + 1; break; /* cut short */
        }
        if (!n) return 0;
    }
    return n;
}

START_TEST(spoilt_texts_are_safe) {
    uint64_t seed = 20240607u + (uint64_t)_i;
    random_state = seed;
    size_t n;
    const char *text = read_whole(golden_path(goldens[_i]), &n);
    char *s = malloc(2 * n + 64);
    int good = 0;
    for (int turn = 0; turn < 400; turn++) {
        Arena *kept = arena;
        arena = arena_new();
        memcpy(s, text, n);
        size_t m = spoil(s, n, 2 * n + 64);
        Stage stage;
        const char *said;
        char *exact = malloc(m + 1); /* so that reading beyond the end is seen */
        memcpy(exact, s, m);
        Module *mod = parse(exact, m, &stage, &said);
        ck_assert_msg(mod || strstr(said, "error[E06"), "seed %" PRIu64 " turn %d: no module and no message:\n%.*s", seed, turn,
                      (int)m, s);
        if (mod) {
            size_t n1, n2;
            good++;
            const char *first = print(mod, stage, &n1);
            Module *again = parse(first, n1, &stage, &said);
            ck_assert_msg(again != NULL, "seed %" PRIu64 " turn %d: what was printed is refused: %s\n%s", seed, turn, said,
                          first);
            const char *second = print(again, stage, &n2);
            ck_assert_msg(n1 == n2 && !memcmp(first, second, n1),
                          "seed %" PRIu64 " turn %d: printed twice is not the same\n%s\n%s", seed, turn, first, second);
        }
        free(exact);
        arena_free(arena);
        arena = kept;
    }
    free(s);
    ck_assert_msg(good > 0 && good < 400, "seed %" PRIu64 ": %d of 400 spoilt texts were read", seed, good);
}
END_TEST

Suite *graph_suite(void);
Suite *graph_suite(void) {
    Suite *s = suite_create("graph");
    TCase *t = tcase_create("graph");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, types_are_interned);
    tcase_add_test(t, types_have_names_and_sizes);
    tcase_add_test(t, shapes_that_are_refused);
    tcase_add_test(t, table_of_ops);
    tcase_add_loop_test(t, rule_row, 0, ROWS);
    tcase_add_test(t, every_op_has_rows);
    tcase_add_loop_test(t, golden_round_trip, 0, GOLDENS);
    tcase_add_test(t, golden_is_complete);
    tcase_add_test(t, numbers_are_exact);
    tcase_add_test(t, names_are_unique);
    tcase_add_loop_test(t, slip_in_a_text, 0, (int)(sizeof slips / sizeof *slips));
    tcase_add_test(t, examples_of_errors);
    tcase_add_test(t, several_slips_in_one_run);
    tcase_add_test(t, deep_nests_are_refused);
    tcase_add_loop_test(t, verifier_finds, 0, (int)(sizeof faults / sizeof *faults));
    tcase_add_test(t, a_graph_is_built);
    tcase_add_test(t, ops_are_copied);
    tcase_add_test(t, a_function_alone_is_a_graph);
    tcase_add_test(t, documentation_is_current);
    tcase_add_loop_test(t, spoilt_texts_are_safe, 0, GOLDENS);
    suite_add_tcase(s, t);
    return s;
}
