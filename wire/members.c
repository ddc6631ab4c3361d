/* What dialects ask of a validated object: members by type, and the strings inside a structure. */
#include "wire/dialect.h"

#include <stdlib.h>
#include <string.h>

bool member_of(struct slice json, struct json_span o, const char *key, enum json_type type, struct json_span *out) {
  return o.type == JSON_OBJECT && json_span_member(json, o, key, out) && out->type == type;
}

bool member_is(struct slice json, struct json_span o, const char *key, const char *word) {
  struct json_span v;
  return member_of(json, o, key, JSON_STRING, &v) &&
         slice_is((struct slice){json.ptr + v.start + 1, v.end - v.start - 2}, word);
}

int64_t whole_number(struct slice json, struct json_span o, const char *key, int64_t fallback) {
  struct json_span v;
  char digits[24];
  if (!member_of(json, o, key, JSON_NUMBER, &v) || v.end - v.start >= sizeof digits) return fallback;
  memcpy(digits, json.ptr + v.start, v.end - v.start);
  digits[v.end - v.start] = '\0';
  char *end = NULL;
  int64_t n = strtoll(digits, &end, 10);
  return *end ? fallback : n;
}

sluice_status add_string(struct slice json, struct json_span o, const char *key, struct wire_key k, struct sketch *s,
                         struct sluice_error *err) {
  struct json_span v;
  if (!member_of(json, o, key, JSON_STRING, &v)) return SLUICE_OK;
  return sketch_add_text(s, (struct sketch_text){.key = k, .value = v}, err);
}

/* ---- the strings inside a structure: one pass over bytes that are known to be JSON ---- */

static size_t string_end(struct slice json, size_t at) { /* at: its first quote */
  for (at++; json.ptr[at] != '"'; at++) at += json.ptr[at] == '\\';
  return at + 1;
}

static size_t skip_space(struct slice json, size_t at, size_t end) {
  while (at < end && strchr(" \t\r\n", json.ptr[at]) && json.ptr[at]) at++;
  return at;
}

static size_t value_end(struct slice json, size_t at, size_t end) { /* of an array or object */
  size_t depth = 0;
  while (at < end) {
    char c = json.ptr[at];
    if (c == '"') {
      at = string_end(json, at);
      continue;
    }
    at++;
    if (c == '[' || c == '{') depth++;
    if ((c == ']' || c == '}') && --depth == 0) break;
  }
  return at;
}

static bool starts_number(char c) {
  return c == '-' || (c >= '0' && c <= '9');
}

static sluice_status add_piece(struct sketch *s, struct wire_key k, enum json_type type, size_t start, size_t end,
                               struct sluice_error *err) {
  if (start == end) return SLUICE_OK;
  return sketch_add_text(s, (struct sketch_text){.key = k, .value = {type, start, end}}, err);
}

sluice_status add_structure(struct slice json, struct json_span v, struct wire_key k, struct sketch *s,
                            struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  size_t at = v.start, gap = v.start; /* gap: where the bytes since the last piece begin */
  bool any = false;
  while (!st && at < v.end) {
    char c = json.ptr[at];
    if (c != '"' && !starts_number(c)) {
      at++;
      continue;
    }
    size_t from = at;
    if (c == '"')
      at = string_end(json, at);
    else
      while (at < v.end && (starts_number(json.ptr[at]) || strchr(".eE+", json.ptr[at]))) at++;
    bool string = c == '"';
    st = add_piece(s, k, JSON_OBJECT, gap, from + string, err);
    if (!st) st = add_piece(s, k, string ? JSON_STRING : JSON_NUMBER, from, at, err);
    gap = at - string;
    any = true;
  }
  return st || !any ? st : add_piece(s, k, JSON_OBJECT, gap, v.end, err);
}

static bool key_is(struct slice key, const char *const *list) {
  while (*list && !slice_is(key, *list)) list++;
  return *list != NULL;
}

/* What strings a structure's walk makes texts of. */
enum manner {
  WHOLE,  /* each string a text of its own that is whole in this frame */
  JOINED, /* all are pieces of one text */
  BY_KEY, /* those of one key are pieces of one text, which goes on in later frames */
  MIXED   /* BY_KEY where the key is one that servers stream, else WHOLE */
};

static bool is_streamed(struct slice key) {
  static const char *const parts[] = {"content", "reason", "think", "text", "refusal", "summary", "input", "arg"};
  bool any = false;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
    any |= memmem(key.ptr, key.len, parts[i], strlen(parts[i])) != NULL;
  return any;
}

static uint64_t mix_key(uint64_t h, struct slice key) {
  for (size_t i = 0; i < key.len; i++) h = (h ^ (unsigned char)key.ptr[i]) * 0x100000001b3u;
  return h;
}

/* A picture or sound as a data: URL (RFC 2397), all of it base64: no text, and long enough for short rules to match. */
static bool is_picture(struct slice s) {
  static const char *const heads[] = {"data:image/", "data:audio/", "data:video/"};
  static const char mark[] = ";base64,";
  bool any = false;
  for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
    any |= s.len > strlen(heads[i]) && memcmp(s.ptr, heads[i], strlen(heads[i])) == 0;
  if (!any) return false;
  const char *comma = memchr(s.ptr, ',', s.len);
  if (!comma || comma - s.ptr > 64 || comma - s.ptr < 20) return false;
  if (memcmp(comma + 2 - sizeof mark, mark, sizeof mark - 1) != 0) return false;
  for (const char *at = s.ptr + strlen(heads[0]); at < comma; at++)
    if (!memchr(";=.+-_", *at, 6) && !((*at | 32) >= 'a' && (*at | 32) <= 'z') && !(*at >= '0' && *at <= '9'))
      return false;
  for (const char *at = comma + 1, *end = s.ptr + s.len; at < end; at++)
    if (!memchr("+/=", *at, 3) && !(*at == '\\' && at + 1 < end && at[1] == '/') &&
        !((*at | 32) >= 'a' && (*at | 32) <= 'z') && !(*at >= '0' && *at <= '9'))
      return false;
  return true;
}

/* Where a string stands: the keys around it, so that what one server says under the same key in two places (LiteLLM's
 * thinking) is two texts. Objects deeper than this count as one. */
enum { WALK_DEPTH = 16 };
struct walk_place {
  uint64_t around[WALK_DEPTH];
  size_t depth;
};

static void place_enter(struct walk_place *p, struct slice key) {
  size_t at = p->depth < WALK_DEPTH ? p->depth : WALK_DEPTH - 1;
  p->depth++;
  if (p->depth < WALK_DEPTH) p->around[p->depth] = mix_key(p->around[at] ^ '{', key);
}

static int64_t index_at(const struct walk_place *p, struct slice key) {
  uint64_t h = mix_key(p->around[p->depth < WALK_DEPTH ? p->depth : WALK_DEPTH - 1], key);
  return ((int64_t)1 << 30) + (int64_t)((h ^ h >> 32) & 0xFFFFFF);
}

static sluice_status add_found(struct sketch *s, struct wire_key k, enum manner manner, struct slice key,
                               const struct walk_place *place, struct json_span v, bool aside,
                               struct sluice_error *err) {
  if (manner == MIXED) manner = is_streamed(key) ? BY_KEY : WHOLE;
  struct sketch_text t = {.key = k, .value = v, .group = manner == WHOLE ? ++s->groups : 0, .aside = aside};
  if (manner == BY_KEY) t.key.index = index_at(place, key);
  return sketch_add_text(s, t, err);
}

/* key: of v itself. */
static sluice_status walk_values(struct slice json, struct json_span v, struct slice key, struct wire_key k,
                                 enum manner manner, bool aside, struct sketch *s, struct sluice_error *err) {
  static const char *const no_text[] = {"type",
                                        "id",
                                        "tool_use_id",
                                        "tool_call_id",
                                        "item_id",
                                        "call_id",
                                        "signature",
                                        "thought_signature",
                                        "status",
                                        "object",
                                        "role",
                                        "encrypted_content",
                                        "encrypted_index",
                                        "partial_image_b64",
                                        "b64_json",
                                        NULL};
  static const char *const spelled_out[] = {"logprobs", NULL};
  struct walk_place place = {.around = {0xcbf29ce484222325u ^ (uint64_t)k.index}};
  sluice_status st = SLUICE_OK;
  for (size_t at = v.start; !st && at < v.end;) {
    char c = json.ptr[at];
    if (c == '[' && key_is(key, spelled_out)) {
      struct json_span list = {JSON_ARRAY, at, value_end(json, at, v.end)};
      st = add_logprobs(json, list, (struct sketch_logprobs){k.choice, list, "[]"}, k, true, s, err);
      at = list.end;
    } else if (c == '"') {
      size_t end = string_end(json, at), next = skip_space(json, end, v.end);
      bool is_key = next < v.end && json.ptr[next] == ':';
      bool text = !is_key && end - at > 2 && !key_is(key, no_text);
      if (text && !is_picture((struct slice){json.ptr + at + 1, end - at - 2}))
        st = add_found(s, k, manner, key, &place, (struct json_span){JSON_STRING, at, end}, aside, err);
      key = is_key ? (struct slice){json.ptr + at + 1, end - at - 2} : key;
      at = is_key ? next + 1 : end;
      continue;
    } else {
      if (c == '{') place_enter(&place, key);
      if (c == '}' && place.depth > 0) place.depth--;
      if (c == '{' || c == '}' || c == ']') key = (struct slice){"", 0};
      at++;
    }
  }
  return st;
}

sluice_status add_values(struct slice json, struct json_span v, struct wire_key k, bool joined, struct sketch *s,
                         struct sluice_error *err) {
  return walk_values(json, v, (struct slice){"", 0}, k, joined ? JOINED : WHOLE, false, s, err);
}

const char *const choice_words[] = {"index",
                                    "logprobs",
                                    "finish_reason",
                                    "native_finish_reason",
                                    "stop_reason",
                                    "matched_stop",
                                    "content_filter_results",
                                    "content_filter_result",
                                    "content_filter_offsets",
                                    NULL};

/* ---- members in order, every one of those that stand twice ---- */

bool next_member(struct slice json, struct json_span o, const struct sketch *s, struct member *m) {
  if (o.type != JSON_OBJECT || !json_span_next_member(json, o, &m->key, &m->value)) return false;
  struct member later = *m;
  m->again = 0;
  if (!s->repeats) return true;
  struct buffer name;
  struct sluice_error ignored = {0};
  buffer_init(&name, 0);
  bool plain = !json_span_decode(json, m->key, &name, &ignored) && !buffer_append(&name, "", 1, &ignored);
  while (plain && json_span_next_member(json, o, &later.key, &later.value))
    m->again += json_span_key_is(json, later.key, name.ptr);
  buffer_free(&name);
  return true;
}

bool member_named(struct slice json, const struct member *m, const char *name) {
  return json_span_key_is(json, m->key, name);
}

bool member_among(struct slice json, const struct member *m, const char *const *names) {
  while (*names && !json_span_key_is(json, m->key, *names)) names++;
  return *names != NULL;
}

sluice_status add_member_text(const struct member *m, struct wire_key k, struct sketch *s, struct sluice_error *err) {
  enum { REPEATED = 1 << 29 };
  k.index +=
      m->again * REPEATED; /* a reader who takes the first of two sees another text than one who takes the last */
  return sketch_add_text(s, (struct sketch_text){.key = k, .value = m->value}, err);
}

sluice_status add_rest(struct slice json, const struct member *m, struct wire_key k, bool goes_on, struct sketch *s,
                       struct sluice_error *err) {
  struct slice key = {json.ptr + m->key.start + 1, m->key.end - m->key.start - 2};
  bool pieces = goes_on && (m->value.type == JSON_STRING || is_streamed(key));
  enum manner manner = pieces ? BY_KEY : goes_on ? MIXED : WHOLE;
  return walk_values(json, m->value, key, k, manner, true, s, err);
}
