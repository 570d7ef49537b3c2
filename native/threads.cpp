#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace reknit {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double kWorthSharing = 80e-6;  // seconds; waking a thread takes tens of microseconds
constexpr double kLoss = 1.05;           // times what one thread needs: what sharing must not cost
constexpr int kLongestRest = 128;        // runs
constexpr double kAwake = 100e-6;        // that a worker looks out for the next run before it sleeps

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

struct ThreadPool::State {
  int threads = 1;
  std::function<void()> poll;
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake, idle;
  const std::function<void(int)>* body = nullptr;
  std::atomic<int> next{0};
  int count = 0;
  std::atomic<int> running{0};
  std::atomic<unsigned> generation{0};
  std::atomic<bool> stop{false};
  std::exception_ptr failure;
  int rest = 0, next_rest = 1;  // runs to leave the workers asleep: now, and after the next loss

  bool claim(int& tile) { return (tile = next.fetch_add(1, std::memory_order_relaxed)) < count; }

  void abandon() { next.store(count, std::memory_order_relaxed); }

  // Waits a little for something to happen, giving the processor to whoever wants it.
  template <class Happened>
  static void look_out(const Happened& happened) {
    const Clock::time_point start = Clock::now();
    while (!happened() && seconds_since(start) < kAwake) std::this_thread::yield();
  }

  void work() {
    unsigned seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      lock.unlock();
      look_out([&] { return stop || generation != seen; });
      lock.lock();
      wake.wait(lock, [&] { return stop || (generation != seen && body); });
      if (stop) return;
      seen = generation;
      ++running;
      const std::function<void(int)>& mine = *body;
      lock.unlock();
      std::exception_ptr thrown;
      try {
        for (int tile; claim(tile);) mine(tile);
      } catch (...) {
        thrown = std::current_exception();
        abandon();
      }
      lock.lock();
      if (thrown && !failure) failure = thrown;
      if (--running == 0) idle.notify_one();
    }
  }

  void start_workers() {
    while (static_cast<int>(workers.size()) < threads - 1) workers.emplace_back([this] { work(); });
  }

  void alone(int first, int end, const std::function<void(int)>& body_of_tile) const {
    for (int i = first; i < end; ++i) {
      body_of_tile(i);
      if (poll) poll();
    }
  }

  void share(int first, int end, const std::function<void(int)>& body_of_tile) {
    start_workers();
    {
      std::lock_guard<std::mutex> lock(mutex);
      body = &body_of_tile;
      count = end;
      next.store(first, std::memory_order_relaxed);
      failure = nullptr;
      ++generation;
    }
    wake.notify_all();
    const Clock::time_point start = Clock::now();
    int mine = 0;
    std::exception_ptr thrown;
    try {
      for (int tile; claim(tile); ++mine) {
        body_of_tile(tile);
        if (poll) poll();
      }
    } catch (...) {
      thrown = std::current_exception();
      abandon();
    }
    const double busy = seconds_since(start);
    look_out([&] { return running == 0; });
    {
      // A worker that has not woken yet finds no tile left; one that runs is waited for.
      std::unique_lock<std::mutex> lock(mutex);
      body = nullptr;
      idle.wait(lock, [&] { return running == 0; });
      if (!thrown) thrown = failure;
    }
    if (thrown) std::rethrow_exception(thrown);
    if (mine > 0) learn(busy / mine * (end - first), seconds_since(start));
  }

  // Remembers whether sharing paid: `alone` is what the caller would have needed, `wall` what the run took.
  void learn(double alone, double wall) {
    if (wall < alone * kLoss) {
      next_rest = 1;
    } else {
      rest = next_rest;
      next_rest = std::min(next_rest * 2, kLongestRest);
    }
  }
};

ThreadPool::ThreadPool(int threads, std::function<void()> poll) : state_(new State) {
  state_->threads = std::max(1, threads);
  state_->poll = std::move(poll);
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return state_->threads; }

void ThreadPool::poll() const {
  if (state_->poll) state_->poll();
}

void ThreadPool::run_alone(int count, const std::function<void(int)>& body) { state_->alone(0, count, body); }

void ThreadPool::run(int count, const std::function<void(int)>& body, double seconds) {
  State& s = *state_;
  if (s.threads < 2 || count < 2) return run_alone(count, body);
  if (s.rest > 0) {
    --s.rest;
    return run_alone(count, body);
  }
  if (seconds > 0) return seconds < kWorthSharing ? run_alone(count, body) : s.share(0, count, body);
  const Clock::time_point start = Clock::now();
  body(0);
  if (s.poll) s.poll();
  if (seconds_since(start) * (count - 1) < kWorthSharing) return s.alone(1, count, body);
  s.share(1, count, body);
}

void ThreadPool::split(int begin, int end, int grain, const std::function<void(int, int)>& body,
                       double seconds) {
  const int count = (end - begin + grain - 1) / grain;
  run(
      count,
      [&](int tile) {
        const int first = begin + tile * grain;
        body(first, std::min(first + grain, end));
      },
      seconds * (end - begin));
}

}  // namespace reknit
