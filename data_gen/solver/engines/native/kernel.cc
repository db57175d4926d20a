// The time loop of the constant-density wave equation and its exact discrete adjoint, for CPUs.
//
//   p_{n+1} = 2 p_n - p_{n-1} + m (L p)_n + q_n,    g_n = R p_n,    n = 0 .. nt-1, p_0 = p_{-1} = 0
//
// m = v^2 dt^2, L the Laplacian stretched by the CPML, q the sources (point injections), R the receivers. The adjoint,
// with mu = m lambda and L^T the transpose in space and (reversed) time,
//
//   mu_n = 2 mu_{n+1} - mu_{n+2} + m ((L^T mu)_{n+1} + R^T r_n),
//   dJ/dm = sum_n mu_{n+1} (L p)_n / m,    dJ/dq_n = mu_{n+1} / m at the sources.
//
// data_gen/solver/engines/time_step.py is the same step in JAX and the reference for every line here. Compiled once per
// (REAL, HALF, DIRECTION, COMPONENTS): the floating-point type, half the order, forward or adjoint, and K below. All
// coefficients come from Python.
//
// Everything is carried for K components. K = 1: the fields. K = 2: the fields and their tangents, as numbers
// x_0 + x_1 eps with eps^2 = 0; only products mix components. Then forward gives Born modeling and the adjoint a
// Hessian-vector product.
//
// The adjoint needs (L p)_n in reverse order. FULL: the forward pass saved all. RECOMPUTE: it saved the state every
// `every` steps; each interval is propagated again. BOUNDARY: it saved what the absorbing layers act on, and the
// interior runs backwards in time, which the leap-frog does exactly up to rounding.

#include "fields.h"
#include "rows.h"
#include "store.h"
#include "threads.h"

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

enum class Strategy : int64_t { NONE = 0, FULL = 1, RECOMPUTE = 2, BOUNDARY = 3 };

struct Plan {
  Strategy strategy;
  Precision precision;
  int64_t nt, every, gather_stride;
  std::vector<int64_t> snapshots;  // ascending steps
  int64_t stride;                  // the field of each so many steps is a part of the sums behind the snapshots
  std::vector<Real> shares;        // [sample][sum]: how much; none where there are no sums

  int64_t sums() const { return int64_t(shares.size()) / ((nt + stride - 1) / stride); }
  // The shares of step n, if it is a sample.
  const Real* shares_of(int64_t n) const {
    return shares.empty() || n % stride ? nullptr : shares.data() + n / stride * sums();
  }
  int64_t intervals() const { return (nt + every - 1) / every; }
  // Bytes that the forward pass saves for one component.
  int64_t saved_bytes(const Grid& g) const {
    switch (strategy) {
      case Strategy::NONE: return 0;
      case Strategy::FULL: return nt * Store{&g, precision, true}.bytes();
      case Strategy::RECOMPUTE: return intervals() * g.state_size() * int64_t(sizeof(Real));
      case Strategy::BOUNDARY: return boundary_fields_at(g) + 2 * g.field_size() * int64_t(sizeof(Real));
    }
    return 0;
  }
  // The last two fields follow the layers' values.
  int64_t boundary_fields_at(const Grid& g) const {
    return (nt * Store{&g, precision, false}.bytes() + 63) / 64 * 64;
  }
};

// One simulation's arrays; rows of m are mx long.
template <int K>
struct Shot {
  const Real *m[K], *q[K];          // [mz][mx], [nt][source_cells]
  const int32_t *source, *receiver;  // cells r * mx + j
  const Real* weight;                // [receivers][receiver_cells]
  int64_t source_cells, receivers, receiver_cells;
  Real *gathers[K], *fields[K];      // [nt / gather_stride][receivers], [snapshots and sums][nz][nx]: results, or the adjoint's input
  char* saved[K];
};

struct Cell {
  int row, column;
};
// Once for all steps: a division costs as much as a vector of cells.
inline std::vector<Cell> cells(const Grid& g, const int32_t* numbers, int64_t count) {
  std::vector<Cell> places;
  for (int64_t i = 0; i < count; ++i) places.push_back({numbers[i] / g.mx, numbers[i] % g.mx});
  return places;
}

// What receivers read: runs of LANES cells along a row, where all of their cells are such runs, else cell by cell. Runs
// of weight zero are left out, as of receivers in a row of cells.
class Windows {
 public:
  template <int K>
  Windows(const Grid& g, const Shot<K>& shot) : weights(shot.weight) {
    const std::vector<Cell> all = cells(g, shot.receiver, shot.receivers * shot.receiver_cells);
    in_rows = shot.receiver_cells % LANES == 0;
    // Windows of 2 half_width cells along a row, unless they are folded at a wall.
    for (size_t k = 0; k < all.size() && in_rows; ++k)
      in_rows = k % LANES == 0 || (all[k].row == all[k - 1].row && all[k].column == all[k - 1].column + 1);
    const int length = in_rows ? LANES : 1;
    for (int64_t i = 0, k = 0; i < shot.receivers; ++i) {
      for (const int64_t end = k + shot.receiver_cells; k < end; k += length)
        if (std::any_of(weights + k, weights + k + length, [](Real weight) { return weight != 0; }))
          runs.push_back({all[k], k});
      ends.push_back(runs.size());
    }
    for (const Run& run : runs) rows.push_back(run.cell.row);
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  }

  // The sum over the cells of receiver i; row(r) is the field's row.
  template <class Row>
  Real sum(int64_t i, Row row) const {
    Real sum = 0;
    if (!in_rows) {
      each(i, [&](Cell cell, const Real* weight) { sum += *weight * row(cell.row)[cell.column]; });
      return sum;
    }
    Vector sums = {};
    each(i, [&](Cell cell, const Real* weight) { sums += load(weight) * load(row(cell.row) + cell.column); });
    for (int lane = 0; lane < LANES; ++lane) sum += sums[lane];
    return sum;
  }

  // The transpose: add value times weight times model to the cells of receiver i; each gives a cell's field and model,
  // or nothing where another thread does it.
  template <class Target>
  void add(int64_t i, Real value, Target target) const {
    each(i, [&](Cell cell, const Real* weight) {
      const auto [field, model] = target(cell.row);
      if (!field) return;
      if (in_rows) {
        const Vector sum = load(field + cell.column) + load(model + cell.column) * load(weight) * value;
        std::memcpy(field + cell.column, &sum, sizeof(sum));
      } else {
        field[cell.column] += model[cell.column] * *weight * value;
      }
    });
  }

  std::vector<int> rows;  // that any receiver reads, each once

 private:
  struct Run {
    Cell cell;       // the first
    int64_t weight;  // its number
  };
  static Vector load(const Real* from) {
    Vector values;
    std::memcpy(&values, from, sizeof(values));
    return values;
  }
  template <class Work>
  void each(int64_t i, Work work) const {
    for (size_t k = i ? ends[i - 1] : 0; k < ends[i]; ++k) work(runs[k].cell, weights + runs[k].weight);
  }

  const Real* weights;
  bool in_rows;
  std::vector<Run> runs;
  std::vector<size_t> ends;  // of the runs of each receiver
};

template <int K>
class Propagator {
 public:
  static int64_t workspace(const Grid& g) {
    return K * (int64_t(g.mz) * g.columns + g.state_size() + Passes::size(g));
  }
  Propagator(const Grid& g, const Shot<K>& shot, const Share& share, Real* block)
      : g(g), shot(shot), share(share), rows(allocate(K * g.columns)), scratch(allocate(2 * g.columns + 3 * LANES)),
        sources(cells(g, shot.source, shot.source_cells)), receivers(g, shot) {
    for (int c = 0; c < K; ++c) {
      models[c] = block, block += int64_t(g.mz) * g.columns;
      s.emplace_back(g, block), states[c] = block, block += g.state_size();
    }
    for (int c = 0; c < K; ++c) passes.emplace_back(g, block), block += Passes::size(g);
    for (int c = 0; c < K; ++c)
      for (int r = share.begin; r < share.end; ++r) {
        std::fill_n(model(c, r), g.columns, Real(0));
        std::copy_n(shot.m[c] + int64_t(r) * g.mx, g.mx, model(c, r));
      }
    for (int c = 0; c < K; ++c) {
      share.fill(states[c], g.state_size(), Real(0));
      share.fill(passes[c].block, Passes::size(g), Real(0));
    }
    share.sync();
  }

  // Advance from p_n to p_{n+1}, leaving the accelerations in `store`, if there is one, at `saved(c)`.
  template <class Saved>
  void forward(int64_t n, const Store* store, Saved saved) {
    for (int c = 0; c < K; ++c) slopes_z(g, s[c], passes[c], share);
    for (int r = share.begin; r < share.end; ++r)
      for (int c = 0; c < K; ++c) {
        acceleration[c] = store && store->in_place() ? store->place(r, saved(c)) : row(c);
        update(r, c, K > 1 || store, [&](auto emit) { stretched_row(g, s[c], passes[c], r, scratch.get(), emit); });
        if (store && !store->in_place()) store->put(acceleration[c], r, saved(c));
      }
    inject(n);
    finish();
  }

  // Go back from (p_n, p_{n+1}) to (p_{n-1}, p_n): the same sum, with the layers' accelerations from `saved(c)`.
  template <class Saved, class Seen>
  void backward(int64_t n, const Store& store, Saved saved, Seen seen) {
    for (int r = share.begin; r < share.end; ++r) {
      for (int c = 0; c < K; ++c) {
        acceleration[c] = row(c);
        laplacian_row(g, s[c].row(s[c].now, r), row(c));
        store.get(row(c), r, saved(c));
      }
      seen(r, acceleration);
      for (int c = 0; c < K; ++c)
        update(r, c, false, [&](auto emit) { COLUMNS(j, 0, g.columns) emit(j, acceleration[c][j]); });
    }
    inject(n);
    finish();
  }

  // From mu_{n+1}, mu_{n+2} to mu_n, given the residuals of step n, of its snapshot, if it has one, and of the sums, if
  // it is a sample of theirs. `seen(r)` before mu_{n+2} is overwritten in row r.
  template <class Seen>
  void adjoint(int64_t n, int snapshot, const Plan& plan, const int* inner, Seen seen) {
    const Real* shares = plan.shares_of(n);
    for (int c = 0; c < K; ++c) transposed_slopes_z(g, s[c], passes[c], share);
    for (int r = share.begin; r < share.end; ++r) {
      seen(r);
      for (int c = 0; c < K; ++c) {
        acceleration[c] = row(c);
        update(r, c, K > 1, [&](auto emit) { transposed_row(g, s[c], passes[c], r, scratch.get(), emit); });
      }
      if (snapshot >= 0) add_field(snapshot, Real(1), r, inner);
      for (int64_t i = 0; shares && i < plan.sums(); ++i)
        if (shares[i] != 0) add_field(plan.snapshots.size() + i, shares[i], r, inner);
    }
    if (n % plan.gather_stride == 0) {
      const int64_t first = n / plan.gather_stride * shot.receivers;
      for (int64_t i = 0; i < shot.receivers; ++i)
        for (int a = 0; a < K; ++a)
          for (int b = 0; a + b < K; ++b)
            receivers.add(i, shot.gathers[b][first + i], [&](int r) {
              return share.owns(r) ? std::pair{newest(a + b, r), model(a, r)} : std::pair<Real*, Real*>{};
            });
      for (int r : receivers.rows)
        if (share.owns(r))
          for (int c = 0; c < K; ++c) mirror_x(g, newest(c, r));
    }
    finish();
  }

  void record(int64_t n) const {
    const auto [begin, end] = share.part(shot.receivers);
    for (int c = 0; c < K; ++c)
      for (int64_t i = begin; i < end; ++i)
        shot.gathers[c][n * shot.receivers + i] = receivers.sum(i, [&](int r) { return s[c].row(s[c].now, r); });
  }

  // inner: top row, left column, rows, columns of the grid without layers.
  void snapshot(int which, const int* inner) const {
    for (int c = 0; c < K; ++c)
      for (int r = std::max(share.begin, inner[0]); r < std::min(share.end, inner[0] + inner[2]); ++r)
        std::copy_n(s[c].row(s[c].now, r) + inner[1], inner[3],
                    shot.fields[c] + (int64_t(which) * inner[2] + r - inner[0]) * inner[3]);
  }

  // Start the sums, and add what step n has a share in.
  void clear_sums(const Plan& plan, const int* inner) const {
    each_sum(plan, inner, [&](int, int64_t, int, Real* sum) { std::fill_n(sum, inner[3], Real(0)); });
  }
  void add_to_sums(int64_t n, const Plan& plan, const int* inner) const {
    const Real* shares = plan.shares_of(n);
    if (!shares) return;
    each_sum(plan, inner, [&](int c, int64_t i, int r, Real* __restrict sum) {
      const Real *__restrict field = s[c].row(s[c].now, r) + inner[1], share = shares[i];
      if (share != 0)  // a snapshot is read from few samples
        for (int j = 0; j < inner[3]; ++j) sum[j] += share * field[j];
    });
  }

  Real* row(int c) const { return rows.get() + c * g.columns; }
  Real* model(int c, int r) const { return models[c] + int64_t(r) * g.columns; }

  const Grid& g;
  const Shot<K>& shot;
  const Share& share;
  std::vector<State> s;  // this thread's view: `now` and `before` swap
  Real* states[K];       // the blocks below
  Real* acceleration[K];  // (L p)_n of the row under way
  std::vector<Cell> sources;

 private:
  Real* newest(int c, int r) const { return s[c].row(s[c].before, r); }

  // before = 2 now - before + m acceleration in one component's row; each_column(emit) calls emit(j, acceleration), which
  // is also kept, if wanted.
  template <class EachColumn>
  void update(int r, int c, bool keep, EachColumn each_column) {
    const Real *__restrict now = s[c].row(s[c].now, r), *__restrict m = model(0, r);
    Real *__restrict before = newest(c, r), *__restrict kept = acceleration[c];
    if (c) {
      const Real *__restrict dm = model(c, r), *__restrict first = acceleration[0];
      each_column([=](int j, Real value) {
        kept[j] = value;
        before[j] = 2 * now[j] - before[j] + (m[j] * value + dm[j] * first[j]);
      });
    } else if (keep) {
      each_column([=](int j, Real value) {
        kept[j] = value;
        before[j] = 2 * now[j] - before[j] + m[j] * value;
      });
    } else {
      each_column([=](int j, Real value) { before[j] = 2 * now[j] - before[j] + m[j] * value; });
    }
    mirror_x(g, before);
  }

  void inject(int64_t n) {
    for (int c = 0; c < K; ++c) {
      const Real* q = shot.q[c] + n * shot.source_cells;
      for (const auto [r, j] : sources) {
        if (share.owns(r)) newest(c, r)[j] += *q;
        ++q;
      }
      if (g.walls_x())
        for (const auto [r, j] : sources)
          if (share.owns(r)) mirror_x(g, newest(c, r));
    }
  }

  // The newest field is complete in this thread's rows: continue it beyond the walls there, and meet the others.
  void finish() {
    for (int c = 0; c < K; ++c) {
      mirror_z(g, s[c], s[c].before, share);
      std::swap(s[c].now, s[c].before);
    }
    share.sync();
  }

  // work(c, i, r, row) on this thread's rows of the sums
  template <class Work>
  void each_sum(const Plan& plan, const int* inner, Work work) const {
    for (int c = 0; c < K; ++c)
      for (int r = std::max(share.begin, inner[0]); r < std::min(share.end, inner[0] + inner[2]); ++r)
        for (int64_t i = 0; i < plan.sums(); ++i)
          work(c, i, r, shot.fields[c] + ((int64_t(plan.snapshots.size()) + i) * inner[2] + r - inner[0]) * inner[3]);
  }

  void add_field(int64_t which, Real scale, int r, const int* inner) const {
    const int i = r - inner[0];
    // On a free surface the field is zero whatever happens: nothing flows back from there.
    if (i < 0 || i >= inner[2] || (g.free_surface && r == 0)) return;
    for (int a = 0; a < K; ++a)
      for (int b = 0; a + b < K; ++b) {
        const Real* __restrict residual = shot.fields[b] + (which * inner[2] + i) * inner[3];
        const Real* __restrict m = model(a, r) + inner[1];
        Real* __restrict sum = newest(a + b, r) + inner[1];
        for (int j = 0; j < inner[3]; ++j) sum[j] += m[j] * scale * residual[j];
      }
    for (int c = 0; c < K; ++c) mirror_x(g, newest(c, r));
  }

  Block rows, scratch;
  Windows receivers;
  Real* models[K];
  std::vector<Passes> passes;
};

// Copy a state between the block of a propagator and a saved one, which has both fields in order, then the memory.
template <int K>
void save_state(const Propagator<K>& p, int c, Real* to, int64_t count) {
  const int64_t field = p.g.field_size();
  p.share.copy(p.s[c].now, field, to);
  p.share.copy(p.s[c].before, field, to + field);
  p.share.copy(p.states[c] + 2 * field, count - 2 * field, to + 2 * field);
}
template <int K>
void restore_state(const Propagator<K>& p, int c, const Real* from, int64_t count) {
  const int64_t field = p.g.field_size();
  p.share.copy(from, field, p.s[c].now);
  p.share.copy(from + field, field, p.s[c].before);
  p.share.copy(from + 2 * field, count - 2 * field, p.states[c] + 2 * field);
}

template <int K>
void run_forward(const Grid& g, const Plan& plan, const int* inner, const Shot<K>& shot, const Share& share, Real* work) {
  Propagator<K> p(g, shot, share, work);
  const Store store{&g, plan.precision, plan.strategy == Strategy::FULL};
  const bool saves = plan.strategy == Strategy::FULL || plan.strategy == Strategy::BOUNDARY;
  if (share.leads())
    for (int c = 0; c < K; ++c) prefer_large_pages(shot.saved[c], plan.saved_bytes(g));
  p.clear_sums(plan, inner);
  size_t next = 0;
  for (int64_t n = 0; n < plan.nt; ++n) {
    if (plan.strategy == Strategy::RECOMPUTE && n % plan.every == 0) {
      for (int c = 0; c < K; ++c)
        save_state(p, c, reinterpret_cast<Real*>(shot.saved[c]) + n / plan.every * g.state_size(), g.state_size());
      share.sync();
    }
    if (n % plan.gather_stride == 0) p.record(n / plan.gather_stride);
    if (next < plan.snapshots.size() && plan.snapshots[next] == n) p.snapshot(next++, inner);
    p.add_to_sums(n, plan, inner);
    p.forward(n, saves ? &store : nullptr, [&](int c) { return shot.saved[c] + n * store.bytes(); });
  }
  if (plan.strategy == Strategy::BOUNDARY)
    for (int c = 0; c < K; ++c)
      save_state(p, c, reinterpret_cast<Real*>(shot.saved[c] + plan.boundary_fields_at(g)), 2 * g.field_size());
}

template <int K>
int64_t adjoint_workspace(const Grid& g, const Plan& plan) {
  int64_t size = 2 * Propagator<K>::workspace(g) + K * int64_t(g.mz) * g.columns;
  if (plan.strategy == Strategy::RECOMPUTE)
    size += (K * plan.every * Store{&g, plan.precision, true}.bytes() + sizeof(Real) - 1) / sizeof(Real);
  return size;
}

// Quotient of two numbers with K components.
template <int K>
void divide(Real* value, const Real* by) {
  value[0] /= by[0];
  if constexpr (K == 2) value[1] = (value[1] - by[1] * value[0]) / by[0];
}

template <int K>
void run_adjoint(const Grid& g, const Plan& plan, const int* inner, const Shot<K>& shot, Real* const* model_gradient,
                 Real* const* source_gradient, const Share& share, Real* work) {
  Propagator<K> mu(g, shot, share, work);
  work += Propagator<K>::workspace(g);
  Propagator<K> p(g, shot, share, work);
  work += Propagator<K>::workspace(g);
  Real* image = work;
  work += K * int64_t(g.mz) * g.columns;
  char* interval = reinterpret_cast<char*>(work);
  for (int c = 0; c < K; ++c)
    std::fill_n(image + (int64_t(c) * g.mz + share.begin) * g.columns, int64_t(share.end - share.begin) * g.columns, Real(0));

  const Store all{&g, plan.precision, true}, layers{&g, plan.precision, false};
  const bool boundary = plan.strategy == Strategy::BOUNDARY;
  auto correlate = [&](int r, Real* const* acceleration) {  // (L p)_n with mu_{n+1}
    for (int a = 0; a < K; ++a)
      for (int b = 0; a + b < K; ++b) {
        const Real *__restrict field = mu.s[a].row(mu.s[a].now, r), *__restrict other = acceleration[b];
        Real* __restrict sum = image + (int64_t(a + b) * g.mz + r) * g.columns;
        VECTOR for (int j = 0; j < g.columns; ++j) sum[j] += field[j] * other[j];
      }
  };
  auto stored = [&](int64_t n, int c) {
    return plan.strategy == Strategy::FULL ? shot.saved[c] + n * all.bytes()
                                           : interval + (n % plan.every * K + c) * all.bytes();
  };
  auto correlate_stored = [&](int64_t n, int r) {
    Real* acceleration[K];
    for (int c = 0; c < K; ++c) {
      acceleration[c] = all.in_place() ? all.place(r, stored(n, c)) : p.row(c);
      if (!all.in_place()) all.get(p.row(c), r, stored(n, c));
    }
    correlate(r, acceleration);
  };

  if (boundary) {
    for (int c = 0; c < K; ++c) {
      restore_state(p, c, reinterpret_cast<const Real*>(shot.saved[c] + plan.boundary_fields_at(g)), 2 * g.field_size());
      std::swap(p.s[c].now, p.s[c].before);  // now p_{nt-1}, before p_nt
    }
    share.sync();
  }
  int next = int(plan.snapshots.size()) - 1;
  for (int64_t n = plan.nt - 1; n >= 0; --n) {
    if (plan.strategy == Strategy::RECOMPUTE && (n == plan.nt - 1 || n % plan.every == plan.every - 1)) {
      for (int c = 0; c < K; ++c) {
        const Real* saved = reinterpret_cast<const Real*>(shot.saved[c]) + n / plan.every * g.state_size();
        restore_state(p, c, saved, g.state_size());
      }
      share.sync();
      for (int64_t i = n / plan.every * plan.every; i <= n; ++i)
        p.forward(i, &all, [&](int c) { return stored(i, c); });
    }
    if (boundary) p.backward(n, layers, [&](int c) { return shot.saved[c] + n * layers.bytes(); }, correlate);
    if (share.leads())
      for (int64_t i = 0; i < shot.source_cells; ++i) {
        const auto [r, j] = mu.sources[i];
        Real value[K], by[K];
        for (int c = 0; c < K; ++c) value[c] = mu.s[c].row(mu.s[c].now, r)[j], by[c] = mu.model(c, r)[j];
        divide<K>(value, by);
        for (int c = 0; c < K; ++c) source_gradient[c][n * shot.source_cells + i] = value[c];
      }
    const bool seen = next >= 0 && plan.snapshots[next] == n;
    mu.adjoint(n, seen ? next : -1, plan, inner, [&](int r) {
      if (!boundary) correlate_stored(n, r);
    });
    if (seen) --next;
  }
  for (int r = share.begin; r < share.end; ++r)
    for (int j = 0; j < g.mx; ++j) {
      Real value[K], by[K];
      for (int c = 0; c < K; ++c) value[c] = image[(int64_t(c) * g.mz + r) * g.columns + j], by[c] = mu.model(c, r)[j];
      divide<K>(value, by);
      for (int c = 0; c < K; ++c) model_gradient[c][int64_t(r) * g.mx + j] = value[c];
    }
}

// ---- Bindings ------------------------------------------------------------------------------------------------------

// Operands share their leading (batch) dimensions, each of size 1 or the batch's.
class Batch {
 public:
  explicit Batch(const ffi::RemainingArgs& args, int own_rank_of_first) {
    for (size_t i = 0; i < args.size(); ++i) {
      auto dims = args.get<ffi::AnyBuffer>(i)->dimensions();
      if (i == 0) sizes_.assign(dims.begin(), dims.begin() + dims.size() - own_rank_of_first);
      for (size_t d = 0; d < sizes_.size(); ++d) sizes_[d] = std::max<int64_t>(sizes_[d], dims[d]);
    }
  }
  int64_t count() const {
    int64_t product = 1;
    for (int64_t size : sizes_) product *= size;
    return product;
  }
  // Simulation `index`'s part of a buffer, broadcast along batch dimensions of size 1.
  template <class T>
  T* part(const ffi::AnyBuffer& buffer, int64_t index, int64_t item = sizeof(T)) const {
    auto dims = buffer.dimensions();
    int64_t own = 1, place = 0, stride = 1;
    for (size_t d = sizes_.size(); d < dims.size(); ++d) own *= dims[d];
    for (int d = int(sizes_.size()) - 1; d >= 0; --d) {
      if (dims[d] > 1) place += index % sizes_[d] * stride;
      index /= sizes_[d], stride *= dims[d];
    }
    return reinterpret_cast<T*>(static_cast<char*>(buffer.untyped_data()) + place * own * item);
  }
  size_t rank() const { return sizes_.size(); }

 private:
  std::vector<int64_t> sizes_;
};

struct Attributes {
  ffi::Span<const int64_t> layout, inner, snapshots, stride, plan;
  ffi::Span<const double> shares, second, factor, profiles;
  Grid grid() const { return Grid(layout, second, factor, profiles); }
  Plan make_plan() const {
    return {Strategy(plan[0]), Precision(plan[1]), plan[2], plan[3], plan[5], {snapshots.begin(), snapshots.end()},
            stride[0], {shares.begin(), shares.end()}};
  }
  int threads() const { return int(plan[4]); }
};

// A workspace for each simulation that is under way at once.
std::vector<Block> lanes(const Batch& batch, const Attributes& attributes, int64_t size) {
  std::vector<Block> blocks;
  const int count = batch.count() >= attributes.threads() ? attributes.threads() : 1;
  for (int lane = 0; lane < count; ++lane) blocks.push_back(allocate(size));
  return blocks;
}

// args: source cells, receiver cells, receiver weights, then (m, q) of every component [, then more]
template <int K>
Shot<K> make_shot(const Batch& batch, const ffi::RemainingArgs& args, int64_t i) {
  Shot<K> shot{};
  auto arg = [&](int at) { return *args.get<ffi::AnyBuffer>(at); };
  shot.source = batch.part<int32_t>(arg(0), i), shot.receiver = batch.part<int32_t>(arg(1), i);
  shot.weight = batch.part<Real>(arg(2), i);
  shot.source_cells = arg(0).dimensions().back();
  shot.receivers = arg(1).dimensions()[batch.rank()], shot.receiver_cells = arg(1).dimensions().back();
  for (int c = 0; c < K; ++c)
    shot.m[c] = batch.part<Real>(arg(3 + 2 * c), i), shot.q[c] = batch.part<Real>(arg(4 + 2 * c), i);
  return shot;
}

template <class Work>
ffi::Error guarded(Work work) {
  try {
    work();
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "The wave solver ran out of memory.");
  }
  return ffi::Error::Success();
}

// results: gathers, fields, saved of every component
template <int K>
ffi::Error forward(const Attributes& attributes, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  return guarded([&] {
    const Grid g = attributes.grid();
    const Plan plan = attributes.make_plan();
    const int inner[] = {int(attributes.inner[0]), int(attributes.inner[1]), int(attributes.inner[2]), int(attributes.inner[3])};
    const Batch batch(args, 1);
    const std::vector<Block> blocks = lanes(batch, attributes, Propagator<K>::workspace(g));
    for_each_simulation(batch.count(), attributes.threads(), g.mz, g.edge_rows(), [&](int64_t i, const Share& share) {
      Shot<K> shot = make_shot<K>(batch, args, i);
      for (int c = 0; c < K; ++c) {
        shot.gathers[c] = batch.part<Real>(**rets.get<ffi::AnyBuffer>(3 * c), i);
        shot.fields[c] = batch.part<Real>(**rets.get<ffi::AnyBuffer>(3 * c + 1), i);
        shot.saved[c] = batch.part<char>(**rets.get<ffi::AnyBuffer>(3 * c + 2), i, sizeof(Real));
      }
      run_forward<K>(g, plan, inner, shot, share, blocks[share.lane].get());
    });
  });
}

// more args: (gathers, fields, saved) of every component; results: gradients by m and q of every component
template <int K>
ffi::Error adjoint(const Attributes& attributes, ffi::RemainingArgs args, ffi::RemainingRets rets) {
  return guarded([&] {
    const Grid g = attributes.grid();
    const Plan plan = attributes.make_plan();
    const int inner[] = {int(attributes.inner[0]), int(attributes.inner[1]), int(attributes.inner[2]), int(attributes.inner[3])};
    const Batch batch(args, 1);
    const std::vector<Block> blocks = lanes(batch, attributes, adjoint_workspace<K>(g, plan));
    for_each_simulation(batch.count(), attributes.threads(), g.mz, g.edge_rows(), [&](int64_t i, const Share& share) {
      Shot<K> shot = make_shot<K>(batch, args, i);
      Real *model_gradient[K], *source_gradient[K];
      for (int c = 0; c < K; ++c) {
        const int at = 3 + 2 * K + 3 * c;
        shot.gathers[c] = batch.part<Real>(*args.get<ffi::AnyBuffer>(at), i);
        shot.fields[c] = batch.part<Real>(*args.get<ffi::AnyBuffer>(at + 1), i);
        shot.saved[c] = batch.part<char>(*args.get<ffi::AnyBuffer>(at + 2), i, sizeof(Real));
        model_gradient[c] = batch.part<Real>(**rets.get<ffi::AnyBuffer>(2 * c), i);
        source_gradient[c] = batch.part<Real>(**rets.get<ffi::AnyBuffer>(2 * c + 1), i);
      }
      run_adjoint<K>(g, plan, inner, shot, model_gradient, source_gradient, share, blocks[share.lane].get());
    });
  });
}

template <auto Function>
ffi::Error bound(ffi::Span<const int64_t> layout, ffi::Span<const int64_t> inner, ffi::Span<const int64_t> snapshots,
                 ffi::Span<const int64_t> stride, ffi::Span<const int64_t> plan, ffi::Span<const double> shares,
                 ffi::Span<const double> second, ffi::Span<const double> factor, ffi::Span<const double> profiles,
                 ffi::RemainingArgs args, ffi::RemainingRets rets) {
  return Function(Attributes{layout, inner, snapshots, stride, plan, shares, second, factor, profiles}, args, rets);
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(handler, bound<DIRECTION<COMPONENTS>>,
                              ffi::Ffi::Bind()
                                  .Attr<ffi::Span<const int64_t>>("layout")
                                  .Attr<ffi::Span<const int64_t>>("inner")
                                  .Attr<ffi::Span<const int64_t>>("snapshots")
                                  .Attr<ffi::Span<const int64_t>>("stride")
                                  .Attr<ffi::Span<const int64_t>>("plan")
                                  .Attr<ffi::Span<const double>>("shares")
                                  .Attr<ffi::Span<const double>>("second")
                                  .Attr<ffi::Span<const double>>("factor")
                                  .Attr<ffi::Span<const double>>("profiles")
                                  .RemainingArgs()
                                  .RemainingRets());

namespace {

Grid plain_grid(const int64_t* layout) {
  const std::vector<int64_t> sizes(layout, layout + 7);
  const size_t widths = sizes[2] + sizes[3] + sizes[4] + sizes[5];
  return Grid(sizes, std::vector<Real>(H + 1), std::vector<Real>(H + 1), std::vector<Real>(4 * widths + 4));
}
Plan plain_plan(const int64_t* plan) {
  return {Strategy(plan[0]), Precision(plan[1]), plan[2], plan[3], plan[5], {}, 1, {}};
}

}  // namespace

// Bytes that the forward pass saves for the adjoint of one simulation.
extern "C" int64_t saved_bytes(const int64_t* layout, const int64_t* plan) {
  return plain_plan(plan).saved_bytes(plain_grid(layout));
}
// Bytes that a simulation under way works in: of the adjoint, or with strategy NONE of the forward pass.
extern "C" int64_t workspace_bytes(const int64_t* layout, const int64_t* plan) {
  const Grid g = plain_grid(layout);
  const Plan p = plain_plan(plan);
  const int64_t values = p.strategy == Strategy::NONE ? Propagator<1>::workspace(g) : adjoint_workspace<1>(g, p);
  return values * int64_t(sizeof(Real));
}
