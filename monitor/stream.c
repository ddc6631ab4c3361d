/* One text through the detectors of a policy. */
#include "monitor/prefilter.h"
#include "monitor/layer.h"

#include <stdlib.h>
#include <string.h>

enum { JIT_STACK_START = 32 << 10, JIT_STACK_MAX = 1 << 20, HEAP_KIB = 4096 };

const char *monitor_channel_name(int channel) {
  static const char *const names[] = {"content", "reasoning", "tool", "refusal", "prompt"};
  return channel >= 0 && channel < MONITOR_CHANNELS ? names[channel] : "other";
}

const char *monitor_action_name(enum monitor_action a) {
  static const char *const names[] = {"flag", "mask", "stop"};
  return names[a];
}

const char *monitor_event_name(enum monitor_event_kind k) {
  static const char *const names[] = {"match", "not_scanned", "capped"};
  return names[k];
}

/* Callout 1 stands where the protected group begins, callout 2 at the pattern's end, where it refuses so that every
 * path is tried. */
static int probe_callout(pcre2_callout_block *block, void *data) {
  struct monitor *m = data;
  if (!m->probing) return 0; /* one of the pattern's own */
  if (block->callout_number != 1) return 1;
  if (block->current_position < m->probe_min) m->probe_min = block->current_position;
  return 0;
}

sluice_status monitor_open(const struct monitor_policy *p, monitor_event_fn fn, void *ctx, struct monitor **out,
                           struct sluice_error *err) {
  struct monitor *m = calloc(1, sizeof *m);
  if (!m) return sluice_fail(err, SLUICE_NOMEM, "no memory for a monitor");
  *m = (struct monitor){.policy = p, .fn = fn, .ctx = ctx};
  m->match = pcre2_match_data_create((uint32_t)p->max_groups + 1, NULL);
  m->match_context = pcre2_match_context_create(NULL);
  m->jit_stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
  if (!m->match || !m->match_context) {
    monitor_close(m);
    return sluice_fail(err, SLUICE_NOMEM, "no memory for a monitor");
  }
  pcre2_set_match_limit(m->match_context, p->match_limit);
  pcre2_set_heap_limit(m->match_context, HEAP_KIB);
  pcre2_set_callout(m->match_context, probe_callout, m);
  if (m->jit_stack) pcre2_jit_stack_assign(m->match_context, NULL, m->jit_stack);
  *out = m;
  return SLUICE_OK;
}

void monitor_close(struct monitor *m) {
  if (!m) return;
  pcre2_match_data_free(m->match);
  pcre2_match_context_free(m->match_context);
  pcre2_jit_stack_free(m->jit_stack);
  prefilter_marks_free(m->marks);
  free(m);
}

sluice_status monitor_stream_open(struct monitor *m, int choice, int channel, int index, struct monitor_stream **out,
                                  struct sluice_error *err) {
  struct monitor_stream *s = calloc(1, sizeof *s);
  if (!s) return sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  s->monitor = m;
  s->choice = choice;
  s->channel = channel;
  s->index = index;
  s->text = calloc(1, sizeof *s->text);
  sluice_status st =
      s->text ? layer_open(s->text, s, NULL, err) : sluice_fail(err, SLUICE_NOMEM, "no memory for a stream");
  if (st)
    monitor_stream_close(s);
  else
    *out = s;
  return st;
}

void monitor_stream_close(struct monitor_stream *s) {
  if (!s) return;
  if (s->text) layer_close(s->text);
  free(s->text);
  free(s->pending);
  free(s->spans);
  free(s);
}

void monitor_stream_use(struct monitor_stream *s, struct monitor *m) {
  s->monitor = m;
}

static sluice_status scan(struct monitor_stream *s, bool final, struct sluice_error *err) {
  uint64_t hold = 0;
  sluice_status st = layer_scan(s->text, final, &hold, err);
  return st ? st : verdict_advance(s, hold, err);
}

/* The earliest byte that an attempt, a look-behind, a word or an event may still read. */
static uint64_t keep_from(const struct monitor_stream *s) {
  const struct monitor_policy *p = s->monitor->policy;
  uint64_t end = view_ready_end(&s->text->raw.view), back = p->max_match, slack = p->look_behind + MONITOR_WORD_MAX + 8;
  uint64_t from = end > back ? end - back : 0;
  if (s->released < from) from = s->released;
  return from > slack ? from - slack : 0;
}

static void fill_verdict(struct monitor_stream *s, struct monitor_verdict *v) {
  *v = (struct monitor_verdict){.released = s->released,
                                .held = !s->stopped && s->received > s->released,
                                .stop = s->stopped,
                                .rule = s->stop_rule,
                                .spans = s->spans,
                                .n_spans = s->n_spans};
}

static void count_held(struct monitor_stream *s) {
  uint64_t held = s->stopped ? 0 : s->received - s->released;
  s->counts.held_sum += held;
  if (held > s->counts.held_max) s->counts.held_max = held;
  if (held) s->counts.pieces_held++;
}

sluice_status monitor_push(struct monitor_stream *s, struct slice bytes, struct monitor_verdict *v,
                           struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  s->counts.pieces++;
  s->counts.bytes += bytes.len;
  if (bytes.len >= PREFILTER_BYTES_MIN) prefilter_offer(s->monitor->policy, bytes.len);
  while (!st && !s->stopped && bytes.len) {
    struct slice part = {bytes.ptr, bytes.len < VIEW_SLICE ? bytes.len : VIEW_SLICE};
    st = view_append(&s->text->raw.view, part, keep_from(s), err);
    s->received += part.len;
    if (!st) st = scan(s, false, err);
    bytes.ptr += part.len;
    bytes.len -= part.len;
  }
  count_held(s);
  fill_verdict(s, v);
  return st;
}

sluice_status monitor_settle(struct monitor_stream *s, struct monitor_verdict *v, struct sluice_error *err) {
  sluice_status st = SLUICE_OK;
  if (!s->stopped && s->received > s->settled) { /* also where nothing waits: rules that only record hold nothing */
    view_end(&s->text->raw.view);
    st = scan(s, true, err);
    s->settled = s->received;
  }
  fill_verdict(s, v);
  return st;
}

void monitor_forget(struct monitor_stream *s, uint64_t offset) {
  size_t n = 0;
  /* the last one stays: a later match may still unite with it */
  while (n + 1 < s->n_spans && s->spans[n].end <= offset) n++;
  if (n > 0) memmove(s->spans, s->spans + n, (s->n_spans - n) * sizeof *s->spans);
  s->n_spans -= n;
}

sluice_status rule_mask(const struct rule *r, struct slice raw, bool first, struct buffer *out,
                        struct sluice_error *err) {
  if (!r->mask_each) return first ? buffer_append_str(out, r->mask, err) : SLUICE_OK;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < raw.len; i++)
    if (((unsigned char)raw.ptr[i] & 0xC0) != 0x80) st = buffer_append_str(out, r->mask, err);
  return st;
}

sluice_status monitor_render(const struct monitor_stream *s, uint64_t offset, struct slice raw, struct buffer *out,
                             bool *changed, struct sluice_error *err) {
  uint64_t at = offset, end = offset + raw.len;
  sluice_status st = SLUICE_OK;
  for (size_t i = 0; !st && i < s->n_spans && s->spans[i].start < end; i++) {
    const struct monitor_span *span = &s->spans[i];
    if (span->end <= at) continue;
    if (span->start > at) st = buffer_append(out, raw.ptr + (at - offset), (size_t)(span->start - at), err);
    uint64_t from = span->start > at ? span->start : at, to = span->end < end ? span->end : end;
    struct slice covered = {raw.ptr + (from - offset), (size_t)(to - from)};
    if (!st) st = rule_mask(&s->monitor->policy->rules[span->rule], covered, from == span->start, out, err);
    *changed = true;
    at = to;
  }
  if (!st && at < end) st = buffer_append(out, raw.ptr + (at - offset), (size_t)(end - at), err);
  return st;
}

const struct monitor_counts *monitor_stream_counts(const struct monitor_stream *s) {
  return &s->counts;
}
const char *monitor_stream_stop_rule(const struct monitor_stream *s) {
  return s->stopped ? s->monitor->policy->rules[s->stop_rule].id : NULL;
}
const char *monitor_stream_stop_category(const struct monitor_stream *s) {
  return s->stopped ? s->monitor->policy->rules[s->stop_rule].category : NULL;
}

uint64_t monitor_stream_known(const struct monitor_stream *s) {
  for (size_t i = 0; i < s->n_pending; i++)
    if (s->pending[i].action != MONITOR_FLAG) return s->pending[i].start;
  return UINT64_MAX;
}
