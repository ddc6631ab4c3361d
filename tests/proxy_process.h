/* `sluice proxy` as a process of a test: started with a policy and a free port, asked for its memory and metrics, ended
 * by a signal. $SLUICE names the program. */
#ifndef SLUICE_TESTS_PROXY_PROCESS_H
#define SLUICE_TESTS_PROXY_PROCESS_H

#include "tests/raw_client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static bool bad;         /* a check has failed */
static const char *work; /* a folder of the test's own */

static inline void check(const char *name, bool good, const char *seen) {
  printf("%s - %s\n", good ? "ok" : "not ok", name);
  if (!good && seen) printf("# saw: %.600s\n", seen);
  if (!good) bad = true;
  fflush(stdout);
}

struct proxy {
  pid_t pid;
  int port;
  char log[256];
};

/* SECRET becomes [x], BOMB stops. */
static inline bool proxy_policy_write(void) {
  char path[256];
  snprintf(path, sizeof path, "%s/policy.json", work);
  FILE *f = fopen(path, "w");
  if (!f) return false;
  fputs("{\"rules\":[{\"id\":\"mask\",\"category\":\"m\",\"action\":\"mask\",\"mask\":\"[x]\",\"pattern\":\"SECRET\"},"
        "{\"id\":\"stop\",\"category\":\"s\",\"action\":\"stop\",\"pattern\":\"BOMB\"}]}",
        f);
  return fclose(f) == 0;
}

static inline bool proxy_start(struct proxy *p, int to, const char *const *more) {
  char url[64], policy[256], line[512];
  static int runs;
  snprintf(url, sizeof url, "http://127.0.0.1:%d", to);
  snprintf(policy, sizeof policy, "%s/policy.json", work);
  snprintf(p->log, sizeof p->log, "%s/log.%d", work, runs++);
  const char *argv[32] = {getenv("SLUICE"), "proxy", "--upstream", url, "--policy", policy, "--listen", "127.0.0.1:0"};
  size_t n = 8;
  while (more && *more) argv[n++] = *more++;
  unlink(p->log);
  p->port = 0;
  p->pid = fork();
  if (p->pid == 0) {
    int fd = open(p->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 2);
    signal(SIGPIPE, SIG_DFL); /* what this program ignores it would inherit */
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
  }
  for (int64_t until = now_ns() + 20000000000LL; !p->port && now_ns() < until; sleep_ms(20)) {
    FILE *f = fopen(p->log, "r");
    while (f && !p->port && fgets(line, sizeof line, f)) {
      const char *at = strstr(line, "listens at 127.0.0.1:");
      if (at && strchr(line, '\n')) p->port = (int)strtol(at + 21, NULL, 10);
    }
    if (f) fclose(f);
  }
  return p->port != 0;
}

/* Its exit code; -1 when it had to be killed. */
static inline int proxy_stop(struct proxy *p, int number, int ms) {
  int status = 0;
  kill(p->pid, number);
  for (int64_t until = now_ns() + (int64_t)ms * 1000000; now_ns() < until; sleep_ms(10))
    if (waitpid(p->pid, &status, WNOHANG) == p->pid) return WIFEXITED(status) ? WEXITSTATUS(status) : 256;
  kill(p->pid, SIGKILL);
  waitpid(p->pid, &status, 0);
  return -1;
}

static inline size_t proxy_memory(const struct proxy *p) { /* resident, bytes */
  char path[64];
  unsigned long all = 0, resident = 0;
  snprintf(path, sizeof path, "/proc/%d/statm", (int)p->pid);
  FILE *f = fopen(path, "r");
  if (f && fscanf(f, "%lu %lu", &all, &resident) != 2) resident = 0;
  if (f) fclose(f);
  return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static inline uint64_t metric(int port, const char *name) {
  char *answer = talk(port, "GET /metrics HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n");
  char line[256];
  snprintf(line, sizeof line, "\n%s ", name);
  const char *at = strstr(answer, line);
  uint64_t value = at ? strtoull(at + strlen(line), NULL, 10) : UINT64_MAX;
  free(answer);
  return value;
}

#endif
