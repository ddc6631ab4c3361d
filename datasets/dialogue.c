/* A dialogue's canonical JSON and its hash: what makes two dialogues the same. Keys stand in a fixed order; context
 * turns have role, task and text only. */
#include "datasets/datasets.h"

#include <string.h>

void dialogue_free(struct dialogue *d) {
  arena_free(&d->memory);
  *d = (struct dialogue){0};
}

static sluice_status add_string(struct buffer *out, const char *before, const char *s, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, before, err);
  if (st) return st;
  return s ? json_quote(out, s, strlen(s), err) : buffer_append_str(out, "null", err);
}

static sluice_status add_choices(struct buffer *out, const struct turn *t, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out, ",\"choices\":[", err);
  for (size_t i = 0; !st && i < t->n_choices; i++) {
    st = add_string(out, i ? ",{\"label\":" : "{\"label\":", t->choices[i].label, err);
    if (!st) st = add_string(out, ",\"text\":", t->choices[i].text, err);
    if (!st) st = buffer_append_str(out, "}", err);
  }
  return st ? st : buffer_append_str(out, "]", err);
}

static sluice_status add_turn(struct buffer *out, const struct turn *t, struct sluice_error *err) {
  static const char *const roles[] = {[TURN_SYSTEM] = "system", [TURN_USER] = "user", [TURN_BOT] = "bot"};
  static const char *const tasks[] = {
      [TASK_FEED] = "feed", [TASK_CHOOSE] = "choose", [TASK_GENERATE] = "generate", [TASK_TEXT] = "text"};
  sluice_status st = buffer_printf(out, err, "{\"role\":\"%s\",\"task\":\"%s\"", roles[t->role], tasks[t->task]);
  if (!st) st = add_string(out, ",\"text\":", t->text, err);
  if (!st && t->task != TASK_FEED) st = add_string(out, ",\"metric\":", t->metric, err);
  if (!st && t->task == TASK_CHOOSE) st = add_choices(out, t, err);
  if (!st && t->task == TASK_CHOOSE) st = buffer_printf(out, err, ",\"answer\":%d,\"tie\":%d", t->answer, t->tie);
  if (!st && t->task == TASK_GENERATE) st = add_string(out, ",\"expected\":", t->expected, err);
  if (!st && (t->task == TASK_CHOOSE || t->task == TASK_GENERATE)) {
    st = buffer_printf(out, err, ",\"evidence_turn\":%d", t->evidence_turn);
    if (!st) st = add_string(out, ",\"evidence\":", t->evidence, err);
    if (!st)
      st = buffer_printf(out, err, ",\"distance\":%d,\"gold_in_context\":%s", t->distance,
                         t->gold_in_context ? "true" : "false");
  }
  return st ? st : buffer_append_str(out, "}", err);
}

sluice_status dialogue_json(const struct dialogue *d, struct buffer *out, struct sluice_error *err) {
  sluice_status st = add_string(out, "{\"id\":", d->id, err);
  if (!st) st = add_string(out, ",\"cluster\":", d->cluster, err);
  if (!st) st = buffer_append_str(out, ",\"turns\":[", err);
  for (size_t i = 0; !st && i < d->n_turns; i++) {
    if (i) st = buffer_append_str(out, ",", err);
    if (!st) st = add_turn(out, &d->turns[i], err);
  }
  return st ? st : buffer_append_str(out, "]}", err);
}

sluice_status dialogue_hash(const struct dialogue *d, unsigned char out[SHA256_BYTES], struct sluice_error *err) {
  struct buffer json;
  buffer_init(&json, 0);
  sluice_status st = dialogue_json(d, &json, err);
  if (!st) sha256(json.ptr, json.len, out);
  buffer_free(&json);
  return st;
}
