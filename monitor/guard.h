/* Private to monitor/: a policy file cut into parts by mode, side and route. */
#ifndef SLUICE_MONITOR_GUARD_H
#define SLUICE_MONITOR_GUARD_H

#include "monitor/policy.h"

enum { GUARD_PARTS_MAX = 8, GUARD_ROUTES_MAX = 64, GUARD_HEADERS_MAX = 8, BOUNDED_PIECES_MAX = 4096 };
struct cJSON;

struct mode_setting {
  enum monitor_mode mode;
  int64_t tokens, ms; /* of bounded; 0: no bound of this kind */
};
struct guard_part { /* the rules of one mode */
  size_t policy;    /* index into the guard's policies */
  struct mode_setting mode;
};
struct guard_side {
  struct guard_part parts[GUARD_PARTS_MAX];
  size_t n;
};
struct guard_header {
  char *name, *value; /* value "*": any */
};
struct guard_route {
  char *name;
  char *path, *dialect, *model; /* NULL: any; path and model may end in '*' */
  struct guard_header headers[GUARD_HEADERS_MAX];
  size_t n_headers;
  struct guard_side sides[MONITOR_SIDES];
};
struct monitor_guard {
  struct monitor_policy *whole;     /* all rules */
  struct monitor_policy **policies; /* what parts run; [0] may be `whole` itself */
  char **selections;                /* of each policy: a character a rule, '1' where it is in */
  size_t n_policies;
  struct guard_route *routes; /* [0]: the default */
  size_t n_routes;
  struct arena strings;
};

/* modes.c */
sluice_status mode_read(const char *where, const struct cJSON *value, struct mode_setting *out,
                        struct sluice_error *err);
/* From the command line: strict, bounded:tokens=8,ms=50, ... */
sluice_status mode_from_words(const char *words, struct mode_setting *out, struct sluice_error *err);
/* The mode of one rule on one route (NULL: the default route). */
sluice_status mode_of_rule(const char *name, const struct cJSON *root, const struct cJSON *route,
                           const struct cJSON *rule, struct mode_setting *out, struct sluice_error *err);
/* Which sides a rule looks at. */
sluice_status sides_of_rule(const char *name, const struct cJSON *root, const struct cJSON *rule,
                            bool sides[MONITOR_SIDES], struct sluice_error *err);
/* Takes the keys of modes, sides and routes out of a policy, so that what reads rules need not know them. */
void modes_strip(struct cJSON *root);
/* The same for those who read a policy without its modes: rules for requests go, shadow rules only flag. */
sluice_status modes_flatten(const char *name, struct cJSON *root, struct sluice_error *err);

#endif
