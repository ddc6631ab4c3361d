#include "engine/cpu/rope.h"

#include <math.h>

/* Llama 3.1's rule, by how many waves of this frequency fit into the first training's context. */
static double stretch(const struct rope_scaling *s, double frequency) {
  if (s->type == ROPE_DEFAULT) return frequency;
  if (s->type == ROPE_LINEAR) return frequency / s->factor;
  const double waves = s->original_context * frequency / (2 * acos(-1.0));
  if (waves < s->low_freq_factor) return frequency / s->factor;
  if (waves > s->high_freq_factor) return frequency;
  const double ramp = (waves - s->low_freq_factor) / (s->high_freq_factor - s->low_freq_factor);
  return (1 - ramp) * frequency / s->factor + ramp * frequency;
}

void rope_frequencies(const struct model_config *c, double *frequency) {
  for (int i = 0; i < c->head_dim / 2; i++)
    frequency[i] = stretch(&c->rope_scaling, pow(c->rope_theta, -2.0 * i / c->head_dim));
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
