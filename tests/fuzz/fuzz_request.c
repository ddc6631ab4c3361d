/* A request that `sluice serve` reads, strictly: what is taken is within the bounds that it names. */
#include "fuzz.h"
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct slice json = {(const char *)data, size};
  for (int chat = 0; chat < 2; chat++) {
    struct sluice_error err;
    struct wire_request r;
    err.message[0] = '\0';
    sluice_status st = wire_request_read(chat, json, &r, &err);
    if (st) PROMISE(err.message[0]);
    if (!st) {
      PROMISE(r.n >= 1 && r.n <= WIRE_CHOICES_MAX && r.n_stop <= WIRE_STOPS_MAX && r.n_messages <= WIRE_MESSAGES_MAX);
      PROMISE(chat ? r.n_messages > 0 : r.n_prompts > 0);
      PROMISE(r.top_logprobs <= WIRE_TOP_MAX);
      size_t sum = 0;
      for (size_t i = 0; i < r.n_messages; i++)
        for (size_t k = 0; k < r.messages[i].text.len; k++) sum += (unsigned char)r.messages[i].text.ptr[k];
      for (size_t i = 0; i < r.n_prompts; i++) {
        sum += r.prompts[i].text.len;
        for (size_t k = 0; r.prompts[i].ids && k < r.prompts[i].n_ids; k++) sum += (size_t)r.prompts[i].ids[k];
      }
      (void)sum;
    }
    wire_request_free(&r);
  }
  return 0;
}
