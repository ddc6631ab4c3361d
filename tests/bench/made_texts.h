/* Texts of many kinds that benches make from a seed; prose is a novel where $SLUICE_DATA/english_novels is. */
#ifndef SLUICE_TESTS_BENCH_MADE_TEXTS_H
#define SLUICE_TESTS_BENCH_MADE_TEXTS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

enum { NOVEL_BYTES = 8 << 20 };

struct text_kind {
  const char *name;
  sluice_status (*line)(struct rng *rng, struct buffer *out, struct sluice_error *err);
};

static const char *pick(struct rng *rng, const char *const *words, size_t n) {
  return words[rng_below(rng, (uint32_t)n)];
}
#define PICK(rng, words) pick(rng, words, sizeof words / sizeof *words)

static sluice_status digits_of(struct rng *rng, const char *alphabet, unsigned n, struct buffer *out,
                               struct sluice_error *err) {
  char bytes[128];
  uint32_t size = (uint32_t)strlen(alphabet);
  for (unsigned i = 0; i < n; i++) bytes[i] = alphabet[rng_below(rng, size)];
  return buffer_append(out, bytes, n, err);
}

static sluice_status prose_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const starts[] = {"The harbour was quiet", "He took the rope from her hands",
                                       "Rain had been falling", "A single lamp was burning",
                                       "\"You are late,\" said the old man"};
  static const char *const ends[] = {" when the last boat came in. ", " without another word; ", " since noon. ",
                                     " in the customs house, and nobody spoke. ", ".\n\n"};
  const char *start = PICK(rng, starts);
  return buffer_printf(out, err, "%s%s", start, PICK(rng, ends));
}

static sluice_status code_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const names[] = {"state",        "token_end", "n_keys", "buffer",
                                      "password_len", "at",        "offset", "secret"};
  const char *a = PICK(rng, names), *b = PICK(rng, names), *c = PICK(rng, names);
  switch (rng_below(rng, 5)) {
  case 0:
    return buffer_printf(out, err, "  if (%s->%s < %u) return fail(err, \"%s: no memory for %%zu bytes\", %s);\n", a, b,
                         rng_below(rng, 4096), c, a);
  case 1:
    return buffer_printf(out, err, "  for (size_t i = 0; i < %s->n; i++) %s[i] = (uint8_t)(%s >> %u & 0xff);\n", a, b,
                         c, 8 * rng_below(rng, 4));
  case 2:
    return buffer_printf(out, err, "static const uint32_t %s_%s[] = {0x%08x, 0x%08x, %u};\n", a, b,
                         (uint32_t)rng_u64(rng), (uint32_t)rng_u64(rng), rng_below(rng, 100000));
  case 3:
    return buffer_printf(out, err, "  memcpy(%s + %s, %s, sizeof *%s); /* whole rows only, see %s() */\n", a, b, c, a,
                         b);
  default:
    return buffer_printf(out, err, "}\n\n/* The %s of a %s. */\nstatic int %s_of(const struct %s *%s) {\n", a, b, a, b,
                         c);
  }
}

static sluice_status json_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const levels[] = {"info", "info", "debug", "warn", "error"};
  static const char *const what[] = {"request done", "connection reset by peer", "cache miss", "retry scheduled"};
  const char *level = PICK(rng, levels);
  sluice_status st = buffer_printf(
      out, err, "{\"ts\":\"2026-03-%02uT%02u:%02u:%02u.%06uZ\",\"level\":\"%s\",\"msg\":\"%s\",\"status\":%u,",
      1 + rng_below(rng, 28), rng_below(rng, 24), rng_below(rng, 60), rng_below(rng, 60), rng_below(rng, 1000000),
      level, PICK(rng, what), 200 + rng_below(rng, 304));
  if (!st)
    st = buffer_printf(out, err, "\"latency_ms\":%u.%03u,\"peer\":\"10.%u.%u.%u:%u\",\"trace\":\"", rng_below(rng, 900),
                       rng_below(rng, 1000), rng_below(rng, 256), rng_below(rng, 256), rng_below(rng, 256),
                       1024 + rng_below(rng, 60000));
  if (!st) st = digits_of(rng, "0123456789abcdef", 32, out, err);
  return st ? st : buffer_append_str(out, "\"}\n", err);
}

static sluice_status base64_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  sluice_status st = digits_of(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", 76, out, err);
  return st ? st : buffer_append_str(out, "\n", err);
}

static sluice_status csv_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_printf(out, err, "%u", 100000 + rng_below(rng, 900000));
  for (int i = 0; i < 8 && !st; i++)
    st = i % 2 ? buffer_printf(out, err, ",%u.%02u", rng_below(rng, 10000), rng_below(rng, 100))
               : buffer_printf(out, err, ",%u", rng_below(rng, 1u << (8 + i)));
  return st ? st : buffer_append_str(out, "\n", err);
}

static sluice_status languages_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const lines[] = {
      /* clang-format off: it counts wide characters twice */
      "昨夜はずっと雨が降っていて、港には誰もいなかった。",
      "最后一班船进港的时候，码头上静悄悄的。\n",
      "كان الميناء هادئا عندما وصل القارب الأخير. ",
      "Der Regen fällt seit Mittag; über den Dächern hängt Nebel. ",
      "Гавань была тиха, когда пришла последняя лодка. ",
      "부두에는 아무도 없었고 비만 내리고 있었다. ",
      "Le café était fermé, et l’été déjà loin… ",
      "हवा चल रही थी और नाव धीरे-धीरे आ रही थी। ",
      "👩‍🚀🚀✨ yes!! 🎉🎉 ",
      "Το λιμάνι ήταν ήσυχο. ",
      "The harbour was quiet. ",
      /* clang-format on */
  };
  return buffer_append_str(out, PICK(rng, lines), err);
}

static sluice_status dense_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const names[] = {"api_key",    "session", "client_secret", "checksum",
                                      "auth_token", "commit",  "access"};
  sluice_status st = buffer_printf(out, err, "%s = \"", PICK(rng, names));
  if (!st) st = digits_of(rng, "0123456789abcdef", 32, out, err);
  return st ? st : buffer_append_str(out, "\"\n", err);
}

static sluice_status dialogue_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const asks[] = {"Could you find me a table for two in San Jose on Friday?",
                                     "What time does the 8:15 train get in, and is there one after it?",
                                     "I'd like to book a room from the 3rd to the 7th of May, please.",
                                     "Remind me to call my sister about the keys at half past six.",
                                     "Which of these three costs less than $40 a night?"};
  static const char *const answers[] = {"Certainly! I found 12 places; the nearest is Olive Garden, 1.4 miles away.",
                                        "It arrives at 10:42, platform 9. The next one leaves at 9:05.",
                                        "Done. Your reservation is confirmed; you'll get a message shortly.",
                                        "I've set that up. Is there anything else I can help with?",
                                        "The second one: $36.50, breakfast included."};
  const char *ask = PICK(rng, asks);
  return buffer_printf(out, err, "User: %s\nAssistant: %s\n\n", ask, PICK(rng, answers));
}

static sluice_status hex_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  sluice_status st = digits_of(rng, "0123456789abcdef", 64, out, err);
  return st ? st : buffer_append_str(out, "\n", err);
}

static sluice_status request_line(struct rng *rng, struct buffer *out, struct sluice_error *err) {
  static const char *const what[] = {"GET /v1/models 200", "POST /v1/chat/completions 200", "GET /metrics 304",
                                     "PUT /items/7731 503"};
  sluice_status st = buffer_printf(out, err, "2026-03-%02u %02u:%02u:%02u,%03u [%u] 192.168.%u.%u:%u \"%s\" ",
                                   1 + rng_below(rng, 28), rng_below(rng, 24), rng_below(rng, 60), rng_below(rng, 60),
                                   rng_below(rng, 1000), 1000 + rng_below(rng, 30000), rng_below(rng, 256),
                                   rng_below(rng, 256), 1024 + rng_below(rng, 60000), PICK(rng, what));
  return st ? st
            : buffer_printf(out, err, "%u bytes in %u.%03us id=%u-%u\n", rng_below(rng, 1000000), rng_below(rng, 9),
                            rng_below(rng, 1000), 100000 + rng_below(rng, 900000), rng_below(rng, 100000));
}

static const struct text_kind made_texts[] = {
    {"prose", prose_line},   {"code", code_line},         {"json", json_line},
    {"base64", base64_line}, {"csv", csv_line},           {"languages", languages_line},
    {"dense", dense_line},   {"dialogue", dialogue_line}, {"hex", hex_line},
    {"logs", request_line},
};
enum { MADE_TEXTS = sizeof made_texts / sizeof *made_texts };

static sluice_status read_novels(struct buffer *out, size_t bytes, struct sluice_error *err) {
  const char *dir = getenv("SLUICE_DATA");
  char *path = sluice_format("%s/english_novels/Gaskell_Wives_1865.txt", dir && dir[0] ? dir : "build/data"),
       *text = NULL;
  size_t len = 0;
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "no memory for a path");
  sluice_status st = file_exists(path) ? file_read(path, NOVEL_BYTES, &text, &len, err) : SLUICE_OK;
  while (!st && len && out->len < bytes)
    st = buffer_append(out, text, len < bytes - out->len ? len : bytes - out->len, err);
  free(text);
  free(path);
  return st;
}

static inline sluice_status made_text(size_t kind, size_t bytes, struct buffer *out, struct sluice_error *err) {
  struct rng rng;
  rng_seed(&rng, 7);
  buffer_clear(out);
  sluice_status st = kind == 0 ? read_novels(out, bytes, err) : SLUICE_OK;
  while (!st && out->len < bytes) st = made_texts[kind].line(&rng, out, err);
  return st;
}

#endif
