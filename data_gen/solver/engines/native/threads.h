// Simulations over threads: one each while there are enough of them; the rest split by rows among all threads.

#pragma once
#include <atomic>
#include <exception>
#include <functional>
#include <thread>
#include <utility>
#include <vector>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

// Flush subnormal numbers to zero while this lives: ahead of a wave front they are everywhere, and slow.
class FlushToZero {
 public:
#if defined(__SSE__)
  FlushToZero() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushToZero() { _mm_setcsr(before_); }

 private:
  unsigned before_;
#elif defined(__aarch64__)
  FlushToZero() {
    asm volatile("mrs %0, fpcr" : "=r"(before_));
    asm volatile("msr fpcr, %0" ::"r"(before_ | (1ull << 24)));
  }
  ~FlushToZero() { asm volatile("msr fpcr, %0" ::"r"(before_)); }

 private:
  unsigned long long before_;
#endif
};

class Barrier {
 public:
  explicit Barrier(int size) : size_(size) {}
  void wait() {
    if (size_ == 1) return;
    const int phase = phase_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
      arrived_.store(0, std::memory_order_relaxed);
      phase_.store(phase + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; phase_.load(std::memory_order_acquire) == phase; ++spins)
      if (spins > 1000) std::this_thread::yield();
  }

 private:
  const int size_;
  // Apart, so that who waits does not slow who arrives.
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> phase_{0};
};

// One thread's part of one simulation: rows [begin, end). Lane: which workspace to use.
struct Share {
  Barrier& barrier;
  int lane, begin, end, rows;
  bool leads() const { return begin == 0; }
  bool owns(int r) const { return begin <= r && r < end; }
  void sync() const { barrier.wait(); }
  // This thread's part of `count` things that all of them do together.
  std::pair<int64_t, int64_t> part(int64_t count) const { return {count * begin / rows, count * end / rows}; }
  template <class Value>
  void copy(const Value* from, int64_t count, Value* to) const {
    const auto [first, last] = part(count);
    std::copy(from + first, from + last, to + first);
  }
  template <class Value>
  void fill(Value* values, int64_t count, Value value) const {
    const auto [first, last] = part(count);
    std::fill(values + first, values + last, value);
  }
};

// Calls work(simulation, share) for all of `count` simulations of `rows` rows. A simulation is split into parts of
// `least` rows or more, so that whatever couples rows near an edge belongs to one thread.
inline void for_each_simulation(int64_t count, int threads, int rows, int least,
                                const std::function<void(int64_t, const Share&)>& work) {
  const int64_t whole = count / threads * threads;
  const int parts = std::clamp(rows / least, 1, threads);
  std::atomic<int64_t> next{0};
  Barrier together(parts);
  auto run = [&](int rank) {
    [[maybe_unused]] FlushToZero flush;
    Barrier alone(1);
    for (int64_t i; (i = next.fetch_add(1)) < whole;) work(i, Share{alone, rank, 0, rows, rows});
    if (rank >= parts) return;
    const int begin = int64_t(rows) * rank / parts, end = int64_t(rows) * (rank + 1) / parts;
    for (int64_t i = whole; i < count; ++i) {
      together.wait();
      work(i, Share{together, 0, begin, end, rows});
    }
  };
  std::vector<std::thread> others;
  for (int rank = 1; rank < threads; ++rank) others.emplace_back(run, rank);
  run(0);
  for (auto& thread : others) thread.join();
}
