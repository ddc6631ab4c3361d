/* The data of SirLLM (Yao et al. 2024), as published: rows {id, question: {stem, choices: [{text, label}]}, answerKey
 * [, user_choice]}, one a line. Dialogues are runs of rows: the published code resets its cache where they change.
 * Options are scored by their letter there; score=text scores the words instead. */
#include "datasets/dataset.h"
#include "datasets/readers/jsonl.h"
#include "datasets/script.h"

#include <stdlib.h>
#include <string.h>

enum { CHOICES_MAX = 26 };
static const char *const scores[] = {"letter", "text", NULL};

struct row {
  const char *id, *stem;
  const char *labels[CHOICES_MAX], *texts[CHOICES_MAX];
  int n, answer, user_choice; /* indices; user_choice -1 when the row has none */
};
struct run {
  size_t first, n; /* rows of one dialogue */
};
struct runs {
  struct jsonl file;
  struct run *items;
};

static int find_label(const struct row *row, const char *label) {
  for (int i = 0; i < row->n; i++)
    if (strcmp(row->labels[i], label) == 0) return i;
  return -1;
}

static sluice_status read_label(const struct jsonl *f, const struct jsonl_row *line, const char *key, struct row *row,
                                struct arena *memory, int *index, struct sluice_error *err) {
  const char *label;
  sluice_status st = jsonl_string(f, line, key, false, memory, &label, err);
  if (st) return st;
  *index = find_label(row, label);
  if (*index < 0) return jsonl_fail(f, line, err, "\"%s\" is \"%.40s\", which is no label of a choice", key, label);
  return SLUICE_OK;
}

static sluice_status read_row(const struct jsonl *f, size_t i, struct arena *memory, struct row *row,
                              struct sluice_error *err) {
  const struct jsonl_row *line = &f->rows[i];
  struct json_span choices, ignored;
  *row = (struct row){.user_choice = -1};
  sluice_status st = jsonl_string(f, line, "id", true, memory, &row->id, err);
  if (!st) st = jsonl_string(f, line, "question.stem", false, memory, &row->stem, err);
  if (!st) st = jsonl_value(f, line, "question.choices", JSON_ARRAY, &choices, err);
  if (st) return st;
  size_t n = json_span_count(line->text, choices);
  if (n == 0 || n > CHOICES_MAX) return jsonl_fail(f, line, err, "%zu choices; expected 1 to %d", n, CHOICES_MAX);
  row->n = (int)n;
  for (int c = 0; !st && c < row->n; c++) {
    char path[64];
    snprintf(path, sizeof path, "question.choices.%d.label", c);
    st = jsonl_string(f, line, path, false, memory, &row->labels[c], err);
    snprintf(path, sizeof path, "question.choices.%d.text", c);
    if (!st) st = jsonl_string(f, line, path, false, memory, &row->texts[c], err);
  }
  if (!st) st = read_label(f, line, "answerKey", row, memory, &row->answer, err);
  if (!st && json_span_path(line->text, line->root, "user_choice", &ignored))
    st = read_label(f, line, "user_choice", row, memory, &row->user_choice, err);
  return st;
}

/* The part of an id that a dialogue's rows share. */
typedef struct slice (*run_key)(const char *id);
static struct slice key_before_underscore(const char *id) {
  return (struct slice){id, strcspn(id, "_")};
}
static struct slice key_after_underscore(const char *id) {
  const char *underscore = strrchr(id, '_');
  return slice_of(underscore ? underscore + 1 : id);
}
static struct slice key_none(const char *id) {
  (void)id;
  return slice_of("");
}

static void close_runs(struct dataset *d) {
  struct runs *r = d->state;
  if (!r) return;
  jsonl_close(&r->file);
  free(r->items);
  free(r);
}

/* Reads and checks every row now, so that a bad one is reported before a run begins; at most `limit` rows (0: all). */
static sluice_status open_runs(struct dataset *d, run_key key, size_t limit, bool user_choice,
                               struct sluice_error *err) {
  struct runs *r = d->state = calloc(1, sizeof *r);
  if (!r) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", d->text);
  sluice_status st = jsonl_open(d->text, &r->file, err);
  if (st) return st;
  size_t n = limit && limit < r->file.n ? limit : r->file.n;
  r->items = calloc(n, sizeof *r->items);
  if (!r->items) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for %zu dialogues", d->text, n);
  struct arena before = {0};
  struct slice last = {0};
  for (size_t i = 0; !st && i < n; i++) {
    struct arena memory = {0};
    struct row row;
    st = read_row(&r->file, i, &memory, &row, err);
    if (!st && user_choice && row.user_choice < 0)
      st = jsonl_fail(&r->file, &r->file.rows[i], err, "\"user_choice\" is missing");
    if (!st && (i == 0 || !slice_equal(key(row.id), last))) r->items[d->size++].first = i;
    if (!st) {
      r->items[d->size - 1].n++;
      last = key(row.id);
    }
    arena_free(&before);
    before = memory; /* last points into it */
  }
  arena_free(&before);
  return st;
}

/* "stem Choices:  (A) one (B) two"; two spaces, as the published code writes them. */
static void ask(struct script *s, const char *lead, const struct row *row) {
  if (!s->status) s->status = buffer_printf(&s->draft, s->err, "%s%s Choices: ", lead, row->stem);
  for (int c = 0; c < row->n && !s->status; c++)
    s->status = buffer_printf(&s->draft, s->err, " (%s) %s", row->labels[c], row->texts[c]);
  script_end_turn(s, TURN_USER);
}

static struct turn *answer(const struct dataset *d, struct script *s, const char *metric, const struct row *row) {
  bool text = dataset_value(d, "score") == 1;
  struct turn *t = script_choose(s, metric, "", text ? row->texts : row->labels, false, row->n);
  if (!t) return NULL;
  struct turn_choice *choices = (struct turn_choice *)t->choices; /* ours until the dialogue is handed out */
  for (int c = 0; c < row->n; c++) choices[c].label = row->labels[c];
  t->answer = row->answer;
  return t;
}

static bool script_row(const struct dataset *d, struct script *s, size_t i, struct row *row) {
  const struct runs *r = d->state;
  if (!s->status) s->status = read_row(&r->file, i, s->memory, row, s->err);
  return !s->status;
}

static sluice_status grocery_open(struct dataset *d, struct sluice_error *err) {
  return open_runs(d, key_after_underscore, 0, false, err);
}

static void grocery_write(const struct dataset *d, size_t i, struct script *s) {
  const struct run *run = &((const struct runs *)d->state)->items[i];
  const char *key = NULL;
  int exchange = 0, key_turn = -1, key_exchange = 0;
  struct row row;
  for (size_t k = run->first; k < run->first + run->n && script_row(d, s, k, &row); k++, exchange++) {
    if (strncmp(row.id, "key", 3) == 0) { /* the single choice, "OK", is what the bot says */
      key = row.stem;
      key_exchange = exchange;
      key_turn = script_feed(s, TURN_USER, row.stem);
      script_feed(s, TURN_BOT, row.texts[0]);
      continue;
    }
    bool recall = strncmp(row.id, "answer", 6) == 0;
    ask(s, "", &row);
    struct turn *t = answer(d, s, recall ? "acc_g" : "acc_c", &row);
    if (!t || !recall || !key) continue;
    t->evidence_turn = key_turn;
    t->evidence = key;
    t->distance = exchange - key_exchange;
  }
}

static sluice_status dailydialog_open(struct dataset *d, struct sluice_error *err) {
  return open_runs(d, key_before_underscore, (size_t)dataset_value(d, "items"), false, err);
}

static void dailydialog_write(const struct dataset *d, size_t i, struct script *s) {
  const struct run *run = &((const struct runs *)d->state)->items[i];
  struct row row;
  for (size_t k = run->first; k < run->first + run->n && script_row(d, s, k, &row); k++) {
    ask(s, "Choose the best response for the input: ", &row);
    answer(d, s, "next", &row);
  }
}

static sluice_status rps_open(struct dataset *d, struct sluice_error *err) {
  return open_runs(d, key_none, (size_t)dataset_value(d, "rounds"), true, err);
}

/* One dialogue, never reset. The player's move of a round is told in the next one. */
static void rps_write(const struct dataset *d, size_t i, struct script *s) {
  const struct run *run = &((const struct runs *)d->state)->items[i];
  const char *last = NULL;
  struct row row;
  for (size_t k = run->first; k < run->first + run->n && script_row(d, s, k, &row); k++) {
    if (last)
      script_feed(s, TURN_USER,
                  script_format(s,
                                "I chose [%s]. Analyze my preferences to maximize your winning rate and proceed to the "
                                "next round. Choices: (A) rock (B) paper (C) scissors. You choose:",
                                last));
    else
      script_feed(s, TURN_USER, script_format(s, "%s Choices: (A) rock (B) paper (C) scissors. You choose:", row.stem));
    struct turn *t = answer(d, s, "rps", &row);
    if (t) t->tie = row.user_choice;
    last = row.texts[row.user_choice];
  }
}

const struct dataset_kind dataset_sirllm_grocery = {
    .keys = {KEY_FILE, {"score", scores, false, 0, 0, 0}},
    .open = grocery_open,
    .write = grocery_write,
    .close = close_runs,
};
const struct dataset_kind dataset_sirllm_dailydialog = {
    .keys = {KEY_FILE, {"items", NULL, false, 0, 0, 10000000}, {"score", scores, false, 0, 0, 0}},
    .open = dailydialog_open,
    .write = dailydialog_write,
    .close = close_runs,
};
const struct dataset_kind dataset_sirllm_rps = {
    .keys = {KEY_FILE, {"rounds", NULL, false, 0, 0, 10000000}, {"score", scores, false, 0, 0, 0}},
    .open = rps_open,
    .write = rps_write,
    .close = close_runs,
};
