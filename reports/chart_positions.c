/* Perplexity by position in the text: where a cache fills up, a policy that drops what attention leans on shows a
 * cliff. */
#include "reports/svg.h"

#include <math.h>

enum { WIDTH = 860, HEIGHT = 380, LEFT = 56, RIGHT = 170, TOP = 16, FOOT = 46 };

bool chart_positions_has(const struct report *r, size_t facet, size_t benchmark) {
  for (size_t i = 0; i < r->n_policies; i++)
    if (group_at(r, facet, i, benchmark)->n_positions > 1) return true;
  return false;
}

/* Where a bucket is drawn: its geometric middle; the first one starts at 0, so it is drawn at half its end. */
static double middle(const struct report_position *b) {
  return b->start ? sqrt((double)b->start * (double)b->end) : (double)b->end / 2;
}

static void extent(const struct report *r, size_t facet, size_t benchmark, struct scale *x, struct scale *y) {
  x->low = y->low = INFINITY;
  x->high = y->high = 0;
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_group *g = group_at(r, facet, i, benchmark);
    for (size_t k = 0; k < g->n_positions; k++) {
      double v = perplexity_value(g->positions[k].nats, g->positions[k].tokens), at = middle(&g->positions[k]);
      x->low = fmin(x->low, at);
      x->high = fmax(x->high, at);
      if (isfinite(v)) y->low = fmin(y->low, v), y->high = fmax(y->high, v);
    }
  }
  y->low = fmax(1, y->low / 1.12);
  y->high = fmax(y->low * 1.2, y->high * 1.08);
  y->log = y->high / y->low > 4; /* a cliff of a hundred times would flatten the rest */
}

static void draw_axes(struct page *p, const struct scale *x, const struct scale *y) {
  double ticks[12];
  size_t n = scale_ticks(y, 6, ticks);
  for (size_t i = 0; i < n; i++) {
    svg_line(p, "grid", LEFT, scale_at(y, ticks[i]), WIDTH - RIGHT, scale_at(y, ticks[i]));
    int decimals = ticks[i] != floor(ticks[i]);
    svg_number(p, "tick", ANCHOR_END, LEFT - 8, scale_at(y, ticks[i]) + 4, ticks[i], decimals, "");
  }
  n = scale_ticks(x, 10, ticks);
  for (size_t i = 0; i < n; i++) {
    double at = scale_at(x, ticks[i]);
    svg_line(p, "tickmark", at, HEIGHT - FOOT, at, HEIGHT - FOOT + 4);
    svg_number(p, "tick", ANCHOR_MIDDLE, at, HEIGHT - FOOT + 18, ticks[i], 0, "");
  }
  svg_line(p, "axis", LEFT, HEIGHT - FOOT, WIDTH - RIGHT, HEIGHT - FOOT);
  svg_text(p, "tick", ANCHOR_MIDDLE, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8,
           "position in the text, tokens, log scale");
}

static void draw_line(struct page *p, const struct report_group *g, size_t policy, const struct scale *x,
                      const struct scale *y) {
  putf(p, "<path class=\"curve %s%s\" d=\"", policy_stroke(policy), policy >= 8 ? " dash" : "");
  for (size_t k = 0; k < g->n_positions; k++)
    putf(p, "%c%.1f %.1f", k ? 'L' : 'M', scale_at(x, middle(&g->positions[k])),
         scale_at(y, perplexity_value(g->positions[k].nats, g->positions[k].tokens)));
  put(p, "\"/>\n");
}

static void draw_labels(struct page *p, const struct report *r, size_t facet, size_t benchmark, const struct scale *x,
                        const struct scale *y) {
  double at[REPORT_MAX_AXIS], end[REPORT_MAX_AXIS];
  size_t policies[REPORT_MAX_AXIS], n = 0;
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_group *g = group_at(r, facet, i, benchmark);
    if (!g->n_positions) continue;
    const struct report_position *last = &g->positions[g->n_positions - 1];
    end[n] = at[n] = scale_at(y, perplexity_value(last->nats, last->tokens));
    policies[n++] = i;
  }
  labels_spread(at, n, 17, TOP + 4, HEIGHT - FOOT);
  for (size_t i = 0; i < n; i++) {
    const struct report_group *g = group_at(r, facet, policies[i], benchmark);
    double px = scale_at(x, middle(&g->positions[g->n_positions - 1]));
    svg_line(p, "leader", px + 6, end[i], WIDTH - RIGHT + 14, at[i]);
    svg_marker(p, policies[i], px, end[i], 4.5, r->policies[policies[i]].label);
    svg_text(p, "lab", ANCHOR_START, WIDTH - RIGHT + 18, at[i] + 4, r->policies[policies[i]].label);
  }
}

static void data_table(struct page *p, const struct report *r, size_t facet, size_t benchmark) {
  put(p, "<details class=\"data\"><summary>Data</summary><div class=\"scroll\"><table><thead><tr><th "
         "scope=\"col\">Policy</th>"
         "<th scope=\"col\">Positions</th><th scope=\"col\">Tokens</th><th "
         "scope=\"col\">Perplexity</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_group *g = group_at(r, facet, i, benchmark);
    for (size_t k = 0; k < g->n_positions; k++) {
      put(p, "<tr><th scope=\"row\">");
      put_text(p, r->policies[i].label);
      putf(p, "</th><td class=\"num\">%llu–%llu</td><td class=\"num\">", (unsigned long long)g->positions[k].start,
           (unsigned long long)g->positions[k].end - 1);
      put_count(p, (int64_t)g->positions[k].tokens);
      put(p, "</td><td class=\"num\">");
      put_number(p, perplexity_value(g->positions[k].nats, g->positions[k].tokens), 2);
      put(p, "</td></tr>\n");
    }
  }
  put(p, "</tbody></table></div></details>\n");
}

void chart_positions(struct page *p, const struct report *r, size_t facet, size_t benchmark) {
  if (!chart_positions_has(r, facet, benchmark)) return;
  struct scale x = {0, 0, LEFT, WIDTH - RIGHT, true}, y = {0, 0, HEIGHT - FOOT, TOP, false};
  extent(r, facet, benchmark, &x, &y);
  char id[48];
  snprintf(id, sizeof id, "positions-%zu-%zu", facet, benchmark);
  put(p, "<figure class=\"wide\"><figcaption><b>");
  put_text(p, r->benchmarks[benchmark].name);
  putf(p, "</b> perplexity%s</figcaption>\n", y.log ? ", log scale" : "");
  put(p, "<div class=\"scroll\">");
  svg_begin(
      p, id, WIDTH, HEIGHT, "Perplexity by position",
      "One line a policy: exp of the mean surprisal of the tokens in a range of positions. The data table below holds "
      "the numbers.");
  draw_axes(p, &x, &y);
  for (size_t i = 0; i < r->n_policies; i++)
    if (group_at(r, facet, i, benchmark)->n_positions) draw_line(p, group_at(r, facet, i, benchmark), i, &x, &y);
  draw_labels(p, r, facet, benchmark, &x, &y);
  svg_end(p);
  put(p, "</div>");
  data_table(p, r, facet, benchmark);
  put(p, "</figure>\n");
}
