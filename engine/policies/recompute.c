/* recompute: sliding window with re-computation (the strong, slow baseline of StreamingLLM's table 1). The logits at a
 * position are those of a fresh forward pass over the last `budget` tokens of text, at positions 0 to n-1. Nothing is
 * computed for positions whose logits nobody asks for: only their ids are remembered. What was computed last is used
 * again while the window still begins where it did, which is so until the text outgrows the budget. */
#include <stdlib.h>
#include <string.h>

#include "engine/policies/policy.h"

struct recompute_policy {
  struct policy base;
  int32_t *ids;   /* ring of [budget] */
  uint64_t seen;  /* tokens of text */
  uint64_t start; /* text position of the first token that the store holds */
};

static sluice_status configure(const struct spec *spec, struct policy_settings *out, struct sluice_error *err) {
  return policy_tokens(spec, "budget", 1024, 1, &out->budget, err);
}

static sluice_status describe(const struct policy_settings *s, struct buffer *out, struct sluice_error *err) {
  return buffer_printf(out, err, ":budget=%u", s->budget);
}

static sluice_status open_recompute(struct policy *p, uint64_t seed, struct sluice_error *err) {
  struct recompute_policy *r = (struct recompute_policy *)p;
  (void)seed;
  r->ids = calloc(p->settings.budget, sizeof *r->ids);
  return r->ids ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "out of memory");
}

static void close_recompute(struct policy *p) {
  free(((struct recompute_policy *)p)->ids);
}

static uint64_t window_start(const struct recompute_policy *r, uint64_t end) {
  const uint64_t budget = r->base.settings.budget;
  return end > budget ? end - budget : 0;
}

/* Feeds text positions [from, to), which the ring holds, and wants the logits of the last n_rows. */
static sluice_status feed_span(struct recompute_policy *r, struct policy_runner *run, uint64_t from, uint64_t to,
                               float *logits, size_t n_rows, struct sluice_error *err) {
  const uint64_t budget = r->base.settings.budget;
  int32_t span[KV_CHUNK];
  while (from < to) {
    size_t n = to - from < KV_CHUNK ? (size_t)(to - from) : KV_CHUNK;
    const size_t left = (size_t)(to - from) - n;           /* tokens behind this span */
    const size_t rows = n_rows > left ? n_rows - left : 0; /* n_rows <= KV_CHUNK: see run */
    for (size_t i = 0; i < n; i++) span[i] = r->ids[(from + i) % budget];
    sluice_status st = run->feed(run->ctx, span, n, rows ? logits : NULL, rows, err);
    if (st) return st;
    logits = rows ? logits + rows * (size_t)run->vocab : logits;
    n_rows -= rows;
    from += n;
  }
  return SLUICE_OK;
}

/* Logits of the last n_rows tokens of the text so far, all of them in one window. */
static sluice_status compute(struct recompute_policy *r, struct policy_runner *run, float *logits, size_t n_rows,
                             struct sluice_error *err) {
  const uint64_t start = window_start(r, r->seen), held = run->store->tokens;
  if (r->start != start || r->start + held > r->seen - n_rows) {
    kv_clear(run->store);
    r->start = start;
  }
  sluice_status st = feed_span(r, run, r->start + run->store->tokens, r->seen, logits, n_rows, err);
  if (st) kv_clear(run->store);
  return st;
}

/* Rows whose windows begin at the first token share one pass; every later row is a pass of its own. Without ids, one
 * row of the newest token. */
static sluice_status run(struct policy *p, struct policy_runner *run, const int32_t *ids, size_t n, float *logits,
                         size_t n_rows, struct sluice_error *err) {
  struct recompute_policy *r = (struct recompute_policy *)p;
  const uint64_t budget = p->settings.budget;
  size_t done = 0;
  if (n_rows) { /* before anything changes */
    const uint64_t window = r->seen + n < budget ? r->seen + n : budget, held = run->store->tokens;
    sluice_status st = run->reserve(run->ctx, window > held ? (size_t)(window - held) : 0, err);
    if (st) return st;
  }
  if (n == 0) return compute(r, run, logits, n_rows, err);
  while (done < n) {
    const size_t unscored = n - n_rows;
    size_t step = 1, rows = 1;
    if (done < unscored) {
      step = unscored - done, rows = 0;
    } else if (r->seen < budget) {
      step = n - done < KV_CHUNK ? n - done : KV_CHUNK;
      if (step > budget - r->seen) step = (size_t)(budget - r->seen);
      rows = step;
    }
    for (size_t i = 0; i < step; i++) r->ids[(r->seen + i) % budget] = ids[done + i];
    r->seen += step;
    sluice_status st = rows ? compute(r, run, logits, rows, err) : SLUICE_OK;
    if (st) return st;
    logits = rows ? logits + rows * (size_t)run->vocab : logits;
    done += step;
  }
  return SLUICE_OK;
}

/* ---- copies and questions ---- */

static sluice_status fork_recompute(const struct policy *from, struct policy *to, struct sluice_error *err) {
  const struct recompute_policy *r = (const struct recompute_policy *)from;
  struct recompute_policy *copy = (struct recompute_policy *)to;
  (void)err;
  memcpy(copy->ids, r->ids, from->settings.budget * sizeof *r->ids);
  copy->seen = r->seen;
  copy->start = r->start;
  return SLUICE_OK;
}

static sluice_status snapshot(const struct policy *p, const struct kv_store *s, struct buffer *out,
                              struct sluice_error *err) {
  const struct recompute_policy *r = (const struct recompute_policy *)p;
  const size_t n = (size_t)(r->seen < p->settings.budget ? r->seen : p->settings.budget);
  (void)s;
  sluice_status st = buffer_append(out, &r->seen, sizeof r->seen, err);
  if (!st) st = buffer_append(out, &r->start, sizeof r->start, err);
  return st ? st : buffer_append(out, r->ids, n * sizeof *r->ids, err);
}

static sluice_status restore(struct policy *p, const struct kv_store *s, struct slice *from, struct sluice_error *err) {
  struct recompute_policy *r = (struct recompute_policy *)p;
  uint64_t seen = 0, start = 0;
  sluice_status st = policy_take(from, &seen, sizeof seen, err);
  if (!st) st = policy_take(from, &start, sizeof start, err);
  if (!st && (start > seen || s->tokens > seen - start))
    st = sluice_fail(err, SLUICE_INPUT, "snapshot: a window from %llu in a text of %llu tokens",
                     (unsigned long long)start, (unsigned long long)seen);
  const size_t n = (size_t)(seen < p->settings.budget ? seen : p->settings.budget);
  if (!st) st = policy_take(from, r->ids, n * sizeof *r->ids, err);
  if (st) return st;
  r->seen = seen;
  r->start = start;
  return SLUICE_OK;
}

static size_t trace(const struct policy *p, const struct kv_store *s, uint64_t *positions, size_t cap) {
  const struct recompute_policy *r = (const struct recompute_policy *)p;
  const uint64_t start = window_start(r, r->seen);
  (void)s;
  for (size_t i = 0; i < cap && start + i < r->seen; i++) positions[i] = start + i;
  return (size_t)(r->seen - start);
}

static const char *const known_keys[] = {"budget", NULL};

const struct policy_family policy_recompute = {
    .name = "recompute",
    .known_keys = known_keys,
    .form = KEYS_AT_TRUE_POSITION,
    .n_segments = 1,
    .size = sizeof(struct recompute_policy),
    .configure = configure,
    .describe = describe,
    .open = open_recompute,
    .close = close_recompute,
    .attend = policy_attend_true,
    .fork = fork_recompute,
    .snapshot = snapshot,
    .restore = restore,
    .trace = trace,
    .run = run,
};
