/* Samples and turns as rows, there and back. */
#include "runner/record.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- samples ------------------------------------------------------------------------------------------------------
 */

static sluice_status choices_json(const struct turn *t, struct buffer *out, struct sluice_error *err) {
  sluice_status status = buffer_append_str(out, "[", err);
  for (size_t i = 0; i < t->n_choices && !status; i++) {
    const struct turn_choice *c = &t->choices[i];
    status = buffer_append_str(out, i ? ",{\"label\":" : "{\"label\":", err);
    if (!status && c->label) status = json_quote(out, c->label, strlen(c->label), err);
    if (!status && !c->label) status = buffer_append_str(out, "null", err);
    if (!status) status = buffer_append_str(out, ",\"text\":", err);
    if (!status) status = json_quote(out, c->text, strlen(c->text), err);
    if (!status) status = buffer_append_str(out, "}", err);
  }
  return status ? status : buffer_append_str(out, "]", err);
}

static sluice_status sample_turn_write(struct ledger *l, const unsigned char *uid, size_t i, const struct turn *t,
                                       struct sluice_error *err) {
  static const char *const roles[] = {[TURN_SYSTEM] = "system", [TURN_USER] = "user", [TURN_BOT] = "bot"};
  static const char *const tasks[] = {
      [TASK_FEED] = "feed", [TASK_CHOOSE] = "choose", [TASK_GENERATE] = "generate", [TASK_TEXT] = "text"};
  unsigned char text[SHA256_BYTES];
  struct buffer choices;
  buffer_init(&choices, 64 << 20);
  bool scored = turn_is_scored(t);
  sluice_status status = ledger_put_blob(l, slice_of(t->text ? t->text : ""), text, err);
  if (!status && t->task == TASK_CHOOSE) status = choices_json(t, &choices, err);
  if (!status)
    status = ledger_run(
        l,
        "INSERT OR IGNORE INTO sample_turn(sample_uid, turn_no, role, task, metric, text, choices, answer, tie, "
        "expected,"
        " evidence_turn, evidence, distance, gold_in_context) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
        LEDGER_VALUES(lv_hash(uid), lv_int((int64_t)i), lv_text(roles[t->role]), lv_text(tasks[t->task]),
                      lv_text(scored ? t->metric : NULL), lv_hash(text), lv_text(choices.ptr),
                      lv_int_or_null(t->answer, t->task == TASK_CHOOSE && t->answer >= 0),
                      lv_int_or_null(t->tie, t->task == TASK_CHOOSE && t->tie >= 0), lv_text(t->expected),
                      lv_int_or_null(t->evidence_turn, scored && t->evidence_turn >= 0), lv_text(t->evidence),
                      lv_int_or_null(t->distance, scored && t->distance >= 0), lv_int(t->gold_in_context)),
        err);
  buffer_free(&choices);
  return status;
}

sluice_status sample_write(struct ledger *l, const struct dialogue *d, unsigned char uid[SHA256_BYTES],
                           struct sluice_error *err) {
  int64_t there, scored = 0;
  sluice_status status = dialogue_hash(d, uid, err);
  if (!status)
    status =
        ledger_query_int(l, "SELECT count(*) FROM sample WHERE uid = ?1", LEDGER_VALUES(lv_hash(uid)), 0, &there, err);
  if (status || there) return status;
  for (size_t i = 0; i < d->n_turns; i++) scored += turn_is_scored(&d->turns[i]);
  status = ledger_run(
      l, "INSERT INTO sample(uid, ext_id, cluster, n_turns, n_scored) VALUES(?1, ?2, ?3, ?4, ?5)",
      LEDGER_VALUES(lv_hash(uid), lv_text(d->id), lv_text(d->cluster), lv_int((int64_t)d->n_turns), lv_int(scored)),
      err);
  for (size_t i = 0; i < d->n_turns && !status; i++) status = sample_turn_write(l, uid, i, &d->turns[i], err);
  return status;
}

/* ---- turns out ----------------------------------------------------------------------------------------------------
 */

static sluice_status doubles_json(const double *v, size_t n, struct buffer *out, struct sluice_error *err) {
  sluice_status status = buffer_append_str(out, "[", err);
  for (size_t i = 0; i < n && !status; i++)
    status = isfinite(v[i]) ? buffer_printf(out, err, "%s%.17g", i ? "," : "", v[i])
                            : buffer_printf(out, err, "%snull", i ? "," : "");
  return status ? status : buffer_append_str(out, "]", err);
}

static sluice_status ints_json(const int *v, size_t n, struct buffer *out, struct sluice_error *err) {
  sluice_status status = buffer_append_str(out, "[", err);
  for (size_t i = 0; i < n && !status; i++) status = buffer_printf(out, err, "%s%d", i ? "," : "", v[i]);
  return status ? status : buffer_append_str(out, "]", err);
}

/* float32, little-endian, whatever this machine is. */
static unsigned char *pack_floats(const float *v, size_t n) {
  unsigned char *out = malloc(4 * n + 1);
  for (size_t i = 0; out && i < n; i++) {
    uint32_t bits;
    memcpy(&bits, &v[i], 4);
    for (int k = 0; k < 4; k++) out[4 * i + (size_t)k] = (unsigned char)(bits >> (8 * k));
  }
  return out;
}

static sluice_status buckets_write(struct ledger *l, int64_t attempt_id, const struct played_turn *t,
                                   struct sluice_error *err) {
  struct perplexity *p = malloc(sizeof *p);
  if (!p) return sluice_fail(err, SLUICE_NOMEM, "no memory for a turn's surprisal");
  perplexity_begin(p);
  for (size_t i = 0; i < t->n_nll; i++) perplexity_add(p, t->first_position + i, (double)t->nll[i]);
  sluice_status status = SLUICE_OK;
  for (int i = 0; i < POSITION_BUCKETS && !status; i++) {
    const struct position_bucket *b = &p->buckets[i];
    if (!b->tokens) continue;
    uint64_t start, end;
    position_range(i, &start, &end);
    status = ledger_run(
        l, "INSERT INTO nll_bucket(attempt_id, turn_no, start, width, tokens, nats) VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        LEDGER_VALUES(lv_int(attempt_id), lv_int(t->turn_no), lv_int((int64_t)start), lv_int((int64_t)(end - start)),
                      lv_int((int64_t)b->tokens), lv_real(b->nats)),
        err);
  }
  free(p);
  return status;
}

static sluice_status surprisal_write(struct ledger *l, int64_t attempt_id, const struct played_turn *t,
                                     struct sluice_error *err) {
  if (!t->n_nll) return SLUICE_OK;
  unsigned char *packed = pack_floats(t->nll, t->n_nll);
  if (!packed) return sluice_fail(err, SLUICE_NOMEM, "no memory for a turn's surprisal");
  sluice_status status =
      ledger_run(l, "INSERT INTO turn_nll(attempt_id, turn_no, first_position, nll) VALUES(?1, ?2, ?3, ?4)",
                 LEDGER_VALUES(lv_int(attempt_id), lv_int(t->turn_no), lv_int((int64_t)t->first_position),
                               lv_blob(packed, 4 * t->n_nll)),
                 err);
  free(packed);
  return status ? status : buckets_write(l, attempt_id, t, err);
}

static sluice_status events_write(struct ledger *l, int64_t attempt_id, const struct played_turn *t,
                                  struct sluice_error *err) {
  sluice_status status = SLUICE_OK;
  for (size_t i = 0; i < t->n_events && !status; i++) {
    const struct tap_event *e = &t->events[i];
    status = ledger_run(
        l,
        "INSERT INTO monitor_event(attempt_id, turn_no, seq, action, rule, category, score, span_start, span_end,"
        " token_index, detail, at_ns) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        LEDGER_VALUES(lv_int(attempt_id), lv_int(t->turn_no), lv_int((int64_t)i), lv_text(e->action), lv_text(e->rule),
                      lv_text(e->category), lv_real_or_null(e->score),
                      lv_int_or_null(e->span_start, e->span_start >= 0), lv_int_or_null(e->span_end, e->span_end >= 0),
                      lv_int_or_null(e->token_index, e->token_index >= 0), lv_text(e->detail), lv_null()),
        err);
  }
  return status;
}

static sluice_status row_write(struct ledger *l, int64_t attempt_id, const struct played_turn *t,
                               const unsigned char *message, const unsigned char *output, const char *logprob,
                               const char *first, const char *tokens, struct sluice_error *err) {
  bool nats = t->nats_tokens > 0;
  return ledger_run(
      l,
      "INSERT INTO turn(attempt_id, turn_no, state, finish, message_hash, output, chosen, committed, choice_logprob,"
      " choice_first_logprob, choice_tokens, nats, nats_tokens, position, kv_held, kv_peak, prompt_tokens, "
      "output_tokens,"
      " start_ns, first_ns, end_ns) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21)",
      LEDGER_VALUES(lv_int(attempt_id), lv_int(t->turn_no), lv_text(t->state), lv_text(t->finish), lv_hash(message),
                    lv_hash(output), lv_int_or_null(t->chosen, t->chosen >= 0),
                    lv_int_or_null(t->committed, t->committed >= 0), lv_text(logprob), lv_text(first), lv_text(tokens),
                    nats ? lv_real_or_null(t->nats) : lv_null(), lv_int_or_null((int64_t)t->nats_tokens, nats),
                    lv_int((int64_t)t->position), lv_int((int64_t)t->kv_held), lv_int((int64_t)t->kv_peak),
                    lv_int_or_null(t->prompt_tokens, t->generated && t->prompt_tokens >= 0),
                    lv_int_or_null(t->output_tokens, t->generated && t->output_tokens >= 0), lv_int(t->start_ns),
                    lv_int_or_null(t->first_ns, t->first_ns > 0), lv_int(t->end_ns)),
      err);
}

sluice_status turn_write(struct ledger *l, int64_t attempt_id, const struct played_turn *t,
                         const unsigned char *message, struct sluice_error *err) {
  unsigned char output[SHA256_BYTES];
  struct buffer logprob, first, tokens;
  buffer_init(&logprob, 1 << 24);
  buffer_init(&first, 1 << 24);
  buffer_init(&tokens, 1 << 24);
  sluice_status status = SLUICE_OK;
  if (t->has_output) status = ledger_put_blob(l, (struct slice){t->output, t->output_len}, output, err);
  if (!status && t->n_choices) status = doubles_json(t->logprob, t->n_choices, &logprob, err);
  if (!status && t->n_choices) status = doubles_json(t->first_logprob, t->n_choices, &first, err);
  if (!status && t->n_choices) status = ints_json(t->tokens, t->n_choices, &tokens, err);
  if (!status)
    status =
        row_write(l, attempt_id, t, message, t->has_output ? output : NULL, logprob.ptr, first.ptr, tokens.ptr, err);
  if (!status) status = surprisal_write(l, attempt_id, t, err);
  if (!status && t->gaps.len)
    status = ledger_run(l, "INSERT INTO token_time(attempt_id, turn_no, delta_ns) VALUES(?1, ?2, ?3)",
                        LEDGER_VALUES(lv_int(attempt_id), lv_int(t->turn_no), lv_blob(t->gaps.ptr, t->gaps.len)), err);
  if (!status) status = events_write(l, attempt_id, t, err);
  buffer_free(&logprob);
  buffer_free(&first);
  buffer_free(&tokens);
  return status;
}

sluice_status turn_out_hash(struct ledger *l, int64_t attempt_id, unsigned char out[SHA256_BYTES],
                            struct sluice_error *err) {
  struct ledger_rows *q;
  struct sha256_stream *h = sha256_begin();
  if (!h) return sluice_fail(err, SLUICE_NOMEM, "no memory for a hash");
  sluice_status status = ledger_query(
      l,
      "SELECT turn_no, state, finish, message_hash, output, chosen, committed, choice_logprob, choice_first_logprob,"
      " choice_tokens, printf('%!.17g', nats), nats_tokens, position FROM turn WHERE attempt_id = ?1 ORDER BY turn_no",
      LEDGER_VALUES(lv_int(attempt_id)), &q, err);
  bool row = true;
  while (!status && !(status = ledger_next(q, &row, err)) && row)
    for (int c = 0; c < ledger_columns(q); c++) {
      struct slice s = ledger_bytes(q, c);
      char head[32];
      int n = snprintf(head, sizeof head, "%d:%zu:", (int)ledger_type_of(q, c), s.len);
      sha256_add(h, head, (size_t)n);
      sha256_add(h, s.ptr, s.len);
    }
  ledger_rows_end(q);
  sha256_end(h, out);
  return status;
}

/* ---- turns back in ------------------------------------------------------------------------------------------------
 */

static sluice_status read_doubles(const char *json, size_t n, double **out, struct sluice_error *err) {
  cJSON *array = NULL, *item;
  size_t i = 0;
  if (json_parse("a recorded turn", json, strlen(json), false, &array, err)) return err->code;
  *out = calloc(n ? n : 1, sizeof **out);
  cJSON_ArrayForEach(item, array) {
    if (*out && i < n) (*out)[i] = cJSON_IsNumber(item) ? item->valuedouble : (double)NAN;
    i++;
  }
  cJSON_Delete(array);
  if (!*out) return sluice_fail(err, SLUICE_NOMEM, "no memory for a recorded turn");
  return i == n ? SLUICE_OK
                : sluice_fail(err, SLUICE_INPUT, "a recorded turn has %zu log-probabilities, not %zu", i, n);
}

static sluice_status fill_turn(struct ledger_rows *q, const struct turn *t, struct played_turn *out,
                               struct sluice_error *err) {
  static const char *const states[] = {"done", "truncated", "refused"};
  static const char *const ends[] = {"stop", "length", "content_filter", "monitor"};
  for (size_t i = 0; i < 3; i++)
    if (!strcmp(ledger_text(q, 0), states[i])) out->state = states[i];
  for (size_t i = 0; i < 4; i++)
    if (!strcmp(ledger_text(q, 1), ends[i])) out->finish = ends[i];
  out->has_output = ledger_type_of(q, 2) != LEDGER_NULL;
  struct slice text = ledger_bytes(q, 2), context = ledger_bytes(q, 10);
  out->output_len = text.len;
  out->context_len = context.len;
  out->chosen = ledger_type_of(q, 3) == LEDGER_NULL ? -1 : (int)ledger_int(q, 3);
  out->committed = ledger_type_of(q, 4) == LEDGER_NULL ? -1 : (int)ledger_int(q, 4);
  out->nats = ledger_type_of(q, 8) == LEDGER_NULL ? 0 : ledger_real(q, 8);
  out->nats_tokens = (size_t)ledger_int(q, 9);
  if (out->has_output && !(out->output = malloc(text.len + 1)))
    return sluice_fail(err, SLUICE_NOMEM, "no memory for a turn");
  if (out->has_output) memcpy(out->output, text.ptr, text.len);
  out->context = malloc(context.len + 1);
  if (!out->context) return sluice_fail(err, SLUICE_NOMEM, "no memory for a turn");
  memcpy(out->context, context.ptr, context.len);
  if (ledger_type_of(q, 5) == LEDGER_NULL) return SLUICE_OK;
  out->n_choices = t->n_choices;
  sluice_status status = read_doubles(ledger_text(q, 5), t->n_choices, &out->logprob, err);
  if (!status) status = read_doubles(ledger_text(q, 6), t->n_choices, &out->first_logprob, err);
  double *tokens = NULL;
  if (!status) status = read_doubles(ledger_text(q, 7), t->n_choices, &tokens, err);
  out->tokens = calloc(t->n_choices ? t->n_choices : 1, sizeof *out->tokens);
  if (!status && !out->tokens) status = sluice_fail(err, SLUICE_NOMEM, "no memory for a turn");
  for (size_t i = 0; !status && i < t->n_choices; i++) out->tokens[i] = (int)tokens[i];
  free(tokens);
  return status;
}

sluice_status record_turn(struct ledger *l, int64_t attempt_id, size_t turn_no, const struct turn *t,
                          struct played_turn *out, struct sluice_error *err) {
  *out = (struct played_turn){.turn_no = -1, .state = "done", .finish = "stop"};
  struct ledger_rows *q;
  sluice_status status =
      ledger_query(l,
                   "SELECT t.state, t.finish, o.body, t.chosen, t.committed, t.choice_logprob, t.choice_first_logprob, "
                   "t.choice_tokens,"
                   " t.nats, t.nats_tokens, c.body FROM turn t LEFT JOIN blob o ON o.sha256 = t.output"
                   " JOIN message m ON m.hash = t.message_hash JOIN blob c ON c.sha256 = m.body"
                   " WHERE t.attempt_id = ?1 AND t.turn_no = ?2",
                   LEDGER_VALUES(lv_int(attempt_id), lv_int((int64_t)turn_no)), &q, err);
  bool row = false;
  if (!status) status = ledger_next(q, &row, err);
  if (!status && row) {
    out->turn_no = (int)turn_no;
    status = fill_turn(q, t, out, err);
  }
  ledger_rows_end(q);
  if (status) played_free(out);
  return status;
}
