/* A monitored stream in a program of your own: reads stdin in pieces as a model's tokens come, writes what may be
 * shown.
 *
 *   cc embed.c $(pkg-config --cflags --libs sluice) -o embed      (c++ -x c++ does as well)
 *   ./embed policy.json < text
 *
 * Without a policy the default one is used. Exit codes: 0, 1 failed, 2 usage, 10 stopped by the policy. */
#include <sluice.h>

#include <inttypes.h>
#include <stdio.h>

enum { PIECE = 16 };

static void on_event(void *context, const struct sluice_event *event) {
  (void)context;
  fprintf(stderr, "%s %s: bytes %" PRIu64 " to %" PRIu64 "\n", event->category, event->rule, event->start, event->end);
}

static int show(const struct sluice_verdict *v) {
  size_t done = fwrite(v->text, 1, v->text_size, stdout);
  return done == v->text_size && fflush(stdout) == 0 ? 0 : -1;
}

/* 0, or the program's exit code. */
static int monitor(struct sluice_stream *stream) {
  const struct sluice_verdict *v;
  struct sluice_failure why;
  char piece[PIECE];
  size_t n;
  while ((n = fread(piece, 1, sizeof piece, stdin)) > 0) {
    if (sluice_stream_push(stream, piece, n, &v, &why)) {
      fprintf(stderr, "embed: %s\n", why.message);
      return 1;
    }
    if (show(v)) return 1;
    if (v->action == SLUICE_STOP) { /* here an engine would abort the request */
      fprintf(stderr, "embed: stopped by %s (%s)\n", v->rule, v->category);
      return 10;
    }
  }
  if (sluice_stream_finish(stream, &v, &why)) {
    fprintf(stderr, "embed: %s\n", why.message);
    return 1;
  }
  return show(v) ? 1 : v->action == SLUICE_STOP ? 10 : 0;
}

int main(int argc, char **argv) {
  struct sluice_policy *policy;
  struct sluice_stream *stream;
  struct sluice_failure why;
  struct sluice_stream_options options = SLUICE_STREAM_OPTIONS_INIT;
  options.on_event = on_event;
  if (argc > 2 || sluice_api_version() < SLUICE_API_VERSION) {
    fprintf(stderr, argc > 2 ? "usage: embed [POLICY] < text\n" : "embed: libsluice is older than its header\n");
    return 2;
  }
  if (sluice_policy_open(argc > 1 ? argv[1] : NULL, &policy, &why)) {
    fprintf(stderr, "embed: %s\n", why.message);
    return 2;
  }
  int code = 1;
  if (sluice_stream_open(policy, &options, &stream, &why)) {
    fprintf(stderr, "embed: %s\n", why.message);
  } else {
    code = monitor(stream);
    const struct sluice_counts *c = sluice_stream_counts(stream);
    fprintf(stderr, "embed: %" PRIu64 " pieces, %" PRIu64 " masked, at most %" PRIu64 " bytes held\n", c->pieces,
            c->masks, c->held_max);
    sluice_stream_close(stream);
  }
  sluice_policy_unref(policy);
  return code;
}
