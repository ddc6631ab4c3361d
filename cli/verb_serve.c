/* sluice serve: local weights behind OpenAI's interface, with continuous batching and the monitor inside. */
#include "cli/serve.h"
#include "cli/verbs.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct verb_help help = {
    .verb = "serve",
    .summary = "local weights behind OpenAI's interface, many answers at once",
    .usage = "sluice serve [--model DIR] [options]",
    .examples = "  sluice serve                                     # the embedded model at 127.0.0.1:8000\n"
                "  sluice serve --model ~/models/Qwen2.5-0.5B-Instruct --listen 127.0.0.1:9000 --parallel 32\n"
                "  sluice serve --monitor default --audit audit.db  # nothing that the policy names leaves\n"
                "  curl -sN http://127.0.0.1:8000/v1/chat/completions -H 'content-type: application/json' \\\n"
                "    -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],\"stream\":true}'\n",
    .notes =
        "Paths: /v1/chat/completions and /v1/completions (streamed or whole; n, stop, seed, logprobs, top_k, min_p,\n"
        "repetition_penalty), /v1/models, /healthz, /readyz, /metrics. What it does not know and would change the "
        "answer\n"
        "(tools, JSON mode, images) is refused by name. On a CPU an answer is the same whatever else runs beside it.\n"
        "SIGTERM stops listening and lets answers end. Exit codes: 0 drained; 2 usage; 143 answers were cut.\n"};

struct serve_words {
  const char *model, *name, *policy, *monitor, *audit, *kernel, *device, *weights, *template_name;
  struct string_list listen, cors;
  int64_t threads, parallel, max_tokens, max_body_mb, drain_s;
  bool audit_text, quiet, json;
};

static sluice_status open_monitor(struct serve *s, const struct serve_words *w, struct sluice_error *err) {
  char *found = NULL;
  if (!w->monitor) return SLUICE_OK;
  sluice_status st = strcmp(w->monitor, "default") == 0 ? monitor_policy_default_path(&found, err) : SLUICE_OK;
  if (!st) st = monitor_guard_load(found ? found : w->monitor, &s->guard, err);
  if (!st) monitor_guard_prepare(s->guard);
  free(found);
  if (!st && w->audit) {
    const struct monitor_policy *policy = monitor_guard_policy(s->guard);
    const struct monitor_audit_options o = {.path = w->audit,
                                            .text = w->audit_text,
                                            .policy = monitor_policy_name(policy),
                                            .policy_hash = monitor_policy_hash(policy),
                                            .source = "serve"};
    st = monitor_audit_open(&o, &s->audit, err);
  }
  return st ? st : monitor_watch_open(s->guard, s->audit ? gate_audit : NULL, s->audit, &s->watch, err);
}

static sluice_status open_engine(struct serve *s, const struct serve_words *w, struct sluice_error *err) {
  const struct engine_local_options o = {.model_dir = w->model,
                                         .threads = (int)(w->threads ? w->threads : threads_available()),
                                         .kernel = w->kernel,
                                         .device = w->device,
                                         .weights = w->weights,
                                         .template_name = w->template_name,
                                         .together = true};
  char *canonical = NULL;
  sluice_status st = policy_check(w->policy ? w->policy : "full", &canonical, err);
  s->policy = canonical;
  if (!st) st = engine_open_local(&o, &s->engine, err);
  if (st) return st;
  const struct model *m = engine_model(s->engine);
  const char *dir = model_directory(m), *last = strrchr(dir, '/');
  s->names = sluice_strdup(w->name ? w->name : !w->model ? "embedded" : last && last[1] ? last + 1 : dir);
  s->model = s->names;
  s->max_context = strncmp(canonical, "full", 4) == 0 ? (uint64_t)model_configuration(m)->max_context : 0;
  return s->names ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory");
}

static void on_left(void *ctx, struct wire_call *wire) {
  serve_left(ctx, wire);
}

static sluice_status open_server(struct serve *s, const struct serve_words *w, struct sluice_error *err) {
  static const char *standard[] = {"127.0.0.1:8000"};
  const struct wire_server_options o = {.listen = w->listen.n ? (const char **)w->listen.items : standard,
                                        .n_listen = w->listen.n ? w->listen.n : 1,
                                        .max_body = (size_t)w->max_body_mb << 20,
                                        .drain_s = w->drain_s,
                                        .cors = (const char **)w->cors.items,
                                        .n_cors = w->cors.n,
                                        .ctx = s,
                                        .request = serve_route,
                                        .left = on_left};
  return wire_server_open(&o, &s->server, err);
}

static sluice_status run(struct serve *s, struct sluice_error *err) {
  bool busy = false;
  while (wire_server_turn(s->server, !busy)) {
    struct sluice_error step = {0};
    busy = serve_step(s, &step);
    if (step.code) { /* the calls have been told; sessions that failed amid a step are of no use */
      *err = step;
      return step.code;
    }
  }
  return SLUICE_OK;
}

static void close_serve(struct serve *s) {
  wire_server_close(s->server);
  monitor_watch_close(s->watch);
  monitor_guard_free(s->guard);
  engine_close(s->engine);
  free(s->names);
  free((char *)s->policy);
}

static sluice_status serve(const struct serve_words *w, struct serve *s, struct sluice_error *err) {
  s->parallel = (size_t)w->parallel;
  s->max_tokens = w->max_tokens;
  s->quiet = w->quiet;
  signal(SIGPIPE, SIG_IGN); /* a client that has gone is told by the write's own error */
  rng_seed(&s->rng, (uint64_t)clock_wall_ns() ^ (uint64_t)getpid() << 32);
  sluice_status st = open_engine(s, w, err);
  if (!st) st = open_monitor(s, w, err);
  if (!st) st = open_server(s, w, err);
  for (size_t i = 0; !st && wire_server_address(s->server, i); i++)
    log_line(LOG_INFO, "serve: listening at %s, model %s, policy %s, %zu answers at once",
             wire_server_address(s->server, i), s->model, s->policy, s->parallel);
  return st ? st : run(s, err);
}

static sluice_status check_words(const struct serve_words *w, const struct string_list *words,
                                 struct sluice_error *err) {
  const struct {
    const char *name;
    int64_t value, low, high;
  } bounds[] = {{"--parallel", w->parallel, 1, 256},
                {"--threads", w->threads, 0, 1024},
                {"--max-tokens", w->max_tokens, 1, 1 << 24},
                {"--max-body", w->max_body_mb, 1, 1024},
                {"--drain-timeout", w->drain_s, 1, 86400}};
  if (words->n) return sluice_fail(err, SLUICE_USAGE, "serve takes options only, not \"%s\"", words->items[0]);
  for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++)
    if (bounds[i].value < bounds[i].low || bounds[i].value > bounds[i].high)
      return sluice_fail(err, SLUICE_USAGE, "%s %lld is outside %lld to %lld", bounds[i].name,
                         (long long)bounds[i].value, (long long)bounds[i].low, (long long)bounds[i].high);
  if (w->audit && !w->monitor) return sluice_fail(err, SLUICE_USAGE, "--audit goes with --monitor");
  return SLUICE_OK;
}

int verb_serve(int argc, char **argv) {
  struct serve_words w = {.parallel = 16, .max_tokens = 1024, .max_body_mb = 32, .drain_s = 30};
  const struct option_spec options[] = {
      {"model", 'm', OPTION_STRING, &w.model, "DIR",
       "a Hugging Face folder or a GGUF file (default: the embedded model)"},
      {"listen", 'l', OPTION_LIST, &w.listen, "ADDRESS",
       "ADDRESS:PORT, [V6]:PORT or unix:PATH; may be repeated (default: 127.0.0.1:8000)"},
      {"name", 0, OPTION_STRING, &w.name, "NAME", "the model's name for clients (default: the folder's)"},
      {"policy", 0, OPTION_STRING, &w.policy, "SPEC", "cache policy of every dialogue (default: full)"},
      {"parallel", 'n', OPTION_INT, &w.parallel, "N", "answers that get tokens at the same time (default: 16)"},
      {"threads", 't', OPTION_INT, &w.threads, "N", "threads (default: processors)"},
      {"max-tokens", 0, OPTION_INT, &w.max_tokens, "N", "of a chat answer that names none (default: 1024)"},
      {"template", 0, OPTION_STRING, &w.template_name, "NAME", "chat template (default: recognised from the model)"},
      {"kernel", 0, OPTION_STRING, &w.kernel, "NAME", "see `sluice doctor` (default: the best of this CPU)"},
      {"device", 'd', OPTION_STRING, &w.device, "NAME", "cpu or cuda, an NVIDIA GPU (default: cpu)"},
      {"weights", 0, OPTION_STRING, &w.weights, "FORM", "on a GPU: int8 (default: as the files have them)"},
      {"monitor", 0, OPTION_STRING, &w.monitor, "FILE", "monitor policy, or \"default\" (default: none)"},
      {"audit", 0, OPTION_STRING, &w.audit, "FILE", "a row for each event of the monitor: FILE.db, FILE.jsonl or -"},
      {"audit-text", 0, OPTION_FLAG, &w.audit_text, NULL, "keep the matched text in the audit"},
      {"cors", 0, OPTION_LIST, &w.cors, "ORIGIN",
       "whose pages may read answers in a browser, \"*\" for any; may be repeated (default: none's)"},
      {"max-body", 0, OPTION_INT, &w.max_body_mb, "MIB", "of a request (default: 32)"},
      {"drain-timeout", 0, OPTION_INT, &w.drain_s, "S", "seconds for answers under way after SIGTERM (default: 30)"},
      {"quiet", 'q', OPTION_FLAG, &w.quiet, NULL, "no line for each request"},
      {"log-json", 0, OPTION_FLAG, &w.json, NULL, "messages as JSON lines"}};
  struct string_list words = {0};
  struct sluice_error err = {0}, later = {0};
  struct serve s = {0};
  bool helped = false;
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped) {
    log_set(LOG_INFO, w.json);
    st = check_words(&w, &words, &err);
    if (!st) st = serve(&w, &s, &err);
    close_serve(&s);
    sluice_status audited = monitor_audit_close(s.audit, &s.seen, s.counts.stopped > 0, &later);
    if (!st && audited) st = audited, err = later;
  }
  free(words.items);
  free(w.listen.items);
  free(w.cors.items);
  if (st) log_line(LOG_ERROR, "serve: %s", err.message);
  return st ? sluice_exit_code(st) : s.cut ? 143 : 0;
}
