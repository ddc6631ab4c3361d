/* Words in every place of an answer where some client would read them, though no interface's documentation has it
 * there: they are masked in their place, or the frame is refused; and keys that stand twice. */
#include "tests/wire_cuts.h"

#define CHOICE(members) "data: {\"id\":\"x\",\"choices\":[{\"index\":0," members "}]}\n\n"
#define DELTA(members) CHOICE("\"delta\":{" members "}")
#define FINISH CHOICE("\"delta\":{},\"finish_reason\":\"stop\"") "data: [DONE]\n\n"
#define BLOCK(delta) "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{" delta "}}\n\n"
#define START(block) "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{" block "}}\n\n"
#define EVENT(type, rest) "data: {\"type\":\"response." type "\",\"sequence_number\":1," rest "}\n\n"
#define CREATED EVENT("created", "\"response\":{\"id\":\"r\",\"output\":[]}")

static void run_in(enum wire_format format, const char *in, unsigned mean, struct result *r) {
  struct wire_filter_options o = {.format = format};
  size_t len = strlen(in);
  unsigned char *cuts = calloc(len + 1, 1);
  struct rng rng;
  rng_seed(&rng, len);
  for (size_t i = 0; i < len; i++) cuts[i] = rng_below(&rng, mean) == 0;
  run_cut(&o, (struct slice){in, len}, cuts, r);
  free(cuts);
}

static bool shows(const struct result *r, const char *word) {
  return r->out.len && memmem(r->out.ptr, r->out.len, word, strlen(word)) != NULL;
}

/* SECRET, or its halves SEC and RET in two frames, is masked where it stands; all else is as it was. */
static void masked(enum wire_format format, const char *in) {
  static const unsigned means[] = {1, 1000000, 7};
  for (size_t i = 0; i < 3; i++) {
    struct result r = {0};
    run_in(format, in, means[i], &r);
    if (r.st) fail_msg("%s: %s", in, r.err.message);
    if (shows(&r, "SEC") || shows(&r, "RET") || !shows(&r, "[masked]"))
      fail_msg("%s\nleft as\n%.*s", in, (int)r.out.len, r.out.ptr);
    buffer_free(&r.out);
  }
}

static void refused(enum wire_format format, const char *in, const char *why) {
  struct result r = {0};
  run_in(format, in, 7, &r);
  if (!r.st || shows(&r, "SECRET")) fail_msg("%s\nleft as\n%.*s", in, (int)r.out.len, r.out.ptr);
  if (!strstr(r.err.message, why)) fail_msg("%s: %s", in, r.err.message);
  buffer_free(&r.out);
}

static void test_chat_pieces(void **state) {
  static const char *const in[] = {
      CHOICE("\"delta\":\"SECRET\"") FINISH,
      CHOICE("\"delta\":{},\"message\":{\"content\":\"SECRET\"}") FINISH,
      CHOICE("\"delta\":{\"content\":\"x\"},\"text\":\"SECRET\"") FINISH,
      CHOICE("\"delta\":{\"content\":\"\"},\"error\":{\"message\":\"SECRET\"}") FINISH,
      DELTA("\"content\":{\"text\":\"SECRET\"}") FINISH,
      DELTA("\"content\":[\"SECRET\"]") FINISH,
      DELTA("\"content\":[{\"type\":\"x\",\"value\":\"SECRET\"}]") FINISH,
      DELTA("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"SEC\"}]}]")
          DELTA("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"RET\"}]}]") FINISH,
      DELTA("\"reasoning_details\":[{\"type\":\"reasoning.summary\",\"summary\":\"SECRET\"}]") FINISH,
      DELTA("\"reasoning\":{\"text\":\"SECRET\"}") FINISH,
      DELTA("\"thinking\":\"SEC\"") DELTA("\"thinking\":\"RET\"") FINISH,
      DELTA("\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"SEC\"}]")
          DELTA("\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"RET\"}]") FINISH,
      DELTA("\"annotations\":[{\"url_citation\":{\"title\":\"SECRET\"}}]") FINISH,
      DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\",\"arguments\":{\"a\":\"SECRET\"}}}]") FINISH,
      DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"SECRET\",\"arguments\":\"\"}}]") FINISH,
      DELTA("\"tool_calls\":{\"function\":{\"arguments\":\"SECRET\"}}") FINISH,
      DELTA("\"tool_calls\":[{\"index\":0,\"code_interpreter\":{\"input\":\"SEC\"}}]")
          DELTA("\"tool_calls\":[{\"index\":0,\"code_interpreter\":{\"input\":\"RET\"}}]") FINISH,
      DELTA("\"function_call\":{\"name\":\"f\",\"arguments\":{\"a\":\"SECRET\"}}") FINISH,
      DELTA("\"refusal\":[\"SECRET\"]") FINISH,
      "data: {\"choices\":[],\"error\":{\"message\":\"SECRET\"}}\n\n",
      "data: {\"choices\":[],\"search_results\":[{\"title\":\"SECRET\"}]}\n\n",
      "data: {\"choices\":[{\"index\":0,\"text\":[\"SECRET\"]}]}\n\n",
      "data: {\"choices\":[{\"index\":0,\"text\":\"x\",\"reasoning\":\"SEC\"}]}\n\n"
      "data: {\"choices\":[{\"index\":0,\"text\":\"x\",\"reasoning\":\"RET\"}]}\n\n",
  };
  (void)state;
  for (size_t i = 0; i < sizeof in / sizeof *in; i++) masked(WIRE_SSE, in[i]);
}

static void test_whole_bodies(void **state) {
  static const char *const in[] = {
      "{\"choices\":[{\"index\":0,\"message\":{\"content\":{\"t\":\"SECRET\"}},\"finish_reason\":\"stop\"}]}",
      "{\"choices\":[{\"index\":0,\"message\":{\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"function\":{"
      "\"arguments\":{\"a\":[1,\"SECRET\"]}}}]},\"finish_reason\":\"stop\"}]}",
      "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"x\",\"annotations\":[{\"title\":\"SECRET\"}]}}]}",
      "{\"error\":{\"message\":\"x\",\"failed_generation\":\"SECRET\"}}",
      "{\"type\":\"message\",\"content\":{\"type\":\"text\",\"text\":\"SECRET\"},\"stop_reason\":\"end_turn\"}",
      "{\"object\":\"response\",\"output\":[],\"error\":{\"message\":\"SECRET\"},\"status\":\"failed\"}",
      "{\"object\":\"response\",\"output\":[{\"type\":\"message\",\"content\":[],\"note\":\"SECRET\"}]}",
  };
  (void)state;
  for (size_t i = 0; i < sizeof in / sizeof *in; i++) masked(WIRE_JSON, in[i]);
}

static void test_messages_and_responses(void **state) {
  static const char *const in[] = {
      START("\"type\":\"text\",\"text\":\"\",\"note\":\"SECRET\""),
      START("\"type\":\"tool_use\",\"name\":\"SECRET\",\"input\":{}"),
      BLOCK("\"type\":\"text_delta\",\"text\":\"ok\",\"thinking\":\"SECRET\""),
      BLOCK("\"type\":\"text_delta\",\"text\":{\"t\":\"SECRET\"}"),
      BLOCK("\"type\":\"new_delta\",\"words\":\"SEC\"") BLOCK("\"type\":\"new_delta\",\"words\":\"RET\""),
      "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":\"SECRET\"}\n\n",
      "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\",\"stop_details\":{\"explanation\":"
      "\"SECRET\"}},\"usage\":{}}\n\n",
      "data: {\"type\":\"error\",\"error\":{\"type\":\"x\",\"message\":\"SECRET\"}}\n\n",
      CREATED EVENT("audio.transcript.delta", "\"delta\":\"SEC\"") EVENT("audio.delta", "\"delta\":\"AAAA\"")
          EVENT("audio.transcript.delta", "\"delta\":\"RET\""),
      CREATED EVENT("one.delta", "\"delta\":\"SEC\"") EVENT("other.delta", "\"delta\":\"zz\"")
          EVENT("one.delta", "\"delta\":\"RET\""),
      CREATED EVENT("failed", "\"response\":{\"id\":\"r\",\"error\":{\"message\":\"SECRET\"},\"output\":[]}"),
      CREATED EVENT("output_text.delta", "\"output_index\":0,\"delta\":\"x\",\"text\":\"SECRET\""),
      CREATED EVENT("output_item.added", "\"item\":{\"type\":\"message\",\"content\":[]},\"text\":\"SECRET\""),
      CREATED EVENT("output_item.added",
                    "\"item\":{\"type\":\"function_call\",\"name\":\"SECRET\",\"arguments\":\"\"}"),
      CREATED "data: {\"type\":\"error\",\"code\":\"x\",\"message\":\"SECRET\",\"sequence_number\":2}\n\n",
  };
  (void)state;
  for (size_t i = 0; i < sizeof in / sizeof *in; i++) masked(WIRE_SSE, in[i]);
}

/* What is no text of a model stays unjudged: ids, types, ciphertext, pictures and sound. */
static void test_what_is_no_text(void **state) {
  (void)state;
  SAME(SSE, DELTA("\"tool_calls\":[{\"index\":0,\"id\":\"SECRET\",\"type\":\"SECRET\"}]") FINISH);
  SAME(SSE, DELTA("\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"SECRET\"}]") FINISH);
  SAME(SSE, DELTA("\"audio\":{\"id\":\"SECRET\",\"data\":\"SECRET\"}") FINISH);
  SAME(SSE, BLOCK("\"type\":\"signature_delta\",\"signature\":\"SECRET\""));
  SAME(SSE, CREATED EVENT("image_generation_call.partial_image", "\"partial_image_b64\":\"SECRET\""));
  SAME(SSE, CREATED EVENT("output_item.done", "\"item\":{\"type\":\"image_generation_call\",\"result\":\"SECRET\"}"));
}

/* The first of two keys is what some readers take: each place of a text is judged, and what leads to texts may not
 * stand twice. */
static void test_keys_that_stand_twice(void **state) {
  static const char *const places[] = {
      DELTA("\"content\":\"SECRET\",\"content\":\"ok\"") FINISH,
      DELTA("\"content\":\"ok\",\"content\":\"SECRET\",\"content\":\"ok\"") FINISH,
      DELTA("\"cont\\u0065nt\":\"SECRET\",\"content\":\"ok\"") FINISH,
      DELTA("\"content\":\"SEC\",\"content\":\"ok\"") DELTA("\"content\":\"RET\",\"content\":\"ok\"") FINISH,
      DELTA("\"content\":\"ok\",\"content\":\"SEC\"") DELTA("\"content\":\"ok\",\"content\":\"RET\"") FINISH,
      DELTA("\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"SECRET\",\"arguments\":\"x\"}}]") FINISH,
      DELTA("\"content\":\"a\"") DELTA("\"content\":\"b\"") DELTA("\"content\":\"SECRET\",\"content\":\"c\"") FINISH,
      BLOCK("\"type\":\"text_delta\",\"text\":\"SECRET\",\"text\":\"x\""),
  };
  (void)state;
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) masked(WIRE_SSE, places[i]);
  refused(WIRE_SSE, CHOICE("\"delta\":{\"content\":\"SECRET\"},\"delta\":{\"content\":\"ok\"}"),
          "\"delta\" stands twice");
  refused(WIRE_SSE, CHOICE("\"delta\":{\"content\":\"SECRET\"},\"d\\u0065lta\":null"), "\"delta\" stands twice");
  refused(WIRE_SSE, "data: {\"choices\":[{\"delta\":{\"content\":\"SECRET\"}}],\"choices\":[]}\n\n", "\"choices\"");
  refused(WIRE_SSE, DELTA("\"content\":[\"SECRET\"],\"content\":\"ok\""), "\"content\" stands twice");
  refused(WIRE_SSE, EVENT("output_text.delta", "\"delta\":\"SECRET\",\"delta\":\"ok\""), "\"delta\" stands twice");
  refused(WIRE_SSE, BLOCK("\"type\":\"text_delta\",\"text\":\"x\"},\"delta\":{\"text\":\"SECRET\""), "\"delta\"");
  refused(WIRE_JSON, "{\"choices\":[{\"message\":{\"content\":\"SECRET\"},\"message\":{}}]}",
          "\"message\" stands twice");
  SAME(SSE, "data: {\"id\":1,\"id\":2,\"choices\":[{\"index\":0,\"index\":0,\"delta\":{\"content\":\"a\",\"content\":"
            "\"b\",\"x\":1,\"x\":2}}],\"usage\":{\"a\":1,\"a\":2}}\n\n" FINISH);
}

static void test_lines_outside_of_data(void **state) {
  (void)state;
  refused(WIRE_SSE, "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"SECRET\"}}]}\n\n" FINISH, "neither a field");
  refused(WIRE_SSE, DELTA("\"content\":\"a\"") "id: 4\n[{\"content\":\"SECRET\"}]\n\n", "neither a field");
  refused(WIRE_SSE, "my SECRET\n\n", "neither a field");
  refused(WIRE_SSE, "\x1f\x8b\b\n\n", "neither a field");
  SAME(SSE, ": {comment}\nfoo: bar\nid: 1\n\n" DELTA("\"content\":\"a\"") "data: [DONE] \n\n");
}

/* Frames that some servers send and that say nothing: they pass. Numbers as Python writes them do, too. */
static void test_frames_that_say_nothing(void **state) {
  (void)state;
  SAME(SSE,
       DELTA(
           "\"content\":\"a\"") "data: {\"id\":\"x\",\"model\":\"m\",\"choices\":null,\"usage\":{\"t\":1}}\n\n" FINISH);
  SAME(SSE, DELTA("\"content\":\"a\"") "data: {\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"usage\":{}}\n\n");
  SAME(SSE, "data: {\"type\":\"keepalive\",\"sequence_number\":0}\n\n" CREATED "data: {}\n\n");
  SAME(SSE, CHOICE("\"delta\":{\"content\":\"a \"},\"logprobs\":{\"content\":[{\"token\":\"a \",\"logprob\":-Infinity,"
                   "\"x\":NaN,\"y\":Infinity}]}") FINISH);
  masked(WIRE_SSE, CHOICE("\"delta\":{\"content\":\"SECRET\"},\"x\":NaN") FINISH);
  masked(WIRE_JSON, "\xEF\xBB\xBF{\"choices\":[{\"message\":{\"content\":\"SECRET\"}}]}");
  masked(WIRE_SSE, "data: {\"choices\":null,\"error\":{\"message\":\"SECRET\"}}\n\n");
  refused(WIRE_SSE, CHOICE("\"delta\":{\"content\":\"SECRET\"},\"x\":nan"), "value was expected");
  refused(WIRE_SSE, "data: {\"note\":\"SECRET\"}\n\n", "no dialect reads it");
}

/* Texts that are whole in their frame come and go: a long stream of them has no bound on their number. */
static void test_many_whole_texts(void **state) {
  enum { FRAMES = 6000 };
  static const char frame[] =
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a \"}}],\"citations\":[\"u\",\"v\"]}\n\n";
  struct buffer in = {0}, none = {0};
  struct sluice_error err = {0};
  struct result r = {0};
  (void)state;
  for (int i = 0; i < FRAMES; i++) assert_int_equal(buffer_append_str(&in, frame, &err), SLUICE_OK);
  unsigned char *cuts = calloc(in.len + 1, 1);
  run_cut(&SSE, (struct slice){in.ptr, in.len}, cuts, &r);
  if (r.st) fail_msg("%s", r.err.message);
  assert_int_equal(r.out.len, in.len);
  free(cuts);
  buffer_free(&in);
  buffer_free(&none);
  buffer_free(&r.out);
}

/* A body of error words that is no JSON, or JSON of no form: judged all the same. */
static void test_words(void **state) {
  (void)state;
  masked(WIRE_WORDS, "<html><p>my SECRET</p></html>");
  masked(WIRE_WORDS, "{\"detail\":[{\"msg\":\"SECRET\",\"loc\":[\"body\"]}]}");
  masked(WIRE_WORDS, "{\"error\":{\"message\":\"SECRET\",\"code\":null}}");
  masked(WIRE_WORDS, "{\"error\": \"SECRET\"");
  masked(WIRE_WORDS, "\"SECRET\"");
  CHECK(((struct wire_filter_options){.format = WIRE_WORDS}), "a BOMB here", "a ", true);
  CHECK(((struct wire_filter_options){.format = WIRE_WORDS}), "{\"detail\":\"a BOMB here\"}", "{\"detail\":\"a \"}",
        true);
  SAME(((struct wire_filter_options){.format = WIRE_WORDS}), "{\"detail\": 4}");
  SAME(((struct wire_filter_options){.format = WIRE_WORDS}), "\xff nothing");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chat_pieces),
      cmocka_unit_test(test_whole_bodies),
      cmocka_unit_test(test_messages_and_responses),
      cmocka_unit_test(test_what_is_no_text),
      cmocka_unit_test(test_keys_that_stand_twice),
      cmocka_unit_test(test_lines_outside_of_data),
      cmocka_unit_test(test_frames_that_say_nothing),
      cmocka_unit_test(test_many_whole_texts),
      cmocka_unit_test(test_words),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
