#include "threads.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace reknit {

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake, idle;
  const std::function<void(int)>* body = nullptr;
  std::atomic<int> next{0};
  int count = 0, running = 0;
  unsigned generation = 0;
  bool stop = false;

  void drain() {
    for (int i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) (*body)(i);
  }

  void work() {
    unsigned seen = 0;
    std::unique_lock<std::mutex> lock(mutex);
    for (;;) {
      wake.wait(lock, [&] { return stop || (generation != seen && body); });
      if (stop) return;
      seen = generation;
      ++running;
      lock.unlock();
      drain();
      lock.lock();
      if (--running == 0) idle.notify_one();
    }
  }
};

ThreadPool::ThreadPool(int threads) : state_(new State) {
  for (int i = 1; i < threads; ++i) state_->workers.emplace_back([s = state_.get()] { s->work(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->wake.notify_all();
  for (auto& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return static_cast<int>(state_->workers.size()) + 1; }

void ThreadPool::run(int count, const std::function<void(int)>& body) {
  if (state_->workers.empty() || count < 2) {
    for (int i = 0; i < count; ++i) body(i);
    return;
  }
  State& s = *state_;
  {
    std::lock_guard<std::mutex> lock(s.mutex);
    s.body = &body;
    s.count = count;
    s.next.store(0, std::memory_order_relaxed);
    ++s.generation;
  }
  s.wake.notify_all();
  s.drain();
  // A worker that has not woken yet finds no tile left; one that runs is waited for.
  std::unique_lock<std::mutex> lock(s.mutex);
  s.body = nullptr;
  s.idle.wait(lock, [&] { return s.running == 0; });
}

}  // namespace reknit
