/* Log-probabilities spell their text out, token by token: what is masked in the text must not stand in them. */
#include "wire/dialect.h"

sluice_status add_logprobs(struct slice json, struct json_span list, struct sketch_logprobs l, struct wire_key k,
                           bool whole, struct sketch *s, struct sluice_error *err) {
  struct json_span entry = {0};
  size_t group = 0;
  sluice_status st = sketch_add_logprobs(s, l, err);
  while (!st && json_span_next(json, list, &entry)) {
    struct sketch_text t = {.key = k, .spelled = s->n_logprobs};
    if (!member_of(json, entry, "token", JSON_STRING, &t.value)) continue;
    if (!member_of(json, entry, "bytes", JSON_ARRAY, &t.bytes)) t.bytes = (struct json_span){0};
    if (!json_span_member(json, entry, "top_logprobs", &t.others)) t.others = (struct json_span){0};
    if (whole && !group) group = ++s->groups;
    t.group = group;
    st = sketch_add_text(s, t, err);
  }
  return st;
}

sluice_status logprob_bytes(struct slice json, struct json_span numbers, struct buffer *out, bool *good,
                            struct sluice_error *err) {
  size_t from = out->len;
  unsigned value = 0, digits = 0;
  sluice_status st = SLUICE_OK;
  *good = true;
  for (size_t at = numbers.start + 1; !st && *good && at < numbers.end; at++) {
    char c = json.ptr[at];
    if (c >= '0' && c <= '9') {
      value = 10 * value + (unsigned)(c - '0');
      *good = ++digits <= 3 && value < 256;
    } else if (c == ',' || c == ']') {
      char byte = (char)value;
      if (digits) st = buffer_append(out, &byte, 1, err);
      value = digits = 0;
    } else {
      *good = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    }
  }
  if (!*good) out->len = from;
  return st;
}
