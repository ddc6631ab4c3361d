/* One request on its way to the upstream and back. */
#include "wire/asked.h"

#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000LL
#define RESTED_NS 2000000LL

/* ---- the end ---- */

static const char *outcome_of(const struct exchange *x) {
  static const char *const names[FAULT_KINDS] = {"done",    "upstream_error", "unreadable",
                                                 "timeout", "client_left",    "cut"};
  return x->fault ? names[x->fault] : x->blocked ? "blocked" : x->stopped ? "stopped" : x->easy ? "done" : "refused";
}

static void record(struct exchange *x) {
  struct proxy_counts *n = &x->loop->counts;
  const struct wire_hooks *h = &x->loop->whole->o.hooks;
  int64_t now = clock_mono_ns();
  struct wire_record r = {.request = x->number,
                          .method = x->method ? x->method : "",
                          .path = x->path ? x->path : "",
                          .status = x->told,
                          .upstream_status = x->status,
                          .outcome = outcome_of(x),
                          .detail = x->err.message,
                          .judged = x->filter != NULL,
                          .streamed = x->filter && !x->whole,
                          .unread_parts = x->unread_parts,
                          .bytes_in = x->bytes_in,
                          .bytes_out = x->bytes_out,
                          .upstream = x->tried ? x->loop->whole->targets[x->target].name : "",
                          .token_limit = x->token_limit,
                          .first_ns = x->first_ns ? x->first_ns - x->began_ns : -1,
                          .total_ns = now - x->began_ns};
  int class = x->told / 100;
  proxy_count(&n->requests[x->kind][class > 5 || class < 0 ? 5 : class], 1);
  proxy_count(&n->faults[x->fault], 1);
  proxy_count(&n->stops, x->stopped);
  proxy_count(&n->bytes_in, x->bytes_in);
  proxy_count(&n->bytes_out, x->bytes_out);
  h->finish(h->ctx, x->loop->index, x->texts, &r);
}

/* x->easy still says afterwards that there was one. */
static void drop_transfer(struct exchange *x) {
  if (!x->under_way) return;
  x->under_way = false;
  /* With HTTP/2 libcurl (7.88) keeps the reset of a stream back until its connection next has something to send. One
   * that carries no other stream is closed instead. */
  if (!x->ended && x->loop->whole->o.upstream_http2) curl_easy_setopt(x->easy, CURLOPT_FORBID_REUSE, 1L);
  upstream_remove(x->loop->upstream, x->easy);
  curl_easy_cleanup(x->easy); /* one that has not ended takes its connection with it: the upstream sees it at once */
  atomic_fetch_sub(&x->loop->whole->targets[x->target].outstanding, 1);
}

static void unlist(struct exchange *x) {
  if (x->unlisted) return;
  x->unlisted = true;
  if (x->prev)
    x->prev->next = x->next;
  else
    x->loop->exchanges = x->next;
  if (x->next) x->next->prev = x->prev;
}

/* The client must have been told by now. */
static void exchange_end(struct exchange *x) {
  struct proxy_loop *l = x->loop;
  answer_forget(x);
  if (x->filter) proxy_count(&l->counts.emptied, wire_filter_emptied(x->filter));
  wire_filter_close(x->filter);
  record(x);
  unlist(x);
  atomic_fetch_sub(&l->whole->n_streams, 1);
  atomic_fetch_sub_explicit(&l->whole->memory, EXCHANGE_BYTES + x->held + x->ahead, memory_order_relaxed);
  curl_slist_free_all(x->fields);
  buffer_free(&x->head);
  buffer_free(&x->out);
  free(x->method);
  free(x->path);
  free(x);
}

/* Its client goes while it is worked on beside the loop: what is read there stays until that is over. */
static void leave_beside(struct exchange *x) {
  x->beside->kept = x->client->body;
  x->client->body = (struct buffer){0};
  atomic_store(&x->beside->left, true);
  unlist(x);
}

bool exchange_is_back(struct exchange *x) {
  struct beside *b = x->beside;
  bool left = atomic_load(&b->left);
  buffer_free(&b->kept);
  x->beside = NULL;
  x->heard_ns = clock_mono_ns();
  if (left) exchange_end(x);
  return left;
}

static sluice_status fault_of(struct exchange *x, CURLcode code) {
  if (x->fault) return x->err.code; /* said already, where it arose */
  if (!x->status && code != CURLE_OUT_OF_MEMORY) target_note(x->loop->whole, x->target, false);
  x->fault = code == CURLE_OPERATION_TIMEDOUT ? FAULT_TIMEOUT : FAULT_UPSTREAM;
  return sluice_fail(&x->err, SLUICE_NETWORK, "upstream: %s", curl_easy_strerror(code));
}

static bool ask_another(struct exchange *x);

/* Another server may be asked when nothing of an answer came, and asking twice does no harm: nothing had been sent, or
 * the method says so (RFC 9110, 9.2.2). */
static bool may_repeat(const struct exchange *x) {
  static const char *const idempotent[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"};
  long sent = 0;
  if (x->status || x->begun || (x->fault != FAULT_UPSTREAM && x->fault != FAULT_TIMEOUT)) return false;
  curl_easy_getinfo(x->easy, CURLINFO_REQUEST_SIZE, &sent);
  bool harmless = sent == 0;
  for (size_t i = 0; i < sizeof idempotent / sizeof *idempotent; i++) harmless |= !strcmp(x->method, idempotent[i]);
  return harmless;
}

static void exchange_done(struct transfer *transfer, CURLcode code) {
  struct exchange *x = (struct exchange *)(void *)transfer;
  if (x->beside) { /* what came last is still being judged */
    x->done_meanwhile = true;
    x->done_code = code;
    return;
  }
  bool cancelled = x->stopped && code != CURLE_OK;
  sluice_status st = SLUICE_OK;
  if (cancelled) proxy_count(&x->loop->counts.cancelled, 1);
  if (code && !cancelled) st = fault_of(x, code);
  if (!code && x->loop->idle[x->target] < UPSTREAM_IDLE_MAX) x->loop->idle[x->target]++;
  bool again = st && may_repeat(x);
  x->ended = !code;
  drop_transfer(x);
  if (again && ask_another(x)) return;
  bool waits = false;
  if (!st && !x->fault) st = answer_finish(x, &waits, &x->err);
  if (!waits) exchange_finish(x, st);
}

void exchange_finish(struct exchange *x, sluice_status st) {
  if (st && !x->fault) x->fault = FAULT_UNREADABLE;
  if (x->fault)
    answer_fail(x);
  else
    client_end(x->client);
  exchange_end(x);
}

void exchange_read(struct exchange *x, sluice_status st) {
  bool done = x->done_meanwhile;
  x->done_meanwhile = false;
  if (st) x->fault = FAULT_UNREADABLE;
  if (done || st || x->stopped)
    exchange_done(&x->transfer, done ? x->done_code : CURLE_WRITE_ERROR);
  else
    exchange_resume(x);
}

void exchange_leave(struct exchange *x) {
  drop_transfer(x);
  x->client->call = NULL;
  x->fault = FAULT_CLIENT_LEFT;
  proxy_count(&x->loop->counts.cancelled, x->tried != 0);
  if (x->beside)
    leave_beside(x);
  else
    exchange_end(x);
}

void exchange_cut(struct exchange *x, enum fault why, const char *message) {
  if (why == FAULT_TIMEOUT && !x->status && x->tried) target_note(x->loop->whole, x->target, false);
  bool beside = x->beside != NULL;
  drop_transfer(x);
  x->fault = why;
  if (beside) leave_beside(x);
  sluice_fail(&x->err, SLUICE_NETWORK, "%s", message);
  answer_fail(x);
  if (!beside) exchange_end(x);
}

/* HTTP/2 has granted a stream 32 MiB before it is paused: libcurl (7.88) takes what still comes, so that the
 * connection's other streams go on, and keeps it. True: that passes the bound on all buffers. */
static bool runs_ahead(struct exchange *x) {
  enum { ALWAYS = 256 << 10 };
  struct wire_proxy *p = x->loop->whole;
  curl_off_t came = 0;
  if (!p->o.upstream_http2 || !x->under_way) return false;
  if (x->paused) curl_easy_getinfo(x->easy, CURLINFO_SIZE_DOWNLOAD_T, &came);
  size_t before = x->ahead;
  x->ahead = came > 0 && (uint64_t)came > x->bytes_in ? (size_t)((uint64_t)came - x->bytes_in) : 0;
  if (x->ahead > before)
    atomic_fetch_add_explicit(&p->memory, x->ahead - before, memory_order_relaxed);
  else if (x->ahead < before)
    atomic_fetch_sub_explicit(&p->memory, before - x->ahead, memory_order_relaxed);
  return x->ahead > ALWAYS && proxy_memory_spent(p);
}

void exchange_tick(struct exchange *x, int64_t now) {
  const struct wire_proxy_options *o = &x->loop->whole->o;
  if (runs_ahead(x))
    exchange_cut(x, FAULT_UPSTREAM, "what the upstream sent ahead of a slow client passes this proxy's memory bound");
  else if (now - x->began_ns > o->total_s * SECOND)
    exchange_cut(x, FAULT_TIMEOUT, "the answer took longer than this proxy allows");
  else if (!x->paused && !x->beside && now - x->heard_ns > o->idle_s * SECOND)
    exchange_cut(x, FAULT_TIMEOUT, "the upstream has been silent for too long");
}

/* ---- libcurl's callbacks: no transfer may be removed here ---- */

/* The answer's own status line; an interim one (1xx) is followed by another. */
static bool status_line(struct exchange *x, struct slice line) {
  const char *space = memchr(line.ptr, ' ', line.len);
  size_t at = space ? (size_t)(space - line.ptr) + 1 : line.len;
  if (line.len < at + 3) return false;
  x->status = 0;
  for (size_t i = at; i < at + 3; i++) {
    if (line.ptr[i] < '0' || line.ptr[i] > '9') return false;
    x->status = 10 * x->status + (line.ptr[i] - '0');
  }
  at += line.len > at + 3 ? 4 : 3;
  snprintf(x->reason, sizeof x->reason, "%.*s", (int)(line.len - at), line.ptr + at);
  buffer_clear(&x->head);
  x->encoded = false;
  x->framed = line.len > 5 && line.ptr[5] >= '2'; /* HTTP/2 */
  x->length = -1;
  x->type[0] = '\0';
  return true;
}

static sluice_status take_field(struct exchange *x, struct slice line) {
  struct http_field f;
  if (!http_field_parse(line, &f)) return SLUICE_OK; /* not passed on either */
  if (slice_is_nocase(f.name, "content-type"))
    snprintf(x->type, sizeof x->type, "%.*s", (int)(f.value.len > 127 ? 127 : f.value.len), f.value.ptr);
  x->framed |= slice_is_nocase(f.name, "content-length") || slice_is_nocase(f.name, "transfer-encoding");
  x->encoded |= slice_is_nocase(f.name, "content-encoding") && !slice_is_nocase(f.value, "identity");
  sluice_status st = buffer_append(&x->head, line.ptr, line.len, &x->err);
  return st ? st : buffer_append_str(&x->head, "\n", &x->err);
}

static size_t on_field(char *bytes, size_t size, size_t n, void *ctx) {
  struct exchange *x = ctx;
  struct slice line = {bytes, size * n};
  sluice_status st = SLUICE_OK;
  x->heard_ns = clock_mono_ns();
  while (line.len && (line.ptr[line.len - 1] == '\n' || line.ptr[line.len - 1] == '\r')) line.len--;
  if (x->head_done) return size * n; /* a trailer: not passed on */
  if (line.len >= 5 && memcmp(line.ptr, "HTTP/", 5) == 0) {
    if (!status_line(x, line)) st = sluice_fail(&x->err, SLUICE_INPUT, "the upstream's status line is malformed");
  } else if (line.len) {
    st = take_field(x, line);
  } else if (x->status >= 200) {
    curl_off_t length = -1;
    x->head_done = true;
    x->first_ns = x->heard_ns;
    target_note(x->loop->whole, x->target, true);
    curl_easy_getinfo(x->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    x->length = length;
    st = answer_begin(x, &x->err);
    if (st) x->fault = FAULT_UNREADABLE;
  }
  if (st && !x->fault) x->fault = FAULT_UPSTREAM;
  return st ? 0 : size * n;
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *ctx) {
  struct exchange *x = ctx;
  size_t backlog = client_backlog(x->client) + (x->filter ? 0 : x->out.len);
  x->rested = x->loop->now_ns - x->heard_ns > RESTED_NS;
  x->heard_ns = x->loop->now_ns;
  if (x->beside) { /* in order: until what came before has been judged */
    x->paused = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  if (backlog >= SERVER_BACKLOG_HIGH || (backlog && proxy_memory_spent(x->loop->whole))) {
    x->paused = true;
    proxy_count(&x->loop->counts.pauses, 1);
    return CURL_WRITEFUNC_PAUSE; /* libcurl stops reading: the upstream feels the slow client in its own send */
  }
  x->bytes_in += size * n;
  if (answer_push(x, (struct slice){bytes, size * n}, &x->err)) {
    x->fault = FAULT_UNREADABLE;
    return 0;
  }
  return x->stopped ? 0 : size * n;
}

void exchange_resume(struct exchange *x) {
  struct upstream *u = x->loop->upstream;
  if (!x->paused || x->beside || client_backlog(x->client) > SERVER_BACKLOG_LOW) return;
  x->paused = false;
  x->heard_ns = x->loop->now_ns = clock_mono_ns();
  CURLcode code = curl_easy_pause(x->easy, CURLPAUSE_CONT);
  if (code) /* what on_bytes refused just now is told here alone */
    exchange_done(&x->transfer, code);
  else
    upstream_check(u);
}

/* ---- the request ---- */

static bool ends_with(struct slice s, const char *tail) {
  size_t n = strlen(tail);
  return s.len >= n && memcmp(s.ptr + s.len - n, tail, n) == 0;
}

/* Judged by the path as a server would read it, so that no spelling of it slips by. */
static enum exchange_kind kind_of(struct slice method, struct slice path, enum answer_form *form) {
  static const char *const unjudged[] = {"/messages",
                                         "/completion",
                                         "/complete",
                                         "/infill",
                                         "/generate",
                                         "/generate_stream",
                                         "/generate/stream",
                                         "/api/chat",
                                         "/api/generate",
                                         "/chat",
                                         "/chat-stream",
                                         "/invocations",
                                         "/invoke",
                                         "/invoke-with-response-stream",
                                         "/converse",
                                         "/converse-stream",
                                         ":generatecontent",
                                         ":streamgeneratecontent",
                                         ":rawpredict",
                                         ":streamrawpredict",
                                         "/runs",
                                         "/submit_tool_outputs"};
  static const char *const harmless[] = {"GET", "HEAD", "OPTIONS", "DELETE", "TRACE", "CONNECT"};
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) /* some servers take PUT, or post, for POST */
    if (slice_is_nocase(method, harmless[i])) return EXCHANGE_PASSED;
  if (ends_with(path, "/chat/completions")) return EXCHANGE_JUDGED;
  if (ends_with(path, "/completions")) *form = FORM_COMPLETIONS;
  if (ends_with(path, "/responses")) *form = FORM_RESPONSES;
  if (ends_with(path, "/v1/messages")) *form = FORM_MESSAGES; /* not /v1/threads/ID/messages, which no dialect reads */
  if (*form != FORM_CHAT) return EXCHANGE_JUDGED;
  for (size_t i = 0; i < sizeof unjudged / sizeof *unjudged; i++)
    if (ends_with(path, unjudged[i])) return EXCHANGE_UNJUDGED;
  return EXCHANGE_PASSED;
}

static sluice_status add_line(struct curl_slist **list, const char *line, struct sluice_error *err) {
  struct curl_slist *grown = line ? curl_slist_append(*list, line) : NULL;
  if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for the request's fields");
  *list = grown;
  return SLUICE_OK;
}

static bool goes_on(const struct exchange *x, const struct http_head *h, const struct http_field *f) {
  static const char *const own[] = {
      "host",          "content-length",   "expect", "x-http-method-override",
      "x-http-method", "x-method-override"}; /* the last ones: the method that was judged is the one asked */
  static const char *const judged[] = {"accept-encoding", "range", "if-range", "if-none-match", "if-modified-since"};
  bool drop = http_field_is_of_hop(f->name);
  for (size_t i = 0; i < sizeof own / sizeof *own; i++) drop |= slice_is_nocase(f->name, own[i]);
  for (size_t i = 0; x->kind == EXCHANGE_JUDGED && i < sizeof judged / sizeof *judged; i++)
    drop |= slice_is_nocase(f->name, judged[i]);
  for (size_t i = 0; !drop && i < h->n_fields; i++)
    drop = slice_is_nocase(h->fields[i].name, "connection") && http_list_has(h->fields[i].value, f->name);
  return !drop;
}

static sluice_status make_fields(struct exchange *x, const struct http_head *h, struct sluice_error *err) {
  static const char *const defaults[] = {"Accept", "User-Agent", "Content-Type"};
  bool has[3] = {false, false, false};
  sluice_status st = add_line(&x->fields, "Expect:", err); /* what libcurl would add of itself is taken away */
  for (size_t i = 0; !st && i < h->n_fields; i++) {
    const struct http_field *f = &h->fields[i];
    if (!goes_on(x, h, f)) continue;
    for (size_t k = 0; k < 3; k++) has[k] |= slice_is_nocase(f->name, defaults[k]);
    char *line = f->value.len
                     ? sluice_format("%.*s: %.*s", (int)f->name.len, f->name.ptr, (int)f->value.len, f->value.ptr)
                     : sluice_format("%.*s;", (int)f->name.len, f->name.ptr);
    st = add_line(&x->fields, line, err);
    free(line);
  }
  for (size_t k = 0; !st && k < 3; k++) {
    char line[32];
    snprintf(line, sizeof line, "%s:", defaults[k]);
    if (!has[k]) st = add_line(&x->fields, line, err);
  }
  return st;
}

static sluice_status set_options(struct exchange *x) {
  const struct wire_proxy *p = x->loop->whole;
  const struct client *c = x->client;
  CURL *e = x->easy;
  char *target = sluice_format("%s%.*s", p->targets[x->target].prefix, (int)c->head.target.len, c->head.target.ptr);
  bool bad = !target || curl_easy_setopt(e, CURLOPT_REQUEST_TARGET, target) || !target_set(p, x->target, e) ||
             curl_easy_setopt(e, CURLOPT_HTTPHEADER, x->fields);
  free(target);
  if (c->head_only) {
    bad |= curl_easy_setopt(e, CURLOPT_NOBODY, 1L) != CURLE_OK;
  } else if (c->body.len || c->head.chunked || slice_is(c->head.method, "POST")) {
    bad |= curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.len) ||
           curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body.ptr ? c->body.ptr : "");
  }
  if (!c->head_only) bad |= curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, x->method) != CURLE_OK;
  /* identity is asked for; what is sent compressed all the same is decoded. */
  if (x->kind == EXCHANGE_JUDGED) bad |= curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "identity") != CURLE_OK;
  curl_easy_setopt(e, CURLOPT_PRIVATE, (char *)(void *)x);
  curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_field);
  curl_easy_setopt(e, CURLOPT_HEADERDATA, x);
  curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_bytes);
  curl_easy_setopt(e, CURLOPT_WRITEDATA, x);
  curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
  return bad ? sluice_fail(&x->err, SLUICE_NOMEM, "no memory for the request") : SLUICE_OK;
}

static sluice_status prepare(struct exchange *x, const struct http_head *h) {
  struct buffer plain;
  buffer_init(&plain, SERVER_HEAD_MAX);
  sluice_status st = http_path_plain(h->target, &plain, &x->err);
  x->kind = st ? EXCHANGE_PASSED : kind_of(h->method, (struct slice){plain.ptr ? plain.ptr : "", plain.len}, &x->form);
  buffer_free(&plain);
  const char *query = memchr(h->target.ptr, '?', h->target.len);
  size_t path = query ? (size_t)(query - h->target.ptr) : h->target.len;
  x->method = sluice_strndup(h->method.ptr, h->method.len);
  x->path = sluice_strndup(h->target.ptr, path); /* without the query, which may hold keys */
  if (!st && (!x->method || !x->path)) st = sluice_fail(&x->err, SLUICE_NOMEM, "no memory for the request");
  return st ? st : make_fields(x, h, &x->err);
}

static void refuse(struct exchange *x, int status, const char *code, const char *message) {
  x->told = status;
  proxy_count(&x->loop->counts.refused, 1);
  if (!x->err.message[0]) sluice_fail(&x->err, SLUICE_UNSUPPORTED, "%s", message);
  client_refuse(x->client, status, code, message);
  exchange_end(x);
}

/* libcurl looks for a connection to use again among all that are open: with thousands of streams under way that is most
 * of a request's cost. Where none can be idle it is told not to look. */
static void spare_the_search(struct exchange *x) {
  unsigned *idle = &x->loop->idle[x->target];
  if (x->loop->whole->o.upstream_http2) return;
  if (*idle > 0)
    --*idle;
  else
    curl_easy_setopt(x->easy, CURLOPT_FRESH_CONNECT, 1L);
}

static sluice_status start_transfer(struct exchange *x) {
  x->ended = false;
  struct target *t = &x->loop->whole->targets[x->target];
  x->easy = curl_easy_init();
  if (!x->easy) return sluice_fail(&x->err, SLUICE_NOMEM, "no memory for the request");
  sluice_status st = set_options(x);
  spare_the_search(x);
  if (!st) st = upstream_add(x->loop->upstream, x->easy, &x->err);
  if (st) {
    curl_easy_cleanup(x->easy);
    x->easy = NULL;
    return st;
  }
  x->under_way = true;
  x->tried |= UINT64_C(1) << x->target;
  atomic_fetch_add(&t->outstanding, 1);
  atomic_fetch_add(&t->requests, 1);
  return SLUICE_OK;
}

void exchange_asked(struct exchange *x, sluice_status st, const struct asked_refusal *why) {
  struct sluice_error ignored = {0};
  if (!st) {
    if (start_transfer(x)) refuse(x, 503, "no_memory", "no memory for the request");
  } else if (x->blocked && x->loop->whole->o.refuse_blocked && !asked_answer(x, &ignored)) {
    x->told = 200;
    exchange_end(x);
  } else {
    char words[sizeof x->err.message];
    snprintf(words, sizeof words, "%s", x->err.message);
    refuse(x, why->status, why->code, words);
  }
}

static void ask(struct exchange *x) {
  struct asked_refusal why;
  sluice_status st = asked_judge(x, &why);
  if (!x->beside) exchange_asked(x, st, &why);
}

/* After a server that gave no answer. False: there is no other, or it cannot be asked. */
static bool ask_another(struct exchange *x) {
  enum fault fault = x->fault;
  struct sluice_error before = x->err;
  size_t first = x->target, next = target_pick(x->loop->whole, x->tried);
  if (next == PROXY_TARGETS_MAX) return false;
  x->target = next;
  x->fault = FAULT_NONE;
  x->err = (struct sluice_error){0};
  x->heard_ns = clock_mono_ns();
  if (!start_transfer(x)) {
    proxy_count(&x->loop->counts.repeated, 1);
    return true;
  }
  x->target = first;
  x->fault = fault;
  x->err = before;
  return false;
}

void exchange_start(struct client *c) {
  struct proxy_loop *l = client_loop(c);
  struct wire_proxy *p = l->whole;
  struct exchange *x = calloc(1, sizeof *x);
  if (!x) {
    client_refuse(c, 503, "no_memory", "no memory for the request");
    return;
  }
  x->transfer.done = exchange_done;
  x->loop = l;
  x->client = c;
  x->number = atomic_fetch_add(&p->numbers, 1) + 1;
  x->length = x->token_limit = -1;
  x->began_ns = x->heard_ns = clock_mono_ns();
  buffer_init(&x->head, SERVER_HEAD_MAX);
  buffer_init(&x->out, 4 * p->o.max_frame + SERVER_HEAD_MAX);
  x->next = l->exchanges;
  if (x->next) x->next->prev = x;
  l->exchanges = x;
  size_t streams = atomic_fetch_add(&p->n_streams, 1) + 1;
  bool spent = proxy_memory_spent(p);
  atomic_fetch_add_explicit(&p->memory, EXCHANGE_BYTES, memory_order_relaxed);
  c->call = x;
  sluice_status st = prepare(x, &c->head);
  x->target = target_pick(p, 0);
  if (!st && spent)
    refuse(x, 503, "memory_bound", "this proxy holds as many bytes as it may; please try again");
  else if (!st && streams > p->o.max_streams)
    refuse(x, 503, "too_many_streams", "this proxy carries as many streams as it may; please try again");
  else if (!st && x->kind == EXCHANGE_UNJUDGED && !p->o.pass_unjudged)
    refuse(
        x, 501, "answer_not_judged",
        "this proxy judges Chat Completions, Completions, Responses and Messages only; started with --pass-unjudged it "
        "lets others by");
  else if (!st && x->kind == EXCHANGE_JUDGED)
    ask(x);
  else if (st || start_transfer(x))
    refuse(x, 503, "no_memory", "no memory for the request");
}
