/* The C API's streams: one text with the bytes and tokens of it that wait. */
#include "sluice/handles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 1 << 20 }; /* that may wait: only empty ones can be so many */

/* The numbers of the API are the monitor's. */
_Static_assert(SLUICE_CONTENT == (int)MONITOR_CONTENT && SLUICE_REASONING == (int)MONITOR_REASONING &&
                   SLUICE_TOOL == (int)MONITOR_TOOL && SLUICE_REFUSAL == (int)MONITOR_REFUSAL,
               "channels");
_Static_assert(SLUICE_RULE_FLAG == (int)MONITOR_FLAG && SLUICE_RULE_MASK == (int)MONITOR_MASK &&
                   SLUICE_RULE_STOP == (int)MONITOR_STOP,
               "actions");
_Static_assert(SLUICE_EVENT_MATCH == (int)MONITOR_MATCH && SLUICE_EVENT_NOT_SCANNED == (int)MONITOR_NOT_SCANNED &&
                   SLUICE_EVENT_CAPPED == (int)MONITOR_CAPPED,
               "events");
/* The ABI, on machines of 64 bits. A failing line here means that programs in the field would break. */
#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(struct sluice_failure) == 512 && sizeof(struct sluice_span) == 32, "ABI");
_Static_assert(sizeof(struct sluice_token) == 48 && offsetof(struct sluice_token, masked) == 40, "ABI");
_Static_assert(offsetof(struct sluice_stream_options, context) == 24, "ABI");
_Static_assert(offsetof(struct sluice_verdict, text) == 24 && offsetof(struct sluice_verdict, masked) == 88, "ABI");
_Static_assert(offsetof(struct sluice_event, rule) == 24 && offsetof(struct sluice_event, unix_ns) == 104, "ABI");
_Static_assert(offsetof(struct sluice_counts, exposed) == 96, "ABI");
_Static_assert(offsetof(struct sluice_policy_info, notes) == 24, "ABI");
#endif

struct sluice_stream {
  struct sluice_policy *policy;
  struct monitor_stream *stream;
  unsigned hint;
  sluice_event_fn on_event;
  void *context;
  bool finished, failed;
  uint64_t received, shown;    /* raw bytes */
  struct buffer wait, text;    /* raw bytes from `shown` on; what the last call gave out */
  struct sluice_token *tokens; /* the last call's, then those that wait */
  size_t n_tokens, cap_tokens, given_tokens;
  uint64_t token_count;
  struct sluice_span *spans;
  size_t cap_spans;
  struct sluice_verdict verdict;
  struct sluice_counts counts;
};

void workspace_event(void *workspace, const struct monitor_event *e) {
  const struct workspace *w = workspace;
  const struct sluice_stream *s = w->stream;
  if (!s || !s->on_event) return;
  struct sluice_event event = {.struct_size = sizeof event,
                               .kind = (int32_t)e->kind,
                               .action = (int32_t)e->action,
                               .choice = e->choice,
                               .channel = e->channel,
                               .index = e->index,
                               .rule = e->rule,
                               .category = e->category,
                               .view = e->view,
                               .start = e->start,
                               .end = e->end,
                               .match_start = e->match_start,
                               .match_end = e->match_end,
                               .exposed = e->exposed,
                               .text = e->text.ptr,
                               .text_size = e->text.len,
                               .unix_ns = e->unix_ns};
  s->on_event(s->context, &event);
}

/* ---- opening ---- */

static const char *options_problem(const struct sluice_stream_options *o) {
  if (!o) return NULL;
  if (o->struct_size < sizeof *o)
    return "sluice_stream_open: options.struct_size is too small; set it to sizeof(struct sluice_stream_options)";
  /* What a newer header added and this library does not know may not be asked for. */
  for (size_t i = sizeof *o; i < o->struct_size; i++)
    if (((const char *)o)[i]) return "sluice_stream_open: options of a newer header that this library does not know";
  if (o->channel < SLUICE_CONTENT || o->channel > SLUICE_REFUSAL)
    return "sluice_stream_open: options.channel is none of SLUICE_CONTENT, _REASONING, _TOOL, _REFUSAL";
  return NULL;
}

int sluice_stream_open(struct sluice_policy *policy, const struct sluice_stream_options *options,
                       struct sluice_stream **stream, struct sluice_failure *failure) {
  static const struct sluice_stream_options defaults = SLUICE_STREAM_OPTIONS_INIT;
  const char *problem = policy && stream ? options_problem(options) : "sluice_stream_open: policy or stream is NULL";
  if (problem) return failure_set(failure, SLUICE_ERROR_USAGE, problem);
  const struct sluice_stream_options *o = options ? options : &defaults;
  struct sluice_error err = {0};
  struct workspace *w = NULL;
  struct sluice_stream *s = calloc(1, sizeof *s);
  *stream = NULL;
  if (!s) return failure_set(failure, SLUICE_ERROR_MEMORY, "no memory for a stream");
  s->policy = policy;
  s->on_event = o->on_event;
  s->context = o->context;
  s->verdict.struct_size = sizeof s->verdict;
  buffer_init(&s->wait, 0);
  buffer_init(&s->text, 0);
  sluice_status st = workspace_take(policy, s, &s->hint, &w, &err);
  if (!st) {
    st = monitor_stream_open(w->monitor, o->choice, o->channel, o->index, &s->stream, &err);
    workspace_return(w);
  }
  if (st) {
    free(s);
    return failure_from(failure, &err);
  }
  sluice_policy_ref(policy);
  *stream = s;
  return 0;
}

void sluice_stream_close(struct sluice_stream *s) {
  if (!s) return;
  monitor_stream_close(s->stream);
  sluice_policy_unref(s->policy);
  buffer_free(&s->wait);
  buffer_free(&s->text);
  free(s->tokens);
  free(s->spans);
  free(s);
}

/* ---- tokens ---- */

static sluice_status token_add(struct sluice_stream *s, uint64_t start, int64_t id, double logprob,
                               struct sluice_error *err) {
  if (s->n_tokens == s->cap_tokens) {
    size_t cap = s->cap_tokens ? 2 * s->cap_tokens : 16;
    if (cap > TOKENS_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d tokens wait", TOKENS_MAX);
    struct sluice_token *grown = realloc(s->tokens, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu tokens that wait", cap);
    s->tokens = grown;
    s->cap_tokens = cap;
  }
  s->tokens[s->n_tokens++] = (struct sluice_token){
      .number = s->token_count++, .start = start, .end = s->received, .id = id, .logprob = logprob};
  return SLUICE_OK;
}

static void tokens_forget_given(struct sluice_stream *s) {
  if (!s->given_tokens) return;
  memmove(s->tokens, s->tokens + s->given_tokens, (s->n_tokens - s->given_tokens) * sizeof *s->tokens);
  s->n_tokens -= s->given_tokens;
  s->given_tokens = 0;
}

/* Those that end before `released` leave; *spans are the masks that could touch them, ascending. */
static void tokens_release(struct sluice_stream *s, const struct monitor_verdict *v) {
  size_t span = 0, n = 0;
  for (; n < s->n_tokens && s->tokens[n].end <= v->released; n++) {
    struct sluice_token *t = &s->tokens[n];
    while (span < v->n_spans && v->spans[span].end <= t->start) span++;
    if (span == v->n_spans || v->spans[span].start >= t->end) continue;
    t->masked = 1;
    t->id = -1;
    t->logprob = NAN;
  }
  s->given_tokens = n;
  if (v->stop) s->n_tokens = n;
}

/* ---- verdicts ---- */

static sluice_status spans_copy(struct sluice_stream *s, const struct monitor_verdict *v, uint64_t from,
                                struct sluice_error *err) {
  const struct monitor_policy *p = s->policy->policy;
  s->verdict.n_spans = 0;
  if (v->n_spans > s->cap_spans) {
    size_t cap = s->cap_spans ? s->cap_spans : 8;
    while (cap < v->n_spans) cap *= 2;
    struct sluice_span *grown = realloc(s->spans, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu masks", cap);
    s->spans = grown;
    s->cap_spans = cap;
  }
  for (size_t i = 0; i < v->n_spans && v->spans[i].start < v->released; i++) {
    const struct monitor_span *span = &v->spans[i];
    if (span->end <= from) continue;
    s->spans[s->verdict.n_spans++] = (struct sluice_span){span->start, span->end, monitor_rule_id(p, span->rule),
                                                          monitor_rule_category(p, span->rule)};
  }
  s->verdict.spans = s->spans;
  return SLUICE_OK;
}

/* What v lets out since the last call: text, masks, tokens. */
static sluice_status give_out(struct sluice_stream *s, const struct monitor_verdict *v, struct sluice_error *err) {
  size_t n = (size_t)(v->released - s->shown);
  bool changed = false;
  sluice_status st = spans_copy(s, v, s->shown, err);
  if (!st && n) st = monitor_render(s->stream, s->shown, (struct slice){s->wait.ptr, n}, &s->text, &changed, err);
  if (st) return st;
  buffer_consume(&s->wait, n);
  if (v->stop) buffer_clear(&s->wait);
  tokens_release(s, v);
  s->shown = v->released;
  s->verdict.action = v->stop ? SLUICE_STOP : v->held ? SLUICE_HOLD : SLUICE_RELEASE;
  s->verdict.received = s->received;
  s->verdict.released = v->released;
  s->verdict.text = s->text.len ? s->text.ptr : "";
  s->verdict.text_size = s->text.len;
  s->verdict.tokens = s->tokens;
  s->verdict.n_tokens = s->given_tokens;
  s->verdict.rule = monitor_stream_stop_rule(s->stream);
  s->verdict.category = monitor_stream_stop_category(s->stream);
  s->verdict.masked = changed;
  monitor_forget(s->stream, s->shown);
  return SLUICE_OK;
}

struct push {
  struct slice bytes;
  bool token, finish;
  int64_t id;
  double logprob;
};

static sluice_status advance(struct sluice_stream *s, const struct push *in, struct sluice_error *err) {
  struct workspace *w = NULL;
  struct monitor_verdict v;
  uint64_t start = s->received;
  bool stopped = s->verdict.action == SLUICE_STOP;
  buffer_clear(&s->text);
  tokens_forget_given(s);
  s->received += in->bytes.len;
  sluice_status st = stopped ? SLUICE_OK : buffer_append(&s->wait, in->bytes.ptr, in->bytes.len, err);
  if (!st && in->token && !stopped) st = token_add(s, start, in->id, in->logprob, err);
  if (!st) st = workspace_take(s->policy, s, &s->hint, &w, err);
  if (st) return st;
  monitor_stream_use(s->stream, w->monitor);
  st = in->finish ? monitor_settle(s->stream, &v, err) : monitor_push(s->stream, in->bytes, &v, err);
  if (!st) st = give_out(s, &v, err);
  workspace_return(w);
  return st;
}

static int run(struct sluice_stream *s, const struct push *in, const struct sluice_verdict **verdict,
               struct sluice_failure *failure) {
  struct sluice_error err = {0};
  if (!s || !verdict || (!in->bytes.ptr && in->bytes.len))
    return failure_set(failure, SLUICE_ERROR_USAGE, "sluice_stream: stream, verdict or bytes is NULL");
  if (in->token && in->id < 0)
    return failure_set(failure, SLUICE_ERROR_USAGE, "sluice_stream_push_token: a token's id is at least 0");
  *verdict = NULL;
  if (s->failed)
    return failure_set(failure, SLUICE_ERROR_STATE, "the stream has failed before: nothing more of it may be shown");
  if (s->finished) return failure_set(failure, SLUICE_ERROR_STATE, "the stream was finished: open another one");
  s->finished = in->finish;
  if (advance(s, in, &err)) {
    s->failed = true;
    return failure_from(failure, &err);
  }
  *verdict = &s->verdict;
  return 0;
}

int sluice_stream_push(struct sluice_stream *stream, const char *bytes, size_t size,
                       const struct sluice_verdict **verdict, struct sluice_failure *failure) {
  return run(stream, &(struct push){.bytes = {bytes, size}}, verdict, failure);
}

int sluice_stream_push_token(struct sluice_stream *stream, const char *bytes, size_t size, int64_t id, double logprob,
                             const struct sluice_verdict **verdict, struct sluice_failure *failure) {
  return run(stream, &(struct push){.bytes = {bytes, size}, .token = true, .id = id, .logprob = logprob}, verdict,
             failure);
}

int sluice_stream_finish(struct sluice_stream *stream, const struct sluice_verdict **verdict,
                         struct sluice_failure *failure) {
  return run(stream, &(struct push){.finish = true}, verdict, failure);
}

const struct sluice_counts *sluice_stream_counts(struct sluice_stream *s) {
  const struct monitor_counts *c = monitor_stream_counts(s->stream);
  s->counts = (struct sluice_counts){.struct_size = sizeof s->counts,
                                     .pieces = c->pieces,
                                     .pieces_held = c->pieces_held,
                                     .tokens = s->token_count,
                                     .bytes = c->bytes,
                                     .held_sum = c->held_sum,
                                     .held_max = c->held_max,
                                     .masks = c->masks,
                                     .flags = c->flags,
                                     .stops = c->stops,
                                     .not_scanned = c->not_scanned,
                                     .capped = c->capped,
                                     .exposed = c->exposed};
  return &s->counts;
}
