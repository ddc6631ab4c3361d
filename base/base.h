/* base: what every room needs and nothing of the domain. The one header that every room includes. */
#ifndef SLUICE_BASE_H
#define SLUICE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define SLUICE_VERSION "0.1.0"

/* ---- status (base/status.c): errors are values --------------------------------------------------------------
 * A function that can fail returns sluice_status and takes `struct sluice_error *err` last (never NULL). On
 * failure the message names the file, key, line or token and says what to do; on success err is untouched. */
typedef enum sluice_status {
  SLUICE_OK = 0,
  SLUICE_NOMEM,       /* allocation failed */
  SLUICE_IO,          /* the operating system refused a read or write */
  SLUICE_FULL,        /* no space left: resumable (exit 4) */
  SLUICE_INPUT,       /* malformed data: a file, a frame, a model */
  SLUICE_USAGE,       /* a wrong word, option, key or value (exit 2) */
  SLUICE_LIMIT,       /* outside data passed a named bound */
  SLUICE_UNSUPPORTED, /* well-formed, but not something this build does */
  SLUICE_NETWORK,     /* a peer failed after all retries */
  SLUICE_INTERRUPTED, /* stopped by a signal after a checkpoint (exit 130/143) */
  SLUICE_INTERNAL     /* a broken promise of our own (exit 1) */
} sluice_status;

struct sluice_error {
  sluice_status code;
  char message[768];
};

/* Fills err and returns code, so that a caller writes `return sluice_fail(err, SLUICE_INPUT, "%s: ...", path);` */
sluice_status sluice_fail(struct sluice_error *err, sluice_status code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts "context: " before an existing message; returns err->code. */
sluice_status sluice_fail_in(struct sluice_error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *sluice_status_name(sluice_status code);
/* The process exit code that DESIGN.md gives to a status. */
int sluice_exit_code(sluice_status code);

/* ---- slices and buffers (base/buffer.c) --------------------------------------------------------------------- */
struct slice {
  const char *ptr; /* not NUL-terminated, not owned */
  size_t len;
};
struct slice slice_of(const char *cstr);
bool slice_equal(struct slice a, struct slice b);
bool slice_is(struct slice a, const char *cstr);

/* A growing byte buffer with a ceiling; always NUL-terminated past len once it holds memory. */
struct buffer {
  char *ptr;
  size_t len, cap;
  size_t limit; /* bytes; 0 means the default of 1 GiB */
};
void buffer_init(struct buffer *b, size_t limit);
void buffer_free(struct buffer *b); /* frees and zeroes; the limit stays */
void buffer_clear(struct buffer *b); /* len = 0, memory kept */
sluice_status buffer_append(struct buffer *b, const void *bytes, size_t len, struct sluice_error *err);
sluice_status buffer_append_str(struct buffer *b, const char *cstr, struct sluice_error *err);
sluice_status buffer_printf(struct buffer *b, struct sluice_error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void buffer_consume(struct buffer *b, size_t n); /* drops the first n bytes */
char *buffer_take(struct buffer *b, size_t *len); /* caller owns (free); the buffer is empty after */
char *sluice_strdup(const char *s);               /* NULL in, NULL out; NULL when out of memory */
char *sluice_strndup(const char *s, size_t n);
char *sluice_format(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* caller frees; NULL: no memory */

/* ---- arena (base/arena.c): many small allocations, one free --------------------------------------------------- */
struct arena {
  struct arena_block *head;
};
void *arena_alloc(struct arena *a, size_t size); /* zeroed, 16-byte aligned; NULL when out of memory */
char *arena_strndup(struct arena *a, const char *s, size_t n);
void arena_free(struct arena *a);
void *sluice_alloc_aligned(size_t size); /* 64-byte aligned, zeroed; free() it */

/* ---- files (base/file.c) ------------------------------------------------------------------------------------ */
/* Whole file into memory, NUL-terminated, bounded by limit bytes (0: 1 GiB). Caller frees. "-" reads stdin. Here, in
 * file_map and in sha256_file_hex a path that is absent, a folder or not permitted is SLUICE_USAGE. */
sluice_status file_read(const char *path, size_t limit, char **bytes, size_t *len, struct sluice_error *err);
/* Writes to path.tmp, fsyncs, renames: a reader sees the old file or the new one. */
sluice_status file_write_atomic(const char *path, const void *bytes, size_t len, struct sluice_error *err);
/* Read-only mapping. Unmap with file_unmap. */
sluice_status file_map(const char *path, const unsigned char **bytes, size_t *len, struct sluice_error *err);
void file_unmap(const unsigned char *bytes, size_t len);
bool file_exists(const char *path);
/* Looks for `relative` in the folder of the running program and in up to `levels` folders above it: *path (caller frees)
 * is the nearest that exists, or NULL. Only SLUICE_NOMEM fails. */
sluice_status file_above_program(const char *relative, int levels, char **path, struct sluice_error *err);
sluice_status file_make_dirs(const char *path, struct sluice_error *err); /* mkdir -p */
/* write(2) until done; EINTR retried; ENOSPC gives SLUICE_FULL. */
sluice_status fd_write_all(int fd, const void *bytes, size_t len, struct sluice_error *err);

/* ---- UTF-8 (base/utf8.c) ------------------------------------------------------------------------------------ */
/* Length of the longest prefix of s that ends on a character boundary and is valid UTF-8; *bad is set to the offset of
 * the first invalid byte, or to len when there is none. A truncated last character is not "bad". */
size_t utf8_valid_prefix(const char *s, size_t len, size_t *bad);
/* Decodes one character at s (len > 0): its length in bytes, 0 when truncated, -1 when invalid. */
int utf8_decode(const char *s, size_t len, uint32_t *codepoint);
int utf8_encode(uint32_t codepoint, char out[4]); /* bytes written; 0 for a surrogate or > U+10FFFF */

/* ---- random numbers (base/rng.c): xoshiro256**, the same sequence on every machine ---------------------------- */
struct rng {
  uint64_t s[4];
};
void rng_seed(struct rng *r, uint64_t seed);                     /* splitmix64 expansion */
void rng_seed_named(struct rng *r, uint64_t seed, const char *name); /* independent stream per name */
uint64_t rng_u64(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); /* uniform in [0,n), unbiased; n > 0 */
double rng_double(struct rng *r);              /* [0,1), 53 bits */
double rng_normal(struct rng *r);              /* standard normal; portable to the last bit only on one libm */

/* ---- hashing (base/hash.c) ---------------------------------------------------------------------------------- */
#define SHA256_BYTES 32
void sha256(const void *bytes, size_t len, unsigned char out[SHA256_BYTES]);
struct sha256_stream; /* incremental form */
struct sha256_stream *sha256_begin(void); /* NULL: no memory */
void sha256_add(struct sha256_stream *s, const void *bytes, size_t len);
void sha256_end(struct sha256_stream *s, unsigned char out[SHA256_BYTES]); /* frees s */
void hex_of(const unsigned char *bytes, size_t len, char *out);             /* out holds 2*len+1 */
sluice_status sha256_file_hex(const char *path, char out[2 * SHA256_BYTES + 1], struct sluice_error *err);
uint64_t hash64(const void *bytes, size_t len); /* FNV-1a finished with a mix; stable across machines */

/* ---- clocks (base/clock.c) ---------------------------------------------------------------------------------- */
int64_t clock_mono_ns(void);
int64_t clock_wall_ns(void); /* Unix time */
void clock_sleep_ns(int64_t ns);
void clock_iso8601(int64_t unix_ns, char out[32]); /* 2026-11-23T07:04:25Z */

/* ---- signals (base/signal.c) -------------------------------------------------------------------------------- */
void signal_catch_interrupts(void); /* first SIGINT/SIGTERM: signal_interrupted() turns true; a second one: _exit */
int signal_interrupted(void);       /* 0, or the signal's number */
/* The SIGINT that came has been dealt with: the next is a first one again. A SIGTERM stays. */
void signal_forget_interrupt(void);

/* ---- log and progress (base/log.c, base/progress.c): stderr only ---------------------------------------------- */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
void log_set(enum log_level level, bool json);
void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool term_colour(FILE *stream); /* a terminal, and neither NO_COLOR nor TERM=dumb */
/* A bar on a terminal, a line every 10 s elsewhere, nothing when total work takes under 2 s. */
struct progress {
  const char *label;
  uint64_t total, done;
  int64_t started_ns, shown_ns;
  bool tty, shown;
  uint64_t first; /* done at the first update: what an earlier run did is no part of the rate */
  int64_t first_ns;
};
void progress_begin(struct progress *p, const char *label, uint64_t total);
void progress_update(struct progress *p, uint64_t done, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void progress_end(struct progress *p);

/* ---- threads (base/threads.c) ------------------------------------------------------------------------------- */
/* A team runs fn(ctx, lane) on lanes 0..n-1, lane 0 on the caller; returns when all have finished. Work is split by
 * lane, statically, so that results do not depend on timing. A team of one starts no thread. */
struct team;
sluice_status team_start(int n, struct team **team, struct sluice_error *err);
int team_size(const struct team *t);
void team_run(struct team *t, void (*fn)(void *ctx, int lane), void *ctx);
void team_stop(struct team *t);
int threads_available(void); /* processors that this process may use */

/* ---- options (base/options.c): one table feeds parsing, -h, the man page and completion ------------------------- */
enum option_kind { OPTION_FLAG, OPTION_STRING, OPTION_INT, OPTION_DOUBLE, OPTION_LIST };
struct string_list {
  char **items;
  size_t n;
};
struct option_spec {
  const char *name;      /* long name without dashes */
  char letter;           /* 0: none */
  enum option_kind kind;
  void *target;          /* bool *, const char **, int64_t *, double *, struct string_list * (append) */
  const char *argument;  /* "FILE" in help; NULL for a flag */
  const char *help;      /* one line; units and default named */
};
struct verb_help {
  const char *verb;      /* "filter" */
  const char *summary;   /* one line */
  const char *usage;     /* "sluice filter --policy FILE [options] < stream" */
  const char *examples;  /* lines, shown first */
  const char *notes;     /* exit codes, formats; may be NULL */
};
/* Parses argv[1..]; fills targets; leaves positionals in *positional (pointers into argv; free the array). `--` ends
 * options, `--name=value` and `--name value` both work, `-h/--help` prints help and sets *helped. An unknown option is
 * SLUICE_USAGE with a did-you-mean. */
sluice_status options_parse(const struct verb_help *help, const struct option_spec *specs, size_t n_specs, int argc,
                            char **argv, struct string_list *positional, bool *helped, struct sluice_error *err);
void options_print_help(FILE *out, const struct verb_help *help, const struct option_spec *specs, size_t n_specs);
/* The nearest word in a NULL-terminated list within edit distance 3 (or half the word), else NULL. */
const char *suggest(const char *word, const char *const *known);
/* "name:key=value,key=value": cuts a spec string. Keys not in `known` (NULL-terminated) are SLUICE_USAGE with a
 * suggestion. Values stay strings; read them with spec_int and friends. Free with spec_free. */
struct spec {
  char *name;
  char **keys, **values;
  size_t n;
};
sluice_status spec_parse(const char *text, struct spec *out, struct sluice_error *err);
sluice_status spec_check_keys(const struct spec *s, const char *const *known, struct sluice_error *err);
const char *spec_get(const struct spec *s, const char *key); /* NULL when absent */
sluice_status spec_int(const struct spec *s, const char *key, int64_t fallback, int64_t min, int64_t max, int64_t *out,
                       struct sluice_error *err);
sluice_status spec_double(const struct spec *s, const char *key, double fallback, double min, double max, double *out,
                          struct sluice_error *err);
void spec_free(struct spec *s);

/* ---- JSON (base/json.c, base/json_span.c) --------------------------------------------------------------------- */
struct cJSON;
/* Configuration: comments allowed when `comments`; the error names line and column. Free with cJSON_Delete. */
sluice_status json_parse(const char *name, const char *text, size_t len, bool comments, struct cJSON **out,
                         struct sluice_error *err);
sluice_status json_read_file(const char *path, bool comments, struct cJSON **out, struct sluice_error *err);
/* SLUICE_USAGE naming `where` and the nearest known key when obj has a key that is not in `known`. */
sluice_status json_check_keys(const struct cJSON *obj, const char *where, const char *const *known,
                              struct sluice_error *err);
/* Typed members. Missing: the fallback (required == false) or an error; wrong type: always an error naming where.key. */
sluice_status json_string(const struct cJSON *obj, const char *where, const char *key, bool required,
                          const char *fallback, const char **out, struct sluice_error *err);
sluice_status json_int(const struct cJSON *obj, const char *where, const char *key, bool required, int64_t fallback,
                       int64_t min, int64_t max, int64_t *out, struct sluice_error *err);
sluice_status json_double(const struct cJSON *obj, const char *where, const char *key, bool required, double fallback,
                          double *out, struct sluice_error *err);
sluice_status json_bool(const struct cJSON *obj, const char *where, const char *key, bool fallback, bool *out,
                        struct sluice_error *err);
/* Appends s as a JSON string with quotes; U+2028/9, controls, < > & and invalid bytes escaped (U+FFFD for invalid). */
sluice_status json_quote(struct buffer *out, const char *s, size_t len, struct sluice_error *err);

/* The wire: byte ranges of values inside one JSON text, without building a tree, so that everything else survives. */
enum json_type { JSON_NULL, JSON_TRUE, JSON_FALSE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };
struct json_span {
  enum json_type type;
  size_t start, end; /* [start,end) in the text; a string's range includes its quotes */
};
/* Validates the whole text (depth <= 64), and gives the top value's range. */
sluice_status json_span_root(struct slice text, struct json_span *out, struct sluice_error *err);
/* The same, with NaN, Infinity and -Infinity as numbers: Python's json writes them and reads them. */
sluice_status json_span_root_lenient(struct slice text, struct json_span *out, struct sluice_error *err);
/* A member of an object (the last of duplicates, as most parsers do) or an array's element; false when absent. */
bool json_span_member(struct slice text, struct json_span object, const char *key, struct json_span *out);
bool json_span_element(struct slice text, struct json_span array, size_t index, struct json_span *out);
/* The element behind *element, or the first one when that is {0}: a walk over a long array takes one pass. */
bool json_span_next(struct slice text, struct json_span array, struct json_span *element);
/* The same for the members of an object, in order and with duplicates: *key and *value are {0} at first. */
bool json_span_next_member(struct slice text, struct json_span object, struct json_span *key, struct json_span *value);
bool json_span_key_is(struct slice text, struct json_span key, const char *name); /* as decoded */
size_t json_span_count(struct slice text, struct json_span array);
/* One past a well-formed string whose first quote stands at `at`, in any text; 0 when there is none. */
size_t json_span_string_end(struct slice text, size_t at);
/* Whether some object inside `value` has a key twice (as decoded), so that two readers may see two things; *at: where. */
bool json_span_repeats(struct slice text, struct json_span value, size_t *at);
bool json_span_keys_repeat(struct slice text, struct json_span object); /* the object's own keys alone */
/* Follows "choices.0.delta.content"; a number walks into an array. */
bool json_span_path(struct slice text, struct json_span from, const char *path, struct json_span *out);
/* Decodes a string span to raw bytes (U+0000 kept; a lone surrogate becomes the three bytes of its WTF-8 form). */
sluice_status json_span_decode(struct slice text, struct json_span string, struct buffer *out, struct sluice_error *err);

#endif
