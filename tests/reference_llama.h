/* A Llama forward pass in float64, and the cache policies, as plain loops over lists of kept tokens: slow and obvious.
 * The engine is tested against it, so it includes nothing of the engine. Sources: RMSNorm (Zhang 2019), SwiGLU (Shazeer
 * 2020), RoPE half-split (Su 2021, as in Hugging Face), GQA (Ainslie 2023), StreamingLLM (Xiao 2023), SirLLM (Yao
 * 2024). */
#ifndef SLUICE_TESTS_REFERENCE_LLAMA_H
#define SLUICE_TESTS_REFERENCE_LLAMA_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { REF_LAYERS = 4, REF_KV = 64 /* n_kv_heads * head_dim at most */, REF_KEPT = 512 };

struct ref_layer { /* what a model does not have is NULL */
  double *attn_norm, *ffn_norm, *wq, *wk, *wv, *wo, *gate, *up, *down;
  double *attn_norm_bias, *ffn_norm_bias, *q_norm, *k_norm, *bq, *bk, *bv, *bo, *b_gate, *b_up, *b_down;
};
enum ref_activation { REF_SILU, REF_GELU, REF_GELU_TANH };
enum ref_rope { REF_ROPE_PLAIN, REF_ROPE_DYNAMIC, REF_ROPE_YARN, REF_ROPE_LONG };

struct ref_model {
  int n_layers, d, heads, kv_heads, head_dim, ff, vocab;
  double eps, theta;
  enum ref_activation activation;
  bool layer_norm, parallel, neighbours;
  enum ref_rope rope;
  double rope_factor, rope_context, rope_attention;        /* the last: of YaRN and LongRoPE, on queries and on keys */
  int rotary, window, window_from;                         /* dimensions of a head; tokens, 0: no window */
  double *embedding, *head, *final_norm, *final_norm_bias; /* [vocab][d], [vocab][d], [d], [d] */
  struct ref_layer layer[REF_LAYERS];
};

/* A kept token. Keys are as the projection gave them, before any rotation. */
struct ref_token {
  int64_t position; /* in the text */
  double k[REF_LAYERS][REF_KV], v[REF_LAYERS][REF_KV];
  double weight; /* SirLLM */
  int turn;      /* SirLLM: number of its dialogue round */
};

enum ref_rule { REF_FULL, REF_WINDOW, REF_STREAMING, REF_SIRLLM, REF_RANDOM, REF_INTERVAL };

struct ref_policy {
  enum ref_rule rule;
  int budget, sinks, recent, entropy;
  double decay;
  bool repo;
  /* running state */
  struct ref_token *kept; /* [REF_KEPT] */
  int n, text;            /* kept tokens, tokens seen */
  int segment;            /* tokens of the running segment: the last ones of kept */
  int turn;
  int last_id;
  double *last_logits; /* [vocab] */
  struct rng rng;
  int sweep;
};

/* transformers' modeling_rope_utils.py: dynamic NTK for a text of position + 1 tokens; YaRN with 32 and 1 rotations. */
static inline double ref_frequency(const struct ref_model *m, int i, int64_t position) {
  const int dim = m->rotary;
  double base = m->theta;
  if (m->rope == REF_ROPE_DYNAMIC) {
    const double seen = fmax((double)position + 1, m->rope_context);
    base *= pow(m->rope_factor * seen / m->rope_context - (m->rope_factor - 1), (double)dim / (dim - 2));
  }
  const double extrapolated = 1 / pow(base, 2.0 * i / dim);
  if (m->rope != REF_ROPE_YARN) return extrapolated;
  const double turn = 2 * acos(-1.0), log2base = 2 * log(base);
  double low = floor(dim * log(m->rope_context / (32 * turn)) / log2base),
         high = ceil(dim * log(m->rope_context / (1 * turn)) / log2base);
  if (low < 0) low = 0;
  if (high > dim - 1) high = dim - 1;
  if (low == high) high += 0.001;
  double ramp = (i - low) / (high - low);
  if (ramp < 0) ramp = 0;
  if (ramp > 1) ramp = 1;
  return extrapolated / m->rope_factor * ramp + extrapolated * (1 - ramp);
}

static inline void ref_rotate(const struct ref_model *m, double *x, int n_heads, int64_t position) {
  const int half = m->rotary / 2;
  for (int h = 0; h < n_heads; h++)
    for (int i = 0; i < half; i++) {
      const double angle = (double)position * ref_frequency(m, i, position);
      const double size = m->rope >= REF_ROPE_YARN ? m->rope_attention : 1;
      double *head = &x[h * m->head_dim], *a = m->neighbours ? &head[2 * i] : &head[i],
             *b = m->neighbours ? &head[2 * i + 1] : &head[half + i];
      const double u = *a, v = *b;
      *a = size * (u * cos(angle) - v * sin(angle));
      *b = size * (v * cos(angle) + u * sin(angle));
    }
}

/* y = W x + bias */
static inline void ref_linear(const double *w, const double *bias, int rows, int cols, const double *x, double *y) {
  for (int r = 0; r < rows; r++) {
    y[r] = bias ? bias[r] : 0;
    for (int c = 0; c < cols; c++) y[r] += w[(size_t)r * (size_t)cols + (size_t)c] * x[c];
  }
}

static inline void ref_rms(double eps, const double *x, const double *gain, int n, double *y) {
  double squares = 0;
  for (int i = 0; i < n; i++) squares += x[i] * x[i];
  const double root = sqrt(squares / n + eps);
  for (int i = 0; i < n; i++) y[i] = x[i] / root * gain[i];
}

static inline void ref_norm(const struct ref_model *m, const double *x, const double *gain, const double *bias,
                            double *y) {
  double mean = 0, variance = 0;
  if (!m->layer_norm) {
    ref_rms(m->eps, x, gain, m->d, y);
    return;
  }
  for (int i = 0; i < m->d; i++) mean += x[i] / m->d;
  for (int i = 0; i < m->d; i++) variance += (x[i] - mean) * (x[i] - mean) / m->d;
  for (int i = 0; i < m->d; i++) y[i] = (x[i] - mean) / sqrt(variance + m->eps) * gain[i] + bias[i];
}

static inline double ref_activate(const struct ref_model *m, double x) {
  switch (m->activation) {
  case REF_SILU:
    return x / (1 + exp(-x));
  case REF_GELU:
    return x / 2 * (1 + erf(x / sqrt(2)));
  case REF_GELU_TANH:
    return x / 2 * (1 + tanh(sqrt(2 / acos(-1.0)) * (x + 0.044715 * x * x * x)));
  }
  return 0;
}

/* mixed = softmax(q K^T / sqrt(head_dim)) V over those of kept[0..n) that the layer's window holds; the newest is the
 * one that asks. */
static inline void ref_attend(const struct ref_model *m, const struct ref_token *kept, int n, int layer,
                              bool cache_positions, const double *q_in, double *mixed) {
  double q[512], k[REF_KV], score[REF_KEPT];
  const int group = m->heads / m->kv_heads, hd = m->head_dim;
  const int64_t asks = cache_positions ? n - 1 : kept[n - 1].position;
  memcpy(q, q_in, sizeof(double) * (size_t)(m->heads * hd));
  ref_rotate(m, q, m->heads, asks);
  for (int h = 0; h < m->heads; h++) {
    double largest = -INFINITY, total = 0;
    for (int j = 0; j < n; j++) {
      const int64_t position = cache_positions ? j : kept[j].position;
      memcpy(k, kept[j].k[layer], sizeof k);
      ref_rotate(m, k, m->kv_heads, position);
      score[j] = 0;
      for (int i = 0; i < hd; i++) score[j] += q[h * hd + i] * k[h / group * hd + i];
      score[j] /= sqrt(hd);
      if (m->window && layer >= m->window_from && asks - position >= m->window) score[j] = -INFINITY;
      largest = fmax(largest, score[j]);
    }
    for (int j = 0; j < n; j++) total += score[j] = exp(score[j] - largest);
    for (int i = 0; i < hd; i++) {
      mixed[h * hd + i] = 0;
      for (int j = 0; j < n; j++) mixed[h * hd + i] += score[j] / total * kept[j].v[layer][h / group * hd + i];
    }
  }
}

/* out = FFN(h) */
static inline void ref_ffn(const struct ref_model *m, const struct ref_layer *w, const double *h, double *out) {
  double gate[1024], up[1024];
  ref_linear(w->up, w->b_up, m->ff, m->d, h, up);
  if (w->gate) ref_linear(w->gate, w->b_gate, m->ff, m->d, h, gate);
  for (int i = 0; i < m->ff; i++) up[i] = w->gate ? ref_activate(m, gate[i]) * up[i] : ref_activate(m, up[i]);
  ref_linear(w->down, w->b_down, m->d, m->ff, up, out);
}

/* One layer of one token, the last of kept[0..n): fills its keys and values, changes x. */
static inline void ref_layer_run(const struct ref_model *m, struct ref_token *kept, int n, int l, bool cache_positions,
                                 double *x) {
  double h[256], q[512], mixed[512], out[256], ffn[256];
  const struct ref_layer *w = &m->layer[l];
  struct ref_token *self = &kept[n - 1];
  const int hd = m->head_dim;
  ref_norm(m, x, w->attn_norm, w->attn_norm_bias, h);
  ref_linear(w->wq, w->bq, m->heads * hd, m->d, h, q);
  ref_linear(w->wk, w->bk, m->kv_heads * hd, m->d, h, self->k[l]);
  ref_linear(w->wv, w->bv, m->kv_heads * hd, m->d, h, self->v[l]);
  for (int i = 0; w->q_norm && i < m->heads; i++) ref_rms(m->eps, q + i * hd, w->q_norm, hd, q + i * hd);
  for (int i = 0; w->k_norm && i < m->kv_heads; i++)
    ref_rms(m->eps, self->k[l] + i * hd, w->k_norm, hd, self->k[l] + i * hd);
  ref_attend(m, kept, n, l, cache_positions, q, mixed);
  ref_linear(w->wo, w->bo, m->d, m->heads * hd, mixed, out);
  if (m->parallel) { /* x + attention(norm(x)) + FFN(other norm(x)) */
    ref_norm(m, x, w->ffn_norm, w->ffn_norm_bias, h);
    ref_ffn(m, w, h, ffn);
    for (int i = 0; i < m->d; i++) x[i] += out[i] + ffn[i];
    return;
  }
  for (int i = 0; i < m->d; i++) x[i] += out[i];
  ref_norm(m, x, w->ffn_norm, w->ffn_norm_bias, h);
  ref_ffn(m, w, h, out);
  for (int i = 0; i < m->d; i++) x[i] += out[i];
}

/* Runs one token, the last of kept[0..n): fills its keys and values, gives its logits. */
static inline void ref_forward(const struct ref_model *m, struct ref_token *kept, int n, bool cache_positions, int id,
                               double *logits) {
  double x[256], h[256];
  memcpy(x, m->embedding + (size_t)id * (size_t)m->d, sizeof(double) * (size_t)m->d);
  for (int l = 0; l < m->n_layers; l++) ref_layer_run(m, kept, n, l, cache_positions, x);
  ref_norm(m, x, m->final_norm, m->final_norm_bias, h);
  ref_linear(m->head, NULL, m->vocab, m->d, h, logits);
}

static inline double ref_surprisal(const double *logits, int vocab, int id) {
  double largest = -INFINITY, total = 0;
  for (int i = 0; i < vocab; i++) largest = fmax(largest, logits[i]);
  for (int i = 0; i < vocab; i++) total += exp(logits[i] - largest);
  return largest + log(total) - logits[id];
}

/* ---- policies ---- */

static inline void ref_drop(struct ref_policy *p, int index) {
  memmove(&p->kept[index], &p->kept[index + 1], sizeof *p->kept * (size_t)(p->n - index - 1));
  p->n--;
}

/* SirLLM's published rule over the first `past` kept tokens, for `coming` tokens; save[i] tells who stays. Ties: the
 * newer. */
static inline void ref_sirllm_rule(const struct ref_policy *p, int past, int coming, bool *save) {
  const int cache = p->sinks + p->recent + p->entropy, keep = cache - coming;
  int top = p->entropy - coming, saved = 0;
  if (top < 0) top = 0;
  for (int i = 0; i < past; i++) save[i] = past + coming <= cache;
  if (past + coming <= cache) return;
  for (int round = 0; round < top; round++) { /* the heaviest not yet taken */
    int best = -1;
    for (int i = 0; i < past; i++)
      if (!save[i] && (best < 0 || p->kept[i].weight >= p->kept[best].weight)) best = i;
    save[best] = true;
  }
  for (int i = 0; i < p->sinks; i++) save[i] = true;
  for (int i = 0; i < past; i++) saved += save[i];
  for (int i = past - 1; i >= 0 && saved < keep; i--)
    if (!save[i]) save[i] = true, saved++;
}

static inline int ref_segment_max(const struct ref_policy *p) {
  const int half = (p->budget - p->sinks) / 2;
  return half ? half : 1;
}

static inline void ref_end_segment(struct ref_policy *p) {
  double largest = 0;
  for (int i = p->n - p->segment + 1; i < p->n; i++) largest = fmax(largest, p->kept[i].weight);
  if (p->segment) p->kept[p->n - p->segment].weight = largest;
  p->segment = 0;
}

static inline void ref_make_room(struct ref_policy *p) {
  if (p->rule >= REF_SIRLLM && p->segment == ref_segment_max(p)) ref_end_segment(p);
  const int past = p->n - p->segment;
  if (p->rule != REF_FULL && p->n == p->budget) {
    bool save[REF_KEPT];
    switch (p->rule) {
    case REF_FULL:
      break;
    case REF_WINDOW:
      ref_drop(p, 0);
      break;
    case REF_STREAMING:
      ref_drop(p, p->sinks);
      break;
    case REF_SIRLLM:
      ref_sirllm_rule(p, past, p->segment + 1, save);
      for (int i = past - 1; i >= 0; i--)
        if (!save[i]) ref_drop(p, i);
      break;
    case REF_RANDOM:
      ref_drop(p, p->sinks + (int)rng_below(&p->rng, (uint32_t)(past - p->sinks)));
      break;
    case REF_INTERVAL: { /* keep one, drop the next, start over behind the newest of the past */
      int victim = p->sinks + p->sweep + 1;
      if (victim >= past) victim = past > p->sinks + 1 ? p->sinks + 1 : p->sinks;
      ref_drop(p, victim);
      p->sweep = victim - p->sinks;
      break;
    }
    }
  }
  p->segment++;
}

/* One token of text; logits[vocab]. */
static inline void ref_append(const struct ref_model *m, struct ref_policy *p, int id, double *logits) {
  ref_make_room(p);
  struct ref_token *t = &p->kept[p->n++];
  memset(t, 0, sizeof *t);
  t->position = p->text++;
  t->turn = p->turn;
  if (p->last_logits && t->position > 0) t->weight = ref_surprisal(p->last_logits, m->vocab, p->repo ? p->last_id : id);
  ref_forward(m, p->kept, p->n, p->rule >= REF_STREAMING, id, logits);
  if (!p->last_logits) p->last_logits = malloc(sizeof(double) * (size_t)m->vocab);
  memcpy(p->last_logits, logits, sizeof(double) * (size_t)m->vocab);
  p->last_id = id;
}

/* The end of a dialogue round: the weights of all earlier rounds fade. */
static inline void ref_end_turn(struct ref_policy *p) {
  if (p->rule < REF_SIRLLM) return; /* the others know no rounds */
  ref_end_segment(p);
  for (int i = 0; i < p->n; i++)
    if (p->kept[i].turn < p->turn) p->kept[i].weight *= p->decay;
  p->turn++;
}

static inline void ref_close(struct ref_policy *p) {
  free(p->kept);
  free(p->last_logits);
}

/* Sliding window with re-computation: the last `budget` ids from scratch. */
static inline void ref_recompute(const struct ref_model *m, const int *ids, int n, int budget, double *logits) {
  struct ref_policy p = {.rule = REF_FULL, .kept = calloc(REF_KEPT, sizeof *p.kept)};
  for (int i = n > budget ? n - budget : 0; i < n; i++) ref_append(m, &p, ids[i], logits);
  ref_close(&p);
}

#endif
