/* The activations of a network's middle layer, and single elements of a matrix. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_ACTIVATE_CUH
#define SLUICE_ENGINE_CUDA_ACTIVATE_CUH

#include "engine/cuda/inference.cuh"

namespace {

/* Of a float type. */
__device__ float matrix_at(const struct matrix &m, size_t i) {
  if (m.kind == MATRIX_F32) return __ldg(static_cast<const float *>(m.data) + i);
  if (m.kind == MATRIX_F16) return __half2float(__ldg(static_cast<const __half *>(m.data) + i));
  return __bfloat162float(__ldg(static_cast<const bf16 *>(m.data) + i));
}

__device__ float activate(enum activation a, float x) {
  if (a == ACTIVATION_SILU) return __fdividef(x, 1.0f + __expf(-x));
  if (a == ACTIVATION_GELU) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}

} // namespace

#endif
