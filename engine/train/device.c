/* The table of devices that train. CUDA comes as a library of its own, loaded when asked for: CUDA's libraries take 0.3
 * s and 220 MB to load, which `sluice filter` must not pay. */
#include "engine/train/train.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#define PLUGIN "libsluice-cuda.so"

char *train_cuda_library(void) {
  struct sluice_error no_memory;
  char *path;
  if (file_above_program(PLUGIN, 0, &path, &no_memory)) return NULL;
  return path ? path : sluice_strdup(SLUICE_PREFIX "/lib/sluice/" PLUGIN);
}

static sluice_status load_cuda(const struct train_backend **out, struct sluice_error *err) {
  char *path = train_cuda_library();
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  sluice_status st = SLUICE_OK;
  if (!file_exists(path)) {
    st = sluice_fail(
        err, SLUICE_UNSUPPORTED,
        "device 'cuda': this build has no CUDA (%s is not there); build where nvcc is found, or use --device cpu",
        path);
  } else {
    void *library =
        dlopen(path, RTLD_NOW | RTLD_LOCAL); /* stays loaded: its functions are in use until the process ends */
    *out = library ? dlsym(library, "train_backend_cuda") : NULL;
    if (!*out) st = sluice_fail(err, SLUICE_UNSUPPORTED, "device 'cuda': %s", dlerror());
  }
  free(path);
  return st;
}

sluice_status train_backend_find(const char *device, const struct train_backend **out, struct sluice_error *err) {
  if (strcmp(device, "cuda") == 0) return load_cuda(out, err);
  if (strcmp(device, "cpu") != 0) return sluice_fail(err, SLUICE_USAGE, "device '%s': cpu or cuda", device);
  *out = &train_backend_cpu;
  return SLUICE_OK;
}
