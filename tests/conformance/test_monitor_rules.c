/* The rules that others ship, as `sluice policy import` reads them: gitleaks' and a word list. Each rule alone, and all
 * of them at once, over English with samples of the pattern in it: keywords, context, entropy and allow lists included,
 * against the reference on the whole text. SLUICE_CUTS=N cuts each rule's text N times (24). */
#include <cjson/cJSON.h>

#include "tests/sample_data.h"
#include "tests/monitor_cuts.h"
#include "tests/pattern_samples.h"

enum { TEXT_MAX = 3000, CUTS = 24, RULES_MAX = 256, ALLOW_MAX = 8, STRINGS_MAX = 2000 };

static unsigned cuts_wanted(void) {
  const char *n = getenv("SLUICE_CUTS");
  return n && *n ? (unsigned)strtoul(n, NULL, 10) : CUTS;
}

/* ---- a rule's JSON as a rule of the reference ---- */

static size_t strings_of(const cJSON *list, const char **out, size_t max) {
  const cJSON *item = NULL;
  size_t n = 0;
  cJSON_ArrayForEach(item, list) {
    assert_true(n + 1 < max);
    out[n++] = item->valuestring;
  }
  return n;
}

static const char *const *new_strings(const cJSON *list) {
  const char **out = list ? calloc(STRINGS_MAX, sizeof *out) : NULL;
  if (out) strings_of(list, out, STRINGS_MAX);
  return out;
}

static void read_allow(const cJSON *list, struct ref_allow *out, size_t *n) {
  const cJSON *item = NULL;
  cJSON_ArrayForEach(item, list) {
    const cJSON *target = cJSON_GetObjectItem(item, "target");
    assert_true(*n + 1 < ALLOW_MAX);
    out[(*n)++] = (struct ref_allow){.patterns = new_strings(cJSON_GetObjectItem(item, "patterns")),
                                     .words = new_strings(cJSON_GetObjectItem(item, "words")),
                                     .target = target ? target->valuestring : "protected",
                                     .all = cJSON_IsTrue(cJSON_GetObjectItem(item, "all"))};
  }
}

static struct ref_rule read_rule(const cJSON *o, const cJSON *everywhere) {
  const cJSON *protect = cJSON_GetObjectItem(o, "protect"), *hold = cJSON_GetObjectItem(o, "hold");
  struct ref_allow *allow = calloc(ALLOW_MAX, sizeof *allow);
  struct ref_rule r = {.pattern = cJSON_GetObjectItem(o, "pattern")->valuestring,
                       .action = cJSON_GetObjectItem(o, "action")->valuestring,
                       .flags = cJSON_GetObjectItem(o, "flags")->valuestring,
                       .max_match = (size_t)cJSON_GetObjectItem(o, "max_match")->valueint,
                       .hold = hold && !strcmp(hold->valuestring, "after") ? 2 : 0,
                       .cased = cJSON_HasObjectItem(o, "keyword_case"),
                       .allow = allow};
  size_t n = 0, groups = 0;
  const cJSON *entropy = cJSON_GetObjectItem(o, "entropy"), *g = NULL;
  if (entropy) r.entropy = entropy->valuedouble;
  if (cJSON_IsNumber(protect)) r.protect = protect->valueint;
  if (cJSON_IsArray(protect)) {
    r.protect = protect->child->valueint;
    for (g = protect->child->next; g; g = g->next) r.protects[groups++] = g->valueint;
  }
  strings_of(cJSON_GetObjectItem(o, "keywords"), r.keywords, REF_KEYWORDS);
  strings_of(cJSON_GetObjectItem(o, "context"), r.context, 8);
  read_allow(cJSON_GetObjectItem(o, "allow"), allow, &n);
  read_allow(everywhere, allow, &n);
  return r;
}

static void free_rule(struct ref_rule *r) {
  for (const struct ref_allow *a = r->allow; a->patterns || a->words; a++) {
    free((void *)a->patterns);
    free((void *)a->words);
  }
  free((void *)r->allow);
}

/* ---- texts ---- */

static void add(char *text, size_t *n, const char *more, size_t len) {
  if (*n + len > TEXT_MAX) return;
  memcpy(text + *n, more, len);
  *n += len;
}

static size_t make_text(struct rng *rng, const struct ref_rule *rules, size_t n_rules, int samples, char *text) {
  static const char *const filler[] = {"The key to the secret garden, ",
                                       "she said, and the author's access to it ",
                                       "\n# token = ",
                                       "key: ",
                                       " = \"",
                                       "\"\n",
                                       " ",
                                       "; ",
                                       "=",
                                       "\n",
                                       "api_key := 'x' ",
                                       "\xc3\xa9t\xc3\xa9 ",
                                       "sk-",
                                       "gh",
                                       "eyJ",
                                       "\\n",
                                       "0123456789 "};
  char sample[1500];
  size_t n = 0;
  for (int i = 0; i < samples; i++) {
    const struct ref_rule *r = &rules[rng_below(rng, (unsigned)n_rules)];
    for (unsigned k = 1 + rng_below(rng, 3); k; k--) {
      const char *words = filler[rng_below(rng, sizeof filler / sizeof *filler)];
      add(text, &n, words, strlen(words));
    }
    if (r->context[0] && rng_below(rng, 2)) add(text, &n, r->context[0], strlen(r->context[0]));
    add(text, &n, sample, sample_pattern(rng, r->pattern, 0, sample, sizeof sample));
    if (rng_below(rng, 3)) add(text, &n, " ", 1);
  }
  return n;
}

/* ---- tests ---- */

static unsigned masked_in(const char *want, size_t len) {
  unsigned n = 0;
  for (size_t i = 0; i + 8 <= len; i++) n += memcmp(want + i, "[masked]", 8) == 0;
  return n;
}

static unsigned compare(struct monitor *m, struct rng *rng, const struct ref_rule *rules, size_t n_rules,
                        const char *text, size_t n, unsigned times, unsigned *hits) {
  static unsigned char cuts[TEXT_MAX + 1];
  static char want[64 + 64 * TEXT_MAX];
  struct buffer out;
  bool stop = false;
  buffer_init(&out, 0);
  size_t len = ref_filter(rules, n_rules, text, n, want, &stop);
  *hits += masked_in(want, len);
  for (unsigned k = 0; k < times; k++) {
    unsigned mean = k == 0 ? 1 : 1 + rng_below(rng, 12);
    for (size_t i = 0; i < n; i++) cuts[i] = rng_below(rng, mean) == 0;
    check_cut(m, rules, n_rules, text, n, cuts, &out, want, len, stop);
    assert_int_equal(cuts_counts.not_scanned, 0);
  }
  buffer_free(&out);
  return times;
}

static cJSON *import(const char *file) {
  static const struct monitor_import_options options = {"words", "secrets", MONITOR_MASK};
  struct sluice_error err = {0};
  struct buffer json = {0}, remarks = {0};
  char *path = sample_path(file), *toml = NULL;
  size_t len = 0;
  if (file_read(path, 0, &toml, &len, &err)) fail_msg("%s", err.message);
  if (monitor_import_gitleaks(path, (struct slice){toml, len}, &options, &json, &remarks, &err))
    fail_msg("%s", err.message);
  cJSON *root = cJSON_ParseWithLength(json.ptr, json.len);
  assert_non_null(root);
  buffer_free(&json);
  buffer_free(&remarks);
  free(toml);
  free(path);
  return root;
}

static struct monitor_policy *policy_from(const cJSON *everywhere, const cJSON *rule, const cJSON *rules) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  cJSON *o = cJSON_CreateObject(), *list = rules ? cJSON_Duplicate(rules, true) : cJSON_CreateArray();
  const char *raw = "raw"; /* the reference reads no other */
  cJSON_AddItemToObject(o, "views", cJSON_CreateStringArray(&raw, 1));
  if (everywhere) cJSON_AddItemToObject(o, "allow", cJSON_Duplicate(everywhere, true));
  if (rule) cJSON_AddItemToArray(list, cJSON_Duplicate(rule, true));
  cJSON_AddItemToObject(o, "rules", list);
  char *json = cJSON_PrintUnformatted(o);
  if (monitor_policy_parse("gitleaks", NULL, slice_of(json), &p, &err)) fail_msg("%s", err.message);
  cuts_prefilter_policy(p);
  free(json);
  cJSON_Delete(o);
  return p;
}

static void each_gitleaks_rule(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct rng rng;
  char text[TEXT_MAX];
  unsigned rules = 0, cuts = 0, hits = 0, without = 0;
  cJSON *root = import("rules/gitleaks.toml");
  const cJSON *everywhere = cJSON_GetObjectItem(root, "allow"), *o = NULL;
  rng_seed(&rng, 21);
  cJSON_ArrayForEach(o, cJSON_GetObjectItem(root, "rules")) {
    struct ref_rule r = read_rule(o, everywhere);
    struct monitor_policy *p = policy_from(everywhere, o, NULL);
    struct monitor *m = NULL;
    unsigned before = hits;
    assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
    for (int i = 0; i < 2; i++) {
      size_t n = make_text(&rng, &r, 1, 6, text);
      cuts += compare(m, &rng, &r, 1, text, n, cuts_wanted(), &hits);
    }
    without += hits == before;
    rules++;
    monitor_close(m);
    monitor_policy_free(p);
    free_rule(&r);
  }
  print_message("gitleaks: %u rules, %u cuts, %u masks in the texts, %u rules without one\n", rules, cuts, hits,
                without);
  assert_int_equal(rules, 221);
  assert_true(without * 10 < rules); /* or the samples would test nothing */
  cJSON_Delete(root);
}

static void all_gitleaks_rules(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct rng rng;
  static struct ref_rule rules[RULES_MAX];
  char text[TEXT_MAX];
  size_t n_rules = 0;
  unsigned cuts = 0, hits = 0;
  cJSON *root = import("rules/gitleaks.toml");
  const cJSON *everywhere = cJSON_GetObjectItem(root, "allow"), *o = NULL;
  struct monitor *m = NULL;
  cJSON_ArrayForEach(o, cJSON_GetObjectItem(root, "rules")) rules[n_rules++] = read_rule(o, everywhere);
  struct monitor_policy *p = policy_from(everywhere, NULL, cJSON_GetObjectItem(root, "rules"));
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  rng_seed(&rng, 22);
  for (int i = 0; i < 4; i++) {
    size_t n = make_text(&rng, rules, n_rules, 12, text);
    cuts += compare(m, &rng, rules, n_rules, text, n, 2 * cuts_wanted(), &hits);
  }
  print_message("gitleaks, all rules at once: %u cuts, %u masks in the texts\n", cuts, hits);
  assert_true(hits > 10);
  monitor_close(m);
  monitor_policy_free(p);
  for (size_t i = 0; i < n_rules; i++) free_rule(&rules[i]);
  cJSON_Delete(root);
}

/* A word list of others: the words themselves as texts, with neighbours that do and do not end them. */
static void word_list(void **state) {
  (void)state;
  static const struct monitor_import_options options = {"words", "words", MONITOR_MASK};
  struct sluice_error err = {0};
  struct buffer json = {0}, remarks = {0};
  struct rng rng;
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  char *path = sample_path("rules/en"), *list = NULL, text[TEXT_MAX];
  size_t len = 0;
  unsigned cuts = 0, hits = 0;
  rng_seed(&rng, 23);
  if (file_read(path, 0, &list, &len, &err)) fail_msg("%s", err.message);
  if (monitor_import_words(path, (struct slice){list, len}, &options, &json, &remarks, &err))
    fail_msg("%s", err.message);
  cJSON *root = cJSON_ParseWithLength(json.ptr, json.len);
  assert_non_null(root);
  p = policy_from(NULL, NULL, cJSON_GetObjectItem(root, "rules"));
  cJSON_Delete(root);
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  const struct ref_rule rule = {.pattern = p->rules[0].pattern, .action = "mask", .flags = "i"};
  for (int i = 0; i < 40; i++) {
    size_t n = 0;
    while (n < 400) {
      static const char *const between[] = {" ", ", ", "", "s ", "\n", "-", " the ", "x", "\xc3\xa9", "  "};
      const char *word = list + rng_below(&rng, (unsigned)len), *end;
      while (word > list && word[-1] != '\n') word--;
      end = strchr(word, '\n');
      add(text, &n, word, (size_t)((end ? end : list + len) - word));
      const char *more = between[rng_below(&rng, 10)];
      add(text, &n, more, strlen(more));
    }
    cuts += compare(m, &rng, &rule, 1, text, n, cuts_wanted(), &hits);
  }
  print_message("word list: %u cuts, %u masks in the texts\n", cuts, hits);
  assert_true(hits > 400);
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&json);
  buffer_free(&remarks);
  free(list);
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(each_gitleaks_rule),
      cmocka_unit_test(all_gitleaks_rules),
      cmocka_unit_test(word_list),
  };
  const struct CMUnitTest prefiltered[] = {
      {"each_gitleaks_rule_prefiltered", each_gitleaks_rule, NULL, NULL, NULL},
      {"all_gitleaks_rules_prefiltered", all_gitleaks_rules, NULL, NULL, NULL},
      {"word_list_prefiltered", word_list, NULL, NULL, NULL},
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  cuts_prefilter = cuts_prefilter_there();
  return cuts_prefilter ? failed + cmocka_run_group_tests(prefiltered, NULL, NULL) : failed;
}
