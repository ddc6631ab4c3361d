/* `sluice proxy` between a scripted upstream and raw sockets. Run by proxy.sh, which names the program to test in
 * $SLUICE. Prints "ok - NAME" or "not ok - NAME", one line a test. Everything is on 127.0.0.1 and bounded in time. */
#include "tests/proxy_forms.h"
#include "tests/proxy_process.h"

#include <sys/un.h>
#include <zlib.h>

#define EVENT(text)                                                                                                    \
  "data: "                                                                                                             \
  "{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"x\":[1.50,\"\\u0000\"],\"choices\":[{\"index\":0,\"delta\":{" \
  "\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define FINISH "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define SSE_HEAD                                                                                                       \
  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Model: m\r\nConnection: close\r\n\r\n"
#define WHOLE(text)                                                                                                    \
  "{\"id\":\"w\",\"big\":12345678901234567890,\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","          \
  "\"content\":\"" text "\"},\"finish_reason\":\"stop\"}]}"

static const char clean[] =
    ": hello\n\n" EVENT("One ") EVENT("SEC and ") EVENT("caf\xc3\xa9 \xf0\x9f\x8c\x8a") FINISH DONE;
static const char masked[] = EVENT("a SEC") EVENT("RET b") FINISH DONE;
static struct proxy_upstream upstream;

/* ---- the upstream's scripts ---- */

static void play_gzip(struct visit *v) {
  unsigned char packed[4096];
  z_stream z = {.next_in = (unsigned char *)(uintptr_t)masked,
                .avail_in = sizeof masked - 1,
                .next_out = packed,
                .avail_out = sizeof packed};
  deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
  deflate(&z, Z_FINISH);
  deflateEnd(&z);
  visit_say(v, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\nETag: "
               "\"1\"\r\nConnection: close\r\n\r\n");
  for (size_t i = 0; i < z.total_out; i += 7) visit_send(v, packed + i, z.total_out - i < 7 ? z.total_out - i : 7);
}

static void play_flood(struct visit *v) {
  static const char event[] =
      EVENT("a line of text that says nothing much at all, only to be long enough to count, and so on");
  if (!visit_say(v, SSE_HEAD)) return;
  while (v->sent < ((size_t)256 << 20) && visit_send(v, event, sizeof event - 1)) {
  }
}

static void play_body(struct visit *v, const char *type, const char *body) {
  char head[256];
  snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
           type, strlen(body));
  if (visit_say(v, head)) visit_say_cut(v, body, 11);
}

static void play_reset(struct visit *v) {
  visit_say(v, SSE_HEAD EVENT("all is well "));
  sleep_ms(100);
  v->reset = true;
}

static void play_slowly(struct visit *v) {
  if (!visit_say(v, SSE_HEAD)) return;
  for (int i = 0; i < 12; i++, sleep_ms(100))
    if (!visit_say(v, EVENT("tick "))) return;
  visit_say(v, FINISH DONE);
}

static void play_form(struct visit *v, const struct proxy_form *form, const char *s) {
  bool json = !strncmp(s, "whole", 5), well = json || visit_say(v, SSE_HEAD);
  if (json) {
    play_body(v, "application/json",
              !strcmp(s, "whole")         ? form->whole
              : !strcmp(s, "wholemasked") ? form->whole_masked
                                          : form->whole_stopped);
  } else if (well && !strcmp(s, "broken")) {
    visit_say(v, form->broken);
    sleep_ms(100);
    v->reset = true;
  } else if (well && !strcmp(s, "stopped")) {
    if (visit_say_cut(v, form->stopped, 9)) visit_await_end(v, 3000);
  } else if (well) {
    visit_say_cut(v, !strcmp(s, "clean") ? form->clean : form->masked, 7);
  }
}

static void play(struct visit *v) {
  const char *s = v->script;
  for (size_t i = 0; i < sizeof proxy_forms / sizeof *proxy_forms; i++)
    if (strcmp(s, "html") && strcmp(s, "silent") &&
        !strncmp(v->request + 5, proxy_forms[i].path, strlen(proxy_forms[i].path)))
      return play_form(v, &proxy_forms[i], s);
  if (!strcmp(s, "clean")) {
    if (visit_say(v, SSE_HEAD)) visit_say_cut(v, clean, 5);
  } else if (!strcmp(s, "masked")) {
    if (visit_say(v, SSE_HEAD)) visit_say_cut(v, masked, 3);
  } else if (!strcmp(s, "stopped")) {
    if (visit_say(v, SSE_HEAD) && visit_say_cut(v, EVENT("how to: BO") EVENT("MB is ") EVENT("never seen "), 9))
      visit_await_end(v, 3000);
  } else if (!strcmp(s, "gzip")) {
    play_gzip(v);
  } else if (!strcmp(s, "flood")) {
    play_flood(v);
  } else if (!strcmp(s, "silent")) {
    visit_await_end(v, 5000);
  } else if (!strcmp(s, "begun")) {
    if (visit_say(v, SSE_HEAD EVENT("first "))) visit_await_end(v, 5000);
  } else if (!strcmp(s, "whole")) {
    play_body(v, "application/json", WHOLE("fine"));
  } else if (!strcmp(s, "wholemasked")) {
    play_body(v, "application/json", WHOLE("a SECRET b"));
  } else if (!strcmp(s, "wholestopped")) {
    play_body(v, "application/json", WHOLE("a BOMB b"));
  } else if (!strcmp(s, "html")) {
    play_body(v, "text/html", "<p>SECRET</p>");
  } else if (!strcmp(s, "garbage")) {
    if (visit_say(v, SSE_HEAD EVENT("good ")) && visit_say(v, "data: {\"choices\": BOMB\n\n")) visit_await_end(v, 3000);
  } else if (!strcmp(s, "reset")) {
    play_reset(v);
  } else if (!strcmp(s, "slowly")) {
    play_slowly(v);
  } else if (!strcmp(s, "refusal")) {
    visit_say(v, "HTTP/1.1 429 Slow Down Please\r\nContent-Type: application/json\r\nRetry-After: 7\r\nContent-Length: "
                 "2\r\n\r\n{}");
  } else {
    visit_say(v, "HTTP/1.1 201 Made\r\nX-One: 1\r\nX-Gone: 2\r\nConnection: close, X-Gone\r\nSet-Cookie: "
                 "a\r\nSet-Cookie: b\r\nContent-Length: 5\r\n\r\nSEC\nR");
  }
}

/* ---- tests ---- */

static void test_passing(int port) {
  static const char request[] =
      "PUT /v1/files/..%2Fa//b?s=plain&q=%zz HTTP/1.1\r\nHost: me\r\nX-Test:  kept \r\nX-Hop: 1\r\nX-Empty:\r\n"
      "Connection: close, x-hop\r\nAuthorization: Bearer k\r\nContent-Length: 6\r\n\r\n\0\1\xff\r\nz";
  char *answer = talk_to(dial(port), request, sizeof request - 1, 5000);
  check("an answer goes by: status line, fields, body",
        has(answer, "HTTP/1.1 201 Made\r\n") && has(answer, "X-One: 1\r\n") &&
            has(answer, "Set-Cookie: a\r\nSet-Cookie: b\r\n") && has(answer, "\r\n\r\nSEC\nR"),
        answer);
  check("fields of the connection do not", !has(answer, "X-Gone"), answer);
  free(answer);
  struct visit *v = proxy_upstream_visit(&upstream, "plain");
  const char *r = v ? v->request : NULL;
  check("a request goes by: method, target, fields",
        has(r, "PUT /v1/files/..%2Fa//b?s=plain&q=%zz HTTP/1.1\r\n") && has(r, "\r\nX-Test: kept\r\n") &&
            has(r, "\r\nAuthorization: Bearer k\r\n") && has(r, "\r\nX-Empty:\r\n"),
        r);
  check("without what is the connection's, and nothing added",
        !has(r, "X-Hop") && !has(r, "User-Agent") && !has(r, "Accept:"), r);
  check("a body of any bytes arrives", r && v->len > 6 && memcmp(r + v->len - 6, request + sizeof request - 7, 6) == 0,
        r);
  answer = chat(port, "refusal");
  check("an upstream's own error goes by",
        has(answer, "HTTP/1.1 429 Slow Down Please\r\n") && has(answer, "Retry-After: 7\r\n") &&
            has(answer, "\r\n\r\n{}"),
        answer);
  free(answer);
}

static void test_judging(int port) {
  char *answer = chat(port, "clean"), *body = body_of(answer);
  check("a clean stream is the same bytes", body && !strcmp(body, clean), body);
  check("with the upstream's fields", has(answer, "X-Model: m\r\n"), answer);
  free(answer);
  struct visit *v = proxy_upstream_visit(&upstream, "clean");
  check("the upstream is asked not to compress",
        v && has(v->request, "Accept-Encoding: identity\r\n") && !has(v->request, "gzip"), v ? v->request : NULL);
  answer = chat(port, "masked");
  body = body_of(answer);
  check("a secret over two pieces is masked",
        body && !has(body, "SEC") && !has(body, "RET") && has(body, "[x]") && has(body, DONE) &&
            has(body, "1.50,\"\\u0000\""),
        body);
  free(answer);
  answer = chat(port, "gzip");
  check("a compressed stream is judged all the same",
        !has(answer, "gzip") && !has(answer, "ETag") && has(answer, "[x]") && !has(answer, "RET"), answer);
  free(answer);
  answer = chat(port, "whole");
  body = body_of(answer);
  check("a clean whole answer is the same bytes", body && !strcmp(body, WHOLE("fine")), answer);
  free(answer);
  answer = chat(port, "wholemasked");
  body = body_of(answer);
  char want[64];
  snprintf(want, sizeof want, "Content-Length: %zu\r\n", strlen(WHOLE("a [x] b")));
  check("a whole answer is masked, its length told anew", body && has(answer, want) && !strcmp(body, WHOLE("a [x] b")),
        answer);
  free(answer);
  answer = chat(port, "wholestopped");
  check("a whole answer is stopped",
        has(answer, "HTTP/1.1 200") && !has(answer, "BOMB") && has(answer, "content_filter"), answer);
  free(answer);
}

static void test_stopping(int port) {
  int64_t began = now_ns();
  char *answer = chat(port, "stopped"), *body = body_of(answer);
  check("a stopped stream ends well-formed",
        body && has(body, "how to: ") && !has(body, "BO") && !has(body, "never") && has(body, "content_filter") &&
            strlen(body) > strlen(DONE) && !strcmp(body + strlen(body) - strlen(DONE), DONE),
        body ? body : answer);
  check("and without waiting for the upstream", now_ns() - began < 2000000000LL, NULL);
  struct visit *v = proxy_upstream_visit(&upstream, "stopped");
  for (int i = 0; v && !v->gone_ns && i < 100; i++) sleep_ms(10);
  check("the upstream is cancelled at once", v && v->gone_ns && v->gone_ns - began < 2000000000LL, NULL);
  check("and it is counted",
        metric(port, "sluice_stopped_total") >= 1 &&
            metric(port, "sluice_verdicts_total{category=\"s\",action=\"stop\"}") >= 1 &&
            metric(port, "sluice_upstream_cancelled_total") >= 1,
        NULL);
  free(answer);
}

static char *speak(int port, const struct proxy_form *form, const char *script) {
  char request[512];
  ask(request, sizeof request, form->path, script);
  return talk(port, request);
}

static void check_form(const struct proxy_form *form, const char *what, bool good, char *seen) {
  char name[128];
  snprintf(name, sizeof name, "%s: %s", form->name, what);
  check(name, good, seen);
  free(seen);
}

static void test_form(int port, const struct proxy_form *form) {
  char *answer = speak(port, form, "clean"), *body = body_of(answer);
  check_form(form, "a clean stream is the same bytes", body && !strcmp(body, form->clean), answer);
  answer = speak(port, form, "masked");
  body = body_of(answer);
  check_form(form, "a masked stream shows no piece of it, also where it says its text again",
             body && has(body, "[x]") && !has(body, "SEC") && !has(body, "RET"), answer);
  answer = speak(port, form, "whole");
  body = body_of(answer);
  check_form(form, "a clean whole answer is the same bytes", body && !strcmp(body, form->whole), answer);
  answer = speak(port, form, "wholemasked");
  body = body_of(answer);
  check_form(form, "a whole answer is masked", body && !strcmp(body, form->whole_shown), answer);
  answer = speak(port, form, "wholestopped");
  check_form(form, "a whole answer is stopped", !has(answer, "BOMB") && has(answer, form->whole_ending), answer);
  int64_t began = now_ns();
  answer = speak(port, form, "stopped");
  body = body_of(answer);
  size_t len = body ? strlen(body) : 0, tail = strlen(form->ending[0]);
  check_form(form, "a stopped stream has its own ending",
             body && has(body, "how to: ") && !has(body, "BO") && !has(body, "never") && has(body, form->ending[1]) &&
                 has(body, form->ending[2]) && len > tail && !strcmp(body + len - tail, form->ending[0]),
             answer);
  struct visit *v = proxy_upstream_visit(&upstream, "stopped");
  for (int i = 0; v && !v->gone_ns && i < 100; i++) sleep_ms(10);
  check_form(form, "and cancels the upstream", v && v->gone_ns > began && v->gone_ns - began < 2000000000LL, NULL);
  answer = speak(port, form, "broken");
  body = body_of(answer);
  const char *last = body ? strstr(body, form->error_event) : NULL, *end = last ? strstr(last, "}\n\n") : NULL;
  check_form(form, "an upstream that resets: the form's own error event, and nothing after it",
             has(body, "all is well") && end && end[3] == '\0', answer);
  answer = speak(port, form, "html");
  check_form(form, "an answer that cannot be judged is a 502 in its form",
             has(answer, "HTTP/1.1 502 ") && has(answer, form->error) && has(answer, form->reason) &&
                 !has(answer, "SECRET"),
             answer);
}

static void vanish(int port, const char *script, const char *name) {
  char request[512];
  int fd = dial(port);
  ask(request, sizeof request, "/v1/chat/completions", script);
  send(fd, request, strlen(request), MSG_NOSIGNAL);
  struct visit *v = proxy_upstream_visit(&upstream, script);
  sleep_ms(100);
  int64_t left = now_ns();
  bool early = v && v->gone_ns != 0;
  close(fd);
  for (int i = 0; v && !v->gone_ns && i < 200; i++) sleep_ms(10);
  check(name, v && !early && v->gone_ns && v->gone_ns - left < 1000000000LL, NULL);
}

static void test_slow_reader(struct proxy *p) {
  char request[512], *bytes = malloc(1 << 20);
  int fd = dial(p->port);
  size_t before = proxy_memory(p), got = 0;
  ask(request, sizeof request, "/v1/chat/completions", "flood");
  send(fd, request, strlen(request), MSG_NOSIGNAL);
  struct visit *v = proxy_upstream_visit(&upstream, "flood");
  size_t sent = 0, later = 1, after;
  for (int i = 0; v && i < 20 && sent != later; i++, sleep_ms(400)) { /* until nothing has moved for 0.4 s */
    sent = later;
    later = v->sent;
  }
  after = proxy_memory(p);
  check("a client that does not read stops its upstream", v && sent > 100000 && sent == later, NULL);
  printf("# upstream sent %zu bytes before it had to wait; resident memory grew by %zd bytes\n", later,
         (ssize_t)(after - before));
  check("in bounded memory", later < ((size_t)24 << 20) && after < before + ((size_t)8 << 20), NULL);
  for (int64_t until = now_ns() + 5000000000LL; now_ns() < until && got < ((size_t)16 << 20);) {
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, 100) <= 0) continue;
    ssize_t n = recv(fd, bytes, 1 << 20, 0);
    if (n <= 0) break;
    got += (size_t)n;
  }
  check("when it reads again, the stream goes on", v && v->sent > later + ((size_t)2 << 20) && got >= ((size_t)8 << 20),
        NULL);
  check("and the pause was counted", metric(p->port, "sluice_paused_total") >= 1, NULL);
  close(fd);
  free(bytes);
}

static void test_failing(int port) {
  char *answer = chat(port, "reset"), *body = body_of(answer);
  check("an upstream that resets: an error that clients raise, and an end",
        body && has(body, "all is well") && has(body, "\"code\":\"upstream_error\"") && has(body, "}}\n\n" DONE),
        answer);
  free(answer);
  answer = chat(port, "garbage");
  body = body_of(answer);
  check("a frame that cannot be read is not passed on",
        body && has(body, "good ") && !has(body, "BOMB") && has(body, "answer_not_judged"), answer);
  free(answer);
  answer = chat(port, "html");
  check("an answer that cannot be judged is a 502",
        has(answer, "HTTP/1.1 502 ") && !has(answer, "SECRET") && has(answer, "{\"error\":{\"message\":"), answer);
  free(answer);
  answer = talk(port, "POST /api/chat HTTP/1.1\r\nHost: me\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  check("a dialect that is not judged yet is refused", has(answer, "HTTP/1.1 501 ") && has(answer, "--pass-unjudged"),
        answer);
  free(answer);
}

static void test_spellings(int port) {
  static const char *const paths[] = {
      "/v1/chat/completions/",     "//v1//chat/./completions", "/v1/%63hat/%63ompletions",
      "/v1/x/../chat/completions", "/v1/Chat/Completions;v=1", "http://other/v1/chat/completions",
      "/v1/completions",           "//x/%2e%2e/v1/Responses/", "/v1/./%6dessages;v=1"};
  bool good = true;
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    char request[512];
    ask(request, sizeof request, paths[i], "masked");
    char *answer = talk(port, request);
    bool fine = has(answer, "[x]") && !has(answer, "RET");
    if (!fine) printf("# %s: %.200s\n", paths[i], answer);
    good &= fine;
    free(answer);
  }
  check("no spelling of the path slips by", good, NULL);
}

static void test_refusing(int port) {
  static const struct {
    const char *status, *request;
  } cases[] = {
      {" 400 ", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {" 400 ", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"},
      {" 400 ", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"},
      {" 400 ", "GET /a HTTP/1.1\r\nHost : a\r\n\r\n"},
      {" 400 ", "GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n"},
      {" 400 ", "GET /a HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"},
      {" 400 ", "GET /a HTTP/1.1\r\n\r\n"},
      {" 400 ", "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
      {" 400 ", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc\r\n0\r\n\r\n"},
      {" 501 ", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"},
      {" 505 ", "GET /a HTTP/2.0\r\nHost: a\r\n\r\n"},
      {" 413 ", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n"},
      {" 413 ", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1048577\r\n\r\n"}};
  bool good = true;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char *answer = talk(port, cases[i].request);
    bool fine = !strncmp(answer, "HTTP/1.1", 8) && !strncmp(answer + 8, cases[i].status, 5) && has(answer, "\"error\"");
    if (!fine) printf("# case %zu: %.100s\n", i, answer);
    good &= fine;
    free(answer);
  }
  check("requests that two readers could read in two ways are refused", good, NULL);
  char *large = malloc(100000);
  memset(large, 'a', 100000);
  memcpy(large, "GET / HTTP/1.1\r\nX: ", 19);
  char *answer = talk_to(dial(port), large, 100000, 5000);
  check("a head without end is refused", has(answer, "HTTP/1.1 431 "), answer);
  free(answer);
  free(large);
}

static void test_connections(int port) {
  char *answer = talk(
      port, "POST /1?s=plain HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
            "chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
            "HEAD /2?s=plain HTTP/1.1\r\nHost: a\r\n\r\nGET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  const char *first = strstr(answer, "SEC\nR"), *second = first ? strstr(first, "HTTP/1.1 201 Made") : NULL;
  const char *third = second ? strstr(second, "HTTP/1.1 200 OK") : NULL;
  check("requests behind one another are answered in turn",
        third && has(third, "\r\n\r\nok\n") && !memmem(second, (size_t)(third - second), "SEC", 3), answer);
  free(answer);
  bool joined = false;
  for (int i = 0; i < upstream.n; i++)
    joined |= has(upstream.visits[i].request, "POST /1?s=plain") &&
              has(upstream.visits[i].request, "\r\nContent-Length: 5\r\n") &&
              has(upstream.visits[i].request, "\r\n\r\nabcde");
  check("a chunked request arrives whole", joined, NULL);
  int fd = dial(port);
  static const char head[] =
      "POST /3?s=plain HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n\r\n";
  char go_on[64] = "";
  send(fd, head, sizeof head - 1, MSG_NOSIGNAL);
  recv(fd, go_on, sizeof go_on - 1, 0);
  answer = talk_to(fd, "{}", 2, 5000);
  check("a client that asks first is told to go on", has(go_on, "100 Continue") && has(answer, "HTTP/1.1 201 Made"),
        answer);
  free(answer);
  answer = talk(port, "POST /v1/chat/completions?s=masked HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}");
  check("HTTP/1.0 gets no chunks",
        has(answer, "Connection: close") && !has(answer, "chunked") && has(answer, "[x]") && has(answer, DONE), answer);
  free(answer);
}

static void test_many(int port) {
  enum { MANY = 64 };
  int fds[MANY], good = 0;
  char request[512];
  for (int i = 0; i < MANY; i++) {
    fds[i] = dial(port);
    ask(request, sizeof request, "/v1/chat/completions", i % 2 ? "clean" : "masked");
    if (fds[i] >= 0) send(fds[i], request, strlen(request), MSG_NOSIGNAL);
  }
  for (int i = 0; i < MANY; i++) {
    size_t len = 0;
    if (fds[i] < 0) continue;
    char *answer = hear(fds[i], 10000, &len), *body = body_of(answer);
    good += body && (i % 2 ? !strcmp(body, clean) : has(body, "[x]") && has(body, DONE) && !has(body, "RET"));
    close(fds[i]);
    free(answer);
  }
  if (good != MANY) printf("# %d of %d\n", good, MANY);
  check("64 streams at once", good == MANY, NULL);
}

static void test_absent_upstream(void) {
  struct proxy p;
  int fd = socket(AF_INET, SOCK_STREAM, 0); /* a port that nobody listens on */
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &len)) return;
  if (!proxy_start(&p, ntohs(a.sin_port), NULL)) {
    check("a proxy starts without its upstream", false, NULL);
    return;
  }
  char *answer = talk(p.port, "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  check("ready before anything is known", has(answer, " 200 "), answer);
  free(answer);
  answer = chat(p.port, "clean");
  check("an upstream that is not there: 502 in OpenAI's form",
        has(answer, "HTTP/1.1 502 ") && has(answer, "\"type\":\"server_error\"") &&
            has(answer, "\"code\":\"upstream_error\""),
        answer);
  free(answer);
  answer = talk(p.port, "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  check("and the proxy says that it is not ready", has(answer, " 503 "), answer);
  free(answer);
  check("an idle proxy ends at once", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
  close(fd);
}

static void test_timeouts(void) {
  static const char *const more[] = {"--idle-timeout", "1", "--max-streams", "1", NULL};
  struct proxy p;
  if (!proxy_start(&p, upstream.port, more)) return check("a proxy with short timeouts starts", false, NULL);
  char request[512];
  int fd = dial(p.port);
  ask(request, sizeof request, "/v1/chat/completions", "silent");
  send(fd, request, strlen(request), MSG_NOSIGNAL);
  sleep_ms(300);
  char *answer = chat(p.port, "clean");
  check("more streams than allowed are told to come again", has(answer, " 503 ") && has(answer, "too_many_streams"),
        answer);
  free(answer);
  size_t len = 0;
  answer = hear(fd, 5000, &len);
  check("a silent upstream: 504", has(answer, "HTTP/1.1 504 ") && has(answer, "upstream_timeout"), answer);
  free(answer);
  close(fd);
  answer = speak(p.port, &proxy_forms[0], "silent");
  check_form(
      &proxy_forms[0], "a silent upstream: 504 in its form",
      has(answer, "HTTP/1.1 504 ") &&
          has(answer, "{\"type\":\"error\",\"error\":{\"type\":\"timeout_error\",\"message\":\"upstream_timeout: "),
      answer);
  answer = chat(p.port, "begun");
  char *body = body_of(answer);
  check("silent in the middle: an error in the stream, and an end",
        body && has(body, "first ") && has(body, "upstream_timeout") && has(body, DONE), answer);
  free(answer);
  check("its end is clean", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
}

static void test_drain(const char *seconds, bool whole) {
  const char *const more[] = {"--drain-timeout", seconds, NULL};
  struct proxy p;
  char request[512];
  if (!proxy_start(&p, upstream.port, more)) return check("a proxy starts", false, NULL);
  int fd = dial(p.port), idle = dial(p.port);
  ask(request, sizeof request, "/v1/chat/completions", whole ? "slowly" : "begun");
  send(fd, request, strlen(request), MSG_NOSIGNAL);
  sleep_ms(400);
  kill(p.pid, SIGTERM);
  sleep_ms(400);
  int refused = dial(p.port);
  check(whole ? "SIGTERM: no new connections" : "SIGTERM with a short patience: no new connections", refused < 0, NULL);
  size_t len = 0;
  char *answer = hear(fd, 8000, &len), *body = body_of(answer);
  if (whole)
    check("and the stream under way ends whole", body && has(body, FINISH DONE) && !has(body, "error"), answer);
  else
    check("and the stream is ended with an error that clients raise",
          body && has(body, "proxy_shutting_down") && has(body, DONE), answer);
  free(answer);
  close(fd);
  close(idle);
  int status = 0, code = -1;
  for (int i = 0; i < 500 && code < 0; i++, sleep_ms(10))
    if (waitpid(p.pid, &status, WNOHANG) == p.pid) code = WIFEXITED(status) ? WEXITSTATUS(status) : 256;
  check(whole ? "exit 0" : "exit 143", code == (whole ? 0 : 143), NULL);
  if (code < 0) kill(p.pid, SIGKILL);
}

static void test_unix_socket(void) {
  char place[256], path[100];
  snprintf(path, sizeof path, "%s/s", work);
  snprintf(place, sizeof place, "unix:%s", path);
  const char *const more[] = {"--listen", place, "--admin", "127.0.0.1:0", NULL};
  struct proxy p;
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  if (!proxy_start(&p, upstream.port, more)) return check("a proxy with a unix socket starts", false, NULL);
  snprintf(a.sun_path, sizeof a.sun_path, "%s", path);
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  static const char request[] = "GET /metrics?s=plain HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  char *answer = connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? talk_to(fd, request, sizeof request - 1, 5000)
                                                                   : strdup("(no connection)");
  check("a unix socket; with --admin, /metrics is the upstream's", has(answer, "201 Made"), answer);
  free(answer);
  check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
  check("takes its socket along", access(path, F_OK) != 0, NULL);
}

int main(int argc, char **argv) {
  static const char *const more[] = {"--max-body", "1", NULL};
  struct proxy p;
  if (argc != 2 || !getenv("SLUICE")) {
    fprintf(stderr, "usage: SLUICE=PROGRAM proxy_client FOLDER\n");
    return 2;
  }
  work = argv[1];
  signal(SIGPIPE, SIG_IGN);
  if (!proxy_policy_write() || !proxy_upstream_start(&upstream, play) || !proxy_start(&p, upstream.port, more)) {
    check("a proxy starts", false, NULL);
    return 1;
  }
  test_passing(p.port);
  test_judging(p.port);
  test_stopping(p.port);
  for (size_t i = 0; i < sizeof proxy_forms / sizeof *proxy_forms; i++) test_form(p.port, &proxy_forms[i]);
  vanish(p.port, "silent", "a client that leaves before the first byte cancels the upstream");
  vanish(p.port, "begun", "a client that leaves in the middle cancels the upstream");
  test_slow_reader(&p);
  test_failing(p.port);
  test_spellings(p.port);
  test_refusing(p.port);
  test_connections(p.port);
  test_many(p.port);
  sleep_ms(300);
  check("nothing is left under way",
        metric(p.port, "sluice_streams") == 0 && metric(p.port, "sluice_backlog_bytes") == 0, NULL);
  check("SIGTERM ends it", proxy_stop(&p, SIGTERM, 5000) == 0, NULL);
  test_absent_upstream();
  test_timeouts();
  test_drain("5", true);
  test_drain("1", false);
  test_unix_socket();
  return bad;
}
