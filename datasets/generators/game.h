/* Rock, paper, scissors as training text and benchmark play it. */
#ifndef SLUICE_DATASETS_GENERATORS_GAME_H
#define SLUICE_DATASETS_GENERATORS_GAME_H

#include "base/base.h"

enum { MOVES = 3 };
extern const char *const move_names[MOVES]; /* rock, paper, scissors: each is beaten by the next, cyclically */
static inline int move_that_beats(int move) {
  return (move + 1) % MOVES;
}
/* Draws a move from shares in per cent that sum to 100. */
int move_draw(struct rng *r, const int shares[MOVES]);
struct move_counts {
  int times[MOVES], last; /* last: most recent move, -1 before any */
  int latest[MOVES];      /* round of the last occurrence */
  int rounds;
};
void moves_begin(struct move_counts *c);
void moves_add(struct move_counts *c, int move);
/* The move that beats the most frequent one so far, ties going to the most recent of the tied; -1 before any. */
int moves_counting_answer(const struct move_counts *c);

#endif
