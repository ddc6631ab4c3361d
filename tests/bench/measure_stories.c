/* Perplexity of a model that others trained, under cache policies, on a novel: the published collapse of a plain window
 * and what attention sinks do about it (Xiao et al. 2023, table 1), on llama2.c's 260K-parameter story model.
 *
 *   measure_stories STORIES.bin TOKENS.bin NOVEL.txt TOKENS POLICY...
 *
 * Prints, for each policy, the perplexity by position in the text. The model saw at most 512 tokens at a time and only
 * simple stories, so a novel surprises it: what matters is how a row goes on from its first column. Line breaks become
 * spaces, and bytes outside ASCII are left out: as the model's training had none, their tokens' weights are noise. */
#include "tests/tinyllama_convert.h"

#include "engine/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { VOCAB = 512, BOS = 1, FIRST_BYTE = 3, PIECE = 4096, CHUNK = 64 };

struct token_table {
  char *text[VOCAB];
  float score[VOCAB];
};

static void die(const char *why) {
  fprintf(stderr, "measure_stories: %s\n", why);
  exit(1);
}

static void read_table(const char *path, struct token_table *t) {
  FILE *f = fopen(path, "rb");
  int32_t longest, len;
  if (!f || fread(&longest, 4, 1, f) != 1) die("the token table cannot be read");
  for (int i = 0; i < VOCAB; i++) {
    if (fread(&t->score[i], 4, 1, f) != 1 || fread(&len, 4, 1, f) != 1 || len < 0 || len > 64) die("a bad token table");
    t->text[i] = calloc((size_t)len + 1, 1);
    if (!t->text[i] || fread(t->text[i], 1, (size_t)len, f) != (size_t)len) die("a bad token table");
  }
  fclose(f);
}

static int find(const struct token_table *t, const char *bytes, size_t len) {
  for (int i = FIRST_BYTE + 256; i < VOCAB; i++)
    if (strlen(t->text[i]) == len && memcmp(t->text[i], bytes, len) == 0) return i;
  return -1;
}

/* One word with its leading space: characters, unknown ones as bytes, then the best-scored pair merges first. */
static size_t encode_word(const struct token_table *t, const char *word, size_t len, int32_t *ids) {
  size_t n = 0;
  for (size_t i = 0; i < len; i++) {
    int id = find(t, word + i, 1);
    ids[n++] = id >= 0 ? id : FIRST_BYTE + (unsigned char)word[i];
  }
  for (;;) {
    int best = -1;
    size_t at = 0;
    for (size_t i = 0; i + 1 < n; i++) {
      char both[160];
      int len_both = snprintf(both, sizeof both, "%s%s", t->text[ids[i]], t->text[ids[i + 1]]);
      int id = find(t, both, (size_t)len_both);
      if (id >= 0 && (best < 0 || t->score[id] > t->score[best])) best = id, at = i;
    }
    if (best < 0) return n;
    ids[at] = best;
    memmove(&ids[at + 1], &ids[at + 2], (n - at - 2) * sizeof *ids);
    n--;
  }
}

/* The first n tokens of a text, after BOS. */
static void encode_text(const struct token_table *t, const char *text, size_t len, int32_t *ids, size_t n) {
  size_t have = 0;
  ids[have++] = BOS;
  for (size_t at = 0; at < len && have < n;) {
    char word[PIECE] = " ";
    int32_t pieces[PIECE];
    size_t w = 1;
    while (at < len && (unsigned char)text[at] <= ' ') at++;
    for (; at < len && (unsigned char)text[at] > ' ' && w < sizeof word - 1; at++)
      if ((unsigned char)text[at] < 0x80) word[w++] = text[at];
    size_t made = w > 1 ? encode_word(t, word, w, pieces) : 0;
    for (size_t i = 0; i < made && have < n; i++) ids[have++] = pieces[i];
  }
  if (have < n) die("the text has fewer tokens than asked for");
}

static const size_t EDGES[] = {0, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, SIZE_MAX};

static void measure(const struct model *m, const char *policy, const int32_t *ids, size_t n) {
  struct sluice_error err;
  struct session *s;
  struct session_options o = {.policy = policy, .threads = 1};
  float *rows = malloc(CHUNK * VOCAB * sizeof *rows), before[VOCAB];
  double nats = 0;
  size_t band = 0, counted = 0;
  if (!rows || session_open(m, &o, &s, &err)) die(rows ? err.message : "out of memory");
  printf("%s", session_policy(s));
  for (size_t at = 0; at < n; at += CHUNK) {
    size_t some = n - at < CHUNK ? n - at : CHUNK;
    if (session_append(s, ids + at, some, rows, some, &err)) die(err.message);
    for (size_t i = 0; i < some; i++) {
      const float *p = i ? rows + (i - 1) * VOCAB : before;
      double sum = 0;
      if (at + i == EDGES[band + 1]) {
        printf(" | %.2f", exp(nats / (double)counted));
        nats = 0, counted = 0, band++;
      }
      if (at + i == 0) continue;
      for (int v = 0; v < VOCAB; v++) sum += exp((double)p[v]);
      nats += log(sum) - (double)p[ids[at + i]];
      counted++;
    }
    memcpy(before, rows + (some - 1) * VOCAB, sizeof before);
  }
  printf(" | %.2f | %zu\n", exp(nats / (double)counted), session_peak_bytes(s));
  session_close(s);
  free(rows);
}

/* The converted folder is only a way to open the checkpoint. */
static struct model *open_checkpoint(const char *path) {
  static const char *const files[] = {"config.json", "model.safetensors"};
  struct sluice_error err;
  struct model *m;
  char dir[] = "/tmp/sluice-stories-XXXXXX", name[64];
  if (!mkdtemp(dir)) die("no folder can be made in /tmp");
  if (tinyllama_convert(path, dir, &err) || model_open(dir, &m, &err)) die(err.message);
  for (int i = 0; i < 2; i++) {
    snprintf(name, sizeof name, "%s/%s", dir, files[i]);
    unlink(name);
  }
  rmdir(dir);
  return m;
}

int main(int argc, char **argv) {
  struct sluice_error err;
  struct token_table table;
  char *text;
  size_t len, n = argc > 5 ? (size_t)strtoul(argv[4], NULL, 10) : 0;
  if (n < 2) return fprintf(stderr, "usage: measure_stories STORIES.bin TOKENS.bin NOVEL.txt TOKENS POLICY...\n"), 2;
  int32_t *ids = malloc(n * sizeof *ids);
  read_table(argv[2], &table);
  if (!ids) die("out of memory");
  const struct model *m = open_checkpoint(argv[1]);
  if (file_read(argv[3], 0, &text, &len, &err)) die(err.message);
  encode_text(&table, text, len, ids, n);
  printf("policy");
  for (size_t b = 0; b < sizeof EDGES / sizeof *EDGES && EDGES[b] < n; b++) printf(" | from %zu", EDGES[b]);
  printf(" | peak KV bytes\n");
  for (int i = 5; i < argc; i++) measure(m, argv[i], ids, n);
  return 0;
}
