/* random: SirLLM's baseline. Sinks stay, the running round stays (rounds.c), and for each token that comes over the
 * budget one token of the earlier rounds goes, each with the same chance: what is left of them is a uniform random
 * subset, as if upstream's choice before the round had been drawn at once. Cache-relative positions, as all of SirLLM's
 * policies. The draws follow from the key `seed` and the session's seed, and from nothing else. */
#include "engine/policies/policy.h"

struct random_policy {
  struct policy base;
  struct policy_rounds rounds;
  struct rng rng;
};

static sluice_status configure(const struct spec *spec, struct policy_settings *out, struct sluice_error *err) {
  int64_t seed;
  sluice_status st = policy_tokens(spec, "sinks", 4, 0, &out->sinks, err);
  if (!st) st = policy_tokens(spec, "budget", 1024, 1, &out->budget, err);
  if (!st && out->budget <= out->sinks)
    st = sluice_fail(err, SLUICE_USAGE, "%s: budget=%u must exceed sinks=%u", spec->name, out->budget, out->sinks);
  if (!st) st = spec_int(spec, "seed", 0, 0, INT64_MAX, &seed, err);
  if (!st) out->seed = (uint64_t)seed;
  return st;
}

static sluice_status describe(const struct policy_settings *s, struct buffer *out, struct sluice_error *err) {
  return buffer_printf(out, err, ":budget=%u,sinks=%u,seed=%llu", s->budget, s->sinks, (unsigned long long)s->seed);
}

static sluice_status open_random(struct policy *p, uint64_t seed, struct sluice_error *err) {
  struct random_policy *r = (struct random_policy *)p;
  const uint64_t both[2] = {seed, p->settings.seed};
  (void)err;
  rounds_open(&r->rounds, &p->settings);
  rng_seed_named(&r->rng, hash64(both, sizeof both), "policy random");
  return SLUICE_OK;
}

static void append(struct policy *p, struct kv_store *s) {
  struct random_policy *r = (struct random_policy *)p;
  uint32_t first, end;
  if (rounds_append(&r->rounds, &p->settings, s, &first, &end)) kv_evict(s, first + rng_below(&r->rng, end - first));
}

static void end_turn(struct policy *p, struct kv_store *s) {
  (void)s;
  ((struct random_policy *)p)->rounds.segment = 0;
}

static sluice_status fork_random(const struct policy *from, struct policy *to, struct sluice_error *err) {
  (void)err;
  *(struct random_policy *)to = *(const struct random_policy *)from;
  return SLUICE_OK;
}

static sluice_status snapshot(const struct policy *p, const struct kv_store *s, struct buffer *out,
                              struct sluice_error *err) {
  const struct random_policy *r = (const struct random_policy *)p;
  (void)s;
  sluice_status st = buffer_append(out, &r->rounds.segment, sizeof r->rounds.segment, err);
  return st ? st : buffer_append(out, &r->rng, sizeof r->rng, err);
}

static sluice_status restore(struct policy *p, const struct kv_store *s, struct slice *from, struct sluice_error *err) {
  struct random_policy *r = (struct random_policy *)p;
  sluice_status st = rounds_restore(&r->rounds, s, from, err);
  return st ? st : policy_take(from, &r->rng, sizeof r->rng, err);
}

static const char *const known_keys[] = {"budget", "sinks", "seed", NULL};

const struct policy_family policy_random = {
    .name = "random",
    .known_keys = known_keys,
    .form = KEYS_AT_CACHE_POSITION,
    .n_segments = 1,
    .size = sizeof(struct random_policy),
    .configure = configure,
    .describe = describe,
    .open = open_random,
    .append = append,
    .attend = policy_attend_cache,
    .end_turn = end_turn,
    .fork = fork_random,
    .snapshot = snapshot,
    .restore = restore,
};
