/* Look-alikes and encodings: rules that run over every view of a text. However a text is cut, the same bytes leave;
 * where runs are decoded (first byte 'd') their beginning may have left, so that only the verdict is the same. What the
 * raw text says outright is masked whatever else is in it. */
#include "fuzz.h"
#include "sluice/sluice.h"

enum { TEXT_MAX = 400 };
/* %s: one more view, or none. */
static const char policy_text[] =
    "{\"rules\":["
    "{\"id\":\"a\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"(?i)secret\",\"mask\":\"-\",\"views\":[\"raw\","
    "\"folded\","
    "\"leet\"%s]},"
    "{\"id\":\"b\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"key=(\\\\w+);\",\"protect\":1,\"mask\":\"-\","
    "\"views\":[\"raw\","
    "\"folded\"%s]},"
    "{\"id\":\"c\",\"category\":\"m\",\"action\":\"mask\",\"words\":[\"one "
    "two\"],\"mask\":\"-\",\"views\":[\"raw\",\"leet\"]},"
    "{\"id\":\"d\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"bomb\",\"views\":[\"folded\"%s]}]}";

static int play(struct sluice_policy *p, struct slice text, struct cuts cuts, struct buffer *out, bool *given_up) {
  struct sluice_failure why;
  struct sluice_error err;
  struct sluice_stream *s = NULL;
  const struct sluice_verdict *v = NULL;
  PROMISE(sluice_stream_open(p, NULL, &s, &why) == 0);
  while (text.len) {
    struct slice piece = next_piece(&cuts, &text);
    PROMISE(sluice_stream_push(s, piece.ptr, piece.len, &v, &why) == 0);
    PROMISE(v->released <= v->received);
    buffer_append(out, v->text, v->text_size, &err);
  }
  PROMISE(sluice_stream_finish(s, &v, &why) == 0);
  buffer_append(out, v->text, v->text_size, &err);
  int action = v->action;
  *given_up |= sluice_stream_counts(s)->not_scanned > 0;
  sluice_stream_close(s);
  return action;
}

static struct sluice_policy *open_policy(const char *more) {
  struct sluice_failure why;
  struct sluice_error err;
  struct sluice_policy *p = NULL;
  struct buffer json;
  buffer_init(&json, 0);
  for (const char *at = policy_text, *mark; *at; at = mark[0] ? mark + 2 : mark) {
    mark = strstr(at, "%s");
    if (!mark) mark = at + strlen(at);
    buffer_append(&json, at, (size_t)(mark - at), &err);
    if (*mark) buffer_append_str(&json, more, &err);
  }
  if (sluice_policy_parse("input", NULL, json.ptr, json.len, &p, &why)) fprintf(stderr, "%s\n", why.message);
  PROMISE(p);
  buffer_free(&json);
  return p;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static struct sluice_policy *plain, *decoding;
  struct buffer whole, cut;
  bool given_up = false, decode = size && data[0] == 'd';
  if (!plain) plain = open_policy("");
  if (!decoding) decoding = open_policy(",\"decoded\"");
  struct slice text = {(const char *)data, size < TEXT_MAX ? size : TEXT_MAX};
  buffer_init(&whole, 0);
  buffer_init(&cut, 0);
  int a = play(decode ? decoding : plain, text, (struct cuts){.whole = true}, &whole, &given_up);
  int b = play(decode ? decoding : plain, text, (struct cuts){.data = data, .size = size}, &cut, &given_up);
  PROMISE(given_up || a == b);
  PROMISE(given_up || decode || same_bytes(&whole, &cut));
  PROMISE(!whole.len || !memmem(whole.ptr, whole.len, "secret", 6));
  PROMISE(!cut.len || !memmem(cut.ptr, cut.len, "secret", 6));
  buffer_free(&whole);
  buffer_free(&cut);
  return 0;
}
