/* The prefilter over long texts. Each rule for which pattern_prefilter.c answers has an expression that matches
 * wherever the rule does; its match ends are marked in a row of bits over the slice, and an attempt is worth making
 * only less than the rule's reach before a mark, or so near the slice's end that what follows decides. libhs is loaded
 * when the first long text has come: it and its C++ library take a while, and most runs never need them. */
#include "monitor/prefilter.h"
#include "monitor/pattern_tree.h"
#include "monitor/stream.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
  BITS = 256,
  WORDS = BITS / 64,
  WORTH_BYTES = 64 << 10,
  COMMON_BYTES = 3 /* of a keyword */,
  DROPPED_MAX = 64,
  EXPRESSIONS_MAX = 64 << 20
};
enum prefilter_state { PREFILTER_IDLE, PREFILTER_BUILDING, PREFILTER_READY, PREFILTER_FAILED };

struct marks_row {
  uint64_t bits[WORDS];
};
struct prefilter_marks {
  const struct prefilter *prefilter;
  void *scratch;
  struct marks_row *rows; /* one a rule */
  uint32_t *touched;      /* rows that hold a bit */
  size_t n_touched, n_rules;
  size_t block; /* bytes a bit */
  uint64_t base, end;
  bool active;
};

#ifdef SLUICE_HYPERSCAN
#include <dlfcn.h>
#include <hs/hs.h>

struct prefilter_rule {
  char *pattern;
  size_t len, max_match, reach;
  uint32_t flags, run; /* run: the row of its long runs, 0: none */
  bool ascii;
};
struct prefilter {
  atomic_int references, state;
  atomic_size_t offered;
  size_t n_rules, n_rows, look_back; /* rows: one a rule, and one for each kind of long run */
  uint32_t match_limit;
  struct prefilter_rule *rules;
  hs_database_t *db;
};

/* ---- the library ---- */

static struct {
  __typeof__(hs_valid_platform) *valid_platform;
  __typeof__(hs_version) *version;
  __typeof__(hs_compile_multi) *compile_multi;
  __typeof__(hs_free_compile_error) *free_compile_error;
  __typeof__(hs_alloc_scratch) *alloc_scratch;
  __typeof__(hs_free_scratch) *free_scratch;
  __typeof__(hs_free_database) *free_database;
  __typeof__(hs_scan) *scan;
  const char *why; /* it is not there; NULL: it is */
} hs;
static pthread_once_t hs_once = PTHREAD_ONCE_INIT;

static void load_library(void) {
  static const char *const names[] = {"hs_valid_platform",     "hs_version",       "hs_compile_multi",
                                      "hs_free_compile_error", "hs_alloc_scratch", "hs_free_scratch",
                                      "hs_free_database",      "hs_scan"};
  void *found[sizeof names / sizeof *names];
  const char *off = getenv("SLUICE_HYPERSCAN");
  hs.why = "switched off by $SLUICE_HYPERSCAN";
  if (off && strcmp(off, "0") == 0) return;
  hs.why = "libhs.so.5 is not there (libhyperscan5, libvectorscan5)";
  void *library = dlopen("libhs.so.5", RTLD_NOW | RTLD_LOCAL);
  if (!library) return;
  hs.why = "libhs.so.5 lacks a function";
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!(found[i] = dlsym(library, names[i]))) return;
  memcpy(&hs, found, sizeof found); /* its members stand in the order of the names */
  hs.why = hs.valid_platform() == HS_SUCCESS ? NULL : "libhs does not run on this processor";
}

static bool library_there(void) {
  pthread_once(&hs_once, load_library);
  return !hs.why;
}

bool monitor_prefilter_there(char *what, size_t size) {
  bool there = library_there();
  snprintf(what, size, "%s%s", there ? "Hyperscan " : "", there ? hs.version() : hs.why);
  return there;
}

/* ---- compiling ---- */

sluice_status prefilter_new(struct prefilter **out, struct sluice_error *err) {
  struct prefilter *f = calloc(1, sizeof *f);
  if (!f) return sluice_fail(err, SLUICE_NOMEM, "no memory for the policy");
  atomic_init(&f->references, 1);
  *out = f;
  return SLUICE_OK;
}

void prefilter_release(struct prefilter *f) {
  if (!f || atomic_fetch_sub(&f->references, 1) != 1) return;
  if (f->db) hs.free_database(f->db);
  for (size_t i = 0; f->rules && i < f->n_rules; i++) free(f->rules[i].pattern);
  free(f->rules);
  free(f);
}

struct expressions {
  struct buffer text; /* each ends with a zero byte */
  const char **at;
  unsigned *ids, n;
};

static sluice_status add_expression(struct expressions *e, size_t *offsets, size_t rule, const struct buffer *text,
                                    struct sluice_error *err) {
  offsets[e->n] = e->text.len;
  e->ids[e->n++] = (unsigned)rule;
  sluice_status st = buffer_append(&e->text, text->ptr, text->len, err);
  return st ? st : buffer_append(&e->text, "", 1, err);
}

/* Rules that can go on in the same characters up to the same bound share a row. */
static sluice_status add_long_run(struct prefilter *f, struct expressions *e, size_t *offsets, struct prefilter_rule *r,
                                  const struct buffer *text, struct sluice_error *err) {
  for (unsigned i = 0; i < e->n; i++) {
    const char *known = e->text.ptr + offsets[i];
    if (e->ids[i] < f->n_rules || strlen(known) != text->len || memcmp(known, text->ptr, text->len)) continue;
    r->run = e->ids[i];
    return SLUICE_OK;
  }
  r->run = (uint32_t)f->n_rows;
  return add_expression(e, offsets, f->n_rows++, text, err);
}

static sluice_status write_expressions(struct prefilter *f, struct expressions *e, struct sluice_error *err) {
  size_t *offsets = calloc(2 * f->n_rules, sizeof *offsets);
  struct buffer expression, long_run;
  sluice_status st = offsets ? SLUICE_OK : SLUICE_NOMEM;
  buffer_init(&expression, EXPRESSIONS_MAX);
  buffer_init(&long_run, EXPRESSIONS_MAX);
  for (size_t i = 0; i < f->n_rules && !st; i++) {
    struct prefilter_rule *r = &f->rules[i];
    const struct pattern_prefilter_question q = {
        {r->pattern, r->len}, r->flags, r->ascii, r->max_match, f->match_limit};
    struct pattern_prefilter answer = {.expression = &expression, .long_run = &long_run};
    buffer_clear(&expression);
    buffer_clear(&long_run);
    if (r->pattern) st = pattern_prefilter_read(&q, &answer, err);
    r->reach = answer.reach;
    if (st || !r->reach) continue;
    st = add_expression(e, offsets, i, &expression, err);
    if (!st && answer.capped) st = add_long_run(f, e, offsets, r, &long_run, err);
  }
  for (unsigned i = 0; i < e->n && !st; i++) e->at[i] = e->text.ptr + offsets[i];
  buffer_free(&expression);
  buffer_free(&long_run);
  free(offsets);
  return st;
}

/* What the library finds too large or cannot express always runs. */
static void drop(struct prefilter *f, struct expressions *e, unsigned rule) {
  unsigned kept = 0;
  for (unsigned i = 0; i < e->n; i++) {
    if (e->ids[i] == rule) continue;
    e->at[kept] = e->at[i];
    e->ids[kept++] = e->ids[i];
  }
  e->n = kept;
  for (size_t i = 0; i < f->n_rules; i++)
    if (i == rule || (rule >= f->n_rules && f->rules[i].run == rule)) f->rules[i].reach = 0;
}

static bool compile(struct prefilter *f, struct expressions *e) {
  for (int dropped = 0; dropped <= DROPPED_MAX && e->n; dropped++) {
    hs_compile_error_t *error = NULL;
    if (hs.compile_multi(e->at, NULL, e->ids, e->n, HS_MODE_BLOCK, NULL, &f->db, &error) == HS_SUCCESS) return true;
    int at = error ? error->expression : -1;
    hs.free_compile_error(error);
    if (at < 0 || (unsigned)at >= e->n) return false;
    drop(f, e, e->ids[at]);
  }
  return false;
}

static bool build(struct prefilter *f) {
  struct expressions e = {.at = calloc(2 * f->n_rules, sizeof *e.at), .ids = calloc(2 * f->n_rules, sizeof *e.ids)};
  struct sluice_error ignored;
  buffer_init(&e.text, EXPRESSIONS_MAX);
  bool done = library_there() && e.at && e.ids && !write_expressions(f, &e, &ignored) && compile(f, &e);
  for (size_t i = 0; i < f->n_rules; i++)
    if (f->rules[i].reach > f->look_back) f->look_back = f->rules[i].reach;
  buffer_free(&e.text);
  free(e.at);
  free(e.ids);
  return done;
}

static void *build_on_thread(void *arg) {
  struct prefilter *f = arg;
  atomic_store(&f->state, build(f) ? PREFILTER_READY : PREFILTER_FAILED);
  prefilter_release(f);
  return NULL;
}

/* A rule that sleeps until a rare word has come is tried seldom: nothing to gain. */
static void mark_rare(const struct monitor_policy *p, bool *rare) {
  for (size_t i = 0; i < p->n_rules; i++) rare[i] = p->rules[i].keyworded && !p->prefilter_rare;
  for (size_t k = 0; k < p->n_keywords; k++)
    if (!p->keywords[k].context && p->keywords[k].len <= COMMON_BYTES) rare[p->keywords[k].rule] = false;
}

/* The policy may go while its patterns are compiled. */
static bool copy_rules(struct prefilter *f, const struct monitor_policy *p) {
  f->n_rules = f->n_rows = p->n_rules;
  f->match_limit = p->match_limit;
  f->rules = calloc(p->n_rules, sizeof *f->rules);
  bool *rare = calloc(p->n_rules, sizeof *rare), done = f->rules && rare;
  if (done) mark_rare(p, rare);
  for (size_t i = 0; done && i < p->n_rules; i++) {
    const struct rule *r = &p->rules[i];
    char *copy = r->pattern && !rare[i] ? malloc(r->pattern_len + 1) : NULL;
    done = copy || !r->pattern || rare[i];
    if (!copy) continue;
    memcpy(copy, r->pattern, r->pattern_len);
    copy[r->pattern_len] = '\0';
    f->rules[i] = (struct prefilter_rule){copy, r->pattern_len, r->max_match, 0, r->flags, 0, r->ascii};
  }
  free(rare);
  return done;
}

static bool begin(const struct monitor_policy *p) {
  int idle = PREFILTER_IDLE;
  struct prefilter *f = p->prefilter;
  if (!atomic_compare_exchange_strong(&f->state, &idle, PREFILTER_BUILDING)) return false;
  if (copy_rules(f, p)) return true;
  atomic_store(&f->state, PREFILTER_FAILED);
  return false;
}

void prefilter_offer(const struct monitor_policy *p, size_t bytes) {
  struct prefilter *f = p->prefilter;
  pthread_t thread;
  sigset_t all, before;
  if (!f || atomic_load_explicit(&f->state, memory_order_relaxed) != PREFILTER_IDLE) return;
  if (atomic_fetch_add(&f->offered, bytes) + bytes < WORTH_BYTES || !begin(p)) return;
  atomic_fetch_add(&f->references, 1);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* a program's signals are its own threads' */
  int failed = pthread_create(&thread, NULL, build_on_thread, f);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!failed) {
    pthread_detach(thread);
    return;
  }
  atomic_store(&f->state, PREFILTER_FAILED);
  prefilter_release(f);
}

bool monitor_policy_compile_prefilter(const struct monitor_policy *p) {
  if (p->prefilter && begin(p))
    atomic_store(&p->prefilter->state, build(p->prefilter) ? PREFILTER_READY : PREFILTER_FAILED);
  return prefilter_is_ready(p->prefilter);
}

size_t monitor_policy_prefiltered(const struct monitor_policy *p) {
  size_t n = 0;
  for (size_t i = 0; prefilter_is_ready(p->prefilter) && i < p->n_rules; i++) n += p->prefilter->rules[i].reach > 0;
  return n;
}

bool prefilter_is_ready(const struct prefilter *f) {
  return f && atomic_load_explicit(&f->state, memory_order_acquire) == PREFILTER_READY;
}

size_t prefilter_look_back(const struct prefilter *f) {
  return f->look_back;
}

/* ---- looking ---- */

void prefilter_marks_free(struct prefilter_marks *marks) {
  if (!marks) return;
  if (marks->scratch) hs.free_scratch(marks->scratch);
  free(marks->rows);
  free(marks->touched);
  free(marks);
}

static struct prefilter_marks *marks_of(struct monitor *m) {
  const struct prefilter *f = m->policy->prefilter;
  if (m->marks) return m->marks;
  struct prefilter_marks *marks = calloc(1, sizeof *marks);
  if (!marks) return NULL;
  hs_scratch_t *scratch = NULL;
  marks->prefilter = f;
  marks->rows = calloc(f->n_rows, sizeof *marks->rows);
  marks->touched = calloc(f->n_rows, sizeof *marks->touched);
  if (!marks->rows || !marks->touched || hs.alloc_scratch(f->db, &scratch) != HS_SUCCESS) {
    prefilter_marks_free(marks);
    return NULL;
  }
  marks->scratch = scratch;
  return m->marks = marks;
}

static int mark(unsigned id, unsigned long long from, unsigned long long to, unsigned flags, void *context) {
  struct prefilter_marks *marks = context;
  struct marks_row *row = &marks->rows[id];
  size_t bit = (size_t)(to - 1) / marks->block;
  (void)from, (void)flags;
  if (!(row->bits[0] | row->bits[1] | row->bits[2] | row->bits[3])) marks->touched[marks->n_touched++] = id;
  row->bits[bit / 64] |= (uint64_t)1 << (bit % 64);
  return 0;
}

void prefilter_look(struct monitor *m, struct slice text, uint64_t from) {
  struct prefilter_marks *marks = marks_of(m);
  if (!marks || text.len > UINT32_MAX) return;
  marks->block = (text.len + BITS - 1) / BITS;
  marks->base = from;
  marks->end = from + text.len;
  marks->active =
      hs.scan(m->policy->prefilter->db, text.ptr, (unsigned)text.len, 0, marks->scratch, mark, marks) == HS_SUCCESS;
}

void prefilter_clear(struct monitor *m) {
  struct prefilter_marks *marks = m->marks;
  if (!marks) return;
  for (size_t i = 0; i < marks->n_touched; i++) marks->rows[marks->touched[i]] = (struct marks_row){{0}};
  marks->n_touched = 0;
  marks->active = false;
}

/* The first set bit at or behind `bit`; BITS: none. */
static size_t next_bit(const struct marks_row *row, size_t bit) {
  for (size_t w = bit / 64; w < WORDS; w++) {
    uint64_t bits = row->bits[w];
    if (w == bit / 64) bits &= ~(uint64_t)0 << (bit % 64);
    if (bits) return w * 64 + (size_t)__builtin_ctzll(bits);
  }
  return BITS;
}

uint64_t prefilter_next(const struct monitor *m, uint32_t rule, uint64_t from, bool final, uint64_t *last) {
  const struct prefilter_marks *marks = m->marks;
  *last = UINT64_MAX;
  if (!marks || !marks->active || !marks->prefilter->rules[rule].reach) return from;
  const struct prefilter_rule *r = &marks->prefilter->rules[rule];
  const uint64_t reach = r->reach, block = marks->block, tail = final ? 0 : reach;
  const uint64_t open = marks->end > marks->base + tail ? marks->end - tail : marks->base;
  if (from < marks->base) from = marks->base; /* they were decided when less text was there */
  if (from >= open) return from;
  struct marks_row row = marks->rows[rule];
  for (size_t w = 0; r->run && w < WORDS; w++) row.bits[w] |= marks->rows[r->run].bits[w];
  size_t bit = next_bit(&row, (size_t)((from - marks->base) / block));
  uint64_t at = marks->base + bit * block, start = at > reach ? at - reach : 0;
  if (bit == BITS || start >= open) return open;
  while (bit + 1 < BITS && next_bit(&row, bit + 1) == bit + 1) bit++;
  uint64_t end = marks->base + (bit + 1) * block;
  if (end < open) *last = end - 1;
  return start > from ? start : from;
}
#else

struct prefilter {
  char unused;
};
bool monitor_prefilter_there(char *what, size_t size) {
  snprintf(what, size, "built without it");
  return false;
}
sluice_status prefilter_new(struct prefilter **out, struct sluice_error *err) {
  (void)err;
  *out = NULL;
  return SLUICE_OK;
}
void prefilter_release(struct prefilter *f) {
  (void)f;
}
void prefilter_offer(const struct monitor_policy *p, size_t bytes) {
  (void)p, (void)bytes;
}
bool monitor_policy_compile_prefilter(const struct monitor_policy *p) {
  (void)p;
  return false;
}
size_t monitor_policy_prefiltered(const struct monitor_policy *p) {
  (void)p;
  return 0;
}
bool prefilter_is_ready(const struct prefilter *f) {
  (void)f;
  return false;
}
size_t prefilter_look_back(const struct prefilter *f) {
  (void)f;
  return 0;
}
void prefilter_marks_free(struct prefilter_marks *marks) {
  (void)marks;
}
void prefilter_look(struct monitor *m, struct slice text, uint64_t from) {
  (void)m, (void)text, (void)from;
}
void prefilter_clear(struct monitor *m) {
  (void)m;
}
uint64_t prefilter_next(const struct monitor *m, uint32_t rule, uint64_t from, bool final, uint64_t *last) {
  (void)m, (void)rule, (void) final;
  *last = UINT64_MAX;
  return from;
}
#endif
