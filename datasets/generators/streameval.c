/* StreamEval (StreamingLLM, Xiao et al. 2023, section 4.3; never released): numbered lines with a register content, and
 * after every few lines a question for the one that stood `back` lines before the latest. Whether the model's answer or
 * the right one stays in the stream is not said there, so it is a parameter here. */
#include "datasets/dataset.h"
#include "datasets/script.h"

#include <stdlib.h>

static const char *const answers[] = {"gold", "own", NULL};

struct stream_line {
  const char *number, *sentence;
  const char *content;
  int turn;
};
struct stream {
  struct cast cast;
  struct stream_line *lines;
  const char *phrase;
  bool gold;
};

static void add_line(struct script *s, struct stream *st, int64_t first, int64_t k) {
  struct stream_line *line = &st->lines[k];
  line->number = script_format(s, "%lld", (long long)(first + k));
  line->content = cast_number(&st->cast);
  if (!line->content) return script_fail_memory(s);
  const char *args[4] = {line->number, line->content};
  line->sentence = script_sentence(s, &st->cast.rng, st->phrase, args);
  line->turn = (int)s->n; /* of the turn being drafted */
}

static void query(struct script *s, struct stream *st, const struct stream_line *line, int back) {
  const char *args[4] = {line->number, line->content};
  script_sentence(s, &st->cast.rng, pick_phrase(&st->cast.rng, PHRASE_LINE_QUESTION), args);
  script_end_turn(s, TURN_USER);
  struct turn *t = script_generate(s, "recall", script_prefix(s, st->phrase, args), line->content);
  if (!t) return;
  t->evidence_turn = line->turn;
  t->evidence = line->sentence;
  t->distance = back;
  t->gold_in_context = st->gold;
}

static void write(const struct dataset *d, size_t i, struct script *s) {
  int64_t n = dataset_value(d, "lines"), every = dataset_value(d, "every"), back = dataset_value(d, "back");
  int64_t asks = dataset_value(d, "queries") ? dataset_value(d, "queries") : INT64_MAX;
  struct stream st = {.lines = calloc((size_t)n, sizeof *st.lines), .gold = dataset_value(d, "answer") == 0};
  (void)i;
  if (!st.lines) return script_fail_memory(s);
  cast_begin(&st.cast, s->memory, (uint64_t)dataset_value(d, "seed"), s->id, true);
  st.phrase = pick_phrase(&st.cast.rng, PHRASE_LINE);
  int64_t first = (int64_t)rng_below(&st.cast.rng, 501);
  for (int64_t k = 0; k < n && asks > 0 && !s->status; k++) {
    add_line(s, &st, first, k);
    if ((k + 1) % every && k + 1 < n) continue;
    if ((k + 1) % every == 0 && k >= back) {
      query(s, &st, &st.lines[k - back], (int)back);
      asks--;
    } else {
      script_end_turn(s, TURN_USER);
      script_feed(s, TURN_BOT, pick_phrase(&st.cast.rng, PHRASE_ACK));
    }
  }
  free(st.lines);
}

const struct dataset_kind dataset_streameval = {
    .keys = {{"every", NULL, false, 10, 1, 1000},
             {"back", NULL, false, 20, 0, 1000000},
             {"lines", NULL, false, 60, 1, 1000000},
             {"queries", NULL, false, 0, 0, 100000},
             {"answer", answers, false, 0, 0, 0},
             KEY_SEED,
             KEY_DIALOGUES},
    .write = write,
};
