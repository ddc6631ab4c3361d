/* The policy file: JSON with comments, strict keys. docs/monitor.md is its manual. */
#include "monitor/fragments.h"
#include "monitor/prefilter.h"
#include "monitor/openings.h"
#include "monitor/pattern_tree.h"
#include "monitor/guard.h"
#include "monitor/policy.h"
#include "monitor/policy_views.h"
#include "monitor/wordlist.h"

#include <cjson/cJSON.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POLICY_BYTES_MAX = 16 << 20, WORDS_BYTES_MAX = 16 << 20, NOTES_MAX = 64, MASK_MAX = 256 };
enum { MATCH_DEFAULT = 512, MATCH_LIMIT_DEFAULT = 100000 };

struct defaults {
  int64_t max_match, match_limit;
  const char *mask;
  bool mask_each, fail_open;
  unsigned views; /* 0: by the kind of rule */
  const char *dir;
  const cJSON *define;              /* fragments.h */
  struct policy_refusals *refusals; /* NULL: the first rule that does not load is an error */
};

/* ---- small readers ---- */

static sluice_status copy_string(struct monitor_policy *p, const char *s, char **out, struct sluice_error *err) {
  *out = s ? arena_strndup(&p->strings, s, strlen(s)) : NULL;
  return s && !*out ? sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name) : SLUICE_OK;
}

static sluice_status pick(const char *where, const char *key, const char *word, const char *const *known, int *out,
                          struct sluice_error *err) {
  for (int i = 0; known[i]; i++)
    if (strcmp(known[i], word) == 0) {
      *out = i;
      return SLUICE_OK;
    }
  const char *near = suggest(word, known);
  return sluice_fail(err, SLUICE_USAGE, "%s.%s: \"%s\" is not known%s%s%s", where, key, word,
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static sluice_status add_note(struct monitor_policy *p, const char *where, const char *text, struct sluice_error *err) {
  if (p->n_notes == NOTES_MAX) return SLUICE_OK;
  char **notes = realloc(p->notes, (p->n_notes + 1) * sizeof *notes);
  if (!notes) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  p->notes = notes;
  char *line = sluice_format("%s: %s", where, text);
  if (!line) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  p->notes[p->n_notes++] = line;
  return SLUICE_OK;
}

/* The text stays, for `policy check`; what its beginning says is used by the gate. */
sluice_status policy_keep_pattern(struct monitor_policy *p, struct rule *r, const struct pattern_source *src,
                                  struct sluice_error *err) {
  struct pattern_shape shape;
  struct arena scratch = {0};
  r->pattern = arena_strndup(&p->strings, src->text, src->len);
  if (!r->pattern) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  r->pattern_len = src->len;
  r->flags = src->flags;
  r->ascii = src->ascii;
  if (r->word_start) return SLUICE_OK;
  const struct pattern_question question = {
      .pattern = {src->text, src->len}, .flags = src->flags, .ascii = src->ascii, .protect = r->protect};
  sluice_status st = pattern_shape_read(&scratch, &question, &shape, err);
  if (!st) r->word_start |= shape.known && shape.word_start;
  arena_free(&scratch);
  return st;
}

sluice_status policy_add_keyword(struct monitor_policy *p, uint32_t rule, const char *text, size_t len,
                                 enum keyword_kind kind, struct sluice_error *err) {
  struct keyword *grown = realloc(p->keywords, (p->n_keywords + 1) * sizeof *grown);
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  p->keywords = grown;
  char *copy = arena_strndup(&p->strings, text, len), *exact = arena_strndup(&p->strings, text, len);
  if (!copy || !exact) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  for (size_t i = 0; i < len; i++) copy[i] = (char)keyword_fold((unsigned char)copy[i]);
  p->keywords[p->n_keywords++] =
      (struct keyword){copy, exact, len, rule, kind == KEYWORD_CASED, kind == KEYWORD_CONTEXT};
  struct rule *r = &p->rules[rule];
  if (kind == KEYWORD_CONTEXT) {
    r->contexted = true;
    return SLUICE_OK;
  }
  r->keyworded = true;
  if (len > r->keyword_longest) r->keyword_longest = len;
  return SLUICE_OK;
}

/* Protected text must not begin before the literal: what was not held could not be taken back. A rule that only records
 * holds nothing, so any literal serves it. */
sluice_status policy_derive_gate(struct monitor_policy *p, uint32_t rule, struct sluice_error *err) {
  struct rule *r = &p->rules[rule];
  struct arena scratch = {0};
  struct pattern_shape shape;
  const struct pattern_question q = {.pattern = {r->pattern, r->pattern_len},
                                     .flags = r->flags,
                                     .ascii = r->ascii,
                                     .protect = r->protect,
                                     .every_case = true};
  sluice_status st = pattern_shape_read(&scratch, &q, &shape, err);
  const struct literal_set *set = &shape.literals;
  bool serves =
      !st && shape.known && pattern_gates(set) && shape.groups_seen && (set->ahead == 0 || r->action == MONITOR_FLAG);
  for (size_t i = 0; i < set->n && serves && !st; i++)
    st = policy_add_keyword(p, rule, set->items[i].text, set->items[i].len,
                            set->items[i].cased ? KEYWORD_CASED : KEYWORD_ANY_CASE, err);
  if (serves && !st) {
    r->derived = true;
    if (set->lead < r->lead) r->lead = set->lead;
    r->hold = set->inside ? HOLD_MATCH : HOLD_AFTER;
  }
  arena_free(&scratch);
  return st;
}

/* How far before a keyword a match can begin: so that a keyword does not wake a search through all of max_match. */
sluice_status policy_measure_lead(struct monitor_policy *p, uint32_t rule, struct sluice_error *err) {
  struct rule *r = &p->rules[rule];
  struct arena scratch = {0};
  struct pattern_shape shape;
  struct literal *keywords = arena_alloc(&scratch, (p->n_keywords + 1) * sizeof *keywords);
  struct pattern_question q = {.pattern = {r->pattern, r->pattern_len},
                               .flags = r->flags,
                               .ascii = r->ascii,
                               .protect = r->protect,
                               .keywords = keywords};
  if (!keywords) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  for (size_t k = 0; k < p->n_keywords; k++) {
    const struct keyword *w = &p->keywords[k];
    if (w->rule == rule && !w->context) keywords[q.n_keywords++] = (struct literal){w->exact, w->len, w->cased};
  }
  sluice_status st = pattern_shape_read(&scratch, &q, &shape, err);
  const struct literal_set *set = &shape.literals;
  if (!st && shape.known && set->implied && set->lead < r->lead) r->lead = set->lead + set->offset;
  arena_free(&scratch);
  return st;
}

/* ---- one rule ---- */

static sluice_status read_flags(const char *where, const char *letters, uint32_t *flags, bool *ascii,
                                struct sluice_error *err) {
  for (const char *c = letters; *c; c++) {
    switch (*c) {
    case 'i':
      *flags |= PCRE2_CASELESS;
      break;
    case 'm':
      *flags |= PCRE2_MULTILINE;
      break;
    case 's':
      *flags |= PCRE2_DOTALL;
      break;
    case 'x':
      *flags |= PCRE2_EXTENDED;
      break;
    case 'a':
      *ascii = true;
      break;
    case 'D':
      *flags |= PCRE2_DOLLAR_ENDONLY;
      break;
    default:
      return sluice_fail(err, SLUICE_USAGE, "%s.flags: '%c' is none of i, m, s, x, a, D", where, *c);
    }
  }
  return SLUICE_OK;
}

static sluice_status read_keywords(struct monitor_policy *p, uint32_t rule, const char *where, const cJSON *o,
                                   const char *key, enum keyword_kind kind, struct sluice_error *err) {
  const cJSON *list = cJSON_GetObjectItemCaseSensitive(o, key), *item = NULL;
  if (!list) return SLUICE_OK;
  if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) == 0)
    return sluice_fail(err, SLUICE_USAGE, "%s.%s: wants a list of strings", where, key);
  sluice_status st = SLUICE_OK;
  cJSON_ArrayForEach(item, list) {
    if (!cJSON_IsString(item) || !item->valuestring[0] || strlen(item->valuestring) > 255)
      return sluice_fail(err, SLUICE_USAGE, "%s.%s: each is a string of 1 to 255 bytes", where, key);
    st = policy_add_keyword(p, rule, item->valuestring, strlen(item->valuestring), kind, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

static sluice_status read_all_keywords(struct monitor_policy *p, uint32_t rule, const char *where, const cJSON *o,
                                       struct sluice_error *err) {
  static const char *const cases[] = {"ignore", "exact", NULL};
  const char *letter_case = NULL;
  int at = 0;
  sluice_status st = json_string(o, where, "keyword_case", false, "ignore", &letter_case, err);
  if (!st) st = pick(where, "keyword_case", letter_case, cases, &at, err);
  return st ? st : read_keywords(p, rule, where, o, "keywords", at ? KEYWORD_CASED : KEYWORD_ANY_CASE, err);
}

static sluice_status read_action(struct rule *r, const char *where, const cJSON *o, const struct defaults *d,
                                 struct sluice_error *err) {
  static const char *const actions[] = {"flag", "mask", "stop", NULL}, *const holds[] = {"match", "word", "after",
                                                                                         NULL};
  static const char *const fails[] = {"closed", "open", NULL};
  const char *action = NULL, *hold = NULL, *fail = NULL, *check = NULL;
  const cJSON *entropy = cJSON_GetObjectItemCaseSensitive(o, "entropy");
  int at = 0;
  sluice_status st = json_string(o, where, "action", true, NULL, &action, err);
  if (!st) st = pick(where, "action", action, actions, &at, err);
  r->action = (enum monitor_action)at;
  if (!st) st = json_string(o, where, "hold", false, "match", &hold, err);
  if (!st) st = pick(where, "hold", hold, holds, &at, err);
  r->hold = (enum hold_mode)at;
  if (!st) st = json_string(o, where, "fail", false, d->fail_open ? "open" : "closed", &fail, err);
  if (!st) st = pick(where, "fail", fail, fails, &at, err);
  r->fail_open = at == 1;
  if (!st && entropy && !(cJSON_IsNumber(entropy) && entropy->valuedouble >= 0 && entropy->valuedouble <= 8))
    st = sluice_fail(err, SLUICE_USAGE, "%s.entropy: wants bits a byte, 0 to 8", where);
  if (!st && entropy) r->entropy = entropy->valuedouble;
  if (!st) st = json_string(o, where, "check", false, NULL, &check, err);
  if (st || !check) return st;
  st = pick(where, "check", check, check_names(), &at, err);
  if (!st) r->check = check_find(check);
  return st;
}

static sluice_status read_bounds(struct monitor_policy *p, struct rule *r, const char *where, const cJSON *o,
                                 const struct defaults *d, struct sluice_error *err) {
  int64_t max_match = 0, look_behind = 0;
  const char *mask = NULL;
  sluice_status st = json_int(o, where, "max_match", false, d->max_match, 1, MONITOR_MATCH_MAX, &max_match, err);
  if (!st) st = json_int(o, where, "look_behind", false, 0, 0, 4096, &look_behind, err);
  if (!st) st = json_string(o, where, "mask", false, d->mask, &mask, err);
  if (!st) st = json_bool(o, where, "mask_each", d->mask_each, &r->mask_each, err);
  if (!st && strlen(mask) > MASK_MAX)
    st = sluice_fail(err, SLUICE_USAGE, "%s.mask: more than %d bytes", where, MASK_MAX);
  if (!st) st = copy_string(p, mask, &r->mask, err);
  r->max_match = (size_t)max_match;
  r->look_behind = (size_t)look_behind;
  r->lead = r->max_match;
  return st;
}

/* A group's name or number, or a list of them. */
static sluice_status read_protect(const struct pattern_source *src, struct rule *r, const cJSON *protect,
                                  struct sluice_error *err) {
  const cJSON *one = cJSON_IsArray(protect) ? protect->child : protect;
  sluice_status st = SLUICE_OK;
  for (; !st && one; one = cJSON_IsArray(protect) ? one->next : NULL) {
    char number[24];
    if (!cJSON_IsNumber(one) && !cJSON_IsString(one))
      return sluice_fail(err, SLUICE_USAGE, "%s.protect: wants a group's name or number, or a list of them",
                         src->where);
    snprintf(number, sizeof number, "%d", one->valueint);
    if (cJSON_IsNumber(one) && (one->valueint < 0 || (cJSON_IsArray(protect) && one->valueint == 0)))
      return sluice_fail(err, SLUICE_USAGE, "%s.protect: there is no group %d", src->where, one->valueint);
    st = pattern_protect(src, r, cJSON_IsNumber(one) ? number : one->valuestring, err);
  }
  if (!st) pattern_probe(src, r);
  return st;
}

static sluice_status read_pattern(struct monitor_policy *p, uint32_t index, const char *where, const cJSON *o,
                                  const char *pattern, struct sluice_error *err) {
  struct pattern_source src = {.where = where, .text = pattern, .len = strlen(pattern)};
  struct rule *r = &p->rules[index];
  const char *flags = NULL;
  bool caseless = false;
  sluice_status st = json_string(o, where, "flags", false, "", &flags, err);
  if (!st) st = read_flags(where, flags, &src.flags, &src.ascii, err);
  if (!st) st = json_bool(o, where, "caseless", false, &caseless, err);
  if (caseless) src.flags |= PCRE2_CASELESS;
  r->views = policy_default_views(src.flags & PCRE2_CASELESS, r->check || r->entropy > 0);
  if (!st) st = pattern_compile(&src, r, err);
  if (!st) st = read_protect(&src, r, cJSON_GetObjectItemCaseSensitive(o, "protect"), err);
  if (!st) st = policy_keep_pattern(p, r, &src, err);
  if (!st) st = read_all_keywords(p, index, where, o, err);
  return st || !r->keyworded ? st : policy_measure_lead(p, index, err);
}

/* One of pattern, words, words_file. */
static sluice_status read_matcher(struct monitor_policy *p, uint32_t index, const char *where, const cJSON *o,
                                  const struct defaults *d, struct sluice_error *err) {
  const char *pattern = NULL, *file = NULL;
  const cJSON *words = cJSON_GetObjectItemCaseSensitive(o, "words");
  sluice_status st = json_string(o, where, "pattern", false, NULL, &pattern, err);
  if (!st) st = json_string(o, where, "words_file", false, NULL, &file, err);
  if (st) return st;
  if (!!pattern + !!file + !!words != 1)
    return sluice_fail(err, SLUICE_USAGE, "%s: wants exactly one of \"pattern\", \"words\" and \"words_file\"", where);
  if (pattern) return read_pattern(p, index, where, o, pattern, err);
  static const char *const only_patterns[] = {"protect",      "flags",  "caseless", "keywords",
                                              "keyword_case", "define", NULL};
  for (size_t i = 0; only_patterns[i]; i++)
    if (cJSON_GetObjectItemCaseSensitive(o, only_patterns[i]))
      return sluice_fail(err, SLUICE_USAGE, "%s.%s: belongs to a pattern, not to a word list", where, only_patterns[i]);
  return words ? wordlist_from_array(p, index, where, words, err)
               : wordlist_from_file(p, index, where, d->dir, file, err);
}

static sluice_status read_rule(struct monitor_policy *p, uint32_t index, cJSON *o, const struct defaults *d,
                               struct sluice_error *err) {
  static const char *const keys[] = {
      "id",           "pattern", "words",    "words_file", "category",    "description", "action", "protect", "mask",
      "mask_each",    "flags",   "caseless", "max_match",  "look_behind", "keywords",    "hold",   "check",   "fail",
      "keyword_case", "context", "entropy",  "allow",      "views",       "define",      NULL};
  struct rule *r = &p->rules[index];
  const char *id = NULL, *category = NULL, *description = NULL;
  char where[320];
  snprintf(where, sizeof where, "%.200s: rules[%u]", p->name, index);
  if (!cJSON_IsObject(o)) return sluice_fail(err, SLUICE_USAGE, "%s: wants an object", where);
  sluice_status st = json_string(o, where, "id", true, NULL, &id, err);
  if (st) return st;
  if (!id[0] || strlen(id) > 100) return sluice_fail(err, SLUICE_USAGE, "%s.id: 1 to 100 bytes", where);
  snprintf(where, sizeof where, "%.200s: rule %s", p->name, id);
  for (uint32_t i = 0; i < index; i++)
    if (strcmp(p->rules[i].id, id) == 0) return sluice_fail(err, SLUICE_USAGE, "%s: this id stands twice", where);
  st = json_check_keys(o, where, keys, err);
  if (!st) st = json_string(o, where, "category", true, NULL, &category, err);
  if (!st) st = json_string(o, where, "description", false, NULL, &description, err);
  if (!st) st = copy_string(p, id, &r->id, err);
  if (!st) st = copy_string(p, category, &r->category, err);
  if (!st) st = copy_string(p, description, &r->description, err);
  if (!st) st = read_action(r, where, o, d, err);
  if (!st) st = read_bounds(p, r, where, o, d, err);
  r->views = policy_default_views(true, false);
  const cJSON *own = cJSON_GetObjectItemCaseSensitive(o, "define");
  if (!st) st = fragments_check(where, own, err);
  if (!st) st = fragments_apply(where, o, own, d->define, err);
  if (!st) st = read_matcher(p, index, where, o, d, err);
  if (!st) st = read_keywords(p, index, where, o, "context", KEYWORD_CONTEXT, err);
  if (!st) st = allow_read(p, where, cJSON_GetObjectItemCaseSensitive(o, "allow"), &r->allow, err);
  if (!st) st = policy_read_views(o, where, d->views ? d->views : r->views, &r->views, err);
  if (!st && r->hold != HOLD_MATCH && !r->keyworded)
    st = sluice_fail(err, SLUICE_USAGE, "%s.hold: it is measured from a keyword; give the rule \"keywords\"", where);
  if (!st && !r->keyworded) st = policy_derive_gate(p, index, err);
  return st;
}

/* ---- the whole ---- */

static sluice_status note_rules(struct monitor_policy *p, struct sluice_error *err) {
  sluice_status st =
      machine_there() ? SLUICE_OK : add_note(p, p->name, "this PCRE2 makes no machine code: rules run slowly", err);
  for (size_t i = 0; !st && i < p->n_rules; i++) {
    const struct rule *r = &p->rules[i];
    char where[320];
    snprintf(where, sizeof where, "%.200s: rule %s", p->name, r->id);
    if (r->keyworded || r->action == MONITOR_FLAG) continue;
    if (pattern_holds_words(r))
      st =
          add_note(p, where, "any word can begin it, so that every word waits for the next; give it \"keywords\"", err);
  }
  return st;
}

static sluice_status index_first_bytes(struct monitor_policy *p, struct sluice_error *err) {
  p->n_open_words = (p->n_rules + 63) / 64;
  p->first_byte = calloc(512 * (p->n_open_words ? p->n_open_words : 1), sizeof *p->first_byte);
  if (!p->first_byte) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  for (size_t i = 0; i < p->n_rules; i++) {
    struct rule *r = &p->rules[i];
    unsigned char set[256];
    if (r->max_match > p->max_match) p->max_match = r->max_match;
    if (r->look_behind > p->look_behind) p->look_behind = r->look_behind;
    if (r->groups > p->max_groups) p->max_groups = r->groups;
    if (r->keyworded) {
      p->any_hold_word |= r->hold == HOLD_WORD && r->action != MONITOR_FLAG;
      continue;
    }
    pattern_first_bytes(r, set);
    for (size_t c = 0; c < 512; c++)
      if (set[c % 256] && !(c >= 256 && r->word_start)) {
        p->first_byte[c * p->n_open_words + i / 64] |= (uint64_t)1 << (i % 64);
        p->first_any[c / 256][c % 256] = true;
      }
  }
  return SLUICE_OK;
}

static sluice_status read_limits(const char *name, const cJSON *root, struct defaults *d, struct sluice_error *err) {
  static const char *const keys[] = {"max_match", "match_limit", NULL};
  const cJSON *o = cJSON_GetObjectItemCaseSensitive(root, "limits");
  char where[256];
  if (!o) return SLUICE_OK;
  snprintf(where, sizeof where, "%.200s: limits", name);
  if (!cJSON_IsObject(o)) return sluice_fail(err, SLUICE_USAGE, "%s: wants an object", where);
  sluice_status st = json_check_keys(o, where, keys, err);
  if (!st) st = json_int(o, where, "max_match", false, d->max_match, 1, MONITOR_MATCH_MAX, &d->max_match, err);
  if (!st) st = json_int(o, where, "match_limit", false, d->match_limit, 100, 100000000, &d->match_limit, err);
  return st;
}

/* A rule that does not load is named and dropped. */
static sluice_status set_aside(struct monitor_policy *p, const cJSON *item, size_t keywords,
                               struct policy_refusals *refusals, struct sluice_error *err) {
  struct rule *r = &p->rules[--p->n_rules];
  const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "id");
  pattern_free(r);
  allow_free(&r->allow);
  memset(r, 0, sizeof *r);
  p->n_keywords = keywords;
  struct policy_refusal *grown = realloc(refusals->items, (refusals->n + 1) * sizeof *grown);
  if (grown) refusals->items = grown;
  char *name = sluice_strdup(cJSON_IsString(id) ? id->valuestring : "(no id)"), *why = sluice_strdup(err->message);
  if (!grown || !name || !why) {
    free(name);
    free(why);
    return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  }
  refusals->items[refusals->n++] = (struct policy_refusal){name, why};
  *err = (struct sluice_error){0};
  return SLUICE_OK;
}

void policy_refusals_free(struct policy_refusals *refusals) {
  for (size_t i = 0; i < refusals->n; i++) {
    free(refusals->items[i].id);
    free(refusals->items[i].reason);
  }
  free(refusals->items);
  *refusals = (struct policy_refusals){0};
}

static sluice_status read_root(struct monitor_policy *p, cJSON *root, struct defaults *d, struct sluice_error *err) {
  static const char *const keys[] = {"name",  "description", "limits", "mask",   "mask_each", "fail",
                                     "allow", "views",       "rules",  "define", NULL};
  static const char *const fails[] = {"closed", "open", NULL};
  const char *ignored = NULL, *fail = NULL;
  int at = 0;
  if (!cJSON_IsObject(root)) return sluice_fail(err, SLUICE_USAGE, "%s: a policy is an object with \"rules\"", p->name);
  sluice_status st = json_check_keys(root, p->name, keys, err);
  if (!st) st = json_string(root, p->name, "name", false, NULL, &ignored, err);
  if (!st) st = json_string(root, p->name, "description", false, NULL, &ignored, err);
  if (!st) st = json_string(root, p->name, "mask", false, "[masked]", &d->mask, err);
  if (!st) st = json_bool(root, p->name, "mask_each", false, &d->mask_each, err);
  if (!st) st = json_string(root, p->name, "fail", false, "closed", &fail, err);
  if (!st) st = pick(p->name, "fail", fail, fails, &at, err);
  d->fail_open = at == 1;
  if (!st) st = policy_read_views(root, p->name, 0, &d->views, err);
  if (!st) st = read_limits(p->name, root, d, err);
  d->define = cJSON_GetObjectItemCaseSensitive(root, "define");
  if (!st) st = fragments_check(p->name, d->define, err);
  if (!st) st = fragments_apply(p->name, root, NULL, d->define, err);
  if (!st) st = allow_read(p, p->name, cJSON_GetObjectItemCaseSensitive(root, "allow"), &p->allow, err);
  if (!st) machine_allow(&p->allow);
  const cJSON *rules = cJSON_GetObjectItemCaseSensitive(root, "rules");
  cJSON *item = NULL;
  int n = cJSON_IsArray(rules) ? cJSON_GetArraySize(rules) : 0;
  if (!st && (n < 1 || n > MONITOR_RULES_MAX))
    st = sluice_fail(err, SLUICE_USAGE, "%s.rules: wants a list of 1 to %d rules", p->name, MONITOR_RULES_MAX);
  if (st) return st;
  p->match_limit = (uint32_t)d->match_limit;
  p->rules = calloc((size_t)n, sizeof *p->rules);
  if (!p->rules) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", p->name);
  cJSON_ArrayForEach(item, rules) {
    size_t keywords = p->n_keywords;
    p->n_rules++; /* first, so that a half-read rule is freed */
    st = read_rule(p, (uint32_t)p->n_rules - 1, item, d, err);
    if (st && d->refusals && st != SLUICE_NOMEM) st = set_aside(p, item, keywords, d->refusals, err);
    if (st) return st;
  }
  if (p->n_rules == 0) return SLUICE_OK; /* all set aside */
  st = index_first_bytes(p, err);
  if (!st) st = policy_index_lanes(p, err);
  if (!st) st = keywords_build(p, err);
  if (!st) st = openings_build(p, err);
  p->prefilter_min = PREFILTER_BYTES_MIN;
  if (!st) st = prefilter_new(&p->prefilter, err);
  return st ? st : note_rules(p, err);
}

sluice_status monitor_policy_parse(const char *name, const char *dir, struct slice json, struct monitor_policy **out,
                                   struct sluice_error *err) {
  return policy_read(name, dir, json, NULL, out, err);
}

sluice_status policy_read(const char *name, const char *dir, struct slice json, struct policy_refusals *refusals,
                          struct monitor_policy **out, struct sluice_error *err) {
  struct defaults d = {
      .max_match = MATCH_DEFAULT, .match_limit = MATCH_LIMIT_DEFAULT, .dir = dir ? dir : ".", .refusals = refusals};
  struct monitor_policy *p = calloc(1, sizeof *p);
  if (!p) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", name);
  unsigned char digest[SHA256_BYTES];
  cJSON *root = NULL;
  sluice_status st = SLUICE_OK;
  p->name = arena_strndup(&p->strings, name, strlen(name));
  if (!p->name) st = sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", name);
  sha256(json.ptr, json.len, digest);
  hex_of(digest, sizeof digest, p->hash);
  if (!st) st = json_parse(name, json.ptr, json.len, true, &root, err);
  if (!st) st = modes_flatten(name, root, err);
  if (!st) st = read_root(p, root, &d, err);
  cJSON_Delete(root);
  if (st)
    monitor_policy_free(p);
  else
    *out = p;
  return st;
}

sluice_status monitor_policy_load(const char *path, struct monitor_policy **out, struct sluice_error *err) {
  char *text = NULL, *copy = sluice_strdup(path);
  size_t len = 0;
  if (!copy) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", path);
  sluice_status st = file_read(path, POLICY_BYTES_MAX, &text, &len, err);
  if (!st) st = monitor_policy_parse(path, dirname(copy), (struct slice){text, len}, out, err);
  free(text);
  free(copy);
  return st;
}

void monitor_policy_free(struct monitor_policy *p) {
  if (!p) return;
  for (size_t i = 0; i < p->n_rules; i++) {
    pattern_free(&p->rules[i]);
    allow_free(&p->rules[i].allow);
  }
  allow_free(&p->allow);
  for (size_t i = 0; i < p->n_notes; i++) free(p->notes[i]);
  free(p->notes);
  free(p->rules);
  free(p->keywords);
  free(p->first_byte);
  openings_free(p->openings);
  policy_free_lanes(p);
  prefilter_release(p->prefilter);
  automaton_free(&p->words);
  arena_free(&p->strings);
  free(p);
}

sluice_status monitor_policy_set_mask(struct monitor_policy *p, const char *mask, bool each, struct sluice_error *err) {
  char *copy = NULL;
  if (strlen(mask) > MASK_MAX) return sluice_fail(err, SLUICE_USAGE, "mask: more than %d bytes", MASK_MAX);
  sluice_status st = copy_string(p, mask, &copy, err);
  for (size_t i = 0; !st && i < p->n_rules; i++) {
    p->rules[i].mask = copy;
    p->rules[i].mask_each = each;
  }
  return st;
}

const char *monitor_policy_name(const struct monitor_policy *p) {
  return p->name;
}
const char *monitor_policy_hash(const struct monitor_policy *p) {
  return p->hash;
}
size_t monitor_policy_rules(const struct monitor_policy *p) {
  return p->n_rules;
}
const char *monitor_rule_id(const struct monitor_policy *p, size_t rule) {
  return p->rules[rule].id;
}
const char *monitor_rule_category(const struct monitor_policy *p, size_t rule) {
  return p->rules[rule].category;
}
const char *monitor_policy_note(const struct monitor_policy *p, size_t i) {
  return i < p->n_notes ? p->notes[i] : NULL;
}

sluice_status monitor_policy_default_path(char **path, struct sluice_error *err) {
  const char *named = getenv("SLUICE_POLICY");
  if (named && named[0]) {
    *path = sluice_strdup(named);
    return *path ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for the policy's path");
  }
  sluice_status st = file_above_program("fixtures/policies/default.json", 6, path, err); /* build/tests/unit/... too */
  if (st || *path) return st;
  *path = sluice_strdup(SLUICE_PREFIX "/share/sluice/policies/default.json");
  if (!*path) return sluice_fail(err, SLUICE_NOMEM, "no memory for the policy's path");
  if (file_exists(*path)) return SLUICE_OK;
  free(*path);
  *path = NULL;
  return sluice_fail(err, SLUICE_USAGE, "no default policy found; name one with --policy FILE or $SLUICE_POLICY");
}
