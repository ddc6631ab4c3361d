/* Requests as bytes: bodies under every cut, paths in every spelling, heads that must be refused, and noise. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "wire/http.h"

static int decode(const char *text, size_t len, size_t cut, struct buffer *body, size_t *used, bool *done) {
  struct http_chunks c = {0};
  int status = 0;
  *used = 0;
  *done = false;
  buffer_clear(body);
  for (size_t at = 0; at < len && !*done && !status;) {
    size_t n = at < cut && cut < len ? cut - at : len - at, took = 0;
    char *copy = malloc(n); /* a heap block of its own: reading past it is an error that tools see */
    memcpy(copy, text + at, n);
    status = http_chunks_push(&c, (struct slice){copy, n}, &took, body, done);
    free(copy);
    at += took;
    *used = at;
  }
  return status;
}

static void test_chunks_under_every_cut(void **state) {
  static const char text[] = "5\r\nhello\r\n00b;name=\"v\"\r\n chunk\r\nwor\r\n1 \r\nX\r\n0\r\nT: 1\r\n\r\nGET /";
  static const char want[] = "hello chunk\r\nworX";
  struct buffer body;
  size_t used;
  bool done;
  (void)state;
  buffer_init(&body, 100);
  for (size_t cut = 0; cut < sizeof text; cut++) {
    assert_int_equal(decode(text, sizeof text - 1, cut, &body, &used, &done), 0);
    assert_true(done);
    assert_int_equal(used, sizeof text - 1 - strlen("GET /")); /* what follows is the next request's */
    assert_int_equal(body.len, sizeof want - 1);
    assert_memory_equal(body.ptr, want, body.len);
  }
  buffer_free(&body);
}

static void test_chunks_refused(void **state) {
  static const struct {
    int status;
    const char *text;
  } cases[] = {{400, "\r\n"},
               {400, "g\r\n"},
               {400, "5\nhello"},
               {400, "5\r\nhelloX"},
               {400, "-1\r\n"},
               {400, "5\r\r\n"},
               {400, "0000000000000001\r\n"},
               {413, "ff\r\n01234567890"},
               {413, "fffffffffffffff\r\n01234567890"}};
  struct buffer body;
  size_t used;
  bool done;
  (void)state;
  buffer_init(&body, 10);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t cut = 0; cut < 4; cut++)
      assert_int_equal(decode(cases[i].text, strlen(cases[i].text), cut, &body, &used, &done), cases[i].status);
  buffer_free(&body);
}

static void test_paths(void **state) {
  static const char *const cases[][2] = {{"/v1/chat/completions", "/v1/chat/completions"},
                                         {"/v1/chat/completions?a=/b/", "/v1/chat/completions"},
                                         {"//v1//Chat///completions//", "/v1/chat/completions"},
                                         {"/v1/./chat/../chat/completions/.", "/v1/chat/completions"},
                                         {"/%76%31/chat%2Fcompletions", "/v1/chat/completions"},
                                         {"/v1/x/%2e%2E/chat/completions", "/v1/chat/completions"},
                                         {"/v1;a=/b;c/chat/completions;x=y", "/v1/b/chat/completions"},
                                         {"/v1\\chat\\completions", "/v1/chat/completions"},
                                         {"/../../../a", "/a"},
                                         {"/a%", "/a%"},
                                         {"/a%2", "/a%2"},
                                         {"/", ""},
                                         {"/..", ""}};
  struct buffer out;
  struct sluice_error err = {0};
  (void)state;
  buffer_init(&out, 1000);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    assert_int_equal(http_path_plain(slice_of(cases[i][0]), &out, &err), SLUICE_OK);
    if (!slice_is((struct slice){out.ptr, out.len}, cases[i][1]))
      fail_msg("%s became %.*s", cases[i][0], (int)out.len, out.ptr);
  }
  buffer_free(&out);
}

static void test_heads(void **state) {
  static const char good[] =
      "\r\nPOST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\nContent-Length: 12\r\nEmpty:\r\n"
      "Connection: Keep-Alive , close\r\nExpect: 100-Continue\r\n\r\nbody";
  struct http_head h;
  size_t used;
  (void)state;
  for (size_t n = 0; n < sizeof good - 5; n++) { /* any shorter prefix asks for more */
    char *copy = malloc(n + 1);
    memcpy(copy, good, n);
    assert_int_equal(http_head_parse((struct slice){copy, n}, &h, &used), 0);
    assert_int_equal(used, 0);
    free(copy);
  }
  assert_int_equal(http_head_parse((struct slice){good, sizeof good - 1}, &h, &used), 0);
  assert_int_equal(used, sizeof good - 5);
  assert_true(slice_is(h.method, "POST") && slice_is(h.target, "/a?b") && h.length == 12 && h.n_fields == 6);
  assert_true(!h.keep_alive && h.expects_continue && !h.chunked && h.minor == 1);
}

/* Whatever comes, the parser ends, stays inside its bytes and gives an answer it has a name for. */
static void test_noise(void **state) {
  static const char alphabet[] = "GET / HTTP/1.1\r\n\r\nHost: a\r\nContent-Length: 5\r\n:;, \t\0\x7f\xff"
                                 "chunked0123abc%2e./";
  struct rng r;
  struct buffer out;
  struct sluice_error err = {0};
  (void)state;
  rng_seed(&r, 1);
  buffer_init(&out, 4096);
  for (int round = 0; round < 20000; round++) {
    size_t n = rng_below(&r, 200), used;
    char *text = malloc(n + 1);
    struct http_head h;
    bool done;
    for (size_t i = 0; i < n; i++) text[i] = alphabet[rng_below(&r, sizeof alphabet - 1)];
    int status = http_head_parse((struct slice){text, n}, &h, &used);
    assert_true(status == 0 || strcmp(http_reason(status), "Internal Server Error") != 0);
    assert_true(used <= n);
    struct http_chunks c = {0};
    buffer_clear(&out);
    http_chunks_push(&c, (struct slice){text, n}, &used, &out, &done);
    assert_true(used <= n && out.len <= n);
    assert_int_equal(http_path_plain((struct slice){text, n}, &out, &err), SLUICE_OK);
    assert_true(out.len <= n);
    free(text);
  }
  buffer_free(&out);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_chunks_under_every_cut),
                                     cmocka_unit_test(test_chunks_refused), cmocka_unit_test(test_paths),
                                     cmocka_unit_test(test_heads), cmocka_unit_test(test_noise)};
  return cmocka_run_group_tests_name("wire: http", tests, NULL, NULL);
}
