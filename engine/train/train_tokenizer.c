/* Training a byte-level BPE vocabulary (Sennrich et al. 2016): count the words of a corpus, then merge the most
 * frequent neighbouring pair until the vocabulary is full. Counts are kept per pair and changed only where a merge
 * happens. The result depends on the bytes of the corpus alone: of equally frequent pairs the one with the smallest
 * bytes is merged. */
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/train/bpe_merges.h"
#include "engine/tokenizer/split.h"

enum {
  MAX_WORD = 256,      /* bytes; what runs on longer without a cut is counted in parts */
  MAX_LINE = 64 << 20, /* bytes of one line of JSON */
  FIRST_MERGE = BPE_SPECIALS + 256
};

/* The order is the contract: their ids are 0, 1, 2 and so on. */
static const char *const specials[BPE_SPECIALS] = {"<s>", "<|end|>", "<|user|>", "<|bot|>", "<|system|>"};

struct counting {
  struct splitter splitter;
  struct word_table words;
};

static sluice_status count_piece(void *ctx, const char *piece, size_t len, struct sluice_error *err) {
  struct counting *c = ctx;
  for (size_t at = 0; at < len; at += MAX_WORD) {
    sluice_status st = word_table_add(&c->words, piece + at, len - at < MAX_WORD ? len - at : MAX_WORD, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

static size_t special_at(const char *text, size_t len) {
  for (size_t i = 0; i < BPE_SPECIALS; i++) {
    size_t n = strlen(specials[i]);
    if (n <= len && memcmp(text, specials[i], n) == 0) return n;
  }
  return 0;
}

/* The markers of turns are cut out: they are ids of their own, never the work of merges. */
static sluice_status count_text(struct counting *c, const char *text, size_t len, struct sluice_error *err) {
  size_t plain = 0;
  for (size_t i = 0; i < len;) {
    const char *open = memchr(text + i, '<', len - i);
    if (!open) break;
    i = (size_t)(open - text);
    size_t n = special_at(open, len - i);
    if (n == 0) {
      i++;
      continue;
    }
    struct slice before = {text + plain, i - plain};
    sluice_status st = split_text(&c->splitter, 1, before, count_piece, c, err);
    if (st) return st;
    i += n;
    plain = i;
  }
  struct slice rest = {text + plain, len - plain};
  return split_text(&c->splitter, 1, rest, count_piece, c, err);
}

static sluice_status count_line(struct counting *c, struct slice line, struct buffer *text, struct sluice_error *err) {
  struct json_span root, member;
  if (line.len > MAX_LINE) return sluice_fail(err, SLUICE_LIMIT, "longer than %d bytes", (int)MAX_LINE);
  sluice_status st = json_span_root(line, &root, err);
  if (st) return st;
  if (root.type != JSON_OBJECT || !json_span_member(line, root, "text", &member) || member.type != JSON_STRING)
    return sluice_fail(err, SLUICE_INPUT, "not an object with a string \"text\"");
  buffer_clear(text);
  st = json_span_decode(line, member, text, err);
  return st ? st : count_text(c, text->ptr, text->len, err);
}

static sluice_status count_lines(struct counting *c, const char *path, struct slice file, struct sluice_error *err) {
  struct buffer text;
  buffer_init(&text, MAX_LINE);
  struct progress bar;
  progress_begin(&bar, "counting words", file.len);
  sluice_status st = SLUICE_OK;
  size_t number = 0;
  for (size_t at = 0; !st && at < file.len;) {
    const char *end = memchr(file.ptr + at, '\n', file.len - at);
    size_t len = end ? (size_t)(end - (file.ptr + at)) : file.len - at;
    number++;
    bool blank = len == 0 || (len == 1 && file.ptr[at] == '\r');
    if (!blank && (st = count_line(c, (struct slice){file.ptr + at, len}, &text, err)))
      sluice_fail_in(err, "%s: line %zu", path, number);
    at += len + 1;
    if (number % 256 == 0) progress_update(&bar, at, "%zu words", c->words.n);
    if (!st && signal_interrupted()) st = sluice_fail(err, SLUICE_INTERRUPTED, "interrupted; nothing was written");
  }
  progress_end(&bar);
  buffer_free(&text);
  if (!st && c->words.n == 0) st = sluice_fail(err, SLUICE_INPUT, "%s: no text in it", path);
  return st;
}

static sluice_status write_printable(struct buffer *out, struct slice raw, struct sluice_error *err) {
  struct buffer printable;
  buffer_init(&printable, 0);
  sluice_status st = byte_level_encode(raw.ptr, raw.len, &printable, err);
  if (!st) st = json_quote(out, printable.ptr, printable.len, err);
  buffer_free(&printable);
  return st;
}

static sluice_status write_specials(struct buffer *out, struct sluice_error *err) {
  sluice_status st = buffer_append_str(
      out, "{\n\"version\": \"1.0\",\n\"truncation\": null,\n\"padding\": null,\n\"added_tokens\": [", err);
  for (int i = 0; !st && i < BPE_SPECIALS; i++) {
    st = buffer_printf(out, err, "%s\n{\"id\": %d, \"content\": ", i ? "," : "", i);
    if (!st) st = json_quote(out, specials[i], strlen(specials[i]), err);
    if (!st)
      st = buffer_append_str(out,
                             ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": false, "
                             "\"special\": true}",
                             err);
  }
  return st ? st : buffer_append_str(out, "\n],\n", err);
}

static sluice_status write_pipeline(struct buffer *out, const char *pattern, struct sluice_error *err) {
  sluice_status st = buffer_append_str(out,
                                       "\"normalizer\": null,\n\"pre_tokenizer\": {\"type\": \"Sequence\", "
                                       "\"pretokenizers\": [\n{\"type\": \"Split\", \"pattern\": {\"Regex\": ",
                                       err);
  if (!st) st = json_quote(out, pattern, strlen(pattern), err);
  if (!st)
    st = buffer_append_str(
        out,
        "}, \"behavior\": \"Isolated\", \"invert\": false},\n{\"type\": \"ByteLevel\", "
        "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}]},\n"
        "\"post_processor\": null,\n\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
        "\"trim_offsets\": true, \"use_regex\": false},\n\"model\": {\"type\": \"BPE\", \"dropout\": null, "
        "\"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
        "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false,\n\"vocab\": {",
        err);
  return st;
}

static sluice_status write_model(struct buffer *out, const struct bpe_merges *m, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (int i = 0; !st && i < BPE_SPECIALS; i++) {
    st = buffer_append_str(out, i ? ",\n" : "\n", err);
    if (!st) st = json_quote(out, specials[i], strlen(specials[i]), err);
    if (!st) st = buffer_printf(out, err, ": %d", i);
  }
  for (int32_t id = BPE_SPECIALS; !st && id < bpe_merges_size(m); id++) {
    st = buffer_append_str(out, ",\n", err);
    if (!st) st = write_printable(out, bpe_merges_token(m, id), err);
    if (!st) st = buffer_printf(out, err, ": %d", id);
  }
  if (!st) st = buffer_append_str(out, "\n},\n\"merges\": [", err);
  for (size_t i = 0; !st && i < m->n_merges; i++) {
    struct buffer both;
    buffer_init(&both, 0);
    struct slice left = bpe_merges_token(m, m->merges[i].left), right = bpe_merges_token(m, m->merges[i].right);
    st = byte_level_encode(left.ptr, left.len, &both, err);
    if (!st) st = buffer_append_str(&both, " ", err);
    if (!st) st = byte_level_encode(right.ptr, right.len, &both, err);
    if (!st) st = buffer_append_str(out, i ? ",\n" : "\n", err);
    if (!st) st = json_quote(out, both.ptr, both.len, err);
    buffer_free(&both);
  }
  return st ? st : buffer_append_str(out, "\n]}\n}\n", err);
}

static sluice_status write_tokenizer(const char *path, const char *pattern, const struct bpe_merges *m,
                                     struct sluice_error *err) {
  struct buffer out;
  buffer_init(&out, 0);
  sluice_status st = write_specials(&out, err);
  if (!st) st = write_pipeline(&out, pattern, err);
  if (!st) st = write_model(&out, m, err);
  if (!st) st = file_write_atomic(path, out.ptr, out.len, err);
  buffer_free(&out);
  return st;
}

static sluice_status learn(const struct train_tokenizer_options *o, const char *pattern, const struct word_table *words,
                           struct sluice_error *err) {
  struct bpe_merges m = {0};
  sluice_status st = bpe_merges_learn(&m, words, o->vocab, err);
  if (!st && bpe_merges_size(&m) < o->vocab)
    st = sluice_fail(
        err, SLUICE_INPUT,
        "%s: its %zu different words give a vocabulary of at most %d, %d were asked for; ask for fewer or give "
        "more text",
        o->data, words->n, bpe_merges_size(&m), o->vocab);
  if (!st) st = write_tokenizer(o->out, pattern, &m, err);
  bpe_merges_free(&m);
  return st;
}

sluice_status train_tokenizer(const struct train_tokenizer_options *o, struct sluice_error *err) {
  if (o->vocab < FIRST_MERGE || o->vocab > BPE_MAX_VOCAB)
    return sluice_fail(err, SLUICE_USAGE, "vocab is %d; at least %d (%d specials and 256 bytes) and at most %d",
                       o->vocab, (int)FIRST_MERGE, (int)BPE_SPECIALS, (int)BPE_MAX_VOCAB);
  const char *pattern = o->pattern ? o->pattern : SPLIT_PATTERN_HOUSE;
  struct counting c = {0};
  const unsigned char *bytes = NULL;
  size_t len = 0;
  sluice_status st = splitter_open(&c.splitter, "--pattern", pattern, false, err);
  if (!st) st = word_table_init(&c.words, err);
  if (!st) st = file_map(o->data, &bytes, &len, err);
  if (!st) {
    st = count_lines(&c, o->data, (struct slice){(const char *)bytes, len}, err);
    file_unmap(bytes, len);
  }
  if (!st) st = learn(o, pattern, &c.words, err);
  word_table_free(&c.words);
  splitter_close(&c.splitter);
  return st;
}
