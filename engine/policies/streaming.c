/* streaming: the first `sinks` tokens and the last `recent` ones stay (StreamingLLM, Xiao 2023). The room for a token
 * is made before it is attended, so that it and what it sees are never more than sinks + recent; upstream's
 * evict_for_space with one coming token does the same.
 *
 * Positions are those within the cache, yet no stored key is ever rotated again. All keys lie rotated at their true
 * positions. Among the recent tokens only differences count, and those are the same in the cache, so a query at its
 * true position sees them right. The sinks' true positions are their cache positions, 0 to sinks - 1, so they are seen
 * by the query at its own cache position. The two parts are merged by log-sum-exp. */
#include "engine/policies/policy.h"

static sluice_status configure(const struct spec *spec, struct policy_settings *out, struct sluice_error *err) {
  sluice_status st = policy_tokens(spec, "sinks", 4, 0, &out->sinks, err);
  return st ? st : policy_budget(spec, "recent", out->sinks, 1020, out, &out->recent, err);
}

static sluice_status describe(const struct policy_settings *s, struct buffer *out, struct sluice_error *err) {
  return buffer_printf(out, err, ":sinks=%u,recent=%u", s->sinks, s->recent);
}

static void append(struct policy *p, struct kv_store *s) {
  if (s->n_kept == p->settings.budget) kv_evict(s, p->settings.sinks);
}

static void attend(const struct policy *p, const struct kv_store *s, uint64_t position, struct kv_segment *out) {
  (void)p;
  out[0] = (struct kv_segment){.first_slot = 0, .end_slot = s->next_pinned, .query_position = s->n_kept - 1};
  out[1] = (struct kv_segment){.first_slot = s->pinned, .end_slot = s->next, .query_position = position};
}

static const char *const known_keys[] = {"sinks", "recent", "budget", NULL};

const struct policy_family policy_streaming = {
    .name = "streaming",
    .known_keys = known_keys,
    .form = KEYS_AT_TRUE_POSITION,
    .n_segments = 2,
    .pins_sinks = true,
    .size = sizeof(struct policy),
    .configure = configure,
    .describe = describe,
    .append = append,
    .attend = attend,
};
