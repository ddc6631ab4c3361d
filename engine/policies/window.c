/* window: the last `budget` tokens stay, with the keys and values that they had, at true positions. The baseline that
 * collapses once the first tokens leave (StreamingLLM, Xiao 2023, table 1: "0+1024"). */
#include "engine/policies/policy.h"

static sluice_status configure(const struct spec *spec, struct policy_settings *out, struct sluice_error *err) {
  return policy_tokens(spec, "budget", 1024, 1, &out->budget, err);
}

static sluice_status describe(const struct policy_settings *s, struct buffer *out, struct sluice_error *err) {
  return buffer_printf(out, err, ":budget=%u", s->budget);
}

static void append(struct policy *p, struct kv_store *s) {
  if (s->n_kept == p->settings.budget) kv_evict(s, 0);
}

static const char *const known_keys[] = {"budget", NULL};

const struct policy_family policy_window = {
    .name = "window",
    .known_keys = known_keys,
    .form = KEYS_AT_TRUE_POSITION,
    .n_segments = 1,
    .size = sizeof(struct policy),
    .configure = configure,
    .describe = describe,
    .append = append,
    .attend = policy_attend_true,
};
