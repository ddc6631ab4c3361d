#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

sluice_status plan_open(struct forward_plan *p, size_t tokens, struct sluice_error *err) {
  memset(p, 0, sizeof *p);
  p->slot = calloc(tokens, sizeof *p->slot);
  p->position = calloc(tokens, sizeof *p->position);
  p->segments = calloc(tokens, sizeof *p->segments);
  p->epoch = calloc(tokens, sizeof *p->epoch);
  p->kept = calloc(tokens, sizeof *p->kept);
  p->n_kept = calloc(tokens, sizeof *p->n_kept);
  if (p->slot && p->position && p->segments && p->epoch && p->kept && p->n_kept) return SLUICE_OK;
  plan_close(p);
  return sluice_fail(err, SLUICE_NOMEM, "out of memory: no plan for %zu tokens", tokens);
}

void plan_close(struct forward_plan *p) {
  free(p->slot);
  free(p->position);
  free(p->segments);
  free(p->epoch);
  free(p->kept);
  free(p->n_kept);
  memset(p, 0, sizeof *p);
}
