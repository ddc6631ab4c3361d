/* A dialogue back from the ledger, so that scoring needs neither the dataset's files nor its generator's version. */
#include "runner/score.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static sluice_status no_memory(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_NOMEM, "no memory for a recorded dialogue");
}

static const char *keep(struct dialogue *d, const char *s, size_t n) {
  return s ? arena_strndup(&d->memory, s, n) : NULL;
}

static sluice_status read_choices(struct dialogue *d, const char *json, struct turn *t, struct sluice_error *err) {
  cJSON *array = NULL, *item;
  if (json_parse("recorded choices", json, strlen(json), false, &array, err)) return err->code;
  int n = cJSON_IsArray(array) ? cJSON_GetArraySize(array) : 0;
  struct turn_choice *choices = arena_alloc(&d->memory, (size_t)(n ? n : 1) * sizeof *choices);
  sluice_status status = choices ? SLUICE_OK : no_memory(err);
  size_t i = 0;
  cJSON_ArrayForEach(item, array) {
    const cJSON *label = cJSON_GetObjectItemCaseSensitive(item, "label"),
                *text = cJSON_GetObjectItemCaseSensitive(item, "text");
    if (status || i >= (size_t)n) break;
    if (!cJSON_IsString(text)) {
      status = sluice_fail(err, SLUICE_INPUT, "a recorded choice has no text");
      break;
    }
    if (cJSON_IsString(label)) choices[i].label = keep(d, label->valuestring, strlen(label->valuestring));
    choices[i].text = keep(d, text->valuestring, strlen(text->valuestring));
    if (!choices[i].text || (cJSON_IsString(label) && !choices[i].label)) status = no_memory(err);
    i++;
  }
  cJSON_Delete(array);
  t->choices = choices;
  t->n_choices = i;
  return status;
}

static int int_or(const struct ledger_rows *q, int column, int fallback) {
  return ledger_type_of(q, column) == LEDGER_NULL ? fallback : (int)ledger_int(q, column);
}

static const char *text_or_null(struct dialogue *d, const struct ledger_rows *q, int column) {
  if (ledger_type_of(q, column) == LEDGER_NULL) return NULL;
  struct slice s = ledger_bytes(q, column);
  return keep(d, s.ptr, s.len);
}

static sluice_status read_turn(struct dialogue *d, struct ledger_rows *q, struct turn *t, struct sluice_error *err) {
  const char *role = ledger_text(q, 0), *task = ledger_text(q, 1);
  t->role = !strcmp(role, "system") ? TURN_SYSTEM : !strcmp(role, "user") ? TURN_USER : TURN_BOT;
  t->task = !strcmp(task, "choose")     ? TASK_CHOOSE
            : !strcmp(task, "generate") ? TASK_GENERATE
            : !strcmp(task, "text")     ? TASK_TEXT
                                        : TASK_FEED;
  t->metric = text_or_null(d, q, 2);
  t->text = text_or_null(d, q, 3);
  t->answer = int_or(q, 5, -1);
  t->tie = int_or(q, 6, -1);
  t->expected = text_or_null(d, q, 7);
  t->evidence_turn = int_or(q, 8, -1);
  t->evidence = text_or_null(d, q, 9);
  t->distance = int_or(q, 10, -1);
  t->gold_in_context = ledger_int(q, 11) != 0;
  const struct {
    int column;
    const char *text;
  } kept[] = {{2, t->metric}, {3, t->text}, {7, t->expected}, {9, t->evidence}};
  for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
    if (!kept[i].text && ledger_type_of(q, kept[i].column) != LEDGER_NULL) return no_memory(err);
  return ledger_type_of(q, 4) == LEDGER_NULL ? SLUICE_OK : read_choices(d, ledger_text(q, 4), t, err);
}

sluice_status rebuild_dialogue(struct ledger *l, const unsigned char uid[SHA256_BYTES], struct dialogue *d,
                               struct sluice_error *err) {
  *d = (struct dialogue){0};
  int64_t n = 0;
  struct ledger_rows *q = NULL;
  sluice_status status = ledger_query_int(l, "SELECT count(*) FROM sample_turn WHERE sample_uid = ?1",
                                          LEDGER_VALUES(lv_hash(uid)), 0, &n, err);
  struct turn *turns = status ? NULL : arena_alloc(&d->memory, (size_t)(n ? n : 1) * sizeof *turns);
  if (!status && !turns) status = no_memory(err);
  if (!status)
    status =
        ledger_query(l,
                     "SELECT s.role, s.task, s.metric, b.body, s.choices, s.answer, s.tie, s.expected, s.evidence_turn,"
                     " s.evidence, s.distance, s.gold_in_context, p.ext_id, p.cluster FROM sample_turn s"
                     " JOIN blob b ON b.sha256 = s.text JOIN sample p ON p.uid = s.sample_uid"
                     " WHERE s.sample_uid = ?1 ORDER BY s.turn_no",
                     LEDGER_VALUES(lv_hash(uid)), &q, err);
  bool row = true;
  while (!status && !(status = ledger_next(q, &row, err)) && row && d->n_turns < (size_t)n) {
    if (!d->id) d->id = text_or_null(d, q, 12);
    if (!d->cluster) d->cluster = text_or_null(d, q, 13);
    status = read_turn(d, q, &turns[d->n_turns++], err);
  }
  ledger_rows_end(q);
  d->turns = turns;
  if (!status && d->n_turns != (size_t)n) status = sluice_fail(err, SLUICE_INPUT, "a recorded dialogue lacks texts");
  if (status) dialogue_free(d);
  return status;
}
