/* OpenAI's forms from a server's side: requests read and refused, answers that the house's own dialect reads back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

static sluice_status read_request(bool chat, const char *json, struct wire_request *r, struct sluice_error *err) {
  /* A block of its own without a NUL behind it: reading past the end is an error that tools see. */
  size_t n = strlen(json);
  char *copy = malloc(n);
  memcpy(copy, json, n);
  sluice_status st = wire_request_read(chat, (struct slice){copy, n}, r, err);
  free(copy);
  return st;
}

static void test_a_full_chat_request(void **state) {
  struct wire_request r;
  struct sluice_error err = {0};
  (void)state;
  const char *json =
      "{\"model\":\"m\",\"messages\":[{\"role\":\"system\",\"content\":\"Be\\u0000brief\"},"
      "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]},"
      "{\"role\":\"assistant\",\"content\":null}],\"max_tokens\":7,\"max_completion_tokens\":9,\"n\":2,"
      "\"temperature\":0,\"top_p\":0.5,\"top_k\":40,\"min_p\":0.05,\"repetition_penalty\":1.1,\"seed\":42,"
      "\"stop\":[\"\\n\\n\",\"END\"],\"stream\":true,\"stream_options\":{\"include_usage\":true},"
      "\"logprobs\":true,\"top_logprobs\":3,\"tools\":[],\"tool_choice\":\"none\",\"metadata\":{\"x\":1},"
      "\"response_format\":{\"type\":\"text\"},\"frequency_penalty\":0}";
  assert_int_equal(read_request(true, json, &r, &err), SLUICE_OK);
  assert_int_equal(r.n_messages, 3);
  assert_int_equal(r.messages[0].role, WIRE_SYSTEM);
  assert_int_equal(r.messages[0].text.len, 8);
  assert_memory_equal(r.messages[0].text.ptr, "Be\0brief", 8);
  assert_true(slice_is(r.messages[1].text, "ab"));
  assert_int_equal(r.messages[2].text.len, 0);
  assert_int_equal(r.max_tokens, 9);
  assert_int_equal(r.n, 2);
  assert_true(r.temperature == 0 && r.top_p == 0.5 && r.min_p == 0.05 && r.repetition_penalty == 1.1);
  assert_int_equal(r.top_k, 40);
  assert_int_equal(r.seed, 42);
  assert_int_equal(r.n_stop, 2);
  assert_true(slice_is(r.stop[1], "END"));
  assert_true(r.stream && r.include_usage && r.logprobs);
  assert_int_equal(r.top_logprobs, 3);
  wire_request_free(&r);
}

/* Fields of vLLM's and llama.cpp's servers that ask for nothing, and those that are honoured. */
static void test_what_other_servers_take(void **state) {
  struct wire_request r;
  struct sluice_error err = {0};
  (void)state;
  const char *json =
      "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"seed\":9007199254740993,\"frequency_penalty\":-0.5,"
      "\"presence_penalty\":2,\"logit_bias\":{\"7\":-100,\"0\":0.5},\"grammar\":\"\",\"ignore_eos\":false,"
      "\"min_tokens\":0,\"length_penalty\":1.0,\"stop_token_ids\":[],\"chat_template\":null,\"mirostat\":0,"
      "\"chat_template_kwargs\":{\"enable_thinking\":false}}";
  assert_int_equal(read_request(true, json, &r, &err), SLUICE_OK);
  assert_true(r.seed == 9007199254740993);
  assert_true(r.frequency_penalty == -0.5 && r.presence_penalty == 2 && r.no_thought);
  assert_int_equal(r.n_bias, 2);
  assert_true(r.bias[0].token == 7 && r.bias[0].added == -100 && r.bias[1].token == 0 && r.bias[1].added == 0.5);
  wire_request_free(&r);
}

/* What an assistant said in refusing is what it said; tools that may not be called change nothing. */
static void test_refusals_and_idle_tools(void **state) {
  struct wire_request r;
  struct sluice_error err = {0};
  (void)state;
  const char *json = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"assistant\",\"content\":null,"
                     "\"refusal\":\"no\"},"
                     "{\"role\":\"assistant\",\"content\":[{\"type\":\"refusal\",\"refusal\":\"never\"}]},{\"role\":"
                     "\"user\",\"content\":\"y\"}],"
                     "\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"none\"}";
  assert_int_equal(read_request(true, json, &r, &err), SLUICE_OK);
  assert_int_equal(r.n_messages, 4);
  assert_true(slice_is(r.messages[1].text, "no") && slice_is(r.messages[2].text, "never"));
  wire_request_free(&r);
  json = "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tool_choice\":\"auto\"}";
  assert_int_equal(read_request(true, json, &r, &err), SLUICE_OK);
  wire_request_free(&r);
}

static void test_a_small_request_says_nothing(void **state) {
  struct wire_request r;
  struct sluice_error err = {0};
  (void)state;
  assert_int_equal(read_request(false, "{\"prompt\":[\"x\",\"y\"],\"logprobs\":2}", &r, &err), SLUICE_OK);
  assert_int_equal(r.n_prompts, 2);
  assert_true(r.logprobs);
  assert_int_equal(r.top_logprobs, 2);
  assert_true(isnan(r.temperature) && isnan(r.top_p));
  assert_int_equal(r.max_tokens, -1);
  assert_int_equal(r.seed, -1);
  wire_request_free(&r);
}

static void test_prompts_may_be_token_ids(void **state) {
  (void)state;
  struct wire_request r;
  struct sluice_error err = {0};
  assert_int_equal(read_request(false, "{\"prompt\":[5,0,2147483647],\"max_tokens\":0,\"best_of\":1}", &r, &err),
                   SLUICE_OK);
  assert_int_equal(r.n_prompts, 1);
  assert_int_equal(r.prompts[0].n_ids, 3);
  assert_int_equal(r.prompts[0].ids[0], 5);
  assert_int_equal(r.prompts[0].ids[2], INT32_MAX);
  assert_int_equal(r.max_tokens, 0);
  wire_request_free(&r);
  assert_int_equal(read_request(false, "{\"prompt\":[[7],\"a\",[8,9]],\"echo\":true,\"logprobs\":1}", &r, &err),
                   SLUICE_OK);
  assert_int_equal(r.n_prompts, 3);
  assert_int_equal(r.prompts[0].ids[0], 7);
  assert_null(r.prompts[1].ids);
  assert_true(slice_is(r.prompts[1].text, "a"));
  assert_int_equal(r.prompts[2].n_ids, 2);
  wire_request_free(&r);
}

/* What nothing stood before has no log-probability; offsets count characters; a stream whose usage follows says null.
 */
static void test_the_first_token_of_an_echo(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct buffer out;
  const struct wire_token tokens[] = {{slice_of("\xc3\xa9"), NAN, NULL, 0}, {slice_of("b"), -1, NULL, 0}};
  const struct wire_piece p = {.tokens = tokens, .n_tokens = 2, .logprobs = true};
  buffer_init(&out, 0);
  assert_int_equal(wire_answer_piece(&(struct wire_answer){"i", "m", 0, false, true}, &p, &out, &err), SLUICE_OK);
  assert_non_null(
      memmem(out.ptr, out.len, "\"token_logprobs\":[null,-1],\"top_logprobs\":[null,{}],\"text_offset\":[0,1]", 68));
  static const char *const parts[] = {"\"token_logprobs\":[null,-1],\"top_logprobs\":[null,{}],\"text_offset\":[0,1]",
                                      "],\"usage\":null}\n\n"};
  for (size_t i = 0; i < 2; i++) assert_non_null(memmem(out.ptr, out.len, parts[i], strlen(parts[i])));
  buffer_free(&out);
}

/* The message must begin with the field's name. */
static void test_refusals_name_the_field(void **state) {
  static const struct {
    bool chat;
    const char *json, *names;
    sluice_status status;
  } cases[] = {
      {true, "", "JSON", SLUICE_INPUT},
      {true, "[]", "the body", SLUICE_INPUT},
      {true, "{}", "messages", SLUICE_INPUT},
      {true, "{\"messages\":[]}", "messages", SLUICE_INPUT},
      {true, "{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}", "messages.0.role", SLUICE_UNSUPPORTED},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":7}]}", "messages.0.content", SLUICE_INPUT},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{}}]}]}",
       "messages.0.content.0", SLUICE_UNSUPPORTED},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"tools\":[{}]}", "tools", SLUICE_UNSUPPORTED},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"response_format\":{\"type\":\"json_object\"}}",
       "response_format", SLUICE_UNSUPPORTED},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"temperature\":\"hot\"}", "temperature",
       SLUICE_INPUT},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"temperature\":3}", "temperature", SLUICE_INPUT},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":129}", "n:", SLUICE_INPUT},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"n\":1.5}", "n:", SLUICE_INPUT},
#define HI "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],"
      {true, HI "\"presence_penalty\":3}", "presence_penalty", SLUICE_INPUT},
      {true, HI "\"tools\":[{}],\"tool_choice\":\"auto\"}", "tools", SLUICE_UNSUPPORTED},
      {true, HI "\"tool_choice\":\"required\"}", "tool_choice", SLUICE_UNSUPPORTED},
      {true, HI "\"tools\":[{}],\"tool_choice\":{\"type\":\"function\"}}", "tool_choice", SLUICE_UNSUPPORTED},
      {true, HI "\"top_logprobs\":2}", "top_logprobs", SLUICE_INPUT},
      {true, HI "\"max_tokens\":0}", "max_tokens: a whole number from 1 to 2147483647 is needed, not 0", SLUICE_INPUT},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":null}]}", "messages.0.content", SLUICE_INPUT},
      {true, "{\"messages\":[{\"role\":\"user\"}]}", "messages.0.content", SLUICE_INPUT},
      {true, HI "\"logit_bias\":[1]}", "logit_bias", SLUICE_INPUT},
      {true, HI "\"logit_bias\":{\"5\":101}}", "logit_bias", SLUICE_INPUT},
      {true, HI "\"logit_bias\":{\"a\":1}}", "logit_bias", SLUICE_INPUT},
      {true, HI "\"logit_bias\":{\"\":1}}", "logit_bias", SLUICE_INPUT},
      {true, HI "\"logit_bias\":{\"9999999999\":1}}", "logit_bias", SLUICE_INPUT},
      {true, HI "\"logit_bias\":{\"5\":\"1\"}}", "logit_bias", SLUICE_INPUT},
      {true, HI "\"seed\":1.5}", "seed", SLUICE_INPUT},
      {true, HI "\"seed\":9223372036854775808}", "seed", SLUICE_INPUT},
      {true, HI "\"chat_template\":\"x\"}", "chat_template", SLUICE_UNSUPPORTED},
      {true, HI "\"chat_template_kwargs\":{\"date\":\"x\"}}", "chat_template_kwargs", SLUICE_UNSUPPORTED},
      {true, HI "\"chat_template_kwargs\":{\"enable_thinking\":1}}", "enable_thinking", SLUICE_INPUT},
      {true, HI "\"stop_token_ids\":[1]}", "stop_token_ids", SLUICE_UNSUPPORTED},
      {true, HI "\"ignore_eos\":true}", "ignore_eos", SLUICE_UNSUPPORTED},
      {true, HI "\"min_tokens\":2}", "min_tokens", SLUICE_UNSUPPORTED},
      {true, HI "\"mirostat\":2}", "mirostat", SLUICE_UNSUPPORTED},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"stop\":[1]}", "stop.0", SLUICE_INPUT},
      {true, "{\"messages\":[{\"role\":\"user\",\"content\":\"x\"}],\"max_tokens\":0}", "max_tokens", SLUICE_INPUT},
      {false, "{\"prompt\":[[1,-2]]}", "prompt", SLUICE_INPUT},
      {false, "{\"prompt\":[1,2.5]}", "prompt", SLUICE_INPUT},
      {false, "{\"prompt\":[1,\"a\"]}", "prompt", SLUICE_INPUT},
      {false, "{\"prompt\":[[]]}", "prompt", SLUICE_INPUT},
      {false, "{\"prompt\":[]}", "prompt", SLUICE_INPUT},
      {false, "{\"prompt\":{}}", "prompt", SLUICE_INPUT},
      {false, "{}", "prompt", SLUICE_INPUT},
      {false, "{\"prompt\":\"x\",\"best_of\":2}", "best_of", SLUICE_UNSUPPORTED},
      {false, "{\"prompt\":[\"a\",\"b\",\"c\"],\"n\":50}", "n:", SLUICE_INPUT},
      {false, "{\"prompt\":\"x\",\"suffix\":\"y\"}", "suffix", SLUICE_UNSUPPORTED},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct wire_request r;
    struct sluice_error err = {0};
    assert_int_equal(read_request(cases[i].chat, cases[i].json, &r, &err), cases[i].status);
    if (strncmp(err.message, cases[i].names, strlen(cases[i].names)) != 0)
      fail_msg("%s: %s", cases[i].json, err.message);
    wire_request_free(&r);
  }
}

/* Each prefix of a request is read or refused, never more. */
static void test_cut_requests(void **state) {
  static const char json[] =
      "{\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e4\\ud83d\\ude00\"}],\"stop\":\"x\"}";
  (void)state;
  for (size_t n = 0; n < sizeof json - 1; n++) {
    struct wire_request r;
    struct sluice_error err = {0};
    char *cut = malloc(n + 1);
    memcpy(cut, json, n);
    assert_int_not_equal(wire_request_read(true, (struct slice){cut, n}, &r, &err), SLUICE_OK);
    wire_request_free(&r);
    free(cut);
  }
}

struct heard {
  char text[256];
  size_t n;
};

static sluice_status hear(void *ctx, const struct wire_key *key, struct slice text, struct sluice_error *err) {
  struct heard *h = ctx;
  (void)err;
  assert_int_equal(key->channel, WIRE_CONTENT);
  memcpy(h->text + h->n, text.ptr, text.len);
  h->n += text.len;
  return SLUICE_OK;
}

static const struct wire_token TOPS[] = {{{"a\xff", 2}, -0.5, NULL, 0}, {{"b", 1}, -INFINITY, NULL, 0}};
static const struct wire_token TOKEN = {{"a\xff", 2}, -0.5, TOPS, 2};

static void test_a_frame_is_read_back(void **state) {
  (void)state;
  for (int chat = 0; chat < 2; chat++) {
    struct wire_answer a = {"id-1", "m\"x", 1700000000, chat, false};
    struct wire_piece p = {.choice = 3,
                           .first = true,
                           .text = slice_of("say \"hi\"\n\xc3\xa4"),
                           .finish = "length",
                           .tokens = &TOKEN,
                           .n_tokens = 1,
                           .logprobs = true,
                           .text_offset = 5};
    struct buffer out;
    struct sluice_error err = {0};
    struct json_span root, v;
    struct heard heard = {{0}, 0};
    bool known = false;
    buffer_init(&out, 0);
    assert_int_equal(wire_answer_piece(&a, &p, &out, &err), SLUICE_OK);
    assert_memory_equal(out.ptr, "data: ", 6);
    assert_string_equal(out.ptr + out.len - 2, "\n\n");
    struct slice json = {out.ptr + 6, out.len - 8};
    assert_int_equal(json_span_root(json, &root, &err), SLUICE_OK);
    assert_int_equal(wire_read_texts(json, "text", hear, &heard, &known, &err), SLUICE_OK);
    assert_true(known);
    assert_string_equal(heard.text, "say \"hi\"\n\xc3\xa4");
    assert_true(json_span_path(json, root,
                               chat ? "choices.0.logprobs.content.0.bytes.1" : "choices.0.logprobs.text_offset.0", &v));
    assert_true(slice_is((struct slice){json.ptr + v.start, v.end - v.start}, chat ? "255" : "5"));
    assert_true(json_span_path(
        json, root,
        chat ? "choices.0.logprobs.content.0.top_logprobs.1.logprob" : "choices.0.logprobs.top_logprobs.0.b", &v));
    assert_true(slice_is((struct slice){json.ptr + v.start, v.end - v.start}, "-9999"));
    assert_true(json_span_path(json, root, "choices.0.finish_reason", &v));
    assert_true(slice_is((struct slice){json.ptr + v.start, v.end - v.start}, "\"length\""));
    buffer_free(&out);
  }
}

static void test_whole_bodies_usage_and_errors_are_json(void **state) {
  (void)state;
  for (int chat = 0; chat < 2; chat++) {
    struct wire_answer a = {"id-1", "m", 1700000000, chat, false};
    struct wire_piece p[2] = {{.choice = 0, .text = slice_of("one"), .finish = "stop"},
                              {.choice = 1, .text = slice_of("two"), .finish = "content_filter"}};
    struct buffer out;
    struct sluice_error err = {0};
    struct json_span root, v;
    struct heard heard = {{0}, 0};
    bool known = false;
    buffer_init(&out, 0);
    assert_int_equal(wire_answer_whole(&a, p, 2, (struct wire_usage){11, 22}, &out, &err), SLUICE_OK);
    struct slice json = {out.ptr, out.len};
    assert_int_equal(json_span_root(json, &root, &err), SLUICE_OK);
    assert_int_equal(wire_read_texts(json, "text", hear, &heard, &known, &err), SLUICE_OK);
    assert_string_equal(heard.text, "onetwo");
    assert_true(json_span_path(json, root, "usage.total_tokens", &v));
    assert_true(slice_is((struct slice){json.ptr + v.start, v.end - v.start}, "33"));
    buffer_clear(&out);
    assert_int_equal(wire_answer_usage(&a, (struct wire_usage){1, 2}, &out, &err), SLUICE_OK);
    assert_int_equal(json_span_root((struct slice){out.ptr + 6, out.len - 8}, &root, &err), SLUICE_OK);
    assert_int_equal(json_span_count((struct slice){out.ptr + 6, out.len - 8}, root) > 4, 1);
    buffer_clear(&out);
    assert_int_equal(wire_answer_error(400, "bad", "n", "n: \"x\"", &out, &err), SLUICE_OK);
    assert_int_equal(json_span_root((struct slice){out.ptr, out.len}, &root, &err), SLUICE_OK);
    assert_true(json_span_path((struct slice){out.ptr, out.len}, root, "error.param", &v));
    assert_int_equal(v.type, JSON_STRING);
    buffer_free(&out);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_full_chat_request),      cmocka_unit_test(test_what_other_servers_take),
      cmocka_unit_test(test_refusals_and_idle_tools),  cmocka_unit_test(test_a_small_request_says_nothing),
      cmocka_unit_test(test_prompts_may_be_token_ids), cmocka_unit_test(test_the_first_token_of_an_echo),
      cmocka_unit_test(test_refusals_name_the_field),  cmocka_unit_test(test_cut_requests),
      cmocka_unit_test(test_a_frame_is_read_back),     cmocka_unit_test(test_whole_bodies_usage_and_errors_are_json),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
