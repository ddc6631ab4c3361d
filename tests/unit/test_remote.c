/* The remote engine against a loopback server that misbehaves on purpose: every error class, what is retried, what is
 * not, and what a reader has seen when it is not. */
#include "engine/engine.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loopback_server.h"

#define CHUNK(content)                                                                                                 \
  "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" content "\"},\"finish_reason\":null}]}"    \
  "\n\n"
#define ROLE                                                                                                           \
  "data: "                                                                                                             \
  "{\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":"     \
  "null}]}\n\n"
#define FINISH(why) "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"" why "\"}]}\n\n"
#define USAGE                                                                                                          \
  "data: {\"id\":\"x\",\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":2,\"total_tokens\":9}}\n\n"
#define DONE "data: [DONE]\n\n"

static struct sluice_error err;

/* ---- one exchange --------------------------------------------------------------------------------------------- */
struct seen {
  char text[65536], reasoning[256];
  size_t len;
  int pieces, stop_after; /* stop_after: 0 never */
  struct loopback *server;
};

static bool tap(void *ctx, const struct piece *p) {
  struct seen *s = ctx;
  s->pieces++;
  assert_int_equal(p->token, -1);
  assert_true(isnan(p->logprob) && isnan(p->surprisal));
  if (p->channel == CHANNEL_REASONING) {
    strncat(s->reasoning, p->bytes.ptr, p->bytes.len);
  } else if (s->len + p->bytes.len < sizeof s->text) {
    memcpy(s->text + s->len, p->bytes.ptr, p->bytes.len);
    s->len += p->bytes.len;
  }
  return s->stop_after == 0 || s->pieces < s->stop_after;
}

struct exchange {
  struct loopback *server;
  struct engine *engine;
  struct talk *talk;
  struct seen seen;
  char *text;
  size_t len;
  enum outcome outcome;
  struct talk_timing timing;
  sluice_status status;
  double seconds;
};

static void open_exchange(struct exchange *x, loopback_script script, void *ctx, struct engine_remote_options o) {
  char url[64];
  memset(x, 0, sizeof *x);
  x->server = loopback_start(script, ctx);
  assert_non_null(x->server);
  snprintf(url, sizeof url, "http://127.0.0.1:%d/v1", x->server->port);
  o.url = url;
  if (o.model == NULL) o.model = "tiny";
  if (o.stall_ms == 0) o.stall_ms = 5000;
  if (o.backoff_ms == 0) o.backoff_ms = 10;
  assert_int_equal(engine_open_remote(&o, &x->engine, &err), SLUICE_OK);
  assert_int_equal(talk_open(x->engine, NULL, 1, &x->talk, &err), SLUICE_OK);
  assert_int_equal(talk_feed(x->talk, ROLE_USER, slice_of("hello"), &err), SLUICE_OK);
}

static void generate(struct exchange *x, bool tapped) {
  struct generate_options o = {.max_tokens = 16, .seed = 3};
  int64_t started = clock_mono_ns();
  free(x->text);
  x->text = NULL;
  memset(err.message, 0, sizeof err.message);
  x->status = talk_generate(x->talk, (struct slice){0}, &o, tapped ? tap : NULL, &x->seen, NULL, &x->text, &x->len,
                            &x->outcome, &x->timing, &err);
  x->seconds = (double)(clock_mono_ns() - started) / 1e9;
}

static void close_exchange(struct exchange *x) {
  free(x->text);
  talk_close(x->talk);
  engine_close(x->engine);
  loopback_stop(x->server);
}

static void expect_failure(const struct exchange *x, const char *class, int attempts) {
  const struct talk_failure *f = talk_last_failure(x->talk);
  assert_int_equal(x->status, SLUICE_NETWORK);
  assert_int_equal(x->outcome, OUTCOME_ERROR);
  assert_null(x->text);
  assert_non_null(f);
  assert_string_equal(f->error_class, class);
  assert_int_equal(f->attempts, attempts);
  assert_int_equal(x->server->n, attempts);
  assert_non_null(strstr(err.message, class));
}

static void expect_text(const struct exchange *x, const char *text, enum outcome outcome) {
  if (x->status != SLUICE_OK) fail_msg("%s", err.message);
  assert_int_equal(x->outcome, outcome);
  assert_null(talk_last_failure(x->talk));
  assert_int_equal(x->len, strlen(text));
  assert_memory_equal(x->text, text, x->len + 1);
}

/* ---- scripts -------------------------------------------------------------------------------------------------- */
static void good(struct loopback *l) {
  loopback_event_stream(l);
  loopback_send(l, ROLE CHUNK("He") CHUNK("llo") FINISH("stop") USAGE DONE);
}

static void script_good(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)n, (void)request;
  loopback_event_stream(l);
  loopback_send(l, ROLE);
  loopback_wait(l, 150);
  loopback_send(l, CHUNK("He") CHUNK("llo") FINISH("stop") USAGE DONE);
}

/* ctx: a whole stream, sent byte by byte. */
static void script_dripping(struct loopback *l, void *ctx, int n, const char *request) {
  (void)n, (void)request;
  loopback_event_stream(l);
  loopback_send_dripping(l, ctx);
}

/* ctx: a whole stream. */
static void script_stream(struct loopback *l, void *ctx, int n, const char *request) {
  (void)n, (void)request;
  loopback_event_stream(l);
  loopback_send(l, ctx);
}

/* ---- what works ----------------------------------------------------------------------------------------------- */
static void a_turn_streams_and_is_remembered(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_good, NULL, (struct engine_remote_options){0});
  generate(&x, true);
  expect_text(&x, "Hello", OUTCOME_DONE);
  assert_int_equal(x.seen.pieces, 2); /* the role-only chunk is no piece */
  assert_string_equal(x.seen.text, "Hello");
  assert_true(x.timing.first_token_ns - x.timing.started_ns > 120 * 1000000);
  assert_int_equal(x.timing.prompt_tokens, 7);
  assert_int_equal(x.timing.output_tokens, 2);
  assert_int_equal(x.timing.attempts, 1);
  assert_int_equal(talk_tokens(x.talk), 9);
  assert_int_equal(talk_feed(x.talk, ROLE_USER, slice_of("say \"<|end|>\"\n"), &err), SLUICE_OK);
  generate(&x, false);
  expect_text(&x, "Hello", OUTCOME_DONE);
  assert_int_equal(loopback_requests(x.server), 2);
  assert_non_null(strstr(x.server->requests[0], "POST /v1/chat/completions HTTP/1.1"));
  const char *expected =
      "\"messages\":[{\"role\":\"user\",\"content\":\"hello\"},{\"role\":\"assistant\",\"content\":\"Hello\"},"
      "{\"role\":\"user\",\"content\":";
  assert_non_null(strstr(x.server->requests[1], expected));
  assert_non_null(strstr(x.server->requests[1], "\"stream\":true"));
  assert_non_null(strstr(x.server->requests[1], "\"max_tokens\":16,\"temperature\":0,\"seed\":3"));
  assert_non_null(strstr(x.server->requests[1], "{\"model\":\"tiny\","));
  close_exchange(&x);
}

struct chances {
  int known;
  float logprobs[8];
  char text[64], likely[64];
};

static bool tap_chances(void *ctx, const struct piece *p) {
  struct chances *c = ctx;
  strncat(c->text, p->bytes.ptr, p->bytes.len);
  if (!isnan(p->logprob)) c->logprobs[c->known++] = p->logprob;
  for (int i = 0; i < p->n_top; i++) strncat(c->likely, p->top[i].bytes.ptr, p->top[i].bytes.len);
  return true;
}

/* What the server says of each token comes with the pieces; a list that is none is passed over. */
static void stops_and_alternatives_are_asked_for(void **state) {
  (void)state;
#define TOKEN(text, lp, top) "{\"token\":\"" text "\",\"logprob\":" lp ",\"bytes\":null,\"top_logprobs\":[" top "]}"
#define WITH(text, tokens)                                                                                             \
  "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"},\"logprobs\":" tokens                         \
  ",\"finish_reason\":null}]}\n\n"
  static char stream[] =
      ROLE WITH("He", "{\"content\":[" TOKEN("He", "-0.5",
                                             "{\"token\":\"?\",\"logprob\":-0.25,\"bytes\":[72,195]},"
                                             "{\"token\":\"He\",\"logprob\":-0.5,\"bytes\":[72,101]}") "]}")
          WITH("llo", "{\"content\":[" TOKEN("l", "-1", "") "," TOKEN("lo", "-2", "") "]}") WITH("!", "{\"content\":7}")
              FINISH("stop") USAGE DONE;
  const struct slice stops[] = {slice_of("a\"b"), slice_of("\n")};
  const struct generate_options o = {.max_tokens = 16, .stop = stops, .n_stop = 2, .top_logprobs = 3};
  struct exchange x;
  struct chances c = {0};
  open_exchange(&x, script_stream, stream, (struct engine_remote_options){0});
  x.status =
      talk_generate(x.talk, (struct slice){0}, &o, tap_chances, &c, NULL, &x.text, &x.len, &x.outcome, &x.timing, &err);
  expect_text(&x, "Hello!", OUTCOME_DONE);
  assert_non_null(strstr(x.server->requests[0], "\"logprobs\":true,\"top_logprobs\":3,\"stop\":[\"a\\\"b\",\"\\n\"]"));
  assert_string_equal(c.text, "Hello!");
  assert_true(c.known == 3 && c.logprobs[0] == -0.5f && c.logprobs[1] == -1.0f && c.logprobs[2] == -2.0f);
  assert_string_equal(c.likely, "H\xc3He");
  close_exchange(&x);
}

static void bytes_may_come_one_by_one(void **state) {
  (void)state;
  struct exchange x;
  char stream[] = ": keep-alive\r\n\r\nevent: message\r\ndata: "
                  "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xc3\xa9\xe2\x82\xac\"}}]}\r\n\r\n"
                  "data: {\"choices\":[{\"index\":0,\r\ndata: \"delta\":{\"content\":\"\\ud83d\\ude00\\n\"}}]}\r\n\r\n"
                  "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\r\n\r\ndata: [DONE]";
  open_exchange(&x, script_dripping, stream, (struct engine_remote_options){0});
  generate(&x, true);
  expect_text(&x, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\n", OUTCOME_TRUNCATED);
  close_exchange(&x);
}

static void reasoning_is_tapped_but_is_no_answer(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_stream,
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n" CHUNK("yes")
                    FINISH("stop") DONE,
                (struct engine_remote_options){0});
  generate(&x, true);
  expect_text(&x, "yes", OUTCOME_DONE);
  assert_string_equal(x.seen.reasoning, "hm");
  close_exchange(&x);
}

static void refusals_are_an_outcome(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_stream, CHUNK("I") FINISH("content_filter") DONE, (struct engine_remote_options){0});
  generate(&x, true);
  expect_text(&x, "I", OUTCOME_REFUSED);
  close_exchange(&x);
  open_exchange(&x, script_stream,
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"refusal\":\"No.\"}}]}\n\n" FINISH("stop") DONE,
                (struct engine_remote_options){0});
  generate(&x, true);
  expect_text(&x, "", OUTCOME_REFUSED);
  close_exchange(&x);
}

static void script_filtered(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)n, (void)request;
  loopback_status(l, "400 Bad Request", "", "{\"error\":{\"message\":\"filtered\",\"code\":\"content_filter\"}}");
}
static void a_filtered_prompt_is_refused(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_filtered, NULL, (struct engine_remote_options){0});
  generate(&x, true);
  expect_text(&x, "", OUTCOME_REFUSED);
  assert_int_equal(loopback_requests(x.server), 1);
  close_exchange(&x);
}

static void a_finished_answer_needs_no_done(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_stream, CHUNK("all") FINISH("stop"), (struct engine_remote_options){0});
  generate(&x, true);
  expect_text(&x, "all", OUTCOME_DONE);
  close_exchange(&x);
}

static void script_waits_after_text(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)n, (void)request;
  loopback_event_stream(l);
  loopback_send(l, CHUNK("one") CHUNK(" two") CHUNK(" three"));
  loopback_wait(l, 5000);
}
static void the_tap_hangs_up(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_waits_after_text, NULL, (struct engine_remote_options){0});
  x.seen.stop_after = 2;
  generate(&x, true);
  expect_text(&x, "one two", OUTCOME_STOPPED);
  assert_true(x.seconds < 4.5); /* the server would have waited for 5 s */
  for (int i = 0; i < 100 && !loopback_client_left(x.server, 0); i++) clock_sleep_ns(10 * 1000000);
  assert_true(loopback_client_left(x.server, 0)); /* the server may stop working for nobody */
  close_exchange(&x);
}

/* ---- what is retried ------------------------------------------------------------------------------------------ */
struct failures {
  int n; /* fail this often, then be good */
  const char *status, *headers, *body;
};
static void script_failures(struct loopback *l, void *ctx, int n, const char *request) {
  const struct failures *f = ctx;
  (void)request;
  if (n < f->n)
    loopback_status(l, f->status, f->headers, f->body);
  else
    good(l);
}

static void server_errors_are_retried(void **state) {
  (void)state;
  struct exchange x;
  struct failures f = {2, "500 Internal Server Error", "", "{\"error\":{\"message\":\"boom\"}}"};
  open_exchange(&x, script_failures, &f, (struct engine_remote_options){.retries = 3});
  generate(&x, true);
  expect_text(&x, "Hello", OUTCOME_DONE);
  assert_int_equal(x.timing.attempts, 3);
  assert_string_equal(x.seen.text, "Hello");
  close_exchange(&x);
  f.n = 100;
  open_exchange(&x, script_failures, &f, (struct engine_remote_options){.retries = 2});
  generate(&x, true);
  expect_failure(&x, "server", 3);
  assert_non_null(strstr(err.message, "boom"));
  assert_int_equal(talk_last_failure(x.talk)->http_status, 500);
  close_exchange(&x);
}

static void waits_double(void **state) {
  (void)state;
  struct exchange x;
  struct failures f = {100, "503 Service Unavailable", "", "busy"};
  open_exchange(&x, script_failures, &f, (struct engine_remote_options){.retries = 3, .backoff_ms = 60});
  generate(&x, true);
  expect_failure(&x, "server", 4);
  for (int i = 0; i < 3; i++) { /* half of 60, 120 and 240 ms is fixed, the other half is drawn */
    assert_true(x.server->at_ns[i + 1] - x.server->at_ns[i] >= 30 * (1 << i) * (int64_t)1000000);
  }
  assert_true(x.seconds < 20);
  close_exchange(&x);
}

static void retry_after_is_honoured(void **state) {
  (void)state;
  struct exchange x;
  char date[128];
  time_t soon = time(NULL) + 3;
  struct tm utc;
  gmtime_r(&soon, &utc);
  strftime(date, sizeof date, "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
  const char *headers[] = {"Retry-After: 1\r\n", date, "retry-after-ms: 400\r\n"};
  const double at_least[] = {1.0, 1.0, 0.4};
  for (int i = 0; i < 3; i++) {
    struct failures f = {1, "429 Too Many Requests", headers[i], "{\"error\":{\"message\":\"slow down\"}}"};
    open_exchange(&x, script_failures, &f, (struct engine_remote_options){.retries = 1});
    generate(&x, true);
    expect_text(&x, "Hello", OUTCOME_DONE);
    assert_true(x.seconds >= at_least[i] && x.seconds < 10);
    close_exchange(&x);
  }
}

static void what_waiting_cannot_help_fails_at_once(void **state) {
  (void)state;
  struct exchange x;
  struct failures hours = {9, "429 Too Many Requests", "Retry-After: 7200\r\n", "{}"};
  open_exchange(&x, script_failures, &hours, (struct engine_remote_options){.retries = 5});
  generate(&x, true);
  expect_failure(&x, "rate_limited", 1);
  assert_int_equal(talk_last_failure(x.talk)->retry_after_ms, 7200000);
  close_exchange(&x);
  struct failures quota = {9, "429 Too Many Requests", "",
                           "{\"error\":{\"message\":\"pay\",\"code\":\"insufficient_quota\"}}"};
  open_exchange(&x, script_failures, &quota, (struct engine_remote_options){.retries = 5});
  generate(&x, true);
  expect_failure(&x, "rate_limited", 1);
  close_exchange(&x);
  struct failures malformed = {9, "422 Unprocessable Entity", "", "{\"error\":{\"message\":\"no such field\"}}"};
  open_exchange(&x, script_failures, &malformed, (struct engine_remote_options){.retries = 5});
  generate(&x, true);
  expect_failure(&x, "protocol", 1);
  close_exchange(&x);
  struct failures moved = {9, "302 Found", "Location: http://127.0.0.1:1/\r\n", ""};
  open_exchange(&x, script_failures, &moved, (struct engine_remote_options){.retries = 5});
  generate(&x, true);
  expect_failure(&x, "protocol", 1);
  close_exchange(&x);
}

static void script_error_event(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)request;
  if (n > 0) {
    good(l);
    return;
  }
  loopback_event_stream(l);
  loopback_send(l, ROLE "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n");
}
static void an_error_event_is_a_server_error(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_error_event, NULL, (struct engine_remote_options){.retries = 1});
  generate(&x, true);
  expect_text(&x, "Hello", OUTCOME_DONE);
  assert_int_equal(x.timing.attempts, 2);
  close_exchange(&x);
  open_exchange(&x, script_error_event, NULL, (struct engine_remote_options){.retries = 0});
  generate(&x, true);
  expect_failure(&x, "server", 1);
  assert_non_null(strstr(err.message, "overloaded"));
  close_exchange(&x);
}

/* ---- silence and broken streams ------------------------------------------------------------------------------- */
static void script_silent_once(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)request;
  if (n == 0)
    loopback_wait(l, 5000);
  else
    good(l);
}
static void silence_is_a_timeout(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_silent_once, NULL, (struct engine_remote_options){.retries = 1, .stall_ms = 150});
  generate(&x, true);
  expect_text(&x, "Hello", OUTCOME_DONE);
  assert_true(x.seconds >= 0.15 && x.seconds < 4.5);
  assert_true(loopback_client_left(x.server, 0));
  close_exchange(&x);
}

static void script_stalls_in_text(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)request;
  if (n > 0) {
    good(l);
    return;
  }
  loopback_event_stream(l);
  loopback_send(l, ROLE CHUNK("half of"));
  loopback_wait(l, 5000);
}
static void seen_text_is_never_sent_twice(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_stalls_in_text, NULL, (struct engine_remote_options){.retries = 5, .stall_ms = 150});
  generate(&x, true);
  expect_failure(&x, "timeout", 1);
  const struct talk_failure *f = talk_last_failure(x.talk);
  assert_true(slice_is(f->partial, "half of"));
  assert_string_equal(x.seen.text, "half of");
  generate(&x, true); /* the turn may be asked again, and the dialogue holds nothing of the failed one */
  expect_text(&x, "Hello", OUTCOME_DONE);
  assert_null(strstr(x.server->requests[1], "half of"));
  close_exchange(&x);
}

static void script_resets_in_text(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)request;
  if (n > 0) {
    good(l);
    return;
  }
  loopback_event_stream(l);
  loopback_send(l, ROLE CHUNK("partial"));
  loopback_wait(l, 150); /* lets the client read before the reset throws its buffer away */
  loopback_reset(l);
}
static void a_reset_is_a_network_error(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_resets_in_text, NULL, (struct engine_remote_options){.retries = 5});
  generate(&x, true);
  expect_failure(&x, "network", 1);
  assert_true(slice_is(talk_last_failure(x.talk)->partial, "partial"));
  close_exchange(&x);
  open_exchange(&x, script_resets_in_text, NULL, (struct engine_remote_options){.retries = 5});
  generate(&x, false); /* nobody saw the first half: starting afresh is safe */
  expect_text(&x, "Hello", OUTCOME_DONE);
  assert_int_equal(x.timing.attempts, 2);
  close_exchange(&x);
}

static void script_breaks_off(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)n, (void)request;
  loopback_event_stream(l);
  loopback_send(l, CHUNK("unfinished"));
}
static void an_end_without_finish_reason_is_no_answer(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_breaks_off, NULL, (struct engine_remote_options){.retries = 5});
  generate(&x, true);
  expect_failure(&x, "network", 1);
  close_exchange(&x);
  open_exchange(&x, script_stream, CHUNK("unfinished") DONE, (struct engine_remote_options){.retries = 0});
  generate(&x, true);
  expect_failure(&x, "protocol", 1);
  close_exchange(&x);
}

static void script_keeps_alive_forever(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)n, (void)request;
  loopback_event_stream(l);
  for (int i = 0; i < 100 && l->peer >= 0 && !l->gone[l->n - 1] && !l->stopping; i++) {
    loopback_send(l, ": ping\n\n");
    loopback_wait(l, 50);
  }
}
static void the_whole_request_has_a_limit(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_keeps_alive_forever, NULL,
                (struct engine_remote_options){.retries = 0, .timeout_ms = 300, .stall_ms = 200});
  generate(&x, true);
  expect_failure(&x, "timeout", 1);
  assert_true(x.seconds >= 0.29 && x.seconds < 4.5);
  close_exchange(&x);
}

static void nobody_listens(void **state) {
  (void)state;
  struct exchange x;
  struct generate_options o = {.max_tokens = 4};
  open_exchange(&x, script_good, NULL, (struct engine_remote_options){.retries = 1});
  loopback_stop(x.server);
  x.server = NULL;
  x.status =
      talk_generate(x.talk, (struct slice){0}, &o, NULL, NULL, NULL, &x.text, &x.len, &x.outcome, &x.timing, &err);
  assert_int_equal(x.status, SLUICE_NETWORK);
  assert_string_equal(talk_last_failure(x.talk)->error_class, "network");
  assert_int_equal(talk_last_failure(x.talk)->attempts, 2);
  assert_int_equal(talk_last_failure(x.talk)->http_status, 0);
  close_exchange(&x);
}

/* ---- answers that are none ------------------------------------------------------------------------------------ */
static void script_html(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)n, (void)request;
  loopback_send(
      l, "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\nConnection: close\r\n\r\n<h1>Hello</h1");
}
static void garbage_is_a_protocol_error(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_html, NULL, (struct engine_remote_options){.retries = 5});
  generate(&x, true);
  expect_failure(&x, "protocol", 1);
  close_exchange(&x);
  static char *const streams[] = {"data: {\"choices\":[{\"delta\":{\"content\":\n\n" DONE, "data: not json\n\n" DONE,
                                  "data: [1,2]\n\n" DONE};
  for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
    open_exchange(&x, script_stream, streams[i], (struct engine_remote_options){.retries = 5});
    generate(&x, true);
    expect_failure(&x, "protocol", 1);
    close_exchange(&x);
  }
}

static void script_endless_line(struct loopback *l, void *ctx, int n, const char *request) {
  static char block[65536];
  (void)ctx, (void)n, (void)request;
  memset(block, 'x', sizeof block);
  loopback_event_stream(l);
  loopback_send(l, "data: ");
  for (int i = 0; i < 4096 && l->peer >= 0 && !l->stopping; i++) { /* 256 MiB, unless the client leaves */
    if (send(l->peer, block, sizeof block, MSG_NOSIGNAL) < 0) return;
  }
}
static void an_endless_line_is_bounded(void **state) {
  (void)state;
  struct exchange x;
  open_exchange(&x, script_endless_line, NULL, (struct engine_remote_options){.retries = 5});
  generate(&x, true);
  expect_failure(&x, "protocol", 1);
  close_exchange(&x);
}

/* ---- keys ----------------------------------------------------------------------------------------------------- */
static void script_unauthorized(struct loopback *l, void *ctx, int n, const char *request) {
  (void)ctx, (void)n, (void)request;
  loopback_status(l, "401 Unauthorized", "", "{\"error\":{\"message\":\"bad key canary-5e1f7c, sorry\"}}");
}
static void the_key_goes_to_the_server_and_nowhere_else(void **state) {
  (void)state;
  struct exchange x;
  char *identity = NULL;
  setenv("SLUICE_TEST_KEY", "canary-5e1f7c", 1);
  open_exchange(&x, script_unauthorized, NULL,
                (struct engine_remote_options){.retries = 5, .key_env = "SLUICE_TEST_KEY"});
  generate(&x, true);
  expect_failure(&x, "auth", 1);
  assert_non_null(strstr(x.server->requests[0], "Authorization: Bearer canary-5e1f7c\r\n"));
  assert_null(strstr(err.message, "canary"));
  assert_non_null(strstr(err.message, "SLUICE_TEST_KEY"));
  assert_int_equal(engine_identity(x.engine, &identity, &err), SLUICE_OK);
  assert_null(strstr(identity, "canary"));
  free(identity);
  close_exchange(&x);
}

static void options_are_checked_when_opening(void **state) {
  (void)state;
  struct engine *e = NULL;
  unsetenv("SLUICE_TEST_NO_KEY");
  const struct engine_remote_options bad[] = {
      {.url = "127.0.0.1:8000"},
      {.url = "ftp://127.0.0.1/v1"},
      {.url = NULL},
      {.url = "http://user:secret@127.0.0.1/v1"},
      {.url = "http://127.0.0.1/v1\r\nX: y"},
      {.url = "http://127.0.0.1/v1", .key_env = "SLUICE_TEST_NO_KEY"},
      {.url = "http://127.0.0.1/v1", .retries = 1000},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    assert_int_equal(engine_open_remote(&bad[i], &e, &err), SLUICE_USAGE);
    assert_null(strstr(err.message, "secret"));
  }
}

static void addresses_become_endpoints(void **state) {
  (void)state;
  static const char *const known[][2] = {
      {"http://h:1", "http://h:1/v1/chat/completions"},
      {"http://h:1/", "http://h:1/v1/chat/completions"},
      {"http://h/v1/", "http://h/v1/chat/completions"},
      {"https://h/openai/v1/chat/completions", "https://h/openai/v1/chat/completions"},
      {"https://h/openai/x?api-version=2&api-key=k", "https://h/openai/x/chat/completions"},
  };
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    struct engine *e = NULL;
    char *identity = NULL, expected[256];
    struct engine_remote_options o = {.url = known[i][0], .model = "m"};
    assert_int_equal(engine_open_remote(&o, &e, &err), SLUICE_OK);
    assert_int_equal(engine_identity(e, &identity, &err), SLUICE_OK);
    snprintf(expected, sizeof expected, "{\"api\":\"%s\",\"model\":\"m\"}", known[i][1]);
    assert_string_equal(identity, expected);
    free(identity);
    engine_close(e);
  }
}

static void what_a_remote_engine_cannot_do_is_said(void **state) {
  (void)state;
  struct exchange x;
  struct talk *t = NULL;
  struct choice_scores scores = {0};
  struct slice choice = slice_of("a");
  struct generate_options o = {0};
  unsigned char *bytes = NULL;
  double nats;
  size_t n;
  open_exchange(&x, script_good, NULL, (struct engine_remote_options){0});
  assert_false(engine_is_local(x.engine));
  assert_null(engine_model(x.engine));
  assert_int_equal(talk_open(x.engine, "streaming:sinks=4", 1, &t, &err), SLUICE_UNSUPPORTED);
  assert_int_equal(talk_choose(x.talk, (struct slice){0}, &choice, 1, &scores, NULL, NULL, &err), SLUICE_UNSUPPORTED);
  assert_int_equal(talk_perplexity(x.talk, choice, NULL, NULL, &nats, &n, &err), SLUICE_UNSUPPORTED);
  assert_int_equal(talk_snapshot(x.talk, &bytes, &n, &err), SLUICE_UNSUPPORTED);
  assert_int_equal(talk_generate(x.talk, choice, &o, NULL, NULL, NULL, &x.text, &x.len, &x.outcome, &x.timing, &err),
                   SLUICE_UNSUPPORTED);
  assert_int_equal(loopback_requests(x.server), 0);
  close_exchange(&x);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(a_turn_streams_and_is_remembered),
      cmocka_unit_test(stops_and_alternatives_are_asked_for),
      cmocka_unit_test(bytes_may_come_one_by_one),
      cmocka_unit_test(reasoning_is_tapped_but_is_no_answer),
      cmocka_unit_test(refusals_are_an_outcome),
      cmocka_unit_test(a_filtered_prompt_is_refused),
      cmocka_unit_test(a_finished_answer_needs_no_done),
      cmocka_unit_test(the_tap_hangs_up),
      cmocka_unit_test(server_errors_are_retried),
      cmocka_unit_test(waits_double),
      cmocka_unit_test(retry_after_is_honoured),
      cmocka_unit_test(what_waiting_cannot_help_fails_at_once),
      cmocka_unit_test(an_error_event_is_a_server_error),
      cmocka_unit_test(silence_is_a_timeout),
      cmocka_unit_test(seen_text_is_never_sent_twice),
      cmocka_unit_test(a_reset_is_a_network_error),
      cmocka_unit_test(an_end_without_finish_reason_is_no_answer),
      cmocka_unit_test(the_whole_request_has_a_limit),
      cmocka_unit_test(nobody_listens),
      cmocka_unit_test(garbage_is_a_protocol_error),
      cmocka_unit_test(an_endless_line_is_bounded),
      cmocka_unit_test(the_key_goes_to_the_server_and_nowhere_else),
      cmocka_unit_test(options_are_checked_when_opening),
      cmocka_unit_test(addresses_become_endpoints),
      cmocka_unit_test(what_a_remote_engine_cannot_do_is_said),
  };
  setenv("no_proxy", "127.0.0.1", 1);
  log_set(LOG_WARN, false);
  return cmocka_run_group_tests(tests, NULL, NULL);
}
