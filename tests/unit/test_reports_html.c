/* The page and its sisters on a synthetic ledger: same bytes, right numbers, and nothing that a model said can act. */
#include "report_fixture.h"

#include <ctype.h>

/* ---- well-formedness --------------------------------------------------------------------------------------------- */

static bool is_void(const char *name, size_t len) {
  static const char *const names[] = {"meta", "br", "input", "img", "link", "hr"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (len == strlen(names[i]) && memcmp(name, names[i], len) == 0) return true;
  return false;
}

struct id_set {
  const char *at[20000];
  size_t len[20000], n;
};

/* Checks one tag's attributes: all quoted, none that runs or styles. Returns the end of the tag. */
static const char *check_attributes(const char *at, bool html, struct id_set *ids) {
  while (*at && *at != '>') {
    if (isspace((unsigned char)*at) || *at == '/') {
      at++;
      continue;
    }
    const char *name = at;
    while (*at && !strchr("=> /\n", *at)) at++;
    size_t name_len = (size_t)(at - name);
    if (html &&
        ((name_len > 2 && !strncmp(name, "on", 2)) || !strncmp(name, "style", name_len) || !strncmp(name, "src", 3)))
      fail_msg("attribute %.*s", (int)name_len, name);
    if (*at != '=') continue;
    if (at[1] != '"') fail_msg("unquoted value after %.40s", name);
    const char *value = at + 2;
    at = strchr(value, '"');
    assert_non_null(at);
    if (memchr(value, '<', (size_t)(at - value))) fail_msg("< in the value of %.40s", name);
    if (html && name_len == 2 && !strncmp(name, "id", 2)) {
      for (size_t i = 0; i < ids->n; i++)
        if (ids->len[i] == (size_t)(at - value) && !memcmp(ids->at[i], value, ids->len[i]))
          fail_msg("id %.*s twice", (int)ids->len[i], value);
      ids->at[ids->n] = value;
      ids->len[ids->n++] = (size_t)(at - value);
    }
    at++;
  }
  return at;
}

/* Every tag closes, in order. Script and style are raw text in HTML. */
static void check_tree(const char *text, bool html) {
  static struct id_set ids;
  const char *stack[64];
  size_t depth = 0, lens[64];
  ids.n = 0;
  for (const char *at = strchr(text, '<'); at; at = strchr(at, '<')) {
    if (at[1] == '!' || at[1] == '?') {
      at = strchr(at, '>');
      continue;
    }
    bool close = at[1] == '/';
    const char *name = at + 1 + close;
    size_t len = strcspn(name, " >/\n");
    if (!len || !isalpha((unsigned char)*name)) fail_msg("stray < before: %.60s", at);
    const char *end = close ? strchr(name, '>') : check_attributes(name + len, html, &ids);
    assert_non_null(end);
    if (close) {
      if (!depth || lens[depth - 1] != len || memcmp(stack[depth - 1], name, len))
        fail_msg("</%.*s> closes <%.*s>", (int)len, name, depth ? (int)lens[depth - 1] : 4,
                 depth ? stack[depth - 1] : "none");
      depth--;
    } else if (end[-1] != '/' && !(html && is_void(name, len))) {
      assert_true(depth < 64);
      stack[depth] = name;
      lens[depth++] = len;
      if (html && (!strncmp(name, "script", len) || !strncmp(name, "style", len))) {
        char closing[16];
        snprintf(closing, sizeof closing, "</%.*s>", (int)len, name);
        end = strstr(end, closing) - 1;
      }
    }
    at = end + 1;
  }
  if (depth) fail_msg("<%.*s> is never closed", (int)lens[depth - 1], stack[depth - 1]);
}

static void check_bytes(const char *text, size_t len) {
  size_t bad;
  assert_int_equal(utf8_valid_prefix(text, len, &bad), len);
  for (size_t i = 0; i < len; i++)
    if ((unsigned char)text[i] < 0x20 && !strchr("\n\r\t", text[i])) fail_msg("control byte %d at %zu", text[i], i);
  assert_null(strstr(text, "\xe2\x80\xae")); /* U+202E turns the line around */
}

/* No number is printed as C prints what is none. */
static void check_numbers(const char *name, const char *text) {
  static const char *const words[] = {"nan", "inf"};
  for (int i = 0; i < 2; i++)
    for (const char *at = strstr(text, words[i]); at; at = strstr(at + 1, words[i]))
      if (!isalpha((unsigned char)at[-1]) && !isalpha((unsigned char)at[3])) fail_msg("%s: %.60s", name, at - 30);
}

static void every_format_is_well_formed(void **state) {
  (void)state;
  struct report_options o = plain_options(NULL);
  for (const struct report_format *f = report_format_table(); f->name; f++) {
    size_t len;
    char *text = render(troubled_path, f->name, &o, &len);
    assert_int_equal(strlen(text), len);
    check_bytes(text, len);
    if (!strcmp(f->name, "html")) check_tree(text, true);
    if (!strcmp(f->name, "junit")) check_tree(text, false);
    check_numbers(f->name, text);
    free(text);
  }
}

static void hostile_answers_are_only_text(void **state) {
  (void)state;
  struct report_options o = plain_options(NULL);
  size_t len;
  char *page = render(troubled_path, "html", &o, &len);
  assert_int_equal(occurrences(page, "<script"), 1);
  assert_int_equal(occurrences(page, "</script"), 1);
  assert_int_equal(occurrences(page, "<img"), 0);
  assert_true(occurrences(page, "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;") > 3);
  assert_true(occurrences(page, "<span class=\"u\">\\u{202E}</span>drow<span class=\"u\">\\u{1}</span><span "
                                "class=\"u\">\\xFF</span> &lt;b&gt;&amp;amp;") > 3);
  assert_int_equal(occurrences(page, "http:") + occurrences(page, "https:") + occurrences(page, "url("), 0);
  free(page);
}

/* ---- the policy names exactly what is in the page ------------------------------------------------------------------
 */

static void base64(const unsigned char *in, size_t n, char *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t bits = 0, held = 0, k = 0;
  for (size_t i = 0; i < n; i++) {
    held = held << 8 | in[i];
    for (bits += 8; bits >= 6; bits -= 6) out[k++] = digits[held >> (bits - 6) & 63];
  }
  if (bits) out[k++] = digits[held << (6 - bits) & 63];
  while (k % 4) out[k++] = '=';
  out[k] = '\0';
}

static void check_hash(const char *page, const char *open, const char *close) {
  unsigned char hash[32];
  char encoded[64], want[100];
  const char *from = strstr(page, open) + strlen(open), *to = strstr(from, close);
  sha256(from, (size_t)(to - from), hash);
  base64(hash, 32, encoded);
  snprintf(want, sizeof want, "'sha256-%s'", encoded);
  if (!strstr(page, want)) fail_msg("%s: the page does not allow %s", open, want);
}

static void security_policy_names_this_style_and_script(void **state) {
  (void)state;
  struct report_options o = plain_options(NULL);
  size_t len;
  char *page = render(whole_path, "html", &o, &len);
  assert_non_null(
      strstr(page, "content=\"default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"));
  assert_null(strstr(page, "unsafe"));
  check_hash(page, "<style>", "</style>");
  check_hash(page, "<script>", "</script>");
  free(page);
}

/* ---- numbers --------------------------------------------------------------------------------------------------------
 */

static void same_ledger_same_bytes(void **state) {
  (void)state;
  for (const struct report_format *f = report_format_table(); f->name; f++) {
    struct report_options o = plain_options("blessed");
    size_t n, m;
    char *a = render(whole_path, f->name, &o, &n), *b = render(whole_path, f->name, &o, &m);
    assert_int_equal(n, m);
    assert_memory_equal(a, b, n);
    free(a);
    free(b);
  }
}

static double sql_mean(struct ledger *l, const char *policy, const char *benchmark, const char *metric) {
  struct ledger_rows *q;
  bool row;
  MUST(ledger_query(
      l,
      "SELECT avg(s.value) FROM score s JOIN attempt a ON a.id = s.attempt_id JOIN cell c ON c.id = a.cell_id "
      "WHERE c.run_id = (SELECT max(id) FROM run) AND c.policy = ?1 AND c.benchmark = ?2 AND s.metric = ?3",
      LEDGER_VALUES(lv_text(policy), lv_text(benchmark), lv_text(metric)), &q, &fixture_error));
  MUST(ledger_next(q, &row, &fixture_error));
  double mean = row ? ledger_real(q, 0) : NAN;
  ledger_rows_end(q);
  return mean;
}

static void values_are_what_sql_says(void **state) {
  (void)state;
  struct report_options o = plain_options(NULL);
  size_t len, lines = 0;
  char *csv = render(troubled_path, "csv", &o, &len), policy[128], benchmark[128], metric[128], value[128], low[128],
       high[128];
  struct ledger *l;
  MUST(ledger_open(troubled_path, LEDGER_READ, NULL, &l, &fixture_error));
  for (char *line = strchr(csv, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
    csv_field(line, 2, policy);
    csv_field(line, 4, benchmark);
    csv_field(line, 5, metric);
    csv_field(line, 7, value);
    csv_field(line, 8, low);
    csv_field(line, 9, high);
    double want = sql_mean(l, policy, benchmark, metric), got = atof(value);
    bool text = !strcmp(metric, "perplexity"); /* weighted by tokens; the fixture's texts are equally long */
    if (fabs(want - got) > (text ? 1e-4 : 1e-6))
      fail_msg("%s %s %s: %g, SQL says %g", policy, benchmark, metric, got, want);
    assert_true(atof(low) < atof(high)); /* no interval is zero wide */
    assert_true(atof(low) <= got && got <= atof(high));
    lines++;
  }
  assert_int_equal(lines, FIXTURE_POLICIES * 6);
  MUST(ledger_close(l, &fixture_error));
  free(csv);
}

static void every_chart_is_named_and_has_its_table(void **state) {
  (void)state;
  struct report_options o = plain_options(NULL);
  size_t len;
  char *page = render(whole_path, "html", &o, &len);
  size_t charts = occurrences(page, "<svg viewBox=");
  assert_true(charts > 20);
  assert_int_equal(occurrences(page, "role=\"img\" aria-labelledby="), charts);
  assert_int_equal(occurrences(page, "<desc id="), charts);
  size_t figures = occurrences(page, "<figure");
  for (const char *at = strstr(page, "<figure"); at; at = strstr(at + 1, "<figure")) {
    const char *end = strstr(at, "</figure>"), *table = strstr(at, "<details class=\"data\"");
    assert_true(table && table < end);
  }
  assert_int_equal(figures, 6 + 5 + 1 + 2 + 1); /* differences, bytes, positions, distances, contest */
  free(page);
}

static size_t characters(const char *text, size_t len) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) n += ((unsigned char)text[i] & 0xc0) != 0x80;
  return n;
}

static void check_lines(const char *text) {
  for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
    size_t len = strcspn(line, "\n");
    if (characters(line, len) > 100) fail_msg("over 100 columns: %.*s", (int)len, line);
    if (len && line[len - 1] == ' ') fail_msg("trailing space: %.*s", (int)len, line);
  }
}

/* The index-th number of a row: what stands before a ±. */
static double text_number(const char *row, int index) {
  static const char sign[] = "±";
  const char *at = row;
  for (; index >= 0; index--, at += strlen(sign)) {
    at = strstr(at, sign);
    assert_non_null(at);
    if (index == 0) break;
  }
  while (at > row && at[-1] != ' ') at--;
  return atof(at);
}

/* One row a policy, in the order of columns; what the terminal shows is what SQL says, as far as it is rounded. */
static void text_is_what_sql_says(void **state) {
  (void)state;
  static const char *const columns[][2] = {{"grocery", "acc_c"}, {"grocery", "acc_g"}, {"next", "next"},
                                           {"lines", "recall"},  {"rps", "rps"},       {"story", "perplexity"}};
  struct report_options o = plain_options(NULL);
  size_t len;
  char *text = render(whole_path, "text", &o, &len);
  struct ledger *l;
  check_lines(text);
  MUST(ledger_open(whole_path, LEDGER_READ, NULL, &l, &fixture_error));
  const char *row = strstr(text, "\npolicy ");
  assert_non_null(row);
  for (int i = 0; i < FIXTURE_POLICIES; i++) {
    row = strchr(row + 1, '\n');
    for (int c = 0; c < 6; c++) {
      double mean = sql_mean(l, fixture_policies[i].name, columns[c][0], columns[c][1]);
      double want = c == 5 ? exp(mean) : 100 * mean, got = text_number(row + 1, c);
      if (fabs(want - got) > 0.51)
        fail_msg("%s %s: %g, SQL says %g", fixture_policies[i].name, columns[c][1], got, want);
    }
  }
  MUST(ledger_close(l, &fixture_error));
  assert_int_equal(occurrences(text, "\nchance "), 1);
  assert_int_equal(occurrences(text, "\nbest trivial "), 1);
  assert_int_equal(occurrences(text, "rps, the same turns: full − counting = "), 1);
  assert_int_equal(occurrences(text, "● at most 5 points below the reference · ▼ worse · ◇ open\n"), 1);
  assert_true(occurrences(text, "▼") > 1);
  free(text);
}

/* Names that are long, hostile or many: further blocks, cut words, no line over 100 columns and no escape let through.
 */
static void text_stays_in_its_columns(void **state) {
  (void)state;
  struct fixture small = {.dialogues = 2, .runs = 1};
  const char *path = scratch("odd.db");
  size_t len;
  struct report_options o = plain_options(NULL);
  fixture_make(path, &small);
  edit(path,
       (const char *const[]){
           "UPDATE cell SET benchmark = benchmark || char(27) || '[31m an unreasonably-long-name of a benchmark' || "
           "char(10) || 'in two lines', policy = 'a policy whose name nobody would ever type twice ' || policy",
           "INSERT INTO score(attempt_id, turn_no, scorer_id, metric, value) SELECT t.attempt_id, t.turn_no, "
           "s.id, 'metric ' || k.i, 0.5 FROM turn t, (SELECT min(id) AS id FROM scorer WHERE kind = 'metric') s, "
           "(SELECT 1 AS i UNION SELECT 2 UNION SELECT 3) k",
           NULL});
  char *text = render(path, "text", &o, &len);
  check_lines(text);
  check_bytes(text, len);
  assert_true(occurrences(text, "\npolicy ") > 1); /* blocks */
  assert_int_equal(occurrences(text, "KV peak"), 1);
  assert_true(occurrences(text, "…") > 0);
  free(text);
}

/* ---- bounds, verdicts, odd ledgers ---------------------------------------------------------------------------------
 */

static void what_is_left_out_is_said(void **state) {
  (void)state;
  struct report_options o = plain_options(NULL);
  size_t len, small;
  char *all = render(whole_path, "html", &o, &len);
  o.max_bytes = len - 30000;
  char *some = render(whole_path, "html", &o, &small), want[100];
  assert_true(small <= o.max_bytes);
  size_t shown = occurrences(some, "<details class=\"sample\""), total = occurrences(all, "<details class=\"sample\"");
  assert_true(shown > 0 && shown < total);
  snprintf(want, sizeof want, "<b>%zu of %zu dialogues are left out</b>", total - shown, total);
  if (!strstr(some, want)) fail_msg("the page does not say %s", want);
  assert_null(strstr(all, "left out</b>"));
  check_tree(some, true);
  o.max_bytes = 65536; /* less than the figures need: no dialogue, and said so */
  free(some);
  some = render(whole_path, "html", &o, &small);
  assert_int_equal(occurrences(some, "<details class=\"sample\""), 0);
  free(all);
  free(some);
}

static int verdict(const char *path, const char *against, char *headline, size_t size) {
  struct ledger *l;
  struct report *r;
  struct report_options o = plain_options(against);
  MUST(ledger_open(path, LEDGER_READ, NULL, &l, &fixture_error));
  MUST(report_load(l, &o, &r, &fixture_error));
  int code = report_exit_code(r);
  snprintf(headline, size, "%s", report_headline(r));
  report_free(r);
  MUST(ledger_close(l, &fixture_error));
  return code;
}

static void verdicts_follow_the_reference(void **state) {
  (void)state;
  char headline[600];
  assert_int_equal(verdict(whole_path, NULL, headline, sizeof headline), 0);
  assert_non_null(strstr(headline, "COMPLETE: Against full, "));
  assert_int_equal(verdict(troubled_path, NULL, headline, sizeof headline), 4);
  assert_non_null(strstr(headline, "INCOMPLETE"));
  assert_non_null(strstr(headline, "2 of them in error"));
  assert_int_equal(verdict(whole_path, "blessed", headline, sizeof headline), 3); /* run 2 is worse under sirllm */
  assert_non_null(strstr(headline, "REGRESSED: Against the run blessed, "));
  assert_int_equal(verdict(whole_path, "streaming", headline, sizeof headline), 0); /* a policy by its short name */
  size_t len;
  struct report_options o = plain_options("blessed");
  char *junit = render(whole_path, "junit", &o, &len);
  assert_true(occurrences(junit, "<failure type=\"REGRESSED\"") > 0);
  assert_true(occurrences(junit, "<skipped") > 0);
  free(junit);
}

static void wrong_words_are_explained(void **state) {
  (void)state;
  struct ledger *l;
  struct report *r;
  struct sluice_error err;
  MUST(ledger_open(whole_path, LEDGER_READ, NULL, &l, &fixture_error));
  struct report_options o = plain_options("ful");
  assert_int_equal(report_load(l, &o, &r, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "did you mean \"full\""));
  o = plain_options("sirllm"); /* two policies have that name */
  assert_int_equal(report_load(l, &o, &r, &err), SLUICE_USAGE);
  o = plain_options(NULL);
  o.run = "nosuch";
  assert_int_equal(report_load(l, &o, &r, &err), SLUICE_USAGE);
  o.run = NULL;
  o.confidence = 1.5;
  assert_int_equal(report_load(l, &o, &r, &err), SLUICE_USAGE);
  MUST(ledger_close(l, &fixture_error));
}

/* Planned and never run; run and never scored: both must be said, and neither may look like a score. */
static void unfinished_ledgers_report_what_they_are(void **state) {
  (void)state;
  struct fixture nothing = {.dialogues = 0, .runs = 1}, unscored = {.dialogues = 2, .runs = 1};
  const char *path = scratch("odd.db");
  char headline[600];
  fixture_make(path, &nothing);
  edit(path, (const char *const[]){"UPDATE cell SET n_planned = 20", NULL});
  assert_int_equal(verdict(path, NULL, headline, sizeof headline), 4);
  struct report_options o = plain_options(NULL);
  size_t len;
  char *page = render(path, "html", &o, &len);
  check_tree(page, true);
  assert_int_equal(occurrences(page, "class=\"heat"), 0);
  free(page);
  fixture_make(path, &unscored);
  edit(path, (const char *const[]){"DELETE FROM score", NULL});
  page = render(path, "html", &o, &len);
  check_tree(page, true);
  assert_int_equal(occurrences(page, "class=\"heat"), 0);
  assert_true(occurrences(page, ">unscored</td>") == FIXTURE_POLICIES * 6);
  free(page);
}

/* One benchmark under a monitor makes a second facet: its own matrix, no id twice, and the monitor's silence is told
 * apart. */
static void monitors_and_facets(void **state) {
  (void)state;
  struct fixture small = {.dialogues = 3, .runs = 1};
  const char *path = scratch("odd.db"),
             *renamed[] = {"UPDATE cell SET monitor = 'm.json' WHERE benchmark = 'lines'", NULL};
  const char *events[] = {
      "INSERT INTO monitor_event(attempt_id, turn_no, seq, action) SELECT t.attempt_id, t.turn_no, 0, 'scanned' "
      "FROM turn t JOIN attempt a ON a.id = t.attempt_id JOIN cell c ON c.id = a.cell_id WHERE c.benchmark = "
      "'lines'",
      "INSERT INTO monitor_event(attempt_id, turn_no, seq, action, rule) SELECT min(attempt_id), turn_no, 1, "
      "'stop', '<b>rule</b>' FROM monitor_event",
      NULL};
  size_t len;
  struct report_options o = plain_options(NULL);
  fixture_make(path, &small);
  edit(path, renamed);
  char *page = render(path, "html", &o, &len);
  check_tree(page, true);
  assert_int_equal(occurrences(page, "<table class=\"matrix\""), 2);
  assert_int_equal(occurrences(page, "class=\"heat"), FIXTURE_POLICIES * 6);
  assert_int_equal(occurrences(page, "not run</td>"), 0);
  assert_int_equal(occurrences(page, "the monitor never ran"), 1);
  free(page);
  edit(path, events);
  page = render(path, "html", &o, &len);
  check_tree(page, true);
  assert_int_equal(occurrences(page, "the monitor never ran"), 0);
  assert_int_equal(occurrences(page, "scanned, turns</td>"), FIXTURE_POLICIES);
  assert_int_equal(occurrences(page, "<td>&lt;b&gt;rule&lt;/b&gt;</td>"), 1);
  free(page);
}

/* A judge's grades are columns of their own, on texts too, and never perplexity; a newer scorer's word replaces an
 * older's. */
static void judges_and_newer_scorers(void **state) {
  (void)state;
  struct fixture small = {.dialogues = 3, .runs = 1};
  const char *path = scratch("odd.db");
  const char *judged[] = {
      "INSERT INTO scorer(name, version, config, kind) VALUES('rubric', 1, '', 'judge'), ('choice', 2, '', "
      "'metric')",
      "INSERT INTO score(attempt_id, turn_no, scorer_id, metric, value, label) SELECT t.attempt_id, t.turn_no, "
      "(SELECT id FROM scorer WHERE kind = 'judge'), 'helpful', 0.5, 'fair' FROM turn t JOIN attempt a ON a.id "
      "= t.attempt_id JOIN cell c ON c.id = a.cell_id WHERE c.benchmark IN ('story', 'next')",
      "INSERT INTO score(attempt_id, turn_no, scorer_id, metric, value, label) SELECT attempt_id, turn_no, "
      "(SELECT id FROM scorer WHERE name = 'choice' AND version = 2), metric, 1, 'right' FROM score WHERE "
      "metric = 'acc_c'",
      NULL};
  size_t len;
  struct report_options o = plain_options(NULL);
  fixture_make(path, &small);
  edit(path, judged);
  char *csv = render(path, "csv", &o, &len), value[128], metric[128], judge[128];
  size_t lines = 0, grades = 0;
  for (char *line = strchr(csv, '\n') + 1; *line; line = strchr(line, '\n') + 1, lines++) {
    csv_field(line, 5, metric);
    csv_field(line, 6, judge);
    csv_field(line, 7, value);
    if (!strcmp(metric, "acc_c")) assert_string_equal(value, "1");
    if (!strcmp(metric, "helpful")) {
      assert_string_equal(value, "0.5");
      assert_string_equal(judge, "rubric");
      grades++;
    }
  }
  assert_int_equal(lines, FIXTURE_POLICIES * 8);
  assert_int_equal(grades, FIXTURE_POLICIES * 2);
  free(csv);
  char *page = render(path, "html", &o, &len);
  check_tree(page, true);
  assert_int_equal(occurrences(page, "judged by rubric"), 2);
  free(page);
}

static void a_full_buffer_is_an_error(void **state) {
  (void)state;
  struct ledger *l;
  struct report *r;
  struct sluice_error err;
  struct report_options o = plain_options(NULL);
  MUST(ledger_open(whole_path, LEDGER_READ, NULL, &l, &fixture_error));
  MUST(report_load(l, &o, &r, &fixture_error));
  for (size_t limit = 10; limit < 200000; limit *= 3)
    for (const struct report_format *f = report_format_table(); f->name; f++) {
      struct buffer b;
      buffer_init(&b, limit);
      sluice_status status = f->write(l, r, &b, &err);
      assert_true(status == SLUICE_LIMIT || (status == SLUICE_OK && b.len <= limit));
      buffer_free(&b);
    }
  report_free(r);
  MUST(ledger_close(l, &fixture_error));
}

/* For tests/browser/report.sh: a ledger, and its matrix as plain SQL sees it, row by row. */
static void leave_fixture(const char *dir) {
  char path[600];
  struct fixture f = {.dialogues = 6, .runs = 1, .hostile = true};
  snprintf(path, sizeof path, "%s/ledger.db", dir);
  fixture_make(path, &f);
  struct ledger *l;
  MUST(ledger_open(path, LEDGER_READ, NULL, &l, &fixture_error));
  snprintf(path, sizeof path, "%s/expected", dir);
  FILE *out = fopen(path, "w");
  assert_non_null(out);
  static const char *const columns[][2] = {{"grocery", "acc_c"}, {"grocery", "acc_g"}, {"next", "next"},
                                           {"lines", "recall"},  {"rps", "rps"},       {"story", "perplexity"}};
  for (int i = 0; i < FIXTURE_POLICIES; i++)
    for (int c = 0; c < 6; c++) {
      double mean = sql_mean(l, fixture_policies[i].name, columns[c][0], columns[c][1]);
      if (c == 5)
        fprintf(out, "%.2f\n", exp(mean));
      else
        fprintf(out, "%.1f\n", 100 * mean);
    }
  fclose(out);
  MUST(ledger_close(l, &fixture_error));
}

static void fixture_for_the_browser(void **state) {
  (void)state;
  leave_fixture(getenv("SLUICE_REPORT_FIXTURE"));
}

int main(void) {
  if (getenv("SLUICE_REPORT_FIXTURE")) {
    const struct CMUnitTest only[] = {cmocka_unit_test(fixture_for_the_browser)};
    return cmocka_run_group_tests(only, NULL, NULL);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_format_is_well_formed),
      cmocka_unit_test(hostile_answers_are_only_text),
      cmocka_unit_test(security_policy_names_this_style_and_script),
      cmocka_unit_test(same_ledger_same_bytes),
      cmocka_unit_test(values_are_what_sql_says),
      cmocka_unit_test(every_chart_is_named_and_has_its_table),
      cmocka_unit_test(text_is_what_sql_says),
      cmocka_unit_test(text_stays_in_its_columns),
      cmocka_unit_test(what_is_left_out_is_said),
      cmocka_unit_test(verdicts_follow_the_reference),
      cmocka_unit_test(wrong_words_are_explained),
      cmocka_unit_test(unfinished_ledgers_report_what_they_are),
      cmocka_unit_test(monitors_and_facets),
      cmocka_unit_test(judges_and_newer_scorers),
      cmocka_unit_test(a_full_buffer_is_an_error),
  };
  return cmocka_run_group_tests(tests, setup, teardown);
}
