#include "datasets/generators/game.h"

const char *const move_names[MOVES] = {"rock", "paper", "scissors"};

int move_draw(struct rng *r, const int shares[MOVES]) {
  int x = (int)rng_below(r, 100);
  return x < shares[0] ? 0 : x < shares[0] + shares[1] ? 1 : 2;
}

void moves_begin(struct move_counts *c) {
  *c = (struct move_counts){.last = -1};
}

void moves_add(struct move_counts *c, int move) {
  c->times[move]++;
  c->latest[move] = ++c->rounds;
  c->last = move;
}

int moves_counting_answer(const struct move_counts *c) {
  if (c->last < 0) return -1;
  int best = c->last;
  for (int m = 0; m < MOVES; m++)
    if (c->times[m] > c->times[best] || (c->times[m] == c->times[best] && c->latest[m] > c->latest[best])) best = m;
  return move_that_beats(best);
}
