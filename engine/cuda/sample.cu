/* Drawing one token from logits on the device, so that a step of decoding brings a few bytes to the host and not a row
 * of the vocabulary. Greedy: the largest logit, ties to the lower id. Otherwise as engine/sampler.c: the top_k most
 * likely, of these the fewest whose probability reaches top_p, without those below min_p of the largest, of these one
 * by `uniform`. Probabilities are whole multiples of 2^-40 of the largest, so that their sums are exact in any order.
 */
#include "engine/cuda/best.cuh"

namespace {

enum {
  THREADS = 256,
  WARPS = THREADS / 32,
  BLOCKS_MAX = 256,
  DRAWERS = 1024,
  EACH_BEST = 8, /* logits of a thread at a time */
  BINS = 2048,
  COARSE_SHIFT = 21,
  TOGETHER = 8192
};

__device__ struct best join_block(struct best v) {
  __shared__ struct best part[WARPS];
  for (int o = 16; o; o >>= 1) {
    const struct best w = {__shfl_xor_sync(~0u, v.logit, o), __shfl_xor_sync(~0u, v.sum, o),
                           __shfl_xor_sync(~0u, v.id, o)};
    v = join(v, w);
  }
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = part[0];
  for (int i = 1; i < WARPS; i++) v = join(v, part[i]);
  return v;
}

/* Of a thread's next logits, from i on: loads first, then arithmetic that does not wait for what came before. */
__device__ struct best best_of(const float *logits, int i, int to) {
  float x[EACH_BEST];
  struct best v = {-INFINITY, 0, INT32_MAX};
#pragma unroll
  for (int k = 0; k < EACH_BEST; k++) x[k] = i + k * THREADS < to ? __ldcg(logits + i + k * THREADS) : -INFINITY;
#pragma unroll
  for (int k = 0; k < EACH_BEST; k++)
    if (x[k] > v.logit) v.logit = x[k], v.id = i + k * THREADS;
#pragma unroll
  for (int k = 0; k < EACH_BEST; k++) v.sum += x[k] == -INFINITY ? 0.0f : __expf(x[k] - v.logit);
  return v;
}

/* The best token and the log of the sum of exp of all; the last block joins the blocks' parts in their order. */
__global__ void best_kernel(const float *all_logits, int vocab, struct best *all_parts, unsigned *all_arrived,
                            struct drawn *out, struct drawn *out_host) {
  const float *logits = all_logits + static_cast<size_t>(blockIdx.y) * vocab;
  struct best *parts = all_parts + blockIdx.y * BLOCKS_MAX;
  unsigned *arrived = all_arrived + blockIdx.y;
  __shared__ bool last;
  struct best v = {-INFINITY, 0, INT32_MAX};
  const int each = (vocab + gridDim.x - 1) / gridDim.x, from = blockIdx.x * each, to = min(from + each, vocab);
  let_next_begin();
  wait_for_inputs();
  for (int i = from + threadIdx.x; i < to; i += EACH_BEST * THREADS) v = join(v, best_of(logits, i, to));
  v = join_block(v);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = v;
    __threadfence();
    last = atomicAdd(arrived, 1u) == gridDim.x - 1;
    if (last) *arrived = 0;
    __threadfence();
  }
  __syncthreads();
  if (!last) return;
  v = {-INFINITY, 0, INT32_MAX};
  if (threadIdx.x < gridDim.x) {
    const struct best *p = parts + threadIdx.x;
    v = {__ldcg(&p->logit), __ldcg(&p->sum), __ldcg(&p->id)};
  }
  __syncthreads();
  v = join_block(v);
  if (threadIdx.x > 0) return;
  const struct drawn d = {v.id, v.logit, v.logit + logf(v.sum), v.logit};
  out[blockIdx.y] = d;
  if (out_host) out_host[blockIdx.y] = d;
}

/* ---- by chance: a token's key is how far its logit lies below the largest, in steps of 2^-24. All multiprocessors
 * count tokens and their mass in coarse bins of keys; then one block finds the keys that matter, each in a bin that it
 * brings together for that. ---- */

struct drawing {
  const float *logits;
  int vocab;
  float top, per_temperature;
};

__device__ unsigned key_of(const struct drawing &d, float logit) {
  const float below = (d.top - logit) * 16777216.0f;
  return below < 4294967040.0f ? static_cast<unsigned>(below) : 0xffffffffu; /* also what is no number */
}
__device__ unsigned long long mass_of(const struct drawing &d, unsigned key) {
  return static_cast<unsigned long long>(__expf(-static_cast<float>(key) * (1.0f / 16777216.0f) * d.per_temperature) *
                                         1099511627776.0f);
}

struct coarse { /* of a row; zero before and after a draw */
  unsigned long long mass[BINS], count[BINS];
};

/* A block's masses in two halves, for 32 bits are added at once where 64 are not; EACH tokens of at most 2^40 fit. */
__global__ void __launch_bounds__(THREADS) coarse_kernel(const float *all_logits, int vocab, const struct draw *wanted,
                                                         const struct drawn *out, struct coarse *all) {
  enum { EACH = 4 * THREADS };
  __shared__ unsigned low[BINS], high[BINS], count[BINS];
  struct coarse *c = all + blockIdx.y;
  for (int i = threadIdx.x; i < BINS; i += THREADS) low[i] = high[i] = count[i] = 0;
  __syncthreads();
  wait_for_inputs();
  const float temperature = __ldcg(&wanted[blockIdx.y].temperature);
  if (!(temperature > 0)) return;
  const struct drawing d = {all_logits + static_cast<size_t>(blockIdx.y) * vocab, vocab,
                            __ldcg(&out[blockIdx.y].largest), 1.0f / temperature};
  for (int i = blockIdx.x * EACH + threadIdx.x; i < min(vocab, (static_cast<int>(blockIdx.x) + 1) * EACH);
       i += THREADS) {
    const unsigned key = key_of(d, __ldcg(d.logits + i)), bin = key >> COARSE_SHIFT;
    if (key == 0xffffffffu) continue;
    const unsigned long long m = mass_of(d, key);
    atomicAdd(&count[bin], 1u);
    if (m)
      atomicAdd(&low[bin], static_cast<unsigned>(m) & 0xfffffu), atomicAdd(&high[bin], static_cast<unsigned>(m >> 20));
  }
  __syncthreads();
  for (int i = threadIdx.x; i < BINS; i += THREADS) {
    if (!count[i]) continue;
    atomicAdd(&c->count[i], static_cast<unsigned long long>(count[i]));
    atomicAdd(&c->mass[i], (static_cast<unsigned long long>(high[i]) << 20) + low[i]);
  }
}

/* What a drawing block holds in shared memory. */
struct drawer {
  unsigned long long mass[BINS], count[BINS]; /* coarse; the limit's own bin without what lies behind the limit */
  unsigned long long fine[BINS], part[DRAWERS / 32], below;
  unsigned key[TOGETHER];
  int32_t id[TOGETHER];
  unsigned n, found; /* tokens in the bins that were brought together; more than TOGETHER: they are not here */
  int first, last;   /* bins; first > last: none */
  int32_t answer;
};

/* By one warp: the bin in which the running sum, from `passed` on, first exceeds target, else the last that holds
 * anything; *below gets the sum before it. */
__device__ void find_bin(const unsigned long long *bin, unsigned long long passed, unsigned long long target,
                         unsigned *found, unsigned long long *below) {
  enum { EACH = BINS / 32 };
  const unsigned from = threadIdx.x * EACH;
  unsigned long long mine = 0, before = passed;
  for (unsigned i = from; i < from + EACH; i++) mine += bin[i];
  unsigned long long upto = mine;
  for (int o = 1; o < 32; o <<= 1) {
    const unsigned long long other = __shfl_up_sync(~0u, upto, o);
    if (threadIdx.x >= static_cast<unsigned>(o)) upto += other;
  }
  before += upto - mine;
  const unsigned crossing = __ballot_sync(~0u, mine && before + mine > target), holding = __ballot_sync(~0u, mine != 0);
  const unsigned lane = crossing ? __ffs(crossing) - 1 : holding ? 31 - __clz(holding) : 0;
  if (threadIdx.x != lane) return;
  *found = from, *below = before;
  for (unsigned i = from; i < from + EACH; i++) {
    if (!bin[i]) continue;
    *found = i, *below = before;
    if (before + bin[i] > target) break;
    before += bin[i];
  }
}

__device__ unsigned long long block_total(struct drawer *s, unsigned long long sum) {
  for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
  __syncthreads();
  if (threadIdx.x % 32 == 0) s->part[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
  for (int i = 0; i < DRAWERS / 32; i++) sum += s->part[i];
  return sum;
}

/* The tokens of a coarse bin into shared memory, and where they are few enough those of all bins before it, which may
 * be asked for later. */
__device__ void bring_together(struct drawer *s, const struct drawing &d, int bin) {
  enum { AHEAD = 16 };
  if (s->first <= bin && bin <= s->last) return;
  unsigned long long upto = 0;
  for (int i = threadIdx.x; i <= bin; i += DRAWERS) upto += s->count[i];
  upto = block_total(s, upto);
  if (threadIdx.x == 0) s->n = 0, s->first = upto <= TOGETHER ? 0 : bin, s->last = bin;
  __syncthreads();
  /* Bins are an eighth of a unit wide, exactly. */
  const float from = static_cast<float>(s->first) * 0.125f, to = static_cast<float>(bin + 1) * 0.125f;
  for (int i = threadIdx.x; i < d.vocab; i += AHEAD * DRAWERS) {
    float v[AHEAD];
#pragma unroll
    for (int k = 0; k < AHEAD; k++) v[k] = i + k * DRAWERS < d.vocab ? __ldcg(d.logits + i + k * DRAWERS) : -INFINITY;
#pragma unroll
    for (int k = 0; k < AHEAD; k++) {
      const float below = d.top - v[k];
      if (!(below >= from && below < to) || key_of(d, v[k]) == 0xffffffffu) continue;
      const unsigned at = atomicAdd(&s->n, 1u);
      if (at < TOGETHER) s->key[at] = key_of(d, v[k]), s->id[at] = i + k * DRAWERS;
    }
  }
  __syncthreads();
}

/* each(key) for the tokens of a bin that was brought together, with keys up to limit. */
template <class EACH>
__device__ void for_keys(const struct drawer *s, const struct drawing &d, int bin, unsigned limit, EACH each) {
  const bool here = s->n <= TOGETHER;
  const int n = here ? static_cast<int>(s->n) : d.vocab;
  for (int i = threadIdx.x; i < n; i += DRAWERS) {
    const unsigned key = here ? s->key[i] : key_of(d, __ldcg(d.logits + i));
    if (key <= limit && static_cast<int>(key >> COARSE_SHIFT) == bin) each(key);
  }
}

/* The key at which the sum over keys up to and with it first exceeds `target`, among keys up to limit; *before gets the
 * sum of the keys below it. Sums masses, or tokens. */
__device__ unsigned key_at(struct drawer *s, const struct drawing &d, bool masses, unsigned limit,
                           unsigned long long target, unsigned long long *before) {
  __syncthreads();
  if (threadIdx.x < 32) find_bin(masses ? s->mass : s->count, 0, target, &s->found, &s->below);
  __syncthreads();
  const int bin = static_cast<int>(s->found);
  unsigned prefix = s->found;
  unsigned long long passed = s->below;
  bring_together(s, d, bin);
  for (int shift = 10; shift >= 0; shift -= 10) { /* 11 bits, then 10 */
    for (int i = threadIdx.x; i < BINS; i += DRAWERS) s->fine[i] = 0;
    __syncthreads();
    for_keys(s, d, bin, limit, [&](unsigned key) {
      if (shift == 0 && key >> 10 != prefix) return;
      const unsigned long long m = masses ? mass_of(d, key) : 1;
      if (m) atomicAdd(&s->fine[shift ? key >> 10 & 2047u : key & 1023u], m);
    });
    __syncthreads();
    if (threadIdx.x < 32) find_bin(s->fine, passed, target, &s->found, &s->below);
    __syncthreads();
    prefix = prefix << (shift ? 11 : 10) | s->found;
    passed = s->below;
    __syncthreads();
  }
  *before = passed;
  return prefix;
}

/* Nothing behind the key `limit` counts any more; returns the mass that is left. */
__device__ unsigned long long end_at(struct drawer *s, const struct drawing &d, unsigned limit) {
  const int bin = static_cast<int>(limit >> COARSE_SHIFT);
  unsigned long long mass = 0, count = 0;
  bring_together(s, d, bin);
  for_keys(s, d, bin, limit, [&](unsigned key) { mass += mass_of(d, key), count++; });
  mass = block_total(s, mass);
  count = block_total(s, count);
  __syncthreads();
  for (int i = bin + threadIdx.x; i < BINS; i += DRAWERS)
    s->mass[i] = i == bin ? mass : 0, s->count[i] = i == bin ? count : 0;
  __syncthreads();
  unsigned long long all = 0;
  for (int i = threadIdx.x; i < BINS; i += DRAWERS) all += s->mass[i];
  return block_total(s, all);
}

/* The id of the n-th token with this key, counted by ids. */
__device__ int32_t id_with(struct drawer *s, const struct drawing &d, unsigned key, unsigned long long n) {
  bring_together(s, d, static_cast<int>(key >> COARSE_SHIFT));
  if (threadIdx.x == 0) s->answer = 0;
  __syncthreads();
  if (s->n <= TOGETHER) {
    for (unsigned i = threadIdx.x; i < s->n; i += DRAWERS) {
      if (s->key[i] != key) continue;
      unsigned long long before = 0;
      for (unsigned j = 0; j < s->n; j++) before += s->key[j] == key && s->id[j] < s->id[i];
      if (before == n) s->answer = s->id[i];
    }
  } else if (threadIdx.x == 0) { /* thousands of equal logits */
    unsigned long long before = 0;
    for (int i = 0; i < d.vocab && before <= n; i++)
      if (key_of(d, __ldcg(d.logits + i)) == key && before++ == n) s->answer = i;
  }
  __syncthreads();
  return s->answer;
}

/* The least probable key that min_p leaves. */
__device__ unsigned least_key(const struct draw &w) {
  const float least = w.min_p > 0 ? -logf(w.min_p) * w.temperature * 16777216.0f : 4294967040.0f;
  return least < 4294967040.0f ? static_cast<unsigned>(least) : 0xfffffffeu;
}

__global__ void __launch_bounds__(DRAWERS)
    draw_kernel(const float *all_logits, int vocab, const struct draw *wanted, struct coarse *all,
                struct drawn *all_out, struct drawn *out_host) {
  extern __shared__ uint4 memory[];
  struct drawer *s = reinterpret_cast<struct drawer *>(memory);
  struct coarse *c = all + blockIdx.x;
  struct drawn *out = all_out + blockIdx.x;
  wait_for_inputs();
  const struct draw w = wanted[blockIdx.x];
  if (!(w.temperature > 0)) return;
  const struct drawing d = {all_logits + static_cast<size_t>(blockIdx.x) * vocab, vocab, __ldcg(&out->largest),
                            1.0f / w.temperature};
  unsigned long long before = 0, total = 0;
  for (int i = threadIdx.x; i < BINS; i += DRAWERS) {
    s->mass[i] = __ldcg(&c->mass[i]), s->count[i] = __ldcg(&c->count[i]);
    c->mass[i] = c->count[i] = 0;
    total += s->mass[i];
  }
  if (threadIdx.x == 0) s->first = 0, s->last = -1;
  unsigned limit = 0xfffffffeu;
  total = block_total(s, total);
  if (w.top_k > 0 && w.top_k < vocab) {
    limit = key_at(s, d, false, limit, static_cast<unsigned>(w.top_k) - 1u, &before);
    total = end_at(s, d, limit);
  }
  if (w.top_p > 0 && w.top_p < 1) {
    const unsigned long long reach = static_cast<unsigned long long>(static_cast<double>(total) * w.top_p);
    limit = key_at(s, d, true, limit, reach ? reach - 1 : 0, &before);
    total = end_at(s, d, limit);
  }
  if (least_key(w) < limit) {
    limit = least_key(w);
    total = end_at(s, d, limit);
  }
  unsigned long long target = static_cast<unsigned long long>(static_cast<double>(total) * w.uniform);
  if (target >= total) target = total - 1;
  const unsigned key = key_at(s, d, true, limit, target, &before);
  const unsigned long long each = mass_of(d, key);
  const int32_t id = id_with(s, d, key, each ? (target - before) / each : 0);
  if (threadIdx.x > 0) return;
  out->id = id, out->logit = __ldcg(d.logits + id);
  if (out_host) out_host[blockIdx.x].id = id, out_host[blockIdx.x].logit = out->logit;
}

} // namespace

size_t draw_scratch_bytes() {
  return DRAW_ROWS * (BLOCKS_MAX * sizeof(struct best) + sizeof(unsigned) + sizeof(struct coarse));
}

/* rows whose best are known, by chance. */
cudaError_t draw_by_chance_launch(const struct launcher &l, const float *logits, int vocab, int rows,
                                  const struct draw *wanted, void *scratch, struct drawn *out, struct drawn *out_host) {
  struct coarse *c = static_cast<struct coarse *>(scratch);
  const int blocks = (vocab + 4 * THREADS - 1) / (4 * THREADS);
  cudaError_t e = cudaFuncSetAttribute(draw_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(struct drawer));
  if (!e) e = launch(l, coarse_kernel, dim3(blocks, rows), THREADS, 0, logits, vocab, wanted, out, c);
  if (!e) e = launch(l, draw_kernel, rows, DRAWERS, sizeof(struct drawer), logits, vocab, wanted, c, out, out_host);
  return e;
}

cudaError_t draw_launch(const struct launcher &l, const float *logits, int vocab, int rows, bool by_chance,
                        const struct draw *wanted, void *scratch, struct drawn *out, struct drawn *out_host) {
  const int all = rows > 1 ? 16 : l.processors, blocks = all < BLOCKS_MAX ? all : BLOCKS_MAX;
  struct best *parts = reinterpret_cast<struct best *>(static_cast<struct coarse *>(scratch) + DRAW_ROWS);
  unsigned *arrived = reinterpret_cast<unsigned *>(parts + DRAW_ROWS * BLOCKS_MAX);
  const cudaError_t e =
      launch(l, best_kernel, dim3(blocks, rows), THREADS, 0, logits, vocab, parts, arrived, out, out_host);
  return e || !by_chance ? e : draw_by_chance_launch(l, logits, vocab, rows, wanted, scratch, out, out_host);
}
