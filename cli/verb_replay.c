/* sluice replay: plays a recorded stream at reading speed, frame by frame, as a server would send it. */
#include "cli/verbs.h"
#include "wire/wire.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 256 << 20, EXIT_PIPE = 141 };

struct replay {
  double pace; /* frames with text a second; 0: as fast as it goes */
  int64_t next_ns;
};

static sluice_status count_text(void *ctx, const struct wire_key *key, struct slice text, struct sluice_error *err) {
  (void)key, (void)err;
  *(size_t *)ctx += text.len;
  return SLUICE_OK;
}

/* One token's time passes before a frame that carries text; others follow at once. */
static sluice_status wait_turn(struct replay *r, struct slice json, struct sluice_error *err) {
  size_t bytes = 0;
  bool known = false;
  struct sluice_error ignored = {0};
  if (r->pace <= 0) return SLUICE_OK;
  if (wire_read_texts(json, NULL, count_text, &bytes, &known, &ignored) || bytes == 0) return SLUICE_OK;
  int64_t now = clock_mono_ns();
  if (r->next_ns == 0) r->next_ns = now;
  if (r->next_ns > now) clock_sleep_ns(r->next_ns - now);
  r->next_ns += (int64_t)(1e9 / r->pace);
  return signal_interrupted() ? sluice_fail(err, SLUICE_INTERRUPTED, "interrupted") : SLUICE_OK;
}

static sluice_status on_event(void *ctx, const struct sse_event *e, struct sluice_error *err) {
  sluice_status st = e->has_data ? wait_turn(ctx, e->data, err) : SLUICE_OK;
  return st ? st : fd_write_all(STDOUT_FILENO, e->raw.ptr, e->raw.len, err);
}

static sluice_status play_lines(struct replay *r, struct slice all, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  while (!st && all.len) {
    const char *nl = memchr(all.ptr, '\n', all.len);
    size_t n = nl ? (size_t)(nl - all.ptr) + 1 : all.len;
    st = wait_turn(r, (struct slice){all.ptr, n}, err);
    if (!st) st = fd_write_all(STDOUT_FILENO, all.ptr, n, err);
    all.ptr += n;
    all.len -= n;
  }
  return st;
}

static sluice_status play(struct replay *r, const char *path, struct sluice_error *err) {
  char *text = NULL;
  size_t len = 0;
  sluice_status st = file_read(path, FILE_MAX, &text, &len, err);
  if (st) return st;
  struct slice all = {text, len};
  if (len && text[0] == '{') {
    st = play_lines(r, all, err);
  } else {
    struct sse_parser p;
    sse_open(&p, 0, on_event, r);
    st = sse_push(&p, all, err);
    if (!st) st = sse_end(&p, err);
    sse_close(&p);
  }
  free(text);
  return st;
}

static const struct verb_help help = {
    .verb = "replay",
    .summary = "play a recorded stream at reading speed",
    .usage = "sluice replay FILE [--pace FRAMES_PER_SECOND]",
    .examples = "  sluice replay fixtures/streams/harmful.sse --pace 12 | sluice filter --show\n",
    .notes = "FILE holds server-sent events or JSON lines; - is stdin. The bytes are not changed.\n"};

int verb_replay(int argc, char **argv) {
  struct replay r = {.pace = 12};
  const struct option_spec options[] = {
      {"pace", 0, OPTION_DOUBLE, &r.pace, "N", "frames with text a second (default: 12); 0: no waiting"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false;
  sluice_status st = options_parse(&help, options, 1, argc, argv, &words, &helped, &err);
  signal_catch_interrupts();
  signal(SIGPIPE, SIG_IGN);
  errno = 0;
  if (!st && !helped && words.n != 1)
    st = sluice_fail(&err, SLUICE_USAGE, "wants one FILE; see `sluice replay -h`");
  else if (!st && !helped)
    st = play(&r, words.items[0], &err);
  free(words.items);
  if (st == SLUICE_IO && errno == EPIPE) return EXIT_PIPE;
  if (st) log_line(LOG_ERROR, "replay: %s", err.message);
  return st ? sluice_exit_code(st) : 0;
}
