/* A suite file: what is read can be freed and has what a plan needs. */
#include "fuzz.h"
#include "runner/runner.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct sluice_error err;
  struct suite *s = NULL;
  err.message[0] = '\0';
  if (suite_read(file_of(data, size), &s, &err))
    PROMISE(err.message[0]);
  else
    suite_free(s);
  return 0;
}
