/* Private to the runner: playing one dialogue through a talk. Knows nothing of the ledger. */
#ifndef SLUICE_RUNNER_PLAY_H
#define SLUICE_RUNNER_PLAY_H

#include "runner/runner.h"

/* What one scored turn did. Owned: free with played_free. */
struct played_turn {
  int turn_no;
  const char *state, *finish; /* the ledger's words */
  bool has_output;
  char *output; /* generated text, raw */
  size_t output_len;
  char *asked;   /* a question that was put before the turn (an API is asked for a letter); NULL: none */
  char *context; /* what the turn left in context: prefix and answer */
  size_t context_len;
  int chosen, committed; /* -1: none */
  size_t n_choices;      /* scored choices: 0 unless the engine is local */
  double *logprob, *first_logprob;
  int *tokens;
  double nats;
  size_t nats_tokens; /* 0: surprisal unknown */
  uint64_t position;
  size_t kv_held, kv_peak; /* bytes */
  bool generated;
  int prompt_tokens, output_tokens;
  int64_t start_ns, first_ns, end_ns; /* since the dialogue began; first_ns 0: no token */
  float *nll;                         /* a text turn's surprisal a token */
  size_t n_nll, cap_nll;
  uint64_t first_position;
  struct buffer gaps;       /* LEB128 nanoseconds between pieces */
  struct tap_event *events; /* strings owned */
  size_t n_events;
};
void played_free(struct played_turn *t);

struct play {
  const struct suite *suite;
  const struct suite_benchmark *benchmark;
  const char *monitor; /* NULL: none */
  const struct tap_maker *taps;
  const struct dialogue *dialogue;
  struct talk *talk;
  bool local;
  uint64_t seed;    /* of this dialogue */
  int64_t began_ns; /* monotonic */
  int64_t asked_ns; /* since began_ns: when the user turn that the next answer replies to began to be read; -1: none */
};
/* Plays turn i. Context turns leave *out empty (turn_no -1). SLUICE_INTERRUPTED: a signal came while an API was
 * answering; the turn is as if it had not begun. */
sluice_status play_turn(struct play *p, size_t i, struct played_turn *out, struct sluice_error *err);
/* Puts a turn that an API already answered back into the talk, without asking again. */
sluice_status play_again_remote(struct play *p, size_t i, const struct played_turn *was, struct sluice_error *err);
/* Did a replayed turn do what the recorded one did? NULL, or the word for what differs. */
const char *played_difference(const struct played_turn *a, const struct played_turn *b);
/* Does the turn leave a record? */
bool turn_is_scored(const struct turn *t);

/* ask.c: the question with lettered options that an API gets in place of choices; *labelled (caller frees) are the
 * choices with letters where they had none, pointing into the turn. */
sluice_status ask_for_letter(const struct turn *t, char **question, struct turn_choice **labelled,
                             struct sluice_error *err);

#endif
