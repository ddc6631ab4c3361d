/* libFuzzer target: what a request asks of a model through a policy. The first byte chooses the interface (c, t, r, a).
 * What leaves with masks is JSON again, says no more than came, and holds nothing that a second look would mask or
 * stop at. */
#include "cli/gate.c" /* the program's own joint between the rooms; it is not part of the library */
#include "fuzz.h"
#include "wire/prompts.h"

static const char policy_text[] =
    "{\"limits\":{\"max_match\":40},\"rules\":["
    "{\"id\":\"a\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"SECRET\",\"mask\":\"-\"},"
    "{\"id\":\"b\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"4[0-9]{3}\",\"views\":[\"raw\"],\"mask\":\"-\"}"
    ","
    "{\"id\":\"e\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"B[A-Z]MB\"}]}";

static const char *dialect_of(uint8_t c) {
  return c == 't' ? "openai_completions" : c == 'r' ? "openai_responses" : c == 'a' ? "anthropic" : "openai_chat";
}

static sluice_status judge(struct monitor *m, const char *dialect, struct slice body, struct buffer *out,
                           struct prompts_verdict *v) {
  struct sluice_error err = {0};
  struct gate g;
  gate_open(&g, m);
  struct wire_gate gate = gate_for_wire(&g);
  sluice_status st = prompts_judge(dialect, body, &gate, out, v, &err);
  if (st) PROMISE(err.message[0]);
  gate_close(&g);
  return st;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct monitor_policy *p;
  static struct monitor *m;
  struct sluice_error err;
  struct prompts_verdict v, again;
  struct buffer out = {0}, second = {0};
  if (!p &&
      (monitor_policy_parse("fuzz", NULL, slice_of(policy_text), &p, &err) || monitor_open(p, NULL, NULL, &m, &err)))
    abort();
  if (size < 2) return 0;
  struct slice body = {(const char *)data + 1, size - 1};
  const char *dialect = dialect_of(data[0]);
  if (!judge(m, dialect, body, &out, &v) && v.changed) {
    struct json_span root;
    struct slice masked = {out.ptr, out.len};
    PROMISE(!v.stopped && !json_span_root(masked, &root, &err));
    PROMISE(!judge(m, dialect, masked, &second, &again));
    PROMISE(!again.stopped && !again.changed && again.texts == v.texts && again.unread == v.unread);
  } else {
    PROMISE(out.len == 0);
  }
  buffer_free(&out);
  buffer_free(&second);
  return 0;
}
