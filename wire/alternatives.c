/* The tokens that stand beside a chosen one in log-probabilities. A reader sees each of them in its place: behind the
 * text so far one may spell out what the policy names, where the chosen one does not. */
#include "wire/frames.h"

#include <string.h>

enum { DEPTH_MAX = 4 }; /* of what servers put around an alternative */

struct place { /* of one list */
  struct wire_filter *f;
  const struct wire_key *key;
  struct slice json, before, chosen;
  bool named;
};

static bool is_same(struct slice a, struct slice b) {
  return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static sluice_status judge(struct place *p, struct sluice_error *err) {
  struct buffer *last = &p->f->json_out; /* what was judged before this */
  struct slice other = {p->f->other.ptr, p->f->other.len};
  if (other.len == 0 || is_same(other, p->chosen))
    return SLUICE_OK; /* the chosen one is judged as the text that it is */
  if (is_same(other, (struct slice){last->ptr, last->len})) return SLUICE_OK; /* a token's bytes, after the token */
  buffer_clear(last);
  sluice_status st = buffer_append(last, other.ptr, other.len, err);
  return st ? st : p->f->gate.would(p->f->gate.ctx, p->key, p->before, other, &p->named, err);
}

static sluice_status judge_string(struct place *p, struct json_span v, struct sluice_error *err) {
  buffer_clear(&p->f->other);
  sluice_status st = json_span_decode(p->json, v, &p->f->other, err);
  return st ? st : judge(p, err);
}

/* Every string in it, and every list that is a token's bytes. keys: those of the object itself are tokens too. */
static sluice_status judge_value(struct place *p, struct json_span v, bool keys, int depth, struct sluice_error *err) {
  struct json_span key = {0}, inner = {0};
  sluice_status st = SLUICE_OK;
  bool bytes = false;
  if (v.type == JSON_STRING) return judge_string(p, v, err);
  if (depth == DEPTH_MAX && v.type >= JSON_STRING) p->named = true; /* nobody looks further */
  if (depth == DEPTH_MAX) return SLUICE_OK;
  if (v.type == JSON_ARRAY) {
    buffer_clear(&p->f->other);
    st = logprob_bytes(p->json, v, &p->f->other, &bytes, err);
    if (!st && bytes) st = judge(p, err);
    while (!st && !bytes && !p->named && json_span_next(p->json, v, &inner))
      st = judge_value(p, inner, false, depth + 1, err);
  }
  if (v.type != JSON_OBJECT) return st;
  while (!st && !p->named && json_span_next_member(p->json, v, &key, &inner)) {
    if (keys) st = judge_string(p, key, err);
    if (!st && !p->named) st = judge_value(p, inner, false, depth + 1, err);
  }
  return st;
}

static void keep_tail(struct lane *l, struct slice text) {
  if (text.len >= LANE_TAIL) {
    memcpy(l->tail, text.ptr + text.len - LANE_TAIL, LANE_TAIL);
    l->n_tail = LANE_TAIL;
    return;
  }
  size_t keep = l->n_tail + text.len > LANE_TAIL ? LANE_TAIL - text.len : l->n_tail;
  memmove(l->tail, l->tail + l->n_tail - keep, keep);
  if (text.len) memcpy(l->tail + keep, text.ptr, text.len);
  l->n_tail = (unsigned char)(keep + text.len);
}

sluice_status alternatives_judge(struct wire_filter *f, const struct frame *frame, struct frame_text *t,
                                 struct sluice_error *err) {
  struct lane *l = &f->lanes[t->lane];
  struct slice chosen = {t->len ? frame->text.ptr + t->at : "", t->len}, before = {l->tail, l->n_tail};
  sluice_status st = SLUICE_OK;
  if (f->gate.would && t->others.end > t->others.start) {
    while (before.len && ((unsigned char)*before.ptr & 0xC0) == 0x80) before.ptr++, before.len--; /* half a character */
    buffer_clear(&f->json_out);
    struct place p = {f, &l->key, frame_json(frame), before, chosen, false};
    st = judge_value(&p, t->others, true, 0, err);
    t->named = p.named;
    f->emptied += p.named;
  }
  keep_tail(l, chosen);
  return st;
}
