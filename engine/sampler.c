/* Sampling one token from logits. Deterministic: the draw depends on the seed, the logits and what was said alone, ties
 * go to the lower id, and sums are taken in float64 in a fixed order. The order of the cuts is Hugging Face's:
 * repetition penalty, temperature, top-k, top-p of what top-k left, min-p. */
#include "engine/talk.h"

#include "engine/backend.h"

#include <math.h>
#include <stdlib.h>

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

static sluice_status check_options(const struct generate_options *o, struct sluice_error *err) {
  if (!(o->temperature >= 0) || o->temperature > 100) {
    return sluice_fail(err, SLUICE_USAGE, "temperature %g is outside 0 to 100", (double)o->temperature);
  }
  if (!(o->top_p >= 0 && o->top_p <= 1)) {
    return sluice_fail(err, SLUICE_USAGE, "top_p %g is outside 0 to 1", (double)o->top_p);
  }
  if (o->top_k < 0) return sluice_fail(err, SLUICE_USAGE, "top_k %d is negative", o->top_k);
  if (!(o->min_p >= 0 && o->min_p <= 1)) {
    return sluice_fail(err, SLUICE_USAGE, "min_p %g is outside 0 to 1", (double)o->min_p);
  }
  if (o->repetition_penalty != 0 && !(o->repetition_penalty >= 0.01f && o->repetition_penalty <= 100)) {
    return sluice_fail(err, SLUICE_USAGE, "repetition_penalty %g is outside 0.01 to 100",
                       (double)o->repetition_penalty);
  }
  const float amounts[] = {o->frequency_penalty, o->presence_penalty};
  for (size_t i = 0; i < 2; i++)
    if (!(amounts[i] >= -2 && amounts[i] <= 2))
      return sluice_fail(err, SLUICE_USAGE, "%s %g is outside -2 to 2", i ? "presence_penalty" : "frequency_penalty",
                         (double)amounts[i]);
  if (o->n_bias > BIASES_MAX) return sluice_fail(err, SLUICE_USAGE, "logit_bias: more than %d tokens", BIASES_MAX);
  return SLUICE_OK;
}

static sluice_status copy_biases(struct sampler *s, const struct generate_options *o, int vocab,
                                 struct sluice_error *err) {
  if (o->n_bias == 0) return SLUICE_OK;
  s->bias = malloc(o->n_bias * sizeof *s->bias);
  if (s->bias == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu biases", o->n_bias);
  for (size_t i = 0; i < o->n_bias; i++) {
    const struct token_bias b = o->bias[i];
    if (b.token < 0 || b.token >= vocab)
      return sluice_fail(err, SLUICE_USAGE, "logit_bias: token id %d is not one of 0 to %d", b.token, vocab - 1);
    if (!(b.added >= -100 && b.added <= 100))
      return sluice_fail(err, SLUICE_USAGE, "logit_bias: %g is outside -100 to 100", (double)b.added);
    s->bias[s->n_bias++] = b;
  }
  return SLUICE_OK;
}

sluice_status sampler_open(struct sampler *s, const struct generate_options *o, int vocab, struct sluice_error *err) {
  sluice_status st = check_options(o, err);
  *s = (struct sampler){.temperature = (double)o->temperature,
                        .top_k = o->top_k < vocab ? o->top_k : 0,
                        .top_p = o->top_p < 1 ? (double)o->top_p : 0,
                        .min_p = (double)o->min_p,
                        .penalty = o->repetition_penalty > 0 ? o->repetition_penalty : 1,
                        .frequency = o->frequency_penalty,
                        .presence = o->presence_penalty};
  if (st != SLUICE_OK) return st;
  rng_seed_named(&s->rng, o->seed, "sampler");
  if (s->temperature > 0 && (s->top_k > 0 || s->top_p > 0 || s->min_p > 0)) {
    s->pool = malloc((size_t)vocab * sizeof *s->pool);
    if (s->pool == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory to sample from %d tokens", vocab);
  }
  if ((st = copy_biases(s, o, vocab, err)) != SLUICE_OK) return st;
  const bool repeats = s->penalty != 1, counts = s->frequency != 0 || s->presence != 0;
  if (!repeats && !counts && s->n_bias == 0) return SLUICE_OK;
  s->adjusted = malloc((size_t)vocab * sizeof *s->adjusted);
  if (repeats) s->seen = calloc((size_t)vocab, sizeof *s->seen);
  if (counts) s->said = calloc((size_t)vocab, sizeof *s->said);
  if (s->adjusted == NULL || (repeats && s->seen == NULL) || (counts && s->said == NULL)) {
    return sluice_fail(err, SLUICE_NOMEM, "no memory to remember %d tokens", vocab);
  }
  return SLUICE_OK;
}

void sampler_close(struct sampler *s) {
  free(s->pool);
  free(s->seen);
  free(s->adjusted);
  free(s->said);
  free(s->bias);
  *s = (struct sampler){0};
}

void sampler_saw(struct sampler *s, const int32_t *ids, size_t n) {
  for (size_t i = 0; s->seen != NULL && i < n; i++) s->seen[ids[i]] = 1;
}

void sampler_said(struct sampler *s, int32_t id) {
  sampler_saw(s, &id, 1);
  if (s->said != NULL && s->said[id] < UINT16_MAX) s->said[id]++;
}

/* CTRL (Keskar et al. 2019, section 4.1), in the form that Hugging Face gave it: a positive logit of a token that has
 * been said is divided, a negative one multiplied. Then OpenAI's own ("Frequency and presence penalties" in its API
 * reference), and its biases. */
static const float *penalise(struct sampler *s, const float *logits, int vocab) {
  if (s->adjusted == NULL) return logits;
  for (int i = 0; i < vocab; i++) {
    float l = logits[i];
    s->adjusted[i] = s->seen == NULL || !s->seen[i] ? l : l > 0 ? l / s->penalty : l * s->penalty;
  }
  for (int i = 0; s->said != NULL && i < vocab; i++)
    if (s->said[i] > 0) s->adjusted[i] -= s->frequency * (float)s->said[i] + s->presence;
  for (size_t i = 0; i < s->n_bias; i++) s->adjusted[s->bias[i].token] += s->bias[i].added;
  return s->adjusted;
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

/* ---- the k likeliest, best first: a heap whose root is the least of them ---- */
static void sift_down(struct candidate *heap, int n, int i) {
  for (int child; (child = 2 * i + 1) < n; i = child) {
    if (child + 1 < n && by_logit(&heap[child], &heap[child + 1]) < 0) child++;
    if (by_logit(&heap[i], &heap[child]) >= 0) return;
    struct candidate swap = heap[i];
    heap[i] = heap[child];
    heap[child] = swap;
  }
}

int top_candidates(const float *logits, int vocab, int k, struct candidate *out) {
  int n = k < vocab ? k : vocab;
  for (int i = 0; i < n; i++) out[i] = (struct candidate){logits[i], i};
  for (int i = n / 2 - 1; i >= 0; i--) sift_down(out, n, i);
  for (int i = n; i < vocab; i++) {
    if (!(logits[i] > out[0].logit)) continue; /* an equal one of a higher id is behind */
    out[0] = (struct candidate){logits[i], i};
    sift_down(out, n, 0);
  }
  qsort(out, (size_t)n, sizeof *out, by_logit);
  return n;
}

/* ---- one draw ---- */
static double weight_of(const struct sampler *s, float logit, float top) {
  return exp(((double)logit - (double)top) / s->temperature);
}

/* Those that could be among the shortest run whose probability reaches top_p: one with less than its share of what may
 * be left out cannot. Sorted. */
static int gather_nucleus(struct sampler *s, const float *logits, int vocab, float top, double total) {
  const double least = (1 - s->top_p) * total / vocab;
  int n = 0;
  for (int i = 0; i < vocab; i++) {
    if (weight_of(s, logits[i], top) >= least) s->pool[n++] = (struct candidate){logits[i], i};
  }
  qsort(s->pool, (size_t)n, sizeof *s->pool, by_logit);
  return n;
}

static double sum_weights(const struct sampler *s, const float *logits, int vocab, float top) {
  double total = 0;
  for (int i = 0; i < vocab; i++) total += weight_of(s, logits[i], top);
  return total;
}

/* The candidates that the cuts leave, in the pool. */
static int cut_pool(struct sampler *s, const float *logits, int vocab, float top) {
  int n = 0;
  double total = 0, reached = 0;
  if (s->top_k > 0) {
    n = top_candidates(logits, vocab, s->top_k, s->pool);
    for (int i = 0; i < n; i++) total += weight_of(s, s->pool[i].logit, top);
  } else if (s->top_p > 0) {
    total = sum_weights(s, logits, vocab, top);
    n = gather_nucleus(s, logits, vocab, top, total);
  } else {
    for (int i = 0; i < vocab; i++) s->pool[i] = (struct candidate){logits[i], i};
    n = vocab;
  }
  for (int i = 0; s->top_p > 0 && i < n; i++) {
    reached += weight_of(s, s->pool[i].logit, top);
    if (reached >= s->top_p * total) n = i + 1;
  }
  int kept = 0;
  for (int i = 0; i < n; i++) {
    if (weight_of(s, s->pool[i].logit, top) >= s->min_p) s->pool[kept++] = s->pool[i];
  }
  return kept;
}

static int32_t draw_from_all(struct sampler *s, const float *logits, int vocab, float top) {
  double drawn = rng_double(&s->rng) * sum_weights(s, logits, vocab, top);
  int32_t last = 0;
  for (int i = 0; i < vocab; i++) {
    double w = weight_of(s, logits[i], top);
    if (w > 0) last = i;
    drawn -= w;
    if (drawn < 0) return i;
  }
  return last; /* rounding left a sliver */
}

int32_t sampler_pick(struct sampler *s, const float *logits, int vocab) {
  const float *l = penalise(s, logits, vocab);
  const int32_t best = greedy(l, vocab);
  if (s->temperature <= 0) return best;
  if (s->pool == NULL) return draw_from_all(s, l, vocab, l[best]);
  int n = cut_pool(s, l, vocab, l[best]);
  double total = 0;
  for (int i = 0; i < n; i++) total += weight_of(s, s->pool[i].logit, l[best]);
  double drawn = rng_double(&s->rng) * total;
  for (int i = 0; i < n; i++) {
    drawn -= weight_of(s, s->pool[i].logit, l[best]);
    if (drawn < 0) return s->pool[i].id;
  }
  return n > 0 ? s->pool[n - 1].id : best;
}

bool sampler_draws(const struct sampler *s) {
  return s->adjusted == NULL;
}

void sampler_draw(struct sampler *s, struct draw *out) {
  *out = (struct draw){
      .temperature = (float)s->temperature, .top_k = s->top_k, .top_p = (float)s->top_p, .min_p = (float)s->min_p};
  if (s->temperature > 0) out->uniform = rng_double(&s->rng);
}
