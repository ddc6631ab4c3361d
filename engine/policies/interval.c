/* interval: SirLLM's baseline "Interval": of the earlier rounds, tokens at even distances stay. A stream cannot know
 * the distance beforehand, so the past is thinned in sweeps: from the oldest token behind the sinks to the newest of
 * the rounds before, one stays, the next goes for a token that comes, one stays, and so on; at the end the sweep starts
 * over. After each whole sweep the past holds every second token of what it was. Sinks and the running round stay whole
 * (rounds.c); positions are cache-relative, as in all of SirLLM's policies. */
#include "engine/policies/policy.h"

struct interval_policy {
  struct policy base;
  struct policy_rounds rounds;
  uint32_t next; /* index behind the sinks of the token that the sweep has reached */
};

static sluice_status configure(const struct spec *spec, struct policy_settings *out, struct sluice_error *err) {
  sluice_status st = policy_tokens(spec, "sinks", 4, 0, &out->sinks, err);
  if (!st) st = policy_tokens(spec, "budget", 1024, 1, &out->budget, err);
  if (!st && out->budget <= out->sinks)
    st = sluice_fail(err, SLUICE_USAGE, "%s: budget=%u must exceed sinks=%u", spec->name, out->budget, out->sinks);
  return st;
}

static sluice_status describe(const struct policy_settings *s, struct buffer *out, struct sluice_error *err) {
  return buffer_printf(out, err, ":budget=%u,sinks=%u", s->budget, s->sinks);
}

static sluice_status open_interval(struct policy *p, uint64_t seed, struct sluice_error *err) {
  (void)seed, (void)err;
  rounds_open(&((struct interval_policy *)p)->rounds, &p->settings);
  return SLUICE_OK;
}

static void append(struct policy *p, struct kv_store *s) {
  struct interval_policy *v = (struct interval_policy *)p;
  uint32_t first, end;
  if (!rounds_append(&v->rounds, &p->settings, s, &first, &end)) return;
  uint32_t victim = first + v->next + 1; /* the one at `next` stays */
  if (victim >= end) victim = end > first + 1 ? first + 1 : first;
  kv_evict(s, victim);
  v->next = victim - first; /* what stood behind the victim stands there now, and stays */
}

static void end_turn(struct policy *p, struct kv_store *s) {
  (void)s;
  ((struct interval_policy *)p)->rounds.segment = 0;
}

static sluice_status fork_interval(const struct policy *from, struct policy *to, struct sluice_error *err) {
  (void)err;
  *(struct interval_policy *)to = *(const struct interval_policy *)from;
  return SLUICE_OK;
}

static sluice_status snapshot(const struct policy *p, const struct kv_store *s, struct buffer *out,
                              struct sluice_error *err) {
  const struct interval_policy *v = (const struct interval_policy *)p;
  (void)s;
  sluice_status st = buffer_append(out, &v->rounds.segment, sizeof v->rounds.segment, err);
  return st ? st : buffer_append(out, &v->next, sizeof v->next, err);
}

static sluice_status restore(struct policy *p, const struct kv_store *s, struct slice *from, struct sluice_error *err) {
  struct interval_policy *v = (struct interval_policy *)p;
  uint32_t next = 0;
  sluice_status st = rounds_restore(&v->rounds, s, from, err);
  if (!st) st = policy_take(from, &next, sizeof next, err);
  if (st) return st;
  if (next > p->settings.budget) return sluice_fail(err, SLUICE_INPUT, "snapshot: a sweep at token %u", next);
  v->next = next;
  return SLUICE_OK;
}

static const char *const known_keys[] = {"budget", "sinks", NULL};

const struct policy_family policy_interval = {
    .name = "interval",
    .known_keys = known_keys,
    .form = KEYS_AT_CACHE_POSITION,
    .n_segments = 1,
    .size = sizeof(struct interval_policy),
    .configure = configure,
    .describe = describe,
    .open = open_interval,
    .append = append,
    .attend = policy_attend_cache,
    .end_turn = end_turn,
    .fork = fork_interval,
    .snapshot = snapshot,
    .restore = restore,
};
