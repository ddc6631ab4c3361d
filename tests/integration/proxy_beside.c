/* `sluice proxy` and what is long: prompts and whole answers that are judged on the thread beside the loop. Run by
 * proxy_beside.sh, which names the program to test in $SLUICE. Everything is on 127.0.0.1 and bounded in time. */
#include "tests/proxy_forms.h"
#include "tests/proxy_process.h"

enum { STREAMS = 16, FLOOD = 12 << 20 }; /* FLOOD: bytes of a stream */
enum { LONG = 64 << 10, SLOW = 450 };    /* bytes: of a long text; of one that takes some tenths of a second to judge */

static struct proxy_upstream upstream;
#ifdef __SANITIZE_THREAD__
enum { UNDER_TSAN = 1, PATIENCE_S = 200 };
#else
enum { UNDER_TSAN = 0, PATIENCE_S = 20 };
#endif
static char whole[3 * LONG];

static bool write_policy(void) {
  char path[256];
  snprintf(path, sizeof path, "%s/policy.json", work);
  FILE *f = fopen(path, "w");
  if (!f) return false;
  fputs("{\"on\":[\"prompt\",\"answer\"],\"limits\":{\"match_limit\":1000000},\"rules\":["
        "{\"id\":\"mask\",\"category\":\"m\",\"action\":\"mask\",\"mask\":\"[x]\",\"pattern\":\"SECRET\"},"
        "{\"id\":\"slow\",\"category\":\"l\",\"action\":\"flag\",\"fail\":\"open\",\"views\":[\"raw\"],"
        "\"keywords\":[\"qq\"],\"pattern\":\"qq(?:q+q+)+y\"},"
        "{\"id\":\"stop\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}",
        f);
  return fclose(f) == 0;
}

#define TICK "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"tick \"}}]}\n\n"
#define HEAD(type) "HTTP/1.1 200 OK\r\nContent-Type: " type "\r\nConnection: close\r\n\r\n"

static void play(struct visit *v) {
  if (!strcmp(v->script, "ticks")) {
    bool on = visit_say(v, HEAD("text/event-stream"));
    for (int i = 0; on && i < 3000; i++, sleep_ms(10)) on = visit_say(v, TICK);
  } else if (!strcmp(v->script, "flood")) {
    static const char event[] = TICK TICK TICK TICK TICK TICK TICK TICK;
    bool on = visit_say(v, HEAD("text/event-stream"));
    while (on && v->sent < FLOOD) on = visit_send(v, event, sizeof event - 1);
  } else if (!strncmp(v->script, "event", 5)) {
    visit_say(v, HEAD("text/event-stream"));
    visit_say_cut(v, whole, 3000);
    if (!strcmp(v->script, "eventreset")) sleep_ms(100);
    v->reset = !strcmp(v->script, "eventreset");
  } else if (!strncmp(v->script, "whole", 5)) {
    visit_say(v, HEAD("application/json"));
    visit_say_cut(v, whole, 3000);
  } else {
    visit_say(v, HEAD("application/json") "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"fine\"}}]}");
  }
}

/* `n` bytes of text that means nothing, with these words in its middle. */
static void fill(char *out, size_t n, const char *text, const char *words) {
  size_t len = strlen(text);
  for (size_t i = 0; i < n; i++) out[i] = text[i % len];
  memcpy(out + n / 2, words, strlen(words));
  out[n] = '\0';
}

static char *request_of(const char *script, const char *text, const char *more) {
  size_t size = strlen(text) + 512;
  char *body = malloc(size), *request = malloc(size + 512);
  int n = snprintf(body, size, "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"%s\"}]%s}", text, more);
  snprintf(request, size + 512,
           "POST /v1/chat/completions?s=%s HTTP/1.1\r\nHost: me\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
           script, n, body);
  free(body);
  return request;
}

static char *say(int port, const char *script, const char *text, const char *more) {
  char *request = request_of(script, text, more);
  char *answer = talk_to(dial(port), request, strlen(request), 20000);
  free(request);
  return answer;
}

static void test_prompts(int port) {
  static char text[LONG + 1];
  fill(text, LONG, "nothing to see here ", " a SECRET b ");
  char *answer = say(port, "masked", text, "");
  struct visit *v = proxy_upstream_visit(&upstream, "masked");
  check("a long prompt is masked", has(answer, "fine") && v && strstr(v->request, " a [x] b "), answer);
  check("and nothing of it gets by", v && !strstr(v->request, "SECRET"), NULL);
  free(answer);
  fill(text, LONG, "nothing to see here ", " a BOMB b ");
  answer = say(port, "blocked", text, "");
  check("a long prompt is blocked", has(answer, "HTTP/1.1 400 ") && has(answer, "\"content_filter\""), answer);
  free(answer);
  answer = say(port, "twice", text, ",\"model\":\"n\"");
  check("a long request that two readers could read in two ways is refused", has(answer, "\"prompt_not_judged\""),
        answer);
  free(answer);
}

/* Until the upstream reads `whole` no more. */
static void is_over(const char *script) {
  for (int i = 0; i < upstream.n; i++)
    while (visit_is(&upstream.visits[i], script) && !upstream.visits[i].ended) sleep_ms(1);
}

static void test_answers(int port) {
  static const char head[] = "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"";
  static const char tail[] = "\"},\"finish_reason\":\"stop\"}]}";
  static char text[LONG + 1];
  fill(text, LONG, "nothing to see here ", " a SECRET b ");
  snprintf(whole, sizeof whole, "%s%s%s", head, text, tail);
  char *answer = say(port, "wholemasked", "hello", "");
  check("a long answer is masked", has(answer, " a [x] b ") && has(answer, tail) && !has(answer, "SECRET"), answer);
  free(answer);
  is_over("wholemasked");
  fill(text, LONG, "nothing to see here ", " a BOMB b ");
  snprintf(whole, sizeof whole, "%s%s%s", head, text, tail);
  answer = say(port, "wholestopped", "hello", "");
  check("a long answer is stopped", has(answer, " a \"},\"finish_reason\":\"content_filter\"}]}"), answer);
  free(answer);
  is_over("wholestopped");
  snprintf(whole, sizeof whole, "%s%s", head, text);
  answer = say(port, "wholebroken", "hello", "");
  check("a long answer that is no JSON is refused", has(answer, "HTTP/1.1 502 ") && !has(answer, "BOMB"), answer);
  free(answer);
  is_over("wholebroken");
}

/* Long events of a stream, between short ones. */
static void test_events(int port) {
  static char text[LONG + 1];
  static const char head[] = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"";
  static const char tail[] = "\"}}]}\n\n";
  static const char done[] = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                             "data: [DONE]\n\n";
  fill(text, LONG, "nothing to see here ", " a SECRET b ");
  memcpy(text + LONG - 3, "SEC", 3); /* the end of one is decided by the next */
  snprintf(whole, sizeof whole, TICK "%s%s%s" TICK "%s%s%s%sRET ok%s%s", head, text, tail, head, text, tail, head, tail,
           done);
  char *answer = say(port, "eventmasked", "hello", ""), *body = body_of(answer);
  check("long events are masked, and what begins in one and ends in the next",
        body && has(body, " a [x] b ") && has(body, "[x]\"}}]}\n\n") && !has(body, "SECRET") && !has(body, "RET"),
        answer);
  check("in their order",
        body && !strncmp(body, TICK, sizeof TICK - 1) && has(body, " ok\"}}]}\n\n") && has(body, done), body);
  free(answer);
  is_over("eventmasked");
  fill(text, LONG, "nothing to see here ", " a BOMB b ");
  snprintf(whole, sizeof whole, TICK "%s%s%s" TICK "%s", head, text, tail, done);
  answer = say(port, "eventstopped", "hello", "");
  check("a long event is stopped",
        has(answer, " a \"}}]}\n\n") && has(answer, "\"content_filter\"") && !has(answer, "BOMB"), answer);
  free(answer);
  is_over("eventstopped");
  fill(text, LONG, "nothing to see here ", " a SECRET b ");
  snprintf(whole, sizeof whole, TICK "%s%s\"}}]}", head, text); /* no blank line behind it */
  answer = say(port, "eventlast", "hello", "");
  check("one that the stream ends with", has(answer, " a [x] b "), answer);
  free(answer);
  is_over("eventlast");
  snprintf(whole, sizeof whole, TICK "%s%s\n\n" TICK, head, text);
  answer = say(port, "eventbroken", "hello", "");
  check("one that is no JSON is refused", has(answer, "\"answer_not_judged\"") && !has(answer, "SECRET"), answer);
  free(answer);
  is_over("eventbroken");
  snprintf(whole, sizeof whole, TICK "%s%s%s", head, text, tail);
  answer = say(port, "eventreset", "hello", "");
  check("what came before a reset is shown", has(answer, " a [x] b ") && has(answer, "\"upstream_error\""), answer);
  free(answer);
  is_over("eventreset");
}

static bool comes(int fd, int ms, size_t *bytes) {
  char some[4096];
  struct pollfd p = {.fd = fd, .events = POLLIN};
  if (poll(&p, 1, ms) <= 0) return false;
  ssize_t n = recv(fd, some, sizeof some, 0);
  *bytes += n > 0 ? (size_t)n : 0;
  return n > 0;
}

/* How many reads a stream brought while a slow prompt, or answer, was judged: by order, not by the clock. */
static int reads_meanwhile(int port, const char *request, size_t enough) {
  static const char ticks[] = "POST /v1/chat/completions?s=ticks HTTP/1.1\r\nHost: me\r\nContent-Length: 2\r\n\r\n{}";
  int stream = dial(port), slow = dial(port), n = 0;
  size_t bytes = 0, answered = 0;
  if (send(stream, ticks, sizeof ticks - 1, MSG_NOSIGNAL) > 0) comes(stream, 5000, &bytes);
  ssize_t sent = send(slow, request, strlen(request), MSG_NOSIGNAL);
  for (int64_t until = now_ns() + 30000000000LL; sent > 0 && answered < enough && now_ns() < until;) {
    while (comes(slow, 0, &answered)) {
    }
    n += answered < enough && comes(stream, 20, &bytes);
  }
  close(slow);
  close(stream);
  return answered >= enough ? n : -1;
}

static void test_streams_go_on(int port) {
  static char text[LONG + 1], run[SLOW + 1];
  fill(text, LONG, "nothing to see here ", "");
  fill(run, SLOW, "q", "");
  memcpy(text + LONG / 2, run, SLOW);
  char *request = request_of("slow", text, ""), seen[64];
  int n = reads_meanwhile(port, request, 1);
  snprintf(seen, sizeof seen, "%d reads", n);
  check("a stream goes on while a slow prompt is judged", n > 12, seen);
  free(request);
  snprintf(whole, sizeof whole, "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"%s\"}}]}", text);
  request = request_of("whole", "hello", "");
  n = reads_meanwhile(port, request, 1);
  snprintf(seen, sizeof seen, "%d reads", n);
  check("and while a slow answer is judged", n > 12, seen);
  free(request);
  is_over("whole");
  snprintf(whole, sizeof whole, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}}]}\n\n", text);
  request = request_of("event", "hello", "");
  n = reads_meanwhile(port, request, LONG);
  snprintf(seen, sizeof seen, "%d reads", n);
  check("and while a slow event of another stream is judged", n > 12, seen);
  free(request);
  is_over("event");
}

/* libcurl reads on while a socket has more, up to a hundred times 16 KiB: what it brings in one go may not pile up, nor
 * stay with each stream. Readers that take all at once, so that nothing else holds the upstream. */
static void test_flood(const struct proxy *p) {
  static char some[256 << 10];
  struct pollfd fds[STREAMS];
  char request[256], seen[96];
  size_t before = proxy_memory(p), most = before, bytes = 0;
  int open = 0, rounds = 0;
  ask(request, sizeof request, "/v1/chat/completions", "flood");
  for (int i = 0; i < STREAMS; i++) {
    int fd = dial(p->port), large = 4 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
    fds[i] = (struct pollfd){.fd = fd, .events = POLLIN};
    open += send(fd, request, strlen(request), MSG_NOSIGNAL) > 0;
  }
  for (int64_t until = now_ns() + 30000000000LL; open > 0 && poll(fds, STREAMS, 5000) > 0 && now_ns() < until;) {
    for (int i = 0; i < STREAMS; i++) {
      if (!fds[i].revents) continue;
      ssize_t n = recv(fds[i].fd, some, sizeof some, 0);
      bytes += n > 0 ? (size_t)n : 0;
      if (n > 0) continue;
      close(fds[i].fd);
      fds[i].fd = -1;
      open--;
    }
    if (rounds++ % 16) continue;
    size_t now = proxy_memory(p);
    if (now > most) most = now;
  }
  snprintf(seen, sizeof seen, "%d streams brought %zu bytes, memory grew by %zu", STREAMS, bytes, most - before);
  printf("# %s\n", seen);
  check("a flood of events is carried whole", open == 0 && bytes > (size_t)STREAMS * FLOOD, seen);
  check("and in at most 1.5 MiB a stream", most - before < (size_t)STREAMS * (1536 << 10), seen);
}

/* Clients that leave while their prompt, or their answer, is judged. */
static void test_leaving(int port) {
  static char text[4 * LONG + 1], run[SLOW + 1];
  fill(text, sizeof text - 1, "nothing to see here ", "");
  fill(run, SLOW, "q", "");
  for (size_t at = 0; at + SLOW < 4 * (size_t)LONG; at += LONG) memcpy(text + at, run, SLOW);
  char *request = request_of("left", text, "");
  for (int i = 0; i < 4; i++) {
    int fd = dial(port);
    ssize_t sent = send(fd, request, strlen(request), MSG_NOSIGNAL);
    (void)sent;
    sleep_ms(30);
    close(fd);
  }
  free(request);
  request = request_of("whole", "hello", "");
  int fd = dial(port);
  ssize_t sent = send(fd, request, strlen(request), MSG_NOSIGNAL);
  (void)sent;
  sleep_ms(200);
  close(fd);
  free(request);
  is_over("whole");
  snprintf(whole, sizeof whole, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%.*s\"}}]}\n\n", LONG, text);
  request = request_of("eventleft", "hello", "");
  for (int i = 0; i < 2; i++) {
    fd = dial(port);
    sent = send(fd, request, strlen(request), MSG_NOSIGNAL);
    sleep_ms(150);
    close(fd);
  }
  free(request);
  uint64_t streams = 1;
  for (int64_t until = now_ns() + PATIENCE_S * 1000000000LL; streams && now_ns() < until; sleep_ms(50))
    streams = metric(port, "sluice_streams");
  check("clients that leave meanwhile take their work along", streams == 0, NULL);
  bool asked = false;
  for (int i = 0; i < upstream.n; i++) asked |= visit_is(&upstream.visits[i], "left");
  check("and nothing of it is sent", !asked, NULL);
}

static void test_ending(struct proxy *p) {
  static char text[LONG + 1], run[SLOW + 1];
  fill(text, LONG, "nothing to see here ", "");
  fill(run, SLOW, "q", "");
  memcpy(text + LONG / 2, run, SLOW);
  is_over("eventleft");
  snprintf(whole, sizeof whole, TICK "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}}]}\n\n", text);
  char *request = request_of("cut", text, ""), *streaming = request_of("eventcut", "hello", "");
  int fd = dial(p->port), stream = dial(p->port);
  size_t n = 0;
  bool sent = send(stream, streaming, strlen(streaming), MSG_NOSIGNAL) > 0;
  sleep_ms(150); /* its event is judged first */
  sent &= send(fd, request, strlen(request), MSG_NOSIGNAL) > 0;
  sleep_ms(50);
  check("two requests are under way", sent && metric(p->port, "sluice_streams") == 2, NULL);
  kill(p->pid, SIGTERM);
  sleep_ms(50);
  int status = proxy_stop(p, SIGTERM, 20000);
  char *answer = hear(fd, 2000, &n);
  check("shutting down meanwhile says so", has(answer, "\"proxy_shutting_down\""), answer);
  free(answer);
  answer = hear(stream, 2000, &n);
  check("in a stream too, while its event is judged",
        has(answer, TICK) && has(answer, "\"proxy_shutting_down\"") && has(answer, "[DONE]") && !has(answer, "qqqq"),
        answer);
  check("and ends well", status == 143, NULL);
  free(answer);
  free(request);
  free(streaming);
  close(fd);
  close(stream);
}

int main(int argc, char **argv) {
  struct proxy p;
  if (argc != 2 || !getenv("SLUICE")) {
    fprintf(stderr, "usage: SLUICE=PROGRAM proxy_beside FOLDER\n");
    return 2;
  }
  work = argv[1];
  signal(SIGPIPE, SIG_IGN);
  if (!write_policy() || !proxy_upstream_start(&upstream, play) || !proxy_start(&p, upstream.port, NULL)) {
    check("a proxy starts", false, NULL);
    return 1;
  }
  test_prompts(p.port);
  test_answers(p.port);
  test_events(p.port);
  test_streams_go_on(p.port);
  if (!UNDER_TSAN) test_flood(&p); /* whose memory says nothing of the program's */
  test_leaving(p.port);
  test_ending(&p);
  return bad;
}
