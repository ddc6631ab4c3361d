/* Release modes and sides as a policy file says them. */
#include "monitor/guard.h"

#include <cjson/cJSON.h>
#include <string.h>

static const char *const modes[] = {"strict", "bounded", "optimistic", "shadow", NULL};
static const char *const sides[] = {"answer", "prompt", NULL};

const char *monitor_mode_name(enum monitor_mode m) {
  return modes[m];
}

static sluice_status pick(const char *where, const char *word, const char *const *known, int *out,
                          struct sluice_error *err) {
  for (int i = 0; known[i]; i++)
    if (strcmp(known[i], word) == 0) {
      *out = i;
      return SLUICE_OK;
    }
  const char *near = suggest(word, known);
  return sluice_fail(err, SLUICE_USAGE, "%s: \"%s\" is not known%s%s%s", where, word, near ? "; did you mean \"" : "",
                     near ? near : "", near ? "\"?" : "");
}

static sluice_status check_bounds(const char *where, const struct mode_setting *m, struct sluice_error *err) {
  if (m->mode == MONITOR_BOUNDED && !m->tokens && !m->ms)
    return sluice_fail(err, SLUICE_USAGE,
                       "%s: bounded wants a bound: {\"mode\": \"bounded\", \"tokens\": 8, \"ms\": 100}", where);
  if (m->mode != MONITOR_BOUNDED && (m->tokens || m->ms))
    return sluice_fail(err, SLUICE_USAGE, "%s: \"tokens\" and \"ms\" belong to the mode \"bounded\"", where);
  return SLUICE_OK;
}

sluice_status mode_read(const char *where, const cJSON *value, struct mode_setting *out, struct sluice_error *err) {
  static const char *const keys[] = {"mode", "tokens", "ms", NULL};
  const char *word = NULL;
  int at = 0;
  *out = (struct mode_setting){MONITOR_STRICT, 0, 0};
  sluice_status st = SLUICE_OK;
  if (cJSON_IsString(value)) {
    word = value->valuestring;
  } else if (cJSON_IsObject(value)) {
    st = json_check_keys(value, where, keys, err);
    if (!st) st = json_string(value, where, "mode", true, NULL, &word, err);
    if (!st) st = json_int(value, where, "tokens", false, 0, 1, BOUNDED_PIECES_MAX, &out->tokens, err);
    if (!st) st = json_int(value, where, "ms", false, 0, 1, 60000, &out->ms, err);
  } else {
    return sluice_fail(err, SLUICE_USAGE, "%s: wants a mode's name, or an object with \"mode\"", where);
  }
  if (!st) st = pick(where, word, modes, &at, err);
  out->mode = (enum monitor_mode)at;
  return st ? st : check_bounds(where, out, err);
}

sluice_status mode_from_words(const char *words, struct mode_setting *out, struct sluice_error *err) {
  static const char *const keys[] = {"tokens", "ms", NULL};
  struct spec spec = {0};
  int at = 0;
  *out = (struct mode_setting){MONITOR_STRICT, 0, 0};
  sluice_status st = spec_parse(words, &spec, err);
  if (!st) st = spec_check_keys(&spec, keys, err);
  if (!st) st = pick("mode", spec.name, modes, &at, err);
  out->mode = (enum monitor_mode)at;
  if (!st) st = spec_int(&spec, "tokens", 0, 1, BOUNDED_PIECES_MAX, &out->tokens, err);
  if (!st) st = spec_int(&spec, "ms", 0, 1, 60000, &out->ms, err);
  if (!st) st = check_bounds("mode", out, err);
  spec_free(&spec);
  return st;
}

static const char *text_of(const cJSON *o, const char *key) {
  const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);
  return cJSON_IsString(v) ? v->valuestring : "";
}

static bool has_category(const cJSON *root, const char *category) {
  const cJSON *rule = NULL;
  cJSON_ArrayForEach(rule, cJSON_GetObjectItemCaseSensitive(root, "rules")) {
    if (strcmp(text_of(rule, "category"), category) == 0) return true;
  }
  return false;
}

/* "modes" of a policy or a route: category -> mode. */
static sluice_status of_category(const char *where, const cJSON *root, const cJSON *o, const char *category,
                                 const cJSON **value, struct sluice_error *err) {
  const cJSON *map = cJSON_GetObjectItemCaseSensitive(o, "modes"), *one = NULL;
  *value = NULL;
  if (!map) return SLUICE_OK;
  if (!cJSON_IsObject(map))
    return sluice_fail(err, SLUICE_USAGE, "%s.modes: wants an object of categories and their modes", where);
  cJSON_ArrayForEach(one, map) {
    if (!has_category(root, one->string))
      return sluice_fail(err, SLUICE_USAGE, "%s.modes: no rule has the category \"%s\"", where, one->string);
    if (strcmp(one->string, category) == 0) *value = one;
  }
  return SLUICE_OK;
}

sluice_status mode_of_rule(const char *name, const cJSON *root, const cJSON *route, const cJSON *rule,
                           struct mode_setting *out, struct sluice_error *err) {
  const char *category = text_of(rule, "category");
  const cJSON *of_route = NULL, *of_root = NULL, *value = NULL;
  char where[360];
  sluice_status st = of_category(name, root, root, category, &of_root, err);
  snprintf(where, sizeof where, "%.200s: route %.100s", name, route ? text_of(route, "name") : "");
  if (!st && route) st = of_category(where, root, route, category, &of_route, err);
  if (st) return st;
  /* the nearest word counts: of the route, then of the rule, then of the policy */
  if (route) value = of_route ? of_route : cJSON_GetObjectItemCaseSensitive(route, "mode");
  if (!value) {
    snprintf(where, sizeof where, "%.200s: rule %.100s.mode", name, text_of(rule, "id"));
    value = cJSON_GetObjectItemCaseSensitive(rule, "mode");
  }
  if (!value) {
    snprintf(where, sizeof where, "%.200s: mode of category %.100s", name, category);
    value = of_root ? of_root : cJSON_GetObjectItemCaseSensitive(root, "mode");
  }
  *out = (struct mode_setting){MONITOR_STRICT, 0, 0};
  if (value) st = mode_read(where, value, out, err);
  /* a rule that only records holds nothing back in any mode */
  if (!st && out->mode != MONITOR_SHADOW && strcmp(text_of(rule, "action"), "flag") == 0)
    *out = (struct mode_setting){MONITOR_STRICT, 0, 0};
  return st;
}

sluice_status sides_of_rule(const char *name, const cJSON *root, const cJSON *rule, bool out[MONITOR_SIDES],
                            struct sluice_error *err) {
  const cJSON *on = cJSON_GetObjectItemCaseSensitive(rule, "on");
  char where[360];
  int at = 0;
  snprintf(where, sizeof where, "%.200s: rule %.100s.on", name, text_of(rule, "id"));
  if (!on) {
    on = cJSON_GetObjectItemCaseSensitive(root, "on");
    snprintf(where, sizeof where, "%.200s: on", name);
  }
  out[MONITOR_ANSWER] = !on;
  out[MONITOR_ASKED] = false;
  if (!on) return SLUICE_OK;
  const cJSON *one = cJSON_IsArray(on) ? on->child : on;
  if (!one) return sluice_fail(err, SLUICE_USAGE, "%s: wants \"prompt\", \"answer\" or both in a list", where);
  for (; one; one = cJSON_IsArray(on) ? one->next : NULL) {
    if (!cJSON_IsString(one))
      return sluice_fail(err, SLUICE_USAGE, "%s: wants \"prompt\", \"answer\" or both in a list", where);
    sluice_status st = pick(where, one->valuestring, sides, &at, err);
    if (st) return st;
    out[at] = true;
  }
  return SLUICE_OK;
}

void modes_strip(cJSON *root) {
  static const char *const of_root[] = {"mode", "modes", "routes", "on"}, *const of_rule[] = {"mode", "on"};
  cJSON *rule = NULL;
  if (!cJSON_IsObject(root)) return;
  for (size_t i = 0; i < 4; i++) cJSON_DeleteItemFromObjectCaseSensitive(root, of_root[i]);
  cJSON_ArrayForEach(rule, cJSON_GetObjectItemCaseSensitive(root, "rules")) {
    for (size_t i = 0; i < 2 && cJSON_IsObject(rule); i++) cJSON_DeleteItemFromObjectCaseSensitive(rule, of_rule[i]);
  }
}

sluice_status modes_flatten(const char *name, cJSON *root, struct sluice_error *err) {
  cJSON *rules = cJSON_GetObjectItemCaseSensitive(root, "rules");
  sluice_status st = SLUICE_OK;
  for (cJSON *rule = cJSON_IsArray(rules) ? rules->child : NULL, *next = NULL; !st && rule; rule = next) {
    struct mode_setting mode;
    bool on[MONITOR_SIDES];
    next = rule->next;
    if (!cJSON_IsObject(rule)) continue; /* the reader of rules says it */
    st = mode_of_rule(name, root, NULL, rule, &mode, err);
    if (!st) st = sides_of_rule(name, root, rule, on, err);
    if (!st && !on[MONITOR_ANSWER])
      cJSON_Delete(cJSON_DetachItemViaPointer(rules, rule));
    else if (!st && mode.mode == MONITOR_SHADOW && cJSON_GetObjectItemCaseSensitive(rule, "action"))
      cJSON_ReplaceItemInObjectCaseSensitive(rule, "action", cJSON_CreateString("flag"));
  }
  if (!st) modes_strip(root);
  return st;
}
