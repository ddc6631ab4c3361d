/* The paths of `sluice serve`. */
#include "cli/serve.h"

#include <inttypes.h>
#include <string.h>

static void answer(struct wire_call *wire, int status, const char *type, const struct buffer *body, sluice_status st) {
  wire_call_answer(wire, st ? 503 : status, st ? "text/plain" : type,
                   st ? slice_of("no memory\n") : (struct slice){body->ptr, body->len});
}

static sluice_status put_model(const struct serve *s, struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{\"id\":", err);
  if (!st) st = json_quote(out, s->model, strlen(s->model), err);
  return st ? st : buffer_append_str(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"sluice\"}", err);
}

static void show_model(struct serve *s, struct wire_call *wire) {
  struct buffer out;
  struct sluice_error err = {0};
  buffer_init(&out, 1 << 16);
  answer(wire, 200, "application/json", &out, put_model(s, &out, &err));
  buffer_free(&out);
}

static void show_models(struct serve *s, struct wire_call *wire) {
  struct buffer out;
  struct sluice_error err = {0};
  buffer_init(&out, 1 << 16);
  sluice_status st = buffer_append_str(&out, "{\"object\":\"list\",\"data\":[", &err);
  if (!st) st = put_model(s, &out, &err);
  if (!st) st = buffer_append_str(&out, "]}\n", &err);
  answer(wire, 200, "application/json", &out, st);
  buffer_free(&out);
}

static void show_metrics(struct serve *s, struct wire_call *wire) {
  const struct serve_counts *n = &s->counts;
  const struct {
    const char *name, *type;
    uint64_t value;
    const char *about;
  } table[] = {
      {"sluice_serve_running", "gauge", s->n_running, "Choices that get tokens."},
      {"sluice_serve_waiting", "gauge", s->n_waiting, "Choices that wait for a place."},
      {"sluice_serve_prompt_tokens_total", "counter", n->prompt_tokens, "Tokens read."},
      {"sluice_serve_completion_tokens_total", "counter", n->completion_tokens, "Tokens made."},
      {"sluice_serve_steps_total", "counter", n->steps, "Steps of the whole batch."},
      {"sluice_serve_choices_stepped_total", "counter", n->choices_stepped,
       "Choices over all steps: divided by the steps, the mean batch."},
      {"sluice_serve_stopped_total", "counter", n->stopped, "Answers that a rule stopped."},
      {"sluice_serve_audit_lost_total", "counter", s->audit_lost, "Rows of the audit that could not be written."},
      {"sluice_serve_scanned_bytes_total", "counter", s->seen.bytes, "Text that the monitor has read."}};
  struct buffer out;
  struct sluice_error err = {0};
  buffer_init(&out, 1 << 16);
  sluice_status st = buffer_append_str(&out,
                                       "# HELP sluice_serve_requests_total Answered requests by status (0: the client "
                                       "left).\n# TYPE sluice_serve_requests_total counter\n",
                                       &err);
  for (int i = 0; !st && i < 6; i++)
    st = buffer_printf(&out, &err, "sluice_serve_requests_total{status=\"%s%.*s\"} %" PRIu64 "\n",
                       (const char *[]){"0", "1", "2", "3", "4", "5"}[i], i ? 2 : 0, "xx", n->requests[i]);
  for (size_t i = 0; !st && i < sizeof table / sizeof *table; i++)
    st = buffer_printf(&out, &err, "# HELP %s %s\n# TYPE %s %s\n%s %" PRIu64 "\n", table[i].name, table[i].about,
                       table[i].name, table[i].type, table[i].name, table[i].value);
  answer(wire, 200, "text/plain; version=0.0.4; charset=utf-8", &out, st);
  buffer_free(&out);
}

static void show_health(struct serve *s, struct wire_call *wire) {
  (void)s;
  wire_call_answer(wire, 200, "text/plain", slice_of("ok\n"));
}

static void show_ready(struct serve *s, struct wire_call *wire) {
  const bool full = s->n_waiting >= SERVE_WAITING_MAX;
  wire_call_answer(wire, full ? 503 : 200, "text/plain", slice_of(full ? "full\n" : "ready\n"));
}

static void chat(struct serve *s, struct wire_call *wire) {
  serve_request(s, wire, true);
}

static void complete(struct serve *s, struct wire_call *wire) {
  serve_request(s, wire, false);
}

static const struct {
  const char *method, *path;
  void (*fn)(struct serve *s, struct wire_call *wire);
} pages[] = {{"POST", "/v1/chat/completions", chat}, {"POST", "/chat/completions", chat},
             {"POST", "/v1/completions", complete},  {"POST", "/completions", complete},
             {"GET", "/v1/models", show_models},     {"GET", "/models", show_models},
             {"GET", "/healthz", show_health},       {"GET", "/health", show_health},
             {"GET", "/readyz", show_ready},         {"GET", "/metrics", show_metrics}};

/* HEAD is a GET whose body stays here. */
static bool takes(const struct wire_call *wire, const char *method) {
  const struct slice asked = wire_call_method(wire);
  return slice_is(asked, method) || (slice_is(asked, "HEAD") && strcmp(method, "GET") == 0);
}

/* A body that is compressed is no JSON to look at. True: refused. */
static bool refuse_encoded(struct serve *s, struct wire_call *wire) {
  struct slice encoding;
  struct sluice_error err = {0};
  if (!wire_call_field(wire, "Content-Encoding", &encoding) || slice_is(encoding, "identity")) return false;
  sluice_fail(&err, SLUICE_USAGE, "Content-Encoding: this server reads bodies as they are; send it without \"%.*s\"",
              (int)(encoding.len > 32 ? 32 : encoding.len), encoding.ptr);
  s->counts.requests[4]++;
  serve_refuse(s, wire, 415, "unsupported_media_type", &err);
  return true;
}

/* GET /v1/models/NAME. True: answered. */
static bool route_model(struct serve *s, struct wire_call *wire) {
  static const char *const roots[] = {"/v1/models/", "/models/"};
  const char *path = wire_call_path(wire);
  struct sluice_error err = {0};
  for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
    const size_t n = strlen(roots[i]);
    if (strncmp(path, roots[i], n) != 0 || !takes(wire, "GET")) continue;
    if (strcmp(path + n, s->model) == 0) {
      show_model(s, wire);
    } else {
      sluice_fail(&err, SLUICE_USAGE, "the model '%.80s' does not exist here; '%.80s' does", path + n, s->model);
      s->counts.requests[4]++;
      serve_refuse(s, wire, 404, "model_not_found", &err);
    }
    return true;
  }
  return false;
}

void serve_route(void *ctx, struct wire_call *wire) {
  struct serve *s = ctx;
  struct sluice_error err = {0};
  const char *known = NULL;
  if (route_model(s, wire)) return;
  for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
    if (strcmp(pages[i].path, wire_call_path(wire)) != 0) continue;
    known = pages[i].method;
    if (!takes(wire, known)) continue;
    if (strcmp(known, "POST") != 0 || !refuse_encoded(s, wire)) pages[i].fn(s, wire);
    return;
  }
  if (known)
    sluice_fail(&err, SLUICE_USAGE, "this path takes %s%s", known,
                slice_is(wire_call_method(wire), "OPTIONS") ? "; pages of other origins are let in with --cors" : "");
  else
    sluice_fail(
        &err, SLUICE_USAGE,
        "no such path; there are /v1/chat/completions, /v1/completions, /v1/models, /healthz, /readyz, /metrics");
  s->counts.requests[4]++;
  serve_refuse(s, wire, known ? 405 : 404, known ? "method_not_allowed" : "not_found", &err);
}
