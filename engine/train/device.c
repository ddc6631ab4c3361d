/* The table of devices that train. */
#include "engine/train/train.h"

#include <string.h>

#ifdef SLUICE_CUDA
extern const struct train_backend train_backend_cuda;
#endif

sluice_status train_backend_find(const char *device, const struct train_backend **out, struct sluice_error *err) {
  if (strcmp(device, "cpu") == 0) {
    *out = &train_backend_cpu;
    return SLUICE_OK;
  }
  if (strcmp(device, "cuda") == 0) {
#ifdef SLUICE_CUDA
    *out = &train_backend_cuda;
    return SLUICE_OK;
#else
    return sluice_fail(err, SLUICE_UNSUPPORTED, "device 'cuda': this build has no CUDA; build where nvcc is found, or use --device cpu");
#endif
  }
  return sluice_fail(err, SLUICE_USAGE, "device '%s': cpu or cuda", device);
}
