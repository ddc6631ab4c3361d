/* The kernels of the CUDA trainer: everything that is not a matrix product. Private to engine/cuda. One block is
 * THREADS threads; sums run in a fixed order. Shapes as in engine/train/network.inc. */
#ifndef SLUICE_ENGINE_CUDA_TRAIN_KERNELS_CUH
#define SLUICE_ENGINE_CUDA_TRAIN_KERNELS_CUH

#include <cuda_bf16.h>
#include <stdint.h>

namespace {

enum { THREADS = 256, PARTS = 512 };

__global__ void to_low(__nv_bfloat16 *out, const float *in, size_t n) {
  const size_t i = blockIdx.x * static_cast<size_t>(THREADS) + threadIdx.x;
  if (i < n) out[i] = __float2bfloat16_rn(in[i]);
}

__device__ float block_sum(float v) {
  __shared__ float part[32];
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = threadIdx.x < THREADS / 32 ? part[threadIdx.x] : 0;
  if (threadIdx.x < 32)
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  if (threadIdx.x == 0) part[0] = v;
  __syncthreads();
  v = part[0];
  __syncthreads();
  return v;
}

__device__ float block_max(float v) {
  __shared__ float part[32];
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, o));
  if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = v;
  __syncthreads();
  v = threadIdx.x < THREADS / 32 ? part[threadIdx.x] : -INFINITY;
  if (threadIdx.x < 32)
    for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, o));
  if (threadIdx.x == 0) part[0] = v;
  __syncthreads();
  v = part[0];
  __syncthreads();
  return v;
}

__global__ void embed(float *x, const float *table, const int32_t *tokens, int D) {
  for (int i = threadIdx.x; i < D; i += THREADS)
    x[static_cast<size_t>(blockIdx.x) * D + i] = table[static_cast<size_t>(tokens[blockIdx.x]) * D + i];
}

/* One block a token of the vocabulary: sums its rows in their order. */
__global__ void embed_backward(float *grad, const float *dx, const int32_t *order, const int32_t *starts, int D) {
  const int from = starts[blockIdx.x], to = starts[blockIdx.x + 1];
  for (int i = threadIdx.x; i < D; i += THREADS) {
    float sum = 0;
    for (int r = from; r < to; r++) sum += dx[static_cast<size_t>(order[r]) * D + i];
    grad[static_cast<size_t>(blockIdx.x) * D + i] += sum;
  }
}

__global__ void norm_forward(float *y, float *inv, const float *x, const float *w, int D, float eps) {
  const float *row = x + static_cast<size_t>(blockIdx.x) * D;
  float sum = 0;
  for (int i = threadIdx.x; i < D; i += THREADS) sum += row[i] * row[i];
  const float r = 1.0f / sqrtf(block_sum(sum) / static_cast<float>(D) + eps);
  if (threadIdx.x == 0) inv[blockIdx.x] = r;
  for (int i = threadIdx.x; i < D; i += THREADS) y[static_cast<size_t>(blockIdx.x) * D + i] = row[i] * r * w[i];
}

__global__ void norm_backward_x(float *dx, const float *dy, const float *x, const float *w, const float *inv, int D) {
  const size_t at = static_cast<size_t>(blockIdx.x) * D;
  const float r = inv[blockIdx.x];
  float sum = 0;
  for (int i = threadIdx.x; i < D; i += THREADS) sum += dy[at + i] * w[i] * x[at + i];
  const float c = block_sum(sum) * r * r * r / static_cast<float>(D);
  for (int i = threadIdx.x; i < D; i += THREADS) dx[at + i] += dy[at + i] * w[i] * r - x[at + i] * c;
}

/* One block a column. */
__global__ void norm_backward_w(float *dw, const float *dy, const float *x, const float *inv, int rows, int D) {
  float sum = 0;
  for (int r = threadIdx.x; r < rows; r += THREADS) {
    const size_t at = static_cast<size_t>(r) * D + blockIdx.x;
    sum += dy[at] * x[at] * inv[r];
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) dw[blockIdx.x] += sum;
}

__global__ void rotate(float *qkv, const float *cosine, const float *sine, int length, int stride, int heads, int hd,
                       float direction, size_t n) {
  const size_t i = blockIdx.x * static_cast<size_t>(THREADS) + threadIdx.x;
  if (i >= n) return;
  const int half = hd / 2, k = static_cast<int>(i % half), h = static_cast<int>(i / half % heads);
  const size_t row = i / (static_cast<size_t>(half) * heads);
  const int t = static_cast<int>(row % length);
  float *p = qkv + row * stride + h * hd + k;
  const float c = cosine[t * half + k], s = sine[t * half + k] * direction, u = p[0], v = p[half];
  p[0] = u * c - v * s;
  p[half] = v * c + u * s;
}

/* One block a row of [sequences*H][T][T]: causal softmax in place; log-sum-exp to lse[row in batch][head]. */
__global__ void softmax(float *scores, float *lse, int T, int H) {
  const int t = static_cast<int>(blockIdx.x) % T, bh = static_cast<int>(blockIdx.x) / T, b = bh / H, h = bh % H;
  float *x = scores + static_cast<size_t>(blockIdx.x) * T, m = -INFINITY, sum = 0;
  for (int j = threadIdx.x; j <= t; j += THREADS) m = fmaxf(m, x[j]);
  m = block_max(m);
  for (int j = threadIdx.x; j <= t; j += THREADS) sum += x[j] = expf(x[j] - m);
  sum = block_sum(sum);
  for (int j = threadIdx.x; j < T; j += THREADS) x[j] = j <= t ? x[j] / sum : 0.0f;
  if (threadIdx.x == 0) lse[(static_cast<size_t>(b) * T + t) * H + h] = m + logf(sum);
}

/* scores <- P from raw scores and the kept log-sum-exp; dscores <- P * (dP - rowsum(dO * O)) * scale. */
__global__ void softmax_backward(float *scores, float *dscores, const float *lse, const float *O, const float *dO,
                                 int T, int H, int hd, float scale) {
  const int t = static_cast<int>(blockIdx.x) % T, bh = static_cast<int>(blockIdx.x) / T, b = bh / H, h = bh % H;
  float *p = scores + static_cast<size_t>(blockIdx.x) * T, *q = dscores + static_cast<size_t>(blockIdx.x) * T, sum = 0;
  const size_t row = static_cast<size_t>(b) * T + t, at = row * H * hd + static_cast<size_t>(h) * hd;
  for (int i = threadIdx.x; i < hd; i += THREADS) sum += O[at + i] * dO[at + i];
  sum = block_sum(sum);
  const float m = lse[row * H + h];
  for (int j = threadIdx.x; j < T; j += THREADS) {
    const float e = j <= t ? expf(p[j] - m) : 0.0f;
    p[j] = e;
    q[j] = e * (q[j] - sum) * scale;
  }
}

__global__ void swiglu(float *act, const float *gu, int F, size_t n) {
  const size_t i = blockIdx.x * static_cast<size_t>(THREADS) + threadIdx.x;
  if (i >= n) return;
  const float *row = gu + i / F * 2 * F, g = row[i % F];
  act[i] = g / (1.0f + expf(-g)) * row[F + i % F];
}

__global__ void swiglu_backward(float *dgu, const float *dact, const float *gu, int F, size_t n) {
  const size_t i = blockIdx.x * static_cast<size_t>(THREADS) + threadIdx.x;
  if (i >= n) return;
  const size_t at = i / F * 2 * F + i % F;
  const float g = gu[at], up = gu[at + F], sig = 1.0f / (1.0f + expf(-g));
  dgu[at] = dact[i] * up * sig * (1.0f + g * (1.0f - sig));
  dgu[at + F] = dact[i] * g * sig;
}

/* One block a row: loss and gradient of its logits, in place. */
__global__ void cross_entropy(float *logits, float *nats, float *hits, const int32_t *targets, const float *weights,
                              int V, float scale) {
  float *x = logits + static_cast<size_t>(blockIdx.x) * V, m = -INFINITY, sum = 0;
  const float weight = weights[blockIdx.x], gold = x[targets[blockIdx.x]];
  for (int i = threadIdx.x; i < V; i += THREADS) m = fmaxf(m, x[i]);
  m = block_max(m);
  for (int i = threadIdx.x; i < V; i += THREADS) sum += x[i] = expf(x[i] - m);
  sum = block_sum(sum);
  const float k = weight * scale / sum;
  for (int i = threadIdx.x; i < V; i += THREADS) x[i] = x[i] * k - (i == targets[blockIdx.x] ? weight * scale : 0.0f);
  if (threadIdx.x == 0) nats[blockIdx.x] = logf(sum) - (gold - m), hits[blockIdx.x] = gold == m;
}

__global__ void square_parts(double *parts, const float *g, size_t n) {
  __shared__ double part[THREADS];
  double sum = 0;
  for (size_t i = blockIdx.x * static_cast<size_t>(THREADS) + threadIdx.x; i < n;
       i += static_cast<size_t>(PARTS) * THREADS)
    sum += static_cast<double>(g[i]) * g[i];
  part[threadIdx.x] = sum;
  __syncthreads();
  for (int o = THREADS / 2; o; o >>= 1) {
    if (static_cast<int>(threadIdx.x) < o) part[threadIdx.x] += part[threadIdx.x + o];
    __syncthreads();
  }
  if (threadIdx.x == 0) parts[blockIdx.x] = part[0];
}

struct adam {
  float b1, b2, eps, step, root, keep, scale;
};

__global__ void adamw(float *p, float *grad, float *m, float *v, const unsigned char *decays, struct adam a, size_t n) {
  const size_t i = blockIdx.x * static_cast<size_t>(THREADS) + threadIdx.x;
  if (i >= n) return;
  const float g = grad[i] * a.scale;
  m[i] = a.b1 * m[i] + (1.0f - a.b1) * g;
  v[i] = a.b2 * v[i] + (1.0f - a.b2) * g * g;
  p[i] = p[i] * (decays[i] ? a.keep : 1.0f) - a.step * m[i] / (sqrtf(v[i]) * a.root + a.eps);
  grad[i] = 0;
}

} // namespace

#endif
