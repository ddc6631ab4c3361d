/* Rotary position embedding, half-split (RoFormer, Su 2021; pairs (i, i + head_dim/2) as in Hugging Face's Llama). */
#ifndef SLUICE_ENGINE_ROPE_H
#define SLUICE_ENGINE_ROPE_H

#include "engine/model/model.h"

/* The angles' frequencies, theta^(-2i/rotary_dims), for i < rotary_dims/2, and 0 for the other i < head_dim/2: what is
 * not rotated turns by no angle. */
void rope_frequencies(const struct model_config *c, double *frequency);
/* Whether these frequencies are all there is to know: false for dynamic NTK, and with a factor on attention. */
bool rope_is_fixed(const struct model_config *c);
/* What scores are multiplied by besides 1 / sqrt(head_dim), the factor on queries and keys squared; 0: no one number,
 * with dynamic NTK, or where only a part of each head is rotated. */
float rope_score_factor(const struct model_config *c);
/* Every rotation here pairs dimension i of a head with i + head_dim/2. A model that pairs otherwise, or rotates a part
 * of a head, has the dimensions of its queries and keys put in another order first, the same for both, which changes no
 * product of the two: new[i] = old[order[i]], order[head_dim]. False: that order is the old one. */
bool rope_head_order(const struct model_config *c, int *order);
/* Cosines and sines times `scale`, one a pair. Angles are taken in float64 from the whole position: good to 1e-7 at any
 * position below 2^40. */
void rope_angles(const double *frequency, int half, uint64_t position, float scale, float *cosine, float *sine);
/* The same for a model's head_dim/2 pairs, whatever its rope_scaling. Dynamic NTK: a token behind the trained context
 * turns as the last one of a text that ends with it, so that its key does not depend on what follows or how a text was
 * cut: what transformers computes token by token. A factor on queries and keys (YaRN, LongRoPE) goes to the queries,
 * squared. */
enum {
  ROPE_QUERY = 1,        /* else a key */
  ROPE_BY_DIFFERENCE = 2 /* positions stand for differences of at most a trained context (streaming): none is behind it
                          */
};
void rope_turn(const struct model_config *c, const double *frequency, uint64_t position, float scale, unsigned use,
               float *cosine, float *sine);

#endif
