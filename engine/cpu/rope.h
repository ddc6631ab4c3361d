/* Rotary position embedding, half-split (RoFormer, Su 2021; pairs (i, i + head_dim/2) as in Hugging Face's Llama). */
#ifndef SLUICE_ENGINE_ROPE_H
#define SLUICE_ENGINE_ROPE_H

#include "engine/model/model.h"

/* The angles' frequencies, theta^(-2i/head_dim), for i < head_dim/2. */
void rope_frequencies(const struct model_config *c, double *frequency);
/* Cosines and sines times `scale`, one a pair. Angles are taken in float64 from the whole position: good to 1e-7 at any
 * position below 2^40. */
void rope_angles(const double *frequency, int half, uint64_t position, float scale, float *cosine, float *sine);

#endif
