/* The matrix: policies down, benchmarks' metrics across. A cell says its value, its interval and n in words, draws the
 * interval and the best trivial baseline on a small axis, and marks what the difference from the reference came to. */
#include "reports/svg.h"

#include <math.h>

/* Rules of a suite may leave a benchmark or a policy out of one engine or monitor: then it has no row or column there.
 */
static bool has_column(const struct report *r, size_t facet, size_t column) {
  for (size_t i = 0; i < r->n_policies; i++)
    if (group_at(r, facet, i, r->columns[column].benchmark)->present) return true;
  return false;
}

static bool has_policy(const struct report *r, size_t facet, size_t policy) {
  for (size_t b = 0; b < r->n_benchmarks; b++)
    if (group_at(r, facet, policy, b)->present) return true;
  return false;
}

/* Step of the ramp, 0 to 9. Perplexity: by how many times it is above the column's best. */
static int ramp_step(const struct report_column *c, double value, double best) {
  double t = value;
  if (c->perplexity)
    t = 1 - (value - best) / log(8);
  else if (!c->bounded)
    t = 0.5;
  int step = (int)floor(fmin(1, fmax(0, t)) * 10);
  return step > 9 ? 9 : step;
}

static double column_best(const struct report *r, size_t facet, size_t column) {
  double best = INFINITY;
  for (size_t i = 0; i < r->n_policies; i++) {
    double v = score_at(r, facet, i, column)->estimate.value;
    if (v < best) best = v;
  }
  return best;
}

/* The interval on a 0..1 axis, 100 units wide: the line is the interval, the dot the value, the tick the best trivial
 * answer. */
static void draw_interval(struct page *p, const struct report_score *s) {
  struct scale x = {0, 1, 3, 97, false};
  put(p, "<svg class=\"ci\" viewBox=\"0 0 100 10\" aria-hidden=\"true\">");
  svg_line(p, "ci-axis", 3, 5, 97, 5);
  if (s->best_trivial >= 0) {
    double at = scale_at(&x, s->trivial[s->best_trivial].value);
    svg_line(p, "ci-base", at, 0.5, at, 9.5);
  }
  svg_line(p, "ci-line", scale_at(&x, s->estimate.lo), 5, scale_at(&x, s->estimate.hi), 5);
  putf(p, "<circle class=\"ci-dot\" cx=\"%.1f\" cy=\"5\" r=\"2.6\"/></svg>", scale_at(&x, s->estimate.value));
}

static void put_range(struct page *p, const struct report_column *c, const struct estimate *e) {
  if (c->perplexity && !isfinite(e->lo)) {
    put(p, "one text: no interval");
    return;
  }
  if (c->perplexity)
    put_number(p, exp(e->lo), 2), put(p, "–"), put_number(p, exp(e->hi), 2);
  else if (c->bounded)
    put_percent(p, e->lo, 1), put(p, "–"), put_percent(p, e->hi, 1);
  else
    put_number(p, e->lo, 2), put(p, "–"), put_number(p, e->hi, 2);
}

static void put_value(struct page *p, const struct report_column *c, double value) {
  if (c->perplexity)
    put_number(p, exp(value), 2);
  else if (c->bounded)
    put_percent(p, value, 1);
  else
    put_number(p, value, 2);
}

static void put_mark(struct page *p, const struct report_column *c, const struct report_score *s) {
  static const char *const marks[] = {"●", "▼", "◇"};
  static const char *const words[] = {"no worse than the margin", "worse", "open"};
  if (s->paired)
    putf(p, "<span class=\"mark\" title=\"%s\" role=\"img\" aria-label=\"%s\">%s</span>", words[s->verdict],
         words[s->verdict], marks[s->verdict]);
  bool trivial = c->bounded && s->best_trivial >= 0 && s->estimate.lo <= s->trivial[s->best_trivial].value;
  if (trivial)
    put(p, "<span class=\"mark\" title=\"not shown to beat the best trivial answer\" role=\"img\" "
           "aria-label=\"not shown to beat the best trivial answer\">≈</span>");
}

static void draw_cell(struct page *p, const struct report *r, size_t facet, size_t policy, size_t column, double best) {
  const struct report_score *s = score_at(r, facet, policy, column);
  const struct report_column *c = &r->columns[column];
  if (!s->present || isnan(s->estimate.value)) {
    put(p, s->present ? "<td class=\"void\">unscored</td>" : "<td class=\"void\">not run</td>");
    return;
  }
  putf(p, "<td class=\"heat h%d\" data-v=\"%.6f\"><b>", ramp_step(c, s->estimate.value, best), s->estimate.value);
  put_value(p, c, s->estimate.value);
  put(p, "</b>");
  put_mark(p, c, s);
  if (c->bounded) draw_interval(p, s);
  put(p, "<small>");
  put_range(p, c, &s->estimate);
  put(p, "</small><small>n ");
  put_count(p, (int64_t)s->estimate.n);
  if (s->estimate.clusters != s->estimate.n) putf(p, " in %zu", s->estimate.clusters);
  if (s->unscored) putf(p, ", %zu unscored", s->unscored);
  put(p, "</small></td>\n");
}

static void draw_head(struct page *p, const struct report *r, size_t facet) {
  put(p, "<thead><tr><th scope=\"col\" rowspan=\"2\">Policy</th>");
  for (size_t c = 0; c < r->n_columns;) {
    size_t span = 1;
    while (c + span < r->n_columns && r->columns[c + span].benchmark == r->columns[c].benchmark) span++;
    if (has_column(r, facet, c)) {
      putf(p, "<th scope=\"colgroup\" colspan=\"%zu\">", span);
      put_text(p, r->benchmarks[r->columns[c].benchmark].name);
      put(p, "</th>");
    }
    c += span;
  }
  put(p, "<th scope=\"col\" rowspan=\"2\">KV peak</th></tr>\n<tr>");
  for (size_t c = 0; c < r->n_columns; c++) {
    const struct report_column *column = &r->columns[c];
    if (!has_column(r, facet, c)) continue;
    put(p, "<th scope=\"col\">");
    put_text(p, column->metric);
    put(p, column->perplexity ? " ↓" : column->bounded ? " %" : "");
    put(p, "<br><small>");
    put_text(p, column->perplexity ? "lower is better" : column->title);
    put(p, "</small>");
    if (column->judge) put(p, " <small>judged by "), put_text(p, column->scorer), put(p, "</small>");
    put(p, "</th>");
  }
  put(p, "</tr></thead>\n");
}

static void draw_bytes(struct page *p, const struct report *r, size_t facet, size_t policy) {
  uint64_t most = 0;
  for (size_t b = 0; b < r->n_benchmarks; b++) {
    const struct report_group *g = group_at(r, facet, policy, b);
    if (g->present && g->kv.n && g->kv.max > most) most = g->kv.max;
  }
  put(p, "<td class=\"num\">");
  if (most)
    put_bytes(p, (double)most);
  else
    put(p, "–");
  put(p, "</td>");
}

/* Rows below the policies: chance, and the best trivial answer over the same turns. Trivial answers see no more than
 * their policy's budget, so they differ by policy: each cell draws its own, here stands the highest. */
static void draw_trivial(struct page *p, const struct report *r, size_t facet, bool chance) {
  putf(p, "<tr class=\"trivial\"><th scope=\"row\">%s</th>", chance ? "chance" : "best trivial answer");
  for (size_t c = 0; c < r->n_columns; c++) {
    if (!has_column(r, facet, c)) continue;
    const struct report_trivial *found = report_trivial_highest(r, facet, c, chance);
    put(p, "<td>");
    if (found)
      put_percent(p, found->value, 1);
    else
      put(p, "–");
    if (found && !chance) put(p, " <small>"), put_text(p, found->name), put(p, "</small>");
    put(p, "</td>");
  }
  put(p, "<td></td></tr>\n");
}

void chart_matrix(struct page *p, const struct report *r, size_t facet) {
  if (!r->n_columns) {
    put(p, "<p class=\"note\">No dialogue has been finished yet.</p>\n");
    return;
  }
  put(p, "<p class=\"note\">Under each value stand its ");
  put_percent(p, r->options.confidence, 0);
  put(p, "\xc2\xa0% interval and n, the scored turns in so many dialogues. On the small axis from 0 to 100 the bar is "
         "the interval "
         "and the upright tick the best trivial answer.</p>\n<div class=\"scroll\"><table class=\"matrix\"><caption "
         "class=\"hid\">Score by cache policy and benchmark</caption>\n");
  draw_head(p, r, facet);
  put(p, "<tbody>\n");
  for (size_t i = 0; i < r->n_policies; i++) {
    if (!has_policy(r, facet, i)) continue;
    put(p, "<tr><th scope=\"row\">");
    put_text(p, r->policies[i].label);
    if ((int)i == r->reference_policy) put(p, " <span class=\"tag\">reference</span>");
    put(p, "</th>");
    for (size_t c = 0; c < r->n_columns; c++)
      if (has_column(r, facet, c)) draw_cell(p, r, facet, i, c, column_best(r, facet, c));
    draw_bytes(p, r, facet, i);
    put(p, "</tr>\n");
  }
  draw_trivial(p, r, facet, true);
  draw_trivial(p, r, facet, false);
  put(p, "</tbody></table></div>\n");
}
