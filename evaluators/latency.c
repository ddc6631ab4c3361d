/* Latency from raw stamps. The formulas stand in evaluators.h and in the report; TPOT is vLLM's ((E2E - TTFT) / (n -
 * 1)), percentiles are type 7 (numpy's "linear"), and a percentile that too few values cannot carry is not shown. */
#include "evaluators/evaluators.h"

#include <math.h>
#include <stdlib.h>

static int double_order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

static void quantiles(double *values, size_t n, struct latency_quantiles *out) {
  *out = (struct latency_quantiles){n, NAN, NAN, NAN, NAN, NAN};
  if (n == 0) return;
  qsort(values, n, sizeof *values, double_order);
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += values[i];
  out->mean = sum / (double)n;
  out->max = values[n - 1];
  out->p50 = percentile7(values, n, 0.5);
  if (n >= 10) out->p90 = percentile7(values, n, 0.9);
  if (n >= 100) out->p99 = percentile7(values, n, 0.99);
}

static bool usable(const struct latency_sample *s) {
  bool first = s->first_token_ns <= 0 || (s->first_token_ns >= s->started_ns && s->first_token_ns <= s->ended_ns);
  return s->ended_ns >= s->started_ns && first && s->output_tokens >= 0 && s->prompt_tokens >= 0;
}

sluice_status latency_summarise(const struct latency_sample *samples, size_t n, struct latency_summary *out,
                                struct sluice_error *err) {
  *out = (struct latency_summary){.output_tokens_per_second = NAN, .prompt_tokens_per_second = NAN};
  double *scratch = calloc(n ? 3 * n : 1, sizeof *scratch);
  if (!scratch) return sluice_fail(err, SLUICE_NOMEM, "latency: no memory for %zu samples", n);
  double *ttft = scratch, *tpot = scratch + n, *e2e = scratch + 2 * n;
  size_t n_ttft = 0, n_tpot = 0, n_e2e = 0;
  double out_tokens = 0, out_seconds = 0, in_tokens = 0, in_seconds = 0;
  for (size_t i = 0; i < n; i++) {
    const struct latency_sample *s = &samples[i];
    if (!usable(s)) {
      out->ignored++;
      continue;
    }
    double whole = (double)(s->ended_ns - s->started_ns) * 1e-6;
    e2e[n_e2e++] = whole;
    if (s->first_token_ns <= 0) continue;
    double first = (double)(s->first_token_ns - s->started_ns) * 1e-6;
    ttft[n_ttft++] = first;
    if (s->output_tokens > 1) tpot[n_tpot++] = (whole - first) / (double)(s->output_tokens - 1);
    out_tokens += (double)s->output_tokens;
    out_seconds += whole * 1e-3;
    in_tokens += (double)s->prompt_tokens;
    in_seconds += first * 1e-3;
  }
  quantiles(ttft, n_ttft, &out->ttft);
  quantiles(tpot, n_tpot, &out->tpot);
  quantiles(e2e, n_e2e, &out->e2e);
  if (out_seconds > 0 && out_tokens > 0) out->output_tokens_per_second = out_tokens / out_seconds;
  if (in_seconds > 0 && in_tokens > 0) out->prompt_tokens_per_second = in_tokens / in_seconds;
  free(scratch);
  return SLUICE_OK;
}
