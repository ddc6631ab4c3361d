/* Requests of OpenAI's Chat Completions and Completions, as a server reads them. A field that this server cannot honour
 * is refused by name: a client that asked for JSON or tools must not get free text in their place. */
#include "wire/dialect.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 32 << 20 }; /* bytes of all texts of a request */

struct reading {
  struct slice json;
  struct wire_request *r;
  size_t text_left;
};

/* ---- numbers, flags, strings ---- */

static bool present(struct slice json, struct json_span o, const char *key, struct json_span *v) {
  return json_span_member(json, o, key, v) && v->type != JSON_NULL;
}

static sluice_status read_number(struct slice json, struct json_span o, const char *key, double low, double high,
                                 double *out, struct sluice_error *err) {
  struct json_span v;
  char digits[40], *end = NULL;
  if (!present(json, o, key, &v)) return SLUICE_OK;
  if (v.type != JSON_NUMBER || v.end - v.start >= sizeof digits)
    return sluice_fail(err, SLUICE_INPUT, "%s: a number from %g to %g is needed", key, low, high);
  memcpy(digits, json.ptr + v.start, v.end - v.start);
  digits[v.end - v.start] = '\0';
  double x = strtod(digits, &end);
  if (*end || !(x >= low && x <= high))
    return sluice_fail(err, SLUICE_INPUT, "%s: %s is not a number from %g to %g", key, digits, low, high);
  *out = x;
  return SLUICE_OK;
}

static sluice_status read_whole(struct slice json, struct json_span o, const char *key, int64_t low, int64_t high,
                                int64_t *out, struct sluice_error *err) {
  struct json_span v;
  double x = NAN;
  struct sluice_error in_words = {0};
  if (!present(json, o, key, &v)) return SLUICE_OK;
  if (read_number(json, o, key, (double)low, (double)high, &x, &in_words) || x != floor(x))
    return sluice_fail(err, SLUICE_INPUT, "%s: a whole number from %lld to %lld is needed, not %.*s", key,
                       (long long)low, (long long)high, (int)(v.end - v.start > 40 ? 40 : v.end - v.start),
                       json.ptr + v.start);
  *out = (int64_t)x;
  return SLUICE_OK;
}

static sluice_status read_flag(struct slice json, struct json_span o, const char *key, bool *out,
                               struct sluice_error *err) {
  struct json_span v;
  if (!present(json, o, key, &v)) return SLUICE_OK;
  if (v.type != JSON_TRUE && v.type != JSON_FALSE)
    return sluice_fail(err, SLUICE_INPUT, "%s: true or false is needed", key);
  *out = v.type == JSON_TRUE;
  return SLUICE_OK;
}

/* Decodes a string into the request's memory, behind what `text` holds (a message in parts). */
static sluice_status take_text(struct reading *g, struct json_span v, struct slice *text, struct sluice_error *err) {
  struct buffer all;
  buffer_init(&all, g->text_left);
  sluice_status st = buffer_append(&all, text->ptr, text->len, err);
  if (!st) st = json_span_decode(g->json, v, &all, err);
  if (st == SLUICE_LIMIT) st = sluice_fail(err, SLUICE_LIMIT, "messages: more than %d MiB of text", TEXT_MAX >> 20);
  char *copy = st ? NULL : arena_alloc(&g->r->memory, all.len + 1);
  if (!st && !copy) st = sluice_fail(err, SLUICE_NOMEM, "no memory for a request");
  if (!st) {
    if (all.len) memcpy(copy, all.ptr, all.len);
    g->text_left -= all.len;
    *text = (struct slice){copy, all.len};
  }
  buffer_free(&all);
  return st;
}

static sluice_status read_text(struct reading *g, struct json_span o, const char *key, struct slice *out,
                               struct sluice_error *err) {
  struct json_span v;
  if (!present(g->json, o, key, &v)) return SLUICE_OK;
  if (v.type != JSON_STRING) return sluice_fail(err, SLUICE_INPUT, "%s: a string is needed", key);
  return take_text(g, v, out, err);
}

static sluice_status read_stops(struct reading *g, struct json_span o, struct sluice_error *err) {
  struct json_span v, each = {0};
  struct wire_request *r = g->r;
  if (!present(g->json, o, "stop", &v)) return SLUICE_OK;
  if (v.type == JSON_STRING) {
    r->n_stop = 1;
    return take_text(g, v, &r->stop[0], err);
  }
  if (v.type != JSON_ARRAY) return sluice_fail(err, SLUICE_INPUT, "stop: a string or a list of strings is needed");
  for (size_t i = 0; json_span_next(g->json, v, &each); i++) {
    if (i == WIRE_STOPS_MAX) return sluice_fail(err, SLUICE_INPUT, "stop: more than %d strings", WIRE_STOPS_MAX);
    if (each.type != JSON_STRING) return sluice_fail(err, SLUICE_INPUT, "stop.%zu: a string is needed", i);
    sluice_status st = take_text(g, each, &r->stop[r->n_stop++], err);
    if (st) return st;
  }
  return SLUICE_OK;
}

/* ---- what would change the answer, and is not known here ---- */

struct refused {
  const char *key;
  enum json_type harmless; /* a value of this type asks for nothing */
  const char *word;        /* nor does this string */
};
static const struct refused refused[] = {{"functions", JSON_NULL, NULL},
                                         {"chat_template", JSON_NULL, NULL},
                                         {"audio", JSON_NULL, NULL},
                                         {"prediction", JSON_NULL, NULL},
                                         {"suffix", JSON_NULL, NULL},
                                         {"guided_json", JSON_NULL, NULL},
                                         {"guided_regex", JSON_NULL, NULL},
                                         {"grammar", JSON_NULL, NULL},
                                         {"guided_choice", JSON_NULL, NULL},
                                         {"guided_grammar", JSON_NULL, NULL},
                                         {"json_schema", JSON_NULL, NULL},
                                         {"bad_words", JSON_NULL, NULL},
                                         {"stop_token_ids", JSON_NULL, NULL},
                                         {"documents", JSON_NULL, NULL},
                                         {"prompt_embeds", JSON_NULL, NULL},
                                         {"ignore_eos", JSON_FALSE, NULL},
                                         {"structured_outputs", JSON_NULL, NULL},
                                         {"allowed_token_ids", JSON_NULL, NULL},
                                         {"web_search_options", JSON_NULL, NULL},
                                         {"include_stop_str_in_output", JSON_FALSE, NULL},
                                         {"truncate_prompt_tokens", JSON_NULL, NULL},
                                         {"function_call", JSON_NULL, "none"},
                                         {"use_beam_search", JSON_FALSE, NULL}};

/* Ways to sample of vLLM and llama.cpp's server, and the number that asks for nothing. */
static const struct {
  const char *key;
  double neutral;
} neutral_numbers[] = {{"min_tokens", 0},     {"length_penalty", 1}, {"typical_p", 1},      {"mirostat", 0},
                       {"repeat_penalty", 1}, {"tfs_z", 1},          {"dynatemp_range", 0}, {"xtc_probability", 0},
                       {"dry_multiplier", 0}, {"top_a", 0}};

static sluice_status refuse_sampling(struct slice json, struct json_span root, struct sluice_error *err) {
  for (size_t i = 0; i < sizeof neutral_numbers / sizeof *neutral_numbers; i++) {
    const char *key = neutral_numbers[i].key;
    double x = neutral_numbers[i].neutral;
    sluice_status st = read_number(json, root, key, -1e9, 1e9, &x, err);
    if (st) return st;
    if (x != neutral_numbers[i].neutral)
      return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: this server does not know it; leave it out", key);
  }
  return SLUICE_OK;
}

/* What goes to the model's template: Qwen3's switch is known. */
static sluice_status read_template_words(struct slice json, struct json_span root, bool *no_thought,
                                         struct sluice_error *err) {
  struct json_span words, key = {0}, value = {0};
  bool thinks = true;
  sluice_status st = read_flag(json, root, "enable_thinking", &thinks, err);
  if (!st && member_of(json, root, "chat_template_kwargs", JSON_OBJECT, &words)) {
    while (json_span_next_member(json, words, &key, &value))
      if (!json_span_key_is(json, key, "enable_thinking"))
        return sluice_fail(err, SLUICE_UNSUPPORTED, "chat_template_kwargs: this server knows enable_thinking alone");
    st = read_flag(json, words, "enable_thinking", &thinks, err);
  }
  *no_thought = !thinks;
  return st;
}

/* {"50256": -100, ...} */
static sluice_status read_biases(struct reading *g, struct json_span root, struct sluice_error *err) {
  enum { MOST = 1024 };
  struct json_span object, key = {0}, value = {0};
  struct wire_request *r = g->r;
  size_t n = 0;
  if (!present(g->json, root, "logit_bias", &object)) return SLUICE_OK;
  if (object.type != JSON_OBJECT) return sluice_fail(err, SLUICE_INPUT, "logit_bias: an object is needed");
  while (json_span_next_member(g->json, object, &key, &value)) n++;
  if (n > MOST) return sluice_fail(err, SLUICE_LIMIT, "logit_bias: more than %d tokens", MOST);
  r->bias = arena_alloc(&r->memory, (n + 1) * sizeof *r->bias);
  if (!r->bias) return sluice_fail(err, SLUICE_NOMEM, "no memory for a request");
  key = value = (struct json_span){0};
  while (json_span_next_member(g->json, object, &key, &value)) {
    char id[16] = "", number[40] = "", *end = NULL;
    const size_t digits = key.end - key.start - 2, len = value.end - value.start;
    if (digits < sizeof id) memcpy(id, g->json.ptr + key.start + 1, digits);
    if (value.type == JSON_NUMBER && len < sizeof number) memcpy(number, g->json.ptr + value.start, len);
    const double added = strtod(number, &end);
    char *rest = NULL;
    const long token = strtol(id, &rest, 10);
    const bool whole = digits > 0 && digits < 10 && id[0] >= '0' && id[0] <= '9' && *rest == '\0';
    if (!whole || end == number || *end || !(added >= -100 && added <= 100))
      return sluice_fail(err, SLUICE_INPUT, "logit_bias: \"%s\": a token id and a number from -100 to 100 are needed",
                         id);
    r->bias[r->n_bias++] = (struct wire_bias){(int32_t)token, added};
  }
  return SLUICE_OK;
}

/* Tools that may not be called change no answer. Where the model may choose, nobody here would read its choice. */
static sluice_status refuse_tools(struct slice json, struct json_span root, struct sluice_error *err) {
  struct json_span v;
  const bool chosen = present(json, root, "tool_choice", &v);
  if (chosen && member_is(json, root, "tool_choice", "none")) return SLUICE_OK;
  if (chosen && !member_is(json, root, "tool_choice", "auto"))
    return sluice_fail(err, SLUICE_UNSUPPORTED, "tool_choice: this server calls no tools; \"none\" is served");
  if (!present(json, root, "tools", &v) || (v.type == JSON_ARRAY && json_span_count(json, v) == 0)) return SLUICE_OK;
  return sluice_fail(err, SLUICE_UNSUPPORTED,
                     "tools: this server calls none; leave them out, or say \"tool_choice\":\"none\"");
}

static sluice_status refuse_unknown(struct slice json, struct json_span root, struct sluice_error *err) {
  struct json_span v, type;
  for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
    if (!present(json, root, refused[i].key, &v) || v.type == refused[i].harmless) continue;
    if (refused[i].word && member_is(json, root, refused[i].key, refused[i].word)) continue;
    bool list = v.type == JSON_ARRAY || v.type == JSON_OBJECT;
    if ((list || v.type == JSON_STRING) && v.end - v.start == 2) continue; /* [], {} or "" */
    return sluice_fail(err, SLUICE_UNSUPPORTED, "%s: this server does not know it; leave it out", refused[i].key);
  }
  if (present(json, root, "response_format", &v) && v.type == JSON_OBJECT && json_span_member(json, v, "type", &type) &&
      !member_is(json, v, "type", "text"))
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "response_format: this server writes text; leave it out, or ask for {\"type\":\"text\"}");
  double best_of = 0, n = 1;
  sluice_status counted = read_number(json, root, "best_of", 1, WIRE_CHOICES_MAX, &best_of, err);
  if (!counted) counted = read_number(json, root, "n", 1, WIRE_CHOICES_MAX, &n, err);
  if (!counted && best_of > n)
    counted = sluice_fail(err, SLUICE_UNSUPPORTED, "best_of: this server makes no more answers than it gives (n)");
  if (!counted) counted = refuse_tools(json, root, err);
  return counted ? counted : refuse_sampling(json, root, err);
}

/* ---- messages and prompts ---- */

/* A part: text, or what an assistant said in refusing. */
static bool is_text_part(struct slice json, struct json_span part, struct json_span *text) {
  if (member_is(json, part, "type", "text")) return member_of(json, part, "text", JSON_STRING, text);
  return member_is(json, part, "type", "refusal") && member_of(json, part, "refusal", JSON_STRING, text);
}

static sluice_status read_content(struct reading *g, struct json_span message, size_t at, struct slice *out,
                                  struct sluice_error *err) {
  struct json_span v, part = {0}, text;
  const bool said = g->r->messages[at].role == WIRE_ASSISTANT;
  if (!present(g->json, message, "content", &v)) {
    if (said && member_of(g->json, message, "refusal", JSON_STRING, &text)) return take_text(g, text, out, err);
    if (said) return SLUICE_OK; /* an empty turn */
    v.type = JSON_NULL;
  }
  if (v.type == JSON_STRING) return take_text(g, v, out, err);
  if (v.type != JSON_ARRAY)
    return sluice_fail(err, SLUICE_INPUT, "messages.%zu.content: a string or a list of parts is needed", at);
  for (size_t i = 0; json_span_next(g->json, v, &part); i++) {
    if (!is_text_part(g->json, part, &text))
      return sluice_fail(err, SLUICE_UNSUPPORTED, "messages.%zu.content.%zu: this server reads parts of type text only",
                         at, i);
    sluice_status st = take_text(g, text, out, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

static sluice_status read_message(struct reading *g, struct json_span o, size_t at, struct sluice_error *err) {
  static const struct {
    const char *word;
    enum wire_role role;
  } roles[] = {{"user", WIRE_USER}, {"assistant", WIRE_ASSISTANT}, {"system", WIRE_SYSTEM}, {"developer", WIRE_SYSTEM}};
  struct wire_message *m = &g->r->messages[at];
  struct json_span calls;
  size_t i = 0, n = sizeof roles / sizeof *roles;
  while (i < n && !member_is(g->json, o, "role", roles[i].word)) i++;
  if (i == n)
    return sluice_fail(err, SLUICE_UNSUPPORTED,
                       "messages.%zu.role: system, developer, user or assistant is needed; this server knows no tools",
                       at);
  if (present(g->json, o, "tool_calls", &calls) && json_span_count(g->json, calls))
    return sluice_fail(err, SLUICE_UNSUPPORTED, "messages.%zu.tool_calls: this server knows no tools", at);
  m->role = roles[i].role;
  return read_content(g, o, at, &m->text, err);
}

static sluice_status read_messages(struct reading *g, struct json_span root, struct sluice_error *err) {
  struct json_span list, each = {0};
  struct wire_request *r = g->r;
  size_t n = member_of(g->json, root, "messages", JSON_ARRAY, &list) ? json_span_count(g->json, list) : 0;
  if (n == 0 || n > WIRE_MESSAGES_MAX)
    return sluice_fail(err, SLUICE_INPUT, "messages: a list of 1 to %d messages is needed", WIRE_MESSAGES_MAX);
  r->messages = arena_alloc(&r->memory, n * sizeof *r->messages);
  if (!r->messages) return sluice_fail(err, SLUICE_NOMEM, "no memory for a request");
  r->n_messages = n;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && json_span_next(g->json, list, &each); i++) st = read_message(g, each, i, err);
  return st;
}

static sluice_status not_a_prompt(struct sluice_error *err) {
  return sluice_fail(err, SLUICE_INPUT,
                     "prompt: a string, a list of token ids, or a list of 1 to %d of these is needed",
                     WIRE_CHOICES_MAX);
}

/* [1, 2, 3]. Whether the model has such tokens the engine says. */
static sluice_status take_ids(struct reading *g, struct json_span list, struct wire_prompt *out,
                              struct sluice_error *err) {
  struct json_span each = {0};
  const size_t n = json_span_count(g->json, list);
  if (n == 0) return not_a_prompt(err);
  if (n > g->text_left / sizeof *out->ids)
    return sluice_fail(err, SLUICE_LIMIT, "prompt: more than %d MiB of token ids", TEXT_MAX >> 20);
  g->text_left -= n * sizeof *out->ids;
  out->ids = arena_alloc(&g->r->memory, n * sizeof *out->ids);
  if (!out->ids) return sluice_fail(err, SLUICE_NOMEM, "no memory for a request");
  while (json_span_next(g->json, list, &each)) {
    char digits[16], *end = digits;
    const size_t len = each.end - each.start;
    if (each.type == JSON_NUMBER && len < sizeof digits) {
      memcpy(digits, g->json.ptr + each.start, len);
      digits[len] = '\0';
      const long id = strtol(digits, &end, 10);
      if (*end == '\0' && id >= 0 && id <= INT32_MAX)
        out->ids[out->n_ids++] = (int32_t)id;
      else
        end = digits;
    }
    if (end == digits)
      return sluice_fail(err, SLUICE_INPUT, "prompt: token id %zu is no whole number from 0 to %d", out->n_ids,
                         INT32_MAX);
  }
  return SLUICE_OK;
}

static sluice_status take_prompt(struct reading *g, struct json_span v, struct wire_prompt *out,
                                 struct sluice_error *err) {
  if (v.type == JSON_STRING) return take_text(g, v, &out->text, err);
  return v.type == JSON_ARRAY ? take_ids(g, v, out, err) : not_a_prompt(err);
}

static sluice_status read_prompts(struct reading *g, struct json_span root, struct sluice_error *err) {
  struct json_span v = {0}, each = {0}, first = {0};
  struct wire_request *r = g->r;
  if (!json_span_member(g->json, root, "prompt", &v)) return not_a_prompt(err);
  const bool several = v.type == JSON_ARRAY && json_span_next(g->json, v, &first) && first.type != JSON_NUMBER;
  const size_t n = several ? json_span_count(g->json, v) : 1;
  if (n > WIRE_CHOICES_MAX) return not_a_prompt(err);
  r->prompts = arena_alloc(&r->memory, n * sizeof *r->prompts);
  if (!r->prompts) return sluice_fail(err, SLUICE_NOMEM, "no memory for a request");
  memset(r->prompts, 0, n * sizeof *r->prompts);
  r->n_prompts = n;
  if (!several) return take_prompt(g, v, &r->prompts[0], err);
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && json_span_next(g->json, v, &each); i++) st = take_prompt(g, each, &r->prompts[i], err);
  return st;
}

/* ---- the rest ---- */

/* Chat: a flag and a number; Completions: the number alone. */
static sluice_status read_logprobs(struct slice json, struct json_span root, struct wire_request *r,
                                   struct sluice_error *err) {
  struct json_span v;
  r->top_logprobs = 0;
  if (r->chat) {
    sluice_status st = read_flag(json, root, "logprobs", &r->logprobs, err);
    if (!st) st = read_whole(json, root, "top_logprobs", 0, WIRE_TOP_MAX, &r->top_logprobs, err);
    if (!st && r->top_logprobs > 0 && !r->logprobs)
      st = sluice_fail(err, SLUICE_INPUT, "top_logprobs: it goes with \"logprobs\":true");
    return st;
  }
  r->logprobs = present(json, root, "logprobs", &v) && v.type != JSON_FALSE;
  return r->logprobs && v.type != JSON_TRUE ? read_whole(json, root, "logprobs", 0, WIRE_TOP_MAX, &r->top_logprobs, err)
                                            : SLUICE_OK;
}

/* 64 bits, more than a double holds. */
static sluice_status read_seed(struct slice json, struct json_span root, int64_t *out, struct sluice_error *err) {
  struct json_span v;
  char digits[24] = "", *end = NULL;
  if (!present(json, root, "seed", &v)) return SLUICE_OK;
  const size_t len = v.end - v.start;
  if (v.type == JSON_NUMBER && len < sizeof digits) memcpy(digits, json.ptr + v.start, len);
  errno = 0;
  const long long x = strtoll(digits, &end, 10);
  if (end == digits || *end || errno)
    return sluice_fail(err, SLUICE_INPUT, "seed: a whole number of 64 bits is needed");
  *out = x;
  return SLUICE_OK;
}

static sluice_status read_sampling(struct slice json, struct json_span root, struct wire_request *r,
                                   struct sluice_error *err) {
  sluice_status st = read_whole(json, root, "max_tokens", r->chat ? 1 : 0, INT32_MAX, &r->max_tokens, err);
  if (!st) st = read_whole(json, root, "max_completion_tokens", 1, INT32_MAX, &r->max_tokens, err);
  if (!st) st = read_whole(json, root, "n", 1, WIRE_CHOICES_MAX, &r->n, err);
  if (!st) st = read_seed(json, root, &r->seed, err);
  if (!st) st = read_whole(json, root, "top_k", -1, INT32_MAX, &r->top_k, err);
  if (!st) st = read_number(json, root, "temperature", 0, 2, &r->temperature, err);
  if (!st) st = read_number(json, root, "top_p", 0, 1, &r->top_p, err);
  if (!st) st = read_number(json, root, "min_p", 0, 1, &r->min_p, err);
  if (!st) st = read_number(json, root, "repetition_penalty", 0.01, 100, &r->repetition_penalty, err);
  if (!st) st = read_number(json, root, "frequency_penalty", -2, 2, &r->frequency_penalty, err);
  if (!st) st = read_number(json, root, "presence_penalty", -2, 2, &r->presence_penalty, err);
  return st;
}

static sluice_status read_all(struct reading *g, struct json_span root, struct sluice_error *err) {
  struct wire_request *r = g->r;
  struct json_span options;
  sluice_status st = refuse_unknown(g->json, root, err);
  if (!st) st = read_text(g, root, "model", &r->model, err);
  if (!st) st = read_text(g, root, "user", &r->user, err);
  if (!st) st = r->chat ? read_messages(g, root, err) : read_prompts(g, root, err);
  if (!st) st = read_sampling(g->json, root, r, err);
  if (!st) st = read_flag(g->json, root, "stream", &r->stream, err);
  if (!st) st = read_flag(g->json, root, "echo", &r->echo, err);
  if (!st && member_of(g->json, root, "stream_options", JSON_OBJECT, &options))
    st = read_flag(g->json, options, "include_usage", &r->include_usage, err);
  if (!st) st = read_logprobs(g->json, root, r, err);
  if (!st) st = read_stops(g, root, err);
  if (!st) st = read_biases(g, root, err);
  if (!st && r->chat) st = read_template_words(g->json, root, &r->no_thought, err);
  if (!st && r->n_prompts * (size_t)r->n > WIRE_CHOICES_MAX)
    return sluice_fail(err, SLUICE_INPUT, "n: %zu prompts times %lld are more than %d choices", r->n_prompts,
                       (long long)r->n, WIRE_CHOICES_MAX);
  return st;
}

sluice_status wire_request_read(bool chat, struct slice json, struct wire_request *out, struct sluice_error *err) {
  struct json_span root;
  *out = (struct wire_request){.chat = chat,
                               .n = 1,
                               .max_tokens = -1,
                               .seed = -1,
                               .top_k = -1,
                               .temperature = NAN,
                               .top_p = NAN,
                               .min_p = NAN,
                               .repetition_penalty = NAN};
  struct reading g = {json, out, TEXT_MAX};
  sluice_status st = json_span_root(json, &root, err);
  if (!st && root.type != JSON_OBJECT) st = sluice_fail(err, SLUICE_INPUT, "the body: a JSON object is needed");
  return st ? st : read_all(&g, root, err);
}

void wire_request_free(struct wire_request *r) {
  arena_free(&r->memory);
  *r = (struct wire_request){0};
}
