/* What only some families of models do to activations: LayerNorm, norms of single heads, GELU, another order of a
 * head's dimensions. Portable, the same for every kernel; sums are taken in float64 in a fixed order. */
#include <math.h>
#include <string.h>

#include "engine/cpu/workspace.h"

enum { SUMS = 8 }; /* side by side, so that they need not wait for each other */

static double sum_of(const double part[SUMS]) {
  double sum = 0;
  for (int i = 0; i < SUMS; i++) sum += part[i];
  return sum;
}

static double mean_of(const float *x, int n) {
  double part[SUMS] = {0};
  for (int i = 0; i < n; i++) part[i % SUMS] += (double)x[i];
  return sum_of(part) / n;
}

static double mean_square(const float *x, double mean, int n) {
  double part[SUMS] = {0};
  for (int i = 0; i < n; i++) part[i % SUMS] += ((double)x[i] - mean) * ((double)x[i] - mean);
  return sum_of(part) / n;
}

void layer_norm(const float *x, const float *gain, const float *bias, float eps, int n, float *out) {
  const double mean = mean_of(x, n), scale = 1 / sqrt(mean_square(x, mean, n) + (double)eps);
  for (int i = 0; i < n; i++) out[i] = (float)(((double)x[i] - mean) * scale) * gain[i] + bias[i];
}

void head_norm(float *x, const float *gain, float eps, int n) {
  const double scale = 1 / sqrt(mean_square(x, 0, n) + (double)eps);
  for (int i = 0; i < n; i++) x[i] = (float)((double)x[i] * scale) * gain[i];
}

void head_reorder(float *x, const int *order, int n, float *scratch) {
  memcpy(scratch, x, (size_t)n * sizeof *x);
  for (int i = 0; i < n; i++) x[i] = scratch[order[i]];
}

void activate(enum activation kind, float *x, int n) {
  switch (kind) {
  case ACTIVATION_SILU:
    for (int i = 0; i < n; i++) x[i] = x[i] / (1 + expf(-x[i]));
    break;
  case ACTIVATION_GELU:
    for (int i = 0; i < n; i++) x[i] = 0.5f * x[i] * (1 + erff(x[i] * 0.70710678f));
    break;
  case ACTIVATION_GELU_TANH: /* Hendrycks and Gimpel 2016, the approximation */
    for (int i = 0; i < n; i++) x[i] = 0.5f * x[i] * (1 + tanhf(0.79788456f * x[i] * (1 + 0.044715f * x[i] * x[i])));
    break;
  }
}
