/* Score against the KV bytes that the policy held at its peak; the stepped line joins policies that no other one beats
 * on both. */
#include "reports/svg.h"

#include <math.h>

enum { WIDTH = 440, HEIGHT = 300, LEFT = 44, RIGHT = 128, TOP = 16, FOOT = 44 };

struct point {
  size_t policy;
  double bytes, score;
  double shift; /* units to the right of its true place, where several policies hold the same bytes */
  const struct estimate *e;
};

static size_t points_of(const struct report *r, size_t facet, size_t column, struct point *out) {
  size_t n = 0;
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    const struct report_group *g = group_at(r, facet, i, r->columns[column].benchmark);
    if (!s->present || isnan(s->estimate.value) || !g->kv.n || g->kv.max == 0) continue;
    out[n++] = (struct point){i, g->kv.mean, s->estimate.value, 0, &s->estimate};
  }
  return n;
}

bool chart_bytes_has(const struct report *r, size_t facet, size_t column) {
  struct point points[REPORT_MAX_AXIS];
  return r->columns[column].bounded && points_of(r, facet, column, points) > 1;
}

static void draw_axes(struct page *p, const struct scale *x, const struct scale *y) {
  double ticks[12];
  size_t n = scale_ticks(y, 5, ticks);
  for (size_t i = 0; i < n; i++) {
    svg_line(p, "grid", LEFT, scale_at(y, ticks[i]), WIDTH - RIGHT, scale_at(y, ticks[i]));
    svg_number(p, "tick", ANCHOR_END, LEFT - 7, scale_at(y, ticks[i]) + 4, 100 * ticks[i], 0, "");
  }
  n = scale_ticks(x, 5, ticks);
  for (size_t i = 0; i < n; i++) {
    double at = scale_at(x, ticks[i]);
    svg_line(p, "tickmark", at, HEIGHT - FOOT, at, HEIGHT - FOOT + 4);
    putf(p, "<text class=\"tick\" text-anchor=\"middle\" x=\"%.1f\" y=\"%d\">", at, HEIGHT - FOOT + 17);
    put_bytes(p, ticks[i]);
    put(p, "</text>\n");
  }
  svg_line(p, "axis", LEFT, HEIGHT - FOOT, WIDTH - RIGHT, HEIGHT - FOOT);
  svg_text(p, "tick", ANCHOR_MIDDLE, (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 8,
           "mean peak KV bytes a dialogue, log scale");
}

static void draw_front(struct page *p, const struct point *points, const unsigned char *keep, size_t n,
                       const struct scale *x, const struct scale *y) {
  size_t order[REPORT_MAX_AXIS], m = 0;
  for (size_t i = 0; i < n; i++) {
    if (!keep[i]) continue;
    size_t j = m++;
    for (; j > 0 && points[order[j - 1]].bytes > points[i].bytes; j--) order[j] = order[j - 1];
    order[j] = i;
  }
  if (m < 2) return;
  put(p, "<path class=\"front\" d=\"");
  for (size_t i = 0; i < m; i++) {
    double px = scale_at(x, points[order[i]].bytes), py = scale_at(y, points[order[i]].score);
    if (i == 0)
      putf(p, "M%.1f %.1f", px, py);
    else
      putf(p, "H%.1fV%.1f", px, py);
  }
  put(p, "\"/>\n");
}

/* Policies with one budget share one x and would hide each other's intervals: they stand side by side, 9 units apart,
 * around their true place. */
static void dodge(struct point *points, size_t n, const struct scale *x) {
  for (size_t i = 0; i < n; i++) {
    size_t before = 0, all = 0;
    for (size_t j = 0; j < n; j++) {
      if (fabs(scale_at(x, points[j].bytes) - scale_at(x, points[i].bytes)) > 6) continue;
      before += points[j].score < points[i].score || (points[j].score <= points[i].score && j < i);
      all++;
    }
    points[i].shift = 9 * ((double)before - ((double)all - 1) / 2);
  }
}

/* Labels stand in one column at the right, spread apart and tied to their points by a thin line: policies with one
 * budget share one x, and their names would cover each other. */
static void draw_points(struct page *p, const struct report *r, const struct point *points, size_t n,
                        const struct scale *x, const struct scale *y) {
  double at[REPORT_MAX_AXIS];
  for (size_t i = 0; i < n; i++) at[i] = scale_at(y, points[i].score);
  labels_spread(at, n, 15, TOP, HEIGHT - FOOT);
  for (size_t i = 0; i < n; i++) {
    double px = scale_at(x, points[i].bytes) + points[i].shift, py = scale_at(y, points[i].score);
    char class[16];
    snprintf(class, sizeof class, "w2 %s", policy_stroke(points[i].policy));
    svg_line(p, "leader", px + 7, py, WIDTH - RIGHT + 8, at[i]);
    svg_line(p, class, px, scale_at(y, points[i].e->lo), px, scale_at(y, points[i].e->hi));
    svg_marker(p, points[i].policy, px, py, 5, r->policies[points[i].policy].label);
    svg_text(p, "lab", ANCHOR_START, WIDTH - RIGHT + 12, at[i] + 4, r->policies[points[i].policy].label);
  }
}

static void data_table(struct page *p, const struct report *r, const struct point *points, const unsigned char *keep,
                       size_t n) {
  put(p, "<details class=\"data\"><summary>Data</summary><div class=\"scroll\"><table><thead><tr><th "
         "scope=\"col\">Policy</th>"
         "<th scope=\"col\">Mean peak</th><th scope=\"col\">Score %</th><th scope=\"col\">Interval</th>"
         "<th scope=\"col\">Unbeaten</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < n; i++) {
    put(p, "<tr><th scope=\"row\">");
    put_text(p, r->policies[points[i].policy].label);
    putf(p, "</th><td class=\"num\" data-v=\"%.0f\">", points[i].bytes);
    put_bytes(p, points[i].bytes);
    put(p, "</td><td class=\"num\">");
    put_percent(p, points[i].score, 1);
    put(p, "</td><td class=\"num\">");
    put_percent(p, points[i].e->lo, 1);
    put(p, "–");
    put_percent(p, points[i].e->hi, 1);
    putf(p, "</td><td>%s</td></tr>\n", keep[i] ? "yes" : "");
  }
  put(p, "</tbody></table></div></details>\n");
}

/* A policy that has a score and held no bytes has no place on a log axis: say so. */
static void note_undrawn(struct page *p, const struct report *r, size_t facet, size_t column) {
  bool any = false;
  for (size_t i = 0; i < r->n_policies; i++) {
    const struct report_score *s = score_at(r, facet, i, column);
    if (!s->present || isnan(s->estimate.value) || group_at(r, facet, i, r->columns[column].benchmark)->kv.max)
      continue;
    put(p, any ? ", " : "<p class=\"note\">Not drawn, since no bytes were recorded: ");
    put_text(p, r->policies[i].label);
    any = true;
  }
  if (any) put(p, ".</p>\n");
}

void chart_bytes(struct page *p, const struct report *r, size_t facet, size_t column) {
  struct point points[REPORT_MAX_AXIS];
  double bytes[REPORT_MAX_AXIS] = {0}, score[REPORT_MAX_AXIS] = {0}, least = INFINITY, most = 0;
  unsigned char keep[REPORT_MAX_AXIS];
  size_t n = points_of(r, facet, column, points);
  if (!chart_bytes_has(r, facet, column)) return;
  for (size_t i = 0; i < n; i++) {
    bytes[i] = points[i].bytes;
    score[i] = points[i].score;
    least = fmin(least, bytes[i]);
    most = fmax(most, bytes[i]);
  }
  pareto_front(bytes, score, n, keep);
  struct scale x = {least / 1.6, most * 1.35, LEFT, WIDTH - RIGHT, true}, y = {0, 1, HEIGHT - FOOT, TOP, false};
  dodge(points, n, &x);
  char id[48];
  snprintf(id, sizeof id, "bytes-%zu-%zu", facet, column);
  put(p, "<figure><figcaption><b>");
  put_text(p, r->benchmarks[r->columns[column].benchmark].name);
  put(p, "</b> ");
  put_text(p, r->columns[column].metric);
  put(p, " <small>%</small></figcaption>\n");
  svg_begin(p, id, WIDTH, HEIGHT, "Score against KV bytes",
            "Each policy's score with its interval against the mean of its peak KV bytes; the stepped line joins the "
            "policies "
            "that no other beats. The data table below holds the numbers.");
  draw_axes(p, &x, &y);
  draw_front(p, points, keep, n, &x, &y);
  draw_points(p, r, points, n, &x, &y);
  svg_end(p);
  note_undrawn(p, r, facet, column);
  data_table(p, r, points, keep, n);
  put(p, "</figure>\n");
}
