/* The second pass: recorded outputs -> numbers, and beside them what trivial answers would have got. */
#include "runner/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS_A_TRANSACTION 64
#define SCORER_NAMES_MAX 64

struct scored_attempt {
  int64_t id;
  unsigned char uid[SHA256_BYTES];
  int64_t budget; /* tokens; 0: all */
  char rule[16];
};
struct scoring {
  struct ledger *ledger;
  struct score_summary *sum;
  struct {
    const char *name, *kind;
    char config[32];
    int version;
    int64_t id;
  } scorers[SCORER_NAMES_MAX];
  size_t n_scorers;
};

int64_t kept_tokens(const char *policy_full) {
  static const char *const parts[] = {"sinks", "recent", "entropy"};
  struct spec spec;
  struct sluice_error ignored;
  if (spec_parse(policy_full, &spec, &ignored)) return 0;
  int64_t total = 0, part = 0;
  if (spec_get(&spec, "budget")) {
    if (spec_int(&spec, "budget", 0, 0, INT64_MAX, &total, &ignored)) total = 0;
  } else {
    for (size_t i = 0; i < 3; i++)
      if (!spec_int(&spec, parts[i], 0, 0, INT32_MAX, &part, &ignored)) total += part;
  }
  spec_free(&spec);
  return total;
}

static sluice_status scorer_id(struct scoring *s, const char *name, int version, const char *config, const char *kind,
                               int64_t *id, struct sluice_error *err) {
  for (size_t i = 0; i < s->n_scorers; i++)
    if (!strcmp(s->scorers[i].name, name) && !strcmp(s->scorers[i].config, config) &&
        !strcmp(s->scorers[i].kind, kind)) {
      *id = s->scorers[i].id;
      return SLUICE_OK;
    }
  if (s->n_scorers == SCORER_NAMES_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d scorers", SCORER_NAMES_MAX);
  sluice_status status = ledger_put_scorer(s->ledger, name, version, config, kind, id, err);
  if (status) return status;
  s->scorers[s->n_scorers].name = name;
  s->scorers[s->n_scorers].kind = kind;
  s->scorers[s->n_scorers].id = *id;
  snprintf(s->scorers[s->n_scorers].config, sizeof s->scorers[0].config, "%s", config);
  s->n_scorers++;
  return SLUICE_OK;
}

static sluice_status put_score(struct scoring *s, int64_t attempt, int turn, int64_t scorer, const char *metric,
                               double value, double weight, const char *label, const char *reason,
                               struct sluice_error *err) {
  s->sum->turns++;
  s->sum->scored += isfinite(value);
  s->sum->unscored += !isfinite(value);
  return ledger_run(s->ledger,
                    "INSERT OR IGNORE INTO score(attempt_id, turn_no, scorer_id, metric, value, weight, label, reason)"
                    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    LEDGER_VALUES(lv_int(attempt), lv_int(turn), lv_int(scorer), lv_text(metric),
                                  lv_real_or_null(value), lv_real(weight), lv_text(label), lv_text(reason)),
                    err);
}

/* ---- trivial baselines ----------------------------------------------------------------------------------------------
 */

static size_t text_bytes_before(const struct dialogue *d, size_t turn) {
  size_t bytes = 0;
  for (size_t i = 0; i < turn; i++) {
    const struct turn *t = &d->turns[i];
    bytes += t->text ? strlen(t->text) : 0;
    if (t->task == TASK_CHOOSE && t->n_choices) bytes += strlen(t->choices[t->answer > 0 ? t->answer : 0].text);
    if (t->task == TASK_GENERATE && t->expected) bytes += strlen(t->expected);
  }
  return bytes;
}

/* A baseline reads text, a cache holds tokens: the same share of the dialogue is an equal budget. */
static sluice_status score_trivial(struct scoring *s, const struct scored_attempt *a, const struct dialogue *d,
                                   size_t turn, int64_t position, struct sluice_error *err) {
  const struct turn *t = &d->turns[turn];
  struct baseline_budget budget = {0};
  if (a->budget && position > a->budget) {
    budget.bytes = (size_t)((double)text_bytes_before(d, turn) * (double)a->budget / (double)position + 0.5);
    if (!budget.bytes) budget.bytes = 1;
  }
  for (const struct trivial_baseline *b = trivial_baseline_table(); b->name; b++) {
    struct baseline_score out = {0};
    int64_t id;
    sluice_status status = b->score(d, turn, &budget, &out, err);
    if (!status && (!out.defined || !isfinite(out.value))) continue;
    if (!status) status = scorer_id(s, b->name, 1, "budget=cell", "trivial", &id, err);
    if (!status)
      status = ledger_run(s->ledger,
                          "INSERT OR IGNORE INTO trivial_score(attempt_id, turn_no, scorer_id, metric, value)"
                          " VALUES(?1, ?2, ?3, ?4, ?5)",
                          LEDGER_VALUES(lv_int(a->id), lv_int((int64_t)turn), lv_int(id),
                                        lv_text(t->metric ? t->metric : "exact"), lv_real(out.value)),
                          err);
    if (status) return status;
    s->sum->trivial++;
  }
  return SLUICE_OK;
}

/* ---- turns ----------------------------------------------------------------------------------------------------------
 */

struct recorded_turn {
  int turn_no, chosen;
  char *output;
  size_t output_len;
  double nats;
  int64_t nats_tokens, position;
};

static sluice_status score_text(struct scoring *s, const struct scored_attempt *a, const struct turn *t,
                                const struct recorded_turn *r, struct sluice_error *err) {
  int64_t id;
  sluice_status status = scorer_id(s, "perplexity", 1, "", "metric", &id, err);
  if (status) return status;
  double mean = r->nats_tokens > 0 ? r->nats / (double)r->nats_tokens : (double)NAN;
  return put_score(s, a->id, r->turn_no, id, t->metric ? t->metric : "perplexity", mean,
                   r->nats_tokens > 0 ? (double)r->nats_tokens : 1, isfinite(mean) ? NULL : "unscored",
                   isfinite(mean) ? "mean nats a token" : "no token was scored", err);
}

static sluice_status score_turn(struct scoring *s, const struct scored_attempt *a, const struct dialogue *d,
                                const struct recorded_turn *r, struct sluice_error *err) {
  if (r->turn_no < 0 || (size_t)r->turn_no >= d->n_turns)
    return sluice_fail(err, SLUICE_INPUT, "attempt %lld has a turn %d that its dialogue has not", (long long)a->id,
                       r->turn_no);
  const struct turn *t = &d->turns[r->turn_no];
  if (t->task == TASK_TEXT) return score_text(s, a, t, r, err);
  const struct evaluator *e = evaluator_for(t);
  if (!e) return SLUICE_OK;
  char config[32] = "";
  int64_t id;
  if (t->task == TASK_CHOOSE) snprintf(config, sizeof config, "rule=%s", r->output ? "text" : a->rule);
  struct scored_turn in = {.turn = t, .chosen = r->chosen, .output = {r->output ? r->output : "", r->output_len}};
  struct turn_score out = {.label = SCORE_UNSCORED, .value = (double)NAN};
  e->score(&in, &out);
  sluice_status status = scorer_id(s, e->name, e->version, config, "metric", &id, err);
  if (!status)
    status = put_score(s, a->id, r->turn_no, id, t->metric ? t->metric : "exact", out.value, 1,
                       score_label_name(out.label), out.reason, err);
  return status ? status : score_trivial(s, a, d, (size_t)r->turn_no, r->position, err);
}

static sluice_status score_attempt(struct scoring *s, const struct scored_attempt *a, struct sluice_error *err) {
  struct dialogue d;
  struct ledger_rows *q = NULL;
  sluice_status status = rebuild_dialogue(s->ledger, a->uid, &d, err);
  if (status) return sluice_fail_in(err, "attempt %lld", (long long)a->id);
  status = ledger_query(s->ledger,
                        "SELECT t.turn_no, t.chosen, o.body, t.nats, t.nats_tokens, t.position FROM turn t"
                        " LEFT JOIN blob o ON o.sha256 = t.output WHERE t.attempt_id = ?1 ORDER BY t.turn_no",
                        LEDGER_VALUES(lv_int(a->id)), &q, err);
  bool row = true;
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    struct slice output = ledger_bytes(q, 2);
    struct recorded_turn r = {.turn_no = (int)ledger_int(q, 0),
                              .chosen = ledger_type_of(q, 1) == LEDGER_NULL ? -1 : (int)ledger_int(q, 1),
                              .output_len = output.len,
                              .nats = ledger_real(q, 3),
                              .nats_tokens = ledger_int(q, 4),
                              .position = ledger_int(q, 5)};
    if (ledger_type_of(q, 2) != LEDGER_NULL) {
      if (!(r.output = malloc(output.len + 1))) status = sluice_fail(err, SLUICE_NOMEM, "no memory for an output");
      if (r.output) memcpy(r.output, output.ptr, output.len);
    }
    if (!status) status = score_turn(s, a, &d, &r, err);
    free(r.output);
  }
  ledger_rows_end(q);
  dialogue_free(&d);
  return status;
}

static void rule_of(const char *spec_json, char out[16]) {
  struct slice text = slice_of(spec_json);
  struct json_span root, rule;
  struct sluice_error ignored;
  snprintf(out, 16, "sum");
  if (json_span_root(text, &root, &ignored) || !json_span_member(text, root, "choice", &rule) ||
      rule.type != JSON_STRING)
    return;
  size_t n = rule.end - rule.start - 2;
  snprintf(out, 16, "%.*s", (int)(n < 15 ? n : 15), spec_json + rule.start + 1);
}

/* Final attempts without an error. What they have been scored for already is ignored when it comes again. */
static sluice_status list_attempts(struct ledger *l, const char *run_id, struct scored_attempt **out, size_t *n,
                                   struct sluice_error *err) {
  struct ledger_rows *q;
  size_t cap = 0;
  bool row = true;
  sluice_status status = ledger_query(
      l,
      "SELECT f.attempt_id, f.sample_uid, c.policy_full, s.json FROM v_final f JOIN cell c ON c.id = f.cell_id"
      " JOIN spec s ON s.hash = c.spec_hash WHERE (?1 IS NULL OR c.run_id = ?1) AND f.state <> 'error' ORDER BY "
      "f.attempt_id",
      LEDGER_VALUES(lv_text(run_id)), &q, err);
  while (!status && !(status = ledger_next(q, &row, err)) && row) {
    if (*n == cap) {
      cap = cap ? 2 * cap : 256;
      struct scored_attempt *grown = realloc(*out, cap * sizeof *grown);
      if (!grown) {
        status = sluice_fail(err, SLUICE_NOMEM, "no memory for %zu attempts", cap);
        break;
      }
      *out = grown;
    }
    struct scored_attempt *a = &(*out)[(*n)++];
    a->id = ledger_int(q, 0);
    struct slice uid = ledger_bytes(q, 1);
    memset(a->uid, 0, sizeof a->uid);
    memcpy(a->uid, uid.ptr, uid.len < SHA256_BYTES ? uid.len : SHA256_BYTES);
    a->budget = kept_tokens(ledger_text(q, 2));
    rule_of(ledger_text(q, 3), a->rule);
  }
  ledger_rows_end(q);
  return status;
}

sluice_status runner_score(struct ledger *l, const char *run_id, struct score_summary *out, struct sluice_error *err) {
  struct scoring s = {.ledger = l, .sum = out};
  struct scored_attempt *attempts = NULL;
  struct progress progress;
  size_t n = 0;
  *out = (struct score_summary){0};
  sluice_status status = list_attempts(l, run_id, &attempts, &n, err);
  progress_begin(&progress, "score", n);
  for (size_t i = 0; i < n && !status;) {
    status = ledger_begin(l, err);
    size_t end = i + ATTEMPTS_A_TRANSACTION < n ? i + ATTEMPTS_A_TRANSACTION : n;
    for (; i < end && !status; i++) status = score_attempt(&s, &attempts[i], err);
    if (!status) status = ledger_commit(l, err);
    if (status) ledger_rollback(l);
    progress_update(&progress, i, "%s", "");
    if (!status && i < n && signal_interrupted()) status = sluice_fail(err, SLUICE_INTERRUPTED, "interrupted");
  }
  progress_end(&progress);
  free(attempts);
  return status;
}
