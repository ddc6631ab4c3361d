/* A dialogue with local weights: turns of text become tokens by the chat template and run through one session.
 *
 * Text of a turn is encoded as plain text: a user who writes "<|end|>" sends seven characters, never the control token.
 * Every token enters the session once; what is only scored runs in a fork that is dropped, so that a cache policy never
 * sees it. A round ends (session_end_turn) after each bot turn: one user turn and one bot turn are a round in SirLLM's
 * sense. */
#include "engine/talk_local.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unicode/uchar.h>

#define SCORE_LOGITS_BYTES ((size_t)8 << 20) /* ceiling of one chunk's logits in talk_perplexity */
#define SCORE_ROWS 128                       /* tokens a chunk at most: part of what makes results bit-identical */

void ids_free(struct ids *l) {
  free(l->at);
  *l = (struct ids){0};
}

sluice_status ids_push(struct ids *l, int32_t id, struct sluice_error *err) {
  int32_t *grown = realloc(l->at, (l->n + 1) * sizeof *grown);
  if (grown == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu tokens", l->n + 1);
  l->at = grown;
  l->at[l->n++] = id;
  return SLUICE_OK;
}

sluice_status local_open(const struct engine *e, const char *policy, uint64_t seed, struct local_talk **out,
                         struct sluice_error *err) {
  if (model_tokenizer(e->model) == NULL) {
    return sluice_fail(err, SLUICE_INPUT, "%s: no tokenizer.json or tokenizer.model, so no text can be read or written",
                       model_directory(e->model));
  }
  struct local_talk *t = calloc(1, sizeof *t);
  if (t == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a dialogue");
  t->engine = e;
  t->last_role = -1;
  t->vocab = model_configuration(e->model)->vocab;
  t->logits = sluice_alloc_aligned((size_t)t->vocab * sizeof *t->logits);
  struct session_options o = {.policy = policy,
                              .threads = e->threads,
                              .kernel = e->kernel,
                              .seed = seed,
                              .device = e->device,
                              .weights = e->weights};
  sluice_status st = SLUICE_OK;
  if (t->logits == NULL)
    st = sluice_fail(err, SLUICE_NOMEM, "no memory for %d logits", t->vocab);
  else if (e->together != NULL)
    st = session_open_beside(e->together, policy, seed, &t->session, err);
  else
    st = session_open(e->model, &o, &t->session, err);
  if (st != SLUICE_OK) {
    local_close(t);
    return st;
  }
  *out = t;
  return SLUICE_OK;
}

void local_close(struct local_talk *t) {
  if (t == NULL) return;
  session_close(t->session);
  free(t->logits);
  free(t);
}

const struct session *local_session(const struct local_talk *t) {
  return t->session;
}

/* ---- encoding ------------------------------------------------------------------------------------------------- */
sluice_status local_encode(const struct local_talk *t, const char *text, size_t len, unsigned flags, struct ids *out,
                           struct sluice_error *err) {
  if (len == 0) return SLUICE_OK;
  return tokenizer_encode(model_tokenizer(t->engine->model), (struct slice){text, len}, flags, &out->at, &out->n, err);
}

unsigned local_follows(const struct local_talk *t, const struct ids *before, const struct ids *out) {
  const struct ids *nearest = out->n > 0 ? out : before;
  if (nearest != NULL && nearest->n > 0) {
    return tokenizer_is_special(model_tokenizer(t->engine->model), nearest->at[nearest->n - 1]) ? TOKENIZE_AFTER_SPECIAL
                                                                                                : TOKENIZE_CONTINUES;
  }
  if (t->last_role < 0) return session_position(t->session) > 0 ? TOKENIZE_CONTINUES : 0;
  return template_ends_in_text(t->engine->chat, (enum role)t->last_role) ? TOKENIZE_CONTINUES : TOKENIZE_AFTER_SPECIAL;
}

sluice_status local_encode_control(const struct local_talk *t, const char *text, struct ids *out,
                                   struct sluice_error *err) {
  return local_encode(t, text, strlen(text), TOKENIZE_SPECIALS | local_follows(t, NULL, out), out, err);
}

sluice_status local_encode_joined(const struct local_talk *t, const char *label, struct slice a, struct slice b,
                                  const struct ids *before, struct ids *out, struct sluice_error *err) {
  struct buffer joined;
  buffer_init(&joined, TALK_TEXT_LIMIT);
  sluice_status st = buffer_append_str(&joined, label, err);
  if (st == SLUICE_OK) st = buffer_append(&joined, a.ptr, a.len, err);
  if (st == SLUICE_OK) st = buffer_append(&joined, b.ptr, b.len, err);
  if (st == SLUICE_OK) {
    st = local_encode(t, joined.ptr, joined.len, TOKENIZE_PLAIN | local_follows(t, before, out), out, err);
  }
  buffer_free(&joined);
  return st;
}

sluice_status local_encode_begin(const struct local_talk *t, struct ids *out, struct sluice_error *err) {
  if (session_position(t->session) > 0) return SLUICE_OK;
  const struct chat_template *chat = t->engine->chat;
  if (chat != NULL && chat->begin != NULL) return local_encode_control(t, chat->begin, out, err);
  return local_encode_bos(t, out, err);
}

sluice_status local_encode_bos(const struct local_talk *t, struct ids *out, struct sluice_error *err) {
  if (session_position(t->session) > 0) return SLUICE_OK;
  int32_t bos = model_configuration(t->engine->model)->bos;
  if (!tokenizer_wants_bos(model_tokenizer(t->engine->model))) return SLUICE_OK;
  return bos >= 0 ? ids_push(out, bos, err) : SLUICE_OK;
}

/* Logits are asked for only where something is scored: under `recompute` each question is a pass over the window. */
sluice_status local_append(struct session *s, const struct ids *ids, struct sluice_error *err) {
  return ids->n > 0 ? session_append(s, ids->at, ids->n, NULL, 0, err) : SLUICE_OK;
}

sluice_status local_logits_now(struct session *s, float *logits, struct sluice_error *err) {
  if (session_position(s) == 0) {
    return sluice_fail(err, SLUICE_USAGE, "nothing stands before the answer: feed a turn first or give a prefix");
  }
  return session_logits(s, logits, err);
}

sluice_status local_check(const struct local_talk *t, bool needs_template, struct sluice_error *err) {
  if (t->broken) {
    return sluice_fail(err, SLUICE_INTERNAL,
                       "an earlier call failed inside a turn: restore a snapshot or open a new talk");
  }
  if (needs_template && t->engine->chat == NULL) {
    char choices[640];
    template_choices(choices, sizeof choices);
    return sluice_fail(err, SLUICE_USAGE,
                       "%s: no known chat template fits this model; name one of: %s (--template, or "
                       "\"template\" in a suite's engine)",
                       model_directory(t->engine->model), choices);
  }
  return SLUICE_OK;
}

/* ---- fed turns ------------------------------------------------------------------------------------------------ */
sluice_status local_close_turn(struct local_talk *t, struct sluice_error *err) {
  struct ids ids = {0};
  const char *close = template_close(t->engine->chat, ROLE_BOT);
  sluice_status st =
      local_encode(t, close, strlen(close), TOKENIZE_SPECIALS | TOKENIZE_CONTINUES, &ids, err); /* after its text */
  if (st == SLUICE_OK) st = local_append(t->session, &ids, err);
  if (st == SLUICE_OK) st = session_end_turn(t->session, err);
  if (st == SLUICE_OK) t->last_role = ROLE_BOT;
  ids_free(&ids);
  return st;
}

/* What Python's str.strip takes away. */
static bool is_space(uint32_t c) {
  return u_isUWhiteSpace((UChar32)c) || (c >= 0x1c && c <= 0x1f);
}

static struct slice trimmed(struct slice text, bool front) {
  uint32_t c;
  for (int n; front && text.len > 0 && (n = utf8_decode(text.ptr, text.len, &c)) > 0 && is_space(c);)
    text.ptr += n, text.len -= (size_t)n;
  for (size_t n = 1; n <= 4 && n <= text.len; n++)
    if (utf8_decode(text.ptr + text.len - n, n, &c) == (int)n) {
      if (!is_space(c)) break;
      text.len -= n;
      n = 0;
    }
  return text;
}

sluice_status local_encode_system(const struct local_talk *t, enum role role, int *last, struct ids *out,
                                  struct sluice_error *err) {
  const struct engine *e = t->engine;
  const char *text = e->system != NULL ? e->system : e->chat->default_system;
  if (*last >= 0 || role == ROLE_SYSTEM || text == NULL || session_position(t->session) > 0) return SLUICE_OK;
  return local_encode_turn(t, ROLE_SYSTEM, slice_of(text), last, out, err);
}

/* A bot's text behind its thought, where the program writes no more of it. */
static struct slice without_thought(const struct template_traits *traits, struct slice text) {
  static const char end[] = "</think>";
  if (!traits->drops_thoughts) return text;
  for (const char *at; (at = memmem(text.ptr, text.len, end, sizeof end - 1));) {
    const size_t gone = (size_t)(at - text.ptr) + sizeof end - 1;
    text.ptr += gone, text.len -= gone;
    while (traits->drops_lines_behind && text.len > 0 && text.ptr[0] == '\n') text.ptr++, text.len--;
  }
  return text;
}

/* How much of a turn's closing marks is plain text, up to the first special token: it forms tokens with the text before
 * it. */
static sluice_status plain_part(const struct local_talk *t, const char *close, size_t *n, struct sluice_error *err) {
  const struct tokenizer *tokens = model_tokenizer(t->engine->model);
  struct ids ids = {0};
  sluice_status st = local_encode(t, close, strlen(close), TOKENIZE_SPECIALS | TOKENIZE_CONTINUES, &ids, err);
  *n = 0;
  for (size_t i = 0; i < ids.n && !tokenizer_is_special(tokens, ids.at[i]); i++)
    *n += tokenizer_bytes(tokens, ids.at[i]).len;
  if (*n > strlen(close)) *n = 0;
  ids_free(&ids);
  return st;
}

sluice_status local_encode_turn(const struct local_talk *t, enum role role, struct slice text, int *last,
                                struct ids *out, struct sluice_error *err) {
  const struct chat_template *chat = t->engine->chat;
  if (role == ROLE_SYSTEM && text.len == 0 && t->engine->traits.drops_empty_system) return SLUICE_OK;
  sluice_status st = local_encode_system(t, role, last, out, err);
  const bool joined = role == ROLE_USER && *last == ROLE_SYSTEM && chat->user_after_system.control != NULL;
  const struct turn_opening *open = joined ? &chat->user_after_system : &chat->open[role];
  const bool follows = role == ROLE_USER && *last == ROLE_BOT && chat->user_label_after_bot != NULL;
  const char *label = follows ? chat->user_label_after_bot : open->label, *close = template_close(chat, role);
  size_t plain = 0;
  if (role == ROLE_BOT) text = without_thought(&t->engine->traits, text);
  if (chat->trims[role]) text = trimmed(text, !joined || chat->trims_behind_system);
  if (st == SLUICE_OK) st = local_encode_control(t, open->control, out, err);
  if (st == SLUICE_OK) st = plain_part(t, close, &plain, err);
  if (st == SLUICE_OK) st = local_encode_joined(t, label, text, (struct slice){close, plain}, NULL, out, err);
  if (st == SLUICE_OK) st = local_encode_control(t, close + plain, out, err);
  *last = (int)role;
  return st;
}

sluice_status local_feed(struct local_talk *t, enum role role, struct slice text, struct sluice_error *err) {
  sluice_status st = local_check(t, true, err);
  if (st != SLUICE_OK) return st;
  struct ids ids = {0};
  st = local_encode_begin(t, &ids, err);
  int last = t->last_role;
  if (st == SLUICE_OK) st = local_encode_turn(t, role, text, &last, &ids, err);
  if (st == SLUICE_OK) {
    st = local_append(t->session, &ids, err);
    if (st == SLUICE_OK) t->last_role = last;
    if (st == SLUICE_OK && role == ROLE_BOT) st = session_end_turn(t->session, err);
    t->broken = st != SLUICE_OK;
  }
  ids_free(&ids);
  return st;
}

size_t local_score_rows(int vocab) {
  size_t rows = SCORE_LOGITS_BYTES / ((size_t)vocab * sizeof(float));
  return rows < 1 ? 1 : rows > SCORE_ROWS ? SCORE_ROWS : rows;
}

/* ---- choosing ------------------------------------------------------------------------------------------------- */
/* The tokens of prefix + choice. BPE may merge across the border ("ro" + "ck"), so a choice is encoded together with
 * its prefix. `shared` tokens are common to the prefix's own encoding and to every choice's; scores count what comes
 * after them. Normally that is the choice exactly. Where a border merges, the scored tokens of all choices begin at the
 * same earlier token, so that their sums stay comparable. */
struct choice_tokens {
  struct ids prefix; /* begin, opening and prefix */
  struct ids *each;  /* [n] prefix + choice, without begin and opening */
  size_t n;
  size_t opening; /* tokens of begin and opening */
  size_t shared;  /* of `each`, after the opening */
};

static void choice_tokens_free(struct choice_tokens *c) {
  ids_free(&c->prefix);
  for (size_t i = 0; c->each != NULL && i < c->n; i++) ids_free(&c->each[i]);
  free(c->each);
}

static sluice_status choice_tokens_make(const struct local_talk *t, struct slice prefix, const struct slice *choices,
                                        size_t n, struct choice_tokens *c, struct sluice_error *err) {
  const struct turn_opening *open = &t->engine->chat->open[ROLE_BOT];
  *c = (struct choice_tokens){.n = n};
  sluice_status st = local_encode_begin(t, &c->prefix, err);
  if (st == SLUICE_OK) st = local_encode_control(t, open->control, &c->prefix, err);
  c->opening = c->prefix.n;
  if (st == SLUICE_OK) st = local_encode_joined(t, open->label, prefix, (struct slice){0}, NULL, &c->prefix, err);
  if (st != SLUICE_OK) return st;
  c->each = calloc(n, sizeof *c->each);
  if (c->each == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu choices", n);
  c->shared = c->prefix.n - c->opening;
  for (size_t i = 0; i < n; i++) {
    const struct ids opened = {c->prefix.at, c->opening};
    st = local_encode_joined(t, open->label, prefix, choices[i], &opened, &c->each[i], err);
    if (st != SLUICE_OK) return st;
    size_t same = 0;
    while (same < c->shared && same < c->each[i].n && c->each[i].at[same] == c->prefix.at[c->opening + same]) same++;
    c->shared = same;
  }
  for (size_t i = 0; i < n; i++) {
    if (c->each[i].n == c->shared) {
      return sluice_fail(err, SLUICE_USAGE, "choice %zu (\"%.*s\") adds no token to its prefix", i + 1,
                         (int)(choices[i].len < 40 ? choices[i].len : 40), choices[i].len > 0 ? choices[i].ptr : "");
    }
  }
  return SLUICE_OK;
}

/* Scores one choice's tokens from the logits after the shared part; the fork is dropped. rows: [n_rows][vocab]. */
static sluice_status score_choice(struct local_talk *t, const int32_t *ids, size_t n, float *rows, size_t n_rows,
                                  double *sum, double *first, struct sluice_error *err) {
  struct session *fork = NULL;
  *first = (double)t->logits[ids[0]] - logits_log_sum(t->logits, t->vocab);
  *sum = *first;
  sluice_status st = n > 1 ? session_fork(t->session, &fork, err) : SLUICE_OK;
  for (size_t at = 1; at < n && st == SLUICE_OK; at += n_rows) {
    size_t some = n - at < n_rows ? n - at : n_rows;
    st = session_append(fork, &ids[at - 1], some, rows, some, err);
    for (size_t i = 0; i < some && st == SLUICE_OK; i++) {
      const float *row = rows + i * (size_t)t->vocab;
      *sum += (double)row[ids[at + i]] - logits_log_sum(row, t->vocab);
    }
  }
  if (fork != NULL) session_count_aside(t->session, fork);
  session_close(fork);
  if (st == SLUICE_OK && isnan(*sum)) st = sluice_fail(err, SLUICE_INTERNAL, "the model's logits are not finite");
  return st;
}

static size_t most_likely(const struct choice_scores *scores, size_t n) {
  size_t best = 0;
  for (size_t i = 1; i < n; i++) {
    if (scores->logprob[i] > scores->logprob[best]) best = i;
  }
  return best;
}

static sluice_status score_and_commit(struct local_talk *t, const struct choice_tokens *c, struct choice_scores *scores,
                                      size_t (*commit)(void *ctx, const struct choice_scores *, size_t n), void *ctx,
                                      float *rows, size_t n_rows, struct sluice_error *err) {
  struct ids part = {c->prefix.at, c->opening + c->shared};
  sluice_status st = local_append(t->session, &part, err);
  if (st == SLUICE_OK) st = local_logits_now(t->session, t->logits, err);
  for (size_t i = 0; i < c->n && st == SLUICE_OK; i++) {
    size_t n = c->each[i].n - c->shared;
    scores->tokens[i] = (int)n;
    st = score_choice(t, c->each[i].at + c->shared, n, rows, n_rows, &scores->logprob[i], &scores->first_logprob[i],
                      err);
  }
  if (st != SLUICE_OK) return st;
  size_t chosen = commit != NULL ? commit(ctx, scores, c->n) : most_likely(scores, c->n);
  if (chosen >= c->n) {
    return sluice_fail(err, SLUICE_INTERNAL, "choice %zu was committed, but there are only %zu", chosen, c->n);
  }
  part = (struct ids){c->each[chosen].at + c->shared, c->each[chosen].n - c->shared};
  st = local_append(t->session, &part, err);
  return st == SLUICE_OK ? local_close_turn(t, err) : st;
}

sluice_status local_choose(struct local_talk *t, struct slice prefix, const struct slice *choices, size_t n,
                           struct choice_scores *scores,
                           size_t (*commit)(void *ctx, const struct choice_scores *, size_t n), void *ctx,
                           struct sluice_error *err) {
  sluice_status st = local_check(t, true, err);
  if (st != SLUICE_OK) return st;
  if (n == 0) return sluice_fail(err, SLUICE_USAGE, "no choices to choose from");
  struct choice_tokens tokens;
  size_t n_rows = local_score_rows(t->vocab);
  float *rows = sluice_alloc_aligned(n_rows * (size_t)t->vocab * sizeof *rows);
  st = choice_tokens_make(t, prefix, choices, n, &tokens, err);
  if (st == SLUICE_OK && rows == NULL) st = sluice_fail(err, SLUICE_NOMEM, "no memory for %zu rows of logits", n_rows);
  if (st == SLUICE_OK) {
    st = score_and_commit(t, &tokens, scores, commit, ctx, rows, n_rows, err);
    t->broken = st != SLUICE_OK;
  }
  choice_tokens_free(&tokens);
  free(rows);
  return st;
}

/* ---- perplexity ----------------------------------------------------------------------------------------------- */
/* Feeds ids and sums the surprisal of each under the logits before it. rows: [n_rows][vocab]. */
static sluice_status score_text(struct local_talk *t, const struct ids *ids, float *rows, size_t n_rows,
                                void (*per_token)(void *ctx, uint64_t position, double nats), void *ctx, double *nats,
                                size_t *tokens, struct sluice_error *err) {
  bool known = session_position(t->session) > 0; /* nothing comes before the very first token */
  sluice_status st = known && ids->n > 0 ? session_logits(t->session, t->logits, err) : SLUICE_OK;
  for (size_t at = 0; at < ids->n && st == SLUICE_OK; at += n_rows) {
    size_t n = ids->n - at < n_rows ? ids->n - at : n_rows;
    uint64_t position = session_position(t->session);
    st = session_append(t->session, ids->at + at, n, rows, n, err);
    for (size_t i = known ? 0 : 1; i < n && st == SLUICE_OK; i++) {
      const float *before = i > 0 ? rows + (i - 1) * (size_t)t->vocab : t->logits;
      double s = logits_log_sum(before, t->vocab) - (double)before[ids->at[at + i]];
      if (isnan(s)) return sluice_fail(err, SLUICE_INTERNAL, "the model's logits are not finite");
      *nats += s;
      ++*tokens;
      if (per_token != NULL) per_token(ctx, position + i, s);
    }
    memcpy(t->logits, rows + (n - 1) * (size_t)t->vocab, (size_t)t->vocab * sizeof *t->logits);
    known = true;
  }
  return st;
}

sluice_status local_perplexity(struct local_talk *t, struct slice text,
                               void (*per_token)(void *ctx, uint64_t position, double nats), void *ctx, double *nats,
                               size_t *tokens, struct sluice_error *err) {
  *nats = 0;
  *tokens = 0;
  sluice_status st = local_check(t, false, err);
  if (st != SLUICE_OK) return st;
  struct ids begin = {0}, ids = {0};
  size_t n_rows = local_score_rows(t->vocab);
  float *rows = sluice_alloc_aligned(n_rows * (size_t)t->vocab * sizeof *rows);
  st = rows == NULL ? sluice_fail(err, SLUICE_NOMEM, "no memory for %zu rows of logits", n_rows)
                    : local_encode_bos(t, &begin, err);
  if (st == SLUICE_OK) st = local_encode(t, text.ptr, text.len, TOKENIZE_PLAIN, &ids, err);
  if (st == SLUICE_OK) {
    st = local_append(t->session, &begin, err);
    if (st == SLUICE_OK) st = score_text(t, &ids, rows, n_rows, per_token, ctx, nats, tokens, err);
    t->broken = st != SLUICE_OK;
  }
  ids_free(&begin);
  ids_free(&ids);
  free(rows);
  return st;
}

/* ---- snapshots: magic, SHA-256 of the engine's identity, the last turn's role, the session's own bytes ------------
 */
#define SNAPSHOT_MAGIC "SLTALK2\n"
#define SNAPSHOT_HEAD (8 + SHA256_BYTES + 1)

sluice_status local_snapshot(const struct local_talk *t, unsigned char **bytes, size_t *len, struct sluice_error *err) {
  sluice_status st = local_check(t, false, err);
  if (st != SLUICE_OK) return st;
  unsigned char *inner = NULL;
  size_t inner_len = 0;
  st = session_snapshot(t->session, &inner, &inner_len, err);
  if (st != SLUICE_OK) return st;
  unsigned char *all = malloc(SNAPSHOT_HEAD + inner_len);
  if (all == NULL) {
    free(inner);
    return sluice_fail(err, SLUICE_NOMEM, "no memory for a snapshot of %zu bytes", inner_len);
  }
  memcpy(all, SNAPSHOT_MAGIC, 8);
  sha256(t->engine->identity, strlen(t->engine->identity), all + 8);
  all[SNAPSHOT_HEAD - 1] = (unsigned char)(t->last_role + 1);
  memcpy(all + SNAPSHOT_HEAD, inner, inner_len);
  free(inner);
  *bytes = all;
  *len = SNAPSHOT_HEAD + inner_len;
  return SLUICE_OK;
}

sluice_status local_restore(struct local_talk *t, const unsigned char *bytes, size_t len, struct sluice_error *err) {
  unsigned char identity[SHA256_BYTES];
  sha256(t->engine->identity, strlen(t->engine->identity), identity);
  if (len < SNAPSHOT_HEAD || memcmp(bytes, SNAPSHOT_MAGIC, 8) != 0) {
    return sluice_fail(err, SLUICE_INPUT, "not a snapshot of a talk (%zu bytes)", len);
  }
  if (memcmp(bytes + 8, identity, SHA256_BYTES) != 0) {
    return sluice_fail(err, SLUICE_INPUT,
                       "the snapshot was taken with other weights, tokenizer, template, kernel or threads");
  }
  if (bytes[SNAPSHOT_HEAD - 1] > ROLE_BOT + 1) return sluice_fail(err, SLUICE_INPUT, "the snapshot is damaged");
  sluice_status st = session_restore(t->session, bytes + SNAPSHOT_HEAD, len - SNAPSHOT_HEAD, err);
  if (st == SLUICE_OK) t->last_role = (int)bytes[SNAPSHOT_HEAD - 1] - 1;
  t->broken = st != SLUICE_OK;
  return st;
}
