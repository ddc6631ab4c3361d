/* One request: read, queued, answered. What the monitor has to say it says about the frames, as in `sluice proxy`. */
#include "cli/serve.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX ((size_t)32 << 20)

/* ---- the end --------------------------------------------------------------------------------------------------- */

static void log_call(const struct serve_call *c, int status, const char *outcome) {
  const struct serve *s = c->serve;
  const double ms = 1e6;
  const int64_t now = clock_mono_ns();
  if (s->quiet) return;
  log_line(status >= 500 ? LOG_WARN : LOG_INFO,
           "serve request=%" PRIu64 " status=%d outcome=%s%s%s prompt_tokens=%" PRIu64 " completion_tokens=%" PRIu64
           " first_ms=%.3f total_ms=%.3f%s%s",
           c->number, status, outcome, c->gate.rule[0] ? " rule=" : "", c->gate.rule, c->usage.prompt_tokens,
           c->usage.completion_tokens, c->first_ns ? (double)(c->first_ns - c->began_ns) / ms : -1.0,
           (double)(now - c->began_ns) / ms, c->status ? " error=" : "", c->status ? c->err.message : "");
}

static void unqueue(struct serve *s, const struct serve_call *c) {
  struct serve_choice **at = &s->first;
  s->last = NULL;
  while (*at) {
    if ((*at)->call == c) {
      *at = (*at)->next;
      s->n_waiting--;
    } else {
      s->last = *at;
      at = &(*at)->next;
    }
  }
}

static void look_at_audit(struct serve *s) {
  const char *why = "";
  const uint64_t lost = monitor_audit_lost(s->audit, &why);
  if (lost && !s->audit_lost) log_line(LOG_ERROR, "serve: an audit row was lost (more: see /metrics); %s", why);
  s->audit_lost = lost;
}

static void call_free(struct serve_call *c, int status, const char *outcome) {
  struct serve *s = c->serve;
  unqueue(s, c);
  for (size_t i = 0; i < c->n_choices; i++) {
    if (c->choices[i].reply) {
      choice_count(&c->choices[i]);
      s->n_running--;
    }
    choice_free(&c->choices[i]);
  }
  s->counts.requests[status / 100]++;
  s->counts.prompt_tokens += c->usage.prompt_tokens;
  s->counts.completion_tokens += c->usage.completion_tokens;
  s->counts.stopped += c->stopped;
  log_call(c, status, outcome);
  wire_filter_close(c->filter);
  if (s->watch) {
    gate_counts(&c->gate, &s->seen);
    gate_close(&c->gate);
    look_at_audit(s);
  }
  if (c->prev)
    c->prev->next = c->next;
  else
    s->calls = c->next;
  if (c->next) c->next->prev = c->prev;
  wire_request_free(&c->request);
  arena_free(&c->memory);
  buffer_free(&c->frame);
  buffer_free(&c->out);
  free(c->choices);
  free(c);
}

static int status_of(sluice_status st) {
  switch (st) {
  case SLUICE_INPUT:
  case SLUICE_USAGE:
  case SLUICE_LIMIT:
  case SLUICE_UNSUPPORTED:
    return 400;
  case SLUICE_NOMEM:
    return 503;
  default:
    return 500;
  }
}

void serve_refuse(struct serve *s, struct wire_call *wire, int status, const char *code, struct sluice_error *err) {
  struct buffer body;
  struct sluice_error ignored = {0};
  char param[64] = "";
  const size_t name = strcspn(err->message, ": ");
  if (status == 400 && err->message[name] == ':' && name < sizeof param) memcpy(param, err->message, name);
  buffer_init(&body, 1 << 16);
  sluice_status st = wire_answer_error(status, code, param[0] ? param : NULL, err->message, &body, &ignored);
  (void)s;
  wire_call_answer(wire, status, "application/json",
                   st ? slice_of("{\"error\":{\"message\":\"no memory\"}}") : (struct slice){body.ptr, body.len});
  buffer_free(&body);
}

static const char *code_of(const struct serve_call *c) {
  return c->status == SLUICE_LIMIT ? "context_length_exceeded" : status_of(c->status) < 500 ? "invalid_value" : "error";
}

/* A stream that has begun ends with an event that says why, which clients raise as an error. */
static void fail_stream(struct serve_call *c) {
  struct buffer out;
  struct sluice_error ignored = {0};
  buffer_init(&out, 1 << 16);
  sluice_status st = buffer_append_str(&out, "data: ", &ignored);
  if (!st) st = wire_answer_error(status_of(c->status), code_of(c), NULL, c->err.message, &out, &ignored);
  if (!st) st = buffer_append_str(&out, "\n\ndata: [DONE]\n\n", &ignored);
  if (!st) wire_call_send(c->wire, (struct slice){out.ptr, out.len});
  wire_call_end(c->wire);
  buffer_free(&out);
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static sluice_status to_client(void *ctx, struct slice bytes, struct sluice_error *err) {
  struct serve_call *c = ctx;
  if (!c->request.stream) return buffer_append(&c->out, bytes.ptr, bytes.len, err);
  if (c->wire) wire_call_send(c->wire, bytes);
  return SLUICE_OK;
}

sluice_status serve_send_frame(struct serve_call *c, struct sluice_error *err) {
  const struct slice frame = {c->frame.ptr, c->frame.len};
  if (!c->filter) return to_client(c, frame, err);
  sluice_status st = wire_filter_push(c->filter, frame, err);
  c->stopped = wire_filter_ended(c->filter);
  return st;
}

static sluice_status end_stream(struct serve_call *c) {
  sluice_status st = SLUICE_OK;
  if (!c->stopped && c->request.include_usage) {
    buffer_clear(&c->frame);
    st = wire_answer_usage(&c->answer, c->usage, &c->frame, &c->err);
    if (!st) st = serve_send_frame(c, &c->err);
  }
  if (!st && !c->stopped) {
    buffer_clear(&c->frame);
    st = buffer_append_str(&c->frame, "data: [DONE]\n\n", &c->err);
    if (!st) st = serve_send_frame(c, &c->err);
  }
  return st || !c->filter ? st : wire_filter_end(c->filter, &c->err);
}

static sluice_status make_body(struct serve_call *c) {
  struct wire_piece *pieces = calloc(c->n_choices, sizeof *pieces);
  if (!pieces) return sluice_fail(&c->err, SLUICE_NOMEM, "no memory for the answer");
  for (size_t i = 0; i < c->n_choices; i++) {
    const struct serve_choice *choice = &c->choices[i];
    pieces[i] = (struct wire_piece){.choice = choice->index,
                                    .text = {choice->text.ptr ? choice->text.ptr : "", choice->text.len},
                                    .finish = choice->finish,
                                    .tokens = choice->tokens,
                                    .n_tokens = choice->n_tokens,
                                    .logprobs = c->request.logprobs};
  }
  buffer_clear(&c->frame);
  sluice_status st = wire_answer_whole(&c->answer, pieces, c->n_choices, c->usage, &c->frame, &c->err);
  free(pieces);
  if (!st) st = serve_send_frame(c, &c->err);
  return st || !c->filter ? st : wire_filter_end(c->filter, &c->err);
}

void serve_call_finish(struct serve_call *c) {
  struct wire_call *wire = c->wire;
  int status = 200;
  if (!c->status) c->status = c->request.stream ? end_stream(c) : make_body(c);
  if (c->filter) c->stopped = c->stopped || wire_filter_stopped(c->filter);
  const char *outcome = c->status ? "failed" : c->stopped ? "stopped" : "done";
  if (c->status && !c->request.stream) {
    status = status_of(c->status);
    serve_refuse(c->serve, wire, status, code_of(c), &c->err);
  } else if (c->status) {
    fail_stream(c);
  } else if (c->request.stream) {
    wire_call_end(wire);
  } else {
    wire_call_answer(wire, 200, "application/json", (struct slice){c->out.ptr, c->out.len});
  }
  call_free(c, status, outcome);
}

void serve_left(struct serve *s, struct wire_call *wire) {
  struct serve_call *c = wire_call_kept(wire);
  if (!c) return;
  s->cut += wire_server_draining(s->server);
  call_free(c, 0, "client_left");
}

/* ---- the beginning --------------------------------------------------------------------------------------------- */

static sluice_status open_choices(struct serve_call *c) {
  const struct wire_request *r = &c->request;
  const size_t each = (size_t)r->n, n = (r->chat ? 1 : r->n_prompts) * each;
  c->choices = calloc(n, sizeof *c->choices);
  if (!c->choices) return sluice_fail(&c->err, SLUICE_NOMEM, "no memory for the choices");
  c->n_choices = c->n_left = n;
  for (size_t i = 0; i < n; i++) {
    c->choices[i] = (struct serve_choice){.call = c, .index = (int64_t)i};
    if (!r->chat) c->choices[i].prompt = &r->prompts[i / each];
    buffer_init(&c->choices[i].carry, TEXT_MAX);
    buffer_init(&c->choices[i].text, TEXT_MAX);
  }
  return SLUICE_OK;
}

static sluice_status open_filter(struct serve_call *c) {
  struct serve *s = c->serve;
  if (!s->watch) return SLUICE_OK;
  const struct wire_filter_options o = {.format = c->request.stream ? WIRE_SSE : WIRE_JSON};
  struct wire_gate gate = gate_for_wire(&c->gate);
  return wire_filter_open(&o, &gate, to_client, c, &c->filter, &c->err);
}

static void enqueue(struct serve_call *c) {
  struct serve *s = c->serve;
  for (size_t i = 0; i < c->n_choices; i++) {
    struct serve_choice *choice = &c->choices[i];
    if (s->last)
      s->last->next = choice;
    else
      s->first = choice;
    s->last = choice;
    s->n_waiting++;
  }
}

void serve_request(struct serve *s, struct wire_call *wire, bool chat) {
  struct serve_call *c = calloc(1, sizeof *c);
  struct sluice_error err = {0};
  if (!c) {
    sluice_fail(&err, SLUICE_NOMEM, "no memory for the request");
    serve_refuse(s, wire, 503, "no_memory", &err);
    return;
  }
  c->serve = s;
  c->wire = wire;
  c->number = ++s->numbers;
  c->began_ns = clock_mono_ns();
  snprintf(c->id, sizeof c->id, "%s-%016llx", chat ? "chatcmpl" : "cmpl", (unsigned long long)rng_u64(&s->rng));
  c->answer = (struct wire_answer){c->id, s->model, clock_wall_ns() / 1000000000, chat, false};
  buffer_init(&c->frame, TEXT_MAX);
  buffer_init(&c->out, 4 * TEXT_MAX);
  if (s->watch) gate_watch(&c->gate, s->watch, 0, MONITOR_ANSWER);
  c->next = s->calls;
  if (c->next) c->next->prev = c;
  s->calls = c;
  wire_call_keep(wire, c);
  c->status = wire_request_read(chat, wire_call_body(wire), &c->request, &c->err);
  if (!c->status && s->n_waiting >= SERVE_WAITING_MAX) {
    sluice_fail(&c->err, SLUICE_LIMIT, "%zu answers wait already; please try again", s->n_waiting);
    serve_refuse(s, wire, 503, "overloaded", &c->err);
    call_free(c, 503, "refused");
    return;
  }
  c->answer.usage_follows = c->request.include_usage;
  if (!c->status) c->status = open_choices(c);
  if (!c->status) c->status = open_filter(c);
  if (c->status) {
    c->request.stream = false; /* nothing has been sent: the status can still say it */
    serve_call_finish(c);
    return;
  }
  enqueue(c);
}

/* ---- steps ----------------------------------------------------------------------------------------------------- */

/* Gives free places to those that waited longest. The head of a stream waits for its first choice, so that a context
 * that is too long is still a 400. */
static void admit(struct serve *s) {
  while (s->first && s->n_running < s->parallel) {
    struct serve_choice *choice = s->first;
    struct serve_call *c = choice->call;
    s->first = choice->next;
    if (!s->first) s->last = NULL;
    choice->next = NULL;
    s->n_waiting--;
    c->status = choice_start(choice, &c->err);
    if (choice->reply) s->n_running++;
    if (c->status) {
      if (choice->index == 0) c->request.stream = false;
      serve_call_finish(c);
    } else if (choice->index == 0 && c->request.stream) {
      wire_call_begin(c->wire, 200, "text/event-stream");
    }
  }
}

static size_t gather(const struct serve *s, struct serve_choice **choices, struct reply **replies, size_t most) {
  size_t n = 0;
  for (struct serve_call *c = s->calls; c; c = c->next) {
    if (wire_call_slow(c->wire)) continue; /* its client reads slowly: others do not wait for it */
    for (size_t i = 0; i < c->n_choices && n < most; i++)
      if (c->choices[i].reply) {
        choices[n] = &c->choices[i];
        replies[n++] = c->choices[i].reply;
      }
  }
  return n;
}

/* Ends the choice when its reply is done. True when that ended its call, which is then gone. */
static bool after_step(struct serve *s, struct serve_choice *choice) {
  struct serve_call *c = choice->call;
  if (reply_done(choice->reply)) {
    sluice_status st = choice_end(choice, &c->err);
    if (!c->status) c->status = st;
    c->n_left--;
    s->n_running--;
  }
  if (c->n_left && !c->status && !c->stopped) return false;
  serve_call_finish(c);
  return true;
}

bool serve_step(struct serve *s, struct sluice_error *err) {
  enum { MOST = 256 };
  struct serve_choice *choices[MOST];
  struct reply *replies[MOST];
  admit(s);
  const size_t n = gather(s, choices, replies, MOST);
  if (!n) return false;
  sluice_status st = replies_advance(replies, n, err);
  s->counts.steps++;
  s->counts.choices_stepped += n;
  for (size_t i = 0; i < n; i++) {
    struct serve_call *c = choices[i]->call;
    if (st && !c->status) c->status = st, c->err = *err;
    const bool gone = after_step(s, choices[i]);
    while (gone && i + 1 < n && choices[i + 1]->call == c) i++; /* its choices stand side by side */
  }
  return true;
}
