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
     .needs = {"<|im_start|>", "<|im_end|>"},
     .strange = "bos_token"},
    {.name = "chatml-bos",
     .summary = "chatml behind the model's BOS, where the published program writes one (Hermes and others)",
     .open = {[ROLE_SYSTEM] = {"<|im_start|>", "system\n"},
              [ROLE_USER] = {"<|im_start|>", "user\n"},
              [ROLE_BOT] = {"<|im_start|>", "assistant\n"}},
     .close = "<|im_end|>\n",
     .needs = {"<|im_start|>", "<|im_end|>"},
     .marks = {"<|im_start|>", "<|im_end|>", "bos_token"}},
    {.name = "yi",
     .summary = "chatml's marks, by the name of the family",
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
    {.name = "llama2",
     .summary = "<s>[INST] TEXT [/INST] ANSWER </s>, the system's text as <<SYS>> in the first of them",
     .begin = "",
     .open =
         {[ROLE_SYSTEM] = {"<s>[INST]", " <<SYS>>\n"}, [ROLE_USER] = {"<s>[INST]", " "}, [ROLE_BOT] = {"", " ", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n<</SYS>>\n\n", [ROLE_USER] = " [/INST]", [ROLE_BOT] = " </s>"},
     .close = " </s>",
     .needs = {"<s>", "</s>"},
     .marks = {"[INST]", "[/INST]", "<<SYS>>"}},
    {.name = "mistral-v3",
     .summary = "<s>[INST] TEXT[/INST] ANSWER</s>, [INST] being a token",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"[INST]", " "}, [ROLE_USER] = {"[INST]", " "}, [ROLE_BOT] = {"", " ", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = "[/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>", "[INST]", "[/INST]"},
     .marks = {"[INST] ", "[/INST]"},
     .strange = "[SYSTEM_PROMPT]"},
    {.name = "mistral-tekken",
     .summary = "<s>[INST]TEXT[/INST]ANSWER</s> (Mistral Nemo and later)",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"[INST]", ""}, [ROLE_USER] = {"[INST]", ""}, [ROLE_BOT] = {"", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = "[/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>", "[INST]", "[/INST]"},
     .marks = {"[INST]", "[/INST]"},
     .strange = "[SYSTEM_PROMPT]"},
    {.name = "mistral",
     .summary = "<s>[INST] TEXT [/INST] ANSWER</s>",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"", "[INST] "}, [ROLE_USER] = {"", "[INST] "}, [ROLE_BOT] = {"", " ", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = " [/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>"},
     .marks = {"[INST]", "[/INST]"},
     .strange = "[SYSTEM_PROMPT]"},
    {.name = "vicuna",
     .summary = "SYSTEM USER: TEXT ASSISTANT: ANSWER</s>",
     .open = {[ROLE_SYSTEM] = {"", ""}, [ROLE_USER] = {"", "USER: "}, [ROLE_BOT] = {"", " ASSISTANT: ", " ASSISTANT:"}},
     .user_after_system = {"", " USER: "},
     .closes = {[ROLE_SYSTEM] = "", [ROLE_USER] = "", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"</s>"},
     .marks = {"USER:", "ASSISTANT:"}},
    {.name = "phi3",
     .summary = "<|user|>\\nTEXT<|end|>\\n<|assistant|>\\n",
     .begin = "",
     .open =
         {[ROLE_SYSTEM] = {"<|system|>", "\n"}, [ROLE_USER] = {"<|user|>", "\n"}, [ROLE_BOT] = {"<|assistant|>", "\n"}},
     .close = "<|end|>\n",
     .needs = {"<|user|>", "<|assistant|>", "<|end|>"}},
    {.name = "zephyr",
     .summary = "<|user|>\\nTEXT</s>\\n<|assistant|>\\n, the marks being text (TinyLlama)",
     .begin = "",
     .open =
         {[ROLE_SYSTEM] = {"", "<|system|>\n"}, [ROLE_USER] = {"", "<|user|>\n"}, [ROLE_BOT] = {"", "<|assistant|>\n"}},
     .close = "</s>\n",
     .needs = {"</s>"},
     .marks = {"<|user|>", "<|assistant|>", "eos_token"}},
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

const char *template_close(const struct chat_template *c, enum role role) {
  return c->closes[role] != NULL ? c->closes[role] : c->close;
}

bool template_ends_in_text(const struct chat_template *c, enum role role) {
  const char *close = template_close(c, role);
  const size_t n = strlen(close);
  for (size_t i = 0; i < sizeof c->needs / sizeof c->needs[0] && c->needs[i] != NULL; i++) {
    const size_t k = strlen(c->needs[i]);
    if (n >= k && strcmp(close + n - k, c->needs[i]) == 0) return false;
  }
  return true;
}

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
  char choices[512];
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

/* A published program fits a table entry when it writes the entry's marks, which are the tokens that mark turns where
 * nothing else is said (BOS is often written as a variable, so `begin` need not occur). What such a program does beyond
 * the marks, such as a default system turn, is left out; docs/engine.md says so. */
static bool published_fits(const struct chat_template *c, const char *published) {
  const bool own = c->marks[0] != NULL;
  const char *const *marks = own ? c->marks : c->needs;
  const size_t n = own ? sizeof c->marks / sizeof c->marks[0] : sizeof c->needs / sizeof c->needs[0];
  for (size_t i = 0; i < n && marks[i] != NULL; i++) {
    if (!own && c->begin != NULL && strcmp(c->begin, marks[i]) == 0) continue;
    if (strstr(published, marks[i]) == NULL) return false;
  }
  return c->strange == NULL || strstr(published, c->strange) == NULL;
}

const struct chat_template *template_match(const char *published, const struct tokenizer *t) {
  for (const struct chat_template *c = table; c->name != NULL; c++) {
    if (c->needs[0] == NULL || missing_token(c, t) != NULL) continue;
    if (published != NULL ? published_fits(c, published) : c->marks[0] == NULL) return c;
  }
  return NULL;
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
    *out = template_match(published, t);
  }
  cJSON_Delete(config);
  free(program);
  return st;
}

static void add_part(struct sha256_stream *s, const char *part) {
  if (part == NULL) part = "\x01"; /* "none" hashes apart from "empty" */
  sha256_add(s, part, strlen(part) + 1);
}

void template_hash(const struct chat_template *t, char hex[2 * SHA256_BYTES + 1]) {
  unsigned char digest[SHA256_BYTES];
  struct sha256_stream *s = sha256_begin();
  hex[0] = '\0';
  if (s == NULL) return;
  const char *parts[] = {t->name,          t->begin,           t->open[0].control, t->open[0].label, t->open[1].control,
                         t->open[1].label, t->open[2].control, t->open[2].label,   t->close,         t->stop_text};
  for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) add_part(s, parts[i]);
  const char *more[] = {t->closes[0],
                        t->closes[1],
                        t->closes[2],
                        t->open[0].bare,
                        t->open[1].bare,
                        t->open[2].bare,
                        t->user_after_system.control,
                        t->user_after_system.label};
  bool any = false; /* templates without these hash as they did before there were any */
  for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) any = any || more[i] != NULL;
  for (size_t i = 0; any && i < sizeof more / sizeof more[0]; i++) add_part(s, more[i]);
  sha256_end(s, digest);
  hex_of(digest, SHA256_BYTES, hex);
}
