/* The proxy when memory runs out, libevent's and OpenSSL's included: whichever allocation fails while a request is
 * answered, the client gets the right answer, or one that it can see is none: an error, or a stream that does not end
 * as streams end. What the policy masks never leaves, the proxy goes on, and nothing is lost when it ends. */
#define FAIL_IN_MARKED_THREADS
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <curl/curl.h>
#include <openssl/err.h>
#include <signal.h>

#include "cli/gate.c" /* the program's own joint between the rooms; it is not part of the library */
#include "tests/raw_client.h"

#include "tests/failing_allocator.h"

#if CAN_INJECT
/* libcurl 7.88 crashes on some failed allocations of its own (in curl_multi_socket_action, about one run of this test
 * in ten), so it is given memory that does not fail. */
static char *spared_strdup(const char *s) {
  size_t n = strlen(s) + 1;
  char *copy = __libc_malloc(n);
  return copy ? memcpy(copy, s, n) : NULL;
}
static bool spare_libcurl(void) {
  return curl_global_init_mem(CURL_GLOBAL_DEFAULT, __libc_malloc, __libc_free, __libc_realloc, spared_strdup,
                              __libc_calloc) == 0;
}
#else
static bool spare_libcurl(void) {
  return true;
}
#endif

#define EVENT(text)                                                                                                    \
  "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define FINISH                                                                                                         \
  "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"

static struct proxy_upstream upstream;
static struct monitor *monitor;
static atomic_int port, finished;
static int silent; /* connections that said nothing and stayed open */

/* ---- the upstream ---- */

static void play(struct visit *v) {
  if (!strcmp(v->script, "whole")) {
    visit_say(v, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
                 "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a SECRET "
                 "b\"},\"finish_reason\":\"stop\"}]}");
    return;
  }
  visit_say_cut(v,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" EVENT("a SEC")
                    EVENT("RET b") EVENT("and a longer piece of text"),
                60);
  visit_say_cut(v, FINISH, 60);
}

/* ---- the proxy, in a thread of its own ---- */

static sluice_status begin(void *ctx, size_t thread, const struct wire_asked *asked, struct wire_gate *gate,
                           struct wire_gate *prompts, void **texts, struct sluice_error *err) {
  struct gate *g = malloc(sizeof *g);
  (void)ctx, (void)thread, (void)asked, (void)prompts;
  if (!g) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  gate_open(g, monitor);
  *gate = gate_for_wire(g);
  *texts = g;
  return SLUICE_OK;
}

static void finish(void *ctx, size_t thread, void *texts, const struct wire_record *record) {
  (void)ctx, (void)thread, (void)record;
  if (texts) gate_close(texts);
  free(texts);
  finished++;
}

static void *run_proxy(void *ctx) {
  struct sluice_error *err = ctx;
  char url[64];
  const char *listen[] = {"127.0.0.1:0"};
  struct wire_proxy *proxy = NULL;
  uint64_t cut = 0;
  snprintf(url, sizeof url, "http://127.0.0.1:%d", upstream.port);
  struct wire_proxy_options o = {.upstreams = (const char *[]){url},
                                 .n_upstreams = 1,
                                 .listen = listen,
                                 .n_listen = 1,
                                 .idle_s = 1,
                                 .total_s = 2,
                                 .drain_s = 1,
                                 .hooks = {NULL, begin, finish, NULL}};
  marked = true;
  sluice_status st = wire_proxy_open(&o, &proxy, err);
  if (!st) port = (int)strtol(strrchr(wire_proxy_address(proxy, 0), ':') + 1, NULL, 10);
  if (!st) st = wire_proxy_run(proxy, &cut, err);
  wire_proxy_close(proxy); /* marked to its end: libraries free what they keep for a thread when it ends */
  if (st) port = -1;
  return st ? err : NULL;
}

static pthread_t start_proxy(struct sluice_error *err) {
  pthread_t t;
  port = 0;
  assert_int_equal(pthread_create(&t, NULL, run_proxy, err), 0);
  while (port == 0) sleep_ms(2);
  if (port < 0) fail_msg("%s", err->message);
  return t;
}

static void stop_proxy(pthread_t t) {
  void *problem = NULL;
  kill(getpid(), SIGTERM);
  pthread_join(t, &problem);
  if (problem) fail_msg("%s", ((struct sluice_error *)problem)->message);
}

/* ---- requests ---- */

/* One request with the n-th allocation from now on failing. *reached: it did. Returns whether the answer was whole. */
static bool one_request(const char *script, long n, const char *right, bool *reached) {
  int64_t began = now_ns();
  char request[512];
  ask(request, sizeof request, "/v1/chat/completions", script);
  int fd = dial(port);
  countdown = n;
  char *answer = talk_to(fd, request, strlen(request), n < 0 ? 5000 : 2000);
  *reached = countdown < 0;
  countdown = -1;
  if (has(answer, "SECRET") || has(answer, "\"RET")) fail_msg("%s, allocation %ld: leaked: %s", script, n, answer);
  bool good = has(answer, " 200 ");
  const char *body = good ? body_of(answer) : NULL;
  bool whole = body && !has(body, "\"error\"") && (has(body, "[DONE]") || has(body, "\"message\""));
  if (whole && strcmp(body, right)) fail_msg("%s, allocation %ld: \"%s\" instead of \"%s\"", script, n, body, right);
  silent += !answer[0] && now_ns() - began > 1900000000;
  free(answer);
  return whole;
}

static char *right_answer(const char *script) {
  char *answer = chat(port, script);
  char *body = body_of(answer);
  if (!body || !has(body, "[masked]")) fail_msg("%s: %s", script, answer);
  body = strdup(body);
  free(answer);
  return body;
}

static void requests(const char *script, long dense, int most) {
  char *right = right_answer(script);
  int tried = 0, whole = 0;
  bool reached = true, again;
  for (long n = 0; reached && tried < most; n += n < dense ? 1 : 1 + n / 12, tried++) {
    whole += one_request(script, n, right, &reached);
    if (tried % 8 == 0 && !one_request(script, -1, right, &again))
      fail_msg("%s, after allocation %ld: no answer", script, n);
  }
  print_message("%s: %d allocations failed, %d answers whole all the same\n", script, tried, whole);
  assert_true(tried > 30 && tried < most && whole < tried);
  free(right);
}

static void no_request_is_answered_wrongly(void **state) {
  (void)state;
  if (!CAN_INJECT) skip();
  struct sluice_error err = {0};
  char *body = NULL;
  stop_proxy(start_proxy(&err)); /* what the libraries keep for themselves is taken now */
  pthread_t t = start_proxy(&err);
  body = right_answer("stream");
  free(body);
  stop_proxy(t);
  long before = alive;
  t = start_proxy(&err);
  requests("stream", 40, 160);
  requests("whole", 40, 160);
  body = right_answer("stream");
  free(body);
  stop_proxy(t);
  /* libevent does not look whether the callback that starts its writing could be made (bufferevent_sock.c, 2.1.12):
   * such a client waits until the proxy's clock ends it. Twice, once a script. */
  assert_true(silent <= 4);
  if (alive != before) fail_msg("%ld blocks were not freed", alive - before);
}

/* Opens with the n-th allocation failing. *left: blocks that were not freed. */
static sluice_status open_once(long n, bool *reached, long *left, struct sluice_error *err) {
  struct wire_proxy_options o = {.upstreams = (const char *[]){"http://127.0.0.1:1"},
                                 .n_upstreams = 1,
                                 .listen = (const char *[]){"127.0.0.1:0"},
                                 .n_listen = 1};
  struct wire_proxy *proxy = NULL;
  long before = alive;
  marked = true;
  countdown = n;
  sluice_status st = wire_proxy_open(&o, &proxy, err);
  *reached = countdown < 0;
  countdown = -1;
  if (!st) wire_proxy_close(proxy);
  ERR_clear_error(); /* OpenSSL keeps a thread's last errors, sixteen at most, in memory of theirs */
  marked = false;
  *left = alive - before;
  return st;
}

/* Opening: each allocation in turn, and no proxy or a whole one. The second time, as libraries keep things for
 * themselves the first time, for their errors too. */
static void opening_says_so(void **state) {
  (void)state;
  if (!CAN_INJECT) skip();
  struct sluice_error first = {0};
  int told = 0;
  bool ignored;
  long kept;
  if (open_once(-1, &ignored, &kept, &first)) fail_msg("%s", first.message); /* OpenSSL starts, or never */
  for (int round = 0; round < 2; round++) {
    bool reached = true;
    for (long n = 0; reached && n < 3000; n++) {
      struct sluice_error err = {0};
      long left = 0;
      sluice_status st = open_once(n, &reached, &left, &err);
      if (round && left) fail_msg("allocation %ld: %ld blocks were not freed", n, left);
      if (st && !err.message[0]) fail_msg("allocation %ld: no message", n);
      told += st != SLUICE_OK;
    }
    assert_false(reached);
  }
  print_message("opening: told %d times\n", told);
  assert_true(told > 20);
}

static int setup(void **state) {
  static const char policy[] =
      "{\"rules\":[{\"id\":\"a\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"SECRET\"}]}";
  static struct monitor_policy *p;
  struct sluice_error err = {0};
  (void)state;
  signal(SIGPIPE, SIG_IGN);
  if (!spare_libcurl()) return -1;
  if (monitor_policy_parse("test", NULL, slice_of(policy), &p, &err) || monitor_open(p, NULL, NULL, &monitor, &err))
    return -1;
  return proxy_upstream_start(&upstream, play) ? 0 : -1;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(opening_says_so),
      cmocka_unit_test(no_request_is_answered_wrongly),
  };
  log_set(LOG_ERROR, false);
  return cmocka_run_group_tests(tests, setup, NULL);
}
