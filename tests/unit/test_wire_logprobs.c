/* Log-probabilities spell their text out: what is masked or stopped in the text must stand nowhere in them, and the
 * rest of them stays, in every dialect that has them. */
#include "tests/wire_cuts.h"

#define TOKEN(t, bytes)                                                                                                \
  "{\"token\":\"" t "\",\"logprob\":-0.25,\"bytes\":" bytes ",\"top_logprobs\":[{\"token\":\"" t "\"}]}"
#define CHAT(text, tokens)                                                                                             \
  "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"logprobs\":{\"content\":[" tokens           \
  "],\"refusal\":null}}]}\n\n"
#define BARE(text) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"logprobs\":null}]}\n\n"
#define GONE(t) "{\"token\":\"" t "\",\"logprob\":-0.25,\"bytes\":null,\"top_logprobs\":[]}"

static void test_chat(void **state) {
  (void)state;
  SAME(SSE, CHAT("a ", TOKEN("a ", "[97,32]")) CHAT("b ", TOKEN("b", "null") "," TOKEN(" ", "[32]")));
  CHECK(SSE,
        CHAT("a ", TOKEN("a ", "[97, 32]")) CHAT("SEC", TOKEN("SEC", "[83,69,67]"))
            CHAT("RET", TOKEN("RET", "[82,69,84]")) CHAT(" b", TOKEN(" b", "[32,98]")),
        CHAT("a ", TOKEN("a ", "[97, 32]")) CHAT("[masked]", GONE("[masked]")) CHAT("", GONE(""))
            CHAT(" b", TOKEN(" b", "[32,98]")),
        false);
  /* bytes say what the token cannot: half a character */
  SAME(SSE, CHAT("\xc3\xa9", TOKEN("bytes:\\\\xc3", "[195]") "," TOKEN("bytes:\\\\xa9", "[169]")));
  CHECK(SSE, CHAT("x SECRET", TOKEN("bytes:x", "[120,32,83,69]") "," TOKEN("bytes:y", "[67,82,69,84]")),
        CHAT("x [masked]", GONE("x [masked]") "," GONE("")), false);
}

/* Tokens that run ahead of their text, lag behind it, or say something else. */
static void test_out_of_step(void **state) {
  (void)state;
  CHECK(SSE, CHAT("", TOKEN("SEC", "null")) CHAT("", TOKEN("RET", "null")) CHAT("SECRET", "") BARE(" b"),
        CHAT("", GONE("[masked]")) CHAT("", GONE("")) BARE("[masked]") BARE(" b"), false);
  CHECK(SSE, CHAT("SECRET ", TOKEN("other", "null")) BARE("b"), BARE("[masked] ") BARE("b"), false);
  CHECK(SSE, CHAT("a ", TOKEN("B", "null") "," TOKEN("OMB", "null")),
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a \"},\"logprobs\":null}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"content_filter\"}]}\n\n"
        "data: [DONE]\n\n",
        true);
}

static void test_whole_chat(void **state) {
  (void)state;
  struct wire_filter_options body = {.format = WIRE_JSON};
#define WHOLE(text, logprobs, reason)                                                                                  \
  "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"" text "\"},\"logprobs\":" logprobs                           \
  ",\"finish_reason\":\"" reason "\"}]}"
  CHECK(body,
        WHOLE("a SECRET b",
              "{\"content\":[" TOKEN("a ", "null") "," TOKEN("SECRET", "null") "," TOKEN(" b", "null") "]}", "stop"),
        WHOLE("a [masked] b", "{\"content\":[" TOKEN("a ", "null") "," GONE("[masked]") "," TOKEN(" b", "null") "]}",
              "stop"),
        false);
  CHECK(body, WHOLE("a BOMB b", "{\"content\":[" TOKEN("a ", "null") "," TOKEN("BOMB b", "null") "]}", "stop"),
        WHOLE("a ", "null", "content_filter"), true);
}

static void test_completions(void **state) {
  (void)state;
#define OLD(text, logprobs) "data: {\"choices\":[{\"text\":\"" text "\",\"index\":0,\"logprobs\":" logprobs "}]}\n\n"
#define LISTS(tokens, tops)                                                                                            \
  "{\"tokens\":[" tokens "],\"token_logprobs\":[-0.5,-1],\"top_logprobs\":" tops ",\"text_offset\":[0,3]}"
  SAME(SSE, OLD("ab ", LISTS("\"a\",\"b \"", "[{\"a\":-1},null]")));
  CHECK(SSE, OLD("x SECRET ", LISTS("\"x \",\"SECRET \"", "[{\"x \":-1},{\"SECRET \":-1,\"y\":-2}]")) OLD("ok", "null"),
        OLD("x [masked] ", LISTS("\"x \",\"[masked] \"", "[{\"x \":-1},{}]")) OLD("ok", "null"), false);
  CHECK(SSE, OLD("a BOMB", LISTS("\"a \",\"BOMB\"", "null")),
        OLD("a ", "null") "data: "
                          "{\"choices\":[{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"content_"
                          "filter\"}]}\n\n"
                          "data: [DONE]\n\n",
        true);
  struct wire_filter_options body = {.format = WIRE_JSON};
  CHECK(body, "{\"choices\":[{\"text\":\"a BOMB b\",\"index\":0,\"finish_reason\":\"length\"}]}",
        "{\"choices\":[{\"text\":\"a \",\"index\":0,\"finish_reason\":\"content_filter\"}]}", true);
}

static void test_responses(void **state) {
  (void)state;
#define DELTA(text, list)                                                                                              \
  "data: {\"type\":\"response.output_text.delta\",\"output_index\":0,\"content_index\":0,\"delta\":\"" text            \
  "\",\"logprobs\":[" list "]}\n\n"
#define TOLD(text, list)                                                                                               \
  "data: {\"type\":\"response.output_text.done\",\"output_index\":0,\"content_index\":0,\"text\":\"" text              \
  "\",\"logprobs\":[" list "]}\n\n"
  CHECK(SSE,
        DELTA("a SEC", TOKEN("a ", "null") "," TOKEN("SEC", "null")) DELTA("RET", TOKEN("RET", "null"))
            TOLD("a SECRET", TOKEN("a ", "null") "," TOKEN("SEC", "null") "," TOKEN("RET", "null")),
        DELTA("a [masked]", TOKEN("a ", "null") "," GONE("[masked]")) DELTA("", GONE(""))
            TOLD("a [masked]", TOKEN("a ", "null") "," GONE("[masked]") "," GONE("")),
        false);
  CHECK(SSE, TOLD("a SECRET", TOKEN("other", "null")), TOLD("a [masked]", ""), false);
}

/* A reader of texts hears each text once. */
static sluice_status count(void *ctx, const struct wire_key *key, struct slice text, struct sluice_error *err) {
  (void)key, (void)text, (void)err;
  ++*(int *)ctx;
  return SLUICE_OK;
}
static void test_readers_hear_no_tokens(void **state) {
  (void)state;
  static const char frame[] = CHAT("a", TOKEN("a", "[97]"));
  struct sluice_error err = {0};
  bool known = false;
  int texts = 0;
  assert_int_equal(wire_read_texts((struct slice){frame + 6, sizeof frame - 9}, NULL, count, &texts, &known, &err),
                   SLUICE_OK);
  assert_true(known);
  assert_int_equal(texts, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chat),       cmocka_unit_test(test_out_of_step),
      cmocka_unit_test(test_whole_chat), cmocka_unit_test(test_completions),
      cmocka_unit_test(test_responses),  cmocka_unit_test(test_readers_hear_no_tokens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
