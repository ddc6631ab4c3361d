/* Files of the readers: the first byte chooses one. Every dialogue that a file has can be read, printed and hashed, or
 * the file is refused. */
#include "datasets/datasets.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const char *const readers[] = {"sirllm_grocery", "sirllm_rps", "sirllm_dailydialog", "longeval_lines"};
  struct sluice_error err;
  struct dataset *d = NULL;
  char spec[128];
  if (!size) return 0;
  snprintf(spec, sizeof spec, "%s:file=%s", readers[data[0] % 4], file_of(data + 1, size - 1));
  err.message[0] = '\0';
  if (dataset_open(spec, &d, &err)) {
    PROMISE(err.message[0]);
    return 0;
  }
  for (size_t i = 0; i < dataset_size(d) && i < 50; i++) {
    struct dialogue dialogue;
    struct buffer json;
    unsigned char hash[SHA256_BYTES];
    struct json_span root;
    if (dataset_dialogue(d, i, &dialogue, &err)) continue;
    buffer_init(&json, 0);
    PROMISE(dialogue_json(&dialogue, &json, &err) == SLUICE_OK);
    PROMISE(json_span_root((struct slice){json.ptr, json.len}, &root, &err) == SLUICE_OK);
    PROMISE(dialogue_hash(&dialogue, hash, &err) == SLUICE_OK);
    for (size_t t = 0; t < dialogue.n_turns; t++)
      PROMISE(dialogue.turns[t].evidence_turn < (int)dialogue.n_turns &&
              dialogue.turns[t].answer < (int)dialogue.turns[t].n_choices);
    buffer_free(&json);
    dialogue_free(&dialogue);
  }
  dataset_close(d);
  return 0;
}
