/* Streams in the forms of servers that add to their interface: each place where a reader finds text is judged, also
 * what is said in halves by two frames, and what nothing names leaves as the bytes that came. In the forms < and >
 * stand for the halves of a text, # for one that is whole. */
#include "tests/wire_cuts.h"

#define DATA(json) "data: " json "\n\n"
#define DONE "data: [DONE]\n\n"
#define CHUNK(choices, more)                                                                                           \
  DATA("{\"id\":\"c-1\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"m\",\"choices\":"      \
       "[" choices "]" more "}")
#define DELTA(members) "{\"index\":0,\"delta\":{" members "},\"finish_reason\":null}"
#define LAST "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}"
#define USAGE ",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}"

#define FILTERED "\"finish_reason\":\"content_filter\"}]}\n\ndata: [DONE]\n\n"

struct form {
  const char *name, *text;
  const char *ending; /* after a stop */
};

static const struct form chat_forms[] = {
    {"vLLM, with both names for thoughts",
     CHUNK(DELTA("\"role\":\"assistant\",\"content\":\"\""), ",\"prompt_token_ids\":null")
         CHUNK(DELTA("\"reasoning\":\"<\",\"reasoning_content\":\"<\""), "")
             CHUNK(DELTA("\"reasoning\":\">\",\"reasoning_content\":\">\""), "") CHUNK(LAST, "") CHUNK("", USAGE) DONE,
     FILTERED},
    {"llama.cpp's server with --verbose",
     CHUNK("", ",\"prompt_progress\":{\"total\":9,\"cache\":0}") CHUNK(
         DELTA("\"content\":\"<\""), ",\"timings\":{\"prompt_n\":1},\"__verbose\":{\"content\":\"<\",\"stop\":false,"
                                     "\"generation_settings\":{\"samplers\":[\"top_k\"]}}")
         CHUNK(DELTA("\"content\":\">\""), ",\"__verbose\":{\"content\":\">\",\"stop\":false}") CHUNK(LAST, "") DONE,
     FILTERED},
    {"text-generation-inference: calls that are no list",
     CHUNK(DELTA("\"role\":\"assistant\",\"tool_calls\":{\"index\":0,\"id\":\"\",\"function\":{\"name\":\"f\","
                 "\"arguments\":"
                 "\"<\"}}"),
           "") CHUNK(DELTA("\"tool_calls\":{\"index\":0,\"id\":\"\",\"function\":{\"name\":null,\"arguments\":\">\"}}"),
                     "") CHUNK(LAST, "") DONE,
     FILTERED},
    {"text-generation-inference: errors that are a word",
     CHUNK(DELTA("\"content\":\"<\""), "") CHUNK(DELTA("\"content\":\">\""), "")
         DATA("{\"error\":\"#\",\"error_type\":\"generation\"}") DATA("{\"message\":\"#\",\"http_status_code\":422}"),
     FILTERED},
    {"LiteLLM: a thought in three places",
     CHUNK(
         DELTA(
             "\"role\":\"assistant\",\"reasoning_content\":\"<\",\"thinking_blocks\":[{\"type\":\"thinking\","
             "\"thinking\":"
             "\"<\"}],\"provider_specific_fields\":{\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\"<\"}]}"),
         ",\"citations\":null")
         CHUNK(DELTA("\"reasoning_content\":\">\",\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\">\"}],"
                     "\"provider_specific_fields\":{\"thinking_blocks\":[{\"type\":\"thinking\",\"thinking\":\">\"}]}"),
               "") CHUNK(DELTA("\"provider_specific_fields\":{\"citations\":[{\"cited_text\":\"#\",\"title\":\"#\"}]}"),
                         "") CHUNK(LAST, "") DONE,
     FILTERED},
    {"OpenRouter: comments, thoughts with details, pictures",
     ": OPENROUTER PROCESSING\n\n" CHUNK(
         DELTA(
             "\"content\":\"\",\"reasoning\":\"<\",\"reasoning_details\":[{\"type\":\"reasoning.text\",\"text\":\"<\","
             "\"format\":\"x-v1\",\"index\":0}]"),
         ",\"provider\":\"P\"") ": OPENROUTER PROCESSING\n\n" CHUNK(DELTA("\"content\":\"\",\"reasoning\":\">\","
                                                                          "\"reasoning_details\":[{\"type\":"
                                                                          "\"reasoning.text\",\"text\":\">\","
                                                                          "\"format\":\"x-v1\",\"index\":0}]"),
                                                                    ",\"provider\":\"P\"")
         CHUNK(DELTA("\"images\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;base64,iBOMB/"
                     "SECRET+=\"}}]"),
               "") CHUNK(DELTA("\"annotations\":[{\"type\":\"url_citation\",\"url_citation\":{\"title\":\"#\","
                               "\"content\":\"#\"}}]"),
                         "") CHUNK(LAST, "") DONE,
     FILTERED},
    {"Groq: tools that the server ran",
     CHUNK(DELTA("\"reasoning\":\"<\",\"channel\":\"analysis\""), ",\"x_groq\":{\"id\":\"r\"}")
         CHUNK(DELTA("\"reasoning\":\">\",\"channel\":\"analysis\""), "") CHUNK(
             DELTA("\"executed_tools\":[{\"index\":0,\"arguments\":\"#\",\"output\":\"#\",\"code_results\":[{\"text\":"
                   "\"#\"}]}]"),
             "") CHUNK(LAST, ",\"x_groq\":{\"id\":\"r\",\"error\":\"#\"}") DONE,
     FILTERED},
    {"Mistral: thoughts as parts",
     CHUNK(DELTA("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\"<\"}]}]"),
           ",\"p\":\"abc\"")
         CHUNK(DELTA("\"content\":[{\"type\":\"thinking\",\"thinking\":[{\"type\":\"text\",\"text\":\">\"}]}]"),
               ",\"p\":\"ab\"") CHUNK(DELTA("\"content\":[{\"type\":\"text\",\"text\":\"<\"}]"), "")
             CHUNK(DELTA("\"content\":\">\""), "") CHUNK(LAST, "") DONE,
     FILTERED},
    {"Azure: frames of its own filter, documents",
     DATA("{\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\",\"prompt_filter_results\":[{"
          "\"prompt_index\":0,"
          "\"content_filter_results\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}}}]}")
         CHUNK(DELTA("\"content\":\"<\""), "") CHUNK(DELTA("\"content\":\">\""), "")
             DATA("{\"id\":\"\",\"object\":\"\",\"created\":0,\"model\":\"\",\"choices\":[{\"index\":0,\"finish_"
                  "reason\":null,"
                  "\"content_filter_results\":{},\"content_filter_offsets\":{\"check_offset\":5}}]}")
                 CHUNK(DELTA("\"context\":{\"citations\":[{\"content\":\"#\",\"title\":\"#\"}],\"intent\":\"#\"}"), "")
                     CHUNK(LAST, "") DONE,
     FILTERED},
    {"Gemini: signatures beside calls",
     CHUNK(DELTA("\"content\":\"<\",\"extra_content\":{\"google\":{\"thought_signature\":\"BOMBSECRET\"}}"), "")
         CHUNK(DELTA("\"content\":\">\""), "") CHUNK(LAST, USAGE) DONE,
     FILTERED},
    {"Perplexity: a message beside the piece, sources, pictures",
     CHUNK("{\"index\":0,\"delta\":{\"content\":\"<\"},\"message\":{\"role\":\"assistant\",\"content\":\"#\"},\"finish_"
           "reason\":null}",
           ",\"citations\":[\"#\"],\"search_results\":[{\"title\":\"#\",\"snippet\":\"#\"}]")
         CHUNK("{\"index\":0,\"delta\":{\"content\":\">\"},\"finish_reason\":\"stop\"}",
               ",\"images\":[{\"title\":\"#\"}],\"related_questions\":[\"#\"]") DONE,
     FILTERED},
    {"xAI: what it did",
     CHUNK(DELTA("\"reasoning_content\":\"<\""), "") CHUNK(DELTA("\"reasoning_content\":\">\""), "")
         CHUNK(LAST, ",\"debug_output\":{\"responses\":[\"#\"]}") DONE,
     FILTERED},
};

#define EVENT(type, more) "event: " type "\ndata: {\"type\":\"" type "\"" more "}\n\n"
#define BLOCK(n, block) EVENT("content_block_start", ",\"index\":" n ",\"content_block\":{" block "}")
#define PIECE(n, delta) EVENT("content_block_delta", ",\"index\":" n ",\"delta\":{" delta "}")
#define STOP(n) EVENT("content_block_stop", ",\"index\":" n)
#define BEGIN                                                                                                          \
  EVENT("message_start", ",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],"      \
                         "\"usage\":{\"input_tokens\":1,\"service_tier\":\"standard\"},\"container\":null}")
#define END                                                                                                            \
  EVENT("message_delta",                                                                                               \
        ",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_details\":{\"type\":\"refusal\",\"explanation\":\"#\"}},"     \
        "\"usage\":{\"output_tokens\":1},\"context_management\":{\"applied_edits\":[]}")                               \
  EVENT("message_stop", ",\"amazon-bedrock-invocationMetrics\":{\"inputTokenCount\":3}")
#define REFUSED "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"

static const struct form messages_forms[] = {
    {"Anthropic: a search, citations, signatures",
     BEGIN BLOCK("0", "\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"") PIECE(
         "0", "\"type\":\"thinking_delta\",\"thinking\":\"<\"") PIECE("0",
                                                                      "\"type\":\"thinking_delta\",\"thinking\":\">\"")
         PIECE("0", "\"type\":\"signature_delta\",\"signature\":\"BOMBSECRET\"") STOP("0")
             BLOCK("1", "\"type\":\"server_tool_use\",\"id\":\"s\",\"name\":\"web_search\",\"input\":{}")
                 PIECE("1", "\"type\":\"input_json_delta\",\"partial_json\":\"<\"")
                     PIECE("1", "\"type\":\"input_json_delta\",\"partial_json\":\">\"") STOP("1") BLOCK(
                         "2", "\"type\":\"web_search_tool_result\",\"tool_use_id\":\"s\",\"content\":[{\"type\":\"web_"
                              "search_result\",\"title\":\"#\",\"url\":\"#\",\"encrypted_content\":\"BOMBSECRET\"}]")
                         STOP("2") BLOCK("3", "\"type\":\"text\",\"text\":\"\",\"citations\":[]")
                             PIECE("3", "\"type\":\"citations_delta\",\"citation\":{\"cited_text\":\"#\",\"encrypted_"
                                        "index\":\"BOMBSECRET\"}") PIECE("3", "\"type\":\"text_delta\",\"text\":\"<\"")
                                 PIECE("3", "\"type\":\"text_delta\",\"text\":\">\"") STOP("3") END,
     REFUSED},
    {"Anthropic: compaction, what tools printed",
     BEGIN BLOCK("0", "\"type\":\"compaction\",\"content\":null,\"encrypted_content\":null") PIECE(
         "0", "\"type\":\"compaction_delta\",\"content\":\"<\",\"encrypted_content\":\"BOMBSECRET\"")
         PIECE("0", "\"type\":\"compaction_delta\",\"content\":\">\",\"encrypted_content\":null") STOP("0") BLOCK(
             "1", "\"type\":\"bash_code_execution_tool_result\",\"tool_use_id\":\"s\",\"content\":{\"stdout\":\"#"
                  "\",\"stderr\":\"#\"}") STOP("1")
             BLOCK(
                 "2",
                 "\"type\":\"mcp_tool_result\",\"tool_use_id\":\"s\",\"content\":[{\"type\":\"text\",\"text\":\"#\"}]")
                 STOP("2") BLOCK("3", "\"type\":\"web_fetch_tool_result\",\"content\":{\"content\":{\"source\":{"
                                      "\"type\":\"text\",\"data\":\"#\"}}}") STOP("3") END,
     REFUSED},
};

static const struct form whole_forms[] = {
    {"a whole message with details of its stop",
     "{\"type\":\"message\",\"id\":\"BOMBSECRET\",\"content\":[{\"type\":\"text\",\"text\":\"#\"}],\"stop_reason\":"
     "\"refusal\","
     "\"stop_details\":{\"type\":\"refusal\",\"explanation\":\"#\"},\"usage\":{\"output_tokens\":1}}",
     "refusal"},
    {"a whole chat answer behind the blank lines that keep a connection open",
     "\n\n\n{\"id\":\"c\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"#\",\"images\":[{"
     "\"image_url\":"
     "{\"url\":\"data:image/png;base64,BOMBSECRET\"}}]},\"finish_reason\":\"stop\"}],\"__verbose\":{\"content\":\"#\"},"
     "\"trace_id\":\"BOMBSECRET\"}",
     "content_filter"},
};

/* The form with its texts in place. Ciphertext, ids and pictures in it hold the words too: they are no text, and stay.
 */
static struct slice fill(const char *form, const char *first, const char *second, const char *whole,
                         struct buffer *out) {
  struct sluice_error err = {0};
  buffer_clear(out);
  for (const char *c = form; *c; c++) {
    const char *with = *c == '<' ? first : *c == '>' ? second : *c == '#' ? whole : NULL;
    assert_int_equal(with ? buffer_append_str(out, with, &err) : buffer_append(out, c, 1, &err), SLUICE_OK);
  }
  return (struct slice){out->ptr, out->len};
}

static size_t count(struct slice s, const char *word) {
  size_t n = 0, len = strlen(word);
  for (size_t i = 0; i + len <= s.len; i++) n += memcmp(s.ptr + i, word, len) == 0;
  return n;
}

static bool has(const struct result *r, const char *word) {
  return r->out.len && count((struct slice){r->out.ptr, r->out.len}, word) > 0;
}

static void run(const struct form *f, struct wire_filter_options o, struct slice in, struct result *r) {
  unsigned char *cuts = calloc(in.len + 1, 1);
  run_cut(&o, in, cuts, r);
  free(cuts);
  if (r->st) fail_msg("%s: %s", f->name, r->err.message);
}

static void check_form(const struct form *f, struct wire_filter_options o) {
  struct buffer text;
  struct result r = {0};
  buffer_init(&text, 0);
  struct slice in = fill(f->text, "fine ", "words", "all well", &text);
  check_bytes(o, in, in, false);

  size_t kept = count(slice_of(f->text), "SECRET");
  in = fill(f->text, "the SEC", "RET is", "a SECRET too", &text);
  run(f, o, in, &r);
  if (count((struct slice){r.out.ptr, r.out.len}, "SECRET") != kept || has(&r, "the SEC") || has(&r, "\"RET"))
    fail_msg("%s: not all is masked:\n%.*s", f->name, (int)r.out.len, r.out.ptr);
  if (count((struct slice){r.out.ptr, r.out.len}, "[masked]") !=
      count(slice_of(f->text), "<") + count(slice_of(f->text), "#"))
    fail_msg("%s: a mask is missing:\n%.*s", f->name, (int)r.out.len, r.out.ptr);

  size_t n = strlen(f->ending);
  for (const char *mark = f->text; *mark; mark++) { /* every place alone */
    if (*mark != '#' && *mark != '<') continue;
    char *alone = strdup(f->text);
    for (char *c = alone; *c; c++)
      if ((*c == '#' || *c == '<') && c - alone != mark - f->text) *c = ' ';
    for (char *c = alone; *c; c++)
      if (*c == '>' && *mark == '#') *c = ' ';
    in = fill(alone, "the BO", "MB is", "a BOMB too", &text);
    run(f, o, in, &r);
    bool ended = o.format == WIRE_JSON ? has(&r, f->ending)
                                       : r.out.len >= n && memcmp(r.out.ptr + r.out.len - n, f->ending, n) == 0;
    if (!r.stopped || !ended || has(&r, "a BOMB") || has(&r, "the BO"))
      fail_msg("%s, text %td: no stop, or a wrong ending:\n%.*s", f->name, mark - f->text, (int)r.out.len, r.out.ptr);
    free(alone);
  }
  buffer_free(&r.out);
  buffer_free(&text);
}

static void test_chat(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof chat_forms / sizeof *chat_forms; i++) check_form(&chat_forms[i], SSE);
}

static void test_messages(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof messages_forms / sizeof *messages_forms; i++) check_form(&messages_forms[i], SSE);
}

static void test_whole(void **state) {
  (void)state;
  for (size_t i = 0; i < sizeof whole_forms / sizeof *whole_forms; i++)
    check_form(&whole_forms[i], (struct wire_filter_options){.format = WIRE_JSON});
}

/* A token whose bytes are left empty is the word that stands for it. */
static void test_tokens_without_bytes(void **state) {
  (void)state;
  struct result r = {0};
  const struct form f = {"tokens without bytes", "", NULL};
  static const char text[] = CHUNK("{\"index\":0,\"delta\":{\"content\":\"x\"},\"logprobs\":{\"content\":[{\"token\":"
                                   "\"SECRET\",\"logprob\":-1,\"bytes\":[],"
                                   "\"top_logprobs\":[]}]},\"finish_reason\":null}",
                                   "") CHUNK(LAST, "") DONE;
  run(&f, SSE, slice_of(text), &r);
  assert_false(has(&r, "SECRET"));
  buffer_free(&r.out);
}

/* What only looks like a picture is text. */
static void test_no_picture(void **state) {
  (void)state;
  static const char *const urls[] = {"data:image/png;base64,a SECRET b", "data:image/png,SECRET",
                                     "data:text/plain;base64,SECRET", "data:image/png;base64,\\u0053ECRET"};
  for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
    struct result r = {0};
    struct buffer in;
    struct sluice_error err = {0};
    const struct form f = {"no picture", "", NULL};
    buffer_init(&in, 0);
    assert_int_equal(buffer_printf(&in, &err,
                                   CHUNK(DELTA("\"images\":[{\"image_url\":{\"url\":\"%s\"}}]"), "") CHUNK(LAST, ""),
                                   urls[i]),
                     SLUICE_OK);
    run(&f, SSE, (struct slice){in.ptr, in.len}, &r);
    if (has(&r, "ECRET")) fail_msg("%s", urls[i]);
    buffer_free(&r.out);
    buffer_free(&in);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_chat),       cmocka_unit_test(test_messages),
      cmocka_unit_test(test_whole),      cmocka_unit_test(test_tokens_without_bytes),
      cmocka_unit_test(test_no_picture),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
