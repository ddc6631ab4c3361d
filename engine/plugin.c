/* CUDA comes as a library of its own, loaded when asked for: CUDA's libraries take 0.3 s and 220 MB to load, which
 * `sluice filter` must not pay. */
#include <dlfcn.h>
#include <stdlib.h>

#include "engine/backend.h"

#define PLUGIN "libsluice-cuda.so"

char *cuda_library(void) {
  struct sluice_error no_memory;
  char *path;
  if (file_above_program(PLUGIN, 2, &path, &no_memory)) return NULL;
  return path ? path : sluice_strdup(SLUICE_PREFIX "/lib/sluice/" PLUGIN);
}

sluice_status cuda_symbol(const char *name, const void **out, struct sluice_error *err) {
  char *path = cuda_library();
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
  sluice_status st = SLUICE_OK;
  if (!file_exists(path)) {
    st = sluice_fail(
        err, SLUICE_UNSUPPORTED,
        "device 'cuda': this build has no CUDA (%s is not there); build where nvcc is found, or use --device cpu",
        path);
  } else { /* stays loaded: its functions are in use until the process ends */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    *out = library ? dlsym(library, name) : NULL;
    if (!*out) st = sluice_fail(err, SLUICE_UNSUPPORTED, "device 'cuda': %s", dlerror());
  }
  free(path);
  return st;
}
