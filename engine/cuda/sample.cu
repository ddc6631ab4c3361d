/* Drawing one token from logits on the device, so that a step of decoding brings a few bytes to the host and not a row
 * of the vocabulary. Greedy: the largest logit, ties to the lower id. Otherwise as engine/sampler.c: the top_k most
 * likely, of these the fewest whose probability reaches top_p, without those below min_p of the largest, of these one
 * by `uniform`. Probabilities are whole multiples of 2^-40 of the largest, so that their sums are exact in any order.
 */
#include "engine/cuda/inference.cuh"

namespace {

enum { THREADS = 256, WARPS = THREADS / 32, BLOCKS_MAX = 256, DRAWERS = 1024, BINS = 2048 };

struct best {
  float logit, sum; /* sum of exp(x - logit) */
  int32_t id;
};

__device__ struct best join(const struct best &a, const struct best &b) {
  const bool first = a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  const struct best &high = first ? a : b, &low = first ? b : a;
  return {high.logit, low.logit == -INFINITY ? high.sum : high.sum + low.sum * __expf(low.logit - high.logit), high.id};
}

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
  for (int i = from + threadIdx.x; i < to; i += THREADS) v = join(v, {__ldcg(logits + i), 1, i});
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

/* ---- by chance: one block; a token's key is how far its logit lies below the largest, in steps of 2^-24 ---- */

struct drawing {
  const float *logits;
  int vocab;
  float top, per_temperature;
};

__device__ unsigned key_of(const struct drawing &d, int i) {
  const float below = (d.top - __ldcg(d.logits + i)) * 16777216.0f;
  return below < 4294967040.0f ? static_cast<unsigned>(below) : 0xffffffffu; /* also what is no number */
}
__device__ unsigned long long mass_of(const struct drawing &d, unsigned key) {
  return static_cast<unsigned long long>(__expf(-static_cast<float>(key) * (1.0f / 16777216.0f) * d.per_temperature) *
                                         1099511627776.0f);
}

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

/* The key at which the sum over keys up to and with it first exceeds `target`, among keys <= limit; *before gets the
 * sum of the keys below it. Sums masses, or tokens. */
__device__ unsigned key_at(const struct drawing &d, bool masses, unsigned limit, unsigned long long target,
                           unsigned long long *before) {
  __shared__ unsigned long long bin[BINS];
  __shared__ unsigned found;
  __shared__ unsigned long long below;
  unsigned prefix = 0;
  unsigned long long passed = 0;
  for (int shift = 21; shift >= 0; shift = shift == 21 ? 10 : shift == 10 ? 0 : -1) {
    const unsigned bits = shift ? 11 : 10, high = shift == 21 ? 32 : shift == 10 ? 21 : 10;
    for (int i = threadIdx.x; i < BINS; i += DRAWERS) bin[i] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < d.vocab; i += DRAWERS) {
      const unsigned key = key_of(d, i);
      if (key > limit || (high < 32 && key >> high != prefix)) continue;
      const unsigned long long m = masses ? mass_of(d, key) : 1;
      if (m) atomicAdd(&bin[key >> shift & ((1u << bits) - 1)], m);
    }
    __syncthreads();
    if (threadIdx.x < 32) find_bin(bin, passed, target, &found, &below);
    __syncthreads();
    prefix = prefix << bits | found;
    passed = below;
    __syncthreads();
  }
  *before = passed;
  return prefix;
}

__device__ unsigned long long mass_up_to(const struct drawing &d, unsigned limit) {
  __shared__ unsigned long long part[DRAWERS / 32];
  unsigned long long sum = 0;
  for (int i = threadIdx.x; i < d.vocab; i += DRAWERS) {
    const unsigned key = key_of(d, i);
    if (key <= limit) sum += mass_of(d, key);
  }
  for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
  __syncthreads();
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = sum;
  __syncthreads();
  sum = 0;
  for (int i = 0; i < DRAWERS / 32; i++) sum += part[i];
  return sum;
}

/* The id of the n-th token with this key. */
__device__ int32_t id_with(const struct drawing &d, unsigned key, unsigned long long n) {
  __shared__ unsigned count[DRAWERS];
  __shared__ int32_t id;
  const int each = (d.vocab + DRAWERS - 1) / DRAWERS, from = threadIdx.x * each, to = min(from + each, d.vocab);
  unsigned mine = 0;
  for (int i = from; i < to; i++) mine += key_of(d, i) == key;
  count[threadIdx.x] = mine;
  if (threadIdx.x == 0) id = 0;
  __syncthreads();
  unsigned long long before = 0;
  for (unsigned i = 0; i < threadIdx.x; i++) before += count[i];
  for (int i = from; i < to; i++)
    if (key_of(d, i) == key && before++ == n) id = i;
  __syncthreads();
  return id;
}

__global__ void __launch_bounds__(DRAWERS) draw_kernel(const float *all_logits, int vocab, const struct draw *wanted,
                                                       struct drawn *all_out, struct drawn *out_host) {
  const float *logits = all_logits + static_cast<size_t>(blockIdx.x) * vocab;
  struct drawn *out = all_out + blockIdx.x;
  wait_for_inputs();
  const struct draw w = wanted[blockIdx.x];
  if (!(w.temperature > 0)) return;
  const struct drawing d = {logits, vocab, __ldcg(&out->largest), 1.0f / w.temperature};
  unsigned limit = 0xfffffffeu;
  unsigned long long before = 0;
  if (w.top_k > 0 && w.top_k < vocab) limit = key_at(d, false, limit, static_cast<unsigned>(w.top_k) - 1u, &before);
  unsigned long long all = mass_up_to(d, limit);
  if (w.top_p > 0 && w.top_p < 1) {
    const unsigned long long reach = static_cast<unsigned long long>(static_cast<double>(all) * w.top_p);
    limit = key_at(d, true, limit, reach ? reach - 1 : 0, &before);
    all = mass_up_to(d, limit);
  }
  const float least = w.min_p > 0 ? -logf(w.min_p) * w.temperature * 16777216.0f : 4294967040.0f;
  if (least < static_cast<float>(limit)) {
    limit = static_cast<unsigned>(least);
    all = mass_up_to(d, limit);
  }
  unsigned long long target = static_cast<unsigned long long>(static_cast<double>(all) * w.uniform);
  if (target >= all) target = all - 1;
  const unsigned key = key_at(d, true, limit, target, &before);
  const unsigned long long each = mass_of(d, key);
  const int32_t id = id_with(d, key, each ? (target - before) / each : 0);
  if (threadIdx.x > 0) return;
  out->id = id, out->logit = __ldcg(logits + id);
  if (out_host) out_host[blockIdx.x].id = id, out_host[blockIdx.x].logit = out->logit;
}

} // namespace

size_t draw_scratch_bytes() {
  return DRAW_ROWS * (BLOCKS_MAX * sizeof(struct best) + sizeof(unsigned));
}

cudaError_t draw_launch(const struct launcher &l, const float *logits, int vocab, int rows, bool by_chance,
                        const struct draw *wanted, void *scratch, struct drawn *out, struct drawn *out_host) {
  const int all = rows > 1 ? 16 : l.processors, blocks = all < BLOCKS_MAX ? all : BLOCKS_MAX;
  unsigned *arrived = static_cast<unsigned *>(scratch);
  struct best *parts = reinterpret_cast<struct best *>(arrived + DRAW_ROWS);
  cudaError_t e = launch(l, best_kernel, dim3(blocks, rows), THREADS, 0, logits, vocab, parts, arrived, out, out_host);
  if (!e && by_chance) e = launch(l, draw_kernel, rows, DRAWERS, 0, logits, vocab, wanted, out, out_host);
  return e;
}
