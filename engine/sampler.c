/* Sampling one token from logits. Deterministic: the draw depends on the seed and the logits alone, ties go to the
 * lower id, and sums are taken in float64 in a fixed order. */
#include "engine/talk.h"

#include <math.h>
#include <stdlib.h>

struct candidate {
  float logit;
  int32_t id;
};

double logits_log_sum(const float *logits, int vocab) {
  float top = -INFINITY;
  for (int i = 0; i < vocab; i++) {
    if (logits[i] > top) top = logits[i];
  }
  double sum = 0;
  for (int i = 0; i < vocab; i++) sum += exp((double)logits[i] - (double)top);
  double out = (double)top + log(sum);
  return isfinite(out) ? out : NAN;
}

sluice_status sampler_open(struct sampler *s, const struct generate_options *o, int vocab, struct sluice_error *err) {
  *s = (struct sampler){.temperature = o->temperature, .top_k = o->top_k, .top_p = o->top_p};
  if (!(o->temperature >= 0) || o->temperature > 100) {
    return sluice_fail(err, SLUICE_USAGE, "temperature %g is outside 0 to 100", (double)o->temperature);
  }
  if (!(o->top_p >= 0 && o->top_p <= 1)) {
    return sluice_fail(err, SLUICE_USAGE, "top_p %g is outside 0 to 1", (double)o->top_p);
  }
  if (o->top_k < 0) return sluice_fail(err, SLUICE_USAGE, "top_k %d is negative", o->top_k);
  rng_seed_named(&s->rng, o->seed, "sampler");
  if (o->temperature > 0) {
    s->pool = malloc((size_t)vocab * sizeof *s->pool);
    if (s->pool == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory to sample from %d tokens", vocab);
  }
  return SLUICE_OK;
}

void sampler_close(struct sampler *s) {
  free(s->pool);
  s->pool = NULL;
}

static int32_t greedy(const float *logits, int vocab) {
  int32_t best = 0;
  for (int i = 1; i < vocab; i++) {
    if (logits[i] > logits[best]) best = i;
  }
  return best;
}

static int by_logit(const void *a, const void *b) {
  const struct candidate *x = a, *y = b;
  if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
  return x->id < y->id ? -1 : 1;
}

/* Keeps the shortest run of the sorted pool whose probability reaches top_p. */
static int nucleus(const struct candidate *pool, int n, double temperature, double top_p) {
  double total = 0, reached = 0;
  for (int i = 0; i < n; i++) total += exp((double)(pool[i].logit - pool[0].logit) / temperature);
  for (int i = 0; i < n; i++) {
    reached += exp((double)(pool[i].logit - pool[0].logit) / temperature);
    if (reached >= top_p * total) return i + 1;
  }
  return n;
}

int32_t sampler_pick(struct sampler *s, const float *logits, int vocab) {
  if (s->temperature <= 0 || s->pool == NULL) return greedy(logits, vocab);
  for (int i = 0; i < vocab; i++) s->pool[i] = (struct candidate){logits[i], i};
  qsort(s->pool, (size_t)vocab, sizeof *s->pool, by_logit);
  int n = vocab;
  if (s->top_k > 0 && s->top_k < n) n = s->top_k;
  if (s->top_p > 0 && s->top_p < 1) n = nucleus(s->pool, n, (double)s->temperature, (double)s->top_p);
  double total = 0, drawn;
  for (int i = 0; i < n; i++) total += exp((double)(s->pool[i].logit - s->pool[0].logit) / (double)s->temperature);
  drawn = rng_double(&s->rng) * total;
  for (int i = 0; i < n; i++) {
    drawn -= exp((double)(s->pool[i].logit - s->pool[0].logit) / (double)s->temperature);
    if (drawn < 0) return s->pool[i].id;
  }
  return s->pool[n - 1].id; /* rounding left a sliver */
}
