#include "engine/cpu/forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/cpu/rope.h"
#include "engine/cpu/workspace.h"

/* ---- dealing work to lanes ----------------------------------------------------------------------------------------
 */

enum { ROWS_STEP = 16 };               /* lanes get whole steps of rows */
static const double SPREAD_FROM = 1e5; /* multiplications below which one lane is faster than handing out a job */

struct spread_job {
  void (*fn)(void *ctx, int lane, int lanes);
  void *ctx;
  int lanes;
};

static void spread_lane(void *ctx, int lane) {
  const struct spread_job *job = ctx;
  job->fn(job->ctx, lane, job->lanes);
}

void forward_spread(struct forward *f, double multiplications, void (*fn)(void *ctx, int lane, int lanes), void *ctx) {
  if (f->lanes == 1 || multiplications < SPREAD_FROM) {
    fn(ctx, 0, 1);
    return;
  }
  struct spread_job job = {fn, ctx, f->lanes};
  team_run(f->team, spread_lane, &job);
}

struct product { /* y (+)= x W^T + bias for tokens [from, n) */
  const struct weight *w;
  const float *bias; /* NULL: none */
  const float *x;
  float *y;
  size_t ldx, ldy;
};

struct product_job {
  struct forward *f;
  struct product p[3];
  int n_products, from, n;
  bool add;
  enum { FFN_NONE, FFN_GATED /* p[0] gate, p[1] up; the gate takes their SwiGLU */, FFN_PLAIN /* p[0] */ } ffn;
};

static void add_bias(const struct product *p, int begin, int end, int from, int n) {
  for (int t = from; p->bias && t < n; t++) {
    float *y = p->y + (size_t)t * p->ldy;
    for (int r = begin; r < end; r++) y[r] += p->bias[r];
  }
}

static void product_lane(void *ctx, int lane, int lanes) {
  const struct product_job *job = ctx;
  const struct kernels *k = job->f->kernels;
  int begin = 0, end = 0;
  for (int i = 0; i < job->n_products; i++) {
    const struct product *p = &job->p[i];
    const int steps = (p->w->rows + ROWS_STEP - 1) / ROWS_STEP;
    begin = (int)((int64_t)steps * lane / lanes) * ROWS_STEP;
    end = (int)((int64_t)steps * (lane + 1) / lanes) * ROWS_STEP;
    const int last = end < p->w->rows ? end : p->w->rows;
    k->matmul(p->w, begin, last, &job->f->operand, p->y + (size_t)job->from * p->ldy, p->ldy, job->add,
              job->f->lane[lane].panel);
    add_bias(p, begin, last, job->from, job->n);
  }
  for (int t = job->from; job->ffn && t < job->n; t++) { /* begin and end are the same for gate and up */
    float *first = job->p[0].y + (size_t)t * job->p[0].ldy + begin;
    if (job->ffn == FFN_GATED)
      k->swiglu(first, job->p[1].y + (size_t)t * job->p[1].ldy + begin, end - begin);
    else
      activate(job->f->model->config.activation, first, end - begin);
  }
}

static void prepare_lane(void *ctx, int lane, int lanes) {
  const struct product_job *job = ctx;
  struct operand *o = &job->f->operand;
  const int begin = (int)((int64_t)o->n_tokens * lane / lanes), end = (int)((int64_t)o->n_tokens * (lane + 1) / lanes);
  for (int i = 0; i < job->n_products; i++) {
    bool done = false;
    for (int j = 0; j < i; j++) done = done || job->p[j].w->dtype == job->p[i].w->dtype;
    if (!done) job->f->kernels->prepare(o, job->p[i].w->dtype, begin, end);
  }
}

/* The products of a job share their activations. */
static void run_products(struct product_job *job) {
  struct operand *o = &job->f->operand;
  double work = 0;
  o->x = job->p[0].x + (size_t)job->from * job->p[0].ldx;
  o->ldx = job->p[0].ldx;
  o->cols = job->p[0].w->cols;
  o->n_tokens = job->n - job->from;
  forward_spread(job->f, 4.0 * o->n_tokens * o->cols, prepare_lane, job);
  for (int i = 0; i < job->n_products; i++) work += (double)job->p[i].w->rows * job->p[i].w->cols;
  forward_spread(job->f, work * (job->n - job->from), product_lane, job);
}

/* ---- one layer ----------------------------------------------------------------------------------------------------
 */

static void normalise(struct forward *f, const float *gain, const float *bias, int from, int n) {
  const struct model_config *c = &f->model->config;
  for (int t = from; t < n; t++) {
    const float *x = f->x + (size_t)t * f->d_width;
    float *out = f->normed + (size_t)t * f->d_width;
    if (c->norm == NORM_LAYER)
      layer_norm(x, gain, bias, c->norm_eps, c->d_model, out);
    else
      f->kernels->rms_norm(x, gain, c->norm_eps, c->d_model, out);
  }
}

/* What queries and keys go through between their projection and their rotation, which pairs i with i + head_dim/2. */
static void prepare_heads(struct forward *f, float *rows, size_t width, int n_heads, const float *gain, int from,
                          int n) {
  const struct model_config *c = &f->model->config;
  if (!gain && !f->head_order) return;
  for (int t = from; t < n; t++)
    for (int h = 0; h < n_heads; h++) {
      float *x = rows + (size_t)t * width + h * c->head_dim;
      if (gain) head_norm(x, gain, c->norm_eps, c->head_dim);
      if (f->head_order) head_reorder(x, f->head_order, c->head_dim, f->lane[0].scores); /* free until attention */
    }
}

/* Keys go transposed into their block, rotated when they keep their true position. */
static void store_keys_values(struct forward *f, struct kv_store *s, const struct forward_plan *plan, int layer) {
  const int head_dim = s->head_dim;
  float *turned = f->lane[0].scores; /* free until attention starts */
  for (int t = 0; t < plan->n; t++) {
    const size_t block = plan->slot[t] / SLOT_BLOCK * s->block_floats, lane = plan->slot[t] % SLOT_BLOCK;
    for (int h = 0; h < s->n_kv_heads; h++) {
      const float *k = f->k + (size_t)t * f->kv_width + h * head_dim,
                  *v = f->v + (size_t)t * f->kv_width + h * head_dim;
      if (plan->form == KEYS_AT_TRUE_POSITION) {
        f->kernels->rotate(k, f->k_cosine + t * f->half, f->k_sine + t * f->half, f->half, turned);
        k = turned;
      }
      float *to = kv_keys(s, layer, h) + block + lane;
      for (int d = 0; d < head_dim; d++) to[d * SLOT_BLOCK] = k[d];
      memcpy(kv_values(s, layer, h) + block + lane * s->v_width, v, (size_t)head_dim * sizeof *v);
    }
  }
}

/* Queries of tokens from `from` on, keys and values of all. */
static void project_heads(struct forward *f, const struct layer_weights *w, int from, int n) {
  const struct model_config *c = &f->model->config;
  struct product_job qkv = {.f = f, .n = n, .n_products = 2};
  const struct product q = {&w->wq, w->bq, f->normed, f->q, f->d_width, f->q_width};
  qkv.p[0] = (struct product){&w->wk, w->bk, f->normed, f->k, f->d_width, f->kv_width};
  qkv.p[1] = (struct product){&w->wv, w->bv, f->normed, f->v, f->d_width, f->kv_width};
  if (from == 0) qkv.p[qkv.n_products++] = q;
  run_products(&qkv);
  if (from > 0) run_products(&(struct product_job){.f = f, .p[0] = q, .from = from, .n = n, .n_products = 1});
  prepare_heads(f, f->k, f->kv_width, c->n_kv_heads, w->k_norm, 0, n);
  prepare_heads(f, f->q, f->q_width, c->n_heads, w->q_norm, from, n);
}

/* x += FFN(normed) */
static void run_ffn(struct forward *f, const struct layer_weights *w, int from, int n) {
  const struct product up = {&w->w_up, w->b_up, f->normed, f->up, f->d_width, f->ff_width};
  struct product_job in = {.f = f, .from = from, .n = n};
  if (f->model->config.plain_ffn) {
    in.ffn = FFN_PLAIN;
  } else {
    in.p[in.n_products++] = (struct product){&w->w_gate, w->b_gate, f->normed, f->gate, f->d_width, f->ff_width};
    in.ffn = FFN_GATED;
  }
  in.p[in.n_products++] = up;
  run_products(&in);
  struct product_job down = {.f = f, .from = from, .n = n, .n_products = 1, .add = true};
  down.p[0] = (struct product){&w->w_down, w->b_down, in.p[0].y, f->x, f->ff_width, f->d_width};
  run_products(&down);
}

/* The workspace as the tokens see it whose rows begin at `row`. */
static struct forward rows_from(const struct forward *f, int row) {
  struct forward at = *f;
  const size_t r = (size_t)row, half = (size_t)f->half;
  at.q += r * f->q_width, at.mixed += r * f->q_width, at.q_rotated += r * f->q_width;
  at.k += r * f->kv_width, at.v += r * f->kv_width;
  at.q_cosine += r * half, at.q_sine += r * half, at.k_cosine += r * half, at.k_sine += r * half;
  return at;
}

static void forget_epochs(struct forward *f) {
  for (int l = 0; l < f->lanes; l++) f->lane[l].epoch = f->lane[l].dead_epoch = -1;
}

/* Each store's tokens, which lie behind one another in the rows, attend to that store alone. */
static void attend_stores(struct forward *f, const struct backend_job *jobs, size_t n_jobs, int layer, int from) {
  for (size_t i = 0, row = 0; i < n_jobs; row += (size_t)jobs[i++].plan->n) {
    struct forward at = rows_from(f, (int)row);
    if (n_jobs > 1) forget_epochs(f); /* of the store before */
    store_keys_values(&at, jobs[i].store, jobs[i].plan, layer);
    forward_attend(&at, jobs[i].store, jobs[i].plan, layer, from);
  }
}

/* Tokens before `from` only leave their keys and values here: in the last layer nobody asks for more of them. */
static void run_layer(struct forward *f, const struct backend_job *jobs, size_t n_jobs, int layer, int from, int n) {
  const struct layer_weights *w = &f->model->layers[layer];
  const bool parallel = f->model->config.parallel_residual;
  normalise(f, w->attn_norm, w->attn_norm_bias, 0, n);
  project_heads(f, w, from, n);
  attend_stores(f, jobs, n_jobs, layer, from);
  if (parallel) normalise(f, w->ffn_norm, w->ffn_norm_bias, from, n); /* before x takes attention's output */
  struct product_job o = {.f = f, .from = from, .n = n, .n_products = 1, .add = true};
  o.p[0] = (struct product){&w->wo, w->bo, f->mixed, f->x, f->q_width, f->d_width};
  run_products(&o);
  if (!parallel) normalise(f, w->ffn_norm, w->ffn_norm_bias, from, n);
  run_ffn(f, w, from, n);
  if (f->watch) f->watch(f->watch_ctx, layer, from, n - from, f->x + (size_t)from * f->d_width, f->d_width);
}

/* ---- one chunk ----------------------------------------------------------------------------------------------------
 */

static void prepare_angles(struct forward *f, const struct forward_plan *plan) {
  const struct model_config *c = &f->model->config;
  const float scale = 1.0f / sqrtf((float)(2 * f->half));
  const unsigned use = plan->n_segments > 1 ? ROPE_BY_DIFFERENCE : 0;
  for (int t = 0; t < plan->n; t++) {
    if (plan->form == KEYS_AT_TRUE_POSITION)
      rope_turn(c, f->frequency, plan->position[t], 1, use, f->k_cosine + t * f->half, f->k_sine + t * f->half);
    for (int part = 0; part < plan->n_segments; part++) {
      const int at = (part * CPU_CHUNK + t) * f->half;
      rope_turn(c, f->frequency, plan->segments[t][part].query_position, scale, use | ROPE_QUERY, f->q_cosine + at,
                f->q_sine + at);
    }
  }
}

void forward_logits(struct forward *f, const float *hidden, int n_rows, float *logits) {
  struct product_job head = {.f = f, .n = n_rows, .n_products = 1};
  head.p[0] = (struct product){&f->model->lm_head, NULL, hidden, logits, f->d_width, (size_t)f->model->config.vocab};
  run_products(&head);
}

/* The rows of all jobs through the network; the last layer leaves out rows before `from`. */
static void run_rows(struct forward *f, const struct backend_job *jobs, size_t n_jobs, int from) {
  const struct model *m = f->model;
  int n = 0;
  forget_epochs(f);
  for (size_t i = 0; i < n_jobs; n += jobs[i++].plan->n) {
    struct forward at = rows_from(f, n);
    prepare_angles(&at, jobs[i].plan);
    for (int t = 0; t < jobs[i].plan->n; t++)
      weight_row(&m->embedding, jobs[i].ids[t], f->x + (size_t)(n + t) * f->d_width);
  }
  if (f->watch) f->watch(f->watch_ctx, -1, 0, n, f->x, f->d_width);
  for (int layer = 0; layer < m->config.n_layers; layer++)
    run_layer(f, jobs, n_jobs, layer, layer + 1 < m->config.n_layers ? 0 : from, n);
  normalise(f, m->final_norm, m->final_norm_bias, from, n);
}

void forward_run(struct forward *f, const struct backend_job *job) {
  const struct backend_result *want = &job->want;
  const int n = job->plan->n, from = want->n_rows ? n - want->n_rows : n - 1;
  run_rows(f, job, 1, from);
  memcpy(want->hidden, f->normed + (size_t)(n - 1) * f->d_width, f->d_width * sizeof *want->hidden);
  if (want->n_rows) forward_logits(f, f->normed + (size_t)from * f->d_width, want->n_rows, want->logits);
}

sluice_status forward_run_batch(struct forward *f, const struct backend_job *jobs, size_t n_jobs,
                                struct sluice_error *err) {
  const size_t vocab = (size_t)f->model->config.vocab;
  size_t n = 0, row = 0;
  bool asked = false;
  for (size_t i = 0; i < n_jobs; n += (size_t)jobs[i++].plan->n) asked = asked || jobs[i].want.n_rows;
  float *logits = asked ? sluice_alloc_aligned(n * vocab * sizeof *logits) : NULL;
  if (asked && !logits) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu rows of logits", n);
  run_rows(f, jobs, n_jobs, 0);
  if (asked) forward_logits(f, f->normed, (int)n, logits);
  for (size_t i = 0; i < n_jobs; i++) {
    const struct backend_result *want = &jobs[i].want;
    const size_t rows = (size_t)want->n_rows;
    row += (size_t)jobs[i].plan->n;
    memcpy(want->hidden, f->normed + (row - 1) * f->d_width, f->d_width * sizeof *want->hidden);
    if (rows) memcpy(want->logits, logits + (row - rows) * vocab, rows * vocab * sizeof *logits);
  }
  free(logits);
  return SLUICE_OK;
}

/* ---- working memory -----------------------------------------------------------------------------------------------
 */

static float *rows_of(size_t width) {
  return sluice_alloc_aligned(CPU_CHUNK * width * sizeof(float));
}

static bool alloc_rows(struct forward *f) {
  const size_t angles = (size_t)f->half * CPU_CHUNK * sizeof(float);
  f->x = rows_of(f->d_width), f->normed = rows_of(f->d_width);
  f->q = rows_of(f->q_width), f->mixed = rows_of(f->q_width), f->q_rotated = rows_of(f->q_width * SEGMENTS_MAX);
  f->k = rows_of(f->kv_width), f->v = rows_of(f->kv_width);
  f->gate = rows_of(f->ff_width), f->up = rows_of(f->ff_width);
  f->q_cosine = sluice_alloc_aligned(angles * SEGMENTS_MAX), f->q_sine = sluice_alloc_aligned(angles * SEGMENTS_MAX);
  f->k_cosine = sluice_alloc_aligned(angles), f->k_sine = sluice_alloc_aligned(angles);
  f->frequency = calloc((size_t)f->half, sizeof *f->frequency);
  f->head_order = calloc(2 * (size_t)f->half, sizeof *f->head_order);
  return f->x && f->normed && f->q && f->mixed && f->q_rotated && f->k && f->v && f->gate && f->up && f->q_cosine &&
         f->q_sine && f->k_cosine && f->k_sine && f->frequency && f->head_order;
}

/* The most columns that a weight has. */
static int widest(const struct model_config *c) {
  const int q = c->n_heads * c->head_dim, most = c->d_model > c->d_ff ? c->d_model : c->d_ff;
  return most > q ? most : q;
}

static bool alloc_lane(const struct forward *f, struct lane_space *l) {
  const size_t queries = (size_t)TILE_TOKENS_MAX * (size_t)f->group;
  bool ok = true;
  for (int p = 0; p < SEGMENTS_MAX; p++) {
    l->part[p] = malloc(queries * 2 * (size_t)f->half * sizeof(float));
    ok = ok && l->part[p];
  }
  l->lse = malloc(SEGMENTS_MAX * queries * sizeof *l->lse);
  l->q = malloc(queries * sizeof *l->q);
  l->out = malloc(queries * sizeof *l->out);
  l->part_out = malloc(queries * sizeof *l->part_out);
  l->time = malloc(queries * sizeof *l->time);
  l->panel = sluice_alloc_aligned(panel_floats(widest(&f->model->config)) * sizeof *l->panel);
  return ok && l->panel && l->lse && l->q && l->out && l->part_out && l->time;
}

sluice_status forward_open(const struct model *m, const struct kernels *k, int threads, struct forward **out,
                           struct sluice_error *err) {
  const struct model_config *c = &m->config;
  struct forward *f = calloc(1, sizeof *f);
  if (!f) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  f->shares = 1;
  f->model = m;
  f->kernels = k;
  f->half = c->head_dim / 2;
  f->group = c->n_heads / c->n_kv_heads;
  f->d_width = kernel_padded((size_t)c->d_model);
  f->q_width = kernel_padded((size_t)c->n_heads * (size_t)c->head_dim);
  f->kv_width = kernel_padded((size_t)c->n_kv_heads * (size_t)c->head_dim);
  f->ff_width = kernel_padded((size_t)c->d_ff);
  sluice_status st = team_start(threads < 1 ? 1 : threads, &f->team, err);
  f->lanes = st ? 0 : team_size(f->team);
  f->lane = calloc((size_t)(f->lanes ? f->lanes : 1), sizeof *f->lane);
  if (!st) st = operand_open(&f->operand, widest(c), CPU_CHUNK, err);
  bool ok = !st && f->lane && alloc_rows(f);
  for (int l = 0; ok && l < f->lanes; l++) ok = alloc_lane(f, &f->lane[l]);
  if (!st && !ok) st = sluice_fail(err, SLUICE_NOMEM, "out of memory: no working memory for the model");
  if (st) {
    forward_close(f);
    return st;
  }
  rope_frequencies(c, f->frequency);
  if (!rope_head_order(c, f->head_order)) {
    free(f->head_order);
    f->head_order = NULL;
  }
  *out = f;
  return SLUICE_OK;
}

void forward_watch(struct forward *f, layer_watch_fn fn, void *ctx) {
  f->watch = fn;
  f->watch_ctx = ctx;
}

struct forward *forward_share(struct forward *f) {
  f->shares++;
  return f;
}

void forward_close(struct forward *f) {
  if (!f || --f->shares > 0) return;
  float *rows[] = {f->x,  f->normed,   f->q,      f->mixed,    f->q_rotated, f->k,          f->v,       f->gate,
                   f->up, f->q_cosine, f->q_sine, f->k_cosine, f->k_sine,    f->row_cosine, f->row_sine};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) free(rows[i]);
  for (int i = 0; f->lane && i < f->lanes; i++) {
    struct lane_space *l = &f->lane[i];
    for (int p = 0; p < SEGMENTS_MAX; p++) free(l->part[p]);
    free(l->scores), free(l->cosine), free(l->sine), free(l->keys), free(l->dead);
    free(l->lse), free(l->q), free(l->out), free(l->part_out), free(l->time), free(l->panel);
  }
  free(f->lane);
  operand_free(&f->operand);
  free(f->frequency);
  free(f->head_order);
  if (f->team) team_stop(f->team);
  free(f);
}

const struct kernels *forward_kernels(const struct forward *f) {
  return f->kernels;
}
const struct model *forward_model(const struct forward *f) {
  return f->model;
}
size_t forward_width(const struct forward *f) {
  return f->d_width;
}

static bool replace(float **p, size_t floats) {
  free(*p);
  return (*p = sluice_alloc_aligned(floats * sizeof(float))) != NULL;
}

sluice_status forward_reserve(struct forward *f, uint32_t slots, enum key_form form, struct sluice_error *err) {
  const bool keys = form == KEYS_AT_CACHE_POSITION;
  if (slots <= f->slots && (!keys || f->keys_reserved)) return SLUICE_OK;
  if (slots < f->slots) slots = f->slots;
  const size_t plane = (size_t)slots * (size_t)f->half;
  const size_t scores = (size_t)slots * ATTENTION_TILE + 2 * (size_t)f->half;
  bool ok = true;
  f->slots = 0; /* what is half replaced serves nobody */
  for (int i = 0; i < f->lanes; i++) {
    struct lane_space *l = &f->lane[i];
    ok = ok && replace(&l->scores, scores);
    if (ok && f->model->config.window) {
      free(l->dead);
      l->dead = malloc(slots * sizeof *l->dead);
      ok = l->dead != NULL;
    }
    if (keys) ok = ok && replace(&l->cosine, plane) && replace(&l->sine, plane) && replace(&l->keys, 2 * plane);
  }
  if (keys) {
    ok = ok && replace(&f->row_cosine, plane) && replace(&f->row_sine, plane);
    for (uint32_t i = 0; ok && i < slots; i++)
      rope_turn(&f->model->config, f->frequency, i, 1, 0, f->row_cosine + (size_t)i * (size_t)f->half,
                f->row_sine + (size_t)i * (size_t)f->half);
  }
  f->keys_reserved = ok && keys;
  if (!ok) return sluice_fail(err, SLUICE_NOMEM, "out of memory: no room to attend %u tokens", slots);
  f->slots = slots;
  return SLUICE_OK;
}
