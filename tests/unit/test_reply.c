/* Replies that advance together say what each talk would have said alone: other policies, seeds and lengths, some that
 * come later and some that are dropped amid their text. With the embedded model. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/talk.h"

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
    if (step == 3) { /* before the others are done, whatever they say */
      assert_int_equal(reply_end(replies[2], &outcome, &err), SLUICE_INTERNAL);
      reply_close(replies[2]);
      talk_close(talks[2]);
      replies[2] = NULL;
    }
  }
  assert_null(replies[2]);
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

#define STORY "One morning Clara walked to the old harbour. The sea was calm and the air was cold. She"

/* Raw text from a prompt, with options. */
static enum outcome raw(struct engine *e, const struct generate_options *o, piece_fn fn, void *ctx) {
  struct talk *t;
  struct reply *r;
  struct sluice_error err = {0};
  enum outcome outcome;
  const struct reply_request request = {.prefix = slice_of(STORY), .raw = true};
  assert_int_equal(talk_open(e, NULL, 0, &t, &err), SLUICE_OK);
  if (reply_begin(t, &request, o, fn, ctx, &r, &err)) fail_msg("%s", err.message);
  while (!reply_done(r)) assert_int_equal(replies_advance(&r, 1, &err), SLUICE_OK);
  assert_int_equal(reply_end(r, &outcome, &err), SLUICE_OK);
  reply_close(r);
  talk_close(t);
  return outcome;
}

struct told {
  double sum;
  int context, answer, unknown;
  char text[512];
  size_t n;
};

static bool hear_context(void *ctx, const struct piece *p) {
  struct told *h = ctx;
  if (p->context) {
    if (isnan(p->surprisal))
      h->unknown++;
    else
      h->sum += (double)p->surprisal;
    if (!isnan(p->surprisal) && p->n_top == 1) assert_true(p->top[0].logprob >= p->logprob);
    assert_true(h->n + p->bytes.len < sizeof h->text);
    memcpy(h->text + h->n, p->bytes.ptr, p->bytes.len);
    h->n += p->bytes.len;
    h->context++;
  } else {
    h->answer++;
  }
  return true;
}

static void tell(struct engine *e, const struct reply_request *request, struct told *h) {
  struct talk *t;
  struct reply *r;
  struct sluice_error err = {0};
  enum outcome outcome;
  memset(h, 0, sizeof *h);
  assert_int_equal(talk_open(e, NULL, 0, &t, &err), SLUICE_OK);
  if (reply_begin(t, request, &(struct generate_options){.max_tokens = 3, .top_logprobs = 1}, hear_context, h, &r,
                  &err))
    fail_msg("%s", err.message);
  while (!reply_done(r)) assert_int_equal(replies_advance(&r, 1, &err), SLUICE_OK);
  assert_int_equal(reply_end(r, &outcome, &err), SLUICE_OK);
  assert_int_equal(outcome, OUTCOME_TRUNCATED);
  reply_close(r);
  talk_close(t);
}

/* The tokens before an answer, told: their surprisals sum to what talk_perplexity says of the text, whether it comes as
 * text behind a BOS or as the same ids. */
static void test_the_context_is_told(void **state) {
  (void)state;
  struct engine *e = open_engine(true);
  const struct model *m = engine_model(e);
  struct sluice_error err = {0};
  struct talk *t;
  static struct told h, by_id;
  double nats;
  size_t tokens, n = 0;
  int32_t *ids = NULL;
  assert_int_equal(talk_open(e, NULL, 0, &t, &err), SLUICE_OK);
  assert_int_equal(talk_perplexity(t, slice_of(STORY), NULL, NULL, &nats, &tokens, &err), SLUICE_OK);
  talk_close(t);
  tell(e, &(struct reply_request){.prefix = slice_of(STORY), .raw = true, .tell_context = true}, &h);
  assert_true(h.context == (int)tokens && h.answer > 0 && h.unknown == 0);
  assert_true(fabs(h.sum - nats) < 1e-3 * nats);
  assert_true(slice_is((struct slice){h.text, h.n}, STORY));
  ids = malloc(sizeof *ids);
  assert_non_null(ids);
  ids[n++] = model_configuration(m)->bos;
  assert_int_equal(tokenizer_encode(model_tokenizer(m), slice_of(STORY), 0, &ids, &n, &err), SLUICE_OK);
  tell(e, &(struct reply_request){.raw = true, .ids = ids, .n_ids = n, .tell_context = true, .context_only = true},
       &by_id);
  assert_true(by_id.context == (int)n && by_id.answer == 0 && by_id.unknown == 1);
  assert_true(by_id.sum == h.sum);
  ids[0] = tokenizer_size(model_tokenizer(m));
  assert_int_equal(talk_open(e, NULL, 0, &t, &err), SLUICE_OK);
  struct reply *r = NULL;
  assert_int_equal(reply_begin(t, &(struct reply_request){.raw = true, .ids = ids, .n_ids = n},
                               &(struct generate_options){0}, hear_context, &h, &r, &err),
                   SLUICE_USAGE);
  assert_non_null(strstr(err.message, "prompt: token id"));
  talk_close(t);
  free(ids);
  engine_close(e);
}

/* Every piece of the free text serves as a stop text: what is heard ends right before its first place. */
static void test_stop_texts(void **state) {
  (void)state;
  struct engine *e = open_engine(true);
  static struct heard whole, h;
  memset(&whole, 0, sizeof whole);
  raw(e, &(struct generate_options){.max_tokens = 24}, hear, &whole);
  assert_true(whole.n > 30);
  for (size_t at = 0; at + 12 < whole.n; at += 3)
    for (size_t len = 1; len <= 12; len += 4) {
      const struct slice stops[] = {slice_of("never said"), {whole.text + at, len}};
      const struct generate_options o = {.max_tokens = 24, .stop = stops, .n_stop = 2};
      memset(&h, 0, sizeof h);
      assert_int_equal(raw(e, &o, hear, &h), OUTCOME_DONE);
      const size_t first = (size_t)((char *)memmem(whole.text, whole.n, stops[1].ptr, len) - whole.text);
      assert_int_equal(h.n, first);
      assert_memory_equal(h.text, whole.text, first);
    }
  /* One that is only begun when the tokens run out is text after all. */
  char begun[8] = {0};
  memcpy(begun, whole.text + whole.n - 3, 3);
  strcat(begun, "#");
  const struct slice unfinished = slice_of(begun);
  memset(&h, 0, sizeof h);
  assert_int_equal(raw(e, &(struct generate_options){.max_tokens = 24, .stop = &unfinished, .n_stop = 1}, hear, &h),
                   OUTCOME_TRUNCATED);
  assert_string_equal(h.text, whole.text);
  engine_close(e);
}

struct ranked {
  int pieces, agreed;
};

static bool rank(void *ctx, const struct piece *p) {
  struct ranked *r = ctx;
  double sum = 0;
  assert_int_equal(p->n_top, 20);
  for (int i = 0; i < p->n_top; i++) {
    if (i) assert_true(p->top[i - 1].logprob >= p->top[i].logprob);
    sum += exp((double)p->top[i].logprob);
  }
  assert_true(sum <= 1.0001);
  r->agreed += p->top[0].token == p->token && p->top[0].logprob == p->logprob;
  r->pieces++;
  return true;
}

static void test_the_likeliest_are_told(void **state) {
  (void)state;
  struct engine *e = open_engine(true);
  struct ranked r = {0, 0};
  raw(e, &(struct generate_options){.max_tokens = 10, .top_logprobs = 20}, rank, &r);
  assert_int_equal(r.pieces, 10);
  assert_int_equal(r.agreed, 10); /* greedy: the token is the likeliest */
  engine_close(e);
}

static int by_value(const void *a, const void *b) {
  const float x = *(const float *)a, y = *(const float *)b;
  return x > y ? -1 : x < y;
}

/* The cuts against a sort of everything. */
static void test_cuts_against_a_sort(void **state) {
  (void)state;
  enum { V = 300, DRAWS = 400 };
  static const struct generate_options options[] = {{.temperature = 1, .top_k = 7},
                                                    {.temperature = 0.7f, .top_p = 0.6f},
                                                    {.temperature = 1.3f, .min_p = 0.2f},
                                                    {.temperature = 1, .top_k = 40, .top_p = 0.8f, .min_p = 0.05f}};
  struct rng r;
  struct sluice_error err = {0};
  rng_seed(&r, 9);
  for (int round = 0; round < 40; round++) {
    float logits[V], sorted[V];
    for (int i = 0; i < V; i++) logits[i] = (float)(int)(rng_normal(&r) * 8) / 4; /* with ties */
    memcpy(sorted, logits, sizeof sorted);
    qsort(sorted, V, sizeof *sorted, by_value);
    for (size_t k = 0; k < 4; k++) {
      const struct generate_options *o = &options[k];
      const int n = o->top_k ? o->top_k : V;
      double total = 0, reached = 0;
      int keep = n;
      for (int i = 0; i < n; i++) total += exp((double)(sorted[i] - sorted[0]) / (double)o->temperature);
      for (int i = 0; o->top_p > 0 && i < n && keep == n; i++)
        if ((reached += exp((double)(sorted[i] - sorted[0]) / (double)o->temperature)) >= (double)o->top_p * total)
          keep = i + 1;
      while (exp((double)(sorted[keep - 1] - sorted[0]) / (double)o->temperature) < (double)o->min_p) keep--;
      struct sampler s;
      assert_int_equal(sampler_open(&s, o, V, &err), SLUICE_OK);
      for (int d = 0; d < DRAWS; d++) assert_true(logits[sampler_pick(&s, logits, V)] >= sorted[keep - 1]);
      sampler_close(&s);
    }
  }
}

/* A limit that is known only when the context is counted. */
static void test_a_limit_lowers(void **state) {
  (void)state;
  struct engine *e = open_engine(true);
  static struct heard h;
  struct talk *t;
  struct reply *r;
  struct sluice_error err = {0};
  enum outcome outcome;
  begin(e, 0, &h, &t, &r);
  reply_limit(r, 1 << 20);
  reply_limit(r, 2);
  while (!reply_done(r)) assert_int_equal(replies_advance(&r, 1, &err), SLUICE_OK);
  assert_int_equal(reply_end(r, &outcome, &err), SLUICE_OK);
  assert_int_equal(reply_timing(r)->output_tokens, 2);
  assert_int_equal(outcome, OUTCOME_TRUNCATED);
  reply_close(r);
  talk_close(t);
  engine_close(e);
}

/* OpenAI's penalties count what the answer has, not its context; biases hold for every token. */
static void test_openai_s_penalties_and_biases(void **state) {
  (void)state;
  const float logits[] = {2.0f, 1.9f, 1.0f, -9.0f};
  const int32_t context[] = {0, 0};
  const struct token_bias up = {3, 20}, strange = {4, 1}, much = {1, 101};
  struct sampler s;
  struct sluice_error err = {0};
  assert_int_equal(
      sampler_open(&s, &(struct generate_options){.frequency_penalty = 0.2f, .presence_penalty = 0.5f}, 4, &err),
      SLUICE_OK);
  assert_false(sampler_draws(&s));
  sampler_saw(&s, context, 2);
  assert_int_equal(sampler_pick(&s, logits, 4), 0);
  sampler_said(&s, 0);
  assert_int_equal(sampler_pick(&s, logits, 4), 1); /* 2.0 - 0.7 < 1.9 */
  sampler_said(&s, 1);
  assert_int_equal(sampler_pick(&s, logits, 4), 0); /* 1.3 > 1.2 */
  sampler_said(&s, 0);
  assert_int_equal(sampler_pick(&s, logits, 4), 1); /* 1.1 < 1.2 */
  sampler_close(&s);
  assert_int_equal(sampler_open(&s, &(struct generate_options){.bias = &up, .n_bias = 1}, 4, &err), SLUICE_OK);
  assert_int_equal(sampler_pick(&s, logits, 4), 3);
  sampler_close(&s);
  assert_int_equal(sampler_open(&s, &(struct generate_options){.bias = &strange, .n_bias = 1}, 4, &err), SLUICE_USAGE);
  assert_non_null(strstr(err.message, "token id 4"));
  sampler_close(&s);
  assert_int_equal(sampler_open(&s, &(struct generate_options){.bias = &much, .n_bias = 1}, 4, &err), SLUICE_USAGE);
  sampler_close(&s);
  assert_int_equal(sampler_open(&s, &(struct generate_options){.presence_penalty = 3}, 4, &err), SLUICE_USAGE);
  sampler_close(&s);
}

static void test_repetition_is_penalised(void **state) {
  (void)state;
  const float logits[] = {2.0f, 1.9f, -1.0f, -1.05f};
  const int32_t said[] = {0, 2};
  struct sampler s;
  struct sluice_error err = {0};
  assert_int_equal(sampler_open(&s, &(struct generate_options){.repetition_penalty = 1.2f}, 4, &err), SLUICE_OK);
  assert_int_equal(sampler_pick(&s, logits, 4), 0);
  sampler_saw(&s, said, 2);
  assert_int_equal(sampler_pick(&s, logits, 4), 1); /* 2.0 / 1.2 < 1.9 */
  const int32_t more = 1;
  sampler_saw(&s, &more, 1);
  assert_int_equal(sampler_pick(&s, logits, 4), 0);
  const float low[] = {-9, -9, -1.0f, -1.05f};
  assert_int_equal(sampler_pick(&s, low, 4), 3); /* -1.0 * 1.2 < -1.05 */
  sampler_close(&s);
  assert_int_equal(sampler_open(&s, &(struct generate_options){.repetition_penalty = -1}, 4, &err), SLUICE_USAGE);
  sampler_close(&s);
  assert_int_equal(sampler_open(&s, &(struct generate_options){.min_p = 2}, 4, &err), SLUICE_USAGE);
  sampler_close(&s);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_together_as_alone),
                                     cmocka_unit_test(test_leaving_disturbs_nobody),
                                     cmocka_unit_test(test_raw_text_goes_on),
                                     cmocka_unit_test(test_the_context_is_told),
                                     cmocka_unit_test(test_stop_texts),
                                     cmocka_unit_test(test_the_likeliest_are_told),
                                     cmocka_unit_test(test_cuts_against_a_sort),
                                     cmocka_unit_test(test_a_limit_lowers),
                                     cmocka_unit_test(test_openai_s_penalties_and_biases),
                                     cmocka_unit_test(test_repetition_is_penalised)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
