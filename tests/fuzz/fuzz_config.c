/* A model's config.json: what is read is within the bounds that the rest of the engine counts on. */
#include "engine/model/config.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct sluice_error err;
  struct model_config c = {0};
  err.message[0] = '\0';
  if (model_config_read(file_of(data, size), &c, &err)) {
    PROMISE(err.message[0]);
    return 0;
  }
  char hex[2 * SHA256_BYTES + 1];
  model_config_hash(&c, hex);
  PROMISE(c.n_layers > 0 && c.d_model > 0 && c.n_heads > 0 && c.n_kv_heads > 0 && c.head_dim > 0 && c.d_ff > 0);
  PROMISE(c.vocab > 0 && c.n_heads % c.n_kv_heads == 0 && c.head_dim % 2 == 0 && c.max_context > 0);
  PROMISE((double)c.n_heads * c.head_dim < 1e9 && c.bos < c.vocab && c.eos < c.vocab);
  PROMISE(c.norm_eps >= 0 && c.rope_theta > 0);
  return 0;
}
