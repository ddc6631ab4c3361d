/* Markdown: the headline, the matrix, the differences that count, what the reference adds to trivial answers. */
#include "reports/formats.h"

#include <math.h>

static void cell_text(struct page *p, const char *text) {
  put_slice(p, MARKUP_MARKDOWN, slice_of(text));
}

static void head(struct page *p, const struct report *r) {
  put(p, "| policy |");
  for (size_t c = 0; c < r->n_columns; c++) {
    put(p, " ");
    cell_text(p, r->benchmarks[r->columns[c].benchmark].name);
    put(p, " ");
    cell_text(p, r->columns[c].metric);
    put(p, r->columns[c].perplexity ? " ↓ |" : r->columns[c].bounded ? " % |" : " |");
  }
  put(p, " KV peak |\n|---|");
  for (size_t c = 0; c < r->n_columns; c++) put(p, "---:|");
  put(p, "---:|\n");
}

static void value(struct page *p, const struct report_column *c, const struct report_score *s) {
  static const char *const marks[] = {" ●", " ▼", " ◇"};
  const struct estimate *e = &s->estimate;
  if (!s->present || isnan(e->value)) {
    put(p, s->present ? " unscored |" : " – |");
    return;
  }
  put(p, " ");
  if (c->perplexity)
    put_number(p, exp(e->value), 2);
  else if (c->bounded)
    put_percent(p, e->value, 1);
  else
    put_number(p, e->value, 3);
  if (c->bounded) put(p, " ("), put_percent(p, e->lo, 1), put(p, "–"), put_percent(p, e->hi, 1), put(p, ")");
  put(p, s->paired ? marks[s->verdict] : "");
  put(p, " |");
}

static void matrix(struct page *p, const struct report *r, size_t facet) {
  if (r->n_facets > 1) {
    put(p, "\n### ");
    cell_text(p, r->facets[facet].engine);
    put(p, ", monitor ");
    cell_text(p, r->facets[facet].monitor);
    put(p, "\n\n");
  }
  head(p, r);
  for (size_t i = 0; i < r->n_policies; i++) {
    uint64_t most = 0;
    put(p, "| ");
    cell_text(p, r->policies[i].label);
    put(p, (int)i == r->reference_policy ? " (reference) |" : " |");
    for (size_t c = 0; c < r->n_columns; c++) value(p, &r->columns[c], score_at(r, facet, i, c));
    for (size_t b = 0; b < r->n_benchmarks; b++)
      if (group_at(r, facet, i, b)->kv.max > most) most = group_at(r, facet, i, b)->kv.max;
    put(p, " ");
    put_bytes(p, most ? (double)most : NAN);
    put(p, " |\n");
  }
}

static void worse(struct page *p, const struct report *r) {
  if (!r->regressed) return;
  put(p, "\nWorse than the reference:\n\n| policy | metric | Δ | interval | p, Holm | n | detectable "
         "|\n|---|---|---:|---:|---:|---:"
         "|---:|\n");
  for (size_t f = 0; f < r->n_facets; f++)
    for (size_t i = 0; i < r->n_policies; i++)
      for (size_t c = 0; c < r->n_columns; c++) {
        const struct report_score *s = score_at(r, f, i, c);
        if (!s->paired || s->verdict != GATE_REGRESSED) continue;
        bool share = r->columns[c].bounded;
        put(p, "| ");
        cell_text(p, r->policies[i].label);
        put(p, " | ");
        cell_text(p, r->benchmarks[r->columns[c].benchmark].name);
        put(p, " ");
        cell_text(p, r->columns[c].metric);
        put(p, " | ");
        put_points(p, share ? s->pair.delta.value : s->pair.delta.value / 100, share ? 1 : 3);
        put(p, " | ");
        put_points(p, share ? s->pair.delta.lo : s->pair.delta.lo / 100, share ? 1 : 3);
        put(p, " to ");
        put_points(p, share ? s->pair.delta.hi : s->pair.delta.hi / 100, share ? 1 : 3);
        put(p, " | ");
        put_p_value(p, s->p_adjusted);
        putf(p, " | %zu in %zu | ", s->pair.delta.n, s->pair.delta.clusters);
        put_number(p, share ? 100 * s->pair.mde : s->pair.mde, share ? 1 : 3);
        put(p, " |\n");
      }
}

static void trivial_row(struct page *p, const struct report *r, const struct report_column *c,
                        const struct report_score *s, const struct report_trivial *t) {
  const struct estimate *e = &t->pair.delta;
  put(p, "| ");
  cell_text(p, r->benchmarks[c->benchmark].name);
  put(p, " ");
  cell_text(p, c->metric);
  put(p, " | ");
  put_percent(p, t->score, 1);
  put(p, " | ");
  put_percent(p, report_trivial_chance(s), 1);
  put(p, " | ");
  cell_text(p, t->name);
  put(p, " | ");
  put_percent(p, t->same, 1);
  put(p, " | ");
  put_points(p, e->value, 1);
  put(p, " | ");
  put_points(p, e->lo, 1);
  put(p, " to ");
  put_points(p, e->hi, 1);
  putf(p, " | %zu in %zu |\n", e->n, e->clusters);
}

/* What the reference's scores add to what needs no model, on the very same turns; the page has every policy's. Against
 * another run it is the shown run's first policy. */
static void beside_trivial(struct page *p, const struct report *r, size_t facet) {
  size_t policy = r->reference_policy >= 0 ? (size_t)r->reference_policy : 0;
  bool begun = false;
  for (size_t c = 0; r->n_policies && c < r->n_columns; c++) {
    const struct report_score *s = score_at(r, facet, policy, c);
    const struct report_trivial *shown[2];
    size_t n = report_trivial_shown(s, shown);
    if (n && !begun) {
      put(p, "\nAgainst trivial answers on the same turns, ");
      if (r->n_facets > 1) {
        cell_text(p, r->facets[facet].engine);
        put(p, ", monitor ");
        cell_text(p, r->facets[facet].monitor);
        put(p, ", ");
      }
      cell_text(p, r->policies[policy].label);
      put(p, ":\n\n| metric | score % | chance % | trivial answer | its score % | Δ points | interval | n |\n"
             "|---|---:|---:|---|---:|---:|---:|---:|\n");
      begun = true;
    }
    for (size_t k = 0; k < n; k++) trivial_row(p, r, &r->columns[c], s, shown[k]);
  }
}

sluice_status report_write_markdown(struct ledger *l, const struct report *r, struct buffer *out,
                                    struct sluice_error *err) {
  (void)l;
  struct page p = {out, SLUICE_OK, err};
  put(&p, "## ");
  cell_text(&p, r->suite);
  putf(&p, ": %s\n\n", r->verdict);
  cell_text(&p, r->claim);
  put(&p, " ");
  cell_text(&p, r->covered);
  put(&p, "\n\n");
  for (size_t f = 0; f < r->n_facets; f++) matrix(&p, r, f);
  put(&p, "\n● no more than ");
  put_percent(&p, r->options.margin, 1);
  put(&p, " points below the reference · ▼ worse · ◇ open · in brackets the ");
  put_percent(&p, r->options.confidence, 0);
  put(&p, " % interval.\n");
  worse(&p, r);
  for (size_t f = 0; f < r->n_facets; f++) beside_trivial(&p, r, f);
  put(&p, "\nRun ");
  cell_text(&p, r->run_id[RUN_SHOWN]);
  put(&p, ", started ");
  cell_text(&p, r->started);
  put(&p, ".\n");
  return p.status;
}
