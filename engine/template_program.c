/* What a published chat template, a Jinja program, says without being run: its text in one spelling, so that a mark of
 * the table is found however a program is laid out, and the system's text that it writes where a dialogue brings none.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "engine/talk.h"

struct program {
  const char *at;
  struct buffer *out;
};

static sluice_status put(struct program *p, const char *text, size_t n, struct sluice_error *err) {
  return buffer_append(p->out, text, n, err);
}

/* 'text', quotes of either kind, becomes text between two TEMPLATE_QUOTE with its escapes read. */
static sluice_status read_literal(struct program *p, struct sluice_error *err) {
  const char quote = *p->at++;
  sluice_status st = put(p, TEMPLATE_QUOTE, 1, err);
  for (; !st && *p->at && *p->at != quote; p->at++) {
    char c = *p->at;
    if (c == '\\' && p->at[1]) {
      c = *++p->at;
      c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c;
    }
    st = put(p, &c, 1, err);
  }
  if (*p->at) p->at++;
  return st ? st : put(p, TEMPLATE_QUOTE, 1, err);
}

/* message.role is message['role'], |trim is .strip(), and a method keeps its dot. */
static sluice_status read_member(struct program *p, struct sluice_error *err) {
  const char *name = p->at + 1;
  size_t n = 0;
  while (isalnum((unsigned char)name[n]) || name[n] == '_') n++;
  p->at = name + n;
  sluice_status st;
  if (n == 0 || *p->at == '(') {
    st = put(p, name - 1, n + 1, err);
  } else {
    st = put(p, "[" TEMPLATE_QUOTE, 2, err);
    if (!st) st = put(p, name, n, err);
    if (!st) st = put(p, TEMPLATE_QUOTE "]", 2, err);
  }
  return st;
}

static size_t trim_filter(const char *at) {
  size_t n = 1;
  while (isspace((unsigned char)at[n])) n++;
  return strncmp(at + n, "trim", 4) == 0 && !isalnum((unsigned char)at[n + 4]) && at[n + 4] != '_' ? n + 4 : 0;
}

/* One {{ ... }} or {% ... %}, without white space outside its literals. */
static sluice_status read_tag(struct program *p, struct sluice_error *err) {
  const char end = p->at[1] == '{' ? '}' : '%';
  sluice_status st = put(p, p->at, 2, err);
  p->at += p->at[2] == '-' || p->at[2] == '+' ? 3 : 2;
  while (!st && *p->at && !(p->at[0] == end && p->at[1] == '}')) {
    const size_t trim = *p->at == '|' ? trim_filter(p->at) : 0;
    if (*p->at == '\'' || *p->at == '"') {
      st = read_literal(p, err);
    } else if (*p->at == '.' && isalpha((unsigned char)p->at[1])) {
      st = read_member(p, err);
    } else if (trim > 0) {
      st = put(p, ".strip()", 8, err);
      p->at += trim;
    } else {
      const bool skip = isspace((unsigned char)*p->at) || ((*p->at == '-' || *p->at == '+') && p->at[1] == end);
      if (!skip) st = put(p, p->at, 1, err);
      p->at++;
    }
  }
  if (!st && *p->at) {
    st = put(p, p->at, 2, err);
    p->at += 2;
  }
  return st;
}

sluice_status template_canonical(const char *published, struct buffer *out, struct sluice_error *err) {
  struct program p = {published, out};
  sluice_status st = SLUICE_OK;
  while (!st && *p.at) {
    if (p.at[0] == '{' && p.at[1] == '#') {
      const char *end = strstr(p.at, "#}");
      p.at = end ? end + 2 : p.at + strlen(p.at);
    } else if (p.at[0] == '{' && (p.at[1] == '{' || p.at[1] == '%')) {
      st = read_tag(&p, err);
    } else {
      st = put(&p, p.at++, 1, err);
    }
  }
  return st ? st : put(&p, "", 1, err);
}

/* The text between `open` and `close`, all in one literal and not empty. */
static struct slice literal_between(const char *canonical, const char *open, const char *close) {
  const size_t n = strlen(open);
  for (const char *at = canonical; n > 0 && (at = strstr(at, open)); at += n) {
    const char *end = strstr(at + n, close), *quote = strchr(at + n, TEMPLATE_QUOTE[0]);
    if (end && quote && end <= quote && end > at + n) return (struct slice){at + n, (size_t)(end - at) - n};
  }
  return (struct slice){0};
}

sluice_status template_invented(const struct chat_template *c, const char *canonical, char **text,
                                struct sluice_error *err) {
  const struct turn_opening *open = &c->open[ROLE_SYSTEM];
  struct slice found = {0};
  *text = NULL;
  if (c->invents == INVENTS_TURN) {
    char *opening = sluice_format("%s%s", open->control, open->label);
    if (!opening) return sluice_fail(err, SLUICE_NOMEM, "no memory for a chat template");
    const char *close = template_close(c, ROLE_SYSTEM);
    const size_t n = strcspn(close, "\n");
    char *end = sluice_strndup(close, n);
    if (end) found = literal_between(canonical, opening, end);
    free(opening);
    free(end);
  } else if (c->invents == INVENTS_MESSAGE) {
    found = literal_between(canonical, "setsystem_message=" TEMPLATE_QUOTE, TEMPLATE_QUOTE);
  }
  if (!found.ptr) return SLUICE_OK;
  *text = sluice_strndup(found.ptr, found.len);
  return *text ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for a chat template");
}
