/* A blocked request answered as if the model had refused: a whole answer or a stream of it, in the form that was asked
 * in, for clients that take an error for a fault. */
#include "wire/asked.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* In a template $M is the model, $T the words, both JSON strings; $C the time in seconds, $I the request's number. */
#define CHAT_HEAD(object)                                                                                              \
  "{\"id\":\"chatcmpl-sluice-$I\",\"object\":\"" object "\",\"created\":$C,\"model\":$M,\"choices\":[{\"index\":0,"
#define OLD_BODY                                                                                                       \
  "{\"id\":\"cmpl-sluice-$I\",\"object\":\"text_completion\",\"created\":$C,\"model\":$M,\"choices\":[{\"index\":0,"   \
  "\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"content_filter\"}]"
#define NO_USAGE ",\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}"
#define RESPONSE(status, details, output)                                                                              \
  "{\"id\":\"resp_sluice_$I\",\"object\":\"response\",\"created_at\":$C,\"status\":\"" status                          \
  "\",\"error\":null,\"incomplete_details\":" details ",\"instructions\":null,\"metadata\":{},\"model\":$M,"           \
  "\"output\":" output ",\"parallel_tool_calls\":true,\"temperature\":null,\"tool_choice\":\"auto\",\"tools\":[],"     \
  "\"top_p\":null,\"usage\":null}"
#define REASON "{\"reason\":\"content_filter\"}"
#define PART(text) "{\"type\":\"refusal\",\"refusal\":" text "}"
#define ITEM(status, content)                                                                                          \
  "{\"id\":\"msg_sluice_$I\",\"type\":\"message\",\"status\":\"" status                                                \
  "\",\"role\":\"assistant\",\"content\":[" content "]}"
#define OF_ITEM "\"item_id\":\"msg_sluice_$I\",\"output_index\":0,\"content_index\":0,"
#define EVENT(type, rest) "event: " type "\ndata: {\"type\":\"" type "\"," rest "}\n\n"
#define NUMBERED(n, type, rest) EVENT("response." type, "\"sequence_number\":" #n "," rest)

static const struct {
  const char *whole, *stream;
} forms[] = {
    [FORM_CHAT] = {CHAT_HEAD("chat.completion") "\"message\":{\"role\":\"assistant\",\"content\":null,\"refusal\":$T},"
                                                "\"logprobs\":null,\"finish_reason\":\"content_filter\"}]" NO_USAGE "}",
                   "data: " CHAT_HEAD(
                       "chat.completion.chunk") "\"delta\":{\"role\":\"assistant\",\"content\":\"\","
                                                "\"refusal\":$T},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
                                                "data: " CHAT_HEAD(
                                                    "chat.completion.chunk") "\"delta\":{},\"logprobs\":null,"
                                                                             "\"finish_reason\":\"content_filter\"}]}"
                                                                             "\n\ndata: [DONE]\n\n"},
    [FORM_COMPLETIONS] = {OLD_BODY NO_USAGE "}", "data: " OLD_BODY "}\n\ndata: [DONE]\n\n"},
    [FORM_RESPONSES] = {RESPONSE("incomplete", REASON, "[" ITEM("incomplete", PART("$T")) "]"),
                        NUMBERED(0, "created", "\"response\":" RESPONSE("in_progress", "null", "[]"))
                            NUMBERED(1, "output_item.added", "\"output_index\":0,\"item\":" ITEM("in_progress", ""))
                                NUMBERED(2, "content_part.added", OF_ITEM "\"part\":" PART("\"\"")) NUMBERED(
                                    3, "refusal.delta", OF_ITEM "\"delta\":$T") NUMBERED(4, "refusal.done",
                                                                                         OF_ITEM "\"refusal\":$T")
                                    NUMBERED(5, "content_part.done", OF_ITEM "\"part\":" PART("$T"))
                                        NUMBERED(6, "output_item.done",
                                                 "\"output_index\":0,\"item\":" ITEM("incomplete", PART("$T")))
                                            NUMBERED(7, "incomplete",
                                                     "\"response\":" RESPONSE("incomplete", REASON,
                                                                              "[" ITEM("incomplete", PART("$T")) "]"))},
    [FORM_MESSAGES] =
        {"{\"id\":\"msg_sluice_$I\",\"type\":\"message\",\"role\":\"assistant\",\"model\":$M,\"content\":[{\"type\":"
         "\"text\","
         "\"text\":$T}],\"stop_reason\":\"refusal\",\"stop_sequence\":null,\"usage\":{\"input_tokens\":0,\"output_"
         "tokens\":0}}",
         EVENT("message_start",
               "\"message\":{\"id\":\"msg_sluice_$I\",\"type\":\"message\",\"role\":\"assistant\",\"model\":$M,"
               "\"content\":[],"
               "\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}")
             EVENT("content_block_start", "\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}")
                 EVENT("content_block_delta", "\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":$T}")
                     EVENT("content_block_stop", "\"index\":0")
                         EVENT("message_delta",
                               "\"delta\":{\"stop_reason\":\"refusal\",\"stop_sequence\":null},\"usage\":{\"output_"
                               "tokens\":0}") "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"},
};

sluice_status refusal_answer(enum answer_form form, bool stream, struct slice model, uint64_t request,
                             const char *words, struct buffer *out, struct sluice_error *err) {
  const char *at = stream ? forms[form].stream : forms[form].whole;
  sluice_status st = SLUICE_OK;
  while (!st && *at) {
    size_t n = strcspn(at, "$");
    st = buffer_append(out, at, n, err);
    at += n;
    if (st || !*at) break;
    char what = at[1];
    at += 2;
    if (what == 'M')
      st = buffer_append(out, model.len ? model.ptr : "\"\"", model.len ? model.len : 2, err);
    else if (what == 'T')
      st = json_quote(out, words, strlen(words), err);
    else if (what == 'C')
      st = buffer_printf(out, err, "%" PRId64, clock_wall_ns() / 1000000000);
    else
      st = buffer_printf(out, err, "%" PRIu64, request);
  }
  return st;
}
