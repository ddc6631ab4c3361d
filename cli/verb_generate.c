/* sluice generate: one answer, or a chat at a terminal, from local weights or an API, under the same monitor as
 * `filter`. What reaches stdout has passed the monitor; what it holds back is never written. */
#include "cli/verbs.h"
#include "engine/engine.h"
#include "monitor/monitor.h"

#include <errno.h>
#include <signal.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define EXIT_STOPPED 10 /* the monitor stopped the answer, as in `sluice filter` */
#define PROMPT_LIMIT ((size_t)16 << 20)

static const struct verb_help help = {
    .verb = "generate",
    .summary = "answer a prompt or chat, under a cache policy and a monitor",
    .usage = "sluice generate [--model DIR | --api URL] [options] [--prompt TEXT | < prompt]",
    .examples =
        "  sluice generate                                  # chat with the embedded model\n"
        "  sluice generate --model ~/models/Llama-3.2-1B-Instruct --prompt 'Name three rivers.'\n"
        "  sluice generate --interactive --model qwen2.5-0.5b-instruct-q8_0.gguf\n"
        "  sluice generate --prompt 'I want you to buy apples.' --policy streaming:sinks=4,recent=252 --stats\n"
        "  sluice generate --monitor fixtures/policies/default.json --prompt 'Write to me.'; echo $?\n"
        "  sluice generate --api http://127.0.0.1:8000/v1 --api-model NAME --api-key-env MY_KEY < question.txt\n",
    .notes =
        "Text goes to stdout; reasoning and tool-call arguments of an API, notices and figures to stderr. With --json, "
        "stdout holds JSON\n"
        "lines: {\"type\":\"text\",...} for what was released and one {\"type\":\"end\",...} a turn; with --logprobs, "
        "{\"type\":\"token\",...} a token.\n"
        "In a chat, Ctrl-C stops the answer, /reset begins anew, /quit or Ctrl-C twice leaves.\n"
        "Exit codes: 0 answered; 10 the monitor stopped the answer; 1 internal; 2 usage; 4 the API failed; "
        "130/143 interrupted.\n"};

struct generate_words {
  const char *model, *api, *api_model, *api_key_env, *policy, *monitor, *audit, *prompt, *system, *kernel, *device,
      *weights, *template_name;
  int64_t max_tokens, top_k, seed, threads;
  double temperature, top_p, min_p, repetition_penalty;
  struct string_list stop;
  bool json, stats, audit_text, interactive;
  int64_t logprobs; /* alternatives with each token; -1: no token lines */
};

/* A turn of the dialogue as its reader saw it, so that a stopped answer can be taken out of the context. */
struct said {
  enum role role;
  char *text;
  size_t len;
};

struct chat {
  const struct generate_words *words;
  struct engine *engine;
  struct talk *talk;
  struct monitor_policy *policy;
  struct monitor *monitor;
  struct monitor_audit *audit;
  struct monitor_counts counts; /* of all turns */
  struct said *said;
  size_t n_said;
  uint64_t turns;
  bool stopped;  /* any turn, by the monitor */
  bool chatting; /* Ctrl-C stops the answer, not the program */
};

/* ---- what the reader sees ------------------------------------------------------------------------------------- */
struct shown {
  const struct chat *chat;
  struct monitor_tap *tap;
  struct buffer text;   /* content that was released */
  struct buffer carry;  /* the bytes of an unfinished character, for JSON */
  sluice_status status; /* of writing, or of the monitor */
  struct sluice_error err;
};

static sluice_status write_out(struct slice text, struct sluice_error *err) {
  sluice_status st = fd_write_all(STDOUT_FILENO, text.ptr, text.len, err);
  return st == SLUICE_OK ? st : sluice_fail_in(err, "stdout");
}

/* One JSON line for whole characters; the rest waits in carry. */
static sluice_status show_json(struct shown *s, enum channel channel, struct slice text, bool last,
                               struct sluice_error *err) {
  static const char *const names[] = {"content", "reasoning", "tool", "refusal"};
  struct buffer line;
  size_t bad;
  buffer_init(&line, 8 * PROMPT_LIMIT);
  sluice_status st = buffer_append(&s->carry, text.ptr, text.len, err);
  size_t whole = s->carry.len;
  if (st == SLUICE_OK && s->carry.len > 0 && !last) {
    size_t valid = utf8_valid_prefix(s->carry.ptr, s->carry.len, &bad);
    if (bad == s->carry.len) whole = valid; /* nothing is wrong: only the last character may be unfinished */
  }
  if (st == SLUICE_OK && whole > 0) {
    st = buffer_printf(&line, err, "{\"type\":\"text\",\"channel\":\"%s\",\"text\":", names[channel]);
    if (st == SLUICE_OK) st = json_quote(&line, s->carry.ptr, whole, err);
    if (st == SLUICE_OK) st = buffer_append_str(&line, "}\n", err);
    if (st == SLUICE_OK) st = write_out((struct slice){line.ptr, line.len}, err);
    buffer_consume(&s->carry, whole);
  }
  buffer_free(&line);
  return st;
}

static sluice_status show(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  struct shown *s = ctx;
  sluice_status st = SLUICE_OK;
  if (choice != 0 || text.len == 0) return SLUICE_OK;
  bool answer = channel == (int)CHANNEL_CONTENT || channel == (int)CHANNEL_REFUSAL;
  if (answer) st = buffer_append(&s->text, text.ptr, text.len, err);
  if (st != SLUICE_OK) return st;
  if (s->chat->words->json) return show_json(s, (enum channel)channel, text, false, err);
  return answer ? write_out(text, err) : fd_write_all(STDERR_FILENO, text.ptr, text.len, err);
}

static sluice_status quote_chance(struct buffer *line, int32_t id, struct slice bytes, double logprob,
                                  struct sluice_error *err) {
  sluice_status st = id >= 0 ? buffer_printf(line, err, "\"id\":%d,", (int)id) : SLUICE_OK; /* an API tells none */
  if (st == SLUICE_OK) st = buffer_append_str(line, "\"text\":", err);
  if (st == SLUICE_OK) st = json_quote(line, bytes.ptr, bytes.len, err);
  return st == SLUICE_OK ? buffer_printf(line, err, ",\"logprob\":%.6f", logprob) : st;
}

/* One JSON line a token, with the token's own bytes; where they split a character, U+FFFD stands for them. */
static sluice_status show_token(const struct chat *c, const struct piece *p, struct sluice_error *err) {
  const struct slice own =
      p->token >= 0 ? tokenizer_bytes(model_tokenizer(engine_model(c->engine)), p->token) : p->bytes;
  struct buffer line;
  buffer_init(&line, 1 << 20);
  sluice_status st = buffer_append_str(&line, "{\"type\":\"token\",", err);
  if (st == SLUICE_OK) st = quote_chance(&line, p->token, own, (double)p->logprob, err);
  if (st == SLUICE_OK) st = buffer_printf(&line, err, ",\"surprisal\":%.6f,\"top\":[", (double)p->surprisal);
  for (int i = 0; i < p->n_top && st == SLUICE_OK; i++) {
    st = buffer_append_str(&line, i > 0 ? ",{" : "{", err);
    if (st == SLUICE_OK) st = quote_chance(&line, p->top[i].token, p->top[i].bytes, (double)p->top[i].logprob, err);
    if (st == SLUICE_OK) st = buffer_append_str(&line, "}", err);
  }
  if (st == SLUICE_OK) st = buffer_append_str(&line, "]}\n", err);
  if (st == SLUICE_OK) st = write_out((struct slice){line.ptr, line.len}, err);
  buffer_free(&line);
  return st;
}

/* The tap: every token passes the monitor before anybody sees it. A monitor that fails stops the answer. */
static bool on_piece(void *ctx, const struct piece *p) {
  struct shown *s = ctx;
  bool stop = false;
  if (s->chat->words->logprobs >= 0 && !isnan(p->logprob) && show_token(s->chat, p, &s->err) != SLUICE_OK) {
    s->status = s->err.code;
    return false;
  }
  s->status = s->tap != NULL ? monitor_tap_push(s->tap, p->choice, (int)p->channel, p->bytes, &stop, &s->err)
                             : show(s, p->choice, (int)p->channel, p->bytes, &s->err);
  return s->status == SLUICE_OK && !stop && signal_interrupted() == 0;
}

/* ---- the dialogue --------------------------------------------------------------------------------------------- */
static sluice_status remember(struct chat *c, enum role role, struct slice text, struct sluice_error *err) {
  struct said *grown = realloc(c->said, (c->n_said + 1) * sizeof *grown);
  if (grown != NULL) c->said = grown;
  char *copy = grown != NULL ? malloc(text.len + 1) : NULL;
  if (copy == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for the dialogue");
  if (text.len > 0) memcpy(copy, text.ptr, text.len);
  copy[text.len] = '\0';
  c->said[c->n_said++] = (struct said){role, copy, text.len};
  return SLUICE_OK;
}

static void forget(struct chat *c) {
  for (size_t i = 0; i < c->n_said; i++) free(c->said[i].text);
  free(c->said);
  c->said = NULL;
  c->n_said = 0;
}

/* A new talk with what was said so far: after a stop (what was not shown must not steer the next answer) and at the
 * start. */
static sluice_status begin_talk(struct chat *c, struct sluice_error *err) {
  talk_close(c->talk);
  c->talk = NULL;
  sluice_status st = talk_open(c->engine, c->words->policy, (uint64_t)c->words->seed, &c->talk, err);
  for (size_t i = 0; i < c->n_said && st == SLUICE_OK; i++) {
    st = talk_feed(c->talk, c->said[i].role, (struct slice){c->said[i].text, c->said[i].len}, err);
  }
  return st;
}

static sluice_status begin_dialogue(struct chat *c, struct sluice_error *err) {
  forget(c);
  sluice_status st = SLUICE_OK;
  if (c->words->system != NULL) st = remember(c, ROLE_SYSTEM, slice_of(c->words->system), err);
  return st == SLUICE_OK ? begin_talk(c, err) : st;
}

static const char *outcome_word(enum outcome o) {
  static const char *const words[] = {"done", "truncated", "refused", "stopped", "error"};
  return words[o];
}

struct answer {
  enum outcome outcome;
  struct talk_timing timing;
  int64_t asked_ns;
  const char *rule, *category; /* of a stop */
  struct monitor_counts counts;
};

static double seconds(int64_t from, int64_t to) {
  return to > from ? (double)(to - from) / 1e9 : 0;
}

static sluice_status print_end(struct chat *c, const struct answer *a, struct sluice_error *err) {
  struct buffer line;
  double took = seconds(a->timing.started_ns, a->timing.ended_ns);
  buffer_init(&line, 1 << 20);
  sluice_status st =
      buffer_printf(&line, err,
                    "{\"type\":\"end\",\"outcome\":\"%s\",\"output_tokens\":%d,\"prompt_tokens\":%d,\"attempts\":%d,"
                    "\"first_token_ms\":%.3f,\"seconds\":%.6f,\"kv_bytes\":%zu,\"peak_kv_bytes\":%zu",
                    outcome_word(a->outcome), a->timing.output_tokens, a->timing.prompt_tokens, a->timing.attempts,
                    a->timing.first_token_ns > 0 ? 1e3 * seconds(a->asked_ns, a->timing.first_token_ns) : -1.0, took,
                    talk_kv_bytes(c->talk), talk_peak_kv_bytes(c->talk));
  if (st == SLUICE_OK && c->monitor != NULL) {
    st = buffer_printf(
        &line, err, ",\"monitor\":{\"scanned_bytes\":%llu,\"masks\":%llu,\"flags\":%llu,\"not_scanned\":%llu,\"rule\":",
        (unsigned long long)a->counts.bytes, (unsigned long long)a->counts.masks, (unsigned long long)a->counts.flags,
        (unsigned long long)a->counts.not_scanned);
    if (st == SLUICE_OK && a->rule != NULL) st = json_quote(&line, a->rule, strlen(a->rule), err);
    if (st == SLUICE_OK && a->rule == NULL) st = buffer_append_str(&line, "null", err);
    if (st == SLUICE_OK) st = buffer_append_str(&line, "}", err);
  }
  if (st == SLUICE_OK) st = buffer_append_str(&line, "}\n", err);
  if (st == SLUICE_OK) st = write_out((struct slice){line.ptr, line.len}, err);
  buffer_free(&line);
  return st;
}

static void print_stats(const struct chat *c, const struct answer *a) {
  double took = seconds(a->timing.started_ns, a->timing.ended_ns);
  fprintf(stderr, "%s", a->outcome == OUTCOME_DONE ? "" : outcome_word(a->outcome));
  fprintf(stderr, "%s", a->outcome == OUTCOME_DONE ? "" : "; ");
  if (a->timing.output_tokens >= 0) {
    fprintf(stderr, "%d tokens, %.1f tok/s, ", a->timing.output_tokens,
            took > 0 ? a->timing.output_tokens / took : 0.0);
  }
  if (a->timing.first_token_ns > 0)
    fprintf(stderr, "first after %.1f ms, ", 1e3 * seconds(a->asked_ns, a->timing.first_token_ns));
  if (engine_is_local(c->engine)) {
    fprintf(stderr, "KV %zu bytes (peak %zu) for %llu tokens", talk_kv_bytes(c->talk), talk_peak_kv_bytes(c->talk),
            (unsigned long long)talk_tokens(c->talk));
  } else {
    fprintf(stderr, "%d request%s", a->timing.attempts, a->timing.attempts == 1 ? "" : "s");
  }
  if (c->monitor != NULL) {
    fprintf(stderr, "; monitor: %llu bytes scanned, at most %llu held, %llu masked",
            (unsigned long long)a->counts.bytes, (unsigned long long)a->counts.held_max,
            (unsigned long long)a->counts.masks);
  }
  fputc('\n', stderr);
}

static void print_notices(const struct chat *c, const struct answer *a) {
  if (a->rule != NULL) {
    fprintf(stderr, "sluice: stopped by rule %s (%s)\n", a->rule, a->category != NULL ? a->category : "no category");
  }
  if (a->outcome == OUTCOME_REFUSED) fprintf(stderr, "sluice: the model or its server refused\n");
  if (a->counts.not_scanned > 0) {
    fprintf(stderr, "sluice: %llu places could not be scanned; nothing is known of them\n",
            (unsigned long long)a->counts.not_scanned);
  }
  if (c->words->stats || isatty(STDERR_FILENO)) print_stats(c, a);
}

/* Settles the monitor and learns what it did with the answer. */
static sluice_status end_monitor(struct chat *c, struct shown *s, struct answer *a, struct sluice_error *err) {
  bool stopped = false;
  sluice_status st = monitor_tap_end(s->tap, &stopped, err);
  if (monitor_tap_stopped(s->tap, &a->rule, &a->category)) {
    a->outcome = OUTCOME_STOPPED;
    c->stopped = true;
  }
  monitor_tap_counts(s->tap, &a->counts);
  monitor_counts_add(&c->counts, &a->counts);
  return st;
}

/* Asks for one answer and shows what may be shown. */
static sluice_status generate_shown(struct chat *c, struct shown *s, struct answer *a, struct sluice_error *err) {
  const struct generate_words *w = c->words;
  struct slice stops[STOPS_MAX];
  for (size_t i = 0; i < w->stop.n && i < STOPS_MAX; i++) stops[i] = slice_of(w->stop.items[i]);
  struct generate_options o = {.max_tokens = (int)w->max_tokens,
                               .temperature = (float)w->temperature,
                               .top_k = (int)w->top_k,
                               .top_p = (float)w->top_p,
                               .min_p = (float)w->min_p,
                               .repetition_penalty = (float)w->repetition_penalty,
                               .stop = stops,
                               .n_stop = w->stop.n,
                               .top_logprobs = w->logprobs > 0 ? (int)w->logprobs : 0,
                               .seed = (uint64_t)w->seed + c->turns++};
  char *raw = NULL;
  size_t raw_len = 0;
  sluice_status st =
      talk_generate(c->talk, (struct slice){0}, &o, on_piece, s, NULL, &raw, &raw_len, &a->outcome, &a->timing, err);
  free(raw);
  if (st == SLUICE_OK && s->status != SLUICE_OK) {
    *err = s->err;
    st = s->status;
  }
  if (st == SLUICE_OK && s->tap != NULL) st = end_monitor(c, s, a, err);
  if (st == SLUICE_OK && w->json) st = show_json(s, CHANNEL_CONTENT, (struct slice){"", 0}, true, err);
  if (st == SLUICE_OK && !w->json) st = write_out((struct slice){"\n", 1}, err);
  return st;
}

/* An interrupt ends the program, but in a chat, where Ctrl-C has only stopped the answer. */
static sluice_status after_interrupt(const struct chat *c, struct answer *a, sluice_status st,
                                     struct sluice_error *err) {
  const int signal_number = signal_interrupted();
  if (signal_number == 0) return st;
  if (!c->chatting || signal_number != SIGINT || (st != SLUICE_OK && st != SLUICE_INTERRUPTED))
    return st != SLUICE_OK ? st : sluice_fail(err, SLUICE_INTERRUPTED, "interrupted");
  signal_forget_interrupt();
  a->outcome = OUTCOME_STOPPED;
  return SLUICE_OK;
}

static sluice_status answer(struct chat *c, struct slice prompt, struct sluice_error *err) {
  struct answer a = {.asked_ns = clock_mono_ns()};
  struct shown s = {.chat = c};
  buffer_init(&s.text, PROMPT_LIMIT);
  buffer_init(&s.carry, PROMPT_LIMIT);
  sluice_status st = remember(c, ROLE_USER, prompt, err);
  if (st == SLUICE_OK) st = talk_feed(c->talk, ROLE_USER, prompt, err);
  if (st == SLUICE_OK && c->monitor != NULL) st = monitor_tap_open(c->monitor, show, &s, &s.tap, err);
  if (st == SLUICE_OK) st = after_interrupt(c, &a, generate_shown(c, &s, &a, err), err);
  if (st == SLUICE_OK) st = remember(c, ROLE_BOT, (struct slice){s.text.ptr, s.text.len}, err);
  if (st == SLUICE_OK && c->words->json) st = print_end(c, &a, err);
  if (st == SLUICE_OK) print_notices(c, &a);
  if (st == SLUICE_OK && a.outcome == OUTCOME_STOPPED) st = begin_talk(c, err);
  if (s.tap != NULL) monitor_tap_close(s.tap);
  buffer_free(&s.text);
  buffer_free(&s.carry);
  return st;
}

/* Reads the next line; false at the end of input. Ctrl-C at the prompt asks once. */
static bool ask(char **line, size_t *cap, ssize_t *n) {
  bool warned = false;
  for (;;) {
    fputs(term_colour(stderr) ? "\033[1m> \033[0m" : "> ", stderr);
    errno = 0;
    *n = getline(line, cap, stdin);
    if (*n > 0 || errno != EINTR || signal_interrupted() != SIGINT || warned) return *n > 0;
    clearerr(stdin);
    signal_forget_interrupt();
    fputs("\n(Ctrl-C again, or /quit, leaves)\n", stderr);
    warned = true;
  }
}

static sluice_status converse(struct chat *c, struct sluice_error *err) {
  char *line = NULL;
  size_t cap = 0;
  ssize_t n = 0;
  sluice_status st = SLUICE_OK;
  c->chatting = true;
  while (st == SLUICE_OK && ask(&line, &cap, &n)) {
    if (line[n - 1] == '\n') line[--n] = '\0';
    if (strcmp(line, "/quit") == 0) break;
    if (strcmp(line, "/reset") == 0)
      st = begin_dialogue(c, err);
    else if (n > 0)
      st = answer(c, (struct slice){line, (size_t)n}, err);
  }
  free(line);
  if (st == SLUICE_OK && signal_interrupted() != 0) st = sluice_fail(err, SLUICE_INTERRUPTED, "interrupted");
  return st;
}

/* ---- opening -------------------------------------------------------------------------------------------------- */
static void no_event(void *ctx, const struct monitor_event *event) {
  (void)ctx, (void)event;
}

static sluice_status open_monitor(struct chat *c, struct sluice_error *err) {
  const struct generate_words *w = c->words;
  if (w->monitor == NULL) {
    if (w->audit != NULL) return sluice_fail(err, SLUICE_USAGE, "--audit needs --monitor POLICY.json");
    return SLUICE_OK;
  }
  char *found = NULL;
  sluice_status st = strcmp(w->monitor, "default") == 0 ? monitor_policy_default_path(&found, err) : SLUICE_OK;
  if (st == SLUICE_OK) st = monitor_policy_load(found != NULL ? found : w->monitor, &c->policy, err);
  free(found);
  if (st == SLUICE_OK && w->audit != NULL) {
    struct monitor_audit_options o = {.path = w->audit,
                                      .text = w->audit_text,
                                      .policy = monitor_policy_name(c->policy),
                                      .policy_hash = monitor_policy_hash(c->policy),
                                      .source = w->api != NULL ? w->api : "generate"};
    st = monitor_audit_open(&o, &c->audit, err);
  }
  if (st != SLUICE_OK) return st;
  return monitor_open(c->policy, c->audit != NULL ? monitor_audit_event : no_event, c->audit, &c->monitor, err);
}

static sluice_status open_engine(struct chat *c, struct sluice_error *err) {
  const struct generate_words *w = c->words;
  if (w->api != NULL && (w->model != NULL || w->kernel != NULL || w->template_name != NULL || w->threads != 0 ||
                         w->device != NULL || w->weights != NULL)) {
    return sluice_fail(err, SLUICE_USAGE,
                       "--api goes without --model, --device, --weights, --kernel, --template and --threads");
  }
  if (w->api != NULL) {
    struct engine_remote_options o = {.url = w->api, .model = w->api_model, .key_env = w->api_key_env, .retries = -1};
    return engine_open_remote(&o, &c->engine, err);
  }
  struct engine_local_options o = {.model_dir = w->model,
                                   .kernel = w->kernel,
                                   .device = w->device,
                                   .weights = w->weights,
                                   .template_name = w->template_name,
                                   .threads = w->threads > 0 ? (int)w->threads : threads_available()};
  return engine_open_local(&o, &c->engine, err);
}

static sluice_status check_words(const struct generate_words *w, const struct string_list *positional,
                                 struct sluice_error *err) {
  if (positional->n > 0) {
    return sluice_fail(err, SLUICE_USAGE, "\"%.60s\" is no option; give the text with --prompt", positional->items[0]);
  }
  if (w->max_tokens < 1 || w->max_tokens > 1 << 20 || w->top_k < 0 || w->top_k > 1 << 20 || w->threads < 0 ||
      w->threads > 1024) {
    return sluice_fail(err, SLUICE_USAGE, "--max-tokens is 1 to 1048576, --top-k and --threads are not negative");
  }
  if (w->logprobs < -1 || w->logprobs > TOP_LOGPROBS_MAX) {
    return sluice_fail(err, SLUICE_USAGE, "--logprobs is 0 to %d", TOP_LOGPROBS_MAX);
  }
  if (w->logprobs >= 0 && (!w->json || w->monitor != NULL)) {
    return sluice_fail(err, SLUICE_USAGE,
                       "--logprobs goes with --json, and without --monitor, which would have to hold tokens back");
  }
  if (w->logprobs == 0 && w->api != NULL) return sluice_fail(err, SLUICE_USAGE, "--logprobs is at least 1 with --api");
  return SLUICE_OK;
}

static sluice_status talk_it_over(struct chat *c, struct sluice_error *err) {
  const struct generate_words *w = c->words;
  sluice_status st = open_monitor(c, err);
  if (st == SLUICE_OK) st = open_engine(c, err);
  if (st == SLUICE_OK) st = begin_dialogue(c, err);
  if (st != SLUICE_OK) return st;
  c->chatting = w->interactive;
  if (w->prompt != NULL) st = answer(c, slice_of(w->prompt), err);
  if (st != SLUICE_OK || (w->prompt != NULL && !w->interactive)) return st;
  if (w->interactive || isatty(STDIN_FILENO)) return converse(c, err);
  char *text = NULL;
  size_t len = 0;
  st = file_read("-", PROMPT_LIMIT, &text, &len, err);
  if (st == SLUICE_OK && len > 0 && text[len - 1] == '\n') len--; /* the line's end is not part of the question */
  if (st == SLUICE_OK && len == 0)
    st = sluice_fail(err, SLUICE_USAGE, "no prompt: stdin is empty (or use --prompt TEXT)");
  if (st == SLUICE_OK) st = answer(c, (struct slice){text, len}, err);
  free(text);
  return st;
}

static sluice_status close_chat(struct chat *c, sluice_status st, struct sluice_error *err) {
  struct sluice_error late;
  talk_close(c->talk);
  engine_close(c->engine);
  if (c->monitor != NULL) monitor_close(c->monitor);
  sluice_status closed = c->audit != NULL ? monitor_audit_close(c->audit, &c->counts, c->stopped, &late) : SLUICE_OK;
  if (c->policy != NULL) monitor_policy_free(c->policy);
  forget(c);
  if (st == SLUICE_OK && closed != SLUICE_OK) *err = late;
  return st != SLUICE_OK ? st : closed;
}

int verb_generate(int argc, char **argv) {
  struct generate_words w = {.max_tokens = 256, .logprobs = -1};
  const struct option_spec options[] = {
      {"prompt", 'p', OPTION_STRING, &w.prompt, "TEXT", "the question; else stdin, which at a terminal is a chat"},
      {"interactive", 'i', OPTION_FLAG, &w.interactive, NULL, "chat, also behind --prompt and without a terminal"},
      {"system", 0, OPTION_STRING, &w.system, "TEXT", "a system turn before the first question"},
      {"model", 'm', OPTION_STRING, &w.model, "PATH",
       "a Hugging Face folder or a GGUF file (default: the embedded model)"},
      {"policy", 0, OPTION_STRING, &w.policy, "SPEC",
       "cache policy, such as streaming:sinks=4,recent=252 (default: full)"},
      {"template", 0, OPTION_STRING, &w.template_name, "NAME", "chat template (default: recognised from the model)"},
      {"device", 'd', OPTION_STRING, &w.device, "NAME", "cpu or cuda, an NVIDIA GPU (default: cpu)"},
      {"weights", 0, OPTION_STRING, &w.weights, "FORM", "on a GPU: int8 (default: as the files have them)"},
      {"kernel", 0, OPTION_STRING, &w.kernel, "NAME",
       "avx512vnni, avx512, avx2 or portable (default: the best of this CPU)"},
      {"threads", 't', OPTION_INT, &w.threads, "N", "threads (default: processors)"},
      {"api", 0, OPTION_STRING, &w.api, "URL", "an OpenAI-compatible server instead of local weights"},
      {"api-model", 0, OPTION_STRING, &w.api_model, "NAME", "the server's name of the model"},
      {"api-key-env", 0, OPTION_STRING, &w.api_key_env, "VARIABLE", "environment variable that holds the key"},
      {"monitor", 0, OPTION_STRING, &w.monitor, "FILE", "monitor policy, or \"default\""},
      {"audit", 0, OPTION_STRING, &w.audit, "FILE", "a row an event: FILE.db, FILE.jsonl or - (stderr)"},
      {"audit-text", 0, OPTION_FLAG, &w.audit_text, NULL, "keep the matched text in the audit, not only its hash"},
      {"max-tokens", 'n', OPTION_INT, &w.max_tokens, "N", "tokens an answer at most (default: 256)"},
      {"temperature", 0, OPTION_DOUBLE, &w.temperature, "T", "0 is greedy (default: 0)"},
      {"top-k", 0, OPTION_INT, &w.top_k, "K", "sample from the K likeliest (default: all)"},
      {"top-p", 0, OPTION_DOUBLE, &w.top_p, "P", "sample from the likeliest that reach P (default: all)"},
      {"min-p", 0, OPTION_DOUBLE, &w.min_p, "P",
       "keep tokens at least P times as likely as the likeliest (default: off)"},
      {"repetition-penalty", 0, OPTION_DOUBLE, &w.repetition_penalty, "R",
       "make tokens that were said less likely, 1.1 say (default: off)"},
      {"stop", 0, OPTION_LIST, &w.stop, "TEXT", "end the answer before this text; may be repeated"},
      {"seed", 0, OPTION_INT, &w.seed, "S", "of sampling, and of the policy `random` (default: 0)"},
      {"stats", 0, OPTION_FLAG, &w.stats, NULL, "speed and KV bytes on stderr, also without a terminal"},
      {"json", 0, OPTION_FLAG, &w.json, NULL, "JSON lines on stdout"},
      {"logprobs", 0, OPTION_INT, &w.logprobs, "N", "with --json, a line a token, with the N likeliest in its place"}};
  struct string_list positional = {0};
  struct sluice_error err = {0};
  struct chat chat = {.words = &w};
  bool helped = false;
  sluice_status st =
      options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &positional, &helped, &err);
  if (st == SLUICE_OK && !helped) {
    signal_catch_interrupts();
    st = check_words(&w, &positional, &err);
    if (st == SLUICE_OK)
      st = close_chat(&chat, talk_it_over(&chat, &err), &err);
    else
      close_chat(&chat, st, &err);
  }
  free(positional.items);
  free(w.stop.items);
  if (st == SLUICE_OK) return chat.stopped ? EXIT_STOPPED : 0;
  fprintf(stderr, "sluice: %s\n", err.message);
  return st == SLUICE_INTERRUPTED && signal_interrupted() != 0 ? 128 + signal_interrupted() : sluice_exit_code(st);
}
