/* Measures what decides between cache policies on a model: how much attention falls on the first token, and how
 * surprising the words are that a later question asks for.
 *
 *   measure_sinks MODEL_DIR [DATASET [DIALOGUES]]        default: grocery:depth=random,seed=7 and 20
 *
 * Prints, for each layer and head, the mean attention probability of position 0 over queries from position 64 on (an
 * even spread would give about 1/position); then the mean surprisal in nats of evidence tokens and of all others, and
 * the share of tokens that are less surprising than an evidence token. The forward pass is written out plainly, in
 * float64. */
#include "datasets/datasets.h"
#include "engine/engine.h"
#include "engine/model/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_QUERY = 64 };

struct tally {
  double mass[128][64]; /* [layer][head] */
  double even;          /* what an even spread would give */
  size_t queries;
  double evidence_nats, other_nats, below;
  size_t evidence, others;
};

struct text {
  struct buffer bytes, marks; /* marks: one byte a byte of text, 1 where evidence lies */
};

static void die(const struct sluice_error *err) {
  fprintf(stderr, "measure_sinks: %s\n", err->message);
  exit(1);
}

static void append(struct text *t, const char *s, const char *evidence) {
  struct sluice_error err;
  const size_t n = strlen(s);
  char *mark = calloc(n + 1, 1);
  const char *at = evidence ? strstr(s, evidence) : NULL;
  if (at) memset(mark + (at - s), 1, strlen(evidence));
  if (buffer_append(&t->bytes, s, n, &err) || buffer_append(&t->marks, mark, n, &err)) die(&err);
  free(mark);
}

/* The dialogue with its right answers, under the embedded model's template. */
static void lay_out(const struct dialogue *d, struct text *t) {
  for (size_t i = 0; i < d->n_turns; i++) {
    const struct turn *turn = &d->turns[i];
    const char *evidence = NULL;
    for (size_t k = 0; k < d->n_turns; k++)
      if (d->turns[k].evidence && d->turns[k].evidence_turn == (int)i &&
          !strcmp(d->turns[k].metric ? d->turns[k].metric : "", "acc_g"))
        evidence = d->turns[k].evidence;
    if (turn->task == TASK_TEXT) {
      append(t, turn->text, NULL);
      continue;
    }
    append(t, turn->role == TURN_USER ? "<|user|>" : turn->role == TURN_BOT ? "<|bot|>" : "<|system|>", NULL);
    append(t, turn->text, evidence);
    if (turn->task == TASK_CHOOSE && turn->answer >= 0) append(t, turn->choices[turn->answer].text, NULL);
    if (turn->task == TASK_GENERATE && turn->expected) append(t, turn->expected, NULL);
    append(t, "<|end|>", NULL);
  }
}

static void product(const float *w, int rows, int cols, const double *x, double *y) {
  for (int r = 0; r < rows; r++) {
    double sum = 0;
    for (int c = 0; c < cols; c++) sum += (double)w[(size_t)r * (size_t)cols + (size_t)c] * x[c];
    y[r] = sum;
  }
}

static void norm(const struct model_config *c, const double *x, const float *gain, double *y) {
  double squares = 0;
  for (int i = 0; i < c->d_model; i++) squares += x[i] * x[i];
  for (int i = 0; i < c->d_model; i++) y[i] = x[i] / sqrt(squares / c->d_model + (double)c->norm_eps) * (double)gain[i];
}

static void rotate(const struct model_config *c, double *x, int heads, size_t position) {
  const int half = c->head_dim / 2;
  for (int h = 0; h < heads; h++, x += c->head_dim)
    for (int i = 0; i < half; i++) {
      const double a = (double)position * pow(c->rope_theta, -2.0 * i / c->head_dim), u = x[i], v = x[i + half];
      x[i] = u * cos(a) - v * sin(a);
      x[i + half] = v * cos(a) + u * sin(a);
    }
}

struct matrices {
  float *embedding, *head, *wq, *wk, *wv, *wo, *gate, *up, *down;
};

static void attend(const struct model_config *c, int layer, size_t t, const double *q, const double *keys,
                   const double *values, double *out, struct tally *tally) {
  const int hd = c->head_dim, group = c->n_heads / c->n_kv_heads, kv = c->n_kv_heads * hd;
  double *p = malloc((t + 1) * sizeof *p);
  for (int h = 0; h < c->n_heads; h++) {
    double largest = -INFINITY, total = 0;
    for (size_t j = 0; j <= t; j++) {
      p[j] = 0;
      for (int i = 0; i < hd; i++) p[j] += q[h * hd + i] * keys[j * (size_t)kv + (size_t)(h / group * hd + i)];
      p[j] /= sqrt(hd);
      largest = fmax(largest, p[j]);
    }
    for (size_t j = 0; j <= t; j++) total += p[j] = exp(p[j] - largest);
    for (int i = 0; i < hd; i++) {
      out[h * hd + i] = 0;
      for (size_t j = 0; j <= t; j++)
        out[h * hd + i] += p[j] / total * values[j * (size_t)kv + (size_t)(h / group * hd + i)];
    }
    if (t >= FIRST_QUERY) tally->mass[layer][h] += p[0] / total;
  }
  free(p);
}

/* All positions of one text through one layer, in place on x[T][d]. */
static void run_layer(const struct model *m, int layer, double *x, size_t T, const struct matrices *w,
                      struct tally *tally) {
  const struct model_config *c = &m->config;
  const struct layer_weights *l = &m->layers[layer];
  const int d = c->d_model, a = c->n_heads * c->head_dim, kv = c->n_kv_heads * c->head_dim, f = c->d_ff;
  double *keys = malloc(T * (size_t)kv * sizeof *keys), *values = malloc(T * (size_t)kv * sizeof *values);
  double *h = malloc((size_t)d * sizeof *h), *q = malloc((size_t)a * sizeof *q),
         *mixed = malloc((size_t)a * sizeof *mixed);
  double *gate = malloc((size_t)f * sizeof *gate), *up = malloc((size_t)f * sizeof *up);
  for (size_t t = 0; t < T; t++) {
    double *row = x + t * (size_t)d;
    norm(c, row, l->attn_norm, h);
    product(w->wq, a, d, h, q), product(w->wk, kv, d, h, keys + t * (size_t)kv),
        product(w->wv, kv, d, h, values + t * (size_t)kv);
    rotate(c, q, c->n_heads, t), rotate(c, keys + t * (size_t)kv, c->n_kv_heads, t);
    attend(c, layer, t, q, keys, values, mixed, tally);
    product(w->wo, d, a, mixed, h);
    for (int i = 0; i < d; i++) row[i] += h[i];
    norm(c, row, l->ffn_norm, h);
    product(w->gate, f, d, h, gate), product(w->up, f, d, h, up);
    for (int i = 0; i < f; i++) gate[i] = gate[i] / (1 + exp(-gate[i])) * up[i];
    product(w->down, d, f, gate, h);
    for (int i = 0; i < d; i++) row[i] += h[i];
  }
  free(keys), free(values), free(h), free(q), free(mixed), free(gate), free(up);
}

static double surprisal(const double *logits, int vocab, int32_t id) {
  double largest = -INFINITY, total = 0;
  for (int i = 0; i < vocab; i++) largest = fmax(largest, logits[i]);
  for (int i = 0; i < vocab; i++) total += exp(logits[i] - largest);
  return largest + log(total) - logits[id];
}

static void count_surprisal(const double *nats, const unsigned char *evidence, size_t T, struct tally *tally) {
  for (size_t t = 0; t < T; t++) {
    if (!evidence[t]) {
      tally->others++, tally->other_nats += nats[t];
      continue;
    }
    size_t below = 0;
    for (size_t k = 0; k < T; k++) below += nats[k] < nats[t];
    tally->evidence++, tally->evidence_nats += nats[t], tally->below += (double)below / (double)T;
  }
}

static void measure(const struct model *m, struct matrices *w, const struct dialogue *dialogue, struct tally *tally) {
  struct sluice_error err;
  struct text text;
  const struct model_config *c = &m->config;
  int32_t *ids = NULL;
  size_t T = 0, at = 0;
  buffer_init(&text.bytes, 0), buffer_init(&text.marks, 0);
  lay_out(dialogue, &text);
  if (tokenizer_encode(m->tok, (struct slice){text.bytes.ptr, text.bytes.len}, TOKENIZE_SPECIALS, &ids, &T, &err))
    die(&err);
  double *x = malloc((T + 1) * (size_t)c->d_model * sizeof *x), *h = malloc((size_t)c->d_model * sizeof *h);
  double *logits = malloc((size_t)c->vocab * sizeof *logits), *nats = malloc(T * sizeof *nats);
  unsigned char *evidence = calloc(T, 1);
  for (size_t t = 0; t <= T; t++)
    for (int i = 0; i < c->d_model; i++)
      x[t * (size_t)c->d_model + (size_t)i] =
          (double)w->embedding[(size_t)(t ? ids[t - 1] : c->bos) * (size_t)c->d_model + (size_t)i];
  for (int l = 0; l < c->n_layers; l++) run_layer(m, l, x, T + 1, &w[l], tally);
  for (size_t t = 0; t < T; t++) {
    norm(c, x + t * (size_t)c->d_model, m->final_norm, h);
    product(w->head, c->vocab, c->d_model, h, logits);
    nats[t] = surprisal(logits, c->vocab, ids[t]);
    for (size_t k = tokenizer_bytes(m->tok, ids[t]).len; k > 0; k--) evidence[t] |= (unsigned char)text.marks.ptr[at++];
  }
  for (size_t t = FIRST_QUERY; t <= T; t++) tally->queries++, tally->even += 1.0 / (double)(t + 1);
  count_surprisal(nats, evidence, T, tally);
  free(x), free(h), free(logits), free(nats), free(evidence), free(ids);
  buffer_free(&text.bytes), buffer_free(&text.marks);
}

static void print(const struct model_config *c, const struct tally *t) {
  printf("attention on position 0, mean over %zu queries from position %d on (an even spread: %.4f)\n", t->queries,
         FIRST_QUERY, t->even / (double)t->queries);
  for (int l = 0; l < c->n_layers; l++) {
    printf("  layer %d ", l);
    for (int h = 0; h < c->n_heads; h++) printf(" %.4f", t->mass[l][h] / (double)t->queries);
    printf("\n");
  }
  if (t->evidence)
    printf("surprisal: evidence tokens %.2f nats (%zu), others %.2f nats (%zu); an evidence token is above %.1f %% of "
           "its dialogue\n",
           t->evidence_nats / (double)t->evidence, t->evidence, t->other_nats / (double)t->others, t->others,
           100 * t->below / (double)t->evidence);
}

int main(int argc, char **argv) {
  struct sluice_error err;
  struct model *m;
  struct dataset *data;
  static struct tally tally;
  if (argc < 2) return fprintf(stderr, "usage: measure_sinks MODEL_DIR [DATASET [DIALOGUES]]\n"), 2;
  if (model_open(argv[1], &m, &err) || dataset_open(argc > 2 ? argv[2] : "grocery:depth=random,seed=7", &data, &err))
    die(&err);
  const size_t n = argc > 3 ? (size_t)strtoul(argv[3], NULL, 10) : 20;
  struct matrices *w = calloc((size_t)m->config.n_layers + 1, sizeof *w);
  for (int l = 0; l < m->config.n_layers; l++) {
    const struct layer_weights *s = &m->layers[l];
    w[l] = (struct matrices){.wq = weight_to_float(&s->wq),
                             .wk = weight_to_float(&s->wk),
                             .wv = weight_to_float(&s->wv),
                             .wo = weight_to_float(&s->wo),
                             .gate = weight_to_float(&s->w_gate),
                             .up = weight_to_float(&s->w_up),
                             .down = weight_to_float(&s->w_down)};
  }
  w[0].embedding = weight_to_float(&m->embedding), w[0].head = weight_to_float(&m->lm_head);
  for (size_t i = 0; i < n && i < dataset_size(data); i++) {
    struct dialogue d;
    if (dataset_dialogue(data, i, &d, &err)) die(&err);
    measure(m, w, &d, &tally);
    dialogue_free(&d);
  }
  print(&m->config, &tally);
  return 0;
}
