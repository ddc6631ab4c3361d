/* Aho and Corasick, "Efficient string matching", CACM 18(6) 1975, as a full table: one look-up a byte. ASCII case is
 * folded; bytes that no keyword holds share one column. The automaton of a policy is its gate: PCRE2 runs for a
 * keyworded rule only after one of its keywords has come. Its depth is the hold-back that a half-seen keyword asks. */
#include "monitor/policy.h"

#include <stdlib.h>
#include <string.h>

enum { STATES_MAX = 1 << 20 };

unsigned char keyword_fold(unsigned char c) {
  return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

bool keyword_is(const struct keyword *k, const char *text) {
  return !k->cased || memcmp(text, k->exact, k->len) == 0;
}

/* Column 0 is every byte that stands in no keyword. */
static void number_columns(struct keyword_automaton *a, const struct keyword *words, size_t n) {
  a->n_columns = 1;
  for (size_t k = 0; k < n; k++)
    for (size_t i = 0; i < words[k].len; i++) {
      unsigned char c = (unsigned char)words[k].text[i];
      if (!a->column[c]) a->column[c] = (uint8_t)a->n_columns++;
    }
  for (unsigned c = 'A'; c <= 'Z'; c++) a->column[c] = a->column[c + 32];
}

static size_t add_tries(struct keyword_automaton *a, const struct keyword *words, size_t n, uint32_t *ends) {
  size_t states = 1;
  for (size_t k = 0; k < n; k++) {
    uint32_t at = 0;
    for (size_t i = 0; i < words[k].len; i++) {
      uint32_t *to = &a->next[at * a->n_columns + a->column[(unsigned char)words[k].text[i]]];
      if (!*to) {
        a->depth[states] = (uint16_t)(a->depth[at] + 1);
        *to = (uint32_t)states++;
      }
      at = *to;
    }
    ends[k] = at;
  }
  return states;
}

/* Breadth first: a state's failure link is shallower, so its row and outputs are complete when the state is reached. */
static void link_states(struct keyword_automaton *a, uint32_t *queue) {
  size_t head = 0, tail = 0;
  for (unsigned c = 0; c < a->n_columns; c++)
    if (a->next[c]) queue[tail++] = a->next[c];
  while (head < tail) {
    uint32_t q = queue[head++];
    for (unsigned c = 0; c < a->n_columns; c++) {
      uint32_t *to = &a->next[q * a->n_columns + c], back = a->next[a->fail[q] * a->n_columns + c];
      if (!*to) {
        *to = back;
      } else {
        a->fail[*to] = back;
        queue[tail++] = *to;
      }
    }
  }
}

static sluice_status list_outputs(struct keyword_automaton *a, size_t n, const uint32_t *ends, const uint32_t *order,
                                  struct sluice_error *err) {
  for (size_t k = 0; k < n; k++) a->n_outputs[ends[k]]++;
  for (size_t i = 0; i + 1 < a->n_states; i++) a->n_outputs[order[i]] += a->n_outputs[a->fail[order[i]]];
  size_t total = 0;
  for (size_t q = 0; q < a->n_states; q++) {
    a->first_output[q] = (uint32_t)total;
    total += a->n_outputs[q];
    if (total > UINT32_MAX / 2) return sluice_fail(err, SLUICE_LIMIT, "too many overlapping keywords");
  }
  a->outputs = calloc(total + 1, sizeof *a->outputs);
  uint32_t *used = calloc(a->n_states, sizeof *used);
  if (!a->outputs || !used) {
    free(used);
    return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu keyword ends", total);
  }
  for (size_t k = 0; k < n; k++) a->outputs[a->first_output[ends[k]] + used[ends[k]]++] = (uint32_t)k;
  for (size_t i = 0; i + 1 < a->n_states; i++) {
    uint32_t q = order[i], f = a->fail[q];
    memcpy(a->outputs + a->first_output[q] + used[q], a->outputs + a->first_output[f],
           a->n_outputs[f] * sizeof(uint32_t));
  }
  free(used);
  /* So that the walk sees an output in the same word as the state. */
  for (size_t i = 0; i < a->n_states * a->n_columns; i++)
    if (a->n_outputs[a->next[i]]) a->next[i] |= KEYWORD_ENDS;
  return SLUICE_OK;
}

sluice_status automaton_build(struct keyword_automaton *a, const struct keyword *words, size_t n,
                              struct sluice_error *err) {
  size_t cap = 1;
  for (size_t k = 0; k < n; k++) cap += words[k].len;
  if (cap > STATES_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "keywords of %zu bytes in all are more than %d", cap, STATES_MAX);
  number_columns(a, words, n);
  a->next = calloc(cap * a->n_columns, sizeof *a->next);
  a->fail = calloc(cap, sizeof *a->fail);
  a->depth = calloc(cap, sizeof *a->depth);
  a->first_output = calloc(cap, sizeof *a->first_output);
  a->n_outputs = calloc(cap, sizeof *a->n_outputs);
  uint32_t *queue = calloc(cap, sizeof *queue), *ends = calloc(n + 1, sizeof *ends);
  sluice_status st = SLUICE_OK;
  if (!a->next || !a->fail || !a->depth || !a->first_output || !a->n_outputs || !queue || !ends)
    st = sluice_fail(err, SLUICE_NOMEM, "no memory for %zu keyword states", cap);
  if (!st) a->n_states = add_tries(a, words, n, ends);
  if (!st) link_states(a, queue);
  if (!st) st = list_outputs(a, n, ends, queue, err);
  free(queue);
  free(ends);
  return st;
}

void automaton_free(struct keyword_automaton *a) {
  free(a->next);
  free(a->fail);
  free(a->depth);
  free(a->first_output);
  free(a->n_outputs);
  free(a->outputs);
  free(a->first_half);
  free(a->halves);
  memset(a, 0, sizeof *a);
}

/* ---- half-seen keywords ---- */

struct half_list {
  uint32_t keyword[HALVES_MAX];
  uint32_t n;
};

static bool says_no_more(const struct monitor_policy *p, const struct keyword *k, const struct keyword *than,
                         size_t depth) {
  if (p->rules[than->rule].word_start && !p->rules[k->rule].word_start) return false;
  if (than->cased && !k->cased) return false;
  return !than->cased || memcmp(k->exact, than->exact, depth) == 0;
}

/* One entry for all keywords that share this prefix, its case and where it may stand. */
static void add_half(const struct monitor_policy *p, struct half_list *l, uint32_t keyword, size_t depth) {
  const struct keyword *k = &p->keywords[keyword];
  size_t kept = 0;
  for (size_t i = 0; i < l->n; i++)
    if (says_no_more(p, k, &p->keywords[l->keyword[i]], depth)) return;
  for (size_t i = 0; i < l->n; i++)
    if (!says_no_more(p, &p->keywords[l->keyword[i]], k, depth)) l->keyword[kept++] = l->keyword[i];
  l->n = (uint32_t)kept;
  if (l->n < HALVES_MAX)
    l->keyword[l->n++] = keyword;
  else
    l->n = HALVES_MAX + 1; /* too many to tell apart: always held */
}

/* For each state the keywords that are half seen there and whose rules protect them. */
static sluice_status list_halves(struct monitor_policy *p, struct sluice_error *err) {
  struct keyword_automaton *a = &p->words;
  struct half_list *lists = calloc(a->n_states, sizeof *lists);
  a->first_half = calloc(a->n_states + 1, sizeof *a->first_half);
  if (!lists || !a->first_half) {
    free(lists);
    return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu keyword states", a->n_states);
  }
  size_t total = 0;
  for (uint32_t i = 0; i < p->n_keywords; i++) {
    const struct keyword *k = &p->keywords[i];
    const struct rule *r = &p->rules[k->rule];
    if (r->action == MONITOR_FLAG || r->hold == HOLD_AFTER || k->context) continue;
    uint32_t q = 0;
    for (size_t d = 0; d < k->len; d++) {
      q = automaton_step(a, q, (unsigned char)k->text[d]);
      if (lists[q].n <= HALVES_MAX) add_half(p, &lists[q], i, d + 1);
    }
  }
  for (size_t q = 0; q < a->n_states; q++) total += lists[q].n;
  a->halves = calloc(total + 1, sizeof *a->halves);
  for (size_t q = 0, at = 0; a->halves && q < a->n_states; q++) {
    a->first_half[q] = (uint32_t)at;
    bool many = lists[q].n > HALVES_MAX;
    if (many)
      a->halves[at++] = UINT32_MAX;
    else if (lists[q].n)
      memcpy(a->halves + at, lists[q].keyword, lists[q].n * sizeof *a->halves);
    if (!many) at += lists[q].n;
    a->first_half[q + 1] = (uint32_t)at;
  }
  free(lists);
  return a->halves ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for %zu half-seen keywords", total);
}

sluice_status keywords_build(struct monitor_policy *p, struct sluice_error *err) {
  sluice_status st = automaton_build(&p->words, p->keywords, p->n_keywords, err);
  return st ? st : list_halves(p, err);
}
