// Geometry of the grid and its absorbing layers, and where a field and its memory lie.
//
// Rows start on 64 bytes and are padded to whole vectors of LANES values, so that no inner loop has a remainder.

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
constexpr int LANES = 16;

inline int round_up(int n) { return (n + LANES - 1) / LANES * LANES; }

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

// Not initialised. Large blocks ask for large pages: first touching small ones costs as much as a time step's work.
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
  int start = 0, span = 0;   // columns it acts on, in whole vectors (layers along x)
  std::vector<Real> a, b;    // along z [width]; along x [span], zero outside the layer
};

// layout: mz, mx, widths at the top, bottom, left and right, free surface or not.
struct Grid {
  int mz, mx, columns, stride;
  bool free_surface;
  Layer z[2], x[2];
  Real second[H + 1];  // weights of the Laplacian, the centre's first
  Real first[H];       // weights of the first derivative

  template <class Ints, class Reals>
  Grid(const Ints& layout, const Reals& second_weights, const Reals& first_weights, const Reals& profiles) {
    mz = layout[0], mx = layout[1], free_surface = layout[6];
    columns = round_up(mx);
    stride = LANES + round_up(mx + H);
    std::copy(second_weights.begin(), second_weights.end(), second);
    std::copy(first_weights.begin(), first_weights.end(), first);
    auto profile = profiles.begin();
    for (int side = 0; side < 4; ++side) {
      Layer& layer = side < 2 ? z[side] : x[side - 2];
      const bool high = side % 2;
      layer.width = layer.span = layout[2 + side];
      layer.first = high ? (side < 2 ? mz : mx) - layer.width : 0;
      int offset = 0;
      if (side >= 2 && layer.width) {
        // The derivative of the memory reaches H columns into the interior.
        layer.start = high ? (layer.first - H) / LANES * LANES : 0;
        layer.span = high ? columns - layer.start : round_up(layer.width + H);
        offset = layer.first - layer.start;
      }
      layer.a.assign(layer.span, 0), layer.b.assign(layer.span, 0);
      std::copy_n(profile, layer.width, layer.a.begin() + offset), profile += layer.width;
      std::copy_n(profile, layer.width, layer.b.begin() + offset), profile += layer.width;
    }
  }

  int64_t field_size() const { return int64_t(mz + 2 * H) * stride; }
  int64_t strip_size(int which) const { return z[which].width ? int64_t(z[which].width + 4 * H) * stride : 0; }
  int64_t side_size(int which) const { return x[which].width ? int64_t(mz) * (x[which].span + 2 * LANES) : 0; }
  // Pressure at two times and the memory (psi, zeta) of the four layers.
  int64_t state_size() const {
    int64_t size = 2 * field_size();
    for (int which : {0, 1}) size += 2 * strip_size(which) + 2 * side_size(which);
    return size;
  }
  // Rows at an edge that depend on each other within a step: a layer and its reach, or a wall's images.
  int edge_rows() const { return std::max(z[0].width, z[1].width) + H + 1; }
  // Do the layers along z act on this row?
  bool in_strip(int r) const {
    return (z[0].width && r < z[0].width + H) || (z[1].width && r >= z[1].first - H);
  }
};

// The fields of one simulation (or of its tangent), in one block of `state_size` values.
struct State {
  const Grid* grid;
  Real *now, *before;          // [mz + 2H][stride]
  Real *psi_z[2], *zeta_z[2];  // [width + 4H][stride]; zero outside the layer
  Real *psi_x[2], *zeta_x[2];  // [mz][LANES + span + LANES]

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
  Real* row(Real* field, int r) const { return field + int64_t(r + H) * grid->stride + LANES; }
  Real* strip(Real* memory, int i) const { return memory + int64_t(i + 2 * H) * grid->stride + LANES; }
  Real* side(Real* memory, int which, int r) const {
    return memory + int64_t(r) * (grid->x[which].span + 2 * LANES) + LANES;
  }
};
