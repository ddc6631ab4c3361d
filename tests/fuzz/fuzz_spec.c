/* "name:key=value,...": what is cut out was there (but for escapes); and the specs of datasets, which stand on it. */
#include "datasets/datasets.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const known[] = {"budget", "sinks", "seed", NULL};
  struct sluice_error err;
  struct spec s = {0};
  int64_t n = 0;
  double x = 0;
  char *text = malloc(size + 1);
  if (!text) return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  if (spec_parse(text, &s, &err) == SLUICE_OK) {
    PROMISE(strlen(s.name) <= size);
    for (size_t i = 0; i < s.n; i++)
      PROMISE(strstr(text, s.keys[i]) && (strchr(text, '\\') || strstr(text, s.values[i])));
    spec_check_keys(&s, known, &err);
    if (spec_int(&s, "budget", 4, 1, 1000, &n, &err) == SLUICE_OK) PROMISE(n >= 1 && n <= 1000);
    if (spec_double(&s, "seed", 0.5, 0, 1, &x, &err) == SLUICE_OK) PROMISE(x >= 0 && x <= 1);
    spec_free(&s);
  }
  struct dataset *d = NULL;
  if (!strstr(text, "file=") && dataset_open(text, &d, &err) == SLUICE_OK) {
    PROMISE(dataset_size(d) > 0 && dataset_canonical(d)[0]);
    dataset_close(d);
  }
  free(text);
  return 0;
}
