/* The report as a whole: which run, against what, loaded and judged. */
#include "reports/load.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A member of the suite's "gate", where the file has one that is sane. */
static double gate_member(const cJSON *suite, const char *key, double fallback, double low, double high) {
  const cJSON *v = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(suite, "gate"), key);
  return cJSON_IsNumber(v) && v->valuedouble >= low && v->valuedouble < high ? v->valuedouble : fallback;
}

static sluice_status settle_gate(struct ledger *l, struct report *r, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l, "SELECT suite_json FROM v_run WHERE run_id = ?1",
                                      LEDGER_VALUES(lv_text(r->run_id[RUN_SHOWN])), &q, err);
  if (status) return status;
  bool row;
  cJSON *suite = NULL;
  status = ledger_next(q, &row, err);
  struct slice text = !status && row ? ledger_bytes(q, 0) : (struct slice){"", 0};
  struct sluice_error unread = {0};
  if (text.len && json_parse("suite", text.ptr, text.len, true, &suite, &unread)) suite = NULL;
  ledger_rows_end(q);
  if (unread.code == SLUICE_NOMEM) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for the suite");
  struct report_options *o = &r->options;
  if (isnan(o->confidence)) o->confidence = gate_member(suite, "confidence", 0.95, 0.5, 1);
  if (isnan(o->margin)) o->margin = gate_member(suite, "margin", 0.05, 0, INFINITY);
  if (isnan(o->min_effect)) o->min_effect = gate_member(suite, "min_effect", 0.02, 0, INFINITY);
  cJSON_Delete(suite);
  if (!(o->confidence >= 0.5 && o->confidence < 1))
    return sluice_fail(err, SLUICE_USAGE, "report: confidence %g, expected 0.5 to below 1", o->confidence);
  return status;
}

/* A policy by its exact name, or by the part before ':' where one policy alone has it. */
static int policy_named(const struct report *r, const char *word) {
  int exact = report_find_policy(r, word), found = -1;
  if (exact >= 0) return exact;
  size_t len = strlen(word);
  for (size_t i = 0; i < r->n_policies; i++) {
    const char *name = r->policies[i].name;
    bool same_label = !strcmp(r->policies[i].label, word);
    if (!same_label && (strncmp(name, word, len) != 0 || name[len] != ':')) continue;
    if (found >= 0) return -1;
    found = (int)i;
  }
  return found;
}

static sluice_status settle_reference(struct ledger *l, struct report *r, struct sluice_error *err) {
  const char *word = r->options.against;
  r->explicit_reference = word != NULL;
  r->reference_policy = policy_named(r, word ? word : "full");
  if (!word && r->reference_policy < 0) r->reference_policy = 0;
  if (r->reference_policy >= 0) {
    r->reference_name = r->policies[r->reference_policy].label;
    return SLUICE_OK;
  }
  struct sluice_error run_err;
  if (ledger_find_run(l, word, r->run_id[RUN_BASELINE], &run_err)) {
    const char *known[REPORT_MAX_AXIS + 1] = {0};
    for (size_t i = 0; i < r->n_policies; i++) known[i] = r->policies[i].name;
    const char *near = suggest(word, known);
    return sluice_fail(
        err, SLUICE_USAGE, "report: --against \"%s\" is no policy of run %s%s%s%s, and no baseline or run: %s", word,
        r->run_id[RUN_SHOWN], near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "", run_err.message);
  }
  if (!strcmp(r->run_id[RUN_BASELINE], r->run_id[RUN_SHOWN]))
    return sluice_fail(err, SLUICE_USAGE, "report: --against \"%s\" is the run itself; name another run or a policy",
                       word);
  r->reference_name = report_keep(r, word);
  return r->reference_name ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "report: no memory");
}

static void judge_run(struct report *r) {
  if (!(r->regressed + r->passed + r->inconclusive))
    r->verdict = "INCOMPARABLE", r->exit_code = 6;
  else if (r->regressed)
    r->verdict = "REGRESSED", r->exit_code = 3;
  else if (r->missing || r->error_dialogues)
    r->verdict = "INCOMPLETE", r->exit_code = 4;
  else if (r->inconclusive)
    r->verdict = "INCONCLUSIVE", r->exit_code = 5;
  else
    r->verdict = "PASS", r->exit_code = 0;
}

static sluice_status state_claim(const struct report *r, struct buffer *b, struct sluice_error *err) {
  size_t judged = r->regressed + r->passed + r->inconclusive;
  const char *side = r->reference_policy < 0 ? "the run " : "";
  sluice_status status;
  if (!judged)
    status = buffer_printf(b, err, "Nothing to compare with %s%.200s", side, r->reference_name);
  else
    status = buffer_printf(
        b, err, "Against %s%.200s, %zu of %zu scores %s worse, %zu stay%s within %g points, %zu %s open", side,
        r->reference_name, r->regressed, judged, r->regressed == 1 ? "is" : "are", r->passed, r->passed == 1 ? "s" : "",
        100 * r->options.margin, r->inconclusive, r->inconclusive == 1 ? "is" : "are");
  if (!status && judged && r->incomparable) status = buffer_printf(b, err, ", %zu have no partner", r->incomparable);
  return status ? status : buffer_append_str(b, ".", err);
}

static sluice_status state_coverage(const struct report *r, struct buffer *b, struct sluice_error *err) {
  sluice_status status =
      buffer_printf(b, err, "%lld of %lld dialogues finished", (long long)r->finished, (long long)r->planned);
  if (!status && r->error_dialogues)
    status = buffer_printf(b, err, ", %lld of them in error", (long long)r->error_dialogues);
  return status ? status : buffer_append_str(b, ".", err);
}

static const char *keep_buffer(struct report *r, struct buffer *b) {
  const char *kept = arena_strndup(&r->memory, b->ptr ? b->ptr : "", b->len);
  buffer_clear(b);
  return kept;
}

sluice_status report_conclude(struct report *r, struct sluice_error *err) {
  if (r->reference_policy < 0) {
    judge_run(r);
  } else {
    bool whole = !r->missing && !r->error_dialogues;
    r->verdict = whole ? "COMPLETE" : "INCOMPLETE";
    r->exit_code = whole ? 0 : 4;
  }
  struct buffer b;
  buffer_init(&b, 8192);
  sluice_status status = state_claim(r, &b, err);
  if (!status) r->claim = keep_buffer(r, &b);
  if (!status) status = state_coverage(r, &b, err);
  if (!status) r->covered = keep_buffer(r, &b);
  if (!status && r->claim && r->covered) status = buffer_printf(&b, err, "%s: %s %s", r->verdict, r->claim, r->covered);
  if (!status) r->headline = keep_buffer(r, &b);
  buffer_free(&b);
  if (!status && (!r->claim || !r->covered || !r->headline))
    return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its headline");
  return status;
}

sluice_status report_load(struct ledger *l, const struct report_options *o, struct report **out,
                          struct sluice_error *err) {
  struct report *r = calloc(1, sizeof *r);
  if (!r) return sluice_fail(err, SLUICE_NOMEM, "report: no memory");
  r->options = *o;
  if (!r->options.max_bytes) r->options.max_bytes = 16 << 20;
  sluice_status status = ledger_find_run(l, o->run, r->run_id[RUN_SHOWN], err);
  if (!status) status = settle_gate(l, r, err);
  if (!status) status = report_load_axes(l, r, err);
  if (!status) status = settle_reference(l, r, err);
  if (!status) status = report_load_rows(l, r, err);
  if (!status) status = report_load_groups(l, r, err);
  if (!status) status = report_load_facts(l, r, err);
  if (!status) status = report_estimate(r, err);
  if (!status) status = report_pair(r, err);
  if (!status) status = report_pair_trivial(l, r, err);
  if (!status) status = report_arrange_dialogues(r, err);
  if (!status) status = report_conclude(r, err);
  if (status) {
    report_free(r);
    return status;
  }
  *out = r;
  return SLUICE_OK;
}

void report_free(struct report *r) {
  if (!r) return;
  free(r->facets);
  free(r->policies);
  free(r->benchmarks);
  free(r->columns);
  free(r->groups);
  free(r->scores);
  free(r->rows);
  free(r->sample_ids);
  names_free(&r->samples);
  free(r->facts);
  free(r->commands);
  free(r->errors);
  free(r->dialogues);
  arena_free(&r->memory);
  free(r);
}

int report_exit_code(const struct report *r) {
  return r->exit_code;
}
const char *report_headline(const struct report *r) {
  return r->headline;
}
