// Geometry of the grid and its absorbing layers, and where a field and its memory lie.
//
// Rows start on 64 bytes, which LINE values fill, and are padded to whole vectors of LANES values, so that no inner loop has a
// remainder.

#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

using Real = REAL;
constexpr int H = HALF;  // half the order of the differences
constexpr int LANES = 8, LINE = 16;

using Vector = Real __attribute__((vector_size(LANES * sizeof(Real))));

inline int round_up(int n, int unit = LANES) { return (n + unit - 1) / unit * unit; }

// Advice only: nothing depends on it.
inline void prefer_large_pages(void* block, size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t PAGE = 1 << 21;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(block) + PAGE - 1) / PAGE * PAGE;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(block) + bytes) / PAGE * PAGE;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#else
  (void)block, (void)bytes;
#endif
}

using Block = std::unique_ptr<Real[], decltype(&std::free)>;

// Not initialized. Large blocks ask for large pages: first touching small ones costs as much as a time step's work.
inline Block allocate(int64_t count) {
  constexpr size_t PAGE = 1 << 21;
  size_t bytes = std::max<int64_t>(64, (count * sizeof(Real) + 63) / 64 * 64);
  const bool large = bytes >= 2 * PAGE;
  if (large) bytes = (bytes + PAGE - 1) / PAGE * PAGE;
  void* block = std::aligned_alloc(large ? PAGE : 64, bytes);
  if (!block) throw std::bad_alloc();
  if (large) prefer_large_pages(block, bytes);
  return Block(static_cast<Real*>(block), &std::free);
}

// One absorbing layer and its recursion coefficients.
struct Layer {
  int width = 0, first = 0;  // cells, and the index of the first along the axis
  int start = 0, span = 0;   // rows or columns that it acts on (columns in whole vectors); none: it has no work
  std::vector<Real> psi_a, psi_b, zeta_a, zeta_b;  // along z [span]; along x [span + LANES]; zero outside the layer

  void place(int begin, int count) {
    start = begin, span = count;
    for (auto* values : {&psi_a, &psi_b, &zeta_a, &zeta_b}) values->assign(count + LANES, 0);
  }
};

constexpr int APART = 16;  // columns between two layers from which on each has its own window

struct Weights {
  Real second[H + 1];  // of the second difference, the center's first
  Real factor[H + 1];  // of the one-sided first difference
};

// layout: mz, mx, widths at the top, bottom, left and right, free surface or not.
struct Grid {
  int mz, mx, columns, stride;
  bool free_surface;
  Layer z[2], x[2];
  Weights weights;

  template <class Ints, class Reals>
  Grid(const Ints& layout, const Reals& second_weights, const Reals& factor_weights, const Reals& profiles) {
    mz = layout[0], mx = layout[1], free_surface = layout[6];
    columns = round_up(mx);
    stride = LINE + round_up(mx + H, LINE);
    std::copy(second_weights.begin(), second_weights.end(), weights.second);
    std::copy(factor_weights.begin(), factor_weights.end(), weights.factor);
    for (int side = 0; side < 4; ++side) {
      Layer& layer = side < 2 ? z[side] : x[side - 2];
      layer.width = layout[2 + side];
      layer.first = side % 2 ? (side < 2 ? mz : mx) - layer.width : 0;
    }
    // The memory that a layer has of a cell reaches H cells further.
    for (Layer& layer : z)
      if (layer.width) {
        const int begin = std::max(0, layer.first - H), end = std::min(mz, layer.first + layer.width + H);
        layer.place(begin, end - begin);
      }
    const int left_end = x[0].width ? std::min(columns, round_up(x[0].width + H)) : 0;
    const int right_start = x[1].width ? std::max(0, x[1].first - H) / LANES * LANES : columns;
    if (x[0].width && x[1].width && right_start - left_end < APART) {
      x[0].place(0, columns);  // one window for both: fewer, longer loops
    } else {
      if (x[0].width) x[0].place(0, left_end);
      if (x[1].width) x[1].place(right_start, columns - right_start);
    }
    // Below their cells, one first difference more lies in a layer at the low end.
    auto profile = profiles.begin();
    for (int side = 0; side < 4; ++side) {
      const Layer& own = side < 2 ? z[side] : x[side - 2];
      if (!own.width) continue;
      Layer& layer = own.span ? (side < 2 ? z[side] : x[side - 2]) : x[0];
      const int at = own.first - layer.start;
      auto read = [&](std::vector<Real>& values, int begin, int count) {
        std::copy_n(profile, count, values.begin() + begin), profile += count;
      };
      for (auto* values : {&layer.psi_a, &layer.psi_b}) read(*values, at, own.width + (side % 2 ? 0 : 1));
      for (auto* values : {&layer.zeta_a, &layer.zeta_b}) read(*values, at, own.width);
    }
  }

  bool walls_x() const { return !x[0].width || !x[1].width; }
  int64_t field_size() const { return int64_t(mz + 2 * H) * stride; }
  int64_t strip_size(int which) const { return z[which].span ? int64_t(z[which].span + 2 * H) * stride : 0; }
  int64_t side_size(int which) const { return x[which].span ? int64_t(mz) * x[which].span : 0; }
  // Pressure at two times and the memory (psi, zeta) of the four layers.
  int64_t state_size() const {
    int64_t size = 2 * field_size();
    for (int which : {0, 1}) size += 2 * strip_size(which) + 2 * side_size(which);
    return size;
  }
  // Rows at an edge that depend on each other within a step: a layer and its reach, or a wall's images.
  int edge_rows() const { return std::max({z[0].span, z[1].span, H}) + 1; }
  // The layer along z that acts on this row, or -1. At most one does: the grid between them has 2 H rows or more.
  int layer_of(int r) const {
    for (int which : {0, 1})
      if (z[which].start <= r && r < z[which].start + z[which].span) return which;
    return -1;
  }
};

// The fields of one simulation (or of its tangent), in one block of `state_size` values.
struct State {
  const Grid* grid;
  Real *now, *before;          // [mz + 2H][stride]
  Real *psi_z[2], *zeta_z[2];  // [H + span + H][stride]; zero outside the layer
  Real *psi_x[2], *zeta_x[2];  // [mz][span]

  State(const Grid& g, Real* block) : grid(&g) {
    auto take = [&](int64_t size) {
      Real* here = block;
      block += size;
      return here;
    };
    now = take(g.field_size()), before = take(g.field_size());
    for (int which : {0, 1}) {
      psi_z[which] = take(g.strip_size(which)), zeta_z[which] = take(g.strip_size(which));
      psi_x[which] = take(g.side_size(which)), zeta_x[which] = take(g.side_size(which));
    }
  }
  Real* row(Real* field, int r) const { return field + int64_t(r + H) * grid->stride + LINE; }
  Real* strip(Real* memory, int i) const { return memory + int64_t(i + H) * grid->stride + LINE; }
  Real* side(Real* memory, int which, int r) const {
    return memory + int64_t(r) * grid->x[which].span;
  }
};
