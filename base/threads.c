/* A team of lanes for many tiny jobs. The engine dispatches several thousand jobs a second, each a few microseconds to
 * a few milliseconds long: a waiting lane first spins shortly (a wake-up through the kernel costs as much as a small
 * job), then sleeps on a futex, so that an idle team costs nothing. */
#include "base/base.h"

#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPIN_NS 50000
#define MAX_LANES 1024

struct lane {
  struct team *team;
  pthread_t thread;
  int index;
};

/* Words that different sides write live on cache lines of their own. */
struct team {
  int n;
  bool spin; /* false when there are more lanes than processors: spinning would keep the work from its processor */
  bool stopping;
  void (*fn)(void *ctx, int lane);
  void *ctx;
  struct lane *lanes;
  _Alignas(64) _Atomic uint32_t generation; /* one more for every job; written by the caller alone */
  _Alignas(64) _Atomic uint32_t sleepers;   /* lanes inside, or about to enter, the futex wait on generation */
  _Alignas(64) _Atomic uint32_t pending;    /* lanes that have not finished the job */
  _Atomic uint32_t caller_sleeps;
};

static inline void cpu_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static void futex_wait(_Atomic uint32_t *word, uint32_t expected) {
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAIT_PRIVATE, expected, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count) {
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

/* True as soon as *word differs from (same == false) or equals (same == true) value; false when the spin ran out. */
static bool spin_until(_Atomic uint32_t *word, uint32_t value, bool same) {
  int64_t until = clock_mono_ns() + SPIN_NS;
  do {
    for (int i = 0; i < 32; i++) {
      if ((atomic_load_explicit(word, memory_order_acquire) == value) == same) return true;
      cpu_pause();
    }
  } while (clock_mono_ns() < until);
  return false;
}

/* Blocks until there is a job newer than `seen`; returns its generation. No wake-up is lost: a lane counts itself as a
 * sleeper before the kernel compares `generation`, and the caller raises `generation` before it looks for sleepers. */
static uint32_t await_job(struct team *t, uint32_t seen) {
  if (t->spin && spin_until(&t->generation, seen, false)) return atomic_load(&t->generation);
  uint32_t now;
  while ((now = atomic_load(&t->generation)) == seen) {
    atomic_fetch_add(&t->sleepers, 1);
    futex_wait(&t->generation, seen);
    atomic_fetch_sub(&t->sleepers, 1);
  }
  return now;
}

static void *lane_main(void *arg) {
  struct lane *lane = arg;
  struct team *t = lane->team;
  uint32_t seen = 0;
  for (;;) {
    seen = await_job(t, seen);
    if (t->stopping) return NULL;
    t->fn(t->ctx, lane->index);
    if (atomic_fetch_sub(&t->pending, 1) == 1 && atomic_load(&t->caller_sleeps)) futex_wake(&t->pending, 1);
  }
}

static void publish(struct team *t) {
  atomic_fetch_add(&t->generation, 1);
  if (atomic_load(&t->sleepers)) futex_wake(&t->generation, INT_MAX);
}

static void await_lanes(struct team *t) {
  if (t->spin && spin_until(&t->pending, 0, true)) return;
  atomic_store(&t->caller_sleeps, 1);
  uint32_t left;
  while ((left = atomic_load(&t->pending)) != 0) futex_wait(&t->pending, left);
  atomic_store(&t->caller_sleeps, 0);
}

/* One caller at a time, and never from inside a job of the same team. */
void team_run(struct team *t, void (*fn)(void *ctx, int lane), void *ctx) {
  if (t->n > 1) {
    t->fn = fn;
    t->ctx = ctx;
    atomic_store_explicit(&t->pending, (uint32_t)(t->n - 1), memory_order_relaxed);
    publish(t);
  }
  fn(ctx, 0);
  if (t->n > 1) await_lanes(t);
}

/* Signals go to the caller's thread, which is the one that polls signal_interrupted() and sits in read(). */
static int start_lane(struct lane *lane) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int number = pthread_create(&lane->thread, NULL, lane_main, lane);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return number;
}

sluice_status team_start(int n, struct team **team, struct sluice_error *err) {
  if (n < 1 || n > MAX_LANES) return sluice_fail(err, SLUICE_USAGE, "%d threads: expected 1 to %d", n, MAX_LANES);
  struct team *t = sluice_alloc_aligned(sizeof *t);
  struct lane *lanes = calloc((size_t)n, sizeof *lanes);
  if (!t || !lanes) {
    free(t);
    free(lanes);
    return sluice_fail(err, SLUICE_NOMEM, "out of memory: a team of %d threads", n);
  }
  t->n = 1;
  t->lanes = lanes;
  t->spin = n <= threads_available();
  for (int i = 1; i < n; i++) {
    lanes[i] = (struct lane){.team = t, .index = i};
    int number = start_lane(&lanes[i]);
    if (number) {
      team_stop(t);
      return sluice_fail(err, number == EAGAIN ? SLUICE_LIMIT : SLUICE_IO,
                         "cannot start thread %d of %d: %s; ask for fewer threads", i + 1, n, strerror(number));
    }
    t->n = i + 1;
  }
  *team = t;
  return SLUICE_OK;
}

int team_size(const struct team *t) {
  return t->n;
}

void team_stop(struct team *t) {
  if (!t) return;
  t->stopping = true;
  publish(t);
  for (int i = 1; i < t->n; i++) pthread_join(t->lanes[i].thread, NULL);
  free(t->lanes);
  free(t);
}

int threads_available(void) {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
  long online = sysconf(_SC_NPROCESSORS_ONLN); /* more processors than cpu_set_t can name */
  return online < 1 ? 1 : online > MAX_LANES ? MAX_LANES : (int)online;
}
