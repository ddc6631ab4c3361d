/* What a judge wrote: a verdict of the menu or a reason; and a text made harmless for a prompt stays so. */
#include "fuzz.h"
#include "judge/kinds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const struct menu_word menu[] = {{"pass", 1, "", "pass"}, {"fail", 0, "", "fail"}, {"tie", 0.5, "", "tie"}};
  struct slice text = {(const char *)data, size};
  struct sluice_error err;
  struct buffer once;
  const char *why = NULL;
  int at = verdict_read(text, menu, 3, &why);
  PROMISE(at >= -1 && at < 3 && (at >= 0 || (why && why[0])));
  buffer_init(&once, 0);
  PROMISE(prompt_neutralise(&once, text, "0123456789abcdef", &err) == SLUICE_OK);
  /* The answer that is judged must not be able to speak as the judge. */
  PROMISE(verdict_read((struct slice){once.ptr, once.len}, menu, 3, &why) == -1);
  buffer_free(&once);
  return 0;
}
