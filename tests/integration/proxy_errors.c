/* `sluice proxy` where the upstream's answer is no success, or leads elsewhere. Run by proxy_errors.sh, which names the
 * program to test in $SLUICE. Everything is on 127.0.0.1 and bounded in time. */
#include "tests/proxy_forms.h"
#include "tests/proxy_process.h"

static struct proxy_upstream upstream;

static void play_error(struct visit *v, const char *status, const char *type, const char *body) {
  char head[256];
  snprintf(head, sizeof head,
           "HTTP/1.1 %s\r\nContent-Type: %s\r\nETag: \"1\"\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
           type, strlen(body));
  if (visit_say(v, head)) visit_say_cut(v, body, 9);
}

static void play_place(struct visit *v, const char *place) {
  char head[512];
  snprintf(head, sizeof head,
           "HTTP/1.1 307 Go\r\nLocation: %s\r\nAlt-Svc: h3=\":443\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
           place);
  visit_say(v, head);
}

static void play(struct visit *v) {
  const char *s = v->script;
  char place[128];
  if (!strcmp(s, "json"))
    play_error(v, "400 Bad Request", "application/json",
               "{\"error\":{\"message\":\"no\",\"failed_generation\":\"my SECRET\"}}");
  else if (!strcmp(s, "html"))
    play_error(v, "502 Bad Gateway", "text/html", "<h1>my SECRET</h1>");
  else if (!strcmp(s, "stop"))
    play_error(v, "500 Oh", "application/json", "{\"error\":{\"message\":\"the BOMB here\",\"code\":7}}");
  else if (!strcmp(s, "stream"))
    play_error(v, "500 Oh", "text/event-stream", "data: {\"error\":{\"message\":\"my SECRET\"}}\n\n");
  else if (!strcmp(s, "same")) {
    snprintf(place, sizeof place, "HTTP://127.0.0.1:%d/v1/chat/completions?s=json", upstream.port);
    play_place(v, place);
  } else if (!strcmp(s, "away"))
    play_place(v, "https://elsewhere.example/v1/chat/completions");
  else if (!strcmp(s, "near")) {
    snprintf(place, sizeof place, "http://127.0.0.1:%d1/v1/chat/completions", upstream.port);
    play_place(v, place);
  } else if (!strcmp(s, "none"))
    visit_say(v, "HTTP/1.1 204 None\r\nAccess-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n");
  else if (!strcmp(s, "empty"))
    visit_say(v, "HTTP/1.1 205 Reset\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  else if (!strcmp(s, "ended"))
    visit_say_cut(
        v,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\nConnection: close\r\n\r\n"
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":\"stop\"}]}\n\n"
        "data: [DONE]\n\n",
        9);
  else if (!strcmp(s, "vanished") || !strcmp(s, "finished") || !strcmp(s, "told")) {
    visit_say(v, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
                 "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n");
    if (!strcmp(s, "finished"))
      visit_say(v, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    if (!strcmp(s, "told")) visit_say(v, "data: {\"error\":\"no more SECRET\",\"error_type\":\"x\"}\n\n");
  } else if (!strcmp(s, "open"))
    visit_say(v, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nAccess-Control-Allow-Origin: *\r\n"
                 "X-Request-Id: 7\r\nConnection: close\r\n\r\ndata: [DONE]\n\n");
  else if (!strcmp(s, "path"))
    play_place(v, "/v1/chat/completions?s=json");
  else
    play_error(v, "200 OK", "application/json", "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"SECRET\"}}]}");
}

static char *request_of(int port, const char *method, const char *path, const char *more) {
  char request[512];
  snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: me\r\n%sConnection: close\r\nContent-Length: 2\r\n\r\n{}",
           method, path, more);
  return talk(port, request);
}

static void expect(int port, const char *name, const char *method, const char *path, const char *more,
                   const char *wanted, const char *other) {
  char *answer = request_of(port, method, path, more);
  check(name, has(answer, wanted) && has(answer, other) && !has(answer, "SECRET") && !has(answer, "BOMB"), answer);
  free(answer);
}

#define CHAT "/v1/chat/completions"

static void test_errors(int port) {
  expect(port, "an error's words are masked", "POST", CHAT "?s=json", "", "HTTP/1.1 400 Bad Request\r\n",
         "{\"error\":{\"message\":\"no\",\"failed_generation\":\"my [x]\"}}");
  expect(port, "an error's page is masked", "POST", CHAT "?s=html", "", "HTTP/1.1 502 Bad Gateway\r\n",
         "<h1>my [x]</h1>");
  expect(port, "an error's words are stopped", "POST", CHAT "?s=stop", "", "HTTP/1.1 500 Oh\r\n",
         "{\"error\":{\"message\":\"the \",\"code\":7}}");
  expect(port, "an error as a stream is masked", "POST", "/v1/messages?s=stream", "", "HTTP/1.1 500 Oh\r\n",
         "data: {\"error\":{\"message\":\"my [x]\"}}\n\n");
  char *answer = request_of(port, "POST", CHAT "?s=html", "");
  check("its fields no longer speak of other bytes", !has(answer, "ETag") && has(answer, "Content-Length: 15\r\n"),
        answer);
  free(answer);
}

static void test_places(int port) {
  expect(port, "a redirection at the upstream is one at the proxy", "POST", CHAT "?s=same", "", "HTTP/1.1 307 Go\r\n",
         "\r\nLocation: " CHAT "?s=json\r\n");
  expect(port, "so it is for other paths", "GET", "/v1/files?s=same", "", "HTTP/1.1 307 Go\r\n",
         "\r\nLocation: " CHAT "?s=json\r\n");
  expect(port, "a redirection to a path stays", "POST", CHAT "?s=path", "", "HTTP/1.1 307 Go\r\n",
         "\r\nLocation: " CHAT "?s=json\r\n");
  expect(port, "a redirection past the proxy is refused", "POST", CHAT "?s=away", "", "HTTP/1.1 502 Bad Gateway\r\n",
         "\"answer_not_judged\"");
  expect(port, "also to another port", "POST", CHAT "?s=near", "", "HTTP/1.1 502 Bad Gateway\r\n",
         "\"answer_not_judged\"");
  char *answer = request_of(port, "GET", "/v1/files?s=away", "");
  check("what is not judged may lead anywhere, but by no other protocol",
        has(answer, "Location: https://elsewhere.example/") && !has(answer, "Alt-Svc"), answer);
  free(answer);
}

static int count(const char *text, const char *word) {
  int n = 0;
  for (const char *at = text; (at = strstr(at, word)); at += strlen(word)) n++;
  return n;
}

static void test_ends(int port) {
  char *answer = request_of(port, "POST", CHAT "?s=ended", "");
  check("a stream that breaks off behind its end has one end",
        count(answer, "[DONE]") == 1 && !has(answer, "\"error\"") && has(answer, "\r\n0\r\n\r\n"), answer);
  free(answer);
  expect(port, "a connection that closes before the answer is finished is an error", "POST", CHAT "?s=vanished", "",
         "\"code\":\"upstream_error\"", "\"content\":\"hi\"");
  answer = request_of(port, "POST", CHAT "?s=finished", "");
  check("one that closes behind the finish is not, also without [DONE]",
        !has(answer, "\"error\"") && has(answer, "\"stop\"") && has(answer, "\r\n0\r\n\r\n"), answer);
  free(answer);
  answer = request_of(port, "POST", CHAT "?s=told", "");
  check("nor behind the server's own error", count(answer, "\"error\"") == 1 && has(answer, "no more [x]"), answer);
  free(answer);
  expect(port, "an answer without a body needs no type", "POST", CHAT "?s=empty", "", "HTTP/1.1 205 ",
         "Content-Length: 0\r\n");
  answer = request_of(port, "OPTIONS", CHAT "?s=none", "Origin: http://elsewhere\r\n");
  check("a preflight is the upstream's to answer, and 204 has no length",
        has(answer, "HTTP/1.1 204 ") && has(answer, "Access-Control-Allow-Origin: *") && !has(answer, "Content-Length"),
        answer);
  free(answer);
  expect(port, "a page of another origin may read why it was refused", "POST", "/v1/complete",
         "Origin: http://elsewhere\r\n", "HTTP/1.1 501 ", "Access-Control-Allow-Origin: *\r\n");
}

static void test_methods(int port) {
  expect(port, "PUT is judged like POST", "PUT", CHAT, "", "HTTP/1.1 200 OK\r\n", "[x]");
  expect(port, "so is a method in small letters", "post", CHAT, "", "HTTP/1.1 200 OK\r\n", "[x]");
  static const char *const paths[] = {"/v1beta/models/m:streamGenerateContent?alt=sse",
                                      "/v1beta/models/m%3AgenerateContent",
                                      "/model/m/converse-stream",
                                      "/model/m/invoke",
                                      "/v1/complete",
                                      "/v1/projects/p/models/m:streamRawPredict",
                                      "/v1/threads/t/runs",
                                      "/api/extra/generate/stream"};
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
    expect(port, paths[i], "POST", paths[i], "", "HTTP/1.1 501 ", "\"answer_not_judged\"");
  free(request_of(port, "GET", "/echo?s=kept", "X-HTTP-Method-Override: POST\r\nX-Other: 1\r\n"));
  const struct visit *v = proxy_upstream_visit(&upstream, "kept");
  check("a request keeps its method", v && strstr(v->request, "X-Other") && !strstr(v->request, "Override"),
        v ? v->request : NULL);
}

/* Pages of other origins, where the proxy speaks for its upstream. */
/* What is judged goes on while the record of it is lost, and both are said. */
static void test_full_audit(void) {
  char path[256], log[4096] = "";
  const char *more[] = {"--audit", path, NULL};
  struct proxy p;
  snprintf(path, sizeof path, "%s/full.jsonl", work);
  if (symlink("/dev/full", path) || !proxy_start(&p, upstream.port, more)) {
    check("a proxy whose audit is full starts", false, NULL);
    return;
  }
  expect(p.port, "an audit that is full masks all the same", "POST", CHAT, "", "HTTP/1.1 200 OK\r\n", "[x]");
  check("and the lost row is counted", metric(p.port, "sluice_audit_lost_total") == 1, NULL);
  FILE *f = fopen(p.log, "r");
  if (f) log[fread(log, 1, sizeof log - 1, f)] = '\0';
  if (f) fclose(f);
  check("and told", has(log, "audit rows lost so far: 1; ") && has(log, "full.jsonl"), log);
  check("the exit code says it too", proxy_stop(&p, SIGTERM, 5000) == 4, NULL);
}

static void test_cors(void) {
  static const char *const more[] = {"--cors", "https://app.example", "--cors", "http://localhost:3000", NULL};
#define FROM(origin) "Origin: " origin "\r\n"
#define ASKS                                                                                                           \
  "Access-Control-Request-Method: POST\r\n"                                                                            \
  "Access-Control-Request-Headers: authorization,content-type\r\n"
#define MAY "Access-Control-Allow-Origin: https://app.example\r\nAccess-Control-Allow-Credentials: true\r\n"
  struct proxy p;
  if (!proxy_start(&p, upstream.port, more)) {
    check("a proxy that answers preflights starts", false, NULL);
    return;
  }
  expect(p.port, "a preflight is answered here", "OPTIONS", CHAT "?s=ahead", FROM("https://app.example") ASKS,
         "HTTP/1.1 204 No Content\r\nVary: Origin\r\n" MAY "Access-Control-Allow-Methods: POST\r\n",
         "Access-Control-Allow-Headers: authorization,content-type\r\nAccess-Control-Max-Age: ");
  check("and asks no upstream", !proxy_upstream_visit(&upstream, "ahead"), NULL);
  char *answer = request_of(p.port, "OPTIONS", CHAT, FROM("https://app.example.evil") ASKS);
  check("of another page it says no", has(answer, "HTTP/1.1 204 ") && !has(answer, "Access-Control-"), answer);
  free(answer);
  expect(p.port, "OPTIONS that is no preflight goes on", "OPTIONS", CHAT "?s=none", "", "HTTP/1.1 204 None\r\n", "");
  expect(p.port, "a stream may be read, with its fields", "POST", CHAT "?s=open", FROM("https://app.example"),
         MAY "Access-Control-Expose-Headers: Content-Type,X-Request-Id\r\n", "[DONE]");
  answer = request_of(p.port, "POST", CHAT "?s=open", FROM("https://app.example"));
  check("the upstream's own word is left out", count(answer, "Access-Control-Allow-Origin") == 1, answer);
  free(answer);
  answer = request_of(p.port, "POST", CHAT "?s=open", FROM("https://other.example"));
  check("by that page alone", has(answer, "Vary: Origin\r\n") && !has(answer, "Access-Control-"), answer);
  free(answer);
  expect(p.port, "so may a refusal", "POST", "/v1/complete", FROM("http://localhost:3000"), "HTTP/1.1 501 ",
         "Access-Control-Allow-Origin: http://localhost:3000\r\n");
  answer = request_of(p.port, "POST", "/v1/complete", FROM("http://localhost:3001"));
  check("by no other page", has(answer, "HTTP/1.1 501 ") && !has(answer, "Access-Control-"), answer);
  free(answer);
  check("it ends", proxy_stop(&p, SIGTERM, 5000) == 0, NULL);
}

int main(int argc, char **argv) {
  struct proxy p;
  if (argc != 2 || !getenv("SLUICE")) {
    fprintf(stderr, "usage: SLUICE=PROGRAM proxy_errors FOLDER\n");
    return 2;
  }
  work = argv[1];
  signal(SIGPIPE, SIG_IGN);
  if (!proxy_policy_write() || !proxy_upstream_start(&upstream, play) || !proxy_start(&p, upstream.port, NULL)) {
    check("a proxy starts", false, NULL);
    return 1;
  }
  test_errors(p.port);
  test_places(p.port);
  test_methods(p.port);
  test_ends(p.port);
  test_cors();
  test_full_audit();
  check("nothing is left under way", metric(p.port, "sluice_streams") == 0, NULL);
  check("SIGTERM ends it", proxy_stop(&p, SIGTERM, 5000) == 0, NULL);
  return bad;
}
