/* Anthropic Messages through the monitor: what must survive, what must not leave, how a message ends; each for every
 * cut of its bytes. */
#include "tests/wire_cuts.h"

#define EV(name, rest) "event: " name "\ndata: {\"type\":\"" name "\"" rest "}\n\n"
#define CRLF_EV(name, rest) "event: " name "\r\ndata: {\"type\":\"" name "\"" rest "}\r\n\r\n"
#define START                                                                                                          \
  EV("message_start", ",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",\"content\":[],\"stop_reason\":null,"     \
                      "\"usage\":{\"input_tokens\":9007199254740993}}")
#define OPEN(n, block) EV("content_block_start", ",\"index\":" n ",\"content_block\":" block)
#define TEXT "{\"type\":\"text\",\"text\":\"\"}"
#define THINKING "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}"
#define USE "{\"type\":\"tool_use\",\"id\":\"toolu_SECRET\",\"name\":\"find\",\"input\":{}}"
#define DELTA(n, kind, key, text)                                                                                      \
  EV("content_block_delta", ",\"index\":" n ",\"delta\":{\"type\":\"" kind "\",\"" key "\":\"" text "\"}")
#define SAY(n, text) DELTA(n, "text_delta", "text", text)
#define THINK(n, text) DELTA(n, "thinking_delta", "thinking", text)
#define ARGS(n, text) DELTA(n, "input_json_delta", "partial_json", text)
#define SHUT(n) EV("content_block_stop", ",\"index\":" n)
#define FINISH                                                                                                         \
  EV("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{"                   \
                      "\"output_tokens\":7}")                                                                          \
  EV("message_stop", "")
#define REFUSED                                                                                                        \
  EV("message_delta", ",\"delta\":{\"stop_reason\":\"refusal\",\"stop_sequence\":null},\"usage\":{"                    \
                      "\"output_tokens\":0}")                                                                          \
  EV("message_stop", "")
#define PING EV("ping", "")
#define BODY ((struct wire_filter_options){.format = WIRE_JSON})

static void test_clean_bytes_survive(void **state) {
  (void)state;
  SAME(SSE, START OPEN("0", TEXT) PING SAY("0", "Hello") SAY("0", " S") SAY("0", "ECR \\u00e9\\ud800\\u0000\\/")
                SHUT("0") FINISH);
  SAME(SSE, START OPEN("0", THINKING) THINK("0", "hm SEC") DELTA("0", "signature_delta", "signature", "SECRET")
                SHUT("0") OPEN("1", "{\"type\":\"redacted_thinking\",\"data\":\"BOMB\"}") SHUT("1") OPEN("2", TEXT)
                    SAY("2", "RET") SHUT("2") FINISH);
  SAME(SSE, ": hi\r\n\r\n" CRLF_EV("message_start", ",\"message\":{\"content\":[]}")
                CRLF_EV("content_block_start", ",\"index\":0,\"content_block\":" TEXT)
                    CRLF_EV("content_block_delta",
                            ",\"index\":0,\r\ndata: \"delta\":{\"type\":\"text_delta\",\"text\":\"\xc3\xa9 x\"}")
                        CRLF_EV("message_stop", ""));
  SAME(SSE, START OPEN("0", TEXT) SAY("0", "fine ")
                EV("error", ",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}"));
  SAME(LINES, "{\"type\":\"ping\"}\n{\"type\":\"message_stop\"}\n");
}

static void test_masks(void **state) {
  (void)state;
  CHECK(SSE, START OPEN("0", TEXT) SAY("0", "my SEC") SAY("0", "RET is") SHUT("0") FINISH,
        START OPEN("0", TEXT) SAY("0", "my [masked]") SAY("0", " is") SHUT("0") FINISH, false);
  CHECK(SSE, START OPEN("0", TEXT) SAY("0", "\\u0053\\u0045CRET\\ud83d\\ude00") SHUT("0") FINISH,
        START OPEN("0", TEXT) SAY("0", "[masked]\xf0\x9f\x98\x80") SHUT("0") FINISH, false);
  /* a block's end decides its tail, before the next block and before its own stop */
  CHECK(SSE,
        START OPEN("0", TEXT) SAY("0", "to bob@") SAY("0", "example") SHUT("0") OPEN("1", TEXT) SAY("1", "x") SHUT("1")
            FINISH,
        START OPEN("0", TEXT) SAY("0", "to [masked]") SAY("0", "") SHUT("0") OPEN("1", TEXT) SAY("1", "x") SHUT("1")
            FINISH,
        false);
  CHECK(SSE,
        START OPEN("0", THINKING) THINK("0", "SECRET ") SHUT("0") OPEN("1", "{\"type\":\"text\",\"text\":\"SEC\"}")
            SAY("1", "RET ") SHUT("1") FINISH,
        START OPEN("0", THINKING) THINK("0", "[masked] ") SHUT("0")
            OPEN("1", "{\"type\":\"text\",\"text\":\"[masked]\"}") SAY("1", " ") SHUT("1") FINISH,
        false);
  CHECK(SSE, CRLF_EV("content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"SECRET\"}"),
        CRLF_EV("content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"[masked]\"}"),
        false);
}

static void test_tool_calls_are_texts_of_their_own(void **state) {
  (void)state;
  CHECK(SSE,
        START OPEN("0", USE) OPEN("1", USE) ARGS("0", "{\\\"q\\\":\\\"SEC") ARGS("1", "{\\\"q\\\":\\\"RET")
            ARGS("0", "RET\\\"}") ARGS("1", "\\\"}") SHUT("0") SHUT("1") FINISH,
        START OPEN("0", USE) OPEN("1", USE) ARGS("0", "{\\\"q\\\":\\\"[masked]") ARGS("1", "{\\\"q\\\":\\\"RET")
            ARGS("0", "\\\"}") ARGS("1", "\\\"}") SHUT("0") SHUT("1") FINISH,
        false);
  CHECK(SSE,
        START OPEN("0", TEXT) SAY("0", "I ") SHUT("0") OPEN("1", USE) ARGS("1", "{\\\"q\\\":\\\"BO")
            ARGS("1", "MB\\\"}") SHUT("1") FINISH,
        START OPEN("0", TEXT) SAY("0", "I ") SHUT("0") OPEN("1", USE) ARGS("1", "{\\\"q\\\":\\\"") SHUT("1") REFUSED,
        true);
}

static void test_stop_ends_well(void **state) {
  (void)state;
  CHECK(SSE, START OPEN("0", TEXT) SAY("0", "the B") SAY("0", "OM") SAY("0", "B is") SHUT("0") FINISH,
        START OPEN("0", TEXT) SAY("0", "the ") SHUT("0") REFUSED, true);
  CHECK(SSE, START OPEN("0", THINKING) THINK("0", "BOMB") SHUT("0") OPEN("1", TEXT) SAY("1", "x") SHUT("1") FINISH,
        START OPEN("0", THINKING) SHUT("0") REFUSED, true);
  /* what stops stands in the block's first frame: the block is never opened */
  CHECK(SSE, START OPEN("0", TEXT) SAY("0", "a ") SHUT("0") OPEN("1", "{\"type\":\"text\",\"text\":\"BOMB\"}") FINISH,
        START OPEN("0", TEXT) SAY("0", "a ") SHUT("0") REFUSED, true);
  CHECK(SSE,
        CRLF_EV("content_block_start", ",\"index\":3,\"content_block\":" TEXT)
            CRLF_EV("content_block_delta", ",\"index\":3,\"delta\":{\"type\":\"text_delta\",\"text\":\"a BOMB\"}"),
        CRLF_EV("content_block_start", ",\"index\":3,\"content_block\":" TEXT)
            CRLF_EV("content_block_delta", ",\"index\":3,\"delta\":{\"type\":\"text_delta\",\"text\":\"a \"}")
                CRLF_EV("content_block_stop", ",\"index\":3")
                    CRLF_EV("message_delta", ",\"delta\":{\"stop_reason\":\"refusal\",\"stop_sequence\":null},"
                                             "\"usage\":{\"output_tokens\":0}") CRLF_EV("message_stop", ""),
        true);
}

static void test_what_servers_add_is_judged(void **state) {
  (void)state;
#define FOUND(text)                                                                                                    \
  "{\"type\":\"web_search_tool_result\",\"tool_use_id\":\"SECRET\",\"content\":[{\"title\":\"" text "\"}]}"
  /* a chat client reads choices, whatever the type */
  CHECK(SSE, "data: {\"type\":\"message_start\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"SECRET \"}}]}\n\n",
        "data: {\"type\":\"message_start\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"[masked] \"}}]}\n\n",
        false);
  CHECK(SSE, START OPEN("0", FOUND("a SECRET")) SHUT("0") FINISH, START OPEN("0", FOUND("a [masked]")) SHUT("0") FINISH,
        false);
  CHECK(SSE, START EV("newer", ",\"says\":\"a SEC\"") EV("newer", ",\"says\":\"RET b\"") FINISH,
        START EV("newer", ",\"says\":\"a [masked]\"") EV("newer", ",\"says\":\" b\"") FINISH, false);
  CHECK(SSE,
        START OPEN("0", TEXT) DELTA("0", "newer_delta", "x", "SEC") DELTA("0", "newer_delta", "x", "RET ") SHUT("0")
            FINISH,
        START OPEN("0", TEXT) DELTA("0", "newer_delta", "x", "[masked]") DELTA("0", "newer_delta", "x", " ") SHUT("0")
            FINISH,
        false);
#define CITE(text)                                                                                                     \
  EV("content_block_delta",                                                                                            \
     ",\"index\":0,\"delta\":{\"type\":\"citations_delta\",\"citation\":{\"cited_text\":\"" text "\"}}")
  CHECK(SSE, START OPEN("0", TEXT) SAY("0", "SEC") CITE("RET SECRET") SAY("0", "RET") SHUT("0") FINISH,
        START OPEN("0", TEXT) SAY("0", "[masked]") CITE("RET [masked]") SAY("0", "") SHUT("0") FINISH, false);
}

#define WHOLE(text, input, reason)                                                                                     \
  "{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":"    \
  "\"hm SEC\",\"signature\":\"BOMB\"},{\"type\":\"text\",\"text\":\"" text                                             \
  "\"},{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"n\",\"input\":" input "}],\"stop_reason\":\"" reason             \
  "\",\"usage\":{\"output_tokens\":18446744073709551615}}"

static void test_whole_messages(void **state) {
  (void)state;
  SAME(BODY, WHOLE("RET", "{}", "end_turn"));
  CHECK(BODY, WHOLE("a SECRET", "{\"q\": [\"x\", \"\\u0053ECRET\"], \"n\": -1.5e3}", "tool_use"),
        WHOLE("a [masked]", "{\"q\": [\"x\", \"[masked]\"], \"n\": -1.5e3}", "tool_use"), false);
  /* escapes inside arguments, a key, an answer that stays JSON */
  CHECK(BODY, WHOLE("a", "{\"SECRET\":{\"x\":\"\\\"SECRET\\\\\"}}", "tool_use"),
        WHOLE("a", "{\"[masked]\":{\"x\":\"\\\"[masked]\\\\\"}}", "tool_use"), false);
  /* each text is decided as it stands */
  CHECK(BODY, WHOLE("a BOMB b", "{\"q\":\"x\"}", "end_turn"), WHOLE("a ", "{\"q\":\"x\"}", "refusal"), true);
  CHECK(BODY, WHOLE("a", "{\"q\":\"BOMB\",\"n\":12}", "tool_use"), WHOLE("a", "{\"q\":\"\",\"\":\"\"}", "refusal"),
        true);
}

/* Every single cut, and every pair of neighbours. */
static void test_every_cut(void **state) {
  (void)state;
  static const char in[] = START OPEN("0", TEXT) SAY("0", "\\u0053EC") PING SAY("0", "RET \xc3\xa9") SHUT("0")
      OPEN("1", USE) ARGS("1", "{\\\"a\\\":\\\"B") ARGS("1", "OMB") SHUT("1") FINISH;
  static const char want[] = START OPEN("0", TEXT) SAY("0", "[masked]") PING SAY("0", " \xc3\xa9") SHUT("0")
      OPEN("1", USE) ARGS("1", "{\\\"a\\\":\\\"") SHUT("1") REFUSED;
  struct result r = {0};
  unsigned char *cuts = calloc(sizeof in, 1);
  struct wire_filter_options o = SSE;
  for (size_t at = 1; at < sizeof in - 1; at++) {
    cuts[at] = cuts[at + 1] = 1;
    run_cut(&o, (struct slice){in, sizeof in - 1}, cuts, &r);
    cuts[at] = cuts[at + 1] = 0;
    assert_int_equal(r.st, SLUICE_OK);
    assert_true(r.stopped && r.ended);
    if (r.out.len != sizeof want - 1 || memcmp(r.out.ptr, want, r.out.len))
      fail_msg("cut at %zu:\n%.*s\nwanted:\n%s", at, (int)r.out.len, r.out.ptr, want);
  }
  buffer_free(&r.out);
  free(cuts);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_clean_bytes_survive),
      cmocka_unit_test(test_masks),
      cmocka_unit_test(test_tool_calls_are_texts_of_their_own),
      cmocka_unit_test(test_stop_ends_well),
      cmocka_unit_test(test_what_servers_add_is_judged),
      cmocka_unit_test(test_whole_messages),
      cmocka_unit_test(test_every_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
