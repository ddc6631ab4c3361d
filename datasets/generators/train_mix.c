/* Training text: dialogues made of facts that are told once and asked for later, at varied distances, in the phrases of
 * the benchmarks but with other words. A recipe says which kinds of turns a dialogue mixes; most dialogues mix them
 * all, some are shaped like one benchmark. Answers are marked by their byte spans. */
#include "datasets/cast.h"
#include "datasets/datasets.h"
#include "datasets/generators/game.h"
#include "datasets/generators/story.h"
#include "datasets/phrases.h"

#include <stdlib.h>
#include <string.h>

enum group { GROUP_GROCERY = 64, GROUP_CODE, GROUP_LINE }; /* below: index of the fact's topic */
enum action { ACT_PERSON, ACT_GROCERY, ACT_CODE, ACT_LINES, ACT_ROUND, ACT_QUIZ, ACT_CHAT, ACTIONS };
enum { FACTS_MAX = 1024, PEOPLE_MAX = 64, TOPICS_MAX = 16, SPANS_START = 32 };

struct fact { /* something that was said and can be asked for */
  int group;
  struct phrases questions, lettered;
  const char *answer;  /* phrase with the answer in brackets */
  const char *args[4]; /* of questions and answer */
  const char *value;
  int asked; /* times */
};
struct seen_value { /* candidates for lettered options */
  int group;
  const char *value;
};
struct recipe {
  const char *name;
  int weight;           /* share of training lines, per cent */
  int actions[ACTIONS]; /* relative weights */
  int ask;              /* per cent of turns that ask for a fact, before the stage's own addition */
};
static const struct recipe recipes[] = {
    /*                   person grocery code lines round quiz chat */
    {"mixed", 40, {30, 20, 10, 10, 12, 8, 10}, 34}, {"recall", 20, {45, 25, 15, 10, 0, 0, 5}, 40},
    {"grocery", 10, {4, 40, 4, 0, 0, 45, 7}, 22},   {"lines", 10, {0, 0, 0, 100, 0, 0, 0}, 0},
    {"rounds", 8, {0, 0, 0, 0, 100, 0, 0}, 0},      {"dialogue", 9, {80, 0, 0, 0, 0, 0, 20}, 34},
    {"story", 3, {0, 0, 0, 0, 0, 0, 0}, 0},
};

struct writer {
  struct buffer text;
  struct arena memory;
  struct cast cast;
  struct rng rng;
  struct sluice_error *err;
  sluice_status status; /* the first failure; later calls do nothing */
  size_t (*spans)[2];
  size_t n_spans, cap_spans;
  size_t words, budget;
  bool turn_is_empty;

  struct fact facts[FACTS_MAX];
  int n_facts;
  struct seen_value seen[FACTS_MAX];
  int n_seen;
  int topics[3], n_topics;
  const char *people[PEOPLE_MAX];
  bool told[PEOPLE_MAX][TOPICS_MAX];
  int n_people;
  const char *groceries[4];
  int schedule[16], n_schedule, at_schedule; /* grocery to mention next; -1: the buy request */
  bool groceries_begun;
  const char *line_phrase, *round_phrase;
  int next_line, lines_a_block, fixed_back;
  int shares[MOVES];
  struct move_counts moves;
};

static void put(struct writer *w, const char *phrase, const char *const args[4], bool is_answer) {
  size_t span[2];
  if (w->status) return;
  if (!w->turn_is_empty) w->status = buffer_append_str(&w->text, " ", w->err);
  bool lead = w->turn_is_empty && phrase[0] == '$';
  w->turn_is_empty = false;
  if (lead && !w->status) {
    w->status = buffer_printf(&w->text, w->err, "%s ", pick_phrase(&w->rng, PHRASE_LEAD_IN));
    w->words += 3;
  }
  size_t before = w->text.len;
  if (!w->status) w->status = phrase_fill(&w->text, phrase, args, span, w->err);
  if (w->status) return;
  for (size_t i = before; i < w->text.len; i++) w->words += w->text.ptr[i] == ' ';
  w->words++;
  if (!is_answer || span[1] == span[0]) return;
  if (w->n_spans == w->cap_spans) {
    size_t cap = w->cap_spans ? 2 * w->cap_spans : SPANS_START;
    size_t(*grown)[2] = realloc(w->spans, cap * sizeof *grown);
    if (!grown) {
      w->status = sluice_fail(w->err, SLUICE_NOMEM, "training text: no memory for %zu answer spans", cap);
      return;
    }
    w->spans = grown;
    w->cap_spans = cap;
  }
  w->spans[w->n_spans][0] = span[0];
  w->spans[w->n_spans++][1] = span[1];
}

static void open_turn(struct writer *w, const char *marker) {
  if (!w->status) w->status = buffer_append_str(&w->text, marker, w->err);
  w->turn_is_empty = true;
  w->words++; /* markers are tokens too */
}
static void user(struct writer *w) {
  open_turn(w, "<|user|>");
}
static void bot(struct writer *w) {
  open_turn(w, "<|end|><|bot|>");
}
static void end(struct writer *w) {
  if (!w->status) w->status = buffer_append_str(&w->text, "<|end|>", w->err);
}

static const char *const no_args[4] = {0};

static void acknowledge(struct writer *w) {
  bot(w);
  put(w, pick_phrase(&w->rng, PHRASE_ACK), no_args, false);
  end(w);
}

static const char *checked(struct writer *w, const char *word) {
  if (word) return word;
  if (!w->status) w->status = sluice_fail(w->err, SLUICE_NOMEM, "training text: no memory for a word");
  return "";
}

static void learn(struct writer *w, struct fact f) {
  if (w->n_facts < FACTS_MAX) w->facts[w->n_facts++] = f;
}

static void see(struct writer *w, int group, const char *value) {
  if (w->n_seen < FACTS_MAX) w->seen[w->n_seen++] = (struct seen_value){group, value};
}

/* Four options with the answer among them, as "(A) rice (B) figs ..."; the answer's letter, or 0 when the dialogue has
 * not shown four values of this group. */
static char options(struct writer *w, int group, const char *answer, char *text, size_t cap) {
  const char *chosen[4] = {answer};
  int n = 1;
  for (int tries = 0; tries < 60 && n < 4 && w->n_seen; tries++) {
    struct seen_value s = w->seen[rng_below(&w->rng, (uint32_t)w->n_seen)];
    bool fits = s.group == group;
    for (int i = 0; i < n; i++) fits = fits && strcmp(chosen[i], s.value) != 0;
    if (fits) chosen[n++] = s.value;
  }
  if (n < 4) return 0;
  int order[4] = {0, 1, 2, 3}, letter = 0;
  shuffle_ints(&w->rng, order, 4);
  for (int i = 0; i < 4; i++)
    if (order[i] == 0) letter = i;
  snprintf(text, cap, "Choices: (A) %s (B) %s (C) %s (D) %s", chosen[order[0]], chosen[order[1]], chosen[order[2]],
           chosen[order[3]]);
  return (char)('A' + letter);
}

/* Asks for a fact in the current user turn and answers it. */
static void ask(struct writer *w, struct fact *f) {
  f->asked++;
  char text[256], letter_name[2] = {0};
  uint32_t form = rng_below(&w->rng, 100);
  char letter = form < 40 ? options(w, f->group, f->value, text, sizeof text) : 0;
  put(w, pick_from(&w->rng, letter && f->lettered.n ? f->lettered : f->questions), f->args, false);
  letter_name[0] = letter;
  const char *lettered[4] = {f->value, letter_name, text, NULL};
  if (letter) put(w, "$3", lettered, false);
  bool by_letter = letter && form < 12;
  if (by_letter) put(w, "Answer with the letter.", no_args, false);
  bot(w);
  put(w, by_letter ? "[($2) $1]" : letter ? LETTERED_ANSWER : f->answer, letter ? lettered : f->args, true);
  end(w);
}

/* A fact of a group drawn first, so that forty lines do not crowd out one grocery; one that was not asked for yet if a
 * few draws find it, since an answer given before is a shortcut round the first telling. NULL: all drawn were asked
 * twice. */
static struct fact *some_fact(struct writer *w) {
  int group = w->facts[rng_below(&w->rng, (uint32_t)w->n_facts)].group;
  if (rng_below(&w->rng, 2)) {
    int groups[TOPICS_MAX + 4], n = 0;
    for (int i = 0; i < w->n_facts; i++) {
      bool known = false;
      for (int j = 0; j < n; j++) known = known || groups[j] == w->facts[i].group;
      if (!known && n < TOPICS_MAX + 4) groups[n++] = w->facts[i].group;
    }
    group = groups[rng_below(&w->rng, (uint32_t)n)];
  }
  for (int tries = 0;;) { /* at least one fact has this group */
    struct fact *f = &w->facts[rng_below(&w->rng, (uint32_t)w->n_facts)];
    if (f->group != group) continue;
    if (f->asked == 0 || (tries > 3 && f->asked == 1)) return f;
    if (++tries > 6) return NULL;
  }
}

/* A sentence that gives a person a value: a new person, or a known one that lacks this topic. */
static void tell_about_person(struct writer *w) {
  int n;
  int t = w->topics[rng_below(&w->rng, (uint32_t)w->n_topics)];
  const struct topic *topic = &fact_topics(&n)[t];
  int person = -1;
  if (w->n_people && (rng_below(&w->rng, 100) < 55 || w->n_people == PEOPLE_MAX)) {
    person = (int)rng_below(&w->rng, (uint32_t)w->n_people);
    if (w->told[person][t]) person = -1;
  }
  if (person < 0) {
    if (w->n_people == PEOPLE_MAX) return;
    person = w->n_people++;
    w->people[person] = checked(w, cast_word(&w->cast, WORD_NAME));
  }
  w->told[person][t] = true;
  const char *value = checked(w, cast_value(&w->cast, topic->values));
  struct fact f = {.group = t, .questions = topic->questions, .answer = topic->answer, .value = value};
  f.args[0] = w->people[person];
  f.args[1] = value;
  put(w, pick_from(&w->rng, topic->statements), f.args, false);
  see(w, t, value);
  learn(w, f);
}

static void act_person(struct writer *w) {
  user(w);
  for (uint32_t i = 0, n = 1 + rng_below(&w->rng, 3); i < n; i++) tell_about_person(w);
  if (w->turn_is_empty) put(w, pick_phrase(&w->rng, PHRASE_CHAT), no_args, false);
  acknowledge(w);
}

/* As in the benchmark: each of four groceries is mentioned equally often, in random order; one mention is the request.
 */
static void begin_groceries(struct writer *w) {
  w->groceries_begun = true;
  for (int i = 0; i < 4; i++) {
    w->groceries[i] = checked(w, cast_word(&w->cast, WORD_GROCERY));
    see(w, GROUP_GROCERY, w->groceries[i]);
  }
  int rounds = 1 + (int)rng_below(&w->rng, 3);
  for (int r = 0; r < rounds; r++)
    for (int i = 0; i < 4; i++) w->schedule[w->n_schedule++] = r == 0 && i == 0 ? -1 : i;
  shuffle_ints(&w->rng, w->schedule, w->n_schedule);
  if (rng_below(&w->rng, 3) == 0) { /* the request first, as published */
    for (int i = 0; i < w->n_schedule; i++)
      if (w->schedule[i] == -1) w->schedule[i] = w->schedule[0];
    w->schedule[0] = -1;
  }
}

static void act_grocery(struct writer *w) {
  user(w);
  if (!w->groceries_begun) {
    begin_groceries(w);
    int order[4] = {0, 1, 2, 3};
    shuffle_ints(&w->rng, order, 4);
    const char *listed[4];
    for (int i = 0; i < 4; i++) listed[i] = w->groceries[order[i]];
    put(w, pick_phrase(&w->rng, PHRASE_GROCERY_LIST), listed, false);
  } else {
    int next = w->at_schedule < w->n_schedule ? w->schedule[w->at_schedule++] : (int)rng_below(&w->rng, 4);
    struct fact f = {.group = GROUP_GROCERY,
                     .questions = phrases_of(PHRASE_BUY_QUESTION),
                     .lettered = phrases_of(PHRASE_BUY_LETTERED),
                     .answer = pick_phrase(&w->rng, PHRASE_BUY_ANSWER),
                     .value = w->groceries[next < 0 ? 0 : next]};
    f.args[0] = f.value;
    put(w, pick_phrase(&w->rng, next < 0 ? PHRASE_BUY : PHRASE_GROCERY), f.args, false);
    if (next < 0) learn(w, f);
  }
  acknowledge(w);
}

static void act_code(struct writer *w) {
  const char *number = checked(w, cast_number(&w->cast));
  struct fact f = {.group = GROUP_CODE,
                   .questions = phrases_of(PHRASE_CODE_QUESTION),
                   .answer = "The code of the $1 $2 is[ $3].",
                   .value = number};
  f.args[0] = checked(w, cast_word(&w->cast, WORD_COLOUR));
  f.args[1] = checked(w, cast_word(&w->cast, WORD_OBJECT));
  f.args[2] = number;
  user(w);
  put(w, pick_phrase(&w->rng, PHRASE_CODE), f.args, false);
  see(w, GROUP_CODE, number);
  learn(w, f);
  acknowledge(w);
}

/* A block of register lines, then a question for one of them: at the dialogue's own distance, or at any. */
static void act_lines(struct writer *w, bool always_ask) {
  uint32_t n = (uint32_t)w->lines_a_block;
  if (rng_below(&w->rng, 3) == 0) n = 1 + rng_below(&w->rng, 2 * n);
  user(w);
  for (uint32_t i = 0; i < n && w->words < w->budget; i++) {
    char number[16];
    int len = snprintf(number, sizeof number, "%d", w->next_line++);
    struct fact f = {.group = GROUP_LINE, .questions = phrases_of(PHRASE_LINE_QUESTION), .answer = w->line_phrase};
    f.args[0] = checked(w, arena_strndup(&w->memory, number, (size_t)len));
    f.args[1] = f.value = checked(w, cast_number(&w->cast));
    put(w, w->line_phrase, f.args, false);
    learn(w, f);
  }
  int lines[FACTS_MAX], n_lines = 0;
  for (int i = 0; i < w->n_facts; i++)
    if (w->facts[i].group == GROUP_LINE) lines[n_lines++] = i;
  if (n_lines == 0 || (!always_ask && rng_below(&w->rng, 2))) {
    if (w->turn_is_empty) put(w, pick_phrase(&w->rng, PHRASE_CHAT), no_args, false);
    acknowledge(w);
    return;
  }
  int back = w->fixed_back && w->fixed_back < n_lines ? w->fixed_back : (int)rng_below(&w->rng, (uint32_t)n_lines);
  ask(w, &w->facts[lines[n_lines - 1 - back]]);
}

static void act_round(struct writer *w) {
  const char *args[4] = {w->moves.last < 0 ? "" : move_names[w->moves.last], 0, 0, 0};
  user(w);
  put(w, w->moves.last < 0 ? pick_phrase(&w->rng, PHRASE_ROUND_FIRST) : w->round_phrase, args, false);
  int answer = moves_counting_answer(&w->moves);
  /* nothing is known before the first move: any choice is right, and none is worth learning */
  args[0] = move_names[answer < 0 ? (int)rng_below(&w->rng, MOVES) : answer];
  bot(w);
  put(w, "[$1]", args, answer >= 0);
  end(w);
  moves_add(&w->moves, move_draw(&w->rng, w->shares));
}

static void act_quiz(struct writer *w) {
  int n_pairs, n_categories;
  const struct word_pair *pairs = word_opposites(&n_pairs);
  const struct word_category *categories = word_categories(&n_categories);
  const char *args[4] = {0};
  user(w);
  if (rng_below(&w->rng, 4) == 0) {
    const struct word_pair *p = &pairs[rng_below(&w->rng, (uint32_t)n_pairs)];
    bool flip = rng_below(&w->rng, 2);
    args[0] = flip ? p->b : p->a;
    put(w, "What is the opposite of $1?", args, false);
    args[0] = flip ? p->a : p->b;
  } else {
    int order[64], right = (int)rng_below(&w->rng, 4);
    const char *words[4];
    for (int i = 0; i < n_categories; i++) order[i] = i;
    shuffle_ints(&w->rng, order, n_categories);
    for (int i = 0; i < 4; i++) {
      const char *const *members = categories[order[i]].members;
      words[i] = members[rng_below(&w->rng, (uint32_t)word_count(members))];
    }
    put(w, categories[order[right]].question, no_args, false);
    put(w, "Choices: (A) $1 (B) $2 (C) $3 (D) $4", words, false);
    args[0] = words[right];
  }
  bot(w);
  put(w, LETTERED_ANSWER, args, true);
  end(w);
}

static void act_chat(struct writer *w) {
  user(w);
  put(w, pick_phrase(&w->rng, PHRASE_CHAT), no_args, false);
  bot(w);
  put(w, pick_phrase(&w->rng, PHRASE_CHAT_REPLY), no_args, false);
  end(w);
}

static void act(struct writer *w, const struct recipe *recipe) {
  int total = 0, a = 0;
  for (int i = 0; i < ACTIONS; i++) total += recipe->actions[i];
  int x = (int)rng_below(&w->rng, (uint32_t)total);
  while (x >= recipe->actions[a]) x -= recipe->actions[a++];
  switch (a) {
  case ACT_PERSON:
    act_person(w);
    break;
  case ACT_GROCERY:
    act_grocery(w);
    break;
  case ACT_CODE:
    act_code(w);
    break;
  case ACT_LINES:
    act_lines(w, recipe->actions[ACT_LINES] == 100);
    break;
  case ACT_ROUND:
    act_round(w);
    break;
  case ACT_QUIZ:
    act_quiz(w);
    break;
  default:
    act_chat(w);
    break;
  }
}

static void draw_opponent(struct writer *w) {
  static const int mixes[][MOVES] = {{50, 30, 20}, {50, 30, 20}, {60, 25, 15},
                                     {40, 35, 25}, {45, 35, 20}, {70, 20, 10}};
  int order[MOVES] = {0, 1, 2};
  const int *mix = mixes[rng_below(&w->rng, sizeof mixes / sizeof *mixes)];
  shuffle_ints(&w->rng, order, MOVES);
  for (int m = 0; m < MOVES; m++) w->shares[m] = mix[order[m]];
  moves_begin(&w->moves);
  w->round_phrase = pick_phrase(&w->rng, PHRASE_ROUND);
}

static void draw_setting(struct writer *w) {
  int n, order[TOPICS_MAX];
  fact_topics(&n);
  for (int i = 0; i < n; i++) order[i] = i;
  shuffle_ints(&w->rng, order, n);
  w->n_topics = 1 + (int)rng_below(&w->rng, 3);
  for (int i = 0; i < w->n_topics; i++) w->topics[i] = order[i];
  w->line_phrase = pick_phrase(&w->rng, PHRASE_LINE);
  static const uint32_t starts[] = {100, 100, 600, 1000, 1000, 10000};
  w->next_line = (int)rng_below(&w->rng, starts[rng_below(&w->rng, sizeof starts / sizeof *starts)]);
  w->lines_a_block = 1 + (int)rng_below(&w->rng, 10);
  w->fixed_back = rng_below(&w->rng, 3) ? 0 : 1 + (int)rng_below(&w->rng, 24);
  draw_opponent(w);
}

/* Short stages are dense with questions, so that recall emerges early; long ones ask over longer stretches. */
static int stage_ask(const struct recipe *recipe, int64_t stage) {
  if (recipe->ask == 0) return 0;
  return recipe->ask + (stage <= 128 ? 12 : stage <= 256 ? 6 : 0);
}

static void write_dialogue(struct writer *w, const struct recipe *recipe, int64_t stage) {
  int asks = stage_ask(recipe, stage);
  draw_setting(w);
  while (!w->status && w->words < w->budget) {
    struct fact *fact = w->n_facts && (int)rng_below(&w->rng, 100) < asks ? some_fact(w) : NULL;
    if (fact) {
      user(w);
      ask(w, fact);
    } else {
      act(w, recipe);
    }
  }
}

static const struct recipe *draw_recipe(struct rng *r) {
  int total = 0;
  for (size_t i = 0; i < sizeof recipes / sizeof *recipes; i++) total += recipes[i].weight;
  int x = (int)rng_below(r, (uint32_t)total);
  const struct recipe *recipe = recipes;
  while (x >= recipe->weight) x -= recipe++->weight;
  return recipe;
}

static sluice_status check_stage(const char *stage, int64_t *tokens, struct sluice_error *err) {
  char *rest;
  *tokens = strtoll(stage, &rest, 10);
  if (*rest || rest == stage || *tokens < 32 || *tokens > 65536)
    return sluice_fail(err, SLUICE_USAGE, "train: stage \"%s\" is not a length in tokens (32 to 65536), such as 256",
                       stage);
  return SLUICE_OK;
}

sluice_status train_mix_line(uint64_t seed, const char *stage, uint64_t i, size_t words, struct train_line *out,
                             struct sluice_error *err) {
  int64_t tokens;
  sluice_status st = check_stage(stage, &tokens, err);
  if (st) return st;
  struct writer *w = calloc(1, sizeof *w);
  if (!w) return sluice_fail(err, SLUICE_NOMEM, "training text: no memory for line %llu", (unsigned long long)i);
  char stream[64];
  snprintf(stream, sizeof stream, "train/%lld/%llu", (long long)tokens, (unsigned long long)i);
  rng_seed_named(&w->rng, seed, stream);
  cast_begin(&w->cast, &w->memory, rng_u64(&w->rng), "words", false);
  buffer_init(&w->text, 0);
  w->err = err;
  w->budget = words ? words : (size_t)tokens;
  const struct recipe *recipe = draw_recipe(&w->rng);
  if (strcmp(recipe->name, "story") == 0)
    w->status = story_write(&w->cast, w->budget, &w->text, err);
  else
    write_dialogue(w, recipe, tokens);
  st = w->status;
  if (st) {
    buffer_free(&w->text);
    free(w->spans);
  } else {
    out->text = buffer_take(&w->text, &out->len);
    out->spans = w->spans;
    out->n_spans = w->n_spans;
  }
  arena_free(&w->memory);
  free(w);
  return st;
}

void train_line_free(struct train_line *line) {
  free(line->text);
  free(line->spans);
  *line = (struct train_line){0};
}
