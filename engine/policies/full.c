/* full: every token stays, at its true position. */
#include "engine/policies/policy.h"

void policy_attend_true(const struct policy *p, const struct kv_store *s, uint64_t position, struct kv_segment *out) {
  (void)p;
  *out = (struct kv_segment){.first_slot = 0, .end_slot = s->next, .query_position = position};
}

void policy_attend_cache(const struct policy *p, const struct kv_store *s, uint64_t position, struct kv_segment *out) {
  (void)p, (void)position;
  *out = (struct kv_segment){.first_slot = 0, .end_slot = s->next, .query_position = s->n_kept - 1};
}

static sluice_status configure(const struct spec *spec, struct policy_settings *out, struct sluice_error *err) {
  (void)spec, (void)out, (void)err;
  return SLUICE_OK;
}

static const char *const known_keys[] = {NULL};

const struct policy_family policy_full = {
    .name = "full",
    .known_keys = known_keys,
    .form = KEYS_AT_TRUE_POSITION,
    .n_segments = 1,
    .size = sizeof(struct policy),
    .configure = configure,
    .attend = policy_attend_true,
};
