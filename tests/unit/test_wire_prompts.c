/* Requests of the four interfaces: what is judged, what is masked inside its string, what stops, what is refused. */
#include "tests/wire_cuts.h"
#include "wire/prompts.h"

static const char prompt_policy[] = "{\"on\":[\"prompt\"],\"rules\":["
                                    "{\"id\":\"mask\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"SECRET\"},"
                                    "{\"id\":\"card\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"4111+\"},"
                                    "{\"id\":\"stop\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}";

static sluice_status judge(const char *dialect, const char *body, struct buffer *out, struct prompts_verdict *v,
                           struct sluice_error *err) {
  struct monitor_guard *guard = NULL;
  struct monitor_watch *w = NULL;
  struct gate g;
  if (monitor_guard_parse("test", NULL, slice_of(prompt_policy), &guard, err)) fail_msg("%s", err->message);
  assert_int_equal(monitor_watch_open(guard, NULL, NULL, &w, err), SLUICE_OK);
  gate_watch(&g, w, 0, MONITOR_ASKED);
  struct wire_gate gate = gate_for_wire(&g);
  sluice_status st = prompts_judge(dialect, slice_of(body), &gate, out, v, err);
  if (!st && v->stopped) assert_string_equal(g.rule, "stop");
  gate_close(&g);
  monitor_watch_close(w);
  monitor_guard_free(guard);
  return st;
}

/* Each '#' of the template is replaced by clean words, by a secret, and by what stops, one place at a time. */
static void check(const char *dialect, const char *template, size_t places) {
  size_t found = 0;
  for (const char *at = template; (at = strchr(at, '#')); at++, found++) {
    static const char *const words[] = {"all well", "my SECRET \\u0000", "a BO\\u004dB"}, *const want[] = {
                                                                                              NULL,
                                                                                              "my [masked] \\u0000",
                                                                                              NULL};
    for (int kind = 0; kind < 3; kind++) {
      struct buffer body = {0}, expected = {0}, out = {0};
      struct prompts_verdict v;
      struct sluice_error err = {0};
      for (const char *c = template; *c; c++) {
        const char *word = *c != '#' ? NULL : c == at ? words[kind] : "ok";
        const char *mine = c == at && want[kind] ? want[kind] : word;
        buffer_append(&body, word ? word : c, word ? strlen(word) : 1, &err);
        buffer_append(&expected, mine ? mine : c, mine ? strlen(mine) : 1, &err);
      }
      buffer_append(&body, "", 1, &err);
      if (judge(dialect, body.ptr, &out, &v, &err)) fail_msg("%s: %s", body.ptr, err.message);
      if (v.stopped != (kind == 2) || v.changed != (kind == 1)) fail_msg("kind %d of %s", kind, body.ptr);
      if (v.changed && (out.len != expected.len || memcmp(out.ptr, expected.ptr, out.len)))
        fail_msg("got %.*s\nwanted %.*s", (int)out.len, out.ptr, (int)expected.len, expected.ptr);
      buffer_free(&body);
      buffer_free(&expected);
      buffer_free(&out);
    }
  }
  assert_int_equal(found, places);
}

static void test_chat(void **state) {
  (void)state;
  check("openai_chat",
        "{ \"model\":\"m\", \"seed\":12345678901234567890, \"messages\":[{\"role\":\"system\",\"content\":\"#\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"#\"},{\"type\":\"image_url\",\"image_url\":{"
        "\"url\":\"x\"}}]},"
        "{\"role\":\"assistant\",\"content\":null,\"refusal\":\"#\",\"reasoning_content\":\"#\",\"tool_calls\":[{"
        "\"id\":\"c\","
        "\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"q\\\":\\\"#\\\"}\"}},{\"custom\":{"
        "\"input\":\"#\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c\",\"content\":\"#\"},{\"role\":\"tool\",\"content\":[{\"type\":"
        "\"text\",\"text\":\"#\"}]},"
        "{\"role\":\"assistant\",\"function_call\":{\"name\":\"f\",\"arguments\":\"#\"},\"content\":[{\"type\":\"new\","
        "\"what\":[\"#\"]}]}],"
        "\"prediction\":{\"type\":\"content\",\"content\":\"#\"},\"tools\":[{\"type\":\"function\",\"function\":{"
        "\"name\":\"f\","
        "\"description\":\"#\"}}],\"user\":\"u\"}",
        12);
}

static void test_completions(void **state) {
  (void)state;
  check("openai_completions", "{\"model\":\"m\",\"prompt\":\"#\",\"suffix\":\"#\"}", 2);
  check("openai_completions", "{\"prompt\":[\"#\",\"#\"]}", 2);
}

static void test_responses(void **state) {
  (void)state;
  check("openai_responses", "{\"model\":\"m\",\"instructions\":\"#\",\"input\":\"#\"}", 2);
  check("openai_responses",
        "{\"input\":[{\"role\":\"user\",\"content\":\"#\"},{\"type\":\"message\",\"role\":\"user\",\"content\":[{"
        "\"type\":\"input_text\","
        "\"text\":\"#\"},{\"type\":\"input_image\",\"image_url\":\"data:x\"}]},{\"type\":\"function_call\",\"call_id\":"
        "\"c\",\"arguments\":\"#\"},"
        "{\"type\":\"function_call_output\",\"call_id\":\"c\",\"output\":\"#\"},{\"type\":\"function_call_output\","
        "\"call_id\":\"d\",\"output\":"
        "[{\"type\":\"input_text\",\"text\":\"#\"}]},{\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\","
        "\"text\":\"#\"}]},"
        "{\"type\":\"new_call_output\",\"result\":\"#\"}],\"prompt\":{\"id\":\"p\",\"variables\":{\"city\":\"#\"}}}",
        8);
}

static void test_messages(void **state) {
  (void)state;
  check("anthropic",
        "{\"system\":\"#\",\"max_tokens\":5,\"messages\":[{\"role\":\"user\",\"content\":\"#\"},{\"role\":\"user\","
        "\"content\":["
        "{\"type\":\"text\",\"text\":\"#\"},{\"type\":\"image\",\"source\":{\"type\":\"base64\",\"data\":\"xxxx\"}},"
        "{\"type\":\"document\",\"title\":\"#\",\"source\":{\"type\":\"text\",\"media_type\":\"text/"
        "plain\",\"data\":\"#\"}}]},"
        "{\"role\":\"assistant\",\"content\":[{\"type\":\"thinking\",\"thinking\":\"#\",\"signature\":\"s\"},{\"type\":"
        "\"tool_use\",\"id\":\"t\","
        "\"name\":\"f\",\"input\":{\"data\":\"#\",\"id\":\"#\"}}]},{\"role\":\"user\",\"content\":[{\"type\":\"tool_"
        "result\",\"tool_use_id\":\"t\","
        "\"content\":\"#\"},{\"type\":\"tool_result\",\"content\":[{\"type\":\"text\",\"text\":\"#\"}]}]}],"
        "\"tools\":[{\"name\":\"f\",\"description\":\"#\",\"input_schema\":{\"type\":\"object\"}}]}",
        11);
  check("anthropic",
        "{\"system\":[{\"type\":\"text\",\"text\":\"#\",\"cache_control\":{\"type\":\"ephemeral\"}}],\"messages\":[]}",
        1);
}

static void test_numbers_of_arguments(void **state) {
  (void)state;
  struct buffer out = {0};
  struct prompts_verdict v;
  struct sluice_error err = {0};
  assert_int_equal(judge("anthropic",
                         "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"input\":{\"n\":"
                         "41111,\"m\":7}}]}]}",
                         &out, &v, &err),
                   SLUICE_OK);
  buffer_append(&out, "", 1, &err);
  assert_string_equal(out.ptr, "{\"messages\":[{\"role\":\"assistant\",\"content\":[{\"type\":\"tool_use\",\"input\":{"
                               "\"n\":\"[masked]\",\"m\":7}}]}]}");
  buffer_free(&out);
}

static void refused(const char *dialect, const char *body, sluice_status want, const char *words) {
  struct buffer out = {0};
  struct prompts_verdict v;
  struct sluice_error err = {0};
  assert_int_equal(judge(dialect, body, &out, &v, &err), want);
  if (!strstr(err.message, words)) fail_msg("\"%s\" does not say \"%s\"", err.message, words);
  buffer_free(&out);
}

static void test_refused(void **state) {
  (void)state;
  refused("openai_chat", "{\"messages\":[", SLUICE_INPUT, "the request's body: JSON, byte 13");
  refused("openai_chat", "[]", SLUICE_INPUT, "no JSON object");
  refused("openai_chat", "", SLUICE_INPUT, "the request's body");
  refused("openai_completions", "{\"prompt\":[1,2]}", SLUICE_UNSUPPORTED, "token ids");
  refused("openai_completions", "{\"prompt\":[[1,2],[3]]}", SLUICE_UNSUPPORTED, "token ids");
  /* two readers might see two requests */
  refused("openai_chat", "{\"messages\":[{\"content\":\"BOMB\"}],\"messages\":[]}", SLUICE_INPUT,
          "a key twice in one object, at byte 0");
  refused("openai_chat", "{\"messages\":[{\"content\":\"BOMB\",\"c\\u006fntent\":\"x\"}]}", SLUICE_INPUT, "at byte 13");
}

static void test_what_is_no_text_is_counted(void **state) {
  (void)state;
  struct buffer out = {0};
  struct prompts_verdict v;
  struct sluice_error err = {0};
  assert_int_equal(judge("openai_chat",
                         "{\"messages\":[{\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:BOMB\"}},{"
                         "\"type\":\"text\",\"text\":\"x\"},"
                         "{\"type\":\"input_audio\",\"input_audio\":{\"data\":\"x\"}}]}]}",
                         &out, &v, &err),
                   SLUICE_OK);
  assert_int_equal(v.texts, 1);
  assert_int_equal(v.unread, 2);
  assert_false(v.stopped);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chat),
      cmocka_unit_test(test_completions),
      cmocka_unit_test(test_responses),
      cmocka_unit_test(test_messages),
      cmocka_unit_test(test_numbers_of_arguments),
      cmocka_unit_test(test_refused),
      cmocka_unit_test(test_what_is_no_text_is_counted),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
