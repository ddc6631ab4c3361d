/* A step's sequences, tokenised in parallel from the corpus of its stage. Private to this folder. */
#ifndef SLUICE_ENGINE_TRAIN_BATCH_H
#define SLUICE_ENGINE_TRAIN_BATCH_H

#include "engine/train/train.h"

struct batcher;
sluice_status batcher_open(const struct train_options *o, const struct tokenizer *t, struct batcher **out,
                           struct sluice_error *err);
void batcher_close(struct batcher *b);
int batcher_max_length(const struct batcher *b);
int batcher_max_batch(const struct batcher *b);
int64_t batcher_steps(const struct batcher *b); /* over all stages */
/* The batch of a step: stage by stage, lines in file order, from the first line again when a file ends. */
sluice_status batcher_fill(struct batcher *b, int64_t step, struct net_batch *out, double *weight_sum, int *stage,
                           struct sluice_error *err);

#endif
