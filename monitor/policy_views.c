/* "views" of rules, and from them which rules run over which lane. */
#include "monitor/policy_views.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const char *const view_names[] = {"raw", "folded", "leet", "decoded", NULL}; /* bit i of VIEW_* */

sluice_status policy_read_views(const cJSON *o, const char *where, unsigned otherwise, unsigned *views,
                                struct sluice_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(o, "views"), *item = NULL;
  *views = otherwise;
  if (!list) return SLUICE_OK;
  if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) == 0)
    return sluice_fail(err, SLUICE_USAGE, "%s.views: wants a list of \"raw\", \"folded\", \"leet\", \"decoded\"",
                       where);
  *views = 0;
  cJSON_ArrayForEach(item, list) {
    const char *name = cJSON_IsString(item) ? item->valuestring : "";
    int i = 0;
    while (view_names[i] && strcmp(view_names[i], name) != 0) i++;
    if (!view_names[i]) {
      const char *near = suggest(name, view_names);
      return sluice_fail(err, SLUICE_USAGE, "%s.views: \"%s\" is none of raw, folded, leet, decoded%s%s%s", where, name,
                         near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    *views |= 1u << i;
  }
  return SLUICE_OK;
}

unsigned policy_default_views(bool caseless, bool checked) {
  return VIEW_RAW | VIEW_FOLDED | VIEW_DECODED | (caseless && !checked ? VIEW_LEET : 0u);
}

/* A derived lane sleeps while its text is its base's, and relies on what that one holds back meanwhile: so the base
 * runs the derived lane's rules too, even where they do not report. */
static bool runs_in(unsigned views, enum lane_kind k) {
  const unsigned looks = VIEW_FOLDED | VIEW_LEET;
  if (k >= LANE_DECODED && !(views & VIEW_DECODED)) return false;
  switch (k) {
  case LANE_RAW:
    return views & (VIEW_RAW | looks);
  case LANE_FOLDED:
  case LANE_DECODED_FOLDED:
    return views & looks;
  case LANE_LEET:
  case LANE_DECODED_LEET:
    return views & VIEW_LEET;
  default:
    return true;
  }
}

sluice_status policy_index_lanes(struct monitor_policy *p, struct sluice_error *err) {
  for (int k = 0; k < LANES; k++) {
    p->lane_rules[k] = calloc(p->n_open_words ? p->n_open_words : 1, sizeof(uint64_t));
    if (!p->lane_rules[k]) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
    for (size_t i = 0; i < p->n_rules; i++) {
      const struct rule *r = &p->rules[i];
      if (!runs_in(r->views, (enum lane_kind)k)) continue;
      p->lane_rules[k][i / 64] |= (uint64_t)1 << (i % 64);
      p->lane_any[k] = true;
      size_t back = r->max_match + r->look_behind + r->keyword_longest + MONITOR_WORD_MAX + 8;
      if (back > p->lane_back[k]) p->lane_back[k] = back;
    }
  }
  return SLUICE_OK;
}

void policy_free_lanes(struct monitor_policy *p) {
  for (int k = 0; k < LANES; k++) free(p->lane_rules[k]);
}
