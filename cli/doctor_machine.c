/* sluice doctor: processor, memory, clock, terminal. */
#include "cli/doctor.h"
#include "engine/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define BANDWIDTH_BYTES (128 * MIB) /* beyond what a few cores have of most caches */
#define BANDWIDTH_PASSES 3

/* The text behind the first "key" that begins a line of a /proc file, without its colon; "" when there is none. */
static void proc_value(const char *path, const char *key, char *out, size_t cap) {
  char *text = NULL;
  size_t len;
  struct sluice_error ignored;
  out[0] = '\0';
  if (file_read(path, 8 * MIB, &text, &len, &ignored)) return;
  for (char *line = text; line && *line; line = strchr(line, '\n')) {
    if (*line == '\n') line++;
    if (strncmp(line, key, strlen(key)) != 0) continue;
    line += strlen(key);
    line += strspn(line, "\t :");
    snprintf(out, cap, "%.*s", (int)strcspn(line, "\n"), line);
    break;
  }
  free(text);
}

void doctor_system(struct doctor *d) {
  struct utsname os;
  int64_t wall = clock_wall_ns();
  doctor_check(d, "system");
  if (uname(&os)) memset(&os, 0, sizeof os);
  doctor_say(d, "%s %s %s", os.sysname, os.release, os.machine);
  doctor_string(d, "os", os.sysname);
  doctor_string(d, "release", os.release);
  doctor_string(d, "machine", os.machine);
  if (wall < 1700000000000000000) { /* November 2023: before this program was written */
    doctor_say(d, "; the clock is years behind");
    doctor_remedy(d, DOCTOR_NOTE, "set the clock: runs of a ledger are ordered by it");
  }
}

/* How many processors' time a container may use (cgroup v2); 0: as many as it likes. */
static double cpu_quota(void) {
  char *text, *end;
  size_t len;
  struct sluice_error ignored;
  if (file_read("/sys/fs/cgroup/cpu.max", 4096, &text, &len, &ignored)) return 0;
  double quota = strtod(text, &end), period = end != text ? strtod(end, &end) : 0;
  free(text);
  return quota > 0 && period > 0 ? quota / period : 0;
}

static void say_features(struct doctor *d) {
#if defined(__x86_64__)
  const struct {
    const char *name;
    bool there;
  } features[] = {{"avx2", __builtin_cpu_supports("avx2")},
                  {"fma", __builtin_cpu_supports("fma")},
                  {"f16c", __builtin_cpu_supports("f16c")},
                  {"avx512f", __builtin_cpu_supports("avx512f")},
                  {"avx512bw", __builtin_cpu_supports("avx512bw")},
                  {"avx512dq", __builtin_cpu_supports("avx512dq")},
                  {"avx512vl", __builtin_cpu_supports("avx512vl")},
                  {"avx512vnni", __builtin_cpu_supports("avx512vnni")},
                  {"avx512bf16", __builtin_cpu_supports("avx512bf16")}};
  int n = 0;
  for (size_t i = 0; i < sizeof features / sizeof *features; i++) {
    if (features[i].there) doctor_say(d, "%s%s", n++ ? " " : ": ", features[i].name);
    doctor_flag(d, features[i].name, features[i].there);
  }
#else
  doctor_say(d, ", which has no kernels of its own here");
#endif
}

void doctor_processor(struct doctor *d) {
  char name[256];
  long online = sysconf(_SC_NPROCESSORS_ONLN);
  int threads = threads_available();
  double quota = cpu_quota();
  doctor_check(d, "processor");
  proc_value("/proc/cpuinfo", "model name", name, sizeof name);
  doctor_say(d, "%s", *name ? name : "unnamed");
  doctor_string(d, "name", *name ? name : NULL);
  say_features(d);
  doctor_say(d, "; kernel %s", session_best_kernel());
  doctor_string(d, "kernel", session_best_kernel());
  doctor_check(d, "threads");
  doctor_say(d, "%d available", threads);
  if (online != threads) doctor_say(d, " of %ld processors", online);
  doctor_number(d, "available", threads);
  doctor_number(d, "processors", (double)online);
  doctor_number(d, "quota", quota > 0 ? quota : (double)threads);
  if (quota > 0 && quota < threads) {
    doctor_say(d, ", but a quota of %.1f", quota);
    doctor_remedy(d, DOCTOR_NOTE, "use --threads %d: more threads than the container's quota wait for each other",
                  quota < 1 ? 1 : (int)quota);
  }
}

struct sweep { /* each lane reads its own part, all of it */
  unsigned char *bytes;
  size_t per_lane;
  bool write;
};

/* memchr for a byte that does not occur is the C library's fastest way of reading memory once. */
static void sweep_lane(void *ctx, int lane) {
  const struct sweep *s = ctx;
  unsigned char *part = s->bytes + (size_t)lane * s->per_lane;
  const void *volatile found = NULL; /* volatile: the read may not be left out */
  if (s->write)
    memset(part, 0x55, s->per_lane);
  else
    found = memchr(part, 0x2a, s->per_lane);
  (void)found;
}

/* Bytes per second that all threads together read, the best of some passes; 0 when it could not be measured. */
static double read_bandwidth(size_t size) {
  struct team *team;
  struct sluice_error ignored;
  if (team_start(threads_available(), &team, &ignored)) return 0;
  unsigned char *bytes = sluice_alloc_aligned(size);
  double best = 0;
  if (bytes) {
    struct sweep s = {bytes, size / (size_t)team_size(team), true};
    team_run(team, sweep_lane, &s);
    s.write = false;
    for (int i = 0; i < BANDWIDTH_PASSES; i++) {
      int64_t before = clock_mono_ns();
      team_run(team, sweep_lane, &s);
      double seconds = (double)(clock_mono_ns() - before) / 1e9;
      double rate = seconds > 0 ? (double)(s.per_lane * (size_t)team_size(team)) / seconds : 0;
      if (rate > best) best = rate;
    }
  }
  free(bytes);
  team_stop(team);
  return best;
}

/* "24660956 kB" of /proc/meminfo, in bytes; 0 when it is not there. */
static double meminfo(const char *key) {
  char text[64], *end;
  proc_value("/proc/meminfo", key, text, sizeof text);
  double kib = strtod(text, &end);
  return end == text ? 0 : kib * 1024;
}

void doctor_memory(struct doctor *d) {
  double total = meminfo("MemTotal"), available = meminfo("MemAvailable");
  size_t size = BANDWIDTH_BYTES;
  while (size > 8 * MIB && (double)size > available / 4) size /= 2;
  double rate = read_bandwidth(size);
  doctor_check(d, "memory");
  doctor_say(d, "%.1f GiB, %.1f GiB available", total / 0x1p30, available / 0x1p30);
  if (rate > 0)
    doctor_say(d, "; now reads about %.1f GB/s: a model of 1 GB can answer %.0f tokens/s", rate / 1e9, rate / 1e9);
  doctor_number(d, "total_bytes", total);
  doctor_number(d, "available_bytes", available);
  doctor_number(d, "read_bytes_per_second", rate);
  if (available > 0 && available < 512.0 * (double)MIB)
    doctor_remedy(d, DOCTOR_NOTE, "less than 512 MiB available: end other programs, or expect a slow demo");
}

void doctor_terminal(struct doctor *d) {
  struct winsize size = {0};
  const char *term = getenv("TERM"), *no_colour = getenv("NO_COLOR");
  bool out = isatty(STDOUT_FILENO), progress = isatty(STDERR_FILENO);
  int fd = out ? STDOUT_FILENO : STDERR_FILENO;
  doctor_check(d, "terminal");
  doctor_say(d, "stdout %s, stderr %s, TERM=%s, %s", out ? "is a terminal" : "is none",
             progress ? "is a terminal" : "is none", term ? term : "(not set)",
             no_colour && *no_colour ? "NO_COLOR set" : "colours allowed");
  if ((out || progress) && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col) doctor_say(d, ", %d columns", size.ws_col);
  doctor_flag(d, "stdout", out);
  doctor_flag(d, "stderr", progress);
  doctor_flag(d, "colour", term_colour(stdout));
  doctor_number(d, "columns", size.ws_col);
}
