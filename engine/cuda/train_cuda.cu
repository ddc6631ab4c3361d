/* The CUDA back end of the trainer: the arithmetic of engine/train/network.inc, matrix products by cuBLAS (bf16
 * operands with float32 sums, or float32 throughout), the rest in the kernels below. Every sum has a fixed order (no
 * atomics), so that a run repeats bit for bit on one device and library. Activations are float32, row-major, shaped as
 * on the CPU. */
extern "C" {
#include "engine/train/train.h"
}

#include "engine/cuda/train_kernels.cuh"

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cmath>
#include <cstdlib>
#include <cstring>

namespace {

enum { HEAD_ROWS = 4096 };

struct saved_layer { /* [rows][...], as struct saved in network.inc */
  float *x, *inv1, *n1, *qkv, *att, *lse, *mid, *inv2, *n2, *gu, *act;
};

struct low_buffer { /* operands of one product, rounded to bf16; grows as needed */
  __nv_bfloat16 *ptr;
  size_t size;
};

} // namespace

struct train_device {
  const struct net_shape *shape;
  cublasHandle_t blas;
  bool bf16;
  double clip, weight_decay, beta1, beta2, eps;
  int max_rows, max_length;
  float *params, *grad, *m, *v;
  __nv_bfloat16 *params_low; /* params rounded; unused in float32 */
  unsigned char *decays;     /* [size] */
  struct saved_layer *saved; /* host array of device pointers */
  float *x, *inv, *n, *dx, *dn, *dqkv, *datt, *dgu, *dact;
  float *logits, *nats, *hits; /* [HEAD_ROWS][V], [rows], [rows] */
  float *scores, *dscores;     /* [sequences * H][T][T] */
  float *cosine, *sine;
  int32_t *tokens, *targets, *order, *starts;
  float *weights;
  double *parts; /* [PARTS] */
  struct low_buffer low[3];
  const void **pointers; /* device: three arrays of batch pointers */
  float *host_nats, *host_hits;
  int32_t *host_order, *host_starts;
  void **owned; /* every allocation, for closing */
  size_t n_owned;
  sluice_status status; /* the first failure of a step; later calls do nothing */
  struct sluice_error error;
};

namespace {

/* ---- errors: the first failure stays, so that arithmetic reads as arithmetic ---- */

bool ok(struct train_device *d, cudaError_t e, const char *what) {
  if (d->status) return false;
  if (e == cudaSuccess) return true;
  d->status = sluice_fail(&d->error, e == cudaErrorMemoryAllocation ? SLUICE_NOMEM : SLUICE_INTERNAL, "CUDA, %s: %s",
                          what, cudaGetErrorString(e));
  return false;
}

void blas_ok(struct train_device *d, cublasStatus_t e, const char *what) {
  if (!d->status && e != CUBLAS_STATUS_SUCCESS)
    d->status = sluice_fail(&d->error, SLUICE_INTERNAL, "cuBLAS, %s: %s", what, cublasGetStatusString(e));
}

template <class T> T *take(struct train_device *d, size_t n) {
  void *p = nullptr;
  if (d->status ||
      !ok(d, cudaMalloc(&p, n * sizeof(T) + 16), "allocating device memory; lower the batch or the length"))
    return nullptr;
  void **more = static_cast<void **>(realloc(d->owned, (d->n_owned + 1) * sizeof *more));
  if (!more) {
    cudaFree(p);
    d->status = sluice_fail(&d->error, SLUICE_NOMEM, "out of memory");
    return nullptr;
  }
  d->owned = more;
  d->owned[d->n_owned++] = p;
  ok(d, cudaMemset(p, 0, n * sizeof(T)), "clearing memory");
  return static_cast<T *>(p);
}

unsigned blocks(size_t n) {
  return static_cast<unsigned>((n + THREADS - 1) / THREADS);
}

/* ---- matrix products ---- */

/* n floats as cuBLAS wants them: themselves, or rounded into buffer `slot`. */
const void *operand(struct train_device *d, int slot, const float *x, size_t n) {
  if (!d->bf16 || d->status) return x;
  struct low_buffer *b = &d->low[slot];
  if (b->size < n) {
    b->ptr = take<__nv_bfloat16>(d, n); /* the smaller one stays owned: shapes settle after the first step of a stage */
    b->size = d->status ? 0 : n;
  }
  if (d->status) return x;
  to_low<<<blocks(n), THREADS>>>(b->ptr, x, n);
  return b->ptr;
}

const void *weight(struct train_device *d, size_t at) {
  return d->bf16 ? static_cast<const void *>(d->params_low + at) : static_cast<const void *>(d->params + at);
}

cudaDataType kind(const struct train_device *d) {
  return d->bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* Row-major C[M,N] = op(A) op(B) + beta C: ta: A is stored [K][M]; tb: B is stored [N][K]. cuBLAS sees the transposes.
 */
void multiply(struct train_device *d, int M, int N, int K, const void *A, int lda, bool ta, const void *B, int ldb,
              bool tb, float *C, int ldc, float beta) {
  const float one = 1;
  if (d->status) return;
  blas_ok(d,
          cublasGemmEx(d->blas, tb ? CUBLAS_OP_T : CUBLAS_OP_N, ta ? CUBLAS_OP_T : CUBLAS_OP_N, N, M, K, &one, B,
                       kind(d), ldb, A, kind(d), lda, &beta, C, CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F,
                       CUBLAS_GEMM_DEFAULT),
          "a matrix product");
}

/* One operand of the batched products of attention: element (b, h) lies at base + b * by_sequence + head(h) * by_head.
 */
struct heads {
  const void *base;
  size_t by_sequence, by_head;
  int ld, group; /* head(h) = h / group */
  bool transposed;
};

/* For n_heads heads a sequence, the first `from`, every `step`: C = alpha op(A) op(B) + beta C. */
void multiply_heads(struct train_device *d, int sequences, int n_heads, int from, int step, int M, int N, int K,
                    struct heads A, struct heads B, struct heads C, float alpha, float beta) {
  if (d->status) return;
  const int count = sequences * n_heads;
  const size_t each = d->bf16 ? 2 : 4;
  const void **host = static_cast<const void **>(malloc(3 * static_cast<size_t>(count) * sizeof *host));
  if (!host) {
    d->status = sluice_fail(&d->error, SLUICE_NOMEM, "out of memory");
    return;
  }
  for (int i = 0; i < count; i++) {
    const size_t b = static_cast<size_t>(i / n_heads), h = static_cast<size_t>(from + i % n_heads * step);
    host[i] = static_cast<const char *>(A.base) + (b * A.by_sequence + h / A.group * A.by_head) * each;
    host[count + i] = static_cast<const char *>(B.base) + (b * B.by_sequence + h / B.group * B.by_head) * each;
    host[2 * count + i] =
        static_cast<const char *>(C.base) + (b * C.by_sequence + h / C.group * C.by_head) * sizeof(float);
  }
  ok(d, cudaMemcpy(d->pointers, host, 3 * static_cast<size_t>(count) * sizeof *host, cudaMemcpyHostToDevice),
     "copying pointers");
  free(host);
  if (d->status) return;
  blas_ok(d,
          cublasGemmBatchedEx(d->blas, B.transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                              A.transposed ? CUBLAS_OP_T : CUBLAS_OP_N, N, M, K, &alpha, d->pointers + count, kind(d),
                              B.ld, d->pointers, kind(d), A.ld, &beta, const_cast<void **>(d->pointers + 2 * count),
                              CUDA_R_32F, C.ld, count, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "the products of attention");
}

/* ---- layers ---- */

struct dims {
  int rows, D, A, Q, F, T, B;
};

struct dims dims_of(const struct train_device *d, const struct net_batch *b) {
  const struct net_shape *s = d->shape;
  return {b->sequences * b->length, s->D, s->H * s->hd, (s->H + 2 * s->KV) * s->hd, s->F, b->length, b->sequences};
}

struct attention_views {
  struct heads q, k, v, out, scores;
};

struct attention_views views(const struct train_device *d, const struct dims &z, const void *qkv, const void *out,
                             const void *scores) {
  const struct net_shape *s = d->shape;
  const size_t each = d->bf16 ? 2 : 4, hd = static_cast<size_t>(s->hd), seq = static_cast<size_t>(z.T) * z.Q;
  const int group = s->H / s->KV;
  const char *base = static_cast<const char *>(qkv);
  const size_t square = static_cast<size_t>(z.T) * z.T;
  return {{base, seq, hd, z.Q, 1, false},
          {base + static_cast<size_t>(s->H) * hd * each, seq, hd, z.Q, group, false},
          {base + static_cast<size_t>(s->H + s->KV) * hd * each, seq, hd, z.Q, group, false},
          {out, static_cast<size_t>(z.T) * z.A, hd, z.A, 1, false},
          {scores, square * s->H, square, z.T, 1, false}};
}

struct heads transposed(struct heads h) {
  h.transposed = !h.transposed;
  return h;
}

void attention_forward(struct train_device *d, const struct dims &z, struct saved_layer *v) {
  const struct net_shape *s = d->shape;
  const size_t n = static_cast<size_t>(z.B) * s->H * z.T * z.T;
  const void *qkv = operand(d, 0, v->qkv, static_cast<size_t>(z.rows) * z.Q);
  const struct attention_views a = views(d, z, qkv, v->att, d->scores);
  multiply_heads(d, z.B, s->H, 0, 1, z.T, z.T, s->hd, a.q, transposed(a.k), a.scores,
                 static_cast<float>(1.0 / sqrt(static_cast<double>(s->hd))), 0);
  softmax<<<static_cast<unsigned>(z.B * s->H * z.T), THREADS>>>(d->scores, v->lse, z.T, s->H);
  const struct attention_views p = views(d, z, qkv, v->att, operand(d, 1, d->scores, n));
  multiply_heads(d, z.B, s->H, 0, 1, z.T, s->hd, z.T, p.scores, a.v, a.out, 1, 0);
}

void attention_backward(struct train_device *d, const struct dims &z, const struct saved_layer *v) {
  const struct net_shape *s = d->shape;
  const size_t n = static_cast<size_t>(z.B) * s->H * z.T * z.T;
  const float scale = static_cast<float>(1.0 / sqrt(static_cast<double>(s->hd)));
  const int group = s->H / s->KV;
  const void *qkv = operand(d, 0, v->qkv, static_cast<size_t>(z.rows) * z.Q);
  const void *dout = operand(d, 1, d->datt, static_cast<size_t>(z.rows) * z.A);
  const struct attention_views a = views(d, z, qkv, dout, d->scores), g = views(d, z, qkv, dout, d->dscores);
  multiply_heads(d, z.B, s->H, 0, 1, z.T, z.T, s->hd, a.q, transposed(a.k), a.scores, scale, 0);
  multiply_heads(d, z.B, s->H, 0, 1, z.T, z.T, s->hd, a.out, transposed(a.v), g.scores, 1, 0);
  softmax_backward<<<static_cast<unsigned>(z.B * s->H * z.T), THREADS>>>(d->scores, d->dscores, v->lse, v->att, d->datt,
                                                                         z.T, s->H, s->hd, scale);
  /* Gradients are float32 whatever the operands are: address them as such. */
  const bool bf16 = d->bf16;
  d->bf16 = false;
  const struct attention_views out = views(d, z, d->dqkv, nullptr, nullptr);
  d->bf16 = bf16;
  const struct attention_views p = views(d, z, qkv, dout, operand(d, 2, d->scores, n));
  for (int i = 0; i < group; i++) /* one head of each group at a time: they share the key head that is summed into */
    multiply_heads(d, z.B, s->KV, i, group, z.T, s->hd, z.T, transposed(p.scores), a.out, out.v, 1, i > 0);
  const struct attention_views ds = views(d, z, qkv, dout, operand(d, 2, d->dscores, n));
  for (int i = 0; i < group; i++)
    multiply_heads(d, z.B, s->KV, i, group, z.T, s->hd, z.T, transposed(ds.scores), a.q, out.k, 1, i > 0);
  multiply_heads(d, z.B, s->H, 0, 1, z.T, s->hd, z.T, ds.scores, a.k, out.q, 1, 0);
}

void turn(struct train_device *d, const struct dims &z, float *qkv, float direction) {
  const struct net_shape *s = d->shape;
  const size_t n = static_cast<size_t>(z.rows) * (s->H + s->KV) * (s->hd / 2);
  rotate<<<blocks(n), THREADS>>>(qkv, d->cosine, d->sine, z.T, z.Q, s->H + s->KV, s->hd, direction, n);
}

void copy(struct train_device *d, float *to, const float *from, size_t n) {
  if (!d->status) ok(d, cudaMemcpyAsync(to, from, n * sizeof(float), cudaMemcpyDeviceToDevice), "copying activations");
}

void layer_forward(struct train_device *d, const struct dims &z, int i, float *next) {
  struct saved_layer *v = &d->saved[i];
  const struct net_layer *at = &d->shape->layer[i];
  const size_t r = static_cast<size_t>(z.rows);
  const float eps = d->shape->eps;
  norm_forward<<<z.rows, THREADS>>>(v->n1, v->inv1, v->x, d->params + at->norm1, z.D, eps);
  multiply(d, z.rows, z.Q, z.D, operand(d, 0, v->n1, r * z.D), z.D, false, weight(d, at->wqkv), z.D, true, v->qkv, z.Q,
           0);
  turn(d, z, v->qkv, 1);
  attention_forward(d, z, v);
  copy(d, v->mid, v->x, r * z.D);
  multiply(d, z.rows, z.D, z.A, operand(d, 0, v->att, r * z.A), z.A, false, weight(d, at->wo), z.A, true, v->mid, z.D,
           1);
  norm_forward<<<z.rows, THREADS>>>(v->n2, v->inv2, v->mid, d->params + at->norm2, z.D, eps);
  multiply(d, z.rows, 2 * z.F, z.D, operand(d, 0, v->n2, r * z.D), z.D, false, weight(d, at->wgu), z.D, true, v->gu,
           2 * z.F, 0);
  swiglu<<<blocks(r * z.F), THREADS>>>(v->act, v->gu, z.F, r * z.F);
  copy(d, next, v->mid, r * z.D);
  multiply(d, z.rows, z.D, z.F, operand(d, 0, v->act, r * z.F), z.F, false, weight(d, at->wdown), z.F, true, next, z.D,
           1);
}

/* dX = dY W and dW += dY^T X for Y = X W^T with W [out][in]. */
void linear_backward(struct train_device *d, int rows, int out, int in, const float *dY, const float *X, size_t w,
                     float *dX) {
  const void *dy = operand(d, 0, dY, static_cast<size_t>(rows) * out);
  if (dX) multiply(d, rows, in, out, dy, out, false, weight(d, w), in, false, dX, in, 0);
  multiply(d, out, in, rows, dy, out, true, operand(d, 1, X, static_cast<size_t>(rows) * in), in, false, d->grad + w,
           in, 1);
}

void norm_backward(struct train_device *d, const struct dims &z, size_t w, const float *x, const float *inv) {
  norm_backward_w<<<z.D, THREADS>>>(d->grad + w, d->dn, x, inv, z.rows, z.D);
  norm_backward_x<<<z.rows, THREADS>>>(d->dx, d->dn, x, d->params + w, inv, z.D);
}

void layer_backward(struct train_device *d, const struct dims &z, int i) {
  const struct saved_layer *v = &d->saved[i];
  const struct net_layer *at = &d->shape->layer[i];
  const size_t n = static_cast<size_t>(z.rows) * z.F;
  linear_backward(d, z.rows, z.D, z.F, d->dx, v->act, at->wdown, d->dact);
  swiglu_backward<<<blocks(n), THREADS>>>(d->dgu, d->dact, v->gu, z.F, n);
  linear_backward(d, z.rows, 2 * z.F, z.D, d->dgu, v->n2, at->wgu, d->dn);
  norm_backward(d, z, at->norm2, v->mid, v->inv2);
  linear_backward(d, z.rows, z.D, z.A, d->dx, v->att, at->wo, d->datt);
  attention_backward(d, z, v);
  turn(d, z, d->dqkv, -1);
  linear_backward(d, z.rows, z.Q, z.D, d->dqkv, v->n1, at->wqkv, d->dn);
  norm_backward(d, z, at->norm1, v->x, v->inv1);
}

void head(struct train_device *d, const struct dims &z, const struct net_batch *b) {
  const struct net_shape *s = d->shape;
  for (int i = 0; i < z.rows; i += HEAD_ROWS) {
    const int rows = z.rows - i < HEAD_ROWS ? z.rows - i : HEAD_ROWS;
    const float *n = d->n + static_cast<size_t>(i) * z.D;
    multiply(d, rows, s->V, z.D, operand(d, 0, n, static_cast<size_t>(rows) * z.D), z.D, false, weight(d, s->embedding),
             z.D, true, d->logits, s->V, 0);
    cross_entropy<<<rows, THREADS>>>(d->logits, d->nats + i, d->hits + i, d->targets + i, d->weights + i, s->V,
                                     b->scale);
    linear_backward(d, rows, s->V, z.D, d->logits, n, s->embedding, d->dn + static_cast<size_t>(i) * z.D);
  }
}

/* Rows in the order of their tokens: order[starts[t]..starts[t+1]) are the rows of token t. */
void sort_rows(struct train_device *d, const struct net_batch *b, int rows) {
  const int V = d->shape->V;
  memset(d->host_starts, 0, (static_cast<size_t>(V) + 1) * sizeof(int32_t));
  for (int i = 0; i < rows; i++) d->host_starts[b->tokens[i] + 1]++;
  for (int t = 0; t < V; t++) d->host_starts[t + 1] += d->host_starts[t];
  for (int i = 0; i < rows; i++) d->host_order[d->host_starts[b->tokens[i]]++] = i;
  for (int t = V; t > 0; t--) d->host_starts[t] = d->host_starts[t - 1];
  d->host_starts[0] = 0;
}

void upload(struct train_device *d, const struct net_batch *b, int rows) {
  const size_t r = static_cast<size_t>(rows);
  sort_rows(d, b, rows);
  ok(d, cudaMemcpy(d->tokens, b->tokens, r * sizeof(int32_t), cudaMemcpyHostToDevice), "copying tokens");
  ok(d, cudaMemcpy(d->targets, b->targets, r * sizeof(int32_t), cudaMemcpyHostToDevice), "copying targets");
  ok(d, cudaMemcpy(d->weights, b->weights, r * sizeof(float), cudaMemcpyHostToDevice), "copying weights");
  ok(d, cudaMemcpy(d->order, d->host_order, r * sizeof(int32_t), cudaMemcpyHostToDevice), "copying order");
  ok(d,
     cudaMemcpy(d->starts, d->host_starts, (static_cast<size_t>(d->shape->V) + 1) * sizeof(int32_t),
                cudaMemcpyHostToDevice),
     "copying order");
}

void collect(struct train_device *d, const struct net_batch *b, int rows, struct net_result *out) {
  memset(out, 0, sizeof *out);
  ok(d, cudaGetLastError(), "launching kernels");
  ok(d, cudaMemcpy(d->host_nats, d->nats, static_cast<size_t>(rows) * sizeof(float), cudaMemcpyDeviceToHost),
     "reading losses");
  ok(d, cudaMemcpy(d->host_hits, d->hits, static_cast<size_t>(rows) * sizeof(float), cudaMemcpyDeviceToHost),
     "reading losses");
  for (int i = 0; i < rows && !d->status; i++) {
    const float w = b->weights[i];
    if (w <= 0) continue;
    out->loss += static_cast<double>(w) * d->host_nats[i];
    if (w > 1)
      out->answer_nats += d->host_nats[i], out->answer_tokens++, out->answer_hits += d->host_hits[i] > 0;
    else
      out->text_nats += d->host_nats[i], out->text_tokens++;
  }
}

/* ---- the interface ---- */

void cuda_close(struct train_device *d) {
  if (!d) return;
  for (size_t i = 0; i < d->n_owned; i++) cudaFree(d->owned[i]);
  if (d->blas) cublasDestroy(d->blas);
  free(d->owned), free(d->saved), free(d->host_nats), free(d->host_hits), free(d->host_order), free(d->host_starts);
  free(d);
}

void allocate(struct train_device *d, int max_batch) {
  const struct net_shape *s = d->shape;
  const size_t R = static_cast<size_t>(d->max_rows), D = s->D, A = static_cast<size_t>(s->H) * s->hd,
               Q = A + 2 * static_cast<size_t>(s->KV) * s->hd;
  const size_t F = s->F, T = d->max_length, half = T * s->hd / 2, H = s->H;
  d->params = take<float>(d, s->size), d->grad = take<float>(d, s->size), d->m = take<float>(d, s->size),
  d->v = take<float>(d, s->size);
  if (d->bf16) d->params_low = take<__nv_bfloat16>(d, s->size);
  d->decays = take<unsigned char>(d, s->size);
  for (int i = 0; i < s->L && !d->status; i++) {
    struct saved_layer *v = &d->saved[i];
    v->x = take<float>(d, R * D), v->inv1 = take<float>(d, R), v->n1 = take<float>(d, R * D),
    v->qkv = take<float>(d, R * Q);
    v->att = take<float>(d, R * A), v->lse = take<float>(d, R * H), v->mid = take<float>(d, R * D),
    v->inv2 = take<float>(d, R);
    v->n2 = take<float>(d, R * D), v->gu = take<float>(d, R * 2 * F), v->act = take<float>(d, R * F);
  }
  d->x = take<float>(d, R * D), d->inv = take<float>(d, R), d->n = take<float>(d, R * D), d->dx = take<float>(d, R * D);
  d->dn = take<float>(d, R * D), d->dqkv = take<float>(d, R * Q), d->datt = take<float>(d, R * A),
  d->dgu = take<float>(d, R * 2 * F);
  d->dact = take<float>(d, R * F), d->logits = take<float>(d, static_cast<size_t>(HEAD_ROWS) * s->V);
  d->nats = take<float>(d, R), d->hits = take<float>(d, R);
  /* rows = sequences * length is bounded by max_rows, so the squares by max_rows * max_length */
  d->scores = take<float>(d, R * T * H), d->dscores = take<float>(d, R * T * H);
  d->cosine = take<float>(d, half), d->sine = take<float>(d, half);
  d->tokens = take<int32_t>(d, R), d->targets = take<int32_t>(d, R), d->order = take<int32_t>(d, R);
  d->starts = take<int32_t>(d, static_cast<size_t>(s->V) + 1), d->weights = take<float>(d, R),
  d->parts = take<double>(d, PARTS);
  d->pointers = take<const void *>(d, 3 * static_cast<size_t>(max_batch) * H);
  d->host_nats = static_cast<float *>(malloc(R * sizeof(float))),
  d->host_hits = static_cast<float *>(malloc(R * sizeof(float)));
  d->host_order = static_cast<int32_t *>(malloc(R * sizeof(int32_t)));
  d->host_starts = static_cast<int32_t *>(malloc((static_cast<size_t>(s->V) + 1) * sizeof(int32_t)));
  if (!d->status && (!d->host_nats || !d->host_hits || !d->host_order || !d->host_starts))
    d->status = sluice_fail(&d->error, SLUICE_NOMEM, "out of memory");
}

void lower_params(struct train_device *d) {
  if (d->bf16 && !d->status) to_low<<<blocks(d->shape->size), THREADS>>>(d->params_low, d->params, d->shape->size);
}

void fill_constants(struct train_device *d, const float *params) {
  const struct net_shape *s = d->shape;
  const int half = s->hd / 2;
  const size_t n = static_cast<size_t>(d->max_length) * half;
  float *angles = static_cast<float *>(malloc(2 * n * sizeof(float)));
  unsigned char *decays = static_cast<unsigned char *>(malloc(s->size));
  if (!angles || !decays) d->status = sluice_fail(&d->error, SLUICE_NOMEM, "out of memory");
  if (!d->status) {
    for (size_t i = 0; i < n; i++) {
      const double angle = static_cast<double>(i / half) * pow(s->theta, -2.0 * static_cast<double>(i % half) / s->hd);
      angles[i] = static_cast<float>(cos(angle)), angles[n + i] = static_cast<float>(sin(angle));
    }
    for (size_t i = 0; i < s->size;) {
      bool decay;
      const size_t end = adamw_run(s, i, &decay);
      memset(decays + i, decay, end - i);
      i = end;
    }
    ok(d, cudaMemcpy(d->cosine, angles, n * sizeof(float), cudaMemcpyHostToDevice), "copying angles");
    ok(d, cudaMemcpy(d->sine, angles + n, n * sizeof(float), cudaMemcpyHostToDevice), "copying angles");
    ok(d, cudaMemcpy(d->decays, decays, s->size, cudaMemcpyHostToDevice), "copying masks");
    ok(d, cudaMemcpy(d->params, params, s->size * sizeof(float), cudaMemcpyHostToDevice), "copying parameters");
    lower_params(d);
  }
  free(angles), free(decays);
}

sluice_status cuda_open(const struct train_options *o, const struct net_shape *s, int max_length, int max_batch,
                        const float *params, struct train_device **out, struct sluice_error *err) {
  struct train_device *d = static_cast<struct train_device *>(calloc(1, sizeof *d));
  if (d) d->saved = static_cast<struct saved_layer *>(calloc(static_cast<size_t>(s->L), sizeof *d->saved));
  if (!d || !d->saved) {
    free(d);
    return sluice_fail(err, SLUICE_NOMEM, "out of memory for the trainer");
  }
  d->shape = s, d->bf16 = strcmp(o->precision, "bf16") == 0, d->clip = o->clip, d->weight_decay = o->weight_decay;
  d->beta1 = o->beta1, d->beta2 = o->beta2, d->eps = o->adam_eps, d->max_length = max_length;
  for (int i = 0; i < o->n_stages;
       i++) /* stages trade length for batch: the widest one decides, not the product of both maxima */
    if (o->stages[i].length * o->stages[i].batch > d->max_rows) d->max_rows = o->stages[i].length * o->stages[i].batch;
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess || count == 0)
    d->status = sluice_fail(&d->error, SLUICE_UNSUPPORTED,
                            "device 'cuda': no usable NVIDIA GPU or driver here; use --device cpu");
  if (!d->status) blas_ok(d, cublasCreate(&d->blas), "starting");
  if (!d->status)
    blas_ok(d, cublasSetMathMode(d->blas, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION),
            "asking for sums in float32");
  if (!d->status) allocate(d, max_batch);
  if (!d->status) fill_constants(d, params);
  if (d->status) {
    const sluice_status st = d->status;
    *err = d->error;
    cuda_close(d);
    return st;
  }
  *out = d;
  return SLUICE_OK;
}

sluice_status finish(const struct train_device *d, struct sluice_error *err) {
  if (d->status) *err = d->error;
  return d->status;
}

sluice_status cuda_gradient(struct train_device *d, const struct net_batch *b, struct net_result *out,
                            struct sluice_error *err) {
  const struct dims z = dims_of(d, b);
  const struct net_shape *s = d->shape;
  upload(d, b, z.rows);
  embed<<<z.rows, THREADS>>>(d->saved[0].x, d->params + s->embedding, d->tokens, z.D);
  for (int i = 0; i < s->L; i++) layer_forward(d, z, i, i + 1 < s->L ? d->saved[i + 1].x : d->x);
  norm_forward<<<z.rows, THREADS>>>(d->n, d->inv, d->x, d->params + s->final_norm, z.D, s->eps);
  head(d, z, b);
  ok(d, cudaMemsetAsync(d->dx, 0, static_cast<size_t>(z.rows) * z.D * sizeof(float)), "clearing gradients");
  norm_backward(d, z, s->final_norm, d->x, d->inv);
  for (int i = s->L - 1; i >= 0; i--) layer_backward(d, z, i);
  embed_backward<<<s->V, THREADS>>>(d->grad + s->embedding, d->dx, d->order, d->starts, z.D);
  collect(d, b, z.rows, out);
  return finish(d, err);
}

sluice_status cuda_update(struct train_device *d, double lr, int64_t t, double *grad_norm, struct sluice_error *err) {
  double parts[PARTS], square = 0;
  square_parts<<<PARTS, THREADS>>>(d->parts, d->grad, d->shape->size);
  ok(d, cudaMemcpy(parts, d->parts, sizeof parts, cudaMemcpyDeviceToHost), "reading the gradient's norm");
  if (d->status) return finish(d, err);
  for (int i = 0; i < PARTS; i++) square += parts[i];
  *grad_norm = sqrt(square);
  if (!std::isfinite(*grad_norm))
    return sluice_fail(err, SLUICE_INPUT, "step %lld: the gradient is not finite; lower --lr",
                       static_cast<long long>(t));
  const double fix1 = 1.0 - pow(d->beta1, static_cast<double>(t)), fix2 = 1.0 - pow(d->beta2, static_cast<double>(t));
  const struct adam a = {static_cast<float>(d->beta1),
                         static_cast<float>(d->beta2),
                         static_cast<float>(d->eps),
                         static_cast<float>(lr / fix1),
                         static_cast<float>(1.0 / sqrt(fix2)),
                         static_cast<float>(1.0 - lr * d->weight_decay),
                         d->clip > 0 && *grad_norm > d->clip ? static_cast<float>(d->clip / *grad_norm) : 1.0f};
  adamw<<<blocks(d->shape->size), THREADS>>>(d->params, d->grad, d->m, d->v, d->decays, a, d->shape->size);
  lower_params(d);
  ok(d, cudaGetLastError(), "launching the update");
  return finish(d, err);
}

sluice_status cuda_get(struct train_device *d, struct train_state *s, struct sluice_error *err) {
  const size_t bytes = s->size * sizeof(float);
  ok(d, cudaMemcpy(s->params, d->params, bytes, cudaMemcpyDeviceToHost), "reading parameters");
  ok(d, cudaMemcpy(s->m, d->m, bytes, cudaMemcpyDeviceToHost), "reading moments");
  ok(d, cudaMemcpy(s->v, d->v, bytes, cudaMemcpyDeviceToHost), "reading moments");
  return finish(d, err);
}

sluice_status cuda_set(struct train_device *d, const struct train_state *s, struct sluice_error *err) {
  const size_t bytes = s->size * sizeof(float);
  ok(d, cudaMemcpy(d->params, s->params, bytes, cudaMemcpyHostToDevice), "writing parameters");
  ok(d, cudaMemcpy(d->m, s->m, bytes, cudaMemcpyHostToDevice), "writing moments");
  ok(d, cudaMemcpy(d->v, s->v, bytes, cudaMemcpyHostToDevice), "writing moments");
  lower_params(d);
  return finish(d, err);
}

} // namespace

extern "C" {
extern const struct train_backend train_backend_cuda;
const struct train_backend train_backend_cuda = {"cuda",      cuda_open, cuda_close, cuda_gradient,
                                                 cuda_update, cuda_get,  cuda_set};
}
