/* A comparison for people (verdict, flips, table, coverage) and for programs. */
#include "runner/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* At most `room` columns of text on one line: control characters and broken bytes shown as '.', cut at a character. */
static void one_line(const char *text, size_t room, char *out, size_t size) {
  size_t bad, len = strlen(text), n = 0, columns = 0;
  size_t good = utf8_valid_prefix(text, len, &bad);
  for (size_t i = 0; i < good && columns < room && n + 5 < size;) {
    uint32_t c;
    int step = utf8_decode(text + i, good - i, &c);
    if (step <= 0) break;
    bool hidden = c < 32 || (c >= 127 && c < 160) || (c >= 0x200b && c <= 0x200f) || (c >= 0x202a && c <= 0x202e) ||
                  (c >= 0x2066 && c <= 0x2069);
    if (hidden) {
      out[n++] = '.';
    } else {
      memcpy(out + n, text + i, (size_t)step);
      n += (size_t)step;
    }
    i += (size_t)step;
    columns++;
  }
  out[n] = '\0';
}

static void print_flips(const struct comparison *c, int64_t most, FILE *out) {
  size_t worse = 0, better = 0;
  for (size_t i = 0; i < c->n_rows; i++) worse += c->rows[i].worse, better += c->rows[i].better;
  fprintf(out, "flips: %zu worse, %zu better\n", worse, better);
  for (int pass = 0; pass < 2; pass++) { /* every worse one before any better one */
    int64_t shown = 0, all = (int64_t)(pass ? better : worse);
    for (size_t i = 0; i < c->n_rows; i++) {
      const struct compare_row *r = &c->rows[i];
      for (size_t k = 0; k < r->n_flips; k++) {
        char a[200], b[200];
        if ((r->flips[k].b > r->flips[k].a) != (pass == 1) || shown++ >= most) continue;
        one_line(r->flips[k].answer_a, 40, a, sizeof a);
        one_line(r->flips[k].answer_b, 40, b, sizeof b);
        fprintf(out, "  %s  %s turn %lld (%s, %s): \"%s\" -> \"%s\"\n", pass ? "better" : "worse ",
                r->flips[k].dialogue, (long long)r->flips[k].turn_no, r->metric, r->label_b, a, b);
      }
    }
    if (all > most)
      fprintf(out, "  ... and %lld more that are %s (--flips N shows more)\n", (long long)(all - most),
              pass ? "better" : "worse");
  }
}

static const char *verdict_of(const struct compare_row *r) {
  return r->incomparable ? "INCOMPARABLE" : gate_verdict_name(r->verdict);
}

static void print_row(const struct compare_row *r, int width, FILE *out) {
  fprintf(out, "%-*s  %-10s ", width, r->label_b, r->metric);
  if (r->incomparable) {
    fprintf(out, " %s\n", r->incomparable);
    return;
  }
  fprintf(out, "%7.3f %7.3f  %+7.3f  [%+.3f, %+.3f]  ", r->a, r->b, r->stat.delta.value, r->stat.delta.lo,
          r->stat.delta.hi);
  if (isnan(r->p_adjusted))
    fprintf(out, "     -  ");
  else
    fprintf(out, "%6.4f  ", r->p_adjusted);
  fprintf(out, "%5zu/%-4zu  %s", r->stat.delta.n, r->stat.delta.clusters, verdict_of(r));
  if (r->identical) fprintf(out, " (identical outputs)");
  if (!r->identical && r->verdict != GATE_REGRESSED && isfinite(r->stat.mde))
    fprintf(out, " (finds %.3f)", r->stat.mde);
  fputc('\n', out);
}

static void print_coverage(const struct comparison *c, FILE *out) {
  const char *last = "";
  for (size_t i = 0; i < c->n_rows; i++) {
    const struct compare_row *r = &c->rows[i];
    if ((r->finished_a < r->planned_a || r->finished_b < r->planned_b) && strcmp(r->label_b, last))
      fprintf(out, "coverage: %s: A %lld of %lld dialogues, B %lld of %lld\n", r->label_b, (long long)r->finished_a,
              (long long)r->planned_a, (long long)r->finished_b, (long long)r->planned_b);
    last = r->label_b;
    if (r->only_a || r->only_b)
      fprintf(out, "coverage: %s, %s: %zu turns are scored in A alone, %zu in B alone\n", r->label_b, r->metric,
              r->only_a, r->only_b);
  }
  if (c->unmatched_a) fprintf(out, "coverage: %zu cells of A have no partner in B\n", c->unmatched_a);
  if (c->unmatched_b) fprintf(out, "coverage: %zu cells of B have no partner in A\n", c->unmatched_b);
}

static void print_text(const struct comparison *c, int64_t most, FILE *out) {
  size_t regressed = 0;
  int width = 10;
  for (size_t i = 0; i < c->n_rows; i++) {
    regressed += !c->rows[i].incomparable && c->rows[i].verdict == GATE_REGRESSED;
    int len = (int)strlen(c->rows[i].label_b);
    if (len > width) width = len;
  }
  fprintf(out, "%s: %zu of %zu comparisons got worse (exit %d)\n\n", c->verdict, regressed, c->n_rows, c->exit_code);
  print_flips(c, most, out);
  fprintf(out, "\n%-*s  %-10s  %7s %7s  %7s  %.0f %% interval     p (Holm)  turns/dialogues  verdict\n", width,
          "cell (B)", "metric", "A", "B", "B - A", c->gate.confidence * 100);
  for (size_t i = 0; i < c->n_rows; i++) print_row(&c->rows[i], width, out);
  print_coverage(c, out);
  fprintf(out,
          "\nB - A is paired over the same turns, clustered by dialogue; for perplexity it is A - B in nats a token, "
          "so that more\n"
          "is better everywhere. PASS: the interval stays above -%.3g. REGRESSED: it stays below 0, the loss is at "
          "least %.3g\n"
          "and Holm's p is under %.3g. \"finds X\": the smallest true change that this many dialogues would show.\n",
          c->gate.margin, c->gate.min_effect, 1 - c->gate.confidence);
}

static sluice_status quoted(struct buffer *b, const char *key, const char *text, struct sluice_error *err) {
  sluice_status status = buffer_printf(b, err, "\"%s\":", key);
  return status ? status : text ? json_quote(b, text, strlen(text), err) : buffer_append_str(b, "null", err);
}

static sluice_status number(struct buffer *b, const char *key, double v, struct sluice_error *err) {
  return isfinite(v) ? buffer_printf(b, err, ",\"%s\":%.17g", key, v) : buffer_printf(b, err, ",\"%s\":null", key);
}

static sluice_status flip_json(struct buffer *b, const struct compare_flip *f, struct sluice_error *err) {
  sluice_status status = buffer_append_str(b, "{", err);
  if (!status) status = quoted(b, "dialogue", f->dialogue, err);
  if (!status)
    status = buffer_printf(b, err, ",\"turn\":%lld,\"a\":%.17g,\"b\":%.17g,", (long long)f->turn_no, f->a, f->b);
  if (!status) status = quoted(b, "answer_a", f->answer_a, err);
  if (!status) status = buffer_append_str(b, ",", err);
  if (!status) status = quoted(b, "answer_b", f->answer_b, err);
  return status ? status : buffer_append_str(b, "}", err);
}

static sluice_status row_json(struct buffer *b, const struct compare_row *r, int64_t most, struct sluice_error *err) {
  sluice_status status = buffer_append_str(b, "{", err);
  if (!status) status = quoted(b, "cell_a", r->label_a, err);
  if (!status) status = buffer_append_str(b, ",", err);
  if (!status) status = quoted(b, "cell_b", r->label_b, err);
  if (!status) status = buffer_append_str(b, ",", err);
  if (!status) status = quoted(b, "metric", r->metric, err);
  if (!status) status = buffer_append_str(b, ",", err);
  if (!status) status = quoted(b, "verdict", verdict_of(r), err);
  if (!status) status = buffer_append_str(b, ",", err);
  if (!status) status = quoted(b, "incomparable", r->incomparable, err);
  if (!status && !r->incomparable) {
    status =
        buffer_printf(b, err, ",\"identical\":%s,\"turns\":%zu,\"dialogues\":%zu,\"worse\":%zu,\"better\":%zu",
                      r->identical ? "true" : "false", r->stat.delta.n, r->stat.delta.clusters, r->worse, r->better);
    if (!status) status = number(b, "a", r->a, err);
    if (!status) status = number(b, "b", r->b, err);
    if (!status) status = number(b, "delta", r->stat.delta.value, err);
    if (!status) status = number(b, "lo", r->stat.delta.lo, err);
    if (!status) status = number(b, "hi", r->stat.delta.hi, err);
    if (!status) status = number(b, "p", r->stat.p, err);
    if (!status) status = number(b, "p_adjusted", r->p_adjusted, err);
    if (!status) status = number(b, "mde", r->stat.mde, err);
  }
  if (!status)
    status = buffer_printf(b, err, ",\"only_a\":%zu,\"only_b\":%zu,\"planned_b\":%lld,\"finished_b\":%lld,\"flips\":[",
                           r->only_a, r->only_b, (long long)r->planned_b, (long long)r->finished_b);
  for (size_t i = 0; i < r->n_flips && (int64_t)i < most && !status; i++) {
    if (i) status = buffer_append_str(b, ",", err);
    if (!status) status = flip_json(b, &r->flips[i], err);
  }
  return status ? status : buffer_append_str(b, "]}", err);
}

static sluice_status print_json(const struct comparison *c, int64_t most, FILE *out, struct sluice_error *err) {
  struct buffer b;
  buffer_init(&b, 0);
  sluice_status status =
      buffer_printf(&b, err, "{\"verdict\":\"%s\",\"exit_code\":%d,\"unmatched_a\":%zu,\"unmatched_b\":%zu,\"rows\":[",
                    c->verdict, c->exit_code, c->unmatched_a, c->unmatched_b);
  for (size_t i = 0; i < c->n_rows && !status; i++) {
    if (i) status = buffer_append_str(&b, ",", err);
    if (!status) status = row_json(&b, &c->rows[i], most, err);
  }
  if (!status) status = buffer_append_str(&b, "]}\n", err);
  if (!status) fwrite(b.ptr, 1, b.len, out);
  buffer_free(&b);
  return status;
}

sluice_status comparison_print(const struct comparison *c, bool json, int64_t max_flips, FILE *out,
                               struct sluice_error *err) {
  sluice_status status = SLUICE_OK;
  if (json)
    status = print_json(c, max_flips, out, err);
  else
    print_text(c, max_flips, out);
  if (!status && (fflush(out) || ferror(out))) status = sluice_fail(err, SLUICE_IO, "cannot write the comparison");
  return status;
}
