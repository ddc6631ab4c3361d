/* Machine code for a rule's patterns, made when the rule is first tried: most rules of a policy never are, and PCRE2's
 * JIT takes longer than everything else that loading does. Whoever comes first makes it, others wait: code must not be
 * used by one thread while another one compiles it. */
#include "monitor/policy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct machine {
  pthread_mutex_t lock;
  _Atomic bool made;
  bool jit, probe_jit;
};

sluice_status machine_open(const char *where, struct machine **out, struct sluice_error *err) {
  struct machine *m = calloc(1, sizeof *m);
  if (!m || pthread_mutex_init(&m->lock, NULL)) {
    free(m);
    return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for the pattern", where);
  }
  *out = m;
  return SLUICE_OK;
}

void machine_close(struct machine *m) {
  if (!m) return;
  pthread_mutex_destroy(&m->lock);
  free(m);
}

static bool compiles(pcre2_code *code, uint32_t modes) {
  return code && pcre2_jit_compile(code, modes) == 0;
}

void machine_allow(const struct allow_list *list) {
  for (size_t i = 0; i < list->n; i++)
    for (size_t k = 0; k < list->items[i].n_patterns; k++) compiles(list->items[i].patterns[k], PCRE2_JIT_COMPLETE);
}

static void make(const struct rule *r, struct machine *m) {
  m->jit =
      compiles(r->code, PCRE2_JIT_PARTIAL_HARD) && compiles(r->anchored, PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD);
  m->probe_jit = compiles(r->probe, PCRE2_JIT_PARTIAL_SOFT);
  machine_allow(&r->allow);
}

static const struct machine *obtain(const struct rule *r) {
  struct machine *m = r->machine;
  if (atomic_load_explicit(&m->made, memory_order_acquire)) return m;
  pthread_mutex_lock(&m->lock);
  if (!m->made) make(r, m);
  atomic_store_explicit(&m->made, true, memory_order_release);
  pthread_mutex_unlock(&m->lock);
  return m;
}

bool machine_runs(const struct rule *r) {
  return obtain(r)->jit;
}
bool machine_probes(const struct rule *r) {
  return obtain(r)->probe_jit;
}

void monitor_policy_prepare(const struct monitor_policy *p) {
  for (size_t i = 0; i < p->n_rules; i++) obtain(&p->rules[i]);
}

bool machine_there(void) {
  uint32_t jit = 0;
  return pcre2_config(PCRE2_CONFIG_JIT, &jit) >= 0 && jit;
}
