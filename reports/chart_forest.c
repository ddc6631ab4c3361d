/* Paired differences from the reference: one panel a metric, one row a policy, interval and verdict. */
#include "reports/svg.h"

#include <math.h>

enum { ROW = 27, LEFT = 128, RIGHT = 78, WIDTH = 460, TOP = 12, FOOT = 30 };

bool chart_forest_has(const struct report *r, size_t facet, size_t column) {
  for (size_t i = 0; i < r->n_policies; i++)
    if (score_at(r, facet, i, column)->paired) return true;
  return false;
}

static const char *verdict_class(const struct report_score *s) {
  static const char *const names[] = {"good", "bad", "open"};
  return names[s->verdict];
}

static const char *verdict_word(const struct report_score *s) {
  static const char *const words[] = {"within margin", "worse", "open"};
  return s->verdict == GATE_PASS && s->pair.delta.lo > 0 ? "better" : words[s->verdict];
}

/* The range of the panel, in the unit drawn: points for shares, nats for perplexity. It holds zero and twice the
 * margin. */
static void range_of(const struct report *r, size_t facet, size_t column, struct scale *x) {
  x->low = -r->options.margin * 2;
  x->high = r->options.margin * 2;
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    if (!s->paired) continue;
    x->low = fmin(x->low, isfinite(s->pair.delta.lo) ? s->pair.delta.lo : s->pair.delta.value);
    x->high = fmax(x->high, isfinite(s->pair.delta.hi) ? s->pair.delta.hi : s->pair.delta.value);
  }
  double space = 0.04 * (x->high - x->low) + 1e-9;
  x->low -= space;
  x->high += space;
}

static void draw_row(struct page *p, const struct report *r, const struct report_score *s, size_t policy,
                     const struct report_column *c, const struct scale *x, double y) {
  const struct estimate *e = &s->pair.delta;
  double low = isfinite(e->lo) ? scale_at(x, e->lo) : x->from, high = isfinite(e->hi) ? scale_at(x, e->hi) : x->to;
  char class[24];
  snprintf(class, sizeof class, "whisk %s", verdict_class(s));
  svg_text(p, "lab", ANCHOR_END, LEFT - 12, y + 4, r->policies[policy].label);
  svg_line(p, class, low, y, high, y);
  snprintf(class, sizeof class, "dot %s", verdict_class(s));
  putf(p, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.2\"/>\n", class, scale_at(x, e->value), y);
  putf(p, "<text class=\"val %s\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">", verdict_class(s), WIDTH - 4, y + 4);
  if (c->bounded)
    put_points(p, e->value, 1);
  else
    put_number(p, e->value, 3);
  static const char *const marks[] = {" ●", " ▼", " ◇"};
  put(p, marks[s->verdict]);
  put(p, "</text>\n");
}

static void draw_axis(struct page *p, const struct report *r, const struct report_column *c, const struct scale *x,
                      double bottom) {
  double ticks[12];
  size_t n = scale_ticks(x, 6, ticks);
  if (c->bounded)
    svg_rect(p, "band", scale_at(x, -r->options.margin), TOP,
             scale_at(x, r->options.margin) - scale_at(x, -r->options.margin), bottom - TOP);
  for (size_t i = 0; i < n; i++) {
    svg_line(p, fabs(ticks[i]) < 1e-12 ? "zero" : "grid", scale_at(x, ticks[i]), TOP, scale_at(x, ticks[i]), bottom);
    svg_number(p, "tick", ANCHOR_MIDDLE, scale_at(x, ticks[i]), bottom + 16, c->bounded ? 100 * ticks[i] : ticks[i],
               c->bounded ? 0 : 2, "");
  }
}

static void data_row(struct page *p, const struct report *r, const struct report_score *s, size_t policy,
                     const struct report_column *c) {
  const struct estimate *e = &s->pair.delta;
  put(p, "<tr><th scope=\"row\">");
  put_text(p, r->policies[policy].label);
  putf(p, "</th><td class=\"num\" data-v=\"%.6f\">", e->value);
  if (c->bounded)
    put_points(p, e->value, 1);
  else
    put_number(p, e->value, 3);
  put(p, "</td><td class=\"num\">");
  if (c->bounded)
    put_points(p, e->lo, 1), put(p, " to "), put_points(p, e->hi, 1);
  else
    put_number(p, e->lo, 3), put(p, " to "), put_number(p, e->hi, 3);
  putf(p, "</td><td class=\"num\">%zu in %zu</td><td class=\"num\">", e->n, e->clusters);
  put_p_value(p, s->p_adjusted);
  putf(p, " <small>%s</small></td><td class=\"num\">", s->pair.p_method);
  if (c->bounded && s->pair.mde > 1)
    put(p, "nothing"); /* not even a change from 0 to 100 */
  else if (c->bounded)
    put_percent(p, s->pair.mde, 1);
  else
    put_number(p, s->pair.mde, 3);
  putf(p, "</td><td class=\"num\">%zu / %zu</td><td class=\"%s\">%s</td></tr>\n", s->pair.down, s->pair.up,
       verdict_class(s), verdict_word(s));
}

static void data_table(struct page *p, const struct report *r, size_t facet, size_t column) {
  const struct report_column *c = &r->columns[column];
  putf(
      p,
      "<details class=\"data\"><summary>Data</summary><div class=\"scroll\"><table><thead><tr><th "
      "scope=\"col\">Policy</th>"
      "<th scope=\"col\">Δ %s</th><th scope=\"col\">Interval</th><th scope=\"col\">n</th><th scope=\"col\">p, Holm</th>"
      "<th scope=\"col\">Detectable</th><th scope=\"col\">Turns worse / better</th><th scope=\"col\">Verdict</th>"
      "</tr></thead><tbody>\n",
      c->bounded ? "points" : "nats");
  for (size_t i = 0; i < r->n_policies; i++)
    if (score_at(r, facet, i, column)->paired) data_row(p, r, score_at(r, facet, i, column), i, c);
  put(p, "</tbody></table></div></details>\n");
}

void chart_forest(struct page *p, const struct report *r, size_t facet, size_t column) {
  if (!chart_forest_has(r, facet, column)) return;
  const struct report_column *c = &r->columns[column];
  size_t rows = 0;
  for (size_t i = 0; i < r->n_policies; i++) rows += score_at(r, facet, i, column)->paired;
  double bottom = TOP + ROW * (double)rows;
  struct scale x = {0, 0, LEFT, WIDTH - RIGHT, false};
  range_of(r, facet, column, &x);
  char id[48];
  snprintf(id, sizeof id, "forest-%zu-%zu", facet, column);
  put(p, "<figure><figcaption><b>");
  put_text(p, r->benchmarks[c->benchmark].name);
  put(p, "</b> ");
  put_text(p, c->metric);
  putf(p, " <small>%s</small></figcaption>\n",
       c->bounded ? "difference in points" : "nats a token saved; right is better");
  svg_begin(
      p, id, WIDTH, bottom + FOOT, "Paired differences from the reference",
      "One row a policy: the dot is the mean difference over the same turns, the bar its interval; right of zero is "
      "better. The data table below holds the numbers.");
  draw_axis(p, r, c, &x, bottom);
  double y = TOP + ROW / 2.0;
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    if (!s->paired) continue;
    draw_row(p, r, s, i, c, &x, y);
    y += ROW;
  }
  svg_end(p);
  data_table(p, r, facet, column);
  put(p, "</figure>\n");
}
