/* Another engine's speed, as a llama-bench program (or what takes its options and prints its JSON) measures it. */
#ifndef SLUICE_TESTS_LLAMA_BENCH_H
#define SLUICE_TESTS_LLAMA_BENCH_H

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

struct rates {
  double decode, prefill; /* tokens a second */
};

struct peer {
  const char *name, *program;
};

/* NAME=PROGRAM, which is cut at the '='. */
static inline bool peer_of(char *text, struct peer *out) {
  char *equals = strchr(text, '=');
  if (!equals) return false;
  *equals = '\0';
  *out = (struct peer){text, equals + 1};
  return true;
}

static inline sluice_status peer_read(const char *text, struct rates *out) {
  cJSON *all = cJSON_Parse(text);
  const cJSON *test;
  *out = (struct rates){0, 0};
  cJSON_ArrayForEach(test, all) {
    const double rate = cJSON_GetNumberValue(cJSON_GetObjectItem(test, "avg_ts"));
    if (cJSON_GetNumberValue(cJSON_GetObjectItem(test, "n_gen")) > 0)
      out->decode = rate;
    else
      out->prefill = rate;
  }
  cJSON_Delete(all);
  return out->decode > 0 && out->prefill > 0 ? SLUICE_OK : SLUICE_INPUT;
}

/* `options` besides the file, the numbers of tokens and the form of output. */
static inline sluice_status peer_run(const struct peer *p, const char *path, const char *options, int prompt,
                                     int decoded, struct rates *out, struct sluice_error *err) {
  char command[4096], text[1 << 16];
  snprintf(command, sizeof command, "'%s' -m '%s' %s -p %d -n %d -o json 2>/dev/null", p->program, path, options,
           prompt, decoded);
  FILE *from = popen(command, "r");
  if (!from) return sluice_fail(err, SLUICE_IO, "%s: cannot run", p->program);
  const size_t n = fread(text, 1, sizeof text - 1, from);
  text[n] = '\0';
  const char *json = strchr(text, '['); /* some print notes before it */
  if (pclose(from) || !json || peer_read(json, out))
    return sluice_fail(err, SLUICE_INPUT, "no results in what this printed: %s", command);
  return SLUICE_OK;
}

#endif
