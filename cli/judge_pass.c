/* Judging what a ledger holds. The list of turns is read first and then worked through, so that no query is open while
 * rows are written. */
#include "cli/judge_pass.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COMMIT_NS 1000000000
#define TEXT_LIMIT ((size_t)4 << 20)

struct work {
  int64_t attempt_a, attempt_b; /* attempt_b 0: pointwise */
  int turn_no;
  bool judged; /* in an earlier pass */
  uint64_t cluster;
  int metric_label, judge_label; /* 1 right, 0 wrong, -1 unknown */
};
struct work_list {
  struct work *at;
  size_t n;
};

/* ---- counting ------------------------------------------------------------------------------------------------- */
static void count_outcome(struct judge_counts *c, enum judge_outcome o) {
  if (o == JUDGE_SCORED) c->scored++;
  if (o == JUDGE_UNSCORED) c->unscored++;
  if (o == JUDGE_REFUSED) c->refused++;
  if (o == JUDGE_ERROR) c->errors++;
}

static void count_judgement(const struct judge_pass *p, struct work *w, const struct judgement *j,
                            struct judge_counts *c) {
  size_t n = 0;
  const char *const *menu = judge_menu(p->judge, &n);
  count_outcome(c, j->outcome);
  if (j->outcome != JUDGE_SCORED) return;
  c->value += j->value;
  w->judge_label = j->value >= 0.5 ? 1 : 0;
  for (size_t i = 0; i < n; i++) c->verdicts[i] += strcmp(menu[i], j->verdict) == 0;
}

static void count_pair(const struct judgement_pair *j, struct judge_counts *c) {
  count_outcome(c, j->outcome);
  if (j->outcome != JUDGE_SCORED) return;
  c->value += j->value;
  c->wins += strcmp(j->winner, "a") == 0;
  c->ties += strcmp(j->winner, "tie") == 0;
  c->losses += strcmp(j->winner, "b") == 0;
  c->inconsistent += !j->consistent;
}

/* ---- which turns ---------------------------------------------------------------------------------------------- */
/* A finished turn has an answer when text was generated or a choice was made. A judgment with an error does not count
 * as judged. Columns: attempt a, attempt b, turn, cluster, the metric's label, verdict and value of an earlier pass (in
 * the first order), its verdict in the second order. */
#define HAS_ANSWER "(t.output IS NOT NULL OR t.chosen IS NOT NULL)"
static const char pointwise_sql[] =
    "SELECT f.attempt_id, 0, t.turn_no, s.cluster,"
    " (SELECT CASE WHEN sc.label IN ('right','win') THEN 1 WHEN sc.label IN ('wrong','lose') THEN 0 END FROM score sc"
    "   JOIN scorer r ON r.id = sc.scorer_id WHERE r.kind = 'metric' AND sc.attempt_id = t.attempt_id"
    "   AND sc.turn_no = t.turn_no LIMIT 1), j.verdict, j.value, NULL"
    " FROM v_final f JOIN cell c ON c.id = f.cell_id JOIN sample s ON s.uid = f.sample_uid"
    " JOIN turn t ON t.attempt_id = f.attempt_id"
    " JOIN sample_turn st ON st.sample_uid = f.sample_uid AND st.turn_no = t.turn_no"
    " LEFT JOIN judgment j ON j.attempt_a = t.attempt_id AND j.turn_no = t.turn_no AND j.scorer_id = ?1"
    "   AND j.attempt_b IS NULL AND j.error IS NULL"
    " WHERE c.run_id = ?2 AND (?3 IS NULL OR st.metric = ?3) AND " HAS_ANSWER
    " ORDER BY c.ordinal, f.ordinal, t.turn_no";
static const char pairwise_sql[] =
    "SELECT f.attempt_id, g.attempt_id, t.turn_no, s.cluster, NULL, j.verdict, j.value, k.verdict"
    " FROM v_final f JOIN cell c ON c.id = f.cell_id JOIN sample s ON s.uid = f.sample_uid"
    " JOIN cell d ON d.run_id = ?4 AND d.engine = c.engine AND d.monitor = c.monitor AND d.benchmark = c.benchmark"
    "   AND d.seed = c.seed AND d.id <> c.id AND d.policy = coalesce(?6, c.policy)"
    " JOIN v_final g ON g.cell_id = d.id AND g.sample_uid = f.sample_uid"
    " JOIN turn t ON t.attempt_id = f.attempt_id"
    " JOIN turn u ON u.attempt_id = g.attempt_id AND u.turn_no = t.turn_no"
    " JOIN sample_turn st ON st.sample_uid = f.sample_uid AND st.turn_no = t.turn_no"
    " LEFT JOIN judgment j ON j.attempt_a = f.attempt_id AND j.turn_no = t.turn_no AND j.scorer_id = ?1"
    "   AND j.attempt_b = g.attempt_id AND j.order_ab = 0 AND j.error IS NULL"
    " LEFT JOIN judgment k ON k.attempt_a = f.attempt_id AND k.turn_no = t.turn_no AND k.scorer_id = ?1"
    "   AND k.attempt_b = g.attempt_id AND k.order_ab = 1 AND k.error IS NULL"
    " WHERE c.run_id = ?2 AND (?5 IS NULL OR c.policy = ?5) AND (?3 IS NULL OR st.metric = ?3) AND " HAS_ANSWER
    " AND (u.output IS NOT NULL OR u.chosen IS NOT NULL) ORDER BY c.ordinal, f.ordinal, t.turn_no";

/* A verdict as it stands in the ledger. */
static struct judgement recorded(const struct ledger_rows *q, int column, double value) {
  const char *verdict = ledger_text(q, column);
  struct judgement j = {.verdict = verdict, .value = value, .outcome = JUDGE_SCORED};
  if (strcmp(verdict, "unscored") == 0) j.outcome = JUDGE_UNSCORED;
  if (strcmp(verdict, "refused") == 0) j.outcome = JUDGE_REFUSED;
  return j;
}

static void count_recorded(const struct judge_pass *p, const struct ledger_rows *q, struct work *w,
                           struct judge_counts *c) {
  if (w->attempt_b == 0) {
    struct judgement j = recorded(q, 5, ledger_real(q, 6));
    count_judgement(p, w, &j, c);
  } else {
    char first[64];
    struct judgement_pair pair = {.order = {recorded(q, 5, NAN), {0}}};
    snprintf(first, sizeof first, "%s", ledger_text(q, 5)); /* text of a column lives until the next one is read */
    pair.order[1] = recorded(q, 7, NAN);
    pair.order[0].verdict = first;
    judgement_pair_settle(&pair);
    count_pair(&pair, c);
  }
  c->already++;
}

static sluice_status add_work(const struct judge_pass *p, const struct ledger_rows *q, struct work_list *list,
                              struct judge_counts *counts, struct sluice_error *err) {
  struct work *grown = realloc(list->at, (list->n + 1) * sizeof *grown);
  if (grown == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu turns", list->n + 1);
  list->at = grown;
  struct work *w = &list->at[list->n++];
  struct slice cluster = ledger_bytes(q, 3);
  *w = (struct work){.attempt_a = ledger_int(q, 0),
                     .attempt_b = ledger_int(q, 1),
                     .turn_no = (int)ledger_int(q, 2),
                     .cluster = hash64(cluster.ptr, cluster.len),
                     .judge_label = -1,
                     .metric_label = ledger_type_of(q, 4) == LEDGER_NULL ? -1 : (int)ledger_int(q, 4)};
  w->judged = ledger_type_of(q, 5) != LEDGER_NULL && (w->attempt_b == 0 || ledger_type_of(q, 7) != LEDGER_NULL);
  if (w->judged) count_recorded(p, q, w, counts);
  counts->turns++;
  return SLUICE_OK;
}

static sluice_status list_work(const struct judge_pass *p, struct work_list *list, struct judge_counts *counts,
                               struct sluice_error *err) {
  const struct ledger_value values[] = {lv_int(p->scorer_id), lv_text(p->run_a),    lv_text(p->metric),
                                        lv_text(p->run_b),    lv_text(p->policy_a), lv_text(p->policy_b)};
  bool pair = p->run_b[0] != '\0', row = false;
  struct ledger_rows *q = NULL;
  sluice_status st = ledger_query(p->ledger, pair ? pairwise_sql : pointwise_sql, values, pair ? 6 : 3, &q, err);
  if (st == SLUICE_OK) st = ledger_next(q, &row, err);
  while (st == SLUICE_OK && row && (p->limit == 0 || (int64_t)counts->turns < p->limit)) {
    st = add_work(p, q, list, counts, err);
    if (st == SLUICE_OK) st = ledger_next(q, &row, err);
  }
  ledger_rows_end(q);
  return st;
}

/* ---- what the judge is shown ---------------------------------------------------------------------------------- */
struct shown_turn {
  struct buffer question, answer, answer_b, reference;
};

static void shown_free(struct shown_turn *s) {
  buffer_free(&s->question);
  buffer_free(&s->answer);
  buffer_free(&s->answer_b);
  buffer_free(&s->reference);
}

/* The last messages of the dialogue before the turn, oldest first: "user: ...\nbot: ...\n". */
static sluice_status read_question(const struct judge_pass *p, const struct work *w, struct buffer *out,
                                   struct sluice_error *err) {
  static const char sql[] =
      "WITH RECURSIVE up(parent, role, body, n) AS ("
      " SELECT m.parent, m.role, m.body, 0 FROM message m WHERE m.hash = (SELECT x.parent FROM turn t"
      "   JOIN message x ON x.hash = t.message_hash WHERE t.attempt_id = ?1 AND t.turn_no = ?2)"
      " UNION ALL SELECT m.parent, m.role, m.body, up.n + 1 FROM up JOIN message m ON m.hash = up.parent WHERE up.n + "
      "1 < ?3)"
      " SELECT up.role, b.body FROM up JOIN blob b ON b.sha256 = up.body ORDER BY up.n DESC";
  const struct ledger_value values[] = {lv_int(w->attempt_a), lv_int(w->turn_no), lv_int(p->context)};
  struct ledger_rows *q = NULL;
  bool row = false;
  sluice_status st = ledger_query(p->ledger, sql, values, 3, &q, err);
  if (st == SLUICE_OK) st = ledger_next(q, &row, err);
  while (st == SLUICE_OK && row) {
    struct slice text = ledger_bytes(q, 1);
    st = buffer_printf(out, err, "%s: ", ledger_text(q, 0));
    if (st == SLUICE_OK) st = buffer_append(out, text.ptr, text.len, err);
    if (st == SLUICE_OK) st = buffer_append_str(out, "\n", err);
    if (st == SLUICE_OK) st = ledger_next(q, &row, err);
  }
  ledger_rows_end(q);
  return st;
}

static sluice_status append_choice(const struct cJSON *choices, int64_t index, struct buffer *out,
                                   struct sluice_error *err) {
  const struct cJSON *c = index >= 0 && index < 1000000 ? cJSON_GetArrayItem(choices, (int)index) : NULL;
  const struct cJSON *text = cJSON_GetObjectItemCaseSensitive(c, "text");
  return cJSON_IsString(text) ? buffer_append_str(out, text->valuestring, err) : SLUICE_OK;
}

/* The answer of one attempt, and, when wanted, the reference: `expected`, or the right choice's text. */
static sluice_status read_answer(const struct judge_pass *p, int64_t attempt, int turn_no, struct buffer *answer,
                                 struct buffer *reference, struct sluice_error *err) {
  static const char sql[] = "SELECT o.body, t.chosen, st.choices, st.answer, st.expected FROM turn t"
                            " JOIN attempt a ON a.id = t.attempt_id"
                            " JOIN sample_turn st ON st.sample_uid = a.sample_uid AND st.turn_no = t.turn_no"
                            " LEFT JOIN blob o ON o.sha256 = t.output WHERE t.attempt_id = ?1 AND t.turn_no = ?2";
  const struct ledger_value values[] = {lv_int(attempt), lv_int(turn_no)};
  struct ledger_rows *q = NULL;
  struct cJSON *choices = NULL;
  bool row = false;
  sluice_status st = ledger_query(p->ledger, sql, values, 2, &q, err);
  if (st == SLUICE_OK) st = ledger_next(q, &row, err);
  if (st == SLUICE_OK && !row)
    st = sluice_fail(err, SLUICE_INPUT, "attempt %lld has no turn %d", (long long)attempt, turn_no);
  if (st == SLUICE_OK && ledger_type_of(q, 2) != LEDGER_NULL) {
    struct slice text = ledger_bytes(q, 2);
    st = json_parse("sample_turn.choices", text.ptr, text.len, false, &choices, err);
  }
  if (st == SLUICE_OK && ledger_type_of(q, 0) != LEDGER_NULL) {
    struct slice text = ledger_bytes(q, 0);
    st = buffer_append(answer, text.ptr, text.len, err);
  } else if (st == SLUICE_OK) {
    st = append_choice(choices, ledger_int(q, 1), answer, err);
  }
  if (st == SLUICE_OK && reference != NULL && ledger_type_of(q, 4) != LEDGER_NULL) {
    struct slice text = ledger_bytes(q, 4);
    st = buffer_append(reference, text.ptr, text.len, err);
  } else if (st == SLUICE_OK && reference != NULL && ledger_type_of(q, 3) != LEDGER_NULL) {
    st = append_choice(choices, ledger_int(q, 3), reference, err);
  }
  ledger_rows_end(q);
  cJSON_Delete(choices);
  return st;
}

static struct slice whole(const struct buffer *b) {
  return (struct slice){b->ptr != NULL ? b->ptr : "", b->len};
}

static sluice_status read_item(const struct judge_pass *p, const struct work *w, struct shown_turn *s,
                               struct judge_item *item, struct sluice_error *err) {
  struct buffer *all[] = {&s->question, &s->answer, &s->answer_b, &s->reference};
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) buffer_init(all[i], TEXT_LIMIT);
  sluice_status st = read_question(p, w, &s->question, err);
  if (st == SLUICE_OK) st = read_answer(p, w->attempt_a, w->turn_no, &s->answer, &s->reference, err);
  if (st == SLUICE_OK && w->attempt_b != 0) st = read_answer(p, w->attempt_b, w->turn_no, &s->answer_b, NULL, err);
  *item = (struct judge_item){.question = whole(&s->question),
                              .answer = whole(&s->answer),
                              .answer_b = whole(&s->answer_b),
                              .reference = whole(&s->reference)};
  return st;
}

/* ---- rows ----------------------------------------------------------------------------------------------------- */
static sluice_status put_judgment(const struct judge_pass *p, const struct work *w, const struct judgement *j,
                                  bool b_first, struct sluice_error *err) {
  struct ledger_judgment row = {.scorer_id = p->scorer_id,
                                .attempt_a = w->attempt_a,
                                .attempt_b = w->attempt_b,
                                .turn_no = w->turn_no,
                                .b_first = b_first,
                                .verdict = j->outcome == JUDGE_REFUSED ? "refused" : j->verdict,
                                .value = j->value,
                                .parse_ok = j->outcome == JUDGE_SCORED,
                                .raw = {j->raw, j->raw_len},
                                .prompt_hash = j->prompt_hash,
                                .parser_version = j->parser_version,
                                .error = j->outcome == JUDGE_ERROR ? j->reason : NULL};
  return ledger_put_judgment(p->ledger, &row, err);
}

/* The judge's score stands beside the metric's, under the rubric's name. An error is no score: the next pass tries
 * again. */
static sluice_status put_score(const struct judge_pass *p, const struct work *w, const struct judgement *j,
                               struct sluice_error *err) {
  if (j->outcome == JUDGE_ERROR) return SLUICE_OK;
  return ledger_run(p->ledger,
                    "INSERT INTO score(attempt_id, turn_no, scorer_id, metric, value, label, reason)"
                    " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    LEDGER_VALUES(lv_int(w->attempt_a), lv_int(w->turn_no), lv_int(p->scorer_id),
                                  lv_text(judge_name(p->judge)), lv_real_or_null(j->value),
                                  lv_text(j->verdict != NULL ? j->verdict : judge_outcome_name(j->outcome)),
                                  lv_text(j->outcome == JUDGE_SCORED ? NULL : j->reason)),
                    err);
}

static sluice_status judge_one(const struct judge_pass *p, struct work *w, const struct judge_item *item, uint64_t call,
                               struct judge_counts *c, struct sluice_error *err) {
  struct judgement j;
  sluice_status st = judge_pointwise(p->judge, item, call, &j, err);
  if (st == SLUICE_OK) st = put_judgment(p, w, &j, false, err);
  if (st == SLUICE_OK) st = put_score(p, w, &j, err);
  if (st == SLUICE_OK) count_judgement(p, w, &j, c);
  judgement_free(&j);
  return st;
}

static sluice_status judge_two(const struct judge_pass *p, const struct work *w, const struct judge_item *item,
                               uint64_t call, struct judge_counts *c, struct sluice_error *err) {
  struct judgement_pair j;
  sluice_status st = judge_pairwise(p->judge, item, call, &j, err);
  if (st == SLUICE_OK) count_pair(&j, c);
  /* An error in one order is an error of the pair: both rows say so, and the next pass asks both again. */
  bool failed = j.order[0].outcome == JUDGE_ERROR || j.order[1].outcome == JUDGE_ERROR;
  for (int order = 0; order < 2 && st == SLUICE_OK; order++) {
    if (failed && j.order[order].outcome != JUDGE_ERROR) {
      j.order[order].outcome = JUDGE_ERROR;
      snprintf(j.order[order].reason, sizeof j.order[order].reason, "the other order failed");
    }
    st = put_judgment(p, w, &j.order[order], order == 1, err);
  }
  judgement_pair_free(&j);
  return st;
}

/* ---- the pass ------------------------------------------------------------------------------------------------- */
/* One turn in one transaction, or in the open one. The call's number is the turn's own, so that a resumed pass shows
 * the judge the same prompts. */
static sluice_status judge_turn(const struct judge_pass *p, struct work *w, struct judge_counts *c,
                                struct sluice_error *err) {
  struct shown_turn shown;
  struct judge_item item;
  uint64_t call = (uint64_t)w->attempt_a * 1000003u + (uint64_t)w->attempt_b * 10007u + (uint64_t)w->turn_no;
  sluice_status st = read_item(p, w, &shown, &item, err);
  if (st == SLUICE_OK) {
    st = w->attempt_b != 0 ? judge_two(p, w, &item, call, c, err) : judge_one(p, w, &item, call, c, err);
  }
  shown_free(&shown);
  return st;
}

static sluice_status work_through(const struct judge_pass *p, struct work_list *list, struct judge_counts *c,
                                  struct sluice_error *err) {
  struct progress bar;
  bool open = false;
  int64_t began = 0;
  sluice_status st = SLUICE_OK;
  progress_begin(&bar, "judging", list->n);
  for (size_t i = 0; i < list->n && st == SLUICE_OK; i++) {
    if (list->at[i].judged) continue;
    if (signal_interrupted() != 0) {
      st = sluice_fail(err, SLUICE_INTERRUPTED, "interrupted after %zu of %zu turns; the same command continues", i,
                       list->n);
      break;
    }
    if (!open) {
      st = ledger_begin(p->ledger, err);
      open = st == SLUICE_OK;
      began = clock_mono_ns();
    }
    if (st == SLUICE_OK) st = judge_turn(p, &list->at[i], c, err);
    if (st == SLUICE_OK && clock_mono_ns() - began > COMMIT_NS) {
      st = ledger_commit(p->ledger, err);
      open = false;
    }
    progress_update(&bar, i + 1, "%llu unscored, %llu errors", (unsigned long long)c->unscored,
                    (unsigned long long)c->errors);
  }
  progress_end(&bar);
  if (!open) return st;
  if (st != SLUICE_OK && st != SLUICE_INTERRUPTED) {
    ledger_rollback(p->ledger);
    return st;
  }
  struct sluice_error late;
  sluice_status committed = ledger_commit(p->ledger, st == SLUICE_OK ? err : &late);
  return st != SLUICE_OK ? st : committed;
}

static sluice_status agree(const struct work_list *list, struct agreement *out, struct sluice_error *err) {
  int *a = calloc(list->n + 1, sizeof *a), *b = calloc(list->n + 1, sizeof *b);
  uint64_t *cluster = calloc(list->n + 1, sizeof *cluster);
  sluice_status st = a == NULL || b == NULL || cluster == NULL
                         ? sluice_fail(err, SLUICE_NOMEM, "no memory for the agreement of %zu turns", list->n)
                         : SLUICE_OK;
  for (size_t i = 0; i < list->n && st == SLUICE_OK; i++) {
    a[i] = list->at[i].metric_label;
    b[i] = list->at[i].judge_label;
    cluster[i] = list->at[i].cluster;
  }
  if (st == SLUICE_OK) st = agreement_of_two(a, b, cluster, list->n, 2, 1, out, err);
  free(a);
  free(b);
  free(cluster);
  return st;
}

sluice_status judge_pass_run(const struct judge_pass *p, struct judge_counts *counts, struct sluice_error *err) {
  struct work_list list = {0};
  *counts = (struct judge_counts){0};
  sluice_status st = list_work(p, &list, counts, err);
  if (st == SLUICE_OK) st = work_through(p, &list, counts, err);
  if (st == SLUICE_OK && p->run_b[0] == '\0') st = agree(&list, &counts->agreement, err);
  free(list.at);
  return st;
}
