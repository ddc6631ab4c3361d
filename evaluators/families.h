/* Private to evaluators: the score functions that the table names, one a metric family. */
#ifndef SLUICE_EVALUATORS_FAMILIES_H
#define SLUICE_EVALUATORS_FAMILIES_H

#include "evaluators/evaluators.h"

void choice_score(const struct scored_turn *in, struct turn_score *out);
void contest_score(const struct scored_turn *in, struct turn_score *out);
void exact_score(const struct scored_turn *in, struct turn_score *out);

#endif
