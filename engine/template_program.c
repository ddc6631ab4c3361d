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
    char *variable = sluice_format("%s" TEMPLATE_QUOTE "+system_message+", opening);
    if (!found.ptr && variable && strstr(canonical, variable))
      found = literal_between(canonical, "setsystem_message=" TEMPLATE_QUOTE, TEMPLATE_QUOTE "%}");
    free(variable);
    free(opening);
    free(end);
  } else if (c->invents == INVENTS_LITERAL) { /* nothing that goes on behind it, such as a date */
    found = literal_between(canonical, c->invents_behind, TEMPLATE_QUOTE "%}");
    if (!found.ptr) found = literal_between(canonical, c->invents_behind, TEMPLATE_QUOTE "}}");
  }
  if (!found.ptr) return SLUICE_OK;
  *text = sluice_strndup(found.ptr, found.len);
  return *text ? SLUICE_OK : sluice_fail(err, SLUICE_NOMEM, "no memory for a chat template");
}

/* ---- what else a program does ---------------------------------------------------------------------------------- */

#define Q TEMPLATE_QUOTE

static bool holds_any(const char *canonical, const char *const *texts) {
  for (; *texts; texts++)
    if (strstr(canonical, *texts)) return true;
  return false;
}

struct template_traits template_traits_of(const char *canonical) {
  /* The text itself as a condition: true where it has a character. */
  static const char *const by_its_text[] = {"==" Q "system" Q "andmessage[" Q "content" Q "]%}",
                                            "==" Q "system" Q "%}{%ifmessage[" Q "content" Q "]%}",
                                            "{%ifsystem_message%}",
                                            "andsystem_message%}",
                                            "ifsystem_messageortools",
                                            "{%ifns[" Q "system_prompt" Q "]%}",
                                            NULL};
  static const char *const last_part[] = {".split(" Q "</think>" Q ")[-1]", ".split(" Q "</think>" Q ")|last", NULL};
  static const char *const lines[] = {".split(" Q "</think>" Q ")[-1].lstrip(" Q "\n" Q ")",
                                      ".split(" Q "</think>" Q ")|last).lstrip(" Q "\n" Q ")", NULL};
  /* Qwen3: an answer behind the last question has its thought, be it empty, even where it is only begun. */
  static const char *const empty_thought[] = {"{%ifloop[" Q "index0" Q "]>ns[" Q "last_query_index" Q "]%}", NULL};
  static const char *const switched_off[] = {"enable_thinkingisfalse%}", NULL}, *const empty[] = {
                                                                                    "{{" Q "<think>\n\n</think>\n\n" Q
                                                                                    "}}",
                                                                                    NULL};
  return (struct template_traits){
      .no_thought =
          holds_any(canonical, switched_off) && holds_any(canonical, empty) ? "<think>\n\n</think>\n\n" : NULL,
      .drops_empty_system = holds_any(canonical, by_its_text),
      .drops_thoughts = holds_any(canonical, last_part),
      .drops_lines_behind = holds_any(canonical, lines),
      .thought_in_front = holds_any(canonical, empty_thought) ? "<think>\n\n</think>\n\n" : NULL,
  };
}

/* Where literals that are joined go on: from `at`, behind ends of literals, of tags, and beginnings. */
static const char *next_text(const char *at) {
  static const char *const joints[] = {Q "+" Q, Q "}}{{" Q, Q "}}", NULL};
  for (size_t i = 0; joints[i]; i++)
    if (strncmp(at, joints[i], strlen(joints[i])) == 0) return at + strlen(joints[i]);
  return at;
}

/* Behind `"<|im_start|>"+` the role is named: an identifier with members and calls. What comes then in the same tag is
 * a line break. */
static bool role_ends_in_line(const char *at) {
  for (;; at++) {
    if (*at == '[') {
      const char *end = strchr(at, ']');
      if (!end) return false;
      at = end;
    } else if (!isalnum((unsigned char)*at) && *at != '_') {
      break;
    }
  }
  return strncmp(at, "}}", 2) == 0 || strncmp(at, "+" Q "\n", 3) == 0;
}

bool template_has_shape(const struct chat_template *c, const char *canonical) {
  static const char start[] = "<|im_start|>", end[] = "<|im_end|>";
  if (c->shape == SHAPE_ANY) return true;
  for (const char *at = canonical; (at = strstr(at, start)); at += sizeof start - 1)
    if (strncmp(at + sizeof start - 1, Q "+", 2) == 0 && !role_ends_in_line(at + sizeof start + 1)) return false;
  for (const char *at = canonical; (at = strstr(at, end)); at += sizeof end - 1)
    if (*next_text(at + sizeof end - 1) != '\n') return false;
  return true;
}
#undef Q
