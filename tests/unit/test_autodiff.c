/*
 * test_autodiff.c - every gradient rule against central differences in f64, first and second order, with and without simplify around autodiff; scan against the
 * loop written out; kinks and zero factors; what must be refused.
 *
 * A case is the inside of a function that makes %y. The test sums %y with random weights to a loss, takes the gradients with respect to all float
 * inputs, sums these with random weights to a second loss, and takes its gradients. Along a random direction the slopes of both losses must be what the gradients say.
 */
#include "run_graph.h"

#include <math.h>

typedef struct Case {
    const char *name;
    const char *inputs; /* "x: f32[3, 4]; i: i32[3]" */
    const char *body;
    double low, high; /* range of float inputs */
    int64_t below;    /* range of integers */
    bool flat;        /* the second loss has slope zero: linear ops */
} Case;

/* clang-format off */
static const Case cases[] = {
    /* elementwise */
    {"neg", "x: f32[3, 4]", "%y = neg %x : f32[3, 4]", -2, 2, 0, true},
    {"abs", "x: f32[3, 4]", "%y = abs %x : f32[3, 4]", 0.2, 2, 0, true},
    {"exp", "x: f32[3, 4]", "%y = exp %x : f32[3, 4]", -2, 2, 0, false},
    {"expm1", "x: f32[3, 4]", "%y = expm1 %x : f32[3, 4]", -2, 2, 0, false},
    {"log", "x: f32[3, 4]", "%y = log %x : f32[3, 4]", 0.3, 2, 0, false},
    {"log1p", "x: f32[3, 4]", "%y = log1p %x : f32[3, 4]", -0.5, 2, 0, false},
    {"sqrt", "x: f32[3, 4]", "%y = sqrt %x : f32[3, 4]", 0.3, 2, 0, false},
    {"sin", "x: f32[3, 4]", "%y = sin %x : f32[3, 4]", -2, 2, 0, false},
    {"cos", "x: f32[3, 4]", "%y = cos %x : f32[3, 4]", -2, 2, 0, false},
    {"tanh", "x: f32[3, 4]", "%y = tanh %x : f32[3, 4]", -2, 2, 0, false},
    {"sigmoid", "x: f32[3, 4]", "%y = sigmoid %x : f32[3, 4]", -2, 2, 0, false},
    {"erf", "x: f32[3, 4]", "%y = erf %x : f32[3, 4]", -2, 2, 0, false},
    {"convert", "x: f32[3, 4]", "%z = convert %x : f64[3, 4]\n%s = mul %z, %z : f64[3, 4]\n%y = convert %s : f32[3, 4]", -2, 2, 0, false},
    {"add", "x: f32[3, 4]; z: f32[3, 4]", "%y = add %x, %z : f32[3, 4]", -2, 2, 0, true},
    {"sub", "x: f32[3, 4]; z: f32[3, 4]", "%y = sub %x, %z : f32[3, 4]", -2, 2, 0, true},
    {"mul", "x: f32[3, 4]; z: f32[3, 4]", "%y = mul %x, %z : f32[3, 4]", -2, 2, 0, false},
    {"square", "x: f32[3, 4]", "%y = mul %x, %x : f32[3, 4]", -2, 2, 0, false},
    {"div", "x: f32[3, 4]; z: f32[3, 4]", "%y = div %x, %z : f32[3, 4]", 0.5, 2, 0, false},
    {"inverse", "x: f32[3, 4]", "%one = constant 1 : f32[3, 4]\n%y = div %one, %x : f32[3, 4]", 0.5, 2, 0, false},
    {"div by constant", "x: f32[3, 4]", "%k = constant 3 : f32[3, 4]\n%d = div %x, %k : f32[3, 4]\n%y = mul %d, %d : f32[3, 4]", 0.5, 2, 0, false},
    {"mod", "x: f32[3, 4]; z: f32[3, 4]", "%a = mod %x, %z : f32[3, 4]\n%y = mul %a, %a : f32[3, 4]", 1.1, 1.9, 0, false},
    {"pow", "x: f32[3, 4]; z: f32[3, 4]", "%y = pow %x, %z : f32[3, 4]", 0.5, 2, 0, false},
    {"square by pow", "x: f32[3, 4]", "%k = constant 2 : f32[3, 4]\n%y = pow %x, %k : f32[3, 4]", 0.5, 2, 0, false},
    {"max", "x: f32[3, 4]; z: f32[3, 4]", "%m = max %x, %z : f32[3, 4]\n%y = mul %m, %x : f32[3, 4]", -2, 2, 0, false},
    {"min", "x: f32[3, 4]; z: f32[3, 4]", "%m = min %x, %z : f32[3, 4]\n%y = mul %m, %x : f32[3, 4]", -2, 2, 0, false},
    {"fma", "x: f32[3, 4]; z: f32[3, 4]; w: f32[3, 4]", "%y = fma %x, %z, %w : f32[3, 4]", -2, 2, 0, false},
    {"select", "x: f32[3, 4]; z: f32[3, 4]; c: bool[3, 4]", "%m = select %c, %x, %z : f32[3, 4]\n%y = mul %m, %x : f32[3, 4]", -2, 2, 0, false},
    /* shape */
    {"broadcast", "x: f32[3, 1, 4]", "%b = broadcast %x, axes=[0, 1, 3] : f32[3, 2, 5, 4]\n%y = mul %b, %b : f32[3, 2, 5, 4]", -2, 2, 0, false},
    {"broadcast batch", "x: f32[4]", "%b = broadcast %x, axes=[1] : f32[B, 4]\n%y = mul %b, %b : f32[B, 4]", -2, 2, 0, false},
    {"reshape", "x: f32[B<=4, 6]", "%r = reshape %x : f32[B, 2, 3]\n%y = mul %r, %r : f32[B, 2, 3]", -2, 2, 0, false},
    {"transpose", "x: f32[2, 3, 4]", "%t = transpose %x, perm=[2, 0, 1] : f32[4, 2, 3]\n%y = mul %t, %t : f32[4, 2, 3]", -2, 2, 0, false},
    {"slice", "x: f32[B<=4, 7, 5]", "%t = slice %x, start=[0, 1, 2], limit=[-1, 6, 5], step=[1, 2, 1] : f32[B, 3, 3]\n%y = mul %t, %t : f32[B, 3, 3]", -2, 2, 0, false},
    {"pad", "x: f32[3, 4]; v: f32", "%t = pad %x, %v, low=[1, 2], high=[0, 1], interior=[2, 0] : f32[8, 7]\n%y = mul %t, %t : f32[8, 7]", -2, 2, 0, false},
    {"pad negative", "x: f32[5, 4]; v: f32", "%t = pad %x, %v, low=[-1, 2], high=[1, -1], interior=[1, 0] : f32[9, 5]\n%y = mul %t, %t : f32[9, 5]", -2, 2, 0, false},
    {"concat", "x: f32[3, 4]; z: f32[3, 2]", "%t = concat %x, %z, %x, axis=1 : f32[3, 10]\n%y = mul %t, %t : f32[3, 10]", -2, 2, 0, false},
    {"concat batch", "x: f32[B<=4, 2]; z: f32[B<=4, 2]", "%t = concat %x, %z, axis=0 : f32[2*B, 2]\n%y = mul %t, %t : f32[2*B, 2]", -2, 2, 0, false},
    {"reverse", "x: f32[3, 4]", "%t = reverse %x, axes=[1] : f32[3, 4]\n%y = mul %t, %x : f32[3, 4]", -2, 2, 0, false},
    {"take", "x: f32[3, 5, 2]; i: i32[4, 2]", "%t = take %x, %i, axis=1 : f32[3, 4, 2, 2]\n%y = mul %t, %t : f32[3, 4, 2, 2]", -2, 2, 5, false},
    {"take_add", "x: f32[4, 3]; i: i32[4]", "%t = take_add %x, %i, axis=0 : f32[5, 3]\n%y = mul %t, %t : f32[5, 3]", -2, 2, 5, false},
    {"gather", "x: f32[3, 5]; i: i32[3, 4]", "%t = gather %x, %i, axis=1 : f32[3, 4]\n%y = mul %t, %t : f32[3, 4]", -2, 2, 5, false},
    {"scatter_add", "z: f32[3, 5]; x: f32[3, 4]; i: i32[3, 4]", "%t = scatter_add %z, %x, %i, axis=1 : f32[3, 5]\n%y = mul %t, %t : f32[3, 5]", -2, 2, 5, false},
    {"dynamic_slice", "x: f32[5, 6]; i: i32; j: i32", "%t = dynamic_slice %x, %i, %j, axes=[0, 1], sizes=[2, 3] : f32[2, 3]\n%u = dynamic_slice %x, %j, axes=[1], sizes=[2] : f32[5, 2]\n"
     "%s = sum %u, axes=[0, 1] : f32\n%b = broadcast %s, axes=[] : f32[2, 3]\n%p = mul %t, %t : f32[2, 3]\n%y = mul %p, %b : f32[2, 3]", -2, 2, 3, false},
    {"dynamic_update", "x: f32[5, 6]; u: f32[2, 6]; i: i32", "%t = dynamic_update %x, %u, %i, axes=[0] : f32[5, 6]\n%y = mul %t, %t : f32[5, 6]", -2, 2, 3, false},
    {"sort", "x: f32[5, 3]", "%t, %i = sort %x, axis=0 : f32[5, 3], i32[5, 3]\n%y = mul %t, %t : f32[5, 3]", -2, 2, 0, false},
    {"top_k", "x: f32[3, 5]", "%t, %i = top_k %x, k=2 : f32[3, 2], i32[3, 2]\n%y = mul %t, %t : f32[3, 2]", -2, 2, 0, false},
    /* products */
    {"contract", "x: f32[B<=4, 3]; w: f32[3, 5]", "%y = contract \"bi,io->bo\" %x, %w : f32[B, 5]", -2, 2, 0, false},
    {"contract batched", "x: f32[2, 3, 4]; w: f32[5, 2, 4]", "%y = contract \"bij,kbj->kib\" %x, %w : f32[5, 3, 2]", -2, 2, 0, false},
    {"contract outer", "x: f32[3]; w: f32[4]", "%y = contract \"i,j->ji\" %x, %w : f32[4, 3]", -2, 2, 0, false},
    {"contract inner", "x: f32[3, 4]; w: f32[4, 3]", "%y = contract \"ij,ji->\" %x, %w : f32", -2, 2, 0, false},
    {"conv", "x: f32[B<=4, 7, 6, 2]; w: f32[3, 2, 2, 3]", "%y = conv \"nxyc,xycd->nxyd\" %x, %w, window=\"xy\", stride=[1, 1], low=[1, 0], high=[1, 1], lhs_dilation=[1, 1], rhs_dilation=[1, 1] : f32[B, 7, 6, 3]", -2, 2, 0, false},
    {"conv stride", "x: f32[2, 8, 9, 2]; w: f32[3, 3, 2, 2]", "%y = conv \"nxyc,xycd->nxyd\" %x, %w, window=\"xy\", stride=[2, 3], low=[0, 1], high=[0, 2], lhs_dilation=[1, 1], rhs_dilation=[1, 1] : f32[2, 3, 4, 2]", -2, 2, 0, false},
    {"conv dilated", "x: f32[1, 9, 2]; w: f32[3, 2, 3]", "%y = conv \"nxc,xcd->nxd\" %x, %w, window=\"x\", stride=[2], low=[2], high=[3], lhs_dilation=[1], rhs_dilation=[3] : f32[1, 4, 3]", -2, 2, 0, false},
    {"conv transposed", "x: f32[2, 4, 2]; w: f32[3, 2, 3]", "%y = conv \"nxc,xcd->nxd\" %x, %w, window=\"x\", stride=[1], low=[1], high=[2], lhs_dilation=[2], rhs_dilation=[1] : f32[2, 8, 3]", -2, 2, 0, false},
    {"conv all", "x: f32[2, 5, 2]; w: f32[3, 2, 2]", "%y = conv \"nxc,xcd->nxd\" %x, %w, window=\"x\", stride=[3], low=[4], high=[5], lhs_dilation=[2], rhs_dilation=[2] : f32[2, 5, 2]", -2, 2, 0, false},
    {"conv transposed twice dilated", "x: f32[2, 4, 3, 2]; w: f32[4, 3, 2, 2]", "%y = conv \"nxyc,xycd->nxyd\" %x, %w, window=\"xy\", stride=[1, 1], low=[2, 1], high=[1, 3], lhs_dilation=[3, 2], rhs_dilation=[1, 1] : f32[2, 10, 7, 2]", -2, 2, 0, false},
    {"conv with both dilations", "x: f32[2, 5, 2]; w: f32[3, 2, 2]", "%y = conv \"nxc,xcd->nxd\" %x, %w, window=\"x\", stride=[1], low=[3], high=[4], lhs_dilation=[2], rhs_dilation=[3] : f32[2, 10, 2]", -2, 2, 0, false},
    {"conv with gaps", "x: f32[2, 5, 2]; w: f32[2, 2, 2]", "%y = conv \"nxc,xcd->nxd\" %x, %w, window=\"x\", stride=[3], low=[0], high=[0], lhs_dilation=[1], rhs_dilation=[1] : f32[2, 2, 2]", -2, 2, 0, false},
    {"conv cropped", "x: f32[2, 9, 2]; w: f32[3, 2, 2]", "%y = conv \"nxc,xcd->nxd\" %x, %w, window=\"x\", stride=[2], low=[-1], high=[-2], lhs_dilation=[1], rhs_dilation=[1] : f32[2, 2, 2]", -2, 2, 0, false},
    {"conv groups", "x: f32[2, 6, 3, 2]; w: f32[3, 3, 2, 4]", "%y = conv \"nxgc,xgcd->nxgd\" %x, %w, window=\"x\", stride=[2], low=[1], high=[1], lhs_dilation=[1], rhs_dilation=[1] : f32[2, 3, 3, 4]", -2, 2, 0, false},
    {"window_max", "x: f32[2, 5, 6, 2]", "%m = window_max %x, size=[2, 3], stride=[2, 1], low=[0, 1], high=[1, 1] : f32[2, 3, 6, 2]\n%y = mul %m, %m : f32[2, 3, 6, 2]", -2, 2, 0, false},
    {"window_sum", "x: f32[2, 5, 7, 2]", "%m = window_sum %x, size=[3, 2], stride=[2, 3], low=[1, 0], high=[1, 1] : f32[2, 3, 3, 2]\n%y = mul %m, %m : f32[2, 3, 3, 2]", -2, 2, 0, false},
    {"window_sum apart", "x: f32[B<=4, 7, 6, 2]", "%m = window_sum %x, size=[2, 2], stride=[2, 2], low=[0, 1], high=[0, 1] : f32[B, 3, 4, 2]\n%y = mul %m, %m : f32[B, 3, 4, 2]", -2, 2, 0, false},
    {"window_put", "x: f32[2, 6, 2]; v: f32[2, 3, 2]", "%m = window_put %x, %v, size=[2], stride=[2], low=[0], high=[0] : f32[2, 6, 2]\n%y = mul %m, %m : f32[2, 6, 2]", -2, 2, 0, false},
    {"window_pick", "x: f32[2, 6, 2]; v: f32[2, 6, 2]", "%m = window_pick %x, %v, size=[3], stride=[2], low=[0], high=[0] : f32[2, 2, 2]\n%y = mul %m, %m : f32[2, 2, 2]", -2, 2, 0, false},
    /* reductions */
    {"sum", "x: f32[B<=4, 3, 2]", "%s = sum %x, axes=[0, 2] : f32[3]\n%y = mul %s, %s : f32[3]", -2, 2, 0, false},
    {"prod", "x: f32[2, 5, 3]", "%y = prod %x, axes=[1] : f32[2, 3]", -2, 2, 0, false},
    {"prod of two axes", "x: f32[2, 3, 3]", "%y = prod %x, axes=[0, 2] : f32[3]", -2, 2, 0, false},
    {"prod of one", "x: f32[2, 1]", "%p = prod %x, axes=[1] : f32[2]\n%y = mul %p, %p : f32[2]", -2, 2, 0, false},
    {"reduce_max", "x: f32[3, 4, 2]", "%m = reduce_max %x, axes=[1] : f32[3, 2]\n%y = mul %m, %m : f32[3, 2]", -2, 2, 0, false},
    {"reduce_min of two axes", "x: f32[3, 4, 2]", "%m = reduce_min %x, axes=[0, 1] : f32[2]\n%y = mul %m, %m : f32[2]", -2, 2, 0, false},
    {"reduce_max of the batch", "x: f32[2, B<=4, 3]", "%m = reduce_max %x, axes=[1, 2] : f32[2]\n%y = mul %m, %m : f32[2]", -2, 2, 0, false},
    /* loops */
    {"rnn", "h0: f32[B<=4, 3]; x: f32[B<=4, 5, 2]; w: f32[2, 3]; u: f32[3, 3]; b: f32[3]",
     "%h, %ys = scan %h0, %x, carry=1, axes=[1], yaxes=[1], reverse=false, trip=5 : f32[B, 3], f32[B, 5, 3] {\n"
     "block (%t: i32, %c: f32[B, 3], %xt: f32[B, 2])\n"
     "%p = contract \"bi,ih->bh\" %xt, %w : f32[B, 3]\n%q = contract \"bh,hk->bk\" %c, %u : f32[B, 3]\n%bb = broadcast %b, axes=[1] : f32[B, 3]\n"
     "%s = add %p, %q : f32[B, 3]\n%s2 = add %s, %bb : f32[B, 3]\n%n = tanh %s2 : f32[B, 3]\nyield %n, %n\n}\n"
     "%e = broadcast %h, axes=[0, 2] : f32[B, 5, 3]\n%y = mul %ys, %e : f32[B, 5, 3]", -1, 1, 0, false},
    {"scan backwards", "h0: f32[3]; x: f32[3, 4]",
     "%h, %ys = scan %h0, %x, carry=1, axes=[1], yaxes=[0], reverse=true, trip=4 : f32[3], f32[4, 3] {\n"
     "block (%t: i32, %c: f32[3], %xt: f32[3])\n"
     "%tf = convert %t : f32\n%tb = broadcast %tf, axes=[] : f32[3]\n%p = mul %c, %xt : f32[3]\n%q = add %p, %tb : f32[3]\n%n = sin %q : f32[3]\nyield %n, %q\n}\n"
     "%e = broadcast %h, axes=[1] : f32[4, 3]\n%y = mul %ys, %e : f32[4, 3]", -1, 1, 0, false},
    {"scan of two carries", "a0: f32[3]; b0: f32[3]; w: f32[3]",
     "%a, %b, %ys = scan %a0, %b0, carry=2, axes=[], yaxes=[0], reverse=false, trip=6 : f32[3], f32[3], f32[6, 3] {\n"
     "block (%t: i32, %c: f32[3], %d: f32[3])\n"
     "%p = mul %c, %w : f32[3]\n%q = sub %p, %d : f32[3]\n%s = cos %q : f32[3]\nyield %d, %s, %p\n}\n"
     "%e = broadcast %b, axes=[1] : f32[6, 3]\n%y = mul %ys, %e : f32[6, 3]", -1, 1, 0, false},
    {"scan that reads x[t]", "x: f32[6, 3]; h0: f32[3]",
     "%h = scan %h0, carry=1, axes=[], yaxes=[], reverse=false, trip=6 : f32[3] {\n"
     "block (%t: i32, %c: f32[3])\n"
     "%r = dynamic_slice %x, %t, axes=[0], sizes=[1] : f32[1, 3]\n%xt = reshape %r : f32[3]\n%p = mul %c, %xt : f32[3]\n%q = tanh %p : f32[3]\n%n = add %q, %xt : f32[3]\nyield %n\n}\n"
     "%y = mul %h, %h : f32[3]", -1, 1, 0, false},
    {"scan along the batch", "x: f32[B<=4, 3]; w: f32[3]; h0: f32[3]",
     "%n = batch : i32\n"
     "%h, %ys = scan %h0, %x, %n, carry=1, axes=[0], yaxes=[0], reverse=false, trip=-1 : f32[3], f32[B, 3] {\n"
     "block (%t: i32, %c: f32[3], %xt: f32[3])\n"
     "%p = mul %c, %w : f32[3]\n%q = add %p, %xt : f32[3]\n%s = tanh %q : f32[3]\nyield %s, %p\n}\n"
     "%e = broadcast %h, axes=[1] : f32[B, 3]\n%y = mul %ys, %e : f32[B, 3]", -1, 1, 0, false},
    {"scan in scan", "x: f32[4, 3]; w: f32[3]; h0: f32[3]",
     "%h, %ys = scan %h0, %x, carry=1, axes=[0], yaxes=[0], reverse=false, trip=4 : f32[3], f32[4, 3] {\n"
     "block (%t: i32, %c: f32[3], %xt: f32[3])\n"
     "%i = scan %c, carry=1, axes=[], yaxes=[], reverse=false, trip=3 : f32[3] {\n"
     "block (%t2: i32, %d: f32[3])\n%p = mul %d, %w : f32[3]\n%q = add %p, %xt : f32[3]\n%s = tanh %q : f32[3]\nyield %s\n}\n"
     "yield %i, %i\n}\n%e = broadcast %h, axes=[1] : f32[4, 3]\n%y = mul %ys, %e : f32[4, 3]", -1, 1, 0, false},
    {"grad in scan", "w: f32[3]; x: f32[3]",
     "%v = scan %w, carry=1, axes=[], yaxes=[], reverse=false, trip=3 : f32[3] {\n"
     "block (%t: i32, %c: f32[3])\n%p = mul %c, %x : f32[3]\n%q = sin %p : f32[3]\n%l = sum %q, axes=[0] : f32\n%g = grad %l wrt %c : f32[3]\n%n = sub %c, %g : f32[3]\nyield %n\n}\n"
     "%y = mul %v, %v : f32[3]", -1, 1, 0, false},
    {"lstm", "x: f32[B<=4, 5, 2]; h0: f32[B<=4, 3]; c0: f32[B<=4, 3]; wf: f32[5, 3]; wi: f32[5, 3]; wc: f32[5, 3]; wo: f32[5, 3]; b: f32[3]",
     "%h, %c, %ys = scan %h0, %c0, %x, carry=2, axes=[1], yaxes=[1], reverse=false, trip=5 : f32[B, 3], f32[B, 3], f32[B, 5, 3] {\n"
     "block (%t: i32, %hp: f32[B, 3], %cp: f32[B, 3], %xt: f32[B, 2])\n%z = concat %hp, %xt, axis=1 : f32[B, 5]\n%bb = broadcast %b, axes=[1] : f32[B, 3]\n"
     "%pf = contract \"bi,io->bo\" %z, %wf : f32[B, 3]\n%pf1 = add %pf, %bb : f32[B, 3]\n%f = tanh %pf1 : f32[B, 3]\n"
     "%pi = contract \"bi,io->bo\" %z, %wi : f32[B, 3]\n%i = tanh %pi : f32[B, 3]\n%pc = contract \"bi,io->bo\" %z, %wc : f32[B, 3]\n%g = tanh %pc : f32[B, 3]\n"
     "%fc = mul %f, %cp : f32[B, 3]\n%ig = mul %i, %g : f32[B, 3]\n%cn = add %fc, %ig : f32[B, 3]\n"
     "%po = contract \"bi,io->bo\" %z, %wo : f32[B, 3]\n%o = tanh %po : f32[B, 3]\n%tc = tanh %cn : f32[B, 3]\n%hn = mul %o, %tc : f32[B, 3]\nyield %hn, %cn, %hn\n}\n"
     "%e = broadcast %h, axes=[0, 2] : f32[B, 5, 3]\n%y = mul %ys, %e : f32[B, 5, 3]", -1, 1, 0, false},
    {"embedding and output in a scan", "e: f32[6, 2]; tok: i32[B<=4, 4]; w: f32[2, 2]; v: f32[2, 5]; h0: f32[B<=4, 2]",
     "%h, %ys = scan %h0, %tok, carry=1, axes=[1], yaxes=[1], reverse=false, trip=4 : f32[B, 2], f32[B, 4, 5] {\n"
     "block (%t: i32, %hp: f32[B, 2], %it: i32[B])\n%x = take %e, %it, axis=0 : f32[B, 2]\n%q = contract \"bh,hk->bk\" %hp, %w : f32[B, 2]\n%s = add %q, %x : f32[B, 2]\n%n = tanh %s : f32[B, 2]\n"
     "%o = contract \"bh,ho->bo\" %n, %v : f32[B, 5]\n%o2 = sin %o : f32[B, 5]\nyield %n, %o2\n}\n%y = mul %ys, %ys : f32[B, 4, 5]", -1, 1, 6, false},
    {"conv in a scan", "x: f32[3, 2, 6, 2]; w: f32[3, 2, 2]; h0: f32[2, 6, 2]",
     "%h = scan %h0, %x, carry=1, axes=[0], yaxes=[], reverse=false, trip=3 : f32[2, 6, 2] {\n"
     "block (%t: i32, %hp: f32[2, 6, 2], %xt: f32[2, 6, 2])\n%q = conv \"nxc,xcd->nxd\" %xt, %w, window=\"x\", stride=[1], low=[1], high=[1], lhs_dilation=[1], rhs_dilation=[1] : f32[2, 6, 2]\n"
     "%r = conv \"nxc,xcd->nxd\" %hp, %w, window=\"x\", stride=[1], low=[1], high=[1], lhs_dilation=[1], rhs_dilation=[1] : f32[2, 6, 2]\n%s = add %q, %r : f32[2, 6, 2]\n%n = tanh %s : f32[2, 6, 2]\nyield %n\n}\n"
     "%y = mul %h, %h : f32[2, 6, 2]", -1, 1, 0, false},
    /* networks */
    {"softmax cross-entropy", "x: f32[B<=4, 3]; w: f32[3, 5]; label: i32[B<=4]",
     "%z = contract \"bi,io->bo\" %x, %w : f32[B, 5]\n%m = reduce_max %z, axes=[1] : f32[B]\n%m2 = stop_gradient %m : f32[B]\n%mb = broadcast %m2, axes=[0] : f32[B, 5]\n"
     "%d = sub %z, %mb : f32[B, 5]\n%e = exp %d : f32[B, 5]\n%s = sum %e, axes=[1] : f32[B]\n%l = log %s : f32[B]\n%lb = broadcast %l, axes=[0] : f32[B, 5]\n%lp = sub %d, %lb : f32[B, 5]\n"
     "%i = reshape %label : i32[B, 1]\n%y = gather %lp, %i, axis=1 : f32[B, 1]", -2, 2, 5, false},
    {"batch norm", "x: f32[B<=4, 3]; g: f32[3]",
     "%n = batch : i32\n%nf = convert %n : f32\n%nb = broadcast %nf, axes=[] : f32[3]\n%s = sum %x, axes=[0] : f32[3]\n%mu = div %s, %nb : f32[3]\n%mub = broadcast %mu, axes=[1] : f32[B, 3]\n"
     "%d = sub %x, %mub : f32[B, 3]\n%d2 = mul %d, %d : f32[B, 3]\n%v = sum %d2, axes=[0] : f32[3]\n%va = div %v, %nb : f32[3]\n%eps = constant 0.01 : f32[3]\n%ve = add %va, %eps : f32[3]\n"
     "%sd = sqrt %ve : f32[3]\n%k = div %g, %sd : f32[3]\n%kb = broadcast %k, axes=[1] : f32[B, 3]\n%y = mul %d, %kb : f32[B, 3]", -2, 2, 0, false},
    {"slices of one product", "x: f32[2, 3]; w: f32[3, 8]",
     "%z = contract \"bi,io->bo\" %x, %w : f32[2, 8]\n%a = slice %z, start=[0, 0], limit=[2, 2], step=[1, 1] : f32[2, 2]\n%b = slice %z, start=[0, 2], limit=[2, 4], step=[1, 1] : f32[2, 2]\n"
     "%c = slice %z, start=[0, 4], limit=[2, 6], step=[1, 1] : f32[2, 2]\n%d = slice %z, start=[0, 6], limit=[2, 8], step=[1, 1] : f32[2, 2]\n"
     "%p = mul %a, %c : f32[2, 2]\n%q = mul %p, %b : f32[2, 2]\n%y = mul %q, %d : f32[2, 2]", -2, 2, 0, false},
};
/* clang-format on */
enum { N_CASES = sizeof cases / sizeof *cases, B = 3 };

/* "x: f32[3]; i: i32" as slots and as parameters of a function */
static const char *case_text(Arena *a, const Case *c) {
    Text slots = {0}, params = {0};
    for (const char *s = c->inputs; *s;) {
        size_t n = strcspn(s, ";");
        const char *one = arena_strndup(a, s, n);
        text_printf(a, &slots, "%s %%%s%s\n", strstr(one, "B<=") ? "field" : "var", one, " of @test");
        text_printf(a, &params, "%s%%%s", params.n ? ", " : "", one);
        s += n;
        s += strspn(s, "; ");
    }
    const char *bound = strchr(c->inputs, 'B') || strstr(c->body, "[B") ? "field %dummy: f32[B<=4] of @test\n" : "";
    return arena_printf(a, "graph front\n%s%scommand @test() {\n}\nfunc @f(%s%s) -> () {\n%s\nreturn\n}\n", text_str(a, &slots),
                        bound, text_str(a, &params), *bound ? ", %dummy: f32[B<=4]" : "", c->body);
}

static Value *find_value(const Func *f, const char *name) {
    for (Op *op = f->body->last; op; op = op->prev)
        for (int i = 0; i < op->n_out; i++)
            if (op->out[i]->name && strcmp(op->out[i]->name, name) == 0) return op->out[i];
    ck_abort_msg("no %%%s", name);
    return NULL;
}

static void write_out(TestGraph *g, Value *v) {
    Slot *s = slot_new(g->m, SLOT_VAR, intern_printf("out%zu", g->f->out_slots.n), v->type, (Loc){0});
    s->command = intern("test");
    s->batch_bound = type_has_batch(v->type) ? 4 : 0;
    func_write(g->f, s, v);
}

/* sum over all of x * weights, where the weights are a new input */
static Value *weigh(TestGraph *g, Builder *b, Value *x) {
    Slot *s = slot_new(g->m, type_has_batch(x->type) ? SLOT_FIELD : SLOT_VAR, intern_printf("weights%zu", g->f->in_slots.n),
                       x->type, (Loc){0});
    s->command = intern("test");
    s->batch_bound = type_has_batch(x->type) ? 4 : 0;
    Value *p = g_binary(b, OP_mul, x, func_read(g->f, s));
    int64_t axes[MAX_RANK];
    for (int i = 0; i < MAX_RANK; i++) axes[i] = i;
    return x->type->rank ? g_reduce(b, OP_sum, p, x->type->rank, axes) : p;
}

static Value *add_loss(Builder *b, Value *sum, Value *more) { return sum ? g_binary(b, OP_add, sum, more) : more; }

enum { MOST_INPUTS = 32 };

typedef struct Built {
    int n_x;                /* inputs of the case */
    bool is_x[MOST_INPUTS]; /* differentiated by */
    int n_d;
} Built;

/* Adds: loss, its gradients, loss2, its gradients; all are results in this order. */
static Built add_losses(TestGraph *g) {
    Built out = {.n_x = (int)g->f->body->params.n};
    Builder b = builder_at_end(g->f);
    Values in = {0};
    Value *loss = weigh(g, &b, find_value(g->f, "y")), *loss2 = NULL;
    vec_push(g->a, &in, loss);
    for (int i = 0; i < out.n_x; i++) {
        Value *x = g->f->body->params.at[i];
        out.is_x[i] = elem_is_float(x->type->elem) && strcmp(x->name, "dummy") != 0;
        if (out.is_x[i]) vec_push(g->a, &in, x);
    }
    out.n_d = (int)in.n - 1;
    Op *op = op_make_full(&b, OP_grad, (int)in.n, in.at, 0, NULL, 0, NULL, out.n_d, NULL);
    write_out(g, loss);
    for (int i = 0; i < out.n_d; i++) write_out(g, op->out[i]);
    for (int i = 0; i < out.n_d; i++) loss2 = add_loss(&b, loss2, weigh(g, &b, op->out[i]));
    in.at[0] = loss2;
    op = op_make_full(&b, OP_grad, (int)in.n, in.at, 0, NULL, 0, NULL, out.n_d, NULL);
    write_out(g, loss2);
    for (int i = 0; i < out.n_d; i++) write_out(g, op->out[i]);
    return out;
}

static double dot(const Tensor *a, const Tensor *b) {
    double s = 0;
    for (int64_t i = 0; i < a->count; i++) s += tensor_get(a, i) * tensor_get(b, i);
    return s;
}

/* Both losses at x + h d */
static void losses_at(const TestGraph *g, const Built *u, Tensor **in, Tensor *const *d, double h, double *loss, double *loss2) {
    Tensor *moved[MOST_INPUTS], *out[2 * MOST_INPUTS];
    int n = (int)g->f->body->params.n;
    for (int i = 0; i < n; i++) {
        if (i >= u->n_x || !u->is_x[i]) {
            moved[i] = tensor_keep(in[i]);
            continue;
        }
        moved[i] = tensor_new(EVAL_F64, g->f->body->params.at[i]->type, B);
        for (int64_t k = 0; k < in[i]->count; k++) tensor_set(moved[i], k, tensor_get(in[i], k) + h * tensor_get(d[i], k));
    }
    test_run(g, EVAL_F64, B, moved, out);
    *loss = tensor_get(out[0], 0);
    *loss2 = tensor_get(out[1 + u->n_d], 0);
    for (int i = 0; i < n; i++) tensor_release(moved[i]);
    for (int i = 0; i < 2 + 2 * u->n_d; i++) tensor_release(out[i]);
}

/* sum of gradient times direction; and is anything in the gradient not zero? */
static double slope(const Built *u, Tensor *const *grads, Tensor *const *d, bool *nonzero) {
    double s = 0;
    *nonzero = false;
    for (int i = 0, k = 0; i < u->n_x; i++) {
        if (!u->is_x[i]) continue;
        *nonzero |= dot(grads[k], grads[k]) > 0;
        s += dot(grads[k++], d[i]);
    }
    return s;
}

static void check_close(const Case *c, const char *what, double got, double want, uint64_t seed) {
    double off = fabs(got - want);
    ck_assert_msg(off <= 1e-6 + 1e-6 * fabs(want), "%s, %s: the gradient says %.12g, the difference %.12g (seed %" PRIu64 ")",
                  c->name, what, got, want, seed);
}

/* The passes behind autodiff, one after the other: every result must be what it was. */
static void check_late_passes(const Case *c, TestGraph *g, Tensor **in, Tensor **before, uint64_t seed) {
    static const struct {
        const char *name;
        bool (*run)(PassCtx *c, Module *m);
    } passes[] = {{"hoist", pass_hoist}, {"undilate", pass_undilate}, {"unroll", pass_unroll}, {"simplify", pass_simplify}};
    Tensor *after[2 * MOST_INPUTS];
    for (size_t p = 0; p < sizeof passes / sizeof *passes; p++) {
        ck_assert(passes[p].run(&g->c, g->m));
        test_verify(g, passes[p].name);
        test_run(g, EVAL_F64, B, in, after);
        for (size_t i = 0; i < g->f->body->results.n; i++) {
            for (int64_t k = 0; k < before[i]->count; k++) {
                double x = tensor_get(before[i], k), y = tensor_get(after[i], k);
                ck_assert_msg(fabs(x - y) <= 1e-9 + 1e-9 * fabs(x),
                              "%s: %s changed result %zu at %d from %.17g to %.17g (seed %" PRIu64 ")", c->name, passes[p].name,
                              i, (int)k, x, y, seed);
            }
            tensor_release(after[i]);
        }
    }
}

static void check_case(const Case *c, bool simplify, bool hoist, uint64_t seed0) {
    Arena *a = arena_new();
    TestGraph g = test_read(case_text(a, c));
    Built u = add_losses(&g);
    test_verify(&g, "building");
    if (simplify) ck_assert(pass_simplify(&g.c, g.m));
    if (simplify) test_verify(&g, "simplify");
    if (hoist) ck_assert(pass_join(&g.c, g.m));
    if (hoist) test_verify(&g, "join");
    if (hoist) ck_assert(pass_simplify(&g.c, g.m));
    bool ok = pass_autodiff(&g.c, g.m);
    if (!ok) diag_print(g.d, stderr);
    ck_assert_msg(ok, "%s: autodiff failed", c->name);
    g.stage = STAGE_EXPANDED;
    test_verify(&g, "autodiff");
    if (simplify) ck_assert(pass_simplify(&g.c, g.m));
    if (simplify) test_verify(&g, "the second simplify");
    uint64_t seed = seed0;
    Tensor *in[MOST_INPUTS], *d[MOST_INPUTS] = {0}, *out[2 * MOST_INPUTS];
    int n = (int)g.f->body->params.n;
    ck_assert_int_le(n, MOST_INPUTS);
    for (int i = 0; i < n; i++) {
        const Type *t = g.f->body->params.at[i]->type;
        bool weight = i >= u.n_x;
        in[i] = test_draw(EVAL_F64, t, B, &seed, weight ? -1 : c->low, weight ? 1 : c->high, c->below);
        if (!weight && u.is_x[i]) d[i] = test_draw(EVAL_F64, t, B, &seed, -1, 1, 1);
    }
    test_run(&g, EVAL_F64, B, in, out);
    if (hoist) check_late_passes(c, &g, in, out, seed0);
    double h = 1e-5, plus, minus, plus2, minus2;
    bool nonzero, nonzero2;
    losses_at(&g, &u, in, d, h, &plus, &plus2);
    losses_at(&g, &u, in, d, -h, &minus, &minus2);
    check_close(c, "first order", slope(&u, out + 1, d, &nonzero), (plus - minus) / (2 * h), seed0);
    check_close(c, "second order", slope(&u, out + 2 + u.n_d, d, &nonzero2), (plus2 - minus2) / (2 * h), seed0);
    ck_assert_msg(nonzero, "%s: the gradient is all zero", c->name);
    ck_assert_msg(nonzero2 != c->flat, "%s: the second gradient is %szero", c->name, nonzero2 ? "not " : "");
    for (int i = 0; i < n; i++) tensor_release(in[i]), tensor_release(d[i]);
    for (int i = 0; i < 2 + 2 * u.n_d; i++) tensor_release(out[i]);
    arena_free(g.a);
    arena_free(a);
}

START_TEST(against_differences) { check_case(&cases[_i], false, false, 17 + (uint64_t)_i); }
END_TEST
START_TEST(against_differences_simplified) { check_case(&cases[_i], true, false, 91 + (uint64_t)_i); }
END_TEST
START_TEST(against_differences_hoisted) { check_case(&cases[_i], true, true, 53 + (uint64_t)_i); }
END_TEST

/* ---- kinks, ties and infinite factors: exact values ---- */

typedef struct Exact {
    const char *name, *body; /* of %x: f32[4], %z: f32[4] makes the scalar %l */
    double x[4], z[4], dx[4];
} Exact;

/* clang-format off */
static const Exact exact[] = {
    {"relu at 0 is flat", "%o = constant 0 : f32[4]\n%m = max %o, %x : f32[4]\n%l = sum %m, axes=[0] : f32", {-1, 0, 1, 2}, {0}, {0, 0, 1, 1}},
    {"max of equal values takes the first", "%m = max %x, %z : f32[4]\n%l = sum %m, axes=[0] : f32", {-1, 0, 1, 2}, {0, 0, 1, 1}, {0, 1, 1, 1}},
    {"min of equal values takes the first", "%m = min %x, %z : f32[4]\n%l = sum %m, axes=[0] : f32", {-1, 0, 1, 2}, {0, 0, 1, 1}, {1, 1, 1, 0}},
    {"abs is flat at 0", "%m = abs %x : f32[4]\n%l = sum %m, axes=[0] : f32", {-1, 0, 1, 2}, {0}, {-1, 0, 1, 1}},
    {"the first of equal maxima", "%l = reduce_max %x, axes=[0] : f32", {1, 3, 3, 2}, {0}, {0, 1, 0, 0}},
    {"the first of equal minima", "%l = reduce_min %x, axes=[0] : f32", {1, 3, 1, 2}, {0}, {1, 0, 0, 0}},
    {"a window's first maximum", "%r = reshape %x : f32[1, 4, 1]\n%m = window_max %r, size=[2], stride=[2], low=[0], high=[0] : f32[1, 2, 1]\n%l = sum %m, axes=[0, 1, 2] : f32", {1, 1, 2, 3}, {0}, {1, 0, 0, 1}},
    {"log of 0, not taken", "%o = constant 0 : f32[4]\n%c = gt %x, %o : bool[4]\n%g = log %x : f32[4]\n%m = select %c, %g, %x : f32[4]\n%l = sum %m, axes=[0] : f32", {-1, 0, 2, 4}, {0}, {1, 1, 0.5, 0.25}},
    {"sqrt of 0, not taken", "%o = constant 0 : f32[4]\n%c = gt %x, %o : bool[4]\n%g = sqrt %x : f32[4]\n%m = select %c, %g, %x : f32[4]\n%l = sum %m, axes=[0] : f32", {-1, 0, 1, 4}, {0}, {1, 1, 0.5, 0.25}},
    {"division by 0, not taken", "%o = constant 0 : f32[4]\n%c = gt %x, %o : bool[4]\n%g = div %z, %x : f32[4]\n%m = select %c, %g, %x : f32[4]\n%l = sum %m, axes=[0] : f32", {-1, 0, 1, 2}, {1, 1, 1, 4}, {1, 1, -1, -1}},
    {"an exp that overflows, not taken", "%k = constant 5 : f32[4]\n%c = gt %x, %k : bool[4]\n%g = exp %x : f32[4]\n%m = select %c, %x, %g : f32[4]\n%l = sum %m, axes=[0] : f32", {1000, 0, 800, 6}, {0}, {1, 1, 1, 1}},
    {"powers of 0", "%k = constant 1.5 : f32[4]\n%m = pow %x, %k : f32[4]\n%l = sum %m, axes=[0] : f32", {0, 1, 4, 0}, {0}, {0, 1.5, 3, 0}},
    {"0 to the 0", "%o = constant 0 : f32[4]\n%k = mul %z, %o : f32[4]\n%m = pow %x, %k : f32[4]\n%l = sum %m, axes=[0] : f32", {0, 1, 2, -1}, {1, 1, 1, 1}, {0, 0, 0, 0}},
    {"a product with zeros", "%l = prod %x, axes=[0] : f32", {2, 0, 3, 4}, {0}, {0, 24, 0, 0}},
    {"rounding is flat", "%m = floor %x : f32[4]\n%s = add %m, %x : f32[4]\n%l = sum %s, axes=[0] : f32", {0.5, 1.5, 2, -1}, {0}, {1, 1, 1, 1}},
    {"stop_gradient", "%m = stop_gradient %x : f32[4]\n%s = mul %m, %x : f32[4]\n%l = sum %s, axes=[0] : f32", {1, 2, 3, -1}, {0}, {1, 2, 3, -1}},
    /* the derivative of log x where its cotangent happens to be 0: the second derivative does not vanish with it */
    {"a zero cotangent inside", "%g = log %x : f32[4]\n%p = mul %g, %g : f32[4]\n%s = sum %p, axes=[0] : f32\n%d = grad %s wrt %x : f32[4]\n%l = sum %d, axes=[0] : f32", {1, 1, 1, 1}, {0}, {2, 2, 2, 2}},
};
/* clang-format on */
enum { N_EXACT = sizeof exact / sizeof *exact };

static TestGraph vector_graph(Arena *a, const char *body, const char *wrt) {
    return test_read(arena_printf(
        a,
        "graph front\nvar %%x: f32[4] of @c\nvar %%z: f32[4] of @c\nvar %%dx: f32[4] of @c\ncommand @c() {\n}\n"
        "func @f(%%x: f32[4], %%z: f32[4]) -> (%%dx: f32[4]) {\n%s\n%%dx = grad %%l wrt %s : f32[4]\nreturn %%dx\n}\n",
        body, wrt));
}

START_TEST(exact_values) {
    const Exact *e = &exact[_i];
    Arena *a = arena_new();
    for (int simplified = 0; simplified < 2; simplified++) {
        TestGraph g = vector_graph(a, e->body, "%x");
        if (simplified) ck_assert(pass_simplify(&g.c, g.m));
        ck_assert(pass_autodiff(&g.c, g.m));
        g.stage = STAGE_EXPANDED;
        test_verify(&g, "autodiff");
        if (simplified) ck_assert(pass_simplify(&g.c, g.m));
        const Type *t = g.f->body->params.at[0]->type;
        Tensor *in[2] = {tensor_new(EVAL_F64, t, 1), tensor_new(EVAL_F64, t, 1)}, *out[1];
        for (int i = 0; i < 4; i++) {
            tensor_set(in[0], i, e->x[i]);
            tensor_set(in[1], i, e->z[i]);
        }
        test_run(&g, EVAL_F64, 1, in, out);
        for (int i = 0; i < 4; i++)
            ck_assert_msg(fabs(tensor_get(out[0], i) - e->dx[i]) <= 1e-12, "%s: dx[%d] is %g, not %g", e->name, i,
                          tensor_get(out[0], i), e->dx[i]);
        tensor_release(in[0]);
        tensor_release(in[1]);
        tensor_release(out[0]);
        arena_free(g.a);
    }
    arena_free(a);
}
END_TEST

/* ---- what is reported ---- */

static void check_report(const char *body, const char *wrt, bool ok, const char *words) {
    Arena *a = arena_new();
    TestGraph g = vector_graph(a, body, wrt);
    ck_assert_int_eq(pass_autodiff(&g.c, g.m), ok);
    ck_assert_int_eq(diag_errors(g.d) == 0, ok);
    g.stage = STAGE_EXPANDED;
    if (ok) test_verify(&g, "autodiff");
    FILE *f = tmpfile();
    diag_print(g.d, f);
    char text[4096];
    rewind(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    ck_assert_msg(strstr(text, words) != NULL, "no `%s` in\n%s", words, text);
    arena_free(g.a);
    arena_free(a);
}

START_TEST(an_unreached_parameter) {
    check_report("%s = mul %x, %x : f32[4]\n%l = sum %s, axes=[0] : f32", "%z", true,
                 "the gradient with respect to `z` is 0 everywhere");
    check_report("%s = floor %x : f32[4]\n%l = sum %s, axes=[0] : f32", "%x", true,
                 "the gradient with respect to `x` is 0 everywhere");
}
END_TEST

START_TEST(refusals) {
    check_report("%w = while %x, max=9 : f32[4] {\nblock (%a: f32[4])\n%k = constant 9 : f32\n%s = sum %a, axes=[0] : f32\n%b = "
                 "lt %s, %k : bool\nyield %b\nblock (%c: f32[4])\n%n = add %c, %c : f32[4]\nyield %n\n}\n"
                 "%l = sum %w, axes=[0] : f32",
                 "%x", false, "no gradient passes through this `while`");
    check_report("%z0 = slice %z, start=[0], limit=[1], step=[1] : f32[1]\n%z1 = reshape %z0 : f32\n%n = convert %z1 : i32\n"
                 "%w = scan %x, %n, carry=1, axes=[], yaxes=[], reverse=false, trip=-1 : f32[4] {\nblock (%t: i32, %c: "
                 "f32[4])\n%s = sin %c : f32[4]\nyield %s\n}\n%l = sum %w, axes=[0] : f32",
                 "%x", false, "the number of its turns is known only when it runs");
}
END_TEST

/* ---- loops ---- */

static const char *loop_text(Arena *a, int turns) {
    return arena_printf(
        a,
        "graph front\nvar %%h0: f32[4] of @c\nvar %%w: f32[4, 4] of @c\nvar %%x: f32[%d, 4] of @c\nvar %%l: f32 of @c\nvar %%dw: "
        "f32[4, 4] of @c\nvar %%dx: f32[%d, 4] of @c\nvar %%dh: f32[4] of @c\n"
        "command @c() {\n}\nfunc @f(%%h0: f32[4], %%w: f32[4, 4], %%x: f32[%d, 4]) -> (%%l: f32, %%dh: f32[4], %%dw: f32[4, 4], "
        "%%dx: f32[%d, 4]) {\n"
        "%%h, %%ys = scan %%h0, %%x, carry=1, axes=[0], yaxes=[1], reverse=false, trip=%d : f32[4], f32[4, %d] {\nblock (%%t: "
        "i32, %%c: f32[4], %%xt: f32[4])\n"
        "%%p = contract \"h,hk->k\" %%c, %%w : f32[4]\n%%s = add %%p, %%xt : f32[4]\n%%n = tanh %%s : f32[4]\n%%q = sin %%s : "
        "f32[4]\nyield %%n, %%q\n}\n"
        "%%y2 = mul %%ys, %%ys : f32[4, %d]\n%%l1 = sum %%y2, axes=[0, 1] : f32\n%%l2 = sum %%h, axes=[0] : f32\n%%l = add %%l1, "
        "%%l2 : f32\n"
        "%%dh, %%dw, %%dx = grad %%l wrt %%h0, %%w, %%x : f32[4], f32[4, 4], f32[%d, 4]\nreturn %%l, %%dh, %%dw, %%dx\n}\n",
        turns, turns, turns, turns, turns, turns, turns, turns);
}

static void count_op(Op *op, void *arg) { (void)op, ++*(int *)arg; }

static int ops_for(int turns) {
    Arena *a = arena_new();
    TestGraph g = test_read(loop_text(a, turns));
    ck_assert(pass_autodiff(&g.c, g.m));
    int n = 0;
    block_walk(g.f->body, count_op, &n);
    arena_free(g.a);
    arena_free(a);
    return n;
}

START_TEST(length_costs_no_ops) { ck_assert_int_eq(ops_for(3), ops_for(3000)); }
END_TEST

/* The loop and its way back against the loop written out before it is differentiated: the same numbers in another order. */
START_TEST(loop_against_written_out) {
    Arena *a = arena_new();
    TestGraph loop = test_read(loop_text(a, 2)), flat = test_read(loop_text(a, 2));
    ck_assert(pass_autodiff(&loop.c, loop.m));
    ck_assert(pass_unroll(&flat.c, flat.m));
    for (Op *op = flat.f->body->first; op; op = op->next) ck_assert_msg(op->code != OP_scan, "the loop was not written out");
    ck_assert(pass_autodiff(&flat.c, flat.m));
    loop.stage = flat.stage = STAGE_EXPANDED;
    test_verify(&loop, "autodiff of the loop");
    test_verify(&flat, "autodiff of the loop written out");
    uint64_t seed = 5;
    Tensor *in[3], *x[4], *y[4];
    for (int i = 0; i < 3; i++) in[i] = test_draw(EVAL_F64, loop.f->body->params.at[i]->type, 1, &seed, -1, 1, 1);
    test_run(&loop, EVAL_F64, 1, in, x);
    test_run(&flat, EVAL_F64, 1, in, y);
    for (int i = 0; i < 4; i++)
        for (int64_t k = 0; k < x[i]->count; k++)
            ck_assert_msg(fabs(tensor_get(x[i], k) - tensor_get(y[i], k)) <= 1e-13, "result %d differs at %d: %.17g, %.17g", i,
                          (int)k, tensor_get(x[i], k), tensor_get(y[i], k));
    for (int i = 0; i < 3; i++) tensor_release(in[i]);
    for (int i = 0; i < 4; i++) tensor_release(x[i]), tensor_release(y[i]);
    arena_free(loop.a);
    arena_free(flat.a);
    arena_free(a);
}
END_TEST

Suite *autodiff_suite(void);
Suite *autodiff_suite(void) {
    Suite *s = suite_create("autodiff");
    TCase *t = tcase_create("differences");
    tcase_set_timeout(t, 30);
    tcase_add_loop_test(t, against_differences, 0, N_CASES);
    tcase_add_loop_test(t, against_differences_simplified, 0, N_CASES);
    tcase_add_loop_test(t, against_differences_hoisted, 0, N_CASES);
    suite_add_tcase(s, t);
    t = tcase_create("rules");
    tcase_add_loop_test(t, exact_values, 0, N_EXACT);
    tcase_add_test(t, an_unreached_parameter);
    tcase_add_test(t, refusals);
    tcase_add_test(t, length_costs_no_ops);
    tcase_add_test(t, loop_against_written_out);
    suite_add_tcase(s, t);
    return s;
}
