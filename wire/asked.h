/* Private to wire/: a judged request between its arrival and its sending. */
#ifndef SLUICE_WIRE_ASKED_H
#define SLUICE_WIRE_ASKED_H

#include "wire/proxy.h"

extern const char *const asked_dialects[]; /* by enum answer_form */
struct asked_refusal {                     /* what the client is told; words stand in the exchange's error */
  int status;
  const char *code;
};
/* Opens the gates of the exchange and judges its prompts: their masks are in the client's body afterwards. Not
 * SLUICE_OK: the request must not be sent. x->blocked: because a rule stopped it. x->beside: nothing is said yet,
 * exchange_asked will be called with it. */
sluice_status asked_judge(struct exchange *x, struct asked_refusal *why);
void exchange_asked(struct exchange *x, sluice_status st, const struct asked_refusal *why);
/* Answers a blocked request as a refusal of the model. */
sluice_status asked_answer(struct exchange *x, struct sluice_error *err);

/* refusal.c. model: as JSON; "". */
sluice_status refusal_answer(enum answer_form form, bool stream, struct slice model, uint64_t request,
                             const char *words, struct buffer *out, struct sluice_error *err);

#endif
