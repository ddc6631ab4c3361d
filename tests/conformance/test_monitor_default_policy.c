/* The shipped policy on texts of others: how often it stops or masks what is ordinary, and what it finds of labelled
 * personal data. */
#include "tests/sample_data.h"

#include <cjson/cJSON.h>

#include "monitor/monitor.h"

enum { TOKEN = 4, TEXT_BYTES = 6 << 20 };

static struct monitor_policy *policy;
static struct monitor *monitor;

static int load(void **state) {
  (void)state;
  struct sluice_error err = {0};
  char *path = NULL;
  if (monitor_policy_default_path(&path, &err) || monitor_policy_load(path, &policy, &err) ||
      monitor_open(policy, NULL, NULL, &monitor, &err)) {
    print_message("%s\n", err.message);
    return -1;
  }
  free(path);
  return 0;
}

static int unload(void **state) {
  (void)state;
  monitor_close(monitor);
  monitor_policy_free(policy);
  return 0;
}

/* Stops per 1,000 tokens of four bytes; a new stream begins after each. */
static void count_stops(const char *set, double most) {
  struct sluice_error err = {0};
  char *path = sample_path(set), *text = NULL;
  size_t len = 0;
  struct monitor_stream *s = NULL;
  struct monitor_counts sum = {0};
  struct monitor_verdict v;
  if (file_read(path, 0, &text, &len, &err)) fail_msg("%s", err.message);
  if (len > TEXT_BYTES) len = TEXT_BYTES;
  assert_int_equal(monitor_stream_open(monitor, 0, 0, 0, &s, &err), SLUICE_OK);
  for (size_t at = 0; at < len; at += TOKEN) {
    assert_int_equal(monitor_push(s, (struct slice){text + at, len - at < TOKEN ? len - at : TOKEN}, &v, &err),
                     SLUICE_OK);
    monitor_forget(s, v.released);
    if (!v.stop) continue;
    print_message("%s: byte %zu: %s: ...%.60s\n", set, at, monitor_stream_stop_rule(s), text + (at > 40 ? at - 40 : 0));
    monitor_counts_add(&sum, monitor_stream_counts(s));
    monitor_stream_close(s);
    assert_int_equal(monitor_stream_open(monitor, 0, 0, 0, &s, &err), SLUICE_OK);
  }
  monitor_counts_add(&sum, monitor_stream_counts(s));
  monitor_stream_close(s);
  double thousands = (double)len / TOKEN / 1000;
  print_message("%s: %.0f thousand tokens: %.4f stops, %.4f masks, %.4f flags per 1,000; %llu not scanned\n", set,
                thousands, (double)sum.stops / thousands, (double)sum.masks / thousands, (double)sum.flags / thousands,
                (unsigned long long)sum.not_scanned);
  assert_true((double)sum.stops / thousands <= most);
  assert_int_equal(sum.not_scanned, 0);
  free(text);
  free(path);
}

static void novels_are_not_stopped(void **state) {
  (void)state;
  count_stops("english_novels/Chesterton_Thursday_1908.txt", 0.1); /* a novel about anarchists with bombs */
  count_stops("english_novels/Dickens_Oliver_1839.txt", 0.1);
}

static void dialogues_are_not_stopped(void **state) {
  (void)state;
  count_stops("sgd/dialogues.tsv", 0.1);
  count_stops("topical_chat/dialogues.tsv", 0.1);
}

static sluice_status collect(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(ctx, text.ptr, text.len, err);
}

static const struct {
  const char *type;
  double least; /* share found, measured when the policy was written, less a margin */
} types[] = {{"EMAIL_ADDRESS", 0.99}, {"CREDIT_CARD", 0.90}, {"IBAN_CODE", 0.90},
             {"PHONE_NUMBER", 0.60},  {"US_SSN", 0.90},      {"IP_ADDRESS", 0.95}};
enum { TYPES = sizeof types / sizeof *types };

static void judge_row(const cJSON *row, int seen[TYPES], int found[TYPES]) {
  struct sluice_error err = {0};
  struct monitor_tap *tap = NULL;
  struct buffer out;
  bool stop = false;
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(row, "full_text"));
  const cJSON *span = NULL;
  buffer_init(&out, 0);
  assert_int_equal(monitor_tap_open(monitor, collect, &out, &tap, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_push(tap, 0, 0, slice_of(text), &stop, &err), SLUICE_OK);
  assert_int_equal(monitor_tap_end(tap, &stop, &err), SLUICE_OK);
  monitor_tap_close(tap);
  assert_int_equal(buffer_append(&out, "", 1, &err), SLUICE_OK);
  cJSON_ArrayForEach(span, cJSON_GetObjectItem(row, "spans")) {
    const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(span, "entity_type"));
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(span, "entity_value"));
    for (int t = 0; t < TYPES; t++) {
      if (strcmp(type, types[t].type) != 0) continue;
      seen[t]++;
      found[t] += strstr(out.ptr, value) == NULL;
    }
  }
  buffer_free(&out);
}

static void labelled_personal_data_is_masked(void **state) {
  (void)state;
  struct sluice_error err = {0};
  int seen[TYPES] = {0}, found[TYPES] = {0};
  static const char *const files[] = {"presidio_pii_spans/generated_large.json",
                                      "presidio_pii_spans/synth_dataset_v2.json"};
  for (int i = 0; i < 2; i++) {
    char *path = sample_path(files[i]);
    cJSON *rows = NULL;
    const cJSON *row = NULL;
    if (json_read_file(path, false, &rows, &err)) fail_msg("%s", err.message);
    cJSON_ArrayForEach(row, rows) judge_row(row, seen, found);
    cJSON_Delete(rows);
    free(path);
  }
  for (int t = 0; t < TYPES; t++) {
    double recall = seen[t] ? (double)found[t] / seen[t] : 1;
    print_message("%-14s %4d of %4d masked: recall %.3f\n", types[t].type, found[t], seen[t], recall);
    assert_true(seen[t] > 0);
  }
  for (int t = 0; t < TYPES; t++)
    if ((double)found[t] / seen[t] < types[t].least) fail_msg("%s: recall fell", types[t].type);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(novels_are_not_stopped),
      cmocka_unit_test(dialogues_are_not_stopped),
      cmocka_unit_test(labelled_personal_data_is_masked),
  };
  return cmocka_run_group_tests(tests, load, unload);
}
