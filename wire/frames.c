/* The queue of frames. */
#include "wire/frames.h"

#include <stdlib.h>
#include <string.h>

enum { QUEUE_MAX = 1 << 16, SPARE_MAX = 64, OPEN_MAX = 1024 };

static void *grow(void *list, size_t *cap, size_t n, size_t size) {
  if (n < *cap) return list;
  size_t want = *cap ? 2 * *cap : 8;
  void *grown = realloc(list, want * size);
  if (grown) *cap = want;
  return grown;
}

struct frame *frame_take(struct wire_filter *f, struct sluice_error *err) {
  if (f->n_spare) {
    struct frame *frame = f->spare[--f->n_spare];
    buffer_clear(&frame->raw);
    buffer_clear(&frame->json);
    buffer_clear(&frame->text);
    frame->n_texts = frame->n_choices = frame->n_logprobs = 0;
    frame->in_raw = frame->global = frame->after_stop = false;
    return frame;
  }
  struct frame *frame = calloc(1, sizeof *frame);
  if (!frame) sluice_fail(err, SLUICE_NOMEM, "no memory for a frame");
  return frame;
}

void frame_free(struct frame *frame) {
  if (!frame) return;
  buffer_free(&frame->raw);
  buffer_free(&frame->json);
  buffer_free(&frame->text);
  free(frame->texts);
  free(frame->choices);
  free(frame->logprobs);
  free(frame);
}

void frame_drop(struct wire_filter *f, struct frame *frame) {
  struct frame **list = f->n_spare < SPARE_MAX ? grow(f->spare, &f->cap_spare, f->n_spare, sizeof *f->spare) : NULL;
  if (list) f->spare = list;
  if (!list || frame->raw.cap > 1 << 16)
    frame_free(frame);
  else
    f->spare[f->n_spare++] = frame;
}

sluice_status frames_push(struct wire_filter *f, struct frame *frame, struct sluice_error *err) {
  size_t max = f->o.max_waiting;
  struct frame **list = f->n_queue < QUEUE_MAX ? grow(f->queue, &f->cap_queue, f->n_queue, sizeof *f->queue) : f->queue;
  if (!list) {
    frame_free(frame);
    return sluice_fail(err, SLUICE_NOMEM, "no memory for the frames that wait");
  }
  f->queue = list;
  if (f->n_queue == QUEUE_MAX || f->waiting + frame->raw.len > max) {
    frame_free(frame);
    return sluice_fail(err, SLUICE_LIMIT, "more than %zu bytes or %d frames wait for a verdict", max, QUEUE_MAX);
  }
  f->waiting += frame->raw.len;
  f->queue[f->n_queue++] = frame;
  return SLUICE_OK;
}

struct choice_state *choice_find(struct wire_filter *f, int64_t choice) {
  for (size_t i = 0; i < f->n_choices; i++)
    if (f->choices[i].choice == choice) return &f->choices[i];
  return NULL;
}

static bool stopped(struct wire_filter *f, int64_t choice) {
  const struct choice_state *c = choice_find(f, choice);
  return c && c->stopped;
}

static bool decided(struct wire_filter *f, const struct frame *frame) {
  for (size_t i = 0; i < frame->n_texts; i++) {
    const struct frame_text *t = &frame->texts[i];
    const struct lane *l = &f->lanes[t->lane];
    if (l->released < t->offset + t->len && !stopped(f, l->key.choice)) return false;
  }
  return true;
}

static const struct sketch_choice *entry_of(const struct frame *frame, int64_t choice) {
  for (size_t i = 0; i < frame->n_choices; i++)
    if (frame->choices[i].choice == choice) return &frame->choices[i];
  return NULL;
}

/* Whether texts of one choice keep their order: the same text, or both of the kinds that a reader sees one after
 * another. */
static bool ordered_pair(const struct lane *a, const struct lane *b) {
  return a == b || (a->key.channel != WIRE_TOOL && b->key.channel != WIRE_TOOL);
}

/* Whether `later` must wait for `early`. */
static bool must_follow(const struct wire_filter *f, const struct frame *early, const struct frame *later) {
  if (early->global || later->global) return true;
  for (size_t i = 0; i < later->n_choices; i++) {
    const struct sketch_choice *mine = &later->choices[i], *theirs = entry_of(early, mine->choice);
    if (theirs && (mine->wide || theirs->wide || mine->finish || theirs->finish)) return true;
  }
  for (size_t i = 0; i < later->n_texts; i++)
    for (size_t j = 0; j < early->n_texts; j++) {
      const struct lane *a = &f->lanes[later->texts[i].lane], *b = &f->lanes[early->texts[j].lane];
      if (a->key.choice == b->key.choice && ordered_pair(a, b)) return true;
    }
  return false;
}

/* What an ending has to know of what the reader has seen. */
static sluice_status note_sent(struct wire_filter *f, const struct frame *frame, struct sluice_error *err) {
  for (size_t i = 0; i < frame->n_choices && !frame->after_stop; i++) {
    const struct sketch_choice *c = &frame->choices[i];
    size_t at = 0;
    f->sequence = c->sequence;
    while (at < f->n_open && f->open[at] != c->block) at++;
    if (c->closes && at < f->n_open) {
      f->n_open--;
      memmove(f->open + at, f->open + at + 1, (f->n_open - at) * sizeof *f->open);
    } else if (c->opens && at == f->n_open) {
      int64_t *list = f->n_open < OPEN_MAX ? grow(f->open, &f->cap_open, f->n_open, sizeof *f->open) : NULL;
      if (!list) return sluice_fail(err, SLUICE_LIMIT, "more than %d open blocks, or no memory for them", OPEN_MAX);
      f->open = list;
      f->open[f->n_open++] = c->block;
    }
  }
  return SLUICE_OK;
}

static sluice_status send_frame(struct wire_filter *f, struct frame *frame, struct sluice_error *err) {
  struct slice bytes = {0};
  bool drop = false;
  sluice_status st = frame_render(f, frame, &bytes, &drop, err);
  if (!st && !drop) st = f->sink(f->sink_ctx, bytes, err);
  if (!st && !drop) st = note_sent(f, frame, err);
  for (size_t i = 0; !st && i < frame->n_texts; i++) {
    const struct frame_text *t = &frame->texts[i];
    struct lane *l = &f->lanes[t->lane];
    if (t->offset != BLANKED && !l->once) f->gate.forget(f->gate.ctx, &l->key, t->offset + t->len);
    if (!l->once || l->over) continue;
    l->over = true;
    f->gate.forget(f->gate.ctx, &l->key, UINT64_MAX);
  }
  return st;
}

sluice_status frames_drain(struct wire_filter *f, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  size_t kept = 0;
  for (size_t i = 0; i < f->n_queue; i++) {
    struct frame *frame = f->queue[i];
    bool go = !st && decided(f, frame);
    for (size_t j = 0; go && j < kept; j++) go = !must_follow(f, f->queue[j], frame);
    if (!go) {
      f->queue[kept++] = frame;
      continue;
    }
    st = send_frame(f, frame, err);
    f->waiting -= frame->raw.len;
    frame_drop(f, frame);
  }
  f->n_queue = kept;
  return st;
}
