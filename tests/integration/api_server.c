/* A small OpenAI-compatible server on 127.0.0.1 for scripts: prints its address, answers until stdin ends. What it says
 * depends on the last question, so that a script can choose:
 *   "VERDICT" in it (a judge's prompt)  a verdict: "first" for pairs; "correct" when the answer equals the reference
 *   "password"                          text with a secret in it, cut in the middle of the secret
 *   "break"                             half an answer, then a reset
 *   anything else                       how many messages it was sent */
#include "loopback_server.h"

static void say(struct loopback *l, const char *text) {
  char frame[2048];
  snprintf(frame, sizeof frame,
           "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"},\"finish_reason\":null}]}\n\n", text);
  loopback_send(l, frame);
}

static void finish(struct loopback *l) {
  loopback_send(l,
                "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
                "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,\"total_tokens\":13}}\n\n"
                "data: [DONE]\n\n");
}

static int messages(const char *request) {
  int n = 0;
  for (const char *at = strstr(request, "{\"role\":"); at != NULL; at = strstr(at + 1, "{\"role\":")) n++;
  return n;
}

/* The text between "[BEGIN what NONCE]\n" and the next "\n[END", both as JSON escapes them. */
static size_t fenced(const char *request, const char *what, const char **text) {
  const char *begin = strstr(request, what);
  const char *end = begin != NULL ? strstr(begin, "\\n[END") : NULL;
  begin = begin != NULL ? strstr(begin, "]\\n") : NULL;
  if (begin == NULL || end == NULL || end < begin + 3) return 0;
  *text = begin + 3;
  return (size_t)(end - *text);
}

static void judge(struct loopback *l, const char *request) {
  const char *answer = "", *reference = "";
  if (strstr(request, "[BEGIN second answer") != NULL) {
    say(l, "VERDICT: first");
    return;
  }
  size_t a = fenced(request, "[BEGIN answer ", &answer), r = fenced(request, "[BEGIN reference answer ", &reference);
  say(l, a == r && memcmp(answer, reference, a) == 0 ? "They agree. VERDICT: correct" : "VERDICT: wrong");
}

static const char *last_question(const char *request) {
  const char *last = request;
  for (const char *at = strstr(request, "{\"role\":\"user\""); at != NULL; at = strstr(at + 1, "{\"role\":\"user\""))
    last = at;
  return last;
}

static void script(struct loopback *l, void *ctx, int n, const char *request) {
  char text[64];
  (void)ctx;
  (void)n;
  loopback_event_stream(l);
  if (strstr(request, "VERDICT") != NULL) {
    judge(l, request);
  } else if (strstr(last_question(request), "password") != NULL) {
    say(l, "The secret is hun");
    say(l, "ter2, keep it.");
  } else if (strstr(last_question(request), "break") != NULL) {
    say(l, "half of");
    loopback_wait(l, 150);
    loopback_reset(l);
    return;
  } else {
    snprintf(text, sizeof text, "I was sent %d", messages(request));
    say(l, text);
    say(l, " messages.");
  }
  finish(l);
}

int main(void) {
  char byte;
  struct loopback *l = loopback_start(script, NULL);
  if (l == NULL) return 1;
  printf("http://127.0.0.1:%d/v1\n", l->port);
  fflush(stdout);
  while (read(STDIN_FILENO, &byte, 1) > 0) continue;
  loopback_stop(l);
  return 0;
}
