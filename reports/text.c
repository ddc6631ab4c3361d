/* Text for a terminal: one row a policy, at most 100 columns wide. What does not fit goes into a further block of
 * columns. */
#include "reports/formats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 100, LABEL_MAX = 24, NAME_LINES = 3, WORD_MAX = 10 };

/* Columns 0 to n-1 are the facet's metrics, column n is the KV peak. Rows: the policies, chance, the best trivial
 * answer. */
struct sheet {
  const struct report *r;
  size_t facet, n;
  size_t *column, *width; /* [n] index into report.columns; [n + 1] in characters */
  size_t label_width;
  int decimals; /* of values in percent */
  size_t gap;
  struct buffer text; /* scratch: one cell, one name or one sentence */
  struct page scratch;
};

/* Characters; every one that we write is one column wide. */
static size_t width_of(struct slice s) {
  size_t n = 0;
  for (size_t i = 0; i < s.len; i++) n += ((unsigned char)s.ptr[i] & 0xc0) != 0x80;
  return n;
}

/* The bytes of the first n characters. */
static size_t bytes_of(struct slice s, size_t n) {
  size_t at = 0;
  for (; at < s.len; at++)
    if (((unsigned char)s.ptr[at] & 0xc0) != 0x80 && n-- == 0) break;
  return at;
}

static struct slice written(const struct sheet *t) {
  return (struct slice){t->text.ptr ? t->text.ptr : "", t->text.len};
}

static void put_spaces(struct page *p, size_t n) {
  for (; n > 0; n--) put(p, " ");
}

static void end_line(struct page *p) {
  while (p->out->len && p->out->ptr[p->out->len - 1] == ' ') p->out->len--;
  put(p, "\n");
}

static void put_cut(struct page *p, struct slice s, size_t width) {
  bool cut = width_of(s) > width;
  size_t len = cut ? bytes_of(s, width - 1) : s.len;
  if (p->status == SLUICE_OK) p->status = buffer_append(p->out, s.ptr, len, p->err);
  if (cut) put(p, "…");
}

static void put_right(struct page *p, struct slice s, size_t width) {
  size_t own = width_of(s);
  put_spaces(p, own < width ? width - own : 0);
  put_cut(p, s, width);
}

static void put_left(struct page *p, struct slice s, size_t width) {
  size_t own = width_of(s);
  put_cut(p, s, width);
  put_spaces(p, own < width ? width - own : 0);
}

/* ---- what a cell says: into the scratch buffer ---- */

static void say_outside(struct sheet *t, const char *text) {
  put_slice(&t->scratch, MARKUP_TEXT, slice_of(text));
}

static void say_score(struct sheet *t, const struct report_column *c, const struct report_score *s) {
  static const char *const marks[] = {"●", "▼", "◇"};
  const struct estimate *e = &s->estimate;
  struct page *p = &t->scratch;
  if (!s->present || isnan(e->value)) {
    put(p, s->present ? "unscored " : "– ");
    return;
  }
  double unit = c->bounded ? 100 : 1, value = unit * e->value, half = unit * (e->hi - e->lo) / 2;
  if (c->perplexity) value = exp(e->value), half = (exp(e->hi) - exp(e->lo)) / 2;
  int decimals = c->bounded ? t->decimals : 2;
  put_number(p, value, decimals);
  put(p, "±");
  put_number(p, half, c->bounded && half >= 10 ? 0 : decimals);
  put(p, s->paired ? marks[s->verdict] : " ");
}

static void say_peak(struct sheet *t, size_t policy) {
  uint64_t most = 0;
  for (size_t b = 0; b < t->r->n_benchmarks; b++) {
    const struct report_group *g = group_at(t->r, t->facet, policy, b);
    if (g->kv.n && g->kv.max > most) most = g->kv.max;
  }
  put_bytes(&t->scratch, most ? (double)most : NAN);
}

static struct slice cell(struct sheet *t, size_t row, size_t column) {
  const struct report *r = t->r;
  buffer_clear(&t->text);
  if (column == t->n) {
    if (row < r->n_policies) say_peak(t, row);
    return written(t);
  }
  size_t c = t->column[column];
  if (row < r->n_policies) {
    say_score(t, &r->columns[c], score_at(r, t->facet, row, c));
  } else {
    const struct report_trivial *found = report_trivial_highest(r, t->facet, c, row == r->n_policies);
    if (found)
      put_percent(&t->scratch, found->value, t->decimals);
    else
      put(&t->scratch, "–");
    put(&t->scratch, " ");
  }
  return written(t);
}

static struct slice label(struct sheet *t, size_t row) {
  buffer_clear(&t->text);
  if (row < t->r->n_policies)
    say_outside(t, t->r->policies[row].label);
  else
    put(&t->scratch, row == t->r->n_policies ? "chance" : "best trivial");
  return written(t);
}

static struct slice metric(struct sheet *t, size_t column) {
  buffer_clear(&t->text);
  if (column == t->n) return slice_of("KV peak");
  const struct report_column *c = &t->r->columns[t->column[column]];
  if (c->perplexity)
    put(&t->scratch, "ppl ↓");
  else
    say_outside(t, c->metric);
  put(&t->scratch, " ");
  return written(t);
}

static struct slice benchmark(struct sheet *t, size_t index) {
  buffer_clear(&t->text);
  say_outside(t, t->r->benchmarks[index].name);
  return written(t);
}

/* ---- names over their columns ---- */

/* Takes the line that fits: up to a space or behind a hyphen, else cut. */
static struct slice take_line(struct slice *rest, size_t width) {
  while (rest->len && *rest->ptr == ' ') rest->ptr++, rest->len--;
  size_t len = bytes_of(*rest, width), at = len;
  if (len < rest->len && rest->ptr[len] != ' ')
    while (at > 0 && rest->ptr[at - 1] != ' ' && rest->ptr[at - 1] != '-') at--;
  if (at == 0) at = len;
  struct slice line = {rest->ptr, at};
  rest->ptr += at;
  rest->len -= at;
  while (line.len && line.ptr[line.len - 1] == ' ') line.len--;
  return line;
}

static size_t longest_word(struct slice name) {
  size_t most = 0, from = 0;
  for (size_t i = 0; i <= name.len; i++) {
    if (i < name.len && name.ptr[i] != ' ' && name.ptr[i] != '-') continue;
    size_t width = width_of((struct slice){name.ptr + from, i - from}) + (i < name.len && name.ptr[i] == '-');
    if (width > most) most = width;
    from = i + 1;
  }
  return most < WORD_MAX ? most : WORD_MAX;
}

static size_t benchmark_of(const struct sheet *t, size_t column) {
  return column < t->n ? t->r->columns[t->column[column]].benchmark : SIZE_MAX;
}

/* Columns from `column` on that stand under one name, before `end`. */
static size_t span_of(const struct sheet *t, size_t column, size_t end) {
  size_t n = 1;
  while (column + n < end && benchmark_of(t, column + n) == benchmark_of(t, column)) n++;
  return n;
}

static size_t width_over(const struct sheet *t, size_t column, size_t span) {
  size_t width = t->gap * (span - 1);
  for (size_t k = 0; k < span; k++) width += t->width[column + k];
  return width;
}

/* The index-th line of the name over `span` columns; the last line takes what is left. Lives in the scratch buffer. */
static struct slice name_line(struct sheet *t, size_t column, size_t span, int index) {
  size_t width = width_over(t, column, span) - 1; /* the last character is for marks */
  struct slice rest = benchmark(t, benchmark_of(t, column)), line = {"", 0};
  for (int k = 0; k <= index; k++) line = k + 1 == NAME_LINES ? rest : take_line(&rest, width);
  while (line.len && *line.ptr == ' ') line.ptr++, line.len--;
  return line;
}

static void put_names(struct page *p, struct sheet *t, size_t from, size_t end) {
  size_t metrics = end > t->n ? t->n : end;
  for (int index = 0; index < NAME_LINES; index++) {
    bool any = false;
    for (size_t c = from; c < metrics; c += span_of(t, c, metrics))
      any = any || name_line(t, c, span_of(t, c, metrics), index).len;
    if (!any) return;
    put_spaces(p, t->label_width);
    for (size_t c = from; c < metrics; c += span_of(t, c, metrics)) {
      size_t span = span_of(t, c, metrics);
      put_spaces(p, t->gap);
      put_right(p, name_line(t, c, span, index), width_over(t, c, span) - 1);
      put(p, " ");
    }
    end_line(p);
  }
}

/* ---- the table ---- */

static size_t rows_of(const struct sheet *t) {
  size_t beside = 0;
  for (size_t c = 0; c < t->n && !beside; c++)
    beside = report_trivial_highest(t->r, t->facet, t->column[c], true) ? 2 : 0;
  return t->r->n_policies + beside;
}

/* Widths of all columns as the sheet now writes them; returns the width of the whole. */
static size_t measure(struct sheet *t) {
  size_t rows = rows_of(t), total;
  t->label_width = strlen("policy");
  for (size_t i = 0; i < rows; i++) {
    size_t width = width_of(label(t, i));
    if (width > t->label_width) t->label_width = width;
  }
  if (t->label_width > LABEL_MAX) t->label_width = LABEL_MAX;
  total = t->label_width;
  for (size_t c = 0; c <= t->n; c++) {
    size_t most = width_of(metric(t, c));
    if (most > WORD_MAX + 2) most = WORD_MAX + 2;
    if (c < t->n && span_of(t, c, t->n) == 1 && (c == 0 || benchmark_of(t, c - 1) != benchmark_of(t, c))) {
      size_t word = longest_word(benchmark(t, benchmark_of(t, c))) + 1;
      if (word > most) most = word;
    }
    for (size_t i = 0; i < rows; i++) {
      size_t width = width_of(cell(t, i, c));
      if (width > most) most = width;
    }
    t->width[c] = most;
    total += t->gap + most;
  }
  return total;
}

/* The roomiest form that fits; where none does, several blocks of the roomiest. */
static void choose_form(struct sheet *t) {
  static const struct {
    int decimals;
    size_t gap;
  } forms[] = {{1, 2}, {1, 1}, {0, 2}, {0, 1}, {1, 2}};
  for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
    t->decimals = forms[i].decimals;
    t->gap = forms[i].gap;
    if (measure(t) <= LINE) return;
  }
}

static void put_block(struct page *p, struct sheet *t, size_t from, size_t end) {
  put_names(p, t, from, end);
  put_left(p, slice_of("policy"), t->label_width);
  for (size_t c = from; c < end; c++) put_spaces(p, t->gap), put_right(p, metric(t, c), t->width[c]);
  end_line(p);
  for (size_t i = 0; i < rows_of(t); i++) {
    put_left(p, label(t, i), t->label_width);
    for (size_t c = from; c < end; c++) put_spaces(p, t->gap), put_right(p, cell(t, i, c), t->width[c]);
    end_line(p);
  }
}

static void put_blocks(struct page *p, struct sheet *t) {
  for (size_t from = 0; from <= t->n;) {
    size_t width = t->label_width, end = from;
    while (end <= t->n && (end == from || width + t->gap + t->width[end] <= LINE)) width += t->gap + t->width[end++];
    if (from) put(p, "\n");
    put_block(p, t, from, end);
    from = end;
  }
}

/* ---- sentences ---- */

/* Wraps what stands in the scratch buffer. */
static void put_prose(struct page *p, struct sheet *t) {
  struct slice rest = written(t);
  while (rest.len) {
    size_t len = bytes_of(rest, LINE), at = len;
    if (len < rest.len)
      while (at > 0 && rest.ptr[at] != ' ') at--;
    if (at == 0) at = len;
    put_cut(p, (struct slice){rest.ptr, at}, LINE);
    put(p, "\n");
    rest.ptr += at;
    rest.len -= at;
    while (rest.len && *rest.ptr == ' ') rest.ptr++, rest.len--;
  }
  buffer_clear(&t->text);
}

/* The reference against counting, where a benchmark can be won by it. */
static void put_counting(struct page *p, struct sheet *t) {
  size_t policy = t->r->reference_policy >= 0 ? (size_t)t->r->reference_policy : 0;
  for (size_t c = 0; c < t->n; c++) {
    const struct report_score *s = score_at(t->r, t->facet, policy, t->column[c]);
    for (size_t i = 0; i < s->n_trivial; i++) {
      const struct report_trivial *trivial = &s->trivial[i];
      if (!trivial->paired || strcmp(trivial->name, "counting") != 0) continue;
      buffer_clear(&t->text);
      say_outside(t, t->r->benchmarks[benchmark_of(t, c)].name);
      put(&t->scratch, ", the same turns: ");
      say_outside(t, t->r->policies[policy].label);
      put(&t->scratch, " − counting = ");
      put_points(&t->scratch, trivial->pair.delta.value, 1);
      put(&t->scratch, " points (");
      put_points(&t->scratch, trivial->pair.delta.lo, 1);
      put(&t->scratch, " to ");
      put_points(&t->scratch, trivial->pair.delta.hi, 1);
      put(&t->scratch, ")");
      put_prose(p, t);
    }
  }
}

static void put_legend(struct page *p, struct sheet *t) {
  buffer_clear(&t->text);
  put(&t->scratch, "± half the ");
  put_percent(&t->scratch, t->r->options.confidence, 0);
  put(&t->scratch, " % interval · ● at most ");
  put_percent(&t->scratch, t->r->options.margin,
              t->r->options.margin * 100 == floor(t->r->options.margin * 100) ? 0 : 1);
  put(&t->scratch, " points below the reference · ▼ worse · ◇ open");
  put_prose(p, t);
}

static void put_facet(struct page *p, struct sheet *t) {
  const struct report *r = t->r;
  t->n = 0;
  for (size_t c = 0; c < r->n_columns; c++)
    for (size_t i = 0; i < r->n_policies; i++)
      if (score_at(r, t->facet, i, c)->present) {
        t->column[t->n++] = c;
        break;
      }
  if (!t->n) return;
  if (r->n_facets > 1) {
    if (p->out->len) put(p, "\n");
    buffer_clear(&t->text);
    say_outside(t, r->facets[t->facet].engine);
    put(&t->scratch, ", monitor ");
    say_outside(t, r->facets[t->facet].monitor);
    put_prose(p, t);
  }
  choose_form(t);
  put_blocks(p, t);
  put_legend(p, t);
  put_counting(p, t);
  put(p, "\n");
}

sluice_status report_write_text(struct ledger *l, const struct report *r, struct buffer *out,
                                struct sluice_error *err) {
  (void)l;
  struct page p = {out, SLUICE_OK, err};
  struct sheet t = {
      .r = r, .column = calloc(r->n_columns + 1, sizeof *t.column), .width = calloc(r->n_columns + 1, sizeof *t.width)};
  buffer_init(&t.text, 1 << 20);
  t.scratch = (struct page){&t.text, SLUICE_OK, err};
  if (!t.column || !t.width) p.status = sluice_fail(err, SLUICE_NOMEM, "report: no memory for a table");
  for (size_t f = 0; f < r->n_facets && p.status == SLUICE_OK; f++) {
    t.facet = f;
    put_facet(&p, &t);
  }
  const char *const sentences[] = {r->claim, r->covered};
  for (int i = 0; i < 2 && p.status == SLUICE_OK; i++) {
    buffer_clear(&t.text);
    say_outside(&t, sentences[i]);
    put_prose(&p, &t);
  }
  if (p.status == SLUICE_OK) p.status = t.scratch.status;
  buffer_free(&t.text);
  free(t.column);
  free(t.width);
  return p.status;
}
