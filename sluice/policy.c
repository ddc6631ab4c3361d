/* The C API's policies: counted, shared by threads, each with its pool of workspaces. */
#include "sluice/handles.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

uint32_t sluice_api_version(void) {
  return SLUICE_API_VERSION;
}
const char *sluice_version(void) {
  return SLUICE_VERSION;
}

int failure_set(struct sluice_failure *failure, enum sluice_error_code code, const char *message) {
  if (failure) {
    size_t n = strnlen(message, sizeof failure->message - 1);
    failure->code = (int32_t)code;
    memcpy(failure->message, message, n);
    failure->message[n] = '\0';
  }
  return (int)code;
}

int failure_from(struct sluice_failure *failure, const struct sluice_error *err) {
  enum sluice_error_code code = SLUICE_ERROR_INTERNAL;
  switch (err->code) {
  case SLUICE_NOMEM:
    code = SLUICE_ERROR_MEMORY;
    break;
  case SLUICE_IO:
  case SLUICE_FULL:
  case SLUICE_NETWORK:
    code = SLUICE_ERROR_IO;
    break;
  case SLUICE_INPUT:
    code = SLUICE_ERROR_INPUT;
    break;
  case SLUICE_USAGE:
    code = SLUICE_ERROR_USAGE;
    break;
  case SLUICE_LIMIT:
    code = SLUICE_ERROR_LIMIT;
    break;
  case SLUICE_UNSUPPORTED:
    code = SLUICE_ERROR_UNSUPPORTED;
    break;
  case SLUICE_OK:
  case SLUICE_INTERRUPTED:
  case SLUICE_INTERNAL:
    break;
  }
  return failure_set(failure, code, err->message);
}

/* ---- workspaces ---- */

static sluice_status workspace_add(struct sluice_policy *p, struct workspace **out, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  pthread_mutex_lock(&p->grow);
  unsigned n = atomic_load(&p->n_spaces);
  if (n < WORKSPACES_MAX) {
    struct workspace *w = &p->spaces[n];
    st = monitor_open(p->policy, workspace_event, w, &w->monitor, err);
    if (!st) {
      atomic_flag_test_and_set(&w->taken);
      atomic_store(&p->n_spaces, n + 1);
      *out = w;
    }
  }
  pthread_mutex_unlock(&p->grow);
  return st;
}

sluice_status workspace_take(struct sluice_policy *p, struct sluice_stream *s, unsigned *hint, struct workspace **out,
                             struct sluice_error *err) {
  struct workspace *w = NULL;
  while (!w) {
    unsigned n = atomic_load(&p->n_spaces);
    for (unsigned i = 0; !w && i < n; i++) {
      unsigned at = (*hint + i) % n;
      if (atomic_flag_test_and_set_explicit(&p->spaces[at].taken, memory_order_acquire)) continue;
      w = &p->spaces[at];
      *hint = at;
    }
    sluice_status st = w ? SLUICE_OK : workspace_add(p, &w, err);
    if (st) return st;
    if (!w) sched_yield();
  }
  w->stream = s;
  *out = w;
  return SLUICE_OK;
}

void workspace_return(struct workspace *w) {
  w->stream = NULL;
  atomic_flag_clear_explicit(&w->taken, memory_order_release);
}

/* ---- policies ---- */

static void policy_free(struct sluice_policy *p) {
  for (unsigned i = 0; i < atomic_load(&p->n_spaces); i++) monitor_close(p->spaces[i].monitor);
  monitor_policy_free(p->policy);
  free(p->notes);
  pthread_mutex_destroy(&p->grow);
  free(p);
}

static sluice_status fill_info(struct sluice_policy *p, struct sluice_error *err) {
  size_t n = 0;
  while (monitor_policy_note(p->policy, n)) n++;
  p->notes = calloc(n + 1, sizeof *p->notes);
  if (!p->notes) return sluice_fail(err, SLUICE_NOMEM, "no memory for a policy's remarks");
  for (size_t i = 0; i < n; i++) p->notes[i] = monitor_policy_note(p->policy, i);
  p->info = (struct sluice_policy_info){.struct_size = sizeof p->info,
                                        .n_rules = (uint32_t)monitor_policy_rules(p->policy),
                                        .name = monitor_policy_name(p->policy),
                                        .sha256 = monitor_policy_hash(p->policy),
                                        .notes = p->notes};
  return SLUICE_OK;
}

/* Takes `policy` over, also when it fails. The first workspace is made now, so that a policy that has loaded can be
 * used. */
static sluice_status policy_wrap(struct monitor_policy *policy, struct sluice_policy **out, struct sluice_error *err) {
  struct sluice_policy *p = aligned_alloc(_Alignof(struct sluice_policy), sizeof *p);
  struct workspace *w = NULL;
  if (!p) {
    monitor_policy_free(policy);
    return sluice_fail(err, SLUICE_NOMEM, "no memory for a policy");
  }
  memset(p, 0, sizeof *p);
  p->policy = policy;
  monitor_policy_prepare(policy);
  atomic_init(&p->references, 1);
  atomic_init(&p->n_spaces, 0);
  for (size_t i = 0; i < WORKSPACES_MAX; i++) atomic_flag_clear(&p->spaces[i].taken);
  pthread_mutex_init(&p->grow, NULL);
  sluice_status st = fill_info(p, err);
  if (!st) st = workspace_add(p, &w, err);
  if (st) {
    policy_free(p);
    return st;
  }
  workspace_return(w);
  *out = p;
  return SLUICE_OK;
}

int sluice_policy_open(const char *path, struct sluice_policy **policy, struct sluice_failure *failure) {
  struct sluice_error err = {0};
  struct monitor_policy *loaded = NULL;
  char *found = NULL;
  if (!policy) return failure_set(failure, SLUICE_ERROR_USAGE, "sluice_policy_open: policy is NULL");
  *policy = NULL;
  sluice_status st = path ? SLUICE_OK : monitor_policy_default_path(&found, &err);
  if (!st) st = monitor_policy_load(path ? path : found, &loaded, &err);
  if (!st) st = policy_wrap(loaded, policy, &err);
  free(found);
  return st ? failure_from(failure, &err) : 0;
}

int sluice_policy_parse(const char *name, const char *folder, const char *json, size_t size,
                        struct sluice_policy **policy, struct sluice_failure *failure) {
  struct sluice_error err = {0};
  struct monitor_policy *loaded = NULL;
  if (!policy || (!json && size))
    return failure_set(failure, SLUICE_ERROR_USAGE, "sluice_policy_parse: policy or json is NULL");
  *policy = NULL;
  sluice_status st =
      monitor_policy_parse(name ? name : "policy", folder, (struct slice){json ? json : "", size}, &loaded, &err);
  if (!st) st = policy_wrap(loaded, policy, &err);
  return st ? failure_from(failure, &err) : 0;
}

struct sluice_policy *sluice_policy_ref(struct sluice_policy *policy) {
  atomic_fetch_add(&policy->references, 1);
  return policy;
}

void sluice_policy_unref(struct sluice_policy *policy) {
  if (policy && atomic_fetch_sub(&policy->references, 1) == 1) policy_free(policy);
}

const struct sluice_policy_info *sluice_policy_describe(const struct sluice_policy *policy) {
  return &policy->info;
}
