/* dump_states MODEL IDS OUT [GREEDY [KERNEL [THREADS [DEVICE]]]]: what the engine computes for a text, for comparison
 * with other programs (compare.py, beside this file). IDS is a file of token ids in decimal. OUT gets, in the machine's
 * order: int32 layers, tokens, width, vocab; float32 the residual stream [layers + 1][tokens][width], embeddings first;
 * float32 the logits [tokens][vocab]; when GREEDY is over 0, so many int32 ids that follow the text greedily; and the
 * logits once more, [tokens][vocab], of a session that is given one token at a time. */
#include <stdlib.h>
#include <string.h>

#include "engine/session.h"

struct dump {
  float *states; /* [layers + 1][tokens][width] */
  size_t tokens, width, begun, chunk;
};

static void keep(void *ctx, int layer, int first, int n, const float *x, size_t stride) {
  struct dump *d = ctx;
  if (layer < 0) {
    d->begun += d->chunk;
    d->chunk = (size_t)n;
  }
  for (size_t t = 0; t < (size_t)n; t++)
    memcpy(d->states + ((size_t)(layer + 1) * d->tokens + d->begun + (size_t)first + t) * d->width, x + t * stride,
           d->width * sizeof *x);
}

static sluice_status read_ids(const char *path, int32_t **ids, size_t *n, struct sluice_error *err) {
  char *text;
  sluice_status st = file_read(path, 0, &text, NULL, err);
  if (st) return st;
  *ids = calloc(strlen(text) / 2 + 2, sizeof **ids);
  if (!*ids) st = sluice_fail(err, SLUICE_NOMEM, "out of memory");
  for (char *at = text, *end; !st; at = end) {
    const long id = strtol(at, &end, 10);
    if (end == at) break;
    (*ids)[(*n)++] = (int32_t)id;
  }
  free(text);
  return st;
}

/* Ties go to the lower id, as in the engine's sampler. */
static sluice_status follow(struct session *s, float *logits, int vocab, int32_t *out, int n,
                            struct sluice_error *err) {
  for (int i = 0; i < n; i++) {
    out[i] = 0;
    for (int v = 1; v < vocab; v++)
      if (logits[v] > logits[out[i]]) out[i] = v;
    sluice_status st = session_append(s, out + i, 1, logits, 1, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

static sluice_status step(const struct session *s, const int32_t *ids, size_t n, float *logits, size_t vocab,
                          struct sluice_error *err) {
  struct session *fresh = NULL;
  sluice_status st = session_twin(s, &fresh, err);
  for (size_t i = 0; !st && i < n; i++) st = session_append(fresh, ids + i, 1, logits + i * vocab, 1, err);
  session_close(fresh);
  return st;
}

static sluice_status run(struct session *s, const struct model_config *c, const int32_t *ids, size_t n, int greedy,
                         const char *path, struct sluice_error *err) {
  const size_t width = (size_t)c->d_model, vocab = (size_t)c->vocab, states = ((size_t)c->n_layers + 1) * n * width;
  const int32_t head[4] = {c->n_layers, (int32_t)n, c->d_model, c->vocab};
  const size_t bytes = sizeof head + (states + 2 * n * vocab) * sizeof(float) + (size_t)greedy * sizeof(int32_t);
  char *out = calloc(1, bytes);
  if (!out) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  float *x = (float *)(out + sizeof head), *logits = x + states;
  struct dump d = {.states = x, .tokens = n, .width = width};
  memcpy(out, head, sizeof head);
  s->backend->ops->watch(s->backend, keep, &d);
  sluice_status st = session_append(s, ids, n, logits, n, err);
  s->backend->ops->watch(s->backend, NULL, NULL);
  float *last = malloc(vocab * sizeof *last);
  if (!st && !last) st = sluice_fail(err, SLUICE_NOMEM, "out of memory");
  if (!st) memcpy(last, logits + (n - 1) * vocab, vocab * sizeof *last);
  if (!st) st = follow(s, last, c->vocab, (int32_t *)(logits + n * vocab), greedy, err);
  if (!st) st = step(s, ids, n, logits + n * vocab + greedy, vocab, err);
  if (!st) st = file_write_atomic(path, out, bytes, err);
  free(last);
  free(out);
  return st;
}

int main(int argc, char **argv) {
  struct sluice_error err = {0};
  struct model *m = NULL;
  struct session *s = NULL;
  int32_t *ids = NULL;
  size_t n = 0;
  if (argc < 4) {
    fputs("usage: dump_states MODEL IDS OUT [GREEDY [KERNEL [THREADS [DEVICE]]]]\n", stderr);
    return 2;
  }
  const struct session_options o = {.kernel = argc > 5 && argv[5][0] ? argv[5] : NULL,
                                    .threads = argc > 6 ? (int)strtol(argv[6], NULL, 10) : 1,
                                    .device = argc > 7 ? argv[7] : NULL};
  sluice_status st = read_ids(argv[2], &ids, &n, &err);
  if (!st && n == 0) st = sluice_fail(&err, SLUICE_USAGE, "%s: no token ids", argv[2]);
  if (!st) st = model_open(argv[1], &m, &err);
  if (!st) st = session_open(m, &o, &s, &err);
  if (!st) st = run(s, model_configuration(m), ids, n, argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0, argv[3], &err);
  session_close(s);
  model_close(m);
  free(ids);
  if (st) fprintf(stderr, "dump_states: %s\n", err.message);
  return st ? sluice_exit_code(st) : 0;
}
