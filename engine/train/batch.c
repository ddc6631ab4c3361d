#include "engine/train/batch.h"

#include <stdlib.h>
#include <string.h>

enum { STEP_TOKENS_MAX = 1 << 24 }; /* so that rows are counted in an int everywhere */

struct worker {
  double weight_sum;
  sluice_status status;
  struct sluice_error err;
};

struct batcher {
  const struct train_options *options;
  const struct tokenizer *tokenizer;
  struct corpus **corpora; /* [n_stages] */
  struct team *team;
  struct worker *workers; /* [lanes] */
  int32_t *tokens, *targets;
  real *weights;
  int max_length, max_batch;
  int64_t steps;
  int stage;   /* of the batch in flight */
  size_t line; /* its first line */
};

void batcher_close(struct batcher *b) {
  if (!b) return;
  for (int i = 0; b->corpora && i < b->options->n_stages; i++) corpus_close(b->corpora[i]);
  if (b->team) team_stop(b->team);
  free(b->corpora), free(b->workers), free(b->tokens), free(b->targets), free(b->weights);
  free(b);
}

static sluice_status check_stage(const struct train_options *o, int i, struct sluice_error *err) {
  const struct train_stage *s = &o->stages[i];
  if (s->length < 2 || s->length > 65536 || s->batch < 1 || s->batch > 65536 || s->steps < 1)
    return sluice_fail(err, SLUICE_USAGE,
                       "stage %d: length 2..65536, batch 1..65536 and steps of at least 1 are asked for", i + 1);
  if ((int64_t)s->length * s->batch > STEP_TOKENS_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "stage %d: %lld tokens a step, at most %d; lower the batch or the length",
                       i + 1, (long long)s->length * s->batch, STEP_TOKENS_MAX);
  if (s->batch % o->lanes != 0)
    return sluice_fail(err, SLUICE_USAGE, "stage %d: the batch of %d is not a multiple of %d lanes", i + 1, s->batch,
                       o->lanes);
  return SLUICE_OK;
}

sluice_status batcher_open(const struct train_options *o, const struct tokenizer *t, struct batcher **out,
                           struct sluice_error *err) {
  struct batcher *b = calloc(1, sizeof *b);
  if (!b) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  b->options = o, b->tokenizer = t;
  b->corpora = calloc((size_t)o->n_stages, sizeof *b->corpora);
  b->workers = calloc((size_t)o->lanes, sizeof *b->workers);
  sluice_status st = b->corpora && b->workers ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "out of memory");
  size_t most = 0;
  for (int i = 0; !st && i < o->n_stages; i++) {
    const struct train_stage *s = &o->stages[i];
    st = check_stage(o, i, err);
    if (!st) st = corpus_open(s->data, &b->corpora[i], err);
    if (st) break;
    if ((size_t)s->length * (size_t)s->batch > most) most = (size_t)s->length * (size_t)s->batch;
    if (s->length > b->max_length) b->max_length = s->length;
    if (s->batch > b->max_batch) b->max_batch = s->batch;
    b->steps += s->steps;
  }
  if (!st) {
    b->tokens = malloc(most * sizeof *b->tokens), b->targets = malloc(most * sizeof *b->targets);
    b->weights = malloc(most * sizeof *b->weights);
    if (!b->tokens || !b->targets || !b->weights)
      st = sluice_fail(err, SLUICE_NOMEM, "out of memory for a batch of %zu tokens", most);
  }
  if (!st) st = team_start(o->lanes, &b->team, err);
  if (st) {
    batcher_close(b);
    return st;
  }
  *out = b;
  return SLUICE_OK;
}

int batcher_max_length(const struct batcher *b) {
  return b->max_length;
}
int batcher_max_batch(const struct batcher *b) {
  return b->max_batch;
}
int64_t batcher_steps(const struct batcher *b) {
  return b->steps;
}

static void fill_lane(void *ctx, int lane) {
  struct batcher *b = ctx;
  struct worker *w = &b->workers[lane];
  const struct train_stage *s = &b->options->stages[b->stage];
  const struct corpus *c = b->corpora[b->stage];
  const int share = s->batch / b->options->lanes;
  w->status = SLUICE_OK, w->weight_sum = 0;
  for (int i = lane * share; i < (lane + 1) * share && !w->status; i++) {
    const size_t at = (size_t)i * (size_t)s->length;
    const struct sequence q = {b->tokens + at, b->targets + at, b->weights + at};
    w->status = corpus_sequence(c, b->tokenizer, (b->line + (size_t)i) % corpus_lines(c), s->length,
                                b->options->answer_weight, q, &w->weight_sum, &w->err);
  }
}

sluice_status batcher_fill(struct batcher *b, int64_t step, struct net_batch *out, double *weight_sum, int *stage,
                           struct sluice_error *err) {
  int i = 0;
  while (step >= b->options->stages[i].steps) step -= b->options->stages[i++].steps;
  const struct train_stage *s = &b->options->stages[i];
  *stage = b->stage = i;
  b->line = (size_t)step * (size_t)s->batch;
  team_run(b->team, fill_lane, b);
  *weight_sum = 0;
  for (int k = 0; k < b->options->lanes; k++) {
    if (b->workers[k].status) {
      *err = b->workers[k].err;
      return b->workers[k].status;
    }
    *weight_sum += b->workers[k].weight_sum;
  }
  if (*weight_sum <= 0) return sluice_fail(err, SLUICE_INPUT, "%s: a batch without a single token", s->data);
  *out = (struct net_batch){s->batch, s->length, b->tokens, b->targets, b->weights, (real)(1.0 / *weight_sum)};
  return SLUICE_OK;
}
