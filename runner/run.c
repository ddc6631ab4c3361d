/* A run: workers take dialogues that are not final yet and play them; one lock guards the ledger. */
#include "runner/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LANES_MAX 256

struct lane {
  struct run *run;
  size_t number;
  pthread_t thread;
};

/* The next dialogue, or false: none is left, or something says stop. */
static bool take(struct run *r, struct work_item *item) {
  pthread_mutex_lock(&r->lock);
  if (r->deadline_ns && clock_mono_ns() >= r->deadline_ns && r->next < r->last) {
    r->out_of_time = true;
    r->stop = true;
  }
  bool got = !r->stop && r->next < r->last && !signal_interrupted();
  if (got) *item = r->items[r->next++];
  pthread_mutex_unlock(&r->lock);
  return got;
}

static void *lane_run(void *ctx) {
  struct lane *lane = ctx;
  struct run *r = lane->run;
  struct work_item item;
  while (take(r, &item)) {
    struct sluice_error err;
    sluice_status status = work_on(r, item.cell, item.ordinal, lane->number, &err);
    if (!status) continue;
    pthread_mutex_lock(&r->lock);
    /* A full disk outranks the interruption that it may have come with. */
    if (!r->status || r->status == SLUICE_INTERRUPTED) {
      r->status = status;
      r->error = err;
    }
    r->stop = true;
    pthread_mutex_unlock(&r->lock);
  }
  return NULL;
}

static void run_wave(struct run *r, size_t lanes) {
  struct lane all[LANES_MAX];
  size_t started = 1;
  if (lanes > LANES_MAX) lanes = LANES_MAX;
  if (lanes > r->last - r->next) lanes = r->last - r->next;
  all[0] = (struct lane){.run = r};
  for (size_t i = 1; i < lanes; i++) {
    all[i] = (struct lane){.run = r, .number = i};
    if (pthread_create(&all[i].thread, NULL, lane_run, &all[i])) break; /* fewer lanes do the same work */
    started++;
  }
  lane_run(&all[0]);
  for (size_t i = 1; i < started; i++) pthread_join(all[i].thread, NULL);
}

/* Engine after engine, because each knows how many dialogues it can hold at a time; the items of one stay in plan
 * order. */
static void run_waves(struct run *r) {
  size_t begin = 0;
  struct work_item *sorted = calloc(r->n_items ? r->n_items : 1, sizeof *sorted);
  if (!sorted) {
    r->status = sluice_fail(&r->error, SLUICE_NOMEM, "no memory for %zu dialogues", r->n_items);
    return;
  }
  struct work_item *unsorted = r->items;
  r->items = sorted;
  for (size_t e = 0; e < r->plan->suite->n_engines && !r->stop; e++) {
    size_t end = begin;
    for (size_t i = 0; i < r->n_items; i++)
      if (r->plan->cells[unsorted[i].cell].engine == e) sorted[end++] = unsorted[i];
    r->next = begin;
    r->last = end;
    if (end > begin) run_wave(r, r->options.jobs ? (size_t)r->options.jobs : (size_t)r->plan->engines[e].jobs);
    begin = end;
  }
  free(unsorted);
}

/* Two runs on one ledger would play the same dialogues. A lock on the ledger itself would disturb SQLite's own (POSIX
 * locks fall when any descriptor of the file is closed), so a file beside it is locked, and removed by whoever held it.
 */
/* The run that ends unlinks the file: one that opened it just before holds a lock on a file without a name. */
static bool still_named(int fd, const char *name) {
  struct stat held, named;
  return !fstat(fd, &held) && !stat(name, &named) && held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

static sluice_status lock_beside(const char *path, char **name, int *fd, struct sluice_error *err) {
  int why = 0;
  *name = sluice_format("%s.running", path);
  if (!*name) return sluice_fail(err, SLUICE_NOMEM, "no memory for a lock");
  for (;;) {
    *fd = open(*name, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (*fd < 0)
      return sluice_fail(err, errno == ENOSPC ? SLUICE_FULL : SLUICE_IO, "%s: cannot create: %s", *name,
                         strerror(errno));
    why = flock(*fd, LOCK_EX | LOCK_NB) ? errno : 0;
    if (why) break;
    if (still_named(*fd, *name)) return SLUICE_OK;
    close(*fd);
  }
  close(*fd);
  *fd = -1;
  if (why != EWOULDBLOCK)
    return SLUICE_OK; /* a file system without locks: the attempt's UNIQUE key still refuses twins */
  return sluice_fail(err, SLUICE_USAGE, "%s: another `sluice run` is writing to this ledger", path);
}

static void unlock_beside(char *name, int fd) {
  if (fd >= 0) {
    unlink(name);
    close(fd);
  }
  free(name);
}

static sluice_status run_locked(struct run *r, struct run_summary *out, struct sluice_error *err) {
  bool complete;
  sluice_status status = run_enter(r, &complete, err);
  snprintf(out->run_id, sizeof out->run_id, "%s", r->id);
  out->nothing_to_do = complete;
  if (status || complete) return status;
  status = run_collect(r, err);
  if (status) return status;
  if (!r->options.quiet) progress_begin(&r->progress, r->plan->suite->name, r->finished + r->n_items);
  run_waves(r);
  if (!r->options.quiet) progress_end(&r->progress);
  if (!r->status && signal_interrupted()) r->status = sluice_fail(&r->error, SLUICE_INTERRUPTED, "interrupted");
  int exit_code = r->status == SLUICE_INTERRUPTED ? 128 + signal_interrupted()
                  : r->status                     ? sluice_exit_code(r->status)
                  : r->out_of_time                ? 4
                                                  : 0;
  struct sluice_error late;
  status = run_leave(r, exit_code,
                     r->status ? &late : err); /* after a full disk this may fail too; the first error counts */
  if (r->status) {
    *err = r->error;
    return r->status;
  }
  return status;
}

sluice_status runner_run(struct ledger *l, const struct plan *p, const struct run_options *o, struct run_summary *out,
                         struct sluice_error *err) {
  *out = (struct run_summary){0};
  struct run r = {.ledger = l, .plan = p, .options = *o, .started_ns = clock_mono_ns()};
  if (p->suite->minutes > 0) r.deadline_ns = r.started_ns + (int64_t)(p->suite->minutes * 60e9);
  r.cell_ids = calloc(p->n_cells, sizeof *r.cell_ids);
  if (!r.cell_ids) return sluice_fail(err, SLUICE_NOMEM, "no memory for %zu cells", p->n_cells);
  pthread_mutex_init(&r.lock, NULL);
  pthread_mutex_init(&r.data, NULL);
  char *lock_name = NULL;
  int lock_fd = -1;
  sluice_status status = lock_beside(ledger_path(l), &lock_name, &lock_fd, err);
  if (!status) status = run_locked(&r, out, err);
  unlock_beside(lock_name, lock_fd);
  out->planned = p->dialogues;
  out->played = r.played;
  out->resumed = r.resumed;
  out->stopped_by = signal_interrupted();
  out->out_of_time = r.out_of_time;
  struct sluice_error ignored;
  if (out->run_id[0]) {
    ledger_query_int(l, "SELECT finished FROM v_run WHERE run_id = ?1", LEDGER_VALUES(lv_text(out->run_id)), 0,
                     &out->finished, &ignored);
    ledger_query_int(l, "SELECT errors FROM v_run WHERE run_id = ?1", LEDGER_VALUES(lv_text(out->run_id)), 0,
                     &out->errors, &ignored);
  }
  pthread_mutex_destroy(&r.lock);
  pthread_mutex_destroy(&r.data);
  free(r.items);
  free(r.cell_ids);
  return status;
}
