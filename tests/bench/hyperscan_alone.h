/* Hyperscan over a policy's patterns and nothing else: what benches hold the pattern layer against. */
#ifndef SLUICE_TESTS_BENCH_HYPERSCAN_ALONE_H
#define SLUICE_TESTS_BENCH_HYPERSCAN_ALONE_H

#ifdef SLUICE_HYPERSCAN
#include <hs/hs.h>
#include <stdio.h>
#include <stdlib.h>

#include "monitor/policy.h"

static inline int hyperscan_count(unsigned id, unsigned long long from, unsigned long long to, unsigned flags,
                                  void *ctx) {
  (void)id, (void)from, (void)to, (void)flags;
  ++*(uint64_t *)ctx;
  return 0;
}

/* mode: HS_MODE_STREAM or HS_MODE_BLOCK. *left_out: patterns that it compiles not even as a filter. NULL: not at all.
 */
static inline hs_database_t *hyperscan_compile(const struct monitor_policy *p, unsigned mode, size_t *left_out) {
  const char **patterns = calloc(p->n_rules, sizeof *patterns);
  unsigned *flags = calloc(p->n_rules, sizeof *flags), n = 0;
  hs_database_t *db = NULL;
  hs_compile_error_t *error = NULL;
  *left_out = 0;
  for (size_t i = 0; patterns && flags && i < p->n_rules; i++) {
    const struct rule *r = &p->rules[i];
    unsigned f = (r->flags & PCRE2_CASELESS ? HS_FLAG_CASELESS : 0u) | (r->flags & PCRE2_DOTALL ? HS_FLAG_DOTALL : 0u);
    for (int prefilter = 0; prefilter < 2; prefilter++) {
      hs_expr_info_t *info = NULL;
      unsigned with = f | (prefilter ? HS_FLAG_PREFILTER : 0u);
      if (hs_expression_info(r->pattern, with, &info, &error) == HS_SUCCESS) {
        patterns[n] = r->pattern;
        flags[n++] = with;
        free(info);
        break;
      }
      hs_free_compile_error(error);
      *left_out += (size_t)prefilter;
    }
  }
  if (hs_compile_multi(patterns, flags, NULL, n, mode, NULL, &db, &error) != HS_SUCCESS) {
    printf("Hyperscan: %s\n", error->message);
    hs_free_compile_error(error);
  }
  free(patterns);
  free(flags);
  return db;
}
#endif
#endif
