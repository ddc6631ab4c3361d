/* sluice proxy: the monitor between clients and OpenAI-compatible servers. */
#include "cli/proxy_run.h"
#include "cli/verbs.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct proxy_words { /* of the command line */
  struct string_list upstreams, backups, listen, cors;
  const char *admin, *probe, *tls_cert, *tls_key, *tls_client_ca, *upstream_ca, *upstream_cert, *upstream_key, *blocked;
  bool upstream_http2, pass_unjudged, reuse_port, json;
  int64_t threads, eject_after, max_streams, max_body_mb, max_memory_mb, idle_s, total_s, drain_s, connect_s;
};

/* ---- one line a request: key=value, nothing of the text ---- */

static void log_request(const struct wire_record *w, const char *rule, const char *category,
                        const struct monitor_counts *counts) {
  struct buffer words;
  struct sluice_error ignored = {0};
  buffer_init(&words, 4096);
  bool bad = strcmp(w->outcome, "done") && strcmp(w->outcome, "stopped") && strcmp(w->outcome, "blocked") &&
             strcmp(w->outcome, "client_left");
  json_quote(&words, w->path, strlen(w->path) < 512 ? strlen(w->path) : 512, &ignored);
  if (w->detail[0] && !buffer_append_str(&words, " detail=", &ignored))
    json_quote(&words, w->detail, strlen(w->detail), &ignored);
  log_line(bad ? LOG_WARN : LOG_INFO,
           "proxy request=%" PRIu64 " method=%.16s status=%d outcome=%s%s%s%s%s judged=%s upstream_status=%d "
           "first_ms=%.3f total_ms=%.3f bytes_in=%" PRIu64 " bytes_out=%" PRIu64 " masked=%" PRIu64 " flagged=%" PRIu64
           " not_scanned=%" PRIu64 " exposed=%" PRIu64 " unread_parts=%zu%s%s path=%s",
           w->request, w->method, w->status, w->outcome, rule ? " rule=" : "", rule ? rule : "",
           category ? " category=" : "", category ? category : "",
           !w->judged    ? "no"
           : w->streamed ? "stream"
                         : "whole",
           w->upstream_status, w->first_ns < 0 ? -1.0 : (double)w->first_ns / 1e6, (double)w->total_ns / 1e6,
           w->bytes_in, w->bytes_out, counts->masks, counts->flags, counts->not_scanned, counts->exposed,
           w->unread_parts, w->upstream[0] ? " upstream=" : "", w->upstream, words.ptr ? words.ptr : "\"\"");
  buffer_free(&words);
}

/* At most: a piece is a token or a few, and the model may have ended by itself before its limit. */
static void count_saved(struct proxy_run *r, const struct wire_record *record, uint64_t pieces) {
  if (record->token_limit < 0)
    r->stops_without_limit++;
  else if ((uint64_t)record->token_limit > pieces)
    r->tokens_saved_max += (uint64_t)record->token_limit - pieces;
}

static sluice_status begin(void *ctx, size_t thread, const struct wire_asked *asked, struct wire_gate *answer,
                           struct wire_gate *prompts, void **texts, struct sluice_error *err) {
  return proxy_policy_begin(ctx, thread, asked, answer, prompts, texts, err);
}

static void move(void *ctx, size_t thread, void *texts, bool beside) {
  proxy_policy_move(ctx, thread, texts, beside);
}

static void finish(void *ctx, size_t thread, void *texts, const struct wire_record *record) {
  struct proxy_run *r = ctx;
  struct answer_texts *t = texts;
  struct monitor_counts counts = {0}, both = {0};
  (void)thread;
  if (t) {
    gate_counts(&t->gate, &counts);
    gate_counts(&t->prompts, &both);
    monitor_counts_add(&both, &counts);
  }
  const struct gate *by = !t ? NULL : t->prompts.rule[0] ? &t->prompts : t->gate.rule[0] ? &t->gate : NULL;
  if (!r->quiet) log_request(record, by ? by->rule : NULL, by ? by->category : NULL, &both);
  pthread_mutex_lock(&r->lock);
  r->stopped += t && by == &t->gate;
  r->blocked += t && by == &t->prompts;
  r->unread_parts += record->unread_parts;
  if (t && by == &t->gate && record->streamed) count_saved(r, record, counts.pieces);
  monitor_counts_add(&r->ended, &both);
  pthread_mutex_unlock(&r->lock);
  if (t) proxy_policy_end(r, t, &both);
}

static sluice_status reload(void *ctx, struct sluice_error *err) {
  struct proxy_run *r = ctx;
  size_t rules = 0;
  sluice_status st = proxy_policy_load(r, err);
  if (st) return st;
  const char *name = proxy_policy_words(r, &rules);
  log_line(LOG_INFO, "proxy: reloaded, policy %s with %zu rules", name, rules);
  return SLUICE_OK;
}

/* ---- the run ---- */

/* Everything else asks for a base URL that ends so; here clients' paths bring it, and would bring it twice. */
static void warn_of_base_urls(const struct string_list *upstreams) {
  for (size_t i = 0; i < upstreams->n; i++) {
    const char *url = upstreams->items[i];
    size_t n = strlen(url);
    while (n && url[n - 1] == '/') n--;
    if (n > 3 && memcmp(url + n - 3, "/v1", 3) == 0)
      log_line(LOG_WARN,
               "proxy: --upstream %s: a client's /v1/models is asked as %.*s/v1/models; most servers want %.*s", url,
               (int)n, url, (int)(n - 3), url);
  }
}

static sluice_status serve(struct proxy_run *r, const struct proxy_words *w, uint64_t *cut, struct sluice_error *err) {
  static char *usual[] = {"127.0.0.1:8080"};
  struct wire_proxy *proxy = NULL;
  size_t rules = 0;
  struct wire_proxy_options o = {.upstreams = (const char **)w->upstreams.items,
                                 .n_upstreams = w->upstreams.n,
                                 .backups = (const char **)w->backups.items,
                                 .n_backups = w->backups.n,
                                 .probe_path = w->probe,
                                 .eject_after = (int)w->eject_after,
                                 .upstream_ca = w->upstream_ca,
                                 .upstream_cert = w->upstream_cert,
                                 .upstream_key = w->upstream_key,
                                 .upstream_http2 = w->upstream_http2,
                                 .tls_cert = w->tls_cert,
                                 .tls_key = w->tls_key,
                                 .tls_client_ca = w->tls_client_ca,
                                 .threads = r->threads,
                                 .listen = (const char **)(w->listen.n ? w->listen.items : usual),
                                 .n_listen = w->listen.n ? w->listen.n : 1,
                                 .admin = w->admin,
                                 .cors = (const char **)w->cors.items,
                                 .n_cors = w->cors.n,
                                 .reuse_port = w->reuse_port,
                                 .pass_unjudged = w->pass_unjudged,
                                 .refuse_blocked = strcmp(w->blocked, "refusal") == 0,
                                 .max_body = (size_t)w->max_body_mb << 20,
                                 .max_streams = (size_t)w->max_streams,
                                 .max_clients = 4 * (size_t)w->max_streams,
                                 .max_memory = (size_t)w->max_memory_mb << 20,
                                 .connect_s = w->connect_s,
                                 .idle_s = w->idle_s,
                                 .total_s = w->total_s,
                                 .drain_s = w->drain_s,
                                 .hooks = {r, begin, finish, proxy_metrics_write, reload, move}};
  sluice_status st = wire_proxy_open(&o, &proxy, err);
  const char *name = proxy_policy_words(r, &rules);
  if (!st) warn_of_base_urls(&w->upstreams);
  for (size_t i = 0; !st && wire_proxy_address(proxy, i); i++)
    log_line(LOG_INFO, "proxy listens at %s, upstream %s, policy %s with %zu rules", wire_proxy_address(proxy, i),
             w->upstreams.items[0], name, rules);
  if (!st) st = wire_proxy_run(proxy, cut, err);
  wire_proxy_close(proxy);
  return st;
}

static sluice_status check(const struct proxy_words *w, struct sluice_error *err) {
  const struct {
    const char *name;
    int64_t value, max;
  } bounds[] = {{"threads", w->threads, 256},
                {"eject-after", w->eject_after, 1000},
                {"max-streams", w->max_streams, 100000},
                {"max-body", w->max_body_mb, 1024},
                {"max-memory", w->max_memory_mb, 1 << 20},
                {"connect-timeout", w->connect_s, 3600},
                {"idle-timeout", w->idle_s, 86400},
                {"total-timeout", w->total_s, 604800},
                {"drain-timeout", w->drain_s, 86400}};
  if (!w->upstreams.n)
    return sluice_fail(err, SLUICE_USAGE, "--upstream URL is needed; sluice proxy -h shows examples");
  if (strcmp(w->blocked, "error") && strcmp(w->blocked, "refusal"))
    return sluice_fail(err, SLUICE_USAGE, "--blocked %s: neither error nor refusal", w->blocked);
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
    if (bounds[i].value < 1 || bounds[i].value > bounds[i].max)
      return sluice_fail(err, SLUICE_USAGE, "--%s: %" PRId64 " is not in 1 to %" PRId64, bounds[i].name,
                         bounds[i].value, bounds[i].max);
  return SLUICE_OK;
}

static int close_run(struct proxy_run *r, struct proxy_words *w, sluice_status st, uint64_t cut,
                     struct sluice_error *err) {
  struct sluice_error later = {0};
  bool served = r->current && !st;
  sluice_status audited = proxy_policy_close(r, &later);
  if (!st && audited) st = audited, *err = later;
  free(w->upstreams.items);
  free(w->backups.items);
  free(w->listen.items);
  free(w->cors.items);
  if (st) log_line(LOG_ERROR, "proxy: %s", err->message);
  if (!st && served) log_line(LOG_INFO, "proxy: ended; %" PRIu64 " streams were cut", cut);
  return st ? sluice_exit_code(st) : cut ? 128 + SIGTERM : 0;
}

static const struct verb_help help = {
    .verb = "proxy",
    .summary = "judge every answer of an OpenAI-compatible server on its way to the client",
    .usage = "sluice proxy --upstream URL [--policy FILE] [--listen ADDRESS:PORT]...",
    .examples =
        "  sluice proxy --upstream http://127.0.0.1:8000 --policy policy.json --listen 127.0.0.1:8080\n"
        "  sluice proxy --upstream unix:/run/vllm.sock --listen unix:/run/sluice.sock --admin 127.0.0.1:9090\n"
        "  curl -sN http://127.0.0.1:8080/v1/chat/completions -H 'content-type: application/json' -d @request.json\n",
    .notes =
        "Answers of POST .../chat/completions, .../completions, .../responses and .../v1/messages are judged,\n"
        "streamed or whole; other paths go by unchanged, except for model answers in forms that are not judged yet:\n"
        "they are refused with 501.\n"
        "GET /healthz, /readyz and /metrics are answered here (with --admin: only there). SIGTERM lets streams end.\n"
        "Exit codes: 0 every stream ended; 143 some were cut; 2 usage; 1 internal.\n"};

int verb_proxy(int argc, char **argv) {
  static struct proxy_run r = {.lock = PTHREAD_MUTEX_INITIALIZER};
  struct proxy_words w = {.blocked = "error",
                          .threads = 1,
                          .eject_after = 3,
                          .max_streams = 1024,
                          .max_body_mb = 32,
                          .max_memory_mb = 1024,
                          .connect_s = 5,
                          .idle_s = 300,
                          .total_s = 3600,
                          .drain_s = 30};
  const struct option_spec options[] = {
      {"upstream", 'u', OPTION_LIST, &w.upstreams, "URL",
       "a server's root, without /v1; unix:PATH for a socket; of several the least busy one is asked"},
      {"backup", 0, OPTION_LIST, &w.backups, "URL", "asked while no --upstream is well"},
      {"eject-after", 0, OPTION_INT, &w.eject_after, "N",
       "failures in a row after which a server is left alone until it is back (default: 3)"},
      {"probe", 0, OPTION_STRING, &w.probe, "PATH", "GET of it says whether a server is back (default: a connection)"},
      {"upstream-ca", 0, OPTION_STRING, &w.upstream_ca, "FILE",
       "PEM: who signs for https:// upstreams (default: the system's)"},
      {"upstream-cert", 0, OPTION_STRING, &w.upstream_cert, "FILE", "PEM: the certificate shown to https:// upstreams"},
      {"upstream-key", 0, OPTION_STRING, &w.upstream_key, "FILE", "PEM: its key (default: in the same file)"},
      {"upstream-http2", 0, OPTION_FLAG, &w.upstream_http2, NULL, "HTTP/2 to https:// upstreams that offer it"},
      {"policy", 'p', OPTION_STRING, &r.policy_path, "FILE",
       "rules (default: $SLUICE_POLICY, else the shipped policy); read again on SIGHUP"},
      {"mode", 0, OPTION_STRING, &r.mode, "MODE",
       "for all rules: strict, optimistic, shadow, bounded:tokens=N,ms=M (default: the policy's)"},
      {"listen", 'l', OPTION_LIST, &w.listen, "ADDRESS",
       "ADDRESS:PORT, [V6]:PORT or unix:PATH; may be repeated (default: 127.0.0.1:8080)"},
      {"tls-cert", 0, OPTION_STRING, &w.tls_cert, "FILE",
       "PEM: TLS towards clients, with this chain; read again on SIGHUP"},
      {"tls-key", 0, OPTION_STRING, &w.tls_key, "FILE", "PEM: its key (default: in the same file)"},
      {"tls-client-ca", 0, OPTION_STRING, &w.tls_client_ca, "FILE",
       "PEM: clients must show a certificate signed by it"},
      {"threads", 't', OPTION_INT, &w.threads, "N", "event loops, each with its own connections (default: 1)"},
      {"admin", 0, OPTION_STRING, &w.admin, "ADDRESS", "where alone /healthz, /readyz and /metrics answer"},
      {"cors", 0, OPTION_LIST, &w.cors, "ORIGIN",
       "pages of this origin may read answers in a browser (https://HOST[:PORT]; * for any); preflights are answered "
       "here; may be repeated (default: as the upstream says)"},
      {"audit", 'a', OPTION_STRING, &r.audit_path, "FILE",
       "a row an event: FILE.db SQLite, FILE.jsonl lines, - stderr"},
      {"audit-text", 0, OPTION_FLAG, &r.audit_text, NULL,
       "keep the matched text in the audit (default: its salted hash)"},
      {"blocked", 0, OPTION_STRING, &w.blocked, "WORD",
       "what a blocked prompt is answered with: error (400), or refusal, as if the model had (default: error)"},
      {"pass-unjudged", 0, OPTION_FLAG, &w.pass_unjudged, NULL, "let model answers by that are not judged yet"},
      {"max-streams", 0, OPTION_INT, &w.max_streams, "N", "requests at the same time; more get 503 (default: 1024)"},
      {"max-body", 0, OPTION_INT, &w.max_body_mb, "MIB", "of a request (default: 32)"},
      {"max-memory", 0, OPTION_INT, &w.max_memory_mb, "MIB", "of all buffers together (default: 1024)"},
      {"connect-timeout", 0, OPTION_INT, &w.connect_s, "SECONDS", "to reach an upstream (default: 5)"},
      {"idle-timeout", 0, OPTION_INT, &w.idle_s, "SECONDS", "that an upstream may be silent (default: 300)"},
      {"total-timeout", 0, OPTION_INT, &w.total_s, "SECONDS", "that one answer may take (default: 3600)"},
      {"drain-timeout", 0, OPTION_INT, &w.drain_s, "SECONDS", "that streams may go on after SIGTERM (default: 30)"},
      {"reuse-port", 0, OPTION_FLAG, &w.reuse_port, NULL, "several proxies share one port"},
      {"log-json", 0, OPTION_FLAG, &w.json, NULL, "log lines as JSON"},
      {"quiet", 'q', OPTION_FLAG, &r.quiet, NULL, "no line for each request"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false;
  uint64_t cut = 0;
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n) st = sluice_fail(&err, SLUICE_USAGE, "\"%s\" is not wanted here", words.items[0]);
  free(words.items);
  if (helped) return 0;
  signal(SIGPIPE, SIG_IGN);
  log_set(LOG_INFO, w.json);
  if (!st) st = check(&w, &err);
  r.threads = (size_t)w.threads;
  if (!st) r.source = w.upstreams.items[0];
  if (!st) st = proxy_policy_load(&r, &err);
  if (!st) st = serve(&r, &w, &cut, &err);
  return close_run(&r, &w, st, cut, &err);
}
