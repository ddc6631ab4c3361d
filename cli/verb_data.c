/* sluice data make|list|show: the datasets room on the command line. */
#include "base/base.h"
#include "cli/verbs.h"
#include "datasets/datasets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FLUSH_BYTES = 1 << 20 };

/* Lines to stdout, or to a file that appears whole: written beside it, then renamed. */
struct line_sink {
  const char *path; /* NULL: stdout */
  char *partial;    /* path.tmp while writing */
  int fd;
  struct buffer pending;
};

static sluice_status sink_open(struct line_sink *s, const char *path, struct sluice_error *err) {
  *s = (struct line_sink){.path = path && strcmp(path, "-") ? path : NULL, .fd = STDOUT_FILENO};
  buffer_init(&s->pending, 0);
  if (!s->path) return SLUICE_OK;
  s->partial = sluice_format("%s.tmp", path);
  if (!s->partial) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for its name", path);
  s->fd = open(s->partial, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (s->fd < 0) return sluice_fail(err, SLUICE_IO, "%s: cannot write: %s", s->partial, strerror(errno));
  return SLUICE_OK;
}

static sluice_status sink_end_line(struct line_sink *s, struct sluice_error *err) {
  sluice_status st = buffer_append_str(&s->pending, "\n", err);
  if (st || s->pending.len < FLUSH_BYTES) return st;
  st = fd_write_all(s->fd, s->pending.ptr, s->pending.len, err);
  buffer_clear(&s->pending);
  return st;
}

/* Keeps the file when st is OK, removes it otherwise. */
static sluice_status sink_close(struct line_sink *s, sluice_status st, struct sluice_error *err) {
  if (!st && s->pending.len) st = fd_write_all(s->fd, s->pending.ptr, s->pending.len, err);
  buffer_free(&s->pending);
  if (s->path && s->fd >= 0) {
    if (!st && fsync(s->fd)) st = sluice_fail(err, SLUICE_IO, "%s: fsync: %s", s->partial, strerror(errno));
    close(s->fd);
    if (!st && rename(s->partial, s->path))
      st = sluice_fail(err, SLUICE_IO, "%s: cannot rename: %s", s->partial, strerror(errno));
    if (st) unlink(s->partial);
  }
  free(s->partial);
  return st;
}

static sluice_status append_train_line(struct buffer *out, const struct train_line *line, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, "{\"text\": ", err);
  if (!st) st = json_quote(out, line->text, line->len, err);
  if (!st) st = buffer_append_str(out, ", \"answers\": [", err);
  for (size_t i = 0; !st && i < line->n_spans; i++)
    st = buffer_printf(out, err, "%s[%zu,%zu]", i ? "," : "", line->spans[i][0], line->spans[i][1]);
  return st ? st : buffer_append_str(out, "]}", err);
}

struct train_request {
  const char *stage;
  int64_t seed, lines, words;
};

static sluice_status read_train_request(const struct spec *spec, int64_t n, struct train_request *r,
                                        struct sluice_error *err) {
  static const char *const keys[] = {"stage", "seed", "lines", "words", NULL};
  int64_t stage = 0;
  sluice_status st = spec_check_keys(spec, keys, err);
  if (!st) st = spec_int(spec, "stage", 256, 32, 65536, &stage, err);
  if (!st) st = spec_int(spec, "seed", 1, 0, INT64_MAX, &r->seed, err);
  if (!st) st = spec_int(spec, "lines", n > 0 ? n : 10, 1, INT64_MAX, &r->lines, err);
  /* a word makes about 1.35 tokens: this fills the trainer's sequence with a little to spare */
  if (!st) st = spec_int(spec, "words", stage * 4 / 5, 8, 1 << 20, &r->words, err);
  r->stage = spec_get(spec, "stage") ? spec_get(spec, "stage") : "256";
  return st;
}

static sluice_status make_train(const struct spec *spec, int64_t n, struct line_sink *sink, struct sluice_error *err) {
  struct train_request r;
  struct progress progress;
  sluice_status st = read_train_request(spec, n, &r, err);
  if (st) return st;
  progress_begin(&progress, "training text", (uint64_t)r.lines);
  for (int64_t i = 0; !st && i < r.lines; i++) {
    struct train_line line = {0};
    st = train_mix_line((uint64_t)r.seed, r.stage, (uint64_t)i, (size_t)r.words, &line, err);
    if (!st) st = append_train_line(&sink->pending, &line, err);
    if (!st) st = sink_end_line(sink, err);
    train_line_free(&line);
    if (!st && signal_interrupted())
      st = sluice_fail(err, SLUICE_INTERRUPTED, "interrupted after %lld lines", (long long)i);
    if (i % 1024 == 0) progress_update(&progress, (uint64_t)i, "lines");
  }
  progress_end(&progress);
  return st;
}

static sluice_status make_dialogues(const char *text, int64_t n, struct line_sink *sink, struct sluice_error *err) {
  struct dataset *set;
  struct progress progress;
  sluice_status st = dataset_open(text, &set, err);
  if (st) return st;
  size_t total = n > 0 && (size_t)n < dataset_size(set) ? (size_t)n : dataset_size(set);
  progress_begin(&progress, dataset_information(set)->name, total);
  for (size_t i = 0; !st && i < total; i++) {
    struct dialogue d;
    st = dataset_dialogue(set, i, &d, err);
    if (!st) st = dialogue_json(&d, &sink->pending, err);
    if (!st) st = sink_end_line(sink, err);
    dialogue_free(&d);
    if (!st && signal_interrupted()) st = sluice_fail(err, SLUICE_INTERRUPTED, "interrupted after %zu dialogues", i);
    progress_update(&progress, i, "dialogues");
  }
  progress_end(&progress);
  dataset_close(set);
  return st;
}

static sluice_status make(const char *text, int64_t n, const char *path, struct sluice_error *err) {
  struct spec spec;
  struct line_sink sink;
  sluice_status st = spec_parse(text, &spec, err);
  if (st) return st;
  st = sink_open(&sink, path, err);
  if (!st && strcmp(spec.name, "train") == 0)
    st = make_train(&spec, n, &sink, err);
  else if (!st)
    st = make_dialogues(text, n, &sink, err);
  st = sink_close(&sink, st, err);
  spec_free(&spec);
  return st;
}

static void list(void) {
  for (const struct dataset_info *info = dataset_table(); info->name; info++) {
    printf("%-20s %s\n", info->name, info->summary);
    printf("%-20s   keys: %s\n", "", info->keys);
    if (*info->baseline) printf("%-20s   trivial baselines: %s\n", "", info->baseline);
    printf("%-20s   licence: %s\n", "", info->license);
  }
  printf("%-20s training text for the embedded model; no item, name or number of the benchmarks above\n", "train");
  printf("%-20s   keys: stage=32..65536 (256: tokens a line), seed (1), lines (10), words (4/5 of stage)\n", "");
}

static void show_scored(const struct turn *t) {
  if (*t->text) printf("%s", t->text);
  if (t->task == TASK_GENERATE) printf(" ... expected: %s", t->expected);
  for (size_t c = 0; c < t->n_choices; c++) {
    const struct turn_choice *choice = &t->choices[c];
    const char *mark = (int)c == t->answer ? "  <- right" : (int)c == t->tie ? "  <- tie" : "";
    printf("\n        %s%s%s%s", choice->label ? choice->label : "", choice->label ? ": " : "- ", choice->text, mark);
  }
  printf("\n        [%s", t->metric);
  if (t->evidence_turn >= 0) printf("; told in turn %d: \"%s\"", t->evidence_turn, t->evidence);
  if (t->distance >= 0) printf("; %d back", t->distance);
  printf("; %s answer stays]\n", t->gold_in_context ? "the right" : "the model's own");
}

static void show_dialogue(const struct dialogue *d) {
  static const char *const roles[] = {[TURN_SYSTEM] = "system", [TURN_USER] = "user", [TURN_BOT] = "bot"};
  printf("%s\n", d->id);
  for (size_t i = 0; i < d->n_turns; i++) {
    const struct turn *t = &d->turns[i];
    printf("%4zu %s: ", i, t->task == TASK_TEXT ? "text" : roles[t->role]);
    if (t->task == TASK_CHOOSE || t->task == TASK_GENERATE)
      show_scored(t);
    else
      printf("%s\n", t->text);
  }
}

static sluice_status show(const char *text, const char *number, struct sluice_error *err) {
  char *rest;
  errno = 0;
  long long i = strtoll(number, &rest, 10);
  if (*rest || rest == number || i < 0 || errno)
    return sluice_fail(err, SLUICE_USAGE, "\"%s\" is not the number of a dialogue, such as 0", number);
  struct dataset *set;
  struct dialogue d;
  sluice_status st = dataset_open(text, &set, err);
  if (st) return st;
  st = dataset_dialogue(set, (size_t)i, &d, err);
  if (!st) {
    show_dialogue(&d);
    dialogue_free(&d);
  }
  dataset_close(set);
  return st;
}

static const struct verb_help help = {
    .verb = "data",
    .summary = "list, make and show benchmark dialogues and training text",
    .usage = "sluice data list | make SPEC [--out FILE] [--n N] | show SPEC I",
    .examples = "  sluice data list\n"
                "  sluice data show grocery:depth=random 0\n"
                "  sluice data make streameval:every=10,back=20,lines=60 --n 100 --out lines.jsonl\n"
                "  sluice data make sirllm_grocery:file=build/data/sirllm/grocery_keys/keys.jsonl | head -1\n"
                "  sluice data make train:stage=256,seed=1,lines=100000 --out train256.jsonl\n",
    .notes = "make prints canonical JSON, one dialogue a line; the same SPEC gives the same bytes on every machine.\n"
             "For train, a line is {\"text\", \"answers\"}: byte ranges of the answers, which training weighs up.\n"};

static sluice_status dispatch(const struct string_list *words, const char *out, int64_t n, struct sluice_error *err) {
  static const char *const actions[] = {"list", "make", "show", NULL};
  const char *action = words->n ? words->items[0] : "";
  if (strcmp(action, "list") == 0 && words->n == 1) {
    list();
    return SLUICE_OK;
  }
  if (strcmp(action, "make") == 0 && words->n == 2) return make(words->items[1], n, out, err);
  if (strcmp(action, "show") == 0 && words->n == 3) return show(words->items[1], words->items[2], err);
  const char *near = *action ? suggest(action, actions) : NULL;
  if (near && strcmp(near, action))
    return sluice_fail(err, SLUICE_USAGE, "\"%s\": did you mean `sluice data %s`?", action, near);
  return sluice_fail(err, SLUICE_USAGE, "expected %s", help.usage);
}

int verb_data(int argc, char **argv) {
  const char *out = NULL;
  int64_t n = 0;
  const struct option_spec options[] = {
      {"out", 'o', OPTION_STRING, &out, "FILE", "write there, whole or not at all (default: stdout)"},
      {"n", 'n', OPTION_INT, &n, "N", "at most N dialogues or lines (default: all; 10 for training text)"}};
  struct string_list words = {0};
  struct sluice_error err = {0};
  bool helped = false;
  signal_catch_interrupts();
  sluice_status st = options_parse(&help, options, sizeof options / sizeof *options, argc, argv, &words, &helped, &err);
  if (!st && !helped) st = dispatch(&words, out, n, &err);
  free(words.items);
  if (!st && fflush(stdout)) st = sluice_fail(&err, SLUICE_IO, "stdout: %s", strerror(errno));
  if (st) log_line(LOG_ERROR, "data: %s", err.message);
  return st ? sluice_exit_code(st) : 0;
}
