/* sluice proxy: the monitor between clients and an OpenAI-compatible server. */
#include "cli/gate.h"
#include "cli/verbs.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { CATEGORIES_MAX = 256 };

struct verdict_count { /* a category's events, by mode and action */
  char category[104];
  uint64_t n[MONITOR_MODES][3], not_scanned[2]; /* [1]: of rules that fail open */
  uint64_t exposed[MONITOR_MODES];              /* bytes */
};
struct proxy_run {
  const char *policy_path, *mode, *upstream, *admin, *audit_path;
  struct string_list listen;
  bool audit_text, pass_unjudged, reuse_port, json, quiet;
  int64_t max_streams, max_body_mb, idle_s, total_s, drain_s, connect_s;
  struct monitor_guard *guard;
  const struct monitor_policy *policy; /* the guard's */
  struct monitor_watch *watch;
  struct monitor_audit *audit;
  struct monitor_counts ended; /* of answers that have ended */
  struct verdict_count *verdicts;
  size_t n_verdicts;
  uint64_t stopped;
};

/* ---- verdicts ---- */

static void on_verdict(void *ctx, const struct monitor_event *e) {
  struct proxy_run *r = ctx;
  size_t i = 0;
  if (r->audit) monitor_audit_event(r->audit, e);
  while (i < r->n_verdicts && strcmp(r->verdicts[i].category, e->category)) i++;
  if (i == r->n_verdicts) return;
  if (e->kind == MONITOR_NOT_SCANNED) r->verdicts[i].not_scanned[e->action == MONITOR_FLAG]++;
  if (e->kind != MONITOR_MATCH) return;
  r->verdicts[i].n[e->mode][e->action]++;
  r->verdicts[i].exposed[e->mode] += e->exposed;
}

/* Every category that the policy names, so that a metric is there before its first event. */
static sluice_status list_categories(struct proxy_run *r, struct sluice_error *err) {
  r->verdicts = calloc(CATEGORIES_MAX, sizeof *r->verdicts);
  if (!r->verdicts) return sluice_fail(err, SLUICE_NOMEM, "no memory for the metrics");
  for (size_t k = 0; k < monitor_policy_rules(r->policy); k++) {
    const char *category = monitor_rule_category(r->policy, k);
    size_t i = 0;
    while (i < r->n_verdicts && strcmp(r->verdicts[i].category, category)) i++;
    if (i < r->n_verdicts) continue;
    if (i == CATEGORIES_MAX) return sluice_fail(err, SLUICE_LIMIT, "more than %d categories", CATEGORIES_MAX);
    snprintf(r->verdicts[i].category, sizeof r->verdicts[i].category, "%s", category);
    r->n_verdicts++;
  }
  return SLUICE_OK;
}

static sluice_status begin(void *ctx, uint64_t request, struct wire_gate *gate, void **texts,
                           struct sluice_error *err) {
  struct proxy_run *r = ctx;
  struct gate *g = malloc(sizeof *g);
  (void)request;
  if (!g) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  gate_watch(g, r->watch, 0, MONITOR_ANSWER);
  *gate = gate_for_wire(g);
  *texts = g;
  return SLUICE_OK;
}

/* ---- one line a request: key=value, nothing of the text ---- */

static void log_request(const struct wire_record *w, const char *rule, const char *category,
                        const struct monitor_counts *counts) {
  struct buffer words;
  struct sluice_error ignored = {0};
  buffer_init(&words, 4096);
  bool bad = strcmp(w->outcome, "done") && strcmp(w->outcome, "stopped") && strcmp(w->outcome, "client_left");
  json_quote(&words, w->path, strlen(w->path) < 512 ? strlen(w->path) : 512, &ignored);
  if (w->detail[0] && !buffer_append_str(&words, " detail=", &ignored))
    json_quote(&words, w->detail, strlen(w->detail), &ignored);
  log_line(bad ? LOG_WARN : LOG_INFO,
           "proxy request=%" PRIu64 " method=%.16s status=%d outcome=%s%s%s%s%s judged=%s upstream_status=%d "
           "first_ms=%.3f total_ms=%.3f bytes_in=%" PRIu64 " bytes_out=%" PRIu64 " masked=%" PRIu64 " flagged=%" PRIu64
           " not_scanned=%" PRIu64 " exposed=%" PRIu64 " path=%s",
           w->request, w->method, w->status, w->outcome, rule ? " rule=" : "", rule ? rule : "",
           category ? " category=" : "", category ? category : "",
           !w->judged    ? "no"
           : w->streamed ? "stream"
                         : "whole",
           w->upstream_status, w->first_ns < 0 ? -1.0 : (double)w->first_ns / 1e6, (double)w->total_ns / 1e6,
           w->bytes_in, w->bytes_out, counts->masks, counts->flags, counts->not_scanned, counts->exposed,
           words.ptr ? words.ptr : "\"\"");
  buffer_free(&words);
}

static void finish(void *ctx, void *texts, const struct wire_record *record) {
  struct proxy_run *r = ctx;
  struct gate *g = texts;
  struct monitor_counts counts = {0};
  if (g) gate_counts(g, &counts);
  bool stopped = g && g->rule[0];
  r->stopped += stopped;
  if (!r->quiet) log_request(record, stopped ? g->rule : NULL, stopped ? g->category : NULL, &counts);
  monitor_counts_add(&r->ended, &counts);
  if (g) gate_close(g);
  free(g);
}

/* ---- metrics ---- */

static sluice_status label(struct buffer *out, const char *text, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (const char *s = text; !st && *s; s++)
    st = *s == '\n'                ? buffer_append_str(out, "\\n", err)
         : *s == '"' || *s == '\\' ? buffer_printf(out, err, "\\%c", *s)
                                   : buffer_append(out, s, 1, err);
  return st;
}

static sluice_status verdict_line(struct buffer *out, const char *name, const char *category, const char *labels,
                                  uint64_t value, struct sluice_error *err) {
  sluice_status st = buffer_printf(out, err, "%s{category=\"", name);
  if (!st) st = label(out, category, err);
  return st ? st : buffer_printf(out, err, "\",%s} %" PRIu64 "\n", labels, value);
}

static sluice_status verdicts_of(const struct verdict_count *v, bool shadow, struct buffer *out,
                                 struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  char labels[96];
  for (int a = 0; !st && a < 3; a++) { /* shadow stands apart: nothing was done */
    uint64_t n = 0;
    for (int m = 0; m < MONITOR_MODES; m++) n += (m == MONITOR_SHADOW) == shadow ? v->n[m][a] : 0;
    snprintf(labels, sizeof labels, "action=\"%s\"", monitor_action_name((enum monitor_action)a));
    st = verdict_line(out, shadow ? "sluice_shadow_verdicts_total" : "sluice_verdicts_total", v->category, labels, n,
                      err);
  }
  if (!st && !shadow)
    st = verdict_line(out, "sluice_verdicts_total", v->category, "action=\"not_scanned\"",
                      v->not_scanned[0] + v->not_scanned[1], err);
  return st;
}

static sluice_status verdict_lines(const struct proxy_run *r, struct buffer *out, struct sluice_error *err) {
  static const char *const heads[] = {
      "# HELP sluice_verdicts_total Matches by category and by what was done.\n"
      "# TYPE sluice_verdicts_total counter\n",
      "# HELP sluice_shadow_verdicts_total What would have been done by rules in shadow.\n"
      "# TYPE sluice_shadow_verdicts_total counter\n",
      "# HELP sluice_not_scanned_total Places that a detector could not look at, by whether the rule fails open.\n"
      "# TYPE sluice_not_scanned_total counter\n",
      "# HELP sluice_mode_exposed_bytes_total Protected bytes that a reader saw, by release mode.\n"
      "# TYPE sluice_mode_exposed_bytes_total counter\n"};
  sluice_status st = SLUICE_OK;
  char labels[96];
  for (int family = 0; !st && family < 4; family++) {
    st = buffer_append_str(out, heads[family], err);
    for (size_t i = 0; !st && i < r->n_verdicts; i++) {
      const struct verdict_count *v = &r->verdicts[i];
      if (family < 2) st = verdicts_of(v, family == 1, out, err);
      for (int k = 0; !st && family == 2 && k < 2; k++)
        st = verdict_line(out, "sluice_not_scanned_total", v->category, k ? "fail=\"open\"" : "fail=\"closed\"",
                          v->not_scanned[k], err);
      for (int m = 0; !st && family == 3 && m < MONITOR_MODES; m++) {
        snprintf(labels, sizeof labels, "mode=\"%s\"", monitor_mode_name((enum monitor_mode)m));
        st = verdict_line(out, "sluice_mode_exposed_bytes_total", v->category, labels, v->exposed[m], err);
      }
    }
  }
  return st;
}

static sluice_status metrics(void *ctx, struct buffer *out, struct sluice_error *err) {
  const struct proxy_run *r = ctx;
  const struct monitor_counts *c = &r->ended;
  const struct {
    const char *name, *about;
    uint64_t value;
  } table[] = {{"sluice_pieces_total", "Pieces of text judged, of answers that have ended.", c->pieces},
               {"sluice_pieces_held_total", "Pieces after which something waited.", c->pieces_held},
               {"sluice_text_bytes_total", "Bytes of text judged.", c->bytes},
               {"sluice_held_bytes_total", "Bytes that waited after a piece, summed over pieces.", c->held_sum},
               {"sluice_exposed_bytes_total", "Protected bytes that had left before they were known.", c->exposed},
               {"sluice_capped_total", "Attempts decided on a window that was too short for them.", c->capped}};
  sluice_status st = verdict_lines(r, out, err);
  for (size_t i = 0; !st && i < sizeof table / sizeof *table; i++)
    st = buffer_printf(out, err, "# HELP %s %s\n# TYPE %s counter\n%s %" PRIu64 "\n", table[i].name, table[i].about,
                       table[i].name, table[i].name, table[i].value);
  return st;
}

/* ---- the run ---- */

static sluice_status load(struct proxy_run *r, struct sluice_error *err) {
  char *shipped = NULL;
  sluice_status st = SLUICE_OK;
  if (!r->policy_path) st = monitor_policy_default_path(&shipped, err);
  if (!st) st = monitor_guard_load_as(r->policy_path ? r->policy_path : shipped, r->mode, &r->guard, err);
  if (!st) r->policy = monitor_guard_policy(r->guard);
  free(shipped);
  for (size_t i = 0; !st && monitor_policy_note(r->policy, i); i++)
    log_line(LOG_WARN, "%s", monitor_policy_note(r->policy, i));
  if (!st && r->audit_path) {
    struct monitor_audit_options o = {.path = r->audit_path,
                                      .text = r->audit_text,
                                      .policy = monitor_policy_name(r->policy),
                                      .policy_hash = monitor_policy_hash(r->policy),
                                      .source = r->upstream};
    st = monitor_audit_open(&o, &r->audit, err);
  }
  if (!st) st = list_categories(r, err);
  if (!st) st = monitor_watch_open(r->guard, on_verdict, r, &r->watch, err);
  return st;
}

static sluice_status serve(struct proxy_run *r, uint64_t *cut, struct sluice_error *err) {
  static char *usual[] = {"127.0.0.1:8080"};
  struct wire_proxy *proxy = NULL;
  struct wire_proxy_options o = {.upstream = r->upstream,
                                 .listen = (const char **)(r->listen.n ? r->listen.items : usual),
                                 .n_listen = r->listen.n ? r->listen.n : 1,
                                 .admin = r->admin,
                                 .reuse_port = r->reuse_port,
                                 .pass_unjudged = r->pass_unjudged,
                                 .max_body = (size_t)r->max_body_mb << 20,
                                 .max_streams = (size_t)r->max_streams,
                                 .max_clients = 4 * (size_t)r->max_streams,
                                 .connect_s = r->connect_s,
                                 .idle_s = r->idle_s,
                                 .total_s = r->total_s,
                                 .drain_s = r->drain_s,
                                 .hooks = {r, begin, finish, metrics}};
  sluice_status st = wire_proxy_open(&o, &proxy, err);
  for (size_t i = 0; !st && wire_proxy_address(proxy, i); i++)
    log_line(LOG_INFO, "proxy listens at %s, upstream %s, policy %s with %zu rules", wire_proxy_address(proxy, i),
             r->upstream, monitor_policy_name(r->policy), monitor_policy_rules(r->policy));
  if (!st) st = wire_proxy_run(proxy, cut, err);
  wire_proxy_close(proxy);
  return st;
}

static sluice_status check(const struct proxy_run *r, struct sluice_error *err) {
  const struct {
    const char *name;
    int64_t value, max;
  } bounds[] = {{"max-streams", r->max_streams, 100000}, {"max-body", r->max_body_mb, 1024},
                {"connect-timeout", r->connect_s, 3600}, {"idle-timeout", r->idle_s, 86400},
                {"total-timeout", r->total_s, 604800},   {"drain-timeout", r->drain_s, 86400}};
  if (!r->upstream) return sluice_fail(err, SLUICE_USAGE, "--upstream URL is needed; sluice proxy -h shows examples");
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
    if (bounds[i].value < 1 || bounds[i].value > bounds[i].max)
      return sluice_fail(err, SLUICE_USAGE, "--%s: %" PRId64 " is not in 1 to %" PRId64, bounds[i].name,
                         bounds[i].value, bounds[i].max);
  return SLUICE_OK;
}

static int close_run(struct proxy_run *r, sluice_status st, uint64_t cut, struct sluice_error *err) {
  struct sluice_error later = {0};
  sluice_status audited = monitor_audit_close(r->audit, &r->ended, r->stopped > 0, &later);
  if (!st && audited) st = audited, *err = later;
  monitor_watch_close(r->watch);
  monitor_guard_free(r->guard);
  free(r->verdicts);
  free(r->listen.items);
  if (st) log_line(LOG_ERROR, "proxy: %s", err->message);
  if (!st && r->upstream) log_line(LOG_INFO, "proxy: ended; %" PRIu64 " streams were cut", cut);
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
  struct proxy_run r = {
      .max_streams = 1024, .max_body_mb = 32, .connect_s = 5, .idle_s = 300, .total_s = 3600, .drain_s = 30};
  const struct option_spec options[] = {
      {"upstream", 'u', OPTION_STRING, &r.upstream, "URL", "the server's root, without /v1; unix:PATH for a socket"},
      {"policy", 'p', OPTION_STRING, &r.policy_path, "FILE",
       "rules (default: $SLUICE_POLICY, else the shipped policy)"},
      {"mode", 0, OPTION_STRING, &r.mode, "MODE",
       "for all rules: strict, optimistic, shadow, bounded:tokens=N,ms=M (default: the policy's)"},
      {"listen", 'l', OPTION_LIST, &r.listen, "ADDRESS",
       "ADDRESS:PORT, [V6]:PORT or unix:PATH; may be repeated (default: 127.0.0.1:8080)"},
      {"admin", 0, OPTION_STRING, &r.admin, "ADDRESS", "where alone /healthz, /readyz and /metrics answer"},
      {"audit", 'a', OPTION_STRING, &r.audit_path, "FILE",
       "a row an event: FILE.db SQLite, FILE.jsonl lines, - stderr"},
      {"audit-text", 0, OPTION_FLAG, &r.audit_text, NULL,
       "keep the matched text in the audit (default: its salted hash)"},
      {"pass-unjudged", 0, OPTION_FLAG, &r.pass_unjudged, NULL,
       "let model answers by that are not judged yet (Responses, Messages, ...)"},
      {"max-streams", 0, OPTION_INT, &r.max_streams, "N", "requests at the same time; more get 503 (default: 1024)"},
      {"max-body", 0, OPTION_INT, &r.max_body_mb, "MIB", "of a request (default: 32)"},
      {"connect-timeout", 0, OPTION_INT, &r.connect_s, "SECONDS", "to reach the upstream (default: 5)"},
      {"idle-timeout", 0, OPTION_INT, &r.idle_s, "SECONDS", "that the upstream may be silent (default: 300)"},
      {"total-timeout", 0, OPTION_INT, &r.total_s, "SECONDS", "that one answer may take (default: 3600)"},
      {"drain-timeout", 0, OPTION_INT, &r.drain_s, "SECONDS", "that streams may go on after SIGTERM (default: 30)"},
      {"reuse-port", 0, OPTION_FLAG, &r.reuse_port, NULL, "several proxies share one port"},
      {"log-json", 0, OPTION_FLAG, &r.json, NULL, "log lines as JSON"},
      {"quiet", 'q', OPTION_FLAG, &r.quiet, NULL, "no line for each request"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false;
  uint64_t cut = 0;
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n) st = sluice_fail(&err, SLUICE_USAGE, "\"%s\" is not wanted here", words.items[0]);
  free(words.items);
  if (helped) {
    free(r.listen.items);
    return 0;
  }
  signal(SIGPIPE, SIG_IGN);
  log_set(LOG_INFO, r.json);
  if (!st) st = check(&r, &err);
  if (!st) st = load(&r, &err);
  if (!st) st = serve(&r, &cut, &err);
  return close_run(&r, st, cut, &err);
}
