/* Patterns that others wrote, from the search vectors of RE2 and the first test file of PCRE2: each as a masking rule
 * over its own subjects, cut in many ways, against the reference. Patterns that the policy refuses are counted and the
 * reasons printed. */
#include "tests/sample_data.h"
#include "tests/monitor_cuts.h"

enum { SUBJECT_MAX = 2000, PATTERN_MAX = 2000, CUTS = 8 };

struct tally {
  unsigned tried, refused, checked;
  struct rng rng;
  char reasons[8][120];
  unsigned counts[8], kinds;
};

static void note_refusal(struct tally *t, const char *message) {
  const char *why = strstr(message, "pattern");
  why = why ? why : message;
  const char *colon = strrchr(why, ':');
  if (colon && strstr(why, "byte")) why = colon + 2;
  t->refused++;
  for (unsigned i = 0; i < t->kinds; i++)
    if (strncmp(t->reasons[i], why, 119) == 0) {
      t->counts[i]++;
      return;
    }
  if (t->kinds == 8) return;
  snprintf(t->reasons[t->kinds], sizeof t->reasons[0], "%.119s", why);
  t->counts[t->kinds++] = 1;
}

static void check_pattern(struct tally *t, const char *pattern, const char *flags, const char *text, size_t n) {
  struct ref_rule rule = {.pattern = pattern, .action = "mask", .flags = flags, .max_match = 1000};
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct buffer out;
  unsigned char cuts[SUBJECT_MAX] = {0};
  static char want[64 + 64 * SUBJECT_MAX];
  bool want_stop = false;
  t->tried++;
  struct monitor_policy *p = try_policy_of(&rule, 1, &err);
  if (!p) {
    note_refusal(t, err.message);
    return;
  }
  buffer_init(&out, 0);
  size_t len = ref_filter(&rule, 1, text, n, want, &want_stop);
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  for (unsigned k = 0; k < CUTS; k++) {
    unsigned mean = k == 0 ? 1 : 1 + rng_below(&t->rng, 9);
    for (size_t i = 0; i < n; i++) cuts[i] = rng_below(&t->rng, mean) == 0;
    if (getenv("V")) print_message("/%s/ %s\n", pattern, flags ? flags : "");
    check_cut(m, &rule, 1, text, n, cuts, &out, want, len, want_stop);
    t->checked++;
  }
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
  print_message("%s: %u patterns, %u refused (%.1f %%), %u cuts checked\n", name, t->tried, t->refused,
                100.0 * t->refused / (t->tried ? t->tried : 1), t->checked);
  for (unsigned i = 0; i < t->kinds; i++) print_message("  refused %u: %s\n", t->counts[i], t->reasons[i]);
  assert_true(t->tried > 100);
  assert_true(t->refused * 5 <= t->tried);
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
      n += unescape(line.ptr + 1, line.len - 2, text + n, sizeof text - n - 2);
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

/* /pattern/flags, which may go over several lines; then subjects, indented by four spaces, up to an empty line. */
static bool read_pattern(struct slice *all, char pattern[PATTERN_MAX], char flags[8]) {
  struct slice line = take_line(all);
  size_t k = 0, f = 0;
  if (line.len < 2 || line.ptr[0] != '/') return false;
  size_t i = 1;
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
  for (i++; i < line.len; i++) {
    if (!strchr("imsx", line.ptr[i]) || f == 6) return false;
    flags[f++] = line.ptr[i];
  }
  flags[f] = '\0';
  return true;
}

static void pcre2_vectors(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct tally t = {0};
  char *path = sample_path("regex_conformance/testinput1"), *bytes = NULL;
  char text[SUBJECT_MAX], pattern[PATTERN_MAX], flags[8];
  size_t len = 0;
  rng_seed(&t.rng, 5);
  if (file_read(path, 0, &bytes, &len, &err)) fail_msg("%s", err.message);
  for (struct slice all = {bytes, len}; all.len;) {
    bool ok = all.ptr[0] == '/' && read_pattern(&all, pattern, flags);
    size_t n = 0;
    if (!ok && all.len && all.ptr[0] != ' ' && all.ptr[0] != '/') take_line(&all);
    while (all.len && all.ptr[0] == ' ') {
      struct slice line = take_line(&all);
      while (line.len && line.ptr[0] == ' ') line.ptr++, line.len--;
      if (n + line.len + 2 > sizeof text) continue;
      n += unescape(line.ptr, line.len, text + n, sizeof text - n - 2);
      text[n++] = '\n';
    }
    if (ok && n && utf8_valid_prefix(pattern, strlen(pattern), &len) == strlen(pattern))
      check_pattern(&t, pattern, flags, text, n);
  }
  print_tally(&t, "PCRE2");
  free(bytes);
  free(path);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(re2_vectors),
      cmocka_unit_test(pcre2_vectors),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
