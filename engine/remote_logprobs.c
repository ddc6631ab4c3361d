/* Log-probabilities of a streamed chat completion: choices[0].logprobs.content, a list of tokens each with its own and
 * its alternatives. What is no such list is passed over: it is not what was asked about. */
#include "engine/remote.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES_LIMIT = 1 << 16 }; /* of all alternatives to one token */

void remote_chances_open(struct remote_chances *c) {
  buffer_init(&c->bytes, BYTES_LIMIT);
}

void remote_chances_close(struct remote_chances *c) {
  buffer_free(&c->bytes);
}

static bool read_real(struct slice json, struct json_span v, double *out) {
  char digits[40], *end = NULL;
  const size_t len = v.end - v.start;
  if (v.type != JSON_NUMBER || len >= sizeof digits) return false;
  memcpy(digits, json.ptr + v.start, len);
  digits[len] = '\0';
  *out = strtod(digits, &end);
  return *end == '\0';
}

void remote_chances_begin(struct remote_chances *c, struct slice json, struct json_span root) {
  struct json_span choices, choice, content, index;
  double i = 0;
  c->any = false;
  if (!json_span_member(json, root, "choices", &choices) || choices.type != JSON_ARRAY ||
      !json_span_element(json, choices, 0, &choice) || choice.type != JSON_OBJECT)
    return;
  if (json_span_member(json, choice, "index", &index) && (!read_real(json, index, &i) || i > 0 || i < 0)) return;
  if (!json_span_path(json, choice, "logprobs.content", &content) || content.type != JSON_ARRAY) return;
  c->json = json;
  c->list = content;
  c->at = (struct json_span){0};
  c->any = true;
}

/* "bytes", a list of numbers; else "token", a text. */
static bool read_bytes(struct remote_chances *c, struct json_span token) {
  struct json_span v, each = {0};
  struct sluice_error ignored;
  double b = 0;
  if (json_span_member(c->json, token, "bytes", &v) && v.type == JSON_ARRAY) {
    while (json_span_next(c->json, v, &each)) {
      if (!read_real(c->json, each, &b) || !(b >= 0 && b <= 255)) return false;
      const char byte = (char)(unsigned char)b;
      if (buffer_append(&c->bytes, &byte, 1, &ignored) != SLUICE_OK) return false;
    }
    return true;
  }
  return json_span_member(c->json, token, "token", &v) && v.type == JSON_STRING &&
         json_span_decode(c->json, v, &c->bytes, &ignored) == SLUICE_OK;
}

static int read_top(struct remote_chances *c, struct json_span token) {
  struct json_span list, each = {0}, v;
  size_t from[TOP_LOGPROBS_MAX + 1] = {0};
  int n = 0;
  buffer_clear(&c->bytes);
  if (!json_span_member(c->json, token, "top_logprobs", &list) || list.type != JSON_ARRAY) return 0;
  while (n < TOP_LOGPROBS_MAX && json_span_next(c->json, list, &each)) {
    double lp = 0;
    if (!json_span_member(c->json, each, "logprob", &v) || !read_real(c->json, v, &lp) || !read_bytes(c, each)) break;
    c->top[n++] = (struct token_chance){.token = -1, .logprob = (float)lp};
    from[n] = c->bytes.len;
  }
  for (int i = 0; i < n; i++) /* only now does the buffer move no more */
    c->top[i].bytes = (struct slice){c->bytes.len ? c->bytes.ptr + from[i] : "", from[i + 1] - from[i]};
  return n;
}

bool remote_chances_next(struct remote_chances *c, struct piece *p) {
  struct json_span v;
  double lp = 0;
  if (!c->any || !json_span_next(c->json, c->list, &c->at)) return false;
  if (!json_span_member(c->json, c->at, "logprob", &v) || !read_real(c->json, v, &lp)) return false;
  p->logprob = (float)lp;
  p->surprisal = (float)-lp;
  p->n_top = read_top(c, c->at);
  p->top = c->top;
  return true;
}
