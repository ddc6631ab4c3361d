/* LongEval line retrieval (LMSYS 2023), as published: rows {prompt, expected_number, correct_line, num_lines, ...}.
 * Upstream counts an answer right when the last integer in it is the expected one. */
#include "datasets/dataset.h"
#include "datasets/readers/jsonl.h"
#include "datasets/script.h"

#include <stdlib.h>
#include <string.h>

struct record {
  const char *prompt, *number, *line; /* line: as it stands in the prompt, without its newline */
  int lines_back;                     /* from the end of the record to the line */
};

static sluice_status read_record(const struct jsonl *f, size_t i, struct arena *memory, struct record *out,
                                 struct sluice_error *err) {
  const struct jsonl_row *row = &f->rows[i];
  const char *line = NULL;
  *out = (struct record){0};
  sluice_status st = jsonl_string(f, row, "prompt", false, memory, &out->prompt, err);
  if (!st) st = jsonl_string(f, row, "expected_number", true, memory, &out->number, err);
  if (!st) st = jsonl_string(f, row, "correct_line", false, memory, &line, err);
  if (st) return st;
  size_t digits = strspn(out->number, "0123456789");
  if (digits == 0 || digits > 18 || out->number[digits])
    return jsonl_fail(f, row, err, "\"expected_number\" is \"%.40s\"; expected a whole number", out->number);
  out->line = arena_strndup(memory, line, strcspn(line, "\n"));
  if (!out->line) return sluice_fail(err, SLUICE_NOMEM, "%s:%zu: out of memory", f->path, row->line);
  const char *found = *out->line ? strstr(out->prompt, out->line) : NULL;
  if (!found) return jsonl_fail(f, row, err, "\"correct_line\" does not stand in \"prompt\"");
  for (const char *p = found; (p = strstr(p, "\nline ")) != NULL; p++) out->lines_back++;
  return SLUICE_OK;
}

static sluice_status open_records(struct dataset *d, struct sluice_error *err) {
  struct jsonl *f = d->state = calloc(1, sizeof *f);
  if (!f) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", d->text);
  sluice_status st = jsonl_open(d->text, f, err);
  for (size_t i = 0; !st && i < f->n; i++) {
    struct arena memory = {0};
    struct record record;
    st = read_record(f, i, &memory, &record, err);
    arena_free(&memory);
  }
  d->size = f->n;
  return st;
}

static void write(const struct dataset *d, size_t i, struct script *s) {
  struct record record;
  if (!s->status) s->status = read_record(d->state, i, s->memory, &record, s->err);
  if (s->status) return;
  int turn = script_feed(s, TURN_USER, record.prompt);
  struct turn *t = script_generate(s, "exact", "", record.number);
  if (!t) return;
  t->evidence_turn = turn;
  t->evidence = record.line;
  t->distance = record.lines_back;
}

static void close_records(struct dataset *d) {
  if (d->state) jsonl_close(d->state);
  free(d->state);
}

const struct dataset_kind dataset_longeval_lines = {
    .keys = {KEY_FILE}, .open = open_records, .write = write, .close = close_records};
