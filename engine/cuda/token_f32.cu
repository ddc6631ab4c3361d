/* The launch of a decode step for weights of one type. */
#include "engine/cuda/token_kernel.cuh"

token_kernel_fn token_kernel_f32(int width) {
  return token_kernel_of<float, float>(width);
}
