/* engine/model/safetensors: the file format of weights (https://huggingface.co/docs/safetensors). Private to engine/.
 * 8 bytes of little-endian header length, a JSON header, then the tensors' bytes without holes. */
#ifndef SLUICE_ENGINE_MODEL_SAFETENSORS_H
#define SLUICE_ENGINE_MODEL_SAFETENSORS_H

#include "engine/model/tensors.h"

enum {
  SAFETENSORS_MAX_DIMS = TENSOR_MAX_DIMS,
  SAFETENSORS_MAX_HEADER = 64 << 20 /* bytes: about 500,000 tensors */
};

/* Maps the file and checks the whole header: every tensor lies inside the file, none overlap, nothing is left over,
 * each has as many bytes as its shape says, and no name comes twice. Errors name the file, the tensor and what was
 * expected. */
struct safetensors; /* begins with a struct tensor_file */
sluice_status safetensors_open(const char *path, struct safetensors **out, struct sluice_error *err);
void safetensors_close(struct safetensors *s);
const char *safetensors_path(const struct safetensors *s);
struct slice safetensors_bytes(const struct safetensors *s); /* the whole file */
size_t safetensors_count(const struct safetensors *s);
const struct tensor *safetensors_at(const struct safetensors *s, size_t index);       /* in order of name */
const struct tensor *safetensors_find(const struct safetensors *s, const char *name); /* NULL: absent */

/* What to write: data holds the product of shape elements of dtype, row-major, in the machine's (little-endian) order.
 */
struct tensor_source {
  const char *name;
  enum dtype dtype;
  int n_dims;
  int64_t shape[SAFETENSORS_MAX_DIMS];
  const void *data;
};
/* Writes the file in one step: a reader sees the old one or the new one. Other programs read it as {"format": "pt"}. */
sluice_status safetensors_write(const char *path, const struct tensor_source *tensors, size_t n,
                                struct sluice_error *err);

#endif
