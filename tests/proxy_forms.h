/* Answers of the forms besides Chat Completions, as a scripted upstream sends them: the policy of the tests masks
 * "SECRET" as "[x]" and stops at "BOMB". Header only, because each test program is one file. */
#ifndef SLUICE_TESTS_PROXY_FORMS_H
#define SLUICE_TESTS_PROXY_FORMS_H

struct proxy_form {
  const char *name, *path;
  const char *clean, *masked, *stopped, *broken; /* bodies of streams; broken: then the connection is reset */
  const char *whole, *whole_masked, *whole_stopped, *whole_shown;
  const char *ending[3];      /* stand in the stream after a stop; the first one its last event */
  const char *whole_ending;   /* stands in a whole answer after a stop */
  const char *error_event;    /* the last event of a broken stream begins so, apart from what it broke off in */
  const char *error, *reason; /* a refusal's body begins so, and names its code */
};

#define A_EVENT(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"" rest "}\n\n"
#define A_BEGIN                                                                                                        \
  A_EVENT("message_start",                                                                                             \
          ",\"message\":{\"id\":\"m1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],"    \
          "\"stop_reason\":null,\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}")                                  \
  A_EVENT("ping", "")                                                                                                  \
  A_EVENT("content_block_start", ",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
#define A_TEXT(text)                                                                                                   \
  A_EVENT("content_block_delta", ",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"" text "\"}")
#define A_STOP A_EVENT("message_stop", "")
#define A_END                                                                                                          \
  A_EVENT("content_block_stop", ",\"index\":0")                                                                        \
  A_EVENT("message_delta", ",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":9}") A_STOP
#define A_WHOLE(text, reason)                                                                                          \
  "{\"id\":\"m1\",\"type\":\"message\",\"content\":[{\"type\":\"text\",\"text\":\"" text                               \
  "\"}],\"stop_reason\":\"" reason "\"}"

#define R_EVENT(type, n, rest)                                                                                         \
  "event: response." type "\ndata: {\"type\":\"response." type "\",\"sequence_number\":" #n rest "}\n\n"
#define R_PART ",\"item_id\":\"i1\",\"output_index\":0,\"content_index\":0"
#define R_BEGIN                                                                                                        \
  R_EVENT("created", 0, ",\"response\":{\"id\":\"r1\",\"object\":\"response\",\"model\":\"m\",\"output\":[]}")
#define R_TEXT(n, text) R_EVENT("output_text.delta", n, R_PART ",\"delta\":\"" text "\"")
#define R_WHOLE(text, status)                                                                                          \
  "{\"id\":\"r1\",\"object\":\"response\",\"status\":\"" status                                                        \
  "\",\"output\":[{\"type\":\"message\",\"id\":\"i1\",\"content\":[{\"type\":\"output_text\",\"text\":\"" text         \
  "\",\"annotations\":[]}]}]}"
#define R_END(n, m, text)                                                                                              \
  R_EVENT("output_text.done", n, R_PART ",\"text\":\"" text "\"")                                                      \
  R_EVENT("completed", m, ",\"response\":" R_WHOLE(text, "completed"))

static const struct proxy_form proxy_forms[] = {
    {.name = "Messages",
     .path = "/v1/messages",
     .clean = ": hello\n\n" A_BEGIN A_TEXT("One ") A_TEXT("SEC and ") A_TEXT("caf\xc3\xa9") A_END,
     .masked = A_BEGIN A_TEXT("a SEC") A_TEXT("RET b") A_END,
     .stopped = A_BEGIN A_TEXT("how to: BO") A_TEXT("MB is ") A_TEXT("never seen "),
     .broken = A_BEGIN
     "data: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"all is well \"}}",
     .whole = A_WHOLE("fine", "end_turn"),
     .whole_masked = A_WHOLE("a SECRET b", "end_turn"),
     .whole_shown = A_WHOLE("a [x] b", "end_turn"),
     .whole_stopped = A_WHOLE("a BOMB b", "end_turn"),
     .ending = {A_STOP, "\"stop_reason\":\"refusal\"", "event: content_block_stop\n"},
     .whole_ending = "\"stop_reason\":\"refusal\"",
     .error_event = "\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\""
                    "upstream_error: ",
     .error = "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"",
     .reason = "\"message\":\"answer_not_judged: "},
    {.name = "Responses",
     .path = "/v1/responses",
     .clean = R_BEGIN R_TEXT(1, "One ") R_TEXT(2, "SEC and ") R_TEXT(3, "two") R_END(4, 5, "One SEC and two"),
     .masked = R_BEGIN R_TEXT(1, "a SEC") R_TEXT(2, "RET b") R_END(3, 4, "a SECRET b"),
     .stopped = R_BEGIN R_TEXT(1, "how to: BO") R_TEXT(2, "MB is ") R_TEXT(3, "never seen "),
     .broken = R_BEGIN R_TEXT(1, "all is well "),
     .whole = R_WHOLE("fine", "completed"),
     .whole_masked = R_WHOLE("a SECRET b", "completed"),
     .whole_shown = R_WHOLE("a [x] b", "completed"),
     .whole_stopped = R_WHOLE("a BOMB b", "completed"),
     .ending = {"\"output\":[],\"usage\":null}}\n\n", "event: response.incomplete\n", "\"reason\":\"content_filter\""},
     .whole_ending = "\"status\":\"incomplete\"",
     .error_event =
         "\n\nevent: error\ndata: {\"type\":\"error\",\"sequence_number\":2,\"code\":\"upstream_error\",\"param\":"
         "null,\"message\":\"",
     .error = "{\"error\":{\"message\":\"",
     .reason = "\"code\":\"answer_not_judged\""},
};

#endif
