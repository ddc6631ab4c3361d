/* Scores beside trivial answers on the very same turns: the reference in the open, the other policies and answers
 * folded away. */
#include "reports/html.h"

#include <math.h>
#include <string.h>

bool html_trivial_has(const struct report *r, size_t facet, size_t column) {
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    for (size_t t = 0; t < s->n_trivial; t++)
      if (s->trivial[t].paired) return true;
  }
  return false;
}

static void head(struct page *p, bool chance) {
  put(p, "<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th scope=\"col\">Policy</th><th "
         "scope=\"col\">Benchmark</th><th scope=\"col\">Metric</th><th scope=\"col\" class=\"num\">Score %</th>");
  if (chance) put(p, "<th scope=\"col\" class=\"num\">Chance %</th>");
  put(p, "<th scope=\"col\">Trivial answer</th><th scope=\"col\" class=\"num\">Its score %</th><th scope=\"col\" "
         "class=\"num\">Difference, points</th><th scope=\"col\" class=\"num\">Interval</th><th scope=\"col\" "
         "class=\"num\">n</th>"
         "</tr></thead><tbody>\n");
}

static void share(struct page *p, double value) {
  put(p, "<td class=\"num\">");
  put_percent(p, value, 1);
  put(p, "</td>");
}

static void row(struct page *p, const struct report *r, size_t policy, const struct report_column *c,
                const struct report_trivial *t, double chance, bool with_chance, bool next) {
  const struct estimate *e = &t->pair.delta;
  put(p, next ? "<tr class=\"next\"><th scope=\"row\">" : "<tr><th scope=\"row\">");
  put_text(p, r->policies[policy].label);
  put(p, "</th><td class=\"name\">");
  put_text(p, r->benchmarks[c->benchmark].name);
  put(p, "</td><td>");
  put_text(p, c->metric);
  put(p, "</td>");
  share(p, t->score);
  if (with_chance) share(p, chance);
  put(p, "<td>");
  put_text(p, t->name);
  put(p, "</td>");
  share(p, t->same);
  putf(p, "<td class=\"num\" data-v=\"%.6f\">", e->value);
  put_points(p, e->value, 1);
  put(p, "</td><td class=\"num\">");
  put_points(p, e->lo, 1);
  put(p, " to ");
  put_points(p, e->hi, 1);
  putf(p, "</td><td class=\"num\">%zu in %zu</td></tr>\n", e->n, e->clusters);
}

static size_t count_all(const struct report *r, size_t facet) {
  size_t n = 0;
  for (size_t c = 0; c < r->n_columns; c++)
    for (size_t i = 0; i < r->n_policies; i++) {
      const struct report_score *s = score_at(r, facet, i, c);
      for (size_t t = 0; t < s->n_trivial; t++) n += s->trivial[t].paired;
    }
  return n;
}

static void every_answer(struct page *p, const struct report *r, size_t facet) {
  putf(p, "<details class=\"data\"><summary>Every trivial answer: %zu differences</summary>\n", count_all(r, facet));
  head(p, false);
  for (size_t c = 0; c < r->n_columns; c++)
    for (size_t i = 0; i < r->n_policies; i++) {
      const struct report_score *s = score_at(r, facet, i, c);
      bool next = c + i > 0; /* a line between scores */
      for (size_t t = 0; t < s->n_trivial; t++) {
        if (!s->trivial[t].paired) continue;
        row(p, r, i, &r->columns[c], &s->trivial[t], NAN, false, next);
        next = false;
      }
    }
  put(p, "</tbody></table></div></details>\n");
}

/* Rows of the best answer and of counting, of policies [from, end). */
static void shown_answers(struct page *p, const struct report *r, size_t facet, size_t from, size_t end) {
  head(p, true);
  for (size_t c = 0; c < r->n_columns; c++) {
    bool next = c > 0 && end - from > 1; /* a line between metrics */
    for (size_t i = from; i < end; i++) {
      const struct report_score *s = score_at(r, facet, i, c);
      const struct report_trivial *shown[2];
      size_t n = report_trivial_shown(s, shown);
      for (size_t k = 0; k < n; k++, next = false)
        row(p, r, i, &r->columns[c], shown[k], report_trivial_chance(s), true, next);
    }
  }
  put(p, "</tbody></table></div>\n");
}

/* The reference in the open; against another run, its first policy. */
void html_trivial(struct page *p, const struct report *r, size_t facet) {
  size_t policy = r->reference_policy >= 0 ? (size_t)r->reference_policy : 0;
  shown_answers(p, r, facet, policy, policy + 1);
  if (r->n_policies > 1) {
    putf(p, "<details class=\"data\"><summary>All %zu policies</summary>\n", r->n_policies);
    shown_answers(p, r, facet, 0, r->n_policies);
    put(p, "</details>\n");
  }
  every_answer(p, r, facet);
}
