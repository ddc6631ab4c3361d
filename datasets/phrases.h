/* Sentences of the generated world, shared by training text and benchmarks. In a phrase, $1..$4 are words filled in,
 * and [ ] encloses the answer that a reader has to recall: its bytes, with the leading space, are what training weighs
 * up.
 *
 * A word that may have to be copied never begins a turn: byte-level BPE cuts " lentils" and "lentils" into different
 * pieces, and a small model copies pieces. Hence phrases begin with words of their own, or get a lead-in. */
#ifndef SLUICE_DATASETS_PHRASES_H
#define SLUICE_DATASETS_PHRASES_H

#include "base/base.h"
#include "datasets/vocabulary.h"

struct phrases {
  const char *const *items;
  int n;
};
/* One relation between a person ($1) and a value ($2). */
struct topic {
  const char *name;
  enum word_kind values; /* WORD_KINDS: a four-digit number */
  struct phrases statements, questions;
  const char *answer; /* one form, so that options differ in the value alone */
};
const struct topic *fact_topics(int *n);

enum phrase_kind {
  PHRASE_BUY,          /* $1: grocery that the user wants bought */
  PHRASE_BUY_QUESTION, /* open question for it */
  PHRASE_BUY_LETTERED, /* question that is followed by "Choices:" */
  PHRASE_BUY_ANSWER,   /* open answer */
  PHRASE_GROCERY,      /* $1: grocery in another relation */
  PHRASE_GROCERY_LIST, /* $1..$4: four groceries, nothing said of any */
  PHRASE_LEAD_IN,      /* before a sentence that begins with a name */
  PHRASE_ACK,          /* the bot has heard */
  PHRASE_CHAT,         /* the user says something of no consequence */
  PHRASE_CHAT_REPLY,
  PHRASE_LINE,          /* $1: line number, $2: register content */
  PHRASE_LINE_QUESTION, /* $1: line number */
  PHRASE_ROUND,         /* $1: the move that the user made before */
  PHRASE_ROUND_FIRST,
  PHRASE_CODE,          /* $1: colour, $2: object, $3: number */
  PHRASE_CODE_QUESTION, /* $1: colour, $2: object */
  PHRASE_STORY,         /* $1, $2: characters, $3: object, $4: city */
  PHRASE_STORY_FACT,    /* $1: character, $2: object, $3: city, $4: job; true through the whole story */
  PHRASE_STORY_OPENING,
  PHRASE_KINDS
};
struct phrases phrases_of(enum phrase_kind kind);

#define LETTERED_ANSWER "The answer is[ $1]."

/* Appends phrase with args filled in. span, when not NULL, gets the bracketed bytes' range in out, or {0,0} when the
 * phrase has no brackets. Fails only for want of memory or past out's limit. */
sluice_status phrase_fill(struct buffer *out, const char *phrase, const char *const args[4], size_t span[2],
                          struct sluice_error *err);

#endif
