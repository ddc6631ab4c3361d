/* Chat templates: how turns of text become tokens. A table, not an interpreter: a Hugging Face chat_template is a Jinja
 * program, and a model whose program is not in the table is refused rather than fed an almost right prompt. */
#include "engine/talk.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM_LIMIT ((size_t)1 << 20) /* bytes of chat_template.jinja; published ones have some 10 KB */

static const struct chat_template table[] = {
    {.name = "sluice",
     .summary = "the embedded model: <s>, then <|user|>TEXT<|end|> and <|bot|>TEXT<|end|>",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"<|system|>", ""}, [ROLE_USER] = {"<|user|>", ""}, [ROLE_BOT] = {"<|bot|>", ""}},
     .close = "<|end|>",
     .needs = {"<s>", "<|user|>", "<|bot|>", "<|system|>", "<|end|>"}},
    {.name = "chatml",
     .summary = "<|im_start|>user\\nTEXT<|im_end|>\\n (Qwen and others; no system turn is invented)",
     .begin = "",
     .open = {[ROLE_SYSTEM] = {"<|im_start|>", "system\n"},
              [ROLE_USER] = {"<|im_start|>", "user\n"},
              [ROLE_BOT] = {"<|im_start|>", "assistant\n"}},
     .close = "<|im_end|>\n",
     .needs = {"<|im_start|>", "<|im_end|>"}},
    {.name = "llama3",
     .summary = "<|start_header_id|>user<|end_header_id|>\\n\\nTEXT<|eot_id|>",
     .begin = "<|begin_of_text|>",
     .open = {[ROLE_SYSTEM] = {"<|start_header_id|>system<|end_header_id|>", "\n\n"},
              [ROLE_USER] = {"<|start_header_id|>user<|end_header_id|>", "\n\n"},
              [ROLE_BOT] = {"<|start_header_id|>assistant<|end_header_id|>", "\n\n"}},
     .close = "<|eot_id|>",
     .needs = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    {.name = "plain",
     .summary = "User: TEXT\\n and Bot: TEXT\\n, for base models; a line break ends the bot's turn",
     .open = {[ROLE_SYSTEM] = {"", ""}, [ROLE_USER] = {"", "User: "}, [ROLE_BOT] = {"", "Bot: "}},
     .close = "\n",
     .stop_text = "\n"},
    {.name = "raw",
     .summary = "no marks at all: text goes in as it is and is continued",
     .open = {[ROLE_SYSTEM] = {"", ""}, [ROLE_USER] = {"", ""}, [ROLE_BOT] = {"", ""}},
     .close = ""},
    {.name = NULL},
};

const struct chat_template *template_table(void) {
  return table;
}

void template_choices(char *out, size_t cap) {
  size_t at = 0;
  if (cap > 0) out[0] = '\0';
  for (const struct chat_template *t = table; t->name != NULL && at < cap; t++) {
    int n = snprintf(out + at, cap - at, "%s%s", t == table ? "" : ", ", t->name);
    if (n < 0) return;
    at += (size_t)n;
  }
}

static const char *missing_token(const struct chat_template *c, const struct tokenizer *t) {
  for (size_t i = 0; i < sizeof c->needs / sizeof c->needs[0] && c->needs[i] != NULL; i++) {
    int32_t id = tokenizer_find(t, c->needs[i]);
    if (id < 0 || !tokenizer_is_special(t, id)) return c->needs[i];
  }
  return NULL;
}

sluice_status template_by_name(const char *name, const struct tokenizer *t, const struct chat_template **out,
                               struct sluice_error *err) {
  const char *names[sizeof table / sizeof table[0]];
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    names[i] = table[i].name;
    if (table[i].name == NULL || strcmp(table[i].name, name) != 0) continue;
    const char *missing = missing_token(&table[i], t);
    if (missing != NULL) {
      return sluice_fail(err, SLUICE_USAGE, "chat template %s needs the special token %s, which this tokenizer lacks",
                         name, missing);
    }
    *out = &table[i];
    return SLUICE_OK;
  }
  char choices[256];
  template_choices(choices, sizeof choices);
  const char *near = suggest(name, names);
  return sluice_fail(err, SLUICE_USAGE, "unknown chat template \"%s\"%s%s%s; known: %s", name,
                     near != NULL ? "; did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"?" : "",
                     choices);
}

/* The text of tokenizer_config.json's chat_template: a string, or the "default" of a list of named ones. */
static const char *published_template(const struct cJSON *config) {
  const struct cJSON *c = cJSON_GetObjectItemCaseSensitive(config, "chat_template");
  if (cJSON_IsString(c)) return c->valuestring;
  const struct cJSON *item = NULL;
  cJSON_ArrayForEach(item, c) {
    const struct cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "name");
    const struct cJSON *text = cJSON_GetObjectItemCaseSensitive(item, "template");
    if (cJSON_IsString(name) && cJSON_IsString(text) && strcmp(name->valuestring, "default") == 0) {
      return text->valuestring;
    }
  }
  return NULL;
}

/* A published program fits a table entry when it writes all the tokens that mark turns (BOS is often written as a
 * variable, so `begin` need not occur). What such a program does beyond the marks, such as a default system turn, is
 * left out; docs/engine.md says so. */
static bool published_fits(const struct chat_template *c, const char *published) {
  for (size_t i = 0; i < sizeof c->needs / sizeof c->needs[0] && c->needs[i] != NULL; i++) {
    if (c->begin != NULL && strcmp(c->begin, c->needs[i]) == 0) continue;
    if (strstr(published, c->needs[i]) == NULL) return false;
  }
  return true;
}

/* Newer folders keep the program in a file of its own, which then is what counts. *text is NULL without one. */
static sluice_status read_program(const char *model_dir, char **text, struct sluice_error *err) {
  char *path = sluice_format("%s/chat_template.jinja", model_dir);
  size_t len = 0;
  *text = NULL;
  if (path == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a path");
  sluice_status st = file_exists(path) ? file_read(path, PROGRAM_LIMIT, text, &len, err) : SLUICE_OK;
  free(path);
  return st;
}

sluice_status template_recognise(const char *model_dir, const struct tokenizer *t, const struct chat_template **out,
                                 struct sluice_error *err) {
  *out = NULL;
  if (t == NULL) return SLUICE_OK;
  char *path = sluice_format("%s/tokenizer_config.json", model_dir), *program = NULL;
  if (path == NULL) return sluice_fail(err, SLUICE_NOMEM, "no memory for a path");
  struct cJSON *config = NULL;
  sluice_status st = SLUICE_OK;
  if (file_exists(path)) st = json_read_file(path, false, &config, err);
  free(path);
  if (st == SLUICE_OK) st = read_program(model_dir, &program, err);
  if (st == SLUICE_OK) {
    const char *published = program != NULL ? program : published_template(config);
    for (const struct chat_template *c = table; c->name != NULL && *out == NULL; c++) {
      if (c->needs[0] == NULL || missing_token(c, t) != NULL) continue;
      if (published == NULL || published_fits(c, published)) *out = c;
    }
  }
  cJSON_Delete(config);
  free(program);
  return st;
}

void template_hash(const struct chat_template *t, char hex[2 * SHA256_BYTES + 1]) {
  unsigned char digest[SHA256_BYTES];
  struct sha256_stream *s = sha256_begin();
  hex[0] = '\0';
  if (s == NULL) return;
  const char *parts[] = {t->name,          t->begin,           t->open[0].control, t->open[0].label, t->open[1].control,
                         t->open[1].label, t->open[2].control, t->open[2].label,   t->close,         t->stop_text};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
    const char *part = parts[i] != NULL ? parts[i] : "\x01"; /* "none" hashes apart from "empty" */
    sha256_add(s, part, strlen(part) + 1);
  }
  sha256_end(s, digest);
  hex_of(digest, SHA256_BYTES, hex);
}
