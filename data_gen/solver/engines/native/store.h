// Accelerations kept for the adjoint, in full or half precision: of every cell, or of those the layers act on.
//
// In half precision each row of a step, or each layer's part of a row, is a unit and the values in that unit: a power of
// two that brings the largest value into [2^14, 2^15). So no value overflows, and values down to 2^-28 of the row's largest
// have the format's full precision, whatever the amplitude of the wavelet or of a tangent.

#pragma once
#include <cmath>
#include <limits>
#include <type_traits>

#include "fields.h"

// Convert LANES values. x86 has instructions for it, which GCC 12 does not use by itself; elsewhere the compiler's own half
// precision does: `__fp16` on ARM, `_Float16` from GCC 12 and Clang 15 on. All round to nearest, ties to even.
#if defined(__F16C__)
#include <immintrin.h>
inline void to_halves(const float* values, uint16_t* halves) {
  for (int j = 0; j < LANES; j += 8) {
    const __m128i eight = _mm256_cvtps_ph(_mm256_loadu_ps(values + j), 0);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(halves + j), eight);
  }
}
inline void from_halves(const uint16_t* halves, float* values) {
  for (int j = 0; j < LANES; j += 8) {
    const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(halves + j));
    _mm256_storeu_ps(values + j, _mm256_cvtph_ps(eight));
  }
}
#else
#if defined(__aarch64__)
using Half = __fp16;
#else
using Half = _Float16;
#endif
inline void to_halves(const float* values, uint16_t* halves) {
  for (int j = 0; j < LANES; ++j) {
    const Half half = Half(values[j]);
    std::memcpy(halves + j, &half, 2);
  }
}
inline void from_halves(const uint16_t* halves, float* values) {
  for (int j = 0; j < LANES; ++j) {
    Half half;
    std::memcpy(&half, halves + j, 2);
    values[j] = float(half);
  }
}
#endif

enum class Precision : int64_t { SAME = 0, BFLOAT16 = 1, FLOAT16 = 2 };

inline uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline float from_bfloat16(uint16_t half) {
  const uint32_t bits = uint32_t(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

struct Store {
  const Grid* grid = nullptr;
  Precision precision = Precision::SAME;
  bool everything = true;  // or the layers' cells only

  // Bytes of a row, or of a layer's part of one.
  int64_t size(int count) const {
    if (precision == Precision::SAME) return count * int64_t(sizeof(Real));
    return count ? int64_t(sizeof(Real)) + 2 * count : 0;
  }
  int64_t bytes_of(int r) const {
    return everything || grid->layer_of(r) >= 0 ? size(grid->columns) : size(grid->x[0].span) + size(grid->x[1].span);
  }
  int64_t bytes_before(int row) const {
    if (everything) return row * size(grid->columns);
    int64_t sum = 0;
    for (int r = 0; r < row; ++r) sum += bytes_of(r);
    return sum;
  }
  int64_t bytes() const { return bytes_before(grid->mz); }

  // Rows of every cell in the fields' own precision can be written and read where they lie.
  bool in_place() const { return everything && precision == Precision::SAME; }
  Real* place(int r, char* step) const { return reinterpret_cast<Real*>(step + bytes_before(r)); }

  void put(const Real* row, int r, char* step) const {
    each(r, step, [&](char* to, int start, int count) { encode(row + start, count, to); });
  }
  void get(Real* row, int r, const char* step) const {
    each(r, step, [&](const char* from, int start, int count) { decode(from, count, row + start); });
  }

 private:
  template <class Bytes, class Move>
  void each(int r, Bytes* step, Move move) const {
    step += bytes_before(r);
    if (everything || grid->layer_of(r) >= 0) return move(step, 0, grid->columns);
    for (const Layer& layer : grid->x) {
      if (layer.span) move(step, layer.start, layer.span);
      step += size(layer.span);
    }
  }
  // Integers compare as the sizes of floating-point numbers do, and in vectors; NaN and infinity count as the largest.
  static Real unit_of(const Real* __restrict values, int count) {
    using Bits = std::conditional_t<sizeof(Real) == 4, uint32_t, uint64_t>;
    Bits largest = 0;
    for (int j = 0; j < count; ++j) {
      Bits bits;
      std::memcpy(&bits, values + j, sizeof(Real));
      largest = std::max(largest, Bits(bits & (~Bits(0) >> 1)));
    }
    Real most;
    std::memcpy(&most, &largest, sizeof(Real));
    // Both the unit and its inverse stay normal numbers.
    constexpr int LEAST = std::numeric_limits<Real>::min_exponent - 1;
    return std::isfinite(most) && most > 0 ? std::ldexp(Real(1), std::max(std::ilogb(most) - 14, LEAST)) : Real(1);
  }
  void encode(const Real* __restrict values, int count, char* to) const {
    if (precision == Precision::SAME) {
      std::memcpy(to, values, count * sizeof(Real));
      return;
    }
    const Real unit = unit_of(values, count), scale = 1 / unit;
    std::memcpy(to, &unit, sizeof(Real)), to += sizeof(Real);
    auto* __restrict out = reinterpret_cast<uint16_t*>(to);
    if (precision == Precision::BFLOAT16) {
      for (int j = 0; j < count; ++j) out[j] = to_bfloat16(float(values[j] * scale));
      return;
    }
    for (int j = 0; j < count; j += LANES) {
      float scaled[LANES];
      for (int i = 0; i < LANES; ++i) scaled[i] = float(values[j + i] * scale);
      to_halves(scaled, out + j);
    }
  }
  void decode(const char* from, int count, Real* __restrict values) const {
    if (precision == Precision::SAME) {
      std::memcpy(values, from, count * sizeof(Real));
      return;
    }
    Real unit;
    std::memcpy(&unit, from, sizeof(Real)), from += sizeof(Real);
    auto* __restrict in = reinterpret_cast<const uint16_t*>(from);
    if (precision == Precision::BFLOAT16) {
      for (int j = 0; j < count; ++j) values[j] = unit * from_bfloat16(in[j]);
      return;
    }
    for (int j = 0; j < count; j += LANES) {
      float scaled[LANES];
      from_halves(in + j, scaled);
      for (int i = 0; i < LANES; ++i) values[j + i] = unit * scaled[i];
    }
  }
};
