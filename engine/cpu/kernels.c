/* Choosing a kernel table at run time. */
#include "engine/cpu/kernels.h"
#include "engine/engine.h"

#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>

/* clang 14 has no __builtin_cpu_supports("f16c"). */
static bool has_f16c(void) {
  unsigned a, b, c, d;
  return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

enum { N_KERNELS = 4 };
struct candidate {
  const char *name;
  const struct kernels *table; /* NULL: this build has none */
  bool runs;
};

static void list_candidates(struct candidate out[N_KERNELS]) {
  out[0] = (struct candidate){"avx512vnni", NULL, false};
  out[1] = (struct candidate){"avx512", NULL, false};
  out[2] = (struct candidate){"avx2", NULL, false};
  out[3] = (struct candidate){"portable", &kernels_portable, true};
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("fma");
  out[0].table = &kernels_avx512vnni;
  out[0].runs = avx512 && __builtin_cpu_supports("avx512vnni");
  out[1].table = &kernels_avx512;
  out[1].runs = avx512;
  out[2].table = &kernels_avx2;
  out[2].runs = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
#endif
}

sluice_status kernels_find(const char *name, const struct kernels **out, struct sluice_error *err) {
  struct candidate all[N_KERNELS];
  list_candidates(all);
  for (int i = 0; i < N_KERNELS; i++) {
    if (name ? strcmp(name, all[i].name) != 0 : !all[i].runs) continue;
    if (!all[i].runs)
      return sluice_fail(err, SLUICE_UNSUPPORTED,
                         "kernel \"%s\": this processor or build lacks it; leave it out to get \"%s\"", name,
                         all[1].runs   ? "avx512"
                         : all[2].runs ? "avx2"
                                       : "portable");
    *out = all[i].table;
    return SLUICE_OK;
  }
  static const char *const names[] = {"avx512vnni", "avx512", "avx2", "portable", NULL};
  const char *near = suggest(name, names);
  return sluice_fail(err, SLUICE_USAGE, "kernel \"%s\": there are avx512vnni, avx512, avx2 and portable%s%s%s", name,
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

/* ---- what products work on ----------------------------------------------------------------------------------------
 */

sluice_status operand_open(struct operand *o, int cols, int n_tokens, struct sluice_error *err) {
  memset(o, 0, sizeof *o);
  o->width = ((size_t)cols + 511) / 512 * 512;
  const size_t n = (size_t)n_tokens * o->width, groups = n / ACT_GROUP;
  o->turned = sluice_alloc_aligned(n * sizeof *o->turned);
  o->q = sluice_alloc_aligned(n);
  o->by_halves = sluice_alloc_aligned(n);
  o->total = sluice_alloc_aligned(groups * sizeof *o->total);
  bool ok = o->turned && o->q && o->by_halves && o->total;
  for (int half = 0; half < 2; half++) {
    o->step[half] = sluice_alloc_aligned((groups << half) * sizeof *o->step[half]);
    o->minus[half] = sluice_alloc_aligned((groups << half) * sizeof *o->minus[half]);
    ok = ok && o->step[half] && o->minus[half];
  }
  if (ok) return SLUICE_OK;
  operand_free(o);
  return sluice_fail(err, SLUICE_NOMEM, "out of memory: no working memory for the model");
}

void operand_free(struct operand *o) {
  free(o->turned), free(o->q), free(o->by_halves), free(o->total);
  for (int half = 0; half < 2; half++) free(o->step[half]), free(o->minus[half]);
  memset(o, 0, sizeof *o);
}

/* Two panels of floats, or one of integers, which is smaller; KERNEL_PAD is the most rows that a panel has. */
size_t panel_floats(int cols) {
  return 2 * kernel_padded((size_t)cols) * KERNEL_PAD;
}

const char *session_best_kernel(void) {
  struct sluice_error unused; /* the portable kernels always run */
  const struct kernels *best;
  return kernels_find(NULL, &best, &unused) ? "none" : best->name;
}
