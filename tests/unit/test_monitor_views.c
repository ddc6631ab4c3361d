/* The folded and leet views against views_reference.h: whatever the cut into pieces, the same bytes leave and the same
 * events are told. */
#include "tests/monitor_cuts.h"
#include "tests/views_reference.h"

/* A small max_match, so that a lane may sleep again within a test's text. */
enum { SEEN = 14 };
static const struct ref_rule rules[] = {
    {.pattern = "\\bbo+m", .action = "mask", .flags = "i", .max_match = SEEN},
    {.pattern = "mob?(?!x)", .action = "mask", .keywords = {"mo"}, .max_match = SEEN},
    {.pattern = "fib|bi/|1/2m", .action = "flag", .flags = "i", .max_match = SEEN},
    {.pattern = "k=(\\w{1,3})\\b", .action = "mask", .protect = 1, .keywords = {"k="}, .max_match = SEEN},
    {.pattern = "bbb", .action = "mask", .max_match = SEEN},
    {.pattern = "ml?b?l", .action = "mask", .max_match = SEEN},
    {.pattern = "ob(a|i)?b", .action = "flag", .flags = "i", .max_match = 5},
    {.pattern = "mmo(b+)k", .action = "stop", .protect = 1, .flags = "i", .max_match = SEEN},
    /* last, to be left out: it holds every word, which hides what others forget to hold */
    {.pattern = "(?<!b)[om]+@[bo]{1,4}\\.", .action = "mask", .keywords = {"@"}, .hold = 1, .max_match = SEEN},
};
enum { RULES = sizeof rules / sizeof *rules, ROUNDS = 1500, CUTS = 6 };

static const char *const parts[] = {
    "b", "o", "m", "b", "o", "m", "i", "k=", "a", "x", ".", "@", "0", "1", "4", "8", "!", "$", "|", "l", " ", " ", "k",
    "00000", "bom", "mo", "m11", "o|l",
    /* clang-format off: what folds (views_reference.h), what does not, and what is no UTF-8 */
    "\xEF\xBD\x82", "\xD0\xBE", "\xC3\xB6", "\xE2\x80\x8B", "\xCC\x81", "\xC2\xAD", "\xEF\xAC\x81", "\xC2\xBD",
    "\xF0\x9D\x90\xA6", "\xF3\xA0\x81\x81", "\xEF\xBC\x91", "\xEF\xBC\xA0", "\xE6\x97\xA5", "\xFF", "\xE2\x80",
    /* clang-format on */
};
enum { PARTS = sizeof parts / sizeof *parts };

static struct monitor_policy *views_policy(size_t n) {
  struct buffer json;
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  buffer_init(&json, 0);
  buffer_append_str(&json, "{\"views\":[\"raw\",\"folded\",\"leet\"],\"rules\":[", &err);
  for (size_t i = 0; i < n; i++) {
    buffer_printf(&json, &err,
                  "%s{\"id\":\"%zu\",\"category\":\"c\",\"action\":\"%s\",\"protect\":%d,\"pattern\":", i ? "," : "", i,
                  rules[i].action, rules[i].protect);
    json_quote(&json, rules[i].pattern, strlen(rules[i].pattern), &err);
    if (rules[i].flags) buffer_printf(&json, &err, ",\"flags\":\"%s\"", rules[i].flags);
    if (rules[i].max_match) buffer_printf(&json, &err, ",\"max_match\":%zu", rules[i].max_match);
    if (rules[i].hold) buffer_printf(&json, &err, ",\"hold\":\"word\"");
    if (rules[i].keywords[0]) buffer_printf(&json, &err, ",\"keywords\":[\"%s\"]", rules[i].keywords[0]);
    buffer_append_str(&json, "}", &err);
  }
  buffer_append_str(&json, "]}", &err);
  if (monitor_policy_parse("test", NULL, (struct slice){json.ptr, json.len}, &p, &err)) fail_msg("%s", err.message);
  buffer_free(&json);
  return p;
}

struct seen {
  struct ref_event events[REF_EVENTS];
  int n;
};

static void note(void *ctx, const struct monitor_event *e) {
  struct seen *s = ctx;
  if (e->kind != MONITOR_MATCH || s->n == REF_EVENTS) return;
  const char *view = !strcmp(e->view, "raw") ? "raw" : !strcmp(e->view, "folded") ? "folded" : "leet";
  s->events[s->n++] = (struct ref_event){atoi(e->rule), view, e->start, e->end};
}

static int by_place(const void *a, const void *b) {
  const struct ref_event *x = a, *y = b;
  if (x->start != y->start) return x->start < y->start ? -1 : 1;
  if (x->end != y->end) return x->end < y->end ? -1 : 1;
  if (x->rule != y->rule) return x->rule - y->rule;
  return strcmp(x->view, y->view);
}

static void print_case(const char *text, size_t n, const unsigned char *cuts) {
  print_message("text: %.*s\nbytes:", (int)n, text);
  for (size_t i = 0; i < n; i++) print_message("%s%02x", i && cuts[i] ? "|" : " ", (unsigned char)text[i]);
  print_message("\n");
}

static void check_events(const struct ref_outcome *want, struct seen *got, const char *text, size_t n,
                         const unsigned char *cuts) {
  struct ref_event sorted[REF_EVENTS];
  bool same = want->n == got->n;
  memcpy(sorted, want->events, sizeof sorted);
  qsort(sorted, (size_t)want->n, sizeof *sorted, by_place);
  qsort(got->events, (size_t)got->n, sizeof *got->events, by_place);
  for (int i = 0; same && i < got->n; i++) same = by_place(&sorted[i], &got->events[i]) == 0;
  if (same) return;
  print_case(text, n, cuts);
  for (int i = 0; i < want->n; i++)
    print_message("want %d %s %zu-%zu\n", sorted[i].rule, sorted[i].view, sorted[i].start, sorted[i].end);
  for (int i = 0; i < got->n; i++)
    print_message("got  %d %s %zu-%zu\n", got->events[i].rule, got->events[i].view, got->events[i].start,
                  got->events[i].end);
  fail();
}

static void check_text(struct monitor *m, struct seen *seen, const char *text, size_t n, const unsigned char *cuts,
                       const struct ref_outcome *want, struct buffer *out) {
  char *expected = malloc(9 * n + 16);
  size_t len = ref_output(want, text, n, expected);
  bool stopped = false;
  seen->n = 0;
  run_cut(m, text, n, cuts, out, &stopped);
  if (out->len != len || memcmp(out->ptr ? out->ptr : "", expected, len) != 0 || stopped != (want->stop <= n)) {
    print_case(text, n, cuts);
    print_message("want: %.*s%s\ngot:  %.*s%s\n", (int)len, expected, want->stop <= n ? " STOP" : "", (int)out->len,
                  out->ptr ? out->ptr : "", stopped ? " STOP" : "");
    fail();
  }
  free(expected);
  if (!stopped) check_events(want, seen, text, n, cuts);
}

static size_t random_text(struct rng *r, char *text, int n_parts) {
  size_t n = 0;
  for (int i = 0; i < n_parts; i++) {
    if (n_parts > 20 && rng_below(r, 25) == 0) {
      /* nothing that folds, nothing but leet, or matches in a row whose phase outlasts what folded before them */
      const char *from = (const char *[]){"bom .xk=", "bom. .x0", "bbbbbbbb"}[rng_below(r, 3)];
      for (int k = (int)rng_below(r, 250); k > 0; k--) text[n++] = from[rng_below(r, 8)];
    }
    const char *part = parts[rng_below(r, PARTS)];
    memcpy(text + n, part, strlen(part));
    n += strlen(part);
  }
  return n;
}

static void every_cut_of_short_texts(size_t n_rules) {
  struct monitor_policy *p = views_policy(n_rules);
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  static struct seen seen;
  struct buffer out;
  struct rng r;
  buffer_init(&out, 0);
  rng_seed(&r, 7);
  assert_int_equal(monitor_open(p, note, &seen, &m, &err), SLUICE_OK);
  for (int round = 0; round < 200; round++) {
    char text[64];
    unsigned char cuts[64];
    static struct ref_outcome want;
    size_t n = random_text(&r, text, 5);
    if (n > 9) n = 9;
    ref_run_views(rules, n_rules, text, n, &want);
    for (unsigned bits = 0; bits < 1u << (n - 1); bits++) {
      for (size_t i = 1; i < n; i++) cuts[i] = bits >> (i - 1) & 1;
      check_text(m, &seen, text, n, cuts, &want, &out);
    }
  }
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&out);
}

/* Long enough that lanes wake, sleep and wake again. */
static void random_cuts_of_long_texts(size_t n_rules) {
  struct monitor_policy *p = views_policy(n_rules);
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  static struct seen seen;
  static struct ref_outcome want;
  struct buffer out;
  struct rng r;
  int matches[3] = {0};
  buffer_init(&out, 0);
  rng_seed(&r, 11);
  assert_int_equal(monitor_open(p, note, &seen, &m, &err), SLUICE_OK);
  for (int round = 0; round < ROUNDS; round++) {
    char text[4096];
    unsigned char cuts[4096];
    size_t n = random_text(&r, text, 4 + (int)rng_below(&r, 50));
    if (n > REF_TEXT / 4) n = REF_TEXT / 4;
    ref_run_views(rules, n_rules, text, n, &want);
    for (int i = 0; i < want.n; i++)
      matches[want.events[i].view[0] == 'r' ? 0 : want.events[i].view[0] == 'f' ? 1 : 2]++;
    for (int c = 0; c < CUTS; c++) {
      uint64_t often = 1 + rng_below(&r, 8);
      for (size_t i = 0; i < n; i++) cuts[i] = rng_below(&r, often) == 0;
      check_text(m, &seen, text, n, cuts, &want, &out);
    }
  }
  print_message("%d raw, %d folded, %d leet matches\n", matches[0], matches[1], matches[2]);
  for (int i = 0; i < 3; i++) assert_true(matches[i] > 200);
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&out);
}

static void short_texts(void **state) {
  (void)state;
  every_cut_of_short_texts(RULES - 1);
  every_cut_of_short_texts(RULES);
}

static void long_texts(void **state) {
  (void)state;
  random_cuts_of_long_texts(RULES - 1);
  random_cuts_of_long_texts(RULES);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(short_texts),
      cmocka_unit_test(long_texts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
