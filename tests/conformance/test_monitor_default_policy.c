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

static bool is_stopped(const char *text) {
  struct sluice_error err = {0};
  struct monitor_stream *s = NULL;
  struct monitor_verdict v;
  assert_int_equal(monitor_stream_open(monitor, 0, 0, 0, &s, &err), SLUICE_OK);
  assert_int_equal(monitor_push(s, slice_of(text), &v, &err), SLUICE_OK);
  assert_int_equal(monitor_settle(s, &v, &err), SLUICE_OK);
  monitor_stream_close(s);
  return v.stop;
}

/* Whole instructions, of which the policy's lists name few: what it never does is stop a harmless one. */
static void harmless_instructions_are_not_stopped(void **state) {
  (void)state;
  static const char *const files[] = {"harmless_train", "harmless_test", "harmful_train", "harmful_test"};
  struct sluice_error err = {0};
  for (int i = 0; i < 4; i++) {
    char name[64];
    snprintf(name, sizeof name, "harm_behaviours/refusal_direction/%s.json", files[i]);
    char *path = sample_path(name);
    cJSON *rows = NULL;
    const cJSON *row = NULL;
    int seen = 0, stopped = 0;
    if (json_read_file(path, false, &rows, &err)) fail_msg("%s", err.message);
    cJSON_ArrayForEach(row, rows) {
      seen++;
      stopped += is_stopped(cJSON_GetStringValue(cJSON_GetObjectItem(row, "instruction")));
    }
    print_message("%s: %d of %d instructions stopped\n", files[i], stopped, seen);
    if (i < 2) assert_int_equal(stopped, 0);
    cJSON_Delete(rows);
    free(path);
  }
}

static const struct {
  const char *type;
  double least; /* share found, measured when the policy was written, less a margin */
} types[] = {{"EMAIL_ADDRESS", 0.99}, {"CREDIT_CARD", 0.98}, {"IBAN_CODE", 0.98},
             {"PHONE_NUMBER", 0.97},  {"US_SSN", 0.98},      {"IP_ADDRESS", 0.98}};
enum { TYPES = sizeof types / sizeof *types, MASKS_MAX = 256 };

/* Masks of one text, and of all: right ones touch a labelled span of any of the types. */
struct masks {
  struct monitor_span spans[MASKS_MAX];
  size_t n;
  int right, wrong;
};
struct tally {
  int seen, found, whole;
};

static void note_mask(void *ctx, const struct monitor_event *e) {
  struct masks *m = ctx;
  if (e->kind != MONITOR_MATCH || e->action != MONITOR_MASK) return;
  assert_true(m->n < MASKS_MAX);
  m->spans[m->n++] = (struct monitor_span){e->start, e->end, 0};
}

/* The data count characters. */
static uint64_t byte_offset(const char *text, const cJSON *number) {
  int characters = number ? number->valueint : 0;
  const char *at = text;
  for (; characters > 0 && *at; characters--)
    for (at++; ((unsigned char)*at & 0xC0) == 0x80;) at++;
  return (uint64_t)(at - text);
}

static int type_of(const cJSON *span) {
  const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(span, "entity_type"));
  for (int t = 0; t < TYPES; t++)
    if (strcmp(type, types[t].type) == 0) return t;
  return -1;
}

static void judge_span(const struct masks *m, uint64_t start, uint64_t end, bool touched[MASKS_MAX], struct tally *t) {
  uint64_t covered = 0;
  for (uint64_t at = start; at < end; at++) {
    bool masked = false;
    for (size_t i = 0; i < m->n; i++)
      if (m->spans[i].start <= at && at < m->spans[i].end) masked = touched[i] = true;
    covered += masked;
  }
  t->seen++;
  t->found += covered > 0;
  t->whole += covered == end - start;
}

static void judge_row(const cJSON *row, struct monitor *m, struct masks *masks, struct tally tally[TYPES]) {
  struct sluice_error err = {0};
  struct monitor_stream *s = NULL;
  struct monitor_verdict v;
  bool touched[MASKS_MAX] = {false};
  const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(row, "full_text"));
  const cJSON *span = NULL;
  masks->n = 0;
  assert_int_equal(monitor_stream_open(m, 0, 0, 0, &s, &err), SLUICE_OK);
  assert_int_equal(monitor_push(s, slice_of(text), &v, &err), SLUICE_OK);
  assert_int_equal(monitor_settle(s, &v, &err), SLUICE_OK);
  monitor_stream_close(s);
  cJSON_ArrayForEach(span, cJSON_GetObjectItem(row, "spans")) {
    int t = type_of(span);
    if (t < 0) continue;
    judge_span(masks, byte_offset(text, cJSON_GetObjectItem(span, "start_position")),
               byte_offset(text, cJSON_GetObjectItem(span, "end_position")), touched, &tally[t]);
  }
  for (size_t i = 0; i < masks->n; i++) {
    masks->right += touched[i];
    masks->wrong += !touched[i];
    if (!touched[i])
      print_message("no label: %.*s\n", (int)(masks->spans[i].end - masks->spans[i].start),
                    text + masks->spans[i].start);
  }
}

static void labelled_personal_data_is_masked(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct tally tally[TYPES] = {{0}};
  static struct masks masks;
  struct monitor *m = NULL;
  static const char *const files[] = {"presidio_pii_spans/generated_large.json",
                                      "presidio_pii_spans/synth_dataset_v2.json"};
  assert_int_equal(monitor_open(policy, note_mask, &masks, &m, &err), SLUICE_OK);
  for (int i = 0; i < 2; i++) {
    char *path = sample_path(files[i]);
    cJSON *rows = NULL;
    const cJSON *row = NULL;
    if (json_read_file(path, false, &rows, &err)) fail_msg("%s", err.message);
    cJSON_ArrayForEach(row, rows) judge_row(row, m, &masks, tally);
    cJSON_Delete(rows);
    free(path);
  }
  monitor_close(m);
  for (int t = 0; t < TYPES; t++)
    print_message("%-14s %4d of %4d masked: recall %.3f; %d to the last byte\n", types[t].type, tally[t].found,
                  tally[t].seen, (double)tally[t].found / tally[t].seen, tally[t].whole);
  double precision = (double)masks.right / (masks.right + masks.wrong);
  print_message("%d of %d matches touch a label of these types: precision %.3f\n", masks.right,
                masks.right + masks.wrong, precision);
  for (int t = 0; t < TYPES; t++)
    if ((double)tally[t].found / tally[t].seen < types[t].least) fail_msg("%s: recall fell", types[t].type);
  assert_true(precision >= 0.98);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(novels_are_not_stopped),
      cmocka_unit_test(dialogues_are_not_stopped),
      cmocka_unit_test(harmless_instructions_are_not_stopped),
      cmocka_unit_test(labelled_personal_data_is_masked),
  };
  return cmocka_run_group_tests(tests, load, unload);
}
