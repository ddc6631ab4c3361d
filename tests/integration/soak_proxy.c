/* Mixed traffic through `sluice proxy` for as long as asked: clean, masked and stopped streams; upstreams that reset,
 * stall, close, send garbage or nothing; clients that leave, read slowly, send nonsense; a SIGHUP now and then.
 * `soak_proxy FOLDER [SECONDS [CLIENTS [PAUSE_MS]]]`, $SLUICE names the program. Prints a tally, memory over time, and
 * "ok - NAME" or "not ok - NAME": no wrong answer, no stream unfinished, memory and descriptors flat, a clean end. */
#include "tests/proxy_process.h"

#include <dirent.h>
#include <poll.h>

#define EVENT(text) "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define FINISH "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
#define DONE "data: [DONE]\n\n"
#define CHUNKED_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

enum { CLIENTS_MAX = 256, TIDE = 20 /* events of a stream */ };

/* ---- the upstream: a thread a connection ---- */

static bool say(int fd, const void *bytes, size_t n) {
  const char *p = bytes;
  while (n) {
    ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    p += sent;
    n -= (size_t)sent;
  }
  return true;
}

static bool say_chunk(int fd, const char *text) {
  char chunk[512];
  int n = snprintf(chunk, sizeof chunk, "%zx\r\n%s\r\n", strlen(text), text);
  return say(fd, chunk, (size_t)n);
}

static bool say_events(int fd, int n, int gap_ms) {
  for (int i = 0; i < n; i++) {
    if (!say_chunk(fd, EVENT("tide "))) return false;
    if (gap_ms && i % 4 == 0) sleep_ms(gap_ms);
  }
  return true;
}

/* One event long enough to be judged beside the proxy's loop. */
static bool say_bulk(int fd) {
  enum { BULK = 40 << 10 };
  static const char head[] = "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"";
  static const char tail[] = " a SECRET b\"}}]}\n\n";
  char size[32], text[1024];
  memset(text, 't', sizeof text);
  int n = snprintf(size, sizeof size, "%zx\r\n", sizeof head + BULK + sizeof tail - 2);
  bool open = say(fd, size, (size_t)n) && say(fd, head, sizeof head - 1);
  for (size_t i = 0; open && i < BULK / sizeof text; i++) open = say(fd, text, sizeof text);
  return open && say(fd, tail, sizeof tail - 1) && say(fd, "\r\n", 2);
}

static void await_end(int fd) {
  char drop[256];
  for (int64_t until = now_ns() + 30000000000LL; now_ns() < until;) {
    struct pollfd p = {.fd = fd, .events = POLLIN | POLLRDHUP};
    if (poll(&p, 1, 200) > 0 && recv(fd, drop, sizeof drop, MSG_DONTWAIT) <= 0) return;
  }
}

/* True: the connection may be used again. */
static bool play(int fd, const char *s) {
  if (!strcmp(s, "silent")) return await_end(fd), false;
  if (!strcmp(s, "nothing")) return false;
  if (!strcmp(s, "nonsense")) return say(fd, "\0\1\2 this is no HTTP\r\n\r\n", 22), false;
  if (!strcmp(s, "busy")) {
    static const char busy[] = "HTTP/1.1 429 Busy\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    return say(fd, busy, sizeof busy - 1);
  }
  if (!strcmp(s, "whole")) {
    static const char body[] =
        "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a SECRET\"},"
        "\"finish_reason\":\"stop\"}]}";
    char head[128];
    int n =
        snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                 sizeof body - 1);
    return say(fd, head, (size_t)n) && say(fd, body, sizeof body - 1);
  }
  if (!say(fd, CHUNKED_HEAD, sizeof CHUNKED_HEAD - 1)) return false;
  bool open = say_events(fd, strcmp(s, "long") ? TIDE : 40 * TIDE, strcmp(s, "long") ? 5 : 0);
  if (!strncmp(s, "bulk", 4)) open = open && say_bulk(fd);
  if (!strcmp(s, "beside"))
    open = open &&
           say_chunk(fd, "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"logprobs\":{"
                         "\"content\":[{\"token\":\"a\",\"logprob\":-1,\"bytes\":null,\"top_logprobs\":[{\"token\":"
                         "\"a SECRET\",\"logprob\":-2,\"bytes\":null}]}]}}]}\n\n");
  if (!strcmp(s, "reset") || !strcmp(s, "bulkreset")) {
    struct linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    return false;
  }
  if (!strcmp(s, "short")) return say(fd, "40\r\ndata: {\"id\"", 15), false;
  if (!strcmp(s, "garbage")) return say_chunk(fd, "data: {\"choices\": \"BOMB\n\n"), await_end(fd), false;
  if (!strcmp(s, "stall") || !strcmp(s, "held")) return await_end(fd), false;
  if (!strcmp(s, "stopped")) return say_chunk(fd, EVENT("a BO")) && say_chunk(fd, EVENT("MB ")) && (await_end(fd), 0);
  if (!strcmp(s, "masked")) open = open && say_chunk(fd, EVENT("a SEC")) && say_chunk(fd, EVENT("RET b"));
  return open && say_chunk(fd, FINISH) && say_chunk(fd, DONE) && say(fd, "0\r\n\r\n", 5);
}

static void *serve(void *arg) {
  int fd = (int)(intptr_t)arg;
  char request[4096];
  size_t len = 0;
  for (;;) {
    ssize_t n = recv(fd, request + len, sizeof request - 1 - len, 0);
    if (n <= 0) break;
    len += (size_t)n;
    request[len] = '\0';
    const char *end = strstr(request, "\r\n\r\n"), *query = strstr(request, "?s=");
    const char *length = strstr(request, "\r\nContent-Length: ");
    size_t want = length ? strtoul(length + 18, NULL, 10) : 0;
    if (!end || len - (size_t)(end + 4 - request) < want) continue;
    char script[32] = "";
    if (query) snprintf(script, sizeof script, "%.*s", (int)strcspn(query + 3, " &"), query + 3);
    if (!play(fd, script)) break;
    len = 0;
  }
  close(fd);
  return NULL;
}

static void *accept_all(void *arg) {
  int listener = (int)(intptr_t)arg, one = 1, fd;
  while ((fd = accept(listener, NULL, NULL)) >= 0 || errno == EINTR || errno == ECONNABORTED) {
    pthread_t thread;
    pthread_attr_t small;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* or a reset would take with it what waits */
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 << 10);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    if (fd >= 0 && pthread_create(&thread, &small, serve, (void *)(intptr_t)fd)) close(fd);
    pthread_attr_destroy(&small);
  }
  return NULL;
}

static int start_upstream(void) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof a;
  pthread_t thread;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, (struct sockaddr *)&a, sizeof a) || listen(fd, 512) || getsockname(fd, (struct sockaddr *)&a, &len) ||
      pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)fd))
    return 0;
  return ntohs(a.sin_port);
}

/* ---- the clients ---- */

enum manner { READS, READS_SLOWLY, LEAVES, LEAVES_EARLY, HALF_A_REQUEST, TWO_REQUESTS };
static const struct scenario {
  const char *name, *script;
  enum manner manner;
  int weight;
  const char *must[3], *never[2];
} scenarios[] = {
    {"clean stream", "clean", READS, 10, {" 200 ", FINISH, DONE}, {"error"}},
    {"masked stream", "masked", READS, 8, {"[x]", FINISH, DONE}, {"SEC", "RET"}},
    {"stopped stream", "stopped", READS, 8, {"content_filter", DONE}, {"BO", "MB"}},
    {"whole answer", "whole", READS, 5, {"[x]", "\"stop\""}, {"SECRET"}},
    {"slow reader", "long", READS_SLOWLY, 3, {FINISH, DONE}, {"error"}},
    {"two requests, one connection", "clean", TWO_REQUESTS, 4, {FINISH, DONE}, {"error"}},
    {"client leaves in the middle", "held", LEAVES, 6, {NULL}, {NULL}},
    {"client leaves before the answer", "silent", LEAVES_EARLY, 4, {NULL}, {NULL}},
    {"half a request", "clean", HALF_A_REQUEST, 3, {NULL}, {NULL}},
    {"request that is none", NULL, READS, 3, {" 400 "}, {NULL}},
    {"upstream resets", "reset", READS, 5, {"tide", "upstream_error", DONE}, {FINISH}},
    {"long event", "bulk", READS, 3, {"[x]", FINISH, DONE}, {"SECRET"}},
    {"client leaves at a long event", "bulk", LEAVES, 2, {NULL}, {NULL}},
    {"upstream resets behind a long event",
     "bulkreset",
     READS,
     2,
     {"tide", "upstream_error", DONE},
     {"SECRET", FINISH}},
    {"word among alternatives", "beside", READS, 2, {"\"top_logprobs\":[]", FINISH, DONE}, {"SECRET"}},
    {"upstream ends too early", "short", READS, 4, {"tide", "upstream_error", DONE}, {FINISH}},
    {"upstream sends garbage", "garbage", READS, 4, {"tide", "answer_not_judged", DONE}, {"BOMB", FINISH}},
    {"upstream stalls", "stall", READS, 2, {"tide", "upstream_timeout", DONE}, {FINISH}},
    {"upstream says nothing", "silent", READS, 2, {" 504 "}, {NULL}},
    {"upstream hangs up", "nothing", READS, 3, {" 502 "}, {NULL}},
    {"upstream speaks no HTTP", "nonsense", READS, 3, {" 502 "}, {NULL}},
    {"upstream is busy", "busy", READS, 3, {" 429 "}, {NULL}},
};
enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };
static atomic_ullong runs[SCENARIOS], wrong[SCENARIOS];
static atomic_bool over;
static int port, pause_ms = 20;

static void note_wrong(const struct scenario *s, const char *seen) {
  if (atomic_fetch_add(&wrong[s - scenarios], 1) < 3) {
    printf("# %s: wrong: %zu bytes, ending in: %.300s\n", s->name, strlen(seen),
           strlen(seen) > 300 ? seen + strlen(seen) - 300 : seen);
    fflush(stdout);
  }
}

static void judge(const struct scenario *s, char *answer) {
  char *body = body_of(answer);
  bool good = body != NULL;
  for (int i = 0; i < 3 && s->must[i]; i++) good &= has(answer, s->must[i]) || has(body, s->must[i]);
  for (int i = 0; i < 2 && s->never[i]; i++) good &= !has(body, s->never[i]);
  if (!good) note_wrong(s, answer);
}

static char *read_slowly(int fd) {
  size_t cap = 1 << 20, len = 0;
  char *all = malloc(cap + 1);
  for (int64_t until = now_ns() + 30000000000LL; now_ns() < until && len < cap;) {
    ssize_t n = recv(fd, all + len, cap - len < 4096 ? cap - len : 4096, 0);
    if (n <= 0) break;
    len += (size_t)n;
    sleep_ms(2);
  }
  all[len] = '\0';
  return all;
}

/* The answer to read and judge; NULL: there is nothing to judge. */
static char *converse(const struct scenario *s, int fd, unsigned *seed) {
  char request[1024], seen[2048];
  size_t len = 0;
  if (!s->script) {
    static const char none[] = "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    say(fd, none, sizeof none - 1);
    return hear(fd, 10000, &len);
  }
  ask(request, sizeof request, "/v1/chat/completions", s->script);
  if (s->manner == TWO_REQUESTS) {
    static const char ahead[] = "POST /v1/chat/completions?s=masked HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}";
    say(fd, ahead, sizeof ahead - 1);
  }
  say(fd, request, s->manner == HALF_A_REQUEST ? strlen(request) / 2 : strlen(request));
  if (s->manner == LEAVES && recv(fd, seen, 1 + (size_t)rand_r(seed) % sizeof seen, 0) <= 0) note_wrong(s, "nothing");
  if (s->manner == LEAVES_EARLY) sleep_ms(rand_r(seed) % 50);
  if (s->manner == READS_SLOWLY) return read_slowly(fd);
  if (s->manner == READS) return hear(fd, 20000, &len);
  if (s->manner != TWO_REQUESTS) return NULL;
  char *all = hear(fd, 20000, &len), *second = strstr(all + 1, "HTTP/1.1 200");
  if (!second || !memmem(all, (size_t)(second - all), "[x]", 3)) note_wrong(s, all);
  if (second) memmove(all, second, strlen(second) + 1);
  return all;
}

static void *client(void *arg) {
  unsigned seed = (unsigned)(intptr_t)arg * 7919;
  int total = 0;
  for (int i = 0; i < SCENARIOS; i++) total += scenarios[i].weight;
  while (!over) {
    int draw = rand_r(&seed) % total, i = 0;
    while (draw >= scenarios[i].weight) draw -= scenarios[i++].weight;
    int fd = dial(port);
    char *answer = fd >= 0 ? converse(&scenarios[i], fd, &seed) : NULL;
    if (fd < 0) note_wrong(&scenarios[i], "no connection");
    if (answer) judge(&scenarios[i], answer);
    free(answer);
    if (fd >= 0) close(fd);
    atomic_fetch_add(&runs[i], 1);
    if (pause_ms) sleep_ms(rand_r(&seed) % (2 * pause_ms));
  }
  return NULL;
}

/* ---- the whole ---- */

static int descriptors(const struct proxy *p) {
  char path[64];
  int n = 0;
  snprintf(path, sizeof path, "/proc/%d/fd", (int)p->pid);
  DIR *d = opendir(path);
  while (d && readdir(d)) n++;
  if (d) closedir(d);
  return n;
}

static unsigned long long sum(atomic_ullong *list) {
  unsigned long long n = 0;
  for (int i = 0; i < SCENARIOS; i++) n += list[i];
  return n;
}

/* Memory when a fifth of the time is over, and the most after. */
static void watch(struct proxy *p, int seconds, size_t *early, size_t *most) {
  int64_t began = now_ns(), shown = began, turned = began;
  *early = *most = 0;
  for (;;) {
    sleep_ms(200);
    int64_t now = now_ns();
    size_t memory = proxy_memory(p);
    if (now - began > seconds * 200000000LL && !*early) *early = memory;
    if (*early && memory > *most) *most = memory;
    if (now - turned > 3000000000LL) kill(p->pid, SIGHUP), turned = now;
    if (now - shown > 60000000000LL) {
      printf("# %4lld s: %llu requests, %llu wrong, %.1f MB, %d descriptors\n", (long long)((now - began) / 1000000000),
             sum(runs), sum(wrong), (double)memory / 1e6, descriptors(p));
      fflush(stdout);
      shown = now;
    }
    if (now - began > seconds * 1000000000LL || kill(p->pid, 0)) return;
  }
}

static void print_tally(void) {
  for (int i = 0; i < SCENARIOS; i++)
    printf("# %8llu %-34s %llu wrong\n", (unsigned long long)runs[i], scenarios[i].name, (unsigned long long)wrong[i]);
}

static void verdict(struct proxy *p, int before, size_t early, size_t most) {
  char line[160];
  int after = 0;
  for (int i = 0; i < 80; i++, sleep_ms(100)) {
    after = descriptors(p);
    if (metric(port, "sluice_streams") + metric(port, "sluice_backlog_bytes") == 0 && after <= before + 40) break;
  }
  snprintf(line, sizeof line, "%llu requests of %d kinds, every answer as it should be", sum(runs), SCENARIOS);
  check(line, sum(wrong) == 0 && sum(runs) > SCENARIOS, NULL);
  uint64_t streams = metric(port, "sluice_streams"), backlog = metric(port, "sluice_backlog_bytes");
  snprintf(line, sizeof line, "%llu streams, %llu bytes", (unsigned long long)streams, (unsigned long long)backlog);
  check("no stream is unfinished", streams == 0 && backlog == 0, line);
  snprintf(line, sizeof line, "memory stays: %.1f MB after a fifth of the time, %.1f MB at most after",
           (double)early / 1e6, (double)most / 1e6);
  check(line, early && most < early + early / 5 + (4 << 20), NULL);
  snprintf(line, sizeof line, "descriptors stay: %d before, %d after", before, after);
  check(line, after <= before + 40, NULL); /* idle connections to the upstream */
  check("no SIGHUP failed",
        metric(port, "sluice_reloads_failed_total") == 0 && metric(port, "sluice_reloads_total") > 1, NULL);
}

int main(int argc, char **argv) {
  static const char *const more[] = {"--quiet", "--threads", "2", "--idle-timeout", "5", NULL};
  int seconds = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 15,
      clients = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 24;
  static pthread_t threads[CLIENTS_MAX];
  struct proxy p;
  char path[256];
  if (argc < 2 || !getenv("SLUICE") || clients < 1 || clients > CLIENTS_MAX) {
    fprintf(stderr, "usage: SLUICE=PROGRAM soak_proxy FOLDER [SECONDS [CLIENTS [PAUSE_MS]]]\n");
    return 2;
  }
  if (argc > 4) pause_ms = (int)strtol(argv[4], NULL, 10);
  work = argv[1];
  signal(SIGPIPE, SIG_IGN);
  snprintf(path, sizeof path, "%s/policy.json", work);
  FILE *f = fopen(path, "w");
  if (f)
    fputs("{\"rules\":[{\"id\":\"m\",\"category\":\"m\",\"action\":\"mask\",\"mask\":\"[x]\",\"pattern\":\"SECRET\"},"
          "{\"id\":\"s\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}",
          f);
  if (f) fclose(f);
  int to = start_upstream();
  if (!to || !proxy_start(&p, to, more)) {
    check("a proxy starts", false, NULL);
    return 1;
  }
  port = p.port;
  int before = descriptors(&p);
  size_t early, most;
  for (int i = 0; i < clients; i++) pthread_create(&threads[i], NULL, client, (void *)(intptr_t)(i + 1));
  watch(&p, seconds, &early, &most);
  over = true;
  for (int i = 0; i < clients; i++) pthread_join(threads[i], NULL);
  print_tally();
  verdict(&p, before, early, most);
  check("SIGTERM ends it, exit 0", proxy_stop(&p, SIGTERM, 8000) == 0, NULL);
  return bad;
}
