/* Text through the monitor against its definition (tests/monitor_reference.h), for every way that a rule can be: the
 * first two bytes choose the rules. */
#include "fuzz.h"
#include "monitor/monitor.h"
#include "sluice/sluice.h"
#include "tests/monitor_reference.h"

static const struct ref_rule RULES[] = {
    {"key=(\\w+);", "mask", 1, {0}, 0, 0, NULL},
    {"SECRET", "mask", 0, {0}, 0, 0, NULL},
    {"\\w+@\\w+\\.\\w{2,4}", "mask", 0, {"@"}, 1, 64, NULL},
    {"B[A-Z]MB", "stop", 0, {0}, 0, 0, NULL},
    {"\\b\\d{3}-\\d{2}\\b", "mask", 0, {0}, 0, 0, NULL},
    {"(?<=a)b+(?=c)", "mask", 0, {0}, 0, 20, NULL},
    {"(a|b)\\1+", "mask", 0, {0}, 0, 24, NULL},
    {"token[ =]+(\\S{4,12})", "mask", 1, {"token"}, 2, 0, "i"},
    {"^> .*$", "mask", 0, {0}, 0, 30, "m"},
    {"x(?=y)|(?!q)zz", "stop", 0, {0}, 0, 0, NULL},
    {"never (?&x)|((?<x>ever))", "mask", 1, {0}, 0, 0, NULL},
    {"\\p{Lu}\\X{2}", "mask", 0, {0}, 0, 16, NULL},
    {"(?:ab?){2,5}(c)", "mask", 1, {"c"}, 0, 12, NULL},
    {"caf\xc3\xa9|na\xc3\xafve", "mask", 0, {0}, 0, 0, "i"},
    {"s.t", "flag", 0, {0}, 0, 0, "s"},
    {"\\R{2}", "mask", 0, {0}, 0, 8, NULL},
};
enum { N_RULES = sizeof RULES / sizeof *RULES, TEXT_MAX = 120, KEPT = 64 };

static void write_policy(const struct ref_rule *rules, size_t n, struct buffer *out) {
  struct sluice_error err;
  static const char *const holds[] = {"match", "word", "after"};
  buffer_append_str(out, "{\"rules\":[", &err);
  for (size_t i = 0; i < n; i++) {
    const struct ref_rule *r = &rules[i];
    buffer_printf(
        out, &err,
        "%s{\"id\":\"r%zu\",\"category\":\"c\",\"action\":\"%s\",\"max_match\":%zu,\"protect\":%d,\"views\":[\"raw\"]",
        i ? "," : "", i, r->action, r->max_match ? r->max_match : 512, r->protect);
    if (r->keywords[0])
      buffer_printf(out, &err, ",\"hold\":\"%s\",\"keywords\":[\"%s\"]", holds[r->hold], r->keywords[0]);
    if (r->flags) buffer_printf(out, &err, ",\"flags\":\"%s\"", r->flags);
    buffer_append_str(out, ",\"pattern\":", &err);
    json_quote(out, r->pattern, strlen(r->pattern), &err);
    buffer_append_str(out, "}", &err);
  }
  buffer_append_str(out, "]}", &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct sluice_failure why;
  struct sluice_error err;
  static struct {
    unsigned chosen;
    struct sluice_policy *policy;
  } kept[KEPT]; /* compiling takes longer than matching */
  struct sluice_stream *s = NULL;
  const struct sluice_verdict *v = NULL;
  struct ref_rule rules[N_RULES];
  size_t n = 0;
  if (size < 3) return 0;
  for (size_t i = 0; i < N_RULES; i++)
    if (data[i / 8] >> (i % 8) & 1) rules[n++] = RULES[i];
  if (!n) return 0;
  struct buffer json, out;
  buffer_init(&json, 0);
  buffer_init(&out, 0);
  unsigned chosen = data[0] | (unsigned)data[1] << 8;
  struct sluice_policy **p = &kept[hash64(data, 2) % KEPT].policy;
  if (kept[hash64(data, 2) % KEPT].chosen != chosen) {
    sluice_policy_unref(*p);
    *p = NULL;
    write_policy(rules, n, &json);
    if (sluice_policy_parse("input", NULL, json.ptr, json.len, p, &why)) fprintf(stderr, "%s\n", why.message);
    PROMISE(*p); /* every rule of the table loads */
    kept[hash64(data, 2) % KEPT].chosen = chosen;
  }
  struct slice text = {(const char *)data + 2, size - 2 < TEXT_MAX ? size - 2 : TEXT_MAX}, rest = text;
  struct cuts cuts = {.data = data, .size = size};
  PROMISE(sluice_stream_open(*p, NULL, &s, &why) == 0);
  while (rest.len) {
    struct slice piece = next_piece(&cuts, &rest);
    PROMISE(sluice_stream_push(s, piece.ptr, piece.len, &v, &why) == 0);
    buffer_append(&out, v->text, v->text_size, &err);
  }
  PROMISE(sluice_stream_finish(s, &v, &why) == 0);
  buffer_append(&out, v->text, v->text_size, &err);
  bool stopped = false, given_up = sluice_stream_counts(s)->not_scanned > 0;
  static char want[64 + 64 * TEXT_MAX];
  size_t len = ref_filter(rules, n, text.ptr, text.len, want, &stopped);
  if (!given_up) {
    PROMISE(stopped == (v->action == SLUICE_STOP));
    PROMISE(slice_equal((struct slice){out.ptr, out.len}, (struct slice){want, len}));
  }
  sluice_stream_close(s);
  buffer_free(&json);
  buffer_free(&out);
  return 0;
}
