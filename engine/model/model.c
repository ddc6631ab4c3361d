#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/lfs_pointer.h"
#include "engine/model/config.h"
#include "engine/model/family.h"
#include "engine/model/gguf.h"
#include "engine/model/weights.h"
#include "engine/tokenizer/tokenizer.h"

/* ---- a Hugging Face folder ----------------------------------------------------------------------------------------
 */

static sluice_status check_tokenizer(const struct model *m, const char *path, struct sluice_error *err) {
  if (!m->tok || tokenizer_size(m->tok) <= m->config.vocab) return SLUICE_OK;
  return sluice_fail(err, SLUICE_INPUT, "%s: the tokenizer's largest id is %d, but %s %d", path,
                     tokenizer_size(m->tok) - 1,
                     m->gguf ? "the rows of token_embd.weight are" : "vocab_size in config.json is", m->config.vocab);
}

static sluice_status open_tokenizer(struct model *m, struct sluice_error *err) {
  sluice_status st = tokenizer_open_folder(m->dir, &m->tok, err);
  return st ? st : check_tokenizer(m, m->dir, err);
}

static sluice_status open_config(struct model *m, struct sluice_error *err) {
  char *path = sluice_format("%s/config.json", m->dir);
  if (!path) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", m->dir);
  sluice_status st = model_config_read(path, &m->config, err);
  free(path);
  if (!st) {
    const struct model_family *f = model_family_named(m->config.family);
    m->names = (int)f->names;
    m->fused_qkv = f->fused_qkv, m->fused_up = f->fused_up;
  }
  path = st ? NULL : sluice_format("%s/generation_config.json", m->dir);
  if (!st && !path) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", m->dir);
  if (!st && file_exists(path)) st = model_config_read_generation(path, &m->config, err);
  free(path);
  return st;
}

static sluice_status open_folder(struct model *m, struct sluice_error *err) {
  sluice_status st = open_config(m, err);
  if (!st) st = weights_open(m, err);
  if (!st) st = weights_bind(m, err);
  return st ? st : open_tokenizer(m, err);
}

/* ---- a GGUF file --------------------------------------------------------------------------------------------------
 */

static sluice_status open_gguf(struct model *m, const char *path, struct sluice_error *err) {
  struct gguf *g;
  m->names = NAMES_GGUF;
  sluice_status st = weights_open_gguf(m, path, &g, err);
  if (st) return st;
  m->gguf = g;
  st = gguf_config_read(m, err);
  if (!st) st = weights_bind(m, err);
  if (!st) st = tokenizer_from_gguf(g, &m->tok, err);
  return st ? st : check_tokenizer(m, path, err);
}

/* The GGUF file that a folder without a config.json holds, or the first part of one; NULL when there is none or more
 * than one. Caller frees. */
static char *gguf_inside(const char *dir) {
  char *config = sluice_format("%s/config.json", dir), *found = NULL;
  DIR *d = config && !file_exists(config) ? opendir(dir) : NULL;
  int n = 0;
  for (struct dirent *e; d && (e = readdir(d));) {
    const size_t len = strlen(e->d_name);
    if (len < 5 || strcmp(e->d_name + len - 5, ".gguf") != 0) continue;
    if (strstr(e->d_name, "-of-") && !strstr(e->d_name, "-00001-of-")) continue;
    n++;
    free(found);
    found = sluice_format("%s/%s", dir, e->d_name);
  }
  if (d) closedir(d);
  free(config);
  if (n == 1) return found;
  free(found);
  return NULL;
}

/* A file that is neither: what it looks like. */
static sluice_status refuse_file(const char *path, struct sluice_error *err) {
  const unsigned char *bytes = NULL;
  size_t len = 0;
  struct sluice_error ignored;
  const bool mapped = file_map(path, &bytes, &len, &ignored) == SLUICE_OK;
  const bool pointer = mapped && lfs_pointer((struct slice){(const char *)bytes, len});
  if (mapped) file_unmap(bytes, len);
  if (pointer) return sluice_fail(err, SLUICE_INPUT, LFS_POINTER_MESSAGE, path);
  return sluice_fail(err, SLUICE_INPUT, "%s: neither a GGUF file nor a model's folder", path);
}

static bool is_folder(const char *path) {
  struct stat s;
  return stat(path, &s) != 0 || S_ISDIR(s.st_mode); /* what is not there is named by the file that is missed first */
}

static sluice_status open_any(struct model *m, struct sluice_error *err) {
  if (gguf_is(m->dir)) return open_gguf(m, m->dir, err);
  if (!is_folder(m->dir)) return refuse_file(m->dir, err);
  char *inside = gguf_inside(m->dir);
  if (!inside) return open_folder(m, err);
  free(m->dir);
  m->dir = inside;
  return open_gguf(m, inside, err);
}

sluice_status model_open(const char *path, struct model **out, struct sluice_error *err) {
  struct model *m = calloc(1, sizeof *m);
  if (!m) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  pthread_mutex_init(&m->hash_lock, NULL);
  pthread_mutex_init(&m->device_lock, NULL);
  m->dir = sluice_strdup(path);
  sluice_status st = m->dir ? open_any(m, err) : sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
  if (st) {
    model_close(m);
    return st;
  }
  *out = m;
  return SLUICE_OK;
}

void model_leave_device(struct model *m) {
  if (m->device_release) m->device_release(m->device_weights);
  m->device_weights = NULL;
}

void model_close(struct model *m) {
  if (!m) return;
  model_leave_device(m);
  for (size_t i = 0; i < m->n_files; i++) m->files[i]->close(m->files[i]);
  tokenizer_close(m->tok);
  free(m->files);
  free(m->layers);
  for (int i = 0; m->copies && i < m->config.n_layers; i++) free(m->copies[i]);
  free(m->copies);
  free(m->vectors);
  free(m->dir);
  pthread_mutex_destroy(&m->hash_lock);
  pthread_mutex_destroy(&m->device_lock);
  free(m);
}

const struct model_config *model_configuration(const struct model *m) {
  return &m->config;
}

const struct tokenizer *model_tokenizer(const struct model *m) {
  return m->tok;
}

const char *model_directory(const struct model *m) {
  return m->dir;
}

uint64_t model_parameters(const struct model *m) {
  return m->parameters;
}

/* One file: the SHA-256 of its bytes, what sha256sum prints. More: each further file's digest is hashed onto the last.
 */
static void compute_hash(struct model *m) {
  unsigned char chain[2 * SHA256_BYTES];
  for (size_t i = 0; i < m->n_files; i++) {
    sha256(m->files[i]->bytes, m->files[i]->len, i ? chain + SHA256_BYTES : chain);
    if (i) sha256(chain, sizeof chain, chain);
  }
  hex_of(chain, SHA256_BYTES, m->hash);
}

const char *model_hash(const struct model *m) {
  struct model *mine = (struct model *)(uintptr_t)m; /* the hash is the one thing that is filled in after opening */
  pthread_mutex_lock(&mine->hash_lock);
  if (!mine->hash[0]) compute_hash(mine);
  pthread_mutex_unlock(&mine->hash_lock);
  return mine->hash;
}

sluice_status model_default_dir(char **dir, struct sluice_error *err) {
  const char *named = getenv("SLUICE_MODEL");
  char *found = NULL;
  if (named && named[0]) {
    found = sluice_strdup(named);
  } else { /* build/sluice and build/tests/unit/test_x both find the tree's */
    sluice_status st = file_above_program("fixtures/model/config.json", 6, &found, err);
    if (st) return st;
    if (found) *strrchr(found, '/') = '\0';
  }
  if (!found && file_exists(SLUICE_PREFIX "/share/sluice/model/config.json"))
    found = sluice_strdup(SLUICE_PREFIX "/share/sluice/model");
  if (!found)
    return sluice_fail(err, SLUICE_INPUT,
                       "no embedded model: neither fixtures/model above the program nor %s/share/sluice/model has a "
                       "config.json; set SLUICE_MODEL to a model's folder",
                       SLUICE_PREFIX);
  *dir = found;
  return SLUICE_OK;
}
