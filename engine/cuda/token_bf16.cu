/* The launch of a decode step for weights of one type. */
#include "engine/cuda/token_kernel.cuh"

token_kernel_fn token_kernel_bf16(int width) {
  return token_kernel_of<bf16, bf16>(width);
}
