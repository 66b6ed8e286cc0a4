/*
 * openblas_peer.c - one training step (forward, backward, update) of the benchmark networks as one would write it in C around a BLAS: what
 * `run --against=openblas` measures. Prints one line of JSON a network, as torch_peer.py does.
 *
 *   openblas_peer THREADS SECONDS NAME...      {"name": "mlp", "mode": "openblas", "threads": 1, "ms": 5.2, "min_ms": 5.0, "loss": 0.01}
 *
 * Three layers of products, relu between, softmax with cross entropy; everything between two products is one loop over the data.
 */
#include <cblas.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void openblas_set_num_threads(int n);

enum { MOST_LAYERS = 3, MOST_STEPS = 1 << 20, WORTH_THREADS = 1 << 15 };

typedef struct Layer {
    int in, out;
    float *w, *b;   /* [in, out], [out] */
    float *vw, *vb; /* momentum; NULL: plain gradient descent */
    float *dw, *db;
    float *y, *dy; /* [batch, out]: after relu; gradient before relu */
} Layer;

typedef struct Net {
    const char *name;
    int batch, n_layers, size[MOST_LAYERS + 1];
    bool momentum;
    float *x; /* [batch, size[0]] */
    int *label;
    Layer layer[MOST_LAYERS];
} Net;

static uint64_t seed = 1;

static float draw(void) { /* [-1, 1) */
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)(seed >> 40) * 0x1p-23f - 1;
}

static float *numbers(int64_t n, float scale) {
    float *p = aligned_alloc(64, (size_t)(4 * n + 127) / 64 * 64);
    if (!p) exit(1);
    for (int64_t i = 0; i < n; i++) p[i] = scale * draw();
    return p;
}

static void make(Net *n) {
    n->x = numbers((int64_t)n->batch * n->size[0], 1);
    n->label = malloc(sizeof(int) * (size_t)n->batch);
    if (!n->label) exit(1);
    for (int i = 0; i < n->batch; i++) n->label[i] = i * 7 % n->size[n->n_layers];
    for (int l = 0; l < n->n_layers; l++) {
        int64_t in = n->size[l], out = n->size[l + 1], rows = n->batch;
        n->layer[l] = (Layer){.in = (int)in,
                              .out = (int)out,
                              .w = numbers(in * out, 1 / sqrtf((float)in)),
                              .b = numbers(out, 0),
                              .dw = numbers(in * out, 0),
                              .db = numbers(out, 0),
                              .vw = n->momentum ? numbers(in * out, 0) : NULL,
                              .vb = n->momentum ? numbers(out, 0) : NULL,
                              .y = numbers(rows * out, 0),
                              .dy = numbers(rows * out, 0)};
    }
}

/* y = relu(y + b), y of [rows, n]; the last layer without relu. */
static void bias_relu(float *restrict y, const float *restrict b, int rows, int n, bool relu) {
#pragma omp parallel for if (rows * n >= WORTH_THREADS)
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < n; j++) {
            float v = y[i * n + j] + b[j];
            y[i * n + j] = relu && v < 0 ? 0 : v;
        }
}

/* dz = (softmax(z) - onehot) / rows; the mean loss. */
static float cross_entropy(const float *restrict z, const int *label, float *restrict dz, int rows, int n) {
    float loss = 0;
    for (int i = 0; i < rows; i++) {
        float most = z[i * n], sum = 0;
        for (int j = 1; j < n; j++) most = z[i * n + j] > most ? z[i * n + j] : most;
        for (int j = 0; j < n; j++) sum += dz[i * n + j] = expf(z[i * n + j] - most);
        loss += logf(sum) + most - z[i * n + label[i]];
        for (int j = 0; j < n; j++) dz[i * n + j] = (dz[i * n + j] / sum - (j == label[i])) / (float)rows;
    }
    return loss / (float)rows;
}

static void sum_rows(const float *restrict dy, float *restrict db, int rows, int n) {
    memset(db, 0, sizeof *db * (size_t)n);
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < n; j++) db[j] += dy[i * n + j];
}

static void mask(float *restrict dx, const float *restrict y, int n) {
#pragma omp parallel for if (n >= WORTH_THREADS)
    for (int i = 0; i < n; i++) dx[i] = y[i] > 0 ? dx[i] : 0;
}

static void update(float *restrict w, float *restrict v, const float *restrict g, int n) {
    const float lr = 0.01f, mu = 0.9f;
    if (!v) {
#pragma omp parallel for if (n >= WORTH_THREADS)
        for (int i = 0; i < n; i++) w[i] -= lr * g[i];
        return;
    }
#pragma omp parallel for if (n >= WORTH_THREADS)
    for (int i = 0; i < n; i++) {
        v[i] = mu * v[i] + g[i];
        w[i] -= lr * v[i];
    }
}

static float step(Net *n) {
    int rows = n->batch;
    const float *x = n->x;
    for (int l = 0; l < n->n_layers; l++) {
        Layer *a = &n->layer[l];
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, a->out, a->in, 1, x, a->in, a->w, a->out, 0, a->y, a->out);
        bias_relu(a->y, a->b, rows, a->out, l + 1 < n->n_layers);
        x = a->y;
    }
    Layer *last = &n->layer[n->n_layers - 1];
    float loss = cross_entropy(last->y, n->label, last->dy, rows, last->out);
    for (int l = n->n_layers - 1; l >= 0; l--) {
        Layer *a = &n->layer[l];
        const float *in = l > 0 ? n->layer[l - 1].y : n->x;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, a->in, a->out, rows, 1, in, a->in, a->dy, a->out, 0, a->dw, a->out);
        sum_rows(a->dy, a->db, rows, a->out);
        if (l > 0) {
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, a->in, a->out, 1, a->dy, a->out, a->w, a->out, 0,
                        n->layer[l - 1].dy, a->in);
            mask(n->layer[l - 1].dy, in, rows * a->in);
        }
        update(a->w, a->vw, a->dw, a->in * a->out);
        update(a->b, a->vb, a->db, a->out);
    }
    return loss;
}

static int by_size(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void measure(Net *net, int threads, double seconds) {
    double *at = malloc(sizeof(double) * MOST_STEPS), end = omp_get_wtime() + seconds;
    int n = 0;
    float loss = 0;
    if (!at) exit(1);
    make(net);
    for (int i = 0; i < 4; i++) step(net);
    while (n < MOST_STEPS && (n < 5 || omp_get_wtime() < end)) {
        double start = omp_get_wtime();
        loss = step(net);
        at[n++] = omp_get_wtime() - start;
    }
    qsort(at, (size_t)n, sizeof *at, by_size);
    printf("{\"name\": \"%s\", \"mode\": \"openblas\", \"threads\": %d, \"ms\": %.5f, \"min_ms\": %.5f, \"n\": %d, \"loss\": "
           "%.6f}\n",
           net->name, threads, 1e3 * at[n / 2], 1e3 * at[0], n, (double)loss);
    fflush(stdout);
    free(at);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 0;
    double seconds = argc > 2 ? atof(argv[2]) : 0;
    Net nets[] = {{.name = "tiny", .batch = 32, .n_layers = 2, .size = {64, 32, 10}},
                  {.name = "mlp", .batch = 128, .n_layers = 3, .size = {784, 512, 512, 10}, .momentum = true}};
    if (threads < 1 || seconds <= 0) {
        fprintf(stderr, "usage: openblas_peer THREADS SECONDS NAME...\n");
        return 2;
    }
    openblas_set_num_threads(threads);
    omp_set_num_threads(threads);
    for (int i = 3; i < argc; i++)
        for (size_t k = 0; k < sizeof nets / sizeof *nets; k++)
            if (strcmp(argv[i], nets[k].name) == 0) measure(&nets[k], threads, seconds);
    return 0;
}
