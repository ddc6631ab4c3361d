/* The CUDA back end: engine/backend.h's table. Opens and closes, and turns a plan of a session into what a step's
 * kernels read. */
#include "engine/cuda/cuda_backend.cuh"

extern "C" {
#include "engine/cpu/rope.h"
}

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace {

struct cuda_backend *of(struct backend *b) {
  return reinterpret_cast<struct cuda_backend *>(b);
}
const struct cuda_backend *of(const struct backend *b) {
  return reinterpret_cast<const struct cuda_backend *>(b);
}

/* ---- opening ---- */

void close_cuda(struct backend *base) {
  struct cuda_backend *b = of(base);
  if (b->launcher.stream) cudaStreamSynchronize(b->launcher.stream);
  for (int i = 0; i < GRAPHS; i++)
    if (b->graph[i]) cudaGraphExecDestroy(b->graph[i]);
  for (int i = 0; i < BATCH_GRAPHS; i++)
    if (b->batches[i].graph) cudaGraphExecDestroy(b->batches[i].graph);
  if (b->blas) cublasDestroy(b->blas);
  if (b->launcher.stream) cudaStreamDestroy(b->launcher.stream);
  token_close(b);
  cudaFree(b->owned);
  cudaFree(b->row_angles);
  cudaFree(b->kept_keys);
  cudaFreeHost(b->index_host);
  cudaFreeHost(b->head_host);
  cudaFreeHost(b->changes_host);
  cudaFreeHost(b->logits_host);
  cudaFreeHost(b->hidden_host);
  cudaFreeHost(b->states_host);
  cudaFreeHost(b->drawn_host);
  cudaFreeHost(b->draws_host);
  cudaFreeHost(b->drawn_batch_host);
  free(b->watch_rows);
  free(b);
}

/* Places behind one another; NULL memory: counts. */
struct placer {
  unsigned char *memory;
  size_t used;
};
template <class T> void place(struct placer *p, T **to, size_t bytes) {
  *to = reinterpret_cast<T *>(p->memory + p->used);
  p->used += (bytes + 255) / 256 * 256;
}

void place_all(struct cuda_backend *b, struct placer *p) {
  const struct model_config &c = b->base.model->config;
  const struct device_layer &w = b->w->layers[0];
  const size_t rows = ROWS_MAX, low = b->kv.element, ld = static_cast<size_t>(padded(c.d_model));
  const size_t group = static_cast<size_t>(c.n_heads / c.n_kv_heads), places = 4 * group * b->launcher.processors;
  place(p, &b->head, sizeof *b->head + rows * sizeof b->head->items[0]);
  place(p, &b->changes, 2 * rows * sizeof *b->changes);
  place(p, &b->x, rows * ld * sizeof(float));
  place(p, &b->normed, rows * ld * low);
  place(p, &b->qkv, rows * w.qkv.rows * low);
  place(p, &b->mixed, rows * w.o.ld * low);
  place(p, &b->middle, rows * w.ffn.rows * low);
  place(p, &b->act, rows * w.down.ld * low);
  place(p, &b->turned, rows * SEGMENTS_MAX * c.n_heads * b->kv.width * low);
  place(p, &b->v_qkv, sizeof(float) * padded(w.qkv.rows));
  place(p, &b->v_mixed, sizeof(float) * w.o.ld);
  place(p, &b->v_act, sizeof(float) * w.down.ld);
  place(p, &b->angles, rows * (SEGMENTS_MAX + 1) * (c.head_dim / 2) * sizeof(float2));
  place(p, &b->part, places * (b->kv.width + 2) * sizeof(float));
  place(p, &b->arrived, places * sizeof(unsigned));
  place(p, &b->logits, sizeof(float) * LOGIT_ROWS * c.vocab);
  place(p, &b->hidden, sizeof(float) * ld);
  place(p, &b->drawn, sizeof *b->drawn);
  place(p, &b->states, sizeof(float) * LOGIT_ROWS * ld);
  place(p, &b->draws, DRAW_ROWS * sizeof *b->draws);
  place(p, &b->drawn_batch, DRAW_ROWS * sizeof *b->drawn_batch);
  place(p, &b->draw_scratch, draw_scratch_bytes());
  place(p, &b->blas_space, static_cast<size_t>(BLAS_BYTES));
  place(p, &b->expanded, b->w->kind == MATRIX_INT8 ? 2 * static_cast<size_t>(EXPAND_ELEMENTS) : 0);
}

sluice_status take_memory(struct cuda_backend *b, struct sluice_error *err) {
  const struct model_config &c = b->base.model->config;
  struct placer count = {NULL, 0};
  place_all(b, &count);
  sluice_status st = device_room(count.used, "a session's working memory", err);
  if (!st) st = cuda_status(cudaMalloc(&b->owned, count.used), "allocating working memory", err);
  if (st) return st;
  struct placer fill = {static_cast<unsigned char *>(b->owned), 0};
  place_all(b, &fill);
  cudaError_t e = cudaMemset(b->owned, 0, count.used); /* padding is zero and stays zero */
  if (!e) e = cudaMallocHost(&b->head_host, sizeof *b->head + ROWS_MAX * sizeof b->head->items[0]);
  if (!e) e = cudaMallocHost(&b->changes_host, 2 * ROWS_MAX * sizeof *b->changes);
  if (!e) e = cudaMallocHost(&b->logits_host, sizeof(float) * static_cast<size_t>(c.vocab));
  if (!e) e = cudaMallocHost(&b->hidden_host, sizeof(float) * static_cast<size_t>(padded(c.d_model)));
  if (!e) e = cudaMallocHost(&b->drawn_host, sizeof *b->drawn_host);
  if (!e) e = cudaMallocHost(&b->draws_host, DRAW_ROWS * sizeof *b->draws_host);
  if (!e) e = cudaMallocHost(&b->drawn_batch_host, DRAW_ROWS * sizeof *b->drawn_batch_host);
  if (!e) e = cudaMallocHost(&b->states_host, sizeof(float) * LOGIT_ROWS * static_cast<size_t>(padded(c.d_model)));
  return cuda_status(e, "allocating working memory", err);
}

sluice_status describe(struct cuda_backend *b, struct sluice_error *err) {
  struct cudaDeviceProp p;
  int n = 0, version = 0;
  cudaError_t e = cudaGetDeviceCount(&n);
  if (e || n < 1)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "device 'cuda': no GPU can be used (%s)",
                       e ? cudaGetErrorString(e) : "the driver names none");
  e = cudaGetDeviceProperties(&p, 0);
  if (e) return cuda_status(e, "asking the device", err);
  if (p.major < 8)
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "device 'cuda': %s has compute capability %d.%d; 8.0 and later are supported", p.name, p.major,
                       p.minor);
  cublasGetVersion(b->blas, &version);
  b->launcher.processors = p.multiProcessorCount;
  const char *plain = getenv("SLUICE_CUDA_PLAIN");
  b->stepwise = plain != NULL;
  b->plain = plain && strcmp(plain, "graphs") != 0;
  b->launcher.overlap = p.major >= 9 && !b->plain;
  b->launcher.slots = 4;
  b->launcher.blocks_each = 2;
  /* Shares of attention go by the number of multiprocessors, and with them the order of sums. */
  snprintf(b->kernel, sizeof b->kernel, "sm_%d%d-%d-cublas%d%s%s", p.major, p.minor, p.multiProcessorCount, version,
           b->w && b->w->quantised ? "-int8" : "", b->stepwise ? "-steps" : "");
  return SLUICE_OK;
}

sluice_status open_parts(struct cuda_backend *b, const struct model *m, const struct backend_options *o,
                         struct sluice_error *err) {
  const struct model_config &c = m->config;
  sluice_status st = describe(b, err); /* before anything is taken */
  if (!st) st = weights_on_device(m, o->weights, &b->w, err);
  if (st) return st;
  b->kv.n_layers = c.n_layers, b->kv.n_kv_heads = c.n_kv_heads, b->kv.head_dim = c.head_dim;
  b->kv.width = attend_width(c.head_dim);
  b->score_scale = rope_score_factor(&c) / sqrtf(static_cast<float>(c.head_dim));
  b->kv.element = b->w->low == MATRIX_F32 ? 4 : 2;
  b->kv.block_bytes = kv_offset(b->kv, c.n_layers, 0, 0);
  kv_place_fill(&b->place, &b->base, b->kv.element);
  st = take_memory(b, err);
  if (!st)
    st = cuda_status(cudaStreamCreateWithFlags(&b->launcher.stream, cudaStreamNonBlocking), "making a stream", err);
  if (!st && (cublasCreate(&b->blas) || cublasSetStream(b->blas, b->launcher.stream) ||
              cublasSetWorkspace(b->blas, b->blas_space, BLAS_BYTES)))
    st = sluice_fail(err, SLUICE_INTERNAL, "cuBLAS cannot be started");
  b->token_tag = 2; /* the embedding's is one less, and nothing has 0 */
  if (!st) st = token_open(b, err);
  return st ? st : describe(b, err);
}

sluice_status open_cuda(const struct model *m, const struct backend_options *o, struct backend **out,
                        struct sluice_error *err) {
  struct cuda_backend *b = static_cast<struct cuda_backend *>(calloc(1, sizeof *b));
  if (!b) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  b->base.model = m;
  sluice_status st = open_parts(b, m, o, err);
  if (!st && o->kernel && strcmp(o->kernel, b->kernel) != 0)
    st = sluice_fail(err, SLUICE_USAGE, "kernel '%.40s': this GPU has one set of kernels, %s; leave it out", o->kernel,
                     b->kernel);
  if (st) {
    close_cuda(&b->base);
    return st;
  }
  *out = &b->base;
  return SLUICE_OK;
}

/* ---- small answers ---- */

const char *kernel(const struct backend *b) {
  return of(b)->kernel;
}

size_t width(const struct backend *b) {
  return static_cast<size_t>(padded(b->model->config.d_model));
}

const struct kv_place *place_of(struct backend *b) {
  return &of(b)->place;
}

void watch(struct backend *base, layer_watch_fn fn, void *ctx) {
  struct cuda_backend *b = of(base);
  if (fn && !b->watch_rows) b->watch_rows = static_cast<float *>(malloc(sizeof(float) * ROWS_MAX * width(base)));
  b->watch = b->watch_rows ? fn : NULL;
  b->watch_ctx = ctx;
}

/* Only policies whose keys lie unrotated need more than there is. */
sluice_status reserve(struct backend *base, uint32_t slots, enum key_form form, struct sluice_error *err) {
  struct cuda_backend *b = of(base);
  if (form == KEYS_AT_TRUE_POSITION || slots <= b->slots) return SLUICE_OK;
  const size_t half = static_cast<size_t>(b->kv.head_dim / 2), angles = slots * half * sizeof(float2);
  const size_t keys = static_cast<size_t>(slots) * b->kv.n_kv_heads * b->kv.width * b->kv.element;
  sluice_status st = device_room(angles + keys, "the rotated keys of a session", err);
  if (st) return st;
  cudaStreamSynchronize(b->launcher.stream);
  cudaFree(b->row_angles), cudaFree(b->kept_keys), cudaFreeHost(b->index_host);
  b->row_angles = NULL, b->kept_keys = NULL, b->index_host = NULL;
  b->slots = 0;
  cudaError_t e = cudaMalloc(&b->row_angles, angles);
  if (!e) e = cudaMalloc(&b->kept_keys, keys);
  if (!e) e = cudaMemset(b->kept_keys, 0, keys);
  if (!e) e = cudaMallocHost(&b->index_host, static_cast<size_t>(KV_CHUNK) * slots * sizeof(uint32_t));
  if (!e) e = row_angles_launch(b->launcher, b->w->frequency, static_cast<int>(half), 0, slots, b->row_angles);
  if (!e) e = cudaStreamSynchronize(b->launcher.stream);
  if (!e) b->slots = slots;
  return cuda_status(e, "allocating rotated keys", err);
}

/* ---- what a step is ---- */

/* Cache positions of every slot in every epoch of the plan, to the device. */
cudaError_t bring_index(struct cuda_backend *b, const struct kv_store *s, const struct forward_plan *plan) {
  struct kv_memory *m = static_cast<struct kv_memory *>(s->memory);
  const int epochs = plan->epoch[plan->n - 1] + 1;
  if (!m->index) {
    cudaError_t e = cudaMalloc(&m->index, static_cast<size_t>(KV_CHUNK) * m->slots * sizeof *m->index);
    if (e) return e;
  }
  for (int e = 0; e < epochs; e++)
    for (uint32_t i = 0; i < plan->n_kept[e]; i++)
      b->index_host[static_cast<size_t>(e) * b->slots + plan->kept[e][i]] = i;
  return cudaMemcpy2DAsync(m->index, m->slots * sizeof(uint32_t), b->index_host, b->slots * sizeof(uint32_t),
                           s->capacity * sizeof(uint32_t), static_cast<size_t>(epochs), cudaMemcpyHostToDevice,
                           b->launcher.stream);
}

void fill_item(struct query_item *q, const struct kv_store *s, const struct forward_plan *plan, int t, int32_t id) {
  const struct kv_memory *m = static_cast<const struct kv_memory *>(s->memory);
  memset(q, 0, sizeof *q);
  q->kv = m->data, q->born = m->born, q->dead = m->dead, q->at = m->at;
  if (plan->form == KEYS_AT_CACHE_POSITION) q->index = m->index + static_cast<size_t>(plan->epoch[t]) * m->slots;
  q->position = plan->position[t];
  for (int i = 0; i < plan->n_segments; i++) {
    q->query_position[i] = plan->segments[t][i].query_position;
    q->first[i] = plan->segments[t][i].first_slot, q->end[i] = plan->segments[t][i].end_slot;
  }
  q->slot = plan->slot[t];
  q->time = static_cast<uint32_t>(s->chunk) + static_cast<uint32_t>(t);
  q->id = id;
}

/* The slots that came and went in the running chunk; returns how many. */
int fill_changes(struct slot_change *c, const struct kv_store *s) {
  const struct kv_memory *m = static_cast<const struct kv_memory *>(s->memory);
  const uint32_t chunk = static_cast<uint32_t>(s->chunk);
  for (uint32_t i = 0; i < s->n_changed; i++) {
    const uint32_t slot = s->changed[i];
    const int32_t dead = s->dead[slot];
    c[i] = {m->born, m->dead, m->at, s->position[slot], slot, 0, dead == KV_ALWAYS ? UINT32_MAX : chunk + dead, 0};
    /* A slot that was there before the chunk was born at 0 as far as the store still knows. */
    c[i].born_at = s->born[slot] ? chunk + static_cast<uint32_t>(s->born[slot]) : 0;
  }
  return static_cast<int>(s->n_changed);
}

uint32_t slots_seen(const struct forward_plan *plan) {
  uint32_t most = 0;
  for (int t = 0; t < plan->n; t++) {
    uint32_t all = 0;
    for (int i = 0; i < plan->n_segments; i++) all += plan->segments[t][i].end_slot - plan->segments[t][i].first_slot;
    if (all > most) most = all;
  }
  return most;
}

sluice_status run_one(struct cuda_backend *b, struct kv_store *s, const struct forward_plan *plan, int32_t id,
                      const struct backend_result *want, struct sluice_error *err) {
  const int n = fill_changes(b->head_host->changes, s);
  const uint32_t slots = slots_seen(plan);
  if (n < STEP_CHANGES) b->head_host->changes[1] = b->head_host->changes[0];
  fill_item(b->head_host->items, s, plan, 0, id);
  if (want->draw) b->head_host->draw = *want->draw;
  const enum step_kind kind = want->n_rows                  ? STEP_LOGITS
                              : !want->draw                 ? STEP_HIDDEN
                              : want->draw->temperature > 0 ? STEP_BY_CHANCE
                                                            : STEP_GREEDY;
  cudaError_t e = b->token_kernel && !b->watch
                      ? token_step(b, plan->n_segments, slots, kind)
                      : step_decode(b, plan->n_segments, attend_splits(b->launcher, slots, 1, b->kv.n_kv_heads), kind);
  if (!e) e = cudaStreamSynchronize(b->launcher.stream);
  if (e) return cuda_status(e, "a decode step", err);
  memcpy(want->hidden, b->hidden_host, sizeof(float) * width(&b->base));
  if (want->draw) *want->drawn = *b->drawn_host;
  if (want->n_rows)
    memcpy(want->logits, b->logits_host, sizeof(float) * static_cast<size_t>(b->base.model->config.vocab));
  return SLUICE_OK;
}

/* The last n_rows of n rows of x as logits, and the newest one's hidden state, to the host. */
cudaError_t bring_results(struct cuda_backend *b, int n, const struct backend_result *want) {
  const size_t vocab = static_cast<size_t>(b->base.model->config.vocab);
  cudaError_t e = step_hidden(b, n - 1, 1, b->hidden);
  for (int done = 0; !e && done < want->n_rows;) {
    const int some = want->n_rows - done < LOGIT_ROWS ? want->n_rows - done : LOGIT_ROWS;
    e = step_logits(b, n - want->n_rows + done, some);
    if (!e)
      e = cudaMemcpyAsync(want->logits + done * vocab, b->logits, sizeof(float) * vocab * some, cudaMemcpyDeviceToHost,
                          b->launcher.stream);
    done += some;
  }
  if (!e && want->draw) {
    e = cudaMemcpyAsync(&b->head->draw, want->draw, sizeof *want->draw, cudaMemcpyHostToDevice, b->launcher.stream);
    if (!e) e = step_logits(b, n - 1, 1);
    if (!e) e = step_draw(b, want->draw->temperature > 0);
    if (!e) e = cudaMemcpyAsync(want->drawn, b->drawn, sizeof *want->drawn, cudaMemcpyDeviceToHost, b->launcher.stream);
  }
  if (!e)
    e = cudaMemcpyAsync(want->hidden, b->hidden, sizeof(float) * width(&b->base), cudaMemcpyDeviceToHost,
                        b->launcher.stream);
  return e ? e : cudaStreamSynchronize(b->launcher.stream);
}

cudaError_t bring_items(struct cuda_backend *b, int n, int n_changes) {
  cudaError_t e = cudaMemcpyAsync(b->head->items, b->head_host->items, n * sizeof b->head->items[0],
                                  cudaMemcpyHostToDevice, b->launcher.stream);
  if (!e && n_changes)
    e = cudaMemcpyAsync(b->changes, b->changes_host, n_changes * sizeof *b->changes, cudaMemcpyHostToDevice,
                        b->launcher.stream);
  return e;
}

sluice_status run(struct backend *base, struct kv_store *s, const struct forward_plan *plan, const int32_t *ids,
                  const struct backend_result *want, struct sluice_error *err) {
  struct cuda_backend *b = of(base);
  sluice_status st = kv_freshen(s, err);
  if (st) return st;
  if (plan->n == 1 && plan->form == KEYS_AT_TRUE_POSITION) return run_one(b, s, plan, ids[0], want, err);
  struct chunk c = {};
  c.n = plan->n, c.n_segments = plan->n_segments, c.n_rows = want->n_rows;
  c.one_store = true;
  c.form = plan->form;
  c.slots = slots_seen(plan);
  c.plan = plan;
  c.n_changes = fill_changes(b->changes_host, s);
  cudaError_t e = plan->form == KEYS_AT_CACHE_POSITION ? bring_index(b, s, plan) : cudaSuccess;
  for (int t = 0; t < plan->n; t++) fill_item(&b->head_host->items[t], s, plan, t, ids[t]);
  if (!e) e = bring_items(b, c.n, c.n_changes);
  if (!e) e = step_chunk(b, &c);
  if (!e) e = bring_results(b, c.n, want);
  return cuda_status(e, "a chunk", err);
}

/* One token each of several sessions, where their policies agree on how keys lie. */
bool steps_together(const struct backend_job *jobs, size_t n) {
  for (size_t i = 0; i < n; i++)
    if (jobs[i].plan->n != 1 || jobs[i].plan->form != KEYS_AT_TRUE_POSITION ||
        jobs[i].plan->n_segments != jobs[0].plan->n_segments)
      return false;
  return n <= KV_CHUNK;
}

/* A batch from the host's items to the host's results, except logits that somebody asked for. */
cudaError_t enqueue_batch(struct cuda_backend *b, const struct chunk &c, enum step_kind kind) {
  const cudaStream_t stream = b->launcher.stream;
  const size_t n = static_cast<size_t>(c.n);
  cudaError_t e = bring_items(b, c.n, c.n_changes);
  if (!e) e = step_chunk(b, &c);
  if (!e) e = step_hidden(b, 0, c.n, b->states);
  if (!e)
    e = cudaMemcpyAsync(b->states_host, b->states, n * width(&b->base) * sizeof(float), cudaMemcpyDeviceToHost, stream);
  if (!e && kind >= STEP_LOGITS) e = step_logits(b, 0, c.n);
  if (e || kind < STEP_GREEDY) return e;
  struct launcher l = b->launcher;
  l.overlap = false;
  e = cudaMemcpyAsync(b->draws, b->draws_host, n * sizeof *b->draws, cudaMemcpyHostToDevice, stream);
  if (!e)
    e = draw_launch(l, b->logits, b->base.model->config.vocab, c.n, kind == STEP_BY_CHANCE, b->draws, b->draw_scratch,
                    b->drawn_batch, NULL);
  return e ? e
           : cudaMemcpyAsync(b->drawn_batch_host, b->drawn_batch, n * sizeof *b->drawn_batch, cudaMemcpyDeviceToHost,
                             stream);
}

/* As a graph, for a batch has some hundred kernels: those used last are kept. */
cudaError_t launch_batch(struct cuda_backend *b, const struct chunk &c, enum step_kind kind) {
  const int splits = attend_splits(b->launcher, c.slots, c.n, b->kv.n_kv_heads);
  struct batch_graph *g = &b->batches[0];
  if (b->plain || b->watch) return enqueue_batch(b, c, kind);
  for (int i = 0; i < BATCH_GRAPHS; i++) {
    struct batch_graph *k = &b->batches[i];
    if (k->graph && k->n == c.n && k->n_segments == c.n_segments && k->splits == splits && k->kind == kind) {
      k->used = ++b->batch_clock;
      return cudaGraphLaunch(k->graph, b->launcher.stream);
    }
    if (k->used < g->used) g = k;
  }
  if (g->graph) cudaGraphExecDestroy(g->graph);
  *g = {NULL, c.n, c.n_segments, splits, kind, ++b->batch_clock};
  cudaGraph_t graph = NULL;
  cudaError_t e = cudaStreamBeginCapture(b->launcher.stream, cudaStreamCaptureModeThreadLocal);
  if (!e) e = enqueue_batch(b, c, kind);
  const cudaError_t ended = cudaStreamEndCapture(b->launcher.stream, &graph);
  if (!e) e = ended;
  if (!e) e = cudaGraphInstantiate(&g->graph, graph, 0);
  if (graph) cudaGraphDestroy(graph);
  return e ? e : cudaGraphLaunch(g->graph, b->launcher.stream);
}

/* What the batch is run for; draws are put where the device will find them. */
enum step_kind batch_kind(struct cuda_backend *b, const struct backend_job *jobs, size_t n) {
  enum step_kind kind = jobs[0].want.draw ? STEP_GREEDY : STEP_HIDDEN;
  for (size_t i = 0; i < n; i++) {
    if (jobs[0].want.draw) b->draws_host[i] = *jobs[i].want.draw;
    if (jobs[0].want.draw && jobs[i].want.draw->temperature > 0) kind = STEP_BY_CHANCE;
    if (kind == STEP_HIDDEN && jobs[i].want.n_rows) kind = STEP_LOGITS;
  }
  return kind;
}

cudaError_t bring_batch(struct cuda_backend *b, const struct backend_job *jobs, size_t n, enum step_kind kind) {
  const size_t vocab = static_cast<size_t>(b->base.model->config.vocab), ld = width(&b->base);
  cudaError_t e = cudaSuccess;
  for (size_t i = 0; !e && i < n; i++)
    if (jobs[i].want.n_rows)
      e = cudaMemcpyAsync(jobs[i].want.logits, b->logits + i * vocab, sizeof(float) * vocab, cudaMemcpyDeviceToHost,
                          b->launcher.stream);
  if (!e) e = cudaStreamSynchronize(b->launcher.stream);
  for (size_t i = 0; !e && i < n; i++) {
    memcpy(jobs[i].want.hidden, b->states_host + i * ld, sizeof(float) * ld);
    if (kind >= STEP_GREEDY) *jobs[i].want.drawn = b->drawn_batch_host[i];
  }
  return e;
}

sluice_status run_batch(struct backend *base, const struct backend_job *jobs, size_t n, struct sluice_error *err) {
  struct cuda_backend *b = of(base);
  sluice_status st = SLUICE_OK;
  if (!steps_together(jobs, n)) {
    for (size_t i = 0; !st && i < n; i++) st = run(base, jobs[i].store, jobs[i].plan, jobs[i].ids, &jobs[i].want, err);
    return st;
  }
  struct chunk c = {};
  c.n = static_cast<int>(n), c.n_segments = jobs[0].plan->n_segments;
  c.form = KEYS_AT_TRUE_POSITION;
  for (size_t i = 0; !st && i < n; i++) {
    st = kv_freshen(jobs[i].store, err);
    fill_item(&b->head_host->items[i], jobs[i].store, jobs[i].plan, 0, jobs[i].ids[0]);
    c.n_changes += fill_changes(b->changes_host + c.n_changes, jobs[i].store);
    const uint32_t slots = slots_seen(jobs[i].plan);
    if (slots > c.slots) c.slots = slots;
  }
  if (st) return st;
  /* As many in every batch of this size. */
  for (; c.n_changes < STEP_CHANGES * c.n; c.n_changes++) b->changes_host[c.n_changes] = b->changes_host[0];
  const enum step_kind kind = batch_kind(b, jobs, n);
  cudaError_t e = launch_batch(b, c, kind);
  if (!e) e = bring_batch(b, jobs, n, kind);
  return cuda_status(e, "a batch", err);
}

sluice_status logits(struct backend *base, const float *hidden, float *to, struct sluice_error *err) {
  struct cuda_backend *b = of(base);
  const cudaStream_t stream = b->launcher.stream;
  struct gemv g = {};
  g.w = b->w->head, g.x = b->hidden, g.y = b->logits;
  struct launcher l = b->launcher;
  l.overlap = false;
  cudaError_t e = cudaMemcpyAsync(b->hidden, hidden, sizeof(float) * width(base), cudaMemcpyHostToDevice, stream);
  if (!e) e = gemv_launch(l, GEMV_ROWS, g);
  if (!e)
    e = cudaMemcpyAsync(to, b->logits, sizeof(float) * static_cast<size_t>(base->model->config.vocab),
                        cudaMemcpyDeviceToHost, stream);
  if (!e) e = cudaStreamSynchronize(stream);
  return cuda_status(e, "logits", err);
}

} // namespace

cudaStream_t cuda_stream(const struct backend *b) {
  return of(b)->launcher.stream;
}

static struct backend_ops table() {
  struct backend_ops o = {};
  o.name = "cuda";
  o.open = open_cuda;
  o.close = close_cuda;
  o.kernel = kernel;
  o.width = width;
  o.chunk_max = ROWS_MAX;
  o.draws = true;
  o.place = place_of;
  o.reserve = reserve;
  o.run = run;
  o.run_batch = run_batch;
  o.logits = logits;
  o.watch = watch;
  return o;
}
extern "C" const struct backend_ops backend_cuda = table();
