/* `sluice proxy` with several upstreams, several threads, another policy on SIGHUP and a bound on memory. Run by
 * proxy_many.sh, which names the program to test in $SLUICE. Prints "ok - NAME" or "not ok - NAME", one line a test. */
#include "tests/proxy_process.h"

#define EVENT(text) "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define FINISH "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define SSE_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"

static struct proxy_upstream first, second;

static void play_stream(struct visit *v) {
  if (!visit_say(v, SSE_HEAD EVENT("one "))) return;
  if (!strcmp(v->script, "held")) visit_await_end(v, 8000);
  if (!strcmp(v->script, "slowly"))
    for (int i = 0; i < 20 && visit_say(v, EVENT("SECRET OTHER ")); i++) sleep_ms(100);
  if (!strcmp(v->script, "stopped") && visit_say(v, EVENT("a BOMB "))) visit_await_end(v, 3000);
  visit_say(v, EVENT("SECRET OTHER ") FINISH DONE);
}

static void play_good(struct visit *v) {
  if (!strcmp(v->script, "plain") || !strcmp(v->script, "hangup"))
    visit_say(v, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood");
  else
    play_stream(v);
}

/* Closes without a word when asked to hang up. */
static void play_other(struct visit *v) {
  if (strcmp(v->script, "hangup") != 0) play_good(v);
}

static int visits(const struct proxy_upstream *u, const char *script) {
  int n = 0;
  for (int i = 0; i < u->n; i++) n += visit_is(&u->visits[i], script);
  return n;
}

static void request(char *out, size_t size, const char *method, const char *script) {
  snprintf(out, size, "%s /v1/x?s=%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", method,
           script);
}

static char *say(int port, const char *method, const char *script) {
  char text[256];
  request(text, sizeof text, method, script);
  return talk(port, text);
}

static int dead_port(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || getsockname(fd, (struct sockaddr *)&a, &len)) return 0;
  close(fd);
  return ntohs(a.sin_port);
}

static uint64_t upstream_metric(int port, const char *name, int to, const char *tier) {
  char line[160];
  snprintf(line, sizeof line, "%s{upstream=\"http://127.0.0.1:%d\",tier=\"%s\"}", name, to, tier);
  return metric(port, line);
}

static bool write_policy(const char *masked) {
  char path[256];
  snprintf(path, sizeof path, "%s/policy.json", work);
  FILE *f = fopen(path, "w");
  if (!f) return false;
  fprintf(f,
          "{\"rules\":[{\"id\":\"m\",\"category\":\"m\",\"action\":\"mask\",\"mask\":\"[x]\",\"pattern\":\"%s\"},"
          "{\"id\":\"stop\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}",
          masked);
  return fclose(f) == 0;
}

/* ---- upstreams ---- */

static bool revive(int port) { /* something listens there now */
  static struct proxy_upstream late;
  struct sockaddr_in a = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int one = 1;
  late.play = play_good;
  late.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  setsockopt(late.listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  return bind(late.listener, (struct sockaddr *)&a, sizeof a) == 0 && listen(late.listener, 16) == 0 &&
         pthread_create(&late.thread, NULL, proxy_upstream_thread, &late) == 0;
}

static void test_sick_upstream(void) {
  char url[64];
  int dead = dead_port(), good = 0;
  snprintf(url, sizeof url, "http://127.0.0.1:%d", dead);
  const char *const more[] = {"--upstream", url, NULL};
  struct proxy p;
  if (!proxy_start(&p, first.port, more)) return check("a proxy with two upstreams starts", false, NULL);
  for (int i = 0; i < 12; i++) {
    char *answer = say(p.port, "POST", "plain");
    good += has(answer, "\r\n\r\ngood");
    free(answer);
  }
  check("an upstream that is not there is never seen: POST goes to the other", good == 12, NULL);
  check("it is left alone after three failures",
        upstream_metric(p.port, "sluice_upstream_up", dead, "primary") == 0 &&
            upstream_metric(p.port, "sluice_upstream_errors_total", dead, "primary") == 3 &&
            upstream_metric(p.port, "sluice_upstream_up", first.port, "primary") == 1,
        NULL);
  check("and what was asked again is counted", metric(p.port, "sluice_upstream_repeated_total") == 3, NULL);
  bool up = false;
  if (revive(dead))
    for (int64_t until = now_ns() + 8000000000LL; !up && now_ns() < until; sleep_ms(100))
      up = upstream_metric(p.port, "sluice_upstream_up", dead, "primary") == 1;
  check("when it is back a probe finds it", up, NULL);
  for (int i = 0; i < 4; i++) free(say(p.port, "POST", "plain"));
  check("and it is asked again", upstream_metric(p.port, "sluice_upstream_requests_total", dead, "primary") > 3, NULL);
  check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
}

static void test_repeating(void) {
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:%d", second.port);
  const char *const more[] = {"--upstream", url, "--eject-after", "1000", NULL};
  struct proxy p;
  int good = 0, failed = 0;
  if (!proxy_start(&p, first.port, more)) return check("a proxy starts", false, NULL);
  for (int i = 0; i < 6; i++) {
    char *answer = say(p.port, "GET", "hangup");
    good += has(answer, "\r\n\r\ngood");
    free(answer);
  }
  check("a GET to which no answer came is asked of another upstream", good == 6 && visits(&second, "hangup") > 0, NULL);
  for (int i = 0; i < 6; i++) {
    int before = visits(&second, "hangup"), at_first = visits(&first, "hangup");
    char *answer = say(p.port, "POST", "hangup");
    bool to_second = visits(&second, "hangup") > before;
    failed += to_second && has(answer, " 502 ") && visits(&first, "hangup") == at_first;
    good += !to_second && has(answer, "\r\n\r\ngood");
    free(answer);
  }
  check("a POST that had been sent is not", good == 6 + 3 && failed == 3, NULL);
  check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
}

static void test_choice(void) {
  char url[64], text[512];
  snprintf(url, sizeof url, "http://127.0.0.1:%d", second.port);
  const char *const more[] = {"--upstream", url, NULL};
  struct proxy p;
  enum { HELD = 6 };
  int fds[HELD];
  if (!proxy_start(&p, first.port, more)) return check("a proxy starts", false, NULL);
  ask(text, sizeof text, "/v1/chat/completions", "held");
  for (int i = 0; i < HELD; i++) {
    fds[i] = dial(p.port);
    send(fds[i], text, strlen(text), MSG_NOSIGNAL);
    for (int k = 0; k < 300 && visits(&first, "held") + visits(&second, "held") <= i; k++) sleep_ms(10);
  }
  check("streams go to the upstream with the fewest", visits(&first, "held") == 3 && visits(&second, "held") == 3,
        NULL);
  for (int i = 0; i < HELD; i++) close(fds[i]);
  check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
}

static void test_backup(void) {
  char url[64];
  int dead = dead_port(), before = visits(&first, "plain");
  snprintf(url, sizeof url, "http://127.0.0.1:%d", second.port);
  const char *const more[] = {"--backup", url, NULL};
  struct proxy p;
  if (!proxy_start(&p, first.port, more)) return check("a proxy with a backup starts", false, NULL);
  for (int i = 0; i < 4; i++) free(say(p.port, "POST", "plain"));
  check("a backup is left alone while the first is well",
        visits(&first, "plain") == before + 4 && visits(&second, "plain") == 0, NULL);
  check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
  if (!proxy_start(&p, dead, more)) return check("a proxy with a backup starts", false, NULL);
  char *answer = say(p.port, "POST", "plain");
  check("and asked when it is not", has(answer, "\r\n\r\ngood") && visits(&second, "plain") == 1, answer);
  free(answer);
  check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
}

static void test_unix_upstream(void) {
  char place[256];
  snprintf(place, sizeof place, "unix:%s/u", work);
  const char *const listens[] = {"--listen", place, NULL}, *const asks[] = {"--backup", place, NULL};
  struct proxy inner, outer;
  if (!proxy_start(&inner, first.port, listens)) return check("a proxy on a unix socket starts", false, NULL);
  if (!proxy_start(&outer, dead_port(), asks)) return check("a proxy to a unix socket starts", false, NULL);
  char *answer = chat(outer.port, "clean"), *body = body_of(answer);
  check("a unix socket on both sides", body && has(body, "[x] OTHER ") && has(body, DONE), answer);
  free(answer);
  check("clean ends", proxy_stop(&outer, SIGTERM, 3000) == 0 && proxy_stop(&inner, SIGTERM, 3000) == 0, NULL);
}

/* ---- threads ---- */

static void test_threads(void) {
  static const char *const more[] = {"--threads", "3", NULL};
  enum { MANY = 60 };
  struct proxy p;
  int fds[MANY], good = 0;
  char text[512];
  if (!proxy_start(&p, first.port, more)) return check("a proxy with three threads starts", false, NULL);
  ask(text, sizeof text, "/v1/chat/completions", "clean");
  for (int i = 0; i < MANY; i++) {
    fds[i] = dial(p.port);
    if (fds[i] >= 0) send(fds[i], text, strlen(text), MSG_NOSIGNAL);
  }
  for (int i = 0; i < MANY; i++) {
    size_t len = 0;
    if (fds[i] < 0) continue;
    char *answer = hear(fds[i], 10000, &len), *body = body_of(answer);
    good += body && has(body, "[x] OTHER ") && has(body, DONE);
    close(fds[i]);
    free(answer);
  }
  check("three threads: 60 streams at once", good == MANY, NULL);
  sleep_ms(500); /* gauges of the other threads are as old as their clocks' last tick */
  check("clients are counted together", metric(p.port, "sluice_clients") == 1, NULL);
  check("so are detectors' times, every eighth piece",
        metric(p.port, "sluice_detector_seconds_count{detector=\"rules\"}") >= 2 * MANY / 8 &&
            metric(p.port, "sluice_detector_seconds_bucket{detector=\"rules\",le=\"+Inf\"}") <= 2 * MANY / 8 + 3,
        NULL);
  check("and answers",
        metric(p.port, "sluice_requests_total{path=\"judged\",status=\"2xx\"}") == MANY &&
            metric(p.port, "sluice_verdicts_total{category=\"m\",action=\"mask\"}") == MANY &&
            metric(p.port, "sluice_streams") == 0,
        NULL);
  int fd = dial(p.port), others[8];
  ask(text, sizeof text, "/v1/chat/completions", "slowly");
  send(fd, text, strlen(text), MSG_NOSIGNAL);
  for (int i = 0; i < 8; i++) others[i] = dial(p.port);
  sleep_ms(300);
  kill(p.pid, SIGTERM);
  size_t len = 0;
  char *answer = hear(fd, 8000, &len), *body = body_of(answer);
  check("SIGTERM: streams of every thread end whole", body && has(body, DONE) && !has(body, "error"), answer);
  free(answer);
  close(fd);
  for (int i = 0; i < 8; i++) close(others[i]);
  check("and the process with exit 0", proxy_stop(&p, 0, 4000) == 0, NULL);
}

/* ---- SIGHUP ---- */

static bool reaches(int port, const char *name, uint64_t value) {
  for (int64_t until = now_ns() + 4000000000LL; now_ns() < until; sleep_ms(20))
    if (metric(port, name) == value) return true;
  return false;
}

static void test_reload(void) {
  char audit[256], text[512];
  snprintf(audit, sizeof audit, "%s/audit.jsonl", work);
  const char *const more[] = {"--audit", audit, NULL};
  struct proxy p;
  size_t len = 0;
  if (!proxy_start(&p, first.port, more)) return check("a proxy starts", false, NULL);
  int fd = dial(p.port);
  ask(text, sizeof text, "/v1/chat/completions", "slowly");
  send(fd, text, strlen(text), MSG_NOSIGNAL);
  sleep_ms(300);
  write_policy("OTHER");
  kill(p.pid, SIGHUP);
  check("SIGHUP reads the policy again", reaches(p.port, "sluice_reloads_total", 1), NULL);
  char *answer = chat(p.port, "clean"), *body = body_of(answer);
  check("new answers are judged by the new one", body && has(body, "SECRET [x] "), answer);
  free(answer);
  answer = hear(fd, 8000, &len);
  body = body_of(answer);
  check("an answer under way ends by the old one",
        body && has(body, "[x] OTHER ") && !has(body, "SECRET") && has(body, DONE), answer);
  free(answer);
  close(fd);
  write_policy("(");
  kill(p.pid, SIGHUP);
  check("a broken policy is refused", reaches(p.port, "sluice_reloads_failed_total", 1), NULL);
  answer = chat(p.port, "clean");
  body = body_of(answer);
  check("and the one before stays", body && has(body, "SECRET [x] "), answer);
  free(answer);
  write_policy("SECRET");
  static const char limited[] = "POST /v1/chat/completions?s=stopped HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                                "Content-Length: 18\r\n\r\n{\"max_tokens\": 50}";
  free(talk(p.port, limited));
  free(chat(p.port, "stopped"));
  check("tokens saved: at most the request's bound less what had come",
        metric(p.port, "sluice_tokens_saved_max_total") == 48 &&
            metric(p.port, "sluice_stops_without_token_limit_total") == 1,
        NULL);
  check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
  FILE *f = fopen(audit, "r");
  char line[1024];
  int named = 0, all = 0;
  while (f && fgets(line, sizeof line, f)) all++, named += has(line, "\"request\":") != 0;
  if (f) fclose(f);
  check("every row of the audit names its request", all > 20 && named == all, NULL);
}

/* ---- memory ---- */

static void test_memory(void) {
  static const char *const more[] = {"--max-memory", "1", NULL};
  enum { LARGE = 700 << 10, HELD = 3 };
  struct proxy p;
  if (!proxy_start(&p, first.port, more)) return check("a proxy with little memory starts", false, NULL);
  char head[256], *body = calloc(1, LARGE);
  memset(body, ' ', LARGE);
  int fds[HELD],
      n = snprintf(head, sizeof head,
                   "POST /v1/chat/completions?s=held HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", LARGE);
  int refused = 0, begun = 0;
  for (int i = 0; i < HELD; i++) {
    char seen[64] = "";
    fds[i] = dial(p.port);
    send(fds[i], head, (size_t)n, MSG_NOSIGNAL);
    for (size_t at = 0; at < LARGE;) {
      ssize_t sent = send(fds[i], body + at, LARGE - at, MSG_NOSIGNAL);
      if (sent <= 0) break;
      at += (size_t)sent;
    }
    recv(fds[i], seen, sizeof seen - 1, 0);
    refused += has(seen, "HTTP/1.1 503 ");
    begun += has(seen, "HTTP/1.1 200 ");
  }
  check("bodies count towards one bound: the first is taken, the others are refused", begun == 1 && refused == 2, NULL);
  for (int i = 0; i < HELD; i++) close(fds[i]);
  free(body);
  check("and what ended is given back", reaches(p.port, "sluice_streams", 0), NULL);
  char *answer = chat(p.port, "clean");
  check("so that the next is answered", has(answer, "HTTP/1.1 200 "), answer);
  free(answer);
  check("a clean end", proxy_stop(&p, SIGTERM, 3000) == 0, NULL);
}

int main(int argc, char **argv) {
  if (argc != 2 || !getenv("SLUICE")) {
    fprintf(stderr, "usage: SLUICE=PROGRAM proxy_many FOLDER\n");
    return 2;
  }
  work = argv[1];
  signal(SIGPIPE, SIG_IGN);
  if (!write_policy("SECRET") || !proxy_upstream_start(&first, play_good) ||
      !proxy_upstream_start(&second, play_other)) {
    check("upstreams start", false, NULL);
    return 1;
  }
  test_sick_upstream();
  test_repeating();
  test_choice();
  test_backup();
  test_unix_upstream();
  test_threads();
  test_reload();
  test_memory();
  return bad;
}
