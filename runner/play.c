/* One dialogue through a talk, turn by turn: what the model scored, chose, wrote and how long it took. */
#include "runner/play.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool turn_is_scored(const struct turn *t) {
  return t->task != TASK_FEED;
}

static void event_free(struct tap_event *e) {
  free((char *)(uintptr_t)e->action);
  free((char *)(uintptr_t)e->rule);
  free((char *)(uintptr_t)e->category);
  free((char *)(uintptr_t)e->detail);
}

void played_free(struct played_turn *t) {
  free(t->output);
  free(t->asked);
  free(t->context);
  free(t->logprob);
  free(t->first_logprob);
  free(t->tokens);
  free(t->nll);
  buffer_free(&t->gaps);
  for (size_t i = 0; i < t->n_events; i++) event_free(&t->events[i]);
  free(t->events);
  *t = (struct played_turn){.turn_no = -1};
}

static sluice_status no_memory(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_NOMEM, "no memory for a turn");
}

static sluice_status set_context(struct played_turn *out, const char *prefix, const char *answer, size_t len,
                                 struct sluice_error *err) {
  size_t n = prefix ? strlen(prefix) : 0;
  out->context = malloc(n + len + 1);
  if (!out->context) return no_memory(err);
  if (n) memcpy(out->context, prefix, n);
  if (len) memcpy(out->context + n, answer, len);
  out->context[n + len] = '\0';
  out->context_len = n + len;
  return SLUICE_OK;
}

static enum role role_of(enum turn_role role) {
  return role == TURN_SYSTEM ? ROLE_SYSTEM : role == TURN_USER ? ROLE_USER : ROLE_BOT;
}

/* ---- choosing among given texts ------------------------------------------------------------------------------------
 */

struct choosing {
  const struct play *play;
  const struct turn *turn;
  struct played_turn *out;
};

/* The answer that stays in context: the right one where the dataset says so, else the model's own; where nothing could
 * be picked (no finite score) the first, so that the dialogue can go on, and `chosen` says that it was nobody's choice.
 */
static int answer_to_commit(const struct turn *t, int chosen) {
  if (t->gold_in_context && t->answer >= 0) return t->answer;
  return chosen >= 0 ? chosen : t->answer >= 0 ? t->answer : 0;
}

static size_t commit(void *ctx, const struct choice_scores *scores, size_t n) {
  struct choosing *c = ctx;
  c->out->chosen = choice_pick(c->play->benchmark->choice, c->turn->choices, n, scores->logprob, scores->first_logprob,
                               scores->tokens, slice_of(""));
  c->out->committed = answer_to_commit(c->turn, c->out->chosen);
  return (size_t)c->out->committed;
}

static sluice_status choose_local(struct play *p, const struct turn *t, struct played_turn *out,
                                  struct sluice_error *err) {
  size_t n = t->n_choices;
  struct slice *texts = calloc(n ? n : 1, sizeof *texts);
  out->logprob = calloc(n ? n : 1, sizeof *out->logprob);
  out->first_logprob = calloc(n ? n : 1, sizeof *out->first_logprob);
  out->tokens = calloc(n ? n : 1, sizeof *out->tokens);
  if (!texts || !out->logprob || !out->first_logprob || !out->tokens) {
    free(texts);
    return no_memory(err);
  }
  for (size_t i = 0; i < n; i++) texts[i] = slice_of(t->choices[i].text);
  struct choice_scores scores = {out->logprob, out->first_logprob, out->tokens};
  struct choosing c = {p, t, out};
  out->n_choices = n;
  sluice_status status = talk_choose(p->talk, slice_of(t->text ? t->text : ""), texts, n, &scores, commit, &c, err);
  free(texts);
  if (status) return status;
  const char *answer = t->choices[out->committed].text;
  return set_context(out, t->text, answer, strlen(answer), err);
}

/* ---- generating under the tap
 * ---------------------------------------------------------------------------------------- */

struct listening {
  const struct play *play;
  struct played_turn *out;
  void *tap;       /* NULL: no monitor */
  int64_t last_ns; /* of the piece before */
  bool stopped_by_signal, no_memory;
};

/* LEB128: seven bits a byte, low first; a gap under 2 ms takes three bytes. */
static bool add_gap(struct buffer *b, int64_t gap) {
  struct sluice_error ignored;
  uint64_t v = gap > 0 ? (uint64_t)gap : 0;
  do {
    unsigned char byte = (unsigned char)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
    if (buffer_append(b, &byte, 1, &ignored)) return false;
    v >>= 7;
  } while (v);
  return true;
}

static bool listen(void *ctx, const struct piece *piece) {
  struct listening *l = ctx;
  int64_t now = clock_mono_ns();
  if (!add_gap(&l->out->gaps, now - l->last_ns)) l->no_memory = true;
  l->last_ns = now;
  if (isfinite(piece->surprisal)) {
    l->out->nats += (double)piece->surprisal;
    l->out->nats_tokens++;
  }
  /* A local turn is short and its half could not be continued: it is played to its end. An API's may take minutes. */
  if (!l->play->local && signal_interrupted()) {
    l->stopped_by_signal = true;
    return false;
  }
  return !l->tap || l->play->taps->piece(l->tap, piece);
}

static sluice_status keep_event(void *to, const struct tap_event *e, struct sluice_error *err) {
  struct played_turn *out = to;
  struct tap_event *grown = realloc(out->events, (out->n_events + 1) * sizeof *grown);
  if (!grown) return no_memory(err);
  out->events = grown;
  struct tap_event *kept = &grown[out->n_events++];
  *kept = *e;
  kept->action = sluice_strdup(e->action);
  kept->rule = sluice_strdup(e->rule);
  kept->category = sluice_strdup(e->category);
  kept->detail = sluice_strdup(e->detail);
  bool ok =
      kept->action && (kept->rule || !e->rule) && (kept->category || !e->category) && (kept->detail || !e->detail);
  return ok ? SLUICE_OK : no_memory(err);
}

/* A rule may be decided only when the text has ended: the generation is over then, but nobody may read it to its end.
 */
static bool stopped_at_the_end(const struct played_turn *out) {
  for (size_t i = 0; i < out->n_events; i++)
    if (!strcmp(out->events[i].action, "stop")) return true;
  return false;
}

static void name_outcome(enum outcome outcome, struct played_turn *out) {
  out->state = "done";
  out->finish = "stop";
  if (stopped_at_the_end(out)) outcome = OUTCOME_STOPPED;
  if (outcome == OUTCOME_TRUNCATED) {
    out->state = "truncated";
    out->finish = "length";
  } else if (outcome == OUTCOME_REFUSED) {
    out->state = "refused";
    out->finish = "content_filter";
  } else if (outcome == OUTCOME_STOPPED) {
    out->state = "refused";
    out->finish = "monitor";
  }
}

/* commit_text NULL: what was generated stays in context. */
static sluice_status generate(struct play *p, const char *prefix, int max_tokens, uint64_t seed,
                              const struct slice *commit_text, struct played_turn *out, struct sluice_error *err) {
  struct generate_options o = {.max_tokens = max_tokens,
                               .temperature = (float)p->suite->temperature,
                               .top_k = (int)p->suite->top_k,
                               .top_p = (float)p->suite->top_p,
                               .min_p = (float)p->suite->min_p,
                               .repetition_penalty = (float)p->suite->repetition_penalty,
                               .stop = p->suite->stop,
                               .n_stop = p->suite->n_stop,
                               .seed = seed};
  struct listening l = {.play = p, .out = out, .last_ns = clock_mono_ns()};
  struct talk_timing timing = {0};
  enum outcome outcome = OUTCOME_ERROR;
  sluice_status status = SLUICE_OK;
  buffer_init(&out->gaps, 64 << 20);
  if (p->monitor) status = p->taps->open(p->taps->ctx, p->monitor, &l.tap, err);
  if (status) return status;
  status = talk_generate(p->talk, slice_of(prefix), &o, listen, &l, commit_text, &out->output, &out->output_len,
                         &outcome, &timing, err);
  struct sluice_error later;
  sluice_status closed = l.tap ? p->taps->close(l.tap, keep_event, out, status ? &later : err) : SLUICE_OK;
  if (!status) status = closed;
  if (l.stopped_by_signal) return sluice_fail(err, SLUICE_INTERRUPTED, "interrupted while an API was answering");
  if (!status && l.no_memory) status = no_memory(err);
  if (!status && outcome == OUTCOME_ERROR) status = sluice_fail(err, SLUICE_INTERNAL, "the engine gave no outcome");
  if (status) return status;
  name_outcome(outcome, out);
  out->has_output = out->generated = true;
  out->prompt_tokens = timing.prompt_tokens;
  out->output_tokens = timing.output_tokens;
  if (timing.first_token_ns > 0) out->first_ns = timing.first_token_ns - p->began_ns;
  return SLUICE_OK;
}

static sluice_status generate_answer(struct play *p, const struct turn *t, uint64_t seed, struct played_turn *out,
                                     struct sluice_error *err) {
  const char *prefix = t->text ? t->text : "";
  struct slice gold = slice_of(t->expected ? t->expected : "");
  bool commit_gold = t->gold_in_context && t->expected;
  sluice_status status = generate(p, prefix, (int)p->benchmark->max_tokens, seed, commit_gold ? &gold : NULL, out, err);
  if (status) return status;
  return commit_gold ? set_context(out, prefix, gold.ptr, gold.len, err)
                     : set_context(out, prefix, out->output, out->output_len, err);
}

#define LETTER_TOKENS 16 /* "The answer is (B)." and a little room */

static sluice_status choose_remote(struct play *p, const struct turn *t, uint64_t seed, struct played_turn *out,
                                   struct sluice_error *err) {
  struct turn_choice *labelled = NULL;
  sluice_status status = ask_for_letter(t, &out->asked, &labelled, err);
  if (status) return status;
  /* What stays in context is the right answer's text where the dataset says so; else the letter, as the API said it. */
  const char *right = t->answer >= 0 ? t->choices[t->answer].text : NULL;
  char *gold = t->gold_in_context && right ? sluice_format("%s%s", t->text ? t->text : "", right) : NULL;
  struct slice gold_text = slice_of(gold ? gold : "");
  status = talk_feed(p->talk, ROLE_USER, slice_of(out->asked), err);
  if (!status) status = generate(p, "", LETTER_TOKENS, seed, gold ? &gold_text : NULL, out, err);
  if (!status) {
    out->chosen = choice_parse(labelled, t->n_choices, (struct slice){out->output, out->output_len});
    out->committed =
        gold ? t->answer : out->chosen; /* unparsable: what the model said stays, and no choice is recorded */
    if (out->committed >= 0 && gold) status = set_context(out, NULL, gold, strlen(gold), err);
    if (!gold) status = set_context(out, NULL, out->output, out->output_len, err);
  }
  free(gold);
  free(labelled);
  return status;
}

/* ---- text
 * ------------------------------------------------------------------------------------------------------------ */

struct reading {
  struct played_turn *out;
  bool no_memory;
};

static void note_surprisal(void *ctx, uint64_t position, double nats) {
  struct reading *r = ctx;
  struct played_turn *out = r->out;
  if (out->n_nll == out->cap_nll) {
    size_t cap = out->cap_nll ? 2 * out->cap_nll : 1024;
    float *grown = realloc(out->nll, cap * sizeof *grown);
    if (!grown) {
      r->no_memory = true;
      return;
    }
    out->nll = grown;
    out->cap_nll = cap;
  }
  if (!out->n_nll) out->first_position = position;
  out->nll[out->n_nll++] = (float)nats;
}

static sluice_status read_text(struct play *p, const struct turn *t, struct played_turn *out,
                               struct sluice_error *err) {
  struct reading r = {.out = out};
  if (!p->local)
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "perplexity needs the weights: exclude this benchmark for an API engine");
  sluice_status status =
      talk_perplexity(p->talk, slice_of(t->text), note_surprisal, &r, &out->nats, &out->nats_tokens, err);
  if (!status && r.no_memory) status = no_memory(err);
  return status ? status : set_context(out, NULL, t->text, strlen(t->text), err);
}

/* ---- turns
 * ----------------------------------------------------------------------------------------------------------- */

sluice_status play_turn(struct play *p, size_t i, struct played_turn *out, struct sluice_error *err) {
  const struct turn *t = &p->dialogue->turns[i];
  *out = (struct played_turn){.turn_no = -1, .chosen = -1, .committed = -1, .state = "done", .finish = "stop"};
  const int64_t now = clock_mono_ns() - p->began_ns;
  if (!turn_is_scored(t)) {
    p->asked_ns = t->role == TURN_USER ? now : -1;
    return talk_feed(p->talk, role_of(t->role), slice_of(t->text), err);
  }
  uint64_t seed = p->seed ^ (0x9e3779b97f4a7c15u * (uint64_t)(i + 1)); /* each turn its own stream */
  out->turn_no = (int)i;
  out->start_ns =
      p->asked_ns >= 0 ? p->asked_ns : now; /* reading the question is part of the time to the first token */
  p->asked_ns = -1;
  sluice_status status;
  switch (t->task) {
  case TASK_CHOOSE:
    status = p->local ? choose_local(p, t, out, err) : choose_remote(p, t, seed, out, err);
    break;
  case TASK_GENERATE:
    status = generate_answer(p, t, seed, out, err);
    break;
  default:
    status = read_text(p, t, out, err);
  }
  out->end_ns = clock_mono_ns() - p->began_ns;
  out->position = talk_tokens(p->talk);
  out->kv_held = talk_kv_bytes(p->talk);
  out->kv_peak = talk_peak_kv_bytes(p->talk);
  if (!status) return SLUICE_OK;
  played_free(out);
  return status;
}

sluice_status play_again_remote(struct play *p, size_t i, const struct played_turn *was, struct sluice_error *err) {
  const struct turn *t = &p->dialogue->turns[i];
  if (!turn_is_scored(t)) return talk_feed(p->talk, role_of(t->role), slice_of(t->text), err);
  sluice_status status = SLUICE_OK;
  if (t->task == TASK_CHOOSE) {
    char *question;
    struct turn_choice *labelled;
    status = ask_for_letter(t, &question, &labelled, err);
    if (!status) status = talk_feed(p->talk, ROLE_USER, slice_of(question), err);
    free(question);
    free(labelled);
  }
  return status ? status : talk_feed(p->talk, ROLE_BOT, (struct slice){was->context, was->context_len}, err);
}

/* The ledger keeps no infinities: what is not finite there equals what is not finite here. */
static bool differ(double a, double b) {
  return isfinite(a) || isfinite(b) ? a != b : false;
}

const char *played_difference(const struct played_turn *a, const struct played_turn *b) {
  if (strcmp(a->state, b->state) || strcmp(a->finish, b->finish)) return "outcome";
  if (a->has_output != b->has_output || a->output_len != b->output_len ||
      (a->output_len && memcmp(a->output, b->output, a->output_len)))
    return "text";
  if (a->chosen != b->chosen || a->committed != b->committed || a->n_choices != b->n_choices) return "choice";
  for (size_t i = 0; i < a->n_choices; i++)
    if (differ(a->logprob[i], b->logprob[i]) || differ(a->first_logprob[i], b->first_logprob[i]) ||
        a->tokens[i] != b->tokens[i])
      return "log-probability";
  return a->nats_tokens != b->nats_tokens || a->nats != b->nats ? "surprisal" : NULL;
}
