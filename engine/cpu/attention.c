/* Attention of a chunk over the kept tokens: by segment, each with its own query position, merged by log-sum-exp. */
#include <math.h>
#include <string.h>

#include "engine/cpu/workspace.h"

struct attend_job {
  struct forward *f;
  const struct kv_store *s;
  const struct forward_plan *plan;
  int layer, n_tiles;
  bool windowed; /* this layer has a sliding window */
  struct tile {
    int begin, end; /* tokens; all of one epoch */
  } tiles[CPU_CHUNK];
};

/* The rotation of every slot kept in an epoch, laid out like key blocks. Slots that are not kept keep what stood there:
 * they are not seen. */
static void lay_out_angles(const struct forward *f, struct lane_space *l, const struct forward_plan *plan, int epoch) {
  if (l->epoch == epoch) return;
  l->epoch = epoch;
  const int half = f->half;
  for (uint32_t i = 0; i < plan->n_kept[epoch]; i++) {
    const uint32_t slot = plan->kept[epoch][i];
    const size_t at = (size_t)(slot / SLOT_BLOCK) * (size_t)half * SLOT_BLOCK + slot % SLOT_BLOCK;
    const float *c = f->row_cosine + (size_t)i * (size_t)half, *s = f->row_sine + (size_t)i * (size_t)half;
    for (int d = 0; d < half; d++) {
      l->cosine[at + (size_t)d * SLOT_BLOCK] = c[d];
      l->sine[at + (size_t)d * SLOT_BLOCK] = s[d];
    }
  }
}

/* ---- sliding windows ----------------------------------------------------------------------------------------------
 * A window is part of what the model computes, so it goes by the positions that the rotation uses: a query sees the
 * keys of its segment whose position is more than its own less the window. Under `full` these are positions in the
 * text; under a policy with positions of its own (a budget within the window) everything kept is seen. */

/* The first token of [begin, end) that no longer sees a key at `position`; `end` when all do. Query positions of a
 * segment never fall within an epoch. */
static int32_t leaves_window(const struct forward_plan *plan, int part, int begin, int end, uint64_t position,
                             uint64_t window) {
  int low = begin, high = end;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (plan->segments[middle][part].query_position >= position + window)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

/* dead[slot] of every slot that tokens [begin, end), one epoch, may see. */
static void lay_out_window(const struct attend_job *job, struct lane_space *l, int epoch, int begin, int end) {
  const struct forward_plan *plan = job->plan;
  const struct kv_store *s = job->s;
  const uint64_t window = (uint64_t)job->f->model->config.window;
  if (l->dead_epoch == epoch) return;
  l->dead_epoch = epoch;
  const bool cache = plan->form == KEYS_AT_CACHE_POSITION;
  for (int part = 0; part < plan->n_segments; part++) {
    const struct kv_segment *last = &plan->segments[end - 1][part];
    const uint32_t n = cache ? plan->n_kept[epoch] : last->end_slot - last->first_slot;
    const uint32_t past = (last->end_slot + SLOT_BLOCK - 1) / SLOT_BLOCK * SLOT_BLOCK; /* kernels read whole blocks */
    memcpy(l->dead + last->first_slot, s->dead + last->first_slot, (past - last->first_slot) * sizeof *l->dead);
    for (uint32_t i = 0; i < n; i++) {
      const uint32_t slot = cache ? plan->kept[epoch][i] : last->first_slot + i;
      const int32_t out = leaves_window(plan, part, begin, end, cache ? i : s->position[slot], window);
      l->dead[slot] = out < end && out < s->dead[slot] ? out : s->dead[slot];
    }
  }
}

/* The tokens of a tile's epoch. */
static void epoch_of(const struct forward_plan *plan, int token, int *begin, int *end) {
  for (*begin = token; *begin > 0 && plan->epoch[*begin - 1] == plan->epoch[token];) --*begin;
  for (*end = token + 1; *end < plan->n && plan->epoch[*end] == plan->epoch[token];) ++*end;
}

/* Leaves out the blocks in front in which no query of the tile sees anything: they would only add zeros. */
static void narrow(const struct attend_job *job, struct lane_space *l, const struct tile *tile, struct attention *a) {
  int begin, end;
  epoch_of(job->plan, tile->begin, &begin, &end);
  lay_out_window(job, l, job->plan->epoch[tile->begin], begin, end);
  a->dead = l->dead;
  if (job->plan->form == KEYS_AT_CACHE_POSITION) return; /* the keys' own rotation begins at block 0 */
  for (; a->first_block < a->end_block; a->first_block++)
    for (int i = 0; i < SLOT_BLOCK; i++) {
      const int slot = a->first_block * SLOT_BLOCK + i;
      if (a->dead[slot] > tile->begin && a->dead[slot] > a->born[slot]) return;
    }
}

/* Exact: softmax over a union is the mean of the parts' outputs, weighted by the parts' sums of exponentials. */
static void merge_parts(const struct lane_space *l, int n_parts, int n_queries, int head_dim) {
  for (int j = 0; j < n_queries; j++) {
    float weight[SEGMENTS_MAX], largest = -INFINITY, total = 0;
    for (int p = 0; p < n_parts; p++) largest = fmaxf(largest, l->lse[p * n_queries + j]);
    for (int p = 0; p < n_parts; p++) {
      const float lse = l->lse[p * n_queries + j];
      weight[p] = lse == -INFINITY ? 0 : expf(lse - largest);
      total += weight[p];
    }
    for (int d = 0; d < head_dim; d++) {
      float sum = 0;
      for (int p = 0; p < n_parts; p++) sum += weight[p] * l->part[p][j * head_dim + d];
      l->out[j][d] = total > 0 ? sum / total : 0;
    }
  }
}

/* One part: the queries of a tile over one segment of one key-value head. */
static void attend_segment(const struct attend_job *job, struct lane_space *l, const struct tile *tile, int head,
                           int part, int n_queries, float *const *out) {
  const struct forward *f = job->f;
  const struct kv_store *s = job->s;
  const int head_dim = s->head_dim;
  uint32_t end = 0;
  for (int t = tile->begin, j = 0; t < tile->end; t++) {
    const float *q = f->q_rotated + ((size_t)part * CPU_CHUNK + (size_t)t) * f->q_width;
    for (int g = 0; g < f->group; g++, j++) {
      l->q[j] = q + (head * f->group + g) * head_dim;
      l->time[j] = t;
    }
    const uint32_t to = job->plan->segments[t][part].end_slot;
    end = to > end ? to : end;
  }
  struct attention a = {.k = kv_keys(s, job->layer, head),
                        .v = kv_values(s, job->layer, head),
                        .k_step = s->block_floats,
                        .v_step = s->block_floats,
                        .v_width = s->v_width,
                        .head_dim = head_dim,
                        .first_block = (int)(job->plan->segments[tile->begin][part].first_slot / SLOT_BLOCK),
                        .end_block = (int)((end + SLOT_BLOCK - 1) / SLOT_BLOCK),
                        .born = s->born,
                        .dead = s->dead,
                        .q = l->q,
                        .time = l->time,
                        .n_queries = n_queries,
                        .scores = l->scores,
                        .out = out,
                        .lse = l->lse + part * n_queries};
  if (job->windowed) narrow(job, l, tile, &a);
  if (job->plan->form == KEYS_AT_CACHE_POSITION) {
    lay_out_angles(f, l, job->plan, job->plan->epoch[tile->begin]);
    f->kernels->rotate_blocks(a.k, a.k_step, l->cosine, l->sine, f->half, a.end_block, l->keys);
    a.k = l->keys;
    a.k_step = (size_t)head_dim * SLOT_BLOCK;
  }
  f->kernels->attend(&a);
}

static void attend_tile(const struct attend_job *job, struct lane_space *l, const struct tile *tile, int head) {
  const struct forward *f = job->f;
  const int head_dim = job->s->head_dim, n_queries = (tile->end - tile->begin) * f->group,
            n_parts = job->plan->n_segments;
  for (int part = 0; part < n_parts; part++) {
    float **out = l->out;
    for (int t = tile->begin, j = 0; t < tile->end; t++)
      for (int g = 0; g < f->group; g++, j++)
        l->out[j] = f->mixed + (size_t)t * f->q_width + (head * f->group + g) * head_dim;
    if (n_parts > 1) {
      for (int j = 0; j < n_queries; j++) l->part_out[j] = l->part[part] + j * head_dim;
      out = l->part_out;
    }
    attend_segment(job, l, tile, head, part, n_queries, out);
  }
  if (n_parts > 1) merge_parts(l, n_parts, n_queries, head_dim);
}

/* Tile by tile and inside it head by head, so that a lane lays out an epoch's angles once. Later tiles see more: lanes
 * take turns, and in every second round they do so backwards. */
static void attend_lane(void *ctx, int lane, int lanes) {
  const struct attend_job *job = ctx;
  const int heads = job->s->n_kv_heads, items = job->n_tiles * heads;
  const int begin = (int)((int64_t)items * lane / lanes), end = (int)((int64_t)items * (lane + 1) / lanes);
  if (job->n_tiles < 2 * lanes) {
    for (int i = begin; i < end; i++) attend_tile(job, &job->f->lane[lane], &job->tiles[i / heads], i % heads);
    return;
  }
  for (int t = 0; t < job->n_tiles; t++) {
    const int turn = t % lanes, whose = t / lanes % 2 ? lanes - 1 - turn : turn;
    for (int head = 0; whose == lane && head < heads; head++)
      attend_tile(job, &job->f->lane[lane], &job->tiles[t], head);
  }
}

/* Every token's query, once a segment: rotated to the position that the segment gives it, over sqrt(head_dim). */
static void rotate_queries(struct forward *f, const struct forward_plan *plan, int n_heads, int from) {
  const int head_dim = 2 * f->half;
  for (int part = 0; part < plan->n_segments; part++)
    for (int t = from; t < plan->n; t++) {
      const size_t row = (size_t)part * CPU_CHUNK + (size_t)t;
      const float *c = f->q_cosine + row * (size_t)f->half, *s = f->q_sine + row * (size_t)f->half;
      for (int h = 0; h < n_heads; h++)
        f->kernels->rotate(f->q + (size_t)t * f->q_width + h * head_dim, c, s, f->half,
                           f->q_rotated + row * f->q_width + h * head_dim);
    }
}

void forward_attend(struct forward *f, const struct kv_store *s, const struct forward_plan *plan, int layer, int from) {
  const struct model_config *c = &f->model->config;
  struct attend_job job = {
      .f = f, .s = s, .plan = plan, .layer = layer, .windowed = c->window && layer >= c->window_from};
  rotate_queries(f, plan, f->group * s->n_kv_heads, from);
  for (int t = from; t < plan->n;) {
    struct tile *tile = &job.tiles[job.n_tiles++];
    tile->begin = t;
    while (t < plan->n && t - tile->begin < TILE_TOKENS_MAX && plan->epoch[t] == plan->epoch[tile->begin]) t++;
    tile->end = t;
  }
  const double slots = plan->n ? plan->segments[plan->n - 1][plan->n_segments - 1].end_slot : 0;
  forward_spread(f, 2.0 * slots * (plan->n - from) * (double)f->q_width, attend_lane, &job);
}
