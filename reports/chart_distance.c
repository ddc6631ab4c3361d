/* Accuracy by distance to the evidence: a small panel a policy, its interval as a band, the reference's line behind it
 * in grey. */
#include "reports/svg.h"

#include <limits.h>
#include <math.h>

enum { WIDTH = 216, HEIGHT = 150, LEFT = 30, RIGHT = 8, TOP = 24, FOOT = 26 };

bool chart_distance_has(const struct report *r, size_t facet, size_t column) {
  for (size_t i = 0; i < r->n_policies; i++)
    if (score_at(r, facet, i, column)->n_distances > 1) return true;
  return false;
}

struct panel {
  int first, last; /* buckets */
  struct scale x, y;
};

static double place(const struct panel *at, const struct report_bucket *b) {
  return scale_at(&at->x, distance_bucket(b->high));
}

static void draw_band(struct page *p, const struct panel *at, const struct report_score *s, size_t policy) {
  putf(p, "<path class=\"bandfill %s\" d=\"", policy_fill(policy));
  for (size_t k = 0; k < s->n_distances; k++)
    putf(p, "%c%.1f %.1f", k ? 'L' : 'M', place(at, &s->distances[k]), scale_at(&at->y, s->distances[k].estimate.hi));
  for (size_t k = s->n_distances; k-- > 0;)
    putf(p, "L%.1f %.1f", place(at, &s->distances[k]), scale_at(&at->y, s->distances[k].estimate.lo));
  put(p, "Z\"/>\n");
}

static void draw_curve(struct page *p, const struct panel *at, const struct report_score *s, const char *class) {
  if (!s->n_distances) return;
  putf(p, "<path class=\"%s\" d=\"", class);
  for (size_t k = 0; k < s->n_distances; k++)
    putf(p, "%c%.1f %.1f", k ? 'L' : 'M', place(at, &s->distances[k]),
         scale_at(&at->y, s->distances[k].estimate.value));
  put(p, "\"/>\n");
}

static void draw_frame(struct page *p, const struct panel *at) {
  for (int i = 0; i <= 2; i++) {
    double y = scale_at(&at->y, i / 2.0);
    svg_line(p, i ? "grid" : "axis", LEFT, y, WIDTH - RIGHT, y);
    svg_number(p, "tick", ANCHOR_END, LEFT - 6, y + 4, 50 * i, 0, "");
  }
  for (int b = at->first; b <= at->last; b++) {
    int low, high;
    distance_range(b, &low, &high);
    bool end = b == at->first || b == at->last || (at->last - at->first < 6) || (b - at->first) % 2 == 0;
    if (!end) continue;
    svg_number(p, "tick", ANCHOR_MIDDLE, scale_at(&at->x, b), HEIGHT - 9, high == INT_MAX ? low : high, 0, "");
  }
}

static void draw_panel(struct page *p, const struct report *r, size_t facet, size_t column, size_t policy,
                       const struct panel *at) {
  const struct report_score *s = score_at(r, facet, policy, column);
  char id[64], class[32];
  snprintf(id, sizeof id, "distance-%zu-%zu-%zu", facet, column, policy);
  svg_begin(p, id, WIDTH, HEIGHT, r->policies[policy].label,
            "Accuracy by distance to the evidence; the band is the interval, the grey line the reference.");
  svg_text(p, "lab strong", ANCHOR_START, LEFT, 13, r->policies[policy].label);
  draw_frame(p, at);
  if (r->reference_policy >= 0 && (size_t)r->reference_policy != policy)
    draw_curve(p, at, score_at(r, facet, (size_t)r->reference_policy, column), "ghost");
  draw_band(p, at, s, policy);
  snprintf(class, sizeof class, "curve %s", policy_stroke(policy));
  draw_curve(p, at, s, class);
  for (size_t k = 0; k < s->n_distances; k++)
    svg_marker(p, policy, place(at, &s->distances[k]), scale_at(&at->y, s->distances[k].estimate.value), 3, NULL);
  svg_end(p);
}

static void data_table(struct page *p, const struct report *r, size_t facet, size_t column) {
  put(p, "<details class=\"data\"><summary>Data</summary><div class=\"scroll\"><table><thead><tr><th "
         "scope=\"col\">Policy</th>"
         "<th scope=\"col\">Distance</th><th scope=\"col\">Score %</th><th scope=\"col\">Interval</th><th "
         "scope=\"col\">n</th>"
         "</tr></thead><tbody>\n");
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    for (size_t k = 0; k < s->n_distances; k++) {
      const struct report_bucket *b = &s->distances[k];
      put(p, "<tr><th scope=\"row\">");
      put_text(p, r->policies[i].label);
      if (b->high == INT_MAX)
        putf(p, "</th><td class=\"num\">%d or more</td><td class=\"num\">", b->low);
      else
        putf(p, "</th><td class=\"num\">%d–%d</td><td class=\"num\">", b->low, b->high);
      put_percent(p, b->estimate.value, 1);
      put(p, "</td><td class=\"num\">");
      put_percent(p, b->estimate.lo, 1);
      put(p, "–");
      put_percent(p, b->estimate.hi, 1);
      putf(p, "</td><td class=\"num\">%zu in %zu</td></tr>\n", b->estimate.n, b->estimate.clusters);
    }
  }
  put(p, "</tbody></table></div></details>\n");
}

void chart_distance(struct page *p, const struct report *r, size_t facet, size_t column) {
  if (!chart_distance_has(r, facet, column)) return;
  struct panel at = {.first = DISTANCE_BUCKETS, .y = {0, 1, HEIGHT - FOOT, TOP, false}};
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    for (size_t k = 0; k < s->n_distances; k++) {
      int bucket = distance_bucket(s->distances[k].high);
      if (bucket < at.first) at.first = bucket;
      if (bucket > at.last) at.last = bucket;
    }
  }
  at.x = (struct scale){at.first, at.last, LEFT + 8, WIDTH - RIGHT - 8, false};
  put(p, "<figure class=\"wide\"><figcaption><b>");
  put_text(p, r->benchmarks[r->columns[column].benchmark].name);
  put(p, "</b> ");
  put_text(p, r->columns[column].metric);
  put(p, " <small>% by distance back to the evidence, in the benchmark's unit</small></figcaption>\n<div "
         "class=\"minis\">");
  for (size_t i = 0; i < r->n_policies; i++)
    if (score_at(r, facet, i, column)->n_distances) draw_panel(p, r, facet, column, i, &at);
  put(p, "</div>");
  data_table(p, r, facet, column);
  put(p, "</figure>\n");
}
