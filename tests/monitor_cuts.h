/* For tests: rules as a policy, a text in pieces through the monitor, and the output held against the reference. */
#ifndef SLUICE_TESTS_MONITOR_CUTS_H
#define SLUICE_TESTS_MONITOR_CUTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "monitor/monitor.h"
#include "monitor/policy.h"
#include "tests/monitor_reference.h"

static unsigned cuts_match_limit = 100000; /* as the policy's own default */

/* With true, the prefilter over long texts answers on every piece, however short, for every rule that it can answer
 * for. */
static bool cuts_prefilter;
static inline void cuts_prefilter_policy(struct monitor_policy *p) {
  if (!p || !cuts_prefilter) return;
  p->prefilter_min = 1;
  p->prefilter_rare = true;
  monitor_policy_compile_prefilter(p);
}

static inline bool cuts_prefilter_there(void) {
  char what[160];
  return monitor_prefilter_there(what, sizeof what);
}

/* The rules as a policy; NULL and a message in err when one is refused. */
static inline struct monitor_policy *try_policy_of(const struct ref_rule *rules, size_t n, struct sluice_error *err) {
  struct buffer json;
  struct monitor_policy *p = NULL;
  buffer_init(&json, 0);
  buffer_printf(&json, err, "{\"views\":[\"raw\"],\"limits\":{\"match_limit\":%u},\"rules\":[", cuts_match_limit);
  for (size_t i = 0; i < n; i++) {
    buffer_printf(&json, err, "%s{\"id\":\"r%zu\",\"category\":\"c\",\"action\":\"%s\",\"max_match\":%zu,\"protect\":",
                  i ? "," : "", i, rules[i].action, rules[i].max_match ? rules[i].max_match : 512);
    buffer_printf(&json, err, rules[i].protects[0] ? "[%d" : "%d", rules[i].protect);
    for (int k = 0; rules[i].protects[k]; k++)
      buffer_printf(&json, err, ",%d%s", rules[i].protects[k], rules[i].protects[k + 1] ? "" : "]");
    buffer_append_str(&json, ",\"pattern\":", err);
    json_quote(&json, rules[i].pattern, strlen(rules[i].pattern), err);
    if (rules[i].flags) buffer_printf(&json, err, ",\"flags\":\"%s\"", rules[i].flags);
    if (rules[i].hold) buffer_printf(&json, err, ",\"hold\":\"%s\"", rules[i].hold == 1 ? "word" : "after");
    if (rules[i].cased) buffer_append_str(&json, ",\"keyword_case\":\"exact\"", err);
    if (rules[i].context[0]) buffer_printf(&json, err, ",\"context\":[\"%s\"]", rules[i].context[0]);
    for (int k = 0; rules[i].keywords[k]; k++) {
      buffer_append_str(&json, k ? "," : ",\"keywords\":[", err);
      json_quote(&json, rules[i].keywords[k], strlen(rules[i].keywords[k]), err);
    }
    buffer_append_str(&json, rules[i].keywords[0] ? "]}" : "}", err);
  }
  buffer_append_str(&json, "]}", err);
  if (monitor_policy_parse("test", NULL, (struct slice){json.ptr, json.len}, &p, err)) p = NULL;
  cuts_prefilter_policy(p);
  buffer_free(&json);
  return p;
}

static inline struct monitor_policy *policy_of(const struct ref_rule *rules, size_t n) {
  struct sluice_error err = {0};
  struct monitor_policy *p = try_policy_of(rules, n, &err);
  if (!p) fail_msg("%s", err.message);
  return p;
}

static inline sluice_status collect(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(ctx, text.ptr, text.len, err);
}

static struct monitor_counts cuts_counts; /* of the latest run */

/* Pushes text cut where cuts[i] is set (before byte i) and returns the output. */
static inline uint64_t run_cut_exposing(struct monitor *m, const char *text, size_t n, const unsigned char *cuts,
                                        struct buffer *out, bool *stopped) {
  struct sluice_error err = {0};
  struct monitor_tap *tap = NULL;
  struct monitor_counts counts = {0};
  bool stop = false;
  buffer_clear(out);
  assert_int_equal(monitor_tap_open(m, collect, out, &tap, &err), SLUICE_OK);
  for (size_t at = 0; at < n && !stop;) {
    size_t end = at + 1;
    while (end < n && !cuts[end]) end++;
    char *copy = malloc(end - at); /* exactly its bytes, so that a sanitizer sees a read past them */
    memcpy(copy, text + at, end - at);
    assert_int_equal(monitor_tap_push(tap, 0, 0, (struct slice){copy, end - at}, &stop, &err), SLUICE_OK);
    free(copy);
    at = end;
  }
  assert_int_equal(monitor_tap_end(tap, stopped, &err), SLUICE_OK);
  monitor_tap_counts(tap, &counts);
  cuts_counts = counts;
  monitor_tap_close(tap);
  return counts.exposed;
}

static inline void run_cut(struct monitor *m, const char *text, size_t n, const unsigned char *cuts, struct buffer *out,
                           bool *stopped) {
  assert_int_equal(run_cut_exposing(m, text, n, cuts, out, stopped), 0);
}

static inline void check_cut(struct monitor *m, const struct ref_rule *rules, size_t n_rules, const char *text,
                             size_t n, const unsigned char *cuts, struct buffer *out, const char *want, size_t want_len,
                             bool want_stop) {
  bool stopped = false;
  run_cut(m, text, n, cuts, out, &stopped);
  if (out->len == want_len && memcmp(out->ptr ? out->ptr : "", want, want_len) == 0 && stopped == want_stop) return;
  print_message("rules:");
  for (size_t i = 0; i < n_rules; i++) print_message(" /%s/ %s", rules[i].pattern, rules[i].action);
  print_message("\ntext: %.*s\ncut:  ", (int)n, text);
  for (size_t i = 0; i < n; i++) print_message("%s%c", i && cuts[i] ? "|" : "", text[i]);
  print_message("\nwant: %.*s%s\ngot:  %.*s%s\n", (int)want_len, want, want_stop ? " STOP" : "", (int)out->len,
                out->ptr ? out->ptr : "", stopped ? " STOP" : "");
  fail();
}

#endif
