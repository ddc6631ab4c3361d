/* A model's weights on the device: measured first, then placed in one allocation, so that what does not fit is known, with
 * its arithmetic, before anything is taken. Matrices that are multiplied together lie together. Float types stay as they
 * are; Q8_0 and Q4_0 become int8 with their own scales, exactly; what else GGUF has becomes bf16. */
#include "engine/cuda/inference.cuh"

extern "C" {
#include "engine/cpu/rope.h"
}

#include <stdlib.h>
#include <string.h>

sluice_status cuda_status(cudaError_t e, const char *what, struct sluice_error *err) {
  if (e == cudaSuccess) return SLUICE_OK;
  return sluice_fail(err, e == cudaErrorMemoryAllocation ? SLUICE_NOMEM : SLUICE_INTERNAL, "CUDA, %s: %s", what,
                     cudaGetErrorString(e));
}

sluice_status device_room(size_t bytes, const char *what, struct sluice_error *err) {
  size_t free_bytes = 0, total = 0;
  sluice_status st = cuda_status(cudaMemGetInfo(&free_bytes, &total), "asking for free memory", err);
  if (st || bytes + total / 64 <= free_bytes) return st;
  return sluice_fail(err, SLUICE_NOMEM,
                     "the GPU has no room for %s: %.2f GB are needed and %.2f GB kept in reserve, but of %.2f GB only %.2f "
                     "are free; choose a smaller model, int8 weights or a cache policy with a budget",
                     what, static_cast<double>(bytes) / 1e9, static_cast<double>(total / 64) / 1e9,
                     static_cast<double>(total) / 1e9, static_cast<double>(free_bytes) / 1e9);
}

namespace {

enum { SLAB_BYTES = 64 << 20, MATRICES_TOGETHER = 3 };

/* One walk over the model counts bytes, a second one fills them. */
struct upload {
  struct device_weights *w;
  unsigned char *memory; /* NULL: counting */
  size_t used;
  void *slab_host, *slab_device;
  struct launcher launcher;
  sluice_status status;
  struct sluice_error *err;
};

bool ok(struct upload *u, cudaError_t e) {
  if (!u->status && e) u->status = cuda_status(e, "bringing the weights to the device", u->err);
  return !u->status;
}

size_t kind_bytes(enum matrix_kind k) {
  return k == MATRIX_F32 ? 4 : k == MATRIX_INT8 ? 1 : 2;
}

void *take(struct upload *u, size_t bytes) {
  void *at = u->memory + u->used;
  u->used += (bytes + 255) / 256 * 256;
  return u->memory ? at : NULL;
}

enum matrix_kind kind_of(enum dtype d) {
  switch (d) {
  case DTYPE_F32: return MATRIX_F32;
  case DTYPE_F16: return MATRIX_F16;
  case DTYPE_Q8_0:
  case DTYPE_Q4_0: return MATRIX_INT8;
  default: return MATRIX_BF16;
  }
}

/* How a matrix of the files is kept. All are of one kind, so that products share their kernels; a matrix that is no block
 * format stays out of int8 unless int8 was asked for. */
enum matrix_kind kept_as(const struct upload *u, const struct weight *w) {
  if (u->w->kind != MATRIX_INT8) return u->w->kind;
  return u->w->quantised || kind_of(w->dtype) == MATRIX_INT8 ? MATRIX_INT8 : u->w->low;
}

void put_number(void *to, enum matrix_kind kind, size_t i, float v) {
  if (kind == MATRIX_F32)
    static_cast<float *>(to)[i] = v;
  else if (kind == MATRIX_F16)
    static_cast<__half *>(to)[i] = __float2half_rn(v);
  else
    static_cast<bf16 *>(to)[i] = __float2bfloat16_rn(v);
}

/* Rows [from, from + n) of a weight as floats of `kind`, ld apart, in the host's slab. */
void convert_rows(const struct upload *u, const struct weight *w, int from, int n, int ld, enum matrix_kind kind) {
  float *row = static_cast<float *>(malloc(sizeof(float) * static_cast<size_t>(w->cols)));
  memset(u->slab_host, 0, static_cast<size_t>(n) * ld * kind_bytes(kind));
  for (int r = 0; row && r < n; r++) {
    weight_row(w, from + r, row);
    for (int c = 0; c < w->cols; c++) put_number(u->slab_host, kind, static_cast<size_t>(r) * ld + c, row[c]);
  }
  free(row);
}

/* The same as integers and scales: integers first, then scales. */
void unpack_rows(const struct upload *u, const struct weight *w, int from, int n, int ld) {
  const size_t block = dtype_block_bytes(w->dtype), per_row = dtype_row_bytes(w->dtype, w->cols);
  int8_t *q = static_cast<int8_t *>(u->slab_host);
  __half *scale = reinterpret_cast<__half *>(q + static_cast<size_t>(n) * ld);
  for (int r = 0; r < n; r++)
    for (int g = 0; g < w->cols / GROUP; g++) {
      const unsigned char *b =
          static_cast<const unsigned char *>(w->data) + static_cast<size_t>(from + r) * per_row + g * block;
      int8_t *to = q + static_cast<size_t>(r) * ld + g * GROUP;
      memcpy(&scale[static_cast<size_t>(r) * scale_ld_of(ld) + g], b, 2);
      if (w->dtype == DTYPE_Q8_0) {
        memcpy(to, b + 2, GROUP);
        continue;
      }
      for (int i = 0; i < GROUP / 2; i++) {
        to[i] = static_cast<int8_t>((b[2 + i] & 15) - 8);
        to[i + GROUP / 2] = static_cast<int8_t>((b[2 + i] >> 4) - 8);
      }
    }
}

/* Integers of rows at `row` of a matrix from one weight of a float type, by a kernel. */
void quantise_rows(struct upload *u, const struct weight *w, const struct matrix &m, int row) {
  const bool blocks = dtype_is_quantised(w->dtype);
  const enum matrix_kind kind = blocks ? MATRIX_F32 : kind_of(w->dtype);
  const size_t size = kind_bytes(kind), used = static_cast<size_t>(w->cols) * size;
  const int step = SLAB_BYTES / (m.ld * 4);
  for (int from = 0; from < w->rows && !u->status; from += step) {
    const int n = w->rows - from < step ? w->rows - from : step;
    const size_t at = static_cast<size_t>(row + from) * m.ld, all = static_cast<size_t>(n) * m.ld * size;
    const struct matrix slab = {u->slab_device, NULL, kind, n, m.cols, m.ld, 0};
    if (blocks) {
      convert_rows(u, w, from, n, m.ld, kind);
      ok(u, cudaMemcpy(u->slab_device, u->slab_host, all, cudaMemcpyHostToDevice));
    } else {
      ok(u, cudaMemset(u->slab_device, 0, all));
      ok(u, cudaMemcpy2D(u->slab_device, static_cast<size_t>(m.ld) * size,
                         static_cast<const unsigned char *>(w->data) + static_cast<size_t>(from) * used, used, used,
                         static_cast<size_t>(n), cudaMemcpyHostToDevice));
    }
    ok(u, quantise_launch(u->launcher, slab, static_cast<int8_t *>(const_cast<void *>(m.data)) + at,
                          const_cast<__half *>(m.scale) + static_cast<size_t>(row + from) * m.scale_ld));
    ok(u, cudaDeviceSynchronize());
  }
}

void fill_rows(struct upload *u, const struct weight *w, const struct matrix &m, int row) {
  const size_t size = kind_bytes(m.kind), pitch = static_cast<size_t>(m.ld) * size;
  unsigned char *to = static_cast<unsigned char *>(const_cast<void *>(m.data)) + static_cast<size_t>(row) * pitch;
  if (m.kind != MATRIX_INT8 && kind_of(w->dtype) == m.kind && !dtype_is_quantised(w->dtype)) {
    ok(u, cudaMemcpy2D(to, pitch, w->data, static_cast<size_t>(w->cols) * size, static_cast<size_t>(w->cols) * size,
                       static_cast<size_t>(w->rows), cudaMemcpyHostToDevice));
    return;
  }
  if (m.kind == MATRIX_INT8 && kind_of(w->dtype) != MATRIX_INT8) {
    quantise_rows(u, w, m, row);
    return;
  }
  const int step = SLAB_BYTES / (m.ld * 4);
  for (int from = 0; from < w->rows && !u->status; from += step) {
    const int n = w->rows - from < step ? w->rows - from : step;
    const size_t count = static_cast<size_t>(n) * m.ld;
    if (m.kind == MATRIX_INT8) {
      unpack_rows(u, w, from, n, m.ld);
      ok(u, cudaMemcpy(const_cast<__half *>(m.scale) + static_cast<size_t>(row + from) * m.scale_ld,
                       static_cast<int8_t *>(u->slab_host) + count, static_cast<size_t>(n) * m.scale_ld * 2,
                       cudaMemcpyHostToDevice));
    } else {
      convert_rows(u, w, from, n, m.ld, m.kind);
    }
    ok(u, cudaMemcpy(to + static_cast<size_t>(from) * pitch, u->slab_host, count * size, cudaMemcpyHostToDevice));
  }
}

/* Weights with the same columns, one below the other. */
struct matrix place(struct upload *u, const struct weight *const *parts, int n, bool may_be_int8) {
  struct matrix m = {NULL, NULL, MATRIX_INT8, 0, parts[0]->cols, padded(parts[0]->cols), 0};
  m.scale_ld = scale_ld_of(m.ld);
  for (int i = 0; i < n; i++) {
    m.rows += parts[i]->rows;
    if (!may_be_int8 || kept_as(u, parts[i]) != MATRIX_INT8) m.kind = MATRIX_F32;
  }
  if (m.kind != MATRIX_INT8) m.kind = may_be_int8 ? u->w->low : kind_of(parts[0]->dtype);
  if (!may_be_int8 && m.kind == MATRIX_INT8) m.kind = u->w->low; /* single rows are read from it: no scales */
  const size_t count = static_cast<size_t>(m.rows) * m.ld;
  m.data = take(u, count * kind_bytes(m.kind));
  if (m.kind == MATRIX_INT8) m.scale = static_cast<__half *>(take(u, static_cast<size_t>(m.rows) * m.scale_ld * 2));
  if (!u->memory) return m;
  if (m.ld != m.cols) {
    ok(u, cudaMemset(const_cast<void *>(m.data), 0, count * kind_bytes(m.kind)));
    if (m.scale) ok(u, cudaMemset(const_cast<__half *>(m.scale), 0, static_cast<size_t>(m.rows) * m.scale_ld * 2));
  }
  for (int i = 0, row = 0; i < n; row += parts[i++]->rows) fill_rows(u, parts[i], m, row);
  return m;
}

struct matrix place_one(struct upload *u, const struct weight *w) {
  return place(u, &w, 1, true);
}

/* Vectors one behind the other, zeros up to the padded length; NULL where the first is. */
const float *place_vectors(struct upload *u, const float *const *parts, const int *sizes, int n) {
  if (!parts[0]) return NULL;
  int size = 0;
  for (int i = 0; i < n; i++) size += sizes[i];
  float *to = static_cast<float *>(take(u, sizeof(float) * static_cast<size_t>(padded(size))));
  if (!u->memory) return NULL;
  ok(u, cudaMemset(to, 0, sizeof(float) * static_cast<size_t>(padded(size))));
  for (int i = 0, at = 0; i < n; at += sizes[i++])
    if (parts[i]) ok(u, cudaMemcpy(to + at, parts[i], sizeof(float) * static_cast<size_t>(sizes[i]), cudaMemcpyHostToDevice));
  return to;
}

const float *place_vector(struct upload *u, const float *v, int size) {
  return place_vectors(u, &v, &size, 1);
}

struct norm place_norm(struct upload *u, const float *gain, const float *bias, const struct model_config *c) {
  struct norm n = {};
  n.gain = place_vector(u, gain, c->d_model);
  if (c->norm == NORM_LAYER) n.bias = place_vector(u, bias, c->d_model);
  n.eps = c->norm_eps;
  return n;
}

void place_layer(struct upload *u, const struct model *m, int l) {
  const struct layer_weights *w = &m->layers[l];
  const struct model_config *c = &m->config;
  struct device_layer d = {};
  const struct weight *qkv[] = {&w->wq, &w->wk, &w->wv}, *ffn[] = {&w->w_gate, &w->w_up};
  const float *qkv_bias[] = {w->bq, w->bk, w->bv}, *ffn_bias[] = {w->b_gate, w->b_up};
  const int sizes[] = {w->wq.rows, w->wk.rows, w->wv.rows}, ffn_sizes[] = {c->d_ff, c->d_ff};
  const int plain = c->plain_ffn;
  d.attn_norm = place_norm(u, w->attn_norm, w->attn_norm_bias, c);
  d.ffn_norm = place_norm(u, w->ffn_norm, w->ffn_norm_bias, c);
  d.qkv_bias = place_vectors(u, qkv_bias, sizes, 3);
  d.o_bias = place_vector(u, w->bo, c->d_model);
  d.ffn_bias = place_vectors(u, ffn_bias + plain, ffn_sizes, 2 - plain);
  d.down_bias = place_vector(u, w->b_down, c->d_model);
  d.q_norm = place_vector(u, w->q_norm, c->head_dim);
  d.k_norm = place_vector(u, w->k_norm, c->head_dim);
  d.qkv = place(u, qkv, 3, true);
  d.o = place_one(u, &w->wo);
  d.ffn = place(u, ffn + plain, 2 - plain, true);
  d.down = place_one(u, &w->w_down);
  u->w->layers[l] = d;
}

void place_angles(struct upload *u, const struct model_config *c) {
  const int half = c->head_dim / 2;
  u->w->frequency = static_cast<double *>(take(u, sizeof(double) * static_cast<size_t>(half)));
  u->w->order = static_cast<int *>(take(u, sizeof(int) * 2 * static_cast<size_t>(half)));
  if (!u->memory) return;
  double *frequency = static_cast<double *>(malloc(sizeof *frequency * static_cast<size_t>(half)));
  int *order = static_cast<int *>(malloc(sizeof *order * 2 * static_cast<size_t>(half)));
  if (frequency && order) {
    rope_frequencies(c, frequency);
    ok(u, cudaMemcpy(u->w->frequency, frequency, sizeof *frequency * static_cast<size_t>(half), cudaMemcpyHostToDevice));
    if (rope_head_order(c, order))
      ok(u, cudaMemcpy(u->w->order, order, sizeof *order * 2 * static_cast<size_t>(half), cudaMemcpyHostToDevice));
    else
      u->w->order = NULL;
  } else {
    u->status = sluice_fail(u->err, SLUICE_NOMEM, "out of memory");
  }
  free(frequency), free(order);
}

void walk(struct upload *u, const struct model *m) {
  const struct weight *embedding = &m->embedding;
  u->used = 0;
  u->w->embedding = place(u, &embedding, 1, false);
  const bool same = m->lm_head.data == m->embedding.data && kept_as(u, &m->lm_head) == u->w->embedding.kind;
  u->w->head = same ? u->w->embedding : place_one(u, &m->lm_head);
  u->w->final_norm = place_norm(u, m->final_norm, m->final_norm_bias, &m->config);
  place_angles(u, &m->config);
  for (int l = 0; l < m->config.n_layers && !u->status; l++) place_layer(u, m, l);
}

sluice_status check_form(const struct model *m, const char *form, struct device_weights *w, struct sluice_error *err) {
  const struct model_config *c = &m->config;
  if (form && strcmp(form, "int8") != 0)
    return sluice_fail(err, SLUICE_USAGE, "weights '%.40s': a GPU keeps them as \"int8\", or as the files have them", form);
  if (!attend_width(c->head_dim) || c->head_dim % 2)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "device 'cuda': head_dim is %d; up to 256, even, are supported",
                       c->head_dim);
  w->kind = form ? MATRIX_INT8 : kind_of(m->layers[0].wq.dtype);
  w->quantised = form != NULL;
  w->low = w->kind != MATRIX_INT8 ? w->kind : MATRIX_BF16;
  return SLUICE_OK;
}

void weights_free(struct device_weights *w) {
  if (!w) return;
  if (w->memory) cudaFree(w->memory);
  free(w->layers);
  free(w);
}

sluice_status load(const struct model *m, const char *form, struct device_weights **out, struct sluice_error *err) {
  struct device_weights *w = static_cast<struct device_weights *>(calloc(1, sizeof *w));
  if (w) w->layers = static_cast<struct device_layer *>(calloc(static_cast<size_t>(m->config.n_layers), sizeof *w->layers));
  if (!w || !w->layers) {
    weights_free(w);
    return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  }
  struct upload u = {};
  u.w = w, u.err = err;
  u.launcher.processors = 1;
  u.status = check_form(m, form, w, err);
  if (!u.status) walk(&u, m);
  if (!u.status) u.status = device_room(u.used + SLAB_BYTES, "the model's weights", err);
  w->bytes = u.used;
  if (!u.status) u.status = cuda_status(cudaMalloc(&w->memory, w->bytes), "allocating weights", err);
  u.slab_host = malloc(SLAB_BYTES);
  if (!u.status && !u.slab_host) u.status = sluice_fail(err, SLUICE_NOMEM, "out of memory");
  if (!u.status) ok(&u, cudaMalloc(&u.slab_device, SLAB_BYTES));
  u.memory = static_cast<unsigned char *>(w->memory);
  if (!u.status) walk(&u, m);
  free(u.slab_host);
  cudaFree(u.slab_device);
  if (u.status) {
    weights_free(w);
    return u.status;
  }
  *out = w;
  return SLUICE_OK;
}

void release(void *all) {
  for (struct device_weights *w = static_cast<struct device_weights *>(all), *next; w; w = next) {
    next = w->next;
    weights_free(w);
  }
}

} // namespace

sluice_status weights_on_device(const struct model *m, const char *form, const struct device_weights **out,
                                struct sluice_error *err) {
  struct model *mine = const_cast<struct model *>(m); /* the device's copy is filled in at the first session, as the hash */
  struct device_weights *found = NULL;
  sluice_status st = SLUICE_OK;
  pthread_mutex_lock(&mine->device_lock);
  for (struct device_weights *w = static_cast<struct device_weights *>(mine->device_weights); w && !found; w = w->next)
    if (w->quantised == (form != NULL)) found = w;
  if (!found) {
    st = load(m, form, &found, err);
    if (!st) {
      found->next = static_cast<struct device_weights *>(mine->device_weights);
      mine->device_weights = found;
      mine->device_release = release;
    }
  }
  pthread_mutex_unlock(&mine->device_lock);
  *out = found;
  return st;
}
