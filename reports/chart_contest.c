/* Rock-Paper-Scissors: shares of wins, ties and losses a policy, with chance and counting as upright lines. */
#include "reports/svg.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 860, LEFT = 160, RIGHT = 20, ROW = 34, TOP = 30, FOOT = 30 };

bool chart_contest_has(const struct report *r, size_t facet, size_t column) {
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    if (s->labels[LABEL_WIN] + s->labels[LABEL_TIE] + s->labels[LABEL_LOSE]) return true;
  }
  return false;
}

static size_t rounds_of(const struct report_score *s) {
  return s->labels[LABEL_WIN] + s->labels[LABEL_TIE] + s->labels[LABEL_LOSE];
}

static void draw_bar(struct page *p, const struct report *r, const struct report_score *s, size_t policy, double y,
                     const struct scale *x) {
  static const char *const classes[] = {"bar-win", "bar-tie", "bar-lose"};
  double from = 0, total = (double)rounds_of(s);
  svg_text(p, "lab", ANCHOR_END, LEFT - 12, y + 16, r->policies[policy].label);
  for (int k = 0; k < 3 && total > 0; k++) {
    double share = (double)s->labels[LABEL_WIN + k] / total;
    double left = scale_at(x, from), right = scale_at(x, from + share);
    svg_rect(p, classes[k], left + (k ? 1 : 0), y, right - left - (k ? 1 : 0), 22);
    from += share;
  }
}

/* Words come after the upright lines, so that they stand on them. */
static void draw_shares(struct page *p, const struct report_score *s, double y, const struct scale *x) {
  static const char *const inks[] = {"on-win", "on-tie", "on-lose"};
  static const char *const words[] = {"win ", "tie ", "lose "};
  double from = 0, total = (double)rounds_of(s);
  for (int k = 0; k < 3 && total > 0; k++) {
    double share = (double)s->labels[LABEL_WIN + k] / total;
    double left = scale_at(x, from), right = scale_at(x, from + share);
    from += share;
    if (right - left < 62) continue;
    putf(p, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\">%s", inks[k], left + 8, y + 15.5, words[k]);
    put_percent(p, share, 1);
    put(p, "</text>\n");
  }
}

static double trivial_of(const struct report *r, size_t facet, size_t column, const char *name) {
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    for (size_t t = 0; t < s->n_trivial; t++)
      if (!strcmp(s->trivial[t].name, name)) return s->trivial[t].value;
  }
  return NAN;
}

static void draw_lines(struct page *p, const struct report *r, size_t facet, size_t column, const struct scale *x,
                       double bottom) {
  static const char *const names[] = {"chance", "counting"};
  for (int k = 0; k < 2; k++) {
    double v = trivial_of(r, facet, column, names[k]);
    if (isnan(v)) continue;
    svg_line(p, "baseline", scale_at(x, v), TOP - 8, scale_at(x, v), bottom);
    putf(p, "<text class=\"tick\" text-anchor=\"%s\" x=\"%.1f\" y=\"%d\">%s ", k ? "start" : "end",
         scale_at(x, v) + (k ? 4 : -4), TOP - 12, names[k]);
    put_percent(p, v, 1);
    put(p, " wins</text>\n");
  }
}

static void data_table(struct page *p, const struct report *r, size_t facet, size_t column) {
  put(p, "<details class=\"data\"><summary>Data</summary><div class=\"scroll\"><table><thead><tr><th "
         "scope=\"col\">Policy</th>"
         "<th scope=\"col\">Win</th><th scope=\"col\">Tie</th><th scope=\"col\">Lose</th><th scope=\"col\">Rounds</th>"
         "<th scope=\"col\">Win %</th><th scope=\"col\">Interval</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    if (!s->present) continue;
    put(p, "<tr><th scope=\"row\">");
    put_text(p, r->policies[i].label);
    putf(
        p,
        "</th><td class=\"num\">%zu</td><td class=\"num\">%zu</td><td class=\"num\">%zu</td><td class=\"num\">%zu</td>",
        s->labels[LABEL_WIN], s->labels[LABEL_TIE], s->labels[LABEL_LOSE], s->n_rows);
    put(p, "<td class=\"num\">");
    put_percent(p, s->estimate.value, 1);
    put(p, "</td><td class=\"num\">");
    put_percent(p, s->estimate.lo, 1);
    put(p, "–");
    put_percent(p, s->estimate.hi, 1);
    put(p, "</td></tr>\n");
  }
  put(p, "</tbody></table></div></details>\n");
}

void chart_contest(struct page *p, const struct report *r, size_t facet, size_t column) {
  if (!chart_contest_has(r, facet, column)) return;
  size_t rows = 0;
  for (size_t i = 0; i < r->n_policies; i++) rows += score_at(r, facet, i, column)->present;
  struct scale x = {0, 1, LEFT, WIDTH - RIGHT, false};
  double bottom = TOP + ROW * (double)rows, y = TOP;
  char id[48];
  snprintf(id, sizeof id, "contest-%zu-%zu", facet, column);
  put(p, "<figure class=\"wide\"><figcaption><b>");
  put_text(p, r->benchmarks[r->columns[column].benchmark].name);
  put(p, "</b> rounds won, tied and lost</figcaption>\n<div class=\"scroll\">");
  svg_begin(p, id, WIDTH, bottom + FOOT - 20, "Rounds won, tied and lost",
            "One bar a policy. Upright lines: what any move wins by chance, and what counting the other's moves wins.");
  for (size_t i = 0; i < r->n_policies; i++) {
    if (!score_at(r, facet, i, column)->present) continue;
    draw_bar(p, r, score_at(r, facet, i, column), i, y, &x);
    y += ROW;
  }
  draw_lines(p, r, facet, column, &x, bottom);
  y = TOP;
  for (size_t i = 0; i < r->n_policies; i++) {
    if (!score_at(r, facet, i, column)->present) continue;
    draw_shares(p, score_at(r, facet, i, column), y, &x);
    y += ROW;
  }
  svg_end(p);
  put(p, "</div>");
  data_table(p, r, facet, column);
  put(p, "</figure>\n");
}
