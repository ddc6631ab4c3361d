/* The table of devices that train. */
#include "engine/train/train.h"

#include <string.h>

#include "engine/backend.h"

static sluice_status load_cuda(const struct train_backend **out, struct sluice_error *err) {
  const void *found = NULL;
  sluice_status st = cuda_symbol("train_backend_cuda", &found, err);
  *out = found;
  return st;
}

sluice_status train_backend_find(const char *device, const struct train_backend **out, struct sluice_error *err) {
  if (strcmp(device, "cuda") == 0) return load_cuda(out, err);
  if (strcmp(device, "cpu") != 0) return sluice_fail(err, SLUICE_USAGE, "device '%s': cpu or cuda", device);
  *out = &train_backend_cpu;
  return SLUICE_OK;
}
