/* Writes a dialogue turn by turn. The first failure stays and makes later calls do nothing; everything lives in the
 * dialogue's arena. */
#ifndef SLUICE_DATASETS_SCRIPT_H
#define SLUICE_DATASETS_SCRIPT_H

#include "datasets/cast.h"
#include "datasets/datasets.h"
#include "datasets/phrases.h"

struct script {
  struct arena *memory;
  struct turn *turns;
  size_t n, cap;
  const char *id, *cluster; /* cluster NULL: the id */
  sluice_status status;
  struct sluice_error *err;
  struct buffer draft; /* the turn being put together */
};
void script_fail_memory(struct script *s);
/* An arena copy, printf-style; "" after a failure. */
const char *script_format(struct script *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *script_copy(struct script *s, const char *bytes, size_t len);
/* Adds a sentence to the draft, after a space if it is not the first; a first sentence that would begin with a
 * filled-in word gets a lead-in (phrases.h). Returns the sentence without lead-in, for use as evidence. */
const char *script_sentence(struct script *s, struct rng *r, const char *phrase, const char *const args[4]);
/* Makes the draft a context turn and empties it. Returns the turn's index. */
int script_end_turn(struct script *s, enum turn_role role);
int script_feed(struct script *s, enum turn_role role, const char *text);
/* A scored bot turn with n choices, each the continuation of prefix; or one to be generated. The caller sets answer,
 * tie, evidence and distance. NULL after a failure. */
struct turn *script_choose(struct script *s, const char *metric, const char *prefix, const char *const *texts,
                           bool lettered, int n);
struct turn *script_generate(struct script *s, const char *metric, const char *prefix, const char *expected);
/* The part of phrase before its brackets with args filled in, without a space at the end. */
const char *script_prefix(struct script *s, const char *phrase, const char *const args[4]);

#endif
