/* Private to reports: inline SVG. Colours come from classes (f0..f7 fill, s0..s7 stroke by policy), so that both themes
 * and print share one drawing; the content security policy of the page forbids style attributes anyway. */
#ifndef SLUICE_REPORTS_SVG_H
#define SLUICE_REPORTS_SVG_H

#include "reports/model.h"
#include "reports/page.h"

struct scale { /* value -> coordinate */
  double low, high, from, to;
  bool log;
};
double scale_at(const struct scale *s, double value); /* clamped to the drawing */
/* Round tick values inside [low, high]; at most max of them (max <= 12). Log scales: powers of two or ten. */
size_t scale_ticks(const struct scale *s, size_t max, double *out);

/* Title and description are read by screen readers; id must be unique in the page. */
void svg_begin(struct page *p, const char *id, double width, double height, const char *title, const char *desc);
void svg_end(struct page *p);
void svg_line(struct page *p, const char *class, double x1, double y1, double x2, double y2);
void svg_rect(struct page *p, const char *class, double x, double y, double w, double h);
enum anchor { ANCHOR_START, ANCHOR_MIDDLE, ANCHOR_END };
void svg_text(struct page *p, const char *class, enum anchor a, double x, double y, const char *text);
/* Number as put_number writes it, with a suffix of our own. */
void svg_number(struct page *p, const char *class, enum anchor a, double x, double y, double value, int decimals,
                const char *suffix);
/* The shape that belongs to a policy, about 2 r wide; `hint` is its tooltip (NULL: none). */
void svg_marker(struct page *p, size_t policy, double x, double y, double r, const char *hint);
/* "s3" or "f3": class of a policy. */
const char *policy_stroke(size_t policy);
const char *policy_fill(size_t policy);

/* Moves labels apart: y holds wanted positions in any order, at least `gap` apart afterwards, inside [top, bottom] if
 * they fit. n <= REPORT_MAX_AXIS. */
void labels_spread(double *y, size_t n, double gap, double top, double bottom);

/* ---- charts: each draws one figure with its data table; nothing when there is nothing to draw
 * ------------------------- */
void chart_matrix(struct page *p, const struct report *r, size_t facet);
void chart_forest(struct page *p, const struct report *r, size_t facet, size_t column);
void chart_bytes(struct page *p, const struct report *r, size_t facet, size_t column);
void chart_positions(struct page *p, const struct report *r, size_t facet, size_t benchmark);
void chart_distance(struct page *p, const struct report *r, size_t facet, size_t column);
void chart_contest(struct page *p, const struct report *r, size_t facet, size_t column);
/* Is there anything to draw? */
bool chart_forest_has(const struct report *r, size_t facet, size_t column);
bool chart_bytes_has(const struct report *r, size_t facet, size_t column);
bool chart_positions_has(const struct report *r, size_t facet, size_t benchmark);
bool chart_distance_has(const struct report *r, size_t facet, size_t column);
bool chart_contest_has(const struct report *r, size_t facet, size_t column);

#endif
