/* A remote engine: POST /chat/completions with "stream": true, through libcurl, one request a turn.
 *
 * Retries: an attempt that failed in a way that may pass (429, 5xx, timeout, network, an error event) is made again
 * after an exponential wait with jitter, or after what Retry-After asks for when that is longer, but only while nothing
 * has reached the tap: text that a reader or a monitor has seen is never sent twice. Without a tap nothing was seen, so
 * a broken stream starts afresh. A turn enters the dialogue only when it is complete, or was stopped by the tap on
 * purpose. */
#include "engine/remote.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS 10000              /* ceiling of connecting; stall_ms when that is shorter */
#define BACKOFF_CEILING_MS 30000      /* longest wait of our own */
#define RETRY_AFTER_CEILING_MS 600000 /* a server that asks for more is believed, and the turn fails now */
#define ERROR_BODY_LIMIT ((size_t)64 << 10)
#define MESSAGES_LIMIT ((size_t)256 << 20)
#define POLL_MS 25

struct remote_engine {
  char *url;     /* of the endpoint, ".../chat/completions" */
  char *shown;   /* the same without its query, which may hold a secret */
  char *model;   /* NULL: the server's only one */
  char *key_env; /* NULL: no key */
  int64_t timeout_ms, stall_ms, backoff_ms;
  int retries;
};

struct remote_talk {
  const struct remote_engine *engine;
  CURL *easy;
  CURLM *multi;
  struct buffer messages; /* JSON objects with commas between: the dialogue so far */
  struct rng jitter;
  uint64_t tokens;
  bool failed;
  struct talk_failure failure;
  struct buffer partial;
};

/* ---- faults --------------------------------------------------------------------------------------------------- */
const char *remote_class_name(enum remote_class c) {
  static const char *const names[] = {"ok",      "rate_limited", "server", "timeout",
                                      "network", "protocol",     "auth",   "refused"};
  return (size_t)c < sizeof names / sizeof names[0] ? names[c] : "protocol";
}

void remote_fault_set(struct remote_fault *f, enum remote_class class, bool retry, const char *fmt, ...) {
  va_list ap;
  f->class = class;
  f->retry = retry;
  va_start(ap, fmt);
  vsnprintf(f->message, sizeof f->message, fmt, ap);
  va_end(ap);
}

/* ---- opening -------------------------------------------------------------------------------------------------- */
/* ".../v1" -> ".../v1/chat/completions"; a bare host gets /v1; a query string stays behind the path. */
static char *endpoint_of(const char *url) {
  const char *host = strstr(url, "://") + 3;
  size_t len = strcspn(url, "?#");
  const char *query = url[len] == '?' ? url + len : "";
  while (len > 0 && url[len - 1] == '/' && url + len > host) len--;
  static const char tail[] = "/chat/completions";
  bool whole = len >= sizeof tail - 1 && strncmp(url + len - (sizeof tail - 1), tail, sizeof tail - 1) == 0;
  bool bare = memchr(host, '/', (size_t)(url + len - host)) == NULL;
  return sluice_format("%.*s%s%s%s", (int)len, url, bare ? "/v1" : "", whole ? "" : tail, query);
}

static sluice_status check_options(const struct engine_remote_options *o, struct sluice_error *err) {
  const char *url = o->url;
  if (url == NULL || (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) || strlen(url) > 4096 ||
      strcspn(url, " \t\r\n\"\\") != strlen(url)) {
    return sluice_fail(err, SLUICE_USAGE, "api \"%.200s\": an address such as http://127.0.0.1:8000/v1 is needed",
                       url != NULL ? url : "");
  }
  const char *host = strstr(url, "://") + 3;
  if (memchr(host, '@', strcspn(host, "/?#")) != NULL) {
    return sluice_fail(err, SLUICE_USAGE,
                       "api: the address holds a user name or password; put the key in an environment "
                       "variable and give the variable's name");
  }
  if (o->timeout_ms < 0 || o->stall_ms < 0 || o->backoff_ms < 0 || o->retries < -1 || o->retries > 100) {
    return sluice_fail(err, SLUICE_USAGE, "api: timeouts are milliseconds above 0, retries 0 to 100");
  }
  const char *key = o->key_env != NULL ? getenv(o->key_env) : NULL;
  if (o->key_env != NULL && (key == NULL || key[0] == '\0')) {
    return sluice_fail(err, SLUICE_USAGE, "api: the environment variable %.100s, which should hold the key, is not set",
                       o->key_env);
  }
  if (key != NULL && (strpbrk(key, "\r\n") != NULL || strlen(key) > 4096)) {
    return sluice_fail(err, SLUICE_USAGE, "api: the key in %.100s holds a line break or is over 4096 bytes",
                       o->key_env);
  }
  return SLUICE_OK;
}

static void start_curl(void) {
  curl_global_init(CURL_GLOBAL_DEFAULT);
}

sluice_status remote_engine_open(const struct engine_remote_options *o, struct remote_engine **out,
                                 struct sluice_error *err) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  sluice_status st = check_options(o, err);
  if (st != SLUICE_OK) return st;
  pthread_once(&once, start_curl);
  struct remote_engine *r = calloc(1, sizeof *r);
  if (r == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for an engine");
  r->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : 120000;
  r->stall_ms = o->stall_ms > 0 ? o->stall_ms : 30000;
  r->backoff_ms = o->backoff_ms > 0 ? o->backoff_ms : 500;
  r->retries = o->retries >= 0 ? o->retries : 5;
  r->url = endpoint_of(o->url);
  r->shown = r->url != NULL ? sluice_strndup(r->url, strcspn(r->url, "?")) : NULL;
  r->model = sluice_strdup(o->model);
  r->key_env = sluice_strdup(o->key_env);
  if (r->url == NULL || r->shown == NULL || (o->model != NULL && r->model == NULL) ||
      (o->key_env != NULL && r->key_env == NULL)) {
    remote_engine_close(r);
    return sluice_fail(err, SLUICE_NOMEM, "no memory for an engine");
  }
  *out = r;
  return SLUICE_OK;
}

void remote_engine_close(struct remote_engine *r) {
  if (r == NULL) return;
  free(r->url);
  free(r->shown);
  free(r->model);
  free(r->key_env);
  free(r);
}

sluice_status remote_identity(const struct remote_engine *r, struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{\"api\":", err);
  if (st == SLUICE_OK) st = json_quote(out, r->shown, strlen(r->shown), err);
  if (st == SLUICE_OK && r->model != NULL) st = buffer_append_str(out, ",\"model\":", err);
  if (st == SLUICE_OK && r->model != NULL) st = json_quote(out, r->model, strlen(r->model), err);
  return st == SLUICE_OK ? buffer_append_str(out, "}", err) : st;
}

sluice_status remote_open(const struct remote_engine *r, uint64_t seed, struct remote_talk **out,
                          struct sluice_error *err) {
  struct remote_talk *t = calloc(1, sizeof *t);
  if (t == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a dialogue");
  t->engine = r;
  buffer_init(&t->messages, MESSAGES_LIMIT);
  buffer_init(&t->partial, TALK_TEXT_LIMIT);
  rng_seed_named(&t->jitter, seed, "backoff");
  t->easy = curl_easy_init();
  t->multi = curl_multi_init();
  if (t->easy == NULL || t->multi == NULL) {
    remote_close(t);
    return sluice_fail(err, SLUICE_NOMEM, "no memory for a connection");
  }
  *out = t;
  return SLUICE_OK;
}

void remote_close(struct remote_talk *t) {
  if (t == NULL) return;
  if (t->easy != NULL) curl_easy_cleanup(t->easy);
  if (t->multi != NULL) curl_multi_cleanup(t->multi);
  buffer_free(&t->messages);
  buffer_free(&t->partial);
  free(t);
}

const struct talk_failure *remote_last_failure(const struct remote_talk *t) {
  return t->failed ? &t->failure : NULL;
}

uint64_t remote_tokens(const struct remote_talk *t) {
  return t->tokens;
}

/* ---- the request ---------------------------------------------------------------------------------------------- */
sluice_status remote_feed(struct remote_talk *t, enum role role, struct slice text, struct sluice_error *err) {
  static const char *const roles[] = {[ROLE_SYSTEM] = "system", [ROLE_USER] = "user", [ROLE_BOT] = "assistant"};
  size_t before = t->messages.len;
  sluice_status st =
      buffer_printf(&t->messages, err, "%s{\"role\":\"%s\",\"content\":", before > 0 ? "," : "", roles[role]);
  if (st == SLUICE_OK) st = json_quote(&t->messages, text.len > 0 ? text.ptr : "", text.len, err);
  if (st == SLUICE_OK) st = buffer_append_str(&t->messages, "}", err);
  if (st != SLUICE_OK) t->messages.len = before;
  return st;
}

static sluice_status write_request(const struct remote_talk *t, const struct generate_options *o, struct buffer *b,
                                   struct sluice_error *err) {
  const char *model = t->engine->model;
  sluice_status st = buffer_append_str(b, "{", err);
  if (st == SLUICE_OK && model != NULL) st = buffer_append_str(b, "\"model\":", err);
  if (st == SLUICE_OK && model != NULL) st = json_quote(b, model, strlen(model), err);
  if (st == SLUICE_OK) st = buffer_printf(b, err, "%s\"messages\":[", model != NULL ? "," : "");
  if (st == SLUICE_OK) st = buffer_append(b, t->messages.ptr, t->messages.len, err);
  /* Servers read a seed as a signed 32-bit or 64-bit number, so only 31 bits of ours are sent. */
  if (st == SLUICE_OK) {
    st = buffer_printf(b, err,
                       "],\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":%d,"
                       "\"temperature\":%.6g,\"seed\":%llu",
                       o->max_tokens > 0 ? o->max_tokens : 256, (double)o->temperature,
                       (unsigned long long)(o->seed & 0x7fffffff));
  }
  if (st == SLUICE_OK && o->top_p > 0 && o->top_p < 1) st = buffer_printf(b, err, ",\"top_p\":%.6g", (double)o->top_p);
  if (st == SLUICE_OK && o->top_k > 0) st = buffer_printf(b, err, ",\"top_k\":%d", o->top_k);
  if (st == SLUICE_OK && o->top_logprobs > 0)
    st = buffer_printf(b, err, ",\"logprobs\":true,\"top_logprobs\":%d", o->top_logprobs);
  for (size_t i = 0; st == SLUICE_OK && i < o->n_stop; i++) {
    st = buffer_append_str(b, i == 0 ? ",\"stop\":[" : ",", err);
    if (st == SLUICE_OK) st = json_quote(b, o->stop[i].ptr, o->stop[i].len, err);
  }
  if (st == SLUICE_OK && o->n_stop > 0) st = buffer_append_str(b, "]", err);
  return st == SLUICE_OK ? buffer_append_str(b, "}", err) : st;
}

/* ---- one attempt ---------------------------------------------------------------------------------------------- */
struct attempt {
  CURL *easy;
  const struct remote_engine *engine;
  struct remote_stream *stream;
  struct buffer error_body; /* what came instead of a stream */
  struct remote_fault fault;
  int64_t started_ns, heard_ns; /* heard: the last byte, of head or body */
  long http;
  bool streaming;
};

static bool is_event_stream(CURL *easy) {
  const char *type = NULL;
  curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
  return type == NULL || strncasecmp(type, "text/event-stream", 17) == 0;
}

static size_t on_head(char *bytes, size_t size, size_t n, void *ctx) {
  struct attempt *a = ctx;
  (void)bytes;
  a->heard_ns = clock_mono_ns();
  return size * n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *ctx) {
  struct attempt *a = ctx;
  struct sluice_error ignored;
  size_t len = size * n;
  a->heard_ns = clock_mono_ns();
  if (a->http == 0) {
    curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &a->http);
    a->streaming = a->http == 200 && is_event_stream(a->easy);
  }
  if (!a->streaming) { /* an error's text: its beginning is enough */
    size_t room = ERROR_BODY_LIMIT - a->error_body.len;
    if (buffer_append(&a->error_body, bytes, len < room ? len : room, &ignored) != SLUICE_OK)
      return CURL_WRITEFUNC_ERROR;
    return a->error_body.len < ERROR_BODY_LIMIT ? len : CURL_WRITEFUNC_ERROR;
  }
  return remote_stream_push(a->stream, bytes, len, &a->fault) ? len : CURL_WRITEFUNC_ERROR;
}

/* Authorization is built here, handed to libcurl, and wiped: the key is in no log, error, identity or ledger. */
static struct curl_slist *request_headers(const struct remote_engine *r) {
  struct curl_slist *list = curl_slist_append(NULL, "Content-Type: application/json");
  struct curl_slist *more = list != NULL ? curl_slist_append(list, "Accept: text/event-stream") : NULL;
  if (more != NULL) more = curl_slist_append(list, "Expect:");
  const char *key = r->key_env != NULL ? getenv(r->key_env) : NULL;
  if (more != NULL && key != NULL) {
    char *line = sluice_format("Authorization: Bearer %s", key);
    more = line != NULL ? curl_slist_append(list, line) : NULL;
    if (line != NULL) explicit_bzero(line, strlen(line));
    free(line);
  }
  if (more == NULL) curl_slist_free_all(list);
  return more;
}

static void set_options(struct attempt *a, const struct buffer *body, struct curl_slist *headers) {
  CURL *e = a->easy;
  const struct remote_engine *r = a->engine;
  curl_easy_reset(e);
  curl_easy_setopt(e, CURLOPT_URL, r->url);
  curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L); /* a redirect would carry the key elsewhere */
  curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(e, CURLOPT_USERAGENT, "sluice/" SLUICE_VERSION);
  curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
  curl_easy_setopt(e, CURLOPT_POSTFIELDS, body->ptr);
  curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(r->stall_ms < CONNECT_MS ? r->stall_ms : CONNECT_MS));
  curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_head);
  curl_easy_setopt(e, CURLOPT_HEADERDATA, a);
  curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(e, CURLOPT_WRITEDATA, a);
}

/* A peer that hangs up in the middle of a TLS write raises SIGPIPE in this thread. It is held back here, so that a
 * library changes no handler of its program. */
static bool hold_sigpipe(sigset_t *before) {
  sigset_t broken;
  sigemptyset(&broken);
  sigaddset(&broken, SIGPIPE);
  return pthread_sigmask(SIG_BLOCK, &broken, before) == 0 && !sigismember(before, SIGPIPE);
}

static void release_sigpipe(const sigset_t *before) {
  const struct timespec now = {0};
  sigset_t broken;
  sigemptyset(&broken);
  sigaddset(&broken, SIGPIPE);
  while (sigtimedwait(&broken, NULL, &now) > 0) continue;
  pthread_sigmask(SIG_SETMASK, before, NULL);
}

/* Drives the transfer; our own clock watches silence, because libcurl's low-speed limit counts whole seconds. */
static CURLcode drive(struct remote_talk *t, struct attempt *a, bool *interrupted) {
  const struct remote_engine *r = a->engine;
  CURLcode code = CURLE_OK;
  int running = 1;
  curl_multi_add_handle(t->multi, a->easy);
  while (running > 0 && a->fault.class == REMOTE_OK && !*interrupted) {
    if (curl_multi_perform(t->multi, &running) != CURLM_OK) {
      code = CURLE_FAILED_INIT;
      break;
    }
    int64_t now = clock_mono_ns();
    if (running == 0) break;
    if (now - a->started_ns > r->timeout_ms * 1000000) {
      remote_fault_set(&a->fault, REMOTE_TIMEOUT, true, "no complete answer within %lld ms", (long long)r->timeout_ms);
    } else if (now - a->heard_ns > r->stall_ms * 1000000) {
      remote_fault_set(&a->fault, REMOTE_TIMEOUT, true, "no byte for %lld ms", (long long)r->stall_ms);
    }
    *interrupted = signal_interrupted() != 0;
    if (a->fault.class == REMOTE_OK && !*interrupted) curl_multi_poll(t->multi, NULL, 0, POLL_MS, NULL);
  }
  int left = 0;
  for (CURLMsg *m = curl_multi_info_read(t->multi, &left); m != NULL; m = curl_multi_info_read(t->multi, &left)) {
    if (m->msg == CURLMSG_DONE) code = m->data.result;
  }
  curl_multi_remove_handle(t->multi, a->easy);
  return code;
}

static void fault_of_http(struct attempt *a) {
  char message[300], code[64], *key = a->engine->key_env != NULL ? getenv(a->engine->key_env) : NULL;
  remote_error_text((struct slice){a->error_body.ptr, a->error_body.len}, message, sizeof message, code, sizeof code);
  if (key != NULL && strlen(key) >= 8 && strstr(message, key) != NULL)
    snprintf(message, sizeof message, "(text withheld: it repeats the key)");
  struct remote_fault *f = &a->fault;
  bool filtered = strstr(code, "content_filter") != NULL || strstr(code, "content_policy") != NULL;
  if (a->http == 200) {
    remote_fault_set(f, REMOTE_PROTOCOL, false, "the answer is no event stream: %s", message);
  } else if (a->http == 429) {
    remote_fault_set(f, REMOTE_RATE_LIMITED, strcmp(code, "insufficient_quota") != 0, "HTTP 429: %s", message);
  } else if (a->http == 401 || a->http == 403) {
    remote_fault_set(f, REMOTE_AUTH, false, "HTTP %ld: %s (key from %s)", a->http, message,
                     key != NULL ? a->engine->key_env : "nowhere: name its variable with api_key_env");
  } else if (a->http == 408 || a->http == 504) {
    remote_fault_set(f, REMOTE_TIMEOUT, true, "HTTP %ld: %s", a->http, message);
  } else if (a->http >= 500 || a->http == 409 || a->http == 425) {
    remote_fault_set(f, REMOTE_SERVER, true, "HTTP %ld: %s", a->http, message);
  } else if (a->http >= 400 && filtered) {
    remote_fault_set(f, REMOTE_REFUSED, false, "HTTP %ld: %s", a->http, message);
  } else if (a->http >= 300 && a->http < 400) {
    remote_fault_set(f, REMOTE_PROTOCOL, false, "HTTP %ld: the server points elsewhere; give the final address",
                     a->http);
  } else {
    remote_fault_set(f, REMOTE_PROTOCOL, false, "HTTP %ld: %s", a->http, message);
  }
}

static void fault_of_curl(struct attempt *a, CURLcode code) {
  const char *why = curl_easy_strerror(code);
  switch (code) {
  case CURLE_OPERATION_TIMEDOUT:
    remote_fault_set(&a->fault, REMOTE_TIMEOUT, true, "%s", why);
    return;
  case CURLE_OUT_OF_MEMORY:
  case CURLE_UNSUPPORTED_PROTOCOL:
  case CURLE_URL_MALFORMAT:
  case CURLE_FAILED_INIT:
    remote_fault_set(&a->fault, REMOTE_PROTOCOL, false, "%s", why);
    return;
  case CURLE_PEER_FAILED_VERIFICATION:
  case CURLE_SSL_CACERT_BADFILE:
  case CURLE_SSL_CERTPROBLEM:
    remote_fault_set(&a->fault, REMOTE_NETWORK, false, "%s", why);
    return;
  default:
    remote_fault_set(&a->fault, REMOTE_NETWORK, true, "%s", why);
    return;
  }
}

static void judge_end(struct attempt *a, CURLcode code) {
  if (a->fault.class != REMOTE_OK) return; /* found while reading */
  if (a->http == 0) curl_easy_getinfo(a->easy, CURLINFO_RESPONSE_CODE, &a->http);
  const struct remote_stream_result *r = remote_stream_result(a->stream);
  if (r->stopped) return;
  if (a->http != 0 && !a->streaming && (a->http != 200 || a->error_body.len > 0)) {
    fault_of_http(a);
  } else if (code != CURLE_OK && !r->finished) { /* a reset after the finish_reason loses nothing but usage */
    fault_of_curl(a, code);
  } else {
    remote_stream_end(a->stream, &a->fault);
  }
}

/* Retry-After in seconds or as an HTTP date (libcurl reads both), or retry-after-ms; -1: nothing asked. */
static int64_t retry_after_ms(CURL *easy) {
  struct curl_header *h = NULL;
  if (curl_easy_header(easy, "retry-after-ms", 0, CURLH_HEADER, -1, &h) == CURLHE_OK) {
    char *end = NULL;
    double ms = strtod(h->value, &end);
    if (end != h->value && ms >= 0 && ms < 1e12) return (int64_t)ms;
  }
  curl_off_t seconds = 0;
  if (curl_easy_header(easy, "retry-after", 0, CURLH_HEADER, -1, &h) != CURLHE_OK) return -1;
  curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds);
  return seconds > 1000000 ? 1000000000 : (int64_t)seconds * 1000;
}

static sluice_status run_attempt(struct remote_talk *t, const struct buffer *body, struct attempt *a,
                                 struct sluice_error *err) {
  struct curl_slist *headers = request_headers(t->engine);
  if (headers == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a request");
  bool interrupted = false;
  a->easy = t->easy;
  a->engine = t->engine;
  a->started_ns = a->heard_ns = clock_mono_ns();
  buffer_init(&a->error_body, ERROR_BODY_LIMIT + 1);
  set_options(a, body, headers);
  sigset_t before;
  bool held = hold_sigpipe(&before);
  CURLcode code = drive(t, a, &interrupted);
  if (held) release_sigpipe(&before);
  if (!interrupted) judge_end(a, code);
  t->failure.http_status = (int)a->http;
  t->failure.retry_after_ms = a->http != 0 ? retry_after_ms(a->easy) : -1;
  buffer_free(&a->error_body);
  curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, NULL);
  curl_slist_free_all(headers);
  return interrupted ? sluice_fail(err, SLUICE_INTERRUPTED, "%s: interrupted", t->engine->shown) : SLUICE_OK;
}

/* ---- retries -------------------------------------------------------------------------------------------------- */
/* Half of the wait is fixed and half is drawn, so that many clients do not come back together. */
static int64_t backoff_ms(struct remote_talk *t, int attempt) {
  int64_t wait = t->engine->backoff_ms;
  for (int i = 1; i < attempt && wait < BACKOFF_CEILING_MS; i++) wait *= 2;
  if (wait > BACKOFF_CEILING_MS) wait = BACKOFF_CEILING_MS;
  wait = wait / 2 + (int64_t)(rng_double(&t->jitter) * (double)(wait - wait / 2));
  return t->failure.retry_after_ms > wait ? t->failure.retry_after_ms : wait;
}

static sluice_status wait_for_retry(struct remote_talk *t, int attempt, const struct remote_fault *fault,
                                    struct sluice_error *err) {
  int64_t wait = backoff_ms(t, attempt), until = clock_mono_ns() + wait * 1000000;
  log_line(LOG_INFO, "%s: %s: %s; attempt %d of %d in %lld ms", t->engine->shown, remote_class_name(fault->class),
           fault->message, attempt + 1, t->engine->retries + 1, (long long)wait);
  for (int64_t now = clock_mono_ns(); now < until; now = clock_mono_ns()) {
    if (signal_interrupted() != 0) return sluice_fail(err, SLUICE_INTERRUPTED, "%s: interrupted", t->engine->shown);
    clock_sleep_ns(until - now < POLL_MS * 1000000 ? until - now : POLL_MS * 1000000);
  }
  return SLUICE_OK;
}

static sluice_status give_up(struct remote_talk *t, const struct remote_fault *fault, const struct buffer *text,
                             struct sluice_error *err) {
  struct sluice_error ignored;
  buffer_clear(&t->partial);
  if (text->len > 0) buffer_append(&t->partial, text->ptr, text->len, &ignored);
  t->failed = true;
  t->failure.error_class = remote_class_name(fault->class);
  t->failure.partial = (struct slice){t->partial.ptr != NULL ? t->partial.ptr : "", t->partial.len};
  return sluice_fail(err, SLUICE_NETWORK, "%s: %s after %d attempt%s: %s", t->engine->shown, t->failure.error_class,
                     t->failure.attempts, t->failure.attempts == 1 ? "" : "s", fault->message);
}

static void keep_result(struct remote_talk *t, const struct remote_stream_result *r, struct talk_timing *timing) {
  timing->first_token_ns = r->first_token_ns;
  timing->ended_ns = clock_mono_ns();
  timing->prompt_tokens = r->prompt_tokens;
  timing->output_tokens = r->output_tokens;
  timing->attempts = t->failure.attempts;
  if (r->total_tokens >= 0) t->tokens = (uint64_t)r->total_tokens;
}

/* Asks until an answer is complete. *outcome is set on success. */
static sluice_status ask(struct remote_talk *t, const struct buffer *body, piece_fn tap, void *ctx, struct buffer *text,
                         enum outcome *outcome, struct talk_timing *timing, struct sluice_error *err) {
  for (;;) {
    struct attempt a = {.fault = {.class = REMOTE_OK}};
    t->failure.attempts++;
    buffer_clear(text);
    sluice_status st = remote_stream_open(tap, ctx, text, &a.stream, err);
    if (st == SLUICE_OK) st = run_attempt(t, body, &a, err);
    bool emitted = false;
    if (st == SLUICE_OK) {
      const struct remote_stream_result *r = remote_stream_result(a.stream);
      *outcome = r->outcome;
      emitted = r->emitted;
      keep_result(t, r, timing);
    }
    remote_stream_close(a.stream);
    if (st != SLUICE_OK) return st;
    if (a.fault.class == REMOTE_OK) return SLUICE_OK;
    if (a.fault.class == REMOTE_REFUSED) {
      *outcome = OUTCOME_REFUSED;
      return SLUICE_OK;
    }
    bool again = a.fault.retry && !emitted && t->failure.attempts <= t->engine->retries &&
                 t->failure.retry_after_ms <= RETRY_AFTER_CEILING_MS;
    if (!again) return give_up(t, &a.fault, text, err);
    st = wait_for_retry(t, t->failure.attempts, &a.fault, err);
    if (st != SLUICE_OK) return st;
  }
}

sluice_status remote_generate(struct remote_talk *t, struct slice prefix, const struct generate_options *o,
                              piece_fn tap, void *ctx, const struct slice *commit_text, struct buffer *text,
                              enum outcome *outcome, struct talk_timing *timing, struct sluice_error *err) {
  *timing = (struct talk_timing){.started_ns = clock_mono_ns(), .prompt_tokens = -1, .output_tokens = -1};
  t->failed = false;
  t->failure = (struct talk_failure){.retry_after_ms = -1, .error_class = "", .partial = {"", 0}};
  if (prefix.len > 0) {
    return sluice_fail(
        err, SLUICE_UNSUPPORTED,
        "a remote engine cannot continue a begun answer (servers differ): put the prefix in the question");
  }
  struct buffer body;
  buffer_init(&body, MESSAGES_LIMIT + (1 << 20));
  sluice_status st = write_request(t, o, &body, err);
  if (st == SLUICE_OK) st = ask(t, &body, tap, ctx, text, outcome, timing, err);
  buffer_free(&body);
  if (st != SLUICE_OK) return st;
  return remote_feed(t, ROLE_BOT, commit_text != NULL ? *commit_text : (struct slice){text->ptr, text->len}, err);
}
