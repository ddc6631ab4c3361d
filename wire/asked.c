/* A judged request before it is sent: the gates that its route asks for, and its prompts through theirs. What is
 * blocked here costs no token. A long body is read and judged on the thread beside the loop. */
#include "wire/asked.h"
#include "wire/prompts.h"

#include <stdlib.h>
#include <string.h>

const char *const asked_dialects[] = {[FORM_CHAT] = "openai_chat",
                                      [FORM_RESPONSES] = "openai_responses",
                                      [FORM_MESSAGES] = "anthropic",
                                      [FORM_COMPLETIONS] = "openai_completions"};
static const char blocked_words[] = "this request was blocked by the server's content policy";

bool wire_asked_field(const struct wire_asked *a, const char *name, struct slice *value) {
  const struct http_head *h = a->head;
  for (size_t i = 0; i < h->n_fields; i++)
    if (slice_is_nocase(h->fields[i].name, name)) {
      *value = h->fields[i].value;
      return true;
    }
  return false;
}

static struct slice body_of(const struct exchange *x) {
  return (struct slice){x->client->body.ptr ? x->client->body.ptr : "", x->client->body.len};
}

/* ---- what a request says of its answer ---- */

struct facts {
  struct slice model; /* as JSON; "" */
  bool stream;
  int64_t token_limit; /* -1: none */
};

/* A top member of the body as it stands, quotes and all. */
static struct slice member(struct slice body, struct json_span root, const char *key) {
  struct json_span v;
  if (!json_span_member(body, root, key, &v)) return (struct slice){"", 0};
  return (struct slice){body.ptr + v.start, v.end - v.start};
}

static int64_t small_number(struct slice digits) {
  int64_t n = 0;
  if (digits.len == 0 || digits.len > 9) return -1;
  for (size_t at = 0; at < digits.len; at++) {
    if (digits.ptr[at] < '0' || digits.ptr[at] > '9') return -1;
    n = 10 * n + (digits.ptr[at] - '0');
  }
  return n;
}

static struct facts find_facts(struct slice body) {
  static const char *const limits[] = {"max_completion_tokens", "max_output_tokens", "max_tokens"};
  struct facts f = {{"", 0}, false, -1};
  struct sluice_error ignored = {0};
  struct json_span root;
  if (!body.len || json_span_root(body, &root, &ignored)) return f;
  f.model = member(body, root, "model");
  f.stream = slice_is(member(body, root, "stream"), "true");
  for (size_t i = 0; f.token_limit < 0 && i < sizeof limits / sizeof *limits; i++)
    f.token_limit = small_number(member(body, root, limits[i]));
  return f;
}

/* ---- judging ---- */

/* The request goes on with its masks. */
static void replace_body(struct exchange *x, struct buffer *with) {
  struct buffer *body = &x->client->body;
  size_t limit = body->limit;
  buffer_free(body);
  *body = *with;
  body->limit = limit;
  *with = (struct buffer){0};
}

/* What became of the prompts; the error stands in x->err. */
static sluice_status take_verdict(struct exchange *x, sluice_status st, const struct prompts_verdict *v,
                                  struct buffer *out, struct asked_refusal *why) {
  if (st == SLUICE_INPUT || st == SLUICE_UNSUPPORTED) *why = (struct asked_refusal){400, "prompt_not_judged"};
  if (st == SLUICE_LIMIT) *why = (struct asked_refusal){413, "prompt_not_judged"};
  x->unread_parts = v->unread;
  if (!st && v->changed) replace_body(x, out);
  if (!st && v->stopped) {
    x->blocked = true;
    *why = (struct asked_refusal){400, "content_filter"};
    st = sluice_fail(&x->err, SLUICE_UNSUPPORTED, "%s", blocked_words);
  }
  return st;
}

static size_t masked_max(const struct exchange *x) {
  return 2 * x->loop->whole->o.max_body + 4096;
}

static sluice_status begin(struct exchange *x, const struct facts *f, bool beside, struct wire_gate *prompts) {
  const struct wire_hooks *h = &x->loop->whole->o.hooks;
  struct slice model = f->model;
  struct wire_asked a = {.request = x->number,
                         .path = slice_of(x->path),
                         .dialect = asked_dialects[x->form],
                         .model = model.len > 2 && model.ptr[0] == '"' ? (struct slice){model.ptr + 1, model.len - 2}
                                                                       : (struct slice){"", 0},
                         .beside = beside,
                         .head = &x->client->head};
  x->token_limit = f->token_limit;
  x->model = model.len && model.ptr[0] == '"' ? model : (struct slice){"", 0};
  x->wants_stream = f->stream;
  return h->begin(h->ctx, x->loop->index, &a, &x->gate, prompts, &x->texts, &x->err);
}

static sluice_status judge_here(struct exchange *x, struct asked_refusal *why) {
  struct facts f = find_facts(body_of(x));
  struct wire_gate prompts = {0};
  struct prompts_verdict v;
  struct buffer out;
  sluice_status st = begin(x, &f, false, &prompts);
  if (st || !prompts.push) return st;
  buffer_init(&out, masked_max(x));
  st = prompts_judge(asked_dialects[x->form], body_of(x), &prompts, &out, &v, &x->err);
  st = take_verdict(x, st, &v, &out, why);
  buffer_free(&out);
  return st;
}

/* ---- beside the loop ---- */

struct asking {
  struct beside beside; /* first */
  struct slice body;
  const char *dialect;
  struct facts facts;
  struct wire_gate gate, prompts; /* prompts: as it was handed in */
  struct buffer out;
  struct prompts_verdict verdict;
  sluice_status st;
  struct sluice_error err;
};

static void read_facts(struct job *job) {
  struct asking *a = (struct asking *)(void *)job;
  a->facts = find_facts(a->body);
}

/* Nobody waits for it any more: the judging ends with its next piece. */
static sluice_status push_unless_left(void *ctx, const struct wire_key *key, struct slice bytes, struct wire_verdict *v,
                                      struct sluice_error *err) {
  struct asking *a = ctx;
  if (atomic_load(&a->beside.left)) return sluice_fail(err, SLUICE_INTERRUPTED, "the client has left");
  return a->prompts.push(a->prompts.ctx, key, bytes, v, err);
}

static sluice_status settle(void *ctx, const struct wire_key *key, struct wire_verdict *v, struct sluice_error *err) {
  struct asking *a = ctx;
  return a->prompts.settle(a->prompts.ctx, key, v, err);
}

static sluice_status render(void *ctx, const struct wire_key *key, uint64_t offset, struct slice raw,
                            struct buffer *out, bool *changed, struct sluice_error *err) {
  struct asking *a = ctx;
  return a->prompts.render(a->prompts.ctx, key, offset, raw, out, changed, err);
}

static void reset(void *ctx) {
  struct asking *a = ctx;
  a->prompts.reset(a->prompts.ctx);
}

static void read_prompts(struct job *job) {
  struct asking *a = (struct asking *)(void *)job;
  a->gate = (struct wire_gate){a, push_unless_left, settle, render, NULL, reset, NULL};
  a->st = prompts_judge(a->dialect, a->body, &a->gate, &a->out, &a->verdict, &a->err);
}

static void end_asking(struct asking *a, sluice_status st, const struct asked_refusal *why) {
  struct exchange *x = a->beside.x;
  bool left = exchange_is_back(x);
  buffer_free(&a->out);
  free(a);
  if (!left) exchange_asked(x, st, why);
}

static void have_prompts(struct job *job) {
  struct asking *a = (struct asking *)(void *)job;
  struct exchange *x = a->beside.x;
  struct asked_refusal why = {503, "no_memory"};
  sluice_status st = a->st;
  if (!atomic_load(&a->beside.left)) {
    if (st) x->err = a->err;
    st = take_verdict(x, st, &a->verdict, &a->out, &why);
  }
  end_asking(a, st, &why);
}

static void have_facts(struct job *job) {
  struct asking *a = (struct asking *)(void *)job;
  struct exchange *x = a->beside.x;
  struct asked_refusal why = {503, "no_memory"};
  sluice_status st = SLUICE_OK;
  if (!atomic_load(&a->beside.left)) {
    st = begin(x, &a->facts, true, &a->prompts);
    if (!st && a->prompts.push) {
      *job = (struct job){read_prompts, have_prompts, NULL};
      st = jobs_add(x->loop->jobs, job, &x->err);
      if (!st) return;
    }
  }
  end_asking(a, st, &why);
}

static sluice_status judge_beside(struct exchange *x) {
  struct asking *a = calloc(1, sizeof *a);
  if (!a) return sluice_fail(&x->err, SLUICE_NOMEM, "no memory for the request");
  a->beside = (struct beside){.job = {read_facts, have_facts, NULL}, .x = x};
  a->body = body_of(x);
  a->dialect = asked_dialects[x->form];
  buffer_init(&a->out, masked_max(x));
  sluice_status st = jobs_add(x->loop->jobs, &a->beside.job, &x->err);
  if (st)
    free(a);
  else
    x->beside = &a->beside;
  return st;
}

sluice_status asked_judge(struct exchange *x, struct asked_refusal *why) {
  *why = (struct asked_refusal){503, "no_memory"};
  return x->client->body.len < BESIDE_FROM ? judge_here(x, why) : judge_beside(x);
}

sluice_status asked_answer(struct exchange *x, struct sluice_error *err) {
  struct buffer out;
  buffer_init(&out, 0);
  sluice_status st = refusal_answer(x->form, x->wants_stream, x->model, x->number, blocked_words, &out, err);
  if (!st)
    client_answer_across(x->client, 200, x->wants_stream ? "text/event-stream" : "application/json",
                         (struct slice){out.ptr, out.len});
  buffer_free(&out);
  return st;
}
