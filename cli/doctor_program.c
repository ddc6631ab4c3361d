/* sluice doctor: the program, its libraries, the embedded model, CUDA, data sets, and where a ledger goes. */
#include "cli/build_facts.h"
#include "cli/doctor.h"
#include "engine/engine.h"
#include "ledger/ledger.h"
#include "monitor/monitor.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DATA_SETS_MAX 256
#define LOW_DISK_BYTES 1e9

/* By the numbers in "3.0.17": is a before b? */
static bool older(const char *a, const char *b) {
  for (;;) {
    char *end_a, *end_b;
    unsigned long na = strtoul(a, &end_a, 10), nb = strtoul(b, &end_b, 10);
    if (na != nb) return na < nb;
    if (end_a == a || end_b == b || *end_a != '.' || *end_b != '.') return false;
    a = end_a + 1, b = end_b + 1;
  }
}

void doctor_build(struct doctor *d) {
  struct library_fact libraries[LIBRARY_FACTS];
  doctor_check(d, "sluice");
  doctor_say(d, "%s, built by %s%s%s", SLUICE_VERSION, build_compiler(), *build_commit() ? " from " : "",
             build_commit());
  doctor_string(d, "version", SLUICE_VERSION);
  doctor_string(d, "commit", *build_commit() ? build_commit() : NULL);
  doctor_check(d, "libraries");
  build_libraries(libraries);
  for (int i = 0; i < LIBRARY_FACTS; i++) {
    const struct library_fact *f = &libraries[i];
    bool same = !strcmp(f->built, f->running);
    doctor_say(d, "%s%s %s", i ? ", " : "", f->name, f->running);
    if (i == 0) doctor_say(d, build_pcre2_jit() ? " (JIT)" : " (no JIT)");
    if (!same) doctor_say(d, " (built for %s)", f->built);
    doctor_string(d, f->name, f->running);
    if (older(f->running, f->built))
      doctor_remedy(d, DOCTOR_NOTE, "%s is older than the one built for: build again, or install %s", f->name,
                    f->built);
  }
  doctor_flag(d, "pcre2_jit", build_pcre2_jit());
  if (!build_pcre2_jit())
    doctor_remedy(d, DOCTOR_NOTE, "this PCRE2 has no JIT: rules mean the same but are matched more slowly");
  char what[160];
  bool there = monitor_prefilter_there(what, sizeof what);
  if (there) doctor_say(d, ", %s", what);
  doctor_string(d, "long_texts", there ? what : NULL);
  if (!there) doctor_remedy(d, DOCTOR_NOTE, "no Hyperscan: %s; long texts are judged more slowly, and alike", what);
}

/* One token through the network: reading the files is not yet running them. */
static sluice_status run_one_token(const struct model *m, struct doctor *d, struct sluice_error *err) {
  const struct model_config *c = model_configuration(m);
  struct session_options o = {.threads = 1};
  struct session *s = NULL;
  int32_t token = c->bos >= 0 ? c->bos : 0;
  float *logits = calloc((size_t)c->vocab, sizeof *logits);
  sluice_status st = logits ? session_open(m, &o, &s, err) : sluice_fail(err, SLUICE_NOMEM, "out of memory");
  int64_t before = clock_mono_ns();
  if (!st) st = session_append(s, &token, 1, logits, 1, err);
  for (int i = 0; i < c->vocab && !st; i++)
    if (!isfinite(logits[i])) st = sluice_fail(err, SLUICE_INPUT, "%s: its logits are not finite", model_directory(m));
  if (!st) {
    doctor_say(d, "; a token in %.2f ms", (double)(clock_mono_ns() - before) / 1e6);
  }
  session_close(s);
  free(logits);
  return st;
}

void doctor_model(struct doctor *d) {
  struct sluice_error err;
  struct model *m = NULL;
  char *dir = NULL;
  doctor_check(d, "model");
  sluice_status st = model_default_dir(&dir, &err);
  if (!st) st = model_open(dir, &m, &err);
  if (!st) {
    const struct model_config *c = model_configuration(m);
    doctor_say(d, "%s: %.2f M parameters, %d layers, vocabulary %d, context %d, %.12s", dir,
               (double)model_parameters(m) / 1e6, c->n_layers, c->vocab, c->max_context, model_hash(m));
    doctor_string(d, "directory", dir);
    doctor_string(d, "sha256", model_hash(m));
    doctor_number(d, "parameters", (double)model_parameters(m));
    doctor_number(d, "max_context", c->max_context);
    st = run_one_token(m, d, &err);
    if (!st && !model_tokenizer(m))
      st = sluice_fail(&err, SLUICE_INPUT, "%s: no tokenizer.json or tokenizer.model", dir);
  }
  if (st) {
    doctor_say(d, "%s%s", m ? "; but " : "", err.message);
    doctor_remedy(
        d, DOCTOR_FAIL,
        "`make model` trains it again; or set SLUICE_MODEL to a folder with config.json, model.safetensors and "
        "tokenizer.json");
  }
  free(dir);
  if (m) model_close(m);
}

/* The driver's own library, so that this works without CUDA's toolkit. Returns how many GPUs there are; -1: no driver.
 */
static int find_gpus(char *name, size_t cap) {
  int n = 0, device = 0;
  void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!driver) return -1;
  int (*init)(unsigned) = (int (*)(unsigned))dlsym(driver, "cuInit");
  int (*count)(int *) = (int (*)(int *))dlsym(driver, "cuDeviceGetCount");
  int (*get)(int *, int) = (int (*)(int *, int))dlsym(driver, "cuDeviceGet");
  int (*get_name)(char *, int, int) = (int (*)(char *, int, int))dlsym(driver, "cuDeviceGetName");
  if (!init || !count || !get || !get_name || init(0) || count(&n) || n < 1) return 0;
  if (get(&device, 0) || get_name(name, (int)cap, device)) snprintf(name, cap, "unnamed");
  return n; /* the driver stays loaded: it has threads of its own */
}

void doctor_cuda(struct doctor *d) {
  char gpu[256] = "";
  int n = find_gpus(gpu, sizeof gpu);
  char *path = cuda_library();
  bool there = path && file_exists(path);
  void *library = there ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  const char *why = there && !library ? dlerror() : NULL;
  doctor_check(d, "cuda");
  if (n > 0)
    doctor_say(d, "%d GPU%s, %s; ", n, n > 1 ? "s" : "", gpu);
  else
    doctor_say(d, n < 0 ? "no NVIDIA driver; " : "a driver, but no GPU; ");
  if (there)
    doctor_say(d, library ? "%s is there" : "%s cannot be loaded", path);
  else
    doctor_say(d, "built without CUDA (no %s)", path ? path : "library");
  if (n > 0 && !there) doctor_remedy(d, DOCTOR_NOTE, "to train on the GPU, build where nvcc is found (or set NVCC)");
  if (why) doctor_remedy(d, DOCTOR_NOTE, "%s; until then `sluice train --device cpu`", why);
  doctor_number(d, "gpus", n > 0 ? n : 0);
  doctor_string(d, "gpu", n > 0 ? gpu : NULL);
  doctor_flag(d, "driver", n >= 0);
  doctor_string(d, "library", there ? path : NULL);
  doctor_flag(d, "usable", n > 0 && library);
  if (library) dlclose(library);
  free(path);
}

static int by_name(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names of dir's folders, sorted; caller frees each. */
static size_t list_folders(DIR *folder, char *names[DATA_SETS_MAX]) {
  size_t n = 0;
  for (struct dirent *e; n < DATA_SETS_MAX && (e = readdir(folder));)
    if (e->d_name[0] != '.' && (e->d_type == DT_DIR || e->d_type == DT_LNK || e->d_type == DT_UNKNOWN) &&
        (names[n] = sluice_strdup(e->d_name)))
      n++;
  qsort(names, n, sizeof *names, by_name);
  return n;
}

void doctor_data(struct doctor *d) {
  const char *set = getenv("SLUICE_DATA"), *dir = set && *set ? set : "build/data";
  char *names[DATA_SETS_MAX];
  DIR *folder = opendir(dir);
  doctor_check(d, "data");
  doctor_string(d, "directory", dir);
  if (!folder) {
    doctor_say(d, "%s: %s; published sets are optional, `sluice data make` needs none", dir, strerror(errno));
    if (set && *set) doctor_remedy(d, DOCTOR_NOTE, "set SLUICE_DATA to the folder that holds the sets, or unset it");
    doctor_number(d, "sets", 0);
    return;
  }
  size_t n = list_folders(folder, names);
  closedir(folder);
  doctor_say(d, "%s: %zu set%s", dir, n, n == 1 ? "" : "s");
  for (size_t i = 0; i < n; i++) {
    doctor_say(d, "%s%s", i ? ", " : ": ", names[i]);
    free(names[i]);
  }
  doctor_number(d, "sets", (double)n);
}

static void say_ledger(struct doctor *d, const char *path) {
  struct sluice_error err, late;
  struct ledger *l = NULL;
  int64_t runs = 0, planned = 0, finished = 0, errors = 0, flying = 0;
  sluice_status st = ledger_open(path, LEDGER_READ, NULL, &l, &err);
  if (!st) st = ledger_check(l, &err);
  if (!st) st = ledger_query_int(l, "SELECT count(*) FROM run", LEDGER_NO_VALUES, 0, &runs, &err);
  if (!st) st = ledger_query_int(l, "SELECT sum(planned) FROM v_run", LEDGER_NO_VALUES, 0, &planned, &err);
  if (!st) st = ledger_query_int(l, "SELECT sum(finished) FROM v_run", LEDGER_NO_VALUES, 0, &finished, &err);
  if (!st) st = ledger_query_int(l, "SELECT sum(errors) FROM v_run", LEDGER_NO_VALUES, 0, &errors, &err);
  if (!st) st = ledger_query_int(l, "SELECT count(*) FROM checkpoint", LEDGER_NO_VALUES, 0, &flying, &err);
  if (!st)
    doctor_say(d, "; sound: %lld run%s, %lld of %lld dialogues, %lld in error, %lld in flight", (long long)runs,
               runs == 1 ? "" : "s", (long long)finished, (long long)planned, (long long)errors, (long long)flying);
  doctor_flag(d, "sound", !st);
  if (st) doctor_say(d, "; %s", err.message);
  if (st)
    doctor_remedy(d, DOCTOR_FAIL, "the message names the finding; a copy made before a migration is PATH.before-vN");
  ledger_close(l, &late);
}

void doctor_ledger(struct doctor *d, const char *path) {
  char folder[PATH_MAX];
  struct statvfs fs;
  const char *slash = path ? strrchr(path, '/') : NULL;
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : ".");
  const char *network = ledger_network_file_system(path ? path : "./ledger.db");
  doctor_check(d, "ledger");
  doctor_say(d, "%s", path ? path : "the current folder");
  doctor_string(d, "path", path);
  doctor_string(d, "network", network);
  if (statvfs(folder, &fs)) {
    doctor_say(d, ": %s: %s", folder, strerror(errno));
    doctor_remedy(d, path ? DOCTOR_FAIL : DOCTOR_NOTE, "make the folder, or name another");
    return;
  }
  double free_bytes = (double)fs.f_bavail * (double)fs.f_frsize;
  doctor_say(d, ": %s, %.1f GB free", network ? network : "a local file system", free_bytes / 1e9);
  doctor_number(d, "free_bytes", free_bytes);
  if (network)
    doctor_remedy(
        d, DOCTOR_NOTE,
        "a write-ahead log is unsafe on %s: a slower journal is used. Keep the ledger on a local disk and copy "
        "it when the run is done",
        network);
  if (free_bytes < LOW_DISK_BYTES)
    doctor_remedy(d, DOCTOR_NOTE, "less than 1 GB free: a full disk stops a run, resumable");
  if (path && file_exists(path))
    say_ledger(d, path);
  else if (access(folder, W_OK)) {
    doctor_say(d, ", not writable");
    doctor_remedy(d, path ? DOCTOR_FAIL : DOCTOR_NOTE, "name a --ledger in a folder where you may write");
  }
}
