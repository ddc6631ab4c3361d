/* The monitor as the runner's tap. Each generated turn gets its own monitor, so that turns may run on any thread. */
#include "cli/run_tap.h"

#include "monitor/monitor.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define POLICIES_MAX 256

_Static_assert((int)CHANNEL_CONTENT == (int)MONITOR_CONTENT && (int)CHANNEL_REASONING == (int)MONITOR_REASONING &&
                   (int)CHANNEL_TOOL == (int)MONITOR_TOOL && (int)CHANNEL_REFUSAL == (int)MONITOR_REFUSAL,
               "engine and monitor number channels alike");

struct run_taps {
  struct {
    char *path;
    struct monitor_policy *policy;
  } loaded[POLICIES_MAX]; /* filled by check, before any thread; only read afterwards */
  size_t n;
};

struct run_tap {
  struct monitor *monitor;
  struct monitor_tap *tap;
  struct tap_event *events; /* strings owned */
  size_t n_events;
  int64_t pieces;
  bool failed; /* then "not scanned" is an event, never a clean turn */
  struct sluice_error why;
};

static sluice_status check(void *ctx, const char *path, struct sluice_error *err) {
  struct run_taps *t = ctx;
  for (size_t i = 0; i < t->n; i++)
    if (!strcmp(t->loaded[i].path, path)) return SLUICE_OK;
  if (t->n == POLICIES_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d monitor policies", POLICIES_MAX);
  sluice_status status = monitor_policy_load(path, &t->loaded[t->n].policy, err);
  if (status) return status;
  if (!(t->loaded[t->n++].path = sluice_strdup(path))) return sluice_fail(err, SLUICE_NOMEM, "no memory for a monitor");
  return SLUICE_OK;
}

static bool add_event(struct run_tap *t, const struct tap_event *e) {
  struct tap_event *grown = realloc(t->events, (t->n_events + 1) * sizeof *grown);
  if (!grown) return false;
  t->events = grown;
  struct tap_event *kept = &grown[t->n_events++];
  *kept = *e;
  kept->rule = sluice_strdup(e->rule);
  kept->category = sluice_strdup(e->category);
  return true;
}

static void on_event(void *ctx, const struct monitor_event *e) {
  struct run_tap *t = ctx;
  struct tap_event seen = {.action =
                               e->kind == MONITOR_MATCH ? monitor_action_name(e->action) : monitor_event_name(e->kind),
                           .rule = e->rule,
                           .category = e->category,
                           .score = (double)NAN,
                           .span_start = (int64_t)e->start,
                           .span_end = (int64_t)e->end,
                           .token_index = t->pieces};
  if (!add_event(t, &seen)) t->failed = true;
}

/* What may be shown is not wanted here: the ledger keeps the raw text, and the events say what was done to it. */
static sluice_status swallow(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)ctx, (void)choice, (void)channel, (void)text, (void)err;
  return SLUICE_OK;
}

static void tap_free(struct run_tap *t) {
  if (t->tap) monitor_tap_close(t->tap);
  if (t->monitor) monitor_close(t->monitor);
  for (size_t i = 0; i < t->n_events; i++) {
    free((char *)(uintptr_t)t->events[i].rule);
    free((char *)(uintptr_t)t->events[i].category);
  }
  free(t->events);
  free(t);
}

static sluice_status open_tap(void *ctx, const char *path, void **out, struct sluice_error *err) {
  struct run_taps *all = ctx;
  const struct monitor_policy *policy = NULL;
  for (size_t i = 0; i < all->n; i++)
    if (!strcmp(all->loaded[i].path, path)) policy = all->loaded[i].policy;
  if (!policy) return sluice_fail(err, SLUICE_INTERNAL, "monitor %s was not checked before the run", path);
  struct run_tap *t = calloc(1, sizeof *t);
  if (!t) return sluice_fail(err, SLUICE_NOMEM, "no memory for a monitor");
  sluice_status status = monitor_open(policy, on_event, t, &t->monitor, err);
  if (!status) status = monitor_tap_open(t->monitor, swallow, NULL, &t->tap, err);
  if (status) {
    tap_free(t);
    return status;
  }
  *out = t;
  return SLUICE_OK;
}

static bool on_piece(void *tap, const struct piece *piece) {
  struct run_tap *t = tap;
  bool stop = false;
  if (!t->failed && monitor_tap_push(t->tap, piece->choice, (int)piece->channel, piece->bytes, &stop, &t->why))
    t->failed = true;
  t->pieces++;
  return !stop;
}

static sluice_status close_tap(void *tap,
                               sluice_status (*event)(void *to, const struct tap_event *e, struct sluice_error *err),
                               void *to, struct sluice_error *err) {
  struct run_tap *t = tap;
  bool stopped = false;
  char detail[160];
  if (!t->failed && monitor_tap_end(t->tap, &stopped, &t->why)) t->failed = true;
  struct monitor_counts counts = {0};
  monitor_tap_counts(t->tap, &counts);
  sluice_status status = SLUICE_OK;
  for (size_t i = 0; i < t->n_events && !status; i++) status = event(to, &t->events[i], err);
  snprintf(detail, sizeof detail, "%llu bytes in %llu pieces", (unsigned long long)counts.bytes,
           (unsigned long long)counts.pieces);
  struct tap_event last = {.action = t->failed ? "error" : "scanned",
                           .detail = t->failed ? t->why.message : detail,
                           .score = (double)NAN,
                           .span_start = -1,
                           .span_end = -1,
                           .token_index = -1};
  if (!status) status = event(to, &last, err);
  tap_free(t);
  return status;
}

sluice_status run_taps_open(struct run_taps **out, struct tap_maker *maker, struct sluice_error *err) {
  struct run_taps *t = calloc(1, sizeof *t);
  if (!t) return sluice_fail(err, SLUICE_NOMEM, "no memory for monitors");
  *maker = (struct tap_maker){.check = check, .open = open_tap, .piece = on_piece, .close = close_tap, .ctx = t};
  *out = t;
  return SLUICE_OK;
}

void run_taps_close(struct run_taps *t) {
  if (!t) return;
  for (size_t i = 0; i < t->n; i++) {
    monitor_policy_free(t->loaded[i].policy);
    free(t->loaded[i].path);
  }
  free(t);
}
