#include "engine/cpu/rope.h"

#include <math.h>

void rope_frequencies(const struct model_config *c, double *frequency) {
  for (int i = 0; i < c->head_dim / 2; i++) frequency[i] = pow(c->rope_theta, -2.0 * i / c->head_dim);
}

void rope_angles(const double *frequency, int half, uint64_t position, float scale, float *cosine, float *sine) {
  for (int i = 0; i < half; i++) {
    /* The product's own rounding error grows with the position, so it is recovered and added to the reduced angle. */
    const double angle = (double)position * frequency[i], lost = fma((double)position, frequency[i], -angle);
    const double c = cos(angle), s = sin(angle);
    cosine[i] = (float)(scale * (c - s * lost));
    sine[i] = (float)(scale * (s + c * lost));
  }
}
