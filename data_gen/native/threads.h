// Simulations over threads: one each while there are enough of them; the rest split by rows among all threads.

#pragma once
#include <atomic>
#include <exception>
#include <functional>
#include <thread>
#include <vector>

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
  std::atomic<int> arrived_{0}, phase_{0};
};

// One thread's part of one simulation: rows [begin, end). Lane: which workspace to use.
struct Share {
  Barrier& barrier;
  int lane, begin, end;
  bool leads() const { return begin == 0; }
  void sync() const { barrier.wait(); }
};

// Calls work(simulation, share) for all of `count` simulations of `rows` rows. At most `threads` lanes are used.
inline void for_each_simulation(int64_t count, int threads, int rows,
                                const std::function<void(int64_t, const Share&)>& work) {
  threads = std::max(1, std::min(threads, rows));
  const int64_t whole = count / threads * threads;
  std::atomic<int64_t> next{0};
  Barrier all(threads);
  auto run = [&](int rank) {
    Barrier alone(1);
    for (int64_t i; (i = next.fetch_add(1)) < whole;) work(i, Share{alone, rank, 0, rows});
    all.wait();
    const int begin = int64_t(rows) * rank / threads, end = int64_t(rows) * (rank + 1) / threads;
    for (int64_t i = whole; i < count; ++i) {
      work(i, Share{all, 0, begin, end});
      all.wait();
    }
  };
  std::vector<std::thread> others;
  for (int rank = 1; rank < threads; ++rank) others.emplace_back(run, rank);
  run(0);
  for (auto& thread : others) thread.join();
}
