/* The activations of a network's middle layer. Private to engine/cuda. */
#ifndef SLUICE_ENGINE_CUDA_ACTIVATE_CUH
#define SLUICE_ENGINE_CUDA_ACTIVATE_CUH

#include "engine/cuda/inference.cuh"

namespace {

__device__ float activate(enum activation a, float x) {
  if (a == ACTIVATION_SILU) return x / (1.0f + __expf(-x));
  if (a == ACTIVATION_GELU) return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f));
  return 0.5f * x * (1.0f + tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)));
}

} // namespace

#endif
