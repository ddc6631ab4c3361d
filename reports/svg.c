/* SVG primitives: scales, ticks, marks. */
#include "reports/svg.h"

#include <math.h>
#include <stdlib.h>

double scale_at(const struct scale *s, double value) {
  double low = s->low, high = s->high;
  if (s->log) low = log(low), high = log(high), value = log(value);
  double t = high > low ? (value - low) / (high - low) : 0.5;
  if (isnan(t)) t = 0;
  return s->from + (s->to - s->from) * fmin(1, fmax(0, t));
}

static size_t log_ticks(const struct scale *s, size_t max, double *out) {
  double octaves = log2(s->high / s->low), step = 2;
  while (octaves / log2(step) > (double)max) step *= 2;
  size_t n = 0;
  for (double v = pow(step, ceil(log(s->low) / log(step) - 1e-9)); v <= s->high * (1 + 1e-9) && n < max; v *= step)
    out[n++] = v;
  return n;
}

size_t scale_ticks(const struct scale *s, size_t max, double *out) {
  if (!(s->high > s->low) || max < 2) return 0;
  if (s->log) return log_ticks(s, max, out);
  double raw = (s->high - s->low) / (double)max, power = pow(10, floor(log10(raw))), step = 10 * power;
  static const double nice[] = {1, 2, 2.5, 5};
  for (int i = 3; i >= 0; i--)
    if (nice[i] * power >= raw) step = nice[i] * power;
  size_t n = 0;
  for (double k = ceil(s->low / step - 1e-9); k * step <= s->high + 1e-9 * step && n < max + 1; k++)
    out[n++] = k * step;
  return n;
}

void svg_begin(struct page *p, const char *id, double width, double height, const char *title, const char *desc) {
  putf(p, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-labelledby=\"%s-t %s-d\"><title id=\"%s-t\">", width,
       height, id, id, id);
  put_plain(p, title);
  putf(p, "</title><desc id=\"%s-d\">", id);
  put_plain(p, desc);
  put(p, "</desc>\n");
}

void svg_end(struct page *p) {
  put(p, "</svg>\n");
}

void svg_line(struct page *p, const char *class, double x1, double y1, double x2, double y2) {
  putf(p, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>\n", class, x1, y1, x2, y2);
}

void svg_rect(struct page *p, const char *class, double x, double y, double w, double h) {
  putf(p, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>\n", class, x, y, fmax(0, w),
       fmax(0, h));
}

static void text_begin(struct page *p, const char *class, enum anchor a, double x, double y) {
  static const char *const words[] = {"", " text-anchor=\"middle\"", " text-anchor=\"end\""};
  putf(p, "<text class=\"%s\"%s x=\"%.1f\" y=\"%.1f\">", class, words[a], x, y);
}

void svg_text(struct page *p, const char *class, enum anchor a, double x, double y, const char *text) {
  text_begin(p, class, a, x, y);
  put_plain(p, text);
  put(p, "</text>\n");
}

void svg_number(struct page *p, const char *class, enum anchor a, double x, double y, double value, int decimals,
                const char *suffix) {
  text_begin(p, class, a, x, y);
  put_number(p, value, decimals);
  put(p, suffix);
  put(p, "</text>\n");
}

const char *policy_stroke(size_t policy) {
  static const char *const names[] = {"s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7"};
  return names[policy % 8];
}

const char *policy_fill(size_t policy) {
  static const char *const names[] = {"f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7"};
  return names[policy % 8];
}

void svg_marker(struct page *p, size_t policy, double x, double y, double r, const char *hint) {
  const char *f = policy_fill(policy);
  putf(p, "<g class=\"mk\">");
  switch (policy % 8) {
  case 0:
    putf(p, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", f, x, y, r);
    break;
  case 1:
    putf(p, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", f, x - r * .88, y - r * .88,
         r * 1.76, r * 1.76);
    break;
  case 2:
    putf(p, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1fH%.1fZ\"/>", f, x, y - r * 1.15, x + r * 1.1, y + r * .85,
         x - r * 1.1);
    break;
  case 3:
    putf(p, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1fL%.1f %.1fL%.1f %.1fZ\"/>", f, x, y - r * 1.25, x + r * 1.25, y,
         x, y + r * 1.25, x - r * 1.25, y);
    break;
  case 4:
    putf(p, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1fH%.1fZ\"/>", f, x, y + r * 1.15, x + r * 1.1, y - r * .85,
         x - r * 1.1);
    break;
  case 5:
    putf(p, "<path class=\"%s w2\" d=\"M%.1f %.1fV%.1fM%.1f %.1fH%.1f\"/>", policy_stroke(policy), x, y - r * 1.1,
         y + r * 1.1, x - r * 1.1, y, x + r * 1.1);
    break;
  case 6:
    putf(p, "<path class=\"%s w2\" d=\"M%.1f %.1fL%.1f %.1fM%.1f %.1fL%.1f %.1f\"/>", policy_stroke(policy), x - r * .9,
         y - r * .9, x + r * .9, y + r * .9, x - r * .9, y + r * .9, x + r * .9, y - r * .9);
    break;
  default:
    putf(p, "<circle class=\"%s hollow\" cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", policy_stroke(policy), x, y, r * .9);
  }
  if (hint) {
    put(p, "<title>");
    put_plain(p, hint);
    put(p, "</title>");
  }
  put(p, "</g>\n");
}

void labels_spread(double *y, size_t n, double gap, double top, double bottom) {
  size_t order[REPORT_MAX_AXIS];
  if (n == 0 || n > REPORT_MAX_AXIS) return;
  for (size_t i = 0; i < n; i++) { /* insertion sort: n is the number of policies */
    size_t j = i;
    for (; j > 0 && y[order[j - 1]] > y[i]; j--) order[j] = order[j - 1];
    order[j] = i;
  }
  for (size_t i = 0; i < n; i++) {
    double least = i ? y[order[i - 1]] + gap : top;
    if (y[order[i]] < least) y[order[i]] = least;
  }
  for (size_t i = n; i-- > 0;) {
    double most = i + 1 < n ? y[order[i + 1]] - gap : bottom;
    if (y[order[i]] > most) y[order[i]] = most;
  }
}
