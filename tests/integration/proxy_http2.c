/* `sluice proxy --upstream-http2` -> nginx, which speaks HTTP/2 over TLS -> a scripted upstream. Run by proxy_http2.sh,
 * which names the program to test in $SLUICE. Everything is on 127.0.0.1 and bounded in time. */
#include "tests/proxy_forms.h"
#include "tests/proxy_process.h"
#include "tests/tls_files.h"

#define EVENT(text) "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define FINISH "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define HEAD(type) "HTTP/1.1 200 OK\r\nContent-Type: " type "\r\nConnection: close\r\n\r\n"

enum { MANY = 24 };
static struct proxy_upstream upstream;
static pid_t front;
static int front_port;
static char ca_file[256];

/* nginx looks whether its client has left only when it has something to write. */
static void keep_alive(struct visit *v) {
  for (int i = 0; i < 200 && visit_say(v, ": alive\n\n"); i++) sleep_ms(40);
}

static void play(struct visit *v) {
  const char *s = v->script;
  static const char event[] = EVENT("a line of text that says nothing much at all, only to be long enough to count");
  if (!strcmp(s, "whole")) {
    visit_say(v, HEAD("application/json") "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"my SECRET\"}}]}");
    return;
  }
  if (!visit_say(v, HEAD("text/event-stream") EVENT("one "))) return;
  if (!strcmp(s, "held")) keep_alive(v);
  if (!strcmp(s, "stopped") && visit_say(v, EVENT("the BO") EVENT("MB is "))) keep_alive(v);
  if (!strcmp(s, "reset")) {
    sleep_ms(100);
    v->reset = true;
    return;
  }
  while (!strcmp(s, "flood") && v->sent < ((size_t)64 << 20) && visit_send(v, event, sizeof event - 1)) {
  }
  for (int i = 0; i < 10 && !strcmp(s, "slowly"); i++, sleep_ms(30)) visit_say(v, EVENT("tick "));
  visit_say_cut(v, EVENT("a SEC") EVENT("RET b") FINISH DONE, 7);
}

/* A port that was free a moment ago. */
static int free_port(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t n = sizeof a;
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  bool good = bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0;
  close(fd);
  return good ? ntohs(a.sin_port) : 0;
}

static bool front_start(void) {
  char path[256], pem[256];
  struct tls_identity ca = tls_make("test CA", NULL), server = tls_make("front", &ca);
  snprintf(ca_file, sizeof ca_file, "%s/ca.pem", work);
  snprintf(pem, sizeof pem, "%s/server.pem", work);
  snprintf(path, sizeof path, "%s/nginx.conf", work);
  bool good = tls_write(ca_file, &ca, false) && tls_write(pem, &server, true);
  tls_free(&ca);
  tls_free(&server);
  FILE *f = fopen(path, "w");
  front_port = free_port();
  if (!f || !good) return false;
  fprintf(f,
          "daemon off; master_process off; pid %s/pid; error_log %s/error.log; events {}\n"
          "http { access_log off; log_format p '$server_protocol $connection'; client_body_temp_path %s/b;\n"
          "proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path %s/u; scgi_temp_path %s/s;\n"
          "server { listen 127.0.0.1:%d ssl http2; ssl_certificate %s; ssl_certificate_key %s;\n"
          "access_log %s/access.log p; location / { proxy_pass http://127.0.0.1:%d; proxy_buffering off; } } }\n",
          work, work, work, work, work, work, work, front_port, pem, pem, work, upstream.port);
  fclose(f);
  front = fork();
  if (front == 0) {
    snprintf(pem, sizeof pem, "%s/error.log", work);
    execlp("nginx", "nginx", "-e", pem, "-c", path, "-p", work, (char *)NULL);
    _exit(127);
  }
  for (int i = 0; i < 200; i++, sleep_ms(20)) {
    int fd = dial(front_port);
    if (fd >= 0) close(fd);
    if (fd >= 0) return true;
  }
  return false;
}

/* Of the requests that have ended: whether all came by HTTP/2, and over how many connections. */
static int front_connections(bool *all) {
  char path[256], protocol[32];
  long connection, seen[256];
  int n = 0;
  snprintf(path, sizeof path, "%s/access.log", work);
  FILE *f = fopen(path, "r");
  *all = f != NULL;
  while (f && n < 256 && fscanf(f, "%31s %ld", protocol, &connection) == 2) {
    int i = 0;
    *all &= !strcmp(protocol, "HTTP/2.0");
    while (i < n && seen[i] != connection) i++;
    if (i == n) seen[n++] = connection;
  }
  if (f) fclose(f);
  return n;
}

static void test_answers(int port) {
  char *answer = chat(port, "clean"), *body = body_of(answer);
  check("a stream over HTTP/2 is judged",
        body && has(body, "[x]") && !has(body, "RET") && has(body, DONE) && has(answer, "HTTP/1.1 200 OK\r\n"), answer);
  free(answer);
  answer = chat(port, "whole");
  check("a whole answer too", has(answer, "my [x]") && has(answer, "Content-Length: "), answer);
  free(answer);
  answer = chat(port, "stopped");
  struct visit *v = proxy_upstream_visit(&upstream, "stopped");
  check("it is stopped", has(answer, "\"content_filter\"") && has(answer, DONE) && !has(answer, "MB"), answer);
  for (int i = 0; v && !v->gone_ns && i < 300; i++) sleep_ms(10);
  check("and cancelled", v && v->gone_ns, NULL);
  free(answer);
  answer = chat(port, "reset");
  check("a stream that breaks off is an error", has(answer, "\"upstream_error\"") && has(answer, DONE), answer);
  free(answer);
}

static void test_many(int port) {
  int fds[MANY], whole = 0;
  char request[512];
  ask(request, sizeof request, "/v1/chat/completions", "slowly");
  for (int i = 0; i < MANY; i++) {
    fds[i] = dial(port);
    ssize_t sent = send(fds[i], request, strlen(request), MSG_NOSIGNAL);
    (void)sent;
  }
  for (int i = 0; i < MANY; i++) {
    size_t n = 0;
    char *answer = hear(fds[i], 8000, &n), *body = body_of(answer);
    whole += body && has(body, "[x]") && has(body, DONE) && !has(body, "RET");
    close(fds[i]);
    free(answer);
  }
  char seen[64];
  snprintf(seen, sizeof seen, "%d of %d", whole, MANY);
  check("many streams at once are whole", whole == MANY, seen);
  bool all = false;
  sleep_ms(100);
  int n = front_connections(&all);
  snprintf(seen, sizeof seen, "%d connections%s", n, all ? "" : ", not all HTTP/2");
  check("and share connections of HTTP/2", all && n > 0 && n <= 8, seen);
}

static void test_leaving(int port) {
  char request[512];
  ask(request, sizeof request, "/v1/chat/completions", "held");
  int fd = dial(port);
  ssize_t sent = send(fd, request, strlen(request), MSG_NOSIGNAL);
  struct visit *v = sent > 0 ? proxy_upstream_visit(&upstream, "held") : NULL;
  sleep_ms(200);
  close(fd);
  for (int i = 0; v && !v->gone_ns && i < 300; i++) sleep_ms(10);
  check("a client that leaves cancels its stream alone", v && v->gone_ns, NULL);
}

static void test_slow_reader(int port) {
  char request[512];
  ask(request, sizeof request, "/v1/chat/completions", "flood");
  int fd = dial(port);
  ssize_t sent = send(fd, request, strlen(request), MSG_NOSIGNAL);
  for (int i = 0; sent > 0 && i < 300 && metric(port, "sluice_paused_total") == 0; i++) sleep_ms(10);
  char *answer = chat(port, "slowly");
  check("a client that does not read holds up no other stream of its connection", has(answer, DONE), answer);
  check("and is held itself", metric(port, "sluice_backlog_bytes") < 1 << 20, NULL);
  free(answer);
  uint64_t counted = 0;
  ask(request, sizeof request, "/v1/chat/completions", "held"); /* while it reads, so does libcurl */
  int reader = dial(port);
  sent = send(reader, request, strlen(request), MSG_NOSIGNAL);
  for (int i = 0; i < 300 && counted < 16 << 20; i++, sleep_ms(10)) counted = metric(port, "sluice_buffered_bytes");
  char seen[64];
  snprintf(seen, sizeof seen, "%" PRIu64 " bytes", counted);
  check("what HTTP/2 lets the server send ahead counts as memory", counted >= 16 << 20, seen);
  close(fd);
  close(reader);
  for (int i = 0; i < 300 && counted > 1 << 20; i++, sleep_ms(10)) counted = metric(port, "sluice_buffered_bytes");
  snprintf(seen, sizeof seen, "%" PRIu64 " bytes", counted);
  check("until its client has left", counted <= 1 << 20, seen);
}

/* The last bytes of an answer. */
static void hear_end(int fd, char *last, size_t size) {
  static char some[64 << 10];
  size_t n = 0;
  for (int64_t until = now_ns() + 10000000000LL; now_ns() < until;) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    ssize_t got = poll(&p, 1, 2000) > 0 ? recv(fd, some, sizeof some, 0) : 0;
    if (got <= 0) break;
    size_t take = (size_t)got < size - 1 ? (size_t)got : size - 1, keep = n + take < size ? n : size - 1 - take;
    memmove(last, last + n - keep, keep);
    memcpy(last + keep, some + (size_t)got - take, take);
    n = keep + take;
  }
  last[n] = '\0';
}

/* Clients that do not read, beside one that does, without which their connection would rest; and room for half a
 * window. */
static void test_bound(const char *const *more) {
  const char *bounded[16] = {"--max-memory", "16"};
  struct proxy p;
  char request[512];
  int fds[4];
  size_t n = 2, cut = 0;
  while (*more) bounded[n++] = *more++;
  if (!proxy_start(&p, 1, bounded)) {
    check("a proxy with little memory starts", false, NULL);
    return;
  }
  for (int i = 0; i < 4; i++) {
    ask(request, sizeof request, "/v1/chat/completions", i ? "flood" : "held");
    fds[i] = dial(p.port);
    ssize_t sent = send(fds[i], request, strlen(request), MSG_NOSIGNAL);
    (void)sent;
    sleep_ms(150); /* so that all share one connection */
  }
  for (int i = 0; i < 500 && metric(p.port, "sluice_faults_total{kind=\"upstream_error\"}") == 0; i++) sleep_ms(10);
  for (int i = 1; i < 4; i++) {
    char last[600];
    hear_end(fds[i], last, sizeof last);
    cut += has(last, "memory bound") && has(last, DONE);
    close(fds[i]);
  }
  close(fds[0]);
  check("past --max-memory such a stream ends with an error", cut > 0, NULL);
  check("the proxy goes on", proxy_stop(&p, SIGTERM, 5000) >= 0, NULL);
}

int main(int argc, char **argv) {
  if (argc != 2 || !getenv("SLUICE")) {
    fprintf(stderr, "usage: SLUICE=PROGRAM proxy_http2 FOLDER\n");
    return 2;
  }
  work = argv[1];
  signal(SIGPIPE, SIG_IGN);
  char url[64];
  const char *const more[] = {"--backup", url, "--upstream-ca", ca_file, "--upstream-http2", NULL};
  struct proxy p;
  bool up = proxy_policy_write() && proxy_upstream_start(&upstream, play) && front_start();
  snprintf(url, sizeof url, "https://127.0.0.1:%d", front_port);
  if (!up || !proxy_start(&p, 1, more)) { /* port 1: nobody is there, so the other is asked */
    check("a proxy and an upstream start", false, NULL);
  } else {
    test_answers(p.port);
    test_many(p.port);
    test_leaving(p.port);
    test_slow_reader(p.port);
    for (int i = 0; i < 100 && metric(p.port, "sluice_streams"); i++) sleep_ms(20);
    check("nothing is left under way", metric(p.port, "sluice_streams") == 0, NULL);
    check("a clean end", proxy_stop(&p, SIGTERM, 4000) == 0, NULL);
    test_bound(more);
  }
  if (front > 0) kill(front, SIGKILL);
  if (front > 0) waitpid(front, NULL, 0);
  return bad;
}
