#include "engine/model/tensors.h"

#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b) {
  return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

sluice_status tensors_sort(struct tensor_file *f, struct sluice_error *err) {
  qsort(f->tensors, f->n, sizeof *f->tensors, by_name);
  for (size_t i = 1; i < f->n; i++)
    if (strcmp(f->tensors[i - 1].name, f->tensors[i].name) == 0)
      return sluice_fail(err, SLUICE_INPUT, "%s: tensor \"%.120s\" comes twice", f->path, f->tensors[i].name);
  return SLUICE_OK;
}

const struct tensor *tensors_find(const struct tensor_file *f, const char *name) {
  struct tensor key = {.name = name};
  return f->n ? bsearch(&key, f->tensors, f->n, sizeof *f->tensors, by_name) : NULL;
}
