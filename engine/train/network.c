/* Which of the compiled networks this CPU runs, and where each parameter lies. */
#include "engine/train/network.h"

#include <string.h>

static bool cpu_runs(const char *name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (strcmp(name, "avx512bf16") == 0) return avx512 && __builtin_cpu_supports("avx512bf16");
  if (strcmp(name, "avx512") == 0) return avx512;
  if (strcmp(name, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return strcmp(name, "portable") == 0;
}

sluice_status network_kernels(const char *name, bool bf16, const struct net_kernels **out, struct sluice_error *err) {
  static const struct net_kernels *const best_first[] = {
#if defined(__x86_64__)
    &net_avx512bf16,
    &net_avx512,
    &net_avx2,
#endif
    &net_portable
  };
  for (size_t i = 0; i < sizeof best_first / sizeof *best_first; i++) {
    if (name && strcmp(name, best_first[i]->name) != 0) continue;
    if (!name && !bf16 && strcmp(best_first[i]->name, "avx512bf16") == 0) continue; /* it rounds every operand */
    if (!cpu_runs(best_first[i]->name)) {
      if (!name) continue;
      return sluice_fail(err, SLUICE_USAGE, "kernel '%s': this CPU lacks its instructions", name);
    }
    *out = best_first[i];
    return SLUICE_OK;
  }
  return sluice_fail(err, SLUICE_USAGE, "kernel '%s': unknown; one of avx512bf16, avx512, avx2, portable", name);
}

sluice_status net_shape_from_config(const struct model_config *c, struct net_shape *out, struct sluice_error *err) {
  if (!c->tied)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "training wants \"tie_word_embeddings\": true in config.json");
  if (c->rope_scaling.type != ROPE_DEFAULT)
    return sluice_fail(err, SLUICE_UNSUPPORTED, "training does no RoPE scaling; config.json asks for it");
  if (c->norm != NORM_RMS || c->plain_ffn || c->parallel_residual || c->qkv_bias || c->o_bias || c->ffn_bias ||
      c->qk_norm || c->window || (c->rotary_dims && c->rotary_dims != c->head_dim))
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "training knows Llama's block alone: no biases, no QK norm, no sliding window; config.json asks "
                       "for %s",
                       c->family);
  if (c->n_layers > NET_MAX_LAYERS)
    return sluice_fail(err, SLUICE_LIMIT, "training does at most %d layers; config.json has %d", NET_MAX_LAYERS,
                       c->n_layers);
  struct net_shape *s = out;
  memset(s, 0, sizeof *s);
  s->V = c->vocab, s->D = c->d_model, s->L = c->n_layers, s->H = c->n_heads, s->KV = c->n_kv_heads, s->hd = c->head_dim;
  s->F = c->d_ff, s->eps = c->norm_eps, s->theta = c->rope_theta;
  const size_t D = (size_t)s->D, A = (size_t)(s->H * s->hd), Q = A + 2 * (size_t)(s->KV * s->hd), F = (size_t)s->F;
  size_t n = (size_t)s->V * D;
  for (int i = 0; i < s->L; i++) {
    struct net_layer *l = &s->layer[i];
    l->norm1 = n, n += D;
    l->wqkv = n, n += Q * D;
    l->wo = n, n += D * A;
    l->norm2 = n, n += D;
    l->wgu = n, n += 2 * F * D;
    l->wdown = n, n += D * F;
  }
  s->final_norm = n;
  s->size = n + D;
  return SLUICE_OK;
}
