/* Replies that advance together say what each talk would have said alone: other policies, seeds and lengths, some that
 * come later and some that are dropped amid their text. With the embedded model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

enum { TALKS = 7 };

static const struct {
  const char *policy, *said, *asked, *prefix;
  float temperature;
  int max_tokens, enters_at;
} CASES[TALKS] = {
    {"full", "The code of the copper box is 5489.", "What is the code of the copper box?", "", 0, 40, 0},
    {"streaming:budget=64", "I want you to buy apples.", "What should I buy?", "I will buy ", 0, 40, 0},
    {"sirllm:budget=64", "Tell me a story about a long road.", "Go on.", "", 0.8f, 60, 0},
    {"full", "Hello.", "Who are you?", "", 1.0f, 60, 3},
    {"window:budget=48", "Line one: red. Line two: blue. Line three: green.", "What is in line two?", "", 0, 30, 9},
    {"recompute:budget=64", "I like tea more than coffee.", "What do I like?", "", 0, 20, 11},
    {"full", "The code of the iron box is 12.", "What is the code of the iron box?", "The code ", 0.5f, 1, 2},
};

struct heard {
  char text[4096];
  size_t n;
  int stop_after; /* pieces; 0: never */
};

static bool hear(void *ctx, const struct piece *p) {
  struct heard *h = ctx;
  assert_true(h->n + p->bytes.len < sizeof h->text);
  if (p->bytes.len) memcpy(h->text + h->n, p->bytes.ptr, p->bytes.len);
  h->n += p->bytes.len;
  return h->stop_after == 0 || --h->stop_after > 0;
}

static struct engine *open_engine(bool together) {
  struct sluice_error err = {0};
  struct engine *e = NULL;
  const struct engine_local_options o = {.model_dir = "fixtures/model", .threads = 2, .together = together};
  if (engine_open_local(&o, &e, &err)) fail_msg("%s", err.message);
  return e;
}

static struct generate_options options(int i) {
  return (struct generate_options){
      .max_tokens = CASES[i].max_tokens, .temperature = CASES[i].temperature, .seed = (uint64_t)i + 1};
}

/* By talk_feed and talk_generate, each in an engine's own session; then one more turn, which shows that the context is
 * the same. */
static void alone(struct engine *e, int i, struct heard *h, enum outcome *outcome, char **after) {
  struct sluice_error err = {0};
  struct talk *t = NULL;
  struct generate_options o = options(i), more = {.max_tokens = 12};
  char *text;
  size_t n;
  assert_int_equal(talk_open(e, CASES[i].policy, 3, &t, &err), SLUICE_OK);
  assert_int_equal(talk_feed(t, ROLE_USER, slice_of(CASES[i].said), &err), SLUICE_OK);
  assert_int_equal(talk_feed(t, ROLE_BOT, slice_of("I will remember."), &err), SLUICE_OK);
  assert_int_equal(talk_feed(t, ROLE_USER, slice_of(CASES[i].asked), &err), SLUICE_OK);
  assert_int_equal(talk_generate(t, slice_of(CASES[i].prefix), &o, hear, h, NULL, &text, &n, outcome, NULL, &err),
                   SLUICE_OK);
  assert_int_equal(n, h->n);
  free(text);
  enum outcome last;
  assert_int_equal(talk_generate(t, (struct slice){0}, &more, NULL, NULL, NULL, after, &n, &last, NULL, &err),
                   SLUICE_OK);
  talk_close(t);
}

static void begin(struct engine *e, int i, struct heard *h, struct talk **t, struct reply **r) {
  struct sluice_error err = {0};
  const struct turn_text turns[] = {{ROLE_USER, slice_of(CASES[i].said)},
                                    {ROLE_BOT, slice_of("I will remember.")},
                                    {ROLE_USER, slice_of(CASES[i].asked)}};
  const struct reply_request request = {.turns = turns, .n_turns = 3, .prefix = slice_of(CASES[i].prefix)};
  struct generate_options o = options(i);
  assert_int_equal(talk_open(e, CASES[i].policy, 3, t, &err), SLUICE_OK);
  if (reply_begin(*t, &request, &o, hear, h, r, &err)) fail_msg("%s", err.message);
}

static void advance_all(struct reply *const *all, int step, size_t n) {
  struct sluice_error err = {0};
  struct reply *now[TALKS];
  size_t k = 0;
  for (size_t i = 0; i < n; i++)
    if (all[i] && CASES[i].enters_at <= step && !reply_done(all[i])) now[k++] = all[i];
  if (k && replies_advance(now, k, &err)) fail_msg("%s", err.message);
}

static void test_together_as_alone(void **state) {
  (void)state;
  struct engine *one = open_engine(false), *many = open_engine(true);
  static struct heard want[TALKS], got[TALKS];
  enum outcome outcomes[TALKS], outcome;
  char *after[TALKS], *text;
  struct talk *talks[TALKS] = {NULL};
  struct reply *replies[TALKS] = {NULL};
  struct sluice_error err = {0};
  for (int i = 0; i < TALKS; i++) alone(one, i, &want[i], &outcomes[i], &after[i]);
  assert_true(want[0].n > 0);
  for (int step = 0, open = TALKS; open > 0 && step < 2000; step++) {
    for (int i = 0; i < TALKS; i++)
      if (CASES[i].enters_at == step) begin(many, i, &got[i], &talks[i], &replies[i]);
    advance_all(replies, step, TALKS);
    open = 0;
    for (int i = 0; i < TALKS; i++) open += !replies[i] || !reply_done(replies[i]);
  }
  for (int i = 0; i < TALKS; i++) {
    size_t n;
    enum outcome last;
    struct generate_options more = {.max_tokens = 12};
    if (reply_end(replies[i], &outcome, &err)) fail_msg("%s", err.message);
    assert_int_equal(outcome, outcomes[i]);
    assert_string_equal(got[i].text, want[i].text);
    reply_close(replies[i]);
    assert_int_equal(talk_generate(talks[i], (struct slice){0}, &more, NULL, NULL, NULL, &text, &n, &last, NULL, &err),
                     SLUICE_OK);
    assert_string_equal(text, after[i]);
    free(text);
    free(after[i]);
    talk_close(talks[i]);
  }
  engine_close(one);
  engine_close(many);
}

/* One is stopped by its tap, one dropped without an end: the third does not notice. */
static void test_leaving_disturbs_nobody(void **state) {
  (void)state;
  struct engine *e = open_engine(true);
  static struct heard want, got[3];
  struct talk *talks[3];
  struct reply *replies[3];
  struct sluice_error err = {0};
  enum outcome outcome;
  char *after;
  memset(&want, 0, sizeof want);
  memset(got, 0, sizeof got);
  alone(e, 3, &want, &outcome, &after);
  free(after);
  got[1].stop_after = 2;
  for (int i = 0; i < 3; i++) begin(e, i == 0 ? 3 : i, &got[i], &talks[i], &replies[i]);
  for (int step = 0; step < 200 && !reply_done(replies[0]); step++) {
    struct reply *now[3];
    size_t k = 0;
    for (int i = 0; i < 3; i++)
      if (replies[i] && !reply_done(replies[i])) now[k++] = replies[i];
    assert_int_equal(replies_advance(now, k, &err), SLUICE_OK);
    if (step == 12) {
      assert_int_equal(reply_end(replies[2], &outcome, &err), SLUICE_INTERNAL);
      reply_close(replies[2]);
      talk_close(talks[2]);
      replies[2] = NULL;
    }
  }
  assert_int_equal(reply_end(replies[1], &outcome, &err), SLUICE_OK);
  assert_int_equal(outcome, OUTCOME_STOPPED);
  assert_string_equal(got[0].text, want.text);
  for (int i = 0; i < 2; i++) {
    reply_close(replies[i]);
    talk_close(talks[i]);
  }
  engine_close(e);
}

static void test_raw_text_goes_on(void **state) {
  (void)state;
  struct engine *e = open_engine(true);
  struct talk *t;
  struct reply *r;
  struct sluice_error err = {0};
  static struct heard h;
  enum outcome outcome;
  const struct reply_request request = {.prefix = slice_of("The code of the"), .raw = true};
  const struct generate_options o = {.max_tokens = 9};
  memset(&h, 0, sizeof h);
  assert_int_equal(talk_open(e, NULL, 0, &t, &err), SLUICE_OK);
  assert_int_equal(reply_begin(t, &request, &o, hear, &h, &r, &err), SLUICE_OK);
  while (!reply_done(r)) assert_int_equal(replies_advance(&r, 1, &err), SLUICE_OK);
  assert_true(reply_timing(r)->prompt_tokens > 0 && reply_timing(r)->output_tokens > 0);
  assert_int_equal(reply_end(r, &outcome, &err), SLUICE_OK);
  assert_true(h.n > 0);
  reply_close(r);
  talk_close(t);
  /* Nothing at all before an answer is that reply's own failure. */
  const struct reply_request empty = {.raw = true};
  assert_int_equal(talk_open(e, NULL, 0, &t, &err), SLUICE_OK);
  sluice_status st = reply_begin(t, &empty, &o, hear, &h, &r, &err);
  if (!st) {
    assert_int_equal(replies_advance(&r, 1, &err), SLUICE_OK);
    if (reply_done(r)) reply_end(r, &outcome, &err);
    reply_close(r);
  }
  talk_close(t);
  engine_close(e);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_together_as_alone),
                                     cmocka_unit_test(test_leaving_disturbs_nobody),
                                     cmocka_unit_test(test_raw_text_goes_on)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
