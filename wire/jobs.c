/* A thread beside an event loop, and the way back. */
#include "wire/jobs.h"

#include <event2/event.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct list {
  struct job *first, **end;
};
struct jobs {
  struct event *woken;
  int fd; /* counts jobs that are done */
  pthread_t thread;
  bool started;
  pthread_mutex_t lock; /* over all below */
  pthread_cond_t more;
  struct list todo, done;
  bool over;
};

static void put(struct list *l, struct job *job) {
  job->next = NULL;
  *l->end = job;
  l->end = &job->next;
}

static struct job *take(struct list *l) {
  struct job *job = l->first;
  if (!job) return NULL;
  l->first = job->next;
  if (!l->first) l->end = &l->first;
  return job;
}

static void *work(void *ctx) {
  struct jobs *j = ctx;
  uint64_t one = 1;
  pthread_mutex_lock(&j->lock);
  while (!j->over) {
    struct job *job = take(&j->todo);
    if (!job) {
      pthread_cond_wait(&j->more, &j->lock);
      continue;
    }
    pthread_mutex_unlock(&j->lock);
    job->run(job);
    pthread_mutex_lock(&j->lock);
    put(&j->done, job);
    ssize_t told = write(j->fd, &one, sizeof one); /* fails only where it has been told so often that it is awake */
    (void)told;
  }
  pthread_mutex_unlock(&j->lock);
  return NULL;
}

static void hand_back(struct jobs *j, struct list *from) {
  struct job *job;
  do {
    pthread_mutex_lock(&j->lock);
    job = take(from);
    pthread_mutex_unlock(&j->lock);
    if (job) job->done(job);
  } while (job);
}

static void on_woken(evutil_socket_t fd, short what, void *ctx) {
  struct jobs *j = ctx;
  uint64_t n;
  (void)what;
  ssize_t got = read(fd, &n, sizeof n);
  (void)got;
  hand_back(j, &j->done);
}

sluice_status jobs_open(struct event_base *loop, struct jobs **out, struct sluice_error *err) {
  struct jobs *j = calloc(1, sizeof *j);
  *out = j;
  if (!j) return sluice_fail(err, SLUICE_NOMEM, "no memory for the event loop");
  j->todo.end = &j->todo.first;
  j->done.end = &j->done.first;
  pthread_mutex_init(&j->lock, NULL);
  pthread_cond_init(&j->more, NULL);
  j->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  j->woken = j->fd < 0 ? NULL : event_new(loop, j->fd, EV_READ | EV_PERSIST, on_woken, j);
  if (!j->woken || event_add(j->woken, NULL)) return sluice_fail(err, SLUICE_NOMEM, "no memory for the event loop");
  return SLUICE_OK;
}

sluice_status jobs_add(struct jobs *j, struct job *job, struct sluice_error *err) {
  sigset_t all, before;
  if (!j->started) {
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int failed = pthread_create(&j->thread, NULL, work, j);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) return sluice_fail(err, SLUICE_NOMEM, "cannot start a thread: %s", strerror(failed));
    j->started = true;
  }
  pthread_mutex_lock(&j->lock);
  put(&j->todo, job);
  pthread_cond_signal(&j->more);
  pthread_mutex_unlock(&j->lock);
  return SLUICE_OK;
}

void jobs_close(struct jobs *j) {
  if (!j) return;
  pthread_mutex_lock(&j->lock);
  j->over = true;
  pthread_cond_signal(&j->more);
  pthread_mutex_unlock(&j->lock);
  if (j->started) pthread_join(j->thread, NULL);
  hand_back(j, &j->done);
  hand_back(j, &j->todo);
  if (j->woken) event_free(j->woken);
  if (j->fd >= 0) close(j->fd);
  pthread_cond_destroy(&j->more);
  pthread_mutex_destroy(&j->lock);
  free(j);
}
