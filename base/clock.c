/* Clocks, in nanoseconds. */
#include "base/base.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000

static int64_t read_clock(clockid_t id) {
  struct timespec t = {0};
  clock_gettime(id, &t);
  return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_mono_ns(void) {
  return read_clock(CLOCK_MONOTONIC);
}
int64_t clock_wall_ns(void) {
  return read_clock(CLOCK_REALTIME);
}

/* Ends early only when the process has been asked to stop. */
void clock_sleep_ns(int64_t ns) {
  if (ns <= 0) return;
  struct timespec left = {.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
  while (nanosleep(&left, &left) && errno == EINTR && !signal_interrupted()) {
  }
}

void clock_iso8601(int64_t unix_ns, char out[32]) {
  time_t seconds = unix_ns / NS_PER_S - (unix_ns % NS_PER_S < 0);
  struct tm utc;
  if (!gmtime_r(&seconds, &utc) || !strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &utc)) memcpy(out, "?", 2);
}
