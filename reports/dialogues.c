/* The dialogues of a report: who answered each, how many turns were right, and what differs from the reference. Those
 * with flips come first, in turn from each benchmark, so that one long benchmark does not push the others off the page.
 */
#include "reports/model.h"

#include <math.h>
#include <stdlib.h>

struct part { /* one row as seen from its dialogue */
  uint32_t facet, benchmark, sample, policy;
  int64_t seed;
  const struct report_row *row;
  bool bounded;
};

static int part_order(const void *a, const void *b) {
  const struct part *x = a, *y = b;
  if (x->facet != y->facet) return x->facet < y->facet ? -1 : 1;
  if (x->benchmark != y->benchmark) return x->benchmark < y->benchmark ? -1 : 1;
  if (x->seed != y->seed) return x->seed < y->seed ? -1 : 1;
  if (x->sample != y->sample) return x->sample < y->sample ? -1 : 1;
  if (x->policy != y->policy) return x->policy < y->policy ? -1 : 1;
  return x->row < y->row ? -1 : x->row > y->row;
}

static struct part *parts_of(const struct report *r, size_t *n) {
  struct part *parts = calloc(r->n_rows ? r->n_rows : 1, sizeof *parts);
  *n = 0;
  size_t shown = r->n_facets * r->n_policies * r->n_columns;
  for (size_t i = 0; parts && i < r->n_rows; i++) {
    const struct report_row *row = &r->rows[i];
    if (row->score >= shown) continue;
    size_t column = row->score % r->n_columns, policy = row->score / r->n_columns % r->n_policies;
    const struct report_column *c = &r->columns[column];
    parts[(*n)++] = (struct part){.facet = (uint32_t)(row->score / r->n_columns / r->n_policies),
                                  .benchmark = c->benchmark,
                                  .sample = row->sample,
                                  .policy = (uint32_t)policy,
                                  .seed = row->seed,
                                  .row = row,
                                  .bounded = c->bounded && !c->judge};
  }
  if (parts && *n) qsort(parts, *n, sizeof *parts, part_order);
  return parts;
}

static bool same_dialogue(const struct part *x, const struct part *y) {
  return x->facet == y->facet && x->benchmark == y->benchmark && x->seed == y->seed && x->sample == y->sample;
}

static void count_part(struct report_sample *s, struct report_attempt *a, const struct part *p) {
  const struct report_row *row = p->row;
  a->error = a->error || row->outcome == ROW_ERROR;
  a->truncated = a->truncated || row->outcome == ROW_TRUNCATED;
  s->errors += row->outcome == ROW_ERROR || row->outcome == ROW_TRUNCATED || row->outcome == ROW_REFUSED;
  if (!p->bounded) return;
  a->scored += isnan(row->value) ? 0 : 1;
  a->right += row->value >= 0.5;
  a->worse += row->flip < 0;
  a->better += row->flip > 0;
  s->worse += row->flip < 0;
  s->better += row->flip > 0;
}

static sluice_status fill(struct report *r, const struct part *parts, size_t n, struct sluice_error *err) {
  struct report_sample *s = NULL;
  for (size_t i = 0; i < n; i++) {
    const struct part *p = &parts[i];
    bool fresh = i == 0 || !same_dialogue(p, p - 1);
    if (fresh) {
      s = &r->dialogues[r->n_dialogues++];
      *s = (struct report_sample){.facet = p->facet, .benchmark = p->benchmark, .name = p->sample, .seed = p->seed};
      s->attempts = arena_alloc(&r->memory, r->n_policies * sizeof *s->attempts);
      if (!s->attempts) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its dialogues");
    }
    if (fresh || p->policy != (p - 1)->policy)
      s->attempts[s->n_attempts++] = (struct report_attempt){.policy = p->policy, .id = p->row->attempt};
    count_part(s, &s->attempts[s->n_attempts - 1], p);
  }
  return SLUICE_OK;
}

struct placed {
  struct report_sample sample;
  size_t rank;
};

static int by_interest(const void *a, const void *b) {
  const struct placed *x = a, *y = b;
  const struct report_sample *s = &x->sample, *t = &y->sample;
  if (s->facet != t->facet) return s->facet < t->facet ? -1 : 1;
  if (s->benchmark != t->benchmark) return s->benchmark < t->benchmark ? -1 : 1;
  if ((s->worse > 0) != (t->worse > 0)) return s->worse > 0 ? -1 : 1;
  if ((s->errors > 0) != (t->errors > 0)) return s->errors > 0 ? -1 : 1;
  if (s->worse != t->worse) return s->worse > t->worse ? -1 : 1;
  if (s->better != t->better) return s->better > t->better ? -1 : 1;
  if (s->seed != t->seed) return s->seed < t->seed ? -1 : 1;
  return s->name < t->name ? -1 : s->name > t->name;
}

static int by_rank(const void *a, const void *b) {
  const struct placed *x = a, *y = b;
  bool quiet_x = !x->sample.worse && !x->sample.errors, quiet_y = !y->sample.worse && !y->sample.errors;
  if (quiet_x != quiet_y) return quiet_x ? 1 : -1;
  if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
  return by_interest(a, b);
}

static sluice_status arrange(struct report *r, struct sluice_error *err) {
  struct placed *all = calloc(r->n_dialogues ? r->n_dialogues : 1, sizeof *all);
  if (!all) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its dialogues");
  for (size_t i = 0; i < r->n_dialogues; i++) all[i].sample = r->dialogues[i];
  qsort(all, r->n_dialogues, sizeof *all, by_interest);
  for (size_t i = 1; i < r->n_dialogues; i++) {
    bool same =
        all[i].sample.facet == all[i - 1].sample.facet && all[i].sample.benchmark == all[i - 1].sample.benchmark;
    all[i].rank = same ? all[i - 1].rank + 1 : 0;
  }
  qsort(all, r->n_dialogues, sizeof *all, by_rank);
  for (size_t i = 0; i < r->n_dialogues; i++) r->dialogues[i] = all[i].sample;
  free(all);
  return SLUICE_OK;
}

sluice_status report_arrange_dialogues(struct report *r, struct sluice_error *err) {
  size_t n;
  struct part *parts = parts_of(r, &n);
  if (!parts) return sluice_fail(err, SLUICE_NOMEM, "report: no memory for its dialogues");
  size_t count = 0;
  for (size_t i = 0; i < n; i++) count += i == 0 || !same_dialogue(&parts[i], &parts[i - 1]);
  r->dialogues = calloc(count ? count : 1, sizeof *r->dialogues);
  sluice_status status = r->dialogues ? fill(r, parts, n, err)
                                      : sluice_fail(err, SLUICE_NOMEM, "report: no memory for %zu dialogues", count);
  free(parts);
  return status ? status : arrange(r, err);
}
