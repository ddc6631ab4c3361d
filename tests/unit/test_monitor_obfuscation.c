/* Ways to hide a word from a filter, one test line each: the word is masked, all of it and nothing else, whatever the
 * cut, and the event says which view saw it. */
#include "tests/monitor_cuts.h"

#include "monitor/fold_table.h"

static const char policy_text[] =
    "{\"rules\":[{\"id\":\"w\",\"category\":\"c\",\"action\":\"mask\",\"words\":[\"pipe bomb\",\"anthrax\",\"hello\"]},"
    "{\"id\":\"k\",\"category\":\"c\",\"action\":\"mask\",\"pattern\":\"tok_[A-Z0-9]{12}\"}]}";

static const struct {
  const char *how, *text, *view, *want;
} cases[] = {
    {"zero-width space", "a pi\u200Bpe b\u200Bomb.", "folded", "a [masked]."},
    {"zero-width joiner and non-joiner", "an\u200Dth\u200Crax", "folded", "[masked]"},
    {"word joiner, byte order mark", "an\u2060th\uFEFFrax", "folded", "[masked]"},
    {"bidi override and isolates", "pipe \u202Ebomb\u202C and an\u2066thr\u2069ax", "folded",
     "[masked]\u202C and [masked]"},
    {"left-to-right marks", "a\u200En\u200Ft\u061Chrax", "folded", "[masked]"},
    {"soft hyphen", "an\u00ADthrax", "folded", "[masked]"},
    {"variation selectors", "a\uFE0Fnthrax\uFE0F!", "folded", "[masked]\uFE0F!"},
    {"supplementary variation selector", "an\U000E0100thrax", "folded", "[masked]"},
    {"tag characters", "an\U000E0061thr\U000E007Fax", "folded", "[masked]"},
    {"invisible operators, Hangul filler", "an\u2062th\u3164rax", "folded", "[masked]"},
    {"fullwidth", "\uFF41\uFF4E\uFF54\uFF48\uFF52\uFF41\uFF58", "folded", "[masked]"},
    {"mathematical bold", "\U0001D41A\U0001D427\U0001D42D\U0001D421\U0001D42B\U0001D41A\U0001D431", "folded",
     "[masked]"},
    {"double-struck", "\U0001D552\U0001D55F\U0001D565\U0001D559\U0001D563\U0001D552\U0001D569", "folded", "[masked]"},
    {"circled", "\u24D0\u24DD\u24E3\u24D7\u24E1\u24D0\u24E7", "folded", "[masked]"},
    {"bracketed", "\u249C\u24A9\u24AF\u24A3\u24AD\u249C\u24B3", "folded", "[masked]"},
    {"squared", "\U0001F170\U0001F17D\U0001F183\U0001F177\U0001F181\U0001F170\U0001F187", "folded", "[masked]"},
    {"regional indicators", "\U0001F1E6\U0001F1F3\U0001F1F9\U0001F1ED\U0001F1F7\U0001F1E6\U0001F1FD", "folded",
     "[masked]"},
    {"superscript and small letters", "\u1D43\u207F\u1D57\u02B0\u02B3\u1D43\u02E3", "folded", "[masked]"},
    {"small capitals", "\u1D00\u0274\u1D1B\u029C\u0280\u1D00x", "folded", "[masked]"},
    {"Cyrillic", "\u0430nthr\u0430\u0445", "folded", "[masked]"},
    {"Greek", "\u03B1nthr\u03B1x, \u03A1ipe b\u03BFmb", "folded", "[masked], [masked]"},
    {"Armenian and Cherokee", "\u0570ello, \u13C2\u0435llo", "folded", "[masked], [masked]"},
    {"strokes and hooks", "p\u0268pe b\u00F8mb", "folded", "[masked]"},
    {"composed accents", "\u00E1nthr\u00E4x", "folded", "[masked]"},
    {"combining accents", "a\u0301nthra\u0308x", "folded", "[masked]"},
    {"zalgo", "p\u0337\u0321\u031Bi\u0337\u0345p\u0336e\u0334 b\u0335\u0315o\u0336mb", "folded", "[masked]"},
    {"enclosing keycap and circle", "an\u20DDthr\u20E3ax", "folded", "[masked]"},
    {"odd spaces", "pipe\u00A0bomb and pipe\u2003bomb and pipe\u3000bomb", "folded",
     "[masked] and [masked] and [masked]"},
    {"a key in look-alikes", "tok_\uFF21BCDEF123456 and tok_\u0410BCDEF1\u200B23456", "folded",
     "[masked] and [masked]"},
    {"digits of another script", "tok_ABCDEF\u0661\u0662\u0663456", "folded", "[masked]"},
    {"leet digits", "4nthr4x, p1p3 b0mb", "leet", "[masked], [masked]"},
    {"leet signs", "@nthr@x and p!pe b0mb!", "leet", "[masked] and [masked]!"},
    {"leet at the end", "anthr4x0 and he110", "leet", "anthr4x0 and [masked]"},
    {"leet in look-alikes", "\u0430nthr4\u0445", "leet", "[masked]"},
    {"fullwidth leet", "\uFF14nthr\uFF14x", "leet", "[masked]"},
    {"hidden in tags",
     "see \U000E0061\U000E0020\U000E0061\U000E006E\U000E0074\U000E0068\U000E0072\U000E0061\U000E0078.", "hidden",
     "see [masked]."},
    /* what must stay */
    {"a number is none", "h3110 4 years, 1908 and 31337 and 5th", "leet", "[masked] 4 years, 1908 and 31337 and 5th"},
    {"a key is not leet", "tok_ABCDEF12345O", "raw", "[masked]"},
    {"typography", "\u201Cpipe\u201D \u2014 \u2018bomb\u2019 \u2026", NULL,
     "\u201Cpipe\u201D \u2014 \u2018bomb\u2019 \u2026"},
    {"other words", "d\u00E9j\u00E0 vu, \u043F\u0440\u0438\u0432\u0435\u0442, \u4F60\u597D, pipeb0mbs", NULL,
     "d\u00E9j\u00E0 vu, \u043F\u0440\u0438\u0432\u0435\u0442, \u4F60\u597D, pipeb0mbs"},
};

static const char *seen;
static void note(void *ctx, const struct monitor_event *e) {
  (void)ctx;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    if (cases[i].view && !strcmp(cases[i].view, e->view)) seen = cases[i].view;
}

static bool check(struct monitor *m, size_t i, const unsigned char *cuts) {
  struct buffer out;
  bool stopped = false;
  size_t n = strlen(cases[i].text), want = strlen(cases[i].want);
  buffer_init(&out, 0);
  seen = NULL;
  uint64_t exposed = run_cut_exposing(m, cases[i].text, n, cuts, &out, &stopped);
  bool same = out.len == want && memcmp(out.ptr, cases[i].want, want) == 0;
  bool decoded = cases[i].view && !strcmp(cases[i].view, "hidden"); /* its beginning may leave */
  bool good = (same || (decoded && exposed)) && (seen ? cases[i].view && !strcmp(seen, cases[i].view) : !cases[i].view);
  if (!good)
    print_message("%s: %s\n gave   %.*s (%s)\n wanted %s (%s)\n", cases[i].how, cases[i].text, (int)out.len, out.ptr,
                  seen ? seen : "no view", cases[i].want, cases[i].view ? cases[i].view : "no view");
  buffer_free(&out);
  return good;
}

static void hidden_words_are_found(void **state) {
  (void)state;
  struct monitor_policy *p = NULL;
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct rng r;
  unsigned char cuts[256];
  bool all = true;
  if (!monitor_fold_source()[0]) skip(); /* built without ICU */
  if (monitor_policy_parse("test", NULL, slice_of(policy_text), &p, &err)) fail_msg("%s", err.message);
  assert_int_equal(monitor_open(p, note, NULL, &m, &err), SLUICE_OK);
  rng_seed(&r, 5);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (int round = 0; round < 12; round++) {
      for (size_t k = 0; k < sizeof cuts; k++) cuts[k] = round == 1 || (round > 1 && rng_below(&r, 4) == 0);
      if (check(m, i, cuts)) continue;
      all = false;
      break;
    }
  monitor_close(m);
  monitor_policy_free(p);
  assert_true(all);
}

static size_t play(const char *json, const char *text, char *out) {
  struct monitor_policy *p = NULL;
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct buffer b;
  bool stopped = false;
  unsigned char cuts[256] = {0};
  buffer_init(&b, 0);
  if (monitor_policy_parse("test", NULL, slice_of(json), &p, &err)) fail_msg("%s", err.message);
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  run_cut(m, text, strlen(text), cuts, &b, &stopped);
  memcpy(out, b.ptr, b.len);
  out[b.len] = '\0';
  size_t n = b.len;
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&b);
  return n;
}

/* A rule's views win over the policy's; without "raw" a rule finds only what hides. */
static void views_are_chosen(void **state) {
  (void)state;
  const char *text = "anthrax, \u0430nthrax, 4nthrax";
  char out[256];
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  if (!monitor_fold_source()[0]) skip();
#define WORD "\"id\":\"w\",\"category\":\"c\",\"action\":\"mask\",\"words\":[\"anthrax\"]"
  play("{\"rules\":[{" WORD "}]}", text, out);
  assert_string_equal(out, "[masked], [masked], [masked]");
  play("{\"views\":[\"raw\"],\"rules\":[{" WORD "}]}", text, out);
  assert_string_equal(out, "[masked], \u0430nthrax, 4nthrax");
  play("{\"views\":[\"raw\"],\"rules\":[{" WORD ",\"views\":[\"leet\"]}]}", text, out);
  assert_string_equal(out, "anthrax, [masked], [masked]"); /* leet is read off the folded text */
  play("{\"rules\":[{" WORD ",\"views\":[\"folded\"]}]}", text, out);
  assert_string_equal(out, "anthrax, [masked], 4nthrax");
  const char *wrong = "{\"rules\":[{" WORD ",\"views\":[\"fold\"]}]}";
  assert_int_equal(monitor_policy_parse("test", NULL, slice_of(wrong), &p, &err), SLUICE_USAGE);
  assert_string_equal(err.message, "test: rule w.views: \"fold\" is none of raw, folded, leet, decoded; did you mean "
                                   "\"folded\"?");
  assert_int_equal(monitor_policy_parse("test", NULL, slice_of("{\"views\":[],\"rules\":[{" WORD "}]}"), &p, &err),
                   SLUICE_USAGE);
}

/* A run of removed characters without end: what waits has a bound, and a word across more of them than that is none. */
static void invisible_characters_without_end_are_bounded(void **state) {
  (void)state;
  struct monitor_policy *p = NULL;
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct monitor_stream *s = NULL;
  struct monitor_verdict v;
  if (!monitor_fold_source()[0]) skip();
  if (monitor_policy_parse("test", NULL, slice_of(policy_text), &p, &err)) fail_msg("%s", err.message);
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  assert_int_equal(monitor_stream_open(m, 0, 0, 0, &s, &err), SLUICE_OK);
  assert_int_equal(monitor_push(s, slice_of("pipe bo"), &v, &err), SLUICE_OK);
  for (int i = 0; i < 20000; i++) assert_int_equal(monitor_push(s, slice_of("\u0301"), &v, &err), SLUICE_OK);
  assert_true(monitor_stream_counts(s)->held_max < 1024);
  assert_int_equal(v.released, 7 + 40000);
  monitor_stream_close(s);
  monitor_close(m);
  monitor_policy_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(hidden_words_are_found),
      cmocka_unit_test(views_are_chosen),
      cmocka_unit_test(invisible_characters_without_end_are_bounded),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
