/* What /metrics says of verdicts and of text. */
#include "cli/proxy_run.h"

#include <inttypes.h>
#include <string.h>

static size_t find(const struct proxy_run *r, const char *category) {
  size_t i = 0;
  while (i < r->n_verdicts && strcmp(r->verdicts[i].category, category)) i++;
  return i;
}

/* Every category that the policy names, so that a metric is there before its first event. */
sluice_status proxy_metrics_list(struct proxy_run *r, const struct monitor_policy *p, struct sluice_error *err) {
  for (size_t k = 0; k < monitor_policy_rules(p); k++) {
    const char *category = monitor_rule_category(p, k);
    if (find(r, category) < r->n_verdicts) continue;
    if (r->n_verdicts == PROXY_CATEGORIES_MAX)
      return sluice_fail(err, SLUICE_LIMIT, "more than %d categories", PROXY_CATEGORIES_MAX);
    struct verdict_count *v = &r->verdicts[r->n_verdicts++];
    snprintf(v->category, sizeof v->category, "%s", category);
  }
  return SLUICE_OK;
}

void proxy_metrics_count(struct proxy_run *r, const struct monitor_event *e) {
  size_t i = find(r, e->category);
  if (i == r->n_verdicts) return;
  if (e->kind == MONITOR_NOT_SCANNED) r->verdicts[i].not_scanned[e->action == MONITOR_FLAG]++;
  if (e->kind != MONITOR_MATCH) return;
  r->verdicts[i].n[e->mode][e->action]++;
  r->verdicts[i].exposed[e->mode] += e->exposed;
}

static sluice_status label(struct buffer *out, const char *text, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (const char *s = text; !st && *s; s++)
    st = *s == '\n'                ? buffer_append_str(out, "\\n", err)
         : *s == '"' || *s == '\\' ? buffer_printf(out, err, "\\%c", *s)
                                   : buffer_append(out, s, 1, err);
  return st;
}

static sluice_status verdict_line(struct buffer *out, const char *name, const char *category, const char *labels,
                                  uint64_t value, struct sluice_error *err) {
  sluice_status st = buffer_printf(out, err, "%s{category=\"", name);
  if (!st) st = label(out, category, err);
  return st ? st : buffer_printf(out, err, "\",%s} %" PRIu64 "\n", labels, value);
}

static sluice_status verdicts_of(const struct verdict_count *v, bool shadow, struct buffer *out,
                                 struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  char labels[96];
  for (int a = 0; !st && a < 3; a++) { /* shadow stands apart: nothing was done */
    uint64_t n = 0;
    for (int m = 0; m < MONITOR_MODES; m++) n += (m == MONITOR_SHADOW) == shadow ? v->n[m][a] : 0;
    snprintf(labels, sizeof labels, "action=\"%s\"", monitor_action_name((enum monitor_action)a));
    st = verdict_line(out, shadow ? "sluice_shadow_verdicts_total" : "sluice_verdicts_total", v->category, labels, n,
                      err);
  }
  if (!st && !shadow)
    st = verdict_line(out, "sluice_verdicts_total", v->category, "action=\"not_scanned\"",
                      v->not_scanned[0] + v->not_scanned[1], err);
  return st;
}

static sluice_status verdict_lines(const struct proxy_run *r, struct buffer *out, struct sluice_error *err) {
  static const char *const heads[] = {
      "# HELP sluice_verdicts_total Matches by category and by what was done.\n"
      "# TYPE sluice_verdicts_total counter\n",
      "# HELP sluice_shadow_verdicts_total What would have been done by rules in shadow.\n"
      "# TYPE sluice_shadow_verdicts_total counter\n",
      "# HELP sluice_not_scanned_total Places that a detector could not look at, by whether the rule fails open.\n"
      "# TYPE sluice_not_scanned_total counter\n",
      "# HELP sluice_mode_exposed_bytes_total Protected bytes that a reader saw, by release mode.\n"
      "# TYPE sluice_mode_exposed_bytes_total counter\n"};
  sluice_status st = SLUICE_OK;
  char labels[96];
  for (int family = 0; !st && family < 4; family++) {
    st = buffer_append_str(out, heads[family], err);
    for (size_t i = 0; !st && i < r->n_verdicts; i++) {
      const struct verdict_count *v = &r->verdicts[i];
      if (family < 2) st = verdicts_of(v, family == 1, out, err);
      for (int k = 0; !st && family == 2 && k < 2; k++)
        st = verdict_line(out, "sluice_not_scanned_total", v->category, k ? "fail=\"open\"" : "fail=\"closed\"",
                          v->not_scanned[k], err);
      for (int m = 0; !st && family == 3 && m < MONITOR_MODES; m++) {
        snprintf(labels, sizeof labels, "mode=\"%s\"", monitor_mode_name((enum monitor_mode)m));
        st = verdict_line(out, "sluice_mode_exposed_bytes_total", v->category, labels, v->exposed[m], err);
      }
    }
  }
  return st;
}

static const int64_t bucket_ns[DETECTOR_BUCKETS] = {200, 500, 1000, 2000, 5000, 20000, 100000, 1000000};

static void count(uint64_t *at, uint64_t n) {
  __atomic_store_n(at, *at + n, __ATOMIC_RELAXED);
}

void proxy_metrics_time(struct detector_times *d, int64_t ns) {
  int at = 0;
  while (at < DETECTOR_BUCKETS && ns > bucket_ns[at]) at++;
  if (at < DETECTOR_BUCKETS) count(&d->buckets[at], 1);
  count(&d->timed, 1);
  count(&d->ns, (uint64_t)ns);
}

/* The monitor has one detector, the rules. With a second one it will have to tell their times apart itself. */
static sluice_status detectors(const struct proxy_run *r, struct buffer *out, struct sluice_error *err) {
  struct detector_times sum = {0};
  for (size_t i = 0; i < 2 * r->threads; i++) {
    const struct detector_times *d = &r->times[i];
    sum.timed += __atomic_load_n(&d->timed, __ATOMIC_RELAXED);
    sum.ns += __atomic_load_n(&d->ns, __ATOMIC_RELAXED);
    for (int k = 0; k < DETECTOR_BUCKETS; k++) sum.buckets[k] += __atomic_load_n(&d->buckets[k], __ATOMIC_RELAXED);
  }
  sluice_status st = buffer_append_str(out,
                                       "# HELP sluice_detector_seconds Time that a detector took for a piece of text; "
                                       "every eighth piece is timed.\n# TYPE sluice_detector_seconds histogram\n",
                                       err);
  uint64_t below = 0;
  for (int k = 0; !st && k < DETECTOR_BUCKETS; k++) {
    below += sum.buckets[k];
    st = buffer_printf(out, err, "sluice_detector_seconds_bucket{detector=\"rules\",le=\"%g\"} %" PRIu64 "\n",
                       (double)bucket_ns[k] / 1e9, below);
  }
  if (st) return st;
  return buffer_printf(out, err,
                       "sluice_detector_seconds_bucket{detector=\"rules\",le=\"+Inf\"} %" PRIu64
                       "\nsluice_detector_seconds_sum{detector=\"rules\"} %.9f\n"
                       "sluice_detector_seconds_count{detector=\"rules\"} %" PRIu64 "\n",
                       sum.timed, (double)sum.ns / 1e9, sum.timed);
}

static sluice_status write_all(const struct proxy_run *r, struct buffer *out, struct sluice_error *err) {
  const struct monitor_counts *c = &r->ended;
  const struct {
    const char *name, *about;
    uint64_t value;
  } table[] = {{"sluice_pieces_total", "Pieces of text judged, of answers that have ended.", c->pieces},
               {"sluice_pieces_held_total", "Pieces after which something waited.", c->pieces_held},
               {"sluice_text_bytes_total", "Bytes of text judged.", c->bytes},
               {"sluice_held_bytes_total", "Bytes that waited after a piece, summed over pieces.", c->held_sum},
               {"sluice_exposed_bytes_total", "Protected bytes that had left before they were known.", c->exposed},
               {"sluice_capped_total", "Attempts decided on a window that was too short for them.", c->capped},
               {"sluice_prompts_blocked_total", "Requests whose prompt a rule stopped: nothing was sent.", r->blocked},
               {"sluice_prompt_parts_unread_total",
                "Pictures, sound and files in requests whose prompts are judged: nobody looked at them.",
                r->unread_parts},
               {"sluice_audit_lost_total", "Rows of the audit that could not be written.", r->audit_lost},
               {"sluice_tokens_saved_max_total",
                "Stopped answers: the bound that the request set on its tokens, less the pieces of text that had come. "
                "At most so many were not generated.",
                r->tokens_saved_max},
               {"sluice_stops_without_token_limit_total",
                "Stopped answers whose request set no bound: what they saved is not known.", r->stops_without_limit}};
  sluice_status st = verdict_lines(r, out, err);
  for (size_t i = 0; !st && i < sizeof table / sizeof *table; i++)
    st = buffer_printf(out, err, "# HELP %s %s\n# TYPE %s counter\n%s %" PRIu64 "\n", table[i].name, table[i].about,
                       table[i].name, table[i].name, table[i].value);
  return st ? st : detectors(r, out, err);
}

sluice_status proxy_metrics_write(void *run, struct buffer *out, struct sluice_error *err) {
  struct proxy_run *r = run;
  pthread_mutex_lock(&r->lock);
  sluice_status st = write_all(r, out, err);
  pthread_mutex_unlock(&r->lock);
  return st;
}
