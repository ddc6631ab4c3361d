/* Interrupts: the first one asks for a clean stop, the second one ends the process. */
#include "base/base.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t caught;

static void on_interrupt(int number) {
  if (caught) _exit(128 + number);
  caught = number;
}

/* Without SA_RESTART, so that a blocked read or poll returns and its caller looks at signal_interrupted(). SIGPIPE is
 * ignored: a reader that went away is an ordinary write error. */
void signal_catch_interrupts(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, NULL);
}

void signal_forget_interrupt(void) {
  if (caught == SIGINT) caught = 0;
}

int signal_interrupted(void) {
  return (int)caught;
}
