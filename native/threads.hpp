// A pool of threads that sleep when there is nothing to do, and that never make work slower than one thread
// would.
//
// Work is a range of independent tiles, claimed one by one. The calling thread claims too, so a pool on a
// busy machine degrades to the caller doing everything. The pool watches what its workers bring: when a run
// takes longer than the caller alone would have needed, it leaves them asleep for a while. Results must not
// depend on which thread runs a tile.
#pragma once

#include <functional>
#include <memory>

namespace reknit {

class ThreadPool {
 public:
  // threads counts the caller: ThreadPool(1) starts none. Workers start with the first run that can use them.
  // poll is called by the calling thread between tiles; whatever it throws ends the run and leaves run().
  explicit ThreadPool(int threads, std::function<void()> poll = {});
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  // Calls poll: for long work between runs.
  void poll() const;

  // Runs body(i) for every i in [0, count), each exactly once, and returns when all are done. An exception
  // from any tile ends the run early and is thrown again here. `seconds` is about how long one thread needs
  // for all of it; where that is 0 the first tile tells.
  void run(int count, const std::function<void(int)>& body, double seconds = 0);

  // The same without waking anyone: for work too small to share.
  void run_alone(int count, const std::function<void(int)>& body);

  // Splits [begin, end) into tiles of `grain` items and runs body(first, last) on each. `seconds` is about
  // how long one thread needs for one item.
  void split(int begin, int end, int grain, const std::function<void(int, int)>& body, double seconds = 0);

  // The same, with body(i) on each item.
  template <class Body>
  void each(int begin, int end, int grain, const Body& body, double seconds = 0) {
    split(
        begin, end, grain,
        [&](int first, int last) {
          for (int i = first; i < last; ++i) body(i);
        },
        seconds);
  }

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace reknit
