// What the generated kernels are written in: numbers that differ from network to network, and functions of them.
// On a CPU `v` is a vector over L networks, on a card one thread's number.
#ifndef __CUDACC__
#include <stddef.h>
#endif
#ifdef __CUDACC__
#define NOT_A_NUMBER __int_as_float(0x7fc00000)
#define INFINITE __int_as_float(0x7f800000)
#define NO_UNROLL _Pragma("unroll 1")
#define EACH __device__ __forceinline__
#define PREFETCH(p) asm volatile("prefetch.global.L1 [%0];" ::"l"(p))
typedef float v;
typedef int iv;
typedef bool m;
#define L 1
#define V(x) (x)
#define IV(x) (x)
#define M(x) (x)
EACH size_t first(size_t lane, size_t) { return lane; }
EACH float load(const float* p) { return *p; }
EACH int load(const int* p) { return *p; }
EACH bool load(const unsigned char* p) { return *p != 0; }
template <class T> EACH T gather(const T* p, int row, unsigned long long step) { return p[row * step]; }
template <class T> EACH T gather_own(const T* p, int row, unsigned long long step) { return p[row * step]; }
template <class T> EACH void store(T* p, T x) { *p = x; }
EACH void store(unsigned char* p, bool x) { *p = x; }
#else
#define NOT_A_NUMBER __builtin_nanf("")
#define INFINITE __builtin_inff()
#ifdef __clang__
#define NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define NO_UNROLL _Pragma("GCC unroll 1")
#endif
#define EACH static inline __attribute__((always_inline))
#define PREFETCH(p) __builtin_prefetch(p)
#if defined(__AVX512F__)
#define L 16
#elif defined(__AVX__)
#define L 8
#else
#define L 4
#endif
typedef float v __attribute__((vector_size(4 * L), aligned(4), may_alias));
typedef int iv __attribute__((vector_size(4 * L), aligned(4), may_alias));
typedef iv m;
EACH size_t first(size_t lane, size_t numbers) { return lane / BLOCK * BLOCK * numbers + lane % BLOCK; }
#define V(x) (v{} + (float)(x))
#define IV(x) (iv{} + (int)(x))
#define M(x) (iv{} - (int)(x))
EACH v load(const float* p) { return *(const v*)p; }
EACH iv load(const int* p) { return *(const iv*)p; }
EACH m load(const unsigned char* p) { m r; for (int j = 0; j < L; j++) r[j] = -(p[j] != 0); return r; }
template <class T> struct lanes_of;
template <> struct lanes_of<float> { typedef v type; };
template <> struct lanes_of<int> { typedef iv type; };
template <> struct lanes_of<unsigned char> { typedef m type; };
EACH float number(float x) { return x; }
EACH int number(int x) { return x; }
EACH int number(unsigned char x) { return -(x != 0); }  // of all bits or none, as comparisons of vectors are
template <class T> EACH typename lanes_of<T>::type gather(const T* p, iv row, unsigned long long step) {
  typename lanes_of<T>::type r;
  for (int j = 0; j < L; j++) r[j] = number(p[row[j] * step]);
  return r;
}
template <class T> EACH typename lanes_of<T>::type gather_own(const T* p, iv row, unsigned long long step) {
  typename lanes_of<T>::type r;
  for (int j = 0; j < L; j++) r[j] = number(p[row[j] * step + j]);
  return r;
}
EACH void store(float* p, v x) { *(v*)p = x; }
EACH void store(int* p, iv x) { *(iv*)p = x; }
EACH void store(unsigned char* p, m x) { for (int j = 0; j < L; j++) p[j] = x[j] != 0; }
EACH v sel(m c, v a, v b) { return c ? a : b; }
EACH iv sel(m c, iv a, iv b) { return c ? a : b; }
EACH m not_(m a) { return ~a; }
EACH v int_to_float(iv a) { return __builtin_convertvector(a, v); }
EACH v bool_to_float(m a) { return __builtin_convertvector(-a, v); }
EACH iv bool_to_int(m a) { return -a; }
EACH v abs_(v a) { return (v)((iv)a & IV(0x7fffffff)); }
#endif
EACH size_t min_of(size_t a, size_t b) { return a < b ? a : b; }
template <class T> EACH T sel(bool c, T a, T b) { return c ? a : b; }
EACH bool not_(bool a) { return !a; }
EACH float int_to_float(int a) { return (float)a; }
EACH float bool_to_float(bool a) { return a ? 1.0f : 0.0f; }
EACH int bool_to_int(bool a) { return a; }
// Of two the larger and the smaller, NaN if either is; `known` is not NaN.
template <class T> EACH T max_known_(T a, T known) { return sel(known > a, known, a); }
template <class T> EACH T min_known_(T a, T known) { return sel(known < a, known, a); }
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
EACH float max_(float a, float b) { float r; asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
EACH float min_(float a, float b) { float r; asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b)); return r; }
EACH float max_known_(float a, float known) { return max_(a, known); }
EACH float min_known_(float a, float known) { return min_(a, known); }
#else
template <class T> EACH T max_(T a, T b) { return sel((a > b) | (a != a), a, b); }
template <class T> EACH T min_(T a, T b) { return sel((a < b) | (a != a), a, b); }
#endif
#ifdef __CUDACC__
#define SCALAR(name, call) EACH float name##_(float a) { return call; }
#define SCALAR2(name, call) EACH float name##_(float a, float b) { return call; }
#else
#define SCALAR(name, call) EACH float name##_(float a) { return __builtin_##call; }
#define SCALAR2(name, call) EACH float name##_(float a, float b) { return __builtin_##call; }
#endif
SCALAR(abs, fabsf(a)) SCALAR(exp, expf(a)) SCALAR(expm1, expm1f(a)) SCALAR(log, logf(a)) SCALAR(log1p, log1pf(a)) SCALAR(tanh, tanhf(a))
SCALAR(sin, sinf(a)) SCALAR(cos, cosf(a)) SCALAR(erf, erff(a)) SCALAR(erfc, erfcf(a)) SCALAR(sqrt, sqrtf(a))
SCALAR(floor, floorf(a)) SCALAR(ceil, ceilf(a)) SCALAR2(pow, powf(a, b))
EACH float rsqrt_(float a) { return 1.0f / sqrt_(a); }
EACH float logistic_(float a) { return 1.0f / (1.0f + exp_(-a)); }

#ifndef __CUDACC__
#define BY_LANE(name) EACH v name##_(v a) { v r; for (int j = 0; j < L; j++) r[j] = name##_(a[j]); return r; }
BY_LANE(sqrt) BY_LANE(floor) BY_LANE(ceil) BY_LANE(sin) BY_LANE(cos) BY_LANE(erf) BY_LANE(erfc)
EACH v pow_(v a, v b) { v r; for (int j = 0; j < L; j++) r[j] = pow_(a[j], b[j]); return r; }
EACH v rsqrt_(v a) { return V(1) / sqrt_(a); }

EACH v exp_(v a) {
  v x = sel(a > V(89.0f), V(89.0f), sel(a < V(-104.0f), V(-104.0f), a));  // NaN stays
  v n = (x * 1.44269504f + 12582912.0f) - 12582912.0f;                   // rounded
  v r = x - n * 0.693359375f + n * 2.12194440e-4f;
  v y = (((((r * 1.9875691500e-4f + 1.3981999507e-3f) * r + 8.3334519073e-3f) * r + 4.1665795894e-2f) * r +
          1.6666665459e-1f) * r + 5.0000001201e-1f) * (r * r) + r + 1.0f;
  iv k = __builtin_convertvector(sel(n == n, n, V(0)), iv), half = k >> 1;  // in two steps, as 2^k may not be normal
  return y * (v)((half + 127) << 23) * (v)((k - half + 127) << 23);
}
EACH v log_(v a) {
  m tiny = a < V(1.17549435e-38f);
  v x = sel(tiny, a * 8388608.0f, a);
  iv bits = (iv)x;
  v e = __builtin_convertvector((bits >> 23) - 126, v) - sel(tiny, V(23), V(0));
  v f = (v)((bits & 0x007fffff) | 0x3f000000);  // from 1/2 to 1
  m low = f < V(0.707106781f);
  e = sel(low, e - 1.0f, e);
  f = sel(low, f + f, f) - 1.0f;
  v z = f * f;
  v y = ((((((((f * 7.0376836292e-2f - 1.1514610310e-1f) * f + 1.1676998740e-1f) * f - 1.2420140846e-1f) * f +
            1.4249322787e-1f) * f - 1.6668057665e-1f) * f + 2.0000714765e-1f) * f - 2.4999993993e-1f) * f +
         3.3333331174e-1f) * f * z;
  y = y - e * 2.12194440e-4f - z * 0.5f;
  y = f + y + e * 0.693359375f;
  y = sel(a == V(INFINITE), a, y);
  y = sel(a == V(0), V(-INFINITE), y);
  return sel(a >= V(0), y, V(NOT_A_NUMBER));
}
EACH v log1p_(v a) {  // the error of 1 + a is made good (Kahan)
  v u = a + 1.0f, d = u - 1.0f;
  v y = log_(u) * (a / d);
  return sel((d == V(0)) | (u == V(INFINITE)), a, sel(u == V(0), V(-INFINITE), y));
}
EACH v expm1_(v a) {  // Kahan's way too
  v u = exp_(a), d = u - 1.0f;
  v y = d * (a / log_(u));
  return sel(u == V(1), a, sel((d == V(-1)) | (u == V(INFINITE)), d, y));
}
EACH v tanh_(v a) {  // the rational approximation of Eigen, and 1 where float32 has nothing between it and tanh
  v x = sel(a > V(7.9053f), V(7.9053f), sel(a < V(-7.9053f), V(-7.9053f), a)), s = x * x;
  v y = ((((((s * -2.76076847742355e-16f + 2.00018790482477e-13f) * s - 8.60467152213735e-11f) * s +
            5.12229709037114e-08f) * s + 1.48572235717979e-05f) * s + 6.37261928875436e-04f) * s +
         4.89352455891786e-03f) * x;
  y = y / (((s * 1.19825839466702e-06f + 1.18534705686654e-04f) * s + 2.26843463243900e-03f) * s + 4.89352518554385e-03f);
  v z = abs_(a);
  return sel(z > V(9.01f), sel(a < V(0), V(-1), V(1)), sel(z < V(4e-4f), a, y));
}
EACH v logistic_(v a) { return 1.0f / (1.0f + exp_(-a)); }
#endif
