/* engine/model: tensors in mapped files, whatever the format. Private to engine/model. */
#ifndef SLUICE_ENGINE_MODEL_TENSORS_H
#define SLUICE_ENGINE_MODEL_TENSORS_H

#include "engine/model/model.h"

enum { TENSOR_MAX_DIMS = 8 };

struct tensor {
  const char *name;
  const char *dtype_text; /* as the format spells it */
  bool readable;          /* a dtype of enum dtype: only then is it set */
  enum dtype dtype;
  int n_dims;
  int64_t shape[TENSOR_MAX_DIMS]; /* outermost first: a matrix is [rows, cols] */
  const unsigned char *data;      /* in the mapping, aligned to the element; blocks to 2 bytes */
  uint64_t start, bytes;          /* place in the data section */
};

/* What every format's own struct begins with. */
struct tensor_file {
  char *path;
  const unsigned char *bytes; /* the mapping */
  size_t len;
  struct tensor *tensors; /* in order of name */
  size_t n;
  void (*close)(struct tensor_file *f);
};
/* Sorts by name; SLUICE_INPUT when a name comes twice. */
sluice_status tensors_sort(struct tensor_file *f, struct sluice_error *err);
const struct tensor *tensors_find(const struct tensor_file *f, const char *name); /* NULL: absent */

#endif
