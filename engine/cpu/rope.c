#include "engine/cpu/rope.h"

#include <math.h>

static int rope_dims(const struct model_config *c) {
  return c->rotary_dims ? c->rotary_dims : c->head_dim;
}

/* The dimension whose wave fits so many times into the first training's context. */
static double yarn_dimension(const struct rope_scaling *s, double waves, double theta, int dims) {
  return dims * log(s->original_context / (waves * 2 * acos(-1.0))) / (2 * log(theta));
}

/* YaRN, section 3.2, with the ramp over dimensions of its authors' code: 0 where a frequency is left, 1 where it is
 * divided. */
static double yarn_ramp(const struct rope_scaling *s, int i, double theta, int dims) {
  double low = yarn_dimension(s, s->beta_fast, theta, dims), high = yarn_dimension(s, s->beta_slow, theta, dims);
  if (s->whole_ramp) low = floor(low), high = ceil(high);
  low = fmax(low, 0), high = fmin(high, dims - 1);
  if (low == high) high += 0.001;
  return fmin(fmax((i - low) / (high - low), 0), 1);
}

/* Llama 3.1's rule, by how many waves of this frequency fit into the first training's context. */
static double stretch(const struct rope_scaling *s, double frequency) {
  if (s->type == ROPE_DEFAULT || s->type == ROPE_DYNAMIC || s->type == ROPE_LONG) return frequency;
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
    const double plain = pow(c->rope_theta, -2.0 * i / dims);
    if (c->rope_scaling.type == ROPE_YARN) {
      const double ramp = yarn_ramp(&c->rope_scaling, i, c->rope_theta, dims);
      frequency[i] = plain / c->rope_scaling.factor * ramp + plain * (1 - ramp);
    } else {
      frequency[i] = stretch(&c->rope_scaling, plain);
    }
    if (c->rope_divisors) frequency[i] /= (double)c->rope_divisors[i];
    if (i < c->n_rope_factors) frequency[i] /= (double)c->rope_factors[i];
  }
}

bool rope_is_fixed(const struct model_config *c) {
  const struct rope_scaling *s = &c->rope_scaling;
  return s->type != ROPE_DYNAMIC && (s->attention == 0 || s->attention == 1);
}

float rope_score_factor(const struct model_config *c) {
  const double attention = c->rope_scaling.attention;
  if (rope_is_fixed(c)) return 1;
  if (c->rope_scaling.type == ROPE_DYNAMIC || rope_dims(c) < c->head_dim) return 0;
  return (float)(attention * attention);
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

static void one_angle(double frequency, uint64_t position, float scale, float *cosine, float *sine) {
  /* The product's own rounding error grows with the position, so it is recovered and added to the reduced angle. */
  const double angle = (double)position * frequency, lost = fma((double)position, frequency, -angle);
  const double c = cos(angle), s = sin(angle);
  *cosine = (float)(scale * (c - s * lost));
  *sine = (float)(scale * (s + c * lost));
}

void rope_angles(const double *frequency, int half, uint64_t position, float scale, float *cosine, float *sine) {
  for (int i = 0; i < half; i++) one_angle(frequency[i], position, scale, &cosine[i], &sine[i]);
}

void rope_turn(const struct model_config *c, const double *frequency, uint64_t position, float scale, unsigned use,
               float *cosine, float *sine) {
  const struct rope_scaling *s = &c->rope_scaling;
  const int half = c->head_dim / 2, dims = rope_dims(c);
  if (rope_is_fixed(c)) {
    rope_angles(frequency, half, position, scale, cosine, sine);
    return;
  }
  const bool longer = s->type == ROPE_DYNAMIC && !(use & ROPE_BY_DIFFERENCE) && (double)position >= s->original_context;
  const double attention = s->attention != 0 ? s->attention : 1;
  const float rotated = use & ROPE_QUERY ? scale * (float)(attention * attention) : scale;
  const double grown = s->factor * ((double)position + 1) / s->original_context - (s->factor - 1);
  for (int i = 0; i < half; i++) {
    const double own = longer && i < dims / 2 ? frequency[i] * pow(grown, -2.0 * i / (dims - 2)) : frequency[i];
    one_angle(own, position, i < dims / 2 ? rotated : scale, &cosine[i], &sine[i]);
  }
}
