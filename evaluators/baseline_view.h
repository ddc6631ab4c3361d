/* Private to evaluators: the text that a trivial baseline may look at. */
#ifndef SLUICE_EVALUATORS_BASELINE_VIEW_H
#define SLUICE_EVALUATORS_BASELINE_VIEW_H

#include "evaluators/evaluators.h"

#define BASELINE_MAX_CHOICES 32

struct baseline_view {
  struct slice text; /* visible text before the answer, without the question's list of choices */
  struct slice content[BASELINE_MAX_CHOICES]; /* what each choice says, without its letter and outer punctuation */
  struct buffer memory;
};
/* The turn must have 1 to BASELINE_MAX_CHOICES choices. `content` points into the dialogue, `text` into the view. */
sluice_status baseline_view_open(const struct dialogue *d, size_t turn, const struct baseline_budget *budget,
                                 struct baseline_view *out, struct sluice_error *err);
void baseline_view_close(struct baseline_view *v);
/* What each choice says: its own text, or, where that is only a letter, the words behind "(A)" in the question. False
 * when the turn has too many choices. */
bool baseline_contents(const struct dialogue *d, size_t turn, struct slice *content);
/* Offset of the next whole-word occurrence of want at or after `from`, ASCII case ignored; SIZE_MAX: none. */
size_t baseline_find(struct slice text, size_t from, struct slice want);
bool baseline_next_word(struct slice *rest, struct slice *word);

#endif
