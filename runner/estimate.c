/* What a plan will cost: tokens from the datasets, seconds from a short probe of each engine and policy. */
#include "runner/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PROBE_BYTES 900 /* about 250 tokens: past the sinks, short enough that a plan prints at once */

struct probe {
  double token_seconds, choice_seconds;
};

static double seconds_since(int64_t start) {
  return (double)(clock_mono_ns() - start) * 1e-9;
}

static sluice_status collect_text(const struct dataset *data, struct buffer *out, bool *is_text,
                                  struct sluice_error *err) {
  struct dialogue d;
  sluice_status status = dataset_dialogue(data, 0, &d, err);
  if (status) return status;
  for (size_t i = 0; i < d.n_turns && out->len < PROBE_BYTES && !status; i++) {
    if (d.turns[i].task == TASK_TEXT) *is_text = true;
    if (d.turns[i].text) status = buffer_append_str(out, d.turns[i].text, err);
    if (!status) status = buffer_append_str(out, "\n", err);
  }
  dialogue_free(&d);
  if (out->len > PROBE_BYTES) { /* whole characters only */
    size_t bad;
    out->len = utf8_valid_prefix(out->ptr, PROBE_BYTES, &bad);
    out->ptr[out->len] = '\0';
  }
  return status;
}

static sluice_status time_talk(struct engine *e, const char *policy, struct slice text, bool is_text, struct probe *out,
                               struct sluice_error *err) {
  struct talk *t;
  sluice_status status = talk_open(e, policy, 1, &t, err);
  if (status) return status;
  int64_t start = clock_mono_ns();
  if (is_text) {
    double nats;
    size_t tokens;
    status = talk_perplexity(t, text, NULL, NULL, &nats, &tokens, err);
  } else {
    status = talk_feed(t, ROLE_USER, text, err);
  }
  if (!status && talk_tokens(t)) out->token_seconds = seconds_since(start) / (double)talk_tokens(t);
  if (!status && !is_text) {
    const struct slice choices[] = {slice_of(" yes"), slice_of(" no")};
    double logprob[2], first[2];
    int tokens[2];
    struct choice_scores scores = {.logprob = logprob, .first_logprob = first, .tokens = tokens};
    start = clock_mono_ns();
    status = talk_choose(t, slice_of(""), choices, 2, &scores, NULL, NULL, err);
    out->choice_seconds = seconds_since(start) * 2; /* most questions have four choices */
  }
  talk_close(t);
  return status;
}

/* NAN when the engine cannot be timed: an estimate is a convenience, and the run itself will say what is wrong. */
static void probe_cell(const struct plan *p, struct plan_cell *c, struct probe *out) {
  struct sluice_error err;
  struct buffer text;
  bool is_text = false;
  *out = (struct probe){NAN, NAN};
  buffer_init(&text, 1 << 24);
  sluice_status status = collect_text(p->datasets[c->dataset].data, &text, &is_text, &err);
  struct probe measured = {0};
  if (!status)
    status = time_talk(p->engines[c->engine].open[0], c->policy_full, (struct slice){text.ptr, text.len}, is_text,
                       &measured, &err);
  if (!status) *out = measured;
  if (status) log_line(LOG_DEBUG, "no estimate for %s: %s", c->label, err.message);
  buffer_free(&text);
}

/* Cells that differ only in seed or monitor cost the same. */
static const struct plan_cell *alike(const struct plan *p, size_t i) {
  const struct plan_cell *c = &p->cells[i];
  for (size_t k = 0; k < i; k++) {
    const struct plan_cell *o = &p->cells[k];
    if (o->engine == c->engine && o->benchmark == c->benchmark && !strcmp(o->policy, c->policy)) return o;
  }
  return NULL;
}

sluice_status plan_estimate(struct plan *p, bool probe, struct sluice_error *err) {
  (void)err;
  p->tokens = p->seconds = 0;
  for (size_t i = 0; i < p->n_cells; i++) {
    struct plan_cell *c = &p->cells[i];
    const struct plan_dataset *d = &p->datasets[c->dataset];
    double each = d->tokens[c->engine];
    p->tokens += each * (double)c->n_planned;
    const struct plan_cell *known = alike(p, i);
    c->seconds = NAN;
    if (known && known->n_planned) {
      c->seconds = known->seconds / (double)known->n_planned * (double)c->n_planned;
    } else if (probe && p->suite->engines[c->engine].local) {
      struct probe cost;
      probe_cell(p, c, &cost);
      c->seconds = (double)c->n_planned * (each * cost.token_seconds + d->scored * cost.choice_seconds) /
                   p->engines[c->engine].jobs;
    }
    p->seconds += c->seconds;
  }
  return SLUICE_OK;
}

/* ---- printing -----------------------------------------------------------------------------------------------------
 */

static void print_span(double seconds, char out[32]) {
  if (isnan(seconds))
    snprintf(out, 32, "unknown");
  else if (seconds < 100)
    snprintf(out, 32, "%.1f s", seconds);
  else if (seconds < 6000)
    snprintf(out, 32, "%.0f min", seconds / 60);
  else
    snprintf(out, 32, "%.1f h", seconds / 3600);
}

static void print_table(const struct plan *p, FILE *out) {
  char span[32], hash[2 * SHA256_BYTES + 1];
  size_t width = 20;
  for (size_t i = 0; i < p->n_cells; i++) width = strlen(p->cells[i].label) > width ? strlen(p->cells[i].label) : width;
  fprintf(out, "%-*s  %9s  %12s  %10s\n", (int)width, "cell", "dialogues", "tokens", "estimate");
  for (size_t i = 0; i < p->n_cells; i++) {
    const struct plan_cell *c = &p->cells[i];
    print_span(c->seconds, span);
    fprintf(out, "%-*s  %9lld  %12.0f  %10s\n", (int)width, c->label, (long long)c->n_planned,
            p->datasets[c->dataset].tokens[c->engine] * (double)c->n_planned, span);
  }
  print_span(p->seconds, span);
  hex_of(p->hash, SHA256_BYTES, hash);
  fprintf(out, "\n%s: %zu cells, %lld dialogues, about %.0f tokens, about %s (a probe of each cell, not a promise)\n",
          p->suite->name, p->n_cells, (long long)p->dialogues, p->tokens, span);
  fprintf(out, "plan %.16s%s\n", hash, p->limited ? " (limited: cannot become a baseline)" : "");
}

static sluice_status add_seconds(struct buffer *b, double seconds, struct sluice_error *err) {
  return isnan(seconds) ? buffer_append_str(b, "null", err) : buffer_printf(b, err, "%.1f", seconds);
}

static sluice_status print_json(const struct plan *p, FILE *out, struct sluice_error *err) {
  struct buffer b;
  char hash[2 * SHA256_BYTES + 1];
  buffer_init(&b, 0);
  hex_of(p->hash, SHA256_BYTES, hash);
  sluice_status status = buffer_append_str(&b, "{\"suite\":", err);
  if (!status) status = json_quote(&b, p->suite->name, strlen(p->suite->name), err);
  if (!status)
    status =
        buffer_printf(&b, err, ",\"plan\":\"%s\",\"dialogues\":%lld,\"tokens\":%.0f,\"limited\":%s,\"seconds\":", hash,
                      (long long)p->dialogues, p->tokens, p->limited ? "true" : "false");
  if (!status) status = add_seconds(&b, p->seconds, err);
  if (!status) status = buffer_append_str(&b, ",\"cells\":[", err);
  for (size_t i = 0; i < p->n_cells && !status; i++) {
    const struct plan_cell *c = &p->cells[i];
    status = buffer_append_str(&b, i ? ",{\"cell\":" : "{\"cell\":", err);
    if (!status) status = json_quote(&b, c->label, strlen(c->label), err);
    if (!status)
      status = buffer_printf(&b, err, ",\"dialogues\":%lld,\"tokens\":%.0f,\"seconds\":", (long long)c->n_planned,
                             p->datasets[c->dataset].tokens[c->engine] * (double)c->n_planned);
    if (!status) status = add_seconds(&b, c->seconds, err);
    if (!status) status = buffer_printf(&b, err, ",\"spec\":%s}", c->spec);
  }
  if (!status) status = buffer_append_str(&b, "]}\n", err);
  if (!status && fwrite(b.ptr, 1, b.len, out) != b.len) status = sluice_fail(err, SLUICE_IO, "cannot write the plan");
  buffer_free(&b);
  return status;
}

sluice_status plan_print(const struct plan *p, bool json, FILE *out, struct sluice_error *err) {
  if (json) return print_json(p, out, err);
  print_table(p, out);
  return fflush(out) ? sluice_fail(err, SLUICE_IO, "cannot write the plan") : SLUICE_OK;
}
