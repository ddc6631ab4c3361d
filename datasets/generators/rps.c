/* Rock, paper, scissors (SirLLM): a player with a favourite move, whose last move is told in the next turn. Who counts
 * the moves and beats the most frequent one wins about half of the rounds. */
#include "datasets/dataset.h"
#include "datasets/generators/game.h"
#include "datasets/script.h"

static const char *const players[] = {"rock", "paper", "scissors", "all", NULL};
static const char *const answers[] = {"own", "gold", NULL};

static void write(const struct dataset *d, size_t i, struct script *s) {
  /* shares of rock, paper, scissors; the favourite's follower gets 30, as for the published rock player */
  static const int shares[MOVES][MOVES] = {{50, 30, 20}, {20, 50, 30}, {30, 20, 50}};
  struct rng r;
  rng_seed_named(&r, (uint64_t)dataset_value(d, "seed"), s->id);
  int64_t player = dataset_value(d, "player");
  const int *mix = shares[player < MOVES ? (size_t)player : i % MOVES];
  const char *round_phrase = pick_phrase(&r, PHRASE_ROUND);
  int last = -1;
  for (int64_t round = 0; round < dataset_value(d, "rounds") && !s->status; round++) {
    const char *args[4] = {last < 0 ? "" : move_names[last]};
    script_sentence(s, &r, last < 0 ? pick_phrase(&r, PHRASE_ROUND_FIRST) : round_phrase, args);
    script_end_turn(s, TURN_USER);
    int move = move_draw(&r, mix);
    struct turn *t = script_choose(s, "rps", "", move_names, true, MOVES);
    if (!t) return;
    t->answer = move_that_beats(move);
    t->tie = move;
    t->gold_in_context = dataset_value(d, "answer") == 1;
    last = move;
  }
}

const struct dataset_kind dataset_rps = {
    .keys = {{"player", players, false, 3, 0, 0},
             {"rounds", NULL, false, 30, 1, 100000},
             {"answer", answers, false, 0, 0, 0},
             KEY_SEED,
             KEY_DIALOGUES},
    .write = write,
};
