/* OpenAI Responses through the monitor: pieces, the events that repeat them whole, how a response ends; each for many
 * cuts of its bytes. */
#include "tests/wire_cuts.h"

#define EV(name, n, rest)                                                                                              \
  "event: response." name "\ndata: {\"type\":\"response." name "\",\"sequence_number\":" n rest "}\n\n"
#define RESPONSE(status, output)                                                                                       \
  ",\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":9007199254740993,\"model\":\"m\","          \
  "\"status\":\"" status "\",\"incomplete_details\":null,\"output\":[" output "]}"
#define CREATED EV("created", "0", RESPONSE("in_progress", ""))
#define AT(o, c) ",\"item_id\":\"BOMB_1\",\"output_index\":" o ",\"content_index\":" c
#define PART(text, lp) "{\"type\":\"output_text\",\"annotations\":[],\"logprobs\":" lp ",\"text\":\"" text "\"}"
#define MESSAGE(parts)                                                                                                 \
  "{\"id\":\"BOMB_1\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[" parts "]}"
#define ITEM_ADDED(n, o, item) EV("output_item.added", n, ",\"output_index\":" o ",\"item\":" item)
#define ITEM_DONE(n, o, item) EV("output_item.done", n, ",\"output_index\":" o ",\"item\":" item)
#define PART_ADDED(n) EV("content_part.added", n, AT("0", "0") ",\"part\":" PART("", "[]"))
#define SAY(n, text, lp) EV("output_text.delta", n, AT("0", "0") ",\"delta\":\"" text "\",\"logprobs\":" lp)
#define TOKEN "[{\"token\":\"SEC\",\"logprob\":-0.1,\"bytes\":[83],\"top_logprobs\":[]}]"
#define BEGIN CREATED ITEM_ADDED("1", "0", MESSAGE("")) PART_ADDED("2")
#define REST(text, lp)                                                                                                 \
  EV("output_text.done", "7", AT("0", "0") ",\"logprobs\":" lp ",\"text\":\"" text "\"")                               \
  EV("content_part.done", "8", AT("0", "0") ",\"part\":" PART(text, lp))                                               \
  ITEM_DONE("9", "0", MESSAGE(PART(text, lp))) EV("completed", "10", RESPONSE("completed", MESSAGE(PART(text, lp))))
#define INCOMPLETE(n)                                                                                                  \
  "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"sequence_number\":" n                         \
  ",\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":9007199254740993,\"model\":\"m\","          \
  "\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{\"reason\":\"content_filter\"},\"output\":[],"     \
  "\"usage\":null}}\n\n"
#define BODY ((struct wire_filter_options){.format = WIRE_JSON})

static void test_clean_bytes_survive(void **state) {
  (void)state;
  SAME(SSE, BEGIN SAY("3", "Hello S", TOKEN) SAY("4", "ECR \\u00e9\\ud800\\u0000\\/", "[]") REST("Hello", TOKEN));
  SAME(SSE, CREATED EV("web_search_call.in_progress", "1", ",\"output_index\":0,\"item_id\":\"SECRET\"")
                EV("completed", "2", RESPONSE("completed", "")));
  SAME(SSE, CREATED "event: error\ndata: {\"type\":\"error\",\"code\":\"x\",\"message\":\"overloaded\"}\n\n");
  SAME(SSE, "event: response.output_text.delta\r\ndata: {\"type\":\"response.output_text.delta\",\r\ndata: "
            "\"delta\":\"\xc3\xa9 x\"}\r\n\r\n");
}

/* A text that was masked in pieces is masked in every event that repeats it, and so are its log-probabilities. */
static void test_repeats_are_masked_too(void **state) {
  (void)state;
  CHECK(SSE, BEGIN SAY("3", "my ", TOKEN) SAY("4", "SEC", TOKEN) SAY("5", "RET.", TOKEN) REST("my SECRET.", TOKEN),
        BEGIN SAY("3", "my ", TOKEN) SAY("4", "[masked]", "[]") SAY("5", ".", "[]") REST("my [masked].", "[]"), false);
  CHECK(SSE, BEGIN SAY("3", "\\u0053ECRET\\ud83d\\ude00", "[]") REST("S\\u0045CRET\\ud83d\\ude00", "[]"),
        BEGIN SAY("3", "[masked]\xf0\x9f\x98\x80", "[]") REST("[masked]\xf0\x9f\x98\x80", "[]"), false);
  /* the tail is decided when the part is done, and in its last event alike */
  CHECK(SSE, BEGIN SAY("3", "to bob@", "[]") SAY("4", "example", "[]") REST("to bob@example", "[]"),
        BEGIN SAY("3", "to [masked]", "[]") SAY("4", "", "[]") REST("to [masked]", "[]"), false);
  /* a server that streams nothing and says all of it at the end */
  CHECK(SSE, CREATED EV("completed", "1", RESPONSE("completed", MESSAGE(PART("a SECRET", TOKEN)))),
        CREATED EV("completed", "1", RESPONSE("completed", MESSAGE(PART("a [masked]", "[]")))), false);
  /* two repeats are no text together */
  SAME(SSE, EV("output_text.done", "1", ",\"text\":\"SEC\"") EV("output_text.done", "2", ",\"text\":\"RET\""));
}

#define CALL(args) "{\"id\":\"f\",\"type\":\"function_call\",\"call_id\":\"SECRET\",\"arguments\":\"" args "\"}"
#define ARGS(n, o, text) EV("function_call_arguments.delta", n, ",\"output_index\":" o ",\"delta\":\"" text "\"")
#define ARGS_DONE(n, o, text)                                                                                          \
  EV("function_call_arguments.done", n, ",\"output_index\":" o ",\"arguments\":\"" text "\"")

static void test_tool_calls_are_texts_of_their_own(void **state) {
  (void)state;
#define CALLS(a, b, c, d, one, two)                                                                                    \
  CREATED ITEM_ADDED("1", "0", CALL("")) ITEM_ADDED("2", "1", CALL("")) ARGS("3", "0", a) ARGS("4", "1", b)            \
      ARGS("5", "0", c) ARGS("6", "1", d) ARGS_DONE("7", "0", one) ITEM_DONE("8", "0", CALL(one))                      \
          ARGS_DONE("9", "1", two) ITEM_DONE("10", "1", CALL(two))                                                     \
              EV("completed", "11", RESPONSE("completed", CALL(one) "," CALL(two)))
  CHECK(SSE,
        CALLS("{\\\"q\\\":\\\"SEC", "{\\\"q\\\":\\\"RET", "RET\\\"}", "\\\"}", "{\\\"q\\\":\\\"SECRET\\\"}",
              "{\\\"q\\\":\\\"RET\\\"}"),
        CALLS("{\\\"q\\\":\\\"[masked]", "{\\\"q\\\":\\\"RET", "\\\"}", "\\\"}", "{\\\"q\\\":\\\"[masked]\\\"}",
              "{\\\"q\\\":\\\"RET\\\"}"),
        false);
  CHECK(SSE, CALLS("{\\\"q\\\":\\\"BO", "{\\\"q\\\":\\\"x", "MB \\\"}", "\\\"}", "{\\\"q\\\":\\\"BOMB\\\"}", "{}"),
        CREATED ITEM_ADDED("1", "0", CALL("")) ITEM_ADDED("2", "1", CALL("")) ARGS("3", "0", "{\\\"q\\\":\\\"")
            ARGS("4", "1", "{\\\"q\\\":\\\"x") INCOMPLETE("5"),
        true);
}

static void test_channels_are_judged_apart(void **state) {
  (void)state;
#define OF(kind, n, more, text) EV(kind ".delta", n, ",\"output_index\":0" more ",\"delta\":\"" text "\"")
#define DONE_OF(kind, n, more, key, text) EV(kind ".done", n, ",\"output_index\":0" more ",\"" key "\":\"" text "\"")
#define ALL(a, b, c, d, e, f)                                                                                          \
  CREATED OF("reasoning_text", "1", ",\"content_index\":0", a)                                                         \
      OF("reasoning_summary_text", "2", ",\"summary_index\":0", b)                                                     \
          OF("reasoning_text", "3", ",\"content_index\":0", c)                                                         \
              DONE_OF("reasoning_text", "4", ",\"content_index\":0", "text", d)                                        \
                  DONE_OF("reasoning_summary_text", "5", ",\"summary_index\":0", "text", b)                            \
                      OF("refusal", "6", ",\"content_index\":1", e)                                                    \
                          DONE_OF("refusal", "7", ",\"content_index\":1", "refusal", e) OF("newer_thing", "8", "", f)  \
                              DONE_OF("newer_thing", "9", "", "whatever", f)                                           \
                                  EV("completed", "10", RESPONSE("completed", ""))
  CHECK(SSE, ALL("a SEC", "RET ", "RET b", "a SECRET b", "no SECRET ", "SECRET "),
        ALL("a [masked]", "RET ", " b", "a [masked] b", "no [masked] ", "[masked] "), false);
}

static void test_stop_ends_well(void **state) {
  (void)state;
  CHECK(SSE, BEGIN SAY("3", "the B", "[]") SAY("4", "OM", "[]") SAY("5", "B is", "[]") REST("the BOMB is", "[]"),
        BEGIN SAY("3", "the ", "[]") INCOMPLETE("4"), true);
  /* nothing was streamed: the repeat itself is never cut, it does not leave */
  CHECK(SSE, BEGIN REST("the BOMB is", "[]"), BEGIN INCOMPLETE("3"), true);
  CHECK(SSE, BEGIN SAY("3", "fine ", "[]") REST("fine BOMB", TOKEN), BEGIN SAY("3", "fine ", "[]") INCOMPLETE("4"),
        true);
  CHECK(SSE, CREATED EV("completed", "1", RESPONSE("completed", MESSAGE(PART("a BOMB", TOKEN)))),
        CREATED INCOMPLETE("1"), true);
}

#define WHOLE(text, lp, args, status, why)                                                                             \
  "{\"id\":\"r\",\"object\":\"response\",\"status\":\"" status "\",\"incomplete_details\":" why                        \
  ",\"output\":[{\"id\":\"SECRET\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"SEC\"}]," \
  "\"encrypted_content\":\"BOMB\"}," MESSAGE(PART(text, lp)) "," CALL(                                                 \
      args) "],\"usage\":{\"total_tokens\":18446744073709551615}}"

static void test_whole_responses(void **state) {
  (void)state;
  SAME(BODY, WHOLE("RET", TOKEN, "{}", "completed", "null"));
  CHECK(BODY, WHOLE("a SECRET", TOKEN, "{\\\"q\\\":\\\"SECRET\\\"}", "completed", "null"),
        WHOLE("a [masked]", "[]", "{\\\"q\\\":\\\"[masked]\\\"}", "completed", "null"), false);
  CHECK(BODY, WHOLE("a BOMB b", TOKEN, "{}", "completed", "null"),
        WHOLE("a ", "[]", "{}", "incomplete", "{\"reason\":\"content_filter\"}"), true);
  /* a failed response may hold text beside its error */
  CHECK(BODY, "{\"object\":\"response\",\"error\":{\"message\":\"x\"},\"output\":[" CALL("SECRET") "]}",
        "{\"object\":\"response\",\"error\":{\"message\":\"x\"},\"output\":[" CALL("[masked]") "]}", false);
  CHECK(BODY, "{\"object\":\"response\",\"status\":\"completed\",\"output\":[],\"output_text\":\"a BOMB\"}",
        "{\"object\":\"response\",\"status\":\"incomplete\",\"incomplete_details\":{\"reason\":\"content_filter\"},"
        "\"output\":[],\"output_text\":\"a \"}",
        true);
}

static void test_every_cut(void **state) {
  (void)state;
  static const char in[] = BEGIN SAY("3", "\\u0053EC", "[]") SAY("4", "RET \xc3\xa9", "[]")
      EV("output_text.done", "5", AT("0", "0") ",\"text\":\"SECRET \xc3\xa9\"") ARGS("6", "1", "BO")
          ARGS("7", "1", "MB");
  static const char want[] = BEGIN SAY("3", "[masked]", "[]") SAY("4", " \xc3\xa9", "[]")
      EV("output_text.done", "5", AT("0", "0") ",\"text\":\"[masked] \xc3\xa9\"") INCOMPLETE("6");
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
      cmocka_unit_test(test_repeats_are_masked_too),
      cmocka_unit_test(test_tool_calls_are_texts_of_their_own),
      cmocka_unit_test(test_channels_are_judged_apart),
      cmocka_unit_test(test_stop_ends_well),
      cmocka_unit_test(test_whole_responses),
      cmocka_unit_test(test_every_cut),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
