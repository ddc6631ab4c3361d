/* One dialogue from wherever it stands to its end: restored or replayed, played, written. */
#include "runner/run.h"

#include <stdlib.h>
#include <string.h>

#define SNAPSHOT_BYTES_DEFAULT ((int64_t)32 << 20)
#define CHECKPOINT_SECONDS_DEFAULT 5.0

/* A dialogue in a worker's hands. */
struct job {
  struct run *run;
  struct record record;
  struct play play;
  struct dialogue dialogue;
  size_t next;                /* the turn to play */
  struct played_turn *played; /* scored turns that are not in the ledger yet */
  size_t n_played;
  int64_t written_ns;
  const char *worst; /* state of the attempt: the worst of its turns */
};

/* One stream of random numbers a dialogue, whatever the order of play. */
static uint64_t dialogue_seed(int64_t seed, int64_t ordinal) {
  int64_t parts[2] = {seed, ordinal};
  return hash64(parts, sizeof parts);
}

static const char *class_of(sluice_status status) {
  switch (status) {
  case SLUICE_NETWORK:
    return "network";
  case SLUICE_NOMEM:
    return "memory";
  case SLUICE_IO:
  case SLUICE_FULL:
    return "io";
  case SLUICE_INPUT:
  case SLUICE_USAGE:
    return "input";
  case SLUICE_LIMIT:
    return "limit";
  case SLUICE_UNSUPPORTED:
    return "unsupported";
  default:
    return "internal";
  }
}

static void drop_played(struct job *j) {
  for (size_t i = 0; i < j->n_played; i++) played_free(&j->played[i]);
  j->n_played = 0;
}

static void job_close(struct job *j) {
  drop_played(j);
  free(j->played);
  talk_close(j->play.talk);
  dialogue_free(&j->dialogue);
  record_free(&j->record);
}

static void note_state(struct job *j, const char *state) {
  if (!strcmp(state, "refused") || (!strcmp(state, "truncated") && strcmp(j->worst, "refused"))) j->worst = state;
}

/* ---- writing: the ledger's lock is held only here and in find -------------------------------------------------------
 */

static sluice_status write_down(struct job *j, const struct record_end *end, struct sluice_error *err) {
  unsigned char *snapshot = NULL;
  size_t len = 0;
  int64_t limit = j->run->options.snapshot_limit ? j->run->options.snapshot_limit : SNAPSHOT_BYTES_DEFAULT;
  if (!end && j->play.local && (int64_t)talk_kv_bytes(j->play.talk) < limit) {
    struct sluice_error why;
    if (talk_snapshot(j->play.talk, &snapshot, &len, &why))
      log_line(LOG_DEBUG, "no snapshot of %s (%s): a resume will replay it", j->dialogue.id, why.message);
    if ((int64_t)len > limit) {
      free(snapshot);
      snapshot = NULL;
      len = 0;
    }
  }
  pthread_mutex_lock(&j->run->lock);
  sluice_status status =
      record_write(j->run->ledger, &j->record, &j->dialogue, j->next, j->played, j->n_played, end, snapshot, len, err);
  pthread_mutex_unlock(&j->run->lock);
  free(snapshot);
  j->written_ns = clock_mono_ns();
  if (!status) drop_played(j);
  return status;
}

static sluice_status finish(struct job *j, const char *state, const char *error_class, const char *error,
                            struct sluice_error *err) {
  struct record_end end = {.state = state,
                           .error_class = error_class,
                           .error = error,
                           .tokens = talk_tokens(j->play.talk),
                           .kv_held = talk_kv_bytes(j->play.talk),
                           .kv_peak = talk_peak_kv_bytes(j->play.talk)};
  return write_down(j, &end, err);
}

/* ---- coming back
 * ------------------------------------------------------------------------------------------------------ */

static sluice_status recorded(struct job *j, size_t i, struct played_turn *was, struct sluice_error *err) {
  pthread_mutex_lock(&j->run->lock);
  sluice_status status = record_turn(j->run->ledger, j->record.attempt_id, i, &j->dialogue.turns[i], was, err);
  pthread_mutex_unlock(&j->run->lock);
  return status;
}

/* Plays the recorded turns again in the same chunks. A local engine must do exactly what it did; *differs names what
 * did not. */
static sluice_status replay(struct job *j, const char **differs, struct sluice_error *err) {
  *differs = NULL;
  for (; j->next < j->record.written && !*differs; j->next++) {
    struct played_turn was = {.turn_no = -1}, now = {.turn_no = -1};
    bool scored = turn_is_scored(&j->dialogue.turns[j->next]);
    sluice_status status = scored ? recorded(j, j->next, &was, err) : SLUICE_OK;
    if (!status && scored && was.turn_no < 0) *differs = "a missing row";
    if (!status && !*differs)
      status =
          j->play.local ? play_turn(&j->play, j->next, &now, err) : play_again_remote(&j->play, j->next, &was, err);
    if (!status && !*differs && scored && j->play.local) *differs = played_difference(&was, &now);
    if (!status && scored) note_state(j, was.state ? was.state : "done");
    played_free(&was);
    played_free(&now);
    if (status) return status;
    if (signal_interrupted()) return sluice_fail(err, SLUICE_INTERRUPTED, "interrupted");
  }
  return SLUICE_OK;
}

static sluice_status recall_states(struct job *j, struct sluice_error *err) {
  for (size_t i = 0; i < j->record.written; i++) {
    if (!turn_is_scored(&j->dialogue.turns[i])) continue;
    struct played_turn was;
    sluice_status status = recorded(j, i, &was, err);
    if (status) return status;
    note_state(j, was.state);
    played_free(&was);
  }
  return SLUICE_OK;
}

static sluice_status come_back(struct job *j, const char **differs, struct sluice_error *err) {
  *differs = NULL;
  if (!j->record.written) return SLUICE_OK;
  if (j->record.snapshot && j->play.local) {
    struct sluice_error why;
    if (!talk_restore(j->play.talk, j->record.snapshot, j->record.snapshot_len, &why)) {
      j->next = j->record.written;
      return recall_states(j, err);
    }
    log_line(LOG_WARN, "%s: the snapshot cannot be restored (%s); replaying %zu turns", j->dialogue.id, why.message,
             j->record.written);
  }
  return replay(j, differs, err);
}

/* ---- playing
 * ---------------------------------------------------------------------------------------------------------- */

static bool checkpoint_due(const struct job *j) {
  const struct run_options *o = &j->run->options;
  double seconds = o->checkpoint_seconds > 0 ? o->checkpoint_seconds : CHECKPOINT_SECONDS_DEFAULT;
  if (o->checkpoint_turns > 0 && (int64_t)(j->next - j->record.written) >= o->checkpoint_turns) return true;
  return (double)(clock_mono_ns() - j->written_ns) * 1e-9 >= seconds;
}

/* The rest of the dialogue. *failed is set when the dialogue, not the ledger, is what went wrong. */
static sluice_status play_on(struct job *j, bool *failed, struct sluice_error *err) {
  while (j->next < j->dialogue.n_turns) {
    *failed = true;
    struct played_turn *out = &j->played[j->n_played];
    sluice_status status = play_turn(&j->play, j->next, out, err);
    if (status == SLUICE_INTERRUPTED) *failed = false;
    if (status == SLUICE_INTERRUPTED && j->next > j->record.written) {
      struct sluice_error why = *err;
      sluice_status wrote = write_down(j, NULL, err);
      if (wrote) return wrote;
      *err = why;
    }
    if (status) return status;
    *failed = false;
    if (out->turn_no >= 0) {
      note_state(j, out->state);
      j->n_played++;
    }
    j->next++;
    if (j->next == j->dialogue.n_turns) break;
    bool stop = signal_interrupted() != 0;
    if (stop || checkpoint_due(j)) status = write_down(j, NULL, err);
    if (status) return status;
    if (stop) return sluice_fail(err, SLUICE_INTERRUPTED, "interrupted");
  }
  return SLUICE_OK;
}

static sluice_status job_open(struct job *j, size_t cell, int64_t ordinal, size_t lane, struct sluice_error *err) {
  struct run *r = j->run;
  const struct plan_cell *c = &r->plan->cells[cell];
  const struct plan_engine *e = &r->plan->engines[c->engine];
  pthread_mutex_lock(&r->data);
  sluice_status status = dataset_dialogue(r->plan->datasets[c->dataset].data, (size_t)ordinal, &j->dialogue, err);
  pthread_mutex_unlock(&r->data);
  if (status) return status;
  j->record = (struct record){.cell_id = r->cell_ids[cell], .ordinal = ordinal, .invocation_id = r->invocation_id};
  pthread_mutex_lock(&r->lock);
  status = record_find(r->ledger, &j->record, err);
  pthread_mutex_unlock(&r->lock);
  if (status) return status;
  j->played = calloc(j->dialogue.n_turns + 1, sizeof *j->played);
  if (!j->played) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu turns", j->dialogue.n_turns);
  struct engine *engine = e->open[lane % e->n_open];
  j->worst = "done";
  j->play = (struct play){.suite = r->plan->suite,
                          .benchmark = &r->plan->suite->benchmarks[c->benchmark],
                          .monitor = strcmp(c->monitor, "none") ? c->monitor : NULL,
                          .taps = r->options.taps,
                          .dialogue = &j->dialogue,
                          .local = engine_is_local(engine),
                          .seed = dialogue_seed(c->seed, ordinal),
                          .began_ns = clock_mono_ns(),
                          .asked_ns = -1};
  j->written_ns = j->play.began_ns;
  return talk_open(engine, c->policy_full, j->play.seed, &j->play.talk, err);
}

/* Plays one attempt. *again: it could not be continued and another must begin. *state gets what it ended as. */
static sluice_status attempt(struct run *r, size_t cell, int64_t ordinal, size_t lane, bool *again, const char **state,
                             struct sluice_error *err) {
  struct job j = {.run = r};
  const char *differs = NULL;
  bool failed = false;
  *again = false;
  *state = NULL;
  sluice_status status = job_open(&j, cell, ordinal, lane, err);
  if (!status) {
    status = come_back(&j, &differs, err);
    failed = status != SLUICE_INTERRUPTED; /* a replay that fails is the dialogue's failure, not the ledger's */
    if (!status && differs) {
      char why[160];
      snprintf(why, sizeof why, "the replay of turn %zu gave another %s than was recorded", j.next ? j.next - 1 : 0,
               differs);
      log_line(LOG_WARN, "%s: %s; beginning a new attempt", j.dialogue.id, why);
      j.next = j.record.written;
      status = finish(&j, "error", "replay", why, err);
      *again = !status;
      failed = false;
    } else if (!status) {
      status = play_on(&j, &failed, err);
      *state = j.worst;
      if (!status) status = finish(&j, j.worst, NULL, NULL, err);
    }
    if (status && failed) {
      struct sluice_error why = *err;
      if (j.next < j.record.written) j.next = j.record.written;
      *state = "error";
      const struct talk_failure *failure = talk_last_failure(j.play.talk);
      status = finish(&j, "error", failure ? failure->error_class : class_of(status), why.message, err);
      if (!status) log_line(LOG_WARN, "%s: %s: %s", r->plan->cells[cell].label, j.dialogue.id, why.message);
    }
  }
  if (!status && !*again) {
    pthread_mutex_lock(&r->lock);
    r->resumed += j.record.resumed > 0;
    pthread_mutex_unlock(&r->lock);
  }
  job_close(&j);
  return status;
}

#define NETWORK_ERRORS_MAX 10 /* dialogues in a row: the peer is gone, and the rest would fail too */

sluice_status work_on(struct run *r, size_t cell, int64_t ordinal, size_t lane, struct sluice_error *err) {
  bool again = true;
  const char *state = NULL;
  sluice_status status = SLUICE_OK;
  for (int tries = 0; again && tries < 2 && !status; tries++)
    status = attempt(r, cell, ordinal, lane, &again, &state, err);
  if (status) return status;
  bool error = state && !strcmp(state, "error");
  pthread_mutex_lock(&r->lock);
  r->played++;
  r->errors += error;
  r->errors_in_a_row = error ? r->errors_in_a_row + 1 : 0;
  bool hopeless =
      !r->plan->suite->engines[r->plan->cells[cell].engine].local && r->errors_in_a_row >= NETWORK_ERRORS_MAX;
  r->finished++;
  if (!r->options.quiet) progress_update(&r->progress, r->finished, "%s", r->plan->cells[cell].label);
  pthread_mutex_unlock(&r->lock);
  return hopeless
             ? sluice_fail(err, SLUICE_NETWORK, "%d dialogues in a row failed; stopping (run the same command again)",
                           NETWORK_ERRORS_MAX)
             : SLUICE_OK;
}
