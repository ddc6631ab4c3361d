/* The proxy beside HAProxy and nginx as plain pass-through proxies, in one run, in turns: `bench_proxy [OPTION=N]...
 * SLUICE [NAME=POLICY]...`. Options: streams=64 hz=50 seconds=2 rounds=3 core=0 load=1. Proxies run on one core
 * (core=), the upstream and the clients on another (load=); -1 leaves the choice to the system.
 *
 *   flood    the upstream sends as fast as sockets take it: events a second, processor time of the proxy an event
 *   pace     hz events a second a stream: latency from the upstream's send to the client's read, less that of a stream
 *            without a proxy; processor time an event
 *
 * Without NAME=POLICY: "plain", a policy whose one rule never meets its keyword, and "default", the shipped one. A
 * proxy that is not installed is left out. Figures are medians over the rounds; with best=1 the best
 * round's, each by itself: what is left of a machine that does other work too. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/bench/stream_load.h"

enum { PROXIES_MAX = 12, ROUNDS_MAX = 25 };
struct figures {
  double events_s, cpu_us, p50_us, p99_us, resident_mb;
};
struct contender {
  char name[64];
  int port;
  pid_t pid; /* 0: none, the upstream itself */
  bool ours;
  struct figures flood[ROUNDS_MAX], pace[ROUNDS_MAX];
};
static struct {
  int streams, seconds, rounds, core, load, peers, flood, pace, best, upstream;
  double hz;
  char work[64];
  struct contender list[PROXIES_MAX];
  int n;
} bench = {.streams = 64, .seconds = 2, .rounds = 3, .core = 0, .load = 1, .peers = 1, .flood = 1, .pace = 1, .hz = 50};

static int free_port(void) {
  int port = 0;
  close(load_listen(&port));
  return port;
}

static void write_file(const char *name, char path[128], const char *fmt, int port) {
  snprintf(path, 128, "%s/%s", bench.work, name);
  FILE *f = fopen(path, "w");
  if (!f) exit(1);
  fprintf(f, fmt, port, bench.upstream);
  fclose(f);
}

/* A new contender; its process runs argv on the proxies' core. NULL when it does not answer. */
static struct contender *start(const char *name, int port, const char *const *argv) {
  struct contender *c = &bench.list[bench.n];
  *c = (struct contender){.port = port};
  snprintf(c->name, sizeof c->name, "%s", name);
  if (argv) {
    c->pid = fork();
    if (c->pid == 0) {
      char log[128];
      snprintf(log, sizeof log, "%s/%s.log", bench.work, name);
      int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
      dup2(fd, 1);
      dup2(fd, 2);
      load_pin(bench.core);
      execvp(argv[0], (char *const *)(uintptr_t)argv);
      _exit(127);
    }
  }
  for (int i = 0; i < 500; i++) {
    struct sockaddr_in a = load_address(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), failed = connect(fd, (struct sockaddr *)&a, sizeof a);
    close(fd);
    if (!failed) return &bench.list[bench.n++];
    if (c->pid && waitpid(c->pid, NULL, WNOHANG) == c->pid) break;
    usleep(20000);
  }
  printf("%s: not here, or it does not start\n", name);
  return NULL;
}

static void start_haproxy(void) {
  char path[128];
  int port = free_port();
  write_file("haproxy.cfg", path,
             "global\n  nbthread 1\n  maxconn 8000\ndefaults\n  mode http\n  option http-no-delay\n"
             "  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\nfrontend f\n  bind 127.0.0.1:%d\n"
             "  default_backend b\nbackend b\n  server s 127.0.0.1:%d\n",
             port);
  start("haproxy", port, (const char *const[]){"haproxy", "-db", "-f", path, NULL});
}

static void start_nginx(void) {
  char path[128], prefix[80];
  int port = free_port();
  write_file("nginx.conf", path,
             "daemon off;\nmaster_process off;\nworker_processes 1;\npid nginx.pid;\nerror_log nginx.err crit;\n"
             "events { worker_connections 20000; }\nhttp {\n  access_log off;\n  client_body_temp_path b;\n"
             "  proxy_temp_path p;\n  fastcgi_temp_path f;\n  uwsgi_temp_path u;\n  scgi_temp_path s;\n  server {\n"
             "    listen 127.0.0.1:%d;\n    location / {\n      proxy_pass http://127.0.0.1:%d;\n"
             "      proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_buffering off;\n"
             "      proxy_read_timeout 1h;\n    }\n  }\n}\n",
             port);
  snprintf(prefix, sizeof prefix, "%s/", bench.work);
  start("nginx", port, (const char *const[]){"nginx", "-p", prefix, "-c", path, NULL});
}

static void start_sluice(const char *program, const char *name, const char *policy) {
  char listen[32], url[64], label[64];
  int port = free_port();
  snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
  snprintf(url, sizeof url, "http://127.0.0.1:%d", bench.upstream);
  snprintf(label, sizeof label, "sluice-%s", name);
  const char *argv[] = {program,    "proxy", "--quiet",       "--upstream", url,
                        "--listen", listen,  "--max-streams", "20000",      policy ? "--policy" : NULL,
                        policy,     NULL};
  struct contender *c = start(label, port, argv);
  if (c) c->ours = true;
}

static double cpu_seconds(pid_t pid) {
  clockid_t clock;
  struct timespec t = {0, 0};
  if (!pid || clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t)) return 0;
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double resident_mb(pid_t pid) {
  char path[64];
  unsigned long all = 0, resident = 0;
  snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
  FILE *f = pid ? fopen(path, "r") : NULL;
  if (f && fscanf(f, "%lu %lu", &all, &resident) != 2) resident = 0;
  if (f) fclose(f);
  return (double)resident * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static struct figures measure(const struct contender *c, double hz) {
  struct load_client client;
  struct figures f = {-1, -1, -1, -1, -1};
  if (load_client_open(&client, c->port, bench.streams, hz)) {
    load_client_run(&client, 500000000 + bench.streams * INT64_C(1000000)); /* until every stream is under way */
    if (hz > 0) {
      client.cap_latency = (size_t)(2 * hz * bench.streams * bench.seconds);
      client.latency_ns = malloc(client.cap_latency * sizeof *client.latency_ns);
      if (!client.latency_ns) client.cap_latency = 0;
    }
    uint64_t events = client.events;
    double cpu = cpu_seconds(c->pid);
    int64_t began = load_now();
    load_client_run(&client, (int64_t)bench.seconds * 1000000000);
    events = client.events - events;
    f.events_s = (double)events * 1e9 / (double)(load_now() - began);
    f.cpu_us = events ? (cpu_seconds(c->pid) - cpu) * 1e6 / (double)events : -1;
    f.resident_mb = resident_mb(c->pid);
    f.p50_us = load_client_percentile(&client, 0.5);
    f.p99_us = load_client_percentile(&client, 0.99);
    if (client.ended) printf("%s: %llu streams ended early\n", c->name, (unsigned long long)client.ended);
  }
  load_client_close(&client);
  usleep(100000); /* until the other sides have noticed */
  return f;
}

static int compare(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* The first figure is better when it is more, all others when they are less. */
static struct figures figures_of(const struct figures *f) {
  struct figures out;
  for (size_t k = 0; k < sizeof out / sizeof(double); k++) {
    double v[ROUNDS_MAX];
    for (int i = 0; i < bench.rounds; i++) memcpy(&v[i], (const char *)&f[i] + k * sizeof(double), sizeof(double));
    qsort(v, (size_t)bench.rounds, sizeof *v, compare);
    int at = !bench.best ? bench.rounds / 2 : k == 0 ? bench.rounds - 1 : 0;
    memcpy((char *)&out + k * sizeof(double), &v[at], sizeof(double));
  }
  return out;
}

static void print_flood(void) {
  double best_rate = 0, best_cpu = 1e9;
  for (int i = 1; i < bench.n; i++) {
    struct figures f = figures_of(bench.list[i].flood);
    if (bench.list[i].ours) continue;
    if (f.events_s > best_rate) best_rate = f.events_s;
    if (f.cpu_us < best_cpu) best_cpu = f.cpu_us;
  }
  printf("\nflood: %d streams, events of %d bytes\n%-20s %12s %8s %12s %8s %8s\n", bench.streams, LOAD_EVENT, "",
         "events/s", "ratio", "CPU us/event", "ratio", "RSS, MB");
  for (int i = 0; i < bench.n; i++) {
    struct figures f = figures_of(bench.list[i].flood);
    printf("%-20s %12.0f %8.2f %12.2f %8.2f %8.1f\n", bench.list[i].name, f.events_s,
           best_rate ? f.events_s / best_rate : 0, f.cpu_us, best_cpu < 1e9 ? f.cpu_us / best_cpu : 0, f.resident_mb);
  }
}

static void print_pace(void) {
  struct figures direct = figures_of(bench.list[0].pace);
  double best_cpu = 1e9;
  for (int i = 1; i < bench.n; i++) {
    struct figures f = figures_of(bench.list[i].pace);
    if (!bench.list[i].ours && f.cpu_us < best_cpu) best_cpu = f.cpu_us;
  }
  printf("\npace: %d streams of %g events a second; added latency, us\n%-20s %8s %8s %8s %8s %8s %12s %8s %8s\n",
         bench.streams, bench.hz, "", "events/s", "p50", "p99", "+p50", "+p99", "CPU us/event", "ratio", "RSS, MB");
  for (int i = 0; i < bench.n; i++) {
    struct figures f = figures_of(bench.list[i].pace);
    printf("%-20s %8.0f %8.0f %8.0f %8.0f %8.0f %12.2f %8.2f %8.1f\n", bench.list[i].name, f.events_s, f.p50_us,
           f.p99_us, f.p50_us - direct.p50_us, f.p99_us - direct.p99_us, f.cpu_us,
           best_cpu < 1e9 ? f.cpu_us / best_cpu : 0, f.resident_mb);
  }
}

static bool option(const char *word) {
  static const struct {
    const char *name;
    int *value;
  } ints[] = {{"streams=", &bench.streams}, {"seconds=", &bench.seconds}, {"rounds=", &bench.rounds},
              {"core=", &bench.core},       {"load=", &bench.load},       {"peers=", &bench.peers},
              {"pace=", &bench.pace},       {"flood=", &bench.flood},     {"best=", &bench.best}};
  for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
    size_t n = strlen(ints[i].name);
    if (strncmp(word, ints[i].name, n) != 0) continue;
    *ints[i].value = (int)strtol(word + n, NULL, 10);
    return true;
  }
  if (strncmp(word, "hz=", 3) != 0) return false;
  bench.hz = strtod(word + 3, NULL);
  return true;
}

static void start_all(int argc, char **argv, int at) {
  char path[128];
  const char *program = argv[at++];
  write_file(
      "plain.json", path,
      "// a rule whose keyword never comes (%d, %d)\n{\"rules\":[{\"id\":\"never\",\"category\":\"n\",\"action\":"
      "\"stop\",\"pattern\":\"\\\\x01never\\\\x01\",\"keywords\":[\"\\u0001never\\u0001\"]}]}",
      0);
  start("direct", bench.upstream, NULL);
  if (bench.peers) start_haproxy();
  if (bench.peers) start_nginx();
  if (at == argc) {
    start_sluice(program, "plain", path);
    start_sluice(program, "default", NULL);
  }
  for (; at < argc && bench.n < PROXIES_MAX; at++) {
    char name[48];
    const char *equals = strchr(argv[at], '=');
    if (!equals) continue;
    snprintf(name, sizeof name, "%.*s", (int)(equals - argv[at]), argv[at]);
    start_sluice(program, name, !strcmp(equals + 1, "plain") ? path : equals[1] ? equals + 1 : NULL);
  }
}

int main(int argc, char **argv) {
  int at = 1;
  while (at < argc && strchr(argv[at], '=') && option(argv[at])) at++;
  if (at >= argc || bench.rounds < 1 || bench.rounds > ROUNDS_MAX) {
    fprintf(
        stderr,
        "usage: bench_proxy [streams=64 hz=50 seconds=2 rounds=3 core=0 load=1 peers=1 flood=1 pace=1 best=0] SLUICE "
        "[NAME=POLICY]...\n"
        "POLICY: a file, \"plain\", or nothing for the shipped policy\n");
    return 2;
  }
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) { /* a stream takes two descriptors of its proxy */
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  signal(SIGPIPE, SIG_IGN);
  snprintf(bench.work, sizeof bench.work, "/tmp/bench_proxy.XXXXXX");
  if (!mkdtemp(bench.work)) return 1;
  int listener = load_listen(&bench.upstream);
  pid_t upstream = fork();
  if (upstream == 0) {
    load_pin(bench.load);
    load_upstream_serve(listener);
  }
  close(listener);
  start_all(argc, argv, at);
  load_pin(bench.load);
  for (int r = 0; r < bench.rounds; r++) {
    for (int i = 0; bench.flood && i < bench.n; i++) bench.list[i].flood[r] = measure(&bench.list[i], 0);
    for (int i = 0; bench.pace && i < bench.n; i++) bench.list[i].pace[r] = measure(&bench.list[i], bench.hz);
  }
  if (bench.flood) print_flood();
  if (bench.pace) print_pace();
  for (int i = 0; i < bench.n; i++)
    if (bench.list[i].pid) kill(bench.list[i].pid, SIGTERM);
  kill(upstream, SIGKILL);
  while (wait(NULL) > 0) {
  }
  char remove[128];
  snprintf(remove, sizeof remove, "rm -rf %s", bench.work);
  return system(remove) != 0;
}
