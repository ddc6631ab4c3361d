/* Running text about a few people, for perplexity and for training. */
#ifndef SLUICE_DATASETS_GENERATORS_STORY_H
#define SLUICE_DATASETS_GENERATORS_STORY_H

#include "datasets/cast.h"

/* Appends about `words` words in paragraphs of 4 to 8 sentences. What is said of a character (object, city, job) stays
 * true to the end and comes back, so that a longer memory predicts it better. */
sluice_status story_write(struct cast *cast, size_t words, struct buffer *out, struct sluice_error *err);

#endif
