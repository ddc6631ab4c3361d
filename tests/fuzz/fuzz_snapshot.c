/* A session's snapshot with damage: [policy][tokens] then [offset lo][hi][byte]... Whatever is restored can go on, and
 * what is refused leaves the session as it was. The checksum is made right again, so that it hides nothing. */
#include "fuzz.h"
#include "tests/random_model.h"

static const char *const POLICIES[] = {"full",
                                       "window:budget=24",
                                       "streaming:sinks=4,budget=24",
                                       "sirllm:budget=24",
                                       "random:budget=24",
                                       "interval:budget=24",
                                       "recompute:budget=24"};
enum { N_POLICIES = sizeof POLICIES / sizeof *POLICIES, TEXT = 64 };

static void feed(struct session *s, int n) {
  struct sluice_error err;
  int32_t ids[TEXT];
  for (int i = 0; i < n; i++) ids[i] = (i * 7 + 3) % 50;
  if (n) PROMISE(session_append(s, ids, (size_t)n, NULL, 0, &err) == SLUICE_OK);
  PROMISE(session_end_turn(s, &err) == SLUICE_OK);
}

static void damage(unsigned char *bytes, size_t *len, const uint8_t *data, size_t size) {
  size_t body = *len - sizeof(uint64_t);
  for (; size >= 3; data += 3, size -= 3) bytes[(data[0] | (size_t)data[1] << 8) % body] = data[2];
  if (size == 2) body -= (data[0] | (size_t)data[1] << 8) % body; /* cut short */
  const uint64_t sum = hash64(bytes, body);
  memcpy(bytes + body, &sum, sizeof sum);
  *len = body + sizeof sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct random_model m;
  struct sluice_error err;
  struct session *a = NULL, *b = NULL;
  unsigned char *bytes = NULL, *before = NULL, *after = NULL;
  size_t len = 0, n_before = 0, n_after = 0;
  if (size < 2) return 0;
  if (!m.model.layers)
    random_model_make(&m,
                      &(struct random_shape){.n_layers = 1,
                                             .d = 8,
                                             .heads = 2,
                                             .kv_heads = 1,
                                             .head_dim = 4,
                                             .ff = 8,
                                             .vocab = 50,
                                             .dtype = DTYPE_F32,
                                             .tied = true},
                      3);
  struct session_options o = {.policy = POLICIES[data[0] % N_POLICIES], .kernel = "portable", .seed = 5};
  if (session_open(&m.model, &o, &a, &err) || session_open(&m.model, &o, &b, &err)) {
    fprintf(stderr, "%s\n", err.message);
    abort();
  }
  feed(a, data[1] % TEXT);
  feed(b, data[1] / 4 % TEXT);
  PROMISE(session_snapshot(a, &bytes, &len, &err) == SLUICE_OK);
  PROMISE(session_snapshot(b, &before, &n_before, &err) == SLUICE_OK);
  damage(bytes, &len, data + 2, size - 2);
  if (session_restore(b, bytes, len, &err)) {
    PROMISE(session_snapshot(b, &after, &n_after, &err) == SLUICE_OK);
    PROMISE(n_before == n_after && memcmp(before, after, n_before) == 0);
  } else {
    PROMISE(session_snapshot(b, &after, &n_after, &err) == SLUICE_OK);
    int32_t ids[] = {1, 2, 3, 4, 5};
    for (int i = 0; i < 8; i++)
      if (session_append(b, ids, 5, NULL, 0, &err)) break;
    session_end_turn(b, &err);
  }
  free(bytes);
  free(before);
  free(after);
  session_close(a);
  session_close(b);
  return 0;
}
