/* A policy file with its modes, sides and routes: the rules of each mode become a policy of their own, so that what a
 * rule means stays what monitor.h says, whatever other rules do. Equal selections of rules are compiled once. */
#include "monitor/guard.h"

#include <cjson/cJSON.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>

enum { POLICY_BYTES_MAX = 16 << 20 };

struct reading { /* of one policy file */
  const char *name, *dir;
  cJSON *root;
  const struct mode_setting *forced; /* NULL: as the file says */
  struct monitor_guard *g;
};

/* ---- policies for selections of rules ---- */

static cJSON *only_selected(const cJSON *root, const char *selection) {
  cJSON *copy = cJSON_Duplicate(root, true);
  cJSON *rules = copy ? cJSON_GetObjectItemCaseSensitive(copy, "rules") : NULL;
  size_t i = 0;
  for (cJSON *rule = rules ? rules->child : NULL, *next = NULL; rule; rule = next, i++) {
    next = rule->next;
    if (selection[i] != '1') cJSON_Delete(cJSON_DetachItemViaPointer(rules, rule));
  }
  if (copy) modes_strip(copy);
  return copy;
}

static sluice_status compile(const struct reading *r, const char *selection, struct monitor_policy **out,
                             struct sluice_error *err) {
  cJSON *root = only_selected(r->root, selection);
  char *text = root ? cJSON_PrintUnformatted(root) : NULL;
  sluice_status st = text ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", r->name);
  if (!st) st = monitor_policy_parse(r->name, r->dir, slice_of(text), out, err);
  cJSON_free(text);
  cJSON_Delete(root);
  return st;
}

/* The policy of these rules, compiled when it is new. */
static sluice_status obtain(const struct reading *r, const char *selection, size_t *at, struct sluice_error *err) {
  struct monitor_guard *g = r->g;
  for (*at = 0; *at < g->n_policies; ++*at)
    if (strcmp(g->selections[*at], selection) == 0) return SLUICE_OK;
  struct monitor_policy **policies = realloc(g->policies, (g->n_policies + 1) * sizeof *policies);
  if (policies) g->policies = policies;
  char **selections = realloc(g->selections, (g->n_policies + 1) * sizeof *selections);
  if (selections) g->selections = selections;
  char *copy = arena_strndup(&g->strings, selection, strlen(selection));
  if (!policies || !selections || !copy) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", r->name);
  sluice_status st = SLUICE_OK;
  struct monitor_policy *p = g->whole;
  if (strchr(selection, '0')) st = compile(r, selection, &p, err);
  if (st) return st;
  g->policies[g->n_policies] = p;
  g->selections[g->n_policies++] = copy;
  return SLUICE_OK;
}

/* ---- one side of one route ---- */

static bool same_mode(const struct mode_setting *a, const struct mode_setting *b) {
  return a->mode == b->mode && a->tokens == b->tokens && a->ms == b->ms;
}

static sluice_status read_side(const struct reading *r, const cJSON *route, int side, struct guard_side *out,
                               struct sluice_error *err) {
  const cJSON *rules = cJSON_GetObjectItemCaseSensitive(r->root, "rules"), *rule = NULL;
  size_t n = (size_t)cJSON_GetArraySize(rules), at = 0;
  struct mode_setting modes[GUARD_PARTS_MAX];
  char *selections = calloc(GUARD_PARTS_MAX, n + 1);
  if (!selections) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", r->name);
  memset(selections, '0', GUARD_PARTS_MAX * (n + 1));
  sluice_status st = SLUICE_OK;
  cJSON_ArrayForEach(rule, rules) {
    struct mode_setting mode;
    bool sides[MONITOR_SIDES];
    size_t part = 0, rule_at = at++;
    st = mode_of_rule(r->name, r->root, route, rule, &mode, err);
    if (!st) st = sides_of_rule(r->name, r->root, rule, sides, err);
    if (st) break;
    if (!sides[side]) continue;
    if (r->forced) mode = *r->forced;
    /* there is no stream to run ahead of: a request is looked at as a whole */
    if (side == MONITOR_ASKED && mode.mode != MONITOR_SHADOW) mode = (struct mode_setting){MONITOR_STRICT, 0, 0};
    while (part < out->n && !same_mode(&modes[part], &mode)) part++;
    if (part == GUARD_PARTS_MAX) {
      st = sluice_fail(err, SLUICE_LIMIT, "%s: more than %d different modes on one route", r->name, GUARD_PARTS_MAX);
      break;
    }
    if (part == out->n) modes[out->n++] = mode;
    selections[part * (n + 1) + rule_at] = '1';
  }
  for (size_t i = 0; !st && i < out->n; i++) {
    char *selection = selections + i * (n + 1);
    selection[n] = '\0';
    out->parts[i].mode = modes[i];
    st = obtain(r, selection, &out->parts[i].policy, err);
  }
  free(selections);
  return st;
}

/* ---- routes ---- */

static sluice_status copy(const struct reading *r, const char *s, char **out, struct sluice_error *err) {
  *out = s ? arena_strndup(&r->g->strings, s, strlen(s)) : NULL;
  return s && !*out ? sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", r->name) : SLUICE_OK;
}

static sluice_status read_headers(const struct reading *r, const char *where, const cJSON *o, struct guard_route *out,
                                  struct sluice_error *err) {
  const cJSON *one = NULL;
  sluice_status st = SLUICE_OK;
  if (!o) return SLUICE_OK;
  if (!cJSON_IsObject(o))
    return sluice_fail(err, SLUICE_USAGE, "%s.header: wants an object of names and values", where);
  cJSON_ArrayForEach(one, o) {
    if (!cJSON_IsString(one) || !one->string[0])
      return sluice_fail(err, SLUICE_USAGE, "%s.header: each value is a string, \"*\" for any", where);
    if (out->n_headers == GUARD_HEADERS_MAX)
      return sluice_fail(err, SLUICE_LIMIT, "%s.header: more than %d", where, GUARD_HEADERS_MAX);
    struct guard_header *h = &out->headers[out->n_headers++];
    st = copy(r, one->string, &h->name, err);
    if (!st) st = copy(r, one->valuestring, &h->value, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

static sluice_status read_match(const struct reading *r, const char *where, const cJSON *o, struct guard_route *out,
                                struct sluice_error *err) {
  static const char *const keys[] = {"path", "dialect", "model", "header", NULL};
  static const char *const dialects[] = {"openai_chat", "openai_completions", "openai_responses", "anthropic", NULL};
  const char *path = NULL, *dialect = NULL, *model = NULL;
  if (!cJSON_IsObject(o) || !o->child)
    return sluice_fail(err, SLUICE_USAGE, "%s.match: wants one or more of path, dialect, model, header", where);
  sluice_status st = json_check_keys(o, where, keys, err);
  if (!st) st = json_string(o, where, "path", false, NULL, &path, err);
  if (!st) st = json_string(o, where, "dialect", false, NULL, &dialect, err);
  if (!st) st = json_string(o, where, "model", false, NULL, &model, err);
  size_t at = 0;
  while (!st && dialect && dialects[at] && strcmp(dialects[at], dialect)) at++;
  if (!st && dialect && !dialects[at]) {
    const char *near = suggest(dialect, dialects);
    return sluice_fail(err, SLUICE_USAGE, "%s.match.dialect: \"%s\" is not known%s%s", where, dialect,
                       near ? "; did you mean " : "", near ? near : "");
  }
  if (!st) st = copy(r, path, &out->path, err);
  if (!st) st = copy(r, dialect, &out->dialect, err);
  if (!st) st = copy(r, model, &out->model, err);
  return st ? st : read_headers(r, where, cJSON_GetObjectItemCaseSensitive(o, "header"), out, err);
}

static sluice_status read_route(const struct reading *r, const cJSON *o, struct sluice_error *err) {
  static const char *const keys[] = {"name", "match", "mode", "modes", NULL};
  struct monitor_guard *g = r->g;
  struct guard_route *out = &g->routes[g->n_routes];
  const char *name = "default";
  char where[360];
  snprintf(where, sizeof where, "%.200s: routes[%zu]", r->name, g->n_routes - !!g->n_routes);
  sluice_status st = SLUICE_OK;
  if (o) {
    if (!cJSON_IsObject(o)) return sluice_fail(err, SLUICE_USAGE, "%s: wants an object", where);
    st = json_check_keys(o, where, keys, err);
    if (!st) st = json_string(o, where, "name", true, NULL, &name, err);
    if (st) return st;
    snprintf(where, sizeof where, "%.200s: route %.100s", r->name, name);
    for (size_t i = 0; i < g->n_routes; i++)
      if (strcmp(g->routes[i].name, name) == 0)
        return sluice_fail(err, SLUICE_USAGE, "%s: this name stands twice", where);
    st = read_match(r, where, cJSON_GetObjectItemCaseSensitive(o, "match"), out, err);
  }
  if (!st) st = copy(r, name, &out->name, err);
  for (int side = 0; !st && side < MONITOR_SIDES; side++) st = read_side(r, o, side, &out->sides[side], err);
  if (!st) g->n_routes++;
  return st;
}

static sluice_status read_routes(const struct reading *r, struct sluice_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(r->root, "routes"), *one = NULL;
  size_t n = list && cJSON_IsArray(list) ? (size_t)cJSON_GetArraySize(list) : 0;
  if (list && (n < 1 || n >= GUARD_ROUTES_MAX))
    return sluice_fail(err, SLUICE_USAGE, "%s.routes: wants a list of 1 to %d routes", r->name, GUARD_ROUTES_MAX - 1);
  r->g->routes = calloc(n + 1, sizeof *r->g->routes);
  if (!r->g->routes) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", r->name);
  sluice_status st = read_route(r, NULL, err);
  cJSON_ArrayForEach(one, list) {
    if (!st) st = read_route(r, one, err);
  }
  return st;
}

/* ---- the whole ---- */

static sluice_status parse(const char *name, const char *dir, struct slice json, const char *mode,
                           struct monitor_guard **out, struct sluice_error *err) {
  struct mode_setting forced;
  struct reading r = {.name = name, .dir = dir, .forced = mode ? &forced : NULL};
  sluice_status st = mode ? mode_from_words(mode, &forced, err) : SLUICE_OK;
  if (st) return st;
  r.g = calloc(1, sizeof *r.g);
  if (!r.g) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", name);
  st = json_parse(name, json.ptr, json.len, true, &r.root, err);
  size_t n = st ? 0 : (size_t)cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(r.root, "rules"));
  char *all = st || n > MONITOR_RULES_MAX ? NULL : malloc(n + 1);
  if (all) {
    memset(all, '1', n);
    all[n] = '\0';
  }
  if (!st && all)
    st = compile(&r, all, &r.g->whole, err);
  else if (!st)
    st = sluice_fail(err, SLUICE_USAGE, "%s.rules: more than %d rules, or no memory for them", name, MONITOR_RULES_MAX);
  free(all);
  if (!st) st = read_routes(&r, err);
  if (!st) { /* the file's own bytes, not what was made from them */
    unsigned char digest[SHA256_BYTES];
    sha256(json.ptr, json.len, digest);
    hex_of(digest, sizeof digest, r.g->whole->hash);
  }
  cJSON_Delete(r.root);
  if (st)
    monitor_guard_free(r.g);
  else
    *out = r.g;
  return st;
}

sluice_status monitor_guard_parse(const char *name, const char *dir, struct slice json, struct monitor_guard **out,
                                  struct sluice_error *err) {
  return parse(name, dir, json, NULL, out, err);
}

sluice_status monitor_guard_load_as(const char *path, const char *mode, struct monitor_guard **out,
                                    struct sluice_error *err) {
  char *text = NULL, *folder = sluice_strdup(path);
  size_t len = 0;
  if (!folder) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", path);
  sluice_status st = file_read(path, POLICY_BYTES_MAX, &text, &len, err);
  if (!st) st = parse(path, dirname(folder), (struct slice){text, len}, mode, out, err);
  free(text);
  free(folder);
  return st;
}

sluice_status monitor_guard_load(const char *path, struct monitor_guard **out, struct sluice_error *err) {
  return monitor_guard_load_as(path, NULL, out, err);
}

void monitor_guard_prepare(const struct monitor_guard *g) {
  for (size_t i = 0; i < g->n_policies; i++) monitor_policy_prepare(g->policies[i]);
}

void monitor_guard_free(struct monitor_guard *g) {
  if (!g) return;
  for (size_t i = 0; i < g->n_policies; i++)
    if (g->policies[i] != g->whole) monitor_policy_free(g->policies[i]);
  monitor_policy_free(g->whole);
  free(g->policies);
  free(g->selections);
  free(g->routes);
  arena_free(&g->strings);
  free(g);
}

sluice_status monitor_guard_set_mask(struct monitor_guard *g, const char *mask, bool each, struct sluice_error *err) {
  sluice_status st = monitor_policy_set_mask(g->whole, mask, each, err);
  for (size_t i = 0; !st && i < g->n_policies; i++)
    if (g->policies[i] != g->whole) st = monitor_policy_set_mask(g->policies[i], mask, each, err);
  return st;
}

const struct monitor_policy *monitor_guard_policy(const struct monitor_guard *g) {
  return g->whole;
}

/* ---- choosing a route ---- */

/* pattern NULL: any; one that ends in '*': what begins so. */
static bool fits(const char *pattern, struct slice text) {
  if (!pattern) return true;
  size_t n = strlen(pattern);
  if (n && pattern[n - 1] == '*') return text.len >= n - 1 && memcmp(text.ptr, pattern, n - 1) == 0;
  return slice_is(text, pattern);
}

static bool route_fits(const struct guard_route *route, const struct monitor_request *r) {
  struct slice value;
  if (!fits(route->path, r->path) || !fits(route->model, r->model)) return false;
  if (route->dialect && (!r->dialect || strcmp(route->dialect, r->dialect))) return false;
  for (size_t i = 0; i < route->n_headers; i++)
    if (!r->header || !r->header(r->ctx, route->headers[i].name, &value) || !fits(route->headers[i].value, value))
      return false;
  return true;
}

size_t monitor_guard_route(const struct monitor_guard *g, const struct monitor_request *r) {
  for (size_t i = 1; i < g->n_routes; i++)
    if (route_fits(&g->routes[i], r)) return i;
  return 0;
}

sluice_status monitor_guard_find_route(const struct monitor_guard *g, const char *name, size_t *route,
                                       struct sluice_error *err) {
  for (*route = 0; *route < g->n_routes; ++*route)
    if (!name || strcmp(g->routes[*route].name, name) == 0) return SLUICE_OK;
  return sluice_fail(err, SLUICE_USAGE, "the policy has no route \"%s\"", name);
}

const char *monitor_guard_route_name(const struct monitor_guard *g, size_t route) {
  return g->routes[route].name;
}

bool monitor_guard_looks_at(const struct monitor_guard *g, size_t route, enum monitor_side side) {
  return g->routes[route].sides[side].n > 0;
}
