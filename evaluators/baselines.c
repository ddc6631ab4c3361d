/* Trivial baselines: what a score must beat before it says anything about memory. They read the same dialogue that the
 * model read, cut to an equal budget, and nothing else. Where several candidates are equally good, the score is the
 * share of them that is right, so that a baseline needs no random numbers and has no luck. */
#include "evaluators/evaluators.h"
#include "evaluators/baseline_view.h"

#include <string.h>

/* The share of right answers among candidates whose merit is the highest; merit NULL: all are equal. */
static void fair_draw(const struct turn *t, const double *merit, struct baseline_score *out) {
  double best = 0;
  size_t tops = 0, right = 0, even = 0;
  for (size_t i = 0; i < t->n_choices; i++) {
    double m = merit ? merit[i] : 1;
    if (i == 0 || m > best) {
      best = m;
      tops = right = even = 0;
    }
    if (m < best) continue;
    tops++;
    right += (int)i == t->answer;
    even += (int)i == t->tie;
  }
  out->defined = tops > 0;
  out->value = tops ? (double)right / (double)tops : 0;
  out->tie = tops ? (double)even / (double)tops : 0;
}

static bool choosable(const struct turn *t) {
  return t->task == TASK_CHOOSE && t->n_choices > 0 && t->n_choices <= BASELINE_MAX_CHOICES && t->answer >= 0;
}

/* A way to weigh choices from the visible text. */
typedef double (*merit_fn)(const struct baseline_view *view, size_t choice);

static sluice_status by_merit(const struct dialogue *d, size_t turn, const struct baseline_budget *budget,
                              merit_fn merit, struct baseline_score *out, struct sluice_error *err) {
  *out = (struct baseline_score){false, 0, 0};
  const struct turn *t = &d->turns[turn];
  if (!choosable(t)) return SLUICE_OK;
  struct baseline_view view;
  sluice_status status = baseline_view_open(d, turn, budget, &view, err);
  if (status != SLUICE_OK) return status;
  double merits[BASELINE_MAX_CHOICES];
  for (size_t i = 0; i < t->n_choices; i++) merits[i] = merit(&view, i);
  fair_draw(t, merits, out);
  baseline_view_close(&view);
  return SLUICE_OK;
}

static sluice_status chance(const struct dialogue *d, size_t turn, const struct baseline_budget *budget,
                            struct baseline_score *out, struct sluice_error *err) {
  (void)budget, (void)err;
  *out = (struct baseline_score){false, 0, 0};
  if (choosable(&d->turns[turn])) fair_draw(&d->turns[turn], NULL, out);
  return SLUICE_OK;
}

static double length_merit(const struct baseline_view *v, size_t i) {
  return (double)v->content[i].len;
}

/* Share of the choice's distinct words (three bytes or more) that the visible text holds. */
static double overlap_merit(const struct baseline_view *v, size_t i) {
  size_t words = 0, shared = 0;
  struct slice rest = v->content[i], word;
  while (baseline_next_word(&rest, &word)) {
    if (word.len < 3) continue;
    struct slice earlier = {v->content[i].ptr, (size_t)(word.ptr - v->content[i].ptr)};
    if (baseline_find(earlier, 0, word) != SIZE_MAX) continue;
    words++;
    shared += baseline_find(v->text, 0, word) != SIZE_MAX;
  }
  return words ? (double)shared / (double)words : 0;
}

static double recency_merit(const struct baseline_view *v, size_t i) {
  double last = 0;
  for (size_t at = baseline_find(v->text, 0, v->content[i]); at != SIZE_MAX;
       at = baseline_find(v->text, at + 1, v->content[i]))
    last = (double)at + 1;
  return last; /* 0: not visible */
}

static double first_merit(const struct baseline_view *v, size_t i) {
  size_t at = baseline_find(v->text, 0, v->content[i]);
  return at == SIZE_MAX ? 0 : (double)(v->text.len - at) + 1;
}

static double frequency_merit(const struct baseline_view *v, size_t i) {
  double count = 0;
  for (size_t at = baseline_find(v->text, 0, v->content[i]); at != SIZE_MAX;
       at = baseline_find(v->text, at + 1, v->content[i]))
    count++;
  return count;
}

#define BY_MERIT(name, merit)                                                                                          \
  static sluice_status name(const struct dialogue *d, size_t turn, const struct baseline_budget *budget,               \
                            struct baseline_score *out, struct sluice_error *err) {                                    \
    return by_merit(d, turn, budget, merit, out, err);                                                                 \
  }
BY_MERIT(longest, length_merit)
BY_MERIT(overlap, overlap_merit)
BY_MERIT(recency, recency_merit)
BY_MERIT(first, first_merit)
BY_MERIT(frequency, frequency_merit)

struct opening { /* what the other side played, how often, and what beat it */
  struct slice move, beaten_by;
  size_t count;
};

static void count_move(struct opening *moves, size_t *n, struct slice move, struct slice beaten_by) {
  for (size_t i = 0; i < *n; i++)
    if (slice_equal(moves[i].move, move)) {
      moves[i].count++;
      return;
    }
  if (*n < BASELINE_MAX_CHOICES) moves[(*n)++] = (struct opening){move, beaten_by, 1};
}

/* Earlier rounds of this contest, newest first, within the budget; the moves point into the dialogue. */
static size_t count_openings(const struct dialogue *d, size_t turn, const struct baseline_budget *budget,
                             struct opening *moves) {
  size_t n = 0, rounds = 0, bytes = 0;
  for (size_t i = turn; i-- > 0;) {
    const struct turn *t = &d->turns[i];
    bytes += strlen(t->text);
    if (budget && budget->bytes && bytes > budget->bytes) break;
    if (t->task != TASK_CHOOSE || t->tie < 0 || t->answer < 0) continue;
    if (budget && budget->rounds && rounds == budget->rounds) break;
    rounds++;
    struct slice content[BASELINE_MAX_CHOICES];
    if (!baseline_contents(d, i, content)) continue;
    count_move(moves, &n, content[t->tie], content[t->answer]);
  }
  return n;
}

/* Beats the move that the other side has played most often so far (SirLLM's Rock-Paper-Scissors; first round: chance).
 */
static sluice_status counting(const struct dialogue *d, size_t turn, const struct baseline_budget *budget,
                              struct baseline_score *out, struct sluice_error *err) {
  (void)err;
  *out = (struct baseline_score){false, 0, 0};
  const struct turn *t = &d->turns[turn];
  struct slice content[BASELINE_MAX_CHOICES];
  if (!choosable(t) || t->tie < 0 || !baseline_contents(d, turn, content)) return SLUICE_OK;
  struct opening moves[BASELINE_MAX_CHOICES];
  size_t n = count_openings(d, turn, budget, moves);
  double merit[BASELINE_MAX_CHOICES] = {0};
  for (size_t m = 0; m < n; m++)
    for (size_t i = 0; i < t->n_choices; i++)
      if (slice_equal(content[i], moves[m].beaten_by)) merit[i] = (double)moves[m].count;
  fair_draw(t, merit, out);
  return SLUICE_OK;
}

static const struct trivial_baseline table[] = {
    {"chance", "any choice, each as likely", chance},
    {"longest", "the longest choice", longest},
    {"overlap", "the choice that shares most words with what is visible", overlap},
    {"recency", "the choice mentioned last", recency},
    {"first", "the choice mentioned first", first},
    {"frequency", "the choice mentioned most often", frequency},
    {"counting", "beats the other side's most frequent move so far", counting},
    {NULL, NULL, NULL},
};

const struct trivial_baseline *trivial_baseline_table(void) {
  return table;
}

const struct trivial_baseline *trivial_baseline_find(const char *name) {
  for (const struct trivial_baseline *b = table; b->name; b++)
    if (strcmp(b->name, name) == 0) return b;
  return NULL;
}
