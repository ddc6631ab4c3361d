/* Chat templates: how turns of text become tokens. A table, not an interpreter: a Hugging Face chat_template is a Jinja
 * program, and a model whose program is not in the table is refused rather than fed an almost right prompt. */
#include "engine/talk.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM_LIMIT ((size_t)1 << 20) /* bytes of chat_template.jinja; published ones have some 10 KB */

#define Q TEMPLATE_QUOTE
#define CONTENT "message[" Q "content" Q "]"
#define CHATML_TURNS                                                                                                   \
  .open = {[ROLE_SYSTEM] = {"<|im_start|>", "system\n"},                                                               \
           [ROLE_USER] = {"<|im_start|>", "user\n"},                                                                   \
           [ROLE_BOT] = {"<|im_start|>", "assistant\n"}},                                                              \
  .close = "<|im_end|>\n", .needs = {"<|im_start|>", "<|im_end|>"}
/* Beside chatml's marks: phi-4's, a thought begun for the model, SmolLM3's, Hermes' for tools. */
#define NOT_CHATML                                                                                                     \
  "<|im_sep|>", "assistant\n<think>\n", Q "<think>\n" Q "}}", "## Metadata", "You are a function calling",             \
      "In this environment you"
#define LLAMA3_NEEDS "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"
#define LLAMA3_DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
#define ALL_TRIMMED                                                                                                    \
  { true, true, true }

static const struct chat_template table[] = {
    {.name = "sluice",
     .summary = "the embedded model: <s>, then <|user|>TEXT<|end|> and <|bot|>TEXT<|end|>",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"<|system|>", ""}, [ROLE_USER] = {"<|user|>", ""}, [ROLE_BOT] = {"<|bot|>", ""}},
     .close = "<|end|>",
     .needs = {"<s>", "<|user|>", "<|bot|>", "<|system|>", "<|end|>"}},
    {.name = "yi-1.5",
     .summary = "chatml, but the system's text stands before all turns without a mark",
     .begin = "",
     .open = {[ROLE_SYSTEM] = {"", ""},
              [ROLE_USER] = {"<|im_start|>", "user\n"},
              [ROLE_BOT] = {"<|im_start|>", "assistant\n"}},
     .closes = {[ROLE_SYSTEM] = ""},
     .close = "<|im_end|>\n",
     .needs = {"<|im_start|>", "<|im_end|>"},
     .marks = {"{{system_message}}", "<|im_end|>\n<|im_start|>assistant\n" Q}},
    {.name = "chatml",
     .summary = "<|im_start|>user\\nTEXT<|im_end|>\\n (Qwen and others)",
     .begin = "",
     CHATML_TURNS,
     .strange = {"bos_token", NOT_CHATML},
     .invents = INVENTS_TURN},
    {.name = "chatml-bos",
     .summary = "chatml behind the model's BOS, where the published program writes one (Hermes and others)",
     CHATML_TURNS,
     .marks = {"<|im_start|>", "<|im_end|>", "bos_token"},
     .strange = {NOT_CHATML},
     .invents = INVENTS_TURN},
    {.name = "chatml-think",
     .summary = "chatml with <think>\\n before an answer (QwQ)",
     .begin = "",
     .open = {[ROLE_SYSTEM] = {"<|im_start|>", "system\n"},
              [ROLE_USER] = {"<|im_start|>", "user\n"},
              [ROLE_BOT] = {"<|im_start|>", "assistant\n", "assistant\n<think>\n"}},
     .close = "<|im_end|>\n",
     .needs = {"<|im_start|>", "<|im_end|>"},
     .marks = {"<|im_start|>assistant\n<think>\n" Q "}}"},
     .strange = {"bos_token", "<|im_sep|>", "<think></think>", Q "</think>" Q "}}"},
     .invents = INVENTS_TURN},
    {.name = "yi",
     .summary = "chatml's marks, by the name of the family",
     .begin = "",
     CHATML_TURNS,
     .strange = {""} /* by name alone */},
    {.name = "llama3.1",
     .summary = "llama3, and a system turn that names two dates (Llama 3.1 to 3.3)",
     .begin = "<|begin_of_text|>",
     .open = {[ROLE_SYSTEM] = {"<|start_header_id|>system<|end_header_id|>", "\n\n" LLAMA3_DATES},
              [ROLE_USER] = {"<|start_header_id|>user<|end_header_id|>", "\n\n"},
              [ROLE_BOT] = {"<|start_header_id|>assistant<|end_header_id|>", "\n\n"}},
     .close = "<|eot_id|>",
     .needs = {LLAMA3_NEEDS},
     .marks = {Q "<|start_header_id|>system<|end_header_id|>\n\n" Q "}}",
               Q "Cutting Knowledge Date: December 2023\n" Q "}}", Q "Today Date: " Q "+date_string+" Q "\n\n" Q "}}",
               "26 Jul 2024"},
     .default_system = "",
     .trims = ALL_TRIMMED},
    {.name = "llama3",
     .summary = "<|start_header_id|>user<|end_header_id|>\\n\\nTEXT<|eot_id|>",
     .begin = "<|begin_of_text|>",
     .open = {[ROLE_SYSTEM] = {"<|start_header_id|>system<|end_header_id|>", "\n\n"},
              [ROLE_USER] = {"<|start_header_id|>user<|end_header_id|>", "\n\n"},
              [ROLE_BOT] = {"<|start_header_id|>assistant<|end_header_id|>", "\n\n"}},
     .close = "<|eot_id|>",
     .needs = {LLAMA3_NEEDS},
     .strange = {"Cutting Knowledge Date", "You are capable of executing", "functools"},
     .invents = INVENTS_TURN,
     .trims = ALL_TRIMMED},
    {.name = "llama2",
     .summary = "<s>[INST] TEXT [/INST] ANSWER </s>, the system's text as <<SYS>> in the first of them",
     .begin = "",
     .open =
         {[ROLE_SYSTEM] = {"<s>[INST]", " <<SYS>>\n"}, [ROLE_USER] = {"<s>[INST]", " "}, [ROLE_BOT] = {"", " ", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n<</SYS>>\n\n", [ROLE_USER] = " [/INST]", [ROLE_BOT] = " </s>"},
     .close = " </s>",
     .needs = {"<s>", "</s>"},
     .marks = {"[INST]", "[/INST]", "<<SYS>>"},
     .strange = {"{{bos_token}}", "messages[idx]"},
     .trims = {[ROLE_USER] = true, [ROLE_BOT] = true}},
    {.name = "mistral-large",
     .summary = "mistral-v3, white space around an answer trimmed",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"[INST]", " "}, [ROLE_USER] = {"[INST]", " "}, [ROLE_BOT] = {"", " ", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = "[/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>", "[INST]", "[/INST]"},
     .marks = {"[INST] ", Q "[/INST]" Q, Q " " Q "+" CONTENT ".strip()+eos_token"},
     .strange = {"[SYSTEM_PROMPT]", "<<SYS>>"},
     .trims = {[ROLE_BOT] = true},
     .system_last = true},
    {.name = "mistral-v3-close",
     .summary = "mistral-v3 without a space before the answer",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"[INST]", " "}, [ROLE_USER] = {"[INST]", " "}, [ROLE_BOT] = {"", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = "[/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>", "[INST]", "[/INST]"},
     .marks = {"[INST] ", Q "[/INST]" Q, "{{" CONTENT "+eos_token}}"},
     .strange = {"[SYSTEM_PROMPT]", "<<SYS>>"}},
    {.name = "mistral-v3",
     .summary = "<s>[INST] TEXT[/INST] ANSWER</s>, [INST] being a token",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"[INST]", " "}, [ROLE_USER] = {"[INST]", " "}, [ROLE_BOT] = {"", " ", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = "[/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>", "[INST]", "[/INST]"},
     .marks = {"[INST] ", "[/INST]"},
     .strange = {"[SYSTEM_PROMPT]", "<<SYS>>", " [/INST]"}},
    {.name = "mistral-tekken",
     .summary = "<s>[INST]TEXT[/INST]ANSWER</s> (Mistral Nemo and later)",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"[INST]", ""}, [ROLE_USER] = {"[INST]", ""}, [ROLE_BOT] = {"", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = "[/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>", "[INST]", "[/INST]"},
     .marks = {"[INST]", "[/INST]"},
     .strange = {"[SYSTEM_PROMPT]", "<<SYS>>", "[INST] ", " [/INST]"},
     .system_last = true},
    {.name = "mistral-v1",
     .summary = "<s> [INST] TEXT [/INST] ANSWER</s>",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"", " [INST] "}, [ROLE_USER] = {"", " [INST] "}, [ROLE_BOT] = {"", " ", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = " [/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>"},
     .marks = {Q " [INST] " Q, Q " [/INST]" Q, Q " " Q "+" CONTENT "+eos_token}}"},
     .strange = {"[SYSTEM_PROMPT]", "<<SYS>>"}},
    {.name = "mistral-v0.2",
     .summary = "<s>[INST] TEXT [/INST]ANSWER</s>",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"", "[INST] "}, [ROLE_USER] = {"", "[INST] "}, [ROLE_BOT] = {"", "", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = " [/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>"},
     .marks = {Q "[INST] " Q, Q " [/INST]" Q, "{{" CONTENT "+eos_token}}"},
     .strange = {"[SYSTEM_PROMPT]", "<<SYS>>"}},
    {.name = "mistral-v0.1",
     .summary = "<s>[INST] TEXT [/INST]ANSWER</s> with a space behind",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"", "[INST] "}, [ROLE_USER] = {"", "[INST] "}, [ROLE_BOT] = {"", "", ""}},
     .user_after_system = {"", ""},
     .user_label_after_bot = " [INST] ",
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = " [/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>"},
     .marks = {Q "[INST] " Q, Q " [/INST]" Q, "{{" CONTENT "+eos_token+" Q " " Q "}}"},
     .strange = {"[SYSTEM_PROMPT]", "<<SYS>>"}},
    {.name = "mistral",
     .summary = "<s>[INST] TEXT [/INST] ANSWER</s>",
     .begin = "<s>",
     .open = {[ROLE_SYSTEM] = {"", "[INST] "}, [ROLE_USER] = {"", "[INST] "}, [ROLE_BOT] = {"", " ", ""}},
     .user_after_system = {"", ""},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = " [/INST]", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"<s>", "</s>"},
     .marks = {"[INST]", "[/INST]"},
     .strange = {"[SYSTEM_PROMPT]", "<<SYS>>"}},
    {.name = "vicuna-spaced",
     .summary = "vicuna with a space before every USER:",
     .open =
         {[ROLE_SYSTEM] = {"", ""}, [ROLE_USER] = {"", " USER: "}, [ROLE_BOT] = {"", " ASSISTANT: ", " ASSISTANT:"}},
     .closes = {[ROLE_SYSTEM] = "", [ROLE_USER] = "", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"</s>"},
     .marks = {Q " USER: " Q "+" CONTENT ".strip()}}", Q " ASSISTANT: " Q "+" CONTENT ".strip()+eos_token}}",
               "{{" Q " ASSISTANT:" Q "}}", "{{system_message}}"},
     .invents = INVENTS_MESSAGE,
     .trims = {[ROLE_USER] = true, [ROLE_BOT] = true}},
    {.name = "vicuna-lines",
     .summary = "SYSTEM\\n\\nUSER: TEXT\\nASSISTANT: ANSWER</s>\\n",
     .open = {[ROLE_SYSTEM] = {"", ""}, [ROLE_USER] = {"", "USER: "}, [ROLE_BOT] = {"", "ASSISTANT: ", "ASSISTANT:"}},
     .closes = {[ROLE_SYSTEM] = "\n\n", [ROLE_USER] = "\n", [ROLE_BOT] = "</s>\n"},
     .close = "</s>\n",
     .needs = {"</s>"},
     .marks = {"USER: " Q "+" CONTENT, "ASSISTANT: " Q "+" CONTENT, "{{" Q "ASSISTANT:" Q "}}", Q "\n" Q, Q "\n\n" Q},
     .strange = {"SYSTEM: "}},
    {.name = "vicuna",
     .summary = "SYSTEM USER: TEXT ASSISTANT: ANSWER</s>",
     .open = {[ROLE_SYSTEM] = {"", ""}, [ROLE_USER] = {"", "USER: "}, [ROLE_BOT] = {"", " ASSISTANT: ", " ASSISTANT:"}},
     .user_after_system = {"", " USER: "},
     .closes = {[ROLE_SYSTEM] = "", [ROLE_USER] = "", [ROLE_BOT] = "</s>"},
     .close = "</s>",
     .needs = {"</s>"},
     .marks = {"USER:", "ASSISTANT:"},
     .strange = {"SYSTEM: "}},
    {.name = "phi3",
     .summary = "<|user|>\\nTEXT<|end|>\\n<|assistant|>\\n",
     .begin = "",
     .open =
         {[ROLE_SYSTEM] = {"<|system|>", "\n"}, [ROLE_USER] = {"<|user|>", "\n"}, [ROLE_BOT] = {"<|assistant|>", "\n"}},
     .close = "<|end|>\n",
     .needs = {"<|user|>", "<|assistant|>", "<|end|>"},
     .strange = {"bos_token", "[BEGIN FINAL RESPONSE]"}},
    {.name = "zephyr",
     .summary = "<|user|>\\nTEXT</s>\\n<|assistant|>\\n, the marks being text (TinyLlama)",
     .begin = "",
     .open =
         {[ROLE_SYSTEM] = {"", "<|system|>\n"}, [ROLE_USER] = {"", "<|user|>\n"}, [ROLE_BOT] = {"", "<|assistant|>\n"}},
     .close = "</s>\n",
     .needs = {"</s>"},
     .marks = {"<|user|>", "<|assistant|>", "eos_token"},
     .strange = {"[BEGIN FINAL RESPONSE]"}},
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
#undef Q

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

/* A published program fits a table entry when its canonical form holds the entry's marks, which are the tokens that
 * mark turns where nothing else is said (BOS is often written as a variable, so `begin` need not occur), and nothing
 * strange. */
static bool published_fits(const struct chat_template *c, const char *canonical) {
  const bool own = c->marks[0] != NULL;
  const char *const *marks = own ? c->marks : c->needs;
  const size_t n = own ? sizeof c->marks / sizeof c->marks[0] : sizeof c->needs / sizeof c->needs[0];
  for (size_t i = 0; i < n && marks[i] != NULL; i++) {
    if (!own && c->begin != NULL && strcmp(c->begin, marks[i]) == 0) continue;
    if (strstr(canonical, marks[i]) == NULL) return false;
  }
  for (size_t i = 0; i < sizeof c->strange / sizeof c->strange[0] && c->strange[i] != NULL; i++)
    if (strstr(canonical, c->strange[i]) != NULL) return false;
  return true;
}

sluice_status template_match(const char *published, const struct tokenizer *t, struct recognised_template *out,
                             struct sluice_error *err) {
  struct buffer canonical;
  buffer_init(&canonical, 0);
  *out = (struct recognised_template){0};
  sluice_status st = published != NULL ? template_canonical(published, &canonical, err) : SLUICE_OK;
  for (const struct chat_template *c = table; st == SLUICE_OK && c->name != NULL && out->chat == NULL; c++) {
    if (c->needs[0] == NULL || missing_token(c, t) != NULL) continue;
    if (published != NULL ? published_fits(c, canonical.ptr) : c->marks[0] == NULL) out->chat = c;
  }
  if (st == SLUICE_OK && published != NULL && out->chat != NULL)
    st = template_invented(out->chat, canonical.ptr, &out->system, err);
  buffer_free(&canonical);
  return st;
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

sluice_status template_recognise(const char *model_dir, const struct tokenizer *t, struct recognised_template *out,
                                 struct sluice_error *err) {
  *out = (struct recognised_template){0};
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
    st = template_match(published, t, out, err);
  }
  cJSON_Delete(config);
  free(program);
  return st;
}

static void add_part(struct sha256_stream *s, const char *part) {
  if (part == NULL) part = "\x01"; /* "none" hashes apart from "empty" */
  sha256_add(s, part, strlen(part) + 1);
}

void template_hash(const struct chat_template *t, const char *system, char hex[2 * SHA256_BYTES + 1]) {
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
                        t->user_after_system.label,
                        t->user_label_after_bot};
  bool any = false; /* templates without these hash as they did before there were any */
  for (size_t i = 0; i < sizeof more / sizeof more[0]; i++) any = any || more[i] != NULL;
  for (size_t i = 0; any && i < sizeof more / sizeof more[0]; i++) add_part(s, more[i]);
  if (system != NULL || t->default_system != NULL) add_part(s, system != NULL ? system : t->default_system);
  if (t->trims[ROLE_USER] || t->trims[ROLE_BOT]) add_part(s, t->trims[ROLE_SYSTEM] ? "trims all" : "trims");
  sha256_end(s, digest);
  hex_of(digest, SHA256_BYTES, hex);
}
