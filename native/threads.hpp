// A pool of threads that sleep, never spin, and that never make work slower than one thread would.
//
// Work is a range of independent tiles, claimed one by one. The calling thread claims too, so a pool on a busy
// machine degrades to the caller doing everything. Results must not depend on which thread runs a tile.
#pragma once

#include <functional>
#include <memory>

namespace reknit {

class ThreadPool {
 public:
  // threads counts the caller: ThreadPool(1) starts none.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Runs body(i) for every i in [0, count), each exactly once, and returns when all are done.
  void run(int count, const std::function<void(int)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace reknit
