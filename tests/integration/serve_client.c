/* `sluice serve` with the embedded model between raw sockets. Run by serve.sh, which names the program in $SLUICE.
 * Prints "ok - NAME" or "not ok - NAME", one line a test. Everything is on 127.0.0.1 and bounded in time. */
#include "tests/raw_client.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

static bool bad;
static const char *work;

static void check(const char *name, bool good, const char *seen) {
  printf("%s - %s\n", good ? "ok" : "not ok", name);
  if (!good && seen) printf("# saw: %.600s\n", seen);
  if (!good) bad = true;
  fflush(stdout);
}

/* ---- the server ---- */

struct served {
  pid_t pid;
  int port;
  char log[512];
};

static void start(struct served *s, const char *name, const char *const *more) {
  const char *args[24] = {getenv("SLUICE"), "serve", "--listen", "127.0.0.1:0"};
  int n = 4;
  while (*more) args[n++] = *more++;
  snprintf(s->log, sizeof s->log, "%s/%s.log", work, name);
  s->port = 0;
  s->pid = fork();
  if (s->pid == 0) {
    int fd = open(s->log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 2);
    signal(SIGPIPE, SIG_DFL); /* what this program ignores it would inherit */
    execv(args[0], (char *const *)(uintptr_t)args);
    _exit(127);
  }
  for (int i = 0; i < 400 && !s->port; i++, sleep_ms(25)) {
    char text[4096] = "";
    FILE *f = fopen(s->log, "r");
    if (!f) continue;
    size_t got = fread(text, 1, sizeof text - 1, f);
    text[got] = '\0';
    fclose(f);
    const char *at = strstr(text, "listening at 127.0.0.1:");
    if (at && strchr(at, ',')) s->port = atoi(at + 23);
  }
}

static int stop(struct served *s, int signal) {
  int status = 0;
  kill(s->pid, signal);
  for (int i = 0; i < 400; i++, sleep_ms(25))
    if (waitpid(s->pid, &status, WNOHANG) == s->pid) return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  kill(s->pid, SIGKILL);
  waitpid(s->pid, &status, 0);
  return -2;
}

static size_t post(char *out, size_t size, const char *path, const char *body) {
  return (size_t)snprintf(out, size,
                          "POST %s HTTP/1.1\r\nHost: me\r\nConnection: close\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          path, strlen(body), body);
}

static char *say(int port, const char *path, const char *body) {
  char request[8192];
  size_t n = post(request, sizeof request, path, body);
  return talk_to(dial(port), request, n, 20000);
}

/* The contents of a stream's frames, joined; of a whole body, its first content. Escapes stay as they are. */
static char *contents(const char *answer) {
  static const char key[] = "\"content\":\"";
  char *all = calloc(1, strlen(answer) + 1), *end = all;
  for (const char *at = answer; (at = strstr(at, key)) != NULL;) {
    for (at += sizeof key - 1; *at && *at != '"'; *end++ = *at++)
      if (*at == '\\') *end++ = *at++;
  }
  return all;
}

#define RECALL                                                                                                         \
  "\"messages\":[{\"role\":\"user\",\"content\":\"The code of the copper box is 5489.\"},{\"role\":\"assistant\","     \
  "\"content\":\"I will remember.\"},{\"role\":\"user\",\"content\":\"What is the code of the copper box?\"}]"
#define STORY "\"messages\":[{\"role\":\"user\",\"content\":\"Tell me a story about a long road.\"}]"

#define ASK(method, path, fields) method " " path " HTTP/1.1\r\nHost: me\r\n" fields "Connection: close\r\n\r\n"

/* ---- tests ---- */

static void test_forms(int port) {
  char *whole = say(port, "/v1/chat/completions", "{" RECALL ",\"temperature\":0}");
  char *stream = say(port, "/v1/chat/completions", "{" RECALL ",\"temperature\":0,\"stream\":true}");
  check("a whole answer recalls what was said", has(whole, "HTTP/1.1 200") && has(whole, "is 5489."), whole);
  check("it has usage and a reason to finish",
        has(whole, "\"total_tokens\":") && has(whole, "\"finish_reason\":\"stop\""), whole);
  char *body = body_of(stream), *a = contents(whole), *b = contents(body ? body : "");
  check("a stream says the same", *a && strcmp(a, b) == 0, stream);
  check("it names the role once and ends well-formed",
        body && has(body, "\"role\":\"assistant\"") && has(body, "\"finish_reason\":\"stop\"") && strlen(body) > 14 &&
            strcmp(body + strlen(body) - 14, "data: [DONE]\n\n") == 0,
        body);
  free(a), free(b), free(whole), free(stream);
  char *text = say(port, "/v1/completions",
                   "{\"prompt\":[\"One morning\",\"I want\"],\"max_tokens\":5,\"seed\":3,\"logprobs\":2}");
  check("completions answer every prompt",
        has(text, "\"index\":1") && has(text, "text_offset") && has(text, "\"length\""), text);
  free(text);
  char *models = talk(port, "GET /v1/models HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n");
  check("the model is listed", has(models, "\"id\":\"embedded\""), models);
  free(models);
}

static void test_refusals(int port) {
  static const struct {
    const char *name, *path, *body, *wanted, *param;
  } cases[] = {
      {"malformed JSON", "/v1/chat/completions", "{\"messages\":", "400", "JSON"},
      {"no messages", "/v1/chat/completions", "{}", "400", "\"param\":\"messages\""},
      {"tools", "/v1/chat/completions", "{" RECALL ",\"tools\":[{}]}", "400", "\"param\":\"tools\""},
      {"a sampling value out of range", "/v1/chat/completions", "{" RECALL ",\"top_p\":7}", "400",
       "\"param\":\"top_p\""},
      {"an answer longer than the context", "/v1/chat/completions",
       "{" RECALL ",\"max_tokens\":100000,\"stream\":true}", "400", "context_length_exceeded"},
      {"an unknown path", "/v1/embeddings", "{}", "404", "no such path"},
      {"the wrong method", "/v1/models", "{}", "405", "this path takes GET"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char name[128], status[32];
    char *seen = say(port, cases[i].path, cases[i].body);
    snprintf(name, sizeof name, "refused by name: %s", cases[i].name);
    snprintf(status, sizeof status, "HTTP/1.1 %s", cases[i].wanted);
    check(name, has(seen, status) && has(seen, cases[i].param) && has(seen, "\"error\""), seen);
    free(seen);
  }
}

/* Many at once, sampled with seeds: each says what it says alone. */
static void test_many_at_once(int port) {
  enum { MANY = 12 };
  char request[MANY][2048], *want[MANY];
  int fds[MANY];
  bool same = true;
  for (int i = 0; i < MANY; i++) {
    char body[1024];
    snprintf(body, sizeof body, "{%s,\"temperature\":0.9,\"seed\":%d,\"max_tokens\":%d,\"stream\":%s}",
             i % 2 ? STORY : RECALL, i, 10 + 5 * i, i % 3 ? "true" : "false");
    post(request[i], sizeof request[i], "/v1/chat/completions", body);
    char *seen = talk_to(dial(port), request[i], strlen(request[i]), 20000), *text = body_of(seen);
    want[i] = contents(text ? text : "");
    free(seen);
  }
  for (int i = 0; i < MANY; i++) {
    fds[i] = dial(port);
    if (send(fds[i], request[i], strlen(request[i]), MSG_NOSIGNAL) < 0) same = false;
  }
  for (int i = 0; i < MANY; i++) {
    size_t n;
    char *seen = hear(fds[i], 20000, &n), *text = body_of(seen), *got = contents(text ? text : "");
    if (!*got || strcmp(got, want[i]) != 0) {
      same = false;
      printf("# %d: \"%s\" alone, \"%s\" beside others\n", i, want[i], got);
    }
    close(fds[i]);
    free(seen), free(got), free(want[i]);
  }
  check("twelve at once say what each says alone", same, NULL);
}

static uint64_t metric(int port, const char *name) {
  char *seen = talk(port, "GET /metrics HTTP/1.1\r\nHost: me\r\nConnection: close\r\n\r\n"), line[128];
  snprintf(line, sizeof line, "\n%s ", name);
  const char *at = strstr(seen, line);
  uint64_t value = at ? strtoull(at + strlen(line), NULL, 10) : UINT64_MAX;
  free(seen);
  return value;
}

static void test_leaving(int port) {
  char request[2048];
  size_t n = post(request, sizeof request, "/v1/chat/completions",
                  "{" STORY ",\"stream\":true,\"temperature\":1,\"seed\":5,\"n\":4,\"max_tokens\":900}");
  for (int i = 0; i < 40; i++) {
    int fd = dial(port);
    char some[200];
    if (send(fd, request, n, MSG_NOSIGNAL) != (ssize_t)n || (i % 2 && recv(fd, some, sizeof some, 0) <= 0)) bad = true;
    if (i % 8 == 7) sleep_ms(i / 8);
    close(fd);
  }
  uint64_t running = 1, waiting = 1;
  for (int i = 0; i < 100 && running + waiting; i++, sleep_ms(20))
    running = metric(port, "sluice_serve_running"), waiting = metric(port, "sluice_serve_waiting");
  check("clients that leave take their answers with them", running + waiting == 0, NULL);
}

static void expect(int port, const char *name, const char *request, const char *wanted, const char *unwanted) {
  char *seen = talk(port, request);
  check(name, has(seen, wanted) && !has(seen, unwanted), seen);
  free(seen);
}

static void test_requests_as_they_come(void) {
  static const char *const cors[] = {"--cors", "http://page", NULL};
  struct served s;
  start(&s, "cors", cors);
  expect(s.port, "HEAD is GET without its body", ASK("HEAD", "/v1/models", ""), "HTTP/1.1 200", "embedded");
  expect(s.port, "a body that is compressed is refused",
         ASK("POST", "/v1/completions", "Content-Encoding: gzip\r\nContent-Length: 0\r\n"), "HTTP/1.1 415",
         "HTTP/1.1 400");
  expect(s.port, "a page of an origin that is named may ask",
         ASK("OPTIONS", "/v1/chat/completions",
             "Origin: http://page\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x-a\r\n"),
         "Access-Control-Allow-Headers: x-a", "\"error\"");
  expect(s.port, "and read", ASK("GET", "/v1/models", "Origin: http://page\r\n"),
         "Access-Control-Allow-Origin: http://page\r\n", "\"error\"");
  expect(s.port, "another one may not", ASK("GET", "/v1/models", "Origin: http://other\r\n"), "embedded",
         "Access-Control-Allow-Origin");
  char request[1024];
  post(request, sizeof request, "/v1/chat/completions", "{" STORY ",\"stream\":true,\"max_tokens\":3}");
  char *at = strstr(request, "\r\n"), with[1200];
  snprintf(with, sizeof with, "%.*s\r\nOrigin: http://page%s", (int)(at - request), request, at);
  expect(s.port, "a stream too", with, "Access-Control-Allow-Origin: http://page\r\n", "\"error\"");
  stop(&s, SIGTERM);
}

static void test_monitor(void) {
  static const char *const words[] = {"--monitor", "fixtures/policies/codes.json", NULL};
  struct served s;
  start(&s, "monitor", words);
  char *stream =
      say(s.port, "/v1/chat/completions", "{" RECALL ",\"temperature\":0,\"stream\":true,\"logprobs\":true}");
  char *whole = say(s.port, "/v1/chat/completions", "{" RECALL ",\"temperature\":0}");
  char *body = body_of(stream);
  check("the monitor masks a stream, tokens and all",
        has(body, "[masked]") && !has(body, "5489") && !has(body, "\"54\"") && has(body, "data: [DONE]"), stream);
  check("and a whole answer", has(whole, "[masked]") && !has(whole, "5489"), whole);
  free(stream), free(whole);
  check("a server that drained ends with 0", stop(&s, SIGTERM) == 0, NULL);
}

static void test_stop(void) {
  char policy[512], option[600];
  snprintf(policy, sizeof policy, "%s/stop.json", work);
  FILE *f = fopen(policy, "w");
  fputs("{\"name\":\"stop\",\"rules\":[{\"id\":\"copper\",\"category\":\"metal\",\"pattern\":\"copper\",\"action\":"
        "\"stop\"}]}",
        f);
  fclose(f);
  snprintf(option, sizeof option, "%s", policy);
  const char *const words[] = {"--monitor", option, NULL};
  struct served s;
  start(&s, "stop", words);
  char *stream = say(s.port, "/v1/chat/completions", "{" RECALL ",\"temperature\":0,\"stream\":true}");
  char *body = body_of(stream);
  check("the monitor stops a stream with its own ending",
        has(body, "\"content_filter\"") && !has(body, "copper") && has(body, "[DONE]"), stream);
  check("and the stop is counted", metric(s.port, "sluice_serve_stopped_total") == 1, NULL);
  free(stream);
  stop(&s, SIGTERM);
}

static void test_drain(void) {
  static const char *const words[] = {"--drain-timeout", "1", "--policy", "streaming:budget=64", NULL};
  struct served s;
  char request[2048];
  start(&s, "drain", words);
  size_t n =
      post(request, sizeof request, "/v1/chat/completions",
           "{" STORY ",\"stream\":true,\"temperature\":2,\"top_k\":2000,\"stop\":[],\"n\":16,\"max_tokens\":2000000}");
  int fd = dial(s.port);
  char some[400];
  bool begun = send(fd, request, n, MSG_NOSIGNAL) == (ssize_t)n && recv(fd, some, sizeof some, 0) > 0;
  int code = stop(&s, SIGTERM);
  check("SIGTERM: answers under way may end, then are cut", begun && (code == 143 || code == 0), NULL);
  close(fd);
}

int main(int argc, char **argv) {
  static const char *const none[] = {"--parallel", "6", NULL};
  struct served s;
  if (argc != 2 || !getenv("SLUICE")) return 2;
  work = argv[1];
  signal(SIGPIPE, SIG_IGN);
  start(&s, "serve", none);
  check("it listens", s.port > 0, NULL);
  if (!s.port) return 1;
  test_forms(s.port);
  test_refusals(s.port);
  test_many_at_once(s.port);
  test_leaving(s.port);
  check("an idle server ends at once with 0", stop(&s, SIGTERM) == 0, NULL);
  test_requests_as_they_come();
  test_monitor();
  test_stop();
  test_drain();
  return bad;
}
