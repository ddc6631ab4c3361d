/* sirllm: sinks and the most surprising tokens (SirLLM, Yao 2024), at cache-relative positions.
 *
 * Upstream, before a dialogue round of `coming` tokens is fed to a full cache of sinks + recent + entropy: keep the
 * sinks, the (entropy - coming) tokens of highest weight among all, sinks included, and then, newest first, others
 * until only (cache - coming) are kept. A token's weight is its surprisal, -log p, when it came; after each round the
 * weights of earlier rounds are multiplied by `decay`; the first token of a round gets the round's largest weight,
 * because upstream has no logits before it. (`recent` therefore only enlarges the cache.) mode=repo reproduces
 * upstream's off-by-one: the weight is -log of the probability that the token before is repeated.
 *
 * Here room is made token by token (rounds.h): for the j-th token of the round upstream's rule runs with coming = j.
 * The rule is nested (what it keeps for j it would also choose out of what it kept for j - 1), so that when a round of
 * m tokens ends, exactly what upstream keeps for coming = m is left; only the round's early tokens see more than
 * upstream's, and text may be fed in any pieces. A round is what lies between two calls of session_end_turn. With a
 * full cache and coming = j exactly one token goes: the oldest that is no sink among those outside the top (entropy -
 * j). Ties of weight: the newer stays. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/policies/policy.h"

struct ranked {
  double weight;
  uint64_t position;
  uint32_t slot;
};

struct sirllm_policy {
  struct policy base;
  struct policy_rounds rounds;
  uint32_t first_slot;  /* of the running segment's first token */
  double largest;       /* weight in the running segment, its first token left out; 0 while there is none */
  uint64_t turn_start;  /* position of the running round's first token; UINT64_MAX: it has none */
  double *weight;       /* [slots] */
  struct ranked *order; /* [slots] kept tokens of finished segments, lightest first */
  uint32_t n_order;
};

/* ---- settings ---- */

static sluice_status configure(const struct spec *spec, struct policy_settings *out, struct sluice_error *err) {
  sluice_status st = policy_tokens(spec, "sinks", 4, 0, &out->sinks, err);
  if (!st) st = policy_tokens(spec, "recent", 0, 0, &out->recent, err);
  if (!st) st = policy_budget(spec, "entropy", out->sinks + out->recent, 1020, out, &out->entropy, err);
  if (!st) st = spec_double(spec, "decay", 1, 0, 1, &out->decay, err);
  if (st) return st;
  const char *mode = spec_get(spec, "mode");
  out->repo = mode && strcmp(mode, "repo") == 0;
  if (mode && !out->repo && strcmp(mode, "paper") != 0)
    return sluice_fail(err, SLUICE_USAGE, "%s: mode=%s: expected paper or repo", spec->name, mode);
  return SLUICE_OK;
}

static sluice_status describe(const struct policy_settings *s, struct buffer *out, struct sluice_error *err) {
  char decay[40];
  for (int digits = 1; digits <= 17; digits++) { /* the shortest text that reads back as the same number */
    snprintf(decay, sizeof decay, "%.*g", digits, s->decay);
    if (strtod(decay, NULL) == s->decay) break;
  }
  return buffer_printf(out, err, ":sinks=%u,recent=%u,entropy=%u,decay=%s,mode=%s", s->sinks, s->recent, s->entropy,
                       decay, s->repo ? "repo" : "paper");
}

/* ---- state ---- */

static size_t slots_of(const struct policy *p) {
  return (size_t)p->settings.budget + KV_CHUNK + SLOT_BLOCK;
}

static void close_sirllm(struct policy *p) {
  struct sirllm_policy *l = (struct sirllm_policy *)p;
  free(l->weight);
  free(l->order);
}

static sluice_status open_sirllm(struct policy *p, uint64_t seed, struct sluice_error *err) {
  struct sirllm_policy *l = (struct sirllm_policy *)p;
  (void)seed;
  rounds_open(&l->rounds, &p->settings);
  l->turn_start = UINT64_MAX;
  l->weight = calloc(slots_of(p), sizeof *l->weight);
  l->order = calloc(slots_of(p), sizeof *l->order);
  return l->weight && l->order ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "out of memory");
}

static int lighter(const void *a, const void *b) {
  const struct ranked *x = a, *y = b;
  if (x->weight != y->weight) return x->weight < y->weight ? -1 : 1;
  return x->position < y->position ? -1 : x->position > y->position;
}

static void rank_past(struct sirllm_policy *l, const struct kv_store *s) {
  l->n_order = s->n_kept - l->rounds.segment;
  for (uint32_t i = 0; i < l->n_order; i++) {
    const uint32_t slot = s->kept[i];
    l->order[i] = (struct ranked){l->weight[slot], s->position[slot], slot};
  }
  qsort(l->order, l->n_order, sizeof *l->order, lighter);
}

/* The running segment becomes part of the past. */
static void end_segment(struct sirllm_policy *l) {
  if (l->rounds.segment) l->weight[l->first_slot] = l->largest;
  l->rounds.segment = 0;
  l->largest = 0;
}

/* ---- eviction ---- */

static size_t reach(const struct policy *p) {
  const struct policy_rounds *r = &((const struct sirllm_policy *)p)->rounds;
  return r->segment_max - r->segment; /* end_segment ran when it was full: never 0 */
}

static uint32_t index_of(const struct kv_store *s, uint64_t position) {
  uint32_t low = 0, high = s->n_kept;
  while (low + 1 < high) {
    const uint32_t middle = low + (high - low) / 2;
    if (s->position[s->kept[middle]] <= position)
      low = middle;
    else
      high = middle;
  }
  return low;
}

static void append(struct policy *p, struct kv_store *s) {
  struct sirllm_policy *l = (struct sirllm_policy *)p;
  uint32_t first, end;
  if (!rounds_append(&l->rounds, &p->settings, s, &first, &end)) return;
  const uint32_t coming = l->rounds.segment;
  const uint32_t top = p->settings.entropy > coming ? p->settings.entropy - coming : 0;
  const uint32_t outside = end - top; /* lightest tokens, sinks among them: never more than sinks without another */
  uint32_t victim = UINT32_MAX;
  for (uint32_t i = 0; i < outside; i++) { /* sinks came first, so they have the first slots */
    if (l->order[i].slot < p->settings.sinks) continue;
    if (victim == UINT32_MAX || l->order[i].position < l->order[victim].position) victim = i;
  }
  kv_evict(s, index_of(s, l->order[victim].position));
  memmove(l->order + victim, l->order + victim + 1, (l->n_order - victim - 1) * sizeof *l->order);
  l->n_order--;
}

static void observe(struct policy *p, const struct kv_store *s, const uint32_t *slots, const float *surprisal,
                    size_t n) {
  struct sirllm_policy *l = (struct sirllm_policy *)p;
  const uint32_t before = l->rounds.segment - (uint32_t)n;
  if (l->turn_start == UINT64_MAX) l->turn_start = s->position[slots[0]];
  for (size_t i = 0; i < n; i++) {
    if (before + i == 0) {
      l->first_slot = slots[0];
      continue;
    }
    const double weight = surprisal[i] > 0 ? (double)surprisal[i] : 0; /* also what is no number */
    l->weight[slots[i]] = weight;
    if (weight > l->largest) l->largest = weight;
  }
  if (l->rounds.segment == l->rounds.segment_max) {
    end_segment(l);
    rank_past(l, s);
  }
}

static void end_turn(struct policy *p, struct kv_store *s) {
  struct sirllm_policy *l = (struct sirllm_policy *)p;
  if (l->turn_start == UINT64_MAX) return;
  end_segment(l);
  for (uint32_t i = 0; i < s->n_kept && s->position[s->kept[i]] < l->turn_start; i++)
    l->weight[s->kept[i]] *= p->settings.decay;
  l->turn_start = UINT64_MAX;
  rank_past(l, s);
}

/* ---- copies ---- */

static sluice_status fork_sirllm(const struct policy *from, struct policy *to, struct sluice_error *err) {
  const struct sirllm_policy *l = (const struct sirllm_policy *)from;
  struct sirllm_policy *copy = (struct sirllm_policy *)to;
  double *weight = copy->weight;
  struct ranked *order = copy->order;
  (void)err;
  memcpy(weight, l->weight, slots_of(from) * sizeof *weight);
  memcpy(order, l->order, l->n_order * sizeof *order);
  *copy = *l;
  copy->weight = weight;
  copy->order = order;
  return SLUICE_OK;
}

static sluice_status snapshot(const struct policy *p, const struct kv_store *s, struct buffer *out,
                              struct sluice_error *err) {
  const struct sirllm_policy *l = (const struct sirllm_policy *)p;
  sluice_status st = buffer_append(out, &l->rounds.segment, sizeof l->rounds.segment, err);
  if (!st) st = buffer_append(out, &l->first_slot, sizeof l->first_slot, err);
  if (!st) st = buffer_append(out, &l->largest, sizeof l->largest, err);
  if (!st) st = buffer_append(out, &l->turn_start, sizeof l->turn_start, err);
  return st ? st : buffer_append(out, l->weight, s->next * sizeof *l->weight, err);
}

static sluice_status restore(struct policy *p, const struct kv_store *s, struct slice *from, struct sluice_error *err) {
  struct sirllm_policy *l = (struct sirllm_policy *)p;
  sluice_status st = rounds_restore(&l->rounds, s, from, err);
  if (!st) st = policy_take(from, &l->first_slot, sizeof l->first_slot, err);
  if (!st) st = policy_take(from, &l->largest, sizeof l->largest, err);
  if (!st) st = policy_take(from, &l->turn_start, sizeof l->turn_start, err);
  if (!st) st = policy_take(from, l->weight, s->next * sizeof *l->weight, err);
  if (st) return st;
  if (l->rounds.segment >= l->rounds.segment_max || (l->rounds.segment && l->first_slot >= s->next))
    return sluice_fail(err, SLUICE_INPUT, "snapshot: a round of %u tokens that starts in slot %u", l->rounds.segment,
                       l->first_slot);
  rank_past(l, s);
  return SLUICE_OK;
}

static const char *const known_keys[] = {"sinks", "recent", "entropy", "decay", "mode", "budget", NULL};

const struct policy_family policy_sirllm = {
    .name = "sirllm",
    .known_keys = known_keys,
    .form = KEYS_AT_CACHE_POSITION,
    .n_segments = 1,
    .wants_surprisal = true,
    .size = sizeof(struct sirllm_policy),
    .configure = configure,
    .describe = describe,
    .open = open_sirllm,
    .close = close_sirllm,
    .reach = reach,
    .append = append,
    .attend = policy_attend_cache,
    .observe = observe,
    .end_turn = end_turn,
    .fork = fork_sirllm,
    .snapshot = snapshot,
    .restore = restore,
};
