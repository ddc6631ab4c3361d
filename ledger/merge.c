/* Shards of one run into one ledger. Each shard was planned alike, owns its dialogues by hash, and may come from any
 * machine: the files are opened read-only and checked before a row is copied, and rows are copied by name, never by
 * "all columns". */
#include "ledger/handle.h"

#include <stdlib.h>
#include <string.h>

#define SHARDS_MAX 4096

struct shard {
  const char *path;
  char run_id[LEDGER_RUN_ID];
  unsigned char plan_hash[SHA256_BYTES];
  int64_t shard, n_shards, planned, finished, limited;
};

/* ---- proof
 * ------------------------------------------------------------------------------------------------------------ */

static sluice_status read_shard(struct ledger *l, struct shard *s, struct sluice_error *err) {
  struct ledger_rows *q;
  bool row = false;
  sluice_status status = ledger_find_run(l, NULL, s->run_id, err);
  if (status) return status;
  status = ledger_query(
      l,
      "SELECT r.plan_hash, r.shard, r.n_shards, v.planned, v.finished, r.limited FROM run r JOIN v_run v ON"
      " v.run_id = r.id WHERE r.id = ?1",
      LEDGER_VALUES(lv_text(s->run_id)), &q, err);
  if (!status) status = ledger_next(q, &row, err);
  if (!status && (!row || ledger_bytes(q, 0).len != SHA256_BYTES))
    status = sluice_fail(err, SLUICE_INPUT, "%s: its run has no plan", s->path);
  if (!status) {
    memcpy(s->plan_hash, ledger_bytes(q, 0).ptr, SHA256_BYTES);
    s->shard = ledger_int(q, 1);
    s->n_shards = ledger_int(q, 2);
    s->planned = ledger_int(q, 3);
    s->finished = ledger_int(q, 4);
    s->limited = ledger_int(q, 5);
  }
  ledger_rows_end(q);
  return status;
}

/* A table by that name might be a view or carry a trigger in a file that somebody made by hand. */
static sluice_status only_known_schema(struct ledger *l, struct sluice_error *err) {
  int64_t triggers, views;
  sluice_status status =
      ledger_query_int(l, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' OR sql LIKE 'CREATE VIRTUAL%'",
                       LEDGER_NO_VALUES, 0, &triggers, err);
  if (!status)
    status =
        ledger_query_int(l, "SELECT count(*) FROM sqlite_schema WHERE type = 'view' AND substr(name, 1, 2) <> 'v_'",
                         LEDGER_NO_VALUES, 0, &views, err);
  if (!status && (triggers || views))
    status = sluice_fail(err, SLUICE_INPUT, "%s: holds triggers, virtual tables or views that no sluice made", l->path);
  return status;
}

static sluice_status inspect(const char *path, struct shard *s, struct sluice_error *err) {
  struct ledger *l = NULL;
  struct sluice_error late;
  s->path = path;
  sluice_status status = ledger_open(path, LEDGER_READ, NULL, &l, err);
  if (!status) status = only_known_schema(l, err);
  if (!status) status = ledger_check(l, err);
  if (!status) status = read_shard(l, s, err);
  ledger_close(l, &late);
  return status;
}

static sluice_status prove(const struct shard *s, size_t n, bool allow_partial, struct sluice_error *err) {
  for (size_t i = 0; i < n; i++) {
    if (memcmp(s[i].plan_hash, s[0].plan_hash, SHA256_BYTES) || s[i].limited != s[0].limited)
      return sluice_fail(err, SLUICE_USAGE,
                         "%s and %s are no shards of one plan: suite, model, kernel, threads or data differ", s[0].path,
                         s[i].path);
    if (s[i].n_shards != s[0].n_shards)
      return sluice_fail(err, SLUICE_USAGE, "%s is one of %lld shards, %s one of %lld", s[0].path,
                         (long long)s[0].n_shards, s[i].path, (long long)s[i].n_shards);
    for (size_t k = 0; k < i; k++)
      if (s[k].shard == s[i].shard)
        return sluice_fail(err, SLUICE_USAGE, "%s and %s are both shard %lld", s[k].path, s[i].path,
                           (long long)s[i].shard);
    if (!allow_partial && s[i].finished < s[i].planned)
      return sluice_fail(err, SLUICE_USAGE,
                         "%s is unfinished (%lld of %lld dialogues): continue it, or --allow-partial", s[i].path,
                         (long long)s[i].finished, (long long)s[i].planned);
  }
  if (!allow_partial && (int64_t)n < s[0].n_shards)
    return sluice_fail(err, SLUICE_USAGE, "%zu of %lld shards are given: give all, or --allow-partial", n,
                       (long long)s[0].n_shards);
  return SLUICE_OK;
}

/* ---- copying
 * ------------------------------------------------------------------------------------------------------------ */

/* Rows named by content keep their names; integer ids of attempts, invocations and judgments are moved past those that
 * are there. */
static const char copy_rows[] =
    "INSERT OR IGNORE INTO main.blob(sha256, len, body) SELECT sha256, len, body FROM shard.blob;\n"
    "INSERT OR IGNORE INTO main.message(hash, parent, depth, role, body) SELECT hash, parent, depth, role, body FROM "
    "shard.message"
    "  ORDER BY depth;\n"
    "INSERT OR IGNORE INTO main.dataset(spec, name, size, license) SELECT spec, name, size, license FROM shard.dataset "
    "ORDER BY id;\n"
    "INSERT OR IGNORE INTO main.sample(uid, ext_id, cluster, n_turns, n_scored) SELECT uid, ext_id, cluster, n_turns, "
    "n_scored"
    "  FROM shard.sample;\n"
    "INSERT OR IGNORE INTO main.sample_turn(sample_uid, turn_no, role, task, metric, text, choices, answer, tie, "
    "expected,"
    "  evidence_turn, evidence, distance, gold_in_context) SELECT sample_uid, turn_no, role, task, metric, text, "
    "choices, answer, tie,"
    "  expected, evidence_turn, evidence, distance, gold_in_context FROM shard.sample_turn;\n"
    "INSERT OR IGNORE INTO main.host(hash, json) SELECT hash, json FROM shard.host ORDER BY id;\n"
    "INSERT OR IGNORE INTO main.spec(hash, json) SELECT hash, json FROM shard.spec;\n"
    "INSERT OR IGNORE INTO main.engine(hash, identity) SELECT hash, identity FROM shard.engine ORDER BY id;\n"
    "INSERT OR IGNORE INTO main.scorer(name, version, config, kind) SELECT name, version, config, kind FROM "
    "shard.scorer ORDER BY id;\n"
    "INSERT INTO main.invocation(id, run_id, host_id, tool_version, argv, started_ns)"
    "  SELECT v.id + g.invocation0, g.run_id, h.id, v.tool_version, v.argv, v.started_ns FROM temp.merging g, "
    "shard.invocation v"
    "  JOIN shard.host o ON o.id = v.host_id JOIN main.host h ON h.hash = o.hash WHERE v.run_id = g.shard_run;\n"
    "INSERT INTO main.invocation_end(invocation_id, ended_ns, exit_code) SELECT e.invocation_id + g.invocation0, "
    "e.ended_ns,"
    "  e.exit_code FROM temp.merging g, shard.invocation_end e JOIN shard.invocation v ON v.id = e.invocation_id"
    "  WHERE v.run_id = g.shard_run;\n"
    "INSERT OR IGNORE INTO main.cell(run_id, ordinal, spec_hash, engine_id, engine, policy, policy_full, monitor, "
    "benchmark,"
    "  dataset_id, seed, n_planned) SELECT g.run_id, c.ordinal, c.spec_hash, e.id, c.engine, c.policy, c.policy_full, "
    "c.monitor,"
    "  c.benchmark, d.id, c.seed, 0 FROM temp.merging g, shard.cell c JOIN shard.engine x ON x.id = c.engine_id JOIN "
    "main.engine e ON"
    "  e.hash = x.hash JOIN shard.dataset y ON y.id = c.dataset_id JOIN main.dataset d ON d.spec = y.spec"
    "  WHERE c.run_id = g.shard_run ORDER BY c.ordinal;\n"
    "UPDATE main.cell SET n_planned = n_planned + (SELECT c.n_planned FROM shard.cell c, temp.merging g WHERE c.run_id "
    "= g.shard_run"
    "  AND c.spec_hash = main.cell.spec_hash) WHERE run_id = (SELECT run_id FROM temp.merging);\n"
    "CREATE TEMP TABLE cells AS SELECT c.id AS old, m.id AS new FROM temp.merging g, shard.cell c JOIN main.cell m ON"
    "  m.run_id = g.run_id AND m.spec_hash = c.spec_hash WHERE c.run_id = g.shard_run;\n"
    "CREATE TEMP TABLE attempts AS SELECT a.id AS old, a.id + g.attempt0 AS new FROM temp.merging g, shard.attempt a"
    "  JOIN temp.cells c ON c.old = a.cell_id;\n"
    "CREATE INDEX temp.attempts_old ON attempts(old);\n"
    "CREATE TEMP TABLE scorers AS SELECT s.id AS old, m.id AS new FROM shard.scorer s JOIN main.scorer m ON m.name = "
    "s.name AND"
    "  m.version = s.version AND m.config = s.config AND m.kind = s.kind;\n"
    "INSERT INTO main.attempt(id, cell_id, ordinal, attempt_no, sample_uid, invocation_id, started_ns) SELECT n.new, "
    "c.new, a.ordinal,"
    "  a.attempt_no, a.sample_uid, a.invocation_id + g.invocation0, a.started_ns FROM temp.merging g, shard.attempt a"
    "  JOIN temp.attempts n ON n.old = a.id JOIN temp.cells c ON c.old = a.cell_id ORDER BY n.new;\n"
    "INSERT INTO main.attempt_end(attempt_id, state, error_class, error, message_hash, out_hash, tokens, kv_held, "
    "kv_peak, resumed,"
    "  ended_ns) SELECT n.new, e.state, e.error_class, e.error, e.message_hash, e.out_hash, e.tokens, e.kv_held, "
    "e.kv_peak, e.resumed,"
    "  e.ended_ns FROM shard.attempt_end e JOIN temp.attempts n ON n.old = e.attempt_id;\n"
    "INSERT INTO main.turn(attempt_id, turn_no, state, finish, message_hash, output, chosen, committed, choice_logprob,"
    "  choice_first_logprob, choice_tokens, nats, nats_tokens, position, kv_held, kv_peak, prompt_tokens, "
    "output_tokens, start_ns,"
    "  first_ns, end_ns) SELECT n.new, t.turn_no, t.state, t.finish, t.message_hash, t.output, t.chosen, t.committed,"
    "  t.choice_logprob, t.choice_first_logprob, t.choice_tokens, t.nats, t.nats_tokens, t.position, t.kv_held, "
    "t.kv_peak,"
    "  t.prompt_tokens, t.output_tokens, t.start_ns, t.first_ns, t.end_ns FROM shard.turn t JOIN temp.attempts n ON"
    "  n.old = t.attempt_id;\n"
    "INSERT INTO main.turn_nll(attempt_id, turn_no, first_position, nll) SELECT n.new, x.turn_no, x.first_position, "
    "x.nll"
    "  FROM shard.turn_nll x JOIN temp.attempts n ON n.old = x.attempt_id;\n"
    "INSERT INTO main.nll_bucket(attempt_id, turn_no, start, width, tokens, nats) SELECT n.new, x.turn_no, x.start, "
    "x.width, x.tokens,"
    "  x.nats FROM shard.nll_bucket x JOIN temp.attempts n ON n.old = x.attempt_id;\n"
    "INSERT INTO main.token_time(attempt_id, turn_no, delta_ns) SELECT n.new, x.turn_no, x.delta_ns FROM "
    "shard.token_time x"
    "  JOIN temp.attempts n ON n.old = x.attempt_id;\n"
    "INSERT INTO main.monitor_event(attempt_id, turn_no, seq, action, rule, category, score, span_start, span_end, "
    "token_index, detail,"
    "  at_ns) SELECT n.new, x.turn_no, x.seq, x.action, x.rule, x.category, x.score, x.span_start, x.span_end, "
    "x.token_index, x.detail,"
    "  x.at_ns FROM shard.monitor_event x JOIN temp.attempts n ON n.old = x.attempt_id;\n"
    "INSERT INTO main.checkpoint(attempt_id, next_turn, resumed, message_hash, snapshot) SELECT n.new, x.next_turn, "
    "x.resumed,"
    "  x.message_hash, x.snapshot FROM shard.checkpoint x JOIN temp.attempts n ON n.old = x.attempt_id;\n"
    "INSERT INTO main.score(attempt_id, turn_no, scorer_id, metric, value, weight, label, reason) SELECT n.new, "
    "x.turn_no, r.new,"
    "  x.metric, x.value, x.weight, x.label, x.reason FROM shard.score x JOIN temp.attempts n ON n.old = x.attempt_id"
    "  JOIN temp.scorers r ON r.old = x.scorer_id;\n"
    "INSERT INTO main.trivial_score(attempt_id, turn_no, scorer_id, metric, value) SELECT n.new, x.turn_no, r.new, "
    "x.metric, x.value"
    "  FROM shard.trivial_score x JOIN temp.attempts n ON n.old = x.attempt_id JOIN temp.scorers r ON r.old = "
    "x.scorer_id;\n"
    "INSERT INTO main.judgment(scorer_id, attempt_a, attempt_b, turn_no, order_ab, verdict, value, parse_ok, raw, "
    "prompt_hash,"
    "  parser_version, error, at_ns) SELECT r.new, n.new, m.new, x.turn_no, x.order_ab, x.verdict, x.value, "
    "x.parse_ok, x.raw,"
    "  x.prompt_hash, x.parser_version, x.error, x.at_ns FROM shard.judgment x JOIN temp.attempts n ON n.old = "
    "x.attempt_a"
    "  LEFT JOIN temp.attempts m ON m.old = x.attempt_b JOIN temp.scorers r ON r.old = x.scorer_id ORDER BY x.id;\n"
    "DROP TABLE temp.cells; DROP TABLE temp.attempts; DROP TABLE temp.scorers;";

/* "file:PATH?mode=ro" with what a URI would read otherwise escaped. */
static char *read_only_uri(const char *path) {
  struct buffer b;
  struct sluice_error ignored;
  buffer_init(&b, 1 << 16);
  sluice_status status = buffer_append_str(&b, "file:", &ignored);
  for (const char *c = path; *c && !status; c++)
    status = strchr("?#%", *c) ? buffer_printf(&b, &ignored, "%%%02X", (unsigned)(unsigned char)*c)
                               : buffer_append(&b, c, 1, &ignored);
  if (!status) status = buffer_append_str(&b, "?mode=ro", &ignored);
  char *uri = status ? NULL : buffer_take(&b, NULL);
  buffer_free(&b);
  return uri;
}

/* Dialogues that the merged run has already: shards that are not disjoint, whatever their numbers say. */
static sluice_status refuse_overlap(struct ledger *into, const struct shard *s, struct sluice_error *err) {
  int64_t both = 0;
  sluice_status status = ledger_query_int(into,
                                          "SELECT count(*) FROM temp.merging g, shard.attempt a JOIN shard.cell c ON "
                                          "c.id = a.cell_id AND c.run_id = g.shard_run"
                                          " JOIN main.cell m ON m.run_id = g.run_id AND m.spec_hash = c.spec_hash"
                                          " JOIN main.attempt b ON b.cell_id = m.id AND b.ordinal = a.ordinal",
                                          LEDGER_NO_VALUES, 0, &both, err);
  if (!status && both)
    status =
        sluice_fail(err, SLUICE_INPUT, "%s: %lld of its dialogues are in another shard too", s->path, (long long)both);
  return status;
}

static sluice_status copy_shard(struct ledger *into, const struct shard *s, const char *run_id, bool first,
                                struct sluice_error *err) {
  char *uri = read_only_uri(s->path);
  if (!uri) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory", s->path);
  sluice_status status = ledger_run(into, "ATTACH ?1 AS shard", LEDGER_VALUES(lv_text(uri)), err);
  free(uri);
  if (status) return sluice_fail_in(err, "%s", s->path);
  status = ledger_begin(into, err);
  if (!status)
    status = ledger_script(into,
                           "DROP TABLE IF EXISTS temp.merging;"
                           "CREATE TEMP TABLE merging(run_id, shard_run, attempt0, invocation0)",
                           "merging", err);
  if (!status)
    status = ledger_run(into,
                        "INSERT INTO temp.merging SELECT ?1, ?2, (SELECT coalesce(max(id), 0) FROM main.attempt),"
                        " (SELECT coalesce(max(id), 0) FROM main.invocation)",
                        LEDGER_VALUES(lv_text(run_id), lv_text(s->run_id)), err);
  if (!status && first)
    status = ledger_run(
        into,
        "INSERT INTO main.run(id, plan_hash, suite, suite_json, tool_version, started_ns, shard, n_shards, limited)"
        " SELECT ?1, plan_hash, suite, suite_json, tool_version, started_ns, 0, 1, limited FROM shard.run"
        " WHERE id = ?2",
        LEDGER_VALUES(lv_text(run_id), lv_text(s->run_id)), err);
  if (!status) status = refuse_overlap(into, s, err);
  if (!status) status = ledger_script(into, copy_rows, "copying a shard", err);
  if (!status) status = ledger_commit(into, err);
  if (status) ledger_rollback(into);
  ledger_drop_statements(into); /* those on `shard` would keep it attached */
  struct sluice_error late;
  sluice_status detached = ledger_script(into, "DETACH shard", "closing a shard", status ? &late : err);
  return status ? status : detached;
}

sluice_status ledger_merge(struct ledger *into, const char *const *paths, size_t n, bool allow_partial,
                           struct sluice_error *err) {
  if (!n || n > SHARDS_MAX)
    return sluice_fail(err, SLUICE_USAGE, "1 to %d shards can be merged, not %zu", SHARDS_MAX, n);
  struct shard *shards = calloc(n, sizeof *shards);
  if (!shards) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu shards", n);
  sluice_status status = SLUICE_OK;
  for (size_t i = 0; i < n && !status; i++) status = inspect(paths[i], &shards[i], err);
  if (!status) status = prove(shards, n, allow_partial, err);
  int64_t there = 0;
  if (!status)
    status = ledger_query_int(into, "SELECT count(*) FROM run WHERE plan_hash = ?1 AND n_shards = 1 AND limited = ?2",
                              LEDGER_VALUES(lv_hash(shards[0].plan_hash), lv_int(shards[0].limited)), 0, &there, err);
  if (!status && there)
    status = sluice_fail(err, SLUICE_USAGE, "%s already holds a run of this plan: merge into a new file", into->path);
  char run_id[LEDGER_RUN_ID];
  ledger_new_id(run_id);
  for (size_t i = 0; i < n && !status; i++) status = copy_shard(into, &shards[i], run_id, i == 0, err);
  if (!status) status = ledger_check(into, err);
  free(shards);
  return status;
}
