/* Chat templates: how turns of text become tokens. A table, not an interpreter: a Hugging Face chat_template is a Jinja
 * program, and a model whose program is not in the table is refused rather than fed an almost right prompt. */
#include "engine/talk.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM_LIMIT ((size_t)1 << 20) /* bytes of chat_template.jinja; published ones have some 10 KB */

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

void template_choices(char *out, size_t cap) {
  size_t at = 0;
  if (cap > 0) out[0] = '\0';
  for (const struct chat_template *t = template_table(); t->name != NULL && at < cap; t++) {
    int n = snprintf(out + at, cap - at, "%s%s", t == template_table() ? "" : ", ", t->name);
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
  const struct chat_template *table = template_table();
  const char *names[TEMPLATES_MAX] = {0};
  for (size_t i = 0; table[i].name != NULL; i++) { /* names ends with a NULL as the table does */
    names[i] = table[i].name;
    if (strcmp(table[i].name, name) != 0) continue;
    const char *missing = missing_token(&table[i], t);
    if (missing != NULL) {
      return sluice_fail(err, SLUICE_USAGE, "chat template %s needs the special token %s, which this tokenizer lacks",
                         name, missing);
    }
    *out = &table[i];
    return SLUICE_OK;
  }
  char choices[640];
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
  return template_has_shape(c, canonical);
}

sluice_status template_match(const char *published, const struct tokenizer *t, struct recognised_template *out,
                             struct sluice_error *err) {
  struct buffer canonical;
  buffer_init(&canonical, 0);
  *out = (struct recognised_template){0};
  sluice_status st = published != NULL ? template_canonical(published, &canonical, err) : SLUICE_OK;
  for (const struct chat_template *c = template_table(); st == SLUICE_OK && c->name != NULL && out->chat == NULL; c++) {
    if (c->needs[0] == NULL || missing_token(c, t) != NULL) continue;
    if (published != NULL ? published_fits(c, canonical.ptr) : c->marks[0] == NULL) out->chat = c;
  }
  if (st == SLUICE_OK && published != NULL && out->chat != NULL) {
    out->traits = template_traits_of(canonical.ptr);
    st = template_invented(out->chat, canonical.ptr, &out->system, err);
  }
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

void template_hash(const struct chat_template *t, const char *system, const struct template_traits *traits,
                   char hex[2 * SHA256_BYTES + 1]) {
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
  if (traits->drops_empty_system) add_part(s, "no empty system");
  if (traits->drops_thoughts) add_part(s, traits->drops_lines_behind ? "no thoughts, no lines" : "no thoughts");
  if (traits->thought_in_front != NULL) add_part(s, traits->thought_in_front);
  sha256_end(s, digest);
  hex_of(digest, SHA256_BYTES, hex);
}
