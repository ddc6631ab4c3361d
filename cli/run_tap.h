/* The monitor as the runner's tap: cli is the room that joins the two. */
#ifndef SLUICE_CLI_RUN_TAP_H
#define SLUICE_CLI_RUN_TAP_H

#include "runner/runner.h"

struct run_taps;
/* A maker of taps that loads each policy file once. maker->ctx belongs to it until run_taps_close. */
sluice_status run_taps_open(struct run_taps **out, struct tap_maker *maker, struct sluice_error *err);
void run_taps_close(struct run_taps *t);

#endif
