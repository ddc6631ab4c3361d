/* Rule files of others: the first byte chooses gitleaks' TOML ('g') or a word list ('w'). What comes out is JSON, and a
 * policy that loads or says why not. */
#include "fuzz.h"
#include "monitor/monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct monitor_import_options o = {.id = "words", .category = "imported", .action = MONITOR_MASK};
  struct sluice_error err;
  struct buffer json, remarks;
  if (!size) return 0;
  struct slice in = {(const char *)data + 1, size - 1};
  buffer_init(&json, 0);
  buffer_init(&remarks, 0);
  err.message[0] = '\0';
  sluice_status st = data[0] == 'g' ? monitor_import_gitleaks("input", in, &o, &json, &remarks, &err)
                                    : monitor_import_words("input", in, &o, &json, &remarks, &err);
  if (st) PROMISE(err.message[0]);
  if (!st) {
    struct slice text = {json.ptr, json.len};
    struct json_span root;
    struct monitor_policy *p = NULL;
    PROMISE(json_span_root(text, &root, &err) == SLUICE_OK);
    err.message[0] = '\0';
    if (monitor_policy_parse("output", NULL, text, &p, &err)) PROMISE(err.message[0]);
    monitor_policy_free(p);
  }
  buffer_free(&json);
  buffer_free(&remarks);
  return 0;
}
