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

/* What stands beside an unchanged token is judged in its place: behind the text so far. */
#define AMONG(t, others)                                                                                               \
  "{\"token\":\"" t "\",\"logprob\":-0.25,\"bytes\":null,\"top_logprobs\":[" others "],\"x\":18446744073709551615}"
#define OTHER(t, bytes) "{\"token\":\"" t "\",\"logprob\":-3.5,\"bytes\":" bytes "}"

static void test_others_in_chat(void **state) {
  (void)state;
  SAME(SSE, CHAT("a ", AMONG("a ", OTHER("a ", "[97,32]") "," OTHER("the", "null") "," OTHER("SEC", "[83,69,67]"))));
  CHECK(SSE, CHAT("a ", AMONG("a ", OTHER("a ", "null") "," OTHER("my SECRET", "null"))) CHAT("b", AMONG("b", "")),
        CHAT("a ", AMONG("a ", "")) CHAT("b", AMONG("b", "")), false);
  /* only together with what was chosen before it */
  CHECK(SSE,
        CHAT("SEC", AMONG("SEC", OTHER("RET", "null"))) CHAT("URE", AMONG("URE", OTHER("RET", "null")))
            CHAT("RET", AMONG("RET", OTHER("x", "null"))),
        CHAT("SEC", AMONG("SEC", OTHER("RET", "null"))) CHAT("URE", AMONG("URE", ""))
            CHAT("RET", AMONG("RET", OTHER("x", "null"))),
        false);
  /* several tokens in one frame, and the bytes of a token that says nothing itself */
  CHECK(SSE, CHAT("SECU", AMONG("SEC", "") "," AMONG("U", OTHER("bytes:x", "[82, 69,84]") "," OTHER("y", "null"))),
        CHAT("SECU", AMONG("SEC", "") "," AMONG("U", "")), false);
  /* what would have stopped the choice does not stop it */
  CHECK(SSE, CHAT("a ", AMONG("a ", OTHER("BOMB", "null"))) CHAT("b", AMONG("b", OTHER("c", "null"))),
        CHAT("a ", AMONG("a ", "")) CHAT("b", AMONG("b", OTHER("c", "null"))), false);
  /* a word that is one only where it begins */
  CHECK(SSE, CHAT("x ", AMONG("x ", OTHER("me@here", "null"))), CHAT("x ", AMONG("x ", "")), false);
}

static void test_others_elsewhere(void **state) {
  (void)state;
  struct wire_filter_options body = {.format = WIRE_JSON};
  SAME(SSE, OLD("ab ", LISTS("\"a\",\"b \"", "[{\"a\":-1,\"SEC\":-2},{\"RE\":-1}]")));
  CHECK(SSE, OLD("SEC ok", LISTS("\"SEC\",\" ok\"", "[{\"SEC\":-1,\"y\":-2},{\" ok\":-1,\"RET\":-2}]")),
        OLD("SEC ok", LISTS("\"SEC\",\" ok\"", "[{\"SEC\":-1,\"y\":-2},{}]")), false);
  CHECK(SSE, OLD("a ", LISTS("\"a \"", "[{\"7\":{\"logprob\":-1,\"decoded_token\":\"SECRET\"}}]")),
        OLD("a ", LISTS("\"a \"", "[{}]")), false);
  CHECK(SSE,
        DELTA("a ", AMONG("a ", OTHER("SECRET", "null")))
            TOLD("a SEC",
                 AMONG("a ", OTHER("b", "null")) "," AMONG("SEC", OTHER("RET", "null") "," OTHER("SECRET", "null"))),
        DELTA("a ", AMONG("a ", "")) TOLD("a SEC", AMONG("a ", OTHER("b", "null")) "," AMONG("SEC", "")), false);
  CHECK(body, WHOLE("a b", "{\"content\":[" AMONG("a ", OTHER("SECRET", "null")) "," AMONG("b", "") "]}", "stop"),
        WHOLE("a b", "{\"content\":[" AMONG("a ", "") "," AMONG("b", "") "]}", "stop"), false);
  /* behind more text than is remembered */
  CHECK(SSE,
        CHAT("long", AMONG("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
                           "123456789012345678901234567890123456789012345678901234567890\xc3\xa9 SE",
                           "") "," AMONG("C", "") "," AMONG("URE", OTHER("RET", "null"))),
        CHAT("long", AMONG("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890"
                           "123456789012345678901234567890123456789012345678901234567890\xc3\xa9 SE",
                           "") "," AMONG("C", "") "," AMONG("URE", "")),
        false);
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
      cmocka_unit_test(test_chat),
      cmocka_unit_test(test_out_of_step),
      cmocka_unit_test(test_whole_chat),
      cmocka_unit_test(test_completions),
      cmocka_unit_test(test_responses),
      cmocka_unit_test(test_others_in_chat),
      cmocka_unit_test(test_others_elsewhere),
      cmocka_unit_test(test_readers_hear_no_tokens),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
