/* Tables of the page: latency, coverage, errors, provenance. */
#include "reports/html.h"
#include "reports/svg.h"

#include <math.h>
#include <string.h>

static void cell_ms(struct page *p, double ms) {
  if (isnan(ms)) {
    put(p, "<td class=\"num\">–</td>");
    return;
  }
  putf(p, "<td class=\"num\" data-v=\"%.6f\">", ms);
  put_number(p, ms, ms < 10 ? 2 : ms < 100 ? 1 : 0);
  put(p, "</td>");
}

static void row_head(struct page *p, const struct report *r, size_t policy, size_t benchmark, bool next) {
  put(p, next ? "<tr class=\"next\"><th scope=\"row\">" : "<tr><th scope=\"row\">");
  put_text(p, r->policies[policy].label);
  put(p, "</th><td class=\"name\">");
  put_text(p, r->benchmarks[benchmark].name);
  put(p, "</td>");
}

static void cell_rate(struct page *p, double rate) {
  put(p, "<td class=\"num\">");
  put_number(p, rate, rate < 100 ? 1 : 0);
  put(p, "</td>");
}

/* Columns that nothing in this facet has a value for are left out. */
struct latency_columns {
  bool generated, turns;
};

static void latency_head(struct page *p, struct latency_columns has) {
  put(p, "<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th scope=\"col\">Policy</th><th "
         "scope=\"col\">Benchmark"
         "</th><th scope=\"col\" class=\"num\">KV peak</th><th scope=\"col\" class=\"num\">Tokens/s</th>");
  if (has.generated)
    put(p,
        "<th scope=\"col\" class=\"num\">Out/s</th><th scope=\"col\" class=\"num\">TTFT p50</th><th "
        "scope=\"col\" "
        "class=\"num\">p90</th><th scope=\"col\" class=\"num\">TPOT p50</th><th scope=\"col\" class=\"num\">p90</th>");
  if (has.turns)
    put(p, "<th scope=\"col\" class=\"num\">Turn p50</th><th scope=\"col\" class=\"num\">p90</th><th scope=\"col\" "
           "class=\"num\">p99</th><th scope=\"col\" class=\"num\">Turns</th>");
  put(p, "</tr></thead><tbody>\n");
}

static void latency_row(struct page *p, const struct report_group *g, struct latency_columns has) {
  const struct latency_summary *s = &g->latency;
  putf(p, "<td class=\"num\" data-v=\"%llu\">", (unsigned long long)g->kv.max);
  put_bytes(p, g->kv.n ? (double)g->kv.max : NAN);
  put(p, "</td>");
  cell_rate(p, g->tokens_per_second);
  if (has.generated) {
    cell_rate(p, s->ttft.n ? s->output_tokens_per_second : NAN);
    cell_ms(p, s->ttft.n ? s->ttft.p50 : NAN);
    cell_ms(p, s->ttft.n ? s->ttft.p90 : NAN);
    cell_ms(p, s->tpot.n ? s->tpot.p50 : NAN);
    cell_ms(p, s->tpot.n ? s->tpot.p90 : NAN);
  }
  if (has.turns) {
    cell_ms(p, s->e2e.n ? s->e2e.p50 : NAN);
    cell_ms(p, s->e2e.n ? s->e2e.p90 : NAN);
    cell_ms(p, s->e2e.n ? s->e2e.p99 : NAN);
    put(p, "<td class=\"num\">");
    put_count(p, (int64_t)s->e2e.n);
    put(p, "</td>");
  }
  put(p, "</tr>\n");
}

void html_latency(struct page *p, const struct report *r, size_t facet) {
  struct latency_columns has = {false, false};
  for (size_t i = 0; i < r->n_policies; i++)
    for (size_t b = 0; b < r->n_benchmarks; b++) {
      const struct report_group *g = group_at(r, facet, i, b);
      has.generated = has.generated || g->latency.ttft.n;
      has.turns = has.turns || g->latency.e2e.n;
    }
  latency_head(p, has);
  size_t last = 0; /* a line between benchmarks */
  for (size_t b = 0; b < r->n_benchmarks; b++)
    for (size_t i = 0; i < r->n_policies; i++) {
      if (!group_at(r, facet, i, b)->present) continue;
      row_head(p, r, i, b, b != last);
      last = b;
      latency_row(p, group_at(r, facet, i, b), has);
    }
  put(p, "</tbody></table></div>\n");
}

/* Done, failed (wrong), odd (truncated, refused, unscored), error: widths in order; the numbers stand beside it. */
static void cover_bar(struct page *p, const struct report_group *g) {
  const int64_t parts[] = {g->done, g->failed, g->truncated + g->refused + g->unscored, g->turn_errors};
  static const char *const classes[] = {"c-done", "c-failed", "c-odd", "c-err"};
  double from = 0, total = g->turns > 0 ? (double)g->turns : 1;
  put(p, "<svg class=\"cover\" viewBox=\"0 0 150 12\" aria-hidden=\"true\">");
  for (int k = 0; k < 4; k++) {
    double width = 150 * (double)parts[k] / total;
    if (parts[k]) svg_rect(p, classes[k], from, 1, fmax(1.5, width - 1), 10);
    from += width;
  }
  put(p, "</svg>");
}

static void count_cell(struct page *p, int64_t n, bool alarming) {
  putf(p, "<td class=\"num%s\">", !n ? " nil" : alarming ? " bad" : "");
  put_count(p, n);
  put(p, "</td>");
}

static bool is_whole(const struct report_group *g) {
  return !g->missing && !g->errors && !g->truncated && !g->refused && !g->unscored && !g->turn_errors;
}

static void coverage_row(struct page *p, const struct report *r, const struct report_group *g, size_t policy,
                         size_t benchmark) {
  row_head(p, r, policy, benchmark, false);
  count_cell(p, g->planned, false);
  count_cell(p, g->finished, false);
  count_cell(p, g->missing, true);
  count_cell(p, g->errors, true);
  putf(p, "<td data-v=\"%lld\">", (long long)g->turns);
  cover_bar(p, g);
  put(p, "</td>");
  count_cell(p, g->done, false);
  count_cell(p, g->failed, false);
  count_cell(p, g->truncated, true);
  count_cell(p, g->refused, true);
  count_cell(p, g->unscored, true);
  count_cell(p, g->turn_errors, true);
  put(p, "</tr>\n");
}

static void coverage_table(struct page *p, const struct report *r, size_t facet, bool whole) {
  put(p,
      "<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th scope=\"col\">Policy</th><th "
      "scope=\"col\">Benchmark"
      "</th><th scope=\"col\" class=\"num\">Planned</th><th scope=\"col\" class=\"num\">Finished</th><th scope=\"col\" "
      "class=\"num\">Missing</th><th scope=\"col\" class=\"num\">In error</th><th scope=\"col\">Scored turns</th>"
      "<th scope=\"col\" class=\"num\">Done</th><th scope=\"col\" class=\"num\">Failed</th><th scope=\"col\" "
      "class=\"num\">"
      "Truncated</th><th scope=\"col\" class=\"num\">Refused</th><th scope=\"col\" class=\"num\">Unscored</th>"
      "<th scope=\"col\" class=\"num\">Error</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < r->n_policies; i++)
    for (size_t b = 0; b < r->n_benchmarks; b++) {
      const struct report_group *g = group_at(r, facet, i, b);
      if (g->present && is_whole(g) == whole) coverage_row(p, r, g, i, b);
    }
  put(p, "</tbody></table></div>\n");
}

/* What is not whole stands in the open; the rest is one line that unfolds. */
void html_coverage(struct page *p, const struct report *r, size_t facet) {
  size_t whole = 0, all = 0;
  for (size_t i = 0; i < r->n_policies; i++)
    for (size_t b = 0; b < r->n_benchmarks; b++) {
      const struct report_group *g = group_at(r, facet, i, b);
      all += g->present;
      whole += g->present && is_whole(g);
    }
  if (whole < all) coverage_table(p, r, facet, false);
  if (whole) {
    putf(
        p,
        "<details class=\"data\"><summary>%zu of %zu are whole: every dialogue finished, every turn scored</summary>\n",
        whole, all);
    coverage_table(p, r, facet, true);
    put(p, "</details>\n");
  }
}

void html_errors(struct page *p, const struct report *r) {
  if (!r->n_errors) {
    put(p, "<p>No dialogue ended in an error.</p>\n");
    return;
  }
  put(p, "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Class</th><th scope=\"col\" "
         "class=\"num\">Dialogues</th>"
         "<th scope=\"col\">First dialogue</th><th scope=\"col\">Its message</th></tr></thead><tbody>\n");
  for (size_t i = 0; i < r->n_errors; i++) {
    put(p, "<tr><th scope=\"row\">");
    put_text(p, r->errors[i].error_class);
    put(p, "</th><td class=\"num\">");
    put_count(p, r->errors[i].n);
    put(p, "</td><td class=\"mono\">");
    put_text(p, r->errors[i].first);
    put(p, "</td><td>");
    put_clipped(p, MARKUP_HTML, slice_of(r->errors[i].example), 400);
    put(p, "</td></tr>\n");
  }
  put(p, "</tbody></table></div>\n");
}

void html_facts(struct page *p, const struct report *r) {
  put(p, "<div class=\"scroll\"><table class=\"facts\"><tbody>\n");
  const char *last = "";
  for (size_t i = 0; i < r->n_facts; i++) {
    const struct report_fact *f = &r->facts[i];
    put(p, "<tr><th scope=\"row\">");
    if (strcmp(f->group, last) != 0) put_text(p, f->group);
    last = f->group;
    put(p, "</th><td>");
    put_text(p, f->name);
    put(p, "</td><td class=\"mono\">");
    put_clipped(p, MARKUP_HTML, slice_of(f->value), 600);
    put(p, "</td></tr>\n");
  }
  put(p, "</tbody></table></div>\n");
}
