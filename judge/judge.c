/* Opening a judge by its spec, asking it once or in both orders. */
#include "judge/kinds.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct judge_type *const types[] = {&judge_rules, &judge_model, &judge_api};
#define N_TYPES (sizeof types / sizeof types[0])

const struct judge_kind *judge_table(void) {
  static const struct judge_kind table[N_TYPES + 1] = {
      {"rules", "a monitor policy over the whole answer: clean or flagged", "policy=FILE"},
      {"model", "local weights weigh the rubric's verdicts by log-probability",
       "rubric=FILE, dir=DIR, template=NAME, threads=N"},
      {"api", "a language model behind an OpenAI-compatible API reads the rubric and writes a verdict",
       "url=URL, model=NAME, key_env=VARIABLE, rubric=FILE, timeout_ms=N, retries=N"},
      {NULL, NULL, NULL},
  };
  return table;
}

const char *judge_outcome_name(enum judge_outcome o) {
  static const char *const names[] = {"scored", "unscored", "refused", "error"};
  return (size_t)o < sizeof names / sizeof names[0] ? names[o] : "error";
}

/* ---- judgements ----------------------------------------------------------------------------------------------- */
void judgement_free(struct judgement *j) {
  free(j->raw);
  *j = (struct judgement){.outcome = JUDGE_UNSCORED, .value = NAN};
}

void judgement_pair_free(struct judgement_pair *p) {
  judgement_free(&p->order[0]);
  judgement_free(&p->order[1]);
}

void judgement_raw(struct judgement *j, struct buffer *text) {
  free(j->raw);
  j->raw = buffer_take(text, &j->raw_len);
}

void judgement_scored(struct judgement *j, const struct menu_word *word) {
  j->outcome = JUDGE_SCORED;
  j->verdict = word->word;
  j->value = word->value;
  j->reason[0] = '\0';
}

void judgement_unscored(struct judgement *j, enum judge_outcome outcome, const char *fmt, ...) {
  va_list ap;
  j->outcome = outcome;
  j->verdict = NULL;
  j->value = NAN;
  va_start(ap, fmt);
  vsnprintf(j->reason, sizeof j->reason, fmt, ap);
  va_end(ap);
}

sluice_status judgement_of_failure(struct judgement *j, sluice_status st, struct sluice_error *err) {
  if (st == SLUICE_OK || st == SLUICE_NOMEM || st == SLUICE_INTERRUPTED) return st;
  judgement_unscored(j, JUDGE_ERROR, "%.250s", err->message);
  return SLUICE_OK;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */
static sluice_status write_identity(struct judge *j, struct sluice_error *err) {
  struct buffer b;
  char *engine = NULL;
  buffer_init(&b, 1 << 20);
  sluice_status st = j->engine != NULL ? engine_identity(j->engine, &engine, err) : SLUICE_OK;
  if (st == SLUICE_OK && engine != NULL) st = buffer_printf(&b, err, "{\"engine\":%s,", engine);
  if (st == SLUICE_OK && engine == NULL) st = buffer_append_str(&b, "{", err);
  if (st == SLUICE_OK) {
    st = buffer_printf(&b, err, "\"kind\":\"%s\",\"parser_version\":%d,", j->type->about.name, JUDGE_PARSER_VERSION);
  }
  if (st == SLUICE_OK && j->policy_hash[0] != '\0') {
    st = buffer_printf(&b, err, "\"policy_sha256\":\"%s\"}", j->policy_hash);
  } else if (st == SLUICE_OK) {
    st = buffer_append_str(&b, "\"rubric\":", err);
    if (st == SLUICE_OK) st = json_quote(&b, j->rubric.name, strlen(j->rubric.name), err);
    if (st == SLUICE_OK) {
      st = buffer_printf(&b, err, ",\"rubric_sha256\":\"%s\",\"seed\":%llu}", j->rubric.hash,
                         (unsigned long long)j->seed);
    }
  }
  if (st == SLUICE_OK) j->identity = buffer_take(&b, NULL);
  buffer_free(&b);
  free(engine);
  return st;
}

static sluice_status find_type(const char *name, const struct judge_type **out, struct sluice_error *err) {
  const char *names[N_TYPES + 1] = {NULL};
  for (size_t i = 0; i < N_TYPES; i++) {
    names[i] = types[i]->about.name;
    if (strcmp(names[i], name) == 0) {
      *out = types[i];
      return SLUICE_OK;
    }
  }
  const char *near = suggest(name, names);
  return sluice_fail(err, SLUICE_USAGE, "unknown judge \"%.60s\"%s%s%s; known: rules, model, api", name,
                     near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "");
}

sluice_status judge_open(const char *spec, const struct judge_scanner *scanner, uint64_t seed, struct judge **out,
                         struct sluice_error *err) {
  struct spec s = {0};
  struct judge *j = calloc(1, sizeof *j);
  if (j == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a judge");
  j->scanner = scanner;
  j->seed = seed;
  sluice_status st = spec_parse(spec, &s, err);
  if (st == SLUICE_OK) st = find_type(s.name, &j->type, err);
  if (st == SLUICE_OK) st = spec_check_keys(&s, j->type->keys, err);
  if (st == SLUICE_OK) st = j->type->open(j, &s, err);
  if (st == SLUICE_OK) st = write_identity(j, err);
  spec_free(&s);
  for (size_t i = 0; i < j->rubric.n_menu; i++) j->menu[i] = j->rubric.menu[i].word;
  if (st != SLUICE_OK) {
    judge_close(j);
    return st;
  }
  *out = j;
  return SLUICE_OK;
}

void judge_close(struct judge *j) {
  if (j == NULL) return;
  engine_close(j->engine);
  if (j->scan != NULL) j->scanner->close(j->scan);
  rubric_free(&j->rubric);
  free(j->identity);
  free(j);
}

const char *judge_identity(const struct judge *j) {
  return j->identity;
}

const char *judge_name(const struct judge *j) {
  return j->rubric.name;
}

bool judge_is_pairwise(const struct judge *j) {
  return j->rubric.pairwise;
}

const char *const *judge_menu(const struct judge *j, size_t *n) {
  *n = j->rubric.n_menu;
  return j->menu;
}

/* ---- asking --------------------------------------------------------------------------------------------------- */
static sluice_status ask(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement *out,
                         struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  *out = (struct judgement){.outcome = JUDGE_UNSCORED, .value = NAN, .parser_version = JUDGE_PARSER_VERSION};
  size_t longest = item->question.len > item->answer.len ? item->question.len : item->answer.len;
  if (item->answer_b.len > longest) longest = item->answer_b.len;
  if (item->reference.len > longest) longest = item->reference.len;
  if (j->rubric.needs_reference && item->reference.len == 0) {
    judgement_unscored(out, JUDGE_UNSCORED, "the rubric compares with a reference, and this item has none");
  } else if (longest > JUDGE_TEXT_MAX) {
    judgement_unscored(out, JUDGE_ERROR, "a text of %zu bytes is over the limit of %zu", longest, JUDGE_TEXT_MAX);
  } else {
    st = j->type->ask(j, item, call, out, err);
  }
  if (out->raw == NULL) out->raw = sluice_strdup("");
  return st == SLUICE_OK && out->raw == NULL ? sluice_fail(err, SLUICE_NOMEM, "no memory for a judgement") : st;
}

sluice_status judge_pointwise(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement *out,
                              struct sluice_error *err) {
  if (j->rubric.pairwise) {
    *out = (struct judgement){.outcome = JUDGE_UNSCORED, .value = NAN};
    return sluice_fail(err, SLUICE_USAGE, "rubric %s compares two candidates: judge a pair of runs", j->rubric.name);
  }
  return ask(j, item, call, out, err);
}

/* The candidate that a verdict names, given which one stood first. */
static const char *named(const struct judgement *j, bool b_first) {
  if (strcmp(j->verdict, "tie") == 0) return "tie";
  return (strcmp(j->verdict, "first") == 0) != b_first ? "a" : "b";
}

void judgement_pair_settle(struct judgement_pair *p) {
  p->winner = NULL;
  p->value = NAN;
  p->consistent = false;
  /* The worse of the two: an error above a refusal above an unread verdict. */
  p->outcome = p->order[0].outcome > p->order[1].outcome ? p->order[0].outcome : p->order[1].outcome;
  if (p->outcome != JUDGE_SCORED) return;
  const char *one = named(&p->order[0], false), *two = named(&p->order[1], true);
  p->consistent = strcmp(one, two) == 0;
  p->winner = p->consistent ? one : "tie";
  p->value = strcmp(p->winner, "tie") == 0 ? 0.5 : strcmp(p->winner, "a") == 0 ? 1 : 0;
}

sluice_status judge_pairwise(struct judge *j, const struct judge_item *item, uint64_t call, struct judgement_pair *out,
                             struct sluice_error *err) {
  *out = (struct judgement_pair){.outcome = JUDGE_UNSCORED, .value = NAN};
  if (!j->rubric.pairwise) {
    return sluice_fail(err, SLUICE_USAGE, "rubric %s judges one answer, not a pair", j->rubric.name);
  }
  struct judge_item swapped = *item;
  swapped.answer = item->answer_b;
  swapped.answer_b = item->answer;
  sluice_status st = ask(j, item, 2 * call, &out->order[0], err);
  if (st == SLUICE_OK) st = ask(j, &swapped, 2 * call + 1, &out->order[1], err);
  if (st != SLUICE_OK) return st;
  judgement_pair_settle(out);
  return SLUICE_OK;
}
