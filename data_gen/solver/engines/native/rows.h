// The differences and the absorbing layers, row by row: the operator L of kernel.cc and its transpose.

#pragma once
#include "fields.h"
#include "threads.h"

#define VECTOR _Pragma("GCC ivdep")
// A loop over columns in whole vectors, which needs no remainder.
#define COLUMNS(j, begin, end) \
  for (int first_##j = begin; first_##j < end; first_##j += LANES) VECTOR for (int j = first_##j; j < first_##j + LANES; ++j)

// Second difference, one-sided first difference W and -W^T (stencils.py) along the axis on which neighbors lie `step`
// values apart: raise(lower(f)) is curvature(f). Loops take a copy of the weights: what they store cannot change it.
inline Real curvature(const Weights& w, const Real* f, int64_t step) {
  Real sum = w.second[0] * f[0];
  _Pragma("GCC unroll 8") for (int k = 1; k <= H; ++k) sum += w.second[k] * (f[k * step] + f[-k * step]);
  return sum;
}
inline Real lower(const Weights& w, const Real* f, int64_t step) {
  Real sum = w.factor[0] * f[0];
  _Pragma("GCC unroll 8") for (int k = 1; k <= H; ++k) sum += w.factor[k] * f[-k * step];
  return sum;
}
inline Real raise(const Weights& w, const Real* f, int64_t step) {
  Real sum = -w.factor[0] * f[0];
  _Pragma("GCC unroll 8") for (int k = 1; k <= H; ++k) sum -= w.factor[k] * f[k * step];
  return sum;
}

inline void laplacian_row(const Grid& g, const Real* __restrict f, Real* __restrict out) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  COLUMNS(j, 0, g.columns) out[j] = curvature(w, f + j, 1) + curvature(w, f + j, stride);
}

// work(layer, which, begin, end) for the windows of the layers along x, and work(begin, end) for the columns between them.
template <class Work>
inline void for_each_window(const Grid& g, Work work) {
  for (int which : {0, 1})
    if (const Layer& layer = g.x[which]; layer.span) work(layer, which, layer.start, layer.start + layer.span);
}
template <class Work>
inline void between_windows(const Grid& g, Work work) {
  int begin = 0;
  for_each_window(g, [&](const Layer&, int, int start, int end) {
    if (begin < start) work(begin, start);
    begin = end;
  });
  if (begin < g.columns) work(begin, g.columns);
}

// work(layer, which, row, row within the layer) for the rows of the layers along z that are this thread's, for H rows more
// behind each, and `before` rows more ahead of it. A layer belongs to one thread (Grid::edge_rows).
template <class Work>
void for_each_layer_row(const Grid& g, const Share& share, int before, Work work) {
  for (int which : {0, 1}) {
    const Layer& layer = g.z[which];
    if (!layer.span || !share.owns(layer.start)) continue;
    for (int i = -before; i < layer.span + H; ++i) work(layer, which, layer.start + i, i);
  }
}

// What is kept of the layers along z between the passes over their rows, laid out as `State::strip`: the stretched first
// difference, and for the transpose the sum that it is taken of.
struct Passes {
  Real *block, *slope[2], *sum[2];
  static int64_t size(const Grid& g) { return 2 * (g.strip_size(0) + g.strip_size(1)); }
  Passes(const Grid& g, Real* block) : block(block) {
    for (int which : {0, 1}) {
      slope[which] = block, block += g.strip_size(which);
      sum[which] = block, block += g.strip_size(which);
    }
  }
};

// psi = a psi + b W p and the slope W p + psi in the layers along z, and in H rows more: `raise` looks that far.
inline void slopes_z(const Grid& g, const State& s, const Passes& passes, const Share& share) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  for_each_layer_row(g, share, 0, [&](const Layer& layer, int which, int r, int i) {
    const Real a = layer.psi_a[i], b = layer.psi_b[i];
    const Real* __restrict p = s.row(s.now, r);
    Real *__restrict psi = s.strip(s.psi_z[which], i), *__restrict slope = s.strip(passes.slope[which], i);
    COLUMNS(j, 0, g.columns) {
      const Real here = lower(w, p + j, stride);
      psi[j] = a * psi[j] + b * here;
      slope[j] = here + psi[j];
    }
  });
}

// emit(j, value): the part along x of one row of the Laplacian, stretched in the layers, in addition to `along_z(j)`.
// Updates psi and zeta along x. `slope`: a row and a vector. The columns between the layers come second, while the slopes
// travel to the cache: vectors that lie across two which have just been stored are waited for.
template <class AlongZ, class Emit>
inline void stretched_columns(const Grid& g, const State& s, int r, Real* __restrict slope, AlongZ along_z, Emit emit) {
  const Weights w = g.weights;
  const Real* __restrict p = s.row(s.now, r);
  for_each_window(g, [&](const Layer& layer, int which, int begin, int end) {
    const Real *__restrict a = layer.psi_a.data() - begin, *__restrict b = layer.psi_b.data() - begin;
    Real* __restrict psi = s.side(s.psi_x[which], which, r) - begin;
    COLUMNS(j, begin, end) {
      const Real here = lower(w, p + j, 1);
      psi[j] = a[j] * psi[j] + b[j] * here;
      slope[j] = here + psi[j];
    }
    COLUMNS(j, end, end + LANES) slope[j] = lower(w, p + j, 1);
  });
  between_windows(g, [&](int begin, int end) { COLUMNS(j, begin, end) emit(j, along_z(j) + curvature(w, p + j, 1)); });
  for_each_window(g, [&](const Layer& layer, int which, int begin, int end) {
    const Real *__restrict a = layer.zeta_a.data() - begin, *__restrict b = layer.zeta_b.data() - begin;
    Real* __restrict zeta = s.side(s.zeta_x[which], which, r) - begin;
    COLUMNS(j, begin, end) {
      const Real sum = raise(w, slope + j, 1);
      zeta[j] = a[j] * zeta[j] + b[j] * sum;
      emit(j, along_z(j) + (sum + zeta[j]));
    }
  });
}

// emit(j, value) for one row of the Laplacian, stretched in the layers. After `slopes_z`.
template <class Emit>
inline void stretched_row(const Grid& g, const State& s, const Passes& passes, int r, Real* scratch, Emit emit) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  const Real* __restrict p = s.row(s.now, r);
  const int which = g.layer_of(r);
  if (which < 0)
    return stretched_columns(g, s, r, scratch, [&](int j) { return curvature(w, p + j, stride); }, emit);
  const int i = r - g.z[which].start;
  const Real a = g.z[which].zeta_a[i], b = g.z[which].zeta_b[i];
  const Real* __restrict slope = s.strip(passes.slope[which], i);
  Real* __restrict zeta = s.strip(s.zeta_z[which], i);
  auto along_z = [&](int j) {
    const Real sum = raise(w, slope + j, stride);
    zeta[j] = a * zeta[j] + b * sum;
    return sum + zeta[j];
  };
  stretched_columns(g, s, r, scratch, along_z, emit);
}

// The transpose in time and space of `slopes_z` and of zeta: with mu the adjoint field, (psi, zeta) now the adjoint memory,
//   sum = mu + b (zeta + mu), zeta <- a (zeta + mu);  slope = W sum - b (psi - W sum), psi <- a (psi - W sum).
inline void transposed_slopes_z(const Grid& g, const State& s, const Passes& passes, const Share& share) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  for_each_layer_row(g, share, H, [&](const Layer& layer, int which, int r, int i) {
    const Real a = i < 0 ? 0 : layer.zeta_a[i], b = i < 0 ? 0 : layer.zeta_b[i];
    const Real* __restrict mu = s.row(s.now, r);
    Real *__restrict zeta = s.strip(s.zeta_z[which], i), *__restrict sum = s.strip(passes.sum[which], i);
    COLUMNS(j, 0, g.columns) {
      const Real total = zeta[j] + mu[j];
      sum[j] = mu[j] + b * total;
      zeta[j] = a * total;
    }
  });
  for_each_layer_row(g, share, 0, [&](const Layer& layer, int which, int, int i) {
    const Real a = layer.psi_a[i], b = layer.psi_b[i];
    const Real* __restrict sum = s.strip(passes.sum[which], i);
    Real *__restrict psi = s.strip(s.psi_z[which], i), *__restrict slope = s.strip(passes.slope[which], i);
    COLUMNS(j, 0, g.columns) {
      const Real here = lower(w, sum + j, stride), total = psi[j] - here;
      slope[j] = here - b * total;
      psi[j] = a * total;
    }
  });
}

// emit(j, value): the transposed operator's part along x of one row of mu, in addition to `along_z(j)`. `scratch`: 2
// rows and 3 vectors.
template <class AlongZ, class Emit>
inline void transposed_columns(const Grid& g, const State& s, int r, Real* __restrict scratch, AlongZ along_z, Emit emit) {
  const Weights w = g.weights;
  const Real* __restrict mu = s.row(s.now, r);
  Real *__restrict sum = scratch + LANES, *__restrict slope = sum + g.columns + LANES;
  for_each_window(g, [&](const Layer& layer, int which, int begin, int end) {
    const Real *__restrict a = layer.zeta_a.data() - begin, *__restrict b = layer.zeta_b.data() - begin;
    Real* __restrict zeta = s.side(s.zeta_x[which], which, r) - begin;
    COLUMNS(j, begin - LANES, begin) sum[j] = mu[j];
    COLUMNS(j, begin, end) {
      const Real total = zeta[j] + mu[j];
      sum[j] = mu[j] + b[j] * total;
      zeta[j] = a[j] * total;
    }
    COLUMNS(j, end, end + LANES) sum[j] = mu[j];
  });
  for_each_window(g, [&](const Layer& layer, int which, int begin, int end) {
    const Real *__restrict a = layer.psi_a.data() - begin, *__restrict b = layer.psi_b.data() - begin;
    Real* __restrict psi = s.side(s.psi_x[which], which, r) - begin;
    COLUMNS(j, begin, end) {
      const Real here = lower(w, sum + j, 1), total = psi[j] - here;
      slope[j] = here - b[j] * total;
      psi[j] = a[j] * total;
    }
    COLUMNS(j, end, end + LANES) slope[j] = lower(w, sum + j, 1);
  });
  between_windows(g, [&](int begin, int end) { COLUMNS(j, begin, end) emit(j, along_z(j) + curvature(w, mu + j, 1)); });
  for_each_window(g, [&](const Layer&, int, int begin, int end) {
    COLUMNS(j, begin, end) emit(j, along_z(j) + raise(w, slope + j, 1));
  });
}

// emit(j, value) for one row of the transposed operator on mu. After `transposed_slopes_z`.
template <class Emit>
inline void transposed_row(const Grid& g, const State& s, const Passes& passes, int r, Real* scratch, Emit emit) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  const Real* __restrict mu = s.row(s.now, r);
  const int which = g.layer_of(r);
  if (which < 0)
    return transposed_columns(g, s, r, scratch, [&](int j) { return curvature(w, mu + j, stride); }, emit);
  const int i = r - g.z[which].start;
  const Real* __restrict slope = s.strip(passes.slope[which], i);
  transposed_columns(g, s, r, scratch, [&](int j) { return raise(w, slope + j, stride); }, emit);
}

// Continue a row beyond the rigid walls: cell -1-k is the mirror image of cell k.
inline void mirror_x(const Grid& g, Real* row) {
  for (int k = 0; k < H; ++k) {
    if (!g.x[0].width) row[-1 - k] = row[k];
    if (!g.x[1].width) row[g.mx + k] = row[g.mx - 1 - k];
  }
}

// The same along z, by the threads that have the rows; a free surface is an odd mirror about row 0.
inline void mirror_z(const Grid& g, const State& s, Real* field, const Share& share) {
  auto copy = [&](int to, int from, Real sign) {
    Real *__restrict target = s.row(field, to) - LINE, *__restrict source = s.row(field, from) - LINE;
    for (int j = 0; j < g.stride; ++j) target[j] = sign * source[j];
  };
  for (int k = 0; k < H; ++k) {
    if (share.owns(0) && g.free_surface) copy(-1 - k, 1 + k, -1);
    else if (share.owns(0) && !g.z[0].width) copy(-1 - k, k, 1);
    if (share.owns(g.mz - 1) && !g.z[1].width) copy(g.mz + k, g.mz - 1 - k, 1);
  }
}
