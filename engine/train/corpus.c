/* A training corpus: JSON lines {"text": ..., "answers": [[start,end],...]}, mapped, addressed by line number. */
#include "engine/train/train.h"

#include <stdlib.h>
#include <string.h>

struct corpus {
  char *path;
  const unsigned char *bytes;
  size_t size;
  size_t *starts; /* n_lines + 1 offsets */
  size_t n_lines;
};

sluice_status corpus_open(const char *path, struct corpus **out, struct sluice_error *err) {
  struct corpus *c = calloc(1, sizeof *c);
  if (!c || !(c->path = sluice_strdup(path))) {
    corpus_close(c);
    return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  }
  sluice_status st = file_map(path, &c->bytes, &c->size, err);
  if (st) {
    corpus_close(c);
    return st;
  }
  size_t lines = 0;
  for (size_t i = 0; i < c->size; i++) lines += c->bytes[i] == '\n';
  c->starts = malloc((lines + 2) * sizeof *c->starts);
  if (!c->starts) {
    corpus_close(c);
    return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for %zu line offsets", path, lines);
  }
  c->starts[0] = 0;
  for (size_t i = 0; i < c->size; i++)
    if (c->bytes[i] == '\n') c->starts[++c->n_lines] = i + 1;
  if (c->starts[c->n_lines] < c->size) c->starts[++c->n_lines] = c->size + 1;
  if (c->n_lines == 0) {
    corpus_close(c);
    return sluice_fail(err, SLUICE_INPUT, "%s: no line in it; make a corpus with `sluice data make train:...`", path);
  }
  *out = c;
  return SLUICE_OK;
}

void corpus_close(struct corpus *c) {
  if (!c) return;
  if (c->bytes) file_unmap(c->bytes, c->size);
  free(c->starts);
  free(c->path);
  free(c);
}

size_t corpus_lines(const struct corpus *c) {
  return c->n_lines;
}

/* Reads the number at span; answers are small non-negative integers. */
static bool span_offset(struct slice line, struct json_span number, size_t *out) {
  size_t v = 0;
  if (number.type != JSON_NUMBER) return false;
  for (size_t i = number.start; i < number.end; i++) {
    if (line.ptr[i] < '0' || line.ptr[i] > '9' || v > (SIZE_MAX >> 5)) return false;
    v = v * 10 + (size_t)(line.ptr[i] - '0');
  }
  *out = v;
  return true;
}

/* Marks the bytes of text (mark[0..len)) that lie in an answer span. */
static bool mark_answers(struct slice line, struct json_span answers, unsigned char *mark, size_t len) {
  const size_t n = json_span_count(line, answers);
  for (size_t i = 0; i < n; i++) {
    struct json_span pair, from, to;
    size_t a, b;
    if (!json_span_element(line, answers, i, &pair) || pair.type != JSON_ARRAY ||
        !json_span_element(line, pair, 0, &from) || !json_span_element(line, pair, 1, &to) ||
        !span_offset(line, from, &a) || !span_offset(line, to, &b))
      return false;
    if (a > b || b > len) return false;
    memset(mark + a, 1, b - a);
  }
  return true;
}

/* Lays tokens, targets and weights out of the ids of the text; `mark` says which bytes are answers. */
static double lay_out(const struct tokenizer *t, const int32_t *ids, size_t n, const unsigned char *mark, int length,
                      double answer_weight, struct sequence out) {
  const int32_t bos = tokenizer_find(t, "<s>");
  double sum = 0;
  size_t at = 0;
  for (int i = 0; i < length; i++) {
    const bool inside = (size_t)i < n;
    out.tokens[i] = i == 0 ? bos : ((size_t)(i - 1) < n ? ids[i - 1] : 0);
    out.targets[i] = inside ? ids[i] : 0;
    out.weights[i] = 0;
    if (!inside) continue;
    const size_t bytes = tokenizer_bytes(t, ids[i]).len;
    bool answer = false;
    for (size_t k = 0; k < bytes; k++) answer = answer || mark[at + k];
    at += bytes;
    out.weights[i] = answer ? (real)answer_weight : (real)1;
    sum += (double)out.weights[i];
  }
  return sum;
}

sluice_status corpus_sequence(const struct corpus *c, const struct tokenizer *t, size_t line, int length,
                              double answer_weight, struct sequence out, double *weight_sum, struct sluice_error *err) {
  const struct slice text = {(const char *)c->bytes + c->starts[line], c->starts[line + 1] - 1 - c->starts[line]};
  struct json_span root, body, answers;
  struct buffer decoded;
  int32_t *ids = NULL;
  size_t n = 0;
  buffer_init(&decoded, 0);
  unsigned char *mark = NULL;
  sluice_status st = json_span_root(text, &root, err);
  if (!st && (root.type != JSON_OBJECT || !json_span_member(text, root, "text", &body) || body.type != JSON_STRING))
    st = sluice_fail(err, SLUICE_INPUT, "expected an object with a string \"text\"");
  if (!st) st = json_span_decode(text, body, &decoded, err);
  if (!st && !(mark = calloc(decoded.len + 1, 1))) st = sluice_fail(err, SLUICE_NOMEM, "out of memory");
  if (!st && json_span_member(text, root, "answers", &answers) &&
      (answers.type != JSON_ARRAY || !mark_answers(text, answers, mark, decoded.len)))
    st = sluice_fail(err, SLUICE_INPUT, "\"answers\" must be [[start,end],...] byte offsets inside the text");
  if (!st)
    st = tokenizer_encode(t, (struct slice){decoded.ptr ? decoded.ptr : "", decoded.len}, TOKENIZE_SPECIALS, &ids, &n,
                          err);
  if (!st)
    *weight_sum += lay_out(t, ids, n, mark, length, answer_weight, out);
  else
    sluice_fail_in(err, "%s: line %zu", c->path, line + 1);
  free(ids);
  free(mark);
  buffer_free(&decoded);
  return st;
}
