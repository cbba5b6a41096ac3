// The AVX-512 instructions that csrc uses, written out lane by lane from Intel's intrinsics guide, so that the loops of
// x86-64-v4 can be compiled for a processor that has none of them. Included before everything else of a translation unit
// (CMakeLists.txt, PYDEGRADE_EMULATE_V4). An instruction that is missing here is a name that the compiler does not know.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstring>

#define PYD_EMULATED_AVX512 1
#define __AVX512F__ 1
#define __AVX512BW__ 1

namespace {
namespace avx512 {

// A register as `kCount` lanes of T.
template <class T, int kBytes = 64>
struct Lanes {
  static constexpr int kCount = kBytes / static_cast<int>(sizeof(T));
  T at[kCount] = {};
  Lanes() = default;
  template <class Register>
  explicit Lanes(const Register& value) {
    static_assert(sizeof value == kBytes, "another width");
    memcpy(at, &value, kBytes);
  }
  template <class Register>
  operator Register() const {
    static_assert(sizeof(Register) == kBytes, "another width");
    Register value;
    memcpy(&value, at, kBytes);
    return value;
  }
  T& operator[](int lane) { return at[lane]; }
  const T& operator[](int lane) const { return at[lane]; }
};
using Floats = Lanes<float>;
using Int16s = Lanes<int16_t>;
using UInt16s = Lanes<uint16_t>;
using Int32s = Lanes<int32_t>;
using UInt32s = Lanes<uint32_t>;
using UInt64s = Lanes<uint64_t>;

// To = what `value(lane)` is, in every lane.
template <class To, class Value>
inline To each(Value value) {
  To lanes;
  for (int lane = 0; lane < To::kCount; ++lane) lanes[lane] = value(lane);
  return lanes;
}
template <class Condition>
inline __mmask16 mask_of(Condition condition) {
  unsigned mask = 0;
  for (int lane = 0; lane < 16; ++lane) mask |= (condition(lane) ? 1u : 0u) << lane;
  return static_cast<__mmask16>(mask);
}
inline bool is_set(__mmask16 mask, int lane) { return (mask >> lane & 1) != 0; }

// ---- Memory and constants

inline __m512i loadu_si512(const void* from) {
  __m512i value;
  memcpy(&value, from, sizeof value);
  return value;
}
inline void storeu_si512(void* to, __m512i value) { memcpy(to, &value, sizeof value); }
inline __m512i i32gather_epi32(__m512i index, const void* base, int scale) {
  const Int32s places(index);
  return each<Int32s>([&](int lane) {
    int32_t value;
    memcpy(&value, static_cast<const char*>(base) + static_cast<int64_t>(places[lane]) * scale, sizeof value);
    return value;
  });
}
inline __m512i set1_epi32(int value) {
  return each<Int32s>([&](int) { return value; });
}
inline __m512 set1_ps(float value) {
  return each<Floats>([&](int) { return value; });
}
inline __m512 setzero_ps() { return Floats(); }
inline __m512i setzero_si512() { return Int32s(); }

// ---- Conversions

inline __m512i cvtepu8_epi16(__m256i from) {
  const Lanes<uint8_t, 32> a(from);
  return each<Int16s>([&](int lane) { return a[lane]; });
}
inline __m512i cvtepu8_epi32(__m128i from) {
  const Lanes<uint8_t, 16> a(from);
  return each<Int32s>([&](int lane) { return a[lane]; });
}
inline __m128i cvtepi32_epi8(__m512i from) {
  const UInt32s a(from);
  return each<Lanes<uint8_t, 16>>([&](int lane) { return static_cast<uint8_t>(a[lane]); });
}
inline __m128i cvtusepi32_epi8(__m512i from) {
  const UInt32s a(from);
  return each<Lanes<uint8_t, 16>>([&](int lane) { return static_cast<uint8_t>(a[lane] < 255 ? a[lane] : 255); });
}
inline __m256i cvtusepi16_epi8(__m512i from) {
  const UInt16s a(from);
  return each<Lanes<uint8_t, 32>>([&](int lane) { return static_cast<uint8_t>(a[lane] < 255 ? a[lane] : 255); });
}

// ---- Arithmetic

inline __m512 fmadd_ps(__m512 x, __m512 y, __m512 z) {
  const Floats a(x), b(y), c(z);
  return each<Floats>([&](int lane) { return __builtin_fmaf(a[lane], b[lane], c[lane]); });
}
inline __m512 mask3_fmadd_ps(__m512 x, __m512 y, __m512 z, __mmask16 mask) {
  const Floats a(x), b(y), c(z);
  return each<Floats>([&](int lane) { return is_set(mask, lane) ? __builtin_fmaf(a[lane], b[lane], c[lane]) : c[lane]; });
}
// Where one is no number, the second.
inline __m512 max_ps(__m512 x, __m512 y) {
  const Floats a(x), b(y);
  return each<Floats>([&](int lane) { return a[lane] > b[lane] ? a[lane] : b[lane]; });
}
inline __m512 min_ps(__m512 x, __m512 y) {
  const Floats a(x), b(y);
  return each<Floats>([&](int lane) { return a[lane] < b[lane] ? a[lane] : b[lane]; });
}
inline __m512 roundscale_ps(__m512 x, int how) {
  const Floats a(x);
  const bool down = (how & 3) == _MM_FROUND_TO_NEG_INF;
  return each<Floats>([&](int lane) { return down ? __builtin_floorf(a[lane]) : __builtin_rintf(a[lane]); });
}
inline __m512i max_epi16(__m512i x, __m512i y) {
  const Int16s a(x), b(y);
  return each<Int16s>([&](int lane) { return a[lane] > b[lane] ? a[lane] : b[lane]; });
}
inline __m512i max_epi32(__m512i x, __m512i y) {
  const Int32s a(x), b(y);
  return each<Int32s>([&](int lane) { return a[lane] > b[lane] ? a[lane] : b[lane]; });
}
inline __m512i madd_epi16(__m512i x, __m512i y) {
  const Int16s a(x), b(y);
  return each<UInt32s>([&](int lane) {
    return static_cast<uint32_t>(a[2 * lane] * b[2 * lane]) + static_cast<uint32_t>(a[2 * lane + 1] * b[2 * lane + 1]);
  });
}
inline __m512i mulhi_epu16(__m512i x, __m512i y) {
  const UInt16s a(x), b(y);
  return each<UInt16s>([&](int lane) { return static_cast<uint16_t>((static_cast<uint32_t>(a[lane]) * b[lane]) >> 16); });
}
inline __m512i mul_epu32(__m512i x, __m512i y) {
  const UInt64s a(x), b(y);
  return each<UInt64s>([&](int lane) { return (a[lane] & 0xffffffffu) * (b[lane] & 0xffffffffu); });
}
inline __m512i srli_epi64(__m512i x, unsigned bits) {
  const UInt64s a(x);
  return each<UInt64s>([&](int lane) { return a[lane] >> bits; });
}

// ---- Masks

inline __mmask16 cmp_ps_mask(__m512 x, __m512 y, int predicate) {
  if (predicate != _CMP_LE_OQ) __builtin_trap();
  const Floats a(x), b(y);
  return mask_of([&](int lane) { return a[lane] <= b[lane]; });
}
inline __mmask16 test_epi32_mask(__m512i x, __m512i y) {
  const Int32s a(x), b(y);
  return mask_of([&](int lane) { return (a[lane] & b[lane]) != 0; });
}
inline __m512 mask_mov_ps(__m512 otherwise, __mmask16 mask, __m512 x) {
  const Floats a(x), b(otherwise);
  return each<Floats>([&](int lane) { return is_set(mask, lane) ? a[lane] : b[lane]; });
}

// ---- Lanes in another order; most instructions stay inside of 128 bits

inline __m512i mask_shuffle_epi32(__m512i otherwise, __mmask16 mask, __m512i x, int order) {
  const Int32s a(x), b(otherwise);
  return each<Int32s>(
      [&](int lane) { return is_set(mask, lane) ? a[(lane & ~3) + (order >> 2 * (lane & 3) & 3)] : b[lane]; });
}
inline __m512 shuffle_f32x4(__m512 x, __m512 y, int order) {
  const Floats a(x), b(y);
  return each<Floats>([&](int lane) {
    const int part = lane / 4, from = order >> 2 * part & 3;
    return (part < 2 ? a : b)[4 * from + lane % 4];
  });
}
inline __m512 permutex2var_ps(__m512 x, __m512i index, __m512 y) {
  const Floats a(x), b(y);
  const Int32s places(index);
  return each<Floats>([&](int lane) { return ((places[lane] & 16) != 0 ? b : a)[places[lane] & 15]; });
}
inline __m512i packs_epi32(__m512i x, __m512i y) {
  const Int32s a(x), b(y);
  return each<Int16s>([&](int lane) {
    const int part = lane / 8, place = lane % 8;
    const int32_t value = (place < 4 ? a : b)[4 * part + place % 4];
    return static_cast<int16_t>(value > INT16_MAX ? INT16_MAX : value < INT16_MIN ? INT16_MIN : value);
  });
}
// From 128 bits each, the lanes of the lower or upper half in turn.
template <class T, bool kUpper, class Register>
inline Register interleaved(const Register& x, const Register& y) {
  constexpr int kPart = 16 / static_cast<int>(sizeof(T));
  const Lanes<T> a(x), b(y);
  return each<Lanes<T>>([&](int lane) {
    const int place = lane % kPart;
    return (place % 2 == 0 ? a : b)[lane - place + place / 2 + (kUpper ? kPart / 2 : 0)];
  });
}
inline __m512i unpacklo_epi16(__m512i x, __m512i y) { return interleaved<uint16_t, false>(x, y); }
inline __m512i unpackhi_epi16(__m512i x, __m512i y) { return interleaved<uint16_t, true>(x, y); }
inline __m512i unpacklo_epi32(__m512i x, __m512i y) { return interleaved<uint32_t, false>(x, y); }
inline __m512i unpackhi_epi32(__m512i x, __m512i y) { return interleaved<uint32_t, true>(x, y); }
inline __m512i unpacklo_epi64(__m512i x, __m512i y) { return interleaved<uint64_t, false>(x, y); }
inline __m512i unpackhi_epi64(__m512i x, __m512i y) { return interleaved<uint64_t, true>(x, y); }
inline __m512 unpacklo_ps(__m512 x, __m512 y) { return interleaved<uint32_t, false>(x, y); }
inline __m512 unpackhi_ps(__m512 x, __m512 y) { return interleaved<uint32_t, true>(x, y); }
inline __m512d unpacklo_pd(__m512d x, __m512d y) { return interleaved<uint64_t, false>(x, y); }
inline __m512d unpackhi_pd(__m512d x, __m512d y) { return interleaved<uint64_t, true>(x, y); }

}  // namespace avx512
}  // namespace

// The names under which csrc knows them. Macros, because the compiler has functions of these names that it refuses to call.
#define _mm512_cmp_ps_mask avx512::cmp_ps_mask
#define _mm512_cvtepi32_epi8 avx512::cvtepi32_epi8
#define _mm512_cvtepu8_epi16 avx512::cvtepu8_epi16
#define _mm512_cvtepu8_epi32 avx512::cvtepu8_epi32
#define _mm512_cvtusepi16_epi8 avx512::cvtusepi16_epi8
#define _mm512_cvtusepi32_epi8 avx512::cvtusepi32_epi8
#define _mm512_fmadd_ps avx512::fmadd_ps
#define _mm512_i32gather_epi32 avx512::i32gather_epi32
#define _mm512_loadu_si512 avx512::loadu_si512
#define _mm512_madd_epi16 avx512::madd_epi16
#define _mm512_mask3_fmadd_ps avx512::mask3_fmadd_ps
#define _mm512_mask_mov_ps avx512::mask_mov_ps
#define _mm512_mask_shuffle_epi32 avx512::mask_shuffle_epi32
#define _mm512_max_epi16 avx512::max_epi16
#define _mm512_max_epi32 avx512::max_epi32
#define _mm512_max_ps avx512::max_ps
#define _mm512_min_ps avx512::min_ps
#define _mm512_mul_epu32 avx512::mul_epu32
#define _mm512_mulhi_epu16 avx512::mulhi_epu16
#define _mm512_packs_epi32 avx512::packs_epi32
#define _mm512_permutex2var_ps avx512::permutex2var_ps
#define _mm512_roundscale_ps avx512::roundscale_ps
#define _mm512_set1_epi32 avx512::set1_epi32
#define _mm512_set1_ps avx512::set1_ps
#define _mm512_setzero_ps avx512::setzero_ps
#define _mm512_setzero_si512 avx512::setzero_si512
#define _mm512_shuffle_f32x4 avx512::shuffle_f32x4
#define _mm512_srli_epi64 avx512::srli_epi64
#define _mm512_storeu_si512 avx512::storeu_si512
#define _mm512_test_epi32_mask avx512::test_epi32_mask
#define _mm512_unpackhi_epi16 avx512::unpackhi_epi16
#define _mm512_unpackhi_epi32 avx512::unpackhi_epi32
#define _mm512_unpackhi_epi64 avx512::unpackhi_epi64
#define _mm512_unpackhi_pd avx512::unpackhi_pd
#define _mm512_unpackhi_ps avx512::unpackhi_ps
#define _mm512_unpacklo_epi16 avx512::unpacklo_epi16
#define _mm512_unpacklo_epi32 avx512::unpacklo_epi32
#define _mm512_unpacklo_epi64 avx512::unpacklo_epi64
#define _mm512_unpacklo_pd avx512::unpacklo_pd
#define _mm512_unpacklo_ps avx512::unpacklo_ps
