/* One choice of a request: its talk, its reply, and the frames that its tokens become. */
#include "cli/serve.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- what a token becomes ------------------------------------------------------------------------------------- */

static const char *keep(struct serve_call *c, struct slice bytes) {
  return arena_strndup(&c->memory, bytes.len ? bytes.ptr : "", bytes.len);
}

/* Log-probabilities of an answer that is not streamed wait for its end. */
static sluice_status keep_token(struct serve_choice *c, const struct wire_token *t, struct sluice_error *err) {
  struct arena *a = &c->call->memory;
  if (c->n_tokens == c->cap_tokens) {
    const size_t cap = c->cap_tokens ? 2 * c->cap_tokens : 64;
    struct wire_token *grown = realloc(c->tokens, cap * sizeof *grown);
    if (!grown) return sluice_fail(err, SLUICE_NOMEM, "no memory for log-probabilities");
    c->tokens = grown;
    c->cap_tokens = cap;
  }
  struct wire_token *top = t->n_top ? arena_alloc(a, t->n_top * sizeof *top) : NULL;
  const char *bytes = keep(c->call, t->bytes);
  if (!bytes || (t->n_top && !top)) return sluice_fail(err, SLUICE_NOMEM, "no memory for log-probabilities");
  for (size_t i = 0; i < t->n_top; i++) {
    top[i] = t->top[i];
    top[i].bytes.ptr = keep(c->call, t->top[i].bytes);
    if (!top[i].bytes.ptr) return sluice_fail(err, SLUICE_NOMEM, "no memory for log-probabilities");
  }
  c->tokens[c->n_tokens++] = (struct wire_token){{bytes, t->bytes.len}, t->logprob, top, t->n_top};
  return SLUICE_OK;
}

/* How many bytes of the carry are whole characters. Bytes that are none go with them: JSON shows them as U+FFFD. */
static size_t whole_characters(const struct buffer *carry) {
  size_t bad = 0;
  if (!carry->len) return 0;
  const size_t valid = utf8_valid_prefix(carry->ptr, carry->len, &bad);
  return bad == carry->len ? valid : carry->len;
}

static sluice_status tell_piece(struct serve_choice *c, struct slice text, const struct wire_token *token,
                                const char *finish, struct sluice_error *err) {
  struct serve_call *call = c->call;
  const struct wire_piece p = {.choice = c->index,
                               .first = !c->told && call->request.chat,
                               .text = text,
                               .finish = finish,
                               .tokens = token,
                               .n_tokens = token ? 1 : 0,
                               .text_offset = c->offset,
                               .logprobs = token != NULL};
  c->told = true;
  c->offset += wire_characters(text);
  buffer_clear(&call->frame);
  sluice_status st = wire_answer_piece(&call->answer, &p, &call->frame, err);
  return st ? st : serve_send_frame(call, err);
}

static sluice_status take_text(struct serve_choice *c, struct slice bytes, const struct wire_token *token,
                               struct sluice_error *err) {
  struct buffer *to = c->call->request.stream ? &c->carry : &c->text;
  sluice_status st = buffer_append(to, bytes.ptr, bytes.len, err);
  if (st) return st;
  if (!c->call->request.stream) return token ? keep_token(c, token, err) : SLUICE_OK;
  const size_t whole = whole_characters(&c->carry);
  if (whole || token) st = tell_piece(c, (struct slice){whole ? c->carry.ptr : "", whole}, token, NULL, err);
  buffer_consume(&c->carry, whole);
  return st;
}

static bool on_piece(void *ctx, const struct piece *p) {
  struct serve_choice *c = ctx;
  struct serve_call *call = c->call;
  struct wire_token top[WIRE_TOP_MAX], token = {.top = top};
  const bool asked = call->request.logprobs && p->token >= 0;
  if (!call->first_ns && !p->context) call->first_ns = clock_mono_ns();
  if (asked) {
    token.bytes = tokenizer_bytes(model_tokenizer(engine_model(call->serve->engine)), p->token);
    token.logprob = (double)p->logprob;
    for (; token.n_top < (size_t)p->n_top; token.n_top++)
      top[token.n_top] = (struct wire_token){p->top[token.n_top].bytes, (double)p->top[token.n_top].logprob, NULL, 0};
  }
  if (!call->status) call->status = take_text(c, p->bytes, asked ? &token : NULL, &call->err);
  return !call->status && call->wire && !call->stopped;
}

/* ---- begin and end --------------------------------------------------------------------------------------------- */

/* logit_bias, in the call's memory; NULL: none, or no memory, which *st then says. */
static const struct token_bias *biases_of(const struct serve_choice *c, sluice_status *st, struct sluice_error *err) {
  const struct wire_request *r = &c->call->request;
  if (!r->n_bias) return NULL;
  struct token_bias *bias = arena_alloc(&c->call->memory, r->n_bias * sizeof *bias);
  if (!bias) *st = sluice_fail(err, SLUICE_NOMEM, "no memory for logit_bias");
  for (size_t i = 0; bias && i < r->n_bias; i++)
    bias[i] = (struct token_bias){r->bias[i].token, (float)r->bias[i].added};
  return bias;
}

static struct generate_options options_of(const struct serve_choice *c) {
  const struct wire_request *r = &c->call->request;
  struct serve *s = c->call->serve;
  const int64_t unsaid = r->chat ? s->max_tokens : 16; /* OpenAI's own default for completions */
  return (struct generate_options){.max_tokens = (int)(r->max_tokens > 0 ? r->max_tokens : unsaid),
                                   .temperature = isnan(r->temperature) ? 1 : (float)r->temperature,
                                   .top_k = r->top_k > 0 ? (int)r->top_k : 0,
                                   .top_p = isnan(r->top_p) ? 0
                                            : r->top_p > 0  ? (float)r->top_p
                                                            : 1e-6f, /* 0: the likeliest alone */
                                   .min_p = isnan(r->min_p) ? 0 : (float)r->min_p,
                                   .repetition_penalty =
                                       isnan(r->repetition_penalty) ? 0 : (float)r->repetition_penalty,
                                   .frequency_penalty = (float)r->frequency_penalty,
                                   .presence_penalty = (float)r->presence_penalty,
                                   .seed = (r->seed != -1 ? (uint64_t)r->seed : rng_u64(&s->rng)) + (uint64_t)c->index,
                                   .stop = r->stop,
                                   .n_stop = r->n_stop,
                                   .top_logprobs = r->logprobs ? (int)r->top_logprobs : 0};
}

/* The messages as turns; the last one, when it is the assistant's, is gone on with. */
static sluice_status begin_chat(struct serve_choice *c, const struct generate_options *o, struct sluice_error *err) {
  static const enum role roles[] = {[WIRE_SYSTEM] = ROLE_SYSTEM, [WIRE_USER] = ROLE_USER, [WIRE_ASSISTANT] = ROLE_BOT};
  const struct wire_request *r = &c->call->request;
  struct turn_text *turns = malloc(r->n_messages * sizeof *turns);
  if (!turns) return sluice_fail(err, SLUICE_NOMEM, "no memory for the messages");
  for (size_t i = 0; i < r->n_messages; i++)
    turns[i] = (struct turn_text){roles[r->messages[i].role], r->messages[i].text};
  struct reply_request request = {.turns = turns, .n_turns = r->n_messages, .no_thought = r->no_thought};
  if (r->messages[r->n_messages - 1].role == WIRE_ASSISTANT) request.prefix = turns[--request.n_turns].text;
  sluice_status st = reply_begin(c->talk, &request, o, on_piece, c, &c->reply, err);
  free(turns);
  return st;
}

/* An echo without log-probabilities: the text itself, or the ids' bytes. */
static sluice_status echo(struct serve_choice *c, struct sluice_error *err) {
  const struct tokenizer *t = model_tokenizer(engine_model(c->call->serve->engine));
  sluice_status st = c->prompt->ids ? SLUICE_OK : take_text(c, c->prompt->text, NULL, err);
  for (size_t i = 0; !st && i < c->prompt->n_ids; i++) {
    struct slice bytes = tokenizer_bytes(t, c->prompt->ids[i]);
    if (i == 0 && tokenizer_puts_space(t) && bytes.len && bytes.ptr[0] == ' ') bytes.ptr++, bytes.len--;
    st = take_text(c, bytes, NULL, err);
  }
  return st;
}

/* With log-probabilities an echo comes token by token, as the answer does, since both stand in one list. */
static sluice_status begin_completion(struct serve_choice *c, const struct generate_options *o,
                                      struct sluice_error *err) {
  const struct wire_request *r = &c->call->request;
  const struct reply_request request = {.prefix = c->prompt->text,
                                        .raw = true,
                                        .ids = c->prompt->ids,
                                        .n_ids = c->prompt->n_ids,
                                        .tell_context = r->echo && r->logprobs,
                                        .context_only = r->max_tokens == 0};
  sluice_status st = reply_begin(c->talk, &request, o, on_piece, c, &c->reply, err);
  return st || !r->echo || r->logprobs ? st : echo(c, err);
}

/* A dialogue whose policy keeps everything must fit what the model was trained on. An answer whose length nobody named
 * ends there. */
static sluice_status check_context(const struct serve_choice *c, int asked, struct sluice_error *err) {
  const uint64_t most = c->call->serve->max_context;
  const uint64_t prompt = (uint64_t)reply_timing(c->reply)->prompt_tokens;
  if (most && prompt < most) reply_limit(c->reply, (int)(most - prompt));
  if (!most || prompt + (c->call->request.max_tokens > 0 ? (uint64_t)asked : 1) <= most) return SLUICE_OK;
  return sluice_fail(err, SLUICE_LIMIT,
                     "%s: %llu tokens and an answer of %d are more than this model's %llu; shorten them, or serve it "
                     "with a cache policy that is bounded",
                     c->call->request.chat ? "messages" : "prompt", (unsigned long long)prompt,
                     c->call->request.max_tokens > 0 ? asked : 1, (unsigned long long)most);
}

sluice_status choice_start(struct serve_choice *c, struct sluice_error *err) {
  struct serve *s = c->call->serve;
  struct generate_options o = options_of(c);
  sluice_status st = SLUICE_OK;
  o.bias = biases_of(c, &st, err);
  o.n_bias = o.bias ? c->call->request.n_bias : 0;
  if (st) return st;
  st = talk_open(s->engine, s->policy, o.seed, &c->talk, err);
  if (st) return st;
  if (c->call->request.chat) {
    st = begin_chat(c, &o, err);
  } else {
    st = begin_completion(c, &o, err);
  }
  if (!st) st = check_context(c, o.max_tokens, err);
  return st;
}

static sluice_status tell_end(struct serve_choice *c, struct sluice_error *err) {
  if (!c->call->request.stream || c->call->stopped) return SLUICE_OK;
  sluice_status st = tell_piece(c, (struct slice){c->carry.ptr, c->carry.len}, NULL, c->finish, err);
  buffer_clear(&c->carry);
  return st;
}

void choice_count(struct serve_choice *c) {
  const struct talk_timing *t = reply_timing(c->reply);
  struct wire_usage *u = &c->call->usage;
  /* n answers to one prompt: the prompt counts once, as OpenAI counts it. */
  if (c->index % c->call->request.n == 0) u->prompt_tokens += (uint64_t)t->prompt_tokens;
  u->completion_tokens += (uint64_t)t->output_tokens;
}

sluice_status choice_end(struct serve_choice *c, struct sluice_error *err) {
  enum outcome outcome = OUTCOME_ERROR;
  sluice_status st = reply_end(c->reply, &outcome, err);
  choice_count(c);
  c->finish = outcome == OUTCOME_TRUNCATED ? "length" : "stop";
  reply_close(c->reply);
  talk_close(c->talk);
  c->reply = NULL;
  c->talk = NULL;
  return st ? st : tell_end(c, err);
}

void choice_free(struct serve_choice *c) {
  reply_close(c->reply);
  talk_close(c->talk);
  buffer_free(&c->carry);
  buffer_free(&c->text);
  free(c->tokens);
}
