/* Rules that benches make: names that nobody has, forms of numbers and codes that hold no fixed letter. */
#ifndef SLUICE_TESTS_BENCH_MADE_RULES_H
#define SLUICE_TESTS_BENCH_MADE_RULES_H

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "monitor/monitor.h"

enum { MADE_FILE_BYTES = 8 << 20 };

static inline void made_add(cJSON *rules, const char *action, const char *pattern, const char *keyword,
                            const char *hold, int protect) {
  char id[32];
  cJSON *r = cJSON_CreateObject();
  snprintf(id, sizeof id, "made-%d", cJSON_GetArraySize(rules));
  cJSON_AddStringToObject(r, "id", id);
  cJSON_AddStringToObject(r, "category", "made");
  cJSON_AddStringToObject(r, "action", action);
  cJSON_AddStringToObject(r, "pattern", pattern);
  cJSON_AddStringToObject(r, "flags", "a");
  if (keyword) cJSON_AddItemToObject(r, "keywords", cJSON_CreateStringArray(&keyword, 1));
  if (keyword) cJSON_AddStringToObject(r, "hold", hold);
  if (protect) cJSON_AddNumberToObject(r, "protect", protect);
  cJSON_AddItemToArray(rules, r);
}

/* Names of five letters, each a vendor's: a token of its own, an assignment that names it, and, for one in eight,
 * digits in a form of their own without any name. */
static inline void made_names(cJSON *rules, int until) {
  struct rng rng;
  rng_seed(&rng, 1);
  for (int i = 0; cJSON_GetArraySize(rules) < until; i++) {
    char name[6] = "", pattern[200], keyword[16];
    for (int k = 0; k < 5; k++) name[k] = "bcdfghklmnprstvz"[rng_below(&rng, 16)];
    if (i % 8 == 7) {
      snprintf(pattern, sizeof pattern, "\\b\\d{%u}[-/]\\d{%u}[-/]\\d{%u}\\b", 2 + rng_below(&rng, 4),
               2 + rng_below(&rng, 4), 2 + rng_below(&rng, 4));
      made_add(rules, "mask", pattern, NULL, NULL, 0);
    } else if (i % 2) {
      snprintf(pattern, sizeof pattern, "\\b%s_[A-Za-z0-9]{%u}\\b", name, 16 + rng_below(&rng, 48));
      snprintf(keyword, sizeof keyword, "%s_", name);
      made_add(rules, "mask", pattern, keyword, "after", 0);
    } else {
      snprintf(pattern, sizeof pattern, "(?i)\\b%s[ \\t\\w.-]{0,20}\\s{0,3}[=:]\\s{0,3}['\"]?([a-z0-9_-]{%u,64})\\b",
               name, 16 + rng_below(&rng, 24));
      made_add(rules, "mask", pattern, name, "after", 1);
    }
  }
}

/* What institutions number people and things with, of which no match holds a fixed letter: `until` rules in all. */
static inline void made_forms(cJSON *rules, int until) {
  static const char *const fixed[] = {
      "\\b\\d{3}-\\d{2}-\\d{4}\\b",
      "\\b[A-Z]{2}\\d{7}\\b",
      "\\b[A-TV-Z]\\d{2}(?:\\.\\d{1,4})?\\b",
      "\\b(?:19|20)\\d{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\\d|3[01])\\b",
      "\\b(?:0?[1-9]|[12]\\d|3[01])[./](?:0?[1-9]|1[0-2])[./](?:19|20)\\d{2}\\b",
      "\\b(?:[01]\\d|2[0-3]):[0-5]\\d(?::[0-5]\\d)?\\b",
      "\\b(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)(?:\\.(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)){3}\\b",
      "\\b[A-CEGHJ-PR-TW-Z]{2} ?\\d{2} ?\\d{2} ?\\d{2} ?[A-D]\\b",
      "\\b[A-Z]{5}\\d{4}[A-Z]\\b",
      "\\b\\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\\d|3[01])[-+]?\\d{4}\\b",
      "\\b[A-Z]{6}\\d{2}[A-EHLMPR-T]\\d{2}[A-Z]\\d{3}[A-Z]\\b",
      "\\b\\d{8}[A-HJ-NP-TV-Z]\\b",
      "\\b[XYZ]\\d{7}[A-Z]\\b",
      "\\b[A-HJ-NPR-Z0-9]{17}\\b",
      "\\b[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\\b",
      "\\b(?:[0-9A-F]{2}[:-]){5}[0-9A-F]{2}\\b",
      "\\b[A-Z]{2}\\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\\b",
      "\\b\\d{4,7}(?:[,.]\\d{3})*(?:[.,]\\d{2})\\b",
      "-?\\d{1,3}\\.\\d{4,}, ?-?\\d{1,3}\\.\\d{4,}",
      "\\(\\d{3}\\) ?\\d{3}-\\d{4}",
  };
  static const char *const letters[] = {"[A-Z]", "[A-Z]{2}", "[A-Z]{3}", "[A-HJ-NP-Z]{4}"};
  static const char *const between[] = {"", "-", "[A-Z]?", "[ /]", "[0-9X][.]"};
  char pattern[200];
  for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) made_add(rules, "mask", fixed[i], NULL, NULL, 0);
  for (unsigned i = 0; cJSON_GetArraySize(rules) < until; i++) {
    snprintf(pattern, sizeof pattern, "\\b%s%s\\d{%u}\\b", letters[i % 4], between[i / 4 % 5], 4 + i / 20);
    made_add(rules, "mask", pattern, NULL, NULL, 0);
  }
}

/* An empty policy; the caller deletes it. */
static inline cJSON *made_empty(void) {
  cJSON *root = cJSON_CreateObject();
  cJSON_AddItemToObject(root, "rules", cJSON_CreateArray());
  return root;
}

static inline void made_capped(cJSON *rules, const char *pattern, int max_match) {
  made_add(rules, "mask", pattern, NULL, NULL, 0);
  cJSON_AddNumberToObject(cJSON_GetArrayItem(rules, cJSON_GetArraySize(rules) - 1), "max_match", max_match);
}

/* Shapes that lists of personal data and secrets ask for, without a literal that could wake them. */
static inline void made_bare(cJSON *rules) {
  static const char *const bare[] = {
      "[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\\.[A-Za-z0-9-]{1,63}){1,4}",
      "(?:\\+?1[-. ]?)?\\(?\\d{3}\\)?[-. ]?\\d{3}[-. ]?\\d{4}\\b",
      "(?:\\+\\d{1,3}[- ]?)?\\d{2,4}[- ]\\d{3,4}[- ]\\d{3,4}",
      "\\b(?:\\d{1,3}\\.){3}\\d{1,3}\\b",
      "\\b(?:[A-Fa-f0-9]{1,4}:){7}[A-Fa-f0-9]{1,4}\\b",
      "\\b(?:4\\d{3}|5[1-5]\\d{2}|6011|3[47]\\d{2})[- ]?\\d{4}[- ]?\\d{4}[- ]?\\d{3,4}\\b",
      "\\b(?:\\d[ -]?){13,16}\\b",
      "\\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\\b",
      "\\b[a-f0-9]{32}\\b",
      "\\b[a-f0-9]{40}\\b",
      "\\b[a-fA-F0-9]{64}\\b",
      "[a-z0-9]{32}",
      "[0-9a-f]{32}",
      "[A-Za-z0-9+/]{40}",
      "(?<![A-Za-z0-9/+=])[A-Za-z0-9/+=]{40}(?![A-Za-z0-9/+=])",
      "[A-Za-z0-9_-]{24}\\.[A-Za-z0-9_-]{6}\\.[A-Za-z0-9_-]{27}",
      "[0-9]{15,25}-[a-zA-Z0-9]{20,40}",
      "[1-9][0-9]+-[0-9a-zA-Z]{40}",
      "[0-9]+:[A-Za-z0-9_-]{35}",
      "[0-9a-zA-Z]{24}[-_.][0-9a-zA-Z]{12}",
      "\\b[A-Z0-9]{20}\\b",
      "\\b[A-Za-z0-9]{43}=",
      "(?:[A-Za-z0-9+/]{4}){10,}(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)",
      "\\b[13][a-km-zA-HJ-NP-Z1-9]{25,34}\\b",
      "\\b(?!000|666|9\\d{2})\\d{3}[- ](?!00)\\d{2}[- ](?!0000)\\d{4}\\b",
      "\\b[A-Z]{2}\\d{2}[ ]?(?:[A-Z0-9]{4}[ ]?){2,7}[A-Z0-9]{1,4}\\b",
      "\\b(?:0[1-9]|1[0-2])[/-](?:0[1-9]|[12]\\d|3[01])[/-](?:19|20)?\\d{2}\\b",
      "\\b\\d{1,2}[/.-]\\d{1,2}[/.-]\\d{2,4}\\b",
      "\\b\\d{4}-\\d{2}-\\d{2}(?:[T ]\\d{2}:\\d{2}(?::\\d{2})?)?\\b",
      "\\b[A-Z][a-z]+ [A-Z][a-z]+\\b, \\d{1,3}",
      "\\b\\d{5}(?:-\\d{4})?\\b",
      "\\b[A-Z]{1,2}\\d[A-Z\\d]? ?\\d[A-Z]{2}\\b",
      "\\b\\d{2}[A-Z]{5}\\d{4}[A-Z]\\d[A-Z]\\d\\b",
      "\\b\\d{9}\\b",
      "\\b[A-Z]\\d{8}\\b",
      "\\b\\d{3}-\\d{7}-\\d\\b",
      "\\$\\d{1,3}(?:,\\d{3})*(?:\\.\\d{2})?",
      "\\b(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,6}/\\S+",
      "(?:^|[^0-9])([0-9]{11})(?:[^0-9]|$)",
      "\\b[0-9A-Za-z]{5}-[0-9A-Za-z]{5}-[0-9A-Za-z]{5}-[0-9A-Za-z]{5}\\b",
  };
  for (size_t i = 0; i < sizeof bare / sizeof *bare; i++) made_add(rules, "mask", bare[i], NULL, NULL, 0);
}

/* One rule for each line of a word list. */
static inline sluice_status made_words(cJSON *rules, const char *path, struct sluice_error *err) {
  char *bytes = NULL, id[32];
  size_t len = 0;
  sluice_status st = file_read(path, MADE_FILE_BYTES, &bytes, &len, err);
  for (char *line = bytes, *end; !st && line && *line; line = end ? end + 1 : NULL) {
    end = strchr(line, '\n');
    if (end) *end = '\0';
    if (!*line) continue;
    cJSON *r = cJSON_CreateObject();
    const char *word = line;
    snprintf(id, sizeof id, "word-%d", cJSON_GetArraySize(rules));
    cJSON_AddStringToObject(r, "id", id);
    cJSON_AddStringToObject(r, "category", "words");
    cJSON_AddStringToObject(r, "action", "flag");
    cJSON_AddItemToObject(r, "words", cJSON_CreateStringArray(&word, 1));
    cJSON_AddItemToArray(rules, r);
  }
  free(bytes);
  return st;
}

/* gitleaks' rules as a policy of ours; the caller deletes it. NULL: *err says why. */
static inline cJSON *made_gitleaks(const char *dir, struct sluice_error *err) {
  static const struct monitor_import_options options = {"words", "secrets", MONITOR_MASK};
  struct buffer json, remarks;
  char *toml = NULL, *path = sluice_format("%s/gitleaks.toml", dir);
  size_t len = 0;
  buffer_init(&json, 0);
  buffer_init(&remarks, 0);
  sluice_status st = path ? file_read(path, MADE_FILE_BYTES, &toml, &len, err) : SLUICE_NOMEM;
  if (!st) st = monitor_import_gitleaks(path, (struct slice){toml, len}, &options, &json, &remarks, err);
  cJSON *root = st ? NULL : cJSON_ParseWithLength(json.ptr, json.len);
  buffer_free(&json);
  buffer_free(&remarks);
  free(toml);
  free(path);
  return root;
}

#endif
