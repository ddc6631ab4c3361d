#include "engine/cpu/rope.h"

#include <math.h>

static int rope_dims(const struct model_config *c) {
  return c->rotary_dims ? c->rotary_dims : c->head_dim;
}

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
  const int dims = rope_dims(c);
  for (int i = 0; i < c->head_dim / 2; i++) frequency[i] = 0;
  for (int i = 0; i < dims / 2; i++) {
    frequency[i] = stretch(&c->rope_scaling, pow(c->rope_theta, -2.0 * i / dims));
    if (c->rope_divisors) frequency[i] /= (double)c->rope_divisors[i];
  }
}

bool rope_head_order(const struct model_config *c, int *order) {
  const int dims = rope_dims(c), half = c->head_dim / 2;
  for (int i = 0; i < half; i++) {
    const int rest = dims + 2 * (i - dims / 2); /* of a pair that is not rotated */
    if (i >= dims / 2)
      order[i] = rest, order[half + i] = rest + 1;
    else if (c->rotary_neighbours)
      order[i] = 2 * i, order[half + i] = 2 * i + 1;
    else
      order[i] = i, order[half + i] = dims / 2 + i;
  }
  return dims < c->head_dim || c->rotary_neighbours;
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
