/* Cost of the rules a token: `bench_monitor [POLICY] [FILE]...`. English text is pushed four bytes at a time through
 * the policy (the shipped one by default; files: $SLUICE_DATA/english_novels, else a text of its own that repeats).
 * Printed: microseconds a token, the share of pieces after which something waited, bytes that waited on average, PCRE2
 * runs a token, stops. After a stop a new stream begins behind the piece that was stopped at. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "monitor/monitor.h"

enum { TOKEN_BYTES = 4, FILE_BYTES = 8 << 20, ALL_BYTES = 64 << 20 };

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

static sluice_status measure(struct monitor *m, struct slice text, struct sluice_error *err) {
  struct monitor_stream *s = NULL;
  struct monitor_counts sum = {0};
  struct monitor_verdict v;
  uint64_t tokens = 0;
  sluice_status st = monitor_stream_open(m, 0, MONITOR_CONTENT, 0, &s, err);
  const double began = cpu_seconds();
  for (size_t at = 0; !st && at < text.len; at += TOKEN_BYTES, tokens++) {
    size_t n = text.len - at < TOKEN_BYTES ? text.len - at : TOKEN_BYTES;
    st = monitor_push(s, (struct slice){text.ptr + at, n}, &v, err);
    if (!st) monitor_forget(s, v.released);
    if (st || !v.stop) continue;
    monitor_counts_add(&sum, monitor_stream_counts(s));
    monitor_stream_close(s);
    st = monitor_stream_open(m, 0, MONITOR_CONTENT, 0, &s, err);
  }
  const double seconds = cpu_seconds() - began;
  if (st) return st;
  monitor_counts_add(&sum, monitor_stream_counts(s));
  monitor_stream_close(s);
  printf("%.1f MB, %llu tokens of %d bytes\n", (double)text.len / 1e6, (unsigned long long)tokens, TOKEN_BYTES);
  printf("%.3f us of processor time a token\n", seconds * 1e6 / (double)tokens);
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

int main(int argc, char **argv) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  struct buffer text;
  char *path = argc > 1 ? sluice_strdup(argv[1]) : NULL;
  buffer_init(&text, ALL_BYTES);
  sluice_status st = path ? SLUICE_OK : monitor_policy_default_path(&path, &err);
  if (!st) st = monitor_policy_load(path, &p, &err);
  if (!st) st = monitor_open(p, NULL, NULL, &m, &err);
  for (int i = 2; !st && i < argc; i++) st = append_file(&text, argv[i], &err);
  if (!st && argc <= 2) st = append_novels(&text, &err);
  if (!st) printf("policy %s: %zu rules\n", path, monitor_policy_rules(p));
  if (!st) st = measure(m, (struct slice){text.ptr, text.len}, &err);
  if (st) fprintf(stderr, "bench_monitor: %s\n", err.message);
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&text);
  free(path);
  return st ? 1 : 0;
}
