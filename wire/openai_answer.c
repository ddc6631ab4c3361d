/* Answers of OpenAI's Chat Completions and Completions, as a server writes them. */
#include "wire/wire.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

/* JSON has no infinity: OpenAI writes -9999.0 for a token that cannot come. */
static double writable(double logprob) {
  return isfinite(logprob) ? logprob : -9999.0;
}

static sluice_status quote(struct buffer *out, struct slice s, struct sluice_error *err) {
  return json_quote(out, s.ptr, s.len, err); /* bytes that are no character become U+FFFD: "bytes" has them */
}

/* ---- log-probabilities ---- */

static sluice_status put_token(const struct wire_token *t, bool with_top, struct buffer *out,
                               struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{\"token\":", err);
  if (!st) st = quote(out, t->bytes, err);
  if (!st) st = buffer_printf(out, err, ",\"logprob\":%.9g,\"bytes\":[", writable(t->logprob));
  for (size_t i = 0; !st && i < t->bytes.len; i++)
    st = buffer_printf(out, err, "%s%u", i ? "," : "", (unsigned)(unsigned char)t->bytes.ptr[i]);
  if (!st) st = buffer_append_str(out, "]", err);
  if (!st && with_top) {
    st = buffer_append_str(out, ",\"top_logprobs\":[", err);
    for (size_t i = 0; !st && i < t->n_top; i++) {
      if (i) st = buffer_append_str(out, ",", err);
      if (!st) st = put_token(&t->top[i], false, out, err);
    }
    if (!st) st = buffer_append_str(out, "]", err);
  }
  return st ? st : buffer_append_str(out, "}", err);
}

static sluice_status put_chat_logprobs(const struct wire_piece *p, struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{\"content\":[", err);
  for (size_t i = 0; !st && i < p->n_tokens; i++) {
    if (i) st = buffer_append_str(out, ",", err);
    if (!st) st = put_token(&p->tokens[i], true, out, err);
  }
  return st ? st : buffer_append_str(out, "],\"refusal\":null}", err);
}

static sluice_status put_top_map(const struct wire_token *t, struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{", err);
  for (size_t i = 0; !st && i < t->n_top; i++) {
    if (i) st = buffer_append_str(out, ",", err);
    if (!st) st = quote(out, t->top[i].bytes, err);
    if (!st) st = buffer_printf(out, err, ":%.9g", writable(t->top[i].logprob));
  }
  return st ? st : buffer_append_str(out, "}", err);
}

uint64_t wire_characters(struct slice bytes) {
  uint64_t n = 0;
  for (size_t i = 0; i < bytes.len; i++) n += ((unsigned char)bytes.ptr[i] & 0xc0) != 0x80;
  return n;
}

/* Completions' older form: four lists side by side. */
static sluice_status put_text_logprobs(const struct wire_piece *p, struct buffer *out, struct sluice_error *err) {
  static const char *const names[] = {"{\"tokens\":[", "],\"token_logprobs\":[", "],\"top_logprobs\":[",
                                      "],\"text_offset\":["};
  sluice_status st = SLUICE_OK;
  for (size_t list = 0; !st && list < 4; list++) {
    uint64_t at = p->text_offset;
    st = buffer_append_str(out, names[list], err);
    for (size_t i = 0; !st && i < p->n_tokens; i++) {
      const struct wire_token *t = &p->tokens[i];
      if (i) st = buffer_append_str(out, ",", err);
      if (!st && list == 0) st = quote(out, t->bytes, err);
      const bool known = !isnan(t->logprob);
      if (!st && (list == 1 || list == 2) && !known) st = buffer_append_str(out, "null", err);
      if (!st && list == 1 && known) st = buffer_printf(out, err, "%.9g", writable(t->logprob));
      if (!st && list == 2 && known) st = put_top_map(t, out, err);
      if (!st && list == 3) st = buffer_printf(out, err, "%" PRIu64, at);
      at += wire_characters(t->bytes);
    }
  }
  return st ? st : buffer_append_str(out, "]}", err);
}

static sluice_status put_logprobs(const struct wire_answer *a, const struct wire_piece *p, struct buffer *out,
                                  struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, ",\"logprobs\":", err);
  if (st) return st;
  if (!p->logprobs) return buffer_append_str(out, "null", err);
  return a->chat ? put_chat_logprobs(p, out, err) : put_text_logprobs(p, out, err);
}

/* ---- frames ---- */

static sluice_status put_head(const struct wire_answer *a, const char *object, struct buffer *out,
                              struct sluice_error *err) {
  sluice_status st = buffer_printf(
      out, err, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%" PRId64 ",\"model\":", a->id, object, a->created);
  return st ? st : json_quote(out, a->model, strlen(a->model), err);
}

static sluice_status put_finish(const struct wire_piece *p, struct buffer *out, struct sluice_error *err) {
  return p->finish ? buffer_printf(out, err, ",\"finish_reason\":\"%s\"}", p->finish)
                   : buffer_append_str(out, ",\"finish_reason\":null}", err);
}

static sluice_status put_usage(struct wire_usage u, struct buffer *out, struct sluice_error *err) {
  return buffer_printf(out, err,
                       ",\"usage\":{\"prompt_tokens\":%" PRIu64 ",\"completion_tokens\":%" PRIu64
                       ",\"total_tokens\":%" PRIu64 "}",
                       u.prompt_tokens, u.completion_tokens, u.prompt_tokens + u.completion_tokens);
}

static sluice_status put_delta(const struct wire_piece *p, struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, ",\"delta\":{", err);
  if (!st && p->first) st = buffer_append_str(out, "\"role\":\"assistant\",", err);
  if (!st && (p->first || p->text.len)) st = buffer_append_str(out, "\"content\":", err);
  if (!st && (p->first || p->text.len)) st = quote(out, p->text, err);
  return st ? st : buffer_append_str(out, "}", err);
}

sluice_status wire_answer_piece(const struct wire_answer *a, const struct wire_piece *p, struct buffer *out,
                                struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "data: ", err);
  if (!st) st = put_head(a, a->chat ? "chat.completion.chunk" : "text_completion", out, err);
  if (!st) st = buffer_printf(out, err, ",\"choices\":[{\"index\":%" PRId64, p->choice);
  if (!st && a->chat) st = put_delta(p, out, err);
  if (!st && !a->chat) st = buffer_append_str(out, ",\"text\":", err);
  if (!st && !a->chat) st = quote(out, p->text, err);
  if (!st) st = put_logprobs(a, p, out, err);
  if (!st) st = put_finish(p, out, err);
  return st ? st : buffer_append_str(out, a->usage_follows ? "],\"usage\":null}\n\n" : "]}\n\n", err);
}

sluice_status wire_answer_usage(const struct wire_answer *a, struct wire_usage u, struct buffer *out,
                                struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "data: ", err);
  if (!st) st = put_head(a, a->chat ? "chat.completion.chunk" : "text_completion", out, err);
  if (!st) st = buffer_append_str(out, ",\"choices\":[]", err);
  if (!st) st = put_usage(u, out, err);
  return st ? st : buffer_append_str(out, "}\n\n", err);
}

static sluice_status put_whole_choice(const struct wire_answer *a, const struct wire_piece *p, struct buffer *out,
                                      struct sluice_error *err) {
  sluice_status st = buffer_printf(out, err, "{\"index\":%" PRId64, p->choice);
  if (!st)
    st = buffer_append_str(out, a->chat ? ",\"message\":{\"role\":\"assistant\",\"content\":" : ",\"text\":", err);
  if (!st) st = quote(out, p->text, err);
  if (!st && a->chat) st = buffer_append_str(out, ",\"refusal\":null}", err);
  if (!st) st = put_logprobs(a, p, out, err);
  return st ? st : put_finish(p, out, err);
}

sluice_status wire_answer_whole(const struct wire_answer *a, const struct wire_piece *choices, size_t n,
                                struct wire_usage u, struct buffer *out, struct sluice_error *err) {
  sluice_status st = put_head(a, a->chat ? "chat.completion" : "text_completion", out, err);
  if (!st) st = buffer_append_str(out, ",\"choices\":[", err);
  for (size_t i = 0; !st && i < n; i++) {
    if (i) st = buffer_append_str(out, ",", err);
    if (!st) st = put_whole_choice(a, &choices[i], out, err);
  }
  if (!st) st = buffer_append_str(out, "]", err);
  if (!st) st = put_usage(u, out, err);
  return st ? st : buffer_append_str(out, "}\n", err);
}

sluice_status wire_answer_error(int status, const char *code, const char *param, const char *message,
                                struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{\"error\":{\"message\":", err);
  if (!st) st = json_quote(out, message, strlen(message), err);
  if (!st)
    st =
        buffer_printf(out, err, ",\"type\":\"%s\",\"param\":", status < 500 ? "invalid_request_error" : "server_error");
  if (!st) st = param ? json_quote(out, param, strlen(param), err) : buffer_append_str(out, "null", err);
  return st ? st : buffer_printf(out, err, ",\"code\":\"%s\"}}", code);
}
