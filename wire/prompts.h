/* Private to wire/: what a request asks of a model, judged before it is sent. */
#ifndef SLUICE_WIRE_PROMPTS_H
#define SLUICE_WIRE_PROMPTS_H

#include "wire/wire.h"

struct prompts_verdict {
  bool stopped, changed;
  size_t texts;  /* judged */
  size_t unread; /* parts that are no text */
};
/* dialect: "openai_chat", "openai_completions", "openai_responses" or "anthropic". Each text goes through the gate on
 * the channel WIRE_PROMPT and is decided at once; `out` gets the request with its masks when v->changed. What cannot be
 * read with certainty (no JSON, a key twice, token ids) is an error: SLUICE_INPUT, SLUICE_UNSUPPORTED. */
sluice_status prompts_judge(const char *dialect, struct slice body, const struct wire_gate *gate, struct buffer *out,
                            struct prompts_verdict *v, struct sluice_error *err);

#endif
