/* From the upstream's answer to the client's: what is judged, how it is framed, and what is said when it fails. */
#include "wire/asked.h"

#include <stdlib.h>
#include <string.h>

enum { LEAVE_AT = 64 << 10 };

static bool type_is(const struct exchange *x, const char *type) {
  struct slice t = slice_of(x->type);
  const char *end = memchr(t.ptr, ';', t.len);
  if (end) t.len = (size_t)(end - t.ptr);
  while (t.len && (t.ptr[t.len - 1] == ' ' || t.ptr[t.len - 1] == '\t')) t.len--;
  return slice_is_nocase(t, type);
}

static sluice_status sink(void *ctx, struct slice bytes, struct sluice_error *err) {
  struct exchange *x = ctx;
  return buffer_append(&x->out, bytes.ptr, bytes.len, err);
}

static sluice_status tell_head(struct exchange *x, bool rewritten, int64_t length, struct sluice_error *err) {
  struct buffer fields;
  buffer_init(&fields, 2 * SERVER_HEAD_MAX);
  sluice_status st = answer_fields(x, rewritten, &fields, err);
  if (!st) {
    x->begun = true;
    x->told = x->status;
    client_begin(x->client, x->status, x->reason, (struct slice){fields.ptr ? fields.ptr : "", fields.len}, length);
  }
  buffer_free(&fields);
  return st;
}

static sluice_status open_filter(struct exchange *x, bool good, struct sluice_error *err) {
  struct wire_filter_options o = {.max_frame = x->loop->whole->o.max_frame, .dialect = asked_dialects[x->form]};
  if (type_is(x, "text/event-stream"))
    o.format = WIRE_SSE;
  else if (!good)
    o.format = WIRE_WORDS;
  else if (type_is(x, "application/json"))
    o.format = WIRE_JSON;
  else if (type_is(x, "application/x-ndjson") || type_is(x, "application/jsonl"))
    o.format = WIRE_JSONL;
  else
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "the upstream answered with content type \"%s\", which cannot be judged", x->type);
  x->whole = o.format >= WIRE_JSON;
  return wire_filter_open(&o, &x->gate, sink, x, &x->filter, err);
}

sluice_status answer_begin(struct exchange *x, struct sluice_error *err) {
  if (x->kind == EXCHANGE_JUDGED && answer_leads_away(x))
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "the upstream redirects to another server, whose answer would not be judged");
  bool bodyless = x->status == 204 || x->status == 304 || x->length == 0 || x->client->head_only;
  if (x->kind != EXCHANGE_JUDGED || bodyless) return tell_head(x, false, x->length, err);
  sluice_status st = open_filter(x, x->status < 300, err);
  return st || x->whole ? st : tell_head(x, true, -1, err);
}

static void charge_held(struct exchange *x) {
  struct wire_proxy *p = x->loop->whole;
  size_t held = wire_filter_held(x->filter) + x->out.len;
  if (held > x->held)
    atomic_fetch_add_explicit(&p->memory, held - x->held, memory_order_relaxed);
  else if (held < x->held)
    atomic_fetch_sub_explicit(&p->memory, x->held - held, memory_order_relaxed);
  x->held = held;
}

static void flush(struct exchange *x) {
  if (x->whole || x->out.len == 0) return;
  client_body(x->client, (struct slice){x->out.ptr, x->out.len});
  x->bytes_out += x->out.len;
  if (x->out.cap > 2 * LEAVE_AT)
    buffer_free(&x->out);
  else
    buffer_clear(&x->out);
}

/* One read from the upstream brings many events, each in a call of its own: they leave together. The first one for a
 * while mostly comes alone, and need not wait until libcurl has asked the socket whether there is more. */
static void flush_soon(struct exchange *x) {
  if (x->whole || x->out.len == 0) return;
  /* libcurl reads on while there is something to read: what waits here is bounded too */
  if (x->rested || x->out.len >= LEAVE_AT) {
    flush(x);
    return;
  }
  if (x->waits_to_leave) return;
  x->waits_to_leave = true;
  x->next_to_leave = x->loop->to_leave;
  x->loop->to_leave = x;
}

void answers_leave(struct proxy_loop *l) {
  while (l->to_leave) {
    struct exchange *x = l->to_leave;
    l->to_leave = x->next_to_leave;
    x->waits_to_leave = false;
    flush(x);
    if (x->filter) charge_held(x);
  }
}

void answer_forget(struct exchange *x) {
  struct exchange **at = &x->loop->to_leave;
  if (!x->waits_to_leave) return;
  while (*at && *at != x) at = &(*at)->next_to_leave;
  if (*at) *at = x->next_to_leave;
  x->waits_to_leave = false;
}

static void count_judging(struct proxy_counts *n, int64_t ns) {
  int at = 0;
  while (at < PROXY_JUDGE_BUCKETS && ns > pages_bucket_ns[at]) at++;
  proxy_count(&n->judge_buckets[at], 1);
  proxy_count(&n->judged_reads, 1);
  proxy_count(&n->judge_ns, (uint64_t)ns);
}

/* What waits for a verdict counts towards the one bound on all buffers. One stream may always hold a little. */
static sluice_status hold(struct exchange *x, struct sluice_error *err) {
  enum { ALWAYS = 256 << 10 };
  struct wire_proxy *p = x->loop->whole;
  size_t before = x->held;
  charge_held(x);
  if (x->held <= before || x->held <= ALWAYS || !proxy_memory_spent(p)) return SLUICE_OK;
  return sluice_fail(err, SLUICE_LIMIT, "what waits for a verdict passes this proxy's memory bound of %zu bytes",
                     p->o.max_memory);
}

struct pushing { /* the end of a long event, which is judged beside the loop */
  struct beside beside;
  struct buffer bytes;
  int64_t ns;
  sluice_status st;
  struct sluice_error err;
};

static void push_beside(struct job *job) {
  struct pushing *p = (struct pushing *)(void *)job;
  struct exchange *x = p->beside.x;
  int64_t began = clock_mono_ns();
  if (!atomic_load(&p->beside.left))
    p->st = wire_filter_push(x->filter, (struct slice){p->bytes.ptr, p->bytes.len}, &p->err);
  p->ns = clock_mono_ns() - began;
}

static void move(struct exchange *x, bool beside) {
  const struct wire_hooks *h = &x->loop->whole->o.hooks;
  h->move(h->ctx, x->loop->index, x->texts, beside);
}

static void have_pushed(struct job *job) {
  struct pushing *p = (struct pushing *)(void *)job;
  struct exchange *x = p->beside.x;
  sluice_status st = p->st;
  struct sluice_error err = p->err;
  count_judging(&x->loop->counts, p->ns);
  buffer_free(&p->bytes);
  bool left = exchange_is_back(x);
  free(p);
  if (left) return;
  move(x, false);
  flush(x);
  x->stopped = wire_filter_ended(x->filter);
  if (!st) st = hold(x, &err);
  if (st) x->err = err;
  exchange_read(x, st);
}

/* A long event is read and judged when its last bytes come; until then they are only gathered. One that waits for what
 * follows is written when that has come. */
static bool ends_long_event(const struct exchange *x, struct slice bytes) {
  enum { WAITS_LONG = 1 << 20 };
  if (x->whole || !x->loop->whole->o.hooks.move) return false;
  if (wire_filter_unread(x->filter) < BESIDE_FROM && wire_filter_held(x->filter) < WAITS_LONG) return false;
  return memchr(bytes.ptr, '\n', bytes.len) || memchr(bytes.ptr, '\r', bytes.len);
}

/* False: it is to be judged here. */
static bool pushed_beside(struct exchange *x, struct slice bytes) {
  struct sluice_error ignored = {0};
  struct pushing *p = calloc(1, sizeof *p);
  if (!p) return false;
  buffer_init(&p->bytes, 0);
  p->beside = (struct beside){.job = {push_beside, have_pushed, NULL}, .x = x};
  flush(x); /* from here on what leaves is the other thread's to write */
  answer_forget(x);
  move(x, true);
  x->next_sequence = wire_filter_sequence(x->filter) + 1;
  if (!buffer_append(&p->bytes, bytes.ptr, bytes.len, &ignored) && !jobs_add(x->loop->jobs, &p->beside.job, &ignored)) {
    x->beside = &p->beside;
    return true;
  }
  move(x, false);
  buffer_free(&p->bytes);
  free(p);
  return false;
}

/* Every eighth read is timed: looking at the clock twice costs a tenth of what is measured. */
sluice_status answer_push(struct exchange *x, struct slice bytes, struct sluice_error *err) {
  if (!x->filter) {
    sluice_status st = buffer_append(&x->out, bytes.ptr, bytes.len, err);
    flush_soon(x);
    return st;
  }
  if (ends_long_event(x, bytes) && pushed_beside(x, bytes)) return SLUICE_OK;
  bool timed = x->loop->reads++ % 8 == 0;
  int64_t began = timed ? clock_mono_ns() : 0;
  sluice_status st = wire_filter_push(x->filter, bytes, err);
  if (timed) count_judging(&x->loop->counts, clock_mono_ns() - began);
  flush_soon(x);
  x->stopped = wire_filter_ended(x->filter);
  return st ? st : hold(x, err);
}

static sluice_status finish(struct exchange *x, sluice_status st, struct sluice_error *err) {
  if (st) return st;
  if (x->filter && !x->whole && !x->framed && wire_filter_unfinished(x->filter)) {
    x->fault = FAULT_UPSTREAM; /* a server that goes down looks the same as one that has said all */
    return sluice_fail(err, SLUICE_INPUT, "upstream: it closed the connection before its answer was finished");
  }
  x->stopped = x->filter && wire_filter_stopped(x->filter);
  flush(x);
  if (!x->whole) return SLUICE_OK;
  st = tell_head(x, true, (int64_t)x->out.len, err);
  if (st) return st;
  client_body(x->client, (struct slice){x->out.ptr ? x->out.ptr : "", x->out.len});
  x->bytes_out += x->out.len;
  return SLUICE_OK;
}

struct ending { /* a whole answer, or the last event of a stream, that is judged beside the loop */
  struct beside beside;
  sluice_status st;
  struct sluice_error err;
};

static void end_filter(struct job *job) {
  struct ending *e = (struct ending *)(void *)job;
  struct exchange *x = e->beside.x;
  if (!atomic_load(&e->beside.left)) e->st = wire_filter_end(x->filter, &e->err);
  x->gate.reset(x->gate.ctx); /* all texts have been shown, and belong to this thread */
}

static void have_ended(struct job *job) {
  struct ending *e = (struct ending *)(void *)job;
  struct exchange *x = e->beside.x;
  sluice_status st = e->st;
  struct sluice_error err = e->err;
  bool left = exchange_is_back(x);
  free(e);
  if (left) return;
  if (st) x->err = err;
  exchange_finish(x, finish(x, st, &x->err));
}

static bool end_beside(struct exchange *x) {
  struct sluice_error ignored = {0};
  struct ending *e = x->loop->whole->o.hooks.move ? calloc(1, sizeof *e) : NULL;
  if (!e) return false;
  e->beside = (struct beside){.job = {end_filter, have_ended, NULL}, .x = x};
  flush(x);
  answer_forget(x);
  move(x, true);
  x->next_sequence = wire_filter_sequence(x->filter) + 1;
  x->beside = &e->beside;
  if (!jobs_add(x->loop->jobs, &e->beside.job, &ignored)) return true;
  end_filter(&e->beside.job); /* without a thread here: nothing else runs where its texts are judged now */
  have_ended(&e->beside.job);
  return true;
}

/* The upstream's answer has ended as it should, or the filter has ended it. */
sluice_status answer_finish(struct exchange *x, bool *waits, struct sluice_error *err) {
  *waits = x->filter && wire_filter_unread(x->filter) >= BESIDE_FROM && end_beside(x);
  if (*waits) return SLUICE_OK;
  return finish(x, x->filter ? wire_filter_end(x->filter, err) : SLUICE_OK, err);
}

static const char *const codes[FAULT_KINDS] = {
    "", "upstream_error", "answer_not_judged", "upstream_timeout", "client_left", "proxy_shutting_down"};

static int status_of(const struct exchange *x) {
  return x->fault == FAULT_TIMEOUT ? 504 : x->fault == FAULT_CUT ? 503 : 502;
}

/* An event that clients raise as an error, then the stream's ordinary end: a stream that merely breaks off looks like a
 * short answer. What came whole and was judged before is still owed. */
static void fail_in_stream(struct exchange *x) {
  struct sluice_error ignored = {0};
  struct buffer *out = &x->out;
  flush(x);
  if (x->fault != FAULT_UNREADABLE) wire_filter_end(x->filter, &ignored);
  bool apart = out->len == 0; /* else its last event may lack its blank line; one too many says nothing */
  flush(x);
  if (wire_filter_closed(x->filter)) { /* it had said all: one end is enough */
    client_end(x->client);
    return;
  }
  if (!type_is(x, "text/event-stream")) {
    client_abort(x->client);
    return;
  }
  int64_t sequence = wire_filter_sequence(x->filter) + 1;
  sluice_status st = apart ? SLUICE_OK : buffer_append_str(out, "\n\n", &ignored);
  if (!st) st = proxy_error_event(out, x->form, status_of(x), codes[x->fault], x->err.message, sequence, &ignored);
  flush(x);
  if (st)
    client_abort(x->client);
  else
    client_end(x->client);
}

/* The same while the filter is in the hands of the thread beside: what it was given last is not waited for. */
static void fail_meanwhile(struct exchange *x) {
  struct sluice_error ignored = {0};
  struct buffer out;
  buffer_init(&out, 0);
  sluice_status st =
      proxy_error_event(&out, x->form, status_of(x), codes[x->fault], x->err.message, x->next_sequence, &ignored);
  if (!st && type_is(x, "text/event-stream")) {
    client_body(x->client, (struct slice){out.ptr, out.len});
    client_end(x->client);
  } else {
    client_abort(x->client);
  }
  buffer_free(&out);
}

void answer_fail(struct exchange *x) {
  struct client *c = x->client;
  if (x->begun && x->beside) {
    fail_meanwhile(x);
  } else if (x->begun && x->filter && !x->whole) {
    fail_in_stream(x);
  } else if (x->begun) {
    flush(x);
    client_abort(c);
  } else {
    x->told = status_of(x);
    client_refuse(c, x->told, codes[x->fault], x->err.message);
  }
}
