/* Policy strings: "name:key=value,...", joined by '+' where policies compose. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engine/policies/policy.h"

sluice_status policy_tokens(const struct spec *spec, const char *key, uint32_t fallback, uint32_t min, uint32_t *out,
                            struct sluice_error *err) {
  int64_t value;
  sluice_status st = spec_int(spec, key, fallback, min, POLICY_TOKENS_MAX, &value, err);
  if (!st) *out = (uint32_t)value;
  return st;
}

sluice_status policy_budget(const struct spec *spec, const char *rest, uint32_t taken, uint32_t fallback,
                            struct policy_settings *s, uint32_t *part, struct sluice_error *err) {
  if (!spec_get(spec, "budget")) {
    sluice_status st = policy_tokens(spec, rest, fallback, 1, part, err);
    s->budget = taken + *part;
    return st;
  }
  if (spec_get(spec, rest))
    return sluice_fail(err, SLUICE_USAGE, "%s: budget is the total, and sets %s; give one of the two", spec->name,
                       rest);
  sluice_status st = policy_tokens(spec, "budget", 1024, 1, &s->budget, err);
  if (st) return st;
  if (s->budget <= taken)
    return sluice_fail(err, SLUICE_USAGE, "%s: budget=%u leaves no token for %s: %u are taken already", spec->name,
                       s->budget, rest, taken);
  *part = s->budget - taken;
  return SLUICE_OK;
}

static const struct policy_family *find_family(const char *name) {
  for (const struct policy_family *const *f = policy_families; *f; f++)
    if (strcmp((*f)->name, name) == 0) return *f;
  return NULL;
}

static sluice_status fail_unknown(const char *name, struct sluice_error *err) {
  const char *names[32];
  char list[256] = "";
  size_t n = 0;
  for (const struct policy_family *const *f = policy_families; *f; f++) {
    names[n++] = (*f)->name;
    const size_t used = strlen(list);
    snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", (*f)->name);
  }
  names[n] = NULL;
  const char *near = suggest(name, names);
  if (near) return sluice_fail(err, SLUICE_USAGE, "no cache policy \"%.80s\"; did you mean \"%s\"?", name, near);
  return sluice_fail(err, SLUICE_USAGE, "no cache policy \"%.80s\"; there are %s", name, list);
}

/* A '+' before a letter joins two policies; one inside a number (1e+3) does not. */
static const char *find_join(const char *text) {
  for (const char *at = strchr(text, '+'); at; at = strchr(at + 1, '+'))
    if (!isdigit((unsigned char)at[1])) return at;
  return NULL;
}

static sluice_status parse_one(const char *text, const struct policy_family **family, struct policy_settings *settings,
                               struct sluice_error *err) {
  struct spec spec;
  sluice_status st = spec_parse(text, &spec, err);
  if (st) return st == SLUICE_NOMEM ? st : sluice_fail_in(err, "cache policy");
  memset(settings, 0, sizeof *settings);
  *family = find_family(spec.name);
  if (!*family) st = fail_unknown(spec.name, err);
  if (!st) st = spec_check_keys(&spec, (*family)->known_keys, err);
  if (!st) st = (*family)->configure(&spec, settings, err);
  if (st && *family) sluice_fail_in(err, "cache policy");
  spec_free(&spec);
  return st;
}

sluice_status policy_parse(const char *text, const struct policy_family **family, struct policy_settings *settings,
                           struct sluice_error *err) {
  const char *join = find_join(text);
  if (!join) return parse_one(text, family, settings, err);
  const char *first_name = NULL;
  for (const char *at = text; at;) { /* every part must be right by itself before the pair is judged */
    const char *end = find_join(at);
    char *part = sluice_strndup(at, end ? (size_t)(end - at) : strlen(at));
    if (!part) return sluice_fail(err, SLUICE_NOMEM, "out of memory");
    sluice_status st = parse_one(part, family, settings, err);
    free(part);
    if (st) return st;
    if (!first_name) first_name = (*family)->name;
    at = end ? end + 1 : NULL;
  }
  return sluice_fail(
      err, SLUICE_UNSUPPORTED,
      "cache policy \"%.200s\": %s and %s both decide which tokens stay, so they cannot be joined; choose one", text,
      first_name, (*family)->name);
}

sluice_status policy_canonical(const struct policy_family *family, const struct policy_settings *s, char **out,
                               struct sluice_error *err) {
  struct buffer text;
  buffer_init(&text, 1024);
  sluice_status st = buffer_append_str(&text, family->name, err);
  if (!st && family->describe) st = family->describe(s, &text, err);
  if (st) {
    buffer_free(&text);
    return st;
  }
  *out = buffer_take(&text, NULL);
  return *out ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "out of memory");
}

sluice_status policy_check(const char *policy, char **canonical, struct sluice_error *err) {
  const struct policy_family *family;
  struct policy_settings settings;
  sluice_status st = policy_parse(policy ? policy : "full", &family, &settings, err);
  return st || !canonical ? st : policy_canonical(family, &settings, canonical, err);
}
