#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "engine/model/gguf.h"
#include "engine/model/safetensors.h"
#include "engine/model/weights.h"

enum { MAX_SHARDS = 4096 };

static sluice_status make_room(struct model *m, struct sluice_error *err) {
  struct tensor_file **files = realloc(m->files, (m->n_files + 1) * sizeof *files);
  if (!files) return sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", m->dir);
  m->files = files;
  return SLUICE_OK;
}

static sluice_status add_file(struct model *m, const char *name, struct sluice_error *err) {
  char *path = sluice_format("%s/%s", m->dir, name);
  struct safetensors *opened;
  sluice_status st = path ? make_room(m, err) : sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", m->dir);
  if (!st) st = safetensors_open(path, &opened, err);
  if (!st) m->files[m->n_files++] = (struct tensor_file *)opened;
  free(path);
  return st;
}

/* A shard is a file of the same folder: a name with a slash could read anything. */
static bool plain_name(const char *name) {
  return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

/* Whether the shard is open already. */
static bool is_open(const struct model *m, const char *name) {
  for (size_t i = 0; i < m->n_files; i++) {
    const char *path = m->files[i]->path;
    if (strcmp(strrchr(path, '/') + 1, name) == 0) return true;
  }
  return false;
}

static sluice_status open_shards(struct model *m, const char *index, const cJSON *map, struct sluice_error *err) {
  if (!cJSON_IsObject(map) || !map->child)
    return sluice_fail(err, SLUICE_INPUT, "%s: weight_map: expected an object of tensor names and file names", index);
  const cJSON *item;
  cJSON_ArrayForEach(item, map) {
    if (!cJSON_IsString(item) || !plain_name(item->valuestring))
      return sluice_fail(err, SLUICE_INPUT, "%s: weight_map.%.120s: expected the name of a file in the same folder",
                         index, item->string);
    if (is_open(m, item->valuestring)) continue;
    if (m->n_files == MAX_SHARDS)
      return sluice_fail(err, SLUICE_LIMIT, "%s: weight_map: more than %d files", index, (int)MAX_SHARDS);
    sluice_status st = add_file(m, item->valuestring, err);
    if (st) return st;
  }
  return SLUICE_OK;
}

/* Weights as torch.save writes them. */
static bool has_pickles(const struct model *m) {
  static const char *const names[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
  bool found = false;
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    char *path = sluice_format("%s/%s", m->dir, names[i]);
    found = found || (path && file_exists(path));
    free(path);
  }
  return found;
}

sluice_status weights_open(struct model *m, struct sluice_error *err) {
  char *index = sluice_format("%s/model.safetensors.index.json", m->dir);
  char *single = sluice_format("%s/model.safetensors", m->dir);
  cJSON *root = NULL;
  sluice_status st = SLUICE_OK;
  if (!index || !single)
    st = sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", m->dir);
  else if (!file_exists(single) && !file_exists(index) && has_pickles(m))
    st = sluice_fail(err, SLUICE_UNSUPPORTED,
                     "%s: pytorch_model.bin is not read, since loading one may run code; save the model as safetensors",
                     m->dir);
  else if (!file_exists(single) && !file_exists(index))
    st = sluice_fail(
        err, SLUICE_INPUT,
        "%s: neither model.safetensors nor model.safetensors.index.json, which names the parts of a larger model",
        m->dir);
  else if (file_exists(single))
    st = add_file(m, "model.safetensors", err);
  else if (!(st = json_read_file(index, false, &root, err)))
    st = open_shards(m, index, cJSON_GetObjectItemCaseSensitive(root, "weight_map"), err);
  cJSON_Delete(root);
  free(index);
  free(single);
  return st;
}

/* ---- GGUF ---------------------------------------------------------------------------------------------------------
 */

static sluice_status add_gguf(struct model *m, const char *path, struct gguf **out, struct sluice_error *err) {
  sluice_status st = make_room(m, err);
  if (!st) st = gguf_open(path, out, err);
  if (!st) m->files[m->n_files++] = (struct tensor_file *)*out;
  return st;
}

/* A large model comes as NAME-00001-of-00003.gguf and so on; the first part holds the metadata. */
sluice_status weights_open_gguf(struct model *m, const char *path, struct gguf **out, struct sluice_error *err) {
  int64_t parts = 1;
  char ending[32];
  struct gguf *part;
  sluice_status st = add_gguf(m, path, out, err);
  if (!st) st = gguf_whole(*out, "split.count", false, 1, 0, MAX_SHARDS, &parts, err);
  if (st || parts <= 1) return st;
  snprintf(ending, sizeof ending, "-00001-of-%05d.gguf", (int)parts);
  const size_t n = strlen(path), k = strlen(ending);
  if (n < k || strcmp(path + n - k, ending) != 0)
    return sluice_fail(err, SLUICE_USAGE, "%s: one of %d parts; name the first, which ends in %s", path, (int)parts,
                       ending);
  for (int i = 2; !st && i <= parts; i++) {
    char *name = sluice_format("%.*s-%05d-of-%05d.gguf", (int)(n - k), path, i, (int)parts);
    st = name ? add_gguf(m, name, &part, err) : sluice_fail(err, SLUICE_NOMEM, "%s: out of memory", path);
    free(name);
  }
  return st;
}
