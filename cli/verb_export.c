/* sluice export: a ledger's views as JSON lines or CSV. */
#include "cli/verbs.h"

#include "ledger/ledger.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct verb_help help = {
    .verb = "export",
    .summary = "print a ledger's rows as JSON lines or CSV",
    .usage = "sluice export LEDGER [VIEW] [options]",
    .examples = "  sluice export demo.db | head -3                 # results, one score a line\n"
                "  sluice export demo.db coverage --format csv\n"
                "  sluice export demo.db --runs\n"
                "  sluice export demo.db same > a; sluice export other.db same > b; cmp a b\n",
    .notes =
        "Views: results, turns, cells, coverage, errors, positions, trivial, monitor, in-flight, runs, and same: every "
        "column that a\n"
        "repeated run of one build on one host must give again to the byte (all but times and row numbers).\n"};

struct view {
  const char *name, *sql; /* ?1: the run's id, or NULL for all */
};
#define OF_RUN " WHERE ?1 IS NULL OR cell_id IN (SELECT id FROM cell WHERE run_id = ?1)"
static const struct view views[] = {
    {"results", "SELECT * FROM v_result WHERE ?1 IS NULL OR run_id = ?1 ORDER BY cell_id, ordinal, turn_no, scorer"},
    {"turns", "SELECT * FROM v_turn" OF_RUN " ORDER BY cell_id, ordinal, turn_no"},
    {"cells", "SELECT * FROM v_cell WHERE ?1 IS NULL OR run_id = ?1 ORDER BY run_id, ordinal"},
    {"coverage", "SELECT * FROM v_coverage WHERE ?1 IS NULL OR run_id = ?1 ORDER BY cell_id"},
    {"errors", "SELECT * FROM v_error WHERE ?1 IS NULL OR run_id = ?1 ORDER BY cell_id, ordinal"},
    {"positions", "SELECT * FROM v_position_nll" OF_RUN " ORDER BY cell_id, start"},
    {"trivial", "SELECT * FROM v_trivial" OF_RUN " ORDER BY cell_id, scorer, metric"},
    {"monitor", "SELECT * FROM v_monitor" OF_RUN " ORDER BY cell_id, ordinal, turn_no, seq"},
    {"in-flight", "SELECT a.cell_id, c.engine, c.policy, c.monitor, c.benchmark, c.seed, a.ordinal, s.ext_id, "
                  "k.next_turn, k.resumed,"
                  " length(k.snapshot) AS snapshot_bytes FROM checkpoint k JOIN attempt a ON a.id = k.attempt_id JOIN "
                  "cell c ON c.id ="
                  " a.cell_id JOIN sample s ON s.uid = a.sample_uid WHERE ?1 IS NULL OR c.run_id = ?1 ORDER BY a.id"},
    {"runs", "SELECT * FROM v_run WHERE ?1 IS NULL OR run_id = ?1 ORDER BY run_id"},
    {"same",
     "SELECT c.engine, c.policy_full, c.monitor, c.benchmark, c.seed, hex(c.spec_hash) AS spec, a.ordinal, "
     "a.attempt_no,"
     " s.ext_id, hex(a.sample_uid) AS sample, e.state, e.error_class, hex(e.message_hash) AS dialogue,"
     " hex(e.out_hash) AS out_hash, e.tokens, e.kv_held AS end_kv_held, e.kv_peak AS end_kv_peak, t.turn_no, t.state AS"
     " turn_state, t.finish, hex(t.message_hash) AS context, o.body AS output, t.chosen, t.committed, t.choice_logprob,"
     " t.choice_first_logprob, t.choice_tokens, t.nats, t.nats_tokens, t.position, t.kv_held, t.kv_peak, "
     "t.prompt_tokens,"
     " t.output_tokens, hex(n.nll) AS nll,"
     " (SELECT group_concat(b.start || ':' || b.width || ':' || b.tokens || ':' || b.nats) FROM nll_bucket b"
     "   WHERE b.attempt_id = a.id AND b.turn_no = t.turn_no) AS buckets,"
     " (SELECT group_concat(r.name || r.version || r.config || ':' || p.metric || '=' || ifnull(p.value, 'none') ||"
     "   ifnull(p.label, '')) FROM score p JOIN scorer r ON r.id = p.scorer_id WHERE p.attempt_id = a.id AND p.turn_no "
     "="
     "   t.turn_no) AS scores,"
     " (SELECT group_concat(m.action || ':' || ifnull(m.rule, '') || ':' || ifnull(m.span_start, '') || '-' ||"
     "   ifnull(m.span_end, '')) FROM monitor_event m WHERE m.attempt_id = a.id AND m.turn_no = t.turn_no) AS events"
     " FROM attempt a JOIN cell c ON c.id = a.cell_id JOIN sample s ON s.uid = a.sample_uid"
     " LEFT JOIN attempt_end e ON e.attempt_id = a.id LEFT JOIN turn t ON t.attempt_id = a.id"
     " LEFT JOIN blob o ON o.sha256 = t.output LEFT JOIN turn_nll n ON n.attempt_id = a.id AND n.turn_no = t.turn_no"
     " WHERE ?1 IS NULL OR c.run_id = ?1"
     " ORDER BY c.run_id, c.ordinal, a.ordinal, a.attempt_no, t.turn_no"},
};
enum { VIEWS = sizeof views / sizeof *views };

static sluice_status number(struct buffer *b, double v, struct sluice_error *err) {
  return isfinite(v) ? buffer_printf(b, err, "%.17g", v) : buffer_append_str(b, "null", err);
}

/* Invalid bytes become U+FFFD: JSON has no others. */
static sluice_status json_row(struct ledger_rows *q, struct buffer *b, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (int c = 0; c < ledger_columns(q) && !st; c++) {
    const char *name = ledger_column_name(q, c);
    st = buffer_append_str(b, c ? "," : "{", err);
    if (!st) st = json_quote(b, name, strlen(name), err);
    if (!st) st = buffer_append_str(b, ":", err);
    if (st) break;
    switch (ledger_type_of(q, c)) {
    case LEDGER_INTEGER:
      st = buffer_printf(b, err, "%lld", (long long)ledger_int(q, c));
      break;
    case LEDGER_REAL:
      st = number(b, ledger_real(q, c), err);
      break;
    case LEDGER_NULL:
      st = buffer_append_str(b, "null", err);
      break;
    default:
      st = json_quote(b, ledger_bytes(q, c).ptr, ledger_bytes(q, c).len, err);
    }
  }
  return st ? st : buffer_append_str(b, "}\n", err);
}

/* RFC 4180: quoted where a comma, quote or line break stands inside. A leading =, +, - or @ in text gets an apostrophe,
 * because spreadsheets run formulas and model output is not to be trusted. */
static sluice_status csv_field(struct buffer *b, const char *s, size_t len, bool text, struct sluice_error *err) {
  bool formula = text && len && strchr("=+-@\t\r", s[0]), quote = formula;
  for (size_t i = 0; i < len && !quote; i++) quote = strchr(",\"\r\n", s[i]) && s[i];
  if (!quote) return buffer_append(b, s, len, err);
  sluice_status st = buffer_append_str(b, formula ? "\"'" : "\"", err);
  for (size_t i = 0; i < len && !st; i++)
    st = s[i] == '"' ? buffer_append_str(b, "\"\"", err) : buffer_append(b, &s[i], 1, err);
  return st ? st : buffer_append_str(b, "\"", err);
}

static sluice_status csv_row(struct ledger_rows *q, bool header, struct buffer *b, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (int c = 0; c < ledger_columns(q) && !st; c++) {
    if (c) st = buffer_append_str(b, ",", err);
    if (st) break;
    const char *name = ledger_column_name(q, c);
    if (header) {
      st = csv_field(b, name, strlen(name), true, err);
      continue;
    }
    enum ledger_type type = ledger_type_of(q, c);
    if (type == LEDGER_REAL) {
      st = number(b, ledger_real(q, c), err);
    } else if (type != LEDGER_NULL) {
      struct slice s = ledger_bytes(q, c);
      st = csv_field(b, s.ptr, s.len, type != LEDGER_INTEGER, err);
    }
  }
  return st ? st : buffer_append_str(b, "\r\n", err);
}

static sluice_status flush(struct buffer *b, struct sluice_error *err) {
  sluice_status st = b->len ? fd_write_all(STDOUT_FILENO, b->ptr, b->len, err) : SLUICE_OK;
  buffer_clear(b);
  return st;
}

static sluice_status print_view(struct ledger *l, const struct view *v, const char *run, bool csv,
                                struct sluice_error *err) {
  struct ledger_rows *q;
  struct buffer b;
  bool row = true;
  buffer_init(&b, 0);
  sluice_status st = ledger_query(l, v->sql, LEDGER_VALUES(lv_text(run)), &q, err);
  if (!st && csv) st = csv_row(q, true, &b, err);
  while (!st && !(st = ledger_next(q, &row, err)) && row) {
    st = csv ? csv_row(q, false, &b, err) : json_row(q, &b, err);
    if (!st && b.len > 1 << 18) st = flush(&b, err);
  }
  ledger_rows_end(q);
  if (!st) st = flush(&b, err);
  buffer_free(&b);
  return st;
}

static const struct view *find_view(const char *name, struct sluice_error *err) {
  const char *names[VIEWS + 1] = {0};
  for (size_t i = 0; i < VIEWS; i++) {
    names[i] = views[i].name;
    if (!strcmp(views[i].name, name)) return &views[i];
  }
  const char *near = suggest(name, names);
  sluice_fail(err, SLUICE_USAGE, "no view \"%s\"%s%s%s; `sluice export -h` lists them", name,
              near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
  return NULL;
}

int verb_export(int argc, char **argv) {
  const char *run = NULL, *format = "jsonl";
  bool runs = false, helped = false;
  const struct option_spec options[] = {
      {"run", 0, OPTION_STRING, &run, "RUN",
       "a run's id or its beginning, a baseline's name, or latest (default: all runs)"},
      {"runs", 0, OPTION_FLAG, &runs, NULL, "the same as the view runs"},
      {"format", 'f', OPTION_STRING, &format, "FORMAT", "jsonl or csv (default: jsonl)"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  struct ledger *ledger = NULL;
  char id[LEDGER_RUN_ID] = "";
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped) {
    const struct view *view = NULL;
    if (words.n < 1 || words.n > 2) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
    if (!st && strcmp(format, "jsonl") && strcmp(format, "csv"))
      st = sluice_fail(&err, SLUICE_USAGE, "--format %s: jsonl or csv", format);
    if (!st && !(view = find_view(words.n > 1 ? words.items[1] : runs ? "runs" : "results", &err))) st = err.code;
    if (!st) st = ledger_open(words.items[0], LEDGER_READ, NULL, &ledger, &err);
    if (!st && run) st = ledger_find_run(ledger, run, id, &err);
    if (!st) st = print_view(ledger, view, run ? id : NULL, !strcmp(format, "csv"), &err);
    struct sluice_error ignored;
    ledger_close(ledger, &ignored);
  }
  if (st) log_line(LOG_ERROR, "export: %s", err.message);
  free(words.items);
  return st ? sluice_exit_code(st) : 0;
}
