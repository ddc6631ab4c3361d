#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "engine/tokenizer/split.h"

static sluice_status compile(struct splitter *s, const char *where, const char *pattern, uint32_t options,
                             struct sluice_error *err) {
  int code = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &offset, NULL);
  if (!re) {
    char why[160] = "";
    if (code == PCRE2_ERROR_HEAP_FAILED)
      return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory for the pattern", where);
    pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
    return sluice_fail(err, SLUICE_INPUT, "%s: the splitting pattern is wrong at offset %zu of \"%.200s\": %s", where,
                       offset, pattern, why);
  }
  pcre2_jit_compile(re, PCRE2_JIT_COMPLETE); /* not everywhere available: the interpreter gives the same matches */
  s->code = re;
  return SLUICE_OK;
}

sluice_status splitter_open(struct splitter *s, const char *where, const char *pattern, bool literal,
                            struct sluice_error *err) {
  if (literal) return compile(s, where, pattern, PCRE2_UTF | PCRE2_LITERAL, err);
  struct buffer translated;
  buffer_init(&translated, 0);
  sluice_status st = pattern_translate(where, pattern, &translated, err);
  /* \C could leave a match in the middle of a character, after which the next search would start on an invalid byte. */
  if (!st)
    st = compile(s, where, translated.ptr,
                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE /* ^ and $, as in Ruby */ | PCRE2_NEVER_BACKSLASH_C, err);
  buffer_free(&translated);
  return st;
}

void splitter_close(struct splitter *s) {
  pcre2_code_free(s->code);
  s->code = NULL;
}

/* What stays the same over one call of split_text. */
struct split_run {
  const struct splitter *splits;
  size_t n;
  pcre2_match_data *match;
  split_fn fn;
  void *ctx;
};

/* Finds the next match of `re` that is not empty at or after `from`: *start == len when there is none. */
static sluice_status next_match(const struct split_run *run, const pcre2_code *re, const char *text, size_t len,
                                size_t from, size_t *start, size_t *end, struct sluice_error *err) {
  *start = *end = len;
  while (from < len) {
    uint32_t options = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    int rc = pcre2_match(re, (PCRE2_SPTR)text, len, from, options, run->match, NULL);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
      rc = pcre2_match(re, (PCRE2_SPTR)text, len, from, options | PCRE2_NO_JIT, run->match, NULL);
    if (rc == PCRE2_ERROR_NOMATCH) return SLUICE_OK;
    if (rc < 0) {
      char why[160] = "";
      pcre2_get_error_message(rc, (PCRE2_UCHAR *)why, sizeof why);
      return sluice_fail(err, rc == PCRE2_ERROR_NOMEMORY ? SLUICE_NOMEM : SLUICE_LIMIT,
                         "the tokenizer's splitting pattern gave up at byte %zu of %zu: %s", from, len, why);
    }
    const PCRE2_SIZE *o = pcre2_get_ovector_pointer(run->match);
    if (o[0] >= from && o[1] > o[0] && o[1] <= len) {
      *start = o[0];
      *end = o[1];
      return SLUICE_OK;
    }
    /* Only \K in a look-around gets here: its "match" lies outside what was consumed. */
    return sluice_fail(err, SLUICE_UNSUPPORTED, "the tokenizer's splitting pattern moves a match's start with \\K");
  }
  return SLUICE_OK;
}

static sluice_status split_level(const struct split_run *run, size_t level, const char *text, size_t len,
                                 struct sluice_error *err) {
  if (len == 0) return SLUICE_OK;
  if (level == run->n) return run->fn(run->ctx, text, len, err);
  for (size_t at = 0; at < len;) {
    size_t start, end;
    sluice_status st = next_match(run, run->splits[level].code, text, len, at, &start, &end, err);
    if (!st) st = split_level(run, level + 1, text + at, start - at, err);
    if (!st) st = split_level(run, level + 1, text + start, end - start, err);
    if (st) return st;
    at = end;
  }
  return SLUICE_OK;
}

/* Bytes from the front of text that start no valid character. */
static size_t invalid_run(const char *text, size_t len) {
  size_t n = 0;
  uint32_t codepoint;
  while (n < len && utf8_decode(text + n, len - n, &codepoint) <= 0) n++;
  return n;
}

sluice_status split_text(const struct splitter *splits, size_t n, struct slice text, split_fn fn, void *ctx,
                         struct sluice_error *err) {
  struct split_run run = {splits, n, pcre2_match_data_create(1, NULL), fn, ctx};
  if (!run.match) return sluice_fail(err, SLUICE_NOMEM, "out of memory for a pattern match");
  sluice_status st = SLUICE_OK;
  for (size_t at = 0; !st && at < text.len;) {
    size_t bad;
    size_t valid = utf8_valid_prefix(text.ptr + at, text.len - at, &bad);
    st = split_level(&run, 0, text.ptr + at, valid, err);
    at += valid;
    if (st || at == text.len) break;
    size_t invalid = invalid_run(text.ptr + at, text.len - at);
    if (invalid == 0) { /* utf8_valid_prefix and utf8_decode disagree: never loop on it */
      st = sluice_fail(err, SLUICE_INTERNAL, "UTF-8 validation stopped at a valid character");
      break;
    }
    st = fn(ctx, text.ptr + at, invalid, err);
    at += invalid;
  }
  pcre2_match_data_free(run.match);
  return st;
}
