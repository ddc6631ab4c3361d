/* Aho and Corasick, "Efficient string matching", CACM 18(6) 1975, as a full table: one look-up a byte. The automaton is
 * the gate: PCRE2 runs for a keyworded rule only after one of its keywords has come. Its depth is the hold-back that a
 * half-seen keyword asks. */
#include "monitor/policy.h"

#include <stdlib.h>
#include <string.h>

enum { STATES_MAX = 1 << 20 };

unsigned char keyword_fold(unsigned char c) {
  return c >= 'A' && c <= 'Z' ? (unsigned char)(c + 32) : c;
}

static sluice_status add_tries(struct monitor_policy *p, uint32_t *ends, size_t cap, struct sluice_error *err) {
  struct keyword_automaton *a = &p->words;
  a->n_states = 1;
  for (size_t k = 0; k < p->n_keywords; k++) {
    uint32_t at = 0;
    for (size_t i = 0; i < p->keywords[k].len; i++) {
      unsigned char c = (unsigned char)p->keywords[k].text[i];
      if (!a->next[at][c]) {
        if (a->n_states >= cap) return sluice_fail(err, SLUICE_INTERNAL, "keyword states were counted wrong");
        a->depth[a->n_states] = (uint16_t)(a->depth[at] + 1);
        a->next[at][c] = (uint32_t)a->n_states++;
      }
      at = a->next[at][c];
      const struct rule *r = &p->rules[p->keywords[k].rule];
      if (r->action != MONITOR_FLAG && r->hold != HOLD_AFTER)
        a->pending[at] |= r->word_start ? PENDING_WORD_START : PENDING_ANY;
    }
    ends[k] = at;
  }
  return SLUICE_OK;
}

/* Breadth first: a state's failure link is shallower, so its row and outputs are complete when the state is reached. */
static void link_states(struct keyword_automaton *a, uint32_t *queue) {
  size_t head = 0, tail = 0;
  for (int c = 0; c < 256; c++)
    if (a->next[0][c]) queue[tail++] = a->next[0][c];
  while (head < tail) {
    uint32_t q = queue[head++];
    for (int c = 0; c < 256; c++) {
      uint32_t to = a->next[q][c], back = a->next[a->fail[q]][c];
      if (!to) {
        a->next[q][c] = back;
      } else {
        a->fail[to] = back;
        queue[tail++] = to;
      }
    }
  }
}

static sluice_status list_outputs(struct monitor_policy *p, const uint32_t *ends, const uint32_t *order,
                                  struct sluice_error *err) {
  struct keyword_automaton *a = &p->words;
  for (size_t k = 0; k < p->n_keywords; k++) a->n_outputs[ends[k]]++;
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
  a->n_outputs_total = total;
  for (size_t k = 0; k < p->n_keywords; k++) a->outputs[a->first_output[ends[k]] + used[ends[k]]++] = (uint32_t)k;
  for (size_t i = 0; i + 1 < a->n_states; i++) {
    uint32_t q = order[i], f = a->fail[q];
    memcpy(a->outputs + a->first_output[q] + used[q], a->outputs + a->first_output[f],
           a->n_outputs[f] * sizeof(uint32_t));
  }
  free(used);
  return SLUICE_OK;
}

sluice_status keywords_build(struct monitor_policy *p, struct sluice_error *err) {
  struct keyword_automaton *a = &p->words;
  size_t cap = 1;
  for (size_t k = 0; k < p->n_keywords; k++) cap += p->keywords[k].len;
  if (cap > STATES_MAX)
    return sluice_fail(err, SLUICE_LIMIT, "keywords of %zu bytes in all are more than %d", cap, STATES_MAX);
  a->next = calloc(cap, sizeof *a->next);
  a->fail = calloc(cap, sizeof *a->fail);
  a->depth = calloc(cap, sizeof *a->depth);
  a->first_output = calloc(cap, sizeof *a->first_output);
  a->n_outputs = calloc(cap, sizeof *a->n_outputs);
  a->pending = calloc(cap, 1);
  uint32_t *queue = calloc(cap, sizeof *queue), *ends = calloc(p->n_keywords + 1, sizeof *ends);
  sluice_status st = SLUICE_OK;
  if (!a->next || !a->fail || !a->depth || !a->first_output || !a->n_outputs || !a->pending || !queue || !ends)
    st = sluice_fail(err, SLUICE_NOMEM, "no memory for %zu keyword states", cap);
  if (!st) st = add_tries(p, ends, cap, err);
  if (!st) link_states(a, queue);
  if (!st) st = list_outputs(p, ends, queue, err);
  free(queue);
  free(ends);
  return st;
}

void keywords_free(struct keyword_automaton *a) {
  free(a->next);
  free(a->fail);
  free(a->depth);
  free(a->first_output);
  free(a->n_outputs);
  free(a->outputs);
  free(a->pending);
  memset(a, 0, sizeof *a);
}
