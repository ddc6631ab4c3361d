/* `sluice policy check`: what each rule of a policy asks, before text comes. */
#include "monitor/pattern_tree.h"

#include <libgen.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_MAX = 16 << 20, ATTACK_BYTES = 2000, KEYWORDS_SHOWN = 8 };

struct rule_facts {
  struct pattern_shape shape;
  bool keywords_mandatory; /* every match holds one */
  size_t ahead;            /* protected bytes that can stand before the first keyword; NODE_UNBOUNDED */
  unsigned first_bytes;    /* without keywords: how many bytes can begin a match */
  bool capped;             /* a match can be longer than max_match */
  char attack;             /* a run of this byte hits the match limit; 0: none found */
};

/* Runs of one byte and then another one: what polynomial and exponential backtracking both trip over. */
static char find_attack(const struct monitor_policy *p, const struct rule *r) {
  char subject[ATTACK_BYTES + 1], found = 0;
  size_t n = r->max_match < ATTACK_BYTES ? r->max_match : ATTACK_BYTES;
  pcre2_match_data *m = pcre2_match_data_create(1, NULL);
  pcre2_match_context *context = pcre2_match_context_create(NULL);
  if (m && context) {
    pcre2_set_match_limit(context, p->match_limit);
    for (char c = ' '; c < 127 && !found; c++) {
      memset(subject, c, n);
      subject[n - 1] = 1;
      int rc = machine_runs(r) ? pcre2_jit_match(r->anchored, (PCRE2_SPTR)subject, n, 0, PCRE2_NO_UTF_CHECK, m, context)
                               : pcre2_match(r->anchored, (PCRE2_SPTR)subject, n, 0, PCRE2_NO_UTF_CHECK, m, context);
      if (rc == PCRE2_ERROR_MATCHLIMIT || rc == PCRE2_ERROR_JIT_STACKLIMIT) found = c;
    }
  }
  pcre2_match_data_free(m);
  pcre2_match_context_free(context);
  return found;
}

static sluice_status gather(const struct monitor_policy *p, uint32_t index, struct arena *scratch, struct rule_facts *f,
                            struct sluice_error *err) {
  const struct rule *r = &p->rules[index];
  struct literal *keywords = arena_alloc(scratch, (p->n_keywords + 1) * sizeof *keywords);
  struct pattern_question q = {.pattern = {r->pattern, r->pattern_len},
                               .flags = r->flags,
                               .ascii = r->ascii,
                               .protect = r->protect,
                               .keywords = keywords};
  unsigned char first[256];
  *f = (struct rule_facts){0};
  if (!keywords) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory to examine it", p->name);
  for (size_t k = 0; k < p->n_keywords; k++) {
    const struct keyword *w = &p->keywords[k];
    if (w->rule == index && !w->context) keywords[q.n_keywords++] = (struct literal){w->exact, w->len, w->cased};
  }
  sluice_status st = pattern_shape_read(scratch, &q, &f->shape, err);
  if (st) return st;
  const struct literal_set *set = &f->shape.literals;
  f->keywords_mandatory = f->shape.known && set->implied;
  size_t offset = set->inside ? set->offset : 0;
  f->ahead = f->keywords_mandatory ? set->ahead + offset : NODE_UNBOUNDED;
  if (f->keywords_mandatory && set->ahead > NODE_UNBOUNDED - offset) f->ahead = NODE_UNBOUNDED;
  if (!r->keyworded) {
    pattern_first_bytes(r, first);
    for (int c = 0; c < 256; c++) f->first_bytes += first[c];
  }
  f->capped = !f->shape.known || f->shape.max > r->max_match;
  f->attack = find_attack(p, r);
  return SLUICE_OK;
}

/* The views' names, each between these two. */
static sluice_status put_views(unsigned views, const char *quote, const char *between, struct buffer *out,
                               struct sluice_error *err) {
  static const char *const names[] = {"raw", "folded", "leet", "decoded"}; /* bit i of VIEW_* */
  sluice_status st = SLUICE_OK;
  bool any = false;
  for (size_t i = 0; !st && i < sizeof names / sizeof *names; i++) {
    if (!(views >> i & 1)) continue;
    st = buffer_printf(out, err, "%s%s%s%s", any ? between : "", quote, names[i], quote);
    any = true;
  }
  return st;
}

/* ---- as text ---- */

static sluice_status print_gate(const struct monitor_policy *p, uint32_t index, const struct rule_facts *f,
                                struct buffer *out, struct sluice_error *err) {
  const struct rule *r = &p->rules[index];
  sluice_status st = SLUICE_OK;
  size_t n = 0;
  if (!r->keyworded)
    return buffer_printf(
        out, err, "  tried wherever one of %u bytes stands%s\n", f->first_bytes,
        pattern_holds_words(r) && r->action != MONITOR_FLAG ? "; any word can begin it, so every word waits" : "");
  for (size_t k = 0; !st && k < p->n_keywords; k++) {
    const struct keyword *w = &p->keywords[k];
    if (w->rule != index || w->context || n++ >= KEYWORDS_SHOWN) continue;
    st = buffer_append_str(out, n == 1 ? "  tried after " : ", ", err);
    if (!st) st = json_quote(out, w->exact, w->len, err);
  }
  if (!st && n > KEYWORDS_SHOWN) st = buffer_printf(out, err, " and %zu more", n - KEYWORDS_SHOWN);
  if (!st) st = buffer_append_str(out, r->derived ? ", which stands in every match\n" : "\n", err);
  if (!st && f->shape.known && !f->keywords_mandatory && r->protect[0] == 0 && f->shape.literals.n == 0)
    return st; /* a word list: its pattern is too wide to be read here, its keywords are its own heads */
  if (!st && f->shape.known && !f->keywords_mandatory)
    st = buffer_append_str(out, "  CARE: a match can hold none of its keywords, and is let by then\n", err);
  return st;
}

static sluice_status print_protection(const struct rule *r, const struct rule_facts *f, struct buffer *out,
                                      struct sluice_error *err) {
  static const char *const holds[] = {"from the first keyword on", "from the word of the first keyword on",
                                      "from behind the first keyword on"};
  sluice_status st = buffer_append_str(out, "  protects ", err);
  if (!st && !r->protect[0]) st = buffer_append_str(out, "the whole match", err);
  for (const uint32_t *g = r->protect; !st && *g; g++)
    st = buffer_printf(out, err, g == r->protect ? "group %u" : " else %u", *g);
  if (!st && r->action == MONITOR_FLAG) return buffer_append_str(out, "; records only, holds nothing\n", err);
  if (!st && (!r->keyworded || r->derived)) return buffer_append_str(out, ", from its first byte on\n", err);
  if (!st)
    st = buffer_printf(out, err, ", %s (hold=%s)", holds[r->hold],
                       r->hold == HOLD_MATCH  ? "match"
                       : r->hold == HOLD_WORD ? "word"
                                              : "after");
  if (st) return st;
  if (!f->keywords_mandatory) return buffer_append_str(out, "; what can precede it is not known\n", err);
  if (f->ahead == 0) return buffer_append_str(out, "; no secret byte can precede it\n", err);
  if (r->hold == HOLD_WORD) return buffer_append_str(out, "; bytes of earlier words can precede it\n", err);
  if (f->ahead == NODE_UNBOUNDED)
    return buffer_append_str(out, "; secret bytes without bound can precede it and leave: hold=word keeps its word\n",
                             err);
  return buffer_printf(out, err, "; up to %zu secret bytes can precede it and leave: hold=word keeps its word\n",
                       f->ahead);
}

static sluice_status print_limits(const struct monitor_policy *p, const struct rule *r, const struct rule_facts *f,
                                  struct buffer *out, struct sluice_error *err) {
  sluice_status st =
      machine_runs(r) ? SLUICE_OK : buffer_append_str(out, "  SLOW: PCRE2 makes no machine code of it here\n", err);
  if (!st && !f->shape.known)
    st = buffer_printf(out, err, "  not read further, for %s; capped at %zu bytes\n", f->shape.unknown, r->max_match);
  else if (!st && f->shape.max == NODE_UNBOUNDED)
    st = buffer_printf(out, err, "  CAPPED: a match can go on without bound; decided within %zu bytes\n", r->max_match);
  else if (!st && f->capped)
    st = buffer_printf(out, err, "  CAPPED: a match can have %zu bytes; decided within %zu\n", f->shape.max,
                       r->max_match);
  if (!st && f->attack)
    st = buffer_printf(out, err, "  BACKTRACKS: a run of '%c' hits the match limit of %u; %s\n", f->attack,
                       p->match_limit, r->fail_open ? "the text goes on, not scanned there" : "the text stops there");
  else if (!st && f->shape.nested_repeats)
    st = buffer_printf(out, err, "  a repetition without bound inside another: bounded by the match limit of %u\n",
                       p->match_limit);
  return st;
}

static sluice_status print_rule(const struct monitor_policy *p, uint32_t index, const struct rule_facts *f,
                                struct buffer *out, struct sluice_error *err) {
  const struct rule *r = &p->rules[index];
  sluice_status st = buffer_printf(out, err, "%s: accepted, %s%s\n", r->id, monitor_action_name(r->action),
                                   r->contexted ? ", sleeps until its context has come" : "");
  if (!st) st = print_gate(p, index, f, out, err);
  if (!st) st = print_protection(r, f, out, err);
  if (!st) st = buffer_append_str(out, "  views ", err);
  if (!st) st = put_views(r->views, "", ", ", out, err);
  if (!st) st = buffer_append_str(out, "\n", err);
  return st ? st : print_limits(p, r, f, out, err);
}

/* ---- as JSON ---- */

static sluice_status size_or_null(struct buffer *out, const char *key, size_t n, struct sluice_error *err) {
  if (n == NODE_UNBOUNDED) return buffer_printf(out, err, ", \"%s\": null", key);
  return buffer_printf(out, err, ", \"%s\": %zu", key, n);
}

static sluice_status json_rule(const struct monitor_policy *p, uint32_t index, const struct rule_facts *f,
                               struct buffer *out, struct sluice_error *err) {
  static const char *const holds[] = {"match", "word", "after"};
  const struct rule *r = &p->rules[index];
  bool first = true;
  sluice_status st = json_quote(out, r->id, strlen(r->id), err);
  if (!st)
    st = buffer_printf(out, err, ", \"accepted\": true, \"action\": \"%s\", \"keywords\": [",
                       monitor_action_name(r->action));
  for (size_t k = 0; !st && k < p->n_keywords; k++) {
    const struct keyword *w = &p->keywords[k];
    if (w->rule != index || w->context) continue;
    if (!first) st = buffer_append_str(out, ", ", err);
    if (!st) st = json_quote(out, w->exact, w->len, err);
    first = false;
  }
  if (!st)
    st = buffer_printf(out, err, "], \"context\": %s, \"hold\": \"%s\"", r->contexted ? "true" : "false",
                       r->keyworded ? holds[r->hold] : "first_byte");
  if (!st && r->keyworded)
    st = buffer_printf(out, err, ", \"keywords_mandatory\": %s", f->keywords_mandatory ? "true" : "false");
  if (!st && r->keyworded) st = size_or_null(out, "secret_bytes_before_keyword", r->derived ? 0 : f->ahead, err);
  if (!st && !r->keyworded) st = buffer_printf(out, err, ", \"first_bytes\": %u", f->first_bytes);
  if (!st && f->shape.known) st = buffer_printf(out, err, ", \"match_min\": %zu", f->shape.min);
  if (!st) st = size_or_null(out, "match_max", f->shape.known ? f->shape.max : NODE_UNBOUNDED, err);
  if (!st)
    st = buffer_printf(out, err, ", \"max_match\": %zu, \"capped\": %s, \"nested_repeats\": %s", r->max_match,
                       f->capped ? "true" : "false", f->shape.nested_repeats ? "true" : "false");
  if (!st) st = buffer_printf(out, err, ", \"hits_match_limit\": %s, \"views\": [", f->attack ? "true" : "false");
  if (!st) st = put_views(r->views, "\"", ", ", out, err);
  return st ? st : buffer_printf(out, err, "], \"machine_code\": %s}", machine_runs(r) ? "true" : "false");
}

static sluice_status refusal(const struct policy_refusal *r, bool json, struct buffer *out, struct sluice_error *err) {
  if (!json) return buffer_printf(out, err, "%s: REFUSED: %s\n", r->id, r->reason);
  sluice_status st = json_quote(out, r->id, strlen(r->id), err);
  if (!st) st = buffer_append_str(out, ", \"accepted\": false, \"reason\": ", err);
  if (!st) st = json_quote(out, r->reason, strlen(r->reason), err);
  return st ? st : buffer_append_str(out, "}", err);
}

static sluice_status inspect(const struct monitor_policy *p, const struct policy_refusals *refusals, bool json,
                             struct buffer *out, struct sluice_error *err) {
  sluice_status st = json ? buffer_append_str(out, "{\"rules\": [", err) : SLUICE_OK;
  for (size_t i = 0; !st && i < p->n_rules + refusals->n; i++) {
    struct arena scratch = {0};
    struct rule_facts f;
    if (json) st = buffer_append_str(out, i ? ",\n  {\"id\": " : "\n  {\"id\": ", err);
    if (!st && i >= p->n_rules) {
      st = refusal(&refusals->items[i - p->n_rules], json, out, err);
    } else if (!st) {
      st = gather(p, (uint32_t)i, &scratch, &f, err);
      if (!st) st = json ? json_rule(p, (uint32_t)i, &f, out, err) : print_rule(p, (uint32_t)i, &f, out, err);
    }
    arena_free(&scratch);
  }
  if (st) return st;
  return buffer_printf(out, err,
                       json ? "\n], \"accepted\": %zu, \"refused\": %zu}\n" : "%zu rules accepted, %zu refused\n",
                       p->n_rules, refusals->n);
}

sluice_status monitor_policy_inspect(const char *path, bool json, struct buffer *out, size_t *accepted, size_t *refused,
                                     struct sluice_error *err) {
  struct policy_refusals refusals = {0};
  struct monitor_policy *p = NULL;
  char *text = NULL, *copy = sluice_strdup(path);
  size_t len = 0;
  if (!copy) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the policy", path);
  sluice_status st = file_read(path, BYTES_MAX, &text, &len, err);
  if (!st) st = policy_read(path, dirname(copy), (struct slice){text, len}, &refusals, &p, err);
  if (!st) st = inspect(p, &refusals, json, out, err);
  if (!st) *accepted = p->n_rules, *refused = refusals.n;
  monitor_policy_free(p);
  policy_refusals_free(&refusals);
  free(text);
  free(copy);
  return st;
}
