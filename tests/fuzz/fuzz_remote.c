/* A server's streamed answer: however it is cut, the same text, result and fault; and the body of an error. */
#include "engine/remote.h"
#include "fuzz.h"

struct answer {
  struct buffer text;
  struct remote_stream_result result;
  struct remote_fault fault;
};

static bool listen(void *ctx, const struct piece *piece) {
  (void)ctx, (void)piece;
  return true;
}

static void read_answer(struct slice in, struct cuts cuts, struct answer *a) {
  struct remote_stream *s = NULL;
  struct sluice_error err;
  PROMISE(remote_stream_open(listen, NULL, &a->text, &s, &err) == SLUICE_OK);
  bool more = true;
  while (more && in.len) {
    struct slice piece = next_piece(&cuts, &in);
    more = remote_stream_push(s, piece.ptr, piece.len, &a->fault);
  }
  if (more) remote_stream_end(s, &a->fault);
  a->result = *remote_stream_result(s);
  remote_stream_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct answer whole = {0}, cut = {0};
  struct slice in = {(const char *)data, size};
  char message[100], code[20];
  read_answer(in, (struct cuts){.whole = true}, &whole);
  read_answer(in, (struct cuts){.data = data, .size = size}, &cut);
  PROMISE(whole.fault.class == cut.fault.class && same_bytes(&whole.text, &cut.text));
  PROMISE(whole.result.finished == cut.result.finished && whole.result.outcome == cut.result.outcome);
  PROMISE(whole.result.output_tokens == cut.result.output_tokens && whole.result.emitted == cut.result.emitted);
  remote_error_text(in, message, sizeof message, code, sizeof code);
  PROMISE(strlen(message) < sizeof message && strlen(code) < sizeof code && !strchr(message, '\n'));
  buffer_free(&whole.text);
  buffer_free(&cut.text);
  return 0;
}
