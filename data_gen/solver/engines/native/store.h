// Accelerations kept for the adjoint, in full or half precision: of every cell, or of those the layers act on.

#pragma once
#include "fields.h"

// Half precision as the compiler has it in C++: `__fp16` on ARM; `_Float16` elsewhere, from GCC 12 and Clang 15 on;
// before those, the processor's own conversions, which round alike.
#if defined(__aarch64__)
using Half = __fp16;
#elif defined(__F16C__) && (defined(__clang__) ? __clang_major__ < 15 : __GNUC__ < 12)
#include <immintrin.h>
struct Half {
  uint16_t bits;
  explicit Half(float value) : bits(_cvtss_sh(value, 0)) {}
  operator float() const { return _cvtsh_ss(bits); }
};
#else
using Half = _Float16;
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

  int64_t item() const { return precision == Precision::SAME ? sizeof(Real) : 2; }
  int64_t values(int r) const {
    return everything || grid->layer_of(r) >= 0 ? grid->columns : grid->x[0].span + grid->x[1].span;
  }
  int64_t values_before(int row) const {
    if (everything) return int64_t(row) * grid->columns;
    int64_t sum = 0;
    for (int r = 0; r < row; ++r) sum += values(r);
    return sum;
  }
  int64_t bytes() const { return values_before(grid->mz) * item(); }

  // Rows of every cell in the fields' own precision can be written and read where they lie.
  bool in_place() const { return everything && precision == Precision::SAME; }
  Real* place(int r, char* step) const { return reinterpret_cast<Real*>(step + values_before(r) * item()); }

  void put(const Real* row, int r, char* step) const {
    each(r, step, [&](char* to, int start, int count) { encode(row + start, count, to); });
  }
  void get(Real* row, int r, const char* step) const {
    each(r, step, [&](const char* from, int start, int count) { decode(from, count, row + start); });
  }

 private:
  template <class Bytes, class Move>
  void each(int r, Bytes* step, Move move) const {
    step += values_before(r) * item();
    if (everything || grid->layer_of(r) >= 0) return move(step, 0, grid->columns);
    for (const Layer& layer : grid->x) {
      if (layer.span) move(step, layer.start, layer.span);
      step += layer.span * item();
    }
  }
  void encode(const Real* __restrict values, int count, char* to) const {
    if (precision == Precision::SAME) {
      std::memcpy(to, values, count * sizeof(Real));
    } else if (precision == Precision::BFLOAT16) {
      auto* __restrict out = reinterpret_cast<uint16_t*>(to);
      for (int j = 0; j < count; ++j) out[j] = to_bfloat16(float(values[j]));
    } else {
      auto* __restrict out = reinterpret_cast<Half*>(to);
      for (int j = 0; j < count; ++j) out[j] = Half(float(values[j]));
    }
  }
  void decode(const char* from, int count, Real* __restrict values) const {
    if (precision == Precision::SAME) {
      std::memcpy(values, from, count * sizeof(Real));
    } else if (precision == Precision::BFLOAT16) {
      auto* __restrict in = reinterpret_cast<const uint16_t*>(from);
      for (int j = 0; j < count; ++j) values[j] = from_bfloat16(in[j]);
    } else {
      auto* __restrict in = reinterpret_cast<const Half*>(from);
      for (int j = 0; j < count; ++j) values[j] = float(in[j]);
    }
  }
};
