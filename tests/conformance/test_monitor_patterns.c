/* Patterns that others wrote, from the search vectors of RE2 and two test files of PCRE2: each as a masking rule over
 * its own subjects and over samples drawn from the pattern, cut in many ways, against the reference. Patterns that the
 * policy refuses are counted and the reasons printed. SLUICE_CUTS=N cuts each long text N times (12). */
#include "tests/sample_data.h"
#include "tests/monitor_cuts.h"
#include "tests/pattern_samples.h"

enum { SUBJECT_MAX = 2000, PATTERN_MAX = 2000, CUTS = 12, SHORT = 7, SAMPLES = 4, REASONS = 48 };

struct tally {
  unsigned tried, refused, wrong, left_out, short_cuts, long_cuts, bounded, prefiltered;
  struct rng rng;
  char reasons[REASONS][120], bounds[REASONS][60];
  unsigned counts[REASONS], kinds;
};

static unsigned cuts_wanted(void) {
  const char *n = getenv("SLUICE_CUTS");
  return n && *n ? (unsigned)strtoul(n, NULL, 10) : CUTS;
}

static void note_refusal(struct tally *t, const char *message) {
  const char *why = strstr(message, "pattern");
  why = why ? why : message;
  const char *colon = strrchr(why, ':');
  if (colon && strstr(why, "byte")) why = colon + 2;
  for (unsigned i = 0; i < t->kinds; i++)
    if (strncmp(t->reasons[i], why, 119) == 0) {
      t->counts[i]++;
      return;
    }
  if (t->kinds == REASONS) return;
  snprintf(t->reasons[t->kinds], sizeof t->reasons[0], "%.119s", why);
  t->counts[t->kinds++] = 1;
}

/* Cut in every way. */
static void check_short(struct tally *t, struct monitor *m, const struct ref_rule *rule, const char *text, size_t n,
                        struct buffer *out) {
  unsigned char cuts[SHORT + 1] = {0};
  char want[64 + 64 * SHORT];
  bool stop = false;
  size_t len = ref_filter(rule, 1, text, n, want, &stop);
  for (unsigned bits = 0; bits < 1u << (n ? n - 1 : 0); bits++, t->short_cuts++) {
    for (size_t i = 1; i < n; i++) cuts[i] = (bits >> (i - 1)) & 1;
    check_cut(m, rule, 1, text, n, cuts, out, want, len, stop);
  }
}

/* A pattern that hits the match limit must say so; what it means is then another thing than the whole text's scan. */
static bool is_bounded(struct tally *t, struct monitor *m, const struct ref_rule *rule, const char *text, size_t n,
                       struct buffer *out) {
  unsigned char cuts[SUBJECT_MAX] = {0};
  bool stopped = false;
  run_cut(m, text, n, cuts, out, &stopped);
  if (!cuts_counts.not_scanned) return false;
  assert_true(stopped); /* fails closed: never clean */
  if (t->bounded < REASONS) snprintf(t->bounds[t->bounded], sizeof t->bounds[0], "%.59s", rule->pattern);
  t->bounded++;
  return true;
}

static void check_long(struct tally *t, struct monitor *m, const struct ref_rule *rule, const char *text, size_t n,
                       struct buffer *out) {
  static unsigned char cuts[SUBJECT_MAX];
  static char want[64 + 64 * SUBJECT_MAX];
  bool stop = false;
  size_t len = ref_filter(rule, 1, text, n, want, &stop);
  for (unsigned k = 0; k < cuts_wanted(); k++, t->long_cuts++) {
    unsigned mean = k == 0 ? 1 : 1 + rng_below(&t->rng, 9);
    for (size_t i = 0; i < n; i++) cuts[i] = rng_below(&t->rng, mean) == 0;
    check_cut(m, rule, 1, text, n, cuts, out, want, len, stop);
  }
}

static uint32_t pcre2_flags(const char *letters) {
  uint32_t flags = 0;
  for (; letters && *letters; letters++)
    flags |= *letters == 'i' ? PCRE2_CASELESS : *letters == 's' ? PCRE2_DOTALL : *letters == 'x' ? PCRE2_EXTENDED : 0;
  return flags;
}

/* Whether it is a pattern at all to this PCRE2. */
static bool compiles(const char *pattern, const char *flags) {
  int code = 0;
  PCRE2_SIZE at = 0;
  uint32_t options = pcre2_flags(flags) | PCRE2_UTF | PCRE2_UCP;
  pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &at, NULL);
  pcre2_code_free(re);
  return re != NULL;
}

static void check_pattern(struct tally *t, const char *pattern, const char *flags, const char *subjects, size_t n) {
  struct ref_rule rule = {.pattern = pattern, .action = "mask", .flags = flags, .max_match = 1000};
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct buffer out;
  char text[SUBJECT_MAX], sample[200];
  t->tried++;
  struct monitor_policy *p = try_policy_of(&rule, 1, &err);
  if (!p) {
    if (compiles(pattern, flags))
      t->refused++;
    else
      t->wrong++, t->tried--;
    note_refusal(t, err.message);
    return;
  }
  t->prefiltered += monitor_policy_prefiltered(p) > 0;
  buffer_init(&out, 0);
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  memcpy(text, subjects, n);
  for (int i = 0; i < SAMPLES; i++) {
    size_t len = sample_pattern(&t->rng, pattern, pcre2_flags(flags), sample, sizeof sample);
    if (i < 2) check_short(t, m, &rule, sample, len < SHORT ? len : SHORT, &out);
    if (n + len + 2 > sizeof text) continue;
    memcpy(text + n, sample, len);
    n += len;
    if (rng_below(&t->rng, 3)) text[n++] = " x\n."[rng_below(&t->rng, 4)];
  }
  if (!is_bounded(t, m, &rule, text, n, &out)) check_long(t, m, &rule, text, n, &out);
  buffer_free(&out);
  monitor_close(m);
  monitor_policy_free(p);
}

static int hex(char c) {
  return c >= '0' && c <= '9'   ? c - '0'
         : c >= 'a' && c <= 'f' ? c - 'a' + 10
         : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                : -1;
}

/* Undoes \n, \x41 and the like; other escaped characters stand for themselves. */
static size_t unescape(const char *s, size_t n, char *out, size_t max) {
  size_t len = 0;
  static const char from[] = "ntrfae0", to[] = "\n\t\r\f\a\x1b";
  for (size_t i = 0; i < n && len < max; i++) {
    const char *known = i + 1 < n && s[i] == '\\' ? strchr(from, s[i + 1]) : NULL;
    if (s[i] != '\\' || i + 1 == n)
      out[len++] = s[i];
    else if (s[i + 1] == 'x' && i + 3 < n && hex(s[i + 2]) >= 0 && hex(s[i + 3]) >= 0) {
      out[len++] = (char)(hex(s[i + 2]) * 16 + hex(s[i + 3]));
      i += 3;
    } else {
      out[len++] = known ? to[known - from] : s[i + 1];
      i++;
    }
  }
  return len;
}

static void print_tally(const struct tally *t, const char *name) {
  print_message(
      "%s: %u patterns, %u refused (%.1f %%); %u more are none to PCRE2 itself, %u have a modifier that rules "
      "do not; %u cuts of short texts, %u of long ones\n",
      name, t->tried, t->refused, 100.0 * t->refused / (t->tried ? t->tried : 1), t->wrong, t->left_out, t->short_cuts,
      t->long_cuts);
  for (unsigned i = 0; i < t->kinds; i++) print_message("  refused %u: %s\n", t->counts[i], t->reasons[i]);
  for (unsigned i = 0; i < t->bounded && i < REASONS; i++) print_message("  hits the match limit: %s\n", t->bounds[i]);
  if (cuts_prefilter) print_message("  the prefilter answers for %u\n", t->prefiltered);
  if (cuts_prefilter) assert_true(t->prefiltered * 10 > t->tried);
  assert_true(t->bounded < REASONS);
  assert_true(t->tried > 100);
  assert_true(t->refused * 5 <= t->tried);
  assert_true(t->long_cuts >= 1000);
}

static struct slice take_line(struct slice *all) {
  const char *nl = memchr(all->ptr, '\n', all->len);
  struct slice line = {all->ptr, nl ? (size_t)(nl - all->ptr) : all->len};
  size_t used = line.len + (nl != NULL);
  all->ptr += used;
  all->len -= used;
  return line;
}

static void re2_vectors(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct tally t = {0};
  char *path = sample_path("regex_conformance/re2-search.txt"), *bytes = NULL;
  char text[SUBJECT_MAX], pattern[PATTERN_MAX];
  size_t len = 0, n = 0;
  bool strings = false;
  rng_seed(&t.rng, 3);
  if (file_read(path, 0, &bytes, &len, &err)) fail_msg("%s", err.message);
  for (struct slice all = {bytes, len}; all.len;) {
    struct slice line = take_line(&all);
    if (slice_is(line, "strings")) strings = true, n = 0;
    if (slice_is(line, "regexps")) strings = false;
    if (line.len < 2 || line.ptr[0] != '"') continue;
    if (strings) {
      n += unescape(line.ptr + 1, line.len - 2, text + n, sizeof text / 2 - n - 2);
      text[n++] = ' ';
      continue;
    }
    /* only the quoting is undone: \\d stays \d */
    size_t k = 0;
    for (size_t i = 1; i + 1 < line.len && k + 1 < sizeof pattern; i++) {
      if (line.ptr[i] == '\\' && (line.ptr[i + 1] == '\\' || line.ptr[i + 1] == '"')) i++;
      pattern[k++] = line.ptr[i];
    }
    pattern[k] = '\0';
    check_pattern(&t, pattern, NULL, text, n);
  }
  print_tally(&t, "RE2");
  free(bytes);
  free(path);
}

/* The modifiers of a test: letters, and words after commas. Those that change only what pcre2test prints or how fast it
 * is are dropped; false for one that a rule has no key for. */
static bool read_modifiers(struct slice words, char flags[8]) {
  static const char *const silent[] = {"mark",    "aftertext", "global", "info", "no_start_optimize", "no_auto_possess",
                                       "bincode", "memory",    NULL};
  static const char *const named[] = {"caseless", "multiline", "dotall", "extended", NULL};
  size_t f = 0;
  while (words.len) {
    const char *comma = memchr(words.ptr, ',', words.len);
    struct slice one = {words.ptr, comma ? (size_t)(comma - words.ptr) : words.len};
    words.ptr += one.len + (comma != NULL);
    words.len -= one.len + (comma != NULL);
    while (one.len && one.ptr[one.len - 1] == ' ') one.len--;
    bool known = one.len == 0, letters = true;
    for (size_t i = 0; i < one.len; i++) letters &= one.ptr[i] && strchr("imsxIBg", one.ptr[i]) != NULL;
    for (size_t i = 0; i < one.len && letters; i++)
      if (strchr("imsx", one.ptr[i]) && !memchr(flags, one.ptr[i], f)) flags[f++] = one.ptr[i];
    for (int i = 0; silent[i]; i++) known |= slice_is(one, silent[i]);
    for (int i = 0; named[i]; i++)
      if (slice_is(one, named[i])) known = true, flags[f++] = "imsx"[i];
    if ((!known && !letters) || f > 4) return false;
  }
  flags[f] = '\0';
  return true;
}

/* /pattern/modifiers, which may go over several lines; then subjects, indented by four spaces, up to an empty line. */
static bool read_pattern(struct slice *all, char pattern[PATTERN_MAX], struct slice *modifiers) {
  struct slice line = take_line(all);
  size_t k = 0, i = 1;
  for (;;) {
    for (; i < line.len && line.ptr[i] != '/'; i++) {
      if (k + 3 > PATTERN_MAX) return false;
      pattern[k++] = line.ptr[i];
      if (line.ptr[i] == '\\' && i + 1 < line.len) pattern[k++] = line.ptr[++i];
    }
    if (i < line.len) break;
    if (!all->len) return false;
    pattern[k++] = '\n';
    line = take_line(all);
    i = 0;
  }
  pattern[k] = '\0';
  *modifiers = (struct slice){line.ptr + i + 1, line.len - i - 1};
  return k > 0 && !memchr(pattern, 0, k);
}

static void pcre2_vectors(struct tally *t, const char *file) {
  struct sluice_error err = {0};
  char *path = sample_path(file), *bytes = NULL;
  char text[SUBJECT_MAX], pattern[PATTERN_MAX], flags[8] = "";
  size_t len = 0;
  if (file_read(path, 0, &bytes, &len, &err)) fail_msg("%s", err.message);
  for (struct slice all = {bytes, len}; all.len;) {
    struct slice modifiers = {0};
    bool is_pattern = all.ptr[0] == '/', ok = is_pattern && read_pattern(&all, pattern, &modifiers);
    size_t n = 0;
    if (!is_pattern && all.ptr[0] != ' ') take_line(&all);
    while (all.len && all.ptr[0] == ' ') {
      struct slice line = take_line(&all);
      while (line.len && line.ptr[0] == ' ') line.ptr++, line.len--;
      if (n + line.len + 2 > sizeof text / 2) continue;
      n += unescape(line.ptr, line.len, text + n, sizeof text - n - 2);
      text[n++] = '\n';
    }
    if (!ok || utf8_valid_prefix(pattern, strlen(pattern), &len) != strlen(pattern)) continue;
    if (read_modifiers(modifiers, flags))
      check_pattern(t, pattern, flags, text, n);
    else
      t->left_out++;
  }
  free(bytes);
  free(path);
}

static void pcre2_patterns(void **state) {
  (void)state;
  struct tally t = {0};
  rng_seed(&t.rng, 5);
  pcre2_vectors(&t, "regex_conformance/testinput1");
  print_tally(&t, "PCRE2, testinput1");
}

/* Most of these are wrong on purpose, or ask what pcre2test prints of a pattern. */
static void pcre2_odd_patterns(void **state) {
  (void)state;
  struct tally t = {0};
  rng_seed(&t.rng, 6);
  pcre2_vectors(&t, "regex_conformance/testinput2");
  print_tally(&t, "PCRE2, testinput2");
}

int main(void) {
  cuts_match_limit = 10000; /* patterns that backtrack without end shall not take the test's time */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(re2_vectors),
      cmocka_unit_test(pcre2_patterns),
      cmocka_unit_test(pcre2_odd_patterns),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  if (!cuts_prefilter_there()) return failed;
  cuts_prefilter = true;
  const struct CMUnitTest prefiltered[] = {
      {"re2_vectors_prefiltered", re2_vectors, NULL, NULL, NULL},
      {"pcre2_patterns_prefiltered", pcre2_patterns, NULL, NULL, NULL},
      {"pcre2_odd_patterns_prefiltered", pcre2_odd_patterns, NULL, NULL, NULL},
  };
  return failed + cmocka_run_group_tests(prefiltered, NULL, NULL);
}
