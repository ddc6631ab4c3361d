/* session: ids through the network under one cache policy. Private parts in session.h, snapshots in session_state.c. */
#include "engine/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EPOCH_SLOTS_MAX = 1 << 24 }; /* kept slots noted for one chunk */

/* ---- opening and closing ------------------------------------------------------------------------------------------
 */

static sluice_status open_policy(struct session *s, const struct policy_family *family,
                                 const struct policy_settings *settings, struct sluice_error *err) {
  s->policy = calloc(1, family->size);
  if (!s->policy) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  s->policy->family = family;
  s->policy->settings = *settings;
  return family->open ? family->open(s->policy, s->seed, err) : SLUICE_OK;
}

static sluice_status open_logits(struct session *s, struct sluice_error *err) {
  s->hidden = sluice_alloc_aligned(s->backend->ops->width(s->backend) * sizeof *s->hidden);
  if (!s->hidden) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  if (!s->policy->family->wants_surprisal) return SLUICE_OK;
  const size_t vocab = (size_t)s->backend->model->config.vocab;
  s->last_logits = malloc(vocab * sizeof *s->last_logits);
  s->rows = malloc(KV_CHUNK * vocab * sizeof *s->rows);
  return s->last_logits && s->rows ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "out of memory");
}

/* Room to plan chunks of so many tokens. */
static sluice_status allow_chunk(struct session *s, size_t tokens, struct sluice_error *err) {
  if (tokens <= s->plan_tokens) return SLUICE_OK;
  struct forward_plan plan;
  sluice_status st = kv_allow_chunk(&s->store, tokens, err);
  if (!st) st = plan_open(&plan, tokens, err);
  if (st) return st;
  plan_close(&s->plan);
  s->plan = plan;
  s->plan_tokens = tokens;
  return SLUICE_OK;
}

/* An empty session; takes `backend` over, also when it fails. */
sluice_status session_build(struct backend *backend, const struct policy_family *family,
                            const struct policy_settings *settings, uint64_t seed, struct session **out,
                            struct sluice_error *err) {
  struct session *s = calloc(1, sizeof *s);
  if (!s) {
    backend_close(backend);
    return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  }
  s->backend = backend;
  s->seed = seed;
  s->last_id = -1;
  const struct model_config *c = &backend->model->config;
  sluice_status st = policy_canonical(family, settings, &s->canonical, err);
  if (!st)
    st = kv_open(&s->store, backend->ops->place(backend), c, settings->budget, family->pins_sinks ? settings->sinks : 0,
                 err);
  if (!st) st = open_policy(s, family, settings, err);
  if (!st) st = allow_chunk(s, KV_CHUNK, err);
  if (!st) st = open_logits(s, err);
  if (st) {
    session_close(s);
    return st;
  }
  *out = s;
  return SLUICE_OK;
}

/* Keys that are rotated once and seen by differences of positions (streaming) stay right under dynamic NTK as long as
 * no difference passes the trained context. */
static sluice_status check_reach(const struct model *m, const struct policy_family *family,
                                 const struct policy_settings *settings, struct sluice_error *err) {
  const struct rope_scaling *r = &m->config.rope_scaling;
  if (r->type != ROPE_DYNAMIC || family->n_segments == 1 || settings->budget <= r->original_context) return SLUICE_OK;
  return sluice_fail(err, SLUICE_UNSUPPORTED,
                     "policy \"%s\": %u tokens, and the model's rope_scaling is \"dynamic\": expected at most its %.0f",
                     family->name, settings->budget, r->original_context);
}

sluice_status session_open(const struct model *m, const struct session_options *o, struct session **out,
                           struct sluice_error *err) {
  static const struct session_options defaults;
  const struct policy_family *family;
  struct policy_settings settings;
  struct backend *backend;
  if (!o) o = &defaults;
  sluice_status st = policy_parse(o->policy ? o->policy : "full", &family, &settings, err);
  const struct backend_options where = {
      .device = o->device, .kernel = o->kernel, .weights = o->weights, .threads = o->threads};
  if (!st) st = check_reach(m, family, &settings, err);
  if (!st) st = backend_open(m, &where, &backend, err);
  return st ? st : session_build(backend, family, &settings, o->seed, out, err);
}

sluice_status session_twin(const struct session *s, struct session **out, struct sluice_error *err) {
  return session_build(backend_share(s->backend), s->policy->family, &s->policy->settings, s->seed, out, err);
}

void session_close(struct session *s) {
  if (!s) return;
  if (s->policy && s->policy->family->close) s->policy->family->close(s->policy);
  free(s->policy);
  kv_close(&s->store);
  plan_close(&s->plan);
  backend_close(s->backend);
  free(s->canonical);
  free(s->hidden);
  free(s->last_logits);
  free(s->rows);
  free(s);
}

sluice_status session_fork(const struct session *s, struct session **out, struct sluice_error *err) {
  struct session *copy;
  sluice_status st = session_twin(s, &copy, err);
  if (st) return st;
  kv_close(&copy->store);
  st = kv_copy(&s->store, &copy->store, err);
  if (!st && s->policy->family->fork) st = s->policy->family->fork(s->policy, copy->policy, err);
  if (st) {
    session_close(copy);
    return st;
  }
  copy->seen = s->seen, copy->position = s->position, copy->peak_bytes = s->peak_bytes;
  memcpy(copy->hidden, s->hidden, s->backend->ops->width(s->backend) * sizeof *s->hidden);
  copy->hidden_fresh = s->hidden_fresh;
  copy->last_id = s->last_id, copy->last_lse = s->last_lse;
  if (s->last_logits)
    memcpy(copy->last_logits, s->last_logits, (size_t)s->backend->model->config.vocab * sizeof(float));
  *out = copy;
  return SLUICE_OK;
}

/* ---- one chunk ----------------------------------------------------------------------------------------------------
 */

static void note_epoch(struct forward_plan *plan, int epoch, const struct kv_store *s, uint32_t *kept) {
  memcpy(kept, s->kept, s->n_kept * sizeof *kept);
  plan->kept[epoch] = kept;
  plan->n_kept[epoch] = s->n_kept;
}

/* Lets the policy decide, token by token, before anything is computed. */
static void plan_chunk(struct session *s, struct forward_plan *plan, int n, uint32_t *kept) {
  const struct policy_family *family = s->policy->family;
  struct kv_store *store = &s->store;
  int epoch = 0;
  plan->form = family->form;
  plan->n = n;
  plan->n_segments = family->n_segments;
  for (int t = 0; t < n; t++) {
    const uint32_t before = store->n_kept;
    if (family->append) family->append(s->policy, store);
    if (kept && t > 0 && store->n_kept != before)
      kept += plan->n_kept[epoch++]; /* a new epoch, noted behind the last */
    plan->slot[t] = kv_admit(store, s->position, family->pins_sinks && store->tokens < s->policy->settings.sinks);
    plan->position[t] = s->position;
    plan->epoch[t] = epoch;
    if (kept) note_epoch(plan, epoch, store, kept);
    family->attend(s->policy, store, s->position, plan->segments[t]);
    s->position++;
  }
}

/* -log p of each token of the chunk under the logits before it, and keeps the last logits for the next chunk. mode=repo
 * asks for the probability of the previous token instead, as upstream's off-by-one does. */
static void measure_surprisal(struct session *s, const int32_t *ids, int n, const float *rows, float *surprisal) {
  const int vocab = s->backend->model->config.vocab;
  const struct kernels *k = s->backend->host;
  const float *before = s->last_logits;
  float lse = s->last_lse;
  int32_t last = s->last_id;
  for (int t = 0; t < n; t++) {
    const int32_t target = s->policy->settings.repo ? last : ids[t];
    surprisal[t] = last < 0 ? NAN : lse - before[target];
    before = rows + (size_t)t * (size_t)vocab;
    lse = k->log_sum_exp(before, vocab);
    last = ids[t];
  }
  memcpy(s->last_logits, before, (size_t)vocab * sizeof *before);
  s->last_lse = lse;
  s->last_id = last;
}

static void count_bytes(struct session *s) {
  const size_t bytes = session_bytes(s);
  if (bytes > s->peak_bytes) s->peak_bytes = bytes;
}

/* n_rows logits of the last tokens. kept: room for the plan's epochs. */
void session_chunk_begin(struct session *s, const int32_t *ids, int n, float *logits, int n_rows, uint32_t *kept,
                         struct backend_job *job) {
  *job = (struct backend_job){&s->store, &s->plan, ids, {n_rows, logits, s->hidden, NULL, NULL}};
  if (s->policy->family->wants_surprisal) job->want.n_rows = n, job->want.logits = s->rows;
  kv_begin_chunk(&s->store);
  plan_chunk(s, &s->plan, n, kept);
}

void session_chunk_end(struct session *s, const int32_t *ids, int n, float *logits, int n_rows) {
  const struct policy_family *family = s->policy->family;
  const size_t vocab = (size_t)s->backend->model->config.vocab;
  float surprisal[KV_CHUNK];
  if (family->wants_surprisal) {
    measure_surprisal(s, ids, n, s->rows, surprisal);
    if (n_rows) memcpy(logits, s->rows + (size_t)(n - n_rows) * vocab, (size_t)n_rows * vocab * sizeof *logits);
  }
  if (family->observe) family->observe(s->policy, &s->store, s->plan.slot, surprisal, (size_t)n);
  kv_settle(&s->store);
  s->hidden_fresh = true;
  s->seen += (uint64_t)n;
  count_bytes(s);
}

static sluice_status run_chunk(struct session *s, const int32_t *ids, int n, float *logits, int n_rows, uint32_t *kept,
                               struct sluice_error *err) {
  struct backend_job job;
  session_chunk_begin(s, ids, n, logits, n_rows, kept, &job);
  sluice_status st = s->backend->ops->run(s->backend, job.store, job.plan, ids, &job.want, err);
  if (!st) session_chunk_end(s, ids, n, logits, n_rows);
  return st;
}

/* The most tokens of one chunk, of n that come. A back end may take more than KV_CHUNK at once where nothing will be
 * evicted meanwhile and nobody waits for surprisals. */
static size_t chunk_tokens(const struct session *s, size_t n) {
  const struct policy_family *family = s->policy->family;
  const uint32_t budget = s->policy->settings.budget;
  size_t most = KV_CHUNK;
  if (family->form == KEYS_AT_TRUE_POSITION && !family->observe && (!budget || s->store.n_kept + n <= budget))
    most = s->backend->ops->chunk_max;
  return n < most ? n : most;
}

/* Everything that n more tokens may need, so that nothing fails half-way. *kept (caller frees): the kept slots as the
 * tokens of each epoch of a chunk of *step tokens see them, for policies with cache positions; NULL for others. */
static sluice_status reserve(struct session *s, size_t n, size_t *step, uint32_t **kept, struct sluice_error *err) {
  const enum key_form form = s->policy->family->form;
  const uint32_t budget = s->policy->settings.budget;
  *step = chunk_tokens(s, n);
  *kept = NULL;
  sluice_status st = kv_reserve(&s->store, n, err);
  if (!st) st = allow_chunk(s, *step, err);
  if (!st) st = s->backend->ops->reserve(s->backend, s->store.capacity, form, err);
  if (st || form != KEYS_AT_CACHE_POSITION) return st;
  const size_t row = budget < s->store.n_kept + n ? budget : s->store.n_kept + n;
  if (*step > EPOCH_SLOTS_MAX / row) *step = EPOCH_SLOTS_MAX / row ? EPOCH_SLOTS_MAX / row : 1;
  *kept = malloc(row * *step * sizeof **kept);
  return *kept ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "out of memory");
}

sluice_status session_chunk_reserve(struct session *s, uint32_t **kept, struct sluice_error *err) {
  size_t step;
  return reserve(s, 1, &step, kept, err);
}

/* The logits of the last n_rows tokens, chunk after chunk. On failure nothing has changed, except where a device fails
 * amid a chunk: every later call then fails too. */
static sluice_status run_text(struct session *s, const int32_t *ids, size_t n, float *logits, size_t n_rows,
                              struct sluice_error *err) {
  const size_t vocab = (size_t)s->backend->model->config.vocab, from = n - n_rows;
  const struct policy_family *family = s->policy->family;
  size_t most;
  uint32_t *kept;
  sluice_status st = reserve(s, n, &most, &kept, err);
  if (st) return st;
  for (size_t done = 0, step; done < n; done += step) {
    const size_t reach = family->reach ? family->reach(s->policy) : most;
    step = n - done < most ? n - done : most;
    if (step > reach) step = reach;
    const size_t rows = done + step <= from ? 0 : done >= from ? step : done + step - from;
    float *to = rows ? logits + (done + step - rows - from) * vocab : NULL;
    st = run_chunk(s, ids + done, (int)step, to, (int)rows, kept, err);
    if (st) break;
  }
  free(kept);
  return st;
}

/* ---- policies that run text themselves ----------------------------------------------------------------------------
 */

static sluice_status reserve_for_policy(void *ctx, size_t n, struct sluice_error *err) {
  struct session *s = ctx;
  sluice_status st = kv_reserve(&s->store, n, err);
  return st ? st : s->backend->ops->reserve(s->backend, s->store.capacity, s->policy->family->form, err);
}

static sluice_status feed(void *ctx, const int32_t *ids, size_t n, float *logits, size_t n_rows,
                          struct sluice_error *err) {
  struct session *s = ctx;
  const uint64_t seen = s->seen, position = s->position;
  s->position = s->store.tokens; /* a policy that computes text again does so from position 0 */
  sluice_status st = run_text(s, ids, n, logits, n_rows, err);
  s->seen = seen, s->position = position;
  return st;
}

static sluice_status run_policy(struct session *s, const int32_t *ids, size_t n, float *logits, size_t n_rows,
                                struct sluice_error *err) {
  struct policy_runner runner = {.store = &s->store,
                                 .ctx = s,
                                 .feed = feed,
                                 .reserve = reserve_for_policy,
                                 .vocab = s->backend->model->config.vocab};
  return s->policy->family->run(s->policy, &runner, ids, n, logits, n_rows, err);
}

/* ---- the public calls ---------------------------------------------------------------------------------------------
 */

sluice_status session_append(struct session *s, const int32_t *ids, size_t n, float *logits, size_t rows,
                             struct sluice_error *err) {
  const int vocab = s->backend->model->config.vocab;
  const size_t n_rows = logits ? rows : 0;
  if (n == 0) return SLUICE_OK;
  if (logits && rows != 1 && rows != n)
    return sluice_fail(err, SLUICE_INTERNAL, "session_append: logits for %zu of %zu tokens; 1 or all can be had", rows,
                       n);
  for (size_t i = 0; i < n; i++)
    if (ids[i] < 0 || ids[i] >= vocab)
      return sluice_fail(err, SLUICE_INPUT, "token %zu has id %d; the model knows 0 to %d", i, ids[i], vocab - 1);
  if (!s->policy->family->run) return run_text(s, ids, n, logits, n_rows, err);
  s->hidden_fresh = false;
  sluice_status st = run_policy(s, ids, n, logits, n_rows, err);
  if (st) return st;
  s->seen += n;
  s->position += n;
  return SLUICE_OK;
}

sluice_status session_logits(struct session *s, float *logits, struct sluice_error *err) {
  if (s->seen == 0) return sluice_fail(err, SLUICE_USAGE, "no token has been appended yet, so no logits follow it");
  if (!s->hidden_fresh) return run_policy(s, NULL, 0, logits, 1, err);
  return s->backend->ops->logits(s->backend, s->hidden, logits, err);
}

sluice_status session_end_turn(struct session *s, struct sluice_error *err) {
  (void)err;
  if (s->policy->family->end_turn) s->policy->family->end_turn(s->policy, &s->store);
  return SLUICE_OK;
}

/* ---- questions ----------------------------------------------------------------------------------------------------
 */

void session_skip(struct session *s, uint64_t n) {
  s->position += n;
}

uint64_t session_position(const struct session *s) {
  return s->seen;
}

size_t session_bytes(const struct session *s) {
  const struct policy_family *family = s->policy->family;
  return family->bytes ? family->bytes(s->policy, &s->store) : s->store.n_kept * kv_token_bytes(&s->store);
}

size_t session_peak_bytes(const struct session *s) {
  return s->peak_bytes;
}

void session_count_aside(struct session *s, const struct session *fork) {
  if (fork->peak_bytes > s->peak_bytes) s->peak_bytes = fork->peak_bytes;
}

size_t session_allocated(const struct session *s) {
  return kv_allocated_bytes(&s->store);
}

size_t session_trace(const struct session *s, uint64_t *positions, size_t cap) {
  const struct policy_family *family = s->policy->family;
  if (family->trace) return family->trace(s->policy, &s->store, positions, cap);
  for (size_t i = 0; i < cap && i < s->store.n_kept; i++) positions[i] = s->store.position[s->store.kept[i]];
  return s->store.n_kept;
}

const char *session_policy(const struct session *s) {
  return s->canonical;
}
const char *session_kernel(const struct session *s) {
  return s->backend->ops->kernel(s->backend);
}
