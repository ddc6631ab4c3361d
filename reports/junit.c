/* JUnit: one test case a comparison. A regression is a failure, dialogues in error an error, what stays open is skipped
 * with its numbers. Without a named reference the comparison of policies inside one run describes: nothing fails. */
#include "reports/formats.h"

#include <math.h>

struct counts {
  size_t tests, failures, errors, skipped;
};

enum result { RESULT_PASS, RESULT_FAILURE, RESULT_ERROR, RESULT_SKIPPED };

static enum result result_of(const struct report *r, const struct report_score *s, const struct report_group *g) {
  if (g->errors || g->missing) return RESULT_ERROR;
  if (!s->paired) return RESULT_SKIPPED;
  if (!r->explicit_reference || s->verdict == GATE_PASS) return RESULT_PASS;
  return s->verdict == GATE_REGRESSED ? RESULT_FAILURE : RESULT_SKIPPED;
}

static bool is_case(const struct report *r, size_t facet, size_t policy, size_t column) {
  bool reference = r->reference_policy >= 0 && (size_t)r->reference_policy == policy;
  return score_at(r, facet, policy, column)->present && !reference;
}

static struct counts count(const struct report *r, size_t facet) {
  struct counts n = {0};
  for (size_t i = 0; i < r->n_policies; i++)
    for (size_t c = 0; c < r->n_columns; c++) {
      if (!is_case(r, facet, i, c)) continue;
      enum result result = result_of(r, score_at(r, facet, i, c), group_at(r, facet, i, r->columns[c].benchmark));
      n.tests++;
      n.failures += result == RESULT_FAILURE;
      n.errors += result == RESULT_ERROR;
      n.skipped += result == RESULT_SKIPPED;
    }
  return n;
}

static void put_numbers(struct page *p, const struct report_score *s) {
  if (!s->paired) {
    put(p, "no partner in the reference");
    return;
  }
  putf(p, "delta %.4f, interval %.4f to %.4f, p (Holm) %.4f, n %zu in %zu dialogues, detectable %.4f, %s",
       s->pair.delta.value, s->pair.delta.lo, s->pair.delta.hi, s->p_adjusted, s->pair.delta.n, s->pair.delta.clusters,
       s->pair.mde, gate_verdict_name(s->verdict));
}

static void put_case(struct page *p, const struct report *r, size_t facet, size_t policy, size_t column) {
  const struct report_column *c = &r->columns[column];
  const struct report_score *s = score_at(r, facet, policy, column);
  const struct report_group *g = group_at(r, facet, policy, c->benchmark);
  put(p, "    <testcase classname=\"");
  put_plain(p, r->benchmarks[c->benchmark].name);
  put(p, ".");
  put_plain(p, c->metric);
  put(p, "\" name=\"");
  put_plain(p, r->policies[policy].name);
  put(p, "\">");
  switch (result_of(r, s, g)) {
  case RESULT_FAILURE:
    put(p, "<failure type=\"REGRESSED\" message=\"");
    put_numbers(p, s);
    put(p, "\"/>");
    break;
  case RESULT_ERROR:
    putf(p, "<error type=\"INCOMPLETE\" message=\"%lld dialogues in error, %lld missing of %lld\"/>",
         (long long)g->errors, (long long)g->missing, (long long)g->planned);
    break;
  case RESULT_SKIPPED:
    put(p, "<skipped message=\"");
    put_numbers(p, s);
    put(p, "\"/>");
    break;
  case RESULT_PASS:
    break;
  }
  put(p, "<system-out>");
  put_numbers(p, s);
  put(p, "</system-out></testcase>\n");
}

sluice_status report_write_junit(struct ledger *l, const struct report *r, struct buffer *out,
                                 struct sluice_error *err) {
  (void)l;
  struct page p = {out, SLUICE_OK, err};
  put(&p, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"");
  put_plain(&p, r->suite);
  put(&p, "\">\n");
  for (size_t f = 0; f < r->n_facets; f++) {
    struct counts n = count(r, f);
    put(&p, "  <testsuite name=\"");
    put_plain(&p, r->facets[f].engine);
    put(&p, " / ");
    put_plain(&p, r->facets[f].monitor);
    putf(&p, "\" tests=\"%zu\" failures=\"%zu\" errors=\"%zu\" skipped=\"%zu\">\n", n.tests, n.failures, n.errors,
         n.skipped);
    for (size_t i = 0; i < r->n_policies; i++)
      for (size_t c = 0; c < r->n_columns; c++)
        if (is_case(r, f, i, c)) put_case(&p, r, f, i, c);
    put(&p, "  </testsuite>\n");
  }
  put(&p, "</testsuites>\n");
  return p.status;
}
