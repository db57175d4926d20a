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

// between(begin, end) and within(which, begin, end) for the columns between the layers along x and in their windows.
template <class Between, class Within>
inline void for_each_range(const Grid& g, Between between, Within within) {
  int begin = 0;
  for (int which : {0, 1}) {
    const Layer& layer = g.x[which];
    if (!layer.span) continue;
    if (begin < layer.start) between(begin, layer.start);
    begin = layer.start + layer.span;
    within(which, layer.start, begin);
  }
  if (begin < g.columns) between(begin, g.columns);
}

// work(layer, which, row, row within the layer) for the rows of the layers along z that are this thread's.
template <class Work>
void for_each_layer_row(const Grid& g, const Share& share, Work work) {
  for (int which : {0, 1}) {
    const Layer& layer = g.z[which];
    const int end = std::min(share.end, layer.start + layer.span);
    for (int r = std::max(share.begin, layer.start); r < end; ++r) work(layer, which, r, r - layer.start);
  }
}

// psi = a psi + b W p in the layers along z.
inline void remember_z(const Grid& g, const State& s, const Share& share) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  for_each_layer_row(g, share, [&](const Layer& layer, int which, int r, int i) {
    const Real a = layer.psi_a[i], b = layer.psi_b[i];
    const Real* __restrict p = s.row(s.now, r);
    Real* __restrict psi = s.strip(s.psi_z[which], i);
    COLUMNS(j, 0, g.columns) psi[j] = a * psi[j] + b * lower(w, p + j, stride);
  });
}

// emit(j, value): the part along x of one row of the Laplacian, stretched in the layers, in addition to `along_z(j)`.
// Updates psi and zeta along x. `slope`: a row and a vector.
template <class AlongZ, class Emit>
inline void stretched_columns(const Grid& g, const State& s, int r, Real* __restrict slope, AlongZ along_z, Emit emit) {
  const Weights w = g.weights;
  const Real* __restrict p = s.row(s.now, r);
  for_each_range(
      g, [&](int begin, int end) { COLUMNS(j, begin, end) emit(j, along_z(j) + curvature(w, p + j, 1)); },
      [&](int which, int begin, int end) {
        const Layer& layer = g.x[which];
        const Real *__restrict psi_a = layer.psi_a.data() - begin, *__restrict psi_b = layer.psi_b.data() - begin;
        const Real *__restrict a = layer.zeta_a.data() - begin, *__restrict b = layer.zeta_b.data() - begin;
        Real* __restrict psi = s.side(s.psi_x[which], which, r) - begin;
        Real* __restrict zeta = s.side(s.zeta_x[which], which, r) - begin;
        COLUMNS(j, begin, end + LANES) {
          const Real here = lower(w, p + j, 1);
          psi[j] = psi_a[j] * psi[j] + psi_b[j] * here;
          slope[j] = here + psi[j];
        }
        COLUMNS(j, begin, end) {
          const Real sum = raise(w, slope + j, 1);
          zeta[j] = a[j] * zeta[j] + b[j] * sum;
          emit(j, along_z(j) + (sum + zeta[j]));
        }
      });
}

// emit(j, value) for one row of the Laplacian, stretched in the layers. After `remember_z`.
template <class Emit>
inline void stretched_row(const Grid& g, const State& s, int r, Real* scratch, Emit emit) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  const Real* __restrict p = s.row(s.now, r);
  const int which = g.layer_of(r);
  if (which < 0)
    return stretched_columns(g, s, r, scratch, [&](int j) { return curvature(w, p + j, stride); }, emit);
  const int i = r - g.z[which].start;
  const Real a = g.z[which].zeta_a[i], b = g.z[which].zeta_b[i];
  const Real* __restrict psi = s.strip(s.psi_z[which], i);
  Real* __restrict zeta = s.strip(s.zeta_z[which], i);
  auto along_z = [&](int j) {
    const Real sum = curvature(w, p + j, stride) + raise(w, psi + j, stride);
    zeta[j] = a * zeta[j] + b * sum;
    return sum + zeta[j];
  };
  stretched_columns(g, s, r, scratch, along_z, emit);
}

// Values that the transpose keeps between its passes over the layers along z, laid out as `State::strip`.
struct Passes {
  Real *block, *extra[2], *memory[2];
  static int64_t size(const Grid& g) { return 2 * (g.strip_size(0) + g.strip_size(1)); }
  Passes(const Grid& g, Real* block) : block(block) {
    for (int which : {0, 1}) {
      extra[which] = block, block += g.strip_size(which);
      memory[which] = block, block += g.strip_size(which);
    }
  }
};

// The transpose in time and space of `remember_z`: with mu the adjoint field and (psi, zeta) now the adjoint memory,
//   extra = b (zeta + mu), zeta <- a (zeta + mu);  memory = b (psi - W(mu + extra)), psi <- a (same).
inline void transposed_remember_z(const Grid& g, const State& s, const Passes& passes, const Share& share) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  for_each_layer_row(g, share, [&](const Layer& layer, int which, int r, int i) {
    const Real a = layer.zeta_a[i], b = layer.zeta_b[i];
    const Real* __restrict mu = s.row(s.now, r);
    Real *__restrict zeta = s.strip(s.zeta_z[which], i), *__restrict extra = s.strip(passes.extra[which], i);
    COLUMNS(j, 0, g.columns) {
      const Real total = zeta[j] + mu[j];
      extra[j] = b * total;
      zeta[j] = a * total;
    }
  });
  for_each_layer_row(g, share, [&](const Layer& layer, int which, int r, int i) {
    const Real a = layer.psi_a[i], b = layer.psi_b[i];
    const Real *__restrict mu = s.row(s.now, r), *__restrict extra = s.strip(passes.extra[which], i);
    Real *__restrict psi = s.strip(s.psi_z[which], i), *__restrict memory = s.strip(passes.memory[which], i);
    COLUMNS(j, 0, g.columns) {
      const Real total = psi[j] - lower(w, mu + j, stride) - lower(w, extra + j, stride);
      memory[j] = b * total;
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
  for_each_range(
      g, [&](int begin, int end) { COLUMNS(j, begin, end) emit(j, along_z(j) + curvature(w, mu + j, 1)); },
      [&](int which, int begin, int end) {
        const Layer& layer = g.x[which];
        const Real *__restrict psi_a = layer.psi_a.data() - begin, *__restrict psi_b = layer.psi_b.data() - begin;
        const Real *__restrict a = layer.zeta_a.data() - begin, *__restrict b = layer.zeta_b.data() - begin;
        Real* __restrict psi = s.side(s.psi_x[which], which, r) - begin;
        Real* __restrict zeta = s.side(s.zeta_x[which], which, r) - begin;
        Real *__restrict sum = scratch + LANES - begin, *__restrict slope = sum + (end - begin) + LANES;
        for (int j = begin - H; j < begin; ++j) sum[j] = mu[j];
        COLUMNS(j, begin, end + LANES) {
          const Real all = zeta[j] + mu[j];
          sum[j] = mu[j] + b[j] * all;
          zeta[j] = a[j] * all;
        }
        COLUMNS(j, begin, end + LANES) {
          const Real here = lower(w, sum + j, 1), all = psi[j] - here;
          slope[j] = here - psi_b[j] * all;
          psi[j] = psi_a[j] * all;
        }
        COLUMNS(j, begin, end) emit(j, along_z(j) + raise(w, slope + j, 1));
      });
}

// emit(j, value) for one row of the transposed operator on mu: d2(mu + extra) + W^T memory along each axis.
template <class Emit>
inline void transposed_row(const Grid& g, const State& s, const Passes& passes, int r, Real* scratch, Emit emit) {
  const Weights w = g.weights;
  const int64_t stride = g.stride;
  const Real* __restrict mu = s.row(s.now, r);
  const int which = g.layer_of(r);
  if (which < 0)
    return transposed_columns(g, s, r, scratch, [&](int j) { return curvature(w, mu + j, stride); }, emit);
  const int i = r - g.z[which].start;
  const Real *__restrict extra = s.strip(passes.extra[which], i), *__restrict memory = s.strip(passes.memory[which], i);
  auto along_z = [&](int j) {
    return curvature(w, mu + j, stride) + curvature(w, extra + j, stride) - raise(w, memory + j, stride);
  };
  transposed_columns(g, s, r, scratch, along_z, emit);
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
    Real *__restrict target = s.row(field, to) - LANES, *__restrict source = s.row(field, from) - LANES;
    for (int j = 0; j < g.stride; ++j) target[j] = sign * source[j];
  };
  for (int k = 0; k < H; ++k) {
    if (share.owns(0) && g.free_surface) copy(-1 - k, 1 + k, -1);
    else if (share.owns(0) && !g.z[0].width) copy(-1 - k, k, 1);
    if (share.owns(g.mz - 1) && !g.z[1].width) copy(g.mz + k, g.mz - 1 - k, 1);
  }
}
