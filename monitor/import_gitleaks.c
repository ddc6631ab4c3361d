/* gitleaks' rule files (github.com/gitleaks/gitleaks, config/gitleaks.toml) as a policy. What they say of files, paths
 * and commits has no meaning in a stream: dropped where it only narrows, with a remark where it matters.
 *
 * A rule's keywords there stand anywhere in the file; here they gate a match, so they are taken from the pattern: a
 * literal that every match holds. Where the file's own keywords are no part of it they become the rule's context. */
#include "monitor/pattern_tree.h"
#include "monitor/toml.h"

#include <cjson/cJSON.h>
#include <string.h>

enum { MATCH_MAX = 4096 /* bytes, of a pattern without bound: a private key has 3,300 */, MATCH_SLACK = 8 };
/* A half-seen keyword is held where this share of English bytes half-begin it, no more; else protection begins behind
 * it: its bytes are the constant that names the kind of secret, at most half of the match. */
static const double HALF_SEEN_MAX = 0.0065;

struct import {
  const char *name;
  const struct monitor_import_options *options;
  struct buffer *out, *remarks;
  struct arena scratch;
  size_t written;
  struct sluice_error *err;
};

static sluice_status remark(struct import *im, const char *id, const char *text) {
  return buffer_printf(im->remarks, im->err, "rule %s: %s\n", id, text);
}

static sluice_status quoted(struct import *im, const char *key, const char *text) {
  sluice_status st = buffer_printf(im->out, im->err, ", \"%s\": ", key);
  return st ? st : json_quote(im->out, text, strlen(text), im->err);
}

static sluice_status check_keys(struct import *im, const char *where, const cJSON *o, const char *const *known) {
  return json_check_keys(o, where, known, im->err);
}

static sluice_status want_strings(struct import *im, const char *where, const cJSON *list) {
  const cJSON *item = NULL;
  bool ok = !list || cJSON_IsArray(list);
  cJSON_ArrayForEach(item, list) ok &= cJSON_IsString(item) && item->valuestring[0];
  return ok ? SLUICE_OK : sluice_fail(im->err, SLUICE_USAGE, "%s: wants a list of strings, none of them empty", where);
}

static sluice_status write_strings(struct import *im, const char *key, const cJSON *list, bool first) {
  const cJSON *item = NULL;
  sluice_status st = buffer_printf(im->out, im->err, "%s\"%s\": [", first ? "" : ", ", key);
  cJSON_ArrayForEach(item, list) {
    if (!st && item->prev->next) st = buffer_append_str(im->out, ", ", im->err);
    if (!st) st = json_quote(im->out, item->valuestring, strlen(item->valuestring), im->err);
  }
  return st ? st : buffer_append_str(im->out, "]", im->err);
}

/* ---- allow lists ---- */

static sluice_status write_allow(struct import *im, const char *id, const char *where, const cJSON *o, bool *any) {
  static const char *const keys[] = {"id",        "description", "paths",     "commits",     "regexes",
                                     "stopwords", "regexTarget", "condition", "targetRules", NULL};
  const cJSON *regexes = cJSON_GetObjectItemCaseSensitive(o, "regexes");
  const cJSON *words = cJSON_GetObjectItemCaseSensitive(o, "stopwords");
  const char *target = NULL, *condition = NULL;
  sluice_status st = check_keys(im, where, o, keys);
  if (!st) st = want_strings(im, where, regexes);
  if (!st) st = want_strings(im, where, words);
  if (!st) st = json_string(o, where, "regexTarget", false, "secret", &target, im->err);
  if (!st) st = json_string(o, where, "condition", false, "OR", &condition, im->err);
  if (st) return st;
  bool files = cJSON_GetObjectItemCaseSensitive(o, "paths") || cJSON_GetObjectItemCaseSensitive(o, "commits");
  bool all = strcmp(condition, "AND") == 0 || strcmp(condition, "&&") == 0;
  if (cJSON_GetObjectItemCaseSensitive(o, "targetRules"))
    return remark(im, id, "an allow list of the whole file that names rules is not carried over");
  if ((all && files) || (!regexes && !words)) return SLUICE_OK; /* about files: lets nothing of a stream by */
  if (strcmp(target, "line") == 0)
    st = remark(im, id, "an allow list looks at the line: here at most 128 bytes before the match, nothing behind it");
  bool known = !strcmp(target, "secret") || !strcmp(target, "match") || !strcmp(target, "line");
  if (!st && !known)
    return sluice_fail(im->err, SLUICE_USAGE, "%s.regexTarget: \"%s\" is none of secret, match, line", where, target);
  if (!st) st = buffer_append_str(im->out, *any ? ", {" : ", \"allow\": [{", im->err);
  *any = true;
  if (!st && regexes) st = write_strings(im, "patterns", regexes, true);
  if (!st && regexes && strcmp(target, "secret")) st = quoted(im, "target", target);
  if (!st && words) st = write_strings(im, "words", words, !regexes);
  if (!st && all) st = buffer_append_str(im->out, ", \"all\": true", im->err);
  return st ? st : buffer_append_str(im->out, "}", im->err);
}

/* `allowlists`, and `allowlist` as older files have it. */
static sluice_status write_allows(struct import *im, const char *id, const char *where, const cJSON *o) {
  const cJSON *lists = cJSON_GetObjectItemCaseSensitive(o, "allowlists"), *item = NULL;
  const cJSON *single = cJSON_GetObjectItemCaseSensitive(o, "allowlist");
  bool any = false;
  char inner[400];
  sluice_status st = SLUICE_OK;
  snprintf(inner, sizeof inner, "%.350s.allowlist", where);
  if ((lists && !cJSON_IsArray(lists)) || (single && !cJSON_IsObject(single)))
    return sluice_fail(im->err, SLUICE_USAGE, "%s: wants [[allowlists]] or [allowlist]", inner);
  if (single) st = write_allow(im, id, inner, single, &any);
  cJSON_ArrayForEach(item, lists) if (!st) st = write_allow(im, id, inner, item, &any);
  return !st && any ? buffer_append_str(im->out, "]", im->err) : st;
}

/* ---- keywords ---- */

static sluice_status read_own_keywords(struct import *im, const cJSON *list, struct literal **out, size_t *n) {
  const cJSON *item = NULL;
  *n = 0;
  *out = arena_alloc(&im->scratch, ((size_t)cJSON_GetArraySize(list) + 1) * sizeof **out);
  if (!*out) return sluice_fail(im->err, SLUICE_NOMEM, "%s: no memory for keywords", im->name);
  cJSON_ArrayForEach(item, list)(*out)[(*n)++] = (struct literal){item->valuestring, strlen(item->valuestring), false};
  return SLUICE_OK;
}

/* Single bytes that stand first say no more than the pattern's first byte does. */
static bool worth_a_gate(const struct literal_set *set) {
  size_t shortest = SIZE_MAX;
  for (size_t i = 0; i < set->n; i++)
    if (set->items[i].len < shortest) shortest = set->items[i].len;
  return set->n && (shortest > 1 || set->ahead > 0);
}

static double half_seen_share(const struct pattern_shape *shape) {
  double share = 0;
  bool seen[256] = {false};
  for (size_t i = 0; i < shape->literals.n; i++) {
    const struct literal *l = &shape->literals.items[i];
    unsigned char c = (unsigned char)l->text[0];
    if (!seen[c]) share += english_share(c, shape->word_start);
    seen[c] = true;
  }
  return share;
}

static sluice_status write_keywords(struct import *im, const char *id, const struct pattern_shape *shape,
                                    const cJSON *own, bool own_implied) {
  const struct literal_set *set = &shape->literals;
  sluice_status st = SLUICE_OK;
  bool cased = true;
  size_t longest = 0;
  if (!shape->known || !worth_a_gate(set)) {
    st = remark(im, id, "no literal stands in every match: it is held from its first byte on");
  } else {
    for (size_t i = 0; !st && i < set->n; i++) {
      st = buffer_append_str(im->out, i ? ", " : ", \"keywords\": [", im->err);
      if (!st) st = json_quote(im->out, set->items[i].text, set->items[i].len, im->err);
      cased &= set->items[i].cased;
      if (set->items[i].len > longest) longest = set->items[i].len;
    }
    if (!st) st = buffer_append_str(im->out, cased ? "], \"keyword_case\": \"exact\"" : "]", im->err);
    bool constant = half_seen_share(shape) > HALF_SEEN_MAX && 2 * longest <= shape->min;
    bool behind = set->ahead == 0 && (!set->inside || constant);
    if (!st && behind) st = buffer_append_str(im->out, ", \"hold\": \"after\"", im->err);
    if (!st && set->ahead > 0)
      st = buffer_printf(im->remarks, im->err,
                         "rule %s: up to %zu bytes of the secret stand before its first keyword and leave; "
                         "\"hold\": \"word\" keeps them\n",
                         id, set->ahead);
  }
  if (st || !own || own_implied) return st;
  st = buffer_append_str(im->out, ", ", im->err);
  return st ? st : write_strings(im, "context", own, true);
}

/* ---- rules ---- */

static sluice_status write_groups(struct import *im, const char *id, const struct pattern_shape *shape, uint32_t groups,
                                  int secret) {
  if (secret) return buffer_printf(im->out, im->err, ", \"protect\": %d", secret);
  if (!groups) return SLUICE_OK;
  if (shape->group_repeated)
    return remark(im, id, "its first group is caught anew at each repetition: the whole match is protected");
  if (groups == 1 || shape->group_mandatory || !shape->known)
    return buffer_append_str(im->out, ", \"protect\": 1", im->err);
  sluice_status st = SLUICE_OK; /* gitleaks takes the first group that is not empty */
  for (uint32_t g = 1; !st && g <= groups && g <= RULE_GROUPS_MAX; g++)
    st = buffer_printf(im->out, im->err, g > 1 ? ", %u" : ", \"protect\": [%u", g);
  return st ? st : buffer_append_str(im->out, "]", im->err);
}

static sluice_status count_groups(const char *where, const char *regex, uint32_t *groups, struct sluice_error *err) {
  int code = 0;
  PCRE2_SIZE at = 0;
  char what[160] = "";
  pcre2_code *c = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_UTF, &code, &at, NULL);
  if (!c) {
    pcre2_get_error_message(code, (PCRE2_UCHAR *)what, sizeof what);
    return sluice_fail(err, SLUICE_USAGE, "%s.regex: byte %zu: %s", where, at, what);
  }
  pcre2_pattern_info(c, PCRE2_INFO_CAPTURECOUNT, groups);
  pcre2_code_free(c);
  return SLUICE_OK;
}

/* What the pattern tells, with the groups that gitleaks takes for the secret. */
static sluice_status examine(struct import *im, const char *where, const char *regex, int secret, const cJSON *own,
                             struct pattern_shape *shape, bool *own_implied, uint32_t *groups) {
  uint32_t protect[RULE_GROUPS_MAX + 1] = {0};
  struct pattern_question q = {.pattern = slice_of(regex), .ascii = true, .protect = protect};
  struct literal *keywords = NULL;
  sluice_status st = count_groups(where, regex, groups, im->err);
  if (!st && (secret < 0 || (uint32_t)secret > *groups))
    st =
        sluice_fail(im->err, SLUICE_USAGE, "%s.secretGroup: the pattern has %u groups, not %d", where, *groups, secret);
  for (uint32_t g = 0; g < *groups && g < RULE_GROUPS_MAX; g++) protect[g] = secret ? (uint32_t)secret * !g : g + 1;
  if (!st) st = pattern_shape_read(&im->scratch, &q, shape, im->err);
  if (!st && shape->known && shape->group_repeated && !secret) {
    protect[0] = 0;
    st = pattern_shape_read(&im->scratch, &q, shape, im->err);
    shape->group_repeated = true;
  } else if (!st && shape->group_mandatory && !secret && *groups > 1) {
    protect[1] = 0;
    st = pattern_shape_read(&im->scratch, &q, shape, im->err);
  }
  struct pattern_shape again;
  if (!st) st = read_own_keywords(im, own, &keywords, &q.n_keywords);
  q.keywords = keywords;
  if (!st) st = pattern_shape_read(&im->scratch, &q, &again, im->err);
  *own_implied = !st && again.known && again.literals.implied;
  return st;
}

static sluice_status write_bounds(struct import *im, const char *id, const struct pattern_shape *shape,
                                  const cJSON *entropy) {
  size_t bound = shape->known && shape->max <= MATCH_MAX - MATCH_SLACK ? shape->max + MATCH_SLACK : MATCH_MAX;
  sluice_status st = SLUICE_OK;
  if (!shape->known || shape->max > MATCH_MAX)
    st = buffer_printf(im->remarks, im->err, "rule %s: a match has no bound; capped at %d bytes\n", id, MATCH_MAX);
  if (!st) st = buffer_printf(im->out, im->err, ", \"max_match\": %zu", bound);
  if (!st && entropy) st = buffer_printf(im->out, im->err, ", \"entropy\": %.17g", entropy->valuedouble);
  return st;
}

static sluice_status write_rule(struct import *im, const cJSON *o, const char *id, const char *where, const char *regex,
                                int secret) {
  const cJSON *own = cJSON_GetObjectItemCaseSensitive(o, "keywords");
  const cJSON *entropy = cJSON_GetObjectItemCaseSensitive(o, "entropy");
  const char *description = NULL;
  struct pattern_shape shape;
  bool own_implied = false;
  uint32_t groups = 0;
  sluice_status st = json_string(o, where, "description", false, NULL, &description, im->err);
  if (!st) st = want_strings(im, where, own);
  if (!st && entropy && !(cJSON_IsNumber(entropy) && entropy->valuedouble >= 0 && entropy->valuedouble <= 8))
    st = sluice_fail(im->err, SLUICE_USAGE, "%s.entropy: wants a number from 0 to 8", where);
  if (!st) st = examine(im, where, regex, secret, own, &shape, &own_implied, &groups);
  if (!st) st = buffer_append_str(im->out, im->written++ ? ",\n    {\"id\": " : "\n    {\"id\": ", im->err);
  if (!st) st = json_quote(im->out, id, strlen(id), im->err);
  if (!st) st = quoted(im, "category", im->options->category);
  if (!st) st = quoted(im, "action", monitor_action_name(im->options->action));
  if (!st && description) st = quoted(im, "description", description);
  if (!st) st = quoted(im, "pattern", regex);
  if (!st) st = quoted(im, "flags", "aD"); /* as Go's regexp reads it */
  if (!st) st = write_groups(im, id, &shape, groups, secret);
  if (!st) st = write_keywords(im, id, &shape, own, own_implied);
  if (!st) st = write_bounds(im, id, &shape, entropy);
  if (!st) st = write_allows(im, id, where, o);
  return st ? st : buffer_append_str(im->out, "}", im->err);
}

static sluice_status import_rule(struct import *im, const cJSON *o, size_t index) {
  static const char *const keys[] = {"id",   "description", "regex",      "secretGroup", "entropy",    "keywords",
                                     "path", "tags",        "allowlists", "allowlist",   "skipReport", NULL};
  const char *id = NULL, *regex = NULL;
  int64_t secret = 0;
  char where[300];
  snprintf(where, sizeof where, "%.200s: rules[%zu]", im->name, index);
  sluice_status st = json_string(o, where, "id", true, NULL, &id, im->err);
  if (st) return st;
  snprintf(where, sizeof where, "%.150s: rule %.100s", im->name, id);
  st = check_keys(im, where, o, keys);
  if (!st) st = json_string(o, where, "regex", false, NULL, &regex, im->err);
  if (!st) st = json_int(o, where, "secretGroup", false, 0, 0, RULE_GROUPS_MAX, &secret, im->err);
  if (st) return st;
  if (!regex) return remark(im, id, "left out: it looks at paths alone, and a stream has none");
  if (cJSON_GetObjectItemCaseSensitive(o, "path"))
    st = remark(im, id, "gitleaks asks it of some paths only; a stream has none, so it is asked of every text");
  return st ? st : write_rule(im, o, id, where, regex, (int)secret);
}

static sluice_status import_root(struct import *im, const cJSON *root) {
  static const char *const keys[] = {"title", "description", "minVersion", "allowlist", "allowlists", "rules", NULL};
  const cJSON *rules = cJSON_GetObjectItemCaseSensitive(root, "rules"), *item = NULL;
  const char *title = NULL;
  size_t index = 0;
  sluice_status st = check_keys(im, im->name, root, keys); /* `extend` reads other files: import those one by one */
  if (!st) st = json_string(root, im->name, "title", false, "gitleaks", &title, im->err);
  if (!st && (!cJSON_IsArray(rules) || !rules->child || !cJSON_IsObject(rules->child)))
    st = sluice_fail(im->err, SLUICE_USAGE, "%s: wants [[rules]]", im->name);
  if (!st) st = buffer_append_str(im->out, "{\n  \"name\": ", im->err);
  if (!st) st = json_quote(im->out, title, strlen(title), im->err);
  if (!st) st = write_allows(im, "(all)", im->name, root);
  if (!st) st = buffer_append_str(im->out, ",\n  \"rules\": [", im->err);
  cJSON_ArrayForEach(item, rules) if (!st) st = import_rule(im, item, index++);
  if (!st && !im->written) st = sluice_fail(im->err, SLUICE_USAGE, "%s: no rule has a regex", im->name);
  return st ? st : buffer_append_str(im->out, "\n  ]\n}\n", im->err);
}

sluice_status monitor_import_gitleaks(const char *name, struct slice toml, const struct monitor_import_options *options,
                                      struct buffer *out, struct buffer *remarks, struct sluice_error *err) {
  struct import im = {.name = name, .options = options, .out = out, .remarks = remarks, .err = err};
  cJSON *root = NULL;
  sluice_status st = toml_parse(name, toml, &root, err);
  if (!st) st = import_root(&im, root);
  cJSON_Delete(root);
  arena_free(&im.scratch);
  return st;
}
