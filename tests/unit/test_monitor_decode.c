/* Runs of base64, hex, percent escapes and hidden characters. A whole text is encoded by code of this test; whatever
 * the cut into pieces, the same events are told, nothing of the run leaves from where the rules hold it back on, and
 * what stands around it stays. */
#include "tests/monitor_cuts.h"

static const char policy_text[] =
    "{\"rules\":[{\"id\":\"w\",\"category\":\"c\",\"action\":\"mask\",\"words\":[\"pipe bomb\",\"ricin\"]},"
    "{\"id\":\"k\",\"category\":\"c\",\"action\":\"mask\",\"pattern\":\"key=(\\\\w{4,12})\\\\b\",\"protect\":1},"
    "{\"id\":\"f\",\"category\":\"c\",\"action\":\"flag\",\"words\":[\"botnet\"]}]}";

struct told {
  char text[2048];
  size_t n;
  uint64_t exposed;
  int events;
};

/* One line an event; of a decoded run where it ends depends on the cut. */
static void note(void *ctx, const struct monitor_event *e) {
  struct told *t = ctx;
  t->exposed += e->exposed;
  t->events++;
  t->n += (size_t)snprintf(t->text + t->n, sizeof t->text - t->n, "%s %s %llu\n", e->rule, e->view,
                           (unsigned long long)e->start);
}

static struct monitor_policy *parse(const char *json) {
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  if (monitor_policy_parse("test", NULL, slice_of(json), &p, &err)) fail_msg("%s", err.message);
  return p;
}

/* ---- encoders ---- */

static size_t base64(const char *in, size_t n, int wrap, bool url, bool pad, const char *newline, char *out) {
  static const char std[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static const char alt[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  size_t len = 0, column = 0;
  for (size_t i = 0; i < n; i += 3) {
    unsigned v = (unsigned)(unsigned char)in[i] << 16;
    if (i + 1 < n) v |= (unsigned)(unsigned char)in[i + 1] << 8;
    if (i + 2 < n) v |= (unsigned char)in[i + 2];
    for (int k = 0; k < 4; k++) {
      bool digit = i + (size_t)k <= n;
      if (!digit && !pad) break;
      if (wrap && column == (size_t)wrap) {
        memcpy(out + len, newline, strlen(newline));
        len += strlen(newline);
        column = 0;
      }
      out[len++] = digit ? (url ? alt : std)[v >> (18 - 6 * k) & 63] : '=';
      column++;
    }
  }
  return len;
}

static size_t each_byte(const char *in, size_t n, const char *before, const char *after, char *out) {
  size_t len = 0;
  for (size_t i = 0; i < n; i++)
    len += (size_t)snprintf(out + len, 8, "%s%02x%s", before, (unsigned char)in[i], i + 1 < n ? after : "");
  return len;
}

static size_t percent(const char *in, size_t n, struct rng *r, char *out) {
  size_t len = 0;
  for (size_t i = 0; i < n; i++) {
    bool plain = in[i] >= 'a' && in[i] <= 'z' && rng_below(r, 3);
    if (plain)
      out[len++] = in[i];
    else
      len += (size_t)snprintf(out + len, 4, "%%%02X", (unsigned char)in[i]);
  }
  return len;
}

static size_t hidden(const char *in, size_t n, bool selectors, char *out) {
  size_t len = 0;
  for (size_t i = 0; i < n; i++) {
    unsigned b = (unsigned char)in[i];
    len += (size_t)utf8_encode(!selectors ? 0xE0000 + b : b < 16 ? 0xFE00 + b : 0xE0100 + b - 16, out + len);
  }
  return len;
}

enum { KINDS = 11 };
static size_t encode(int kind, const char *in, size_t n, struct rng *r, char *out) {
  switch (kind) {
  case 0:
    return base64(in, n, 0, false, true, "", out);
  case 1:
    return base64(in, n, 0, true, false, "", out);
  case 2:
    return base64(in, n, 76, false, true, "\n", out);
  case 3:
    return base64(in, n, 64, false, true, "\\n", out);
  case 4:
    return base64(in, n, 32, false, true, "\r\n", out);
  case 5:
    return each_byte(in, n, "", "", out);
  case 6:
    return each_byte(in, n, "\\x", "", out);
  case 7:
    return each_byte(in, n, "", " ", out);
  case 8:
    return percent(in, n, r, out);
  case 9:
    return hidden(in, n, false, out);
  default:
    return hidden(in, n, true, out);
  }
}

/* ---- properties ---- */

static size_t common_prefix(const char *a, size_t n, const char *b, size_t m) {
  size_t i = 0;
  while (i < n && i < m && a[i] == b[i]) i++;
  return i;
}

static void check(struct monitor *m, struct told *told, int kind, const char *payload, struct rng *r,
                  struct buffer *out) {
  static char text[8192];
  unsigned char cuts[8192] = {0};
  struct told whole;
  bool stopped = false;
  size_t n = (size_t)snprintf(text, sizeof text, "Take this: ");
  const size_t start = n;
  n += encode(kind, payload, strlen(payload), r, text + n);
  const size_t end = n;
  n += (size_t)snprintf(text + n, sizeof text - n, "\n\nAnd then go on.");
  *told = (struct told){0};
  run_cut_exposing(m, text, n, cuts, out, &stopped);
  whole = *told;
  if (whole.events == 0) fail_msg("kind %d: nothing found in %.*s", kind, (int)n, text);
  if (!strstr(whole.text, "k ") && !strstr(whole.text, "w ")) { /* only flagged */
    assert_int_equal(out->len, n);
    return;
  }
  assert_memory_equal(out->ptr, "Take this: [masked]\n\nAnd then go on.", out->len);
  assert_int_equal(whole.exposed, 0);
  for (int c = 0; c < 8; c++) {
    uint32_t often = 1 + rng_below(r, 12);
    for (size_t i = 0; i < n; i++) cuts[i] = c == 0 || rng_below(r, often) == 0;
    *told = (struct told){0};
    run_cut_exposing(m, text, n, cuts, out, &stopped);
    assert_string_equal(told->text, whole.text);
    size_t left = common_prefix(out->ptr, out->len, text, n) - start;
    if (left > 0 && told->exposed != left)
      fail_msg("%zu bytes had left, %llu counted", left, (unsigned long long)told->exposed);
    char want[256];
    size_t tail = (size_t)snprintf(want, sizeof want, "[masked]\n\nAnd then go on.");
    if (out->len != start + left + tail || memcmp(out->ptr + start + left, want, tail) != 0)
      fail_msg("kind %d: %.*s gives %.*s", kind, (int)n, text, (int)out->len, out->ptr);
    /* what had left is the first 23 bytes, or what came before the match */
    const char *hit = strstr(payload, "pipe bomb");
    if (!hit) hit = strstr(payload, "key=") ? strstr(payload, "key=") + 4 : NULL;
    double scale = (double)(end - start) / (double)strlen(payload);
    if (hit && kind != 8 && (double)left > 24 + scale * (double)(hit - payload))
      fail_msg("kind %d: %zu bytes left", kind, left);
  }
}

static void encoded_text_is_found(void **state) {
  (void)state;
  static const char *const payloads[] = {
      "how to build a pipe bomb in the kitchen, step by step", "pipe bomb pipe bomb pipe bomb",
      "the following is the key=abcDEF12 of the main door, keep it well hidden, and then a rather long text after it "
      "so that "
      "a run goes over more than one line, key=zz99",
      "a botnet of many thousand machines",
      "\xC3\xA4\xC3\xB6\xC3\xBC \xE2\x82\xAC with \xF0\x9F\x98\x80 and ricin in it, \xFF\xFE no text"};
  struct monitor_policy *p = parse(policy_text);
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct told told;
  struct buffer out;
  struct rng r;
  rng_seed(&r, 3);
  buffer_init(&out, 0);
  assert_int_equal(monitor_open(p, note, &told, &m, &err), SLUICE_OK);
  for (int kind = 0; kind < KINDS; kind++)
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads; i++) {
      if (kind == 9 && i == 4) continue; /* tags spell ASCII only */
      for (int round = 0; round < 4; round++) check(m, &told, kind, payloads[i], &r, &out);
    }
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&out);
}

static void run_text(const char *json, const char *text, const char *want_events, const char *want_out) {
  struct monitor_policy *p = parse(json);
  struct sluice_error err = {0};
  struct monitor *m = NULL;
  struct told told = {0};
  struct buffer out;
  static unsigned char cuts[16384];
  bool stopped = false;
  buffer_init(&out, 0);
  memset(cuts, 0, sizeof cuts);
  assert_int_equal(monitor_open(p, note, &told, &m, &err), SLUICE_OK);
  run_cut_exposing(m, text, strlen(text), cuts, &out, &stopped);
  buffer_append(&out, "", 1, &err);
  assert_string_equal(told.text, want_events);
  if (want_out) assert_string_equal(out.ptr, want_out);
  monitor_close(m);
  monitor_policy_free(p);
  buffer_free(&out);
}

static void nested_runs_are_found_to_a_depth(void **state) {
  (void)state;
  char once[512], twice[1024], thrice[2048], text[4096];
  const char *secret = "a pipe bomb, that is what it says in here";
  size_t n = base64(secret, strlen(secret), 0, false, true, "", once);
  once[n] = '\0';
  size_t k = each_byte(once, n, "", "", twice);
  twice[k] = '\0';
  size_t l = base64(twice, k, 76, false, true, "\n", thrice);
  thrice[l] = '\0';
  snprintf(text, sizeof text, "x: %s.", once);
  run_text(policy_text, text, "w base64 3\n", "x: [masked].");
  snprintf(text, sizeof text, "x: %s.", twice);
  run_text(policy_text, text, "w hex+base64 3\n", "x: [masked].");
  snprintf(text, sizeof text, "x: %s.", thrice);
  run_text(policy_text, text, "", text); /* DECODE_DEPTH_MAX */
}

static void look_alikes_inside_a_run_are_found(void **state) {
  (void)state;
  char run[512], text[1024];
  const char *folded = "a \xEF\xBD\x90ipe b\xE2\x80\x8Bomb and more words", *leet = "a p1pe b0mb and more of the words";
  run[base64(folded, strlen(folded), 0, false, true, "", run)] = '\0';
  snprintf(text, sizeof text, "%s", run);
  run_text(policy_text, text, "w base64+folded 0\n", "[masked]");
  run[base64(leet, strlen(leet), 0, false, true, "", run)] = '\0';
  snprintf(text, sizeof text, "%s", run);
  run_text(policy_text, text, "w base64+leet 0\n", "[masked]");
}

static void what_is_no_run_stays(void **state) {
  (void)state;
  static const char *const texts[] = {
      "cGlwZSBib21i is short.", /* 12 characters */
      "A word like antidisestablishmentarianism and a path /usr/share/doc/libsomething-dev/README.Debian follow.",
      "550e8400-e29b-41d4-a716-446655440000 and 12:30:00, 2026-11-24 10:11:12, 1 2 3 4 5 6 7 8 9 10 11 12 13 14",
      "https://example.org/a/b?c=d&e=%20f and %20 and %zz%zz%zz%zz%zz%zz%zz%zz%zz",
      "\xEF\xBD\x81\xEF\xBD\x82\xEF\xBD\x81\xEF\xBD\x82\xEF\xBD\x81\xEF\xBD\x82\xEF\xBD\x81\xEF\xBD\x82\xEF\xBD\x81\xEF"
      "\xBD\x82",
      "====================================",
      "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\",
      "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) run_text(policy_text, texts[i], "", texts[i]);
}

/* An unescaped part of a percent run is the raw lane's: an address in a query is masked alone. */
static void plain_parts_of_a_percent_run_are_not_masked_twice(void **state) {
  (void)state;
  run_text(policy_text, "see https://example.org/a%20b?key=abcd12&x=%2F%2F", "k raw 34\n",
           "see https://example.org/a%20b?key=[masked]&x=%2F%2F");
}

static void views_leave_rules_out(void **state) {
  (void)state;
  char run[256];
  const char *payload = "how to build a pipe bomb at home";
  run[base64(payload, strlen(payload), 0, false, true, "", run)] = '\0';
  run_text("{\"views\":[\"raw\"],\"rules\":[{\"id\":\"w\",\"category\":\"c\",\"action\":\"mask\",\"words\":[\"pipe "
           "bomb\"]}]}",
           run, "", run);
  run_text("{\"rules\":[{\"id\":\"w\",\"category\":\"c\",\"action\":\"mask\",\"views\":[\"raw\",\"folded\"],\"words\":["
           "\"pipe bomb\"]}]}",
           run, "", run);
}

static void a_stop_ends_the_text_before_the_rest_of_the_run(void **state) {
  (void)state;
  char text[256] = "Read ";
  const char *payload = "how to build a pipe bomb at home";
  text[5 + base64(payload, strlen(payload), 0, false, true, "", text + 5)] = '\0';
  run_text("{\"rules\":[{\"id\":\"w\",\"category\":\"c\",\"action\":\"stop\",\"words\":[\"pipe bomb\"]}]}", text,
           "w base64 5\n", "Read ");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(encoded_text_is_found),
      cmocka_unit_test(nested_runs_are_found_to_a_depth),
      cmocka_unit_test(look_alikes_inside_a_run_are_found),
      cmocka_unit_test(what_is_no_run_stays),
      cmocka_unit_test(plain_parts_of_a_percent_run_are_not_masked_twice),
      cmocka_unit_test(views_leave_rules_out),
      cmocka_unit_test(a_stop_ends_the_text_before_the_rest_of_the_run),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
