/* Grocery (SirLLM, Yao et al. 2024): the user once asks for a grocery, and much later which one it was. As published
 * but for two things. The four options are all mentioned in the dialogue, the same number of times and in random order,
 * so that neither the last, nor the first, nor the most frequent one is the key more often than chance. And the request
 * can come at any depth, since a key that always comes first is kept by a cache's sinks alone. */
#include "datasets/dataset.h"
#include "datasets/script.h"

enum { OPTIONS = 4, EVENTS_MAX = 2000, EVENT_QUIZ = -1, EVENT_REQUEST = -2 };

static const char *const depths[] = {"start", "random", NULL};
static const char *const forms[] = {"lettered", "letter", "open", NULL};
static const char *const answers[] = {"own", "gold", NULL};
enum form { FORM_LETTERED, FORM_LETTER, FORM_OPEN };

struct shop {
  struct cast cast;
  const char *items[OPTIONS]; /* items[0] is the key */
  int request_turn, request_exchange, exchange;
  const char *evidence;
  bool gold;
};

static void acknowledge(struct script *s, struct shop *shop) {
  script_feed(s, TURN_BOT, pick_phrase(&shop->cast.rng, PHRASE_ACK));
  shop->exchange++;
}

static void list_items(struct script *s, struct shop *shop) {
  int order[OPTIONS] = {0, 1, 2, 3};
  const char *listed[OPTIONS];
  shuffle_ints(&shop->cast.rng, order, OPTIONS);
  for (int i = 0; i < OPTIONS; i++) listed[i] = shop->items[order[i]];
  script_sentence(s, &shop->cast.rng, pick_phrase(&shop->cast.rng, PHRASE_GROCERY_LIST), listed);
  script_end_turn(s, TURN_USER);
  acknowledge(s, shop);
}

static void mention(struct script *s, struct shop *shop, int event) {
  bool request = event == EVENT_REQUEST;
  const char *args[4] = {shop->items[request ? 0 : event]};
  const char *phrase = pick_phrase(&shop->cast.rng, request ? PHRASE_BUY : PHRASE_GROCERY);
  const char *sentence = script_sentence(s, &shop->cast.rng, phrase, args);
  int turn = script_end_turn(s, TURN_USER);
  if (request) {
    shop->request_turn = turn;
    shop->request_exchange = shop->exchange;
    shop->evidence = sentence;
  }
  acknowledge(s, shop);
}

/* "Which of these is an animal?" with one member of each of four categories. */
static void quiz(struct script *s, struct shop *shop) {
  struct rng *r = &shop->cast.rng;
  int n, order[64], right = (int)rng_below(r, OPTIONS);
  const struct word_category *categories = word_categories(&n);
  const char *words[OPTIONS], *texts[OPTIONS];
  for (int i = 0; i < n; i++) order[i] = i;
  shuffle_ints(r, order, n);
  for (int i = 0; i < OPTIONS; i++) {
    const char *const *members = categories[order[i]].members;
    words[i] = members[rng_below(r, (uint32_t)word_count(members))];
    texts[i] = script_format(s, " %s.", words[i]);
  }
  script_sentence(s, r, categories[order[right]].question, NULL);
  script_sentence(s, r, "Choices: (A) $1 (B) $2 (C) $3 (D) $4", words);
  int asked = script_end_turn(s, TURN_USER);
  struct turn *t = script_choose(s, "acc_c", script_prefix(s, LETTERED_ANSWER, words), texts, true, OPTIONS);
  shop->exchange++;
  if (!t) return;
  t->answer = right;
  t->evidence_turn = asked;
  t->evidence = words[right];
  t->distance = 0;
  t->gold_in_context = shop->gold;
}

static struct turn *ask_lettered(struct script *s, struct shop *shop, enum form form) {
  int order[OPTIONS] = {0, 1, 2, 3}, right = 0;
  const char *words[OPTIONS], *texts[OPTIONS];
  shuffle_ints(&shop->cast.rng, order, OPTIONS);
  for (int i = 0; i < OPTIONS; i++) {
    words[i] = shop->items[order[i]];
    if (order[i] == 0) right = i;
    texts[i] =
        form == FORM_LETTER ? script_format(s, "(%c) %s", 'A' + i, words[i]) : script_format(s, " %s.", words[i]);
  }
  /* the published question stands first in the table of phrases */
  script_sentence(s, &shop->cast.rng, phrases_of(PHRASE_BUY_LETTERED).items[0], NULL);
  script_sentence(s, &shop->cast.rng, "Choices: (A) $1 (B) $2 (C) $3 (D) $4", words);
  if (form == FORM_LETTER) script_sentence(s, &shop->cast.rng, "Answer with the letter.", NULL);
  script_end_turn(s, TURN_USER);
  const char *prefix = form == FORM_LETTER ? "" : script_prefix(s, LETTERED_ANSWER, words);
  struct turn *t = script_choose(s, "acc_g", prefix, texts, true, OPTIONS);
  if (t) t->answer = right;
  return t;
}

static void recall(struct script *s, struct shop *shop, enum form form) {
  struct turn *t;
  if (form == FORM_OPEN) {
    script_sentence(s, &shop->cast.rng, pick_phrase(&shop->cast.rng, PHRASE_BUY_QUESTION), NULL);
    script_end_turn(s, TURN_USER);
    t = script_generate(s, "acc_g", "", shop->items[0]);
  } else {
    t = ask_lettered(s, shop, form);
  }
  if (!t) return;
  t->evidence_turn = shop->request_turn;
  t->evidence = shop->evidence;
  t->distance = shop->exchange - shop->request_exchange;
  t->gold_in_context = shop->gold;
}

/* The list, then mentions and quizzes in random order; the request is one of the key's mentions. */
static void write(const struct dataset *d, size_t i, struct script *s) {
  struct shop shop = {.gold = dataset_value(d, "answer") == 1};
  int events[EVENTS_MAX], n = 0;
  (void)i;
  cast_begin(&shop.cast, s->memory, (uint64_t)dataset_value(d, "seed"), s->id, true);
  for (int k = 0; k < OPTIONS; k++) {
    shop.items[k] = cast_word(&shop.cast, WORD_GROCERY);
    if (!shop.items[k]) return script_fail_memory(s);
  }
  bool start = dataset_value(d, "depth") == 0;
  list_items(s, &shop);
  if (start) mention(s, &shop, EVENT_REQUEST);
  for (int m = 0; m < (int)dataset_value(d, "mentions"); m++)
    for (int k = 0; k < OPTIONS; k++) {
      if (m > 0 || k > 0)
        events[n++] = k;
      else if (!start)
        events[n++] = EVENT_REQUEST;
    }
  for (int q = 0; q < (int)dataset_value(d, "turns"); q++) events[n++] = EVENT_QUIZ;
  shuffle_ints(&shop.cast.rng, events, n);
  for (int e = 0; e < n; e++) {
    if (events[e] == EVENT_QUIZ)
      quiz(s, &shop);
    else
      mention(s, &shop, events[e]);
  }
  recall(s, &shop, (enum form)dataset_value(d, "form"));
}

const struct dataset_kind dataset_grocery = {
    .keys = {{"depth", depths, false, 1, 0, 0},
             /* 20 are published; 18 keep the longest dialogue within 1,024 tokens of the embedded model */
             {"turns", NULL, false, 18, 0, 1000},
             {"mentions", NULL, false, 2, 1, 8},
             {"form", forms, false, 0, 0, 0},
             {"answer", answers, false, 0, 0, 0},
             KEY_SEED,
             KEY_DIALOGUES},
    .write = write,
};
