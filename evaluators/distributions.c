/* The distribution functions that intervals and tests need. Own code: libm has erf and lgamma, not their descendants.
 */
#include "evaluators/evaluators.h"

#include <float.h>
#include <math.h>

double normal_cdf(double z) {
  return 0.5 * erfc(-z / sqrt(2.0));
}

/* Acklam's rational approximation (relative error 1.15e-9), then one Halley step on erfc, which reaches double
 * precision. */
double normal_quantile(double p) {
  static const double a[6] = {-3.969683028665376e+01, 2.209460984245205e+02,  -2.759285104469687e+02,
                              1.383577518672690e+02,  -3.066479806614716e+01, 2.506628277459239e+00};
  static const double b[5] = {-5.447609879822406e+01, 1.615858368580409e+02, -1.556989798598866e+02,
                              6.680131188771972e+01, -1.328068155288572e+01};
  static const double c[6] = {-7.784894002430293e-03, -3.223964580411365e-01, -2.400758277161838e+00,
                              -2.549732539343734e+00, 4.374664141464968e+00,  2.938163982698783e+00};
  static const double d[4] = {7.784695709041462e-03, 3.224671290700398e-01, 2.445134137142996e+00,
                              3.754408661907416e+00};
  if (isnan(p) || p < 0 || p > 1) return NAN;
  if (p <= 0) return -INFINITY;
  if (p >= 1) return INFINITY;
  double tail = p < 0.5 ? p : 1 - p, x;
  if (tail < 0.02425) {
    double q = sqrt(-2 * log(tail));
    x = (((((c[0] * q + c[1]) * q + c[2]) * q + c[3]) * q + c[4]) * q + c[5]) /
        ((((d[0] * q + d[1]) * q + d[2]) * q + d[3]) * q + 1);
    if (p > 0.5) x = -x;
  } else {
    double q = p - 0.5, r = q * q;
    x = (((((a[0] * r + a[1]) * r + a[2]) * r + a[3]) * r + a[4]) * r + a[5]) * q /
        (((((b[0] * r + b[1]) * r + b[2]) * r + b[3]) * r + b[4]) * r + 1);
  }
  double error = normal_cdf(x) - p, step = error * sqrt(2 * M_PI) * exp(x * x / 2);
  return x - step / (1 + x * step / 2);
}

static double log_gamma(double x) {
  int sign; /* lgamma_r, since lgamma writes a global */
  return lgamma_r(x, &sign);
}

/* Continued fraction of the incomplete beta by the modified Lentz method; converges fast for x < (a+1)/(a+b+2). */
static double beta_fraction(double a, double b, double x) {
  const double tiny = DBL_MIN * 1e10;
  double c = 1, d = 1 - (a + b) * x / (a + 1);
  if (fabs(d) < tiny) d = tiny;
  d = 1 / d;
  double h = d;
  for (int m = 1; m <= 10000; m++) {
    double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (int half = 0; half < 2; half++) {
      double term = half == 0 ? even : odd;
      d = 1 + term * d;
      if (fabs(d) < tiny) d = tiny;
      c = 1 + term / c;
      if (fabs(c) < tiny) c = tiny;
      d = 1 / d;
      change = d * c;
      h *= change;
    }
    if (fabs(change - 1) < 4 * DBL_EPSILON) break;
  }
  return h;
}

double beta_incomplete(double a, double b, double x) {
  if (isnan(a) || isnan(b) || isnan(x) || a <= 0 || b <= 0) return NAN;
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(a, b, x) / a;
  return 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double t_cdf(double t, double df) {
  if (isnan(t) || isnan(df) || df <= 0) return NAN;
  if (isinf(t)) return t > 0 ? 1 : 0;
  if (df > 1e7) return normal_cdf(t); /* the difference is below 1e-8 */
  double tail = 0.5 * beta_incomplete(df / 2, 0.5, df / (df + t * t));
  return t > 0 ? 1 - tail : tail;
}

double t_quantile(double p, double df) {
  if (isnan(p) || isnan(df) || df <= 0 || p < 0 || p > 1) return NAN;
  if (p <= 0) return -INFINITY;
  if (p >= 1) return INFINITY;
  if (df > 1e7) return normal_quantile(p);
  if (p > 0.5) return -t_quantile(1 - p, df); /* the lower tail keeps its digits */
  if (p >= 0.5) return 0;
  double low = -1, high = 0;
  while (t_cdf(low, df) > p && low > -1e300) low *= 2;
  for (int i = 0; i < 200; i++) {
    double middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (t_cdf(middle, df) < p)
      low = middle;
    else
      high = middle;
  }
  return (low + high) / 2;
}

double percentile7(const double *sorted, size_t n, double p) {
  if (n == 0 || isnan(p)) return NAN;
  if (p <= 0) return sorted[0];
  if (p >= 1) return sorted[n - 1];
  double at = p * (double)(n - 1), whole = floor(at);
  size_t i = (size_t)whole;
  return i + 1 < n ? sorted[i] + (at - whole) * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}
