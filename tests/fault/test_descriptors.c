/* No descriptors left. Files: an error that names the path and the reason. The proxy: clients that it has no descriptor
 * for wait or are refused, those that are in get right answers, it does not spin, and when descriptors come back so
 * does the service. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "cli/gate.c" /* the program's own joint between the rooms; it is not part of the library */
#include "ledger/ledger.h"
#include "sluice/sluice.h"
#include "tests/raw_client.h"

#define EVENT(text)                                                                                                    \
  "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"finish_reason\":null}]}\n\n"
#define FINISH                                                                                                         \
  "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n"

static struct monitor *monitor;
static struct proxy_upstream upstream;

/* Returns the limit to set again. */
static struct rlimit leave(rlim_t more) {
  struct rlimit old, low;
  assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
  int lowest = dup(0); /* the limit is one of numbers */
  assert_true(lowest > 0);
  close(lowest);
  low = old;
  low.rlim_cur = (rlim_t)lowest + more;
  assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
  return old;
}

static void files_say_why(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct sluice_failure why = {0};
  struct sluice_policy *policy = NULL;
  struct ledger *l = NULL;
  char *bytes = NULL, hex[2 * SHA256_BYTES + 1];
  const unsigned char *map = NULL;
  size_t len = 0;
  struct rlimit old = leave(0);
  sluice_status read = file_read("README.md", 0, &bytes, &len, &err);
  struct sluice_error mapping = {0}, hashing = {0}, writing = {0}, opening = {0};
  sluice_status mapped = file_map("README.md", &map, &len, &mapping);
  sluice_status hashed = sha256_file_hex("README.md", hex, &hashing);
  sluice_status written = file_write_atomic("/dev/shm/sluice-descriptors", "a", 1, &writing);
  sluice_status opened = ledger_open("/dev/shm/sluice-descriptors.db", LEDGER_CREATE, NULL, &l, &opening);
  int used = sluice_policy_open("fixtures/policies/default.json", &policy, &why);
  setrlimit(RLIMIT_NOFILE, &old);
  const struct {
    const char *what;
    sluice_status st;
    const char *message, *path;
  } all[] = {{"file_read", read, err.message, "README.md"},
             {"file_map", mapped, mapping.message, "README.md"},
             {"sha256_file_hex", hashed, hashing.message, "README.md"},
             {"file_write_atomic", written, writing.message, "/dev/shm/sluice-descriptors"}};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i].st != SLUICE_IO || !strstr(all[i].message, "Too many open files") ||
        !strstr(all[i].message, all[i].path))
      fail_msg("%s: %s: %s", all[i].what, sluice_status_name(all[i].st), all[i].message);
  if (opened != SLUICE_IO || !strstr(opening.message, "sluice-descriptors.db"))
    fail_msg("ledger_open: %s", opening.message);
  if (used != SLUICE_ERROR_IO || !strstr(why.message, "default.json"))
    fail_msg("sluice_policy_open: %d: %s", used, why.message);
}

/* ---- the proxy ---- */

static void play(struct visit *v) {
  visit_say_cut(v,
                "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" EVENT("a SEC")
                    EVENT("RET b"),
                100);
  sleep_ms(60); /* so that many are under way at once */
  visit_say(v, FINISH);
}

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
}

enum { CLIENTS = 40, IDLE = 14 };
struct crowd {
  int port, right, wrong, refused;
  pthread_mutex_t lock;
};

static void *one_client(void *context) {
  struct crowd *c = context;
  char *answer = chat(c->port, "x");
  const char *body = strstr(answer, " 200 ") ? body_of(answer) : NULL;
  bool right = body && has(body, "a [masked]") && has(body, "[DONE]") && !has(body, "\"error\"");
  bool wrong = has(answer, "RET");
  pthread_mutex_lock(&c->lock);
  c->right += right;
  c->wrong += wrong;
  c->refused += !right && !wrong;
  pthread_mutex_unlock(&c->lock);
  free(answer);
  return NULL;
}

/* Upstream and clients, in a process that has descriptors. Exit status 0: all as it should be. */
static int be_the_world(int from_proxy, int to_proxy) {
  struct crowd c = {.lock = PTHREAD_MUTEX_INITIALIZER};
  pthread_t threads[CLIENTS];
  if (!proxy_upstream_start(&upstream, play) || write(to_proxy, &upstream.port, sizeof upstream.port) < 0) return 2;
  if (read(from_proxy, &c.port, sizeof c.port) != sizeof c.port) return 3;
  int idle[IDLE]; /* more than the proxy can take in, for a while: it must not spin over those that wait */
  for (int i = 0; i < IDLE; i++) idle[i] = dial(c.port);
  sleep_ms(900);
  for (int i = 0; i < IDLE; i++) close(idle[i]);
  for (int i = 0; i < CLIENTS; i++)
    if (pthread_create(&threads[i], NULL, one_client, &c)) return 4;
  for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
  printf("%d right, %d refused, %d wrong\n", c.right, c.refused, c.wrong);
  fflush(stdout);
  if (c.wrong || !c.right) return 5;
  struct crowd after = {.port = c.port, .lock = PTHREAD_MUTEX_INITIALIZER};
  for (int i = 0; i < 20 && !after.right; i++) one_client(&after);
  return after.right ? 0 : 6;
}

static void the_proxy_lives_through_it(void **state) {
  (void)state;
  struct sluice_error err = {0};
  int to_world[2], from_world[2], upstream_port = 0, status = 0;
  assert_int_equal(pipe(to_world), 0);
  assert_int_equal(pipe(from_world), 0);
  fflush(stdout);
  pid_t self = getpid(), world = fork();
  if (world == 0) {
    int code = be_the_world(to_world[0], from_world[1]);
    kill(self, SIGTERM);
    _exit(code);
  }
  assert_int_equal(read(from_world[0], &upstream_port, sizeof upstream_port), sizeof upstream_port);
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:%d", upstream_port);
  struct wire_proxy *proxy = NULL;
  struct wire_proxy_options o = {.upstreams = (const char *[]){url},
                                 .n_upstreams = 1,
                                 .listen = (const char *[]){"127.0.0.1:0"},
                                 .n_listen = 1,
                                 .idle_s = 3,
                                 .total_s = 5,
                                 .drain_s = 1,
                                 .hooks = {NULL, begin, finish, NULL}};
  if (wire_proxy_open(&o, &proxy, &err)) fail_msg("%s", err.message);
  int port = (int)strtol(strrchr(wire_proxy_address(proxy, 0), ':') + 1, NULL, 10);
  struct rlimit old = leave(9); /* four streams and one client */
  struct rusage before, after;
  int64_t began = now_ns();
  uint64_t cut = 0;
  getrusage(RUSAGE_SELF, &before);
  assert_int_equal(write(to_world[1], &port, sizeof port), sizeof port);
  sluice_status st = wire_proxy_run(proxy, &cut, &err);
  getrusage(RUSAGE_SELF, &after);
  int64_t took = now_ns() - began;
  wire_proxy_close(proxy);
  setrlimit(RLIMIT_NOFILE, &old);
  if (st) fail_msg("%s", err.message);
  assert_int_equal(waitpid(world, &status, 0), world);
  if (status) fail_msg("the clients' process: %d", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  double cpu =
      (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_stime.tv_sec) +
      (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec) /
          1e6;
  print_message("%.2f s of processor time in %.2f s\n", cpu, (double)took / 1e9);
  assert_true(cpu < 0.25 * (double)took / 1e9); /* a loop that spins over the idle ones takes half of it */
}

static int setup(void **state) {
  static const char policy[] =
      "{\"rules\":[{\"id\":\"a\",\"category\":\"m\",\"action\":\"mask\",\"pattern\":\"SECRET\"}]}";
  static struct monitor_policy *p;
  struct sluice_error err = {0};
  (void)state;
  signal(SIGPIPE, SIG_IGN);
  return monitor_policy_parse("test", NULL, slice_of(policy), &p, &err) || monitor_open(p, NULL, NULL, &monitor, &err);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(files_say_why),
      cmocka_unit_test(the_proxy_lives_through_it),
  };
  log_set(LOG_ERROR, false);
  return cmocka_run_group_tests(tests, setup, NULL);
}
