/* A judged request before it is sent: the gates that its route asks for, and its prompts through theirs. What is
 * blocked here costs no token. */
#include "wire/asked.h"
#include "wire/prompts.h"

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

/* A top member of the body as it stands, quotes and all. */
static struct slice member(struct slice body, const char *key) {
  struct json_span root, v;
  struct sluice_error ignored = {0};
  if (!body.len || json_span_root(body, &root, &ignored) || !json_span_member(body, root, key, &v))
    return (struct slice){"", 0};
  return (struct slice){body.ptr + v.start, v.end - v.start};
}

static struct slice body_of(const struct exchange *x) {
  return (struct slice){x->client->body.ptr ? x->client->body.ptr : "", x->client->body.len};
}

/* The request goes on with its masks. */
static void replace_body(struct exchange *x, struct buffer *with) {
  struct buffer *body = &x->client->body;
  size_t limit = body->limit;
  buffer_free(body);
  *body = *with;
  body->limit = limit;
  *with = (struct buffer){0};
}

static sluice_status judge(struct exchange *x, const struct wire_gate *gate, const char *dialect,
                           struct asked_refusal *why) {
  struct prompts_verdict v;
  struct buffer out;
  buffer_init(&out, 2 * x->loop->whole->o.max_body + 4096);
  sluice_status st = prompts_judge(dialect, body_of(x), gate, &out, &v, &x->err);
  if (st == SLUICE_INPUT || st == SLUICE_UNSUPPORTED) *why = (struct asked_refusal){400, "prompt_not_judged"};
  if (st == SLUICE_LIMIT) *why = (struct asked_refusal){413, "prompt_not_judged"};
  x->unread_parts = v.unread;
  if (!st && v.changed) replace_body(x, &out);
  if (!st && v.stopped) {
    x->blocked = true;
    *why = (struct asked_refusal){400, "content_filter"};
    st = sluice_fail(&x->err, SLUICE_UNSUPPORTED, "%s", blocked_words);
  }
  buffer_free(&out);
  return st;
}

sluice_status asked_judge(struct exchange *x, struct asked_refusal *why) {
  const struct wire_hooks *h = &x->loop->whole->o.hooks;
  struct slice model = member(body_of(x), "model");
  struct wire_gate prompts = {0};
  struct wire_asked a = {.request = x->number,
                         .path = slice_of(x->path),
                         .dialect = asked_dialects[x->form],
                         .model = model.len > 2 && model.ptr[0] == '"' ? (struct slice){model.ptr + 1, model.len - 2}
                                                                       : (struct slice){"", 0},
                         .head = &x->client->head};
  *why = (struct asked_refusal){503, "no_memory"};
  sluice_status st = h->begin(h->ctx, x->loop->index, &a, &x->gate, &prompts, &x->texts, &x->err);
  return st || !prompts.push ? st : judge(x, &prompts, a.dialect, why);
}

sluice_status asked_answer(struct exchange *x, struct sluice_error *err) {
  struct slice body = body_of(x), model = member(body, "model");
  bool stream = slice_is(member(body, "stream"), "true");
  struct buffer out;
  buffer_init(&out, 0);
  if (model.len && model.ptr[0] != '"') model.len = 0;
  sluice_status st = refusal_answer(x->form, stream, model, x->number, blocked_words, &out, err);
  if (!st)
    client_answer(x->client, 200, stream ? "text/event-stream" : "application/json", (struct slice){out.ptr, out.len});
  buffer_free(&out);
  return st;
}
