/* Replies under way. Each is a talk's turn in two phases: what stands before it enters the session in chunks, then
 * token follows token. Replies of one engine advance together: their tokens of a step share one reading of the weights.
 *
 * The last token's logits are not asked for: nobody reads them. */
#include "engine/session.h"
#include "engine/talk_local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT_STEP = 256 }; /* tokens of a context that enter in one step: others wait for them */

struct reply {
  struct local_talk *talk;
  struct session *session; /* where it runs: the talk's own, or a fork */
  bool raw;                /* text that goes on: no template */
  struct sampler sampler;
  int max_tokens;
  struct slice stops[STOPS_MAX + 1]; /* the caller's, and the template's */
  size_t n_stops;
  char *stop_bytes;         /* where the caller's lie */
  struct buffer held;       /* text that may be the beginning of a stop */
  struct candidate *likely; /* [n_top] scratch */
  struct token_chance *top; /* [n_top] */
  int n_top;
  piece_fn tap;
  void *ctx;
  struct buffer *text; /* NULL: the caller keeps what it hears */
  struct talk_timing timing;
  struct ids before; /* its context, of which `fed` have entered */
  size_t fed;
  size_t *rounds; /* after so many of `before` a round of the dialogue ends */
  size_t n_rounds, ended_rounds;
  bool tells_context, context_only;
  size_t untold;   /* tokens of the context that are not told: the BOS */
  bool scored;     /* talk->logits follow what has been told */
  bool drop_space; /* the first token brings a space that is the template's */
  bool fresh;      /* talk->logits follow the newest token, or the back end has drawn its successor */
  bool has_drawn;
  struct drawn drawn;
  bool waiting; /* `next` has been heard and is not in the session yet */
  int32_t next;
  struct slice tail; /* bytes of the last token before a stop text; not yet in the session */
  bool done;
  enum outcome outcome;
  sluice_status status; /* its own failure; the others go on */
  struct sluice_error error;
};

/* ---- one token ------------------------------------------------------------------------------------------------ */
static bool ends_turn(const struct local_talk *t, int32_t id) {
  const struct model_config *c = model_configuration(t->engine->model);
  bool ends = id == c->eos || tokenizer_is_special(model_tokenizer(t->engine->model), id);
  for (int i = 0; i < c->n_more_ends; i++) ends = ends || id == c->more_ends[i];
  return ends;
}

static void finish(struct reply *a, enum outcome outcome) {
  a->done = true;
  a->outcome = outcome;
}

/* Where the first stop text begins in the held bytes; SIZE_MAX: there is none. */
static size_t find_stop(const struct reply *a) {
  size_t first = SIZE_MAX;
  for (size_t i = 0; i < a->n_stops; i++) {
    const char *found = memmem(a->held.ptr, a->held.len, a->stops[i].ptr, a->stops[i].len);
    if (found != NULL && (size_t)(found - a->held.ptr) < first) first = (size_t)(found - a->held.ptr);
  }
  return first;
}

/* How many of the held bytes no stop text can claim, whatever follows. */
static size_t certain_bytes(const struct reply *a) {
  size_t open = 0;
  for (size_t i = 0; i < a->n_stops; i++) {
    size_t n = a->stops[i].len - 1 < a->held.len ? a->stops[i].len - 1 : a->held.len;
    while (n > open && memcmp(a->held.ptr + a->held.len - n, a->stops[i].ptr, n) != 0) n--;
    if (n > open) open = n;
  }
  return a->held.len - open;
}

static bool tell(struct reply *a, struct slice bytes, int32_t id, double lp) {
  struct piece piece = {.channel = CHANNEL_CONTENT,
                        .bytes = bytes,
                        .token = id,
                        .logprob = (float)lp,
                        .surprisal = (float)-lp,
                        .top = a->top,
                        .n_top = id < 0 ? 0 : a->n_top};
  return a->tap == NULL || a->tap(a->ctx, &piece);
}

/* The first n held bytes leave with this token. *on turns false when the tap wants no more. */
static sluice_status release(struct reply *a, size_t n, int32_t id, double lp, bool *on, struct sluice_error *err) {
  struct slice bytes = {n > 0 ? a->held.ptr : "", n};
  sluice_status st = a->text != NULL ? buffer_append(a->text, bytes.ptr, n, err) : SLUICE_OK;
  if (st == SLUICE_OK) *on = tell(a, bytes, id, lp);
  buffer_consume(&a->held, n);
  return st;
}

static void list_likeliest(struct reply *a, const float *logits, double log_sum) {
  const struct local_talk *t = a->talk;
  if (a->n_top == 0) return;
  top_candidates(logits, t->vocab, a->n_top, a->likely);
  for (int i = 0; i < a->n_top; i++) {
    int32_t id = a->likely[i].id;
    struct slice bytes = tokenizer_bytes(model_tokenizer(t->engine->model), id);
    a->top[i] = (struct token_chance){id, bytes, (float)((double)a->likely[i].logit - log_sum)};
  }
}

/* Text that waited for a stop text which did not come. */
static sluice_status flush(struct reply *a, struct sluice_error *err) {
  bool on = true;
  return a->held.len > 0 ? release(a, a->held.len, -1, NAN, &on, err) : SLUICE_OK;
}

static sluice_status deliver(struct reply *a, int32_t id, double logit, double log_sum, struct sluice_error *err) {
  const struct local_talk *t = a->talk;
  const double lp = logit - log_sum;
  bool on = true;
  if (!isfinite(lp)) return sluice_fail(err, SLUICE_INTERNAL, "the model's logits are not finite");
  if (ends_turn(t, id)) {
    finish(a, OUTCOME_DONE);
    return flush(a, err);
  }
  if (a->timing.output_tokens++ == 0) a->timing.first_token_ns = clock_mono_ns();
  struct slice bytes = tokenizer_bytes(model_tokenizer(t->engine->model), id);
  const size_t before = a->held.len;
  if (a->drop_space && bytes.len > 0 && bytes.ptr[0] == ' ') bytes.ptr++, bytes.len--;
  a->drop_space = false;
  sluice_status st = buffer_append(&a->held, bytes.ptr, bytes.len, err);
  if (st != SLUICE_OK) return st;
  list_likeliest(a, t->logits, log_sum);
  const size_t stop = find_stop(a);
  if (stop != SIZE_MAX) {
    if (stop > before) a->tail = (struct slice){bytes.ptr, stop - before};
    finish(a, OUTCOME_DONE);
    return stop > 0 ? release(a, stop, id, lp, &on, err) : SLUICE_OK;
  }
  st = release(a, certain_bytes(a), id, lp, &on, err);
  a->waiting = true;
  a->next = id;
  if (!on) {
    finish(a, OUTCOME_STOPPED);
  } else if (a->timing.output_tokens >= a->max_tokens) {
    finish(a, OUTCOME_TRUNCATED);
    if (st == SLUICE_OK) st = flush(a, err);
  }
  return st;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */
static void fail(struct reply *a, sluice_status st) {
  a->status = st;
  finish(a, OUTCOME_ERROR);
  a->waiting = false;
}

/* One token of the context, and what the logits before it (NULL: nothing stands before it) gave it. */
static sluice_status tell_context(struct reply *a, int32_t id, const float *logits, bool *on,
                                  struct sluice_error *err) {
  const struct local_talk *t = a->talk;
  struct slice bytes = tokenizer_bytes(model_tokenizer(t->engine->model), id);
  double lp = NAN;
  if (a->drop_space && bytes.len > 0 && bytes.ptr[0] == ' ') bytes.ptr++, bytes.len--;
  a->drop_space = false;
  if (logits != NULL) {
    const double log_sum = logits_log_sum(logits, t->vocab);
    lp = (double)logits[id] - log_sum;
    if (!isfinite(lp)) return sluice_fail(err, SLUICE_INTERNAL, "the model's logits are not finite");
    list_likeliest(a, logits, log_sum);
  }
  const struct piece piece = {.channel = CHANNEL_CONTENT,
                              .bytes = bytes,
                              .token = id,
                              .logprob = (float)lp,
                              .surprisal = (float)-lp,
                              .top = a->top,
                              .n_top = logits != NULL ? a->n_top : 0,
                              .context = true};
  *on = *on && (a->tap == NULL || a->tap(a->ctx, &piece));
  return SLUICE_OK;
}

/* As local_append, token by token with its probability. */
static sluice_status append_told(struct reply *a, const struct ids *part, struct sluice_error *err) {
  const size_t vocab = (size_t)a->talk->vocab, most = local_score_rows(a->talk->vocab);
  float *rows = sluice_alloc_aligned(most * vocab * sizeof *rows);
  sluice_status st =
      rows == NULL ? sluice_fail(err, SLUICE_NOMEM, "no memory for %zu rows of logits", most) : SLUICE_OK;
  bool on = true;
  for (size_t at = 0; st == SLUICE_OK && on && at < part->n; at += most) {
    const size_t n = part->n - at < most ? part->n - at : most;
    st = session_append(a->session, part->at + at, n, rows, n, err);
    for (size_t i = 0; st == SLUICE_OK && i < n; i++) {
      const float *before = i > 0 ? rows + (i - 1) * vocab : a->scored ? a->talk->logits : NULL;
      if (a->fed + at + i >= a->untold) st = tell_context(a, part->at[at + i], before, &on, err);
    }
    if (st == SLUICE_OK) memcpy(a->talk->logits, rows + (n - 1) * vocab, vocab * sizeof *rows);
    a->scored = true;
  }
  free(rows);
  if (!on) finish(a, OUTCOME_STOPPED);
  return st;
}

/* The next of the context, up to the end of a round. */
static sluice_status feed_some(struct reply *a, struct sluice_error *err) {
  size_t to = a->fed + CONTEXT_STEP < a->before.n ? a->fed + CONTEXT_STEP : a->before.n;
  bool round = a->ended_rounds < a->n_rounds && a->rounds[a->ended_rounds] <= to;
  if (round) to = a->rounds[a->ended_rounds];
  struct ids part = {a->before.at + a->fed, to - a->fed};
  sluice_status st = a->tells_context ? append_told(a, &part, err) : local_append(a->session, &part, err);
  a->fed = to;
  if (st == SLUICE_OK && round) {
    a->ended_rounds++;
    st = session_end_turn(a->session, err);
  }
  if (a->done) return st;
  if (st == SLUICE_OK && a->fed == a->before.n && a->context_only) {
    finish(a, OUTCOME_TRUNCATED);
  } else if (st == SLUICE_OK && a->fed == a->before.n) {
    st = local_logits_now(a->session, a->talk->logits, err);
    a->fresh = st == SLUICE_OK;
  }
  return st;
}

static void pick(struct reply *a) {
  const struct local_talk *t = a->talk;
  int32_t id = a->has_drawn ? a->drawn.id : sampler_pick(&a->sampler, t->logits, t->vocab);
  double logit = (double)(a->has_drawn ? a->drawn.logit : t->logits[id]);
  double log_sum = a->has_drawn ? (double)a->drawn.log_sum : logits_log_sum(t->logits, t->vocab);
  a->fresh = a->has_drawn = false;
  sampler_said(&a->sampler, id);
  sluice_status st = deliver(a, id, logit, log_sum, &a->error);
  if (st != SLUICE_OK) fail(a, st);
}

enum { TOGETHER_MAX = 64 };

/* On a device that draws no row of logits comes to the host. */
static bool draws(const struct reply *a) {
  return !a->done && a->n_top == 0 && sampler_draws(&a->sampler) && session_draws(a->session);
}

static sluice_status step_drawing(struct reply *const *replies, size_t n, struct sluice_error *err) {
  struct session *sessions[TOGETHER_MAX];
  int32_t ids[TOGETHER_MAX];
  struct draw how[TOGETHER_MAX];
  struct drawn drawn[TOGETHER_MAX];
  if (n == 0) return SLUICE_OK;
  for (size_t i = 0; i < n; i++) {
    struct reply *a = replies[i];
    sessions[i] = a->session, ids[i] = a->next;
    sampler_draw(&a->sampler, &how[i]);
    a->waiting = false;
    a->fresh = a->has_drawn = true;
  }
  sluice_status st = session_draw_many(sessions, ids, how, drawn, n, err);
  for (size_t i = 0; st == SLUICE_OK && i < n; i++) replies[i]->drawn = drawn[i];
  return st;
}

static sluice_status step(struct reply *const *replies, size_t n, struct sluice_error *err) {
  struct session *sessions[TOGETHER_MAX];
  int32_t ids[TOGETHER_MAX];
  float *logits[TOGETHER_MAX];
  bool all = n > 0;
  for (size_t i = 0; i < n; i++) all = all && draws(replies[i]);
  if (all) return step_drawing(replies, n, err);
  for (size_t i = 0; i < n; i++) {
    struct reply *a = replies[i];
    sessions[i] = a->session, ids[i] = a->next;
    logits[i] = a->done ? NULL : a->talk->logits;
    a->waiting = false;
    a->fresh = !a->done;
  }
  return session_step_many(sessions, ids, logits, n, err);
}

sluice_status replies_advance(struct reply *const *replies, size_t n, struct sluice_error *err) {
  struct reply *stepping[TOGETHER_MAX];
  size_t together = 0;
  bool fed = false;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; i < n && st == SLUICE_OK; i++) {
    struct reply *a = replies[i];
    if (a->done) continue;
    if (!a->fresh && !fed && a->fed <= a->before.n) {
      fed = true;
      sluice_status own = feed_some(a, &a->error);
      if (own != SLUICE_OK) fail(a, own);
    }
    if (a->fresh) pick(a);
    if (!a->waiting) continue;
    stepping[together++] = a;
    if (together < TOGETHER_MAX) continue;
    st = step(stepping, together, err);
    together = 0;
  }
  return st == SLUICE_OK && together > 0 ? step(stepping, together, err) : st;
}

bool reply_done(const struct reply *a) {
  return a->done;
}

/* ---- begin and end -------------------------------------------------------------------------------------------- */
/* The turn that the system's text is put into; 0: it stands where it came. */
static size_t system_carrier(const struct local_talk *t, const struct reply_request *r) {
  size_t last_user = 0;
  if (!t->engine->chat->system_last || t->last_role >= 0 || r->turns[0].role != ROLE_SYSTEM) return 0;
  for (size_t i = 1; i < r->n_turns; i++)
    if (r->turns[i].role == ROLE_USER) last_user = i;
  return last_user;
}

static sluice_status add_turns(struct reply *a, const struct reply_request *r, struct sluice_error *err) {
  if (r->n_turns == 0) return SLUICE_OK;
  a->rounds = malloc(r->n_turns * sizeof *a->rounds);
  if (a->rounds == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu turns", r->n_turns);
  sluice_status st = SLUICE_OK;
  int last = a->talk->last_role;
  const size_t carrier = system_carrier(a->talk, r);
  for (size_t i = 0; i < r->n_turns && st == SLUICE_OK; i++) {
    if (i == 0 && carrier > 0) continue;
    if (i > 0 && i == carrier) st = local_encode_turn(a->talk, ROLE_SYSTEM, r->turns[0].text, &last, &a->before, err);
    if (st == SLUICE_OK) st = local_encode_turn(a->talk, r->turns[i].role, r->turns[i].text, &last, &a->before, err);
    if (r->turns[i].role == ROLE_BOT) a->rounds[a->n_rounds++] = a->before.n;
  }
  return st;
}

/* Bytes of the tokens from `from` on. */
static size_t bytes_of(const struct reply *a, size_t from) {
  size_t n = 0;
  for (size_t i = from; i < a->before.n; i++)
    n += tokenizer_bytes(model_tokenizer(a->talk->engine->model), a->before.at[i]).len;
  return n;
}

/* Text without a template, or tokens as they are. */
static sluice_status add_raw(struct reply *a, const struct reply_request *r, struct sluice_error *err) {
  const struct local_talk *t = a->talk;
  const bool puts_space = tokenizer_puts_space(model_tokenizer(t->engine->model));
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; st == SLUICE_OK && i < r->n_ids; i++) {
    if (r->ids[i] < 0 || r->ids[i] >= t->vocab)
      return sluice_fail(err, SLUICE_USAGE, "prompt: token id %d is not one of 0 to %d", r->ids[i], t->vocab - 1);
    st = ids_push(&a->before, r->ids[i], err);
  }
  a->drop_space = r->n_ids > 0 && puts_space;
  if (r->n_ids > 0 || st != SLUICE_OK) return st;
  st = local_encode_bos(t, &a->before, err);
  a->untold = a->before.n;
  if (st == SLUICE_OK) st = local_encode(t, r->prefix.ptr, r->prefix.len, TOKENIZE_SPECIALS, &a->before, err);
  a->drop_space = st == SLUICE_OK && puts_space && bytes_of(a, a->untold) == r->prefix.len + 1;
  return st;
}

static sluice_status add_opening(struct reply *a, const struct reply_request *r, struct sluice_error *err) {
  const struct slice prefix = r->prefix;
  const struct local_talk *t = a->talk;
  const struct turn_opening *open = &t->engine->chat->open[ROLE_BOT];
  const bool bare = prefix.len == 0 && open->bare != NULL;
  a->drop_space = prefix.len == 0 && (bare || tokenizer_puts_space(model_tokenizer(t->engine->model)));
  sluice_status st = local_encode_control(t, open->control, &a->before, err);
  if (st != SLUICE_OK) return st;
  const char *thought = t->engine->traits.thought_in_front, *none = t->engine->traits.no_thought;
  if (r->no_thought && none != NULL && prefix.len == 0) {
    a->drop_space = false;
    return local_encode_joined(t, open->label, slice_of(none), (struct slice){0}, NULL, &a->before, err);
  }
  if (thought == NULL || prefix.len == 0 || memmem(prefix.ptr, prefix.len, "<think>", 7) != NULL)
    return local_encode_joined(t, bare ? open->bare : open->label, prefix, (struct slice){0}, NULL, &a->before, err);
  return local_encode_joined(t, open->label, slice_of(thought), prefix, NULL, &a->before, err);
}

static sluice_status add_context(struct reply *a, const struct reply_request *r, struct sluice_error *err) {
  if (a->raw) {
    const sluice_status raw = add_raw(a, r, err);
    if (!a->tells_context) a->drop_space = false; /* the text goes on: its first token's space is its own */
    return raw;
  }
  sluice_status st = local_encode_begin(a->talk, &a->before, err);
  if (st == SLUICE_OK) st = add_turns(a, r, err);
  return st == SLUICE_OK ? add_opening(a, r, err) : st;
}

static sluice_status copy_stops(struct reply *a, const struct generate_options *o, struct sluice_error *err) {
  size_t all = 0, at = 0;
  if (o->n_stop > STOPS_MAX) return sluice_fail(err, SLUICE_USAGE, "more than %d stop texts", STOPS_MAX);
  for (size_t i = 0; i < o->n_stop; all += o->stop[i++].len) {
    if (o->stop[i].len == 0 || o->stop[i].len > STOP_BYTES_MAX) {
      return sluice_fail(err, SLUICE_USAGE, "stop text %zu: 1 to %d bytes, not %zu", i + 1, STOP_BYTES_MAX,
                         o->stop[i].len);
    }
  }
  a->stop_bytes = malloc(all + 1);
  if (a->stop_bytes == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for the stop texts");
  for (size_t i = 0; i < o->n_stop; at += o->stop[i++].len) {
    memcpy(a->stop_bytes + at, o->stop[i].ptr, o->stop[i].len);
    a->stops[a->n_stops++] = (struct slice){a->stop_bytes + at, o->stop[i].len};
  }
  const char *own = a->raw ? NULL : a->talk->engine->chat->stop_text;
  if (own != NULL) a->stops[a->n_stops++] = slice_of(own);
  return SLUICE_OK;
}

static sluice_status open_likeliest(struct reply *a, const struct generate_options *o, struct sluice_error *err) {
  if (o->top_logprobs < 0 || o->top_logprobs > TOP_LOGPROBS_MAX) {
    return sluice_fail(err, SLUICE_USAGE, "top_logprobs %d is outside 0 to %d", o->top_logprobs, TOP_LOGPROBS_MAX);
  }
  a->n_top = o->top_logprobs < a->talk->vocab ? o->top_logprobs : a->talk->vocab;
  if (a->n_top == 0) return SLUICE_OK;
  a->likely = malloc((size_t)a->n_top * sizeof *a->likely);
  a->top = malloc((size_t)a->n_top * sizeof *a->top);
  return a->likely != NULL && a->top != NULL ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for an answer");
}

sluice_status local_reply_begin(struct local_talk *t, const struct reply_request *r, const struct generate_options *o,
                                piece_fn tap, void *ctx, struct reply **out, struct sluice_error *err) {
  sluice_status st = local_check(t, !r->raw, err);
  if (st != SLUICE_OK) return st;
  struct reply *a = calloc(1, sizeof *a);
  if (a == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for an answer");
  a->talk = t;
  a->session = t->session;
  a->raw = r->raw;
  a->tells_context = r->tell_context;
  a->context_only = r->context_only;
  a->max_tokens = o->max_tokens > 0 ? o->max_tokens : 256;
  a->tap = tap, a->ctx = ctx;
  a->timing = (struct talk_timing){.started_ns = clock_mono_ns(), .attempts = 1};
  buffer_init(&a->held, TALK_TEXT_LIMIT);
  st = sampler_open(&a->sampler, o, t->vocab, err);
  if (st == SLUICE_OK) st = copy_stops(a, o, err);
  if (st == SLUICE_OK) st = open_likeliest(a, o, err);
  if (st == SLUICE_OK) st = add_context(a, r, err);
  if (st == SLUICE_OK) sampler_saw(&a->sampler, a->before.at, a->before.n);
  a->timing.prompt_tokens = (int)(session_position(t->session) + a->before.n);
  if (st != SLUICE_OK) {
    reply_close(a);
    return st;
  }
  t->broken = true; /* until it has ended: the session holds part of a turn */
  *out = a;
  return SLUICE_OK;
}

const struct talk_timing *reply_timing(const struct reply *a) {
  return &a->timing;
}

void reply_limit(struct reply *a, int max_tokens) {
  if (max_tokens < a->max_tokens) a->max_tokens = max_tokens;
}

sluice_status reply_end(struct reply *a, enum outcome *outcome, struct sluice_error *err) {
  struct local_talk *t = a->talk;
  struct ids tail = {0};
  sluice_status st = a->status;
  *outcome = OUTCOME_ERROR;
  if (st != SLUICE_OK) {
    *err = a->error;
    return st;
  }
  if (!a->done) return sluice_fail(err, SLUICE_INTERNAL, "the answer has not ended");
  a->timing.ended_ns = clock_mono_ns();
  *outcome = a->outcome;
  if (a->session != t->session || a->raw) return SLUICE_OK;
  st = local_encode(t, a->tail.ptr, a->tail.len, TOKENIZE_PLAIN | TOKENIZE_CONTINUES, &tail, err);
  if (st == SLUICE_OK) st = local_append(t->session, &tail, err);
  if (st == SLUICE_OK) st = local_close_turn(t, err);
  ids_free(&tail);
  t->broken = st != SLUICE_OK;
  return st;
}

void reply_close(struct reply *a) {
  if (a == NULL) return;
  sampler_close(&a->sampler);
  ids_free(&a->before);
  buffer_free(&a->held);
  free(a->stop_bytes);
  free(a->likely);
  free(a->top);
  free(a->rounds);
  free(a);
}

/* ---- an answer alone ------------------------------------------------------------------------------------------- */
static sluice_status run_alone(struct reply *a, enum outcome *outcome, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  while (!reply_done(a) && st == SLUICE_OK) st = replies_advance(&a, 1, err);
  return st == SLUICE_OK ? reply_end(a, outcome, err) : st;
}

/* Runs in a fork that begins behind the turn's opening, then feeds the caller's text instead of what came out. */
static sluice_status run_aside(struct reply *a, struct slice prefix, struct slice commit_text, enum outcome *outcome,
                               struct sluice_error *err) {
  struct local_talk *t = a->talk;
  const struct turn_opening *open = &t->engine->chat->open[ROLE_BOT];
  struct ids first = {0}, committed = {0};
  struct session *fork = NULL;
  sluice_status st = local_encode_begin(t, &first, err);
  if (st == SLUICE_OK) st = local_encode_control(t, open->control, &first, err);
  if (st == SLUICE_OK) st = local_append(t->session, &first, err);
  if (st == SLUICE_OK) st = session_fork(t->session, &fork, err);
  if (st == SLUICE_OK) {
    a->session = fork;
    a->fed = first.n;
    st = run_alone(a, outcome, err);
    session_count_aside(t->session, fork);
  }
  session_close(fork);
  if (st == SLUICE_OK) st = local_encode_joined(t, open->label, prefix, commit_text, &first, &committed, err);
  if (st == SLUICE_OK) st = local_append(t->session, &committed, err);
  if (st == SLUICE_OK) st = local_close_turn(t, err);
  t->broken = st != SLUICE_OK;
  ids_free(&first);
  ids_free(&committed);
  return st;
}

sluice_status local_generate(struct local_talk *t, struct slice prefix, const struct generate_options *o, piece_fn tap,
                             void *ctx, const struct slice *commit_text, struct buffer *text, enum outcome *outcome,
                             struct talk_timing *timing, struct sluice_error *err) {
  struct reply *a = NULL;
  sluice_status st = local_reply_begin(t, &(struct reply_request){.prefix = prefix}, o, tap, ctx, &a, err);
  if (st != SLUICE_OK) return st;
  a->text = text;
  st = commit_text != NULL ? run_aside(a, prefix, *commit_text, outcome, err) : run_alone(a, outcome, err);
  *timing = a->timing;
  reply_close(a);
  return st;
}
