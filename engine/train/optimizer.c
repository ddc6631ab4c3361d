/* AdamW (Loshchilov & Hutter 2019) with bias correction; moments in float32, the step's scalars in float64. */
#include "engine/train/train.h"

#include <math.h>

/* The arrays of norms are not decayed: they scale, they do not mix. */
size_t adamw_run(const struct net_shape *s, size_t i, bool *decays) {
  for (int l = 0; l < s->L; l++) {
    const struct net_layer *y = &s->layer[l];
    const size_t d = (size_t)s->D;
    if (i < y->norm1) return *decays = true, y->norm1;
    if (i < y->norm1 + d) return *decays = false, y->norm1 + d;
    if (i < y->norm2) return *decays = true, y->norm2;
    if (i < y->norm2 + d) return *decays = false, y->norm2 + d;
  }
  if (i < s->final_norm) return *decays = true, s->final_norm;
  return *decays = false, s->size;
}

void adamw_step(const struct adamw *o, float *params, const float *grad, float grad_scale, double lr, int64_t t,
                size_t from, size_t to, const struct net_shape *s) {
  const double fix1 = 1.0 - pow(o->beta1, (double)t), fix2 = 1.0 - pow(o->beta2, (double)t);
  const float b1 = (float)o->beta1, b2 = (float)o->beta2, step = (float)(lr / fix1), root = (float)(1.0 / sqrt(fix2));
  const float eps = (float)o->eps;
  for (size_t i = from; i < to;) {
    bool decays;
    size_t end = adamw_run(s, i, &decays);
    if (end > to) end = to;
    const float keep = decays ? (float)(1.0 - lr * o->weight_decay) : 1.0f;
    for (; i < end; i++) {
      const float g = grad[i] * grad_scale;
      o->m[i] = b1 * o->m[i] + (1.0f - b1) * g;
      o->v[i] = b2 * o->v[i] + (1.0f - b2) * g * g;
      params[i] = params[i] * keep - step * o->m[i] / (sqrtf(o->v[i]) * root + eps);
    }
  }
}

double learning_rate(const struct train_options *o, int64_t step, int64_t total) {
  if ((double)step < o->warmup_steps) return o->lr * (double)(step + 1) / o->warmup_steps;
  const double span = (double)total - o->warmup_steps, done = span > 0 ? ((double)step - o->warmup_steps) / span : 1;
  return o->lr_end + (o->lr - o->lr_end) * 0.5 * (1 + cos(3.14159265358979323846 * (done > 1 ? 1 : done)));
}
