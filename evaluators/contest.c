/* Win, tie, lose (Rock-Paper-Scissors). The value is 1 for a win and 0 for a tie or a loss, as SirLLM reports win
 * rates; ties and losses stay apart in the label. */
#include "evaluators/evaluators.h"
#include "evaluators/families.h"

#include <math.h>

void contest_score(const struct scored_turn *in, struct turn_score *out) {
  const struct turn *t = in->turn;
  if (t->answer < 0 || t->tie < 0)
    *out = (struct turn_score){SCORE_UNSCORED, NAN, "the turn does not say which move wins or ties"};
  else if (in->chosen < 0 || (size_t)in->chosen >= t->n_choices)
    *out = (struct turn_score){SCORE_UNSCORED, NAN, "no move could be read from the answer"};
  else if (in->chosen == t->answer)
    *out = (struct turn_score){SCORE_WIN, 1, "beat the other's move"};
  else if (in->chosen == t->tie)
    *out = (struct turn_score){SCORE_TIE, 0, "the same move"};
  else
    *out = (struct turn_score){SCORE_LOSE, 0, "beaten by the other's move"};
}
