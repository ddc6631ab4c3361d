/* The monitor as the scanner of the `rules` judge: cli is the room that joins the two. */
#include "cli/judge_pass.h"
#include "monitor/monitor.h"

#include <stdlib.h>
#include <string.h>

struct scanner {
  struct monitor_policy *policy;
  struct monitor *monitor;
  struct buffer *findings; /* of the text being scanned */
  bool flagged, unknown;
  sluice_status status;
  struct sluice_error err;
};

/* [{"rule":"...","category":"...","action":"...","start":0,"end":4},...]; the matched text stays out. */
static sluice_status write_finding(struct buffer *b, const struct monitor_event *e, struct sluice_error *err) {
  sluice_status st = buffer_append_str(b, b->len == 0 ? "[{\"rule\":" : ",{\"rule\":", err);
  if (st == SLUICE_OK) st = json_quote(b, e->rule, strlen(e->rule), err);
  if (st == SLUICE_OK) st = buffer_append_str(b, ",\"category\":", err);
  const char *category = e->category != NULL ? e->category : "";
  if (st == SLUICE_OK) st = json_quote(b, category, strlen(category), err);
  if (st != SLUICE_OK) return st;
  return buffer_printf(b, err, ",\"event\":\"%s\",\"start\":%llu,\"end\":%llu}", monitor_event_name(e->kind),
                       (unsigned long long)e->start, (unsigned long long)e->end);
}

static void on_event(void *ctx, const struct monitor_event *e) {
  struct scanner *s = ctx;
  if (e->kind == MONITOR_MATCH) s->flagged = true;
  if (e->kind == MONITOR_NOT_SCANNED) s->unknown = true;
  if (s->status == SLUICE_OK) s->status = write_finding(s->findings, e, &s->err);
}

static void scanner_close(void *scanner) {
  struct scanner *s = scanner;
  if (s->monitor != NULL) monitor_close(s->monitor);
  if (s->policy != NULL) monitor_policy_free(s->policy);
  free(s);
}

static sluice_status scanner_open(const char *policy, void **scanner, struct sluice_error *err) {
  struct scanner *s = calloc(1, sizeof *s);
  if (s == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a monitor");
  sluice_status st = monitor_policy_load(policy, &s->policy, err);
  if (st == SLUICE_OK) st = monitor_open(s->policy, on_event, s, &s->monitor, err);
  if (st != SLUICE_OK) {
    scanner_close(s);
    return st;
  }
  *scanner = s;
  return SLUICE_OK;
}

static sluice_status scan(void *scanner, struct slice text, bool *flagged, struct buffer *findings,
                          struct sluice_error *err) {
  struct scanner *s = scanner;
  struct monitor_stream *stream = NULL;
  struct monitor_verdict verdict;
  s->findings = findings;
  s->flagged = s->unknown = false;
  s->status = SLUICE_OK;
  sluice_status st = monitor_stream_open(s->monitor, 0, MONITOR_CONTENT, 0, &stream, err);
  if (st == SLUICE_OK) st = monitor_push(stream, text, &verdict, err);
  if (st == SLUICE_OK) st = monitor_settle(stream, &verdict, err);
  if (stream != NULL) monitor_stream_close(stream);
  if (st == SLUICE_OK && s->status != SLUICE_OK) {
    *err = s->err;
    st = s->status;
  }
  if (st == SLUICE_OK && findings->len > 0) st = buffer_append_str(findings, "]", err);
  if (st == SLUICE_OK && s->unknown && !s->flagged) {
    return sluice_fail(err, SLUICE_LIMIT, "the match limit was hit: part of the text was not scanned");
  }
  *flagged = s->flagged;
  return st;
}

const struct judge_scanner judge_monitor_scanner = {scanner_open, scan, scanner_close};
