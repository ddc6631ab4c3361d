/* Random numbers whose sequence is part of the product: generated data must be the same bytes everywhere.
 *   seed        s[0..3] = four successive outputs of splitmix64 started at `seed` (Steele, Lea, Flood 2014).
 *   named seed  the same, started at mix(seed) ^ hash64(name), where mix is one splitmix64 output.
 *   u64         xoshiro256** 1.0 (Blackman, Vigna 2018).
 *   below(n)    Lemire 2019, "Fast Random Integer Generation in an Interval", on the high 32 bits x of one u64:
 *               m = x * n; drawn again while (m mod 2^32) < (2^32 mod n); the result is m >> 32.
 *   double      (u64 >> 11) * 2^-53.
 *   normal      Marsaglia's polar method, first value of each accepted pair, the second one dropped (no hidden state).
 */
#include "base/base.h"

#include <math.h>
#include <string.h>

static uint64_t splitmix64(uint64_t *state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

void rng_seed(struct rng *r, uint64_t seed) {
  for (int i = 0; i < 4; i++) r->s[i] = splitmix64(&seed);
}

void rng_seed_named(struct rng *r, uint64_t seed, const char *name) {
  uint64_t mixed = splitmix64(&seed);
  rng_seed(r, mixed ^ hash64(name, strlen(name)));
}

static uint64_t rotate_left(uint64_t x, int k) {
  return x << k | x >> (64 - k);
}

uint64_t rng_u64(struct rng *r) {
  uint64_t *s = r->s;
  uint64_t result = rotate_left(s[1] * 5, 7) * 9;
  uint64_t t = s[1] << 17;
  s[2] ^= s[0];
  s[3] ^= s[1];
  s[1] ^= s[2];
  s[0] ^= s[3];
  s[2] ^= t;
  s[3] = rotate_left(s[3], 45);
  return result;
}

uint32_t rng_below(struct rng *r, uint32_t n) {
  uint64_t m = (rng_u64(r) >> 32) * n;
  if ((uint32_t)m < n) { /* only here can the draw be in the biased part, and only here is the division paid */
    uint32_t threshold = (0u - n) % n;
    while ((uint32_t)m < threshold) m = (rng_u64(r) >> 32) * n;
  }
  return (uint32_t)(m >> 32);
}

double rng_double(struct rng *r) {
  return (double)(rng_u64(r) >> 11) * 0x1.0p-53;
}

double rng_normal(struct rng *r) {
  double u, v, q;
  do {
    u = 2.0 * rng_double(r) - 1.0;
    v = 2.0 * rng_double(r) - 1.0;
    q = u * u + v * v;
  } while (q >= 1.0 || q == 0.0);
  return u * sqrt(-2.0 * log(q) / q);
}
