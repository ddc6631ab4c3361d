/* One block a dialogue: its turns once, and under each scored turn what every policy answered, policies with one answer
 * together. Blocks come with flips first and stop where the page would grow past its bound. */
#include "reports/html.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TURNS = 4000, TEXT_CLIP = 1200, ANSWER_CLIP = 600, TALLY_COLUMNS = 12 };

struct answer { /* what one policy did in one scored turn */
  int32_t turn_no, chosen;
  char *state, *finish, *output; /* output NULL: a choice */
  size_t output_len;
  double nats, tokens;
};
struct answers {
  struct answer *items;
  size_t n;
};

/* Words of a turn that a later question asks about. */
struct evidence {
  int64_t turn_no;
  char *words;
};
struct evidences {
  struct evidence *items;
  size_t n;
};

struct turn_text {
  int64_t turn_no, answer, tie;
  char *role, *task, *metric, *text, *expected;
  size_t text_len;
  cJSON *choices;
};

/* *out: NULL for SQL's NULL. False: no memory. */
static bool copy_column(const struct ledger_rows *q, int column, char **out, size_t *len) {
  struct slice s = ledger_bytes(q, column);
  bool absent = ledger_type_of(q, column) == LEDGER_NULL;
  if (len) *len = s.len;
  *out = absent ? NULL : sluice_strndup(s.ptr, s.len);
  return absent || *out;
}

static void answers_free(struct answers *a) {
  for (size_t i = 0; i < a->n; i++) {
    free(a->items[i].state);
    free(a->items[i].finish);
    free(a->items[i].output);
  }
  free(a->items);
  *a = (struct answers){0};
}

static sluice_status read_answers(struct ledger *l, int64_t attempt, struct answers *out, struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l,
                                      "SELECT turn_no, chosen, state, finish, output, nats, nats_tokens FROM v_turn "
                                      "WHERE attempt_id = ?1 AND task <> 'feed' AND state IS NOT NULL ORDER BY turn_no",
                                      LEDGER_VALUES(lv_int(attempt)), &q, err);
  if (status) return status;
  bool row;
  while (!status && !(status = ledger_next(q, &row, err)) && row && out->n < MAX_TURNS) {
    struct answer *grown = realloc(out->items, (out->n + 1) * sizeof *grown);
    if (!grown) {
      status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for answers");
      break;
    }
    out->items = grown;
    struct answer *a = &grown[out->n++];
    *a = (struct answer){.turn_no = (int32_t)ledger_int(q, 0), .nats = ledger_real(q, 5), .tokens = ledger_real(q, 6)};
    a->chosen = ledger_type_of(q, 1) == LEDGER_NULL ? -1 : (int32_t)ledger_int(q, 1);
    bool copied = copy_column(q, 2, &a->state, NULL);
    copied = copy_column(q, 3, &a->finish, NULL) && copied;
    copied = copy_column(q, 4, &a->output, &a->output_len) && copied;
    if (!copied || !a->state || !a->finish) status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for answers");
  }
  ledger_rows_end(q);
  return status;
}

static void evidences_free(struct evidences *e) {
  for (size_t i = 0; i < e->n; i++) free(e->items[i].words);
  free(e->items);
  *e = (struct evidences){0};
}

static sluice_status read_evidences(struct ledger *l, int64_t attempt, struct evidences *out,
                                    struct sluice_error *err) {
  struct ledger_rows *q;
  sluice_status status = ledger_query(l,
                                      "SELECT DISTINCT evidence_turn, evidence FROM v_turn WHERE attempt_id = ?1 AND "
                                      "evidence_turn IS NOT NULL AND evidence <> '' ORDER BY 1, 2",
                                      LEDGER_VALUES(lv_int(attempt)), &q, err);
  if (status) return status;
  bool row;
  while (!status && !(status = ledger_next(q, &row, err)) && row && out->n < MAX_TURNS) {
    struct evidence *grown = realloc(out->items, (out->n + 1) * sizeof *grown);
    if (!grown) {
      status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for evidence");
      break;
    }
    out->items = grown;
    grown[out->n++] = (struct evidence){ledger_int(q, 0), sluice_strdup(ledger_text(q, 1))};
    if (!grown[out->n - 1].words) status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for evidence");
  }
  ledger_rows_end(q);
  return status;
}

/* The turn's text, with the first evidence that it holds marked. */
static void put_turn_text(struct page *p, const struct turn_text *t, const struct evidences *e) {
  struct slice text = {t->text, t->text_len};
  for (size_t i = 0; i < e->n; i++) {
    size_t len = strlen(e->items[i].words);
    if (e->items[i].turn_no != t->turn_no) continue;
    const char *at = memmem(text.ptr, text.len, e->items[i].words, len);
    if (!at || (size_t)(at - text.ptr) + len > TEXT_CLIP) continue;
    put_slice(p, MARKUP_HTML, (struct slice){text.ptr, (size_t)(at - text.ptr)});
    put(p, "<mark>");
    put_slice(p, MARKUP_HTML, (struct slice){at, len});
    put(p, "</mark>");
    text = (struct slice){at + len, text.len - (size_t)(at - text.ptr) - len};
    break;
  }
  put_clipped(p, MARKUP_HTML, text, TEXT_CLIP);
}

static const struct answer *answer_at(const struct answers *a, int64_t turn_no) {
  for (size_t i = 0; i < a->n; i++)
    if (a->items[i].turn_no == turn_no) return &a->items[i];
  return NULL;
}

static bool same_answer(const struct answer *x, const struct answer *y) {
  if (!x || !y) return x == y;
  if (strcmp(x->state, y->state) != 0 || x->chosen != y->chosen || !x->output != !y->output) return false;
  if (x->output) return x->output_len == y->output_len && memcmp(x->output, y->output, x->output_len) == 0;
  return isnan(x->nats) || x->nats == y->nats;
}

/* The stored score of a policy's turn; the rows of one score are sorted by sample, seed, turn. */
static const struct report_row *row_of(const struct report *r, const struct report_sample *s, size_t policy,
                                       int64_t turn_no) {
  for (size_t c = 0; c < r->n_columns; c++) {
    if (r->columns[c].benchmark != s->benchmark || r->columns[c].judge) continue;
    const struct report_score *score = score_at(r, s->facet, policy, c);
    size_t low = score->first, high = score->first + score->n_rows;
    while (low < high) {
      size_t at = low + (high - low) / 2;
      const struct report_row *row = &r->rows[at];
      bool before = row->sample != s->name ? row->sample < s->name
                    : row->seed != s->seed ? row->seed < s->seed
                                           : row->turn_no < turn_no;
      if (before)
        low = at + 1;
      else
        high = at;
    }
    bool found = low < score->first + score->n_rows && r->rows[low].sample == s->name && r->rows[low].seed == s->seed &&
                 r->rows[low].turn_no == turn_no;
    if (found) return &r->rows[low];
  }
  return NULL;
}

static const char *choice_text(const struct turn_text *t, int64_t index) {
  const cJSON *choice = index >= 0 && t->choices ? cJSON_GetArrayItem(t->choices, (int)index) : NULL;
  const cJSON *text = cJSON_GetObjectItemCaseSensitive(choice, "text");
  return cJSON_IsString(text) ? text->valuestring : NULL;
}

static const char *choice_label(const struct turn_text *t, int64_t index) {
  const cJSON *choice = index >= 0 && t->choices ? cJSON_GetArrayItem(t->choices, (int)index) : NULL;
  const cJSON *label = cJSON_GetObjectItemCaseSensitive(choice, "label");
  return cJSON_IsString(label) ? label->valuestring : NULL;
}

static void put_choice(struct page *p, const struct turn_text *t, int64_t index) {
  const char *text = choice_text(t, index), *label = choice_label(t, index);
  if (label) put_text(p, label), put(p, " ");
  if (text)
    put_clipped(p, MARKUP_HTML, slice_of(text[0] == ' ' ? text + 1 : text), ANSWER_CLIP);
  else if (!label)
    put(p, "none");
}

static void put_answer_text(struct page *p, const struct turn_text *t, const struct answer *a) {
  if (!a)
    put(p, "no answer: the dialogue ended in an error before");
  else if (!strcmp(t->task, "text"))
    put(p, "perplexity "), put_number(p, perplexity_value(a->nats, a->tokens > 0 ? (uint64_t)a->tokens : 0), 2);
  else if (a->output)
    put_clipped(p, MARKUP_HTML, (struct slice){a->output, a->output_len}, ANSWER_CLIP);
  else if (a->chosen < 0)
    put(p, "no choice could be read");
  else
    put_choice(p, t, a->chosen);
  if (a && strcmp(a->state, "done") != 0) put(p, " <small>"), put_text(p, a->state), put(p, "</small>");
  if (a && !strcmp(a->finish, "monitor")) put(p, " <small>stopped by the monitor</small>");
}

/* Policies that gave the answer of attempt `first`; marks them as seen. */
static void put_who(struct page *p, const struct report *r, const struct report_sample *s, const struct turn_text *t,
                    const struct answers *all, size_t first, bool *seen) {
  const struct answer *a = answer_at(&all[first], t->turn_no);
  size_t n = 0;
  bool with[REPORT_MAX_AXIS] = {false};
  for (size_t i = first; i < s->n_attempts; i++) {
    with[i] = !seen[i] && (i == first || same_answer(a, answer_at(&all[i], t->turn_no)));
    n += with[i];
  }
  if (n == s->n_attempts && n > 1) putf(p, "all %zu", n);
  for (size_t i = first, k = 0; i < s->n_attempts; i++) {
    if (!with[i]) continue;
    seen[i] = true;
    if (n == s->n_attempts && n > 1) continue;
    if (k++) put(p, ", ");
    put_text(p, r->policies[s->attempts[i].policy].label);
  }
}

static void put_answer(struct page *p, const struct report *r, const struct report_sample *s, const struct turn_text *t,
                       const struct answers *all, size_t first, bool *seen) {
  const struct answer *a = answer_at(&all[first], t->turn_no);
  const struct report_row *row = row_of(r, s, s->attempts[first].policy, t->turn_no);
  bool text = !strcmp(t->task, "text"), known = row && !isnan(row->value);
  bool right = known && row->value >= 0.5;
  const char *class = text ? "" : !known ? "open" : right ? "good" : "bad";
  const char *mark = text ? "·" : !known ? "?" : right ? "✓" : row->label == LABEL_TIE ? "=" : "✗";
  putf(p, "<li class=\"%s\"><span>%s</span><span>", class, mark);
  put_answer_text(p, t, a);
  put(p, " <span class=\"who\">— ");
  put_who(p, r, s, t, all, first, seen);
  put(p, "</span></span></li>\n");
}

static void put_answers(struct page *p, const struct report *r, const struct report_sample *s,
                        const struct turn_text *t, const struct answers *all) {
  bool seen[REPORT_MAX_AXIS] = {false};
  put(p, "<ul class=\"answers\">\n");
  for (size_t i = 0; i < s->n_attempts; i++)
    if (!seen[i]) put_answer(p, r, s, t, all, i, seen);
  put(p, "</ul>");
}

static void put_gold(struct page *p, const struct turn_text *t) {
  if (t->expected) {
    put(p, " <span class=\"gold\">expected: ");
    put_clipped(p, MARKUP_HTML, slice_of(t->expected), ANSWER_CLIP);
    put(p, "</span>");
  } else if (t->answer >= 0) {
    put(p, " <span class=\"gold\">right: ");
    put_choice(p, t, t->answer);
    put(p, "</span>");
  }
}

static void put_turn(struct page *p, const struct report *r, const struct report_sample *s, const struct turn_text *t,
                     const struct answers *all, const struct evidences *e) {
  bool scored = strcmp(t->task, "feed") != 0;
  put(p, "<div class=\"turn\"><span>");
  putf(p, "%lld ", (long long)t->turn_no);
  put_text(p, t->role);
  put(p, "</span><div><p>");
  put_turn_text(p, t, e);
  if (scored) put_gold(p, t);
  put(p, "</p>");
  if (scored) put_answers(p, r, s, t, all);
  put(p, "</div></div>\n");
}

static void turn_free(struct turn_text *t) {
  free(t->role);
  free(t->task);
  free(t->metric);
  free(t->text);
  free(t->expected);
  cJSON_Delete(t->choices);
}

static sluice_status read_turn(const struct ledger_rows *q, struct turn_text *t, struct sluice_error *err) {
  *t = (struct turn_text){.turn_no = ledger_int(q, 0), .answer = -1, .tie = -1};
  bool copied = copy_column(q, 1, &t->role, NULL);
  copied = copy_column(q, 2, &t->task, NULL) && copied;
  copied = copy_column(q, 3, &t->metric, NULL) && copied;
  copied = copy_column(q, 4, &t->text, &t->text_len) && copied;
  copied = copy_column(q, 6, &t->expected, NULL) && copied;
  if (ledger_type_of(q, 7) != LEDGER_NULL) t->answer = ledger_int(q, 7);
  struct slice choices = ledger_bytes(q, 5);
  struct sluice_error unread = {0}; /* a choice list that does not parse is shown as indices */
  if (choices.len && json_parse("choices", choices.ptr, choices.len, false, &t->choices, &unread)) t->choices = NULL;
  if (copied && unread.code != SLUICE_NOMEM && t->role && t->task && t->text) return SLUICE_OK;
  return sluice_fail(err, SLUICE_NOMEM, "report: no memory for a turn");
}

static sluice_status put_turns(struct page *p, struct ledger *l, const struct report *r, const struct report_sample *s,
                               const struct answers *all, struct sluice_error *err) {
  struct ledger_rows *q = NULL;
  struct evidences e = {0};
  sluice_status status = read_evidences(l, s->attempts[0].id, &e, err);
  if (status) {
    evidences_free(&e);
    return status;
  }
  status = ledger_query(l,
                        "SELECT turn_no, role, task, metric, text, choices, expected, answer FROM v_turn "
                        "WHERE attempt_id = ?1 ORDER BY turn_no",
                        LEDGER_VALUES(lv_int(s->attempts[0].id)), &q, err);
  bool row = false;
  for (int n = 0; !status && !(status = ledger_next(q, &row, err)) && row && n < MAX_TURNS; n++) {
    struct turn_text t;
    status = read_turn(q, &t, err);
    if (!status) put_turn(p, r, s, &t, all, &e);
    turn_free(&t);
    if (status) break;
  }
  ledger_rows_end(q);
  evidences_free(&e);
  return status;
}

static void put_flips(struct page *p, const struct report_sample *s) {
  put(p, "<span class=\"flips\">");
  if (s->worse) putf(p, "<span class=\"bad\">▼\xc2\xa0%zu</span> ", s->worse);
  if (s->better) putf(p, "<span class=\"good\">▲\xc2\xa0%zu</span> ", s->better);
  if (s->errors) putf(p, "<span class=\"open\">!\xc2\xa0%zu</span>", s->errors);
  if (!s->worse && !s->better && !s->errors) put(p, "<small>no flip</small>");
  put(p, "</span>");
}

/* One policy's place in a dialogue's line; the name is read aloud, and shown where the columns have no head. */
static void put_tally(struct page *p, const struct report *r, size_t policy, const struct report_attempt *a) {
  bool worse = a && a->worse, odd = a && a->error;
  putf(p, "<span class=\"t%s\"><i>", odd ? " open" : worse ? " bad" : "");
  put_text(p, r->policies[policy].label);
  put(p, "</i> ");
  if (!a)
    put(p, "–");
  else if (odd)
    put(p, "error");
  else if (a->scored)
    putf(p, "%s%zu/%zu", worse ? "▾\xc2\xa0" : "", a->right, a->scored);
  else
    put(p, "·");
  put(p, "</span>");
}

static void put_tally_head(struct page *p, const struct report *r) {
  if (r->n_policies > TALLY_COLUMNS) return;
  put(p,
      "<div class=\"samplehead\" aria-hidden=\"true\"><span></span><span></span><span></span><span class=\"tally\">");
  for (size_t i = 0; i < r->n_policies; i++) {
    put(p, "<span class=\"t\">");
    put_text(p, r->policies[i].label);
    put(p, "</span>");
  }
  put(p, "</span></div>\n");
}

static void put_summary(struct page *p, const struct report *r, const struct report_sample *s, size_t index) {
  const char *name = r->sample_ids[s->name], *benchmark = r->benchmarks[s->benchmark].name;
  putf(p, "<details class=\"sample\" id=\"d%zu\" data-i=\"%zu\" data-w=\"%zu\" data-g=\"%zu\" data-e=\"%zu\" data-b=\"",
       index, index, s->worse, s->better, s->errors);
  put_plain(p, benchmark);
  put(p, "\" data-n=\"");
  put_plain(p, name);
  put(p, "\"><summary><span>");
  put_text(p, benchmark);
  put(p, " <small class=\"mono\">");
  put_text(p, name);
  put(p, "</small>");
  if (r->n_facets > 1) {
    put(p, " <small>");
    put_text(p, r->facets[s->facet].engine);
    put(p, " · ");
    put_text(p, r->facets[s->facet].monitor);
    put(p, "</small>");
  }
  put(p, "</span>");
  put_flips(p, s);
  putf(p, "<span class=\"tally%s\">", r->n_policies > TALLY_COLUMNS ? " many" : "");
  for (size_t i = 0, next = 0; i < r->n_policies; i++) {
    const struct report_attempt *a =
        next < s->n_attempts && s->attempts[next].policy == i ? &s->attempts[next++] : NULL;
    put_tally(p, r, i, a);
  }
  put(p, "</span></summary>\n<div class=\"talk\">\n");
}

static sluice_status put_dialogue(struct page *p, struct ledger *l, const struct report *r, size_t index) {
  const struct report_sample *s = &r->dialogues[index];
  struct answers all[REPORT_MAX_AXIS] = {{0}};
  sluice_status status = SLUICE_OK;
  for (size_t i = 0; i < s->n_attempts && !status; i++) status = read_answers(l, s->attempts[i].id, &all[i], p->err);
  if (!status) {
    put_summary(p, r, s, index);
    status = put_turns(p, l, r, s, all, p->err);
    put(p, "</div></details>\n");
  }
  for (size_t i = 0; i < s->n_attempts; i++) answers_free(&all[i]);
  return status ? status : p->status;
}

/* Writes blocks into their own buffer, so that the one that would pass the bound can be taken back. */
static size_t put_blocks(struct page *p, struct ledger *l, const struct report *r, size_t room, struct buffer *out) {
  struct page inner = {out, p->status, p->err};
  size_t shown = 0;
  for (; shown < r->n_dialogues && inner.status == SLUICE_OK; shown++) {
    size_t before = out->len;
    inner.status = put_dialogue(&inner, l, r, shown);
    if (out->len > room) {
      out->len = before;
      if (out->ptr) out->ptr[before] = '\0';
      break;
    }
  }
  p->status = inner.status;
  return shown;
}

static void put_tools(struct page *p, const struct report *r) {
  put(p, "<div class=\"tools\" id=\"tools\" hidden><label>Find <input id=\"find\" type=\"search\" "
         "placeholder=\"words in a dialogue\"></label><label>Benchmark <select id=\"bench\"><option "
         "value=\"\">all</option>");
  for (size_t b = 0; b < r->n_benchmarks; b++) {
    put(p, "<option>");
    put_plain(p, r->benchmarks[b].name);
    put(p, "</option>");
  }
  put(p,
      "</select></label><label>Show <select id=\"state\"><option value=\"\">everything</option><option "
      "value=\"worse\">worse "
      "than the reference</option><option value=\"better\">better than the reference</option><option "
      "value=\"odd\">errors, "
      "truncated, refused</option></select></label><label>Order <select id=\"order\"><option value=\"\">flips first, "
      "by "
      "turns</option><option value=\"worse\">most flips</option><option value=\"name\">name</option></select></label>"
      "<button id=\"open\" type=\"button\">Open or close all</button><span id=\"shown\" "
      "role=\"status\"></span></div>\n");
}

void html_dialogues(struct page *p, struct ledger *l, const struct report *r, size_t room) {
  struct buffer blocks;
  buffer_init(&blocks, 0);
  size_t shown = put_blocks(p, l, r, room, &blocks);
  put(p, "<p>Each dialogue once; under a scored turn stand the answers, policies with the same answer together. ▼ "
         "turns that "
         "got worse than the reference, ▲ better, ! errors, truncated or refused. The words that a question asks about "
         "are marked. Dialogues with flips come first, in "
         "turn from "
         "each benchmark.");
  if (shown < r->n_dialogues) {
    put(p, " <b>");
    put_count(p, (int64_t)(r->n_dialogues - shown));
    put(p, " of ");
    put_count(p, (int64_t)r->n_dialogues);
    put(p, " dialogues are left out</b> to keep this file under ");
    put_bytes(p, (double)r->options.max_bytes);
    put(p, " (<code>--max-size</code>); every score above counts them.");
  }
  put(p, "</p>\n");
  put_tools(p, r);
  put_tally_head(p, r);
  put(p, "<div id=\"list\">\n");
  if (p->status == SLUICE_OK && blocks.len) p->status = buffer_append(p->out, blocks.ptr, blocks.len, p->err);
  put(p, "</div>\n");
  buffer_free(&blocks);
}
