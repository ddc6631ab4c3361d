#include <stdlib.h>
#include <string.h>

#include "engine/train/bpe_merges.h"

/* How often two tokens stand side by side, and the words where they did (a word may have lost the pair since). */
struct pair_count {
  int64_t count;
  int32_t left, right;
  uint32_t *words;
  uint32_t n_words, cap_words;
  uint32_t step; /* of the last merge that raised the count: it goes to the heap once a step */
};

/* An offer is stale when the pair's count has changed since it was made. */
struct offer {
  int64_t count;
  uint32_t pair; /* index into pairs */
};

struct learning {
  struct bpe_merges *out;
  const struct word_table *words;
  int32_t *symbols; /* all words as ids, word w from starts[w] */
  size_t *starts;
  uint32_t *lengths; /* of word w now, in symbols */
  struct pair_count *pairs;
  size_t n_pairs, cap_pairs;
  uint32_t *slots; /* pair index + 1; 0: empty */
  size_t mask;
  struct offer *heap;
  size_t n_heap, cap_heap;
  uint32_t *raised; /* pairs whose count rose in this step */
  size_t n_raised, cap_raised;
  uint32_t step;
};

int32_t bpe_merges_size(const struct bpe_merges *m) {
  return BPE_SPECIALS + (int32_t)m->tokens.n;
}

struct slice bpe_merges_token(const struct bpe_merges *m, int32_t id) {
  return word_table_at(&m->tokens, (size_t)(id - BPE_SPECIALS));
}

void bpe_merges_free(struct bpe_merges *m) {
  word_table_free(&m->tokens);
  free(m->merges);
  *m = (struct bpe_merges){0};
}

/* Grows *array (of items of `size` bytes) so that it holds n + 1. The old block stays valid when there is no memory. */
static sluice_status grow(void *array, size_t size, size_t n, size_t *cap, struct sluice_error *err) {
  if (n < *cap) return SLUICE_OK;
  size_t wanted = *cap ? *cap * 2 : 1024;
  void *old, *bigger;
  memcpy(&old, array, sizeof old);
  bigger = realloc(old, wanted * size);
  if (!bigger) return sluice_fail(err, SLUICE_NOMEM, "out of memory for %zu pairs of tokens", wanted);
  memcpy(array, &bigger, sizeof bigger);
  *cap = wanted;
  return SLUICE_OK;
}

/* ---- the offers, best first: the highest count, then the smallest bytes of the left token, then of the right
 * --------- */

static int compare_bytes(struct slice a, struct slice b) {
  int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
  return order ? order : (a.len > b.len) - (a.len < b.len);
}

static bool better(const struct learning *l, const struct offer *a, const struct offer *b) {
  if (a->count != b->count) return a->count > b->count;
  const struct pair_count *p = &l->pairs[a->pair], *q = &l->pairs[b->pair];
  int order = compare_bytes(bpe_merges_token(l->out, p->left), bpe_merges_token(l->out, q->left));
  if (order == 0) order = compare_bytes(bpe_merges_token(l->out, p->right), bpe_merges_token(l->out, q->right));
  return order < 0;
}

static sluice_status offer_pair(struct learning *l, uint32_t pair, struct sluice_error *err) {
  sluice_status st = grow(&l->heap, sizeof *l->heap, l->n_heap, &l->cap_heap, err);
  if (st) return st;
  struct offer offer = {l->pairs[pair].count, pair};
  size_t i = l->n_heap++;
  for (; i > 0 && better(l, &offer, &l->heap[(i - 1) / 2]); i = (i - 1) / 2) l->heap[i] = l->heap[(i - 1) / 2];
  l->heap[i] = offer;
  return SLUICE_OK;
}

static struct offer take_offer(struct learning *l) {
  struct offer top = l->heap[0], last = l->heap[--l->n_heap];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < l->n_heap; i = child) {
    if (child + 1 < l->n_heap && better(l, &l->heap[child + 1], &l->heap[child])) child++;
    if (!better(l, &l->heap[child], &last)) break;
    l->heap[i] = l->heap[child];
  }
  l->heap[i] = last;
  return top;
}

/* ---- the pairs ------------------------------------------------------------------------------------------------- */

static size_t slot_of(const struct learning *l, int32_t left, int32_t right) {
  uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
  size_t i = (size_t)(h ^ (h >> 32)) & l->mask;
  for (; l->slots[i]; i = (i + 1) & l->mask) {
    const struct pair_count *p = &l->pairs[l->slots[i] - 1];
    if (p->left == left && p->right == right) break;
  }
  return i;
}

static sluice_status grow_slots(struct learning *l, struct sluice_error *err) {
  size_t n = l->mask ? (l->mask + 1) * 2 : 1 << 14;
  uint32_t *slots = calloc(n, sizeof *slots);
  if (!slots) return sluice_fail(err, SLUICE_NOMEM, "out of memory for %zu pairs of tokens", n);
  free(l->slots);
  l->slots = slots;
  l->mask = n - 1;
  for (size_t i = 0; i < l->n_pairs; i++) l->slots[slot_of(l, l->pairs[i].left, l->pairs[i].right)] = (uint32_t)i + 1;
  return SLUICE_OK;
}

static sluice_status pair_index(struct learning *l, int32_t left, int32_t right, uint32_t *index,
                                struct sluice_error *err) {
  if (l->n_pairs * 2 >= l->mask) {
    sluice_status st = grow_slots(l, err);
    if (st) return st;
  }
  size_t slot = slot_of(l, left, right);
  if (!l->slots[slot]) {
    sluice_status st = grow(&l->pairs, sizeof *l->pairs, l->n_pairs, &l->cap_pairs, err);
    if (st) return st;
    l->pairs[l->n_pairs++] = (struct pair_count){.left = left, .right = right, .step = UINT32_MAX};
    l->slots[slot] = (uint32_t)l->n_pairs;
  }
  *index = l->slots[slot] - 1;
  return SLUICE_OK;
}

static sluice_status raise_count(struct learning *l, int32_t left, int32_t right, uint32_t word,
                                 struct sluice_error *err) {
  uint32_t index;
  sluice_status st = pair_index(l, left, right, &index, err);
  if (st) return st;
  struct pair_count *p = &l->pairs[index];
  p->count += (int64_t)l->words->words[word].count;
  if (p->n_words == 0 || p->words[p->n_words - 1] != word) {
    size_t cap = p->cap_words;
    if (cap == p->n_words) {
      cap = cap ? cap * 2 : 4;
      uint32_t *words = realloc(p->words, cap * sizeof *words);
      if (!words) return sluice_fail(err, SLUICE_NOMEM, "out of memory for the words of a pair");
      p->words = words;
      p->cap_words = (uint32_t)cap;
    }
    p->words[p->n_words++] = word;
  }
  if (p->step == l->step) return SLUICE_OK;
  p->step = l->step;
  st = grow(&l->raised, sizeof *l->raised, l->n_raised, &l->cap_raised, err);
  if (!st) l->raised[l->n_raised++] = index;
  return st;
}

static void lower_count(struct learning *l, int32_t left, int32_t right, uint32_t word) {
  size_t slot = slot_of(l, left, right);
  if (l->slots[slot]) l->pairs[l->slots[slot] - 1].count -= (int64_t)l->words->words[word].count;
}

static sluice_status offer_raised(struct learning *l, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < l->n_raised; i++) st = offer_pair(l, l->raised[i], err);
  l->n_raised = 0;
  l->step++;
  return st;
}

/* ---- merging --------------------------------------------------------------------------------------------------- */

static sluice_status merge_in_word(struct learning *l, uint32_t word, struct bpe_pair pair, int32_t made,
                                   struct sluice_error *err) {
  int32_t *s = l->symbols + l->starts[word];
  uint32_t n = l->lengths[word], kept = 0;
  sluice_status st = SLUICE_OK;
  for (uint32_t i = 0; i < n; i++) {
    if (i + 1 == n || s[i] != pair.left || s[i + 1] != pair.right) {
      s[kept++] = s[i];
      continue;
    }
    if (kept > 0) {
      lower_count(l, s[kept - 1], pair.left, word);
      if (!st) st = raise_count(l, s[kept - 1], made, word, err);
    }
    if (i + 2 < n) {
      lower_count(l, pair.right, s[i + 2], word);
      if (!st) st = raise_count(l, made, s[i + 2], word, err);
    }
    s[kept++] = made;
    i++;
  }
  l->lengths[word] = kept;
  return st;
}

static sluice_status make_token(struct learning *l, struct bpe_pair pair, int32_t *made, struct sluice_error *err) {
  struct bpe_merges *m = l->out;
  struct slice left = bpe_merges_token(m, pair.left), right = bpe_merges_token(m, pair.right);
  struct buffer both;
  buffer_init(&both, 0);
  sluice_status st = buffer_append(&both, left.ptr, left.len, err);
  if (!st) st = buffer_append(&both, right.ptr, right.len, err);
  if (!st) st = word_table_add(&m->tokens, both.ptr, both.len, err);
  if (!st) *made = BPE_SPECIALS + (int32_t)word_table_find(&m->tokens, both.ptr, both.len);
  buffer_free(&both);
  if (!st) st = grow(&m->merges, sizeof *m->merges, m->n_merges, &m->cap_merges, err);
  if (!st) m->merges[m->n_merges++] = pair;
  return st;
}

static sluice_status merge_pair(struct learning *l, uint32_t index, struct sluice_error *err) {
  struct bpe_pair pair = {l->pairs[index].left, l->pairs[index].right};
  int32_t made;
  sluice_status st = make_token(l, pair, &made, err);
  if (st) return st;
  uint32_t *words = l->pairs[index].words; /* taken out: raising counts may move the pairs */
  uint32_t n = l->pairs[index].n_words;
  l->pairs[index].words = NULL;
  l->pairs[index].n_words = l->pairs[index].cap_words = 0;
  for (uint32_t i = 0; !st && i < n; i++) st = merge_in_word(l, words[i], pair, made, err);
  free(words);
  l->pairs[index].count = 0;
  return st ? st : offer_raised(l, err);
}

static sluice_status merge_until_full(struct learning *l, int vocab, struct sluice_error *err) {
  struct progress bar;
  progress_begin(&bar, "learning merges", (uint64_t)vocab);
  sluice_status st = SLUICE_OK;
  while (!st && bpe_merges_size(l->out) < vocab && l->n_heap > 0) {
    struct offer offer = take_offer(l);
    int64_t now = l->pairs[offer.pair].count;
    if (now == offer.count && now > 0)
      st = merge_pair(l, offer.pair, err);
    else if (now < offer.count && now > 0)
      st = offer_pair(l, offer.pair, err);
    progress_update(&bar, (uint64_t)bpe_merges_size(l->out), "%zu pairs", l->n_pairs);
    if (!st && signal_interrupted()) st = sluice_fail(err, SLUICE_INTERRUPTED, "interrupted; nothing was written");
  }
  progress_end(&bar);
  return st;
}

/* ---- setting up ------------------------------------------------------------------------------------------------ */

static sluice_status spell_words(struct learning *l, struct sluice_error *err) {
  const struct word_table *words = l->words;
  l->symbols = malloc((words->pool.len + 1) * sizeof *l->symbols);
  l->starts = malloc((words->n + 1) * sizeof *l->starts);
  l->lengths = malloc((words->n + 1) * sizeof *l->lengths);
  if (!l->symbols || !l->starts || !l->lengths)
    return sluice_fail(err, SLUICE_NOMEM, "out of memory for %zu words", words->n);
  for (size_t w = 0; w < words->n; w++) {
    struct slice word = word_table_at(words, w);
    l->starts[w] = words->words[w].start;
    l->lengths[w] = (uint32_t)word.len;
    for (size_t i = 0; i < word.len; i++) l->symbols[l->starts[w] + i] = BPE_SPECIALS + (unsigned char)word.ptr[i];
    for (size_t i = 0; i + 1 < word.len; i++) {
      int32_t left = l->symbols[l->starts[w] + i], right = BPE_SPECIALS + (unsigned char)word.ptr[i + 1];
      sluice_status st = raise_count(l, left, right, (uint32_t)w, err);
      if (st) return st;
    }
  }
  return offer_raised(l, err);
}

static void learning_free(struct learning *l) {
  for (size_t i = 0; i < l->n_pairs; i++) free(l->pairs[i].words);
  free(l->pairs);
  free(l->symbols);
  free(l->starts);
  free(l->lengths);
  free(l->slots);
  free(l->heap);
  free(l->raised);
}

sluice_status bpe_merges_learn(struct bpe_merges *m, const struct word_table *words, int vocab,
                               struct sluice_error *err) {
  struct learning l = {.out = m, .words = words};
  sluice_status st = word_table_init(&m->tokens, err);
  for (int b = 0; !st && b < 256; b++) {
    char byte = (char)b;
    st = word_table_add(&m->tokens, &byte, 1, err);
  }
  if (!st) st = spell_words(&l, err);
  if (!st) st = merge_until_full(&l, vocab, err);
  learning_free(&l);
  return st;
}
