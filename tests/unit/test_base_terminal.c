/* base: log lines, progress, signals. Each case runs in a child whose stderr is a pipe or a pseudo-terminal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <cjson/cJSON.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/base.h"

static char said[8192]; /* what the last child wrote on stderr */

/* A terminal `columns` wide when columns > 0, else a pipe. Returns the child's wait status. */
static int in_child(void (*fn)(void), int columns) {
  int ends[2];
  if (columns) {
    struct winsize size = {.ws_row = 24, .ws_col = (unsigned short)columns};
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY);
    if (ends[0] < 0 || grantpt(ends[0]) || unlockpt(ends[0])) skip();
    ends[1] = open(ptsname(ends[0]), O_RDWR | O_NOCTTY);
    ioctl(ends[1], TIOCSWINSZ, &size);
  } else {
    assert_int_equal(pipe(ends), 0);
  }
  pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    fn();
    _exit(0);
  }
  int status = 0;
  size_t used = 0;
  ssize_t n;
  close(ends[1]);
  while (used + 1 < sizeof said && (n = read(ends[0], said + used, sizeof said - 1 - used)) > 0) used += (size_t)n;
  said[used] = '\0';
  close(ends[0]);
  assert_int_equal(waitpid(child, &status, 0), child);
  return status;
}

static void says(const char *wanted) {
  if (!strstr(said, wanted)) fail_msg("\"%s\" does not contain \"%s\"", said, wanted);
}

static void log_some(void) {
  log_line(LOG_INFO, "reading %s", "a.json");
  log_line(LOG_WARN, "slow");
  log_line(LOG_ERROR, "broken");
  log_line(LOG_DEBUG, "not shown");
}

static void log_text(void **state) {
  (void)state;
  in_child(log_some, 0);
  assert_string_equal(said, "sluice: reading a.json\nsluice: warning: slow\nsluice: error: broken\n");
}

static void log_as_json(void) {
  char control[] = "quote \" and \x01 and \xFF";
  log_set(LOG_DEBUG, true);
  log_line(LOG_DEBUG, "%s", control);
}

static void log_json_lines(void **state) {
  (void)state;
  struct sluice_error err;
  cJSON *line;
  in_child(log_as_json, 0);
  assert_int_equal(json_parse("line", said, strlen(said), false, &line, &err), SLUICE_OK);
  assert_string_equal(cJSON_GetObjectItem(line, "level")->valuestring, "debug");
  assert_string_equal(cJSON_GetObjectItem(line, "message")->valuestring, "quote \" and \x01 and \xEF\xBF\xBD");
  cJSON_Delete(line);
}

static void log_colours(void) {
  setenv("TERM", "xterm", 1);
  unsetenv("NO_COLOR");
  log_line(LOG_ERROR, "red");
  setenv("NO_COLOR", "1", 1);
  log_line(LOG_ERROR, "plain");
}

static void colour_only_where_wanted(void **state) {
  (void)state;
  in_child(log_colours, 80);
  says("\033[31merror:\033[0m red");
  says("sluice: error: plain");
}

/* As if the work had begun `seconds` ago: no test waits for a clock. */
static void begin_earlier(struct progress *p, uint64_t total, int seconds) {
  setenv("TERM", "xterm", 1);
  progress_begin(p, "samples", total);
  p->started_ns -= seconds * 1000000000LL;
  p->shown_ns = p->started_ns;
}

static void short_work(void) {
  struct progress p;
  begin_earlier(&p, 100, 1);
  for (uint64_t i = 0; i <= 100; i++) progress_update(&p, i, NULL);
  progress_end(&p);
}

static void short_work_shows_nothing(void **state) {
  (void)state;
  in_child(short_work, 0);
  assert_string_equal(said, "");
  in_child(short_work, 80);
  assert_string_equal(said, "");
}

static void long_work(void) {
  struct progress p;
  begin_earlier(&p, 1000, 20);
  progress_update(&p, 250, "%s", "window/grocery");
  progress_update(&p, 251, "%s", "too soon");
  progress_update(&p, 1000, NULL);
  progress_end(&p);
}

static void lines_where_there_is_no_terminal(void **state) {
  (void)state;
  in_child(long_work, 0);
  says("samples:  25% 250/1000  12.5/s, 1m00s left  window/grocery\n");
  says("samples: 100% 1000/1000  50.0/s, took 20s\n");
  assert_null(strstr(said, "too soon"));
  assert_null(strchr(said, '\033'));
  assert_null(strchr(said, '\r'));
}

static void a_bar_on_a_terminal(void **state) {
  (void)state;
  in_child(long_work, 120);
  says("\r\033[Ksamples:  25% [======>                 ] 250/1000  12.5/s, 1m00s left  window/grocery");
  says("\r\033[Ksamples: 100% [========================] 1000/1000  50.0/s, took 20s\r\n");
}

static void a_narrow_terminal_cuts_the_line(void **state) {
  (void)state;
  in_child(long_work, 40);
  for (char *line = strstr(said, "\033[K"); line; line = strstr(line + 3, "\033[K"))
    assert_true(strcspn(line + 3, "\r\n") < 40);
}

static void unknown_total(void) {
  struct progress p;
  begin_earlier(&p, 0, 15);
  progress_update(&p, 45000000, NULL);
  progress_update(&p, 5, NULL);
  progress_end(&p);
  begin_earlier(&p, 1000000, 4000);
  progress_update(&p, 0, NULL);
  begin_earlier(&p, 1000000, 4000);
  progress_update(&p, 100, NULL);
}

static void odd_totals(void **state) {
  (void)state;
  in_child(unknown_total, 0);
  says("samples: 45000000  3.0M/s, 15s\n");
  says("samples:   0% 0/1000000  0.0/s, ? left\n");
  says("samples:   0% 100/1000000  0.0/s, 1000h00m left\n");
}

static void resumed_work(void) {
  struct progress p;
  begin_earlier(&p, 1000, 20);
  progress_update(&p, 500, NULL); /* an earlier run's */
  p.first_ns -= 10 * 1000000000LL;
  p.shown_ns = p.started_ns;
  progress_update(&p, 600, NULL);
}

static void an_earlier_run_does_not_count_in_the_rate(void **state) {
  (void)state;
  in_child(resumed_work, 0);
  says("samples:  60% 600/1000  10.0/s, 40s left\n");
}

static void first_interrupt(void) {
  signal_catch_interrupts();
  if (signal_interrupted()) _exit(9);
  raise(SIGTERM);
  if (signal_interrupted() != SIGTERM) _exit(8);
  if (sluice_exit_code(SLUICE_INTERRUPTED) != 143) _exit(7);
  int ends[2];
  struct sluice_error err;
  if (pipe(ends)) _exit(6);
  close(ends[0]);
  if (fd_write_all(ends[1], "x", 1, &err) != SLUICE_IO) _exit(5); /* no death by SIGPIPE */
}

static void second_interrupt(void) {
  first_interrupt();
  raise(SIGINT);
  _exit(4);
}

static void the_first_interrupt_asks_the_second_ends(void **state) {
  (void)state;
  int status = in_child(first_interrupt, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 0);
  status = in_child(second_interrupt, 0);
  assert_true(WIFEXITED(status));
  assert_int_equal(WEXITSTATUS(status), 130);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(log_text),
      cmocka_unit_test(log_json_lines),
      cmocka_unit_test(colour_only_where_wanted),
      cmocka_unit_test(short_work_shows_nothing),
      cmocka_unit_test(lines_where_there_is_no_terminal),
      cmocka_unit_test(a_bar_on_a_terminal),
      cmocka_unit_test(a_narrow_terminal_cuts_the_line),
      cmocka_unit_test(odd_totals),
      cmocka_unit_test(an_earlier_run_does_not_count_in_the_rate),
      cmocka_unit_test(the_first_interrupt_asks_the_second_ends),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
