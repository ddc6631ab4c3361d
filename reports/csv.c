/* CSV (RFC 4180): one line a score. Numbers are plain: a point for decimals, nothing for unknown. */
#include "reports/formats.h"

#include <math.h>
#include <string.h>

static void text(struct page *p, const char *value) {
  put_slice(p, MARKUP_CSV, slice_of(value));
  put(p, ",");
}

static void number(struct page *p, double value) {
  if (isfinite(value)) putf(p, "%.6g", value);
  put(p, ",");
}

/* The best trivial answer and `counting` on the very same turns. */
static void trivial(struct page *p, const struct report_score *s) {
  const struct report_trivial *best = s->best_trivial >= 0 ? &s->trivial[s->best_trivial] : NULL, *counting = NULL;
  for (size_t i = 0; i < s->n_trivial; i++)
    if (!strcmp(s->trivial[i].name, "counting")) counting = &s->trivial[i];
  const struct report_trivial *const sides[] = {best, counting};
  number(p, report_trivial_chance(s));
  for (int i = 0; i < 2; i++) {
    const struct report_trivial *t = sides[i] && sides[i]->paired ? sides[i] : NULL;
    number(p, t ? t->pair.delta.value : NAN);
    number(p, t ? t->pair.delta.lo : NAN);
    number(p, t ? t->pair.delta.hi : NAN);
    if (t) putf(p, "%zu", t->pair.delta.n);
    put(p, i ? "\r\n" : ",");
  }
}

static void line(struct page *p, const struct report *r, size_t facet, size_t policy, size_t column) {
  const struct report_score *s = score_at(r, facet, policy, column);
  const struct report_column *c = &r->columns[column];
  const struct report_group *g = group_at(r, facet, policy, c->benchmark);
  const struct report_trivial *best = s->best_trivial >= 0 ? &s->trivial[s->best_trivial] : NULL;
  text(p, r->facets[facet].engine);
  text(p, r->facets[facet].monitor);
  text(p, r->policies[policy].name);
  text(p, g->policy_full ? g->policy_full : "");
  text(p, r->benchmarks[c->benchmark].name);
  text(p, c->metric);
  text(p, c->judge ? c->scorer : "");
  number(p, s->estimate.value);
  number(p, s->estimate.lo);
  number(p, s->estimate.hi);
  number(p, c->perplexity ? exp(s->estimate.value) : NAN);
  putf(p, "%zu,%zu,%zu,", s->estimate.n, s->estimate.clusters, s->unscored);
  number(p, s->paired ? s->pair.delta.value : NAN);
  number(p, s->paired ? s->pair.delta.lo : NAN);
  number(p, s->paired ? s->pair.delta.hi : NAN);
  number(p, s->paired ? s->pair.p : NAN);
  number(p, s->p_adjusted);
  number(p, s->paired ? s->pair.mde : NAN);
  text(p, s->paired ? gate_verdict_name(s->verdict) : "");
  number(p, best ? best->value : NAN);
  text(p, best ? best->name : "");
  number(p, g->kv.n ? g->kv.mean : NAN);
  number(p, g->kv.n ? (double)g->kv.max : NAN);
  number(p, g->tokens_per_second);
  putf(p, "%lld,%lld,%lld,%lld,", (long long)g->planned, (long long)g->finished, (long long)g->errors,
       (long long)g->missing);
  trivial(p, s);
}

sluice_status report_write_csv(struct ledger *l, const struct report *r, struct buffer *out, struct sluice_error *err) {
  (void)l;
  struct page p = {out, SLUICE_OK, err};
  put(&p,
      "engine,monitor,policy,policy_full,benchmark,metric,judge,value,low,high,perplexity,n,dialogues,unscored,delta,"
      "delta_low,delta_high,p,p_holm,detectable,verdict,best_trivial,best_trivial_name,kv_mean,kv_peak,tokens_per_"
      "second,"
      "planned,finished,errors,missing,chance,over_best_trivial,over_best_low,over_best_high,over_best_n,"
      "over_counting,over_counting_low,over_counting_high,over_counting_n\r\n");
  for (size_t f = 0; f < r->n_facets; f++)
    for (size_t i = 0; i < r->n_policies; i++)
      for (size_t c = 0; c < r->n_columns; c++)
        if (score_at(r, f, i, c)->present) line(&p, r, f, i, c);
  return p.status;
}
