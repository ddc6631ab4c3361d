/* dump_prompts MODEL DIALOGUES: the prompts that a model's chat template makes, for comparison with other programs
 * (templates.mjs, beside this file). DIALOGUES is JSON: a list of dialogues, each a list of [role, text], role being
 * system, user or assistant; a dialogue that ends with the assistant's is gone on with. Prints the template's name, and
 * a line of token ids for each dialogue, or `error: ` and why. */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/talk.h"

static bool print_token(void *ctx, const struct piece *p) {
  (void)ctx;
  printf("%d ", p->token);
  return true;
}

static sluice_status read_turns(const cJSON *dialogue, struct turn_text *turns, struct sluice_error *err) {
  static const char *const roles[] = {[ROLE_SYSTEM] = "system", [ROLE_USER] = "user", [ROLE_BOT] = "assistant"};
  const cJSON *turn;
  size_t n = 0;
  cJSON_ArrayForEach(turn, dialogue) {
    const char *role = cJSON_GetStringValue(turn->child), *text = role ? cJSON_GetStringValue(turn->child->next) : NULL;
    int r = 0;
    while (role && r < 3 && strcmp(roles[r], role) != 0) r++;
    if (!text || r == 3) return sluice_fail(err, SLUICE_INPUT, "a turn is [role, text]");
    turns[n++] = (struct turn_text){(enum role)r, slice_of(text)};
  }
  return SLUICE_OK;
}

static sluice_status print_prompt(struct engine *e, const cJSON *dialogue, struct sluice_error *err) {
  struct talk *t = NULL;
  struct reply *reply = NULL;
  size_t n = (size_t)cJSON_GetArraySize(dialogue);
  struct turn_text *turns = calloc(n + 1, sizeof *turns);
  struct reply_request r = {.turns = turns, .n_turns = n, .tell_context = true, .context_only = true};
  const struct generate_options o = {.max_tokens = 1};
  sluice_status st = turns ? read_turns(dialogue, turns, err) : sluice_fail(err, SLUICE_NOMEM, "out of memory");
  if (!st && n > 0 && turns[n - 1].role == ROLE_BOT) r.prefix = turns[--r.n_turns].text;
  if (!st) st = talk_open(e, NULL, 0, &t, err);
  if (!st) st = reply_begin(t, &r, &o, print_token, NULL, &reply, err);
  while (!st && !reply_done(reply)) st = replies_advance(&reply, 1, err);
  reply_close(reply);
  talk_close(t);
  free(turns);
  return st;
}

int main(int argc, char **argv) {
  struct sluice_error err = {0};
  struct engine *e = NULL;
  struct cJSON *dialogues = NULL;
  if (argc != 3) {
    fprintf(stderr, "usage: dump_prompts MODEL DIALOGUES\n");
    return 2;
  }
  const struct engine_local_options o = {.model_dir = argv[1], .threads = 1, .together = true};
  sluice_status st = engine_open_local(&o, &e, &err);
  if (!st) st = json_read_file(argv[2], false, &dialogues, &err);
  if (!st) {
    const cJSON *dialogue;
    printf("%s\n", e->chat ? e->chat->name : "none");
    cJSON_ArrayForEach(dialogue, dialogues) {
      if (print_prompt(e, dialogue, &err)) printf("error: %s", err.message);
      putchar('\n');
    }
  }
  if (st) fprintf(stderr, "%s\n", err.message);
  cJSON_Delete(dialogues);
  engine_close(e);
  return sluice_exit_code(st);
}
