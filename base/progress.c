/* Progress on stderr: a bar with rate and remaining time on a terminal, a plain line every 10 s elsewhere. */
#include "base/base.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MS 1000000LL
#define QUIET_NS (2000 * MS)       /* shorter work shows nothing */
#define BAR_EVERY_NS (100 * MS)    /* redraw of the bar */
#define LINE_EVERY_NS (10000 * MS) /* lines where there is no terminal */
#define RATE_AFTER_NS (1000 * MS)
#define BAR_CELLS 24
#define LINE_BYTES 512

static int terminal_columns(void) {
  struct winsize size = {0};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  return 80;
}

static void format_duration(double seconds, char *out, size_t room) {
  long s = seconds < 0 ? 0 : seconds > 3.6e6 ? 3600000 : (long)(seconds + 0.5);
  if (s < 60)
    snprintf(out, room, "%lds", s);
  else if (s < 3600)
    snprintf(out, room, "%ldm%02lds", s / 60, s % 60);
  else
    snprintf(out, room, "%ldh%02ldm", s / 3600, s / 60 % 60);
}

static void format_rate(double per_second, char *out, size_t room) {
  if (per_second >= 1e6)
    snprintf(out, room, "%.1fM/s", per_second / 1e6);
  else if (per_second >= 1e4)
    snprintf(out, room, "%.1fk/s", per_second / 1e3);
  else
    snprintf(out, room, per_second >= 100 ? "%.0f/s" : "%.1f/s", per_second);
}

/* Work a second: since the first update, once that is long enough ago to tell; else since the beginning. */
static double rate_of(const struct progress *p, int64_t now) {
  bool since_first = p->first_ns && now - p->first_ns >= RATE_AFTER_NS && p->done > p->first;
  int64_t span = now - (since_first ? p->first_ns : p->started_ns);
  return span > 0 ? (double)(p->done - (since_first ? p->first : 0)) / ((double)span / 1e9) : 0;
}

/* "samples:  45% [=====>    ] 450/1000  12.3/s, 45s left" */
static void format_state(const struct progress *p, int64_t now, bool bar, char *out, size_t room) {
  double elapsed = (double)(now - p->started_ns) / 1e9;
  double rate = rate_of(p, now);
  char took[32], left[32], speed[32], cells[BAR_CELLS + 1] = "";
  format_duration(elapsed, took, sizeof took);
  format_rate(rate, speed, sizeof speed);
  unsigned long long done = p->done, total = p->total;
  if (!p->total) {
    snprintf(out, room, "%s: %llu  %s, %s", p->label, done, speed, took);
    return;
  }
  double share = done >= total ? 1.0 : (double)done / (double)total;
  format_duration(rate > 0 ? (double)(total - (done < total ? done : total)) / rate : 0, left, sizeof left);
  int full = (int)(share * BAR_CELLS);
  for (int i = 0; i < BAR_CELLS; i++) cells[i] = i < full ? '=' : i == full ? '>' : ' ';
  const char *open = bar ? " [" : "", *close = bar ? "]" : "";
  if (done >= total)
    snprintf(out, room, "%s: 100%%%s%s%s %llu/%llu  %s, took %s", p->label, open, bar ? cells : "", close, done, total,
             speed, took);
  else
    snprintf(out, room, "%s: %3d%%%s%s%s %llu/%llu  %s, %s left", p->label, (int)(share * 100), open, bar ? cells : "",
             close, done, total, speed, rate > 0 ? left : "?");
}

/* Cuts the line to the terminal's width at a character boundary, one cell a character: good enough for our own labels.
 */
static void cut_to_width(char *line, int columns) {
  int cells = 0;
  for (char *at = line; *at; at++) {
    if (((unsigned char)*at & 0xC0) == 0x80) continue;
    if (++cells < columns) continue;
    *at = '\0';
    return;
  }
}

static void draw(struct progress *p, int64_t now, const char *detail, bool last) {
  char state[LINE_BYTES], line[LINE_BYTES + 16];
  format_state(p, now, p->tty, state, sizeof state);
  size_t used = strlen(state);
  if (*detail) snprintf(state + used, sizeof state - used, "  %s", detail);
  if (p->tty) {
    cut_to_width(state, terminal_columns());
    snprintf(line, sizeof line, "\r\033[K%s%s", state, last ? "\n" : "");
  } else {
    snprintf(line, sizeof line, "%s\n", state);
  }
  struct sluice_error err;
  fd_write_all(STDERR_FILENO, line, strlen(line), &err);
  p->shown = true;
  p->shown_ns = now;
}

void progress_begin(struct progress *p, const char *label, uint64_t total) {
  const char *term = getenv("TERM");
  int64_t now = clock_mono_ns();
  *p = (struct progress){.label = label, .total = total, .started_ns = now, .shown_ns = now};
  p->tty = isatty(STDERR_FILENO) == 1 && term && strcmp(term, "dumb") != 0;
}

void progress_update(struct progress *p, uint64_t done, const char *fmt, ...) {
  p->done = done;
  int64_t now = clock_mono_ns();
  if (!p->first_ns) {
    p->first_ns = now;
    p->first = done;
  }
  if (now - p->started_ns < QUIET_NS) return;
  if (now - p->shown_ns < (p->tty ? BAR_EVERY_NS : LINE_EVERY_NS)) return;
  char detail[256] = "";
  if (fmt) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
  }
  draw(p, now, detail, false);
}

/* The last line stays on the screen, with the time that the work took. */
void progress_end(struct progress *p) {
  int64_t now = clock_mono_ns();
  if (!p->shown && now - p->started_ns < QUIET_NS) return;
  draw(p, now, "", true);
}
