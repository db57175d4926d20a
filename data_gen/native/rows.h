// The differences and the absorbing layers, row by row: the operator L of kernel.cc and its transpose.

#pragma once
#include "fields.h"
#include "threads.h"

#define VECTOR _Pragma("GCC ivdep")

// First and second derivative along the axis on which neighbours lie `step` values apart.
inline Real slope(const Grid& g, const Real* f, int64_t step) {
  Real sum = 0;
  _Pragma("GCC unroll 8") for (int k = 1; k <= H; ++k) sum += g.first[k - 1] * (f[k * step] - f[-k * step]);
  return sum;
}
inline Real curvature(const Grid& g, const Real* f, int64_t step) {
  Real sum = Real(0.5) * g.second[0] * f[0];
  _Pragma("GCC unroll 8") for (int k = 1; k <= H; ++k) sum += g.second[k] * (f[k * step] + f[-k * step]);
  return sum;
}

inline void laplacian_row(const Grid& g, const Real* __restrict f, Real* __restrict out) {
  const int64_t stride = g.stride;
  VECTOR for (int j = 0; j < g.columns; ++j) {
    Real sum = g.second[0] * f[j];
    _Pragma("GCC unroll 8") for (int k = 1; k <= H; ++k)
      sum += g.second[k] * ((f[j + k] + f[j - k]) + (f[j + k * stride] + f[j - k * stride]));
    out[j] = sum;
  }
}

// work(layer, which, row, row within the layer) for the rows of the layers along z that are this thread's.
template <class Work>
void for_each_layer_row(const Grid& g, const Share& share, Work work) {
  for (int which : {0, 1}) {
    const Layer& layer = g.z[which];
    const int end = std::min(share.end, layer.first + layer.width);
    for (int r = std::max(share.begin, layer.first); r < end; ++r) work(layer, which, r, r - layer.first);
  }
}

// psi = a psi + b dp/dz in the layers along z.
inline void remember_z(const Grid& g, const State& s, const Share& share) {
  for_each_layer_row(g, share, [&](const Layer& layer, int which, int r, int i) {
    const Real a = layer.a[i], b = layer.b[i];
    const Real* __restrict p = s.row(s.now, r);
    Real* __restrict psi = s.strip(s.psi_z[which], i);
    VECTOR for (int j = 0; j < g.columns; ++j) psi[j] = a * psi[j] + b * slope(g, p + j, g.stride);
  });
}

// The Laplacian of one row, stretched in the layers; updates psi along x and both zeta. After `remember_z`.
inline void stretched_row(const Grid& g, const State& s, int r, Real* __restrict out) {
  const Real* __restrict p = s.row(s.now, r);
  laplacian_row(g, p, out);
  for (int which : {0, 1}) {
    const Layer& layer = g.z[which];
    const int i = r - layer.first;
    if (!layer.width || i < -H || i >= layer.width + H) continue;
    const Real* __restrict psi = s.strip(s.psi_z[which], i);
    if (i < 0 || i >= layer.width) {
      VECTOR for (int j = 0; j < g.columns; ++j) out[j] += slope(g, psi + j, g.stride);
      continue;
    }
    const Real a = layer.a[i], b = layer.b[i];
    Real* __restrict zeta = s.strip(s.zeta_z[which], i);
    VECTOR for (int j = 0; j < g.columns; ++j) {
      const Real extra = slope(g, psi + j, g.stride);
      zeta[j] = a * zeta[j] + b * (curvature(g, p + j, g.stride) + extra);
      out[j] += extra + zeta[j];
    }
  }
  for (int which : {0, 1}) {
    const Layer& layer = g.x[which];
    if (!layer.width) continue;
    const Real *__restrict a = layer.a.data(), *__restrict b = layer.b.data(), *__restrict f = p + layer.start;
    Real *__restrict psi = s.side(s.psi_x[which], which, r), *__restrict zeta = s.side(s.zeta_x[which], which, r);
    Real* __restrict total = out + layer.start;
    VECTOR for (int j = 0; j < layer.span; ++j) psi[j] = a[j] * psi[j] + b[j] * slope(g, f + j, 1);
    VECTOR for (int j = 0; j < layer.span; ++j) {
      const Real extra = slope(g, psi + j, 1);
      zeta[j] = a[j] * zeta[j] + b[j] * (curvature(g, f + j, 1) + extra);
      total[j] += extra + zeta[j];
    }
  }
}

// What the transpose keeps between its passes over the layers along z, laid out as `State::strip`.
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
//   extra = b (zeta + mu), zeta <- a (zeta + mu);  memory = b (psi - d(mu + extra)/dz), psi <- a (same).
inline void transposed_remember_z(const Grid& g, const State& s, const Passes& passes, const Share& share) {
  for_each_layer_row(g, share, [&](const Layer& layer, int which, int r, int i) {
    const Real a = layer.a[i], b = layer.b[i];
    const Real* __restrict mu = s.row(s.now, r);
    Real *__restrict zeta = s.strip(s.zeta_z[which], i), *__restrict extra = s.strip(passes.extra[which], i);
    VECTOR for (int j = 0; j < g.columns; ++j) {
      const Real total = zeta[j] + mu[j];
      extra[j] = b * total;
      zeta[j] = a * total;
    }
  });
  for_each_layer_row(g, share, [&](const Layer& layer, int which, int r, int i) {
    const Real a = layer.a[i], b = layer.b[i];
    const Real *__restrict mu = s.row(s.now, r), *__restrict extra = s.strip(passes.extra[which], i);
    Real *__restrict psi = s.strip(s.psi_z[which], i), *__restrict memory = s.strip(passes.memory[which], i);
    VECTOR for (int j = 0; j < g.columns; ++j) {
      const Real total = psi[j] - slope(g, mu + j, g.stride) - slope(g, extra + j, g.stride);
      memory[j] = b * total;
      psi[j] = a * total;
    }
  });
}

// The transposed operator on one row of mu: d2(mu + extra) - d(memory) along each axis. `scratch`: 3 padded spans.
inline void transposed_row(const Grid& g, const State& s, const Passes& passes, int r, Real* __restrict out,
                           Real* scratch) {
  const Real* __restrict mu = s.row(s.now, r);
  laplacian_row(g, mu, out);
  for (int which : {0, 1}) {
    const Layer& layer = g.z[which];
    const int i = r - layer.first;
    if (!layer.width || i < -H || i >= layer.width + H) continue;
    const Real *__restrict extra = s.strip(passes.extra[which], i), *__restrict memory = s.strip(passes.memory[which], i);
    VECTOR for (int j = 0; j < g.columns; ++j)
      out[j] += curvature(g, extra + j, g.stride) - slope(g, memory + j, g.stride);
  }
  for (int which : {0, 1}) {
    const Layer& layer = g.x[which];
    if (!layer.width) continue;
    const int span = layer.span, padded = span + 2 * LANES;
    std::fill_n(scratch, 3 * padded, Real(0));
    Real *__restrict extra = scratch + LANES, *__restrict sum = extra + padded, *__restrict memory = sum + padded;
    const Real *__restrict a = layer.a.data(), *__restrict b = layer.b.data(), *__restrict f = mu + layer.start;
    Real *__restrict psi = s.side(s.psi_x[which], which, r), *__restrict zeta = s.side(s.zeta_x[which], which, r);
    Real* __restrict total = out + layer.start;
    VECTOR for (int j = 0; j < span; ++j) {
      const Real all = zeta[j] + f[j];
      extra[j] = b[j] * all;
      zeta[j] = a[j] * all;
      sum[j] = f[j] + extra[j];
    }
    VECTOR for (int j = 0; j < span; ++j) {
      const Real all = psi[j] - slope(g, sum + j, 1);
      memory[j] = b[j] * all;
      psi[j] = a[j] * all;
    }
    VECTOR for (int j = 0; j < span; ++j) total[j] += curvature(g, extra + j, 1) - slope(g, memory + j, 1);
  }
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
