/* Choosing a kernel table at run time. */
#include "engine/cpu/kernels.h"
#include "engine/engine.h"

#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>

/* clang 14 has no __builtin_cpu_supports("f16c"). */
static bool has_f16c(void) {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

struct candidate {
  const char *name;
  const struct kernels *table; /* NULL: this build has none */
  bool runs;
};

static void list_candidates(struct candidate out[3]) {
  out[0] = (struct candidate){"avx512", NULL, false};
  out[1] = (struct candidate){"avx2", NULL, false};
  out[2] = (struct candidate){"portable", &kernels_portable, true};
#if defined(__x86_64__)
  out[0].table = &kernels_avx512;
  out[0].runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                __builtin_cpu_supports("fma");
  out[1].table = &kernels_avx2;
  out[1].runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
#endif
}

sluice_status kernels_find(const char *name, const struct kernels **out, struct sluice_error *err) {
  struct candidate all[3];
  list_candidates(all);
  for (int i = 0; i < 3; i++) {
    if (name ? strcmp(name, all[i].name) != 0 : !all[i].runs) continue;
    if (!all[i].runs)
      return sluice_fail(err, SLUICE_UNSUPPORTED,
                         "kernel \"%s\": this processor or build lacks it; leave it out to get \"%s\"", name,
                         all[1].runs ? "avx2" : "portable");
    *out = all[i].table;
    return SLUICE_OK;
  }
  static const char *const names[] = {"avx512", "avx2", "portable", NULL};
  const char *near = suggest(name, names);
  return sluice_fail(err, SLUICE_USAGE, "kernel \"%s\": there are avx512, avx2 and portable%s%s%s", name,
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

const char *session_best_kernel(void) {
  struct sluice_error unused; /* the portable kernels always run */
  const struct kernels *best;
  return kernels_find(NULL, &best, &unused) ? "none" : best->name;
}
