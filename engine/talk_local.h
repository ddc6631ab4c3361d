/* Inside of a local talk: what talk_local.c and reply.c share. Private to engine/. */
#ifndef SLUICE_ENGINE_TALK_LOCAL_H
#define SLUICE_ENGINE_TALK_LOCAL_H

#include "engine/session.h"
#include "engine/talk.h"

struct local_talk {
  const struct engine *engine;
  struct session *session;
  int vocab;
  float *logits; /* [vocab] scratch: after the last token, where a score is wanted */
  bool broken;   /* a call failed half-way: the session holds part of a turn */
  int last_role; /* of the newest turn; -1: none */
};

/* ---- text to ids; each appends to *out. What is encoded follows `before` (NULL: nothing yet) and *out, and where both
 * are empty, the dialogue's last turn: that decides on a space in front (engine.h, TOKENIZE_CONTINUES). ---- */
sluice_status local_encode(const struct local_talk *t, const char *text, size_t len, unsigned flags, struct ids *out,
                           struct sluice_error *err);
sluice_status local_encode_control(const struct local_talk *t, const char *text, struct ids *out,
                                   struct sluice_error *err);
unsigned local_follows(const struct local_talk *t, const struct ids *before, const struct ids *out);
/* Up to three strings as one plain text, so that tokens form across their borders. */
sluice_status local_encode_joined(const struct local_talk *t, const char *label, struct slice a, struct slice b,
                                  const struct ids *before, struct ids *out, struct sluice_error *err);
/* What opens a dialogue: the template's control text, or the model's own BOS where its tokenizer gives one. Nothing
 * when the dialogue has begun. */
sluice_status local_encode_begin(const struct local_talk *t, struct ids *out, struct sluice_error *err);
/* What opens a text without a template: the BOS alone. */
sluice_status local_encode_bos(const struct local_talk *t, struct ids *out, struct sluice_error *err);
/* Rows of logits that are held at a time. */
size_t local_score_rows(int vocab);
/* Before a dialogue's first turn, of the given role: the system turn that the model's program invents. */
sluice_status local_encode_system(const struct local_talk *t, enum role role, int *last, struct ids *out,
                                  struct sluice_error *err);
/* A finished turn, template applied, behind such a system turn where it is the first. *last is the role of the turn
 * before it, and becomes this one's. */
sluice_status local_encode_turn(const struct local_talk *t, enum role role, struct slice text, int *last,
                                struct ids *out, struct sluice_error *err);

/* ---- ids to the session ---- */
sluice_status local_append(struct session *s, const struct ids *ids, struct sluice_error *err);
sluice_status local_logits_now(struct session *s, float *logits, struct sluice_error *err);
sluice_status local_check(const struct local_talk *t, bool needs_template, struct sluice_error *err);
sluice_status local_close_turn(struct local_talk *t, struct sluice_error *err); /* the bot's: a round ends */

#endif
