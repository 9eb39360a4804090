// Vectors and matrix products in float32. Every sum is taken in an order that depends on its length alone.

#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__AVX512F__)
constexpr int W = 16;
#elif defined(__AVX__)
constexpr int W = 8;
#else
constexpr int W = 4;
#endif
typedef float Vec __attribute__((vector_size(4 * W)));
typedef float Loose __attribute__((vector_size(4 * W), aligned(4), may_alias));
typedef int32_t Ints __attribute__((vector_size(4 * W)));
typedef int64_t i64;
#define UNROLLED _Pragma("GCC unroll 16")  // so that small arrays of vectors stay in registers

// -- vectors ----------------------------------------------------------------------------------------------------------

static inline Vec load(const float* p) { return *reinterpret_cast<const Loose*>(p); }
static inline void store(float* p, Vec v) { *reinterpret_cast<Loose*>(p) = v; }
static inline Vec all(float x) { return x - Vec{}; }

// The first n values, and zeros.
static inline Vec load(const float* p, i64 n) {
  if (n >= W) return load(p);
  Vec v = {};
  std::memcpy(&v, p, 4 * n);
  return v;
}
static inline void store(float* p, Vec v, i64 n) {
  if (n >= W) return store(p, v);
  std::memcpy(p, &v, 4 * n);
}

// a and b hold groups of N values; the sums of the two halves of each group, a's first: groups of N / 2.
template <int N>
static inline Vec merged(Vec a, Vec b) {
  Ints low, high;
  for (int i = 0; i < W; i++) {
    low[i] = i / (N / 2) * N + i % (N / 2);
    high[i] = low[i] + N / 2;
  }
#if defined(__clang__)
  Vec x, y;
  for (int i = 0; i < W; i++) {
    x[i] = low[i] < W ? a[low[i]] : b[low[i] - W];
    y[i] = high[i] < W ? a[high[i]] : b[high[i] - W];
  }
  return x + y;
#else
  return __builtin_shuffle(a, b, low) + __builtin_shuffle(a, b, high);
#endif
}

// v[i] summed over its values, for W vectors at once. Each is summed in the same order, halves onto halves.
template <int N = W>
static inline Vec sums(Vec* v) {
  UNROLLED for (int i = 0; i < N / 2; i++) v[i] = merged<N>(v[2 * i], v[2 * i + 1]);
  if constexpr (N > 2) return sums<N / 2>(v);
  return v[0];
}

static inline float sum(Vec v) {
  float out[W];
  store(out, v);
  for (int n = W / 2; n; n /= 2)
    for (int i = 0; i < n; i++) out[i] += out[i + n];
  return out[0];
}

// exp to about 1e-7 of itself (Cephes' polynomial); NaN stays NaN.
static inline Vec exponential(Vec x) {
  x = x > all(88.f) ? all(88.f) : x;
  x = x < all(-87.f) ? all(-87.f) : x;
  const Vec magic = all(12582912.f);  // 1.5 * 2^23: adding it rounds
  Vec n = x * 1.44269504f + magic;
  const Ints scale = (reinterpret_cast<Ints>(n) - reinterpret_cast<Ints>(magic) + 127) << 23;
  n -= magic;
  x = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vec p = all(1.9875691500e-4f);
  p = p * x + 1.3981999507e-3f;
  p = p * x + 8.3334519073e-3f;
  p = p * x + 4.1665795894e-2f;
  p = p * x + 1.6666665459e-1f;
  p = p * x + 5.0000001201e-1f;
  p = p * (x * x) + x + 1.f;
  return p * reinterpret_cast<Vec>(scale);
}
static inline Vec sigmoid(Vec x) { return 1.f / (1.f + exponential(-x)); }
static inline Vec hyperbolic(Vec x) { return 1.f - 2.f / (1.f + exponential(x + x)); }

// -- matrix products --------------------------------------------------------------------------------------------------

// Keeps v in a register: GCC would rather read it again for every use.
static inline void keep(Vec& v) {
#if defined(__AVX512F__)
  asm("" : "+v"(v));
#elif defined(__AVX__)
  asm("" : "+x"(v));
#else
  (void)v;
#endif
}

// M x N values of y = x w^T (+ y where `add`): x [M, size], w [N, size], each row `apart` values after the one before.
// TAIL: size is not a multiple of W.
template <int M, int N, bool TAIL>
static void tile(const float* x, i64 x_apart, const float* w, i64 w_apart, float* y, i64 y_apart, i64 size, bool add) {
  constexpr int PADDED = (M * N + W - 1) / W * W;
  Vec acc[PADDED] = {};
  i64 k = 0;
  for (; k + W <= size; k += W) {
    Vec rows[M];
    UNROLLED for (int m = 0; m < M; m++) rows[m] = load(x + m * x_apart + k);
    if constexpr (M > 1)
      UNROLLED for (int m = 0; m < M; m++) keep(rows[m]);
    UNROLLED for (int n = 0; n < N; n++) {
      Vec own = load(w + n * w_apart + k);
      if constexpr (M > 1) keep(own);
      if constexpr (M == 1) __builtin_prefetch(w + (n + N) * w_apart + k);
      UNROLLED for (int m = 0; m < M; m++) acc[m * N + n] += rows[m] * own;
    }
  }
  if constexpr (TAIL)
    for (int n = 0; n < N; n++) {
      const Vec own = load(w + n * w_apart + k, size - k);
      for (int m = 0; m < M; m++) acc[m * N + n] += load(x + m * x_apart + k, size - k) * own;
    }
  float out[PADDED];
  UNROLLED for (int i = 0; i < PADDED; i += W) store(out + i, sums(acc + i));
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) y[m * y_apart + n] = out[m * N + n] + (add ? y[m * y_apart + n] : 0.f);
}

// N columns of y.
template <int N, bool TAIL>
static void columns(const float* x, i64 x_apart, const float* w, i64 w_apart, float* y, i64 y_apart, i64 rows, i64 size,
                    bool add) {
  for (int n = N; n < 2 * N; n++)
    for (i64 k = 0; k < size; k += 16) __builtin_prefetch(w + n * w_apart + k);
  i64 m = 0;
  for (; m + 4 <= rows; m += 4)
    tile<4, N, TAIL>(x + m * x_apart, x_apart, w, w_apart, y + m * y_apart, y_apart, size, add);
  x += m * x_apart;
  y += m * y_apart;
  if (rows - m == 3) tile<3, N, TAIL>(x, x_apart, w, w_apart, y, y_apart, size, add);
  if (rows - m == 2) tile<2, N, TAIL>(x, x_apart, w, w_apart, y, y_apart, size, add);
  if (rows - m == 1) tile<1, N, TAIL>(x, x_apart, w, w_apart, y, y_apart, size, add);
}

constexpr i64 BLOCK = 512;  // values of a row at a time: four rows of each then fit the first cache

// y [rows, count] = x [rows, size] w^T (+ y), w [count, w_apart].
template <bool TAIL>
static void product(const float* x, i64 x_apart, const float* w, i64 w_apart, float* y, i64 y_apart, i64 rows,
                    i64 count, i64 size, bool add) {
  if (rows == 1) {  // bound by reading w, which is then read once from end to end
    i64 n = 0;
    for (; n + 16 <= count; n += 16)
      for (i64 k = 0; k < size; k += BLOCK)
        tile<1, 16, TAIL>(x + k, 0, w + n * w_apart + k, w_apart, y + n, 0, size - k < BLOCK ? size - k : BLOCK, add || k);
    for (; n < count; n++)
      for (i64 k = 0; k < size; k += BLOCK)
        tile<1, 1, TAIL>(x + k, 0, w + n * w_apart + k, w_apart, y + n, 0, size - k < BLOCK ? size - k : BLOCK, add || k);
    return;
  }
  for (i64 k = 0; k < size; k += BLOCK) {
    const i64 part = size - k < BLOCK ? size - k : BLOCK;
    i64 n = 0;
    for (; n + 4 <= count; n += 4)
      columns<4, TAIL>(x + k, x_apart, w + n * w_apart + k, w_apart, y + n, y_apart, rows, part, add || k);
    for (; n < count; n++)
      columns<1, TAIL>(x + k, x_apart, w + n * w_apart + k, w_apart, y + n, y_apart, rows, part, add || k);
  }
}
static void product(const float* x, i64 x_apart, const float* w, i64 w_apart, float* y, i64 y_apart, i64 rows,
                    i64 count, i64 size, bool add) {
  (size % W ? product<true> : product<false>)(x, x_apart, w, w_apart, y, y_apart, rows, count, size, add);
}
