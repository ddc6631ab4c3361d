/* The table of datasets, and spec strings read against it. */
#include "datasets/dataset.h"
#include "datasets/script.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A new dataset is one file and one line here: kind, name, summary, keys with their defaults, baselines, licence. */
#define DATASETS(X)                                                                                                    \
  X(grocery, "grocery", "a grocery to buy, asked for after other talk; all four options are mentioned equally often",  \
    "depth=start|random (random), turns=0..1000 (18), mentions=1..8 (2), form=lettered|letter|open (lettered), "       \
    "answer=own|gold (own), seed (1), dialogues (500)",                                                                \
    "chance,recency,first,frequency,longest", "Apache-2.0")                                                            \
  X(rps, "rps", "rock, paper, scissors against a player with a 50/30/20 bias",                                         \
    "player=rock|paper|scissors|all (all), rounds=1..100000 (30), answer=own|gold (own), seed (1), dialogues (500)",   \
    "chance,counting", "Apache-2.0")                                                                                   \
  X(streameval, "streameval", "numbered register lines; after every few, one from further back is asked for",          \
    "every=1..1000 (10), back=0..1000000 (20), lines=1..1000000 (60), queries=0..100000 (0: all that fit), "           \
    "answer=gold|own (gold), seed (1), dialogues (500)",                                                               \
    "", "Apache-2.0")                                                                                                  \
  X(next, "dialogue", "the next utterance among four of one template and topic; only who said what decides",           \
    "topics=1..10 (5), people=4..8 (4), chat=0..1000 (6), answer=own|gold (own), seed (1), dialogues (500)",           \
    "chance,longest,overlap", "Apache-2.0")                                                                            \
  X(story, "story", "running text about a few people, for perplexity",                                                 \
    "words=20..10000000 (380), seed (1), dialogues (500)", "", "Apache-2.0")                                           \
  X(sirllm_grocery, "sirllm_grocery", "SirLLM's Grocery: a key, 20 CommonsenseQA questions, the recall question",      \
    "file=PATH of keys.jsonl, score=letter|text (letter)", "chance,longest", "none stated upstream")                   \
  X(sirllm_rps, "sirllm_rps", "SirLLM's Rock-Paper-Scissors players",                                                  \
    "file=PATH of rock_paper_scissors_dominant_NAME.jsonl, rounds=0.. (0: all; the paper plays 2000), "                \
    "score=letter|text (letter)",                                                                                      \
    "chance,counting", "none stated upstream")                                                                         \
  X(sirllm_dailydialog, "sirllm_dailydialog", "SirLLM's DailyDialog: the next utterance among four",                   \
    "file=PATH of dailydialog.jsonl, items=0.. (0: all; the paper uses 2000), score=letter|text (letter)",             \
    "chance,longest,overlap", "CC BY-NC-SA 4.0 (DailyDialog)")                                                         \
  X(longeval_lines, "longeval_lines", "LongEval line retrieval: a register content among hundreds",                    \
    "file=PATH of N_lines.jsonl", "", "Apache-2.0")

#define AS_INFO(kind, name, summary, keys, baseline, license) {name, summary, keys, baseline, license},
#define AS_KIND(kind, name, summary, keys, baseline, license) &dataset_##kind,
static const struct dataset_info infos[] = {DATASETS(AS_INFO){0}};
static const struct dataset_kind *const kinds[] = {DATASETS(AS_KIND)};
enum { KINDS = sizeof kinds / sizeof *kinds };

const struct dataset_info *dataset_table(void) {
  return infos;
}
const struct dataset_info *dataset_information(const struct dataset *d) {
  return d->info;
}
const char *dataset_canonical(const struct dataset *d) {
  return d->canonical;
}
size_t dataset_size(const struct dataset *d) {
  return d->size;
}

int64_t dataset_value(const struct dataset *d, const char *key) {
  for (int k = 0; d->kind->keys[k].name; k++)
    if (strcmp(d->kind->keys[k].name, key) == 0) return d->values[k];
  return 0;
}

static sluice_status find_kind(struct dataset *d, const char *name, struct sluice_error *err) {
  const char *names[KINDS + 1] = {0};
  for (size_t k = 0; k < KINDS; k++) {
    names[k] = infos[k].name;
    if (strcmp(name, infos[k].name)) continue;
    d->info = &infos[k];
    d->kind = kinds[k];
    return SLUICE_OK;
  }
  const char *near = suggest(name, names);
  return sluice_fail(err, SLUICE_USAGE, "no dataset \"%s\"%s%s%s; `sluice data list` shows them", name,
                     near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static sluice_status read_word(const struct dataset_key *key, const char *word, int64_t *value,
                               struct sluice_error *err) {
  if (!word) {
    *value = key->fallback;
    return SLUICE_OK;
  }
  struct buffer all;
  buffer_init(&all, 0);
  sluice_status st = SLUICE_OK;
  for (int i = 0; !st && key->words[i]; i++) {
    if (strcmp(word, key->words[i]) == 0) {
      *value = i;
      buffer_free(&all);
      return SLUICE_OK;
    }
    st = buffer_printf(&all, err, "%s%s", i ? ", " : "", key->words[i]);
  }
  const char *near = suggest(word, key->words);
  if (!st)
    st = sluice_fail(err, SLUICE_USAGE, "%s=%s: expected one of %s%s%s%s", key->name, word, all.ptr,
                     near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
  buffer_free(&all);
  return st;
}

/* Appends ",key=value"; the characters that separate pairs are escaped as spec_parse reads them. */
static sluice_status add_text_value(struct buffer *out, const char *text, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (; !st && *text; text++) {
    if (*text == ',' || *text == '\\') st = buffer_append_str(out, "\\", err);
    if (!st) st = buffer_append(out, text, 1, err);
  }
  return st;
}

static sluice_status read_key(struct dataset *d, int k, const struct spec *spec, struct buffer *canonical,
                              struct sluice_error *err) {
  const struct dataset_key *key = &d->kind->keys[k];
  const char *given = spec_get(spec, key->name);
  sluice_status st = buffer_printf(canonical, err, "%s%s=", k ? "," : ":", key->name);
  if (st) return st;
  if (key->is_text) {
    if (!given || !*given)
      return sluice_fail(err, SLUICE_USAGE, "%s: %s=PATH is missing (%s)", d->info->name, key->name, d->info->keys);
    d->text = sluice_strdup(given);
    if (!d->text) return sluice_fail(err, SLUICE_NOMEM, "%s: no memory for %s", d->info->name, key->name);
    return add_text_value(canonical, given, err);
  }
  if (key->words) {
    st = read_word(key, given, &d->values[k], err);
    return st ? st : buffer_append_str(canonical, key->words[d->values[k]], err);
  }
  st = spec_int(spec, key->name, key->fallback, key->min, key->max, &d->values[k], err);
  return st ? st : buffer_printf(canonical, err, "%" PRId64, d->values[k]);
}

static sluice_status read_keys(struct dataset *d, const struct spec *spec, struct sluice_error *err) {
  const char *names[DATASET_KEYS_MAX + 1] = {0};
  struct buffer canonical;
  for (int k = 0; d->kind->keys[k].name; k++) names[k] = d->kind->keys[k].name;
  sluice_status st = spec_check_keys(spec, names, err);
  buffer_init(&canonical, 0);
  if (!st) st = buffer_append_str(&canonical, d->info->name, err);
  for (int k = 0; !st && d->kind->keys[k].name; k++) st = read_key(d, k, spec, &canonical, err);
  if (!st) d->canonical = buffer_take(&canonical, NULL);
  buffer_free(&canonical);
  return st;
}

sluice_status dataset_open(const char *text, struct dataset **out, struct sluice_error *err) {
  struct spec spec;
  struct dataset *d = calloc(1, sizeof *d);
  if (!d) return sluice_fail(err, SLUICE_NOMEM, "dataset %s: out of memory", text);
  sluice_status st = spec_parse(text, &spec, err);
  if (st) {
    free(d);
    return st;
  }
  st = find_kind(d, spec.name, err);
  if (!st) st = read_keys(d, &spec, err);
  if (!st) d->size = (size_t)dataset_value(d, "dialogues");
  if (!st && d->kind->open) st = d->kind->open(d, err);
  spec_free(&spec);
  if (st)
    dataset_close(d);
  else
    *out = d;
  return st;
}

void dataset_close(struct dataset *d) {
  if (!d) return;
  if (d->kind && d->kind->close) d->kind->close(d);
  free(d->canonical);
  free(d->text);
  free(d);
}

sluice_status dataset_dialogue(const struct dataset *d, size_t i, struct dialogue *out, struct sluice_error *err) {
  *out = (struct dialogue){0};
  if (i >= d->size)
    return sluice_fail(err, SLUICE_USAGE, "%s has %zu dialogues (0 to %zu); there is no number %zu", d->canonical,
                       d->size, d->size ? d->size - 1 : 0, i);
  struct script s = {.memory = &out->memory, .err = err};
  buffer_init(&s.draft, 0);
  s.id = script_format(&s, "%s/%" PRId64 "/%06zu", d->info->name, dataset_value(d, "seed"), i);
  if (!s.status) d->kind->write(d, i, &s);
  buffer_free(&s.draft);
  if (s.status) {
    dialogue_free(out);
    return s.status;
  }
  out->id = s.id;
  out->cluster = s.cluster ? s.cluster : s.id;
  out->turns = s.turns;
  out->n_turns = s.n;
  return SLUICE_OK;
}
