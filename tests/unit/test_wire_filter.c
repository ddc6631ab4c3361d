/* Frames through the monitor: what must survive, what must not leave, how a stream ends; each for many cuts of its
 * bytes. */
#include "tests/wire_cuts.h"

#define HEAD "{\"id\":\"x\",\"created\":9007199254740993,\"choices\":"
#define PIECE(text) "data: " HEAD "[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define ROLE                                                                                                           \
  "data: " HEAD "[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
#define FINISH "data: " HEAD "[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define ENDING(n)                                                                                                      \
  "data: "                                                                                                             \
  "{\"id\":\"x\",\"created\":9007199254740993,\"choices\":[{\"index\":" n                                              \
  ",\"delta\":{},\"logprobs\":null,\"finish_reason\":\"content_filter\"}]}\n\n"

static void test_clean_bytes_survive(void **state) {
  (void)state;
  SAME(SSE, ROLE PIECE("Hello") PIECE(" world, hello ") PIECE("S") PIECE("ECR") PIECE("OW") FINISH
       "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"total_tokens\":18446744073709551615}}\n\n" DONE);
  SAME(SSE, "\xEF\xBB\xBF: ping\r\n\r\ndata: " HEAD
            "[{\"index\":0,\"delta\":{\"content\":\"a\\u0000b\\ud800 \\u00e9\\/\",\"x\":1,\"x\":2},"
            "\"logprobs\":{\"content\":[]},\"finish_reason\":null}]}\r\n\r\n"
            "data: [DONE]");
  SAME(SSE,
       "event: message\nid: 4\ndata: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"x y\"}}]}\n\n" DONE);
  SAME(SSE, "data: {\"error\":{\"message\":\"overloaded\"}}\n\n");
  SAME(SSE, "data: {\"object\":\"error\",\"message\":\"too long\"}\n\n");
  SAME(SSE, "data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n" PIECE("x\xff\xfe y") FINISH DONE);
  SAME(SSE, "");
}

static void test_masks(void **state) {
  (void)state;
  CHECK(SSE, ROLE PIECE("my SEC") PIECE("RET ") PIECE("is") FINISH DONE,
        ROLE PIECE("my [masked]") PIECE(" ") PIECE("is") FINISH DONE, false);
  CHECK(SSE, PIECE("\\u0053ECRET\\n\\ud83d\\ude00") FINISH DONE, PIECE("[masked]\\n\xf0\x9f\x98\x80") FINISH DONE,
        false);
  CHECK(SSE, PIECE("SECRET\\ud800\\u0000") FINISH, PIECE("[masked]\\ud800\\u0000") FINISH, false);
  CHECK(SSE, "event: e\ndata: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"SECRET \"}}]}\n\n",
        "event: e\ndata: {\"choices\":[{\"index\":0,\ndata: \"delta\":{\"content\":\"[masked] \"}}]}\n\n", false);
  CHECK(SSE, PIECE("to bob@") PIECE("example now") FINISH, PIECE("to [masked]") PIECE(" now") FINISH, false);
  /* no finish frame, no last blank line: what waits is decided all the same */
  CHECK(SSE, PIECE("a SECRE") "data: " HEAD "[{\"index\":0,\"delta\":{\"content\":\"T\"}}]}",
        PIECE("a [masked]") "data: " HEAD "[{\"index\":0,\"delta\":{\"content\":\"\"}}]}", false);
}

static void test_logprobs_go_with_their_text(void **state) {
  (void)state;
#define LOGPROB(text, lp)                                                                                              \
  "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"logprobs\":" lp "}]}\n\n"
  CHECK(SSE,
        LOGPROB("SECRET ", "{\"content\":[{\"token\":\"SECRET\"}]}")
            LOGPROB("fine ", "{\"content\":[{\"token\":\"fine\"}]}"),
        LOGPROB("[masked] ", "null") LOGPROB("fine ", "{\"content\":[{\"token\":\"fine\"}]}"), false);
}

static void test_stop_ends_well(void **state) {
  (void)state;
  CHECK(SSE, ROLE PIECE("the B") PIECE("OM") PIECE("B is") PIECE("here") FINISH DONE,
        ROLE PIECE("the ") ENDING("0") DONE, true);
  CHECK(SSE, ROLE PIECE("the BOMB") FINISH DONE, ROLE PIECE("the ") ENDING("0") DONE, true);
  CHECK(SSE, "data: " HEAD "[{\"index\":0,\"delta\":{\"content\":\"a BOMB\"},\"finish_reason\":\"stop\"}]}",
        "data: " HEAD "[{\"index\":0,\"delta\":{\"content\":\"a \"},\"finish_reason\":null}]}\n\n" ENDING("0") DONE,
        true);
  CHECK(SSE, "data: " HEAD "[{\"index\":0,\"text\":\"a BOMB\"}]}\r\n\r\n",
        "data: " HEAD "[{\"index\":0,\"text\":\"a \"}]}\r\n\r\n"
        "data: "
        "{\"id\":\"x\",\"created\":9007199254740993,\"choices\":[{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_"
        "reason\":\"content_filter\"}]}\r\n\r\n"
        "data: [DONE]\r\n\r\n",
        true);
}

#define OF(n, text) "data: " HEAD "[{\"index\":" n ",\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define FINISH_OF(n) "data: " HEAD "[{\"index\":" n ",\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"

static void test_choices_are_independent(void **state) {
  (void)state;
  /* the second choice does not wait for the first one's tail, and a secret is not seen across choices */
  CHECK(SSE, OF("0", "a SEC") OF("1", "b RET ") OF("0", "RET ") OF("1", "ok ") FINISH_OF("0") FINISH_OF("1") DONE,
        OF("1", "b RET ") OF("0", "a [masked]") OF("0", " ") OF("1", "ok ") FINISH_OF("0") FINISH_OF("1") DONE, false);
  CHECK(SSE,
        OF("0", "a ") OF("1", "b ") OF("0", "BOMB") OF("1", "c ") OF("0", "more ") FINISH_OF("1") FINISH_OF("0") DONE,
        OF("0", "a ") OF("1", "b ") ENDING("0") OF("1", "c ") FINISH_OF("1") DONE, true);
  CHECK(SSE, OF("0", "a ") OF("1", "b ") OF("0", "BOMB") OF("1", "BOMB") FINISH_OF("1") DONE,
        OF("0", "a ") OF("1", "b ") ENDING("0") ENDING("1") DONE, true);
  CHECK(SSE,
        "data: " HEAD
        "[{\"index\":0,\"delta\":{\"content\":\"x BOMB\"}},{\"index\":1,\"delta\":{\"content\":\"y \"}}]}\n\n"
        "data: " HEAD
        "[{\"index\":0,\"delta\":{\"content\":\"z\"}},{\"index\":1,\"delta\":{\"content\":\"w \"}}]}\n\n" FINISH_OF("1")
            DONE,
        "data: " HEAD
        "[{\"index\":0,\"delta\":{\"content\":\"x \"}},{\"index\":1,\"delta\":{\"content\":\"y \"}}]}\n\n" ENDING(
            "0") "data: " HEAD "[{\"index\":0,\"delta\":{\"content\":\"\"}},{\"index\":1,\"delta\":{\"content\":\"w "
                 "\"}}]}\n\n" FINISH_OF("1") DONE,
        true);
}

#define TOOL(n, text)                                                                                                  \
  "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":" n ",\"function\":{\"arguments\":\"" text   \
  "\"}}]}}]}\n\n"
#define THINK(text) "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"" text "\"}}]}\n\n"
#define SAY(text) "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define END0 "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\n"

static void test_channels_are_judged_apart(void **state) {
  (void)state;
  CHECK(SSE, TOOL("0", "SEC") TOOL("1", "SECR") TOOL("0", "RET ") TOOL("1", "ET ") END0,
        TOOL("0", "[masked]") TOOL("0", " ") TOOL("1", "[masked]") TOOL("1", " ") END0, false);
  CHECK(SSE, THINK("SEC") SAY("a ") THINK("RET ") SAY("b ") END0, THINK("[masked]") SAY("a ") THINK(" ") SAY("b ") END0,
        false);
  CHECK(SSE,
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"SEC\",\"reasoning_content\":\"SEC\"}}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"RET \",\"reasoning_content\":\"RET \"}}]}\n\n",
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\"[masked]\",\"reasoning_content\":\"[masked]\"}}]}\n\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning\":\" \",\"reasoning_content\":\" \"}}]}\n\n",
        false);
  CHECK(SSE, TOOL("0", "{\\\"q\\\":\\\"BOMB\\\"}") END0,
        TOOL("0", "{\\\"q\\\":\\\"") "data: "
                                     "{\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":"
                                     "\"content_filter\"}]}\n\n" DONE,
        true);
}

/* A tail of the reasoning must not keep the answer waiting until the end. */
static void test_answer_does_not_wait_for_reasoning(void **state) {
  (void)state;
  struct result r = {0};
  struct buffer in;
  unsigned char cuts[8192];
  buffer_init(&in, 0);
  memset(cuts, 1, sizeof cuts);
  buffer_append_str(&in, THINK("so SECRE"), &r.err);
  for (int i = 0; i < 16; i++) buffer_append_str(&in, SAY("word "), &r.err);
  struct wire_filter_options o = SSE;
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  struct gate g;
  struct wire_filter *f = NULL;
  monitor_policy_parse("test", NULL, slice_of(policy_text), &p, &r.err);
  monitor_open(p, NULL, NULL, &m, &r.err);
  gate_open(&g, m);
  struct wire_gate gate = gate_for_wire(&g);
  wire_filter_open(&o, &gate, collect, &r.out, &f, &r.err);
  assert_int_equal(wire_filter_push(f, (struct slice){in.ptr, in.len}, &r.err), SLUICE_OK);
  assert_int_equal(r.out.len, in.len); /* no end has come, and nothing waits */
  wire_filter_close(f);
  gate_close(&g);
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&in);
  buffer_free(&r.out);
}

static void test_lines_and_bodies(void **state) {
  (void)state;
  SAME(LINES, "{\"text\":\"one \",\"id\":1}\n\n{\"id\":2,\"text\":\"two\"}");
  CHECK(LINES, "{\"text\":\"SEC\"}\n{\"text\":\"RET \"}\n", "{\"text\":\"[masked]\"}\n{\"text\":\" \"}\n", false);
  CHECK(LINES, "{\"text\":\"a \"}\n{\"text\":\"BOMB\"}\n{\"text\":\"b\"}\n",
        "{\"text\":\"a \"}\n{\"text\":\"\",\"finish_reason\":\"content_filter\"}\n", true);
  struct wire_filter_options each = {.format = WIRE_JSONL, .each_line = true, .text_key = "t"};
  CHECK(each, "{\"t\":\"SEC\"}\n{\"t\":\"RET\"}\n{\"t\":\"a BOMB b\"}\n{\"t\":\"SECRET\"}\n",
        "{\"t\":\"SEC\"}\n{\"t\":\"RET\"}\n{\"t\":\"a \"}\n{\"t\":\"[masked]\"}\n", true);
  struct wire_filter_options body = {.format = WIRE_JSON};
  CHECK(body,
        "{\n \"choices\": [ { \"index\": 0, \"message\": {\"content\": \"a SECRET\", \"reasoning_content\": \"hm\"},\n "
        "\"finish_reason\": \"stop\" } ] }\n",
        "{\n \"choices\": [ { \"index\": 0, \"message\": {\"content\": \"a [masked]\", \"reasoning_content\": "
        "\"hm\"},\n \"finish_reason\": \"stop\" } ] }\n",
        false);
  CHECK(body, "{\"choices\":[{\"message\":{\"content\":\"a BOMB b\"},\"finish_reason\":\"stop\"}]}",
        "{\"choices\":[{\"message\":{\"content\":\"a \"},\"finish_reason\":\"content_filter\"}]}", true);
}

static void check_refused(const char *in, sluice_status want, const char *message, const char *out) {
  struct result r = {0};
  unsigned char cuts[1024] = {0};
  struct wire_filter_options o = {.format = WIRE_SSE, .max_frame = 512};
  run_cut(&o, slice_of(in), cuts, &r);
  assert_int_equal(r.st, want);
  if (!strstr(r.err.message, message)) fail_msg("\"%s\" does not say \"%s\"", r.err.message, message);
  assert_int_equal(r.out.len, strlen(out));
  if (r.out.len) assert_memory_equal(r.out.ptr, out, r.out.len);
  buffer_free(&r.out);
}

static void test_what_cannot_be_read_is_refused(void **state) {
  (void)state;
  check_refused(SAY("a ") "data: {\"choices\":[}\n\n" SAY("b"), SLUICE_INPUT, "byte 58", SAY("a "));
  check_refused(SAY("a ") "data: plain text\n\n", SLUICE_INPUT, "byte 58", SAY("a "));
  check_refused("data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"BOMB\"}]}}]}\n\n", SLUICE_UNSUPPORTED,
                "byte 0", "");
  /* cut off upstream: whole frames are still owed */
  check_refused(SAY("a SEC") "data: {\"choices\":[{\"ind", SLUICE_INPUT, "frame at byte 61", SAY("a SEC"));
  char big[700];
  memset(big, 'x', sizeof big);
  memcpy(big, "data: ", 6);
  big[sizeof big - 1] = '\0';
  check_refused(big, SLUICE_LIMIT, "more than 512 bytes", "");
}

static void test_unknown_frames_pass_when_asked(void **state) {
  (void)state;
  struct wire_filter_options o = {.format = WIRE_SSE, .pass_unknown = true};
  SAME(o, "data: {\"type\":\"ping\"}\n\n" SAY("x ") DONE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_clean_bytes_survive),
      cmocka_unit_test(test_masks),
      cmocka_unit_test(test_logprobs_go_with_their_text),
      cmocka_unit_test(test_stop_ends_well),
      cmocka_unit_test(test_choices_are_independent),
      cmocka_unit_test(test_channels_are_judged_apart),
      cmocka_unit_test(test_answer_does_not_wait_for_reasoning),
      cmocka_unit_test(test_lines_and_bodies),
      cmocka_unit_test(test_what_cannot_be_read_is_refused),
      cmocka_unit_test(test_unknown_frames_pass_when_asked),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
