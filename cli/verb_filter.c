/* sluice filter: a stream on stdin, the judged stream on stdout. */
#include "cli/gate.h"
#include "cli/show.h"
#include "cli/verbs.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 64 << 10, SNIFF_MAX = 1 << 20, EXIT_STOPPED = 10, EXIT_PIPE = 141 };
enum input { INPUT_AUTO, INPUT_TEXT, INPUT_JSONL, INPUT_SSE, INPUT_JSON };

struct filter_run {
  const char *policy_path, *format_word, *audit_path, *mask, *text_key, *mode, *route;
  bool mask_each, show, audit_text, each_line, pass_unknown, quiet;
  enum input input;
  struct monitor_guard *guard;
  struct monitor_watch *watch;
  struct monitor_audit *audit;
  struct gate gate;
  struct wire_filter *wire;
  struct monitor_tap *tap;
  bool tap_stopped;
  struct show shown;
  struct buffer out, head; /* head: bytes that wait for the format to be known */
  bool reader_gone;
};

/* ---- which format ---- */

static bool begins(struct slice s, const char *word) {
  size_t n = strlen(word);
  return s.len >= n && memcmp(s.ptr, word, n) == 0;
}

/* INPUT_AUTO: more bytes are needed. */
static enum input sniff(struct slice s, bool end) {
  static const char *const fields[] = {"data:", "event:", "id:", "retry:", ":"};
  struct sluice_error ignored = {0};
  struct json_span root;
  bool bom = s.len >= 3 && memcmp(s.ptr, "\xEF\xBB\xBF", 3) == 0;
  if (bom) s.ptr += 3, s.len -= 3;
  size_t blank = 0;
  while (blank < s.len && (s.ptr[blank] == '\n' || s.ptr[blank] == '\r')) blank++;
  s.ptr += blank, s.len -= blank;
  for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
    if (begins(s, fields[i])) return INPUT_SSE;
    if (!end && s.len < strlen(fields[i]) && memcmp(s.ptr, fields[i], s.len) == 0) return INPUT_AUTO;
  }
  if (s.len == 0 || s.ptr[0] != '{') return s.len || end ? INPUT_TEXT : INPUT_AUTO;
  const char *nl = memchr(s.ptr, '\n', s.len);
  if (!nl && !end && s.len < SNIFF_MAX) return INPUT_AUTO;
  struct slice line = {s.ptr, nl ? (size_t)(nl - s.ptr) : s.len};
  if (!json_span_root(line, &root, &ignored)) return INPUT_JSONL;
  if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
  return slice_is(line, "{") ? INPUT_JSON : INPUT_TEXT;
}

/* ---- output ---- */

static sluice_status sink_frame(void *ctx, struct slice bytes, struct sluice_error *err) {
  struct filter_run *r = ctx;
  return buffer_append(&r->out, bytes.ptr, bytes.len, err);
}

static sluice_status sink_text(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return sink_frame(ctx, text, err);
}

static sluice_status flush_out(struct filter_run *r, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  struct slice bytes = {r->out.ptr, r->out.len};
  if (!bytes.len) return SLUICE_OK;
  errno = 0;
  if (!r->show)
    st = fd_write_all(STDOUT_FILENO, bytes.ptr, bytes.len, err);
  else if (r->tap)
    st = show_text(&r->shown, bytes, err);
  else
    st = show_frames(&r->shown, bytes, err);
  r->reader_gone = st && errno == EPIPE;
  buffer_clear(&r->out);
  return st;
}

/* ---- input ---- */

static sluice_status begin(struct filter_run *r, struct sluice_error *err) {
  static const enum wire_format formats[] = {WIRE_SSE, WIRE_SSE, WIRE_JSONL, WIRE_SSE, WIRE_JSON};
  struct wire_filter_options o = {
      .format = formats[r->input], .text_key = r->text_key, .each_line = r->each_line, .pass_unknown = r->pass_unknown};
  struct wire_gate gate = gate_for_wire(&r->gate);
  show_open(&r->shown, o.format, r->text_key);
  if (r->input == INPUT_TEXT) return monitor_tap_watch(r->watch, r->gate.route, sink_text, r, &r->tap, err);
  return wire_filter_open(&o, &gate, sink_frame, r, &r->wire, err);
}

static sluice_status feed(struct filter_run *r, struct slice bytes, struct sluice_error *err) {
  if (r->tap) return monitor_tap_push(r->tap, 0, MONITOR_CONTENT, bytes, &r->tap_stopped, err);
  return wire_filter_push(r->wire, bytes, err);
}

static sluice_status take(struct filter_run *r, struct slice bytes, bool end, struct sluice_error *err) {
  if (r->tap || r->wire) return feed(r, bytes, err);
  sluice_status st = buffer_append(&r->head, bytes.ptr, bytes.len, err);
  if (st) return st;
  struct slice head = {r->head.ptr ? r->head.ptr : "", r->head.len};
  if (r->input == INPUT_AUTO) r->input = sniff(head, end);
  if (r->input == INPUT_AUTO) return SLUICE_OK;
  st = begin(r, err);
  return st ? st : feed(r, head, err);
}

static bool ended(const struct filter_run *r) {
  return r->tap ? r->tap_stopped : r->wire && wire_filter_ended(r->wire);
}

static sluice_status finish(struct filter_run *r, struct sluice_error *err) {
  sluice_status st = take(r, (struct slice){"", 0}, true, err);
  if (st) return st;
  return r->tap ? monitor_tap_end(r->tap, &r->tap_stopped, err) : wire_filter_end(r->wire, err);
}

static sluice_status pump(struct filter_run *r, struct sluice_error *err) {
  char *bytes = malloc(READ_BYTES);
  sluice_status st = bytes ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory to read stdin");
  while (!st && !ended(r)) {
    ssize_t n = read(STDIN_FILENO, bytes, READ_BYTES);
    if (signal_interrupted())
      st = sluice_fail(err, SLUICE_INTERRUPTED, "interrupted");
    else if (n < 0 && errno == EINTR)
      continue;
    else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
      poll(&(struct pollfd){.fd = STDIN_FILENO, .events = POLLIN}, 1, -1);
    else if (n < 0)
      st = sluice_fail(err, SLUICE_IO, "stdin: %s", strerror(errno));
    else if (n == 0)
      break;
    else
      st = take(r, (struct slice){bytes, (size_t)n}, false, err);
    /* what was decided before an error leaves all the same */
    struct sluice_error later = {0};
    sluice_status out = st == SLUICE_INTERRUPTED ? SLUICE_OK : flush_out(r, &later);
    if (!st && out) st = out, *err = later;
  }
  free(bytes);
  if (st || ended(r)) return st;
  struct sluice_error later = {0};
  st = finish(r, err);
  sluice_status out = flush_out(r, &later);
  if (!st && out) st = out, *err = later;
  return st;
}

/* ---- the verb ---- */

static sluice_status read_format(struct filter_run *r, struct sluice_error *err) {
  static const char *const words[] = {"auto", "text", "jsonl", "sse", "json", NULL};
  for (int i = 0; words[i]; i++)
    if (strcmp(words[i], r->format_word) == 0) {
      r->input = (enum input)i;
      return SLUICE_OK;
    }
  const char *near = suggest(r->format_word, words);
  return sluice_fail(err, SLUICE_USAGE, "--format %s: none of auto, text, jsonl, sse, json%s%s%s", r->format_word,
                     near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static sluice_status load(struct filter_run *r, struct sluice_error *err) {
  char *path = r->policy_path ? sluice_strdup(r->policy_path) : NULL;
  size_t route = 0;
  sluice_status st = read_format(r, err);
  if (!st && !r->policy_path)
    st = monitor_policy_default_path(&path, err);
  else if (!st && !path)
    st = sluice_fail(err, SLUICE_NOMEM, "no memory for the policy's path");
  if (!st) st = monitor_guard_load_as(path, r->mode, &r->guard, err);
  free(path);
  if (!st && (r->mask || r->mask_each))
    st = monitor_guard_set_mask(r->guard, r->mask ? r->mask : "*", r->mask_each, err);
  if (!st) st = monitor_guard_find_route(r->guard, r->route, &route, err);
  const struct monitor_policy *policy = st ? NULL : monitor_guard_policy(r->guard);
  for (size_t i = 0; !st && monitor_policy_note(policy, i); i++)
    log_line(LOG_WARN, "%s", monitor_policy_note(policy, i));
  if (!st && r->audit_path) {
    struct monitor_audit_options o = {.path = r->audit_path,
                                      .text = r->audit_text,
                                      .policy = monitor_policy_name(policy),
                                      .policy_hash = monitor_policy_hash(policy),
                                      .source = "stdin"};
    st = monitor_audit_open(&o, &r->audit, err);
  }
  if (!st) st = monitor_watch_open(r->guard, r->audit ? gate_audit : NULL, r->audit, &r->watch, err);
  if (!st) gate_watch(&r->gate, r->watch, route, MONITOR_ANSWER);
  return st;
}

static void tell(const struct filter_run *r, const struct monitor_counts *c, const char *rule, const char *category) {
  if (r->quiet || r->show) return;
  if (rule) log_line(LOG_WARN, "filter: stopped by rule %s (%s)", rule, category);
  if (c->masks || c->flags)
    log_line(LOG_INFO, "filter: %llu masked, %llu flagged", (unsigned long long)c->masks, (unsigned long long)c->flags);
  if (c->not_scanned)
    log_line(LOG_WARN, "filter: %llu places were not scanned (match limit)", (unsigned long long)c->not_scanned);
  if (c->exposed) log_line(LOG_WARN, "filter: %llu protected bytes had left before", (unsigned long long)c->exposed);
}

static int close_run(struct filter_run *r, sluice_status st, struct sluice_error *err) {
  struct monitor_counts counts = {0};
  const char *rule = NULL, *category = NULL;
  if (r->tap) {
    monitor_tap_counts(r->tap, &counts);
    monitor_tap_stopped(r->tap, &rule, &category);
  } else if (r->watch) {
    gate_counts(&r->gate, &counts);
    if (r->gate.rule[0]) rule = r->gate.rule, category = r->gate.category;
  }
  struct sluice_error later = {0};
  if (!st && r->show) st = show_stop(&r->shown, rule, category, err);
  sluice_status audited = monitor_audit_close(r->audit, &counts, rule != NULL, &later);
  if (!st && audited) st = audited, *err = later;
  if (!st) tell(r, &counts, rule, category);
  bool stopped = rule != NULL;
  monitor_tap_close(r->tap);
  wire_filter_close(r->wire);
  if (r->watch) gate_close(&r->gate);
  monitor_watch_close(r->watch);
  monitor_guard_free(r->guard);
  if (r->tap || r->wire) show_close(&r->shown);
  buffer_free(&r->out);
  buffer_free(&r->head);
  if (r->reader_gone) return EXIT_PIPE;
  if (st) log_line(LOG_ERROR, "filter: %s", err->message);
  return st ? sluice_exit_code(st) : stopped ? EXIT_STOPPED : 0;
}

static const struct verb_help help = {
    .verb = "filter",
    .summary = "judge a stream on its way: stop, mask or flag what the policy names",
    .usage = "sluice filter [--policy FILE] [options] < stream > judged",
    .examples =
        "  curl -sN https://api.example.com/v1/chat/completions -d @request.json | sluice filter --policy policy.json\n"
        "  sluice replay fixtures/streams/harmful.sse --pace 12 | sluice filter --show\n"
        "  sluice filter --format text --mask '' --audit audit.db < notes.txt\n"
        "  sluice filter --mode shadow --audit - < stream.sse > /dev/null\n",
    .notes =
        "Formats: text; jsonl (one {\"text\": ...} or frame a line); sse; json (one whole body). Frames of OpenAI "
        "chat\ncompletions, completions and responses and of Anthropic messages are told apart by themselves.\n"
        "Exit codes: 0 clean, masked or flagged; 10 stopped by the policy; 2 usage, or input that cannot be read;\n"
        "1 internal, or a failed write; 130/143 interrupted; 141 the reader of stdout has gone.\n"};

int verb_filter(int argc, char **argv) {
  struct filter_run r = {.format_word = "auto"};
  const struct option_spec options[] = {
      {"policy", 'p', OPTION_STRING, &r.policy_path, "FILE",
       "rules (default: $SLUICE_POLICY, else the shipped policy)"},
      {"mode", 0, OPTION_STRING, &r.mode, "MODE",
       "for all rules: strict, optimistic, shadow, bounded:tokens=N,ms=M (default: the policy's)"},
      {"route", 0, OPTION_STRING, &r.route, "NAME", "the policy's route whose modes count (default: default)"},
      {"format", 'f', OPTION_STRING, &r.format_word, "WORD", "auto, text, jsonl, sse or json (default: auto)"},
      {"audit", 'a', OPTION_STRING, &r.audit_path, "FILE",
       "a row an event: FILE.db SQLite, FILE.jsonl lines, - stderr"},
      {"audit-text", 0, OPTION_FLAG, &r.audit_text, NULL,
       "keep the matched text in the audit (default: its salted hash)"},
      {"mask", 'm', OPTION_STRING, &r.mask, "TEXT", "what stands for masked text (default: the policy's)"},
      {"mask-each", 0, OPTION_FLAG, &r.mask_each, NULL, "once for each masked character"},
      {"text-key", 'k', OPTION_STRING, &r.text_key, "KEY", "jsonl: the key of the text (default: text)"},
      {"each-line", 0, OPTION_FLAG, &r.each_line, NULL, "jsonl: every line is a text of its own"},
      {"pass-unknown", 0, OPTION_FLAG, &r.pass_unknown, NULL,
       "let frames by that no dialect reads (they are not judged)"},
      {"show", 's', OPTION_FLAG, &r.show, NULL, "print the text for a person instead of frames"},
      {"quiet", 'q', OPTION_FLAG, &r.quiet, NULL, "no summary on stderr"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false;
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n)
    st = sluice_fail(&err, SLUICE_USAGE, "reads stdin; \"%s\" is not wanted here", words.items[0]);
  free(words.items);
  if (helped) return 0;
  signal_catch_interrupts();
  signal(SIGPIPE, SIG_IGN);
  buffer_init(&r.out, 0);
  buffer_init(&r.head, 0);
  if (!r.text_key) r.text_key = "text";
  if (!st) st = load(&r, &err);
  if (!st) st = pump(&r, &err);
  return close_run(&r, st, &err);
}
