#include "datasets/generators/story.h"
#include "datasets/dataset.h"
#include "datasets/script.h"

#include <ctype.h>
#include <string.h>

enum { CHARACTERS = 4 };
struct character {
  const char *name, *object, *city, *job;
};

static sluice_status draw_characters(struct cast *cast, struct character *who, struct sluice_error *err) {
  for (int i = 0; i < CHARACTERS; i++) {
    who[i].name = cast_word(cast, WORD_NAME);
    who[i].object = cast_word(cast, WORD_OBJECT);
    who[i].city = cast_word(cast, WORD_CITY);
    who[i].job = cast_word(cast, WORD_JOB);
    if (!who[i].name || !who[i].object || !who[i].city || !who[i].job)
      return sluice_fail(err, SLUICE_NOMEM, "story: no memory for its characters");
  }
  return SLUICE_OK;
}

static sluice_status write_sentence(struct cast *cast, const struct character *who, struct buffer *out,
                                    struct sluice_error *err) {
  struct rng *r = &cast->rng;
  int a = (int)rng_below(r, CHARACTERS), b = (a + 1 + (int)rng_below(r, CHARACTERS - 1)) % CHARACTERS;
  bool fact = rng_below(r, 3) == 0;
  /* a scene mostly holds its characters' own things */
  const char *object = who[rng_below(r, 4) ? a : b].object, *city = who[rng_below(r, 4) ? b : a].city;
  const char *scene[4] = {who[a].name, who[b].name, object, city};
  const char *truth[4] = {who[a].name, who[a].object, who[a].city, who[a].job};
  return phrase_fill(out, pick_phrase(r, fact ? PHRASE_STORY_FACT : PHRASE_STORY), fact ? truth : scene, NULL, err);
}

sluice_status story_write(struct cast *cast, size_t words, struct buffer *out, struct sluice_error *err) {
  struct character who[CHARACTERS];
  sluice_status st = draw_characters(cast, who, err);
  size_t written = 0;
  for (bool first = true; !st && written < words; first = false) {
    size_t before = out->len;
    /* "One day, Tom ..." opens a paragraph: no name at the very start (see phrases.h) */
    st = buffer_printf(out, err, "%s%s,", first ? "" : "\n\n", pick_phrase(&cast->rng, PHRASE_STORY_OPENING));
    for (uint32_t i = 0, n = 4 + rng_below(&cast->rng, 5); !st && i < n; i++) {
      st = buffer_append_str(out, " ", err);
      size_t at = out->len;
      if (!st) st = write_sentence(cast, who, out, err);
      /* after the comma a sentence that starts with a common word goes on in lower case */
      bool name = false;
      for (int c = 0; c < CHARACTERS && !st; c++)
        name = name || strncmp(out->ptr + at, who[c].name, strlen(who[c].name)) == 0;
      if (!st && i == 0 && !name) out->ptr[at] = (char)tolower((unsigned char)out->ptr[at]);
    }
    for (size_t i = before; !st && i < out->len; i++) written += out->ptr[i] == ' ';
  }
  return st;
}

static void write(const struct dataset *d, size_t i, struct script *s) {
  struct cast cast;
  (void)i;
  cast_begin(&cast, s->memory, (uint64_t)dataset_value(d, "seed"), s->id, true);
  if (!s->status) s->status = story_write(&cast, (size_t)dataset_value(d, "words"), &s->draft, s->err);
  int turn = script_end_turn(s, TURN_USER);
  if (s->status) return;
  s->turns[turn].task = TASK_TEXT;
  s->turns[turn].metric = "perplexity";
}

const struct dataset_kind dataset_story = {
    .keys = {{"words", NULL, false, 380, 20, 10000000}, KEY_SEED, KEY_DIALOGUES},
    .write = write,
};
