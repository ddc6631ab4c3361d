/* What a client is told when there is no answer for it: in the form of the interface that it speaks. */
#include "wire/proxy.h"

#include <inttypes.h>
#include <string.h>

/* https://docs.anthropic.com/en/api/errors: there is no code beside the type, so the message begins with it. */
static sluice_status messages_error(struct buffer *out, int status, const char *code, const char *message,
                                    struct sluice_error *err) {
  const char *type = status == 413   ? "request_too_large"
                     : status == 503 ? "overloaded_error"
                     : status == 504 ? "timeout_error"
                     : status < 500  ? "invalid_request_error"
                                     : "api_error";
  struct buffer words;
  buffer_init(&words, 16 << 10);
  sluice_status st = buffer_printf(&words, err, "%s: %s", code, message);
  if (!st) st = buffer_printf(out, err, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", type);
  if (!st) st = json_quote(out, words.ptr, words.len, err);
  buffer_free(&words);
  return st ? st : buffer_append_str(out, "}}", err);
}

static sluice_status openai_error(struct buffer *out, int status, const char *code, const char *message,
                                  struct sluice_error *err) {
  const char *type = status < 500 ? "invalid_request_error" : "server_error";
  sluice_status st = buffer_append_str(out, "{\"message\":", err);
  if (!st) st = json_quote(out, message, strlen(message), err);
  return st ? st : buffer_printf(out, err, ",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}", type, code);
}

sluice_status proxy_error_json(struct buffer *out, enum answer_form form, int status, const char *code,
                               const char *message, struct sluice_error *err) {
  if (form == FORM_MESSAGES) return messages_error(out, status, code, message, err);
  sluice_status st = buffer_append_str(out, "{\"error\":", err);
  if (!st) st = openai_error(out, status, code, message, err);
  return st ? st : buffer_append_str(out, "}", err);
}

/* Responses' documented event is flat; OpenAI's clients raise what has an "error" in it. Both are said. */
static sluice_status responses_event(struct buffer *out, int status, const char *code, const char *message,
                                     int64_t sequence, struct sluice_error *err) {
  sluice_status st = buffer_printf(out, err,
                                   "event: error\ndata: {\"type\":\"error\",\"sequence_number\":%" PRId64
                                   ",\"code\":\"%s\",\"param\":null,\"message\":",
                                   sequence, code);
  if (!st) st = json_quote(out, message, strlen(message), err);
  if (!st) st = buffer_append_str(out, ",\"error\":", err);
  if (!st) st = openai_error(out, status, code, message, err);
  return st ? st : buffer_append_str(out, "}\n\n", err);
}

sluice_status proxy_error_event(struct buffer *out, enum answer_form form, int status, const char *code,
                                const char *message, int64_t sequence, struct sluice_error *err) {
  if (form == FORM_RESPONSES) return responses_event(out, status, code, message, sequence, err);
  sluice_status st = buffer_append_str(out, form == FORM_MESSAGES ? "event: error\ndata: " : "data: ", err);
  if (!st) st = proxy_error_json(out, form, status, code, message, err);
  return st ? st : buffer_append_str(out, form == FORM_MESSAGES ? "\n\n" : "\n\ndata: [DONE]\n\n", err);
}
