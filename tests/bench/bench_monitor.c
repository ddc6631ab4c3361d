/* Cost of the rules a token: `bench_monitor [POLICY] [FILE]...`. English text is pushed four bytes at a time through
 * the policy (the shipped one by default; files: $SLUICE_DATA/english_novels, else a text of its own that repeats).
 * Printed: microseconds a token, the share of pieces after which something waited, bytes that waited on average, PCRE2
 * runs a token, stops. After a stop a new stream begins behind the piece that was stopped at.
 *
 * `bench_monitor --rules DIR [FILE]...` does so for DIR/gitleaks.toml, and for 1,000 rules that are gitleaks', one for
 * each line of DIR/en, and rules like them under made-up names; each beside Hyperscan's streaming mode over the same
 * patterns, which finds where matches end and holds nothing. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hyperscan_alone.h"
#include "made_rules.h"
#include "monitor/monitor.h"
#include "monitor/policy.h"

enum { TOKEN_BYTES = 4, FILE_BYTES = 8 << 20, ALL_BYTES = 64 << 20, MIXED_RULES = 1000, RUNS = 3 };

static const char own_text[] =
    "The harbour was quiet when the last boat came in. \"You are late,\" said the old man, and he took the rope from "
    "her "
    "hands without another word. Rain had been falling since noon; it ran down the windows of the customs house, where "
    "a single lamp was burning, and gathered in the ruts of the road that led up to the town.\n\n";

static sluice_status append_file(struct buffer *text, const char *path, struct sluice_error *err) {
  char *bytes = NULL;
  size_t len = 0;
  sluice_status st = file_read(path, FILE_BYTES, &bytes, &len, err);
  if (!st) st = buffer_append(text, bytes, len, err);
  free(bytes);
  return st;
}

static sluice_status append_novels(struct buffer *text, struct sluice_error *err) {
  const char *dir = getenv("SLUICE_DATA");
  char *path = sluice_format("%s/english_novels", dir && dir[0] ? dir : "build/data");
  DIR *d = path ? opendir(path) : NULL;
  sluice_status st = SLUICE_OK;
  int files = 0;
  for (struct dirent *e; d && !st && files < 4 && (e = readdir(d));) {
    if (!strstr(e->d_name, ".txt") || strcmp(e->d_name, "SOURCE.txt") == 0) continue;
    char *file = sluice_format("%s/%s", path, e->d_name);
    st = file ? append_file(text, file, err) : SLUICE_NOMEM;
    free(file);
    files++;
  }
  if (d) closedir(d);
  free(path);
  while (!st && files == 0 && text->len < 1 << 20) st = buffer_append_str(text, own_text, err);
  return st;
}

/* Processor time: the same on a machine that does other work too. */
static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static sluice_status run_once(struct monitor *m, struct slice text, struct monitor_counts *sum, double *seconds,
                              struct sluice_error *err) {
  struct monitor_stream *s = NULL;
  struct monitor_verdict v;
  *sum = (struct monitor_counts){0};
  sluice_status st = monitor_stream_open(m, 0, MONITOR_CONTENT, 0, &s, err);
  const double began = cpu_seconds();
  for (size_t at = 0; !st && at < text.len; at += TOKEN_BYTES) {
    size_t n = text.len - at < TOKEN_BYTES ? text.len - at : TOKEN_BYTES;
    st = monitor_push(s, (struct slice){text.ptr + at, n}, &v, err);
    if (!st) monitor_forget(s, v.released);
    if (st || !v.stop) continue;
    monitor_counts_add(sum, monitor_stream_counts(s));
    monitor_stream_close(s);
    st = monitor_stream_open(m, 0, MONITOR_CONTENT, 0, &s, err);
  }
  *seconds = cpu_seconds() - began;
  if (!st) monitor_counts_add(sum, monitor_stream_counts(s));
  monitor_stream_close(s);
  return st;
}

/* The best of three: what else the machine does only ever adds. */
static sluice_status measure(struct monitor *m, struct slice text, double *us, struct sluice_error *err) {
  struct monitor_counts sum = {0};
  const uint64_t tokens = (text.len + TOKEN_BYTES - 1) / TOKEN_BYTES;
  for (int i = 0; i < RUNS; i++) {
    double seconds = 0;
    sluice_status st = run_once(m, text, &sum, &seconds, err);
    if (st) return st;
    if (i == 0 || seconds * 1e6 / (double)tokens < *us) *us = seconds * 1e6 / (double)tokens;
  }
  printf("%.1f MB, %llu tokens of %d bytes\n", (double)text.len / 1e6, (unsigned long long)tokens, TOKEN_BYTES);
  printf("%.3f us of processor time a token\n", *us);
  printf("%.3f PCRE2 runs a token\n", (double)sum.pattern_runs / (double)tokens);
  printf("%.1f %% of pieces held, %.2f bytes waiting on average, at most %llu\n",
         100.0 * (double)sum.pieces_held / (double)sum.pieces, (double)sum.held_sum / (double)sum.pieces,
         (unsigned long long)sum.held_max);
  printf("%llu stops, %llu masks, %llu flags, %llu not scanned, %llu capped; %.4f stops per 1,000 tokens\n",
         (unsigned long long)sum.stops, (unsigned long long)sum.masks, (unsigned long long)sum.flags,
         (unsigned long long)sum.not_scanned, (unsigned long long)sum.capped,
         1000.0 * (double)sum.stops / (double)tokens);
  return SLUICE_OK;
}

/* ---- Hyperscan alone ---- */

#ifdef SLUICE_HYPERSCAN
static double run_hyperscan(hs_stream_t *stream, hs_scratch_t *scratch, struct slice text, uint64_t *ends) {
  const double start = cpu_seconds();
  *ends = 0;
  for (size_t at = 0; at < text.len; at += TOKEN_BYTES) {
    size_t n = text.len - at < TOKEN_BYTES ? text.len - at : TOKEN_BYTES;
    hs_scan_stream(stream, text.ptr + at, (unsigned)n, 0, scratch, hyperscan_count, ends);
  }
  return cpu_seconds() - start;
}

static void measure_hyperscan(const struct monitor_policy *p, struct slice text, double ours) {
  size_t left_out = 0, state = 0;
  uint64_t ends = 0;
  double us = 0;
  hs_scratch_t *scratch = NULL;
  hs_stream_t *stream = NULL;
  const double began = cpu_seconds();
  hs_database_t *db = hyperscan_compile(p, HS_MODE_STREAM, &left_out);
  const double compiled = cpu_seconds();
  if (!db || hs_alloc_scratch(db, &scratch) != HS_SUCCESS || hs_open_stream(db, 0, &stream) != HS_SUCCESS) return;
  hs_stream_size(db, &state);
  for (int i = 0; i < RUNS; i++) {
    double run = run_hyperscan(stream, scratch, text, &ends) * 1e6 * TOKEN_BYTES / (double)text.len;
    hs_reset_stream(stream, 0, scratch, NULL, NULL);
    if (i == 0 || run < us) us = run;
  }
  printf("Hyperscan alone: %.3f us a token; the layer takes %.2f times that. %zu patterns left out, %.2f s to compile, "
         "%zu bytes a stream, %llu match ends\n",
         us, ours / us, left_out, compiled - began, state, (unsigned long long)ends);
  hs_close_stream(stream, scratch, NULL, NULL);
  hs_free_scratch(scratch);
  hs_free_database(db);
}
#else
static void measure_hyperscan(const struct monitor_policy *p, struct slice text, double ours) {
  (void)p, (void)text, (void)ours;
  printf("Hyperscan alone: not measured, this build is without it (libhyperscan-dev)\n");
}
#endif

/* ---- one policy ---- */

static sluice_status measure_policy(const char *name, const struct monitor_policy *p, struct slice text, bool beside,
                                    struct sluice_error *err) {
  struct monitor *m = NULL;
  double us = 0;
  printf("policy %s: %zu rules\n", name, monitor_policy_rules(p));
  sluice_status st = monitor_open(p, NULL, NULL, &m, err);
  if (!st) st = measure(m, text, &us, err);
  monitor_close(m);
  if (!st && beside) measure_hyperscan(p, text, us);
  return st;
}

static sluice_status measure_json(const char *name, struct slice json, struct slice text, struct sluice_error *err) {
  struct monitor_policy *p = NULL;
  const double began = cpu_seconds();
  sluice_status st = monitor_policy_parse(name, NULL, json, &p, err);
  const double loaded = cpu_seconds();
  if (!st) st = measure_policy(name, p, text, true, err);
  if (!st) printf("%.3f s of processor time to load\n\n", loaded - began);
  monitor_policy_free(p);
  return st;
}

/* ---- 1,000 rules ---- */

static sluice_status measure_rules(const char *dir, struct slice text, struct sluice_error *err) {
  char *words = sluice_format("%s/en", dir), *json = NULL, *mixed = NULL;
  cJSON *root = words ? made_gitleaks(dir, err) : NULL, *rules = cJSON_GetObjectItem(root, "rules");
  sluice_status st = root ? SLUICE_OK : SLUICE_INTERNAL;
  if (!st) json = cJSON_PrintUnformatted(root);
  if (json) st = measure_json("gitleaks", slice_of(json), text, err);
  if (!st) st = made_words(rules, words, err);
  if (!st) made_names(rules, MIXED_RULES);
  if (!st) mixed = cJSON_PrintUnformatted(root);
  if (mixed) st = measure_json("1,000 mixed rules", slice_of(mixed), text, err);
  cJSON_Delete(root);
  free(mixed);
  free(json);
  free(words);
  return st;
}

int main(int argc, char **argv) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  struct buffer text;
  bool rules = argc > 2 && strcmp(argv[1], "--rules") == 0;
  int files = rules ? 3 : 2;
  char *path = argc > 1 && !rules ? sluice_strdup(argv[1]) : NULL;
  buffer_init(&text, ALL_BYTES);
  sluice_status st = path || rules ? SLUICE_OK : monitor_policy_default_path(&path, &err);
  if (!st && !rules) st = monitor_policy_load(path, &p, &err);
  for (int i = files; !st && i < argc; i++) st = append_file(&text, argv[i], &err);
  if (!st && argc <= files) st = append_novels(&text, &err);
  const struct slice all = {text.ptr, text.len};
  if (!st) st = rules ? measure_rules(argv[2], all, &err) : measure_policy(path, p, all, false, &err);
  if (st) fprintf(stderr, "bench_monitor: %s\n", err.message);
  monitor_policy_free(p);
  buffer_free(&text);
  free(path);
  return st ? 1 : 0;
}
