/* The next utterance among four. People are given one value for each of several topics; later one of them is asked
 * about. The four utterances come from one template and one topic, as many words long, and each value was told exactly
 * once, of another person: overlap of words, length and order say nothing, only who was said to have what. */
#include "datasets/dataset.h"
#include "datasets/script.h"

#include <stdlib.h>

enum {
  PEOPLE_MAX = 8,
  TOPICS_MAX = 10,
  OPTIONS = 4,
  CHAT_MAX = 1000,
  EVENTS_MAX = TOPICS_MAX * (PEOPLE_MAX + 1) + CHAT_MAX
};
static const char *const answers[] = {"own", "gold", NULL};

enum event_kind { EVENT_FACT, EVENT_QUESTION, EVENT_CHAT };
struct event {
  uint32_t at; /* place in the dialogue; ties keep the order in which events were made */
  int made;
  enum event_kind kind;
  int topic, person; /* indices into the table below; the question is about this person */
};
struct known {
  const char *value, *sentence;
  int turn, exchange;
};
struct circle {
  struct cast cast;
  const char *people[PEOPLE_MAX];
  int n_people, n_topics, topics[TOPICS_MAX]; /* indices into fact_topics */
  struct known known[TOPICS_MAX][PEOPLE_MAX];
  struct event events[EVENTS_MAX];
  int n_events, exchange, sentences; /* sentences in the turn being drafted */
  bool gold;
};

static int by_place(const void *a, const void *b) {
  const struct event *x = a, *y = b;
  if (x->at != y->at) return x->at < y->at ? -1 : 1;
  return (x->made > y->made) - (x->made < y->made);
}

static void plan(struct circle *c, int n_chat) {
  enum { SPAN = 1000000 };
  struct rng *r = &c->cast.rng;
  for (int t = 0; t < c->n_topics; t++) {
    uint32_t last = 0;
    for (int p = 0; p < c->n_people; p++) {
      uint32_t at = rng_below(r, SPAN);
      c->events[c->n_events] = (struct event){at, c->n_events, EVENT_FACT, t, p};
      c->n_events++;
      if (at > last) last = at;
    }
    /* a topic is asked for once, after all its facts: an answer given would name its value a second time */
    uint32_t at = last + 1 + rng_below(r, SPAN + SPAN / 4 - last);
    c->events[c->n_events] =
        (struct event){at, c->n_events, EVENT_QUESTION, t, (int)rng_below(r, (uint32_t)c->n_people)};
    c->n_events++;
  }
  for (int i = 0; i < n_chat; i++) {
    c->events[c->n_events] = (struct event){rng_below(r, SPAN + SPAN / 4), c->n_events, EVENT_CHAT, 0, 0};
    c->n_events++;
  }
  qsort(c->events, (size_t)c->n_events, sizeof *c->events, by_place);
  /* nothing is measured after the last question */
  while (c->events[c->n_events - 1].kind != EVENT_QUESTION) c->n_events--;
}

static void end_exchange(struct script *s, struct circle *c) {
  if (c->sentences == 0) return;
  script_end_turn(s, TURN_USER);
  script_feed(s, TURN_BOT, pick_phrase(&c->cast.rng, PHRASE_ACK));
  c->sentences = 0;
  c->exchange++;
}

static void tell(struct script *s, struct circle *c, const struct event *e) {
  int n;
  const struct topic *topic = &fact_topics(&n)[c->topics[e->topic]];
  struct known *k = &c->known[e->topic][e->person];
  const char *args[4] = {c->people[e->person], k->value};
  k->sentence = script_sentence(s, &c->cast.rng, pick_from(&c->cast.rng, topic->statements), args);
  k->turn = (int)s->n;
  k->exchange = c->exchange;
  c->sentences++;
  if (c->sentences == 3 || rng_below(&c->cast.rng, 3) == 0) end_exchange(s, c);
}

static void chat(struct script *s, struct circle *c) {
  end_exchange(s, c);
  script_sentence(s, &c->cast.rng, pick_phrase(&c->cast.rng, PHRASE_CHAT), NULL);
  script_end_turn(s, TURN_USER);
  script_feed(s, TURN_BOT, pick_phrase(&c->cast.rng, PHRASE_CHAT_REPLY));
  c->exchange++;
}

static void question(struct script *s, struct circle *c, const struct event *e) {
  int n, order[PEOPLE_MAX], right = 0;
  const struct topic *topic = &fact_topics(&n)[c->topics[e->topic]];
  const struct known *k = &c->known[e->topic][e->person];
  const char *args[4] = {c->people[e->person], k->value}, *texts[OPTIONS];
  end_exchange(s, c);
  script_sentence(s, &c->cast.rng, pick_from(&c->cast.rng, topic->questions), args);
  script_end_turn(s, TURN_USER);
  for (int p = 0; p < c->n_people; p++) order[p] = p;
  shuffle_ints(&c->cast.rng, order, c->n_people);
  int options[OPTIONS], at = (int)rng_below(&c->cast.rng, OPTIONS);
  for (int p = 0, o = 0; o < OPTIONS; o++) {
    if (o == at) {
      options[o] = e->person;
      right = o;
      continue;
    }
    if (order[p] == e->person) p++;
    options[o] = order[p++];
  }
  for (int o = 0; o < OPTIONS; o++) texts[o] = script_format(s, " %s.", c->known[e->topic][options[o]].value);
  struct turn *t = script_choose(s, "next", script_prefix(s, topic->answer, args), texts, false, OPTIONS);
  c->exchange++;
  if (!t) return;
  t->answer = right;
  t->evidence_turn = k->turn;
  t->evidence = k->sentence;
  t->distance = c->exchange - 1 - k->exchange;
  t->gold_in_context = c->gold;
}

static bool draw(struct circle *c) {
  int n, order[TOPICS_MAX];
  const struct topic *table = fact_topics(&n);
  for (int i = 0; i < n; i++) order[i] = i;
  shuffle_ints(&c->cast.rng, order, n);
  for (int p = 0; p < c->n_people; p++)
    if (!(c->people[p] = cast_word(&c->cast, WORD_NAME))) return false;
  for (int t = 0; t < c->n_topics; t++) {
    c->topics[t] = order[t];
    for (int p = 0; p < c->n_people; p++)
      if (!(c->known[t][p].value = cast_value(&c->cast, table[order[t]].values))) return false;
  }
  return true;
}

static void write(const struct dataset *d, size_t i, struct script *s) {
  struct circle *c = calloc(1, sizeof *c);
  (void)i;
  if (!c) return script_fail_memory(s);
  cast_begin(&c->cast, s->memory, (uint64_t)dataset_value(d, "seed"), s->id, true);
  c->n_people = (int)dataset_value(d, "people");
  c->n_topics = (int)dataset_value(d, "topics");
  c->gold = dataset_value(d, "answer") == 1;
  if (!draw(c)) script_fail_memory(s);
  plan(c, (int)dataset_value(d, "chat"));
  for (int e = 0; e < c->n_events && !s->status; e++) {
    const struct event *event = &c->events[e];
    if (event->kind == EVENT_FACT)
      tell(s, c, event);
    else if (event->kind == EVENT_QUESTION)
      question(s, c, event);
    else
      chat(s, c);
  }
  free(c);
}

const struct dataset_kind dataset_next = {
    .keys = {{"topics", NULL, false, 5, 1, TOPICS_MAX},
             {"people", NULL, false, 4, 4, PEOPLE_MAX},
             {"chat", NULL, false, 6, 0, CHAT_MAX},
             {"answer", answers, false, 0, 0, 0},
             KEY_SEED,
             KEY_DIALOGUES},
    .write = write,
};
